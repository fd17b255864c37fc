/* runtime/engine_javascript_dispatch.c - a script's fetch that its service worker answers.
 *
 * A dispatch is a FETCH request of the engine's making, which outlives the fetch of it: whoever answers it may do
 * so on any thread, before and after the realm ends.  The fetch is told under the lock, so that it is either told
 * while it is there, or was dropped before.  When it is dropped without an answer the worker hears that the client
 * is gone, by way of the slot that took the request last.
 *
 * Thread: the VM's for what engine_javascript_fetch.h names; the request's class any. */
#include "runtime/engine_javascript_fetch.h"

#include <pthread.h>
#include <stdlib.h>

struct muster__js_dispatch {
    struct muster__request request;
    struct muster_header *memory; /* of its texts */
    pthread_mutex_t lock;
    struct muster__js_fetch *fetch; /* NULL: dropped */
    const struct muster__slot_calls *slots;
    struct muster__slot *slot; /* that took it; NULL: none yet, or nothing can be said there */
};

static struct muster__js_dispatch *of_request(struct muster__request *request)
{
    return MUSTER_CONTAINER_OF(request, struct muster__js_dispatch, request);
}

/* ---- the request's class ---- */

static void hear(struct muster__js_fetch *fetch, const struct muster__outcome *outcome)
{
    const struct muster_http_response *response = outcome->response;
    fetch->passed = outcome->status == MUSTER_PASSED;
    if (outcome->status == MUSTER_OK && response)
        fetch->text = muster__js_fetch_write_head(response->status_code, response->status_text, response->headers,
                                                  response->header_count, &fetch->text_length);
    else if (!fetch->passed)
        fetch->text = muster__strdup(outcome->error && outcome->error->message
                                         ? outcome->error->message
                                         : muster_status_sentence(outcome->status));
    fetch->failed = !fetch->passed && (outcome->status != MUSTER_OK || !response || !fetch->text);
    if (!fetch->failed && !fetch->passed && response->body_stream)
        fetch->body = muster_stream_acquire(response->body_stream);
}

/* Bytes that are all there become a stream that holds them. */
static bool hear_bytes(struct muster__js_fetch *fetch, struct muster_bytes bytes)
{
    size_t written = 0;
    struct muster_stream *stream;
    if (bytes.length == 0)
        return true;
    if (muster_stream_new(bytes.length, &stream) != MUSTER_OK)
        return false;
    bool ok = muster_stream_write(stream, bytes.data, bytes.length, &written) == MUSTER_OK && written == bytes.length;
    muster_stream_close(stream);
    muster_stream_release(stream); /* the writer's */
    fetch->body = stream;
    return ok;
}

static void settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster__js_dispatch *dispatch = of_request(request);
    pthread_mutex_lock(&dispatch->lock);
    struct muster__js_fetch *fetch = dispatch->fetch;
    if (fetch) {
        hear(fetch, outcome);
        if (!fetch->failed && !fetch->passed && !fetch->body && !hear_bytes(fetch, outcome->response->body))
            fetch->failed = true;
        atomic_store(&fetch->heard, true);
        muster__js_fetch_post(fetch);
    } else if (outcome->response && outcome->response->body_stream) {
        muster_stream_abort(outcome->response->body_stream, MUSTER_CANCELED, "the client is gone");
    }
    pthread_mutex_unlock(&dispatch->lock);
}

static void posted(struct muster__request *request, struct muster__slot *slot)
{
    struct muster__js_dispatch *dispatch = of_request(request);
    pthread_mutex_lock(&dispatch->lock);
    struct muster__slot *before = dispatch->slot;
    if (dispatch->slots) {
        dispatch->slots->acquire(slot);
        dispatch->slot = slot;
    }
    pthread_mutex_unlock(&dispatch->lock);
    if (before)
        dispatch->slots->release(before);
}

static void destroy(struct muster__request *request)
{
    struct muster__js_dispatch *dispatch = of_request(request);
    if (dispatch->slot)
        dispatch->slots->release(dispatch->slot);
    muster_value_release(request->data);
    muster_stream_release(request->http.body_stream);
    pthread_mutex_destroy(&dispatch->lock);
    free(dispatch->memory);
    free(dispatch);
}

static const struct muster__request_class dispatch_class = {.settled = settled, .destroy = destroy, .posted = posted};

/* ---- the fetch's side ---- */

static bool copy_http(struct muster__js_dispatch *dispatch, const struct muster_http_request *from)
{
    dispatch->memory = muster__request_copy_http(from, (struct muster_bytes){NULL, 0}, &dispatch->request.http, NULL);
    return dispatch->memory != NULL;
}

enum muster_status muster__js_dispatch_start(struct muster__js_fetch *fetch,
                                             const struct muster__js_dispatch_options *options)
{
    struct muster__realm *realm = fetch->realm;
    struct muster__js_dispatch *dispatch = calloc(1, sizeof *dispatch);
    if (!dispatch) {
        muster_value_release(options->take_info);
        return MUSTER_NO_MEMORY;
    }
    pthread_mutex_init(&dispatch->lock, NULL);
    muster__request_init(&dispatch->request, &dispatch_class, MUSTER__REQUEST_FETCH, "fetch");
    dispatch->request.data = options->take_info;
    dispatch->fetch = fetch;
    dispatch->slots = realm->host->slots;
    enum muster_status status = MUSTER_NO_MEMORY;
    if (copy_http(dispatch, &options->http))
        status = realm->host->dispatch(realm->worker, options->scope, &dispatch->request);
    if (status != MUSTER_OK) {
        muster__js_dispatch_drop(dispatch, false);
        return status;
    }
    fetch->dispatch = dispatch;
    return MUSTER_OK;
}

void muster__js_dispatch_drop(struct muster__js_dispatch *dispatch, bool cancel)
{
    if (!dispatch)
        return;
    struct muster__realm *realm = dispatch->fetch->realm;
    pthread_mutex_lock(&dispatch->lock);
    struct muster__slot *slot = dispatch->slot; /* held: the request may end meanwhile */
    dispatch->fetch = NULL;
    if (slot)
        dispatch->slots->acquire(slot);
    pthread_mutex_unlock(&dispatch->lock);
    const bool is_news = cancel && muster__request_fail(&dispatch->request, MUSTER_CANCELED, NULL);
    if (is_news && slot)
        dispatch->slots->cancel(slot, &dispatch->request);
    else if (is_news && realm->host->dispatch_cancel)
        realm->host->dispatch_cancel(realm->worker, &dispatch->request);
    if (slot)
        dispatch->slots->release(slot);
    muster__request_release(&dispatch->request);
}
