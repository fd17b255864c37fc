"use strict";
test("a_DOMException_is_an_error_with_a_code_and_a_stack", () => {
    const error = new DOMException("no", "NotFoundError");
    equal(error.name, "NotFoundError");
    equal(error.message, "no");
    equal(error.code, 8);
    equal(DOMException.NOT_FOUND_ERR, 8);
    ok(error instanceof Error && Error.isError(error));
    ok(!Object.hasOwn(error, "message") && typeof error.stack === "string");
    equal(String(error), "NotFoundError: no");
    equal(Object.prototype.toString.call(error), "[object DOMException]");
    equal(Object.getPrototypeOf(DOMException), Function.prototype);
    equal(new DOMException().name, "Error");
    equal(new DOMException("x", "toString").code, 0);
    equal(new DOMException("x", { name: "AbortError", cause: 1 }).cause, 1);
    throws(TypeError, () => DOMException.prototype.name);
    class Mine extends DOMException {}
    equal(new Mine("a", "AbortError").code, 20);
    ok(new Mine() instanceof Mine);
});

test("a_QuotaExceededError_says_how_much", () => {
    const error = new QuotaExceededError("full", { quota: 5, requested: 6 });
    equal(error.name, "QuotaExceededError");
    equal(error.code, 22);
    equal(error.quota, 5);
    equal(error.requested, 6);
    equal(new QuotaExceededError().quota, null);
    ok(error instanceof DOMException);
    throws(RangeError, () => new QuotaExceededError("", { quota: 5, requested: 4 }));
});

test("a_controller_aborts_its_signal_once", () => {
    const controller = new AbortController();
    const { signal } = controller;
    const seen = [];
    signal.onabort = (event) => seen.push(event.type);
    signal.addEventListener("abort", () => seen.push(signal.reason));
    equal(signal.aborted, false);
    equal(signal.reason, undefined);
    signal.throwIfAborted();
    controller.abort("why");
    controller.abort("again");
    same(seen, ["abort", "why"]);
    throws("why", () => signal.throwIfAborted());
    equal(new AbortController().signal.reason, undefined);
    throws(TypeError, () => new AbortSignal());
    equal(AbortSignal.abort().reason.name, "AbortError");
    equal(AbortSignal.abort(5).reason, 5);
});

test("a_timeout_aborts_when_its_time_has_come", async () => {
    const signal = AbortSignal.timeout(1000);
    equal(signal.aborted, false);
    await new Promise((resolve) => setTimeout(resolve, 999));
    equal(signal.aborted, false);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    equal(signal.reason.name, "TimeoutError");
    throws(TypeError, () => AbortSignal.timeout(-1));
});

test("any_follows_the_sources_of_its_sources", () => {
    const a = new AbortController();
    const b = new AbortController();
    const one = AbortSignal.any([a.signal, b.signal]);
    const two = AbortSignal.any([one]);
    const order = [];
    two.addEventListener("abort", () => order.push("two"));
    one.addEventListener("abort", () => order.push(`one, two is ${two.aborted}`));
    b.abort("b");
    same(order, ["two", "one, two is true"].sort());
    equal(two.reason, "b");
    a.abort("a");
    equal(one.reason, "b");
    equal(AbortSignal.any([AbortSignal.abort(1), AbortSignal.abort(2)]).reason, 1);
    equal(AbortSignal.any([]).aborted, false);
    throws(TypeError, () => AbortSignal.any([{}]));
    throws(TypeError, () => AbortSignal.any(1));
});

test("what_the_host_does_with_signals_works_without_events", () => {
    const { abortSignal, onAbort, followSignals, isSignal } = native.chunk("dom");
    const controller = new AbortController();
    const seen = [];
    onAbort(controller.signal, (reason) => seen.push(reason));
    const off = onAbort(controller.signal, () => seen.push("off"));
    off();
    const follower = followSignals([controller.signal]);
    abortSignal(controller.signal, "gone");
    onAbort(controller.signal, (reason) => seen.push(`late ${reason}`));
    same(seen, ["gone", "late gone"]);
    equal(follower.reason, "gone");
    ok(isSignal(follower) && !isSignal({}) && !isSignal(null));
    ok(!("abortIt" in AbortSignal) && !("isSignal" in AbortSignal));
});
