/* tests/test_sync.c - events that are wanted later, and requests for which no worker is woken: sync with its retries,
 * periodicsync, scheduled, static routes, types of events without a listener; and that all of them outlive the
 * instance.  A script tells what it saw through a binding of the test's, so nothing here waits longer than it must. */
#include "coordinator/instance.h"
#include "tests/state_folder.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 30 /* a bound for what must happen, never a pause */

static struct muster *muster;
static struct muster_bindings *bindings;
static const char *script_text, *script_name;

/* ---- what the script said: note("...") ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[4096];
    unsigned count;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note(struct muster_host_call *call, void *user_data)
{
    struct muster_bytes text = muster_value_bytes(muster_host_call_argument(call, 0));
    (void)user_data;
    pthread_mutex_lock(&notes.lock);
    size_t used = strlen(notes.text);
    snprintf(notes.text + used, sizeof(notes.text) - used, "%.*s\n", (int)text.length, text.data);
    notes.count++;
    pthread_cond_broadcast(&notes.changed);
    pthread_mutex_unlock(&notes.lock);
    muster_host_call_return(call, NULL);
}

static void await_notes(unsigned count)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&notes.lock);
    while (notes.count < count && !late)
        late = pthread_cond_timedwait(&notes.changed, &notes.lock, &until);
    ck_assert_msg(!late, "only %u notes:\n%s", notes.count, notes.text);
    pthread_mutex_unlock(&notes.lock);
}

static void expect_notes(unsigned count, const char *text)
{
    await_notes(count);
    ck_assert_str_eq(notes.text, text);
}

/* ---- instances in one folder ---- */

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)url, (void)importer, (void)error, (void)user_data;
    ret_loaded->text = strdup(script_text);
    ret_loaded->length = strlen(script_text);
    return MUSTER_OK;
}

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (level <= MUSTER_LOG_ERROR)
        fprintf(stderr, "%s: %s\n", subject, text);
}

/* The leak sanitizer crashes on what JavaScriptCore has mapped. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return script_name && strcmp(script_name, "/app.lua") != 0;
}

static uint64_t retry_ms;

static void open_instance(void)
{
    struct muster_error error = {0};
    const struct muster_options options = {.size = sizeof(options),
                                           .threads = 2,
                                           .load = load,
                                           .state_folder = folder,
                                           .bindings = bindings,
                                           .sync_retry_ms = retry_ms,
                                           .periodic_sync_min_ms = 1,
                                           .log = log_line};
    enum muster_status status = muster_new(&options, &muster, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message ? error.message : "?");
}

static void reopen(void)
{
    muster_destroy(muster);
    open_instance();
}

static void set_up(void)
{
    make_folder();
    bindings = muster_bindings_new();
    ck_assert_int_eq(muster_bindings_add_function(bindings, "note", note, NULL, NULL), MUSTER_OK);
    retry_ms = 1;
    script_name = "http://h/app.js";
}

static void tear_down(void)
{
    muster_bindings_release(bindings);
    remove_folder();
}

static struct muster_result await(struct muster_handle *handle)
{
    struct muster_result result;
    ck_assert_int_eq(muster_wait(handle, PATIENCE_S * 1000, &result), MUSTER_OK);
    return result;
}

static void register_with_schedule(const char *schedule)
{
    const struct muster_registration_options with = {
        .size = sizeof(with), .scope = "/a/", .script = script_name, .schedule = schedule};
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_OK);
    struct muster_result result = await(handle);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error && result.error->message ? result.error->message : "?");
    muster_handle_release(handle);
}

static void register_app(void)
{
    register_with_schedule(NULL);
}

static enum muster_status dispatch(const char *type)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_dispatch(muster, "/a/", type, NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    enum muster_status status = await(handle).status;
    muster_handle_release(handle);
    return status;
}

static enum muster_status fetch(const char *method, const char *url)
{
    struct muster_handle *handle = NULL;
    const struct muster_http_request request = {.method = {method, strlen(method)}, .url = {url, strlen(url)}};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    enum muster_status status = await(handle).status;
    muster_handle_release(handle);
    return status;
}

static uint64_t starts(void)
{
    struct muster_stats now = {.size = sizeof(now)};
    muster_stats(muster, &now);
    return now.starts;
}

/* ---- sync ---- */

