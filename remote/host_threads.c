/* remote/host_threads.c - a host that is a pool of threads: the shortest way to a worker.
 *
 * Threads: as runtime/worker.h says; drain from any.  Promise: whether it drains and how many took
 * it is one atomic word, so that a take that succeeded came before the drain. */
#include "remote/host_threads.h"

#include <stdlib.h>
#include <unistd.h>

#define DRAINING (1u << 31)

struct host_threads {
    struct muster__host base;
    struct muster__pool *pool;
    struct muster__spare *spare;
    char *isolation;
    atomic_uint taken; /* by how many workers; DRAINING: by no more */
};

struct thread_worker {
    struct muster__remote_worker base;
    struct muster__worker *worker;
};

static struct host_threads *of_host(struct muster__host *host)
{
    return MUSTER_CONTAINER_OF(host, struct host_threads, base);
}

static struct muster__worker *of_worker(struct muster__remote_worker *worker)
{
    return MUSTER_CONTAINER_OF(worker, struct thread_worker, base)->worker;
}

/* ---- a worker here ---- */

static bool worker_open(struct muster__remote_worker *worker, uint64_t now_us)
{
    return muster__worker_open(of_worker(worker), now_us);
}

static void worker_control(struct muster__remote_worker *worker, struct muster__request *request)
{
    muster__worker_control(of_worker(worker), request);
}

static void worker_stop(struct muster__remote_worker *worker)
{
    muster__worker_stop(of_worker(worker));
}

static void worker_cancel(struct muster__remote_worker *worker)
{
    muster__worker_cancel(of_worker(worker));
}

static void worker_abandon(struct muster__remote_worker *worker)
{
    worker->abandoned = true;
    muster__worker_abandon(of_worker(worker));
}

static int worker_describe(struct muster__remote_worker *worker, char *text, size_t size)
{
    return muster__worker_describe(of_worker(worker), text, size);
}

static void worker_stats(struct muster__remote_worker *worker,
                         struct muster__worker_stats *ret_stats)
{
    muster__worker_stats(of_worker(worker), ret_stats);
}

static void worker_release(struct muster__remote_worker *worker)
{
    muster__worker_release(of_worker(worker));
    free(MUSTER_CONTAINER_OF(worker, struct thread_worker, base));
}

static const struct muster__remote_worker_class worker_class = {
    .open = worker_open,
    .control = worker_control,
    .stop = worker_stop,
    .cancel = worker_cancel,
    .abandon = worker_abandon,
    .describe = worker_describe,
    .stats = worker_stats,
    .release = worker_release,
};

/* ---- the host ---- */

static bool host_try_take(struct muster__host *base)
{
    struct host_threads *host = of_host(base);
    unsigned taken = atomic_load(&host->taken);
    do
        if (taken & DRAINING)
            return false;
    while (!atomic_compare_exchange_weak(&host->taken, &taken, taken + 1));
    return true;
}

static void host_give_back(struct muster__host *base)
{
    unsigned before = atomic_fetch_sub(&of_host(base)->taken, 1);
    MUSTER_CHECK((before & ~DRAINING) > 0);
}

static void host_drain(struct muster__host *base)
{
    atomic_fetch_or(&of_host(base)->taken, DRAINING);
}

static enum muster_status host_start(struct muster__host *base,
                                     const struct muster__worker_options *options,
                                     struct muster__remote_worker **ret_worker)
{
    struct host_threads *host = of_host(base);
    struct muster__worker_options here = *options;
    here.pool = host->pool;
    here.spare = host->spare;
    struct thread_worker *worker = calloc(1, sizeof *worker);
    enum muster_status status = MUSTER_NO_MEMORY;
    if (worker)
        status = muster__worker_new(&here, &worker->worker);
    if (status != MUSTER_OK) {
        free(worker);
        host_give_back(base);
        return status;
    }
    worker->base.class = &worker_class;
    worker->base.host = base;
    *ret_worker = &worker->base;
    return MUSTER_OK;
}

static void host_destroy(struct muster__host *base)
{
    struct host_threads *host = of_host(base);
    free(host->isolation);
    free(host);
}

static const struct muster__host_class host_class = {
    .kind = "threads",
    .try_take = host_try_take,
    .start = host_start,
    .give_back = host_give_back,
    .drain = host_drain,
    .destroy = host_destroy,
};

static uint32_t cores_of(const struct muster__host_threads_options *options)
{
    long online = options->cores ? (long)options->cores : sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

enum muster_status muster__host_threads_new(const struct muster__host_threads_options *options,
                                            struct muster__host **ret_host)
{
    struct host_threads *host = calloc(1, sizeof *host);
    if (!host)
        return MUSTER_NO_MEMORY;
    host->isolation = muster__strdup(options->isolation);
    if (options->isolation && !host->isolation) {
        free(host);
        return MUSTER_NO_MEMORY;
    }
    host->pool = options->pool;
    host->spare = options->spare;
    host->base.class = &host_class;
    host->base.view = (struct muster_placement_host){.size = sizeof host->base.view,
                                                     .kind = MUSTER_PLACEMENT_THREADS,
                                                     .state = MUSTER_PLACEMENT_READY,
                                                     .isolation = host->isolation,
                                                     .trust = options->trust,
                                                     .cores = cores_of(options),
                                                     .worker_limit = options->worker_limit};
    *ret_host = &host->base;
    return MUSTER_OK;
}
