/* Decoders of the encodings of East Asia; their tables are large. */
export { createMultibyteDecoder } from "@exodus/bytes/multi-byte.js";
