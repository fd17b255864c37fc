/* The half of the encoder that most messages do not need: big integers, arrays with holes
 * or names, every object that is not plain, and transfers. */
import * as format from "./clone_format.js";
import { ERROR_NAMES, ERROR_TYPES } from "./clone_errors.js";
import { BRANDS, isOutOfBounds, isRefused, kindOf, SERIALIZABLE, tracksLength, viewName } from "./clone_kinds.js";

const { getPrototypeOf, keys: ownKeys, hasOwn, getOwnPropertyDescriptor } = Object;
const getterOf = (object, key) => getOwnPropertyDescriptor(object, key).get;
const mapForEach = Map.prototype.forEach;
const setForEach = Set.prototype.forEach;
const regExpSource = getterOf(RegExp.prototype, "source");
const regExpFlags = getterOf(RegExp.prototype, "flags");
const bigIntText = BigInt.prototype.toString;
const transferBuffer = ArrayBuffer.prototype.transfer;
const isDetached = getterOf(ArrayBuffer.prototype, "detached");
const bufferLength = getterOf(ArrayBuffer.prototype, "byteLength");
const isResizable = getterOf(ArrayBuffer.prototype, "resizable");
const maximumLength = getterOf(ArrayBuffer.prototype, "maxByteLength");
const TypedArray = getPrototypeOf(Uint8Array);
const typedBuffer = getterOf(TypedArray.prototype, "buffer");
const typedOffset = getterOf(TypedArray.prototype, "byteOffset");
const typedLength = getterOf(TypedArray.prototype, "length");

const MOST_INDEX = 4294967294;

/* The means to write are clone_encode.js's, which see. */
let putVarint;
let putDouble;
let putNumber;
let putString;
let putTag;
let putBytes;
let putValue;
let putObject;
let putProperties;
let putByte;
let reserve;
let refuse;
let isPool;
let rawLength;
let entryOf;
let addHost;
let addBuffer;

/* ---- big integers, arrays */

function putBigInt(value, at) {
    const negative = value < 0n;
    let text = bigIntText.call(negative ? -value : value, 16);
    if (text === "0") {
        text = "";
    } else if (text.length % 2 === 1) {
        text = "0" + text;
    }
    const size = text.length / 2;
    reserve(at, size);
    let p = putVarint(size * 2 + (negative ? 1 : 0), putByte(format.BIGINT, at));
    for (let i = text.length - 2; i >= 0; i -= 2) {
        p = putByte(parseInt(text.slice(i, i + 2), 16), p);
    }
    return p;
}

function isIndex(key) {
    const number = key >>> 0;
    return number <= MOST_INDEX && `${number}` === key;
}

function putOddArray(array, length, at) {
    const keys = ownKeys(array);
    let present = keys.length; /* how many of the keys are indexes: the first ones */
    while (present > 0 && !isIndex(keys[present - 1])) {
        present--;
    }
    const named = present === keys.length ? [] : keys.slice(present);
    if (present * 2 < length) {
        const p = putVarint(present, putVarint(length, putByte(format.ARRAY_SPARSE, at)));
        return putProperties(array, named, putSparse(array, keys, present, p));
    }
    putByte(named.length === 0 ? format.ARRAY : format.ARRAY_NAMED, at);
    const p = putWithHoles(array, length, keys, putVarint(length, at + 1));
    return named.length === 0 ? p : putProperties(array, named, p);
}

function putSparse(array, keys, present, at) {
    let p = at;
    for (let i = 0; i < present; i++) {
        reserve(p, 0);
        p = putVarint(Number(keys[i]), p);
        p = hasOwn(array, keys[i]) ? putValue(array[keys[i]], p) : putTag(format.HOLE, p);
    }
    reserve(p, 0);
    return p;
}

function putWithHoles(array, length, keys, at) {
    let p = at;
    for (let i = 0, k = 0; i < length; i++) {
        if (keys[k] === `${i}`) {
            k++;
            p = hasOwn(array, i) ? putValue(array[i], p) : putTag(format.HOLE, p);
        } else {
            p = putTag(format.HOLE, p);
        }
    }
    reserve(p, 0);
    return p;
}

