/* tests/engine_suite.c - see the header. */
#include "tests/engine_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct muster__engine *engine;
static const struct engine_scripts *scripts;
static struct fake_host host;

static void set_up(void)
{
    fake_host_init(&host, engine);
}

static void tear_down(void)
{
    fake_host_clean_up(&host);
}

static void start(const struct fake_script *script)
{
    struct muster_error error = {0};
    enum muster_status status = fake_host_start(&host, script, &error);
    ck_assert_msg(status == MUSTER_OK, "start: %s: %s", muster_status_name(status),
                  error.message != NULL ? error.message : "");
}

static void assert_settled(const struct fake_request *request, enum muster_status status)
{
    ck_assert_int_eq(request->settled, 1);
    ck_assert_msg(request->status == status, "settled %s (%s), not %s",
                  muster_status_name(request->status),
                  request->error.message != NULL ? request->error.message : "",
                  muster_status_name(status));
}

static void assert_ended(const struct fake_request *request, enum muster_status status)
{
    assert_settled(request, status);
    ck_assert_int_eq(request->ended, 1);
}

static void assert_contains(const char *text, const char *part)
{
    ck_assert_msg(text != NULL && strstr(text, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  text != NULL ? text : "(null)");
}

static struct fake_request *fetch(const char *path)
{
    char url[200];
    snprintf(url, sizeof url, "http://example.test%s", path);
    struct fake_request *request =
        fake_fetch_new(&host, "GET", url, "Accept: */*\nX-Name: ada\n", NULL, NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    return request;
}

static struct fake_request *send_event(enum muster__request_kind kind, const char *name,
                                       const char *json)
{
    struct muster_value *data = NULL;
    if (json != NULL)
        ck_assert_int_eq(muster_value_from_json(json, strlen(json), &data, NULL), MUSTER_OK);
    struct fake_request *request = fake_request_new(&host, kind, name, data);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    return request;
}

static void assert_json(const struct muster_value *value, const char *expected)
{
    char *json = muster_value_to_json(value);
    ck_assert_str_eq(json, expected);
    free(json);
}

/* ---- start ---- */

static void assert_place(const struct muster_error *error, int line)
{
    assert_contains(error->file, "file:///app/worker");
    ck_assert_int_eq(error->line, line);
}

START_TEST(a_syntax_error_names_its_place)
{
    struct muster_error error = {0};
    ck_assert_int_eq(fake_host_start(&host, &scripts->syntax_error, &error), MUSTER_SYNTAX_ERROR);
    ck_assert_ptr_nonnull(error.message);
    assert_place(&error, scripts->syntax_error.error_line);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(an_error_while_the_script_starts_names_its_place)
{
    struct muster_error error = {0};
    ck_assert_int_eq(fake_host_start(&host, &scripts->runtime_error, &error), MUSTER_SCRIPT_ERROR);
    assert_contains(error.message, "boom");
    if (scripts->runtime_error.error_line > 0) {
        assert_place(&error, scripts->runtime_error.error_line);
        ck_assert_ptr_nonnull(error.stack);
    }
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(install_waits_for_what_extends_it_and_activate_follows)
{
    start(&scripts->lifecycle);
    struct fake_request *install = send_event(MUSTER__REQUEST_LIFECYCLE, "install", NULL);
    ck_assert_int_eq(install->settled, 0);
    ck_assert_str_eq(host.console, "info installing\n");
    fake_host_advance(&host, 10);
    assert_ended(install, MUSTER_OK);
    ck_assert_int_eq(host.skip_waiting_count, 1);
    struct fake_request *activate = send_event(MUSTER__REQUEST_LIFECYCLE, "activate", NULL);
    fake_host_advance(&host, 0);
    assert_ended(activate, MUSTER_OK);
    ck_assert_str_eq(host.console, "info installing\ninfo installed\ninfo active\n");
}
END_TEST

START_TEST(handles_knows_what_the_script_listens_for)
{
    start(&scripts->lifecycle);
    ck_assert(engine->handles(host.realm, "install"));
    ck_assert(!engine->handles(host.realm, "fetch"));
}
END_TEST

/* ---- fetch ---- */

START_TEST(a_fetch_is_answered_within_its_turn)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/hello");
    assert_ended(request, MUSTER_OK);
    ck_assert_int_eq(request->status_code, 201);
    ck_assert_str_eq(request->body, "GET http://example.test/hello ada");
    assert_contains(request->headers, "content-type: text/plain\n");
    assert_contains(request->headers, "x-a: 1\n");
}
END_TEST

START_TEST(a_fetch_is_answered_later)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/later");
    ck_assert_int_eq(request->settled, 0);
    fake_host_advance(&host, 9);
    ck_assert_int_eq(request->settled, 0);
    fake_host_advance(&host, 1);
    assert_ended(request, MUSTER_OK);
    ck_assert_int_eq(request->status_code, 200);
    ck_assert_str_eq(request->body, "GET http://example.test/later ada");
}
END_TEST

START_TEST(an_answer_streams_and_ends_after_its_body)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/stream");
    fake_host_advance(&host, 0);
    assert_settled(request, MUSTER_OK);
    ck_assert_int_eq(request->ended, 0);
    ck_assert_ptr_nonnull(request->stream);
    ck_assert_int_eq(fake_read_stream(&host, request), MUSTER_OK);
    ck_assert_str_eq(request->body, "one,two,three");
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_OK);
}
END_TEST

