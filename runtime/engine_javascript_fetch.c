/* runtime/engine_javascript_fetch.c - `native.web()`: what fetch() and blobs ask of C.
 *
 * A fetch is a JavaScript object over a struct, which the collector frees; while somebody waits for its head
 * or for a piece of a body it is protected.  The HTTP client's thread writes the head's text and posts the
 * note; all else happens on the worker's.  A realm that ends cancels its fetches first, so that nothing of
 * them comes any more; what the collector frees later has lost its realm.
 *
 * A fetch holds a token from its start to its head, and one while a piece of the answer is waited for; after
 * close() only one with keepalive does: the others end with the worker.
 * Thread: the VM's, but for the listener. */
#include "runtime/engine_javascript_fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/loader_web.h"

#define UPLOAD_CAPACITY ((size_t)64 * 1024)

struct muster__js_blob_url {
    struct muster__js_blob_url *next;
    char *url;
};

/* ---- what keeps it ---- */

static void keep(struct muster__js_fetch *fetch)
{
    if (fetch->waits++ > 0)
        return;
    JSValueProtect(fetch->realm->context, fetch->object);
    if (!fetch->token && !fetch->realm->is_closed && (!fetch->realm->is_closing || fetch->keepalive))
        fetch->token = fetch->realm->host->token_take(fetch->realm->worker, fetch->token_name);
}

/* Its memory may be the collector's from then on. */
static void unkeep(struct muster__js_fetch *fetch)
{
    if (--fetch->waits > 0)
        return;
    if (fetch->token)
        fetch->realm->host->token_drop(fetch->realm->worker, fetch->token);
    fetch->token = 0;
    JSValueUnprotect(fetch->realm->context, fetch->object);
}

static void wait_for(struct muster__js_fetch *fetch, JSContextRef context, struct muster__js_waiter *waiter,
                     JSValueRef resolve, JSValueRef reject)
{
    if (!waiter->resolve)
        keep(fetch);
    muster__js_hold(context, waiter, resolve, reject);
}

static void settle(struct muster__js_fetch *fetch, struct muster__js_waiter *waiter, bool rejected, JSValueRef value)
{
    struct muster__realm *realm = fetch->realm;
    (void)muster__js_settle_waiter(realm, waiter, rejected, value);
    unkeep(fetch);
}

static void forget_waiter(struct muster__js_fetch *fetch, JSContextRef context, struct muster__js_waiter *waiter)
{
    if (!waiter->resolve)
        return;
    muster__js_let_go(context, waiter);
    unkeep(fetch);
}

/* ---- the HTTP client's thread ---- */

void muster__js_fetch_post(struct muster__js_fetch *fetch)
{
    fetch->realm->host->note_post(fetch->realm->worker, &fetch->note);
}

static void woke(void *user_data)
{
    muster__js_fetch_post(user_data);
}

static char *put(char *to, struct muster_bytes text)
{
    if (text.length > 0)
        memcpy(to, text.data, text.length);
    for (size_t i = 0; i < text.length; i++)
        to[i] = to[i] == '\n' || to[i] == '\0' ? ' ' : to[i];
    to[text.length] = '\n';
    return to + text.length + 1;
}

char *muster__js_fetch_write_head(int status, struct muster_bytes status_text, const struct muster_header *headers,
                                  size_t header_count, size_t *ret_length)
{
    size_t size = status_text.length + 32;
    for (size_t i = 0; i < header_count; i++)
        size += headers[i].name.length + headers[i].value.length + 2;
    char *text = malloc(size), *at = text;
    if (!text)
        return NULL;
    at += snprintf(text, 16, "%d\n", status);
    at = put(at, status_text);
    for (size_t i = 0; i < header_count; i++) {
        at = put(at, headers[i].name);
        at = put(at, headers[i].value);
    }
    *ret_length = (size_t)(at - text) - 1; /* without the last line's end */
    return text;
}

