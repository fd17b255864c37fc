/* What this realm and its coordinator say to each other beside the script's own messages: over the
 * host port, in heads of messages (plain arrays):
 *
 *     ["ask", id, op, ...arguments]     answered by ["answer", id, true, value] or
 *                                       ["answer", id, false, { name, message }]; with data beside it
 *                                       the promise is of { value, data }
 *     ["tell", op, ...arguments]        in both directions
 *
 * Loaded by the first chunk that needs it: a worker that never asks anything pays nothing.  While an
 * answer is awaited a token named after the op keeps an idle worker from being ended. */
const ports = native.chunk("ports");

const handle = native.hostPort();
const waiting = new Map(); /* id -> { resolve, reject, token } */
const hearers = new Map(); /* op -> functions */
let nextId = 1;
let isOpen = handle !== null;

/* Whether there is a coordinator. */
export const isConnected = isOpen;

const places = new WeakMap(); /* error -> { name, message, filename, lineno, colno } */

/* Where in its script a worker failed, as the coordinator said with the error. */
export const placeOf = (error) => places.get(error);

function makeError({ name, message, filename, lineno, colno }) {
    const { DOMException } = native.chunk("dom");
    const error = name === "TypeError" ? new TypeError(message) : new DOMException(message, name);
    if (filename !== undefined) {
        places.set(error, { name, message, filename, lineno, colno });
    }
    return error;
}

const noCoordinator = () => makeError({ name: "NotSupportedError",
    message: "this worker has no coordinator that it could ask" });

/* Asks; the promise settles with the answer.  `payload`: as ports.js's
 * postHead() has it.  What cannot be cloned is thrown at once. */
export function ask(op, args = [], payload = undefined) {
    if (!isOpen) {
        return Promise.reject(noCoordinator());
    }
    const id = nextId++;
    ports.postHead(handle, ["ask", id, op, ...args], payload);
    const { promise, resolve, reject } = Promise.withResolvers();
    waiting.set(id, { resolve, reject, token: native.tokenTake(op) });
    return promise;
}

/* The number of the last question; the coordinator knows by it what a question made. */
export const lastAsked = () => nextId - 1;

/* As above, for what is not answered. */
export function tell(op, args = [], payload = undefined) {
    if (isOpen) {
        ports.postHead(handle, ["tell", op, ...args], payload);
    }
}

/* Calls hear({ data, ports, isUnreadable }, ...arguments) when the coordinator tells that op. */
export function on(op, hear) {
    const list = hearers.get(op);
    if (list === undefined) {
        hearers.set(op, [hear]);
    } else {
        list.push(hear);
    }
    for (const [payload, ...args] of unheard.get(op) ?? []) {
        hear(payload, ...args);
    }
    unheard.delete(op);
}

const MOST_UNHEARD = 1000;
const unheard = new Map([["message", []]]); /* op -> what was told before somebody heard it; of these alone */

function tellHearers(op, payload, args) {
    const list = hearers.get(op);
    learn(op, args);
    if (list === undefined) {
        const kept = unheard.get(op);
        if (kept !== undefined && kept.length < MOST_UNHEARD) {
            kept.push([payload, ...args]);
        }
        return;
    }
    for (const one of list) {
        one(payload, ...args);
    }
}

/* What is told of this realm's own place changes its environment, for chunks that are loaded later. */
function learn(op, [first, second]) {
    const { registration } = environment;
    if (op === "controller") {
        environment.controller = first;
    } else if (op === "registration" && first.id === registration?.id) {
        environment.registration = first;
    } else if (op === "state") {
        for (const version of [environment.controller, registration?.installing, registration?.waiting,
            registration?.active]) {
            if (version?.id === first) {
                version.state = second;
            }
        }
    }
}

function settle(id, isGood, value, data) {
    const asked = waiting.get(id);
    if (asked === undefined) {
        return;
    }
    waiting.delete(id);
    native.tokenDrop(asked.token);
    if (isGood) {
        asked.resolve(data === undefined || data === null ? value ?? undefined : { value, data });
    } else {
        asked.reject(makeError(value));
    }
}

function hear(data, head, received, isUnreadable) {
    if (!Array.isArray(head)) {
        return;
    }
    if (head[0] === "answer") {
        settle(head[1], head[2], head[3], data);
    } else if (head[0] === "tell") {
        tellHearers(head[1], { data, ports: received, isUnreadable: isUnreadable === true }, head.slice(2));
    }
}

/* The coordinator lets this realm go. */
function gone() {
    isOpen = false;
    for (const id of [...waiting.keys()]) {
        settle(id, false, { name: "AbortError", message: "the coordinator let this worker go" });
    }
}

let isGone = false;

/* Whether the realm has ended, though its scripts may still be called. */
export const hasLeft = () => isGone;

/* The realm ends before its worker does. */
export function leave() {
    isOpen = false;
    isGone = true;
    for (const { token } of waiting.values()) {
        native.tokenDrop(token);
    }
    waiting.clear();
}

/* Who this realm is, as the coordinator says in its first message. */
function readEnvironment() {
    const { type, url, name, scope } = native.identity();
    if (handle !== null && type === "service") { /* it tells a service worker that says something */
        ports.postHead(handle, ["tell", "hello"]);
    }
    const first = handle === null ? null : ports.takeMessage(handle, true);
    const told = first?.[1];
    const given = Array.isArray(told) && told[0] === "tell" && told[1] === "environment" ? told[2] : {};
    return { type, url, name, scope, clientId: "", origin: "null", storageKey: "", controller: null,
        registration: null, secure: true, ...given };
}

export const environment = readEnvironment();

/* What was told since then and before this realm looked: it knows of it at once. */
function catchUp() {
    const early = [];
    for (let next = ports.takeMessage(handle, false); next !== null; next = ports.takeMessage(handle, false)) {
        if (Array.isArray(next[1])) {
            learn(next[1][1], next[1].slice(2));
            early.push(next);
        }
    }
    if (early.length > 0) {
        Promise.resolve().then(() => early.forEach(([data, head, received]) => hear(data, head, received, false)));
    }
}

if (handle !== null) {
    catchUp();
    ports.listenTo(handle, hear, gone);
}
