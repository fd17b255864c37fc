/* runtime/worker.c - the life of a worker: start, turns, stop, interruption, death.  See worker.h.
 *
 * A turn looks at its inbox in a fixed order: timers and notes and host calls that ended, lifecycle
 * requests, cancellations, then up to WORKER_BATCH requests of the slot; then it asks whether it is over.
 * Whatever happens to the script, worker_finish() gives every request, call, token and timer its ending,
 * and `gone` is the last thing that anybody hears. */
#include "runtime/worker_internal.h"

#include "runtime/spare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPU_LIMIT_DEFAULT_US 10000000
#define WEDGED_DEFAULT_US 2000000
/* The engine stops a turn at its limit by itself; the monitor only helps when that failed. */
#define LIMIT_SLACK_US 200000

static enum worker_phase phase_of(struct muster__worker *worker)
{
    return (enum worker_phase)atomic_load(&worker->phase);
}

static const char *phase_name(enum worker_phase phase)
{
    static const char *const names[] = {"starting", "running", "stopping", "canceling", "dead"};
    return names[phase];
}

/* Forward only. */
static void set_phase(struct muster__worker *worker, enum worker_phase phase)
{
    unsigned seen = atomic_load(&worker->phase);
    while (seen < (unsigned)phase &&
           !atomic_compare_exchange_weak(&worker->phase, &seen, (unsigned)phase))
        ;
}

void muster__worker_wake(struct muster__worker *worker)
{
    muster__pool_schedule(worker->options.pool, &worker->actor);
}

/* ---- lists of requests; the lock is held ---- */

static void append_locked(struct worker_list *list, struct muster__request *request)
{
    request->next = NULL;
    request->previous = list->tail;
    *(list->tail ? &list->tail->next : &list->head) = request;
    list->tail = request;
}

void muster__worker_add_in_flight(struct muster__worker *worker, struct muster__request *request)
{
    pthread_mutex_lock(&worker->shared.lock);
    append_locked(&worker->shared.in_flight, request);
    worker->shared.in_flight_count++;
    pthread_mutex_unlock(&worker->shared.lock);
}

/* Settles all that is in flight, from any thread.  They stay in the list until they have ended. */
static void settle_in_flight(struct muster__worker *worker, enum muster_status status,
                             const struct muster_error *error)
{
    struct muster__request *some[WORKER_BATCH];
    for (;;) {
        size_t count = 0;
        pthread_mutex_lock(&worker->shared.lock);
        for (struct muster__request *at = worker->shared.in_flight.head;
             at && count < WORKER_BATCH; at = at->next)
            if (!muster__request_is_settled(at)) {
                muster__request_acquire(at);
                some[count++] = at;
            }
        pthread_mutex_unlock(&worker->shared.lock);
        for (size_t i = 0; i < count; i++) {
            (void)muster__request_settle(
                some[i], &(struct muster__outcome){.status = status, .error = error});
            muster__request_release(some[i]);
        }
        if (!count)
            return;
    }
}

/* ---- start ---- */

static enum muster_status open_engine(struct muster__worker *worker)
{
    const struct muster__engine *engine = worker->options.engine;
    const struct muster__vm_options limits = {.turn_limit_us = worker->options.limits.turn_us,
                                              .memory_limit = worker->options.limits.memory};
    const struct muster__realm_options realm = {.host = &muster__worker_realm_host,
                                                .worker = worker,
                                                .trust = worker->options.trust,
                                                .type = worker->options.type};
    if (worker->options.trust == MUSTER__TRUST_SCRIPT &&
        muster__spare_take(worker->options.spare, engine, &worker->own.vm, &worker->own.realm)) {
        engine->vm_limit(worker->own.vm, &limits);
        return MUSTER_OK;
    }
    enum muster_status status = engine->vm_new(&limits, &worker->own.vm);
    if (status == MUSTER_OK)
        status = engine->realm_new(worker->own.vm, &realm, &worker->own.realm);
    return status;
}

