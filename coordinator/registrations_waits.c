/* coordinator/registrations_waits.c - scripts that wait: for an active worker (ready), and for their worker's taking
 * over (skipWaiting). */
#include "coordinator/registrations_internal.h"

#include <stdlib.h>
#include <string.h>

struct ready_wait {
    struct muster__link link;
    struct muster__pending *pending;
};

/* A worker that asked to take over, and is being activated. */
struct skip_wait {
    struct muster__link link;
    struct muster__pending *pending;
    uint32_t version;
};

static void let_ready_go(struct muster__registrations *registrations, struct ready_wait *wait)
{
    muster__link_remove(&wait->link);
    registrations->ready_count--;
    free(wait);
}

static void let_skip_go(struct skip_wait *wait)
{
    muster__link_remove(&wait->link);
    free(wait);
}

void muster__registrations_clean_up_waits(struct muster__registrations *registrations)
{
    while (!muster__link_is_empty(&registrations->readies)) {
        struct ready_wait *wait = MUSTER_CONTAINER_OF(registrations->readies.next, struct ready_wait, link);
        muster__registrations_abort(wait->pending);
        let_ready_go(registrations, wait);
    }
    while (!muster__link_is_empty(&registrations->skips)) {
        struct skip_wait *wait = MUSTER_CONTAINER_OF(registrations->skips.next, struct skip_wait, link);
        muster__registrations_abort(wait->pending);
        let_skip_go(wait);
    }
}

/* ---- ready ---- */

void muster__registrations_settle_readies(struct muster *muster, uint64_t registration)
{
    struct muster__registrations *registrations = own(muster);
    struct muster__link *next;
    muster__scope_map_commit(muster->scopes); /* whoever is ready finds it */
    muster__scope_map_begin(muster->scopes);
    for (struct muster__link *at = registrations->readies.next; at != &registrations->readies; at = next) {
        struct ready_wait *wait = MUSTER_CONTAINER_OF(at, struct ready_wait, link);
        const struct muster__context *context = wait->pending->context;
        struct muster__core_scope_view view;
        next = at->next;
        if (context && (!muster__registrations_match(muster, context->url, &view) ||
                        view.registration != registration))
            continue;
        muster__pending_answer(wait->pending, context ? muster__tree_registration(muster, &view) : NULL);
        let_ready_go(registrations, wait);
    }
}

static void sweep_readies(struct muster__registrations *registrations)
{
    struct muster__link *next;
    for (struct muster__link *at = registrations->readies.next; at != &registrations->readies; at = next) {
        struct ready_wait *wait = MUSTER_CONTAINER_OF(at, struct ready_wait, link);
        next = at->next;
        if (!wait->pending->context) {
            muster__pending_answer(wait->pending, NULL);
            let_ready_go(registrations, wait);
        }
    }
    registrations->ready_sweep = registrations->ready_count * 2 + 64;
}

/* ready(): answered when the registration that its URL matches has an active worker */
void muster__op_ready(struct muster__ask *ask)
{
    struct muster__context *context = ask->context;
    struct muster__registrations *registrations = own(context->muster);
    struct muster__core_scope_view view;
    context->hears_registrations = true;
    if (muster__registrations_match(context->muster, context->url, &view) && view.active) {
        muster__ask_answer(ask, muster__tree_registration(context->muster, &view));
        return;
    }
    struct ready_wait *wait = calloc(1, sizeof(*wait));
    if (!wait) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    wait->pending = muster__ask_defer(ask);
    if (!wait->pending) {
        free(wait);
        return;
    }
    if (registrations->ready_count >= registrations->ready_sweep)
        sweep_readies(registrations);
    muster__link_append(&registrations->readies, &wait->link);
    registrations->ready_count++;
}

/* ---- skipWaiting ---- */

void muster__registrations_settle_skips(struct muster *muster, uint32_t version)
{
    struct muster__link *list = &own(muster)->skips, *next;
    for (struct muster__link *at = list->next; at != list; at = next) {
        struct skip_wait *wait = MUSTER_CONTAINER_OF(at, struct skip_wait, link);
        next = at->next;
        if (wait->version != version)
            continue;
        muster__pending_answer(wait->pending, NULL);
        let_skip_go(wait);
    }
}

static bool is_in_state(const struct muster__version *version, enum muster__version_state state)
{
    return version && strcmp(atomic_load(&version->state), muster__version_state_word(state)) == 0;
}

/* SW-SKIP-1.  Answered when it has been activated, if it takes over at once; else at once. */
void muster__op_skip_waiting(struct muster__ask *ask)
{
    const struct muster__context *context = ask->context;
    struct muster *muster = context->muster;
    if (context->type != MUSTER__WORKER_SERVICE) {
        muster__ask_fail(ask, "TypeError", "only a service worker may ask this");
        return;
    }
    bool waits = is_in_state(context->version, MUSTER__VERSION_INSTALLED);
    if (context->instance)
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_SKIP_WAITING,
                                                                      .instance = context->instance});
    bool activates = waits && is_in_state(context->version, MUSTER__VERSION_ACTIVATING);
    struct skip_wait *wait = activates && ask->is_ask ? calloc(1, sizeof(*wait)) : NULL;
    if (!wait) { /* without memory: a little early */
        muster__ask_answer(ask, NULL);
        return;
    }
    wait->version = context->version->id;
    wait->pending = muster__ask_defer(ask);
    if (wait->pending)
        muster__link_append(&own(muster)->skips, &wait->link);
    else
        free(wait);
}
