/* coordinator/core_registration.c - scopes, their versions, and the jobs that change them.  Thread: the
 * driver's.
 *
 * Promises: jobs of a scope run one at a time, in order; a version that was published serves what came to
 * its slot before it is disposed of, within the grace time; a scope's record lives until nothing of it is
 * left. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/core_internal.h"

/* ---- scopes ---- */

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL;
    }
    return hash | 1; /* a map's key is never 0 */
}

struct muster__core_scope *muster__core_scope_find(const struct muster__core *core, const char *name)
{
    struct muster__core_scope *scope = muster__core_map_get(&core->scopes, hash_text(name));
    while (scope != NULL && strcmp(scope->name, name) != 0) {
        scope = scope->chain;
    }
    return scope;
}

bool muster__core_scope_is_registered(const struct muster__core_scope *scope)
{
    return scope->installing != NULL || scope->waiting != NULL || scope->active != NULL;
}

static void append_scope(struct muster__core *core, struct muster__core_scope *scope)
{
    scope->next = NULL;
    scope->previous = core->last_scope;
    if (core->last_scope != NULL) {
        core->last_scope->next = scope;
    } else {
        core->first_scope = scope;
    }
    core->last_scope = scope;
}

static void unlink_scope(struct muster__core *core, struct muster__core_scope *scope)
{
    *(scope->previous != NULL ? &scope->previous->next : &core->first_scope) = scope->next;
    *(scope->next != NULL ? &scope->next->previous : &core->last_scope) = scope->previous;
}

static struct muster__core_scope *new_scope(struct muster__core *core, const char *name)
{
    struct muster__core_scope *scope = muster__core_store_new(core, sizeof(*scope));
    if (scope == NULL) {
        return NULL;
    }
    scope->name = muster__core_store_text(core, name);
    if (scope->name == NULL) {
        free(scope);
        return NULL;
    }
    scope->hash = hash_text(name);
    return scope;
}

static void add_scope(struct muster__core *core, struct muster__core_scope *scope)
{
    scope->chain = muster__core_map_get(&core->scopes, scope->hash);
    muster__core_map_put(&core->scopes, scope->hash, scope);
    append_scope(core, scope);
}

void muster__core_scope_free(struct muster__core_scope *scope)
{
    free(scope->name);
    free(scope);
}

/* Out of the maps now; freed at the next step, since the last actions name it. */
static void bury_scope(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_scope *first = muster__core_map_get(&core->scopes, scope->hash);
    if (first != scope) {
        while (first->chain != scope) {
            first = first->chain;
        }
        first->chain = scope->chain;
    } else if (scope->chain != NULL) {
        muster__core_map_put(&core->scopes, scope->hash, scope->chain);
    } else {
        muster__core_map_remove(&core->scopes, scope->hash);
    }
    unlink_scope(core, scope);
    scope->chain = core->dead_scopes;
    core->dead_scopes = scope;
}

/* ---- versions ---- */

static void tell_version(struct muster__core *core, const struct muster__core_version *version,
                         enum muster__core_action_kind kind, enum muster_status status)
{
    muster__core_emit(core, (struct muster__core_action){ .kind = kind,
                                                          .version = version->id,
                                                          .status = status,
                                                          .reason = version->reason,
                                                          .scope = version->scope->name });
}

static void free_version(struct muster__core_version *version)
{
    free(version->script);
    free(version);
}

/* It was offered and never used. */
static void dispose_offered(struct muster__core *core, struct muster__core_version *version)
{
    tell_version(core, version, MUSTER__DO_DISPOSE, MUSTER_OK);
    muster__core_map_remove(&core->versions, version->id);
    free_version(version);
}

static void publish(struct muster__core *core, struct muster__core_version *version)
{
    version->published = true;
    tell_version(core, version, MUSTER__DO_PUBLISH, MUSTER_OK);
}

static void detach(struct muster__core_version *version)
{
    struct muster__core_scope *scope = version->scope;
    struct muster__core_version **places[] = { &scope->installing, &scope->waiting, &scope->active };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (*places[i] == version) {
            *places[i] = NULL;
        }
    }
}

static void append_redundant(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_scope *scope = version->scope;
    version->previous = scope->last_redundant;
    version->next = NULL;
    *(scope->last_redundant != NULL ? &scope->last_redundant->next : &scope->redundant) = version;
    scope->last_redundant = version;
    core->redundant_count++;
}

