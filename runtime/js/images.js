/* ImageData and ImageBitmap: pixels that scripts hand to each other, row by row, four numbers each.  Nothing is drawn,
 * scaled or decoded: there is no canvas, so a bitmap can be made of pixels, cut, cloned and transferred. */
import { dictionary, finishFunction, finishInterface, needArguments, take } from "./parts/webidl.js";

const { transfer } = ArrayBuffer.prototype;
const isDetached = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "detached").get;
const COLOR_SPACES = ["srgb", "display-p3"];
const ARRAYS = { "rgba-unorm8": Uint8ClampedArray, "rgba-float16": Float16Array };
const MOST = 2 ** 32 - 1;

function fail(name, text) {
    const { DOMException } = native.chunk("dom");
    throw new DOMException(text, name);
}

/* ---- ImageData */

function unsignedLong(value, what) {
    const number = Math.trunc(Number(value));
    if (!(number >= 0 && number <= MOST)) {
        throw new TypeError(`ImageData: the ${what} is no number of pixels`);
    }
    return number;
}

function oneOf(list, value, what) {
    const text = value === undefined ? list[0] : `${value}`;
    if (!list.includes(text)) {
        throw new TypeError(`ImageData: ${what} cannot be ${text}`);
    }
    return text;
}

function readSettings(value) {
    const given = dictionary(value, "ImageData: the settings");
    return { colorSpace: oneOf(COLOR_SPACES, given?.colorSpace, "colorSpace"),
        pixelFormat: oneOf(Object.keys(ARRAYS), given?.pixelFormat, "pixelFormat") };
}

/* The width and the height of data that a script brought along. */
function sizeOf(data, width, height) {
    const { length } = data;
    if (length === 0 || length % 4 !== 0) {
        fail("InvalidStateError", "ImageData: the data are no pixels of four numbers");
    }
    if (width === 0 || length / 4 % width !== 0 || (height !== undefined && length / 4 / width !== height)) {
        fail("IndexSizeError", "ImageData: the data are not as many pixels");
    }
    return [width, length / 4 / width];
}

