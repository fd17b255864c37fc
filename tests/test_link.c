/* tests/test_link.c - two ends of a link over socketpairs, driven by hand; and hostile bytes from a bare one.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failing_malloc.h"
#include "remote/link.h"
#include "runtime/check.h"

#ifndef OVER_RINGS
#define OVER_RINGS false /* tests/test_link_ring.c: the same in shared memory */
#endif
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define HEARD_LIMIT 4096

/* What one end heard. */
struct heard {
    enum muster__wire_type type;
    uint32_t worker;
    uint64_t actor;
    size_t total;      /* of its value, or of a body's piece */
    uint32_t checksum; /* of the same bytes */
};

struct end {
    struct muster__link *link;
    struct heard heard[HEARD_LIMIT];
    size_t count, bodies;
    int ended;
    enum muster_status status;
    char sentence[256];
    uint32_t interest;
    int interests, flushes, drained;
    bool takes_parts, takes_descriptors, closes, pauses;
    int descriptors[MUSTER__WIRE_DESCRIPTOR_LIMIT], kept_descriptors[MUSTER__WIRE_DESCRIPTOR_LIMIT];
    unsigned descriptor_count;
};

static struct end parent, child;

static uint32_t checksum(uint32_t sum, struct muster_bytes bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        sum = sum * 31 + (unsigned char)bytes.data[i];
    return sum;
}

static uint32_t checksum_value(const struct muster__wire_value *value)
{
    uint32_t sum = checksum(1, value->bytes);
    for (uint32_t i = 0; i < value->buffer_count; i++)
        sum = checksum(sum + 7, value->buffers[i]);
    return sum;
}

static void take_parts(struct end *end, const struct muster__wire_message *message)
{
    for (uint32_t i = 0; i <= message->value.buffer_count; i++) {
        struct muster_bytes part = i == 0 ? message->value.bytes : message->value.buffers[i - 1];
        void *memory = muster__link_take_part(end->link, i);
        ck_assert(memory == NULL || memory == part.data);
        ck_assert(memory != NULL || part.length == 0 || !muster__wire_in_pieces(message));
        free(memory);
        ck_assert_ptr_null(muster__link_take_part(end->link, i));
    }
}

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    struct end *end = user_data;
    long grants = malloc_grants;
    if (grants >= 0)
        malloc_all_granted(); /* assertions allocate */
    ck_assert_int_eq(end->ended, 0);
    if (message->type == MUSTER__WIRE_BODY)
        end->bodies++;
    ck_assert_uint_lt(end->count, HEARD_LIMIT);
    struct heard *heard = &end->heard[end->count++];
    bool is_piece = message->type == MUSTER__WIRE_BODY;
    *heard = (struct heard){
        message->type, message->worker, message->actor,
        is_piece ? message->piece.bytes.length : (size_t)muster__wire_value_total(&message->value),
        is_piece ? checksum(1, message->piece.bytes) : checksum_value(&message->value)};
    if (message->type == MUSTER__WIRE_PING)
        heard->actor = message->ping.number;
    if (end->takes_parts)
        take_parts(end, message);
    end->descriptor_count = message->descriptor_count;
    for (unsigned i = 0; i < message->descriptor_count; i++) {
        end->descriptors[i] = message->descriptors[i];
        if (end->takes_descriptors) {
            end->kept_descriptors[i] = message->descriptors[i];
            message->descriptors[i] = -1;
        }
    }
    if (end->pauses)
        muster__link_pause(end->link, true);
    if (end->closes)
        muster__link_close(end->link);
    if (grants >= 0)
        malloc_grants = grants;
}

static void on_ended(void *user_data, enum muster_status status, const char *sentence)
{
    struct end *end = user_data;
    end->ended++;
    end->status = status;
    snprintf(end->sentence, sizeof end->sentence, "%s", sentence);
}

static void on_interest(void *user_data, uint32_t events)
{
    struct end *end = user_data;
    end->interest = events;
    end->interests++;
}

static void on_flush_soon(void *user_data)
{
    ((struct end *)user_data)->flushes++;
}

static void on_drained(void *user_data)
{
    ((struct end *)user_data)->drained++;
}

static const struct muster__link_listener listener = {on_frame, on_ended, on_interest, on_flush_soon,
                                                      on_drained};

static struct muster__link_options options_of(enum muster__wire_side side, int data_fd,
                                              int descriptor_fd)
{
    return (struct muster__link_options){.side = side,
                                         .data_fd = data_fd,
                                         .descriptor_fd = descriptor_fd,
                                         .listener = &listener,
                                         .user_data = side == MUSTER__WIRE_PARENT ? &parent : &child,
                                         .ring = OVER_RINGS};
}

static void make_end(struct end *end, const struct muster__link_options *options)
{
    memset(end, 0, sizeof *end);
    ck_assert_int_eq(muster__link_new(options, &end->link), MUSTER_OK);
    end->interest = muster__link_events(end->link);
}

static void send_ok(struct end *end, struct muster__wire_message message, unsigned flags)
{
    ck_assert_int_eq(muster__link_send(end->link, &message, flags), MUSTER_OK);
}

static struct muster__wire_message hello(void)
{
    return (struct muster__wire_message){.type = MUSTER__WIRE_HELLO,
                                         .hello.version = MUSTER__WIRE_VERSION,
                                         .hello.grants = OVER_RINGS ? MUSTER__WIRE_TAKES_RING : 0};
}

/* Lets both ends read and write until nothing moves. */
static void pump(void)
{
    size_t before;
    do {
        before = parent.count + child.count + (size_t)parent.ended + (size_t)child.ended;
        for (int i = 0; i < 64; i++) {
            struct muster__link_stats stats;
            (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLOUT);
            (void)muster__link_on_ready(child.link, EPOLLIN | EPOLLOUT);
            muster__link_stats(parent.link, &stats);
            i = stats.waiting > 0 && !parent.ended ? 0 : i;
        }
    } while (before != parent.count + child.count + (size_t)parent.ended + (size_t)child.ended);
}

static int sockets[2], descriptor_sockets[2];

static void open_sockets(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, descriptor_sockets), 0);
}

static void greet(void)
{
    send_ok(&parent, hello(), 0);
    send_ok(&child, hello(), 0);
    pump();
    ck_assert_uint_eq(parent.count, 1);
    ck_assert_uint_eq(child.count, 1);
    struct muster__link_stats stats[2];
    muster__link_stats(parent.link, &stats[0]);
    muster__link_stats(child.link, &stats[1]);
    for (int i = 0; i < 2; i++)
        ck_assert(stats[i].ring_in == OVER_RINGS && stats[i].ring_out == OVER_RINGS);
    parent.count = child.count = 0;
    parent.flushes = child.flushes = 0;
}

