/* coordinator/core.c - the coordinator's pure state machine: its one step, its shutdown, its views and
 * what scripts are told.  core_registration.c has the scopes and their registrations, core_version.c their
 * versions, core_due.c what is due, core_job.c the jobs, core_instance.c the life of an instance,
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

static void close_registration(struct muster__core *core, struct muster__core_registration *registration)
{
    close_version(core, registration->installing);
    close_version(core, registration->waiting);
    close_version(core, registration->active);
}

static void close_scope(struct muster__core *core, struct muster__core_scope *scope)
{
    muster__core_job_close(core, scope);
    for (struct muster__core_version *it = scope->redundant; it != NULL; it = it->next) {
        close_version(core, it);
    }
    for (struct muster__core_registration *it = scope->unregistered; it != NULL; it = it->next) {
        close_registration(core, it);
    }
    if (scope->registration != NULL) {
        close_registration(core, scope->registration);
    }
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

static void version_event(struct muster__core *core, const struct muster__core_event *event)
{
    struct muster__core_version *version = muster__core_map_get(&core->versions, event->version);
    if (version == NULL) {
        return;
    }
    switch (event->kind) {
    case MUSTER__CORE_WANT:
        muster__core_version_want(core, version);
        return; /* nothing else is due for it */
    case MUSTER__CORE_USE:
        muster__core_version_use(core, version);
        return;
    case MUSTER__CORE_CHECKED:
        if (version->registration != NULL) {
            version->registration->checked_us = event->checked_us;
        }
        return;
    case MUSTER__CORE_UNUSE:
        muster__core_version_unuse(core, version);
        break;
    default:
        MUSTER_CHECK(event->kind == MUSTER__CORE_RELEASE);
        muster__core_version_release(core, version, event->force);
        break;
    }
    muster__core_scope_advance(core, version->scope);
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
    case MUSTER__CORE_UPDATE:
    case MUSTER__CORE_UNREGISTER:
    case MUSTER__CORE_STOP:
        return muster__core_job_add(core, event);
    case MUSTER__CORE_LOADED:
        return muster__core_job_loaded(core, event);
    case MUSTER__CORE_WANT:
    case MUSTER__CORE_USE:
    case MUSTER__CORE_UNUSE:
    case MUSTER__CORE_RELEASE:
    case MUSTER__CORE_CHECKED:
        version_event(core, event);
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
    if (timer->owner == MUSTER__OF_VERSION) {
        struct muster__core_version *version =
            MUSTER_CONTAINER_OF(timer, struct muster__core_version, timer);
        scope = version->scope;
        muster__core_version_timer(core, version);
    } else if (timer->owner == MUSTER__OF_JOB) {
        struct muster__core_job *job = MUSTER_CONTAINER_OF(timer, struct muster__core_job, timer);
        scope = job->scope;
        muster__core_job_timer(core, job);
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
    bool new_version = event->kind == MUSTER__CORE_REGISTER || event->kind == MUSTER__CORE_LOADED;
    if (!muster__core_store_reserve(core, actions_of_close(core, event), new_version)) {
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
    if (core->options.load_us == 0) {
        core->options.load_us = 60000000;
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
            muster__core_job_free(job);
            job = joined;
        }
        job = next;
    }
}

