/* cli/http_connection.c - the state machine of a connection and the pool of its exchanges.
 *
 * The owner's thread, except that settling and letting go of an exchange happen anywhere (see
 * http_exchange.c).  The promises: exchanges stand in line in the order of their requests and their
 * answers leave in it; every byte of the peer's is looked at once; and what the peer can make us keep is
 * bounded: one head, one slice and one stream of a body, and as many exchanges as the pipeline is deep.
 *
 * A connection is OPEN, then FLUSHING (nothing more is read as a request; what stands in line still
 * leaves), then LINGERING when the peer may have sent what we never read (closing would reset the
 * connection and take our last answer with it), then DONE.  Forward only.
 *
 * While OPEN it reads either a head (receiving == NULL) or the body of the exchange `receiving`, which is
 * the youngest one, and need not be in line any more: its answer may have left before its body came. */
#include "cli/http_connection.h"

#include <stdlib.h>
#include <string.h>

#include "cli/http_head.h"
#include "cli/http_parser.h"

enum {
    BODY_SLICE = 16384,   /* decoded bytes that may wait when a stream is full */
    STREAM_PULL = 16384,  /* of a response stream, in one go */
    CHUNK_HEADER = 6,     /* "4000\r\n": leading zeros are allowed, a fixed place is quicker */
    CHUNK_ROOM = CHUNK_HEADER + 2 + 5, /* its end, and the last chunk */
    LINGER_US = 2 * 1000 * 1000,
};

static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
enum { INTERIM_LENGTH = sizeof interim - 1 };

enum phase { OPEN, FLUSHING, LINGERING, DONE };

struct muster__http_pool {
    struct muster__http_options options;
    struct muster__http_exchange *spare;
    size_t spare_count;
    char date[MUSTER__HTTP_DATE_LENGTH + 1];
};

struct muster__http_connection {
    struct muster__http_pool *pool;
    void *data;
    enum phase phase;
    bool is_last;    /* no request after those that have begun */
    bool is_at_eof;
    bool has_unread; /* the peer may have sent more than we read */
    bool has_output; /* the last look at the output found some */
    bool waits_for_small_body; /* `receiving` announced a short body: no stream for that */
    bool body_ended;           /* parsed to its end, but a full stream holds up the rest */
    unsigned line_length;
    int refusal; /* why the parser's events gave up */
    struct muster__http_exchange *first; /* in line */
    struct muster__http_exchange *last;
    struct muster__http_exchange *receiving;
    struct muster__http_head *head; /* while one is parsed */
    struct muster__http_parser parser;
    struct muster__http_buffer pending; /* read, and not yet parsed */
    size_t scanned;                     /* of a head in part, for muster__http_head_find */
    uint64_t body_received;
    uint64_t now_us;
    uint64_t head_since_us; /* 0: no head in part */
    uint64_t body_since_us; /* its last progress */
    uint64_t write_since_us;
    uint64_t idle_since_us;
    uint64_t linger_until_us;
};

static void take_input(struct muster__http_connection *c, const char *data, size_t length);
static void close_if_over(struct muster__http_connection *c);

/* The pool */

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if (options->field == 0)                                                                   \
            options->field = (value);                                                              \
    } while (0)

static void set_defaults(struct muster__http_options *options)
{
    DEFAULT(head_limit, 16 * 1024);
    DEFAULT(header_count_limit, 128);
    DEFAULT(body_limit, 16 * 1024 * 1024);
    DEFAULT(small_body_limit, 16 * 1024);
    DEFAULT(stream_capacity, 64 * 1024);
    DEFAULT(pipeline_depth, 16);
    DEFAULT(spare_exchanges, 256);
    DEFAULT(head_timeout_ms, 10 * 1000);
    DEFAULT(body_timeout_ms, 30 * 1000);
    DEFAULT(idle_timeout_ms, 60 * 1000);
    DEFAULT(write_timeout_ms, 30 * 1000);
    if (!options->default_authority)
        options->default_authority = "localhost";
}

