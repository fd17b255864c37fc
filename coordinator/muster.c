/* coordinator/muster.c - the life of an instance, and its registrations.  See muster.h. */
#include "coordinator/caches.h"
#include "coordinator/context.h"
#include "coordinator/hosting.h"
#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"
#include "coordinator/sync.h"

#include "remote/host_threads.h"
#include "runtime/engine_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* ---- jobs ---- */

/* Takes `offered` (NULL but for register). */
static enum muster_status post_job(struct muster *muster, enum muster__core_event_kind kind,
                                   const char *scope, struct muster__version *take_offered,
                                   muster_done_fn *done, void *user_data,
                                   struct muster_handle **ret_handle)
{
    struct muster_handle *handle = muster__handle_new(muster, MUSTER__REQUEST_LIFECYCLE,
                                                      muster__core_event_name(kind), done, user_data,
                                                      ret_handle != NULL);
    char *copy = muster__strdup(scope);
    if (!handle || !copy) {
        if (handle)
            muster__handle_discard(handle);
        free(copy);
        muster__version_release(take_offered);
        return MUSTER_NO_MEMORY;
    }
    handle->job = kind;
    handle->scope = copy;
    handle->offered = take_offered;
    handle->message.run = muster__coordinator_run_job;
    if (ret_handle) {
        muster__request_acquire(&handle->request);
        *ret_handle = handle;
    }
    (void)muster__coordinator_post(muster, &handle->message); /* with the first reference */
    return MUSTER_OK;
}

/* There will be no job; whoever can hear of one hears why. */
static enum muster_status refuse_job(struct muster *muster, enum muster_status status,
                                     struct muster_error *error, muster_done_fn *done, void *user_data,
                                     struct muster_handle **ret_handle)
{
    if (!done && !ret_handle)
        return status;
    struct muster_handle *handle =
        muster__handle_new(muster, MUSTER__REQUEST_LIFECYCLE, muster__core_event_name(MUSTER__CORE_REGISTER),
                           done, user_data, ret_handle != NULL);
    if (!handle)
        return MUSTER_NO_MEMORY;
    handle->refusal = *error;
    handle->refusal.status = status;
    *error = (struct muster_error){0};
    handle->message.run = muster__coordinator_run_refusal;
    if (ret_handle) {
        muster__request_acquire(&handle->request);
        *ret_handle = handle;
    }
    (void)muster__coordinator_post(muster, &handle->message); /* with the first reference */
    return MUSTER_OK;
}

#define SCOPE_LENGTH_MAX ((size_t)64 << 10) /* far below what the scope map takes */

static bool scope_is_valid(const char *scope)
{
    return scope && strlen(scope) <= SCOPE_LENGTH_MAX && (*scope == '/' || strstr(scope, "://")) &&
           !strchr(scope, '#');
}

enum muster_status muster_register(struct muster *muster,
                                   const struct muster_registration_options *options,
                                   muster_done_fn *done, void *user_data,
                                   struct muster_handle **ret_handle)
{
    enum muster_status status = muster__check_usable(muster);
    if (status != MUSTER_OK)
        return status;
    if (atomic_load(&muster->closing))
        return MUSTER_SHUTDOWN;
    struct muster_registration_options full = {.size = sizeof(full)};
    if (!options || options->size > sizeof(full))
        return MUSTER_INVALID_ARGUMENT;
    memcpy(&full, options, options->size);
    if (!scope_is_valid(full.scope) || (!full.script && !full.native))
        return MUSTER_INVALID_ARGUMENT;
    struct muster_error error = {0};
    struct muster__version *version = NULL;
    status = muster__syncs_check_schedule(full.schedule, &error);
    if (status == MUSTER_OK)
        status = muster__version_new(muster, &full, &version, &error);
    if (status == MUSTER_OK)
        status = muster__version_keep_imports(version);
    if (status != MUSTER_OK) {
        muster__version_release(version);
        if (error.message) {
            muster__log(muster, MUSTER_LOG_ERROR, full.scope, "%s", error.message);
            status = refuse_job(muster, status, &error, done, user_data, ret_handle);
        }
        muster_error_clean_up(&error);
        return status;
    }
    return post_job(muster, MUSTER__CORE_REGISTER, full.scope, version, done, user_data, ret_handle);
}

