"use strict";
test("random_values_fill_arrays_of_integers_only", () => {
    const array = new Uint32Array(16);
    equal(crypto.getRandomValues(array), array);
    ok(array.some((value) => value !== 0));
    const part = new Uint8Array(64);
    crypto.getRandomValues(part.subarray(16, 48));
    ok(part.subarray(0, 16).every((byte) => byte === 0) && part.subarray(16).some(Boolean)
        && part.subarray(48).every((byte) => byte === 0));
    crypto.getRandomValues(new BigInt64Array(2));
    equal(crypto.getRandomValues(new Uint8Array(65536)).length, 65536);
    const { buffer } = crypto.getRandomValues(new Uint8Array(4));
    buffer.transfer();
    ok(buffer.detached);
    throws("QuotaExceededError", () => crypto.getRandomValues(new Uint8Array(65537)), "too many");
    throws("TypeMismatchError", () => crypto.getRandomValues(new Float32Array(1)));
    throws("TypeMismatchError", () => crypto.getRandomValues(new DataView(new ArrayBuffer(1))));
    throws(TypeError, () => crypto.getRandomValues([1]));
    throws(TypeError, () => new Crypto());
    throws(TypeError, () => Crypto.prototype.randomUUID.call({}));
});

test("random_UUIDs_have_version_and_variant", () => {
    const seen = new Set();
    for (let i = 0; i < 100; i++) {
        const uuid = crypto.randomUUID();
        ok(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/.test(uuid), uuid);
        seen.add(uuid);
    }
    equal(seen.size, 100);
});

test("marks_and_measures_are_kept_by_time", () => {
    ok(performance.now() > 0 && performance.timeOrigin > 0);
    equal(performance.toJSON().timeOrigin, performance.timeOrigin);
    const mark = performance.mark("m", { startTime: 10, detail: { a: [1] } });
    performance.mark("early", { startTime: 1 });
    performance.mark("m", { startTime: 30 });
    same(mark.toJSON(), { name: "m", entryType: "mark", startTime: 10, duration: 0,
        detail: { a: [1] } });
    same(performance.getEntriesByName("m").map((entry) => entry.startTime), [10, 30]);
    same(performance.getEntries().map((entry) => entry.name), ["early", "m", "m"]);
    equal(performance.measure("d", "early", "m").duration, 29);
    equal(performance.measure("e", { start: 5, duration: 7 }).startTime, 5);
    equal(performance.measure("f", { end: 20, duration: 7, detail: 1 }).startTime, 13);
    equal(performance.getEntriesByType("measure").length, 3);
    ok(mark instanceof PerformanceMark && mark instanceof PerformanceEntry);
    performance.clearMarks("m");
    equal(performance.getEntriesByType("mark").length, 1);
    performance.clearMeasures();
    performance.clearMarks();
    equal(performance.getEntries().length, 0);
    throws("SyntaxError", () => performance.measure("x", "nowhere"));
    throws(TypeError, () => performance.mark("x", { startTime: -1 }));
    throws(TypeError, () => performance.measure("x", { start: 1, end: 2, duration: 1 }));
    throws("DataCloneError", () => performance.mark("x", { detail: () => {} }));
    ok(performance instanceof EventTarget);
});

test("only_the_newest_entries_are_kept", () => {
    for (let i = 0; i < 25000; i++) {
        performance.mark(`n${i}`);
    }
    ok(performance.getEntriesByType("mark").length <= 20000);
    equal(performance.getEntriesByName("n24999").length, 1);
    performance.clearMarks();
});
