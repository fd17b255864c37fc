/* coordinator/coordinator_instance.c - one running of a version: how it is given to its host, what its worker tells,
 * and the events of its life.
 *
 * A worker tells on whatever thread; that becomes a message of the coordinator's, and then an event of the core's. */
#include "coordinator/coordinator_internal.h"

#include "coordinator/clients.h"
#include "coordinator/context_worker.h"
#include "coordinator/registrations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- references ---- */

static void post_from_instance(struct muster__instance *instance, struct muster__message *message)
{
    atomic_fetch_add(&instance->references, 1);
    if (!muster__coordinator_post_soon(instance->muster, message))
        muster__coordinator_instance_release(instance);
}

void muster__coordinator_instance_release(struct muster__instance *instance)
{
    if (atomic_fetch_sub(&instance->references, 1) != 1)
        return;
    muster_error_clean_up(&instance->told_error);
    muster_error_clean_up(&instance->started_error);
    muster__version_release(instance->version);
    free(instance->held);
    free(instance);
}

/* ---- by their numbers ---- */

struct muster__instance *muster__coordinator_instance(struct muster *muster, uint64_t id)
{
    struct muster__id_node *node = muster__id_map_find(&muster->own.instances, id);
    return node ? MUSTER_CONTAINER_OF(node, struct muster__instance, node) : NULL;
}

/* NULL: the first, and the end. */
struct muster__instance *muster__coordinator_next_instance(struct muster *muster, struct muster__instance *instance)
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
    const struct muster__instance *instance = id ? muster__coordinator_instance(muster, id) : NULL;
    if (instance)
        *ret_view = view_of(instance);
    return instance != NULL;
}

void muster__coordinator_each(struct muster *muster,
                              void (*see)(const struct muster__instance_view *view, void *user_data), void *user_data)
{
    for (struct muster__instance *at = muster__coordinator_next_instance(muster, NULL); at;
         at = muster__coordinator_next_instance(muster, at)) {
        const struct muster__instance_view view = view_of(at);
        see(&view, user_data);
    }
}

/* ---- what its script asks with ---- */

void muster__coordinator_close_context(struct muster__instance *instance)
{
    struct muster__context *context = instance->context;
    struct muster__port *silent = instance->silent;
    instance->context = NULL;
    instance->silent = NULL;
    if (context)
        muster__context_close(context);
    muster__context_release(context);
    if (silent)
        muster__port_close(silent);
    muster__port_release(silent);
}

/* Whether its scripts can ask, or others can find it. */
static bool has_context(const struct muster__version *version)
{
    return version->engine->asks || version->type != MUSTER__WORKER_SERVICE;
}

/* Its script has the other end already.  Without memory it finds that closed. */
static void open_context(struct muster__instance *instance, struct muster__port *take_end)
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
    instance->context = muster__context_new(instance->muster, &options);
    if (instance->context && muster__context_open(instance->context, &take_end) == MUSTER_OK)
        return;
    muster__coordinator_close_context(instance);
    if (take_end)
        muster__port_close(take_end);
    muster__port_release(take_end);
}

static void run_hello(struct muster__message *message, struct muster *muster)
{
    struct muster__instance *instance = MUSTER_CONTAINER_OF(message, struct muster__instance, hello);
    struct muster__port *silent = instance->silent;
    (void)muster;
    instance->silent = NULL;
    if (silent) {
        muster__port_detach(silent);
        open_context(instance, silent);
    }
    muster__coordinator_instance_release(instance);
}

/* To the coordinator's own thread: a script may wait for what this brings, on the thread that would come next. */
static void on_hello(struct muster__port *port, void *owner)
{
    struct muster__instance *instance = owner;
    if (muster__port_is_closed(port)) /* it says no more */
        return;
    atomic_fetch_add(&instance->references, 1);
    if (!muster__coordinator_post(instance->muster, &instance->hello))
        muster__coordinator_instance_release(instance);
}

/* Telling a script who it is takes as long as waking its thread, so the context of one that says hello first (or is
 * never heard of) is opened when it does.  A client is one without having said anything. */
static void await_hello(struct muster__instance *instance, struct muster__port *take_end)
{
    static const struct muster__port_owner_class silent_owner = {.ready = on_hello};
    if (!instance->version->engine->says_hello || instance->version->type != MUSTER__WORKER_SERVICE) {
        open_context(instance, take_end);
        return;
    }
    instance->silent = take_end;
    muster__port_attach(take_end, &silent_owner, instance);
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
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_STARTED,
                                                                  .instance = instance->id,
                                                                  .status = instance->started_status,
                                                                  .ok = instance->opened});
    if (instance->started_status == MUSTER_OK && instance->version->worker)
        muster__context_worker_started(instance->version->worker);
    muster__coordinator_instance_release(instance);
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
    muster__coordinator_instance_release(report->instance);
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
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_SKIP_WAITING,
                                                                  .instance = instance->id});
    muster__coordinator_instance_release(instance);
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
    muster__coordinator_lose(instance->version, MUSTER_OK, NULL);
    muster__coordinator_feed(muster,
         &(struct muster__core_event){.kind = MUSTER__CORE_CLOSE_SELF, .instance = instance->id});
    muster__coordinator_instance_release(instance);
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
    muster__coordinator_lose(instance->version, MUSTER_WEDGED, NULL);
    muster__coordinator_feed(
        muster, &(struct muster__core_event){.kind = MUSTER__CORE_WEDGED, .instance = instance->id});
    muster__coordinator_instance_release(instance);
}