static void heard_head(void *user_data, const struct muster__http_head *head)
{
    struct muster__js_fetch *fetch = user_data;
    fetch->text = muster__js_fetch_write_head(head->status, head->status_text, head->headers, head->header_count,
                                              &fetch->text_length);
    fetch->failed = fetch->text == NULL;
    fetch->body = head->body;
    atomic_store(&fetch->heard, true);
    muster__js_fetch_post(fetch);
}

static void heard_failure(void *user_data, enum muster__http_problem problem, const char *message)
{
    struct muster__js_fetch *fetch = user_data;
    (void)problem;
    fetch->text = muster__strdup(message);
    fetch->failed = true;
    atomic_store(&fetch->heard, true);
    muster__js_fetch_post(fetch);
}

static const struct muster__http_listener listener = {heard_head, heard_failure};

/* ---- the worker's thread hears ---- */

static JSValueRef network_error(struct muster__realm *realm, JSContextRef context, const char *message)
{
    return muster__js_make_error(realm, context, "TypeError", message ? message : "out of memory", NULL);
}

static JSValueRef head_value(struct muster__js_fetch *fetch, JSContextRef context, bool *ret_failed)
{
    JSStringRef string =
        fetch->failed || fetch->passed ? NULL : muster__js_latin1(fetch->text, fetch->text_length);
    *ret_failed = !string && !fetch->passed;
    if (!string)
        return fetch->passed ? JSValueMakeNull(context)
                             : network_error(fetch->realm, context, fetch->failed ? fetch->text : NULL);
    JSValueRef value = JSValueMakeString(context, string);
    JSStringRelease(string);
    return value;
}

static void take_head(struct muster__js_fetch *fetch)
{
    struct muster__realm *realm = fetch->realm;
    bool failed = false;
    if ((!fetch->transfer && !fetch->dispatch) || !atomic_load(&fetch->heard) || !fetch->head_waiter.resolve)
        return;
    if (fetch->transfer)
        realm->host->web->http_release(fetch->transfer);
    muster__js_dispatch_drop(fetch->dispatch, false);
    fetch->transfer = NULL;
    fetch->dispatch = NULL;
    fetch->in = fetch->body;
    fetch->body = NULL;
    JSValueRef value = head_value(fetch, realm->context, &failed);
    free(fetch->text);
    fetch->text = NULL;
    if (fetch->in)
        muster_stream_on_readable(fetch->in, woke, fetch);
    settle(fetch, &fetch->head_waiter, failed, value);
}

/* False: nothing there yet. */
static bool next_piece(struct muster__js_fetch *fetch, JSContextRef context, bool *ret_failed, JSValueRef *ret_value)
{
    enum muster_status status = MUSTER_OK;
    if (!muster__js_read_piece(fetch->realm, context, fetch->in, &status, ret_value))
        return false;
    *ret_failed = status != MUSTER_OK;
    if (!*ret_value) {
        const char *message = muster_stream_abort_message(fetch->in);
        *ret_value = network_error(fetch->realm, context, message ? message : muster_status_sentence(status));
    }
    return true;
}

static void take_piece(struct muster__js_fetch *fetch)
{
    bool failed = false;
    JSValueRef value = NULL;
    if (fetch->in && fetch->read_waiter.resolve && next_piece(fetch, fetch->realm->context, &failed, &value))
        settle(fetch, &fetch->read_waiter, failed, value);
}

/* 1 + the bytes for which there is room, as far as is known; 0: nobody reads any more. */
static size_t room_of(const struct muster__js_fetch *fetch)
{
    size_t written = 0;
    if (!fetch->out || muster_stream_write(fetch->out, "", 0, &written) != MUSTER_OK)
        return 0;
    size_t waiting = muster_stream_buffered(fetch->out);
    return 1 + (waiting < UPLOAD_CAPACITY ? UPLOAD_CAPACITY - waiting : 0);
}

static void take_room(struct muster__js_fetch *fetch)
{
    size_t room = room_of(fetch);
    if (fetch->drain_waiter.resolve && room != 1)
        settle(fetch, &fetch->drain_waiter, false, JSValueMakeBoolean(fetch->realm->context, room > 0));
}

