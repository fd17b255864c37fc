/* Response, and what the engine makes requests and reads responses with.
 *
 * The common way through a worker is short: a Response with a string and a few
 * headers, read by the engine once.  So a body stays what it was given as until
 * somebody asks for something else, header lists are flat arrays
 * (parts/header_list.js), and Headers objects, streams and URLs are made when a script
 * looks at them.  What is not needed for that way is in the chunks "request",
 * "headers" and "body_streams".
 *
 * As in other hosts that answer requests, a worker may answer with Set-Cookie.  Which
 * headers of a request a script may not set, the chunk "request" says. */
import { byteString, bytesOf, dictionary, finishInterface, needArguments, ownBody, shareKin, take, usvString }
    from "./parts/webidl.js";
import { appendHeader, fill, getHeader, immutableGuard, lowerName, noCorsGuard, normalValue,
    plainGuard, plainHeaders, requestGuard, responseGuard } from "./parts/header_list.js";

const { utf8Encode, utf8Decode } = native; /* a look-up there costs as much as the call */
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;
const TEXT_TYPE = "text/plain;charset=UTF-8";

/* What the source of a body is.  (Blobs and forms are bytes: see the chunk "blob".) */
const NONE = 0;
const STRING = 1;
const BYTES = 2;
const PULL = 3; /* the host's {pull, cancel} */
const STREAM = 4;

/* ---- bodies */

/* The second and third answer of extract(), and both for other chunks. */
let extractedKind = NONE;
let extractedType = null;

function extracted() {
    return { kind: extractedKind, type: extractedType };
}

/* The source that a BodyInit stands for, copied where the script could change
 * it later. */
function extract(value) {
    if (typeof value === "string") {
        extractedKind = STRING;
        extractedType = TEXT_TYPE;
        return value;
    }
    extractedType = null;
    if (typeof value === "object") {
        if (native.isReadableStream?.(value)) {
            const { isDisturbed } = native.chunk("streams");
            if (isDisturbed(value) || value.locked) {
                throw new TypeError("the stream for the body was used already or is locked");
            }
            extractedKind = STREAM;
            return value;
        }
        const bytes = bytesOf(value);
        if (bytes !== undefined) {
            extractedKind = BYTES;
            return bytes.slice();
        }
        const made = native.bodyOf?.(value); /* of search parameters, a Blob, a form */
        if (made !== undefined) {
            extractedKind = typeof made.data === "string" ? STRING : BYTES;
            extractedType = made.type;
            return made.data;
        }
    }
    const text = usvString(value);
    extractedKind = STRING;
    extractedType = TEXT_TYPE;
    return text;
}

function asText(data) {
    if (typeof data === "string") {
        const text = data.toWellFormed();
        return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    }
    const bom = data[0] === 0xef && data[1] === 0xbb && data[2] === 0xbf;
    return utf8Decode(bom ? data.subarray(3) : data, false);
}

function asBytes(data) {
    return typeof data === "string" ? utf8Encode(data) : data;
}

function asBuffer(data) {
    const bytes = asBytes(data);
    return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
}

const streams = () => native.chunk("body_streams");

let headersChunk = null;

function makeHeaders(list, guard) {
    headersChunk ??= native.chunk("headers");
    return headersChunk.makeHeaders(list, guard);
}

/* The body mixin.  Its members are copied to Request and Response, and it is no
 * link of their prototype chains: only its constructor and its fields are shared. */
class Body {
    #source;
    #kind;
    #used = false;
    #shared = false; /* a clone has the same bytes: give copies away */

    constructor(source, kind) {
        this.#source = source;
        this.#kind = kind;
    }

    get body() {
        return this.#kind === NONE ? null : this.#stream();
    }

    get bodyUsed() {
        return this.#kind === STREAM ? native.chunk("streams").isDisturbed(this.#source)
            : this.#used;
    }

