/* remote/process_errand.c - what a worker in a child process asks of this side: a request to another worker,
 * a binding of the embedder's, a script.  A fetch goes on in process_fetch.c.
 *
 * Each is answered exactly once with RESULT (LOADED for scripts), by whatever thread has the answer; an answer to a dead
 * host goes nowhere.  The loader and the bindings are the embedder's code: they run in the worker's actor, one at a
 * time, as they would on a worker's own thread. */
#include "remote/process_internal.h"

#include <stdlib.h>
#include <string.h>

/* Under way for one host: no child of ours opens more. */
#define ERRANDS_MOST 4096
/* What their values may be together, beyond one alone: nobody takes them sooner because there are more. */
#define ERRAND_BYTES_MOST ((uint64_t)128 << 20)

void muster__process_errand_destroy(struct process_errand *errand)
{
    struct process_host *host = errand->worker->host;
    muster__slot_release(atomic_load(&errand->slot));
    muster_value_release(errand->request.data);
    muster_value_release(errand->arguments);
    pthread_mutex_lock(&host->lock);
    host->errand_bytes -= errand->bytes;
    pthread_mutex_unlock(&host->lock);
    muster__process_worker_release(errand->worker);
    free(errand->name);
    free(errand->scope);
    free(errand);
}

void muster__process_errand_forget(struct process_errand *errand)
{
    struct process_host *host = errand->worker->host;
    pthread_mutex_lock(&host->lock);
    (void)muster__id_map_remove(&host->errands, errand->node.id);
    pthread_mutex_unlock(&host->lock);
}

/* A call of the embedder's may end whenever it likes, also when the instance is no more.  False: nobody listens. */
bool muster__process_errand_begin_answer(struct process_worker *worker)
{
    pthread_mutex_lock(&worker->host->lock);
    bool gone = worker->gone;
    worker->answering += !gone;
    pthread_mutex_unlock(&worker->host->lock);
    return !gone;
}

void muster__process_errand_end_answer(struct process_worker *worker)
{
    pthread_mutex_lock(&worker->host->lock);
    if (--worker->answering == 0 && worker->gone)
        pthread_cond_broadcast(&worker->host->answered);
    pthread_mutex_unlock(&worker->host->lock);
}

static void send_result(struct process_errand *errand, enum muster_status status,
                        const struct muster_value *value, const struct muster_error *error)
{
    struct process_host *host = errand->worker->host;
    struct muster__packed_value packed = {0};
    struct muster_error problem = {0};
    struct muster__wire_message message = {.type = MUSTER__WIRE_RESULT,
                                           .flags = MUSTER__WIRE_FLAG_ENDED,
                                           .worker = errand->worker->id,
                                           .actor = errand->node.id,
                                           .status = status};
    muster__process_errand_forget(errand); /* first: its number may be used again once the answer is there */
    if (!muster__process_errand_begin_answer(errand->worker))
        return;
    enum muster_status pack = muster__wire_value_pack(value, &packed, &problem);
    if (pack != MUSTER_OK) {
        message.status = pack;
        error = &problem;
    }
    message.has_error = error != NULL;
    if (error)
        message.error = *error;
    enum muster_status sent =
        muster__wire_value_send(host->link, &message, muster__process_host_urgency(host), &packed);
    if (sent != MUSTER_OK && sent != MUSTER_CLOSED) {
        message = (struct muster__wire_message){.type = MUSTER__WIRE_RESULT,
                                                .flags = MUSTER__WIRE_FLAG_ENDED,
                                                .worker = errand->worker->id,
                                                .actor = errand->node.id,
                                                .status = sent == MUSTER_INVALID_ARGUMENT ? MUSTER_UNSUPPORTED
                                                                                          : sent};
        muster__process_host_send(host, &message, muster__process_host_urgency(host));
    }
    muster__wire_value_clean_up(&packed);
    muster_error_clean_up(&problem);
    muster__process_errand_end_answer(errand->worker);
}

/* ---- other workers ---- */

static void dispatch_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct process_errand *errand = MUSTER_CONTAINER_OF(request, struct process_errand, request);
    send_result(errand, outcome->status, outcome->value, outcome->error);
}

