/* MessageChannel, MessagePort, and how messages with ports come in and go out; see
 * runtime/engine_javascript_port.c for the other half.
 *
 * Each port has a box: what the engine hands back with its mail, and what keeps the port alive
 * while it is wanted.  The box outlives the port: an end that was transferred has a new one.
 *
 * A small message takes no arguments: the codec writes it into the outbox and reads it from the
 * inbox, and `lengths` says how long it is, and whether to ask for another. */
import { finishInterface, needArguments, take } from "./parts/webidl.js";

const core = native.chunk("core");
const core2 = native.chunk("core2");
const clone = native.chunk("clone");
const { STATE, run, tick } = core;
const { CHANGED, fire, mapOf, MessageEvent } = core2;
const { decodeMessage, encodeMessage, receive } = clone;
const [outbox, lengths] = native.boxes();
const { portNext, portSend } = native;
const global = globalThis;

const MAIL = 1; /* what portListen() counts */
const CLOSE = 2;
const TRUSTED = 128;
const PENDING = 1; /* what an entry answers */
const PASSED = 2;
const SCRIPT_ERROR = 1;
const SENT_RAW = 32768; /* as large a buffer is copied once and handed on, not copied twice */
const KEY = Symbol("made by the host");
const messagePrototype = MessageEvent.prototype;

/* The ways to the boxes of the ports of all realms of this worker: a script may hand the port of
 * one to a function of the other. */
const family = native.family ??= [];

/* ---- boxes */

function makeBox(target, map, handle) {
    return {
        target, map,
        hear: null, /* instead of a target: function (value, head, ports, isUnreadable) */
        gone: null, /* the same, when the other end is closed */
        listens: 0,
        started: false,
        claimed: false, /* by a stream: no script sees this port */
        holds: null, /* under which name it keeps its worker from ending for want of work, once it is read */
        token: 0,
        wire: { pool: false, raw: SENT_RAW, transfer: undefined, transferHost: undefined,
            takeContent: clone.takeContent, handle },
    };
}

/* As long as the engine has the box, the port is not collected. */
function update(box) {
    const { handle } = box.wire;
    const listens = handle === null ? 0
        : box.started ? MAIL | CLOSE : box.map?.close !== undefined ? CLOSE : 0;
    if (listens !== box.listens) {
        box.listens = listens;
        if (handle !== null) {
            native.portListen(handle, box, listens);
        }
        if (handle !== null && box.started && box.holds !== null && box.token === 0) {
            box.token = native.tokenTake(box.holds);
        }
    }
}

function letGo(box) {
    if (box.token !== 0) {
        native.tokenDrop(box.token);
        box.token = 0;
    }
    box.holds = null;
}

/* The handle, for another port or another worker. */
function takeHandle(box) {
    const { handle } = box.wire;
    letGo(box);
    if (box.listens !== 0) {
        native.portListen(handle, null, 0);
        box.listens = 0;
    }
    box.wire.handle = null;
    return handle;
}

function closeBox(box) {
    const { handle } = box.wire;
    letGo(box);
    if (handle !== null) {
        box.wire.handle = null;
        box.listens = 0;
        native.portClose(handle);
    }
}

/* ---- out */

function refuseFull() {
    const { QuotaExceededError } = native.chunk("dom");
    throw new QuotaExceededError("postMessage: too much waits at the other end, and nobody reads it");
}

/* With the message, as the encoder has made it. */
function send(array, length, buffers, hosts, wire) {
    let isSent;
    if (array === outbox && buffers === null && wire.handle !== null) {
        lengths[0] = length;
        isSent = portSend(wire.handle);
    } else {
        isSent = native.portPost(wire.handle, array, length, buffers, hosts, undefined);
    }
    if (isSent === false) {
        refuseFull();
    }
}

let sender = null; /* whose message is being made, while its transfer list is looked at */

function transferHost(object, refuse) {
    const box = boxOf(object);
    if (box === undefined) {
        return prepareStream(object, refuse);
    }
    if (box === sender) {
        refuse("the port that sends");
    }
    return whileOpen(box, () => takeHandle(box));
}

/* Whether it is open is asked when the message is made: its getters may transfer the port. */
function whileOpen(box, run) {
    return Object.assign(run, { isLost: () => box.wire.handle === null });
}

