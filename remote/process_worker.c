/* remote/process_worker.c - the parent's end of a worker in a child process.
 *
 * It takes requests from the slot as soon as they are there and sends them on; the child's own queue keeps their
 * order.  What needs the embedder's code or may block (the loader, bindings) runs in turns of an actor. */
#include "remote/process_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 64
#define HOLDS_MOST (1u << 20)

static struct process_worker *of(struct muster__remote_worker *base)
{
    return MUSTER_CONTAINER_OF(base, struct process_worker, base);
}

static void destroy(struct process_worker *worker)
{
    muster__script_destroy(worker->script);
    muster__worker_options_clean_up(&worker->options);
    muster__process_host_release(worker->host);
    free(worker);
}

void muster__process_worker_acquire(struct process_worker *worker)
{
    atomic_fetch_add(&worker->references, 1);
}

void muster__process_worker_release(struct process_worker *worker)
{
    if (atomic_fetch_sub(&worker->references, 1) == 1)
        destroy(worker);
}

static void send_simple(struct process_worker *worker, enum muster__wire_type type)
{
    muster__process_host_send(worker->host,
                              &(struct muster__wire_message){.type = type, .worker = worker->id},
                              muster__process_host_urgency(worker->host));
}

/* ---- requests ---- */

/* False: it stays with the slot, and we wait for room. */
static bool send_one(struct process_worker *worker, struct muster__request *request)
{
    if (muster__request_is_settled(request)) {
        muster__slot_ended(worker->options.slot, worker->options.incarnation, request, muster__now_us());
        return true;
    }
    enum muster_status status = muster__process_request_send(worker, request, false);
    if (status == MUSTER_OK)
        return true;
    if (status == MUSTER_QUEUE_FULL || status == MUSTER_CLOSED)
        return false;
    (void)muster__request_fail(request, status,
                               status == MUSTER_INVALID_ARGUMENT
                                   ? "the request is too large for a worker in another process"
                                   : NULL);
    muster__slot_ended(worker->options.slot, worker->options.incarnation, request, muster__now_us());
    return true;
}

static void put_back(struct process_worker *worker, struct muster__request *list)
{
    if (!muster__slot_put_back(worker->options.slot, worker->options.incarnation, list))
        while (list) { /* closed: there is no next one */
            struct muster__request *request = list;
            list = request->next;
            (void)muster__request_fail(request, MUSTER_TERMINATED, NULL);
            muster__slot_ended(worker->options.slot, worker->options.incarnation, request, muster__now_us());
        }
}

/* False: full. */
static bool pull_all(struct process_worker *worker)
{
    struct muster__request *list;
    while ((list = muster__slot_take(worker->options.slot, worker->options.incarnation, BATCH))) {
        muster__slot_begun(worker->options.slot, list, muster__now_us());
        while (list) {
            struct muster__request *request = list, *rest = request->next;
            request->next = request->previous = NULL;
            if (!send_one(worker, request)) {
                request->next = rest;
                put_back(worker, request);
                return false;
            }
            list = rest;
        }
    }
    return true;
}

/* Noted before it is asked whether there is room, so that who makes room sees it.  True: there is room again. */
static bool stall(struct process_worker *worker)
{
    struct process_host *host = worker->host;
    pthread_mutex_lock(&host->lock);
    worker->stalled = ++host->last_stall;
    bool closed = host->closed;
    pthread_mutex_unlock(&host->lock);
    return !closed && muster__process_host_has_room(host);
}

/* One that has given something back is about to end. */
static bool may_pull_locked(const struct process_worker *worker)
{
    return worker->opened && !worker->gone && !worker->stop_asked && !worker->returned;
}

/* One thread at a time, so that the order stays; who finds it busy leaves a note. */
void muster__process_worker_pull(struct process_worker *worker)
{
    struct process_host *host = worker->host;
    pthread_mutex_lock(&host->lock);
    bool busy = worker->pulling, may = may_pull_locked(worker);
    worker->pull_again = busy;
    worker->pulling = true;
    pthread_mutex_unlock(&host->lock);
    if (busy)
        return;
    for (;;) {
        bool again = may && !pull_all(worker) && stall(worker);
        pthread_mutex_lock(&host->lock);
        again = again || worker->pull_again;
        worker->pull_again = false;
        worker->pulling = again;
        may = may_pull_locked(worker);
        pthread_mutex_unlock(&host->lock);
        if (!again)
            break;
    }
    muster__process_requests_give_back(worker); /* it may have ended while we held some that came later */
}

