/* remote/link_send.c - the way out: lanes, batches, and who writes.
 *
 * Any thread queues under the lock.  One thread at a time writes: it takes a batch under the lock
 * and writes it outside; a second one that wants to write leaves a note (`again`) instead, which
 * the first sees before it lets go.  A batch is written to its end before the next is taken, so
 * that a frame is never torn by another.
 *
 * Promise: each owner is released once, without the lock; a message that was answered with anything
 * but OK has left no trace. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote/link_internal.h"

#define BODY_SMALL ((size_t)16 << 10) /* bodies of up to this go with the small messages */
#define BATCHES_IN_A_ROW 16           /* before a thread that writes for others lets go */
#define TICKETS_WAITING (MUSTER__LINK_TICKETS_OPEN / 2)
#define SMALL_KEPT ((size_t)256 << 10) /* memory of an empty queue that is kept */

static bool is_dead_locked(const struct muster__link *link)
{
    return link->out.broken || atomic_load(&link->closed);
}

/* ---- items and lanes ---- */

static void destroy_items(struct muster__link_item *item)
{
    while (item != NULL) {
        struct muster__link_item *next = item->next;
        muster__wire_buffer_clean_up(&item->frame);
        if (item->release != NULL)
            item->release(item->owner);
        free(item);
        item = next;
    }
}

static struct muster__link_lane **bucket(struct muster__link *link, uint64_t key)
{
    return &link->out.buckets[(key * 0x9e3779b97f4a7c15u) >> 58];
}

/* False: the message has no lane, it goes before all that wait in one. */
static bool lane_key(const struct muster__link *link, const struct muster__wire_message *message,
                     uint64_t *ret_key, bool *ret_is_worker)
{
    *ret_is_worker = false;
    *ret_key = message->actor;
    if (message->worker == 0) /* a port has its own, in both directions */
        return message->actor != 0;
    enum muster__wire_side opener = message->actor % 2 == 0 ? MUSTER__WIRE_PARENT : MUSTER__WIRE_CHILD;
    *ret_is_worker = message->actor == 0 || opener == link->options.side;
    *ret_key = *ret_is_worker ? message->worker : message->actor;
    return true;
}

static struct muster__link_lane *find_lane(struct muster__link *link,
                                           const struct muster__wire_message *message)
{
    uint64_t key;
    bool is_worker;
    if (link->out.active.count == 0 || !lane_key(link, message, &key, &is_worker))
        return NULL;
    struct muster__link_lane *lane = *bucket(link, key);
    while (lane != NULL && (lane->key != key || lane->is_worker != is_worker ||
                            (lane->worker == 0) != (message->worker == 0)))
        lane = lane->bucket_next;
    return lane;
}

static void append_lane(struct muster__link_lanes *lanes, struct muster__link_lane *lane)
{
    lane->next = NULL;
    if (lanes->last != NULL)
        lanes->last->next = lane;
    else
        lanes->first = lane;
    lanes->last = lane;
    lanes->count++;
}

static struct muster__link_lane *take_lane(struct muster__link_lanes *lanes)
{
    struct muster__link_lane *lane = lanes->first;
    if (lane == NULL)
        return NULL;
    lanes->first = lane->next;
    if (lanes->first == NULL)
        lanes->last = NULL;
    lanes->count--;
    return lane;
}

static struct muster__link_lane *new_lane(const struct muster__link *link,
                                          const struct muster__wire_message *message)
{
    struct muster__link_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->worker = message->worker;
    MUSTER_CHECK(lane_key(link, message, &lane->key, &lane->is_worker));
    return lane;
}

static void enter_lane(struct muster__link *link, struct muster__link_lane *lane)
{
    struct muster__link_lane **head = bucket(link, lane->key);
    lane->bucket_next = *head;
    *head = lane;
    /* No more values are open at a time than the peer puts up with. */
    append_lane(link->out.active.count < MUSTER__LINK_VALUES_OPEN ? &link->out.active
                                                                  : &link->out.waiting_lanes,
                lane);
}

