/* coordinator/core_job.c - the jobs that change a scope's registration.  Thread: the driver's.
 *
 * Promises: jobs of a scope run one at a time, in order, and each settles once. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/core_internal.h"

/* ---- how jobs end ---- */

void muster__core_job_free(struct muster__core_job *job)
{
    if (job != NULL) {
        free(job->fresh);
        free(job->script);
        free(job);
    }
}

static void settle(struct muster__core *core, const struct muster__core_scope *scope,
                   const struct muster__core_job *first, const struct muster__core_job *job)
{
    muster__core_map_remove(&core->jobs, job->id);
    muster__core_emit(core, (struct muster__core_action){
                                .kind = MUSTER__DO_SETTLE_JOB,
                                .job = job->id,
                                .status = first->status,
                                .version = first->version != NULL ? first->version->id : 0,
                                .registration = core->options.notes ? first->registration : 0,
                                .scope = scope->name });
}

/* Those that joined the first job. */
static void settle_joined(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_job *first = scope->jobs;
#if MUSTER_PLANT_FAULT == 6
    return;
#endif
    while (first->joined != NULL) {
        struct muster__core_job *job = first->joined;
        first->joined = job->joined;
        settle(core, scope, first, job);
        muster__core_job_free(job);
    }
}

/* The first job, and those that joined it. */
static void settle_first(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;

    muster__core_timer_clear(core, &job->timer);
    if (!job->settled) {
        settle(core, scope, job, job);
        settle_joined(core, scope);
    }
    scope->jobs = job->next;
    scope->last_job = scope->jobs == NULL ? NULL : scope->last_job;
    muster__core_job_free(job);
}

static struct muster__core_job *job_of(const struct muster__core_version *version)
{
    struct muster__core_job *job = version->scope->jobs;
    return job != NULL && job->begun && !job->done && job->version == version ? job : NULL;
}

static void finish(struct muster__core_job *job, enum muster_status status)
{
    job->done = true;
    job->status = status;
}

void muster__core_job_finish_of(const struct muster__core_version *version, enum muster_status status)
{
    struct muster__core_job *job = job_of(version);
    if (job != NULL) {
        finish(job, status);
    }
}

/* Installing begins: whom the specification's promise was made to hears now, the job goes on. */
void muster__core_job_settle_early(struct muster__core *core, const struct muster__core_version *version)
{
    struct muster__core_job *job = job_of(version);
    if (job != NULL && job->early && !job->settled) {
        settle(core, version->scope, job, job);
        settle_joined(core, version->scope);
#if MUSTER_PLANT_FAULT != 12
        job->settled = true;
#endif
    }
}

/* ---- jobs ---- */

/* Nothing runs of the active version and it never did: it can give way without having drained. */
static bool is_untouched(const struct muster__core_registration *registration)
{
    const struct muster__core_version *active = registration->active;
    return registration->waiting == NULL
           && (active == NULL || (active->state == MUSTER__VERSION_PARSED && active->current == NULL));
}

static void begin_active(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;
    struct muster__core_version *old = registration->active;

    registration->active = version;
    version->role = MUSTER__ROLE_ACTIVE;
    muster__core_version_publish(core, version);
    if (old != NULL) {
        muster__core_version_make_redundant(core, old, MUSTER__STOP_REPLACED);
        muster__core_move_users(core, old, version);
        muster__core_see_redundant(core, old);
    }
}

