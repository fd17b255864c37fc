/* What the files beside this one are written with, and small stand-ins for what the prelude
 * gives to the chunks: Event, EventTarget, timers, location.  Time is virtual. */
"use strict";
(function (global) {
    const chunks = {
        encoding: ["TextEncoder", "TextDecoder", "atob", "btoa"],
        dom: ["DOMException", "QuotaExceededError", "AbortController", "AbortSignal"],
        url: ["URL", "URLSearchParams"],
        streams: ["ReadableStream", "WritableStream", "TransformStream",
            "ByteLengthQueuingStrategy", "CountQueuingStrategy",
            "ReadableStreamDefaultController", "ReadableByteStreamController",
            "ReadableStreamBYOBRequest", "ReadableStreamDefaultReader", "ReadableStreamBYOBReader",
            "WritableStreamDefaultController", "WritableStreamDefaultWriter",
            "TransformStreamDefaultController"],
        text_streams: ["TextEncoderStream", "TextDecoderStream"],
        fetch: ["Headers", "Request", "Response"],
        clone: ["structuredClone"],
        images: ["ImageData", "ImageBitmap", "createImageBitmap"],
        console: ["console"],
        crypto: ["crypto", "Crypto"],
        performance: ["performance", "PerformanceEntry", "PerformanceMark", "PerformanceMeasure"],
    };
    native.loaded = [];
    const chunk = native.chunk;
    native.chunk = function (name) {
        if (!native.loaded.includes(name)) {
            native.loaded.push(name);
        }
        /* Events go to the EventTarget below. */
        return name !== "core2" ? chunk(name) : { __proto__: chunk(name), mapOf: () => null,
            fire: (map, target, made, type) => target.dispatchEvent(new made(type)) };
    };
    for (const [name, globals] of Object.entries(chunks)) {
        for (const key of globals) {
            const define = (value) => Object.defineProperty(global, key,
                { value, writable: true, configurable: true });
            Object.defineProperty(global, key, {
                configurable: true,
                get() {
                    const value = native.chunk(name)[key];
                    define(value);
                    return value;
                },
                set: define,
            });
        }
    }
    native.printed = [];
    native.print = (level, text) => native.printed.push([level, text]);
    native.reported = [];
    native.report = (error) => native.reported.push(error);
    global.location = { href: "https://example.test/folder/script.js" };
    global.self = global;

    global.Event = class Event {
        constructor(type, init = {}) {
            this.type = type;
            this.cancelable = Boolean(init.cancelable);
        }
    };
    global.EventTarget = class EventTarget {
        #listeners = [];

        addEventListener(type, callback, options) {
            this.#listeners.push({ type, callback, once: options?.once });
        }

        removeEventListener(type, callback) {
            this.#listeners = this.#listeners.filter(
                (one) => one.type !== type || one.callback !== callback);
        }

        dispatchEvent(event) {
            event.target = this;
            for (const one of this.#listeners.slice()) {
                if (one.type === event.type) {
                    one.callback.call(this, event);
                    if (one.once) {
                        this.removeEventListener(one.type, one.callback);
                    }
                }
            }
            return true;
        }
    };

    let now = 0;
    let nextTimer = 1;
    const timers = new Map();
    global.setTimeout = (callback, delay = 0, ...rest) => {
        timers.set(nextTimer, { at: now + Number(delay), callback, rest });
        return nextTimer++;
    };
    global.clearTimeout = (id) => timers.delete(id);
    global.queueMicrotask = (callback) => Promise.resolve().then(callback);

    const groups = [];
    let running = null;
    native.failures = 0;

    const show = (value) => {
        try {
            return typeof value === "string" ? JSON.stringify(value)
                : typeof value === "object" && value !== null
                    ? `${Object.prototype.toString.call(value)} ${JSON.stringify(value)}`
                    : Object.is(value, -0) ? "-0" : String(value);
        } catch {
            return Object.prototype.toString.call(value);
        }
    };
    const fail = (message, note) => {
        throw new Error(note === undefined ? message : `${note}: ${message}`);
    };

    global.test = (name, run) => groups.push({ name, run });
    global.equal = (got, expected, note) => {
        if (!Object.is(got, expected)) {
            fail(`got ${show(got)}, not ${show(expected)}`, note);
        }
    };
    global.ok = (value, note) => {
        if (!value) {
            fail("is not true", note);
        }
    };
    /* Of equal content: arrays, plain objects, typed arrays. */
    global.same = (got, expected, note) => {
        const one = JSON.stringify(ArrayBuffer.isView(got) ? Array.from(got) : got);
        const two = JSON.stringify(ArrayBuffer.isView(expected) ? Array.from(expected) : expected);
        if (one !== two) {
            fail(`got ${one}, not ${two}`, note);
        }
    };
    const check = (error, type, note) => {
        if (error === type) {
            return;
        }
        const named = typeof type === "string";
        if (named ? !(error instanceof DOMException && error.name === type)
            : typeof type !== "function" || error?.constructor !== type) {
            fail(`threw ${error}, not ${named ? type : type?.name ?? show(type)}`, note);
        }
    };
    /* The type is a constructor, the name of a DOMException, or the very value. */
    global.throws = (type, run, note) => {
        let error;
        try {
            run();
        } catch (caught) {
            check(caught, type, note);
            return caught;
        }
        return fail(`did not throw ${type?.name ?? type}`, note);
    };
    global.rejects = async (type, promise, note) => {
        try {
            await promise;
        } catch (caught) {
            check(caught, type, note);
            return caught;
        }
        return fail(`did not reject with ${type?.name ?? type}`, note);
    };

    const begin = (group) => {
        running = group;
        Promise.try(group.run).then(
            () => native.say(`    ok: ${group.name}`),
            (error) => {
                native.failures++;
                native.say(`    FAILED: ${group.name}: ${error}\n${error?.stack}`);
            },
        ).finally(() => {
            running = null;
        });
    };

    native.step = () => {
        if (running === null) {
            if (groups.length === 0) {
                return false;
            }
            begin(groups.shift());
            return true;
        }
        let first = null;
        for (const [id, timer] of timers) {
            if (first === null || timer.at < timers.get(first).at) {
                first = id;
            }
        }
        if (first === null) {
            native.failures++;
            native.say(`    FAILED: ${running.name}: never ended`);
            running = null;
            return true;
        }
        const timer = timers.get(first);
        timers.delete(first);
        now = timer.at;
        timer.callback(...timer.rest);
        return true;
    };
})(globalThis);
