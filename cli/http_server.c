/* cli/http_server.c - sockets, connections, and the way of a request into a slot and back.
 *
 * "Owner" is the thread that polls: sources, the flusher and the sweep run there.  Other threads do two
 * things: they put an answer into its exchange and push it on `ready`, and they push a connection whose
 * stream moved on `woken`; both then ask for a flush. */
#include "cli/http_server.h"

#include "cli/http_connection.h"
#include "cli/listen_address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE (64 << 10)
#define READS_AT_ONCE 4      /* then others have their turn */
#define ACCEPTS_AT_ONCE 64
#define SWEEP_US 250000
#define SPANS 64

struct connection {
    struct muster__pool_source source;
    struct muster__http_server *server;
    struct muster__http_connection *http; /* NULL: dead, waits to be freed */
    struct connection *next, *previous;   /* all of the server's, or the dead */
    struct connection *next_woken, *next_dirty;
    atomic_bool woken;
    bool dirty, readable, writable, shut;
    bool hung_up; /* the client's last byte is on its way: read until the end is seen */
};

struct muster__http_server {
    struct muster__http_server_options options;
    struct muster__pool *pool;
    struct muster__http_pool *http_pool;
    struct muster__pool_source listener;
    char *url, *unix_path;
    char scratch[READ_SIZE]; /* owner */

    struct connection *connections, *dead, *dirty; /* owner */
    struct muster__http_exchange *oldest, *newest; /* owner: not answered yet, by age */

    struct muster__pool_flusher flusher;
    struct muster__pool_timer sweep;
    _Atomic(struct muster__http_exchange *) ready;
    _Atomic(struct connection *) woken;
    atomic_bool drain_asked, sweep_due;
    bool draining, accepting; /* owner */
    uint64_t now_us;          /* owner: of this round */
    bool starved;             /* owner: no descriptor was free, so the listener rests until the sweep */
    bool over;                /* the instance is gone: see destroy */

    pthread_mutex_t lock; /* innermost */
    pthread_cond_t emptied;
    size_t open;
};

/* ---- the date, cached by each thread for its second ---- */

static const char *date_now(void)
{
    static _Thread_local time_t second;
    static _Thread_local char text[MUSTER__HTTP_DATE_LENGTH + 1];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != second) {
        second = now.tv_sec;
        muster__http_date(second, text);
    }
    return text;
}

/* ---- answers: any thread ---- */

static void push_ready(struct muster__http_server *server, struct muster__http_exchange *exchange)
{
    struct muster__http_exchange *head = atomic_load(&server->ready);
    do {
        exchange->server_next = head;
    } while (!atomic_compare_exchange_weak(&server->ready, &head, exchange));
    muster__pool_flush(server->pool, &server->flusher);
}

/* "Name: message", where, and the stack below.  Most stacks tell where, but not that of a script that does
 * not parse. */
static char *text_of(const struct muster_error *error)
{
    const char *stack = error->stack ? error->stack : "";
    char *place = error->file && !strstr(stack, error->file)
                      ? muster__format(" (%s:%d)", error->file, error->line)
                      : NULL;
    char *text = muster__format("%s%s%s%s%s%s", error->name ? error->name : "", error->name ? ": " : "",
                                error->message, place ? place : "", *stack ? "\n" : "", stack);
    free(place);
    return text;
}

static void answer_failure(struct muster__http_server *server, struct muster__http_exchange *exchange,
                           const struct muster__outcome *outcome)
{
    const struct muster_error *error = outcome->error;
    const char *detail = NULL;
    char *text = NULL;
    if (server->options.dev && !(error && error->message))
        detail = muster_status_sentence(outcome->status);
    else if (server->options.dev)
        detail = text = text_of(error);
    int status = muster__http_status_of(outcome->status);
    muster__http_exchange_answer_status(exchange, status, detail, status == 503 ? 1 : 0, date_now());
    free(text);
}

static void settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster__http_exchange *exchange = (struct muster__http_exchange *)request;
    struct muster__http_server *server = exchange->server_data;
    atomic_fetch_add(&server->options.muster->counters.events, 1);
    if (outcome->status == MUSTER_OK && outcome->response)
        muster__http_exchange_answer(exchange, outcome->response, date_now());
    else
        answer_failure(server, exchange, outcome);
    push_ready(server, exchange);
}