static void consumer_wake(struct muster__slot_consumer *consumer)
{
    muster__process_worker_pull(MUSTER_CONTAINER_OF(consumer, struct process_worker, consumer));
}

static void consumer_cancel(struct muster__slot_consumer *consumer, struct muster__request *request)
{
    muster__process_request_cancel(MUSTER_CONTAINER_OF(consumer, struct process_worker, consumer), request);
}

static void consumer_acquire(struct muster__slot_consumer *consumer)
{
    muster__process_worker_acquire(MUSTER_CONTAINER_OF(consumer, struct process_worker, consumer));
}

static void consumer_release(struct muster__slot_consumer *consumer)
{
    muster__process_worker_release(MUSTER_CONTAINER_OF(consumer, struct process_worker, consumer));
}

/* ---- the end ---- */

/* Its ports, if START did not take them along: they are closed, or sent. */
static void take_ports(struct process_worker *worker, struct muster__port *ret_ports[2])
{
    pthread_mutex_lock(&worker->host->lock);
    ret_ports[0] = worker->options.host_port;
    ret_ports[1] = worker->options.port;
    worker->options.host_port = worker->options.port = NULL;
    pthread_mutex_unlock(&worker->host->lock);
}

static void close_ports(struct process_worker *worker)
{
    struct muster__port *ports[2];
    take_ports(worker, ports);
    muster__port_release(ports[0]);
    muster__port_release(ports[1]);
}

static void drop_jobs(struct process_worker *worker)
{
    muster__process_worker_acquire(worker);
    muster__pool_schedule(worker->host->processes->options.pool, &worker->actor); /* it answers them */
    muster__process_worker_release(worker);
}

/* After `gone` was set; whoever is answering is not held up by anybody. */
void muster__process_worker_hush(struct process_worker *worker)
{
    struct process_host *host = worker->host;
    pthread_mutex_lock(&host->lock);
    while (worker->answering)
        pthread_cond_wait(&host->answered, &host->lock);
    pthread_mutex_unlock(&host->lock);
}

void muster__process_worker_end(struct process_worker *worker, enum muster_status status,
                                const struct muster_error *error, uint64_t turns, bool with_host)
{
    struct process_host *host = worker->host;
    const struct muster__worker_report report = {.status = status, .error = error, .turns = turns};
    pthread_mutex_lock(&host->lock);
    bool twice = worker->gone;
    worker->gone = true;
    uint32_t holds = worker->holds;
    worker->holds = 0;
    if (!twice)
        (void)muster__id_map_remove(&host->workers, worker->id);
    pthread_mutex_unlock(&host->lock);
    if (twice)
        return;
    muster__process_worker_hush(worker);
    muster__process_fetches_end(worker);
    atomic_fetch_add(&host->turns, turns > worker->stats.turns ? turns - worker->stats.turns : 0);
    muster__process_requests_end(worker, status == MUSTER_OK ? MUSTER_TERMINATED : status, error, with_host);
    if (holds)
        muster__slot_unhold(worker->options.slot, worker->options.incarnation);
    drop_jobs(worker);
    close_ports(worker);
    worker->options.listener->gone(worker->options.user_data, &report);
    muster__process_worker_release(worker); /* the map's */
}

bool muster__process_worker_is_suspect_locked(struct process_worker *worker, enum process_blame blame)
{
    struct muster__shared_memory *memory = worker->host->memory;
    bool suspect = blame == PROCESS_BLAME_ALL || (worker->sent_start && !worker->started);
    for (struct process_request *at = worker->first; at && !suspect; at = at->next)
        suspect = at->request && muster__shared_memory_has_started(memory, at->word) &&
                  (blame == PROCESS_BLAME_BEGUN || muster__shared_memory_runs(memory, at->word));
    return suspect;
}

static bool worker_open(struct muster__remote_worker *base, uint64_t now_us)
{
    struct process_worker *worker = of(base);
    pthread_mutex_lock(&worker->host->lock);
    worker->opened = true;
    pthread_mutex_unlock(&worker->host->lock);
    return muster__slot_open(worker->options.slot, worker->options.incarnation, &worker->consumer, now_us);
}