/* From here on the coordinator can interrupt what runs. */
static void publish_vm(struct muster__worker *worker, struct muster__vm *vm)
{
    pthread_mutex_lock(&worker->shared.lock);
    worker->shared.interruptible = vm;
    if (vm && atomic_load(&worker->cancel_asked))
        worker->options.engine->vm_interrupt(vm);
    pthread_mutex_unlock(&worker->shared.lock);
}

static void evaluated(struct muster__worker *worker, enum muster_status status,
                      const struct muster_error *error)
{
    if (worker->own.evaluated)
        return;
    worker->own.evaluated = true;
    if (status == MUSTER_OK)
        set_phase(worker, WORKER_RUNNING);
    else
        worker->own.fatal = status;
    worker->options.listener->started(worker->options.user_data, status, error);
}

static void start(struct muster__worker *worker)
{
    struct muster_error error = {0};
    struct muster__worker_options *options = &worker->options;
    enum muster_status status =
        muster__loader_load(options->loader, options->script_url, NULL, &worker->own.script, &error);
    if (status == MUSTER_OK)
        status = open_engine(worker);
    if (status == MUSTER_OK) {
        const struct muster__realm_identity identity = {
            .worker = worker,
            .type = options->type,
            .trust = options->trust,
            .name = options->name,
            .scope = options->scope,
            .bindings = options->bindings,
            .arguments = options->arguments,
        };
        publish_vm(worker, worker->own.vm);
        status = options->engine->evaluate(worker->own.realm, &identity, worker->own.script, evaluated,
                                           &error);
    }
    if (status != MUSTER_PENDING) {
        if (status != MUSTER_OK && !error.message)
            muster_error_set(&error, status, "%s", muster_status_sentence(status));
        evaluated(worker, status, &error);
    }
    muster_error_clean_up(&error);
}

/* ---- a turn ---- */

static void cut_short(struct muster__worker *worker, enum muster_status status)
{
    if (status != MUSTER_OK && worker->own.fatal == MUSTER_OK)
        worker->own.fatal = status;
}

static bool may_run(struct muster__worker *worker)
{
    return worker->own.fatal == MUSTER_OK && !atomic_load(&worker->cancel_asked);
}

static void run_timers(struct muster__worker *worker)
{
    uint32_t id;
    /* Only those that are due now: what they set in turn comes in a later turn. */
    uint64_t due_us = worker->own.now_us;
    while (may_run(worker) && (id = muster__timers_pop_due(&worker->own.timers, due_us, NULL)))
        cut_short(worker, worker->options.engine->timer_fired(worker->own.realm, id));
    atomic_store(&worker->timer_count, (unsigned)muster__timers_count(&worker->own.timers));
}

static void run_notes(struct muster__worker *worker)
{
    /* As many as waited when the turn began. */
    size_t count = 0;
    pthread_mutex_lock(&worker->shared.lock);
    for (struct muster__note *at = worker->shared.notes; at; at = at->next)
        count++;
    pthread_mutex_unlock(&worker->shared.lock);
    while (count-- && may_run(worker)) {
        pthread_mutex_lock(&worker->shared.lock);
        struct muster__note *note = worker->shared.notes;
        if (note) {
            worker->shared.notes = note->next;
            if (!note->next)
                worker->shared.notes_end = &worker->shared.notes;
            atomic_store(&note->posted, false);
        }
        pthread_mutex_unlock(&worker->shared.lock);
        if (!note)
            return;
        note->run(note, worker->own.realm);
    }
}

static struct muster_host_call *take_ended_calls(struct muster__worker *worker)
{
    pthread_mutex_lock(&worker->shared.lock);
    struct muster_host_call *list = worker->shared.ended_calls;
    worker->shared.ended_calls = NULL;
    pthread_mutex_unlock(&worker->shared.lock);
    struct muster_host_call *in_order = NULL; /* it was pushed in front */
    while (list) {
        struct muster_host_call *call = list;
        list = call->next;
        call->next = in_order;
        in_order = call;
    }
    return in_order;
}

