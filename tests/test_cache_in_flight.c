/* tests/test_cache_in_flight.c - idle workers of a real coordinator that are asked to end while they write into a cache.
 *
 * The script begins the write, answers its event and goes on with it, the body of which comes from a stream of its own: from
 * then on nothing but the write holds the worker, which has hardly any idle time.  What ends the stream is an event that
 * is sent when the log has shown that the worker was looked at, and kept, for some time.  Nothing sleeps. */
#include "tests/held_worker.h"

#define TOKEN "token \"cache write http://a.test/kept\""

/* ---- the instance ---- */

static struct muster *muster;
static sem_t held;

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const char text[] =
        "let feed = null;\n"
        "const write = async () => {\n"
        "  const cache = await caches.open('v1');\n"
        "  cache.put('http://a.test/kept', new Response(new ReadableStream({ start(controller) { feed = controller; } })));\n"
        "  return new Response('done');\n"
        "};\n"
        "const read = async () => {\n"
        "  const found = await (await caches.open('v1')).match('http://a.test/kept');\n"
        "  return new Response(found ? await found.text() : 'nothing');\n"
        "};\n"
        "addEventListener('fetch', (event) => {\n"
        "  const { pathname } = new URL(event.request.url);\n"
        "  if (pathname === '/feed') {\n"
        "    feed.enqueue(new TextEncoder().encode('whole'));\n"
        "    feed.close();\n"
        "    event.respondWith(new Response('done'));\n"
        "  } else {\n"
        "    event.respondWith(pathname === '/read' ? read() : write());\n"
        "  }\n"
        "});\n";
    (void)url;
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = strdup(text);
    ret_loaded->length = sizeof text - 1;
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void begin(enum muster_hosting hosting, uint64_t grace_ms)
{
    const struct muster_options options = idle_options(hosting, grace_ms, load);
    const struct muster_registration_options script = {
        .size = sizeof script, .scope = "http://a.test/", .script = "http://a.test/app.js",
        .lazy = true}; /* else it might have been idle for too long before its event comes */
    struct muster_error error = {0};
    struct muster_handle *handle = NULL;
    sem_init(&held, 0, 0);
    expect_line("SAMPLED", "holds=1", LOOKS, &held);
    ck_assert_msg(muster_new(&options, &muster, &error) == MUSTER_OK, "%s", error.message);
    ck_assert_int_eq(muster_register(muster, &script, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
}

static void expect_answer(const char *path, const char *wanted)
{
    char url[64];
    int length = snprintf(url, sizeof url, "http://a.test%s", path);
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, (size_t)length}};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s: %s", path, result.error ? result.error->message : "");
    const struct muster_bytes body = result.response->body;
    ck_assert_msg(body.length == strlen(wanted) && memcmp(body.data, wanted, body.length) == 0, "%s: %.*s", path,
                  (int)body.length, (const char *)body.data);
    muster_handle_release(handle);
}

START_TEST(a_cache_write_in_flight_is_finished_before_its_idle_worker_ends_which_is_told)
{
    begin(hostings[_i], PATIENCE_MS);
    expect_answer("/write", "done");
    await_signal(&held, "what holds the worker");
    expect_answer("/feed", "done");
    expect_end(" stops (idle); ", TOKEN);
    expect_answer("/read", "whole"); /* in another worker */
    muster_destroy(muster);
}
END_TEST

START_TEST(a_cache_write_past_the_grace_time_leaves_nothing_and_is_told)
{
    begin(hostings[_i], GRACE_MS);
    expect_answer("/write", "done");
    expect_end(" stops (held tokens past the grace time); ", TOKEN);
    expect_answer("/read", "nothing");
    muster_destroy(muster);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache_in_flight");
    TCase *tcase = tcase_create("cache_in_flight");
    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, a_cache_write_in_flight_is_finished_before_its_idle_worker_ends_which_is_told, 0,
                        HOSTING_COUNT);
    tcase_add_loop_test(tcase, a_cache_write_past_the_grace_time_leaves_nothing_and_is_told, 0, HOSTING_COUNT);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
