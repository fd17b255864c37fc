/* runtime/slot.h - where the requests for one version of a worker wait, and how they reach it.  Internal.
 *
 * A slot exists from the first request on, whether its worker runs or not.  One atomic word holds the
 * state, the incarnation and the count of holds (requests not ended, and named tokens), so that 'still
 * alive' and 'one more in flight' are one step: retiring an idle worker is a compare-and-swap of that
 * word that fails when anything holds it, and a request that comes after finds a vacant slot, in which
 * it waits for the next instance.  Requests are delivered in the order in which they were posted, also
 * across instances.
 *
 *   vacant --attach--> starting --open--> running --retire / vacate--> vacant ... closed
 *
 * Threads: any thread may post; only the coordinator moves the state; the worker that is attached takes.
 */
#ifndef MUSTER_SLOT_H
#define MUSTER_SLOT_H

#include "runtime/request.h"

struct muster__slot;
struct muster__worker;

enum muster__slot_state {
    MUSTER__SLOT_VACANT,
    MUSTER__SLOT_STARTING,
    MUSTER__SLOT_RUNNING,
    MUSTER__SLOT_CLOSED
};

struct muster__slot_options {
    size_t queue_limit; /* requests that may wait undelivered */
    uint64_t idle_us;   /* how long one activity keeps the worker alive */
    /* Thread: the one that posts; no lock is held.  A request waits in a vacant slot. */
    void (*want)(struct muster__slot *slot, void *user_data);
    void *user_data;
    uint32_t version; /* the coordinator's name for it */
};

/* What drains a slot: a worker on a thread, or the proxy of one elsewhere. */
struct muster__slot_consumer {
    /* Thread: the one that posts; no lock is held.  Something waits. */
    void (*wake)(struct muster__slot_consumer *consumer);
    /* Thread: any.  Nobody wants this request any more; it may have ended meanwhile. */
    void (*cancel)(struct muster__slot_consumer *consumer, struct muster__request *request);
    /* Thread: any. */
    void (*acquire)(struct muster__slot_consumer *consumer);
    void (*release)(struct muster__slot_consumer *consumer);
};

/* NULL: out of memory.  One reference. */
struct muster__slot *muster__slot_new(const struct muster__slot_options *options);
void muster__slot_acquire(struct muster__slot *slot);
void muster__slot_release(struct muster__slot *slot);
uint32_t muster__slot_version(const struct muster__slot *slot);

/* Thread: any.  On OK the slot holds a reference of its own to the request until it has ended.
 * QUEUE_FULL, CLOSED, and TERMINATED (it would start a worker, and its sender's own time is over): nothing
 * happened. */
MUSTER_MUST_CHECK enum muster_status muster__slot_post(struct muster__slot *slot,
                                                       struct muster__request *request,
                                                       uint64_t now_us);
/* Thread: any, with a reference to a request that was settled from outside.  If it still waits it is
 * taken out of the queue and ended; if it was delivered the consumer hears of it. */
void muster__slot_cancel(struct muster__slot *slot, struct muster__request *request);

/* Thread: coordinator. */
/* vacant -> starting; the new incarnation. */
uint32_t muster__slot_attach(struct muster__slot *slot);
/* starting -> running, with whom to wake; woken at once when something waits.  False: it was vacated. */
bool muster__slot_open(struct muster__slot *slot, uint32_t incarnation,
                       struct muster__slot_consumer *consumer, uint64_t now_us);
/* running -> vacant if nothing holds it.  False: something does, or it is not that incarnation's. */
bool muster__slot_retire(struct muster__slot *slot, uint32_t incarnation);
/* starting or running -> vacant, whatever it holds; what is in flight no longer counts.  The number that
 * still waits. */
size_t muster__slot_vacate(struct muster__slot *slot, uint32_t incarnation);
/* Any -> closed; the list of what waited, for the caller to settle and muster__slot_drop(). */
struct muster__request *muster__slot_close(struct muster__slot *slot);
/* The same list without closing. */
struct muster__request *muster__slot_empty(struct muster__slot *slot);
/* Those alone whose senders were workers, and whose time is over. */
struct muster__request *muster__slot_expire(struct muster__slot *slot, uint64_t now_us);
/* Ends and releases one request of those lists. */
void muster__slot_drop(struct muster__slot *slot, struct muster__request *request);

struct muster__slot_sample {
    enum muster__slot_state state;
    uint32_t incarnation;
    uint32_t holds;
    size_t waiting;
    uint64_t taken; /* of all incarnations, and not put back */
    uint64_t alive_until_us;
    uint64_t granted_until_us; /* the same, without what it did by itself: as long lives what it sends to others */
};
/* Thread: any. */
struct muster__slot_sample muster__slot_sample(struct muster__slot *slot);

/* Thread: the consumer's. */
/* Takes up to `limit` requests, in order; empty when the slot does not run that incarnation. */
struct muster__request *muster__slot_take(struct muster__slot *slot, uint32_t incarnation,
                                          size_t limit);
/* The requests of that list, as taken, begin now: activity like posting them, for they may have waited long
 * for a thread. */
void muster__slot_begun(struct muster__slot *slot, const struct muster__request *list, uint64_t now_us);
/* Gives back requests that were taken and not begun, in their order: they wait at the front again, for
 * the next instance.  False: the slot is closed, and the caller ends them. */
bool muster__slot_put_back(struct muster__slot *slot, uint32_t incarnation,
                           struct muster__request *list);
/* Something else holds this incarnation / no longer does; an old incarnation's does nothing. */
void muster__slot_hold(struct muster__slot *slot, uint32_t incarnation, uint64_t now_us,
                       uint64_t until_us);
void muster__slot_unhold(struct muster__slot *slot, uint32_t incarnation);
/* A request that was taken has ended: unhold, and drop the slot's reference. */
void muster__slot_ended(struct muster__slot *slot, uint32_t incarnation,
                        struct muster__request *request, uint64_t now_us);

#endif
