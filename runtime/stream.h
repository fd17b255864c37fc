/* runtime/stream.h - a bounded pipe of bytes between two ends, which may be on different threads.
 *
 * Public: installed as <muster/stream.h>.
 *
 * One end writes, the other reads.  Nothing blocks: a write that does not fit is refused in part and
 * the writer hears from `on_writable` when there is room again; a read that finds nothing says
 * MUSTER_PENDING and the reader hears from `on_readable`.  Bodies of requests and responses travel so,
 * from any engine and from C alike.
 *
 * A stream ends in exactly one way: closed (all bytes were read), or aborted by either end with an
 * error that the other end sees.  Each end holds one reference.
 *
 * Callbacks come on the thread of the other end's call, after the lock is left, and may come
 * spuriously; they must not block and must not call back into the same stream: note the fact and
 * wake your own thread.  An abort wakes both ends, so the one who aborts hears of it as well.
 *
 * An end hears of what changes after it was turned away, or after it put its callback there: put the
 * callback there first, then read (or write) until you are turned away.
 */
#ifndef MUSTER_STREAM_H
#define MUSTER_STREAM_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_stream;

typedef void muster_stream_wake_fn(void *user_data);

/* Thread: any.  `capacity` bytes may wait (0: 64 KiB).  Two references: one for each end. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_stream_new(size_t capacity,
                                                                  struct muster_stream **ret_stream);
/* Thread: any. */
MUSTER_API struct muster_stream *muster_stream_acquire(struct muster_stream *stream);
MUSTER_API void muster_stream_release(struct muster_stream *stream); /* NULL: no-op */

/* Thread: the end's own.  Replaces the callback, NULL removes it; after the return the old one is not
 * running and will not be called again.  So do not call it while holding a lock that the old callback
 * takes; the callback may take any lock under which others read and write. */
MUSTER_API void muster_stream_on_readable(struct muster_stream *stream, muster_stream_wake_fn *wake,
                                          void *user_data);
MUSTER_API void muster_stream_on_writable(struct muster_stream *stream, muster_stream_wake_fn *wake,
                                          void *user_data);

/* Thread: the writer's.  Copies as much as there is room for and says how much; less than `length`
 * means: wait for on_writable.  MUSTER_CLOSED after close or abort. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_stream_write(struct muster_stream *stream, const void *data, size_t length,
                    size_t *ret_written);
/* Thread: the writer's.  No more bytes will come.  A second close does nothing. */
MUSTER_API void muster_stream_close(struct muster_stream *stream);
/* Thread: either end's.  What waits is dropped; both ends see `status` from now on.  The first abort
 * wins; after a close that was read to its end it does nothing. */
MUSTER_API void muster_stream_abort(struct muster_stream *stream, enum muster_status status,
                                    const char *message);

/* Thread: the reader's.  MUSTER_OK with *ret_length > 0; MUSTER_OK with 0: closed, the end;
 * MUSTER_PENDING: nothing yet; else the status of the abort. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_stream_read(struct muster_stream *stream, void *buffer, size_t size, size_t *ret_length);
/* Thread: any.  Bytes that wait to be read. */
MUSTER_API size_t muster_stream_buffered(const struct muster_stream *stream);
/* Thread: any.  The text given to abort; borrowed while the stream lives; NULL: none. */
MUSTER_API const char *muster_stream_abort_message(const struct muster_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
