/* performance: the clock, marks and measures.
 *
 * A worker may live for months: of the entries only the newest are kept. */
import { dictionary, finishInterface, needArguments } from "./parts/webidl.js";

const { now } = native; /* a look-up there costs as much as the call */
const MOST_ENTRIES = 10000;
const permission = Symbol("made by the host");
const { EventTarget } = globalThis;

export const PerformanceEntry = finishInterface(class PerformanceEntry {
    #name;
    #type;
    #start;
    #duration;

    constructor(key, name, type, start, duration) {
        if (key !== permission) {
            throw new TypeError("Illegal constructor");
        }
        this.#name = name;
        this.#type = type;
        this.#start = start;
        this.#duration = duration;
    }

    get name() {
        return this.#name;
    }

    get entryType() {
        return this.#type;
    }

    get startTime() {
        return this.#start;
    }

    get duration() {
        return this.#duration;
    }

    toJSON() {
        const detail = "detail" in this ? { detail: this.detail } : {};
        return { name: this.#name, entryType: this.#type, startTime: this.#start,
            duration: this.#duration, ...detail };
    }
}, "PerformanceEntry");

function copyDetail(detail) {
    return detail === undefined || detail === null ? null
        : native.chunk("clone").structuredClone(detail);
}

export const PerformanceMark = finishInterface(class PerformanceMark extends PerformanceEntry {
    #detail;

    constructor(name, options = undefined) {
        needArguments(arguments.length, 1, "PerformanceMark");
        const given = dictionary(options, "PerformanceMark: the options");
        const start = given?.startTime === undefined ? now() : Number(given.startTime);
        if (!(start >= 0 && start < Infinity)) {
            throw new TypeError("PerformanceMark: the start time is not a time");
        }
        super(permission, `${name}`, "mark", start, 0);
        this.#detail = copyDetail(given?.detail);
    }

    get detail() {
        return this.#detail;
    }
}, "PerformanceMark");

export const PerformanceMeasure = finishInterface(
    class PerformanceMeasure extends PerformanceEntry {
        #detail;

        constructor(key, name, start, duration, detail) {
            super(key, name, "measure", start, duration);
            this.#detail = detail;
        }

        get detail() {
            return this.#detail;
        }
    }, "PerformanceMeasure");

export const Performance = finishInterface(class Performance extends EventTarget {
    #entries = [];

    constructor(key) {
        if (key !== permission) {
            throw new TypeError("Illegal constructor");
        }
        super();
    }

    get timeOrigin() {
        this.#entries;
        return native.timeOrigin;
    }

    now() {
        this.#entries;
        return now();
    }

    mark(name, options = undefined) {
        needArguments(arguments.length, 1, "performance.mark");
        return this.#add(new PerformanceMark(name, options));
    }

    measure(name, startOrOptions = undefined, endMark = undefined) {
        needArguments(arguments.length, 1, "performance.measure");
        const options = typeof startOrOptions === "object" && startOrOptions !== null
            ? startOrOptions : { start: startOrOptions };
        if (options === startOrOptions && endMark !== undefined
            && Object.keys(options).length > 0) {
            throw new TypeError("performance.measure: both options and an end");
        }
        const { start, end = endMark, duration } = options;
        if (options === startOrOptions && Object.keys(options).length > 0
                && start === undefined && end === undefined) {
            throw new TypeError("performance.measure: neither a start nor an end");
        }
        if (start !== undefined && end !== undefined && duration !== undefined) {
            throw new TypeError("performance.measure: a start, an end and a duration");
        }
        const to = end !== undefined ? this.#time(end)
            : start !== undefined && duration !== undefined ? this.#time(start) + Number(duration)
                : now();
        const from = start !== undefined ? this.#time(start)
            : duration !== undefined ? to - Number(duration) : 0;
        return this.#add(new PerformanceMeasure(permission, `${name}`, from, to - from,
            copyDetail(options.detail)));
    }

    #add(entry) {
        this.#entries.push(entry);
        if (this.#entries.length > 2 * MOST_ENTRIES) {
            this.#entries = this.#entries.slice(-MOST_ENTRIES);
        }
        return entry;
    }

    /* A time, or the name of a mark. */
    #time(value) {
        if (typeof value === "number") {
            if (!(value >= 0)) {
                throw new TypeError("performance.measure: a time is negative");
            }
            return value;
        }
        const name = `${value}`;
        const found = this.#entries.findLast(
            (entry) => entry.entryType === "mark" && entry.name === name);
        if (found === undefined) {
            const { DOMException } = native.chunk("dom");
            throw new DOMException(`performance.measure: there is no mark ${name}`, "SyntaxError");
        }
        return found.startTime;
    }

    clearMarks(name = undefined) {
        this.#clear("mark", name);
    }

    clearResourceTimings() {} // no entries of that kind are kept

    setResourceTimingBufferSize(size) {
        needArguments(arguments.length, 1, "Performance.setResourceTimingBufferSize");
        Number(size);
    }

    clearMeasures(name = undefined) {
        this.#clear("measure", name);
    }

    #clear(type, name) {
        this.#entries = this.#entries.filter((entry) => entry.entryType !== type
            || (name !== undefined && entry.name !== `${name}`));
    }

    getEntries() {
        return this.#entries.toSorted((a, b) => a.startTime - b.startTime);
    }

    getEntriesByType(type) {
        needArguments(arguments.length, 1, "performance.getEntriesByType");
        return this.getEntries().filter((entry) => entry.entryType === `${type}`);
    }

    getEntriesByName(name, type = undefined) {
        needArguments(arguments.length, 1, "performance.getEntriesByName");
        return this.getEntries().filter((entry) => entry.name === `${name}`
            && (type === undefined || entry.entryType === `${type}`));
    }

    toJSON() {
        return { timeOrigin: this.timeOrigin };
    }
}, "Performance");

export const performance = new Performance(permission);
