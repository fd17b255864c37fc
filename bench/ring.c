/* bench/ring.c - what two processes pay for bytes: by a socket pair, and by rings in shared memory (remote/ring.h).
 *
 * `ring [ROUNDS]` prints a table of medians.  All ways take turns within a round, since the machine's speed drifts.
 * "sleeps" waits in the kernel for each message, "looks first" looks for up to 50 us before it does, as the pool
 * does (runtime/pool_poll.c): by epoll for a socket, at the memory for a ring.  Who sleeps beside a ring is rung by
 * a byte on the socket. */
#include "remote/ring.h"
#include "runtime/check.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE 32
#define SPIN_US 50
#define LOOKS 32 /* at the memory, before others are looked at */
#define RING (256u << 10)
#define PINGS 3000
#define MESSAGES 200000
#define ROUNDS_MOST 64

enum way { SOCKET_BLOCKS, SOCKET_POLLS, SOCKET_LOOKS, RING_POLLS, RING_LOOKS, WAYS };
static const char *const way_names[] = {"socket, blocking", "socket, epoll, sleeps", "socket, epoll, looks first",
                                        "ring, epoll, sleeps", "ring, looks first"};

struct side {
    enum way way;
    int fd, epoll;
    struct muster__ring *ring;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "ring: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void must(enum muster_status status)
{
    if (status != MUSTER_OK)
        die(muster_status_sentence(status));
}

/* ---- waiting ---- */

static bool poll_once(struct side *side, int timeout_ms)
{
    struct epoll_event event;
    return epoll_wait(side->epoll, &event, 1, timeout_ms) > 0;
}

static bool ring_looks(struct side *side)
{
    for (int i = 0; i < LOOKS; i++) {
        if (muster__ring_has_bytes(side->ring))
            return true;
        relax();
    }
    return false;
}

/* True: there is something. */
static bool look(struct side *side)
{
    uint64_t began_us = muster__now_us();
    do {
        if (side->way == RING_LOOKS && ring_looks(side))
            return true;
        if (poll_once(side, 0))
            return side->way == SOCKET_LOOKS;
        (void)sched_yield();
    } while (muster__now_us() - began_us < SPIN_US);
    return false;
}

static void ring_bell(struct side *side)
{
    if (send(side->fd, "", 1, MSG_NOSIGNAL) != 1)
        die("send");
}

static void wait_for_bell(struct side *side)
{
    char bells[64];
    (void)poll_once(side, -1);
    if (recv(side->fd, bells, sizeof bells, MSG_DONTWAIT) == 0)
        exit(0);
}

/* ---- bytes ---- */

static void put(struct side *side, const char *data, size_t length)
{
    struct iovec vector = {(void *)data, length};
    while (vector.iov_len > 0) {
        size_t written = 0;
        bool wake = false;
        if (side->ring) {
            must(muster__ring_write(side->ring, &vector, 1, &written, &wake));
            if (wake)
                ring_bell(side);
            if (written == 0 && muster__ring_want_room(side->ring))
                wait_for_bell(side);
        } else {
            ssize_t sent = send(side->fd, vector.iov_base, vector.iov_len, MSG_NOSIGNAL);
            if (sent < 0)
                die("send");
            written = (size_t)sent;
        }
        vector.iov_base = (char *)vector.iov_base + written;
        vector.iov_len -= written;
    }
}

static size_t get_from_socket(struct side *side, char *data, size_t room)
{
    for (;;) {
        if (side->way == SOCKET_LOOKS && !look(side))
            (void)poll_once(side, -1);
        else if (side->way == SOCKET_POLLS)
            (void)poll_once(side, -1);
        ssize_t got = recv(side->fd, data, room, side->way == SOCKET_BLOCKS ? 0 : MSG_DONTWAIT);
        if (got == 0)
            exit(0);
        if (got > 0)
            return (size_t)got;
    }
}

static size_t get_from_ring(struct side *side, char *data, size_t room)
{
    struct iovec vector = {data, room};
    for (;;) {
        size_t got = 0;
        bool wake = false;
        must(muster__ring_read(side->ring, &vector, 1, &got, &wake));
        if (wake)
            ring_bell(side);
        if (got > 0)
            return got;
        if ((side->way == RING_POLLS || !look(side)) && muster__ring_sleep(side->ring))
            wait_for_bell(side);
    }
}

static size_t get(struct side *side, char *data, size_t room)
{
    return side->ring ? get_from_ring(side, data, room) : get_from_socket(side, data, room);
}

static void get_all(struct side *side, char *data, size_t length)
{
    for (size_t done = 0; done < length;)
        done += get(side, data + done, length - done);
}

/* ---- two processes ---- */

/* Echoes, or takes `MESSAGES` and answers once. */
static _Noreturn void other_side(struct side *side, bool one_way)
{
    static char buffer[64 << 10];
    for (;;) {
        if (!one_way) {
            get_all(side, buffer, MESSAGE);
            put(side, buffer, MESSAGE);
            continue;
        }
        for (size_t left = (size_t)MESSAGES * MESSAGE; left > 0;)
            left -= get(side, buffer, left < sizeof buffer ? left : sizeof buffer);
        put(side, buffer, MESSAGE);
    }
}

static struct side open_side(enum way way, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct side side = {.way = way, .fd = fd, .epoll = epoll_create1(0)};
    if (side.epoll < 0 || epoll_ctl(side.epoll, EPOLL_CTL_ADD, fd, &event))
        die("epoll");
    return side;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

/* Microseconds: of a round trip, or of a message. */
static double measure_side(struct side *side, bool one_way)
{
    static double samples[PINGS];
    char message[MESSAGE] = "";
    if (one_way) {
        uint64_t began_us = muster__now_us();
        for (int i = 0; i < MESSAGES; i++)
            put(side, message, sizeof message);
        get_all(side, message, sizeof message);
        return (double)(muster__now_us() - began_us) / MESSAGES;
    }
    for (int i = 0; i < PINGS; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        put(side, message, sizeof message);
        get_all(side, message, sizeof message);
        clock_gettime(CLOCK_MONOTONIC, &to);
        samples[i] = (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
    }
    return median(samples, PINGS);
}

static double measure(enum way way, bool one_way, int other_core)
{
    int fds[2], memory = -1;
    struct muster__ring *ring = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        die("socketpair");
    if (way >= RING_POLLS)
        must(muster__ring_new(RING, &ring, &memory));
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        struct side side = open_side(way, fds[1]);
        close(fds[0]);
        pin(other_core);
        if (ring)
            must(muster__ring_attach(memory, &side.ring));
        other_side(&side, one_way);
    }
    struct side side = open_side(way, fds[0]);
    side.ring = ring;
    close(fds[1]);
    double result = measure_side(&side, one_way);
    close(fds[0]);
    close(side.epoll);
    if (memory >= 0)
        close(memory);
    muster__ring_destroy(ring);
    (void)kill(pid, SIGKILL); /* a ring has no end of file */
    (void)waitpid(pid, NULL, 0);
    return result;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bool one_way, one_core;
    } cases[] = {{"round trip, two cores", false, false}, {"round trip, one core", false, true},
                 {"one way, two cores", true, false}, {"one way, one core", true, true}};
    static double values[4][WAYS][ROUNDS_MOST];
    int rounds = argc > 1 ? atoi(argv[1]) : 5;
    bool two = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    double load = -1;
    if (rounds < 1 || rounds > ROUNDS_MOST)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    pin(0);
    for (int round = 0; round < rounds; round++)
        for (int c = 0; c < 4; c++)
            for (int way = 0; way < WAYS; way++)
                values[c][way][round] = measure(way, cases[c].one_way, two && !cases[c].one_core);
    (void)getloadavg(&load, 1);
    printf("%d rounds, medians in us; load at the end %.1f\n", rounds, load);
    for (int c = 0; c < 4; c++)
        for (int way = 0; way < WAYS; way++)
            printf("%-24s %-28s %8.3f\n", cases[c].name, way_names[way], median(values[c][way], (size_t)rounds));
    return 0;
}