static void run_ended_calls(struct muster__worker *worker)
{
    struct muster_host_call *list = take_ended_calls(worker);
    while (list) {
        struct muster_host_call *call = list;
        list = call->next;
        muster__worker_forget_open_call(worker, call);
        uint32_t token = call->token;
        if (may_run(worker))
            cut_short(worker, worker->options.engine->host_call_ended(worker->own.realm, call));
        muster__host_call_destroy(call);
        muster__worker_realm_host.token_drop(worker, token);
    }
}

static void deliver(struct muster__worker *worker, struct muster__request *request)
{
    muster__worker_add_in_flight(worker, request);
    if (muster__request_is_settled(request)) { /* canceled, or timed out, while it waited */
        muster__worker_realm_host.ended(worker, request);
        return;
    }
    atomic_store_explicit(&request->started, true, memory_order_release);
    cut_short(worker, worker->options.engine->deliver(worker->own.realm, request));
}

static void end_undelivered(struct muster__worker *worker, struct muster__request *request)
{
    muster__worker_add_in_flight(worker, request);
    (void)muster__request_fail(request, MUSTER_TERMINATED, NULL);
    muster__worker_realm_host.ended(worker, request);
}

static void deliver_list(struct muster__worker *worker, struct muster__request *list)
{
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        request->next = request->previous = NULL;
        if (may_run(worker))
            deliver(worker, request);
        else
            end_undelivered(worker, request);
    }
}

static void run_control(struct muster__worker *worker)
{
    pthread_mutex_lock(&worker->shared.lock);
    struct muster__request *list = worker->shared.control.head;
    worker->shared.control = (struct worker_list){NULL, NULL};
    pthread_mutex_unlock(&worker->shared.lock);
    deliver_list(worker, list);
}

static bool is_in_flight(struct muster__worker *worker, const struct muster__request *request)
{
    pthread_mutex_lock(&worker->shared.lock);
    const struct muster__request *at = worker->shared.in_flight.head;
    while (at && at != request)
        at = at->next;
    pthread_mutex_unlock(&worker->shared.lock);
    return at != NULL;
}

static void run_cancels(struct muster__worker *worker)
{
    for (;;) {
        pthread_mutex_lock(&worker->shared.lock);
        struct muster__request *request =
            worker->shared.cancel_count ? worker->shared.cancels[--worker->shared.cancel_count] : NULL;
        pthread_mutex_unlock(&worker->shared.lock);
        if (!request)
            return;
        if (may_run(worker) && is_in_flight(worker, request))
            cut_short(worker, worker->options.engine->cancel(worker->own.realm, request));
        muster__request_release(request);
    }
}

/* True: there may be more. */
static bool run_requests(struct muster__worker *worker)
{
    if (!worker->options.slot || !atomic_load(&worker->opened) ||
        phase_of(worker) != WORKER_RUNNING || !may_run(worker))
        return false;
    struct muster__request *list =
        muster__slot_take(worker->options.slot, worker->options.incarnation, WORKER_BATCH);
    size_t count = 0;
    for (struct muster__request *at = list; at; at = at->next)
        count++;
    deliver_list(worker, list);
    return count == WORKER_BATCH;
}

static void timer_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct muster__worker *worker = MUSTER_CONTAINER_OF(timer, struct muster__worker, own.pool_timer);
    (void)now_us;
    atomic_store(&worker->timer_due, true);
    muster__worker_wake(worker);
}

