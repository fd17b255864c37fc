/* URL and URLSearchParams.
 *
 * Most URLs that a worker meets are of http or https and in their final form
 * already.  One regular expression recognizes those and takes them apart; the
 * parser proper is the chunk "url_parser", which all others load. */
import { finishInterface, needArguments, take, usvString } from "./parts/webidl.js";
import { makePairIterable } from "./parts/pair_iterator.js";
import { parseUrlencoded, serializeUrlencoded } from "./parts/urlencoded.js";

/* The path and what follows, of characters that the parser would leave as they are. */
const REST = "(/[!$%&'()*+,\\-./0-9:;=@A-Z[\\]_a-z|~]*)?(\\?[!$-&(-;=?-~]*)?(#[!#-;=?-_a-~]*)?$";
const BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
/* A name whose last part begins with a letter cannot be an address in disguise. */
const HOST = `((?:[a-z0-9_-]+\\.)*[a-z][a-z0-9_-]*|(?:${BYTE}\\.){3}${BYTE})`;
const FINAL = new RegExp(`^(https?:)//${HOST}(?::([1-9][0-9]{0,4}))?${REST}`);
const FINAL_PATH = new RegExp(`^${REST}`);
const DOTS = /\/(?:\.|%2[Ee]){1,2}(?:\/|$)/;

let given = null; /* what the private constructor takes */

/* The parts of a URL in its final form; undefined for all others. */
function quickParts(text) {
    const match = FINAL.exec(text);
    if (match === null) {
        return undefined;
    }
    const protocol = match[1];
    const hostname = match[2];
    const pathname = match[4] ?? "/";
    let port = match[3] ?? "";
    if ((pathname.includes("/.") || pathname.includes("/%2")) && DOTS.test(pathname)) {
        return undefined;
    }
    if (hostname.includes("xn--") || (port !== "" && Number(port) > 65535)) {
        return undefined;
    }
    if (port === (protocol === "https:" ? "443" : "80")) {
        port = "";
    }
    const origin = port === "" ? `${protocol}//${hostname}` : `${protocol}//${hostname}:${port}`;
    return { protocol, username: "", password: "", hostname, port, pathname,
        beforeSearch: origin + pathname, search: match[5] ?? "", hash: match[6] ?? "", origin };
}

/* The parts, or null if the text is no URL. */
function parse(text, base) {
    if (base === undefined) {
        return quickParts(text) ?? native.chunk("url_parser").parse(text, undefined);
    }
    const baseParts = quickParts(base);
    if (baseParts !== undefined) {
        const quick = quickParts(text.startsWith("/") && FINAL_PATH.test(text) && text[1] !== "/"
            ? baseParts.origin + text : text);
        if (quick !== undefined) {
            return quick;
        }
    }
    return native.chunk("url_parser").parse(text, base);
}

function takeArguments(url, base) {
    return [usvString(url), base === undefined ? undefined : usvString(base)];
}

