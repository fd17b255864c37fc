/* cli/http_connection.h - one HTTP/1.1 connection as a state machine over bytes.
 *
 * No sockets, no clock and no threads in it: the owner feeds what it read, takes what is to be written,
 * and passes the time in.  One thread at a time is the owner of a connection; all connections of one
 * loop share a pool of spare exchanges, which has the same owner.  "Thread: owner" means that one.
 *
 * What goes round:
 *   1. The owner reads a socket into a scratch buffer of its own and calls feed.  For each complete
 *      request `on_request` hands out an exchange, whose first member is a muster__request of kind FETCH
 *      with `http` filled.  All of it is the exchange's own memory, valid as long as the exchange.
 *   2. Whoever settles the request, on whatever thread, calls muster__http_exchange_answer (or
 *      _answer_status) once: that copies the response into the exchange in its wire form.
 *   3. Back on the owner's thread, muster__http_connection_answer_ready lets it leave when its turn comes:
 *      answers leave in the order of the requests, all that are ready by one writev: output, write, wrote.
 *   4. When answer and request body are through and nobody else holds the request, the exchange
 *      goes back to the pool: a busy connection allocates nothing, an idle one holds no buffer.
 *
 * Bodies: a request body that is complete at once, or short and announced by a length, is `http.body`; any
 * other is `http.body_stream`, filled while it arrives.  When the stream is full, wants_input says
 * false until its reader made room.  A response body that is a stream is pulled when its predecessors have
 * left; chunked unless it has a content-length; to HTTP/1.0 it is ended by closing.
 *
 * A connection that dies first leaves its exchanges to whoever holds them: their answers go nowhere.
 *
 * Refused with a ready-made answer, after which the connection closes: 400 (not HTTP, ambiguous framing, a
 * bad or missing Host), 408 (slow head or body), 413, 417, 431, 501 (unknown method or transfer coding),
 * 505 (HTTP/2 and other versions).
 */
#ifndef MUSTER_CLI_HTTP_CONNECTION_H
#define MUSTER_CLI_HTTP_CONNECTION_H

#include <sys/uio.h>

#include "cli/http_exchange.h"

struct muster__http_pool;

/* Zero means the default in brackets. */
struct muster__http_options {
    size_t head_limit;         /* bytes of request line and headers [16 KiB]: 431 */
    size_t header_count_limit; /* [128]: 431 */
    uint64_t body_limit;       /* bytes of content [16 MiB]: 413 */
    size_t small_body_limit;   /* announced bodies up to here come as bytes [16 KiB] */
    size_t stream_capacity;    /* [64 KiB] */
    unsigned pipeline_depth;   /* requests in work on one connection [16] */
    size_t spare_exchanges;    /* kept in the pool [256] */
    uint64_t head_timeout_ms;  /* first byte of a head to its last [10 s]: 408 */
    uint64_t body_timeout_ms;  /* without any progress of a request body [30 s]: 408 */
    uint64_t idle_timeout_ms;  /* without a request [60 s]: closed without a word */
    uint64_t write_timeout_ms; /* without any progress of what we write [30 s]: closed */
    const char *default_authority; /* for HTTP/1.0 without Host ["localhost"]; borrowed for ever */

    /* Class of every request; its destroy must be muster__http_exchange_destroy. */
    const struct muster__request_class *request_class;

    /* Thread: owner, from inside feed, resume, output and wrote.  Acquire the request to keep it, and
     * release it after answer_ready; every request needs an answer in the end.  Of the functions below
     * only answer_ready may be called from inside here, and no script may run in here. */
    void (*on_request)(struct muster__http_exchange *exchange, void *connection_data);
    /* Thread: owner, from inside destroy.  The client of a request without an answer is gone: the answer
     * is no longer wanted.  Optional. */
    void (*on_gone)(struct muster__http_exchange *exchange, void *connection_data);
    /* Thread: any.  A body stream moved: note it, and on the owner's thread call resume, then see output
     * and wants_input.  May come spuriously, never after destroy returned.  Must not block, must call
     * nothing of these modules, and must take no lock that the owner holds while it calls them. */
    void (*wake)(void *connection_data);
};

/* Thread: owner.  Borrows nothing but what the options say. */
MUSTER_MUST_CHECK enum muster_status
muster__http_pool_new(const struct muster__http_options *options, struct muster__http_pool **ret_pool);
/* Thread: owner; all its connections are gone.  Exchanges that others still hold live on. */
void muster__http_pool_destroy(struct muster__http_pool *pool);
/* Thread: owner.  The text for ready-made refusals; call it each second. */
void muster__http_pool_set_date(struct muster__http_pool *pool, const char *date);

/* Thread: owner, for all of these.  Times are monotonic microseconds. */
MUSTER_MUST_CHECK enum muster_status
muster__http_connection_new(struct muster__http_pool *pool, void *connection_data, uint64_t now_us,
                            struct muster__http_connection **ret_connection);
/* Detaches what is in flight; NULL: no-op. */
void muster__http_connection_destroy(struct muster__http_connection *connection);

/* Takes all of the bytes; call only when wants_input says so (what comes otherwise is kept or dropped,
 * without a bound on what is kept). */
void muster__http_connection_feed(struct muster__http_connection *connection, const char *data,
                                  size_t length, uint64_t now_us);
/* The client will send no more; what it asked for is still answered. */
void muster__http_connection_eof(struct muster__http_connection *connection, uint64_t now_us);
/* A stream moved. */
void muster__http_connection_resume(struct muster__http_connection *connection, uint64_t now_us);
/* Refuses further requests: closes when what is in flight is answered, at once when idle. */
void muster__http_connection_drain(struct muster__http_connection *connection, uint64_t now_us);

/* Fills at most `size` spans with what may be written now, and says how many; pulls from response
 * streams.  The spans are valid until the next call of any of these. */
size_t muster__http_connection_output(struct muster__http_connection *connection, struct iovec *spans,
                                      size_t size, uint64_t now_us);
/* `length` bytes of the last output were written.  Continues with requests that had to wait. */
void muster__http_connection_wrote(struct muster__http_connection *connection, size_t length,
                                   uint64_t now_us);

/* Whether to read. */
bool muster__http_connection_wants_input(const struct muster__http_connection *connection);
/* When to call tick at the latest; UINT64_MAX: no need. */
uint64_t muster__http_connection_deadline(const struct muster__http_connection *connection);
void muster__http_connection_tick(struct muster__http_connection *connection, uint64_t now_us);
/* Everything was written that will be: shut the socket down for writing, once, but go on reading until
 * is_done, or closing would destroy an answer that is under way. */
bool muster__http_connection_wants_shutdown(const struct muster__http_connection *connection);
/* Close the socket and destroy. */
bool muster__http_connection_is_done(const struct muster__http_connection *connection);
/* No request in flight, nothing read in part, nothing to write. */
bool muster__http_connection_is_idle(const struct muster__http_connection *connection);
void *muster__http_connection_data(const struct muster__http_connection *connection);

/* Thread: owner.  The answer may leave.  NULL: the connection is gone, and so is the answer; else the
 * connection whose output is to be looked at. */
struct muster__http_connection *
muster__http_connection_answer_ready(struct muster__http_exchange *exchange, uint64_t now_us);
#endif