static void run(struct muster__note *note, struct muster__realm *realm)
{
    struct muster__js_fetch *fetch = MUSTER_CONTAINER_OF(note, struct muster__js_fetch, note);
    JSObjectRef object = fetch->object;
    (void)realm;
    JSValueProtect(fetch->realm->context, object); /* what is settled may let go of it */
    take_head(fetch);
    take_piece(fetch);
    take_room(fetch);
    JSValueUnprotect(realm->context, object);
}

/* ---- life ---- */

static void release_streams(struct muster__js_fetch *fetch)
{
    if (fetch->in) {
        muster_stream_on_readable(fetch->in, NULL, NULL);
        muster_stream_abort(fetch->in, MUSTER_CANCELED, "nobody reads it");
    }
    if (fetch->out) {
        muster_stream_on_writable(fetch->out, NULL, NULL);
        muster_stream_abort(fetch->out, MUSTER_CANCELED, "the fetch was given up"); /* unless all was read */
    }
    if (fetch->body) /* came with a head that nobody took */
        muster_stream_abort(fetch->body, MUSTER_CANCELED, "nobody reads it");
    muster_stream_release(fetch->in);
    muster_stream_release(fetch->out);
    muster_stream_release(fetch->body);
    fetch->in = fetch->out = fetch->body = NULL;
}

/* Nothing comes from outside any more. */
static void stop(struct muster__js_fetch *fetch)
{
    if (fetch->transfer)
        fetch->realm->host->web->http_cancel(fetch->transfer);
    fetch->transfer = NULL;
    muster__js_dispatch_drop(fetch->dispatch, true);
    fetch->dispatch = NULL;
    release_streams(fetch);
    fetch->realm->host->note_cancel(fetch->realm->worker, &fetch->note);
}

static void unlink_fetch(struct muster__js_fetch *fetch)
{
    *(fetch->previous ? &fetch->previous->next : &fetch->realm->fetches) = fetch->next;
    if (fetch->next)
        fetch->next->previous = fetch->previous;
    fetch->realm = NULL;
}

/* By the collector: so nothing waits for it. */
static void finalize(JSObjectRef object)
{
    struct muster__js_fetch *fetch = JSObjectGetPrivate(object);
    if (!fetch)
        return;
    if (fetch->realm) {
        stop(fetch);
        unlink_fetch(fetch);
    }
    free(fetch->token_name);
    free(fetch->text);
    free(fetch);
}

static JSClassRef made_once(_Atomic(JSClassRef) *slot, const JSClassDefinition *definition)
{
    JSClassRef class = atomic_load_explicit(slot, memory_order_acquire);
    if (class)
        return class;
    JSClassRef made = JSClassCreate(definition);
    if (atomic_compare_exchange_strong(slot, &class, made))
        return made;
    JSClassRelease(made);
    return class;
}

static JSClassRef fetch_class(void)
{
    static _Atomic(JSClassRef) slot; /* kept for the process */
    static const JSClassDefinition definition = {
        .attributes = kJSClassAttributeNoAutomaticPrototype, .className = "fetch", .finalize = finalize};
    return made_once(&slot, &definition);
}

static struct muster__js_fetch *fetch_new(struct muster__realm *realm, JSContextRef context, const char *url)
{
    struct muster__js_fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return NULL;
    fetch->token_name = muster__format("fetch %s", url);
    if (!fetch->token_name) {
        free(fetch);
        return NULL;
    }
    fetch->note.run = run;
    fetch->realm = realm;
    fetch->next = realm->fetches;
    if (fetch->next)
        fetch->next->previous = fetch;
    realm->fetches = fetch;
    fetch->object = JSObjectMake(context, fetch_class(), fetch);
    return fetch;
}

static struct muster__js_fetch *fetch_of(JSContextRef context, size_t count, const JSValueRef arguments[])
{
    MUSTER_CHECK(count > 0 && JSValueIsObjectOfClass(context, arguments[0], fetch_class()));
    return JSObjectGetPrivate((JSObjectRef)arguments[0]);
}

