/* runtime/worker_host.c - what a realm asks of its worker: struct muster__realm_host.
 *
 * Thread: the one in the worker's turn, but for note_post and the end of host calls, which come from any
 * thread and only put things into the inbox. */
#include "runtime/loader_web.h"
#include "runtime/worker_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void host_console(struct muster__worker *worker, enum muster_log_level level, const char *text,
                         size_t length)
{
    worker->options.listener->console(worker->options.user_data, level, text, length);
}

static void host_report(struct muster__worker *worker, const struct muster_error *error)
{
    if (error->status == MUSTER_CANCELED)
        return; /* whoever asked went away, which the script need not expect, and could be made to say for ever */
    worker->options.listener->report(worker->options.user_data, error);
}

/* ---- timers ---- */

static uint32_t host_timer_set(struct muster__worker *worker, uint64_t delay_us, bool repeat)
{
    uint64_t now_us = muster__now_us();
    /* A repeating timer without any time in between would never let the turn end. */
    uint64_t period_us = repeat ? (delay_us ? delay_us : 1000) : 0;
    uint32_t id = 0; /* refused when out of memory */
    if (muster__timers_set(&worker->own.timers, now_us + delay_us, period_us, &id) != MUSTER_OK)
        return 0;
    atomic_store(&worker->timer_count, (unsigned)muster__timers_count(&worker->own.timers));
    return id;
}

static void host_timer_clear(struct muster__worker *worker, uint32_t id)
{
    (void)muster__timers_clear(&worker->own.timers, id);
    atomic_store(&worker->timer_count, (unsigned)muster__timers_count(&worker->own.timers));
}

static uint64_t host_now_us(struct muster__worker *worker)
{
    (void)worker;
    return muster__now_us();
}

/* ---- requests ---- */

static void host_settle(struct muster__worker *worker, struct muster__request *request,
                        const struct muster__outcome *outcome)
{
    (void)worker;
    (void)muster__request_settle(request, outcome);
}

static void unlink_in_flight_locked(struct muster__worker *worker, struct muster__request *request)
{
    struct worker_list *list = &worker->shared.in_flight;
    *(request->previous ? &request->previous->next : &list->head) = request->next;
    *(request->next ? &request->next->previous : &list->tail) = request->previous;
    request->next = request->previous = NULL;
    worker->shared.in_flight_count--;
}

static void host_ended(struct muster__worker *worker, struct muster__request *request)
{
    pthread_mutex_lock(&worker->shared.lock);
    unlink_in_flight_locked(worker, request);
    pthread_mutex_unlock(&worker->shared.lock);
    if (request->holds_slot)
        muster__slot_ended(worker->options.slot, worker->options.incarnation, request,
                           worker->own.now_us);
    else
        muster__request_release(request);
}

/* ---- tokens ---- */

static bool reserve_token_locked(struct muster__worker *worker)
{
    if (worker->shared.token_count < worker->shared.token_capacity)
        return true;
    size_t capacity = worker->shared.token_capacity ? worker->shared.token_capacity * 2 : 8;
    struct worker_token *tokens = realloc(worker->shared.tokens, capacity * sizeof(*tokens));
    if (!tokens)
        return false;
    worker->shared.tokens = tokens;
    worker->shared.token_capacity = capacity;
    return true;
}

/* What a handler does for another worker's sake keeps this one alive as long as that one; 0: a full idle time. */
static uint64_t token_until_locked(const struct muster__worker *worker)
{
    uint64_t until_us = 0;
    for (const struct muster__request *at = worker->shared.in_flight.head; at; at = at->next) {
        if (!at->keepalive_until_us)
            return 0;
        until_us = at->keepalive_until_us > until_us ? at->keepalive_until_us : until_us;
    }
    return until_us;
}

static uint32_t host_token_take(struct muster__worker *worker, const char *name)
{
    char *copy = muster__strdup(name ? name : "");
    uint32_t id = 0;
    pthread_mutex_lock(&worker->shared.lock);
    uint64_t until_us = token_until_locked(worker);
    if (copy && reserve_token_locked(worker)) {
        id = ++worker->shared.next_token ? worker->shared.next_token : ++worker->shared.next_token;
        worker->shared.tokens[worker->shared.token_count++] =
            (struct worker_token){.id = id, .name = copy, .since_us = worker->own.now_us};
    }
    pthread_mutex_unlock(&worker->shared.lock);
    if (!id) {
        free(copy);
        return 0;
    }
    if (worker->options.slot)
        muster__slot_hold(worker->options.slot, worker->options.incarnation, worker->own.now_us, until_us);
    if (worker->options.listener->hold)
        worker->options.listener->hold(worker->options.user_data, true, until_us);
    return id;
}

static void host_token_drop(struct muster__worker *worker, uint32_t token)
{
    char *name = NULL;
    pthread_mutex_lock(&worker->shared.lock);
    for (size_t i = 0; i < worker->shared.token_count && !name; i++) {
        if (worker->shared.tokens[i].id != token)
            continue;
        name = worker->shared.tokens[i].name;
        worker->shared.tokens[i] = worker->shared.tokens[--worker->shared.token_count];
    }
    pthread_mutex_unlock(&worker->shared.lock);
    if (name && worker->options.slot)
        muster__slot_unhold(worker->options.slot, worker->options.incarnation);
    if (name && worker->options.listener->hold)
        worker->options.listener->hold(worker->options.user_data, false, 0);
    free(name);
}

void muster__worker_drop_all_tokens(struct muster__worker *worker)
{
    while (worker->shared.token_count)
        host_token_drop(worker, worker->shared.tokens[worker->shared.token_count - 1].id);
}

