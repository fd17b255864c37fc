/* remote/child_internal.h - the inside of a child process that hosts workers: what its files share.
 * Internal to them.
 *
 *   child.c          the process: its pool, its link, its end; which frame goes where
 *   child_worker.c   one worker: its listener, loader and bindings, as frames
 *   child_direct.c   channels to other children, for ports
 *   child_request.c  one request that the parent sent, until it has ended
 *   child_fetch.c    a fetch of a script's that goes to its service worker
 *
 * One lock guards the maps.  Frames come on the thread that polls, one at a time; workers tell on their own.
 */
#ifndef MUSTER_CHILD_INTERNAL_H
#define MUSTER_CHILD_INTERNAL_H

#include "remote/body_pump.h"
#include "remote/link.h"
#include "remote/link_port.h"
#include "remote/shared_memory.h"
#include "remote/wire_value.h"
#include "runtime/id_map.h"
#include "runtime/worker.h"

#include <pthread.h>

struct child_worker;

struct child {
    struct muster__pool *pool;
    struct muster__link *link;
    struct muster__link_ports *ports; /* from the start of its threads on */
    struct child_direct *directs;     /* under the lock */
    struct muster__pool_source source;
    struct muster__pool_flusher flusher;
    struct muster__shared_memory *memory;
    bool said_hello; /* the parent */
    uint32_t threads, trust, grants;   /* what it said there */
    const char *readable[2];           /* by the wall; ends with NULL */
    struct muster__worker_limits limits; /* for workers that say nothing */

    pthread_mutex_t lock;
    pthread_cond_t news;              /* something for the main thread, or for one that waits for a script */
    struct muster__id_map workers;    /* struct child_worker */
    struct muster__id_map requests;   /* struct child_request: opened by the parent */
    struct muster__id_map openings;   /* struct child_opening: opened here */
    struct muster__id_map fetches;    /* struct child_fetch: likewise, until their bodies are through */
    struct muster__port_accounts port_accounts;
    uint64_t last_actor;
    bool shut_down, lost;
};

/* Something that was asked of the parent, which answers once. */
struct child_opening {
    struct muster__id_node node;
    struct child *child;
    /* Thread: poller; out of the map already.  Owns the opening from then on.  NULL: the connection ended. */
    void (*answered)(struct child_opening *opening, struct muster__wire_message *message);
};

struct child_worker {
    struct muster__id_node node;
    atomic_uint references; /* the map's, and one of each request, binding and call */
    struct child *child;
    uint32_t id;
    struct muster__worker *worker;
    struct muster__slot *slot;
    uint32_t incarnation;
    struct muster__loader loader;
    char *script_url, *stored_url, *stored_text, *stored_map; /* until it was loaded; the url stays */
    size_t stored_length;
    bool stored_is_module, has_stored;
    char **arguments;
    uint64_t turn;          /* counts; worker's thread */
    atomic_bool flooding;   /* a console call did not fit, and the next that does says so */
};

/* child.c */
void muster__child_send(struct child *child, const struct muster__wire_message *message);
/* The same, for what may be refused. */
MUSTER_MUST_CHECK enum muster_status muster__child_try_send(struct child *child,
                                                            const struct muster__wire_message *message);
/* Puts the opening into the map and sends the message with its number and that value (NULL: none).  On
 * failure the opening is the caller's; the value always is, though it may be empty afterwards. */
MUSTER_MUST_CHECK enum muster_status muster__child_open(struct child *child, struct child_opening *opening,
                                                        struct muster__wire_message *message,
                                                        struct muster__packed_value *value);
/* The two halves of it, for whoever has to know the number before it is sent. */
MUSTER_MUST_CHECK enum muster_status muster__child_enlist(struct child *child, struct child_opening *opening);
MUSTER_MUST_CHECK enum muster_status muster__child_send_opening(struct child *child, struct child_opening *opening,
                                                                struct muster__wire_message *message,
                                                                struct muster__packed_value *value);
/* The parent said what it may not: the process ends. */
_Noreturn void muster__child_distrust(const char *what);

/* child_worker.c; thread: poller. */
void muster__child_worker_start(struct child *child, const struct muster__wire_message *message);
void muster__child_worker_acquire(struct child_worker *worker);
void muster__child_worker_release(struct child_worker *worker);

/* child_direct.c; thread: poller. */
void muster__child_direct_open(struct child *child, struct muster__wire_message *message);
/* As struct muster__link_ports_options wants it. */
struct muster__link_ports *muster__child_direct_ports(void *user_data, uint32_t number);

/* child_request.c; thread: poller. */
void muster__child_request(struct child *child, struct child_worker *worker,
                           struct muster__wire_message *message);
/* CANCEL, BODY...: of a request. */
void muster__child_request_frame(struct child *child, const struct muster__wire_message *message);

/* child_fetch.c; thread: any. */
/* As muster__worker_listener's `dispatch`. */
MUSTER_MUST_CHECK enum muster_status muster__child_fetch(struct child_worker *worker, const char *scope,
                                                         struct muster__request *request, uint64_t keepalive_until_us);
/* Nobody waits for it any more; nothing if it is no fetch of ours, or was answered. */
void muster__child_fetch_cancel(struct child_worker *worker, const struct muster__request *request);
/* Thread: poller.  BODY... of one. */
void muster__child_fetch_frame(struct child *child, const struct muster__wire_message *message);

#endif