START_TEST(a_large_answer_waits_for_its_reader)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/large");
    fake_host_advance(&host, 0);
    assert_settled(request, MUSTER_OK);
    ck_assert_uint_le(muster_stream_buffered(request->stream), 128 * 1024);
    ck_assert_int_eq(fake_read_stream(&host, request), MUSTER_OK);
    ck_assert_uint_eq(request->body_length, 1000000);
    ck_assert_uint_eq(strspn(request->body, "x"), 1000000);
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_OK);
}
END_TEST

START_TEST(a_reader_that_leaves_ends_the_body)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/large");
    fake_host_advance(&host, 0);
    assert_settled(request, MUSTER_OK);
    muster_stream_abort(request->stream, MUSTER_CANCELED, "the client left");
    fake_host_advance(&host, 100);
    assert_ended(request, MUSTER_OK);
}
END_TEST

START_TEST(a_body_that_fails_is_cut_off_with_an_error)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/broken");
    fake_host_advance(&host, 0);
    assert_settled(request, MUSTER_OK);
    ck_assert_int_ne(fake_read_stream(&host, request), MUSTER_OK);
    fake_host_advance(&host, 10);
    assert_ended(request, MUSTER_OK);
}
END_TEST

START_TEST(a_body_that_is_there_comes_back)
{
    start(&scripts->fetch);
    struct fake_request *request =
        fake_fetch_new(&host, "POST", "http://example.test/echo", "", "some bytes", NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_OK);
    ck_assert_str_eq(request->body, "some bytes");
}
END_TEST

static void write_all(struct muster_stream *stream, const char *text)
{
    size_t written = 0;
    ck_assert_int_eq(muster_stream_write(stream, text, strlen(text), &written), MUSTER_OK);
    ck_assert_uint_eq(written, strlen(text));
}

static struct fake_request *post_stream(struct muster_stream *stream)
{
    struct fake_request *request =
        fake_fetch_new(&host, "POST", "http://example.test/echo", "", NULL, stream);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    return request;
}

START_TEST(a_streamed_request_body_is_waited_for)
{
    struct muster_stream *stream = NULL;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    start(&scripts->fetch);
    write_all(stream, "first ");
    struct fake_request *request = post_stream(stream);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->settled, 0);
    write_all(stream, "second");
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->settled, 0);
    muster_stream_close(stream);
    fake_host_advance(&host, 10);
    assert_ended(request, MUSTER_OK);
    ck_assert_str_eq(request->body, "first second");
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

static void *write_from_a_thread(void *stream)
{
    write_all(stream, "from afar");
    muster_stream_close(stream);
    return NULL;
}

