/* runtime/engine_javascript_fetch.h - a fetch of a script's while it is under way: over HTTP, or to the worker that
 * controls the context.  Internal to engine_javascript_fetch.c and engine_javascript_dispatch.c.
 *
 * Thread: the VM's, but for what it says of another.
 */
#ifndef MUSTER_ENGINE_JAVASCRIPT_FETCH_H
#define MUSTER_ENGINE_JAVASCRIPT_FETCH_H

#include "runtime/engine_javascript.h"

struct muster__js_dispatch;

struct muster__js_fetch {
    struct muster__note note;
    struct muster__realm *realm; /* NULL: it is gone */
    struct muster__js_fetch *next, *previous; /* of the realm */
    JSObjectRef object;
    unsigned waits; /* what keeps the object protected */
    uint32_t token;
    char *token_name;
    bool keepalive;

    struct muster__http_transfer *transfer; /* NULL: canceled, or its head was taken, or it is the next */
    struct muster__js_dispatch *dispatch;   /* what another worker answers; likewise */
    struct muster__js_waiter head_waiter, read_waiter, drain_waiter;
    struct muster_stream *in;  /* the reader's reference */
    struct muster_stream *out; /* the writer's */

    /* Written by another thread before `heard`. */
    char *text; /* "status\nstatus text\nname\nvalue...", or what went wrong; NULL: no memory, or it passed */
    size_t text_length;
    bool failed, passed;
    struct muster_stream *body;
    atomic_bool heard;
};

/* The head of an answer, as `text` has it.  NULL: out of memory.  Thread: any. */
char *muster__js_fetch_write_head(int status, struct muster_bytes status_text, const struct muster_header *headers,
                                  size_t header_count, size_t *ret_length);
/* It was heard: its note comes.  Thread: any. */
void muster__js_fetch_post(struct muster__js_fetch *fetch);

/* ---- engine_javascript_dispatch.c ---- */

/* What is sent: everything is borrowed. */
struct muster__js_dispatch_options {
    const char *scope;
    struct muster_http_request http;
    struct muster_value *take_info;
};

/* To the service worker of the scope.  The fetch hears of it until it is dropped.  Not OK: it does not. */
MUSTER_MUST_CHECK enum muster_status muster__js_dispatch_start(struct muster__js_fetch *fetch,
                                                               const struct muster__js_dispatch_options *options);
/* Nothing of it comes any more.  `cancel`: the worker hears that nobody waits, if it has not answered.  NULL: no-op. */
void muster__js_dispatch_drop(struct muster__js_dispatch *dispatch, bool cancel);

#endif