enum muster_status muster_update(struct muster *muster, const char *scope, muster_done_fn *done,
                                 void *user_data, struct muster_handle **ret_handle)
{
    enum muster_status status = muster__check_usable(muster);
    if (status == MUSTER_OK && !scope)
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK && atomic_load(&muster->closing))
        status = MUSTER_SHUTDOWN;
    return status != MUSTER_OK
               ? status
               : post_job(muster, MUSTER__CORE_UPDATE, scope, NULL, done, user_data, ret_handle);
}

enum muster_status muster_unregister(struct muster *muster, const char *scope, muster_done_fn *done,
                                     void *user_data, struct muster_handle **ret_handle)
{
    enum muster_status status = muster__check_usable(muster);
    if (status == MUSTER_OK && !scope)
        status = MUSTER_INVALID_ARGUMENT;
    return status != MUSTER_OK ? status
                               : post_job(muster, MUSTER__CORE_UNREGISTER, scope, NULL, done, user_data,
                                          ret_handle);
}

enum muster_status muster_stop(struct muster *muster, const char *scope, muster_done_fn *done,
                               void *user_data, struct muster_handle **ret_handle)
{
    enum muster_status status = muster__check_usable(muster);
    if (status == MUSTER_OK && !scope)
        status = MUSTER_INVALID_ARGUMENT;
    return status != MUSTER_OK
               ? status
               : post_job(muster, MUSTER__CORE_STOP, scope, NULL, done, user_data, ret_handle);
}

/* ---- life ---- */

static void set_defaults(struct muster_options *options)
{
    options->idle_ms = muster__or_default(options->idle_ms, 30000);
    options->grace_ms = muster__or_default(options->grace_ms, 30000);
    options->start_timeout_ms = muster__or_default(options->start_timeout_ms, 30000);
    options->lifecycle_timeout_ms = muster__or_default(options->lifecycle_timeout_ms, 300000);
    options->stop_timeout_ms = muster__or_default(options->stop_timeout_ms, 5000);
    options->cancel_timeout_ms = muster__or_default(options->cancel_timeout_ms, 2000);
    options->event_timeout_ms = muster__or_default(options->event_timeout_ms, 60000);
    options->turn_limit_ms = muster__or_default(options->turn_limit_ms, 10000);
    options->queue_limit = muster__or_default(options->queue_limit, 1024);
    if (!options->processes) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        options->processes = online > 0 ? (unsigned)online : 1;
    }
}

static void log_decision(const char *line, void *user_data)
{
    struct muster *muster = user_data;
    muster__log(muster, MUSTER_LOG_INFO, "placement", "%s", line);
}