static const struct muster__request_class exchange_class = {settled, muster__http_exchange_destroy};

static void wake(void *connection_data)
{
    struct connection *connection = connection_data;
    struct muster__http_server *server = connection->server;
    if (atomic_exchange(&connection->woken, true))
        return;
    struct connection *head = atomic_load(&server->woken);
    do {
        connection->next_woken = head;
    } while (!atomic_compare_exchange_weak(&server->woken, &head, connection));
    muster__pool_flush(server->pool, &server->flusher);
}

/* ---- requests: owner ---- */

static void add_waiting(struct muster__http_server *server, struct muster__http_exchange *exchange)
{
    exchange->server_older = server->newest;
    exchange->server_newer = NULL;
    *(server->newest ? &server->newest->server_newer : &server->oldest) = exchange;
    server->newest = exchange;
}

static void remove_waiting(struct muster__http_server *server, struct muster__http_exchange *exchange)
{
    struct muster__http_exchange *older = exchange->server_older, *newer = exchange->server_newer;
    *(older ? &older->server_newer : &server->oldest) = newer;
    *(newer ? &newer->server_older : &server->newest) = older;
}

static void on_request(struct muster__http_exchange *exchange, void *connection_data)
{
    struct connection *connection = connection_data;
    struct muster__http_server *server = connection->server;
    struct muster__request *request = &exchange->request;
    uint64_t now_us = server->now_us;
    exchange->server_data = server;
    request->received_us = now_us;
    muster__request_acquire(request); /* ours, until the answer is in line */
    add_waiting(server, exchange);
    struct muster__version *version = NULL;
    enum muster_status status = muster__match(server->options.muster, request->http.url, &version, NULL);
    if (status == MUSTER_OK)
        status = muster__post(version, request, now_us);
    else if (status == MUSTER_NOT_FOUND || status == MUSTER_SHUTDOWN)
        status = MUSTER_PASSED;
    if (status != MUSTER_OK)
        (void)muster__request_settle(request, &(struct muster__outcome){.status = status});
    muster__version_release(version);
}

static void cancel(struct muster__http_server *server, struct muster__http_exchange *exchange,
                   enum muster_status status)
{
    struct muster__request *request = &exchange->request;
    muster__request_acquire(request);
    struct muster__version *version = NULL;
    enum muster_status found = muster__match(server->options.muster, request->http.url, &version, NULL);
    if (muster__request_settle(request, &(struct muster__outcome){.status = status}) && found == MUSTER_OK)
        muster__slot_cancel(version->slot, request);
    muster__version_release(version);
    muster__request_release(request);
}

static void on_gone(struct muster__http_exchange *exchange, void *connection_data)
{
    struct connection *connection = connection_data;
    if (!connection->server->over)
        cancel(connection->server, exchange, MUSTER_CANCELED);
}

/* ---- connections: owner ---- */

static void mark_dirty(struct connection *connection)
{
    struct muster__http_server *server = connection->server;
    if (connection->dirty || !connection->http)
        return;
    connection->dirty = true;
    connection->next_dirty = server->dirty;
    server->dirty = connection;
}

static void unlink_connection(struct connection *connection)
{
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        connection->server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
}

/* Freed by the flush, when nothing of this round can name it any more. */
static void kill_connection(struct connection *connection)
{
    struct muster__http_server *server = connection->server;
    if (!connection->http)
        return;
    muster__pool_source_remove(server->pool, &connection->source);
    close(connection->source.fd);
    muster__http_connection_destroy(connection->http);
    connection->http = NULL;
    unlink_connection(connection);
    connection->next = server->dead;
    server->dead = connection;
    muster__pool_flush(server->pool, &server->flusher);
    pthread_mutex_lock(&server->lock);
    if (--server->open == 0)
        pthread_cond_broadcast(&server->emptied);
    pthread_mutex_unlock(&server->lock);
}

