/* cli/http_exchange.c - the memory of an exchange, and responses as bytes.
 *
 * The answer functions run on whatever thread settles the request and touch only the fields of the answer;
 * the rest is the owner's.  The promise: what a script puts into a response can spoil no other response on
 * the same connection: names and values are checked, framing headers are ours alone. */
#include "cli/http_exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    FIRST_HEAD_SIZE = 1024,
    FIRST_OUT_SIZE = 1024, /* answer_status counts on it: it must not fail */
    KEPT_SIZE = 8192,      /* larger buffers do not wait for the next request */
    KEPT_HEADERS = 64,
    LINE_SLACK = 192,      /* status line without its reason, date, length, connection, blank */
};

/* Buffers */

bool muster__http_buffer_reserve(struct muster__http_buffer *buffer, size_t extra)
{
    if (extra <= buffer->capacity - buffer->length)
        return true;
    size_t wanted = buffer->length + extra;
    if (wanted < extra)
        return false;
    size_t capacity = buffer->capacity * 2 > wanted ? buffer->capacity * 2 : wanted;
    char *data = realloc(buffer->data, capacity);
    if (!data)
        return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool muster__http_buffer_append(struct muster__http_buffer *buffer, const char *data, size_t length)
{
    if (!muster__http_buffer_reserve(buffer, length))
        return false;
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    return true;
}

void muster__http_buffer_consume(struct muster__http_buffer *buffer, size_t length)
{
    MUSTER_CHECK(length <= buffer->length);
    if (length == 0)
        return;
    buffer->length -= length;
    memmove(buffer->data, buffer->data + length, buffer->length);
}

void muster__http_buffer_clean_up(struct muster__http_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct muster__http_buffer){0};
}

/* Life */

struct muster__http_exchange *muster__http_exchange_new(void)
{
    struct muster__http_exchange *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    if (!muster__http_buffer_reserve(&e->head, FIRST_HEAD_SIZE) ||
        !muster__http_buffer_reserve(&e->out, FIRST_OUT_SIZE)) {
        muster__http_buffer_clean_up(&e->head);
        free(e);
        return NULL;
    }
    return e;
}

void muster__http_exchange_drop_answer_stream(struct muster__http_exchange *e, enum muster_status status,
                                              const char *message)
{
    struct muster_stream *stream = e->answer_stream;
    if (!stream)
        return;
    e->answer_stream = NULL;
    muster_stream_on_readable(stream, NULL, NULL);
    muster_stream_abort(stream, status, message);
    muster_stream_release(stream);
}

static void let_go(struct muster__http_exchange *e)
{
    muster__http_exchange_drop_answer_stream(e, MUSTER_CANCELED, "the client is gone");
    MUSTER_CHECK(e->body_stream == NULL);
    muster_stream_release(e->request.http.body_stream);
    e->request.http.body_stream = NULL;
}

void muster__http_exchange_reset(struct muster__http_exchange *e,
                                 const struct muster__request_class *class)
{
    let_go(e);
    muster__request_init(&e->request, class, MUSTER__REQUEST_FETCH, "fetch");
    e->connection = NULL;
    e->server_next = e->server_older = e->server_newer = NULL;
    e->server_data = NULL;
    e->is_head = e->is_http10 = e->keep_alive = false;
    e->head.length = e->out.length = e->body.length = 0;
    e->answer_left = 0;
    e->is_chunked = e->is_limited = e->closes = false;
    atomic_store_explicit(&e->forced_status, 0, memory_order_relaxed);
    e->next = NULL;
    e->out_offset = 0;
    e->interim_left = 0;
    e->is_dispatched = e->is_ready = e->is_answered = e->is_received = false;
}

static void trim_buffer(struct muster__http_buffer *buffer)
{
    if (buffer->capacity <= KEPT_SIZE)
        return;
    char *data = realloc(buffer->data, KEPT_SIZE);
    if (!data)
        return;
    buffer->data = data;
    buffer->capacity = KEPT_SIZE;
}

