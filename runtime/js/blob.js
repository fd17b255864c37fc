/* Blob and File, which are bytes that do not change, and URLs for them. */
import { bytesOf, dictionary, finishInterface, needArguments, take } from "./parts/webidl.js";
import { extractMimeType, serializeMimeType } from "./parts/mime_type.js";

const { utf8Encode, utf8Decode } = native;
const PLAIN = /^[\x20-\x7e]*$/;

function joined(pieces) {
    if (pieces.length === 1) {
        return pieces[0];
    }
    const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
        all.set(piece, at);
        at += piece.length;
    }
    return all;
}

function readParts(value) {
    if ((typeof value !== "object" && typeof value !== "function") || value === null
            || typeof value[Symbol.iterator] !== "function") {
        throw new TypeError("Blob: the parts must be a sequence");
    }
    return Array.from(value, (part) => {
        if (isBlob(part) || ArrayBuffer.isView(part) || part instanceof ArrayBuffer) {
            return part;
        }
        return `${part}`.toWellFormed();
    });
}

function readOptions(value, what) {
    const given = dictionary(value, what);
    const endings = given?.endings === undefined ? "transparent" : `${given.endings}`;
    if (endings !== "transparent" && endings !== "native") {
        throw new TypeError(`${what}: endings cannot be ${endings}`);
    }
    const type = given?.type === undefined ? "" : `${given.type}`;
    return { given, endings, type };
}

/* The parts were read before the options, and their bytes are copied after them. */
function collect(parts, endings) {
    return joined(parts.map((part) => {
        if (typeof part === "string") {
            return utf8Encode(endings === "native" ? part.replace(/\r\n?/g, "\n") : part);
        }
        return isBlob(part) ? bytesOfBlob(part) : bytesOf(part).slice();
    }));
}

const fromBytes = Symbol("made by the host");

/* A position as slice() takes it. */
function position(value, size, missing) {
    if (value === undefined) {
        return missing;
    }
    const number = Math.trunc(Number(value)) || 0;
    return number < 0 ? Math.max(size + number, 0) : Math.min(number, size);
}

