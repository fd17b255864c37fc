/* crypto: random numbers.  crypto.subtle is not there. */
import { finishInterface, needArguments } from "./parts/webidl.js";

const MOST_BYTES = 65536;
const TypedArray = Object.getPrototypeOf(Uint8Array);
const nameOf = Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag).get;
const HEX = "0123456789abcdef";

const permission = Symbol("made by the host");

export const Crypto = finishInterface(class Crypto {
    #brand;

    constructor(key) {
        if (key !== permission) {
            throw new TypeError("Illegal constructor");
        }
    }

    getRandomValues(array) {
        this.#brand;
        needArguments(arguments.length, 1, "crypto.getRandomValues");
        if (!ArrayBuffer.isView(array)) {
            throw new TypeError("crypto.getRandomValues: not a view of a buffer");
        }
        const name = nameOf.call(array);
        if (name === undefined || name.startsWith("Float")) {
            const { DOMException } = native.chunk("dom");
            throw new DOMException("crypto.getRandomValues: not an array of integers",
                "TypeMismatchError");
        }
        if (array.byteLength > MOST_BYTES) {
            const { QuotaExceededError } = native.chunk("dom");
            throw new QuotaExceededError(`crypto.getRandomValues: more than ${MOST_BYTES} bytes`);
        }
        const bytes = new Uint8Array(array.byteLength); /* the engine could not transfer a buffer that C has seen */
        native.randomFill(bytes);
        new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes);
        return array;
    }

    randomUUID() {
        this.#brand;
        const bytes = new Uint8Array(16);
        native.randomFill(bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let text = "";
        for (let i = 0; i < 16; i++) {
            text += (i === 4 || i === 6 || i === 8 || i === 10 ? "-" : "")
                + HEX[bytes[i] >> 4] + HEX[bytes[i] & 15];
        }
        return text;
    }
}, "Crypto");

export const crypto = new Crypto(permission);