static enum muster_status on_dispatch(void *user_data, const char *scope,
                                      struct muster__request *request, uint64_t keepalive_until_us)
{
    struct muster__instance *instance = user_data;
    return muster__dispatch_from_worker(instance->muster, scope, request, keepalive_until_us);
}

static enum muster_status on_fetch(void *user_data, struct muster__request *request, uint64_t keepalive_until_us)
{
    struct muster__instance *instance = user_data;
    return muster__client_fetch(instance->muster, instance->id, request, keepalive_until_us);
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct muster__instance *instance = user_data;
    instance->gone_status = report->status;
    (void)muster__coordinator_post_to_helper(instance->muster, &instance->gone); /* with the worker's reference */
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
    muster__coordinator_close_context(instance);
    if (instance->started_status == MUSTER_OK) /* else the core says so, with the reason */
        muster__coordinator_lose(instance->version, instance->gone_status, NULL);
    muster__service_gone(muster->service, instance->worker, instance->gone_status, muster__now_us());
    instance->worker = NULL;
    if (instance->gone_status == MUSTER_CRASHED)
        note_crash(muster, instance->version);
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_GONE,
                                                                  .instance = instance->id,
                                                                  .status = instance->gone_status});
    muster__coordinator_instance_release(instance);
}

static void on_keep(void *user_data)
{
    struct muster__instance *instance = user_data;
    atomic_fetch_add(&instance->references, 1);
}

static void on_let_go(void *user_data)
{
    muster__coordinator_instance_release(user_data);
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
    .fetch = on_fetch,
    .gone = on_gone,
    .keep = on_keep,
    .let_go = on_let_go,
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
    muster__coordinator_instance_release(MUSTER_CONTAINER_OF(request, struct muster__lifecycle, request)->instance);
}

static const struct muster__request_class lifecycle_class = {lifecycle_settled, lifecycle_destroyed};

static void run_lifecycle_ended(struct muster__message *message, struct muster *muster)
{
    struct muster__lifecycle *lifecycle =
        MUSTER_CONTAINER_OF(message, struct muster__lifecycle, ended);
    struct muster__instance *instance = lifecycle->instance;
    if (lifecycle == &instance->install)
        take_told_error(instance, lifecycle->status);
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = lifecycle == &instance->activate
                                                                  ? MUSTER__CORE_ACTIVATE_ENDED
                                                                  : MUSTER__CORE_INSTALL_ENDED,
                                                                  .instance = instance->id,
                                                                  .status = lifecycle->status});
    muster__coordinator_instance_release(instance);
}

void muster__coordinator_dispatch_lifecycle(struct muster__instance *instance, struct muster__lifecycle *lifecycle,
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

/* ---- its start ---- */

struct muster__instance *muster__coordinator_make_instance(struct muster *muster, uint64_t id, uint32_t version_id)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, id);
    if (instance)
        return instance;
    struct muster__version *version = muster__coordinator_version(muster, version_id);
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
    instance->hello.run = run_hello;
    instance->node.id = id;
    muster__id_map_add(&muster->own.instances, &instance->node);
    return instance;
}

void muster__coordinator_start_instance(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    struct muster__version *version = instance->version;
    struct muster__port *ends[2] = {NULL, NULL}; /* the script's, and its context's here */
    enum muster_status status = has_context(version) ? muster__port_pair(ends) : MUSTER_OK;
    version->instance = instance->id;
    instance->host = action->host;
    instance->started_us = muster__now_us();
    instance->incarnation = muster__slot_attach(version->slot);
    instance->attached = true;
    atomic_fetch_add(&muster->counters.starts, 1);
    muster__registrations_check_stale(muster, version);
    if (version->starts++)
        atomic_fetch_add(&muster->counters.revivals, 1);
    struct muster__port_account *ports = muster__port_account_of(muster, version); /* no memory: nobody counts */
    const struct muster__worker_options options = {
        .engine = version->engine,
        .loader = &version->loader,
        .stored = &version->stored,
        .type = version->type,
        .trust = version->trust,
        .script_url = version->script,
        .name = version->name ? version->name : version->scope,
        .scope = version->type == MUSTER__WORKER_SERVICE ? version->scope : NULL,
        .host_port = ends[0],
        .types_known = atomic_load(&version->event_types) != NULL,
        .port = version->worker ? version->worker->inside : NULL,
        .bindings = version->bindings,
        .ports = ports,
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
    muster__port_account_release(ports);
    muster__log(muster, MUSTER_LOG_DEBUG, version->scope, "worker %llu starts (%s)",
                (unsigned long long)action->instance, version->starts > 1 ? "revived" : "first start");
    if (status == MUSTER_OK) {
        if (version->worker)
            version->worker->inside = NULL; /* it was taken */
        if (ends[1])
            await_hello(instance, ends[1]);
        return;
    }
    muster__port_release(ends[0]);
    muster__port_release(ends[1]);
    version->instance = 0;
    atomic_fetch_sub(&instance->references, 1);
    (void)muster__slot_vacate(version->slot, instance->incarnation);
    muster__coordinator_answer(
        muster, (struct muster__core_event){
                    .kind = status == MUSTER_REFUSED ? MUSTER__CORE_HOST_REFUSED : MUSTER__CORE_GONE,
                    .instance = action->instance,
                    .status = status});
}
