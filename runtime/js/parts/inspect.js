/* Any value as people like to read it: inspect(value) for console.log and friends.
 *
 * It shows getters and does not run them, save those of the host's own objects and
 * a Symbol.toStringTag, and it ends on every value: depth, width and cycles are
 * bounded. */
const MOST_ITEMS = 100;
const MOST_TEXT = 10000;
const WIDTH = 76;

const TypedArray = Object.getPrototypeOf(Uint8Array);
const tagOf = Object.prototype.toString;
const viewName = Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag).get;
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/* The members worth showing of the host's objects, whose state is hidden. */
const SHOWN = {
    Request: ["method", "url", "headers", "bodyUsed"],
    Response: ["status", "statusText", "headers", "bodyUsed", "type"],
    URL: ["href", "origin", "protocol", "username", "password", "host", "hostname", "port",
        "pathname", "search", "hash"],
    AbortSignal: ["aborted", "reason"],
    AbortController: ["signal"],
    PerformanceMark: ["name", "startTime", "detail"],
    PerformanceMeasure: ["name", "startTime", "duration", "detail"],
    Event: ["type", "cancelable", "defaultPrevented", "timeStamp"],
};

function quote(text) {
    const mark = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes("`") ? "`"
        : "'";
    const inner = text.replace(/[\\\x00-\x1f\x7f-\x9f]/g, (c) => {
        const known = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b",
            "\f": "\\f", "\v": "\\v" }[c];
        return known ?? `\\x${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
    });
    return mark + (mark === "'" ? inner.replaceAll("'", "\\'") : inner) + mark;
}

function shorten(text) {
    const more = text.length - MOST_TEXT;
    return more > 0 ? `${quote(text.slice(0, MOST_TEXT))}... ${more} more characters` : quote(text);
}

function primitive(value) {
    switch (typeof value) {
    case "string":
        return shorten(value);
    case "bigint":
        return `${value}n`;
    case "number":
        return Object.is(value, -0) ? "-0" : `${value}`;
    case "symbol":
        return Symbol.prototype.toString.call(value);
    default:
        return String(value);
    }
}

/* The name of the class, or null for an object that comes from none. */
function className(value) {
    for (let object = value; object !== null; object = Object.getPrototypeOf(object)) {
        const property = Object.getOwnPropertyDescriptor(object, "constructor");
        const name = typeof property?.value === "function"
            ? Object.getOwnPropertyDescriptor(property.value, "name")?.value : undefined;
        if (typeof name === "string" && name !== "") {
            return name;
        }
    }
    return null;
}

/* The text that a class gives its objects as their kind, without asking a getter. */
function ownTag(value) {
    for (let object = value; object !== null; object = Object.getPrototypeOf(object)) {
        const property = Object.getOwnPropertyDescriptor(object, Symbol.toStringTag);
        if (property !== undefined) {
            return typeof property.value === "string" ? property.value : "";
        }
    }
    return "";
}

function brand(method, value) {
    try {
        return method.call(value);
    } catch {
        return undefined;
    }
}

const mapSize = Object.getOwnPropertyDescriptor(Map.prototype, "size").get;
const setSize = Object.getOwnPropertyDescriptor(Set.prototype, "size").get;
const bufferSize = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength").get;

function key(name) {
    return typeof name === "symbol" ? `[${name.toString()}]`
        : IDENTIFIER.test(name) ? name : quote(name);
}

function frames(stack) {
    return stack.split("\n").filter((line) => line !== "").map((line) => {
        const at = line.indexOf("@");
        if (at < 0) {
            return `    at ${line}`;
        }
        const name = line.slice(0, at);
        const place = line.slice(at + 1) || "native";
        return name === "" || name === "global code" ? `    at ${place}`
            : `    at ${name} (${place})`;
    }).join("\n");
}

class Inspector {
    constructor(depth, showHidden) {
        this.depth = depth;
        this.showHidden = showHidden;
        this.path = [];
        this.circular = new Map();
    }

    value(value) {
        if ((typeof value !== "object" && typeof value !== "function") || value === null) {
            return primitive(value);
        }
        if (this.path.includes(value)) {
            if (!this.circular.has(value)) {
                this.circular.set(value, this.circular.size + 1);
            }
            return `[Circular *${this.circular.get(value)}]`;
        }
        this.path.push(value);
        try {
            const text = this.object(value);
            const number = this.circular.get(value);
            return number === undefined ? text : `<ref *${number}> ${text}`;
        } finally {
            this.path.pop();
        }
    }

    object(value) {
        if (typeof value === "function") {
            return this.whole(this.functionHead(value), "{", this.properties(value), "}");
        }
        if (Error.isError(value)) {
            return this.error(value);
        }
        const name = className(value);
        if (this.path.length > this.depth + 1) {
            return Array.isArray(value) ? "[Array]" : `[${name ?? "Object: null prototype"}]`;
        }
        if (Array.isArray(value)) {
            const head = name === "Array" ? "" : `${name}(${value.length}) `;
            const items = [...this.items(value), ...this.properties(value, true)];
            return this.whole(head, "[", items, "]", true);
        }
        return this.builtin(value, name) ?? this.plain(value, name);
    }

    functionHead(value) {
        const own = Object.getOwnPropertyDescriptor(value, "name")?.value;
        const name = typeof own === "string" && own !== "" ? own : null;
        const text = brand(Function.prototype.toString, value) ?? "";
        if (/^class\b/.test(text)) {
            const parent = Object.getPrototypeOf(value)?.name;
            return `[class ${name ?? "(anonymous)"}${parent ? ` extends ${parent}` : ""}] `;
        }
        const kind = ownTag(value) || "Function";
        return name === null ? `[${kind} (anonymous)] ` : `[${kind}: ${name}] `;
    }

    error(value) {
        let head;
        try {
            head = Error.prototype.toString.call(value);
        } catch {
            head = className(value) ?? "Error";
        }
        const stack = Object.getOwnPropertyDescriptor(value, "stack")?.value;
        const text = typeof stack !== "string" || stack === "" ? `[${head}]`
            : stack.startsWith(head) ? stack : `${head}\n${frames(stack)}`;
        const shown = this.path.length > this.depth + 1 ? [] : this.properties(value);
        const cause = Object.getOwnPropertyDescriptor(value, "cause");
        if (cause !== undefined && "value" in cause && !cause.enumerable) {
            shown.push(`[cause]: ${this.value(cause.value)}`);
        }
        const errors = Object.getOwnPropertyDescriptor(value, "errors");
        if (Array.isArray(errors?.value) && !errors.enumerable) {
            shown.push(`[errors]: ${this.value(errors.value)}`);
        }
        return shown.length === 0 ? text
            : `${text} {\n${shown.map((line) => indent(line)).join(",\n")}\n}`;
    }

    /* An object of the language or of the host; null for all others.  What it
     * claims to be is believed only when its hidden state says so too. */
    builtin(value, name) {
        const tag = tagOf.call(value).slice(8, -1);
        switch (tag) {
        case "Object":
            return value instanceof globalThis.Event ? this.platform(value, name, tag) : null;
        case "Date":
            return this.date(value);
        case "RegExp":
            return this.whole(`${RegExp.prototype.toString.call(value)} `, "{",
                this.properties(value), "}");
        case "Map":
            return brand(mapSize, value) === undefined ? null : this.map(value, name);
        case "Set":
            return brand(setSize, value) === undefined ? null : this.set(value, name);
        case "ArrayBuffer":
            return brand(bufferSize, value) === undefined ? null : this.buffer(value, name);
        case "Boolean":
        case "Number":
        case "String":
        case "BigInt":
        case "Symbol":
            return this.wrapper(value, globalThis[tag]);
        default:
            return ArrayBuffer.isView(value) ? this.view(value, name)
                : this.platform(value, name, tag);
        }
    }

    date(value) {
        const time = brand(Date.prototype.getTime, value);
        if (time === undefined) {
            return null;
        }
        const text = Number.isNaN(time) ? "Invalid Date" : new Date(time).toISOString();
        return this.whole(`${text} `, "{", this.properties(value), "}");
    }

    wrapper(value, Wrapper) {
        const inner = brand(Wrapper.prototype.valueOf, value);
        return inner === undefined ? null
            : this.whole(`[${Wrapper.name}: ${primitive(inner)}] `, "{",
                this.properties(value, typeof inner === "string"), "}");
    }

    limited(items, item) {
        return items.length < MOST_ITEMS ? this.value(item) : null;
    }

    collection(head, items, rest) {
        const shown = items.slice(0, MOST_ITEMS);
        if (items.length > MOST_ITEMS) {
            shown.push(more(items.length - MOST_ITEMS));
        }
        return this.whole(head, "{", [...shown, ...rest], "}", false, true);
    }

    map(value, name) {
        const items = [];
        Map.prototype.forEach.call(value, (item, mapKey) => {
            items.push(items.length >= MOST_ITEMS ? null
                : `${this.value(mapKey)} => ${this.value(item)}`);
        });
        return this.collection(`${name}(${items.length}) `, items, this.properties(value));
    }

    set(value, name) {
        const items = [];
        Set.prototype.forEach.call(value, (item) => items.push(this.limited(items, item)));
        return this.collection(`${name}(${items.length}) `, items, this.properties(value));
    }

    view(value, name) {
        if (brand(viewName, value) === undefined) {
            let size = 0;
            try {
                size = value.byteLength;
            } catch {
                return "DataView { <out of bounds> }";
            }
            return `DataView { byteLength: ${size}, byteOffset: ${value.byteOffset}, `
                + `buffer: ${this.value(value.buffer)} }`;
        }
        const items = Array.from(value.subarray(0, MOST_ITEMS), primitive);
        if (value.length > MOST_ITEMS) {
            items.push(more(value.length - MOST_ITEMS));
        }
        return this.whole(`${name}(${value.length}) `, "[", items, "]", true);
    }

    buffer(value, name) {
        if (value.detached) {
            return `${name} { (detached), byteLength: 0 }`;
        }
        const size = value.byteLength;
        const bytes = Array.from(new Uint8Array(value, 0, Math.min(size, 50)),
            (byte) => byte.toString(16).padStart(2, "0")).join(" ");
        const rest = size > 50 ? ` ... ${size - 50} more bytes` : "";
        return `${name} { [Uint8Contents]: <${bytes}${rest}>, byteLength: ${size} }`;
    }

    platform(value, name, tag) {
        if (tag === "Promise" && value instanceof Promise) {
            return this.whole(`${name} `, "{", ["<state unknown>", ...this.properties(value)], "}");
        }
        if (["WeakMap", "WeakSet", "WeakRef"].includes(tag) && value instanceof globalThis[tag]) {
            return `${name} { <items unknown> }`;
        }
        if ((tag === "Headers" || tag === "URLSearchParams") && value instanceof globalThis[tag]) {
            const items = Array.from(value, ([one, text]) => `${quote(one)} => ${quote(text)}`);
            return this.whole(`${name} `, "{", items, "}", false, true);
        }
        const shown = Object.hasOwn(SHOWN, tag) ? SHOWN[tag]
            : globalThis.Event && value instanceof globalThis.Event ? SHOWN.Event : null;
        if (shown === null) {
            return null;
        }
        const lines = [];
        for (const member of shown) {
            try {
                lines.push(`${member}: ${this.value(value[member])}`);
            } catch {
                return null; /* it only claims the tag */
            }
        }
        return this.whole(`${name} `, "{", [...lines, ...this.properties(value)], "}");
    }

    plain(value, name) {
        const tag = ownTag(value);
        const head = name === null ? "[Object: null prototype] "
            : name === "Object" ? "" : `${name} `;
        const note = tag === "" || tag === name ? head
            : `${head === "" ? "Object " : head}[${tag}] `;
        return this.whole(note, "{", this.properties(value), "}", false, true);
    }

    items(array) {
        const items = [];
        const end = array.length;
        for (let i = 0; i < end && items.length < MOST_ITEMS; i++) {
            if (Object.hasOwn(array, i)) {
                items.push(this.member(array, String(i), ""));
                continue;
            }
            const next = nextIndex(array, i);
            items.push(`<${next - i} empty item${next - i === 1 ? "" : "s"}>`);
            i = next - 1;
            if (next >= end) {
                return items;
            }
        }
        if (items.length === MOST_ITEMS && end > MOST_ITEMS) {
            items.push(more(end - MOST_ITEMS));
        }
        return items;
    }

    member(object, name, prefix) {
        const property = Object.getOwnPropertyDescriptor(object, name);
        if (property === undefined) {
            return `${prefix}undefined`; /* a proxy changed its mind */
        }
        if (property.get !== undefined) {
            return `${prefix}${property.set === undefined ? "[Getter]" : "[Getter/Setter]"}`;
        }
        return property.set === undefined ? prefix + this.value(property.value)
            : `${prefix}[Setter]`;
    }

    properties(object, skipIndices = false) {
        const lines = [];
        for (const name of Reflect.ownKeys(object)) {
            const shown = Object.prototype.propertyIsEnumerable.call(object, name)
                || (this.showHidden && name !== "length");
            if (!shown || (skipIndices && typeof name === "string" && /^\d+$/.test(name))) {
                continue;
            }
            if (lines.length >= MOST_ITEMS) {
                lines.push("...");
                break;
            }
            lines.push(this.member(object, name, `${key(name)}: `));
        }
        return lines;
    }

    /* Head, brackets and what is between them, on one line if that is short enough.
     * A head that says it all needs no empty brackets. */
    whole(head, open, lines, close, isList = false, always = false) {
        if (lines.length === 0) {
            return head === "" || always || isList ? `${head}${open}${close}` : head.trimEnd();
        }
        const length = lines.reduce((sum, line) => sum + line.length + 2, head.length + 4);
        if (length <= WIDTH && !lines.some((line) => line.includes("\n"))
                && !(isList && lines.length > 6)) {
            return `${head}${open} ${lines.join(", ")} ${close}`;
        }
        const body = isList && lines.length > 6 ? fillLines(lines) : lines;
        return `${head}${open}\n${body.map(indent).join(",\n")}\n${close}`;
    }
}

function nextIndex(array, from) {
    if (array.length - from <= 10000) {
        let i = from;
        while (i < array.length && !Object.hasOwn(array, i)) {
            i++;
        }
        return i;
    }
    const next = Object.keys(array).find((name) => /^\d+$/.test(name) && Number(name) >= from);
    return next === undefined ? array.length : Number(next);
}

function more(count) {
    return `... ${count} more item${count === 1 ? "" : "s"}`;
}

function indent(text) {
    return `  ${text.replaceAll("\n", "\n  ")}`;
}

/* Many short items go side by side. */
function fillLines(items) {
    if (items.some((item) => item.length > 16 && !item.startsWith("... ") || item.includes("\n"))) {
        return items;
    }
    const width = Math.max(...items.filter((item) => !item.startsWith("... "))
        .map((item) => item.length)) + 2;
    const columns = Math.max(1, Math.min(16, Math.floor(WIDTH / width)));
    const lines = [];
    for (let i = 0; i < items.length; i += columns) {
        const row = items.slice(i, i + columns);
        lines.push(row.map((item, at) => (at === row.length - 1 ? item : `${item},`.padEnd(width)))
            .join(""));
    }
    return lines;
}

export function inspect(value, depth = 2, showHidden = false) {
    return new Inspector(depth, showHidden).value(value);
}
