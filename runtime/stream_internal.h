/* runtime/stream_internal.h - what the library itself may do with a stream.  Internal. */
#ifndef MUSTER_STREAM_INTERNAL_H
#define MUSTER_STREAM_INTERNAL_H

#include "runtime/stream.h"

/* Thread: the reader's.  Puts bytes that it has read back in front of what waits, copied, though they may be more than fit; also
 * at the end of a closed stream.  False: out of memory, and nothing happened.  An aborted stream drops them. */
MUSTER_MUST_CHECK bool muster__stream_unread(struct muster_stream *stream, const void *data, size_t length);

#endif