export const ImageData = finishInterface(class ImageData {
    #data;
    #width;
    #height;
    #settings;

    constructor(first, second, third = undefined, fourth = undefined) {
        needArguments(arguments.length, 2, "ImageData");
        if (first instanceof Uint8ClampedArray || first instanceof Float16Array) {
            const width = unsignedLong(second, "width");
            const height = third === undefined ? undefined : unsignedLong(third, "height");
            this.#settings = readSettings(fourth);
            if (!(first instanceof ARRAYS[this.#settings.pixelFormat])) {
                fail("InvalidStateError", "ImageData: the data are of another pixelFormat");
            }
            [this.#width, this.#height] = sizeOf(first, width, height);
            this.#data = first;
            return;
        }
        this.#width = unsignedLong(first, "width");
        this.#height = unsignedLong(second, "height");
        this.#settings = readSettings(third);
        if (this.#width === 0 || this.#height === 0) {
            fail("IndexSizeError", "ImageData: there are no pixels");
        }
        this.#data = new ARRAYS[this.#settings.pixelFormat](this.#width * this.#height * 4);
    }

    get width() {
        return this.#width;
    }

    get height() {
        return this.#height;
    }

    get data() {
        return this.#data;
    }

    get colorSpace() {
        return this.#settings.colorSpace;
    }

    get pixelFormat() {
        return this.#settings.pixelFormat;
    }

    /* What it is made of; undefined: it is none. */
    static partsOf(value) {
        return typeof value === "object" && value !== null && #data in value
            ? { data: value.#data, width: value.#width, height: value.#height, ...value.#settings } : undefined;
    }
}, "ImageData");

const partsOfData = take(ImageData, "partsOf");
Object.defineProperty(ImageData, "length", { value: 2, configurable: true });

/* ---- ImageBitmap */

const permission = Symbol("made by the host");

/* It moves with its buffer: it is closed, or was transferred, when that is detached. */
export const ImageBitmap = finishInterface(class ImageBitmap {
    #buffer;
    #width;
    #height;

    constructor(given, buffer, width, height) {
        if (given !== permission) {
            throw new TypeError("ImageBitmap: createImageBitmap() makes them");
        }
        this.#buffer = buffer;
        this.#width = width;
        this.#height = height;
    }

    get width() {
        return isDetached.call(this.#buffer) ? 0 : this.#width;
    }

    get height() {
        return isDetached.call(this.#buffer) ? 0 : this.#height;
    }

    close() {
        if (!isDetached.call(this.#buffer)) {
            transfer.call(this.#buffer, 0);
        }
    }

    static partsOf(value) {
        return typeof value === "object" && value !== null && #buffer in value
            ? { buffer: value.#buffer, width: value.#width, height: value.#height } : undefined;
    }
}, "ImageBitmap");

const partsOfBitmap = take(ImageBitmap, "partsOf");
native.imageBuffer = (value) => partsOfBitmap(value)?.buffer;
Object.defineProperty(ImageBitmap, "length", { value: 0, configurable: true });

/* { data, width, height } of what a bitmap can be made of. */
function pixelsOf(source) {
    const parts = partsOfData(source) ?? partsOfBitmap(source);
    if (parts === undefined) {
        if (native.isBlob?.(source)) {
            fail("InvalidStateError", "createImageBitmap: images are not decoded here");
        }
        throw new TypeError("createImageBitmap: this is no image");
    }
    if (isDetached.call(parts.buffer ?? parts.data.buffer)) {
        fail("InvalidStateError", "createImageBitmap: the image was closed or transferred");
    }
    return parts.buffer === undefined ? parts : { ...parts, data: new Uint8ClampedArray(parts.buffer) };
}

function bytesOfPixels(data) {
    return data instanceof Float16Array ? Uint8ClampedArray.from(data, (part) => part * 255) : data;
}

/* A part of it, also beyond its edges: there is nothing, and it is transparent. */
function cut({ data, width, height }, left, top, wide, high) {
    const part = new Uint8ClampedArray(wide * high * 4);
    const from = Math.max(left, 0);
    const to = Math.min(left + wide, width);
    for (let y = Math.max(top, 0); y < Math.min(top + high, height) && from < to; y++) {
        part.set(bytesOfPixels(data.subarray((y * width + from) * 4, (y * width + to) * 4)),
            ((y - top) * wide + from - left) * 4);
    }
    return new ImageBitmap(permission, part.buffer, wide, high);
}

export const createImageBitmap = finishFunction(async function (image, ...given) {
    needArguments(arguments.length, 1, "createImageBitmap");
    if (given.length > 1 && given.length < 4) {
        throw new TypeError("createImageBitmap: a part has four numbers");
    }
    const pixels = pixelsOf(image);
    if (dictionary(given[given.length === 1 ? 0 : 4], "createImageBitmap: the options") !== undefined) {
        fail("NotSupportedError", "createImageBitmap: there are no options");
    }
    if (given.length < 4) {
        return cut(pixels, 0, 0, pixels.width, pixels.height);
    }
    const [x, y, wide, high] = given.slice(0, 4).map((number) => number | 0);
    if (wide === 0 || high === 0) {
        throw new RangeError("createImageBitmap: the part is empty");
    }
    return cut(pixels, Math.min(x, x + wide), Math.min(y, y + high), Math.abs(wide), Math.abs(high));
}, "createImageBitmap");
Object.defineProperty(createImageBitmap, "length", { value: 1, configurable: true });

/* ---- for structured clone: a plain value that says it all, and back */

export function serialize(image) {
    const { buffer, width, height } = partsOfBitmap(image) ?? {};
    if (buffer === undefined) {
        return partsOfData(image);
    }
    if (isDetached.call(buffer)) {
        fail("DataCloneError", "an ImageBitmap that was closed or transferred");
    }
    return { data: new Uint8ClampedArray(buffer), width, height };
}

export function deserialize({ data, width, height, colorSpace, pixelFormat }, name) {
    if (!ArrayBuffer.isView(data)) { /* numbers would make pixels that nobody sent */
        throw new TypeError("no pixels");
    }
    const image = new ImageData(data, width, height, { colorSpace, pixelFormat });
    if (name === "ImageData") {
        return image;
    }
    if (data.byteLength !== data.buffer.byteLength) {
        throw new TypeError("pixels of somebody else");
    }
    return new ImageBitmap(permission, data.buffer, width, height);
}
