/* remote/wall.h - what a child process that hosts workers may still do, and no way back.  Internal.
 *
 * Raised once, on the main thread, before it starts others: load the engines' objects, raise, start the
 * pool.  Behind the wall of trust none nothing is opened by name any more, so what opens a file at its
 * first use (JavaScriptCore: /dev/urandom, its first VM) is used once in `warm_up`.  What each level
 * may do stands in docs/security.md, and a test tries every line of it.
 *
 * Promise: MUSTER_OK says that the level holds for every thread of this process and for all that it
 * starts from then on.  After any other status an unknown part of the wall is up: the process says
 * why, and ends.
 *
 * A wall keeps a worker from the machine, not from other workers in the same process: that tenants do
 * not share a process is placement's affair (isolation and trust in remote/placement.h).
 */
#ifndef MUSTER_WALL_H
#define MUSTER_WALL_H

#include "runtime/base.h"

/* The first two have the values of enum muster__trust.  Zero is the default: scripts that their
 * operator wrote or chose. */
enum muster__wall_trust {
    MUSTER__WALL_SCRIPT, /* what only an administrator's program does is refused */
    MUSTER__WALL_FULL,   /* no wall at all */
    MUSTER__WALL_NONE    /* a hostile tenant: what is not allowed is refused */
};

struct muster__wall_options {
    enum muster__wall_trust trust;
    /* The rest is for MUSTER__WALL_NONE; the other levels have it anyway. */
    bool network; /* may make internet sockets and connect them; not listen */
    bool spawn;   /* may fork, and execute what lies in `readable` */
    /* Folders and files, NULL-terminated, absolute; borrowed.  NULL: nothing is opened by name. */
    const char *const *readable;
    /* Optional.  NONE calls it when Landlock is up and seccomp is not: files are read from `readable` and
     * from a few places that hold nothing of anybody's (devices of random numbers, the process itself,
     * the processors, time zones); it may start threads.  Not OK: raise answers that, and the error. */
    enum muster_status (*warm_up)(void *user_data, struct muster_error *error);
    void *user_data;
    /* Raise what can be raised, where the kernel or other threads forbid the rest, and answer OK. */
    bool allow_partial;
};

/* What holds. */
struct muster__wall_report {
    bool no_new_privs;
    bool seccomp;
    bool landlock;
    int landlock_abi;     /* the kernel's; 0: it has none */
    bool no_capabilities; /* dropped, or there were none; only NONE drops them */
};

/* "full", "script" or "none"; false: none of them, and *ret_trust is untouched. */
bool muster__wall_parse(const char *word, enum muster__wall_trust *ret_trust);
/* Never NULL. */
const char *muster__wall_word(enum muster__wall_trust trust);

/* Thread: the main one, before others; with SCRIPT they may run already.  Once: EXISTS afterwards.
 * INVALID_ARGUMENT: a path is not absolute.  NOT_FOUND: a path cannot be opened.  UNSUPPORTED: NONE
 * was asked for, and the kernel lacks a part that it needs.  REFUSED: NONE was asked for while other
 * threads run, which Landlock would not bind.  SYSTEM, NO_MEMORY.  All fill `error` (may be NULL) with
 * one sentence.  `ret_report` (may be NULL) is always written. */
MUSTER_MUST_CHECK enum muster_status muster__wall_raise(const struct muster__wall_options *options,
                                                        struct muster__wall_report *ret_report,
                                                        struct muster_error *error);

/* Thread: any.  This process has no other; false also when /proc is not there to tell. */
bool muster__wall_is_only_thread(void);

/* One sentence for the log: "trust none: no new privileges, seccomp, Landlock (ABI 7), no
 * capabilities".  snprintf's rules. */
int muster__wall_describe(enum muster__wall_trust trust, const struct muster__wall_report *report,
                          char *text, size_t size);

/* ---- between the wall's own files ---- */

/* 0, or an errno: ENOSYS when this kernel filters no system calls. */
int muster__wall_seccomp(const struct muster__wall_options *options, bool may_open);

/* The version of Landlock in this kernel; 0: none. */
int muster__wall_landlock_abi(void);
/* Binds the calling thread and those that it starts.  0, or an errno; *ret_path is the path that was to
 * blame, or NULL. */
int muster__wall_landlock(const struct muster__wall_options *options, int abi, const char **ret_path);

#endif
