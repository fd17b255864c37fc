"use strict";
const copyOf = (value, options) => structuredClone(value, options);

test("primitives_and_plain_objects_are_copied", () => {
    for (const value of [undefined, null, true, 1, -0, NaN, "text", 10n]) {
        equal(copyOf(value), value);
    }
    const original = { a: 1, b: { c: [1, , "x"] }, ["__proto__"]: 2 };
    const copy = copyOf(original);
    same(copy, original);
    ok(copy !== original && copy.b !== original.b && !(1 in copy.b.c));
    ok(Object.hasOwn(copy, "__proto__") && Object.getPrototypeOf(copy) === Object.prototype);
    class Point {
        x = 1;
        get y() {
            return 2;
        }
    }
    const point = copyOf(new Point());
    equal(Object.getPrototypeOf(point), Object.prototype);
    same(point, { x: 1 });
    same(copyOf({ get a() {
        return 5;
    } }), { a: 5 });
    const hidden = Object.defineProperty({ [Symbol("s")]: 1 }, "h", { value: 1 });
    same(Reflect.ownKeys(copyOf(hidden)), []);
});

test("long_strings_are_copied", () => {
    for (const text of ["a\0b".repeat(2000), "\u00e9".repeat(3000), "x".repeat(5000) + "\u20ac",
        "\ud800".repeat(1500), "\ufeffab".repeat(1000)]) {
        equal(copyOf({ text }).text, text);
    }
});

test("arrays_keep_their_holes_length_and_names", () => {
    const sparse = [];
    sparse[4e9] = 1;
    sparse.name = "n";
    const copy = copyOf(sparse);
    equal(copy.length, 4e9 + 1);
    same(Object.keys(copy), ["4000000000", "name"]);
    equal(copyOf(new Array(3)).length, 3);
});

test("identity_and_cycles_are_kept", () => {
    const shared = {};
    const original = { a: shared, b: shared, list: [shared] };
    original.self = original;
    original.map = new Map([[original, shared]]);
    const copy = copyOf(original);
    ok(copy.self === copy && copy.a === copy.b && copy.list[0] === copy.a);
    ok(copy.map.get(copy) === copy.a && copy.a !== shared);
});

test("the_objects_of_the_language_keep_their_kind", () => {
    const date = copyOf(new Date(5));
    ok(date instanceof Date && date.getTime() === 5);
    ok(Number.isNaN(copyOf(new Date(NaN)).getTime()));
    const pattern = /a/giy;
    pattern.lastIndex = 3;
    const regExp = copyOf(pattern);
    equal(`${regExp} ${regExp.lastIndex}`, "/a/giy 0");
    same([...copyOf(new Map([[1, { a: 2 }]]))], [[1, { a: 2 }]]);
    same([...copyOf(new Set([1, "b"]))], [1, "b"]);
    for (const boxed of [Object(true), Object(1), Object("s"), Object(1n)]) {
        const copy = copyOf(boxed);
        ok(typeof copy === "object" && copy !== boxed);
        equal(copy.valueOf(), boxed.valueOf());
    }
    same(copyOf((function () {
        return arguments;
    })(1, 2)), { 0: 1, 1: 2 });
});

test("a_tag_does_not_deceive", () => {
    const date = new Date(7);
    date[Symbol.toStringTag] = "Map";
    ok(copyOf(date) instanceof Date);
    same(copyOf({ [Symbol.toStringTag]: "Date", a: 1 }), { a: 1 });
    same(copyOf({ [Symbol.toStringTag]: "Promise", a: 1 }), { a: 1 });
    same(copyOf({ [Symbol.toStringTag]: "Mine", a: 1 }), { a: 1 });
});

test("errors_keep_name_message_stack_and_cause", () => {
    const original = new RangeError("far", { cause: { a: 1 } });
    original.extra = 1;
    const copy = copyOf(original);
    ok(copy instanceof RangeError && copy.message === "far");
    equal(copy.stack, original.stack);
    equal(copy.cause.a, 1);
    ok(!("extra" in copy) && !Object.keys(copy).includes("cause"));
    class Mine extends TypeError {}
    equal(Object.getPrototypeOf(copyOf(new Mine())), TypeError.prototype);
    const renamed = new Error("x");
    renamed.name = "Odd";
    equal(Object.getPrototypeOf(copyOf(renamed)), Error.prototype);
    ok(!Object.hasOwn(copyOf(new Error()), "message"));
    const dom = copyOf(new DOMException("gone", "AbortError"));
    ok(dom instanceof DOMException && dom.name === "AbortError" && dom.message === "gone");
});

test("buffers_and_views_are_copied_together", () => {
    const buffer = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer;
    const original = { one: new Uint8Array(buffer, 1, 3), two: new DataView(buffer, 2),
        three: new Float64Array(buffer), buffer };
    const copy = copyOf(original);
    same(copy.one, [2, 3, 4]);
    ok(copy.one.buffer === copy.buffer && copy.two.buffer === copy.buffer);
    equal(copy.two.byteOffset, 2);
    equal(copy.two.byteLength, 6);
    copy.one[0] = 99;
    equal(original.one[0], 2);
    ok(copy.three instanceof Float64Array);
});

