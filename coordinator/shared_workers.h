/* coordinator/shared_workers.h - shared workers: which exist, and who holds them.  Internal.
 *
 * A shared worker is found by its storage key, the URL that its constructor was given, and its name (SHW-2); one that
 * runs with another type, credentials or lifetime is not joined (SHW-3).  Each context that constructs it holds it
 * and gets a port whose other end comes to the worker with a `connect` event, in its slot, so that no connect
 * overtakes the start.  When the last holder is gone it ends, cleanly; with extendedLifetime a while later.  When it
 * begins to die its key is free at once, its ports close, and its holders are told.
 *   shared.new(url, {name, type, credentials, extendedLifetime}) + port   answered {workerId} when it runs, or failed
 *   shared.release(workerId)                                              a tell
 *   told: worker.error(workerId, {...}) when it died
 * Workers of another trust or tenant are other workers, whatever their names.  Thread: coordinator.
 */
#ifndef MUSTER_SHARED_WORKERS_H
#define MUSTER_SHARED_WORKERS_H

#include "coordinator/context.h"

muster__op_fn muster__op_shared_new, muster__op_shared_release;

/* When the next one without a holder has had its time; UINT64_MAX: none. */
uint64_t muster__shared_workers_deadline(const struct muster *muster);
/* Ends those whose time it is. */
void muster__shared_workers_tick(struct muster *muster, uint64_t now_us);

#endif
