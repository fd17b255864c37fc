/* cli/log.h - the command's log: lines on standard error.
 *
 * A message is written whole, by one write, so that lines of several threads do not mix.  It begins with
 * the time, the level and the subject; what it has beyond its first line (a stack) follows indented, so
 * that nothing a script prints can pass for a message of its own.  Control characters are escaped.
 * Threads: any, but for init and clean_up. */
#ifndef MUSTER_CLI_LOG_H
#define MUSTER_CLI_LOG_H

#include "runtime/base.h"

#include <pthread.h>
#include <stdatomic.h>

struct muster__log {
    enum muster_log_level level; /* and what is more important */
    int fd;                      /* standard error; borrowed */
    bool colours;                /* it is a terminal, and NO_COLOR is not set */
    bool is_ready;
    atomic_bool is_quiet; /* muster__log_write() drops errors and warnings: a start that fails is told in one sentence by who asked */
    pthread_mutex_t lock; /* one message at a time, also when a write comes back short */
};

void muster__log_init(struct muster__log *log, enum muster_log_level level);
void muster__log_clean_up(struct muster__log *log); /* cleaning twice is fine */
/* muster_log_fn; user_data is the log. */
void muster__log_write(enum muster_log_level level, const char *subject, const char *text, void *user_data);
/* muster_console_fn; user_data is the log.  The scope is the subject. */
void muster__log_console(const char *scope, enum muster_log_level level, struct muster_bytes text,
                         void *user_data);

/* One message as a line, terminated with a newline, in malloc'ed memory; NULL: out of memory.  For
 * muster__log_write() and its tests: the time is passed in. */
char *muster__log_format(const struct muster__log *log, int64_t unix_ms, enum muster_log_level level,
                         const char *subject, struct muster_bytes text, size_t *ret_length);

/* What went wrong, as a sentence with its place where one is known: "/app/worker.js:12:3: TypeError: it is broken";
 * for free().  `error` may be NULL.  NULL: out of memory. */
char *muster__log_describe(const struct muster_error *error, enum muster_status status);

#endif
