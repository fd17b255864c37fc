/* The streams, from web-streams-polyfill (a port of the reference implementation). */
import * as streams from "web-streams-polyfill";
import { finishFunction } from "./parts/webidl.js";

for (const [name, constructor] of Object.entries(streams)) {
    finishFunction(constructor, name); /* bundling shortens them */
}

export const {
    ReadableStream, ReadableStreamDefaultController, ReadableByteStreamController,
    ReadableStreamBYOBRequest, ReadableStreamDefaultReader, ReadableStreamBYOBReader,
    WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter,
    ByteLengthQueuingStrategy, CountQueuingStrategy,
    TransformStream, TransformStreamDefaultController,
} = streams;

/* The package keeps its slots as properties; nothing else of ours may know. */
export function isReadableStream(value) {
    return value instanceof ReadableStream && Object.hasOwn(value, "_readableStreamController");
}

export function isDisturbed(stream) {
    return stream._disturbed;
}

/* A TransformStream of two halves that are there already, as one that was transferred is. */
export function joinTransform(readable, writable) {
    return Object.assign(Object.create(TransformStream.prototype),
        { _readable: readable, _writable: writable, _transformStreamController: {} });
}

native.isReadableStream = isReadableStream;
