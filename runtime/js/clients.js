/* self.clients of service workers, and what they see of a client. */
import { finishInterface, needArguments, take, usvString } from "./parts/webidl.js";

export default function (native) {
    const core2 = native.chunk("core2");
    const host = native.chunk("host_port");
    const ports = native.chunk("ports");
    const { domError } = core2;
    const KEY = Symbol("made by the host");
    const TYPES = ["window", "worker", "sharedworker", "all"];
    const { environment } = host;

    const noConstructor = (made) => {
        Object.defineProperty(made, "length", { value: 0, configurable: true });
        return made;
    };

    const Client = noConstructor(finishInterface(class Client {
        #tree;

        constructor(key, tree) {
            if (key !== KEY) {
                throw new TypeError("Illegal constructor");
            }
            this.#tree = tree;
        }

        get url() {
            return this.#tree.url;
        }

        get frameType() {
            return this.#tree.frameType;
        }

        get id() {
            return this.#tree.id;
        }

        get type() {
            return this.#tree.type;
        }

        /* EV-MSG-2 */
        postMessage(message, options = undefined) {
            const { id } = this.#tree;
            needArguments(arguments.length, 1, "Client.postMessage");
            host.tell("client.post", [id],
                { data: message, transfer: ports.transferListOf(options, "Client.postMessage") });
        }

        static isClient(value) {
            return typeof value === "object" && value !== null && #tree in value;
        }
    }, "Client"));
    const isClient = native.isClient = take(Client, "isClient");

    /* Nobody looks at what runs without a screen, unless its shell says so. */
    const WindowClient = noConstructor(finishInterface(class WindowClient extends Client {
        #origins;
        #tree;

        constructor(key, tree) {
            super(key, tree);
            this.#tree = tree;
            this.#origins = Object.freeze([]);
        }

        get visibilityState() {
            return this.#tree.visibilityState ?? "hidden";
        }

        get focused() {
            return this.#tree.focused ?? false;
        }

        get ancestorOrigins() {
            return this.#origins;
        }

        async focus() {
            this.#origins;
            throw domError("InvalidAccessError", "no user has acted, and there is nothing to focus");
        }

        async navigate(url) {
            this.#origins;
            needArguments(arguments.length, 1, "navigate");
            parse(usvString(url), "navigate");
            throw new TypeError("navigate: the client cannot be navigated from here");
        }
    }, "WindowClient"));

    function parse(text, what) {
        let url;
        try {
            url = new (native.chunk("url").URL)(text, environment.url);
        } catch {
            throw new TypeError(`${what}: ${text} is no valid URL`);
        }
        if (url.href === "about:blank") {
            throw new TypeError(`${what}: about:blank is no place for this`);
        }
        return url;
    }

    const clientOf = (tree) => new (tree.type === "window" ? WindowClient : Client)(KEY, tree);

    const Clients = noConstructor(finishInterface(class Clients {
        #key;

        constructor(key) {
            if (key !== KEY) {
                throw new TypeError("Illegal constructor");
            }
            this.#key = key;
        }

        /* CL-GET */
        async get(id) {
            this.#key;
            needArguments(arguments.length, 1, "Clients.get");
            const tree = await host.ask("clients.get", [`${id}`]);
            return tree === null || tree === undefined ? undefined : clientOf(tree);
        }

        /* CL-ALL */
        async matchAll(options = undefined) {
            this.#key;
            if (options !== undefined && options !== null && typeof options !== "object"
                    && typeof options !== "function") {
                throw new TypeError("matchAll: the options are no object");
            }
            const includeUncontrolled = !!options?.includeUncontrolled;
            const type = options?.type === undefined ? "window" : `${options.type}`;
            if (!TYPES.includes(type)) {
                throw new TypeError(`matchAll: there is no type ${type} of clients`);
            }
            const trees = await host.ask("clients.matchAll", [{ includeUncontrolled, type }]);
            return Object.freeze(trees.map(clientOf));
        }

        /* CL-OPEN */
        async openWindow(url) {
            this.#key;
            needArguments(arguments.length, 1, "openWindow");
            parse(usvString(url), "openWindow");
            throw domError("InvalidAccessError", "openWindow: no user has acted");
        }

        /* CL-CLAIM */
        async claim() {
            this.#key;
            await host.ask("claim", []);
        }
    }, "Clients"));

    return { Client, WindowClient, Clients, clients: new Clients(KEY), clientOf, isClient };
}
