/* tests/test_source_map.c - places of a bundle, back to the author's files; hostile maps refused. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/source_map.h"

/* As esbuild writes it for two small files; line 29 is `throw new TypeError` in util.ts. */
static const char real_map[] =
    "{\n  \"version\": 3,\n  \"sources\": [\"app.ts\", \"util.ts\"],\n  \"mappings\": \""
    ";;;;;;;;;;;;;;;;;;;;AAAA;AAAA;AAAA;AAAA;;;ACCO,WAAS,MAAM,KAAoB;AACxC,QAAI,CAAC,IAAI;"
    "AAAM,YAAM,IAAI,UAAU,SAAS;AAC5C,WAAO,SAAS,IAAI;AAAA,EACtB;;;ADHA,MAAM,SAAgB,EAAE,MAAM,GAAG;AACjC,MAAO,"
    "cAAQ;AAAA,IACb,QAAQ;AAAE,aAAO,MAAM,MAAM;AAAA,IAAG;AAAA,EAClC;"
    "\",\n  \"names\": []\n}\n";

static struct muster__source_map *parse(const char *text)
{
    struct muster__source_map *map = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__source_map_parse(text, strlen(text), &map, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
    return map;
}

static struct muster__source_map *parse_mappings(const char *mappings)
{
    char *text = muster__format("{\"version\":3,\"sources\":[\"a.js\",\"b.js\"],\"mappings\":\"%s\"}",
                                mappings);
    struct muster__source_map *map = parse(text);
    free(text);
    return map;
}

static void assert_place(const struct muster__source_map *map, int line, int column,
                         const char *file, int source_line, int source_column)
{
    struct muster__source_position position = {0};
    ck_assert(muster__source_map_lookup(map, line, column, &position));
    ck_assert_str_eq(position.file, file);
    ck_assert_int_eq(position.line, source_line);
    ck_assert_int_eq(position.column, source_column);
}

static bool is_mapped(const struct muster__source_map *map, int line, int column)
{
    struct muster__source_position position;
    return muster__source_map_lookup(map, line, column, &position);
}

START_TEST(places_of_a_real_bundle_lead_to_the_authors_files)
{
    struct muster__source_map *map = parse(real_map);
    assert_place(map, 29, 13, "util.ts", 3, 24);  /* new TypeError */
    assert_place(map, 29, 7, "util.ts", 3, 18);   /* throw */
    assert_place(map, 29, 9999, "util.ts", 3, 47); /* beyond the last: its last mapping */
    assert_place(map, 37, 14, "app.ts", 4, 20);   /* greet(...) */
    assert_place(map, 37, 0, "app.ts", 4, 13);    /* no column: the first of the line */
    ck_assert(!is_mapped(map, 1, 1)); /* the bundler's own code */
    ck_assert(!is_mapped(map, 0, 1));
    ck_assert(!is_mapped(map, -5, -5));
    ck_assert(!is_mapped(map, 4000, 1));
    muster__source_map_destroy(map);
}
END_TEST

START_TEST(without_a_map_nothing_is_mapped)
{
    ck_assert(!is_mapped(NULL, 1, 1));
    muster__source_map_destroy(NULL);
    char *stack = muster__source_map_stack(NULL, "a.js", "at a.js:1:2");
    ck_assert_str_eq(stack, "at a.js:1:2");
    free(stack);
    ck_assert_ptr_null(muster__source_map_stack(NULL, "a.js", NULL));
}
END_TEST

START_TEST(the_stack_and_the_place_of_an_error_are_mapped)
{
    const char *url = "file:///srv/app/app.ts";
    struct muster__source_map *map = parse(real_map);
    struct muster_error error = {.status = MUSTER_SCRIPT_ERROR, .line = 29, .column = 13};
    error.file = muster__strdup(url);
    error.stack = muster__strdup("greet@file:///srv/app/app.ts:29:13\n"
                                 "fetch@file:///srv/app/app.ts:37:14\n"
                                 "own@file:///srv/app/app.ts:1:1\n"
                                 "other@file:///srv/app/app.tsx:29:13\n"
                                 "at file:///srv/app/app.ts:29\n"
                                 "file:///srv/app/app.ts:29:99999999999999999999\n"
                                 "native code");
    muster__source_map_error(map, url, &error);
    ck_assert_str_eq(error.file, "util.ts");
    ck_assert_int_eq(error.line, 3);
    ck_assert_int_eq(error.column, 24);
    ck_assert_str_eq(error.stack, "greet@util.ts:3:24\n"
                                  "fetch@app.ts:4:20\n"
                                  "own@file:///srv/app/app.ts:1:1\n"
                                  "other@file:///srv/app/app.tsx:29:13\n"
                                  "at file:///srv/app/app.ts:29\n"
                                  "file:///srv/app/app.ts:29:99999999999999999999\n"
                                  "native code");
    muster_error_clean_up(&error);
    muster__source_map_destroy(map);
}
END_TEST

START_TEST(an_error_of_another_file_keeps_its_place)
{
    struct muster__source_map *map = parse(real_map);
    struct muster_error error = {.line = 29, .column = 13};
    error.file = muster__strdup("imported.js");
    muster__source_map_error(map, "app.ts", &error);
    ck_assert_str_eq(error.file, "imported.js");
    ck_assert_int_eq(error.line, 29);
    muster_error_clean_up(&error);
    muster__source_map_destroy(map);
}
END_TEST

START_TEST(segments_of_one_four_and_five_numbers_and_in_any_order)
{
    /* column 0 unmapped, 4 -> a.js 1:1 with a name; next line: column 8, then 4 (backwards) */
    struct muster__source_map *map = parse_mappings("A,IAAAA;QCAA,JACA;;,,AADA,");
    ck_assert(!is_mapped(map, 1, 1));
    ck_assert(!is_mapped(map, 1, 4));
    assert_place(map, 1, 5, "a.js", 1, 1);
    assert_place(map, 2, 9, "b.js", 1, 1);
    assert_place(map, 2, 5, "b.js", 2, 1);
    ck_assert(!is_mapped(map, 2, 4));
    ck_assert(!is_mapped(map, 3, 1));
    assert_place(map, 4, 1, "b.js", 1, 1);
    muster__source_map_destroy(map);
}
END_TEST

/* Every number of the format goes round, of either sign and any length. */
static void encode(char **at, int64_t number)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t bits = number < 0 ? (uint64_t)-number << 1 | 1 : (uint64_t)number << 1;
    do {
        *(*at)++ = digits[(bits & 31) | (bits > 31 ? 32 : 0)];
        bits >>= 5;
    } while (bits != 0);
}