static void remove_redundant(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_scope *scope = version->scope;
    *(version->previous != NULL ? &version->previous->next : &scope->redundant) = version->next;
    *(version->next != NULL ? &version->next->previous : &scope->last_redundant) = version->previous;
    core->redundant_count--;
}

/* A want for its slot may be on its way still: wait for it a little before the slot is closed. */
static void linger(struct muster__core *core, struct muster__core_version *version)
{
    uint64_t at_us =
        muster__core_timer_after(core, muster__core_instance_drain_interval(core));
    muster__core_timer_set(core, &version->timer,
                           at_us < version->drain_until_us ? at_us : version->drain_until_us);
}

/* Nobody is sent to it any more.  If requests may have come to its slot it serves them, within grace. */
static void make_redundant(struct muster__core *core, struct muster__core_version *version,
                           enum muster__stop_reason reason)
{
    struct muster__core_instance *current = version->current;
    detach(version);
    append_redundant(core, version);
    version->role = MUSTER__ROLE_REDUNDANT;
    version->reason = reason;
    version->replaced = reason == MUSTER__STOP_REPLACED;
    version->activation_due = false;
    version->drain_until_us = muster__core_timer_after(core, core->options.grace_us);
    version->closing = !version->published || reason == MUSTER__STOP_INSTALL_FAILED;
    if (version->closing) {
        if (current != NULL && reason != MUSTER__STOP_INSTALL_FAILED) {
            muster__core_instance_feed(core, current, MUSTER__INPUT_END, reason, MUSTER_OK);
        }
    } else if (current != NULL) {
        muster__core_timer_set(core, &version->timer, version->drain_until_us);
        muster__core_instance_feed(core, current, MUSTER__INPUT_DRAIN, reason, MUSTER_OK);
    } else {
        linger(core, version);
    }
}

void muster__core_version_timer(struct muster__core *core, struct muster__core_version *version)
{
    bool dying = version->current == NULL && version->count > version->abandoned;
    if (dying && core->now_us < version->drain_until_us) {
        linger(core, version); /* it may still give back what it had not begun */
        return;
    }
    version->closing = true;
    if (version->current != NULL) {
        muster__core_instance_feed(core, version->current, MUSTER__INPUT_FORCE, version->reason,
                                   MUSTER_OK);
    }
}

void muster__core_version_vacant(struct muster__core *core, struct muster__core_version *version)
{
    if (version->state == MUSTER__VERSION_INSTALLING) {
        version->state = MUSTER__VERSION_PARSED;
    } else if (version->state == MUSTER__VERSION_ACTIVATING) {
        version->state = MUSTER__VERSION_ACTIVATED; /* a failed activate is ignored */
    }
    if (version->role == MUSTER__ROLE_REDUNDANT && !version->closing) {
        linger(core, version);
    }
}

static struct muster__core_job *job_of(const struct muster__core_version *version)
{
    struct muster__core_job *job = version->scope->jobs;
    return job != NULL && job->begun && !job->done && job->version == version ? job : NULL;
}

void muster__core_version_fail(struct muster__core *core, struct muster__core_version *version,
                               enum muster_status status)
{
    struct muster__core_job *job = job_of(version);

    tell_version(core, version, MUSTER__DO_FAIL_QUEUED, status);
    version->activation_due = false;
    if (core->closing) {
        return;
    }
    if (version->role == MUSTER__ROLE_INSTALLING) {
        make_redundant(core, version, MUSTER__STOP_INSTALL_FAILED);
        if (!muster__core_scope_is_registered(version->scope)) {
            tell_version(core, version, MUSTER__DO_WITHDRAW, MUSTER_OK);
        }
    }
    if (job != NULL) {
        job->done = true;
        job->status = status;
    }
}

void muster__core_version_installed(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_scope *scope = version->scope;

    version->state = MUSTER__VERSION_INSTALLED;
    if (version->role == MUSTER__ROLE_INSTALLING && scope->active != NULL) {
        if (scope->waiting != NULL) {
            make_redundant(core, scope->waiting, MUSTER__STOP_REPLACED);
        }
        scope->installing = NULL;
        scope->waiting = version;
        version->role = MUSTER__ROLE_WAITING;
    } else if (version->role == MUSTER__ROLE_INSTALLING) {
        scope->installing = NULL;
        scope->active = version;
        version->role = MUSTER__ROLE_ACTIVE;
    }
    version->activation_due = version->role == MUSTER__ROLE_ACTIVE;
}

