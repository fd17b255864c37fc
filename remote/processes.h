/* remote/processes.h - child processes that host workers: starting them, keeping one in reserve.  Internal.
 *
 * All of them are spawned by one launcher (remote/launcher.h) and are read by the threads of one pool.  One
 * process more than is used waits, empty and ready, so that the first worker of a new host does not wait for it.
 */
#ifndef MUSTER_PROCESSES_H
#define MUSTER_PROCESSES_H

#include "remote/host.h"

struct muster__processes;

struct muster__processes_options {
    struct muster__pool *pool; /* borrowed until destroyed, and destroyed before it */
    const char *program;       /* the path of muster-host; NULL: searched, see remote/launcher.h */
    unsigned limit;            /* processes at a time; 0: 64 */
    unsigned threads;          /* of each; 0: one a core */
    bool no_spare;             /* none is kept in reserve */
    bool partial_wall;         /* trust "none" also where the kernel cannot raise all of the wall */
    bool network, spawn;       /* what trust "none" may do all the same */
    uint64_t memory_limit;     /* bytes, resident, of each; 0: none */
    unsigned open_files, process_limit, cpu_seconds; /* of each; 0: as they are */
    /* Names of environment variables that hosts get as well, with commas between; NULL: $MUSTER_HOST_ENVIRONMENT. */
    const char *environment;
    uint64_t heartbeat_us;     /* a host with work is asked so often; 0: 1 s */
    uint64_t silent_us;        /* and killed when it did not answer for so long; 0: 5 s */
    uint64_t empty_us;         /* a host without workers ends after so long; 0: 10 s */
    /* A host that has had so much (turns of workers, time, bytes resident) is replaced: its workers move.  0: never. */
    uint64_t recycle_turns, recycle_age_us, recycle_memory;
    /* Thread: any. */
    void (*log)(enum muster_log_level level, const char *subject, const char *text, void *user_data);
    void *user_data;
};

/* Thread: any.  Starts nothing yet.  NOT_FOUND: there is no muster-host; `error` says where it was looked for. */
MUSTER_MUST_CHECK enum muster_status
muster__processes_new(const struct muster__processes_options *options,
                      struct muster__processes **ret_processes, struct muster_error *error);
/* Thread: none of the pool's, when the pool is gone.  Every host was destroyed.  Ends all processes.  NULL: no-op. */
void muster__processes_destroy(struct muster__processes *processes);

/* Thread: coordinator.  A host for what the request asks (isolation, trust): the one in reserve, or a new one.
 * It takes workers at once, also while its process starts.  REFUSED: there are `limit`; SYSTEM, NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status
muster__processes_take_host(struct muster__processes *processes,
                            const struct muster_placement_request *request,
                            struct muster__host **ret_host, struct muster_error *error);
/* Thread: any.  Begins to make the one in reserve, if there is to be one. */
void muster__processes_prepare(struct muster__processes *processes);
/* Thread: any.  How many live, the one in reserve included. */
unsigned muster__processes_count(const struct muster__processes *processes);

#endif
