/* structuredClone, for one realm: there is no way through bytes.
 *
 * The copy is built while the value is walked.  What is transferred must stay as
 * it is until the walk has ended well, and so must the views of it: a Deferred
 * stands in their places until then.  Maps and Sets are filled last, when all
 * that goes into them is final. */
import { dictionary, finishFunction, needArguments } from "./parts/webidl.js";

const { isDOMException, DOMException } = native.chunk("dom");

const getterOf = (object, key) => Object.getOwnPropertyDescriptor(object, key).get;

const TypedArray = Object.getPrototypeOf(Uint8Array);
const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
const tagOf = Object.prototype.toString;
const viewName = getterOf(TypedArray.prototype, Symbol.toStringTag);
const elementAt = TypedArray.prototype.at;
const regExpSource = getterOf(RegExp.prototype, "source");

const VIEWS = { DataView };
for (const name of ["Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array",
    "Int32Array", "Uint32Array", "Float16Array", "Float32Array", "Float64Array", "BigInt64Array",
    "BigUint64Array"]) {
    VIEWS[name] = globalThis[name];
}

const ERRORS = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

/* A tag -> a function that throws when called on anything else. */
const BRANDS = {
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
const REFUSED = { WeakMap, WeakSet, WeakRef, Promise, FinalizationRegistry,
    Generator: Object.getPrototypeOf(function* () {}).prototype.constructor };

/* The host's own objects: tag -> the chunk that has the class. */
const PLATFORM = {
    Headers: "fetch", Request: "fetch", Response: "fetch", URL: "url", URLSearchParams: "url",
    AbortController: "dom", AbortSignal: "dom", TextEncoder: "encoding", TextDecoder: "encoding",
    TextEncoderStream: "text_streams", TextDecoderStream: "text_streams", Crypto: "crypto",
    ReadableStream: "streams", WritableStream: "streams", TransformStream: "streams",
    ReadableStreamDefaultReader: "streams", ReadableStreamBYOBReader: "streams",
    WritableStreamDefaultWriter: "streams",
};

function refuse(what) {
    throw new DOMException(`${what} cannot be cloned`, "DataCloneError");
}

function hasBrand(value, tag) {
    try {
        const answer = BRANDS[tag].call(value);
        return tag !== "RegExp" || answer !== undefined;
    } catch {
        return false;
    }
}

/* What kind of object it really is; Object.prototype.toString is right unless a
 * script gave the object a tag, and then every brand has to be tried. */
function kindOf(value) {
    const tag = tagOf.call(value).slice(8, -1);
    if (tag === "Object" || tag === "Arguments") {
        return tag;
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

function isRefused(value, tag) {
    if (Object.hasOwn(PLATFORM, tag)) {
        return value instanceof native.chunk(PLATFORM[tag])[tag];
    }
    if (Object.hasOwn(REFUSED, tag)) {
        return tag === "Generator" || value instanceof REFUSED[tag];
    }
    return tag.startsWith("Intl.") || tag.startsWith("WebAssembly.") || tag === "Module"
        || tag === "SharedArrayBuffer" || tag === "AsyncGenerator"
        || (tag.endsWith("Iterator") && IteratorPrototype.isPrototypeOf(value))
        || value instanceof globalThis.Event || value instanceof globalThis.EventTarget;
}

/* In the place of what can only be made after the walk. */
class Deferred {
    #make;
    #made = undefined;

    constructor(make) {
        this.#make = make;
    }

    get() {
        if (this.#make !== null) {
            this.#made = this.#make();
            this.#make = null;
        }
        return this.#made;
    }
}

function put(target, key, value) {
    if (key in target) {
        Object.defineProperty(target, key,
            { value, writable: true, enumerable: true, configurable: true });
    } else {
        target[key] = value;
    }
}

/* Whether the view of a resizable buffer grows with it.  Nothing tells but trying. */
function tracksLength(view, buffer) {
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
        shrank = view.byteLength === last - view.byteOffset
            && !isOutOfBounds(view);
    } catch {
        shrank = false; /* a DataView throws when it is out of bounds */
    }
    buffer.resize(size);
    new Uint8Array(buffer).set(kept, last);
    return shrank;
}

function isOutOfBounds(view) {
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

function copyError(error) {
    const name = `${error.name}`;
    const Constructor = Object.hasOwn(ERRORS, name) ? ERRORS[name] : Error;
    const message = Object.getOwnPropertyDescriptor(error, "message");
    const hasMessage = message !== undefined && Object.hasOwn(message, "value");
    const copy = hasMessage ? new Constructor(`${message.value}`) : new Constructor();
    const stack = Object.getOwnPropertyDescriptor(error, "stack");
    if (typeof stack?.value === "string") {
        Object.defineProperty(copy, "stack",
            { value: stack.value, writable: true, enumerable: false, configurable: true });
    }
    return copy;
}

function copyDOMException(error) {
    const copy = new DOMException(error.message, error.name);
    Object.defineProperty(copy, "stack",
        { value: `${error.stack}`, writable: true, enumerable: false, configurable: true });
    return copy;
}

function copyBuffer(buffer) {
    if (buffer.detached) {
        refuse("a detached ArrayBuffer");
    }
    const copy = buffer.resizable
        ? new ArrayBuffer(buffer.byteLength, { maxByteLength: buffer.maxByteLength })
        : new ArrayBuffer(buffer.byteLength);
    new Uint8Array(copy).set(new Uint8Array(buffer));
    return copy;
}

class Walk {
    memory = new Map();
    fixes = []; /* [target, key, Deferred] */
    fillings = []; /* [Map or Set, its items] */

    value(value) {
        if (typeof value === "object" && value !== null) {
            return this.memory.get(value) ?? this.object(value);
        }
        if (typeof value === "symbol" || typeof value === "function") {
            refuse(`a ${typeof value}`);
        }
        return value;
    }

    place(target, key, value) {
        const copy = this.value(value);
        put(target, key, copy);
        if (copy instanceof Deferred) {
            this.fixes.push([target, key, copy]);
        }
    }

    remember(value, copy) {
        this.memory.set(value, copy);
        return copy;
    }

    object(value) {
        if (native.isProxy?.(value)) {
            refuse("a proxy");
        }
        if (Array.isArray(value)) {
            return this.array(value);
        }
        if (ArrayBuffer.isView(value)) {
            return this.view(value);
        }
        const kind = kindOf(value);
        switch (kind) {
        case "Object":
        case "Arguments":
            return this.plain(value);
        case "Date":
            return this.remember(value, new Date(BRANDS.Date.call(value)));
        case "RegExp":
            return this.remember(value, new RegExp(regExpSource.call(value), value.flags));
        case "Map":
            return this.map(value);
        case "Set":
            return this.set(value);
        case "Error":
            return this.error(value);
        case "Boolean":
        case "Number":
        case "String":
        case "BigInt":
            return this.remember(value, Object(BRANDS[kind].call(value)));
        case "Symbol":
            return refuse("a symbol");
        case "ArrayBuffer":
            return this.remember(value, copyBuffer(value));
        default:
            return isRefused(value, kind) ? refuse(`an object of the kind ${kind}`)
                : this.plain(value);
        }
    }

    error(value) {
        if (isDOMException(value)) {
            return this.remember(value, copyDOMException(value));
        }
        const copy = this.remember(value, copyError(value));
        const cause = Object.getOwnPropertyDescriptor(value, "cause");
        if (cause !== undefined && Object.hasOwn(cause, "value")) {
            this.place(copy, "cause", cause.value);
            Object.defineProperty(copy, "cause", { enumerable: false });
        }
        return copy;
    }

    plain(value) {
        if (value instanceof globalThis.Event || value instanceof globalThis.EventTarget) {
            refuse("an object of the host");
        }
        const copy = this.remember(value, {});
        this.properties(value, copy, Object.keys(value));
        return copy;
    }

    properties(value, copy, keys) {
        for (const key of keys) {
            if (Object.hasOwn(value, key)) {
                this.place(copy, key, value[key]);
            }
        }
    }

    array(value) {
        const length = value.length;
        const copy = this.remember(value, new Array(length));
        this.properties(value, copy, Object.keys(value));
        return copy;
    }

    map(value) {
        const copy = this.remember(value, new Map());
        const items = [];
        this.fillings.push([copy, items]);
        const originals = [];
        Map.prototype.forEach.call(value, (item, key) => originals.push(key, item));
        originals.forEach((item, i) => this.place(items, i, item));
        return copy;
    }

    set(value) {
        const copy = this.remember(value, new Set());
        const items = [];
        this.fillings.push([copy, items]);
        const originals = [];
        Set.prototype.forEach.call(value, (item) => originals.push(item));
        originals.forEach((item, i) => this.place(items, i, item));
        return copy;
    }

    view(value) {
        if (isOutOfBounds(value)) {
            refuse("a view that is out of bounds");
        }
        const buffer = value.buffer;
        const Constructor = VIEWS[viewName.call(value) ?? "DataView"];
        const offset = value.byteOffset;
        const length = buffer.resizable && tracksLength(value, buffer) ? undefined
            : value.length ?? value.byteLength;
        const copy = this.value(buffer);
        return this.remember(value, copy instanceof Deferred
            ? new Deferred(() => new Constructor(copy.get(), offset, length))
            : new Constructor(copy, offset, length));
    }

    finish(result) {
        for (const [target, key, deferred] of this.fixes) {
            target[key] = deferred.get();
        }
        for (const [target, items] of this.fillings) {
            if (target instanceof Set) {
                items.forEach((item) => target.add(item));
            } else {
                for (let i = 0; i < items.length; i += 2) {
                    target.set(items[i], items[i + 1]);
                }
            }
        }
        return result instanceof Deferred ? result.get() : result;
    }
}

/* How the host's streams are transferred within a realm: the original is piped
 * through, and so it is locked from then on. */
const STREAMS = {
    ReadableStream(stream) {
        const { TransformStream } = native.chunk("streams");
        return stream.pipeThrough(new TransformStream());
    },
    WritableStream(stream) {
        const { TransformStream } = native.chunk("streams");
        const { readable, writable } = new TransformStream();
        readable.pipeTo(stream).catch(() => {});
        return writable;
    },
};

/* What stands for the object while the value is walked; an error if it cannot be
 * transferred. */
function deferTransfer(value) {
    if (typeof value === "object" && value !== null) {
        const kind = kindOf(value);
        if (kind === "ArrayBuffer") {
            return new Deferred(() => value.transfer());
        }
        if (kind === "ReadableStream" || kind === "WritableStream") {
            if (value instanceof native.chunk("streams")[kind]) {
                if (value.locked) {
                    refuse("a locked stream");
                }
                return new Deferred(() => STREAMS[kind](value));
            }
        }
    }
    throw new DOMException("only buffers and streams can be transferred", "DataCloneError");
}

function transferList(options) {
    const list = dictionary(options, "structuredClone: the options")?.transfer;
    if (list === undefined) {
        return [];
    }
    if ((typeof list !== "object" && typeof list !== "function") || list === null
            || typeof list[Symbol.iterator] !== "function") {
        throw new TypeError("structuredClone: transfer is not a sequence");
    }
    return Array.from(list, (item) => {
        if ((typeof item !== "object" && typeof item !== "function") || item === null) {
            throw new TypeError("structuredClone: only objects can be transferred");
        }
        return item;
    });
}

export const structuredClone = finishFunction(function (value, options = undefined) {
    needArguments(arguments.length, 1, "structuredClone");
    const walk = new Walk();
    const transfers = transferList(options);
    for (const item of transfers) {
        if (walk.memory.has(item)) {
            throw new DOMException("an object is transferred twice", "DataCloneError");
        }
        walk.memory.set(item, deferTransfer(item));
    }
    const result = walk.value(value);
    for (const item of transfers) {
        if (item.detached) {
            refuse("a detached ArrayBuffer");
        }
    }
    for (const item of transfers) {
        walk.memory.get(item).get();
    }
    return walk.finish(result);
}, "structuredClone");
