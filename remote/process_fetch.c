/* remote/process_fetch.c - a fetch of a script's in a child process that the service worker of its client may answer.
 *
 * It is an errand whose question and whose answer may have bodies that stream.  Whose client it comes from is what the
 * child says; whether that is so the coordinator finds out (the listener's `fetch`).  Its number stays in the map until
 * the answer was sent and both bodies have come to their end.  It does not outlive its worker: nobody would hear. */
#include "remote/process_internal.h"
#include "remote/wire_http.h"

#include <stdlib.h>
#include <string.h>

/* What a body under way takes here besides its window: the stream behind it, or a pump's piece. */
#define BODY_BYTES ((uint64_t)64 << 10)

struct process_fetch {
    struct process_errand errand; /* first: freed as one */
    atomic_uint references;       /* the request's own life, and each part */
    unsigned parts;               /* under the host's lock: the question, bodies under way; the map lets go at 0 */
    struct muster__body_pump *body, *answer; /* under the host's lock */
    bool streams, answer_streams;            /* likewise: there is such a body */
    struct muster_header *memory; /* of the request's texts */
};

const size_t muster__process_fetch_size = sizeof(struct process_fetch);

static struct process_fetch *of_errand(struct process_errand *errand)
{
    return MUSTER_CONTAINER_OF(errand, struct process_fetch, errand);
}

static struct process_fetch *of_request(struct muster__request *request)
{
    return of_errand(MUSTER_CONTAINER_OF(request, struct process_errand, request));
}

static struct process_host *host_of(const struct process_fetch *fetch)
{
    return fetch->errand.worker->host;
}

static void release(struct process_fetch *fetch)
{
    if (atomic_fetch_sub(&fetch->references, 1) != 1)
        return;
    muster__body_pump_release(fetch->body);
    muster__body_pump_release(fetch->answer);
    muster_stream_release(fetch->errand.request.http.body_stream);
    free(fetch->memory);
    muster__process_errand_destroy(&fetch->errand);
}

/* A part has ended: with the last one no frame can name it any more. */
static void end_part(void *user_data)
{
    struct process_fetch *fetch = user_data;
    struct process_host *host = host_of(fetch);
    pthread_mutex_lock(&host->lock);
    bool last = --fetch->parts == 0;
    if (last) {
        (void)muster__id_map_remove(&host->errands, fetch->errand.node.id);
        host->errands_answered--;
    }
    pthread_mutex_unlock(&host->lock);
    release(fetch);
}

static struct muster__body_route begin_body(struct process_fetch *fetch, uint8_t flags)
{
    struct process_host *host = host_of(fetch);
    pthread_mutex_lock(&host->lock);
    fetch->parts++;
    *(flags ? &fetch->answer_streams : &fetch->streams) = true;
    pthread_mutex_unlock(&host->lock);
    atomic_fetch_add(&fetch->references, 1);
    return (struct muster__body_route){.pool = host->processes->options.pool,
                                       .link = host->link,
                                       .worker = fetch->errand.worker->id,
                                       .actor = fetch->errand.node.id,
                                       .flags = flags,
                                       .done = end_part,
                                       .user_data = fetch};
}

static void keep_pump(struct process_fetch *fetch, struct muster__body_pump **at, struct muster__body_pump *pump)
{
    struct process_host *host = host_of(fetch);
    pthread_mutex_lock(&host->lock);
    *at = pump;
    pthread_mutex_unlock(&host->lock);
}

static void stop_body(struct process_fetch *fetch, struct muster__body_pump *const *at, const char *message)
{
    struct process_host *host = host_of(fetch);
    pthread_mutex_lock(&host->lock);
    struct muster__body_pump *pump = *at;
    pthread_mutex_unlock(&host->lock);
    if (pump)
        muster__body_pump_stop(pump, MUSTER_CANCELED, message);
}

/* ---- the answer ---- */

/* NULL: out of memory. */
static struct muster__body_pump *open_answer(struct process_fetch *fetch, struct muster_stream *stream)
{
    struct muster__body_pump *pump = NULL;
    const struct muster__body_route route = begin_body(fetch, MUSTER__WIRE_FLAG_RESPONSE);
    if (muster__body_pump_out(&route, stream, &pump) != MUSTER_OK) {
        end_part(fetch);
        return NULL;
    }
    keep_pump(fetch, &fetch->answer, pump);
    return pump;
}

static struct muster__wire_message about(const struct process_fetch *fetch, enum muster_status status,
                                         const struct muster_error *error)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_RESULT,
                                           .flags = MUSTER__WIRE_FLAG_ENDED,
                                           .worker = fetch->errand.worker->id,
                                           .actor = fetch->errand.node.id,
                                           .status = status,
                                           .has_error = error != NULL};
    if (error)
        message.error = *error;
    return message;
}

static void send_failure(struct process_fetch *fetch, enum muster_status status, const struct muster_error *error)
{
    const struct muster__wire_message message = about(fetch, status, error);
    muster__process_host_send(host_of(fetch), &message, muster__process_host_urgency(host_of(fetch)));
}

