"use strict";
const printed = (run) => {
    native.printed.length = 0;
    run();
    return native.printed.splice(0);
};
const shown = (...values) => printed(() => console.log(...values))[0][1];

test("every_method_prints_at_its_level", () => {
    const levels = { error: 0, warn: 1, log: 2, info: 2, debug: 3 };
    for (const [name, level] of Object.entries(levels)) {
        same(printed(() => console[name]("a", 1)), [[level, "a 1"]]);
    }
    same(printed(() => console.assert(true, "no")), []);
    same(printed(() => console.assert(false, "why %d", 5)), [[0, "Assertion failed: why 5"]]);
    same(printed(() => console.assert(false, { a: 1 })), [[0, "Assertion failed { a: 1 }"]]);
    const { log } = console;
    same(printed(() => log("unbound")), [[2, "unbound"]]);
    ok(printed(() => console.trace("here"))[0][1].startsWith("Trace: here\n    at "));
    equal(String(console), "[object console]");
});

test("directives_take_one_value_each", () => {
    equal(shown("%s is %d%% %i %f", "x", 42.5, 42.9, "1.5kg"), "x is 42.5% 42 1.5");
    equal(shown("%s %s", 1), "1 %s");
    equal(shown("%c%s", "color: red", "plain"), "plain");
    equal(shown("%o %O", [1], { a: 1 }), "[ 1 ] { a: 1 }");
    equal(shown("%d %i %f", Symbol("s"), {}, "x"), "NaN NaN NaN");
    equal(shown("%s", Symbol("s")), "Symbol(s)");
    equal(shown("a%", "b"), "a% b");
    equal(shown(5, "%s", 6), "5 %s 6");
    equal(shown("%s", { a: { b: 1 } }), "{ a: [Object] }");
    equal(shown(), "");
});

test("values_look_as_people_know_them", () => {
    const pairs = [
        ["'", { a: "it's" }, "{ a: \"it's\" }"],
        [null, [undefined, null, true, -0, 5n, Symbol("s")],
            "[ undefined, null, true, -0, 5n, Symbol(s) ]"],
        [null, { a: { b: { c: { d: 1 } } } }, "{ a: { b: { c: [Object] } } }"],
        [null, { "a-b": 1, [Symbol("k")]: 2 }, "{ 'a-b': 1, [Symbol(k)]: 2 }"],
        [null, [1, , , 4], "[ 1, <2 empty items>, 4 ]"],
        [null, new Map([["a", { b: 1 }]]), "Map(1) { 'a' => { b: 1 } }"],
        [null, new Set([1, "x"]), "Set(2) { 1, 'x' }"],
        [null, new Uint8Array([1, 2]), "Uint8Array(2) [ 1, 2 ]"],
        [null, new Uint8Array([1, 255]).buffer,
            "ArrayBuffer { [Uint8Contents]: <01 ff>, byteLength: 2 }"],
        [null, new Date(0), "1970-01-01T00:00:00.000Z"],
        [null, new Date(NaN), "Invalid Date"],
        [null, /a/g, "/a/g"],
        [null, Object("s"), "[String: 's']"],
        [null, function named() {}, "[Function: named]"],
        [null, () => {}, "[Function (anonymous)]"],
        [null, async () => {}, "[AsyncFunction (anonymous)]"],
        [null, class A extends Map {}, "[class A extends Map]"],
        [null, new (class Point {
            x = 1;
        })(), "Point { x: 1 }"],
        [null, new (class Empty {})(), "Empty {}"],
        [null, Object.create(null), "[Object: null prototype] {}"],
        [null, {}, "{}"],
        [null, [], "[]"],
        [null, { get a() {
            throw new Error("must not run");
        }, set b(value) {} }, "{ a: [Getter], b: [Setter] }"],
        [null, new WeakMap(), "WeakMap { <items unknown> }"],
        [null, new Headers({ a: "b" }), "Headers { 'a' => 'b' }"],
        [null, new URLSearchParams("a=b"), "URLSearchParams { 'a' => 'b' }"],
        [null, { s: "a\n\x00" }, "{ s: 'a\\n\\x00' }"],
    ];
    for (const [, value, expected] of pairs) {
        equal(shown(value), expected);
    }
    ok(shown(new Response("x", { status: 404 })).includes("status: 404"));
    ok(shown(new Response("x")).includes("'content-type' => 'text/plain;charset=UTF-8'"));
    ok(shown(new URL("http://a/b")).includes("href: 'http://a/b'"));
});

