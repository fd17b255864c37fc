/* coordinator/child_workers.h - dedicated workers: `new Worker()` of a script's.  Internal.
 *
 * A dedicated worker has one owner, the context that made it, and an implicit port to it.  It ends with its owner,
 * by terminate(), or by itself; its uncaught errors are its owner's to hear (ERR-1).
 *   worker.new(url, {name, type, credentials}) + port   answered {workerId} when the script was evaluated, or failed
 *   worker.terminate(workerId)                          a tell
 *   told: worker.error(workerId, {name, message, filename, lineno, colno})
 * workerId is the id of the ask, so that one that still starts can be terminated.  Thread: coordinator.
 */
#ifndef MUSTER_CHILD_WORKERS_H
#define MUSTER_CHILD_WORKERS_H

#include "coordinator/context.h"

muster__op_fn muster__op_worker_new, muster__op_worker_terminate;

#endif
