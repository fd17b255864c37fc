/* ServiceWorker and ServiceWorkerRegistration: what scripts see of versions and registrations.
 *
 * The coordinator names both by numbers.  A realm has one record for each that it has heard of, and one
 * object (made when a script first looks), whose state and slots change only by what the coordinator tells,
 * in the order in which it tells it (SW-OBJ-1). */
import { byteString, finishInterface, needArguments, take } from "./parts/webidl.js";

export default function (native) {
    const core = native.chunk("core");
    const core2 = native.chunk("core2");
    const host = native.chunk("host_port");
    const ports = native.chunk("ports");
    const { environment } = host;
    const { domError } = core2;
    const KEY = Symbol("made by the host");
    const FIELD = /^[\t\x20-\x7e\x80-\xff]*$/;

    const versions = new Map(); /* id -> record */
    const registrations = new Map();

    const ownedBy = (key) => {
        if (key !== KEY) {
            throw new TypeError("Illegal constructor");
        }
    };
    const finish = (made, name) =>
        Object.defineProperty(finishInterface(made, name), "length", { value: 0, configurable: true });

    /* ---- ServiceWorker */

    const ServiceWorker = finish(class ServiceWorker extends core2.EventTarget {
        #record;

        constructor(key, record) {
            ownedBy(key);
            super();
            this.#record = record;
        }

        get scriptURL() {
            return this.#record.scriptURL;
        }

        get state() {
            return this.#record.state;
        }

        postMessage(message, options = undefined) {
            const record = this.#record;
            needArguments(arguments.length, 1, "ServiceWorker.postMessage");
            if (host.hasLeft()) {
                throw domError("InvalidStateError", "this page is gone");
            }
            host.tell("version.post", [record.id],
                { data: message, transfer: ports.transferListOf(options, "ServiceWorker.postMessage") });
        }

        static check(worker) {
            return worker.#record;
        }
    }, "ServiceWorker");
    const checkWorker = take(ServiceWorker, "check");
    core2.defineHandlers(ServiceWorker, (worker) => (checkWorker(worker), core2.mapOf(worker)), "statechange", "error");

    /* The record of what the coordinator says of a version; null: there is none. */
    function versionOf(tree) {
        if (tree === null || tree === undefined) {
            return null;
        }
        let record = versions.get(tree.id);
        if (record === undefined) {
            record = { id: tree.id, scriptURL: tree.scriptURL, state: tree.state, object: null };
            versions.set(tree.id, record);
        }
        return record;
    }

    function workerOf(record) {
        return record === null ? null : record.object ??= new ServiceWorker(KEY, record);
    }

    /* ---- what belongs to a registration */

    async function setPreload(record, change) {
        if (record.active === null) {
            throw domError("InvalidStateError", "the registration has no active worker");
        }
        await host.ask("navigationPreload.set", [record.id, change]);
        Object.assign(record.navigationPreload, change);
    }

    const NavigationPreloadManager = finish(class NavigationPreloadManager {
        #record;

        constructor(key, record) {
            ownedBy(key);
            this.#record = record;
        }

        async enable() {
            return setPreload(this.#record, { enabled: true });
        }

        async disable() {
            return setPreload(this.#record, { enabled: false });
        }

        async setHeaderValue(value) {
            const record = this.#record;
            needArguments(arguments.length, 1, "setHeaderValue");
            const text = byteString(value, "setHeaderValue");
            if (!FIELD.test(text)) {
                throw new TypeError("setHeaderValue: this is no value of a header");
            }
            return setPreload(record, { headerValue: text });
        }

        /* As it is now; of a registration that is gone, as it was last known. */
        async getState() {
            const record = this.#record;
            const { enabled, headerValue } = await host.ask("navigationPreload.get", [record.id])
                .catch(() => record.navigationPreload);
            return { enabled, headerValue };
        }
    }, "NavigationPreloadManager");

    const SyncManager = finish(class SyncManager {
        #record;

        constructor(key, record) {
            ownedBy(key);
            this.#record = record;
        }

        async register(tag) {
            const record = this.#record;
            needArguments(arguments.length, 1, "SyncManager.register");
            const text = `${tag}`;
            if (record.active === null) {
                throw domError("InvalidStateError", "the registration has no active worker");
            }
            await host.ask("sync.register", [record.id, text]);
        }

        async getTags() {
            return host.ask("sync.tags", [this.#record.id]);
        }
    }, "SyncManager");

    /* [EnforceRange] unsigned long long */
    function wholeNumber(value, what) {
        const number = Number(value);
        const whole = Math.trunc(number);
        if (!Number.isFinite(number) || whole < 0 || whole > Number.MAX_SAFE_INTEGER) {
            throw new TypeError(`${what}: ${value} is no number of milliseconds`);
        }
        return whole;
    }

    const PeriodicSyncManager = finish(class PeriodicSyncManager {
        #record;

        constructor(key, record) {
            ownedBy(key);
            this.#record = record;
        }

        async register(tag, options = undefined) {
            const record = this.#record;
            needArguments(arguments.length, 1, "PeriodicSyncManager.register");
            const text = `${tag}`;
            const interval = options?.minInterval === undefined ? 0
                : wholeNumber(options.minInterval, "PeriodicSyncManager.register");
            if (record.active === null) {
                throw domError("InvalidStateError", "the registration has no active worker");
            }
            await host.ask("periodicSync.register", [record.id, text, interval]);
        }

        async getTags() {
            return host.ask("periodicSync.tags", [this.#record.id]);
        }

        async unregister(tag) {
            const record = this.#record;
            needArguments(arguments.length, 1, "PeriodicSyncManager.unregister");
            await host.ask("periodicSync.unregister", [record.id, `${tag}`]);
        }
    }, "PeriodicSyncManager");

    /* ---- ServiceWorkerRegistration */

    const ServiceWorkerRegistration = finish(class ServiceWorkerRegistration extends core2.EventTarget {
        #record;
        #managers = {};

        constructor(key, record) {
            ownedBy(key);
            super();
            this.#record = record;
        }

        get installing() {
            return workerOf(this.#record.installing);
        }

        get waiting() {
            return workerOf(this.#record.waiting);
        }

        get active() {
            return workerOf(this.#record.active);
        }

        get navigationPreload() {
            return this.#managers.preload ??= new NavigationPreloadManager(KEY, this.#record);
        }

        get scope() {
            return this.#record.scope;
        }

        get updateViaCache() {
            return this.#record.updateViaCache;
        }

        get sync() {
            return this.#managers.sync ??= new SyncManager(KEY, this.#record);
        }

        get periodicSync() {
            return this.#managers.periodicSync ??= new PeriodicSyncManager(KEY, this.#record);
        }

        /* SW-UPD-1 */
        async update() {
            const record = this.#record;
            if ((record.installing ?? record.waiting ?? record.active) === null) {
                throw domError("InvalidStateError", "the registration has no worker");
            }
            if (environment.type === "service" && versionOf(ownVersion()).state === "installing") {
                throw domError("InvalidStateError", "the worker is being installed");
            }
            return registrationOf(await host.ask("update", [record.id]));
        }

        async unregister() {
            return host.ask("unregister", [this.#record.id]);
        }

        static check(registration) {
            return registration.#record;
        }
    }, "ServiceWorkerRegistration");
    const checkRegistration = take(ServiceWorkerRegistration, "check");
    core2.defineHandlers(ServiceWorkerRegistration,
        (registration) => (checkRegistration(registration), core2.mapOf(registration)), "updatefound");

    function setSlots(record, tree) {
        record.installing = versionOf(tree.installing);
        record.waiting = versionOf(tree.waiting);
        record.active = versionOf(tree.active);
        record.updateViaCache = tree.updateViaCache ?? record.updateViaCache ?? "imports";
        record.navigationPreload = tree.navigationPreload ?? { enabled: false, headerValue: "true" };
    }

    /* Those slots are newer than what is known: answers and tells come in one order. */
    function recordOfRegistration(tree) {
        let record = registrations.get(tree.id);
        if (record === undefined) {
            record = { id: tree.id, scope: tree.scope, object: null };
            registrations.set(tree.id, record);
        }
        setSlots(record, tree);
        return record;
    }

    function registrationOf(tree) {
        if (tree === null || tree === undefined) {
            return undefined;
        }
        const record = recordOfRegistration(tree);
        return record.object ??= new ServiceWorkerRegistration(KEY, record);
    }

    /* ---- the worker itself */

    function ownVersion() {
        return { id: environment.versionId ?? 0, scriptURL: environment.url,
            state: "parsed" };
    }

    const isService = environment.type === "service";
    if (isService && environment.registration === null) { /* there is no coordinator that knows more */
        environment.registration = { id: 0, scope: environment.scope ?? "" };
    }
    const ownRegistration = isService ? recordOfRegistration(environment.registration) : null;

    /* ---- what the coordinator tells */

    const dispatch = (object, type) => core2.fire(core2.mapOf(object), object, core.Event, type, undefined);

    host.on("state", (_, id, state) => {
        const record = versions.get(id);
        if (record === undefined || record.state === state) {
            return;
        }
        record.state = state;
        if (record.object !== null) {
            dispatch(record.object, "statechange");
        }
        if (state === "redundant" && record.object === null) {
            versions.delete(id);
        }
    });

    host.on("registration", (_, tree) => {
        const record = registrations.get(tree.id);
        if (record !== undefined) {
            setSlots(record, tree);
        }
    });

    host.on("updatefound", (_, id) => {
        const object = registrations.get(id)?.object ?? null;
        if (object !== null) {
            dispatch(object, "updatefound");
        }
    });

    return {
        ServiceWorker, ServiceWorkerRegistration, NavigationPreloadManager, SyncManager, PeriodicSyncManager,
        get registration() {
            return ownRegistration === null ? undefined
                : ownRegistration.object ??= new ServiceWorkerRegistration(KEY, ownRegistration);
        },
        get serviceWorker() {
            return isService ? workerOf(versionOf(ownVersion())) : undefined;
        },
        /* for other chunks */
        registrationOf,
        serviceWorkerOf: (tree) => workerOf(versionOf(tree)),
        /* Who sent a message: a CLIENT or a VERSION of the coordinator's, or null. */
        sourceOf(tree) {
            return tree === null || tree === undefined ? null
                : tree.scriptURL !== undefined ? workerOf(versionOf(tree))
                    : native.chunk("clients").clientOf(tree);
        },
        /* The controller's answer; null: it leaves it to the network. */
        handleFetch: (request) => native.chunk("handle_fetch").handleFetch(request),
    };
}
