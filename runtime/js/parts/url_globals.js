/* What the URL parser reads from the global object, for it alone: the global
 * TextEncoder may have been replaced by a script. */
const { utf8Encode, utf8Decode } = native; /* a look-up there costs as much as the call */
const single = [];

class Encoder {
    /* The parser encodes code point by code point: spare those a call out. */
    encode(string) {
        if (string.length === 1) {
            const code = string.charCodeAt(0);
            if (code < 0x80) {
                return single[code] ??= Uint8Array.of(code);
            }
        }
        return utf8Encode(string);
    }
}

class Decoder {
    decode(bytes) {
        return utf8Decode(bytes, false);
    }
}

export { Encoder as TextEncoder, Decoder as TextDecoder };
