/* remote/shared_memory.h - words that tell what a host has started, in memory that its parent shares.
 * Internal.
 *
 * For each request in a host there is a word: 0 until its turn begins, then 1, written by the host before
 * the turn, so that no kind of death can blur which request had begun.  The parent hands out the words
 * (their indices travel on the wire) and takes them back; the host only writes.  When that turn
 * has ended it writes 2.  Beside them is a
 * heartbeat that the host counts up.
 *
 * The size is sealed: a host can write anything into it, but cannot take it away under the parent.  The
 * parent therefore takes any word but 0 for "started", and believes nothing else in there.
 *
 * Layout, little endian: u32 magic "MSHM", u32 version 1, u32 words, u32 0, u64 heartbeat, 40 bytes 0,
 * then u32 x words.
 */
#ifndef MUSTER_SHARED_MEMORY_H
#define MUSTER_SHARED_MEMORY_H

#include "runtime/base.h"

#define MUSTER__SHARED_MEMORY_WORDS_MAX (1u << 20)

struct muster__shared_memory;

/* ---- in the parent ---- */

/* Thread: any.  `words` from 1 to MUSTER__SHARED_MEMORY_WORDS_MAX, else INVALID_ARGUMENT. */
MUSTER_MUST_CHECK enum muster_status
muster__shared_memory_new(uint32_t words, struct muster__shared_memory **ret_memory);
/* Thread: any.  To be sent to the host; stays the memory's; close-on-exec. */
int muster__shared_memory_fd(const struct muster__shared_memory *memory);
/* Thread: any.  A word that nobody has, with the value 0.  QUEUE_FULL: all are taken. */
MUSTER_MUST_CHECK enum muster_status
muster__shared_memory_take(struct muster__shared_memory *memory, uint32_t *ret_index);
/* Thread: any.  Only when the host can no longer write it: its request has ended there, or it is dead. */
void muster__shared_memory_give_back(struct muster__shared_memory *memory, uint32_t index);
/* Thread: any, while the word is taken. */
bool muster__shared_memory_has_started(const struct muster__shared_memory *memory, uint32_t index);
/* Thread: any, while the word is taken.  The host is in the turn that began it, as far as it says. */
bool muster__shared_memory_runs(const struct muster__shared_memory *memory, uint32_t index);
/* Thread: any.  How many are taken. */
uint32_t muster__shared_memory_taken(const struct muster__shared_memory *memory);
/* Thread: any.  A number that moves on while the host is alive; may be any. */
uint64_t muster__shared_memory_heartbeat(const struct muster__shared_memory *memory);

/* ---- in the host ---- */

/* Thread: any.  Takes the descriptor if it succeeds.  INVALID_ARGUMENT: that is not such a memory. */
MUSTER_MUST_CHECK enum muster_status
muster__shared_memory_attach(int fd, struct muster__shared_memory **ret_memory);
/* Thread: any.  The turn begins now: later loads and stores of this thread stay behind it.  False: there is
 * no such word, and nothing was written. */
MUSTER_MUST_CHECK bool muster__shared_memory_start(struct muster__shared_memory *memory, uint32_t index);
/* Thread: any.  Its first turn has ended; what is left of it waits for something.  Other indices are ignored. */
void muster__shared_memory_rest(struct muster__shared_memory *memory, uint32_t index);
/* Thread: any. */
void muster__shared_memory_beat(struct muster__shared_memory *memory);

/* ---- both ---- */

/* Thread: any, once no other can reach it.  NULL: no-op. */
void muster__shared_memory_destroy(struct muster__shared_memory *take_memory);

#endif