static void arm_timer(struct muster__worker *worker)
{
    uint64_t at_us = muster__timers_next_deadline(&worker->own.timers);
    if (atomic_exchange(&worker->timer_due, false))
        worker->own.pool_timer_at_us = UINT64_MAX;
    if (at_us == worker->own.pool_timer_at_us)
        return;
    if (at_us == UINT64_MAX)
        (void)muster__pool_timer_cancel(worker->options.pool, &worker->own.pool_timer);
    else if (muster__pool_timer_set(worker->options.pool, &worker->own.pool_timer, at_us) != MUSTER_OK)
        cut_short(worker, MUSTER_NO_MEMORY);
    worker->own.pool_timer_at_us = at_us;
}

/* ---- death ---- */

static void take_inbox_apart(struct muster__worker *worker)
{
    pthread_mutex_lock(&worker->shared.lock);
    worker->shared.closed = true;
    worker->shared.notes = NULL;
    worker->shared.notes_end = &worker->shared.notes;
    struct muster__request *control = worker->shared.control.head;
    worker->shared.control = (struct worker_list){NULL, NULL};
    pthread_mutex_unlock(&worker->shared.lock);
    while (control) {
        struct muster__request *request = control;
        control = request->next;
        request->next = request->previous = NULL;
        end_undelivered(worker, request);
    }
    run_cancels(worker);
}

/* Before the inbox is closed: from then on a call that ends frees itself, and must not be named here. */
static void orphan_calls(struct muster__worker *worker)
{
    for (size_t i = 0; i < worker->own.open_count; i++)
        if (!muster__host_call_orphan(worker->own.open_calls[i]))
            muster__worker_release(worker); /* nobody will call call_ended() for it */
    worker->own.open_count = 0;
}

static void destroy_ended_calls(struct muster__worker *worker)
{
    struct muster_host_call *ended = take_ended_calls(worker);
    while (ended) {
        struct muster_host_call *call = ended;
        ended = call->next;
        muster__host_call_destroy(call);
    }
}

static void end_in_flight(struct muster__worker *worker)
{
    for (;;) {
        pthread_mutex_lock(&worker->shared.lock);
        struct muster__request *request = worker->shared.in_flight.head;
        pthread_mutex_unlock(&worker->shared.lock);
        if (!request)
            return;
        muster__worker_realm_host.ended(worker, request);
    }
}

/* Everything has its ending, then `gone`.  The worker's memory lives as long as its references. */
static void finish(struct muster__worker *worker)
{
    enum muster_status status = worker->own.fatal;
    if (atomic_load(&worker->cancel_asked) && status == MUSTER_OK && worker->shared.in_flight.head)
        status = MUSTER_TERMINATED;
    publish_vm(worker, NULL);
    struct muster_error error = {0};
    if (status != MUSTER_OK)
        muster_error_set(&error, status, "%s: %s", worker->options.name,
                         muster_status_sentence(status));
    settle_in_flight(worker, status == MUSTER_OK ? MUSTER_TERMINATED : status, &error);
    orphan_calls(worker);
    take_inbox_apart(worker);
    destroy_ended_calls(worker);
    if (worker->own.realm)
        worker->options.engine->realm_destroy(worker->own.realm);
    end_in_flight(worker);
    muster__worker_drop_all_tokens(worker);
    if (worker->own.vm)
        worker->options.engine->vm_destroy(worker->own.vm);
    worker->own.realm = NULL;
    worker->own.vm = NULL;
    (void)muster__pool_timer_cancel(worker->options.pool, &worker->own.pool_timer);
    set_phase(worker, WORKER_DEAD);
    const struct muster__worker_report report = {
        .status = status, .error = status == MUSTER_OK ? NULL : &error, .turns = worker->own.turns};
    worker->options.listener->gone(worker->options.user_data, &report);
    muster_error_clean_up(&error);
}

static bool holds_nothing(struct muster__worker *worker)
{
    pthread_mutex_lock(&worker->shared.lock);
    bool nothing = !worker->shared.in_flight_count && !worker->shared.token_count &&
                   !worker->shared.control.head;
    pthread_mutex_unlock(&worker->shared.lock);
    return nothing && !worker->own.open_count;
}

