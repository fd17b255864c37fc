/* runtime/engine_javascript_body.c - requests in, responses out, and bodies that come in pieces.
 *
 * The head of a request goes in as one string and the head of a response comes out as one, its parts
 * on lines: a string is dearer than the bytes in it.  Header bytes are latin-1 on the wire.
 *
 * A streamed body belongs to its delivery and ends with it.  The other end's thread only posts the
 * note; everything else happens on the worker's. */
#include "runtime/engine_javascript.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_MAX (64 * 1024)
#define HEAD_KEPT (16 * 1024)

struct muster__js_body_in {
    struct muster__note note;
    struct muster__realm *realm;
    struct muster_stream *stream; /* the reader's reference */
    struct muster__js_waiter waiter;
    bool unwanted; /* the script canceled it */
};

struct muster__js_body_out {
    struct muster__note note;
    struct muster__realm *realm;
    struct muster__js_delivery *delivery;
    struct muster_stream *stream; /* the writer's reference */
    struct muster__js_waiter waiter; /* resolve: for streamDrain */
    JSObjectRef cancel;              /* protected; NULL: was called */
    char *rest; /* what the stream had no room for */
    size_t rest_length, rest_done;
    bool failed; /* the reader went away */
    bool closed;
};

/* ---- the head of a request ---- */

/* Line ends would forge lines; a NUL would end the string. */
static char *put_line(char *to, struct muster_bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        *to++ = c == '\n' || c == '\r' || c == '\0' ? ' ' : c;
    }
    *to++ = '\n';
    return to;
}

static size_t head_size(const struct muster_http_request *http)
{
    size_t size = http->method.length + http->url.length + http->client_id.length + 8;
    for (size_t i = 0; i < http->header_count; i++)
        size += http->headers[i].name.length + http->headers[i].value.length + 2;
    return size;
}

/* The first character: the body's kind, and 4 if there is more to know of the request. */
static size_t write_head(const struct muster_http_request *http, bool has_info, char *to)
{
    char *start = to;
    *to++ = (char)((http->body_stream ? '2' : http->body.data ? '1' : '0') + (has_info ? 4 : 0));
    to = put_line(to, http->method);
    to = put_line(to, http->url);
    to = put_line(to, http->client_id);
    for (size_t i = 0; i < http->header_count; i++) {
        to = put_line(to, http->headers[i].name);
        to = put_line(to, http->headers[i].value);
    }
    if (http->header_count > 0)
        to--; /* lines are between parts; the last one has none after it */
    *to = '\0';
    return (size_t)(to - start);
}

/* The engine widens faster than it narrows: UTF-8 is checked and converted byte by byte. */
JSStringRef muster__js_latin1(const char *text, size_t length)
{
    JSChar small[1024], *units = length <= 1024 ? small : malloc(length * sizeof *units);
    small[0] = 0; /* of a text without length */
    if (!units)
        return NULL;
    for (size_t i = 0; i < length; i++)
        units[i] = (unsigned char)text[i];
    JSStringRef string = JSStringCreateWithCharacters(units, length);
    if (units != small)
        free(units);
    return string;
}

MUSTER__JS_CALLBACK(muster__js_native_request_head)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(realm, context, count ? arguments[0] : NULL);
    (void)function;
    (void)this_object;
    if (!delivery || delivery->request->kind != MUSTER__REQUEST_FETCH)
        return JSValueMakeNull(context);
    const struct muster_http_request *http = &delivery->request->http;
    if (!muster__js_reserve_scratch(realm->vm, head_size(http))) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeNull(context);
    }
    JSStringRef string = muster__js_latin1(
        realm->vm->scratch, write_head(http, delivery->request->data != NULL, realm->vm->scratch));
    if (!string) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeNull(context);
    }
    JSValueRef value = JSValueMakeString(context, string);
    JSStringRelease(string);
    return value;
}

/* requestInfo(id): what HTTP does not say of a client's request; undefined: nothing more is known. */
MUSTER__JS_CALLBACK(muster__js_native_request_info)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(realm, context, count ? arguments[0] : NULL);
    (void)function;
    (void)this_object;
    if (!delivery || delivery->request->kind != MUSTER__REQUEST_FETCH || !delivery->request->data)
        return JSValueMakeUndefined(context);
    return muster__js_from_value(realm, context, delivery->request->data, exception);
}

