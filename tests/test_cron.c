/* tests/test_cron.c - cron expressions: what is read, what is refused, and when they are due. */
#include "coordinator/cron.h"

#include <check.h>
#include <stdlib.h>
#include <time.h>

static uint64_t at(const char *text)
{
    struct tm tm = {0};
    ck_assert_msg(strptime(text, "%Y-%m-%d %H:%M", &tm) != NULL, "%s", text);
    return (uint64_t)timegm(&tm);
}

static const struct {
    const char *cron, *after, *due;
} dues[] = {
    {"* * * * *", "2026-11-21 11:20", "2026-11-21 11:21"},
    {"*/15 * * * *", "2026-11-21 11:59", "2026-11-21 12:00"},
    {"5 4 * * *", "2026-11-21 04:05", "2026-11-22 04:05"},
    {"0 0 1 1 *", "2026-11-21 11:20", "2027-01-01 00:00"},
    {"@yearly", "2026-12-31 23:59", "2027-01-01 00:00"},
    {"@hourly", "2026-11-21 23:00", "2026-11-22 00:00"},
    {"0 12 29 2 *", "2026-11-21 11:20", "2028-02-29 12:00"},
    {"0 12 29 2 *", "2096-03-01 00:00", "2104-02-29 12:00"},
    {"0 0 * * mon", "2026-11-21 11:20", "2026-11-23 00:00"},
    {"0 0 * * 7", "2026-11-21 11:20", "2026-11-22 00:00"},
    {"0 0 * * 0", "2026-11-22 00:00", "2026-11-29 00:00"},
    {"0 0 13 * 5", "2026-11-21 11:20", "2026-11-27 00:00"},   /* either day will do */
    {"0 0 13 * 5", "2026-12-11 00:00", "2026-12-13 00:00"},
    {"0 0 */2 * 5", "2026-11-21 11:20", "2026-11-27 00:00"},  /* a star with a step: both must fit */
    {"30 8-10,20 * jan-mar *", "2026-11-21 11:20", "2027-01-01 08:30"},
    {"30 8-10,20 * jan-mar *", "2027-01-01 10:30", "2027-01-01 20:30"},
    {"0 0 31 * *", "2027-04-01 00:00", "2027-05-31 00:00"},
    {"  59\t23  31 12 * ", "2026-11-21 11:20", "2026-12-31 23:59"},
};

START_TEST(an_expression_is_next_due_at_the_minute_it_names)
{
    struct muster__cron cron;
    ck_assert_int_eq(muster__cron_parse(dues[_i].cron, &cron, NULL), MUSTER_OK);
    ck_assert_msg(muster__cron_next(&cron, at(dues[_i].after)) == at(dues[_i].due), "%s after %s",
                  dues[_i].cron, dues[_i].after);
    ck_assert_msg(muster__cron_next(&cron, at(dues[_i].due) - 1) == at(dues[_i].due), "%s from just before",
                  dues[_i].cron);
}
END_TEST

static const char *const refused[] = {
    "",          "* * * *",   "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",       "* * 32 * *",
    "* * * 13 *", "* * * * 8", "a * * * *",   "1- * * * *", "5-1 * * * *", "*/0 * * * *",    "1/5 * * * *",
    "1,,2 * * * *", "1, * * * *", "-1 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "@never",       "99999999999 * * * *",
};

START_TEST(an_expression_that_says_nothing_is_refused_with_a_reason)
{
    struct muster__cron cron;
    struct muster_error error = {0};
    ck_assert_msg(muster__cron_parse(refused[_i], &cron, &error) == MUSTER_INVALID_ARGUMENT, "%s", refused[_i]);
    ck_assert_ptr_nonnull(error.message);
    muster_error_clean_up(&error);
}
END_TEST

/* Against the C library's calendar, minute by minute. */
START_TEST(no_minute_is_skipped_and_none_is_named_that_does_not_fit)
{
    struct muster__cron cron;
    ck_assert_int_eq(muster__cron_parse("7,37 3-5 1,15,31 2,3,12 *", &cron, NULL), MUSTER_OK);
    uint64_t end = at("2029-01-01 00:00"), next = muster__cron_next(&cron, at("2027-01-01 00:00"));
    for (uint64_t minute = at("2027-01-01 00:01"); minute < end; minute += 60) {
        time_t now = (time_t)minute;
        struct tm tm;
        gmtime_r(&now, &tm);
        bool fits = (tm.tm_min == 7 || tm.tm_min == 37) && tm.tm_hour >= 3 && tm.tm_hour <= 5 &&
                    (tm.tm_mday == 1 || tm.tm_mday == 15 || tm.tm_mday == 31) &&
                    (tm.tm_mon == 1 || tm.tm_mon == 2 || tm.tm_mon == 11);
        if (!fits)
            continue;
        ck_assert_uint_eq(next, minute);
        next = muster__cron_next(&cron, minute);
    }
    ck_assert_uint_ge(next, end);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cron");
    TCase *tests = tcase_create("cron");
    tcase_add_loop_test(tests, an_expression_is_next_due_at_the_minute_it_names, 0,
                        (int)(sizeof dues / sizeof *dues));
    tcase_add_loop_test(tests, an_expression_that_says_nothing_is_refused_with_a_reason, 0,
                        (int)(sizeof refused / sizeof *refused));
    tcase_add_test(tests, no_minute_is_skipped_and_none_is_named_that_does_not_fit);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