static void set_up(void)
{
    open_sockets();
    struct muster__link_options options =
        options_of(MUSTER__WIRE_PARENT, sockets[0], descriptor_sockets[0]);
    make_end(&parent, &options);
    options = options_of(MUSTER__WIRE_CHILD, sockets[1], descriptor_sockets[1]);
    make_end(&child, &options);
    greet();
}

static void tear_down(void)
{
    muster__link_destroy(parent.link);
    muster__link_destroy(child.link);
}

/* Only the parent is a link; the other end is written to by hand. */
static void set_up_bare(void)
{
    open_sockets();
    struct muster__link_options options =
        options_of(MUSTER__WIRE_PARENT, sockets[0], descriptor_sockets[0]);
    options.value_limit = MIB;
    options.incomplete_limit = 4 * MIB;
    make_end(&parent, &options);
}

static void tear_down_bare(void)
{
    muster__link_destroy(parent.link);
    if (sockets[1] >= 0)
        close(sockets[1]);
    close(descriptor_sockets[1]);
}

static struct muster__wire_message request(uint32_t worker, uint64_t actor, struct muster_bytes data)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_REQUEST, .worker = worker, .actor = actor};
    m.request.kind = MUSTER__REQUEST_MESSAGE;
    m.request.name = "message";
    m.request.started_word = MUSTER__WIRE_NO_WORD;
    m.value = (struct muster__wire_value){true, data, NULL, 0};
    return m;
}

static struct muster__wire_message result(uint32_t worker, uint64_t actor, struct muster_bytes data)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_RESULT, .worker = worker, .actor = actor};
    m.value = (struct muster__wire_value){true, data, NULL, 0};
    return m;
}

static struct muster__wire_message ping(uint64_t number)
{
    return (struct muster__wire_message){.type = MUSTER__WIRE_PING, .ping.number = number};
}

/* Bytes that tell where they are. */
static struct muster_bytes pattern(size_t length)
{
    static char *bytes;
    if (bytes == NULL) {
        bytes = malloc(8 * MIB);
        for (size_t i = 0; i < 8 * MIB; i++)
            bytes[i] = (char)(i * 7 + i / 251);
    }
    return (struct muster_bytes){bytes, length};
}

static int place_of(const struct end *end, enum muster__wire_type type, uint64_t actor)
{
    for (size_t i = 0; i < end->count; i++)
        if (end->heard[i].type == type && end->heard[i].actor == actor)
            return (int)i;
    return -1;
}

/* ---- small messages ---- */

START_TEST(messages_that_wait_are_written_together_and_arrive_in_order)
{
    for (uint64_t i = 1; i <= 100; i++)
        send_ok(&parent, request(1, 2 * i, pattern(32)), 0);
    ck_assert_int_eq(parent.flushes, 1);
    struct muster__link_stats before, after;
    muster__link_stats(parent.link, &before);
    muster__link_flush(parent.link);
    muster__link_stats(parent.link, &after);
    ck_assert_uint_eq(after.writes - before.writes, 1);
    ck_assert_uint_eq(after.waiting, 0);
    pump();
    ck_assert_uint_eq(child.count, 100);
    for (size_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(child.heard[i].actor, 2 * (i + 1));
        ck_assert_uint_eq(child.heard[i].checksum, checksum(1, pattern(32)));
    }
}
END_TEST

START_TEST(an_end_right_behind_its_result_is_a_flag_of_it)
{
    struct muster__wire_message ended = {.type = MUSTER__WIRE_ENDED, .worker = 1, .actor = 2};
    send_ok(&child, result(1, 2, pattern(10)), 0);
    send_ok(&child, ended, 0);
    send_ok(&child, result(1, 4, pattern(10)), 0);
    ended.actor = 6; /* not the last frame's */
    send_ok(&child, ended, 0);
    pump();
    ck_assert_uint_eq(parent.count, 3);
    ck_assert_int_eq(place_of(&parent, MUSTER__WIRE_ENDED, 2), -1);
    ck_assert_int_eq(place_of(&parent, MUSTER__WIRE_ENDED, 6), 2);
    ended.actor = 4; /* its result was written already */
    send_ok(&child, ended, 0);
    pump();
    ck_assert_int_eq(place_of(&parent, MUSTER__WIRE_ENDED, 4), 3);
}
END_TEST

START_TEST(a_message_sent_now_is_written_at_once_behind_those_that_wait)
{
    send_ok(&parent, ping(1), 0);
    send_ok(&parent, ping(2), MUSTER__LINK_NOW);
    struct muster__link_stats stats;
    muster__link_stats(parent.link, &stats);
    ck_assert_uint_eq(stats.waiting, 0);
    ck_assert(!muster__link_on_ready(child.link, EPOLLIN));
    ck_assert_uint_eq(child.count, 2);
    ck_assert_uint_eq(child.heard[0].actor, 1);
}
END_TEST

START_TEST(one_call_reads_about_its_budget_and_says_that_there_is_more)
{
    tear_down();
    open_sockets();
    struct muster__link_options options =
        options_of(MUSTER__WIRE_PARENT, sockets[0], descriptor_sockets[0]);
    make_end(&parent, &options);
    options = options_of(MUSTER__WIRE_CHILD, sockets[1], descriptor_sockets[1]);
    options.read_budget = 1;
    make_end(&child, &options);
    greet();
    for (uint64_t i = 1; i <= 200; i++)
        send_ok(&parent, request(1, 2 * i, pattern(2000)), 0);
    muster__link_flush(parent.link);
    ck_assert(muster__link_on_ready(child.link, EPOLLIN));
    ck_assert_uint_gt(child.count, 0);
    ck_assert_uint_lt(child.count, 100);
    while (muster__link_on_ready(child.link, EPOLLIN))
        continue;
    muster__link_flush(parent.link);
    pump();
    ck_assert_uint_eq(child.count, 200);
}
END_TEST

START_TEST(a_paused_end_reads_nothing_until_it_goes_on)
{
    child.pauses = true;
    send_ok(&parent, ping(1), 0);
    send_ok(&parent, ping(2), MUSTER__LINK_NOW);
    ck_assert(!muster__link_on_ready(child.link, EPOLLIN));
    ck_assert_uint_eq(child.count, 1);
    ck_assert(!muster__link_on_ready(child.link, EPOLLIN));
    ck_assert_uint_eq(child.count, 1);
    child.pauses = false;
    muster__link_pause(child.link, false);
    ck_assert(!muster__link_on_ready(child.link, EPOLLIN));
    ck_assert_uint_eq(child.count, 2);
}
END_TEST

/* ---- large values ---- */

START_TEST(a_large_value_arrives_whole)
{
    static const size_t lengths[] = {32 * KIB + 1,  64 * KIB, 64 * KIB + 1,
                                     128 * KIB - 3, MIB,      3 * MIB + 5};
    size_t length = lengths[_i % 6];
    child.takes_parts = _i >= 6;
    for (uint64_t i = 1; i <= 3; i++) {
        send_ok(&parent, request(1, 2 * i, pattern(length)), _i % 2 == 0 ? MUSTER__LINK_NOW : 0);
        pump();
    }
    ck_assert_uint_eq(child.count, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(child.heard[i].total, length);
        ck_assert_uint_eq(child.heard[i].checksum, checksum(1, pattern(length)));
    }
}
END_TEST

