/* remote/exit.h - how a host process ended, and the sentence that says so.  Internal.
 *
 * The launcher reaps a host and tells these figures (remote/launcher.h); the last words and the tail of
 * standard error (remote/last_words.h) say why.  Plain data: any thread, nothing here is owned.
 */
#ifndef MUSTER_EXIT_H
#define MUSTER_EXIT_H

#include <sys/types.h>

#include "runtime/base.h"

struct muster__last_words;

enum muster__exit_cause {
    MUSTER__EXIT_UNKNOWN,      /* the launcher was gone before it could tell: it is dead, no more is known */
    MUSTER__EXIT_BY_ITSELF,    /* it returned, or a signal ended it that neither side of muster sent */
    MUSTER__EXIT_KILLED,       /* muster__process_kill() sent that signal */
    MUSTER__EXIT_MEMORY_LIMIT, /* it grew beyond options.memory, and was killed for it */
    MUSTER__EXIT_CHILDREN_LIMIT, /* it had started more than options.children, and was killed for it */
};

struct muster__exit_report {
    enum muster__exit_cause cause;
    int code;   /* meaningful when signal is 0 and the cause is not UNKNOWN */
    int signal; /* that ended it; 0: none */
    bool core;  /* a core file was written */
    bool oom;   /* the kernel killed something for want of memory meanwhile; see also muster__exit_is_oom */
    uint64_t peak_memory;  /* bytes resident at most; 0: unknown */
    uint64_t memory_limit; /* bytes; 0: none */
    uint64_t cpu_us;       /* user and system, its reaped children included */
    uint64_t cpu_limit_s;  /* seconds; 0: none */
    uint64_t children_limit; /* 0: none */
    uint64_t lived_us;     /* from the spawn to the reaping */
};

/* Thread: any.  It died of SIGKILL that muster did not send, and memory is the likely reason (or it was
 * killed at its limit, when memory is the certain one). */
bool muster__exit_is_oom(const struct muster__exit_report *report);
/* Thread: any.  It ended at a limit of its own: memory, CPU time, processes. */
bool muster__exit_is_limit(const struct muster__exit_report *report);

/* Thread: any.  One sentence without a full stop: "host 3 (pid 123) was killed by SIGKILL, likely out of
 * memory (peak 512 MB)".  `words` may be NULL; what it quotes of them is bounded and made printable.
 * Returns the length as snprintf does; always terminates unless size is 0. */
int muster__exit_describe(char *text, size_t size, const char *name, pid_t pid,
                          const struct muster__exit_report *report,
                          const struct muster__last_words *words);

/* Thread: any, also in a signal handler.  "SIGSEGV"; "signal 99" is "a signal" here; never NULL. */
const char *muster__exit_signal_name(int signal);

#endif