static void append_item(struct muster__link_lane *lane, struct muster__link_item *item)
{
    if (lane->last != NULL)
        lane->last->next = item;
    else
        lane->first = item;
    lane->last = item;
}

static bool has_lane(const struct muster__link *link, uint32_t worker)
{
    for (unsigned i = 0; i < MUSTER__LINK_LANE_BUCKETS; i++)
        for (struct muster__link_lane *lane = link->out.buckets[i]; lane != NULL;
             lane = lane->bucket_next)
            if (lane->worker == worker)
                return true;
    return false;
}

/* The GONE of that worker, if it waited for the last of the worker's lanes. */
static struct muster__link_item *take_farewell(struct muster__link *link, uint32_t worker)
{
    struct muster__link_item **at = &link->out.farewells;
    while (*at != NULL && (*at)->worker != worker)
        at = &(*at)->next;
    struct muster__link_item *item = *at;
    if (item == NULL || has_lane(link, worker))
        return NULL;
    *at = item->next;
    item->next = NULL;
    return item;
}

/* It is empty, and in no list.  What it was waited for goes on in its memory. */
static void remove_lane(struct muster__link *link, struct muster__link_lane *lane)
{
    struct muster__link_lane **at = bucket(link, lane->key);
    while (*at != lane)
        at = &(*at)->bucket_next;
    *at = lane->bucket_next;
    struct muster__link_item *farewell = take_farewell(link, lane->worker);
    if (farewell != NULL) {
        lane->key = lane->worker;
        lane->is_worker = true;
        append_item(lane, farewell);
        enter_lane(link, lane);
        return;
    }
    free(lane);
    lane = take_lane(&link->out.waiting_lanes);
    if (lane != NULL)
        append_lane(&link->out.active, lane);
}

/* ---- batches ---- */

static void add_vector(struct muster__link_batch *batch, const void *data, size_t length)
{
    if (length > 0)
        batch->vectors[batch->count++] = (struct iovec){(void *)data, length};
}

static void skip_finished_parts(struct muster__link_item *item)
{
    while (item->part < item->part_count && item->offset == item->parts[item->part].length) {
        item->part++;
        item->offset = 0;
    }
}

/* The next piece of what travels behind a frame. */
static void add_piece(struct muster__link_batch *batch, struct muster__link_item *item)
{
    static const char zeros[8];
    const struct muster_bytes *part = &item->parts[item->part];
    size_t length = part->length - item->offset;
    if (length > MUSTER__WIRE_PIECE)
        length = MUSTER__WIRE_PIECE;
    char *header = batch->headers[batch->pieces++];
    muster__wire_encode_piece_header(header, item->piece_type, item->flags, item->worker, item->actor,
                                     (uint32_t)length);
    add_vector(batch, header, MUSTER__WIRE_PIECE_HEADER);
    add_vector(batch, part->data + item->offset, length);
    add_vector(batch, zeros, muster__wire_padding(length));
    item->offset += length;
    batch->accounted += length;
    skip_finished_parts(item);
}

static bool has_room(const struct muster__link_batch *batch)
{
    return batch->pieces < MUSTER__LINK_BATCH_PIECES && batch->count + 4 <= MUSTER__LINK_BATCH_VECTORS;
}

/* Takes frames from the lane up to, and with, one piece.  True: the lane is empty. */
static bool serve_lane(struct muster__link *link, struct muster__link_lane *lane)
{
    struct muster__link_batch *batch = &link->out.batch;
    bool piece_taken = false;
    while (lane->first != NULL && !piece_taken && has_room(batch)) {
        struct muster__link_item *item = lane->first;
        if (!item->frame_taken) {
            item->frame_taken = true;
            add_vector(batch, item->frame.data, item->frame.length);
            batch->accounted += item->frame.length;
            link->out.tickets -= item->has_ticket;
            link->out.stats.frames_out += item->frame.length > 0;
        }
        if (item->part < item->part_count) {
            add_piece(batch, item);
            link->out.stats.frames_out++;
            piece_taken = true;
        }
        if (item->part < item->part_count)
            continue;
        lane->first = item->next;
        if (lane->first == NULL)
            lane->last = NULL;
        item->next = batch->done;
        batch->done = item;
    }
    return lane->first == NULL;
}