START_TEST(a_request_body_comes_from_another_thread)
{
    struct muster_stream *stream = NULL;
    pthread_t thread;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    start(&scripts->fetch);
    struct fake_request *request = post_stream(stream);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_from_a_thread, stream), 0);
    while (request->settled == 0)
        fake_host_wait(&host);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_OK);
    ck_assert_str_eq(request->body, "from afar");
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_request_body_that_breaks_off_is_an_error)
{
    struct muster_stream *stream = NULL;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    start(&scripts->fetch);
    struct fake_request *request = post_stream(stream);
    muster_stream_abort(stream, MUSTER_CANCELED, "the client left");
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->settled, 1);
    ck_assert_int_ne(request->status, MUSTER_OK);
    ck_assert_int_eq(request->ended, 1);
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_fetch_that_nobody_answers_passes)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/pass");
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_PASSED);
}
END_TEST

START_TEST(a_fetch_that_nobody_listens_for_passes)
{
    start(&scripts->lifecycle);
    struct fake_request *request = fetch("/hello");
    assert_ended(request, MUSTER_PASSED);
}
END_TEST

START_TEST(a_handler_that_throws_settles_with_its_error)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/throw");
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_SCRIPT_ERROR);
    assert_contains(request->error.message, "boom");
    ck_assert_uint_eq(host.report_count, 1);
}
END_TEST

START_TEST(a_handler_that_throws_later_settles_with_its_error)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/throw-later");
    ck_assert_int_eq(request->settled, 0);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->settled, 1);
    ck_assert(request->status == MUSTER_SCRIPT_ERROR || request->status == MUSTER_REJECTED);
    assert_contains(request->error.message, "boom");
    ck_assert_int_eq(request->ended, 1);
}
END_TEST

START_TEST(an_answer_that_is_no_response_is_told_apart)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/bad");
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_BAD_RESPONSE);
}
END_TEST

START_TEST(an_answered_fetch_is_kept_open_by_wait_until)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/wait");
    fake_host_advance(&host, 0);
    assert_settled(request, MUSTER_OK);
    ck_assert_str_eq(request->body, "ok");
    ck_assert_int_eq(request->ended, 0);
    fake_host_advance(&host, 20);
    assert_ended(request, MUSTER_OK);
}
END_TEST

START_TEST(a_canceled_fetch_ends_without_a_second_settlement)
{
    start(&scripts->fetch);
    struct fake_request *request = fetch("/later");
    muster__request_fail(&request->request, MUSTER_CANCELED, NULL);
    ck_assert_int_eq(engine->cancel(host.realm, &request->request), MUSTER_OK);
    fake_host_advance(&host, 10);
    assert_ended(request, MUSTER_CANCELED);
}
END_TEST

START_TEST(many_fetches_wait_side_by_side)
{
    struct fake_request *requests[100];
    start(&scripts->fetch);
    for (int i = 0; i < 100; i++)
        requests[i] = fetch("/later");
    fake_host_advance(&host, 10);
    for (int i = 0; i < 100; i++)
        assert_ended(requests[i], MUSTER_OK);
}
END_TEST

/* ---- other events ---- */

START_TEST(an_event_lasts_as_long_as_it_is_extended)
{
    start(&scripts->events);
    struct fake_request *request = send_event(MUSTER__REQUEST_EVENT, "greet", "{\"name\":\"ada\"}");
    fake_host_advance(&host, 19);
    ck_assert_int_eq(request->settled, 0);
    ck_assert_str_eq(host.console, "info hello ada\n");
    fake_host_advance(&host, 1);
    assert_ended(request, MUSTER_OK);
    ck_assert_str_eq(host.console, "info hello ada\ninfo done\n");
}
END_TEST

START_TEST(an_extension_that_fails_rejects_the_event)
{
    start(&scripts->events);
    struct fake_request *request = send_event(MUSTER__REQUEST_EVENT, "fail", NULL);
    fake_host_advance(&host, 10);
    assert_ended(request, MUSTER_REJECTED);
    assert_contains(request->error.message, "nope");
}
END_TEST

START_TEST(an_event_handler_that_throws_is_reported)
{
    start(&scripts->events);
    struct fake_request *request = send_event(MUSTER__REQUEST_EVENT, "throw", NULL);
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_SCRIPT_ERROR);
    assert_contains(request->error.message, "boom");
    ck_assert_uint_eq(host.report_count, 1);
}
END_TEST

START_TEST(an_event_that_nobody_listens_for_passes)
{
    start(&scripts->events);
    assert_ended(send_event(MUSTER__REQUEST_EVENT, "unheard-of", NULL), MUSTER_PASSED);
}
END_TEST

