/* The labels of all encodings, and decoders of UTF-16 and of the encodings of
 * one byte a character: what TextDecoder needs beyond UTF-8. */
export { TextDecoder, normalizeEncoding } from "@exodus/bytes/encoding-lite.js";
