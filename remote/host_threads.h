/* remote/host_threads.h - the host whose workers run on the threads of a pool of this process.
 * Internal.
 */
#ifndef MUSTER_HOST_THREADS_H
#define MUSTER_HOST_THREADS_H

#include "remote/host.h"

struct muster__host_threads_options {
    struct muster__pool *pool;   /* borrowed until the host is destroyed */
    struct muster__spare *spare; /* the same; may be NULL */
    unsigned cores;        /* what its load is divided by; 0: the processors that are online */
    const char *isolation; /* copied; NULL: "" */
    uint32_t trust;
    uint32_t worker_limit; /* 0: none */
};

/* Ready at once. */
MUSTER_MUST_CHECK enum muster_status
muster__host_threads_new(const struct muster__host_threads_options *options,
                         struct muster__host **ret_host);

#endif
