/* tests/test_value.c - values: building, reading, letting go, JSON both ways.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "runtime/check.h"
#include "runtime/host_binding.h"
#include "runtime/value.h"
#include "runtime/value_internal.h"

static struct muster_value *parse(const char *text)
{
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster_value_from_json(text, strlen(text), &value, &error);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", text, error.message);
    return value;
}

static void assert_prints(const struct muster_value *value, const char *expected)
{
    char *text = muster_value_to_json(value);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, expected);
    free(text);
}

static void assert_prints_and_release(struct muster_value *value, const char *expected)
{
    assert_prints(value, expected);
    muster_value_release(value);
}

/* ---- base ---- */

START_TEST(every_status_has_a_name_and_a_sentence)
{
    ck_assert_int_eq(strncmp(muster_status_name(_i), "MUSTER_", 7), 0);
    ck_assert_int_gt(strlen(muster_status_sentence(_i)), 3);
}
END_TEST

START_TEST(an_unknown_status_is_named_and_not_a_crash)
{
    ck_assert_str_eq(muster_status_name(MUSTER_OK), "MUSTER_OK");
    ck_assert_str_eq(muster_status_name(MUSTER_STATUS_COUNT), "MUSTER_UNKNOWN");
    ck_assert_str_eq(muster_status_name((enum muster_status)-1), "MUSTER_UNKNOWN");
    ck_assert_ptr_nonnull(muster_status_sentence((enum muster_status)12345));
    ck_assert_ptr_nonnull(strchr(muster_version(), '.'));
}
END_TEST

START_TEST(an_error_can_be_set_from_its_own_text_copied_and_cleaned_twice)
{
    struct muster_error error = {0};
    muster_error_set(&error, MUSTER_LOAD_FAILED, "no file %s", "a.js");
    muster_error_set(&error, MUSTER_SCRIPT_ERROR, "again: %s", error.message);
    ck_assert_str_eq(error.message, "again: no file a.js");
    error.line = 3;
    struct muster_error copy;
    muster_error_copy(&copy, &error);
    muster_error_clean_up(&error);
    muster_error_clean_up(&error);
    ck_assert_int_eq(error.status, MUSTER_OK);
    ck_assert_str_eq(copy.message, "again: no file a.js");
    ck_assert_int_eq(copy.status, MUSTER_SCRIPT_ERROR);
    ck_assert_int_eq(copy.line, 3);
    ck_assert_ptr_null(copy.stack);
    muster_error_clean_up(&copy);
}
END_TEST

START_TEST(copies_keep_nul_bytes_and_cope_with_null)
{
    ck_assert_ptr_null(muster__strdup(NULL));
    ck_assert_ptr_null(muster__strndup(NULL, 3));
    char *copy = muster__strndup("a\0b", 3);
    ck_assert_int_eq(memcmp(copy, "a\0b", 4), 0);
    free(copy);
    char *text = muster__format("%d-%s", 7, "x");
    ck_assert_str_eq(text, "7-x");
    free(text);
}
END_TEST

START_TEST(the_clocks_do_not_run_backwards)
{
    uint64_t now = muster__now_us();
    uint64_t cpu = muster__thread_cpu_us();
    ck_assert_uint_gt(now, 0);
    ck_assert(muster__now_us() >= now);
    ck_assert(muster__thread_cpu_us() >= cpu);
}
END_TEST

START_TEST(a_failed_check_aborts)
{
    MUSTER_CHECK(_i == 12345);
}
END_TEST

/* ---- reading and building ---- */

START_TEST(null_reads_as_undefined_and_gives_empty_answers)
{
    ck_assert_int_eq(muster_value_type(NULL), MUSTER_TYPE_UNDEFINED);
    ck_assert(!muster_value_boolean(NULL));
    ck_assert(isnan(muster_value_number(NULL)));
    ck_assert_uint_eq(muster_value_bytes(NULL).length, 0);
    ck_assert_ptr_nonnull(muster_value_bytes(NULL).data);
    ck_assert_ptr_null(muster_value_error(NULL));
    ck_assert_uint_eq(muster_value_count(NULL), 0);
    ck_assert_ptr_null(muster_value_at(NULL, 0));
    ck_assert_uint_eq(muster_value_key_at(NULL, 0).length, 0);
    ck_assert_ptr_null(muster_value_get(NULL, "x"));
    ck_assert_ptr_null(muster_value_acquire(NULL));
    muster_value_release(NULL);
    assert_prints(NULL, "null");
}
END_TEST

