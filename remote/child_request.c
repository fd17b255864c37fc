/* remote/child_request.c - a request that the parent sent, in the child: into the worker, and its two endings
 * back.
 *
 * Settled becomes RESULT, the last reference's end becomes ENDED.  The number stays in the map until both bodies have
 * come to their end as well, for their frames name it. */
#include "remote/child_internal.h"
#include "remote/wire_http.h"

#include <stdlib.h>
#include <string.h>

struct child_request {
    struct muster__request request;
    struct muster__id_node node;
    atomic_uint references; /* the request's own life, the map, each body */
    struct child_worker *worker;
    uint32_t id, word;
    bool control;
    struct muster__body_pump *body, *answer; /* under the child's lock */
    bool is_answer_refused; /* likewise: before there was a pump for it */
    unsigned parts; /* under the child's lock: the request, and bodies under way; the map lets go at 0 */
    struct muster_header *headers; /* one block with all texts behind them */
    uint64_t *ports;   /* of its mail, until it begins: the parent can have them back so long */
    bool given_back;   /* and they stay where they are for that */
};

static struct child_request *of(struct muster__request *request)
{
    return MUSTER_CONTAINER_OF(request, struct child_request, request);
}

/* The ends that came with it, to be used now, or closed. */
static void claim_mail(struct child_request *request)
{
    struct muster__port_message *mail = request->request.mail;
    struct muster__link_ports *ports = request->worker->child->ports;
    for (size_t i = 0; request->ports && i < mail->port_count; i++) {
        if (muster__link_ports_claim(ports, request->ports[i], request->id, &mail->ports[i]) == MUSTER_NOT_FOUND)
            muster__child_distrust("a request with a port that there is not");
        muster__link_ports_accept(ports, request->ports[i]);
    }
    free(request->ports);
    request->ports = NULL;
}

static void release(struct child_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) != 1)
        return;
    muster__body_pump_release(request->body);
    muster__body_pump_release(request->answer);
    muster_value_release(request->request.data);
    muster_stream_release(request->request.http.body_stream);
    muster__port_message_destroy(request->request.mail);
    muster__child_worker_release(request->worker);
    free(request->ports);
    free(request->headers);
    free(request);
}

/* A part has ended: with the last one no frame can name it any more. */
static void end_part(void *user_data)
{
    struct child_request *request = user_data;
    struct child *child = request->worker->child;
    pthread_mutex_lock(&child->lock);
    bool last = --request->parts == 0;
    if (last)
        (void)muster__id_map_remove(&child->requests, request->node.id);
    pthread_mutex_unlock(&child->lock);
    if (last)
        release(request); /* the map's */
    release(request);
}

static void begin_part(struct child_request *request)
{
    pthread_mutex_lock(&request->worker->child->lock);
    request->parts++;
    pthread_mutex_unlock(&request->worker->child->lock);
    atomic_fetch_add(&request->references, 1);
}

/* ---- the endings ---- */

static struct muster__body_route route_of(struct child_request *request, uint8_t flags)
{
    return (struct muster__body_route){.pool = request->worker->child->pool,
                                       .link = request->worker->child->link,
                                       .worker = request->id,
                                       .actor = request->node.id,
                                       .flags = flags,
                                       .done = end_part,
                                       .user_data = request};
}

/* After RESULT, which announces it. */
static void send_answer_body(struct child_request *request, struct muster_stream *stream)
{
    const struct muster__body_route route = route_of(request, MUSTER__WIRE_FLAG_RESPONSE);
    struct muster__body_pump *pump = NULL;
    begin_part(request);
    if (muster__body_pump_out(&route, stream, &pump) != MUSTER_OK) {
        struct muster__wire_message abort = {.type = MUSTER__WIRE_BODY_ABORT,
                                             .flags = MUSTER__WIRE_FLAG_RESPONSE,
                                             .worker = request->id,
                                             .actor = request->node.id,
                                             .status = MUSTER_NO_MEMORY};
        muster_stream_abort(stream, MUSTER_NO_MEMORY, NULL);
        muster__child_send(request->worker->child, &abort);
        end_part(request);
        return;
    }
    pthread_mutex_lock(&request->worker->child->lock);
    request->answer = pump;
    bool is_refused = request->is_answer_refused;
    pthread_mutex_unlock(&request->worker->child->lock);
    if (is_refused)
        muster__body_pump_stop(pump, MUSTER_CANCELED, NULL);
    else
        muster__body_pump_start(pump);
}

