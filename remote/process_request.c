/* remote/process_request.c - a request on its way to a worker in a child process, until it has ended there.
 *
 * It is in its worker's list as long as the child may still run it, in the order in which it was sent, so that what
 * never began goes back to the slot in that order when the process dies.  Its number stays in the host's map
 * until both bodies have come to their end as well. */
#include "remote/process_internal.h"
#include "remote/wire_http.h"

#include <stdlib.h>
#include <string.h>

/* How often one request may be begun anew because its process died in the midst of it. */
#define MOVES_MOST 3

static void release(struct process_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) != 1)
        return;
    muster__body_pump_release(request->body);
    muster__body_pump_release(request->answer);
    muster__process_worker_release(request->worker);
    free(request->ports);
    free(request);
}

/* A part has ended: with the last one no frame can name it any more. */
static void end_part(void *user_data)
{
    struct process_request *request = user_data;
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    bool last = --request->parts == 0;
    if (last)
        (void)muster__id_map_remove(&host->requests, request->node.id);
    pthread_mutex_unlock(&host->lock);
    if (last)
        release(request); /* the map's */
    release(request);
}

/* While another part lasts. */
static void count_part(struct process_request *request)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    request->parts++;
    pthread_mutex_unlock(&host->lock);
    atomic_fetch_add(&request->references, 1);
}

/* Of a part that is counted already. */
static struct muster__body_route route_of(struct process_request *request, uint8_t flags)
{
    struct process_host *host = request->worker->host;
    return (struct muster__body_route){.pool = host->processes->options.pool,
                                       .link = host->link,
                                       .worker = request->worker->id,
                                       .actor = request->node.id,
                                       .flags = flags,
                                       .done = end_part,
                                       .user_data = request};
}

/* ---- to the child ---- */

static void link_request_locked(struct process_request *request)
{
    struct process_worker *worker = request->worker;
    request->previous = worker->last;
    *(worker->last ? &worker->last->next : &worker->first) = request;
    worker->last = request;
    worker->in_flight++;
}

static void unlink_request_locked(struct process_request *request)
{
    struct process_worker *worker = request->worker;
    *(request->previous ? &request->previous->next : &worker->first) = request->next;
    *(request->next ? &request->next->previous : &worker->last) = request->previous;
    request->next = request->previous = NULL;
    worker->in_flight--;
}

static void release_body(void *owner)
{
    muster__request_release(owner);
}

/* ---- its mail ---- */

/* The ends go over, held until the child begins the request: until then they can be taken back. */
static enum muster_status open_mail(struct process_request *request, struct muster__request *base)
{
    struct muster__port_message *mail = base->mail;
    if (mail->port_count > MUSTER__WIRE_PORT_LIMIT)
        return MUSTER_INVALID_ARGUMENT;
    request->ports = calloc(mail->port_count, sizeof *request->ports);
    if (!request->ports)
        return MUSTER_NO_MEMORY;
    for (size_t i = 0; i < mail->port_count; i++) {
        struct muster__port *port = mail->ports[i];
        if (!port)
            continue;
        request->ports[i] = muster__link_ports_open(request->worker->host->ports, muster__port_acquire(port), true);
        if (!request->ports[i]) /* the host is dying: it stays with the mail, which goes to the next one */
            continue;
        muster__port_release(port);
        mail->ports[i] = NULL;
    }
    return MUSTER_OK;
}

/* CLOSED: the host is dead, and the mail stays as it is.  Else end_mailing() comes once nobody but the list can give its
 * ports back. */
static enum muster_status begin_mailing(struct process_host *host)
{
    pthread_mutex_lock(&host->lock);
    bool closed = host->closed;
    host->mailing += !closed;
    pthread_mutex_unlock(&host->lock);
    return closed ? MUSTER_CLOSED : MUSTER_OK;
}

static void end_mailing(struct process_host *host)
{
    pthread_mutex_lock(&host->lock);
    if (--host->mailing == 0)
        pthread_cond_broadcast(&host->answered);
    pthread_mutex_unlock(&host->lock);
}

/* The child never began the request.  What cannot be as it was stays NULL, which is sent as a closed one. */
static void take_mail_back(struct process_request *request, struct muster__request *base)
{
    for (size_t i = 0; request->ports && i < base->mail->port_count; i++)
        if (request->ports[i])
            base->mail->ports[i] = muster__link_ports_take_back(request->worker->host->ports, request->ports[i]);
}