static enum muster_status send_descriptors(struct muster__link *link,
                                           const struct muster__wire_message *message);
static enum muster_status begin_descriptors_locked(struct muster__link *link, struct muster__wire_message *message);

/* RING alone, so that what comes behind it can go another way.  False: not now. */
static bool take_switch_locked(struct muster__link *link)
{
    struct muster__link_batch *batch = &link->out.batch;
    struct muster__wire_message message = {.type = MUSTER__WIRE_RING,
                                           .descriptors = &link->out.ring_fd,
                                           .descriptor_count = link->out.ring_fd >= 0};
    if (begin_descriptors_locked(link, &message) != MUSTER_OK ||
        muster__wire_encode(&batch->small, link->options.side, &message, NULL) != MUSTER_OK)
        return false;
    if (message.ticket != 0 && send_descriptors(link, &message) != MUSTER_OK) {
        batch->small.length = 0;
        return false;
    }
    if (message.ticket != 0) {
        link->out.last_ticket = message.ticket;
        close(link->out.ring_fd);
        link->out.ring_fd = -1;
    }
    link->out.switches = false;
    batch->is_switch = true;
    batch->first = batch->count = batch->pieces = 0;
    add_vector(batch, batch->small.data, batch->small.length);
    batch->accounted = batch->small.length;
    link->out.waiting += batch->accounted;
    link->out.stats.frames_out++;
    return true;
}

/* Small messages first, then a piece of each lane in turn.  False: there is nothing to write. */
static bool take_batch_locked(struct muster__link *link)
{
    struct muster__link_batch *batch = &link->out.batch;
    if (batch->first < batch->count)
        return true;
    MUSTER_CHECK(batch->done == NULL);
    if (link->out.switches && take_switch_locked(link))
        return true;
    batch->first = batch->count = batch->pieces = 0;
    batch->accounted = link->out.small.length;
    if (link->out.small.length > 0) {
        struct muster__wire_buffer empty = batch->small;
        empty.length = 0;
        batch->small = link->out.small;
        link->out.small = empty;
        add_vector(batch, batch->small.data, batch->small.length);
        link->out.stats.frames_out += link->out.small_frames;
        link->out.tickets -= link->out.small_tickets;
        link->out.small_frames = link->out.small_tickets = 0;
    }
    while (link->out.active.count > 0 && has_room(batch)) {
        struct muster__link_lane *lane = take_lane(&link->out.active);
        if (serve_lane(link, lane))
            remove_lane(link, lane);
        else
            append_lane(&link->out.active, lane);
    }
    return batch->count > 0;
}

/* `written` bytes of the batch are gone. */
static void advance(struct muster__link_batch *batch, size_t written)
{
    while (batch->first < batch->count) {
        struct iovec *vector = &batch->vectors[batch->first];
        if (written < vector->iov_len) {
            vector->iov_base = (char *)vector->iov_base + written;
            vector->iov_len -= written;
            return;
        }
        written -= vector->iov_len;
        batch->first++;
    }
}

enum written { WRITTEN_ALL, WRITTEN_FULL, WRITTEN_BROKEN, WRITTEN_NONSENSE };

