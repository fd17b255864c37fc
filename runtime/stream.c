/* runtime/stream.c - the ring of bytes between two ends, and the waking of either.
 *
 * Any thread; one mutex a stream, held for copying and never while a callback runs.  The ring starts
 * with nothing and grows by doubling up to its capacity, so that an idle stream costs no buffer.
 *
 * Waking.  Each end has a slot for its callback.  Whoever changes the stream decides under the lock
 * that an end must hear of it, leaves the lock, and calls.  At most one thread runs the callback of a
 * slot; a wake that comes meanwhile is noted, and the running thread calls once more.  Replacing the
 * callback changes the slot under the lock and then waits on a condition until the thread that still
 * runs the old one is back.  So:
 *   - the callback may take any lock of its user's, even one under which others read or write this
 *     stream: those calls never wait for a callback;
 *   - only muster_stream_on_*() waits, so it must not be called while holding a lock that the callback
 *     takes, nor from the callback itself (which aborts, since it would wait for itself).
 *
 * An end hears of a change only when it was turned away since the last time (a read that found
 * nothing, a write that did not fit), or when it has just put its callback there: a busy pipe costs no
 * wake-ups.  Close and abort always wake. */
#include "runtime/stream_internal.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"

#define DEFAULT_CAPACITY ((size_t)64 * 1024)
#define FIRST_SIZE ((size_t)1024)

struct slot {
    muster_stream_wake_fn *wake;
    void *user_data;
    bool waits;     /* was turned away: the next change is news */
    bool due;       /* a wake that nobody has run yet */
    bool running;   /* `runner` is in the callback, or about to look again */
    pthread_t runner;
};

struct muster_stream {
    atomic_uint references;
    pthread_mutex_t lock;
    pthread_cond_t quiet; /* a slot stopped running */

    /* Under the lock. */
    char *ring;
    size_t size; /* of the ring, at most capacity, but for what was put back */
    size_t capacity;
    size_t start;
    size_t count;
    bool closed;
    enum muster_status aborted; /* MUSTER_OK: not */
    char *abort_message;
    struct slot reader;
    struct slot writer;
};

enum muster_status muster_stream_new(size_t capacity, struct muster_stream **ret_stream)
{
    struct muster_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return MUSTER_NO_MEMORY;
    if (pthread_mutex_init(&stream->lock, NULL) != 0)
        goto no_lock;
    if (pthread_cond_init(&stream->quiet, NULL) != 0)
        goto no_condition;
    atomic_init(&stream->references, 2);
    stream->capacity = capacity == 0 ? DEFAULT_CAPACITY : capacity;
    stream->reader.waits = true; /* whoever has not read yet wants to hear of the first byte */
    *ret_stream = stream;
    return MUSTER_OK;
no_condition:
    pthread_mutex_destroy(&stream->lock);
no_lock:
    free(stream);
    return MUSTER_NO_MEMORY;
}

struct muster_stream *muster_stream_acquire(struct muster_stream *stream)
{
    if (stream == NULL)
        return NULL;
    unsigned before = atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
    MUSTER_CHECK(before > 0 && before < UINT_MAX / 2);
    return stream;
}

void muster_stream_release(struct muster_stream *stream)
{
    if (stream == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel);
    MUSTER_CHECK(before > 0);
    if (before != 1)
        return;
    MUSTER_CHECK(!stream->reader.running && !stream->writer.running);
    pthread_cond_destroy(&stream->quiet);
    pthread_mutex_destroy(&stream->lock);
    free(stream->ring);
    free(stream->abort_message);
    free(stream);
}

static void lock(const struct muster_stream *stream)
{
    MUSTER_CHECK(pthread_mutex_lock((pthread_mutex_t *)&stream->lock) == 0);
}

static void unlock(const struct muster_stream *stream)
{
    MUSTER_CHECK(pthread_mutex_unlock((pthread_mutex_t *)&stream->lock) == 0);
}

/* Marks that this end must hear; run_due() does it once the lock is left. */
static void notify_locked(struct slot *slot)
{
    slot->waits = false;
    slot->due = slot->wake != NULL;
}

