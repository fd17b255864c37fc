// core_fetch - fetch events: a request comes in, a response goes out.  A block like core.

import {
    BAD_RESPONSE, CANCELABLE, CANCELED, FUNCTIONAL, MESSAGE, PASSED, PENDING, REJECTED, SCRIPT_ERROR, STOPPED,
    STOPPED_NOW, TRUSTED,
} from './parts/event_flags.js';

export default function (native) {
    const { requestHead, respond } = native;
    const { createRequest, isResponse, readResponse } = native.chunk('fetch');
    const { STATE, ExtendableEvent, addEventListener, events, listeners, more, extend, settle, run, event, tick, turn } =
        native.chunk('core');
    const global = globalThis;

    const { FetchEvent } = {
        FetchEvent: function () { this[STATE] = more().constructFetch(new.target, arguments); },
    };

    const proto = FetchEvent.prototype = {
        __proto__: ExtendableEvent.prototype,
        constructor: FetchEvent,
        get request() {
            const state = this[STATE];
            return state.request === null ? load(state) : state.request;
        },
        get clientId() {
            const state = this[STATE];
            if (state.request === null) load(state);
            return state.clientId;
        },
        get resultingClientId() { return infoOf(this[STATE]).resultingClientId ?? ''; },
        get replacesClientId() { return infoOf(this[STATE]).replacesClientId ?? ''; },
        get preloadResponse() { return promised(this, (state) => state.preload ??= more().preloadOf(infoOf(state))); },
        get handled() {
            return promised(this, (state) => (state.handled ??= Promise.withResolvers()).promise);
        },
        respondWith(response) {
            const state = this[STATE];
            if (arguments.length === 0) throw new TypeError('respondWith needs a Response');
            if (state.began !== turn() || state.responded || !(state.flags & TRUSTED)) more().tooLate();
            state.flags |= STOPPED | STOPPED_NOW;
            state.responded = true;
            if (isResponse(response)) {
                answer(this, state, response, false);
            } else {
                extend(this, state);
                Promise.resolve(response).then((value) => answer(this, state, value, true),
                    (error) => refuse(state, REJECTED, error, true));
            }
        },
    };

    // The worker's own.  The engine makes objects quicker with a constructor than with a given prototype.
    function Made(state) { this[STATE] = state; }
    Made.prototype = proto;

    // An attribute whose type is a promise never throws.
    function promised(event, get) {
        const state = event?.[STATE];
        return state?.request === undefined ? Promise.reject(new TypeError('this is no FetchEvent')) : get(state);
    }

    // What HTTP does not say of the request of a client of the coordinator's; of others nothing.
    function infoOf(state) { return state.info ??= native.requestInfo(state.id) ?? {}; }

    // All texts come in one string, whose headers are split when somebody reads them.
    function load(state) {
        const head = requestHead(state.id);
        if (head === null) more().tooLate();
        const method = head.indexOf('\n', 1), url = head.indexOf('\n', method + 1);
        const client = head.indexOf('\n', url + 1), end = head.length;
        if (client > url + 1) state.clientId = head.slice(url + 1, client);
        const kind = head.charCodeAt(0) & 3; // and 4: there is more to know
        const body = kind === 0 ? null : kind === 1 ? native.requestBody(state.id)
            : more().requestSource(state.id);
        const details = head.charCodeAt(0) & 4 ? more().detailsOf(infoOf(state)) : undefined;
        return state.request = createRequest(head.slice(1, method), head.slice(method + 1, url),
            () => client + 1 < end ? head.slice(client + 1).split('\n') : [], body, null, details);
    }

    // Most responses have the head of the one before: then it is the same string, which the engine knows.
    let lastText = '', lastHeaders = [], lastHead = '';
    function isLast(text, headers) {
        const n = headers.length;
        if (text !== lastText || n !== lastHeaders.length) return false;
        for (let i = 0; i < n; i++) if (headers[i] !== lastHeaders[i]) return false;
        return true;
    }
    function headOf(text, headers) {
        if (isLast(text, headers)) return lastHead;
        lastText = text;
        lastHeaders = headers.slice(); // the script may still change its own
        return lastHead = headers.length === 2 ? `${text}\n${headers[0]}\n${headers[1]}`
            : headers.length === 0 ? text : `${text}\n${headers.join('\n')}`;
    }

    // `held`: the promise of the answer counts as pending, and ends here.
    function answer(event, state, response, held) {
        let data;
        try {
            data = readResponse(response);
        } catch (error) {
            return refuse(state, BAD_RESPONSE, error, held);
        }
        if (data.network !== null && native.requestInfo(state.id) !== undefined) more().tellOrigin(data);
        const body = data.body, status = data.status, head = headOf(data.statusText, data.headers);
        if (body === null || typeof body === 'string' || body instanceof Uint8Array) {
            // What is usual is left out: the engine knows whose entry was the last one.
            respond(state.began === turn() ? undefined : state.id, status === 200 ? undefined : status, head,
                body, held && settle(state) !== 0 ? true : undefined);
        } else {
            if (!held) extend(event, state);
            more().pump(state.id, status, head, body, () => release(state));
        }
        if (state.handled !== null) state.handled.resolve();
    }
    function refuse(state, kind, error, held) {
        native.fail(state.id, kind, error);
        if (held) release(state);
        if (state.handled !== null) more().refuseHandled(state.handled);
    }
    function release(state) { if (settle(state) !== 0) native.release(state.id); }

    let isFinished = false; // as scripts may see it
    const entries = {
        get FetchEvent() {
            if (!isFinished) more().finishEvent(FetchEvent, ExtendableEvent, 2);
            isFinished = true;
            return FetchEvent;
        },
        fetch(id) {
            const now = tick(), list = listeners.fetch;
            if (list === undefined) return PASSED;
            const state = { type: 'fetch', flags: TRUSTED | CANCELABLE, target: null, time: null, id,
                turn: now, began: now, pending: 0, failure: null, request: null, clientId: '', handled: null,
                responded: false, preload: null, info: null };
            const failure = run(listeners, list, new Made(state), state, global);
            if (!state.responded) {
                // To a client's fetch nothing happened (EV-FETCH-3); who asks over HTTP has no network to go to.
                if (failure !== null && native.requestInfo(id) === undefined)
                    refuse(state, SCRIPT_ERROR, failure.error, false);
                else if (state.flags & CANCELED) refuse(state, BAD_RESPONSE,
                    new TypeError('preventDefault() was called and respondWith() was not'), false);
                else if (state.request !== null && state.request.bodyUsed) refuse(state, BAD_RESPONSE,
                    new TypeError('the body was read, and so the network cannot have it'), false);
                else if (state.handled !== null) state.handled.resolve();
            }
            return state.pending !== 0 ? PENDING : undefined;
        },
        cancel(id) {
            tick();
            const request = events[id]?.[STATE].request;
            if (request) more().abort(request);
        },
        // For spare realms: what the first event runs is compiled now.  No request has that number.
        rehearse() {
            const { Response } = native.chunk('fetch');
            const types = ['fetch', 'message', 'rehearsal'];
            addEventListener(types[0], (e) => e.respondWith((async () => new Response('', { headers: { a: 'b' } }))()));
            addEventListener(types[1], (e) => e.waitUntil(0));
            addEventListener(types[2], () => {});
            entries.fetch(-1);
            event(-1, MESSAGE, types[1], null);
            event(-1, FUNCTIONAL, types[2], null);
            for (const type of types) delete listeners[type];
        },
    };
    native.exports = entries;
}
