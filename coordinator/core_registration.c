/* coordinator/core_registration.c - the core's scopes, and the registrations in them.  Thread: the
 * driver's.
 *
 * Promises: a scope's record lives until nothing of it is left; an unregistered registration's until none
 * of its versions belongs to it. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/core_internal.h"
#include "runtime/hash.h"

/* ---- scopes ---- */

static uint64_t hash_text(const char *text)
{
    return muster__hash_text(0, text) | 1; /* a map's key is never 0 */
}

struct muster__core_scope *muster__core_scope_find(const struct muster__core *core, const char *name)
{
    struct muster__core_scope *scope = muster__core_map_get(&core->scopes, hash_text(name));
    while (scope != NULL && strcmp(scope->name, name) != 0) {
        scope = scope->chain;
    }
    return scope;
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

struct muster__core_scope *muster__core_scope_new(struct muster__core *core, const char *name)
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

void muster__core_scope_add(struct muster__core *core, struct muster__core_scope *scope)
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
void muster__core_scope_bury(struct muster__core *core, struct muster__core_scope *scope)
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

void muster__core_scope_tell(struct muster__core *core, const struct muster__core_registration *registration,
                             enum muster__core_action_kind kind, enum muster__stop_reason reason,
                             uint32_t version)
{
    muster__core_emit(core, (struct muster__core_action){
                                .kind = kind,
                                .version = version,
                                .reason = reason,
                                .registration = core->options.notes ? registration->id : 0,
                                .scope = registration->scope->name });
}

/* ---- registrations ---- */

struct muster__core_version *
muster__core_registration_newest(const struct muster__core_registration *registration)
{
    return registration->waiting != NULL ? registration->waiting : registration->active;
}

bool muster__core_registration_is_handing_over(const struct muster__core_registration *registration)
{
    const struct muster__core_version *active = registration->active;
    return active != NULL && active->state >= MUSTER__VERSION_INSTALLED
           && active->told == MUSTER__VERSION_INSTALLED;
}

bool muster__core_registration_is_empty(const struct muster__core_registration *registration)
{
    return registration->installing == NULL && muster__core_registration_newest(registration) == NULL;
}

/* The job's memory becomes the one in the map. */
struct muster__core_registration *muster__core_registration_add(struct muster__core *core,
                                                                struct muster__core_scope *scope,
                                                                struct muster__core_job *job)
{
    struct muster__core_registration *registration = job->fresh;
    MUSTER_CHECK(registration != NULL && scope->registration == NULL);
    job->fresh = NULL;
    registration->id = ++core->last_registration;
    registration->scope = scope;
    registration->via = job->via;
    registration->checked_us = job->checked_us;
    registration->plain = job->plain;
    scope->registration = registration;
    unlink_scope(core, scope);
    append_scope(core, scope);
    return registration;
}

void muster__core_registration_free_if_left(struct muster__core_registration *registration)
{
    struct muster__core_registration **at = &registration->scope->unregistered;
    if (registration->versions > 0 || !registration->unregistered) {
        return;
    }
    while (*at != registration) {
        at = &(*at)->next;
    }
    *at = registration->next;
    free(registration);
}

/* Out of the map: nothing finds it by its scope any more.  It may be gone afterwards. */
void muster__core_registration_remove(struct muster__core *core,
                                      struct muster__core_registration *registration,
                                      enum muster__stop_reason reason, uint32_t version)
{
    struct muster__core_registration **last = &registration->scope->unregistered;
    muster__core_scope_tell(core, registration, MUSTER__DO_WITHDRAW, reason, version);
    registration->scope->registration = NULL;
    registration->unregistered = true;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = registration;
    muster__core_registration_free_if_left(registration);
}

void muster__core_registration_join(struct muster__core_version *version,
                                    struct muster__core_registration *registration)
{
    version->registration = registration;
    version->registration_id = registration->id;
    registration->versions++;
}

void muster__core_registration_release(struct muster__core_version *version)
{
    struct muster__core_registration *registration = version->registration;
    if (registration != NULL) {
        MUSTER_CHECK(version->users == 0);
        version->registration = NULL;
        registration->versions--;
        muster__core_registration_free_if_left(registration);
    }
}
