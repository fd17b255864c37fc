/* coordinator/coordinator.c - the coordinator: it feeds the core and does what the core says.
 *
 * It runs no script and waits for no worker.  Messages come from any thread into one inbox, each in its
 * sender's memory; a round takes all of them, feeds the core an event for each and performs the actions;
 * what an action answers at once is fed after the actions of its step.  The scope map is published once
 * a round, before any job of that round settles.
 *
 * Rounds run in a role that one thread has at a time.  The coordinator's own thread takes it for whatever
 * must not depend on the pool: deadlines, jobs, the shutdown.  For the rest a turn of the pool (the helper)
 * does as well, and saves waking a thread on the way to a worker and back: what a pool thread tells, and
 * what wants a worker, waits for that turn when the pool is free, and is found by the coordinator's thread
 * in its next round otherwise, or when the turn is late. */
#include "coordinator/clients.h"
#include "coordinator/context.h"
#include "coordinator/context_worker.h"
#include "coordinator/hosting.h"
#include "coordinator/registrations.h"
#include "coordinator/store_keeper.h"
#include "coordinator/sync.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One running of a version: the driver's record.  References: the map's, one for each message that is
 * posted, and one for the worker until it is gone. */
struct muster__instance {
    atomic_uint references;
    uint64_t id;
    struct muster *muster;
    struct muster__version *version;
    struct muster__remote_worker *worker; /* coordinator */
    struct muster__context *context;      /* coordinator: what its script asks with; NULL: it ended */
    uint32_t host;
    uint32_t incarnation;
    uint64_t started_us; /* when it was given to its host; 0: not yet */
    char *held;          /* coordinator: what held it past its idle time, when last looked; NULL: nothing */
    uint64_t held_us;    /* when that was */
    bool attached, opened;
    struct muster__id_node node; /* in the map */

    /* Two, because the first may still be ending when the second is sent. */
    struct muster__lifecycle {
        struct muster__request request;
        struct muster__message ended;
        struct muster__instance *instance;
        enum muster_status status;
    } install, activate;

    enum muster_status started_status, gone_status;
    struct muster_error told_error;    /* the worker's, until `started` or `install.ended` has come */
    struct muster_error started_error; /* coordinator: why it did not start, or not install */
    struct muster__message started, skip_waiting, close_self, wedged, gone;
};

/* ---- the inbox ---- */

static _Thread_local bool is_coordinator;

bool muster__coordinator_is_current(void)
{
    return is_coordinator;
}

static bool post_locked(struct muster *muster, struct muster__message *message)
{
    bool news = !message->posted;
    if (news) {
        message->posted = true;
        message->next = NULL;
        *muster->inbox.tail = message;
        muster->inbox.tail = &message->next;
    }
    return news;
}

static void call_locked(struct muster *muster)
{
    muster->inbox.called = true;
    pthread_cond_signal(&muster->inbox.wake);
}

bool muster__coordinator_post(struct muster *muster, struct muster__message *message)
{
    pthread_mutex_lock(&muster->inbox.lock);
    bool news = post_locked(muster, message);
    if (news)
        call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
    return news;
}

/* For what a turn of the pool may do as well. */
static bool post_to_helper(struct muster *muster, struct muster__message *message)
{
    if (atomic_load(&muster->closing) || !muster__pool_is_free(muster->pool))
        return muster__coordinator_post(muster, message);
    pthread_mutex_lock(&muster->inbox.lock);
    bool news = post_locked(muster, message);
    pthread_mutex_unlock(&muster->inbox.lock);
    if (news)
        muster__pool_schedule(muster->pool, &muster->helper);
    return news;
}

bool muster__coordinator_post_soon(struct muster *muster, struct muster__message *message)
{
    return (muster__pool_is_current(muster->pool) ? post_to_helper : muster__coordinator_post)(muster, message);
}

static void instance_release(struct muster__instance *instance);

static void post_from_instance(struct muster__instance *instance, struct muster__message *message)
{
    atomic_fetch_add(&instance->references, 1);
    if (!muster__coordinator_post_soon(instance->muster, message))
        instance_release(instance);
}

static void instance_release(struct muster__instance *instance)
{
    if (atomic_fetch_sub(&instance->references, 1) != 1)
        return;
    muster_error_clean_up(&instance->told_error);
    muster_error_clean_up(&instance->started_error);
    muster__version_release(instance->version);
    free(instance->held);
    free(instance);
}

/* ---- versions and instances by their numbers ---- */

static struct muster__version *find_version(struct muster *muster, uint32_t id)
{
    struct muster__id_node *node = muster__id_map_find(&muster->own.versions, id);
    return node ? MUSTER_CONTAINER_OF(node, struct muster__version, node) : NULL;
}

static struct muster__instance *find_instance(struct muster *muster, uint64_t id)
{
    struct muster__id_node *node = muster__id_map_find(&muster->own.instances, id);
    return node ? MUSTER_CONTAINER_OF(node, struct muster__instance, node) : NULL;
}

/* NULL: the first, and the end. */
static struct muster__instance *next_instance(struct muster *muster, struct muster__instance *instance)
{
    struct muster__id_node *node = muster__id_map_next(&muster->own.instances, instance ? &instance->node : NULL);
    return node ? MUSTER_CONTAINER_OF(node, struct muster__instance, node) : NULL;
}

static struct muster__instance_view view_of(const struct muster__instance *instance)
{
    return (struct muster__instance_view){.id = instance->id,
                                          .version = instance->version,
                                          .worker = instance->worker,
                                          .started_us = instance->started_us};
}

bool muster__coordinator_view(struct muster *muster, uint64_t id, struct muster__instance_view *ret_view)
{
    const struct muster__instance *instance = id ? find_instance(muster, id) : NULL;
    if (instance)
        *ret_view = view_of(instance);
    return instance != NULL;
}

void muster__coordinator_each(struct muster *muster,
                              void (*see)(const struct muster__instance_view *view, void *user_data), void *user_data)
{
    for (struct muster__instance *at = next_instance(muster, NULL); at; at = next_instance(muster, at)) {
        const struct muster__instance_view view = view_of(at);
        see(&view, user_data);
    }
}

/* ---- events to the core ---- */

static void feed(struct muster *muster, const struct muster__core_event *event);

/* Fed after the actions of this step. */
static void answer(struct muster *muster, struct muster__core_event event)
{
    if (event.scope) { /* until then */
        event.scope = muster__strdup(event.scope);
        MUSTER_CHECK(event.scope);
    }
    if (muster->own.pending_count == muster->own.pending_capacity) {
        size_t capacity = muster->own.pending_capacity ? muster->own.pending_capacity * 2 : 32;
        struct muster__core_event *pending = realloc(muster->own.pending, capacity * sizeof(*pending));
        /* An answer that is lost would leave the core waiting; its own deadlines would find it late. */
        MUSTER_CHECK(pending);
        muster->own.pending = pending;
        muster->own.pending_capacity = capacity;
    }
    muster->own.pending[muster->own.pending_count++] = event;
}

