/* tests/test_ring.c - rings in shared memory by themselves, and a link beside a child that misuses them. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "remote/link.h"
#include "remote/ring.h"
#include "runtime/check.h"

#define BYTES MUSTER__RING_BYTES_LEAST
#define HEADER 4096

/* Where ring.h says that these stand, of the ring that the parent writes and of the child's. */
#define WRITTEN(child) (64 + 128 * (child))
#define READ(child) (WRITTEN(child) + 64)

static struct muster__ring *parent_ring, *child_ring;
static int memory;
static char *raw; /* the same memory, as a hostile child has it */

static void map_raw(void)
{
    raw = mmap(NULL, HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    ck_assert_ptr_ne(raw, MAP_FAILED);
}

static void set_up(void)
{
    ck_assert_int_eq(muster__ring_new(BYTES, &parent_ring, &memory), MUSTER_OK);
    ck_assert_int_eq(muster__ring_attach(memory, &child_ring), MUSTER_OK);
    map_raw();
}

static void tear_down(void)
{
    muster__ring_destroy(parent_ring);
    muster__ring_destroy(child_ring);
    munmap(raw, HEADER);
    close(memory);
}

static void poke(size_t offset, uint32_t value)
{
    atomic_store((atomic_uint *)(void *)(raw + offset), value);
}

static uint32_t peek(size_t offset)
{
    return atomic_load((atomic_uint *)(void *)(raw + offset));
}

static uint64_t number;

static uint32_t any(uint32_t below)
{
    number = number * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(number >> 33) % below;
}

/* Printed, so that a run can be had again. */
static void begin_with_a_number(void)
{
    const char *text = getenv("MUSTER_TEST_SEED");
    number = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("MUSTER_TEST_SEED=%llu\n", (unsigned long long)number);
    fflush(stdout);
}

static size_t put(struct muster__ring *ring, const char *data, size_t length, bool *ret_wake)
{
    struct iovec vectors[2] = {{(char *)data, length / 3}, {(char *)data + length / 3, length - length / 3}};
    size_t written = 77;
    ck_assert_int_eq(muster__ring_write(ring, vectors, 2, &written, ret_wake), MUSTER_OK);
    return written;
}

static size_t get(struct muster__ring *ring, char *data, size_t length, bool *ret_wake)
{
    struct iovec vectors[2] = {{data, length / 2}, {data + length / 2, length - length / 2}};
    size_t got = 77;
    ck_assert_int_eq(muster__ring_read(ring, vectors, 2, &got, ret_wake), MUSTER_OK);
    return got;
}

/* ---- a pipe of bytes ---- */

START_TEST(bytes_come_out_as_they_went_in_around_every_end)
{
    static char data[3 * BYTES], pattern[251 + 3 * BYTES];
    uint64_t in[2] = {0, 0}, out[2] = {0, 0};
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(i % 251);
    begin_with_a_number();
    for (int i = 0; i < 20000; i++) {
        bool wake;
        unsigned way = any(2);
        struct muster__ring *writer = way ? child_ring : parent_ring, *reader = way ? parent_ring : child_ring;
        size_t length = any(any(2) ? 40 : 3 * BYTES);
        in[way] += put(writer, pattern + in[way] % 251, length, &wake);
        ck_assert_uint_le(in[way] - out[way], BYTES);
        size_t got = get(reader, data, any(3 * BYTES), &wake);
        ck_assert_mem_eq(data, pattern + out[way] % 251, got);
        out[way] += got;
        ck_assert(muster__ring_has_bytes(reader) == (in[way] != out[way]));
    }
}
END_TEST

START_TEST(a_full_ring_takes_nothing_and_an_empty_one_gives_nothing)
{
    static char data[2 * BYTES];
    bool wake;
    ck_assert_uint_eq(get(child_ring, data, 10, &wake), 0);
    ck_assert_uint_eq(put(parent_ring, data, sizeof data, &wake), BYTES);
    ck_assert_uint_eq(put(parent_ring, data, 1, &wake), 0);
    ck_assert(!wake);
    ck_assert_uint_eq(get(child_ring, data, sizeof data, &wake), BYTES);
    ck_assert_uint_eq(get(child_ring, data, sizeof data, &wake), 0);
}
END_TEST

START_TEST(a_reader_is_rung_once_each_time_that_it_sleeps)
{
    char data[16];
    bool wake;
    put(parent_ring, "a", 1, &wake);
    ck_assert(wake); /* both begin asleep */
    put(parent_ring, "b", 1, &wake);
    ck_assert(!wake);
    ck_assert(!muster__ring_sleep(child_ring));
    ck_assert_uint_eq(get(child_ring, data, sizeof data, &wake), 2);
    put(parent_ring, "c", 1, &wake);
    ck_assert(!wake);
    get(child_ring, data, sizeof data, &wake);
    ck_assert(muster__ring_sleep(child_ring));
    put(parent_ring, "d", 1, &wake);
    ck_assert(wake);
}
END_TEST

START_TEST(a_writer_that_wants_room_is_rung_when_half_is_free)
{
    static char data[BYTES];
    bool wake;
    ck_assert_uint_eq(put(parent_ring, data, BYTES, &wake), BYTES);
    ck_assert(muster__ring_want_room(parent_ring));
    get(child_ring, data, BYTES / 2 - 1, &wake);
    ck_assert(!wake);
    get(child_ring, data, 1, &wake);
    ck_assert(wake);
    get(child_ring, data, 1, &wake);
    ck_assert(!wake);
    ck_assert(!muster__ring_want_room(parent_ring));
}
END_TEST

START_TEST(what_is_no_ring_is_not_taken_for_one)
{
    struct muster__ring *ring = NULL;
    int fd, plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(muster__ring_new(BYTES + 1, &ring, &fd), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__ring_new(BYTES / 2, &ring, &fd), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__ring_new(2 * MUSTER__RING_BYTES_MOST, &ring, &fd), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__ring_attach(0, &ring), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__ring_attach(-1, &ring), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(ftruncate(plain, HEADER + 2 * BYTES), 0);
    ck_assert_int_eq(pwrite(plain, raw, HEADER, 0), HEADER);
    ck_assert_int_eq(muster__ring_attach(plain, &ring), MUSTER_INVALID_ARGUMENT); /* it could shrink */
    ck_assert_int_eq(fcntl(plain, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    ck_assert_int_eq(muster__ring_attach(plain, &ring), MUSTER_OK);
    muster__ring_destroy(ring);
    for (size_t offset = 0; offset < 12; offset += 4) {
        uint32_t was = peek(offset);
        poke(offset, was * 2);
        ck_assert_int_eq(muster__ring_attach(memory, &ring), MUSTER_INVALID_ARGUMENT);
        poke(offset, was);
    }
    ck_assert_int_ne(ftruncate(memory, HEADER), 0);
    close(plain);
}
END_TEST

/* ---- nobody sleeps for ever ---- */

struct sleeper {
    struct muster__ring *ring;
    int own_bell, other_bell;
    uint64_t steps, number;
};

static void ring_if(bool wake, int bell)
{
    if (wake)
        ck_assert_int_eq(eventfd_write(bell, 1), 0);
}

/* Writes when it likes, reads the rest of the time, and sleeps whenever it may: if a bell were lost, both would. */
static void *write_and_read(void *argument)
{
    struct sleeper *me = argument;
    static _Thread_local char data[2 * BYTES];
    uint64_t random = me->number, sent = 0, got = 0, total = me->steps * 64;
    while (sent < total || got < total) {
        bool wake, full = false;
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t most = (random >> 40) % 8 ? (random >> 33) % 100 + 1 : sizeof data;
        if (sent < total && random >> 62) {
            size_t wrote = put(me->ring, data, most < total - sent ? most : (size_t)(total - sent), &wake);
            sent += wrote;
            ring_if(wake, me->other_bell);
            full = wrote == 0;
        }
        size_t here = get(me->ring, data, most, &wake);
        got += here;
        ring_if(wake, me->other_bell);
        if (here > 0 || (sent < total && !(full && muster__ring_want_room(me->ring))))
            continue;
        eventfd_t count;
        if ((sent < total || got < total) && muster__ring_sleep(me->ring))
            ck_assert_int_eq(eventfd_read(me->own_bell, &count), 0);
    }
    return NULL;
}

START_TEST(two_that_write_and_sleep_at_random_never_sleep_both)
{
    pthread_t thread;
    begin_with_a_number();
    int bells[2] = {eventfd(0, 0), eventfd(0, 0)};
    struct sleeper one = {parent_ring, bells[0], bells[1], 40000, number};
    struct sleeper two = {child_ring, bells[1], bells[0], 40000, number + 1};
    ck_assert_int_eq(pthread_create(&thread, NULL, write_and_read, &one), 0);
    write_and_read(&two);
    pthread_join(thread, NULL);
    close(bells[0]);
    close(bells[1]);
}
END_TEST

/* ---- the peer writes nonsense ---- */

START_TEST(a_position_that_cannot_be_is_said_and_nothing_is_read)
{
    static const uint32_t moves[] = {BYTES + 1, BYTES * 2, 0x80000000u, (uint32_t)-1, (uint32_t)-BYTES};
    char data[16];
    size_t length;
    bool wake;
    struct iovec vector = {data, sizeof data};
    put(child_ring, "abcdef", 6, &wake);
    get(parent_ring, data, 3, &wake);
    poke(WRITTEN(1), 3 + moves[_i]);
    ck_assert(muster__ring_has_bytes(parent_ring));
    ck_assert_int_eq(muster__ring_read(parent_ring, &vector, 1, &length, &wake), MUSTER_INVALID_ARGUMENT);
}
END_TEST

START_TEST(a_reader_that_claims_what_was_not_written_is_found_out)
{
    static char data[2 * BYTES];
    size_t length;
    bool wake;
    struct iovec vector = {data, sizeof data};
    put(parent_ring, data, 100, &wake);
    poke(READ(0), 101);
    ck_assert_int_eq(muster__ring_write(parent_ring, &vector, 1, &length, &wake), MUSTER_INVALID_ARGUMENT);
    ck_assert(!muster__ring_want_room(parent_ring));
}
END_TEST

START_TEST(what_a_peer_does_to_the_memory_harms_only_itself)
{
    static char data[3 * BYTES];
    begin_with_a_number();
    for (int i = 0; i < 20000; i++) {
        size_t length;
        bool wake;
        struct iovec vectors[2] = {{data, any(BYTES)}, {data + BYTES, any(2 * BYTES)}};
        poke(any(HEADER / 4) * 4, any(3) ? any(2 * BYTES) : any(UINT32_MAX));
        poke(any(2) ? WRITTEN(1) : READ(0), any(2 * BYTES) + (uint32_t)i);
        if (muster__ring_write(parent_ring, vectors, 2, &length, &wake) == MUSTER_OK)
            ck_assert_uint_le(length, BYTES);
        if (muster__ring_read(parent_ring, vectors, 2, &length, &wake) == MUSTER_OK)
            ck_assert_uint_le(length, BYTES);
        (void)!muster__ring_sleep(parent_ring);
        (void)!muster__ring_want_room(parent_ring);
    }
}
END_TEST

/* ---- a link, and a child by hand ---- */

static struct muster__link *parent;
static int ended, data_fd, channel_fd;
static unsigned heard;
static enum muster_status how;
static char why[256];

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    (void)user_data;
    heard += message->type == MUSTER__WIRE_PONG;
}

static void on_ended(void *user_data, enum muster_status status, const char *sentence)
{
    (void)user_data;
    ended++;
    how = status;
    snprintf(why, sizeof why, "%s", sentence);
}

static void on_interest(void *user_data, uint32_t events)
{
    (void)user_data;
    (void)events;
}

static void on_flush_soon(void *user_data)
{
    (void)user_data;
}

static const struct muster__link_listener listener = {
    .frame = on_frame, .ended = on_ended, .interest = on_interest, .flush_soon = on_flush_soon};

static void write_frame(const struct muster__wire_message *message, bool in_ring)
{
    struct muster__wire_buffer frame = {0};
    bool wake;
    ck_assert_int_eq(muster__wire_encode(&frame, MUSTER__WIRE_CHILD, message, NULL), MUSTER_OK);
    if (in_ring)
        ck_assert_uint_eq(put(child_ring, frame.data, frame.length, &wake), frame.length);
    else
        ck_assert_int_eq(write(data_fd, frame.data, frame.length), (ssize_t)frame.length);
    muster__wire_buffer_clean_up(&frame);
}

static void write_pong(bool in_ring)
{
    write_frame(&(struct muster__wire_message){.type = MUSTER__WIRE_PONG}, in_ring);
}

static void write_hello(uint32_t grants)
{
    struct muster__wire_message hello = {.type = MUSTER__WIRE_HELLO};
    hello.hello.version = MUSTER__WIRE_VERSION;
    hello.hello.grants = grants;
    write_frame(&hello, false);
}

static bool ready(void)
{
    return muster__link_on_ready(parent, EPOLLIN);
}

/* RING and its descriptor, from the two sockets; false: there is none. */
static bool receive_ring(void)
{
    char bytes[256];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr packet = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recv(data_fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0)
        return false;
    ck_assert_int_eq(bytes[4], MUSTER__WIRE_RING);
    ck_assert_int_eq(recvmsg(channel_fd, &packet, MSG_DONTWAIT), 8);
    memcpy(&memory, CMSG_DATA(CMSG_FIRSTHDR(&packet)), sizeof memory);
    return true;
}

static void set_up_link(void)
{
    int data[2], channel[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, data), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel), 0);
    const struct muster__link_options options = {.side = MUSTER__WIRE_PARENT,
                                                 .data_fd = data[0],
                                                 .descriptor_fd = channel[0],
                                                 .listener = &listener,
                                                 .ring = true,
                                                 .ring_bytes = BYTES};
    data_fd = data[1];
    channel_fd = channel[1];
    memory = -1;
    ended = 0;
    heard = 0;
    child_ring = NULL;
    raw = NULL;
    ck_assert_int_eq(muster__link_new(&options, &parent), MUSTER_OK);
}

/* Both directions go through the ring. */
static void set_up_ringing(void)
{
    set_up_link();
    write_hello(MUSTER__WIRE_TAKES_RING);
    ready();
    ck_assert(receive_ring());
    ck_assert_int_eq(muster__ring_attach(memory, &child_ring), MUSTER_OK);
    map_raw();
    write_frame(&(struct muster__wire_message){.type = MUSTER__WIRE_RING}, false);
    while (ready() || !muster__link_sleep(parent))
        ;
    ck_assert_int_eq(ended, 0);
}

static void tear_down_link(void)
{
    muster__link_destroy(parent);
    muster__ring_destroy(child_ring);
    if (raw)
        munmap(raw, HEADER);
    if (memory >= 0)
        close(memory);
    if (data_fd >= 0)
        close(data_fd);
    close(channel_fd);
}

static void ping(unsigned flags)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PING};
    ck_assert_int_eq(muster__link_send(parent, &message, flags), MUSTER_OK);
}

