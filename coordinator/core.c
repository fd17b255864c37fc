/* coordinator/core.c - the coordinator's pure state machine: its one step, its shutdown and its views.
 * core_registration.c has the scopes and their jobs, core_instance.c the life of an instance,
 * core_store.c the memory, core_text.c the lines of text.  Thread: the driver's, one at a time. */
#include <stdlib.h>

#include "coordinator/core_internal.h"

/* ---- shutdown ---- */

static void close_version(struct muster__core *core, struct muster__core_version *version)
{
    if (version == NULL || version->disposed) {
        return;
    }
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_FAIL_QUEUED,
                                                          .version = version->id,
                                                          .status = MUSTER_SHUTDOWN,
                                                          .scope = version->scope->name });
    muster__core_timer_clear(core, &version->timer);
    version->closing = version->role == MUSTER__ROLE_REDUNDANT;
    if (version->current != NULL) {
        muster__core_instance_feed(core, version->current, MUSTER__INPUT_END, MUSTER__STOP_SHUTDOWN,
                                   MUSTER_OK);
    }
}

static void close_scope(struct muster__core *core, struct muster__core_scope *scope)
{
    muster__core_job_close(core, scope);
    for (struct muster__core_version *it = scope->redundant; it != NULL; it = it->next) {
        close_version(core, it);
    }
    close_version(core, scope->installing);
    close_version(core, scope->waiting);
    close_version(core, scope->active);
    muster__core_scope_advance(core, scope);
}

static void close_all(struct muster__core *core)
{
    struct muster__core_scope *next;

    if (core->closing) {
        return;
    }
    core->closing = true;
    for (struct muster__core_scope *scope = core->first_scope; scope != NULL; scope = next) {
        next = scope->next;
        close_scope(core, scope);
    }
}

static void note_closed(struct muster__core *core)
{
    if (core->closing && !core->closed && core->live == 0) {
        core->closed = true;
        muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_CLOSED });
    }
}

/* ---- one step ---- */

static void free_dead_scopes(struct muster__core *core)
{
    while (core->dead_scopes != NULL) {
        struct muster__core_scope *scope = core->dead_scopes;
        core->dead_scopes = scope->chain;
        muster__core_scope_free(scope);
    }
}

/* What CLOSE may say about everything there is. */
static size_t actions_of_close(const struct muster__core *core, const struct muster__core_event *event)
{
    return event->kind != MUSTER__CORE_CLOSE || core->closing
               ? 0
               : 4 * (core->versions.used + core->redundant_count + core->instances.used);
}

static void want(struct muster__core *core, uint32_t id)
{
    struct muster__core_version *version = muster__core_map_get(&core->versions, id);
    if (version != NULL) {
        muster__core_version_want(core, version);
    }
}

static void instance_event(struct muster__core *core, const struct muster__core_event *event)
{
    struct muster__core_instance *instance = muster__core_map_get(&core->instances, event->instance);
    if (instance != NULL) {
        struct muster__core_scope *scope = instance->version->scope;
        muster__core_instance_event(core, instance, event);
        muster__core_scope_advance(core, scope);
    }
}

static enum muster_status take_event(struct muster__core *core, const struct muster__core_event *event)
{
    switch (event->kind) {
    case MUSTER__CORE_REGISTER:
    case MUSTER__CORE_UNREGISTER:
    case MUSTER__CORE_STOP:
        return muster__core_job_add(core, event);
    case MUSTER__CORE_WANT:
        want(core, event->version);
        return MUSTER_OK;
    case MUSTER__CORE_CLOSE:
        close_all(core);
        return MUSTER_OK;
    case MUSTER__CORE_TICK:
        return MUSTER_OK;
    default:
        instance_event(core, event);
        return MUSTER_OK;
    }
}

static void fire(struct muster__core *core, struct muster__core_timer *timer)
{
    struct muster__core_scope *scope;

    muster__core_timer_clear(core, timer);
    if (timer->of_version) {
        struct muster__core_version *version =
            MUSTER_CONTAINER_OF(timer, struct muster__core_version, timer);
        scope = version->scope;
        muster__core_version_timer(core, version);
    } else {
        struct muster__core_instance *instance =
            MUSTER_CONTAINER_OF(timer, struct muster__core_instance, timer);
        scope = instance->version->scope;
        muster__core_instance_feed(core, instance, MUSTER__INPUT_TIMER, MUSTER__STOP_NONE, MUSTER_OK);
    }
    muster__core_scope_advance(core, scope);
}

/* A bounded number; what is left is due at once. */
static void fire_due(struct muster__core *core)
{
    for (int i = 0; i < MUSTER__CORE_BATCH && core->heap_used > 0; i++) {
        if (core->heap[1]->at_us > core->now_us) {
            return;
        }
        fire(core, core->heap[1]);
    }
}

