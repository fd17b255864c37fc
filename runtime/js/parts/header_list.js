/* Header lists as flat arrays [name, value, name, value, ...] of lower-case names.
 *
 * A list is changed in place and never replaced, so that a Request or Response and
 * its Headers object can share it.  This is part of the chunk "fetch", whose
 * exports have what other chunks need of it. */
import { byteString } from "./webidl.js";

export const plainGuard = 0;
export const requestGuard = 1;
export const noCorsGuard = 2;
export const responseGuard = 3;
export const immutableGuard = 4;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MOST_NAMES = 1000;

const names = new Map(); /* as written -> in lower case; checked once */

export function lowerName(name) {
    const known = names.get(name);
    if (known !== undefined) {
        return known;
    }
    const text = byteString(name, "a header's name");
    if (!TOKEN.test(text)) {
        throw new TypeError(`${JSON.stringify(text)} cannot be the name of a header`);
    }
    const lower = text.toLowerCase();
    if (names.size < MOST_NAMES) {
        names.set(text, lower);
    }
    return lower;
}

function isSpace(code) {
    return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

/* The value without white space around it. */
export function normalValue(value) {
    const text = typeof value === "string" ? value : `${value}`;
    const length = text.length;
    let odd = false;
    for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code < 0x20 || code > 0x7e) {
            odd = true;
            break;
        }
    }
    if (odd || text.charCodeAt(0) === 0x20 || text.charCodeAt(length - 1) === 0x20) {
        return oddValue(text);
    }
    return text;
}

function oddValue(text) {
    byteString(text, "a header's value");
    let start = 0;
    let end = text.length;
    while (start < end && isSpace(text.charCodeAt(start))) {
        start++;
    }
    while (end > start && isSpace(text.charCodeAt(end - 1))) {
        end--;
    }
    const value = text.slice(start, end);
    if (value.includes("\0") || value.includes("\n") || value.includes("\r")) {
        throw new TypeError("the value of a header cannot have line ends or zero bytes");
    }
    return value;
}

export function getHeader(list, name) {
    let found = null;
    for (let i = 0; i < list.length; i += 2) {
        if (list[i] === name) {
            found = found === null ? list[i + 1] : `${found}, ${list[i + 1]}`;
        }
    }
    return found;
}

/* The name is lower, the value normal. */
export function appendHeader(list, guard, name, value) {
    if (guard === noCorsGuard) {
        const before = getHeader(list, name);
        const { isSafelisted } = native.chunk("headers");
        if (!isSafelisted(name, before === null ? value : `${before}, ${value}`)) {
            return;
        }
    } else if (guard === requestGuard && native.isForbidden?.(name, value)) {
        return;
    }
    list.push(name, value);
}

/* The list as the host has it: in no need of checks. */
export function plainHeaders(flat) {
    for (let i = 0; i < flat.length; i += 2) {
        flat[i] = names.get(flat[i]) ?? flat[i].toLowerCase();
    }
    return flat;
}

const isEnumerable = Object.prototype.propertyIsEnumerable;

function readRecord(init) {
    const flat = [];
    const keys = Reflect.ownKeys(init);
    for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        if (isEnumerable.call(init, key)) {
            if (typeof key === "symbol") {
                throw new TypeError("a symbol cannot be the name of a header");
            }
            flat.push(names.has(key) ? key : byteString(key, "a header's name"),
                byteString(init[key], "a header's value"));
        }
    }
    return flat;
}

/* Appends what a HeadersInit says. */
export function fill(list, guard, init) {
    if ((typeof init !== "object" && typeof init !== "function") || init === null) {
        throw new TypeError("headers must be an object");
    }
    const method = init[Symbol.iterator];
    let flat;
    if (method === undefined || method === null) {
        flat = readRecord(init);
    } else {
        flat = native.chunk("headers").readIterable(init, method);
    }
    for (let i = 0; i < flat.length; i += 2) {
        appendHeader(list, guard, lowerName(flat[i]), normalValue(flat[i + 1]));
    }
}
