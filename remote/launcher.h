/* remote/launcher.h - starts host processes through a small process of their own, and hears how they end.
 * Internal.
 *
 * An embedder may ignore SIGCHLD, wait for any child, be huge, and end the thread that spawned.  So the
 * hosts are not its children: one launcher process (`muster-host --launcher`), started on the first need
 * and no child of the embedder either, spawns them, reaps them and reports; when the embedder is gone it
 * kills them and all that they started.  A host that may be one is a copy of the launcher, which has loaded by then what
 * hosts load: it starts sooner and shares that memory with the others, and its address layout.  When the launcher itself dies, its hosts die with it, its guard
 * (remote/launcher_guard.h) kills what they had started, and the next spawn starts another launcher.  Only if
 * launcher and guard are killed in one moment does a process survive that had left its host's session.
 *
 * The parent's side has no thread.  It has one descriptor, the same for its whole life: poll it for input
 * and call muster__launcher_on_ready, which calls back.  As a source of runtime/pool.h it may be edge
 * triggered (EPOLLIN | EPOLLET): on_ready takes all that is there.
 *
 * Threads: "poller" is the one thread at a time that calls on_ready, and the only one on which callbacks
 * run; no lock is held then, and they may call everything here but muster__launcher_destroy.
 *
 * Promise: a spawn that returned MUSTER_OK is answered by `spawned` exactly once; if that said MUSTER_OK,
 * `exited` comes exactly once after it.  Neither comes after muster__process_destroy or
 * muster__launcher_destroy.
 */
#ifndef MUSTER_LAUNCHER_H
#define MUSTER_LAUNCHER_H

#include "remote/exit.h"

struct muster__launcher;
struct muster__process;

/* What a host finds when it begins.  0 and 1 are /dev/null. */
enum {
    MUSTER__HOST_FD_ERRORS = 2,     /* standard error */
    MUSTER__HOST_FD_CHANNEL = 3,    /* descriptors travel here */
    MUSTER__HOST_FD_DATA = 4,       /* frames */
    MUSTER__HOST_FD_LAST_WORDS = 5, /* write end of a pipe, remote/last_words.h */
    MUSTER__HOST_FD_MEMORY = 6,     /* remote/shared_memory.h */
    MUSTER__HOST_FD_COUNT
};

struct muster__launcher_options {
    /* The path of muster-host; borrowed until the call returns.  NULL: $MUSTER_HOST_PROGRAM, then beside
     * this library or program, there below "muster/", then MUSTER_LIBEXECDIR if compiled in. */
    const char *program;
    /* A folder of a cgroup v2 in which muster may make groups, with the memory controller handed down.
     * NULL: $MUSTER_CGROUP, else the launcher's own group if that qualifies.  "": use none. */
    const char *cgroup;
    /* "NAME=value", ends with NULL: what hosts get beside LANG, PATH, TZ and MUSTER_* of this process, which it replaces.
     * Copied.  NULL: nothing. */
    const char *const *environment;
};

/* Thread: any.  Starts no process yet.  NOT_FOUND: there is no such program; `error` (may be NULL) says
 * where it was looked for. */
MUSTER_MUST_CHECK enum muster_status
muster__launcher_new(const struct muster__launcher_options *options,
                     struct muster__launcher **ret_launcher, struct muster_error *error);

/* Thread: poller, or any once nothing polls.  Kills every host that is left, ends the launcher process
 * and waits for that, two and a half seconds at most.  Processes not destroyed yet hear nothing more and may be
 * destroyed later.  NULL: no-op. */
void muster__launcher_destroy(struct muster__launcher *take_launcher);

/* Thread: any.  The descriptor to poll for input; stays the launcher's. */
int muster__launcher_fd(const struct muster__launcher *launcher);

/* Thread: poller.  Takes all that is there, without blocking, and calls back. */
void muster__launcher_on_ready(struct muster__launcher *launcher);

