/* cli/control_log.h - the last messages of a server's log, for those who follow it from outside.
 *
 * One ring, bounded in messages and bytes, whoever follows: a reader is a place in it, and one that is too slow
 * finds that what it wanted is gone; it is told how many messages that were.  Messages are kept as lines of JSON,
 * {time, level, subject, text}; a long text is cut, and says so.  Threads: any; one at a time for each reader. */
#ifndef MUSTER_CLI_CONTROL_LOG_H
#define MUSTER_CLI_CONTROL_LOG_H

#include "runtime/base.h"

struct muster__control_log;

/* No line is longer. */
#define MUSTER__CONTROL_LOG_LINE_MOST ((size_t)64 << 10)

struct muster__control_log_options {
    size_t messages; /* 0: 1,000 */
    size_t bytes;    /* 0: 1 MiB */
};

/* NULL: out of memory. */
struct muster__control_log *muster__control_log_new(const struct muster__control_log_options *options);
void muster__control_log_destroy(struct muster__control_log *log); /* NULL: no-op */
/* What there is no memory for counts as dropped. */
void muster__control_log_add(struct muster__control_log *log, int64_t unix_ms, enum muster_log_level level,
                             const char *subject, struct muster_bytes text);

struct muster__control_log_reader {
    enum muster_log_level level; /* that, and what is more important */
    uint64_t next;               /* the number of the message that is looked at next */
    uint64_t seen;               /* how many of its levels came before that */
};
/* Before the last `lines` messages of those levels that are there. */
void muster__control_log_begin(struct muster__control_log *log, enum muster_log_level level, uint64_t lines,
                               struct muster__control_log_reader *ret_reader);
/* Whole lines, as many as fit; where some were lost, {"dropped": N} stands for them.  0: there is nothing new, or
 * `size` is too small, which MUSTER__CONTROL_LOG_LINE_MOST is not. */
size_t muster__control_log_read(struct muster__control_log *log, struct muster__control_log_reader *reader, char *to,
                                size_t size);

#endif
