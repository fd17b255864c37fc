/* tests/test_http_client.c - requests that go out, against a server of a few lines in the test's own process.
 *
 * The server's thread accepts one connection after the other and lets the test's function answer it, on a port
 * that the system chose.  Nothing leaves this machine. */
#include "runtime/http_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/check.h"

/* ---- the server ---- */

struct server {
    int fd;
    unsigned port;
    pthread_t thread;
    void (*answer)(struct server *server, int fd); /* reads and writes one connection */
    atomic_bool closing;
    atomic_uint connections;
    char seen[65536]; /* the last request's head and what came with it */
    size_t seen_length;
};

static void send_text(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        left -= (size_t)sent;
    }
}

/* Until `end` has come. */
static void receive(struct server *server, int fd, const char *end)
{
    server->seen_length = 0;
    while (server->seen_length < sizeof server->seen - 1) {
        ssize_t got = recv(fd, server->seen + server->seen_length, sizeof server->seen - 1 - server->seen_length, 0);
        if (got <= 0)
            break;
        server->seen_length += (size_t)got;
        server->seen[server->seen_length] = '\0';
        if (strstr(server->seen, end))
            return;
    }
    server->seen[server->seen_length] = '\0';
}

static void *serve(void *user_data)
{
    struct server *server = user_data;
    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        if (fd < 0 || atomic_load(&server->closing)) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        atomic_fetch_add(&server->connections, 1);
        server->answer(server, fd);
        close(fd);
    }
}

static int listen_on_loopback(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static struct server server;

static void start_server(void (*answer)(struct server *server, int fd))
{
    memset(&server, 0, sizeof server);
    server.fd = listen_on_loopback(&server.port);
    server.answer = answer;
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, &server), 0);
}

static void stop_server(void)
{
    atomic_store(&server.closing, true);
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
}

static const char *url_of(const char *path)
{
    static char url[256];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", server.port, path);
    return url;
}

/* ---- a maker that waits for what it hears ---- */

struct hearer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned heads, failures, wakes;
    int status;
    char reason[64], headers[4096], url[256], message[512];
    unsigned redirects;
    struct muster_stream *body;
    enum muster__http_problem problem;
};

static void heard_head(void *user_data, const struct muster__http_head *head)
{
    struct hearer *hearer = user_data;
    pthread_mutex_lock(&hearer->lock);
    hearer->heads++;
    hearer->status = head->status;
    hearer->redirects = head->redirects;
    snprintf(hearer->reason, sizeof hearer->reason, "%.*s", (int)head->status_text.length, head->status_text.data);
    snprintf(hearer->url, sizeof hearer->url, "%s", head->url);
    size_t length = 0;
    for (size_t i = 0; i < head->header_count && length < sizeof hearer->headers; i++)
        length += (size_t)snprintf(hearer->headers + length, sizeof hearer->headers - length, "%.*s=%.*s\n",
                                   (int)head->headers[i].name.length, head->headers[i].name.data,
                                   (int)head->headers[i].value.length, head->headers[i].value.data);
    hearer->body = head->body;
    pthread_cond_broadcast(&hearer->changed);
    pthread_mutex_unlock(&hearer->lock);
}

static void heard_failure(void *user_data, enum muster__http_problem problem, const char *message)
{
    struct hearer *hearer = user_data;
    pthread_mutex_lock(&hearer->lock);
    hearer->failures++;
    hearer->problem = problem;
    snprintf(hearer->message, sizeof hearer->message, "%s", message);
    pthread_cond_broadcast(&hearer->changed);
    pthread_mutex_unlock(&hearer->lock);
}

static const struct muster__http_listener listener = {heard_head, heard_failure};

static void hearer_init(struct hearer *hearer)
{
    memset(hearer, 0, sizeof *hearer);
    pthread_mutex_init(&hearer->lock, NULL);
    pthread_cond_init(&hearer->changed, NULL);
}

static void hearer_clean_up(struct hearer *hearer)
{
    muster_stream_release(hearer->body);
    pthread_cond_destroy(&hearer->changed);
    pthread_mutex_destroy(&hearer->lock);
}

