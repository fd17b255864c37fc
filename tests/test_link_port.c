/* tests/test_link_port.c - ports over links: what one side posts the other takes, ends that travel through processes,
 * flow, ends, and peers that lie.  Both sides are in this process; the test's thread polls. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "remote/link_port.h"
#include "runtime/check.h"
#include "runtime/clone.h"

#define BOUND_MS 20000

struct side {
    struct muster__link *link;
    struct muster__link_ports *ports;
    bool ended, raw; /* raw: frames are only counted */
    unsigned frames[64];
    uint64_t last_actor[64];
    char fault[160];
};

/* A connection: [0] plays the parent, [1] the child. */
struct wire {
    struct side sides[2];
};

static struct muster__pool *pool;
static struct wire wires[2];

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    struct side *side = user_data;
    side->frames[message->type & 63]++;
    side->last_actor[message->type & 63] = message->actor;
    if (message->type != MUSTER__WIRE_HELLO && !side->raw)
        muster__link_ports_frame(side->ports, message);
}

static void on_ended(void *user_data, enum muster_status status, const char *sentence)
{
    struct side *side = user_data;
    (void)status;
    (void)sentence;
    side->ended = true;
}

static void on_drained(void *user_data)
{
    muster__link_ports_drained(((struct side *)user_data)->ports);
}

static const struct muster__link_listener listener = {
    .frame = on_frame, .ended = on_ended, .drained = on_drained};

static void on_fault(void *user_data, const char *sentence)
{
    struct side *side = user_data;
    if (!*side->fault)
        snprintf(side->fault, sizeof side->fault, "%s", sentence);
}

static void open_side(struct side *side, enum muster__wire_side which, int fd)
{
    const struct muster__link_options options = {.side = which,
                                                 .data_fd = fd,
                                                 .descriptor_fd = -1,
                                                 .listener = &listener,
                                                 .user_data = side};
    struct muster__wire_message hello = {.type = MUSTER__WIRE_HELLO};
    *side = (struct side){0};
    ck_assert_int_eq(muster__link_new(&options, &side->link), MUSTER_OK);
    const struct muster__link_ports_options ports = {
        .link = side->link, .pool = pool, .side = which, .fault = on_fault, .user_data = side};
    ck_assert_int_eq(muster__link_ports_new(&ports, &side->ports), MUSTER_OK);
    hello.hello.version = MUSTER__WIRE_VERSION;
    ck_assert_int_eq(muster__link_send(side->link, &hello, MUSTER__LINK_NOW), MUSTER_OK);
}

static void open_wire(struct wire *wire)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_side(&wire->sides[0], MUSTER__WIRE_PARENT, fds[0]);
    open_side(&wire->sides[1], MUSTER__WIRE_CHILD, fds[1]);
}

static void set_up(void)
{
    const struct muster__pool_options options = {.threads = 2, .name = "test"};
    ck_assert_int_eq(muster__pool_new(&options, &pool), MUSTER_OK);
    for (int i = 0; i < 2; i++)
        open_wire(&wires[i]);
}

static void tear_down(void)
{
    for (int i = 0; i < 4; i++)
        muster__link_ports_end(wires[i / 2].sides[i % 2].ports);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    for (int i = 0; i < 4; i++) {
        struct side *side = &wires[i / 2].sides[i % 2];
        muster__link_ports_destroy(side->ports);
        muster__link_destroy(side->link);
    }
}

static struct side *parent(void)
{
    return &wires[0].sides[0];
}

static struct side *child(void)
{
    return &wires[0].sides[1];
}

/* Writes what waits and reads what came, on every wire. */
static void pump_once(void)
{
    struct pollfd fds[4];
    for (int i = 0; i < 4; i++) {
        struct side *side = &wires[i / 2].sides[i % 2];
        muster__link_flush(side->link);
        fds[i] = (struct pollfd){.fd = side->ended ? -1 : muster__link_fd(side->link), .events = POLLIN};
    }
    (void)poll(fds, 4, 1);
    for (int i = 0; i < 4; i++)
        if (fds[i].revents)
            (void)muster__link_on_ready(wires[i / 2].sides[i % 2].link,
                                        fds[i].revents & POLLIN ? EPOLLIN : EPOLLIN | EPOLLHUP);
}

#define PUMP_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_us = muster__now_us() + BOUND_MS * UINT64_C(1000);                          \
        while (!(condition)) {                                                                     \
            ck_assert_msg(muster__now_us() < until_us, "within the bound: " #condition);           \
            pump_once();                                                                           \
        }                                                                                          \
    } while (0)

