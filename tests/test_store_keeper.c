/* tests/test_store_keeper.c - registrations outlive their instance: what is kept of them, and how they come back.  The
 * instances here follow each other in one state folder, and load their scripts from a table that changes. */
#include "coordinator/instance.h"
#include "tests/state_folder.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */

static struct muster *muster;
static atomic_uint loads;
static const char *script_text;

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)url, (void)importer, (void)error, (void)user_data;
    atomic_fetch_add(&loads, 1);
    ret_loaded->text = strdup(script_text);
    ret_loaded->length = strlen(script_text);
    return MUSTER_OK;
}

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (level <= MUSTER_LOG_WARNING)
        fprintf(stderr, "%s: %s\n", subject, text);
}

static enum muster_status try_open(struct muster_error *error)
{
    const struct muster_options options = {
        .size = sizeof(options), .threads = 2, .load = load, .state_folder = folder, .log = log_line};
    return muster_new(&options, &muster, error);
}

static void open_instance(void)
{
    struct muster_error error = {0};
    enum muster_status status = try_open(&error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message ? error.message : "?");
}

static void reopen(void)
{
    muster_destroy(muster);
    open_instance();
}

static const char hello[] = "muster.on('fetch', function() return {body = 'hello'} end)\n"
                            "muster.on('install', function() installs = (installs or 0) + 1 end)\n"
                            "function count() return installs or 0 end\n";

static struct muster_registration_options options_of(const char *scope)
{
    return (struct muster_registration_options){
        .size = sizeof(struct muster_registration_options), .scope = scope, .script = "/app.lua"};
}

static struct muster_result await(struct muster_handle *handle)
{
    struct muster_result result;
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    return result;
}

static void register_with(const struct muster_registration_options *with)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, with, NULL, NULL, &handle), MUSTER_OK);
    struct muster_result result = await(handle);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error && result.error->message ? result.error->message : "?");
    muster_handle_release(handle);
}

static void unregister(const char *scope)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_unregister(muster, scope, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(await(handle).status, MUSTER_OK);
    muster_handle_release(handle);
}

static void check_answer(const char *url, const char *body)
{
    struct muster_handle *handle = NULL;
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    struct muster_result result = await(handle);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error && result.error->message ? result.error->message : "?");
    ck_assert_uint_eq(result.response->body.length, strlen(body));
    ck_assert_mem_eq(result.response->body.data, body, strlen(body));
    muster_handle_release(handle);
}

static double call_number(const char *scope, const char *function)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_call(muster, scope, function, NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    struct muster_result result = await(handle);
    ck_assert_int_eq(result.status, MUSTER_OK);
    double number = muster_value_number(result.value);
    muster_handle_release(handle);
    return number;
}

static bool is_registered(const char *url)
{
    return muster_match(muster, url, NULL, 0) > 0;
}

static struct muster_stats stats(void)
{
    struct muster_stats now = {.size = sizeof(now)};
    muster_stats(muster, &now);
    return now;
}

/* ---- the tests ---- */

START_TEST(a_registration_is_there_at_the_next_start_and_no_worker_runs_before_an_event_comes)
{
    const struct muster_registration_options with = options_of("/a/");
    script_text = hello;
    open_instance();
    register_with(&with);
    reopen();
    ck_assert(is_registered("/a/b"));
    ck_assert_uint_eq(stats().registrations, 1);
    ck_assert_uint_eq(stats().starts, 0);
    check_answer("http://h/a/b", "hello");
    ck_assert_uint_eq(stats().starts, 1);
    ck_assert_double_eq(call_number("/a/", "count"), 0); /* it was installed in its former life */
    muster_destroy(muster);
}
END_TEST

START_TEST(the_same_script_registered_again_after_a_start_changes_nothing)
{
    const struct muster_registration_options with = options_of("/a/");
    script_text = hello;
    open_instance();
    register_with(&with);
    reopen();
    register_with(&with);
    ck_assert_uint_eq(stats().starts, 0);
    ck_assert_uint_eq(stats().registrations, 1);
    muster_destroy(muster);
}
END_TEST

START_TEST(what_was_unregistered_stays_away)
{
    const struct muster_registration_options a = options_of("/a/"), b = options_of("/b/");
    script_text = hello;
    open_instance();
    register_with(&a);
    register_with(&b);
    unregister("/a/");
    reopen();
    ck_assert(!is_registered("/a/x"));
    ck_assert(is_registered("/b/x"));
    unregister("/b/");
    reopen();
    ck_assert_uint_eq(stats().registrations, 0);
    muster_destroy(muster);
}
END_TEST

START_TEST(a_lazy_one_that_was_never_installed_is_installed_by_its_first_event_in_the_next_life)
{
    struct muster_registration_options with = options_of("/a/");
    with.lazy = true;
    script_text = hello;
    open_instance();
    register_with(&with);
    reopen();
    ck_assert_uint_eq(stats().starts, 0);
    check_answer("http://h/a/b", "hello");
    ck_assert_double_eq(call_number("/a/", "count"), 1);
    reopen(); /* now it was */
    check_answer("http://h/a/b", "hello");
    ck_assert_double_eq(call_number("/a/", "count"), 0);
    muster_destroy(muster);
}
END_TEST

