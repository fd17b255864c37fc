/* coordinator/hosting.c - see hosting.h.
 *
 * Isolation is a text that a host is locked to: workers share a process exactly if theirs is equal.  Processes
 * that are shared by all have ""; "site:..." is an origin; "worker:..." one version; "tenant:..." whoever is
 * not trusted, whatever else was asked. */
#include "coordinator/hosting.h"

#include "remote/processes.h"

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
        .partial_wall = options->partial_wall,
        .network = options->grant_network,
        .memory_limit = options->process_memory_limit,
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
    if (status == MUSTER_OK) {
        atomic_store(&muster->hosting.processes, made);
        muster__processes_prepare(made);
    }
    return status;
}

static enum muster_status open_processes(struct muster *muster, struct muster_error *error)
{
    pthread_mutex_lock(&muster->hosting.lock);
    enum muster_status status = open_processes_locked(muster, error);
    pthread_mutex_unlock(&muster->hosting.lock);
    return status;
}

enum muster_status muster__hosting_init(struct muster *muster, struct muster_error *error)
{
    enum muster_status status = MUSTER_OK;
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
    return muster->options.hosting > MUSTER_HOSTING_THREAD ? open_processes(muster, error) : MUSTER_OK;
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
    if (none && version->engine == &muster__engine_native)
        return refuse(error, MUSTER_UNSUPPORTED, options->scope,
                      "native code cannot be loaded behind the wall of trust \"none\"");
    if (!none && hosting <= MUSTER_HOSTING_THREAD)
        return MUSTER_OK;
    if (options->native) {
        if (options->hosting) /* it was asked for this very worker */
            return refuse(error, MUSTER_UNSUPPORTED, options->scope,
                          "a native worker in this program's own code cannot live in another process");
        return MUSTER_OK;
    }
    version->hosting = hosting > MUSTER_HOSTING_THREAD ? hosting : MUSTER_HOSTING_PROCESS;
    return MUSTER_OK;
}

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

enum muster_status muster__hosting_of_version(struct muster *muster,
                                              const struct muster_registration_options *options,
                                              struct muster__version *version, struct muster_error *error)
{
    enum muster_status status = choose(muster, options, version, error);
    if (status != MUSTER_OK || version->hosting == MUSTER_HOSTING_DEFAULT)
        return status;
    version->crashes.policy = muster->hosting.crashes;
    version->isolation = isolation_of(options, version);
    version->isolation_alone = muster__format("alone:%u", version->id);
    if (!version->isolation || !version->isolation_alone)
        return MUSTER_NO_MEMORY;
    return open_processes(muster, error);
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
    enum muster_status status =
        muster__processes_take_host(muster->hosting.processes, request, ret_host, &error);
    if (status != MUSTER_OK)
        muster__log(muster, MUSTER_LOG_ERROR, "hosts", "%s",
                    error.message ? error.message : muster_status_sentence(status));
    muster_error_clean_up(&error);
    return status;
}
