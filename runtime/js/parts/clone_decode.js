/* From the bytes of docs/clone.md to values.  The bytes may come from an enemy: every
 * length is checked against what is left before anything is made of it.
 *
 * No script runs while this does, so one set of variables is enough.  Here are plain
 * values; all that is rarer is in the chunk clone_rare. */
import * as format from "./clone_format.js";
import { doubleBytes, doubles, MAX_SHAPE_KEYS, SHORT_STRING, SMALL } from "./clone_format.js";

const SLOTS = 256; /* of the shapes that are known by their bytes; a power of two */
const MOST_BLOCK = 4096; /* bytes of keys; longer ones are read anew each time */
const HOT = 16; /* uses of a shape, or of a string's length, before code is made for it */
const STRING_SLOTS = 512; /* a power of two */

const { defineProperty } = Object;
const { fromCharCode } = String;
const { stringify } = JSON;
const apply = Reflect.apply;
const MakeArray = Array;
const MakeSet = Set;
const MakeBytes = Uint8Array;

/* In the place of a value that is not there, until the reader of its container sees it. */
const GONE = { gone: true };

/* ---- the reader's state */

let bytes = new Uint8Array(0);
let at = 0;
let end = 0;
let depth = 0;
const FEW = 1000; /* so many slots of `objects` are kept and cleared, more are thrown away */
let objects = []; /* by their numbers; undefined while a record is not complete */
let objectCount = 0;
let shapes = [];
let shapeCount = 0;
let goneCount = 0; /* how many GONE were read; a change tells the container to look */
let buffers = null;
let hosts = null;
let reserved = 0;

function refuse(reason) {
    const error = new TypeError(`a structured clone is refused at byte ${at}: ${reason}`);
    error.reason = reason;
    throw error;
}

function need(size) {
    if (size > end - at) {
        refuse("truncated");
    }
}

/* ---- parts of records */

function readByte() {
    if (at >= end) {
        refuse("truncated");
    }
    return bytes[at++];
}

function readVarint() {
    const first = readByte();
    return first < 128 ? first : readLongVarint(first - 128);
}

function readLongVarint(first) {
    let value = first;
    for (let scale = 128; scale <= 2 ** 49; scale *= 128) {
        const byte = readByte();
        value += (byte & 127) * scale;
        if (byte < 128) {
            return byte === 0 || value > Number.MAX_SAFE_INTEGER ? refuse("varint") : value;
        }
    }
    return refuse("varint");
}

/* A number of things of which each takes at least so many bytes. */
function readCount(least) {
    const count = readVarint();
    need(count * least);
    return count;
}

function readDouble() {
    need(8);
    for (let i = 0; i < 8; i++) {
        doubleBytes[i] = bytes[at + i];
    }
    at += 8;
    return doubles[0];
}

function readInt16() {
    need(2);
    const value = bytes[at] | bytes[at + 1] << 24 >> 16;
    at += 2;
    return value;
}

function readInt32() {
    need(4);
    const value = bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
    at += 4;
    return value;
}

/* ---- strings */

/* Strings that come again and again are found by their bytes: half the price of making
 * them.  Where all are new, looking is a waste: after MISSES in a row the next SKIPPED
 * are made without. */
const knownStrings = new Array(STRING_SLOTS);
const MISSES = 32;
const SKIPPED = 512;
let misses = 0;
let skipping = 0;
/* By length: function (place) -> a string of the bytes there, made for those that come often. */
const makers = new Array(64);
const uses = new MakeBytes(64);
const unitLists = new Array(64); /* for fromCharCode, by length */

function makeString(from, length) {
    const units = unitLists[length] ??= new MakeArray(length).fill(0);
    for (let i = 0; i < length; i++) {
        units[i] = bytes[from + i];
    }
    return apply(fromCharCode, undefined, units);
}

