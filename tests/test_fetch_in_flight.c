/* tests/test_fetch_in_flight.c - workers of a real coordinator that fetch: those that are asked to end meanwhile, and
 * those behind a wall.
 *
 * To end: the script answers its event at once and goes on fetching; from then on nothing but the fetch holds the
 * worker, which has hardly any idle time.  The server, a thread of this program, does not answer before the log says what
 * the test is about; then the script tells the server what it has got.  Nothing sleeps. */
#include "tests/held_worker.h"
#include "tests/waiting_server.h"

/* ---- the server: /late waits, and "/heard?late" is what the script says at the end ---- */

static sem_t heard;

static struct answer answer_request(const char *head)
{
    return (struct answer){
        .waits = strncmp(head, "GET /late ", 10) == 0,
        .body = "late",
        .sent = strncmp(head, "GET /heard?late ", 16) == 0 ? &heard : NULL,
    };
}

/* ---- the instance ---- */

static struct muster *muster;

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const char text[] =
        "addEventListener('fetch', (event) => {\n"
        "  const { pathname, searchParams } = new URL(event.request.url);\n"
        "  const place = searchParams.get('place');\n"
        "  if (pathname === '/whole') {\n"
        "    event.respondWith(fetch(place).then((answer) => answer.text()).catch(String).then((text) => new Response(text)));\n"
        "    return;\n"
        "  }\n"
        "  fetch(`${place}/late`).then((answer) => answer.text())\n"
        "    .then((text) => fetch(`${place}/heard?${text}`));\n"
        "  event.respondWith(new Response('begun'));\n"
        "});\n";
    (void)url;
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = strdup(text);
    ret_loaded->length = sizeof text - 1;
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void assert_ok(struct muster_handle *handle, struct muster_result *ret_result)
{
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, ret_result), MUSTER_OK);
    ck_assert_msg(ret_result->status == MUSTER_OK, "%s: %s", muster_status_name(ret_result->status),
                  ret_result->error ? ret_result->error->message : "");
}

static void begin(const struct muster_options *options, enum muster_trust trust)
{
    const struct muster_registration_options script = {
        .size = sizeof script, .scope = "/", .script = "app.js", .trust = trust,
        .lazy = true}; /* else it might have been idle for too long before its event comes */
    struct muster_error error = {0};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    start_server();
    ck_assert_msg(muster_new(options, &muster, &error) == MUSTER_OK, "%s", error.message);
    ck_assert_int_eq(muster_register(muster, &script, NULL, NULL, &handle), MUSTER_OK);
    assert_ok(handle, &result);
    muster_handle_release(handle);
}

static void begin_idle(enum muster_hosting hosting, uint64_t grace_ms)
{
    const struct muster_options options = idle_options(hosting, grace_ms, load);
    sem_init(&heard, 0, 0);
    begin(&options, MUSTER_TRUST_SCRIPT);
}

/* The start of the answer. */
static void send_event(const char *path, char *ret_text, size_t size)
{
    char url[128];
    int length = snprintf(url, sizeof url, "http://a.test%s?place=http://127.0.0.1:%u", path, server.port);
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, (size_t)length}};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    assert_ok(handle, &result);
    const struct muster_bytes body = result.response->body;
    snprintf(ret_text, size, "%.*s", (int)body.length, body.data ? (const char *)body.data : "");
    muster_handle_release(handle);
}

static void expect_begun(void)
{
    char text[16];
    send_event("/begun", text, sizeof text);
    ck_assert_str_eq(text, "begun");
}

static void finish(void)
{
    muster_destroy(muster);
    stop_server();
}

static void finish_idle(const char *why, unsigned forced_ends)
{
    struct muster_stats stats = {.size = sizeof stats};
    char fetch[64];
    snprintf(fetch, sizeof fetch, "token \"fetch http://127.0.0.1:%u/", server.port);
    expect_end(why, fetch);
    muster_stats(muster, &stats);
    ck_assert_uint_eq(stats.forced_ends, forced_ends);
    finish();
}

START_TEST(a_fetch_in_flight_is_finished_before_its_idle_worker_ends_which_is_told)
{
    expect_line("SAMPLED", "holds=1", LOOKS, &server.may_answer);
    begin_idle(hostings[_i], PATIENCE_MS);
    expect_begun();
    await_signal(&heard, "what the script got");
    finish_idle(" stops (idle); ", 0);
}
END_TEST

START_TEST(a_fetch_past_the_grace_time_ends_with_its_worker_which_is_told)
{
    expect_line(" is interrupted (", "", 1, &server.may_answer);
    begin_idle(hostings[_i], GRACE_MS);
    expect_begun();
    finish_idle(" stops (held tokens past the grace time); ", 1);
}
END_TEST

/* Sanitizers need more than such a wall lets through. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HAS_WALL 1
static void begin_walled(bool network)
{
    const struct muster_options options = {
        .size = sizeof options, .threads = 2, .load = load, .partial_wall = true, .grant_network = network};
    begin(&options, MUSTER_TRUST_NONE);
}

START_TEST(a_worker_without_trust_that_was_granted_the_network_fetches)
{
    char text[256];
    begin_walled(true);
    send_event("/whole", text, sizeof text);
    ck_assert_str_eq(text, "late");
    finish();
}
END_TEST

START_TEST(a_worker_without_trust_is_told_that_it_may_not_fetch)
{
    char text[256];
    begin_walled(false);
    send_event("/whole", text, sizeof text);
    ck_assert_msg(strstr(text, "the process of this worker may not use the network"), "%s", text);
    finish();
}
END_TEST

#endif

int main(void)
{
    Suite *suite = suite_create("fetch_in_flight");
    TCase *tcase = tcase_create("idle");
    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, a_fetch_in_flight_is_finished_before_its_idle_worker_ends_which_is_told, 0,
                        HOSTING_COUNT);
    tcase_add_loop_test(tcase, a_fetch_past_the_grace_time_ends_with_its_worker_which_is_told, 0, HOSTING_COUNT);
    suite_add_tcase(suite, tcase);
#if defined(HAS_WALL)
    TCase *wall = tcase_create("wall");
    tcase_set_timeout(wall, 100);
    tcase_add_test(wall, a_worker_without_trust_that_was_granted_the_network_fetches);
    tcase_add_test(wall, a_worker_without_trust_is_told_that_it_may_not_fetch);
    suite_add_tcase(suite, wall);
#endif
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
