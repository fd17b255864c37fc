/* tests/test_http_connection.c - what goes in as bytes, what comes out as bytes.
 *
 * No socket, no clock: the tests are the owner of each connection, the worker that settles, and time.
 *
 * Links the objects under test themselves, with the wrapped allocator of failing_malloc.h. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http_connection.h"
#include "failing_malloc.h"

enum { MAX_EXCHANGES = 64, OUTPUT_SIZE = 1 << 20 };

#define DATE "Sat, 01 Jan 2000 00:00:00 GMT"
#define MS(n) ((uint64_t)(n)*1000)

static struct muster__http_pool *pool;
static struct muster__http_connection *connection;
static struct muster__http_options options;
static struct muster__http_exchange *exchanges[MAX_EXCHANGES];
static size_t exchange_count;
static size_t gone_count;
static size_t settled_count;
static atomic_uint wake_count;
static char output[OUTPUT_SIZE];
static size_t output_length;
static uint64_t now;

static void on_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster__http_exchange *exchange = (struct muster__http_exchange *)request;
    settled_count++;
    if (outcome->status == MUSTER_OK)
        muster__http_exchange_answer(exchange, outcome->response, DATE);
    else
        muster__http_exchange_answer_status(exchange, muster__http_status_of(outcome->status), NULL, 0,
                                            DATE);
    muster__http_connection_answer_ready(exchange, now);
}

static const struct muster__request_class request_class = {.settled = on_settled,
                                                           .destroy = muster__http_exchange_destroy};

static void on_request(struct muster__http_exchange *exchange, void *data)
{
    /* Not ck_assert: that allocates, and one test lets allocations fail. */
    MUSTER_CHECK(data == &pool && exchange_count < MAX_EXCHANGES);
    muster__request_acquire(&exchange->request);
    exchanges[exchange_count++] = exchange;
}

static void on_gone(struct muster__http_exchange *exchange, void *data)
{
    (void)exchange, (void)data;
    gone_count++;
}

static void wake(void *data)
{
    (void)data;
    atomic_fetch_add(&wake_count, 1);
}

static void set_up(void)
{
    exchange_count = gone_count = settled_count = output_length = 0;
    atomic_store(&wake_count, 0);
    now = MS(1000);
    options.request_class = &request_class;
    options.on_request = on_request;
    options.on_gone = on_gone;
    options.wake = wake;
    ck_assert_int_eq(muster__http_pool_new(&options, &pool), MUSTER_OK);
    muster__http_pool_set_date(pool, DATE);
    ck_assert_int_eq(muster__http_connection_new(pool, &pool, now, &connection), MUSTER_OK);
}

static void tear_down(void)
{
    muster__http_connection_destroy(connection);
    for (size_t i = 0; i < exchange_count; i++)
        if (exchanges[i])
            muster__request_release(&exchanges[i]->request);
    muster__http_pool_destroy(pool);
    options = (struct muster__http_options){0};
}

/* With other options than those of the fixture. */
static void set_up_again(struct muster__http_options changed)
{
    tear_down();
    options = changed;
    set_up();
}

static void feed(const char *text)
{
    muster__http_connection_feed(connection, text, strlen(text), now);
}

/* Writes at most `limit` bytes, as a socket with little room would; says in how many writes. */
static size_t flush_at_most(size_t limit)
{
    struct iovec spans[64];
    size_t count, writes = 0;
    while (limit > 0 && (count = muster__http_connection_output(connection, spans, 64, now)) > 0) {
        size_t written = 0;
        for (size_t i = 0; i < count; i++) {
            size_t part = spans[i].iov_len < limit - written ? spans[i].iov_len : limit - written;
            MUSTER_CHECK(output_length + part < OUTPUT_SIZE);
            memcpy(output + output_length, spans[i].iov_base, part);
            output_length += part;
            written += part;
        }
        limit -= written;
        writes++;
        muster__http_connection_wrote(connection, written, now);
    }
    output[output_length] = '\0';
    return writes;
}

static size_t flush_all(void)
{
    return flush_at_most(SIZE_MAX);
}

static void release(size_t i)
{
    muster__request_release(&exchanges[i]->request);
    exchanges[i] = NULL;
}

static void respond(size_t i, const struct muster_http_response *response)
{
    struct muster__outcome outcome = {.status = MUSTER_OK, .response = response};
    MUSTER_CHECK(i < exchange_count);
    muster__request_settle(&exchanges[i]->request, &outcome);
    release(i);
}

static void respond_text(size_t i, const char *text)
{
    respond(i, &(struct muster_http_response){.status_code = 200, .body = {text, strlen(text)}});
}

static struct muster_bytes text_of(const char *text)
{
    return (struct muster_bytes){text, strlen(text)};
}

static bool is_text(struct muster_bytes bytes, const char *text)
{
    return bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0;
}

#define ASSERT_BYTES(bytes, text)                                                                  \
    ck_assert_msg(is_text((bytes), (text)), "\"%.*s\" instead of \"%s\"", (int)(bytes).length,     \
                  (bytes).data, (text))

