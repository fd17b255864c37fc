/* The half of the decoder that most messages do not need: big integers, arrays with holes
 * or names, and every object that is not plain. */
import * as format from "./clone_format.js";
import { ERROR_TYPES } from "./clone_errors.js";
import { SERIALIZABLE } from "./clone_kinds.js";

const MOST_RESERVED = 4 * 1024 ** 3; /* address space for all resizable buffers of a message */
const DENSE_LENGTH = 64; /* a sparse array so short may be allocated at once */

const { defineProperty } = Object;
const mapSet = Map.prototype.set;
const setAdd = Set.prototype.add;
const MakeMap = Map;
const MakeSet = Set;
const MakeDate = Date;
const MakeRegExp = RegExp;
const MakeBuffer = ArrayBuffer;
const MakeBytes = Uint8Array;
const makeBigInt = BigInt;
const makeObject = Object;

/* The means to read are clone_decode.js's, which see. */
let refuse;
let readByte;
let readVarint;
let readCount;
let readDouble;
let readValue;
let readItem;
let readArray;
let readShape;
let fillPlain;
let dropGone;
let remember;
let GONE;
let peek;
let takeBytes;
let open;
let close;
let objectAt;
let takeBuffer;
let takeHost;
let reserve;

function readString() {
    const tag = peek();
    if (tag !== format.LATIN1 && tag !== format.UTF16
            && (tag < format.SHORT_STRING || tag >= 128)) {
        refuse("tag");
    }
    return readValue();
}

function readNumber() {
    const tag = peek();
    if (tag < 128 && tag !== format.INT16 && tag !== format.INT32 && tag !== format.FLOAT64) {
        refuse("tag");
    }
    return readValue();
}

/* The engine's own parser takes a second for the longest of big integers: it gets pieces. */
const PARSED_AT_ONCE = 256;

function bigIntOf(magnitude, from, end) {
    const size = end - from;
    if (size > PARSED_AT_ONCE) {
        const middle = from + (size >> 1);
        return bigIntOf(magnitude, middle, end) << makeBigInt((middle - from) * 8)
            | bigIntOf(magnitude, from, middle);
    }
    let digits = "0x0";
    for (let i = end - 1; i >= from; i--) {
        digits += (magnitude[i] < 16 ? "0" : "") + magnitude[i].toString(16);
    }
    return makeBigInt(digits);
}

function readBigInt() {
    const head = readVarint();
    const size = Math.floor(head / 2);
    const magnitude = takeBytes(size);
    if (head === 1 || (size > 0 && magnitude[size - 1] === 0)) {
        refuse("bigint");
    }
    let value;
    try {
        value = bigIntOf(magnitude, 0, size);
    } catch {
        refuse("bigint");
    }
    return head % 2 === 1 ? -value : value;
}

function readRecord(tag) {
    switch (tag) {
    case format.ARRAY_NAMED:
        return readNames(readArray());
    case format.ARRAY_SPARSE:
        return readNames(readSparse());
    case format.MAP:
        return readMap();
    case format.SET:
        return readSet();
    case format.DATE:
        return remember(new MakeDate(readDouble()));
    case format.REGEXP:
        return readRegExp();
    case format.BOXED:
        return readBoxed();
    case format.ERROR:
        return readError();
    case format.DOMEXCEPTION:
        return readDOMException();
    case format.BUFFER:
    case format.BUFFER_RESIZABLE:
        return readBuffer(tag === format.BUFFER_RESIZABLE);
    case format.BUFFER_SIDE:
    case format.BUFFER_SIDE_RESIZABLE:
        return readSide(tag === format.BUFFER_SIDE_RESIZABLE);
    case format.VIEW:
        return readView();
    case format.HOST:
        return readHost();
    default:
        return readPlatform();
    }
}

function readNames(array) {
    const which = readVarint();
    if (which === 0) {
        return array;
    }
    const shape = readShape(which);
    if (!shape.mayName) {
        refuse("index");
    }
    return dropGone(fillPlain(array, shape.keys), shape.keys);
}

function readSparse() {
    const length = readVarint();
    if (length > 4294967295) {
        refuse("index");
    }
    const array = remember([]);
    if (length > DENSE_LENGTH) {
        array.length = 4294967295; /* which the engine holds as a map; and so it stays */
    }
    array.length = length;
    const count = readCount(2);
    for (let i = 0, last = -1; i < count; i++) {
        const index = readVarint();
        if (index <= last || index >= length) {
            refuse("index");
        }
        last = index;
        const item = readItem();
        if (item !== GONE) {
            array[index] = item;
        }
    }
    return array;
}

function readMap() {
    const count = readCount(2);
    const map = remember(new MakeMap());
    for (let i = 0; i < count; i++) {
        const key = readValue();
        mapSet.call(map, key, readValue());
    }
    return map;
}

function readSet() {
    const count = readCount(1);
    const set = remember(new MakeSet());
    for (let i = 0; i < count; i++) {
        setAdd.call(set, readValue());
    }
    return set;
}

/* ---- what has a kind of its own */

function readRegExp() {
    const bits = readByte();
    let flags = "";
    for (let i = 0; i < 8; i++) {
        flags += bits >> i & 1 ? format.FLAGS[i] : "";
    }
    const source = readString();
    let regExp;
    try {
        regExp = new MakeRegExp(source, flags);
    } catch {
        refuse("regexp");
    }
    remember(regExp);
    regExp.lastIndex = readNumber();
    return regExp;
}

function readBoxed() {
    const number = open();
    const tag = peek();
    if (tag < format.FALSE || (tag > format.UTF16 && tag < format.SHORT_STRING)) {
        refuse("tag");
    }
    return close(number, makeObject(readValue()));
}