void muster__core_version_want(struct muster__core *core, struct muster__core_version *version)
{
    if (version->role == MUSTER__ROLE_OFFERED) {
        return; /* nobody can know it yet */
    }
#if MUSTER_PLANT_FAULT == 5
    if (version->current != NULL && version->current->phase != MUSTER__PHASE_RUNNING) {
#else
    if (version->current != NULL) {
#endif
        /* It is on its way.  Or late; or it crossed the answer that the instance has retired. */
        version->current->wanted |= version->current->retiring;
        return;
    }
    if (core->closing) {
        tell_version(core, version, MUSTER__DO_FAIL_QUEUED, MUSTER_SHUTDOWN);
    } else if (version->closing) {
        tell_version(core, version, MUSTER__DO_FAIL_QUEUED, MUSTER_NOT_FOUND);
    } else if (version->abandoned > 0) {
        tell_version(core, version, MUSTER__DO_FAIL_QUEUED, MUSTER_WEDGED);
    } else {
        if (version->role == MUSTER__ROLE_REDUNDANT) {
            muster__core_timer_set(core, &version->timer, version->drain_until_us);
        }
        muster__core_instance_launch(core, version);
    }
}

/* ---- what is due in a scope ---- */

/* The waiting version takes over when the active one has no instance, or at once if it skips waiting. */
static bool promote(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_version *next = scope->waiting;
    struct muster__core_version *old = scope->active;

    if (next == NULL || (old != NULL && old->current != NULL && !next->skip_waiting)) {
        return false;
    }
    scope->waiting = NULL;
    scope->active = next;
    next->role = MUSTER__ROLE_ACTIVE;
    next->activation_due = true;
    publish(core, next);
    if (old != NULL) {
        make_redundant(core, old, MUSTER__STOP_REPLACED);
    }
    return true;
}

/* A version activates when none that it replaced has an instance any more. */
static bool may_activate(const struct muster__core_version *version)
{
    const struct muster__core_version *older = version->scope->redundant;
    for (; older != NULL && older != version; older = older->next) {
        if (older->replaced && older->current != NULL) {
            return false;
        }
    }
    return true;
}

static bool activate(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_instance *current = version->current;

    if (version->state != MUSTER__VERSION_INSTALLED || !may_activate(version)) {
        return false;
    }
    if (current != NULL && current->phase == MUSTER__PHASE_INSTALLED) {
        muster__core_instance_feed(core, current, MUSTER__INPUT_DUE, MUSTER__STOP_NONE, MUSTER_OK);
        return true;
    }
    if (current != NULL || !version->activation_due) {
        return false;
    }
    if (version->abandoned > 0) {
        muster__core_version_fail(core, version, MUSTER_WEDGED);
    } else {
        muster__core_instance_launch(core, version);
    }
    return true;
}

static bool activate_all(struct muster__core *core, struct muster__core_scope *scope)
{
    bool changed = false;
    for (struct muster__core_version *version = scope->redundant; version != NULL;
         version = version->next) {
        changed |= activate(core, version);
    }
    return (scope->active != NULL && activate(core, scope->active)) || changed;
}

static void dispose_redundant(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_version *next;
    for (struct muster__core_version *version = scope->redundant; version != NULL; version = next) {
        next = version->next;
        if (version->closing && !version->disposed && version->count == version->abandoned) {
            version->disposed = true;
            muster__core_timer_clear(core, &version->timer);
            tell_version(core, version, MUSTER__DO_DISPOSE, MUSTER_OK);
            muster__core_map_remove(&core->versions, version->id);
        }
        if (version->disposed && version->count == 0) {
            remove_redundant(core, version);
            free_version(version);
        }
    }
}

/* ---- jobs ---- */

static void settle_one(struct muster__core *core, struct muster__core_scope *scope,
                       struct muster__core_job *job, enum muster_status status, uint32_t version)
{
    muster__core_map_remove(&core->jobs, job->id);
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_SETTLE_JOB,
                                                          .job = job->id,
                                                          .status = status,
                                                          .version = version,
                                                          .scope = scope->name });
    free(job);
}

/* The first job, and those that joined it. */
static void settle_first(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;
    enum muster_status status = job->status;
    uint32_t version = job->version != NULL ? job->version->id : 0;

    scope->jobs = job->next;
    scope->last_job = scope->jobs == NULL ? NULL : scope->last_job;
    while (job != NULL) {
        struct muster__core_job *joined = job->joined;
        settle_one(core, scope, job, status, version);
        job = joined;
#if MUSTER_PLANT_FAULT == 6
        return;
#endif
    }
}

