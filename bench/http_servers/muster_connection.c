/* bench/http_servers/muster_connection.c - the protocol part of muster's server, on a bare epoll loop.
 *
 * Each request becomes a muster__request, is settled after the batch of reads as a worker would, and is
 * answered header by header.  What it lacks against `muster serve` is the worker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "bench_listen.h"
#include "cli/http_connection.h"

enum { READ_SIZE = 65536, MAX_SPANS = 64 };

struct client {
    struct muster__http_connection *connection;
    int fd;
};

static int epoll_fd;
static struct muster__http_pool *pool;
static struct muster__http_exchange *first_waiting;
static struct muster__http_exchange **last_waiting = &first_waiting;
static char date[MUSTER__HTTP_DATE_LENGTH + 1];

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void on_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    muster__http_exchange_answer((struct muster__http_exchange *)request, outcome->response, date);
}

static const struct muster__request_class request_class = {.settled = on_settled,
                                                           .destroy = muster__http_exchange_destroy};

static void on_request(struct muster__http_exchange *exchange, void *data)
{
    (void)data;
    muster__request_acquire(&exchange->request);
    *last_waiting = exchange;
    last_waiting = &exchange->server_next;
}

static void wake(void *data)
{
    (void)data;
}

static void drop(struct client *client)
{
    muster__http_connection_destroy(client->connection);
    close(client->fd);
    free(client);
}

static void flush(struct client *client, uint64_t now)
{
    struct iovec spans[MAX_SPANS];
    size_t count;
    while ((count = muster__http_connection_output(client->connection, spans, MAX_SPANS, now)) > 0) {
        ssize_t written = count == 1 ? write(client->fd, spans[0].iov_base, spans[0].iov_len)
                                     : writev(client->fd, spans, (int)count);
        if (written < 0) {
            if (errno != EAGAIN)
                drop(client);
            return;
        }
        muster__http_connection_wrote(client->connection, (size_t)written, now);
    }
    if (muster__http_connection_is_done(client->connection) ||
        muster__http_connection_wants_shutdown(client->connection))
        drop(client);
}

static void answer_all(uint64_t now)
{
    static const struct muster_header headers[] = {{{"content-type", 12}, {"text/plain", 10}},
                                                   {{"cache-control", 13}, {"no-store", 8}},
                                                   {{"x-bench", 7}, {"muster", 6}}};
    static const struct muster_http_response response = {
        .status_code = 200, .headers = headers, .header_count = 3, .body = {"Hello world\n", 12}};
    static const struct muster__outcome outcome = {.status = MUSTER_OK, .response = &response};
    struct muster__http_exchange *waiting = first_waiting;
    first_waiting = NULL;
    last_waiting = &first_waiting;
    while (waiting) {
        struct muster__http_exchange *exchange = waiting;
        waiting = exchange->server_next;
        muster__request_settle(&exchange->request, &outcome);
        struct muster__http_connection *connection = muster__http_connection_answer_ready(exchange, now);
        struct client *client = connection ? muster__http_connection_data(connection) : NULL;
        muster__request_release(&exchange->request);
        /* The next one may be of the same client: one write for both. */
        if (client && (!waiting || waiting->connection != connection))
            flush(client, now);
    }
}

static void serve(struct client *client, uint64_t now)
{
    static char data[READ_SIZE];
    ssize_t length = read(client->fd, data, sizeof data);
    if (length > 0)
        muster__http_connection_feed(client->connection, data, (size_t)length, now);
    else if (length == 0)
        muster__http_connection_eof(client->connection, now);
    else if (errno != EAGAIN)
        drop(client);
    if (length >= 0 && !first_waiting)
        flush(client, now);
}

static void accept_all(int listen_fd, uint64_t now)
{
    for (int fd; (fd = bench_accept(listen_fd)) >= 0;) {
        struct client *client = calloc(1, sizeof *client);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        if (!client || muster__http_connection_new(pool, client, now, &client->connection) != MUSTER_OK)
            exit(1);
        client->fd = fd;
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            drop(client);
    }
}

int main(int argc, char **argv)
{
    int listen_fd = bench_listen(argc, argv);
    struct muster__http_options options = {
        .request_class = &request_class, .on_request = on_request, .wake = wake};
    struct epoll_event event = {.events = EPOLLIN};
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0 ||
        muster__http_pool_new(&options, &pool) != MUSTER_OK)
        return 1;
    for (time_t second = 0;;) {
        struct epoll_event events[128];
        int count = epoll_wait(epoll_fd, events, 128, -1);
        uint64_t now = now_us();
        if ((time_t)(now / 1000000) != second) {
            second = (time_t)(now / 1000000);
            muster__http_date(time(NULL), date);
            muster__http_pool_set_date(pool, date);
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr, now);
            else
                accept_all(listen_fd, now);
        }
        answer_all(now);
    }
}
