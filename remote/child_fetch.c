/* remote/child_fetch.c - a fetch of a script's in this process that goes to the service worker of its client, by way of
 * the parent.
 *
 * It goes out as DISPATCH.  RESULT settles the engine's request; its number stays in a map of its own until both bodies
 * have come to their end, for their frames name it. */
#include "remote/child_internal.h"
#include "remote/wire_http.h"

#include <stdlib.h>

struct child_fetch {
    struct child_opening opening; /* until RESULT */
    struct muster__id_node node;  /* of child->fetches, with the same number */
    atomic_uint references;       /* each part's */
    struct child_worker *worker;
    struct muster__request *request;
    uint32_t id; /* the worker's */
    /* Under the child's lock. */
    unsigned parts; /* the question, and bodies under way; the map lets go at 0 */
    struct muster__body_pump *body, *answer;
    bool is_body_refused; /* before there was a pump for it */
};

static void release(struct child_fetch *fetch)
{
    if (atomic_fetch_sub(&fetch->references, 1) != 1)
        return;
    muster__body_pump_release(fetch->body);
    muster__body_pump_release(fetch->answer);
    muster__request_release(fetch->request);
    muster__child_worker_release(fetch->worker);
    free(fetch);
}

/* A part has ended: with the last one no frame can name it any more. */
static void end_part(void *user_data)
{
    struct child_fetch *fetch = user_data;
    struct child *child = fetch->worker->child;
    pthread_mutex_lock(&child->lock);
    if (--fetch->parts == 0)
        (void)muster__id_map_remove(&child->fetches, fetch->node.id);
    pthread_mutex_unlock(&child->lock);
    release(fetch);
}

static void begin_part(struct child_fetch *fetch)
{
    struct child *child = fetch->worker->child;
    pthread_mutex_lock(&child->lock);
    fetch->parts++;
    pthread_mutex_unlock(&child->lock);
    atomic_fetch_add(&fetch->references, 1);
}

static struct muster__body_route route_of(struct child_fetch *fetch, uint8_t flags)
{
    return (struct muster__body_route){.pool = fetch->worker->child->pool,
                                       .link = fetch->worker->child->link,
                                       .worker = fetch->id,
                                       .actor = fetch->node.id,
                                       .flags = flags,
                                       .done = end_part,
                                       .user_data = fetch};
}

/* ---- the answer ---- */

/* The reader's end; NULL: out of memory. */
static struct muster_stream *open_answer(struct child_fetch *fetch)
{
    struct child *child = fetch->worker->child;
    const struct muster__body_route route = route_of(fetch, MUSTER__WIRE_FLAG_RESPONSE);
    struct muster_stream *stream = NULL;
    struct muster__body_pump *pump = NULL;
    begin_part(fetch);
    if (muster__body_pump_in(&route, &stream, &pump) != MUSTER_OK) {
        struct muster__wire_message abort = {.type = MUSTER__WIRE_BODY_ABORT,
                                             .flags = MUSTER__WIRE_FLAG_RESPONSE,
                                             .worker = fetch->id,
                                             .actor = fetch->node.id,
                                             .status = MUSTER_NO_MEMORY};
        muster__child_send(child, &abort);
        end_part(fetch);
        return NULL;
    }
    pthread_mutex_lock(&child->lock);
    fetch->answer = pump;
    pthread_mutex_unlock(&child->lock);
    return stream;
}

/* Thread: poller. */
static void answered(struct child_opening *opening, struct muster__wire_message *message)
{
    struct child_fetch *fetch = MUSTER_CONTAINER_OF(opening, struct child_fetch, opening);
    struct muster_stream *stream = NULL;
    struct muster_http_response response = {.status_code = message->result.status_code,
                                            .status_text = message->result.reason,
                                            .headers = message->result.headers,
                                            .header_count = message->result.header_count};
    struct muster__outcome outcome = {.status = message->status, .error = message->has_error ? &message->error : NULL};
    if (message->result.is_response) {
        if (message->result.body == MUSTER__WIRE_BODY_STREAM && !(stream = open_answer(fetch)))
            outcome.status = MUSTER_NO_MEMORY;
        response.body = message->value.bytes;
        response.body_stream = stream;
        outcome.response = outcome.status == MUSTER_OK ? &response : NULL;
    }
    if (!muster__request_settle(fetch->request, &outcome) && stream)
        muster_stream_abort(stream, MUSTER_CANCELED, "nobody waits for it");
    muster_stream_release(stream);
    end_part(fetch); /* the question */
}

/* ---- the question ---- */

static struct child_fetch *new_fetch(struct child_worker *worker, struct muster__request *request)
{
    struct child_fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return NULL;
    atomic_init(&fetch->references, 1);
    fetch->parts = 1;
    fetch->opening.answered = answered;
    fetch->id = worker->id;
    muster__child_worker_acquire(worker);
    fetch->worker = worker;
    muster__request_acquire(request);
    fetch->request = request;
    return fetch;
}

/* Its number is known from here on.  The engine may name the request by it. */
static enum muster_status enlist(struct child_fetch *fetch)
{
    struct child *child = fetch->worker->child;
    enum muster_status status = muster__child_enlist(child, &fetch->opening);
    if (status != MUSTER_OK)
        return status;
    fetch->node.id = fetch->request->id = fetch->opening.node.id;
    pthread_mutex_lock(&child->lock);
    muster__id_map_add(&child->fetches, &fetch->node);
    pthread_mutex_unlock(&child->lock);
    return MUSTER_OK;
}