START_TEST(buffers_arrive_each_in_memory_of_its_own)
{
    struct muster_bytes buffers[] = {pattern(0), pattern(1),     pattern(MIB),
                                     pattern(0), pattern(70001), pattern(0)};
    struct muster__wire_message message = request(1, 2, pattern(50));
    message.value.buffers = buffers;
    message.value.buffer_count = 6;
    child.takes_parts = true;
    send_ok(&parent, message, 0);
    message.actor = 4;
    message.value.buffer_count = 2; /* these are small enough for one frame */
    send_ok(&parent, message, 0);
    pump();
    ck_assert_uint_eq(child.count, 2);
    ck_assert_uint_eq(child.heard[1].checksum, checksum_value(&message.value));
    message.value.buffer_count = 6;
    ck_assert_uint_eq(child.heard[0].checksum, checksum_value(&message.value));
}
END_TEST

START_TEST(messages_of_one_worker_keep_their_order_and_those_of_others_overtake)
{
    send_ok(&parent, request(1, 2, pattern(3 * MIB)), 0);
    send_ok(&parent, request(1, 4, pattern(10)), 0);
    send_ok(&parent, (struct muster__wire_message){.type = MUSTER__WIRE_STOP, .worker = 1}, 0);
    send_ok(&parent, request(2, 6, pattern(10)), 0);
    send_ok(&parent, ping(1), 0);
    pump();
    ck_assert_uint_eq(child.count, 5);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_REQUEST, 6), 0);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_PING, 1), 1);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_REQUEST, 2), 2);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_REQUEST, 4), 3);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_STOP, 0), 4);
}
END_TEST

START_TEST(large_values_of_several_workers_take_turns)
{
    send_ok(&parent, request(1, 2, pattern(2 * MIB)), 0);
    send_ok(&parent, request(2, 4, pattern(MIB)), 0);
    send_ok(&parent, request(3, 6, pattern(100 * KIB)), 0);
    pump();
    ck_assert_uint_eq(child.count, 3);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_REQUEST, 6), 0);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_REQUEST, 4), 1);
    ck_assert_int_eq(place_of(&child, MUSTER__WIRE_REQUEST, 2), 2);
}
END_TEST

START_TEST(no_more_values_are_open_than_the_other_end_puts_up_with)
{
    for (uint32_t i = 1; i <= 100; i++)
        send_ok(&parent, request(i, 2 * i, pattern(40 * KIB)), 0);
    pump();
    ck_assert_int_eq(child.ended, 0);
    ck_assert_uint_eq(child.count, 100);
}
END_TEST

START_TEST(results_overtake_each_other_but_an_end_stays_behind_its_result)
{
    send_ok(&child, result(1, 2, pattern(2 * MIB)), 0);
    send_ok(&child, (struct muster__wire_message){.type = MUSTER__WIRE_ENDED, .worker = 1, .actor = 2},
            0);
    send_ok(&child, result(1, 4, pattern(10)), 0);
    pump();
    ck_assert_uint_eq(parent.count, 3);
    ck_assert_int_eq(place_of(&parent, MUSTER__WIRE_RESULT, 4), 0);
    ck_assert_int_eq(place_of(&parent, MUSTER__WIRE_RESULT, 2), 1);
    ck_assert_int_eq(place_of(&parent, MUSTER__WIRE_ENDED, 2), 2);
}
END_TEST

START_TEST(gone_is_the_last_that_is_heard_of_a_worker)
{
    struct muster__wire_message dispatch = request(1, 7, pattern(100 * KIB));
    dispatch.type = MUSTER__WIRE_DISPATCH;
    dispatch.request.scope = "/";
    send_ok(&child, result(1, 2, pattern(2 * MIB)), 0);
    send_ok(&child, result(1, 4, pattern(MIB)), 0);
    send_ok(&child, dispatch, 0);
    send_ok(&child, result(2, 6, pattern(4 * MIB)), 0);
    send_ok(&child, (struct muster__wire_message){.type = MUSTER__WIRE_GONE, .worker = 1}, 0);
    send_ok(&child, (struct muster__wire_message){.type = MUSTER__WIRE_GONE, .worker = 3}, 0);
    pump();
    ck_assert_uint_eq(parent.count, 6);
    ck_assert_uint_eq(parent.heard[0].worker, 3);
    int gone = -1, last = -1;
    for (int i = 0; i < 6; i++) {
        if (parent.heard[i].worker == 1)
            last = i;
        if (parent.heard[i].type == MUSTER__WIRE_GONE && parent.heard[i].worker == 1)
            gone = i;
    }
    ck_assert_int_eq(gone, last);
    ck_assert_uint_eq(parent.heard[5].worker, 2);
}
END_TEST

START_TEST(a_body_is_cut_into_pieces_and_its_end_comes_last)
{
    struct muster__wire_message body = {
        .type = MUSTER__WIRE_BODY, .worker = 1, .actor = 2, .flags = MUSTER__WIRE_FLAG_RESPONSE};
    size_t total = 0;
    body.piece.bytes = pattern(MIB + 3);
    send_ok(&child, body, 0);
    body.piece.bytes = pattern(100);
    send_ok(&child, body, 0);
    body.type = MUSTER__WIRE_BODY_END;
    send_ok(&child, body, 0);
    pump();
    ck_assert_uint_eq(parent.bodies, MIB / MUSTER__WIRE_PIECE + 2);
    for (size_t i = 0; i < parent.count; i++)
        total += parent.heard[i].total;
    ck_assert_uint_eq(total, MIB + 103);
    ck_assert_int_eq(parent.heard[parent.count - 1].type, MUSTER__WIRE_BODY_END);
    body.type = MUSTER__WIRE_BODY;
    body.flags = 0;
    body.piece.bytes = pattern(MIB);
    ck_assert_int_eq(muster__link_send(child.link, &body, 0), MUSTER_INVALID_ARGUMENT);
}
END_TEST

/* ---- owners ---- */

static void count_release(void *owner)
{
    ++*(int *)owner;
}

START_TEST(an_owner_is_released_once_when_its_bytes_are_written)
{
    int released = 0;
    struct muster__wire_message message = request(1, 2, pattern(4 * MIB));
    ck_assert_int_eq(
        muster__link_send_owned(parent.link, &message, MUSTER__LINK_NOW, count_release, &released),
        MUSTER_OK);
    ck_assert_int_eq(released, 0);
    pump();
    ck_assert_int_eq(released, 1);
    ck_assert_uint_eq(child.heard[0].checksum, checksum(1, pattern(4 * MIB)));
    message = request(1, 4, pattern(10));
    ck_assert_int_eq(muster__link_send_owned(parent.link, &message, 0, count_release, &released),
                     MUSTER_OK);
    ck_assert_int_eq(released, 2);
}
END_TEST