/* ---- frames ---- */

static void on_started(struct process_worker *worker, const struct muster__wire_message *message)
{
    const struct muster__worker_options *options = &worker->options;
    struct muster__script *none = NULL;
    if (worker->started) {
        muster__process_host_distrust(worker->host, "that a worker started, twice");
        return;
    }
    worker->started = true;
    /* One that failed is not kept: its author may mend it. */
    if (message->status == MUSTER_OK && options->stored && worker->script && !atomic_load(options->stored)) {
        muster__script_acquire(worker->script);
        if (!atomic_compare_exchange_strong(options->stored, &none, worker->script))
            muster__script_destroy(worker->script);
    }
    if (message->status == MUSTER_OK && options->may_open &&
        worker_open(&worker->base, muster__now_us()) && options->listener->opened)
        options->listener->opened(options->user_data);
    options->listener->started(options->user_data, message->status,
                               message->has_error ? &message->error : NULL);
}

static void on_hold(struct process_worker *worker, const struct muster__wire_message *message)
{
    uint64_t now_us = muster__now_us();
    uint32_t count = message->hold.count;
    bool take = message->type == MUSTER__WIRE_HOLD;
    pthread_mutex_lock(&worker->host->lock);
    bool ok = take ? count <= HOLDS_MOST - worker->holds : count <= worker->holds;
    bool held = worker->holds > 0;
    worker->holds += !ok ? 0 : take ? count : 0 - count;
    bool holds = worker->holds > 0;
    pthread_mutex_unlock(&worker->host->lock);
    if (!ok) {
        muster__process_host_distrust(worker->host, "a count of keepalive tokens that cannot be");
        return;
    }
    /* All of them are one hold of the slot: a frame costs the same whatever it counts. */
    if (take)
        muster__slot_hold(worker->options.slot, worker->options.incarnation, now_us, message->hold.until_us);
    if (held && (take || !holds))
        muster__slot_unhold(worker->options.slot, worker->options.incarnation);
}

static void on_stats(struct process_worker *worker, const struct muster__wire_message *message)
{
    static const char *const phases[] = {"starting", "running", "stopping", "canceling", "dead"};
    const char *phase = "running";
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (strcmp(phases[i], message->stats.phase) == 0)
            phase = phases[i];
    pthread_mutex_lock(&worker->host->lock);
    uint64_t more = message->stats.turns > worker->stats.turns ? message->stats.turns - worker->stats.turns : 0;
    atomic_fetch_add(&worker->host->turns, more);
    worker->stats = (struct muster__worker_stats){.phase = phase,
                                                  .tokens = message->stats.tokens,
                                                  .timers = message->stats.timers,
                                                  .turns = message->stats.turns,
                                                  .cpu_us = message->stats.cpu_us,
                                                  .memory = (size_t)message->stats.memory};
    snprintf(worker->holding, sizeof worker->holding, "%s",
             message->stats.holding ? message->stats.holding : "");
    pthread_mutex_unlock(&worker->host->lock);
}

void muster__process_worker_frame(struct process_worker *worker, struct muster__wire_message *message)
{
    const struct muster__worker_listener *listener = worker->options.listener;
    void *user_data = worker->options.user_data;
    switch (message->type) {
    case MUSTER__WIRE_STARTED: on_started(worker, message); break;
    case MUSTER__WIRE_CONSOLE:
        listener->console(user_data, message->console.level, message->console.text.data,
                          message->console.text.length);
        break;
    case MUSTER__WIRE_REPORT: listener->report(user_data, &message->error); break;
    case MUSTER__WIRE_SKIP_WAITING: listener->skip_waiting(user_data); break;
    case MUSTER__WIRE_CLOSE_SELF: listener->close_self(user_data); break;
    case MUSTER__WIRE_WEDGED: listener->wedged(user_data); break;
    case MUSTER__WIRE_IDLE:
        if (listener->idle)
            listener->idle(user_data);
        break;
    case MUSTER__WIRE_HOLD:
    case MUSTER__WIRE_UNHOLD: on_hold(worker, message); break;
    case MUSTER__WIRE_STATS: on_stats(worker, message); break;
    case MUSTER__WIRE_GONE:
        muster__process_worker_end(worker, message->status, message->has_error ? &message->error : NULL,
                                   message->gone.turns, false);
        break;
    default: muster__process_host_distrust(worker->host, "a frame that is not for a parent");
    }
}