const STREAMS = ["ReadableStream", "WritableStream", "TransformStream"];

function prepareStream(object, refuse) {
    if (native.isReadableStream === undefined) { /* no stream was ever made here */
        return undefined;
    }
    const kind = native.chunk("clone_rare").kindOf(object);
    return STREAMS.includes(kind) && object instanceof native.chunk("streams")[kind]
        ? native.chunk("stream_ports").prepare(kind, object, refuse) : undefined;
}

/* The second argument of every postMessage(): a sequence, or a dictionary with one. */
export function transferListOf(given, what) {
    if (given === undefined || given === null) {
        return undefined;
    }
    if (typeof given !== "object" && typeof given !== "function") {
        throw new TypeError(`${what}: the options are no object`);
    }
    const isList = given[Symbol.iterator];
    const list = isList === undefined || isList === null ? given.transfer : given;
    if (list === undefined) {
        return undefined;
    }
    return core2.sequenceOf(list, `${what}: transfer`).map((item) => {
        if ((typeof item !== "object" && typeof item !== "function") || item === null) {
            throw new TypeError(`${what}: only objects can be transferred`);
        }
        return item;
    });
}

function sendWith(box, message, given) {
    const transfer = transferListOf(given, "postMessage");
    if (transfer === undefined || transfer.length === 0) {
        encodeMessage(message, box.wire, send);
        return;
    }
    if (native.portIsFull(box.wire.handle)) { /* before anything is transferred */
        refuseFull();
    }
    sender = box;
    encodeMessage(message, { ...box.wire, transfer, transferHost }, send);
}

/* ---- ports */

