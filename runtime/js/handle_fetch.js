/* Handle Fetch (HF-1 to HF-3): a request of a controlled client goes to its service worker first.
 *
 * The request goes as any fetch event does, to the scope of the controller's registration, with `info` beside
 * it: what HTTP does not say of a request.  What it does not say of a response comes in header lines whose
 * names begin with a colon: ":type", ":url", ":redirected" (core_fetch writes them, for nobody but these
 * clients).  Bodies are streams both ways. */
const { Body, createRequest, internalOf, kindOf, makeResponse, readResponse, NONE, PULL } = native.chunk("fetch");
const { requestParts, Request } = native.chunk("request");
const { onAbort } = native.chunk("dom");
const host = native.chunk("host_port");
const { environment } = host;
const { URL } = native.chunk("url");
const web = native.web();

const REDIRECTS = [301, 302, 303, 307, 308];
const NULL_BODY = [101, 103, 204, 205, 304];
const MOST_REDIRECTS = 20;
const OF_A_BODY = ["content-encoding", "content-language", "content-location", "content-type"];
const DEFAULT_POLICY = "strict-origin-when-cross-origin";

const refused = (url, reason) => new TypeError(`cannot fetch ${url}: ${reason}`);

/* ---- one request to the worker */

async function pump(transfer, source) {
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
                    source.cancel(undefined)?.catch?.(() => {});
                    return;
                }
            }
        }
    } catch {
        /* the other end sees that it is not whole */
    } finally {
        web.finish(transfer, whole);
    }
}

/* What the worker is told of the request beside HTTP. */
function infoOf(parts, more) {
    const { details } = parts;
    const policy = details.referrerPolicy || DEFAULT_POLICY;
    const referrer = native.chunk("fetch_client").refererOf({ details, policy, url: new URL(parts.url) }) ?? "";
    return {
        clientId: environment.clientId, resultingClientId: "", replacesClientId: "",
        mode: details.mode, destination: details.destination, credentials: details.credentials,
        cache: details.cache, redirect: details.redirect, referrer, referrerPolicy: policy,
        integrity: details.integrity, keepalive: details.keepalive, isReload: details.isReloadNavigation,
        isHistory: details.isHistoryNavigation, ...more,
    };
}

/* Its head as text, or null; and the transfer.  An abort rejects and cancels. */
function send(parts, scope, info, job) {
    const { method, url, headers, body } = parts;
    const bytes = typeof body === "string" ? native.utf8Encode(body) : body instanceof Uint8Array ? body : null;
    const pieces = body !== null && bytes === null;
    const head = headers.length === 0 ? "" : `\n${headers.join("\n")}`;
    return new Promise((resolve, reject) => {
        job.reject = reject;
        job.transfer = web.dispatch(scope, method, url, info.clientId, head, bytes, pieces, info, resolve, reject);
        if (job.transfer === undefined) { /* as if the worker did not start: the network answers */
            job.transfer = null;
            if (pieces) {
                body.cancel?.()?.catch?.(() => {});
            }
            resolve(null);
        } else if (pieces) {
            job.upload = body;
            pump(job.transfer, body);
        }
    });
}

/* The answer's body. */
function sourceOf(job) {
    return {
        attach(controller) {
            job.controller = controller;
        },
        pull() {
            return new Promise((resolve, reject) => {
                job.reject = reject;
                web.read(job.transfer, resolve, reject);
            }).then((piece) => {
                if (piece === null) {
                    job.forget();
                }
                return piece;
            });
        },
        async cancel() {
            job.forget();
            web.cancel(job.transfer);
        },
    };
}

/* "status\nstatus text\nname\nvalue..." */
function readHead(text) {
    const [status, statusText, ...lines] = text.split("\n");
    const answer = { status: Number(status), statusText, headers: [], type: "default", url: "", redirected: false };
    for (let i = 0; i < lines.length; i += 2) {
        const name = lines[i].toLowerCase();
        switch (name) {
        case ":type":
            answer.type = lines[i + 1];
            break;
        case ":url":
            answer.url = lines[i + 1];
            break;
        case ":cache": /* a rule of the worker's says that the answer is in the caches, and in which */
            answer.cache = lines[i + 1];
            break;
        case ":race": /* likewise, that the network and the worker are asked at a time */
            answer.race = true;
            break;
        case ":redirected":
            answer.redirected = true;
            break;
        default:
            answer.headers.push(name, lines[i + 1]);
        }
    }
    return answer;
}

/* What the Fetch standard takes from a service worker ("HTTP fetch"); null: all is well. */
function faultOf({ type, redirected }, { mode, redirect }) {
    if (mode === "same-origin" && type === "cors") {
        return "the worker answered with a response of another origin";
    }
    if (mode !== "no-cors" && type === "opaque") {
        return "the worker answered with an opaque response";
    }
    if (redirect !== "manual" && type === "opaqueredirect") {
        return "the worker answered with a redirect that it did not follow";
    }
    return redirect !== "follow" && redirected ? "the worker answered with a response that was redirected" : null;
}