START_TEST(a_message_brings_its_data)
{
    start(&scripts->events);
    struct fake_request *request = send_event(MUSTER__REQUEST_MESSAGE, "message", "\"news\"");
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_OK);
    ck_assert_str_eq(host.console, "info got news\n");
}
END_TEST

START_TEST(a_token_is_held_by_its_name_until_it_is_dropped)
{
    start(&scripts->tokens);
    struct fake_request *request = fake_call(&host, "take", "[]");
    assert_ended(request, MUSTER_OK);
    ck_assert(fake_host_has_token(&host, "upload"));
    fake_host_advance(&host, 10);
    ck_assert_uint_eq(fake_host_open_tokens(&host), 0);
}
END_TEST

/* ---- timers ---- */

START_TEST(timers_fire_in_order_and_can_be_cleared)
{
    start(&scripts->timers);
    fake_host_advance(&host, 9);
    ck_assert_str_eq(host.console, "");
    fake_host_advance(&host, 91);
    ck_assert_str_eq(host.console, "info a\ninfo a2\ninfo tick\ninfo b\ninfo tick\ninfo tick\n");
    ck_assert_uint_eq(host.timer_count, 0);
}
END_TEST

START_TEST(ten_thousand_timers_are_pending_at_once)
{
    start(&scripts->many_timers);
    ck_assert_uint_eq(host.timer_count, 10000);
    fake_host_advance(&host, 50);
    assert_json(fake_call(&host, "count", "[]")->value, "5000");
    fake_host_advance(&host, 50);
    assert_json(fake_call(&host, "count", "[]")->value, "10000");
}
END_TEST

/* ---- calls ---- */

START_TEST(a_function_is_called_by_name_and_gives_its_result)
{
    start(&scripts->calls);
    struct fake_request *request = fake_call(&host, "add", "[2, 3]");
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "5");
}
END_TEST

START_TEST(values_come_back_from_a_call_as_they_went)
{
    static const char json[] =
        "[{\"a\":[1,2.5,\"\\u00e9\",true],\"b\":{},\"c\":[],\"d\":[[],[[1]]]}]";
    static const char back[] = "{\"a\":[1,2.5,\"\303\251\",true],\"b\":{},\"c\":[],\"d\":[[],[[1]]]}";
    start(&scripts->calls);
    struct fake_request *request = fake_call(&host, "echo", json);
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, back);
}
END_TEST

START_TEST(a_function_that_waits_gives_its_result_later)
{
    start(&scripts->calls);
    struct fake_request *request = fake_call(&host, "later", "[\"x\"]");
    ck_assert_int_eq(request->settled, 0);
    fake_host_advance(&host, 10);
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "\"x\"");
}
END_TEST

START_TEST(a_function_that_throws_settles_with_its_error)
{
    start(&scripts->calls);
    struct fake_request *request = fake_call(&host, "fail", "[]");
    ck_assert_int_eq(request->settled, 1);
    ck_assert_int_ne(request->status, MUSTER_OK);
    assert_contains(request->error.message, "boom");
    request = fake_call(&host, "fail_later", "[]");
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->ended, 1);
    ck_assert_int_ne(request->status, MUSTER_OK);
    assert_contains(request->error.message, "boom");
}
END_TEST

START_TEST(a_function_that_is_not_there_is_not_found)
{
    start(&scripts->calls);
    assert_ended(fake_call(&host, "missing", "[]"), MUSTER_NOT_FOUND);
    assert_ended(fake_call(&host, "missing.deep.down", "[]"), MUSTER_NOT_FOUND);
}
END_TEST

/* ---- host bindings ---- */

static struct muster_host_call *pending_call;
static int counters_finalized;

static void host_add(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    double sum = muster_value_number(muster_host_call_argument(call, 0)) +
                 muster_value_number(muster_host_call_argument(call, 1));
    muster_host_call_return(call, muster_value_new_number(sum));
}

static void host_echo(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_return(call, muster_value_acquire(muster_host_call_argument(call, 0)));
}

static void host_fail(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_throw(call, "RangeError", "too far");
}

