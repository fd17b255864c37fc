/* The vectors of clone_vectors.json against the JavaScript codec; run by test_clone_js.c.
 * A value is compared by the tree that docs/clone.md describes. */
"use strict";
const proxies = []; /* what this host can tell; the chunk asks for it when it is evaluated */
native.isProxy = (object) => proxies.includes(object);
/* A class of the platform; in the vectors the value inside stands for its objects. */
class Blob {
    constructor(inside) {
        this.inside = inside;
    }

    get [Symbol.toStringTag]() {
        return "Blob";
    }
}
const blobs = { Blob, serialize: (blob) => blob.inside, deserialize: (inside) => inside };
const { chunk } = native;
native.chunk = (name) => name === "blob" ? blobs : chunk(name);
const { encode, decode } = native.chunk("clone");
const { vectors } = JSON.parse(native.vectors);
const MODES = ["web", "pool"];

const bytesOf = (hex) => Uint8Array.fromHex(hex);

function hexOf(vector) {
    const repeat = vector.hex_repeat;
    return repeat === undefined ? vector.hex
        : repeat.prefix + repeat.unit.repeat(repeat.times) + repeat.suffix;
}

/* ---- from values to trees */

const numberText = (number) => Object.is(number, -0) ? "-0" : String(number);

function textNode(text) {
    if (text.isWellFormed() && !text.includes("\0")) {
        return ["str", text];
    }
    return ["str16", Array.from({ length: text.length },
        (_, i) => text.charCodeAt(i).toString(16).padStart(4, "0")).join("")];
}

class Tree {
    numbers = new Map();

    constructor(hosts, side) {
        this.hosts = hosts;
        this.side = side;
    }

    node(value) {
        switch (typeof value) {
        case "undefined":
            return ["undefined"];
        case "boolean":
            return ["bool", value];
        case "number":
            return ["num", numberText(value)];
        case "bigint":
            return ["bigint", `${value < 0n ? "-" : ""}0x${(value < 0n ? -value : value).toString(16)}`];
        case "string":
            return textNode(value);
        default:
            return value === null ? ["null"] : this.object(value);
        }
    }

    object(value) {
        if (this.numbers.has(value)) {
            return ["ref", this.numbers.get(value)];
        }
        this.numbers.set(value, this.numbers.size);
        if (this.hosts.includes(value)) {
            return ["host", this.hosts.indexOf(value)];
        }
        return this.kind(value);
    }

    pairs(value, keys) {
        return keys.map((key) => {
            const property = Object.getOwnPropertyDescriptor(value, key);
            ok(property.writable && property.enumerable && property.configurable, key);
            return [textNode(key), this.node(property.value)];
        });
    }

    kind(value) {
        const prototype = Object.getPrototypeOf(value);
        if (Array.isArray(value)) {
            return this.array(value);
        }
        if (value instanceof Map) {
            return ["map", [...value].map(([key, item]) => [this.node(key), this.node(item)])];
        }
        if (value instanceof Set) {
            return ["set", [...value].map((item) => this.node(item))];
        }
        if (value instanceof Date) {
            return ["date", numberText(value.getTime())];
        }
        if (value instanceof RegExp) {
            return ["regexp", textNode(value.source), value.flags, numberText(value.lastIndex)];
        }
        if (value instanceof Error) {
            return value instanceof DOMException ? this.domException(value) : this.error(value, prototype);
        }
        if (value instanceof ArrayBuffer) {
            return this.buffer(value);
        }
        if (ArrayBuffer.isView(value)) {
            return this.view(value);
        }
        if (value instanceof Number || value instanceof String || value instanceof Boolean
                || value instanceof BigInt) {
            return ["boxed", this.node(value.valueOf())];
        }
        equal(prototype, Object.prototype);
        return ["object", this.pairs(value, Object.keys(value))];
    }