/* ---- start ---- */

static size_t count_bindings(const struct muster_bindings *bindings)
{
    return muster__bindings_count(bindings);
}

static enum muster_status pack_bindings(const struct muster_bindings *bindings,
                                        struct muster__wire_binding *wire,
                                        struct muster__packed_value *packed, struct muster_error *error)
{
    for (size_t i = 0; i < count_bindings(bindings); i++) {
        const struct muster__binding binding = muster__bindings_at(bindings, i);
        wire[i].path = binding.path;
        wire[i].is_function = binding.function != NULL;
        if (wire[i].is_function)
            continue;
        enum muster_status status = muster__wire_value_pack(binding.value, &packed[i], error);
        if (status != MUSTER_OK)
            return status;
        wire[i].value = packed[i].wire.bytes;
    }
    return MUSTER_OK;
}

static void put_start(struct process_worker *worker, struct muster__wire_message *message,
                      struct muster_bytes *map)
{
    const struct muster__worker_options *options = &worker->options;
    const struct process_host *host = worker->host;
    size_t count = 0;
    while (options->arguments && options->arguments[count])
        count++;
    message->type = MUSTER__WIRE_START;
    message->worker = worker->id;
    message->start.engine = options->engine->name;
    message->start.type = options->type;
    message->start.trust = options->trust;
    message->start.turn_us = options->limits.turn_us;
    message->start.wedged_us = options->limits.wedged_us;
    message->start.memory = options->limits.memory;
    message->start.script_url = options->script_url;
    message->start.name = options->name;
    message->start.scope = options->scope;
    message->start.arguments = options->arguments;
    message->start.argument_count = count;
    message->start.types_known = options->types_known && atomic_load(&host->processes->takes_types_known);
    if (options->ports) {
        message->start.port_account = options->ports->name;
        message->start.port_limit = options->ports->limit;
    }
    if (!worker->script || !worker->script->text)
        return;
    message->start.stored_url = worker->script->url;
    message->start.is_module = worker->script->is_module;
    message->value.present = true;
    message->value.bytes = (struct muster_bytes){worker->script->text, worker->script->length};
    if (!worker->script->source_map)
        return;
    *map = (struct muster_bytes){worker->script->source_map, strlen(worker->script->source_map)};
    message->value.buffers = map;
    message->value.buffer_count = 1;
}

/* START, with what it names. */
static enum muster_status send_start_message(struct process_worker *worker, struct muster__wire_message *message)
{
    struct process_host *host = worker->host;
    struct muster__port *ports[2];
    take_ports(worker, ports);
    message->start.host_port = ports[0] ? muster__link_ports_open(host->ports, ports[0], false) : 0;
    message->start.port = ports[1] ? muster__link_ports_open(host->ports, ports[1], false) : 0;
    enum muster_status status = muster__link_send(host->link, message, muster__process_host_urgency(host));
    if (status != MUSTER_OK) {
        muster__link_ports_retract(host->ports, message->start.host_port);
        muster__link_ports_retract(host->ports, message->start.port);
    }
    return status;
}

static enum muster_status send_start(struct process_worker *worker, struct muster_error *error)
{
    struct muster__wire_message message = {0};
    struct muster_bytes map;
    size_t count = count_bindings(worker->options.bindings);
    struct muster__wire_binding *bindings = calloc(count + 1, sizeof *bindings);
    struct muster__packed_value *packed = calloc(count + 1, sizeof *packed);
    enum muster_status status = MUSTER_NO_MEMORY;
    if (bindings && packed)
        status = pack_bindings(worker->options.bindings, bindings, packed, error);
    if (status == MUSTER_OK) {
        put_start(worker, &message, &map);
        message.start.bindings = bindings;
        message.start.binding_count = count;
        pthread_mutex_lock(&worker->host->lock);
        bool wanted = !worker->stop_asked && !worker->cancel_asked && !worker->gone;
        worker->sent_start = wanted;
        pthread_mutex_unlock(&worker->host->lock);
        status = wanted ? send_start_message(worker, &message) : MUSTER_TERMINATED;
    }
    for (size_t i = 0; packed && i < count; i++)
        muster__wire_value_clean_up(&packed[i]);
    free(packed);
    free(bindings);
    return status;
}

