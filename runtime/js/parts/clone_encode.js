/* From values to the bytes of docs/clone.md.
 *
 * The writer is one set of variables, so that the engine compiles it well.  A getter
 * that encodes while its own object is being encoded gets a fresh set: see
 * encodeMessage().  The rule for room: whoever is about to write has SLACK bytes, for
 * what needs more asks reserve() first.
 *
 * Here are plain values; all that is rarer is in the chunk clone_rare. */
import * as format from "./clone_format.js";
import { doubleBytes, doubles, MAX_SHAPE_KEYS, SHORT_STRING, SMALL } from "./clone_format.js";

const SLACK = 256;
const FIRST_SIZE = 4096;
const KEPT_SIZE = 1 << 20; /* a larger buffer is given back after the message */
const FEW = 12; /* so many objects are searched one by one, more through a Map */
const SLOTS = 256; /* of the direct-mapped table of shapes; a power of two */
const MOST_SHAPES = 2048; /* all are forgotten when a message begins with more */
const FEW_BYTES = 64; /* are copied one by one: a call costs more */
const HOT = 16; /* uses of a shape before code is made for it */

const { getPrototypeOf, keys: ownKeys, hasOwn } = Object;
const { isArray } = Array;
const { stringify } = JSON;
const ObjectPrototype = Object.prototype;
const tagString = Object.prototype.toString;
const { isProxy } = native; /* once: reading what the host's object does not have is slow */

/* ---- the writer's state */

/* Where messages are written: the engine's outbox, if there is an engine, and for longer ones a larger array. */
const home = native.boxes?.()[0] ?? new Uint8Array(FIRST_SIZE);
let large = null; /* one that grew, kept for the next long message; null while it is used */
let bytes = home;
let limit = home.length - SLACK; /* at most here SLACK bytes are free */

let pool = false; /* the mode */
let raw = Infinity; /* buffers of so many bytes go to the side table */
let busy = false;
let depth = 0;

const few = new Array(FEW); /* the objects by their numbers ... */
let seen = null; /* ... until there are more: object -> number */
let objectCount = 0;

let beside = null; /* what travels beside the bytes: { transfers, buffers, hosts } */

let shapes = new Map(); /* the text of all keys -> shape, for what the slots lost */
let slots = new Array(SLOTS);
let messageNumber = 0;
let shapeCount = 0;

function refuse(what) {
    const text = `${what} cannot be cloned`;
    if (pool) {
        throw new TypeError(text);
    }
    const { DOMException } = native.chunk("dom");
    throw new DOMException(text, "DataCloneError");
}

/* Room for `size` bytes at `at`, and SLACK after them. */
function reserve(at, size) {
    if (at + size <= limit) {
        return;
    }
    let length = bytes.length * 2;
    while (length < at + size + SLACK) {
        length *= 2;
    }
    const larger = large !== null && large.length >= length ? large : new Uint8Array(length);
    large = null;
    larger.set(bytes.subarray(0, at));
    useBytes(larger);
}

function useBytes(array) {
    bytes = array;
    limit = array.length - SLACK;
}

/* ---- parts of records: each takes the place to write at and returns the next */

function putVarint(value, at) {
    if (value < 128) {
        bytes[at] = value;
        return at + 1;
    }
    let left = value;
    let p = at;
    while (left > 127) {
        bytes[p++] = left % 128 | 128;
        left = Math.floor(left / 128);
    }
    bytes[p] = left;
    return p + 1;
}

function putDouble(value, at) {
    doubles[0] = value === value ? value : NaN;
    for (let i = 0; i < 8; i++) {
        bytes[at + i] = doubleBytes[i];
    }
    return at + 8;
}

function putNumber(value, at) {
    if (at > limit) {
        reserve(at, 0);
    }
    const integer = value | 0;
    if (integer !== value || (integer === 0 && 1 / value < 0)) {
        bytes[at] = format.FLOAT64;
        return putDouble(value, at + 1);
    }
    if (integer >= -32 && integer <= 95) {
        bytes[at] = SMALL + integer;
        return at + 1;
    }
    if (integer >= -32768 && integer <= 32767) {
        bytes[at] = format.INT16;
        bytes[at + 1] = integer;
        bytes[at + 2] = integer >> 8;
        return at + 3;
    }
    bytes[at] = format.INT32;
    bytes[at + 1] = integer;
    bytes[at + 2] = integer >> 8;
    bytes[at + 3] = integer >> 16;
    bytes[at + 4] = integer >> 24;
    return at + 5;
}