    array(value) {
        const keys = Object.keys(value);
        const named = keys.filter((key) => String(key >>> 0) !== key || key >>> 0 === 4294967295);
        const indexes = keys.filter((key) => !named.includes(key));
        if (indexes.length * 2 < value.length) {
            return ["sparse", value.length, indexes.map((key) => [Number(key), this.node(value[key])]),
                this.pairs(value, named)];
        }
        return ["array", Array.from({ length: value.length },
            (_, i) => Object.hasOwn(value, i) ? this.node(value[i]) : ["hole"]),
        this.pairs(value, named)];
    }

    buffer(value) {
        const hex = new Uint8Array(value).toHex();
        const entry = this.side.findIndex((one) => one.hex === hex && !one.used);
        const given = entry >= 0 && (this.side[entry].used = true);
        if (value.resizable) {
            return given ? ["side_resizable", entry, value.byteLength, value.maxByteLength]
                : ["resizable", hex, value.maxByteLength];
        }
        return given ? ["side", entry, value.byteLength] : ["buffer", hex];
    }

    view(value) {
        const name = value.constructor.name;
        const { buffer, byteOffset } = value;
        let length = value instanceof DataView ? value.byteLength : value.length;
        if (buffer.resizable) {
            length = follows(value, buffer) ? -1 : length;
        }
        return ["view", name, byteOffset, length, this.node(buffer)];
    }

    members(error, names) {
        const parts = {};
        for (const name of names) {
            const property = Object.getOwnPropertyDescriptor(error, name);
            if (property !== undefined && !property.enumerable) {
                parts[name] = this.node(property.value);
            }
        }
        return parts;
    }

    error(error, prototype) {
        const parts = this.members(error, ["message", "stack", "name", "cause", "errors"]);
        const extra = Object.keys(error);
        if (extra.length > 0) {
            parts.extra = this.pairs(error, extra);
        }
        return ["error", prototype.constructor.name, parts];
    }

    domException(error) {
        const parts = { name: textNode(error.name), message: textNode(error.message) };
        if (error.stack !== undefined) {
            parts.stack = textNode(error.stack);
        }
        if (error instanceof native.chunk("dom").QuotaExceededError) {
            parts.quota = this.node(error.quota);
            parts.requested = this.node(error.requested);
        }
        return ["domexception", parts];
    }
}

/* By resizing; for views of vectors, whose content nobody needs any more. */
function follows(view, buffer) {
    const size = buffer.byteLength;
    const length = view.byteLength;
    const content = new Uint8Array(buffer).slice();
    const other = size < buffer.maxByteLength ? buffer.maxByteLength : view.byteOffset;
    buffer.resize(other);
    const changed = !gone(view) && (view.byteLength !== length || other === size);
    buffer.resize(size);
    new Uint8Array(buffer).set(content);
    return changed;
}

function gone(view) {
    try {
        if (view instanceof DataView) {
            void view.byteLength;
        } else {
            view.at(0);
        }
        return false;
    } catch {
        return true;
    }
}

/* What is the same value in JavaScript, though bytes can tell: an empty list of other
 * properties or none, an array by its items or by its indexes, the place of integer keys. */
function normal(tree) {
    return JSON.stringify(tree, (_, value) => {
        if (Array.isArray(value) && value[0] === "array" && value.length === 3) {
            const items = value[1].map((item, i) => [i, item]).filter(([, item]) => item[0] !== "hole");
            return items.length * 2 < value[1].length ? ["sparse", value[1].length, items, value[2]] : value;
        }
        if (Array.isArray(value) && value[0] === "object") {
            const isIndex = ([key]) => String(key[1] >>> 0) === key[1];
            return ["object", [...value[1].filter(isIndex).sort((a, b) => a[0][1] - b[0][1]),
                ...value[1].filter((pair) => !isIndex(pair))]];
        }
        if (Array.isArray(value) && value[0] === "sparse" && value[2].length * 2 >= value[1]) {
            const items = new Map(value[2]);
            return ["array", Array.from({ length: value[1] }, (_, i) => items.get(i) ?? ["hole"]), value[3]];
        }
        return value !== null && typeof value === "object" && !Array.isArray(value)
            ? Object.fromEntries(Object.entries(value).filter((entry) => entry[0] !== "extra"
                || entry[1].length > 0).sort()) : value;
    });
}

