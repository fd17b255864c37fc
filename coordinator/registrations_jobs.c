/* coordinator/registrations_jobs.c - what scripts asked of registrations, as jobs of the core's, until they settle; and
 * the scripts that jobs bring, the embedder's too. */
#include "coordinator/registrations_internal.h"

#include <stdlib.h>
#include <string.h>

/* A load, until its job has settled. */
struct job_load {
    struct muster__id_node node; /* by the job's number */
    struct muster__load *load;
    struct muster_error error; /* why it came to nothing */
};

/* ---- life ---- */

static struct job_load *load_of(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct job_load, node) : NULL;
}

void muster__registrations_free_job(struct muster__script_job *job)
{
    muster__version_release(job->draft);
    free(job);
}

static void free_load(struct job_load *load)
{
    muster__load_leave(load->load);
    muster__load_release(load->load);
    muster_error_clean_up(&load->error);
    free(load);
}

void muster__registrations_clean_up_jobs(struct muster__registrations *registrations)
{
    struct muster__id_node *node;
    while ((node = muster__id_map_any(&registrations->jobs))) {
        struct muster__script_job *job = job_of(muster__id_map_remove(&registrations->jobs, node->id));
        if (job->pending)
            muster__registrations_abort(job->pending);
        muster__registrations_free_job(job);
    }
    while ((node = muster__id_map_any(&registrations->loads)))
        free_load(load_of(muster__id_map_remove(&registrations->loads, node->id)));
    free(registrations->failure.scope);
    muster_error_clean_up(&registrations->failure.error);
    muster__id_map_clean_up(&registrations->jobs);
    muster__id_map_clean_up(&registrations->loads);
}

void muster__registrations_closing(struct muster *muster)
{
    struct muster__registrations *registrations = own(muster);
    registrations->soft_update_us = UINT64_MAX;
    for (struct muster__id_node *at = muster__id_map_next(&registrations->loads, NULL); at;
         at = muster__id_map_next(&registrations->loads, at))
        muster__load_leave(load_of(at)->load);
}

/* ---- jobs of scripts ---- */

/* NULL: out of memory, and the ask was answered. */
struct muster__script_job *muster__registrations_new_job(struct muster__ask *ask, enum muster__core_event_kind kind)
{
    struct muster *muster = ask->context->muster;
    struct muster__script_job *job = calloc(1, sizeof(*job));
    if (!job) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return NULL;
    }
    job->node.id = muster__coordinator_own_job(muster);
    job->kind = kind;
    job->pending = muster__ask_defer(ask);
    if (!job->pending) {
        free(job);
        return NULL;
    }
    muster__id_map_add(&own(muster)->jobs, &job->node);
    return job;
}

static struct muster_value *tree_of_job(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__core_scope_view view;
    bool found = (action->version && muster__core_version_view(muster->core, action->version, &view)) ||
                 muster__core_scope_view(muster->core, action->scope, &view);
    return found ? muster__tree_registration(muster, &view) : muster_value_new_null();
}

/* What a script is told of a job that failed (SW-UPD-3, 4, 6, 7; SW-JOB-6). */
void muster__registrations_fail_job(struct muster__script_job *job, enum muster_status status,
                                    const struct muster_error *error)
{
    bool is_security = error && error->name && strcmp(error->name, "SecurityError") == 0;
    const char *name = is_security                  ? "SecurityError"
                       : status == MUSTER_SHUTDOWN  ? "AbortError"
                       : status == MUSTER_NO_MEMORY ? "OperationError"
                       : status == MUSTER_REFUSED   ? "QuotaExceededError"
                                                    : "TypeError";
    struct muster_error told = {.status = status};
    if (!error && status == MUSTER_NOT_FOUND)
        muster_error_set(&told, status, "there is no such registration any more");
    muster__pending_fail(job->pending, name, error ? error : &told);
    muster_error_clean_up(&told);
}

/* NULL: the script came, or is not known to have failed. */
static const struct muster_error *load_error_of(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__registrations *registrations = own(muster);
    const struct muster_error *error = muster__registrations_load_error(muster, action->job);
    if (error) {
        free(registrations->failure.scope);
        muster_error_clean_up(&registrations->failure.error);
        registrations->failure.scope = muster__strdup(action->scope);
        registrations->failure.status = action->status;
        muster_error_copy(&registrations->failure.error, error);
        return error;
    }
    bool joined = action->scope && registrations->failure.scope && registrations->failure.status == action->status &&
                  strcmp(action->scope, registrations->failure.scope) == 0;
    return joined ? &registrations->failure.error : NULL;
}

void muster__registrations_settled(struct muster *muster, const struct muster__core_action *action,
                                   const struct muster_error *error)
{
    struct muster__script_job *job = job_of(muster__id_map_remove(&own(muster)->jobs, action->job));
    const struct muster_error *load_error = action->status != MUSTER_OK ? load_error_of(muster, action) : NULL;
    if (!job)
        return;
    bool gone = action->status == MUSTER_NOT_FOUND && job->kind == MUSTER__CORE_UNREGISTER;
    if (job->kind == MUSTER__CORE_UNREGISTER && (gone || action->status == MUSTER_OK)) {
        muster__pending_answer(job->pending, muster_value_new_boolean(!gone));
    } else if (action->status == MUSTER_OK) {
        muster__registrations_tell_via(muster, action->scope);
        muster__pending_answer(job->pending, tree_of_job(muster, action));
    } else {
        muster__registrations_fail_job(job, action->status, load_error ? load_error : error);
    }
    muster__registrations_free_job(job);
}

/* ---- scripts ---- */