bool muster__link_ring_bell(struct muster__link *link)
{
    ssize_t sent;
    do
        sent = send(link->options.data_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    /* Full: so many bells are still to be heard, and the ring is looked at after those. */
    return sent > 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
}

/* Thread: the one that writes; no lock. */
static enum written write_to_ring(struct muster__link *link, uint64_t *writes, uint64_t *bytes)
{
    struct muster__link_batch *batch = &link->out.batch;
    while (batch->first < batch->count) {
        size_t written = 0;
        bool wake = false;
        if (muster__ring_write(link->ring, batch->vectors + batch->first, batch->count - batch->first, &written,
                               &wake) != MUSTER_OK)
            return WRITTEN_NONSENSE;
        (*writes)++;
        *bytes += (uint64_t)written;
        advance(batch, written);
        if (wake && !muster__link_ring_bell(link))
            return WRITTEN_BROKEN;
        if (written == 0 && muster__ring_want_room(link->ring))
            return WRITTEN_FULL;
    }
    return WRITTEN_ALL;
}

/* Thread: the one that writes; no lock. */
static enum written write_batch(struct muster__link *link, uint64_t *writes, uint64_t *bytes)
{
    struct muster__link_batch *batch = &link->out.batch;
    if (link->out.ring)
        return write_to_ring(link, writes, bytes);
    while (batch->first < batch->count) {
        struct iovec *vectors = batch->vectors + batch->first;
        unsigned count = batch->count - batch->first;
        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
        ssize_t written = count == 1
                              ? send(link->options.data_fd, vectors->iov_base, vectors->iov_len,
                                     MSG_NOSIGNAL | MSG_DONTWAIT)
                              : sendmsg(link->options.data_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        (*writes)++;
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? WRITTEN_FULL
                                                                               : WRITTEN_BROKEN;
        *bytes += (uint64_t)written;
        advance(batch, (size_t)written);
    }
    return WRITTEN_ALL;
}

/* The batch is through.  What it held is the caller's to destroy, without the lock. */
static struct muster__link_item *finish_batch_locked(struct muster__link *link)
{
    struct muster__link_batch *batch = &link->out.batch;
    struct muster__link_item *done = batch->done;
    link->out.waiting -= batch->accounted;
    batch->done = NULL;
    batch->first = batch->count = 0;
    batch->accounted = 0;
    link->out.ring |= batch->is_switch;
    batch->is_switch = false;
    if (batch->small.capacity > SMALL_KEPT)
        muster__wire_buffer_clean_up(&batch->small);
    batch->small.length = 0;
    return done;
}

static struct muster__link_item *join(struct muster__link_item *first, struct muster__link_item *second)
{
    if (first == NULL)
        return second;
    struct muster__link_item *last = first;
    while (last->next != NULL)
        last = last->next;
    last->next = second;
    return first;
}

static struct muster__link_item *drop_lanes(struct muster__link_lanes *lanes)
{
    struct muster__link_item *dropped = NULL;
    for (struct muster__link_lane *lane; (lane = take_lane(lanes)) != NULL;) {
        dropped = join(lane->first, dropped);
        free(lane);
    }
    return dropped;
}

/* With the batch; leaves the lock in between. */
static void drop_all_locked(struct muster__link *link)
{
    struct muster__link_item *dropped = finish_batch_locked(link);
    dropped = join(drop_lanes(&link->out.active), dropped);
    dropped = join(drop_lanes(&link->out.waiting_lanes), dropped);
    dropped = join(link->out.farewells, dropped);
    link->out.farewells = NULL;
    memset(link->out.buckets, 0, sizeof link->out.buckets);
    muster__wire_buffer_clean_up(&link->out.small);
    link->out.small_frames = link->out.small_tickets = link->out.tickets = 0;
    link->out.waiting = 0;
    pthread_mutex_unlock(&link->lock);
    destroy_items(dropped);
    pthread_mutex_lock(&link->lock);
}

void muster__link_drop_all_locked(struct muster__link *link)
{
    if (link->out.writing)
        return;
    link->out.writing = true;
    drop_all_locked(link);
    link->out.writing = false;
}

static void break_locked(struct muster__link *link, enum muster_status status, const char *sentence)
{
    if (link->out.broken)
        return;
    link->out.broken = true;
    link->out.failure = status;
    link->out.failure_sentence = sentence;
    /* The one that polls wakes up, reads what still came, and tells. */
    (void)shutdown(link->options.data_fd, SHUT_RDWR);
}

void muster__link_break(struct muster__link *link, enum muster_status status, const char *sentence)
{
    pthread_mutex_lock(&link->lock);
    break_locked(link, status, sentence);
    muster__link_drop_all_locked(link);
    pthread_mutex_unlock(&link->lock);
}

/* ---- writing ---- */

/* Takes turns with other threads; the lock is held before and after, and left in between. */
static enum written write_once(struct muster__link *link)
{
    uint64_t writes = 0, bytes = 0;
    struct muster__link_item *done = NULL;
    pthread_mutex_unlock(&link->lock);
    enum written how = write_batch(link, &writes, &bytes);
    int error = errno;
    pthread_mutex_lock(&link->lock);
    link->out.stats.writes += writes;
    link->out.stats.bytes_out += bytes;
    if (how == WRITTEN_ALL)
        done = finish_batch_locked(link);
    else if (how == WRITTEN_NONSENSE)
        break_locked(link, MUSTER_INVALID_ARGUMENT, "a position in the ring that cannot be");
    else if (how == WRITTEN_BROKEN)
        break_locked(link, error == EPIPE || error == ECONNRESET ? MUSTER_OK : MUSTER_SYSTEM,
                     "the data socket cannot be written to");
    if (done != NULL) {
        pthread_mutex_unlock(&link->lock);
        destroy_items(done);
        pthread_mutex_lock(&link->lock);
    }
    return how;
}

/* Tells which events are wanted, if that changed.  Only the one that writes does, so the calls are
 * in order. */
static void tell_interest_locked(struct muster__link *link)
{
    /* Beside a ring the socket always has room; a bell tells. */
    uint32_t wanted = EPOLLIN | EPOLLRDHUP | (link->out.full && !link->out.ring ? EPOLLOUT : 0);
    if (wanted == link->out.interest || is_dead_locked(link))
        return;
    link->out.interest = wanted;
    pthread_mutex_unlock(&link->lock);
    if (link->options.listener->interest != NULL)
        link->options.listener->interest(link->options.user_data, wanted);
    pthread_mutex_lock(&link->lock);
}

static bool tell_drained_locked(struct muster__link *link)
{
    if (!link->out.refused || link->out.waiting >= link->options.low_mark || is_dead_locked(link))
        return false;
    link->out.refused = false;
    return link->options.listener->drained != NULL;
}

/* Writes until nothing waits, the socket is full, or others were served for long enough.  The lock
 * is held before; it is left after. */
static void write_out(struct muster__link *link)
{
    unsigned batches = 0;
    link->out.writing = true;
    for (;;) {
        link->out.again = false;
        while (!is_dead_locked(link) && batches < BATCHES_IN_A_ROW && take_batch_locked(link)) {
            enum written how = write_once(link);
            batches++;
            link->out.full = how == WRITTEN_FULL;
            if (how != WRITTEN_ALL)
                break;
        }
        tell_interest_locked(link);
        if (!link->out.again || is_dead_locked(link) || batches >= BATCHES_IN_A_ROW)
            break;
    }
    if (is_dead_locked(link))
        drop_all_locked(link);
    bool drained = tell_drained_locked(link);
    /* Somebody else goes on: when the socket has room, or at the next flush. */
    bool left = !link->out.full && !is_dead_locked(link) && link->out.waiting > 0;
    link->out.flush_asked = left;
    link->out.writing = false;
    pthread_mutex_unlock(&link->lock);
    if (left && link->options.listener->flush_soon != NULL)
        link->options.listener->flush_soon(link->options.user_data);
    if (drained)
        link->options.listener->drained(link->options.user_data);
}

void muster__link_switch(struct muster__link *link, int ring_fd)
{
    pthread_mutex_lock(&link->lock);
    link->out.switches = true;
    link->out.ring_fd = ring_fd;
    if (link->out.writing || link->out.full) {
        link->out.again = true;
        pthread_mutex_unlock(&link->lock);
        return;
    }
    write_out(link);
}

void muster__link_flush(struct muster__link *link)
{
    pthread_mutex_lock(&link->lock);
    link->out.flush_asked = false;
    if (link->out.writing) {
        link->out.again = true;
        pthread_mutex_unlock(&link->lock);
        return;
    }
    if (link->out.waiting == 0) {
        pthread_mutex_unlock(&link->lock);
        return;
    }
    write_out(link);
}

bool muster__link_has_room(struct muster__link *link)
{
    pthread_mutex_lock(&link->lock);
    bool is_full = link->out.waiting >= link->options.high_mark;
    bool has_room = !is_full && !is_dead_locked(link);
    if (is_full)
        link->out.refused = true;
    pthread_mutex_unlock(&link->lock);
    return has_room;
}

/* ---- descriptors ---- */

static enum muster_status send_descriptors(struct muster__link *link,
                                           const struct muster__wire_message *message)
{
    uint32_t words[2] = {htole32(message->ticket), htole32(message->descriptor_count)};
    struct iovec vector = {words, sizeof words};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * MUSTER__WIRE_DESCRIPTOR_LIMIT)];
    } control;
    memset(&control, 0, sizeof control);
    size_t length = sizeof(int) * message->descriptor_count;
    struct msghdr packet = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = CMSG_SPACE(length)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(header), message->descriptors, length);
    ssize_t sent;
    do
        sent = sendmsg(link->options.descriptor_fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return MUSTER_OK;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS)
        return MUSTER_QUEUE_FULL;
    return errno == EPIPE || errno == ECONNRESET ? MUSTER_CLOSED : MUSTER_SYSTEM;
}

