/* coordinator/core_version.c - the versions of a registration: what they come to, and how they end.
 * Thread: the driver's.
 *
 * Promise: a version that was published serves what came to its slot before it is disposed of, within the
 * grace time.
 *
 * Ids such as SW-ACT-1 stand for what the Service Workers specification asks; tests/test_core_rules.c has a
 * sentence, and a test, for each. */
#include <stdlib.h>

#include "coordinator/core_internal.h"

/* ---- versions ---- */

void muster__core_version_tell(struct muster__core *core, const struct muster__core_version *version,
                               enum muster__core_action_kind kind, enum muster_status status)
{
    muster__core_emit(core, (struct muster__core_action){ .kind = kind,
                                                          .version = version->id,
                                                          .status = status,
                                                          .reason = version->reason,
                                                          .scope = version->scope->name });
}

void muster__core_version_free(struct muster__core_version *version)
{
    free(version->script);
    free(version);
}

/* It was offered and never used. */
void muster__core_version_dispose(struct muster__core *core, struct muster__core_version *version)
{
    muster__core_version_tell(core, version, MUSTER__DO_DISPOSE, MUSTER_OK);
    muster__core_map_remove(&core->versions, version->id);
    muster__core_version_free(version);
}

/* Requests may come to its slot: of the whole scope, or, once it is unregistered, of its clients alone. */
void muster__core_version_publish(struct muster__core *core, struct muster__core_version *version)
{
    version->published = true;
    if (!version->registration->unregistered) {
        muster__core_version_tell(core, version, MUSTER__DO_PUBLISH, MUSTER_OK);
    }
}

