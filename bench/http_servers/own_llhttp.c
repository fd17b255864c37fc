/* bench/http_servers/own_llhttp.c - connections of our own, on llhttp as the parser.
 *
 * Every head is parsed in full: target, each header's name and value, framing.  The answer is noted while
 * parsing, made header by header after the parser returned, and everything that is ready leaves in one
 * write.  What it lacks against the real thing is memory management, streams and time limits. */
#include <errno.h>
#include <llhttp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench_listen.h"

enum { READ_SIZE = 65536, MAX_HEADERS = 64, OUT_SIZE = 16384 };

struct span {
    const char *data;
    size_t length;
};

struct connection {
    llhttp_t parser;
    int fd;
    unsigned ready;
    struct span url;
    struct span names[MAX_HEADERS];
    struct span values[MAX_HEADERS];
    size_t header_count;
    char out[OUT_SIZE];
};

static int on_begin(llhttp_t *parser)
{
    struct connection *c = parser->data;
    c->header_count = 0;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;
    c->url = (struct span){at, length};
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;
    if (c->header_count == MAX_HEADERS)
        return -1;
    c->names[c->header_count++] = (struct span){at, length};
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t length)
{
    struct connection *c = parser->data;
    c->values[c->header_count - 1] = (struct span){at, length};
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct connection *c = parser->data;
    c->ready++;
    return 0;
}

static char *put(char *to, const char *text)
{
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

static char *put_header(char *to, const char *name, const char *value)
{
    to = put(to, name);
    to = put(to, ": ");
    to = put(to, value);
    return put(to, "\r\n");
}

static char *answer(char *to)
{
    to = put(to, "HTTP/1.1 200 OK\r\n");
    to = put_header(to, "date", "Sat, 01 Jan 2000 00:00:00 GMT");
    to = put_header(to, "content-type", "text/plain");
    to = put_header(to, "content-length", "12");
    to = put_header(to, "cache-control", "no-store");
    to = put_header(to, "x-bench", "own");
    return put(put(to, "\r\n"), "Hello world\n");
}

static const llhttp_settings_t settings = {.on_message_begin = on_begin,
                                           .on_url = on_url,
                                           .on_header_field = on_field,
                                           .on_header_value = on_value,
                                           .on_message_complete = on_complete};

static void drop(struct connection *c)
{
    close(c->fd);
    free(c);
}

static void serve(struct connection *c)
{
    static char data[READ_SIZE];
    ssize_t length = read(c->fd, data, sizeof data);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    if (llhttp_execute(&c->parser, data, (size_t)length) != HPE_OK) {
        drop(c);
        return;
    }
    char *end = c->out;
    for (; c->ready > 0 && end + 512 < c->out + OUT_SIZE; c->ready--)
        end = answer(end);
    if (end > c->out && write(c->fd, c->out, (size_t)(end - c->out)) != end - c->out)
        drop(c);
}

static void accept_all(int epoll_fd, int listen_fd)
{
    for (int fd; (fd = bench_accept(listen_fd)) >= 0;) {
        struct connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
            free(c);
            close(fd);
            continue;
        }
        c->fd = fd;
        llhttp_init(&c->parser, HTTP_REQUEST, &settings);
        c->parser.data = c;
    }
}

int main(int argc, char **argv)
{
    int listen_fd = bench_listen(argc, argv);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0)
        return 1;
    for (;;) {
        struct epoll_event events[128];
        int count = epoll_wait(epoll_fd, events, 128, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr);
            else
                accept_all(epoll_fd, listen_fd);
        }
    }
}