void muster__coordinator_feed(struct muster *muster, const struct muster__core_event *event)
{
    if (muster->own.stepping)
        answer(muster, *event);
    else
        feed(muster, event);
}

/* ---- workers that scripts make ---- */

/* Odd: no handle's address. */
uint64_t muster__coordinator_own_job(struct muster *muster)
{
    return ++muster->own.next_plain * 2 + 1;
}

static bool is_own_job(uint64_t job)
{
    return job & 1;
}

struct muster__version *muster__coordinator_version(struct muster *muster, uint64_t id)
{
    return id && id <= UINT32_MAX ? find_version(muster, (uint32_t)id) : NULL;
}

void muster__coordinator_add(struct muster *muster, struct muster__version *version)
{
    version->node.id = version->id;
    muster__id_map_add(&muster->own.versions, &muster__version_acquire(version)->node);
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_REGISTER,
                                                                  .job = muster__coordinator_own_job(muster),
                                                                  .version = version->id,
                                                                  .scope = version->key,
                                                                  .script = version->identity,
                                                                  .lazy = true,
                                                                  .plain = true,
                                                                  .idle_us = version->idle_us});
}

void muster__coordinator_restore(struct muster *muster, struct muster__version *version,
                                 const struct muster__core_event *event)
{
    struct muster__core_event full = *event;
    version->node.id = version->id;
    muster__id_map_add(&muster->own.versions, &muster__version_acquire(version)->node);
    full.job = muster__coordinator_own_job(muster);
    full.version = version->id;
    full.scope = version->scope;
    full.script = version->identity;
    full.idle_us = version->idle_us;
    feed(muster, &full);
}

void muster__coordinator_drop(struct muster *muster, struct muster__version *version, bool at_once)
{
    if (!muster->own.core_closed)
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_RELEASE,
                                                                      .version = version->id,
                                                                      .force = at_once});
}

/* The version's worker is dying: once. */
static void lose(struct muster__version *version, enum muster_status status, const struct muster_error *error)
{
    if (version->worker)
        muster__context_worker_lost(version->worker, status, error);
}

void muster__coordinator_use(struct muster *muster, struct muster__version *version, bool begins)
{
    if (!muster->own.core_closed)
        muster__coordinator_feed(muster, &(struct muster__core_event){
                                             .kind = begins ? MUSTER__CORE_USE : MUSTER__CORE_UNUSE,
                                             .version = version->id});
}

enum muster_status muster__coordinator_send(struct muster *muster, struct muster__version *version,
                                            struct muster__request *request)
{
    struct muster__instance *instance = find_instance(muster, version->instance);
    const char *state = atomic_load(&version->state);
    bool inactive = strcmp(state, "installing") == 0 || strcmp(state, "installed") == 0 ||
                    strcmp(state, "activating") == 0; /* which may wait for this very message */
    if (!inactive || !instance || !instance->worker)
        return muster__post(version, request, muster__now_us());
    instance->worker->class->control(instance->worker, request); /* its slot opens when it is active */
    return MUSTER_OK;
}

static void close_context(struct muster__instance *instance)
{
    struct muster__context *context = instance->context;
    instance->context = NULL;
    if (context)
        muster__context_close(context);
    muster__context_release(context);
}

/* *ret_port is its script's end. */
static enum muster_status open_context(struct muster__instance *instance, struct muster__port **ret_port)
{
    struct muster__version *version = instance->version;
    const struct muster__context_options options = {
        .type = version->type,
        .url = muster__version_url(version),
        .storage_key = version->storage_key,
        .name = version->name,
        .version = version,
        .controller = version->worker ? version->worker->controller : NULL,
        .place = version->worker ? version->worker->place : NULL,
        .instance = instance->id,
    };
    struct muster__port *ends[2];
    enum muster_status status = muster__port_pair(ends);
    if (status != MUSTER_OK)
        return status;
    instance->context = muster__context_new(instance->muster, &options);
    status = instance->context ? muster__context_open(instance->context, &ends[1]) : MUSTER_NO_MEMORY;
    if (status == MUSTER_OK) {
        *ret_port = ends[0];
        return MUSTER_OK;
    }
    close_context(instance);
    muster__port_release(ends[0]);
    muster__port_release(ends[1]);
    return status;
}

/* ---- what a worker tells ---- */

static void on_opened(void *user_data)
{
    struct muster__instance *instance = user_data;
    instance->opened = true; /* read when `started` or `gone` has come */
    atomic_fetch_add(&instance->muster->counters.running, 1); /* before anybody has its first answer */
}

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct muster__instance *instance = user_data;
    instance->started_status = status;
    if (status != MUSTER_OK && error)
        muster_error_copy(&instance->told_error, error);
    post_from_instance(instance, &instance->started);
}

/* What the worker's thread wrote is read here, once the message that follows it has come. */
static void take_told_error(struct muster__instance *instance, enum muster_status status)
{
    if (!instance->told_error.message)
        return;
    muster_error_clean_up(&instance->started_error);
    instance->started_error = instance->told_error;
    instance->started_error.status = status;
    instance->told_error = (struct muster_error){0};
}

/* "what: file:3:7: Name: message", and the stack below; `error` may be empty, or NULL. */
static void log_error(struct muster__instance *instance, const char *what, enum muster_status status,
                      const struct muster_error *error)
{
    static const struct muster_error nothing;
    char place[32] = "";
    if (!error)
        error = &nothing;
    if (error->file)
        snprintf(place, sizeof(place), error->column > 0 ? ":%d:%d: " : error->line > 0 ? ":%d: " : ": ",
                 error->line, error->column);
    muster__log(instance->muster, MUSTER_LOG_ERROR, instance->version->scope, "%s%s%s%s%s%s%s%s", what,
                error->file ? error->file : "", place, error->name ? error->name : "",
                error->name ? ": " : "", error->message ? error->message : muster_status_sentence(status),
                error->stack && *error->stack ? "\n" : "", error->stack ? error->stack : "");
}

static void run_started(struct muster__message *message, struct muster *muster)
{
    struct muster__instance *instance = MUSTER_CONTAINER_OF(message, struct muster__instance, started);
    take_told_error(instance, instance->started_status);
    if (instance->started_status != MUSTER_OK) {
        atomic_fetch_add(&muster->counters.start_failures, 1);
        log_error(instance, "", instance->started_status, &instance->started_error);
    }
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_STARTED,
                                              .instance = instance->id,
                                              .status = instance->started_status,
                                              .ok = instance->opened});
    if (instance->started_status == MUSTER_OK && instance->version->worker)
        muster__context_worker_started(instance->version->worker);
    instance_release(instance);
}

