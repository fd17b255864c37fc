/* tests/wpt/window_page.mjs - the little of a window and a document that test pages use.
 *
 * A function whose text is evaluated in the realm of a page; the window client (window_client.mjs) calls it there
 * with its hooks.  There is no layout, no style and no rendering: elements are a tree with attributes and
 * text, and two kinds of them do something when they come into the document, scripts and frames. */
export function windowPage(hooks) {
    "use strict";
    const window = globalThis;
    const own = (object, name, get, set) =>
        Object.defineProperty(object, name, { get, set, configurable: true, enumerable: true });
    const value = (object, name, content) =>
        Object.defineProperty(object, name, { value: content, writable: true, configurable: true, enumerable: true });

    /* ---- events with a handler property */

    function handlers(prototype, names) {
        const table = new WeakMap();
        for (const name of names) {
            own(prototype, `on${name}`, function () {
                return table.get(this)?.get(name)?.callback ?? null;
            }, function (callback) {
                const target = this ?? window;
                const mine = table.get(target) ?? new Map();
                table.set(target, mine);
                const old = mine.get(name);
                if (old !== undefined) {
                    old.callback = typeof callback === "function" ? callback : null;
                } else if (typeof callback === "function") {
                    const record = { callback };
                    mine.set(name, record);
                    target.addEventListener(name, (event) => record.callback?.call(target, event));
                }
            });
        }
    }

    /* ---- nodes */

    class Node extends EventTarget {
        parentNode = null;
        childNodes = [];
        get ownerDocument() { return document; }
        get parentElement() { return this.parentNode; }
        get firstChild() { return this.childNodes[0] ?? null; }
        get lastChild() { return this.childNodes.at(-1) ?? null; }
        get nextSibling() { return this.#beside(1); }
        get previousSibling() { return this.#beside(-1); }
        get isConnected() { return this === document || (this.parentNode?.isConnected ?? false); }
        get textContent() { return this.childNodes.map((node) => node.textContent).join(""); }
        set textContent(text) { this.replaceChildren(String(text)); }
        #beside(step) {
            const all = this.parentNode?.childNodes ?? [];
            return all[all.indexOf(this) + step] ?? null;
        }
        hasChildNodes() { return this.childNodes.length > 0; }
        contains(node) {
            for (let at = node; at; at = at.parentNode) {
                if (at === this) {
                    return true;
                }
            }
            return false;
        }
        insertBefore(node, before) {
            node.parentNode?.removeChild(node);
            const at = before ? this.childNodes.indexOf(before) : this.childNodes.length;
            this.childNodes.splice(at, 0, node);
            node.parentNode = this;
            if (this.isConnected) {
                each(node, (one) => one.connected?.());
            }
            return node;
        }
        appendChild(node) { return this.insertBefore(node, null); }
        removeChild(node) {
            const at = this.childNodes.indexOf(node);
            if (at < 0) {
                throw new DOMException("not a child", "NotFoundError");
            }
            const wasConnected = this.isConnected;
            this.childNodes.splice(at, 1);
            node.parentNode = null;
            if (wasConnected) {
                each(node, (one) => one.disconnected?.());
            }
            return node;
        }
        replaceChild(node, old) {
            this.insertBefore(node, old);
            return this.removeChild(old);
        }
        append(...nodes) { nodes.forEach((node) => this.appendChild(asNode(node))); }
        prepend(...nodes) { nodes.reverse().forEach((node) => this.insertBefore(asNode(node), this.firstChild)); }
        replaceChildren(...nodes) {
            [...this.childNodes].forEach((node) => this.removeChild(node));
            this.append(...nodes);
        }
        remove() { this.parentNode?.removeChild(this); }
        cloneNode() { return this; }
    }

    class Text extends Node {
        constructor(text = "") {
            super();
            this.data = String(text);
        }
        get textContent() { return this.data; }
        set textContent(text) { this.data = String(text); }
        get nodeType() { return 3; }
        get nodeName() { return "#text"; }
    }
    const asNode = (node) => node instanceof Node ? node : new Text(node);

    const NOT_SHOWN = new Set(["title", "script", "style", "head"]);
    const shownText = (node) => node instanceof Text ? node.data
        : NOT_SHOWN.has(node.localName) ? "" : node.childNodes.map(shownText).join("");

    function each(node, visit) {
        visit(node);
        [...node.childNodes].forEach((child) => each(child, visit));
    }

    class Element extends Node {
        #attributes = new Map();
        style = new Proxy({}, { get: (all, name) => all[name] ?? (name === "setProperty" ? () => {} : "") });
        dataset = {};
        constructor(name) {
            super();
            this.localName = name;
        }
        get nodeType() { return 1; }
        get tagName() { return this.localName.toUpperCase(); }
        get nodeName() { return this.tagName; }
        get children() { return this.childNodes.filter((node) => node instanceof Element); }
        get firstElementChild() { return this.children[0] ?? null; }
        get attributes() { return [...this.#attributes].map(([name, text]) => ({ name, value: text })); }
        get innerHTML() { return this.textContent; }
        set innerHTML(text) {
            this.replaceChildren();
            hooks.readHtml(String(text), builder(this));
        }
        get innerText() {
            const text = shownText(this);
            return this.localName === "pre" || select(this, "pre").length > 0 ? text : text.replace(/\s+/g, " ").trim();
        }
        set innerText(text) { this.textContent = text; }
        getAttribute(name) { return this.#attributes.get(String(name).toLowerCase()) ?? null; }
        hasAttribute(name) { return this.#attributes.has(String(name).toLowerCase()); }
        setAttribute(name, text) {
            this.#attributes.set(String(name).toLowerCase(), String(text));
            this.changed?.(String(name).toLowerCase());
        }
        removeAttribute(name) { this.#attributes.delete(String(name).toLowerCase()); }
        getElementsByTagName(name) { return select(this, String(name)); }
        getElementsByClassName(name) { return select(this, `.${name}`); }
        querySelector(selector) { return select(this, String(selector))[0] ?? null; }
        querySelectorAll(selector) { return select(this, String(selector)); }
        getBoundingClientRect() { return { x: 0, y: 0, left: 0, top: 0, width: 0, height: 0 }; }
        focus() {}
        blur() {}
        click() { this.dispatchEvent(new Event("click", { bubbles: true, cancelable: true })); }
    }
    for (const [name, attribute] of [["id", "id"], ["className", "class"], ["name", "name"], ["type", "type"],
        ["title", "title"], ["content", "content"], ["rel", "rel"], ["sandbox", "sandbox"], ["allow", "allow"],
        ["credentialless", "credentialless"]]) {
        own(Element.prototype, name, function () { return this.getAttribute(attribute) ?? ""; },
            function (text) { this.setAttribute(attribute, text); });
    }
    handlers(Element.prototype, ["load", "error", "click", "message"]);

    const SIMPLE = /^([a-z*]*)(?:#([\w-]+))?(?:\.([\w-]+))?(?:\[([\w-]+)(?:=["']?([^"'\]]*)["']?)?\])?$/i;
    function select(root, selector) {
        const found = [];
        const parts = selector.split(",").map((part) => SIMPLE.exec(part.trim().split(/\s+/).at(-1)));
        each(root, (node) => {
            if (node !== root && node instanceof Element && parts.some((part) => part !== null && fits(node, part))) {
                found.push(node);
            }
        });
        return Object.assign(found, { item: (i) => found[i] ?? null });
    }
    function fits(node, [, tag, id, kind, attribute, text]) {
        return (!tag || tag === "*" || node.localName === tag.toLowerCase())
            && (id === undefined || node.id === id)
            && (kind === undefined || node.className.split(/\s+/).includes(kind))
            && (attribute === undefined || (node.hasAttribute(attribute)
                && (text === undefined || node.getAttribute(attribute) === text)));
    }

    class HTMLElement extends Element {}

    /* A script runs when it comes into the document: at once if it has its text in it, later if it has a source. */
    class HTMLScriptElement extends HTMLElement {
        wasParsed = false;
        #begun = false;
        async = true;
        get src() { return this.hasAttribute("src") ? absolute(this.getAttribute("src")) : ""; }
        set src(url) { this.setAttribute("src", url); }
        get text() { return this.textContent; }
        set text(text) { this.textContent = text; }
        connected() {
            if (!this.wasParsed && !this.#begun && (this.hasAttribute("src") || this.textContent !== "")) {
                this.#begun = true;
                hooks.runScript(this).catch(() => {});
            }
        }
        changed(name) {
            if (name === "src" && this.isConnected) {
                this.connected();
            }
        }
    }

    class HTMLIFrameElement extends HTMLElement {
        frame = null; /* the window client's */
        get src() { return this.hasAttribute("src") ? absolute(this.getAttribute("src")) : ""; }
        set src(url) { this.setAttribute("src", url); }
        get srcdoc() { return this.getAttribute("srcdoc") ?? ""; }
        set srcdoc(text) { this.setAttribute("srcdoc", text); }
        get contentWindow() { return this.frame?.window ?? null; }
        get contentDocument() { return this.frame?.window?.document ?? null; }
        focus() { this.frame?.focus(); }
        connected() {
            if (!hooks.isParsing() && this.frame === null) { /* else when the scripts before it have run */
                this.frame = hooks.openFrame(this, this.src);
            }
        }
        disconnected() {
            const { frame } = this;
            this.frame = null;
            frame?.close();
        }
        changed(name) {
            if (name === "src" && this.isConnected && this.frame !== null) {
                hooks.navigateFrame(this, this.src);
            }
        }
    }

    class HTMLAnchorElement extends HTMLElement {
        get href() { return this.hasAttribute("href") ? absolute(this.getAttribute("href")) : ""; }
        set href(url) { this.setAttribute("href", url); }
    }
    for (const part of ["origin", "protocol", "host", "hostname", "port", "pathname", "search", "hash"]) {
        own(HTMLAnchorElement.prototype, part, function () {
            try {
                return new URL(this.href)[part];
            } catch {
                return "";
            }
        });
    }

    /* What it shows does not matter; that it was loaded does. */
    class HTMLImageElement extends HTMLElement {
        complete = true;
        get src() { return this.hasAttribute("src") ? absolute(this.getAttribute("src")) : ""; }
        set src(url) { this.setAttribute("src", url); }
        get crossOrigin() { return this.getAttribute("crossorigin"); }
        set crossOrigin(text) { this.setAttribute("crossorigin", text); }
        changed(name) {
            if (name !== "src" || this.src === "") {
                return;
            }
            const kind = this.crossOrigin;
            this.complete = false;
            hooks.load(this.src, { destination: "image", mode: kind === null ? "no-cors" : "cors",
                credentials: kind === null || kind === "use-credentials" ? "include" : "same-origin" })
                .then((response) => response.ok ? "load" : "error", () => "error")
                .then((type) => {
                    this.complete = true;
                    this.dispatchEvent(new Event(type));
                });
        }
    }

    class HTMLLinkElement extends HTMLElement {
        get href() { return this.hasAttribute("href") ? absolute(this.getAttribute("href")) : ""; }
        set href(url) { this.setAttribute("href", url); }
        connected() {
            if (this.rel !== "stylesheet" || this.href === "") {
                return;
            }
            const kind = this.getAttribute("crossorigin");
            hooks.load(this.href, { destination: "style", mode: kind === null ? "no-cors" : "cors",
                credentials: kind === null || kind === "use-credentials" ? "include" : "same-origin" })
                .then(() => "load", () => "error").then((type) => this.dispatchEvent(new Event(type)));
        }
    }

    class HTMLInputElement extends HTMLElement {
        #files = null;
        get files() { return this.type === "file" ? this.#files ??= hooks.fileList([]) : null; }
    }

    /* Its pixels can be read and put there; nothing is drawn. */
    class HTMLCanvasElement extends HTMLElement {
        #context = null;
        #pixels = null;
        get width() { return Number(this.getAttribute("width") ?? 300); }
        set width(number) { this.setAttribute("width", number); }
        get height() { return Number(this.getAttribute("height") ?? 150); }
        set height(number) { this.setAttribute("height", number); }
        get pixels() { return this.#pixels ??= new ImageData(this.width, this.height); }
        changed(name) {
            if (name === "width" || name === "height") {
                this.#pixels = null;
            }
        }
        getContext(kind) {
            return kind !== "2d" ? null : this.#context ??= {
                canvas: this,
                createImageData: (width, height) => new ImageData(width, height),
                getImageData: (left, top, width, height) => this.#part(left, top, width, height),
                putImageData: (image, left, top) => this.#put(image, left, top),
            };
        }
        #row(width, left, top, y) { /* where it begins in the canvas's pixels, and how long it is */
            const at = ((top + y) * this.width + left) * 4;
            return [at, top + y < this.height ? Math.max(0, Math.min(width, this.width - left)) * 4 : 0];
        }
        #part(left, top, width, height) {
            const image = new ImageData(width, height);
            for (let y = 0; y < height; y++) {
                const [at, length] = this.#row(image.width, left, top, y);
                image.data.set(this.pixels.data.subarray(at, at + length), y * width * 4);
            }
            return image;
        }
        #put(image, left, top) {
            for (let y = 0; y < image.height; y++) {
                const [at, length] = this.#row(image.width, left, top, y);
                this.pixels.data.set(image.data.subarray(y * image.width * 4, y * image.width * 4 + length), at);
            }
        }
    }

    /* By way of fetch(); asynchronous alone. */
    class XMLHttpRequest extends EventTarget {
        #request = null;
        #headers = [];
        #answer = null;
        #bytes = null;
        #stop = new AbortController();
        readyState = 0;
        responseType = "";
        withCredentials = false;
        timeout = 0;
        upload = new EventTarget();
        open(method, url, isAsync = true) {
            if (!isAsync) {
                throw new DOMException("only asynchronous requests", "InvalidAccessError");
            }
            this.#request = { method, url: absolute(url) };
            this.#headers = [];
            this.#answer = this.#bytes = null;
            this.#step(1);
        }
        setRequestHeader(name, text) { this.#headers.push([name, text]); }
        send(body = null) { this.#run(body).catch((error) => this.#end(this.#stop.signal.aborted ? "abort" : "error", error)); }
        async #run(body) {
            const { method, url } = this.#request;
            this.#answer = await fetch(url, { method, headers: this.#headers, body: method === "GET" ? undefined : body ?? undefined,
                credentials: this.withCredentials ? "include" : "same-origin", signal: this.#stop.signal });
            this.#step(2);
            this.#bytes = new Uint8Array(await this.#answer.arrayBuffer());
            this.#step(3);
            this.#end("load");
        }
        #step(state) {
            this.readyState = state;
            this.dispatchEvent(new Event("readystatechange"));
        }
        #end(type) {
            if (type !== "load") {
                this.#answer = this.#bytes = null;
            }
            this.#step(4);
            this.dispatchEvent(new Event(type));
            this.dispatchEvent(new Event("loadend"));
        }
        abort() { this.#stop.abort(); }
        get status() { return this.#answer?.status ?? 0; }
        get statusText() { return this.#answer?.statusText ?? ""; }
        get responseURL() { return this.#answer?.url ?? ""; }
        get responseText() { return this.#bytes === null ? "" : new TextDecoder().decode(this.#bytes); }
        get response() {
            if (this.responseType === "" || this.responseType === "text") {
                return this.responseText;
            }
            if (this.#bytes === null) {
                return null;
            }
            switch (this.responseType) {
            case "json":
                return JSON.parse(this.responseText);
            case "blob":
                return new Blob([this.#bytes], { type: this.getResponseHeader("content-type") ?? "" });
            default:
                return this.#bytes.buffer;
            }
        }
        getResponseHeader(name) { return this.#answer?.headers.get(name) ?? null; }
        getAllResponseHeaders() {
            return [...this.#answer?.headers ?? []].map(([name, text]) => `${name}: ${text}\r\n`).join("");
        }
        overrideMimeType() {}
    }
    handlers(XMLHttpRequest.prototype, ["readystatechange", "load", "error", "abort", "loadend", "progress", "timeout"]);
    value(window, "XMLHttpRequest", XMLHttpRequest);
    value(window, "Image", function Image() { return createElement("img"); });

    const ELEMENTS = { script: HTMLScriptElement, iframe: HTMLIFrameElement, a: HTMLAnchorElement,
        img: HTMLImageElement, link: HTMLLinkElement, canvas: HTMLCanvasElement, input: HTMLInputElement };
    function createElement(name) {
        name = String(name).toLowerCase();
        if (name === "") {
            throw new DOMException("an element has a name", "InvalidCharacterError");
        }
        return new (Object.hasOwn(ELEMENTS, name) ? ELEMENTS[name] : HTMLElement)(name);
    }

    function absolute(url) {
        try {
            return new URL(url, document.baseURI).href;
        } catch {
            return String(url);
        }
    }

    /* ---- the document */

    class Document extends Node {
        readyState = "loading";
        currentScript = null;
        visibilityState = "visible";
        hidden = false;
        cookie = "";
        referrer = hooks.referrer ?? "";
        characterSet = "UTF-8";
        contentType = "text/html";
        compatMode = "CSS1Compat";
        designMode = "off";
        get nodeType() { return 9; }
        get nodeName() { return "#document"; }
        get defaultView() { return window; }
        get documentElement() { return select(this, "html")[0] ?? null; }
        get head() { return select(this, "head")[0] ?? null; }
        get body() { return select(this, "body")[0] ?? null; }
        get URL() { return window.location.href; }
        get documentURI() { return window.location.href; }
        get baseURI() {
            const base = select(this, "base").find((one) => one.hasAttribute("href"));
            return base === undefined ? hooks.baseUrl() : new URL(base.getAttribute("href"), hooks.baseUrl()).href;
        }
        get location() { return window.location; }
        set location(url) { hooks.navigateSelf(absolute(url)); }
        get domain() { return window.location.hostname; }
        get title() { return select(this, "title")[0]?.textContent ?? ""; }
        set title(text) {
            const title = select(this, "title")[0] ?? this.head.appendChild(createElement("title"));
            title.textContent = text;
        }
        get scripts() { return select(this, "script"); }
        get forms() { return select(this, "form"); }
        get children() { return this.childNodes; }
        hasFocus() { return true; }
        createElement(name) { return createElement(name); }
        createElementNS(_, name) { return createElement(name); }
        createTextNode(text) { return new Text(text); }
        createDocumentFragment() { return createElement("div"); }
        createEvent() {
            const event = new Event("");
            return event;
        }
        getElementById(id) {
            let found = null;
            each(this, (node) => {
                found ??= node instanceof Element && node.id === String(id) ? node : null;
            });
            return found;
        }
        getElementsByTagName(name) { return select(this, String(name)); }
        getElementsByClassName(name) { return select(this, `.${name}`); }
        querySelector(selector) { return select(this, String(selector))[0] ?? null; }
        querySelectorAll(selector) { return select(this, String(selector)); }
        open() {
            this.replaceChildren();
            return this;
        }
        write(...texts) { hooks.readHtml(texts.join(""), builder(this.body ?? this)); }
        writeln(...texts) { this.write(...texts, "\n"); }
        close() {}
    }
    handlers(Document.prototype, ["readystatechange", "DOMContentLoaded", "visibilitychange"]);
    const document = new Document();

    /* What the reader of HTML builds with. */
    function builder(root) {
        const open = [root];
        return {
            begin(name, attributes, isEmpty) {
                const element = createElement(name);
                if (element instanceof HTMLScriptElement) {
                    element.wasParsed = true;
                }
                for (const [key, text] of attributes) {
                    element.setAttribute(key, text);
                    if (key.startsWith("on")) { /* what a body hears of loading is its window's */
                        (name === "body" ? window : element)[key] = new Function("event", text);
                    }
                }
                open.at(-1).appendChild(element);
                if (!isEmpty) {
                    open.push(element);
                }
                return element;
            },
            end(name) {
                const at = open.findLastIndex((one) => one.localName === name);
                if (at > 0) {
                    open.length = at;
                }
            },
            text(text) { open.at(-1).appendChild(new Text(text)); },
        };
    }

    /* ---- the window */

    own(window, "window", () => window);
    own(window, "self", () => window, (content) => value(window, "self", content));
    own(window, "frames", () => window, (content) => value(window, "frames", content));
    own(window, "document", () => document);
    own(window, "location", () => hooks.location, (url) => hooks.navigateSelf(absolute(url)));
    own(window, "parent", () => hooks.parent() ?? window, (content) => value(window, "parent", content));
    own(window, "top", () => hooks.top() ?? window);
    own(window, "opener", () => null);
    own(window, "frameElement", () => hooks.frameElement);
    own(window, "length", () => select(document, "iframe").length);
    for (let at = 0; at < 8; at++) { /* more frames than any page has */
        Object.defineProperty(window, at, { get: () => select(document, "iframe")[at]?.contentWindow,
            configurable: true });
    }
    value(window, "name", hooks.name ?? "");
    value(window, "closed", false);
    value(window, "origin", hooks.origin);
    value(window, "isSecureContext", hooks.isSecure);
    value(window, "innerWidth", 800);
    value(window, "innerHeight", 600);
    value(window, "history", { length: 1, state: null, pushState() {}, replaceState() {}, back() {}, go() {} });
    value(window, "getComputedStyle", () => ({ getPropertyValue: () => "", display: "block" }));
    value(window, "requestAnimationFrame", (callback) => setTimeout(() => callback(performance.now()), 16));
    value(window, "cancelAnimationFrame", (id) => clearTimeout(id));
    value(window, "getSelection", () => null);
    value(window, "focus", () => hooks.focus());
    value(window, "blur", () => {});
    value(window, "print", () => {});
    value(window, "open", () => null);
    value(window, "stop", () => {});
    value(window, "close", () => {});
    const sequence = (list) => {
        if (list !== undefined && typeof list?.[Symbol.iterator] !== "function") {
            throw new TypeError("postMessage: transfer is no sequence");
        }
        return [...list ?? []];
    };
    value(window, "postMessage", (...given) => {
        const [message, target, list] = given;
        if (given.length === 0) {
            throw new TypeError("postMessage: what?");
        }
        const isDictionary = typeof target === "object" && target !== null;
        const options = isDictionary ? target : { targetOrigin: target, transfer: list };
        hooks.postMessage(window, message, options.targetOrigin, sequence(options.transfer));
    });
    handlers(window, ["load", "DOMContentLoaded", "beforeunload", "unload", "pagehide", "pageshow", "hashchange",
        "message", "messageerror", "error", "unhandledrejection", "rejectionhandled", "storage"].filter(
        (name) => !(`on${name}` in window)));
    Object.assign(window, { Node, Text, Element, HTMLElement, HTMLScriptElement, HTMLIFrameElement, HTMLAnchorElement,
        HTMLInputElement, HTMLCanvasElement, Document, HTMLDocument: Document });
    const { createImageBitmap, MessagePort, structuredClone } = window; /* a page may delete them */
    value(window, "createImageBitmap", (source, ...rest) =>
        createImageBitmap(source instanceof HTMLCanvasElement ? source.pixels : source, ...rest));
    value(window, "Window", class Window extends EventTarget {
        static [Symbol.hasInstance](object) { return object === window || hooks.isWindow(object); }
    });
    for (const name of ["Document", "Node", "Text", "Element", "HTMLElement", "HTMLScriptElement", "HTMLIFrameElement",
        "HTMLAnchorElement", "HTMLInputElement", "HTMLCanvasElement", "HTMLDocument", "Window"]) {
        Object.defineProperty(window, name, { enumerable: false });
    }
    for (const name of ["onmessage", "importScripts", "muster", "WorkerGlobalScope", "WorkerNavigator",
        "WorkerLocation", "DedicatedWorkerGlobalScope", "SharedWorkerGlobalScope", "ServiceWorkerGlobalScope"]) {
        if (name !== "onmessage") {
            delete window[name];
        }
    }

    return {
        document, builder: () => builder(document), absolute,
        setState(state) {
            document.readyState = state;
            document.dispatchEvent(new Event("readystatechange"));
        },
        fire: (target, type, init) => target.dispatchEvent(new Event(type, init)),
        deliver(data, origin, source, ports) {
            const event = new MessageEvent("message", { data, origin, source, ports });
            if (data === undefined) { /* an event that a script makes would say null */
                Object.defineProperty(event, "data", { value: data });
            }
            window.dispatchEvent(event);
        },
        parseError: () => new DOMException("The data could not be cloned.", "DataCloneError"),
        structuredClone: (content, options) => structuredClone(content, options),
        isPort: (object) => object instanceof MessagePort,
    };
}