enum muster_status muster__http_pool_new(const struct muster__http_options *options,
                                         struct muster__http_pool **ret_pool)
{
    MUSTER_CHECK(options->on_request && options->wake && options->request_class &&
                 options->request_class->destroy == muster__http_exchange_destroy);
    struct muster__http_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return MUSTER_NO_MEMORY;
    pool->options = *options;
    set_defaults(&pool->options);
    muster__http_date(0, pool->date);
    *ret_pool = pool;
    return MUSTER_OK;
}

void muster__http_pool_destroy(struct muster__http_pool *pool)
{
    if (!pool)
        return;
    for (struct muster__http_exchange *e; (e = pool->spare);) {
        pool->spare = e->next;
        muster__request_release(&e->request);
    }
    free(pool);
}

void muster__http_pool_set_date(struct muster__http_pool *pool, const char *date)
{
    memcpy(pool->date, date, MUSTER__HTTP_DATE_LENGTH);
}

static struct muster__http_exchange *take_exchange(struct muster__http_pool *pool)
{
    struct muster__http_exchange *e = pool->spare;
    if (e) {
        pool->spare = e->next;
        pool->spare_count--;
    } else {
        e = muster__http_exchange_new();
        if (e)
            muster__http_exchange_reset(e, pool->options.request_class);
    }
    return e;
}

/* The connection's reference ends here.  A worker that goes on with the request keeps the exchange. */
static void give_back(struct muster__http_pool *pool, struct muster__http_exchange *e)
{
    e->connection = NULL;
    bool is_ours = atomic_load_explicit(&e->request.references, memory_order_acquire) == 1;
    if (!is_ours || pool->spare_count >= pool->options.spare_exchanges) {
        muster__request_release(&e->request);
        return;
    }
    /* Now, not when it is taken again: streams must not wait for that to be let go of. */
    muster__http_exchange_reset(e, pool->options.request_class);
    muster__http_exchange_trim(e);
    e->next = pool->spare;
    pool->spare = e;
    pool->spare_count++;
}

/* Who holds an exchange: the line until it is answered, the parser until it is received. */
static void let_go_if_over(struct muster__http_connection *c, struct muster__http_exchange *e)
{
    if (e->is_answered && e->is_received)
        give_back(c->pool, e);
}

/* The line */

static void stand_in_line(struct muster__http_connection *c, struct muster__http_exchange *e)
{
    e->connection = c;
    e->next = NULL;
    if (c->last)
        c->last->next = e;
    else
        c->first = e;
    c->last = e;
    c->line_length++;
}

static struct muster__http_exchange *leave_line(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = c->first;
    c->first = e->next;
    if (!c->first)
        c->last = NULL;
    c->line_length--;
    e->next = NULL;
    return e;
}

/* Ends */

/* The writer's end of a request body. */
static void drop_body_stream(struct muster__http_exchange *e, enum muster_status status, const char *why)
{
    struct muster_stream *stream = e->body_stream;
    if (!stream)
        return;
    e->body_stream = NULL;
    muster_stream_on_writable(stream, NULL, NULL);
    if (status == MUSTER_OK)
        muster_stream_close(stream);
    else
        muster_stream_abort(stream, status, why);
    muster_stream_release(stream);
}

static void stop_receiving(struct muster__http_connection *c, enum muster_status status, const char *why)
{
    struct muster__http_exchange *e = c->receiving;
    if (!e)
        return;
    c->receiving = NULL;
    c->body_ended = false;
    c->idle_since_us = c->now_us;
    drop_body_stream(e, status, why);
    e->is_received = true;
    let_go_if_over(c, e);
}

/* The answer of an exchange in line will not leave any more. */
static void abandon(struct muster__http_connection *c, struct muster__http_exchange *e)
{
    if (e->is_dispatched && !e->is_ready && c->pool->options.on_gone)
        c->pool->options.on_gone(e, c->data);
    /* Before ready, the stream is still the settling thread's. */
    if (e->is_ready)
        muster__http_exchange_drop_answer_stream(e, MUSTER_CANCELED, "the client is gone");
    e->is_answered = true;
    let_go_if_over(c, e);
}

static void abandon_all(struct muster__http_connection *c)
{
    stop_receiving(c, MUSTER_CANCELED, "the client is gone");
    while (c->first)
        abandon(c, leave_line(c));
}

static void finish(struct muster__http_connection *c)
{
    abandon_all(c);
    muster__http_buffer_clean_up(&c->pending);
    c->phase = DONE;
    c->has_output = false;
}