/* Bytes that the request holds itself: it lives until they were sent. */
static enum muster_status send_with_body(struct process_host *host, const struct muster__wire_message *message,
                                         struct muster__request *base)
{
    muster__request_acquire(base);
    enum muster_status status = muster__link_send_owned(host->link, message, muster__process_host_urgency(host),
                                                        release_body, base);
    if (status != MUSTER_OK)
        muster__request_release(base);
    return status;
}

/* What the mail says beside its data: who sent it. */
static enum muster_status pack_head(const struct muster__request *base, struct muster__packed_value *head)
{
    if (!base->mail || !base->mail->head || base->kind == MUSTER__REQUEST_FETCH)
        return MUSTER_OK;
    enum muster_status status = muster__wire_value_pack(base->mail->head, head, NULL);
    return status == MUSTER_OK && head->wire.buffer_count ? MUSTER_UNSUPPORTED : status;
}

static enum muster_status send_opening(struct process_request *request, struct muster__request *base,
                                       struct muster__packed_value *data, const struct muster__packed_value *head)
{
    struct process_host *host = request->worker->host;
    struct muster__wire_message message = {.type = MUSTER__WIRE_REQUEST,
                                           .flags = request->control ? MUSTER__WIRE_FLAG_CONTROL : 0,
                                           .worker = request->worker->id,
                                           .actor = request->node.id};
    message.request.kind = base->kind;
    message.request.name = base->name;
    message.request.keepalive_until_us = base->keepalive_until_us;
    message.request.started_word = request->word;
    message.request.idempotent = base->idempotent;
    if (base->kind != MUSTER__REQUEST_FETCH) {
        message.ports = request->ports;
        message.port_count = request->ports ? base->mail->port_count : 0;
        message.host_count = data->hosts;
        message.request.details = head->wire.bytes;
        return muster__wire_value_send(host->link, &message, muster__process_host_urgency(host), data);
    }
    muster__wire_put_request(&message, &base->http);
    if (!data->wire.buffer_count)
        message.request.details = data->wire.bytes;
    if (muster__wire_in_pieces(&message))
        return send_with_body(host, &message, base);
    return muster__link_send(host->link, &message, muster__process_host_urgency(host));
}

/* Thread: any, while the word is ours; later it does not matter. */
static bool has_begun(void *user_data)
{
    struct process_request *request = user_data;
    return muster__shared_memory_has_started(request->worker->host->memory, request->word);
}

static void send_body(struct process_request *request, struct muster_stream *stream)
{
    struct muster__body_pump *pump = NULL;
    struct process_host *host = request->worker->host;
    struct muster__body_route route = route_of(request, 0);
    route.begun = has_begun;
    if (muster__body_pump_out(&route, stream, &pump) != MUSTER_OK) {
        struct muster__wire_message abort = {.type = MUSTER__WIRE_BODY_ABORT,
                                             .worker = request->worker->id,
                                             .actor = request->node.id,
                                             .status = MUSTER_NO_MEMORY};
        muster__process_host_send(host, &abort, 0);
        end_part(request);
        return;
    }
    pthread_mutex_lock(&host->lock);
    request->body = pump;
    bool ended = request->request == NULL, moves = request->moves;
    pthread_mutex_unlock(&host->lock);
    if (ended && moves) /* the body waits for another, untouched */
        (void)!muster__body_pump_take_back(pump);
    else if (ended) /* it had its answer before all of its body */
        muster__body_pump_stop(pump, MUSTER_CANCELED, NULL);
    else
        muster__body_pump_start(pump);
}

/* In the maps, so that an answer finds it; CLOSED: the host or the worker is gone. */
static enum muster_status enlist(struct process_request *request)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    bool closed = host->closed || request->worker->gone;
    if (!closed) {
        request->node.id = host->last_actor += 2;
        muster__id_map_add(&host->requests, &request->node);
        link_request_locked(request);
    }
    pthread_mutex_unlock(&host->lock);
    return closed ? MUSTER_CLOSED : MUSTER_OK;
}

/* Nothing was sent.  False: it was ended meanwhile, by the death of its host. */
static bool delist(struct process_request *request)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    bool ours = request->request != NULL;
    if (ours) {
        unlink_request_locked(request);
        (void)muster__id_map_remove(&host->requests, request->node.id);
    }
    pthread_mutex_unlock(&host->lock);
    return ours;
}

