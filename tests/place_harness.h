/* tests/place_harness.h - for tests that play the coordinator: a place is a scope with its slot and the worker that
 * serves it, wherever that lives; an errand is a request that is sent there.
 *
 * The listener runs on other threads.  What it hears is written under `lock`, and the test's thread waits for that,
 * never for time. */
#ifndef PLACE_HARNESS_H
#define PLACE_HARNESS_H

#include "remote/service.h"
#include "runtime/engine_table.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

#define WAIT_FOR(condition)                                                                         \
    do {                                                                                            \
        pthread_mutex_lock(&lock);                                                                  \
        while (!(condition))                                                                        \
            pthread_cond_wait(&changed, &lock);                                                     \
        pthread_mutex_unlock(&lock);                                                                \
    } while (0)

#define TELL(statement)                                                                             \
    do {                                                                                            \
        pthread_mutex_lock(&lock);                                                                  \
        statement;                                                                                  \
        pthread_cond_broadcast(&changed);                                                           \
        pthread_mutex_unlock(&lock);                                                                \
    } while (0)

static struct muster__pool *pool;
static struct muster__service *service;

struct place {
    struct muster__slot *slot;
    uint32_t incarnation;
    struct muster__remote_worker *worker;
    struct muster__loader loader;
    const char *engine, *script_url;
    int started, gone;
    enum muster_status start_status, gone_status;
    char start_error[512], gone_error[4096], console[8192];
    uint64_t console_bytes;
};

static struct place *dispatch_to; /* whom workers may dispatch to, as "/other/"; NULL: nobody */

/* ---- the listener ---- */

static inline void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct place *place = user_data;
    TELL({
        place->start_status = status;
        snprintf(place->start_error, sizeof place->start_error, "%s",
                 error && error->message ? error->message : "");
        place->started++;
    });
}

/* The first lines are kept, of a flood only the number of bytes. */
static inline void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    struct place *place = user_data;
    (void)level;
    TELL({
        size_t used = strlen(place->console);
        if (used < sizeof place->console / 2)
            snprintf(place->console + used, sizeof place->console - used, "%.*s\n",
                     (int)(length < 1024 ? length : 1024), text);
        place->console_bytes += length;
    });
}

static inline void on_report(void *user_data, const struct muster_error *error)
{
    (void)user_data;
    (void)error;
}

static inline void on_nothing(void *user_data)
{
    (void)user_data;
}

static inline void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct place *place = user_data;
    TELL({
        place->gone_status = report->status;
        snprintf(place->gone_error, sizeof place->gone_error, "%s",
                 report->error && report->error->message ? report->error->message : "");
        place->gone++;
    });
}

static inline enum muster_status on_dispatch(void *user_data, const char *scope, struct muster__request *request,
                                             uint64_t keepalive_until_us)
{
    (void)user_data;
    (void)keepalive_until_us;
    if (!dispatch_to || strcmp(scope, "/other/") != 0)
        return MUSTER_NOT_FOUND;
    return muster__slot_post(dispatch_to->slot, request, muster__now_us());
}

/* To the same, for the client "mine". */
static inline enum muster_status on_fetch(void *user_data, struct muster__request *request, uint64_t keepalive_until_us)
{
    bool is_mine = request->http.client_id.length == 4 && memcmp(request->http.client_id.data, "mine", 4) == 0;
    return is_mine ? on_dispatch(user_data, "/other/", request, keepalive_until_us) : MUSTER_NOT_FOUND;
}

static const struct muster__worker_listener listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_nothing,
    .close_self = on_nothing,
    .wedged = on_nothing,
    .idle = on_nothing,
    .dispatch = on_dispatch,
    .fetch = on_fetch,
    .gone = on_gone,
};

/* ---- workers ---- */

static inline void want_nothing(struct muster__slot *slot, void *user_data)
{
    (void)slot;
    (void)user_data;
}

/* Without a script; the caller says which. */
static inline void init_place(struct place *place)
{
    /* Nobody's time is over here, however slow the machine: what a worker sends then wakes nobody. */
    const struct muster__slot_options options = {
        .queue_limit = 100000, .idle_us = 3600000000, .want = want_nothing, .user_data = place};
    memset(place, 0, sizeof *place);
    place->slot = muster__slot_new(&options);
    ck_assert_ptr_nonnull(place->slot);
}