static void settled(struct muster__request *base, const struct muster__outcome *outcome)
{
    struct child_request *request = of(base);
    struct child *child = request->worker->child;
    struct muster__packed_value value = {0};
    struct muster_error error = {0};
    struct muster__wire_message message = {.type = MUSTER__WIRE_RESULT,
                                           .worker = request->id,
                                           .actor = request->node.id,
                                           .status = outcome->status};
    request->given_back = outcome->status == MUSTER_RETRY;
    if (outcome->response) {
        muster__wire_put_response(&message, outcome->response);
    } else if (outcome->value) {
        enum muster_status status = muster__wire_value_pack(outcome->value, &value, &error);
        message.status = status == MUSTER_OK ? outcome->status : MUSTER_SCRIPT_ERROR;
    }
    message.has_error = error.message || outcome->error;
    if (message.has_error)
        message.error = error.message ? error : *outcome->error;
    enum muster_status sent = outcome->response ? muster__link_send(child->link, &message, 0)
                                                : muster__wire_value_send(child->link, &message, 0, &value);
    if (sent == MUSTER_INVALID_ARGUMENT) { /* larger than the wire carries: that is the answer */
        message = (struct muster__wire_message){.type = MUSTER__WIRE_RESULT,
                                                .worker = request->id,
                                                .actor = request->node.id,
                                                .status = MUSTER_SCRIPT_ERROR,
                                                .has_error = true};
        muster_error_clean_up(&error);
        muster_error_set(&error, MUSTER_SCRIPT_ERROR, "the result is too large to leave the worker's process");
        message.error = error;
        muster__child_send(child, &message);
    } else if (outcome->response && outcome->response->body_stream) {
        send_answer_body(request, outcome->response->body_stream);
    }
    muster__wire_value_clean_up(&value);
    muster_error_clean_up(&error);
}

/* Nothing of it runs any more. */
static void destroyed(struct muster__request *base)
{
    struct child_request *request = of(base);
    if (!request->given_back)
        claim_mail(request);
    muster__child_send(request->worker->child,
                       &(struct muster__wire_message){.type = MUSTER__WIRE_ENDED,
                                                      .worker = request->id,
                                                      .actor = request->node.id});
    pthread_mutex_lock(&request->worker->child->lock);
    struct muster__body_pump *body = request->body;
    pthread_mutex_unlock(&request->worker->child->lock);
    if (body) /* what nobody read is not wanted */
        muster__body_pump_stop(body, MUSTER_CANCELED, NULL);
    end_part(request);
}

static void turn(struct muster__request *base, bool begins)
{
    struct child_request *request = of(base);
    bool has_word = request->word != MUSTER__WIRE_NO_WORD;
    if (begins && has_word)
        (void)!muster__shared_memory_start(request->worker->child->memory, request->word);
    else if (has_word)
        muster__shared_memory_rest(request->worker->child->memory, request->word);
    if (begins)
        claim_mail(request);
}

static const struct muster__request_class request_class = {settled, destroyed, turn};

/* ---- from the parent ---- */

static struct child_request *new_request(struct child_worker *worker,
                                         const struct muster__wire_message *message)
{
    struct child_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    atomic_init(&request->references, 2); /* the request's, the map's */
    request->parts = 1;
    request->worker = worker;
    request->id = worker->id;
    request->node.id = message->actor;
    request->word = message->request.started_word;
    request->control = message->flags & MUSTER__WIRE_FLAG_CONTROL;
    muster__request_init(&request->request, &request_class, message->request.kind, NULL);
    request->request.received_us = muster__now_us();
    request->request.keepalive_until_us = message->request.keepalive_until_us;
    request->request.idempotent = message->request.idempotent;
    request->request.id = message->actor;
    muster__child_worker_acquire(worker);
    if (!muster__wire_copy_request(message, &request->request, &request->headers)) {
        atomic_store(&request->references, 1);
        release(request);
        return NULL;
    }
    return request;
}

static enum muster_status open_body(struct child_request *request)
{
    const struct muster__body_route route = route_of(request, 0);
    begin_part(request);
    enum muster_status status =
        muster__body_pump_in(&route, &request->request.http.body_stream, &request->body);
    if (status != MUSTER_OK)
        end_part(request);
    return status;
}

/* Nobody will have them. */
static void drop_ports(struct child *child, const struct muster__wire_message *message)
{
    for (size_t i = 0; i < message->port_count; i++) {
        struct muster__port *port = NULL;
        (void)!muster__link_ports_claim(child->ports, message->ports[i], 0, &port);
        muster__port_release(port);
    }
}

/* The answer to what never got into a worker. */
static void refuse(struct child *child, const struct muster__wire_message *message, enum muster_status status)
{
    /* One that goes to another worker takes its body along. */
    if (message->request.body == MUSTER__WIRE_BODY_STREAM && status != MUSTER_RETRY) {
        struct muster__wire_message abort = {.type = MUSTER__WIRE_BODY_ABORT,
                                             .worker = message->worker,
                                             .actor = message->actor,
                                             .status = MUSTER_CANCELED};
        muster__child_send(child, &abort);
    }
    muster__child_send(child, &(struct muster__wire_message){.type = MUSTER__WIRE_RESULT,
                                                             .flags = MUSTER__WIRE_FLAG_ENDED,
                                                             .worker = message->worker,
                                                             .actor = message->actor,
                                                             .status = status});
}