static void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    struct muster__instance *instance = user_data;
    struct muster *muster = instance->muster;
    if (muster->options.console)
        muster->options.console(instance->version->scope, level, (struct muster_bytes){text, length},
                                muster->options.user_data);
    else
        muster__log(muster, level, instance->version->scope, "%.*s", (int)length, text);
}

struct report {
    struct muster__message message;
    struct muster__instance *instance; /* a reference */
    struct muster_error error;
};

static void run_report(struct muster__message *message, struct muster *muster)
{
    struct report *report = MUSTER_CONTAINER_OF(message, struct report, message);
    (void)muster;
    if (report->instance->version->worker)
        muster__context_worker_reported(report->instance->version->worker, &report->error);
    muster_error_clean_up(&report->error);
    instance_release(report->instance);
    free(report);
}

/* A dedicated worker's error is its maker's; there it is logged if nobody handles it. */
static void on_report(void *user_data, const struct muster_error *error)
{
    struct muster__instance *instance = user_data;
    struct report *report =
        instance->version->type == MUSTER__WORKER_DEDICATED ? calloc(1, sizeof(*report)) : NULL;
    if (!report) {
        log_error(instance, "", error->status, error);
        return;
    }
    report->message.run = run_report;
    report->instance = instance;
    muster_error_copy(&report->error, error);
    atomic_fetch_add(&instance->references, 1);
    (void)muster__coordinator_post_soon(instance->muster, &report->message);
}

static void on_skip_waiting(void *user_data)
{
    struct muster__instance *instance = user_data;
    post_from_instance(instance, &instance->skip_waiting);
}

static void run_skip_waiting(struct muster__message *message, struct muster *muster)
{
    struct muster__instance *instance =
        MUSTER_CONTAINER_OF(message, struct muster__instance, skip_waiting);
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_SKIP_WAITING,
                                              .instance = instance->id});
    instance_release(instance);
}

static void on_close_self(void *user_data)
{
    struct muster__instance *instance = user_data;
    post_from_instance(instance, &instance->close_self);
}

static void run_close_self(struct muster__message *message, struct muster *muster)
{
    struct muster__instance *instance =
        MUSTER_CONTAINER_OF(message, struct muster__instance, close_self);
    lose(instance->version, MUSTER_OK, NULL);
    feed(muster,
         &(struct muster__core_event){.kind = MUSTER__CORE_CLOSE_SELF, .instance = instance->id});
    instance_release(instance);
}

static void on_wedged(void *user_data)
{
    struct muster__instance *instance = user_data;
    post_from_instance(instance, &instance->wedged);
}

static void run_wedged(struct muster__message *message, struct muster *muster)
{
    struct muster__instance *instance = MUSTER_CONTAINER_OF(message, struct muster__instance, wedged);
    atomic_fetch_add(&muster->counters.wedged, 1);
    muster__log(muster, MUSTER_LOG_ERROR, instance->version->scope,
                "worker %llu is wedged: it does not yield and cannot be interrupted; its thread is replaced",
                (unsigned long long)instance->id);
    lose(instance->version, MUSTER_WEDGED, NULL);
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_WEDGED, .instance = instance->id});
    instance_release(instance);
}

static enum muster_status on_dispatch(void *user_data, const char *scope,
                                      struct muster__request *request, uint64_t keepalive_until_us)
{
    struct muster__instance *instance = user_data;
    return muster__dispatch_from_worker(instance->muster, scope, request, keepalive_until_us);
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct muster__instance *instance = user_data;
    instance->gone_status = report->status;
    (void)post_to_helper(instance->muster, &instance->gone); /* with the worker's reference */
}

static void note_crash(struct muster *muster, struct muster__version *version)
{
    uint64_t random = muster->own.random = muster->own.random * 6364136223846793005u + 1442695040888963407u;
    muster__crash_record_note(&version->crashes, muster__now_us(), random >> 33);
}

static void run_gone(struct muster__message *message, struct muster *muster)
{
    struct muster__instance *instance = MUSTER_CONTAINER_OF(message, struct muster__instance, gone);
    bool was_dropped = instance->version->key && !instance->version->worker;
    if (instance->gone_status != MUSTER_OK)
        muster__log(muster, was_dropped ? MUSTER_LOG_DEBUG : MUSTER_LOG_WARNING, instance->version->scope,
                    "worker %llu ended: %s", (unsigned long long)instance->id,
                    muster_status_sentence(instance->gone_status));
    close_context(instance);
    if (instance->started_status == MUSTER_OK) /* else the core says so, with the reason */
        lose(instance->version, instance->gone_status, NULL);
    muster__service_gone(muster->service, instance->worker, instance->gone_status, muster__now_us());
    instance->worker = NULL;
    if (instance->gone_status == MUSTER_CRASHED)
        note_crash(muster, instance->version);
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_GONE,
                                              .instance = instance->id,
                                              .status = instance->gone_status});
    instance_release(instance);
}

static const struct muster__worker_listener listener = {
    .opened = on_opened,
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_skip_waiting,
    .close_self = on_close_self,
    .wedged = on_wedged,
    .dispatch = on_dispatch,
    .gone = on_gone,
};

/* ---- lifecycle events ---- */

static void lifecycle_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster__lifecycle *lifecycle =
        MUSTER_CONTAINER_OF(request, struct muster__lifecycle, request);
    struct muster__instance *instance = lifecycle->instance;
    /* A script without a listener for it has nothing against it. */
    lifecycle->status = outcome->status == MUSTER_PASSED ? MUSTER_OK : outcome->status;
    if (lifecycle->status != MUSTER_OK && lifecycle == &instance->install && outcome->error)
        muster_error_copy(&instance->told_error, outcome->error);
    if (lifecycle->status != MUSTER_OK)
        log_error(instance, lifecycle == &instance->install ? "install failed: " : "activate failed: ",
                  outcome->status, outcome->error);
    post_from_instance(instance, &lifecycle->ended);
}

static void lifecycle_destroyed(struct muster__request *request)
{
    instance_release(MUSTER_CONTAINER_OF(request, struct muster__lifecycle, request)->instance);
}

static const struct muster__request_class lifecycle_class = {lifecycle_settled, lifecycle_destroyed};

