/* The functional events that come from outside: push, sync, periodicsync. */
import { finishInterface, needArguments, take, bytesOf } from "./parts/webidl.js";

export default function (native) {
    const core = native.chunk("core");
    const { construct } = native.chunk("core2");
    const { STATE, ExtendableEvent } = core;
    const { utf8Encode, utf8Decode } = native;
    const KEY = Symbol("made by the host");

    const PushMessageData = finishInterface(class PushMessageData {
        #bytes;

        constructor(key, bytes) {
            if (key !== KEY) {
                throw new TypeError("Illegal constructor");
            }
            this.#bytes = bytes;
        }

        arrayBuffer() {
            return this.#bytes.slice().buffer;
        }

        blob() {
            return native.chunk("blob").blobOf(this.#bytes.slice(), "");
        }

        bytes() {
            return this.#bytes.slice();
        }

        json() {
            return JSON.parse(this.text());
        }

        text() {
            const bytes = this.#bytes;
            const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
            return utf8Decode(hasMark ? bytes.subarray(3) : bytes, false);
        }
    }, "PushMessageData");
    Object.defineProperty(PushMessageData, "length", { value: 0, configurable: true });

    /* What is neither bytes nor text was sent by somebody who means JSON. */
    function messageData(value) {
        if (value === undefined || value === null) {
            return null;
        }
        const bytes = bytesOf(value);
        return new PushMessageData(KEY, bytes !== undefined ? bytes.slice()
            : utf8Encode(typeof value === "string" ? value.toWellFormed() : JSON.stringify(value)));
    }

    const needInit = (init, name) => {
        if (init === undefined || init === null || init.tag === undefined) {
            throw new TypeError(`${name}: a tag is needed`);
        }
    };

    const PushEvent = finishInterface(class PushEvent extends ExtendableEvent {
        #data;

        constructor(type, init = undefined) {
            super(...arguments);
            const given = init?.data;
            this.#data = given === undefined || given === null ? null
                : new PushMessageData(KEY, bytesOf(given)?.slice() ?? utf8Encode(`${given}`.toWellFormed()));
        }

        get data() {
            return this.#data;
        }

        static set(event, data) {
            event.#data = data;
        }
    }, "PushEvent");
    Object.defineProperty(PushEvent, "length", { value: 1, configurable: true });
    const setData = take(PushEvent, "set");

    const SyncEvent = finishInterface(class SyncEvent extends ExtendableEvent {
        #tag;
        #lastChance;

        constructor(type, init) {
            needArguments(arguments.length, 2, "SyncEvent");
            super(...arguments);
            needInit(init, "SyncEvent");
            this.#lastChance = !!init.lastChance;
            this.#tag = `${init.tag}`;
        }

        get tag() {
            return this.#tag;
        }

        get lastChance() {
            return this.#lastChance;
        }
    }, "SyncEvent");

    const PeriodicSyncEvent = finishInterface(class PeriodicSyncEvent extends ExtendableEvent {
        #tag;

        constructor(type, init) {
            needArguments(arguments.length, 2, "PeriodicSyncEvent");
            super(...arguments);
            needInit(init, "PeriodicSyncEvent");
            this.#tag = `${init.tag}`;
        }

        get tag() {
            return this.#tag;
        }
    }, "PeriodicSyncEvent");

    /* The worker's own event, of one of the three types; `state` is core's record of it.  What the embedder
     * sends as "sync" without a tag has the empty one. */
    function make(type, state) {
        const { data } = state;
        const init = { tag: data?.tag ?? "", lastChance: data?.lastChance === true };
        const event = type === "push" ? new PushEvent(type) : type === "sync" ? new SyncEvent(type, init)
            : new PeriodicSyncEvent(type, init);
        if (type === "push") {
            setData(event, messageData(data));
        }
        event[STATE] = state;
        return event;
    }

    return { PushMessageData, PushEvent, SyncEvent, PeriodicSyncEvent, make };
}
