// core2 - the other half of the worker's own globals, loaded on first use: the rarer events, timers,
// importScripts, location, navigator, muster, streamed bodies, and modules' default exports.

export default function (native) {
    const core = native.chunk('core');
    const { STATE, Event, ExtendableEvent, listeners, tick } = core;
    const global = globalThis;
    const BUBBLES = 1, CANCELABLE = 2, COMPOSED = 4, CANCELED = 8, STOPPED = 16, DISPATCHING = 64;
    const TRUSTED = 128, PASSIVE = 256;
    const SCRIPT_ERROR = 1, REJECTED = 2, NOT_FOUND = 4; // as fail() of the engine counts
    const PENDING = 1; // what an entry answers
    const domError = (name, message) => new (native.chunk('dom').DOMException)(message, name);
    const handlers = new Map(); // of the global: type -> record of onX
    let moduleExports = null;

    // Minifying takes the names of classes.
    const named = (name, made) => {
        Object.defineProperty(made, 'name', { value: name, configurable: true });
        Object.defineProperty(made.prototype, Symbol.toStringTag, { value: name, configurable: true });
        return made;
    };

    // ---- events that a script makes: the record of one

    function construct(target, given) {
        if (target === undefined) throw new TypeError('an event is made with new');
        if (given.length === 0) throw new TypeError('an event needs a type');
        const init = given[1];
        if (init !== undefined && init !== null && typeof init !== 'object' && typeof init !== 'function')
            throw new TypeError('the options of an event are an object');
        return {
            type: `${given[0]}`,
            flags: (init?.bubbles ? BUBBLES : 0) | (init?.cancelable ? CANCELABLE : 0)
                | (init?.composed ? COMPOSED : 0),
            target: null, time: native.now(), id: -1, turn: -1, pending: 0, failure: null,
            data: init?.data === undefined ? null : init.data, init,
        };
    }
    function constructFetch(target, given) {
        const state = construct(target, given);
        if (state.init?.request === undefined) throw new TypeError('a FetchEvent needs a request');
        return Object.assign(state, { request: state.init.request, clientId: textOf(state.init.clientId),
            handled: null, responded: false });
    }
    function initEvent(state, type, bubbles, cancelable) {
        if (state.flags & DISPATCHING) return;
        state.type = `${type}`;
        state.flags = (bubbles ? BUBBLES : 0) | (cancelable ? CANCELABLE : 0);
        state.target = null;
    }
    function tooLate() {
        throw domError('InvalidStateError', 'it is too late for this event, or it is not of the worker');
    }
    function refuseHandled(handled) {
        handled.promise.catch(() => {});
        handled.reject(domError('NetworkError', 'there is no usable response'));
    }
    // What a script hears of its client's going is nobody's mistake, wherever it surfaces: it is not reported.
    const departures = new WeakSet();
    function departed(error) {
        departures.add(error);
        return error;
    }
    function abort(request) {
        const reason = departed(domError('AbortError', 'the client is gone'));
        native.chunk('dom').abortSignal(request.signal, reason);
    }
    // The worker's own, of a class of this file.
    function make(constructor, type, fields) {
        const event = Object.create(constructor.prototype);
        event[STATE] = Object.assign(construct(constructor, [type, { cancelable: true }]), { init: fields });
        event[STATE].flags |= TRUSTED;
        return event;
    }

    // ---- listeners: of the global, and of every EventTarget

    function listen(map, type, callback, options) {
        let capture = false, once = false, passive = false, signal;
        if (typeof options === 'object' && options !== null || typeof options === 'function') {
            capture = !!options.capture;
            once = !!options.once;
            passive = !!options.passive;
            signal = options.signal;
            if (signal !== undefined && !(signal instanceof native.chunk('dom').AbortSignal))
                throw new TypeError('signal is no AbortSignal');
        } else {
            capture = !!options;
        }
        if (callback === null || callback === undefined) return;
        if (typeof callback !== 'object' && typeof callback !== 'function')
            throw new TypeError('a listener is a function or an object');
        if (signal !== undefined && signal.aborted) return;
        type = `${type}`;
        const list = map[type];
        const plain = !once && !passive && typeof callback === 'function';
        const record = { callback, plain, capture, removed: false, once, passive };
        if (list === undefined) map[type] = [record];
        else if (list.some((l) => l.callback === callback && l.capture === capture)) return;
        else list.push(record);
        if (signal !== undefined)
            signal.addEventListener('abort', () => drop(map, type, record), { once: true });
    }

    // Replaces the list, so that a dispatch that walks the old one is not disturbed.
    function drop(map, type, record) {
        record.removed = true;
        const list = map[type];
        if (list === undefined) return;
        const rest = list.filter((l) => l !== record);
        if (rest.length === 0) delete map[type];
        else map[type] = rest;
    }

    function unlisten(map, type, callback, options) {
        const capture = typeof options === 'object' && options !== null ? !!options.capture : !!options;
        type = `${type}`;
        const found = map[type]?.find((l) => l.callback === callback && l.capture === capture);
        if (found !== undefined) drop(map, type, found);
    }

    // A listener with options, or an object.
    function callListener(map, record, event, state) {
        const { callback } = record;
        if (record.once) drop(map, state.type, record);
        if (record.passive) state.flags |= PASSIVE;
        try {
            if (typeof callback === 'function') return void callback.call(state.target, event);
            const handle = callback.handleEvent;
            if (typeof handle !== 'function') throw new TypeError('handleEvent is no function');
            handle.call(callback, event);
        } finally {
            state.flags &= ~PASSIVE;
        }
    }

    function dispatch(map, event, target) {
        const state = event?.[STATE];
        if (state === undefined) throw new TypeError('this is no Event');
        if (state.flags & DISPATCHING)
            throw domError('InvalidStateError', 'the event is being dispatched already');
        state.flags &= ~TRUSTED;
        state.target = target;
        const list = map[state.type];
        if (list !== undefined && !(state.flags & STOPPED)) core.run(map, list, event, state, target);
        else state.flags &= ~STOPPED;
        return (state.flags & CANCELED) === 0;
    }

    // ---- on... properties of the global

    function handler(type) {
        const record = handlers.get(type);
        return record === undefined || record.removed ? null : record.handler;
    }
    function setHandler(type, value) {
        const usable = typeof value === 'object' && value !== null || typeof value === 'function';
        const record = handlers.get(type);
        if (record !== undefined && !record.removed) {
            if (usable) record.handler = value;
            else drop(listeners, type, record);
            return;
        }
        if (!usable) return;
        const made = { callback: null, plain: true, capture: false, removed: false, handler: value };
        made.callback = (event) => {
            if (typeof made.handler !== 'function') return;
            if (type === 'error' && event instanceof ErrorEvent) {
                if (made.handler.call(global, event.message, event.filename, event.lineno, event.colno,
                    event.error) === true) event.preventDefault();
            } else if (made.handler.call(global, event) === false) {
                event.preventDefault();
            }
        };
        handlers.set(type, made);
        const list = listeners[type];
        if (list === undefined) listeners[type] = [made];
        else list.push(made);
    }

    let mapOf;
    const EventTarget = named('EventTarget', class {
        #map = { __proto__: null };
        addEventListener(type, callback, options) {
            if (arguments.length < 2) throw new TypeError('addEventListener needs a type and a listener');
            listen(mapOf(this), type, callback, options);
        }
        removeEventListener(type, callback, options) {
            if (arguments.length < 2) throw new TypeError('removeEventListener needs a type and a listener');
            unlisten(mapOf(this), type, callback, options);
        }
        dispatchEvent(event) {
            const map = mapOf(this);
            return dispatch(map, event, map === listeners ? global : this);
        }
        static {
            // A call without `this`, or on the global, means the global.
            mapOf = (target) => target === undefined || target === null || target === global ? listeners
                : target.#map;
        }
        static [Symbol.hasInstance](value) {
            return this === EventTarget && value === global
                || Function.prototype[Symbol.hasInstance].call(this, value);
        }
    });

    const textOf = (value) => value === undefined ? '' : `${value}`;
    const initOf = (event) => event[STATE].init ?? {};

    const CustomEvent = named('CustomEvent', class extends Event {
        get detail() {
            const { detail } = initOf(this);
            return detail === undefined ? null : detail;
        }
    });
    const ErrorEvent = named('ErrorEvent', class extends Event {
        get message() { return textOf(initOf(this).message); }
        get filename() { return textOf(initOf(this).filename); }
        get lineno() { return initOf(this).lineno >>> 0; }
        get colno() { return initOf(this).colno >>> 0; }
        get error() { return initOf(this).error; }
    });
    const PromiseRejectionEvent = named('PromiseRejectionEvent', class extends Event {
        constructor(type, init) {
            super(type, init);
            if (init?.promise === undefined) throw new TypeError('a PromiseRejectionEvent needs a promise');
        }
        get promise() { return initOf(this).promise; }
        get reason() { return initOf(this).reason; }
    });
    const MessageEvent = named('MessageEvent', class extends Event {
        get data() { return this[STATE].data; }
        get origin() { return textOf(initOf(this).origin); }
        get lastEventId() { return textOf(initOf(this).lastEventId); }
        get source() { return initOf(this).source ?? null; }
        get ports() { return initOf(this).ports ?? []; }
    });
    const InstallEvent = named('InstallEvent', class extends ExtendableEvent {});
    for (const made of [Event, ExtendableEvent, core.ExtendableMessageEvent]) named(made.name, made);

    // Which class `self` is an instance of.
    const scopeClass = (name, isOne) => {
        const made = named(name, class { constructor() { throw new TypeError('Illegal constructor'); } });
        Object.defineProperty(made, Symbol.hasInstance, { value: (value) => value === global && isOne() });
        return made;
    };
    const isService = () => native.identity().type === 'service';

    // ---- errors and rejections that nobody caught

    let reporting = false; // an error in an error handler goes straight to the log
    function reportToListeners(error) {
        if (reporting) return native.report(error);
        reporting = true;
        try {
            if (!fireError(error)) native.report(error);
        } finally {
            reporting = false;
        }
    }
    // True: a listener dealt with it.
    function fireError(error) {
        const place = native.describe(error);
        const event = make(ErrorEvent, 'error', {
            message: place[0], filename: place[1], lineno: place[2], colno: place[3], error,
        });
        core.run(listeners, listeners.error, event, event[STATE], global);
        return event.defaultPrevented;
    }
    function fireRejection(promise, reason) {
        tick();
        if (listeners.unhandledrejection === undefined) return departures.has(reason);
        const event = make(PromiseRejectionEvent, 'unhandledrejection', { promise, reason });
        core.run(listeners, listeners.unhandledrejection, event, event[STATE], global);
        return event.defaultPrevented || departures.has(reason);
    }

    // ---- timers

    const timers = new Map(); // the script's id -> record
    const armed = new Map(); // the worker's id -> record
    let nextTimer = 1, nesting = 0;

    // A period below the clamp is armed one by one until the clamp holds.
    function arm(timer) {
        timer.nesting++;
        const delay = timer.nesting > 5 && timer.delay < 4 ? 4 : timer.delay;
        timer.steady = timer.repeat && (timer.delay >= 4 || timer.nesting > 5);
        timer.host = native.timerSet(delay, timer.steady);
        if (timer.host === 0) {
            timers.delete(timer.id);
            throw domError('QuotaExceededError', 'there is no memory for a timer');
        }
        armed.set(timer.host, timer);
    }
    function setTimer(callback, delay, args, repeat) {
        if (typeof callback !== 'function') throw new TypeError('the callback of a timer is a function');
        delay = delay | 0;
        const timer = { id: nextTimer++, callback, args, delay: delay < 0 ? 0 : delay, repeat, nesting,
            host: 0, steady: false };
        timers.set(timer.id, timer);
        arm(timer);
        return timer.id;
    }
    function clearTimer(id) {
        const timer = timers.get(id | 0);
        if (timer === undefined) return;
        timers.delete(timer.id);
        armed.delete(timer.host);
        native.timerClear(timer.host);
    }
    function fire(host) {
        tick();
        const timer = armed.get(host);
        if (timer === undefined) return;
        if (!timer.steady) armed.delete(host);
        if (!timer.repeat) timers.delete(timer.id);
        nesting = timer.nesting;
        try {
            timer.callback.apply(global, timer.args);
        } catch (error) {
            core.reportException(error);
        } finally {
            nesting = 0;
        }
        if (timer.repeat && !timer.steady && timers.has(timer.id)) arm(timer);
    }

    // ---- functions that are called by name

    function find(name) {
        let owner = global, found = global;
        if (moduleExports !== null && Object.hasOwn(moduleExports, name))
            return [undefined, moduleExports[name]];
        for (const part of name.split('.')) {
            if (found === undefined || found === null) return [undefined, undefined];
            owner = found;
            found = found[part];
        }
        return [owner === global ? undefined : owner, found];
    }
    function call(id, name, data, isMessage) {
        tick();
        try {
            if (isMessage === true) data = native.incoming();
            const [owner, found] = find(name);
            if (typeof found !== 'function') {
                native.fail(id, NOT_FOUND, new ReferenceError(`there is no function ${name}`));
                return 0;
            }
            const result = Reflect.apply(found, owner,
                Array.isArray(data) ? data : data === undefined ? [] : [data]);
            if (result === null || typeof result !== 'object' || typeof result.then !== 'function') {
                native.returned(id, result);
                return 0;
            }
            Promise.resolve(result).then((value) => native.returned(id, value))
                .catch((error) => native.fail(id, REJECTED, error)).then(() => native.release(id));
            return PENDING;
        } catch (error) {
            native.fail(id, SCRIPT_ERROR, error);
            core.reportException(error);
            return 0;
        }
    }
    function handles(type) {
        return listeners[type] !== undefined || typeof find(type)[1] === 'function';
    }

    // ---- scripts, place, agent

    function importScripts(...urls) {
        const { module } = native.identity();
        if (module) throw new TypeError('importScripts is not for modules');
        const { url: base } = native.identity();
        for (const url of urls) { // all must be URLs before the first is loaded
            if (/^[\w./~-]+$/.test(url)) continue; // a plain path needs no parser
            try {
                new (native.chunk('url').URL)(url, base);
            } catch {
                throw domError('SyntaxError', `${url} is no valid URL`);
            }
        }
        for (const url of urls) {
            const message = native.importScript(`${url}`);
            if (message !== undefined) throw domError('NetworkError', message);
        }
    }

    const WorkerLocation = named('WorkerLocation', class {
        #url;
        constructor(key) {
            if (key !== STATE) throw new TypeError('Illegal constructor');
            this.#url = new (native.chunk('url').URL)(native.identity().url);
        }
        get href() { return this.#url.href; }
        get origin() { return this.#url.origin; }
        get protocol() { return this.#url.protocol; }
        get host() { return this.#url.host; }
        get hostname() { return this.#url.hostname; }
        get port() { return this.#url.port; }
        get pathname() { return this.#url.pathname; }
        get search() { return this.#url.search; }
        get hash() { return this.#url.hash; }
        toString() { return this.#url.href; }
    });

    const WorkerNavigator = named('WorkerNavigator', class {
        constructor(key) { if (key !== STATE) throw new TypeError('Illegal constructor'); }
        get userAgent() { return native.userAgent; }
        get hardwareConcurrency() { return native.processors; }
        get language() { return 'en'; }
        get languages() { return Object.freeze(['en']); }
        get onLine() { return true; }
    });

    const ServiceWorkerRegistration = named('ServiceWorkerRegistration', class extends EventTarget {
        constructor(key) {
            if (key !== STATE) throw new TypeError('Illegal constructor');
            super();
        }
        get scope() { return native.identity().scope; }
    });

    // What serves one type of worker is undefined in the other.
    const forService = (value) => isService() ? value() : undefined;

    const muster = {
        get args() { return Object.freeze([...native.identity().args]); },
        get version() { return native.version; },
        dispatch(scope, type, data) {
            return new Promise((resolve, reject) =>
                native.dispatch(`${scope}`, `${type}`, data, false, resolve, reject));
        },
        call(scope, name, ...args) {
            return new Promise((resolve, reject) =>
                native.dispatch(`${scope}`, `${name}`, args, true, resolve, reject));
        },
        get transfer() { return native.chunk('clone').transfer; },
    };

    // ---- bodies that come or go in pieces

    function requestSource(id) {
        return {
            pull() {
                return new Promise((resolve, reject) => native.bodyRead(id, resolve, reject));
            },
            cancel() { native.bodyCancel(id); },
        };
    }

    async function pump(id, status, head, body, done) {
        // Pieces are written one after the other; the engine keeps what the stream has no room for.
        const stream = native.respondStream(id, status, head, (reason) => {
            Promise.resolve(body.cancel(domError('AbortError', reason))).catch(() => {});
        });
        try {
            for (;;) {
                const piece = await body.pull();
                if (piece === null) break;
                if (native.streamWrite(stream, piece)) continue;
                if (!await new Promise((resolve) => native.streamDrain(stream, resolve))) return;
            }
            native.streamClose(stream);
        } catch (error) {
            native.streamAbort(stream, error);
        } finally {
            done();
        }
    }

    // ---- modules

    function adoptHandlers(handlers) {
        if (handlers === null || typeof handlers !== 'object' && typeof handlers !== 'function') return;
        const env = {};
        const context = (event) => ({ waitUntil: (promise) => event.waitUntil(promise) });
        for (let at = handlers; at !== null && at !== Object.prototype && at !== Function.prototype;
            at = Object.getPrototypeOf(at)) {
            for (const type of Object.getOwnPropertyNames(at)) {
                if (type === 'constructor' || typeof handlers[type] !== 'function') continue;
                if (typeof handlers === 'function' || at !== handlers && Object.hasOwn(handlers, type)) continue;
                listen(listeners, type, type === 'fetch'
                    ? (event) => event.respondWith(handlers.fetch(event.request, env, context(event)))
                    : (event) => {
                        const result = handlers[type](event, env, context(event));
                        if (typeof result?.then === 'function') event.waitUntil(result);
                    });
            }
        }
    }

    // A module that ran: its handlers become listeners.  Answers PENDING for a promise of them.
    function adoptModule() {
        tick();
        const found = global.__muster_module;
        global.__muster_module = undefined;
        if (found === undefined || found === null) return 0;
        moduleExports = found;
        if (typeof found.default?.then !== 'function') {
            adoptHandlers(found.default);
            return 0;
        }
        Promise.resolve(found.default).then((handlers) => {
            adoptHandlers(handlers);
            native.evaluated();
        }).catch((error) => native.evaluated(error));
        return PENDING;
    }

    return {
        EventTarget, CustomEvent, ErrorEvent, PromiseRejectionEvent, MessageEvent, InstallEvent,
        WorkerLocation, WorkerNavigator, ServiceWorkerRegistration, muster,
        WorkerGlobalScope: scopeClass('WorkerGlobalScope', () => true),
        ServiceWorkerGlobalScope: scopeClass('ServiceWorkerGlobalScope', isService),
        DedicatedWorkerGlobalScope: scopeClass('DedicatedWorkerGlobalScope', () => !isService()),
        setTimeout(callback, delay, ...args) { return setTimer(callback, delay, args, false); },
        setInterval(callback, delay, ...args) { return setTimer(callback, delay, args, true); },
        clearTimeout(id) { clearTimer(id); },
        clearInterval(id) { clearTimer(id); },
        queueMicrotask(callback) {
            if (typeof callback !== 'function') throw new TypeError('a microtask is a function');
            Promise.resolve().then(() => callback()).catch(core.reportException);
        },
        reportError(error) {
            if (arguments.length === 0) throw new TypeError('reportError needs an error');
            core.reportException(error);
        },
        importScripts,
        get location() { return new WorkerLocation(STATE); },
        get navigator() { return new WorkerNavigator(STATE); },
        get registration() { return forService(() => new ServiceWorkerRegistration(STATE)); },
        get skipWaiting() { return forService(() => async () => native.skipWaiting()); },
        get origin() { return new WorkerLocation(STATE).origin; },
        get name() { return native.identity().name; },
        close() { native.close(); },
        isSecureContext: true,
        removeEventListener(type, callback, options) { unlisten(listeners, type, callback, options); },
        dispatchEvent(event) { return dispatch(listeners, event, global); },
        // for core and core_fetch
        construct, constructFetch, initEvent, tooLate, refuseHandled, abort, listen, callListener, reportToListeners, requestSource, pump,
        // for the engine
        call, handles, handler, setHandler, timer: fire, rejection: fireRejection, module: adoptModule,
        departed, isDeparture: (error) => departures.has(error),
    };
}
