/* coordinator/clients.h - the client map: who may be controlled by a service worker, and by which.  Internal.
 *
 * Every context is a client but a service worker's: pages and frames, dedicated and shared workers, clients of the
 * embedder's (Service Workers standard, "Clients").  A client is controlled from its creation on by the active
 * version of the registration that its URL matches (SW-CLI-2), later by what claims it, or replaces its controller.
 * The core counts who uses a registration; it is told of each use and of its end.
 *
 * Which clients a service worker sees: those of its storage key.  A registration whose scope is a path is of every
 * origin, and its storage key, "", is every client's.
 *
 * Thread: coordinator.
 */
#ifndef MUSTER_CLIENTS_H
#define MUSTER_CLIENTS_H

#include "coordinator/context.h"

#define MUSTER__CLIENT_ID_LENGTH 36

struct muster__client {
    struct muster__link link;    /* of all, in order of creation */
    struct muster__id_node node; /* by the first half of its id */
    struct muster__context *context; /* whose it is */
    char id[MUSTER__CLIENT_ID_LENGTH + 1];
    const char *frame_type;
    struct muster__version *controller; /* NULL: none */
    bool is_visible, is_focused;        /* as its page says; most run without a screen, and say nothing */
};

/* Thread: any.  A random id, as text.  False: the system gives no random numbers. */
MUSTER_MUST_CHECK bool muster__client_make_id(char id[MUSTER__CLIENT_ID_LENGTH + 1]);

/* Thread: any.  No scope can match it: its creator's controller is its own. */
bool muster__inherits_controller(const char *url);

/* Thread: any.  The context has its URL; an id of NULL is made.  NULL: out of memory. */
struct muster__client *muster__client_new(struct muster__context *context, const char *id, const char *frame_type);
/* Is in the map, and perhaps controlled, from now on. */
void muster__client_open(struct muster__client *client);
/* Leaves the map, and uses nothing any more.  Repeatable. */
void muster__client_close(struct muster__client *client);
/* Thread: any.  NULL: no-op. */
void muster__client_destroy(struct muster__client *client);

/* NULL: none has that id; NULL is none. */
struct muster__client *muster__client_find(struct muster *muster, const char *id);

/* "window", "worker", "sharedworker". */
const char *muster__client_type_name(const struct muster__client *client);

/* Those that `old` controls are controlled by `version` from now on, and told (SW-ACT-2).  The core has counted. */
void muster__clients_move(struct muster *muster, const struct muster__version *old, struct muster__version *version);

/* client_fetch.c */
/* Thread: any.  A fetch that comes from another process, where that instance of a worker lives; the client is the one that
 * it names, if it is its own.  As muster__dispatch_from_worker(). */
MUSTER_MUST_CHECK enum muster_status muster__client_fetch(struct muster *muster, uint64_t instance,
                                                          struct muster__request *request,
                                                          uint64_t keepalive_until_us);
/* Thread: none runs any more.  One that still waited in the inbox is let go; false: it is none. */
bool muster__client_fetch_drop(struct muster__message *message);

/* Ops: see context_ops.c. */
muster__op_fn muster__op_claim, muster__op_clients_get, muster__op_clients_match_all, muster__op_client_post,
    muster__op_client_open, muster__op_client_redirect, muster__op_client_show,
    muster__op_version_post, muster__op_event_types, muster__op_response_take;

#endif
