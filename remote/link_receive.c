/* remote/link_receive.c - the way in: frames out of the stream, values out of pieces, descriptors
 * to their frames.
 *
 * Thread: the one in on_ready, for all of it.  Promise: whatever the peer sends, what is kept of it
 * is bounded, and the first thing that no peer may send ends the link with a sentence. */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote/link_internal.h"

#define ROOM ((size_t)128 << 10)    /* of the buffer, when no frame is larger */
#define ROOM_TAIL ((size_t)4 << 10) /* read behind the bytes of a piece: the next frame's header */
#define BELLS_AT_ONCE 256
#define ROOM_PIECES \
    ((size_t)8 << 10) /* read at once while values come in pieces, so that few bytes are moved */

/* ---- failing ---- */

static void fail(struct muster__link *link, enum muster_status status, const char *format, ...)
    MUSTER_PRINTF(3, 4);
static void fail(struct muster__link *link, enum muster_status status, const char *format, ...)
{
    if (link->in.failure != MUSTER_OK)
        return;
    link->in.failure = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(link->in.sentence, sizeof link->in.sentence, format, arguments);
    va_end(arguments);
}

static void fail_frame(struct muster__link *link, enum muster_status status, const char *frame,
                       const struct muster__wire_fault *fault)
{
    if (status == MUSTER_NO_MEMORY)
        fail(link, status, "no memory for a frame of the peer's");
    else
        fail(link, status, "a bad frame (%s, frame %llu): %s, at byte %zu",
             muster__wire_type_name((unsigned char)frame[4]), (unsigned long long)link->in.frames + 1,
             fault->sentence, fault->offset);
}

static bool goes_on(const struct muster__link *link)
{
    return link->in.failure == MUSTER_OK && !atomic_load(&link->closed);
}

static void tell_end(struct muster__link *link)
{
    if (link->in.ended || atomic_load(&link->closed))
        return;
    link->in.ended = true;
    muster__link_break(link, MUSTER_CLOSED, "the peer has ended");
    link->options.listener->ended(link->options.user_data, link->in.failure, link->in.sentence);
}

/* ---- descriptors ---- */

/* As many as the kernel lets travel in one packet.  What a packet has no room for the kernel closes, as it is. */
#define PACKET_MOST 253
#define EMPTY_MOST 1024

/* A socket of the other side's may be set to linger: then whoever closes it last waits for a peer that may never
 * answer.  This thread polls, so that is taken off first. */
static void drop(int descriptor)
{
    static const struct linger at_once;
    (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(descriptor);
}

static void close_all(const int *descriptors, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (descriptors[i] >= 0)
            drop(descriptors[i]);
}

/* Takes the descriptors out of a packet: their number, at most `limit`; the others are closed. */
static uint32_t unpack(struct msghdr *packet, int *descriptors, uint32_t limit)
{
    uint32_t count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(packet); header != NULL;
         header = CMSG_NXTHDR(packet, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = header->cmsg_len - CMSG_LEN(0);
        for (size_t i = 0; i + sizeof(int) <= bytes; i += sizeof(int)) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i, sizeof descriptor);
            if (count < limit)
                descriptors[count++] = descriptor;
            else
                drop(descriptor);
        }
    }
    return count;
}