void muster__http_exchange_trim(struct muster__http_exchange *e)
{
    e->head.length = e->out.length = e->body.length = 0;
    trim_buffer(&e->head);
    trim_buffer(&e->out);
    muster__http_buffer_clean_up(&e->body);
    if (e->header_capacity > KEPT_HEADERS) {
        free(e->headers);
        e->headers = NULL;
        e->header_capacity = 0;
    }
}

void muster__http_exchange_destroy(struct muster__request *request)
{
    struct muster__http_exchange *e = MUSTER_CONTAINER_OF(request, struct muster__http_exchange, request);
    let_go(e);
    muster__http_buffer_clean_up(&e->head);
    muster__http_buffer_clean_up(&e->out);
    muster__http_buffer_clean_up(&e->body);
    free(e->headers);
    free(e);
}

/* Words */

const char *muster__http_reason(int status_code)
{
    switch (status_code) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 208: return "Already Reported";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 418: return "I'm a Teapot";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 508: return "Loop Detected";
    case 511: return "Network Authentication Required";
    default: return "";
    }
}

int muster__http_status_of(enum muster_status status)
{
    switch (status) {
    case MUSTER_OK:
        return 200;
    case MUSTER_PASSED:
    case MUSTER_NOT_FOUND:
        return 404;
    case MUSTER_REJECTED:
    case MUSTER_BAD_RESPONSE:
    case MUSTER_CRASHED:
        return 502;
    case MUSTER_QUEUE_FULL:
    case MUSTER_REFUSED:
    case MUSTER_RETRY:
    case MUSTER_WEDGED:
    case MUSTER_SHUTDOWN:
    case MUSTER_CLOSED:
    case MUSTER_NO_MEMORY:
        return 503;
    case MUSTER_TIMED_OUT:
    case MUSTER_START_TIMED_OUT:
        return 504;
    default:
        return 500;
    }
}

void muster__http_date(int64_t unix_seconds, char date[MUSTER__HTTP_DATE_LENGTH + 1])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)unix_seconds;
    struct tm tm = {0};
    char text[96]; /* the years of a 64-bit time are longer than the format */
    if (!gmtime_r(&seconds, &tm) || tm.tm_year < -900 || tm.tm_year > 8099)
        tm = (struct tm){.tm_year = 70, .tm_mday = 1, .tm_wday = 4};
    snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday,
             tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(date, text, MUSTER__HTTP_DATE_LENGTH);
    date[MUSTER__HTTP_DATE_LENGTH] = '\0';
}

/* Answers.  `put` writes into room that was reserved. */

static void put(struct muster__http_buffer *out, const char *data, size_t length)
{
    MUSTER_CHECK(length <= out->capacity - out->length);
    if (length > 0)
        memcpy(out->data + out->length, data, length);
    out->length += length;
}

#define PUT(out, literal) put((out), "" literal, sizeof(literal) - 1)

static void put_number(struct muster__http_buffer *out, uint64_t number)
{
    size_t count = 1;
    for (uint64_t rest = number; rest >= 10; rest /= 10)
        count++;
    MUSTER_CHECK(count <= out->capacity - out->length);
    out->length += count;
    /* In its place: copying what was just written byte by byte would wait until it is in the cache. */
    for (char *at = out->data + out->length; count > 0; count--, number /= 10)
        *--at = (char)('0' + number % 10);
}

static bool is(struct muster_bytes name, const char *text, size_t length)
{
    return name.length == length && strncasecmp(name.data, text, length) == 0;
}

#define IS(name, literal) is((name), "" literal, sizeof(literal) - 1)

/* Headers about the connection are ours to say. */
static bool is_hop_by_hop(struct muster_bytes name)
{
    switch (name.length) {
    case 2: return IS(name, "te");
    case 7: return IS(name, "trailer") || IS(name, "upgrade");
    case 10: return IS(name, "connection") || IS(name, "keep-alive");
    case 16: return IS(name, "proxy-connection");
    case 17: return IS(name, "transfer-encoding");
    default: return false;
    }
}

