/* navigator.serviceWorker: registers, finds registrations, and gets what service workers send to this client.
 *
 * Messages wait until the queue is enabled (EV-MSG-2): by startMessages(), by the first handler that is set
 * as onmessage, or when the document is loaded, which a worker always is. */
import { finishInterface, needArguments, take, usvString } from "./parts/webidl.js";

export default function (native) {
    const core = native.chunk("core");
    const core2 = native.chunk("core2");
    const host = native.chunk("host_port");
    const { registrationOf, serviceWorkerOf } = native.chunk("service_worker");
    const { environment } = host;
    const { domError } = core2;
    const { STATE } = core;
    const global = globalThis;
    const KEY = Symbol("made by the host");
    const UPDATE_VIA_CACHE = ["imports", "all", "none"];
    const TYPES = ["classic", "module"];
    const CANCELABLE = 2; /* as core has it */

    const queue = []; /* what waits, until it is enabled */
    let isEnabled = false;
    let ready = null;

    const URL = () => native.chunk("url").URL;
    const base = () => global.document?.baseURI ?? global.location.href;

    function parse(text, against, what) {
        let url;
        try {
            url = new (URL())(text, against);
        } catch {
            throw new TypeError(`${what}: ${text} is no valid URL`);
        }
        url.hash = "";
        return url;
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

    /* SW-REG-1.  Where this context is not of the web, its own scheme will do. */
    function check(url, what) {
        const own = new (URL())(global.location.href).protocol;
        const isWeb = (protocol) => protocol === "http:" || protocol === "https:";
        if (!isWeb(url.protocol) && (isWeb(own) || url.protocol !== own)) {
            throw new TypeError(`${what}: ${url.protocol} is no scheme for a service worker`);
        }
        if (/%2f|%5c/i.test(url.pathname)) {
            throw new TypeError(`${what}: the path has an escaped slash or backslash`);
        }
        return url.href;
    }

    const ServiceWorkerContainer = finishInterface(class ServiceWorkerContainer extends core2.EventTarget {
        #key;

        constructor(key) {
            if (key !== KEY) {
                throw new TypeError("Illegal constructor");
            }
            super();
            this.#key = key;
        }

        get controller() {
            this.#key;
            return host.hasLeft() ? null : serviceWorkerOf(environment.controller);
        }

        get ready() {
            try {
                this.#key;
            } catch (error) {
                return Promise.reject(error);
            }
            return ready ??= host.ask("ready", []).then(registrationOf, () => new Promise(() => {}));
        }

        async register(scriptURL, options = undefined) {
            this.#key;
            needArguments(arguments.length, 1, "register");
            const text = usvString(scriptURL);
            if (options !== undefined && options !== null && typeof options !== "object"
                    && typeof options !== "function") {
                throw new TypeError("register: the options are no object");
            }
            const scopeText = options?.scope === undefined ? undefined : usvString(options.scope);
            const type = word(options?.type, TYPES, "register: type");
            const updateViaCache = word(options?.updateViaCache, UPDATE_VIA_CACHE, "register: updateViaCache");
            const script = parse(text, base(), "register");
            const scope = scopeText === undefined ? parse("./", script.href, "register")
                : parse(scopeText, base(), "register: scope");
            const tree = await host.ask("register", [check(script, "register"), check(scope, "register: scope"),
                { type, updateViaCache }]);
            return registrationOf(tree);
        }

        async getRegistration(clientURL = "") {
            this.#key;
            const url = parse(usvString(clientURL), base(), "getRegistration");
            if (url.origin !== new (URL())(global.location.href).origin) {
                throw domError("SecurityError", "getRegistration: the URL is of another origin");
            }
            return registrationOf(await host.ask("getRegistration", [url.href]));
        }

        async getRegistrations() {
            this.#key;
            return Object.freeze((await host.ask("getRegistrations", [])).map(registrationOf));
        }

        startMessages() {
            this.#key;
            enable();
        }

        static check(container) {
            return container.#key;
        }
    }, "ServiceWorkerContainer");
    Object.defineProperty(ServiceWorkerContainer, "length", { value: 0, configurable: true });
    const checkContainer = take(ServiceWorkerContainer, "check");
    const mapOf = (object) => (checkContainer(object), core2.mapOf(object));
    core2.defineHandlers(ServiceWorkerContainer, mapOf, "controllerchange", "message", "messageerror");
    {
        const { get, set } = Object.getOwnPropertyDescriptor(ServiceWorkerContainer.prototype, "onmessage");
        const property = {
            set onmessage(handler) {
                set.call(this, handler);
                enable();
            },
        };
        Object.defineProperty(ServiceWorkerContainer.prototype, "onmessage",
            { get, set: Object.getOwnPropertyDescriptor(property, "onmessage").set });
    }

    const container = new ServiceWorkerContainer(KEY);
    const map = core2.mapOf(container);

    /* ---- messages */

    function deliver({ data, ports, isUnreadable, source }) {
        const type = isUnreadable ? "messageerror" : "message";
        const list = map[type];
        if (list === undefined) {
            return;
        }
        const worker = serviceWorkerOf(source);
        const origin = worker === null ? "" : new (URL())(worker.scriptURL).origin;
        const event = core2.make(core2.MessageEvent, type,
            { origin, lastEventId: "", source: worker, ports: Object.freeze(ports) });
        event[STATE].data = isUnreadable ? null : data;
        event[STATE].flags &= ~CANCELABLE;
        core.run(map, list, event, event[STATE], container);
    }

    /* Each as a task of its own. */
    function deliverNext() {
        const next = queue.shift();
        if (next !== undefined) {
            core2.setTimeout(deliverNext, 0);
            deliver(next);
        }
    }

    function enable() {
        if (!isEnabled) {
            isEnabled = true;
            core2.setTimeout(deliverNext, 0);
        }
    }

    host.on("message", (payload, head) => {
        const message = { ...payload, source: head?.source };
        if (isEnabled && queue.length === 0) {
            deliver(message);
        } else {
            queue.push(message);
        }
    });

    host.on("controller", (_, version, isChanged) => {
        if (isChanged !== false) {
            core2.fire(map, container, core.Event, "controllerchange", undefined);
        }
    });

    if (global.document?.readyState !== "loading") {
        enable();
    } else {
        global.document.addEventListener("DOMContentLoaded", enable, { once: true });
    }

    return { ServiceWorkerContainer, container };
}
