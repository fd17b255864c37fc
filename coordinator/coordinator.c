/* coordinator/coordinator.c - the coordinator: it feeds the core, and what others ask of it.
 *
 * It runs no script and waits for no worker.  An event goes in, the core's actions are performed in their order
 * (coordinator_actions.c); what an action answers at once is fed after the actions of its step.
 *
 * Its other files: coordinator_inbox.c has the thread and its messages, coordinator_instance.c one running of a
 * version, coordinator_place.c where it runs, coordinator_jobs.c what is asked of registrations. */
#include "coordinator/coordinator_internal.h"

#include "coordinator/context_worker.h"
#include "coordinator/stub.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- events to the core ---- */

void muster__coordinator_answer(struct muster *muster, struct muster__core_event event)
{
    if (event.scope) { /* until then */
        event.scope = muster__strdup(event.scope);
        MUSTER_CHECK(event.scope);
    }
    if (muster->own.pending_count == muster->own.pending_capacity) {
        size_t capacity = muster->own.pending_capacity ? muster->own.pending_capacity * 2 : 32;
        struct muster__core_event *pending = realloc(muster->own.pending, capacity * sizeof(*pending));
        /* An answer that is lost would leave the core waiting; its own deadlines would find it late. */
        MUSTER_CHECK(pending);
        muster->own.pending = pending;
        muster->own.pending_capacity = capacity;
    }
    muster->own.pending[muster->own.pending_count++] = event;
}

static void log_line(struct muster *muster, const char *line)
{
    if (muster->options.log)
        muster->options.log(MUSTER_LOG_DEBUG, "core", line, muster->options.user_data);
}

static void step(struct muster *muster, const struct muster__core_event *event)
{
    struct muster__core_actions actions;
    char line[512];
    if (event->scope)
        (void)muster__stubs_want(muster, event->scope, NULL);
    muster__stubs_take_up(muster); /* this event may be about one of them */
    uint64_t now_us = muster__now_us();
    if (muster->options.log_events) {
        (void)muster__core_event_format(event, now_us, line, sizeof(line));
        log_line(muster, line);
    }
    enum muster_status status = muster__core_step(muster->core, event, now_us, &actions);
    while (status == MUSTER_NO_MEMORY) { /* refused as a whole: the only thread that can free must go on */
        sched_yield();
        status = muster__core_step(muster->core, event, now_us, &actions);
    }
    MUSTER_CHECK(status == MUSTER_OK);
    /* The actions are the core's until the next step, and nothing in between steps it. */
    muster->own.stepping = true;
    for (size_t i = 0; i < actions.count; i++) {
        if (muster->options.log_events) {
            (void)muster__core_action_format(&actions.items[i], line, sizeof(line));
            log_line(muster, line);
        }
        muster__coordinator_perform(muster, &actions.items[i]);
    }
    muster->own.stepping = false;
}

void muster__coordinator_feed(struct muster *muster, const struct muster__core_event *event)
{
    if (muster->own.stepping) {
        muster__coordinator_answer(muster, *event);
        return;
    }
    step(muster, event);
    while (muster->own.pending_count) {
        struct muster__core_event pending = muster->own.pending[0];
        muster->own.pending_count--;
        memmove(muster->own.pending, muster->own.pending + 1,
                muster->own.pending_count * sizeof(pending));
        step(muster, &pending);
        free((char *)pending.scope);
    }
}

/* ---- versions by their numbers ---- */

struct muster__version *muster__coordinator_version(struct muster *muster, uint64_t id)
{
    struct muster__id_node *node = id ? muster__id_map_find(&muster->own.versions, id) : NULL;
    return node ? MUSTER_CONTAINER_OF(node, struct muster__version, node) : NULL;
}

void muster__coordinator_add(struct muster *muster, struct muster__version *version)
{
    version->node.id = version->id;
    muster__id_map_add(&muster->own.versions, &muster__version_acquire(version)->node);
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_REGISTER,
                                                                  .job = muster__coordinator_own_job(muster),
                                                                  .version = version->id,
                                                                  .scope = version->key,
                                                                  .script = version->identity,
                                                                  .lazy = true,
                                                                  .plain = true,
                                                                  .idle_us = version->idle_us});
}

void muster__coordinator_restore(struct muster *muster, struct muster__version *version,
                                 const struct muster__core_event *event)
{
    struct muster__core_event full = *event;
    version->node.id = version->id;
    muster__id_map_add(&muster->own.versions, &muster__version_acquire(version)->node);
    full.job = muster__coordinator_own_job(muster);
    full.version = version->id;
    full.scope = version->scope;
    full.script = version->identity;
    full.idle_us = version->idle_us;
    step(muster, &full); /* before what waits to be fed: some of that may be about it */
}

void muster__coordinator_drop(struct muster *muster, struct muster__version *version, bool at_once)
{
    if (!muster->own.core_closed)
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_RELEASE,
                                                                      .version = version->id,
                                                                      .force = at_once});
}

void muster__coordinator_lose(struct muster__version *version, enum muster_status status,
                              const struct muster_error *error)
{
    if (version->worker)
        muster__context_worker_lost(version->worker, status, error);
}

void muster__coordinator_use(struct muster *muster, struct muster__version *version, bool begins)
{
    if (!muster->own.core_closed)
        muster__coordinator_feed(
            muster, &(struct muster__core_event){.kind = begins ? MUSTER__CORE_USE : MUSTER__CORE_UNUSE,
                                                 .version = version->id});
}

enum muster_status muster__coordinator_send(struct muster *muster, struct muster__version *version,
                                            struct muster__request *request)
{
    struct muster__instance *instance = muster__coordinator_instance(muster, version->instance);
    const char *state = atomic_load(&version->state);
    bool inactive = strcmp(state, "installing") == 0 || strcmp(state, "installed") == 0 ||
                    strcmp(state, "activating") == 0; /* which may wait for this very message */
    if (!inactive || !instance || !instance->worker)
        return muster__post(version, request, muster__now_us());
    instance->worker->class->control(instance->worker, request); /* its slot opens when it is active */
    return MUSTER_OK;
}

/* ---- a slot wants a worker ---- */

void muster__coordinator_run_want(struct muster__message *message, struct muster *muster)
{
    struct muster__version *version = MUSTER_CONTAINER_OF(message, struct muster__version, want);
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_WANT, .version = version->id});
    muster__version_release(version);
}

void muster__coordinator_want(struct muster__slot *slot, void *user_data)
{
    struct muster__version *version = user_data;
    (void)slot;
    muster__version_acquire(version); /* the message's; one that waits already has its own */
    if (!muster__coordinator_post_to_helper(version->muster, &version->want))
        muster__version_release(version);
}
