/* TextEncoder, TextDecoder, atob and btoa.
 *
 * UTF-8 is done by the host, in one call for a whole string.  Other encodings
 * are chunks of their own that the first decoder for one of them evaluates. */
import { bytesOf, dictionary, finishFunction, finishInterface, needArguments, usvString }
    from "./parts/webidl.js";

const { utf8Encode, utf8Decode } = native; /* a look-up there costs as much as the call */
const NOTHING = new Uint8Array(0);
const copied = new Uint8Array(4096);
const UTF8_LABELS = ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8",
    "x-unicode20utf8"];
const MULTIBYTE = ["big5", "euc-kr", "euc-jp", "iso-2022-jp", "shift_jis", "gbk", "gb18030"];

export const TextEncoder = finishInterface(class TextEncoder {
    #brand;

    get encoding() {
        this.#brand;
        return "utf-8";
    }

    encode(input = "") {
        this.#brand;
        return utf8Encode(typeof input === "string" ? input : `${input}`);
    }

    encodeInto(source, destination) {
        this.#brand;
        needArguments(arguments.length, 2, "TextEncoder.encodeInto");
        const text = usvString(source);
        if (!(destination instanceof Uint8Array)) {
            throw new TypeError("TextEncoder.encodeInto: the destination must be a Uint8Array");
        }
        const space = destination.length;
        let read = 0;
        let written = 0;
        while (read < text.length) {
            const point = text.codePointAt(read);
            const size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
            if (written + size > space) {
                break;
            }
            if (size === 1) {
                destination[written] = point;
            } else {
                let rest = point;
                for (let at = size - 1; at > 0; at--) {
                    destination[written + at] = 0x80 | (rest & 0x3f);
                    rest >>= 6;
                }
                destination[written] = (0xf00 >> size) & 0xff | rest;
            }
            written += size;
            read += size === 4 ? 2 : 1;
        }
        return { read, written };
    }
}, "TextEncoder");

/* How many bytes at the end begin a character that the next chunk may finish. */
function unfinished(bytes) {
    const length = bytes.length;
    for (let back = 1; back <= 3 && back <= length; back++) {
        const byte = bytes[length - back];
        if (byte >= 0x80 && byte < 0xc0) {
            continue;
        }
        const size = byte < 0xc2 || byte > 0xf4 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        if (size <= back) {
            return 0;
        }
        if (back > 1) {
            const second = bytes[length - back + 1];
            const low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
            const high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
            if (second < low || second > high) {
                return 0;
            }
        }
        return back;
    }
    return 0;
}

/* The engine never again lets go of a buffer whose bytes C has seen, and nobody could transfer it: C sees a copy. */
function decodeCopy(bytes, fatal) {
    const { length } = bytes;
    if (length > copied.length) {
        return utf8Decode(new Uint8Array(bytes), fatal);
    }
    copied.set(bytes);
    return utf8Decode(copied, fatal, length);
}

/* The decoder of UTF-8 that remembers what a chunk left unfinished.  It answers
 * like the ones of the other encodings: (bytes, more to come) -> string. */
function utf8Decoder(fatal, ignoreBom) {
    let pending = NOTHING;
    let bomPassed = false;
    return function (bytes, more) {
        if (pending.length > 0) {
            const all = new Uint8Array(pending.length + bytes.length);
            all.set(pending);
            all.set(bytes, pending.length);
            bytes = all;
            pending = NOTHING;
        }
        if (more) {
            const left = unfinished(bytes);
            if (left > 0) {
                pending = bytes.slice(bytes.length - left);
                bytes = bytes.subarray(0, bytes.length - left);
            }
        }
        const atStart = !bomPassed;
        bomPassed = more && (bomPassed || bytes.length > 0);
        if (bytes.length === 0) {
            return "";
        }
        if (atStart && !ignoreBom && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
            bytes = bytes.subarray(3);
        }
        try {
            return decodeCopy(bytes, fatal);
        } catch (error) {
            pending = NOTHING;
            throw error;
        }
    };
}

function legacyDecoder(encoding, fatal, ignoreBom) {
    if (MULTIBYTE.includes(encoding)) {
        return native.chunk("multibyte_encodings").createMultibyteDecoder(encoding, !fatal);
    }
    const Legacy = native.chunk("legacy_encodings").TextDecoder;
    const decoder = new Legacy(encoding, { fatal, ignoreBOM: ignoreBom });
    return (bytes, more) => decoder.decode(bytes, { stream: more });
}

function encodingOf(label) {
    const name = label.toLowerCase().replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "");
    if (UTF8_LABELS.includes(name)) {
        return "utf-8";
    }
    const encoding = native.chunk("legacy_encodings").normalizeEncoding(label);
    if (!encoding || encoding === "replacement") {
        throw new RangeError("TextDecoder: there is no encoding " + label);
    }
    return encoding;
}

export const TextDecoder = finishInterface(class TextDecoder {
    #encoding = "utf-8";
    #fatal = false;
    #ignoreBom = false;
    #decode = null;

    constructor(label = "utf-8", options = undefined) {
        if (label !== "utf-8") {
            this.#encoding = encodingOf(`${label}`);
        }
        const given = dictionary(options, "TextDecoder: the options");
        if (given !== undefined) {
            this.#fatal = Boolean(given.fatal);
            this.#ignoreBom = Boolean(given.ignoreBOM);
        }
    }

    get encoding() {
        return this.#encoding;
    }

    get fatal() {
        return this.#fatal;
    }

    get ignoreBOM() {
        return this.#ignoreBom;
    }

    decode(input = undefined, options = undefined) {
        const encoding = this.#encoding;
        const bytes = input === undefined ? NOTHING : bytesOf(input);
        if (bytes === undefined) {
            throw new TypeError("TextDecoder.decode: neither an ArrayBuffer nor a view");
        }
        const more = Boolean(dictionary(options, "TextDecoder.decode: the options")?.stream);
        this.#decode ??= encoding === "utf-8"
            ? utf8Decoder(this.#fatal, this.#ignoreBom)
            : legacyDecoder(encoding, this.#fatal, this.#ignoreBom);
        return this.#decode(bytes, more);
    }
}, "TextDecoder");

function invalidCharacter(message) {
    const { DOMException } = native.chunk("dom");
    return new DOMException(message, "InvalidCharacterError");
}

export const btoa = finishFunction(function (data) {
    needArguments(arguments.length, 1, "btoa");
    const text = `${data}`;
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        if (code > 0xff) {
            throw invalidCharacter("btoa: the string has a character above U+00FF");
        }
        bytes[i] = code;
    }
    return bytes.toBase64();
}, "btoa");

export const atob = finishFunction(function (data) {
    needArguments(arguments.length, 1, "atob");
    let text = `${data}`.replace(/[\t\n\f\r ]+/g, "");
    if (text.length % 4 === 0) {
        text = text.replace(/={1,2}$/, "");
    }
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) {
        throw invalidCharacter("atob: the string is not correctly encoded");
    }
    const bytes = Uint8Array.fromBase64(text);
    let binary = "";
    for (let i = 0; i < bytes.length; i += 4096) {
        binary += String.fromCharCode.apply(null, bytes.subarray(i, i + 4096));
    }
    return binary;
}, "atob");