static enum muster_status start_service(struct muster *muster, struct muster_error *error)
{
    uint64_t seed = muster->options.seed;
    if (!seed && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
        seed = muster__now_us();
    muster->own.random = seed;
    const struct muster__service_options options = {
        .policy_name = muster->placement_name,
        .policy = muster->options.placement_policy,
        .new_host = muster__hosting_new_host,
        .shared_processes = muster->options.processes,
        .seed = seed,
        .decided = muster->options.log_decisions ? log_decision : NULL,
        .user_data = muster,
    };
    enum muster_status status = muster__service_new(&options, &muster->service, error);
    struct muster__host *host = NULL;
    const struct muster__host_threads_options threads = {.pool = muster->pool, .spare = muster->spare};
    if (status == MUSTER_OK)
        status = muster__host_threads_new(&threads, &host);
    struct muster__host *local = host;
    if (status == MUSTER_OK)
        status = muster__service_add_host(muster->service, &host);
    if (status == MUSTER_OK)
        muster->local_host = local->view.id;
    return status;
}

static enum muster_status start_spare(struct muster *muster)
{
    if (!muster->options.spare_workers)
        return MUSTER_OK;
    /* The engine is loaded on a thread of the pool, while this one goes on; should it be missing, a
     * registration that needs it will be told why. */
    const struct muster__spare_options options = {.pool = muster->pool,
                                                  .engine_name = "javascript",
                                                  .host = &muster__worker_realm_host,
                                                  .count = muster->options.spare_workers};
    muster->spare = muster__spare_new(&options);
    if (!muster->spare)
        return MUSTER_NO_MEMORY;
    muster__spare_fill(muster->spare);
    return MUSTER_OK;
}

/* A child answers sooner than a thread that sleeps would hear of it. */
#define SPIN_US 50

static enum muster_status start_parts(struct muster *muster, struct muster_error *error)
{
    const struct muster_options *options = &muster->options;
    struct muster__pool_options pool = {.threads = options->threads};
    const struct muster__scope_map_options scopes = {.retain = muster__entry_acquire,
                                                     .release = muster__entry_release};
    const struct muster__core_options core = {
        .idle_us = muster__us_of_ms(options->idle_ms),
        .grace_us = muster__us_of_ms(options->grace_ms),
        .start_us = muster__us_of_ms(options->start_timeout_ms),
        .lifecycle_us = muster__us_of_ms(options->lifecycle_timeout_ms),
        .stop_us = muster__us_of_ms(options->stop_timeout_ms),
        .cancel_us = muster__us_of_ms(options->cancel_timeout_ms),
        .place_attempts = 8,
        .notes = true,
    };
    enum muster_status status = muster__handles_init(muster);
    if (status == MUSTER_OK)
        status = muster__hosting_init(muster, error);
    if (options->hosting > MUSTER_HOSTING_THREAD)
        pool.spin_us = SPIN_US;
    if (status == MUSTER_OK)
        status = muster__pool_new(&pool, &muster->pool);
    if (status == MUSTER_OK)
        status = muster__hosting_start(muster, error);
    if (status == MUSTER_OK)
        status = start_spare(muster);
    if (status == MUSTER_OK)
        status = start_service(muster, error);
    if (status == MUSTER_OK)
        status = muster__scope_map_new(&scopes, &muster->scopes);
    if (status == MUSTER_OK) {
        muster->core = muster__core_new(&core);
        status = muster->core ? MUSTER_OK : MUSTER_NO_MEMORY;
    }
    if (status == MUSTER_OK)
        status = muster__worlds_new(muster);
    if (status == MUSTER_OK)
        status = muster__syncs_new(muster);
    const char *state_folder = muster->options.state_folder; /* the keeper forgets it */
    if (status == MUSTER_OK)
        status = muster__keeper_open(muster, error);
    if (status == MUSTER_OK)
        status = muster__caches_open(muster, state_folder); /* what it has open, the keeper's lock covers */
    if (status == MUSTER_OK)
        status = muster__coordinator_start(muster, error);
    return status;
}

/* A VM is destroyed in a millisecond; a thread that is not back after this is given up. */
#define SPARE_STOP_MS 10000

static void free_parts(struct muster *muster)
{
    if (muster->spare && !muster__spare_stop(muster->spare, SPARE_STOP_MS))
        muster__log(muster, MUSTER_LOG_ERROR, "shutdown",
                    "the spare VMs were not destroyed in %d s; their thread is given up",
                    SPARE_STOP_MS / 1000);
    muster__hosting_settle(muster);
    /* Before the coordinator: a worker that was given up may end while the pool does, and tells it. */
    unsigned lost = muster__pool_destroy(muster->pool);
    muster__caches_close(muster);
    muster__keeper_close(muster); /* what it still tells, the coordinator hears */
    muster__coordinator_join(muster);
    muster__keeper_destroy(muster);
    if (lost)
        muster__log(muster, MUSTER_LOG_ERROR, "shutdown", "%u wedged thread%s left behind", lost,
                    lost == 1 ? " is" : "s are");
    muster__spare_destroy(muster->spare);
    muster__core_destroy(muster->core);
    muster__stubs_clean_up(muster);
    if (muster->scopes)
        muster__scope_map_destroy(muster->scopes);
    muster__service_destroy(muster->service);
    muster__hosting_clean_up(muster);
    muster__handles_clean_up(muster);
    muster_bindings_release(muster->options.bindings);
    free(muster->placement_name);
    free((char *)muster->options.host_program);
    /* A thread that is lost may still look at the instance through its worker, and says to the inbox
     * that it came back; what it would call of the embedder's is forgotten. */
    if (lost) {
        muster->options.log = NULL;
        muster->options.console = NULL;
        return;
    }
    pthread_mutex_destroy(&muster->endpoints.lock);
    pthread_mutex_destroy(&muster->stubs.lock);
    pthread_mutex_destroy(&muster->inbox.lock);
    pthread_cond_destroy(&muster->inbox.wake);
    pthread_cond_destroy(&muster->inbox.closed_wake);
    free(muster);
}

enum muster_status muster_new(const struct muster_options *options, struct muster **ret_muster,
                              struct muster_error *error)
{
    struct muster_error ignored = {0};
    struct muster_error *told = error ? error : &ignored;
    struct muster *muster = calloc(1, sizeof(*muster));
    if (!muster)
        return MUSTER_NO_MEMORY;
    if (options && (options->size == 0 || options->size > sizeof(*options))) {
        free(muster);
        muster_error_set(told, MUSTER_INVALID_ARGUMENT, "muster_options.size is not a size that this library knows");
        muster_error_clean_up(&ignored);
        return MUSTER_INVALID_ARGUMENT;
    }
    if (options)
        memcpy(&muster->options, options, options->size);
    set_defaults(&muster->options);
    muster->process = getpid();
    muster->forks = muster__forks();
    muster->options.host_program = muster__strdup(muster->options.host_program);
    pthread_mutex_init(&muster->hosting.lock, NULL);
    muster__endpoints_init(muster);
    muster__stubs_init(muster);
    if (muster->options.bindings)
        muster_bindings_acquire(muster->options.bindings);
    enum muster_status status = start_parts(muster, told);
    if (status == MUSTER_OK) {
        *ret_muster = muster;
    } else {
        if (!told->message)
            muster_error_set(told, status, "cannot start: %s%s%s", muster_status_sentence(status),
                             status == MUSTER_SYSTEM ? ": " : "",
                             status == MUSTER_SYSTEM ? strerror(errno) : "");
        free_parts(muster);
    }
    muster_error_clean_up(&ignored);
    return status;
}

static void begin_close(struct muster *muster)
{
    if (!atomic_exchange(&muster->closing, true))
        muster__coordinator_close(muster);
    else
        muster__coordinator_look_closed(muster);
}

enum muster_status muster_close(struct muster *muster, muster_closed_fn *on_closed, void *user_data)
{
    enum muster_status status = muster__check_usable(muster);
    if (status != MUSTER_OK)
        return status;
    struct close_listener *listener = malloc(sizeof(*listener));
    if (!listener)
        return MUSTER_NO_MEMORY;
    listener->fn = on_closed;
    listener->user_data = user_data;
    pthread_mutex_lock(&muster->inbox.lock);
    listener->next = muster->inbox.listeners;
    muster->inbox.listeners = listener;
    pthread_mutex_unlock(&muster->inbox.lock);
    begin_close(muster);
    return MUSTER_OK;
}

enum muster_status muster_close_wait(struct muster *muster, uint64_t timeout_ms)
{
    enum muster_status status = muster__check_usable(muster);
    if (status != MUSTER_OK)
        return status;
    if (muster__pool_is_current(NULL) || muster__coordinator_is_current())
        return MUSTER_WRONG_THREAD;
    begin_close(muster);
    uint64_t until_us = muster__deadline_us(muster__now_us(), timeout_ms);
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    int late = 0;
    pthread_mutex_lock(&muster->inbox.lock);
    while (!muster->inbox.closed && !late)
        late = pthread_cond_timedwait(&muster->inbox.closed_wake, &muster->inbox.lock, &until);
    bool closed = muster->inbox.closed;
    pthread_mutex_unlock(&muster->inbox.lock);
    return closed ? MUSTER_OK : MUSTER_TIMED_OUT;
}

void muster_destroy(struct muster *muster)
{
    if (muster__check_usable(muster) != MUSTER_OK)
        return;
    MUSTER_CHECK(!muster__pool_is_current(NULL) && !muster__coordinator_is_current());
    /* Bounded by the stop and cancel times of the options, after which workers are given up. */
    while (muster_close_wait(muster, 1000) == MUSTER_TIMED_OUT)
        ;
    free_parts(muster);
}

void muster_stats(struct muster *muster, struct muster_stats *ret_stats)
{
    struct muster__pool_stats pool;
    struct muster_stats stats = {.size = sizeof(stats)};
    if (muster__check_usable(muster) != MUSTER_OK)
        return;
    if (ret_stats->size && ret_stats->size < sizeof(stats))
        stats.size = ret_stats->size;
    muster__pool_stats(muster->pool, &pool);
    stats.registrations = atomic_load(&muster->counters.registrations);
    stats.workers_running = atomic_load(&muster->counters.running);
    stats.events = atomic_load(&muster->counters.events);
    stats.events_failed = atomic_load(&muster->counters.events_failed);
    stats.starts = atomic_load(&muster->counters.starts);
    stats.start_failures = atomic_load(&muster->counters.start_failures);
    stats.revivals = atomic_load(&muster->counters.revivals);
    stats.idle_ends = atomic_load(&muster->counters.idle_ends);
    stats.forced_ends = atomic_load(&muster->counters.forced_ends);
    stats.wedged = atomic_load(&muster->counters.wedged);
    stats.turns = pool.turns;
    stats.steals = pool.steals;
    stats.threads = pool.threads;
    memcpy(ret_stats, &stats, stats.size);
}
