/* tests/test_tenant_limits.c - what the scripts of one storage key may have: more is refused at once, with a name and a
 * sentence, and does not touch the others.  (How many workers: test_contexts.c; how many requests wait for one:
 * test_muster.c.) */
#include "context_harness.h"

static struct counter gate = COUNTER; /* the script in the folder "slow" waits for it */

#define SCRIPT "-- a script of this length\n"

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer, (void)error, (void)user_data;
    static const char channels[] =
        "let open = [];\n"
        "const acts = {\n"
        "  open: (count) => { for (let i = 0; i < count; i++) open.push(new MessageChannel()); },\n"
        "  forget: () => { open.length = 0; },\n"
        "  close: () => { open.forEach(({ port2 }) => port2.close()); open = []; },\n"
        "};\n"
        "addEventListener('fetch', (event) => {\n"
        "  const [, , act, count] = new URL(event.request.url).pathname.split('/');\n"
        "  let said = 'done';\n"
        "  try { acts[act](Number(count)); } catch (error) { said = error.name; }\n"
        "  event.respondWith(new Response(said));\n"
        "});\n";
    if (strstr(url, "/slow/"))
        counter_await(&gate, 1);
    ret_loaded->text = muster__strdup(strstr(url, ".js") ? channels : SCRIPT);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static double ask_register(struct realm *realm, const char *origin, const char *folder)
{
    char script[96], scope[96];
    snprintf(script, sizeof(script), "%s/%s/sw.lua", origin, folder);
    snprintf(scope, sizeof(scope), "%s/%s/", origin, folder);
    struct muster_value *options =
        MUSTER__OBJECT({"type", muster__tree_text("classic")}, {"updateViaCache", muster__tree_text("imports")});
    send(realm,
         MUSTER__ARRAY(muster__tree_text("ask"), muster_value_new_number(++realm->asks), muster__tree_text("register"),
                       muster__tree_text(script), muster__tree_text(scope), options),
         NULL, NULL);
    return realm->asks;
}

static bool unregister_first(struct muster *of)
{
    struct muster_handle *handle = NULL;
    struct muster_result result;
    ck_assert_int_eq(muster_unregister(of, "https://a.test/1/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    enum muster_status status = result.status;
    muster_handle_release(handle);
    return status == MUSTER_OK;
}

START_TEST(one_registration_more_than_the_limit_is_refused_at_once)
{
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .registration_limit = 2});
    struct realm *one = page("https://a.test/"), *stranger = page("https://b.test/");
    answer_ok(one, ask_register(one, "https://a.test", "1"));
    double second = ask_register(one, "https://a.test", "slow"), third = ask_register(one, "https://a.test", "3");
    answer_fails(one, third, "QuotaExceededError"); /* though the second is not there yet */
    counter_add(&gate, 1);
    answer_ok(one, second);
    answer_ok(one, ask_register(one, "https://a.test", "slow")); /* it is there already */
    answer_ok(stranger, ask_register(stranger, "https://b.test", "1"));
    ck_assert(unregister_first(muster));
    answer_ok(one, ask_register(one, "https://a.test", "3"));
    realm_close(one);
    realm_close(stranger);
    close_muster();
}
END_TEST

START_TEST(scripts_that_would_take_more_than_a_storage_key_may_keep_are_not_registered)
{
    open_muster(&(struct muster_options){
        .size = sizeof(struct muster_options), .threads = 2, .stored_limit = 2 * strlen(SCRIPT) + 1});
    struct realm *one = page("https://a.test/"), *stranger = page("https://b.test/");
    answer_ok(one, ask_register(one, "https://a.test", "1"));
    answer_ok(one, ask_register(one, "https://a.test", "2"));
    answer_fails(one, ask_register(one, "https://a.test", "3"), "QuotaExceededError");
    answer_ok(stranger, ask_register(stranger, "https://b.test", "1"));
    ck_assert(unregister_first(muster));
    answer_ok(one, ask_register(one, "https://a.test", "3"));
    realm_close(one);
    realm_close(stranger);
    close_muster();
}
END_TEST

/* ---- channels ---- */

static void register_channels(const char *scope)
{
    char script[64];
    snprintf(script, sizeof(script), "%ssw.js", scope);
    const struct muster_registration_options options = {.size = sizeof(options), .scope = scope, .script = script};
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
}

static bool says(const char *url, const char *wanted)
{
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s: %s", url, result.error ? result.error->message : "");
    const struct muster_bytes body = result.response->body;
    bool same = body.length == strlen(wanted) && memcmp(body.data, wanted, body.length) == 0;
    muster_handle_release(handle);
    return same;
}

static void assert_said(const char *url, const char *wanted)
{
    ck_assert_msg(says(url, wanted), "%s: not %s", url, wanted);
}

/* On threads, and in one process. */
START_TEST(one_channel_more_than_the_limit_is_refused_at_once_to_all_workers_of_a_storage_key)
{
    atomic_store(&javascript_was_used, true);
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .port_limit = 10,
                                         .processes = 1,
                                         .hosting = _i ? MUSTER_HOSTING_PROCESS : MUSTER_HOSTING_THREAD});
    register_channels("https://a.test/1/");
    register_channels("https://a.test/2/");
    register_channels("https://b.test/1/");
    assert_said("https://a.test/1/open/6", "done");
    assert_said("https://a.test/2/open/4", "done");
    assert_said("https://a.test/1/open/1", "QuotaExceededError");
    assert_said("https://a.test/2/open/1", "QuotaExceededError");
    assert_said("https://b.test/1/open/10", "done");
    assert_said("https://a.test/1/close/", "done");
    assert_said("https://a.test/2/open/6", "done");
    assert_said("https://a.test/2/open/1", "QuotaExceededError");
    struct muster_handle *handle = NULL; /* with a worker all of its channels end */
    ck_assert_int_eq(muster_stop(muster, "https://a.test/2/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    assert_said("https://a.test/2/open/10", "done");
    assert_said("https://a.test/1/open/1", "QuotaExceededError");
    close_muster();
}
END_TEST

#if !defined(__SANITIZE_THREAD__) /* there is no collection */
/* The collector sees what may be a reference, so not all of them go at the first time. */
START_TEST(channels_that_nobody_refers_to_make_room_though_they_are_not_closed)
{
    atomic_store(&javascript_was_used, true);
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .port_limit = 100});
    register_channels("https://a.test/1/");
    for (int i = 0; i < 5; i++) {
        int tries = 0;
        while (!says("https://a.test/1/open/80", "done")) {
            ck_assert_int_lt(++tries, 100);
            assert_said("https://a.test/1/forget/", "done");
        }
        assert_said("https://a.test/1/forget/", "done");
    }
    close_muster();
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("tenant_limits");
    TCase *tests = tcase_create("tenant_limits");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, one_registration_more_than_the_limit_is_refused_at_once);
    tcase_add_test(tests, scripts_that_would_take_more_than_a_storage_key_may_keep_are_not_registered);
#if !defined(__SANITIZE_THREAD__)
    tcase_add_test(tests, channels_that_nobody_refers_to_make_room_though_they_are_not_closed);
#endif
    tcase_add_loop_test(tests, one_channel_more_than_the_limit_is_refused_at_once_to_all_workers_of_a_storage_key, 0, 2);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