function putUnits(text, at) {
    for (let i = 0, p = at; i < text.length; i++, p += 2) {
        const unit = text.charCodeAt(i);
        bytes[p] = unit;
        bytes[p + 1] = unit >> 8;
    }
    return at + text.length * 2;
}

function putString(text, at) {
    const length = text.length;
    if (length >= 64) {
        return putLongString(text, at);
    }
    if (at > limit) {
        reserve(at, 0);
    }
    const target = bytes;
    const first = at + 1;
    for (let i = 0; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 255) {
            target[at] = format.UTF16;
            target[at + 1] = length;
            return putUnits(text, at + 2);
        }
        target[first + i] = unit;
    }
    target[at] = SHORT_STRING + length;
    return first + length;
}

function putLongString(text, at) {
    const length = text.length;
    reserve(at, length);
    const target = bytes;
    target[at] = format.LATIN1;
    const first = putVarint(length, at + 1);
    for (let i = 0; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 255) {
            reserve(at, length * 2);
            bytes[at] = format.UTF16;
            return putUnits(text, putVarint(length, at + 1));
        }
        target[first + i] = unit;
    }
    return first + length;
}

function putBytes(array, at) {
    const { length } = array;
    reserve(at, length);
    const target = bytes;
    if (length > FEW_BYTES) {
        target.set(array, at);
    } else {
        for (let i = 0; i < length; i++) {
            target[at + i] = array[i];
        }
    }
    return at + length;
}

/* ---- values */

function putValue(value, at) {
    switch (typeof value) {
    case "string":
        return putString(value, at);
    case "number":
        return putNumber(value, at);
    case "object":
        if (value !== null) {
            return putObject(value, at);
        }
        return putTag(format.NULL, at);
    case "boolean":
        return putTag(value ? format.TRUE : format.FALSE, at);
    case "undefined":
        return putTag(format.UNDEFINED, at);
    case "bigint":
        return rare().putBigInt(value, at);
    default:
        return refuse(`a ${typeof value}`);
    }
}

function putTag(tag, at) {
    if (at > limit) {
        reserve(at, 0);
    }
    bytes[at] = tag;
    return at + 1;
}

/* A property's or item's value when it is undefined: it may be gone. */
function putUndefined(object, key, at) {
    return putTag(hasOwn(object, key) ? format.UNDEFINED : format.HOLE, at);
}

/* Its number, or -1 and it is given the next. */
function numberOf(object) {
    if (seen === null) {
        for (let i = 0; i < objectCount; i++) {
            if (few[i] === object) {
                return i;
            }
        }
        if (objectCount < FEW) {
            few[objectCount++] = object;
            return -1;
        }
        seen = new Map();
        for (let i = 0; i < FEW; i++) {
            seen.set(few[i], i);
        }
    } else {
        const number = seen.get(object);
        if (number !== undefined) {
            return number;
        }
    }
    seen.set(object, objectCount++);
    return -1;
}

/* A tag may be a getter of the script's, which throws. */
function hasPlainTag(object) {
    try {
        return tagString.call(object) === "[object Object]";
    } catch {
        return false;
    }
}

function putObject(object, at) {
    if (at > limit) {
        reserve(at, 0);
    }
    const number = numberOf(object);
    if (number >= 0) {
        bytes[at] = format.REF;
        return putVarint(number, at + 1);
    }
    if (depth === format.MAX_DEPTH) {
        refuse("what is so deep");
    }
    depth++;
    let next;
    if (isProxy !== undefined && isProxy(object)) {
        refuse("a proxy");
    }
    if (isArray(object)) {
        next = putArray(object, at);
    } else {
        const prototype = getPrototypeOf(object);
        if ((prototype === ObjectPrototype || prototype === null) && hasPlainTag(object)) {
            bytes[at] = format.OBJECT;
            next = putProperties(object, ownKeys(object), at + 1);
        } else {
            next = rare().putKind(object, at);
        }
    }
    depth--;
    return next;
}

/* ---- properties and shapes */