static void finish(struct muster__core_job *job, enum muster_status status)
{
    job->done = true;
    job->status = status;
}

/* Nothing runs of the active version and it never did: it can give way without having drained. */
static bool is_untouched(const struct muster__core_scope *scope)
{
    return scope->waiting == NULL
           && (scope->active == NULL
               || (scope->active->state == MUSTER__VERSION_PARSED && scope->active->current == NULL));
}

static void begin_version(struct muster__core *core, struct muster__core_job *job)
{
    struct muster__core_version *version = job->version;
    struct muster__core_scope *scope = version->scope;
    struct muster__core_version *old = scope->active;

    if (!muster__core_scope_is_registered(scope)) {
        unlink_scope(core, scope);
        append_scope(core, scope);
    }
    if (job->lazy && is_untouched(scope)) {
        scope->active = version;
        version->role = MUSTER__ROLE_ACTIVE;
        publish(core, version);
        if (old != NULL) {
            make_redundant(core, old, MUSTER__STOP_REPLACED);
        }
        finish(job, MUSTER_OK);
        return;
    }
    scope->installing = version;
    version->role = MUSTER__ROLE_INSTALLING;
    if (old == NULL) {
        publish(core, version);
    }
    muster__core_instance_launch(core, version);
}

static void begin_register(struct muster__core *core, struct muster__core_job *job)
{
    struct muster__core_version *offered = job->version;
    struct muster__core_scope *scope = offered->scope;
    struct muster__core_version *newest = scope->waiting != NULL ? scope->waiting : scope->active;

    MUSTER_CHECK(scope->installing == NULL); /* its job would be the first */
    if (newest != NULL && strcmp(newest->script, offered->script) == 0) {
        job->version = newest;
        dispose_offered(core, offered);
        finish(job, MUSTER_OK);
        return;
    }
    begin_version(core, job);
}

static void begin_unregister(struct muster__core *core, struct muster__core_scope *scope,
                             struct muster__core_job *job)
{
    struct muster__core_version *waiting = scope->waiting, *active = scope->active;

    if (!muster__core_scope_is_registered(scope)) {
        finish(job, MUSTER_NOT_FOUND);
        return;
    }
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_WITHDRAW,
                                                          .scope = scope->name });
    if (active != NULL) {
        make_redundant(core, active, MUSTER__STOP_UNREGISTERED);
    }
    if (waiting != NULL) {
        make_redundant(core, waiting, MUSTER__STOP_UNREGISTERED);
    }
    finish(job, MUSTER_OK);
}

/* The instances of a version that live or are dying: ended, and waited for. */
static void stop_version(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_instance *next;

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
    if (!muster__core_scope_is_registered(scope)) {
        finish(job, MUSTER_NOT_FOUND);
        return;
    }
    scope->awaited = 0;
    scope->stop_status = MUSTER_OK;
    for (struct muster__core_version *it = scope->redundant; it != NULL; it = it->next) {
        stop_version(core, it);
    }
    if (scope->active != NULL) {
        stop_version(core, scope->active);
    }
    if (scope->waiting != NULL) {
        stop_version(core, scope->waiting);
    }
}

static void begin(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;

    job->begun = true;
    switch (job->kind) {
    case MUSTER__JOB_REGISTER:
        begin_register(core, job);
        return;
    case MUSTER__JOB_UNREGISTER:
        begin_unregister(core, scope, job);
        return;
    case MUSTER__JOB_STOP:
        begin_stop(core, scope, job);
        return;
    }
}

static void poll_job(struct muster__core_scope *scope)
{
    struct muster__core_job *job = scope->jobs;

    if (job->done) {
        return;
    }
    if (job->kind == MUSTER__JOB_STOP && scope->awaited == 0) {
        finish(job, scope->stop_status);
    } else if (job->kind == MUSTER__JOB_REGISTER
               && (job->version->state == MUSTER__VERSION_ACTIVATED
                   || job->version->role == MUSTER__ROLE_WAITING)) {
        finish(job, MUSTER_OK);
    }
}

static bool run_jobs(struct muster__core *core, struct muster__core_scope *scope)
{
    if (scope->jobs == NULL) {
        return false;
    }
    bool begun = scope->jobs->begun;
    if (!begun) {
        begin(core, scope);
    }
    poll_job(scope);
    if (scope->jobs->done) {
        settle_first(core, scope);
        return true;
    }
    return !begun;
}