static void read_some(struct connection *connection, uint64_t now_us)
{
    struct muster__http_server *server = connection->server;
    for (int i = 0; i < READS_AT_ONCE && connection->readable; i++) {
        if (!muster__http_connection_wants_input(connection->http))
            return;
        ssize_t length = recv(connection->source.fd, server->scratch, READ_SIZE, 0);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            connection->readable = false;
            if (errno != EAGAIN)
                kill_connection(connection);
            return;
        }
        if (length == 0) {
            connection->readable = false;
            muster__http_connection_eof(connection->http, now_us);
            return;
        }
        /* Less than fits: the rest will be a new edge, but for the end, which had its edge. */
        connection->readable = length == READ_SIZE || connection->hung_up;
        muster__http_connection_feed(connection->http, server->scratch, (size_t)length, now_us);
    }
    if (connection->readable)
        wake(connection); /* others first */
}

/* One answer is what there mostly is, and send() is cheaper than sendmsg(). */
static ssize_t send_spans(int fd, struct iovec *spans, size_t count)
{
    const struct msghdr message = {.msg_iov = spans, .msg_iovlen = count};
    return count == 1 ? send(fd, spans->iov_base, spans->iov_len, MSG_NOSIGNAL)
                      : sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void write_some(struct connection *connection, uint64_t now_us)
{
    struct iovec spans[SPANS];
    while (connection->writable) {
        size_t count = muster__http_connection_output(connection->http, spans, SPANS, now_us);
        if (!count)
            break;
        size_t wanted = 0;
        for (size_t i = 0; i < count; i++)
            wanted += spans[i].iov_len;
        ssize_t length = send_spans(connection->source.fd, spans, count);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            connection->writable = false;
            if (errno != EAGAIN)
                kill_connection(connection);
            return;
        }
        connection->writable = (size_t)length == wanted;
        muster__http_connection_wrote(connection->http, (size_t)length, now_us);
    }
    if (!connection->shut && muster__http_connection_wants_shutdown(connection->http)) {
        connection->shut = true;
        shutdown(connection->source.fd, SHUT_WR);
    }
}

static void serve_connection(struct connection *connection, uint64_t now_us)
{
    if (connection->http && connection->readable)
        read_some(connection, now_us);
    if (connection->http)
        write_some(connection, now_us);
    if (connection->http && connection->readable &&
        muster__http_connection_wants_input(connection->http))
        wake(connection); /* writing made room to read */
    if (connection->http && muster__http_connection_is_done(connection->http))
        kill_connection(connection);
}

static void connection_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct connection *connection = MUSTER_CONTAINER_OF(source, struct connection, source);
    if (!connection->http)
        return; /* it died earlier in this round */
    connection->server->now_us = now_us;
    if (events & (EPOLLHUP | EPOLLERR)) { /* reset, or closed both ways: nobody is there */
        kill_connection(connection);
        return;
    }
    connection->hung_up |= (events & EPOLLRDHUP) != 0;
    if (events & (EPOLLIN | EPOLLRDHUP))
        connection->readable = true;
    if (events & EPOLLOUT)
        connection->writable = true;
    /* New bytes are read here; answers to them come with the flush. */
    if (connection->readable)
        read_some(connection, now_us);
    mark_dirty(connection);
    muster__pool_flush(connection->server->pool, &connection->server->flusher);
}

static void add_connection(struct muster__http_server *server, int fd, uint64_t now_us)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        close(fd);
        return;
    }
    connection->server = server;
    connection->source.fd = fd;
    connection->source.ready = connection_ready;
    connection->writable = true;
    if (muster__http_connection_new(server->http_pool, connection, now_us, &connection->http) !=
            MUSTER_OK ||
        muster__pool_source_add(server->pool, &connection->source,
                                EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != MUSTER_OK) {
        muster__http_connection_destroy(connection->http);
        close(fd);
        free(connection);
        return;
    }
    connection->next = server->connections;
    if (server->connections)
        server->connections->previous = connection;
    server->connections = connection;
    pthread_mutex_lock(&server->lock);
    server->open++;
    pthread_mutex_unlock(&server->lock);
    connection->readable = true; /* the request is often there already */
    read_some(connection, now_us);
    mark_dirty(connection);
}

/* No descriptor or no memory is free: the level trigger would ask again at once, and for ever. */
static void starve(struct muster__http_server *server)
{
    if (server->starved)
        return;
    server->starved = true;
    muster__pool_source_remove(server->pool, &server->listener);
}