/* Descriptors leave before the frame that names them is queued, so that they are there when it is
 * read. */
static enum muster_status begin_descriptors_locked(struct muster__link *link,
                                                   struct muster__wire_message *message)
{
    message->ticket = 0;
    if (message->descriptor_count == 0)
        return MUSTER_OK;
    if (link->options.descriptor_fd < 0 || message->descriptors == NULL)
        return MUSTER_INVALID_ARGUMENT;
    if (link->out.tickets >= TICKETS_WAITING)
        return MUSTER_QUEUE_FULL;
    message->ticket = link->out.last_ticket + 1;
    if (message->ticket == 0)
        message->ticket = 1;
    return MUSTER_OK;
}

static enum muster_status end_descriptors_locked(struct muster__link *link,
                                                 const struct muster__wire_message *message)
{
    if (message->ticket == 0)
        return MUSTER_OK;
    enum muster_status status = send_descriptors(link, message);
    if (status == MUSTER_OK) {
        link->out.last_ticket = message->ticket;
        link->out.tickets++;
    }
    return status;
}

/* ---- queueing ---- */

struct outgoing {
    struct muster__wire_message message; /* with its ticket */
    bool is_body;                        /* a BODY that is cut into pieces */
    bool is_bulk;                        /* bytes travel behind the frame, or instead of it */
    void (*release)(void *owner);
    void *owner;
};