enum muster_status muster__core_step(struct muster__core *core, const struct muster__core_event *event,
                                     uint64_t now_us, struct muster__core_actions *ret_actions)
{
    MUSTER_CHECK((size_t)event->kind < MUSTER__CORE_EVENT_COUNT);
    MUSTER_CHECK(now_us >= core->now_us);

    core->action_count = 0;
    free_dead_scopes(core);
    if (!muster__core_store_reserve(core, actions_of_close(core, event),
                                    event->kind == MUSTER__CORE_REGISTER)) {
        return MUSTER_NO_MEMORY;
    }
    uint64_t before_us = core->now_us;
    core->now_us = now_us;
    enum muster_status status = take_event(core, event);
    if (status != MUSTER_OK) {
        core->now_us = before_us;
        return status;
    }
    fire_due(core);
    note_closed(core);
    ret_actions->items = core->actions;
    ret_actions->count = core->action_count;
    return MUSTER_OK;
}

uint64_t muster__core_deadline(const struct muster__core *core)
{
    return core->heap_used == 0 ? UINT64_MAX : core->heap[1]->at_us;
}

/* ---- life ---- */

struct muster__core *muster__core_new(const struct muster__core_options *options)
{
    struct muster__core bare = { .options = *options };
    struct muster__core *core = muster__core_store_new(&bare, sizeof(*core));
    if (core == NULL) {
        return NULL;
    }
    core->options = *options;
    if (core->options.place_attempts == 0) {
        core->options.place_attempts = 8;
    }
    return core;
}

static void destroy_version(struct muster__core_version *version)
{
    if (version == NULL) {
        return;
    }
    while (version->instances != NULL) {
        struct muster__core_instance *instance = version->instances;
        version->instances = instance->next;
        free(instance);
    }
    free(version->script);
    free(version);
}

static void destroy_jobs(struct muster__core_job *job)
{
    while (job != NULL) {
        struct muster__core_job *next = job->next;
        if (job->version != NULL && job->version->role == MUSTER__ROLE_OFFERED) {
            destroy_version(job->version);
        }
        while (job != NULL) {
            struct muster__core_job *joined = job->joined;
            free(job);
            job = joined;
        }
        job = next;
    }
}

static void destroy_scope(struct muster__core_scope *scope)
{
    destroy_jobs(scope->jobs);
    while (scope->redundant != NULL) {
        struct muster__core_version *version = scope->redundant;
        scope->redundant = version->next;
        destroy_version(version);
    }
    destroy_version(scope->installing);
    destroy_version(scope->waiting);
    destroy_version(scope->active);
    muster__core_scope_free(scope);
}

void muster__core_destroy(struct muster__core *core)
{
    if (core == NULL) {
        return;
    }
    while (core->first_scope != NULL) {
        struct muster__core_scope *scope = core->first_scope;
        core->first_scope = scope->next;
        destroy_scope(scope);
    }
    free_dead_scopes(core);
    muster__core_store_clean_up(core);
    free(core);
}

/* ---- views ---- */

static const char *state_name(const struct muster__core_version *version)
{
    static const char *const names[] = { "parsed", "installing", "installed", "activating",
                                         "activated" };
    return names[version->state];
}

static const char *slot_name(const struct muster__core_version *version)
{
    switch (version->role) {
    case MUSTER__ROLE_WAITING:
        return "waiting";
    case MUSTER__ROLE_ACTIVE: /* a lazy one counts as installing until it is installed */
        return version->state >= MUSTER__VERSION_INSTALLED ? "active" : "installing";
    case MUSTER__ROLE_REDUNDANT:
        return "redundant";
    default:
        return "installing";
    }
}

static void see_version(const struct muster__core_version *version,
                        void (*see)(const struct muster__core_view *view, void *user_data),
                        void *user_data)
{
    if (version == NULL) {
        return;
    }
    const struct muster__core_instance *current = version->current;
    struct muster__core_view view = {
        .scope = version->scope->name,
        .version = version->id,
        .slot = slot_name(version),
        .state = state_name(version),
        .instance = current != NULL ? current->id : 0,
        .phase = current != NULL ? muster__phase_name(current->phase) : NULL,
        .host = current != NULL ? current->host : 0,
        .dying = version->count - (current != NULL),
    };
    see(&view, user_data);
}

void muster__core_each(const struct muster__core *core,
                       void (*see)(const struct muster__core_view *view, void *user_data),
                       void *user_data)
{
    for (const struct muster__core_scope *scope = core->first_scope; scope != NULL;
         scope = scope->next) {
        see_version(scope->installing, see, user_data);
        see_version(scope->waiting, see, user_data);
        see_version(scope->active, see, user_data);
        for (const struct muster__core_version *it = scope->redundant; it != NULL; it = it->next) {
            see_version(it, see, user_data);
        }
    }
}