static void run_lifecycle_ended(struct muster__message *message, struct muster *muster)
{
    struct muster__lifecycle *lifecycle =
        MUSTER_CONTAINER_OF(message, struct muster__lifecycle, ended);
    struct muster__instance *instance = lifecycle->instance;
    if (lifecycle == &instance->install)
        take_told_error(instance, lifecycle->status);
    feed(muster, &(struct muster__core_event){.kind = lifecycle == &instance->activate
                                                          ? MUSTER__CORE_ACTIVATE_ENDED
                                                          : MUSTER__CORE_INSTALL_ENDED,
                                              .instance = instance->id,
                                              .status = lifecycle->status});
    instance_release(instance);
}

static void dispatch_lifecycle(struct muster__instance *instance, struct muster__lifecycle *lifecycle,
                               const char *name)
{
    if (!instance->worker)
        return; /* GONE is on its way */
    atomic_fetch_add(&instance->references, 1); /* the request's */
    lifecycle->instance = instance;
    lifecycle->ended.run = run_lifecycle_ended;
    muster__request_init(&lifecycle->request, &lifecycle_class, MUSTER__REQUEST_LIFECYCLE, name);
    lifecycle->request.received_us = muster__now_us();
    instance->worker->class->control(instance->worker, &lifecycle->request);
    muster__request_release(&lifecycle->request);
}

/* ---- actions ---- */

static struct muster__instance *make_instance(struct muster *muster, uint64_t id, uint32_t version_id)
{
    struct muster__instance *instance = find_instance(muster, id);
    if (instance)
        return instance;
    struct muster__version *version = find_version(muster, version_id);
    instance = version ? calloc(1, sizeof(*instance)) : NULL;
    if (!instance)
        return NULL;
    atomic_init(&instance->references, 1);
    instance->id = id;
    instance->muster = muster;
    instance->version = muster__version_acquire(version);
    instance->started.run = run_started;
    instance->skip_waiting.run = run_skip_waiting;
    instance->close_self.run = run_close_self;
    instance->wedged.run = run_wedged;
    instance->gone.run = run_gone;
    instance->node.id = id;
    muster__id_map_add(&muster->own.instances, &instance->node);
    return instance;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037ull;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
    return hash;
}

/* ---- placement; and what a version has to bear that killed its process ---- */

struct muster__pause {
    struct muster__pause *next;
    uint64_t instance, until_us;
};

static struct muster__core_event place(struct muster *muster, struct muster__instance *instance, bool alone)
{
    struct muster__core_event event = {.kind = MUSTER__CORE_PLACED, .instance = instance->id};
    struct muster_placement_request request = {
        .size = sizeof(request),
        .id = instance->id,
        .key = hash_text(instance->version->scope),
        .requester = muster->local_host,
    };
    muster__hosting_ask(instance->version, alone, &request);
    event.status = muster__service_place(muster->service, &request, muster__now_us(), &event.host);
    return event;
}

static struct muster__core_event refuse_quarantined(struct muster *muster, struct muster__instance *instance,
                                                    const struct muster__crash_verdict *verdict)
{
    uint64_t now_us = muster__now_us();
    muster_error_clean_up(&instance->started_error);
    muster_error_set(&instance->started_error, MUSTER_REFUSED,
                     "%s has killed its process %u times; it is refused for %.1f s more",
                     instance->version->scope, verdict->total,
                     (double)(verdict->not_before_us > now_us ? verdict->not_before_us - now_us : 0) / 1e6);
    muster__log(muster, MUSTER_LOG_WARNING, instance->version->scope, "%s",
                instance->started_error.message ? instance->started_error.message : "refused");
    return (struct muster__core_event){
        .kind = MUSTER__CORE_PLACED, .instance = instance->id, .status = MUSTER_REFUSED};
}

/* False: out of memory, so it does without. */
static bool pause_start(struct muster *muster, const struct muster__instance *instance, uint64_t until_us)
{
    struct muster__pause *pause = malloc(sizeof *pause);
    if (!pause)
        return false;
    *pause = (struct muster__pause){muster->own.pauses, instance->id, until_us};
    muster->own.pauses = pause;
    return true;
}

static void do_place(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = make_instance(muster, action->instance, action->version);
    if (!instance) {
        answer(muster, (struct muster__core_event){.kind = MUSTER__CORE_PLACED,
                                                   .instance = action->instance,
                                                   .status = MUSTER_NO_MEMORY});
        return;
    }
    uint64_t now_us = muster__now_us();
    const struct muster__crash_verdict verdict =
        muster__crash_record_judge(&instance->version->crashes, now_us);
    if (verdict.quarantined)
        answer(muster, refuse_quarantined(muster, instance, &verdict));
    else if (verdict.not_before_us <= now_us || !pause_start(muster, instance, verdict.not_before_us))
        answer(muster, place(muster, instance, verdict.alone));
}

static void end_pauses(struct muster *muster)
{
    struct muster__pause **at = &muster->own.pauses;
    uint64_t now_us = muster->own.pauses ? muster__now_us() : 0;
    while (*at) {
        struct muster__pause *pause = *at;
        if (pause->until_us > now_us) {
            at = &pause->next;
            continue;
        }
        *at = pause->next;
        struct muster__instance *instance = find_instance(muster, pause->instance);
        if (instance) {
            const struct muster__core_event event =
                place(muster, instance, muster__crash_record_judge(&instance->version->crashes, now_us).alone);
            feed(muster, &event);
            at = &muster->own.pauses; /* it may have changed */
        }
        free(pause);
    }
}

/* ---- hosts that have had their time ---- */

#define RECYCLE_PERIOD_US 500000u

static bool recycles(const struct muster *muster)
{
    const struct muster_options *options = &muster->options;
    return muster->hosting.processes && !atomic_load(&muster->closing) &&
           (options->recycle_turns || options->recycle_ms || options->recycle_memory);
}

static void move_workers(struct muster *muster, uint32_t host)
{
    for (struct muster__instance *at = next_instance(muster, NULL); at; at = next_instance(muster, at))
        if (at->host == host && at->worker && !at->version->key) /* what holds that one would not find it again */
            answer(muster, (struct muster__core_event){.kind = MUSTER__CORE_MOVE, .instance = at->id});
}

static void recycle(struct muster *muster)
{
    uint64_t now_us = muster__now_us();
    if (!recycles(muster) || now_us < muster->own.recycle_us)
        return;
    muster->own.recycle_us = now_us + RECYCLE_PERIOD_US;
    uint32_t host = muster__service_recycle(muster->service, now_us);
    if (host) {
        muster__log(muster, MUSTER_LOG_INFO, "hosts", "host %u has had its time: its workers move", host);
        muster->own.moving = host;
    }
    if (!muster->own.moving)
        return;
    move_workers(muster, muster->own.moving); /* again for those that had not run yet */
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_TICK});
}