START_TEST(an_owner_is_released_once_when_the_link_closes_first)
{
    int released = 0;
    struct muster__wire_message message = request(1, 2, pattern(3 * MIB));
    for (int i = 0; i < 3; i++) {
        message.actor += 2;
        message.worker++;
        ck_assert_int_eq(muster__link_send_owned(parent.link, &message, _i == 0 ? 0 : MUSTER__LINK_NOW,
                                                 count_release, &released),
                         i == 2 ? MUSTER_QUEUE_FULL : MUSTER_OK);
        if (i == 1)
            send_ok(&parent,
                    (struct muster__wire_message){.type = MUSTER__WIRE_STOP, .worker = message.worker},
                    0);
    }
    muster__link_close(parent.link);
    ck_assert_int_eq(released, 2);
    ck_assert_int_eq(muster__link_send_owned(parent.link, &message, 0, count_release, &released),
                     MUSTER_CLOSED);
    ck_assert_int_eq(released, 2);
}
END_TEST

START_TEST(an_owner_is_released_once_when_the_peer_goes_first)
{
    int released = 0;
    struct muster__wire_message message = request(1, 2, pattern(4 * MIB));
    ck_assert_int_eq(
        muster__link_send_owned(parent.link, &message, MUSTER__LINK_NOW, count_release, &released),
        MUSTER_OK);
    muster__link_close(child.link);
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_int_eq(released, 1);
    ck_assert_int_eq(parent.ended, 1);
    ck_assert_int_eq(parent.status, MUSTER_CLOSED);
}
END_TEST

/* ---- bounds ---- */

START_TEST(openings_are_refused_above_the_mark_and_results_are_not)
{
    struct muster__wire_message message = request(1, 2, pattern(16 * KIB));
    size_t sent = 0;
    enum muster_status status;
    while ((status = muster__link_send(parent.link, &message, 0)) == MUSTER_OK) {
        sent++;
        message.actor += 2;
    }
    ck_assert_int_eq(status, MUSTER_QUEUE_FULL);
    ck_assert_uint_ge(sent * 16 * KIB, 4 * MIB - 64 * KIB);
    ck_assert_uint_le(sent * 16 * KIB, 4 * MIB + 64 * KIB);
    send_ok(&parent, result(1, 3, pattern(16 * KIB)), 0);
    ck_assert_int_eq(parent.drained, 0);
    pump();
    ck_assert_int_eq(parent.drained, 1);
    ck_assert_uint_eq(child.count, sent + 1);
    send_ok(&parent, message, 0);
}
END_TEST

START_TEST(room_in_the_socket_is_asked_for_only_while_it_is_full)
{
    ck_assert_uint_eq(parent.interest & EPOLLOUT, 0);
    send_ok(&parent, request(1, 2, pattern(8 * MIB)), MUSTER__LINK_NOW);
    ck_assert_uint_ne(parent.interest & EPOLLOUT, 0);
    ck_assert_uint_eq(muster__link_events(parent.link), parent.interest);
    ck_assert_int_eq(parent.interests, 1);
    send_ok(&parent, ping(1), MUSTER__LINK_NOW);
    ck_assert_int_eq(parent.flushes, 0);
    pump();
    ck_assert_uint_eq(parent.interest & EPOLLOUT, 0);
    ck_assert_int_eq(parent.interests, 2);
    ck_assert_uint_eq(child.count, 2);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_given_up)
{
    struct muster__wire_message message = result(1, 3, pattern(32 * KIB));
    enum muster_status status = MUSTER_OK;
    for (int i = 0; i < 4000 && status == MUSTER_OK; i++)
        status = muster__link_send(parent.link, &message, 0);
    ck_assert_int_eq(status, MUSTER_CLOSED);
    struct pollfd poller = {.fd = muster__link_fd(parent.link), .events = POLLIN};
    ck_assert_int_eq(poll(&poller, 1, 0), 1);
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_int_eq(parent.ended, 1);
    ck_assert_int_eq(parent.status, MUSTER_QUEUE_FULL);
    ck_assert_ptr_nonnull(strstr(parent.sentence, "does not read"));
}
END_TEST

/* ---- ends ---- */