void muster__js_fetch_let_go(struct muster__realm *realm)
{
    realm->is_closing = true;
    for (struct muster__js_fetch *fetch = realm->fetches; fetch; fetch = fetch->next) {
        if (!fetch->token || fetch->keepalive)
            continue;
        realm->host->token_drop(realm->worker, fetch->token);
        fetch->token = 0;
    }
}

void muster__js_fetch_clean_up(struct muster__realm *realm)
{
    while (realm->fetches) {
        struct muster__js_fetch *fetch = realm->fetches;
        JSObjectRef object = fetch->object;
        JSValueProtect(realm->context, object);
        stop(fetch);
        forget_waiter(fetch, realm->context, &fetch->head_waiter);
        forget_waiter(fetch, realm->context, &fetch->read_waiter);
        forget_waiter(fetch, realm->context, &fetch->drain_waiter);
        unlink_fetch(fetch);
        JSValueUnprotect(realm->context, object);
    }
    while (realm->blob_urls) {
        struct muster__js_blob_url *entry = realm->blob_urls;
        realm->blob_urls = entry->next;
        realm->host->web->blob_remove(entry->url);
        free(entry->url);
        free(entry);
    }
}

/* ---- the functions ---- */

#define WEB(name)                                                                                  \
    static JSValueRef web_##name(JSContextRef context, JSObjectRef function, JSObjectRef this_object, \
                                 size_t count, const JSValueRef arguments[], JSValueRef *exception)
#define UNUSED ((void)function, (void)this_object, (void)count, (void)arguments, (void)exception)
#define UNDEFINED JSValueMakeUndefined(context)

static JSValueRef call_with(JSContextRef context, JSValueRef function, JSValueRef argument)
{
    (void)JSObjectCallAsFunction(context, (JSObjectRef)function, NULL, 1, &argument, NULL);
    return UNDEFINED;
}

enum { WITH_STREAM = 1, WITH_RAW = 2, WITH_KEEPALIVE = 4 }; /* as fetch_client.js has them */

/* What start() has of its arguments in C. */
struct request {
    char *method, *url;
    struct muster_bytes body; /* the head is in realm->head */
};

static bool read_request(struct muster__realm *realm, JSContextRef context, const JSValueRef arguments[],
                         struct request *request)
{
    request->method = muster__js_copy_text(context, arguments[0], NULL);
    request->url = muster__js_copy_text(context, arguments[1], NULL);
    if (JSValueIsObject(context, arguments[3]) && muster__js_view(context, arguments[3], &request->body) &&
        !request->body.data)
        request->body.data = "";
    return request->method && request->url && muster__js_read_head(realm, context, arguments[2]);
}

static enum muster_status send_request(struct muster__js_fetch *fetch, const struct request *request, bool streams,
                                       bool raw, struct muster_error *error)
{
    if (streams && muster_stream_new(UPLOAD_CAPACITY, &fetch->out) != MUSTER_OK)
        return MUSTER_NO_MEMORY;
    const struct muster__http_options options = {
        .method = request->method, .url = request->url,
        .headers = fetch->realm->head.headers, .header_count = fetch->realm->head.header_count,
        .body = request->body, .body_stream = fetch->out, .raw = raw,
        .listener = &listener, .user_data = fetch,
    };
    if (fetch->out)
        muster_stream_on_writable(fetch->out, woke, fetch);
    enum muster_status status = fetch->realm->host->web->http_start(&options, &fetch->transfer, error);
    if (fetch->out) /* the reader's: the client has its own */
        muster_stream_release(fetch->out);
    return status;
}

/* start(method, url, "\nname\nvalue...", bytes or null, {streams, raw, keepalive as bits}, resolve, reject): the
 * fetch.  Resolves to the head as text; `streams`: the body of the request comes by write(). */
