/* TextEncoderStream and TextDecoderStream. */
import { bytesOf, finishInterface } from "./parts/webidl.js";

const { TransformStream } = native.chunk("streams");
const { TextDecoder } = native.chunk("encoding");

function isHighSurrogate(text) {
    return (text.charCodeAt(text.length - 1) & 0xfc00) === 0xd800;
}

export const TextEncoderStream = finishInterface(class TextEncoderStream {
    #transform;

    constructor() {
        let pending = ""; /* half a character, from the end of the chunk before */
        this.#transform = new TransformStream({
            transform(chunk, controller) {
                let text = pending + `${chunk}`;
                pending = "";
                if (text !== "" && isHighSurrogate(text)) {
                    pending = text.at(-1);
                    text = text.slice(0, -1);
                }
                if (text !== "") {
                    controller.enqueue(native.utf8Encode(text));
                }
            },
            flush(controller) {
                if (pending !== "") {
                    controller.enqueue(native.utf8Encode(pending));
                }
            },
        });
    }

    get encoding() {
        this.#transform;
        return "utf-8";
    }

    get readable() {
        return this.#transform.readable;
    }

    get writable() {
        return this.#transform.writable;
    }
}, "TextEncoderStream");

export const TextDecoderStream = finishInterface(class TextDecoderStream {
    #decoder;
    #transform;

    constructor(label = "utf-8", options = undefined) {
        const decoder = this.#decoder = new TextDecoder(label, options);
        this.#transform = new TransformStream({
            transform(chunk, controller) {
                if (bytesOf(chunk) === undefined) {
                    throw new TypeError("TextDecoderStream: a chunk is no ArrayBuffer or view");
                }
                const text = decoder.decode(chunk, { stream: true });
                if (text !== "") {
                    controller.enqueue(text);
                }
            },
            flush(controller) {
                const text = decoder.decode();
                if (text !== "") {
                    controller.enqueue(text);
                }
            },
        });
    }

    get encoding() {
        return this.#decoder.encoding;
    }

    get fatal() {
        return this.#decoder.fatal;
    }

    get ignoreBOM() {
        return this.#decoder.ignoreBOM;
    }

    get readable() {
        return this.#transform.readable;
    }

    get writable() {
        return this.#transform.writable;
    }
}, "TextDecoderStream");
