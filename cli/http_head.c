/* cli/http_head.c - reads one head, with suspicion.
 *
 * The owner's thread; bytes from the network.  The promise: a head that passes has one meaning, and the
 * URL made of it parses to the same host and path everywhere: host in lower case, no default port, no dot
 * segments, no backslashes. */
#include "cli/http_head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char scheme[] = "http://";
enum { SCHEME_LENGTH = sizeof scheme - 1, FIRST_HEADERS = 16, METHOD_LIMIT = 32 };

static bool equals(struct muster_bytes text, const char *literal)
{
    size_t length = strlen(literal);
    return text.length == length && memcmp(text.data, literal, length) == 0;
}

static bool equals_ignoring_case(struct muster_bytes text, const char *literal)
{
    size_t length = strlen(literal);
    return text.length == length && strncasecmp(text.data, literal, length) == 0;
}

/* The end */

/* A line, with its CRLF, that holds neither another CR nor a NUL nor continues the one before. */
static bool is_good_line(const char *line, size_t length)
{
    return length >= 2 && line[length - 2] == '\r' &&
           memchr(line, '\r', length) == line + length - 2 && memchr(line, '\0', length) == NULL &&
           line[0] != ' ' && line[0] != '\t';
}

ptrdiff_t muster__http_head_find(const char *data, size_t length, size_t *scanned)
{
    if (*scanned == 0 && length > 0 && !muster__http_is_token((struct muster_bytes){data, 1}))
        return -1; /* TLS, most likely: no need to wait for a line end */
    for (;;) {
        const char *line = data + *scanned;
        const char *end = memchr(line, '\n', length - *scanned);
        if (!end)
            return 0;
        size_t line_length = (size_t)(end + 1 - line);
        if (!is_good_line(line, line_length))
            return -1;
        *scanned += line_length;
        if (line_length == 2)
            return (ptrdiff_t)*scanned;
    }
}

/* The request line */