/* ---- all other objects */

function putKind(object, at) {
    const entry = entryOf(object);
    if (entry?.isHost) {
        return entry.name === undefined ? putVarint(entry.index, putByte(format.HOST, at))
            : putStream(entry, at);
    }
    const kind = kindOf(object);
    switch (kind) {
    case "Object":
        return isRefused(object, kind) ? refuse("an object of the host") : putPlain(object, at);
    case "View":
        return putView(object, at);
    case "Date":
        putByte(format.DATE, at);
        return putDouble(BRANDS.Date.call(object), at + 1);
    case "RegExp":
        return putRegExp(object, at);
    case "Map":
        return putMap(object, at);
    case "Set":
        return putSet(object, at);
    case "Error":
        return putError(object, at);
    case "Boolean":
    case "Number":
    case "String":
    case "BigInt":
        putByte(format.BOXED, at);
        return putValue(BRANDS[kind].call(object), at + 1);
    case "Symbol":
        return refuse("a symbol");
    case "ArrayBuffer":
        return putBuffer(object, at);
    default:
        return putOther(object, kind, at);
    }
}

function putPlain(object, at) {
    putByte(format.OBJECT, at);
    return putProperties(object, ownKeys(object), at + 1);
}

/* What is written in the place of a stream's port: no plain object, so that putKind() sees it. */
class Place {}

/* A stream that is transferred: its ports, which take their places among the host's objects now. */
function putStream(entry, at) {
    const places = Array.from({ length: entry.count }, () => new Place());
    entry.indexes = places.map((place) => addHost(place));
    putByte(format.PLATFORM, at);
    return putValue(places.length === 1 ? places[0] : places, putString(entry.name, at + 1));
}

function putOther(object, kind, at) {
    if (hasOwn(SERIALIZABLE, kind)) {
        const chunk = native.chunk(SERIALIZABLE[kind]);
        if (object instanceof chunk[kind]) {
            putByte(format.PLATFORM, at);
            return putValue(chunk.serialize(object), putString(kind, at + 1));
        }
    }
    return isRefused(object, kind) ? refuse(`an object of the kind ${kind}`)
        : putPlain(object, at);
}

function putRegExp(object, at) {
    const flags = regExpFlags.call(object);
    let bits = 0;
    for (const flag of flags) {
        bits |= 1 << format.FLAGS.indexOf(flag);
    }
    putByte(format.REGEXP, at);
    putByte(bits, at + 1);
    const p = putString(regExpSource.call(object), at + 2);
    const { lastIndex } = object;
    return putNumber(isPool() && typeof lastIndex === "number" ? lastIndex : 0, p);
}

function putMap(map, at) {
    const items = [];
    mapForEach.call(map, (item, key) => items.push(key, item));
    putByte(format.MAP, at);
    return putItems(items, putVarint(items.length / 2, at + 1));
}

function putSet(set, at) {
    const items = [];
    setForEach.call(set, (item) => items.push(item));
    putByte(format.SET, at);
    return putItems(items, putVarint(items.length, at + 1));
}

function putItems(items, at) {
    let p = at;
    for (let i = 0; i < items.length; i++) {
        p = putValue(items[i], p);
    }
    return p;
}

/* ---- errors */

/* What an error's own data property holds, in an object; undefined if there is none. */
function ownData(error, key) {
    const property = getOwnPropertyDescriptor(error, key);
    return property !== undefined && hasOwn(property, "value") ? property : undefined;
}

function typeByPrototype(error) {
    for (let p = getPrototypeOf(error); p !== null; p = getPrototypeOf(p)) {
        const type = ERROR_TYPES.findIndex((constructor) => constructor.prototype === p);
        if (type >= 0) {
            return type;
        }
    }
    return 0;
}

