/* remote/body_pump.c - see body_pump.h.
 *
 * A pump is an actor: whatever happens to it (a frame, a stream that became ready, the end) is noted under its
 * lock, and its turn does the reading, writing and sending, so that no callback of a stream calls back into it
 * and none of the two locks is taken under the other.  A third lock is held during a turn, so that a body can be taken
 * back from outside: then the stream has to be whole before that call returns. */
#include "remote/body_pump.h"

#include "runtime/stream_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK (32u << 10)
#define CREDIT_STEP (MUSTER__BODY_WINDOW / 4) /* fewer, larger BODY_CREDITs */

struct muster__body_pump {
    struct muster__actor actor;
    atomic_uint references;
    struct muster__body_route route;
    struct muster_stream *stream;
    bool outgoing;

    pthread_mutex_t turn_lock;
    struct { /* Under turn_lock. */
        bool over, torn; /* torn: the stream was aborted, or what was kept is not all */
        char *kept;      /* outgoing: sent, and may have to be taken back */
        size_t kept_length, kept_capacity;
        uint32_t owed; /* incoming: the stream took so much since the last credit */
        char *chunk;   /* outgoing: between the stream and the link */
    } own;

    struct {
        pthread_mutex_t lock;
        uint64_t credit;   /* outgoing: may be sent; incoming: may still come */
        char *waiting;     /* incoming: what the stream has no room for */
        size_t from, until, capacity;
        bool peer_ended;   /* incoming: BODY_END came */
        bool stop, peer_stopped;
        enum muster_status status;
        char *message;
    } shared;
};

static void acquire(struct muster__body_pump *pump)
{
    atomic_fetch_add(&pump->references, 1);
}

void muster__body_pump_release(struct muster__body_pump *pump)
{
    if (!pump || atomic_fetch_sub(&pump->references, 1) != 1)
        return;
    muster_stream_release(pump->stream);
    pthread_mutex_destroy(&pump->shared.lock);
    pthread_mutex_destroy(&pump->turn_lock);
    free(pump->own.kept);
    free(pump->shared.waiting);
    free(pump->shared.message);
    free(pump->own.chunk);
    free(pump);
}

static void wake(struct muster__body_pump *pump)
{
    muster__pool_schedule(pump->route.pool, &pump->actor);
}

static void stream_woke(void *user_data)
{
    wake(user_data);
}

static void send_message(struct muster__body_pump *pump, struct muster__wire_message *message)
{
    message->worker = pump->route.worker;
    message->actor = pump->route.actor;
    message->flags = pump->route.flags;
    enum muster_status status = muster__link_send(pump->route.link, message, 0);
    if (status != MUSTER_OK && status != MUSTER_CLOSED) /* a body with a hole must not look whole */
        muster__link_close(pump->route.link);
}

/* Nothing more happens: lets go of the stream and says so. */
static void finish(struct muster__body_pump *pump)
{
    pump->own.over = true;
    if (pump->outgoing)
        muster_stream_on_readable(pump->stream, NULL, NULL);
    else
        muster_stream_on_writable(pump->stream, NULL, NULL);
    if (pump->route.done)
        pump->route.done(pump->route.user_data);
    muster__body_pump_release(pump); /* the reference of a pump that runs */
}

static void send_abort(struct muster__body_pump *pump, enum muster_status status, const char *message)
{
    struct muster__wire_message abort = {.type = MUSTER__WIRE_BODY_ABORT, .status = status};
    abort.abort.message = message;
    send_message(pump, &abort);
}

/* True: it was stopped, from here or from the peer. */
static bool look_stopped(struct muster__body_pump *pump)
{
    pthread_mutex_lock(&pump->shared.lock);
    bool peer = pump->shared.peer_stopped, stop = pump->shared.stop;
    enum muster_status status = pump->shared.status;
    char *message = stop || peer ? pump->shared.message : NULL;
    if (message)
        pump->shared.message = NULL;
    pthread_mutex_unlock(&pump->shared.lock);
    if (!stop && !peer)
        return false;
    pump->own.torn = true;
    muster_stream_abort(pump->stream, status, message);
    if (!peer)
        send_abort(pump, status, message);
    free(message);
    finish(pump);
    return true;
}