/* When there is something to do at the latest. */
static uint64_t next_deadline(const struct muster *muster)
{
    uint64_t deadline_us = muster__core_deadline(muster->core);
    if (muster__syncs_deadline(muster) < deadline_us)
        deadline_us = muster__syncs_deadline(muster);
    if (muster__worlds_deadline(muster) < deadline_us)
        deadline_us = muster__worlds_deadline(muster);
    if (recycles(muster) && muster->own.recycle_us < deadline_us)
        deadline_us = muster->own.recycle_us;
    for (const struct muster__pause *pause = muster->own.pauses; pause; pause = pause->next)
        if (pause->until_us < deadline_us)
            deadline_us = pause->until_us;
    return deadline_us;
}

static void do_start(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    struct muster__version *version = instance->version;
    struct muster__port *host_port = NULL;
    enum muster_status status = open_context(instance, &host_port);
    version->instance = instance->id;
    instance->host = action->host;
    instance->started_us = muster__now_us();
    instance->incarnation = muster__slot_attach(version->slot);
    instance->attached = true;
    atomic_fetch_add(&muster->counters.starts, 1);
    muster__registrations_check_stale(muster, version);
    if (version->starts++)
        atomic_fetch_add(&muster->counters.revivals, 1);
    const struct muster__worker_options options = {
        .engine = version->engine,
        .loader = &version->loader,
        .stored = &version->stored,
        .type = version->type,
        .trust = version->trust,
        .script_url = version->script,
        .name = version->name ? version->name : version->scope,
        .scope = version->type == MUSTER__WORKER_SERVICE ? version->scope : NULL,
        .host_port = host_port,
        .port = version->worker ? version->worker->inside : NULL,
        .bindings = version->bindings,
        .limits = version->limits,
        .slot = version->slot,
        .incarnation = instance->incarnation,
        .may_open = action->may_open,
        .listener = &listener,
        .user_data = instance,
    };
    atomic_fetch_add(&instance->references, 1); /* the worker's, until gone */
    if (status == MUSTER_OK)
        status = muster__service_start(muster->service, action->host, &options, &instance->worker);
    muster__log(muster, MUSTER_LOG_DEBUG, version->scope, "worker %llu starts (%s)",
                (unsigned long long)action->instance, version->starts > 1 ? "revived" : "first start");
    if (status == MUSTER_OK) {
        if (version->worker)
            version->worker->inside = NULL; /* it was taken */
        return;
    }
    close_context(instance);
    muster__port_release(host_port);
    version->instance = 0;
    atomic_fetch_sub(&instance->references, 1);
    (void)muster__slot_vacate(version->slot, instance->incarnation);
    answer(muster, (struct muster__core_event){.kind = status == MUSTER_REFUSED ? MUSTER__CORE_HOST_REFUSED
                                                                                : MUSTER__CORE_GONE,
                                               .instance = action->instance,
                                               .status = status});
}

static void do_open(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    instance->opened = true;
    atomic_fetch_add(&muster->counters.running, 1); /* before anybody has its first answer */
    if (instance->worker)
        (void)instance->worker->class->open(instance->worker, muster__now_us());
}

/* A worker that waits for a thread is not late with what was posted to it: its grace time begins when a
 * thread has come to it. */
static uint64_t alive_until(const struct muster__instance *instance, const struct muster__slot_sample *sample)
{
    struct muster__worker_stats stats = {0};
    uint64_t now_us = muster__now_us();
    if (!sample->waiting || sample->alive_until_us >= now_us || !instance->worker)
        return sample->alive_until_us;
    instance->worker->class->stats(instance->worker, &stats);
    return stats.waits ? now_us : sample->alive_until_us;
}

/* For the line about its end: what has let it live on.  Without memory that says less. */
static void note_held(struct muster__instance *instance)
{
    char held[512] = "";
    if (instance->worker)
        (void)instance->worker->class->describe(instance->worker, held, sizeof(held));
    if (!*held)
        return;
    free(instance->held);
    instance->held = strdup(held);
    instance->held_us = muster__now_us();
}

static void do_sample(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    const struct muster__slot_sample sample = muster__slot_sample(instance->version->slot);
    if (sample.holds)
        note_held(instance);
    muster__registrations_check_stale(muster, instance->version);
    answer(muster, (struct muster__core_event){.kind = MUSTER__CORE_SAMPLED,
                                               .instance = action->instance,
                                               .alive_until_us = alive_until(instance, &sample),
                                               .holds = sample.holds});
}

static void do_try_retire(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    bool ok = muster__slot_retire(instance->version->slot, instance->incarnation);
    answer(muster, (struct muster__core_event){
                       .kind = MUSTER__CORE_RETIRED, .instance = action->instance, .ok = ok});
}

static void fail_list(struct muster__version *version, struct muster__request *list,
                      enum muster_status status, const struct muster_error *error);

static void do_vacate(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    if (!instance || !instance->attached)
        return;
    struct muster__version *version = instance->version;
    version->instance = version->instance == instance->id ? 0 : version->instance;
    bool waits = muster__slot_vacate(version->slot, instance->incarnation) > 0;
    if (waits && !version->key) {
        fail_list(version, muster__slot_expire(version->slot, muster__now_us()), MUSTER_TERMINATED, NULL);
        waits = muster__slot_sample(version->slot).waiting > 0;
    }
    if (version->key) { /* there is no next one for those who wait */
        fail_list(version, muster__slot_empty(version->slot), MUSTER_TERMINATED, NULL);
        lose(version, atomic_load(&muster->closing) ? MUSTER_SHUTDOWN : MUSTER_TERMINATED, NULL);
    } else if (waits) {
        answer(muster, (struct muster__core_event){.kind = MUSTER__CORE_WANT, .version = version->id});
    }
}

static void describe(struct muster__instance *instance, enum muster__stop_reason reason,
                     const char *what, enum muster_log_level level)
{
    char held[512] = "";
    if (instance->worker)
        (void)instance->worker->class->describe(instance->worker, held, sizeof(held));
    if (!*held && instance->held)
        muster__log(instance->muster, level, instance->version->scope,
                    "worker %llu %s (%s); %.1f s ago it was held up by: %s", (unsigned long long)instance->id, what,
                    muster__stop_reason_sentence(reason), (double)(muster__now_us() - instance->held_us) / 1e6,
                    instance->held);
    else
        muster__log(instance->muster, level, instance->version->scope, "worker %llu %s (%s)%s%s",
                    (unsigned long long)instance->id, what, muster__stop_reason_sentence(reason),
                    *held ? "; held up by: " : "", held);
}

static void do_stop(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    if (action->reason == MUSTER__STOP_IDLE)
        atomic_fetch_add(&muster->counters.idle_ends, 1);
    describe(instance, action->reason, "stops", MUSTER_LOG_DEBUG);
    if (instance->worker)
        instance->worker->class->stop(instance->worker);
}

