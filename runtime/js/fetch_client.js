/* fetch(): the Fetch standard as far as a runtime needs it, over `native.web()`.
 *
 * Who asks decides what may be asked.  A context whose URL is of http or https is of that origin, and the rules
 * for pages hold: modes, CORS, filtered responses.  A script from a file has no origin: its own server's answers
 * and anybody else's are the same to it, and it may read all of them, as in other hosts that answer requests.
 *
 * There are neither cookies nor a cache here: credentials are what a script puts into headers, and the cache
 * modes say only what the server is told.
 *
 * A fetch is one record that goes through the standard's steps, redirect by redirect; `job` is what can be
 * aborted of it. */
import { finishFunction } from "./parts/webidl.js";
import { parseMimeType, serializeMimeType } from "./parts/mime_type.js";

const { getHeader, makeResponse, NONE, BYTES, PULL } = native.chunk("fetch");
const { Request, raceOf, requestParts, webOrigin, parseUrl, baseUrl } = native.chunk("request");
const { isSafelisted } = native.chunk("headers");
const { utf8Encode, utf8Decode } = native;
const { URL } = native.chunk("url"); /* a script may put another one in its place */
const web = native.web();

/* What the engine is told of a fetch. */
const WITH_STREAM = 1;
const WITH_RAW = 2;
const WITH_KEEPALIVE = 4;

const MOST_REDIRECTS = 20;
const MOST_KEEPALIVE = 64 * 1024;
const REDIRECTS = [301, 302, 303, 307, 308];
const NULL_BODY = [101, 103, 204, 205, 304];
const SAFE_METHODS = ["GET", "HEAD", "POST"];
const EXPOSED = ["cache-control", "content-language", "content-length", "content-type", "expires",
    "last-modified", "pragma"];
