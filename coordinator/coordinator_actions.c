/* coordinator/coordinator_actions.c - what the core says is done here, an action each; core.h has what they mean. */
#include "coordinator/coordinator_internal.h"

#include "coordinator/clients.h"
#include "coordinator/registrations.h"
#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"
#include "coordinator/sync.h"

#include <stdlib.h>
#include <string.h>

/* ---- of an instance ---- */

static void do_open(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    instance->opened = true;
    atomic_fetch_add(&muster->counters.running, 1); /* before anybody has its first answer */
    if (instance->worker)
        (void)instance->worker->class->open(instance->worker, muster__now_us());
}

/* A worker that waits for a thread is not late with what was posted to it: its grace time begins when a
 * thread has come to it. */
static uint64_t alive_until(const struct muster__instance *instance, const struct muster__slot_sample *sample)
{
    struct muster__worker_stats stats = {0};
    uint64_t now_us = muster__now_us();
    if (!sample->waiting || sample->alive_until_us >= now_us || !instance->worker)
        return sample->alive_until_us;
    instance->worker->class->stats(instance->worker, &stats);
    return stats.waits ? now_us : sample->alive_until_us;
}

/* For the line about its end: what has let it live on.  Without memory that says less. */
static void note_held(struct muster__instance *instance)
{
    char held[512] = "";
    if (instance->worker)
        (void)instance->worker->class->describe(instance->worker, held, sizeof(held));
    if (!*held)
        return;
    free(instance->held);
    instance->held = strdup(held);
    instance->held_us = muster__now_us();
}

static void do_sample(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    const struct muster__slot_sample sample = muster__slot_sample(instance->version->slot);
    if (sample.holds)
        note_held(instance);
    muster__registrations_check_stale(muster, instance->version);
    muster__coordinator_answer(muster, (struct muster__core_event){.kind = MUSTER__CORE_SAMPLED,
                                                                   .instance = action->instance,
                                                                   .alive_until_us = alive_until(instance, &sample),
                                                                   .holds = sample.holds});
}

static void do_try_retire(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    bool ok = muster__slot_retire(instance->version->slot, instance->incarnation);
    muster__coordinator_answer(
        muster,
        (struct muster__core_event){.kind = MUSTER__CORE_RETIRED, .instance = action->instance, .ok = ok});
}

static void do_vacate(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    if (!instance || !instance->attached)
        return;
    struct muster__version *version = instance->version;
    version->instance = version->instance == instance->id ? 0 : version->instance;
    bool waits = muster__slot_vacate(version->slot, instance->incarnation) > 0;
    if (waits && !version->key) {
        struct muster__request *late = muster__slot_expire(version->slot, muster__now_us());
        muster__coordinator_fail_list(version, late, MUSTER_TERMINATED, NULL);
        waits = muster__slot_sample(version->slot).waiting > 0;
    }
    if (version->key) { /* there is no next one for those who wait */
        muster__coordinator_fail_list(version, muster__slot_empty(version->slot), MUSTER_TERMINATED, NULL);
        muster__coordinator_lose(version, atomic_load(&muster->closing) ? MUSTER_SHUTDOWN : MUSTER_TERMINATED, NULL);
    } else if (waits) {
        muster__coordinator_answer(
            muster, (struct muster__core_event){.kind = MUSTER__CORE_WANT, .version = version->id});
    }
}

static void describe(struct muster__instance *instance, enum muster__stop_reason reason,
                     const char *what, enum muster_log_level level)
{
    char held[512] = "";
    if (instance->worker)
        (void)instance->worker->class->describe(instance->worker, held, sizeof(held));
    if (!*held && instance->held)
        muster__log(instance->muster, level, instance->version->scope,
                    "worker %llu %s (%s); %.1f s ago it was held up by: %s", (unsigned long long)instance->id, what,
                    muster__stop_reason_sentence(reason), (double)(muster__now_us() - instance->held_us) / 1e6,
                    instance->held);
    else
        muster__log(instance->muster, level, instance->version->scope, "worker %llu %s (%s)%s%s",
                    (unsigned long long)instance->id, what, muster__stop_reason_sentence(reason),
                    *held ? "; held up by: " : "", held);
}