/* Under the lock, which it leaves around the callback.  The caller holds a reference. */
static void run_due_locked(struct muster_stream *stream, struct slot *slot)
{
    if (!slot->due || slot->running)
        return; /* whoever is running looks again */
    slot->running = true;
    slot->runner = pthread_self();
    while (slot->due) {
        slot->due = false;
        muster_stream_wake_fn *wake = slot->wake;
        void *user_data = slot->user_data;
        unlock(stream);
        wake(user_data);
        lock(stream);
    }
    slot->running = false;
    MUSTER_CHECK(pthread_cond_broadcast(&stream->quiet) == 0);
}

static void set_callback(struct muster_stream *stream, struct slot *slot,
                         muster_stream_wake_fn *wake, void *user_data)
{
    lock(stream);
    MUSTER_CHECK(!slot->running || !pthread_equal(slot->runner, pthread_self()));
    slot->wake = wake;
    slot->user_data = user_data;
    slot->waits = true;
    /* What was due was due to the old one; the new one's user looks for himself. */
    slot->due = false;
    while (slot->running)
        MUSTER_CHECK(pthread_cond_wait(&stream->quiet, &stream->lock) == 0);
    unlock(stream);
}

void muster_stream_on_readable(struct muster_stream *stream, muster_stream_wake_fn *wake,
                               void *user_data)
{
    set_callback(stream, &stream->reader, wake, user_data);
}

void muster_stream_on_writable(struct muster_stream *stream, muster_stream_wake_fn *wake,
                               void *user_data)
{
    set_callback(stream, &stream->writer, wake, user_data);
}

/* Copies the waiting bytes to the start of a new ring. */
static bool resize_locked(struct muster_stream *stream, size_t size)
{
    char *ring = malloc(size);
    if (ring == NULL)
        return false;
    size_t first = stream->size - stream->start;
    if (first > stream->count)
        first = stream->count;
    if (stream->count > 0) {
        memcpy(ring, stream->ring + stream->start, first);
        memcpy(ring + first, stream->ring, stream->count - first);
    }
    free(stream->ring);
    stream->ring = ring;
    stream->size = size;
    stream->start = 0;
    return true;
}

static size_t left_locked(const struct muster_stream *stream)
{
    return stream->capacity > stream->count ? stream->capacity - stream->count : 0;
}

/* Makes room for `length` more, as far as capacity and memory go. */
static void make_room_locked(struct muster_stream *stream, size_t length)
{
    size_t most = left_locked(stream);
    size_t wanted = stream->count + (length < most ? length : most);
    if (wanted <= stream->size)
        return;
    size_t size = stream->size == 0 ? FIRST_SIZE : stream->size;
    while (size < wanted)
        size = size > SIZE_MAX / 2 ? wanted : size * 2;
    if (size > stream->capacity)
        size = stream->capacity;
    if (resize_locked(stream, size))
        return;
    /* Short of memory: a smaller ring still moves bytes, in more rounds. */
    if (stream->size == 0)
        (void)resize_locked(stream, stream->capacity < FIRST_SIZE ? stream->capacity : FIRST_SIZE);
}

static void put_locked(struct muster_stream *stream, const char *data, size_t length)
{
    if (length == 0)
        return;
    size_t end = stream->start + stream->count;
    if (end >= stream->size)
        end -= stream->size;
    size_t first = stream->size - end;
    if (first > length)
        first = length;
    memcpy(stream->ring + end, data, first);
    memcpy(stream->ring, data + first, length - first);
    stream->count += length;
}

static void get_locked(struct muster_stream *stream, char *buffer, size_t length)
{
    size_t first = stream->size - stream->start;
    if (first > length)
        first = length;
    memcpy(buffer, stream->ring + stream->start, first);
    memcpy(buffer + first, stream->ring, length - first);
    stream->count -= length;
    stream->start += length;
    if (stream->start >= stream->size)
        stream->start -= stream->size;
    if (stream->count == 0)
        stream->start = 0; /* so that the next write is one copy */
}