static void dispatch_destroyed(struct muster__request *request)
{
    muster__process_errand_destroy(MUSTER_CONTAINER_OF(request, struct process_errand, request));
}

void muster__process_errand_posted(struct muster__request *request, struct muster__slot *slot)
{
    struct process_errand *errand = MUSTER_CONTAINER_OF(request, struct process_errand, request);
    if (atomic_load(&errand->slot))
        return; /* the first one took it back, for the next instance of the same worker */
    muster__slot_acquire(slot);
    atomic_store(&errand->slot, slot);
}

static const struct muster__request_class dispatch_class = {
    .settled = dispatch_settled, .destroy = dispatch_destroyed, .posted = muster__process_errand_posted};

/* The child does not know for whose sake its worker was started. */
uint64_t muster__process_errand_keepalive(const struct process_worker *worker, uint64_t told_us)
{
    uint64_t granted_us = worker->options.slot ? muster__slot_sample(worker->options.slot).granted_until_us : 0;
    return granted_us && (!told_us || granted_us < told_us) ? granted_us : told_us;
}

static void dispatch(struct process_errand *errand, const struct muster__wire_message *message)
{
    struct process_worker *worker = errand->worker;
    struct muster__request *request = &errand->request;
    pthread_mutex_lock(&worker->host->lock);
    bool gone = worker->gone;
    pthread_mutex_unlock(&worker->host->lock);
    request->keepalive_until_us = muster__process_errand_keepalive(worker, message->request.keepalive_until_us);
    enum muster_status status = MUSTER_TERMINATED;
    if (!gone)
        status = worker->options.listener->dispatch(worker->options.user_data, errand->scope, request,
                                                    request->keepalive_until_us);
    if (status != MUSTER_OK)
        (void)muster__request_fail(request, status, NULL);
    muster__request_release(request);
}

/* ---- bindings ---- */

static void answer_call(struct process_errand *errand, struct muster_host_call *call)
{
    bool thrown = call->error.message != NULL;
    send_result(errand, thrown ? MUSTER_SCRIPT_ERROR : MUSTER_OK, thrown ? NULL : call->result,
                thrown ? &call->error : NULL);
    muster__host_call_destroy(call);
    muster__process_errand_destroy(errand);
}

static void call_ended(struct muster_host_call *call, void *user_data)
{
    answer_call(user_data, call);
}

static bool find_binding(const struct muster_bindings *bindings, const char *path,
                         struct muster__binding *ret_binding)
{
    for (size_t i = 0; i < muster__bindings_count(bindings); i++) {
        *ret_binding = muster__bindings_at(bindings, i);
        if (ret_binding->function && strcmp(ret_binding->path, path) == 0)
            return true;
    }
    return false;
}

static void run_call(struct process_errand *errand)
{
    struct muster__binding binding;
    bool canceled = atomic_load(&errand->canceled);
    bool found = !canceled && find_binding(errand->worker->options.bindings, errand->name, &binding);
    struct muster_host_call *call = NULL;
    if (found) {
        call = muster__host_call_new(binding.path, binding.function, binding.user_data, errand->arguments);
        errand->arguments = NULL;
    }
    if (!call) {
        send_result(errand, found ? MUSTER_NO_MEMORY : canceled ? MUSTER_CANCELED : MUSTER_NOT_FOUND, NULL, NULL);
        muster__process_errand_destroy(errand);
    } else if (muster__host_call_run(call) || !muster__host_call_open(call, call_ended, errand)) {
        answer_call(errand, call);
    }
}

/* ---- scripts ---- */