/* It never came to the child. */
static void fail_start(struct process_worker *worker, enum muster_status status,
                       const struct muster_error *error)
{
    bool asked = status == MUSTER_TERMINATED;
    if (!asked)
        worker->options.listener->started(worker->options.user_data, status, error);
    muster__process_worker_end(worker, asked ? MUSTER_OK : status, asked ? NULL : error, 0, false);
}

static void start_now(struct process_worker *worker)
{
    struct muster_error error = {0};
    enum muster_status status = send_start(worker, &error);
    /* CLOSED: the host is dying, and tells everybody. */
    if (status != MUSTER_OK && status != MUSTER_CLOSED) {
        if (!error.message)
            muster_error_set(&error, status, "cannot start in a process: %s", muster_status_sentence(status));
        fail_start(worker, status, &error);
    }
    muster_error_clean_up(&error);
}

/* Thread: the actor's. */
static void load_and_start(struct process_worker *worker)
{
    struct muster_error error = {0};
    enum muster_status status = muster__loader_load(worker->options.loader, worker->options.script_url, NULL,
                                                    &worker->script, &error);
    if (status == MUSTER_OK && worker->script->native) {
        status = MUSTER_UNSUPPORTED;
        muster_error_set(&error, status,
                         "%s: a native worker in this program's own code cannot live in another process; "
                         "build it as a shared object, or place it on threads",
                         worker->options.name);
    }
    if (status == MUSTER_OK)
        start_now(worker);
    else
        fail_start(worker, status, &error);
    muster_error_clean_up(&error);
}

/* A process may die, and all be told, while this one loads for a worker in it. */
static bool turn(struct muster__actor *actor)
{
    struct process_worker *worker = MUSTER_CONTAINER_OF(actor, struct process_worker, actor);
    const struct muster__worker_listener *listener = worker->options.listener;
    pthread_mutex_lock(&worker->host->lock);
    bool keeps = !worker->gone && listener->keep;
    if (keeps) /* `gone` is told after it was set under this lock */
        listener->keep(worker->options.user_data);
    bool must_start = !worker->sent_start && !worker->gone;
    bool over = must_start && (worker->stop_asked || worker->cancel_asked);
    pthread_mutex_unlock(&worker->host->lock);
    if (over)
        fail_start(worker, MUSTER_TERMINATED, NULL);
    else if (must_start && !worker->script)
        load_and_start(worker);
    bool again = muster__process_errand_run_one(worker);
    if (keeps)
        listener->let_go(worker->options.user_data);
    return again;
}

static void actor_acquire(struct muster__actor *actor)
{
    muster__process_worker_acquire(MUSTER_CONTAINER_OF(actor, struct process_worker, actor));
}

static void actor_release(struct muster__actor *actor)
{
    muster__process_worker_release(MUSTER_CONTAINER_OF(actor, struct process_worker, actor));
}

/* ---- as struct muster__remote_worker ---- */

static void worker_control(struct muster__remote_worker *base, struct muster__request *request)
{
    struct process_worker *worker = of(base);
    request->holds_slot = false;
    muster__request_acquire(request);
    enum muster_status status = muster__process_request_send(worker, request, true);
    if (status == MUSTER_OK)
        return;
    (void)muster__request_fail(request, status == MUSTER_CLOSED ? MUSTER_TERMINATED : status, NULL);
    muster__request_release(request);
}

/* Before START went out there is nobody to tell: the actor's turn ends it. */
static void ask(struct process_worker *worker, bool cancel)
{
    pthread_mutex_lock(&worker->host->lock);
    worker->stop_asked = true;
    worker->cancel_asked = worker->cancel_asked || cancel;
    bool sent = worker->sent_start, gone = worker->gone;
    pthread_mutex_unlock(&worker->host->lock);
    if (sent && !gone)
        send_simple(worker, cancel ? MUSTER__WIRE_CANCEL_WORKER : MUSTER__WIRE_STOP);
    else if (!gone)
        muster__pool_schedule(worker->host->processes->options.pool, &worker->actor);
}