static void begin_version(struct muster__core *core, struct muster__core_job *job)
{
    struct muster__core_version *version = job->version;
    struct muster__core_registration *registration = version->scope->registration;
    bool first = registration == NULL || muster__core_registration_is_empty(registration);

    if (registration == NULL) {
        registration = muster__core_registration_add(core, version->scope, job);
    }
    job->registration = registration->id;
    muster__core_registration_join(version, registration);
    if (job->restored && first) {
        version->state = MUSTER__VERSION_ACTIVATED;
        muster__core_see_restored(core, version);
    }
    if (version->plain) {
        version->state = MUSTER__VERSION_ACTIVATED; /* it may open its slot as soon as it is evaluated */
    }
    if ((job->lazy && is_untouched(registration)) || (job->restored && first) || version->plain) {
        begin_active(core, version);
        if (!version->plain || job->lazy) {
            finish(job, MUSTER_OK);
        } else {
            muster__core_instance_launch(core, version);
        }
        return;
    }
    registration->installing = version;
    version->role = MUSTER__ROLE_INSTALLING;
    if (registration->active == NULL && !version->early) {
        muster__core_version_publish(core, version);
    }
    muster__core_instance_launch(core, version);
}

static void settle_with(struct muster__core_job *job, struct muster__core_version *version,
                        enum muster_status status)
{
    job->version = version;
    job->registration = version != NULL ? version->registration->id : 0;
    finish(job, status);
}

/* What it offered is not needed. */
static void refuse_offered(struct muster__core *core, struct muster__core_job *job, enum muster_status status)
{
    struct muster__core_version *offered = job->version;
    settle_with(job, NULL, status);
    if (offered != NULL) {
        muster__core_version_dispose(core, offered);
    }
}

static void begin_load(struct muster__core *core, struct muster__core_job *job,
                       const struct muster__core_registration *registration)
{
    const struct muster__core_version *newest = muster__core_registration_newest(registration);
    job->loading = true;
    job->registration = registration->id;
#if MUSTER_PLANT_FAULT != 14
    muster__core_timer_set(core, &job->timer, muster__core_timer_after(core, core->options.load_us));
#endif
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_LOAD,
                                                          .job = job->id,
                                                          .version = newest != NULL ? newest->id : 0,
                                                          .registration = registration->id,
                                                          .scope = registration->scope->name });
}

/* SW-REG-3 */
static void begin_register(struct muster__core *core, struct muster__core_scope *scope,
                           struct muster__core_job *job)
{
    struct muster__core_version *offered = job->version;
    struct muster__core_registration *registration = scope->registration;
    struct muster__core_version *newest =
        registration != NULL ? muster__core_registration_newest(registration) : NULL;
    const char *script = offered != NULL ? offered->script : job->script;

    MUSTER_CHECK(registration == NULL || registration->installing == NULL); /* its job would be the first */
    if (offered != NULL && offered->released) {
        refuse_offered(core, job, MUSTER_CANCELED);
    } else if (newest != NULL && newest->plain != job->plain) {
        refuse_offered(core, job, MUSTER_EXISTS);
    } else if (newest != NULL && strcmp(newest->script, script) == 0 && registration->via == job->via) {
        settle_with(job, newest, MUSTER_OK);
        if (offered != NULL) {
            muster__core_version_dispose(core, offered);
        }
    } else if (newest != NULL && newest->plain) {
        refuse_offered(core, job, MUSTER_EXISTS);
    } else if (job->load) {
        begin_load(core, job,
                   registration != NULL ? registration : muster__core_registration_add(core, scope, job));
    } else {
        begin_version(core, job);
    }
}

/* SW-UPD-1 */
static void begin_update(struct muster__core *core, struct muster__core_scope *scope,
                         struct muster__core_job *job)
{
    struct muster__core_registration *registration = scope->registration;
    struct muster__core_version *newest =
        registration != NULL ? muster__core_registration_newest(registration) : NULL;

    if (newest == NULL || (job->script != NULL && strcmp(newest->script, job->script) != 0)) {
        finish(job, MUSTER_NOT_FOUND);
    } else if (newest->plain) {
        finish(job, MUSTER_UNSUPPORTED);
    } else {
        job->via = registration->via;
        begin_load(core, job, registration);
    }
}

/* SW-UNR-1 */
static void begin_unregister(struct muster__core *core, struct muster__core_scope *scope,
                             struct muster__core_job *job)
{
    struct muster__core_registration *registration = scope->registration;

