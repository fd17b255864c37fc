/* cli/http_server.h - HTTP/1.1 in front of a muster instance.
 *
 * Listens, speaks HTTP (cli/http_connection.h) and turns each request into a fetch event for the
 * registration that controls its URL.  Everything that touches sockets and connections runs on whichever
 * pool thread polls at the moment, never two at once and never inside a script; answers are put into wire
 * form on the worker's thread and written on the polling one, all that are ready together.
 */
#ifndef MUSTER_CLI_HTTP_SERVER_H
#define MUSTER_CLI_HTTP_SERVER_H

#include "coordinator/instance.h"

struct muster__http_server;

struct muster__http_server_options {
    struct muster *muster;
    const char *listen; /* "127.0.0.1:8080", "[::1]:0", "unix:/path" */
    uint64_t event_timeout_ms; /* 504 */
    uint64_t body_limit;
    bool dev;                  /* stacks in answers of 500 */
};

/* Listens; `error` names the address and what is wrong with it.  Nothing is accepted yet. */
MUSTER_MUST_CHECK enum muster_status
muster__http_server_new(const struct muster__http_server_options *options,
                        struct muster__http_server **ret_server, struct muster_error *error);
/* Begins to accept. */
MUSTER_MUST_CHECK enum muster_status muster__http_server_start(struct muster__http_server *server);
/* "http://127.0.0.1:8080", with the port that it got; borrowed. */
const char *muster__http_server_address(const struct muster__http_server *server);
/* Thread: any.  Accepts nothing more, answers what is in flight, closes what is idle. */
void muster__http_server_drain(struct muster__http_server *server);
/* Thread: none of muster's.  Waits until no connection is left; false: some are, after that time. */
bool muster__http_server_wait(struct muster__http_server *server, uint64_t timeout_ms);
/* After the pool's threads are gone, or nothing was started.  NULL: no-op. */
void muster__http_server_destroy(struct muster__http_server *server);

#endif