WEB(start)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster_error error = {0};
    struct request request = {0};
    UNUSED;
    MUSTER_CHECK(count == 7);
    unsigned flags = (unsigned)JSValueToNumber(context, arguments[4], NULL);
    JSValueRef made = UNDEFINED;
    struct muster__js_fetch *fetch = NULL;
    if (read_request(realm, context, arguments, &request))
        fetch = fetch_new(realm, context, request.url);
    if (!fetch) {
        muster__js_out_of_memory(context, exception);
    } else if (!realm->host->web) {
        (void)call_with(context, arguments[6], network_error(realm, context, "there is no network here"));
        made = fetch->object;
    } else {
        made = fetch->object;
        fetch->keepalive = flags & WITH_KEEPALIVE;
        wait_for(fetch, context, &fetch->head_waiter, arguments[5], arguments[6]);
        if (send_request(fetch, &request, flags & WITH_STREAM, flags & WITH_RAW, &error) != MUSTER_OK) {
            forget_waiter(fetch, context, &fetch->head_waiter);
            (void)call_with(context, arguments[6], network_error(realm, context, error.message));
        }
    }
    muster_error_clean_up(&error);
    free(request.method);
    free(request.url);
    muster__js_trim_head(realm);
    return made;
}

/* What dispatch() has of its arguments in C. */
static bool read_dispatch(struct muster__realm *realm, JSContextRef context, const JSValueRef arguments[],
                          struct request *request, char **ret_scope, char **ret_client, JSValueRef *exception)
{
    *ret_scope = muster__js_copy_text(context, arguments[0], NULL);
    *ret_client = muster__js_copy_text(context, arguments[3], NULL);
    const JSValueRef rest[] = {arguments[1], arguments[2], arguments[4], arguments[5]};
    if (*ret_scope && *ret_client && read_request(realm, context, rest, request))
        return true;
    muster__js_out_of_memory(context, exception);
    return false;
}

static enum muster_status send_dispatch(struct muster__js_fetch *fetch, const struct request *request,
                                        const char *scope, const char *client, bool streams,
                                        struct muster_value *take_info)
{
    if (streams && muster_stream_new(UPLOAD_CAPACITY, &fetch->out) != MUSTER_OK) {
        muster_value_release(take_info);
        return MUSTER_NO_MEMORY;
    }
    const struct muster__js_dispatch_options options = {
        .scope = scope,
        .http = {.method = {request->method, strlen(request->method)},
                 .url = {request->url, strlen(request->url)},
                 .headers = fetch->realm->head.headers,
                 .header_count = fetch->realm->head.header_count,
                 .body = request->body,
                 .body_stream = fetch->out,
                 .client_id = {client, strlen(client)}},
        .take_info = take_info,
    };
    if (fetch->out)
        muster_stream_on_writable(fetch->out, woke, fetch);
    enum muster_status status = muster__js_dispatch_start(fetch, &options);
    if (fetch->out) /* the reader's: it has its own */
        muster_stream_release(fetch->out);
    return status;
}

/* dispatch(scope, method, url, client, "\nname\nvalue...", bytes or null, streams, info, resolve, reject): a fetch as
 * start() makes it, whose answer is that of the service worker of the scope.  Resolves to null as well: it passed.
 * undefined, and nothing is called: no service worker can be reached from here. */
WEB(dispatch)
{
    struct muster__realm *realm = muster__js_of(context);
    struct request request = {0};
    char *scope = NULL, *client = NULL;
    UNUSED;
    MUSTER_CHECK(count == 10);
    JSValueRef made = UNDEFINED;
    struct muster_value *info = muster__js_to_value(realm, context, arguments[7], false, exception);
    bool is_read = info && read_dispatch(realm, context, arguments, &request, &scope, &client, exception);
    struct muster__js_fetch *fetch = is_read ? fetch_new(realm, context, request.url) : NULL;
    if (fetch) {
        made = fetch->object;
        wait_for(fetch, context, &fetch->head_waiter, arguments[8], arguments[9]);
        enum muster_status status =
            send_dispatch(fetch, &request, scope, client, JSValueToBoolean(context, arguments[6]), info);
        if (status == MUSTER_UNSUPPORTED) {
            forget_waiter(fetch, context, &fetch->head_waiter);
            made = UNDEFINED;
        } else if (status != MUSTER_OK) {
            JSValueRef error = network_error(realm, context, muster_status_sentence(status));
            forget_waiter(fetch, context, &fetch->head_waiter);
            (void)call_with(context, arguments[9], error);
        }
    } else {
        muster_value_release(info);
        if (is_read)
            muster__js_out_of_memory(context, exception);
    }
    free(request.method);
    free(request.url);
    free(scope);
    free(client);
    muster__js_trim_head(realm);
    return made;
}

