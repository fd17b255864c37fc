/* tests/wpt/window_client.mjs - opens a page as a window client and reports what its tests found.
 *
 * Run by tests/wpt/run as `muster run --type client tests/wpt/window_client.mjs URL`: this realm is the shell of a
 * browser without a screen.  A page, and each frame in it, is a further realm in the same engine group and a
 * client of its own (muster.openRealm); its document is window_page.mjs, its HTML is read here.  Each line that is
 * printed is one JSON object: {"status", "message", "tests": [{"name", "status", "message"}]}. */
import { readHtml } from "./window_html.mjs";
import { windowPage } from "./window_page.mjs";

const PAGE_SCRIPT = `(${windowPage})`;
const REPORTER = "/resources/testharnessreport.js";
const REPORT = `
    setup({ output: false });
    add_completion_callback((tests, status) => __muster_report(
        status.status, status.message, tests.map((one) => [one.name, one.status, one.message])));
`;
const SCRIPT_TYPES = new Set(["", "text/javascript", "application/javascript", "text/ecmascript",
    "application/ecmascript", "application/x-javascript", "module"]);

function report(status, message, tests) {
    console.log(JSON.stringify({ status, message,
        tests: tests.map(([name, result, text]) => ({ name, status: result, message: text })) }));
    close();
}

/* ---- pages */

const pages = new Set();
const focused = new Set();
const pageOf = (window) => [...pages].find((page) => page.window === window);

class Page {
    constructor(url, parent, element) {
        this.url = url;
        this.parent = parent;
        this.element = element;
        this.frames = new Set();
        this.isClosed = false;
        this.isParsing = false;
        pages.add(this);
        parent?.frames.add(this);
    }

    get window() { return this.realm?.global ?? null; }

    async load() {
        const response = await this.open();
        if (this.isClosed) {
            return;
        }
        const isHtml = /html|xml/.test(response.headers.get("content-type") ?? "html");
        const text = await response.text();
        if (!this.isClosed) {
            await this.show(isHtml ? text : `<pre>${escapeHtml(text)}</pre>`);
        }
    }

    /* A realm for the URL, and the response that its navigation gets; redirects make a new client. */
    async open() {
        for (let hops = 0; hops < 20; hops++) {
            this.realm?.close();
            this.realm = muster.openRealm(this.url, { parent: this.parent?.realm,
                frameType: this.parent ? "nested" : "top-level" });
            this.setUp();
            if (/^(about|data|blob):/.test(this.url)) {
                return this.url.startsWith("about:") ? new Response("") : fetch(this.url);
            }
            const response = await this.realm.navigate({ destination: this.parent ? "iframe" : "document",
                referrer: this.parent && /^https?:/.test(this.parent.url) ? this.parent.url : "" });
            this.url = this.realm.url;
            const location = response.headers.get("location");
            if (response.status < 300 || response.status > 399 || location === null) {
                return response;
            }
            const next = new URL(location, this.url);
            next.hash ||= new URL(this.url).hash;
            this.url = next.href;
        }
        throw new TypeError("too many redirects");
    }

    setUp() {
        const page = this;
        this.realm.show(true, this.parent === null || focused.has(this));
        const url = new URL(this.url === "about:blank" || this.url === "" ? "about:blank" : this.url);
        const inherited = url.protocol === "about:" && this.parent ? new URL(this.parent.url) : url;
        const make = this.realm.evaluate(PAGE_SCRIPT, "window_page.mjs");
        this.part = make({
            origin: inherited.origin, isSecure: inherited.protocol === "https:" || inherited.hostname === "127.0.0.1",
            name: this.element?.getAttribute("name") ?? "",
            frameElement: this.element ?? null,
            location: this.location(),
            baseUrl: () => (url.protocol === "about:" && page.parent ? page.parent.url : page.url),
            parent: () => page.parent?.window,
            top: () => page.top().window,
            isWindow: (object) => pageOf(object) !== undefined,
            focus: () => page.focus(),
            load: (source, given) => page.realm.load(source, given),
            readHtml,
            isParsing: () => page.isParsing,
            runScript: (element) => page.runScript(element),
            openFrame: (element, source) => page.openFrame(element, source),
            navigateFrame: (element, source) => element.frame.navigate(source),
            navigateSelf: (target) => page.navigate(target),
            postMessage: (window, ...given) => page.receive(...given),
            fileList: (files) => page.realm.fileList(files),
        });
        this.realm.global.__muster_report = this.parent ? () => {} : report;
        /* What nobody catches is the harness's affair where it is there, and does not end the program. */
        const { window } = this;
        for (const type of ["error", "unhandledrejection"]) {
            window.addEventListener(type, (event) => {
                if (this.parent || window.add_completion_callback !== undefined) {
                    event.preventDefault();
                }
            });
        }
    }

    top() { return this.parent?.top() ?? this; }

    /* It and what it is in have the focus; all are visible. */
    focus() {
        focused.clear();
        for (let page = this; page; page = page.parent) {
            focused.add(page);
        }
        pages.forEach((page) => page.realm?.show(true, focused.has(page)));
    }

    location() {
        const page = this;
        const part = (name) => ({ get: () => new URL(page.url)[name], set(text) {
            const url = new URL(page.url);
            url[name] = text;
            page.navigate(url.href);
        }, enumerable: true });
        const names = ["protocol", "host", "hostname", "port", "pathname", "search", "hash"];
        return Object.defineProperties({
            get origin() { return new URL(page.url).origin; },
            get href() { return page.url; },
            set href(url) { page.navigate(page.part.absolute(url)); },
            assign(url) { page.navigate(page.part.absolute(url)); },
            replace(url) { page.navigate(page.part.absolute(url)); },
            reload() { page.navigate(page.url, true); },
            toString() { return page.url; },
        }, Object.fromEntries(names.map((name) => [name, part(name)])));
    }