/* The script: what "go" does, and what its sync events do. */
#define APP(go, sync)                                                                                                \
    "addEventListener('go', event => event.waitUntil((async () => {" go "})()));\n"                                   \
    "addEventListener('sync', event => { note(`sync ${event.tag} ${event.lastChance}`); " sync "});\n"                \
    "addEventListener('periodicsync', event => note(`periodic ${event.tag}`));\n"

START_TEST(a_sync_comes_once_and_its_tag_is_gone)
{
    script_text = APP("await registration.sync.register('mail'); note('registered');", "") 
        "addEventListener('tags', event => event.waitUntil(registration.sync.getTags().then(tags =>"
        " note(`tags ${tags}`))));";
    open_instance();
    register_app();
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    await_notes(2);
    ck_assert_ptr_nonnull(strstr(notes.text, "sync mail false\n"));
    ck_assert_int_eq(dispatch("tags"), MUSTER_OK);
    await_notes(3);
    ck_assert_ptr_nonnull(strstr(notes.text, "tags \n"));
    reopen();
    ck_assert_int_eq(dispatch("tags"), MUSTER_OK);
    await_notes(4);
    muster_destroy(muster);
}
END_TEST

START_TEST(a_sync_that_fails_comes_again_and_says_when_it_is_the_last_chance)
{
    script_text = APP("await registration.sync.register('mail');", "event.waitUntil(Promise.reject(new Error('no')));");
    open_instance();
    register_app();
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    expect_notes(3, "sync mail false\nsync mail false\nsync mail true\n");
    muster_destroy(muster);
}
END_TEST

START_TEST(a_sync_that_failed_waits_through_the_end_of_the_instance)
{
    script_text = APP("await registration.sync.register('mail');", "event.waitUntil(Promise.reject(new Error('no')));")
        "addEventListener('tags', event => event.waitUntil(registration.sync.getTags()));";
    retry_ms = 3600000;
    open_instance();
    register_app();
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    expect_notes(1, "sync mail false\n");
    ck_assert_int_eq(dispatch("go"), MUSTER_OK); /* what it asks is behind the event's end: that is kept by then */
    expect_notes(2, "sync mail false\nsync mail false\n");
    ck_assert_int_eq(dispatch("tags"), MUSTER_OK);
    muster_destroy(muster);
    retry_ms = 1; /* it waits no longer than this instance lets it */
    open_instance();
    expect_notes(4, "sync mail false\nsync mail false\nsync mail false\nsync mail true\n");
    muster_destroy(muster);
}
END_TEST

START_TEST(a_tag_that_is_registered_while_its_event_runs_comes_again)
{
    script_text = APP("await registration.sync.register('mail');",
                      "if (!globalThis.again) { globalThis.again = true; event.waitUntil(registration.sync.register('mail')); }");
    open_instance();
    register_app();
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    expect_notes(2, "sync mail false\nsync mail false\n");
    muster_destroy(muster);
}
END_TEST

START_TEST(a_periodic_sync_comes_again_and_again_until_it_is_unregistered_and_after_a_start)
{
    script_text = "addEventListener('go', event => event.waitUntil(registration.periodicSync.register('news', {minInterval: 1})));\n"
                  "addEventListener('stop', event => event.waitUntil(registration.periodicSync.unregister('news')"
                  ".then(() => registration.periodicSync.getTags()).then(tags => note(`left: ${tags.length}`))));\n"
                  "addEventListener('periodicsync', event => note('periodic ' + event.tag));\n";
    open_instance();
    register_app();
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    await_notes(3);
    reopen();
    await_notes(notes.count + 3);
    ck_assert_int_eq(dispatch("stop"), MUSTER_OK);
    ck_assert_ptr_nonnull(strstr(notes.text, "left: 0\n"));
    muster_destroy(muster);
}
END_TEST

