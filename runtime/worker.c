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
/* JavaScriptCore takes 0.3 ms to answer: not while the first requests wait, nor for one that did next to nothing
 * since then: a thousand that hear the same message would each hold up all that come after them. */
#define MEMORY_PERIOD_US 500000
#define MEMORY_WORTH_US 3000

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

static void add_in_flight_locked(struct muster__worker *worker, struct muster__request *request)
{
    append_locked(&worker->shared.in_flight, request);
    worker->shared.in_flight_count++;
}

static void add_in_flight(struct muster__worker *worker, struct muster__request *request)
{
    pthread_mutex_lock(&worker->shared.lock);
    add_in_flight_locked(worker, request);
    pthread_mutex_unlock(&worker->shared.lock);
}

/* The first of a list is in flight from now on; NULL: the list is empty. */
static struct muster__request *begin_next(struct muster__worker *worker, struct worker_list *list)
{
    pthread_mutex_lock(&worker->shared.lock);
    struct muster__request *request = list->head;
    if (request) {
        list->head = request->next;
        if (!list->head)
            list->tail = NULL;
        add_in_flight_locked(worker, request);
    }
    pthread_mutex_unlock(&worker->shared.lock);
    return request;
}

/* Settles all of a list, from any thread.  They stay in it until they have ended. */
static void settle_list(struct muster__worker *worker, struct worker_list *list,
                        enum muster_status status, const struct muster_error *error)
{
    struct muster__request *some[WORKER_BATCH];
    for (;;) {
        size_t count = 0;
        pthread_mutex_lock(&worker->shared.lock);
        for (struct muster__request *at = list->head; at && count < WORKER_BATCH; at = at->next)
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
        worker->own.took_spare = true;
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

/* One that failed is not kept: its author may mend it. */
static void store_script(struct muster__worker *worker)
{
    _Atomic(struct muster__script *) *stored = worker->options.stored;
    struct muster__script *none = NULL;
    if (!stored || atomic_load(stored))
        return;
    muster__script_acquire(worker->own.script); /* the store's */
    if (!atomic_compare_exchange_strong(stored, &none, worker->own.script))
        muster__script_destroy(worker->own.script);
}

/* On the coordinator's authority; one that was ended meanwhile finds its slot taken from it. */
static void open_as_allowed(struct muster__worker *worker)
{
    if (worker->options.may_open && !worker->own.closing &&
        muster__worker_open(worker, muster__now_us()) && worker->options.listener->opened)
        worker->options.listener->opened(worker->options.user_data);
}

static void evaluated(struct muster__worker *worker, enum muster_status status,
                      const struct muster_error *error)
{
    if (worker->own.evaluated)
        return;
    worker->own.evaluated = true;
    if (status == MUSTER_OK) {
        store_script(worker);
        set_phase(worker, WORKER_RUNNING);
        open_as_allowed(worker);
    } else {
        worker->own.fatal = status;
    }
    worker->options.listener->started(worker->options.user_data, status, error);
}

/* A version runs what was stored when it was first loaded (Service Workers, "Run Service Worker"). */
static enum muster_status load_script(struct muster__worker *worker, struct muster_error *error)
{
    _Atomic(struct muster__script *) *stored = worker->options.stored;
    struct muster__script *script = stored ? atomic_load(stored) : NULL;
    if (script) {
        muster__script_acquire(script);
        worker->own.script = script;
        return MUSTER_OK;
    }
    return muster__loader_load(worker->options.loader, worker->options.script_url, NULL,
                               &worker->own.script, error);
}

static void start(struct muster__worker *worker)
{
    struct muster_error error = {0};
    struct muster__worker_options *options = &worker->options;
    enum muster_status status = load_script(worker, &error);
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
            .host_port = options->host_port,
            .port = options->port,
            .types_known = options->types_known,
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
    /* The engine knows only that it was interrupted. */
    if (status == MUSTER_TERMINATED && atomic_load(&worker->over_limit) &&
        !atomic_load(&worker->cancel_asked))
        status = MUSTER_TURN_LIMIT;
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
    if (muster__request_is_settled(request)) { /* canceled, or timed out, while it waited */
        muster__worker_realm_host.ended(worker, request);
        return;
    }
    worker->own.told_idle = false;
    atomic_store_explicit(&request->started, true, memory_order_release);
    if (!request->class->turn) {
        cut_short(worker, worker->options.engine->deliver(worker->own.realm, request));
        return;
    }
    muster__request_acquire(request); /* it may end in this turn */
    request->class->turn(request, true);
    cut_short(worker, worker->options.engine->deliver(worker->own.realm, request));
    request->class->turn(request, false);
    muster__request_release(request);
}

/* What is left when the turn is cut short stays in the list, for finish(). */
static void deliver_list(struct muster__worker *worker, struct worker_list *list)
{
    struct muster__request *request;
    while (may_run(worker) && (request = begin_next(worker, list)))
        deliver(worker, request);
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

/* Into a list of the worker's, so that they can be settled from outside when the first of them never
 * gives the thread back.  The number. */
static size_t take_requests(struct muster__worker *worker)
{
    struct muster__request *list =
        muster__slot_take(worker->options.slot, worker->options.incarnation, WORKER_BATCH);
    size_t count = 0;
    muster__slot_begun(worker->options.slot, list, worker->own.now_us);
    pthread_mutex_lock(&worker->shared.lock);
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        append_locked(&worker->shared.taken, request);
        count++;
    }
    pthread_mutex_unlock(&worker->shared.lock);
    return count;
}

/* True: there may be more. */
static bool run_requests(struct muster__worker *worker)
{
    if (!worker->options.slot || !atomic_load(&worker->opened) ||
        phase_of(worker) != WORKER_RUNNING || !may_run(worker))
        return false;
    size_t count = take_requests(worker);
    if (count)
        deliver_list(worker, &worker->shared.taken);
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
    if (!worker->own.memory.is_known && worker->own.memory.due_us < at_us)
        at_us = worker->own.memory.due_us; /* the first look comes even if nothing else does */
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

static void end_undelivered(struct muster__worker *worker, struct muster__request *request)
{
    request->next = request->previous = NULL;
    (void)muster__request_fail(request, MUSTER_TERMINATED, NULL);
    add_in_flight(worker, request);
    muster__worker_realm_host.ended(worker, request);
}

static struct muster__request *take_list(struct muster__worker *worker, struct worker_list *list)
{
    pthread_mutex_lock(&worker->shared.lock);
    struct muster__request *head = list->head;
    *list = (struct worker_list){NULL, NULL};
    pthread_mutex_unlock(&worker->shared.lock);
    return head;
}

static void end_undelivered_list(struct muster__worker *worker, struct muster__request *list)
{
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        end_undelivered(worker, request);
    }
}

/* What was taken from the slot and never began is not lost with this worker: the next one serves it. */
static void give_back_taken(struct muster__worker *worker)
{
    struct muster__request *list = take_list(worker, &worker->shared.taken);
    struct worker_list back = {NULL, NULL};
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        if (muster__request_is_settled(request))
            end_undelivered(worker, request);
        else
            append_locked(&back, request); /* a list of our own: no lock */
    }
    if (back.head &&
        !muster__slot_put_back(worker->options.slot, worker->options.incarnation, back.head))
        end_undelivered_list(worker, back.head);
}

static void take_inbox_apart(struct muster__worker *worker)
{
    pthread_mutex_lock(&worker->shared.lock);
    worker->shared.closed = true;
    worker->shared.notes = NULL;
    worker->shared.notes_end = &worker->shared.notes;
    pthread_mutex_unlock(&worker->shared.lock);
    end_undelivered_list(worker, take_list(worker, &worker->shared.control));
    give_back_taken(worker);
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

/* Who holds the other ends hears of it.  The ends themselves live as long as the worker's memory. */
static void close_ports(struct muster__worker *worker)
{
    if (worker->options.host_port)
        muster__port_close(worker->options.host_port);
    if (worker->options.port)
        muster__port_close(worker->options.port);
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
    settle_list(worker, &worker->shared.in_flight, status == MUSTER_OK ? MUSTER_TERMINATED : status,
                &error);
    orphan_calls(worker);
    take_inbox_apart(worker);
    destroy_ended_calls(worker);
    if (worker->own.realm)
        worker->options.engine->realm_destroy(worker->own.realm);
    close_ports(worker);
    end_in_flight(worker);
    muster__worker_drop_all_tokens(worker);
    if (worker->own.vm)
        worker->options.engine->vm_destroy(worker->own.vm);
    worker->own.realm = NULL;
    worker->own.vm = NULL;
    atomic_store(&worker->memory, 0);
    (void)muster__pool_timer_cancel(worker->options.pool, &worker->own.pool_timer);
    set_phase(worker, WORKER_DEAD);
    const struct muster__worker_report report = {
        .status = status, .error = status == MUSTER_OK ? NULL : &error, .turns = atomic_load(&worker->turns)};
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

/* Not while news wait, mail on a port say: the turn that reads them tells.  And not again after a turn that had news
 * alone: ports bring very many. */
static void tell_idle(struct muster__worker *worker)
{
    if (!worker->options.listener->idle || !worker->own.evaluated)
        return;
    bool is_idle = !muster__timers_count(&worker->own.timers) && !atomic_load(&worker->news) && holds_nothing(worker);
    if (is_idle && !worker->own.told_idle)
        worker->options.listener->idle(worker->options.user_data);
    worker->own.told_idle = is_idle;
}

/* Most turns find little here: only what is there is locked for. */
static void run_news(struct muster__worker *worker)
{
    unsigned news = atomic_load(&worker->news) ? atomic_exchange(&worker->news, 0) : 0;
    if (news & WORKER_NEWS_NOTES)
        run_notes(worker);
    if (news & WORKER_NEWS_CALLS)
        run_ended_calls(worker);
    if (news & WORKER_NEWS_CONTROL)
        deliver_list(worker, &worker->shared.control);
    if (news & WORKER_NEWS_CANCELS)
        run_cancels(worker);
}

/* ---- the CPU time of turns, for the statistics ----
 *
 * Asking for the thread's CPU time costs 0.3 to 0.6 us, as much as a small turn itself; the time of day a
 * tenth of it.  So a short turn counts by the latter, and the thread's clock is read when a long one has
 * ended, and before a turn when it was not read for a millisecond.  A long turn is charged what the thread
 * has used since then, which may be up to a millisecond of polling too much, and never more than it lasted. */

#define SHORT_TURN_US 100
#define METER_PERIOD_US 1000

static _Thread_local struct {
    uint64_t started_us;
    uint64_t cpu_us; /* of the thread when it was read, and the short turns since */
    uint64_t read_us;
} meter;

static void begin_metering(uint64_t now_us)
{
    meter.started_us = now_us;
    if (now_us - meter.read_us <= METER_PERIOD_US)
        return;
    meter.cpu_us = muster__thread_cpu_us();
    meter.read_us = now_us;
}

/* Of a long one, while the clocks say so. */
static uint64_t used_in_turn(uint64_t wall_us, uint64_t cpu_us)
{
    uint64_t used_us = cpu_us > meter.cpu_us ? cpu_us - meter.cpu_us : 0;
    return used_us < wall_us ? used_us : wall_us;
}

static uint64_t end_metering(void)
{
    uint64_t now_us = muster__now_us(), wall_us = now_us - meter.started_us;
    if (wall_us < SHORT_TURN_US) {
        meter.cpu_us += wall_us;
        return wall_us;
    }
    uint64_t cpu_us = muster__thread_cpu_us();
    uint64_t used_us = used_in_turn(wall_us, cpu_us);
    meter.cpu_us = cpu_us;
    meter.read_us = now_us;
    return used_us;
}

/* ---- memory in use ---- */

bool muster__worker_memory_is_due(struct worker_memory *memory, uint64_t now_us, uint64_t cpu_us)
{
    if (now_us < memory->due_us)
        return false;
    memory->due_us = now_us + MEMORY_PERIOD_US;
    if (memory->is_known && cpu_us - memory->cpu_us < MEMORY_WORTH_US)
        return false;
    memory->is_known = true;
    memory->cpu_us = cpu_us;
    return true;
}

/* The engine keeps the limit by itself; this is for placement and for people. */
static void sample_memory(struct muster__worker *worker)
{
    if (!may_run(worker) || worker->own.now_us < worker->own.memory.due_us)
        return;
    uint64_t turn_us = used_in_turn(muster__now_us() - meter.started_us, muster__thread_cpu_us());
    if (muster__worker_memory_is_due(&worker->own.memory, worker->own.now_us, atomic_load(&worker->cpu_us) + turn_us))
        atomic_store(&worker->memory, worker->options.engine->vm_memory(worker->own.vm));
}

static bool worker_turn(struct muster__actor *actor)
{
    struct muster__worker *worker = MUSTER_CONTAINER_OF(actor, struct muster__worker, actor);
    if (phase_of(worker) == WORKER_DEAD)
        return false;
    bool more = false;
    worker->own.now_us = muster__now_us();
    begin_metering(worker->own.now_us);
    atomic_store_explicit(&worker->turns, atomic_load_explicit(&worker->turns, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store(&worker->interrupted, false);
    if (!worker->own.loaded && may_run(worker)) {
        worker->own.loaded = true;
        worker->own.memory.due_us = worker->own.now_us + MEMORY_PERIOD_US;
        start(worker);
    }
    if (worker->own.realm) {
        run_timers(worker);
        run_news(worker);
        more = run_requests(worker);
        if (may_run(worker) && worker->options.engine->turn_end)
            cut_short(worker, worker->options.engine->turn_end(worker->own.realm));
        sample_memory(worker);
        arm_timer(worker);
    }
    if (worker->own.took_spare) { /* not sooner: nobody is woken for it while requests wait */
        worker->own.took_spare = false;
        muster__spare_refill(worker->options.spare);
    }
    if (worker->own.tells_closing) {
        worker->own.tells_closing = false;
        worker->options.listener->close_self(worker->options.user_data);
    }
    if (is_over(worker)) {
        finish(worker);
        return false;
    }
    tell_idle(worker);
    return more;
}

static bool metered_turn(struct muster__actor *actor)
{
    struct muster__worker *worker = MUSTER_CONTAINER_OF(actor, struct muster__worker, actor);
    const struct muster__worker_listener *listener = worker->options.listener;
    void *user_data = worker->options.user_data;
    meter.started_us = 0;
    if (listener->turn)
        listener->turn(user_data, true);
    bool more = worker_turn(actor);
    if (listener->turn && phase_of(worker) != WORKER_DEAD) /* `gone` is the last that it hears */
        listener->turn(user_data, false);
    if (meter.started_us)
        atomic_store_explicit(&worker->cpu_us,
                              atomic_load_explicit(&worker->cpu_us, memory_order_relaxed) + end_metering(),
                              memory_order_relaxed);
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
        atomic_store(&worker->over_limit, !canceled);
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
    if (!closed) {
        append_locked(&worker->shared.control, request);
        atomic_fetch_or(&worker->news, WORKER_NEWS_CONTROL);
    }
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
            atomic_fetch_or(&worker->news, WORKER_NEWS_CANCELS);
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
    settle_list(worker, &worker->shared.in_flight, MUSTER_TERMINATED, NULL);
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
    set_phase(worker, WORKER_CANCELING);
    atomic_store(&worker->cancel_asked, true); /* first: nothing more begins */
    settle_list(worker, &worker->shared.in_flight, MUSTER_WEDGED, &error);
    settle_list(worker, &worker->shared.taken, MUSTER_WEDGED, &error);
    settle_list(worker, &worker->shared.control, MUSTER_WEDGED, &error);
    settle_list(worker, &worker->shared.in_flight, MUSTER_WEDGED, &error); /* it moved in between */
    muster_error_clean_up(&error);
    close_ports(worker);
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
        .turns = atomic_load(&worker->turns),
        .cpu_us = atomic_load(&worker->cpu_us),
        .memory = atomic_load(&worker->memory),
        .waits = muster__actor_waits(&worker->actor),
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
    muster__worker_options_clean_up(&worker->options);
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

bool muster__worker_options_copy(struct muster__worker_options *own, const struct muster__worker_options *options)
{
    *own = *options;
    own->script_url = muster__strdup(options->script_url);
    own->name = muster__strdup(options->name ? options->name : "");
    own->scope = muster__strdup(options->scope);
    if (own->slot)
        muster__slot_acquire(own->slot);
    if (own->bindings)
        muster_bindings_acquire(own->bindings);
    muster__port_account_acquire(own->ports);
    if (own->script_url && own->name && (own->scope || !options->scope))
        return true;
    own->host_port = own->port = NULL;
    return false;
}

void muster__worker_options_clean_up(struct muster__worker_options *own)
{
    muster__slot_release(own->slot);
    muster_bindings_release(own->bindings);
    muster__port_account_release(own->ports);
    muster__port_release(own->host_port);
    muster__port_release(own->port);
    free((char *)own->script_url);
    free((char *)own->name);
    free((char *)own->scope);
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
    muster__actor_init(&worker->actor, metered_turn);
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
    if (!muster__worker_options_copy(&worker->options, options)) {
        destroy(worker);
        return MUSTER_NO_MEMORY;
    }
    if (!worker->options.limits.turn_us)
        worker->options.limits.turn_us = CPU_LIMIT_DEFAULT_US;
    if (!worker->options.limits.wedged_us)
        worker->options.limits.wedged_us = WEDGED_DEFAULT_US;
    *ret_worker = worker;
    muster__worker_wake(worker);
    return MUSTER_OK;
}