static void run_load(struct process_errand *errand)
{
    struct process_worker *worker = errand->worker;
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    struct muster_bytes map;
    struct muster__wire_message message = {.type = MUSTER__WIRE_LOADED,
                                           .worker = worker->id,
                                           .actor = errand->node.id};
    /* Never NULL: without an importer it would be the embedder's own choice, which may be native code. */
    const char *importer = errand->scope                             ? errand->scope
                           : worker->script && worker->script->url ? worker->script->url
                                                                     : worker->options.script_url;
    muster__process_errand_forget(errand);
    message.status = atomic_load(&errand->canceled)
                         ? MUSTER_CANCELED
                         : muster__loader_load(worker->options.loader, errand->name, importer, &script, &error);
    if (message.status == MUSTER_OK && !script->text) {
        message.status = MUSTER_UNSUPPORTED;
    } else if (message.status == MUSTER_OK) {
        message.loaded.url = script->url;
        message.loaded.is_module = script->is_module;
        message.value = (struct muster__wire_value){.present = true,
                                                    .bytes = {script->text, script->length}};
        if (script->source_map) {
            map = (struct muster_bytes){script->source_map, strlen(script->source_map)};
            message.value.buffers = &map;
            message.value.buffer_count = 1;
        }
    }
    message.has_error = error.message != NULL;
    message.error = error;
    muster__process_host_send(worker->host, &message, muster__process_host_urgency(worker->host));
    muster__script_destroy(script);
    muster_error_clean_up(&error);
    muster__process_errand_destroy(errand);
}

/* ---- the actor's queue ---- */

bool muster__process_errand_run_one(struct process_worker *worker)
{
    pthread_mutex_lock(&worker->host->lock);
    struct process_errand *errand = worker->jobs;
    if (errand) {
        worker->jobs = errand->next;
        if (!worker->jobs)
            worker->jobs_end = &worker->jobs;
    }
    bool more = worker->jobs != NULL, gone = worker->gone;
    pthread_mutex_unlock(&worker->host->lock);
    if (errand && gone) { /* nobody hears the answer */
        muster__process_errand_forget(errand);
        muster__process_errand_destroy(errand);
    } else if (errand) {
        errand->run(errand);
    }
    return more;
}

static void enqueue(struct process_errand *errand, void (*run)(struct process_errand *))
{
    struct process_worker *worker = errand->worker;
    errand->run = run;
    pthread_mutex_lock(&worker->host->lock);
    *worker->jobs_end = errand;
    worker->jobs_end = &errand->next;
    pthread_mutex_unlock(&worker->host->lock);
    muster__pool_schedule(worker->host->processes->options.pool, &worker->actor);
}

/* ---- frames ---- */

static bool is_fetch(const struct muster__wire_message *message)
{
    return message->type == MUSTER__WIRE_DISPATCH && message->request.kind == MUSTER__REQUEST_FETCH;
}

/* NULL: out of memory, or the child is to blame and was told so. */
static struct process_errand *new_errand(struct process_worker *worker,
                                         const struct muster__wire_message *message)
{
    struct process_host *host = worker->host;
    struct process_errand *errand = calloc(1, is_fetch(message) ? muster__process_fetch_size : sizeof *errand);
    if (!errand)
        return NULL;
    muster__process_worker_acquire(worker);
    errand->worker = worker;
    errand->node.id = message->actor;
    pthread_mutex_lock(&host->lock);
    bool few = host->errands.count - host->errands_answered < ERRANDS_MOST;
    bool twice = muster__id_map_find(&host->errands, message->actor);
    if (message->actor > host->last_errand)
        host->last_errand = message->actor;
    if (few && !twice)
        muster__id_map_add(&host->errands, &errand->node);
    pthread_mutex_unlock(&host->lock);
    if (few && !twice)
        return errand;
    muster__process_host_distrust(host, twice ? "a number that is in use" : "more questions than it may have open");
    muster__process_errand_destroy(errand);
    return NULL;
}

/* False: together with the others' the value is too large to be kept. */
static bool reserve(struct process_errand *errand, const struct muster__wire_message *message)
{
    struct process_host *host = errand->worker->host;
    uint64_t bytes =
        is_fetch(message) ? muster__process_fetch_bytes(message) : muster__wire_value_total(&message->value);
    pthread_mutex_lock(&host->lock);
    bool fits = host->errand_bytes == 0 || host->errand_bytes + bytes <= ERRAND_BYTES_MOST;
    errand->bytes = fits ? bytes : 0;
    host->errand_bytes += errand->bytes;
    pthread_mutex_unlock(&host->lock);
    return fits;
}

enum muster_status muster__process_errand_unpack(struct process_errand *errand, const struct muster__wire_value *value,
                                                 struct muster__link *link, struct muster_value **ret_value)
{
    struct muster_error error = {0};
    struct process_host *host = errand->worker->host;
    enum muster_status status = muster__wire_value_unpack_hostile(value, link, ret_value, &error);
    if (status == MUSTER_INVALID_ARGUMENT)
        muster__process_host_distrust(host, "a value that is none: %s", error.message);
    muster_error_clean_up(&error);
    return status;
}

