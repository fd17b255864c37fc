/* FormData, and how it travels: multipart/form-data and application/x-www-form-urlencoded. */
import { finishInterface, needArguments, take, usvString } from "./parts/webidl.js";
import { makePairIterable } from "./parts/pair_iterator.js";
import { parseUrlencoded } from "./parts/urlencoded.js";

const { blobOf, bytesOfBlob, fileOf, isBlob, isFile, mimeTypeOf } = native.chunk("blob");
const { utf8Encode, utf8Decode } = native;

function valueOf(value, filename, count) {
    if (!isBlob(value)) {
        if (count > 2) {
            throw new TypeError("FormData: only a Blob has a file name");
        }
        return usvString(value);
    }
    if (isFile(value) && count < 3) {
        return value;
    }
    const name = count > 2 ? usvString(filename) : "blob";
    return fileOf(bytesOfBlob(value), value.type, name, isFile(value) ? value.lastModified : Date.now());
}

export const FormData = finishInterface(class FormData {
    #entries = []; /* [name, string or File] */

    constructor(form = undefined) {
        if (form !== undefined) {
            throw new TypeError("FormData: there are no forms here");
        }
    }

    append(name, value, filename = undefined) {
        this.#entries;
        needArguments(arguments.length, 2, "FormData.append");
        this.#entries.push([usvString(name), valueOf(value, filename, arguments.length)]);
    }

    delete(name) {
        this.#entries;
        needArguments(arguments.length, 1, "FormData.delete");
        const text = usvString(name);
        this.#entries = this.#entries.filter(([key]) => key !== text);
    }

    get(name) {
        this.#entries;
        needArguments(arguments.length, 1, "FormData.get");
        const text = usvString(name);
        return this.#entries.find(([key]) => key === text)?.[1] ?? null;
    }

    getAll(name) {
        this.#entries;
        needArguments(arguments.length, 1, "FormData.getAll");
        const text = usvString(name);
        return this.#entries.filter(([key]) => key === text).map(([, value]) => value);
    }

    has(name) {
        this.#entries;
        needArguments(arguments.length, 1, "FormData.has");
        const text = usvString(name);
        return this.#entries.some(([key]) => key === text);
    }

    set(name, value, filename = undefined) {
        this.#entries;
        needArguments(arguments.length, 2, "FormData.set");
        const text = usvString(name);
        const entry = [text, valueOf(value, filename, arguments.length)];
        const at = this.#entries.findIndex(([key]) => key === text);
        if (at < 0) {
            this.#entries.push(entry);
            return;
        }
        this.#entries = this.#entries.filter(([key], i) => i <= at || key !== text);
        this.#entries[at] = entry;
    }

    static entriesOf(data) {
        return data.#entries;
    }

    static isFormData(value) {
        return typeof value === "object" && value !== null && #entries in value;
    }
}, "FormData");

const entriesOf = take(FormData, "entriesOf");
const isFormData = take(FormData, "isFormData");
const others = native.bodyOf;
native.bodyOf = (value) => (isFormData(value) ? encode(value) : others?.(value));
makePairIterable(FormData, "FormData", entriesOf);
Object.defineProperty(FormData, "length", { value: 0, configurable: true });

/* ---- out */

const NAMED = { "\n": "%0A", "\r": "%0D", '"': "%22" };

