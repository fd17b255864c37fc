/* Modules from the web: links and runs what runtime/module_graph.c has fetched, and fetches more for import().
 *
 * A module's text is the body of a function: `require` answers a module that it imports, `exports` of `module`
 * are its own, `__muster_import` is import(), `__muster_meta` import.meta.  A module runs once, by its address, and
 * throws the same for ever if it has thrown. */
const map = new Map(); /* address -> record */
const PARAMETERS = "require, module, exports, __muster_import, __muster_meta";

function learn(described) {
    for (const { url, base, text, imports } of described) {
        if (!map.has(url)) {
            map.set(url, { base, text, imports, module: null, failure: null, namespace: null });
        }
    }
    return map.get(described[0].url);
}

/* What the text that was just evaluated has left. */
function takeDescribed() {
    const described = globalThis.__muster_modules;
    delete globalThis.__muster_modules;
    return described;
}

function resolve(specifier, base) {
    const { URL } = native.chunk("url");
    const text = `${specifier}`;
    try {
        return /^(\/|\.\.?\/)/.test(text) ? new URL(text, base).href : new URL(text).href;
    } catch {
        throw new TypeError(`the module "${text}" cannot be found from ${base}`);
    }
}

function run(record) {
    if (record.failure !== null) {
        throw record.failure.error;
    }
    if (record.module !== null) {
        return record.module.exports;
    }
    const { base } = record;
    const module = record.module = { exports: {} };
    try {
        const body = native.evaluateAt(`(function (${PARAMETERS}) {${record.text}\n})`, base);
        record.text = null;
        body.call(undefined, (specifier) => run(map.get(record.imports[specifier])), module, module.exports,
            (specifier) => importFrom(specifier, base),
            Object.assign(Object.create(null), { url: base, resolve: (specifier) => resolve(specifier, base) }));
    } catch (error) {
        record.failure = { error };
        throw error;
    }
    return module.exports;
}

/* What import() answers: the exports and nothing else; live, as the getters of the exports are. */
function namespaceOf(record) {
    if (record.namespace === null) {
        const exports = run(record), names = Object.keys(exports).filter((name) => name !== "__esModule").sort();
        record.namespace = Object.create(null, { [Symbol.toStringTag]: { value: "Module" } });
        for (const name of names) {
            Object.defineProperty(record.namespace, name, { get: () => exports[name], enumerable: true });
        }
        Object.preventExtensions(record.namespace);
    }
    return record.namespace;
}

/* import(specifier), as `base` calls it. */
export async function importFrom(specifier, base) {
    if (native.identity().type === "service") {
        throw new TypeError("a service worker does not import() modules");
    }
    const url = resolve(specifier, base);
    if (!map.has(url)) {
        const problem = native.importScript(`module ${url}`);
        if (problem !== undefined) {
            throw new TypeError(`${problem}`);
        }
        learn(takeDescribed());
    }
    return namespaceOf(map.get(url));
}

/* The worker's own script is a module; answers its namespace. */
export function start() {
    return namespaceOf(learn(takeDescribed()));
}