static void do_cancel(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    atomic_fetch_add(&muster->counters.forced_ends, 1);
    describe(instance, action->reason, "is interrupted", MUSTER_LOG_WARNING);
    if (instance->worker)
        instance->worker->class->cancel(instance->worker);
}

static void do_abandon(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    (void)muster;
    describe(instance, action->reason, "is given up", MUSTER_LOG_ERROR);
    if (instance->worker)
        instance->worker->class->abandon(instance->worker);
}

static void fail_list(struct muster__version *version, struct muster__request *list,
                      enum muster_status status, const struct muster_error *error)
{
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        (void)muster__request_settle(request,
                                     &(struct muster__outcome){.status = status, .error = error});
        muster__slot_drop(version->slot, request);
    }
}

/* Why the newest instance of a version did not start, for those that waited for it. */
static const struct muster_error *start_error(struct muster *muster, uint32_t version,
                                              enum muster_status status)
{
    for (struct muster__instance *at = next_instance(muster, NULL); at; at = next_instance(muster, at))
        if (at->version->id == version && at->started_error.message && at->started_error.status == status)
            return &at->started_error;
    return NULL;
}

static void do_fail_queued(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = find_version(muster, action->version);
    /* It was the install event's promise that was rejected, not one of theirs. */
    enum muster_status status =
        action->status == MUSTER_REJECTED ? MUSTER_SCRIPT_ERROR : action->status;
    if (!version)
        return;
    const struct muster_error *error = start_error(muster, version->id, action->status);
    fail_list(version, muster__slot_empty(version->slot), status, error);
    lose(version, status, error);
}

static void do_dispose(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = find_version(muster, action->version);
    fail_list(version, muster__slot_close(version->slot),
              atomic_load(&muster->closing) ? MUSTER_SHUTDOWN : MUSTER_NOT_FOUND, NULL);
    lose(version, MUSTER_SHUTDOWN, NULL);
    atomic_store(&version->state, muster__version_state_word(MUSTER__VERSION_REDUNDANT));
    (void)muster__id_map_remove(&muster->own.versions, version->id);
    muster__version_release(version);
}

static void do_publish(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = find_version(muster, action->version);
    if (version->key)
        return; /* found by nobody but its makers */
    if (*action->scope != '/')
        atomic_store(&muster->has_url_scopes, true); /* before anybody can find it */
    if (!muster__scope_map_get(muster->scopes, action->scope, strlen(action->scope)))
        atomic_fetch_add(&muster->counters.registrations, 1);
    muster__registrations_published(muster, action);
    /* The core has decided; a map that cannot hold it would leave the registration unreachable. */
    MUSTER_CHECK(muster__scope_map_set(muster->scopes, action->scope, strlen(action->scope), version) ==
                 MUSTER_OK);
    if (version->lazy) /* it is registered, though it was not installed yet */
        muster__keeper_put(muster, version);
    muster__syncs_published(muster, version);
}

static void do_control(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *old = find_version(muster, action->old);
    struct muster__version *version = find_version(muster, action->version);
    if (old && version)
        muster__clients_move(muster, old, version);
}

static void forget_kept(struct muster *muster, const char *scope)
{
    struct muster__version *version = muster__scope_map_get(muster->scopes, scope, strlen(scope));
    if (!version)
        return;
    muster__keeper_remove(muster, version);
    muster__syncs_withdrawn(muster, version);
}

static void do_withdraw(struct muster *muster, const struct muster__core_action *action)
{
    forget_kept(muster, action->scope);
    if (muster__scope_map_remove(muster->scopes, action->scope, strlen(action->scope)) == MUSTER_OK)
        atomic_fetch_sub(&muster->counters.registrations, 1);
    muster__registrations_withdrawn(muster, action);
}

static void settle_job(struct muster *muster, const struct muster__core_action *action,
                       const struct muster_error *error)
{
    struct muster_handle *job = (struct muster_handle *)(uintptr_t)action->job;
    if (is_own_job(action->job)) {
        muster__registrations_settled(muster, action, error);
    } else {
        (void)muster__request_settle(
            &job->request, &(struct muster__outcome){.status = action->status, .error = error});
        muster__request_release(&job->request);
    }
    muster__registrations_forget_job(muster, action->job);
}

/* A job that waits for the disk. */
struct settlement {
    struct muster__keeper_wait wait;
    struct muster__core_action action;
    char scope[];
};

static void run_settlement(struct muster__keeper_wait *wait, struct muster *muster, enum muster_status status,
                           const struct muster_error *error)
{
    struct settlement *settlement = MUSTER_CONTAINER_OF(wait, struct settlement, wait);
    if (status != MUSTER_OK)
        settlement->action.status = status;
    settle_job(muster, &settlement->action, error);
    free(settlement);
}

/* What a job promises is on the disk when it settles; false: there is nothing to wait for. */
static bool settle_when_kept(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = find_version(muster, action->version);
    const char *state = version ? atomic_load(&version->state) : "";
    if (action->status != MUSTER_OK || !action->scope)
        return false;
    if (version && !version->is_kept && (strcmp(state, "activating") == 0 || strcmp(state, "activated") == 0))
        muster__keeper_put(muster, version);
    if (!muster__keeper_is_writing(muster, action->scope))
        return false;
    struct settlement *settlement = calloc(1, sizeof(*settlement) + strlen(action->scope) + 1);
    if (!settlement)
        return false;
    strcpy(settlement->scope, action->scope);
    settlement->action = *action;
    settlement->action.scope = settlement->scope;
    settlement->wait.run = run_settlement;
    muster__keeper_await(muster, settlement->scope, &settlement->wait);
    return true;
}

static void do_settle_job(struct muster *muster, const struct muster__core_action *action)
{
    const struct muster_error *error = muster__registrations_load_error(muster, action->job);
    if (action->status != MUSTER_OK && !error && action->version)
        error = start_error(muster, action->version, action->status); /* of the job that it joined */
    /* What it promises must be visible to whoever hears of it. */
    muster__scope_map_commit(muster->scopes);
    muster__scope_map_begin(muster->scopes);
    if (!settle_when_kept(muster, action))
        settle_job(muster, action, error);
}

static void do_forget(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = find_instance(muster, action->instance);
    if (!instance)
        return;
    (void)muster__id_map_remove(&muster->own.instances, instance->id);
    close_context(instance);
    if (instance->opened)
        atomic_fetch_sub(&muster->counters.running, 1);
    instance_release(instance);
}