    if (registration == NULL) {
        finish(job, MUSTER_NOT_FOUND);
        return;
    }
    job->registration = registration->id;
    finish(job, MUSTER_OK);
    registration->versions++; /* it stays while it is worked on */
    muster__core_registration_remove(core, registration, MUSTER__STOP_NONE, 0);
    if (registration->users == 0) {
        muster__core_due_clear(core, registration);
    }
    registration->versions--;
    muster__core_registration_free_if_left(registration);
}

/* The instances of a version that live or are dying: ended, and waited for. */
static void stop_version(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_instance *next;

    if (version == NULL) {
        return;
    }
    version->activation_due = false;
    if (version->current != NULL) {
        muster__core_instance_feed(core, version->current, MUSTER__INPUT_END, MUSTER__STOP_ASKED,
                                   MUSTER_OK);
    }
    for (struct muster__core_instance *it = version->instances; it != NULL; it = next) {
        next = it->next;
        if (it->phase != MUSTER__PHASE_ABANDONED) {
            it->awaited = true;
            version->scope->awaited++;
        }
    }
}

static void begin_stop(struct muster__core *core, struct muster__core_scope *scope,
                       struct muster__core_job *job)
{
    struct muster__core_registration *registration = scope->registration;

    if (registration == NULL) {
        finish(job, MUSTER_NOT_FOUND);
        return;
    }
    scope->awaited = 0;
    scope->stop_status = MUSTER_OK;
    job->registration = registration->id;
    for (struct muster__core_version *it = scope->redundant; it != NULL; it = it->next) {
        stop_version(core, it);
    }
    for (struct muster__core_registration *it = scope->unregistered; it != NULL; it = it->next) {
        stop_version(core, it->active);
        stop_version(core, it->waiting);
    }
    struct muster__core_version *waiting = registration->waiting;
    stop_version(core, registration->active); /* a plain one takes the registration along */
    stop_version(core, waiting);
}

static void begin(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;

    job->begun = true;
    switch (job->kind) {
    case MUSTER__JOB_REGISTER:
        begin_register(core, scope, job);
        return;
    case MUSTER__JOB_UPDATE:
        begin_update(core, scope, job);
        return;
    case MUSTER__JOB_UNREGISTER:
        begin_unregister(core, scope, job);
        return;
    case MUSTER__JOB_STOP:
        begin_stop(core, scope, job);
        return;
    }
}

/* The moment at which a version's job ends. */
static bool has_come_far_enough(const struct muster__core_job *job)
{
    const struct muster__core_version *version = job->version;
    if (job->plain) {
        return version->opened;
    }
    return job->early ? version->state >= MUSTER__VERSION_INSTALLED
                      : version->state == MUSTER__VERSION_ACTIVATED || version->role == MUSTER__ROLE_WAITING;
}

static void poll_job(struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;

    if (job->done) {
        return;
    }
    if (job->kind == MUSTER__JOB_STOP) {
        if (scope->awaited == 0) {
            finish(job, scope->stop_status);
        }
    } else if (job->version != NULL && job->version->role != MUSTER__ROLE_OFFERED
               && has_come_far_enough(job)) {
        finish(job, MUSTER_OK);
    }
}

/* No version installs while one hands over to another. */
static bool must_wait(const struct muster__core_scope *scope)
{
    const struct muster__core_job *job = scope->jobs;
    bool installs = job->kind == MUSTER__JOB_REGISTER || job->kind == MUSTER__JOB_UPDATE;
    return installs && scope->registration != NULL
           && muster__core_registration_is_handing_over(scope->registration);
}

static bool run_jobs(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;
    if (job == NULL) {
        return false;
    }
    bool loaded = job->begun && !job->loading && job->version != NULL && !job->done
                  && job->version->role == MUSTER__ROLE_OFFERED;
    bool begins = !job->begun || loaded;
    if (begins && must_wait(scope)) {
        return false;
    }
    if (loaded) {
        begin_version(core, job);
    } else if (!job->begun) {
        begin(core, scope);
    }
    poll_job(scope);
    if (scope->jobs->done) {
        settle_first(core, scope);
        return true;
    }
    return begins;
}

