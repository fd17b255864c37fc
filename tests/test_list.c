/* tests/test_list.c - muster_list(): who exists, as an embedder sees it.
 *
 * Workers are Lua, given by a loader of this file; one that waits in "/hold" is released by an event. */
#include "coordinator/muster.h"

#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */

static const char script[] = "local free = false\n"
                             "muster.on('fetch', function(event) return {body = 'hello'} end)\n"
                             "muster.on('note', function(event) end)\n"
                             "muster.on('hold', function(event)\n"
                             "  while not free do muster.sleep(1) end\n"
                             "end)\n"
                             "muster.on('free', function(event) free = true end)\n"
                             "muster.on('connect', function(event) end)\n";

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)url;
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = strdup(script);
    ret_loaded->length = sizeof(script) - 1;
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static struct muster *muster;

static void start(void)
{
    const struct muster_options options = {.size = sizeof(options), .threads = 2, .load = load};
    struct muster_error error = {0};
    ck_assert_msg(muster_new(&options, &muster, &error) == MUSTER_OK, "%s", error.message);
}

static void end(void)
{
    muster_destroy(muster);
}

static enum muster_status settle(struct muster_handle *handle)
{
    struct muster_result result;
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    enum muster_status status = result.status;
    muster_handle_release(handle);
    return status;
}

static void add(const char *scope, bool lazy)
{
    const struct muster_registration_options options = {
        .size = sizeof(options), .scope = scope, .script = "app.lua", .engine = "lua", .lazy = lazy};
    struct muster_handle *handle;
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settle(handle), MUSTER_OK);
}