MUSTER__JS_CALLBACK(muster__js_native_request_body)
{
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(muster__js_of(context), context, count ? arguments[0] : NULL);
    (void)function;
    (void)this_object;
    if (!delivery)
        return JSValueMakeNull(context);
    struct muster_bytes body = delivery->request->http.body;
    return muster__js_copied_bytes(context, body.data, body.length, exception);
}

/* ---- errors that say that the client is gone: core2 knows them by identity ---- */

static JSValueRef ask_core(struct muster__realm *realm, JSContextRef context, const char *name,
                           JSValueRef error)
{
    JSValueRef exception = NULL;
    JSValueRef function = muster__js_export(realm, "core2", name, &exception);
    if (exception || !JSValueIsObject(context, function))
        return NULL;
    return JSObjectCallAsFunction(context, (JSObjectRef)function, NULL, 1, &error, &exception);
}

static JSValueRef departed(struct muster__realm *realm, JSContextRef context, const char *message)
{
    JSValueRef error = muster__js_make_error(realm, context, "TypeError", message, NULL);
    realm->has_departures = true;
    if (JSValueIsObject(context, error))
        (void)ask_core(realm, context, "departed", error);
    return error;
}

bool muster__js_is_departure(struct muster__realm *realm, JSContextRef context, JSValueRef error)
{
    if (!realm->has_departures || !JSValueIsObject(context, error))
        return false;
    JSValueRef answer = ask_core(realm, context, "isDeparture", error);
    return answer && JSValueToBoolean(context, answer);
}

/* ---- a request body that comes in pieces ---- */

static void wake_in(void *user_data)
{
    struct muster__js_body_in *in = user_data;
    in->realm->host->note_post(in->realm->worker, &in->note);
}

bool muster__js_read_piece(struct muster__realm *realm, JSContextRef context, struct muster_stream *stream,
                           enum muster_status *ret_status, JSValueRef *ret_value)
{
    size_t length = 0, size = muster_stream_buffered(stream);
    size = size == 0 ? 1 : size < PIECE_MAX ? size : PIECE_MAX;
    char *piece = malloc(size);
    JSValueRef exception = NULL;
    *ret_status = MUSTER_NO_MEMORY;
    *ret_value = NULL;
    if (!piece) {
        *ret_value = muster__js_make_error(realm, context, "RangeError", "out of memory", NULL);
        return true;
    }
    *ret_status = muster_stream_read(stream, piece, size, &length);
    if (*ret_status == MUSTER_OK && length > 0) {
        *ret_value = muster__js_bytes(context, piece, length, &exception);
        if (exception) {
            *ret_status = MUSTER_NO_MEMORY;
            *ret_value = exception;
        }
        return true;
    }
    free(piece);
    if (*ret_status == MUSTER_OK)
        *ret_value = JSValueMakeNull(context);
    return *ret_status != MUSTER_PENDING;
}

/* False: nothing there yet.  Else *ret_value is the next piece, null at the end, or an error. */
static bool read_piece(struct muster__js_body_in *in, JSContextRef context, bool *ret_failed,
                       JSValueRef *ret_value)
{
    enum muster_status status = MUSTER_OK;
    if (!muster__js_read_piece(in->realm, context, in->stream, &status, ret_value))
        return false;
    *ret_failed = status != MUSTER_OK;
    if (*ret_value)
        return true;
    const char *message = muster_stream_abort_message(in->stream);
    message = message ? message : muster_status_sentence(status);
    *ret_value = status == MUSTER_CANCELED && !in->unwanted
                     ? departed(in->realm, context, message)
                     : muster__js_make_error(in->realm, context, "TypeError", message, NULL);
    return true;
}

static void run_in(struct muster__note *note, struct muster__realm *realm)
{
    struct muster__js_body_in *in = MUSTER_CONTAINER_OF(note, struct muster__js_body_in, note);
    bool failed = false;
    JSValueRef value = NULL;
    if (in->waiter.resolve && read_piece(in, realm->context, &failed, &value))
        (void)muster__js_settle_waiter(realm, &in->waiter, failed, value);
}