static struct muster__http_transfer *start(struct hearer *hearer, struct muster__http_options options)
{
    struct muster__http_transfer *transfer = NULL;
    struct muster_error error = {0};
    options.method = options.method ? options.method : "GET";
    options.listener = &listener;
    options.user_data = hearer;
    ck_assert_msg(muster__http_start(&options, &transfer, &error) == MUSTER_OK, "%s", error.message);
    return transfer;
}

static void wait_until_heard(struct hearer *hearer)
{
    pthread_mutex_lock(&hearer->lock);
    while (hearer->heads + hearer->failures == 0)
        pthread_cond_wait(&hearer->changed, &hearer->lock);
    ck_assert_uint_eq(hearer->heads + hearer->failures, 1);
    pthread_mutex_unlock(&hearer->lock);
}

static void body_woke(void *user_data)
{
    struct hearer *hearer = user_data;
    pthread_mutex_lock(&hearer->lock);
    hearer->wakes++;
    pthread_cond_broadcast(&hearer->changed);
    pthread_mutex_unlock(&hearer->lock);
}

/* To its end, whose status is the answer; at most `size` bytes are kept. */
static enum muster_status read_body(struct hearer *hearer, char *buffer, size_t size, size_t *ret_length)
{
    char piece[4096];
    size_t total = 0;
    muster_stream_on_readable(hearer->body, body_woke, hearer);
    for (;;) {
        size_t length = 0;
        unsigned before;
        pthread_mutex_lock(&hearer->lock);
        before = hearer->wakes;
        pthread_mutex_unlock(&hearer->lock);
        enum muster_status status = muster_stream_read(hearer->body, piece, sizeof piece, &length);
        if (status == MUSTER_PENDING) {
            pthread_mutex_lock(&hearer->lock);
            while (hearer->wakes == before)
                pthread_cond_wait(&hearer->changed, &hearer->lock);
            pthread_mutex_unlock(&hearer->lock);
            continue;
        }
        if (status != MUSTER_OK || length == 0) {
            muster_stream_on_readable(hearer->body, NULL, NULL);
            *ret_length = total;
            return status;
        }
        for (size_t i = 0; i < length && total + i < size; i++)
            buffer[total + i] = piece[i];
        total += length;
    }
}

static struct hearer hearer;

static struct muster__http_transfer *get(const char *path)
{
    hearer_init(&hearer);
    struct muster__http_transfer *transfer = start(&hearer, (struct muster__http_options){.url = url_of(path)});
    wait_until_heard(&hearer);
    return transfer;
}

static void finish(struct muster__http_transfer *transfer)
{
    muster__http_release(transfer);
    hearer_clean_up(&hearer);
}

static void must_have_failed(enum muster__http_problem problem)
{
    ck_assert_uint_eq(hearer.failures, 1);
    ck_assert_msg(hearer.problem == problem, "problem %d: %s", hearer.problem, hearer.message);
    ck_assert_msg(strncmp(hearer.message, "cannot fetch http", 17) == 0, "%s", hearer.message);
}

/* ---- answers ---- */

static void answer_plainly(struct server *at, int fd)
{
    receive(at, fd, "\r\n\r\n");
    send_text(fd, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 201 Made It\r\nX-One:  1 \r\nx-one: 2\r\nEmpty:\r\n"
                  "Content-Length: 5\r\n\r\nhello");
}

START_TEST(an_answer_has_a_head_and_a_body)
{
    char body[16] = "";
    size_t length = 0;
    start_server(answer_plainly);
    struct muster__http_transfer *transfer = get("/a/../b?q#fragment");
    ck_assert_uint_eq(hearer.heads, 1);
    ck_assert_int_eq(hearer.status, 201);
    ck_assert_str_eq(hearer.reason, "Made It");
    ck_assert_str_eq(hearer.headers, "X-One=1\nx-one=2\nEmpty=\nContent-Length=5\n");
    ck_assert_int_eq(read_body(&hearer, body, sizeof body, &length), MUSTER_OK);
    ck_assert_str_eq(body, "hello");
    ck_assert_uint_eq(length, 5);
    finish(transfer);
    stop_server();
    ck_assert_msg(strncmp(server.seen, "GET /a/../b?q HTTP/1.1\r\n", 24) == 0, "%s", server.seen);
    ck_assert_ptr_null(strstr(server.seen, "User-Agent"));
    ck_assert_ptr_nonnull(strstr(server.seen, "Accept-Encoding:"));
}
END_TEST