/* One packet, whatever it is.  False: there is none, or an empty one; *ret_good: it is what it should be. */
static bool read_packet(struct muster__link *link, struct muster__link_parked *ret_parked, bool *ret_good)
{
    uint32_t words[3] = {0};
    struct iovec vector = {words, sizeof words};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * PACKET_MOST)];
    } control;
    struct msghdr packet = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length;
    do
        length = recvmsg(link->options.descriptor_fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return false;
    ret_parked->count = unpack(&packet, ret_parked->descriptors, MUSTER__WIRE_DESCRIPTOR_LIMIT);
    ret_parked->ticket = le32toh(words[0]);
    *ret_good = length == 8 && (packet.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0 && ret_parked->count > 0 &&
                ret_parked->count == le32toh(words[1]) && ret_parked->ticket != 0;
    return length > 0 || ret_parked->count > 0;
}

/* False: there is none, or the link has failed. */
static bool receive_packet(struct muster__link *link, struct muster__link_parked *ret_parked)
{
    bool is_good = false;
    if (!read_packet(link, ret_parked, &is_good))
        return false;
    if (!is_good) {
        close_all(ret_parked->descriptors, ret_parked->count);
        fail(link, MUSTER_INVALID_ARGUMENT, "a bad packet of descriptors");
    }
    return is_good;
}

static bool unpark(struct muster__link *link, uint32_t ticket, struct muster__link_parked *ret_parked)
{
    for (unsigned i = 0; i < link->in.parked_count; i++) {
        if (link->in.parked[i].ticket != ticket)
            continue;
        *ret_parked = link->in.parked[i];
        link->in.parked[i] = link->in.parked[--link->in.parked_count];
        return true;
    }
    return false;
}

/* Descriptors leave before their frame, so they are here; those before them wait for theirs. */
static bool claim(struct muster__link *link, const struct muster__wire_message *message,
                  struct muster__link_parked *ret_parked)
{
    struct muster__link_parked next;
    bool found = unpark(link, message->ticket, ret_parked);
    while (!found && link->options.descriptor_fd >= 0 && receive_packet(link, &next)) {
        if (next.ticket == message->ticket) {
            *ret_parked = next;
            found = true;
        } else if (link->in.parked_count < MUSTER__LINK_TICKETS_OPEN) {
            link->in.parked[link->in.parked_count++] = next;
        } else {
            close_all(next.descriptors, next.count);
            fail(link, MUSTER_INVALID_ARGUMENT,
                 "more than %u packets of descriptors that no frame names", MUSTER__LINK_TICKETS_OPEN);
        }
    }
    if (found && ret_parked->count == message->descriptor_count)
        return true;
    if (found)
        close_all(ret_parked->descriptors, ret_parked->count);
    fail(link, MUSTER_INVALID_ARGUMENT,
         "a frame names %u descriptors with ticket %u, which did not come", message->descriptor_count,
         message->ticket);
    return false;
}

/* ---- delivering ---- */

/* Descriptors are the listener's, if it takes them. */
static void deliver(struct muster__link *link, struct muster__wire_message *message, int *descriptors)
{
    link->in.frames++;
    message->descriptors = descriptors;
    uint32_t count = message->descriptor_count;
    if (!atomic_load(&link->closed))
        link->options.listener->frame(link->options.user_data, message);
    close_all(descriptors, count);
}

static void destroy_incoming(struct muster__link_incoming *incoming)
{
    for (uint32_t i = 0; i < incoming->part_count; i++)
        free(incoming->parts[i].data);
    close_all(incoming->descriptors, incoming->descriptor_count);
    free(incoming->frame);
    free(incoming);
}

void muster__link_forget_incoming(struct muster__link *link)
{
    while (link->in.incoming != NULL) {
        struct muster__link_incoming *incoming = link->in.incoming;
        link->in.incoming = incoming->next;
        destroy_incoming(incoming);
    }
    link->in.incoming_count = 0;
    link->in.incomplete = 0;
    link->in.direct = NULL;
    for (unsigned i = 0; i < link->in.parked_count; i++)
        close_all(link->in.parked[i].descriptors, link->in.parked[i].count);
    link->in.parked_count = 0;
}

/* Before the last look at it: what nobody ever asked for is in there still, and would be closed with it. */
void muster__link_drop_unread_descriptors(struct muster__link *link)
{
    struct muster__link_parked next;
    bool is_good;
    /* An empty packet looks like the end; no socket holds more of them than this. */
    for (int empty = 0; link->options.descriptor_fd >= 0 && empty < EMPTY_MOST; empty++)
        if (read_packet(link, &next, &is_good)) {
            close_all(next.descriptors, next.count);
            empty = -1;
        } else if (errno == EAGAIN) {
            break;
        }
}

static enum muster__wire_side peer(const struct muster__link *link)
{
    return link->options.side == MUSTER__WIRE_PARENT ? MUSTER__WIRE_CHILD : MUSTER__WIRE_PARENT;
}

/* ---- values in pieces ---- */

static struct muster__link_incoming **find_incoming(struct muster__link *link,
                                                    const struct muster__wire_message *message)
{
    struct muster__link_incoming **at = &link->in.incoming;
    while (*at != NULL && ((*at)->worker != message->worker || (*at)->actor != message->actor))
        at = &(*at)->next;
    return at;
}

static bool may_open(struct muster__link *link, const struct muster__wire_message *message,
                     uint64_t total)
{
    if (*find_incoming(link, message) != NULL)
        fail(link, MUSTER_INVALID_ARGUMENT, "%s while its value is under way",
             muster__wire_type_name(message->type));
    else if (link->in.incoming_count >= MUSTER__LINK_VALUES_OPEN)
        fail(link, MUSTER_INVALID_ARGUMENT, "more than %u values in pieces", MUSTER__LINK_VALUES_OPEN);
    else if (total > link->options.value_limit ||
             total > link->options.incomplete_limit - link->in.incomplete)
        fail(link, MUSTER_INVALID_ARGUMENT, "a value of %llu bytes, which is more than is taken",
             (unsigned long long)total);
    return link->in.failure == MUSTER_OK;
}

static void skip_finished_parts(struct muster__link_incoming *incoming)
{
    while (incoming->part < incoming->part_count &&
           incoming->offset == incoming->parts[incoming->part].length) {
        incoming->part++;
        incoming->offset = 0;
    }
}

static void open_incoming(struct muster__link *link, const char *frame, size_t length,
                          const struct muster__wire_message *message, const int *descriptors)
{
    uint64_t total = muster__wire_value_total(&message->value);
    uint32_t parts = message->value.buffer_count + 1;
    struct muster__link_incoming *incoming = NULL;
    bool may = may_open(link, message, total);
    if (may)
        incoming = calloc(1, sizeof *incoming + parts * sizeof incoming->parts[0]);
    if (incoming != NULL)
        incoming->frame = malloc(length);
    if (incoming == NULL || incoming->frame == NULL) {
        if (may)
            fail(link, MUSTER_NO_MEMORY, "no memory for a value of the peer's");
        free(incoming);
        close_all(descriptors, message->descriptor_count);
        return;
    }
    memcpy(incoming->frame, frame, length);
    incoming->frame_length = length;
    incoming->worker = message->worker;
    incoming->actor = message->actor;
    incoming->total = (size_t)total;
    incoming->descriptor_count = message->descriptor_count;
    memcpy(incoming->descriptors, descriptors, message->descriptor_count * sizeof descriptors[0]);
    incoming->part_count = parts;
    for (uint32_t i = 0; i < parts; i++)
        incoming->parts[i].length =
            i == 0 ? message->value.bytes.length : message->value.buffers[i - 1].length;
    skip_finished_parts(incoming);
    incoming->next = link->in.incoming;
    link->in.incoming = incoming;
    link->in.incoming_count++;
    link->in.incomplete += incoming->total;
}

static void take_out(struct muster__link *link, struct muster__link_incoming *incoming)
{
    struct muster__link_incoming **at = &link->in.incoming;
    while (*at != incoming)
        at = &(*at)->next;
    *at = incoming->next;
    link->in.incoming_count--;
    link->in.incomplete -= incoming->total;
}

/* All of it is here: its frame is decoded again, and gets its bytes. */
static void complete(struct muster__link *link, struct muster__link_incoming *incoming)
{
    struct muster__wire_message message;
    struct muster__wire_fault fault = {0};
    take_out(link, incoming);
    enum muster_status status = muster__wire_decode(incoming->frame, incoming->frame_length, peer(link),
                                                    &link->in.scratch, &message, &fault);
    if (status != MUSTER_OK) {
        fail_frame(link, status, incoming->frame, &fault);
        destroy_incoming(incoming);
        return;
    }
    struct muster_bytes *buffers = (struct muster_bytes *)message.value.buffers; /* in the scratch */
    message.value.bytes.data = incoming->parts[0].data;
    for (uint32_t i = 1; i < incoming->part_count; i++)
        buffers[i - 1].data = incoming->parts[i].data;
    link->in.delivering = incoming;
    message.descriptor_count = incoming->descriptor_count;
    incoming->descriptor_count = 0;
    deliver(link, &message, incoming->descriptors);
    link->in.delivering = NULL;
    destroy_incoming(incoming);
}

void *muster__link_take_part(struct muster__link *link, uint32_t part)
{
    struct muster__link_incoming *incoming = link->in.delivering;
    if (incoming == NULL || part >= incoming->part_count)
        return NULL;
    void *data = incoming->parts[part].data;
    incoming->parts[part].data = NULL;
    return data;
}

/* `length` bytes more of the part under way are in its memory. */
static void arrived(struct muster__link *link, struct muster__link_incoming *incoming, size_t length)
{
    incoming->offset += length;
    skip_finished_parts(incoming);
    if (incoming->part == incoming->part_count && link->in.direct == NULL)
        complete(link, incoming);
}

static bool piece_fits(struct muster__link *link, struct muster__link_incoming *incoming, size_t length)
{
    if (incoming == NULL || length > incoming->parts[incoming->part].length - incoming->offset) {
        fail(link, MUSTER_INVALID_ARGUMENT,
             incoming == NULL ? "a piece of a value that nobody has opened"
                              : "a piece beyond its part");
        return false;
    }
    if (incoming->parts[incoming->part].data == NULL)
        incoming->parts[incoming->part].data = malloc(incoming->parts[incoming->part].length);
    if (incoming->parts[incoming->part].data == NULL)
        fail(link, MUSTER_NO_MEMORY, "no memory for a value of %zu bytes of the peer's",
             incoming->total);
    return link->in.failure == MUSTER_OK;
}

static bool take_padding(struct muster__link *link)
{
    while (link->in.direct_padding > 0 && link->in.begin < link->in.end) {
        if (link->in.data[link->in.begin] != 0) {
            fail(link, MUSTER_INVALID_ARGUMENT, "a piece with padding that is not zero");
            return false;
        }
        link->in.begin++;
        link->in.direct_padding--;
    }
    return link->in.direct_padding == 0;
}

/* The piece under way is through, with its padding. */
static void end_direct(struct muster__link *link)
{
    struct muster__link_incoming *incoming = link->in.direct;
    link->in.direct = NULL;
    arrived(link, incoming, 0);
}

/* The header is at the beginning of the buffer, and some of the bytes. */
static void begin_piece(struct muster__link *link)
{
    struct muster__wire_message message;
    struct muster__wire_fault fault = {0};
    const char *header = link->in.data + link->in.begin;
    enum muster_status status = muster__wire_decode_piece_header(header, peer(link), &message, &fault);
    if (status != MUSTER_OK) {
        fail_frame(link, status, header, &fault);
        return;
    }
    struct muster__link_incoming *incoming = *find_incoming(link, &message);
    size_t length = message.piece.bytes.length;
    if (!piece_fits(link, incoming, length))
        return;
    link->in.begin += MUSTER__WIRE_PIECE_HEADER;
    size_t here = link->in.end - link->in.begin;
    if (here > length)
        here = length;
    memcpy(incoming->parts[incoming->part].data + incoming->offset, link->in.data + link->in.begin,
           here);
    link->in.begin += here;
    link->in.direct = incoming;
    link->in.direct_left = length - here;
    link->in.direct_padding = muster__wire_padding(length);
    arrived(link, incoming, here);
    link->in.frames++;
}

/* ---- rings ---- */

/* Best effort: without memory the socket goes on alone. */
static void offer_ring(struct muster__link *link)
{
    int fd = -1;
    if (muster__ring_new(link->options.ring_bytes, &link->ring, &fd) == MUSTER_OK)
        muster__link_switch(link, fd);
}

/* Behind RING there are only bells in the socket, and here are those that came along with it. */
static void read_from_ring(struct muster__link *link)
{
    for (size_t i = link->in.begin; i < link->in.end; i++)
        if (link->in.data[i] != 0)
            fail(link, MUSTER_INVALID_ARGUMENT, "something else than a bell behind RING");
    link->in.begin = link->in.end = 0;
    link->in.ring = true;
}

static void take_ring(struct muster__link *link, struct muster__wire_message *message, const int *descriptors)
{
    bool is_parent = link->options.side == MUSTER__WIRE_PARENT;
    enum muster_status status = MUSTER_OK;
    link->in.frames++;
    if (!link->options.ring || link->in.ring || (is_parent && link->ring == NULL))
        fail(link, MUSTER_INVALID_ARGUMENT, "a RING that nobody asked for");
    else if (!is_parent)
        status = muster__ring_attach(descriptors[0], &link->ring);
    close_all(descriptors, message->descriptor_count);
    if (status != MUSTER_OK)
        fail(link, status, "a RING whose memory cannot be used: %s", muster_status_sentence(status));
    if (link->in.failure != MUSTER_OK)
        return;
    read_from_ring(link);
    if (!is_parent)
        muster__link_switch(link, -1);
}

/* ---- frames ---- */

/* The first frame is HELLO, and no other. */
static bool greets(struct muster__link *link, const struct muster__wire_message *message)
{
    bool is_hello = message->type == MUSTER__WIRE_HELLO;
    if (is_hello == link->in.greeted)
        fail(link, MUSTER_INVALID_ARGUMENT, is_hello ? "a second %s" : "%s before HELLO",
             muster__wire_type_name(message->type));
    link->in.greeted = true;
    return link->in.failure == MUSTER_OK;
}

static void take_frame(struct muster__link *link, const char *frame, size_t length)
{
    struct muster__wire_message message;
    struct muster__wire_fault fault = {0};
    struct muster__link_parked claimed;
    claimed.count = 0;
    enum muster_status status =
        muster__wire_decode(frame, length, peer(link), &link->in.scratch, &message, &fault);
    if (status != MUSTER_OK) {
        fail_frame(link, status, frame, &fault);
        return;
    }
    if (!greets(link, &message) || (message.ticket != 0 && !claim(link, &message, &claimed)))
        return;
    if (message.type == MUSTER__WIRE_HELLO && link->options.ring && link->options.side == MUSTER__WIRE_PARENT &&
        link->options.descriptor_fd >= 0 && (message.hello.grants & MUSTER__WIRE_TAKES_RING) != 0)
        offer_ring(link);
    if (message.type == MUSTER__WIRE_RING)
        take_ring(link, &message, claimed.descriptors);
    else if (muster__wire_in_pieces(&message))
        open_incoming(link, frame, length, &message, claimed.descriptors);
    else
        deliver(link, &message, claimed.descriptors);
}

/* One frame, or the rest of a piece.  False: more bytes are needed first. */
static bool take_one(struct muster__link *link)
{
    if (link->in.direct != NULL) {
        if (link->in.direct_left > 0 || !take_padding(link))
            return false;
        end_direct(link);
        return true;
    }
    struct muster__wire_fault fault = {0};
    const char *frame = link->in.data + link->in.begin;
    size_t available = link->in.end - link->in.begin;
    size_t length = muster__wire_frame_length(frame, available, &fault);
    link->in.needed = length;
    if (length == SIZE_MAX) {
        fail(link, MUSTER_INVALID_ARGUMENT, "a bad frame (frame %llu): %s",
             (unsigned long long)link->in.frames + 1, fault.sentence);
        return false;
    }
    if (available >= MUSTER__WIRE_PIECE_HEADER && (unsigned char)frame[4] == MUSTER__WIRE_VALUE_PIECE) {
        begin_piece(link);
        return true;
    }
    if (length == 0 || available < length)
        return false;
    link->in.begin += length;
    take_frame(link, frame, length);
    return true;
}

static void take_frames(struct muster__link *link)
{
    while (goes_on(link) && !atomic_load(&link->in.paused) &&
           (link->in.begin < link->in.end || link->in.direct != NULL))
        if (!take_one(link))
            break;
    if (link->in.begin == link->in.end) {
        link->in.begin = link->in.end = 0;
        link->in.needed = 0;
    }
}

/* ---- reading ---- */

/* Room behind what is there for the rest of the frame, or for the usual amount. */
static bool make_room(struct muster__link *link)
{
    size_t held = link->in.end - link->in.begin;
    size_t capacity = link->in.needed > ROOM ? MUSTER__WIRE_FRAME_LIMIT + ROOM_TAIL : ROOM;
    bool shrinks = capacity < link->in.capacity && held == 0;
    if (capacity > link->in.capacity || shrinks) {
        char *data = malloc(capacity);
        if (data == NULL) {
            fail(link, MUSTER_NO_MEMORY, "no memory to read into");
            return false;
        }
        if (held > 0)
            memcpy(data, link->in.data + link->in.begin, held);
        free(link->in.data);
        link->in.data = data;
        link->in.capacity = capacity;
    } else if (link->in.begin > 0) {
        memmove(link->in.data, link->in.data + link->in.begin, held);
    }
    link->in.begin = 0;
    link->in.end = held;
    return true;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where the next bytes go: to the piece under way, and behind it into the buffer.  The number of
 * vectors. */
static int aim(struct muster__link *link, struct iovec vectors[2], size_t *ret_wanted)
{
    int count = 0;
    size_t room = link->in.capacity - link->in.end;
    struct muster__link_incoming *direct = link->in.direct;
    if (direct != NULL && link->in.direct_left > 0) {
        vectors[count++] =
            (struct iovec){direct->parts[direct->part].data + direct->offset, link->in.direct_left};
        room = min_size(room, ROOM_TAIL);
    } else if (link->in.incoming_count > 0 && link->in.needed <= ROOM_PIECES) {
        room = min_size(room, ROOM_PIECES);
    }
    vectors[count++] = (struct iovec){link->in.data + link->in.end, room};
    *ret_wanted = room + (count == 2 ? link->in.direct_left : 0);
    return count;
}

static void account(struct muster__link *link, size_t length)
{
    size_t direct = 0;
    if (link->in.direct != NULL)
        direct = min_size(length, link->in.direct_left);
    link->in.end += length - direct;
    link->in.bytes += length;
    if (direct > 0) {
        link->in.direct_left -= direct;
        arrived(link, link->in.direct, direct);
    }
}

static void fail_at_end(struct muster__link *link, int error)
{
    if (link->in.begin < link->in.end || link->in.direct != NULL || link->in.incoming_count > 0)
        fail(link, MUSTER_CLOSED, "the peer has ended in the middle of a %s",
             link->in.begin < link->in.end || link->in.direct != NULL ? "frame" : "value");
    else if (error != 0 && error != ECONNRESET)
        fail(link, MUSTER_SYSTEM, "the data socket cannot be read: %s", strerror(error));
    else
        fail(link, MUSTER_CLOSED, "the peer has closed the connection");
}

enum reading { READ_SOME, READ_ALL, READ_NOTHING };

static enum reading read_ring_once(struct muster__link *link, size_t *ret_length)
{
    struct iovec vectors[2];
    size_t wanted;
    bool wake = false;
    if (!make_room(link))
        return READ_NOTHING;
    unsigned count = (unsigned)aim(link, vectors, &wanted);
    link->in.reads++;
    if (muster__ring_read(link->ring, vectors, count, ret_length, &wake) != MUSTER_OK) {
        fail(link, MUSTER_INVALID_ARGUMENT, "a position in the ring that cannot be");
        return READ_NOTHING;
    }
    if (wake)
        (void)!muster__link_ring_bell(link); /* if it has ended, the socket tells */
    if (*ret_length == 0 && link->in.peer_ended)
        fail_at_end(link, link->in.error);
    if (*ret_length == 0)
        return READ_NOTHING;
    account(link, *ret_length);
    return READ_SOME; /* the end shows when it is empty */
}

static enum reading read_once(struct muster__link *link, size_t *ret_length)
{
    if (link->in.ring)
        return read_ring_once(link, ret_length);
    struct iovec vectors[2];
    size_t wanted;
    ssize_t length;
    if (!make_room(link))
        return READ_NOTHING;
    int count = aim(link, vectors, &wanted);
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
    link->in.reads++;
    do
        length = count == 1 ? recv(link->options.data_fd, vectors[0].iov_base, vectors[0].iov_len,
                                   MSG_DONTWAIT)
                            : recvmsg(link->options.data_fd, &message, MSG_DONTWAIT);
    while (length < 0 && errno == EINTR);
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return READ_NOTHING;
    if (length <= 0) {
        fail_at_end(link, length < 0 ? errno : 0);
        return READ_NOTHING;
    }
    *ret_length = (size_t)length;
    account(link, (size_t)length);
    return (size_t)length < wanted ? READ_ALL : READ_SOME;
}

/* Why we broke it ourselves says more than that the socket has ended. */
static void prefer_own_failure(struct muster__link *link)
{
    pthread_mutex_lock(&link->lock);
    if (link->out.broken && link->out.failure != MUSTER_OK && link->in.failure != MUSTER_OK &&
        !link->in.ended) {
        link->in.failure = link->out.failure;
        snprintf(link->in.sentence, sizeof link->in.sentence, "%s", link->out.failure_sentence);
    }
    pthread_mutex_unlock(&link->lock);
}

/* True: what waits had no room in the ring, and may have some now. */
static bool publish_stats(struct muster__link *link)
{
    pthread_mutex_lock(&link->lock);
    bool waits = link->out.full && link->out.ring;
    link->out.stats.frames_in = link->in.frames;
    link->out.stats.bytes_in = link->in.bytes;
    link->out.stats.reads = link->in.reads;
    link->out.stats.incomplete = link->in.incomplete;
    link->out.stats.descriptors_parked = link->in.parked_count;
    link->out.stats.ring_in = link->in.ring;
    pthread_mutex_unlock(&link->lock);
    return waits;
}

/* True: there may be more.  A read that did not fill what it was given has emptied the socket,
 * unless the peer has ended: that comes behind the bytes. */
static bool read_in(struct muster__link *link)
{
    size_t total = 0;
    bool is_more = true;
    take_frames(link);
    while (is_more && goes_on(link) && !atomic_load(&link->in.paused)) {
        size_t length = 0;
        if (total >= link->options.read_budget)
            return true;
        bool was_ring = link->in.ring;
        enum reading how = read_once(link, &length);
        is_more = how == READ_SOME || (how == READ_ALL && link->in.peer_ended);
        total += length;
        take_frames(link);
        is_more |= link->in.ring && !was_ring;
    }
    return false;
}

/* Of the socket beside the ring: bells, which say nothing but that there is something, and the end.  It is read before the ring, so
 * that what was written before the end is there.  True: there may be more. */
static bool hear_bells(struct muster__link *link)
{
    char bells[BELLS_AT_ONCE];
    ssize_t length;
    do
        length = recv(link->options.data_fd, bells, sizeof bells, MSG_DONTWAIT);
    while (length < 0 && errno == EINTR);
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    for (ssize_t i = 0; i < length; i++)
        if (bells[i] != 0)
            fail(link, MUSTER_INVALID_ARGUMENT, "something else than a bell behind RING");
    if (length <= 0) {
        link->in.peer_ended = true;
        link->in.error = length < 0 ? errno : 0;
        return false;
    }
    return length == sizeof bells;
}

bool muster__link_on_ready(struct muster__link *link, uint32_t events)
{
    bool is_more = false, rings_on = false;
    if (atomic_load(&link->closed) || link->in.ended)
        return false;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        link->in.peer_ended = true; /* edge-triggered, it is told once */
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        muster__link_flush(link);
    if (link->in.ring && events != 0 && !atomic_load(&link->in.paused))
        rings_on = hear_bells(link);
    if (link->in.ring || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        is_more = read_in(link);
    is_more |= rings_on;
    if (publish_stats(link))
        muster__link_flush(link);
    if (link->in.failure != MUSTER_OK) {
        prefer_own_failure(link);
        tell_end(link);
        muster__link_forget_incoming(link);
        return false;
    }
    return is_more;
}

/* It can be read; while it is not, there is no need to look. */
static bool may_look(const struct muster__link *link)
{
    return link->in.ring && !link->in.ended && !atomic_load(&link->closed) && !atomic_load(&link->in.paused);
}

bool muster__link_look(const struct muster__link *link)
{
    return may_look(link) && muster__ring_has_bytes(link->ring);
}

bool muster__link_sleep(struct muster__link *link)
{
    return !may_look(link) || muster__ring_sleep(link->ring);
}

void muster__link_pause(struct muster__link *link, bool paused)
{
    atomic_store(&link->in.paused, paused);
}