static void perform(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance;
    switch (action->kind) {
    case MUSTER__DO_PUBLISH: do_publish(muster, action); break;
    case MUSTER__DO_WITHDRAW: do_withdraw(muster, action); break;
    case MUSTER__DO_PLACE: do_place(muster, action); break;
    case MUSTER__DO_START: do_start(muster, action); break;
    case MUSTER__DO_INSTALL:
        instance = find_instance(muster, action->instance);
        dispatch_lifecycle(instance, &instance->install, "install");
        break;
    case MUSTER__DO_ACTIVATE:
        instance = find_instance(muster, action->instance);
        dispatch_lifecycle(instance, &instance->activate, "activate");
        break;
    case MUSTER__DO_OPEN: do_open(muster, action); break;
    case MUSTER__DO_SAMPLE: do_sample(muster, action); break;
    case MUSTER__DO_TRY_RETIRE: do_try_retire(muster, action); break;
    case MUSTER__DO_VACATE: do_vacate(muster, action); break;
    case MUSTER__DO_STOP: do_stop(muster, action); break;
    case MUSTER__DO_CANCEL: do_cancel(muster, action); break;
    case MUSTER__DO_ABANDON: do_abandon(muster, action); break;
    case MUSTER__DO_FAIL_QUEUED: do_fail_queued(muster, action); break;
    case MUSTER__DO_SETTLE_JOB: do_settle_job(muster, action); break;
    case MUSTER__DO_FORGET: do_forget(muster, action); break;
    case MUSTER__DO_DISPOSE: do_dispose(muster, action); break;
    case MUSTER__DO_CONTROL: do_control(muster, action); break;
    case MUSTER__DO_NOTE_STATE: muster__registrations_note_state(muster, action); break;
    case MUSTER__DO_NOTE_SLOTS: muster__registrations_note_slots(muster, action); break;
    case MUSTER__DO_NOTE_UPDATE_FOUND: muster__registrations_note_update_found(muster, action); break;
    case MUSTER__DO_LOAD: muster__registrations_load(muster, action); break;
    case MUSTER__DO_CLOSED: muster->own.core_closed = true; break;
    case MUSTER__DO_COUNT: MUSTER_CHECK(false);
    }
}

static void log_line(struct muster *muster, const char *line)
{
    if (muster->options.log)
        muster->options.log(MUSTER_LOG_DEBUG, "core", line, muster->options.user_data);
}

static void step(struct muster *muster, const struct muster__core_event *event)
{
    struct muster__core_actions actions;
    char line[512];
    uint64_t now_us = muster__now_us();
    if (muster->options.log_events) {
        (void)muster__core_event_format(event, now_us, line, sizeof(line));
        log_line(muster, line);
    }
    enum muster_status status = muster__core_step(muster->core, event, now_us, &actions);
    while (status == MUSTER_NO_MEMORY) { /* refused as a whole: the only thread that can free must go on */
        sched_yield();
        status = muster__core_step(muster->core, event, now_us, &actions);
    }
    MUSTER_CHECK(status == MUSTER_OK);
    /* The actions are the core's until the next step, and nothing in between steps it. */
    muster->own.stepping = true;
    for (size_t i = 0; i < actions.count; i++) {
        if (muster->options.log_events) {
            (void)muster__core_action_format(&actions.items[i], line, sizeof(line));
            log_line(muster, line);
        }
        perform(muster, &actions.items[i]);
    }
    muster->own.stepping = false;
}

static void feed(struct muster *muster, const struct muster__core_event *event)
{
    step(muster, event);
    while (muster->own.pending_count) {
        struct muster__core_event pending = muster->own.pending[0];
        muster->own.pending_count--;
        memmove(muster->own.pending, muster->own.pending + 1,
                muster->own.pending_count * sizeof(pending));
        step(muster, &pending);
        free((char *)pending.scope);
    }
}

/* ---- the thread ---- */

static void look_closed(struct muster *muster)
{
    struct close_listener *listeners = NULL;
    if (!muster->own.core_closed)
        return;
    pthread_mutex_lock(&muster->inbox.lock);
    if (!muster->inbox.head && atomic_load(&muster->open_handles) == MUSTER__CLOSING) {
        muster->inbox.closed = true;
        listeners = muster->inbox.listeners;
        muster->inbox.listeners = NULL;
        pthread_cond_broadcast(&muster->inbox.closed_wake);
    }
    pthread_mutex_unlock(&muster->inbox.lock);
    while (listeners) {
        struct close_listener *at = listeners;
        listeners = at->next;
        if (at->fn)
            at->fn(at->user_data);
        free(at);
    }
}

static struct muster__message *take_role_locked(struct muster *muster)
{
    struct muster__message *list = muster->inbox.head;
    muster->inbox.head = NULL;
    muster->inbox.tail = &muster->inbox.head;
    muster->inbox.stepping = true;
    return list;
}

static bool is_wanted_locked(const struct muster *muster)
{
    return muster->inbox.head || muster->inbox.called || muster->inbox.quit ||
           muster->inbox.until_us <= muster__now_us();
}

static void sleep_locked(struct muster *muster)
{
    uint64_t until_us = muster->inbox.stepping ? UINT64_MAX : muster->inbox.until_us;
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    muster->inbox.asleep_until_us = until_us;
    if (until_us == UINT64_MAX)
        pthread_cond_wait(&muster->inbox.wake, &muster->inbox.lock);
    else
        (void)pthread_cond_timedwait(&muster->inbox.wake, &muster->inbox.lock, &until);
    muster->inbox.asleep_until_us = 0;
}

/* Thread: the coordinator's own.  With the role. */
static struct muster__message *wait_for_messages(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    while (muster->inbox.stepping || !is_wanted_locked(muster))
        sleep_locked(muster);
    muster->inbox.called = false;
    struct muster__message *list = take_role_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
    return list;
}

static void run_message(struct muster *muster, struct muster__message *message)
{
    pthread_mutex_lock(&muster->inbox.lock);
    message->posted = false; /* it may be posted again from here on */
    pthread_mutex_unlock(&muster->inbox.lock);
    message->run(message, muster);
}

static void run_round(struct muster *muster, struct muster__message *list)
{
    muster__scope_map_begin(muster->scopes);
    while (list) {
        struct muster__message *message = list;
        list = message->next;
        run_message(muster, message);
    }
    muster__worlds_tick(muster, muster__now_us());
    muster__syncs_tick(muster, muster__now_us());
    end_pauses(muster);
    recycle(muster);
    if (muster__core_deadline(muster->core) <= muster__now_us())
        feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_TICK});
    muster__scope_map_commit(muster->scopes);
}

static void give_role_back_locked(struct muster *muster)
{
    muster->inbox.stepping = false;
    muster->inbox.until_us = next_deadline(muster);
}

