/* remote/host.h - a place where workers live, and a worker that lives there.  Internal.
 *
 * A host is a table of functions: threads of this process (remote/host_threads.c), or a child process
 * (remote/process_host.c).
 * What starts a worker gets a `struct muster__remote_worker`, which is the same wherever it lives; the
 * listener hears of it.  Threads: as runtime/worker.h says.
 */
#ifndef MUSTER_HOST_H
#define MUSTER_HOST_H

#include "remote/placement.h"
#include "runtime/worker.h"

struct muster__host;
struct muster__remote_worker;

struct muster__remote_worker_class {
    bool (*open)(struct muster__remote_worker *worker, uint64_t now_us);
    void (*control)(struct muster__remote_worker *worker, struct muster__request *request);
    void (*stop)(struct muster__remote_worker *worker);
    void (*cancel)(struct muster__remote_worker *worker);
    void (*abandon)(struct muster__remote_worker *worker);
    int (*describe)(struct muster__remote_worker *worker, char *text, size_t size);
    void (*stats)(struct muster__remote_worker *worker, struct muster__worker_stats *ret_stats);
    void (*release)(struct muster__remote_worker *worker);
};

/* Embedded in the host's own object. */
struct muster__remote_worker {
    const struct muster__remote_worker_class *class;
    struct muster__host *host;
    bool abandoned; /* set by abandon: `gone` may never come */

    /* The service's. */
    struct muster__remote_worker *next, *previous; /* of this host */
    uint32_t in_flight; /* as last seen, and counted in host->view */
    size_t memory;
};

struct muster__host_class {
    const char *kind; /* "threads" */
    /* Thread: coordinator.  One step: a host that drains or dies refuses; else it stays until the worker
     * is gone. */
    bool (*try_take)(struct muster__host *host);
    /* Thread: coordinator; after try_take.  options->pool and ->spare are the host's to fill in.  On
     * failure the take is undone. */
    enum muster_status (*start)(struct muster__host *host, const struct muster__worker_options *options,
                                struct muster__remote_worker **ret_worker);
    /* Thread: coordinator; the worker's `gone` was heard: undoes try_take. */
    void (*give_back)(struct muster__host *host);
    /* Thread: any.  From now on try_take refuses; what runs goes on. */
    void (*drain)(struct muster__host *host);
    /* Thread: coordinator.  Brings view.state, and what else the host knows better than the service, up
     * to date.  A host is DEAD when it is gone and every worker's `gone` was told.  Optional. */
    void (*refresh)(struct muster__host *host, uint64_t now_us);
    /* Thread: coordinator.  It has had its time: it is to be replaced by one like it.  Optional. */
    bool (*is_worn)(struct muster__host *host, uint64_t now_us);
    /* Thread: coordinator.  Its process runs and answers.  Optional: it always does. */
    bool (*is_ready)(struct muster__host *host);
    /* Thread: coordinator.  The process in which it is; 0: not yet, or no more.  Optional: it is this one. */
    int (*pid)(struct muster__host *host);
    void (*destroy)(struct muster__host *host);
};

struct muster__host {
    const struct muster__host_class *class;
    /* What a policy sees.  Whoever makes the host fills in what is constant (kind, isolation, trust,
     * cores, limits) and the state; the id and the load are the service's. */
    struct muster_placement_host view;

    /* The service's. */
    size_t place; /* in its list */
    struct muster__remote_worker *workers;
    struct muster__remote_worker *look_next; /* whose load is looked at next; NULL: the first's */
    uint64_t look_began_us;                  /* when the round of looks that runs began */
    uint64_t looked_us;                      /* when the last whole round began */
    unsigned crash_streak;
    uint32_t successor; /* the id of the host that takes over; 0: none yet */
};

#endif