function treeOf(value, vector, hosts) {
    const side = (vector.buffers ?? []).map((hex) => ({ hex, used: false }));
    return new Tree(hosts, side).node(value);
}

function decodeVector(vector, bytes = bytesOf(hexOf(vector))) {
    const buffers = (vector.buffers ?? []).map((hex) => bytesOf(hex).buffer);
    const hosts = Array.from({ length: vector.hosts ?? 0 }, () => ({}));
    return { value: decode(bytes, buffers, hosts), hosts };
}

function valueOf(vector) {
    return (0, eval)(/^(const|let|class) /.test(vector.js)
        ? `(() => {${vector.js}})()` : `(${vector.js})`);
}

function encodeVector(vector, mode) {
    let value = valueOf(vector);
    let transfer;
    if (vector.transfer) {
        ({ value, transfer } = value);
    }
    return encode(value, { pool: mode === "pool", transfer, raw: vector.raw });
}

/* ---- the tests */

function each(name, wanted, check) {
    test(name, () => {
        let count = 0;
        for (const vector of vectors.filter(wanted)) {
            try {
                check(vector);
                count++;
            } catch (error) {
                throw new Error(`${vector.name}: ${error}\n${error?.stack}`);
            }
        }
        ok(count > 0, "no vector");
    });
}

each("what_is_decoded_is_what_the_tree_says", (one) => one.tree !== undefined, (vector) => {
    const { value, hosts } = decodeVector(vector);
    equal(normal(treeOf(value, vector, hosts)), normal(vector.tree));
});

each("what_is_encoded_has_the_same_bytes", (one) => one.js !== undefined && !one.throws, (vector) => {
    for (const mode of vector.modes ?? MODES) {
        const { bytes, buffers } = encodeVector(vector, mode);
        equal(bytes.toHex(), hexOf(vector), mode);
        same(buffers.map((buffer) => new Uint8Array(buffer).toHex()), vector.buffers ?? [], mode);
    }
});

each("what_was_decoded_is_encoded_again_as_it_was",
    (one) => one.tree !== undefined && one.canonical !== false && !one.hosts && !one.buffers,
    (vector) => {
        const { value } = decodeVector(vector);
        equal(encode(value, { pool: true }).bytes.toHex(), hexOf(vector));
    });

each("what_is_refused_is_refused_for_its_reason", (one) => one.refuse !== undefined, (vector) => {
    const error = throws(TypeError, () => decodeVector(vector));
    equal(error.reason, vector.refuse);
});

each("what_cannot_be_cloned_throws", (one) => one.throws !== undefined, (vector) => {
    for (const mode of vector.modes) {
        const type = globalThis[vector.throws] ?? vector.throws;
        throws(type, () => encodeVector(vector, mode), mode);
    }
});

each("no_beginning_of_a_message_is_a_message",
    (one) => one.tree !== undefined && hexOf(one).length < 600, (vector) => {
        const bytes = bytesOf(hexOf(vector));
        for (let length = 0; length < bytes.length; length++) {
            const error = throws(TypeError, () => decodeVector(vector, bytes.slice(0, length)));
            ok(typeof error.reason === "string");
        }
    });

each("a_changed_byte_gives_a_value_or_a_reason",
    (one) => one.hex !== undefined && one.hex.length < 200, (vector) => {
        const bytes = bytesOf(vector.hex);
        for (let i = 2; i < bytes.length; i++) {
            for (const change of [1, 2, 0x10, 0x40, 0x80, 0xff]) {
                const changed = bytes.slice();
                changed[i] ^= change;
                try {
                    decodeVector(vector, changed);
                } catch (error) {
                    ok(typeof error.reason === "string", `${error}\n${error.stack}`);
                }
            }
        }
    });

