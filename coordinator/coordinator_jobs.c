/* coordinator/coordinator_jobs.c - jobs: what the embedder asks of registrations, and how a job settles, its own or a
 * script's (registrations.c): when what it promises can be seen, and is on the disk. */
#include "coordinator/coordinator_internal.h"

#include "coordinator/registrations.h"
#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"

#include <stdlib.h>
#include <string.h>

/* ---- asking ---- */

/* Odd: no handle's address. */
uint64_t muster__coordinator_own_job(struct muster *muster)
{
    return ++muster->own.next_plain * 2 + 1;
}

static bool is_own_job(uint64_t job)
{
    return job & 1;
}

/* It was refused before it could be a job: its sender hears why, as of any other. */
void muster__coordinator_run_refusal(struct muster__message *message, struct muster *muster)
{
    struct muster_handle *job = MUSTER_CONTAINER_OF(message, struct muster_handle, message);
    (void)muster;
    (void)muster__request_settle(&job->request, &(struct muster__outcome){.status = job->refusal.status,
                                                                           .error = &job->refusal});
    muster__request_release(&job->request);
}

/* A job of the embedder's: register, unregister, stop. */
void muster__coordinator_run_job(struct muster__message *message, struct muster *muster)
{
    struct muster_handle *job = MUSTER_CONTAINER_OF(message, struct muster_handle, message);
    struct muster__version *offered = job->offered;
    const struct muster__core_event event = {
        .kind = job->job,
        .job = (uint64_t)(uintptr_t)job,
        .version = offered ? offered->id : 0,
        .scope = job->scope,
        .script = offered ? offered->identity : NULL,
        .lazy = offered && offered->lazy,
        .idle_us = offered ? offered->idle_us : 0,
    };
    if (!offered) {
        job->refusal.status = muster__stubs_want(muster, job->scope, &job->refusal);
        if (job->refusal.status != MUSTER_OK) {
            muster__coordinator_run_refusal(message, muster);
            return;
        }
    } else {
        offered->node.id = offered->id;
        muster__id_map_add(&muster->own.versions, &muster__version_acquire(offered)->node);
    }
    muster__coordinator_feed(muster, &event);
}

/* ---- settling ---- */

static void settle_job(struct muster *muster, const struct muster__core_action *action,
                       const struct muster_error *error)
{
    struct muster_handle *job = (struct muster_handle *)(uintptr_t)action->job;
    if (is_own_job(action->job)) {
        muster__registrations_settled(muster, action, error);
    } else {
        (void)muster__request_settle(
            &job->request, &(struct muster__outcome){.status = action->status, .error = error});
        muster__request_release(&job->request);
    }
    muster__registrations_forget_job(muster, action->job);
}

/* A job that waits for the disk. */
struct settlement {
    struct muster__keeper_wait wait;
    struct muster__core_action action;
    char scope[];
};

static void run_settlement(struct muster__keeper_wait *wait, struct muster *muster, enum muster_status status,
                           const struct muster_error *error)
{
    struct settlement *settlement = MUSTER_CONTAINER_OF(wait, struct settlement, wait);
    if (status != MUSTER_OK)
        settlement->action.status = status;
    settle_job(muster, &settlement->action, error);
    free(settlement);
}

/* What a job promises is on the disk when it settles; false: there is nothing to wait for. */
static bool settle_when_kept(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = muster__coordinator_version(muster, action->version);
    const char *state = version ? atomic_load(&version->state) : "";
    if (action->status != MUSTER_OK || !action->scope)
        return false;
    if (version && !version->is_kept && (strcmp(state, "activating") == 0 || strcmp(state, "activated") == 0))
        muster__keeper_put(muster, version);
    if (!muster__keeper_is_writing(muster, action->scope))
        return false;
    struct settlement *settlement = calloc(1, sizeof(*settlement) + strlen(action->scope) + 1);
    if (!settlement)
        return false;
    strcpy(settlement->scope, action->scope);
    settlement->action = *action;
    settlement->action.scope = settlement->scope;
    settlement->wait.run = run_settlement;
    muster__keeper_await(muster, settlement->scope, &settlement->wait);
    return true;
}

void muster__coordinator_settle_job(struct muster *muster, const struct muster__core_action *action)
{
    const struct muster_error *error = muster__registrations_load_error(muster, action->job);
    if (action->status != MUSTER_OK && !error && action->version)
        /* Of the job that it joined. */
        error = muster__coordinator_start_error(muster, action->version, action->status);
    /* What it promises must be visible to whoever hears of it. */
    muster__scope_map_commit(muster->scopes);
    muster__scope_map_begin(muster->scopes);
    if (!settle_when_kept(muster, action))
        settle_job(muster, action, error);
}