/* Both endings of most requests come in one turn: ENDED becomes a flag of the RESULT that is still the last frame. */
static bool fold_ended_locked(struct muster__link *link, const struct muster__wire_message *message)
{
    struct muster__wire_buffer *small = &link->out.small;
    size_t last = link->out.small_last;
    uint64_t actor;
    if (message->type != MUSTER__WIRE_ENDED || link->out.small_frames == 0 ||
        (unsigned char)small->data[last + 4] != MUSTER__WIRE_RESULT)
        return false;
    memcpy(&actor, small->data + last + 16, sizeof actor); /* see the header in wire.h */
    if (le64toh(actor) != message->actor)
        return false;
    small->data[last + 5] |= MUSTER__WIRE_FLAG_ENDED;
    return true;
}

static enum muster_status queue_small_locked(struct muster__link *link, const struct outgoing *outgoing)
{
    struct muster__wire_buffer *small = &link->out.small;
    size_t before = small->length;
    if (fold_ended_locked(link, &outgoing->message))
        return MUSTER_OK;
    enum muster_status status =
        muster__wire_encode(small, link->options.side, &outgoing->message, NULL);
    if (status == MUSTER_OK) {
        status = end_descriptors_locked(link, &outgoing->message);
        if (status != MUSTER_OK)
            small->length = before;
    }
    if (status != MUSTER_OK)
        return status;
    link->out.small_frames++;
    link->out.small_last = before;
    link->out.small_tickets += outgoing->message.ticket != 0;
    link->out.waiting += small->length - before;
    return MUSTER_OK;
}

/* Copies all parts into one piece of memory, which the item frees. */
static bool keep_copy(struct muster__link_item *item, size_t total)
{
    char *copy = malloc(total > 0 ? total : 1);
    if (copy == NULL)
        return false;
    item->owner = copy;
    item->release = free;
    for (uint32_t i = 0; i < item->part_count; i++) {
        size_t length = item->parts[i].length;
        if (length > 0)
            memcpy(copy, item->parts[i].data, length);
        item->parts[i].data = copy;
        copy += length;
    }
    return true;
}