static enum muster_status write_locked(struct muster_stream *stream, const void *data,
                                       size_t length, size_t *ret_written)
{
    if (stream->closed || stream->aborted != MUSTER_OK)
        return MUSTER_CLOSED;
    make_room_locked(stream, length);
    size_t room = stream->size - stream->count, left = left_locked(stream);
    size_t written = length < room ? length : room;
    if (written > left)
        written = left;
    if (written < length && stream->count + written == 0)
        return MUSTER_NO_MEMORY; /* nothing waits, so no read would ever make room */
    put_locked(stream, data, written);
    *ret_written = written;
    if (written < length)
        stream->writer.waits = true;
    if (written > 0 && stream->reader.waits)
        notify_locked(&stream->reader);
    return MUSTER_OK;
}

enum muster_status muster_stream_write(struct muster_stream *stream, const void *data,
                                       size_t length, size_t *ret_written)
{
    lock(stream);
    enum muster_status status = write_locked(stream, data, length, ret_written);
    run_due_locked(stream, &stream->reader);
    unlock(stream);
    return status;
}

void muster_stream_close(struct muster_stream *stream)
{
    lock(stream);
    if (!stream->closed && stream->aborted == MUSTER_OK) {
        stream->closed = true;
        notify_locked(&stream->reader);
    }
    run_due_locked(stream, &stream->reader);
    unlock(stream);
}

/* In front of what waits. */
static void put_in_front_locked(struct muster_stream *stream, const char *data, size_t length)
{
    stream->start = (stream->start + stream->size - length) % stream->size;
    size_t first = stream->size - stream->start;
    if (first > length)
        first = length;
    memcpy(stream->ring + stream->start, data, first);
    memcpy(stream->ring, data + first, length - first);
    stream->count += length;
}

bool muster__stream_unread(struct muster_stream *stream, const void *data, size_t length)
{
    lock(stream);
    bool wanted = length > 0 && stream->aborted == MUSTER_OK;
    bool done = !wanted || stream->size - stream->count >= length ||
                resize_locked(stream, stream->count + length);
    if (wanted && done)
        put_in_front_locked(stream, data, length);
    unlock(stream);
    return done;
}

static void abort_locked(struct muster_stream *stream, enum muster_status status, char **take_text)
{
    bool was_read_to_the_end = stream->closed && stream->count == 0;
    if (stream->aborted != MUSTER_OK || was_read_to_the_end)
        return;
    stream->aborted = status;
    stream->abort_message = *take_text;
    *take_text = NULL;
    free(stream->ring);
    stream->ring = NULL;
    stream->size = stream->start = stream->count = 0;
    notify_locked(&stream->reader);
    notify_locked(&stream->writer);
}

void muster_stream_abort(struct muster_stream *stream, enum muster_status status,
                         const char *message)
{
    /* Both would read as something else than an end. */
    MUSTER_CHECK(status != MUSTER_OK && status != MUSTER_PENDING);
    char *text = muster__strdup(message);
    lock(stream);
    abort_locked(stream, status, &text);
    run_due_locked(stream, &stream->reader);
    run_due_locked(stream, &stream->writer);
    unlock(stream);
    free(text);
}

static enum muster_status read_locked(struct muster_stream *stream, void *buffer, size_t size,
                                      size_t *ret_length)
{
    if (stream->aborted != MUSTER_OK)
        return stream->aborted;
    if (stream->count == 0 && !stream->closed) {
        stream->reader.waits = true;
        return MUSTER_PENDING;
    }
    size_t length = size < stream->count ? size : stream->count;
    if (length > 0)
        get_locked(stream, buffer, length);
    *ret_length = length;
    if (length > 0 && !stream->closed && stream->writer.waits)
        notify_locked(&stream->writer);
    return MUSTER_OK;
}

enum muster_status muster_stream_read(struct muster_stream *stream, void *buffer, size_t size,
                                      size_t *ret_length)
{
    /* With no place for a byte, 0 bytes would read as the end. */
    if (size == 0 || buffer == NULL)
        return MUSTER_INVALID_ARGUMENT;
    lock(stream);
    enum muster_status status = read_locked(stream, buffer, size, ret_length);
    run_due_locked(stream, &stream->writer);
    unlock(stream);
    return status;
}

size_t muster_stream_buffered(const struct muster_stream *stream)
{
    lock(stream);
    size_t count = stream->count;
    unlock(stream);
    return count;
}

const char *muster_stream_abort_message(const struct muster_stream *stream)
{
    lock(stream);
    const char *message = stream->abort_message; /* written once */
    unlock(stream);
    return message;
}