void muster__core_scope_advance(struct muster__core *core, struct muster__core_scope *scope)
{
    while (!core->closing
           && ((scope->registration != NULL && muster__core_due_registration(core, scope->registration))
               || muster__core_due_unregistered(core, scope) || muster__core_due_activate_redundant(core, scope)
               || run_jobs(core, scope))) {
    }
    muster__core_due_dispose(core, scope);
    if (scope->jobs == NULL && scope->redundant == NULL && scope->registration == NULL
        && scope->unregistered == NULL) {
        muster__core_scope_bury(core, scope);
    }
}

/* ---- the driver's jobs ---- */

/* Offered, and no use for it. */
static void dispose_in_vain(struct muster__core *core, const struct muster__core_event *event,
                            const struct muster__core_scope *scope)
{
    if (event->version != 0) {
        muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_DISPOSE,
                                                              .version = event->version,
                                                              .scope = scope != NULL ? scope->name : NULL });
    }
}

static void settle_now(struct muster__core *core, const struct muster__core_event *event,
                       enum muster_status status)
{
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_SETTLE_JOB,
                                                          .job = event->job,
                                                          .status = status });
    dispose_in_vain(core, event, NULL);
}

static bool are_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *script_of(const struct muster__core_job *job)
{
    return job->load || job->kind == MUSTER__JOB_UPDATE ? job->script : job->version->script;
}

/* SW-JOB-2, SW-JOB-3; and what the two ask for settles at the same moment. */
static bool may_join(const struct muster__core_job *tail, const struct muster__core_event *event)
{
    if (tail == NULL || tail->settled || tail->early != event->early) {
        return false;
    }
    if (tail->kind == MUSTER__JOB_REGISTER) {
        return event->kind == MUSTER__CORE_REGISTER && tail->lazy == event->lazy && tail->load == event->load
               && tail->plain == event->plain && tail->restored == event->restored && tail->via == event->via
               && are_equal(script_of(tail), event->script);
    }
    return tail->kind == MUSTER__JOB_UPDATE && event->kind == MUSTER__CORE_UPDATE
           && are_equal(tail->script, event->script);
}

static void append_job(struct muster__core_scope *scope, struct muster__core_job *job)
{
    if (scope->last_job != NULL) {
        scope->last_job->next = job;
    } else {
        scope->jobs = job;
    }
    scope->last_job = job;
}

static struct muster__core_version *new_version(struct muster__core *core,
                                                const struct muster__core_event *event, const char *script)
{
    struct muster__core_version *version = muster__core_store_new(core, sizeof(*version));
    if (version == NULL) {
        return NULL;
    }
    version->id = event->version;
    version->timer.owner = MUSTER__OF_VERSION;
    version->idle_us = event->idle_us;
    version->early = event->early;
    version->plain = event->plain;
    version->via = event->via;
    version->script = muster__core_store_text(core, script);
    if (version->script == NULL) {
        free(version);
        return NULL;
    }
    return version;
}

static enum muster__job_kind kind_of(const struct muster__core_event *event)
{
    switch (event->kind) {
    case MUSTER__CORE_REGISTER:
        return MUSTER__JOB_REGISTER;
    case MUSTER__CORE_UPDATE:
        return MUSTER__JOB_UPDATE;
    case MUSTER__CORE_UNREGISTER:
        return MUSTER__JOB_UNREGISTER;
    default:
        return MUSTER__JOB_STOP;
    }
}

