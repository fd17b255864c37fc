/* tests/wpt/window_html.mjs - a reader of HTML for the window client: tags, attributes, text; no error recovery beyond
 * closing what an end tag names. */
const EMPTY = new Set(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]);
const RAW = new Set(["script", "style", "textarea", "title", "noscript", "iframe"]);
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: "\"", apos: "'", nbsp: "\u00a0" };
const TAG = /<(?:!--[\s\S]*?-->|!\[CDATA\[([\s\S]*?)\]\]>|![^>]*>|\?[^>]*>|\/([a-z][^\s>]*)[^>]*>|([a-z][^\s/>]*)((?:\s+|\/(?!>)|[^\s"'>/=]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?)*)\s*(\/?)>)/gi;
const ATTRIBUTE = /([^\s"'>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g;

function decodeEntities(text) {
    return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (all, hex, decimal, name) =>
        hex ? String.fromCodePoint(parseInt(hex, 16)) : decimal ? String.fromCodePoint(Number(decimal))
            : ENTITIES[name] ?? all);
}

function attributesOf(text) {
    return [...text.matchAll(ATTRIBUTE)].map(([, name, a, b, c]) =>
        [name.toLowerCase(), decodeEntities(a ?? b ?? c ?? "")]);
}

/* build: begin(name, attributes, isEmpty), end(name), text(text). */
export function readHtml(html, build) {
    let at = 0;
    TAG.lastIndex = 0;
    const text = (until) => {
        if (until > at) {
            build.text(decodeEntities(html.slice(at, until)));
        }
    };
    for (let match; (match = TAG.exec(html)) !== null;) {
        text(match.index);
        at = TAG.lastIndex;
        const [, cdata, ending, name, attributes] = match;
        if (cdata !== undefined) {
            build.text(cdata);
        } else if (ending !== undefined) {
            build.end(ending.toLowerCase());
        } else if (name !== undefined) {
            at = readElement(html, build, name.toLowerCase(), attributesOf(attributes), at);
            TAG.lastIndex = at;
        }
    }
    text(html.length);
}

/* Where the text of an element ends whose start tag was read; within <!-- a script may have a pair of script tags. */
function endOfText(html, name, at) {
    const marks = new RegExp(`<!--|-->|<${name}(?=[\\s/>])|</${name}(?=[\\s/>])`, "gi");
    let isEscaped = false, isTwice = false;
    marks.lastIndex = at;
    for (let match; (match = marks.exec(html)) !== null;) {
        if (match[0] === "<!--") {
            isEscaped = name === "script";
            marks.lastIndex -= 2; /* <!--> is both */
        } else if (match[0] === "-->") {
            isEscaped = isTwice = false;
        } else if (match[0][1] !== "/") {
            isTwice = isEscaped;
        } else if (isTwice) {
            isTwice = false;
        } else {
            return match.index;
        }
    }
    return html.length;
}

/* The start tag was read; answers where to go on. */
function readElement(html, build, name, attributes, at) {
    build.begin(name, attributes, EMPTY.has(name));
    if (!RAW.has(name)) {
        return at;
    }
    const end = endOfText(html, name, at);
    const inside = html.slice(at, end);
    if (inside !== "") {
        build.text(name === "title" || name === "textarea" ? decodeEntities(inside) : inside);
    }
    build.end(name);
    return html.indexOf(">", end) < 0 ? html.length : html.indexOf(">", end) + 1;
}
