/* runtime/request.h - one piece of work for a worker: an event, a message, a call.  Internal.
 *
 * A request is its maker's memory (embed it, or allocate it) with a counted reference.  It has two
 * endings, in this order, each exactly once:
 *   settled - the answer is there, or it is certain that none will come: result, error, cancellation,
 *             timeout, crash, shutdown.  Whoever claims it first wins; the others do nothing.
 *   ended   - nothing of it runs any more (every waitUntil, every body has come to its end).  The
 *             keepalive hold of the request is dropped here.
 */
#ifndef MUSTER_REQUEST_H
#define MUSTER_REQUEST_H

#include "runtime/check.h"
#include "runtime/http_message.h"
#include "runtime/port.h"
#include "runtime/value.h"

enum muster__request_kind {
    MUSTER__REQUEST_LIFECYCLE, /* "install", "activate": dispatched as an ExtendableEvent */
    MUSTER__REQUEST_FETCH,     /* "fetch" */
    MUSTER__REQUEST_EVENT,     /* functional event: "push", "sync", or a custom name; `data` */
    MUSTER__REQUEST_MESSAGE,   /* "message" with `data` */
    MUSTER__REQUEST_CALL,      /* a named function of the script with `data` (an array) */
};

struct muster__request;
struct muster__slot;

/* The answer; everything borrowed until the call returns. */
struct muster__outcome {
    enum muster_status status;                     /* MUSTER_PASSED: a fetch nobody answered */
    const struct muster_http_response *response; /* fetch, with MUSTER_OK */
    const struct muster_value *value;              /* call: its result; may be NULL */
    const struct muster_error *error;              /* may be NULL */
};

struct muster__request_class {
    /* Thread: any thread of muster's, once; no lock is held.  Must not block.  Copy what you keep. */
    void (*settled)(struct muster__request *request, const struct muster__outcome *outcome);
    /* Thread: any, once, when the last reference is gone. */
    void (*destroy)(struct muster__request *request);
    /* Thread: the worker's, right before the turn that begins it and right after.  May be NULL. */
    void (*turn)(struct muster__request *request, bool begins);
    /* Thread: any, under the slot's lock, when a slot has taken it.  May be NULL. */
    void (*posted)(struct muster__request *request, struct muster__slot *slot);
};

struct muster__request {
    struct muster__request *next; /* whoever holds it: mailbox, list of what is in flight */
    struct muster__request *previous;
    const struct muster__request_class *class;
    atomic_uint references;
    atomic_bool settled;
    atomic_bool started; /* written before the turn that runs it begins */
    enum muster__request_kind kind;
    uint64_t id; /* unique in an instance; for logs */
    bool idempotent; /* the maker's: it may run again when its worker's process died in the midst of it */
    uint8_t moves;   /* how often it went to another worker for that reason; the host's */

    const char *name;                /* event type or function name; the maker's, lives as long */
    struct muster_value *data;       /* the maker's */
    /* The ends that go with `data`, in order; NULL: none.  The maker's, destroyed by its class; who runs the
     * request takes them out and leaves NULL.  NULL in it: one that is closed.  Its head may say who sent a message,
     * {source}; its data is not used. */
    struct muster__port_message *mail;
    struct muster_http_request http; /* FETCH; the maker's memory */

    uint64_t received_us;        /* when book-keeping began */
    uint64_t keepalive_until_us; /* 0: a full idle time from the post on */
    void *engine_data;           /* the engine's while it is delivered */
    void *slot;                  /* the slot in which it waits; the slot's */
    bool holds_slot;             /* its end drops a hold of the slot; the slot's */
};

/* Thread: any.  One reference, the caller's; the class must have destroy. */
void muster__request_init(struct muster__request *request, const struct muster__request_class *class,
                          enum muster__request_kind kind, const char *name);
void muster__request_acquire(struct muster__request *request);
/* False: its last reference is gone, though its memory is still the caller's to look at. */
MUSTER_MUST_CHECK bool muster__request_try_acquire(struct muster__request *request);
void muster__request_release(struct muster__request *request);
/* Thread: any.  True: this call settled it. */
bool muster__request_settle(struct muster__request *request, const struct muster__outcome *outcome);
/* As above, with a status and a sentence (NULL: the status's own). */
bool muster__request_fail(struct muster__request *request, enum muster_status status,
                          const char *message);
bool muster__request_is_settled(const struct muster__request *request);

/* Thread: any.  Deep copies of what HTTP messages lend: one block, in which `count` headers come first, then their
 * texts, then *ret_rest with room for `more` bytes.  The caller frees it with free().  NULL: out of memory. */
struct muster_header *muster__request_copy_headers(const struct muster_header *from, size_t count, size_t more,
                                                   char **ret_rest);
/* Thread: any.  A deep copy of a whole request, with `name` behind its texts if *ret_name is wanted: one block, which
 * begins with the headers and is freed with free(); its stream gets a reference.  NULL: out of memory, and *ret_http is
 * untouched. */
struct muster_header *muster__request_copy_http(const struct muster_http_request *from, struct muster_bytes name,
                                                struct muster_http_request *ret_http, const char **ret_name);
/* Thread: any.  Copies to *at, which moves on, length + 1 bytes: terminated. */
char *muster__request_put_text(char **at, struct muster_bytes bytes);

#endif