static struct muster__js_body_in *in_of(struct muster__realm *realm,
                                        struct muster__js_delivery *delivery)
{
    if (!delivery || delivery->in || !delivery->request->http.body_stream)
        return delivery ? delivery->in : NULL;
    struct muster__js_body_in *in = calloc(1, sizeof *in);
    if (!in)
        return NULL;
    in->note.run = run_in;
    in->realm = realm;
    in->stream = muster_stream_acquire(delivery->request->http.body_stream);
    delivery->in = in;
    muster_stream_on_readable(in->stream, wake_in, in);
    return in;
}

static void call_with(JSContextRef context, JSValueRef function, JSValueRef argument)
{
    (void)JSObjectCallAsFunction(context, (JSObjectRef)function, NULL, 1, &argument, NULL);
}

/* bodyRead(id, resolve, reject) */
MUSTER__JS_CALLBACK(muster__js_native_body_read)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    (void)exception;
    MUSTER_CHECK(count == 3);
    struct muster__js_body_in *in =
        in_of(realm, muster__js_delivery_of(realm, context, arguments[0]));
    bool failed = true;
    JSValueRef value = NULL;
    if (!in)
        value = muster__js_make_error(realm, context, "TypeError", "the request is over", NULL);
    else if (!read_piece(in, context, &failed, &value)) {
        muster__js_hold(context, &in->waiter, arguments[1], arguments[2]);
        return JSValueMakeUndefined(context);
    }
    call_with(context, arguments[failed ? 2 : 1], value);
    return JSValueMakeUndefined(context);
}

MUSTER__JS_CALLBACK(muster__js_native_body_cancel)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_body_in *in =
        in_of(realm, muster__js_delivery_of(realm, context, count ? arguments[0] : NULL));
    (void)function;
    (void)this_object;
    (void)exception;
    if (in) {
        in->unwanted = true;
        muster_stream_abort(in->stream, MUSTER_CANCELED, "the script does not want the body");
    }
    return JSValueMakeUndefined(context);
}

/* ---- responses ---- */

/* Two bytes of UTF-8 for U+0080 to U+00FF are one byte on the wire. */
static size_t to_latin1(char *text, size_t length)
{
    size_t to = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c == 0xC2 || c == 0xC3) && i + 1 < length)
            c = (unsigned char)(c << 6 | ((unsigned char)text[++i] & 0x3F));
        text[to++] = (char)c;
    }
    text[to] = '\0';
    return to;
}

static bool add_header(struct muster__js_head *head, struct muster_bytes name, struct muster_bytes value)
{
    if (head->header_count >= head->header_capacity) {
        size_t capacity = head->header_capacity ? head->header_capacity * 2 : 16;
        struct muster_header *headers = realloc(head->headers, capacity * sizeof *headers);
        if (!headers)
            return false;
        head->headers = headers;
        head->header_capacity = capacity;
    }
    head->headers[head->header_count++] = (struct muster_header){name, value};
    return true;
}

static struct muster_bytes take_line(char **at, char *end)
{
    char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    struct muster_bytes line = {*at, (size_t)((stop ? stop : end) - *at)};
    *at = stop ? stop + 1 : end + 1;
    return line;
}

/* "status text\nname\nvalue\nname\nvalue" */
static bool parse_head(struct muster__js_head *head, size_t length)
{
    char *at = head->text, *end = head->text + length;
    head->header_count = 0;
    head->status_text = take_line(&at, end);
    while (at <= end) {
        struct muster_bytes name = take_line(&at, end), value = take_line(&at, end);
        if (!add_header(head, name, value))
            return false;
    }
    return true;
}

static bool reserve_head(struct muster__js_head *head, size_t size)
{
    if (size <= head->capacity)
        return true;
    free(head->text);
    head->text = malloc(size);
    head->capacity = head->text ? size : 0;
    return head->text != NULL;
}

static void forget_head(struct muster__realm *realm)
{
    if (realm->head.value)
        JSValueUnprotect(realm->context, realm->head.value);
    realm->head.value = NULL;
}

