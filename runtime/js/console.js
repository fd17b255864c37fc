/* The console.  What it prints goes to the host's log with a level: 0 error,
 * 1 warning, 2 information, 3 debugging. */
import { inspect } from "./parts/inspect.js";

const ERROR = 0;
const WARNING = 1;
const INFORMATION = 2;
const DEBUGGING = 3;

const counts = new Map();
const timers = new Map();
let indentation = "";

function print(level, text) {
    native.print(level, indentation === "" ? text
        : indentation + text.replaceAll("\n", `\n${indentation}`));
}

function isObject(value) {
    return (typeof value === "object" && value !== null) || typeof value === "function";
}

function directive(letter, value) {
    switch (letter) {
    case "s":
        return typeof value === "string" ? value
            : isObject(value) ? inspect(value, 0) : inspect(value).replace(/^-0$/, "-0");
    case "d":
    case "i":
        return typeof value === "bigint" ? `${value}n`
            : typeof value === "symbol" || isObject(value) ? "NaN"
                : letter === "i" ? String(Number.parseInt(value, 10)) : inspect(Number(value));
    case "f":
        return typeof value === "symbol" ? "NaN" : String(Number.parseFloat(value));
    case "o":
        return inspect(value, 4, true);
    case "O":
        return inspect(value, 4);
    default:
        return ""; /* %c: there are no styles here */
    }
}

function format(values) {
    if (values.length === 0) {
        return "";
    }
    let next = 0;
    let text = "";
    if (typeof values[0] === "string") {
        next = 1;
        const fill = (all, letter) => (letter === "%" ? "%"
            : next < values.length ? directive(letter, values[next++]) : all);
        text = values.length === 1 ? values[0] : values[0].replace(/%([sdifoOc%])/g, fill);
    }
    const rest = values.slice(next)
        .map((value) => (typeof value === "string" ? value : inspect(value)));
    return (next === 0 ? rest : [text, ...rest]).join(" ");
}

function stackOf(above) {
    const holder = new Error();
    return `${holder.stack}`.split("\n").slice(above)
        .map((line) => `    at ${line.replace("@", " @ ")}`).join("\n");
}

function label(value) {
    return value === undefined ? "default" : `${value}`;
}

function duration(since) {
    const ms = native.now() - since;
    return ms < 1000 ? `${ms.toFixed(3)}ms` : `${(ms / 1000).toFixed(3)}s`;
}

function printTimer(name, values) {
    const since = timers.get(name);
    if (since === undefined) {
        print(WARNING, `Timer '${name}' does not exist`);
        return;
    }
    const text = `${name}: ${duration(since)}`;
    print(INFORMATION, values.length === 0 ? text
        : `${text} ${format(["", ...values]).trimStart()}`);
}

/* ---- tables */

function cell(value) {
    return typeof value === "object" && value !== null ? inspect(value, 0).replaceAll("\n", " ")
        : typeof value === "function" ? inspect(value, 0) : inspect(value);
}

/* [[index, item], ...] of what is shown line by line. */
function rowsOf(data) {
    if (data instanceof Map) {
        return Array.from(data, ([key, value], i) => [String(i), value, cell(key)]);
    }
    if (data instanceof Set) {
        return Array.from(data, (value, i) => [String(i), value]);
    }
    return Object.keys(data).map((key) => [key, data[key]]);
}

function tableText(data, wanted) {
    const rows = rowsOf(data);
    const columns = wanted ? Array.from(wanted, String) : [];
    let hasValues = false;
    for (const [, item] of rows) {
        if (isObject(item)) {
            if (!wanted) {
                columns.push(...Object.keys(item).filter((key) => !columns.includes(key)));
            }
        } else {
            hasValues = true;
        }
    }
    const keyed = data instanceof Map;
    const isIteration = keyed || data instanceof Set;
    const head = [isIteration ? "(iteration index)" : "(index)", ...(keyed ? ["Key"] : []),
        ...columns, ...(hasValues ? ["Values"] : [])];
    const inColumn = (item, name) => (isObject(item) && Object.hasOwn(item, name)
        ? cell(item[name]) : "");
    const lines = rows.map(([index, item, key]) => [index, ...(keyed ? [key] : []),
        ...columns.map((name) => inColumn(item, name)),
        ...(hasValues ? [isObject(item) ? "" : cell(item)] : [])]);
    return drawTable(head, lines);
}

function drawTable(head, lines) {
    const widths = head.map((title, i) => Math.max(title.length,
        ...lines.map((line) => line[i].length)) + 2);
    const rule = (left, middle, right) =>
        left + widths.map((width) => "\u2500".repeat(width)).join(middle) + right;
    const row = (cells) => `\u2502${cells.map((text, i) => ` ${text}`.padEnd(widths[i]))
        .join("\u2502")}\u2502`;
    return [rule("\u250c", "\u252c", "\u2510"), row(head), rule("\u251c", "\u253c", "\u2524"),
        ...lines.map(row), rule("\u2514", "\u2534", "\u2518")].join("\n");
}

/* ---- the namespace */

const members = {
    assert(condition = false, ...values) {
        if (condition) {
            return;
        }
        if (typeof values[0] === "string") {
            values[0] = `Assertion failed: ${values[0]}`;
        } else {
            values.unshift("Assertion failed");
        }
        print(ERROR, format(values));
    },
    clear() {
        indentation = "";
    },
    count(name = "default") {
        const text = label(name);
        const count = (counts.get(text) ?? 0) + 1;
        counts.set(text, count);
        print(INFORMATION, `${text}: ${count}`);
    },
    countReset(name = "default") {
        const text = label(name);
        if (!counts.delete(text)) {
            print(WARNING, `Count for '${text}' does not exist`);
        }
    },
    debug(...values) {
        print(DEBUGGING, format(values));
    },
    dir(item, options = undefined) {
        const depth = options?.depth === null ? Infinity : options?.depth ?? 2;
        print(INFORMATION, inspect(item, Number(depth), Boolean(options?.showHidden)));
    },
    dirxml(...values) {
        print(INFORMATION, values.map((value) => inspect(value)).join(" "));
    },
    error(...values) {
        print(ERROR, format(values));
    },
    group(...values) {
        if (values.length > 0) {
            print(INFORMATION, format(values));
        }
        indentation += "  ";
    },
    groupCollapsed(...values) {
        members.group(...values);
    },
    groupEnd() {
        indentation = indentation.slice(2);
    },
    info(...values) {
        print(INFORMATION, format(values));
    },
    log(...values) {
        print(INFORMATION, format(values));
    },
    table(data, columns = undefined) {
        print(INFORMATION, isObject(data) ? tableText(data, columns) : format([data]));
    },
    time(name = "default") {
        const text = label(name);
        if (timers.has(text)) {
            print(WARNING, `Timer '${text}' already exists`);
            return;
        }
        timers.set(text, native.now());
    },
    timeEnd(name = "default") {
        const text = label(name);
        printTimer(text, []);
        timers.delete(text);
    },
    timeLog(name = "default", ...values) {
        printTimer(label(name), values);
    },
    trace(...values) {
        const text = values.length === 0 ? "Trace" : `Trace: ${format(values)}`;
        print(INFORMATION, `${text}\n${stackOf(2)}`);
    },
    warn(...values) {
        print(WARNING, format(values));
    },
};

/* A namespace object: its prototype is an empty object of its own. */
export const console = Object.create({}, {
    [Symbol.toStringTag]: { value: "console", configurable: true },
});
Object.assign(console, members);
