/* tests/test_child_direct.c - a channel between two children whose other end lies: what it sends ends that channel, its
 * ports close, and nothing else suffers.
 *
 * The child is in this process, with remote/child_direct.c and a pool of its own; the test's thread plays the children at
 * the other ends, byte by byte, and waits for what it hears, never for time. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote/child_internal.h"
#include "remote/link_port_internal.h"
#include "runtime/check.h"

enum { LIAR = 1, HONEST };

/* Of what a worker's ports hold, the parent would hear. */
void muster__child_send(struct child *child, const struct muster__wire_message *message)
{
    (void)child;
    (void)message;
}

/* ---- the child ---- */

static struct child child = {.lock = PTHREAD_MUTEX_INITIALIZER};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void on_ready(struct muster__port *port, void *owner)
{
    (void)port;
    (void)owner;
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static const struct muster__port_owner_class owner_class = {.ready = on_ready};

/* Of the channel with that number, in the child. */
static struct muster__link_ports *ports_of(uint32_t number)
{
    return muster__child_direct_ports(&child, number);
}

static void release(struct muster__link_ports *ports)
{
    ports->options.release(ports->options.user_data);
}

/* ---- the other end ---- */

struct peer {
    int fd;
    enum muster__wire_side side;
    struct muster__port *port; /* the child's end of a channel that it opened here */
    uint64_t id;
    char *bytes; /* that came and were not looked at */
    size_t length;
};

static struct peer peers[3];

static void put_bytes(struct peer *peer, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t sent = send(peer->fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return; /* the child has closed it */
        at += sent;
        length -= (size_t)sent;
    }
}

static void put_part(struct peer *peer, const struct muster__wire_message *message, size_t most)
{
    struct muster__wire_buffer buffer = {0};
    struct muster__wire_fault fault = {0};
    ck_assert_msg(muster__wire_encode(&buffer, peer->side, message, &fault) == MUSTER_OK, "%s", fault.sentence);
    put_bytes(peer, buffer.data, buffer.length < most ? buffer.length : most);
    muster__wire_buffer_clean_up(&buffer);
}

static void put(struct peer *peer, enum muster__wire_type type, uint64_t actor)
{
    struct muster__wire_message message = {.type = type, .actor = actor};
    if (type == MUSTER__WIRE_HELLO)
        message.hello.version = MUSTER__WIRE_VERSION;
    if (type == MUSTER__WIRE_PORT_CREDIT)
        message.credit.bytes = 1;
    put_part(peer, &message, SIZE_MAX);
}

/* Reads frames until one of that type has come. */
static void get(struct peer *peer, enum muster__wire_type wanted)
{
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message message = {0};
    struct muster__wire_fault fault = {0};
    while (message.type != wanted) {
        size_t length = muster__wire_frame_length(peer->bytes, peer->length, &fault);
        if (length == 0 || length > peer->length) {
            peer->bytes = realloc(peer->bytes, peer->length + 4096);
            ssize_t came = recv(peer->fd, peer->bytes + peer->length, 4096, 0);
            ck_assert_int_gt(came, 0);
            peer->length += (size_t)came;
            continue;
        }
        enum muster__wire_side from =
            peer->side == MUSTER__WIRE_PARENT ? MUSTER__WIRE_CHILD : MUSTER__WIRE_PARENT;
        ck_assert_int_eq(muster__wire_decode(peer->bytes, length, from, &scratch, &message, &fault), MUSTER_OK);
        peer->length -= length;
        memmove(peer->bytes, peer->bytes + length, peer->length);
    }
    muster__wire_scratch_clean_up(&scratch);
}

static void connect_peer(uint32_t number, bool is_parent)
{
    int fds[2];
    struct peer *peer = &peers[number];
    struct muster__port *ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *peer = (struct peer){.fd = fds[1], .side = is_parent ? MUSTER__WIRE_CHILD : MUSTER__WIRE_PARENT};
    struct muster__wire_message message = {
        .type = MUSTER__WIRE_DIRECT, .descriptor_count = 1, .descriptors = fds};
    message.direct.channel = number;
    message.direct.is_parent = is_parent;
    muster__child_direct_open(&child, &message);
    ck_assert_int_eq(fds[0], -1);
    struct muster__link_ports *ports = ports_of(number);
    ck_assert_ptr_nonnull(ports);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    peer->port = ends[0];
    muster__port_attach(peer->port, &owner_class, NULL);
    peer->id = muster__link_ports_open(ports, ends[1], false);
    ck_assert_uint_ne(peer->id, 0);
    release(ports);
}

/* Behind what came on it before. */
static void must_close(struct peer *peer)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        struct muster__port_message *message = muster__port_take(peer->port);
        if (message)
            muster__port_message_destroy(message);
        else if (muster__port_is_closed(peer->port))
            break;
        else
            pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static void end_peer(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    free(peer->bytes);
    muster__port_detach(peer->port);
    muster__port_release(peer->port);
}

/* ---- what it may do ---- */

static uint64_t own_port(const struct peer *peer, unsigned count)
{
    return peer->side == MUSTER__WIRE_PARENT ? 2 * (count + 1) : 2 * count + 1;
}

static void say_nonsense_at_once(struct peer *peer)
{
    put_bytes(peer, "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", 33);
}

static void say_nonsense_after_hello(struct peer *peer)
{
    char nonsense[4096];
    memset(nonsense, 0xff, sizeof nonsense);
    put(peer, MUSTER__WIRE_HELLO, 0);
    put_bytes(peer, nonsense, sizeof nonsense);
}

/* One that there is, from that side, though not between children. */
static void say_what_is_not_for_children(struct peer *peer)
{
    put(peer, MUSTER__WIRE_HELLO, 0);
    put(peer, peer->side == MUSTER__WIRE_PARENT ? MUSTER__WIRE_PING : MUSTER__WIRE_PONG, 0);
}

static void close_without_a_word(struct peer *peer)
{
    close(peer->fd);
    peer->fd = -1;
}

static void close_in_the_middle_of_a_frame(struct peer *peer)
{
    struct muster__wire_message open = {.type = MUSTER__WIRE_PORT_OPEN, .actor = own_port(peer, 0)};
    put(peer, MUSTER__WIRE_HELLO, 0);
    put_part(peer, &open, 9);
    close_without_a_word(peer);
}

static void post_on_a_port_that_is_not_there(struct peer *peer)
{
    put(peer, MUSTER__WIRE_HELLO, 0);
    put(peer, MUSTER__WIRE_PORT_MESSAGE, own_port(peer, 7));
}

static void give_back_what_it_never_had(struct peer *peer)
{
    put(peer, MUSTER__WIRE_HELLO, 0);
    put(peer, MUSTER__WIRE_PORT_CREDIT, peer->id);
}

static void flood_a_port(struct peer *peer)
{
    put(peer, MUSTER__WIRE_HELLO, 0);
    for (unsigned i = 0; i < MUSTER__WIRE_PORT_WINDOW / 16; i++)
        put(peer, MUSTER__WIRE_PORT_MESSAGE, peer->id);
}

static void flood_with_ports(struct peer *peer)
{
    put(peer, MUSTER__WIRE_HELLO, 0);
    for (unsigned i = 0; i <= MUSTER__WIRE_PORT_LIMIT; i++)
        put(peer, MUSTER__WIRE_PORT_OPEN, own_port(peer, i));
}

static void (*const misdeeds[])(struct peer *peer) = {
    say_nonsense_at_once, say_nonsense_after_hello, say_what_is_not_for_children, close_without_a_word,
    close_in_the_middle_of_a_frame, post_on_a_port_that_is_not_there, give_back_what_it_never_had, flood_a_port,
    flood_with_ports};

/* ---- tests ---- */

static void set_up(bool is_parent)
{
    const struct muster__pool_options options = {.threads = 2, .name = "test"};
    ck_assert_int_eq(muster__pool_new(&options, &child.pool), MUSTER_OK);
    connect_peer(LIAR, is_parent);
    connect_peer(HONEST, is_parent);
    put(&peers[HONEST], MUSTER__WIRE_HELLO, 0);
    get(&peers[HONEST], MUSTER__WIRE_PORT_OPEN);
}

static void must_still_work(struct peer *peer)
{
    muster__port_post(peer->port, muster__port_message_new(NULL, muster_value_new_number(1), 0));
    get(peer, MUSTER__WIRE_PORT_MESSAGE);
    ck_assert(!muster__port_is_closed(peer->port));
}

static void tear_down(void)
{
    for (uint32_t number = LIAR; number <= HONEST; number++)
        end_peer(&peers[number]);
    ck_assert_uint_eq(muster__pool_destroy(child.pool), 0);
}

enum { MISDEED_COUNT = sizeof misdeeds / sizeof *misdeeds };

START_TEST(a_child_that_lies_to_another_loses_its_channel_and_nothing_else)
{
    set_up(_i >= MISDEED_COUNT);
    misdeeds[_i % MISDEED_COUNT](&peers[LIAR]);
    must_close(&peers[LIAR]);
    ck_assert_ptr_null(ports_of(LIAR));
    must_still_work(&peers[HONEST]);
    close_without_a_word(&peers[HONEST]);
    must_close(&peers[HONEST]);
    ck_assert_ptr_null(child.directs);
    tear_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("child_direct");
    TCase *liars = tcase_create("liars");
    tcase_set_timeout(liars, 60);
    tcase_add_loop_test(liars, a_child_that_lies_to_another_loses_its_channel_and_nothing_else, 0, 2 * MISDEED_COUNT);
    suite_add_tcase(suite, liars);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