START_TEST(a_wrong_type_gives_the_empty_answer)
{
    struct muster_value *number = muster_value_new_number(4);
    ck_assert(!muster_value_boolean(number));
    ck_assert_uint_eq(muster_value_count(number), 0);
    ck_assert_uint_eq(muster_value_bytes(number).length, 0);
    ck_assert_ptr_null(muster_value_get(number, "x"));
    ck_assert_double_eq(muster_value_number(number), 4);
    muster_value_release(number);
}
END_TEST

START_TEST(strings_and_bytes_may_hold_nul_and_are_terminated)
{
    struct muster_value *text = muster_value_new_string("a\0b", 3);
    struct muster_value *bytes = muster_value_new_bytes("\xff\x00", 2);
    struct muster_value *empty = muster_value_new_bytes(NULL, 0);
    ck_assert_uint_eq(muster_value_bytes(text).length, 3);
    ck_assert_int_eq(memcmp(muster_value_bytes(text).data, "a\0b", 4), 0);
    ck_assert_int_eq(muster_value_type(bytes), MUSTER_TYPE_BYTES);
    ck_assert_uint_eq(muster_value_bytes(bytes).length, 2);
    ck_assert_uint_eq(muster_value_bytes(empty).length, 0);
    muster_value_release(text);
    muster_value_release(bytes);
    muster_value_release(empty);
}
END_TEST

START_TEST(an_array_keeps_its_items_in_order)
{
    struct muster_value *array = muster_value_new_array();
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(muster_value_append(array, muster_value_new_number(i)), MUSTER_OK);
    ck_assert_uint_eq(muster_value_count(array), 1000);
    for (int i = 0; i < 1000; i++)
        ck_assert_double_eq(muster_value_number(muster_value_at(array, i)), i);
    ck_assert_ptr_null(muster_value_at(array, 1000));
    muster_value_release(array);
}
END_TEST

