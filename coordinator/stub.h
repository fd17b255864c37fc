/* coordinator/stub.h - registrations of an earlier life that nothing has wanted yet.  Internal.
 *
 * Most of what a store has is not wanted for hours.  So a row becomes a stub: one piece of memory with the texts of the
 * row, which lies in the scope map where the version will be.  A stub counts as a registration: it is matched, listed,
 * and counted against its tenant's limits, and what it asked for later comes.
 *
 *   unfolded   who wants its version, on whatever thread, makes it: with a slot, its static routes and the types of
 *              events for which it listens, so that a request can be posted, or decided without a worker.
 *   taken up   the core hears of it before the next event that it is fed, and the version takes the stub's place in the
 *              scope map.  Whatever names a scope to the core (a job of any kind) unfolds the stub of that scope first.
 *
 * So the core knows of no stubs, and never meets an event about a registration of which it should have heard. */
#ifndef MUSTER_STUB_H
#define MUSTER_STUB_H

#include "coordinator/instance.h"
#include "coordinator/store.h"

struct muster__stub;

/* ---- any thread ---- */

/* The version of an entry of the scope map, unfolded if need be; borrowed from the entry.  NO_MEMORY, or what else keeps
 * it from being made: the log and `error` (may be NULL) say of which scope and why, and who wants it next tries again. */
MUSTER_MUST_CHECK enum muster_status muster__entry_version(struct muster *muster, struct muster__entry *entry,
                                                           struct muster__version **ret_version,
                                                           struct muster_error *error);
/* What the scope map does with its values. */
void muster__entry_acquire(void *entry);
void muster__entry_release(void *entry);

/* ---- the thread that makes the instance, while there is no coordinator yet ---- */

/* Rows with the same settings stand and fall together: one of them is tried.  Zeroed at first. */
struct muster__stub_trials {
    struct muster__stub_trial {
        char *settings; /* as they are in the rows; NULL: forgotten */
        struct muster_value *value;
        bool is_good; /* a version could be made with them */
    } recent[4];
    size_t next; /* to be forgotten */
};
void muster__stub_trials_clean_up(struct muster__stub_trials *trials);
/* Registers what the row says, unless its embedder does so at each start.  What cannot be restored is logged, and stays
 * in the store: also where settings are damaged, as what is left of them may give more than they did. */
void muster__stubs_add(struct muster *muster, const struct muster__stored_registration *stored,
                       struct muster__stub_trials *trials);

/* ---- thread: coordinator ---- */

/* The core is about to be asked for this scope.  Fails as muster__entry_version() does: the core will not know it. */
enum muster_status muster__stubs_want(struct muster *muster, const char *scope, struct muster_error *error);
/* The core hears of those that were unfolded; not from inside a step. */
void muster__stubs_take_up(struct muster *muster);
/* Something else is published at its scope. */
void muster__stubs_replaced(struct muster__stub *stub);
/* Those of which the core has not heard, in the order in which they were registered.  `see` may unfold it. */
void muster__stubs_each(struct muster *muster, void (*see)(struct muster__stub *stub, void *user_data), void *user_data);
const char *muster__stub_scope(const struct muster__stub *stub);
const char *muster__stub_script(const struct muster__stub *stub);
/* Its name; reads the settings. */
const char *muster__stub_engine(const struct muster__stub *stub);
uint32_t muster__stub_version(const struct muster__stub *stub);
size_t muster__stub_script_bytes(const struct muster__stub *stub);

/* ---- life ---- */

void muster__stubs_init(struct muster *muster);
/* Thread: any, after all others have ended, and before the scope map goes. */
void muster__stubs_clean_up(struct muster *muster);

#endif