static void worker_stop(struct muster__remote_worker *base)
{
    ask(of(base), false);
}

static void worker_cancel(struct muster__remote_worker *base)
{
    muster__process_requests_settle(of(base), MUSTER_TERMINATED, NULL, false);
    ask(of(base), true);
}

/* What does not react takes its process along; the others in it move. */
static void worker_abandon(struct muster__remote_worker *base)
{
    struct process_worker *worker = of(base);
    struct muster_error error = {0};
    base->abandoned = true;
    muster_error_set(&error, MUSTER_WEDGED, "%s: %s", worker->options.name,
                     muster_status_sentence(MUSTER_WEDGED));
    muster__process_requests_settle(worker, MUSTER_WEDGED, &error, true); /* the others move when it is dead */
    muster_error_clean_up(&error);
    muster__process_host_kill(worker->host, "a worker in it did not react");
}

static int worker_describe(struct muster__remote_worker *base, char *text, size_t size)
{
    struct process_worker *worker = of(base);
    pthread_mutex_lock(&worker->host->lock);
    int length = 0;
    if (size)
        text[0] = '\0';
    if (worker->in_flight || worker->holds)
        length = snprintf(text, size, "%u in flight in %s%s%s", worker->in_flight, worker->host->name,
                          *worker->holding ? ": " : "", worker->holding);
    pthread_mutex_unlock(&worker->host->lock);
    return length;
}

static void worker_stats(struct muster__remote_worker *base, struct muster__worker_stats *ret_stats)
{
    struct process_worker *worker = of(base);
    pthread_mutex_lock(&worker->host->lock);
    *ret_stats = worker->stats;
    ret_stats->in_flight = worker->in_flight;
    pthread_mutex_unlock(&worker->host->lock);
    if (!ret_stats->phase)
        ret_stats->phase = "starting";
}

static void worker_release(struct muster__remote_worker *base)
{
    muster__process_worker_release(of(base));
}

static const struct muster__remote_worker_class worker_class = {
    .open = worker_open,
    .control = worker_control,
    .stop = worker_stop,
    .cancel = worker_cancel,
    .abandon = worker_abandon,
    .describe = worker_describe,
    .stats = worker_stats,
    .release = worker_release,
};

static bool enlist(struct process_worker *worker)
{
    struct process_host *host = worker->host;
    pthread_mutex_lock(&host->lock);
    bool closed = host->closed;
    if (!closed) {
        worker->id = ++host->last_worker;
        worker->node.id = worker->id;
        muster__id_map_add(&host->workers, &worker->node);
    }
    pthread_mutex_unlock(&host->lock);
    return !closed;
}

enum muster_status muster__process_worker_new(struct process_host *host,
                                              const struct muster__worker_options *options,
                                              struct muster__remote_worker **ret_worker)
{
    struct process_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return MUSTER_NO_MEMORY;
    muster__process_host_acquire(host);
    worker->host = host;
    atomic_init(&worker->references, 1);
    worker->base.class = &worker_class;
    worker->jobs_end = &worker->jobs;
    muster__actor_init(&worker->actor, turn);
    worker->actor.acquire = actor_acquire;
    worker->actor.release = actor_release;
    worker->consumer = (struct muster__slot_consumer){.wake = consumer_wake,
                                                      .cancel = consumer_cancel,
                                                      .acquire = consumer_acquire,
                                                      .release = consumer_release};
    bool copied = muster__worker_options_copy(&worker->options, options);
    atomic_fetch_add(&worker->references, 1); /* the map's */
    if (!copied || !enlist(worker)) {
        worker->options.host_port = worker->options.port = NULL; /* still the caller's */
        destroy(worker);
        return copied ? MUSTER_REFUSED : MUSTER_NO_MEMORY;
    }
    *ret_worker = &worker->base;
    struct muster__script *stored = options->stored ? atomic_load(options->stored) : NULL;
    if (stored) {
        muster__script_acquire(stored);
        worker->script = stored;
    }
    /* Native code is a file that the child opens by itself. */
    bool native = strcmp(options->engine->name, "native") == 0 && !options->loader->load;
    if (native || (stored && !stored->native))
        start_now(worker);
    else
        muster__pool_schedule(host->processes->options.pool, &worker->actor);
    return MUSTER_OK;
}
