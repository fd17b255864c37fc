/* tests/test_engine_native.c - the suite on workers written in C, and what only they have. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/native.h"
#include "tests/engine_suite.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TABLE(...) \
    { \
        .size = sizeof(struct muster_native_worker), __VA_ARGS__ \
    }

static struct muster_bytes text_bytes(const char *text)
{
    return (struct muster_bytes){text, strlen(text)};
}

static void must(enum muster_status status)
{
    MUSTER_CHECK(status == MUSTER_OK);
}

/* ---- a timer that ends an event's hold ---- */

static void done_later(struct muster_native *worker, void *state, void *event)
{
    (void)worker;
    (void)state;
    muster_event_done(event);
}

static void hold_for(struct muster_native *worker, struct muster_event *event, uint64_t ms,
                     muster_native_timer_fn *then)
{
    must(muster_event_wait_until(event, "a while"));
    MUSTER_CHECK(muster_native_set_timer(worker, ms, false, then, event) != 0);
}

/* ---- start ---- */

static enum muster_status start_fails(struct muster_native *worker, void **ret_state,
                                      struct muster_error *error)
{
    (void)worker;
    (void)ret_state;
    muster_error_set(error, MUSTER_SCRIPT_ERROR, "boom");
    return MUSTER_SCRIPT_ERROR;
}

static const struct muster_native_worker fails_worker = TABLE(.start = start_fails);

/* ---- life cycle ---- */

static void installed(struct muster_native *worker, void *state, void *event)
{
    (void)state;
    muster_native_log(worker, MUSTER_LOG_INFO, "installed");
    muster_native_skip_waiting(worker);
    muster_event_done(event);
}

static void on_install(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    muster_native_log(worker, MUSTER_LOG_INFO, "%sing", muster_event_type(event));
    hold_for(worker, event, 10, installed);
}

static void on_activate(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)event;
    (void)state;
    muster_native_log(worker, MUSTER_LOG_INFO, "active");
}

static const struct muster_native_entry lifecycle_events[] = {{"install", on_install},
                                                              {"activate", on_activate}};
static const struct muster_native_worker lifecycle_worker =
    TABLE(.events = lifecycle_events, .event_count = COUNT(lifecycle_events));

/* ---- fetch ---- */

static void respond(struct muster_event *event, int status, const char *body)
{
    const struct muster_header headers[] = {{text_bytes("content-type"), text_bytes("text/plain")},
                                            {text_bytes("x-a"), text_bytes("1")}};
    struct muster_http_response response = {.status_code = status,
                                            .headers = headers,
                                            .header_count = 2,
                                            .body = text_bytes(body)};
    enum muster_status result = muster_event_respond(event, &response);
    MUSTER_CHECK(result == MUSTER_OK || result == MUSTER_CLOSED);
}

static void respond_with_text(struct muster_event *event, int status)
{
    const struct muster_http_request *http = muster_event_request(event);
    const char *name = "";
    size_t length = 0;
    for (size_t i = 0; i < http->header_count; i++) {
        if (http->headers[i].name.length != 6 || memcmp(http->headers[i].name.data, "X-Name", 6))
            continue;
        name = http->headers[i].value.data;
        length = http->headers[i].value.length;
    }
    char body[300];
    snprintf(body, sizeof body, "%.*s %.*s %.*s", (int)http->method.length, http->method.data,
             (int)http->url.length, http->url.data, (int)length, name);
    respond(event, status, body);
}

static void answer_later(struct muster_native *worker, void *state, void *event)
{
    (void)worker;
    (void)state;
    respond_with_text(event, 200);
    muster_event_done(event);
}

static void throw_later(struct muster_native *worker, void *state, void *event)
{
    (void)worker;
    (void)state;
    muster_event_throw(event, "Error", "boom");
    muster_event_done(event);
}

/* A body that goes through a stream, in one direction or the other; the event is held meanwhile.  The
 * worker's state lists them, for stop.  A stream's callback may come again before its post has run, so one
 * post at a time is enough, and the pipe lives until that has run. */
struct pipe {
    struct pipe *next;
    struct pipe **list;
    struct muster_native *worker;
    struct muster_event *event;
    struct muster_stream *stream;
    muster_native_timer_fn *step;
    atomic_bool posted;
    bool over;
    size_t pieces;
    size_t length; /* of the piece that is under way, or of what was read */
    char text[200];
};