export const Blob = finishInterface(class Blob {
    #bytes;
    #type;

    constructor(parts = undefined, options = undefined) {
        if (parts === fromBytes) {
            [this.#bytes, this.#type] = options;
            return;
        }
        const list = parts === undefined ? [] : readParts(parts);
        const { endings, type } = readOptions(options, "Blob: the options");
        this.#bytes = collect(list, endings);
        this.#type = PLAIN.test(type) ? type.toLowerCase() : "";
    }

    get size() {
        return this.#bytes.length;
    }

    get type() {
        return this.#type;
    }

    slice(start = undefined, end = undefined, contentType = undefined) {
        const size = this.#bytes.length;
        const from = position(start, size, 0);
        const to = position(end, size, size);
        const type = contentType === undefined ? "" : `${contentType}`;
        return blobOf(this.#bytes.subarray(from, Math.max(from, to)),
            PLAIN.test(type) ? type.toLowerCase() : "");
    }

    stream() {
        return native.chunk("body_streams").streamOfBytes(this.#bytes.slice());
    }

    async text() {
        const bytes = this.#bytes;
        const bom = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
        return utf8Decode(bom ? bytes.subarray(3) : bytes, false);
    }

    async arrayBuffer() {
        return this.#bytes.slice().buffer;
    }

    async bytes() {
        return this.#bytes.slice();
    }

    static isBlob(value) {
        return typeof value === "object" && value !== null && #bytes in value;
    }

    /* The bytes themselves: not to be given to a script. */
    static bytesOf(blob) {
        return blob.#bytes;
    }
}, "Blob");

export const isBlob = take(Blob, "isBlob");
export const bytesOfBlob = take(Blob, "bytesOf");
Object.defineProperty(Blob, "length", { value: 0, configurable: true });

/* A Blob of bytes that nobody else has. */
export function blobOf(bytes, type) {
    return new Blob(fromBytes, [bytes, type]);
}

export const File = finishInterface(class File extends Blob {
    #name;
    #lastModified;

    constructor(parts, name, options = undefined) {
        if (parts === fromBytes) {
            super(fromBytes, name);
            [, , this.#name, this.#lastModified] = name;
            return;
        }
        needArguments(arguments.length, 2, "File");
        const list = readParts(parts);
        const text = `${name}`.toWellFormed();
        const { given, endings, type } = readOptions(options, "File: the options");
        super(list, { endings, type });
        this.#name = text;
        const modified = given?.lastModified;
        this.#lastModified = modified === undefined ? Date.now() : Math.trunc(Number(modified)) || 0;
    }

    get name() {
        return this.#name;
    }

    get lastModified() {
        return this.#lastModified;
    }

    static isFile(value) {
        return typeof value === "object" && value !== null && #name in value;
    }
}, "File");

export const isFile = take(File, "isFile");
Object.defineProperty(File, "length", { value: 2, configurable: true });

export function fileOf(bytes, type, name, lastModified) {
    return new File(fromBytes, [bytes, type, name, lastModified]);
}

/* What a page's file input has; it does not change. */
export const FileList = finishInterface(class FileList {
    #files;

    constructor(given, files) {
        if (given !== fromBytes) {
            throw new TypeError("FileList: scripts make none");
        }
        this.#files = files;
        files.forEach((value, i) => Object.defineProperty(this, i, { value, enumerable: true, configurable: true }));
    }

    get length() {
        return this.#files.length;
    }

    item(index) {
        needArguments(arguments.length, 1, "FileList.item");
        return this.#files[index >>> 0] ?? null;
    }

    static filesOf(list) {
        return list.#files;
    }
}, "FileList");

const filesOf = take(FileList, "filesOf");
Object.defineProperty(FileList, "length", { value: 0, configurable: true });
Object.defineProperty(FileList.prototype, Symbol.iterator,
    { value: Array.prototype.values, writable: true, configurable: true });

export function fileListOf(files) {
    if (!files.every(isFile)) {
        throw new TypeError("FileList: all must be files");
    }
    return new FileList(fromBytes, [...files]);
}

/* ---- for structured clone: a plain value that says it all, and back */

export function serialize(blob) {
    if (blob instanceof FileList) {
        return filesOf(blob);
    }
    const value = { bytes: bytesOfBlob(blob), type: blob.type };
    return isFile(blob) ? { ...value, name: blob.name, lastModified: blob.lastModified } : value;
}

export function deserialize(value, kind) {
    if (kind === "FileList") {
        return fileListOf(value);
    }
    const { bytes, type, name, lastModified } = value;
    return name === undefined ? blobOf(bytes, type) : fileOf(bytes, type, name, lastModified);
}

/* ---- bodies */

const others = native.bodyOf;
native.bodyOf = (value) => (isBlob(value)
    ? { data: bytesOfBlob(value), type: value.type === "" ? null : value.type } : others?.(value));
native.isBlob = isBlob;

/* Of a Request or Response, whatever a script made of its properties. */
export function mimeTypeOf(body) {
    const { Request, Response, isResponse, getHeader } = native.chunk("fetch");
    const { get } = Object.getOwnPropertyDescriptor((isResponse(body) ? Response : Request).prototype,
        "headers");
    return extractMimeType(getHeader(native.chunk("headers").listOf(get.call(body)), "content-type"));
}

export async function readBlob(body) {
    const bytes = await native.chunk("fetch").Body.prototype.bytes.call(body);
    const type = mimeTypeOf(body);
    return blobOf(bytes, type === null ? "" : serializeMimeType(type).toLowerCase());
}

/* ---- URLs */

export function createObjectURL(object) {
    if (!isBlob(object)) {
        throw new TypeError("URL.createObjectURL: this is no Blob");
    }
    const origin = native.chunk("request").webOrigin() ?? "null";
    const url = `blob:${origin}/${globalThis.crypto.randomUUID()}`;
    if (!native.web().blobAdd(url, bytesOfBlob(object), object.type)) {
        throw new TypeError("URL.createObjectURL: there is no place for it");
    }
    return url;
}

export function revokeObjectURL(url) {
    const text = `${url}`;
    if (text.startsWith("blob:") && !text.includes("#")) {
        native.web().blobRemove(text);
    }
}

/* [bytes, type], or null. */
export function findObjectURL(url) {
    return native.web().blobFind(url);
}
