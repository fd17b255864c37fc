/* coordinator/hosting.c - see hosting.h.
 *
 * Isolation is a text that a host is locked to: workers share a process exactly if theirs is equal.  Processes
 * that are shared by all have ""; "site:..." is an origin; "worker:..." one version; "tenant:..." whoever is
 * not trusted, whatever else was asked.
 *
 * What only a process of its own kind has stands in front, so that whoever makes one, or its successor, reads it there:
 * "limits MEMORY,FILES,CHILDREN,SECONDS " if they are not the instance's, "reads LENGTH:PATH " for a shared object. */
#include "coordinator/hosting.h"

#include "remote/processes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    enum muster_hosting hosting;
} words[] = {
    {"thread", MUSTER_HOSTING_THREAD},
    {"process", MUSTER_HOSTING_PROCESS},
    {"process-per-site", MUSTER_HOSTING_PROCESS_PER_SITE},
    {"process-per-worker", MUSTER_HOSTING_PROCESS_PER_WORKER},
};

enum muster_hosting muster_hosting_named(const char *word)
{
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].hosting;
    return MUSTER_HOSTING_DEFAULT;
}

/* ---- the instance ---- */

static enum muster_status take_word(struct muster *muster, char *word, struct muster_error *error)
{
    enum muster_hosting hosting = muster_hosting_named(word);
    if (hosting != MUSTER_HOSTING_DEFAULT) {
        if (muster->options.hosting != MUSTER_HOSTING_DEFAULT && muster->options.hosting != hosting) {
            muster_error_set(error, MUSTER_INVALID_ARGUMENT,
                             "placement \"%s\": it was said already where workers live", word);
            return MUSTER_INVALID_ARGUMENT;
        }
        muster->options.hosting = hosting;
        return MUSTER_OK;
    }
    if (muster->placement_name) {
        muster_error_set(error, MUSTER_INVALID_ARGUMENT,
                         "placement \"%s\": one policy was named already, \"%s\"", word, muster->placement_name);
        return MUSTER_INVALID_ARGUMENT;
    }
    muster->placement_name = muster__strdup(word); /* the service knows whether there is such a policy */
    return muster->placement_name ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void log_of_processes(enum muster_log_level level, const char *subject, const char *text,
                             void *user_data)
{
    muster__log(user_data, level, subject, "%s", text);
}

/* As the system counts CPU time. */
static unsigned seconds_of_ms(uint64_t ms)
{
    return ms < UINT64_C(1000) * INT32_MAX ? (unsigned)((ms + 999) / 1000) : INT32_MAX;
}

static struct muster__process_limits limits_of_instance(const struct muster_options *options)
{
    return (struct muster__process_limits){.memory = options->process_memory_limit,
                                           .open_files = options->process_open_files,
                                           .children = options->process_children,
                                           .cpu_seconds = seconds_of_ms(options->process_cpu_ms)};
}

static enum muster_status check_open_files(unsigned files, const char *whose, struct muster_error *error)
{
    if (files == 0 || files >= MUSTER__PROCESS_FILES_LEAST)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_INVALID_ARGUMENT,
                     "%s: a process for workers needs %u open files, and its limit is %u", whose,
                     MUSTER__PROCESS_FILES_LEAST, files);
    return MUSTER_INVALID_ARGUMENT;
}

/* Once; the lock is held. */
static enum muster_status open_processes_locked(struct muster *muster, struct muster_error *error)
{
    const struct muster_options *options = &muster->options;
    const struct muster__processes_options processes = {
        .pool = muster->pool,
        .program = options->host_program,
        .limit = options->process_limit,
        .threads = options->threads,
        .no_spare = options->no_spare_process,
        .fresh = options->fresh_processes,
        .partial_wall = options->partial_wall,
        .network = options->grant_network,
        .limits = limits_of_instance(options),
        .recycle_turns = options->recycle_turns,
        .recycle_age_us = muster__us_of_ms(options->recycle_ms),
        .recycle_memory = options->recycle_memory,
        .log = log_of_processes,
        .user_data = muster,
    };
    if (muster->hosting.processes)
        return MUSTER_OK;
    struct muster__processes *made = NULL;
    enum muster_status status = muster__processes_new(&processes, &made, error);
    if (status == MUSTER_OK)
        atomic_store(&muster->hosting.processes, made);
    return status;
}

/* `engine`: of the worker that is to live there; NULL: nobody knows yet. */
static enum muster_status open_processes(struct muster *muster, const struct muster__engine *engine,
                                         struct muster_error *error)
{
    pthread_mutex_lock(&muster->hosting.lock);
    bool first = !muster->hosting.processes;
    enum muster_status status = open_processes_locked(muster, error);
    if (status == MUSTER_OK && engine && strcmp(engine->name, "javascript") == 0)
        muster__processes_expect_javascript(muster->hosting.processes);
    if (status == MUSTER_OK && first)
        muster__processes_prepare(muster->hosting.processes);
    pthread_mutex_unlock(&muster->hosting.lock);
    return status;
}