START_TEST(the_end_of_the_peer_is_heard_once_and_behind_what_it_said)
{
    send_ok(&child, result(1, 2, pattern(MIB)), 0);
    send_ok(&child, (struct muster__wire_message){.type = MUSTER__WIRE_GONE, .worker = 1}, 0);
    for (int i = 0; i < 20; i++) {
        muster__link_flush(child.link);
        (void)muster__link_on_ready(parent.link, EPOLLIN);
    }
    muster__link_close(child.link);
    for (int i = 0; i < 3; i++)
        (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_uint_eq(parent.count, 2);
    ck_assert_int_eq(parent.ended, 1);
    ck_assert_int_eq(parent.status, MUSTER_CLOSED);
    ck_assert_int_eq(child.ended, 0);
    struct muster__wire_message message = ping(1);
    ck_assert_int_eq(muster__link_send(parent.link, &message, 0), MUSTER_CLOSED);
}
END_TEST

/* Edge-triggered, the end is told once, and perhaps not with the call that comes to it. */
START_TEST(an_end_that_was_told_early_is_heard_when_it_is_reached)
{
    tear_down();
    open_sockets();
    struct muster__link_options options = options_of(MUSTER__WIRE_PARENT, sockets[0], descriptor_sockets[0]);
    options.read_budget = 1;
    make_end(&parent, &options);
    options = options_of(MUSTER__WIRE_CHILD, sockets[1], descriptor_sockets[1]);
    make_end(&child, &options);
    greet();
    for (uint64_t i = 1; i <= 100; i++)
        send_ok(&child, result(1, 2 * i, pattern(2000)), 0);
    muster__link_flush(child.link);
    muster__link_close(child.link);
    uint32_t events = EPOLLIN | EPOLLHUP;
    while (muster__link_on_ready(parent.link, events))
        events = EPOLLIN;
    ck_assert_uint_eq(parent.count, 100);
    ck_assert_int_eq(parent.ended, 1);
}
END_TEST

START_TEST(what_was_sent_before_the_peer_died_is_read_though_writing_fails)
{
    send_ok(&child, result(1, 2, pattern(10)), MUSTER__LINK_NOW);
    muster__link_close(child.link);
    send_ok(&parent, ping(1), MUSTER__LINK_NOW); /* finds that nobody reads */
    struct muster__wire_message message = ping(2);
    ck_assert_int_eq(muster__link_send(parent.link, &message, 0), MUSTER_CLOSED);
    ck_assert_int_eq(parent.ended, 0);
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_uint_eq(parent.count, 1);
    ck_assert_int_eq(parent.ended, 1);
    ck_assert_int_eq(parent.status, MUSTER_CLOSED);
}
END_TEST

START_TEST(after_a_close_in_a_callback_nothing_is_heard_any_more)
{
    parent.closes = true;
    send_ok(&child, result(1, 2, pattern(10)), 0);
    send_ok(&child, result(1, 4, pattern(10)), MUSTER__LINK_NOW);
    (void)muster__link_on_ready(parent.link, EPOLLIN);
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_uint_eq(parent.count, 1);
    ck_assert_int_eq(parent.ended, 0);
}
END_TEST

/* ---- hostile bytes ---- */

static struct muster__wire_buffer stream;

static void add_frame(struct muster__wire_message message)
{
    ck_assert_int_eq(muster__wire_encode(&stream, MUSTER__WIRE_CHILD, &message, NULL), MUSTER_OK);
}

static void write_bytes(const void *data, size_t length)
{
    ck_assert_int_eq(send(sockets[1], data, length, MSG_NOSIGNAL), (ssize_t)length);
}

/* Sends what was added, and lets the parent read it. */
static void deliver(void)
{
    write_bytes(stream.data, stream.length);
    stream.length = 0;
    while (muster__link_on_ready(parent.link, EPOLLIN))
        continue;
}

static void ends_saying(enum muster_status status, const char *part)
{
    deliver();
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_int_eq(parent.ended, 1);
    ck_assert_int_eq(parent.status, status);
    ck_assert_msg(strstr(parent.sentence, part) != NULL, "\"%s\" does not say \"%s\"", parent.sentence,
                  part);
    struct muster__wire_message message = ping(1);
    ck_assert_int_eq(muster__link_send(parent.link, &message, 0), MUSTER_CLOSED);
    struct muster__link_stats stats;
    muster__link_stats(parent.link, &stats);
    ck_assert_uint_eq(stats.waiting, 0);
}

START_TEST(hello_comes_first_and_once)
{
    if (_i == 0) {
        add_frame((struct muster__wire_message){.type = MUSTER__WIRE_PONG});
        ends_saying(MUSTER_INVALID_ARGUMENT, "PONG before HELLO");
    } else {
        add_frame(hello());
        add_frame(hello());
        ends_saying(MUSTER_INVALID_ARGUMENT, "a second HELLO");
    }
}
END_TEST

START_TEST(garbage_ends_the_link)
{
    unsigned seed = (unsigned)_i + 1;
    char garbage[512];
    add_frame(hello());
    deliver();
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (char)(rand_r(&seed) >> 7);
    write_bytes(garbage, sizeof garbage);
    ends_saying(MUSTER_INVALID_ARGUMENT, "a bad frame");
}
END_TEST

START_TEST(a_giant_length_ends_the_link_at_its_first_four_bytes)
{
    add_frame(hello());
    deliver();
    write_bytes("\xf8\xff\xff\x7f", 4);
    ends_saying(MUSTER_INVALID_ARGUMENT, "2147483640 bytes");
}
END_TEST

START_TEST(half_a_frame_and_then_the_end_is_an_end_in_the_middle)
{
    add_frame(hello());
    add_frame((struct muster__wire_message){.type = MUSTER__WIRE_PONG});
    stream.length -= 8;
    write_bytes(stream.data, stream.length);
    stream.length = 0;
    close(sockets[1]);
    sockets[1] = -1;
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLHUP);
    ck_assert_uint_eq(parent.count, 1);
    ck_assert_int_eq(parent.ended, 1);
    ck_assert_int_eq(parent.status, MUSTER_CLOSED);
    ck_assert_ptr_nonnull(strstr(parent.sentence, "middle of a frame"));
}
END_TEST

static void add_piece(uint64_t actor, size_t length)
{
    struct muster__wire_message piece = {.type = MUSTER__WIRE_VALUE_PIECE, .worker = 1, .actor = actor};
    piece.piece.bytes = pattern(length);
    add_frame(piece);
}

START_TEST(a_value_that_never_becomes_whole_is_forgotten)
{
    add_frame(hello());
    add_frame(result(1, 2, pattern(100 * KIB)));
    add_piece(2, 50 * KIB);
    deliver();
    struct muster__link_stats stats;
    muster__link_stats(parent.link, &stats);
    ck_assert_uint_eq(stats.incomplete, 100 * KIB);
    ck_assert_uint_eq(parent.count, 1);
    shutdown(sockets[1], SHUT_WR);
    (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLRDHUP);
    ck_assert_int_eq(parent.status, MUSTER_CLOSED);
    ck_assert_ptr_nonnull(strstr(parent.sentence, "middle of a value"));
}
END_TEST

START_TEST(pieces_that_belong_to_nothing_end_the_link)
{
    add_frame(hello());
    if (_i == 0) {
        add_piece(2, 10);
        ends_saying(MUSTER_INVALID_ARGUMENT, "nobody has opened");
    } else if (_i == 1) {
        add_frame(result(1, 2, pattern(40 * KIB)));
        add_piece(2, 40 * KIB + 1);
        ends_saying(MUSTER_INVALID_ARGUMENT, "beyond its part");
    } else if (_i == 2) {
        add_frame(result(1, 2, pattern(40 * KIB)));
        add_frame(result(1, 2, pattern(40 * KIB)));
        ends_saying(MUSTER_INVALID_ARGUMENT, "while its value is under way");
    } else {
        add_frame(result(1, 2, pattern(40 * KIB)));
        add_piece(2, 40 * KIB - 1);
        add_piece(2, 1);
        stream.data[stream.length - 1] = 1;
        ends_saying(MUSTER_INVALID_ARGUMENT, "padding that is not zero");
    }
}
END_TEST

START_TEST(a_flood_of_promised_values_ends_the_link)
{
    add_frame(hello());
    if (_i == 0) {
        for (uint64_t i = 1; i <= MUSTER__LINK_VALUES_OPEN + 1; i++)
            add_frame(result(1, 2 * i, pattern(40 * KIB)));
        ends_saying(MUSTER_INVALID_ARGUMENT, "more than 16 values");
    } else if (_i == 1) {
        add_frame(result(1, 2, (struct muster_bytes){NULL, MIB + 1}));
        ends_saying(MUSTER_INVALID_ARGUMENT, "1048577 bytes");
    } else {
        for (uint64_t i = 1; i <= 5; i++)
            add_frame(result(1, 2 * i, (struct muster_bytes){NULL, MIB}));
        ends_saying(MUSTER_INVALID_ARGUMENT, "more than is taken");
    }
}
END_TEST