/* Everything that is under way has arrived, and nothing is ready to be sent. */
static void settle(void)
{
    uint64_t before, after = 0;
    unsigned quiet = 0;
    do {
        before = after;
        after = 0;
        pump_once();
        for (int i = 0; i < 4; i++) {
            struct muster__link_stats stats;
            muster__link_stats(wires[i / 2].sides[i % 2].link, &stats);
            after += stats.bytes_in + stats.bytes_out;
        }
        quiet = before == after ? quiet + 1 : 0;
    } while (quiet < 10);
}

/* ---- ends ---- */

struct pair {
    struct muster__port *ends[2];
};

static struct pair make_pair(void)
{
    struct pair pair;
    ck_assert_int_eq(muster__port_pair(pair.ends), MUSTER_OK);
    return pair;
}

/* Hands an end from one side to the other: what comes out there. */
static struct muster__port *hand_over(struct side *from, struct side *to, struct muster__port *end)
{
    struct muster__port *arrived = NULL;
    uint64_t id = muster__link_ports_open(from->ports, end, false);
    ck_assert_uint_ne(id, 0);
    unsigned before = to->frames[MUSTER__WIRE_PORT_OPEN];
    PUMP_UNTIL(to->frames[MUSTER__WIRE_PORT_OPEN] > before || to->last_actor[MUSTER__WIRE_PORT_OPEN] == id);
    ck_assert_int_eq(muster__link_ports_claim(to->ports, id, 0, &arrived), MUSTER_OK);
    return arrived;
}

static void post(struct muster__port *port, double value)
{
    struct muster__port_message *message =
        muster__port_message_new(NULL, muster_value_new_number(value), 0);
    ck_assert_ptr_nonnull(message);
    muster__port_post(port, message);
}

static struct muster__port_message *must_take(struct muster__port *port)
{
    struct muster__port_message *message = NULL;
    PUMP_UNTIL((message = muster__port_take(port)) != NULL);
    return message;
}

static void must_take_number(struct muster__port *port, double expected)
{
    struct muster__port_message *message = must_take(port);
    ck_assert_double_eq(muster_value_number(message->data), expected);
    muster__port_message_destroy(message);
}

static void must_close(struct muster__port *port)
{
    PUMP_UNTIL(muster__port_is_closed(port));
}

static size_t open_ports(const struct side *side)
{
    struct muster__link_ports_stats stats;
    muster__link_ports_stats(side->ports, &stats);
    return stats.ports;
}

/* Both sides have forgotten all of them. */
static void must_be_forgotten(void)
{
    PUMP_UNTIL(open_ports(&wires[0].sides[0]) + open_ports(&wires[0].sides[1]) +
                   open_ports(&wires[1].sides[0]) + open_ports(&wires[1].sides[1]) ==
               0);
    for (int i = 0; i < 4; i++) {
        struct muster__link_ports_stats stats;
        muster__link_ports_stats(wires[i / 2].sides[i % 2].ports, &stats);
        ck_assert_uint_eq(stats.unread_here, 0);
        ck_assert_uint_eq(stats.unread_there, 0);
        ck_assert_str_eq(wires[i / 2].sides[i % 2].fault, "");
    }
}

/* ---- messages ---- */