/* Behind DISPATCH.  The part that it is has begun before that. */
static void send_body(struct child_fetch *fetch, struct muster_stream *stream)
{
    struct child *child = fetch->worker->child;
    const struct muster__body_route route = route_of(fetch, 0);
    struct muster__body_pump *pump = NULL;
    if (muster__body_pump_out(&route, stream, &pump) != MUSTER_OK) {
        struct muster__wire_message abort = {.type = MUSTER__WIRE_BODY_ABORT,
                                             .worker = fetch->id,
                                             .actor = fetch->node.id,
                                             .status = MUSTER_NO_MEMORY};
        muster_stream_abort(stream, MUSTER_NO_MEMORY, NULL);
        muster__child_send(child, &abort);
        end_part(fetch);
        return;
    }
    pthread_mutex_lock(&child->lock);
    fetch->body = pump;
    bool is_refused = fetch->is_body_refused;
    pthread_mutex_unlock(&child->lock);
    if (is_refused)
        muster__body_pump_stop(pump, MUSTER_CANCELED, NULL);
    else
        muster__body_pump_start(pump);
}

static enum muster_status send(struct child_fetch *fetch, const char *scope, uint64_t keepalive_until_us,
                               const struct muster__packed_value *details)
{
    struct child *child = fetch->worker->child;
    const struct muster_http_request *http = &fetch->request->http;
    struct muster__wire_message message = {.type = MUSTER__WIRE_DISPATCH, .worker = fetch->id};
    message.request.kind = MUSTER__REQUEST_FETCH;
    message.request.name = fetch->request->name;
    message.request.scope = scope;
    message.request.keepalive_until_us = keepalive_until_us;
    message.request.started_word = MUSTER__WIRE_NO_WORD;
    message.request.details = details->wire.bytes;
    muster__wire_put_request(&message, http);
    struct muster_stream *stream = http->body_stream;
    if (stream) {
        muster_stream_acquire(stream); /* an answer may come before its body goes */
        begin_part(fetch);
    }
    atomic_fetch_add(&fetch->references, 1);
    enum muster_status status = muster__child_send_opening(child, &fetch->opening, &message, NULL);
    if (stream && status == MUSTER_OK)
        send_body(fetch, stream);
    else if (stream)
        end_part(fetch);
    muster_stream_release(stream);
    release(fetch);
    return status;
}

enum muster_status muster__child_fetch(struct child_worker *worker, const char *scope, struct muster__request *request,
                                       uint64_t keepalive_until_us)
{
    struct muster__packed_value details = {0};
    struct child_fetch *fetch = new_fetch(worker, request);
    if (!fetch)
        return MUSTER_NO_MEMORY;
    enum muster_status status = muster__wire_value_pack(request->data, &details, NULL);
    if (status == MUSTER_OK && details.wire.buffer_count)
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK)
        status = enlist(fetch);
    if (status != MUSTER_OK) {
        release(fetch);
    } else {
        status = send(fetch, scope, keepalive_until_us, &details);
        if (status != MUSTER_OK)
            end_part(fetch);
    }
    muster__wire_value_clean_up(&details);
    return status;
}

/* ---- frames, and the fetch given up ---- */

void muster__child_fetch_frame(struct child *child, const struct muster__wire_message *message)
{
    struct muster__body_pump *pump = NULL;
    const bool of_answer = message->flags & MUSTER__WIRE_FLAG_RESPONSE;
    pthread_mutex_lock(&child->lock);
    struct muster__id_node *node = muster__id_map_find(&child->fetches, message->actor);
    struct child_fetch *fetch = node ? MUSTER_CONTAINER_OF(node, struct child_fetch, node) : NULL;
    if (fetch) {
        atomic_fetch_add(&fetch->references, 1);
        pump = of_answer ? fetch->answer : fetch->body;
        fetch->is_body_refused |= !of_answer && message->type == MUSTER__WIRE_BODY_ABORT;
    }
    pthread_mutex_unlock(&child->lock);
    if (!fetch)
        return; /* it has ended; the parent did not know */
    bool ok = !pump || muster__body_pump_frame(pump, message);
    release(fetch);
    if (!ok)
        muster__child_distrust("more of a body than it may");
}

void muster__child_fetch_cancel(struct child_worker *worker, const struct muster__request *request)
{
    struct child *child = worker->child;
    struct muster__wire_message message = {.type = MUSTER__WIRE_CANCEL, .status = MUSTER_CANCELED};
    pthread_mutex_lock(&child->lock);
    struct muster__id_node *node = muster__id_map_find(&child->fetches, request->id);
    struct child_fetch *fetch = node ? MUSTER_CONTAINER_OF(node, struct child_fetch, node) : NULL;
    if (fetch && fetch->request == request && muster__id_map_find(&child->openings, request->id)) {
        message.worker = fetch->id;
        message.actor = request->id;
    }
    pthread_mutex_unlock(&child->lock);
    if (message.actor)
        muster__child_send(child, &message);
}