enum muster_status muster__process_request_send(struct process_worker *worker,
                                                struct muster__request *base, bool control)
{
    struct process_host *host = worker->host;
    struct muster__packed_value data = {0}, head = {0};
    struct process_request *request = calloc(1, sizeof *request);
    if (!request)
        return MUSTER_NO_MEMORY;
    enum muster_status status = muster__shared_memory_take(host->memory, &request->word);
    if (status != MUSTER_OK) {
        free(request);
        return status;
    }
    atomic_init(&request->references, 3); /* the list's, the map's, this call's */
    request->parts = 1;
    if (base->http.body_stream) { /* from the beginning: the answer may come before the body is on its way */
        atomic_fetch_add(&request->references, 1);
        request->parts++;
    }
    request->worker = worker;
    request->request = base;
    request->control = control;
    request->kind = base->kind;
    request->streams = base->http.body_stream != NULL;
    muster__process_worker_acquire(worker);
    muster__request_acquire(base); /* it may have its answer before we are done here */
    if (base->data) {
        struct muster_error error = {0};
        status = muster__wire_value_pack_with_ports(base->data, base->mail ? base->mail->port_count : 0, &data,
                                                    &error);
        if (status == MUSTER_UNSUPPORTED) /* it cannot be said at all: that is the answer */
            (void)muster__request_settle(base,
                                         &(struct muster__outcome){.status = status, .error = &error});
        muster_error_clean_up(&error);
    }
    if (status == MUSTER_OK)
        status = pack_head(base, &head);
    const bool has_ports = base->kind != MUSTER__REQUEST_FETCH && base->mail && base->mail->port_count;
    if (status == MUSTER_OK && has_ports)
        status = begin_mailing(host);
    const bool is_mailing = status == MUSTER_OK && has_ports;
    if (is_mailing)
        status = open_mail(request, base);
    if (status == MUSTER_OK)
        status = enlist(request);
    bool listed = status == MUSTER_OK;
    if (listed)
        status = send_opening(request, base, &data, &head);
    muster__wire_value_clean_up(&data);
    muster__wire_value_clean_up(&head);
    bool ours = status == MUSTER_OK || !listed || delist(request);
    if (!ours) {
        status = MUSTER_OK; /* whoever ended it took it */
        if (request->streams)
            end_part(request);
    } else if (status != MUSTER_OK) {
        take_mail_back(request, base);
        muster__shared_memory_give_back(host->memory, request->word);
        atomic_store(&request->references, 1);
    } else if (request->streams) {
        send_body(request, base->http.body_stream);
    }
    if (is_mailing)
        end_mailing(host);
    muster__request_release(base);
    release(request);
    return status;
}

/* ---- the endings ---- */

/* Takes the request out of the worker's list: whoever does so ends it.  NULL: somebody did. */
static struct muster__request *take_request(struct process_request *request, bool moves)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    struct muster__request *base = request->request;
    if (base) {
        request->request = NULL;
        request->moves = moves;
        unlink_request_locked(request);
    }
    pthread_mutex_unlock(&host->lock);
    return base;
}

/* The keepalive hold is dropped, or our reference. */
static void let_go(struct process_request *request, struct muster__request *base)
{
    struct process_worker *worker = request->worker;
    if (request->control)
        muster__request_release(base);
    else
        muster__slot_ended(worker->options.slot, worker->options.incarnation, base, muster__now_us());
}

/* The child has nothing of it any more; bodies may still be under way. */
static void finish(struct process_request *request)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    struct muster__body_pump *body = request->body;
    pthread_mutex_unlock(&host->lock);
    muster__shared_memory_give_back(host->memory, request->word);
    muster__process_host_word_free(host);
    if (body)
        muster__body_pump_stop(body, MUSTER_CANCELED, NULL);
    end_part(request); /* with the list's reference */
}

static void end_request(struct process_request *request)
{
    struct muster__request *base = take_request(request, false);
    if (!base)
        return;
    (void)muster__request_fail(base, MUSTER_TERMINATED, NULL); /* without a result it is settled as dead */
    let_go(request, base);
    finish(request);
}