START_TEST(numbers_of_any_size_go_round)
{
    static const int lines[] = {0, 1, 15, 16, 31, 32, 1000, 123456, 2147483646, 7, 0};
    enum { COUNT = sizeof lines / sizeof *lines };
    char mappings[COUNT * 40];
    char *at = mappings;
    for (int i = 0; i < COUNT; i++) {
        encode(&at, 0);
        encode(&at, 0);
        encode(&at, (int64_t)lines[i] - (i == 0 ? 0 : lines[i - 1]));
        encode(&at, 0);
        *at++ = ';';
    }
    *at = '\0';
    struct muster__source_map *map = parse_mappings(mappings);
    for (int i = 0; i < COUNT; i++)
        assert_place(map, i + 1, 1, "a.js", lines[i] + 1, 1);
    muster__source_map_destroy(map);
}
END_TEST

START_TEST(a_root_is_put_before_each_source_and_a_guard_line_is_skipped)
{
    struct muster__source_map *map =
        parse(")]}'\n{\"version\":3,\"sourceRoot\":\"src\",\"sources\":[\"a.js\",null],"
              "\"mappings\":\"AAAA,CCAA\"}");
    assert_place(map, 1, 1, "src/a.js", 1, 1);
    assert_place(map, 1, 2, "src/<unknown>", 1, 1);
    muster__source_map_destroy(map);
    map = parse("{\"version\":3,\"sourceRoot\":\"src/\",\"sources\":[\"a.js\"],"
                "\"mappings\":\"AAAA\"}");
    assert_place(map, 1, 1, "src/a.js", 1, 1);
    muster__source_map_destroy(map);
}
END_TEST