START_TEST(a_failed_append_or_set_takes_the_item_all_the_same)
{
    struct muster_value *number = muster_value_new_number(1);
    ck_assert_int_eq(muster_value_append(number, muster_value_new_null()),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_value_append(NULL, muster_value_new_null()), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_value_put(number, "a", muster_value_new_null()),
                     MUSTER_INVALID_ARGUMENT);
    struct muster_value *array = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(array, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_value_append(array, muster_value_acquire(array)),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_uint_eq(muster_value_count(array), 0);
    muster_value_release(array);
    muster_value_release(number);
}
END_TEST

START_TEST(an_object_keeps_insertion_order_and_a_key_set_again_keeps_its_place)
{
    struct muster_value *object = muster_value_new_object();
    ck_assert_int_eq(muster_value_put(object, "z", muster_value_new_number(1)), MUSTER_OK);
    ck_assert_int_eq(muster_value_put(object, "a", muster_value_new_number(2)), MUSTER_OK);
    ck_assert_int_eq(muster_value_put(object, "", muster_value_new_number(3)), MUSTER_OK);
    ck_assert_int_eq(muster_value_put(object, "z", muster_value_new_number(4)), MUSTER_OK);
    assert_prints_and_release(object, "{\"z\":4,\"a\":2,\"\":3}");
}
END_TEST

/* Enough keys that the index is made, and made again several times. */
START_TEST(many_keys_are_found_again_after_each_growth)
{
    struct muster_value *object = muster_value_new_object();
    char key[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        ck_assert_int_eq(muster_value_put(object, key, muster_value_new_number(i)), MUSTER_OK);
        snprintf(key, sizeof key, "key-%d", i / 2);
        ck_assert_double_eq(muster_value_number(muster_value_get(object, key)), i / 2);
    }
    ck_assert_int_eq(muster_value_put(object, "key-17", muster_value_new_null()), MUSTER_OK);
    ck_assert_uint_eq(muster_value_count(object), 5000);
    ck_assert_int_eq(muster_value_type(muster_value_at(object, 17)), MUSTER_TYPE_NULL);
    ck_assert_ptr_null(muster_value_get(object, "key-5000"));
    ck_assert_str_eq(muster_value_key_at(object, 4999).data, "key-4999");
    muster_value_release(object);
}
END_TEST

START_TEST(keys_with_nul_are_different_keys)
{
    struct muster_value *object = muster_value_new_object();
    ck_assert_int_eq(muster_value_set(object, "a\0b", 3, muster_value_new_number(1)), MUSTER_OK);
    ck_assert_int_eq(muster_value_set(object, "a\0c", 3, muster_value_new_number(2)), MUSTER_OK);
    ck_assert_uint_eq(muster_value_count(object), 2);
    ck_assert_ptr_null(muster_value_get(object, "a"));
    assert_prints_and_release(object, "{\"a\\u0000b\":1,\"a\\u0000c\":2}");
}
END_TEST

START_TEST(an_error_value_is_a_deep_copy)
{
    struct muster_error error = {.status = MUSTER_SCRIPT_ERROR, .line = 7};
    error.name = strdup("TypeError");
    error.message = strdup("no \"such\" thing");
    struct muster_value *value = muster_value_new_error(&error);
    muster_error_clean_up(&error);
    ck_assert_str_eq(muster_value_error(value)->name, "TypeError");
    ck_assert_int_eq(muster_value_error(value)->line, 7);
    assert_prints_and_release(value,
                              "{\"name\":\"TypeError\",\"message\":\"no \\\"such\\\" thing\"}");
}
END_TEST

START_TEST(a_shared_item_outlives_the_first_of_its_parents)
{
    struct muster_value *shared = muster_value_new_text("shared");
    struct muster_value *one = muster_value_new_array();
    struct muster_value *two = muster_value_new_object();
    ck_assert_int_eq(muster_value_append(one, muster_value_acquire(shared)), MUSTER_OK);
    ck_assert_int_eq(muster_value_put(two, "s", shared), MUSTER_OK);
    muster_value_release(one);
    assert_prints_and_release(two, "{\"s\":\"shared\"}");
}
END_TEST

static struct muster_value *nest(int depth)
{
    struct muster_value *value = muster_value_new_null();
    for (int i = 0; i < depth; i++) {
        struct muster_value *outer =
            i % 2 == 0 ? muster_value_new_array() : muster_value_new_object();
        ck_assert_ptr_nonnull(outer);
        enum muster_status status = i % 2 == 0 ? muster_value_append(outer, value)
                                               : muster_value_put(outer, "k", value);
        ck_assert_int_eq(status, MUSTER_OK);
        value = outer;
    }
    return value;
}

static void *print_and_release_deep(void *value)
{
    char *text = muster_value_to_json(value);
    muster_value_release(value);
    return text;
}

/* On a thread with the smallest stack there is. */
START_TEST(a_value_a_million_deep_is_printed_and_released_in_constant_stack)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, &small, print_and_release_deep, nest(1000000)), 0);
    void *text = NULL;
    pthread_join(thread, &text);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(strlen(text), 500000 * 2 + 500000 * strlen("{\"k\":}") + 4);
    free(text);
    pthread_attr_destroy(&small);
}
END_TEST

START_TEST(releasing_once_too_often_aborts)
{
    /* Freed memory may not be touched, not even by a test: an item that was let go of too early, but
     * is still there, shows the same mistake. */
    struct muster_value *array = muster_value_new_array();
    struct muster_value *item = muster_value_new_null();
    ck_assert_int_eq(muster_value_append(array, item), MUSTER_OK);
    atomic_store(&item->references, 0);
    muster_value_release(array);
}
END_TEST

struct finalized {
    int count;
};

static void count_finalized(void *user_data)
{
    ((struct finalized *)user_data)->count++;
}

START_TEST(a_host_object_deep_in_a_tree_is_finalized_once_when_nobody_holds_it)
{
    static const struct muster_host_class class = {
        .size = sizeof class, .name = "Counter", .finalize = count_finalized};
    static const struct muster_host_class other = {.size = sizeof other, .name = "Other"};
    struct finalized finalized = {0};
    struct muster_value *value = muster_value_new_host_object(&class, &finalized);
    ck_assert_ptr_eq(muster_value_host_object(value, &class), &finalized);
    ck_assert_ptr_null(muster_value_host_object(value, &other));
    ck_assert_ptr_null(muster_value_host_object(NULL, &class));
    assert_prints(value, "{\"hostObject\":\"Counter\"}");
    struct muster_value *array = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(array, muster_value_acquire(value)), MUSTER_OK);
    muster_value_release(array);
    ck_assert_int_eq(finalized.count, 0);
    muster_value_release(value);
    ck_assert_int_eq(finalized.count, 1);
}
END_TEST