START_TEST(messages_go_over_in_order_both_ways)
{
    struct side *from = &wires[0].sides[_i], *to = &wires[0].sides[!_i];
    struct pair pair = make_pair();
    post(pair.ends[0], 1); /* before it is handed over */
    struct muster__port *far = hand_over(from, to, pair.ends[1]);
    post(pair.ends[0], 2);
    post(far, 10);
    must_take_number(far, 1);
    must_take_number(far, 2);
    must_take_number(pair.ends[0], 10);
    muster__port_release(far);
    must_close(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(head_and_data_arrive_as_they_were)
{
    struct pair pair = make_pair();
    struct muster__port *far = hand_over(parent(), child(), pair.ends[1]);
    for (int i = 0; i < 4; i++) {
        struct muster_value *head = i & 1 ? muster_value_new_array() : NULL;
        if (head)
            ck_assert_int_eq(muster_value_append(head, muster_value_new_text("ask")), MUSTER_OK);
        muster__port_post(pair.ends[0],
                          muster__port_message_new(head, i & 2 ? muster_value_new_text("data") : NULL, 0));
    }
    for (int i = 0; i < 4; i++) {
        struct muster__port_message *message = must_take(far);
        ck_assert_int_eq(message->head != NULL, i & 1);
        ck_assert_int_eq(message->data != NULL, (i & 2) != 0);
        if (message->head)
            ck_assert_str_eq(muster_value_bytes(muster_value_at(message->head, 0)).data, "ask");
        if (message->data)
            ck_assert_str_eq(muster_value_bytes(message->data).data, "data");
        muster__port_message_destroy(message);
    }
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(a_large_message_arrives_whole_and_before_what_comes_behind_it)
{
    enum { LENGTH = 5 << 20 };
    struct pair pair = make_pair();
    struct muster__port *far = hand_over(parent(), child(), pair.ends[1]);
    char *bytes = malloc(LENGTH);
    for (int i = 0; i < LENGTH; i++)
        bytes[i] = (char)(i * 7 + i / 1000);
    muster__port_post(pair.ends[0], muster__port_message_new(muster_value_new_bytes(bytes, 100000),
                                                             muster_value_new_bytes(bytes, LENGTH), 0));
    post(pair.ends[0], 2);
    struct muster__port_message *message = must_take(far);
    ck_assert_uint_eq(muster_value_bytes(message->data).length, LENGTH);
    ck_assert_int_eq(memcmp(muster_value_bytes(message->data).data, bytes, LENGTH), 0);
    ck_assert_uint_eq(muster_value_bytes(message->head).length, 100000);
    muster__port_message_destroy(message);
    must_take_number(far, 2);
    free(bytes);
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

/* A message that mentions its port, as a script's does. */
static struct muster_value *mention(void)
{
    struct muster_clone *clone = NULL;
    struct muster_error error = {0};
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    (void)muster_clone_begin_object(writer);
    muster_clone_write_key(writer, "port");
    (void)muster_clone_write_host(writer);
    muster_clone_end(writer);
    enum muster_status status = muster_clone_writer_finish(writer, &clone, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
    muster_clone_writer_destroy(writer);
    return muster_value_new_clone(clone);
}

static struct muster__port_message *parcel(struct muster__port *port)
{
    struct muster__port_message *message = muster__port_message_new(NULL, mention(), 1);
    message->ports[0] = port;
    return message;
}

static struct muster__port *open_parcel(struct muster__port *port)
{
    struct muster__port_message *message = must_take(port);
    ck_assert_uint_eq(message->port_count, 1);
    ck_assert_uint_eq(muster_clone_host_count(muster_value_clone(message->data)), 1);
    struct muster__port *taken = message->ports[0];
    message->ports[0] = NULL;
    muster__port_message_destroy(message);
    return taken;
}

START_TEST(ends_travel_with_messages_and_keep_their_queue)
{
    struct pair way = make_pair(), inner = make_pair();
    struct muster__port *far = hand_over(parent(), child(), way.ends[1]);
    post(inner.ends[0], 1);
    muster__port_post(way.ends[0], parcel(inner.ends[1]));
    post(inner.ends[0], 2);
    struct muster__port *arrived = open_parcel(far);
    must_take_number(arrived, 1);
    must_take_number(arrived, 2);
    post(arrived, 3);
    must_take_number(inner.ends[0], 3);
    muster__port_release(arrived);
    must_close(inner.ends[0]);
    muster__port_release(inner.ends[0]);
    muster__port_release(far);
    muster__port_release(way.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(an_end_goes_from_one_child_through_the_parent_to_another)
{
    struct side *other_parent = &wires[1].sides[0], *other_child = &wires[1].sides[1];
    struct pair pair = make_pair();
    for (int i = 1; i <= 3; i++)
        post(pair.ends[0], i);
    struct muster__port *middle = hand_over(child(), parent(), pair.ends[1]);
    must_take_number(middle, 1);
    struct muster__port *far = hand_over(other_parent, other_child, middle);
    post(pair.ends[0], 4);
    for (int i = 2; i <= 4; i++)
        must_take_number(far, i);
    post(far, 5);
    must_take_number(pair.ends[0], 5);
    muster__port_release(pair.ends[0]);
    must_close(far);
    muster__port_release(far);
    must_be_forgotten();
}
END_TEST

START_TEST(an_end_that_comes_home_works)
{
    struct pair pair = make_pair();
    struct muster__port *end = pair.ends[1];
    for (int i = 0; i < 10; i++) {
        post(pair.ends[0], i);
        end = hand_over(&wires[0].sides[i % 2], &wires[0].sides[!(i % 2)], end);
    }
    for (int i = 0; i < 10; i++)
        must_take_number(end, i);
    post(end, 11);
    must_take_number(pair.ends[0], 11);
    muster__port_release(end);
    must_close(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

/* ---- closing ---- */

START_TEST(a_close_comes_behind_what_was_posted)
{
    struct side *from = &wires[0].sides[_i], *to = &wires[0].sides[!_i];
    struct pair pair = make_pair();
    struct muster__port *far = hand_over(from, to, pair.ends[1]);
    for (int i = 0; i < 100; i++)
        post(pair.ends[0], i);
    muster__port_release(pair.ends[0]);
    for (int i = 0; i < 100; i++)
        must_take_number(far, i);
    must_close(far);
    muster__port_release(far);
    must_be_forgotten();
}
END_TEST

START_TEST(ends_that_close_at_once_are_forgotten)
{
    struct pair pair = make_pair();
    struct muster__port *far = hand_over(parent(), child(), pair.ends[1]);
    post(far, 1);
    post(pair.ends[0], 2);
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(what_travels_to_an_end_that_closed_meanwhile_is_closed)
{
    struct pair way = make_pair(), inner = make_pair();
    struct muster__port *far = hand_over(parent(), child(), way.ends[1]);
    muster__port_post(way.ends[0], parcel(inner.ends[1]));
    muster__port_release(far);
    must_close(inner.ends[0]);
    muster__port_release(inner.ends[0]);
    muster__port_release(way.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(the_end_of_the_link_closes_what_was_behind_it)
{
    struct pair pair = make_pair();
    struct muster__port *far = hand_over(parent(), child(), pair.ends[1]);
    post(far, 1);
    must_take_number(pair.ends[0], 1);
    muster__link_ports_end(parent()->ports);
    ck_assert(muster__port_is_closed(pair.ends[0]));
    struct pair late = make_pair();
    ck_assert_uint_eq(muster__link_ports_open(parent()->ports, late.ends[1], false), 0);
    ck_assert(muster__port_is_closed(late.ends[0]));
    muster__port_release(late.ends[0]);
    muster__port_release(pair.ends[0]);
    muster__port_release(far);
}
END_TEST

/* ---- what is held, named, and taken back ---- */

START_TEST(nothing_is_sent_on_a_held_port_until_it_is_accepted)
{
    struct pair pair = make_pair();
    struct muster__port *far = NULL;
    post(pair.ends[0], 1);
    uint64_t id = muster__link_ports_open(parent()->ports, pair.ends[1], true);
    PUMP_UNTIL(child()->frames[MUSTER__WIRE_PORT_OPEN] == 1);
    settle();
    ck_assert_uint_eq(child()->frames[MUSTER__WIRE_PORT_MESSAGE], 0);
    ck_assert_int_eq(muster__link_ports_claim(child()->ports, id, 0, &far), MUSTER_OK);
    muster__link_ports_accept(child()->ports, id);
    must_take_number(far, 1);
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(a_held_port_comes_back_as_it_was)
{
    struct pair pair = make_pair();
    post(pair.ends[0], 1);
    uint64_t id = muster__link_ports_open(parent()->ports, pair.ends[1], true);
    PUMP_UNTIL(child()->frames[MUSTER__WIRE_PORT_OPEN] == 1);
    struct muster__port *back = muster__link_ports_take_back(parent()->ports, id);
    ck_assert_ptr_eq(back, pair.ends[1]);
    must_take_number(back, 1);
    must_be_forgotten();
    post(pair.ends[0], 2);
    must_take_number(back, 2);
    muster__port_release(back);
    muster__port_release(pair.ends[0]);
}
END_TEST

START_TEST(what_was_accepted_is_not_taken_back)
{
    struct pair pair = make_pair();
    struct muster__port *far = NULL;
    uint64_t id = muster__link_ports_open(parent()->ports, pair.ends[1], true);
    PUMP_UNTIL(child()->frames[MUSTER__WIRE_PORT_OPEN] == 1);
    ck_assert_int_eq(muster__link_ports_claim(child()->ports, id, 0, &far), MUSTER_OK);
    muster__link_ports_accept(child()->ports, id);
    PUMP_UNTIL(parent()->frames[MUSTER__WIRE_PORT_CREDIT] == 1);
    ck_assert_ptr_null(muster__link_ports_take_back(parent()->ports, id));
    post(pair.ends[0], 1);
    must_take_number(far, 1);
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(a_port_that_no_message_names_is_closed)
{
    struct pair pair = make_pair();
    uint64_t id = muster__link_ports_open(parent()->ports, pair.ends[1], false);
    if (_i == 1) { /* its other end was closed before, and the peer has heard so */
        muster__port_close(pair.ends[0]);
        PUMP_UNTIL(child()->frames[MUSTER__WIRE_PORT_CLOSE] == 1);
    }
    muster__link_ports_retract(parent()->ports, id);
    must_close(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(an_end_is_claimed_once)
{
    struct pair pair = make_pair();
    struct muster__port *again = NULL;
    struct muster__port *far = hand_over(parent(), child(), pair.ends[1]);
    uint64_t id = child()->last_actor[MUSTER__WIRE_PORT_OPEN];
    ck_assert_int_eq(muster__link_ports_claim(child()->ports, id, 0, &again), MUSTER_NOT_FOUND);
    ck_assert_int_eq(muster__link_ports_claim(child()->ports, id + 2, 0, &again), MUSTER_NOT_FOUND);
    ck_assert_int_eq(muster__link_ports_claim(child()->ports, 0, 0, &again), MUSTER_OK);
    ck_assert(muster__port_is_closed(again));
    muster__port_release(again);
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

/* ---- flow ---- */

static struct muster__port_message *heavy(double number)
{
    static char bytes[10000];
    struct muster_value *data = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(data, muster_value_new_number(number)), MUSTER_OK);
    ck_assert_int_eq(muster_value_append(data, muster_value_new_bytes(bytes, sizeof bytes)), MUSTER_OK);
    return muster__port_message_new(NULL, data, 0);
}

static void must_take_heavy(struct muster__port *port, double expected)
{
    struct muster__port_message *message = must_take(port);
    ck_assert_double_eq(muster_value_number(muster_value_at(message->data, 0)), expected);
    muster__port_message_destroy(message);
}

START_TEST(a_slow_reader_holds_up_its_own_port_only)
{
    enum { COUNT = 1000 };
    struct side *from = &wires[0].sides[_i], *to = &wires[0].sides[!_i];
    struct pair slow = make_pair(), quick = make_pair();
    struct muster__port *slow_far = hand_over(from, to, slow.ends[1]);
    struct muster__port *quick_far = hand_over(from, to, quick.ends[1]);
    struct muster__link_ports_stats stats;
    for (int i = 0; i < COUNT; i++)
        muster__port_post(slow.ends[0], heavy(i));
    PUMP_UNTIL(muster__port_backlog(slow.ends[0]).messages < COUNT - 10);
    settle();
    muster__link_ports_stats(to->ports, &stats);
    ck_assert_uint_le(stats.unread_here, MUSTER__WIRE_PORT_WINDOW + 11000);
    ck_assert_uint_ge(muster__port_backlog(slow.ends[0]).messages, COUNT - 30);
    post(quick.ends[0], 7);
    must_take_number(quick_far, 7);
    for (int i = 0; i < COUNT; i++)
        must_take_heavy(slow_far, i);
    ck_assert_uint_eq(muster__port_backlog(slow.ends[0]).messages, 0);
    muster__port_release(slow_far);
    muster__port_release(quick_far);
    muster__port_release(slow.ends[0]);
    muster__port_release(quick.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(a_slow_child_holds_up_another_child_and_not_the_parent)
{
    enum { COUNT = 1000 };
    struct side *other_parent = &wires[1].sides[0], *other_child = &wires[1].sides[1];
    struct pair pair = make_pair();
    struct muster__link_ports_stats stats;
    struct muster__port *middle = hand_over(child(), parent(), pair.ends[1]);
    struct muster__port *far = hand_over(other_parent, other_child, middle);
    for (int i = 0; i < COUNT; i++)
        muster__port_post(pair.ends[0], heavy(i));
    PUMP_UNTIL(muster__port_backlog(pair.ends[0]).messages < COUNT - 30);
    settle();
    muster__link_ports_stats(parent()->ports, &stats);
    ck_assert_uint_le(stats.unread_here, MUSTER__WIRE_PORT_WINDOW + 11000);
    ck_assert_uint_ge(muster__port_backlog(pair.ends[0]).messages, COUNT - 60);
    for (int i = 0; i < COUNT; i++)
        must_take_heavy(far, i);
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

START_TEST(messages_beyond_the_window_still_pass_one_at_a_time)
{
    static char bytes[1 << 20];
    struct pair pair = make_pair();
    struct muster__port *far = hand_over(parent(), child(), pair.ends[1]);
    for (int i = 0; i < 8; i++)
        muster__port_post(pair.ends[0], muster__port_message_new(
                                            NULL, muster_value_new_bytes(bytes, sizeof bytes), 0));
    settle();
    ck_assert_uint_eq(muster__port_backlog(pair.ends[0]).messages, 7);
    for (int i = 0; i < 8; i++)
        muster__port_message_destroy(must_take(far));
    muster__port_release(far);
    muster__port_release(pair.ends[0]);
    must_be_forgotten();
}
END_TEST

/* ---- peers that lie: the child's side sends frames by hand ---- */

static void send_frame(struct muster__wire_message message)
{
    struct muster__wire_buffer buffer = {0};
    struct muster__wire_fault fault = {0};
    enum muster_status status = muster__wire_encode(&buffer, MUSTER__WIRE_CHILD, &message, &fault);
    ck_assert_msg(status == MUSTER_OK, "%s", fault.sentence);
    muster__wire_buffer_clean_up(&buffer);
    ck_assert_int_eq(muster__link_send(child()->link, &message, MUSTER__LINK_NOW), MUSTER_OK);
}

static void send_open(uint64_t id)
{
    send_frame((struct muster__wire_message){.type = MUSTER__WIRE_PORT_OPEN, .actor = id});
}

static struct muster__wire_message message_on(uint64_t id)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_MESSAGE, .actor = id};
    return message;
}

static void must_fault(const char *expected)
{
    PUMP_UNTIL(*parent()->fault);
    ck_assert_msg(strstr(parent()->fault, expected) != NULL, "\"%s\" instead of \"%s\"", parent()->fault, expected);
}

START_TEST(frames_about_ports_that_are_not_there_are_refused)
{
    static const enum muster__wire_type types[] = {MUSTER__WIRE_PORT_MESSAGE, MUSTER__WIRE_PORT_CLOSE,
                                                   MUSTER__WIRE_PORT_CREDIT, MUSTER__WIRE_PORT_MOVED};
    struct muster__wire_message message = {.type = types[_i], .actor = 8};
    if (message.type == MUSTER__WIRE_PORT_CREDIT)
        message.credit.bytes = 1;
    send_frame(message);
    must_fault("of a port that it does not have");
}
END_TEST

START_TEST(a_number_comes_once)
{
    send_open(3);
    send_open(_i == 0 ? 3 : 1);
    must_fault("a port's number twice");
}
END_TEST

START_TEST(ports_that_were_not_opened_cannot_be_named)
{
    static const uint64_t names[] = {5, 2, 1};
    struct muster__wire_message message = message_on(1);
    struct pair pair = make_pair();
    uint64_t ids[2] = {names[_i], 3};
    (void)muster__link_ports_open(parent()->ports, pair.ends[1], false); /* 2: ours */
    send_open(1);
    send_open(3);
    message.ports = ids;
    message.port_count = 1;
    if (_i == 2) { /* twice the same, once it is named */
        ids[0] = 3;
        message.port_count = 2;
    }
    send_frame(message);
    must_fault("a port that it has not opened, or named before");
    muster__port_release(pair.ends[0]);
}
END_TEST

START_TEST(what_is_no_value_is_refused)
{
    struct muster__wire_message message = message_on(1);
    send_open(1);
    message.port_message.has_data = true;
    message.value = (struct muster__wire_value){.present = true, .bytes = {"garbage", 7}};
    send_frame(message);
    must_fault("a value that is none");
}
END_TEST

START_TEST(more_than_the_window_is_refused)
{
    struct muster__port *port = NULL;
    send_open(1);
    PUMP_UNTIL(parent()->frames[MUSTER__WIRE_PORT_OPEN] == 1);
    ck_assert_int_eq(muster__link_ports_claim(parent()->ports, 1, 0, &port), MUSTER_OK);
    for (unsigned i = 0; i <= MUSTER__WIRE_PORT_WINDOW / MUSTER__WIRE_WEIGHT_MESSAGE; i++)
        send_frame(message_on(1));
    must_fault("more on its ports than it may");
    muster__port_release(port);
}
END_TEST

START_TEST(credit_that_was_not_taken_is_refused)
{
    struct pair pair = make_pair();
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_CREDIT};
    message.credit.bytes = 1;
    child()->raw = true;
    message.actor = muster__link_ports_open(parent()->ports, pair.ends[1], false);
    send_frame(message);
    must_fault("more credit for a port than it had taken");
    muster__port_release(pair.ends[0]);
}
END_TEST

START_TEST(nothing_comes_behind_the_end_of_a_port)
{
    struct muster__port *port = NULL;
    struct muster__wire_message close = {.type = MUSTER__WIRE_PORT_CLOSE, .actor = 1};
    send_open(1);
    PUMP_UNTIL(parent()->frames[MUSTER__WIRE_PORT_OPEN] == 1);
    send_frame(close); /* not named, so it is still known */
    PUMP_UNTIL(parent()->frames[MUSTER__WIRE_PORT_CLOSE] == 1);
    if (_i == 0)
        send_frame(message_on(1));
    else
        send_frame(close);
    must_fault(_i == 0 ? "a message on a port that it has closed" : "the end of a port twice");
    ck_assert_int_eq(muster__link_ports_claim(parent()->ports, 1, 0, &port), MUSTER_OK);
    ck_assert(muster__port_is_closed(port));
    muster__port_release(port);
}
END_TEST

START_TEST(what_was_named_cannot_be_unnamed)
{
    struct muster__port *port = NULL;
    send_open(1);
    PUMP_UNTIL(parent()->frames[MUSTER__WIRE_PORT_OPEN] == 1);
    ck_assert_int_eq(muster__link_ports_claim(parent()->ports, 1, 0, &port), MUSTER_OK);
    send_frame((struct muster__wire_message){
        .type = MUSTER__WIRE_PORT_CLOSE, .flags = MUSTER__WIRE_FLAG_UNNAMED, .actor = 1});
    must_fault("that no message names a port which one named");
    muster__port_release(port);
}
END_TEST

START_TEST(too_many_ports_are_refused)
{
    for (uint64_t i = 0; i <= MUSTER__WIRE_PORT_LIMIT; i++) {
        send_open(2 * i + 1);
        if (i % 1000 == 0)
            pump_once();
    }
    must_fault("more ports than it may have open");
}
END_TEST

START_TEST(who_has_too_many_ports_open_hands_over_closed_ones)
{
    struct muster__port *ends[2];
    struct muster__port **kept = calloc(MUSTER__WIRE_PORT_LIMIT, sizeof(struct muster__port *));
    for (unsigned i = 0; i < MUSTER__WIRE_PORT_LIMIT; i++) {
        ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
        kept[i] = ends[0];
        ck_assert_uint_ne(muster__link_ports_open(parent()->ports, ends[1], false), 0);
        if (i % 1000 == 0)
            pump_once();
    }
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    ck_assert_uint_eq(muster__link_ports_open(parent()->ports, ends[1], false), 0);
    ck_assert(muster__port_is_closed(ends[0]));
    muster__port_release(ends[0]);
    for (unsigned i = 0; i < MUSTER__WIRE_PORT_LIMIT; i++)
        muster__port_release(kept[i]);
    free(kept);
    ck_assert_str_eq(child()->fault, "");
}
END_TEST

/* ---- at random ---- */

#define HANDS 24
#define STEPS 4000

struct hand {
    struct muster__port *port; /* NULL: none */
    int where;                 /* on whose side of which wire it is: 0 the parent's, 1 and 2 the children */
    int channel;
    int direction;
};

static unsigned random_state;

static unsigned draw(unsigned limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % limit;
}

static struct hand hands[HANDS];
static unsigned posted[HANDS / 2][2], taken[HANDS / 2][2];

static void take_some(struct hand *hand)
{
    struct muster__port_message *message;
    while ((message = muster__port_take(hand->port)) != NULL) {
        ck_assert_double_eq(muster_value_number(message->data), (double)++taken[hand->channel][!hand->direction]);
        muster__port_message_destroy(message);
    }
}

static void move(struct hand *hand)
{
    if (hand->where == 0) {
        int to = 1 + (int)draw(2);
        hand->port = hand_over(&wires[to - 1].sides[0], &wires[to - 1].sides[1], hand->port);
        hand->where = to;
    } else {
        hand->port = hand_over(&wires[hand->where - 1].sides[1], &wires[hand->where - 1].sides[0], hand->port);
        hand->where = 0;
    }
}

START_TEST(ports_wander_at_random_and_every_number_arrives_in_order)
{
    const char *given = getenv("MUSTER_TEST_SEED");
    random_state = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("MUSTER_TEST_SEED=%u\n", random_state);
    fflush(stdout);
    for (int i = 0; i < HANDS; i += 2) {
        struct pair pair = make_pair();
        for (int j = 0; j < 2; j++)
            hands[i + j] = (struct hand){.port = pair.ends[j], .channel = i / 2, .direction = j};
    }
    for (int step = 0; step < STEPS; step++) {
        struct hand *hand = &hands[draw(HANDS)];
        unsigned what = draw(16);
        if (what < 8)
            post(hand->port, ++posted[hand->channel][hand->direction]);
        else if (what < 13)
            take_some(hand);
        else if (what < 14)
            move(hand);
        else
            pump_once();
    }
    for (int i = 0; i < HANDS; i++)
        while (taken[hands[i].channel][!hands[i].direction] < posted[hands[i].channel][!hands[i].direction]) {
            take_some(&hands[i]);
            pump_once();
        }
    for (int i = 0; i < HANDS; i++)
        muster__port_release(hands[i].port);
    must_be_forgotten();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_port");
    TCase *messages = tcase_create("messages");
    tcase_add_checked_fixture(messages, set_up, tear_down);
    tcase_add_loop_test(messages, messages_go_over_in_order_both_ways, 0, 2);
    tcase_add_test(messages, head_and_data_arrive_as_they_were);
    tcase_add_test(messages, a_large_message_arrives_whole_and_before_what_comes_behind_it);
    tcase_add_test(messages, ends_travel_with_messages_and_keep_their_queue);
    tcase_add_test(messages, an_end_goes_from_one_child_through_the_parent_to_another);
    tcase_add_test(messages, an_end_that_comes_home_works);
    suite_add_tcase(suite, messages);
    TCase *closing = tcase_create("closing");
    tcase_add_checked_fixture(closing, set_up, tear_down);
    tcase_add_loop_test(closing, a_close_comes_behind_what_was_posted, 0, 2);
    tcase_add_test(closing, ends_that_close_at_once_are_forgotten);
    tcase_add_test(closing, what_travels_to_an_end_that_closed_meanwhile_is_closed);
    tcase_add_test(closing, the_end_of_the_link_closes_what_was_behind_it);
    suite_add_tcase(suite, closing);
    TCase *held = tcase_create("held and named");
    tcase_add_checked_fixture(held, set_up, tear_down);
    tcase_add_test(held, nothing_is_sent_on_a_held_port_until_it_is_accepted);
    tcase_add_test(held, a_held_port_comes_back_as_it_was);
    tcase_add_test(held, what_was_accepted_is_not_taken_back);
    tcase_add_loop_test(held, a_port_that_no_message_names_is_closed, 0, 2);
    tcase_add_test(held, an_end_is_claimed_once);
    suite_add_tcase(suite, held);
    TCase *flow = tcase_create("flow");
    tcase_add_checked_fixture(flow, set_up, tear_down);
    tcase_set_timeout(flow, 60);
    tcase_add_loop_test(flow, a_slow_reader_holds_up_its_own_port_only, 0, 2);
    tcase_add_test(flow, a_slow_child_holds_up_another_child_and_not_the_parent);
    tcase_add_test(flow, messages_beyond_the_window_still_pass_one_at_a_time);
    suite_add_tcase(suite, flow);
    TCase *lies = tcase_create("lies");
    tcase_add_checked_fixture(lies, set_up, tear_down);
    tcase_set_timeout(lies, 60);
    tcase_add_loop_test(lies, frames_about_ports_that_are_not_there_are_refused, 0, 4);
    tcase_add_loop_test(lies, a_number_comes_once, 0, 2);
    tcase_add_loop_test(lies, ports_that_were_not_opened_cannot_be_named, 0, 3);
    tcase_add_test(lies, what_is_no_value_is_refused);
    tcase_add_test(lies, more_than_the_window_is_refused);
    tcase_add_test(lies, credit_that_was_not_taken_is_refused);
    tcase_add_loop_test(lies, nothing_comes_behind_the_end_of_a_port, 0, 2);
    tcase_add_test(lies, what_was_named_cannot_be_unnamed);
    tcase_add_test(lies, too_many_ports_are_refused);
    tcase_add_test(lies, who_has_too_many_ports_open_hands_over_closed_ones);
    suite_add_tcase(suite, lies);
    TCase *random = tcase_create("at random");
    tcase_add_checked_fixture(random, set_up, tear_down);
    tcase_set_timeout(random, 120);
    tcase_add_test(random, ports_wander_at_random_and_every_number_arrives_in_order);
    suite_add_tcase(suite, random);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
