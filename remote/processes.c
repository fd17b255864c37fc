/* remote/processes.c - the launcher and the process in reserve.
 *
 * The launcher's news is read by whichever thread of the pool polls.  The reserve is filled by an actor of the pool,
 * after the one before was taken. */
#include "remote/process_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LIMIT_DEFAULT 64
#define TRIES_MOST 4

void muster__processes_log(struct muster__processes *processes, enum muster_log_level level,
                           const char *subject, const char *format, ...)
{
    char text[2304];
    va_list arguments;
    if (!processes->options.log)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    processes->options.log(level, subject, text, processes->options.user_data);
}

static void launcher_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    (void)events;
    (void)now_us;
    muster__launcher_on_ready(MUSTER_CONTAINER_OF(source, struct muster__processes, launcher_source)->launcher);
}

/* Whoever is not trusted shares no address layout with anybody. */
static bool may_be_copy(const struct muster__processes *processes, uint32_t trust)
{
    return trust != MUSTER__TRUST_NONE && !processes->options.fresh && atomic_load(&processes->expects_javascript);
}

/* `dying`: so many were killed to make room. */
static enum muster_status make_host(struct muster__processes *processes, const struct muster__process_needs *needs,
                                    uint32_t trust, unsigned dying, struct process_host **ret_host,
                                    struct muster_error *error)
{
    if (atomic_load(&processes->count) >= processes->options.limit + dying) {
        muster_error_set(error, MUSTER_REFUSED, "there are %u processes for workers already, which is the limit",
                         processes->options.limit);
        return MUSTER_REFUSED;
    }
    pthread_mutex_lock(&processes->lock);
    unsigned number = ++processes->last_number;
    pthread_mutex_unlock(&processes->lock);
    return muster__process_host_new(processes, number, needs, may_be_copy(processes, trust), ret_host, error);
}

/* ---- the reserve ---- */

static bool prepare(struct muster__actor *actor)
{
    struct muster__processes *processes = MUSTER_CONTAINER_OF(actor, struct muster__processes, preparer);
    struct muster_error error = {0};
    struct process_host *host = NULL;
    pthread_mutex_lock(&processes->lock);
    bool wanted = !processes->spare && !processes->stopped;
    uint32_t trust = processes->last_trust;
    pthread_mutex_unlock(&processes->lock);
    if (!wanted)
        return false;
    enum muster_status status = make_host(processes, &processes->usual, trust, 0, &host, &error);
    if (status == MUSTER_OK) {
        pthread_mutex_lock(&processes->lock);
        bool keep = !processes->spare && !processes->stopped;
        if (keep)
            processes->spare = host;
        pthread_mutex_unlock(&processes->lock);
        if (!keep)
            host->base.class->destroy(&host->base);
    } else if (status != MUSTER_REFUSED) {
        muster__processes_log(processes, MUSTER_LOG_WARNING, "hosts", "none in reserve: %s",
                              error.message ? error.message : muster_status_sentence(status));
    }
    muster_error_clean_up(&error);
    return false;
}

void muster__processes_prepare(struct muster__processes *processes)
{
    if (!processes->options.no_spare)
        muster__pool_schedule(processes->options.pool, &processes->preparer);
}

/* NULL: there is none that will do; *ret_dying says whether one was killed for that. */
static struct process_host *take_spare(struct muster__processes *processes, uint32_t trust, unsigned *ret_dying)
{
    pthread_mutex_lock(&processes->lock);
    struct process_host *host = processes->spare;
    processes->spare = NULL;
    processes->last_trust = trust;
    pthread_mutex_unlock(&processes->lock);
    bool alive = host && !atomic_load(&host->dead);
    if (!host || (alive && (trust != MUSTER__TRUST_NONE || !host->may_be_copy)))
        return host;
    *ret_dying = alive;
    host->base.class->destroy(&host->base);
    return NULL;
}

/* Takes the host.  CLOSED: it is dying, as one in reserve may unseen. */
static enum muster_status assign(struct process_host *host, const struct muster_placement_request *request,
                                 struct muster__host **ret_host)
{
    enum muster_status status = muster__process_host_assign(host, request);
    if (status == MUSTER_OK)
        *ret_host = &host->base;
    else
        host->base.class->destroy(&host->base);
    return status;
}

static enum muster_status make_and_assign(struct muster__processes *processes,
                                          const struct muster_placement_request *request,
                                          const struct muster__process_needs *needs, unsigned dying,
                                          struct muster__host **ret_host, struct muster_error *error)
{
    struct process_host *host = NULL;
    enum muster_status status = make_host(processes, needs, request->trust, dying, &host, error);
    return status == MUSTER_OK ? assign(host, request, ret_host) : status;
}

enum muster_status muster__processes_make_host(struct muster__processes *processes,
                                               const struct muster_placement_request *request,
                                               const struct muster__process_needs *needs,
                                               struct muster__host **ret_host, struct muster_error *error)
{
    return make_and_assign(processes, request, needs, 0, ret_host, error);
}