static void destroy_registration(struct muster__core_registration *registration)
{
    if (registration != NULL) {
        destroy_version(registration->installing);
        destroy_version(registration->waiting);
        destroy_version(registration->active);
        free(registration);
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
    while (scope->unregistered != NULL) {
        struct muster__core_registration *registration = scope->unregistered;
        scope->unregistered = registration->next;
        destroy_registration(registration);
    }
    destroy_registration(scope->registration);
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

/* ---- what scripts see ---- */

static uint32_t id_of(const struct muster__core_version *version)
{
    return version != NULL ? version->id : 0;
}

static void note(struct muster__core *core, const struct muster__core_registration *registration,
                 struct muster__core_action action)
{
    if (core->options.notes) {
        action.registration = registration->id;
        action.scope = registration->scope->name;
        muster__core_emit(core, action);
    }
}

static void note_slots(struct muster__core *core, const struct muster__core_registration *registration)
{
    note(core, registration, (struct muster__core_action){ .kind = MUSTER__DO_NOTE_SLOTS,
                                                            .installing = id_of(registration->seen.installing),
                                                            .waiting = id_of(registration->seen.waiting),
                                                            .active = id_of(registration->seen.active) });
}

/* The only place that writes what was told; it goes forward only. */
static void note_state(struct muster__core *core, struct muster__core_version *version,
                       enum muster__version_state state)
{
    if (state > version->told) {
        version->told = state;
        note(core, version->registration, (struct muster__core_action){ .kind = MUSTER__DO_NOTE_STATE,
                                                                         .version = version->id,
                                                                         .state = state });
    }
}

static bool leave_slot(struct muster__core_version **slot, const struct muster__core_version *version)
{
    bool was_there = *slot == version;
    if (was_there) {
        *slot = NULL;
    }
    return was_there;
}

static bool leave_slots(struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;
    bool seen = leave_slot(&registration->seen.installing, version);
    seen |= leave_slot(&registration->seen.waiting, version);
    return leave_slot(&registration->seen.active, version) || seen;
}

bool muster__core_is_seen(const struct muster__core_version *version)
{
    const struct muster__core_registration *registration = version->registration;
    return registration != NULL
           && (registration->seen.installing == version || registration->seen.waiting == version
               || registration->seen.active == version);
}

/* Of what was cleared, or is nobody's but its owner's, scripts hear no more. */
static bool is_told_of(const struct muster__core_version *version)
{
    return version->registration != NULL && !version->registration->cleared && !version->plain;
}

bool muster__core_see_installing(struct muster__core *core, struct muster__core_version *version)
{
    if (!is_told_of(version)) {
        return false;
    }
    bool news = version->told < MUSTER__VERSION_INSTALLING;
    if (version->registration->seen.installing != version) {
        version->registration->seen.installing = version;
        note_slots(core, version->registration);
    }
    note_state(core, version, MUSTER__VERSION_INSTALLING);
    return news;
}

void muster__core_see_installed(struct muster__core *core, struct muster__core_version *version)
{
    if (is_told_of(version)) {
        (void)leave_slots(version);
        version->registration->seen.waiting = version;
        note_slots(core, version->registration);
        note_state(core, version, MUSTER__VERSION_INSTALLED);
    }
}

void muster__core_see_activating(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;
    struct muster__core_version *old = registration->seen.active;

    (void)leave_slots(version);
    registration->seen.active = version;
    note_slots(core, registration); /* first: who hears that a version is redundant finds it in no slot */
    if (old != NULL) {
        note_state(core, old, MUSTER__VERSION_REDUNDANT);
    }
    note_state(core, version, MUSTER__VERSION_ACTIVATING);
    if (old != NULL) {
        muster__core_move_users(core, old, version);
        muster__core_registration_release(old);
    }
}

void muster__core_see_restored(struct muster__core *core, struct muster__core_version *version)
{
    version->registration->seen.active = version;
    note_slots(core, version->registration);
    note_state(core, version, MUSTER__VERSION_ACTIVATED);
}

void muster__core_see_activated(struct muster__core *core, struct muster__core_version *version)
{
    if (version->registration != NULL && version->told == MUSTER__VERSION_ACTIVATING) {
        note_state(core, version, MUSTER__VERSION_ACTIVATED);
    }
}

void muster__core_see_redundant(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;

    if (registration == NULL) {
        return;
    }
    bool seen = leave_slots(version);
    if (seen && !version->plain) {
        note_slots(core, registration);
    }
    if (version->told > MUSTER__VERSION_PARSED && !version->plain) {
        note_state(core, version, MUSTER__VERSION_REDUNDANT);
    }
    muster__core_move_users(core, version, NULL);
    muster__core_registration_release(version);
}

void muster__core_see_cleared(struct muster__core *core, struct muster__core_registration *registration)
{
    struct muster__core_version *const seen[] = { registration->seen.installing, registration->seen.waiting,
                                                  registration->seen.active };

    registration->seen.installing = registration->seen.waiting = registration->seen.active = NULL;
    note_slots(core, registration);
    for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
        if (seen[i] != NULL) {
            note_state(core, seen[i], MUSTER__VERSION_REDUNDANT);
            muster__core_move_users(core, seen[i], NULL);
            muster__core_registration_release(seen[i]);
        }
    }
}

void muster__core_move_users(struct muster__core *core, struct muster__core_version *from,
                             struct muster__core_version *to)
{
    size_t users = from->users;
    if (users == 0) {
        return;
    }
#if MUSTER_PLANT_FAULT != 10
    from->users = 0;
#endif
    if (to == NULL) {
        from->registration->users -= users;
        return;
    }
    to->users += users;
    muster__core_emit(core, (struct muster__core_action){ .kind = MUSTER__DO_CONTROL,
                                                          .registration = to->registration->id,
                                                          .old = from->id,
                                                          .version = to->id,
                                                          .users = (uint32_t)users,
                                                          .scope = to->scope->name });
}

/* ---- views ---- */

static enum muster__version_state told(const struct muster__core_version *version)
{
    return version != NULL ? version->told : MUSTER__VERSION_PARSED;
}

static struct muster__core_scope_view view_of(const struct muster__core_registration *registration)
{
    return (struct muster__core_scope_view){
        .scope = registration->scope->name,
        .registration = registration->id,
        .registered = !registration->unregistered,
        .plain = registration->plain,
        .installing = id_of(registration->seen.installing),
        .waiting = id_of(registration->seen.waiting),
        .active = id_of(registration->seen.active),
        .installing_state = told(registration->seen.installing),
        .waiting_state = told(registration->seen.waiting),
        .active_state = told(registration->seen.active),
        .controller = muster__core_registration_is_handing_over(registration)
                          ? registration->active->id
                          : id_of(registration->seen.active),
        .newest = id_of(registration->installing != NULL ? registration->installing
                                                         : muster__core_registration_newest(registration)),
        .via = registration->via,
        .checked_us = registration->checked_us,
        .users = registration->users,
    };
}

bool muster__core_scope_view(const struct muster__core *core, const char *name,
                             struct muster__core_scope_view *ret_view)
{
    const struct muster__core_scope *scope = muster__core_scope_find(core, name);
    if (scope == NULL || scope->registration == NULL) {
        return false;
    }
    *ret_view = view_of(scope->registration);
    return true;
}

bool muster__core_version_view(const struct muster__core *core, uint32_t id,
                               struct muster__core_scope_view *ret_view)
{
    const struct muster__core_version *version = muster__core_map_get(&core->versions, id);
    if (version == NULL || version->registration == NULL) {
        return false;
    }
    *ret_view = view_of(version->registration);
    return true;
}

void muster__core_each_registration(const struct muster__core *core,
                                    void (*see)(const struct muster__core_scope_view *view,
                                                void *user_data),
                                    void *user_data)
{
    for (const struct muster__core_scope *scope = core->first_scope; scope != NULL;
         scope = scope->next) {
        if (scope->registration != NULL) {
            struct muster__core_scope_view view = view_of(scope->registration);
            see(&view, user_data);
        }
    }
}

#define STALE_US 86400000000ULL

bool muster__core_is_stale(const struct muster__core *core, const char *name, uint64_t wall_us)
{
    const struct muster__core_scope *scope = muster__core_scope_find(core, name);
    if (scope == NULL || scope->registration == NULL || scope->registration->checked_us == 0) {
        return false;
    }
    uint64_t checked_us = scope->registration->checked_us;
    return wall_us < checked_us || wall_us - checked_us > STALE_US;
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
    const struct muster__core_registration *registration =
        version->role == MUSTER__ROLE_REDUNDANT ? NULL : version->registration;
    struct muster__core_view view = {
        .scope = version->scope->name,
        .version = version->id,
        .registration = registration != NULL ? registration->id : 0,
        .registered = registration != NULL && !registration->unregistered,
        .slot = slot_name(version),
        .state = muster__version_state_word(version->state),
        .instance = current != NULL ? current->id : 0,
        .phase = current != NULL ? muster__phase_name(current->phase) : NULL,
        .host = current != NULL ? current->host : 0,
        .dying = version->count - (current != NULL),
    };
    see(&view, user_data);
}

static void see_registration(const struct muster__core_registration *registration,
                             void (*see)(const struct muster__core_view *view, void *user_data),
                             void *user_data)
{
    see_version(registration->installing, see, user_data);
    see_version(registration->waiting, see, user_data);
    see_version(registration->active, see, user_data);
}

void muster__core_each(const struct muster__core *core,
                       void (*see)(const struct muster__core_view *view, void *user_data),
                       void *user_data)
{
    for (const struct muster__core_scope *scope = core->first_scope; scope != NULL;
         scope = scope->next) {
        if (scope->registration != NULL) {
            see_registration(scope->registration, see, user_data);
        }
        for (const struct muster__core_registration *it = scope->unregistered; it != NULL; it = it->next) {
            see_registration(it, see, user_data);
        }
        for (const struct muster__core_version *it = scope->redundant; it != NULL; it = it->next) {
            see_version(it, see, user_data);
        }
    }
}