function responseOf(answer, source) {
    const { status, statusText, headers, type, url, redirected } = answer;
    const hasBody = source !== null && !NULL_BODY.includes(status);
    const kind = hasBody ? PULL : NONE;
    const body = hasBody ? source : null;
    const network = { url, redirected, internal: null };
    if (type !== "opaque" && type !== "opaqueredirect") {
        return makeResponse(status, statusText, headers, type, network, body, kind);
    }
    const internal = makeResponse(status, statusText, headers, "basic", network, body, kind);
    const shown = type === "opaque" ? { url: "", redirected: false, internal } : { url, redirected, internal };
    return makeResponse(0, "", [], type, shown, null, NONE);
}

/* What the event may have of the network's response. */
function shareable(response) {
    return response.ok && (response.type === "basic" || response.type === "cors") ? response : null;
}

/* A rule's race: the network wins with a response that is ok, the worker with any.  Who loses is abandoned: the transfer
 * ends, the event goes on.  While it does, what it fetches with its own request is the network's response. */
async function race(request, more, forNetwork) {
    const { offer, withdraw } = native.chunk("shared_response");
    const network = native.chunk("fetch_client").startNetwork(forNetwork());
    const forget = onAbort(request.signal, (reason) => network.abort(reason));
    const shared = offer(network.response.then(shareable, () => null));
    const event = ask(request, { ...more, isRacing: true, race: shared }, forNetwork);
    event.catch(() => {}).then(() => withdraw(shared));
    const fromNetwork = network.response.then((response) => ({ response, isNetwork: true }));
    const good = fromNetwork.then((found) => internalOf(found.response).ok ? found : Promise.reject(found));
    const fromEvent = event.then((found) => found ?? fromNetwork);
    let winner;
    try {
        winner = await Promise.any([good, fromEvent]);
    } catch {
        forget();
        network.abort();
        return fromEvent; /* why the worker failed */
    }
    if (winner.isNetwork) {
        event.then((found) => found?.source?.cancel(), () => {});
    } else {
        forget();
        network.abort();
    }
    return winner;
}

/* Sends the request to the worker once: {answer, source}, or {response}, which needs no more; null: it leaves it to the
 * network.  `forNetwork` makes the request that a race sends there. */
async function ask(request, more, forNetwork) {
    const { controller } = environment;
    if (!controller || !/^https?:/.test(request.url)) {
        return null;
    }
    const parts = requestParts(Body.hasBody(request) ? request.clone() : request); /* the network may want it, too */
    const job = { transfer: null, reject: null, controller: null, upload: null, forget() {} };
    job.forget = onAbort(request.signal, (reason) => {
        job.upload?.cancel(reason)?.catch?.(() => {});
        if (job.transfer !== null) {
            web.cancel(job.transfer);
        }
        job.reject?.(reason);
        try {
            job.controller?.error(reason);
        } catch {
            /* it had ended already */
        }
    });
    let text;
    try {
        text = await send(parts, controller.scope, infoOf(parts, more), job);
    } catch (error) {
        job.forget();
        throw request.signal.aborted ? error : refused(request.url, error?.message ?? "the worker failed");
    }
    if (text === null) {
        job.forget();
        return null;
    }
    const answer = readHead(text);
    if (answer.race) {
        job.forget();
        web.cancel(job.transfer);
        return race(request, more, forNetwork);
    }
    if (answer.cache !== undefined) {
        job.forget();
        web.cancel(job.transfer);
        const cached = await native.chunk("cache").caches.match(request,
            answer.cache === "" ? undefined : { cacheName: answer.cache });
        return cached === undefined ? null : { response: cached };
    }
    answer.base = answer.url === "" ? undefined : answer.url; /* what a script made has no place of its own */
    const url = new URL(answer.url || request.url);
    url.hash = "";
    answer.url = url.href;
    return { answer, source: sourceOf(job) };
}

/* ---- redirects that the worker answers with */

function redirected(request, { status, headers, base }, count) {
    const at = headers.findIndex((name, i) => i % 2 === 0 && name === "location");
    if (at < 0) {
        return null;
    }
    let location;
    try {
        location = new URL(headers[at + 1], base);
    } catch {
        throw refused(request.url, `it is redirected to ${headers[at + 1]}, which is no URL`);
    }
    if (location.protocol !== "http:" && location.protocol !== "https:") {
        throw refused(request.url, `it is redirected to ${location.protocol}`);
    }
    if (count > MOST_REDIRECTS) {
        throw refused(request.url, "it is redirected too often");
    }
    location.hash ||= new URL(request.url).hash;
    const becomesGet = (status <= 302 && request.method === "POST")
        || (status === 303 && request.method !== "GET" && request.method !== "HEAD");
    const keptHeaders = [...request.headers].filter(([name]) => !becomesGet || !OF_A_BODY.includes(name));
    const { mode, credentials, cache, redirect, referrer, referrerPolicy, integrity, keepalive, signal } = request;
    return new Request(location.href, { mode, credentials, cache, redirect, referrer, referrerPolicy, integrity,
        keepalive, signal, headers: keptHeaders, method: becomesGet ? "GET" : request.method,
        body: becomesGet || !Body.hasBody(request) ? undefined : request.body, duplex: "half" });
}