/* It stays in memory of its own, as the body needs the scratch memory. */
bool muster__js_read_head(struct muster__realm *realm, JSContextRef context, JSValueRef value)
{
    struct muster__js_head *head = &realm->head;
    if (value == head->value)
        return true;
    forget_head(realm);
    JSStringRef string = JSValueToStringCopy(context, value, NULL);
    if (!string)
        return false;
    size_t size = JSStringGetMaximumUTF8CStringSize(string);
    bool fits = reserve_head(head, size);
    size_t written = fits ? JSStringGetUTF8CString(string, head->text, size) : 0;
    JSStringRelease(string);
    if (!fits || !parse_head(head, to_latin1(head->text, written ? written - 1 : 0)))
        return false;
    if (value == head->before) { /* the second time: there may be more */
        JSValueProtect(context, value);
        head->value = value;
    }
    head->before = value;
    return true;
}

/* Of a head that was read; until the next one is. */
static struct muster_http_response response_of(const struct muster__js_head *head, int status_code)
{
    return (struct muster_http_response){.status_code = status_code,
                                         .status_text = head->status_text,
                                         .headers = head->headers,
                                         .header_count = head->header_count};
}

/* A long one does not stay. */
void muster__js_trim_head(struct muster__realm *realm)
{
    if (realm->head.capacity > HEAD_KEPT)
        muster__js_head_clean_up(realm);
}

void muster__js_head_clean_up(struct muster__realm *realm)
{
    forget_head(realm);
    free(realm->head.text);
    free(realm->head.headers);
    realm->head = (struct muster__js_head){0};
}

static void settle_response(struct muster__realm *realm, struct muster__js_delivery *delivery,
                            const struct muster_http_response *response)
{
    const struct muster__outcome outcome = {.status = MUSTER_OK, .response = response};
    muster__js_settle(realm, delivery, &outcome);
}

static bool put_body(struct muster__realm *realm, JSContextRef context, JSValueRef body,
                     struct muster_http_response *response, JSStringRef *ret_string)
{
    if (JSValueIsString(context, body)) {
        *ret_string = JSValueToStringCopy(context, body, NULL);
        response->body.data =
            *ret_string ? muster__js_scratch(realm->vm, *ret_string, &response->body.length) : NULL;
        return response->body.data != NULL;
    }
    if (JSValueIsObject(context, body) && muster__js_view(context, body, &response->body) &&
        !response->body.data)
        response->body.data = ""; /* of no bytes, but a body */
    return true;
}

/* respond(id, status, head, body, release).  A number takes the engine's lock, so what is usual is undefined:
 * the id of the request whose entry runs, the status 200, and that nothing is released. */
MUSTER__JS_CALLBACK(muster__js_native_respond)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 5);
    struct muster__js_delivery *delivery = JSValueIsUndefined(context, arguments[0])
                                               ? realm->delivering
                                               : muster__js_delivery_of(realm, context, arguments[0]);
    if (!delivery)
        return JSValueMakeUndefined(context);
    int status_code = JSValueIsUndefined(context, arguments[1])
                          ? 200
                          : (int)JSValueToNumber(context, arguments[1], NULL);
    JSStringRef string = NULL;
    bool is_read = muster__js_read_head(realm, context, arguments[2]);
    struct muster_http_response response = response_of(&realm->head, status_code);
    if (is_read && put_body(realm, context, arguments[3], &response, &string))
        settle_response(realm, delivery, &response);
    else
        muster__js_out_of_memory(context, exception);
    if (string)
        JSStringRelease(string);
    muster__js_trim_head(realm);
    if (!JSValueIsUndefined(context, arguments[4]))
        delivery->holds--;
    muster__js_touch(realm, delivery);
    return JSValueMakeUndefined(context);
}

/* ---- a response body that goes in pieces ---- */

static void wake_out(void *user_data)
{
    struct muster__js_body_out *out = user_data;
    out->realm->host->note_post(out->realm->worker, &out->note);
}

