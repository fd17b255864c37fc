/* The interface Headers, on top of a header list of the chunk "fetch". */
import { byteString, finishInterface, needArguments, take } from "./parts/webidl.js";
import { makePairIterable } from "./parts/pair_iterator.js";

const { appendHeader, fill, getHeader, immutableGuard, lowerName, noCorsGuard, normalValue,
    plainGuard, requestGuard } = native.chunk("fetch");

const UNSAFE = /[\x00-\x08\x0a-\x1f"():<>?@[\\\]{}\x7f]/;
const LANGUAGE = /^[0-9A-Za-z *,\-.;=]*$/;
const SIMPLE_TYPE =
    /^(?:application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)[\t\n\r ]*(?:;|$)/i;

/* Whether a request of the mode no-cors may have this header. */
export function isSafelisted(name, value) {
    if (value.length > 128) {
        return false;
    }
    switch (name) {
    case "accept":
        return !UNSAFE.test(value);
    case "accept-language":
    case "content-language":
        return LANGUAGE.test(value);
    case "content-type":
        return !UNSAFE.test(value) && SIMPLE_TYPE.test(value);
    default:
        return false;
    }
}

function checkGuard(guard) {
    if (guard === immutableGuard) {
        throw new TypeError("these headers cannot be changed");
    }
}

function deleteHeader(list, name) {
    let kept = 0;
    for (let i = 0; i < list.length; i += 2) {
        if (list[i] !== name) {
            list[kept++] = list[i];
            list[kept++] = list[i + 1];
        }
    }
    list.length = kept;
}

function setHeader(list, name, value) {
    const at = list.indexOf(name);
    for (let i = at; i >= 0; i = list.indexOf(name, i + 1)) {
        if (i % 2 === 0) {
            const rest = list.splice(i);
            deleteHeader(rest, name);
            list.push(name, value, ...rest);
            return;
        }
    }
    list.push(name, value);
}

/* [[name, value], ...] by name; only Set-Cookie comes more than once. */
function sortAndCombine(list) {
    const sorted = new Set();
    for (let i = 0; i < list.length; i += 2) {
        sorted.add(list[i]);
    }
    const pairs = [];
    for (const name of [...sorted].sort()) {
        if (name !== "set-cookie") {
            pairs.push([name, getHeader(list, name)]);
            continue;
        }
        for (let i = 0; i < list.length; i += 2) {
            if (list[i] === name) {
                pairs.push([name, list[i + 1]]);
            }
        }
    }
    return pairs;
}

/* A HeadersInit with an iterator as a flat list of strings; its user checks them. */
export function readIterable(init, method) {
    if (typeof method !== "function") {
        throw new TypeError("headers must be a sequence or a record");
    }
    if (method === iterate && listOf(init) !== undefined) {
        return listOf(init).slice();
    }
    const flat = [];
    for (const pair of { [Symbol.iterator]: () => method.call(init) }) {
        if ((typeof pair !== "object" && typeof pair !== "function") || pair === null
                || typeof pair[Symbol.iterator] !== "function") {
            throw new TypeError("a header must be a pair of a name and a value");
        }
        const items = Array.from(pair, (item) => byteString(item, "a header"));
        if (items.length !== 2) {
            throw new TypeError("a header must be a pair of a name and a value");
        }
        flat.push(items[0], items[1]);
    }
    return flat;
}

const fromHost = Symbol("made by the host");

export const Headers = finishInterface(class Headers {
    #list;
    #guard;
    #pairs = null; /* sorted and combined, until the next change */

    constructor(init = undefined, list = undefined, guard = undefined) {
        if (init === fromHost) {
            this.#list = list;
            this.#guard = guard;
            return;
        }
        this.#list = [];
        this.#guard = plainGuard;
        if (init !== undefined) {
            fill(this.#list, plainGuard, init);
        }
    }

    append(name, value) {
        this.#list;
        needArguments(arguments.length, 2, "Headers.append");
        const text = byteString(value, "a header's value");
        const lower = lowerName(`${name}`);
        const normal = normalValue(text);
        checkGuard(this.#guard);
        appendHeader(this.#list, this.#guard, lower, normal);
        this.#pairs = null;
    }

    delete(name) {
        this.#list;
        needArguments(arguments.length, 1, "Headers.delete");
        const lower = lowerName(`${name}`);
        checkGuard(this.#guard);
        if (this.#guard === requestGuard && native.isForbidden?.(lower, "")) {
            return;
        }
        deleteHeader(this.#list, lower);
        this.#pairs = null;
    }

    get(name) {
        this.#list;
        needArguments(arguments.length, 1, "Headers.get");
        return getHeader(this.#list, lowerName(`${name}`));
    }

    getSetCookie() {
        const list = this.#list;
        return list.filter((_, i) => i % 2 === 1 && list[i - 1] === "set-cookie");
    }

    has(name) {
        this.#list;
        needArguments(arguments.length, 1, "Headers.has");
        return getHeader(this.#list, lowerName(`${name}`)) !== null;
    }

    set(name, value) {
        this.#list;
        needArguments(arguments.length, 2, "Headers.set");
        const text = byteString(value, "a header's value");
        const lower = lowerName(`${name}`);
        const normal = normalValue(text);
        checkGuard(this.#guard);
        if (this.#guard === requestGuard && native.isForbidden?.(lower, normal)) {
            return;
        }
        if (this.#guard !== noCorsGuard || isSafelisted(lower, normal)) {
            setHeader(this.#list, lower, normal);
            this.#pairs = null;
        }
    }

    /* undefined if it is no Headers object */
    static listOf(value) {
        return #list in value ? value.#list : undefined;
    }

    static pairsOf(headers) {
        return headers.#pairs ??= sortAndCombine(headers.#list);
    }
}, "Headers");

export const listOf = take(Headers, "listOf");
const pairsOf = take(Headers, "pairsOf");

const iterate = makePairIterable(Headers, "Headers", pairsOf);
Object.defineProperty(Headers, "length", { value: 0, configurable: true });

export function makeHeaders(list, guard) {
    return new Headers(fromHost, list, guard);
}