static void answer_with_odd_lines(struct server *at, int fd)
{
    receive(at, fd, "\r\n\r\n");
    send_text(fd, "HTTP/1.1 200 O\rK\r\nOne: a\rb\r\nOdd name: c\r\n: d\r\nFolded: e\r\n f\rg\r\nContent-Length: 0\r\n\r\n");
}

START_TEST(no_line_ends_within_a_head_and_every_name_is_one)
{
    start_server(answer_with_odd_lines);
    struct muster__http_transfer *transfer = get("/");
    ck_assert_uint_eq(hearer.heads, 1);
    ck_assert_str_eq(hearer.reason, "O K");
    ck_assert_str_eq(hearer.headers, "One=a b\nFolded=e f g\nContent-Length=0\n");
    finish(transfer);
    stop_server();
}
END_TEST

static void answer_upload(struct server *at, int fd)
{
    receive(at, fd, "body end");
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

START_TEST(a_request_says_what_it_was_given_and_nothing_else)
{
    const struct muster_header headers[] = {{{"X-Empty", 7}, {"", 0}}, {{"Accept", 6}, {"text/x", 6}}};
    start_server(answer_upload);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer =
        start(&hearer, (struct muster__http_options){.url = url_of("/"), .method = "PATCH", .headers = headers,
                                                     .header_count = 2, .body = {"a body end", 10}, .raw = true});
    wait_until_heard(&hearer);
    ck_assert_int_eq(hearer.status, 200);
    finish(transfer);
    stop_server();
    char *end = strstr(server.seen, "\r\n\r\n");
    ck_assert_msg(strncmp(server.seen, "PATCH / HTTP/1.1\r\n", 18) == 0 && end != NULL, "%s", server.seen);
    ck_assert_str_eq(end + 4, "a body end");
    ck_assert_ptr_nonnull(strstr(server.seen, "\r\nX-Empty:\r\n"));
    ck_assert_ptr_nonnull(strstr(server.seen, "\r\nAccept: text/x\r\n"));
    ck_assert_ptr_nonnull(strstr(server.seen, "\r\nContent-Length: 10\r\n"));
    ck_assert_ptr_null(strstr(server.seen, "Content-Type"));
    ck_assert_ptr_null(strstr(server.seen, "Expect"));
    ck_assert_ptr_null(strstr(server.seen, "Accept-Encoding"));
}
END_TEST

static void answer_chunks(struct server *at, int fd)
{
    receive(at, fd, "\r\n0\r\n\r\n");
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

START_TEST(a_body_that_comes_in_pieces_is_sent_in_chunks)
{
    struct muster_stream *stream = NULL;
    size_t written = 0;
    start_server(answer_chunks);
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer =
        start(&hearer, (struct muster__http_options){.url = url_of("/"), .method = "POST", .body_stream = stream});
    ck_assert_int_eq(muster_stream_write(stream, "one", 3, &written), MUSTER_OK);
    while (muster_stream_buffered(stream) > 0) /* until the client has it */
        sched_yield();
    ck_assert_int_eq(muster_stream_write(stream, "two", 3, &written), MUSTER_OK);
    muster_stream_close(stream);
    wait_until_heard(&hearer);
    ck_assert_int_eq(hearer.status, 200);
    finish(transfer);
    stop_server();
    ck_assert_ptr_nonnull(strstr(server.seen, "\r\nTransfer-Encoding: chunked\r\n"));
    ck_assert_ptr_nonnull(strstr(server.seen, "one"));
    ck_assert_ptr_nonnull(strstr(server.seen, "two"));
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

#define LARGE ((size_t)8 * 1024 * 1024)

static atomic_size_t server_sent;

static void answer_largely(struct server *at, int fd)
{
    static char piece[65536];
    receive(at, fd, "\r\n\r\n");
    char head[128];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", LARGE);
    send_text(fd, head);
    memset(piece, 'x', sizeof piece);
    atomic_store(&server_sent, 0);
    for (size_t done = 0; done < LARGE;) {
        ssize_t sent = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        done += (size_t)sent;
        atomic_store(&server_sent, done);
    }
}

START_TEST(a_reader_that_is_slow_stops_the_transfer)
{
    size_t length = 0;
    start_server(answer_largely);
    struct muster__http_transfer *transfer = get("/");
    while (muster_stream_buffered(hearer.body) < 200 * 1024) /* the stream fills ... */
        sched_yield();
    ck_assert_uint_le(muster_stream_buffered(hearer.body), 256 * 1024); /* ... and does not grow */
    ck_assert_int_eq(read_body(&hearer, NULL, 0, &length), MUSTER_OK);
    ck_assert_uint_eq(length, LARGE);
    finish(transfer);
    stop_server();
}
END_TEST

START_TEST(a_reader_that_goes_away_ends_the_transfer)
{
    start_server(answer_largely);
    struct muster__http_transfer *transfer = get("/");
    muster_stream_abort(hearer.body, MUSTER_CANCELED, "enough");
    stop_server(); /* waits for the server's thread, whose connection must have been closed */
    ck_assert_uint_lt(atomic_load(&server_sent), LARGE);
    finish(transfer);
}
END_TEST

START_TEST(a_body_larger_than_its_limit_is_cut_off)
{
    size_t length = 0;
    start_server(answer_largely);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer =
        start(&hearer, (struct muster__http_options){.url = url_of("/"), .body_limit = 100000});
    wait_until_heard(&hearer);
    ck_assert_int_eq(read_body(&hearer, NULL, 0, &length), MUSTER_SYSTEM);
    ck_assert_uint_le(length, 100000);
    ck_assert_ptr_nonnull(strstr(muster_stream_abort_message(hearer.body), "larger than allowed"));
    finish(transfer);
    stop_server();
}
END_TEST

static atomic_bool never_may_end;

static void answer_never(struct server *at, int fd)
{
    char byte;
    receive(at, fd, "\r\n\r\n");
    atomic_store(&never_may_end, true);
    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

/* Before the client's thread has seen it, or just while it does. */
START_TEST(transfers_that_are_canceled_at_once_are_forgotten)
{
    start_server(answer_plainly);
    for (int i = 0; i < 500; i++) {
        hearer_init(&hearer);
        muster__http_cancel(start(&hearer, (struct muster__http_options){.url = url_of("/")}));
        hearer_clean_up(&hearer);
    }
    struct muster__http_transfer *transfer = get("/");
    ck_assert_uint_eq(hearer.heads, 1);
    finish(transfer);
    stop_server();
}
END_TEST

START_TEST(a_transfer_that_is_canceled_tells_nobody)
{
    start_server(answer_never);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer = start(&hearer, (struct muster__http_options){.url = url_of("/")});
    if (_i == 1)
        while (!atomic_load(&never_may_end))
            sched_yield();
    muster__http_cancel(transfer);
    if (_i == 1)
        stop_server(); /* the connection is closed, or this would wait for ever */
    ck_assert_uint_eq(hearer.heads + hearer.failures, 0);
    hearer_clean_up(&hearer);
}
END_TEST

START_TEST(a_transfer_has_its_time)
{
    start_server(answer_never);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer =
        start(&hearer, (struct muster__http_options){.url = url_of("/"), .timeout_us = 20000});
    wait_until_heard(&hearer);
    must_have_failed(MUSTER__HTTP_TIMED_OUT);
    finish(transfer);
    stop_server();
}
END_TEST

static void answer_short(struct server *at, int fd)
{
    receive(at, fd, "\r\n\r\n");
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
}

START_TEST(a_body_that_breaks_off_ends_with_an_error)
{
    char body[16] = "";
    size_t length = 0;
    start_server(answer_short);
    struct muster__http_transfer *transfer = get("/");
    ck_assert_int_eq(read_body(&hearer, body, sizeof body, &length), MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(muster_stream_abort_message(hearer.body), "cannot fetch http://127.0.0.1:"));
    finish(transfer);
    stop_server();
}
END_TEST

static void answer_nonsense(struct server *at, int fd)
{
    receive(at, fd, "\r\n\r\n");
    send_text(fd, "SSH-2.0-x\r\n\r\n");
}

START_TEST(what_is_no_http_is_an_error_of_its_own)
{
    start_server(answer_nonsense);
    struct muster__http_transfer *transfer = get("/");
    must_have_failed(MUSTER__HTTP_BROKEN);
    finish(transfer);
    stop_server();
}
END_TEST

static void answer_at_once(struct server *at, int fd)
{
    (void)at;
    send_text(fd, "this is no handshake\r\n");
}

START_TEST(a_refused_connection_an_unknown_host_and_a_failed_handshake_differ)
{
    unsigned port;
    int fd = listen_on_loopback(&port);
    close(fd); /* nobody listens there now */
    char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", port);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer = start(&hearer, (struct muster__http_options){.url = url});
    wait_until_heard(&hearer);
    must_have_failed(MUSTER__HTTP_NO_CONNECTION);
    finish(transfer);

    hearer_init(&hearer);
    transfer = start(&hearer, (struct muster__http_options){.url = "http://no-such-host.invalid/"});
    wait_until_heard(&hearer);
    must_have_failed(MUSTER__HTTP_NO_HOST);
    finish(transfer);

    start_server(answer_at_once);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", server.port);
    hearer_init(&hearer);
    transfer = start(&hearer, (struct muster__http_options){.url = url});
    wait_until_heard(&hearer);
    must_have_failed(MUSTER__HTTP_TLS);
    finish(transfer);
    stop_server();

}
END_TEST

/* ---- redirects ---- */

static void answer_redirecting(struct server *at, int fd)
{
    static const struct {
        const char *path, *answer;
    } answers[] = {
        {"GET /dir/start ", "HTTP/1.1 302 Found\r\nLocation: ../end?x#y\r\nContent-Length: 3\r\n\r\nold"},
        {"GET /end?x ", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"},
        {"GET /loop ", "HTTP/1.1 307 Again\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"},
        {"GET /file ", "HTTP/1.1 301 Away\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"},
    };
    for (;;) {
        receive(at, fd, "\r\n\r\n");
        if (at->seen_length == 0)
            return;
        for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
            if (strncmp(at->seen, answers[i].path, strlen(answers[i].path)) == 0)
                send_text(fd, answers[i].answer);
    }
}

static void get_with(const char *path, enum muster__http_redirect redirect)
{
    hearer_init(&hearer);
    struct muster__http_transfer *transfer =
        start(&hearer, (struct muster__http_options){.url = url_of(path), .redirect = redirect});
    wait_until_heard(&hearer);
    muster__http_release(transfer);
}

START_TEST(a_redirect_is_an_answer_a_way_on_or_an_error)
{
    char body[8] = "", end[256];
    size_t length = 0;
    start_server(answer_redirecting);
    get_with("/dir/start", MUSTER__HTTP_MANUAL);
    ck_assert_int_eq(hearer.status, 302);
    ck_assert_ptr_nonnull(strstr(hearer.headers, "Location=../end?x#y\n"));
    ck_assert_int_eq(read_body(&hearer, body, sizeof body, &length), MUSTER_OK);
    ck_assert_str_eq(body, "old");
    hearer_clean_up(&hearer);

    get_with("/dir/start", MUSTER__HTTP_FOLLOW);
    ck_assert_int_eq(hearer.status, 200);
    ck_assert_uint_eq(hearer.redirects, 1);
    snprintf(end, sizeof end, "%s", url_of("/end?x#y"));
    ck_assert_str_eq(hearer.url, end);
    ck_assert_int_eq(read_body(&hearer, body, sizeof body, &length), MUSTER_OK);
    ck_assert_str_eq(body, "new");
    ck_assert_uint_eq(atomic_load(&server.connections), 1); /* what was dropped was read */
    hearer_clean_up(&hearer);

    get_with("/dir/start", MUSTER__HTTP_ERROR);
    must_have_failed(MUSTER__HTTP_REDIRECTS);
    hearer_clean_up(&hearer);
    get_with("/loop", MUSTER__HTTP_FOLLOW);
    must_have_failed(MUSTER__HTTP_REDIRECTS);
    hearer_clean_up(&hearer);
    get_with("/file", MUSTER__HTTP_FOLLOW);
    must_have_failed(MUSTER__HTTP_REDIRECTS);
    hearer_clean_up(&hearer);
}
END_TEST

/* ---- the rest ---- */

START_TEST(a_host_can_be_said_to_be_elsewhere)
{
    char url[128], end[] = "deep.Name.test";
    setenv("MUSTER_RESOLVE", "other.test=192.0.2.1,*.name.test=127.0.0.1,six.test=::1", 1);
    start_server(answer_plainly);
    snprintf(url, sizeof url, "http://deep.name.test:%u/", server.port);
    hearer_init(&hearer);
    struct muster__http_transfer *transfer = start(&hearer, (struct muster__http_options){.url = url});
    wait_until_heard(&hearer);
    ck_assert_msg(hearer.heads == 1, "%s", hearer.message);
    finish(transfer);
    stop_server();
    ck_assert_ptr_nonnull(strcasestr(server.seen, end));
}
END_TEST

START_TEST(what_would_forge_a_request_is_refused)
{
    static const struct muster_header bad[] = {
        {{"X", 1}, {"a\r\nY: b", 7}}, {{"X", 1}, {"a\0b", 3}}, {{"X Y", 3}, {"a", 1}}, {{"", 0}, {"a", 1}}};
    static const char *const methods[] = {"GET /x HTTP/1.1\r\nY:", "G T", ""};
    struct muster__http_transfer *transfer = NULL;
    struct muster_error error = {0};
    struct muster__http_options options = {.url = "http://127.0.0.1/", .method = "GET", .listener = &listener};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.headers = &bad[i];
        options.header_count = 1;
        ck_assert_int_eq(muster__http_start(&options, &transfer, &error), MUSTER_INVALID_ARGUMENT);
    }
    options.header_count = 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        options.method = methods[i];
        ck_assert_int_eq(muster__http_start(&options, &transfer, &error), MUSTER_INVALID_ARGUMENT);
    }
    options.method = "GET";
    options.url = "httpx://127.0.0.1/";
    ck_assert_int_eq(muster__http_start(&options, &transfer, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(error.message);
    muster_error_clean_up(&error);
}
END_TEST

static void answer_many(struct server *at, int fd)
{
    for (;;) {
        receive(at, fd, "\r\n\r\n");
        if (at->seen_length == 0)
            return;
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    }
}

START_TEST(a_connection_is_used_again)
{
    start_server(answer_many);
    for (int i = 0; i < 20; i++) {
        char body[8] = "";
        size_t length = 0;
        struct muster__http_transfer *transfer = get("/");
        ck_assert_int_eq(hearer.status, 200);
        ck_assert_int_eq(read_body(&hearer, body, sizeof body, &length), MUSTER_OK);
        ck_assert_str_eq(body, "hello");
        finish(transfer);
    }
    ck_assert_uint_eq(atomic_load(&server.connections), 1);
}
END_TEST

static void answer_empty_with_more(struct server *at, int fd)
{
    for (;;) {
        receive(at, fd, "\r\n\r\n");
        if (at->seen_length == 0)
            return;
        send_text(fd, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
        send_text(fd, "hello");
    }
}

START_TEST(a_connection_on_which_a_body_follows_a_204_is_not_used_again)
{
    start_server(answer_empty_with_more);
    for (int i = 0; i < 5; i++) {
        struct muster__http_transfer *transfer = get("/");
        ck_assert_int_eq(hearer.status, 204);
        finish(transfer);
    }
    ck_assert_uint_eq(atomic_load(&server.connections), 5);
}
END_TEST

START_TEST(references_are_resolved_as_urls)
{
    static const char *const cases[][3] = {
        {"http://a.test/b/c?d#e", "f", "http://a.test/b/f"},
        {"http://a.test/b/c", "/f?g", "http://a.test/f?g"},
        {"http://a.test/b/c", "../f", "http://a.test/f"},
        {"http://a.test/b/c", "https://x.test/y", "https://x.test/y"},
        {"http://a.test/b/c", "//x.test/y", "http://x.test/y"},
        {"http://a.test/b/c", "ftp://x.test/y", NULL},
        {"http://a.test/b/c", "file:///etc/passwd", NULL},
        {"nothing", "x", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *url = muster__http_resolve(cases[i][0], cases[i][1]);
        if (cases[i][2] == NULL)
            ck_assert_ptr_null(url);
        else
            ck_assert_str_eq(url, cases[i][2]);
        free(url);
    }
}
END_TEST

START_TEST(digests_are_those_of_the_standard)
{
    unsigned char digest[MUSTER__DIGEST_MOST];
    ck_assert_uint_eq(muster__http_digest("sha256", (struct muster_bytes){"abc", 3}, digest), 32);
    ck_assert_mem_eq(digest, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8);
    ck_assert_uint_eq(muster__http_digest("sha384", (struct muster_bytes){"", 0}, digest), 48);
    ck_assert_uint_eq(muster__http_digest("sha512", (struct muster_bytes){"abc", 3}, digest), 64);
    ck_assert_mem_eq(digest, "\xdd\xaf\x35\xa1\x93\x61\x7a\xba", 8);
    ck_assert_uint_eq(muster__http_digest("md5", (struct muster_bytes){"abc", 3}, digest), 0);
}
END_TEST

/* Also one that is forked while the client's thread is still busy with the end of a transfer. */
START_TEST(a_process_that_was_forked_may_not_use_the_clients_thread)
{
    start_server(answer_many);
    for (int i = 0; i < 50; i++) {
        finish(get("/"));
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            struct muster__http_transfer *transfer = NULL;
            struct muster__http_options options = {.url = "http://127.0.0.1/", .method = "GET", .listener = &listener};
            _exit(muster__http_start(&options, &transfer, NULL) == MUSTER_FORKED ? 0 : 1);
        }
        int code = -1;
        ck_assert_int_eq(waitpid(child, &code, 0), child);
        ck_assert_int_eq(code, 0);
    }
}
END_TEST

int main(void)
{
    setenv("no_proxy", "*", 1);
    Suite *suite = suite_create("http_client");
    TCase *answers = tcase_create("answers");
    tcase_add_test(answers, an_answer_has_a_head_and_a_body);
    tcase_add_test(answers, no_line_ends_within_a_head_and_every_name_is_one);
    tcase_add_test(answers, a_request_says_what_it_was_given_and_nothing_else);
    tcase_add_test(answers, a_body_that_comes_in_pieces_is_sent_in_chunks);
    tcase_add_test(answers, a_reader_that_is_slow_stops_the_transfer);
    tcase_add_test(answers, a_reader_that_goes_away_ends_the_transfer);
    tcase_add_test(answers, a_connection_is_used_again);
    tcase_add_test(answers, a_connection_on_which_a_body_follows_a_204_is_not_used_again);
    suite_add_tcase(suite, answers);
    TCase *failures = tcase_create("failures");
    tcase_add_test(failures, a_body_larger_than_its_limit_is_cut_off);
    tcase_add_test(failures, transfers_that_are_canceled_at_once_are_forgotten);
    tcase_add_loop_test(failures, a_transfer_that_is_canceled_tells_nobody, 0, 2);
    tcase_add_test(failures, a_transfer_has_its_time);
    tcase_add_test(failures, a_body_that_breaks_off_ends_with_an_error);
    tcase_add_test(failures, what_is_no_http_is_an_error_of_its_own);
    tcase_add_test(failures, a_refused_connection_an_unknown_host_and_a_failed_handshake_differ);
    tcase_add_test(failures, what_would_forge_a_request_is_refused);
    tcase_add_test(failures, a_process_that_was_forked_may_not_use_the_clients_thread);
    suite_add_tcase(suite, failures);
    TCase *ways = tcase_create("ways");
    tcase_add_test(ways, a_redirect_is_an_answer_a_way_on_or_an_error);
    tcase_add_test(ways, a_host_can_be_said_to_be_elsewhere);
    tcase_add_test(ways, references_are_resolved_as_urls);
    tcase_add_test(ways, digests_are_those_of_the_standard);
    suite_add_tcase(suite, ways);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
