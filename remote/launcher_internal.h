/* remote/launcher_internal.h - what the parent and its launcher process say to each other.  Internal to
 * launcher.c and launcher_main.c.
 *
 * A socket pair of type SOCK_SEQPACKET: one packet, one message.  Both ends run on one machine, so numbers
 * are in its order.  They should be of one version too, but the program may have been replaced under a
 * running parent, hence magic and version in front.
 */
#ifndef MUSTER_LAUNCHER_INTERNAL_H
#define MUSTER_LAUNCHER_INTERNAL_H

#include <stdint.h>

#define MUSTER__LAUNCHER_MAGIC 0x4e4c534du /* "MSLN" */
#define MUSTER__LAUNCHER_VERSION 3u
#define MUSTER__LAUNCHER_TEXT_MAX ((size_t)64 << 10)
#define MUSTER__LAUNCHER_STRINGS_MAX 1024u

#define MUSTER__LAUNCHER_FD_CONTROL 3
#define MUSTER__LAUNCHER_FD_PARENT 4
#define MUSTER__LAUNCHER_FD_COUNT 5

enum muster__launcher_wish {
    MUSTER__LAUNCHER_SPAWN = 1,
    MUSTER__LAUNCHER_KILL, /* the host of that id, which we cannot signal ourselves; magic to id count */
};

/* Parent to launcher.  Behind it the strings, each with its NUL: the arguments, then the environment.
 * Descriptors by SCM_RIGHTS, in the order of the bits. */
struct muster__launcher_request {
    uint32_t magic, version;
    uint32_t wish;
    uint32_t id;
    uint32_t descriptors; /* bit N: what becomes descriptor N is sent along; N from 2 */
    uint32_t argument_count, environment_count;
    uint32_t open_files, children, cpu_seconds;
    int32_t nice;
    uint32_t may_be_copy;
    uint64_t memory;
};

enum muster__launcher_answer {
    MUSTER__LAUNCHER_SPAWNED = 1, /* with the pidfd by SCM_RIGHTS */
    MUSTER__LAUNCHER_FAILED,
    MUSTER__LAUNCHER_EXITED,
    MUSTER__LAUNCHER_RUNS, /* once, first: the launcher's own pid, with its pidfd by SCM_RIGHTS */
};

struct muster__launcher_reply {
    uint32_t magic, version;
    uint32_t answer;
    uint32_t id;
    int32_t pid;
    int32_t problem; /* FAILED: errno, 0: none */
    int32_t code, signal;
    uint32_t core, oom, memory_limit_hit, children_limit_hit;
    uint64_t peak_memory, cpu_us, lived_us;
    char step[40]; /* FAILED: "cannot STEP PROGRAM"; terminated */
};

#endif
