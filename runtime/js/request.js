/* Request. */
import { byteString, dictionary, needArguments, ownBody, shareKin, take, usvString } from "./parts/webidl.js";

const { Body, mixIn, makeHeaders, makeResponse, extract, extracted, kindOf, NONE, STREAM, appendHeader, fill, getHeader,
    plainHeaders, requestGuard, noCorsGuard, immutableGuard } = native.chunk("fetch");

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NORMALIZED = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
const FORBIDDEN = ["CONNECT", "TRACE", "TRACK"];

/* Of this script; undefined: its loader knows it by something else than a URL. */
export function baseUrl() {
    try {
        return globalThis.location?.href;
    } catch {
        return undefined;
    }
}

export function parseUrl(text) {
    const { URL } = native.chunk("url");
    return new URL(text, baseUrl());
}

const REFERRER_POLICIES = ["", "no-referrer", "no-referrer-when-downgrade", "same-origin", "origin",
    "strict-origin", "origin-when-cross-origin", "strict-origin-when-cross-origin", "unsafe-url"];

/* The members of RequestInit that are one word out of a list, or plain text. */
const WORDS = {
    cache: ["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"],
    credentials: ["omit", "same-origin", "include"],
    duplex: ["half"],
    mode: ["navigate", "same-origin", "no-cors", "cors"],
    priority: ["high", "low", "auto"],
    redirect: ["follow", "error", "manual"],
    referrerPolicy: REFERRER_POLICIES,
};

/* What init can set, and behind it what only the host can. */
const DEFAULTS = Object.freeze({
    cache: "default", credentials: "same-origin", integrity: "", keepalive: false, mode: "cors",
    redirect: "follow", referrer: "about:client", referrerPolicy: "",
    destination: "", isReloadNavigation: false, isHistoryNavigation: false, blob: null,
});

/* The origin whose rules hold for this context: that of the web page or worker that it is.  Scripts from
 * files and the like have none: nothing that they fetch is another site's. */
let known;

export function webOrigin() {
    if (known === undefined) {
        const base = baseUrl();
        const origin = base === undefined ? "null" : parseUrl(base).origin;
        known = /^https?:/.test(origin) ? origin : null;
    }
    return known;
}

const FORBIDDEN_HEADERS = ["accept-charset", "accept-encoding", "access-control-request-headers",
    "access-control-request-method", "connection", "content-length", "cookie", "cookie2", "date", "dnt",
    "expect", "host", "keep-alive", "origin", "referer", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "via"];
const OVERRIDES = ["x-http-method", "x-http-method-override", "x-method-override"];

native.isForbidden = (name, value) => {
    if (webOrigin() === null) {
        return false;
    }
    return FORBIDDEN_HEADERS.includes(name) || name.startsWith("proxy-") || name.startsWith("sec-")
        || (OVERRIDES.includes(name)
            && value.split(",").some((method) => FORBIDDEN.includes(method.trim().toUpperCase())));
};

/* In the order in which the standard's dictionary is read. */
const MEMBERS = ["body", "cache", "credentials", "duplex", "headers", "integrity", "keepalive",
    "method", "mode", "priority", "redirect", "referrer", "referrerPolicy", "signal", "window"];

function convertMember(key, value) {
    if (Object.hasOwn(WORDS, key)) {
        const word = `${value}`;
        if (!WORDS[key].includes(word)) {
            throw new TypeError(`Request: ${key} cannot be ${word}`);
        }
        return word;
    }
    switch (key) {
    case "integrity":
        return `${value}`;
    case "keepalive":
        return Boolean(value);
    case "method":
        return byteString(value, "Request: the method");
    case "referrer":
        return usvString(value);
    case "signal":
        if (value !== null && (value = native.chunk("dom").ownSignal(value)) === undefined) {
            throw new TypeError("Request: the signal is not an AbortSignal");
        }
        return value;
    default:
        return value;
    }
}

function readRequestInit(value) {
    const source = dictionary(value, "Request: the options");
    const init = {};
    if (source !== undefined) {
        for (const key of MEMBERS) {
            const member = source[key];
            if (member !== undefined) {
                init[key] = convertMember(key, member);
            }
        }
    }
    return init;
}

function normalizeMethod(method) {
    const upper = method.toUpperCase();
    if (!METHOD.test(method) || FORBIDDEN.includes(upper)) {
        throw new TypeError(`Request: the method cannot be ${method}`);
    }
    return NORMALIZED.includes(upper) ? upper : method;
}

