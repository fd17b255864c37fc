/* tests/test_crash_record.c - what follows when a script kills its host, under a clock of the test's. */
#include "remote/crash_record.h"

#include <check.h>

#define SECOND 1000000u

START_TEST(without_a_crash_nothing_is_held_against_it)
{
    const struct muster__crash_record record = {0};
    struct muster__crash_verdict verdict = muster__crash_record_judge(&record, 5 * SECOND);
    ck_assert(!verdict.alone && !verdict.quarantined);
    ck_assert_uint_eq(verdict.not_before_us, 0);
}
END_TEST

START_TEST(the_first_crash_brings_a_pause_with_jitter)
{
    for (uint64_t random = 0; random < 10000; random += 97) {
        struct muster__crash_record record = {0};
        muster__crash_record_note(&record, SECOND, random);
        struct muster__crash_verdict verdict = muster__crash_record_judge(&record, SECOND);
        ck_assert(!verdict.alone && !verdict.quarantined);
        ck_assert_uint_ge(verdict.not_before_us, SECOND + MUSTER__CRASH_PAUSE_FIRST_US / 2);
        ck_assert_uint_le(verdict.not_before_us, SECOND + MUSTER__CRASH_PAUSE_FIRST_US);
    }
}
END_TEST

START_TEST(crashes_in_a_row_double_the_pause_isolate_and_end_in_quarantine)
{
    struct muster__crash_record record = {0};
    uint64_t now_us = SECOND, last_pause_us = 0;
    for (int crash = 1; crash <= 4; crash++) {
        muster__crash_record_note(&record, now_us, UINT64_MAX);
        struct muster__crash_verdict verdict = muster__crash_record_judge(&record, now_us);
        ck_assert_int_eq(verdict.alone, crash >= 2);
        ck_assert_int_eq(verdict.quarantined, crash >= 4);
        ck_assert_uint_gt(record.not_before_us - now_us, last_pause_us);
        last_pause_us = record.not_before_us - now_us;
        ck_assert_uint_eq(verdict.total, (unsigned)crash);
        now_us += 1000;
    }
    struct muster__crash_verdict verdict = muster__crash_record_judge(&record, now_us);
    ck_assert_uint_eq(verdict.not_before_us, now_us - 1000 + MUSTER__CRASH_QUARANTINE_FIRST_US);
    ck_assert(!muster__crash_record_judge(&record, verdict.not_before_us).quarantined);
}
END_TEST

START_TEST(a_script_that_goes_on_killing_is_refused_for_longer_each_time_within_a_bound)
{
    struct muster__crash_record record = {0};
    uint64_t now_us = SECOND, last_us = 0;
    for (int crash = 0; crash < 40; crash++) {
        muster__crash_record_note(&record, now_us, 0);
        struct muster__crash_verdict verdict = muster__crash_record_judge(&record, now_us);
        if (verdict.quarantined) {
            ck_assert_uint_ge(verdict.not_before_us - now_us, last_us < MUSTER__CRASH_QUARANTINE_FIRST_US
                                                                  ? MUSTER__CRASH_QUARANTINE_FIRST_US
                                                                  : last_us);
            ck_assert_uint_le(verdict.not_before_us - now_us, MUSTER__CRASH_QUARANTINE_LONGEST_US);
            last_us = verdict.not_before_us - now_us;
        }
        now_us += 1000;
    }
    ck_assert_uint_eq(last_us, MUSTER__CRASH_QUARANTINE_LONGEST_US);
}
END_TEST

START_TEST(an_old_crash_is_forgotten)
{
    struct muster__crash_record record = {0};
    muster__crash_record_note(&record, SECOND, 0);
    muster__crash_record_note(&record, SECOND + 1, 0);
    ck_assert(muster__crash_record_judge(&record, SECOND + 2).alone);
    ck_assert(!muster__crash_record_judge(&record, SECOND + MUSTER__CRASH_HALF_LIFE_US).alone);
    for (int i = 1; i <= 20; i++) { /* one every two half lives never adds up */
        muster__crash_record_note(&record, SECOND + (uint64_t)i * 2 * MUSTER__CRASH_HALF_LIFE_US, 0);
        ck_assert_double_lt(record.count, 2);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crash_record");
    TCase *tc = tcase_create("crash_record");
    tcase_add_test(tc, without_a_crash_nothing_is_held_against_it);
    tcase_add_test(tc, the_first_crash_brings_a_pause_with_jitter);
    tcase_add_test(tc, crashes_in_a_row_double_the_pause_isolate_and_end_in_quarantine);
    tcase_add_test(tc, a_script_that_goes_on_killing_is_refused_for_longer_each_time_within_a_bound);
    tcase_add_test(tc, an_old_crash_is_forgotten);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