function typeByName(name) {
    const type = ERROR_NAMES.indexOf(name);
    return type < 0 || type === format.AGGREGATE ? 0 : type;
}

function putError(error, at) {
    const dom = native.chunk("dom");
    if (dom.isDOMException(error)) {
        return putDOMException(error, dom, at);
    }
    const name = isPool() ? error.name : `${error.name}`;
    const type = isPool() ? typeByPrototype(error) : typeByName(name);
    const message = ownData(error, "message");
    const stack = ownData(error, "stack");
    const hasStack = typeof stack?.value === "string";
    const renamed = isPool() && typeof name === "string" && name !== ERROR_NAMES[type];
    const cause = ownData(error, "cause");
    const errors = type === format.AGGREGATE ? ownData(error, "errors") : undefined;
    const extra = isPool() ? extraKeys(error, { message, stack: hasStack, name: renamed, cause, errors })
        : [];
    putByte(format.ERROR, at);
    putByte(type, at + 1);
    putByte((message ? format.MESSAGE : 0) | (hasStack ? format.STACK : 0)
        | (renamed ? format.NAME : 0) | (cause ? format.CAUSE : 0) | (errors ? format.ERRORS : 0)
        | (extra.length > 0 ? format.EXTRA : 0), at + 2);
    let p = at + 3;
    p = message ? putString(`${message.value}`, p) : p;
    p = hasStack ? putString(stack.value, p) : p;
    p = renamed ? putString(name, p) : p;
    p = cause ? putValue(cause.value, p) : p;
    p = errors ? putValue(errors.value, p) : p;
    return extra.length > 0 ? putProperties(error, extra, p) : p;
}

function extraKeys(error, written) {
    return ownKeys(error).filter((key) => !hasOwn(written, key) || !written[key]);
}

function putDOMException(error, dom, at) {
    const { name, message } = error;
    const stack = ownData(error, "stack");
    const hasStack = typeof stack?.value === "string";
    const hasQuota = error instanceof dom.QuotaExceededError;
    putByte(format.DOMEXCEPTION, at);
    putByte((hasStack ? format.DOM_STACK : 0) | (hasQuota ? format.DOM_QUOTA : 0), at + 1);
    let p = putString(message, putString(name, at + 2));
    p = hasStack ? putString(stack.value, p) : p;
    return hasQuota ? putValue(error.requested, putValue(error.quota, p)) : p;
}

/* ---- buffers and views */

function putBuffer(buffer, at) {
    const entry = entryOf(buffer);
    if (isDetached.call(buffer)) {
        refuse("a detached ArrayBuffer");
    }
    const length = bufferLength.call(buffer);
    const resizable = isResizable.call(buffer);
    if (entry === undefined && length < rawLength()) {
        putByte(resizable ? format.BUFFER_RESIZABLE : format.BUFFER, at);
        const p = putVarint(length, at + 1);
        return putBytes(new Uint8Array(buffer), resizable ? putVarint(maximumLength.call(buffer), p) : p);
    }
    const index = entry === undefined ? addBuffer(copyBuffer(buffer, length)) : entry.index;
    if (entry !== undefined) {
        entry.length = length;
    }
    putByte(resizable ? format.BUFFER_SIDE_RESIZABLE : format.BUFFER_SIDE, at);
    const p = putVarint(length, putVarint(index, at + 1));
    return resizable ? putVarint(maximumLength.call(buffer), p) : p;
}

function copyBuffer(buffer, length) {
    const copy = new Uint8Array(length);
    copy.set(new Uint8Array(buffer));
    return copy.buffer;
}

/* An object may hide what its prototype says. */
function partsOfView(view, typed) {
    if (typed) {
        return { buffer: typedBuffer.call(view), offset: typedOffset.call(view),
            length: typedLength.call(view) };
    }
    const { prototype } = DataView;
    const get = (key) => getOwnPropertyDescriptor(prototype, key).get.call(view);
    return { buffer: get("buffer"), offset: get("byteOffset"), length: get("byteLength") };
}