static bool is_over(struct muster__worker *worker)
{
    if (worker->own.fatal != MUSTER_OK || atomic_load(&worker->cancel_asked) ||
        atomic_load(&worker->abandoned))
        return true;
    return atomic_load(&worker->stop_asked) && holds_nothing(worker);
}

static void tell_idle(struct muster__worker *worker)
{
    if (worker->options.listener->idle && worker->own.evaluated && holds_nothing(worker) &&
        !muster__timers_count(&worker->own.timers))
        worker->options.listener->idle(worker->options.user_data);
}

static bool worker_turn(struct muster__actor *actor)
{
    struct muster__worker *worker = MUSTER_CONTAINER_OF(actor, struct muster__worker, actor);
    if (phase_of(worker) == WORKER_DEAD)
        return false;
    bool more = false;
    worker->own.now_us = muster__now_us();
    worker->own.turns++;
    atomic_store(&worker->interrupted, false);
    if (!worker->own.loaded && may_run(worker)) {
        worker->own.loaded = true;
        start(worker);
    }
    if (worker->own.realm) {
        run_timers(worker);
        run_notes(worker);
        run_ended_calls(worker);
        run_control(worker);
        run_cancels(worker);
        more = run_requests(worker);
        if (may_run(worker) && worker->options.engine->turn_end)
            cut_short(worker, worker->options.engine->turn_end(worker->own.realm));
        arm_timer(worker);
    }
    if (is_over(worker)) {
        finish(worker);
        return false;
    }
    tell_idle(worker);
    return more;
}

/* ---- the monitor's view ---- */

static bool worker_watch(struct muster__actor *actor, uint64_t cpu_us, uint64_t wall_us)
{
    struct muster__worker *worker = MUSTER_CONTAINER_OF(actor, struct muster__worker, actor);
    const struct muster__worker_limits *limits = &worker->options.limits;
    bool canceled = atomic_load(&worker->cancel_asked);
    if (!atomic_load(&worker->interrupted) &&
        (canceled || cpu_us > limits->turn_us + LIMIT_SLACK_US)) {
        atomic_store(&worker->interrupted, true);
        atomic_store(&worker->interrupted_at_us, wall_us);
        pthread_mutex_lock(&worker->shared.lock);
        if (worker->shared.interruptible)
            worker->options.engine->vm_interrupt(worker->shared.interruptible);
        pthread_mutex_unlock(&worker->shared.lock);
    }
    if (atomic_load(&worker->interrupted) &&
        wall_us > atomic_load(&worker->interrupted_at_us) + limits->wedged_us &&
        !atomic_exchange(&worker->wedged_told, true))
        worker->options.listener->wedged(worker->options.user_data);
    return atomic_load(&worker->abandoned);
}

/* ---- from outside ---- */

bool muster__worker_open(struct muster__worker *worker, uint64_t now_us)
{
    atomic_store(&worker->opened, true);
    return muster__slot_open(worker->options.slot, worker->options.incarnation, &worker->consumer,
                             now_us);
}

void muster__worker_control(struct muster__worker *worker, struct muster__request *request)
{
    muster__request_acquire(request);
    request->holds_slot = false;
    pthread_mutex_lock(&worker->shared.lock);
    bool closed = worker->shared.closed;
    if (!closed)
        append_locked(&worker->shared.control, request);
    pthread_mutex_unlock(&worker->shared.lock);
    if (!closed) {
        muster__worker_wake(worker);
        return;
    }
    (void)muster__request_fail(request, MUSTER_TERMINATED, NULL);
    muster__request_release(request);
}

