/* The bytes of docs/clone.md, for the two halves of the codec. */

export const MAGIC = 0xc1;
export const VERSION = 1;

export const UNDEFINED = 0x00;
export const NULL = 0x01;
export const FALSE = 0x02;
export const TRUE = 0x03;
export const INT16 = 0x04;
export const INT32 = 0x05;
export const FLOAT64 = 0x06;
export const BIGINT = 0x07;
export const LATIN1 = 0x08;
export const UTF16 = 0x09;
export const REF = 0x0a;
export const HOLE = 0x0b;
export const OBJECT = 0x10;
export const ARRAY = 0x11;
export const ARRAY_NAMED = 0x12;
export const ARRAY_SPARSE = 0x13;
export const MAP = 0x14;
export const SET = 0x15;
export const DATE = 0x16;
export const REGEXP = 0x17;
export const BOXED = 0x18;
export const ERROR = 0x19;
export const DOMEXCEPTION = 0x1a;
export const BUFFER = 0x1b;
export const BUFFER_RESIZABLE = 0x1c;
export const BUFFER_SIDE = 0x1d;
export const BUFFER_SIDE_RESIZABLE = 0x1e;
export const VIEW = 0x1f;
export const HOST = 0x20;
export const PLATFORM = 0x21;
export const SHORT_STRING = 0x40; /* and the length, up to 63 */
export const SMALL = 0xa0; /* and the integer, -32 to 95 */

export const MAX_DEPTH = 10000;
export const MAX_SHAPE_KEYS = 64;

/* An error's parts, and a DOMException's. */
export const MESSAGE = 1;
export const STACK = 2;
export const NAME = 4;
export const CAUSE = 8;
export const ERRORS = 16;
export const EXTRA = 32;
export const DOM_STACK = 1;
export const DOM_QUOTA = 2;

export const FLAGS = "dgimsuvy";

export const AGGREGATE = 7; /* of the types in clone_errors.js */
export const VIEW_NAMES = ["DataView", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array",
    "Uint16Array", "Int32Array", "Uint32Array", "Float16Array", "Float32Array", "Float64Array",
    "BigInt64Array", "BigUint64Array"];
export const VIEW_SIZES = [1, 1, 1, 1, 2, 2, 4, 4, 2, 4, 8, 8, 8];

/* To take a double apart: cheaper to have than a DataView of each message. */
export const doubles = new Float64Array(1);
export const doubleBytes = new Uint8Array(doubles.buffer);

/* Code made for one shape.  Null where the realm forbids to make code: then nothing
 * depends on it but speed. */
const MakeFunction = Function;

export function compile(names, text) {
    try {
        return new MakeFunction(...names, text);
    } catch {
        return null;
    }
}