static struct pipe *pipe_new(struct muster_native *worker, struct muster_event *event,
                             struct pipe **list, muster_native_timer_fn *step)
{
    struct pipe *pipe = calloc(1, sizeof *pipe);
    MUSTER_CHECK(pipe != NULL);
    pipe->worker = worker;
    pipe->event = event;
    pipe->step = step;
    pipe->list = list;
    pipe->next = *list;
    *list = pipe;
    must(muster_event_wait_until(event, "body"));
    return pipe;
}

static void pipe_free(struct pipe *pipe)
{
    struct pipe **at = pipe->list;
    while (*at != pipe)
        at = &(*at)->next;
    *at = pipe->next;
    free(pipe);
}

static void pipe_close(struct pipe *pipe)
{
    muster_stream_on_writable(pipe->stream, NULL, NULL);
    muster_stream_on_readable(pipe->stream, NULL, NULL);
    muster_stream_release(pipe->stream);
    muster_event_done(pipe->event);
    pipe->over = true;
    if (!atomic_load(&pipe->posted))
        pipe_free(pipe);
}

static void pipe_step(struct muster_native *worker, void *state, void *data)
{
    struct pipe *pipe = data;
    atomic_store(&pipe->posted, false);
    if (pipe->over)
        pipe_free(pipe);
    else
        pipe->step(worker, state, pipe);
}

/* Thread: any. */
static void pipe_wake(void *data)
{
    struct pipe *pipe = data;
    if (!atomic_exchange(&pipe->posted, true))
        must(muster_native_post(pipe->worker, pipe_step, pipe));
}

static void write_next(struct muster_native *worker, void *state, void *data)
{
    static const char *const pieces[] = {"one,", "two,", "three"};
    (void)state;
    struct pipe *pipe = data;
    size_t written = 0;
    const char *piece = pieces[pipe->pieces++];
    if (muster_stream_write(pipe->stream, piece, strlen(piece), &written) == MUSTER_OK &&
        pipe->pieces < COUNT(pieces)) {
        MUSTER_CHECK(muster_native_set_timer(worker, 5, false, write_next, pipe) != 0);
        return;
    }
    muster_stream_close(pipe->stream);
    pipe_close(pipe);
}

static void write_much(struct muster_native *worker, void *state, void *data)
{
    (void)worker;
    (void)state;
    struct pipe *pipe = data;
    char piece[1000];
    memset(piece, 'x', sizeof piece);
    while (pipe->pieces < 1000) {
        size_t written = 0;
        if (muster_stream_write(pipe->stream, piece, sizeof piece - pipe->length, &written) !=
            MUSTER_OK)
            break;
        pipe->length += written;
        if (pipe->length < sizeof piece)
            return; /* on_writable brings us back */
        pipe->length = 0;
        pipe->pieces++;
    }
    muster_stream_close(pipe->stream);
    pipe_close(pipe);
}

static void break_off(struct muster_native *worker, void *state, void *data)
{
    (void)worker;
    (void)state;
    struct pipe *pipe = data;
    muster_stream_abort(pipe->stream, MUSTER_SCRIPT_ERROR, "boom");
    pipe_close(pipe);
}

static void read_more(struct muster_native *worker, void *state, void *data)
{
    (void)worker;
    (void)state;
    struct pipe *pipe = data;
    enum muster_status status;
    size_t length = 0;
    while ((status = muster_stream_read(pipe->stream, pipe->text + pipe->length,
                                        sizeof pipe->text - 1 - pipe->length, &length)) ==
               MUSTER_OK &&
           length > 0)
        pipe->length += length;
    if (status == MUSTER_PENDING)
        return;
    if (status == MUSTER_OK)
        respond(pipe->event, 200, pipe->text);
    else
        muster_event_throw(pipe->event, "AbortError", muster_status_sentence(status));
    pipe_close(pipe);
}

static void echo_body(struct muster_native *worker, struct muster_event *event, void *state)
{
    const struct muster_http_request *http = muster_event_request(event);
    if (http->body_stream == NULL) {
        char body[100];
        snprintf(body, sizeof body, "%.*s", (int)http->body.length, http->body.data);
        respond(event, 200, body);
        return;
    }
    struct pipe *pipe = pipe_new(worker, event, state, read_more);
    pipe->stream = muster_stream_acquire(http->body_stream);
    muster_stream_on_readable(pipe->stream, pipe_wake, pipe);
    pipe_wake(pipe); /* there may be bytes already */
}

