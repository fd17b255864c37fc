/* tests/test_store_scripts.c - what scripts register outlives the instance: the versions run the scripts that they were
 * installed with, byte for byte, whatever their server has by then, and nothing is fetched for it. */
#include "context_harness.h"
#include "tests/state_folder.h"

#include <unistd.h>

#define APP "https://a.test/app/"

static atomic_uint loads;
static atomic_bool is_newer; /* the server has other scripts by now */

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const char main_script[] =
        "importScripts('import.js');\n"
        "addEventListener('install', event => skipWaiting());\n"
        "addEventListener('fetch', event => event.respondWith((async () => {\n"
        "    const state = await registration.navigationPreload.getState();\n"
        "    return new Response(event.request.url.endsWith('state') ? `${state.enabled} ${state.headerValue}` : what);\n"
        "})()));\n"
        "addEventListener('activate', event => event.waitUntil((async () => {\n"
        "    await registration.navigationPreload.enable();\n"
        "    await registration.navigationPreload.setHeaderValue('soon');\n"
        "})()));\n";
    bool is_import = strstr(url, "import") != NULL, newer = atomic_load(&is_newer);
    (void)importer, (void)error, (void)user_data;
    atomic_store(&javascript_was_used, true);
    atomic_fetch_add(&loads, 1);
    ret_loaded->text = muster__strdup(is_import ? (newer ? "what = 'new'" : "what = 'old'") : newer ? "// new" : main_script);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static void open_kept(void)
{
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .state_folder = folder});
}

static void set_up(void)
{
    make_folder();
    open_kept();
}

static void tear_down(void)
{
    close_muster();
    remove_folder();
}

static void reopen(void)
{
    close_muster();
    open_kept();
}

static double ask_register(struct realm *realm, const char *script, const char *scope, const char *via)
{
    struct muster_value *options =
        MUSTER__OBJECT({"type", muster__tree_text("classic")}, {"updateViaCache", muster__tree_text(via)});
    send(realm,
         MUSTER__ARRAY(muster__tree_text("ask"), muster_value_new_number(++realm->asks), muster__tree_text("register"),
                       muster__tree_text(script), muster__tree_text(scope), options),
         NULL, NULL);
    return realm->asks;
}

/* Until its version is active. */
static void register_app(void)
{
    struct realm *realm = page(APP "index.html");
    answer_ok(realm, ask_register(realm, APP "sw.js", APP, "all"));
    answer_ok(realm, ask_with(realm, "ready", NULL, NULL, NULL));
    realm_close(realm);
}

static void check_answer(const char *url, const char *body)
{
    struct muster_handle *handle = NULL;
    struct muster_result result;
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error && result.error->message ? result.error->message : "?");
    struct muster_bytes text = result.response->body;
    ck_assert_msg(text.length == strlen(body) && memcmp(text.data, body, text.length) == 0, "%.*s", (int)text.length,
                  text.data);
    muster_handle_release(handle);
}

START_TEST(a_version_runs_the_scripts_it_was_installed_with_in_the_next_life_too)
{
    register_app();
    check_answer(APP "x", "old");
    reopen();
    atomic_store(&is_newer, true);
    unsigned before = atomic_load(&loads);
    check_answer(APP "x", "old");
    ck_assert_uint_eq(atomic_load(&loads), before);
}
END_TEST

START_TEST(navigation_preload_is_as_it_was_set)
{
    register_app();
    check_answer(APP "state", "true soon");
    reopen();
    check_answer(APP "state", "true soon");
}
END_TEST

START_TEST(a_client_of_the_next_life_finds_the_registration)
{
    register_app();
    reopen();
    struct realm *realm = page(APP "index.html");
    struct muster__port_message *message =
        answer(realm, ask_with(realm, "getRegistration", muster__tree_text(APP "x"), NULL, NULL), true);
    const struct muster_value *registration = muster_value_at(message->head, 3);
    ck_assert_str_eq(text_of(registration, "scope"), APP);
    ck_assert_str_eq(text_of(registration, "updateViaCache"), "all");
    ck_assert_str_eq(text_of(muster_value_get(registration, "active"), "state"), "activated");
    muster__port_message_destroy(message);
    realm_close(realm);
}
END_TEST

START_TEST(what_a_script_unregistered_is_gone_when_it_was_told_so)
{
    register_app();
    struct realm *realm = page(APP "index.html");
    struct muster__port_message *message =
        answer(realm, ask_with(realm, "getRegistration", muster__tree_text(APP "x"), NULL, NULL), true);
    double id = muster_value_number(muster_value_get(muster_value_at(message->head, 3), "id"));
    muster__port_message_destroy(message);
    answer_ok(realm, ask_with(realm, "unregister", muster_value_new_number(id), NULL, NULL));
    realm_close(realm);
    reopen();
    ck_assert_uint_eq(muster_match(muster, APP "x", NULL, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_scripts");
    TCase *tests = tcase_create("store_scripts");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_version_runs_the_scripts_it_was_installed_with_in_the_next_life_too);
    tcase_add_test(tests, navigation_preload_is_as_it_was_set);
    tcase_add_test(tests, a_client_of_the_next_life_finds_the_registration);
    tcase_add_test(tests, what_a_script_unregistered_is_gone_when_it_was_told_so);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
