/* What structured clone must know about an object before it can write it: which kind
 * it really is, whatever its tag or its prototype say, and whether it can be cloned. */

const getterOf = (object, key) => Object.getOwnPropertyDescriptor(object, key).get;

const TypedArray = Object.getPrototypeOf(Uint8Array);
const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
const tagString = Object.prototype.toString;
const elementAt = TypedArray.prototype.at;
const { isArray } = Array;
const { isView } = ArrayBuffer;

export const viewName = getterOf(TypedArray.prototype, Symbol.toStringTag);

/* Tag -> a function that throws when called on anything else; in the order in which
 * an object with a strange tag is tried. */
export const BRANDS = {
    Date: Date.prototype.getTime,
    RegExp: getterOf(RegExp.prototype, "hasIndices"),
    Map: getterOf(Map.prototype, "size"),
    Set: getterOf(Set.prototype, "size"),
    Boolean: Boolean.prototype.valueOf,
    Number: Number.prototype.valueOf,
    String: String.prototype.valueOf,
    BigInt: BigInt.prototype.valueOf,
    Symbol: Symbol.prototype.valueOf,
    ArrayBuffer: getterOf(ArrayBuffer.prototype, "byteLength"),
};

/* Objects of the language with hidden state that nobody else can see. */
const REFUSED = ["WeakMap", "WeakSet", "WeakRef", "Promise", "FinalizationRegistry"];

/* The host's own objects: tag -> the chunk that has the class. */
const PLATFORM = {
    Headers: "fetch", Request: "fetch", Response: "fetch", URL: "url", URLSearchParams: "url",
    AbortController: "dom", AbortSignal: "dom", TextEncoder: "encoding", TextDecoder: "encoding",
    TextEncoderStream: "text_streams", TextDecoderStream: "text_streams", Crypto: "crypto",
    ReadableStream: "streams", WritableStream: "streams", TransformStream: "streams",
    MessageChannel: "ports", ReadableStreamDefaultReader: "streams", ReadableStreamBYOBReader: "streams",
    WritableStreamDefaultWriter: "streams", FormData: "form_data", URLPattern: "urlpattern",
    WorkerLocation: "core2", WorkerNavigator: "core2",
};

/* Those that can be cloned: tag -> the chunk that exports the class, serialize(object), which answers a
 * value, and deserialize(value, tag). */
export const SERIALIZABLE = { Blob: "blob", File: "blob", FileList: "blob", ImageData: "images",
    ImageBitmap: "images" };

/* A tag may be a getter of the script's. */
function tagOf(value) {
    try {
        return tagString.call(value).slice(8, -1);
    } catch {
        return "Object";
    }
}

function hasBrand(value, tag) {
    try {
        const answer = BRANDS[tag].call(value);
        return tag !== "RegExp" || answer !== undefined;
    } catch {
        return false;
    }
}

/* Object.prototype.toString is right unless a script gave the object a tag, and then
 * every brand has to be tried. */
export function kindOf(value) {
    if (isArray(value)) {
        return "Array";
    }
    if (isView(value)) {
        return "View";
    }
    const tag = tagOf(value);
    if (tag === "Object" || tag === "Arguments") {
        return "Object";
    }
    if (Object.hasOwn(BRANDS, tag) && hasBrand(value, tag)) {
        return tag;
    }
    if (Error.isError(value)) {
        return "Error";
    }
    return Object.keys(BRANDS).find((brand) => hasBrand(value, brand))
        ?? (Object.hasOwn(BRANDS, tag) || tag === "Error" ? "Object" : tag);
}

function isHosts(value) {
    const { Event, EventTarget } = globalThis;
    return (typeof Event === "function" && value instanceof Event)
        || (typeof EventTarget === "function" && value instanceof EventTarget);
}

/* Whether an object of a kind that has no form of its own is more than its properties. */
export function isRefused(value, kind) {
    if (isHosts(value) || native.isHostObject?.(value) || native.isTransfer?.(value)) {
        return true;
    }
    if (Object.hasOwn(PLATFORM, kind)) {
        return value instanceof native.chunk(PLATFORM[kind])[kind];
    }
    if (REFUSED.includes(kind)) {
        return value instanceof globalThis[kind];
    }
    return kind.startsWith("Intl.") || kind.startsWith("WebAssembly.") || kind === "Module"
        || kind === "Generator" || kind === "AsyncGenerator" || kind === "SharedArrayBuffer"
        || (kind.endsWith("Iterator") && IteratorPrototype.isPrototypeOf(value));
}

export function isOutOfBounds(view) {
    try {
        if (viewName.call(view) === undefined) {
            void view.byteLength;
        } else {
            elementAt.call(view, 0);
        }
        return false;
    } catch {
        return true;
    }
}

/* Whether the view of a resizable buffer grows with it.  Nothing tells but trying;
 * the buffer is afterwards as it was. */
export function tracksLength(view, buffer) {
    const size = buffer.byteLength;
    const step = view.BYTES_PER_ELEMENT ?? 1;
    if (view.byteOffset + view.byteLength + step <= size) {
        return false;
    }
    if (size + step <= buffer.maxByteLength) {
        const before = view.byteLength;
        buffer.resize(size + step);
        const grew = view.byteLength !== before;
        buffer.resize(size);
        return grew;
    }
    const last = view.byteOffset + view.byteLength - step;
    if (view.byteLength === 0) {
        return true;
    }
    const kept = new Uint8Array(buffer).slice(last);
    buffer.resize(last);
    let shrank = true;
    try {
        shrank = view.byteLength === last - view.byteOffset && !isOutOfBounds(view);
    } catch {
        shrank = false; /* a DataView throws when it is out of bounds */
    }
    buffer.resize(size);
    new Uint8Array(buffer).set(kept, last);
    return shrank;
}
