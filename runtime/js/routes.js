/* InstallEvent.addRoutes(): reads the rules and sends them to the coordinator, which routes requests by them
 * without waking the worker.  What is said here of a rule is what the coordinator gets:
 *
 *     { condition: { urlPattern: { protocol, username, password, hostname, port, pathname, search, hash, ignoreCase },
 *                    requestMethod, requestMode, requestDestination, runningStatus, or: [...], not: {...} },
 *       source: "network" | "cache" | "fetch-event" | "race-network-and-fetch-handler" | { cacheName } } */
const core = native.chunk("core");
const core2 = native.chunk("core2");
const host = native.chunk("host_port");

const MOST_CONDITIONS = 1024;
const DEEPEST = 10;
const PARTS = ["protocol", "username", "password", "hostname", "port", "pathname", "search", "hash"];
const SOURCES = ["cache", "fetch-event", "network", "race-network-and-fetch-handler"];
const STATUSES = ["running", "not-running"];
const MODES = ["navigate", "same-origin", "no-cors", "cors"];
const DESTINATIONS = ["", "audio", "audioworklet", "document", "embed", "font", "frame", "iframe", "image", "json",
    "manifest", "object", "paintworklet", "report", "script", "sharedworker", "style", "text", "track", "video",
    "worker", "xslt"];
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FORBIDDEN = ["CONNECT", "TRACE", "TRACK"];
const NORMALIZED = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];

function object(value, what) {
    if (value === undefined || value === null || (typeof value !== "object" && typeof value !== "function")) {
        throw new TypeError(`addRoutes: ${what} is no object`);
    }
    return value;
}

function word(value, words, what) {
    const text = `${value}`;
    if (!words.includes(text)) {
        throw new TypeError(`addRoutes: ${text} is no ${what}`);
    }
    return text;
}

function readPattern(value) {
    const { URLPattern, ignoresCase } = native.chunk("urlpattern");
    const base = host.environment.url;
    const pattern = value instanceof URLPattern ? value
        : typeof value === "object" && value !== null
            ? new URLPattern(value.baseURL === undefined ? { ...value, baseURL: base } : value)
            : new URLPattern(`${value}`, base);
    if (pattern.hasRegExpGroups) {
        throw new TypeError("addRoutes: a pattern has a group with a regular expression");
    }
    return { ...Object.fromEntries(PARTS.map((part) => [part, pattern[part]])), ignoreCase: ignoresCase(pattern) };
}

function readMethod(value) {
    const text = `${value}`;
    const upper = text.toUpperCase();
    if (!TOKEN.test(text) || FORBIDDEN.includes(upper)) {
        throw new TypeError(`addRoutes: ${text} is no method that a request may have`);
    }
    return NORMALIZED.includes(upper) ? upper : text;
}

/* `count` is of all conditions of all rules. */
function readCondition(value, depth, count) {
    const given = object(value, "a condition");
    const read = {};
    if (depth > DEEPEST || ++count.all > MOST_CONDITIONS) {
        throw new TypeError(`addRoutes: there are more than ${MOST_CONDITIONS} conditions, `
            + `or they are more than ${DEEPEST} deep`);
    }
    if (given.not !== undefined) {
        read.not = readCondition(given.not, depth + 1, count);
    }
    if (given.or !== undefined) {
        read.or = core2.sequenceOf(given.or, "addRoutes: or").map((one) => readCondition(one, depth + 1, count));
    }
    if (given.requestDestination !== undefined) {
        read.requestDestination = word(given.requestDestination, DESTINATIONS, "destination of a request");
    }
    if (given.requestMethod !== undefined) {
        read.requestMethod = readMethod(given.requestMethod);
    }
    if (given.requestMode !== undefined) {
        read.requestMode = word(given.requestMode, MODES, "mode of a request");
    }
    if (given.runningStatus !== undefined) {
        read.runningStatus = word(given.runningStatus, STATUSES, "running status");
    }
    if (given.urlPattern !== undefined) {
        read.urlPattern = readPattern(given.urlPattern);
    }
    const size = Object.keys(read).length;
    if (size === 0) {
        throw new TypeError("addRoutes: a condition is empty");
    }
    if (size > 1 && (read.or !== undefined || read.not !== undefined)) {
        throw new TypeError("addRoutes: `or` and `not` stand alone in a condition");
    }
    return read;
}

function readSource(value) {
    if (value === undefined) {
        throw new TypeError("addRoutes: a rule has no source");
    }
    if (typeof value === "object" && value !== null) {
        if (value.cacheName === undefined) {
            throw new TypeError("addRoutes: the source names no cache");
        }
        return { cacheName: `${value.cacheName}` };
    }
    const source = word(value, SOURCES, "source");
    if ((source === "fetch-event" || source === "race-network-and-fetch-handler")
            && core.listeners.fetch === undefined) {
        throw new TypeError(`addRoutes: ${source} needs a listener for fetch`);
    }
    return source;
}

function readRules(value) {
    const count = { all: 0 };
    const list = typeof object(value, "the rule")[Symbol.iterator] === "function" ? [...value] : [value];
    return list.map((rule) => {
        const given = object(rule, "a rule");
        return { condition: readCondition(given.condition, 1, count), source: readSource(given.source) };
    });
}

/* `state` is the event's.  The install waits for the answer and succeeds whatever it is. */
export async function addRoutes(event, state, rules) {
    if (state.id < 0 || (state.turn !== core.turn() && state.pending === 0)) {
        core2.tooLate();
    }
    const read = readRules(rules);
    core.extend(event, state);
    try {
        await host.ask("addRoutes", [read]);
    } finally {
        Promise.resolve().then(() => {
            if (core.settle(state) !== 0) {
                native.release(state.id);
            }
        });
    }
}