void muster__worker_cancel_request(struct muster__worker *worker, struct muster__request *request)
{
    bool noted = false;
    pthread_mutex_lock(&worker->shared.lock);
    if (!worker->shared.closed) {
        if (worker->shared.cancel_count == worker->shared.cancel_capacity) {
            size_t capacity = worker->shared.cancel_capacity ? worker->shared.cancel_capacity * 2 : 8;
            struct muster__request **cancels =
                realloc(worker->shared.cancels, capacity * sizeof(struct muster__request *));
            if (cancels) {
                worker->shared.cancels = cancels;
                worker->shared.cancel_capacity = capacity;
            }
        }
        noted = worker->shared.cancel_count < worker->shared.cancel_capacity;
        if (noted) {
            muster__request_acquire(request);
            worker->shared.cancels[worker->shared.cancel_count++] = request;
        }
    }
    pthread_mutex_unlock(&worker->shared.lock);
    if (noted) /* else: out of memory, and the script merely runs on for nothing */
        muster__worker_wake(worker);
}

void muster__worker_stop(struct muster__worker *worker)
{
    atomic_store(&worker->stop_asked, true);
    set_phase(worker, WORKER_STOPPING);
    muster__worker_wake(worker);
}

void muster__worker_cancel(struct muster__worker *worker)
{
    atomic_store(&worker->cancel_asked, true);
    set_phase(worker, WORKER_CANCELING);
    settle_in_flight(worker, MUSTER_TERMINATED, NULL);
    pthread_mutex_lock(&worker->shared.lock);
    if (worker->shared.interruptible)
        worker->options.engine->vm_interrupt(worker->shared.interruptible);
    pthread_mutex_unlock(&worker->shared.lock);
    muster__worker_wake(worker);
}

void muster__worker_abandon(struct muster__worker *worker)
{
    struct muster_error error = {0};
    muster_error_set(&error, MUSTER_WEDGED, "%s: %s", worker->options.name,
                     muster_status_sentence(MUSTER_WEDGED));
    settle_in_flight(worker, MUSTER_WEDGED, &error);
    muster_error_clean_up(&error);
    set_phase(worker, WORKER_CANCELING);
    atomic_store(&worker->cancel_asked, true);
    atomic_store(&worker->abandoned, true);
    muster__worker_wake(worker);
}

int muster__worker_describe(struct muster__worker *worker, char *text, size_t size)
{
    uint64_t now_us = muster__now_us();
    size_t used = 0;
    if (size)
        text[0] = '\0';
    pthread_mutex_lock(&worker->shared.lock);
    for (struct muster__request *at = worker->shared.in_flight.head; at; at = at->next)
        used += (size_t)snprintf(used < size ? text + used : NULL, used < size ? size - used : 0,
                                 "%s%s%s%.*s (%.1f s)", used ? ", " : "", at->name,
                                 at->http.url.length ? " " : "", (int)at->http.url.length,
                                 at->http.url.length ? at->http.url.data : "",
                                 (double)(now_us - at->received_us) / 1e6);
    for (size_t i = 0; i < worker->shared.token_count; i++)
        used += (size_t)snprintf(used < size ? text + used : NULL, used < size ? size - used : 0,
                                 "%stoken \"%s\" (%.1f s)", used ? ", " : "",
                                 worker->shared.tokens[i].name,
                                 (double)(now_us - worker->shared.tokens[i].since_us) / 1e6);
    pthread_mutex_unlock(&worker->shared.lock);
    return (int)used;
}

void muster__worker_stats(struct muster__worker *worker, struct muster__worker_stats *ret_stats)
{
    pthread_mutex_lock(&worker->shared.lock);
    *ret_stats = (struct muster__worker_stats){
        .phase = phase_name(phase_of(worker)),
        .in_flight = worker->shared.in_flight_count,
        .tokens = (uint32_t)worker->shared.token_count,
        .timers = atomic_load(&worker->timer_count),
    };
    pthread_mutex_unlock(&worker->shared.lock);
}

/* ---- memory ---- */