static const bool is_token_char[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true, ['#'] = true,
    ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true, ['-'] = true,
    ['.'] = true, ['^'] = true, ['_'] = true, ['`'] = true, ['|'] = true, ['~'] = true,
};

bool muster__http_is_token(struct muster_bytes text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_token_char[(unsigned char)text.data[i]])
            return false;
    return text.length > 0;
}

bool muster__http_is_field_text(struct muster_bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool muster__http_parse_length(struct muster_bytes text, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (text.length == 0 || text.length > 19)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        length = length * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_length = length;
    return true;
}

/* What a response's headers say to us; and whether they can be written at all. */
struct plan {
    bool has_date;
    bool has_length;
    uint64_t length;
    size_t size;
};

static bool read_response(const struct muster_http_response *response, struct plan *plan)
{
    *plan = (struct plan){.size = response->status_text.length};
    if (response->status_code < 200 || response->status_code > 599 ||
        !muster__http_is_field_text(response->status_text))
        return false;
    for (size_t i = 0; i < response->header_count; i++) {
        const struct muster_header *header = &response->headers[i];
        if (!muster__http_is_token(header->name) || !muster__http_is_field_text(header->value))
            return false;
        plan->size += header->name.length + header->value.length + 4;
        plan->has_date |= IS(header->name, "date");
        if (IS(header->name, "content-length")) {
            uint64_t length;
            if (!muster__http_parse_length(header->value, &length) ||
                (plan->has_length && length != plan->length))
                return false;
            plan->has_length = true;
            plan->length = length;
        }
    }
    return true;
}

static void put_status_line(struct muster__http_buffer *out, int status_code, struct muster_bytes text)
{
    if (status_code == 200 && text.length == 0) {
        PUT(out, "HTTP/1.1 200 OK\r\n");
        return;
    }
    PUT(out, "HTTP/1.1 ");
    put_number(out, (uint64_t)status_code);
    PUT(out, " ");
    if (text.length > 0) {
        put(out, text.data, text.length);
    } else {
        const char *reason = muster__http_reason(status_code);
        put(out, reason, strlen(reason));
    }
    PUT(out, "\r\n");
}

static void put_date(struct muster__http_buffer *out, const char *date)
{
    PUT(out, "date: ");
    put(out, date, MUSTER__HTTP_DATE_LENGTH);
    PUT(out, "\r\n");
}

static void put_connection(struct muster__http_exchange *e)
{
    if (e->closes)
        PUT(&e->out, "connection: close\r\n");
    else if (e->is_http10)
        PUT(&e->out, "connection: keep-alive\r\n");
}

static void put_headers(struct muster__http_buffer *out, const struct muster_http_response *response)
{
    for (size_t i = 0; i < response->header_count; i++) {
        const struct muster_header *header = &response->headers[i];
        if (is_hop_by_hop(header->name) || IS(header->name, "content-length"))
            continue;
        put(out, header->name.data, header->name.length);
        PUT(out, ": ");
        put(out, header->value.data, header->value.length);
        PUT(out, "\r\n");
    }
}

static void put_length(struct muster__http_buffer *out, uint64_t length)
{
    PUT(out, "content-length: ");
    put_number(out, length);
    PUT(out, "\r\n");
}

static bool has_no_body(int status_code)
{
    return status_code == 204 || status_code == 304;
}

/* Who says where the body ends: its length, its chunks, or the end of the connection. */
static void put_framing(struct muster__http_exchange *e, const struct muster_http_response *response,
                        const struct plan *plan)
{
    bool is_stream = response->body_stream != NULL;
    if (has_no_body(response->status_code)) {
        if (response->status_code == 304 && plan->has_length)
            put_length(&e->out, plan->length);
    } else if (!is_stream) {
        bool is_announced = e->is_head && response->body.length == 0 && plan->has_length;
        put_length(&e->out, is_announced ? plan->length : response->body.length);
    } else if (plan->has_length) {
        put_length(&e->out, plan->length);
        e->is_limited = true;
        e->answer_left = plan->length;
    } else if (!e->is_http10 && !e->is_head) {
        PUT(&e->out, "transfer-encoding: chunked\r\n");
        e->is_chunked = true;
    } else if (!e->is_head) {
        e->closes = true;
    }
}

static void put_body(struct muster__http_exchange *e, const struct muster_http_response *response)
{
    bool is_wanted = !e->is_head && !has_no_body(response->status_code);
    if (response->body_stream) {
        /* An unwanted stream is dropped when the answer is ready: its reader is the owner. */
        e->answer_stream = muster_stream_acquire(response->body_stream);
        if (!is_wanted) {
            e->is_chunked = false;
            e->is_limited = true;
            e->answer_left = 0;
        }
    } else if (is_wanted) {
        put(&e->out, response->body.data, response->body.length);
    }
}

void muster__http_exchange_answer(struct muster__http_exchange *e,
                                  const struct muster_http_response *response, const char *date)
{
    struct plan plan;
    int forced = atomic_load_explicit(&e->forced_status, memory_order_relaxed);
    if (forced != 0) {
        muster__http_exchange_answer_status(e, forced, NULL, 0, date);
        return;
    }
    if (!read_response(response, &plan)) {
        muster__http_exchange_answer_status(
            e, 502, "The response has a status, a header or a length that HTTP cannot carry.", 0, date);
        return;
    }
    e->out.length = 0;
    e->closes = !e->keep_alive;
    size_t body = response->body_stream ? 0 : response->body.length;
    if (body > SIZE_MAX / 2 || !muster__http_buffer_reserve(&e->out, LINE_SLACK + plan.size + body)) {
        muster__http_exchange_answer_status(e, 503, NULL, 1, date);
        return;
    }
    put_status_line(&e->out, response->status_code, response->status_text);
    put_headers(&e->out, response);
    put_framing(e, response, &plan);
    if (!plan.has_date)
        put_date(&e->out, date);
    put_connection(e);
    PUT(&e->out, "\r\n");
    put_body(e, response);
}

void muster__http_exchange_answer_status(struct muster__http_exchange *e, int status_code,
                                         const char *detail, unsigned retry_after_s, const char *date)
{
    static const struct muster_bytes no_text = {NULL, 0};
    int forced = atomic_load_explicit(&e->forced_status, memory_order_relaxed);
    if (forced != 0 && forced != status_code) {
        status_code = forced;
        detail = NULL;
    }
    const char *reason = muster__http_reason(status_code);
    size_t reason_length = strlen(reason), detail_length = detail ? strlen(detail) : 0;
    e->out.length = 0;
    e->closes = !e->keep_alive || forced != 0;
    e->is_chunked = e->is_limited = false;
    if (!muster__http_buffer_reserve(&e->out, 2 * LINE_SLACK + 2 * reason_length + detail_length + 2))
        detail_length = 0; /* the first size of the buffer is enough for the rest */
    size_t body = reason_length + 1 + (detail_length > 0 ? detail_length + 1 : 0);
    if (has_no_body(status_code))
        body = 0;
    put_status_line(&e->out, status_code, no_text);
    if (body > 0)
        PUT(&e->out, "content-type: text/plain; charset=utf-8\r\n");
    if (!has_no_body(status_code))
        put_length(&e->out, body);
    if (retry_after_s > 0) {
        PUT(&e->out, "retry-after: ");
        put_number(&e->out, retry_after_s);
        PUT(&e->out, "\r\n");
    }
    put_date(&e->out, date);
    put_connection(e);
    PUT(&e->out, "\r\n");
    if (body == 0 || e->is_head)
        return;
    put(&e->out, reason, reason_length);
    PUT(&e->out, "\n");
    if (detail_length > 0) {
        put(&e->out, detail, detail_length);
        PUT(&e->out, "\n");
    }
}
