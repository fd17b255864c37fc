/* A response that a client waits for while its service worker has the event: the event may have it as well.
 *
 * The client offers the promise, and names it in the event's info.  A service worker that wants it makes a channel, and
 * the coordinator passes one end to that client, which answers once: with null, or the response, whose body is a stream.
 * What is being read already cannot be had any more. */
const host = native.chunk("host_port");
const ports = native.chunk("ports");
const { internalOf, makeResponse, NONE, STREAM } = native.chunk("fetch");

/* ---- the client */

const offered = new Map(); /* token -> the promise of a response, or of null */
let lastToken = 0;

function copyOf(response) {
    if (response === null) {
        return null;
    }
    let copy;
    try {
        copy = response.clone();
    } catch {
        return null;
    }
    const { type, url, redirected } = copy;
    const { status, statusText, headers, body } = internalOf(copy); /* of a redirect that is not followed */
    return { status, statusText, headers: [...headers].flat(), type, url, redirected, body };
}

async function give(port, token) {
    const offer = offered.get(token) ?? { response: Promise.resolve(null) };
    offer.isTaken = true;
    const copy = await offer.response.then(copyOf);
    try {
        port.postMessage(copy, copy?.body ? [copy.body] : []);
    } catch {
        copy?.body?.cancel().catch(() => {}); /* the other end is gone, or full */
    }
    port.close();
}

host.on("response.wanted", ({ ports: [port] }, token) => {
    if (port !== undefined) {
        give(port, token);
    }
});

/* What the event is told.  The promise is of a response that its script may read, or of null. */
export function offer(response) {
    const token = ++lastToken;
    offered.set(token, { response, isTaken: false });
    return { clientId: host.environment.clientId, token };
}

/* Whether it was taken. */
export function withdraw({ token }) {
    const { isTaken } = offered.get(token);
    offered.delete(token);
    return isTaken;
}

/* ---- the service worker */

function responseOf({ status, statusText, headers, type, url, redirected, body }) {
    const kind = body === null ? NONE : STREAM;
    const network = { url, redirected, internal: null };
    if (type !== "opaqueredirect") {
        return makeResponse(status, statusText, headers, type, network, body, kind);
    }
    network.internal = makeResponse(status, statusText, headers, "basic", { ...network }, body, kind);
    return makeResponse(0, "", [], type, network, null, NONE);
}

/* null: it cannot be had. */
export async function take({ clientId, token }) {
    const { port1, port2 } = new ports.MessageChannel();
    const hold = native.tokenTake("response of a client");
    try {
        const given = await new Promise((resolve) => {
            port1.onmessage = ({ data }) => resolve(data);
            port1.onclose = () => resolve(null);
            host.tell("response.take", [clientId, token], { data: null, transfer: [port2] });
        });
        return given === null ? null : responseOf(given);
    } finally {
        port1.close();
        native.tokenDrop(hold);
    }
}