/* All is written that will be. */
static void stop(struct muster__http_connection *c)
{
    bool lingers = (c->has_unread || c->receiving || c->pending.length > 0) && !c->is_at_eof;
    finish(c);
    if (lingers) {
        c->phase = LINGERING;
        c->linger_until_us = c->now_us + LINGER_US;
    }
}

static bool is_quiet(const struct muster__http_connection *c)
{
    return !c->first && !c->receiving;
}

static void close_if_over(struct muster__http_connection *c)
{
    if (c->phase == FLUSHING && !c->first)
        stop(c);
    if (c->phase == OPEN && (c->is_last || c->is_at_eof) && is_quiet(c))
        stop(c);
}

/* A ready-made answer, the last one of this connection. */
static void refuse(struct muster__http_connection *c, struct muster__http_exchange *e, int status_code)
{
    e->keep_alive = false;
    muster__http_exchange_answer_status(e, status_code, NULL, status_code == 503 ? 1 : 0, c->pool->date);
    e->is_dispatched = e->is_ready = true;
    c->phase = FLUSHING;
    c->has_unread = true;
    if (c->receiving == e)
        stop_receiving(c, MUSTER_OK, NULL);
    e->is_received = true;
}

static void refuse_head(struct muster__http_connection *c, int status_code)
{
    struct muster__http_exchange *e = take_exchange(c->pool);
    if (!e) {
        finish(c);
        return;
    }
    stand_in_line(c, e);
    refuse(c, e, status_code);
}

/* The body of `receiving` went wrong.  If its handler has not answered yet we answer in its place. */
static void refuse_body(struct muster__http_connection *c, int status_code)
{
    struct muster__http_exchange *e = c->receiving;
    if (!e->is_dispatched) {
        refuse(c, e, status_code);
        return;
    }
    c->phase = FLUSHING;
    c->has_unread = true;
    bool is_waited_for = !e->is_answered && !e->is_ready;
    muster__request_acquire(&e->request);
    stop_receiving(c, status_code == 408 ? MUSTER_TIMED_OUT : MUSTER_CANCELED,
                   muster__http_reason(status_code));
    if (is_waited_for) {
        atomic_store_explicit(&e->forced_status, status_code, memory_order_relaxed);
        (void)muster__request_fail(&e->request, MUSTER_CANCELED, muster__http_reason(status_code));
    }
    muster__request_release(&e->request);
}

/* Request bodies */

static bool is_streaming(const struct muster__http_exchange *e)
{
    return e->is_dispatched && e->body_stream;
}

/* Says how many of the bytes need no further thought: they were written, or nobody wants them. */
static size_t write_body(struct muster__http_exchange *e, const char *data, size_t length)
{
    size_t written = 0;
    if (muster_stream_write(e->body_stream, data, length, &written) == MUSTER_OK)
        return written;
    drop_body_stream(e, MUSTER_CANCELED, "its reader left");
    return length;
}

/* Its answer has left, and nobody holds the request any more who could read the rest.  That is dropped as it
 * comes, within the limit of a body, so that a client that sends all it has gets to its next request. */
static bool is_unwanted(const struct muster__http_exchange *e)
{
    return e->is_answered && is_streaming(e) &&
           atomic_load_explicit(&e->request.references, memory_order_acquire) == 1;
}

static void drop_unwanted_body(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = c->receiving;
    if (!e || !is_unwanted(e))
        return;
    drop_body_stream(e, MUSTER_CANCELED, "nobody reads it");
    e->body.length = 0;
    c->body_since_us = c->now_us;
}

static bool on_body(void *user_data, const char *data, size_t length)
{
    struct muster__http_connection *c = user_data;
    struct muster__http_exchange *e = c->receiving;
    c->body_received += length;
    c->body_since_us = c->now_us;
    if (c->body_received > c->pool->options.body_limit) {
        c->refusal = 413;
        return false;
    }
    drop_unwanted_body(c);
    if (is_streaming(e) && e->body.length == 0) {
        size_t written = write_body(e, data, length);
        data += written;
        length -= written;
    }
    if (e->is_dispatched && !e->body_stream)
        return true;
    if (muster__http_buffer_append(&e->body, data, length))
        return true;
    c->refusal = 503;
    return false;
}