/* ---- outgoing ---- */

static uint64_t credit_of(struct muster__body_pump *pump)
{
    pthread_mutex_lock(&pump->shared.lock);
    uint64_t credit = pump->shared.credit;
    pthread_mutex_unlock(&pump->shared.lock);
    return credit;
}

static void send_bytes(struct muster__body_pump *pump, size_t length)
{
    struct muster__wire_message body = {.type = MUSTER__WIRE_BODY};
    body.piece.bytes = (struct muster_bytes){pump->own.chunk, length};
    pthread_mutex_lock(&pump->shared.lock);
    pump->shared.credit -= length;
    pthread_mutex_unlock(&pump->shared.lock);
    send_message(pump, &body);
}

/* Until the peer begins to use them. */
static void keep_bytes(struct muster__body_pump *pump, const char *bytes, size_t length)
{
    size_t needed = pump->own.kept_length + length;
    if (!pump->route.begun || pump->own.torn)
        return;
    if (needed > pump->own.kept_capacity) {
        size_t capacity = needed * 2;
        char *kept = realloc(pump->own.kept, capacity);
        if (kept) {
            pump->own.kept = kept;
            pump->own.kept_capacity = capacity;
        }
    }
    pump->own.torn = needed > pump->own.kept_capacity || pump->route.begun(pump->route.user_data);
    if (!pump->own.torn)
        memcpy(pump->own.kept + pump->own.kept_length, bytes, length);
    pump->own.kept_length = pump->own.torn ? 0 : needed;
    if (pump->own.torn) {
        free(pump->own.kept);
        pump->own.kept = NULL;
        pump->own.kept_capacity = 0;
    }
}

/* True: again, behind the others. */
static bool turn_out(struct muster__body_pump *pump)
{
    uint64_t credit = credit_of(pump);
    size_t want = credit < CHUNK ? (size_t)credit : CHUNK;
    size_t length = 0;
    if (!want)
        return false; /* credit wakes it; an abort of the writer's is heard then */
    enum muster_status status = muster_stream_read(pump->stream, pump->own.chunk, want, &length);
    if (status == MUSTER_PENDING)
        return false;
    if (status == MUSTER_OK && length) {
        keep_bytes(pump, pump->own.chunk, length);
        send_bytes(pump, length);
        return true;
    }
    if (status == MUSTER_OK)
        send_message(pump, &(struct muster__wire_message){.type = MUSTER__WIRE_BODY_END});
    else
        send_abort(pump, status, muster_stream_abort_message(pump->stream));
    finish(pump);
    return false;
}

/* ---- incoming ---- */

static void give_credit(struct muster__body_pump *pump)
{
    struct muster__wire_message credit = {.type = MUSTER__WIRE_BODY_CREDIT};
    credit.credit.bytes = pump->own.owed;
    pthread_mutex_lock(&pump->shared.lock);
    pump->shared.credit += pump->own.owed;
    pthread_mutex_unlock(&pump->shared.lock);
    pump->own.owed = 0;
    send_message(pump, &credit);
}

/* The front of what waits; it stays where it is while only frames are appended behind it. */
static size_t peek_waiting(struct muster__body_pump *pump, char *into, bool *ret_ended)
{
    pthread_mutex_lock(&pump->shared.lock);
    size_t length = pump->shared.until - pump->shared.from;
    *ret_ended = pump->shared.peer_ended && length <= CHUNK;
    if (length > CHUNK)
        length = CHUNK;
    if (length)
        memcpy(into, pump->shared.waiting + pump->shared.from, length);
    pthread_mutex_unlock(&pump->shared.lock);
    return length;
}

