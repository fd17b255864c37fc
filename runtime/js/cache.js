/* CacheStorage and Cache (Service Workers standard, "Cache"): the coordinator keeps the caches of a storage key and
 * matches requests, for all contexts of it alike; here records are made of requests and responses, and these of
 * records.  Bodies are read to their end before they are kept. */
import { dictionary, finishInterface, needArguments } from "./parts/webidl.js";

export default function (native) {
    const host = native.chunk("host_port");
    const { domError } = native.chunk("core2");
    const { createRequest, makeResponse, readAnyResponse, kindOf, NONE } = native.chunk("fetch");
    const { isRequest, Request } = native.chunk("request");
    const KEY = Symbol("made by the host");
    const ABORTED = "another request of the same addAll() failed";

    /* ---- requests */

    const toRequest = (input) => isRequest(input) ? input : new Request(input);
    const withoutFragment = (url) => url.split("#", 1)[0];
    const isWeb = (request) => /^https?:/.test(request.url);

    function readOptions(given, what) {
        const options = dictionary(given, `${what}: the options`);
        return {
            ignoreSearch: !!options?.ignoreSearch, ignoreMethod: !!options?.ignoreMethod,
            ignoreVary: !!options?.ignoreVary,
            cacheName: options?.cacheName === undefined ? undefined : `${options.cacheName}`,
        };
    }

    /* What the coordinator looks for; null: nothing can match. */
    function queryOf(input, { ignoreSearch, ignoreMethod, ignoreVary }) {
        if (input === undefined) {
            return {};
        }
        const request = toRequest(input);
        return request.method !== "GET" && !ignoreMethod ? null : {
            url: withoutFragment(request.url), headers: Object.fromEntries(request.headers), ignoreSearch, ignoreVary,
        };
    }

    function refuseRequest(request, what) {
        if (!isWeb(request) || request.method !== "GET") {
            throw new TypeError(`${what}: ${request.method} ${request.url} cannot be kept`);
        }
    }

    /* ---- records */

    function varyNames(headers) {
        const names = [];
        for (let i = 0; i < headers.length; i += 2) {
            if (headers[i].toLowerCase() === "vary") {
                names.push(...headers[i + 1].split(",").map((name) => name.trim().toLowerCase()));
            }
        }
        return names.filter((name) => name !== "");
    }

    /* Takes the response's body, too; null: there is none. */
    function take(request, response, what) {
        const read = readAnyResponse(response);
        if (read === undefined) {
            throw new TypeError(`${what}: this is no Response`);
        }
        const { status, statusText, headers, body, network, type } = read;
        const names = varyNames(headers);
        if (status === 206 || names.includes("*")) {
            throw new TypeError(`${what}: ${status === 206 ? "a part of a response" : "what varies by all"} cannot be kept`);
        }
        const sent = Object.fromEntries(request.headers);
        return { body, record: {
            url: withoutFragment(request.url), headers: sent, fullUrl: request.url,
            varying: names.flatMap((name) => [name, sent[name] ?? null]),
            status, statusText, list: headers.slice(), type,
            place: network === null ? null : { url: network.url, redirected: network.redirected },
        } };
    }

    async function bytesOf(body) {
        if (body === null || body instanceof Uint8Array) {
            return body;
        }
        return typeof body === "string" ? native.utf8Encode(body)
            : native.chunk("body_streams").gather(() => body.pull());
    }

    function responseOf({ status, statusText, list, type, place }, bytes) {
        const network = place === null ? null : { ...place, internal: null };
        if (type !== "opaque" && type !== "opaqueredirect") {
            return makeResponse(status, statusText, list, type, network, bytes, kindOf(bytes));
        }
        const internal = makeResponse(status, statusText, list, "basic", network, bytes, kindOf(bytes));
        return makeResponse(0, "", [], type, { url: type === "opaque" ? "" : place.url, redirected: false, internal },
            null, NONE);
    }

    /* ---- Cache */

    /* undefined: it was removed meanwhile. */
    async function read(cache, [number, record]) {
        const answer = await host.ask("cache.read", [cache, number]);
        return answer === false ? undefined : responseOf(record, answer?.data ?? null);
    }

    async function matchIn(cache, query) {
        for (const found of await host.ask("cache.query", [cache, query])) {
            const response = await read(cache, found);
            if (response !== undefined) {
                return response;
            }
        }
        return undefined;
    }

    /* What is being written is finished before an idle worker ends, its body included. */
    async function keep(cache, record, body) {
        const token = native.tokenTake(`cache write ${record.url}`);
        try {
            const bytes = await bytesOf(body);
            await host.ask("cache.put", [cache, record], bytes === null ? undefined : { data: bytes });
        } finally {
            native.tokenDrop(token);
        }
    }

    function refuseDuplicates(records) {
        for (const [i, one] of records.entries()) {
            for (const other of records.slice(i + 1)) {
                const differs = (name) => (one.headers[name] ?? null) !== (other.headers[name] ?? null);
                if (one.url === other.url && !one.varying.some((name, at) => at % 2 === 0 && differs(name))) {
                    throw domError("InvalidStateError", `addAll: ${one.url} is there twice`);
                }
            }
        }
    }

    async function fetchForCache(request, signal) {
        const response = await native.chunk("fetch_client").fetch(new Request(request, { signal }));
        if (!response.ok) {
            throw new TypeError(`${request.url} was answered with ${response.type} ${response.status}`);
        }
        const { record, body } = take(request, response, "addAll");
        return { record, body: await bytesOf(body) };
    }

    async function addAll(cache, inputs) {
        const requests = inputs.map(toRequest);
        requests.forEach((request) => refuseRequest(request, "addAll"));
        const { AbortController } = native.chunk("dom");
        const controller = new AbortController();
        const signal = controller.signal;
        let all;
        try {
            all = await Promise.all(requests.map((request) => fetchForCache(request, signal)));
        } catch (error) {
            controller.abort(domError("AbortError", ABORTED));
            throw error;
        }
        refuseDuplicates(all.map(({ record }) => record));
        await Promise.all(all.map(({ record, body }) => keep(cache, record, body)));
    }

    const noConstructor = (made, name) =>
        Object.defineProperty(finishInterface(made, name), "length", { value: 0, configurable: true });

    const ownedBy = (key) => {
        if (key !== KEY) {
            throw new TypeError("Illegal constructor");
        }
    };

    const Cache = noConstructor(class Cache {
        #id;

        constructor(key, id) {
            ownedBy(key);
            this.#id = id;
        }

        async match(request, options = undefined) {
            const id = this.#id;
            needArguments(arguments.length, 1, "Cache.match");
            const query = queryOf(request ?? `${request}`, readOptions(options, "Cache.match"));
            return query === null ? undefined : matchIn(id, query);
        }

        async matchAll(request = undefined, options = undefined) {
            const id = this.#id;
            const query = queryOf(request, readOptions(options, "Cache.matchAll"));
            const found = query === null ? [] : await host.ask("cache.query", [id, query]);
            const responses = await Promise.all(found.map((one) => read(id, one)));
            return Object.freeze(responses.filter((one) => one !== undefined));
        }

        async add(request) {
            const id = this.#id;
            needArguments(arguments.length, 1, "Cache.add");
            await addAll(id, [request]);
        }

        async addAll(requests) {
            const id = this.#id;
            needArguments(arguments.length, 1, "Cache.addAll");
            await addAll(id, native.chunk("core2").sequenceOf(requests, "Cache.addAll: the list"));
        }

        async put(request, response) {
            const id = this.#id;
            needArguments(arguments.length, 2, "Cache.put");
            const wanted = toRequest(request);
            refuseRequest(wanted, "Cache.put");
            const { record, body } = take(wanted, response, "Cache.put");
            await keep(id, record, body);
        }

        async delete(request, options = undefined) {
            const id = this.#id;
            needArguments(arguments.length, 1, "Cache.delete");
            const query = queryOf(request ?? `${request}`, readOptions(options, "Cache.delete"));
            return query !== null && host.ask("cache.delete", [id, query]);
        }

        async keys(request = undefined, options = undefined) {
            const id = this.#id;
            const query = queryOf(request, readOptions(options, "Cache.keys"));
            const found = query === null ? [] : await host.ask("cache.query", [id, query]);
            return Object.freeze(found.map(([, { fullUrl, headers }]) =>
                createRequest("GET", fullUrl, Object.entries(headers).flat(), null, null)));
        }
    }, "Cache");

    /* ---- CacheStorage */

    const CacheStorage = noConstructor(class CacheStorage {
        #key;

        constructor(key) {
            ownedBy(key);
            this.#key = key;
        }

        async match(request, options = undefined) {
            this.#key;
            needArguments(arguments.length, 1, "CacheStorage.match");
            const given = readOptions(options, "CacheStorage.match");
            const query = queryOf(request ?? `${request}`, given);
            if (query === null || (given.cacheName !== undefined && !await host.ask("caches.has", [given.cacheName]))) {
                return undefined;
            }
            const names = given.cacheName !== undefined ? [given.cacheName] : await host.ask("caches.keys");
            for (const name of names) {
                const response = await matchIn(await host.ask("caches.open", [name]), query);
                if (response !== undefined) {
                    return response;
                }
            }
            return undefined;
        }

        async has(name) {
            this.#key;
            needArguments(arguments.length, 1, "CacheStorage.has");
            return host.ask("caches.has", [`${name}`]);
        }

        async open(name) {
            this.#key;
            needArguments(arguments.length, 1, "CacheStorage.open");
            return new Cache(KEY, await host.ask("caches.open", [`${name}`]));
        }

        async delete(name) {
            this.#key;
            needArguments(arguments.length, 1, "CacheStorage.delete");
            return host.ask("caches.delete", [`${name}`]);
        }

        async keys() {
            this.#key;
            return host.ask("caches.keys");
        }
    }, "CacheStorage");

    return { Cache, CacheStorage, caches: new CacheStorage(KEY) };
}
