/* remote/processes.h - child processes that host workers: starting them, keeping one in reserve.  Internal.
 *
 * All of them are spawned by one launcher (remote/launcher.h) and are read by the threads of one pool.  One
 * process more than is used waits, empty and ready, so that the first worker of a new host does not wait for it.
 */
#ifndef MUSTER_PROCESSES_H
#define MUSTER_PROCESSES_H

#include "remote/host.h"

struct muster__processes;

/* Of one process; 0: none.  Whoever runs into it: memory, CPU time and children kill the process, and the error says so;
 * a file too many is an error of the call that opens it. */
struct muster__process_limits {
    uint64_t memory;      /* bytes, resident */
    unsigned open_files;  /* MUSTER__PROCESS_FILES_LEAST at least */
    unsigned cpu_seconds; /* from its start to its end */
    unsigned children;    /* processes that descend from it, alive at a time */
};

/* What a host itself opens, with room for the buffers that travel as files. */
#define MUSTER__PROCESS_FILES_LEAST 64u

struct muster__processes_options {
    struct muster__pool *pool; /* borrowed until destroyed, and destroyed before it */
    const char *program;       /* the path of muster-host; NULL: searched, see remote/launcher.h */
    unsigned limit;            /* processes at a time; 0: 64 */
    unsigned threads;          /* of each; 0: one a core */
    bool no_spare;             /* none is kept in reserve */
    bool fresh;                /* none is a copy: each has an address layout of its own */
    bool partial_wall;         /* trust "none" also where the kernel cannot raise all of the wall */
    bool network, spawn;       /* what trust "none" may do all the same */
    struct muster__process_limits limits; /* of each */
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
/* Thread: none of the pool's, while that runs.  Until those that were killed have told their end, so that whoever had
 * something in there hears of it; so long at most. */
void muster__processes_await_killed(struct muster__processes *processes, uint64_t most_us);
/* Thread: none of the pool's, when the pool is gone.  Every host was destroyed.  Ends all processes.  NULL: no-op. */
void muster__processes_destroy(struct muster__processes *processes);

/* Thread: coordinator.  A host for what the request asks (isolation, trust): the one in reserve, or a new one.
 * It takes workers at once, also while its process starts.  REFUSED: there are `limit`; SYSTEM, NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status
muster__processes_take_host(struct muster__processes *processes,
                            const struct muster_placement_request *request,
                            struct muster__host **ret_host, struct muster_error *error);
/* What only a process that is made for it has. */
struct muster__process_needs {
    struct muster__process_limits limits; /* instead of the options' */
    const char *readable; /* trust "none": a file that it may open all the same, an absolute path; NULL: none */
};
/* Thread: coordinator.  The same, always a new one. */
MUSTER_MUST_CHECK enum muster_status
muster__processes_make_host(struct muster__processes *processes, const struct muster_placement_request *request,
                            const struct muster__process_needs *needs, struct muster__host **ret_host,
                            struct muster_error *error);
/* Thread: any.  Workers in JavaScript will come: from now on processes are copies of one that has loaded the engine (see
 * remote/launcher.h), but those for trust "none" and where the options want them fresh. */
void muster__processes_expect_javascript(struct muster__processes *processes);
/* Thread: any.  Begins to make the one in reserve, if there is to be one. */
void muster__processes_prepare(struct muster__processes *processes);

#endif