test("shapes_that_are_hot_and_shapes_that_are_not_give_the_same", () => {
    for (const vector of vectors.filter((one) => one.name.startsWith("object_") && one.js)) {
        for (let i = 0; i < 40; i++) {
            equal(encodeVector(vector, "web").bytes.toHex(), vector.hex, vector.name);
            equal(normal(treeOf(decodeVector(vector).value, vector, [])), normal(vector.tree), vector.name);
        }
    }
});

test("a_getter_may_encode_while_its_object_is_encoded", () => {
    const plain = (inner) => ({ a: 1, deep: { a: 2, get b() {
        inner();
        return 3;
    } }, c: [{ a: 4, b: 5 }], again: { a: 6, b: 7 } });
    const expected = encode(plain(() => {})).bytes.toHex();
    const nested = [];
    for (let i = 0; i < 40; i++) {
        const inner = () => nested.push(encode([{ a: 1, b: 2 }, { a: 3, b: 4 }, new Date(5)]).bytes.toHex());
        equal(encode(plain(inner)).bytes.toHex(), expected);
    }
    equal(new Set(nested).size, 1);
    equal(nested[0], encode([{ a: 1, b: 2 }, { a: 3, b: 4 }, new Date(5)]).bytes.toHex());
});

test("encoding_that_fails_leaves_the_encoder_as_it_was", () => {
    const good = encode({ x: 1, y: [1, 2] }).bytes.toHex();
    for (let i = 0; i < 40; i++) {
        throws("DataCloneError", () => encode({ x: 1, y: [1, {}, () => {}] }));
        throws(TypeError, () => encode({ x: 1, y: Symbol("s") }, { pool: true }));
        throws("DataCloneError", () => encode([{ get a() {
            return encode(() => {});
        } }]));
        equal(encode({ x: 1, y: [1, 2] }).bytes.toHex(), good);
    }
    const buffer = new ArrayBuffer(8);
    throws("DataCloneError", () => encode([buffer, () => {}], { transfer: [buffer] }));
    equal(buffer.byteLength, 8);
});

test("objects_of_the_platform_travel_by_what_is_inside", () => {
    const blob = new Blob([1, { a: 2 }]);
    const { bytes } = encode([blob, blob, [3]]);
    equal(bytes.toHex(), "c1011103" + "2144426c6f62" + "1102a11001030102" + "61a2" + "0a01" + "1101a3");
    blobs.deserialize = (inside, kind) => {
        equal(kind, "Blob");
        return new Blob(inside);
    };
    const [one, two, three] = decode(bytes);
    ok(one instanceof Blob && one === two);
    equal(JSON.stringify([one.inside, three]), "[[1,{\"a\":2}],[3]]");
    blobs.deserialize = () => {
        throw new Error("not that");
    };
    equal(throws(TypeError, () => decode(bytes)).reason, "platform");
    blobs.deserialize = (inside) => inside;
    equal(throws(TypeError, () => decode(bytesOf("c101214158a1"))).reason, "platform");
    throws("DataCloneError", () => encode({ get [Symbol.toStringTag]() { return "Blob"; }, f() {} }));
});

test("what_is_transferred_and_changed_meanwhile_is_refused", () => {
    const buffer = new ArrayBuffer(4, { maxByteLength: 8 });
    const value = { buffer, get late() {
        buffer.resize(8);
        return 1;
    } };
    throws("DataCloneError", () => encode(value, { transfer: [buffer] }));
    ok(!buffer.detached);
    const other = new ArrayBuffer(4);
    throws("DataCloneError", () => encode({ get late() {
        other.transfer();
        return 1;
    } }, { transfer: [other] }));
});