void muster__core_scope_advance(struct muster__core *core, struct muster__core_scope *scope)
{
    while (!core->closing
           && (promote(core, scope) || activate_all(core, scope) || run_jobs(core, scope))) {
    }
    dispose_redundant(core, scope);
    if (scope->jobs == NULL && scope->redundant == NULL && !muster__core_scope_is_registered(scope)) {
        bury_scope(core, scope);
    }
}

/* ---- the driver's jobs ---- */

static void settle_now(struct muster__core *core, const struct muster__core_event *event,
                       enum muster_status status)
{
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_SETTLE_JOB,
                                                          .job = event->job,
                                                          .status = status });
    if (event->kind == MUSTER__CORE_REGISTER) {
        muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_DISPOSE,
                                                              .version = event->version });
    }
}

static bool may_join(const struct muster__core_job *tail, const struct muster__core_event *event)
{
    return tail != NULL && tail->kind == MUSTER__JOB_REGISTER
           && event->kind == MUSTER__CORE_REGISTER && tail->lazy == event->lazy
           && strcmp(tail->version->script, event->script) == 0;
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
                                                const struct muster__core_event *event)
{
    struct muster__core_version *version = muster__core_store_new(core, sizeof(*version));
    if (version == NULL) {
        return NULL;
    }
    version->id = event->version;
    version->timer.of_version = true;
    version->idle_us = event->idle_us;
    version->script = muster__core_store_text(core, event->script);
    if (version->script == NULL) {
        free(version);
        return NULL;
    }
    return version;
}

static struct muster__core_job *new_job(struct muster__core *core, const struct muster__core_event *event)
{
    struct muster__core_job *job = muster__core_store_new(core, sizeof(*job));
    if (job != NULL) {
        job->id = event->job;
        job->lazy = event->lazy;
        job->kind = event->kind == MUSTER__CORE_REGISTER     ? MUSTER__JOB_REGISTER
                    : event->kind == MUSTER__CORE_UNREGISTER ? MUSTER__JOB_UNREGISTER
                                                             : MUSTER__JOB_STOP;
    }
    return job;
}

static enum muster_status join(struct muster__core *core, struct muster__core_scope *scope,
                               const struct muster__core_event *event)
{
    struct muster__core_job *job = new_job(core, event);
    struct muster__core_job *last = scope->last_job;
    if (job == NULL) {
        return MUSTER_NO_MEMORY;
    }
    while (last->joined != NULL) {
        last = last->joined;
    }
    last->joined = job;
    muster__core_map_put(&core->jobs, job->id, job);
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_DISPOSE,
                                                          .version = event->version,
                                                          .scope = scope->name });
    return MUSTER_OK;
}

static enum muster_status queue(struct muster__core *core, struct muster__core_scope *scope,
                                const struct muster__core_event *event)
{
    bool registers = event->kind == MUSTER__CORE_REGISTER;
    struct muster__core_scope *fresh = scope == NULL ? new_scope(core, event->scope) : NULL;
    struct muster__core_version *version = registers ? new_version(core, event) : NULL;
    struct muster__core_job *job = new_job(core, event);

    if ((scope == NULL && fresh == NULL) || (registers && version == NULL) || job == NULL) {
        if (fresh != NULL) {
            muster__core_scope_free(fresh);
        }
        if (version != NULL) {
            free_version(version);
        }
        free(job);
        return MUSTER_NO_MEMORY;
    }
    if (fresh != NULL) {
        add_scope(core, fresh);
        scope = fresh;
    }
    if (version != NULL) {
        version->scope = scope;
        muster__core_map_put(&core->versions, version->id, version);
    }
    job->version = version;
    muster__core_map_put(&core->jobs, job->id, job);
    append_job(scope, job);
    muster__core_scope_advance(core, scope);
    return MUSTER_OK;
}

enum muster_status muster__core_job_add(struct muster__core *core, const struct muster__core_event *event)
{
    bool registers = event->kind == MUSTER__CORE_REGISTER;

    if (event->job == 0 || event->scope == NULL
        || (registers && (event->version == 0 || event->script == NULL))) {
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

void muster__core_job_close(struct muster__core *core, struct muster__core_scope *scope)
{
    while (scope->jobs != NULL) {
        struct muster__core_version *version = scope->jobs->version;
        scope->jobs->status = MUSTER_SHUTDOWN;
        settle_first(core, scope);
        if (version != NULL && version->role == MUSTER__ROLE_OFFERED) {
            dispose_offered(core, version);
        }
    }
}