START_TEST(one_whose_install_failed_is_not_kept)
{
    const struct muster_registration_options with = options_of("/a/");
    struct muster_handle *handle = NULL;
    script_text = "muster.on('install', function() error('no') end)";
    open_instance();
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_ne(await(handle).status, MUSTER_OK);
    muster_handle_release(handle);
    reopen();
    ck_assert(!is_registered("/a/x"));
    muster_destroy(muster);
}
END_TEST

START_TEST(what_it_was_registered_with_comes_back_with_it)
{
    struct muster_registration_options with = options_of("https://a.example/x/");
    with.tenant = "tenant one";
    with.idempotent = true;
    with.queue_limit = 3;
    with.idle_ms = 1234;
    with.memory_limit = (size_t)64 << 20;
    with.schedule = "5 4 * * *";
    with.lazy = true;
    script_text = hello;
    open_instance();
    register_with(&with);
    reopen();
    const char *scope = "https://a.example/x/";
    struct muster__version *version = NULL;
    ck_assert_int_eq(muster__match(muster, (struct muster_bytes){scope, strlen(scope)}, &version, NULL), MUSTER_OK);
    ck_assert_str_eq(version->scope, scope);
    ck_assert_str_eq(version->script, "/app.lua");
    ck_assert_str_eq(version->tenant, "tenant one");
    ck_assert_str_eq(version->storage_key, "https://a.example");
    ck_assert_str_eq(version->schedule, "5 4 * * *");
    ck_assert_str_eq(version->engine->name, "lua");
    ck_assert(version->idempotent && version->lazy && !version->is_declared);
    ck_assert_uint_eq(version->queue_limit, 3);
    ck_assert_uint_eq(version->idle_us, 1234000);
    ck_assert_uint_eq(version->limits.memory, (size_t)64 << 20);
    muster__version_release(version);
    muster_destroy(muster);
}
END_TEST

START_TEST(one_that_is_declared_at_each_start_waits_for_that)
{
    struct muster_registration_options with = options_of("/a/");
    with.declared = true;
    script_text = hello;
    open_instance();
    register_with(&with);
    reopen();
    ck_assert(!is_registered("/a/x"));
    register_with(&with);
    ck_assert(is_registered("/a/x"));
    muster_destroy(muster);
}
END_TEST


START_TEST(one_that_needs_code_of_the_embedders_waits_for_it)
{
    static const struct muster_native_worker native = {.size = sizeof(native)};
    struct muster_registration_options with = options_of("/a/");
    with.native = &native;
    with.script = NULL;
    open_instance();
    register_with(&with);
    reopen();
    ck_assert(!is_registered("/a/x"));
    muster_destroy(muster);
}
END_TEST

START_TEST(two_instances_do_not_share_a_folder)
{
    struct muster_error error = {0};
    open_instance();
    struct muster *first = muster;
    ck_assert_int_eq(try_open(&error), MUSTER_EXISTS);
    ck_assert_ptr_nonnull(strstr(error.message, "in use"));
    muster_error_clean_up(&error);
    muster_destroy(first);
}
END_TEST

START_TEST(a_job_that_cannot_be_kept_says_so_and_the_next_one_is)
{
    struct muster_registration_options with = options_of("/a/");
    struct rlimit all, little = {0};
    struct muster_handle *handle = NULL;
    script_text = hello;
    open_instance();
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
    little.rlim_max = all.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0); /* the disk is full */
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_OK);
    struct muster_result result = await(handle);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    ck_assert_int_eq(result.status, MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(result.error->message, "registrations.db"));
    muster_handle_release(handle);
    with.scope = "/b/";
    register_with(&with);
    reopen();
    ck_assert(is_registered("/b/x"));
    muster_destroy(muster);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_keeper");
    TCase *tests = tcase_create("store_keeper");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, a_registration_is_there_at_the_next_start_and_no_worker_runs_before_an_event_comes);
    tcase_add_test(tests, the_same_script_registered_again_after_a_start_changes_nothing);
    tcase_add_test(tests, what_was_unregistered_stays_away);
    tcase_add_test(tests, a_lazy_one_that_was_never_installed_is_installed_by_its_first_event_in_the_next_life);
    tcase_add_test(tests, one_whose_install_failed_is_not_kept);
    tcase_add_test(tests, what_it_was_registered_with_comes_back_with_it);
    tcase_add_test(tests, one_that_is_declared_at_each_start_waits_for_that);
    tcase_add_test(tests, one_that_needs_code_of_the_embedders_waits_for_it);
    tcase_add_test(tests, two_instances_do_not_share_a_folder);
    tcase_add_test(tests, a_job_that_cannot_be_kept_says_so_and_the_next_one_is);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
