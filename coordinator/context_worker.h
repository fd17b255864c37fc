/* coordinator/context_worker.h - workers that scripts make: what shared and dedicated ones have in common.  Internal.
 *
 * Such a worker is a version of its own in the core, under a key that is no URL; it is neither installed nor
 * activated, is never ended for being idle, and is not started again.  It lives as long as its owner wants; when it
 * begins to die, whatever the reason, it is lost: its key has left the core's map, `lost` is told, once, and what
 * waited for it is settled.  Whoever wants it again makes a new one, which never meets the one that dies.
 *
 * What it inherits from the context that made it: trust, tenant, where it lives, loader, bindings, limits.
 *
 * Thread: coordinator.
 */
#ifndef MUSTER_CONTEXT_WORKER_H
#define MUSTER_CONTEXT_WORKER_H

#include "coordinator/context.h"

struct muster__context_worker;

struct muster__context_worker_class {
    /* The script was evaluated. */
    void (*started)(struct muster__context_worker *worker);
    /* An uncaught error of the script's. */
    void (*reported)(struct muster__context_worker *worker, const struct muster_error *error);
    /* It is dying or never ran; MUSTER_OK: it closed itself.  The owner frees what embeds the worker, if it wants. */
    void (*lost)(struct muster__context_worker *worker, enum muster_status status, const struct muster_error *error);
};

/* Embedded in its owner's object. */
struct muster__context_worker {
    const struct muster__context_worker_class *class;
    struct muster *muster;
    struct muster__version *version;     /* NULL: ended or lost */
    struct muster__worker_tenant *tenant; /* whose count it is in */
    struct muster__version *controller;  /* its maker's, when it was made; NULL: none */
    char *place;                         /* what scopes are matched against if its own URL is of no place; or NULL */
    struct muster__port *inside;         /* a dedicated one's implicit port, until it starts */
    char *blob_url;                      /* that this process knows for its sake; NULL: none */
    bool is_started;
};

struct muster__context_worker_options {
    enum muster__worker_type type;
    const char *url, *name;
    struct muster_bytes text; /* of its script, if that needs no loading; data NULL: it is loaded */
    const char *text_type;    /* that of the blob */
    bool module;
    const struct muster__context *maker;
    struct muster__port **take_inside; /* dedicated workers; taken also on failure */
};

/* Registers it; it starts when something is sent to its slot, or with muster__context_worker_start().  REFUSED:
 * its storage key has as many as it may have; the error says so. */
MUSTER_MUST_CHECK enum muster_status
muster__context_worker_init(struct muster__context_worker *worker, const struct muster__context_worker_class *class,
                            const struct muster__context_worker_options *options, struct muster_error *error);
void muster__context_worker_start(struct muster__context_worker *worker);
/* Its owner lets go: it finishes what it has, or is interrupted.  `lost` does not come any more.  Repeatable. */
void muster__context_worker_end(struct muster__context_worker *worker, bool at_once);

/* {url, {name, type, credentials}} of worker.new and shared.new, checked; false: the ask was answered. */
struct muster__worker_request {
    const char *url, *name, *type, *credentials;
    struct muster_bytes text; /* what is behind a blob: URL; data NULL: it was not said */
    const char *text_type;    /* and what that is */
    bool extended;
};
MUSTER_MUST_CHECK bool muster__worker_request_read(struct muster__ask *ask,
                                                   struct muster__worker_request *ret_request);

/* On which the channels of its script count: what a worker makes counts where the worker does.  The caller's reference.
 * NULL: out of memory. */
struct muster__port_account *muster__port_account_of(struct muster *muster, const struct muster__version *version);

/* Whether a context may load that URL as of its own origin. */
bool muster__context_may_load(const struct muster__context *context, const char *url);

/* Ops: see context_ops.c. */
muster__op_fn muster__op_blob_read; /* blobs.c */

/* An error's name, for a script: the status says it where the error does not. */
const char *muster__error_name(enum muster_status status, const struct muster_error *error);

/* Of coordinator*.c's: `worker` of a version, as things happen to its instance. */
void muster__context_worker_started(struct muster__context_worker *worker);
void muster__context_worker_reported(struct muster__context_worker *worker, const struct muster_error *error);
void muster__context_worker_lost(struct muster__context_worker *worker, enum muster_status status,
                                 const struct muster_error *error);

/* What a context holds of workers, in context->holds. */
struct muster__hold {
    struct muster__link link; /* of the context's */
    uint64_t id;              /* the context's name for it: that of the ask that made it */
    /* The context is closed: let go. */
    void (*let_go)(struct muster__hold *take_hold);
};
/* NULL: no such. */
struct muster__hold *muster__context_find_hold(const struct muster__context *context, uint64_t id);
void muster__context_workers_let_go(struct muster__context *context);

#endif