static void took_waiting(struct muster__body_pump *pump, size_t length)
{
    pthread_mutex_lock(&pump->shared.lock);
    pump->shared.from += length;
    if (pump->shared.from == pump->shared.until)
        pump->shared.from = pump->shared.until = 0;
    pthread_mutex_unlock(&pump->shared.lock);
}

static bool turn_in(struct muster__body_pump *pump)
{
    bool ended;
    size_t length = peek_waiting(pump, pump->own.chunk, &ended), written = 0;
    enum muster_status status =
        muster_stream_write(pump->stream, pump->own.chunk, length, &written);
    if (status != MUSTER_OK) { /* the reader does not want it any more */
        send_abort(pump, MUSTER_CANCELED, muster_stream_abort_message(pump->stream));
        finish(pump);
        return false;
    }
    took_waiting(pump, written);
    pump->own.owed += (uint32_t)written;
    if (written == length && ended) {
        muster_stream_close(pump->stream);
        finish(pump);
        return false;
    }
    if (pump->own.owed >= CREDIT_STEP)
        give_credit(pump);
    return written == length && length == CHUNK;
}

static bool turn(struct muster__actor *actor)
{
    struct muster__body_pump *pump = MUSTER_CONTAINER_OF(actor, struct muster__body_pump, actor);
    pthread_mutex_lock(&pump->turn_lock);
    bool again = !pump->own.over && !look_stopped(pump) && (pump->outgoing ? turn_out(pump) : turn_in(pump));
    pthread_mutex_unlock(&pump->turn_lock);
    return again;
}

static void actor_acquire(struct muster__actor *actor)
{
    acquire(MUSTER_CONTAINER_OF(actor, struct muster__body_pump, actor));
}

static void actor_release(struct muster__actor *actor)
{
    muster__body_pump_release(MUSTER_CONTAINER_OF(actor, struct muster__body_pump, actor));
}

/* ---- from outside ---- */

static struct muster__body_pump *new_pump(const struct muster__body_route *route, bool outgoing)
{
    struct muster__body_pump *pump = calloc(1, sizeof *pump);
    if (!pump)
        return NULL;
    pump->own.chunk = malloc(CHUNK);
    if (!pump->own.chunk) {
        free(pump);
        return NULL;
    }
    muster__actor_init(&pump->actor, turn);
    pump->actor.acquire = actor_acquire;
    pump->actor.release = actor_release;
    atomic_init(&pump->references, 2); /* the caller's, and its own until it is done */
    pump->route = *route;
    pump->outgoing = outgoing;
    pump->shared.credit = MUSTER__BODY_WINDOW;
    pthread_mutex_init(&pump->shared.lock, NULL);
    pthread_mutex_init(&pump->turn_lock, NULL);
    return pump;
}

enum muster_status muster__body_pump_out(const struct muster__body_route *route,
                                         struct muster_stream *stream,
                                         struct muster__body_pump **ret_pump)
{
    struct muster__body_pump *pump = new_pump(route, true);
    if (!pump)
        return MUSTER_NO_MEMORY;
    pump->stream = muster_stream_acquire(stream);
    *ret_pump = pump;
    return MUSTER_OK;
}

void muster__body_pump_start(struct muster__body_pump *pump)
{
    pthread_mutex_lock(&pump->turn_lock);
    if (!pump->own.over)
        muster_stream_on_readable(pump->stream, stream_woke, pump);
    pthread_mutex_unlock(&pump->turn_lock);
    wake(pump);
}

bool muster__body_pump_take_back(struct muster__body_pump *pump)
{
    MUSTER_CHECK(pump->outgoing && pump->route.begun);
    acquire(pump);
    pthread_mutex_lock(&pump->turn_lock);
    if (!pump->own.over)
        finish(pump);
    bool whole = !pump->own.torn && muster__stream_unread(pump->stream, pump->own.kept, pump->own.kept_length);
    pump->own.kept_length = 0;
    pump->own.torn = true; /* a second time there is nothing to take */
    pthread_mutex_unlock(&pump->turn_lock);
    muster__body_pump_release(pump);
    return whole;
}