START_TEST(every_cut_of_the_stream_gives_the_same_messages)
{
    static const size_t steps[] = {1, 7, 8, 31, 33, 1000, 4096, 65537};
    size_t step = steps[_i];
    struct muster_bytes buffer = pattern(33333);
    struct muster__wire_message message = result(1, 2, pattern(50001));
    message.value.buffers = &buffer;
    message.value.buffer_count = 1;
    add_frame(hello());
    add_frame(message);
    add_piece(2, 33);
    add_frame(result(2, 4, pattern(5000)));
    for (size_t done = 33; done < 50001;) {
        struct muster__wire_message piece = {.type = MUSTER__WIRE_VALUE_PIECE, .worker = 1, .actor = 2};
        piece.piece.bytes = pattern(50001 - done < 9999 ? 50001 - done : 9999);
        piece.piece.bytes.data += done;
        done += piece.piece.bytes.length;
        add_frame(piece);
    }
    add_piece(2, 33333);
    add_frame((struct muster__wire_message){.type = MUSTER__WIRE_PONG});
    for (size_t at = 0; at < stream.length; at += step) {
        write_bytes(stream.data + at, step < stream.length - at ? step : stream.length - at);
        while (muster__link_on_ready(parent.link, EPOLLIN))
            continue;
    }
    stream.length = 0;
    ck_assert_int_eq(parent.ended, 0);
    ck_assert_uint_eq(parent.count, 4);
    ck_assert_int_eq(parent.heard[1].type, MUSTER__WIRE_RESULT);
    ck_assert_uint_eq(parent.heard[1].checksum, checksum(1, pattern(5000)));
    ck_assert_uint_eq(parent.heard[2].checksum, checksum_value(&message.value));
    ck_assert_int_eq(parent.heard[3].type, MUSTER__WIRE_PONG);
}
END_TEST

/* Valid frames with a few bytes bent, cut anywhere: whatever is heard, the link goes on or ends, once. */
START_TEST(a_bent_stream_ends_the_link_or_is_heard)
{
    unsigned seed = (unsigned)_i;
    for (int round = 0; round < 40; round++) {
        if (round > 0) {
            tear_down_bare();
            set_up_bare();
        }
        add_frame(hello());
        for (uint64_t actor = 2; actor < 20; actor += 2) {
            add_frame(result(1, actor, pattern(rand_r(&seed) % 2 == 0 ? 500 : 33 * KIB)));
            add_piece(actor, 33 * KIB);
        }
        for (int bent = 0; bent < 3; bent++)
            stream.data[(unsigned)rand_r(&seed) % (round % 2 == 0 ? 2000 : stream.length)] ^=
                (char)(1 << rand_r(&seed) % 8);
        for (size_t at = 0; at < stream.length && parent.ended == 0;) {
            size_t step = (unsigned)rand_r(&seed) % (32 * KIB) + 1;
            step = step < stream.length - at ? step : stream.length - at;
            write_bytes(stream.data + at, step);
            at += step;
            while (muster__link_on_ready(parent.link, EPOLLIN))
                continue;
        }
        stream.length = 0;
        shutdown(sockets[1], SHUT_WR);
        (void)muster__link_on_ready(parent.link, EPOLLIN | EPOLLRDHUP);
        ck_assert_int_eq(parent.ended, 1);
        ck_assert_uint_gt(strlen(parent.sentence), 0);
    }
}
END_TEST

START_TEST(the_largest_frame_comes_through_and_its_memory_is_given_back)
{
    size_t length = MUSTER__WIRE_FRAME_LIMIT - 4096;
    char *name = malloc(length + 1);
    memset(name, 'n', length);
    name[length] = 0;
    struct muster__wire_message message = request(1, 3, pattern(10));
    message.type = MUSTER__WIRE_DISPATCH;
    message.request.scope = "/";
    message.request.name = name;
    add_frame(hello());
    for (int i = 0; i < 3; i++) {
        message.actor += 2;
        add_frame(message);
        add_frame((struct muster__wire_message){.type = MUSTER__WIRE_PONG});
    }
    for (size_t at = 0; at < stream.length; at += 64 * KIB) {
        write_bytes(stream.data + at, stream.length - at < 64 * KIB ? stream.length - at : 64 * KIB);
        while (muster__link_on_ready(parent.link, EPOLLIN))
            continue;
    }
    stream.length = 0;
    ck_assert_uint_eq(parent.count, 7);
    ck_assert_int_eq(parent.ended, 0);
    free(name);
}
END_TEST

/* ---- descriptors ---- */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* A request with one end of each of `count` pipes; the other ends are in `ret_fds`. */
static struct muster__wire_message with_pipes(uint64_t actor, int *given, int *ret_fds, unsigned count)
{
    struct muster__wire_message message = request(1, actor, pattern(10));
    for (unsigned i = 0; i < count; i++) {
        int ends[2];
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        given[i] = ends[1];
        ret_fds[i] = ends[0];
    }
    message.descriptors = given;
    message.descriptor_count = count;
    return message;
}

START_TEST(descriptors_arrive_with_their_frame_and_are_closed_where_they_came_from)
{
    int given[16], kept[16];
    unsigned count = _i == 0 ? 1 : 16;
    child.takes_descriptors = true;
    send_ok(&parent, with_pipes(2, given, kept, count), 0);
    for (unsigned i = 0; i < count; i++)
        ck_assert(!is_open(given[i]));
    pump();
    ck_assert_uint_eq(child.descriptor_count, count);
    for (unsigned i = 0; i < count; i++) {
        char byte = (char)i, back = 99;
        int fd = child.kept_descriptors[i];
        ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(write(fd, &byte, 1), 1);
        ck_assert_int_eq(read(kept[i], &back, 1), 1);
        ck_assert_int_eq(back, byte);
        close(fd);
        close(kept[i]);
    }
}
END_TEST

START_TEST(descriptors_that_nobody_took_are_closed)
{
    int given[1], kept[1];
    char byte;
    send_ok(&parent, with_pipes(2, given, kept, 1), MUSTER__LINK_NOW);
    pump();
    ck_assert_uint_eq(child.descriptor_count, 1);
    ck_assert_int_eq(read(kept[0], &byte, 1), 0);
    close(kept[0]);
}
END_TEST

START_TEST(descriptors_find_their_frames_though_those_arrive_in_another_order)
{
    int given[2], kept[2];
    char byte = 0;
    child.takes_descriptors = true;
    struct muster__wire_message slow = with_pipes(2, &given[0], &kept[0], 1);
    slow.value.bytes = pattern(3 * MIB);
    struct muster__wire_message behind = with_pipes(4, &given[1], &kept[1], 1);
    send_ok(&parent, slow, 0);
    send_ok(&parent, behind, 0);
    int given_quick[1], kept_quick[1];
    struct muster__wire_message quick = with_pipes(6, given_quick, kept_quick, 1);
    quick.worker = 2;
    send_ok(&parent, quick, 0);
    muster__link_flush(parent.link);
    (void)muster__link_on_ready(child.link, EPOLLIN);
    ck_assert_uint_eq(child.heard[0].actor, 6);
    ck_assert_int_eq(write(child.kept_descriptors[0], "q", 1), 1);
    ck_assert_int_eq(read(kept_quick[0], &byte, 1), 1);
    close(child.kept_descriptors[0]);
    close(kept_quick[0]);
    child.takes_descriptors = false;
    pump();
    ck_assert_uint_eq(child.count, 3);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(read(kept[i], &byte, 1), 0);
        close(kept[i]);
    }
}
END_TEST

