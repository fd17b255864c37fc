"use strict";
test("bytes_flow_through_a_pipe_in_order", async () => {
    const seen = [];
    await ReadableStream.from(["a", "b", "c"])
        .pipeThrough(new TransformStream({
            transform(chunk, controller) {
                controller.enqueue(chunk.toUpperCase());
            },
        }))
        .pipeTo(new WritableStream({
            write(chunk) {
                seen.push(chunk);
            },
        }));
    same(seen, ["A", "B", "C"]);
});

test("a_byte_stream_fills_the_readers_buffer", async () => {
    const stream = new ReadableStream({
        type: "bytes",
        pull(controller) {
            controller.byobRequest.view[0] = 7;
            controller.byobRequest.respond(1);
        },
    });
    const { value } = await stream.getReader({ mode: "byob" }).read(new Uint8Array(4));
    same(value, [7]);
});

test("an_aborted_signal_ends_a_pipe", async () => {
    const controller = new AbortController();
    const piping = new ReadableStream().pipeTo(new WritableStream(), { signal: controller.signal });
    controller.abort("enough");
    await rejects("enough", piping);
});

test("all_classes_of_the_standard_are_there", () => {
    for (const name of ["ReadableStream", "ReadableStreamDefaultReader", "ReadableStreamBYOBReader",
        "ReadableStreamDefaultController", "ReadableByteStreamController",
        "ReadableStreamBYOBRequest", "WritableStream", "WritableStreamDefaultWriter",
        "WritableStreamDefaultController", "TransformStream", "TransformStreamDefaultController",
        "ByteLengthQueuingStrategy", "CountQueuingStrategy"]) {
        equal(typeof globalThis[name], "function", name);
        equal(globalThis[name].name, name);
    }
    const { isReadableStream, isDisturbed } = native.chunk("streams");
    const stream = new ReadableStream();
    ok(isReadableStream(stream) && !isReadableStream(Object.create(ReadableStream.prototype)));
    equal(isDisturbed(stream), false);
    stream.cancel();
    equal(isDisturbed(stream), true);
});
