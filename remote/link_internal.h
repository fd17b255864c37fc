/* remote/link_internal.h - the inside of a link, for remote/link*.c only.
 *
 * Three groups of fields: constant ones; `out`, guarded by the lock, of which `batch` belongs to
 * the thread that has set `writing`; and `in`, which belongs to the thread in on_ready.  No
 * callback runs under the lock.
 */
#ifndef MUSTER_LINK_INTERNAL_H
#define MUSTER_LINK_INTERNAL_H

#include <pthread.h>
#include <sys/uio.h>

#include "remote/link.h"
#include "remote/ring.h"

#define MUSTER__LINK_LANE_BUCKETS 64u
#define MUSTER__LINK_BATCH_VECTORS 64u
#define MUSTER__LINK_BATCH_PIECES 8u

/* A message that waits in a lane: a frame, and what travels in pieces behind it. */
struct muster__link_item {
    struct muster__link_item *next;
    struct muster__wire_buffer frame; /* empty: a body's bytes have no frame of their own */
    bool frame_taken;                 /* by a batch */
    bool has_ticket;
    enum muster__wire_type piece_type;
    uint8_t flags;
    uint32_t worker;
    uint64_t actor;
    void (*release)(void *owner);
    void *owner;
    uint32_t part, part_count; /* the part that comes next, and from where */
    size_t offset;
    struct muster_bytes parts[];
};

struct muster__link_lane {
    struct muster__link_lane *next; /* active, or waiting to become so */
    struct muster__link_lane *bucket_next;
    uint64_t key; /* a worker, an actor, or a port */
    bool is_worker;
    uint32_t worker; /* of all that waits in it; 0: a port's */
    struct muster__link_item *first, *last;
};

struct muster__link_lanes {
    struct muster__link_lane *first, *last;
    unsigned count;
};

/* What one thread writes now: gathered under the lock, written outside. */
struct muster__link_batch {
    struct muster__wire_buffer small;
    struct iovec vectors[MUSTER__LINK_BATCH_VECTORS];
    unsigned first, count;
    char headers[MUSTER__LINK_BATCH_PIECES][MUSTER__WIRE_PIECE_HEADER];
    unsigned pieces;
    size_t accounted;               /* of link->out.waiting */
    bool is_switch;                 /* it is RING, the last that goes through the socket */
    struct muster__link_item *done; /* to be released when it is written */
};

/* A value that comes in pieces. */
struct muster__link_incoming {
    struct muster__link_incoming *next;
    uint32_t worker;
    uint64_t actor;
    size_t total;
    char *frame; /* a copy of the one that opened it */
    size_t frame_length;
    int descriptors[MUSTER__WIRE_DESCRIPTOR_LIMIT];
    uint32_t descriptor_count;
    uint32_t part, part_count;
    size_t offset;
    struct {
        char *data;
        size_t length;
    } parts[];
};

/* Descriptors whose frame has not come. */
struct muster__link_parked {
    uint32_t ticket, count;
    int descriptors[MUSTER__WIRE_DESCRIPTOR_LIMIT];
};

struct muster__link {
    /* Constant. */
    struct muster__link_options options;

    atomic_bool closed; /* by us: no callback any more */
    struct muster__ring *ring; /* set by the thread in on_ready, once; then constant */

    pthread_mutex_t lock;
    struct {
        bool writing;     /* a thread has the batch */
        bool again;       /* asked to flush meanwhile */
        bool full;        /* the socket was, when last tried */
        bool broken;      /* it cannot be written to any more */
        bool flush_asked; /* flush_soon was called and no flush came */
        bool refused;     /* a QUEUE_FULL was answered */
        uint32_t interest;
        struct muster__wire_buffer small; /* frames that wait, in order */
        unsigned small_frames;
        size_t small_last; /* where the last of them begins */
        unsigned small_tickets;
        unsigned tickets; /* of all frames that no batch has taken */
        uint32_t last_ticket;
        struct muster__link_lanes active, waiting_lanes;
        struct muster__link_lane *buckets[MUSTER__LINK_LANE_BUCKETS];
        struct muster__link_item *farewells; /* each waits until its worker has no lane any more */
        size_t waiting;
        enum muster_status failure; /* why it is broken, if not by the peer's end */
        const char *failure_sentence;
        struct muster__link_stats stats; /* of both directions */
        struct muster__link_batch batch;
        bool switches;  /* RING is to be sent as soon as nothing is half written */
        int ring_fd;    /* and this with it; -1: none */
        bool ring;      /* bytes go there; changed by the one that writes, under the lock */
    } out;

    struct {
        bool ended; /* was said */
        atomic_bool paused;
        bool greeted; /* HELLO came */
        bool peer_ended; /* and its end stands behind what is still to be read */
        bool ring;       /* bytes come from there */
        int error;       /* of the socket, when it ended beside the ring; 0: none */
        char *data;
        size_t begin, end, capacity;
        size_t needed; /* bytes of the frame at `begin`; 0: unknown */
        struct muster__wire_scratch scratch;
        struct muster__link_incoming *incoming;
        unsigned incoming_count;
        size_t incomplete;
        struct muster__link_incoming *direct; /* whose piece is in the middle */
        size_t direct_left, direct_padding;
        struct muster__link_incoming *delivering;
        struct muster__link_parked parked[MUSTER__LINK_TICKETS_OPEN];
        unsigned parked_count;
        uint64_t frames, bytes, reads;
        enum muster_status failure;
        char sentence[256];
    } in;
};

/* link_send.c */
/* Lets go of everything that waits, now that nothing is written any more; leaves the lock in between.  What a thread
 * is writing just now it drops itself, when it comes back from the system call. */
void muster__link_drop_all_locked(struct muster__link *link);
/* Thread: any.  Nothing can be written any more; on_ready will tell. */
void muster__link_break(struct muster__link *link, enum muster_status status, const char *sentence);
/* Thread: the one in on_ready.  link->ring is set: RING goes out, with that descriptor (taken; -1: none), and then all else through the
 * ring. */
void muster__link_switch(struct muster__link *link, int ring_fd);
/* Thread: any, without the lock.  Wakes the peer.  False, with errno: it has ended. */
MUSTER_MUST_CHECK bool muster__link_ring_bell(struct muster__link *link);
/* link_receive.c */
void muster__link_forget_incoming(struct muster__link *link);
void muster__link_drop_unread_descriptors(struct muster__link *link);

#endif