test("resizable_buffers_stay_resizable_and_views_keep_tracking", () => {
    for (const most of [8, 16]) {
        const buffer = new ArrayBuffer(8, { maxByteLength: most });
        new Uint8Array(buffer).set([1, 2, 3, 4, 5, 6, 7, 8]);
        const copy = copyOf([new Uint16Array(buffer), new Uint16Array(buffer, 0, 4),
            new DataView(buffer, 4)]);
        const resized = copy[0].buffer;
        equal(resized.maxByteLength, most);
        same(new Uint8Array(buffer), [1, 2, 3, 4, 5, 6, 7, 8]);
        same(new Uint8Array(resized), [1, 2, 3, 4, 5, 6, 7, 8]);
        resized.resize(6);
        equal(copy[0].length, 3, `tracks, at most ${most}`);
        equal(copy[1].length, 0, `does not track, at most ${most}`);
        equal(copy[2].byteLength, 2);
    }
    const shrunk = new ArrayBuffer(8, { maxByteLength: 8 });
    const view = new Uint8Array(shrunk, 4, 4);
    shrunk.resize(2);
    throws("DataCloneError", () => copyOf(view));
});

test("what_has_no_copy_is_refused", () => {
    const list = [Symbol("s"), () => {}, class {}, new WeakMap(), new WeakSet(), new WeakRef({}),
        Promise.resolve(), Object(Symbol("s")), [][Symbol.iterator](), new Map().keys(),
        (function* () {})(), new Intl.Collator(), new Response("x"), new Headers(),
        new AbortController().signal, new ReadableStream(), new Event("x")];
    for (const value of list) {
        throws("DataCloneError", () => copyOf(value), Object.prototype.toString.call(value));
        throws("DataCloneError", () => copyOf({ deep: [value] }));
    }
    const gone = new ArrayBuffer(1);
    gone.transfer();
    throws("DataCloneError", () => copyOf(gone));
    throws(TypeError, () => structuredClone());
    const own = new RangeError("mine");
    throws(own, () => copyOf({ get a() {
        throw own;
    } }));
});

test("transferred_buffers_move_with_their_views", () => {
    const buffer = new Uint8Array([1, 2, 3, 4]).buffer;
    const view = new Uint8Array(buffer, 1, 2);
    const value = { first: 0, view, map: new Map([[view, buffer]]), set: new Set([buffer]),
        last: 1 };
    const copy = copyOf(value, { transfer: [buffer] });
    ok(buffer.detached);
    same(copy.view, [2, 3]);
    same(Object.keys(copy), ["first", "view", "map", "set", "last"]);
    ok(copy.map.get(copy.view) === copy.view.buffer && copy.set.has(copy.view.buffer));
    equal(copy.view.buffer.byteLength, 4);
    const alone = new ArrayBuffer(3);
    equal(copyOf(alone, { transfer: [alone] }).byteLength, 3);
    const unused = new ArrayBuffer(3);
    copyOf(null, { transfer: new Set([unused]) });
    ok(unused.detached);
});

test("a_failed_clone_transfers_nothing", () => {
    const buffer = new ArrayBuffer(4);
    throws("DataCloneError", () => copyOf([buffer, () => {}], { transfer: [buffer] }));
    ok(!buffer.detached);
    throws("DataCloneError", () => copyOf(null, { transfer: [buffer, buffer] }));
    throws("DataCloneError", () => copyOf(null, { transfer: [{}] }));
    throws(TypeError, () => copyOf(null, { transfer: [1] }));
    throws(TypeError, () => copyOf(null, { transfer: 1 }));
    ok(!buffer.detached);
    buffer.transfer();
    throws("DataCloneError", () => copyOf(null, { transfer: [buffer] }));
});

test("streams_are_transferred_by_piping", async () => {
    const readable = new ReadableStream({
        start(controller) {
            controller.enqueue("a");
            controller.close();
        },
    });
    const copy = copyOf({ readable }, { transfer: [readable] });
    ok(readable.locked && copy.readable !== readable);
    const chunks = [];
    for await (const chunk of copy.readable) {
        chunks.push(chunk);
    }
    same(chunks, ["a"]);
    const written = [];
    const writable = new WritableStream({
        write(chunk) {
            written.push(chunk);
        },
    });
    const writer = copyOf(writable, { transfer: [writable] }).getWriter();
    await writer.write("b");
    await writer.close();
    same(written, ["b"]);
});

test("deep_values_end_in_an_error_not_in_a_crash", () => {
    let deep = null;
    for (let i = 0; i < 1e6; i++) {
        deep = [deep];
    }
    let error;
    try {
        copyOf(deep);
    } catch (caught) {
        error = caught;
    }
    ok(error instanceof RangeError || error?.name === "DataCloneError", String(error));
});