/* All of a shape that does not change: its keys, and the bytes that define it. */
class Shape {
    constructor(keys) {
        this.keys = keys;
        this.definition = defineKeys(keys);
        this.message = 0; /* the last one that used it, and ... */
        this.number = 0; /* ... its number there */
        this.uses = 0;
        this.writer = null;
        /* What an object inherits would hide that the property is gone. */
        this.canCompile = keys.every((key) => !(key in ObjectPrototype));
    }
}

/* The bytes "1, size, block" of a new shape, made in the writer's own buffer's tail. */
function defineKeys(keys) {
    let size = 10;
    for (const key of keys) {
        size += key.length * 2 + 10;
    }
    const outer = bytes;
    useBytes(new Uint8Array(size + SLACK));
    let at = putVarint(keys.length, 0);
    for (const key of keys) {
        at = putKey(key, at);
    }
    const block = bytes.slice(0, at);
    bytes[0] = 1;
    const start = putVarint(block.length, 1);
    bytes.set(block, start);
    const definition = bytes.slice(0, start + block.length);
    useBytes(outer);
    return definition;
}

function putKey(key, at) {
    let wide = 0;
    for (let i = 0; i < key.length; i++) {
        if (key.charCodeAt(i) > 255) {
            wide = 1;
        }
    }
    let p = putVarint(key.length * 2 + wide, at);
    if (wide === 1) {
        return putUnits(key, p);
    }
    for (let i = 0; i < key.length; i++) {
        bytes[p++] = key.charCodeAt(i);
    }
    return p;
}

function sameKeys(one, two) {
    const count = one.length;
    if (two.length !== count) {
        return false;
    }
    for (let i = 0; i < count; i++) {
        if (one[i] !== two[i]) {
            return false;
        }
    }
    return true;
}

function findShape(keys) {
    const count = keys.length;
    const first = keys[0];
    const last = keys[count - 1];
    const slot = (count * 31 + first.length * 7 + last.length * 3
        + first.charCodeAt(0) * 5 + last.charCodeAt(last.length - 1)) & SLOTS - 1;
    const shape = slots[slot];
    if (shape !== undefined && sameKeys(shape.keys, keys)) {
        return shape;
    }
    return slots[slot] = lookUpShape(keys);
}

function lookUpShape(keys) {
    const text = stringify(keys);
    let shape = shapes.get(text);
    if (shape === undefined) {
        shape = new Shape(keys);
        shapes.set(text, shape);
    }
    return shape;
}

function putShape(shape, at) {
    if (shape.message === messageNumber) {
        return putVarint(shape.number + 2, at);
    }
    shape.message = messageNumber;
    shape.number = shapeCount++;
    return putBytes(shape.definition, at);
}

function compileWriter(shape) {
    const lines = shape.keys.map((key) => {
        const property = `o[${stringify(key)}]`;
        return `v=${property};p=typeof v==="string"?S(v,p):typeof v==="number"?N(v,p):`
            + `v===undefined?U(o,${stringify(key)},p):V(v,p);`;
    });
    const make = format.compile(["S", "N", "U", "V"],
        `return function(o,p){let v;${lines.join("\n")}return p}`);
    if (make === null) {
        shape.canCompile = false;
        return null;
    }
    return make(putString, putNumber, putUndefined, putValue);
}

/* Keys was taken when the object was met; what is gone since is a HOLE. */
function putProperties(object, keys, at) {
    const count = keys.length;
    if (count === 0) {
        bytes[at] = 0;
        return at + 1;
    }
    if (count > MAX_SHAPE_KEYS) {
        return putEach(object, keys, putBytes(defineKeys(keys), at));
    }
    const shape = findShape(keys);
    const next = putShape(shape, at);
    if (shape.writer !== null) {
        return shape.writer(object, next);
    }
    if (shape.canCompile && ++shape.uses > HOT) {
        shape.writer = compileWriter(shape);
    }
    return putEach(object, keys, next);
}

function putEach(object, keys, at) {
    let p = at;
    for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        p = hasOwn(object, key) ? putValue(object[key], p) : putTag(format.HOLE, p);
    }
    return p;
}

/* ---- arrays */

const MOST_BY_KEYS = 12; /* items: Object.keys() costs less than an enumeration */

/* Nothing tells that an array has no holes and no named properties but looking at
 * all keys; they come in order, so the last one and their number say it. */
