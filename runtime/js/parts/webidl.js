/* The few rules of Web IDL that every class of a chunk needs. */

const ENUMERABLE = { enumerable: true };

/* Members of an interface are enumerable, and its objects have a name.  (The name
 * of the class itself would not survive the bundling.) */
export function finishInterface(constructor, name) {
    const { prototype } = constructor;
    for (const key of Object.getOwnPropertyNames(prototype)) {
        if (key !== "constructor") {
            Object.defineProperty(prototype, key, ENUMERABLE);
        }
    }
    for (const key of Object.getOwnPropertyNames(constructor)) {
        if (key !== "prototype" && key !== "name" && key !== "length") {
            Object.defineProperty(constructor, key, ENUMERABLE);
        }
    }
    Object.defineProperty(constructor, "name", { value: name, configurable: true });
    Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    return constructor;
}

/* A function by the name under which scripts know it. */
export function finishFunction(method, name) {
    return Object.defineProperty(method, "name", { value: name, configurable: true });
}

/* A class gives its file the ways to its private fields as static methods, which
 * are taken off again here.  (esbuild would turn the private fields of a class
 * with static blocks or static private members into WeakMaps, which cost a
 * microsecond an object.) */
export function take(constructor, name) {
    const method = constructor[name];
    delete constructor[name];
    return method;
}

/* A dictionary argument: anything that is no primitive will do, and so will nothing. */
export function dictionary(value, what) {
    if (value === undefined || value === null) {
        return undefined;
    }
    if (typeof value !== "object" && typeof value !== "function") {
        throw new TypeError(what + " must be an object");
    }
    return value;
}

export function needArguments(given, needed, what) {
    if (given < needed) {
        throw new TypeError(`${what} needs ${needed} argument${needed === 1 ? "" : "s"}`);
    }
}

export function usvString(value) {
    return `${value}`.toWellFormed();
}

/* Each character of a ByteString stands for one byte. */
export function byteString(value, what) {
    const text = typeof value === "string" ? value : `${value}`;
    for (let i = 0; i < text.length; i++) {
        if (text.charCodeAt(i) > 0xff) {
            throw new TypeError(what + " has a character above U+00FF");
        }
    }
    return text;
}

/* The bytes under a BufferSource, not copied; undefined if it is none. */
export function bytesOf(value) {
    if (value instanceof Uint8Array) {
        return value;
    }
    if (ArrayBuffer.isView(value)) {
        return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    }
    if (value instanceof ArrayBuffer
            || (globalThis.SharedArrayBuffer && value instanceof globalThis.SharedArrayBuffer)) {
        return value.detached ? new Uint8Array(0) : new Uint8Array(value);
    }
    return undefined;
}

/* Pages hand each other objects of their own realms.  `own(value)` tells what there is to know of one of this realm;
 * what comes back tells it of one of any realm of the worker.  undefined: it is none. */
export function shareKin(native, name, own) {
    const list = native.family === undefined ? [] : native.family[name] ??= [];
    list.push(own);
    return (value) => {
        if (list.length === 1 || typeof value !== "object" || value === null) {
            return undefined;
        }
        for (const of of list) {
            const found = of(value);
            if (found !== undefined) {
                return found;
            }
        }
        return undefined;
    };
}

/* Bytes of another realm are no instances of this one's Uint8Array. */
export const ownBytes = (bytes) => bytes instanceof Uint8Array || !ArrayBuffer.isView(bytes) ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/* A body as the host has it, of any realm. */
export const ownBody = (body) => typeof body?.pull === "function"
    ? { pull: async () => ownBytes(await body.pull()), cancel: (reason) => body.cancel(reason) } : ownBytes(body);
