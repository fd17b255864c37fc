/* coordinator/store_change.h - a change that waits to be written: a deep copy in one block.  Internal to store*.c. */
#ifndef MUSTER_STORE_CHANGE_H
#define MUSTER_STORE_CHANGE_H

#include "coordinator/store.h"

enum muster__store_change_kind { STORE_PUT, STORE_REMOVE, STORE_PUT_SYNC, STORE_REMOVE_SYNC };

struct muster__store_change {
    struct muster__store_change *next;
    enum muster__store_change_kind kind;
    struct muster__stored_registration registration; /* PUT; REMOVE: its key alone */
    struct muster__stored_sync sync;
    muster__store_done_fn *done;
    void *user_data;
    enum muster_status status; /* of the write */
};

/* NULL: out of memory.  Freed with free(). */
struct muster__store_change *muster__store_change_new(enum muster__store_change_kind kind,
                                                      const struct muster__stored_registration *registration,
                                                      const struct muster__stored_sync *sync);

#endif