static struct muster_handle *dispatch(const char *scope, const char *type)
{
    struct muster_handle *handle;
    ck_assert_int_eq(muster_dispatch(muster, scope, type, NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

/* Retained: for muster_value_release(). */
static struct muster_value *list(const struct muster_list_options *options)
{
    struct muster_handle *handle;
    struct muster_result result;
    ck_assert_int_eq(muster_list(muster, options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    struct muster_value *value = muster_value_acquire(result.value);
    muster_handle_release(handle);
    return value;
}

/* "SCOPE TYPE STATE;" of each. */
static void check_list(const struct muster_list_options *options, const char *wanted, double more)
{
    char text[1024] = "";
    struct muster_value *value = list(options);
    const struct muster_value *workers = muster_value_get(value, "workers");
    for (size_t i = 0; i < muster_value_count(workers); i++) {
        const struct muster_value *worker = muster_value_at(workers, i);
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s %s %s;", muster_value_bytes(muster_value_get(worker, "scope")).data,
                 muster_value_bytes(muster_value_get(worker, "type")).data,
                 muster_value_bytes(muster_value_get(worker, "state")).data);
    }
    ck_assert_str_eq(text, wanted);
    ck_assert_double_eq(muster_value_number(muster_value_get(value, "more")), more);
    muster_value_release(value);
}

static double number(const struct muster_value *object, const char *key)
{
    return muster_value_number(muster_value_get(object, key));
}

START_TEST(those_that_run_come_before_those_that_wait_for_an_event)
{
    start();
    check_list(NULL, "", 0);
    add("/asleep/", true);
    add("/b/", false);
    add("/a/", false);
    check_list(NULL, "/b/ service running;/a/ service running;/asleep/ service asleep;", 0);
    end();
}
END_TEST

START_TEST(a_worker_that_was_stopped_is_asleep_until_its_next_event)
{
    start();
    struct muster_handle *handle;
    add("/", false);
    ck_assert_int_eq(muster_stop(muster, "/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settle(handle), MUSTER_OK);
    check_list(NULL, "/ service asleep;", 0);
    ck_assert_int_eq(settle(dispatch("/", "note")), MUSTER_OK);
    check_list(NULL, "/ service running;", 0);
    end();
}
END_TEST

START_TEST(one_scope_or_those_on_a_host_alone_may_be_asked_for_and_a_limit_tells_what_it_leaves_out)
{
    start();
    add("/a/", false);
    add("/b/", true);
    add("/c/", false);
    check_list(&(struct muster_list_options){.size = sizeof(struct muster_list_options), .scope = "/b/"},
               "/b/ service asleep;", 0);
    check_list(&(struct muster_list_options){.size = sizeof(struct muster_list_options), .scope = "/d/"}, "", 0);
    check_list(&(struct muster_list_options){.size = sizeof(struct muster_list_options), .running = true},
               "/a/ service running;/c/ service running;", 0);
    check_list(&(struct muster_list_options){.size = sizeof(struct muster_list_options), .limit = 1},
               "/a/ service running;", 2);
    end();
}
END_TEST

START_TEST(a_worker_is_shown_with_its_host_its_events_and_its_starts)
{
    start();
    struct muster_handle *handle;
    add("/", false);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(settle(dispatch("/", "note")), MUSTER_OK);
    ck_assert_int_eq(muster_stop(muster, "/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settle(handle), MUSTER_OK);
    struct muster_handle *held = dispatch("/", "hold");
    ck_assert_int_eq(settle(dispatch("/", "note")), MUSTER_OK); /* behind it: so that has begun */
    struct muster_value *value = list(NULL);
    const struct muster_value *worker = muster_value_at(muster_value_get(value, "workers"), 0);
    const struct muster_value *events = muster_value_get(worker, "events");
    ck_assert_double_eq(number(events, "total"), 5); /* of both its lives */
    ck_assert_double_ge(number(events, "in_flight"), 1); /* the note has settled, and may be ending still */
    ck_assert_double_eq(number(worker, "starts"), 2);
    ck_assert_double_eq(number(muster_value_get(worker, "host"), "pid"), (double)getpid());
    ck_assert_double_gt(number(worker, "instance"), 0);
    ck_assert_double_gt(number(worker, "turns"), 0);
    ck_assert_str_eq(muster_value_bytes(muster_value_get(worker, "engine")).data, "lua");
    muster_value_release(value);
    ck_assert_int_eq(settle(dispatch("/", "free")), MUSTER_OK);
    ck_assert_int_eq(settle(held), MUSTER_OK);
    end();
}
END_TEST

START_TEST(a_shared_worker_is_shown_with_its_name_while_somebody_holds_it)
{
    start();
    struct muster_client *client;
    struct muster_port *port;
    const struct muster_client_options page = {.size = sizeof(page), .url = "https://a.test/"};
    const struct muster_shared_worker_options shared = {.size = sizeof(shared), .url = "https://a.test/s.lua", .name = "n"};
    ck_assert_int_eq(muster_client_open(muster, &page, &client), MUSTER_OK);
    ck_assert_int_eq(muster_shared_worker_connect(client, &shared, &port), MUSTER_OK);
    struct muster_value *value = list(NULL);
    while (muster_value_count(muster_value_get(value, "workers")) == 0) { /* a connection is made in its own time */
        muster_value_release(value);
        value = list(NULL);
    }
    const struct muster_value *worker = muster_value_at(muster_value_get(value, "workers"), 0);
    ck_assert_str_eq(muster_value_bytes(muster_value_get(worker, "type")).data, "shared");
    ck_assert_str_eq(muster_value_bytes(muster_value_get(worker, "name")).data, "n");
    muster_value_release(value);
    muster_port_close(port);
    muster_client_close(client);
    end();
}
END_TEST

START_TEST(who_asks_wrongly_or_too_late_is_told)
{
    struct muster_list_options options = {.size = sizeof(options) + 1};
    start();
    ck_assert_int_eq(muster_list(muster, &options, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    options.size = 0;
    ck_assert_int_eq(muster_list(muster, &options, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    ck_assert_int_eq(muster_list(muster, NULL, NULL, NULL, NULL), MUSTER_SHUTDOWN);
    ck_assert_int_eq(muster_update(muster, "/", NULL, NULL, NULL), MUSTER_SHUTDOWN);
    end();
}
END_TEST

static void count_settled(const struct muster_result *result, void *user_data)
{
    (void)result;
    atomic_uint *settled = user_data;
    atomic_fetch_add(settled, 1);
}

START_TEST(a_list_that_is_asked_for_while_the_instance_closes_settles)
{
    atomic_uint settled = 0;
    unsigned asked = 0;
    start();
    add("/", false);
    for (int i = 0; i < 50; i++)
        asked += muster_list(muster, NULL, count_settled, &settled, NULL) == MUSTER_OK;
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    ck_assert_uint_eq(atomic_load(&settled), asked);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("list");
    TCase *tc = tcase_create("list");
    tcase_add_test(tc, those_that_run_come_before_those_that_wait_for_an_event);
    tcase_add_test(tc, a_worker_that_was_stopped_is_asleep_until_its_next_event);
    tcase_add_test(tc, one_scope_or_those_on_a_host_alone_may_be_asked_for_and_a_limit_tells_what_it_leaves_out);
    tcase_add_test(tc, a_worker_is_shown_with_its_host_its_events_and_its_starts);
    tcase_add_test(tc, a_shared_worker_is_shown_with_its_name_while_somebody_holds_it);
    tcase_add_test(tc, who_asks_wrongly_or_too_late_is_told);
    tcase_add_test(tc, a_list_that_is_asked_for_while_the_instance_closes_settles);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