static struct muster__core_job *new_job(struct muster__core *core, const struct muster__core_event *event,
                                        bool joins)
{
    struct muster__core_job *job = muster__core_store_new(core, sizeof(*job));
    if (job == NULL) {
        return NULL;
    }
    job->id = event->job;
    job->kind = kind_of(event);
    job->timer.owner = MUSTER__OF_JOB;
    job->lazy = event->lazy;
    job->load = event->load;
    job->early = event->early;
    job->plain = event->plain;
    job->restored = event->restored;
    job->via = event->via;
    job->checked_us = event->checked_us;
    bool loads = job->load || job->kind == MUSTER__JOB_UPDATE;
    if (!joins && loads && event->script != NULL) {
        job->script = muster__core_store_text(core, event->script);
    }
    if (!joins && job->kind == MUSTER__JOB_REGISTER) {
        job->fresh = muster__core_store_new(core, sizeof(*job->fresh));
    }
    if (!joins && ((loads && event->script != NULL && job->script == NULL)
                   || (job->kind == MUSTER__JOB_REGISTER && job->fresh == NULL))) {
        muster__core_job_free(job);
        return NULL;
    }
    return job;
}

static enum muster_status join(struct muster__core *core, struct muster__core_scope *scope,
                               const struct muster__core_event *event)
{
    struct muster__core_job *job = new_job(core, event, true);
    struct muster__core_job *last = scope->last_job;
    if (job == NULL) {
        return MUSTER_NO_MEMORY;
    }
    while (last->joined != NULL) {
        last = last->joined;
    }
    last->joined = job;
    muster__core_map_put(&core->jobs, job->id, job);
    dispose_in_vain(core, event, scope);
    return MUSTER_OK;
}

static enum muster_status queue(struct muster__core *core, struct muster__core_scope *scope,
                                const struct muster__core_event *event)
{
    bool offers = event->kind == MUSTER__CORE_REGISTER && !event->load;
    struct muster__core_scope *fresh = scope == NULL ? muster__core_scope_new(core, event->scope) : NULL;
    struct muster__core_version *version = offers ? new_version(core, event, event->script) : NULL;
    struct muster__core_job *job = new_job(core, event, false);

    if ((scope == NULL && fresh == NULL) || (offers && version == NULL) || job == NULL) {
        if (fresh != NULL) {
            muster__core_scope_free(fresh);
        }
        if (version != NULL) {
            muster__core_version_free(version);
        }
        muster__core_job_free(job);
        return MUSTER_NO_MEMORY;
    }
    if (fresh != NULL) {
        muster__core_scope_add(core, fresh);
        scope = fresh;
    }
    if (version != NULL) {
        version->scope = scope;
        muster__core_map_put(&core->versions, version->id, version);
    }
    job->version = version;
    job->scope = scope;
    muster__core_map_put(&core->jobs, job->id, job);
    append_job(scope, job);
    muster__core_scope_advance(core, scope);
    return MUSTER_OK;
}

static bool is_complete(const struct muster__core_event *event)
{
    if (event->job == 0 || event->scope == NULL || (size_t)event->via >= MUSTER__VIA_COUNT) {
        return false;
    }
    if (event->kind != MUSTER__CORE_REGISTER) {
        return true;
    }
    bool whole = event->load ? event->version == 0 && !event->lazy && !event->plain && !event->restored
                             : event->version != 0;
    return whole && event->script != NULL && !(event->plain && event->restored);
}

enum muster_status muster__core_job_add(struct muster__core *core, const struct muster__core_event *event)
{
    bool registers = event->kind == MUSTER__CORE_REGISTER;

    if (!is_complete(event)) {
        return MUSTER_INVALID_ARGUMENT;
    }
    if (muster__core_map_get(&core->jobs, event->job) != NULL
        || (registers && muster__core_map_get(&core->versions, event->version) != NULL)) {
        return MUSTER_OK; /* twice */
    }
    struct muster__core_scope *scope = muster__core_scope_find(core, event->scope);
    if (core->closing) {
        settle_now(core, event, MUSTER_SHUTDOWN);
        return MUSTER_OK;
    }
    if (scope == NULL && !registers) {
        settle_now(core, event, MUSTER_NOT_FOUND);
        return MUSTER_OK;
    }
    if (scope != NULL && may_join(scope->last_job, event)) {
        return join(core, scope, event);
    }
    return queue(core, scope, event);
}

