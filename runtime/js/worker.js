/* new Worker() and new SharedWorker(): a worker of the coordinator's making, and the port to it.
 *
 * The coordinator knows a worker by the number of the question that made it; so what it tells of one is
 * understood before it has answered. */
import { finishInterface, needArguments, take, usvString } from "./parts/webidl.js";

export default function (native) {
    const core = native.chunk("core");
    const core2 = native.chunk("core2");
    const host = native.chunk("host_port");
    const ports = native.chunk("ports");
    const { STATE } = core;
    const { domError, mapOf } = core2;
    const global = globalThis;
    const CANCELED = 8;
    const TYPES = ["classic", "module"];
    const CREDENTIALS = ["same-origin", "omit", "include"];

    const workers = new Map(); /* number -> Worker */
    const sharedWorkers = new Map(); /* number -> WeakRef of a SharedWorker */
    const tokens = new Map(); /* number -> what keeps this context from being ended while the worker runs */

    function letGo(number) {
        const token = tokens.get(number);
        if (tokens.delete(number)) {
            native.tokenDrop(token);
        }
    }

    function word(value, words, what) {
        if (value === undefined) {
            return words[0];
        }
        const text = `${value}`;
        if (!words.includes(text)) {
            throw new TypeError(`${what}: ${text} is none of ${words.join(", ")}`);
        }
        return text;
    }

    function readOptions(given, what) {
        if (given !== undefined && given !== null && typeof given !== "object" && typeof given !== "function") {
            throw new TypeError(`${what}: the options are no object`);
        }
        return {
            credentials: word(given?.credentials, CREDENTIALS, `${what}: credentials`),
            name: given?.name === undefined ? "" : `${given.name}`,
            type: word(given?.type, TYPES, `${what}: type`),
        };
    }

    function parse(text, what) {
        const base = global.document?.baseURI ?? global.location.href;
        try {
            return new (native.chunk("url").URL)(text, base).href;
        } catch {
            throw domError("SyntaxError", `${what}: ${text} is no valid URL`);
        }
    }

    /* What a blob: URL means is looked up now: it may be revoked before the worker loads, and other processes
     * do not know it. */
    function withBlob(url, given) {
        const found = url.startsWith("blob:") ? native.chunk("blob").findObjectURL(url) : null;
        return found === null ? given
            : { ...given, text: new (native.chunk("encoding").TextDecoder)().decode(found[0]), textType: found[1] };
    }

    /* ---- errors (ERR-1, ERR-2) */

    /* At the worker's object; what nobody takes there is an error of this context's. */
    function report(target, { name, message, filename, lineno, colno }) {
        const fields = { message: `Uncaught ${name}: ${message}`, filename, lineno, colno, error: null };
        const handle = (map, object) => {
            const list = map.error;
            if (list === undefined) {
                return false;
            }
            const event = core2.make(core2.ErrorEvent, "error", fields);
            core.run(map, list, event, event[STATE], object);
            return (event[STATE].flags & CANCELED) !== 0;
        };
        if (!handle(mapOf(target), target) && !handle(core.listeners, global)
                && native.identity().type === "dedicated") {
            native.report(new Error(fields.message)); /* so that its own maker hears of it */
        }
    }

    function failed(target, error) {
        const place = host.placeOf(error);
        if (place !== undefined && place.filename !== "" && error.name !== "SyntaxError" && target instanceof Worker) {
            report(target, place);
        } else {
            core2.fire(mapOf(target), target, core.Event, "error", undefined);
        }
    }

    host.on("worker.error", (_, number, place) => {
        const worker = workers.get(number);
        if (worker !== undefined) {
            report(worker, place);
        }
        const shared = sharedWorkers.get(number)?.deref();
        if (sharedWorkers.delete(number) && shared !== undefined) { /* it died */
            core2.fire(mapOf(shared), shared, core.Event, "error", undefined);
        }
    });

    /* ---- Worker */

    const Worker = finishInterface(class Worker extends core2.EventTarget {
        #port;
        #number;

        /* DW-1 */
        constructor(scriptURL, options = undefined) {
            needArguments(arguments.length, 1, "Worker");
            const text = usvString(scriptURL);
            const given = readOptions(options, "Worker");
            const url = parse(text, "Worker");
            super();
            const [mine, theirs] = ports.makePair();
            const answer = host.ask("worker.new", [url, withBlob(url, given)], { handles: [theirs] });
            const number = this.#number = host.lastAsked();
            this.#port = ports.implicitPort(this, mine, () => letGo(number));
            workers.set(number, this);
            tokens.set(number, native.tokenTake(`worker ${url}`));
            answer.catch((error) => {
                letGo(number);
                if (workers.delete(number)) {
                    failed(this, error);
                }
            });
        }

        postMessage(message, options = undefined) {
            const port = this.#port;
            needArguments(arguments.length, 1, "Worker.postMessage");
            port.post(message, options);
        }

        terminate() {
            this.#port.close();
            letGo(this.#number);
            if (workers.delete(this.#number)) {
                host.tell("worker.terminate", [this.#number]);
            }
        }

        static check(worker) {
            return worker.#number;
        }
    }, "Worker");
    Object.defineProperty(Worker, "length", { value: 1, configurable: true });
    const checkWorker = take(Worker, "check");
    core2.defineHandlers(Worker, (worker) => (checkWorker(worker), mapOf(worker)),
        "message", "messageerror", "error");

    /* ---- SharedWorker */

    const SharedWorker = finishInterface(class SharedWorker extends core2.EventTarget {
        #port;

        /* SHW-1 */
        constructor(scriptURL, options = undefined) {
            needArguments(arguments.length, 1, "SharedWorker");
            const text = usvString(scriptURL);
            const isDictionary = options === undefined || options === null || typeof options === "object"
                || typeof options === "function";
            const given = {
                ...readOptions(isDictionary ? options : { name: options }, "SharedWorker"),
                extendedLifetime: isDictionary && !!options?.extendedLifetime,
            };
            const url = parse(text, "SharedWorker");
            super();
            const [mine, theirs] = ports.makePair();
            this.#port = ports.portOf(mine, `shared worker ${url}`);
            const answer = host.ask("shared.new", [url, withBlob(url, given)], { handles: [theirs] });
            const number = host.lastAsked();
            sharedWorkers.set(number, new WeakRef(this));
            answer.catch((error) => {
                sharedWorkers.delete(number);
                failed(this, error);
            });
        }

        get port() {
            return this.#port;
        }

        static check(worker) {
            return worker.#port;
        }
    }, "SharedWorker");
    Object.defineProperty(SharedWorker, "length", { value: 1, configurable: true });
    const checkShared = take(SharedWorker, "check");
    core2.defineHandlers(SharedWorker, (worker) => (checkShared(worker), mapOf(worker)), "error");

    return { Worker, SharedWorker };
}