function hide(object, key, value) {
    defineProperty(object, key, { value, writable: true, enumerable: false, configurable: true });
}

/* An error that came without a stack has none, rather than the decoder's. */
function hideStack(error, stack) {
    if (stack === undefined) {
        delete error.stack;
    } else {
        hide(error, "stack", stack);
    }
}

function readError() {
    const type = readByte();
    const parts = readByte();
    if (type >= ERROR_TYPES.length || parts > 63
            || (parts & format.ERRORS && type !== format.AGGREGATE)) {
        refuse("error");
    }
    const Constructor = ERROR_TYPES[type];
    const error = remember(type === format.AGGREGATE ? new Constructor([]) : new Constructor());
    if (parts & format.MESSAGE) {
        hide(error, "message", readString());
    }
    hideStack(error, parts & format.STACK ? readString() : undefined);
    if (parts & format.NAME) {
        hide(error, "name", readString());
    }
    if (parts & format.CAUSE) {
        hide(error, "cause", readValue());
    }
    if (type === format.AGGREGATE) {
        delete error.errors;
    }
    if (parts & format.ERRORS) {
        hide(error, "errors", readValue());
    }
    return parts & format.EXTRA ? readExtra(error) : error;
}

function readExtra(error) {
    const which = readVarint();
    if (which === 0) {
        refuse("error");
    }
    const { keys } = readShape(which);
    for (const key of keys) {
        const value = readItem();
        if (value !== GONE) {
            defineProperty(error, key,
                { value, writable: true, enumerable: true, configurable: true });
        }
    }
    return error;
}

function readQuota() {
    if (peek() === format.NULL) {
        readByte();
        return undefined;
    }
    return readNumber();
}

function readDOMException() {
    const number = open();
    const parts = readByte();
    if (parts > 3) {
        refuse("error");
    }
    const dom = native.chunk("dom");
    const name = readString();
    const message = readString();
    const stack = parts & format.DOM_STACK ? readString() : undefined;
    let error;
    if (parts & format.DOM_QUOTA) {
        const given = { quota: readQuota(), requested: readQuota() };
        try {
            error = new dom.QuotaExceededError(message, given);
        } catch {
            refuse("error");
        }
    } else {
        error = new dom.DOMException(message, name);
    }
    hideStack(error, stack);
    return close(number, error);
}

/* ---- buffers and views */

function makeBuffer(length, maximum) {
    if (maximum === undefined) {
        try {
            return new MakeBuffer(length);
        } catch {
            return refuse("buffer");
        }
    }
    if (maximum < length || reserve(maximum) > MOST_RESERVED) {
        refuse("buffer");
    }
    try {
        return new MakeBuffer(length, { maxByteLength: maximum });
    } catch {
        return refuse("buffer");
    }
}

function readBuffer(resizable) {
    const length = readVarint();
    const maximum = resizable ? readVarint() : undefined;
    const content = takeBytes(length);
    const buffer = makeBuffer(length, maximum);
    new MakeBytes(buffer).set(content);
    return remember(buffer);
}

function readSide(resizable) {
    const index = readVarint();
    const length = readVarint();
    const maximum = resizable ? readVarint() : undefined;
    const given = takeBuffer(index);
    if (given === undefined || given.byteLength !== length) {
        refuse("buffer");
    }
    if (!resizable || (given.resizable && given.maxByteLength === maximum)) {
        return remember(given);
    }
    const buffer = makeBuffer(length, maximum);
    new MakeBytes(buffer).set(new MakeBytes(given));
    return remember(buffer);
}

/* Each of these constructors costs time when a realm first asks for it. */
const viewTypes = [];

function viewType(kind) {
    return viewTypes[kind] ??= globalThis[format.VIEW_NAMES[kind]];
}

function readView() {
    const number = open();
    const kind = readByte();
    const offset = readVarint();
    const size = readVarint();
    const tag = peek();
    if (kind >= format.VIEW_SIZES.length || offset % format.VIEW_SIZES[kind] !== 0
            || (tag !== format.REF && (tag < format.BUFFER || tag > format.BUFFER_SIDE_RESIZABLE))) {
        refuse("view");
    }
    const buffer = tag === format.REF ? readBufferReference() : readValue();
    if (offset + Math.max(size - 1, 0) * format.VIEW_SIZES[kind] > buffer.byteLength
            || (size === 0 && !buffer.resizable)) {
        refuse("view");
    }
    const Constructor = viewType(kind);
    return close(number, size === 0 ? new Constructor(buffer, offset)
        : new Constructor(buffer, offset, size - 1));
}

function readBufferReference() {
    readByte();
    const buffer = objectAt(readVarint());
    return buffer instanceof MakeBuffer ? buffer : refuse("view");
}

function readHost() {
    return remember(takeHost(readVarint()) ?? refuse("host"));
}

/* Classes of which nothing but their objects' values travels, by the chunk that can make them again. */
const PLATFORM = { ...SERIALIZABLE, ReadableStream: "stream_ports", WritableStream: "stream_ports",
    TransformStream: "stream_ports" };

function readPlatform() {
    const number = open();
    const name = readString();
    const value = readValue();
    if (!Object.hasOwn(PLATFORM, name)) {
        refuse("platform");
    }
    let object;
    try {
        object = native.chunk(PLATFORM[name]).deserialize(value, name);
    } catch {
        refuse("platform");
    }
    return close(number, object);
}

/* Gives this half its means, and hands out what the other half calls. */
export function makeReader(means) {
    ({ refuse, readByte, readVarint, readCount, readDouble, readValue, readItem, readArray,
        readShape, fillPlain, dropGone, remember, GONE, peek, takeBytes, open, close, objectAt,
        takeBuffer, takeHost, reserve } = means);
    return { readBigInt, readRecord };
}