/* On a host that is what `request` asks for, a new process if there is none. */
static inline void place_worker(struct place *place, struct muster_placement_request request,
                                struct muster__worker_limits limits, struct muster_bindings *bindings)
{
    uint32_t host = 0;
    request.size = sizeof request;
    request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS);
    ck_assert_int_eq(muster__service_place(service, &request, muster__now_us(), &host), MUSTER_OK);
    place->incarnation = muster__slot_attach(place->slot);
    place->started = place->gone = 0;
    const struct muster__worker_options options = {
        .engine = muster__engine_find(place->engine, NULL),
        .loader = &place->loader,
        .type = MUSTER__WORKER_SERVICE,
        .script_url = place->script_url,
        .name = "/worker/",
        .scope = "/worker/",
        .bindings = bindings,
        .limits = limits,
        .slot = place->slot,
        .incarnation = place->incarnation,
        .listener = &listener,
        .user_data = place,
    };
    ck_assert_ptr_nonnull(options.engine);
    ck_assert_int_eq(muster__service_start(service, host, &options, &place->worker), MUSTER_OK);
}

/* False: it has gone meanwhile. */
static inline bool open_worker(struct place *place)
{
    WAIT_FOR(place->started || place->gone);
    ck_assert_msg(place->start_status == MUSTER_OK, "%s", place->start_error);
    return place->started && place->worker->class->open(place->worker, muster__now_us());
}

static inline void wait_gone(struct place *place)
{
    WAIT_FOR(place->gone);
    ck_assert_int_eq(place->gone, 1);
    (void)muster__slot_vacate(place->slot, place->incarnation);
    muster__service_gone(service, place->worker, place->gone_status, muster__now_us());
    place->worker = NULL;
}

static inline void stop_worker(struct place *place)
{
    place->worker->class->stop(place->worker);
    wait_gone(place);
}

static inline void release_place(struct place *place)
{
    struct muster__request *list = muster__slot_close(place->slot);
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        (void)muster__request_fail(request, MUSTER_SHUTDOWN, NULL);
        muster__slot_drop(place->slot, request);
    }
    muster__slot_release(place->slot);
}

/* ---- requests ---- */

struct errand {
    struct muster__request request;
    int settled, destroyed;
    enum muster_status status;
    int status_code;
    char text[4096], error[4096], name[64];
    struct muster_stream *body;
    struct muster_value *value;
};

static inline void errand_settled(struct muster__request *base, const struct muster__outcome *outcome)
{
    struct errand *errand = MUSTER_CONTAINER_OF(base, struct errand, request);
    const struct muster_http_response *response = outcome->response;
    TELL({
        errand->status = outcome->status;
        snprintf(errand->error, sizeof errand->error, "%s",
                 outcome->error && outcome->error->message ? outcome->error->message : "");
        if (outcome->value)
            errand->value = muster_value_acquire(outcome->value);
        if (response)
            errand->status_code = response->status_code;
        if (response && response->body.length)
            snprintf(errand->text, sizeof errand->text, "%.*s", (int)response->body.length, response->body.data);
        if (response && response->body_stream)
            errand->body = muster_stream_acquire(response->body_stream);
        errand->settled++;
    });
}

static inline void errand_destroyed(struct muster__request *base)
{
    struct errand *errand = MUSTER_CONTAINER_OF(base, struct errand, request);
    TELL(errand->destroyed++);
}

static const struct muster__request_class errand_class = {errand_settled, errand_destroyed, NULL};

static inline struct muster_bytes text(const char *from)
{
    return (struct muster_bytes){from, strlen(from)};
}

static inline void init_errand(struct errand *errand, enum muster__request_kind kind, const char *name)
{
    memset(errand, 0, sizeof *errand);
    snprintf(errand->name, sizeof errand->name, "%s", name);
    muster__request_init(&errand->request, &errand_class, kind, errand->name);
    errand->request.received_us = muster__now_us();
}

static inline void post(struct place *place, struct errand *errand)
{
    ck_assert_int_eq(muster__slot_post(place->slot, &errand->request, muster__now_us()), MUSTER_OK);
    muster__request_release(&errand->request);
}

static inline void fetch(struct place *place, struct errand *errand, const char *url, struct muster_stream *body)
{
    init_errand(errand, MUSTER__REQUEST_FETCH, "fetch");
    errand->request.http.method = text(body ? "POST" : "GET");
    errand->request.http.url = text(url);
    errand->request.http.body_stream = body;
    post(place, errand);
}

static inline void finish_errand(struct errand *errand)
{
    WAIT_FOR(errand->settled && errand->destroyed);
    ck_assert_int_eq(errand->settled, 1);
    ck_assert_int_eq(errand->destroyed, 1);
    if (errand->body)
        muster_stream_abort(errand->body, MUSTER_CANCELED, NULL);
    muster_stream_release(errand->body);
    muster_value_release(errand->value);
}

#endif