static void dispatch(struct muster__http_connection *c, struct muster__http_exchange *e)
{
    e->is_dispatched = true;
    e->request.received_us = c->now_us;
    c->pool->options.on_request(e, c->data);
}

/* A full stream holds up the rest. */
static bool is_held_up(const struct muster__http_connection *c)
{
    return c->receiving && is_streaming(c->receiving) && c->receiving->body.length > 0;
}

static void hand_over_body(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = c->receiving;
    if (!e || !is_held_up(c))
        return;
    size_t written = write_body(e, e->body.data, e->body.length);
    if (written > 0)
        c->body_since_us = c->now_us;
    muster__http_buffer_consume(&e->body, written);
    if (!e->body_stream)
        e->body.length = 0;
}

static void end_body_if_over(struct muster__http_connection *c)
{
    if (c->receiving && c->body_ended && !is_held_up(c))
        stop_receiving(c, MUSTER_OK, NULL);
}

/* Too long to wait for: the handler reads it as it comes. */
static void stream_body(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = c->receiving;
    struct muster_stream *stream = NULL;
    if (muster_stream_new(c->pool->options.stream_capacity, &stream) != MUSTER_OK) {
        refuse(c, e, 503);
        return;
    }
    e->body_stream = stream;
    e->request.http.body_stream = stream;
    muster_stream_on_writable(stream, c->pool->options.wake, c->data);
    c->waits_for_small_body = false;
    dispatch(c, e);
    hand_over_body(c);
}

static void end_body(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = c->receiving;
    if (!e->is_dispatched) {
        e->request.http.body = (struct muster_bytes){e->body.data, e->body.length};
        e->is_received = true;
        c->receiving = NULL;
        dispatch(c, e);
        return;
    }
    c->body_ended = true;
    end_body_if_over(c);
}

static int status_of(const struct muster__http_connection *c, enum muster__http_parse result)
{
    switch (result) {
    case MUSTER__HTTP_PARSE_REFUSED: return c->refusal != 0 ? c->refusal : 400;
    case MUSTER__HTTP_PARSE_UNKNOWN_METHOD: return 501;
    case MUSTER__HTTP_PARSE_TOO_LARGE: return 431;
    default: return 400;
    }
}

static size_t read_body(struct muster__http_connection *c, const char *data, size_t length)
{
    size_t used = 0;
    enum muster__http_parse result = muster__http_parser_execute(
        &c->parser, data, length < BODY_SLICE ? length : BODY_SLICE, &used);
    if (result == MUSTER__HTTP_PARSE_MESSAGE_END)
        end_body(c);
    else if (result != MUSTER__HTTP_PARSE_MORE)
        refuse_body(c, status_of(c, result));
    else if (!c->receiving->is_dispatched &&
             c->receiving->body.length > c->pool->options.small_body_limit)
        stream_body(c);
    return used;
}

/* Heads */

static bool on_header_name(void *user_data, const char *data, size_t length)
{
    struct muster__http_connection *c = user_data;
    c->refusal = muster__http_head_name(c->last, data, length, c->pool->options.header_count_limit);
    return c->refusal == 0;
}

static bool on_header_value(void *user_data, const char *data, size_t length)
{
    struct muster__http_connection *c = user_data;
    c->refusal = muster__http_head_value(c->last, data, length);
    return c->refusal == 0;
}

static bool on_head_end(void *user_data, const struct muster__http_framing *framing)
{
    struct muster__http_connection *c = user_data;
    c->head->framing = *framing;
    c->refusal = muster__http_head_finish(c->last, c->head, c->pool->options.default_authority);
    return c->refusal == 0;
}

static const struct muster__http_parser_events events = {
    .on_header_name = on_header_name,
    .on_header_value = on_header_value,
    .on_head_end = on_head_end,
    .on_body = on_body,
};