/* One call with all the units is twice as fast as a call with a list of them. */
function compileMaker(length) {
    const units = Array.from({ length }, (_, i) => `b[p+${i}]`).join(",");
    return format.compile(["f"], `return function(b,p){return f(${units})}`)?.(fromCharCode)
        ?? ((_, from) => makeString(from, length));
}

function makeShort(length, from) {
    const maker = makers[length];
    if (maker !== undefined) {
        return maker(bytes, from);
    }
    if (++uses[length] === HOT) {
        makers[length] = compileMaker(length);
    }
    return makeString(from, length);
}

function readShort(length) {
    const from = at;
    if (length > end - from) {
        refuse("truncated");
    }
    at = from + length;
    if (length < 2) {
        return length === 0 ? "" : fromCharCode(bytes[from]);
    }
    if (skipping > 0) {
        skipping--;
        return makeShort(length, from);
    }
    const slot = (length * 37 + bytes[from] * 7 + bytes[from + length - 1] * 5
        + bytes[from + (length >> 1)] * 11 + bytes[from + (length >> 2)]) & STRING_SLOTS - 1;
    const known = knownStrings[slot];
    if (known !== undefined && known.length === length) {
        let i = 0;
        while (i < length && known.charCodeAt(i) === bytes[from + i]) {
            i++;
        }
        if (i === length) {
            misses = 0;
            return known;
        }
    }
    if (++misses === MISSES) {
        misses = 0;
        skipping = SKIPPED;
    }
    return knownStrings[slot] = makeShort(length, from);
}

const PIECE = 1024; /* units that are made into a string at once */

function isAscii(from, stop) {
    for (let i = from; i < stop; i++) {
        if (bytes[i] > 127) {
            return false;
        }
    }
    return true;
}

function readLatin1(length) {
    need(length);
    let text = "";
    const stop = at + length;
    if (length >= PIECE && native.utf8Decode !== undefined && isAscii(at, stop)) {
        text = native.utf8Decode(bytes.subarray(at, stop), false);
        at = stop;
        return text;
    }
    const piece = length >= PIECE ? new MakeArray(PIECE) : null;
    while (stop - at >= PIECE) {
        for (let i = 0; i < PIECE; i++) {
            piece[i] = bytes[at + i];
        }
        text += apply(fromCharCode, undefined, piece);
        at += PIECE;
    }
    const rest = new MakeArray(stop - at);
    for (let i = 0; at < stop; i++) {
        rest[i] = bytes[at++];
    }
    return text + apply(fromCharCode, undefined, rest);
}

function readUtf16(length) {
    need(length * 2);
    let text = "";
    const stop = at + length * 2;
    while (at < stop) {
        const units = new MakeArray(Math.min(PIECE, (stop - at) / 2));
        for (let i = 0; i < units.length; i++, at += 2) {
            units[i] = bytes[at] | bytes[at + 1] << 8;
        }
        text += apply(fromCharCode, undefined, units);
    }
    return text;
}

/* ---- values */

function readValue() {
    if (at >= end) {
        refuse("truncated");
    }
    const tag = bytes[at++];
    if (tag >= 128) {
        return tag - SMALL;
    }
    if (tag >= SHORT_STRING) {
        return readShort(tag - SHORT_STRING);
    }
    switch (tag) {
    case format.UNDEFINED:
        return undefined;
    case format.NULL:
        return null;
    case format.FALSE:
        return false;
    case format.TRUE:
        return true;
    case format.INT16:
        return readInt16();
    case format.INT32:
        return readInt32();
    case format.FLOAT64:
        return readDouble();
    case format.BIGINT:
        return rare().readBigInt();
    case format.LATIN1:
        return readLatin1(readVarint());
    case format.UTF16:
        return readUtf16(readVarint());
    case format.REF:
        return readReference();
    default:
        return tag >= format.OBJECT && tag <= format.PLATFORM ? readObject(tag) : refuse("tag");
    }
}