void muster__process_requests_give_back(struct process_worker *worker)
{
    struct muster__request *back = NULL;
    pthread_mutex_lock(&worker->host->lock);
    if (worker->ended && !worker->pulling) {
        back = worker->returned;
        worker->returned = worker->returned_last = NULL;
    }
    pthread_mutex_unlock(&worker->host->lock);
    if (!back || muster__slot_put_back(worker->options.slot, worker->options.incarnation, back))
        return;
    while (back) { /* the slot is closed */
        struct muster__request *base = back;
        back = base->next;
        base->next = base->previous = NULL;
        (void)muster__request_fail(base, MUSTER_TERMINATED, NULL);
        muster__slot_ended(worker->options.slot, worker->options.incarnation, base, muster__now_us());
    }
}

/* What was sent of its body is in the stream again.  False: it cannot be. */
static bool take_body_back(struct process_request *request)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    struct muster__body_pump *body = request->body;
    pthread_mutex_unlock(&host->lock);
    return !body || muster__body_pump_take_back(body);
}

/* The child never began it: it waits for the worker's next instance. */
static void keep_for_next(struct process_request *request)
{
    struct process_worker *worker = request->worker;
    struct muster__request *base = take_request(request, true);
    if (!base)
        return;
    bool over = request->control || muster__request_is_settled(base);
    take_mail_back(request, base);
    if (over || !take_body_back(request)) {
        (void)muster__request_fail(base, over ? MUSTER_TERMINATED : MUSTER_RETRY, NULL);
        let_go(request, base);
        finish(request);
        return;
    }
    base->next = NULL;
    pthread_mutex_lock(&worker->host->lock);
    base->previous = worker->returned_last;
    *(worker->returned_last ? &worker->returned_last->next : &worker->returned) = base;
    worker->returned_last = base;
    pthread_mutex_unlock(&worker->host->lock);
    finish(request);
}

/* ---- from the child ---- */

static struct process_request *find(struct process_host *host, uint64_t actor)
{
    pthread_mutex_lock(&host->lock);
    struct muster__id_node *node = muster__id_map_find(&host->requests, actor);
    struct process_request *request = node ? MUSTER_CONTAINER_OF(node, struct process_request, node) : NULL;
    if (request)
        atomic_fetch_add(&request->references, 1);
    pthread_mutex_unlock(&host->lock);
    return request;
}

static struct muster_stream *open_answer(struct process_request *request)
{
    struct muster_stream *stream = NULL;
    struct muster__body_pump *pump = NULL;
    struct process_host *host = request->worker->host;
    request->answer_streams = true;
    count_part(request);
    const struct muster__body_route route = route_of(request, MUSTER__WIRE_FLAG_RESPONSE);
    if (muster__body_pump_in(&route, &stream, &pump) != MUSTER_OK) {
        end_part(request);
        return NULL;
    }
    pthread_mutex_lock(&host->lock);
    request->answer = pump;
    pthread_mutex_unlock(&host->lock);
    return stream;
}

static void settle(struct process_request *request, struct muster__request *base,
                   const struct muster__wire_message *message)
{
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    struct muster_stream *stream = NULL;
    struct muster_http_response response = {.status_code = message->result.status_code,
                                            .status_text = message->result.reason,
                                            .headers = message->result.headers,
                                            .header_count = message->result.header_count};
    struct muster__outcome outcome = {.status = message->status,
                                      .error = message->has_error ? &message->error : NULL};
    if (message->result.is_response && message->result.body == MUSTER__WIRE_BODY_STREAM) {
        stream = open_answer(request);
        response.body_stream = stream;
        if (!stream)
            outcome.status = MUSTER_NO_MEMORY;
    } else if (message->result.is_response) {
        response.body = message->value.bytes;
    } else {
        enum muster_status status =
            muster__wire_value_unpack_hostile(&message->value, request->worker->host->link, &value, &error);
        if (status == MUSTER_INVALID_ARGUMENT)
            muster__process_host_distrust(request->worker->host, "a value that is none: %s", error.message);
        if (status != MUSTER_OK)
            outcome = (struct muster__outcome){.status = status, .error = &error};
    }
    outcome.response = message->result.is_response && outcome.status == MUSTER_OK ? &response : NULL;
    outcome.value = value;
    if (!muster__request_settle(base, &outcome) && stream)
        muster_stream_abort(stream, MUSTER_CANCELED, NULL); /* nobody wants the answer any more */
    muster_stream_release(stream);
    muster_value_release(value);
    muster_error_clean_up(&error);
}

static bool is_of_its_kind(const struct process_request *request, const struct muster__wire_message *message)
{
    bool is_fetch = request->kind == MUSTER__REQUEST_FETCH;
    return message->result.is_response ? is_fetch : !is_fetch || message->status != MUSTER_OK;
}