static struct muster__link_item *new_item(const struct outgoing *outgoing, size_t *ret_total)
{
    const struct muster__wire_message *message = &outgoing->message;
    uint32_t parts = !outgoing->is_bulk ? 0 : outgoing->is_body ? 1 : message->value.buffer_count + 1;
    struct muster__link_item *item = calloc(1, sizeof *item + parts * sizeof item->parts[0]);
    if (item == NULL)
        return NULL;
    item->piece_type = outgoing->is_body ? MUSTER__WIRE_BODY : MUSTER__WIRE_VALUE_PIECE;
    item->flags = outgoing->is_body ? message->flags : 0;
    item->worker = message->worker;
    item->actor = message->actor;
    item->part_count = parts;
    size_t total = 0;
    for (uint32_t i = 0; i < parts; i++) {
        item->parts[i] = outgoing->is_body ? message->piece.bytes
                         : i == 0          ? message->value.bytes
                                           : message->value.buffers[i - 1];
        total += item->parts[i].length;
    }
    if (outgoing->is_bulk && outgoing->release == NULL && !keep_copy(item, total)) {
        free(item);
        return NULL;
    }
    skip_finished_parts(item);
    *ret_total = total;
    return item;
}

/* A body's bytes go without a frame of their own, but their header is checked as any. */
static enum muster_status check_body(struct muster__link *link,
                                     const struct muster__wire_message *message)
{
    struct muster__wire_buffer buffer = {0};
    struct muster__wire_message probe = *message;
    probe.piece.bytes.length = 1;
    enum muster_status status = muster__wire_encode(&buffer, link->options.side, &probe, NULL);
    muster__wire_buffer_clean_up(&buffer);
    return status;
}

static enum muster_status fill_item(struct muster__link *link, struct muster__link_item *item,
                                    const struct outgoing *outgoing)
{
    if (outgoing->is_body)
        return check_body(link, &outgoing->message);
    return muster__wire_encode(&item->frame, link->options.side, &outgoing->message, NULL);
}

/* Where the message waits: in the lane, in a new one, or (`ret_lane` is NULL) until its worker has
 * none. */
