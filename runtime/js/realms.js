/* muster.openRealm(): a further global object in the same worker, as a frame is to a page. */
const ports = native.chunk("ports");
const host = native.chunk("host_port");

/* { global, clientId, ready, evaluate(text, url), navigate(options), fileList(files), close() }.  `options.parent`:
 * what an earlier call gave, for a frame in that realm; else this realm is its parent.  `ready` settles when the
 * coordinator has taken it as a client of its own: with what it says of it, or null where there is no coordinator. */
export function openRealm(url, { parent, frameType = "nested", type = "window" } = {}) {
    const [theirs, ours] = host.isConnected ? ports.makePair() : [null, null];
    const [number, global] = native.realmOpen(`${url}`, ours);
    const parentId = parent?.clientId ?? host.environment.clientId;
    const ready = theirs === null ? Promise.resolve(null)
        : host.ask("client.open", [{ url: `${url}`, type, frameType, parent: parentId }], { handles: [theirs] });
    ready.catch(() => {}); /* who does not ask need not know */
    return {
        global,
        ready,
        get clientId() {
            return native.realmChunk(number, "host_port").environment.clientId;
        },
        get url() {
            return native.realmChunk(number, "host_port").environment.url;
        },
        /* What the script throws is reported to the realm's own handlers. */
        evaluate: (text, source = url) => native.realmEvaluate(number, `${text}`, `${source}`),
        /* The request of a navigation to its URL, by way of its controller: a promise of the response.  After a
         * redirect within the origin the URL is another. */
        navigate: (given) => native.realmChunk(number, "handle_fetch").navigate(given),
        /* What service workers see of it: nobody looks at it until that is said. */
        show: (isVisible, isFocused) => native.realmChunk(number, "host_port").tell("client.show", [isVisible, isFocused]),
        /* A part of its page: a promise of the response, whatever its origin. */
        load: (source, given) => native.realmChunk(number, "handle_fetch").load(`${source}`, given),
        /* What a file input of its page has. */
        fileList: (files) => native.realmChunk(number, "blob").fileListOf(files),
        close: () => native.realmClose(number),
    };
}