enum { SHARERS = 4, ROUNDS = 20000 };

static void *acquire_and_release(void *value)
{
    for (int i = 0; i < ROUNDS; i++)
        muster_value_release(muster_value_acquire(value));
    MUSTER_CHECK(muster_value_get(value, "key-40") != NULL);
    muster_value_release(value);
    return NULL;
}

START_TEST(many_threads_may_read_and_let_go_of_one_value)
{
    struct finalized finalized = {0};
    static const struct muster_host_class class = {
        .size = sizeof class, .name = "Counter", .finalize = count_finalized};
    struct muster_value *object = muster_value_new_object();
    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i);
        ck_assert_int_eq(muster_value_put(object, key,
                                          muster_value_new_host_object(&class, &finalized)),
                         MUSTER_OK);
    }
    pthread_t threads[SHARERS];
    for (int i = 0; i < SHARERS; i++)
        pthread_create(&threads[i], NULL, acquire_and_release, muster_value_acquire(object));
    muster_value_release(object);
    for (int i = 0; i < SHARERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(finalized.count, 50);
}
END_TEST

/* ---- JSON ---- */

static const char *const round_trips[] = {
    "null", "true", "false", "0", "-1", "0.5", "1e+300", "0.1", "123456789012345", "\"\"",
    "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u0001\"", "[]", "{}", "[1,[2,{\"a\":[]}],null]",
    "{\"b\":1,\"a\":{\"c\":[true,false]}}", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
    "\"a\\u0000b\"", "5e-324", "1.7976931348623157e+308", "9007199254740993e3",
};

START_TEST(json_goes_round)
{
    struct muster_value *value = parse(round_trips[_i]);
    char *text = muster_value_to_json(value);
    struct muster_value *again = parse(text);
    if (_i < 13)
        ck_assert_str_eq(text, round_trips[_i]);
    assert_prints(again, text);
    free(text);
    muster_value_release(again);
    muster_value_release(value);
}
END_TEST

START_TEST(numbers_print_as_short_as_they_read_back)
{
    assert_prints_and_release(muster_value_new_number(-0.0), "0");
    assert_prints_and_release(muster_value_new_number(NAN), "null");
    assert_prints_and_release(muster_value_new_number(-(double)INFINITY), "null");
    assert_prints_and_release(muster_value_new_number(0.1 + 0.2), "0.30000000000000004");
    assert_prints_and_release(muster_value_new_number(1e21), "1e+21");
    assert_prints_and_release(muster_value_new_number(1.5), "1.5");
}
END_TEST