/* The pump is there before its RESULT is sent: what the child says of the body finds it. */
static void send_response(struct process_fetch *fetch, const struct muster_http_response *response)
{
    struct process_host *host = host_of(fetch);
    struct muster__wire_message message = about(fetch, MUSTER_OK, NULL);
    struct muster__body_pump *pump = NULL;
    if (response->body_stream && !(pump = open_answer(fetch, response->body_stream))) {
        muster_stream_abort(response->body_stream, MUSTER_NO_MEMORY, NULL);
        send_failure(fetch, MUSTER_NO_MEMORY, NULL);
        return;
    }
    muster__wire_put_response(&message, response);
    enum muster_status status = muster__link_send(host->link, &message, muster__process_host_urgency(host));
    if (status != MUSTER_OK && status != MUSTER_CLOSED) /* larger than the wire carries, or out of memory */
        send_failure(fetch, status == MUSTER_INVALID_ARGUMENT ? MUSTER_BAD_RESPONSE : status, NULL);
    if (pump && status == MUSTER_OK)
        muster__body_pump_start(pump);
    else if (pump)
        muster__body_pump_stop(pump, MUSTER_CANCELED, NULL);
}

static void settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct process_fetch *fetch = of_request(request);
    struct process_host *host = host_of(fetch);
    const struct muster_http_response *response = outcome->status == MUSTER_OK ? outcome->response : NULL;
    pthread_mutex_lock(&host->lock);
    host->errands_answered++; /* first: the child may open another as soon as it hears */
    pthread_mutex_unlock(&host->lock);
    if (!muster__process_errand_begin_answer(fetch->errand.worker)) {
        if (response && response->body_stream)
            muster_stream_abort(response->body_stream, MUSTER_CANCELED, "the client is gone");
    } else {
        if (response)
            send_response(fetch, response);
        else
            send_failure(fetch, outcome->status == MUSTER_OK ? MUSTER_BAD_RESPONSE : outcome->status, outcome->error);
        muster__process_errand_end_answer(fetch->errand.worker);
    }
    end_part(fetch); /* the question */
}

/* Nothing of it runs any more: what nobody read of the question's body is not wanted. */
static void destroyed(struct muster__request *request)
{
    struct process_fetch *fetch = of_request(request);
    struct process_host *host = host_of(fetch);
    pthread_mutex_lock(&host->lock);
    bool gone = fetch->errand.worker->gone; /* whose end stops it, or did */
    pthread_mutex_unlock(&host->lock);
    if (!gone)
        stop_body(fetch, &fetch->body, NULL);
    release(fetch);
}

static const struct muster__request_class fetch_class = {
    .settled = settled, .destroy = destroyed, .posted = muster__process_errand_posted};

/* ---- the question ---- */

uint64_t muster__process_fetch_bytes(const struct muster__wire_message *message)
{
    uint64_t bytes = muster__wire_value_total(&message->value) + message->request.method.length +
                     message->request.url.length + message->request.client_id.length +
                     message->request.details.length + BODY_BYTES; /* of an answer that streams */
    for (size_t i = 0; i < message->request.header_count; i++)
        bytes += message->request.headers[i].name.length + message->request.headers[i].value.length +
                 sizeof(struct muster_header);
    if (message->request.body == MUSTER__WIRE_BODY_STREAM)
        bytes += MUSTER__BODY_WINDOW + BODY_BYTES;
    return bytes;
}

/* Nothing but what is printed, and none of these. */
static bool is_word(struct muster_bytes text, const char *but)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~' || strchr(but, text.data[i]))
            return false;
    return text.length > 0;
}

static bool is_line(struct muster_bytes text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] == '\0' || text.data[i] == '\r' || text.data[i] == '\n')
            return false;
    return true;
}

static bool begins_with(struct muster_bytes text, const char *with)
{
    return text.length > strlen(with) && memcmp(text.data, with, strlen(with)) == 0;
}

/* What fetch() has seen to where it is honest.  The rest is the worker's to make sense of. */
static bool can_be_said(const struct muster_http_request *http)
{
    static const char separators[] = ":/\"\\,;()<>{}[]?=@";
    bool good = is_word(http->method, separators) && is_word(http->url, "") &&
                (begins_with(http->url, "http://") || begins_with(http->url, "https://"));
    for (size_t i = 0; i < http->header_count && good; i++)
        good = is_word(http->headers[i].name, separators) && is_line(http->headers[i].value);
    return good;
}

static enum muster_status open_body(struct process_fetch *fetch)
{
    struct muster__body_pump *pump = NULL;
    const struct muster__body_route route = begin_body(fetch, 0);
    enum muster_status status = muster__body_pump_in(&route, &fetch->errand.request.http.body_stream, &pump);
    if (status == MUSTER_OK)
        keep_pump(fetch, &fetch->body, pump);
    else
        end_part(fetch);
    return status;
}