test("proxies_are_refused_where_the_host_can_tell", () => {
    proxies.push(new Proxy({ a: 1 }, {}), new Proxy([1], {}));
    for (const proxy of proxies) {
        throws("DataCloneError", () => encode([proxy]));
        throws(TypeError, () => encode(proxy, { pool: true }));
    }
    proxies.length = 0;
});

test("hosts_travel_beside_the_bytes", () => {
    class Port {}
    const [one, two] = [new Port(), new Port()];
    const taken = [];
    const transferHost = (object) => object instanceof Port
        ? () => taken.push(object) && { port: taken.length } : undefined;
    const { bytes, hosts } = encode({ list: [two, one, two] }, { transfer: [one, two], transferHost });
    same(hosts, [{ port: 1 }, { port: 2 }]);
    ok(taken[0] === one && taken[1] === two);
    const copy = decode(bytes, null, hosts);
    ok(copy.list[0] === hosts[1] && copy.list[1] === hosts[0] && copy.list[2] === hosts[1]);
    throws("DataCloneError", () => encode(1, { transfer: [{}], transferHost }));
    throws("DataCloneError", () => encode(() => {}, { transfer: [one], transferHost }));
    equal(taken.length, 2);
});

test("large_values_pass", () => {
    const list = Array.from({ length: 20000 }, (_, i) => ({ id: i, name: `n${i}`, tags: [i, -i], at: i / 3 }));
    list.push(list[19999], "x".repeat(300000), "\u20ac".repeat(200000), new Uint8Array(500000).fill(7),
        new Map(list.slice(0, 100).map((one) => [one.id, one])), -(2n ** 8000n) - 1n);
    const copy = decode(encode(list).bytes);
    equal(copy.length, list.length);
    same(copy.slice(0, 20003), list.slice(0, 20003));
    ok(copy[20000] === copy[19999] && copy[20004].get(7) === copy[7]);
    same(copy[20003], list[20003]);
    equal(copy[20005], list[20005]);
    const wide = Object.fromEntries(Array.from({ length: 30000 }, (_, i) => [`key ${i}`, i]));
    same(decode(encode(wide).bytes), wide);
});

test("deep_values_pass_or_fail_cleanly", () => {
    const deep = (depth) => {
        let value = null;
        for (let i = 0; i < depth; i++) {
            value = i % 2 === 0 ? [value] : { value };
        }
        return value;
    };
    ok(decode(encode(deep(3000)).bytes) !== null);
    for (const depth of [10001, 1000000]) {
        let error;
        try {
            encode(deep(depth));
        } catch (caught) {
            error = caught;
        }
        ok(error instanceof RangeError || error?.name === "DataCloneError", String(error));
    }
    equal(encode(1).bytes.toHex(), "c101a1");
});

test("a_sparse_array_takes_little_memory", () => {
    const parts = ["c10111c0843d"]; /* 1,000,000 items */
    const bytes = bytesOf(parts[0] + "13ffffffff0f0000".repeat(1000000));
    equal(decode(bytes).length, 1000000);
    const many = bytesOf("c10111904e" + "139f8d06000000".slice(0, 12).repeat(10000));
    equal(decode(many)[9999].length, 99999);
});

test("keys_of_prototypes_are_ordinary_keys", () => {
    let called = 0;
    Object.defineProperty(Object.prototype, "trap", { set() {
        called++;
    }, configurable: true });
    try {
        const value = Object.defineProperty({}, "trap",
            { value: 1, enumerable: true, writable: true, configurable: true });
        const { bytes } = encode(value);
        for (let i = 0; i < 40; i++) {
            equal(Object.getOwnPropertyDescriptor(decode(bytes), "trap").value, 1);
        }
        equal(called, 0);
    } finally {
        delete Object.prototype.trap;
    }
    const polluted = decode(bytesOf("c10110010b01125f5f70726f746f5f5f1000"));
    ok(Object.getPrototypeOf(polluted) === Object.prototype && Object.hasOwn(polluted, "__proto__"));
});
