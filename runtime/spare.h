/* runtime/spare.h - VMs with a realm that are ready before somebody wants them.  Internal.
 *
 * Making a VM is most of the cost of starting a worker; a spare one is made by an actor of the pool, and
 * another after it was taken.  It is of use as soon as it has a realm; later, when the engine has something
 * to do ahead for it (engine->realm_prepare), it is of more use.  Threads: any, unless it says else.
 */
#ifndef MUSTER_SPARE_H
#define MUSTER_SPARE_H

#include "runtime/engine.h"
#include "runtime/pool.h"

struct muster__spare;

struct muster__spare_options {
    struct muster__pool *pool;
    const char *engine_name;             /* borrowed until destroy */
    const struct muster__engine *engine; /* NULL: found by its name, and loaded, when the first is made */
    const struct muster__realm_host *host;
    unsigned count; /* to be kept, at most 64 */
};

/* NULL: out of memory. */
struct muster__spare *muster__spare_new(const struct muster__spare_options *options);
/* Begins to fill it. */
void muster__spare_fill(struct muster__spare *spare);
/* True: the caller owns the VM and its realm from now on, and calls muster__spare_refill() when it has done
 * what it wanted it for.  When there is none, but one is being made on
 * another thread, one caller waits for that: it is nearer than one that is not begun. */
bool muster__spare_take(struct muster__spare *spare, const struct muster__engine *engine,
                        struct muster__vm **ret_vm, struct muster__realm **ret_realm);
/* After a take. */
void muster__spare_refill(struct muster__spare *spare);
/* Thread: none of the pool's, while the pool lives.  The VMs are destroyed on a thread of the pool; waits for
 * that.  False: it took longer than `timeout_ms`; the thread that has not come back is given up, and the
 * memory stays. */
MUSTER_MUST_CHECK bool muster__spare_stop(struct muster__spare *spare, unsigned timeout_ms);
/* After the pool is gone.  NULL: no-op. */
void muster__spare_destroy(struct muster__spare *spare);

#endif
