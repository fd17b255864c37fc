/* remote/link.h - one end of the connection between a parent process and a child that hosts
 * workers.  Internal.
 *
 * Owns two descriptors: a SOCK_STREAM socket with the frames of remote/wire.h, and a SOCK_SEQPACKET
 * socket on which file descriptors travel (optional).  It has no thread and polls nothing: whoever
 * polls calls muster__link_on_ready(), which hands the frames that came to the listener; anyone
 * sends.
 *
 * Sending.  A message is encoded at once, and is either written by the caller (MUSTER__LINK_NOW) or
 * waits, with others, for muster__link_flush().  Messages of one lane arrive in the order in which
 * they were sent.  A lane is a worker, for what its opener says of an actor (and for all that names
 * no actor), an actor, for what the answering side says of it, and a port.  Large values and bodies travel
 * in pieces, round robin over the lanes and behind small messages of other lanes, so that they do
 * not delay those.
 *
 * Receiving.  The listener sees whole messages: a value that came in pieces is put together in
 * memory of its own, which may be taken without a copy.  The first message is HELLO.  The number
 * and the bytes of values that are incomplete are bounded, as is what one call of on_ready reads.
 *
 * Rings.  With `ring` set, a parent whose child says in HELLO that it takes one gives it memory with a ring for each direction
 * (remote/ring.h), and from RING on the same bytes go through those.  The socket stays: its end is the peer's end, behind what
 * stands in the ring, and a byte on it wakes the one that sleeps.  Where there is no such memory the socket goes on alone.
 *
 * Memory.  When `high_mark` bytes wait to be written, openings and reports are refused with
 * QUEUE_FULL, and `drained` tells when fewer than `low_mark` wait.  Results, endings, bodies and
 * credit are never refused: their number is bounded by what was opened and by credit.  A peer that
 * lets `hard_limit` bytes of small messages wait has ended.
 *
 * Ends.  The peer's end, a bad frame, or a failed system call: `ended`, exactly once, from inside
 * on_ready; what came before it was delivered.  After muster__link_close() no callback comes any
 * more but those that are running.  What waited is dropped and its owners are released either way.
 */
#ifndef MUSTER_LINK_H
#define MUSTER_LINK_H

#include "remote/wire.h"

struct muster__link;

enum muster__link_flag {
    MUSTER__LINK_NOW = 1, /* write it on this thread, unless another one writes or the socket is full */
};

/* No lock is held in any of them.  They may send and close, but not destroy. */
struct muster__link_listener {
    /* Thread: the one in on_ready.  Everything in the message is borrowed until the return.
     * Descriptors: those that are not set to -1 in message->descriptors are closed after the
     * return. */
    void (*frame)(void *user_data, struct muster__wire_message *message);
    /* Thread: the one in on_ready.  CLOSED: the peer has ended, perhaps inside a frame;
     * INVALID_ARGUMENT: it sent what no peer may send; QUEUE_FULL: it does not read; NO_MEMORY;
     * SYSTEM. */
    void (*ended)(void *user_data, enum muster_status status, const char *sentence);
    /* Thread: any.  From now on poll for these (EPOLLIN, or EPOLLIN | EPOLLOUT while the socket is
     * full); when edge-triggered, arm them anew.  Calls do not overlap and come in order. */
    void (*interest)(void *user_data, uint32_t events);
    /* Thread: the one that sent without NOW.  Something waits and nobody writes: flush soon.  Once
     * until the next flush. */
    void (*flush_soon)(void *user_data);
    /* Thread: the one that wrote.  Fewer than low_mark bytes wait, after a QUEUE_FULL.  May be NULL. */
    void (*drained)(void *user_data);
};

struct muster__link_options {
    enum muster__wire_side side; /* ours */
    int data_fd;                 /* connected SOCK_STREAM; becomes non-blocking */
    int descriptor_fd;           /* connected SOCK_SEQPACKET; -1: none */
    const struct muster__link_listener *listener; /* lives as long as the link */
    void *user_data;
    /* 0: the default. */
    size_t high_mark, low_mark;  /* bytes that wait: 4 MiB and 1 MiB */
    size_t hard_limit;           /* bytes of small messages that wait: 64 MiB */
    size_t value_limit;          /* bytes of one value that comes in or goes out: 256 MiB */
    size_t incomplete_limit;     /* bytes of all values that come in and are not complete: 512 MiB */
    size_t read_budget;          /* bytes that one on_ready reads, about: 2 MiB */
    int socket_buffer;           /* bytes of the kernel's, each direction: 512 KiB; -1: as it is */
    /* May go on through rings in shared memory, with a descriptor_fd.  Then muster__link_look() and muster__link_sleep() are
     * called as they say. */
    bool ring;
    uint32_t ring_bytes;         /* each direction, the parent's choice; a power of two: 256 KiB */
};

