/* tests/test_store_stubs.c - registrations of an earlier life that nothing has wanted yet: they do all that a
 * registration does, and nothing of them is made before.  The rows are put into the store as they would have been. */
#include "context_harness.h"
#include "failing_malloc.h"

#include "coordinator/store.h"
#include "coordinator/stub.h"
#include "coordinator/sync.h"
#include "tests/state_folder.h"

#include <unistd.h>

#define LUA "{\"engine\":\"lua\",\"root\":\"/srv\"}"

static const char *script_text;
static struct counter lines = COUNTER;  /* that were printed */
static struct counter losses = COUNTER; /* that were logged */

static const char hello[] = "muster.on('fetch', function() return {body = 'hello'} end)\n"
                            "muster.on('install', function() print('installed') end)\n"
                            "muster.on('scheduled', function() print('scheduled') end)\n"
                            "muster.on('periodicsync', function() print('periodicsync') end)\n";

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)url, (void)importer, (void)error, (void)user_data;
    ret_loaded->text = muster__strdup(script_text);
    ret_loaded->length = strlen(script_text);
    return MUSTER_OK;
}

static void on_console(const char *scope, enum muster_log_level level, struct muster_bytes text, void *user_data)
{
    (void)scope, (void)level, (void)text, (void)user_data;
    counter_add(&lines, 1);
}

static void on_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (level > MUSTER_LOG_WARNING)
        return;
    if (strstr(text, "could not be restored"))
        counter_add(&losses, 1);
    fprintf(stderr, "%s: %s\n", subject, text);
}

/* ---- the store before ---- */

static struct muster__store *open_store(void)
{
    struct muster__store *store = NULL;
    char *notice = NULL;
    ck_assert_int_eq(muster__store_open(folder, &store, &notice, NULL), MUSTER_OK);
    return store;
}

static struct muster__stored_registration row(const char *storage_key, const char *scope)
{
    return (struct muster__stored_registration){
        .storage_key = storage_key, .scope = scope, .script_url = "/app.lua", .settings = LUA};
}

static void put(const struct muster__stored_registration *stored)
{
    struct muster__store *store = open_store();
    ck_assert_int_eq(muster__store_put(store, stored, NULL, NULL), MUSTER_OK);
    muster__store_close(store); /* writes it first */
}

static void put_plain(const char *storage_key, const char *scope)
{
    const struct muster__stored_registration stored = row(storage_key, scope);
    put(&stored);
}

static void set_up(void)
{
    make_folder();
    script_text = hello;
}

/* ---- the next life ---- */

static void open_with_limit(unsigned registrations)
{
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options),
                                         .threads = 2,
                                         .no_spare_process = true,
                                         .state_folder = folder,
                                         .registration_limit = registrations,
                                         .console = on_console,
                                         .log = on_log});
}

static void open_kept(void)
{
    open_with_limit(0);
}

static enum muster_status settle_handle(struct muster_handle *handle)
{
    struct muster_result result;
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    enum muster_status status = result.status;
    muster_handle_release(handle);
    return status;
}

static struct muster_handle *begin_fetch(const char *url)
{
    struct muster_handle *handle = NULL;
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

static void check_answer(const char *url, const char *body)
{
    struct muster_handle *handle = begin_fetch(url);
    struct muster_result result;
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error && result.error->message ? result.error->message : "?");
    ck_assert_uint_eq(result.response->body.length, strlen(body));
    ck_assert_mem_eq(result.response->body.data, body, strlen(body));
    muster_handle_release(handle);
}

static enum muster_status dispatch(const char *scope, const char *type)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_dispatch(muster, scope, type, NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    return settle_handle(handle);
}

static enum muster_status unregister(const char *scope)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_unregister(muster, scope, NULL, NULL, &handle), MUSTER_OK);
    return settle_handle(handle);
}

