/* coordinator/sync.h - events that are wanted later: sync, periodicsync, scheduled.  Internal.
 *
 *   sync          registration.sync.register(tag): as soon as there is time, and again with back-off when it fails; the
 *                 last of SYNC_ATTEMPTS says lastChance (Web Background Synchronization, "fire a sync event").  Muster
 *                 takes the network for there.
 *   periodicsync  registration.periodicSync.register(tag, {minInterval}): again and again, no sooner than its interval
 *                 after the last one, nor than the instance's least interval.
 *   scheduled     by the cron expressions that the registration was made with, in UTC.  {cron, scheduledTime: ms since
 *                 1970}.  What was missed while nothing ran is not made up for.
 *
 * The first two are kept on disk with the registration (store_keeper.h), due times as wall-clock times; the clock may
 * step: nothing comes later for that than its own interval (back-off) from when it was asked, or restored.
 *
 * Thread: coordinator.
 */
#ifndef MUSTER_SYNC_H
#define MUSTER_SYNC_H

#include "coordinator/context.h"
#include "coordinator/store.h"

struct muster__syncs; /* of an instance: muster->syncs */

MUSTER_MUST_CHECK enum muster_status muster__syncs_new(struct muster *muster);
/* Thread: none runs any more. */
void muster__syncs_destroy(struct muster *muster);
/* When muster__syncs_tick() is wanted at the latest; UINT64_MAX: no need. */
uint64_t muster__syncs_deadline(const struct muster *muster);
/* Sends what is due. */
void muster__syncs_tick(struct muster *muster, uint64_t now_us);

/* As it was kept. */
void muster__syncs_restore(struct muster *muster, const struct muster__stored_sync *stored);
/* The version is the published one of its scope: what waited for one may come, its expressions count. */
void muster__syncs_published(struct muster *muster, struct muster__version *version);
/* These expressions count, of a stub: one a line, NULL: none. */
void muster__syncs_schedule(struct muster *muster, const char *storage_key, const char *scope, const char *schedule);
/* Its registration is gone. */
void muster__syncs_withdrawn(struct muster *muster, const struct muster__version *version);

/* Cron expressions, one a line: INVALID_ARGUMENT says which is wrong. */
MUSTER_MUST_CHECK enum muster_status muster__syncs_check_schedule(const char *schedule, struct muster_error *error);

/* Ops: see context_ops.c.  sync.register(registration, tag), sync.tags(registration),
 * periodicSync.register(registration, tag, minInterval in ms), .tags, .unregister(registration, tag). */
muster__op_fn muster__op_sync_register, muster__op_sync_tags, muster__op_periodic_sync_register,
    muster__op_periodic_sync_tags, muster__op_periodic_sync_unregister;

#endif