static enum muster_status choose_lane_locked(struct muster__link *link,
                                             const struct muster__wire_message *message,
                                             struct muster__link_lane **ret_lane, bool *ret_is_new)
{
    *ret_is_new = false;
    *ret_lane = NULL;
    if (message->type == MUSTER__WIRE_GONE && has_lane(link, message->worker))
        return MUSTER_OK;
    *ret_lane = find_lane(link, message);
    if (*ret_lane != NULL)
        return MUSTER_OK;
    *ret_is_new = true;
    *ret_lane = new_lane(link, message);
    return *ret_lane != NULL ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void wait_in_lane_locked(struct muster__link *link, struct muster__link_lane *lane, bool is_new,
                                struct muster__link_item *item)
{
    if (lane == NULL) {
        item->next = link->out.farewells;
        link->out.farewells = item;
        return;
    }
    append_item(lane, item);
    if (is_new)
        enter_lane(link, lane);
}

static enum muster_status queue_in_lane_locked(struct muster__link *link, struct outgoing *outgoing)
{
    size_t total = 0;
    struct muster__link_lane *lane = NULL;
    bool is_new = false;
    struct muster__link_item *item = new_item(outgoing, &total);
    if (item == NULL)
        return MUSTER_NO_MEMORY;
    enum muster_status status = fill_item(link, item, outgoing);
    if (status == MUSTER_OK)
        status = choose_lane_locked(link, &outgoing->message, &lane, &is_new);
    if (status == MUSTER_OK)
        status = end_descriptors_locked(link, &outgoing->message);
    if (status != MUSTER_OK) {
        if (is_new)
            free(lane);
        destroy_items(item); /* and its own copy; the owner's release is not in it yet */
        return status;
    }
    if (outgoing->is_bulk && outgoing->release != NULL) {
        item->release = outgoing->release;
        item->owner = outgoing->owner;
        outgoing->release = NULL;
    }
    item->has_ticket = outgoing->message.ticket != 0;
    link->out.waiting += item->frame.length + total;
    wait_in_lane_locked(link, lane, is_new, item);
    return MUSTER_OK;
}

/* Nothing that waits in a lane has to go before it. */
static bool is_free_locked(struct muster__link *link, const struct muster__wire_message *message)
{
    if (link->out.active.count == 0)
        return true;
    return message->type == MUSTER__WIRE_GONE ? !has_lane(link, message->worker)
                                              : find_lane(link, message) == NULL;
}

static enum muster_status queue_locked(struct muster__link *link, struct outgoing *outgoing)
{
    struct muster__wire_message *message = &outgoing->message;
    if (is_dead_locked(link))
        return MUSTER_CLOSED;
    if (muster__wire_may_refuse(message->type) && link->out.waiting >= link->options.high_mark) {
        link->out.refused = true;
        return MUSTER_QUEUE_FULL;
    }
    enum muster_status status = begin_descriptors_locked(link, message);
    if (status != MUSTER_OK)
        return status;
    if (!outgoing->is_bulk && is_free_locked(link, message))
        status = queue_small_locked(link, outgoing);
    else
        status = queue_in_lane_locked(link, outgoing);
    if (status == MUSTER_OK && link->out.small.length > link->options.hard_limit)
        break_locked(link, MUSTER_QUEUE_FULL, "the peer does not read what it is sent");
    return status;
}

static enum muster_status classify(struct muster__link *link, struct outgoing *outgoing)
{
    const struct muster__wire_message *message = &outgoing->message;
    if (message->type == MUSTER__WIRE_VALUE_PIECE)
        return MUSTER_INVALID_ARGUMENT;
    if (message->type == MUSTER__WIRE_BODY) {
        outgoing->is_bulk = outgoing->is_body = message->piece.bytes.length > BODY_SMALL;
        return message->worker != 0 && message->piece.bytes.length <= link->options.value_limit
                   ? MUSTER_OK
                   : MUSTER_INVALID_ARGUMENT;
    }
    uint64_t total = muster__wire_value_total(&message->value);
    outgoing->is_bulk = total > MUSTER__WIRE_INLINE;
    if (total > link->options.value_limit ||
        (outgoing->is_bulk && message->worker == 0 && message->actor == 0))
        return MUSTER_INVALID_ARGUMENT;
    return MUSTER_OK;
}

static void close_descriptors(const struct muster__wire_message *message)
{
    for (uint32_t i = 0; i < message->descriptor_count; i++)
        close(message->descriptors[i]);
}

enum muster_status muster__link_send_owned(struct muster__link *link,
                                           const struct muster__wire_message *message, unsigned flags,
                                           void (*release)(void *owner), void *owner)
{
    struct outgoing outgoing = {.message = *message, .release = release, .owner = owner};
    enum muster_status status = classify(link, &outgoing);
    if (status != MUSTER_OK)
        return status;
    pthread_mutex_lock(&link->lock);
    status = queue_locked(link, &outgoing);
    if (status != MUSTER_OK || link->out.writing || (link->out.full && !link->out.broken)) {
        pthread_mutex_unlock(&link->lock);
    } else if ((flags & MUSTER__LINK_NOW) != 0 || link->out.broken) {
        write_out(link);
    } else {
        bool ask = !link->out.flush_asked;
        link->out.flush_asked = true;
        pthread_mutex_unlock(&link->lock);
        if (ask && link->options.listener->flush_soon != NULL)
            link->options.listener->flush_soon(link->options.user_data);
    }
    if (status != MUSTER_OK)
        return status;
    close_descriptors(message);
    if (outgoing.release != NULL)
        outgoing.release(outgoing.owner);
    return MUSTER_OK;
}

enum muster_status muster__link_send(struct muster__link *link,
                                     const struct muster__wire_message *message, unsigned flags)
{
    return muster__link_send_owned(link, message, flags, NULL, NULL);
}