/* 0, or why to refuse; *ret_has_body: more belongs to this message. */
static int read_head(struct muster__http_connection *c, struct muster__http_head *head, const char *data,
                     size_t length, bool *ret_has_body)
{
    const struct muster__http_options *options = &c->pool->options;
    struct muster__http_exchange *e = c->last;
    int status = muster__http_head_begin(e, head, data, length, options->default_authority);
    if (status != 0)
        return status;
    size_t used = 0;
    c->refusal = 0;
    c->head = head;
    muster__http_parser_init(&c->parser, &events, c, options->head_limit);
    enum muster__http_parse result =
        muster__http_parser_execute(&c->parser, e->head.data, length, &used);
    c->head = NULL;
    if (result != MUSTER__HTTP_PARSE_MORE && result != MUSTER__HTTP_PARSE_MESSAGE_END)
        return status_of(c, result);
    if (used != length || !c->parser.head_ended)
        return 400;
    *ret_has_body = result == MUSTER__HTTP_PARSE_MORE;
    return head->has_length && head->length > options->body_limit ? 413 : 0;
}

static void begin_exchange(struct muster__http_connection *c, const char *data, size_t length, bool more)
{
    struct muster__http_head head;
    struct muster__http_exchange *e = take_exchange(c->pool);
    bool has_body = false;
    if (!e) {
        finish(c);
        return;
    }
    stand_in_line(c, e);
    int status = read_head(c, &head, data, length, &has_body);
    if (status != 0) {
        refuse(c, e, status);
        return;
    }
    c->is_last |= !e->keep_alive;
    if (!has_body) {
        e->is_received = true;
        dispatch(c, e);
        return;
    }
    c->receiving = e;
    c->body_ended = false;
    c->body_received = 0;
    c->body_since_us = c->now_us;
    c->waits_for_small_body = head.has_length && head.length <= c->pool->options.small_body_limit;
    /* Who sends the body already does not wait to be asked. */
    if (head.expects_continue && !more)
        e->interim_left = INTERIM_LENGTH;
}

/* Says how many bytes it took; 0: the head is not complete, or refused. */
static size_t read_request(struct muster__http_connection *c, const char *data, size_t length)
{
    size_t limit = c->pool->options.head_limit;
    ptrdiff_t head = muster__http_head_find(data, length < limit ? length : limit, &c->scanned);
    if (head > 0) {
        c->scanned = 0;
        c->head_since_us = 0;
        begin_exchange(c, data, (size_t)head, length > (size_t)head);
        return (size_t)head;
    }
    if (head < 0)
        refuse_head(c, 400);
    else if (length >= limit)
        refuse_head(c, 431);
    return 0;
}

static bool may_begin(const struct muster__http_connection *c)
{
    return !c->is_last && c->line_length < c->pool->options.pipeline_depth;
}

static size_t skip_blank_lines(const struct muster__http_connection *c, const char *data, size_t length)
{
    size_t at = 0;
    while (c->scanned == 0 && at < length && (data[at] == '\r' || data[at] == '\n'))
        at++;
    return at;
}

/* Says how many bytes were used. */
static size_t parse(struct muster__http_connection *c, const char *data, size_t length)
{
    size_t at = 0;
    while (c->phase == OPEN) {
        if (c->receiving) {
            if (is_held_up(c) || c->body_ended || at == length)
                break;
            at += read_body(c, data + at, length - at);
            continue;
        }
        if (!may_begin(c))
            break;
        at += skip_blank_lines(c, data + at, length - at);
        size_t used = at < length ? read_request(c, data + at, length - at) : 0;
        if (used == 0)
            break;
        at += used;
    }
    if (c->phase == OPEN && c->receiving && !c->receiving->is_dispatched && !c->waits_for_small_body)
        stream_body(c);
    return at;
}

static void drop_input(struct muster__http_connection *c)
{
    c->has_unread |= c->pending.length > 0;
    muster__http_buffer_clean_up(&c->pending);
}

/* The head in part began with the first byte that waits. */
static void watch_head(struct muster__http_connection *c)
{
    bool is_partial = c->phase == OPEN && !c->receiving && may_begin(c) && c->pending.length > 0;
    if (!is_partial)
        c->head_since_us = 0;
    else if (c->head_since_us == 0)
        c->head_since_us = c->now_us;
}

