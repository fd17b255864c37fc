/* runtime/spare.h - VMs with a realm that are ready before somebody wants them.  Internal.
 *
 * Making a VM is most of the cost of starting a worker; a spare one is made by an actor of the pool after
 * the last was taken.  Threads: any. */
#ifndef MUSTER_SPARE_H
#define MUSTER_SPARE_H

#include "runtime/engine.h"
#include "runtime/pool.h"

struct muster__spare;

/* Keeps `count` of that engine's.  NULL: out of memory. */
struct muster__spare *muster__spare_new(struct muster__pool *pool, const struct muster__engine *engine,
                                        const struct muster__realm_host *host, unsigned count);
/* Begins to fill it. */
void muster__spare_fill(struct muster__spare *spare);
/* True: the caller owns the VM and its realm from now on. */
bool muster__spare_take(struct muster__spare *spare, const struct muster__engine *engine,
                        struct muster__vm **ret_vm, struct muster__realm **ret_realm);
/* VMs are destroyed on a thread of the pool; `stopped` comes there, once. */
void muster__spare_stop(struct muster__spare *spare, void (*stopped)(void *user_data), void *user_data);
/* After the pool is gone.  NULL: no-op. */
void muster__spare_destroy(struct muster__spare *spare);

#endif
