// core - what every worker needs before its first event, and no more, for each byte and each function of
// it costs every start: the events that keep a worker alive, addEventListener, and how an event is run.
// What fetch needs is in core_fetch, the rest in core2; both load on first use.
//
// It is written without classes, private fields and Maps, each of which costs a new VM some 20
// microseconds; an event keeps its state in one record under a symbol.  What a first event does not touch is
// inside of functions, which cost little while nobody calls them.  And it is no function but a block, which
// the engine reads once instead of twice: its last statement says what it exports (see bundle.py).
//
// Every entry of the engine counts `turn` up.  An event may be extended or answered while its own turn
// lasts (its handler and the microtasks after it), or while something that it waits for is pending.

import {
    CANCELABLE, CANCELED, DISPATCHING, FUNCTIONAL, LIFECYCLE, MESSAGE, PASSED, PASSIVE, PENDING, REJECTED, SCRIPT_ERROR,
    STOPPED, STOPPED_NOW, TRUSTED,
} from './parts/event_flags.js';

export default function (native) {
    const global = globalThis;
    const STATE = Symbol('state');
    const events = { __proto__: null }; // request id -> event that something extends
    const listeners = { __proto__: null }; // of the global: type -> records
    const more = () => native.chunk('core2');
    let turn = 0, message = null;

    // Scripts make events with these; the worker makes its own without them.  (Functions that are named by
    // their property keep the name when the file is minified.)
    const constructors = {
        Event: function () { this[STATE] = more().construct(new.target, arguments); },
        ExtendableEvent: function () { this[STATE] = more().construct(new.target, arguments); },
    };
    const { Event, ExtendableEvent } = constructors;

    const base = Event.prototype = {
        constructor: Event,
        get type() { return this[STATE].type; },
        get target() { return this[STATE].target; },
        get srcElement() { return this[STATE].target; },
        get currentTarget() { return this[STATE].flags & DISPATCHING ? this[STATE].target : null; },
        get eventPhase() { return this[STATE].flags & DISPATCHING ? 2 : 0; },
        get bubbles() { return (this[STATE].flags & 1) !== 0; },
        get cancelable() { return (this[STATE].flags & CANCELABLE) !== 0; },
        get composed() { return (this[STATE].flags & 4) !== 0; },
        get defaultPrevented() { return (this[STATE].flags & CANCELED) !== 0; },
        get isTrusted() { return (this[STATE].flags & TRUSTED) !== 0; },
        get timeStamp() { return this[STATE].time ??= native.now(); },
        get returnValue() { return (this[STATE].flags & CANCELED) === 0; },
        set returnValue(value) { if (!value) this.preventDefault(); },
        get cancelBubble() { return (this[STATE].flags & STOPPED) !== 0; },
        set cancelBubble(value) { if (value) this[STATE].flags |= STOPPED; },
        stopPropagation() { this[STATE].flags |= STOPPED; },
        stopImmediatePropagation() { this[STATE].flags |= STOPPED | STOPPED_NOW; },
        preventDefault() {
            const state = this[STATE];
            if ((state.flags & (CANCELABLE | PASSIVE)) === CANCELABLE) state.flags |= CANCELED;
        },
        composedPath() { return this[STATE].flags & DISPATCHING ? [this[STATE].target] : []; },
        initEvent(type, bubbles, cancelable) { more().initEvent(this[STATE], type, bubbles, cancelable); },
    };

    const extendable = ExtendableEvent.prototype = {
        __proto__: base,
        constructor: ExtendableEvent,
        waitUntil(promise) {
            const state = this[STATE];
            if (arguments.length === 0) throw new TypeError('waitUntil needs a promise');
            if (state.turn !== turn && state.pending === 0 || !(state.flags & TRUSTED)) more().tooLate();
            extend(this, state);
            // The count goes down in a microtask after the one that sees the promise settle.
            Promise.resolve(promise).then(undefined, (error) => {
                state.failure ??= { error };
            }).then(() => {
                if (settle(state) !== 0) native.release(state.id);
            });
        },
    };

    // The prototype of message events.
    const messages = () => message ??= makeMessages();
    function makeMessages() {
        const { ExtendableMessageEvent } = {
            ExtendableMessageEvent: function () { this[STATE] = more().constructMessage(new.target, arguments); },
        };
        return ExtendableMessageEvent.prototype = {
            __proto__: extendable,
            constructor: ExtendableMessageEvent,
            get data() { return this[STATE].data; },
            get origin() { return this[STATE].init?.origin ?? ''; },
            get lastEventId() { return this[STATE].init?.lastEventId ?? ''; },
            get source() { return this[STATE].init?.source ?? null; },
            get ports() { return (this[STATE].init ??= {}).ports ??= Object.freeze([]); },
        };
    }

    // During the dispatch the engine hears of it by what the entry returns.
    function extend(event, state) {
        if (state.pending++ !== 0) return;
        events[state.id] = event;
        if (!(state.flags & DISPATCHING)) native.hold(state.id);
    }

    // 1: nothing is pending any more, and the caller must tell the engine.
    function settle(state) {
        if (--state.pending !== 0) return 0;
        delete events[state.id];
        if (state.failure) native.fail(state.id, REJECTED, state.failure.error);
        return 1;
    }

    // What has options, or is not the first of its type, is dealt with in core2.
    function addEventListener(type, callback, options) {
        if (options === undefined && typeof callback === 'function' && typeof type === 'string'
            && listeners[type] === undefined)
            listeners[type] = [{ callback, plain: true, capture: false, removed: false }];
        else
            more().listen(listeners, type, callback, options);
    }

    // Runs the listeners; answers null, or a box with the first error that one threw.
    function run(map, list, event, state, target) {
        let failure = null;
        state.flags |= DISPATCHING;
        state.target = target;
        for (let i = 0, n = list.length; i < n; i++) {
            const l = list[i];
            if (l.removed) continue;
            try {
                if (l.plain) l.callback.call(target, event);
                else more().callListener(map, l, event, state);
            } catch (error) {
                if (failure === null) failure = { error };
                reportException(error);
            }
            if (state.flags & STOPPED_NOW) break;
        }
        state.flags &= ~(DISPATCHING | STOPPED | STOPPED_NOW | PASSIVE);
        return failure;
    }

    // The standard's "report an exception".
    function reportException(error) {
        if (listeners.error !== undefined) more().reportToListeners(error);
        else native.report(error);
    }

    // Of a kind or a type that has its own.
    function make(kind, type, state) {
        if (kind === MESSAGE) return { __proto__: messages(), [STATE]: state };
        if (kind === FUNCTIONAL) return native.chunk('functional').make(type, state);
        return { __proto__: type === 'install' ? more().InstallEvent.prototype : extendable, [STATE]: state };
    }

    native.exports = {
        Event, ExtendableEvent, addEventListener,
        get ExtendableMessageEvent() { return messages().constructor; },
        event(id, kind, type, data, isMessage) {
            const list = listeners[type];
            turn++;
            if (list === undefined) return PASSED;
            if (isMessage === true) {
                try {
                    data = native.incoming();
                } catch (error) {
                    return more().unreadable(id, kind, error);
                }
            }
            const state = { type, flags: TRUSTED, id, turn, pending: 0, data };
            const event = kind !== FUNCTIONAL || type === 'push' || type === 'sync' || type === 'periodicsync'
                ? make(kind, type, state) : { __proto__: extendable, [STATE]: state, data };
            const failure = run(listeners, list, event, state, global);
            // Install and activate fail by what they wait for alone; the error was reported.
            if (failure !== null && kind !== LIFECYCLE) native.fail(id, SCRIPT_ERROR, failure.error);
            return state.pending !== 0 ? PENDING : undefined;
        },
        invoke(callback, value) { // a settled host call, a stream that moved
            turn++;
            callback(value);
        },
        answer(resolve, reject) { // as above, with what has come
            turn++;
            let value;
            try {
                value = native.incoming();
            } catch (error) {
                return void reject(error);
            }
            resolve(value);
        },
        // for core_fetch and core2
        STATE, events, listeners, more, extend, settle, run, reportException,
        tick() { return ++turn; },
        turn() { return turn; },
    };
}
