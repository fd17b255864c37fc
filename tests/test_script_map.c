/* tests/test_script_map.c - the scripts that a version keeps, with a loader of this file. */
#include "coordinator/script_map.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"

static atomic_int loads;
static struct muster__script_map *map;

/* Every script says how it was asked for; "none.js" is not there. */
static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&loads, 1);
    if (strstr(url, "none.js")) {
        muster_error_set(error, MUSTER_NOT_FOUND, "no %s", url);
        return MUSTER_NOT_FOUND;
    }
    ret_loaded->text = muster__format("%s by %s", url, importer ? importer : "nobody");
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static void set_up(void)
{
    const struct muster__loader inner = {.load = load};
    atomic_store(&loads, 0);
    map = muster__script_map_new(&inner);
    ck_assert_ptr_nonnull(map);
}

static void tear_down(void)
{
    muster__script_map_destroy(map);
}

/* As a worker's importScripts() does. */
static enum muster_status import(const char *url, const char *importer, char text[200])
{
    const struct muster__loader loader = {.load = muster__script_map_load, .user_data = map};
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__loader_load(&loader, url, importer, &script, &error);
    snprintf(text, 200, "%s", status == MUSTER_OK ? script->text : error.message ? error.message : "");
    muster__script_destroy(script);
    muster_error_clean_up(&error);
    return status;
}

static void add(const char *url, const char *text, bool is_used)
{
    struct muster__script *script = calloc(1, sizeof(*script));
    script->url = muster__strdup(url);
    script->text = muster__strdup(text);
    script->length = strlen(text);
    const struct muster__mapped_script mapped = {.url = url, .script = script, .checked_us = 7, .is_used = is_used};
    ck_assert_int_eq(muster__script_map_add(map, &mapped), MUSTER_OK);
    muster__script_destroy(script);
}

static void list_one(const struct muster__mapped_script *script, void *user_data)
{
    char *list = user_data;
    size_t length = strlen(list);
    snprintf(list + length, 200 - length, "%s%s=%s", length ? " " : "", script->url, script->script->text);
}

static const char *list(void)
{
    static char text[200];
    *text = '\0';
    muster__script_map_each(map, list_one, text);
    return text;
}

START_TEST(an_import_is_fetched_once) /* SW-IMP-1 */
{
    char text[200];
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_OK);
        ck_assert_str_eq(text, "a.js by main.js");
    }
    ck_assert_int_eq(atomic_load(&loads), 1);
}
END_TEST

START_TEST(what_comes_from_the_web_is_kept_by_its_whole_url)
{
    char text[200];
    ck_assert_int_eq(import("../a.js#x", "https://a.test/app/main.js", text), MUSTER_OK);
    ck_assert_str_eq(text, "https://a.test/a.js by https://a.test/app/main.js");
    ck_assert_int_eq(import("https://a.test/a.js", "https://a.test/app/main.js", text), MUSTER_OK);
    ck_assert_int_eq(import("/a.js#y", "https://a.test/app/main.js", text), MUSTER_OK);
    ck_assert_int_eq(atomic_load(&loads), 1);
}
END_TEST

START_TEST(an_import_that_fails_is_not_kept)
{
    char text[200];
    ck_assert_int_eq(import("none.js", "main.js", text), MUSTER_NOT_FOUND);
    ck_assert_int_eq(import("none.js", "main.js", text), MUSTER_NOT_FOUND);
    ck_assert_int_eq(atomic_load(&loads), 2);
    ck_assert_str_eq(list(), "");
}
END_TEST

START_TEST(once_closed_it_gives_what_it_has_and_nothing_else) /* SW-IMP-1 */
{
    char text[200];
    ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_OK);
    muster__script_map_close(map);
    ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_OK);
    ck_assert_int_eq(import("b.js", "main.js", text), MUSTER_LOAD_FAILED);
    ck_assert_msg(strstr(text, "b.js") && strstr(text, "installed"), "%s", text);
    ck_assert_int_eq(atomic_load(&loads), 1);
}
END_TEST

START_TEST(what_did_not_come_is_not_asked_for_again)
{
    char text[200];
    ck_assert_int_eq(muster__script_map_miss(map, "a.js"), MUSTER_OK);
    ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_LOAD_FAILED);
    ck_assert_int_eq(atomic_load(&loads), 0);
    ck_assert_ptr_null(muster__script_map_find(map, "a.js"));
    ck_assert_str_eq(list(), "");
}
END_TEST

START_TEST(what_was_not_used_goes_when_it_is_closed) /* SW-INS-3 */
{
    char text[200];
    add("main.js", "main", true);
    add("old.js", "old", false);
    add("used.js", "kept", false);
    ck_assert_int_eq(import("used.js", "main.js", text), MUSTER_OK);
    ck_assert_str_eq(text, "kept");
    ck_assert_int_eq(atomic_load(&loads), 0);
    muster__script_map_close(map);
    ck_assert_str_eq(list(), "main.js=main used.js=kept");
    add("late.js", "late", true);
    ck_assert_str_eq(list(), "main.js=main used.js=kept late.js=late");
}
END_TEST