function normalizeReferrer(text) {
    if (text === "") {
        return "";
    }
    const url = parseUrl(text);
    if (url.protocol === "about:" && url.pathname === "client") {
        return "about:client";
    }
    const base = baseUrl();
    return base !== undefined && url.origin === parseUrl(base).origin ? url.href : "about:client";
}

/* What a request is besides its method, URL, headers and body; `from` is that of
 * the request it is made from. */
function requestDetails(init, from, fresh) {
    if (init.window !== undefined && init.window !== null) {
        throw new TypeError("Request: window can only be null");
    }
    if (init.mode === "navigate") {
        throw new TypeError("Request: the mode cannot be navigate");
    }
    const details = { ...from };
    if (!fresh && Object.keys(init).length > 0) {
        if (details.mode === "navigate") {
            details.mode = "same-origin";
        }
        Object.assign(details, { isReloadNavigation: false, isHistoryNavigation: false,
            referrer: "about:client", referrerPolicy: "", race: undefined });
    }
    for (const key of Object.keys(DEFAULTS)) {
        if (init[key] !== undefined && !HOSTS_OWN.includes(key)) {
            details[key] = key === "referrer" ? normalizeReferrer(init[key]) : init[key];
        }
    }
    if (details.cache === "only-if-cached" && details.mode !== "same-origin") {
        throw new TypeError("Request: only-if-cached is for the mode same-origin");
    }
    return details;
}

const HOSTS_OWN = ["destination", "isReloadNavigation", "isHistoryNavigation", "blob"];

const fromHost = Symbol("made by the host");

let hostKind = NONE; /* of the body that comes with fromHost */