    /* ---- its content */

    async show(html) {
        const { document } = this.part;
        const doers = []; /* scripts and frames, in order */
        const build = this.part.builder();
        this.isParsing = true;
        readHtml(withRoots(html), { ...build, begin: (...given) => {
            const element = build.begin(...given);
            if (given[0] === "script" || given[0] === "iframe") {
                doers.push(element);
            }
            return element;
        } });
        this.isParsing = false;
        for (const element of doers) {
            if (this.isClosed) {
                return;
            }
            if (element.isConnected && element.localName === "iframe") {
                element.connected();
            } else if (element.isConnected && SCRIPT_TYPES.has(element.type)) {
                element.wasParsed = true;
                await this.runScript(element, true);
            }
        }
        this.part.setState("interactive");
        this.part.fire(document, "DOMContentLoaded", { bubbles: true });
        await Promise.all([...this.frames].map((frame) => frame.loading));
        if (this.isClosed) {
            return;
        }
        this.part.setState("complete");
        this.part.fire(this.window, "load");
    }

    async runScript(element, isParser = false) {
        const { document } = this.part;
        let text = element.textContent, url = this.url;
        if (element.hasAttribute("src")) {
            url = element.src;
            try {
                text = await this.scriptText(url);
            } catch (error) {
                this.part.fire(element, "error");
                return;
            }
        }
        if (this.isClosed) {
            return;
        }
        document.currentScript = element;
        try {
            this.realm.evaluate(text, url);
        } catch (error) {
            this.window.reportError(error);
        } finally {
            document.currentScript = null;
        }
        if (element.hasAttribute("src") || !isParser) {
            this.part.fire(element, "load");
        }
    }

    async scriptText(url) {
        if (new URL(url).pathname === REPORTER) {
            return REPORT;
        }
        const response = await this.realm.load(url, { destination: "script" });
        if (!response.ok) {
            throw new TypeError(`${url}: ${response.status}`);
        }
        return response.text();
    }

    /* ---- frames */

    openFrame(element, source) {
        const frame = new Page(source === "" ? "about:blank" : source, this, element);
        frame.begin();
        return frame;
    }

    begin() {
        if (this.url === "about:blank") { /* there at once */
            this.realm = muster.openRealm("about:blank", { parent: this.parent.realm, frameType: "nested" });
            this.setUp();
            readHtml(withRoots(""), this.part.builder());
            this.part.document.readyState = "complete";
        }
        this.loading = (this.url === "about:blank" ? Promise.resolve() : this.load()).then(() => {
            if (!this.isClosed && this.element) {
                this.parent.part.fire(this.element, "load");
            }
        }, (error) => {
            if (!this.isClosed && this.element) {
                this.showFailure(error);
                this.parent.part.fire(this.element, "load");
            }
        });
    }

    showFailure() {
        this.realm?.close();
        this.url = "about:blank";
        this.realm = muster.openRealm("about:blank", { parent: this.parent.realm, frameType: "nested" });
        this.setUp();
        readHtml(withRoots(""), this.part.builder());
        this.part.document.readyState = "complete";
        Object.defineProperty(this.realm.global, "document", { get: () => null });
    }

    navigate(url) {
        const old = new URL(this.url, "about:blank"), target = new URL(url, this.url);
        if (target.hash !== "" && old.href.split("#")[0] === target.href.split("#")[0]) {
            this.url = target.href;
            this.part.fire(this.window, "hashchange");
            return;
        }
        if (!this.parent) {
            throw new TypeError("the page itself does not navigate");
        }
        this.empty();
        this.url = target.href;
        queueMicrotask(() => this.begin());
    }

    empty() {
        for (const frame of this.frames) {
            frame.close();
        }
        this.frames.clear();
    }

    close() {
        if (this.isClosed) {
            return;
        }
        this.isClosed = true;
        this.empty();
        pages.delete(this);
        this.parent?.frames.delete(this);
        this.realm?.close();
    }

    /* ---- window.postMessage: from whichever page runs; its realm is the one that called */

    receive(message, target, transfer) {
        const sender = pages.size === 1 ? this : pageOf(muster.callerOf?.()) ?? this.parent ?? this;
        const wanted = target === undefined || target === "/" ? sender.part && new URL(sender.url).origin
            : target === "*" ? "*" : this.originOf(target);
        const copy = this.part.structuredClone({ message, transfer }, { transfer });
        if (wanted !== "*" && wanted !== new URL(this.url).origin) {
            return;
        }
        const ports = copy.transfer.filter(this.part.isPort);
        setTimeout(() => {
            if (!this.isClosed) {
                this.part.deliver(copy.message, new URL(sender.url).origin, sender.window, Object.freeze(ports));
            }
        });
    }

    originOf(url) {
        try {
            return new URL(url).origin;
        } catch {
            throw new this.realm.global.DOMException("the target origin is no URL", "SyntaxError");
        }
    }
}

const escapeHtml = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
/* A page may leave its roots out. */
const withRoots = (html) => (/<body[\s>]/i.test(html) ? html : /<\/head>/i.test(html)
    ? html.replace(/<\/head>/i, "</head><body>") : `<html><head></head><body>${html}`);

const [pageUrl] = muster.args;
new Page(pageUrl, null, null).load().catch((error) => {
    report(1, `the page did not load: ${error}\n${error?.stack ?? ""}`, []);
});