static void on_result(struct process_request *request, const struct muster__wire_message *message)
{
    struct process_host *host = request->worker->host;
    if (request->answered) {
        muster__process_host_distrust(host, "two results for one request");
        return;
    }
    if (!is_of_its_kind(request, message)) {
        muster__process_host_distrust(host, message->result.is_response ? "a response to what is no fetch"
                                                                        : "no response to a fetch");
        return;
    }
    request->answered = true;
    if (message->status == MUSTER_RETRY) {
        if (muster__shared_memory_has_started(host->memory, request->word) ||
            !(message->flags & MUSTER__WIRE_FLAG_ENDED)) {
            /* ENDED follows in its own frame; until then the request is the child's. */
            if (muster__shared_memory_has_started(host->memory, request->word))
                muster__process_host_distrust(host, "back a request that it had begun");
            return;
        }
        keep_for_next(request);
        return;
    }
    pthread_mutex_lock(&host->lock);
    struct muster__request *base = request->request;
    if (base)
        muster__request_acquire(base);
    pthread_mutex_unlock(&host->lock);
    if (!base)
        return;
    settle(request, base, message);
    muster__request_release(base);
    if (message->flags & MUSTER__WIRE_FLAG_ENDED)
        end_request(request);
}

static void on_ended(struct process_request *request)
{
    struct process_host *host = request->worker->host;
    pthread_mutex_lock(&host->lock);
    struct muster__request *base = request->request;
    bool settled = !base || muster__request_is_settled(base);
    pthread_mutex_unlock(&host->lock);
    bool given_back = base && !settled && request->answered; /* RETRY came before */
    if (given_back && muster__shared_memory_has_started(host->memory, request->word))
        muster__process_host_distrust(host, "back a request that it had begun");
    else if (given_back)
        keep_for_next(request);
    else
        end_request(request);
}

static void on_body(struct process_request *request, const struct muster__wire_message *message)
{
    struct process_host *host = request->worker->host;
    bool of_answer = message->flags & MUSTER__WIRE_FLAG_RESPONSE;
    pthread_mutex_lock(&host->lock);
    struct muster__body_pump *pump = of_answer ? request->answer : request->body;
    pthread_mutex_unlock(&host->lock);
    if (!(of_answer ? request->answer_streams : request->streams))
        muster__process_host_distrust(host, "%s of a body that there is not",
                                      muster__wire_type_name(message->type));
    else if (pump && !muster__body_pump_frame(pump, message))
        muster__process_host_distrust(host, "more of a body than it may");
}

/* About a request that is not there.  Bodies cross their own end, a thread that was lost in there ends late, and what
 * comes behind the end of its worker is given back. */
static void judge_stray(struct process_host *host, const struct muster__wire_message *message)
{
    pthread_mutex_lock(&host->lock);
    bool was = message->actor % 2 == 0 && message->actor <= host->last_actor;
    pthread_mutex_unlock(&host->lock);
    if (!was || (message->type == MUSTER__WIRE_RESULT && message->status != MUSTER_RETRY))
        muster__process_host_distrust(host, "%s of a request that it does not have",
                                      muster__wire_type_name(message->type));
}

/* As good as a PONG: there are no more answers than there were questions. */
static void note_answer(struct process_host *host)
{
    atomic_store_explicit(&host->heard_us, muster__now_us(), memory_order_relaxed);
}

void muster__process_request_frame(struct process_host *host, struct muster__wire_message *message)
{
    struct process_request *request = find(host, message->actor);
    if (!request) {
        judge_stray(host, message);
        return;
    }
    if (request->worker->id != message->worker) {
        muster__process_host_distrust(host, "a request of another worker's");
    } else if (message->type == MUSTER__WIRE_RESULT) {
        note_answer(host);
        on_result(request, message);
    } else if (message->type == MUSTER__WIRE_ENDED) {
        note_answer(host);
        on_ended(request);
    } else {
        on_body(request, message);
    }
    release(request);
}

/* ---- from this side ---- */

void muster__process_request_cancel(struct process_worker *worker, const struct muster__request *base)
{
    struct process_host *host = worker->host;
    struct muster__wire_message message = {.type = MUSTER__WIRE_CANCEL,
                                           .worker = worker->id,
                                           .status = MUSTER_CANCELED};
    pthread_mutex_lock(&host->lock);
    for (struct process_request *at = worker->first; at && !message.actor; at = at->next)
        if (at->request == base)
            message.actor = at->node.id;
    pthread_mutex_unlock(&host->lock);
    if (message.actor)
        muster__process_host_send(host, &message, muster__process_host_urgency(host));
}

