"use strict";
test("headers_are_found_whatever_their_case", () => {
    const headers = new Headers({ "Content-Type": " text/plain\t", "x-A": 1 });
    equal(headers.get("content-TYPE"), "text/plain");
    equal(headers.get("X-a"), "1");
    equal(headers.get("no"), null);
    headers.append("x-a", "2");
    equal(headers.get("x-a"), "1, 2");
    headers.set("X-A", "3");
    same([...headers], [["content-type", "text/plain"], ["x-a", "3"]]);
    headers.delete("X-A");
    ok(!headers.has("x-a") && headers.has("Content-type"));
});

test("iteration_is_sorted_combined_and_live", () => {
    const headers = new Headers([["b", "1"], ["a", "2"], ["Set-Cookie", "z"], ["B", "3"],
        ["set-cookie", "y"]]);
    same([...headers], [["a", "2"], ["b", "1, 3"], ["set-cookie", "z"], ["set-cookie", "y"]]);
    same(headers.getSetCookie(), ["z", "y"]);
    equal(headers.get("set-cookie"), "z, y");
    const seen = [];
    for (const [name] of headers) {
        seen.push(name);
        if (name === "a") {
            headers.delete("b");
            headers.append("c", "4");
        }
    }
    same(seen, ["a", "c", "set-cookie", "set-cookie"]);
    same([...headers.keys()].length, 4);
    same([...headers.values()], ["2", "4", "z", "y"]);
    headers.set("set-cookie", "one");
    same(headers.getSetCookie(), ["one"]);
    equal(Object.prototype.toString.call(headers.keys()), "[object Headers Iterator]");
    equal(Headers.prototype[Symbol.iterator], Headers.prototype.entries);
});

test("a_value_or_name_equal_to_another_name_is_not_mistaken_for_it", () => {
    const headers = new Headers([["x", "a"], ["a", "x"], ["x", "x"]]);
    headers.set("a", "1");
    same([...headers], [["a", "1"], ["x", "a, x"]]);
    headers.set("x", "a");
    same([...headers], [["a", "1"], ["x", "a"]]);
    headers.delete("a");
    same([...headers], [["x", "a"]]);
});

test("wrong_names_and_values_are_refused", () => {
    const headers = new Headers();
    for (const name of ["", "a b", "a:", "\u00e4", "a\n", "\u0100"]) {
        throws(TypeError, () => headers.append(name, "x"), name);
        throws(TypeError, () => headers.get(name), name);
        throws(TypeError, () => new Headers({ [name]: "x" }), name);
    }
    for (const value of ["a\nb", "a\rb", "a\0b", "\u0100"]) {
        throws(TypeError, () => headers.set("a", value));
    }
    headers.set("a", "\r\n\t x\u00ff \n");
    equal(headers.get("a"), "x\u00ff");
    headers.set("a", "");
    equal(headers.get("a"), "");
    throws(TypeError, () => new Headers(null));
    throws(TypeError, () => new Headers("a"));
    throws(TypeError, () => new Headers([["a"]]));
    throws(TypeError, () => new Headers([["a", "b", "c"]]));
    throws(TypeError, () => new Headers(["ab"]));
    throws(TypeError, () => new Headers({ [Symbol("a")]: "x" }));
    throws(TypeError, () => headers.append("a"));
    throws(TypeError, () => headers.forEach(1));
    throws(TypeError, () => Headers.prototype.get.call({}, "a"));
});

test("a_record_is_read_key_by_key", () => {
    const log = [];
    const record = new Proxy({ a: 1, b: 2 }, {
        ownKeys: (target) => {
            log.push("keys");
            return Reflect.ownKeys(target);
        },
        getOwnPropertyDescriptor: (target, key) => {
            log.push(`is ${key}`);
            return Reflect.getOwnPropertyDescriptor(target, key);
        },
        get: (target, key) => {
            if (typeof key === "string") {
                log.push(`get ${key}`);
            }
            return Reflect.get(target, key);
        },
    });
    same([...new Headers(record)], [["a", "1"], ["b", "2"]]);
    same(log, ["keys", "is a", "get a", "is b", "get b"]);
    same([...new Headers(Object.create({ a: "x" }, { b: { value: "y" } }))], []);
    same([...new Headers(new Headers({ a: "b" }))], [["a", "b"]]);
    same([...new Headers(new Map([["a", "b"]]))], [["a", "b"]]);
});
