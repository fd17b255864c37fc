/* remote/body_pump.h - the body of a request or a response, between a stream and the wire.  Internal.
 *
 * An outgoing pump reads a stream and sends BODY frames as far as the peer gave credit.  An incoming one writes
 * what comes into a stream, and gives credit for what the stream took: at most a window waits here, however
 * slow the reader is.  Either side's abort reaches the other.  Reading and writing happen in turns of a pool.
 */
#ifndef MUSTER_BODY_PUMP_H
#define MUSTER_BODY_PUMP_H

#include "remote/link.h"
#include "runtime/pool.h"

/* Bytes that may be on their way without having been read; both sides know it. */
#define MUSTER__BODY_WINDOW (256u << 10)

struct muster__body_pump;

struct muster__body_route {
    struct muster__pool *pool;
    struct muster__link *link; /* outlives the pump: see `done` */
    uint32_t worker;
    uint64_t actor;
    uint8_t flags; /* MUSTER__WIRE_FLAG_RESPONSE: it is the answer's body */
    /* Thread: any.  Outgoing: the peer has begun to use the body; from then on it cannot be taken back.  NULL: it
     * never can, and nothing is kept. */
    bool (*begun)(void *user_data);
    /* Thread: any.  Once: nothing more of this body is sent or will be heard of, the link is not used any more. */
    void (*done)(void *user_data);
    void *user_data;
};

/* Thread: any.  Acquires the stream, whose reader it is from its start on.  One reference, the caller's. */
MUSTER_MUST_CHECK enum muster_status muster__body_pump_out(const struct muster__body_route *route,
                                                           struct muster_stream *stream,
                                                           struct muster__body_pump **ret_pump);
/* Thread: any, once, for an outgoing one; nothing, if it was taken back or stopped meanwhile. */
void muster__body_pump_start(struct muster__body_pump *pump);
/* Thread: any, not while a lock of the link or of the user of `done` is held.  Outgoing: what was sent is in the stream
 * again, and the stream is nobody's.  False: it is not whole any more. */
MUSTER_MUST_CHECK bool muster__body_pump_take_back(struct muster__body_pump *pump);
/* Thread: any.  Makes the stream; *ret_stream is the reader's end, the caller's. */
MUSTER_MUST_CHECK enum muster_status muster__body_pump_in(const struct muster__body_route *route,
                                                          struct muster_stream **ret_stream,
                                                          struct muster__body_pump **ret_pump);
/* Thread: one at a time (the one that polls the link).  A BODY... frame of this body came.  False: no peer may send that. */
MUSTER_MUST_CHECK bool muster__body_pump_frame(struct muster__body_pump *pump,
                                               const struct muster__wire_message *message);
/* Thread: any.  Ends it from here: the stream is aborted with that status, and the peer is told. */
void muster__body_pump_stop(struct muster__body_pump *pump, enum muster_status status, const char *message);
void muster__body_pump_release(struct muster__body_pump *pump); /* NULL: no-op */

#endif