static int read_version(struct muster__http_exchange *e, struct muster_bytes version)
{
    if (version.length != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.')
        return 400;
    if (version.data[5] != '1' || (version.data[7] != '0' && version.data[7] != '1'))
        return 505;
    e->is_http10 = version.data[7] == '0';
    return 0;
}

static int read_line(struct muster__http_exchange *e, struct muster__http_head *head, const char *line,
                     size_t length)
{
    const char *first = memchr(line, ' ', length);
    const char *last = memrchr(line, ' ', length);
    if (!first || last - first < 2 || memchr(first + 1, ' ', (size_t)(last - first - 1)))
        return 400;
    struct muster_bytes method = {line, (size_t)(first - line)};
    if (!muster__http_is_token(method))
        return 400;
    head->target = (struct muster_bytes){first + 1, (size_t)(last - first - 1)};
    int status = read_version(e, (struct muster_bytes){last + 1, (size_t)(line + length - last - 1)});
    if (status != 0)
        return status;
    /* No script may answer these, says the fetch standard; and we are no proxy. */
    if (method.length > METHOD_LIMIT || equals(method, "CONNECT") || equals(method, "TRACE"))
        return 501;
    e->is_head = equals(method, "HEAD");
    e->request.http.method = method;
    return 0;
}

int muster__http_head_begin(struct muster__http_exchange *e, struct muster__http_head *head,
                            const char *data, size_t length, const char *default_authority)
{
    *head = (struct muster__http_head){0};
    /* The URL comes behind the head: scheme, authority, "/" and path are never longer than this. */
    size_t url_room = SCHEME_LENGTH + strlen(default_authority) + 1 + length;
    if (!muster__http_buffer_reserve(&e->head, length + url_room) ||
        !muster__http_buffer_append(&e->head, data, length))
        return 503;
    const char *line_end = memchr(e->head.data, '\r', length);
    MUSTER_CHECK(line_end != NULL);
    e->request.http.headers = e->headers;
    return read_line(e, head, e->head.data, (size_t)(line_end - e->head.data));
}

/* Headers */

int muster__http_head_name(struct muster__http_exchange *e, const char *data, size_t length,
                           size_t count_limit)
{
    size_t count = e->request.http.header_count;
    if (count >= count_limit)
        return 431;
    if (count == e->header_capacity) {
        size_t capacity = count == 0 ? FIRST_HEADERS : 2 * count;
        struct muster_header *headers = realloc(e->headers, capacity * sizeof *headers);
        if (!headers)
            return 503;
        e->request.http.headers = e->headers = headers;
        e->header_capacity = capacity;
    }
    struct muster_bytes name = {data, length};
    if (!muster__http_is_token(name))
        return 400;
    e->headers[count] = (struct muster_header){name, {data + length, 0}};
    e->request.http.header_count = count + 1;
    return 0;
}

int muster__http_head_value(struct muster__http_exchange *e, const char *data, size_t length)
{
    if (e->request.http.header_count == 0)
        return 400;
    struct muster_bytes *value = &e->headers[e->request.http.header_count - 1].value;
    if (value->length > 0 && value->data + value->length != data)
        return 400;
    *value = (struct muster_bytes){value->length > 0 ? value->data : data, value->length + length};
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(struct muster_bytes *text)
{
    while (text->length > 0 && is_blank(text->data[0])) {
        text->data++;
        text->length--;
    }
    while (text->length > 0 && is_blank(text->data[text->length - 1]))
        text->length--;
}

/* Two hosts, lengths or codings are an attempt on somebody, even when they agree. */
static int read_header(struct muster__http_exchange *e, struct muster__http_head *head,
                       const struct muster_header *header)
{
    switch (header->name.length) {
    case 4:
        if (!equals_ignoring_case(header->name, "host"))
            return 0;
        if (head->has_host)
            return 400;
        head->has_host = true;
        head->host = header->value;
        return 0;
    case 6:
        if (!equals_ignoring_case(header->name, "expect") || e->is_http10)
            return 0;
        if (!equals_ignoring_case(header->value, "100-continue"))
            return 417;
        head->expects_continue = true;
        return 0;
    case 14:
        if (!equals_ignoring_case(header->name, "content-length"))
            return 0;
        if (head->has_length || !muster__http_parse_length(header->value, &head->length))
            return 400;
        head->has_length = true;
        return 0;
    case 17:
        if (!equals_ignoring_case(header->name, "transfer-encoding"))
            return 0;
        if (head->has_coding || e->is_http10)
            return 400;
        head->has_coding = true;
        head->is_chunked = equals_ignoring_case(header->value, "chunked");
        return 0;
    default:
        return 0;
    }
}

static int read_headers(struct muster__http_exchange *e, struct muster__http_head *head)
{
    for (size_t i = 0; i < e->request.http.header_count; i++) {
        trim(&e->headers[i].value);
        int status = read_header(e, head, &e->headers[i]);
        if (status != 0)
            return status;
    }
    if (head->has_coding && head->has_length)
        return 400;
    return head->has_coding && !head->is_chunked ? 501 : 0;
}

/* The URL */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static bool is_address_char(char c)
{
    return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' ||
           c == '.';
}

/* The host without its port: a name, an IPv4 address, or an IPv6 one in brackets.  0: none of these. */
static size_t host_length(struct muster_bytes authority)
{
    size_t at = 0;
    if (authority.length > 0 && authority.data[0] == '[') {
        for (at = 1; at < authority.length && is_address_char(authority.data[at]);)
            at++;
        return at > 2 && at < authority.length && authority.data[at] == ']' ? at + 1 : 0;
    }
    while (at < authority.length && is_name_char(authority.data[at]))
        at++;
    return at;
}

/* ":8080", or nothing for ":" and ":80"; false: no port. */
static bool read_port(struct muster_bytes *port)
{
    unsigned number = 0;
    if (port->length == 0)
        return true;
    if (port->data[0] != ':' || port->length > 6)
        return false;
    for (size_t i = 1; i < port->length; i++) {
        if (port->data[i] < '0' || port->data[i] > '9')
            return false;
        number = number * 10 + (unsigned)(port->data[i] - '0');
    }
    if (port->length == 1 || number == 80)
        port->length = 0;
    return number <= 65535;
}

static void put(struct muster__http_exchange *e, const char *data, size_t length)
{
    MUSTER_CHECK(length <= e->head.capacity - e->head.length);
    memcpy(e->head.data + e->head.length, data, length);
    e->head.length += length;
}

static int put_authority(struct muster__http_exchange *e, struct muster_bytes authority)
{
    size_t length = host_length(authority);
    if (length == 0)
        return 400;
    struct muster_bytes port = {authority.data + length, authority.length - length};
    if (!read_port(&port))
        return 400;
    char *host = e->head.data + e->head.length;
    put(e, authority.data, length);
    for (size_t i = 0; i < length; i++)
        if (host[i] >= 'A' && host[i] <= 'Z')
            host[i] = (char)(host[i] - 'A' + 'a');
    put(e, port.data, port.length);
    return 0;
}

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

/* "." and "%2e" count one each; 0 for any other segment. */
static unsigned count_dots(struct muster_bytes segment)
{
    unsigned dots = 0;
    for (size_t i = 0; i < segment.length && dots < 3; dots++) {
        if (segment.data[i] == '.')
            i++;
        else if (segment.length - i >= 3 && strncasecmp(segment.data + i, "%2e", 3) == 0)
            i += 3;
        else
            return 0;
    }
    return dots < 3 ? dots : 0;
}

/* As the URL standard removes them, so that a scope is matched against what the script will see. */
static void put_path(struct muster__http_exchange *e, struct muster_bytes path)
{
    size_t root = e->head.length;
    for (size_t at = 0; at < path.length;) {
        size_t end = ++at; /* behind the slash */
        while (end < path.length && !is_slash(path.data[end]))
            end++;
        struct muster_bytes segment = {path.data + at, end - at};
        unsigned dots = count_dots(segment);
        if (dots == 2)
            while (e->head.length > root && e->head.data[--e->head.length] != '/')
                continue;
        if (dots == 0) {
            put(e, "/", 1);
            put(e, segment.data, segment.length);
        } else if (end == path.length) {
            put(e, "/", 1);
        }
        at = end;
    }
    if (e->head.length == root)
        put(e, "/", 1);
}

/* "http://host/path" as a target: its authority counts, not the Host header's. */
static int split_absolute(struct muster_bytes *target, struct muster_bytes *authority)
{
    if (target->length < SCHEME_LENGTH || strncasecmp(target->data, scheme, SCHEME_LENGTH) != 0)
        return 400;
    const char *from = target->data + SCHEME_LENGTH;
    size_t left = target->length - SCHEME_LENGTH, length = 0;
    while (length < left && !is_slash(from[length]) && from[length] != '?')
        length++;
    *authority = (struct muster_bytes){from, length};
    *target = (struct muster_bytes){from + length, left - length};
    return 0;
}

static int put_url(struct muster__http_exchange *e, struct muster_bytes target,
                   struct muster_bytes authority)
{
    size_t start = e->head.length;
    if (memchr(target.data, '#', target.length))
        return 400;
    if (!is_slash(target.data[0])) {
        int status = split_absolute(&target, &authority);
        if (status != 0)
            return status;
    }
    put(e, scheme, SCHEME_LENGTH);
    int status = put_authority(e, authority);
    if (status != 0)
        return status;
    const char *query = target.length > 0 ? memchr(target.data, '?', target.length) : NULL;
    size_t path_length = query ? (size_t)(query - target.data) : target.length;
    put_path(e, (struct muster_bytes){target.data, path_length});
    put(e, target.data + path_length, target.length - path_length);
    e->request.http.url = (struct muster_bytes){e->head.data + start, e->head.length - start};
    return 0;
}

static bool is_understood_alike(const struct muster__http_head *head)
{
    const struct muster__http_framing *framing = &head->framing;
    return framing->is_chunked == head->is_chunked && framing->has_content_length == head->has_length &&
           (!head->has_length || framing->content_length == head->length);
}

int muster__http_head_finish(struct muster__http_exchange *e, struct muster__http_head *head,
                             const char *default_authority)
{
    struct muster_bytes authority = {default_authority, strlen(default_authority)};
    int status = read_headers(e, head);
    if (status != 0)
        return status;
    if (!is_understood_alike(head) || (!head->has_host && !e->is_http10))
        return 400;
    e->keep_alive = head->framing.keep_alive;
    if (head->has_host) {
        authority = head->host;
        /* Also where an absolute target overrules it. */
        size_t length = host_length(authority);
        struct muster_bytes port = {authority.data + length, authority.length - length};
        if (length == 0 || !read_port(&port))
            return 400;
    }
    /* "OPTIONS *" asks about the server, not about anything of a script's. */
    if (equals(head->target, "*"))
        return equals(e->request.http.method, "OPTIONS") ? 204 : 400;
    return put_url(e, head->target, authority);
}
