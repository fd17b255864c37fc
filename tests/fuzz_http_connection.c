/* tests/fuzz_http_connection.c - a client that sends anything, in any pieces.
 *
 * libFuzzer target.  The input is a row of steps: each begins with a byte that says what happens next, and
 * feeds bring their bytes along.  Whatever comes, the connection must keep its promises: the answers leave
 * in order, each request is seen once, nothing is touched after its end (the sanitizers see to that), and
 * what was parsed of a head holds together. */
#include <stdlib.h>
#include <string.h>

#include "cli/http_connection.h"

#define DATE "Sat, 01 Jan 2000 00:00:00 GMT"

enum { MAX_WAITING = 32 };

static struct muster__http_exchange *waiting[MAX_WAITING];
static size_t waiting_count;
static struct muster_stream *writing; /* the writer's end of one response */
static uint64_t now_us;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster__http_exchange *e = (struct muster__http_exchange *)request;
    if (outcome->status == MUSTER_OK)
        muster__http_exchange_answer(e, outcome->response, DATE);
    else
        muster__http_exchange_answer_status(e, muster__http_status_of(outcome->status), "why", 0, DATE);
    muster__http_connection_answer_ready(e, now_us);
}

static const struct muster__request_class request_class = {.settled = on_settled,
                                                           .destroy = muster__http_exchange_destroy};

static void check_request(const struct muster_http_request *http)
{
    MUSTER_CHECK(muster__http_is_token(http->method));
    MUSTER_CHECK(http->url.length >= 9 && memcmp(http->url.data, "http://", 7) == 0);
    MUSTER_CHECK(memchr(http->url.data + 7, '/', http->url.length - 7) != NULL);
    MUSTER_CHECK(!memchr(http->url.data, ' ', http->url.length));
    for (size_t i = 0; i < http->header_count; i++)
        MUSTER_CHECK(muster__http_is_token(http->headers[i].name) &&
                     muster__http_is_field_text(http->headers[i].value));
}

static void on_request(struct muster__http_exchange *e, void *data)
{
    (void)data;
    check_request(&e->request.http);
    MUSTER_CHECK(waiting_count < MAX_WAITING);
    muster__request_acquire(&e->request);
    waiting[waiting_count++] = e;
}

static void wake(void *data)
{
    (void)data;
}

static void stop_writing(void)
{
    if (writing)
        muster_stream_close(writing);
    muster_stream_release(writing);
    writing = NULL;
}

static void respond(uint8_t how)
{
    struct muster_header header = {{"content-length", 14}, {"3", 1}};
    struct muster_http_response response = {.status_code = how & 1 ? 200 : 204, .body = {"abc", 3}};
    if (waiting_count == 0)
        return;
    size_t i = how % waiting_count;
    struct muster__http_exchange *e = waiting[i];
    waiting[i] = waiting[--waiting_count];
    if (how & 2) {
        stop_writing();
        response.body = (struct muster_bytes){NULL, 0};
        if (muster_stream_new(how, &response.body_stream) == MUSTER_OK)
            writing = muster_stream_acquire(response.body_stream);
    }
    if (how & 4) {
        response.headers = &header;
        response.header_count = 1;
    }
    struct muster__outcome outcome = {.status = how & 8 ? MUSTER_REJECTED : MUSTER_OK,
                                      .response = &response};
    muster__request_settle(&e->request, &outcome);
    muster__request_release(&e->request);
    if (response.body_stream) {
        if (how & 8)
            stop_writing();
        muster_stream_release(response.body_stream);
        muster_stream_release(response.body_stream);
    }
}

static void read_bodies(uint8_t size)
{
    char bytes[256];
    size_t length;
    for (size_t i = 0; i < waiting_count; i++)
        if (waiting[i]->request.http.body_stream)
            (void)!muster_stream_read(waiting[i]->request.http.body_stream, bytes, (size_t)size + 1,
                                      &length);
}

static void write_out(struct muster__http_connection *c, uint8_t limit)
{
    struct iovec spans[4];
    size_t count = muster__http_connection_output(c, spans, 4, now_us), length = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < spans[i].iov_len; j++)
            MUSTER_CHECK(((char *)spans[i].iov_base)[j] != '\0');
    for (size_t i = 0; i < count; i++)
        length += spans[i].iov_len;
    if (limit < 200 && length > limit)
        length = limit;
    if (count > 0)
        muster__http_connection_wrote(c, length, now_us);
}

static void step(struct muster__http_connection *c, uint8_t what, uint8_t how)
{
    size_t written;
    switch (what) {
    case 0: respond(how); break;
    case 1: write_out(c, how); break;
    case 2: read_bodies(how); break;
    case 3:
        if (writing)
            (void)!muster_stream_write(writing, "0123456789", how % 11, &written);
        break;
    case 4: stop_writing(); break;
    case 5: muster__http_connection_resume(c, now_us); break;
    case 6:
        now_us += (uint64_t)how * 1000 * 1000;
        muster__http_connection_tick(c, now_us);
        break;
    case 7:
        if (waiting_count > 0 && waiting[0]->request.http.body_stream)
            muster_stream_abort(waiting[0]->request.http.body_stream, MUSTER_CANCELED, "enough");
        break;
    case 8:
        if (how > 200)
            muster__http_connection_eof(c, now_us);
        break;
    case 9:
        if (how > 200)
            muster__http_connection_drain(c, now_us);
        break;
    default: break;
    }
    uint64_t deadline = muster__http_connection_deadline(c);
    MUSTER_CHECK(deadline > 0);
    (void)muster__http_connection_wants_input(c);
}

static void run(struct muster__http_connection *c, const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 2 <= size;) {
        uint8_t what = data[at] & 15, how = data[at + 1];
        size_t feed = what >= 10 ? (size_t)how + 256 * (size_t)(what - 10) : 0;
        at += 2;
        if (feed > size - at)
            feed = size - at;
        if (feed > 0 && muster__http_connection_wants_input(c)) {
            /* In memory of its own, so that reading past the piece is seen, and so is keeping it. */
            char *piece = malloc(feed);
            MUSTER_CHECK(piece != NULL);
            memcpy(piece, data + at, feed);
            muster__http_connection_feed(c, piece, feed, now_us);
            free(piece);
        }
        at += feed;
        step(c, what, how);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct muster__http_options options = {.head_limit = 512,
                                           .header_count_limit = 8,
                                           .body_limit = 600,
                                           .small_body_limit = 16,
                                           .stream_capacity = 32,
                                           .pipeline_depth = 3,
                                           .spare_exchanges = 2,
                                           .request_class = &request_class,
                                           .on_request = on_request,
                                           .wake = wake};
    struct muster__http_pool *pool = NULL;
    struct muster__http_connection *c = NULL;
    now_us = 1;
    if (muster__http_pool_new(&options, &pool) != MUSTER_OK ||
        muster__http_connection_new(pool, NULL, now_us, &c) != MUSTER_OK)
        abort();
    run(c, data, size);
    /* Some of the work outlives the connection, some does not. */
    if (size % 2)
        while (waiting_count > 0)
            respond((uint8_t)waiting_count);
    muster__http_connection_destroy(c);
    while (waiting_count > 0)
        respond((uint8_t)(waiting_count * 7));
    stop_writing();
    muster__http_pool_destroy(pool);
    return 0;
}