void muster__worker_acquire(struct muster__worker *worker)
{
    atomic_fetch_add_explicit(&worker->references, 1, memory_order_relaxed);
}

static void destroy(struct muster__worker *worker)
{
    muster__script_destroy(worker->own.script);
    muster__timers_clean_up(&worker->own.timers);
    muster__slot_release(worker->options.slot);
    muster_bindings_release(worker->options.bindings);
    free((char *)worker->options.script_url);
    free((char *)worker->options.name);
    free((char *)worker->options.scope);
    free(worker->own.open_calls);
    free(worker->shared.cancels);
    free(worker->shared.tokens);
    pthread_mutex_destroy(&worker->shared.lock);
    free(worker);
}

void muster__worker_release(struct muster__worker *worker)
{
    if (worker && atomic_fetch_sub_explicit(&worker->references, 1, memory_order_acq_rel) == 1)
        destroy(worker);
}

static void actor_acquire(struct muster__actor *actor)
{
    muster__worker_acquire(MUSTER_CONTAINER_OF(actor, struct muster__worker, actor));
}

static void actor_release(struct muster__actor *actor)
{
    muster__worker_release(MUSTER_CONTAINER_OF(actor, struct muster__worker, actor));
}

static void consumer_wake(struct muster__slot_consumer *consumer)
{
    muster__worker_wake(MUSTER_CONTAINER_OF(consumer, struct muster__worker, consumer));
}

static void consumer_cancel(struct muster__slot_consumer *consumer, struct muster__request *request)
{
    muster__worker_cancel_request(MUSTER_CONTAINER_OF(consumer, struct muster__worker, consumer),
                                  request);
}

static void consumer_acquire(struct muster__slot_consumer *consumer)
{
    muster__worker_acquire(MUSTER_CONTAINER_OF(consumer, struct muster__worker, consumer));
}

static void consumer_release(struct muster__slot_consumer *consumer)
{
    muster__worker_release(MUSTER_CONTAINER_OF(consumer, struct muster__worker, consumer));
}

static bool copy_options(struct muster__worker *worker, const struct muster__worker_options *options)
{
    struct muster__worker_options *own = &worker->options;
    *own = *options;
    own->script_url = muster__strdup(options->script_url);
    own->name = muster__strdup(options->name ? options->name : "");
    own->scope = muster__strdup(options->scope);
    if (own->slot)
        muster__slot_acquire(own->slot);
    if (own->bindings)
        muster_bindings_acquire(own->bindings);
    if (!own->limits.turn_us)
        own->limits.turn_us = CPU_LIMIT_DEFAULT_US;
    if (!own->limits.wedged_us)
        own->limits.wedged_us = WEDGED_DEFAULT_US;
    return own->script_url && own->name && (own->scope || !options->scope);
}

enum muster_status muster__worker_new(const struct muster__worker_options *options,
                                      struct muster__worker **ret_worker)
{
    struct muster__worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return MUSTER_NO_MEMORY;
    pthread_mutex_init(&worker->shared.lock, NULL);
    worker->shared.notes_end = &worker->shared.notes;
    atomic_init(&worker->references, 1);
    muster__actor_init(&worker->actor, worker_turn);
    worker->actor.acquire = actor_acquire;
    worker->actor.release = actor_release;
    worker->actor.watch = worker_watch;
    worker->consumer = (struct muster__slot_consumer){.wake = consumer_wake,
                                                      .cancel = consumer_cancel,
                                                      .acquire = consumer_acquire,
                                                      .release = consumer_release};
    worker->own.pool_timer.fire = timer_fire;
    worker->own.pool_timer_at_us = UINT64_MAX;
    muster__timers_init(&worker->own.timers);
    if (!copy_options(worker, options)) {
        destroy(worker);
        return MUSTER_NO_MEMORY;
    }
    *ret_worker = worker;
    muster__worker_wake(worker);
    return MUSTER_OK;
}