static void take_input(struct muster__http_connection *c, const char *data, size_t length)
{
    struct muster__http_buffer *pending = &c->pending;
    if (pending->length > 0) {
        bool fits = muster__http_buffer_append(pending, data, length);
        size_t used = fits ? parse(c, pending->data, pending->length) : 0;
        if (!fits)
            finish(c);
        if (c->phase == OPEN)
            muster__http_buffer_consume(pending, used);
    } else {
        size_t used = parse(c, data, length);
        if (c->phase == OPEN && !muster__http_buffer_append(pending, data + used, length - used))
            finish(c);
    }
    if (c->phase != OPEN || (c->is_last && !c->receiving))
        drop_input(c);
    if (pending->length == 0)
        muster__http_buffer_clean_up(pending);
    watch_head(c);
    close_if_over(c);
}

/* Responses */

/* Reads into out.data + at until the stream has no more, or `size` bytes are there. */
static enum muster_status pull(struct muster__http_exchange *e, size_t at, size_t size, size_t *ret_length,
                               bool *ret_is_end)
{
    enum muster_status status = MUSTER_OK;
    size_t length = 0;
    while (length < size && !*ret_is_end) {
        size_t got = 0;
        status = muster_stream_read(e->answer_stream, e->out.data + at + length, size - length, &got);
        if (status != MUSTER_OK)
            break;
        *ret_is_end = got == 0;
        length += got;
    }
    *ret_length = length;
    return status == MUSTER_PENDING ? MUSTER_OK : status;
}

static void put_chunk_header(char *to, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 4; i++)
        to[i] = digits[(length >> (12 - 4 * i)) & 15];
    memcpy(to + 4, "\r\n", 2);
}

/* The response cannot be completed: the client must see that it is not. */
static void break_off(struct muster__http_exchange *e)
{
    muster__http_exchange_drop_answer_stream(e, MUSTER_CANCELED, "the response ended early");
    e->closes = true;
}

static void end_stream(struct muster__http_exchange *e)
{
    if (e->is_chunked)
        MUSTER_CHECK(muster__http_buffer_append(&e->out, "0\r\n\r\n", 5));
    if (e->is_limited && e->answer_left > 0)
        e->closes = true;
    muster__http_exchange_drop_answer_stream(e, MUSTER_CANCELED, "the response is complete");
}

static void pull_answer(struct muster__http_exchange *e)
{
    if (e->out_offset == e->out.length)
        e->out_offset = e->out.length = 0;
    if (e->is_limited && e->answer_left == 0) {
        end_stream(e);
        return;
    }
    if (e->out.length - e->out_offset >= STREAM_PULL)
        return; /* the client is slower than the stream */
    muster__http_buffer_consume(&e->out, e->out_offset);
    e->out_offset = 0;
    if (!muster__http_buffer_reserve(&e->out, STREAM_PULL + CHUNK_ROOM)) {
        break_off(e);
        return;
    }
    size_t size = e->is_limited && e->answer_left < STREAM_PULL ? (size_t)e->answer_left : STREAM_PULL;
    size_t at = e->out.length + (e->is_chunked ? CHUNK_HEADER : 0), length = 0;
    bool is_end = false;
    enum muster_status status = pull(e, at, size, &length, &is_end);
    if (length > 0 && e->is_chunked) {
        put_chunk_header(e->out.data + e->out.length, length);
        memcpy(e->out.data + at + length, "\r\n", 2);
        e->out.length += CHUNK_HEADER + length + 2;
    } else {
        e->out.length += length;
    }
    if (e->is_limited)
        e->answer_left -= length;
    if (status != MUSTER_OK)
        break_off(e);
    else if (is_end || (e->is_limited && e->answer_left == 0))
        end_stream(e);
}

static void end_answer(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = leave_line(c);
    bool closes = e->closes;
    e->is_answered = true;
    c->idle_since_us = c->now_us;
    let_go_if_over(c, e);
    if (closes)
        stop(c);
}

static bool is_written(const struct muster__http_exchange *e)
{
    return e->is_ready && e->interim_left == 0 && !e->answer_stream && e->out_offset == e->out.length;
}

/* Pulls for whose turn it is; lets it go, and says true, when it turns out to have nothing left. */
static bool advance_line(struct muster__http_connection *c)
{
    struct muster__http_exchange *e = c->first;
    if (!e || !e->is_ready)
        return false;
    if (e->answer_stream)
        pull_answer(e);
    if (!is_written(e))
        return false;
    end_answer(c);
    return true;
}