static void stream_out(struct muster_native *worker, struct muster_event *event, void *state,
                       muster_native_timer_fn *first)
{
    struct pipe *pipe = pipe_new(worker, event, state, first);
    must(muster_stream_new(0, &pipe->stream));
    struct muster_http_response response = {.status_code = 200, .body_stream = pipe->stream};
    must(muster_event_respond(event, &response));
    muster_stream_release(pipe->stream); /* the reader's reference: whoever reads acquired one */
    if (first != write_much) {
        MUSTER_CHECK(muster_native_set_timer(worker, 5, false, first, pipe) != 0);
        return;
    }
    muster_stream_on_writable(pipe->stream, pipe_wake, pipe);
    pipe_wake(pipe); /* the stream tells of changes only */
}

static void on_fetch(struct muster_native *worker, struct muster_event *event, void *state)
{
    const struct muster_http_request *http = muster_event_request(event);
    char path[100];
    size_t host_length = strlen("http://example.test");
    snprintf(path, sizeof path, "%.*s", (int)(http->url.length - host_length),
             http->url.data + host_length);
    if (strcmp(path, "/hello") == 0) {
        respond_with_text(event, 201);
    } else if (strcmp(path, "/later") == 0) {
        hold_for(worker, event, 10, answer_later);
    } else if (strcmp(path, "/throw") == 0) {
        muster_event_throw(event, NULL, "boom");
    } else if (strcmp(path, "/throw-later") == 0) {
        hold_for(worker, event, 10, throw_later);
    } else if (strcmp(path, "/stream") == 0) {
        stream_out(worker, event, state, write_next);
    } else if (strcmp(path, "/large") == 0) {
        stream_out(worker, event, state, write_much);
    } else if (strcmp(path, "/broken") == 0) {
        stream_out(worker, event, state, break_off);
    } else if (strcmp(path, "/echo") == 0) {
        echo_body(worker, event, state);
    } else if (strcmp(path, "/wait") == 0) {
        respond(event, 200, "ok");
        hold_for(worker, event, 20, done_later);
    }
}

static enum muster_status start_fetch(struct muster_native *worker, void **ret_state,
                                      struct muster_error *error)
{
    (void)worker;
    (void)error;
    *ret_state = calloc(1, sizeof(struct pipe *));
    return *ret_state != NULL ? MUSTER_OK : MUSTER_NO_MEMORY;
}

/* Events stay valid until stop returns; posts that wait are never run. */
static void stop_fetch(struct muster_native *worker, void *state)
{
    (void)worker;
    struct pipe **list = state;
    while (*list != NULL) {
        struct pipe *pipe = *list;
        if (!pipe->over) {
            atomic_store(&pipe->posted, true); /* so that nothing is posted, nor freed twice */
            muster_stream_abort(pipe->stream, MUSTER_TERMINATED, NULL);
            pipe_close(pipe);
        }
        pipe_free(pipe);
    }
    free(list);
}

static const struct muster_native_entry fetch_events[] = {{"fetch", on_fetch}};
static const struct muster_native_worker fetch_worker =
    TABLE(.start = start_fetch, .stop = stop_fetch, .events = fetch_events,
          .event_count = COUNT(fetch_events));

/* ---- other events, tokens ---- */

static void greeted(struct muster_native *worker, void *state, void *event)
{
    muster_native_log(worker, MUSTER_LOG_INFO, "done");
    done_later(worker, state, event);
}

static void on_greet(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    const struct muster_value *name = muster_value_get(muster_event_data(event), "name");
    muster_native_log(worker, MUSTER_LOG_INFO, "hello %s", muster_value_bytes(name).data);
    hold_for(worker, event, 20, greeted);
}

static void fail_now(struct muster_native *worker, void *state, void *event)
{
    muster_event_throw(event, "Error", "nope");
    done_later(worker, state, event);
}

static void on_fail(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    hold_for(worker, event, 10, fail_now);
}

static void on_throw(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    muster_event_throw(event, "Error", "boom");
}

static void on_message(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    muster_native_log(worker, MUSTER_LOG_INFO, "got %s",
                      muster_value_bytes(muster_event_data(event)).data);
}

