/* coordinator/store_keeper.h - which of an instance's registrations are on disk, and when that is so.  Internal.
 *
 * An instance with a state folder (muster_options.state_folder) keeps each registration from the time on when a
 * version of it is the active one, or when it is lazy: with the scripts that this one used, the types of events for
 * which it listens, its static routes, and what it asked for later.  At start all of them are registered again as
 * they were, as stubs (stub.h); no worker starts before something wants it.
 *
 * What cannot be made again from a file, because it is code of the embedder's (native workers, bindings and loaders
 * of their own), or what the embedder said it declares at each start, is kept as well, but comes back only when it
 * is registered again.
 *
 * A job that changed what is kept settles when that is on the disk: muster__keeper_await().
 *
 * Thread: coordinator, unless it says something else.  Without a state folder all of these do nothing.
 */
#ifndef MUSTER_STORE_KEEPER_H
#define MUSTER_STORE_KEEPER_H

#include "coordinator/instance.h"
#include "coordinator/store.h"

struct muster__keeper;

/* Thread: any, before the instance runs.  As muster__store_open(). */
MUSTER_MUST_CHECK enum muster_status muster__keeper_open(struct muster *muster, struct muster_error *error);
/* Thread: the one that makes the instance, while there is no coordinator yet.  Registers what is kept, as stubs. */
MUSTER_MUST_CHECK enum muster_status muster__keeper_restore(struct muster *muster, struct muster_error *error);
/* Thread: any but the coordinator's, whose thread runs still.  Writes what waits; nothing is kept any more. */
void muster__keeper_close(struct muster *muster);
/* Thread: any, after all others have ended. */
void muster__keeper_destroy(struct muster *muster);

/* Thread: any, before anybody knows the version.  It keeps its scripts (muster__version_keep_scripts()), and they are
 * those on the disk. */
MUSTER_MUST_CHECK enum muster_status muster__keeper_bring_scripts(struct muster__version *version);

/* A version is the active one, or something of it has changed: it is kept as it is now. */
void muster__keeper_put(struct muster *muster, struct muster__version *version);
/* Its registration is gone. */
void muster__keeper_remove(struct muster *muster, struct muster__version *version);
/* An event that is wanted later, or not any more. */
void muster__keeper_put_sync(struct muster *muster, const struct muster__stored_sync *sync);
void muster__keeper_remove_sync(struct muster *muster, const struct muster__stored_sync *sync);

/* Embedded in what waits. */
struct muster__keeper_wait {
    struct muster__keeper_wait *next;
    /* Thread: coordinator.  All that was asked before for that scope is on the disk, or some of it is not: then
     * `error` says why. */
    void (*run)(struct muster__keeper_wait *wait, struct muster *muster, enum muster_status status,
                const struct muster_error *error);
};
/* Runs at once if nothing is being written for that scope (of whatever storage key). */
void muster__keeper_await(struct muster *muster, const char *scope, struct muster__keeper_wait *wait);
bool muster__keeper_is_writing(struct muster *muster, const char *scope);

#endif