/* Room in the line, or in a stream: what waited may go on. */
static void go_on(struct muster__http_connection *c)
{
    if (c->phase == OPEN) {
        drop_unwanted_body(c);
        hand_over_body(c);
        end_body_if_over(c);
        take_input(c, "", 0);
    }
    close_if_over(c);
}

static size_t add_span(struct iovec *spans, const char *data, size_t length)
{
    if (length == 0)
        return 0;
    spans[0] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
    return 1;
}

size_t muster__http_connection_output(struct muster__http_connection *c, struct iovec *spans, size_t size,
                                      uint64_t now_us)
{
    size_t count = 0;
    c->now_us = now_us;
    while (advance_line(c))
        go_on(c);
    for (struct muster__http_exchange *e = c->first; e && count + 2 <= size; e = e->next) {
        count += add_span(spans + count, interim + (INTERIM_LENGTH - e->interim_left), e->interim_left);
        if (!e->is_ready)
            break;
        if (e->answer_stream && e != c->first) /* for that one advance_line did it */
            pull_answer(e);
        count += add_span(spans + count, e->out.data + e->out_offset, e->out.length - e->out_offset);
        if (e->answer_stream || e->closes)
            break;
    }
    if (count > 0 && !c->has_output)
        c->write_since_us = now_us;
    c->has_output = count > 0;
    return count;
}

static size_t count_written(struct muster__http_exchange *e, size_t length)
{
    size_t part = length < e->interim_left ? length : e->interim_left;
    e->interim_left = (uint8_t)(e->interim_left - part);
    size_t rest = length - part;
    if (!e->is_ready)
        return part;
    size_t left = e->out.length - e->out_offset;
    size_t of_answer = rest < left ? rest : left;
    e->out_offset += of_answer;
    return part + of_answer;
}

void muster__http_connection_wrote(struct muster__http_connection *c, size_t length, uint64_t now_us)
{
    c->now_us = now_us;
    c->write_since_us = now_us;
    while (length > 0 && c->first) {
        size_t counted = count_written(c->first, length);
        length -= counted;
        if (is_written(c->first))
            end_answer(c);
        else if (counted == 0)
            break;
    }
    MUSTER_CHECK(length == 0 || c->phase > FLUSHING);
    c->has_output = c->first && (c->first->interim_left > 0 ||
                                 (c->first->is_ready && c->first->out_offset < c->first->out.length));
    go_on(c);
}

struct muster__http_connection *
muster__http_connection_answer_ready(struct muster__http_exchange *e, uint64_t now_us)
{
    struct muster__http_connection *c = e->connection;
    if (!c || e->is_answered) {
        muster__http_exchange_drop_answer_stream(e, MUSTER_CANCELED, "the client is gone");
        return NULL;
    }
    MUSTER_CHECK(e->is_dispatched && !e->is_ready && e->out.length > 0);
    c->now_us = now_us;
    e->is_ready = true;
    if (e->answer_stream && e->is_limited && e->answer_left == 0)
        muster__http_exchange_drop_answer_stream(e, MUSTER_CANCELED, "no body is wanted");
    if (e->answer_stream)
        muster_stream_on_readable(e->answer_stream, c->pool->options.wake, c->data);
    return c;
}

/* Life */

enum muster_status muster__http_connection_new(struct muster__http_pool *pool, void *data, uint64_t now_us,
                                               struct muster__http_connection **ret_connection)
{
    struct muster__http_connection *c = calloc(1, sizeof *c);
    if (!c)
        return MUSTER_NO_MEMORY;
    c->pool = pool;
    c->data = data;
    c->now_us = c->idle_since_us = now_us;
    *ret_connection = c;
    return MUSTER_OK;
}

void muster__http_connection_destroy(struct muster__http_connection *c)
{
    if (!c)
        return;
    finish(c);
    free(c);
}

void muster__http_connection_feed(struct muster__http_connection *c, const char *data, size_t length,
                                  uint64_t now_us)
{
    c->now_us = now_us;
    if (c->phase == OPEN)
        take_input(c, data, length);
}