export const URL = finishInterface(class URL {
    #parts;
    #params = null;

    constructor(url, base = undefined) {
        if (given !== null) {
            this.#parts = given;
            given = null;
            return;
        }
        needArguments(arguments.length, 1, "URL");
        const text = usvString(url);
        const baseText = base === undefined ? undefined : usvString(base);
        const parts = parse(text, baseText);
        if (parts === null) {
            throw new TypeError(baseText === undefined ? `Invalid URL: ${text}`
                : `Invalid URL: ${text} with the base ${baseText}`);
        }
        this.#parts = parts;
    }

    static parse(url, base = undefined) {
        needArguments(arguments.length, 1, "URL.parse");
        const parts = parse(...takeArguments(url, base));
        if (parts === null) {
            return null;
        }
        given = parts;
        return new URL();
    }

    static createObjectURL(object) {
        needArguments(arguments.length, 1, "URL.createObjectURL");
        return native.chunk("blob").createObjectURL(object);
    }

    static revokeObjectURL(url) {
        needArguments(arguments.length, 1, "URL.revokeObjectURL");
        native.chunk("blob").revokeObjectURL(url);
    }

    static canParse(url, base = undefined) {
        needArguments(arguments.length, 1, "URL.canParse");
        return parse(...takeArguments(url, base)) !== null;
    }

    get href() {
        const parts = this.#parts;
        return parts.beforeSearch + parts.search + parts.hash;
    }

    set href(value) {
        const text = usvString(value);
        const parts = parse(text, undefined);
        if (parts === null) {
            throw new TypeError(`Invalid URL: ${text}`);
        }
        this.#become(parts);
    }

    get origin() {
        return this.#parts.origin;
    }

    get protocol() {
        return this.#parts.protocol;
    }

    set protocol(value) {
        this.#change("protocol", value);
    }

    get username() {
        return this.#parts.username;
    }

    set username(value) {
        this.#change("username", value);
    }

    get password() {
        return this.#parts.password;
    }

    set password(value) {
        this.#change("password", value);
    }

    get host() {
        const { hostname, port } = this.#parts;
        return port === "" ? hostname : `${hostname}:${port}`;
    }

    set host(value) {
        this.#change("host", value);
    }

    get hostname() {
        return this.#parts.hostname;
    }

    set hostname(value) {
        this.#change("hostname", value);
    }

    get port() {
        return this.#parts.port;
    }

    set port(value) {
        this.#change("port", value);
    }

    get pathname() {
        return this.#parts.pathname;
    }

    set pathname(value) {
        this.#change("pathname", value);
    }

    get search() {
        const { search } = this.#parts;
        return search === "?" ? "" : search;
    }

    set search(value) {
        this.#change("search", value);
    }

    get searchParams() {
        this.#parts;
        return this.#params ??= linkedParams(this, this.#query());
    }

    get hash() {
        const { hash } = this.#parts;
        return hash === "#" ? "" : hash;
    }

    set hash(value) {
        this.#change("hash", value);
    }

    toString() {
        return this.href;
    }

    toJSON() {
        return this.href;
    }

    #query() {
        return this.#parts.search.slice(1);
    }

    #change(member, value) {
        this.#parts;
        const text = usvString(value);
        this.#become(native.chunk("url_parser").change(this.href, member, text));
    }

    #become(parts) {
        const changed = parts.search !== this.#parts.search;
        this.#parts = parts;
        if (this.#params !== null && changed) {
            replacePairs(this.#params, this.#query());
        }
    }

    /* The URLSearchParams object of the URL has changed. */
    static setQuery(url, query) {
        url.#parts = { ...url.#parts, search: query === "" ? "" : `?${query}` };
    }
}, "URL");

const setQuery = take(URL, "setQuery");

Object.defineProperty(URL, "length", { value: 1, configurable: true });

/* ---- URLSearchParams */

function isObject(value) {
    return (typeof value === "object" && value !== null) || typeof value === "function";
}

function readSequence(init, method) {
    return Array.from({ [Symbol.iterator]: () => method.call(init) }, (pair) => {
        if (!isObject(pair) || typeof pair[Symbol.iterator] !== "function") {
            throw new TypeError("URLSearchParams: an item is no pair");
        }
        return Array.from(pair, usvString);
    });
}

function readRecord(init) {
    const pairs = new Map(); /* two names may be the same once they are well-formed */
    for (const key of Reflect.ownKeys(init)) {
        if (Object.prototype.propertyIsEnumerable.call(init, key)) {
            if (typeof key === "symbol") {
                throw new TypeError("URLSearchParams: a name cannot be a symbol");
            }
            pairs.set(usvString(key), usvString(init[key]));
        }
    }
    return [...pairs];
}

function readInit(init) {
    if (!isObject(init)) {
        const text = usvString(init);
        return parseUrlencoded(text.startsWith("?") ? text.slice(1) : text);
    }
    const method = init[Symbol.iterator];
    if (method === undefined || method === null) {
        return readRecord(init);
    }
    if (typeof method !== "function") {
        throw new TypeError("URLSearchParams: Symbol.iterator is not a function");
    }
    const pairs = readSequence(init, method);
    if (pairs.some((pair) => pair.length !== 2)) {
        throw new TypeError("URLSearchParams: an item is no pair");
    }
    return pairs;
}

