/* Structured clone: the codec of docs/clone.md, with structuredClone() and muster.transfer() on top.
 *
 * For the host there are share() and decodeMessage(), and for tests encode() and decode(): a message is
 * { bytes, buffers, hosts }; the lists are empty arrays when there is nothing beside the bytes. */
import { decodeMessage } from "./parts/clone_decode.js";
import { encodeMessage } from "./parts/clone_encode.js";
import { dictionary, finishFunction, needArguments } from "./parts/webidl.js";

const RAW_LENGTH = 1024; /* within a realm: a buffer is copied once, not twice */

export { encodeMessage, decodeMessage, takeContent };

function ownMessage(array, length, buffers, hosts) {
    return { bytes: array.slice(0, length), buffers: buffers ?? [], hosts: hosts ?? [] };
}

/* The options are those of encodeMessage(). */
export function encode(value, options = undefined) {
    return encodeMessage(value, options, ownMessage);
}

export function decode(bytes, buffers = null, hosts = null) {
    return decodeMessage(bytes, bytes.length, buffers, hosts);
}

/* ---- what is sent to other workers */

const SENT_RAW = 32768; /* between workers: the memory is handed on, not copied once more */

const PLAIN = { pool: true, raw: SENT_RAW };
const { packed } = native;
const detach = ArrayBuffer.prototype.transfer;
const isDetached = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "detached").get;
let hasTransfers = false;

/* Puts a private field on an object that is there already: the engine keeps it as a property that no
 * script can see, and it costs less than a WeakMap. */
class Given {
    constructor(object) {
        return object;
    }
}

/* A buffer that came in a message knows the id of its content. */
class Content extends Given {
    #id;

    constructor(buffer, id) {
        super(buffer);
        this.#id = id;
    }

    static idOf(buffer) {
        return #id in buffer ? buffer.#id : undefined;
    }
}

/* Takes the content out of a buffer that came in a message: its id.  undefined: the engine has to do it, for it
 * is none of those, or something in C holds it. */
function takeContent(buffer) {
    const id = Content.idOf(buffer);
    if (id === undefined) {
        return undefined;
    }
    native.keep(id, true);
    detach.call(buffer, 0);
    if (isDetached.call(buffer)) {
        return id;
    }
    native.keep(id, false);
    return undefined;
}

class Transfer {
    #value;
    #list;

    constructor(value, list) {
        this.#value = value;
        this.#list = list;
    }

    static is(object) {
        return typeof object === "object" && object !== null && #list in object;
    }

    /* The value, whose buffers are added to those that move. */
    static open(wrapper, list) {
        for (const buffer of wrapper.#list) {
            if (!list.includes(buffer)) {
                list.push(buffer);
            }
        }
        return wrapper.#value;
    }
}

function buffersOf(value) {
    if (value instanceof ArrayBuffer) {
        return [value];
    }
    if (ArrayBuffer.isView(value)) {
        return [value.buffer];
    }
    throw new TypeError("muster.transfer: which buffers shall move? name them in a list");
}

export function transfer(value, list = undefined) {
    if (!hasTransfers) {
        hasTransfers = true;
        native.isTransfer = Transfer.is;
    }
    return new Transfer(value, list === undefined ? buffersOf(value) : Array.from(list));
}

/* Makes the message of a value, or of a list of arguments, and gives it to the host. */
export function share(value, isList) {
    if (!hasTransfers) {
        encodeMessage(value, PLAIN, packed);
        return;
    }
    const list = [];
    let inside = value;
    if (!isList) {
        inside = Transfer.is(value) ? Transfer.open(value, list) : value;
    } else {
        for (let i = 0; i < value.length; i++) { /* the list is the host's */
            if (Transfer.is(value[i])) {
                value[i] = Transfer.open(value[i], list);
            }
        }
    }
    encodeMessage(inside, { pool: true, raw: SENT_RAW, transfer: list, takeContent }, packed);
}

/* The value of a message.  `entries`: the buffers beside it, each followed by the id of its content; or null.
 * `hosts`: the objects of the host; or null. */
export function receive(array, length, entries, hosts = null) {
    if (entries === null) {
        return decodeMessage(array, length, null, hosts);
    }
    const buffers = [];
    for (let i = 0; i < entries.length; i += 2) {
        buffers.push(new Content(entries[i], entries[i + 1]));
    }
    return decodeMessage(array, length, buffers, hosts);
}

/* ---- structuredClone */

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
    TransformStream: (stream) => moveTransform(stream),
};

/* A TransformStream is its two halves. */
function moveTransform(stream) {
    const { joinTransform } = native.chunk("streams");
    return joinTransform(STREAMS.ReadableStream(stream.readable), STREAMS.WritableStream(stream.writable));
}

function isLocked(stream, kind) {
    return kind === "TransformStream" ? stream.readable.locked || stream.writable.locked : stream.locked;
}

/* What will transfer the object when its time comes; undefined if it is neither a port nor a stream. */
function transferHost(object, refuse) {
    const moved = native.movePort?.(object);
    if (moved !== undefined) {
        return moved;
    }
    const kind = typeof object === "object" ? native.chunk("clone_rare").kindOf(object) : "";
    if (!Object.hasOwn(STREAMS, kind) || !(object instanceof native.chunk("streams")[kind])) {
        return undefined;
    }
    const check = () => isLocked(object, kind) && refuse("a locked stream");
    check();
    return () => {
        check(); /* a TransformStream before it in the list may be the other half */
        return STREAMS[kind](object);
    };
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
    const transfer = options === undefined ? [] : transferList(options);
    if (typeof value !== "object" && transfer.length === 0 && typeof value !== "function"
            && typeof value !== "symbol") {
        return value;
    }
    return encodeMessage(value, { pool: false, transfer, raw: RAW_LENGTH, transferHost },
        decodeMessage);
}, "structuredClone");