static enum muster_status keep_like(const struct muster__version *version, struct muster__version *draft)
{
    return version->keeps_scripts ? muster__version_keep_scripts(draft)
           : version->map         ? muster__version_keep_imports(draft)
                                  : MUSTER_OK;
}

/* The same again, of what may have changed; NULL: out of memory, or it cannot be made any more. */
static struct muster__version *draft_like(struct muster *muster, struct muster__version *version)
{
    struct muster_registration_options options = {.size = sizeof(options)};
    struct muster__version *draft = NULL;
    struct muster_error ignored = {0};
    muster__version_inherit(version, &options);
    options.scope = version->scope;
    options.script = version->script;
    options.engine = version->engine->name;
    options.module = version->loader.module;
    options.idempotent = version->idempotent;
    options.schedule = version->schedule;
    options.declared = version->is_declared;
    enum muster_status status = muster__version_new(muster, &options, &draft, &ignored);
    if (status == MUSTER_OK) {
        char *identity = muster__strdup(version->identity); /* the same script, whatever was inherited */
        if (identity) {
            free(draft->identity);
            draft->identity = identity;
        }
        draft->idle_us = version->idle_us;
        if (!identity || keep_like(version, draft) != MUSTER_OK) {
            muster__version_release(draft);
            draft = NULL;
        }
    }
    muster_error_clean_up(&ignored);
    return draft;
}

static void feed_loaded(struct muster *muster, uint64_t job, const struct muster__load_outcome *outcome,
                        struct muster__version *draft)
{
    bool offers = outcome->status == MUSTER_OK && outcome->changed;
    if (offers) {
        draft->node.id = draft->id;
        muster__id_map_add(&muster->own.versions, &muster__version_acquire(draft)->node);
    }
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_LOADED,
                                                                  .job = job,
                                                                  .status = outcome->status,
                                                                  .changed = outcome->changed,
                                                                  .version = offers ? draft->id : 0,
                                                                  .idle_us = draft ? draft->idle_us : 0,
                                                                  .checked_us = outcome->checked_us});
}

static void load_ended(struct muster *muster, struct muster__load *load, const struct muster__load_outcome *outcome)
{
    struct job_load *kept = load_of(muster__id_map_find(&own(muster)->loads, muster__load_job(load)));
    struct muster__version *draft = muster__load_draft(load);
    if (!kept)
        return;
    if (outcome->error) {
        muster_error_clean_up(&kept->error);
        muster_error_copy(&kept->error, outcome->error);
        muster__log(muster, MUSTER_LOG_WARNING, draft->scope, "%s", outcome->error->message);
    }
    struct muster__load_outcome checked = *outcome;
    if (checked.status == MUSTER_OK && checked.changed)
        checked.status = muster__registrations_check_stored(muster, draft, &kept->error);
    feed_loaded(muster, muster__load_job(load), &checked, draft);
}

/* How a job's scripts may be cached: as it was asked to register them, or as they are registered. */
static enum muster__via via_of(const struct muster *muster, uint64_t job_number, const struct muster__version *base)
{
    const struct muster__script_job *job = job_of(muster__id_map_find(&own(muster)->jobs, job_number));
    struct muster__core_scope_view view;
    if (job && job->draft)
        return job->via;
    return base && muster__core_version_view(muster->core, base->id, &view) ? view.via : MUSTER__VIA_IMPORTS;
}

static enum muster_status start_load(struct muster *muster, uint64_t job, struct muster__version *draft,
                                     struct muster__version *base)
{
    struct job_load *kept = calloc(1, sizeof(*kept));
    bool stale = muster__core_is_stale(muster->core, draft->scope, muster__wall_us());
    struct muster__load *load =
        kept ? muster__load_new(muster, job, draft, base, via_of(muster, job, base), stale) : NULL;
    enum muster_status status = load ? muster__load_start(load, load_ended) : MUSTER_NO_MEMORY;
    if (status != MUSTER_OK) {
        muster__load_release(load);
        free(kept);
        return status;
    }
    free(own(muster)->failure.scope);
    own(muster)->failure.scope = NULL;
    kept->load = load;
    kept->node.id = job;
    muster__id_map_add(&own(muster)->loads, &kept->node);
    return MUSTER_OK;
}

void muster__registrations_load(struct muster *muster, const struct muster__core_action *action)
{
    const struct muster__script_job *job = job_of(muster__id_map_find(&own(muster)->jobs, action->job));
    struct muster__version *base = muster__coordinator_version(muster, action->version);
    struct muster__version *draft = job && job->draft ? muster__version_acquire(job->draft) : NULL;
    struct muster__load_outcome outcome = {.status = MUSTER_NO_MEMORY};
    bool is_native = !draft && base && strcmp(base->engine->name, "native") == 0;
    if (!draft && base && !is_native)
        draft = draft_like(muster, base);
    if (is_native)
        outcome.status = MUSTER_OK; /* the embedder's code is what it is */
    else if (draft)
        outcome.status = start_load(muster, action->job, draft, base);
    if (is_native || outcome.status != MUSTER_OK)
        feed_loaded(muster, action->job, &outcome, NULL);
    muster__version_release(draft);
}

const struct muster_error *muster__registrations_load_error(const struct muster *muster, uint64_t job)
{
    const struct job_load *load = load_of(muster__id_map_find(&own(muster)->loads, job));
    return load && load->error.message ? &load->error : NULL;
}

void muster__registrations_forget_job(struct muster *muster, uint64_t job)
{
    struct job_load *load = load_of(muster__id_map_remove(&own(muster)->loads, job));
    if (load)
        free_load(load);
}