static void host_pend(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    pending_call = call;
}

struct counter {
    int count;
};

static void counter_increment(struct muster_host_call *call, void *user_data)
{
    ((struct counter *)user_data)->count++;
    muster_host_call_return(call, NULL);
}

static void counter_get(struct muster_host_call *call, void *user_data)
{
    muster_host_call_return(call, muster_value_new_number(((struct counter *)user_data)->count));
}

static void counter_finalize(void *user_data)
{
    counters_finalized++;
    free(user_data);
}

static const struct muster_host_method counter_methods[] = {{"increment", counter_increment},
                                                            {"get", counter_get}};
static const struct muster_host_class counter_class = {.size = sizeof counter_class,
                                                       .name = "Counter",
                                                       .methods = counter_methods,
                                                       .method_count = 2,
                                                       .finalize = counter_finalize};

static void host_counter(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    struct counter *counter = calloc(1, sizeof *counter);
    muster_host_call_return(call, muster_value_new_host_object(&counter_class, counter));
}

static struct muster_bindings *bindings;

static void add_function(const char *path, muster_host_fn *function)
{
    ck_assert_int_eq(muster_bindings_add_function(bindings, path, function, NULL, NULL), MUSTER_OK);
}

static void start_with_bindings(void)
{
    bindings = muster_bindings_new();
    add_function("host.add", host_add);
    add_function("host.echo", host_echo);
    add_function("host.fail", host_fail);
    add_function("host.later", host_pend);
    add_function("host.fail_later", host_pend);
    add_function("host.counter", host_counter);
    ck_assert_int_eq(
        muster_bindings_add_value(bindings, "host.answer", muster_value_new_number(42)), MUSTER_OK);
    host.identity.bindings = bindings;
    start(&scripts->bindings);
}

static void tear_down_with_bindings(void)
{
    fake_host_clean_up(&host);
    muster_bindings_release(bindings);
    bindings = NULL;
}

START_TEST(a_host_function_gives_its_value_at_once)
{
    start_with_bindings();
    struct fake_request *request = fake_call(&host, "sync", "[]");
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "5");
    assert_json(fake_call(&host, "constant", "[]")->value, "42");
}
END_TEST

START_TEST(values_go_through_the_host_and_back)
{
    start_with_bindings();
    struct fake_request *request = fake_call(&host, "echo", "[{\"a\":[1,{\"b\":\"x\"}],\"n\":null}]");
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "{\"a\":[1,{\"b\":\"x\"}],\"n\":null}");
}
END_TEST

START_TEST(a_host_function_throws_an_error_of_its_name)
{
    start_with_bindings();
    assert_json(fake_call(&host, "fail", "[]")->value, "\"RangeError: too far\"");
    struct fake_request *request = fake_call(&host, "uncaught", "[]");
    ck_assert_int_eq(request->settled, 1);
    ck_assert_str_eq(request->error.name, "RangeError");
    ck_assert_str_eq(request->error.message, "too far");
    assert_contains(request->error.file, "file:///app/worker");
}
END_TEST

static void *end_from_a_thread(void *name)
{
    if (name == NULL)
        muster_host_call_return(pending_call, muster_value_new_text("x!"));
    else
        muster_host_call_throw(pending_call, name, "too far");
    return NULL;
}

static struct fake_request *call_and_end_elsewhere(const char *function, char *name)
{
    pthread_t thread;
    struct fake_request *request = fake_call(&host, function, "[]");
    ck_assert_int_eq(request->settled, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, end_from_a_thread, name), 0);
    while (request->settled == 0)
        fake_host_wait(&host);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    return request;
}

START_TEST(a_host_function_ends_later_from_another_thread)
{
    start_with_bindings();
    struct fake_request *request = call_and_end_elsewhere("later", NULL);
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "\"x!\"");
    request = call_and_end_elsewhere("fail_later", (char *)"RangeError");
    assert_json(request->value, "\"RangeError: too far\"");
}
END_TEST

START_TEST(a_host_object_has_methods_and_is_finalized_once)
{
    counters_finalized = 0;
    start_with_bindings();
    assert_json(fake_call(&host, "object", "[]")->value, "2");
    assert_ended(fake_call(&host, "keep", "[]"), MUSTER_OK);
    fake_host_kill(&host);
    ck_assert_int_eq(counters_finalized, 2);
}
END_TEST