/* The reader is gone: the script's source hears of it, once, in an entry of its own. */
static void cancel_source(struct muster__js_body_out *out)
{
    JSObjectRef cancel = out->cancel;
    JSContextRef context = out->realm->context;
    if (!cancel)
        return;
    out->cancel = NULL;
    const char *message = muster_stream_abort_message(out->stream);
    const JSValueRef arguments[] = {cancel,
                                    muster__js_text(context, message ? message : "the client is gone")};
    (void)muster__js_enter(out->realm, JS_ENTRY_INVOKE, 2, arguments, NULL);
    JSValueUnprotect(context, cancel);
}

/* Also notices that the reader is gone when there is nothing to write. */
static void write_rest(struct muster__js_body_out *out)
{
    size_t written = 0;
    if (out->closed)
        return;
    if (muster_stream_write(out->stream, out->rest ? out->rest + out->rest_done : "",
                            out->rest_length - out->rest_done, &written) != MUSTER_OK)
        out->failed = true;
    else
        out->rest_done += written;
}

static void run_out(struct muster__note *note, struct muster__realm *realm)
{
    struct muster__js_body_out *out = MUSTER_CONTAINER_OF(note, struct muster__js_body_out, note);
    struct muster__js_delivery *delivery = out->delivery;
    delivery->holds++; /* the end of an entry must not free what is used after it */
    write_rest(out);
    if (out->failed)
        cancel_source(out);
    if (out->waiter.resolve && (out->failed || out->rest_done == out->rest_length))
        (void)muster__js_settle_waiter(realm, &out->waiter, false,
                                       JSValueMakeBoolean(realm->context, !out->failed));
    delivery->holds--;
    muster__js_touch(realm, delivery);
    muster__js_sweep(realm);
}

static struct muster__js_body_out *new_out(struct muster__realm *realm, JSContextRef context,
                                           JSValueRef cancel)
{
    struct muster__js_body_out *out = calloc(1, sizeof *out);
    if (!out || muster_stream_new(PIECE_MAX, &out->stream) != MUSTER_OK) {
        free(out);
        return NULL;
    }
    out->note.run = run_out;
    out->realm = realm;
    out->cancel = (JSObjectRef)cancel;
    JSValueProtect(context, cancel);
    return out;
}

/* respondStream(id, status, head, cancel): answers the id, which names the stream from then on. */
MUSTER__JS_CALLBACK(muster__js_native_respond_stream)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 4);
    struct muster__js_delivery *delivery = muster__js_delivery_of(realm, context, arguments[0]);
    if (!delivery || delivery->out)
        return arguments[0];
    int status_code = (int)JSValueToNumber(context, arguments[1], NULL);
    bool is_read = muster__js_read_head(realm, context, arguments[2]);
    struct muster__js_body_out *out = is_read ? new_out(realm, context, arguments[3]) : NULL;
    if (out) {
        struct muster_http_response response = response_of(&realm->head, status_code);
        delivery->out = out;
        out->delivery = delivery;
        response.body_stream = out->stream;
        if (muster__request_is_settled(delivery->request)) /* nobody will read */
            muster_stream_abort(out->stream, MUSTER_CANCELED, "the client is gone");
        muster_stream_on_writable(out->stream, wake_out, out);
        settle_response(realm, delivery, &response);
        muster_stream_release(out->stream); /* the reader's: it has acquired its own */
    } else {
        muster__js_out_of_memory(context, exception);
    }
    muster__js_trim_head(realm);
    return arguments[0];
}

static struct muster__js_body_out *out_of(JSContextRef context, JSValueRef id)
{
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(muster__js_of(context), context, id);
    return delivery ? delivery->out : NULL;
}

/* streamWrite(id, bytes): false when some of it waits; streamDrain() tells when it is gone. */
MUSTER__JS_CALLBACK(muster__js_native_stream_write)
{
    struct muster_bytes piece;
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 2);
    struct muster__js_body_out *out = out_of(context, arguments[0]);
    if (!out || !muster__js_view(context, arguments[1], &piece))
        return JSValueMakeBoolean(context, false);
    size_t written = 0;
    if (muster_stream_write(out->stream, piece.data ? piece.data : "", piece.length, &written) !=
        MUSTER_OK) {
        out->failed = true;
        return JSValueMakeBoolean(context, false);
    }
    if (written == piece.length)
        return JSValueMakeBoolean(context, true);
    free(out->rest);
    out->rest_length = piece.length - written;
    out->rest_done = 0;
    out->rest = malloc(out->rest_length);
    if (out->rest)
        memcpy(out->rest, piece.data + written, out->rest_length);
    else
        muster__js_out_of_memory(context, exception);
    return JSValueMakeBoolean(context, false);
}

