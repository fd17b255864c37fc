/* tests/test_options.c - the command's options, times, sizes and its guesses at what was meant. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "runtime/check.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static struct values {
    bool dev;
    const char *listen;
    unsigned threads;
    uint64_t idle_ms;
    size_t limit;
} values;

static const struct muster__option options[] = {
    {"--dev", MUSTER__OPTION_FLAG, &values.dev, NULL, "what it is for"},
    {"--listen", MUSTER__OPTION_TEXT, &values.listen, "ADDR:PORT", "what it is for"},
    {"--threads", MUSTER__OPTION_NUMBER, &values.threads, "N", "what it is for"},
    {"--idle-timeout", MUSTER__OPTION_TIME, &values.idle_ms, "TIME", "what it is for"},
    {"--limit", MUSTER__OPTION_BYTES, &values.limit, "BYTES", "what it is for"},
};

static char *words[16];
static int word_count, operands;
static char said[4096]; /* on standard error */

/* Reads "a b c" as the command would read its argv. */
static bool read_words(const char *line)
{
    static char copy[512];
    snprintf(copy, sizeof(copy), "serve %s", line);
    word_count = 0;
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        words[word_count++] = word;
    words[word_count] = NULL;
    values = (struct values){0};
    operands = -1;

    FILE *file = tmpfile();
    MUSTER_CHECK(file);
    fflush(stderr);
    int kept = dup(2);
    dup2(fileno(file), 2);
    bool good = muster__options_read(word_count, words, options, COUNT(options), "USAGE", &operands);
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    rewind(file);
    said[fread(said, 1, sizeof(said) - 1, file)] = '\0';
    fclose(file);
    return good;
}

