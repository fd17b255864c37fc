/* BroadcastChannel: the coordinator knows who listens to which name.
 *
 * A channel gets its number by the answer to "broadcast.open".  What is posted before that waits, with
 * everything that any channel of this realm posts after it: the order is that of the script. */
import { finishInterface, needArguments, take } from "./parts/webidl.js";

const core2 = native.chunk("core2");
const { STATE, run } = native.chunk("core");
const host = native.chunk("host_port");
const { DOMException } = native.chunk("dom");
const clone = native.chunk("clone");

const channels = new Map(); /* number -> channel: those that were not closed */
const queue = []; /* what waits: { state, op, data } */

/* Messages are encoded when they are posted; the array is the encoder's, so they keep a copy. */
function pack(data) {
    return clone.encodeMessage(data, { pool: false }, (array, length) => array.slice(0, length));
}

function flush() {
    while (queue.length > 0 && queue[0].state.number !== undefined) {
        const { state, op, bytes } = queue.shift();
        if (state.number !== null) {
            host.tell(op, [state.number], bytes === undefined ? undefined : { bytes });
        }
    }
}

async function open(state) {
    try {
        state.number = await host.ask("broadcast.open", [state.name]);
        if (!state.isClosed) {
            channels.set(state.number, state);
        }
    } catch {
        state.number = null; /* the coordinator is gone, and with it everybody else */
    }
    flush();
}

export const BroadcastChannel = finishInterface(class BroadcastChannel extends core2.EventTarget {
    #state;

    constructor(name) {
        needArguments(arguments.length, 1, "BroadcastChannel");
        super();
        this.#state = { name: `${name}`.toWellFormed(), number: undefined, isClosed: false, target: this,
            map: core2.mapOf(this) };
        if (!host.isConnected) {
            throw new DOMException("there is no coordinator that could pass messages on", "NotSupportedError");
        }
        open(this.#state);
    }

    get name() {
        return this.#state.name;
    }

    postMessage(message) {
        const state = this.#state;
        needArguments(arguments.length, 1, "postMessage");
        if (state.isClosed) {
            throw new DOMException("the channel was closed", "InvalidStateError");
        }
        queue.push({ state, op: "broadcast.post", bytes: pack(message) });
        flush();
    }

    close() {
        const state = this.#state;
        if (state.isClosed) {
            return;
        }
        state.isClosed = true;
        channels.delete(state.number);
        queue.push({ state, op: "broadcast.close", bytes: undefined });
        flush();
    }

    static stateOf(channel) {
        return channel.#state;
    }
}, "BroadcastChannel");

const stateOf = take(BroadcastChannel, "stateOf");

core2.defineHandlers(BroadcastChannel, (channel) => stateOf(channel).map, "message", "messageerror");

function deliver(state, type, data) {
    const list = state.map[type];
    if (list === undefined) {
        return;
    }
    const event = core2.make(core2.MessageEvent, type, { origin: host.environment.origin });
    event[STATE].data = data;
    run(state.map, list, event, event[STATE], state.target);
}

host.on("broadcast", ({ data, isUnreadable }, number) => {
    const state = channels.get(number);
    if (state !== undefined) { /* else: closed since */
        deliver(state, isUnreadable ? "messageerror" : "message", data ?? (isUnreadable ? null : data));
    }
});
