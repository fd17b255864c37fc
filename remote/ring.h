/* remote/ring.h - bytes between a parent and its child through memory that both have.  Internal.
 *
 * Two rings, one for each direction, in one sealed file in memory.  A ring is a pipe of bytes: what is written at one
 * end is read at the other, in order; it has no frames and no descriptors, and it wakes nobody.  Whoever has to
 * be woken says so in the memory, and the calls tell when the other end has to be rung: how, is their caller's.
 *
 * Thread: one writes at a time, one reads at a time, and both may do so at once.
 *
 * No wake-up is lost.  A reader that wants to sleep first says `asleep`, and then looks for bytes again; a writer
 * first says what it has written, and then looks whether the reader is asleep.  All four are sequentially consistent, so at
 * least one of the two sees what the other said: the reader stays awake, or the writer rings.  Likewise for a
 * writer that wants room.
 *
 * The peer is not trusted.  Its position is read once and may be no further away than the ring is long, else
 * INVALID_ARGUMENT; one's own position is kept outside of the memory; bytes are copied out before anybody looks at
 * them.  What it writes otherwise, it reads or misses itself.
 *
 * Layout, little endian: u32 magic "MRNG", u32 version 1, u32 bytes of each ring (a power of two), 52 bytes 0; then
 * for the ring that the parent writes, and for the one that the child writes: u32 written, u32 wants room, 56 bytes 0, u32 read,
 * u32 asleep, 56 bytes 0; from 4096 on the bytes of the first ring, and then those of the second.  Positions count bytes,
 * modulo 2^32. */
#ifndef MUSTER_RING_H
#define MUSTER_RING_H

#include <sys/uio.h>

#include "runtime/base.h"

#define MUSTER__RING_BYTES_LEAST 4096u
#define MUSTER__RING_BYTES_MOST (1u << 24)

struct muster__ring;

/* Thread: any.  The parent's end, with both readers asleep, and a descriptor for the child, which is the caller's;
 * close-on-exec.  `bytes` of each direction: a power of two within the limits above, else INVALID_ARGUMENT; NO_MEMORY, SYSTEM. */
MUSTER_MUST_CHECK enum muster_status muster__ring_new(uint32_t bytes, struct muster__ring **ret_ring, int *ret_fd);
/* Thread: any.  The child's end; the descriptor stays the caller's, and is not needed any more.  INVALID_ARGUMENT: that
 * is not such a file; NO_MEMORY, SYSTEM. */
MUSTER_MUST_CHECK enum muster_status muster__ring_attach(int fd, struct muster__ring **ret_ring);
/* Thread: any, once no other can reach it.  NULL: no-op. */
void muster__ring_destroy(struct muster__ring *take_ring);

/* Thread: the one that writes.  As much as there is room for; *ret_written 0: it is full.  *ret_wake: the reader sleeps, and
 * is to be rung; it is told once. */
MUSTER_MUST_CHECK enum muster_status muster__ring_write(struct muster__ring *ring, const struct iovec *vectors,
                                                        unsigned count, size_t *ret_written, bool *ret_wake);
/* Thread: the one that writes, when it is full.  True: the reader will ring when half of it is free; false: there
 * is room after all. */
MUSTER_MUST_CHECK bool muster__ring_want_room(struct muster__ring *ring);

/* Thread: the one that reads.  As much as there is; *ret_read 0: it is empty.  *ret_wake: the writer wants room, there
 * is some now, and it is to be rung; it is told once. */
MUSTER_MUST_CHECK enum muster_status muster__ring_read(struct muster__ring *ring, const struct iovec *vectors,
                                                       unsigned count, size_t *ret_read, bool *ret_wake);
/* Thread: the one that reads.  Is there something to be read (or wrong)?  Quick. */
bool muster__ring_has_bytes(const struct muster__ring *ring);
/* Thread: the one that reads.  True: the writer will ring; false: there is something after all. */
MUSTER_MUST_CHECK bool muster__ring_sleep(struct muster__ring *ring);

#endif
