/* FileReader and FileReaderSync: a Blob's bytes in four shapes, and ProgressEvent, which tells of them. */
import { finishInterface, needArguments } from "./parts/webidl.js";
import { parseMimeType } from "./parts/mime_type.js";

const { isBlob, bytesOfBlob } = native.chunk("blob");
const { EventTarget, Event } = globalThis;
const { DOMException } = native.chunk("dom");

export const ProgressEvent = finishInterface(class ProgressEvent extends Event {
    #length;
    #loaded;
    #total;

    constructor(type, init = undefined) {
        super(type, init);
        this.#length = Boolean(init?.lengthComputable);
        this.#loaded = Number(init?.loaded ?? 0);
        this.#total = Number(init?.total ?? 0);
    }

    get lengthComputable() {
        return this.#length;
    }

    get loaded() {
        return this.#loaded;
    }

    get total() {
        return this.#total;
    }
}, "ProgressEvent");

/* Each byte as a character. */
function binaryText(bytes) {
    let text = "";
    for (let i = 0; i < bytes.length; i += 4096) {
        text += String.fromCharCode(...bytes.subarray(i, i + 4096));
    }
    return text;
}

function decoded(bytes, label, type) {
    const { TextDecoder } = globalThis;
    const charset = parseMimeType(type)?.parameters.get("charset");
    for (const name of [label, charset]) {
        try {
            return new TextDecoder(name ?? "no such encoding").decode(bytes);
        } catch {
            /* the next one, as the standard says */
        }
    }
    return new TextDecoder().decode(bytes);
}

const shapes = {
    arrayBuffer: (blob) => bytesOfBlob(blob).slice().buffer,
    binary: (blob) => binaryText(bytesOfBlob(blob)),
    text: (blob, label) => decoded(bytesOfBlob(blob), label, blob.type),
    url: (blob) => `data:${blob.type === "" ? "application/octet-stream" : blob.type};base64,${
        bytesOfBlob(blob).toBase64()}`,
};

function needBlob(count, value, what) {
    needArguments(count, 1, what);
    if (!isBlob(value)) {
        throw new TypeError(`${what}: this is no Blob`);
    }
}

const HANDLERS = ["loadstart", "progress", "load", "abort", "error", "loadend"];

export const FileReader = finishInterface(class FileReader extends EventTarget {
    #state = 0;
    #result = null;
    #error = null;
    #run = 0; /* the number of the read that is under way */
    #handlers = {};

    get readyState() {
        return this.#state;
    }

    get result() {
        return this.#result;
    }

    get error() {
        return this.#error;
    }

    readAsArrayBuffer(blob) {
        needBlob(arguments.length, blob, "FileReader.readAsArrayBuffer");
        this.#read(blob, "arrayBuffer");
    }

    readAsBinaryString(blob) {
        needBlob(arguments.length, blob, "FileReader.readAsBinaryString");
        this.#read(blob, "binary");
    }

    readAsText(blob, label = undefined) {
        needBlob(arguments.length, blob, "FileReader.readAsText");
        this.#read(blob, "text", label);
    }

    readAsDataURL(blob) {
        needBlob(arguments.length, blob, "FileReader.readAsDataURL");
        this.#read(blob, "url");
    }

    abort() {
        if (this.#state !== 1) {
            this.#result = null;
            return;
        }
        this.#state = 2;
        this.#result = null;
        const run = ++this.#run;
        this.#tell("abort", 0, 0);
        if (run === this.#run) {
            this.#tell("loadend", 0, 0);
        }
    }

    #tell(type, loaded, total) {
        this.dispatchEvent(new ProgressEvent(type, { lengthComputable: total > 0, loaded, total }));
    }

    #read(blob, shape, label) {
        if (this.#state === 1) {
            throw new DOMException("a read is under way", "InvalidStateError");
        }
        this.#state = 1;
        this.#result = null;
        this.#error = null;
        const run = ++this.#run;
        const { size } = blob;
        const later = (step) => globalThis.setTimeout(() => {
            if (run === this.#run) {
                step();
            }
        }, 0);
        later(() => {
            this.#tell("loadstart", 0, size);
            later(() => {
                if (size > 0) {
                    this.#tell("progress", size, size);
                }
                later(() => this.#end(run, blob, shape, label));
            });
        });
    }

    #end(run, blob, shape, label) {
        this.#state = 2;
        this.#result = shapes[shape](blob, label);
        this.#tell("load", blob.size, blob.size);
        if (run === this.#run) { /* no other read began in it */
            this.#tell("loadend", blob.size, blob.size);
        }
    }

    static handle(reader, type, given) {
        if (given === undefined) {
            return reader.#handlers[type] ?? null;
        }
        const usable = typeof given === "function" || (typeof given === "object" && given !== null);
        if (!(type in reader.#handlers)) {
            reader.addEventListener(type, (event) => {
                const handler = reader.#handlers[type];
                if (typeof handler === "function") {
                    handler.call(reader, event);
                }
            });
        }
        reader.#handlers[type] = usable ? given : null;
        return null;
    }
}, "FileReader");

const { handle } = FileReader;
delete FileReader.handle;
for (const type of HANDLERS) {
    Object.defineProperty(FileReader.prototype, `on${type}`, {
        get() {
            return handle(this, type, undefined);
        },
        set(value) {
            handle(this, type, value ?? null);
        },
        enumerable: true, configurable: true,
    });
}
for (const [name, value] of [["EMPTY", 0], ["LOADING", 1], ["DONE", 2]]) {
    Object.defineProperty(FileReader, name, { value, enumerable: true });
    Object.defineProperty(FileReader.prototype, name, { value, enumerable: true });
}

export const FileReaderSync = finishInterface(class FileReaderSync {
    readAsArrayBuffer(blob) {
        needBlob(arguments.length, blob, "FileReaderSync.readAsArrayBuffer");
        return shapes.arrayBuffer(blob);
    }

    readAsBinaryString(blob) {
        needBlob(arguments.length, blob, "FileReaderSync.readAsBinaryString");
        return shapes.binary(blob);
    }

    readAsText(blob, label = undefined) {
        needBlob(arguments.length, blob, "FileReaderSync.readAsText");
        return shapes.text(blob, label);
    }

    readAsDataURL(blob) {
        needBlob(arguments.length, blob, "FileReaderSync.readAsDataURL");
        return shapes.url(blob);
    }
}, "FileReaderSync");