static void *coordinator_main(void *argument)
{
    struct muster *muster = argument;
    bool quit = false;
    is_coordinator = true;
    pthread_setname_np(pthread_self(), "muster-coord");
    while (!quit) {
        run_round(muster, wait_for_messages(muster));
        look_closed(muster);
        pthread_mutex_lock(&muster->inbox.lock);
        give_role_back_locked(muster);
        quit = muster->inbox.quit && !muster->inbox.head;
        pthread_mutex_unlock(&muster->inbox.lock);
    }
    return NULL;
}

/* A turn of the pool.  When another has the role, that one looks at the inbox once more. */
static bool help(struct muster__actor *actor)
{
    struct muster *muster = MUSTER_CONTAINER_OF(actor, struct muster, helper);
    pthread_mutex_lock(&muster->inbox.lock);
    bool mine = !muster->inbox.stepping && muster->inbox.head;
    struct muster__message *list = mine ? take_role_locked(muster) : NULL;
    pthread_mutex_unlock(&muster->inbox.lock);
    if (!mine)
        return false;
    is_coordinator = true;
    run_round(muster, list);
    is_coordinator = false;
    pthread_mutex_lock(&muster->inbox.lock);
    give_role_back_locked(muster);
    /* It waits for the role, or sleeps longer than it may now. */
    if (muster->inbox.called || muster->inbox.quit || muster->own.core_closed ||
        muster->inbox.until_us < muster->inbox.asleep_until_us)
        call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
    return false;
}

/* ---- from other threads ---- */

void muster__coordinator_run_want(struct muster__message *message, struct muster *muster)
{
    struct muster__version *version = MUSTER_CONTAINER_OF(message, struct muster__version, want);
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_WANT, .version = version->id});
    muster__version_release(version);
}

void muster__coordinator_want(struct muster__slot *slot, void *user_data)
{
    struct muster__version *version = user_data;
    (void)slot;
    muster__version_acquire(version); /* the message's; one that waits already has its own */
    if (!post_to_helper(version->muster, &version->want))
        muster__version_release(version);
}

/* It was refused before it could be a job: its sender hears why, as of any other. */
void muster__coordinator_run_refusal(struct muster__message *message, struct muster *muster)
{
    struct muster_handle *job = MUSTER_CONTAINER_OF(message, struct muster_handle, message);
    (void)muster;
    (void)muster__request_settle(&job->request, &(struct muster__outcome){.status = job->refusal.status,
                                                                           .error = &job->refusal});
    muster__request_release(&job->request);
}

/* A job of the embedder's: register, unregister, stop. */
void muster__coordinator_run_job(struct muster__message *message, struct muster *muster)
{
    struct muster_handle *job = MUSTER_CONTAINER_OF(message, struct muster_handle, message);
    struct muster__version *offered = job->offered;
    const struct muster__core_event event = {
        .kind = job->job,
        .job = (uint64_t)(uintptr_t)job,
        .version = offered ? offered->id : 0,
        .scope = job->scope,
        .script = offered ? offered->identity : NULL,
        .lazy = offered && offered->lazy,
        .idle_us = offered ? offered->idle_us : 0,
    };
    if (offered) {
        offered->node.id = offered->id;
        muster__id_map_add(&muster->own.versions, &muster__version_acquire(offered)->node);
    }
    feed(muster, &event);
}

static void run_close(struct muster__message *message, struct muster *muster)
{
    (void)message;
    muster__endpoints_close(muster);
    muster__worlds_closing(muster);
    feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_CLOSE});
}

void muster__coordinator_look_closed(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    call_locked(muster); /* each round of its own thread ends with a look */
    pthread_mutex_unlock(&muster->inbox.lock);
}

void muster__coordinator_settled_while_closing(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    if (atomic_fetch_sub(&muster->open_handles, 1) == (MUSTER__CLOSING | 1))
        call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
}

void muster__coordinator_close(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    atomic_fetch_or(&muster->open_handles, MUSTER__CLOSING);
    (void)post_locked(muster, &muster->inbox.close_message);
    call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
}

enum muster_status muster__coordinator_start(struct muster *muster, struct muster_error *error)
{
    pthread_condattr_t monotonic;
    sigset_t all, old;
    pthread_mutex_init(&muster->inbox.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&muster->inbox.wake, &monotonic);
    pthread_cond_init(&muster->inbox.closed_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    muster->inbox.tail = &muster->inbox.head;
    muster->inbox.close_message.run = run_close;
    muster->inbox.until_us = UINT64_MAX;
    muster__actor_init(&muster->helper, help);
    enum muster_status status = muster__keeper_restore(muster, error);
    if (status != MUSTER_OK)
        return status;
    muster->inbox.until_us = next_deadline(muster);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&muster->own.thread, NULL, coordinator_main, muster);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    muster->own.running = !failed;
    return failed ? MUSTER_SYSTEM : MUSTER_OK;
}

/* Those that were registered to the end. */
static void release_versions(struct muster *muster)
{
    struct muster__id_node *node = muster__id_map_any(&muster->own.versions);
    while (node) {
        struct muster__version *version = MUSTER_CONTAINER_OF(node, struct muster__version, node);
        node = muster__id_map_next(&muster->own.versions, node);
        (void)muster__id_map_remove(&muster->own.versions, version->id);
        fail_list(version, muster__slot_close(version->slot), MUSTER_SHUTDOWN, NULL);
        muster__version_release(version);
    }
    muster__id_map_clean_up(&muster->own.versions);
}

/* Those that were given up: their threads may still look at them. */
static void leave_instances(struct muster *muster)
{
    struct muster__id_node *node;
    while ((node = muster__id_map_any(&muster->own.instances)))
        (void)muster__id_map_remove(&muster->own.instances, node->id);
    muster__id_map_clean_up(&muster->own.instances);
}

void muster__coordinator_join(struct muster *muster)
{
    if (!muster->own.running) {
        muster__worlds_destroy(muster, NULL);
        muster__syncs_destroy(muster);
        release_versions(muster); /* that were restored */
        free(muster->own.pending);
        return;
    }
    pthread_mutex_lock(&muster->inbox.lock);
    muster->inbox.quit = true;
    pthread_cond_signal(&muster->inbox.wake);
    pthread_mutex_unlock(&muster->inbox.lock);
    pthread_join(muster->own.thread, NULL);
    muster->own.running = false;
    free(muster->own.pending);
    muster__worlds_destroy(muster, muster->inbox.head);
    muster__syncs_destroy(muster);
    release_versions(muster);
    leave_instances(muster);
    while (muster->own.pauses) {
        struct muster__pause *pause = muster->own.pauses;
        muster->own.pauses = pause->next;
        free(pause);
    }
}
