/* tests/test_cache_in_flight.c - idle workers of a real coordinator that are asked to end while they write into a cache.
 *
 * The script begins the write, answers its event and goes on with it, the body of which comes from a stream of its own: from
 * then on nothing but the write holds the worker, which has hardly any idle time.  What ends the stream is an event that
 * is sent when the log has shown that the worker was looked at, and kept, for some time.  Nothing sleeps. */
#include "coordinator/muster.h"

#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */
/* A process says what it holds once a second; what holds a worker is looked at ten times a second. */
#define GRACE_MS 2500
#define LOOKS 25
#define TOKEN "token \"cache write http://a.test/kept\""

static const enum muster_hosting hostings[] = {
    MUSTER_HOSTING_THREAD,
    MUSTER_HOSTING_PROCESS,
};
#define HOSTING_COUNT ((int)(sizeof hostings / sizeof *hostings))

int __lsan_is_turned_off(void);

/* The leak sanitizer crashes on what JavaScriptCore has mapped. */
int __lsan_is_turned_off(void)
{
    return 1;
}

/* ---- the log, where the coordinator says what it does ---- */

static struct {
    pthread_mutex_t lock;
    int looks;      /* until it was seen to be held so often */
    char end[1024]; /* the line about its end */
    sem_t held, ended;
} story = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void read_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)level;
    (void)user_data;
    pthread_mutex_lock(&story.lock);
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "%s: %s\n", subject, text);
    if (strstr(text, "SAMPLED") && strstr(text, "holds=1") && --story.looks == 0)
        sem_post(&story.held);
    if (strstr(text, " stops (")) {
        story.end[0] = '\0';
        strncat(story.end, text, sizeof story.end - 1);
    }
    if (strstr(text, " GONE instance=")) /* the core hears that the worker is */
        sem_post(&story.ended);
    pthread_mutex_unlock(&story.lock);
}

static void await_signal(sem_t *signal, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    ck_assert_msg(sem_timedwait(signal, &until) == 0, "%s did not come", what);
}

/* ---- the instance ---- */

static struct muster *muster;

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
    const struct muster_options options = {
        .size = sizeof options, .threads = 2, .idle_ms = 20, .grace_ms = grace_ms, .stop_timeout_ms = PATIENCE_MS,
        .load = load, .log = read_log, .log_events = true, .hosting = hosting,
    };
    const struct muster_registration_options script = {
        .size = sizeof script, .scope = "http://a.test/", .script = "http://a.test/app.js",
        .lazy = true}; /* else it might have been idle for too long before its event comes */
    struct muster_error error = {0};
    struct muster_handle *handle = NULL;
    story.looks = LOOKS;
    story.end[0] = '\0';
    sem_init(&story.held, 0, 0);
    sem_init(&story.ended, 0, 0);
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

static void expect_end(const char *why)
{
    await_signal(&story.ended, "the end of the worker");
    pthread_mutex_lock(&story.lock);
    ck_assert_msg(strstr(story.end, why) && strstr(story.end, "held up by: ") && strstr(story.end, TOKEN), "%s",
                  story.end);
    pthread_mutex_unlock(&story.lock);
}

START_TEST(a_cache_write_in_flight_is_finished_before_its_idle_worker_ends_which_is_told)
{
    begin(hostings[_i], PATIENCE_MS);
    expect_answer("/write", "done");
    await_signal(&story.held, "what holds the worker");
    expect_answer("/feed", "done");
    expect_end(" stops (idle); ");
    expect_answer("/read", "whole"); /* in another worker */
    muster_destroy(muster);
}
END_TEST

START_TEST(a_cache_write_past_the_grace_time_leaves_nothing_and_is_told)
{
    begin(hostings[_i], GRACE_MS);
    expect_answer("/write", "done");
    expect_end(" stops (held tokens past the grace time); ");
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