/* "SCOPE ENGINE STATE;" of each. */
static void check_list(const char *wanted)
{
    char text[1024] = "";
    struct muster_handle *handle = NULL;
    struct muster_result result;
    ck_assert_int_eq(muster_list(muster, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    const struct muster_value *workers = muster_value_get(result.value, "workers");
    for (size_t i = 0; i < muster_value_count(workers); i++) {
        const struct muster_value *worker = muster_value_at(workers, i);
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s %s %s;", text_of(worker, "scope"), text_of(worker, "engine"),
                 text_of(worker, "state"));
    }
    ck_assert_str_eq(text, wanted);
    muster_handle_release(handle);
}

static struct muster_stats stats(void)
{
    struct muster_stats now = {.size = sizeof(now)};
    muster_stats(muster, &now);
    return now;
}

/* Every round before this has been published. */
static void end_round(void)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_list(muster, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settle_handle(handle), MUSTER_OK);
}

static bool is_stub(const char *scope)
{
    end_round();
    struct muster__entry *entry = muster__scope_map_match(muster->scopes, scope, strlen(scope));
    ck_assert_ptr_nonnull(entry);
    bool stub = entry->is_stub;
    muster__entry_release(entry);
    return stub;
}

/* ---- the tests ---- */

START_TEST(nothing_of_it_is_made_before_an_event_wants_it_and_then_all_of_it)
{
    char scope[16] = "";
    put_plain("", "/a/");
    put_plain("", "/b/");
    open_kept();
    ck_assert_uint_eq(stats().registrations, 2);
    ck_assert_uint_eq(muster_match(muster, "http://h/a/x", scope, sizeof(scope)), 3);
    ck_assert_str_eq(scope, "/a/");
    ck_assert(is_stub("/a/") && is_stub("/b/"));
    check_answer("http://h/a/x", "hello");
    ck_assert(!is_stub("/a/") && is_stub("/b/"));
    ck_assert_uint_eq(stats().registrations, 2);
    ck_assert_uint_eq(stats().starts, 1);
    ck_assert_int_eq(lines.count, 0); /* it was installed in its former life */
    close_muster();
}
END_TEST

static pthread_barrier_t start;

static void *fetch_one(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&start);
    check_answer("http://h/a/x", "hello");
    return NULL;
}