/* Values in pieces that one side may have open at a time; and descriptors' tickets without their
 * frame. */
#define MUSTER__LINK_VALUES_OPEN 16u
#define MUSTER__LINK_TICKETS_OPEN 64u

/* Takes both descriptors, on success only.  NO_MEMORY, SYSTEM. */
MUSTER_MUST_CHECK enum muster_status muster__link_new(const struct muster__link_options *options,
                                                      struct muster__link **ret_link);
/* Thread: any, when no other thread can be in a call of it.  Closes it if need be, and both
 * descriptors. NULL: no-op. */
void muster__link_destroy(struct muster__link *link);
/* Thread: any, repeatable.  Sends answer CLOSED from now on, the peer sees the end, what waits is
 * dropped (muster__link_flush() first if it shall not be). */
void muster__link_close(struct muster__link *link);

/* Thread: any.  The data socket, for polling; constant. */
int muster__link_fd(const struct muster__link *link);
/* Thread: any.  The events wanted now; what `interest` said last. */
uint32_t muster__link_events(const struct muster__link *link);

/* Thread: any, one at a time (the one that polls).  Reads what is there, about read_budget bytes,
 * and writes what waits, as the events say.  True: there may be more to read; call again
 * (edge-triggered: there will be no event for it). */
bool muster__link_on_ready(struct muster__link *link, uint32_t events);
/* Thread: as on_ready.  Is there something in the ring, so that on_ready should be called (with no events)?  Quick. */
bool muster__link_look(const struct muster__link *link);
/* Thread: as on_ready.  True: an event will tell when there is something in the ring; false: there is something now.  After
 * on_ready returned no event need come until this was called. */
MUSTER_MUST_CHECK bool muster__link_sleep(struct muster__link *link);
/* Thread: any, also in `frame`.  While paused nothing is read, so that the peer has to wait.  After
 * resuming call on_ready(EPOLLIN). */
void muster__link_pause(struct muster__link *link, bool paused);

/* Thread: any.  Copies what it needs before it returns.  OK: it will be written unless the link
 * ends first. QUEUE_FULL, CLOSED, NO_MEMORY, INVALID_ARGUMENT (see muster__wire_encode): nothing
 * was sent. A BODY may be of any length up to value_limit; the link cuts it.  message->descriptors
 * (descriptor_count of them): the link makes the ticket, and on OK takes and closes them here; they
 * are refused (QUEUE_FULL) while the descriptors' socket is full, whatever the message. */
MUSTER_MUST_CHECK enum muster_status muster__link_send(struct muster__link *link,
                                                       const struct muster__wire_message *message,
                                                       unsigned flags);
/* As above, but the bytes and buffers of message->value (or piece.bytes of a BODY) are not copied:
 * on OK they are kept until they are written or dropped, then `release(owner)` is called, exactly
 * once, on any thread, perhaps before the return. */
MUSTER_MUST_CHECK enum muster_status
muster__link_send_owned(struct muster__link *link, const struct muster__wire_message *message, unsigned flags,
                        void (*release)(void *owner), void *owner);
/* Thread: any.  Would an opening be taken now?  False: not; `drained` comes, unless the link has ended. */
bool muster__link_has_room(struct muster__link *link);
/* Thread: any.  Writes what waits until the socket is full. */
void muster__link_flush(struct muster__link *link);

/* Thread: the one in `frame`, for the message it was given.  The memory of value.bytes (part 0) or
 * of value.buffers[part - 1], for the caller to free(): the bytes stay where they are.  NULL: it
 * did not come in pieces (or was taken already); copy it. */
void *muster__link_take_part(struct muster__link *link, uint32_t part);

struct muster__link_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out, reads, writes;
    size_t waiting;      /* bytes to be written */
    size_t incomplete;   /* bytes declared of values that are not complete */
    unsigned descriptors_parked;
    bool ring_in, ring_out; /* these bytes go through shared memory by now */
};
/* Thread: any; the figures of what comes in are those of the last on_ready that ended. */
void muster__link_stats(struct muster__link *link, struct muster__link_stats *ret_stats);

#endif