/* A value, or GONE. */
function readItem() {
    if (at < end && bytes[at] === format.HOLE) {
        at++;
        goneCount++;
        return GONE;
    }
    return readValue();
}

function readReference() {
    const number = readVarint();
    return (number < objectCount ? objects[number] : undefined) ?? refuse("ref");
}

function readObject(tag) {
    if (depth === format.MAX_DEPTH) {
        refuse("deep");
    }
    depth++;
    const object = readRecord(tag);
    depth--;
    return object;
}

function remember(object) {
    objects[objectCount++] = object;
    return object;
}

function readRecord(tag) {
    return tag === format.OBJECT ? readPlain() : tag === format.ARRAY ? readArray()
        : rare().readRecord(tag);
}

let rareReader = null;

/* The other half, with the means to read. */
function rare() {
    return rareReader ??= native.chunk("clone_rare").makeReader({
        refuse, readByte, readVarint, readCount, readDouble, readValue, readItem, readArray,
        readShape, fillPlain, dropGone, remember, GONE,
        /* The next byte, which stays. */
        peek: () => at < end ? bytes[at] : refuse("truncated"),
        /* Borrowed until the message ends. */
        takeBytes(length) {
            need(length);
            at += length;
            return bytes.subarray(at - length, at);
        },
        /* The number of an object that exists only when its record has been read. */
        open() {
            objects[objectCount] = undefined;
            return objectCount++;
        },
        close: (number, object) => objects[number] = object,
        objectAt: (number) => number < objectCount ? objects[number] : refuse("ref"),
        takeBuffer: (index) => takeFrom(buffers, index),
        takeHost: (index) => takeFrom(hosts, index),
        reserve: (length) => reserved += length,
    });
}

/* An entry of what came beside the bytes, once; undefined if there is none. */
function takeFrom(list, index) {
    if (list === null || index >= list.length) {
        return undefined;
    }
    const entry = list[index];
    list[index] = undefined; /* the list is our own */
    return entry;
}

/* ---- properties and shapes */

function put(target, key, value) {
    if (key in target) { /* a setter or __proto__, on a prototype */
        defineProperty(target, key,
            { value, writable: true, enumerable: true, configurable: true });
    } else {
        target[key] = value;
    }
}

/* A list of keys as it was read, and code that makes objects with them. */
class Shape {
    constructor(keys, block) {
        this.keys = keys;
        this.block = block;
        this.uses = 0;
        this.make = null; /* -> an object with all keys, undefined ... */
        this.fill = null; /* ... into which the values are read */
        this.canCompile = keys.length <= MAX_SHAPE_KEYS;
        this.mayName = keys.every((key) => key !== "length" && !isIndex(key));
    }

    compile() {
        const names = this.keys.map((key) => stringify(key));
        this.make = format.compile([], `return {${names.map((name) => `[${name}]:undefined`)}}`);
        const compiled = format.compile(["V"],
            `return function(o){${names.map((name) => `o[${name}]=V();`).join("")}}`);
        this.canCompile = false;
        /* Assigning to __proto__ would not set the property, though there is one. */
        this.fill = this.keys.includes("__proto__") ? null : compiled?.(readItem) ?? null;
    }
}

function isIndex(key) {
    const number = key >>> 0;
    return number < 4294967295 && `${number}` === key;
}

const knownShapes = new Array(SLOTS);

function readShape(which) {
    if (which !== 1) {
        return which - 2 < shapeCount ? shapes[which - 2] : refuse("shape");
    }
    const size = readVarint();
    need(size);
    const slot = (size * 31 + bytes[at] * 7 + (size > 2 ? bytes[at + 2] * 5 + bytes[at + size - 1] * 3 : 0))
        & SLOTS - 1;
    const known = knownShapes[slot];
    let shape;
    if (known !== undefined && known.block.length === size && hasBlock(known.block)) {
        at += size;
        shape = known;
    } else {
        shape = parseShape(size);
        if (size <= MOST_BLOCK) {
            knownShapes[slot] = shape;
        }
    }
    if (shape.keys.length <= MAX_SHAPE_KEYS) {
        shapes[shapeCount++] = shape;
    }
    return shape;
}

