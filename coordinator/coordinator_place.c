/* coordinator/coordinator_place.c - where an instance runs: placement, what a version has to bear that killed its
 * process, and hosts that have had their time. */
#include "coordinator/coordinator_internal.h"

#include "coordinator/hosting.h"
#include "runtime/hash.h"

#include <stdlib.h>

/* ---- placement; and what a version has to bear that killed its process ---- */

struct muster__pause {
    struct muster__pause *next;
    uint64_t instance, until_us;
};

static struct muster__core_event place(struct muster *muster, struct muster__instance *instance, bool alone)
{
    struct muster__core_event event = {.kind = MUSTER__CORE_PLACED, .instance = instance->id};
    struct muster_placement_request request = {
        .size = sizeof(request),
        .id = instance->id,
        .key = muster__hash_text(0, instance->version->scope),
        .requester = muster->local_host,
    };
    muster__hosting_ask(instance->version, alone, &request);
    event.status = muster__service_place(muster->service, &request, muster__now_us(), &event.host);
    return event;
}

static struct muster__core_event refuse_quarantined(struct muster *muster, struct muster__instance *instance,
                                                    const struct muster__crash_verdict *verdict)
{
    uint64_t now_us = muster__now_us();
    muster_error_clean_up(&instance->started_error);
    muster_error_set(&instance->started_error, MUSTER_REFUSED,
                     "%s has killed its process %u times; it is refused for %.1f s more",
                     instance->version->scope, verdict->total,
                     (double)(verdict->not_before_us > now_us ? verdict->not_before_us - now_us : 0) / 1e6);
    muster__log(muster, MUSTER_LOG_WARNING, instance->version->scope, "%s",
                instance->started_error.message ? instance->started_error.message : "refused");
    return (struct muster__core_event){
        .kind = MUSTER__CORE_PLACED, .instance = instance->id, .status = MUSTER_REFUSED};
}

/* False: out of memory, so it does without. */
static bool pause_start(struct muster *muster, const struct muster__instance *instance, uint64_t until_us)
{
    struct muster__pause *pause = malloc(sizeof *pause);
    if (!pause)
        return false;
    *pause = (struct muster__pause){muster->own.pauses, instance->id, until_us};
    muster->own.pauses = pause;
    return true;
}

void muster__coordinator_place(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__instance *instance = muster__coordinator_make_instance(muster, action->instance, action->version);
    if (!instance) {
        muster__coordinator_answer(muster, (struct muster__core_event){.kind = MUSTER__CORE_PLACED,
                                                                       .instance = action->instance,
                                                                       .status = MUSTER_NO_MEMORY});
        return;
    }
    uint64_t now_us = muster__now_us();
    const struct muster__crash_verdict verdict =
        muster__crash_record_judge(&instance->version->crashes, now_us);
    if (verdict.quarantined)
        muster__coordinator_answer(muster, refuse_quarantined(muster, instance, &verdict));
    else if (verdict.not_before_us <= now_us || !pause_start(muster, instance, verdict.not_before_us))
        muster__coordinator_answer(muster, place(muster, instance, verdict.alone));
}

void muster__coordinator_end_pauses(struct muster *muster)
{
    struct muster__pause **at = &muster->own.pauses;
    uint64_t now_us = muster->own.pauses ? muster__now_us() : 0;
    while (*at) {
        struct muster__pause *pause = *at;
        if (pause->until_us > now_us) {
            at = &pause->next;
            continue;
        }
        *at = pause->next;
        struct muster__instance *instance = muster__coordinator_instance(muster, pause->instance);
        if (instance) {
            const struct muster__core_event event =
                place(muster, instance, muster__crash_record_judge(&instance->version->crashes, now_us).alone);
            muster__coordinator_feed(muster, &event);
            at = &muster->own.pauses; /* it may have changed */
        }
        free(pause);
    }
}

/* ---- hosts that have had their time ---- */

#define RECYCLE_PERIOD_US 500000u

static bool recycles(const struct muster *muster)
{
    const struct muster_options *options = &muster->options;
    return muster->hosting.processes && !atomic_load(&muster->closing) &&
           (options->recycle_turns || options->recycle_ms || options->recycle_memory);
}

static void move_workers(struct muster *muster, uint32_t host)
{
    for (struct muster__instance *at = muster__coordinator_next_instance(muster, NULL); at;
         at = muster__coordinator_next_instance(muster, at))
        if (at->host == host && at->worker && !at->version->key) /* what holds that one would not find it again */
            muster__coordinator_answer(
                muster, (struct muster__core_event){.kind = MUSTER__CORE_MOVE, .instance = at->id});
}

void muster__coordinator_recycle(struct muster *muster)
{
    uint64_t now_us = muster__now_us();
    if (!recycles(muster) || now_us < muster->own.recycle_us)
        return;
    muster->own.recycle_us = now_us + RECYCLE_PERIOD_US;
    uint32_t host = muster__service_recycle(muster->service, now_us);
    if (host) {
        muster__log(muster, MUSTER_LOG_INFO, "hosts", "host %u has had its time: its workers move", host);
        muster->own.moving = host;
    }
    if (!muster->own.moving)
        return;
    move_workers(muster, muster->own.moving); /* again for those that had not run yet */
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_TICK});
}

uint64_t muster__coordinator_place_deadline(const struct muster *muster)
{
    uint64_t deadline_us = recycles(muster) ? muster->own.recycle_us : UINT64_MAX;
    for (const struct muster__pause *pause = muster->own.pauses; pause; pause = pause->next)
        if (pause->until_us < deadline_us)
            deadline_us = pause->until_us;
    return deadline_us;
}

void muster__coordinator_forget_pauses(struct muster *muster)
{
    while (muster->own.pauses) {
        struct muster__pause *pause = muster->own.pauses;
        muster->own.pauses = pause->next;
        free(pause);
    }
}