static const struct muster_native_entry other_events[] = {
    {"greet", on_greet}, {"fail", on_fail}, {"throw", on_throw}, {"message", on_message}};
static const struct muster_native_worker events_worker =
    TABLE(.events = other_events, .event_count = COUNT(other_events));

static void drop_token(struct muster_native *worker, void *state, void *token)
{
    (void)state;
    muster_native_drop_token(worker, (uint32_t)(uintptr_t)token);
}

static void take(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)event;
    (void)state;
    uint32_t token = muster_native_take_token(worker, "upload");
    MUSTER_CHECK(token != 0);
    MUSTER_CHECK(muster_native_set_timer(worker, 10, false, drop_token,
                                         (void *)(uintptr_t)token) != 0);
}

static const struct muster_native_entry token_functions[] = {{"take", take}};
static const struct muster_native_worker tokens_worker =
    TABLE(.functions = token_functions, .function_count = COUNT(token_functions));

/* ---- timers ---- */

struct timers {
    uint32_t interval;
    int ticks;
};

static void log_text(struct muster_native *worker, void *state, void *text)
{
    (void)state;
    muster_native_log(worker, MUSTER_LOG_INFO, "%s", (const char *)text);
}

static void tick(struct muster_native *worker, void *state, void *text)
{
    struct timers *timers = state;
    log_text(worker, state, text);
    if (++timers->ticks == 3)
        muster_native_clear_timer(worker, timers->interval);
}

static enum muster_status start_timers(struct muster_native *worker, void **ret_state,
                                       struct muster_error *error)
{
    (void)error;
    struct timers *timers = calloc(1, sizeof *timers);
    if (timers == NULL)
        return MUSTER_NO_MEMORY;
    (void)muster_native_set_timer(worker, 20, false, log_text, (char *)"b");
    (void)muster_native_set_timer(worker, 10, false, log_text, (char *)"a");
    (void)muster_native_set_timer(worker, 10, false, log_text, (char *)"a2");
    muster_native_clear_timer(worker,
                              muster_native_set_timer(worker, 5, false, log_text, (char *)"no"));
    timers->interval = muster_native_set_timer(worker, 15, true, tick, (char *)"tick");
    *ret_state = timers;
    return MUSTER_OK;
}

static void stop_and_free(struct muster_native *worker, void *state)
{
    (void)worker;
    free(state);
}

static const struct muster_native_worker timers_worker =
    TABLE(.start = start_timers, .stop = stop_and_free);

static void count_up(struct muster_native *worker, void *state, void *data)
{
    (void)worker;
    (void)data;
    ++*(int *)state;
}

static enum muster_status start_many(struct muster_native *worker, void **ret_state,
                                     struct muster_error *error)
{
    (void)error;
    if ((*ret_state = calloc(1, sizeof(int))) == NULL)
        return MUSTER_NO_MEMORY;
    for (uint64_t i = 0; i < 10000; i++)
        MUSTER_CHECK(muster_native_set_timer(worker, 1 + i % 100, false, count_up, NULL) != 0);
    return MUSTER_OK;
}

static void get_count(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    muster_event_return(event, muster_value_new_number(*(int *)state));
}

static const struct muster_native_entry many_functions[] = {{"count", get_count}};
static const struct muster_native_worker many_worker =
    TABLE(.start = start_many, .stop = stop_and_free, .functions = many_functions,
          .function_count = COUNT(many_functions));

/* ---- calls ---- */

static const struct muster_value *argument(struct muster_event *event, size_t i)
{
    return muster_value_at(muster_event_data(event), i);
}

static void add(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    muster_event_return(event, muster_value_new_number(muster_value_number(argument(event, 0)) +
                                                       muster_value_number(argument(event, 1))));
}

static void echo_value(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    muster_event_return(event, muster_value_acquire(argument(event, 0)));
}

static void return_now(struct muster_native *worker, void *state, void *event)
{
    echo_value(worker, event, state);
    muster_event_done(event);
}

static void later(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    hold_for(worker, event, 10, return_now);
}

static void fail_later(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    hold_for(worker, event, 10, throw_later);
}

static const struct muster_native_entry call_functions[] = {{"add", add},
                                                            {"echo", echo_value},
                                                            {"later", later},
                                                            {"fail", on_throw},
                                                            {"fail_later", fail_later}};