void muster__http_connection_eof(struct muster__http_connection *c, uint64_t now_us)
{
    c->now_us = now_us;
    if (!c->is_at_eof && !c->has_output)
        c->write_since_us = now_us;
    c->is_at_eof = true;
    if (c->phase == LINGERING)
        c->phase = DONE;
    else if (c->phase == OPEN && c->receiving && !c->body_ended && c->pending.length == 0)
        refuse_body(c, 400);
    close_if_over(c);
}

void muster__http_connection_resume(struct muster__http_connection *c, uint64_t now_us)
{
    c->now_us = now_us;
    go_on(c);
    if (c->phase == OPEN && c->is_at_eof)
        muster__http_connection_eof(c, now_us);
}

void muster__http_connection_drain(struct muster__http_connection *c, uint64_t now_us)
{
    c->now_us = now_us;
    c->is_last = true;
    if (c->phase == OPEN && !c->receiving)
        drop_input(c);
    watch_head(c);
    close_if_over(c);
}

/* Time */

static uint64_t after(uint64_t since_us, uint64_t ms)
{
    return since_us + ms * 1000;
}

/* The peer sends no more, and its streamed answer does not move.  Whether it is gone for good, only bytes on
 * their way to it would tell. */
static bool waits_in_vain(const struct muster__http_connection *c)
{
    return c->is_at_eof && !c->has_output && c->first && c->first->is_ready && c->first->answer_stream;
}

/* Whether we wait for bytes of a body; or, with its answer gone, for a reader of what came. */
static bool waits_for_body(const struct muster__http_connection *c)
{
    return c->receiving && (!is_held_up(c) || c->receiving->is_answered);
}

bool muster__http_connection_is_idle(const struct muster__http_connection *c)
{
    return c->phase == OPEN && is_quiet(c) && c->pending.length == 0;
}

uint64_t muster__http_connection_deadline(const struct muster__http_connection *c)
{
    const struct muster__http_options *options = &c->pool->options;
    uint64_t deadline = UINT64_MAX, at;
    if (c->phase == DONE)
        return UINT64_MAX;
    if (c->phase == LINGERING)
        return c->linger_until_us;
    if (c->head_since_us != 0 && (at = after(c->head_since_us, options->head_timeout_ms)) < deadline)
        deadline = at;
    if (waits_for_body(c) && (at = after(c->body_since_us, options->body_timeout_ms)) < deadline)
        deadline = at;
    if (is_held_up(c) && is_unwanted(c->receiving)) /* at once: nobody tells us when it is let go of */
        return c->body_since_us;
    if ((c->has_output || waits_in_vain(c)) &&
        (at = after(c->write_since_us, options->write_timeout_ms)) < deadline)
        deadline = at;
    if (muster__http_connection_is_idle(c) &&
        (at = after(c->idle_since_us, options->idle_timeout_ms)) < deadline)
        deadline = at;
    return deadline;
}

void muster__http_connection_tick(struct muster__http_connection *c, uint64_t now_us)
{
    const struct muster__http_options *options = &c->pool->options;
    c->now_us = now_us;
    if (c->phase == DONE || muster__http_connection_deadline(c) > now_us)
        return;
    if (c->phase == LINGERING || muster__http_connection_is_idle(c))
        finish(c);
    else if ((c->has_output || waits_in_vain(c)) &&
             after(c->write_since_us, options->write_timeout_ms) <= now_us)
        finish(c);
    else if (c->head_since_us != 0 && after(c->head_since_us, options->head_timeout_ms) <= now_us)
        refuse_head(c, 408);
    else if (c->phase == OPEN && is_held_up(c) && is_unwanted(c->receiving))
        go_on(c);
    else if (c->phase == OPEN && waits_for_body(c))
        refuse_body(c, 408);
    watch_head(c);
    close_if_over(c);
}

/* Questions */

bool muster__http_connection_wants_input(const struct muster__http_connection *c)
{
    if (c->phase != OPEN || c->is_at_eof)
        return c->phase == LINGERING;
    if (c->receiving)
        return !is_held_up(c);
    return may_begin(c);
}

bool muster__http_connection_wants_shutdown(const struct muster__http_connection *c)
{
    return c->phase == LINGERING;
}

bool muster__http_connection_is_done(const struct muster__http_connection *c)
{
    return c->phase == DONE;
}

void *muster__http_connection_data(const struct muster__http_connection *c)
{
    return c->data;
}