/* A response like the given one, which says that it was redirected. */
function withRedirect(response) {
    const { type, url } = response;
    const { status, statusText, headers, body } = readResponse(response);
    return makeResponse(status, statusText, headers, type, { url, redirected: true, internal: null }, body,
        kindOf(body));
}

/* The controller's response to a fetch of this context; null: it leaves it to the network. */
export async function handleFetch(given) {
    let request = given;
    for (let count = 1;; count++) {
        const found = await ask(request, undefined, () => new Request(request));
        if (found === null) {
            return count === 1 ? null : withRedirect(await native.chunk("fetch_client").fromNetwork(request));
        }
        if (found.response !== undefined) {
            return found.response;
        }
        const { answer, source } = found;
        const fault = faultOf(answer, request);
        if (fault !== null) {
            source.cancel();
            throw refused(request.url, fault);
        }
        answer.redirected ||= count > 1;
        if (!REDIRECTS.includes(answer.status) || answer.type === "opaqueredirect" || answer.type === "opaque") {
            return responseOf(answer, source);
        }
        if (request.redirect === "error") {
            source.cancel();
            throw refused(request.url, "it is redirected");
        }
        if (request.redirect === "manual") {
            return responseOf({ ...answer, type: "opaqueredirect" }, source);
        }
        const next = redirected(request, answer, count);
        if (next === null) {
            return responseOf(answer, source);
        }
        source.cancel();
        request = next;
    }
}

/* ---- navigations */

/* HF-PRE: the network is asked while the worker starts.  What the event has asked for when it answered it gets; what it
 * asked for is known when the coordinator answers after that. */
function preload(makeRequest) {
    const { controller, registration } = environment;
    if (!controller || !registration?.navigationPreload?.enabled) {
        return { named: undefined, end() {} };
    }
    const { offer, withdraw } = native.chunk("shared_response");
    const network = native.chunk("fetch_client").startNetwork(
        makeRequest("service-worker-navigation-preload", registration.navigationPreload.headerValue));
    const named = offer(network.response.catch(() => null));
    return {
        named,
        async end() {
            await host.ask("navigationPreload.get", [registration.id]).catch(() => {});
            if (!withdraw(named)) {
                network.abort();
            }
        },
    };
}

/* The request of a navigation to this client's own URL, and its response as it came. */
async function navigateOnce({ destination, referrer, isReload }) {
    const { url } = environment;
    const make = (...more) => createRequest("GET", url, ["accept", "text/html,application/xhtml+xml,*/*;q=0.8",
        "upgrade-insecure-requests", "1", ...more], null, null,
        { mode: "navigate", redirect: "manual", credentials: "include", destination, referrer,
            isReloadNavigation: isReload });
    const request = make();
    const preloaded = preload(make);
    const found = await ask(request, { clientId: "", resultingClientId: environment.clientId, referrer,
        preload: preloaded.named }, make).finally(() => { preloaded.end(); });
    if (found === null) {
        return internalOf(await native.chunk("fetch_client").fromNetwork(make()));
    }
    if (found.response !== undefined) {
        return internalOf(found.response);
    }
    const { answer, source } = found;
    const fault = faultOf(answer, request);
    if (fault !== null) {
        source.cancel();
        throw refused(url, fault);
    }
    return internalOf(responseOf(answer, source));
}

/* Where the response sends the navigation to; null: nowhere. */
function nextOf(response) {
    const location = REDIRECTS.includes(response.status) ? response.headers.get("location") : null;
    if (location === null) {
        return null;
    }
    const from = new URL(environment.url);
    const to = new URL(location, from);
    to.hash ||= from.hash;
    return to;
}

/* The response of a navigation.  A redirect within the origin is followed, and this client has another URL then;
 * any other is the caller's to follow: it makes another client. */
export async function navigate({ destination = "document", referrer = "", isReload = false } = {}) {
    for (let count = 0; count <= MOST_REDIRECTS; count++) {
        const response = await navigateOnce({ destination, referrer, isReload });
        const next = nextOf(response);
        if (next === null || next.origin !== new URL(environment.url).origin) {
            return response;
        }
        Object.assign(environment, host.isConnected ? await host.ask("client.redirect", [next.href]) : { url: next.href });
    }
    throw refused(environment.url, "it is redirected too often");
}

/* What a page is made of beside scripts' own fetches: a request with a destination. */
export async function load(url, { destination, mode = "no-cors", credentials = "include" }) {
    const make = () => createRequest("GET", new URL(url, environment.url).href, ["accept", "*/*"], null, null,
        { mode, credentials, destination, referrer: "about:client" });
    return internalOf(await handleFetch(make()) ?? await native.chunk("fetch_client").fromNetwork(make()));
}
