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
    if (strstr(url, "/slow/"))
        counter_await(&gate, 1);
    ret_loaded->text = muster__strdup(SCRIPT);
    ret_loaded->length = strlen(SCRIPT);
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

int main(void)
{
    Suite *suite = suite_create("tenant_limits");
    TCase *tests = tcase_create("tenant_limits");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, one_registration_more_than_the_limit_is_refused_at_once);
    tcase_add_test(tests, scripts_that_would_take_more_than_a_storage_key_may_keep_are_not_registered);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