START_TEST(a_script_replaces_the_one_of_its_url_in_its_place)
{
    add("a.js", "1", true);
    add("b.js", "2", true);
    add("a.js", "3", true);
    add("b.js#fragment", "4", true);
    ck_assert_str_eq(list(), "a.js=3 b.js=4");
    struct muster__script *script = muster__script_map_find(map, "b.js#other");
    ck_assert_str_eq(script->text, "4");
    add("b.js", "5", true);
    ck_assert_str_eq(script->text, "4"); /* who has it keeps it */
    muster__script_destroy(script);
    ck_assert_ptr_null(muster__script_map_find(map, "c.js"));
    ck_assert_ptr_null(muster__script_map_find(map, "b.jsx"));
}
END_TEST

START_TEST(one_of_imports_alone_forgets_them_when_the_script_is_loaded_anew_until_it_is_closed)
{
    char text[200];
    muster__script_map_destroy(map);
    map = muster__script_map_new_of_imports(&(const struct muster__loader){.load = load});
    for (int attempt = 1; attempt <= 2; attempt++) {
        ck_assert_int_eq(import("main.js", NULL, text), MUSTER_OK);
        ck_assert_str_eq(list(), "");
        ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_OK);
        ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_OK);
        ck_assert_int_eq(atomic_load(&loads), 2 * attempt);
    }
    muster__script_map_close(map);
    ck_assert_int_eq(import("main.js", NULL, text), MUSTER_OK);
    ck_assert_int_eq(import("a.js", "main.js", text), MUSTER_OK);
    ck_assert_int_eq(import("b.js", "main.js", text), MUSTER_LOAD_FAILED);
    ck_assert_int_eq(atomic_load(&loads), 5);
}
END_TEST

static void fill(struct muster__script_map *of, void *user_data)
{
    ck_assert_ptr_eq(of, map);
    ++*(int *)user_data;
    add("stored.js", "stored", true);
}

START_TEST(one_that_was_stored_is_filled_when_it_is_first_looked_at)
{
    char text[200];
    int fills = 0;
    muster__script_map_set_fill(map, fill, &fills);
    muster__script_map_close(map);
    ck_assert_int_eq(fills, 0);
    ck_assert_int_eq(import("stored.js", "main.js", text), MUSTER_OK);
    ck_assert_str_eq(text, "stored");
    ck_assert_str_eq(list(), "stored.js=stored");
    ck_assert_int_eq(fills, 1);
    ck_assert_int_eq(atomic_load(&loads), 0);
}
END_TEST

static void note_checked(const struct muster__mapped_script *script, void *user_data)
{
    *(uint64_t *)user_data = script->checked_us;
}

START_TEST(it_knows_when_a_script_was_looked_at)
{
    uint64_t checked_us = 0;
    add("a.js", "1", true);
    muster__script_map_each(map, note_checked, &checked_us);
    ck_assert_uint_eq(checked_us, 7);
    muster__script_map_check(map, "a.js", 9, 0);
    muster__script_map_check(map, "unknown.js", 11, 0);
    muster__script_map_each(map, note_checked, &checked_us);
    ck_assert_uint_eq(checked_us, 9);
}
END_TEST

static void *import_many(void *unused)
{
    char url[20], text[200];
    for (int i = 0; i < 200; i++) {
        snprintf(url, sizeof(url), "%d.js", i % 50);
        ck_assert_int_eq(import(url, "main.js", text), MUSTER_OK);
    }
    return unused;
}

START_TEST(any_thread_may_ask_it)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, import_many, NULL), 0);
    for (int i = 0; i < 50; i++)
        add("0.js", "again", true);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("script map");
    TCase *tests = tcase_create("script map");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, an_import_is_fetched_once);
    tcase_add_test(tests, what_comes_from_the_web_is_kept_by_its_whole_url);
    tcase_add_test(tests, an_import_that_fails_is_not_kept);
    tcase_add_test(tests, once_closed_it_gives_what_it_has_and_nothing_else);
    tcase_add_test(tests, what_did_not_come_is_not_asked_for_again);
    tcase_add_test(tests, what_was_not_used_goes_when_it_is_closed);
    tcase_add_test(tests, a_script_replaces_the_one_of_its_url_in_its_place);
    tcase_add_test(tests, one_of_imports_alone_forgets_them_when_the_script_is_loaded_anew_until_it_is_closed);
    tcase_add_test(tests, one_that_was_stored_is_filled_when_it_is_first_looked_at);
    tcase_add_test(tests, it_knows_when_a_script_was_looked_at);
    tcase_add_test(tests, any_thread_may_ask_it);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