START_TEST(what_json_lacks_is_printed_for_people)
{
    struct muster_value *array = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(array, muster_value_new_undefined()), MUSTER_OK);
    ck_assert_int_eq(muster_value_append(array, muster_value_new_bytes("abc", 3)), MUSTER_OK);
    ck_assert_int_eq(muster_value_append(array, muster_value_new_error(NULL)), MUSTER_OK);
    assert_prints_and_release(array,
                              "[null,{\"bytes\":3},{\"name\":\"Error\",\"message\":\"\"}]");
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_replaced)
{
    /* lone continuation, overlong, surrogate, beyond U+10FFFF, torn at the end */
    assert_prints_and_release(muster_value_new_text("a\x80z"), "\"a\xef\xbf\xbdz\"");
    assert_prints_and_release(muster_value_new_text("\xc0\xaf"),
                              "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_prints_and_release(muster_value_new_text("\xed\xa0\x80"),
                              "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_prints_and_release(muster_value_new_text("\xf4\x90\x80\x80"),
                              "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_prints_and_release(muster_value_new_text("\xe2\x82"),
                              "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}
END_TEST

START_TEST(a_locale_with_a_decimal_comma_changes_nothing)
{
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL)
        return; /* not on this machine */
    assert_prints_and_release(muster_value_new_number(0.5), "0.5");
    assert_prints_and_release(parse("[1.25]"), "[1.25]");
}
END_TEST

static const struct {
    const char *text;
    int line;
} bad_json[] = {
    {"", 1}, {"{", 1}, {"[1,]", 1}, {"{\n\"a\": nope\n}", 2}, {"1 2", 1}, {"\"\xff\"", 1},
    {"[1e999]", 1}, {"{\"a\":1,\n\n}", 3},
};

START_TEST(bad_json_is_refused_with_its_place)
{
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    ck_assert_int_eq(
        muster_value_from_json(bad_json[_i].text, strlen(bad_json[_i].text), &value, &error),
        MUSTER_SYNTAX_ERROR);
    ck_assert_ptr_null(value);
    ck_assert_int_eq(error.status, MUSTER_SYNTAX_ERROR);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_int_eq(error.line, bad_json[_i].line);
    ck_assert_int_eq(muster_value_from_json(bad_json[_i].text, strlen(bad_json[_i].text), &value,
                                            NULL),
                     MUSTER_SYNTAX_ERROR);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(json_that_is_too_deep_is_refused)
{
    size_t depth = 1000000;
    char *text = malloc(depth);
    memset(text, '[', depth);
    struct muster_value *value = NULL;
    ck_assert_int_eq(muster_value_from_json(text, depth, &value, NULL), MUSTER_SYNTAX_ERROR);
    free(text);
}
END_TEST

/* ---- memory fails on cue ---- */

static enum muster_status put_new(struct muster_value *object, const char *key,
                                  struct muster_value *item)
{
    return item == NULL ? MUSTER_NO_MEMORY : muster_value_put(object, key, item);
}

static struct muster_value *build_one_of_each(void)
{
    struct muster_error error = {.name = (char *)"E", .message = (char *)"m", .stack = (char *)"s"};
    struct muster_value *object = muster_value_new_object();
    struct muster_value *array = muster_value_new_array();
    bool fits = object != NULL && array != NULL;
    for (int i = 0; fits && i < 20; i++) {
        char key[] = {(char)('a' + i), '\0'};
        fits = put_new(object, key, muster_value_new_number(i)) == MUSTER_OK;
    }
    for (int i = 0; fits && i < 9; i++) {
        struct muster_value *item = muster_value_new_text("text");
        fits = item != NULL && muster_value_append(array, item) == MUSTER_OK;
    }
    if (fits) {
        fits = muster_value_put(object, "array", array) == MUSTER_OK;
        array = NULL;
    }
    fits = fits && put_new(object, "bytes", muster_value_new_bytes("b", 1)) == MUSTER_OK &&
           put_new(object, "error", muster_value_new_error(&error)) == MUSTER_OK &&
           put_new(object, "true", muster_value_new_boolean(true)) == MUSTER_OK &&
           put_new(object, "none", muster_value_new_undefined()) == MUSTER_OK;
    muster_value_release(array);
    if (!fits) {
        muster_value_release(object);
        return NULL;
    }
    return object;
}

START_TEST(every_failed_allocation_while_building_is_reported_and_leaks_nothing)
{
    int failures = 0;
    WITH_EVERY_FAILURE(grants)
    {
        struct muster_value *value = build_one_of_each();
        malloc_all_granted();
        ck_assert(malloc_has_failed == (value == NULL));
        failures += value == NULL;
        muster_value_release(value);
    }
    ck_assert_int_gt(failures, 50);
}
END_TEST

START_TEST(a_set_that_failed_leaves_the_object_as_it_was)
{
    WITH_EVERY_FAILURE(grants)
    {
        malloc_all_granted();
        struct muster_value *object = muster_value_new_object();
        for (int i = 0; i < 8; i++) {
            char key[] = {(char)('a' + i), '\0'};
            ck_assert_int_eq(muster_value_put(object, key, muster_value_new_number(i)), MUSTER_OK);
        }
        struct muster_value *item = muster_value_new_null();
        malloc_grants = grants;
        enum muster_status status = muster_value_put(object, "more", item);
        malloc_all_granted();
        ck_assert_int_eq(status, malloc_has_failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        ck_assert_uint_eq(muster_value_count(object), malloc_has_failed ? 8 : 9);
        ck_assert_double_eq(muster_value_number(muster_value_get(object, "h")), 7);
        ck_assert_int_eq(muster_value_put(object, "more", muster_value_new_null()), MUSTER_OK);
        ck_assert_int_eq(muster_value_type(muster_value_get(object, "more")), MUSTER_TYPE_NULL);
        muster_value_release(object);
    }
}
END_TEST

START_TEST(every_failed_allocation_in_json_is_reported_and_leaks_nothing)
{
    const char *text = "{\"a\":[1,2,[3,[4,[5]]]],\"b\":\"" /* long enough to grow the text */
                       "0123456789012345678901234567890123456789012345678901234567890123456789"
                       "0123456789012345678901234567890123456789012345678901234567890123456789\"}";
    WITH_EVERY_FAILURE(grants)
    {
        struct muster_value *value = NULL;
        enum muster_status status = muster_value_from_json(text, strlen(text), &value, NULL);
        malloc_all_granted();
        ck_assert_int_eq(status, malloc_has_failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        muster_value_release(value);
    }
    struct muster_value *value = parse(text);
    WITH_EVERY_FAILURE(grants)
    {
        char *printed = muster_value_to_json(value);
        malloc_all_granted();
        ck_assert(malloc_has_failed == (printed == NULL));
        free(printed);
    }
    muster_value_release(value);
}
END_TEST

static void add_topic(Suite *suite, TCase *topic)
{
    tcase_set_timeout(topic, 60);
    suite_add_tcase(suite, topic);
}

static TCase *base_topic(void)
{
    TCase *topic = tcase_create("base");
    tcase_add_loop_test(topic, every_status_has_a_name_and_a_sentence, 0, MUSTER_STATUS_COUNT);
    tcase_add_test(topic, an_unknown_status_is_named_and_not_a_crash);
    tcase_add_test(topic, an_error_can_be_set_from_its_own_text_copied_and_cleaned_twice);
    tcase_add_test(topic, copies_keep_nul_bytes_and_cope_with_null);
    tcase_add_test(topic, the_clocks_do_not_run_backwards);
    tcase_add_test_raise_signal(topic, a_failed_check_aborts, 6);
    return topic;
}

static TCase *tree_topic(void)
{
    TCase *topic = tcase_create("tree");
    tcase_add_test(topic, null_reads_as_undefined_and_gives_empty_answers);
    tcase_add_test(topic, a_wrong_type_gives_the_empty_answer);
    tcase_add_test(topic, strings_and_bytes_may_hold_nul_and_are_terminated);
    tcase_add_test(topic, an_array_keeps_its_items_in_order);
    tcase_add_test(topic, a_failed_append_or_set_takes_the_item_all_the_same);
    tcase_add_test(topic, an_object_keeps_insertion_order_and_a_key_set_again_keeps_its_place);
    tcase_add_test(topic, many_keys_are_found_again_after_each_growth);
    tcase_add_test(topic, keys_with_nul_are_different_keys);
    tcase_add_test(topic, an_error_value_is_a_deep_copy);
    tcase_add_test(topic, a_shared_item_outlives_the_first_of_its_parents);
    tcase_add_test(topic, a_value_a_million_deep_is_printed_and_released_in_constant_stack);
    tcase_add_test_raise_signal(topic, releasing_once_too_often_aborts, 6);
    tcase_add_test(topic, a_host_object_deep_in_a_tree_is_finalized_once_when_nobody_holds_it);
    tcase_add_test(topic, many_threads_may_read_and_let_go_of_one_value);
    return topic;
}

static TCase *json_topic(void)
{
    TCase *topic = tcase_create("json");
    tcase_add_loop_test(topic, json_goes_round, 0, sizeof round_trips / sizeof *round_trips);
    tcase_add_test(topic, numbers_print_as_short_as_they_read_back);
    tcase_add_test(topic, what_json_lacks_is_printed_for_people);
    tcase_add_test(topic, bytes_that_are_no_utf8_are_replaced);
    tcase_add_test(topic, a_locale_with_a_decimal_comma_changes_nothing);
    tcase_add_loop_test(topic, bad_json_is_refused_with_its_place, 0,
                        sizeof bad_json / sizeof *bad_json);
    tcase_add_test(topic, json_that_is_too_deep_is_refused);
    return topic;
}

static TCase *memory_topic(void)
{
    TCase *topic = tcase_create("memory");
    tcase_add_test(topic, every_failed_allocation_while_building_is_reported_and_leaks_nothing);
    tcase_add_test(topic, a_set_that_failed_leaves_the_object_as_it_was);
    tcase_add_test(topic, every_failed_allocation_in_json_is_reported_and_leaks_nothing);
    return topic;
}

int main(void)
{
    Suite *suite = suite_create("value");
    add_topic(suite, base_topic());
    add_topic(suite, tree_topic());
    add_topic(suite, json_topic());
    add_topic(suite, memory_topic());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