START_TEST(a_link_that_ends_closes_the_descriptors_that_wait)
{
    int given[1], kept[1];
    char byte;
    struct muster__wire_message slow = with_pipes(2, given, kept, 1);
    slow.value.bytes = pattern(8 * MIB);
    send_ok(&parent, slow, MUSTER__LINK_NOW);
    (void)muster__link_on_ready(child.link, EPOLLIN);
    ck_assert_uint_eq(child.count, 0);
    muster__link_destroy(parent.link);
    parent.link = NULL;
    (void)muster__link_on_ready(child.link, EPOLLIN | EPOLLHUP);
    ck_assert_int_eq(child.ended, 1);
    ck_assert_int_eq(read(kept[0], &byte, 1), 0);
    close(kept[0]);
}
END_TEST

START_TEST(too_many_descriptors_at_once_are_refused_and_stay_with_the_sender)
{
    int given[1], kept[1];
    unsigned sent = 0;
    enum muster_status status;
    for (;;) {
        struct muster__wire_message message = with_pipes(2 * (uint64_t)sent + 2, given, kept, 1);
        close(kept[0]);
        status = muster__link_send(parent.link, &message, 0);
        if (status != MUSTER_OK)
            break;
        sent++;
    }
    ck_assert_int_eq(status, MUSTER_QUEUE_FULL);
    ck_assert(is_open(given[0]));
    close(given[0]);
    pump();
    ck_assert_uint_eq(child.count, sent);
    ck_assert_int_eq(child.ended, 0);
    struct muster__wire_message message = with_pipes(2000, given, kept, 1);
    send_ok(&parent, message, 0);
    close(kept[0]);
}
END_TEST

/* One packet by hand: {ticket, count} and one descriptor `copies` times. */
static void send_packet(uint32_t ticket, uint32_t count, int fd, unsigned copies)
{
    uint32_t words[2] = {ticket, count};
    struct iovec vector = {words, sizeof words};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 32)];
    } control = {0};
    struct msghdr packet = {.msg_iov = &vector, .msg_iovlen = 1};
    if (copies > 0) {
        packet.msg_control = &control;
        packet.msg_controllen = CMSG_SPACE(sizeof(int) * copies);
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * copies);
        for (unsigned i = 0; i < copies; i++)
            memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
    ck_assert_int_eq(sendmsg(descriptor_sockets[1], &packet, MSG_NOSIGNAL), sizeof words);
}

static size_t count_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += is_open(fd);
    return count;
}

START_TEST(packets_that_no_peer_sends_end_the_link_and_leave_no_descriptor)
{
    static const struct {
        uint32_t ticket, count;
        unsigned copies;
        const char *part;
    } packets[] = {
        {5, 2, 1, "bad packet"},   {5, 1, 0, "bad packet"},         {0, 1, 1, "bad packet"},
        {5, 17, 17, "bad packet"}, {5, 2, 2, "which did not come"}, {6, 1, 1, "which did not come"},
    };
    size_t before = count_descriptors();
    struct muster__wire_message message = result(1, 2, pattern(10));
    message.ticket = 5;
    message.descriptor_count = 1;
    send_packet(packets[_i].ticket, packets[_i].count, 1, packets[_i].copies);
    add_frame(hello());
    add_frame(message);
    ends_saying(MUSTER_INVALID_ARGUMENT, packets[_i].part);
    ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

START_TEST(descriptors_that_no_frame_names_are_bounded)
{
    size_t before = count_descriptors();
    struct muster__wire_message message = result(1, 2, pattern(10));
    message.ticket = 1000;
    message.descriptor_count = 1;
    for (uint32_t ticket = 1; ticket <= MUSTER__LINK_TICKETS_OPEN + 1; ticket++)
        send_packet(ticket, 1, 1, 1);
    add_frame(hello());
    add_frame(message);
    ends_saying(MUSTER_INVALID_ARGUMENT, "more than 64 packets");
    ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

/* ---- threads ---- */

enum { SENDERS = 4, EACH = 400 };

static atomic_uint accepted, released_by_threads;

static void release_of_thread(void *owner)
{
    (void)owner;
    atomic_fetch_add(&released_by_threads, 1);
}

/* Sends until it has sent all, or the link is closed. */
static void *send_many(void *argument)
{
    uint32_t worker = (uint32_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < EACH; i++) {
        size_t length = i % 50 == 49 ? 200 * KIB : i % 20;
        struct muster__wire_message message = request(worker, 2 * (worker * EACH + i), pattern(length));
        unsigned flags = i % 3 == 0 ? MUSTER__LINK_NOW : 0;
        enum muster_status status;
        while ((status = muster__link_send_owned(parent.link, &message, flags, release_of_thread,
                                                 NULL)) == MUSTER_QUEUE_FULL)
            muster__link_flush(parent.link);
        if (status != MUSTER_OK)
            return NULL;
        atomic_fetch_add(&accepted, 1);
        if (i % 7 == 0)
            muster__link_flush(parent.link);
    }
    return NULL;
}

START_TEST(many_threads_send_and_each_keeps_its_order)
{
    pthread_t threads[SENDERS];
    (void)pattern(1);
    uint64_t next[SENDERS + 1] = {0};
    for (uintptr_t i = 0; i < SENDERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, (void *)(i + 1)), 0);
    while (child.count < (size_t)SENDERS * EACH) {
        /* A turn whenever something comes, and for what was queued without a flush. */
        struct pollfd poller = {.fd = sockets[1], .events = POLLIN};
        (void)poll(&poller, 1, 1);
        (void)muster__link_on_ready(child.link, EPOLLIN);
        (void)muster__link_on_ready(parent.link, EPOLLOUT);
        ck_assert_int_eq(child.ended, 0);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < child.count; i++) {
        uint32_t worker = child.heard[i].worker;
        uint64_t number = child.heard[i].actor / 2 - worker * EACH;
        ck_assert_uint_eq(number, next[worker]++);
        size_t length = number % 50 == 49 ? 200 * KIB : number % 20;
        ck_assert_uint_eq(child.heard[i].checksum, checksum(1, pattern(length)));
    }
}
END_TEST

START_TEST(a_close_while_others_send_releases_every_owner_once)
{
    pthread_t threads[SENDERS];
    (void)pattern(1);
    for (uintptr_t i = 0; i < SENDERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, (void *)(i + 1)), 0);
    while (child.count < 50) {
        (void)muster__link_on_ready(child.link, EPOLLIN);
        (void)muster__link_on_ready(parent.link, EPOLLOUT);
    }
    muster__link_close(child.link);
    muster__link_close(parent.link);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    struct muster__link_stats stats;
    muster__link_stats(parent.link, &stats);
    ck_assert_uint_eq(stats.waiting, 0);
    ck_assert_uint_eq(atomic_load(&accepted), atomic_load(&released_by_threads));
}
END_TEST

