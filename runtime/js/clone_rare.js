/* What most messages do not need of the codec of structured clone; the chunk `clone` loads it
 * when it meets the first big integer, or object that is neither plain nor an array. */
export { makeReader } from "./parts/clone_decode_rare.js";
export { makeWriter } from "./parts/clone_encode_rare.js";
export { kindOf } from "./parts/clone_kinds.js";