function putView(object, at) {
    if (isOutOfBounds(object)) {
        refuse("a view that is out of bounds");
    }
    const name = viewName.call(object); /* undefined: a DataView */
    const { buffer, offset, length } = partsOfView(object, name !== undefined);
    if (kindOf(buffer) !== "ArrayBuffer") {
        refuse("a view of shared memory");
    }
    const tracks = isResizable.call(buffer) && tracksLength(object, buffer);
    const size = tracks ? 0 : length + 1;
    putByte(format.VIEW, at);
    putByte(name === undefined ? 0 : format.VIEW_NAMES.indexOf(name), at + 1);
    const p = putVarint(size, putVarint(offset, at + 2));
    return putObject(buffer, p);
}

/* ---- transfers */

/* Does with the transfer list what must be done before the walk: each object gets its
 * entry, { index, length, isHost } (an ImageBitmap that of its buffer), and what is no buffer a function `run` that
 * will transfer it and answers the host's object; run.isLost(): it cannot be transferred any more.  A stream is
 * { name, count, run, drop }: run() answers `count` of them, which stand behind those of the list, and drop() takes
 * them back. */
function enterTransfers(list, transferHost) {
    const transfers = new Map();
    const buffers = [];
    const hosts = [];
    for (const object of list) {
        const buffer = kindOf(object) === "ArrayBuffer" ? object : native.imageBuffer?.(object);
        if (transfers.has(buffer ?? object)) {
            refuseTransfer("an object is transferred twice");
        }
        if (buffer !== undefined) {
            transfers.set(buffer, { index: buffers.push(null) - 1, length: -1, isHost: false });
        } else {
            const run = transferHost?.(object, refuse);
            if (run === undefined) {
                refuseTransfer("what is no buffer, port or stream cannot be transferred");
            }
            transfers.set(object, typeof run === "function"
                ? { index: hosts.push(null) - 1, length: -1, isHost: true, run }
                : { ...run, index: -1, length: -1, isHost: true, indexes: null });
        }
    }
    return { transfers, buffers, hosts };
}

function refuseTransfer(text) {
    if (isPool()) {
        throw new TypeError(text);
    }
    const { DOMException } = native.chunk("dom");
    throw new DOMException(text, "DataCloneError");
}

function finishHost(entry, index, run, hosts) {
    if (run === null) {
        return; /* the place of a stream's port */
    }
    if (entry.name === undefined) {
        hosts[index] = run();
        return;
    }
    const made = run();
    if (entry.indexes === null) {
        entry.drop(made); /* the message does not mention it, so nobody could find it */
        return;
    }
    entry.indexes.forEach((place, i) => {
        hosts[place] = made[i];
    });
}

/* After the walk: no script runs any more, and now the originals are taken, or none of them.  What was detached before
 * is refused here and not sooner, for what a getter throws goes first. */
function finishTransfers({ transfers, buffers, hosts }, takeContent) {
    for (const [object, { length, isHost, run }] of transfers) {
        if (isHost && run?.isLost?.()) {
            refuse("a port that was closed or transferred");
        }
        if (!isHost
                && (isDetached.call(object) || (length >= 0 && bufferLength.call(object) !== length))) {
            refuse("an ArrayBuffer that was detached, or changed meanwhile");
        }
    }
    for (const [object, entry] of transfers) {
        const { index, isHost, run } = entry;
        if (isHost) {
            finishHost(entry, index, run, hosts);
        } else {
            buffers[index] = takeContent?.(object) ?? transferBuffer.call(object);
        }
    }
}

/* Gives this half its means, and hands out what the other half calls. */
export function makeWriter(means) {
    ({ putVarint, putDouble, putNumber, putString, putTag, putBytes, putValue, putObject,
        putProperties, putByte, reserve, refuse, isPool, rawLength, entryOf, addHost,
        addBuffer } = means);
    return { putBigInt, putOddArray, putKind, enterTransfers, finishTransfers };
}
