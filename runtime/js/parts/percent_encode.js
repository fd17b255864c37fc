/* Stands in for @exodus/bytes/whatwg.js in the chunk "url_parser".  The encoding of a
 * query is always UTF-8 here: there are no documents with an older one.
 *
 * `set` lists the ASCII characters to encode besides the controls and all that
 * is not ASCII. */
const HEX = "0123456789ABCDEF";

export function percentEncodeAfterEncoding(encoding, input, set) {
    let output = "";
    for (const byte of native.utf8Encode(input)) {
        const character = String.fromCharCode(byte);
        output += byte < 0x20 || byte > 0x7e || set.includes(character)
            ? "%" + HEX[byte >> 4] + HEX[byte & 15]
            : character;
    }
    return output;
}
