/* runtime/timers.h - the pending timers of one owner: a heap ordered by (time, sequence).  Internal.
 *
 * Thread: the owner's, one at a time.  No clock in here: the owner says what time it is.  Setting,
 * clearing and taking cost O(log n); nothing is allocated while no timer is pending.
 *
 * Ids count up from 1 and start again only after 4 thousand million, past those still pending: an id
 * that was cleared or has fired does nothing for a very long time.
 *
 *     while ((id = muster__timers_pop_due(&timers, now, NULL)) != 0)
 *         fire(id);
 *
 * A timer that is set for `now` or earlier while such a loop runs is due in the same loop: the owner
 * bounds how many it fires in a turn. */
#ifndef MUSTER_TIMERS_H
#define MUSTER_TIMERS_H

#include "runtime/base.h"

#define MUSTER__TIMERS_NEVER UINT64_MAX

struct muster__timer;

/* Embed; zeroed is initialized. */
struct muster__timers {
    struct muster__timer *slots; /* both of `capacity` */
    uint32_t *heap;              /* slot numbers */
    uint32_t *places;            /* by id, open addressing, slot number + 1; 2 * capacity */
    uint32_t capacity;           /* 0 or a power of two */
    uint32_t count;
    uint32_t free_slot; /* a list through the slots; number + 1, 0: none */
    uint32_t last_id;
    uint64_t last_sequence;
};

void muster__timers_init(struct muster__timers *timers);
/* Forgets all timers; cleaning twice is fine. */
void muster__timers_clean_up(struct muster__timers *timers);

/* `period_us` 0: once.  NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__timers_set(struct muster__timers *timers,
                                                        uint64_t at_us, uint64_t period_us,
                                                        uint32_t *ret_id);
/* True: it was pending.  Unknown ids and 0 are fine. */
bool muster__timers_clear(struct muster__timers *timers, uint32_t id);

/* MUSTER__TIMERS_NEVER when none is pending. */
uint64_t muster__timers_next_deadline(const struct muster__timers *timers);
/* Takes the first timer whose time has come; 0: none.  One that repeats is pending again before this
 * returns, at its next time; if that has passed as well, a period from now, so that a late owner gets
 * one call and no burst.  `ret_repeats` may be NULL. */
uint32_t muster__timers_pop_due(struct muster__timers *timers, uint64_t now_us, bool *ret_repeats);

uint32_t muster__timers_count(const struct muster__timers *timers);

#endif