function escapeName(name) {
    return name.replace(/[\n\r"]/g, (sign) => NAMED[sign]);
}

function lines(text) {
    return text.replace(/\r\n?|\n/g, "\r\n");
}

function boundaryOf() {
    return `----MusterFormBoundary${globalThis.crypto.randomUUID().replaceAll("-", "")}`;
}

/* {data, type} of the multipart text. */
export function encode(form) {
    const boundary = boundaryOf();
    const pieces = [];
    for (const [name, value] of entriesOf(form)) {
        const start = `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(lines(name))}"`;
        if (typeof value === "string") {
            pieces.push(utf8Encode(`${start}\r\n\r\n${lines(value)}\r\n`));
            continue;
        }
        const type = value.type === "" ? "application/octet-stream" : value.type;
        pieces.push(utf8Encode(`${start}; filename="${escapeName(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`),
            bytesOfBlob(value), utf8Encode("\r\n"));
    }
    pieces.push(utf8Encode(`--${boundary}--\r\n`));
    const data = bytesOfBlob(new (native.chunk("blob").Blob)(pieces));
    return { data, type: `multipart/form-data; boundary=${boundary}` };
}

/* ---- in */

const unusable = () => new TypeError("the body is no form data");

/* The place of these bytes in the others from `at` on; -1: none. */
function find(bytes, wanted, at) {
    for (let i = bytes.indexOf(wanted[0], at); i >= 0; i = bytes.indexOf(wanted[0], i + 1)) {
        let same = 1;
        while (same < wanted.length && bytes[i + same] === wanted[same]) {
            same++;
        }
        if (same === wanted.length) {
            return i;
        }
    }
    return -1;
}

function unescapeName(text) {
    return text.replace(/%0A|%0D|%22/gi, (code) => ({ "%0A": "\n", "%0D": "\r", "%22": '"' })[code.toUpperCase()]);
}

/* What the header of a part says: {name, filename, type}. */
function readPartHeader(text) {
    const part = { name: null, filename: null, type: null };
    for (const line of text.split("\r\n")) {
        const at = line.indexOf(":");
        if (at <= 0) {
            throw unusable();
        }
        const value = line.slice(at + 1).trim();
        const header = line.slice(0, at).toLowerCase();
        if (header === "content-type") {
            part.type = value;
        } else if (header === "content-disposition") {
            if (!/^form-data\s*(?:;|$)/i.test(value)) {
                throw unusable();
            }
            for (const [, key, quoted, bare] of value.matchAll(/;\s*([\w*]+)\s*=\s*(?:"([^"]*)"|([^;\s]*))/g)) {
                if (key.toLowerCase() === "name") {
                    part.name ??= unescapeName(quoted ?? bare);
                } else if (key.toLowerCase() === "filename") {
                    part.filename ??= unescapeName(quoted ?? bare);
                }
            }
        }
    }
    if (part.name === null) {
        throw unusable();
    }
    return part;
}

function decode(bytes, boundary) {
    const data = new FormData();
    const delimiter = utf8Encode(`--${boundary}`);
    const next = utf8Encode(`\r\n--${boundary}`);
    const blank = utf8Encode("\r\n\r\n");
    const startsWith = (wanted, at) => wanted.every((byte, i) => bytes[at + i] === byte);
    let at = 0;
    while (startsWith([13, 10], at)) {
        at += 2;
    }
    if (!startsWith(delimiter, at)) {
        throw unusable();
    }
    at += delimiter.length;
    while (!startsWith([45, 45], at)) { /* -- after the last */
        while (bytes[at] === 32 || bytes[at] === 9) {
            at++;
        }
        const head = startsWith([13, 10], at) ? find(bytes, blank, at) : -1;
        const end = head < 0 ? -1 : find(bytes, next, head + 2);
        if (end < 0) {
            throw unusable();
        }
        const part = readPartHeader(utf8Decode(bytes.subarray(at + 2, head), false));
        const content = bytes.subarray(Math.min(head + 4, end), end);
        if (part.filename === null) {
            data.append(part.name, utf8Decode(content, false));
        } else {
            const file = fileOf(content.slice(), part.type ?? "text/plain", part.filename, Date.now());
            data.append(part.name, file);
        }
        at = end + next.length;
    }
    return data;
}

/* Of a Request or Response. */
export async function readFormData(body) {
    const bytes = await native.chunk("fetch").Body.prototype.bytes.call(body);
    const type = mimeTypeOf(body);
    if (type?.essence === "multipart/form-data" && type.parameters.has("boundary")) {
        return decode(bytes, type.parameters.get("boundary"));
    }
    if (type?.essence !== "application/x-www-form-urlencoded") {
        throw unusable();
    }
    const data = new FormData();
    for (const [name, value] of parseUrlencoded(utf8Decode(bytes, false))) {
        data.append(name, value);
    }
    return data;
}