test("cycles_width_and_depth_are_bounded", () => {
    const loop = { name: "x" };
    loop.self = loop;
    equal(shown(loop), "<ref *1> { name: 'x', self: [Circular *1] }");
    ok(shown(Array(500).fill(0)).includes("... 400 more items"));
    ok(shown(new Set(Array(150).keys())).includes("... 50 more items"));
    ok(shown(new Array(4e9)) === "[ <4000000000 empty items> ]");
    let deep = {};
    for (let i = 0; i < 1e5; i++) {
        deep = { deep };
    }
    equal(shown(deep), "{ deep: { deep: { deep: [Object] } } }");
    ok(shown({ text: "x".repeat(20000) }).length < 11000);
    const wide = shown({ aaaaaaaaaaaaaaaaaaaaaaaa: 1, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: 2,
        cccccccccccccccccccccccc: { d: 3 } });
    equal(wide, "{\n  aaaaaaaaaaaaaaaaaaaaaaaa: 1,\n  bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: 2,\n"
        + "  cccccccccccccccccccccccc: { d: 3 }\n}");
});

test("errors_come_with_stack_cause_and_properties", () => {
    const error = new RangeError("too far", { cause: new Error("inner") });
    error.code = 7;
    const text = shown(error);
    ok(text.startsWith("RangeError: too far\n    at "), text);
    ok(text.includes("[cause]: Error: inner\n") && text.includes("code: 7"), text);
    ok(shown({ e: new TypeError("x") }).includes("TypeError: x"));
    ok(shown(new DOMException("gone", "AbortError")).startsWith("AbortError: gone"));
});

test("groups_indent_every_line", () => {
    const lines = printed(() => {
        console.group("outer");
        console.log("a\nb");
        console.groupCollapsed();
        console.warn("c");
        console.groupEnd();
        console.groupEnd();
        console.groupEnd();
        console.log("d");
    });
    same(lines, [[2, "outer"], [2, "  a\n  b"], [1, "    c"], [2, "d"]]);
});

test("counts_and_timers_go_by_label", () => {
    same(printed(() => {
        console.count();
        console.count("x");
        console.count();
        console.countReset();
        console.count("default");
        console.countReset("none");
    }), [[2, "default: 1"], [2, "x: 1"], [2, "default: 2"], [2, "default: 1"],
        [1, "Count for 'none' does not exist"]]);
    const lines = printed(() => {
        console.time("t");
        console.time("t");
        console.timeLog("t", "more", 1);
        console.timeEnd("t");
        console.timeEnd("t");
    });
    equal(lines[0][1], "Timer 't' already exists");
    ok(/^t: \d+\.\d+m?s more 1$/.test(lines[1][1]), lines[1][1]);
    ok(/^t: \d+\.\d+m?s$/.test(lines[2][1]));
    same(lines[3], [1, "Timer 't' does not exist"]);
});

test("tables_have_rows_and_columns", () => {
    const table = shown.bind(null);
    const lines = printed(() => console.table([{ a: 1, b: "x" }, { a: 2 }]))[0][1].split("\n");
    equal(lines[1], "\u2502 (index) \u2502 a \u2502 b   \u2502");
    equal(lines[3], "\u2502 0       \u2502 1 \u2502 'x' \u2502");
    equal(lines[4], "\u2502 1       \u2502 2 \u2502     \u2502");
    equal(lines.length, 6);
    ok(printed(() => console.table([[1, 2]], ["1"]))[0][1].includes("2"));
    ok(printed(() => console.table(new Map([["k", 5]])))[0][1].includes("'k'"));
    ok(printed(() => console.table(["v"]))[0][1].includes("Values"));
    same(printed(() => console.table(5)), [[2, "5"]]);
    equal(table("x"), "x");
    same(printed(() => console.dir({ a: { b: 1 } }, { depth: 0 })), [[2, "{ a: [Object] }"]]);
});
