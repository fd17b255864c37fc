/* coordinator/client.h - clients and ports: an embedder's own place among the workers and pages.
 *
 * Public: installed as <muster/client.h>; <muster/muster.h> includes it.
 *
 * A *client* is what a page is in a browser: it has a URL, so a service worker may control it; service workers
 * find it (`clients.matchAll()`), post to it and are posted to; it holds shared workers.  A *port* is one end of a
 * channel, and may be sent through another; scripts have it as MessagePort.
 *
 * Callbacks come as the instance delivers: on a thread of muster's, or in muster_run_completions(); those of one
 * client or port one at a time and in order, never inside of a call of yours.  `on_close` is the last, exactly once,
 * whoever closed; what user_data points to may go then.  (On a queue that is never run again it does not come.)
 * An instance that closes closes its clients and ports.
 *
 * Thread: any, for every call.
 */
#ifndef MUSTER_CLIENT_H
#define MUSTER_CLIENT_H

#include "base.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster;
struct muster_client;
struct muster_port;

/* What came; borrowed until the callback returns. */
struct muster_message {
    const struct muster_value *value; /* NULL: undefined */
    size_t port_count;                /* ports that came with it: those that you do not take are closed */
    struct muster_port **ports;
};
/* One of a message's ports; it is yours.  NULL: there is none, or it was taken. */
MUSTER_API struct muster_port *muster_message_take_port(const struct muster_message *message, size_t i);

/* ---- ports ---- */

typedef void muster_port_message_fn(struct muster_port *port, const struct muster_message *message, void *user_data);
/* The channel is closed, here or there; `error` says why when it never came about; NULL else. */
typedef void muster_port_close_fn(struct muster_port *port, const struct muster_error *error, void *user_data);

/* Two ends of a channel.  NO_MEMORY, SHUTDOWN. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_port_pair(struct muster *muster,
                                                                 struct muster_port *ret_ports[2]);
/* What came so far, and what comes, goes to these from now on.  Once for each port. */
MUSTER_API void muster_port_set_handler(struct muster_port *port, muster_port_message_fn *on_message,
                                        muster_port_close_fn *on_close, void *user_data);
/* To the other end.  Takes the value (NULL: undefined) and, on MUSTER_OK, the ports: to the one that is sent on
 * nothing comes any more, but `on_close` if it had handlers.  CLOSED; INVALID_ARGUMENT: a port is named twice, is
 * closed, or is the one that it would go through; QUEUE_FULL: 256 MiB wait at the other end. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_port_post(struct muster_port *port,
                                                                 struct muster_value *take_value,
                                                                 struct muster_port *const *take_ports,
                                                                 size_t port_count);
/* Closes it and lets go of it.  NULL: no-op. */
MUSTER_API void muster_port_close(struct muster_port *take_port);

/* ---- clients ---- */

enum muster_client_type { MUSTER_CLIENT_WINDOW, MUSTER_CLIENT_WORKER, MUSTER_CLIENT_SHARED_WORKER };

/* A service worker posted to the client. */
typedef void muster_client_message_fn(struct muster_client *client, const struct muster_message *message,
                                      void *user_data);
/* Another service worker controls the client, or none: muster_client_controller() says which. */
typedef void muster_client_controller_fn(struct muster_client *client, void *user_data);
typedef void muster_client_close_fn(struct muster_client *client, void *user_data);

struct muster_client_options {
    size_t size;
    const char *url;         /* absolute; copied, as is the next */
    const char *storage_key; /* who shares workers and channels with it; NULL: the URL's origin */
    enum muster_client_type type;
    muster_client_message_fn *on_message;       /* each may be NULL */
    muster_client_controller_fn *on_controller;
    muster_client_close_fn *on_close;
    void *user_data;
};

/* The client is there when this returns, for whatever is sent from then on; it is controlled by the service worker
 * that is active for its URL.  INVALID_ARGUMENT, NO_MEMORY, SHUTDOWN, FORKED, SYSTEM (no random numbers). */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_client_open(struct muster *muster,
                                                                   const struct muster_client_options *options,
                                                                   struct muster_client **ret_client);
/* What scripts know it by; as long as the client. */
MUSTER_API const char *muster_client_id(const struct muster_client *client);
/* The number of the controlling version, unique in the instance for ever; 0: none.  Its scope is written as
 * muster_match() does; size 0 writes nothing. */
MUSTER_API uint64_t muster_client_controller(struct muster_client *client, char *scope, size_t size);
/* A `message` event for the service worker that controls it, started if need be; its source is this client.  Takes
 * the value, and the ports as muster_port_post() does.  NOT_FOUND: it is not controlled; CLOSED. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_client_post_to_worker(struct muster_client *client, struct muster_value *take_value,
                             struct muster_port *const *take_ports, size_t port_count);
/* Closes it and lets go of it: what it held is let go.  NULL: no-op. */
MUSTER_API void muster_client_close(struct muster_client *take_client);

struct muster_shared_worker_options {
    size_t size;
    const char *url;
    const char *name;        /* NULL: "" */
    bool module;
    bool extended_lifetime;  /* it lives for a while without anybody who holds it */
    const char *credentials; /* "omit", "same-origin", "include"; NULL: "same-origin" */
};

/* As `new SharedWorker(url, {...}).port`: finds or starts the worker; the port's other end comes to it with a
 * `connect` event.  The client holds the worker until it is closed, whatever becomes of the port.  When the worker
 * does not start, or runs with other options, the port closes with an error. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_shared_worker_connect(struct muster_client *client, const struct muster_shared_worker_options *options,
                             struct muster_port **ret_port);

#ifdef __cplusplus
}
#endif
#endif