static void listener_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct muster__http_server *server =
        MUSTER_CONTAINER_OF(source, struct muster__http_server, listener);
    (void)events;
    server->now_us = now_us;
    for (int i = 0; i < ACCEPTS_AT_ONCE && server->accepting; i++) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            add_connection(server, fd, now_us);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN)
                starve(server);
            return;
        }
    }
}

static void end_starvation(struct muster__http_server *server)
{
    if (server->starved && server->accepting &&
        muster__pool_source_add(server->pool, &server->listener, EPOLLIN) == MUSTER_OK)
        server->starved = false;
}

/* ---- flush and sweep: owner ---- */

static void take_ready(struct muster__http_server *server, uint64_t now_us)
{
    struct muster__http_exchange *list = atomic_exchange(&server->ready, NULL);
    while (list) {
        struct muster__http_exchange *exchange = list;
        list = exchange->server_next;
        remove_waiting(server, exchange);
        struct muster__http_connection *http = muster__http_connection_answer_ready(exchange, now_us);
        muster__request_release(&exchange->request);
        if (http)
            mark_dirty(muster__http_connection_data(http));
    }
}

static void take_woken(struct muster__http_server *server, uint64_t now_us)
{
    struct connection *list = atomic_exchange(&server->woken, NULL);
    while (list) {
        struct connection *connection = list;
        list = connection->next_woken;
        atomic_store(&connection->woken, false);
        if (!connection->http)
            continue;
        muster__http_connection_resume(connection->http, now_us);
        mark_dirty(connection);
    }
}

static void serve_dirty(struct muster__http_server *server, uint64_t now_us)
{
    while (server->dirty) {
        struct connection *connection = server->dirty;
        server->dirty = connection->next_dirty;
        connection->dirty = false;
        serve_connection(connection, now_us);
    }
}

static void bury_dead(struct muster__http_server *server)
{
    struct connection **at = &server->dead;
    while (*at) {
        struct connection *connection = *at;
        if (atomic_load(&connection->woken)) { /* still on the list of those that were woken */
            at = &connection->next;
            continue;
        }
        *at = connection->next;
        free(connection);
    }
}

static void arm_sweep(struct muster__http_server *server, uint64_t now_us)
{
    if (muster__pool_timer_set(server->pool, &server->sweep, now_us + SWEEP_US) != MUSTER_OK)
        atomic_store(&server->sweep_due, true); /* with the next flush, then */
}

static void sweep(struct muster__http_server *server, uint64_t now_us)
{
    muster__http_pool_set_date(server->http_pool, date_now());
    struct connection *next;
    for (struct connection *at = server->connections; at; at = next) {
        next = at->next;
        if (muster__http_connection_deadline(at->http) <= now_us) {
            muster__http_connection_tick(at->http, now_us);
            mark_dirty(at);
        }
    }
    uint64_t limit_us = server->options.event_timeout_ms * 1000;
    for (struct muster__http_exchange *at = server->oldest, *newer;
         at && at->request.received_us + limit_us <= now_us; at = newer) {
        newer = at->server_newer;
        if (!muster__request_is_settled(&at->request))
            cancel(server, at, MUSTER_TIMED_OUT);
    }
    end_starvation(server);
    arm_sweep(server, now_us);
}

/* Closed at once: who connects from here on is refused and need not wait for our end. */
static void stop_listening(struct muster__http_server *server)
{
    if (server->listener.fd >= 0)
        close(server->listener.fd);
    server->listener.fd = -1;
    if (server->unix_path)
        unlink(server->unix_path);
    free(server->unix_path);
    server->unix_path = NULL;
}

static void begin_drain(struct muster__http_server *server, uint64_t now_us)
{
    server->draining = true;
    if (server->accepting) {
        listener_ready(&server->listener, 0, now_us); /* who had connected already is answered */
        server->accepting = false;
        if (!server->starved)
            muster__pool_source_remove(server->pool, &server->listener);
        stop_listening(server);
    }
    for (struct connection *at = server->connections; at; at = at->next) {
        muster__http_connection_drain(at->http, now_us);
        mark_dirty(at);
    }
}