/* read(fetch, resolve, reject): the next piece of the answer's body; null: its end. */
WEB(read)
{
    struct muster__js_fetch *fetch = fetch_of(context, count, arguments);
    bool failed = false;
    JSValueRef value = NULL;
    UNUSED;
    MUSTER_CHECK(count == 3);
    if (!fetch->in)
        return call_with(context, arguments[1], JSValueMakeNull(context));
    if (next_piece(fetch, context, &failed, &value))
        return call_with(context, arguments[failed ? 2 : 1], value);
    wait_for(fetch, context, &fetch->read_waiter, arguments[1], arguments[2]);
    return UNDEFINED;
}

/* write(fetch, bytes): how many of them were taken; -1: nobody reads any more. */
WEB(write)
{
    struct muster__js_fetch *fetch = fetch_of(context, count, arguments);
    struct muster_bytes bytes = {NULL, 0};
    size_t written = 0;
    UNUSED;
    MUSTER_CHECK(count == 2 && muster__js_view(context, arguments[1], &bytes));
    if (!fetch->out ||
        muster_stream_write(fetch->out, bytes.data ? bytes.data : "", bytes.length, &written) != MUSTER_OK)
        return JSValueMakeNumber(context, -1);
    return JSValueMakeNumber(context, (double)written);
}

/* drain(fetch, resolve): true: there is room again; false: nobody reads any more. */
WEB(drain)
{
    struct muster__js_fetch *fetch = fetch_of(context, count, arguments);
    UNUSED;
    MUSTER_CHECK(count == 2);
    size_t room = room_of(fetch);
    if (room != 1)
        return call_with(context, arguments[1], JSValueMakeBoolean(context, room > 0));
    wait_for(fetch, context, &fetch->drain_waiter, arguments[1], NULL);
    return UNDEFINED;
}

/* finish(fetch, whole): no more of the request's body will come; if it is not whole, the server must not think so. */
WEB(finish)
{
    struct muster__js_fetch *fetch = fetch_of(context, count, arguments);
    UNUSED;
    if (fetch->out && count > 1 && JSValueToBoolean(context, arguments[1]))
        muster_stream_close(fetch->out);
    else if (fetch->out)
        muster_stream_abort(fetch->out, MUSTER_CANCELED, "the body of the request failed");
    return UNDEFINED;
}

/* cancel(fetch): what waits for it will not hear. */
WEB(cancel)
{
    struct muster__js_fetch *fetch = fetch_of(context, count, arguments);
    UNUSED;
    if (!fetch->realm)
        return UNDEFINED;
    stop(fetch);
    forget_waiter(fetch, context, &fetch->head_waiter);
    forget_waiter(fetch, context, &fetch->read_waiter);
    forget_waiter(fetch, context, &fetch->drain_waiter);
    return UNDEFINED;
}

/* digest("sha256", bytes): a Uint8Array; null: there is no such algorithm. */
WEB(digest)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster_bytes bytes = {NULL, 0};
    unsigned char digest[MUSTER__DIGEST_MOST];
    UNUSED;
    MUSTER_CHECK(count == 2 && muster__js_view(context, arguments[1], &bytes));
    char *name = muster__js_copy_text(context, arguments[0], NULL);
    size_t length = name && realm->host->web ? realm->host->web->digest(name, bytes, digest) : 0;
    free(name);
    return length ? muster__js_copied_bytes(context, digest, length, exception) : JSValueMakeNull(context);
}

/* ---- blobs ---- */