enum muster_status muster__processes_take_host(struct muster__processes *processes,
                                               const struct muster_placement_request *request,
                                               struct muster__host **ret_host, struct muster_error *error)
{
    enum muster_status status = MUSTER_CLOSED;
    for (int tries = 0; status == MUSTER_CLOSED && tries < TRIES_MOST; tries++) {
        unsigned dying = 0;
        struct process_host *host = take_spare(processes, request->trust, &dying);
        status = host ? assign(host, request, ret_host)
                      : make_and_assign(processes, request, &processes->usual, dying, ret_host, error);
    }
    if (status == MUSTER_OK)
        muster__processes_prepare(processes);
    return status;
}

void muster__processes_expect_javascript(struct muster__processes *processes)
{
    atomic_store(&processes->expects_javascript, true);
}

/* ---- the environment ---- */

#define NAMES_MOST 32

/* "A,B" becomes {"A=1", "B=2", NULL} of those that are set, in one block, the caller's.  NULL: out of memory. */
static const char **take_environment(const struct muster__processes_options *options)
{
    const char *names = options->environment ? options->environment : getenv("MUSTER_HOST_ENVIRONMENT");
    char *list = muster__strdup(names ? names : ""), *rest = list;
    const char *entries[NAMES_MOST + 1] = {0};
    size_t count = 0, size = 1;
    char *name;
    if (!list)
        return NULL;
    while ((name = strsep(&rest, ",")) && count < NAMES_MOST)
        if (*name && getenv(name)) {
            size += strlen(name) + strlen(getenv(name)) + 2;
            entries[count++] = name;
        }
    size_t table = (count + 1) * sizeof(char *);
    char *block = malloc(table + size), *at = block ? block + table : NULL;
    const char **environment = (const char **)(void *)block;
    for (size_t i = 0; block && i < count; i++) {
        environment[i] = at;
        at += sprintf(at, "%s=%s", entries[i], getenv(entries[i])) + 1;
    }
    free(list);
    if (environment)
        environment[count] = NULL;
    return environment;
}

/* ---- life ---- */

static void set_defaults(struct muster__processes_options *options)
{
    if (!options->limit)
        options->limit = LIMIT_DEFAULT;
    if (!options->threads)
        options->threads = muster__pool_cores();
    if (!options->heartbeat_us)
        options->heartbeat_us = 1000000;
    if (!options->silent_us)
        options->silent_us = 5000000;
    if (!options->empty_us)
        options->empty_us = 10000000;
}

enum muster_status muster__processes_new(const struct muster__processes_options *options,
                                         struct muster__processes **ret_processes,
                                         struct muster_error *error)
{
    struct muster__processes *processes = calloc(1, sizeof *processes);
    if (!processes)
        return MUSTER_NO_MEMORY;
    processes->options = *options;
    set_defaults(&processes->options);
    processes->usual.limits = processes->options.limits;
    pthread_mutex_init(&processes->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&processes->one_less, &monotonic);
    pthread_condattr_destroy(&monotonic);
    muster__actor_init(&processes->preparer, prepare);
    enum muster_status status = MUSTER_NO_MEMORY;
    const char **environment = take_environment(options);
    const struct muster__launcher_options launcher = {.program = options->program, .environment = environment};
    if (environment)
        status = muster__launcher_new(&launcher, &processes->launcher, error);
    free(environment);
    if (status == MUSTER_OK) {
        processes->launcher_source = (struct muster__pool_source){
            .fd = muster__launcher_fd(processes->launcher), .ready = launcher_ready};
        status = muster__pool_source_add(options->pool, &processes->launcher_source, EPOLLIN | EPOLLET);
    }
    if (status == MUSTER_OK) {
        *ret_processes = processes;
    } else {
        muster__launcher_destroy(processes->launcher);
        pthread_mutex_destroy(&processes->lock);
        pthread_cond_destroy(&processes->one_less);
        free(processes);
    }
    return status;
}

static bool has_killed_locked(const struct muster__processes *processes)
{
    const struct process_host *host = processes->hosts;
    while (host && !atomic_load(&host->doomed))
        host = host->next;
    return host != NULL;
}

void muster__processes_await_killed(struct muster__processes *processes, uint64_t most_us)
{
    uint64_t until_us = muster__now_us() + most_us;
    const struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    int late = 0;
    pthread_mutex_lock(&processes->lock);
    while (has_killed_locked(processes) && !late)
        late = pthread_cond_timedwait(&processes->one_less, &processes->lock, &until);
    pthread_mutex_unlock(&processes->lock);
}

void muster__processes_destroy(struct muster__processes *processes)
{
    if (!processes)
        return;
    pthread_mutex_lock(&processes->lock);
    processes->stopped = true;
    struct process_host *spare = processes->spare;
    processes->spare = NULL;
    pthread_mutex_unlock(&processes->lock);
    if (spare)
        spare->base.class->destroy(&spare->base);
    muster__launcher_destroy(processes->launcher);
    while (processes->hosts)
        muster__process_host_bury(processes->hosts);
    pthread_mutex_destroy(&processes->lock);
    pthread_cond_destroy(&processes->one_less);
    free(processes);
}