START_TEST(options_come_before_operands_and_operands_move_to_the_front)
{
    ck_assert(read_words("--dev --threads 3 app --listen x"));
    ck_assert(values.dev);
    ck_assert_uint_eq(values.threads, 3);
    ck_assert_ptr_null(values.listen); /* behind the first operand: the script's */
    ck_assert_int_eq(operands, 3);
    ck_assert_str_eq(words[1], "app");
    ck_assert_str_eq(words[2], "--listen");
    ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(a_value_may_follow_an_equals_sign)
{
    ck_assert(read_words("--listen=unix:/a=b --limit=64k"));
    ck_assert_str_eq(values.listen, "unix:/a=b");
    ck_assert_uint_eq(values.limit, 65536);
    ck_assert_int_eq(operands, 0);
}
END_TEST

START_TEST(two_dashes_end_the_options)
{
    ck_assert(read_words("--dev -- --threads"));
    ck_assert_int_eq(operands, 1);
    ck_assert_str_eq(words[1], "--threads");
}
END_TEST

START_TEST(a_single_dash_is_an_operand)
{
    ck_assert(read_words("- x"));
    ck_assert_int_eq(operands, 2);
}
END_TEST

START_TEST(an_unknown_option_is_told_with_the_nearest_one)
{
    ck_assert(!read_words("--thread 3 app"));
    ck_assert_ptr_nonnull(strstr(said, "unknown option \"--thread\"; did you mean \"--threads\"?"));
    ck_assert_ptr_nonnull(strstr(said, "USAGE"));
}
END_TEST

static const struct {
    const char *line, *message;
} wrong[] = {
    {"--threads", "--threads wants a number\n"},
    {"--threads many", "--threads wants a number, not many\n"},
    {"--threads -1", "--threads wants a number, not -1\n"},
    {"--threads 99999999999999999999", "--threads wants a number"},
    {"--idle-timeout 30", "--idle-timeout wants a time like 300ms, 30s or 5m, not 30\n"},
    {"--idle-timeout", "--idle-timeout wants a time"},
    {"--limit 5q", "--limit wants a size like 512, 64k or 128m, not 5q\n"},
    {"--dev=yes", "--dev wants no value\n"},
};

START_TEST(each_wrong_value_has_its_sentence)
{
    ck_assert(!read_words(wrong[_i].line));
    ck_assert_msg(strstr(said, wrong[_i].message), "%s: %s", wrong[_i].line, said);
}
END_TEST

static const struct {
    const char *text;
    uint64_t ms;
} times[] = {{"300ms", 300}, {"30s", 30000}, {"5m", 300000}, {"2h", 7200000}, {"0s", 0}};

START_TEST(times_are_read_in_milliseconds)
{
    uint64_t ms = 1;
    ck_assert(muster__parse_time(times[_i].text, &ms));
    ck_assert(ms == times[_i].ms);
}
END_TEST

static const char *const no_times[] = {"", "s", "30", "-1s", " 1s", "1 s", "1.5s", "1sx", "1S", "1d",
                                       "99999999999999999999s", "9999999999999999999h", "+1s"};

START_TEST(what_is_no_time_is_refused_and_changes_nothing)
{
    uint64_t ms = 7;
    ck_assert_msg(!muster__parse_time(no_times[_i], &ms), "%s", no_times[_i]);
    ck_assert(ms == 7);
}
END_TEST

static const struct {
    const char *text;
    size_t bytes;
} sizes[] = {{"512", 512},        {"64k", 65536}, {"64K", 65536},
             {"128m", 134217728}, {"1M", 1048576}, {"1g", 1073741824}, {"3G", 3221225472u}};

START_TEST(sizes_are_read_in_bytes)
{
    size_t bytes = 1;
    ck_assert(muster__parse_bytes(sizes[_i].text, &bytes));
    ck_assert_uint_eq(bytes, sizes[_i].bytes);
}
END_TEST

static const char *const no_sizes[] = {"", "k", "-1", "1kb", "1.5m", "0x10", "99999999999g"};

START_TEST(what_is_no_size_is_refused_and_changes_nothing)
{
    size_t bytes = 7;
    ck_assert_msg(!muster__parse_bytes(no_sizes[_i], &bytes), "%s", no_sizes[_i]);
    ck_assert_uint_eq(bytes, 7);
}
END_TEST

START_TEST(the_nearest_word_is_the_one_with_the_fewest_edits)
{
    static const char *const keys[] = {"scope", "script", "engine"};
    ck_assert_str_eq(muster__nearest("scrpt", keys, 3), "script");
    ck_assert_str_eq(muster__nearest("scop", keys, 3), "scope");
    ck_assert_str_eq(muster__nearest("engine", keys, 3), "engine");
    ck_assert_ptr_null(muster__nearest("zzzzzz", keys, 3));
    ck_assert_ptr_null(muster__nearest("scope", keys, 0));
}
END_TEST

START_TEST(a_very_long_word_is_compared_by_its_beginning)
{
    static const char *const keys[] = {"scope"};
    char word[300];
    memset(word, 'x', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    (void)muster__nearest(word, keys, 1); /* within bounds: the sanitizer looks on */
    const char *const long_key = word;
    ck_assert_ptr_eq(muster__nearest(word, &long_key, 1), word);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, options_come_before_operands_and_operands_move_to_the_front);
    tcase_add_test(reading, a_value_may_follow_an_equals_sign);
    tcase_add_test(reading, two_dashes_end_the_options);
    tcase_add_test(reading, a_single_dash_is_an_operand);
    tcase_add_test(reading, an_unknown_option_is_told_with_the_nearest_one);
    tcase_add_loop_test(reading, each_wrong_value_has_its_sentence, 0, COUNT(wrong));
    suite_add_tcase(suite, reading);
    TCase *units = tcase_create("units");
    tcase_add_loop_test(units, times_are_read_in_milliseconds, 0, COUNT(times));
    tcase_add_loop_test(units, what_is_no_time_is_refused_and_changes_nothing, 0, COUNT(no_times));
    tcase_add_loop_test(units, sizes_are_read_in_bytes, 0, COUNT(sizes));
    tcase_add_loop_test(units, what_is_no_size_is_refused_and_changes_nothing, 0, COUNT(no_sizes));
    suite_add_tcase(suite, units);
    TCase *guesses = tcase_create("guesses");
    tcase_add_test(guesses, the_nearest_word_is_the_one_with_the_fewest_edits);
    tcase_add_test(guesses, a_very_long_word_is_compared_by_its_beginning);
    suite_add_tcase(suite, guesses);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
