/* Stands in for tr46 in the chunk "url_parser": its tables are four times the size of
 * the whole URL parser, and only a host that is not ASCII needs them.  So they
 * are a chunk of their own, evaluated by the first such host. */
export function toASCII(domain, options) {
    return native.chunk("idna").toASCII(domain, options);
}
