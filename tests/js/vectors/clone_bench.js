/* What encoding and decoding cost, warm; run by test_clone_js.c.  Strings of the records are
 * all different, so that no cache of the decoder's finds one; "same" shows one that does. */
"use strict";
const { encode, decode, encodeMessage, decodeMessage } = native.chunk("clone");

function record(i) {
    return { id: 123456 + i, name: `Alice Example ${i}`, email: `alice${i}@example.org`, active: true,
        score: 99.5 + i, age: i % 100, city: `Vienna ${i}`, zip: String(1000 + i), created: 1700000000000 + i,
        note: null };
}

const RECORDS = Array.from({ length: 5000 }, (_, i) => record(i));
const same = record(1);
const point = { x: 1, y: 2 };
const nested = { id: 1, user: record(2), list: [1, 2, 3], options: { deep: { er: true } } };
const numbers = Array.from({ length: 1000 }, (_, i) => i * 37);
const long = "0123456789abcdef".repeat(65536);
let sink = 0;

const keepLength = (bytes, length) => {
    sink += length;
    return length;
};
const roundTrip = (bytes, length, buffers, hosts) => decodeMessage(bytes, length, buffers, hosts);

function time(name, run, times, unit = 1) {
    for (let i = 0; i < 4; i++) {
        run(times);
    }
    let best = Infinity;
    for (let i = 0; i < 5; i++) {
        const started = native.now();
        run(times);
        best = Math.min(best, (native.now() - started) / times / unit);
    }
    native.say(`${name.padEnd(48)} ${best.toFixed(1).padStart(9)} ns`);
}

test("bench", () => {
    time("ten fields, out", (n) => {
        for (let i = 0; i < n; i++) {
            encodeMessage(RECORDS[i % 5000], undefined, keepLength);
        }
    }, 50000);
    const messages = RECORDS.map((one) => encode(one).bytes);
    time("ten fields, in", (n) => {
        for (let i = 0; i < n; i++) {
            const bytes = messages[i % 5000];
            sink += decodeMessage(bytes, bytes.length, null, null).age;
        }
    }, 50000);
    time("ten fields, out and in", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(RECORDS[i % 5000], undefined, roundTrip).age;
        }
    }, 50000);
    time("ten fields, out and in, same strings", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(same, undefined, roundTrip).age;
        }
    }, 50000);
    time("ten fields, out and in, through a message", (n) => {
        for (let i = 0; i < n; i++) {
            sink += decode(encode(RECORDS[i % 5000]).bytes).age;
        }
    }, 50000);
    time("ten fields, structuredClone", (n) => {
        for (let i = 0; i < n; i++) {
            sink += structuredClone(RECORDS[i % 5000]).age;
        }
    }, 50000);
    time("ten fields, JSON", (n) => {
        for (let i = 0; i < n; i++) {
            sink += JSON.parse(JSON.stringify(RECORDS[i % 5000])).age;
        }
    }, 50000);
    time("two fields, out and in", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(point, undefined, roundTrip).x;
        }
    }, 100000);
    time("nested, out and in", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(nested, undefined, roundTrip).id;
        }
    }, 20000);
    time("a list of 5000 records, out and in, each", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(RECORDS, undefined, roundTrip).length;
        }
    }, 5, 5000);
    time("1000 numbers, out and in, each", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(numbers, undefined, roundTrip).length;
        }
    }, 500, 1000);
    time("a string of 1 MB, out and in, each byte", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(long, undefined, roundTrip).length;
        }
    }, 5, 1 << 20);
    time("a short string, out and in", (n) => {
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(RECORDS[i % 5000].name, undefined, roundTrip).length;
        }
    }, 100000);
    time("a buffer, transferred, out and in", (n) => {
        for (let i = 0; i < n; i++) {
            const buffer = new ArrayBuffer(16);
            sink += encodeMessage(buffer, { transfer: [buffer] }, roundTrip).byteLength;
        }
    }, 10000);
    time("an error, out and in", (n) => {
        const error = new RangeError("far");
        for (let i = 0; i < n; i++) {
            sink += encodeMessage(error, undefined, roundTrip).message.length;
        }
    }, 10000);
});