static void do_stop(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    if (action->reason == MUSTER__STOP_IDLE)
        atomic_fetch_add(&muster->counters.idle_ends, 1);
    describe(instance, action->reason, "stops", MUSTER_LOG_DEBUG);
    if (instance->worker)
        instance->worker->class->stop(instance->worker);
}

static void do_cancel(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    atomic_fetch_add(&muster->counters.forced_ends, 1);
    describe(instance, action->reason, "is interrupted", MUSTER_LOG_WARNING);
    if (instance->worker)
        instance->worker->class->cancel(instance->worker);
}

static void do_abandon(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    (void)muster;
    describe(instance, action->reason, "is given up", MUSTER_LOG_ERROR);
    if (instance->worker)
        instance->worker->class->abandon(instance->worker);
}

static void do_forget(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, action->instance);
    if (!instance)
        return;
    (void)muster__id_map_remove(&muster->own.instances, instance->id);
    muster__coordinator_close_context(instance);
    if (instance->opened)
        atomic_fetch_sub(&muster->counters.running, 1);
    muster__coordinator_instance_release(instance);
}

/* ---- of what waits for a version ---- */

void muster__coordinator_fail_list(struct muster__version *version, struct muster__request *list,
                      enum muster_status status, const struct muster_error *error)
{
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        (void)muster__request_settle(request,
                                     &(struct muster__outcome){.status = status, .error = error});
        muster__slot_drop(version->slot, request);
    }
}

/* Why the newest instance of a version did not start, for those that waited for it. */
const struct muster_error *muster__coordinator_start_error(struct muster *muster, uint32_t version,
                                              enum muster_status status)
{
    for (struct muster__instance *at = muster__coordinator_next_instance(muster, NULL); at;
         at = muster__coordinator_next_instance(muster, at))
        if (at->version->id == version && at->started_error.message && at->started_error.status == status)
            return &at->started_error;
    return NULL;
}

static void do_fail_queued(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = muster__coordinator_version(muster, action->version);
    /* It was the install event's promise that was rejected, not one of theirs. */
    enum muster_status status =
        action->status == MUSTER_REJECTED ? MUSTER_SCRIPT_ERROR : action->status;
    if (!version)
        return;
    const struct muster_error *error = muster__coordinator_start_error(muster, version->id, action->status);
    muster__coordinator_fail_list(version, muster__slot_empty(version->slot), status, error);
    muster__coordinator_lose(version, status, error);
}

static void do_dispose(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = muster__coordinator_version(muster, action->version);
    muster__coordinator_fail_list(version, muster__slot_close(version->slot),
              atomic_load(&muster->closing) ? MUSTER_SHUTDOWN : MUSTER_NOT_FOUND, NULL);
    muster__coordinator_lose(version, MUSTER_SHUTDOWN, NULL);
    atomic_store(&version->state, muster__version_state_word(MUSTER__VERSION_REDUNDANT));
    (void)muster__id_map_remove(&muster->own.versions, version->id);
    muster__version_release(version);
}

/* ---- of a registration ---- */