static enum muster_status fill(struct process_fetch *fetch, const struct muster__wire_message *message)
{
    const struct muster__wire_value details = {.present = message->request.details.length > 0,
                                               .bytes = message->request.details};
    struct muster__request *request = &fetch->errand.request;
    if (!muster__wire_copy_request(message, request, &fetch->memory))
        return MUSTER_NO_MEMORY;
    if (!can_be_said(&request->http))
        return MUSTER_INVALID_ARGUMENT;
    enum muster_status status = muster__process_errand_unpack(&fetch->errand, &details, NULL, &request->data);
    return status == MUSTER_OK && message->request.body == MUSTER__WIRE_BODY_STREAM ? open_body(fetch) : status;
}

/* From here on the end of its worker ends it.  False: that has come already. */
static bool enlist(struct process_fetch *fetch)
{
    struct process_host *host = host_of(fetch);
    pthread_mutex_lock(&host->lock);
    fetch->errand.is_fetch = true;
    bool gone = fetch->errand.worker->gone;
    pthread_mutex_unlock(&host->lock);
    return !gone;
}

void muster__process_fetch(struct process_errand *errand, const struct muster__wire_message *message)
{
    struct process_fetch *fetch = of_errand(errand);
    const struct muster__worker_options *options = &errand->worker->options;
    struct muster__request *request = &errand->request;
    muster__request_init(request, &fetch_class, MUSTER__REQUEST_FETCH, NULL);
    atomic_init(&fetch->references, 2);
    fetch->parts = 1;
    enum muster_status status = fill(fetch, message);
    if (!enlist(fetch)) {
        status = MUSTER_TERMINATED;
        stop_body(fetch, &fetch->body, NULL);
    } else if (status == MUSTER_OK && !options->listener->fetch) {
        status = MUSTER_PASSED;
    } else if (status == MUSTER_OK) {
        status = options->listener->fetch(
            options->user_data, request,
            muster__process_errand_keepalive(errand->worker, message->request.keepalive_until_us));
    }
    if (status != MUSTER_OK)
        (void)muster__request_fail(request, status, NULL);
    muster__request_release(request);
}

void muster__process_fetch_frame(struct process_host *host, const struct muster__wire_message *message)
{
    const bool of_answer = message->flags & MUSTER__WIRE_FLAG_RESPONSE;
    struct process_fetch *fetch = NULL;
    struct muster__body_pump *pump = NULL;
    bool streams = false;
    pthread_mutex_lock(&host->lock);
    struct muster__id_node *node = muster__id_map_find(&host->errands, message->actor);
    struct process_errand *errand = node ? MUSTER_CONTAINER_OF(node, struct process_errand, node) : NULL;
    if (errand && errand->is_fetch) {
        fetch = of_errand(errand);
        atomic_fetch_add(&fetch->references, 1);
        pump = of_answer ? fetch->answer : fetch->body;
        streams = of_answer ? fetch->answer_streams : fetch->streams;
    }
    bool was = message->actor <= host->last_errand;
    pthread_mutex_unlock(&host->lock);
    if (!was)
        muster__process_host_distrust(host, "%s of a request that it does not have",
                                      muster__wire_type_name(message->type));
    else if (fetch && errand->worker->id != message->worker)
        muster__process_host_distrust(host, "a request of another worker's");
    else if (errand && !streams)
        muster__process_host_distrust(host, "%s of a body that there is not", muster__wire_type_name(message->type));
    else if (pump && !muster__body_pump_frame(pump, message))
        muster__process_host_distrust(host, "more of a body than it may");
    if (fetch)
        release(fetch);
}

/* ---- its worker is gone ---- */

static void end_one(struct process_fetch *fetch)
{
    static const char message[] = "the client is gone";
    struct muster__request *request = &fetch->errand.request;
    if (muster__request_try_acquire(request)) {
        muster__process_errand_call_off(&fetch->errand);
        muster__request_release(request);
    }
    stop_body(fetch, &fetch->body, message);
    stop_body(fetch, &fetch->answer, message);
}

void muster__process_fetches_end(struct process_worker *worker)
{
    struct process_host *host = worker->host;
    struct process_errand *list = NULL;
    pthread_mutex_lock(&host->lock);
    for (struct muster__id_node *node = muster__id_map_next(&host->errands, NULL); node;
         node = muster__id_map_next(&host->errands, node)) {
        struct process_errand *errand = MUSTER_CONTAINER_OF(node, struct process_errand, node);
        if (!errand->is_fetch || errand->worker != worker)
            continue;
        atomic_fetch_add(&of_errand(errand)->references, 1);
        errand->next = list; /* it waits for no actor */
        list = errand;
    }
    pthread_mutex_unlock(&host->lock);
    while (list) {
        struct process_fetch *fetch = of_errand(list);
        list = list->next;
        end_one(fetch);
        release(fetch);
    }
}