static void flush(struct muster__pool_flusher *flusher, uint64_t now_us)
{
    struct muster__http_server *server =
        MUSTER_CONTAINER_OF(flusher, struct muster__http_server, flusher);
    server->now_us = now_us;
    if (atomic_load(&server->sweep_due) && atomic_exchange(&server->sweep_due, false))
        sweep(server, now_us);
    if (atomic_load(&server->drain_asked) && !server->draining)
        begin_drain(server, now_us);
    take_ready(server, now_us);
    take_woken(server, now_us);
    serve_dirty(server, now_us);
    bury_dead(server);
}

static void sweep_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct muster__http_server *server = MUSTER_CONTAINER_OF(timer, struct muster__http_server, sweep);
    (void)now_us;
    atomic_store(&server->sweep_due, true);
    muster__pool_flush(server->pool, &server->flusher);
}

/* ---- life ---- */

static enum muster_status make_http_pool(struct muster__http_server *server)
{
    const struct muster__http_options options = {
        .body_limit = server->options.body_limit,
        .request_class = &exchange_class,
        .on_request = on_request,
        .on_gone = on_gone,
        .wake = wake,
    };
    return muster__http_pool_new(&options, &server->http_pool);
}

enum muster_status muster__http_server_new(const struct muster__http_server_options *options,
                                           struct muster__http_server **ret_server,
                                           struct muster_error *error)
{
    struct muster__http_server *server = calloc(1, sizeof(*server));
    if (!server)
        return MUSTER_NO_MEMORY;
    server->options = *options;
    server->pool = options->muster->pool;
    server->flusher.flush = flush;
    server->sweep.fire = sweep_fire;
    server->listener.fd = -1;
    server->listener.ready = listener_ready;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->emptied, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum muster_status status =
        muster__listen(options->listen, &server->listener.fd, &server->url, error);
    if (status == MUSTER_OK)
        status = make_http_pool(server);
    if (status == MUSTER_OK && strncmp(options->listen, "unix:", 5) == 0)
        server->unix_path = muster__strdup(options->listen + 5);
    if (status != MUSTER_OK) {
        muster__http_server_destroy(server);
        return status;
    }
    *ret_server = server;
    return MUSTER_OK;
}

enum muster_status muster__http_server_start(struct muster__http_server *server)
{
    /* What is accepted inherits it; a socket of another family has no such option and needs none. */
    (void)setsockopt(server->listener.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    server->accepting = true;
    atomic_store(&server->sweep_due, true); /* sets the date and the next sweep */
    muster__pool_flush(server->pool, &server->flusher);
    return muster__pool_source_add(server->pool, &server->listener, EPOLLIN);
}

const char *muster__http_server_address(const struct muster__http_server *server)
{
    return server->url;
}

void muster__http_server_drain(struct muster__http_server *server)
{
    atomic_store(&server->drain_asked, true);
    muster__pool_flush(server->pool, &server->flusher);
}

bool muster__http_server_wait(struct muster__http_server *server, uint64_t timeout_ms)
{
    uint64_t until_us = muster__now_us() + timeout_ms * 1000;
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    int late = 0;
    pthread_mutex_lock(&server->lock);
    while (server->open && !late)
        late = pthread_cond_timedwait(&server->emptied, &server->lock, &until);
    bool empty = server->open == 0;
    pthread_mutex_unlock(&server->lock);
    return empty;
}

/* Answers that came after the last flush: there is nobody to write them to. */
static void drop_ready(struct muster__http_server *server)
{
    struct muster__http_exchange *list = atomic_exchange(&server->ready, NULL);
    while (list) {
        struct muster__http_exchange *exchange = list;
        list = exchange->server_next;
        (void)muster__http_connection_answer_ready(exchange, 0); /* its connection is gone */
        muster__request_release(&exchange->request);
    }
}

void muster__http_server_destroy(struct muster__http_server *server)
{
    if (!server)
        return;
    server->over = true;
    while (server->connections) {
        struct connection *connection = server->connections;
        server->connections = connection->next;
        close(connection->source.fd);
        muster__http_connection_destroy(connection->http);
        free(connection);
    }
    while (server->dead) {
        struct connection *connection = server->dead;
        server->dead = connection->next;
        free(connection);
    }
    drop_ready(server);
    if (server->http_pool)
        muster__http_pool_destroy(server->http_pool);
    stop_listening(server);
    pthread_cond_destroy(&server->emptied);
    pthread_mutex_destroy(&server->lock);
    free(server->url);
    free(server);
}