const OF_A_BODY = ["content-encoding", "content-language", "content-location", "content-type"];
/* What belongs to the connection is not a script's. */
const OF_THE_CONNECTION = ["connection", "content-length", "expect", "keep-alive", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade"];
const BAD_PORTS = new Set(("0,1,7,9,11,13,15,17,19,20,21,22,23,25,37,42,43,53,69,77,79,87,95,101,102,103,104,109,110,"
    + "111,113,115,117,119,123,135,137,139,143,161,179,389,427,465,512,513,514,515,526,530,531,532,540,548,554,556,"
    + "563,587,601,636,989,990,993,995,1719,1720,1723,2049,3659,4045,4190,5060,5061,6000,6566,6665,6666,6667,6668,"
    + "6669,6679,6697,10080").split(","));

function networkError(state, reason) {
    return new TypeError(`cannot fetch ${state.url.href}: ${reason}`);
}

function without(list, names) {
    return list.filter((_, i) => !names.includes(list[i - (i % 2)]));
}

function isHttp(url) {
    return url.protocol === "http:" || url.protocol === "https:";
}

/* ---- what can be aborted */

class Job {
    constructor() {
        this.isAborted = false;
        this.reason = undefined;
        this.transfer = null;
        this.reject = null; /* of whoever waits for a head or a piece */
        this.controller = null; /* of the answer's stream, once there is one */
        this.upload = null; /* the request's body, if it comes in pieces */
        this.forget = null;
    }

    abort(reason) {
        this.isAborted = true;
        this.reason = reason;
        this.upload?.cancel(reason)?.catch?.(() => {});
        if (this.transfer !== null) {
            web.cancel(this.transfer);
        }
        this.reject?.(reason);
        try {
            this.controller?.error(reason);
        } catch {
            /* it had ended already */
        }
    }

    check() {
        if (this.isAborted) {
            throw this.reason;
        }
    }

    /* A promise that an abort rejects; `start` gets resolve and reject. */
    wait(start) {
        this.check();
        return new Promise((resolve, reject) => {
            this.reject = reject;
            start(resolve, reject);
        }).finally(() => {
            this.reject = null;
        });
    }

    end() {
        this.forget?.();
        this.forget = null;
    }
}

/* ---- one exchange with a server */

/* Sends a body piece by piece, as there is room. */
async function pump(job, transfer, source) {
    let whole = false;
    try {
        for (;;) {
            const piece = await source.pull();
            if (piece === null) {
                whole = true;
                return;
            }
            for (let at = 0; at < piece.length;) {
                const written = web.write(transfer, piece.subarray(at));
                at += Math.max(written, 0);
                if (written < 0 || (at < piece.length
                        && !await new Promise((resolve) => web.drain(transfer, resolve)))) {
                    source.cancel(undefined)?.catch?.(() => {}); /* the server has heard enough */
                    return;
                }
            }
        }
    } catch (error) {
        job.abort(error); /* as the standard has it: the fetch ends with what the stream threw */
    } finally {
        web.finish(transfer, whole);
    }
}

/* The answer's body, as the engine and the body mixin read it. */
function answerSource(job, transfer) {
    return {
        attach(controller) {
            job.controller = controller;
        },
        async pull() {
            try {
                const piece = await job.wait((resolve, reject) => web.read(transfer, resolve, reject));
                if (piece === null) {
                    job.end();
                }
                return piece;
            } catch (error) {
                job.end();
                throw error;
            }
        },
        async cancel() {
            job.end();
            web.cancel(transfer);
        },
    };
}

/* A body is null, a string, bytes, or {pull, cancel}. */
function isSource(body) {
    return body !== null && typeof body === "object" && !(body instanceof Uint8Array);
}

/* {status, statusText, headers, transfer}.  `headers` is a flat list. */
async function exchange(job, state, method, headers, body, raw) {
    const pieces = isSource(body);
    const bytes = typeof body === "string" ? utf8Encode(body) : pieces ? null : body;
    const head = headers.length === 0 ? "" : `\n${headers.join("\n")}`;
    const url = new URL(state.url.href);
    url.hash = "";
    let text;
    try {
        text = await job.wait((resolve, reject) => {
            const transfer = web.start(method, url.href, head, bytes,
                (pieces ? WITH_STREAM : 0) | (raw ? WITH_RAW : 0)
                | (state.details.keepalive ? WITH_KEEPALIVE : 0), resolve, reject);
            job.transfer = transfer;
            if (pieces) {
                job.upload = body;
                pump(job, transfer, body);
            }
        });
    } finally {
        job.upload = null;
    }
    const [status, statusText, ...flat] = text.split("\n");
    for (let i = 0; i < flat.length; i += 2) {
        flat[i] = flat[i].toLowerCase();
    }
    return { status: Number(status), statusText, headers: flat, transfer: job.transfer };
}

/* ---- where a request comes from */

function stripped(url) {
    const copy = new URL(url.href);
    copy.username = "";
    copy.password = "";
    copy.hash = "";
    return copy;
}

/* The value of Referer; null: there is none. */
export function refererOf(state) {
    const { referrer } = state.details;
    const text = referrer === "about:client" ? baseUrl() : referrer;
    if (!text) {
        return null;
    }
    const source = parseUrl(text);
    if (!isHttp(source)) {
        return null;
    }
    const full = stripped(source).href;
    const bare = `${source.origin}/`;
    const same = source.origin === state.url.origin;
    const downgrade = source.protocol === "https:" && state.url.protocol !== "https:";
    switch (state.policy) {
    case "no-referrer":
        return null;
    case "origin":
        return bare;
    case "unsafe-url":
        return full;
    case "same-origin":
        return same ? full : null;
    case "strict-origin":
        return downgrade ? null : bare;
    case "no-referrer-when-downgrade":
        return downgrade ? null : full;
    case "origin-when-cross-origin":
        return same ? full : bare;
    default:
        return same ? full : downgrade ? null : bare;
    }
}

const POLICIES = ["no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin",
    "origin-when-cross-origin", "strict-origin-when-cross-origin", "unsafe-url"];

function originText(state) {
    return state.isTainted ? "null" : webOrigin();
}

/* As above, of Origin. */
function originOf(state) {
    if (webOrigin() === null) {
        return null;
    }
    if (state.tainting === "cors") {
        return originText(state);
    }
    if (state.method === "GET" || state.method === "HEAD") {
        return null;
    }
    const { protocol, origin } = state.url;
    const downgrade = webOrigin().startsWith("https:") && protocol !== "https:";
    const hidden = state.details.mode !== "cors" && (state.policy === "no-referrer"
        || (state.policy === "same-origin" && origin !== webOrigin())
        || (["", "strict-origin", "no-referrer-when-downgrade", "strict-origin-when-cross-origin"]
            .includes(state.policy) && downgrade));
    return hidden ? "null" : originText(state);
}

function withDefault(list, name, value) {
    if (getHeader(list, name) === null) {
        list.push(name, value);
    }
}

/* What is sent besides what the script set. */
function headersOf(state) {
    const list = without(state.headers, OF_THE_CONNECTION);
    const referer = refererOf(state);
    const origin = originOf(state);
    if (referer !== null) {
        withDefault(list, "referer", referer);
    }
    if (origin !== null) {
        list.push("origin", origin);
    }
    withDefault(list, "accept", "*/*");
    withDefault(list, "accept-language", "*");
    withDefault(list, "user-agent", native.userAgent);
    const conditional = list.some((name, i) => i % 2 === 0 && /^if-(?:modified-since|none-match|unmodified-since|match|range)$/
        .test(name));
    const cache = state.details.cache === "default" && conditional ? "no-store" : state.details.cache;
    if (cache === "no-cache") {
        withDefault(list, "cache-control", "max-age=0");
    } else if ((cache === "no-store" || cache === "reload") && !conditional) {
        withDefault(list, "pragma", "no-cache");
        withDefault(list, "cache-control", "no-cache");
    }
    if (getHeader(list, "range") !== null) {
        withDefault(list, "accept-encoding", "identity");
    }
    return list;
}

/* ---- CORS */

function unsafeNames(list) {
    let size = 0;
    const safe = [];
    const names = new Set();
    for (let i = 0; i < list.length; i += 2) {
        const [name, value] = [list[i], list[i + 1]];
        if (isSafelisted(name, value) || (name === "range" && /^bytes=\d+-\d*$/.test(value))) {
            size += value.length;
            safe.push(name);
        } else {
            names.add(name);
        }
    }
    return [...names, ...size > 1024 ? safe : []].sort();
}

/* Why a script of this origin may not see the answer; null: it may. */
function corsFault(state, headers) {
    const allowed = getHeader(headers, "access-control-allow-origin");
    const withCredentials = state.details.credentials === "include";
    if (allowed === null) {
        return "the server allows no other origin";
    }
    if (allowed === "*" && !withCredentials) {
        return null;
    }
    if (allowed !== originText(state)) {
        return `the server allows another origin, ${allowed}`;
    }
    return withCredentials && getHeader(headers, "access-control-allow-credentials") !== "true"
        ? "the server allows no credentials" : null;
}

/* A comma-separated list of tokens; null: it is none. */
function tokens(headers, name) {
    const value = getHeader(headers, name);
    if (value === null) {
        return [];
    }
    const items = value.split(",").map((item) => item.trim()).filter((item) => item !== "");
    return items.every((item) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(item)) ? items : null;
}

const preflights = new Map(); /* what was asked -> {until, methods, names} */

function preflightKey(state) {
    return [originText(state), state.url.href, state.details.credentials === "include"].join(" ");
}

function isKnown(state, names) {
    const known = preflights.get(preflightKey(state));
    if (known === undefined || known.until < native.now()) {
        return false;
    }
    return (SAFE_METHODS.includes(state.method) || known.methods.has(state.method))
        && names.every((name) => known.names.has(name));
}

function remember(state, headers, names) {
    const seconds = /^\d+$/.exec(getHeader(headers, "access-control-max-age") ?? "5");
    const until = native.now() + Math.min(Number(seconds ?? 5), 7200) * 1000;
    if (preflights.size > 1000) {
        preflights.clear();
    }
    preflights.set(preflightKey(state), { until, methods: new Set([state.method]), names: new Set(names) });
}

async function preflight(job, state, names) {
    const list = ["accept", "*/*", "access-control-request-method", state.method];
    if (names.length > 0) {
        list.push("access-control-request-headers", names.join(","));
    }
    list.push("origin", originText(state), "user-agent", native.userAgent, "sec-fetch-mode", "cors");
    const referer = refererOf(state);
    if (referer !== null) {
        list.push("referer", referer);
    }
    const answer = await exchange(job, state, "OPTIONS", list, null, false);
    web.cancel(answer.transfer);
    const fault = corsFault(state, answer.headers);
    if (fault !== null || answer.status < 200 || answer.status > 299) {
        throw networkError(state, `asked before, ${fault ?? `the server answered ${answer.status}`}`);
    }
    const methods = tokens(answer.headers, "access-control-allow-methods");
    const allowed = tokens(answer.headers, "access-control-allow-headers")?.map((name) => name.toLowerCase());
    const withCredentials = state.details.credentials === "include";
    if (methods === null || allowed === undefined) {
        throw networkError(state, "asked before, the server answered with something else than lists");
    }
    if (!methods.includes(state.method) && !SAFE_METHODS.includes(state.method)
            && (withCredentials || !methods.includes("*"))) {
        throw networkError(state, `the server does not allow ${state.method} from other origins`);
    }
    for (const name of names) {
        if (!allowed.includes(name) && (name === "authorization" || withCredentials || !allowed.includes("*"))) {
            throw networkError(state, `the server does not allow the header ${name} from other origins`);
        }
    }
    remember(state, answer.headers, names);
}

/* ---- answers that need no server */

function local(status, statusText, headers, bytes) {
    return { status, statusText, headers, source: bytes, kind: bytes === null ? NONE : BYTES };
}

/* As Range asks; null: it is none of that kind. */
function rangeOf(value, size) {
    const match = /^bytes[\t ]*=[\t ]*(\d*)[\t ]*-[\t ]*(\d*)[\t ]*$/.exec(value);
    if (match === null || (match[1] === "" && match[2] === "")) {
        return null;
    }
    const start = match[1] === "" ? Math.max(size - Number(match[2]), 0) : Number(match[1]);
    const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
    return start <= end && start < size ? [start, end] : null;
}

/* [bytes, type], or null.  A worker in a process of its own may have been told of one that its coordinator's knows. */
async function findBlob(state) {
    const found = state.details.blob ?? native.chunk("blob").findObjectURL(state.url.href);
    const host = found === null ? native.chunk("host_port") : null;
    if (host === null || !host.isConnected) {
        return found;
    }
    const told = await host.ask("blob.read", [state.url.href]).catch(() => null);
    return told === null ? null : [told.data, told.value];
}

async function fetchBlob(state) {
    const found = await findBlob(state);
    if (state.method !== "GET" || found === null) {
        throw networkError(state, found === null ? "there is no such blob" : "a blob can only be got");
    }
    const [bytes, type] = found;
    const asked = getHeader(state.headers, "range");
    if (asked === null) {
        return local(200, "OK", ["content-length", `${bytes.length}`, "content-type", type], bytes.slice());
    }
    const range = rangeOf(asked, bytes.length);
    if (range === null) {
        throw networkError(state, "the range is not one of the blob's");
    }
    const [start, end] = range;
    return local(206, "Partial Content", ["content-length", `${end - start + 1}`, "content-type", type,
        "content-range", `bytes ${start}-${end}/${bytes.length}`], bytes.slice(start, end + 1));
}

function fetchData(state) {
    const found = web.dataUrl(state.url.href);
    if (found === null) {
        throw networkError(state, "it is no valid data: URL");
    }
    const [bytes, given] = found;
    const type = parseMimeType(given.startsWith(";") ? `text/plain${given}` : given);
    return local(200, "OK", ["content-type",
        type === null ? "text/plain;charset=US-ASCII" : serializeMimeType(type)], bytes);
}

function fetchLocal(state) {
    switch (state.url.protocol) {
    case "blob:":
        return fetchBlob(state);
    case "data:":
        return fetchData(state);
    case "file:":
        throw networkError(state, "files cannot be fetched");
    }
    throw networkError(state, `${state.url.protocol} is not known here`);
}

/* ---- the standard's steps */

/* Header values come as bytes: what is in a Location may be UTF-8. */
function locationOf(state, value) {
    const bytes = Uint8Array.from(value, (c) => c.charCodeAt(0));
    let location;
    try {
        location = new URL(utf8Decode(bytes, false), state.url.href);
    } catch {
        throw networkError(state, `it is redirected to ${value}, which is no URL`);
    }
    if (location.hash === "") {
        location.hash = state.url.hash;
    }
    return location;
}

/* Goes on at another place.  The answer's own body is of no use. */
function redirect(state, answer, location) {
    web.cancel(answer.transfer);
    const { status } = answer;
    const same = location.origin === state.url.origin;
    const named = location.username !== "" || location.password !== "";
    if (!isHttp(location)) {
        throw networkError(state, `it is redirected to ${location.protocol}`);
    }
    if (++state.redirects > MOST_REDIRECTS) {
        throw networkError(state, "it is redirected too often");
    }
    if (named && webOrigin() !== null && (state.tainting === "cors"
            || (state.details.mode === "cors" && location.origin !== webOrigin()))) {
        throw networkError(state, "it is redirected to a URL with credentials");
    }
    if (status !== 303 && state.isStream) {
        throw networkError(state, "it is redirected, and its body, a stream, cannot be sent again");
    }
    if ((status <= 302 && state.method === "POST")
            || (status === 303 && state.method !== "GET" && state.method !== "HEAD")) {
        state.method = "GET";
        state.body = null;
        state.isStream = false;
        state.headers = without(state.headers, OF_A_BODY);
    }
    if (!same) {
        state.headers = without(state.headers, ["authorization"]);
        state.isTainted ||= state.url.origin !== webOrigin();
    }
    for (const policy of (getHeader(answer.headers, "referrer-policy") ?? "").split(",")) {
        state.policy = POLICIES.includes(policy.trim().toLowerCase()) ? policy.trim().toLowerCase() : state.policy;
    }
    state.url = location;
}

/* What may be done with this URL: the tainting of its answer. */
function classify(state) {
    const { mode, redirect: manner } = state.details;
    const origin = webOrigin();
    const same = origin === null || state.url.origin === origin;
    if ((same && state.tainting === "basic") || state.url.protocol === "data:") {
        return "basic";
    }
    if (mode === "same-origin") {
        throw networkError(state, "it is of another origin");
    }
    if (mode === "no-cors") {
        if (manner !== "follow") {
            throw networkError(state, "the mode no-cors needs the redirect mode follow");
        }
        return "opaque";
    }
    if (!isHttp(state.url)) {
        throw networkError(state, "it is of another origin");
    }
    return "cors";
}

async function askServer(job, state) {
    const { details } = state;
    if (BAD_PORTS.has(state.url.port)) {
        throw networkError(state, `the port ${state.url.port} is not for the web`);
    }
    if (details.cache === "only-if-cached") {
        throw networkError(state, "there is no cache");
    }
    if (state.tainting === "cors" && details.mode !== "navigate") {
        const names = unsafeNames(state.headers);
        const needed = !SAFE_METHODS.includes(state.method) || names.length > 0 || state.isStream;
        if (needed && (state.isStream || !isKnown(state, names))) {
            await preflight(job, state, names);
        }
    }
    const list = headersOf(state);
    const raw = getHeader(list, "accept-encoding") !== null;
    const answer = await exchange(job, state, state.method, list, state.body, raw);
    if (state.tainting === "cors") {
        const fault = corsFault(state, answer.headers);
        if (fault !== null) {
            web.cancel(answer.transfer);
            throw networkError(state, fault);
        }
    }
    return answer;
}

/* The answer to keep, after all redirects that are followed. */
async function follow(job, state) {
    for (;;) {
        state.tainting = classify(state);
        if (!isHttp(state.url)) {
            return fetchLocal(state);
        }
        const answer = await askServer(job, state);
        const location = getHeader(answer.headers, "location");
        if (REDIRECTS.includes(answer.status)) {
            if (state.details.redirect === "error") {
                web.cancel(answer.transfer);
                throw networkError(state, "it is redirected");
            }
            if (state.details.redirect === "manual") {
                state.tainting = "opaqueredirect";
            } else if (location !== null) {
                redirect(state, answer, locationOf(state, location));
                continue;
            }
        }
        const hasBody = state.method !== "HEAD" && !NULL_BODY.includes(answer.status);
        if (hasBody) {
            answer.source = answerSource(job, answer.transfer);
        } else {
            web.cancel(answer.transfer);
            answer.source = null;
        }
        answer.kind = hasBody ? PULL : NONE;
        return answer;
    }
}

/* ---- integrity */

const STRENGTH = ["sha256", "sha384", "sha512"];

/* The strongest ones of the list: [{algorithm, digest}]. */
function parseIntegrity(text) {
    const found = [...text.matchAll(/(?:^|[\t\n\f\r ])(sha256|sha384|sha512)-([A-Za-z0-9+/_-]+={0,2})(?:\?\S*)?(?=[\t\n\f\r ]|$)/gi)]
        .map(([, algorithm, digest]) => ({ algorithm: algorithm.toLowerCase(),
            digest: digest.replaceAll("-", "+").replaceAll("_", "/") }));
    const best = Math.max(...found.map(({ algorithm }) => STRENGTH.indexOf(algorithm)), -1);
    return found.filter(({ algorithm }) => STRENGTH.indexOf(algorithm) === best);
}

/* Reads all of the body, which is bytes from then on. */
async function checkIntegrity(state, answer) {
    const wanted = parseIntegrity(state.details.integrity);
    if (wanted.length === 0) {
        return;
    }
    if (state.tainting === "opaque" || state.tainting === "opaqueredirect") {
        throw networkError(state, "integrity cannot be had of an opaque answer");
    }
    const bytes = answer.kind === PULL
        ? await native.chunk("body_streams").gather(() => answer.source.pull())
        : answer.source ?? new Uint8Array(0);
    const digest = web.digest(wanted[0].algorithm, bytes);
    if (digest === null) {
        throw networkError(state, "its integrity cannot be checked here");
    }
    const text = digest.toBase64();
    if (!wanted.some((one) => one.digest === text)) {
        throw networkError(state, "it is not what its integrity says");
    }
    answer.source = answer.kind === NONE ? null : bytes;
    answer.kind = answer.kind === NONE ? NONE : BYTES;
}

/* ---- responses */

/* What a script may see of the headers. */
function visible(state, headers) {
    if (webOrigin() === null) {
        return headers;
    }
    const list = without(headers, ["set-cookie", "set-cookie2"]);
    if (state.tainting !== "cors") {
        return list;
    }
    const named = tokens(headers, "access-control-expose-headers")?.map((name) => name.toLowerCase()) ?? [];
    const all = named.includes("*") && state.details.credentials !== "include";
    return list.filter((_, i) => {
        const name = list[i - (i % 2)];
        return all || EXPOSED.includes(name) || named.includes(name);
    });
}

function respond(state, answer) {
    const { status, statusText, headers, source, kind } = answer;
    const url = new URL(state.url.href);
    url.hash = "";
    const type = state.tainting;
    const network = { url: url.href, redirected: state.redirects > 0, internal: null };
    if (type !== "opaque" && type !== "opaqueredirect") {
        return makeResponse(status, statusText, visible(state, headers), type, network, source, kind);
    }
    const internal = makeResponse(status, statusText, headers, "basic", network, source, kind);
    const shown = { url: type === "opaqueredirect" ? url.href : "", redirected: false, internal };
    return makeResponse(0, "", [], type, shown, null, NONE);
}

/* The worker that controls this context may answer instead; null: it does not. */
async function askController(request) {
    const mayHaveOne = native.hostPort !== undefined && native.identity().type !== "service";
    if (!mayHaveOne || !native.chunk("host_port").environment.controller) {
        return null;
    }
    return native.chunk("service_worker").handleFetch(request);
}

async function run(job, request) {
    const race = raceOf(request);
    const answer = race === undefined ? await askController(request)
        : await native.chunk("shared_response").take(race);
    if (answer !== null) {
        job.end();
        return answer;
    }
    return runOutside(job, request);
}

async function runOutside(job, request) {
    const { method, url, headers, details, body } = requestParts(request);
    const isStream = isSource(body);
    const state = { method, headers, details, isStream, body, url: new URL(url), tainting: "basic", redirects: 0,
        isTainted: false, policy: details.referrerPolicy };
    job.check();
    if (details.keepalive && body !== null
            && (typeof body === "string" ? utf8Encode(body) : body).length > MOST_KEEPALIVE) {
        throw networkError(state, "the body is too large for keepalive");
    }
    const found = await follow(job, state);
    await checkIntegrity(state, found);
    job.check();
    if (found.kind !== PULL) {
        job.end();
    }
    return respond(state, found);
}

/* For the chunk "handle_fetch": what no controller answers. */
export const fromNetwork = (request) => runOutside(new Job(), request);

/* As above: the response, and how to call it off. */
export function startNetwork(request) {
    const job = new Job();
    return { response: runOutside(job, request), abort: (reason) => job.abort(reason) };
}

export const fetch = finishFunction(function (input, init = undefined) {
    let request;
    try {
        if (arguments.length === 0) {
            throw new TypeError("fetch needs a request or a URL");
        }
        request = new Request(input, init);
    } catch (error) {
        return Promise.reject(error);
    }
    const job = new Job();
    return new Promise((resolve, reject) => {
        const { onAbort } = native.chunk("dom");
        const { signal } = request;
        const stop = (reason) => {
            job.abort(reason);
            reject(reason);
        };
        if (signal.aborted) {
            request.body?.cancel(signal.reason).catch(() => {});
            stop(signal.reason);
            return;
        }
        job.forget = onAbort(signal, stop);
        run(job, request).then(resolve, (error) => {
            job.end();
            reject(job.isAborted ? job.reason : error);
        });
    });
}, "fetch");
Object.defineProperty(fetch, "length", { value: 1, configurable: true });
