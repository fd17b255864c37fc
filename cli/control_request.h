/* cli/control_request.h - what may be asked of a running server: one line of JSON becomes a request.
 *
 * Pure: bytes in, a request or one sentence out.  A line is an object with "request" and what that one takes; a null
 * says nothing, but as data.  Unknown keys, wrong types, empty and overlong texts are refused.  Thread: any. */
#ifndef MUSTER_CLI_CONTROL_REQUEST_H
#define MUSTER_CLI_CONTROL_REQUEST_H

#include "coordinator/muster.h"

#define MUSTER__CONTROL_LINE_MOST ((size_t)1 << 20) /* bytes of a request, without its newline */

/* Symbol, word. */
#define MUSTER__CONTROL_REQUEST_LIST(X)                                                            \
    X(PS, "ps")                                                                                    \
    X(SEND, "send")                                                                                \
    X(REGISTER, "register")                                                                        \
    X(UPDATE, "update")                                                                            \
    X(UNREGISTER, "unregister")                                                                    \
    X(STOP, "stop")                                                                                \
    X(LOGS, "logs")                                                                                \
    X(STATS, "stats")

enum muster__control_kind {
#define MUSTER__CONTROL_SYMBOL(name, word) MUSTER__CONTROL_##name,
    MUSTER__CONTROL_REQUEST_LIST(MUSTER__CONTROL_SYMBOL) MUSTER__CONTROL_KIND_COUNT
#undef MUSTER__CONTROL_SYMBOL
};

/* Texts point into `tree`; NULL, 0 and false: not said. */
struct muster__control_request {
    enum muster__control_kind kind;
    struct muster_value *tree;
    const char *scope;
    const char *type;                /* SEND: of the event */
    const struct muster_value *data; /* SEND */
    uint64_t timeout_ms;             /* SEND */
    const char *script;              /* REGISTER: an absolute path */
    const char *engine, *tenant;
    bool module, lazy;
    enum muster_trust trust;
    enum muster_hosting isolation;
    bool running;                    /* PS: those alone that live on a host */
    bool follow;                     /* LOGS */
    enum muster_log_level level;     /* LOGS: that, and what is more important; INFO if not said */
    uint64_t lines;                  /* LOGS: of what was before, at most */
};

/* SYNTAX_ERROR, INVALID_ARGUMENT, NO_MEMORY fill `error`; then there is nothing to clean up. */
MUSTER_MUST_CHECK enum muster_status muster__control_request_parse(const char *text, size_t length,
                                                                   struct muster__control_request *ret_request,
                                                                   struct muster_error *error);
void muster__control_request_clean_up(struct muster__control_request *request); /* cleaning twice is fine */

/* A value as one line of JSON with its newline, terminated; for free().  Takes the value; NULL: out of memory, also
 * when that was NULL. */
char *muster__control_line(struct muster_value *take_value, size_t *ret_length);

#endif
