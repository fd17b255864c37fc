/* The URL parser of whatwg-url, to the letter of the standard: for all that the
 * chunk "url" does not see at a glance to be in its final form, and for setters. */
import { basicURLParse, cannotHaveAUsernamePasswordPort, hasAnOpaquePath, serializeHost,
    serializePath, serializeURL, serializeURLOrigin, setThePassword, setTheUsername }
    from "whatwg-url/lib/url-state-machine.js";

/* The record as the class URL keeps it. */
function partsOf(url) {
    const search = url.query === null ? "" : `?${url.query}`;
    const hash = url.fragment === null ? "" : `#${url.fragment}`;
    const whole = serializeURL(url);
    return {
        protocol: `${url.scheme}:`,
        username: url.username,
        password: url.password,
        hostname: url.host === null ? "" : serializeHost(url.host),
        port: url.port === null ? "" : String(url.port),
        pathname: serializePath(url),
        beforeSearch: whole.slice(0, whole.length - search.length - hash.length),
        search,
        hash,
        origin: serializeURLOrigin(url),
    };
}

/* null if the text is no URL; the base is an absolute one, or undefined. */
export function parse(text, base) {
    const baseURL = base === undefined ? null : basicURLParse(base);
    if (base !== undefined && baseURL === null) {
        return null;
    }
    const url = basicURLParse(text, { baseURL });
    return url === null ? null : partsOf(url);
}

const SETTERS = {
    protocol(url, value) {
        basicURLParse(`${value}:`, { url, stateOverride: "scheme start" });
    },
    username(url, value) {
        if (!cannotHaveAUsernamePasswordPort(url)) {
            setTheUsername(url, value);
        }
    },
    password(url, value) {
        if (!cannotHaveAUsernamePasswordPort(url)) {
            setThePassword(url, value);
        }
    },
    host(url, value) {
        if (!hasAnOpaquePath(url)) {
            basicURLParse(value, { url, stateOverride: "host" });
        }
    },
    hostname(url, value) {
        if (!hasAnOpaquePath(url)) {
            basicURLParse(value, { url, stateOverride: "hostname" });
        }
    },
    port(url, value) {
        if (cannotHaveAUsernamePasswordPort(url)) {
            return;
        }
        if (value === "") {
            url.port = null;
        } else {
            basicURLParse(value, { url, stateOverride: "port" });
        }
    },
    pathname(url, value) {
        if (!hasAnOpaquePath(url)) {
            url.path = [];
            basicURLParse(value, { url, stateOverride: "path start" });
        }
    },
    search(url, value) {
        if (value === "") {
            url.query = null;
            return;
        }
        url.query = "";
        basicURLParse(value.startsWith("?") ? value.slice(1) : value,
            { url, stateOverride: "query" });
    },
    hash(url, value) {
        if (value === "") {
            url.fragment = null;
            return;
        }
        url.fragment = "";
        basicURLParse(value.startsWith("#") ? value.slice(1) : value,
            { url, stateOverride: "fragment" });
    },
};

/* What becomes of the URL when the member is set. */
export function change(href, member, value) {
    const url = basicURLParse(href);
    SETTERS[member](url, value);
    return partsOf(url);
}