export const URLSearchParams = finishInterface(class URLSearchParams {
    #pairs;
    #url = null;

    constructor(init = "") {
        this.#pairs = readInit(init);
    }

    get size() {
        return this.#pairs.length;
    }

    append(name, value) {
        this.#pairs;
        needArguments(arguments.length, 2, "URLSearchParams.append");
        this.#pairs.push([usvString(name), usvString(value)]);
        this.#update();
    }

    delete(name, value = undefined) {
        this.#pairs;
        needArguments(arguments.length, 1, "URLSearchParams.delete");
        const isIt = matcher(name, value);
        this.#pairs = this.#pairs.filter((pair) => !isIt(pair));
        this.#update();
    }

    get(name) {
        this.#pairs;
        needArguments(arguments.length, 1, "URLSearchParams.get");
        const wanted = usvString(name);
        for (const pair of this.#pairs) {
            if (pair[0] === wanted) {
                return pair[1];
            }
        }
        return null;
    }

    getAll(name) {
        this.#pairs;
        needArguments(arguments.length, 1, "URLSearchParams.getAll");
        return this.#pairs.filter(matcher(name, undefined)).map((pair) => pair[1]);
    }

    has(name, value = undefined) {
        this.#pairs;
        needArguments(arguments.length, 1, "URLSearchParams.has");
        return this.#pairs.some(matcher(name, value));
    }

    set(name, value) {
        this.#pairs;
        needArguments(arguments.length, 2, "URLSearchParams.set");
        const pair = [usvString(name), usvString(value)];
        const at = this.#pairs.findIndex((one) => one[0] === pair[0]);
        if (at < 0) {
            this.#pairs.push(pair);
        } else {
            this.#pairs[at] = pair;
            this.#pairs = this.#pairs.filter((one, i) => i <= at || one[0] !== pair[0]);
        }
        this.#update();
    }

    sort() {
        this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
        this.#update();
    }

    toString() {
        return serializeUrlencoded(this.#pairs);
    }

    #update() {
        if (this.#url !== null) {
            setQuery(this.#url, serializeUrlencoded(this.#pairs));
        }
    }

    static pairsOf(params) {
        return params.#pairs;
    }

    static isIt(value) {
        return isObject(value) && #pairs in value;
    }

    static linked(url, query) {
        const params = new URLSearchParams();
        params.#pairs = parseUrlencoded(query);
        params.#url = url;
        return params;
    }

    static replace(params, query) {
        params.#pairs = parseUrlencoded(query);
    }
}, "URLSearchParams");

function matcher(name, value) {
    const wantedName = usvString(name);
    if (value === undefined) {
        return (pair) => pair[0] === wantedName;
    }
    const wantedValue = usvString(value);
    return (pair) => pair[0] === wantedName && pair[1] === wantedValue;
}

const linkedParams = take(URLSearchParams, "linked");
const replacePairs = take(URLSearchParams, "replace");
const pairsOf = take(URLSearchParams, "pairsOf");
makePairIterable(URLSearchParams, "URLSearchParams", pairsOf);
Object.defineProperty(URLSearchParams, "length", { value: 0, configurable: true });

/* ---- for other chunks */

const isSearchParams = take(URLSearchParams, "isIt");

function searchParamsText(params) {
    return serializeUrlencoded(pairsOf(params));
}

const others = native.bodyOf;
native.bodyOf = (value) => (isSearchParams(value)
    ? { data: searchParamsText(value), type: "application/x-www-form-urlencoded;charset=UTF-8" }
    : others?.(value));

if (native.identity?.().type === "service") { /* whose blobs would not outlive it */
    delete URL.createObjectURL;
    delete URL.revokeObjectURL;
}
