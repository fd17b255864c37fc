/* runtime/port.h - message ports: two entangled ends, each with a queue, that workers, clients and the
 * coordinator hold, and hand on to each other.  Internal.
 *
 * A port is one end of a channel (HTML, "channel messaging").  What is posted on one end is queued at the
 * other, in order, also while nobody owns that end: so an end can be handed on with its queue, and nothing
 * is lost or doubled.  Whoever owns an end hears that there is something in it by `ready`, and takes it out
 * when it wants.  An end whose other end was closed, or whose owner went, says so by `is_closed` once its
 * queue is empty: that is the standard's close event.
 *
 * The owner of an end may also be a link to another process, which carries everything over
 * (remote/link_port.h): then this end and the far one behave as one.
 *
 * Thread: any, for all of it; an end belongs to one owner at a time, and only that one takes, detaches and
 * closes.  No lock is held while `ready` is called.  Counted: each end has one reference for whoever holds it.
 */
#ifndef MUSTER_PORT_H
#define MUSTER_PORT_H

#include "runtime/value.h"

struct muster__port;

/* What is posted.  It owns all its parts. */
struct muster__port_message {
    struct muster__port_message *next; /* the queue's */
    struct muster_value *head; /* what the two ends say to each other beside scripts; NULL: nothing */
    struct muster_value *data; /* what a script posted, usually a clone; NULL: undefined */
    size_t bytes; /* its weight in a backlog; 0: post() reckons it */
    uint64_t barrier; /* of links (remote/link_port.h): from here on it goes another way; 0: a message as any */
    size_t small; /* not 0: so many bytes of a clone behind it; see muster__port_post_small() */
    size_t port_count;
    struct muster__port *ports[]; /* entries of the host's table in `data`, in order: ends without an owner */
};

/* One with room for `port_count` ends, all NULL.  Takes head and data, also on failure (NULL: out of memory).
 * An end that is put into it goes with its reference; whoever takes it out leaves NULL. */
struct muster__port_message *muster__port_message_new(struct muster_value *take_head,
                                                      struct muster_value *take_data, size_t port_count);
/* Closes the ends that are still in it.  NULL: no-op. */
void muster__port_message_destroy(struct muster__port_message *message);

struct muster__port_owner_class {
    /* Something waits in the port, or it was closed.  Comes once, until take() has said that nothing is left.
     * Thread: any (the poster's); no lock is held; must not block; may not take, attach, detach or close. */
    void (*ready)(struct muster__port *port, void *owner);
    /* What muster__port_watch() waited for.  The same rules.  May be NULL: it does not watch. */
    void (*drained)(struct muster__port *port, void *owner);
};

/* Two ends, entangled; neither has an owner.  NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__port_pair(struct muster__port *ret_ends[2]);
struct muster__port *muster__port_acquire(struct muster__port *port);
/* The last reference of an end that was not closed closes it.  NULL: no-op. */
void muster__port_release(struct muster__port *port);

/* The end belongs to `owner` from now on; `ready` comes, perhaps before this returns, if something waits there. */
void muster__port_attach(struct muster__port *port, const struct muster__port_owner_class *class, void *owner);
/* The end belongs to nobody, to be handed on; its queue stays.  After it returns `ready` is not running and
 * will not come any more for that owner: so the caller holds no lock that `ready` takes. */
void muster__port_detach(struct muster__port *port);

/* To the other end.  Takes the message in any case; if the other end is closed it is destroyed.  A message that
 * holds the other end itself is destroyed, and with it the channel (HTML, "postMessage", step on the target port);
 * so is one that would put an end into a queue that only it leads to, directly or over other queues. */
void muster__port_post(struct muster__port *port, struct muster__port_message *take_message);
/* The next message; NULL: nothing waits now (then `ready` will come again).  Without the memory for one that was small
 * the end is closed. */
struct muster__port_message *muster__port_take(struct muster__port *port);

/* ---- for an owner that takes, posts, detaches and closes in one thread ---- */

#define MUSTER__PORT_SMALL 128u /* bytes */

/* As muster__port_take(), without a lock as a rule.  Small messages come as they were posted. */
struct muster__port_message *muster__port_read(struct muster__port *port);
/* Whether the next muster__port_read() answers a message for sure. */
bool muster__port_reads_on(const struct muster__port *port);
/* What a small one says. */
static inline struct muster_bytes muster__port_message_small(const struct muster__port_message *message)
{
    return (struct muster_bytes){(const char *)(message + 1), message->small};
}
/* The same as a message like any other; as it is if it is not small.  NULL: out of memory, and it is destroyed. */
struct muster__port_message *muster__port_message_enlarge(struct muster__port_message *take_message);
/* Instead of muster__port_message_destroy(), for what was read on that end: a small one's memory goes round. */
void muster__port_message_was_read(struct muster__port *port, struct muster__port_message *take_message);
/* A message of data alone, which is a clone in web mode of 1 to MUSTER__PORT_SMALL bytes without buffers or entries of the
 * host's table; the bytes are borrowed.  Others take it as a message like any.  False: out of memory. */
MUSTER_MUST_CHECK bool muster__port_post_small(struct muster__port *port, const void *bytes, size_t length);
/* Nothing waits, and nothing will come. */
bool muster__port_is_closed(const struct muster__port *port);
/* The other end hears of it after what was posted; what waits here is destroyed.  Detaches, as above.  Repeatable. */
void muster__port_close(struct muster__port *port);

/* How much waits at the other end, in messages and in bytes: for back-pressure. */
struct muster__port_backlog {
    size_t messages, bytes;
};
struct muster__port_backlog muster__port_backlog(const struct muster__port *port);
/* So much waits there that a script's next message is refused: its reader does not read.  One message may be longer
 * than that.  Thread: the poster's. */
#define MUSTER__PORT_FULL (256u << 20)
bool muster__port_is_full(const struct muster__port *port);

/* `drained` comes once as soon as no more than `bytes` wait at the other end; perhaps before this returns.  Not
 * when that is closed: then `ready` comes. */
void muster__port_watch(struct muster__port *port, size_t bytes);

/* Who owns the other end, if that is an owner of this class; else NULL.  `acquire` is called for it meanwhile, under
 * a lock of the port's. */
void *muster__port_peer_owner(const struct muster__port *port, const struct muster__port_owner_class *class,
                              void (*acquire)(void *owner));
/* Whether these are the two ends of one channel. */
bool muster__port_is_entangled(const struct muster__port *port, const struct muster__port *other);

#endif
