/* tests/fuzz_http_client.c - libFuzzer target: a server that answers with anything, in any pieces.
 *
 * The input is a byte of what is asked for, a byte of where the answer is cut, and the answer.  The server is a thread
 * here: it reads a request's head, sends the answer and closes.  Whatever comes, the listener hears once, a head
 * holds together, and its body ends or is aborted. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/http_client.h"
#include "runtime/stream.h"

#define BODY_LIMIT 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GATHERS = 1, IS_RAW = 2, IS_LIMITED = 4, IS_HEAD = 8, REDIRECTS = 16, GIVES_UP = 32, CANCELS = 64 };

/* What all connections get while an input lasts. */
struct answer {
    uint8_t bytes[65536];
    size_t length, cut;
};

static struct {
    int fd;
    unsigned port;
    pthread_mutex_t lock;
    struct answer answer;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    sem_t heard, news;
    unsigned times;
    struct muster_stream *body;
} client;

static void send_all(int fd, const uint8_t *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        data += sent;
        length -= (size_t)sent;
    }
}

static void receive_head(int fd)
{
    char seen[4096];
    size_t length = 0;
    while (length < sizeof seen && recv(fd, seen + length, 1, 0) == 1) {
        length++;
        if (length >= 4 && memcmp(seen + length - 4, "\r\n\r\n", 4) == 0)
            return;
    }
}

static void *serve(void *user_data)
{
    static struct answer answer; /* the input may be over before it is sent */
    (void)user_data;
    for (;;) {
        int fd = accept(server.fd, NULL, NULL);
        MUSTER_CHECK(fd >= 0);
        receive_head(fd);
        pthread_mutex_lock(&server.lock);
        answer = server.answer;
        pthread_mutex_unlock(&server.lock);
        send_all(fd, answer.bytes, answer.cut);
        send_all(fd, answer.bytes + answer.cut, answer.length - answer.cut);
        close(fd);
    }
}

static void start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    pthread_t thread;
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUSTER_CHECK(server.fd >= 0 && bind(server.fd, (struct sockaddr *)&address, sizeof address) == 0);
    MUSTER_CHECK(listen(server.fd, 64) == 0 && getsockname(server.fd, (struct sockaddr *)&address, &length) == 0);
    server.port = ntohs(address.sin_port);
    MUSTER_CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
}

static void check_line(struct muster_bytes text)
{
    MUSTER_CHECK(text.length == 0 || (!memchr(text.data, '\n', text.length) && !memchr(text.data, '\r', text.length)));
}

static void heard_head(void *user_data, const struct muster__http_head *head)
{
    (void)user_data;
    MUSTER_CHECK(head->status >= 200 && head->url != NULL);
    check_line(head->status_text);
    for (size_t i = 0; i < head->header_count; i++) {
        MUSTER_CHECK(head->headers[i].name.length > 0);
        check_line(head->headers[i].name);
        check_line(head->headers[i].value);
    }
    MUSTER_CHECK(head->bytes.length <= BODY_LIMIT || head->body == NULL);
    client.body = head->body;
    client.times++;
    sem_post(&client.heard);
}

static void heard_failure(void *user_data, enum muster__http_problem problem, const char *message)
{
    (void)user_data;
    MUSTER_CHECK(problem != MUSTER__HTTP_FINE && message != NULL);
    client.times++;
    sem_post(&client.heard);
}

static void woke(void *user_data)
{
    (void)user_data;
    sem_post(&client.news);
}

static void read_body(unsigned flags)
{
    char buffer[512];
    size_t length = 0;
    muster_stream_on_readable(client.body, woke, NULL);
    for (;;) {
        enum muster_status status = muster_stream_read(client.body, buffer, sizeof buffer, &length);
        if (status == MUSTER_PENDING)
            sem_wait(&client.news);
        else if (status != MUSTER_OK || length == 0)
            break;
        else if (flags & GIVES_UP)
            muster_stream_abort(client.body, MUSTER_CANCELED, "enough");
    }
    muster_stream_on_readable(client.body, NULL, NULL);
    muster_stream_release(client.body);
}

static void ask(unsigned flags)
{
    static const struct muster__http_listener listener = {.head = heard_head, .failed = heard_failure};
    char url[64];
    struct muster__http_transfer *transfer = NULL;
    struct muster_error error = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/a/b?c", server.port);
    const struct muster__http_options options = {
        .method = flags & IS_HEAD ? "HEAD" : "GET", .url = url, .gather = flags & GATHERS, .raw = flags & IS_RAW,
        .redirect = flags & REDIRECTS ? MUSTER__HTTP_ERROR : MUSTER__HTTP_MANUAL,
        .timeout_us = 2000000, .body_limit = flags & IS_LIMITED ? 16 : BODY_LIMIT, .listener = &listener,
    };
    client.times = 0;
    client.body = NULL;
    sem_init(&client.heard, 0, 0);
    sem_init(&client.news, 0, 0);
    MUSTER_CHECK(muster__http_driver.start(&options, &transfer, &error) == MUSTER_OK);
    if (flags & CANCELS) {
        muster__http_driver.cancel(transfer);
        muster_stream_release(client.body);
        return;
    }
    sem_wait(&client.heard);
    if (client.body != NULL)
        read_body(flags);
    muster__http_driver.cancel(transfer);
    MUSTER_CHECK(client.times == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (server.port == 0)
        start_server();
    if (size < 2 || size > sizeof server.answer.bytes)
        return 0;
    pthread_mutex_lock(&server.lock);
    server.answer.length = size - 2;
    server.answer.cut = data[1] < size - 2 ? data[1] : size - 2;
    memcpy(server.answer.bytes, data + 2, size - 2);
    pthread_mutex_unlock(&server.lock);
    ask(data[0]);
    return 0;
}
