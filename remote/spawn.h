/* remote/spawn.h - starts a program with its descriptors placed, without copying the parent; or a copy.  Internal.
 *
 * Thread: any; the caller waits until the program runs or could not be run, never longer.  The parent's
 * memory is shared until then, so a large parent costs nothing; its signal handlers, mask, descriptors and
 * children stay as they are.
 */
#ifndef MUSTER_SPAWN_H
#define MUSTER_SPAWN_H

#include <sys/types.h>

#include "runtime/base.h"

#define MUSTER__SPAWN_DESCRIPTORS_MAX 16

struct muster__spawn_options {
    const char *program; /* a path */
    char *const *arguments;
    char *const *environment;
    const int *descriptors; /* [i] becomes descriptor i, -1: /dev/null.  There are no others in the child */
    unsigned descriptor_count;

    /* Nobody's child: whoever in this process waits for any child does not see it (unless this process
     * adopts orphans).  Otherwise it is the caller's to reap. */
    bool orphan;
    bool session;            /* its own session and process group */
    bool dies_with_caller;   /* SIGKILL when the calling *thread* ends: for a process with one thread */
    int group;               /* cgroup.procs, open for writing; it joins before it runs; -1: none */

    /* Zero: as they are. */
    unsigned open_files, cpu_seconds;
    bool no_core;
    int nice; /* added */
};

/* Why it could not be run: "cannot STEP PROGRAM: strerror(problem)". */
struct muster__spawn_problem {
    const char *step; /* a constant */
    int problem;      /* errno */
};

/* MUSTER_OK: it runs; the pidfd (close-on-exec) is the caller's.  Otherwise SYSTEM, and there is no process
 * left to reap. */
MUSTER_MUST_CHECK enum muster_status muster__spawn(const struct muster__spawn_options *options,
                                                   pid_t *ret_pid, int *ret_pidfd,
                                                   struct muster__spawn_problem *ret_problem);

/* The same without a program: the new process is a copy of the calling one, which has to have one thread, and goes on
 * behind this call, with what the options say in force (`program`, `arguments`, `environment` and `orphan` are not
 * looked at).  It finds *ret_pid 0 and has no descriptor but those of the options. */
MUSTER_MUST_CHECK enum muster_status muster__spawn_copy(const struct muster__spawn_options *options,
                                                        pid_t *ret_pid, int *ret_pidfd,
                                                        struct muster__spawn_problem *ret_problem);

#endif
