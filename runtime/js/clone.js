/* Structured clone: the codec of docs/clone.md, and structuredClone() on top of it.
 *
 * For the host there are encode() and decode().  A message is { bytes, buffers, hosts };
 * the lists are empty arrays when there is nothing beside the bytes. */
import { decodeMessage } from "./parts/clone_decode.js";
import { encodeMessage } from "./parts/clone_encode.js";
import { dictionary, finishFunction, needArguments } from "./parts/webidl.js";

const RAW_LENGTH = 1024; /* within a realm: a buffer is copied once, not twice */

export { encodeMessage, decodeMessage };

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

/* What will transfer the object when its time comes; undefined if it is no stream. */
function transferStream(object, refuse) {
    const kind = typeof object === "object" ? native.chunk("clone_rare").kindOf(object) : "";
    if (!Object.hasOwn(STREAMS, kind) || !(object instanceof native.chunk("streams")[kind])) {
        return undefined;
    }
    return object.locked ? refuse("a locked stream") : () => STREAMS[kind](object);
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
    return encodeMessage(value, { pool: false, transfer, raw: RAW_LENGTH, transferHost: transferStream },
        decodeMessage);
}, "structuredClone");