static void expect_output(const char *text)
{
    flush_all();
    ck_assert_str_eq(output, text);
    output_length = 0;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* One answer with that status came, and the connection goes down after it. */
static void expect_refusal(int status_code)
{
    char line[64];
    flush_all();
    snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", status_code, muster__http_reason(status_code));
    ck_assert_msg(starts_with(output, line), "\"%s\" instead of %d", output, status_code);
    ck_assert_ptr_nonnull(strstr(output, "connection: close\r\n"));
    ck_assert(muster__http_connection_wants_shutdown(connection) ||
              muster__http_connection_is_done(connection));
    ck_assert(!muster__http_connection_is_idle(connection));
}

#define HOST "Host: example.org\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define OK_TEXT(length, text)                                                                      \
    "HTTP/1.1 200 OK\r\ncontent-length: " length "\r\ndate: " DATE "\r\n\r\n" text

/* Requests */

START_TEST(a_request_becomes_a_fetch_with_method_url_and_headers)
{
    feed("GET /a/b?c=d HTTP/1.1\r\nHost: Example.org:8080\r\nX-One:  two words \t\r\nx-empty:\r\n\r\n");
    ck_assert_uint_eq(exchange_count, 1);
    const struct muster__request *request = &exchanges[0]->request;
    ck_assert_int_eq(request->kind, MUSTER__REQUEST_FETCH);
    ck_assert_str_eq(request->name, "fetch");
    ck_assert_uint_eq(request->received_us, now);
    ASSERT_BYTES(request->http.method, "GET");
    ASSERT_BYTES(request->http.url, "http://example.org:8080/a/b?c=d");
    ck_assert_uint_eq(request->http.header_count, 3);
    ASSERT_BYTES(request->http.headers[0].name, "Host");
    ASSERT_BYTES(request->http.headers[1].name, "X-One");
    ASSERT_BYTES(request->http.headers[1].value, "two words");
    ASSERT_BYTES(request->http.headers[2].value, "");
    ck_assert_ptr_null(request->http.body.data);
    ck_assert_ptr_null(request->http.body_stream);
}
END_TEST

START_TEST(a_request_may_come_byte_by_byte)
{
    const char text[] = "\r\n\r\nPOST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello" GET("/y");
    for (size_t i = 0; text[i]; i++)
        muster__http_connection_feed(connection, text + i, 1, now);
    ck_assert_uint_eq(exchange_count, 2);
    ASSERT_BYTES(exchanges[0]->request.http.method, "POST");
    ASSERT_BYTES(exchanges[0]->request.http.body, "hello");
    ASSERT_BYTES(exchanges[1]->request.http.url, "http://example.org/y");
}
END_TEST

static const struct {
    const char *host, *target, *url;
} urls[] = {
    {"h:80", "/", "http://h/"},
    {"h:", "/", "http://h/"},
    {"[::1]:8080", "/", "http://[::1]:8080/"},
    {"127.0.0.1:1", "//x//y", "http://127.0.0.1:1//x//y"},
    {"h", "/a/./b/../c", "http://h/a/c"},
    {"h", "/a/%2E%2e/b/.", "http://h/b/"},
    {"h", "/../../a/..", "http://h/"},
    {"h", "/.a/..b/...", "http://h/.a/..b/..."},
    {"h", "/a?/../b", "http://h/a?/../b"},
    {"h", "http://Other:81/p?q", "http://other:81/p?q"},
    {"h", "HTTP://other?q", "http://other/?q"},
    {"h", "http://other", "http://other/"},
    {"h", "/a//../b", "http://h/a/b"},
};

START_TEST(the_url_is_absolute_and_has_one_form)
{
    char text[256];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", urls[_i].target, urls[_i].host);
    feed(text);
    ck_assert_uint_eq(exchange_count, 1);
    ASSERT_BYTES(exchanges[0]->request.http.url, urls[_i].url);
}
END_TEST

START_TEST(http_1_0_needs_no_host_and_closes_unless_it_asks_to_stay)
{
    feed("GET / HTTP/1.0\r\n\r\n");
    ASSERT_BYTES(exchanges[0]->request.http.url, "http://localhost/");
    respond_text(0, "x");
    expect_output("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ndate: " DATE "\r\nconnection: close\r\n\r\nx");
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(http_1_0_may_ask_to_stay)
{
    feed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    respond_text(0, "x");
    expect_output("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ndate: " DATE
                  "\r\nconnection: keep-alive\r\n\r\nx");
    ck_assert(muster__http_connection_is_idle(connection));
}
END_TEST

START_TEST(connection_close_ends_the_connection_after_the_answer)
{
    feed("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" GET("/never"));
    ck_assert_uint_eq(exchange_count, 1);
    ck_assert(!muster__http_connection_wants_input(connection));
    respond_text(0, "x");
    flush_all();
    ck_assert_ptr_nonnull(strstr(output, "connection: close\r\n"));
    ck_assert(muster__http_connection_wants_shutdown(connection)); /* there was more to read */
    muster__http_connection_eof(connection, now);
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(an_upgrade_that_nobody_accepts_is_an_ordinary_request)
{
    feed("GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" GET("/next"));
    ck_assert_uint_eq(exchange_count, 2);
}
END_TEST

/* Refusals */

static const struct {
    int status;
    const char *text;
} refusals[] = {
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: h%2f\r\n\r\n"},
    {400, "GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /#f HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET x HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET  HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
    {400, "GET /\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: h\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n"},
    {400, "\x16\x03\x01\x02"}, /* TLS */
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\nA\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nAB\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 16777217\r\n\r\n"},
    {417, "POST / HTTP/1.1\r\n" HOST "Expect: gold\r\nContent-Length: 1\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
    {501, "CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n"},
    {501, "TRACE / HTTP/1.1\r\n" HOST "\r\n"},
    {501, "BREW / HTTP/1.1\r\n" HOST "\r\n"},
    {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
    {505, "GET / HTTP/0.9\r\n" HOST "\r\n"},
    {400, "GET / ICE/1.0\r\n" HOST "\r\n"},
    {204, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"},
};

START_TEST(what_is_wrong_or_ambiguous_is_refused_and_nothing_behind_it_is_read)
{
    feed(refusals[_i].text);
    feed(GET("/smuggled"));
    ck_assert_msg(exchange_count == 0, "%s", refusals[_i].text);
    expect_refusal(refusals[_i].status);
}
END_TEST

START_TEST(a_refusal_waits_for_the_answers_before_it)
{
    feed(GET("/") "nonsense\r\n\r\n");
    ck_assert_uint_eq(exchange_count, 1);
    ck_assert_uint_eq(flush_all(), 0);
    respond_text(0, "x");
    flush_all();
    ck_assert(starts_with(output, OK_TEXT("1", "x") "HTTP/1.1 400 Bad Request\r\n"));
    ck_assert(muster__http_connection_wants_shutdown(connection));
    ck_assert(muster__http_connection_wants_input(connection));
    ck_assert_uint_le(muster__http_connection_deadline(connection), now + MS(5000));
    now = muster__http_connection_deadline(connection);
    muster__http_connection_tick(connection, now);
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(a_head_beyond_its_limit_is_431)
{
    set_up_again((struct muster__http_options){.head_limit = 64});
    feed("GET / HTTP/1.1\r\n" HOST "X: 0123456789012345");
    ck_assert_uint_eq(flush_all(), 0);
    feed("0123456789012345");
    expect_refusal(431);
}
END_TEST

START_TEST(too_many_headers_are_431)
{
    set_up_again((struct muster__http_options){.header_count_limit = 2});
    feed("GET / HTTP/1.1\r\n" HOST "a: 1\r\n\r\n");
    ck_assert_uint_eq(exchange_count, 1);
    feed("GET / HTTP/1.1\r\n" HOST "a: 1\r\nb: 2\r\n\r\n");
    respond_text(0, "");
    flush_all();
    ck_assert_ptr_nonnull(strstr(output, "HTTP/1.1 431 "));
}
END_TEST

START_TEST(many_headers_arrive_whole)
{
    char text[8192] = "GET / HTTP/1.1\r\n" HOST;
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), "x-header-%d: value %d\r\n", i, i);
    strcat(text, "\r\n");
    feed(text);
    ck_assert_uint_eq(exchange_count, 1);
    const struct muster_http_request *http = &exchanges[0]->request.http;
    ck_assert_uint_eq(http->header_count, 101);
    ASSERT_BYTES(http->headers[100].name, "x-header-99");
    ASSERT_BYTES(http->headers[100].value, "value 99");
    ASSERT_BYTES(http->headers[0].value, "example.org");
}
END_TEST

/* Request bodies */

START_TEST(a_short_announced_body_comes_as_bytes_when_it_is_complete)
{
    feed("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe");
    ck_assert_uint_eq(exchange_count, 0);
    feed("llo");
    ck_assert_uint_eq(exchange_count, 1);
    ASSERT_BYTES(exchanges[0]->request.http.body, "hello");
    ck_assert_ptr_null(exchanges[0]->request.http.body_stream);
}
END_TEST

START_TEST(a_chunked_body_that_is_complete_at_once_comes_as_bytes)
{
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
         "2;x=y\r\nhe\r\n0003\r\nllo\r\n0\r\nTrailer: t\r\n\r\n" GET("/next"));
    ck_assert_uint_eq(exchange_count, 2);
    ASSERT_BYTES(exchanges[0]->request.http.body, "hello");
    ck_assert_uint_eq(exchanges[0]->request.http.header_count, 2);
}
END_TEST

static size_t read_stream(struct muster_stream *stream, char *to, size_t size)
{
    size_t total = 0, length = 0;
    while (total < size && muster_stream_read(stream, to + total, size - total, &length) == MUSTER_OK) {
        if (length == 0)
            break;
        total += length;
    }
    return total;
}

START_TEST(a_chunked_body_in_parts_comes_as_a_stream)
{
    char text[16];
    size_t length = 99;
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    ck_assert_uint_eq(exchange_count, 1);
    struct muster_stream *stream = exchanges[0]->request.http.body_stream;
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(read_stream(stream, text, sizeof text), 3);
    feed("2\r\nde\r\n");
    ck_assert_uint_eq(read_stream(stream, text, sizeof text), 2);
    ck_assert_int_eq(muster_stream_read(stream, text, 1, &length), MUSTER_PENDING);
    feed("0\r\n\r\n");
    ck_assert_int_eq(muster_stream_read(stream, text, 1, &length), MUSTER_OK);
    ck_assert_uint_eq(length, 0);
}
END_TEST

START_TEST(a_full_stream_holds_the_client_up_until_its_reader_made_room)
{
    enum { SIZE = 300000 };
    char *body = malloc(SIZE), *read = malloc(SIZE);
    ck_assert(body && read);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (char)(i * 31 + i / 251);
    feed("PUT / HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    size_t sent = 0, got = 0;
    while (muster__http_connection_wants_input(connection) && sent < SIZE) {
        muster__http_connection_feed(connection, body + sent, 10000, now);
        sent += 10000;
    }
    ck_assert_uint_lt(sent, 120000); /* the stream, and one slice */
    struct muster_stream *stream = exchanges[0]->request.http.body_stream;
    ck_assert_uint_eq(muster__http_connection_deadline(connection), UINT64_MAX); /* not its fault */
    while (got < SIZE) {
        got += read_stream(stream, read + got, SIZE - got > 7000 ? 7000 : SIZE - got);
        muster__http_connection_resume(connection, now);
        while (muster__http_connection_wants_input(connection) && sent < SIZE) {
            muster__http_connection_feed(connection, body + sent, 10000, now);
            sent += 10000;
        }
    }
    ck_assert_uint_gt(atomic_load(&wake_count), 0);
    ck_assert_int_eq(memcmp(body, read, SIZE), 0);
    size_t length = 99;
    ck_assert_int_eq(muster_stream_read(stream, read, 1, &length), MUSTER_OK);
    ck_assert_uint_eq(length, 0);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    ck_assert(muster__http_connection_is_idle(connection));
    free(body);
    free(read);
}
END_TEST

START_TEST(a_body_that_its_reader_gave_up_is_read_and_dropped)
{
    char part[1000] = {0};
    feed("PUT / HTTP/1.1\r\n" HOST "Content-Length: 200000\r\n\r\n");
    muster_stream_abort(exchanges[0]->request.http.body_stream, MUSTER_CANCELED, "not interested");
    for (int i = 0; i < 200; i++) {
        ck_assert(muster__http_connection_wants_input(connection));
        muster__http_connection_feed(connection, part, sizeof part, now);
    }
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    feed(GET("/next"));
    ck_assert_uint_eq(exchange_count, 2);
}
END_TEST

/* Feeds until the stream is full; how much of `size` is left to be sent. */
static size_t fill_stream(size_t size)
{
    char part[10000] = {0};
    while (muster__http_connection_wants_input(connection) && size > 0) {
        muster__http_connection_feed(connection, part, sizeof part, now);
        size -= sizeof part;
    }
    return size;
}

START_TEST(a_body_that_nobody_can_read_any_more_is_dropped_once_it_is_answered)
{
    feed("PUT / HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    size_t left = fill_stream(300000);
    ck_assert_uint_gt(left, 0);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    ck_assert_uint_eq(fill_stream(left), 0);
    feed(GET("/next"));
    ck_assert_uint_eq(exchange_count, 2);
}
END_TEST

START_TEST(a_body_is_dropped_when_its_reader_lets_go_after_the_answer)
{
    feed("PUT / HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    struct muster__http_exchange *kept = exchanges[0];
    muster__request_acquire(&kept->request);
    size_t left = fill_stream(300000);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    ck_assert(!muster__http_connection_wants_input(connection));
    now += MS(29000);
    muster__http_connection_tick(connection, now);
    ck_assert(!muster__http_connection_wants_input(connection));
    muster__request_release(&kept->request);
    ck_assert_uint_le(muster__http_connection_deadline(connection), now);
    muster__http_connection_tick(connection, now);
    ck_assert_uint_gt(muster__http_connection_deadline(connection), now + MS(20000)); /* time to send it */
    ck_assert_uint_eq(fill_stream(left), 0);
    feed(GET("/next"));
    ck_assert_uint_eq(exchange_count, 2);
}
END_TEST

START_TEST(a_dropped_body_is_no_longer_than_others)
{
    set_up_again((struct muster__http_options){.body_limit = 200000});
    feed("PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffff\r\n");
    size_t left = fill_stream(1000000);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    ck_assert(!muster__http_connection_wants_shutdown(connection));
    (void)fill_stream(left);
    ck_assert(muster__http_connection_wants_shutdown(connection));
}
END_TEST

START_TEST(an_early_answer_does_not_stop_the_body)
{
    char text[32];
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    muster__request_acquire(&exchanges[0]->request);
    struct muster__http_exchange *kept = exchanges[0];
    respond_text(0, "early");
    expect_output(OK_TEXT("5", "early"));
    ck_assert(!muster__http_connection_is_idle(connection));
    feed("3\r\ndef\r\n0\r\n\r\n" GET("/next"));
    ck_assert_uint_eq(read_stream(kept->request.http.body_stream, text, sizeof text), 6);
    ck_assert_uint_eq(exchange_count, 2);
    muster__request_release(&kept->request);
}
END_TEST

START_TEST(a_streamed_body_beyond_its_limit_is_413_when_nobody_has_answered)
{
    set_up_again((struct muster__http_options){.body_limit = 10});
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n");
    ck_assert_uint_eq(exchange_count, 1);
    feed("3\r\nabc\r\n");
    ck_assert_uint_eq(settled_count, 1);
    ck_assert(muster__request_is_settled(&exchanges[0]->request));
    char byte;
    size_t length;
    ck_assert_int_eq(muster_stream_read(exchanges[0]->request.http.body_stream, &byte, 1, &length),
                     MUSTER_CANCELED);
    expect_refusal(413);
}
END_TEST

START_TEST(a_broken_body_is_400_when_nobody_has_answered)
{
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    feed("zz\r\n");
    expect_refusal(400);
}
END_TEST

START_TEST(chunk_extensions_without_end_are_refused)
{
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;");
    for (int i = 0; i < 2000 && muster__http_connection_wants_input(connection); i++)
        feed("aaaaaaaaaaaaaaaa");
    expect_refusal(431);
}
END_TEST

START_TEST(trailers_without_end_are_refused)
{
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < 4000 && muster__http_connection_wants_input(connection); i++)
        feed("a: bbbbbbbbbbbb\r\n");
    expect_refusal(431);
}
END_TEST

START_TEST(expect_100_is_answered_before_the_body)
{
    feed("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    expect_output("HTTP/1.1 100 Continue\r\n\r\n");
    feed("ab");
    ASSERT_BYTES(exchanges[0]->request.http.body, "ab");
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
}
END_TEST

START_TEST(expect_100_is_not_answered_when_the_body_is_there_already)
{
    feed("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\na");
    ck_assert_uint_eq(flush_all(), 0);
}
END_TEST

START_TEST(expect_100_waits_for_its_place_in_line)
{
    feed(GET("/") "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    ck_assert_uint_eq(flush_all(), 0);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x") "HTTP/1.1 100 Continue\r\n\r\n");
}
END_TEST

/* Responses */

START_TEST(answers_leave_in_the_order_of_the_requests_and_together)
{
    feed(GET("/0") GET("/1") GET("/2"));
    ck_assert_uint_eq(exchange_count, 3);
    respond_text(2, "two");
    respond_text(1, "one");
    ck_assert_uint_eq(flush_all(), 0);
    respond_text(0, "nil");
    ck_assert_uint_eq(flush_all(), 1);
    ck_assert_str_eq(output, OK_TEXT("3", "nil") OK_TEXT("3", "one") OK_TEXT("3", "two"));
}
END_TEST

START_TEST(a_deep_pipeline_waits_and_then_goes_on)
{
    set_up_again((struct muster__http_options){.pipeline_depth = 2});
    feed(GET("/0") GET("/1") GET("/2") GET("/3") "GET /4");
    ck_assert_uint_eq(exchange_count, 2);
    ck_assert(!muster__http_connection_wants_input(connection));
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_lt(i, exchange_count);
        respond_text(i, "x");
        flush_all();
    }
    ck_assert_uint_eq(exchange_count, 4);
    ck_assert(muster__http_connection_wants_input(connection));
    feed(" HTTP/1.1\r\n" HOST "\r\n");
    ASSERT_BYTES(exchanges[4]->request.http.url, "http://example.org/4");
}
END_TEST

START_TEST(a_response_survives_being_written_byte_by_byte)
{
    feed(GET("/0") GET("/1"));
    respond_text(0, "zero");
    respond_text(1, "one");
    for (int i = 0; i < 1000; i++)
        flush_at_most(1);
    ck_assert_str_eq(output, OK_TEXT("4", "zero") OK_TEXT("3", "one"));
    ck_assert(muster__http_connection_is_idle(connection));
}
END_TEST

START_TEST(headers_are_kept_in_order_and_connection_level_ones_are_ours)
{
    struct muster_header headers[] = {
        {text_of("Set-Cookie"), text_of("a=1")},      {text_of("Connection"), text_of("close")},
        {text_of("set-cookie"), text_of("b=2")},      {text_of("Transfer-Encoding"), text_of("chunked")},
        {text_of("Keep-Alive"), text_of("timeout=5")}, {text_of("Content-Length"), text_of("99")},
        {text_of("Upgrade"), text_of("h2c")},
    };
    feed(GET("/"));
    respond(0, &(struct muster_http_response){.status_code = 201,
                                              .headers = headers,
                                              .header_count = sizeof headers / sizeof *headers,
                                              .body = text_of("x")});
    expect_output("HTTP/1.1 201 Created\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 1\r\n"
                  "date: " DATE "\r\n\r\nx");
}
END_TEST

START_TEST(a_date_and_a_status_text_of_the_script_s_are_kept)
{
    struct muster_header header = {text_of("Date"), text_of("today")};
    feed(GET("/"));
    respond(0, &(struct muster_http_response){.status_code = 299,
                                              .status_text = text_of("Fine"),
                                              .headers = &header,
                                              .header_count = 1});
    expect_output("HTTP/1.1 299 Fine\r\nDate: today\r\ncontent-length: 0\r\n\r\n");
}
END_TEST

static const struct {
    int status;
    struct muster_bytes status_text, name, value;
} unwritable[] = {
    {200, {"", 0}, {"a\r\nb", 4}, {"", 0}},   {200, {"", 0}, {"a", 1}, {"x\r\ny: z", 7}},
    {200, {"", 0}, {"a", 1}, {"x\ny", 3}},    {200, {"", 0}, {"a", 1}, {"x\0y", 3}},
    {200, {"", 0}, {"", 0}, {"x", 1}},        {200, {"", 0}, {"a b", 3}, {"x", 1}},
    {200, {"a\r\nb", 4}, {"a", 1}, {"", 0}},  {101, {"", 0}, {"a", 1}, {"", 0}},
    {600, {"", 0}, {"a", 1}, {"", 0}},        {0, {"", 0}, {"a", 1}, {"", 0}},
    {200, {"", 0}, {"content-length", 14}, {"-1", 2}},
};

START_TEST(a_response_that_http_cannot_carry_is_502)
{
    struct muster_header header = {unwritable[_i].name, unwritable[_i].value};
    feed(GET("/"));
    respond(0, &(struct muster_http_response){.status_code = unwritable[_i].status,
                                              .status_text = unwritable[_i].status_text,
                                              .headers = &header,
                                              .header_count = 1,
                                              .body = text_of("secret")});
    flush_all();
    ck_assert(starts_with(output, "HTTP/1.1 502 Bad Gateway\r\n"));
    ck_assert_ptr_null(strstr(output, "secret"));
    ck_assert(muster__http_connection_is_idle(connection)); /* the client is not to blame */
}
END_TEST

START_TEST(head_has_the_length_but_not_the_body)
{
    feed("HEAD / HTTP/1.1\r\n" HOST "\r\n" GET("/next"));
    respond_text(0, "four");
    respond_text(1, "x");
    expect_output(OK_TEXT("4", "") OK_TEXT("1", "x"));
}
END_TEST

START_TEST(head_of_a_stream_drops_the_stream)
{
    struct muster_stream *stream;
    size_t written;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    feed("HEAD / HTTP/1.1\r\n" HOST "\r\n");
    respond(0, &(struct muster_http_response){.status_code = 200, .body_stream = stream});
    expect_output("HTTP/1.1 200 OK\r\ndate: " DATE "\r\n\r\n");
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_CLOSED);
    muster_stream_release(stream);
    muster_stream_release(stream);
    ck_assert(muster__http_connection_is_idle(connection));
}
END_TEST

START_TEST(no_content_and_not_modified_have_no_body)
{
    feed(GET("/0") GET("/1"));
    respond(0, &(struct muster_http_response){.status_code = 204, .body = text_of("x")});
    respond(1, &(struct muster_http_response){.status_code = 304, .body = text_of("x")});
    expect_output("HTTP/1.1 204 No Content\r\ndate: " DATE "\r\n\r\n"
                  "HTTP/1.1 304 Not Modified\r\ndate: " DATE "\r\n\r\n");
}
END_TEST

START_TEST(a_ready_made_answer_says_what_and_when_to_retry)
{
    feed(GET("/"));
    muster__http_exchange_answer_status(exchanges[0], 503, "The queue is full.", 2, DATE);
    muster__http_connection_answer_ready(exchanges[0], now);
    release(0);
    expect_output("HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
                  "content-length: 39\r\nretry-after: 2\r\ndate: " DATE "\r\n\r\n"
                  "Service Unavailable\nThe queue is full.\n");
}
END_TEST

/* Response streams */

static struct muster_stream *respond_stream(size_t i, const struct muster_header *headers, size_t count)
{
    struct muster_stream *stream;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    respond(i, &(struct muster_http_response){
                   .status_code = 200, .headers = headers, .header_count = count, .body_stream = stream});
    muster_stream_release(stream); /* the reader's end: the connection has its own */
    return stream;
}

static void write_stream(struct muster_stream *stream, const char *text)
{
    size_t written;
    ck_assert_int_eq(muster_stream_write(stream, text, strlen(text), &written), MUSTER_OK);
    ck_assert_uint_eq(written, strlen(text));
}

#define CHUNKED_HEAD "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: " DATE "\r\n\r\n"

START_TEST(a_stream_leaves_in_chunks_as_it_comes)
{
    feed(GET("/") GET("/next"));
    struct muster_stream *stream = respond_stream(0, NULL, 0);
    respond_text(1, "x");
    expect_output(CHUNKED_HEAD);
    ck_assert_uint_eq(muster__http_connection_deadline(connection), UINT64_MAX);
    write_stream(stream, "hello");
    ck_assert_uint_gt(atomic_load(&wake_count), 0);
    muster__http_connection_resume(connection, now);
    expect_output("0005\r\nhello\r\n");
    write_stream(stream, "a");
    write_stream(stream, "b");
    muster_stream_close(stream);
    expect_output("0002\r\nab\r\n0\r\n\r\n" OK_TEXT("1", "x"));
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_short_stream_is_one_write)
{
    struct muster_stream *stream;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    write_stream(stream, "hello");
    muster_stream_close(stream);
    feed(GET("/"));
    respond(0, &(struct muster_http_response){.status_code = 200, .body_stream = stream});
    ck_assert_uint_eq(flush_all(), 1);
    ck_assert_str_eq(output, CHUNKED_HEAD "0005\r\nhello\r\n0\r\n\r\n");
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_stream_with_a_length_needs_no_chunks)
{
    struct muster_header header = {text_of("content-length"), text_of("5")};
    feed(GET("/"));
    struct muster_stream *stream = respond_stream(0, &header, 1);
    write_stream(stream, "hello, world");
    expect_output(OK_TEXT("5", "hello"));
    size_t written;
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_CLOSED);
    muster_stream_release(stream);
    ck_assert(muster__http_connection_is_idle(connection));
}
END_TEST

START_TEST(a_stream_shorter_than_its_length_ends_the_connection)
{
    struct muster_header header = {text_of("content-length"), text_of("5")};
    feed(GET("/"));
    struct muster_stream *stream = respond_stream(0, &header, 1);
    write_stream(stream, "hel");
    muster_stream_close(stream);
    muster_stream_release(stream);
    expect_output(OK_TEXT("5", "hel"));
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(an_aborted_stream_ends_the_connection_without_its_last_chunk)
{
    feed(GET("/") GET("/next"));
    struct muster_stream *stream = respond_stream(0, NULL, 0);
    expect_output(CHUNKED_HEAD);
    muster_stream_abort(stream, MUSTER_SCRIPT_ERROR, "thrown");
    muster_stream_release(stream);
    ck_assert_uint_gt(atomic_load(&wake_count), 0);
    muster__http_connection_resume(connection, now);
    expect_output("");
    ck_assert(muster__http_connection_is_done(connection));
    ck_assert_uint_eq(gone_count, 1);
}
END_TEST

START_TEST(a_stream_to_http_1_0_ends_with_the_connection)
{
    feed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct muster_stream *stream = respond_stream(0, NULL, 0);
    write_stream(stream, "hello");
    muster_stream_close(stream);
    muster_stream_release(stream);
    expect_output("HTTP/1.1 200 OK\r\ndate: " DATE "\r\nconnection: close\r\n\r\nhello");
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(a_slow_client_is_not_pulled_for)
{
    char part[32768] = {0};
    size_t written = 0, total = 0;
    feed(GET("/"));
    struct muster_stream *stream = respond_stream(0, NULL, 0);
    for (int i = 0; i < 100; i++) {
        if (muster_stream_write(stream, part, sizeof part, &written) != MUSTER_OK)
            break;
        total += written;
        flush_at_most(100);
    }
    ck_assert_uint_lt(total, 150000);
    muster_stream_close(stream);
    muster_stream_release(stream);
    flush_all();
    ck_assert_uint_gt(output_length, total);
    ck_assert(memcmp(output + output_length - 7, "\r\n0\r\n\r\n", 7) == 0);
    ck_assert(muster__http_connection_is_idle(connection));
}
END_TEST

/* Time */

START_TEST(a_slow_head_is_408)
{
    feed("GET / HTTP/1.1\r\n");
    uint64_t deadline = muster__http_connection_deadline(connection);
    ck_assert_uint_eq(deadline, now + MS(10000));
    now = deadline - 1;
    feed("X: y\r\n"); /* a little more does not buy time */
    muster__http_connection_tick(connection, now);
    ck_assert_uint_eq(flush_all(), 0);
    now = deadline;
    muster__http_connection_tick(connection, now);
    expect_refusal(408);
}
END_TEST

START_TEST(a_slow_body_is_408_but_progress_buys_time)
{
    feed("POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n");
    for (int i = 0; i < 2; i++) {
        now += MS(20000);
        muster__http_connection_tick(connection, now);
        feed("x");
    }
    now = muster__http_connection_deadline(connection);
    muster__http_connection_tick(connection, now);
    ck_assert_uint_eq(exchange_count, 0);
    expect_refusal(408);
}
END_TEST

START_TEST(a_slow_streamed_body_is_408_when_nobody_has_answered)
{
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    char byte;
    size_t length;
    struct muster_stream *stream = exchanges[0]->request.http.body_stream;
    ck_assert_int_eq(muster_stream_read(stream, &byte, 1, &length), MUSTER_OK);
    now = muster__http_connection_deadline(connection);
    muster__http_connection_tick(connection, now);
    ck_assert_int_eq(muster_stream_read(stream, &byte, 1, &length), MUSTER_TIMED_OUT);
    expect_refusal(408);
}
END_TEST

START_TEST(an_idle_connection_closes_without_a_word)
{
    feed(GET("/"));
    ck_assert_uint_eq(muster__http_connection_deadline(connection), UINT64_MAX);
    now += MS(5000);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    ck_assert_uint_eq(muster__http_connection_deadline(connection), now + MS(60000));
    now += MS(60000);
    muster__http_connection_tick(connection, now);
    expect_output("");
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(a_client_that_does_not_read_is_dropped)
{
    feed(GET("/"));
    respond_text(0, "x");
    flush_at_most(3);
    struct iovec spans[2];
    ck_assert_uint_eq(muster__http_connection_output(connection, spans, 2, now), 1);
    ck_assert_uint_eq(muster__http_connection_deadline(connection), now + MS(30000));
    now += MS(20000);
    muster__http_connection_wrote(connection, 1, now); /* progress buys time */
    ck_assert_uint_eq(muster__http_connection_deadline(connection), now + MS(30000));
    now += MS(30000);
    muster__http_connection_tick(connection, now);
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

/* Ends */

START_TEST(a_half_closed_client_still_gets_its_answers)
{
    feed(GET("/0") GET("/1") "GET /half");
    muster__http_connection_eof(connection, now);
    ck_assert(!muster__http_connection_wants_input(connection));
    respond_text(0, "x");
    respond_text(1, "y");
    expect_output(OK_TEXT("1", "x") OK_TEXT("1", "y"));
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(a_half_closed_client_waits_for_a_stream_only_while_it_moves)
{
    size_t written = 0;
    feed(GET("/"));
    struct muster_stream *stream = respond_stream(0, NULL, 0);
    write_stream(stream, "one");
    flush_all();
    now += MS(100000);
    muster__http_connection_tick(connection, now);
    ck_assert(!muster__http_connection_is_done(connection)); /* it may still send */
    muster__http_connection_eof(connection, now);
    now += MS(29000);
    muster__http_connection_tick(connection, now);
    write_stream(stream, "two");
    flush_all();
    now += MS(29000);
    muster__http_connection_tick(connection, now);
    ck_assert(!muster__http_connection_is_done(connection));
    now += MS(1000);
    ck_assert_uint_eq(muster__http_connection_deadline(connection), now);
    muster__http_connection_tick(connection, now);
    ck_assert(muster__http_connection_is_done(connection));
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_CLOSED);
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_client_that_leaves_inside_its_body_aborts_the_stream)
{
    feed("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    muster__http_connection_eof(connection, now);
    char bytes[4];
    size_t length;
    ck_assert_int_eq(muster_stream_read(exchanges[0]->request.http.body_stream, bytes, 4, &length),
                     MUSTER_CANCELED);
    expect_refusal(400);
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(an_exchange_outlives_its_connection)
{
    feed(GET("/kept"));
    muster__http_connection_destroy(connection);
    connection = NULL;
    ck_assert_uint_eq(gone_count, 1);
    ASSERT_BYTES(exchanges[0]->request.http.url, "http://example.org/kept");
    muster__http_exchange_answer_status(exchanges[0], 200, NULL, 0, DATE);
    ck_assert_ptr_null(muster__http_connection_answer_ready(exchanges[0], now));
}
END_TEST

START_TEST(a_stream_for_a_dead_connection_is_aborted)
{
    struct muster_stream *stream;
    size_t written;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    feed(GET("/0") GET("/1"));
    respond(0, &(struct muster_http_response){.status_code = 200, .body_stream = stream});
    muster__http_connection_destroy(connection);
    connection = NULL;
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_CLOSED);
    muster_stream_release(stream);
    muster_stream_release(stream);
    ck_assert_uint_eq(gone_count, 1);
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    respond(1, &(struct muster_http_response){.status_code = 200, .body_stream = stream});
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_CLOSED);
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

START_TEST(draining_closes_an_idle_connection_at_once)
{
    muster__http_connection_drain(connection, now);
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

START_TEST(draining_answers_what_has_begun_and_takes_no_more)
{
    feed(GET("/0"));
    muster__http_connection_drain(connection, now);
    ck_assert(!muster__http_connection_wants_input(connection));
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    ck_assert(muster__http_connection_is_done(connection));
}
END_TEST

/* Memory */

START_TEST(an_exchange_is_used_again_when_nobody_holds_it)
{
    const struct muster__http_exchange *first = NULL;
    for (size_t i = 0; i < 10; i++) {
        feed(GET("/"));
        if (i == 0)
            first = exchanges[0];
        ck_assert_ptr_eq(exchanges[i], first);
        respond_text(i, "x");
        expect_output(OK_TEXT("1", "x"));
    }
}
END_TEST

START_TEST(an_exchange_that_a_worker_still_holds_is_not_used_again)
{
    feed(GET("/0"));
    struct muster__http_exchange *kept = exchanges[0];
    muster__request_acquire(&kept->request);
    respond_text(0, "x");
    expect_output(OK_TEXT("1", "x"));
    feed(GET("/1"));
    ck_assert_ptr_ne(exchanges[1], kept);
    ASSERT_BYTES(kept->request.http.url, "http://example.org/0");
    muster__request_release(&kept->request);
}
END_TEST

START_TEST(a_date_is_written_as_http_has_it)
{
    char date[MUSTER__HTTP_DATE_LENGTH + 1];
    muster__http_date(784111777, date);
    ck_assert_str_eq(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    muster__http_date(INT64_MAX, date);
    ck_assert_uint_eq(strlen(date), MUSTER__HTTP_DATE_LENGTH);
}
END_TEST

/* One life with all kinds of bodies, in which anything that allocates may fail. */
static void live(void)
{
    static char body[20000];
    struct muster_stream *stream = NULL;
    if (muster__http_pool_new(&options, &pool) != MUSTER_OK)
        return;
    if (muster__http_connection_new(pool, &pool, now, &connection) == MUSTER_OK) {
        feed(GET("/0") "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc" GET("/2") "POST /3 HT");
        feed("TP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        for (size_t i = 0; i < exchange_count; i++) {
            bool is_stream = i == 2 && muster_stream_new(0, &stream) == MUSTER_OK;
            respond(i, &(struct muster_http_response){.status_code = 200,
                                                      .body = {body, is_stream ? 0 : sizeof body},
                                                      .body_stream = stream});
            flush_all();
            muster_stream_release(stream);
            muster_stream_release(stream);
            stream = NULL;
        }
        if (muster__http_connection_wants_input(connection))
            feed("5\r\nhello\r\n0\r\n\r\n");
        flush_all();
        muster__http_connection_destroy(connection);
    }
    muster__http_pool_destroy(pool);
}

START_TEST(whatever_allocation_fails_every_request_ends_and_nothing_is_torn)
{
    options = (struct muster__http_options){.request_class = &request_class,
                                            .on_request = on_request,
                                            .on_gone = on_gone,
                                            .wake = wake};
    WITH_EVERY_FAILURE(grants) {
        exchange_count = settled_count = output_length = 0;
        live();
        malloc_all_granted();
        ck_assert_uint_eq(settled_count, exchange_count);
    }
    ck_assert_uint_eq(exchange_count, 4);
}
END_TEST

/* Threads: a worker settles, reads and writes elsewhere while the owner goes on. */

static void *work(void *data)
{
    struct muster__http_exchange *exchange = data;
    struct muster_stream *in = exchange->request.http.body_stream, *out;
    char bytes[999];
    size_t length = 0, written = 0;
    enum muster_status status;
    if (muster_stream_new(2000, &out) != MUSTER_OK)
        return NULL;
    muster__http_exchange_answer(
        exchange, &(struct muster_http_response){.status_code = 200, .body_stream = out}, DATE);
    muster_stream_release(out);
    atomic_store((atomic_bool *)exchange->server_data, true);
    while ((status = muster_stream_read(in, bytes, sizeof bytes, &length)) == MUSTER_PENDING ||
           (status == MUSTER_OK && length > 0)) {
        if (status == MUSTER_PENDING)
            sched_yield();
        for (size_t at = 0; status == MUSTER_OK && at < length; at += written) {
            if (muster_stream_write(out, bytes + at, length - at, &written) != MUSTER_OK)
                return NULL;
            if (written == 0)
                sched_yield();
        }
    }
    muster_stream_close(out);
    muster_stream_release(out);
    muster__request_release(&exchange->request);
    return NULL;
}

START_TEST(a_worker_on_another_thread_echoes_a_stream)
{
    enum { SIZE = 200000, PART = 5000 };
    static char part[PART];
    pthread_t thread;
    atomic_bool is_answered = false;
    bool is_ready = false;
    feed("POST / HTTP/1.1\r\n" HOST "Content-Length: 200000\r\n\r\n");
    ck_assert_uint_eq(exchange_count, 1);
    exchanges[0]->server_data = &is_answered;
    muster__request_acquire(&exchanges[0]->request);
    ck_assert_int_eq(pthread_create(&thread, NULL, work, exchanges[0]), 0);
    size_t sent = 0;
    while (!muster__http_connection_is_idle(connection)) {
        unsigned wakes = atomic_load(&wake_count);
        if (!is_ready && atomic_load(&is_answered)) {
            ck_assert_ptr_eq(muster__http_connection_answer_ready(exchanges[0], now), connection);
            is_ready = true;
        }
        muster__http_connection_resume(connection, now);
        if (sent < SIZE && muster__http_connection_wants_input(connection)) {
            memset(part, 'a' + (int)(sent / PART % 26), PART);
            muster__http_connection_feed(connection, part, PART, now);
            sent += PART;
        }
        if (flush_all() == 0 && wakes == atomic_load(&wake_count))
            sched_yield();
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(sent, SIZE);
    ck_assert_uint_gt(output_length, SIZE);
    ck_assert(memcmp(output + output_length - 5, "0\r\n\r\n", 5) == 0);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static TCase *new_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 20);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_requests(Suite *suite)
{
    TCase *tc = new_case(suite, "requests");
    tcase_add_test(tc, a_request_becomes_a_fetch_with_method_url_and_headers);
    tcase_add_test(tc, a_request_may_come_byte_by_byte);
    tcase_add_loop_test(tc, the_url_is_absolute_and_has_one_form, 0, COUNT(urls));
    tcase_add_test(tc, http_1_0_needs_no_host_and_closes_unless_it_asks_to_stay);
    tcase_add_test(tc, http_1_0_may_ask_to_stay);
    tcase_add_test(tc, connection_close_ends_the_connection_after_the_answer);
    tcase_add_test(tc, an_upgrade_that_nobody_accepts_is_an_ordinary_request);
    tcase_add_loop_test(tc, what_is_wrong_or_ambiguous_is_refused_and_nothing_behind_it_is_read, 0,
                        COUNT(refusals));
    tcase_add_test(tc, a_refusal_waits_for_the_answers_before_it);
    tcase_add_test(tc, a_head_beyond_its_limit_is_431);
    tcase_add_test(tc, too_many_headers_are_431);
    tcase_add_test(tc, many_headers_arrive_whole);
}

static void add_bodies(Suite *suite)
{
    TCase *tc = new_case(suite, "request bodies");
    tcase_add_test(tc, a_short_announced_body_comes_as_bytes_when_it_is_complete);
    tcase_add_test(tc, a_chunked_body_that_is_complete_at_once_comes_as_bytes);
    tcase_add_test(tc, a_chunked_body_in_parts_comes_as_a_stream);
    tcase_add_test(tc, a_full_stream_holds_the_client_up_until_its_reader_made_room);
    tcase_add_test(tc, a_body_that_its_reader_gave_up_is_read_and_dropped);
    tcase_add_test(tc, a_body_that_nobody_can_read_any_more_is_dropped_once_it_is_answered);
    tcase_add_test(tc, a_body_is_dropped_when_its_reader_lets_go_after_the_answer);
    tcase_add_test(tc, a_dropped_body_is_no_longer_than_others);
    tcase_add_test(tc, an_early_answer_does_not_stop_the_body);
    tcase_add_test(tc, a_streamed_body_beyond_its_limit_is_413_when_nobody_has_answered);
    tcase_add_test(tc, a_broken_body_is_400_when_nobody_has_answered);
    tcase_add_test(tc, chunk_extensions_without_end_are_refused);
    tcase_add_test(tc, trailers_without_end_are_refused);
    tcase_add_test(tc, expect_100_is_answered_before_the_body);
    tcase_add_test(tc, expect_100_is_not_answered_when_the_body_is_there_already);
    tcase_add_test(tc, expect_100_waits_for_its_place_in_line);
}

static void add_responses(Suite *suite)
{
    TCase *tc = new_case(suite, "responses");
    tcase_add_test(tc, answers_leave_in_the_order_of_the_requests_and_together);
    tcase_add_test(tc, a_deep_pipeline_waits_and_then_goes_on);
    tcase_add_test(tc, a_response_survives_being_written_byte_by_byte);
    tcase_add_test(tc, headers_are_kept_in_order_and_connection_level_ones_are_ours);
    tcase_add_test(tc, a_date_and_a_status_text_of_the_script_s_are_kept);
    tcase_add_loop_test(tc, a_response_that_http_cannot_carry_is_502, 0, COUNT(unwritable));
    tcase_add_test(tc, head_has_the_length_but_not_the_body);
    tcase_add_test(tc, head_of_a_stream_drops_the_stream);
    tcase_add_test(tc, no_content_and_not_modified_have_no_body);
    tcase_add_test(tc, a_ready_made_answer_says_what_and_when_to_retry);
    tcase_add_test(tc, a_stream_leaves_in_chunks_as_it_comes);
    tcase_add_test(tc, a_short_stream_is_one_write);
    tcase_add_test(tc, a_stream_with_a_length_needs_no_chunks);
    tcase_add_test(tc, a_stream_shorter_than_its_length_ends_the_connection);
    tcase_add_test(tc, an_aborted_stream_ends_the_connection_without_its_last_chunk);
    tcase_add_test(tc, a_stream_to_http_1_0_ends_with_the_connection);
    tcase_add_test(tc, a_slow_client_is_not_pulled_for);
    tcase_add_test(tc, a_date_is_written_as_http_has_it);
}

static void add_life(Suite *suite)
{
    TCase *tc = new_case(suite, "time, ends and memory");
    tcase_add_test(tc, a_slow_head_is_408);
    tcase_add_test(tc, a_slow_body_is_408_but_progress_buys_time);
    tcase_add_test(tc, a_slow_streamed_body_is_408_when_nobody_has_answered);
    tcase_add_test(tc, an_idle_connection_closes_without_a_word);
    tcase_add_test(tc, a_client_that_does_not_read_is_dropped);
    tcase_add_test(tc, a_half_closed_client_still_gets_its_answers);
    tcase_add_test(tc, a_half_closed_client_waits_for_a_stream_only_while_it_moves);
    tcase_add_test(tc, a_client_that_leaves_inside_its_body_aborts_the_stream);
    tcase_add_test(tc, an_exchange_outlives_its_connection);
    tcase_add_test(tc, a_stream_for_a_dead_connection_is_aborted);
    tcase_add_test(tc, draining_closes_an_idle_connection_at_once);
    tcase_add_test(tc, draining_answers_what_has_begun_and_takes_no_more);
    tcase_add_test(tc, an_exchange_is_used_again_when_nobody_holds_it);
    tcase_add_test(tc, an_exchange_that_a_worker_still_holds_is_not_used_again);
    TCase *no_memory = tcase_create("no memory");
    tcase_add_test(no_memory, whatever_allocation_fails_every_request_ends_and_nothing_is_torn);
    suite_add_tcase(suite, no_memory);
    tcase_add_test(tc, a_worker_on_another_thread_echoes_a_stream);
}

int main(void)
{
    Suite *suite = suite_create("http_connection");
    add_requests(suite);
    add_bodies(suite);
    add_responses(suite);
    add_life(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