function isDense(array, length) {
    if (length <= MOST_BY_KEYS) {
        const keys = ownKeys(array);
        return keys.length === length && (length === 0 || keys[length - 1] === `${length - 1}`);
    }
    let count = 0;
    let last = "";
    for (const key in array) {
        count++;
        last = key;
    }
    return count === length && last === `${length - 1}`;
}

function putArray(array, at) {
    const length = array.length;
    if (!isDense(array, length)) {
        return rare().putOddArray(array, length, at);
    }
    bytes[at] = format.ARRAY;
    let p = putVarint(length, at + 1);
    for (let i = 0; i < length; i++) {
        const item = array[i];
        p = typeof item === "number" ? putNumber(item, p)
            : item === undefined ? putUndefined(array, i, p) : putValue(item, p);
    }
    return p;
}

/* ---- messages */

let rareWriter = null;

/* The other half, with the means to write. */
function rare() {
    return rareWriter ??= native.chunk("clone_rare").makeWriter({
        putVarint, putDouble, putNumber, putString, putTag, putBytes, putValue, putObject,
        putProperties, reserve, refuse,
        putByte(byte, at) {
            bytes[at] = byte;
            return at + 1;
        },
        isPool: () => pool,
        rawLength: () => raw,
        entryOf: (object) => beside?.transfers.get(object),
        /* Stands for one more object of the host. */
        addHost(object) {
            const index = beside.hosts.push(null) - 1;
            beside.transfers.set(object, { index, length: -1, isHost: true, run: null });
            return index;
        },
        addBuffer(buffer) {
            beside ??= { transfers: new Map(), buffers: [], hosts: [] };
            return beside.buffers.push(buffer) - 1;
        },
    });
}

/* The state of an encoder that a getter interrupts, and a fresh one for what runs inside. */
function enterNested() {
    const outer = { bytes, pool, raw, depth, few: few.slice(), seen, objectCount, beside,
        shapes, slots, messageNumber, shapeCount };
    useBytes(new Uint8Array(FIRST_SIZE));
    shapes = new Map();
    slots = new Array(SLOTS);
    return outer;
}

function leaveNested(outer) {
    ({ pool, raw, depth, seen, objectCount, beside, shapes, slots, messageNumber,
        shapeCount } = outer);
    outer.few.forEach((object, i) => {
        few[i] = object;
    });
    useBytes(outer.bytes);
}

function begin(poolMode, rawLength) {
    busy = true;
    pool = poolMode;
    raw = rawLength;
    depth = 0;
    seen = null;
    objectCount = 0;
    shapeCount = 0;
    messageNumber++;
    if (shapes.size > MOST_SHAPES) {
        shapes = new Map();
        slots = new Array(SLOTS);
    }
}

/* Lets go of what belongs to scripts. */
function end() {
    for (let i = 0; i < FEW && few[i] !== undefined; i++) {
        few[i] = undefined;
    }
    seen = null;
    beside = null;
    busy = false;
}

function write(value, options, finish) {
    const list = options?.transfer;
    begin(options?.pool === true, options?.raw ?? Infinity);
    try {
        if (list !== undefined && list.length > 0) {
            beside = rare().enterTransfers(list, options.transferHost);
        }
        bytes[0] = format.MAGIC;
        bytes[1] = format.VERSION;
        const length = putValue(value, 2);
        if (beside === null) {
            return finish(bytes, length, null, null, options);
        }
        rare().finishTransfers(beside, options.takeContent);
        return finish(bytes, length, beside.buffers, beside.hosts, options);
    } finally {
        end();
    }
}

/* Calls finish(array, length, buffers, hosts, options): the message is the first `length` bytes
 * of the array, which is the encoder's and is written over by the next message; the
 * two lists may be null.  Options: pool (boolean, else web mode), transfer (an array),
 * raw (a number of bytes), transferHost(object, refuse): undefined, or a function that
 * transfers and returns the host's object, or what stands for a stream (see clone_encode_rare.js). */
export function encodeMessage(value, options, finish) {
    if (!busy) {
        try {
            return write(value, options, finish);
        } finally {
            if (bytes !== home) {
                large = bytes.length > KEPT_SIZE ? null : bytes;
                useBytes(home);
            }
        }
    }
    const outer = enterNested();
    try {
        return write(value, options, finish);
    } finally {
        leaveNested(outer);
        busy = true;
    }
}