static JSValueRef blob_pair(JSContextRef context, const struct muster__blob *blob, JSValueRef *exception)
{
    JSValueRef items[2] = {muster__js_copied_bytes(context, blob->bytes.data, blob->bytes.length, exception),
                           muster__js_text(context, blob->type)};
    JSObjectRef pair = *exception ? NULL : JSObjectMakeArray(context, 2, items, exception);
    return pair ? pair : UNDEFINED;
}

static JSValueRef find_bytes(JSContextRef context, size_t count, const JSValueRef arguments[], bool in_url,
                             JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_of(context);
    enum muster_status status = MUSTER_OK;
    const struct muster__blob *blob = NULL;
    JSValueRef found = JSValueMakeNull(context);
    char *url = count ? muster__js_copy_text(context, arguments[0], NULL) : NULL;
    if (url && realm->host->web)
        blob = in_url ? realm->host->web->data_url_read(url, &status) : realm->host->web->blob_find(url);
    if (!url || status == MUSTER_NO_MEMORY)
        muster__js_out_of_memory(context, exception);
    else if (blob)
        found = blob_pair(context, blob, exception);
    if (blob)
        realm->host->web->blob_release(blob);
    free(url);
    return found;
}

/* blobFind(url): [bytes, type], or null. */
WEB(blobFind)
{
    UNUSED;
    return find_bytes(context, count, arguments, false, exception);
}

/* dataUrl(url): likewise. */
WEB(dataUrl)
{
    UNUSED;
    return find_bytes(context, count, arguments, true, exception);
}

/* blobAdd(url, bytes, type): false: there is no place for it. */
WEB(blobAdd)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster_bytes bytes = {NULL, 0};
    UNUSED;
    MUSTER_CHECK(count == 3 && muster__js_view(context, arguments[1], &bytes));
    struct muster__js_blob_url *entry = calloc(1, sizeof *entry);
    char *url = muster__js_copy_text(context, arguments[0], NULL);
    char *type = muster__js_copy_text(context, arguments[2], NULL);
    bool added = entry && url && type && realm->host->web &&
                 realm->host->web->blob_add(url, bytes, type) == MUSTER_OK;
    free(type);
    if (!added) {
        free(entry);
        free(url);
        return JSValueMakeBoolean(context, false);
    }
    *entry = (struct muster__js_blob_url){realm->blob_urls, url};
    realm->blob_urls = entry;
    return JSValueMakeBoolean(context, true);
}

static void forget_blob_url(struct muster__realm *realm, const char *url)
{
    struct muster__js_blob_url **at = &realm->blob_urls;
    while (*at && strcmp((*at)->url, url) != 0)
        at = &(*at)->next;
    struct muster__js_blob_url *entry = *at;
    if (!entry)
        return;
    *at = entry->next;
    free(entry->url);
    free(entry);
}

/* blobRemove(url) */
WEB(blobRemove)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    char *url = count ? muster__js_copy_text(context, arguments[0], NULL) : NULL;
    if (url && realm->host->web) {
        realm->host->web->blob_remove(url);
        forget_blob_url(realm, url);
    }
    free(url);
    return UNDEFINED;
}

#define FUNCTION(name) {#name, web_##name, kJSPropertyAttributeReadOnly}
static const JSStaticFunction functions[] = {
    FUNCTION(start),  FUNCTION(read),     FUNCTION(write),   FUNCTION(drain),   FUNCTION(finish),
    FUNCTION(cancel), FUNCTION(digest),   FUNCTION(blobFind), FUNCTION(blobAdd), FUNCTION(blobRemove),
    FUNCTION(dataUrl), FUNCTION(dispatch), {NULL, NULL, 0},
};

/* web(): the object with these functions. */
MUSTER__JS_CALLBACK(muster__js_native_web)
{
    static _Atomic(JSClassRef) slot; /* kept for the process */
    static const JSClassDefinition definition = {
        .attributes = kJSClassAttributeNoAutomaticPrototype, .className = "web", .staticFunctions = functions};
    UNUSED;
    return JSObjectMake(context, made_once(&slot, &definition), NULL);
}