START_TEST(a_child_that_knows_no_ring_is_given_none)
{
    char bytes[256];
    write_hello(~MUSTER__WIRE_TAKES_RING);
    ready();
    ck_assert(!receive_ring());
    ping(MUSTER__LINK_NOW);
    ck_assert_int_gt(recv(data_fd, bytes, sizeof bytes, MSG_DONTWAIT), 0);
    write_pong(false);
    ready();
    ck_assert_uint_eq(heard, 1);
}
END_TEST

static void must_have_been_refused(const char *sentence)
{
    ck_assert_int_eq(ended, 1);
    ck_assert_int_eq(how, MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(why, sentence));
}

START_TEST(a_ring_that_nobody_asked_for_ends_the_link)
{
    write_hello(0);
    write_frame(&(struct muster__wire_message){.type = MUSTER__WIRE_RING}, false);
    ready();
    must_have_been_refused("nobody asked for");
}
END_TEST

START_TEST(a_second_ring_ends_the_link)
{
    write_frame(&(struct muster__wire_message){.type = MUSTER__WIRE_RING}, true);
    ready();
    must_have_been_refused("nobody asked for");
}
END_TEST

START_TEST(what_stands_in_the_ring_when_its_child_dies_is_heard_first)
{
    for (int i = 0; i < 20; i++)
        write_pong(true);
    close(data_fd);
    data_fd = -1;
    (void)muster__link_on_ready(parent, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
    ck_assert_uint_eq(heard, 20);
    ck_assert_int_eq(ended, 1);
    ck_assert_int_eq(how, MUSTER_CLOSED);
}
END_TEST

START_TEST(half_a_frame_in_the_ring_of_a_dead_child_is_an_end_in_the_middle)
{
    bool wake;
    write_pong(true);
    put(child_ring, "\x20\0\0\0", 4, &wake);
    close(data_fd);
    data_fd = -1;
    ready();
    ck_assert_uint_eq(heard, 1);
    ck_assert_int_eq(ended, 1);
    ck_assert_ptr_nonnull(strstr(why, "middle of a frame"));
}
END_TEST

START_TEST(a_child_that_never_rings_is_heard_when_it_is_looked_at)
{
    write_pong(true);
    ck_assert(muster__link_look(parent));
    (void)muster__link_on_ready(parent, 0);
    ck_assert_uint_eq(heard, 1);
    ck_assert(!muster__link_look(parent));
    ck_assert(muster__link_sleep(parent));
}
END_TEST

START_TEST(a_child_that_rings_for_ever_keeps_nobody)
{
    static const char bells[1 << 16];
    ssize_t rung = 0, once;
    while ((once = send(data_fd, bells, sizeof bells, MSG_DONTWAIT)) > 0)
        rung += once;
    write_pong(true);
    ck_assert_int_gt(rung, 1000);
    ck_assert(ready()); /* it comes back, and there is more */
    ck_assert_uint_eq(heard, 1);
    while (ready())
        ;
    ck_assert_int_eq(ended, 0);
    ck_assert_int_lt(recv(data_fd, (char[1]){0}, 1, MSG_DONTWAIT), 0); /* it is not answered */
}
END_TEST

START_TEST(something_else_than_a_bell_ends_the_link)
{
    ck_assert_int_eq(write(data_fd, "\0x", 2), 2);
    ready();
    must_have_been_refused("than a bell");
}
END_TEST

START_TEST(a_child_whose_position_cannot_be_loses_the_link)
{
    static const uint32_t moves[] = {(uint32_t)-1, BYTES + 1, 0x80000000u};
    write_pong(true);
    ready();
    poke(WRITTEN(1), peek(READ(1)) + moves[_i]);
    ck_assert(muster__link_look(parent));
    (void)muster__link_on_ready(parent, 0);
    ck_assert_uint_eq(heard, 1);
    must_have_been_refused("cannot be");
    ck_assert(!muster__link_look(parent));
    ck_assert(muster__link_sleep(parent));
}
END_TEST

START_TEST(a_child_that_has_read_what_was_not_written_loses_the_link)
{
    poke(READ(0), 0x40000000);
    for (int i = 0; i < 200; i++) /* room is looked for only when it seems to be short */
        if (muster__link_send(parent, &(struct muster__wire_message){.type = MUSTER__WIRE_PING}, MUSTER__LINK_NOW))
            break;
    ready();
    must_have_been_refused("cannot be");
}
END_TEST

START_TEST(what_a_child_does_not_read_waits_and_goes_on_at_a_bell)
{
    static char data[BYTES];
    struct muster__link_stats stats;
    size_t all = 0;
    bool wake;
    for (int i = 0; i < 1000; i++)
        ping(MUSTER__LINK_NOW);
    muster__link_stats(parent, &stats);
    ck_assert_uint_gt(stats.waiting, 2 * BYTES);
    for (size_t got; (got = get(child_ring, data, sizeof data, &wake)) > 0; all += got) {
        if (wake)
            ck_assert_int_eq(write(data_fd, "", 1), 1);
        (void)muster__link_on_ready(parent, wake ? EPOLLIN : 0);
    }
    muster__link_stats(parent, &stats);
    ck_assert_uint_eq(stats.waiting, 0);
    ck_assert_uint_eq(all % 1000, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ring");
    TCase *topic = tcase_create("bytes");
    tcase_add_checked_fixture(topic, set_up, tear_down);
    tcase_add_test(topic, bytes_come_out_as_they_went_in_around_every_end);
    tcase_add_test(topic, a_full_ring_takes_nothing_and_an_empty_one_gives_nothing);
    tcase_add_test(topic, a_reader_is_rung_once_each_time_that_it_sleeps);
    tcase_add_test(topic, a_writer_that_wants_room_is_rung_when_half_is_free);
    tcase_add_test(topic, what_is_no_ring_is_not_taken_for_one);
    tcase_add_test(topic, two_that_write_and_sleep_at_random_never_sleep_both);
    suite_add_tcase(s, topic);
    topic = tcase_create("nonsense");
    tcase_add_checked_fixture(topic, set_up, tear_down);
    tcase_add_loop_test(topic, a_position_that_cannot_be_is_said_and_nothing_is_read, 0, 5);
    tcase_add_test(topic, a_reader_that_claims_what_was_not_written_is_found_out);
    tcase_add_test(topic, what_a_peer_does_to_the_memory_harms_only_itself);
    suite_add_tcase(s, topic);
    topic = tcase_create("agreeing on it");
    tcase_add_checked_fixture(topic, set_up_link, tear_down_link);
    tcase_add_test(topic, a_child_that_knows_no_ring_is_given_none);
    tcase_add_test(topic, a_ring_that_nobody_asked_for_ends_the_link);
    suite_add_tcase(s, topic);
    topic = tcase_create("a child by hand");
    tcase_add_checked_fixture(topic, set_up_ringing, tear_down_link);
    tcase_add_test(topic, a_second_ring_ends_the_link);
    tcase_add_test(topic, what_stands_in_the_ring_when_its_child_dies_is_heard_first);
    tcase_add_test(topic, half_a_frame_in_the_ring_of_a_dead_child_is_an_end_in_the_middle);
    tcase_add_test(topic, a_child_that_never_rings_is_heard_when_it_is_looked_at);
    tcase_add_test(topic, a_child_that_rings_for_ever_keeps_nobody);
    tcase_add_test(topic, something_else_than_a_bell_ends_the_link);
    tcase_add_loop_test(topic, a_child_whose_position_cannot_be_loses_the_link, 0, 3);
    tcase_add_test(topic, a_child_that_has_read_what_was_not_written_loses_the_link);
    tcase_add_test(topic, what_a_child_does_not_read_waits_and_goes_on_at_a_bell);
    suite_add_tcase(s, topic);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