START_TEST(what_an_unregistered_worker_asked_for_never_comes)
{
    struct muster_handle *handle = NULL;
    script_text = "addEventListener('go', event => event.waitUntil(registration.periodicSync.register('news', {minInterval: 3600000})));\n"
                  "addEventListener('tags', event => event.waitUntil(registration.periodicSync.getTags()"
                  ".then(tags => note(`tags: ${tags.length}`))));\n";
    open_instance();
    register_app();
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    ck_assert_int_eq(muster_unregister(muster, "/a/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(await(handle).status, MUSTER_OK);
    muster_handle_release(handle);
    register_app();
    ck_assert_int_eq(dispatch("tags"), MUSTER_OK);
    expect_notes(1, "tags: 0\n");
    muster_destroy(muster);
}
END_TEST

/* The wall clock of what is scheduled, a second before a minute: the script must be there by then. */
static void wait_before_minute(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    atomic_store(&muster->wall_ahead_us, 60000000 - now_us % 60000000 + 60000000 - 1000000);
}

START_TEST(what_is_scheduled_comes_when_its_minute_begins)
{
    script_text = "muster.on('scheduled', function(event)"
                  " note(event.data.cron .. ' ' .. event.data.scheduledTime % 60000) end)";
    script_name = "/app.lua";
    open_instance();
    wait_before_minute();
    register_with_schedule("* * * * *\n0 0 30 1 *");
    expect_notes(1, "* * * * * 0\n");
    muster_destroy(muster);
}
END_TEST

START_TEST(a_schedule_that_says_nothing_is_refused_with_the_reason)
{
    const struct muster_registration_options with = {
        .size = sizeof(with), .scope = "/a/", .script = "/app.js", .schedule = "* * * * *\n61 * * * *"};
    struct muster_handle *handle = NULL;
    script_text = "";
    open_instance();
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_OK);
    struct muster_result result = await(handle);
    ck_assert_int_eq(result.status, MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(result.error->message, "61"));
    muster_handle_release(handle);
    muster_destroy(muster);
}
END_TEST

/* ---- who is not woken ---- */

START_TEST(a_worker_is_not_woken_for_an_event_for_which_it_does_not_listen)
{
    script_text = "addEventListener('go', () => {});";
    open_instance();
    register_app();
    reopen();
    ck_assert_int_eq(dispatch("push"), MUSTER_PASSED);
    ck_assert_int_eq(fetch("GET", "http://h/a/x"), MUSTER_PASSED);
    ck_assert_uint_eq(starts(), 0);
    ck_assert_int_eq(dispatch("go"), MUSTER_OK);
    ck_assert_uint_eq(starts(), 1);
    muster_destroy(muster);
}
END_TEST

START_TEST(a_route_to_the_network_wakes_nobody_and_outlives_the_instance)
{
    script_text = "addEventListener('install', event => event.addRoutes(["
                  " {condition: {urlPattern: '/a/static/*'}, source: 'network'},"
                  " {condition: {urlPattern: '/a/cached/*'}, source: 'cache'},"
                  " {condition: {requestMethod: 'POST', urlPattern: '/a/*'}, source: 'fetch-event'},"
                  " {condition: {runningStatus: 'not-running'}, source: 'network'}]));\n"
                  "addEventListener('fetch', event => event.respondWith(new Response('worker')));";
    open_instance();
    register_app();
    ck_assert_int_eq(fetch("GET", "http://h/a/static/x"), MUSTER_PASSED);
    ck_assert_int_eq(fetch("GET", "http://h/a/other"), MUSTER_OK); /* it runs: none of the rules holds */
    reopen();
    ck_assert_int_eq(fetch("GET", "http://h/a/static/x"), MUSTER_PASSED);
    ck_assert_int_eq(fetch("GET", "http://h/a/cached/x"), MUSTER_PASSED);
    ck_assert_int_eq(fetch("GET", "http://h/a/other"), MUSTER_PASSED);
    ck_assert_uint_eq(starts(), 0);
    ck_assert_int_eq(fetch("POST", "http://h/a/other"), MUSTER_OK);
    ck_assert_uint_eq(starts(), 1);
    ck_assert_int_eq(fetch("GET", "http://h/a/other"), MUSTER_OK);
    muster_destroy(muster);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sync");
    TCase *tests = tcase_create("sync");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_sync_comes_once_and_its_tag_is_gone);
    tcase_add_test(tests, a_sync_that_fails_comes_again_and_says_when_it_is_the_last_chance);
    tcase_add_test(tests, a_sync_that_failed_waits_through_the_end_of_the_instance);
    tcase_add_test(tests, a_tag_that_is_registered_while_its_event_runs_comes_again);
    tcase_add_test(tests, a_periodic_sync_comes_again_and_again_until_it_is_unregistered_and_after_a_start);
    tcase_add_test(tests, what_an_unregistered_worker_asked_for_never_comes);
    tcase_add_test(tests, what_is_scheduled_comes_when_its_minute_begins);
    tcase_add_test(tests, a_schedule_that_says_nothing_is_refused_with_the_reason);
    tcase_add_test(tests, a_worker_is_not_woken_for_an_event_for_which_it_does_not_listen);
    tcase_add_test(tests, a_route_to_the_network_wakes_nobody_and_outlives_the_instance);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