static void detach(struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;
    struct muster__core_version **places[] = { &registration->installing, &registration->waiting,
                                               &registration->active };
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

void muster__core_version_forget_redundant(struct muster__core *core, struct muster__core_version *version)
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

/* Nobody is sent to it any more.  If requests may have come to its slot it serves them, within grace.  The
 * caller tells the scripts, at once or later. */
void muster__core_version_make_redundant(struct muster__core *core, struct muster__core_version *version,
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

/* The one instance of a plain version has ended, or will: its key is free, what waits fails. */
static void end_plain(struct muster__core *core, struct muster__core_version *version,
                      enum muster__stop_reason reason, enum muster_status status)
{
    if (core->closing || version->closing) {
        return;
    }
    muster__core_job_finish_of(version, status);
    version->closing = true;
    muster__core_timer_clear(core, &version->timer);
    if (version->role != MUSTER__ROLE_REDUNDANT) {
        version->role = MUSTER__ROLE_REDUNDANT;
        version->reason = reason;
        detach(version);
        append_redundant(core, version);
#if MUSTER_PLANT_FAULT != 13
        muster__core_registration_remove(core, version->registration, reason, version->id);
#endif
    }
    muster__core_see_redundant(core, version);
    muster__core_version_tell(core, version, MUSTER__DO_FAIL_QUEUED, status);
}

void muster__core_version_activated(struct muster__core *core, struct muster__core_version *version)
{
    version->state = MUSTER__VERSION_ACTIVATED;
    muster__core_see_activated(core, version);
}

void muster__core_version_vacant(struct muster__core *core, struct muster__core_version *version)
{
    if (version->state == MUSTER__VERSION_INSTALLING) {
        version->state = MUSTER__VERSION_PARSED;
    } else if (version->state == MUSTER__VERSION_ACTIVATING) {
        muster__core_version_activated(core, version); /* a failed activate is ignored: SW-ACT-2 */
    }
    if (version->plain) {
        end_plain(core, version, MUSTER__STOP_DIED, MUSTER_TERMINATED);
    } else if (version->role == MUSTER__ROLE_REDUNDANT && !version->closing) {
        linger(core, version);
    }
}

void muster__core_version_fail(struct muster__core *core, struct muster__core_version *version,
                               enum muster_status status)
{
    struct muster__core_registration *registration = version->registration;

    if (version->plain && !core->closing && !version->closing) {
        end_plain(core, version, MUSTER__STOP_START_FAILED, status);
        return;
    }
    muster__core_version_tell(core, version, MUSTER__DO_FAIL_QUEUED, status);
    /* What failed may have been a start for requests, while the one before it is at work still. */
    bool activates = version->role == MUSTER__ROLE_ACTIVE && version->state == MUSTER__VERSION_INSTALLED;
    bool activates_later = activates && version->early && version->told < MUSTER__VERSION_ACTIVATING;
    version->activation_due = activates_later;
    if (core->closing) {
        return;
    }
    muster__core_job_finish_of(version, status);
    if (version->role == MUSTER__ROLE_INSTALLING) { /* SW-INS-2 */
        muster__core_version_make_redundant(core, version, MUSTER__STOP_INSTALL_FAILED);
        bool last = muster__core_registration_is_empty(registration);
        muster__core_see_redundant(core, version);
        if (last) {
            muster__core_registration_remove(core, registration, MUSTER__STOP_INSTALL_FAILED, version->id);
        }
    } else if (activates && version->early && !activates_later) {
        muster__core_version_activated(core, version); /* its activate could not even begin: SW-ACT-2 */
    }
}

/* SW-INS-1: the slot, the state, the promise, updatefound; then the event. */
void muster__core_version_installing(struct muster__core *core, struct muster__core_version *version)
{
    version->state = MUSTER__VERSION_INSTALLING;
    if (version->registration == NULL) {
        return; /* redundant: what waits in its slot wants it installed */
    }
    version->registration->via = version->via;
    bool news = muster__core_see_installing(core, version);
    muster__core_job_settle_early(core, version);
    if (news && core->options.notes) {
        muster__core_scope_tell(core, version->registration, MUSTER__DO_NOTE_UPDATE_FOUND, MUSTER__STOP_NONE,
                                version->id);
    }
}

/* SW-INS-3 */
void muster__core_version_installed(struct muster__core *core, struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;

    version->state = MUSTER__VERSION_INSTALLED;
    if (version->role == MUSTER__ROLE_INSTALLING) {
        struct muster__core_version *older = registration->waiting;
        bool waits = registration->active != NULL;
        if (older != NULL) {
            muster__core_version_make_redundant(core, older, MUSTER__STOP_REPLACED);
            muster__core_see_redundant(core, older);
        }
        registration->installing = NULL;
        *(waits ? &registration->waiting : &registration->active) = version;
        version->role = waits ? MUSTER__ROLE_WAITING : MUSTER__ROLE_ACTIVE;
        if (!waits && !version->published) {
            muster__core_version_publish(core, version);
        }
    }
    if (registration != NULL) {
        muster__core_see_installed(core, version);
    }
    version->activation_due = version->role == MUSTER__ROLE_ACTIVE;
}

/* ---- clients ---- */

void muster__core_version_use(struct muster__core *core, struct muster__core_version *version)
{
    (void)core;
    if (version->registration != NULL && !version->registration->cleared && !version->plain) {
        version->users++;
        version->registration->users++;
    }
}

void muster__core_version_unuse(struct muster__core *core, struct muster__core_version *version)
{
    (void)core;
    if (version->users > 0) { /* else it comes late */
        version->users--;
#if MUSTER_PLANT_FAULT != 8
        version->registration->users--;
#endif
    }
}

void muster__core_version_release(struct muster__core *core, struct muster__core_version *version, bool force)
{
    struct muster__core_instance *current = version->current;

    if (!version->plain || core->closing) {
        return;
    }
    if (version->role == MUSTER__ROLE_OFFERED) {
        version->released = true;
        return;
    }
    end_plain(core, version, MUSTER__STOP_RELEASED, MUSTER_TERMINATED);
    if (current != NULL) {
        muster__core_instance_feed(core, current, force ? MUSTER__INPUT_FORCE : MUSTER__INPUT_END,
                                   MUSTER__STOP_RELEASED, MUSTER_OK);
    }
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
        muster__core_version_tell(core, version, MUSTER__DO_FAIL_QUEUED, MUSTER_SHUTDOWN);
    } else if (version->closing || (version->plain && version->role == MUSTER__ROLE_REDUNDANT)) {
        muster__core_version_tell(core, version, MUSTER__DO_FAIL_QUEUED, MUSTER_NOT_FOUND);
    } else if (version->abandoned > 0) {
        muster__core_version_tell(core, version, MUSTER__DO_FAIL_QUEUED, MUSTER_WEDGED);
    } else {
        if (version->role == MUSTER__ROLE_REDUNDANT) {
            muster__core_timer_set(core, &version->timer, version->drain_until_us);
        }
        muster__core_instance_launch(core, version);
    }
}