enum muster_status muster__hosting_init(struct muster *muster, struct muster_error *error)
{
    enum muster_status status = check_open_files(muster->options.process_open_files, "the instance", error);
    char *copy = muster__strdup(muster->options.placement ? muster->options.placement : "");
    char *rest = copy, *word;
    if (!copy)
        return MUSTER_NO_MEMORY;
    while (status == MUSTER_OK && (word = strsep(&rest, ",")))
        if (*word)
            status = take_word(muster, word, error);
    free(copy);
    return status;
}

enum muster_status muster__hosting_start(struct muster *muster, struct muster_error *error)
{
    return muster->options.hosting > MUSTER_HOSTING_THREAD ? open_processes(muster, NULL, error) : MUSTER_OK;
}

/* A process that was killed is reaped in milliseconds. */
#define SETTLE_US 1000000u

void muster__hosting_settle(struct muster *muster)
{
    struct muster__processes *processes = atomic_load(&muster->hosting.processes);
    if (processes)
        muster__processes_await_killed(processes, SETTLE_US);
}

void muster__hosting_clean_up(struct muster *muster)
{
    muster__processes_destroy(muster->hosting.processes);
    pthread_mutex_destroy(&muster->hosting.lock);
}

/* ---- a version ---- */

/* The origin of a whole URL; every path has the same. */
static char *site_of(const char *scope)
{
    const char *host = strstr(scope, "://");
    size_t length = host ? (size_t)(host + 3 - scope) + strcspn(host + 3, "/") : 0;
    return muster__format("site:%.*s", (int)length, scope);
}

static enum muster_status refuse(struct muster_error *error, enum muster_status status, const char *scope,
                                 const char *sentence)
{
    muster_error_set(error, status, "%s: %s", scope, sentence);
    return status;
}

static bool has_limits(const struct muster_registration_options *options)
{
    return options->process_memory_limit || options->process_open_files || options->process_children ||
           options->process_cpu_ms;
}

/* Whoever is not trusted is alone with its tenant, in a process. */
static enum muster_status choose(struct muster *muster, const struct muster_registration_options *options,
                                 struct muster__version *version, struct muster_error *error)
{
    enum muster_hosting hosting = options->hosting ? options->hosting : muster->options.hosting;
    bool none = options->trust == MUSTER_TRUST_NONE;
    if (hosting > MUSTER_HOSTING_PROCESS_PER_WORKER || options->trust > MUSTER_TRUST_NONE)
        return refuse(error, MUSTER_INVALID_ARGUMENT, options->scope, "its hosting or trust is none that this library knows");
    if (none && options->hosting == MUSTER_HOSTING_THREAD)
        return refuse(error, MUSTER_INVALID_ARGUMENT, options->scope,
                      "a worker with trust \"none\" cannot live on a thread of this process");
    if (!none && hosting <= MUSTER_HOSTING_THREAD)
        return has_limits(options) ? refuse(error, MUSTER_INVALID_ARGUMENT, options->scope,
                                            "it has limits of a process, and lives on a thread of this one")
                                   : MUSTER_OK;
    if (options->native) {
        if (options->hosting || none || has_limits(options)) /* it was asked for this very worker */
            return refuse(error, MUSTER_UNSUPPORTED, options->scope,
                          "a native worker in this program's own code cannot live in another process");
        return MUSTER_OK;
    }
    version->hosting = hosting > MUSTER_HOSTING_THREAD ? hosting : MUSTER_HOSTING_PROCESS;
    return MUSTER_OK;
}

/* ---- what only a process of its own kind has ---- */

/* "": it takes any.  NULL: out of memory. */
static char *needs_of(const struct muster *muster, const struct muster_registration_options *options,
                      const char *readable)
{
    const struct muster__process_limits usual = limits_of_instance(&muster->options);
    char limits[96] = "";
    if (has_limits(options))
        snprintf(limits, sizeof limits, "limits %" PRIu64 ",%u,%u,%u ",
                 muster__or_default(options->process_memory_limit, usual.memory),
                 (unsigned)muster__or_default(options->process_open_files, usual.open_files),
                 (unsigned)muster__or_default(options->process_children, usual.children),
                 (unsigned)muster__or_default(seconds_of_ms(options->process_cpu_ms), usual.cpu_seconds));
    return readable ? muster__format("%sreads %zu:%s ", limits, strlen(readable), readable)
                    : muster__strdup(limits);
}

