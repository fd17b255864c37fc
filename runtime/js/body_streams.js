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

/* What such a stream was made of: as long as nobody read of it the host may have it whole. */
const backing = new WeakMap();

export function streamOfBytes(bytes) {
    const { ReadableStream } = native.chunk("streams");
    const stream = new ReadableStream({
        type: "bytes",
        pull(controller) {
            if (bytes.length > 0) {
                controller.enqueue(bytes);
            }
            controller.close();
            controller.byobRequest?.respond(0);
        },
    }, { highWaterMark: 0 });
    backing.set(stream, bytes);
    return stream;
}

/* The bytes of a stream that was not read yet, and is then; undefined: it has others. */
export function takeBacking(stream) {
    const bytes = stream.locked || native.chunk("streams").isDisturbed(stream) ? undefined : backing.get(stream);
    if (bytes !== undefined) {
        stream.getReader().cancel(); /* locked and disturbed from now on */
    }
    return bytes;
}

export function streamOfSource(source) {
    const { ReadableStream } = native.chunk("streams");
    return new ReadableStream({
        type: "bytes",
        start(controller) {
            source.attach?.(controller); /* one that may fail while nobody pulls */
        },
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

/* Puts the body of one on the other, as if it had been piped through. */
export function moveBody(from, to) {
    const { Body, BYTES, NONE, STREAM } = native.chunk("fetch");
    const { source, kind, shared } = Body.get(from);
    const bytes = kind === STREAM ? takeBacking(source) : undefined;
    if (bytes !== undefined) {
        Body.set(to, bytes, BYTES);
        return;
    }
    const moved = kind === STREAM
        ? source.pipeThrough(new (native.chunk("streams").TransformStream)()) : source;
    Body.set(to, moved, kind, false, shared);
    Body.set(from, source, kind, kind !== NONE, shared);
}

/* Both have it, unread. */
export function cloneBody(from, to) {
    const { Body, PULL, STREAM } = native.chunk("fetch");
    if (Body.get(from).kind === PULL) {
        Reflect.get(Body.prototype, "body", from); /* makes it a stream */
    }
    const { source, kind } = Body.get(from);
    if (kind === STREAM) {
        const [one, two] = source.tee();
        Body.set(from, one, kind);
        Body.set(to, copyingStream(two), kind);
    } else {
        Body.set(from, source, kind, false, true);
        Body.set(to, source, kind, false, true);
    }
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