/* streamDrain(id, resolve): resolves to false when the reader is gone. */
MUSTER__JS_CALLBACK(muster__js_native_stream_drain)
{
    (void)function;
    (void)this_object;
    (void)exception;
    MUSTER_CHECK(count == 2);
    struct muster__js_body_out *out = out_of(context, arguments[0]);
    if (out && !out->failed)
        write_rest(out); /* room may have come since, and its wake-up too */
    if (out && !out->failed && out->rest_done < out->rest_length) {
        muster__js_hold(context, &out->waiter, arguments[1], NULL);
        return JSValueMakeUndefined(context);
    }
    if (out && out->failed) /* the source hears of it in the note's turn */
        out->realm->host->note_post(out->realm->worker, &out->note);
    if (out && out->failed)
        muster__js_hold(context, &out->waiter, arguments[1], NULL);
    else
        call_with(context, arguments[1], JSValueMakeBoolean(context, out != NULL));
    return JSValueMakeUndefined(context);
}

MUSTER__JS_CALLBACK(muster__js_native_stream_close)
{
    struct muster__js_body_out *out = out_of(context, count ? arguments[0] : NULL);
    (void)function;
    (void)this_object;
    (void)exception;
    if (out) {
        out->closed = true;
        muster_stream_close(out->stream);
    }
    return JSValueMakeUndefined(context);
}

/* streamAbort(id, error) */
MUSTER__JS_CALLBACK(muster__js_native_stream_abort)
{
    struct muster__js_body_out *out = out_of(context, count ? arguments[0] : NULL);
    struct muster_error error = {0};
    (void)function;
    (void)this_object;
    (void)exception;
    if (out && count > 1) {
        muster__js_describe_error(out->realm, context, arguments[1], MUSTER_SCRIPT_ERROR, &error);
        muster_stream_abort(out->stream, MUSTER_SCRIPT_ERROR, error.message);
        if (!out->failed)
            out->realm->host->report(out->realm->worker, &error);
        muster_error_clean_up(&error);
    }
    return JSValueMakeUndefined(context);
}

/* ---- the end ---- */

void muster__js_bodies_cancel(struct muster__realm *realm, struct muster__js_delivery *delivery)
{
    struct muster__js_body_out *out = delivery->out;
    realm->has_departures = true; /* its signal's reason is one */
    if (out && !out->closed) {
        muster_stream_abort(out->stream, MUSTER_CANCELED, "the client is gone");
        realm->host->note_post(realm->worker, &out->note);
    }
}

static void end_in(struct muster__realm *realm, struct muster__js_body_in *in)
{
    muster_stream_on_readable(in->stream, NULL, NULL);
    realm->host->note_cancel(realm->worker, &in->note);
    muster__js_let_go(realm->context, &in->waiter);
    muster_stream_release(in->stream);
    free(in);
}

static void end_out(struct muster__realm *realm, struct muster__js_body_out *out)
{
    muster_stream_on_writable(out->stream, NULL, NULL);
    realm->host->note_cancel(realm->worker, &out->note);
    muster__js_let_go(realm->context, &out->waiter);
    if (out->cancel)
        JSValueUnprotect(realm->context, out->cancel);
    if (!out->closed) /* the realm is destroyed: the reader must not wait for ever */
        muster_stream_abort(out->stream, MUSTER_TERMINATED, "the worker was ended");
    muster_stream_release(out->stream);
    free(out->rest);
    free(out);
}

void muster__js_bodies_end(struct muster__realm *realm, struct muster__js_delivery *delivery)
{
    if (delivery->in)
        end_in(realm, delivery->in);
    if (delivery->out)
        end_out(realm, delivery->out);
    delivery->in = NULL;
    delivery->out = NULL;
}