/* Reads what needs_of() wrote.  False: out of memory.  *ret_readable is the caller's. */
static bool read_needs(const struct muster *muster, const char *isolation, struct muster__process_needs *ret_needs,
                       bool *ret_any, char **ret_readable)
{
    struct muster__process_limits *limits = &ret_needs->limits;
    int used = 0;
    size_t length = 0;
    *ret_needs = (struct muster__process_needs){.limits = limits_of_instance(&muster->options)};
    *ret_any = true;
    *ret_readable = NULL;
    if (sscanf(isolation, "limits %" SCNu64 ",%u,%u,%u %n", &limits->memory, &limits->open_files,
               &limits->children, &limits->cpu_seconds, &used) == 4) {
        isolation += used;
        *ret_any = false;
    }
    if (sscanf(isolation, "reads %zu:%n", &length, &used) == 1) {
        ret_needs->readable = *ret_readable = muster__strndup(isolation + used, length);
        *ret_any = false;
        return *ret_readable != NULL;
    }
    return true;
}

/* ---- with whom it lives ---- */

static char *isolation_of(const struct muster_registration_options *options,
                          const struct muster__version *version)
{
    if (options->trust == MUSTER_TRUST_NONE)
        return muster__format("tenant:%s%s%u", options->tenant ? options->tenant : options->scope,
                              version->hosting == MUSTER_HOSTING_PROCESS_PER_WORKER ? " worker:" : "",
                              version->hosting == MUSTER_HOSTING_PROCESS_PER_WORKER ? version->id : 0);
    switch (version->hosting) {
    case MUSTER_HOSTING_PROCESS_PER_SITE: return site_of(options->scope);
    case MUSTER_HOSTING_PROCESS_PER_WORKER: return muster__format("worker:%u", version->id);
    default: return muster__strdup("");
    }
}

/* Nothing is opened by name behind the wall, but what this worker is made of. */
static bool find_object(const struct muster_registration_options *options, const struct muster__version *version,
                        char **ret_object)
{
    bool wanted = options->trust == MUSTER_TRUST_NONE && version->engine == &muster__engine_native;
    *ret_object = wanted ? realpath(options->script, NULL) : NULL;
    return *ret_object || !wanted || errno != ENOMEM; /* one that is missing is told by the loader */
}

/* False: out of memory. */
static bool lock_to(const struct muster *muster, const struct muster_registration_options *options,
                    struct muster__version *version)
{
    char *object = NULL;
    bool found = find_object(options, version, &object);
    char *needs = needs_of(muster, options, object);
    char *with = isolation_of(options, version);
    if (found && needs && with) {
        version->isolation = muster__format("%s%s", needs, with);
        version->isolation_alone = muster__format("%salone:%u", needs, version->id);
    }
    free(with);
    free(needs);
    free(object);
    return version->isolation && version->isolation_alone;
}

enum muster_status muster__hosting_of_version(struct muster *muster,
                                              const struct muster_registration_options *options,
                                              struct muster__version *version, struct muster_error *error)
{
    enum muster_status status = check_open_files(options->process_open_files, options->scope, error);
    if (status == MUSTER_OK)
        status = choose(muster, options, version, error);
    if (status != MUSTER_OK || version->hosting == MUSTER_HOSTING_DEFAULT)
        return status;
    version->crashes.policy = muster->hosting.crashes;
    return lock_to(muster, options, version) ? open_processes(muster, version->engine, error) : MUSTER_NO_MEMORY;
}

void muster__hosting_ask(struct muster__version *version, bool alone,
                         struct muster_placement_request *request)
{
    if (version->hosting == MUSTER_HOSTING_DEFAULT) {
        request->kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_THREADS);
        return;
    }
    request->kinds = request->new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS);
    request->isolation = alone ? version->isolation_alone : version->isolation;
    request->trust = (uint32_t)version->trust;
}

enum muster_status muster__hosting_new_host(enum muster_placement_kind kind,
                                            const struct muster_placement_request *request,
                                            struct muster__host **ret_host, void *user_data)
{
    struct muster *muster = user_data;
    struct muster_error error = {0};
    MUSTER_CHECK(kind == MUSTER_PLACEMENT_PROCESS && muster->hosting.processes);
    struct muster__process_needs needs;
    bool any = true;
    char *readable = NULL;
    enum muster_status status = MUSTER_NO_MEMORY;
    if (read_needs(muster, request->isolation ? request->isolation : "", &needs, &any, &readable))
        status = any ? muster__processes_take_host(muster->hosting.processes, request, ret_host, &error)
                     : muster__processes_make_host(muster->hosting.processes, request, &needs, ret_host, &error);
    free(readable);
    if (status != MUSTER_OK)
        muster__log(muster, MUSTER_LOG_ERROR, "hosts", "%s",
                    error.message ? error.message : muster_status_sentence(status));
    muster_error_clean_up(&error);
    return status;
}
