/* application/x-www-form-urlencoded, as lists of pairs and as text. */
const MARKS = /[!'()~]|%20/g;

function percentDecode(text) {
    const bytes = native.utf8Encode(text);
    let size = 0;
    for (let i = 0; i < bytes.length; i++, size++) {
        const code = bytes[i] === 0x25 && i + 2 < bytes.length
            ? String.fromCharCode(bytes[i + 1], bytes[i + 2]) : "";
        if (/^[0-9A-Fa-f]{2}$/.test(code)) {
            bytes[size] = Number.parseInt(code, 16);
            i += 2;
        } else {
            bytes[size] = bytes[i];
        }
    }
    return native.utf8Decode(bytes.subarray(0, size), false);
}

function decode(text) {
    const spaced = text.includes("+") ? text.replaceAll("+", " ") : text;
    if (!spaced.includes("%")) {
        return spaced;
    }
    try {
        return decodeURIComponent(spaced);
    } catch {
        return percentDecode(spaced); /* not all of it is UTF-8, or not all is encoded */
    }
}

/* The text is well-formed. */
export function parseUrlencoded(text) {
    const pairs = [];
    if (text === "") {
        return pairs;
    }
    for (const part of text.split("&")) {
        if (part !== "") {
            const at = part.indexOf("=");
            pairs.push(at < 0 ? [decode(part), ""]
                : [decode(part.slice(0, at)), decode(part.slice(at + 1))]);
        }
    }
    return pairs;
}

function encode(text) {
    return encodeURIComponent(text).replace(MARKS, (mark) => (mark === "%20" ? "+"
        : `%${mark.charCodeAt(0).toString(16).toUpperCase()}`));
}

export function serializeUrlencoded(pairs) {
    return pairs.map((pair) => `${encode(pair[0])}=${encode(pair[1])}`).join("&");
}
