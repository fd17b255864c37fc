/* DOMException, AbortController and AbortSignal.  EventTarget and Event are the
 * prelude's. */
import { dictionary, finishInterface, needArguments, shareKin, take } from "./parts/webidl.js";

const CODES = {
    IndexSizeError: 1, HierarchyRequestError: 3, WrongDocumentError: 4, InvalidCharacterError: 5,
    NoModificationAllowedError: 7, NotFoundError: 8, NotSupportedError: 9, InUseAttributeError: 10,
    InvalidStateError: 11, SyntaxError: 12, InvalidModificationError: 13, NamespaceError: 14,
    InvalidAccessError: 15, TypeMismatchError: 17, SecurityError: 18, NetworkError: 19,
    AbortError: 20, URLMismatchError: 21, QuotaExceededError: 22, TimeoutError: 23,
    InvalidNodeTypeError: 24, DataCloneError: 25,
};

const CONSTANTS = {
    INDEX_SIZE_ERR: 1, DOMSTRING_SIZE_ERR: 2, HIERARCHY_REQUEST_ERR: 3, WRONG_DOCUMENT_ERR: 4,
    INVALID_CHARACTER_ERR: 5, NO_DATA_ALLOWED_ERR: 6, NO_MODIFICATION_ALLOWED_ERR: 7,
    NOT_FOUND_ERR: 8, NOT_SUPPORTED_ERR: 9, INUSE_ATTRIBUTE_ERR: 10, INVALID_STATE_ERR: 11,
    SYNTAX_ERR: 12, INVALID_MODIFICATION_ERR: 13, NAMESPACE_ERR: 14, INVALID_ACCESS_ERR: 15,
    VALIDATION_ERR: 16, TYPE_MISMATCH_ERR: 17, SECURITY_ERR: 18, NETWORK_ERR: 19, ABORT_ERR: 20,
    URL_MISMATCH_ERR: 21, QUOTA_EXCEEDED_ERR: 22, TIMEOUT_ERR: 23, INVALID_NODE_TYPE_ERR: 24,
    DATA_CLONE_ERR: 25,
};

class Given {
    constructor(object) {
        return object;
    }
}

/* Puts the private fields of a DOMException on an error that the engine made:
 * only a real error has a stack, and DOMException itself must not inherit from
 * the constructor Error. */
class ExceptionState extends Given {
    #name;
    #message;

    constructor(error, name, message) {
        super(error);
        this.#name = name;
        this.#message = message;
    }

    static name(error) {
        return error.#name;
    }

    static message(error) {
        return error.#message;
    }

    static isOn(value) {
        return #name in value;
    }
}

export const DOMException = finishInterface(class DOMException {
    constructor(message = "", name = "Error") {
        const text = `${message}`;
        let givenName = name;
        let cause;
        if (name !== null && typeof name === "object") {
            givenName = name.name === undefined ? "Error" : name.name;
            cause = "cause" in name ? { cause: name.cause } : undefined;
        }
        const error = Reflect.construct(Error, [undefined, cause], new.target);
        return new ExceptionState(error, `${givenName}`, text);
    }

    get name() {
        return ExceptionState.name(this);
    }

    get message() {
        return ExceptionState.message(this);
    }

    get code() {
        const name = ExceptionState.name(this);
        return Object.hasOwn(CODES, name) ? CODES[name] : 0;
    }
}, "DOMException");

Object.setPrototypeOf(DOMException.prototype, Error.prototype);
for (const [name, value] of Object.entries(CONSTANTS)) {
    Object.defineProperty(DOMException, name, { value, enumerable: true });
    Object.defineProperty(DOMException.prototype, name, { value, enumerable: true });
}

export function isDOMException(value) {
    return typeof value === "object" && value !== null && ExceptionState.isOn(value);
}

function quotaNumber(value, what) {
    if (value === undefined) {
        return null;
    }
    const number = Number(value);
    if (!Number.isFinite(number)) {
        throw new TypeError(`QuotaExceededError: ${what} is not a number`);
    }
    if (number < 0) {
        throw new RangeError(`QuotaExceededError: ${what} is negative`);
    }
    return number;
}

export const QuotaExceededError = finishInterface(class QuotaExceededError extends DOMException {
    #quota;
    #requested;

    constructor(message = "", options = undefined) {
        super(message, "QuotaExceededError");
        const given = dictionary(options, "QuotaExceededError: the options");
        this.#quota = quotaNumber(given?.quota, "the quota");
        this.#requested = quotaNumber(given?.requested, "what was requested");
        if (this.#quota !== null && this.#requested !== null && this.#requested < this.#quota) {
            throw new RangeError("QuotaExceededError: the quota is above what was requested");
        }
    }

    get quota() {
        return this.#quota;
    }

    get requested() {
        return this.#requested;
    }
}, "QuotaExceededError");

const permission = Symbol("made by the host");
const { EventTarget, Event } = globalThis;

function abortError() {
    return new DOMException("The operation was aborted", "AbortError");
}