/* Thread: any.  The process id of the launcher; 0: none runs. */
pid_t muster__launcher_pid(struct muster__launcher *launcher);

/* Thread: poller.  MUSTER_OK: it runs; `pidfd` is the process's (borrowed until its destroy), readable when
 * it is dead.  Otherwise it never ran, or died with its launcher before we heard of it, and `error` (never
 * NULL, borrowed) has the sentence. */
typedef void muster__process_spawned_fn(struct muster__process *process, enum muster_status status,
                                        const struct muster_error *error, pid_t pid, int pidfd,
                                        void *user_data);
/* Thread: poller.  It is dead and reaped. */
typedef void muster__process_exited_fn(struct muster__process *process,
                                       const struct muster__exit_report *report, void *user_data);

/* Zero means "as it is" for each limit. */
struct muster__process_options {
    const char *name; /* "host 3": for sentences, and argv[0] if short; NULL: "host" */
    /* By MUSTER__HOST_FD_*: borrowed until the call returns, so close your copies then.  -1: /dev/null.
     * Entries 0 and 1 are not looked at. */
    int descriptors[MUSTER__HOST_FD_COUNT];
    const char *const *arguments;   /* behind argv[0], ends with NULL; NULL: none */
    const char *const *environment; /* the same for this one, which is no copy then; NULL: none */
    bool may_be_copy;               /* else its program is executed, which gives it an address layout of its own */
    unsigned open_files;            /* RLIMIT_NOFILE, at most what may be had */
    unsigned children;              /* processes that descend from it and live: with one more all are killed; watched */
    unsigned cpu_seconds;           /* SIGXCPU, and SIGKILL a second later */
    uint64_t memory;                /* bytes, resident; by cgroup where there is one, else watched */
    int nice;                       /* added */
    muster__process_spawned_fn *spawned; /* NULL: not told */
    muster__process_exited_fn *exited;   /* NULL: not told */
    void *user_data;
};

/* Thread: any.  Starts the launcher first if none runs (the caller waits for its exec).  MUSTER_OK:
 * `spawned` will come.  QUEUE_FULL: more spawns under way than the socket holds.  Other failures fill
 * `error` (may be NULL), and nothing was started. */
MUSTER_MUST_CHECK enum muster_status
muster__launcher_spawn(struct muster__launcher *launcher,
                       const struct muster__process_options *options,
                       struct muster__process **ret_process, struct muster_error *error);

/* Thread: any, until destroy.  Sends the signal without a race against the reuse of its number.  CLOSED:
 * it is dead, or not spawned yet; only SIGKILL is kept then, is MUSTER_OK, and sent as soon as it is. */
enum muster_status muster__process_kill(struct muster__process *process, int signal);

/* Thread: any, until destroy.  0 and -1 before `spawned`. */
pid_t muster__process_pid(const struct muster__process *process);
int muster__process_pidfd(const struct muster__process *process);

/* Thread: poller, or any once nothing polls; also inside a callback.  Kills it if it may be alive; hears
 * nothing more; closes the pidfd.  NULL: no-op. */
void muster__process_destroy(struct muster__process *take_process);

/* How the launcher makes copies. */
struct muster__launcher_copies {
    /* Loads what hosts need, once; before the first copy.  False: it could not, or left more than one thread: this host is
     * no copy, and the next asks again. */
    bool (*load)(void);
    /* Is the host, in the copy, where everything is as it is for a program that was executed; returns its exit code. */
    int (*run)(int argument_count, char **arguments);
};

/* The launcher process itself, a mode of muster-host: `muster-host --launcher`.  main() calls it with its arguments,
 * before it starts any thread, and returns what it returns.  The control socket is on descriptor 3, a pidfd of the
 * parent on 4.  `copies`: NULL: every host is executed. */
int muster__launcher_main(int argument_count, char **arguments, const struct muster__launcher_copies *copies);

#endif
