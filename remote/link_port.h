/* remote/link_port.h - message ports whose two ends live on two sides of a link.  Internal.
 *
 * A port that is handed over stays here in part: its end belongs to the link from then on, and what waits in it,
 * and what is posted to it later, goes over as messages.  There, the link makes a channel of its own, one end of
 * which it gives to whoever was meant; what is posted there comes back the same way.  So both behave as one, in
 * order, through as many processes as an end has come; closing one side, or the end of the link, closes the other.
 *
 * Flow: on each port there may be a window of what the reader has not taken, and a bound on all ports together; the
 * rest waits where it was posted.  Whoever posts for a slow reader sees the backlog (muster__port_backlog).
 *
 * Both processes use this file; a peer that is not trusted (a child, to its parent) may say what it likes: what is
 * not allowed ends in `fault`.  docs/wire.md has the frames.
 *
 * Thread: any, unless it says poller: the one in muster__link_on_ready(), or with nobody in it.
 */
#ifndef MUSTER_LINK_PORT_H
#define MUSTER_LINK_PORT_H

#include "remote/link.h"
#include "runtime/pool.h"
#include "runtime/port.h"

struct muster__link_ports;

struct muster__link_ports_options {
    struct muster__link *link; /* outlives it */
    struct muster__pool *pool;
    enum muster__wire_side side; /* ours */
    bool trusts;                 /* the peer's values are not looked at */
    /* Thread: poller; no lock is held.  The peer sent what it may not: "a message on a port that it does not have". */
    void (*fault)(void *user_data, const char *sentence);
    /* Whatever keeps the link and this alive, while a turn is queued or runs; may be NULL. */
    void (*acquire)(void *user_data);
    void (*release)(void *user_data);

    /* The parent's, else NULL.  Thread: any; no lock is held.  The two ends of one channel have come to live behind this
     * link and that one: may what they say go another way, past this process?  True: over the channel that both
     * peers have heard of by DIRECT before this returns, under that number (one that no port had before). */
    bool (*meet)(void *user_data, void *other_user_data, uint64_t *ret_id);
    /* The child's, else NULL.  Thread: poller.  The ports of the channel with that number, with a reference to what keeps
     * them; NULL: there is none. */
    struct muster__link_ports *(*channel)(void *user_data, uint32_t number);
    /* The child's, of a channel to another one, else NULL.  Thread: any.  A port of the worker's keeps it alive. */
    void (*hold)(void *user_data, uint32_t worker, bool taken);
    void *user_data;
};

/* Numbers that meet() gives: the channel they go over is in them. */
#define MUSTER__LINK_PORT_MOVED(channel, count) \
    (MUSTER__WIRE_FIRST_MOVED | (uint64_t)(channel) << 32 | (uint64_t)(count) << 1)

/* NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__link_ports_new(const struct muster__link_ports_options *options,
                                                            struct muster__link_ports **ret_ports);
/* The link has ended: all that is on this side of it is closed.  Repeatable. */
void muster__link_ports_end(struct muster__link_ports *ports);
/* When no other thread can be in a call of it; ends it.  NULL: no-op. */
void muster__link_ports_destroy(struct muster__link_ports *ports);

/* Thread: poller.  A PORT_... frame came. */
void muster__link_ports_frame(struct muster__link_ports *ports, const struct muster__wire_message *message);
/* The link's `drained`. */
void muster__link_ports_drained(struct muster__link_ports *ports);

/* Takes the end, which has no owner, and opens a port over there.  The answer is its number, for the message that
 * names it, which is to be sent next (or the number retracted); 0: it could not be, and is closed, which a message may say
 * as well.  `held`: nothing is sent on it until the peer has accepted it, so that it may still be taken back. */
uint64_t muster__link_ports_open(struct muster__link_ports *ports, struct muster__port *take_port, bool held);
/* No message names it after all: it is closed. */
void muster__link_ports_retract(struct muster__link_ports *ports, uint64_t id);
/* A held one that the peer never accepted, as it was; NULL: it did, and keeps it. */
struct muster__port *muster__link_ports_take_back(struct muster__link_ports *ports, uint64_t id);

/* The end that the peer meant for whoever its message reaches.  Once for each number; 0 gives one whose other end is
 * closed.  `worker`: whose it is; what comes with its messages is that worker's as well; 0: nobody's.  NOT_FOUND: the peer
 * has not opened that, or named it before; NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__link_ports_claim(struct muster__link_ports *ports, uint64_t id,
                                                              uint32_t worker, struct muster__port **ret_port);
/* What the peer holds back may come. */
void muster__link_ports_accept(struct muster__link_ports *ports, uint64_t id);

struct muster__link_ports_stats {
    size_t ports;             /* that are open, or whose end the peer has not confirmed */
    uint64_t unread_here, unread_there; /* weight of what was sent over and not taken */
};
void muster__link_ports_stats(struct muster__link_ports *ports, struct muster__link_ports_stats *ret_stats);

#endif