static bool unpack(struct process_errand *errand, const struct muster__wire_message *message,
                   struct muster_value **ret_value)
{
    return muster__process_errand_unpack(errand, &message->value, errand->worker->host->link, ret_value) == MUSTER_OK;
}

static void on_dispatch(struct process_errand *errand, const struct muster__wire_message *message)
{
    if (message->request.kind == MUSTER__REQUEST_LIFECYCLE) { /* those are ours to make */
        muster__process_host_distrust(errand->worker->host, "a dispatch of what no script may send");
        muster__process_errand_forget(errand);
        muster__process_errand_destroy(errand);
        return;
    }
    errand->name = muster__strdup(message->request.name);
    errand->scope = muster__strdup(message->request.scope);
    muster__request_init(&errand->request, &dispatch_class, message->request.kind, errand->name);
    errand->request.idempotent = message->request.idempotent;
    if (!errand->name || !errand->scope || !unpack(errand, message, &errand->request.data)) {
        (void)muster__request_fail(&errand->request, MUSTER_NO_MEMORY, NULL);
        muster__request_release(&errand->request);
        return;
    }
    dispatch(errand, message);
}

static void on_call(struct process_errand *errand, const struct muster__wire_message *message)
{
    errand->name = muster__strdup(message->binding_call.path);
    if (errand->name && unpack(errand, message, &errand->arguments)) {
        enqueue(errand, run_call);
        return;
    }
    send_result(errand, MUSTER_NO_MEMORY, NULL, NULL);
    muster__process_errand_destroy(errand);
}

static void on_load(struct process_errand *errand, const struct muster__wire_message *message)
{
    errand->name = muster__strdup(message->load.url);
    errand->scope = muster__strdup(message->load.importer);
    if (errand->name && (errand->scope || !message->load.importer)) {
        enqueue(errand, run_load);
        return;
    }
    muster__process_host_kill(errand->worker->host, "memory ran out while it asked for a script");
    muster__process_errand_forget(errand);
    muster__process_errand_destroy(errand);
}

void muster__process_errand_call_off(struct process_errand *errand)
{
    if (!muster__request_fail(&errand->request, MUSTER_CANCELED, NULL))
        return;
    struct muster__slot *slot = atomic_load(&errand->slot);
    if (slot)
        muster__slot_cancel(slot, &errand->request);
}

/* A dispatch is settled at once and leaves its slot, or its worker is told; what waits for the actor is not begun; a
 * binding that runs is the embedder's to end. */
void muster__process_errand_cancel(struct process_worker *worker, const struct muster__wire_message *message)
{
    struct process_host *host = worker->host;
    struct process_errand *errand = NULL;
    pthread_mutex_lock(&host->lock);
    struct muster__id_node *node = muster__id_map_find(&host->errands, message->actor);
    if (node)
        errand = MUSTER_CONTAINER_OF(node, struct process_errand, node);
    if (errand && errand->worker == worker)
        atomic_store(&errand->canceled, true);
    bool live = errand && errand->worker == worker && errand->request.class &&
                muster__request_try_acquire(&errand->request);
    pthread_mutex_unlock(&host->lock);
    if (!live)
        return; /* it has been answered, or will be */
    muster__process_errand_call_off(errand);
    muster__request_release(&errand->request);
}

void muster__process_errand_frame(struct process_worker *worker, struct muster__wire_message *message)
{
    struct process_errand *errand = new_errand(worker, message);
    if (!errand)
        return;
    if (!reserve(errand, message)) {
        send_result(errand, MUSTER_QUEUE_FULL, NULL, NULL);
        muster__process_errand_destroy(errand);
        return;
    }
    switch (message->type) {
    case MUSTER__WIRE_DISPATCH:
        if (is_fetch(message))
            muster__process_fetch(errand, message);
        else
            on_dispatch(errand, message);
        break;
    case MUSTER__WIRE_BINDING_CALL: on_call(errand, message); break;
    default:
        MUSTER_CHECK(message->type == MUSTER__WIRE_LOAD);
        on_load(errand, message);
    }
}