/* Room for the ends that go with it, and its head, which is taken. */
static enum muster_status make_mail(struct child_request *request, const struct muster__wire_message *message,
                                    struct muster_value *take_head)
{
    size_t count = message->port_count;
    if (!count && !take_head)
        return MUSTER_OK;
    request->ports = calloc(count + 1, sizeof *request->ports);
    struct muster__port_message *mail = muster__port_message_new(take_head, NULL, count);
    if (!request->ports || !mail) {
        muster__port_message_destroy(mail);
        return MUSTER_NO_MEMORY;
    }
    if (count)
        memcpy(request->ports, message->ports, count * sizeof *request->ports);
    request->request.mail = mail;
    return MUSTER_OK;
}

/* What a fetch says beside HTTP, and a message beside its data. */
static enum muster_status fill_details(struct child_request *request, const struct muster__wire_message *message)
{
    const struct muster__wire_value wire = {.present = true, .bytes = message->request.details};
    struct muster_value *details = NULL;
    enum muster_status status = MUSTER_OK;
    if (message->request.details.length)
        status = muster__wire_value_unpack(&wire, NULL, &details, NULL);
    if (status != MUSTER_OK || message->request.kind != MUSTER__REQUEST_FETCH)
        return status == MUSTER_OK ? make_mail(request, message, details) : status;
    request->request.data = details;
    return MUSTER_OK;
}

static enum muster_status fill(struct child_request *request, struct muster__wire_message *message)
{
    enum muster_status status = fill_details(request, message);
    if (status != MUSTER_OK)
        return status;
    if (message->request.body == MUSTER__WIRE_BODY_STREAM)
        return open_body(request);
    if (message->request.body == MUSTER__WIRE_BODY_WHOLE)
        return MUSTER_OK;
    if (message->request.kind == MUSTER__REQUEST_FETCH)
        return MUSTER_OK;
    return muster__wire_value_unpack_with_ports(&message->value, request->worker->child->link, message->host_count,
                                                false, &request->request.data, NULL);
}

void muster__child_request(struct child *child, struct child_worker *worker,
                           struct muster__wire_message *message)
{
    struct child_request *request = worker ? new_request(worker, message) : NULL;
    if (!request) { /* a worker that is gone: the parent sends it to the next one */
        if (worker)
            drop_ports(child, message);
        refuse(child, message, worker ? MUSTER_NO_MEMORY : MUSTER_RETRY);
        return;
    }
    pthread_mutex_lock(&child->lock);
    bool twice = muster__id_map_find(&child->requests, message->actor) != NULL;
    if (!twice)
        muster__id_map_add(&child->requests, &request->node);
    pthread_mutex_unlock(&child->lock);
    if (twice)
        muster__child_distrust("a number that is in use");
    struct muster__request *base = &request->request;
    enum muster_status status = fill(request, message);
    if (!request->ports)
        drop_ports(child, message);
    if (status == MUSTER_INVALID_ARGUMENT)
        muster__child_distrust("a value that is none");
    if (status == MUSTER_OK && request->control)
        muster__worker_control(worker->worker, base);
    else if (status == MUSTER_OK)
        status = muster__slot_post(worker->slot, base, base->received_us);
    if (status != MUSTER_OK)
        (void)muster__request_fail(base, status == MUSTER_CLOSED ? MUSTER_RETRY : status, NULL);
    muster__request_release(base);
}

/* ---- frames about it ---- */

static void cancel(struct child_request *request)
{
    struct muster__request *base = &request->request;
    (void)muster__request_fail(base, MUSTER_CANCELED, NULL);
    if (request->control)
        muster__worker_cancel_request(request->worker->worker, base);
    else
        muster__slot_cancel(request->worker->slot, base);
}

void muster__child_request_frame(struct child *child, const struct muster__wire_message *message)
{
    bool ok = true, live = false;
    struct muster__body_pump *pump = NULL;
    pthread_mutex_lock(&child->lock);
    struct muster__id_node *node = muster__id_map_find(&child->requests, message->actor);
    struct child_request *request = node ? MUSTER_CONTAINER_OF(node, struct child_request, node) : NULL;
    if (request) {
        atomic_fetch_add(&request->references, 1);
        pump = message->flags & MUSTER__WIRE_FLAG_RESPONSE ? request->answer : request->body;
        request->is_answer_refused |=
            message->flags & MUSTER__WIRE_FLAG_RESPONSE && message->type == MUSTER__WIRE_BODY_ABORT;
        /* Its own life may be over while a body still moves. */
        live = muster__request_try_acquire(&request->request);
    }
    pthread_mutex_unlock(&child->lock);
    if (!request)
        return; /* it has ended; the parent did not know */
    if (message->type == MUSTER__WIRE_CANCEL) {
        if (live)
            cancel(request);
    } else if (pump) {
        ok = muster__body_pump_frame(pump, message);
    }
    if (live)
        muster__request_release(&request->request);
    release(request);
    if (!ok)
        muster__child_distrust("more of a body than it may");
}
