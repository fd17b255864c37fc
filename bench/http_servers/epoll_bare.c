/* bench/http_servers/epoll_bare.c - the limit: what the kernel alone costs.
 *
 * One thread, level-triggered epoll, one read and one write a batch of requests.  It looks for the empty
 * line that ends a head and knows nothing else of HTTP; the answer is a constant. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench_listen.h"

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "date: Sat, 01 Jan 2000 00:00:00 GMT\r\n"
                             "content-type: text/plain\r\n"
                             "content-length: 12\r\n"
                             "cache-control: no-store\r\n"
                             "x-bench: epoll\r\n"
                             "\r\n"
                             "Hello world\n";

enum { MAX_BATCH = 16, READ_SIZE = 16384 };

static void accept_all(int epoll_fd, int listen_fd)
{
    for (int fd; (fd = bench_accept(listen_fd)) >= 0;) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            close(fd);
    }
}

static size_t count_heads(const char *data, size_t length)
{
    size_t heads = 0;
    for (const char *at = data; (at = memmem(at, length - (size_t)(at - data), "\r\n\r\n", 4)); at += 4)
        heads++;
    return heads;
}

static void serve(int fd)
{
    char data[READ_SIZE];
    ssize_t length = read(fd, data, sizeof data);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            close(fd);
        return;
    }
    static char out[MAX_BATCH * (sizeof answer - 1)];
    size_t used = 0;
    for (size_t left = count_heads(data, (size_t)length); left > 0; left--) {
        memcpy(out + used, answer, sizeof answer - 1);
        used += sizeof answer - 1;
        if (used == sizeof out || left == 1) {
            if (write(fd, out, used) != (ssize_t)used)
                close(fd);
            used = 0;
        }
    }
}

int main(int argc, char **argv)
{
    int listen_fd = bench_listen(argc, argv);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listen_fd};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0)
        return 1;
    for (;;) {
        struct epoll_event events[128];
        int count = epoll_wait(epoll_fd, events, 128, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listen_fd)
                accept_all(epoll_fd, listen_fd);
            else
                serve(events[i].data.fd);
        }
    }
}
