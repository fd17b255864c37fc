/* coordinator/core_due.c - what is due in a scope, beside its jobs: who may be promoted, activated, cleared
 * and disposed of.  Each call does what is due now, and says whether anything was.  Thread: the driver's.
 *
 * Promise: a registration that was unregistered serves its clients until the last of them is gone. */

#include "coordinator/core_internal.h"

/* ---- what is due in a scope ---- */

/* SW-ACT-1, and what muster adds: a version that was not registered by a script lets the active one end by
 * itself; and one whose predecessor still works stays alone until that is over, so that there are never two
 * in line. */
static bool may_promote(const struct muster__core_registration *registration)
{
    const struct muster__core_version *next = registration->waiting;
    const struct muster__core_version *old = registration->active;

    if (next == NULL || old == NULL) {
        return false;
    }
    if (muster__core_registration_is_handing_over(registration) || old->activation_due
        || (old->state < MUSTER__VERSION_ACTIVATED && old->current != NULL)) {
        return false; /* it is on its way to be activated */
    }
#if MUSTER_PLANT_FAULT != 9
    if (registration->users > 0 && !next->skip_waiting) {
        return false;
    }
#endif
    return old->current == NULL
           || ((next->skip_waiting || next->early) && registration->installing == NULL);
}

static bool promote(struct muster__core *core, struct muster__core_registration *registration)
{
    struct muster__core_version *next = registration->waiting;
    struct muster__core_version *old = registration->active;

    if (!may_promote(registration)) {
        return false;
    }
    registration->waiting = NULL;
    registration->active = next;
    next->role = MUSTER__ROLE_ACTIVE;
    next->activation_due = true;
    muster__core_version_publish(core, next);
    muster__core_version_make_redundant(core, old, MUSTER__STOP_REPLACED);
    if (registration->seen.active != old) { /* it never came so far */
        muster__core_move_users(core, old, next);
        muster__core_see_redundant(core, old);
    }
    return true;
}

/* What scripts see of the promotion: when the old one has finished (SW-ACT-2). */
static bool hand_over(struct muster__core *core, struct muster__core_registration *registration)
{
    const struct muster__core_version *old = registration->seen.active;

    if (!muster__core_registration_is_handing_over(registration)
        || (old != NULL && old->current != NULL && !old->closing)) {
        return false;
    }
    muster__core_see_activating(core, registration->active);
    return true;
}

/* A version activates when none that it replaced has an instance any more. */
static bool may_activate(const struct muster__core_version *version)
{
    const struct muster__core_version *older = version->scope->redundant;
    for (; older != NULL && older != version; older = older->next) {
        if (older->replaced && older->current != NULL && older->registration_id == version->registration_id) {
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

bool muster__core_due_activate_redundant(struct muster__core *core, struct muster__core_scope *scope)
{
    bool changed = false;
    for (struct muster__core_version *version = scope->redundant; version != NULL;
         version = version->next) {
        changed |= activate(core, version);
    }
    return changed;
}

/* SW-UNR-2: what is pending is finished first, within the grace time. */
void muster__core_due_clear(struct muster__core *core, struct muster__core_registration *registration)
{
    struct muster__core_version *waiting = registration->waiting, *active = registration->active;

    registration->cleared = true;
    registration->versions++; /* it stays while it is worked on */
    if (active != NULL) {
        muster__core_version_make_redundant(core, active, MUSTER__STOP_UNREGISTERED);
        if (!muster__core_is_seen(active)) {
            muster__core_registration_release(active);
        }
    }
    if (waiting != NULL) { /* scripts see it */
        muster__core_version_make_redundant(core, waiting, MUSTER__STOP_UNREGISTERED);
    }
    registration->versions--;
    muster__core_registration_free_if_left(registration);
}

static bool is_finished(const struct muster__core_version *version)
{
    return version == NULL || version->current == NULL || version->closing;
}

/* SW-UNR-2: all of its slots at a time, when the last of its work is done. */
static bool tell_cleared(struct muster__core *core, struct muster__core_registration *registration)
{
    const struct muster__core_version *installing = registration->seen.installing,
                                      *waiting = registration->seen.waiting, *active = registration->seen.active;
    bool any = installing != NULL || waiting != NULL || active != NULL;
    if (!registration->cleared || !any || !is_finished(installing) || !is_finished(waiting)
        || !is_finished(active)) {
        return false;
    }
    muster__core_see_cleared(core, registration);
    return true;
}

/* It is told of with the others of its registration. */
static bool must_be_told_of(const struct muster__core *core, const struct muster__core_version *version)
{
    return !core->closing && muster__core_is_seen(version) && version->registration->cleared;
}

/* True: something changed, and the registration may be gone. */
bool muster__core_due_registration(struct muster__core *core, struct muster__core_registration *registration)
{
    if (registration->unregistered && !registration->cleared && registration->users == 0) {
        muster__core_due_clear(core, registration);
        return true;
    }
    return promote(core, registration) || hand_over(core, registration)
           || (registration->active != NULL && activate(core, registration->active))
           || tell_cleared(core, registration);
}

bool muster__core_due_unregistered(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_registration *next;
    bool changed = false;
    for (struct muster__core_registration *it = scope->unregistered; it != NULL; it = next) {
        next = it->next;
        changed |= muster__core_due_registration(core, it);
    }
    return changed;
}

void muster__core_due_dispose(struct muster__core *core, struct muster__core_scope *scope)
{
    struct muster__core_version *next;
    for (struct muster__core_version *version = scope->redundant; version != NULL; version = next) {
        next = version->next;
        if (version->closing && !version->disposed && version->count == version->abandoned
            && !must_be_told_of(core, version)) {
            version->disposed = true;
            muster__core_timer_clear(core, &version->timer);
            muster__core_version_tell(core, version, MUSTER__DO_DISPOSE, MUSTER_OK);
            muster__core_map_remove(&core->versions, version->id);
            muster__core_see_redundant(core, version); /* they know, unless everything closes */
        }
        if (version->disposed && version->count == 0) {
            muster__core_version_forget_redundant(core, version);
            muster__core_version_free(version);
        }
    }
}