static const struct muster_native_worker calls_worker =
    TABLE(.functions = call_functions, .function_count = COUNT(call_functions));

/* ---- others ---- */

static void hand_on(struct muster_native *worker, void *state, enum muster_status status,
                    const struct muster_value *value, const struct muster_error *error,
                    void *event)
{
    (void)worker;
    (void)state;
    if (status == MUSTER_OK)
        muster_event_return(event, value != NULL ? muster_value_acquire(value)
                                                 : muster_value_new_text("told"));
    else
        muster_event_throw(event, "Error", error->message);
    muster_event_done(event);
}

static void ask(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    struct muster_value *arguments = muster_value_new_array();
    must(muster_value_append(arguments, muster_value_new_number(1)));
    must(muster_value_append(arguments, muster_value_new_number(2)));
    must(muster_event_wait_until(event, "ask"));
    must(muster_native_dispatch(worker, "/other", "f", true, arguments, hand_on, event));
}

static void tell(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    must(muster_event_wait_until(event, "tell"));
    must(muster_native_dispatch(worker, "/other", "news", false, muster_value_new_text("x"),
                                hand_on, event));
}

static void nobody(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    enum muster_status status =
        muster_native_dispatch(worker, "/nobody", "f", true, NULL, hand_on, event);
    muster_event_return(event, muster_value_new_text(status == MUSTER_OK ? "worked" : "failed"));
}

static const struct muster_native_entry outgoing_functions[] = {
    {"ask", ask}, {"tell", tell}, {"nobody", nobody}};
static const struct muster_native_worker outgoing_worker =
    TABLE(.functions = outgoing_functions, .function_count = COUNT(outgoing_functions));

static const struct engine_scripts native_scripts = {
    .runtime_error = {.native = &fails_worker},
    .lifecycle = {.native = &lifecycle_worker},
    .fetch = {.native = &fetch_worker},
    .events = {.native = &events_worker},
    .tokens = {.native = &tokens_worker},
    .timers = {.native = &timers_worker},
    .many_timers = {.native = &many_worker},
    .calls = {.native = &calls_worker},
    .outgoing = {.native = &outgoing_worker},
};

/* ---- what only native workers have ---- */

static struct fake_host host;

static void set_up(void)
{
    fake_host_init(&host, &muster__engine_native);
}

static void tear_down(void)
{
    fake_host_clean_up(&host);
}

static void start(const struct muster_native_worker *table)
{
    struct fake_script script = {.native = table};
    ck_assert_int_eq(fake_host_start(&host, &script, NULL), MUSTER_OK);
}

static void answer_twice(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    struct muster_http_response response = {.status_code = 99};
    ck_assert_int_eq(muster_event_respond(event, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_event_respond(event, &response), MUSTER_INVALID_ARGUMENT);
    response.status_code = 204;
    ck_assert_int_eq(muster_event_respond(event, &response), MUSTER_OK);
    ck_assert_int_eq(muster_event_respond(event, &response), MUSTER_CLOSED);
}

START_TEST(an_event_is_answered_once)
{
    static const struct muster_native_entry events[] = {{"fetch", answer_twice}};
    static const struct muster_native_worker table = TABLE(.events = events, .event_count = 1);
    start(&table);
    struct fake_request *request = fake_fetch_new(&host, "GET", "http://e.test/", "", NULL, NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    ck_assert_int_eq(request->status_code, 204);
    ck_assert_int_eq(request->ended, 1);
}
END_TEST

START_TEST(an_event_may_give_a_value)
{
    static const struct muster_native_entry events[] = {{"get", get_count}};
    static const struct muster_native_worker table =
        TABLE(.start = start_many, .stop = stop_and_free, .events = events, .event_count = 1);
    start(&table);
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_EVENT, "get", NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    ck_assert_int_eq(request->status, MUSTER_OK);
    ck_assert_double_eq(muster_value_number(request->value), 0);
}
END_TEST

static int stop_calls;

static void count_stop(struct muster_native *worker, void *state)
{
    (void)state;
    stop_calls++;
    ck_assert_uint_eq(muster_native_set_timer(worker, 1, false, count_up, NULL), 0);
    ck_assert_uint_eq(muster_native_take_token(worker, "late"), 0);
}

START_TEST(stop_comes_once_after_a_start_that_succeeded)
{
    static const struct muster_native_worker table = TABLE(.stop = count_stop);
    static const struct muster_native_worker failing = TABLE(.start = start_fails,
                                                             .stop = count_stop);
    struct fake_script script = {.native = &failing};
    stop_calls = 0;
    start(&table);
    fake_host_clean_up(&host);
    ck_assert_int_eq(stop_calls, 1);
    set_up();
    ck_assert_int_eq(fake_host_start(&host, &script, NULL), MUSTER_SCRIPT_ERROR);
    fake_host_clean_up(&host);
    ck_assert_int_eq(stop_calls, 1);
    set_up();
}
END_TEST

START_TEST(a_table_of_another_size_is_refused)
{
    static const struct muster_native_worker table = {.size = 8};
    struct fake_script script = {.native = &table};
    struct muster_error error = {0};
    ck_assert_int_eq(fake_host_start(&host, &script, &error), MUSTER_UNSUPPORTED);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_table_of_text_is_refused)
{
    struct fake_script script = {.text = "print(1)"};
    struct muster_error error = {0};
    ck_assert_int_eq(fake_host_start(&host, &script, &error), MUSTER_UNSUPPORTED);
    muster_error_clean_up(&error);
}
END_TEST

/* ---- posts from other threads ---- */

#define POSTERS 4
#define POSTS 2000

static struct muster_native *poster_target;

static void remember(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)event;
    (void)state;
    poster_target = worker;
}

static void *post_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < POSTS; i++)
        must(muster_native_post(poster_target, count_up, NULL));
    return NULL;
}