START_TEST(threads_that_want_it_at_once_are_answered_by_one_worker)
{
    pthread_t threads[4];
    const unsigned count = sizeof(threads) / sizeof(threads[0]);
    put_plain("", "/a/");
    open_kept();
    pthread_barrier_init(&start, NULL, count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fetch_one, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    ck_assert_uint_eq(stats().starts, 1);
    ck_assert_uint_eq(stats().registrations, 1);
    close_muster();
}
END_TEST

START_TEST(one_that_was_never_installed_is_installed_by_its_first_event)
{
    struct muster__stored_registration stored = row("", "/a/");
    stored.settings = "{\"engine\":\"lua\",\"root\":\"/srv\",\"new\":true,\"lazy\":true}";
    put(&stored);
    open_kept();
    check_answer("http://h/a/x", "hello");
    ck_assert_int_eq(lines.count, 1);
    close_muster();
}
END_TEST

START_TEST(it_is_unregistered_for_good)
{
    put_plain("", "/a/");
    open_kept();
    ck_assert_int_eq(unregister("/a/"), MUSTER_OK);
    ck_assert_uint_eq(stats().registrations, 0);
    ck_assert_uint_eq(muster_match(muster, "/a/x", NULL, 0), 0);
    ck_assert_uint_eq(stats().starts, 0);
    close_muster();
    open_kept();
    ck_assert_uint_eq(stats().registrations, 0);
    close_muster();
}
END_TEST

START_TEST(it_is_updated)
{
    const struct muster__stored_script old = {.url = "/app.lua", .text = {hello, strlen(hello)}};
    struct muster__stored_registration stored = row("", "/a/");
    struct muster_handle *handle = NULL;
    stored.settings = "{\"engine\":\"lua\",\"root\":\"/srv\",\"scripts\":true}";
    stored.scripts = &old;
    stored.script_count = 1;
    put(&stored);
    script_text = "muster.on('fetch', function() return {body = 'newer'} end)";
    open_kept();
    ck_assert_int_eq(muster_update(muster, "/a/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settle_handle(handle), MUSTER_OK);
    check_answer("http://h/a/x", "newer");
    close_muster();
    open_kept();
    check_answer("http://h/a/x", "newer");
    close_muster();
}
END_TEST

START_TEST(it_is_stopped_though_it_never_ran)
{
    struct muster_handle *handle = NULL;
    put_plain("", "/a/");
    open_kept();
    ck_assert_int_eq(muster_stop(muster, "/a/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settle_handle(handle), MUSTER_OK);
    ck_assert_uint_eq(stats().starts, 0);
    close_muster();
}
END_TEST

START_TEST(it_is_listed_and_stays_what_it_is)
{
    put_plain("", "/a/");
    put_plain("https://a.test", "https://a.test/b/");
    open_kept();
    check_list("/a/ lua asleep;https://a.test/b/ lua asleep;");
    ck_assert(is_stub("/a/") && is_stub("https://a.test/b/"));
    check_answer("https://a.test/b/x", "hello");
    check_list("https://a.test/b/ lua running;/a/ lua asleep;");
    close_muster();
}
END_TEST

START_TEST(its_routes_and_the_events_it_never_listened_for_start_no_worker)
{
    struct muster__stored_registration stored = row("", "/a/");
    stored.event_types = "[\"fetch\",\"install\"]";
    stored.routes = "[{\"condition\":{\"urlPattern\":\"/a/static/*\"},\"source\":\"network\"}]";
    stored.script_url = "http://h/app.lua";
    put(&stored);
    open_kept();
    ck_assert_int_eq(settle_handle(begin_fetch("http://h/a/static/x")), MUSTER_PASSED);
    ck_assert_int_eq(dispatch("/a/", "push"), MUSTER_PASSED);
    ck_assert_uint_eq(stats().starts, 0);
    check_answer("http://h/a/x", "hello");
    ck_assert_uint_eq(stats().starts, 1);
    close_muster();
}
END_TEST

/* An hour later, as the coordinator sees it. */
static void run_later(struct muster__message *message, struct muster *of)
{
    (void)message;
    atomic_store(&of->wall_ahead_us, 3600000000u);
    muster__syncs_tick(of, muster__now_us() + 3600000000u);
}

START_TEST(what_is_scheduled_for_it_comes)
{
    static struct muster__message later = {.run = run_later};
    struct muster__stored_registration stored = row("", "/a/");
    stored.settings = "{\"engine\":\"lua\",\"root\":\"/srv\",\"schedule\":\"* * * * *\"}";
    put(&stored);
    open_kept();
    ck_assert(is_stub("/a/"));
    (void)muster__coordinator_post(muster, &later);
    counter_await(&lines, 1);
    ck_assert_uint_eq(stats().starts, 1);
    close_muster();
}
END_TEST

static void run_wanted_and_later(struct muster__message *message, struct muster *of)
{
    atomic_store(&of->wall_ahead_us, 3600000000u);
    ck_assert_int_eq(muster__stubs_want(of, "/a/", NULL), MUSTER_OK);
    muster__stubs_take_up(of);
    run_later(message, of);
}

START_TEST(what_is_due_when_something_else_wants_it_comes_too)
{
    static struct muster__message later = {.run = run_wanted_and_later};
    struct muster__stored_registration stored = row("", "/a/");
    stored.settings = "{\"engine\":\"lua\",\"root\":\"/srv\",\"schedule\":\"* * * * *\"}";
    put(&stored);
    open_kept();
    (void)muster__coordinator_post(muster, &later);
    counter_await(&lines, 1);
    close_muster();
}
END_TEST

START_TEST(a_periodic_sync_of_it_comes)
{
    const struct muster__stored_sync sync = {
        .storage_key = "", .scope = "/a/", .tag = "news", .is_periodic = true, .interval_us = 3600000000u, .due_us = 1};
    put_plain("", "/a/");
    struct muster__store *store = open_store();
    ck_assert_int_eq(muster__store_put_sync(store, &sync, NULL, NULL), MUSTER_OK);
    muster__store_close(store);
    open_kept();
    counter_await(&lines, 1);
    ck_assert_uint_eq(stats().starts, 1);
    close_muster();
}
END_TEST

START_TEST(a_damaged_row_hurts_nobody_else_and_stays_in_the_store)
{
    struct muster__stored_registration stored = row("", "/engine/");
    stored.settings = "{\"engine\":\"none such\"}";
    put(&stored);
    stored = row("", "/types/");
    stored.event_types = "[";
    stored.via = 77;
    put(&stored);
    stored = row("", "/routes/");
    stored.routes = "no routes";
    put(&stored);
    put_plain("", "/whole/");
    for (int life = 1; life <= 2; life++) {
        open_kept();
        ck_assert_int_eq(losses.count, 2 * life - 1); /* the engine */
        ck_assert_uint_eq(stats().registrations, 3);
        ck_assert_uint_eq(muster_match(muster, "/engine/x", NULL, 0), 0);
        check_answer("http://h/types/x", "hello");
        check_answer("http://h/routes/x", "hello");
        ck_assert_int_eq(losses.count, 2 * life); /* the routes */
        check_answer("http://h/whole/x", "hello");
        close_muster();
    }
}
END_TEST

/* Each would give a worker more than its row gave, were it read as the default. */
static const char *const damaged_settings[] = {
    NULL,
    "",
    "{\"engine\":\"lua\",\"trust\":2",
    "[\"lua\"]",
    "null",
    "{\"engine\":\"lua\",\"trust\":\"none\"}",
    "{\"engine\":\"lua\",\"trust\":3}",
    "{\"engine\":\"lua\",\"trust\":4294967296}",
    "{\"engine\":\"lua\",\"hosting\":-1}",
    "{\"engine\":\"lua\",\"hosting\":9}",
    "{\"engine\":\"lua\",\"memory\":null}",
    "{\"engine\":\"lua\",\"queue\":-3}",
    "{\"engine\":\"lua\",\"root\":[]}",
    "{\"engine\":\"lua\",\"idempotent\":1}",
    "{\"engine\":\"lua\",\"scripts\":\"no\"}",
};

START_TEST(one_whose_settings_cannot_be_read_is_set_aside_and_not_given_the_defaults)
{
    struct muster__stored_registration stored = row("", "/damaged/");
    stored.settings = damaged_settings[_i];
    put(&stored);
    put_plain("", "/whole/");
    for (int life = 1; life <= 2; life++) {
        open_kept();
        ck_assert_int_eq(losses.count, life);
        ck_assert_uint_eq(stats().registrations, 1);
        ck_assert_uint_eq(muster_match(muster, "/damaged/x", NULL, 0), 0);
        check_answer("http://h/whole/x", "hello");
        close_muster();
    }
}
END_TEST

START_TEST(a_limit_that_is_none_is_still_none)
{
    struct muster__stored_registration stored = row("", "/a/");
    stored.settings = "{\"engine\":\"lua\",\"root\":\"/srv\",\"memory\":18446744073709551616,\"queue\":7,\"trust\":1}";
    put(&stored);
    open_kept();
    struct muster__version *version = find_scope("/a/");
    ck_assert_uint_eq(version->limits.memory, SIZE_MAX);
    ck_assert_uint_eq(version->queue_limit, 7);
    ck_assert_int_eq(version->trust, MUSTER__TRUST_FULL);
    muster__version_release(version);
    close_muster();
}
END_TEST

/* ---- memory that fails ---- */

static struct muster__stored_registration row_of_tenant(void)
{
    struct muster__stored_registration stored = row("", "/a/");
    stored.settings = "{\"engine\":\"lua\",\"root\":\"/srv\",\"trust\":2,\"tenant\":\"t\"}";
    stored.event_types = "[\"fetch\"]";
    stored.routes = "[{\"condition\":{\"urlPattern\":\"/a/static/*\"},\"source\":\"network\"}]";
    stored.script_url = "http://h/app.lua";
    return stored;
}

static void check_tenant(struct muster__version *version)
{
    ck_assert_int_eq(version->trust, MUSTER__TRUST_NONE);
    ck_assert_str_eq(version->tenant, "t");
    ck_assert(version->event_types && version->rules);
    muster__version_release(version);
}

START_TEST(one_that_does_not_fit_into_memory_is_told_by_name_and_comes_whole_or_not_at_all)
{
    const struct muster__stored_registration stored = row_of_tenant();
    struct muster__version *version = NULL;
    put(&stored);
    open_kept();
    end_round();
    WITH_EVERY_FAILURE(grants) {
        struct muster_error error = {0};
        enum muster_status status = muster__find_scope(muster, "/a/", &version, &error);
        malloc_all_granted();
        ck_assert_int_eq(status, malloc_has_failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        ck_assert(status == MUSTER_OK || !error.message || strstr(error.message, "/a/"));
        muster_error_clean_up(&error);
    }
    check_tenant(version);
    close_muster();
}
END_TEST

/* One allocation fails, the one after so many. */
static void fail_one(long grants)
{
    malloc_failures = 1;
    malloc_grants = grants;
}

/* NO_MEMORY, in words that name the scope.  All are granted again. */
static bool names_it(struct muster_handle *handle)
{
    struct muster_result result;
    enum muster_status waited = muster_wait(handle, PATIENCE_MS, &result);
    malloc_all_granted();
    ck_assert_int_eq(waited, MUSTER_OK);
    bool does = result.status == MUSTER_NO_MEMORY && result.error && result.error->message &&
                strstr(result.error->message, "/a/");
    muster_handle_release(handle);
    return does;
}

START_TEST(who_sends_an_event_to_one_that_does_not_fit_into_memory_hears_so)
{
    struct muster_handle *handle = NULL;
    put_plain("", "/a/");
    open_kept();
    end_round();
    fail_one(0);
    ck_assert_int_eq(muster_dispatch(muster, "/a/", "push", NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert(names_it(handle));
    fail_one(0);
    handle = begin_fetch("http://h/a/x");
    ck_assert(names_it(handle));
    ck_assert(is_stub("/a/"));
    check_answer("http://h/a/x", "hello");
    close_muster();
}
END_TEST

START_TEST(who_unregisters_one_that_does_not_fit_into_memory_hears_so_and_it_stays)
{
    bool told = false;
    put_plain("", "/a/");
    open_kept();
    for (long grants = 0; !told; grants++) { /* the first of them are those of the call */
        struct muster_handle *handle = NULL;
        end_round();
        fail_one(grants);
        enum muster_status status = muster_unregister(muster, "/a/", NULL, NULL, &handle);
        told = handle && names_it(handle);
        malloc_all_granted();
        ck_assert(status == MUSTER_OK || status == MUSTER_NO_MEMORY);
    }
    ck_assert(is_stub("/a/"));
    ck_assert_int_eq(unregister("/a/"), MUSTER_OK);
    close_muster();
}
END_TEST

static void run_adding(struct muster__message *message, struct muster *of)
{
    const struct muster__stored_registration stored = row_of_tenant();
    (void)message;
    WITH_EVERY_FAILURE(grants) {
        struct muster__stub_trials trials = {0};
        muster__stubs_add(of, &stored, &trials);
        muster__stub_trials_clean_up(&trials);
    }
    counter_add(&lines, 1);
}

START_TEST(a_row_that_does_not_fit_into_memory_is_not_read_as_something_else)
{
    static struct muster__message adding = {.run = run_adding};
    open_kept();
    (void)muster__coordinator_post(muster, &adding);
    counter_await(&lines, 1);
    end_round();
    ck_assert_int_gt(losses.count, 0);
    ck_assert_uint_eq(stats().registrations, 1);
    check_tenant(find_scope("/a/"));
    close_muster();
}
END_TEST

START_TEST(an_event_for_it_settles_though_the_instance_closes)
{
    put_plain("", "/a/");
    open_kept();
    struct muster_handle *handle = begin_fetch("http://h/a/x");
    ck_assert_int_eq(muster_close(muster, NULL, NULL), MUSTER_OK);
    enum muster_status status = settle_handle(handle);
    ck_assert_msg(status == MUSTER_OK || status == MUSTER_SHUTDOWN || status == MUSTER_TERMINATED, "%d", status);
    close_muster();
}
END_TEST

START_TEST(one_that_was_wanted_and_never_posted_to_goes_with_the_instance)
{
    put_plain("", "/a/");
    open_kept();
    struct muster__version *version = find_scope("/a/");
    ck_assert(muster__version_controls(version));
    muster__version_release(version);
    close_muster();
}
END_TEST

/* ---- as scripts see it ---- */

static double ask_register(struct realm *realm, const char *script, const char *scope)
{
    struct muster_value *options =
        MUSTER__OBJECT({"type", muster__tree_text("classic")}, {"updateViaCache", muster__tree_text("imports")});
    send(realm,
         MUSTER__ARRAY(muster__tree_text("ask"), muster_value_new_number(++realm->asks), muster__tree_text("register"),
                       muster__tree_text(script), muster__tree_text(scope), options),
         NULL, NULL);
    return realm->asks;
}

START_TEST(it_counts_against_what_its_origin_may_have)
{
    put_plain("https://a.test", "https://a.test/1/");
    put_plain("https://a.test", "https://a.test/2/");
    put_plain("https://b.test", "https://b.test/1/");
    open_with_limit(2);
    struct realm *realm = page("https://a.test/"), *stranger = page("https://b.test/");
    answer_fails(realm, ask_register(realm, "https://a.test/sw.lua", "https://a.test/3/"), "QuotaExceededError");
    answer_ok(stranger, ask_register(stranger, "https://b.test/sw.lua", "https://b.test/3/"));
    ck_assert(is_stub("https://a.test/1/"));
    ck_assert_int_eq(unregister("https://a.test/1/"), MUSTER_OK);
    answer_ok(realm, ask_register(realm, "https://a.test/sw.lua", "https://a.test/3/"));
    realm_close(realm);
    realm_close(stranger);
    close_muster();
}
END_TEST

START_TEST(a_page_finds_those_of_its_origin_in_the_order_in_which_they_were_made)
{
    put_plain("https://a.test", "https://a.test/2/");
    put_plain("https://a.test", "https://a.test/1/");
    put_plain("https://b.test", "https://b.test/1/");
    open_kept();
    struct realm *realm = page("https://a.test/");
    struct muster__port_message *message = answer(realm, ask_with(realm, "getRegistrations", NULL, NULL, NULL), true);
    const struct muster_value *list = muster_value_at(message->head, 3);
    ck_assert_uint_eq(muster_value_count(list), 2);
    ck_assert_str_eq(text_of(muster_value_at(list, 0), "scope"), "https://a.test/2/");
    ck_assert_str_eq(text_of(muster_value_at(list, 1), "scope"), "https://a.test/1/");
    ck_assert_str_eq(text_of(muster_value_get(muster_value_at(list, 1), "active"), "state"), "activated");
    muster__port_message_destroy(message);
    ck_assert(is_stub("https://b.test/1/"));
    realm_close(realm);
    close_muster();
}
END_TEST

START_TEST(a_page_finds_the_one_that_a_url_matches)
{
    put_plain("https://a.test", "https://a.test/app/");
    put_plain("https://a.test", "https://a.test/app/inner/");
    open_kept();
    struct realm *realm = page("https://a.test/");
    struct muster__port_message *message =
        answer(realm, ask_with(realm, "getRegistration", muster__tree_text("https://a.test/app/inner/x"), NULL, NULL), true);
    ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "scope"), "https://a.test/app/inner/");
    muster__port_message_destroy(message);
    ck_assert(is_stub("https://a.test/app/"));
    realm_close(realm);
    close_muster();
}
END_TEST

START_TEST(a_page_that_it_matches_is_controlled_and_ready_at_once)
{
    put_plain("https://a.test", "https://a.test/app/");
    open_kept();
    struct realm *realm = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_CLIENT, .url = "https://a.test/app/index.html"});
    struct muster__port_message *message = realm_take(realm);
    ck_assert_str_eq(text_at(message->head, 1), "environment");
    ck_assert_str_eq(text_of(muster_value_get(muster_value_at(message->head, 2), "controller"), "state"), "activated");
    muster__port_message_destroy(message);
    answer_ok(realm, ask_with(realm, "ready", NULL, NULL, NULL));
    ck_assert_uint_eq(stats().starts, 0);
    realm_close(realm);
    close_muster();
}
END_TEST

START_TEST(a_worker_that_starts_where_it_matches_is_controlled_by_it)
{
    double id;
    put_plain("https://a.test", "https://a.test/app/");
    open_kept();
    struct realm *realm = page("https://a.test/index.html"); /* which it does not match */
    ck_assert(is_stub("https://a.test/app/"));
    struct realm *worker = worker_new(realm, "https://a.test/app/worker.lua", &id);
    answer_ok(realm, id);
    ck_assert(!is_stub("https://a.test/app/"));
    struct realm *service = service_of("https://a.test/app/");
    struct muster__port_message *message =
        answer(service, ask_with(service, "clients.matchAll", MUSTER__OBJECT({"type", muster__tree_text("worker")}), NULL, NULL),
               true);
    ck_assert_uint_eq(muster_value_count(muster_value_at(message->head, 3)), 1);
    muster__port_message_destroy(message);
    realm_close(service);
    realm_close(worker);
    realm_close(realm);
    close_muster();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_stubs");
    TCase *tests = tcase_create("store_stubs");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, remove_folder);
    tcase_add_test(tests, nothing_of_it_is_made_before_an_event_wants_it_and_then_all_of_it);
    tcase_add_test(tests, threads_that_want_it_at_once_are_answered_by_one_worker);
    tcase_add_test(tests, one_that_was_never_installed_is_installed_by_its_first_event);
    tcase_add_test(tests, it_is_unregistered_for_good);
    tcase_add_test(tests, it_is_updated);
    tcase_add_test(tests, it_is_stopped_though_it_never_ran);
    tcase_add_test(tests, it_is_listed_and_stays_what_it_is);
    tcase_add_test(tests, its_routes_and_the_events_it_never_listened_for_start_no_worker);
    tcase_add_test(tests, what_is_scheduled_for_it_comes);
    tcase_add_test(tests, what_is_due_when_something_else_wants_it_comes_too);
    tcase_add_test(tests, a_periodic_sync_of_it_comes);
    tcase_add_test(tests, a_damaged_row_hurts_nobody_else_and_stays_in_the_store);
    tcase_add_loop_test(tests, one_whose_settings_cannot_be_read_is_set_aside_and_not_given_the_defaults, 0,
                        sizeof(damaged_settings) / sizeof(*damaged_settings));
    tcase_add_test(tests, a_limit_that_is_none_is_still_none);
    tcase_add_test(tests, one_that_does_not_fit_into_memory_is_told_by_name_and_comes_whole_or_not_at_all);
    tcase_add_test(tests, who_sends_an_event_to_one_that_does_not_fit_into_memory_hears_so);
    tcase_add_test(tests, who_unregisters_one_that_does_not_fit_into_memory_hears_so_and_it_stays);
    tcase_add_test(tests, a_row_that_does_not_fit_into_memory_is_not_read_as_something_else);
    tcase_add_test(tests, an_event_for_it_settles_though_the_instance_closes);
    tcase_add_test(tests, one_that_was_wanted_and_never_posted_to_goes_with_the_instance);
    tcase_add_test(tests, it_counts_against_what_its_origin_may_have);
    tcase_add_test(tests, a_page_finds_those_of_its_origin_in_the_order_in_which_they_were_made);
    tcase_add_test(tests, a_page_finds_the_one_that_a_url_matches);
    tcase_add_test(tests, a_page_that_it_matches_is_controlled_and_ready_at_once);
    tcase_add_test(tests, a_worker_that_starts_where_it_matches_is_controlled_by_it);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
