/* MIME types as the standard reads and writes them. */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const SPACES = "[\\t\\n\\r ]";
const FRONT = new RegExp(`^${SPACES}+`);
const BACK = new RegExp(`${SPACES}+$`);

/* From behind the first quotation mark: [the value, what follows the last]. */
function quoted(text) {
    let value = "";
    for (let i = 0; i < text.length; i++) {
        if (text[i] === '"') {
            return [value, text.slice(i + 1)];
        }
        if (text[i] === "\\" && i + 1 < text.length) {
            i++;
        }
        value += text[i];
    }
    return [value, ""];
}

function until(text, sign) {
    const at = text.indexOf(sign);
    return at < 0 ? text.length : at;
}

/* {essence, parameters: Map}, or null. */
export function parseMimeType(given) {
    const text = given.replace(FRONT, "").replace(BACK, "");
    const end = until(text, ";");
    const [type, subtype = "", ...more] = text.slice(0, end).replace(BACK, "").split("/");
    if (more.length > 0 || !TOKEN.test(type) || !TOKEN.test(subtype)) {
        return null;
    }
    const parameters = new Map();
    let rest = text.slice(end);
    while (rest !== "") {
        rest = rest.slice(1).replace(FRONT, ""); /* behind a semicolon */
        const stop = Math.min(until(rest, ";"), until(rest, "="));
        const name = rest.slice(0, stop).toLowerCase();
        rest = rest.slice(stop);
        if (rest === "" || rest[0] === ";") {
            continue;
        }
        let value;
        if (rest[1] === '"') {
            [value, rest] = quoted(rest.slice(2));
            rest = rest.slice(until(rest, ";"));
        } else {
            const last = until(rest, ";");
            value = rest.slice(1, last).replace(BACK, "");
            rest = rest.slice(last);
            if (value === "") {
                continue;
            }
        }
        if (TOKEN.test(name) && VALUE.test(value) && !parameters.has(name)) {
            parameters.set(name, value);
        }
    }
    return { essence: `${type}/${subtype}`.toLowerCase(), parameters };
}

export function serializeMimeType({ essence, parameters }) {
    let text = essence;
    for (const [name, value] of parameters) {
        text += `;${name}=${TOKEN.test(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`}`;
    }
    return text;
}

/* What a header list's Content-Type says, with several of them as one; null: nothing usable. */
export function extractMimeType(value) {
    let found = null;
    let charset = null;
    for (const part of value === null ? [] : value.match(/(?:[^,"]|"(?:\\.|[^"\\])*"?)+/g) ?? []) {
        const parsed = parseMimeType(part);
        if (parsed === null || parsed.essence === "*/*") {
            continue;
        }
        if (found === null || parsed.essence !== found.essence) {
            charset = parsed.parameters.get("charset") ?? null;
        } else if (charset !== null && !parsed.parameters.has("charset")) {
            parsed.parameters.set("charset", charset);
        }
        found = parsed;
    }
    return found;
}