function hasBlock(block) {
    const size = block.length;
    for (let i = 0; i < size; i++) {
        if (block[i] !== bytes[at + i]) {
            return false;
        }
    }
    return true;
}

/* Within the block, its end is the end of all. */
function parseShape(size) {
    const outer = end;
    const block = size <= MOST_BLOCK ? bytes.slice(at, at + size) : new MakeBytes(0);
    const keys = [];
    end = at + size;
    try {
        const count = readCount(1);
        for (let i = 0; i < count; i++) {
            const head = readVarint();
            const length = Math.floor(head / 2);
            keys.push(head % 2 === 1 ? readUtf16(length)
                : length < 64 ? readShort(length) : readLatin1(length));
        }
    } catch (error) {
        end = outer;
        refuse(error.reason === "truncated" ? "keys" : error.reason ?? "keys");
    }
    const complete = at === end;
    end = outer;
    if (!complete || keys.length === 0 || new MakeSet(keys).size !== keys.length) {
        refuse("keys");
    }
    return new Shape(keys, block);
}

function readPlain() {
    const which = readVarint();
    if (which === 0) {
        return remember({});
    }
    const shape = readShape(which);
    need(shape.keys.length);
    const before = goneCount;
    let object;
    if (shape.fill !== null) {
        object = remember(shape.make());
        shape.fill(object);
    } else {
        if (shape.canCompile && ++shape.uses > HOT) {
            shape.compile();
        }
        object = fillPlain(remember({}), shape.keys);
    }
    return goneCount === before ? object : dropGone(object, shape.keys);
}

function fillPlain(object, keys) {
    for (let i = 0; i < keys.length; i++) {
        put(object, keys[i], readItem());
    }
    return object;
}

function dropGone(object, keys) {
    for (const key of keys) {
        if (object[key] === GONE) {
            delete object[key];
        }
    }
    return object;
}

function readArray() {
    const length = readCount(1);
    const array = remember([]);
    const before = goneCount;
    for (let i = 0; i < length; i++) {
        const tag = bytes[at];
        if (tag >= 128 && at < end) {
            at++;
            array[i] = tag - SMALL;
        } else {
            array[i] = readItem();
        }
    }
    if (goneCount !== before) {
        for (let i = 0; i < length; i++) {
            if (array[i] === GONE) {
                delete array[i];
            }
        }
    }
    return array;
}

/* ---- messages */

function begin(array, length, givenBuffers, givenHosts) {
    bytes = array;
    at = 0;
    end = length;
    depth = 0;
    shapeCount = 0;
    goneCount = 0;
    reserved = 0;
    objectCount = 0;
    buffers = givenBuffers ? givenBuffers.slice() : null;
    hosts = givenHosts ? givenHosts.slice() : null;
}

/* Of what belongs to scripts now. */
function letGo() {
    if (objectCount > FEW) {
        objects = [];
    } else {
        for (let i = 0; i < objectCount; i++) {
            objects[i] = undefined;
        }
    }
    buffers = null;
    hosts = null;
}

function readMessage() {
    if (readByte() !== format.MAGIC) {
        refuse("magic");
    }
    if (readByte() !== format.VERSION) {
        refuse("version");
    }
    const value = readValue();
    return at === end ? value : refuse("trailing");
}

/* The value of the first `length` bytes.  Takes entries out of copies of the two lists,
 * which may be null.  Throws a TypeError whose `reason` is a word of docs/clone.md. */
export function decodeMessage(array, length, givenBuffers, givenHosts) {
    begin(array, length, givenBuffers, givenHosts);
    try {
        return readMessage();
    } catch (error) {
        if (error instanceof RangeError) {
            refuse("deep"); /* the stack ended */
        }
        throw error;
    } finally {
        letGo();
    }
}