/* ---- memory ---- */

START_TEST(a_send_without_memory_says_so_and_leaves_no_trace)
{
    static const size_t lengths[] = {10, 100 * KIB};
    struct muster__wire_message message = request(1, 2, pattern(lengths[_i]));
    WITH_EVERY_FAILURE(grants)
    {
        enum muster_status status = muster__link_send(parent.link, &message, 0);
        malloc_all_granted();
        ck_assert(status == MUSTER_OK || status == MUSTER_NO_MEMORY);
        ck_assert(status == MUSTER_NO_MEMORY || !malloc_has_failed);
    }
    pump();
    ck_assert_uint_eq(child.count, 1);
    ck_assert_uint_eq(child.heard[0].checksum, checksum(1, pattern(lengths[_i])));
}
END_TEST

START_TEST(an_end_without_memory_for_what_comes_in_ends)
{
    add_frame(hello());
    add_frame(result(1, 2, pattern(40 * KIB)));
    add_piece(2, 40 * KIB);
    write_bytes(stream.data, stream.length);
    stream.length = 0;
    malloc_grants = _i;
    malloc_has_failed = false;
    (void)muster__link_on_ready(parent.link, EPOLLIN);
    malloc_all_granted();
    ck_assert_int_eq(parent.ended, malloc_has_failed);
    if (malloc_has_failed)
        ck_assert_int_eq(parent.status, MUSTER_NO_MEMORY);
    else
        ck_assert_uint_eq(parent.count, 2);
}
END_TEST

static TCase *add_topic(Suite *suite, const char *name, bool is_bare)
{
    TCase *topic = tcase_create(name);
    tcase_add_checked_fixture(topic, is_bare ? set_up_bare : set_up,
                              is_bare ? tear_down_bare : tear_down);
    suite_add_tcase(suite, topic);
    return topic;
}

static void add_sending(Suite *suite)
{
    TCase *topic = add_topic(suite, "small", false);
    tcase_add_test(topic, messages_that_wait_are_written_together_and_arrive_in_order);
    tcase_add_test(topic, an_end_right_behind_its_result_is_a_flag_of_it);
    tcase_add_test(topic, a_message_sent_now_is_written_at_once_behind_those_that_wait);
    tcase_add_test(topic, one_call_reads_about_its_budget_and_says_that_there_is_more);
    tcase_add_test(topic, a_paused_end_reads_nothing_until_it_goes_on);
    topic = add_topic(suite, "large", false);
    tcase_add_loop_test(topic, a_large_value_arrives_whole, 0, 12);
    tcase_add_test(topic, buffers_arrive_each_in_memory_of_its_own);
    tcase_add_test(topic, messages_of_one_worker_keep_their_order_and_those_of_others_overtake);
    tcase_add_test(topic, large_values_of_several_workers_take_turns);
    tcase_add_test(topic, no_more_values_are_open_than_the_other_end_puts_up_with);
    tcase_add_test(topic, results_overtake_each_other_but_an_end_stays_behind_its_result);
    tcase_add_test(topic, gone_is_the_last_that_is_heard_of_a_worker);
    tcase_add_test(topic, a_body_is_cut_into_pieces_and_its_end_comes_last);
    topic = add_topic(suite, "owners and bounds", false);
    tcase_add_test(topic, an_owner_is_released_once_when_its_bytes_are_written);
    tcase_add_loop_test(topic, an_owner_is_released_once_when_the_link_closes_first, 0, 2);
    tcase_add_test(topic, an_owner_is_released_once_when_the_peer_goes_first);
    tcase_add_test(topic, openings_are_refused_above_the_mark_and_results_are_not);
    if (!OVER_RINGS)
        tcase_add_test(topic, room_in_the_socket_is_asked_for_only_while_it_is_full);
    tcase_add_test(topic, a_peer_that_does_not_read_is_given_up);
    topic = add_topic(suite, "ends", false);
    tcase_add_test(topic, the_end_of_the_peer_is_heard_once_and_behind_what_it_said);
    tcase_add_test(topic, an_end_that_was_told_early_is_heard_when_it_is_reached);
    tcase_add_test(topic, what_was_sent_before_the_peer_died_is_read_though_writing_fails);
    tcase_add_test(topic, after_a_close_in_a_callback_nothing_is_heard_any_more);
}

static void add_receiving(Suite *suite)
{
    TCase *topic = add_topic(suite, "hostile bytes", true);
    tcase_add_loop_test(topic, hello_comes_first_and_once, 0, 2);
    tcase_add_loop_test(topic, garbage_ends_the_link, 0, 20);
    tcase_add_test(topic, a_giant_length_ends_the_link_at_its_first_four_bytes);
    tcase_add_test(topic, half_a_frame_and_then_the_end_is_an_end_in_the_middle);
    tcase_add_test(topic, a_value_that_never_becomes_whole_is_forgotten);
    tcase_add_loop_test(topic, pieces_that_belong_to_nothing_end_the_link, 0, 4);
    tcase_add_loop_test(topic, a_flood_of_promised_values_ends_the_link, 0, 3);
    tcase_add_loop_test(topic, every_cut_of_the_stream_gives_the_same_messages, 0, 8);
    tcase_add_loop_test(topic, a_bent_stream_ends_the_link_or_is_heard, 0, 10);
    tcase_add_test(topic, the_largest_frame_comes_through_and_its_memory_is_given_back);
    tcase_add_loop_test(topic, packets_that_no_peer_sends_end_the_link_and_leave_no_descriptor, 0, 6);
    tcase_add_test(topic, descriptors_that_no_frame_names_are_bounded);
    tcase_add_loop_test(topic, an_end_without_memory_for_what_comes_in_ends, 0, 8);
    topic = add_topic(suite, "descriptors", false);
    tcase_add_loop_test(topic, descriptors_arrive_with_their_frame_and_are_closed_where_they_came_from,
                        0, 2);
    tcase_add_test(topic, descriptors_that_nobody_took_are_closed);
    tcase_add_test(topic, descriptors_find_their_frames_though_those_arrive_in_another_order);
    tcase_add_test(topic, a_link_that_ends_closes_the_descriptors_that_wait);
    tcase_add_test(topic, too_many_descriptors_at_once_are_refused_and_stay_with_the_sender);
    topic = add_topic(suite, "threads and memory", false);
    tcase_add_test(topic, many_threads_send_and_each_keeps_its_order);
    tcase_add_test(topic, a_close_while_others_send_releases_every_owner_once);
    tcase_add_loop_test(topic, a_send_without_memory_says_so_and_leaves_no_trace, 0, 2);
}

int main(void)
{
    Suite *suite = suite_create("link");
    add_sending(suite);
    add_receiving(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
