/* Streams that are transferred: each half talks to the other through a port ("cross-realm
 * transforms" of the Streams standard). */
const ports = native.chunk("ports");
const { DOMException } = native.chunk("dom");
const { ReadableStream, WritableStream, joinTransform } = native.chunk("streams");

function tell(handle, type, value) {
    ports.postHead(handle, undefined, { data: { type, value } });
}

/* What cannot be cloned is told as an error, and thrown. */
function tellOrFail(handle, type, value) {
    try {
        tell(handle, type, value);
    } catch (error) {
        try {
            tell(handle, "error", error);
        } catch {
            /* not even that */
        }
        throw error;
    }
}

function isMessage(value) {
    return typeof value === "object" && value !== null && typeof value.type === "string";
}

/* The other half went without a word. */
function lost() {
    return new DOMException("the other half of the stream is gone", "DataCloneError");
}

/* A chunk that cannot be read here. */
function failBoth(handle, fail) {
    const error = new DOMException("a chunk could not be read on the other side", "DataCloneError");
    tell(handle, "error", error);
    fail(error);
}

function readableOn(handle) {
    let controller;
    let end;
    const stop = () => end?.();
    const stream = new ReadableStream({
        start(given) {
            controller = given;
        },
        pull() {
            tell(handle, "pull", undefined);
        },
        cancel(reason) {
            try {
                tellOrFail(handle, "error", reason);
            } finally {
                stop();
            }
        },
    }, { highWaterMark: 0 });
    const fail = (error) => {
        stop();
        controller.error(error);
    };
    end = ports.listenTo(handle, (message) => {
        if (!isMessage(message)) {
            failBoth(handle, fail);
        } else if (message.type === "chunk") {
            controller.enqueue(message.value);
        } else if (message.type === "close") {
            stop();
            controller.close();
        } else if (message.type === "error") {
            fail(message.value);
        }
    }, () => fail(lost()));
    return stream;
}

function writableOn(handle) {
    let controller;
    let end;
    let wait = Promise.withResolvers(); /* for the reader to pull; null: it did */
    const stop = () => end?.();
    const release = () => {
        wait?.resolve();
        wait = null;
    };
    const stream = new WritableStream({
        start(given) {
            controller = given;
        },
        async write(chunk) {
            await wait?.promise;
            wait = Promise.withResolvers();
            try {
                tellOrFail(handle, "chunk", chunk);
            } catch (error) {
                stop();
                throw error;
            }
        },
        close() {
            tell(handle, "close", undefined);
            stop();
        },
        abort(reason) {
            try {
                tellOrFail(handle, "error", reason);
            } finally {
                stop();
            }
        },
    }, { highWaterMark: 1 });
    const fail = (error) => {
        stop();
        controller.error(error);
        release();
    };
    end = ports.listenTo(handle, (message) => {
        if (!isMessage(message)) {
            failBoth(handle, fail);
        } else if (message.type === "pull") {
            release();
        } else if (message.type === "error") {
            fail(message.value);
        }
    }, () => fail(lost()));
    return stream;
}

/* ---- out: each answers the handle for the other side */

function sendReadable(stream) {
    const [ours, theirs] = ports.makePair();
    stream.pipeTo(writableOn(ours)).catch(() => {});
    return theirs;
}

function sendWritable(stream) {
    const [ours, theirs] = ports.makePair();
    readableOn(ours).pipeTo(stream).catch(() => {});
    return theirs;
}

const SENDERS = {
    ReadableStream: (stream) => [sendReadable(stream)],
    WritableStream: (stream) => [sendWritable(stream)],
    TransformStream: (stream) => [sendReadable(stream.readable), sendWritable(stream.writable)],
};

function isLocked(kind, stream) {
    return kind === "TransformStream" ? stream.readable.locked || stream.writable.locked : stream.locked;
}

/* What the encoder wants to know of a stream in a transfer list. */
export function prepare(kind, stream, refuse) {
    if (isLocked(kind, stream)) {
        refuse("a locked stream");
    }
    return {
        name: kind,
        count: kind === "TransformStream" ? 2 : 1,
        run: () => isLocked(kind, stream) ? refuse("a locked stream") : SENDERS[kind](stream),
        drop: (handles) => handles.forEach((handle) => native.portClose(handle)),
    };
}

/* ---- in: from the port, or ports, that came */

export function deserialize(value, kind) {
    const list = Array.isArray(value) ? value : [value];
    if (list.length !== (kind === "TransformStream" ? 2 : 1) || !list.every((port) => native.isPort(port))) {
        throw new TypeError("a stream without its ports");
    }
    const handles = list.map((port) => ports.claim(port));
    switch (kind) {
    case "ReadableStream":
        return readableOn(handles[0]);
    case "WritableStream":
        return writableOn(handles[0]);
    default:
        return joinTransform(readableOn(handles[0]), writableOn(handles[1]));
    }
}