    async arrayBuffer() {
        return asBuffer(await this.#drain());
    }

    blob() {
        return native.chunk("blob").readBlob(this);
    }

    async bytes() {
        return asBytes(await this.#drain());
    }

    formData() {
        return native.chunk("form_data").readFormData(this);
    }

    async json() {
        return JSON.parse(asText(await this.#drain()));
    }

    async text() {
        return asText(await this.#drain());
    }

    /* All of the body, which is used then: a string, a Uint8Array, or a promise of one. */
    #drain() {
        if (this.#unusable()) {
            throw new TypeError("the body was used already or is locked");
        }
        switch (this.#kind) {
        case NONE:
            return "";
        case PULL:
            this.#used = true;
            return streams().gather(() => this.#source.pull());
        case STREAM:
            return streams().gather(streams().sourceOfStream(this.#source).pull);
        default:
            this.#used = true;
            return this.#shared && this.#kind === BYTES ? this.#source.slice() : this.#source;
        }
    }

    #unusable() {
        return this.#kind === STREAM
            ? this.#source.locked || native.chunk("streams").isDisturbed(this.#source)
            : this.#used;
    }

    #stream() {
        const source = this.#source;
        if (this.#kind === STREAM) {
            return source;
        }
        const used = this.#used;
        const { streamOfBytes, streamOfSource } = streams();
        this.#source = used ? streamOfBytes(new Uint8Array(0))
            : this.#kind === PULL ? streamOfSource(source)
                : streamOfBytes(this.#shared && this.#kind === BYTES ? source.slice()
                    : asBytes(source));
        this.#kind = STREAM;
        if (used) {
            this.#source.getReader().read(); /* disturbed and locked from then on */
        }
        return this.#source;
    }

    static isUnusable(body) {
        return body.#unusable();
    }

    static hasBody(body) {
        return body.#kind !== NONE;
    }

    /* For moveBody() and cloneBody() of the chunk "body_streams". */
    static get(body) {
        return { source: body.#source, kind: body.#kind, shared: body.#shared };
    }

    static set(body, source, kind, used = false, shared = false) {
        body.#source = source;
        body.#kind = kind;
        body.#used = used;
        body.#shared = shared;
    }

    static takeForHost(body) {
        if (body.#unusable()) {
            throw new TypeError("the body of the response was used already or is locked");
        }
        if (body.#kind === STREAM) {
            return streams().takeBacking(body.#source) ?? streams().sourceOfStream(body.#source);
        }
        body.#used = body.#kind !== NONE;
        return body.#source;
    }
}

function mixIn(constructor, name) {
    for (const key of Object.getOwnPropertyNames(Body.prototype)) {
        if (key !== "constructor") {
            Object.defineProperty(constructor.prototype, key,
                Object.getOwnPropertyDescriptor(Body.prototype, key));
        }
    }
    Object.setPrototypeOf(constructor.prototype, Object.prototype);
    return finishInterface(constructor, name);
}

/* ---- Response */

const Response = mixIn(class Response extends Body {
    #status = 200;
    #statusText = "";
    #list = [];
    #headers = null;
    #guard = responseGuard;
    #type = "default";
    #network = null; /* of one that fetch() made: {url, redirected, internal} */

    constructor(body = null, init = undefined) {
        if (body === null) {
            super(null, NONE);
            if (init !== undefined) {
                this.#initialize(init, null, false);
            }
            return;
        }
        const source = extract(body);
        const type = extractedType;
        super(source, extractedKind);
        if (init !== undefined) {
            this.#initialize(init, type, true);
        } else if (type !== null) {
            this.#list.push("content-type", type);
        }
    }

    #initialize(init, type, hasSource) {
        const given = dictionary(init, "Response: the options");
        if (given !== undefined) {
            const headers = given.headers;
            const status = given.status;
            const statusText = given.statusText;
            if (status !== undefined) {
                this.#setStatus(status);
            }
            if (statusText !== undefined) {
                this.#setStatusText(statusText);
            }
            if (headers !== undefined) {
                fill(this.#list, responseGuard, headers);
            }
        }
        if (hasSource) {
            const code = this.#status;
            if (code === 204 || code === 205 || code === 304) {
                throw new TypeError(`Response: the status ${code} does not go with a body`);
            }
            if (type !== null && getHeader(this.#list, "content-type") === null) {
                this.#list.push("content-type", type);
            }
        }
    }

    #setStatus(value) {
        const number = Number(value);
        const status = Number.isFinite(number) ? Math.trunc(number) & 0xffff : 0;
        if (status < 200 || status > 599) {
            throw new RangeError(`Response: ${status} is not a status from 200 to 599`);
        }
        this.#status = status;
    }

    #setStatusText(value) {
        const text = byteString(value, "Response: statusText");
        if (!REASON.test(text)) {
            throw new TypeError("Response: statusText is not a reason phrase");
        }
        this.#statusText = text;
    }

    static error() {
        return makeResponse(0, "", [], "error", null, null, NONE);
    }

    static redirect(url, status = 302) {
        return native.chunk("request").redirect(arguments.length, url, status);
    }

    static json(data, init = undefined) {
        needArguments(arguments.length, 1, "Response.json");
        const text = JSON.stringify(data);
        if (text === undefined) {
            throw new TypeError("Response.json: the value cannot be written as JSON");
        }
        const response = new Response(text, {});
        response.#list.length = 0;
        response.#initialize(init, "application/json", true);
        return response;
    }

    get type() {
        return this.#type;
    }

    get url() {
        return this.#network?.url ?? "";
    }

    get redirected() {
        return this.#network?.redirected ?? false;
    }

    get status() {
        return this.#status;
    }

    get ok() {
        return this.#status >= 200 && this.#status <= 299;
    }

    get statusText() {
        return this.#statusText;
    }

    get headers() {
        return this.#headers ??= makeHeaders(this.#list, this.#guard);
    }

    clone() {
        if (Body.isUnusable(this)) {
            throw new TypeError("Response.clone: the body was used already or is locked");
        }
        const copy = new Response();
        copy.#status = this.#status;
        copy.#statusText = this.#statusText;
        copy.#list = this.#list.slice();
        copy.#guard = this.#guard;
        copy.#type = this.#type;
        const network = this.#network;
        copy.#network = network?.internal ? { ...network, internal: network.internal.clone() } : network;
        streams().cloneBody(this, copy);
        return copy;
    }

    /* One that scripts cannot change.  `network` is null or {url, redirected, internal}, of which the last
     * is the response that an opaque one hides. */
    static make(status, statusText, headers, type, network, source, kind) {
        const response = new Response();
        response.#status = status;
        response.#statusText = statusText;
        response.#list = headers;
        response.#guard = immutableGuard;
        response.#type = type;
        response.#network = network;
        Body.set(response, source, kind);
        return response;
    }

    static isResponse(value) {
        return typeof value === "object" && value !== null && #type in value;
    }

    static dataOf(response) {
        if (response.#type === "error") {
            throw new TypeError("the response is a network error");
        }
        if (response.#network?.internal) {
            return { ...responseData(response.#network.internal), type: response.#type };
        }
        return {
            status: response.#status,
            statusText: response.#statusText,
            headers: response.#list,
            body: Body.takeForHost(response),
            network: response.#network, /* null: a script made it */
            type: response.#type,
        };
    }

    /* What an opaque one hides; any other itself. */
    static internalOf(response) {
        return response.#network?.internal ?? response;
    }
}, "Response");

const responseData = take(Response, "dataOf");
const isResponse = take(Response, "isResponse");
const makeResponse = take(Response, "make");
const internalOf = take(Response, "internalOf");

/* ---- for the engine */

let requestFromHost = null;

/* `headers` is flat, or a function that returns it flat; `body` is null, a
 * string, a Uint8Array, or {pull(): Promise<Uint8Array | null>, cancel(reason)};
 * `details` is undefined or has mode, destination, credentials and so on. */
function createRequest(method, url, headers, body, signal, details = undefined) {
    requestFromHost ??= native.chunk("request").requestFromHost;
    return requestFromHost(method, url, headers, body, kindOf(body), signal, details);
}

/* What readResponse() says, of a response of any realm; undefined: it is none. */
const findKin = native.family === undefined ? () => undefined
    : shareKin(native, "responses", (value) => isResponse(value) ? responseData(value) : undefined);
function readAnyResponse(response) {
    const data = isResponse(response) ? responseData(response) : findKin(response);
    return data === undefined ? undefined : { ...data, body: ownBody(data.body) };
}

/* Of a body as the host has it. */
function kindOf(body) {
    return body === null ? NONE : typeof body === "string" ? STRING : body instanceof Uint8Array ? BYTES : PULL;
}

/* The body of the answer is one of the four things that createRequest() takes;
 * the response is used then. */
function readResponse(response) {
    if (!isResponse(response)) {
        throw new TypeError("the answer is not a Response");
    }
    return responseData(response);
}

export default function () {
    return {
        Response, createRequest, readResponse, readAnyResponse, isResponse,
        get Request() {
            return native.chunk("request").Request;
        },
        get Headers() {
            return native.chunk("headers").Headers;
        },
        /* for the chunks "request" and "headers" */
        Body, mixIn, makeHeaders, makeResponse, internalOf, kindOf, extract, extracted, NONE, BYTES, PULL, STREAM, appendHeader, fill, getHeader,
        lowerName, normalValue, plainHeaders, plainGuard, requestGuard, noCorsGuard, immutableGuard,
    };
}