enum muster_status muster__body_pump_in(const struct muster__body_route *route,
                                        struct muster_stream **ret_stream,
                                        struct muster__body_pump **ret_pump)
{
    struct muster__body_pump *pump = new_pump(route, false);
    if (!pump || muster_stream_new(0, &pump->stream) != MUSTER_OK) {
        if (pump) {
            atomic_store(&pump->references, 1);
            muster__body_pump_release(pump);
        }
        return MUSTER_NO_MEMORY;
    }
    *ret_stream = pump->stream; /* two references: the reader's and ours */
    *ret_pump = pump;
    muster_stream_on_writable(pump->stream, stream_woke, pump);
    return MUSTER_OK;
}

/* The lock is held.  False: more than it was allowed to send, or no memory. */
static bool append_waiting(struct muster__body_pump *pump, struct muster_bytes bytes)
{
    if (pump->shared.peer_ended || bytes.length > pump->shared.credit)
        return false;
    if (pump->shared.until + bytes.length > pump->shared.capacity && pump->shared.from) {
        memmove(pump->shared.waiting, pump->shared.waiting + pump->shared.from,
                pump->shared.until - pump->shared.from);
        pump->shared.until -= pump->shared.from;
        pump->shared.from = 0;
    }
    if (pump->shared.until + bytes.length > pump->shared.capacity) {
        size_t capacity = pump->shared.capacity ? pump->shared.capacity * 2 : 4096;
        while (capacity < pump->shared.until + bytes.length)
            capacity *= 2;
        char *waiting = realloc(pump->shared.waiting, capacity);
        if (!waiting)
            return false;
        pump->shared.waiting = waiting;
        pump->shared.capacity = capacity;
    }
    memcpy(pump->shared.waiting + pump->shared.until, bytes.data, bytes.length);
    pump->shared.until += bytes.length;
    pump->shared.credit -= bytes.length;
    return true;
}

bool muster__body_pump_frame(struct muster__body_pump *pump, const struct muster__wire_message *message)
{
    bool ok = true;
    pthread_mutex_lock(&pump->shared.lock);
    switch (message->type) {
    case MUSTER__WIRE_BODY: ok = !pump->outgoing && append_waiting(pump, message->piece.bytes); break;
    case MUSTER__WIRE_BODY_END:
        ok = !pump->outgoing && !pump->shared.peer_ended;
        pump->shared.peer_ended = true;
        break;
    case MUSTER__WIRE_BODY_CREDIT:
        ok = pump->outgoing && message->credit.bytes &&
             pump->shared.credit + message->credit.bytes <= MUSTER__BODY_WINDOW;
        pump->shared.credit += ok ? message->credit.bytes : 0;
        break;
    case MUSTER__WIRE_BODY_ABORT:
        if (message->status == MUSTER_OK || message->status == MUSTER_PENDING) { /* these end nothing */
            ok = false;
            break;
        }
        if (!pump->shared.stop && !pump->shared.peer_stopped) {
            pump->shared.status = message->status;
            pump->shared.message = muster__strdup(message->abort.message);
        }
        pump->shared.peer_stopped = true;
        break;
    default: ok = false;
    }
    pthread_mutex_unlock(&pump->shared.lock);
    wake(pump);
    return ok;
}

void muster__body_pump_stop(struct muster__body_pump *pump, enum muster_status status, const char *message)
{
    pthread_mutex_lock(&pump->shared.lock);
    if (!pump->shared.stop && !pump->shared.peer_stopped) {
        pump->shared.status = status;
        pump->shared.message = muster__strdup(message);
    }
    pump->shared.stop = true;
    pthread_mutex_unlock(&pump->shared.lock);
    wake(pump);
}