static void do_publish(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = muster__coordinator_version(muster, action->version);
    if (version->key)
        return; /* found by nobody but its makers */
    if (*action->scope != '/')
        atomic_store(&muster->has_url_scopes, true); /* before anybody can find it */
    struct muster__entry *before = muster__scope_map_get(muster->scopes, action->scope, strlen(action->scope));
    if (!before)
        atomic_fetch_add(&muster->counters.registrations, 1);
    else if (before->is_stub)
        muster__stubs_replaced((struct muster__stub *)before);
    muster__registrations_published(muster, action->scope);
    /* The core has decided; a map that cannot hold it would leave the registration unreachable. */
    MUSTER_CHECK(muster__scope_map_set(muster->scopes, action->scope, strlen(action->scope), version) ==
                 MUSTER_OK);
    if (muster->stubs.taking_up)
        return; /* it is kept as it is, and what it wants later is known */
    if (version->lazy) /* it is registered, though it was not installed yet */
        muster__keeper_put(muster, version);
    muster__syncs_published(muster, version);
}

static void do_control(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *old = muster__coordinator_version(muster, action->old);
    struct muster__version *version = muster__coordinator_version(muster, action->version);
    if (old && version)
        muster__clients_move(muster, old, version);
}

static void forget_kept(struct muster *muster, const char *scope)
{
    struct muster__entry *entry = muster__scope_map_get(muster->scopes, scope, strlen(scope));
    if (!entry || entry->is_stub)
        return;
    struct muster__version *version = (struct muster__version *)entry;
    muster__keeper_remove(muster, version);
    muster__syncs_withdrawn(muster, version);
}

static void do_withdraw(struct muster *muster, const struct muster__core_action *action)
{
    forget_kept(muster, action->scope);
    if (muster__scope_map_remove(muster->scopes, action->scope, strlen(action->scope)) == MUSTER_OK)
        atomic_fetch_sub(&muster->counters.registrations, 1);
    muster__registrations_withdrawn(muster, action);
}

/* ---- all of them ---- */

void muster__coordinator_perform(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance;
    switch (action->kind) {
    case MUSTER__DO_PUBLISH: do_publish(muster, action); break;
    case MUSTER__DO_WITHDRAW: do_withdraw(muster, action); break;
    case MUSTER__DO_PLACE: muster__coordinator_place(muster, action); break;
    case MUSTER__DO_START: muster__coordinator_start_instance(muster, action); break;
    case MUSTER__DO_INSTALL:
        instance = muster__coordinator_instance(muster, action->instance);
        muster__coordinator_dispatch_lifecycle(instance, &instance->install, "install");
        break;
    case MUSTER__DO_ACTIVATE:
        instance = muster__coordinator_instance(muster, action->instance);
        muster__coordinator_dispatch_lifecycle(instance, &instance->activate, "activate");
        break;
    case MUSTER__DO_OPEN: do_open(muster, action); break;
    case MUSTER__DO_SAMPLE: do_sample(muster, action); break;
    case MUSTER__DO_TRY_RETIRE: do_try_retire(muster, action); break;
    case MUSTER__DO_VACATE: do_vacate(muster, action); break;
    case MUSTER__DO_STOP: do_stop(muster, action); break;
    case MUSTER__DO_CANCEL: do_cancel(muster, action); break;
    case MUSTER__DO_ABANDON: do_abandon(muster, action); break;
    case MUSTER__DO_FAIL_QUEUED: do_fail_queued(muster, action); break;
    case MUSTER__DO_SETTLE_JOB: muster__coordinator_settle_job(muster, action); break;
    case MUSTER__DO_FORGET: do_forget(muster, action); break;
    case MUSTER__DO_DISPOSE: do_dispose(muster, action); break;
    case MUSTER__DO_CONTROL: do_control(muster, action); break;
    case MUSTER__DO_NOTE_STATE: muster__registrations_note_state(muster, action); break;
    case MUSTER__DO_NOTE_SLOTS: muster__registrations_note_slots(muster, action); break;
    case MUSTER__DO_NOTE_UPDATE_FOUND: muster__registrations_note_update_found(muster, action); break;
    case MUSTER__DO_LOAD: muster__registrations_load(muster, action); break;
    case MUSTER__DO_CLOSED: muster->own.core_closed = true; break;
    case MUSTER__DO_COUNT: MUSTER_CHECK(false);
    }
}