/* ---- scripts that were fetched ---- */

/* SW-UPD-7 where nothing was there before: it was a registration for the time of the fetch. */
static void fail_load(struct muster__core *core, struct muster__core_job *job, enum muster_status status)
{
    struct muster__core_registration *registration = job->scope->registration;
    job->loading = false;
    finish(job, status);
    if (registration != NULL && muster__core_registration_is_empty(registration)) {
        muster__core_registration_remove(core, registration, MUSTER__STOP_NONE, 0);
    }
}

void muster__core_job_timer(struct muster__core *core, struct muster__core_job *job)
{
    fail_load(core, job, MUSTER_TIMED_OUT);
}

/* SW-UPD-6 */
static void settle_unchanged(struct muster__core *core, struct muster__core_job *job)
{
    struct muster__core_registration *registration = job->scope->registration;
    struct muster__core_version *newest =
        registration != NULL ? muster__core_registration_newest(registration) : NULL;
    if (newest == NULL) {
        fail_load(core, job, MUSTER_LOAD_FAILED);
        return;
    }
    registration->via = job->via;
    job->loading = false;
    settle_with(job, newest, MUSTER_OK);
}

static enum muster_status offer(struct muster__core *core, struct muster__core_job *job,
                                const struct muster__core_event *event)
{
    struct muster__core_registration *registration = job->scope->registration;
    const struct muster__core_version *newest = muster__core_registration_newest(registration);
    struct muster__core_version *version =
        new_version(core, event, job->script != NULL ? job->script : newest->script);
    if (version == NULL) {
        return MUSTER_NO_MEMORY;
    }
    version->early = job->early;
    version->plain = false;
    version->via = job->via;
    version->scope = job->scope;
    muster__core_map_put(&core->versions, version->id, version);
    job->version = version;
    job->loading = false;
    return MUSTER_OK;
}

enum muster_status muster__core_job_loaded(struct muster__core *core, const struct muster__core_event *event)
{
    struct muster__core_job *job = muster__core_map_get(&core->jobs, event->job);
    bool offers = event->status == MUSTER_OK && event->changed;

    if (event->job == 0 || (offers && event->version == 0)) {
        return MUSTER_INVALID_ARGUMENT;
    }
    if (muster__core_map_get(&core->versions, event->version) != NULL) {
        return MUSTER_OK; /* twice */
    }
    if (job == NULL || !job->loading) {
#if MUSTER_PLANT_FAULT != 11
        dispose_in_vain(core, event, NULL);
#endif
        return MUSTER_OK;
    }
    struct muster__core_scope *scope = job->scope;
    if (offers && offer(core, job, event) != MUSTER_OK) {
        return MUSTER_NO_MEMORY;
    }
    muster__core_timer_clear(core, &job->timer);
    if (event->checked_us != 0) {
        scope->registration->checked_us = event->checked_us;
    }
    if (!offers) {
        dispose_in_vain(core, event, scope);
        if (event->status != MUSTER_OK) {
            fail_load(core, job, event->status);
        } else {
            settle_unchanged(core, job);
        }
    }
    muster__core_scope_advance(core, scope);
    return MUSTER_OK;
}

/* ---- shutdown ---- */

void muster__core_job_close(struct muster__core *core, struct muster__core_scope *scope)
{
    while (scope->jobs != NULL) {
        struct muster__core_version *version = scope->jobs->version;
        scope->jobs->status = MUSTER_SHUTDOWN;
        settle_first(core, scope);
        if (version != NULL && version->role == MUSTER__ROLE_OFFERED) {
            muster__core_version_dispose(core, version);
        }
    }
}