START_TEST(a_host_call_that_outlives_its_worker_is_freed_by_its_end)
{
    start_with_bindings();
    struct fake_request *request = fake_call(&host, "later", "[]");
    fake_host_kill(&host);
    assert_settled(request, MUSTER_TERMINATED);
    muster_host_call_return(pending_call, muster_value_new_text("too late"));
}
END_TEST

/* ---- limits ---- */

static void deliver_doomed(const char *function, enum muster_status expected)
{
    struct muster_value *none = muster_value_new_array();
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_CALL, function, none);
    enum muster_status status = fake_deliver(&host, request);
    ck_assert_msg(status == expected, "%s instead of %s", muster_status_name(status),
                  muster_status_name(expected));
    ck_assert_int_eq(request->settled, 0); /* that is the worker's */
    ck_assert_int_eq(engine->timer_fired(host.realm, 77), expected);
}

START_TEST(a_turn_without_end_is_ended_by_its_limit)
{
    host.options.turn_limit_us = 50000;
    start(&scripts->limits);
    uint64_t before = muster__thread_cpu_us();
    deliver_doomed("spin", MUSTER_TURN_LIMIT);
    uint64_t took = muster__thread_cpu_us() - before;
    ck_assert_uint_ge(took, 40000);
    ck_assert_uint_le(took, 2000000);
}
END_TEST

static void *interrupt_from_a_thread(void *vm)
{
    engine->vm_interrupt(vm);
    return NULL;
}

START_TEST(a_turn_without_end_is_ended_by_an_interrupt)
{
    pthread_t thread;
    start(&scripts->limits);
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_from_a_thread, host.vm), 0);
    deliver_doomed("spin", MUSTER_TERMINATED);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(memory_without_end_is_ended_by_its_limit)
{
    host.options.memory_limit = (size_t)32 << 20;
    host.options.turn_limit_us = 60000000;
    start(&scripts->limits);
    deliver_doomed("hog", MUSTER_MEMORY_LIMIT);
}
END_TEST

/* ---- others ---- */

static void settle_dispatch(size_t i, const struct muster__outcome *outcome)
{
    muster__request_settle(host.dispatches[i].request, outcome);
    fake_host_advance(&host, 0);
}

START_TEST(a_script_calls_another_worker)
{
    start(&scripts->outgoing);
    struct fake_request *request = fake_call(&host, "ask", "[]");
    ck_assert_uint_eq(host.dispatch_count, 1);
    ck_assert_str_eq(host.dispatches[0].scope, "/other");
    ck_assert_str_eq(host.dispatches[0].request->name, "f");
    ck_assert_int_eq(host.dispatches[0].request->kind, MUSTER__REQUEST_CALL);
    assert_json(host.dispatches[0].request->data, "[1,2]");
    struct muster_value *value = muster_value_new_number(7);
    settle_dispatch(0, &(struct muster__outcome){.status = MUSTER_OK, .value = value});
    muster_value_release(value);
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "7");
    ck_assert_uint_eq(fake_host_open_tokens(&host), 0);
}
END_TEST

START_TEST(a_script_dispatches_an_event_to_another_worker)
{
    start(&scripts->outgoing);
    struct fake_request *request = fake_call(&host, "tell", "[]");
    ck_assert_str_eq(host.dispatches[0].request->name, "news");
    ck_assert_int_eq(host.dispatches[0].request->kind, MUSTER__REQUEST_EVENT);
    assert_json(host.dispatches[0].request->data, "\"x\"");
    settle_dispatch(0, &(struct muster__outcome){.status = MUSTER_OK});
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "\"told\"");
}
END_TEST

START_TEST(a_script_hears_that_another_worker_failed)
{
    start(&scripts->outgoing);
    struct fake_request *request = fake_call(&host, "nobody", "[]");
    fake_host_advance(&host, 0);
    assert_ended(request, MUSTER_OK);
    assert_json(request->value, "\"failed\"");
}
END_TEST