export const MessagePort = finishInterface(class MessagePort extends core2.EventTarget {
    #box;

    constructor(key = undefined, handle = undefined) {
        if (key !== KEY) {
            throw new TypeError("Illegal constructor");
        }
        super();
        const map = mapOf(this);
        const box = makeBox(this, map, handle);
        this.#box = box;
        map[CHANGED] = (type) => {
            if (type === "close") {
                update(box);
            }
        };
    }

    postMessage(message, options = undefined) {
        const box = this.#box;
        if (options === undefined && arguments.length > 0) {
            encodeMessage(message, box.wire, send);
            return;
        }
        needArguments(arguments.length, 1, "postMessage");
        sendWith(box, message, options);
    }

    start() {
        this.#box.started = true;
        update(this.#box);
    }

    close() {
        closeBox(this.#box);
    }

    static boxOf(value) {
        return #box in value ? value.#box : undefined;
    }
}, "MessagePort");

const ownBoxOf = take(MessagePort, "boxOf");
family.push(ownBoxOf);

/* undefined: it is no port. */
function boxOf(value) {
    if (typeof value !== "object" || value === null) {
        return undefined;
    }
    const box = ownBoxOf(value);
    if (box !== undefined || family.length === 1) {
        return box;
    }
    return family.map((of) => of(value)).find((found) => found !== undefined);
}

function mapOfPort(port) {
    return ownBoxOf(port).map; /* throws a TypeError for what is no object */
}

core2.defineHandlers(MessagePort, mapOfPort, "message", "messageerror", "close");
{
    const { get, set } = Object.getOwnPropertyDescriptor(MessagePort.prototype, "onmessage");
    const property = {
        set onmessage(handler) {
            set.call(this, handler);
            MessagePort.prototype.start.call(this);
        },
    };
    Object.defineProperty(MessagePort.prototype, "onmessage",
        { get, set: Object.getOwnPropertyDescriptor(property, "onmessage").set });
}

/* null: this realm was closed. */
function newPair() {
    const pair = native.portPair();
    if (pair === false) {
        const { QuotaExceededError } = native.chunk("dom");
        throw new QuotaExceededError("the scripts of this origin have too many message channels open");
    }
    return pair;
}

export const MessageChannel = finishInterface(class MessageChannel {
    #port1;
    #port2;

    constructor() {
        const [first, second] = newPair() ?? [null, null]; /* of a document that is gone: ports that are closed */
        this.#port1 = new MessagePort(KEY, first);
        this.#port2 = new MessagePort(KEY, second);
    }

    get port1() {
        return this.#port1;
    }

    get port2() {
        return this.#port2;
    }
}, "MessageChannel");

native.isPort = (value) => boxOf(value) !== undefined;

/* For structuredClone(): what moves the port within the realm; undefined: it is none. */
native.movePort = (object) => {
    const box = boxOf(object);
    return box === undefined ? undefined : whileOpen(box, () => new MessagePort(KEY, takeHandle(box)));
};

/* ---- in */

/* The host's own.  The engine makes objects quicker with a constructor than with a given prototype. */
function Made(state) {
    this[STATE] = state;
}
Made.prototype = messagePrototype;

function deliver(box, data, ports) {
    const list = box.map.message;
    if (list === undefined) {
        return;
    }
    const state = { type: "message", flags: TRUSTED, target: null, time: null, id: -1, turn: -1,
        pending: 0, failure: null, data, init: ports === null ? undefined : { ports } };
    run(box.map, list, new Made(state), state, box.target);
}

function deliverUnreadable(box, head) {
    if (box.hear !== null) {
        box.hear(undefined, head, [], true);
        return;
    }
    fire(box.map, box.target, MessageEvent, "messageerror", {});
}

function open(box, inbox) {
    let data;
    tick();
    try {
        data = decodeMessage(inbox, lengths[1], null, null);
    } catch {
        deliverUnreadable(box);
        return;
    }
    if (box.hear === null) {
        deliver(box, data, null);
    } else {
        box.hear(data, undefined, []);
    }
}

/* Small messages, of which each in turn lies in the inbox. */
export function mail(box, inbox) {
    do {
        open(box, inbox);
    } while (lengths[2] !== 0 && portNext());
}

/* What the engine tells of a message: the value, and the ports that a script may see. */
function openMessage(data, length, buffers, handles) {
    const ports = handles === null ? [] : handles.map((handle) => new MessagePort(KEY, handle));
    if (length === -2) {
        throw new TypeError("the message cannot be read");
    }
    const value = length === -1 ? data : receive(data, length, buffers, ports);
    return { value, ports: ports.filter((port) => !ownBoxOf(port).claimed) };
}

export function message(box, data, length, buffers, handles, head) {
    tick();
    let opened;
    try {
        opened = openMessage(data, length, buffers, handles);
    } catch {
        deliverUnreadable(box, head);
        return;
    }
    if (box.hear === null) {
        deliver(box, opened.value, Object.freeze(opened.ports));
    } else {
        box.hear(opened.value, head, opened.ports);
    }
}

/* The other end is closed, and all its mail was read. */
export function closed(box) {
    tick();
    letGo(box);
    if (box.gone !== null) {
        box.gone();
    } else if (box.map !== null) {
        fire(box.map, box.target, core.Event, "close");
    }
    if (box.wire.handle !== null && box.listens !== 0) {
        native.portListen(box.wire.handle, null, 0);
    }
    box.listens = 0;
}

/* ---- requests that carry ports */

function runEvent(id, event, list) {
    const state = event[STATE];
    Object.assign(state, { id, turn: core.turn(), time: null });
    state.flags = TRUSTED;
    const failure = run(core.listeners, list, event, state, global);
    if (failure !== null) {
        native.fail(id, SCRIPT_ERROR, failure.error);
    }
    return state.pending !== 0 ? PENDING : 0;
}

function sourceOf(tree) {
    return tree === undefined || tree === null ? null : native.chunk("service_worker").sourceOf(tree);
}

/* `kind` as core's event() has it. */
export function mailEvent(id, kind, type, data, length, buffers, handles, head) {
    const list = core.listeners[type];
    tick();
    if (list === undefined && (kind !== 3 || core.listeners.messageerror === undefined)) {
        return PASSED;
    }
    const origin = head?.origin ?? "";
    let opened;
    try {
        opened = openMessage(data, length, buffers, handles);
    } catch (error) {
        return core2.unreadable(id, kind, error, { origin, source: kind === 3 ? sourceOf(head?.source) : null });
    }
    /* Not before: it may read a message of its own, the environment, in the place where this one lay. */
    const source = kind === 3 ? sourceOf(head?.source) : null;
    if (list === undefined) {
        return PASSED;
    }
    const { value } = opened;
    const ports = Object.freeze(opened.ports);
    if (type === "connect" && kind === 2) {
        const event = core2.make(MessageEvent, type, { source: ports[0] ?? null, ports, origin });
        event[STATE].data = "";
        return runEvent(id, event, list);
    }
    const made = kind === 3 ? core.ExtendableMessageEvent : core.ExtendableEvent;
    const event = core2.make(made, type, { origin, source, ports });
    event[STATE].data = value;
    if (kind === 2) {
        event.data = value;
    }
    return runEvent(id, event, list);
}

/* ---- the implicit port of a dedicated worker */

let ownBox; /* undefined: not asked for; null: there is none */

function implicit() {
    if (ownBox === undefined) {
        const handle = native.ownPort();
        ownBox = makeBox(global, core.listeners, handle);
    }
    return ownBox;
}

export function postMessage(message, options = undefined) {
    needArguments(arguments.length, 1, "postMessage");
    sendWith(implicit(), message, options);
}

/* The script was evaluated. */
export function begin() {
    const box = implicit();
    box.gone = () => {}; /* whoever had it is gone, and ends the worker */
    box.started = true;
    update(box);
}

/* ---- for other chunks */

/* A channel whose ends only chunks have: [handle, handle]. */
export function makePair() {
    const pair = newPair();
    if (pair === null) {
        const { DOMException } = native.chunk("dom");
        throw new DOMException("this realm was closed", "InvalidStateError");
    }
    return pair;
}

/* To the other end, beside what scripts say: `head` is plain; `payload`: { data, transfer } as a
 * script gave them, { bytes } as the encoder made them, or { handles }. */
export function postHead(handle, head, payload = undefined) {
    if (payload === undefined || payload.handles !== undefined) {
        native.portPost(handle, null, -1, null, payload?.handles ?? null, head);
        return;
    }
    if (payload.bytes !== undefined) {
        native.portPost(handle, payload.bytes, payload.bytes.length, null, null, head);
        return;
    }
    sender = null;
    encodeMessage(payload.data, { pool: false, raw: SENT_RAW, transfer: payload.transfer ?? [],
        transferHost, takeContent: clone.takeContent }, (array, length, buffers, hosts) => {
        native.portPost(handle, array, length, buffers, hosts, head);
    });
}

/* Calls hear(value, head, ports, isUnreadable) with each message, and gone() when the other end is closed.
 * What it answers ends that. */
export function listenTo(handle, hear, gone) {
    const box = makeBox(null, null, handle);
    box.hear = hear;
    box.gone = gone;
    box.started = true;
    update(box);
    return () => closeBox(box);
}

/* The next message of a handle that nobody listens to, as [value, head, ports]; null: there is
 * none.  `wait`: for a time, until there is. */
export function takeMessage(handle, wait) {
    const parts = native.portTake(handle, wait);
    if (parts === null) {
        return null;
    }
    const [data, length, buffers, handles, head] = parts;
    const { value, ports } = openMessage(data, length, buffers, handles);
    return [value, head, ports];
}

/* An object that is itself the port of a handle, as a Worker is: its messages come to it from now on.
 * gone() is called when the other end is closed. */
export function implicitPort(target, handle, gone) {
    const box = makeBox(target, mapOf(target), handle);
    box.gone = gone;
    box.started = true;
    update(box);
    return { post: (message, options) => sendWith(box, message, options), close: () => closeBox(box) };
}

/* `holds`: what its worker waits for while it reads the port, for people. */
export function portOf(handle, holds = null) {
    const port = new MessagePort(KEY, handle);
    ownBoxOf(port).holds = holds;
    return port;
}

/* No script sees this port: it is a stream's.  Its handle. */
export function claim(port) {
    const box = ownBoxOf(port);
    box.claimed = true;
    return takeHandle(box);
}

/* How much waits at a port's other end. */
export function backlog(port) {
    const box = boxOf(port);
    if (box === undefined) {
        throw new TypeError("muster.backlog: this is no MessagePort");
    }
    const [messages, bytes] = box.wire.handle === null ? [0, 0] : native.portBacklog(box.wire.handle);
    return { messages, bytes };
}