void muster__process_requests_settle(struct process_worker *worker, enum muster_status status,
                                     const struct muster_error *error, bool begun_only)
{
    struct muster__shared_memory *memory = worker->host->memory;
    for (;;) {
        struct muster__request *base = NULL;
        pthread_mutex_lock(&worker->host->lock);
        for (struct process_request *at = worker->first; at && !base; at = at->next)
            if (!muster__request_is_settled(at->request) &&
                (!begun_only || at->control || muster__shared_memory_has_started(memory, at->word))) {
                base = at->request;
                muster__request_acquire(base);
            }
        pthread_mutex_unlock(&worker->host->lock);
        if (!base)
            return;
        (void)muster__request_settle(base, &(struct muster__outcome){.status = status, .error = error});
        muster__request_release(base);
    }
}

/* The process is dead: what it wrote there is final. */
static bool may_move(const struct process_request *request)
{
    struct muster__request *base = request->request;
    if (request->control || muster__request_is_settled(base))
        return false;
    if (!muster__shared_memory_has_started(request->worker->host->memory, request->word))
        return true;
    return base->idempotent && !base->http.body_stream && base->moves < MOVES_MOST;
}

static void fail_with_host(struct process_request *request, struct muster__request *base,
                           const struct muster_error *error)
{
    struct muster_error told = *error;
    told.status = MUSTER_RETRY;
    told.name = (char *)(uintptr_t)"Retry"; /* borrowed, as all of it */
    if (!muster__shared_memory_has_started(request->worker->host->memory, request->word) ||
        muster__shared_memory_runs(request->worker->host->memory, request->word))
        told = (struct muster_error){.status = MUSTER_CRASHED, .message = error->message};
    (void)muster__request_settle(base, &(struct muster__outcome){.status = told.status, .error = &told});
}

static void end_first(struct process_worker *worker, struct process_request *request,
                      enum muster_status status, const struct muster_error *error, bool with_host)
{
    bool began = muster__shared_memory_has_started(worker->host->memory, request->word);
    /* What crossed the end of a worker that leaves alone was not begun, but not given back either. */
    if ((with_host || !began) && may_move(request)) {
        if (began)
            request->request->moves++;
        atomic_store(&request->request->started, false);
        keep_for_next(request);
        return;
    }
    struct muster__request *base = take_request(request, false);
    if (!base)
        return;
    if (with_host)
        fail_with_host(request, base, error);
    else
        (void)muster__request_settle(base, &(struct muster__outcome){.status = status, .error = error});
    let_go(request, base);
    finish(request);
}

void muster__process_requests_end(struct process_worker *worker, enum muster_status status,
                                  const struct muster_error *error, bool with_host)
{
    for (;;) {
        pthread_mutex_lock(&worker->host->lock);
        struct process_request *request = worker->first;
        if (request)
            atomic_fetch_add(&request->references, 1);
        pthread_mutex_unlock(&worker->host->lock);
        if (!request)
            break;
        end_first(worker, request, status, error, with_host);
        release(request);
    }
    pthread_mutex_lock(&worker->host->lock);
    worker->ended = true;
    pthread_mutex_unlock(&worker->host->lock);
    muster__process_requests_give_back(worker);
}

void muster__process_requests_abort(struct process_host *host, const char *message)
{
    for (;;) {
        struct muster__body_pump *body = NULL, *answer = NULL;
        pthread_mutex_lock(&host->lock);
        struct muster__id_node *node = muster__id_map_any(&host->requests);
        struct process_request *request = node ? MUSTER_CONTAINER_OF(node, struct process_request, node) : NULL;
        if (request) { /* out of the map: its parts end without it */
            (void)muster__id_map_remove(&host->requests, node->id);
            atomic_fetch_add(&request->references, 1);
            body = request->body;
            answer = request->answer;
            request->parts++; /* never 0 again */
        }
        pthread_mutex_unlock(&host->lock);
        if (!request)
            return;
        if (body)
            muster__body_pump_stop(body, MUSTER_CRASHED, message);
        if (answer)
            muster__body_pump_stop(answer, MUSTER_CRASHED, message);
        release(request); /* the map's */
        release(request);
    }
}