START_TEST(a_script_that_dies_hears_no_answer)
{
    start(&scripts->outgoing);
    (void)fake_call(&host, "ask", "[]");
    (void)fake_call(&host, "ask", "[]");
    muster__request_settle(host.dispatches[0].request,
                           &(struct muster__outcome){.status = MUSTER_OK});
    fake_host_kill(&host);
    muster__request_settle(host.dispatches[1].request,
                           &(struct muster__outcome){.status = MUSTER_OK});
}
END_TEST

START_TEST(a_script_loads_another_script)
{
    const char *const library[] = {"lib", scripts->import_library, NULL};
    host.library = library;
    start(&scripts->import);
    assert_json(fake_call(&host, "imported", "[]")->value, "42");
}
END_TEST

START_TEST(a_script_that_is_not_there_fails_the_start)
{
    struct muster_error error = {0};
    ck_assert_int_eq(fake_host_start(&host, &scripts->import, &error), MUSTER_SCRIPT_ERROR);
    assert_contains(error.message, "lib");
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_realm_dies_with_work_in_flight_and_leaves_nothing)
{
    struct muster_stream *stream = NULL;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    start(&scripts->fetch);
    struct fake_request *later = fetch("/later");
    struct fake_request *body = fetch("/stream");
    struct fake_request *large = fetch("/large");
    struct fake_request *kept = fetch("/wait");
    struct fake_request *reading = post_stream(stream);
    write_all(stream, "a note is posted");
    fake_host_kill(&host);
    assert_settled(later, MUSTER_TERMINATED);
    assert_settled(reading, MUSTER_TERMINATED);
    ck_assert_int_eq(later->ended + body->ended + large->ended + kept->ended + reading->ended, 0);
    size_t length = 0;
    char byte[100];
    if (large->stream != NULL) /* its reader sees that no more will come */
        while (muster_stream_read(large->stream, byte, sizeof byte, &length) == MUSTER_OK)
            ck_assert_uint_gt(length, 0);
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_realm_that_never_ran_is_destroyed)
{
    ck_assert_int_eq(engine->vm_new(&host.options, &host.vm), MUSTER_OK);
    struct muster__realm_options options = {.host = &fake_realm_host};
    ck_assert_int_eq(engine->realm_new(host.vm, &options, &host.realm), MUSTER_OK);
    if (engine->vm_trim != NULL)
        engine->vm_trim(host.vm);
    ck_assert_uint_gt(engine->vm_memory(host.vm), 0);
}
END_TEST

/* ---- the suite ---- */

static bool given(const struct fake_script *script)
{
    return script->text != NULL || script->native != NULL;
}

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_start(Suite *suite)
{
    TCase *tcase = add_case(suite, "start");
    tcase_add_test(tcase, a_realm_that_never_ran_is_destroyed);
    if (given(&scripts->syntax_error))
        tcase_add_test(tcase, a_syntax_error_names_its_place);
    if (given(&scripts->runtime_error))
        tcase_add_test(tcase, an_error_while_the_script_starts_names_its_place);
    if (given(&scripts->lifecycle)) {
        tcase_add_test(tcase, install_waits_for_what_extends_it_and_activate_follows);
        tcase_add_test(tcase, handles_knows_what_the_script_listens_for);
    }
}

static void add_fetch(Suite *suite)
{
    if (!given(&scripts->fetch))
        return;
    TCase *tcase = add_case(suite, "fetch");
    tcase_add_test(tcase, a_fetch_is_answered_within_its_turn);
    tcase_add_test(tcase, a_fetch_is_answered_later);
    tcase_add_test(tcase, an_answer_streams_and_ends_after_its_body);
    tcase_add_test(tcase, a_large_answer_waits_for_its_reader);
    tcase_add_test(tcase, a_reader_that_leaves_ends_the_body);
    tcase_add_test(tcase, a_body_that_fails_is_cut_off_with_an_error);
    tcase_add_test(tcase, a_body_that_is_there_comes_back);
    tcase_add_test(tcase, a_streamed_request_body_is_waited_for);
    tcase_add_test(tcase, a_request_body_comes_from_another_thread);
    tcase_add_test(tcase, a_request_body_that_breaks_off_is_an_error);
    tcase_add_test(tcase, a_fetch_that_nobody_answers_passes);
    tcase_add_test(tcase, a_fetch_that_nobody_listens_for_passes);
    tcase_add_test(tcase, a_handler_that_throws_settles_with_its_error);
    tcase_add_test(tcase, a_handler_that_throws_later_settles_with_its_error);
    if (strcmp(engine->name, "native") != 0) /* C can only answer with a response */
        tcase_add_test(tcase, an_answer_that_is_no_response_is_told_apart);
    tcase_add_test(tcase, an_answered_fetch_is_kept_open_by_wait_until);
    tcase_add_test(tcase, a_canceled_fetch_ends_without_a_second_settlement);
    tcase_add_test(tcase, many_fetches_wait_side_by_side);
    tcase_add_test(tcase, a_realm_dies_with_work_in_flight_and_leaves_nothing);
}

