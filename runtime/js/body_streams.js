/* Bodies as streams, and bodies that come in pieces. */

/* All that `pull` gives, as one Uint8Array. */
export async function gather(pull) {
    const chunks = [];
    let size = 0;
    for (let chunk = await pull(); chunk !== null; chunk = await pull()) {
        chunks.push(chunk);
        size += chunk.length;
    }
    if (chunks.length === 1) {
        return chunks[0];
    }
    const all = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
        all.set(chunk, at);
        at += chunk.length;
    }
    return all;
}

/* A stream as the host reads it. */
export function sourceOfStream(stream) {
    const reader = stream.getReader();
    return {
        async pull() {
            for (;;) {
                const { done, value } = await reader.read();
                if (done) {
                    return null;
                }
                if (!(value instanceof Uint8Array)) {
                    const error = new TypeError("a chunk of the body is not a Uint8Array");
                    reader.cancel(error).catch(() => {});
                    throw error;
                }
                if (value.length > 0) {
                    return value;
                }
            }
        },
        cancel(reason) {
            return reader.cancel(reason);
        },
    };
}

export function streamOfBytes(bytes) {
    const { ReadableStream } = native.chunk("streams");
    return new ReadableStream({
        type: "bytes",
        pull(controller) {
            if (bytes.length > 0) {
                controller.enqueue(bytes);
            }
            controller.close();
            controller.byobRequest?.respond(0);
        },
    }, { highWaterMark: 0 });
}

export function streamOfSource(source) {
    const { ReadableStream } = native.chunk("streams");
    return new ReadableStream({
        type: "bytes",
        async pull(controller) {
            const chunk = await source.pull();
            if (chunk !== null) {
                controller.enqueue(chunk);
            } else {
                controller.close();
                controller.byobRequest?.respond(0);
            }
        },
        cancel(reason) {
            return source.cancel(reason);
        },
    }, { highWaterMark: 0 });
}

/* The chunks of a script's stream are the script's objects: a clone gets its own. */
export function copyingStream(stream) {
    const { TransformStream } = native.chunk("streams");
    const { structuredClone } = native.chunk("clone");
    return stream.pipeThrough(new TransformStream({
        transform(chunk, controller) {
            controller.enqueue(structuredClone(chunk));
        },
    }, { highWaterMark: 1 }, { highWaterMark: 0 }));
}