START_TEST(posts_from_many_threads_all_run)
{
    static const struct muster_native_entry functions[] = {{"remember", remember},
                                                           {"count", get_count}};
    static const struct muster_native_worker table =
        TABLE(.start = start_many, .stop = stop_and_free, .functions = functions,
              .function_count = 2);
    pthread_t threads[POSTERS];
    start(&table);
    (void)fake_call(&host, "remember", "[]");
    for (int i = 0; i < POSTERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, NULL), 0);
    double count = 0;
    while (count < POSTERS * POSTS) {
        fake_host_wait(&host);
        count = muster_value_number(fake_call(&host, "count", "[]")->value);
    }
    for (int i = 0; i < POSTERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_double_eq(count, POSTERS * POSTS);
    fake_host_advance(&host, 0);
}
END_TEST

START_TEST(posts_that_nobody_ran_are_freed)
{
    static const struct muster_native_entry functions[] = {{"remember", remember}};
    static const struct muster_native_worker table =
        TABLE(.functions = functions, .function_count = 1);
    start(&table);
    (void)fake_call(&host, "remember", "[]");
    (void)post_many(NULL);
    fake_host_kill(&host);
}
END_TEST

/* ---- interrupts ---- */

static void interrupt_self(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)event;
    (void)state;
    muster__engine_native.vm_interrupt(host.vm); /* as another thread would, in the middle */
}

START_TEST(an_interrupt_is_seen_when_the_handler_returns)
{
    static const struct muster_native_entry events[] = {{"go", interrupt_self}};
    static const struct muster_native_worker table = TABLE(.events = events, .event_count = 1);
    start(&table);
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_EVENT, "go", NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_TERMINATED);
    ck_assert_int_eq(request->settled, 0);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_TERMINATED);
    fake_host_kill(&host);
    ck_assert_int_eq(request->status, MUSTER_TERMINATED);
}
END_TEST

static Suite *native_suite(void)
{
    Suite *suite = suite_create("native only");
    TCase *tcase = tcase_create("native only");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, an_event_is_answered_once);
    tcase_add_test(tcase, an_event_may_give_a_value);
    tcase_add_test(tcase, stop_comes_once_after_a_start_that_succeeded);
    tcase_add_test(tcase, a_table_of_another_size_is_refused);
    tcase_add_test(tcase, a_table_of_text_is_refused);
    tcase_add_test(tcase, posts_from_many_threads_all_run);
    tcase_add_test(tcase, posts_that_nobody_ran_are_freed);
    tcase_add_test(tcase, an_interrupt_is_seen_when_the_handler_returns);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    int failures = engine_suite_run(&muster__engine_native, &native_scripts);
    SRunner *runner = srunner_create(native_suite());
    srunner_run_all(runner, CK_NORMAL);
    failures += srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