static void add_events(Suite *suite)
{
    TCase *tcase = add_case(suite, "events");
    if (given(&scripts->events)) {
        tcase_add_test(tcase, an_event_lasts_as_long_as_it_is_extended);
        tcase_add_test(tcase, an_extension_that_fails_rejects_the_event);
        tcase_add_test(tcase, an_event_handler_that_throws_is_reported);
        tcase_add_test(tcase, an_event_that_nobody_listens_for_passes);
        tcase_add_test(tcase, a_message_brings_its_data);
    }
    if (given(&scripts->tokens))
        tcase_add_test(tcase, a_token_is_held_by_its_name_until_it_is_dropped);
    if (given(&scripts->timers))
        tcase_add_test(tcase, timers_fire_in_order_and_can_be_cleared);
    if (given(&scripts->many_timers))
        tcase_add_test(tcase, ten_thousand_timers_are_pending_at_once);
}

static void add_calls(Suite *suite)
{
    TCase *tcase = add_case(suite, "calls");
    if (given(&scripts->calls)) {
        tcase_add_test(tcase, a_function_is_called_by_name_and_gives_its_result);
        tcase_add_test(tcase, values_come_back_from_a_call_as_they_went);
        tcase_add_test(tcase, a_function_that_waits_gives_its_result_later);
        tcase_add_test(tcase, a_function_that_throws_settles_with_its_error);
        tcase_add_test(tcase, a_function_that_is_not_there_is_not_found);
    }
    if (given(&scripts->outgoing)) {
        tcase_add_test(tcase, a_script_calls_another_worker);
        tcase_add_test(tcase, a_script_dispatches_an_event_to_another_worker);
        tcase_add_test(tcase, a_script_hears_that_another_worker_failed);
        tcase_add_test(tcase, a_script_that_dies_hears_no_answer);
    }
    if (given(&scripts->import)) {
        tcase_add_test(tcase, a_script_loads_another_script);
        tcase_add_test(tcase, a_script_that_is_not_there_fails_the_start);
    }
}

static void add_bindings(Suite *suite)
{
    if (!given(&scripts->bindings))
        return;
    TCase *tcase = tcase_create("bindings");
    tcase_add_checked_fixture(tcase, set_up, tear_down_with_bindings);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_host_function_gives_its_value_at_once);
    tcase_add_test(tcase, values_go_through_the_host_and_back);
    tcase_add_test(tcase, a_host_function_throws_an_error_of_its_name);
    tcase_add_test(tcase, a_host_function_ends_later_from_another_thread);
    tcase_add_test(tcase, a_host_object_has_methods_and_is_finalized_once);
    tcase_add_test(tcase, a_host_call_that_outlives_its_worker_is_freed_by_its_end);
}

static void add_limits(Suite *suite)
{
    if (!given(&scripts->limits))
        return;
    TCase *tcase = add_case(suite, "limits");
    tcase_add_test(tcase, a_turn_without_end_is_ended_by_its_limit);
    tcase_add_test(tcase, a_turn_without_end_is_ended_by_an_interrupt);
    tcase_add_test(tcase, memory_without_end_is_ended_by_its_limit);
}

int engine_suite_run(const struct muster__engine *which, const struct engine_scripts *texts)
{
    engine = which;
    scripts = texts;
    Suite *suite = suite_create(engine->name);
    add_start(suite);
    add_fetch(suite);
    add_events(suite);
    add_calls(suite);
    add_bindings(suite);
    add_limits(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures;
}