/* ---- scripts ---- */

static enum muster_status host_load(struct muster__worker *worker, const char *url,
                                    struct muster__script **ret_script, struct muster_error *error)
{
    return muster__loader_load(worker->options.loader, url,
                               worker->own.script ? worker->own.script->url : NULL, ret_script, error);
}

/* ---- host calls: `worker` holds one reference for each that is open ---- */

static void call_ended(struct muster_host_call *call, void *user_data)
{
    struct muster__worker *worker = user_data;
    pthread_mutex_lock(&worker->shared.lock);
    bool closed = worker->shared.closed;
    if (!closed) {
        call->next = worker->shared.ended_calls;
        worker->shared.ended_calls = call;
        atomic_fetch_or(&worker->news, WORKER_NEWS_CALLS);
    }
    pthread_mutex_unlock(&worker->shared.lock);
    if (closed)
        muster__host_call_destroy(call);
    else
        muster__worker_wake(worker);
    muster__worker_release(worker);
}

void muster__worker_forget_open_call(struct muster__worker *worker, const struct muster_host_call *call)
{
    for (size_t i = 0; i < worker->own.open_count; i++)
        if (worker->own.open_calls[i] == call) {
            worker->own.open_calls[i] = worker->own.open_calls[--worker->own.open_count];
            return;
        }
}

static bool reserve_open_call(struct muster__worker *worker)
{
    if (worker->own.open_count < worker->own.open_capacity)
        return true;
    size_t capacity = worker->own.open_capacity ? worker->own.open_capacity * 2 : 8;
    struct muster_host_call **calls =
        realloc(worker->own.open_calls, capacity * sizeof(struct muster_host_call *));
    if (!calls)
        return false;
    worker->own.open_calls = calls;
    worker->own.open_capacity = capacity;
    return true;
}

static void host_call_open(struct muster__worker *worker, struct muster_host_call *call)
{
    MUSTER_CHECK(reserve_open_call(worker)); /* the embedder holds the call: there is no way back */
    worker->own.open_calls[worker->own.open_count++] = call;
    /* The token keeps its number in the call, which is the only one to need it. */
    call->token = host_token_take(worker, call->name);
    muster__worker_acquire(worker);
    if (muster__host_call_open(call, call_ended, worker))
        return;
    call_ended(call, worker); /* it ended in between, and nobody was told */
}

/* ---- notes ---- */

static void host_note_post(struct muster__worker *worker, struct muster__note *note)
{
    bool wake = false;
    pthread_mutex_lock(&worker->shared.lock);
    if (!worker->shared.closed && !atomic_exchange(&note->posted, true)) {
        note->next = NULL;
        *worker->shared.notes_end = note;
        worker->shared.notes_end = &note->next;
        atomic_fetch_or(&worker->news, WORKER_NEWS_NOTES);
        wake = true;
    }
    pthread_mutex_unlock(&worker->shared.lock);
    if (wake)
        muster__worker_wake(worker);
}

static void host_note_cancel(struct muster__worker *worker, struct muster__note *note)
{
    pthread_mutex_lock(&worker->shared.lock);
    for (struct muster__note **at = &worker->shared.notes; *at; at = &(*at)->next) {
        if (*at != note)
            continue;
        *at = note->next;
        if (!note->next)
            worker->shared.notes_end = at;
        break;
    }
    atomic_store(&note->posted, false);
    pthread_mutex_unlock(&worker->shared.lock);
}

/* ---- the rest ---- */

static void host_skip_waiting(struct muster__worker *worker)
{
    worker->options.listener->skip_waiting(worker->options.user_data);
}

static void host_close(struct muster__worker *worker)
{
    worker->own.tells_closing = !worker->own.closing; /* after what the script still reports in this turn */
    worker->own.closing = true;
}

static enum muster_status host_dispatch(struct muster__worker *worker, const char *scope,
                                        struct muster__request *request)
{
    if (!worker->options.listener->dispatch)
        return MUSTER_UNSUPPORTED;
    /* Two workers that talk to each other must not stretch each other's lives for ever: what this one
     * sends keeps the other alive only as long as it is alive itself. */
    uint64_t until_us = worker->options.slot
                            ? muster__slot_sample(worker->options.slot).granted_until_us
                            : 0;
    return worker->options.listener->dispatch(worker->options.user_data, scope, request, until_us);
}

static void host_dispatch_cancel(struct muster__worker *worker, struct muster__request *request)
{
    if (worker->options.listener->dispatch_canceled)
        worker->options.listener->dispatch_canceled(worker->options.user_data, request);
}

static const struct muster__slot_calls slot_calls = {
    .acquire = muster__slot_acquire, .release = muster__slot_release, .cancel = muster__slot_cancel};

static enum muster_status host_port_pair(struct muster__worker *worker, struct muster__port *ret_ends[2])
{
    return muster__port_pair_on(worker->options.ports, ret_ends);
}

const struct muster__realm_host muster__worker_realm_host = {
    .console = host_console,
    .report = host_report,
    .timer_set = host_timer_set,
    .timer_clear = host_timer_clear,
    .now_us = host_now_us,
    .settle = host_settle,
    .ended = host_ended,
    .token_take = host_token_take,
    .token_drop = host_token_drop,
    .load = host_load,
    .host_call_open = host_call_open,
    .note_post = host_note_post,
    .note_cancel = host_note_cancel,
    .slots = &slot_calls,
    .skip_waiting = host_skip_waiting,
    .close = host_close,
    .dispatch = host_dispatch,
    .dispatch_cancel = host_dispatch_cancel,
    .port_pair = host_port_pair,
    .web = &muster__web,
};