export const Request = mixIn(class Request extends Body {
    #method;
    #url;
    #list; /* or, until the first use, a function that returns it */
    #headers = null;
    #guard = requestGuard;
    #signal = null;
    #details = DEFAULTS;

    /* What the host makes has its fields set from outside; a small constructor is
     * one that the engine inlines. */
    constructor(input, init = undefined) {
        if (input === fromHost) {
            super(init, hostKind);
        } else {
            super(null, NONE);
            this.#construct(input, init, arguments.length);
        }
    }

    #construct(given, init, count) {
        needArguments(count, 1, "Request");
        const input = adopt(given);
        const isRequest = typeof input === "object" && input !== null && #method in input;
        const text = isRequest ? "" : usvString(input);
        const options = readRequestInit(init);
        if (isRequest) {
            this.#method = input.#method;
            this.#url = input.#url;
            this.#details = requestDetails(options, input.#details, false);
        } else {
            const url = parseUrl(text);
            if (url.username !== "" || url.password !== "") {
                throw new TypeError("Request: the URL has credentials");
            }
            this.#method = "GET";
            this.#url = url.href;
            this.#details = requestDetails(options, DEFAULTS, true);
            if (url.protocol === "blob:") { /* it may be revoked before this is fetched */
                this.#details.blob = native.chunk("blob").findObjectURL(url.href);
            }
        }
        if (options.method !== undefined) {
            this.#method = normalizeMethod(options.method);
        }
        const signal = options.signal === undefined && isRequest ? input.#signal : options.signal;
        if (signal) {
            this.#signal = native.chunk("dom").followSignals([signal]);
        }
        this.#fillHeaders(options, isRequest ? input : null);
        this.#takeBody(options, isRequest ? input : null);
    }

    #fillHeaders(given, input) {
        this.#list = [];
        if (this.#details.mode === "no-cors") {
            if (!["GET", "HEAD", "POST"].includes(this.#method)) {
                throw new TypeError(`Request: the mode no-cors does not allow ${this.#method}`);
            }
            this.#guard = noCorsGuard;
        }
        if (given.headers !== undefined) {
            fill(this.#list, this.#guard, given.headers);
        } else if (input !== null) {
            const list = input.#headerList();
            for (let i = 0; i < list.length; i += 2) {
                appendHeader(this.#list, this.#guard, list[i], list[i + 1]);
            }
        }
    }

    #takeBody(given, input) {
        const own = given.body !== undefined && given.body !== null;
        const inherits = input !== null && Body.hasBody(input) && given.body === undefined;
        if ((own || (input !== null && Body.hasBody(input) && given.body !== null))
                && (this.#method === "GET" || this.#method === "HEAD")) {
            throw new TypeError(`Request: ${this.#method} cannot have a body`);
        }
        if (own) {
            const source = extract(given.body);
            const { kind, type } = extracted();
            if (kind === STREAM && given.duplex === undefined) {
                throw new TypeError("Request: a stream as the body needs duplex: 'half'");
            }
            if (kind === STREAM && this.#details.keepalive) {
                throw new TypeError("Request: a stream as the body does not go with keepalive");
            }
            if (kind === STREAM && this.#details.mode === "no-cors") {
                throw new TypeError("Request: a stream as the body needs the mode cors or same-origin");
            }
            Body.set(this, source, kind);
            if (type !== null && getHeader(this.#list, "content-type") === null) {
                appendHeader(this.#list, this.#guard, "content-type", type);
            }
        } else if (inherits) {
            if (Body.isUnusable(input)) {
                throw new TypeError("Request: the body of the given one was used or is locked");
            }
            native.chunk("body_streams").moveBody(input, this);
        }
    }

    #headerList() {
        const list = this.#list;
        return typeof list === "function" ? this.#list = plainHeaders(list()) : list;
    }

    get method() {
        return this.#method;
    }

    get url() {
        return this.#url;
    }

    get headers() {
        return this.#headers ??= makeHeaders(this.#headerList(), this.#guard);
    }

    get destination() {
        return this.#details.destination;
    }

    get referrer() {
        return this.#details.referrer;
    }

    get referrerPolicy() {
        return this.#details.referrerPolicy;
    }

    get mode() {
        return this.#details.mode;
    }

    get credentials() {
        return this.#details.credentials;
    }

    get cache() {
        return this.#details.cache;
    }

    get redirect() {
        return this.#details.redirect;
    }

    get integrity() {
        return this.#details.integrity;
    }

    get keepalive() {
        return this.#details.keepalive;
    }

    get isReloadNavigation() {
        return this.#details.isReloadNavigation;
    }

    get isHistoryNavigation() {
        return this.#details.isHistoryNavigation;
    }

    get duplex() {
        this.#method;
        return "half";
    }

    get signal() {
        this.#method;
        return this.#signal ??= native.chunk("dom").followSignals([]);
    }

    clone() {
        if (Body.isUnusable(this)) {
            throw new TypeError("Request.clone: the body was used already or is locked");
        }
        hostKind = NONE;
        const copy = new Request(fromHost, null);
        copy.#method = this.#method;
        copy.#url = this.#url;
        copy.#list = this.#headerList().slice();
        copy.#guard = this.#guard;
        copy.#details = this.#details;
        if (this.#signal !== null) {
            copy.#signal = native.chunk("dom").followSignals([this.#signal]);
        }
        native.chunk("body_streams").cloneBody(this, copy);
        return copy;
    }

    static isRequest(value) {
        return typeof value === "object" && value !== null && #method in value;
    }

    /* All that fetching it takes; its body is used then.  `body` is null, a string, a Uint8Array, or
     * {pull, cancel}. */
    static partsOf(request) {
        return {
            method: request.#method, url: request.#url, headers: request.#headerList().slice(),
            signal: request.#signal, details: request.#details, body: Body.takeForHost(request),
        };
    }

    /* What an event's request races with, in service workers: see shared_response. */
    static raceOf(request) {
        return request.#details.race;
    }

    static fromHost(method, url, headers, body, kind, signal, details) {
        hostKind = kind;
        const request = new Request(fromHost, body);
        request.#method = method;
        request.#url = url;
        request.#list = typeof headers === "function" ? headers : plainHeaders(headers);
        request.#guard = immutableGuard;
        request.#signal = signal;
        if (details !== undefined) {
            request.#details = { ...DEFAULTS, ...details };
        }
        return request;
    }
}, "Request");

/* Response.redirect(), which is rare. */
export function redirect(given, url, status) {
    needArguments(given, 1, "Response.redirect");
    const { href } = parseUrl(usvString(url));
    const code = Math.trunc(Number(status)) & 0xffff;
    if (![301, 302, 303, 307, 308].includes(code)) {
        throw new RangeError(`Response.redirect: ${code} is not a redirect`);
    }
    return makeResponse(code, "", ["location", href], "default", null, null, NONE);
}

export const requestFromHost = take(Request, "fromHost");
export const requestParts = take(Request, "partsOf");
export const isRequest = take(Request, "isRequest");
export const raceOf = take(Request, "raceOf");
const findKin = shareKin(native, "requests", (value) => isRequest(value) ? requestParts(value) : undefined);

/* A request of another realm becomes one of this; it is used then. */
function adopt(value) {
    const parts = isRequest(value) ? undefined : findKin(value);
    if (parts === undefined) {
        return value;
    }
    const { method, url, headers, signal, details } = parts;
    const body = ownBody(parts.body);
    return requestFromHost(method, url, headers, body, kindOf(body),
        signal === null ? null : native.chunk("dom").ownSignal(signal), details);
}
