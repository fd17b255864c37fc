// core2 - the other half of the worker's own globals, loaded on first use: the rarer events, timers,
// importScripts, location, navigator, muster, streamed bodies, and modules' default exports.

import {
    BUBBLES, CANCELABLE, CANCELED, COMPOSED, DISPATCHING, MESSAGE, NOT_FOUND, PASSED, PASSIVE, PENDING, REJECTED,
    SCRIPT_ERROR, STOPPED, TRUSTED,
} from './parts/event_flags.js';

export default function (native) {
    const core = native.chunk('core');
    const { STATE, Event, ExtendableEvent, listeners, tick } = core;
    const global = globalThis;
    const domError = (name, message) => new (native.chunk('dom').DOMException)(message, name);
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
        const { clientId, handled, preloadResponse, replacesClientId, request, resultingClientId } = state.init;
        if (!native.chunk('request').isRequest(request)) throw new TypeError('the request of a FetchEvent is a Request');
        return Object.assign(state, {
            request, responded: false, clientId: textOf(clientId),
            info: { replacesClientId: textOf(replacesClientId), resultingClientId: textOf(resultingClientId) },
            handled: handled === undefined ? null : { promise: Promise.resolve(handled) },
            preload: preloadResponse === undefined ? null : Promise.resolve(preloadResponse),
        });
    }
    // What the request of a client says beside HTTP, as the chunk "request" has it.
    function detailsOf(info) {
        const { mode, destination, credentials, cache, redirect, referrer, referrerPolicy, integrity, keepalive } = info;
        const details = { mode, destination, credentials, cache, redirect, referrer, referrerPolicy, integrity,
            keepalive, isReloadNavigation: info.isReload, isHistoryNavigation: info.isHistory, race: info.race };
        for (const name in details) if (details[name] === undefined) delete details[name];
        return details;
    }
    async function preloadOf({ preload }) {
        if (preload === undefined) return undefined;
        const response = await native.chunk('shared_response').take(preload);
        if (response === null) throw new TypeError('the navigation preload failed');
        return response;
    }
    // What HTTP does not say of a response: see handle_fetch.
    function tellOrigin(data) {
        const { redirected, url } = data.network;
        data.headers = [...data.headers, ':type', data.type, ':url', url, ...redirected ? [':redirected', '1'] : []];
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

    // A map of listeners may have a function under this symbol, which hears of each type that changed.
    const CHANGED = Symbol('changed');

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
        map[CHANGED]?.(type);
    }

    // Replaces the list, so that a dispatch that walks the old one is not disturbed.
    function drop(map, type, record) {
        record.removed = true;
        const list = map[type];
        if (list === undefined) return;
        const rest = list.filter((l) => l !== record);
        if (rest.length === 0) delete map[type];
        else map[type] = rest;
        map[CHANGED]?.(type);
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

    // ---- on... properties: of the global, and of other targets

    function handlerIn(map, type) {
        const record = map[type]?.find((l) => l.isHandler === true);
        return record === undefined ? null : record.handler;
    }
    function setHandlerIn(map, type, value) {
        const usable = typeof value === 'object' && value !== null || typeof value === 'function';
        const record = map[type]?.find((l) => l.isHandler === true);
        if (record !== undefined) {
            if (usable) record.handler = value;
            else drop(map, type, record);
            return;
        }
        if (!usable) return;
        const made = { callback: null, plain: true, capture: false, removed: false, isHandler: true, handler: value };
        made.callback = function (event) {
            if (typeof made.handler !== 'function') return;
            if (type === 'error' && this === global && event instanceof ErrorEvent) {
                if (made.handler.call(global, event.message, event.filename, event.lineno, event.colno,
                    event.error) === true) event.preventDefault();
            } else if (made.handler.call(this, event) === false) {
                event.preventDefault();
            }
        };
        const list = map[type];
        if (list === undefined) map[type] = [made];
        else list.push(made);
        map[CHANGED]?.(type);
    }
    const handler = (type) => handlerIn(listeners, type);
    const setHandler = (type, value) => setHandlerIn(listeners, type, value);

    // Attributes of a class of event targets; `mapOf` throws for any other object.
    function defineHandlers(made, mapOf, ...types) {
        for (const type of types) {
            Object.defineProperty(made.prototype, `on${type}`, {
                ...Object.getOwnPropertyDescriptor({
                    get [`on${type}`]() { return handlerIn(mapOf(this), type); },
                    set [`on${type}`](value) { setHandlerIn(mapOf(this), type, value); },
                }, `on${type}`), enumerable: true });
        }
    }

    // Of the worker's own making: to an object's listeners.
    function fire(map, target, made, type, fields) {
        const list = map[type];
        if (list === undefined) return true;
        const event = make(made, type, fields);
        event[STATE].flags &= ~CANCELABLE;
        core.run(map, list, event, event[STATE], target);
        return !event.defaultPrevented;
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
    const sequenceOf = (value, what) => {
        if (typeof value !== 'object' && typeof value !== 'function' || value === null
            || typeof value[Symbol.iterator] !== 'function') throw new TypeError(`${what} is no sequence`);
        return [...value];
    };
    // What a script says of a message; with the types that the standard wants.
    const isWindow = (value) => native.identity().type === 'client' && value.window === value; // of whatever realm
    function messageInit(state, isExtendable) {
        const given = state.init, { source, ports } = given ?? {};
        state.init = {
            origin: given?.origin === undefined ? '' : `${given.origin}`.toWellFormed(),
            lastEventId: textOf(given?.lastEventId), source: source ?? null,
            ports: ports === undefined ? [] : sequenceOf(ports, 'ports'),
        };
        const isPort = (value) => native.isPort?.(value) === true;
        if (state.init.ports.some((port) => !isPort(port))) throw new TypeError('ports has what is no MessagePort');
        if (state.init.source !== null && !isPort(source) && !(source instanceof EventTarget) && !isWindow(source)
            && !(isExtendable && native.isClient?.(source)))
            throw new TypeError('source can be no source of messages');
        Object.freeze(state.init.ports);
        return state;
    }
    const constructMessage = (target, given) => messageInit(construct(target, given), true);
    const MessageEvent = named('MessageEvent', class extends Event {
        constructor(type, init) {
            super(...arguments);
            messageInit(this[STATE], false);
        }
        get data() { return this[STATE].data; }
        get origin() { return initOf(this).origin ?? ''; }
        get lastEventId() { return initOf(this).lastEventId ?? ''; }
        get source() { return initOf(this).source ?? null; }
        get ports() { return (this[STATE].init ??= {}).ports ??= Object.freeze([]); }
        initMessageEvent(type, bubbles, cancelable, data, origin, lastEventId, source, ports) {
            const state = this[STATE];
            if (arguments.length === 0) throw new TypeError('an event needs a type');
            if (state.flags & DISPATCHING) return;
            initEvent(state, type, bubbles, cancelable);
            state.data = data === undefined ? null : data;
            state.init = { origin, lastEventId, source, ports };
            messageInit(state, false);
        }
    });
    // A message to the worker that could not be read.
    function unreadable(id, kind, error, fields = {}) {
        const list = listeners.messageerror;
        if (kind !== MESSAGE) { // arguments of an event of the embedder's
            native.fail(id, SCRIPT_ERROR, error);
            return 0;
        }
        if (list === undefined) return PASSED;
        const event = make(core.ExtendableMessageEvent, 'messageerror', fields);
        const state = Object.assign(event[STATE], { id, turn: core.turn(), data: null });
        core.run(listeners, list, event, state, global);
        return state.pending !== 0 ? PENDING : 0;
    }
    const InstallEvent = named('InstallEvent', class extends ExtendableEvent {
        async addRoutes(rules) {
            const state = this[STATE];
            if (arguments.length === 0) throw new TypeError('addRoutes needs rules');
            return native.chunk('routes').addRoutes(this, state, rules);
        }
    });
    // Makes a class of a function whose prototype has its members already.
    const finishEvent = (made, parent, length) => {
        named(made.name, made);
        if (parent !== null) Object.setPrototypeOf(made, parent);
        Object.defineProperty(made, 'length', { value: length, configurable: true });
        Object.defineProperty(made, 'prototype', { writable: false });
        Object.defineProperty(made.prototype, 'constructor', { enumerable: false });
        return made;
    };
    finishEvent(Event, null, 1);
    for (const [value, name] of ['NONE', 'CAPTURING_PHASE', 'AT_TARGET', 'BUBBLING_PHASE'].entries())
        for (const object of [Event, Event.prototype]) Object.defineProperty(object, name, { value, enumerable: true });
    finishEvent(ExtendableEvent, Event, 1);
    finishEvent(core.ExtendableMessageEvent, ExtendableEvent, 1);
    Object.defineProperty(InstallEvent, 'length', { value: 1, configurable: true });
    Object.defineProperty(InstallEvent.prototype, 'addRoutes', { enumerable: true });

    // Which class `self` is an instance of.
    const scopes = { __proto__: null };
    const scopeClass = (name, type, parent) => {
        if (scopes[name] !== undefined) return scopes[name];
        const isOne = () => type === 'worker' ? native.identity().type !== 'client' : native.identity().type === type;
        const made = named(name, class extends parent { constructor() { throw new TypeError('Illegal constructor'); } });
        Object.defineProperty(made, Symbol.hasInstance, { value: (value) => value === global && isOne() });
        // The engine lets nobody change what the global object inherits from.
        if (type !== 'worker' && isOne())
            Object.defineProperty(global, Symbol.toStringTag, { value: name, configurable: true });
        return scopes[name] = made;
    };
    const workerScope = () => scopeClass('WorkerGlobalScope', 'worker', EventTarget);

    // What a lazy global's accessor is replaced by must be what scripts find (engine_javascript_globals.c); such
    // an accessor is no instance of Function.
    let showsPlain = false;
    function showPlain() {
        if (showsPlain) return;
        showsPlain = true;
        const { getOwnPropertyDescriptor: get, getOwnPropertyDescriptors: getAll } = Object;
        const settle = (key) => {
            const getter = get(global, key)?.get;
            if (getter !== undefined && !(getter instanceof Function)) void global[key];
        };
        const replace = (owner, name, value) => Object.defineProperty(owner, name,
            { value: Object.defineProperty(value, 'name', { value: name, configurable: true }),
                writable: true, configurable: true });
        const one = (original) => ({ made(target, key) {
            if (target === global) settle(key);
            return original(target, key);
        } }).made;
        replace(Object, 'getOwnPropertyDescriptor', one(get));
        replace(Reflect, 'getOwnPropertyDescriptor', one(Reflect.getOwnPropertyDescriptor));
        replace(Object, 'getOwnPropertyDescriptors', ({ made(target) {
            if (target === global) Reflect.ownKeys(global).forEach(settle);
            return getAll(target);
        } }).made);
    }

    // ---- errors and rejections that nobody caught

    let reporting = false; // an error in an error handler goes straight to the log
    function reportToListeners(error) {
        if (reporting) return native.report(shownError(error));
        reporting = true;
        try {
            if (!fireError(error)) native.report(shownError(error));
        } finally {
            reporting = false;
        }
    }
    // Errors themselves; what else was thrown is no more than its text, and none of its getters runs.
    function shownError(error) {
        if (Object(error) !== error || Error.isError(error) || error instanceof global.DOMException) return error;
        try {
            return `${error}`;
        } catch {
            return 'an object without a text';
        }
    }
    // True: a listener dealt with it.
    function fireError(error) {
        if (listeners.error === undefined) return false;
        const place = native.describe(shownError(error));
        if (place[1] === '') place.splice(1, 3, ...native.describe(new Error()).slice(1)); // whoever reports it
        if (place[1] === '') place[1] = native.identity().url;
        const event = make(ErrorEvent, 'error', muted.has(place[1])
            ? { message: 'Script error.', filename: '', lineno: 0, colno: 0, error: null }
            : { message: place[0], filename: place[1], lineno: place[2], colno: place[3], error });
        core.run(listeners, listeners.error, event, event[STATE], global);
        return event.defaultPrevented;
    }
    function fireRejection(promise, reason) {
        tick();
        if (listeners.unhandledrejection === undefined) return departures.has(reason);
        const event = make(PromiseRejectionEvent, 'unhandledrejection', { promise, reason });
        core.run(listeners, listeners.unhandledrejection, event, event[STATE], global);
        if (listeners.rejectionhandled !== undefined) watchRejection(promise, reason);
        return event.defaultPrevented || departures.has(reason);
    }
    // The engine does not say that a rejection is handled after all: the promise's own `then` does, once.
    function watchRejection(promise, reason) {
        Object.defineProperty(promise, 'then', { configurable: true, writable: true, value(...given) {
            delete promise.then;
            setTimer(() => {
                const list = listeners.rejectionhandled;
                if (list === undefined) return;
                const event = make(PromiseRejectionEvent, 'rejectionhandled', { promise, reason });
                event[STATE].flags &= ~CANCELABLE;
                core.run(listeners, list, event, event[STATE], global);
            }, 0, [], false);
            return promise.then(...given);
        } });
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
    // A handler that is a text is a script of its own.
    const textCallback = (text) => () => { native.realmEvaluate(0, text, native.identity().url); };
    function setTimer(callback, delay, args, repeat) {
        if (typeof callback !== 'function') callback = textCallback(`${callback}`);
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
    // True: it is one of this realm's.
    function fireTimer(host) {
        tick();
        const timer = armed.get(host);
        if (timer === undefined) return false;
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
        return true;
    }
    // The realm ends before the worker does.
    function leave() {
        for (const host of armed.keys()) native.timerClear(host);
        timers.clear();
        armed.clear();
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
        return listeners[type] !== undefined // and fetch() that every worker has is no handler
            || typeof (type === 'fetch' ? moduleExports?.fetch : find(type)[1]) === 'function';
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
            const message = importScript(`${url}`);
            if (message !== undefined) throw domError('NetworkError', message);
        }
    }

    // What a script of another origin throws is not told (HTML, "muted errors").
    const muted = new Set();
    function importScript(url) {
        try {
            const message = native.importScript(url);
            if (message === undefined && isForeign(native.imported)) muted.add(native.imported);
            return message;
        } catch (error) {
            if (isForeign(native.imported)) throw domError('NetworkError', 'a script of another origin failed');
            throw error;
        }
    }
    function isForeign(url) {
        if (!/^https?:/.test(url)) return false;
        const { URL } = native.chunk('url');
        return new URL(url).origin !== new URL(native.identity().url).origin;
    }

    const WorkerLocation = named('WorkerLocation', class {
        #url;
        constructor(key) {
            if (key !== STATE) throw new TypeError('Illegal constructor');
            const { type, url } = native.identity(); // a client is a page, whatever script stands in for it
            this.#url = new (native.chunk('url').URL)(type === 'client'
                ? native.chunk('host_port').environment.url : url);
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
        #key;
        constructor(key) {
            if (key !== STATE) throw new TypeError('Illegal constructor');
            this.#key = key;
        }
        get userAgent() { return native.userAgent; }
        get appCodeName() { return 'Mozilla'; } // these are what the standard has them be
        get appName() { return 'Netscape'; }
        get appVersion() { return '5.0 (muster)'; }
        get platform() { return ''; }
        get product() { return 'Gecko'; }
        get hardwareConcurrency() { return native.processors; }
        get language() { return 'en'; }
        get languages() { return Object.freeze(['en']); }
        get onLine() { return true; }
        get serviceWorker() {
            this.#key;
            return native.chunk('container').container;
        }
    });
    Object.defineProperty(WorkerNavigator.prototype, 'serviceWorker', { enumerable: true });

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
        close() { native.close(); }, // of a service worker, too, where self.close() does not exist
        get transfer() { return native.chunk('clone').transfer; },
        get backlog() { return native.chunk('ports').backlog; },
        get openRealm() { return native.identity().type === 'client' ? native.chunk('realms').openRealm : undefined; },
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
        const found = Object.hasOwn(global, '__muster_modules') ? native.chunk('modules').start() : global.__muster_module;
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
        Event, ExtendableEvent, ExtendableMessageEvent: core.ExtendableMessageEvent,
        WorkerLocation, WorkerNavigator, muster,
        get WorkerGlobalScope() { return workerScope(); },
        get ServiceWorkerGlobalScope() { return scopeClass('ServiceWorkerGlobalScope', 'service', workerScope()); },
        get DedicatedWorkerGlobalScope() { return scopeClass('DedicatedWorkerGlobalScope', 'dedicated', workerScope()); },
        get SharedWorkerGlobalScope() { return scopeClass('SharedWorkerGlobalScope', 'shared', workerScope()); },
        get Window() { return scopeClass('Window', 'client', EventTarget); },
        get window() { return global; },
        get Location() { return WorkerLocation; },
        get Navigator() { return WorkerNavigator; },
        setTimeout(callback, delay = 0, ...args) {
            if (arguments.length === 0) throw new TypeError('a timer needs a handler');
            return setTimer(callback, delay, args, false);
        },
        setInterval(callback, delay = 0, ...args) {
            if (arguments.length === 0) throw new TypeError('a timer needs a handler');
            return setTimer(callback, delay, args, true);
        },
        clearTimeout(id) { clearTimer(id); },
        clearInterval(id) { clearTimer(id); },
        queueMicrotask(callback) {
            if (typeof callback !== 'function') throw new TypeError('a microtask is a function');
            Promise.resolve().then(() => callback()).catch(core.reportException);
        },
        reportError(error) {
            if (arguments.length === 0) throw new TypeError('reportError needs an error');
            reportToListeners(error);
        },
        importScripts,
        get location() { return new WorkerLocation(STATE); },
        get navigator() { return new WorkerNavigator(STATE); },
        async skipWaiting() { // SW-SKIP-1
            if (this !== undefined && this !== global) throw new TypeError('this is no global of a service worker');
            if (!native.chunk('host_port').isConnected) return void native.skipWaiting();
            await native.chunk('host_port').ask('skipWaiting');
        },
        get origin() { return new WorkerLocation(STATE).origin; },
        get name() { return native.identity().name; },
        close() { native.close(); },
        isSecureContext: true,
        crossOriginIsolated: false, // shared memory stays with whoever made it
        removeEventListener(type, callback, options) { unlisten(listeners, type, callback, options); },
        dispatchEvent(event) { return dispatch(listeners, event, global); },
        // for core and core_fetch
        construct, constructFetch, detailsOf, preloadOf, tellOrigin, finishEvent, constructMessage, unreadable, initEvent, tooLate, refuseHandled, abort, listen, callListener, reportToListeners, requestSource, pump,
        // for other chunks
        named, make, mapOf, fire, defineHandlers, CHANGED, sequenceOf, domError,
        // for the engine
        leave, call, handles, handler, setHandler, showPlain, timer: fireTimer, rejection: fireRejection, module: adoptModule,
        departed, isDeparture: (error) => departures.has(error),
    };
}