static const struct {
    const char *text;
    enum muster_status status;
} bad_maps[] = {
    {"", MUSTER_SYNTAX_ERROR},
    {")]}'", MUSTER_SYNTAX_ERROR},
    {"nonsense", MUSTER_SYNTAX_ERROR},
    {"[]", MUSTER_SYNTAX_ERROR},
    {"{\"version\":2,\"sources\":[],\"mappings\":\"\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":\"3\",\"sources\":[],\"mappings\":\"\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"mappings\":\"\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":{},\"mappings\":\"\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[]}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[],\"mappings\":7}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sections\":[]}", MUSTER_UNSUPPORTED},
    /* no such source; before the first one; before the first line; before the first column */
    {"{\"version\":3,\"sources\":[],\"mappings\":\"AAAA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"ACAA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"ADAA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AADA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"D\"}", MUSTER_SYNTAX_ERROR},
    /* two, three and six numbers; cut short; no base-64; too large a number; too large a sum */
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AAAAAA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"g\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"AA A\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"\\u0000\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"gggggggggggggggA\"}", MUSTER_SYNTAX_ERROR},
    {"{\"version\":3,\"sources\":[\"a\"],\"mappings\":\"+/////D,+/////D\"}", MUSTER_SYNTAX_ERROR},
};

START_TEST(a_bad_map_is_refused_with_a_sentence)
{
    struct muster__source_map *map = NULL;
    struct muster_error error = {0};
    const char *text = bad_maps[_i].text;
    ck_assert_int_eq(muster__source_map_parse(text, strlen(text), &map, &error),
                     bad_maps[_i].status);
    ck_assert_ptr_null(map);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_int_eq(muster__source_map_parse(text, strlen(text), &map, NULL),
                     bad_maps[_i].status);
    muster_error_clean_up(&error);
}
END_TEST

/* A short text must not ask for a thousand times its memory. */
START_TEST(a_long_root_before_many_sources_is_refused)
{
    enum { ROOT = 100000, SOURCES = 10000 };
    char *text = malloc(ROOT + SOURCES * 3 + 200);
    char *at = text + sprintf(text, "{\"version\":3,\"mappings\":\"\",\"sourceRoot\":\"");
    memset(at, 'r', ROOT);
    at += ROOT;
    at += sprintf(at, "\",\"sources\":[\"\"");
    for (int i = 1; i < SOURCES; i++)
        at += sprintf(at, ",\"\"");
    strcpy(at, "]}");
    struct muster__source_map *map = NULL;
    ck_assert_int_eq(muster__source_map_parse(text, strlen(text), &map, NULL),
                     MUSTER_SYNTAX_ERROR);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("source_map");
    TCase *topic = tcase_create("map");
    tcase_set_timeout(topic, 60);
    tcase_add_test(topic, places_of_a_real_bundle_lead_to_the_authors_files);
    tcase_add_test(topic, without_a_map_nothing_is_mapped);
    tcase_add_test(topic, the_stack_and_the_place_of_an_error_are_mapped);
    tcase_add_test(topic, an_error_of_another_file_keeps_its_place);
    tcase_add_test(topic, segments_of_one_four_and_five_numbers_and_in_any_order);
    tcase_add_test(topic, numbers_of_any_size_go_round);
    tcase_add_test(topic, a_root_is_put_before_each_source_and_a_guard_line_is_skipped);
    tcase_add_loop_test(topic, a_bad_map_is_refused_with_a_sentence, 0,
                        sizeof bad_maps / sizeof *bad_maps);
    tcase_add_test(topic, a_long_root_before_many_sources_is_refused);
    suite_add_tcase(suite, topic);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
