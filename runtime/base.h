/* runtime/base.h - words that every floor uses: status, bytes, error, time.
 *
 * Public: installed as <muster/base.h>.
 *
 * Ownership words, in every header of muster:
 *   new / destroy       heap; destroy(NULL) is fine
 *   acquire / release   one counted reference
 *   takes               the callee owns it from then on: `T **take_x` is NULL afterwards
 *   borrows             only until the call returns, or as the comment says
 *   ret_x               written on MUSTER_OK, untouched otherwise
 */
#ifndef MUSTER_BASE_H
#define MUSTER_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(MUSTER_BUILDING) && defined(__GNUC__)
#define MUSTER_API __attribute__((visibility("default")))
#else
#define MUSTER_API
#endif

#if defined(__GNUC__)
#define MUSTER_MUST_CHECK __attribute__((warn_unused_result))
#define MUSTER_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MUSTER_MUST_CHECK
#define MUSTER_PRINTF(fmt, args)
#endif

/* Symbol, then sentence, grouped by who has to act. */
#define MUSTER_STATUS_LIST(X)                                                                      \
    X(OK, "done")                                                                                  \
    /* the caller */                                                                               \
    X(INVALID_ARGUMENT, "an argument is missing or out of range")                                  \
    X(NOT_FOUND, "nothing is registered for that")                                                 \
    X(EXISTS, "that exists already")                                                               \
    X(WRONG_THREAD, "this call may not be made on this thread")                                    \
    X(FORKED, "this handle was made before a fork and does not work in the child")                 \
    X(CLOSED, "it is closed or closing")                                                           \
    X(UNSUPPORTED, "this build or this engine cannot do that")                                     \
    X(PENDING, "not settled yet")                                                                  \
    /* the script's author */                                                                      \
    X(SYNTAX_ERROR, "the script does not parse")                                                   \
    X(SCRIPT_ERROR, "the script threw an error")                                                   \
    X(REJECTED, "a promise that the event waited for was rejected")                                \
    X(BAD_RESPONSE, "respondWith was not given a Response")                                        \
    X(PASSED, "no handler answered the event")                                                     \
    X(LOAD_FAILED, "the script could not be loaded")                                               \
    X(TURN_LIMIT, "a turn ran longer than its limit of CPU time")                                  \
    X(MEMORY_LIMIT, "the worker grew beyond its memory limit")                                     \
    X(WEDGED, "the worker does not yield and cannot be interrupted")                               \
    /* the operator */                                                                             \
    X(QUEUE_FULL, "the queue for this worker is full")                                             \
    X(TIMED_OUT, "the deadline passed")                                                            \
    X(START_TIMED_OUT, "the worker did not become ready in time")                                  \
    X(REFUSED, "no host may take this worker")                                                     \
    /* how things end */                                                                           \
    X(CANCELED, "it was canceled")                                                                 \
    X(TERMINATED, "the worker was ended before it had finished")                                   \
    X(SHUTDOWN, "muster is shutting down")                                                         \
    /* the system */                                                                               \
    X(NO_MEMORY, "out of memory")                                                                  \
    X(SYSTEM, "a system call failed")                                                              \
    /* the worker's process */                                                                     \
    X(CRASHED, "the worker's process died while it worked on this")                                \
    X(RETRY, "the worker's process died before this had finished; it may be tried again")

enum muster_status {
#define MUSTER_STATUS_SYMBOL(name, sentence) MUSTER_##name,
    MUSTER_STATUS_LIST(MUSTER_STATUS_SYMBOL)
#undef MUSTER_STATUS_SYMBOL
        MUSTER_STATUS_COUNT
};

/* Thread: any.  "MUSTER_QUEUE_FULL"; never NULL. */
MUSTER_API const char *muster_status_name(enum muster_status status);
/* Thread: any.  A sentence for people; never NULL. */
MUSTER_API const char *muster_status_sentence(enum muster_status status);
/* Thread: any.  "0.1.0". */
MUSTER_API const char *muster_version(void);

/* Borrowed bytes; not terminated. */
struct muster_bytes {
    const char *data;
    size_t length;
};

/* What went wrong, for people: every text is owned by the struct, any may be NULL.
 * A zeroed struct is an empty error. */
struct muster_error {
    enum muster_status status;
    char *name;    /* the script's error class, "TypeError" */
    char *message; /* one sentence */
    char *file;    /* where, as the author wrote it (mapped back through source maps) */
    int line;      /* from 1; 0: unknown */
    int column;    /* from 1; 0: unknown */
    char *stack;   /* the engine's stack, mapped; several lines */
};

/* Thread: any.  Frees the texts and zeroes; cleaning twice is fine. */
MUSTER_API void muster_error_clean_up(struct muster_error *error);
/* Thread: any.  Deep copy; texts that do not fit into memory become NULL.  What `to` held before is
 * overwritten, not freed. */
MUSTER_API void muster_error_copy(struct muster_error *to, const struct muster_error *from);
/* Thread: any.  Replaces what is in `error`. */
MUSTER_API void muster_error_set(struct muster_error *error, enum muster_status status,
                                 const char *format, ...) MUSTER_PRINTF(3, 4);

enum muster_log_level {
    MUSTER_LOG_ERROR,
    MUSTER_LOG_WARNING,
    MUSTER_LOG_INFO,
    MUSTER_LOG_DEBUG
};

/* Thread: any muster thread, also several at once; no lock is held.  Must not block long. */
typedef void muster_log_fn(enum muster_log_level level, const char *subject, const char *text,
                           void *user_data);

#ifdef __cplusplus
}
#endif
#endif