export const AbortSignal = finishInterface(class AbortSignal extends EventTarget {
    #aborted = false;
    #reason = undefined;
    #onabort = null;
    #algorithms = null;
    #sources = null; /* non-null: this signal follows others, all of which follow none */
    #dependents = null; /* WeakRefs: a long-lived source keeps nobody alive ... */
    #listened = null; /* ... except those that somebody listens to */

    constructor(key) {
        if (key !== permission) {
            throw new TypeError("Illegal constructor");
        }
        super();
    }

    get aborted() {
        return this.#aborted;
    }

    get reason() {
        return this.#reason;
    }

    get onabort() {
        return this.#onabort;
    }

    set onabort(handler) {
        const usable = typeof handler === "function"
            || (typeof handler === "object" && handler !== null);
        if (this.#onabort === null && usable) {
            this.addEventListener("abort", (event) => {
                if (typeof this.#onabort === "function") {
                    this.#onabort.call(this, event);
                }
            });
        }
        this.#onabort = usable ? handler : null;
    }

    addEventListener(type, ...rest) {
        super.addEventListener(type, ...rest);
        if (type === "abort") {
            this.#keep();
        }
    }

    throwIfAborted() {
        if (this.#aborted) {
            throw this.#reason;
        }
    }

    static abort(reason = undefined) {
        const signal = new AbortSignal(permission);
        signal.#mark(reason === undefined ? abortError() : reason);
        return signal;
    }

    static timeout(milliseconds) {
        needArguments(arguments.length, 1, "AbortSignal.timeout");
        const delay = Math.trunc(Number(milliseconds));
        if (!(delay >= 0 && delay <= Number.MAX_SAFE_INTEGER)) {
            throw new TypeError("AbortSignal.timeout: not a number of milliseconds");
        }
        const signal = new AbortSignal(permission);
        globalThis.setTimeout(() => {
            abortSignal(signal, new DOMException("The operation timed out", "TimeoutError"));
        }, Math.min(delay, 0x7fffffff));
        return signal;
    }

    static any(signals) {
        needArguments(arguments.length, 1, "AbortSignal.any");
        if ((typeof signals !== "object" && typeof signals !== "function") || signals === null
                || typeof signals[Symbol.iterator] !== "function") {
            throw new TypeError("AbortSignal.any: not a sequence of signals");
        }
        return followSignals([...signals]);
    }

    static isSignal(value) {
        return typeof value === "object" && value !== null && #aborted in value;
    }

    /* A signal that is aborted with the first of these. */
    static follow(signals) {
        for (const signal of signals) {
            if (!isSignal(signal)) {
                throw new TypeError("AbortSignal.any: not an AbortSignal");
            }
        }
        const result = new AbortSignal(permission);
        const aborted = signals.find((signal) => signal.#aborted);
        if (aborted !== undefined) {
            result.#mark(aborted.#reason);
            return result;
        }
        result.#sources = new Set(signals.flatMap((signal) => [...signal.#sources ?? [signal]]));
        const reference = new WeakRef(result);
        for (const source of result.#sources) {
            (source.#dependents ??= new Set()).add(reference);
        }
        return result;
    }

    static abortIt(signal, reason) {
        if (signal.#aborted) {
            return;
        }
        signal.#mark(reason === undefined ? abortError() : reason);
        const affected = [signal];
        for (const reference of signal.#dependents ?? []) {
            const dependent = reference.deref();
            if (dependent !== undefined && !dependent.#aborted) {
                dependent.#mark(signal.#reason);
                affected.push(dependent);
            }
        }
        signal.#dependents = null;
        signal.#listened = null;
        affected.forEach((one) => one.#run());
    }

    /* Runs the algorithm when the signal is aborted; returns how to call that off. */
    static onAbort(signal, algorithm) {
        if (signal.#aborted) {
            algorithm(signal.#reason);
        } else {
            (signal.#algorithms ??= new Set()).add(algorithm);
            signal.#keep();
        }
        return () => signal.#algorithms?.delete(algorithm);
    }

    #mark(reason) {
        this.#aborted = true;
        this.#reason = reason;
    }

    #run() {
        const algorithms = this.#algorithms;
        this.#algorithms = null;
        this.#sources = null;
        algorithms?.forEach((algorithm) => algorithm(this.#reason));
        const { fire, mapOf } = native.chunk("core2");
        fire(mapOf(this), this, Event, "abort", {});
    }

    #keep() {
        for (const source of this.#sources ?? []) {
            (source.#listened ??= new Set()).add(this);
        }
    }
}, "AbortSignal");

/* What the host and other chunks may do with a signal. */
export const isSignal = take(AbortSignal, "isSignal");
export const followSignals = take(AbortSignal, "follow");
const findKin = shareKin(native, "signals", (value) => isSignal(value) ? value : undefined);
/* This one; or, of another realm's, one that is aborted with it.  undefined: it is none. */
export function ownSignal(value) {
    if (isSignal(value)) {
        return value;
    }
    const found = findKin(value);
    if (found === undefined) {
        return undefined;
    }
    const signal = new AbortSignal(permission);
    if (found.aborted) {
        abortSignal(signal, found.reason);
    } else {
        found.addEventListener("abort", () => abortSignal(signal, found.reason));
    }
    return signal;
}
export const abortSignal = take(AbortSignal, "abortIt");
export const onAbort = take(AbortSignal, "onAbort");

export const AbortController = finishInterface(class AbortController {
    #signal = new AbortSignal(permission);

    get signal() {
        return this.#signal;
    }

    abort(reason = undefined) {
        abortSignal(this.#signal, reason);
    }
}, "AbortController");
