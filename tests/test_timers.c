/* tests/test_timers.c - pending timers: order, clearing, repeating, ids; against a plain list.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <stdlib.h>

#include "failing_malloc.h"
#include "runtime/check.h"
#include "runtime/timers.h"

static struct muster__timers timers;

static void set_up(void)
{
    muster__timers_init(&timers);
}

static void tear_down(void)
{
    muster__timers_clean_up(&timers);
    muster__timers_clean_up(&timers);
}

static uint32_t set(uint64_t at_us, uint64_t period_us)
{
    uint32_t id = 0;
    MUSTER_CHECK(muster__timers_set(&timers, at_us, period_us, &id) == MUSTER_OK);
    MUSTER_CHECK(id != 0);
    return id;
}

static uint32_t pop(uint64_t now_us)
{
    return muster__timers_pop_due(&timers, now_us, NULL);
}

START_TEST(nothing_is_due_when_nothing_is_pending)
{
    ck_assert_uint_eq(pop(UINT64_MAX), 0);
    ck_assert(muster__timers_next_deadline(&timers) == MUSTER__TIMERS_NEVER);
    ck_assert(!muster__timers_clear(&timers, 0));
    ck_assert(!muster__timers_clear(&timers, 1));
    ck_assert_ptr_null(timers.slots);
}
END_TEST

START_TEST(timers_fire_by_time_and_then_in_the_order_they_were_set)
{
    uint32_t late = set(30, 0);
    uint32_t first = set(10, 0);
    uint32_t second = set(10, 0);
    uint32_t third = set(10, 0);
    ck_assert(muster__timers_next_deadline(&timers) == 10);
    ck_assert_uint_eq(pop(9), 0);
    ck_assert_uint_eq(pop(10), first);
    ck_assert_uint_eq(pop(10), second);
    ck_assert_uint_eq(pop(10), third);
    ck_assert_uint_eq(pop(10), 0);
    ck_assert_uint_eq(pop(1000), late);
    ck_assert_uint_eq(muster__timers_count(&timers), 0);
}
END_TEST

START_TEST(a_cleared_timer_does_not_fire_and_is_cleared_once)
{
    uint32_t one = set(10, 0);
    uint32_t two = set(20, 5);
    ck_assert(muster__timers_clear(&timers, one));
    ck_assert(!muster__timers_clear(&timers, one));
    ck_assert_uint_eq(pop(20), two);
    ck_assert(muster__timers_clear(&timers, two));
    ck_assert_uint_eq(pop(UINT64_MAX), 0);
}
END_TEST

START_TEST(a_repeating_timer_keeps_its_beat_and_its_id)
{
    uint32_t id = set(100, 50);
    bool repeats = false;
    ck_assert_uint_eq(muster__timers_pop_due(&timers, 110, &repeats), id);
    ck_assert(repeats);
    ck_assert(muster__timers_next_deadline(&timers) == 150);
    ck_assert_uint_eq(pop(149), 0);
    ck_assert_uint_eq(pop(150), id);
    uint32_t once = set(160, 0);
    ck_assert_uint_eq(muster__timers_pop_due(&timers, 160, &repeats), once);
    ck_assert(!repeats);
}
END_TEST

START_TEST(a_late_owner_gets_one_call_and_no_burst)
{
    uint32_t id = set(100, 10);
    ck_assert_uint_eq(pop(100000), id);
    ck_assert_uint_eq(pop(100000), 0);
    ck_assert(muster__timers_next_deadline(&timers) == 100010);
}
END_TEST

START_TEST(a_repeating_timer_goes_behind_those_set_meanwhile)
{
    uint32_t beat = set(10, 10);
    ck_assert_uint_eq(pop(10), beat); /* next at 20, set before the other */
    uint32_t other = set(20, 0);
    ck_assert_uint_eq(pop(20), beat);
    ck_assert_uint_eq(pop(20), other);
    uint32_t third = set(30, 0); /* set after the beat's third was */
    ck_assert_uint_eq(pop(30), beat);
    ck_assert_uint_eq(pop(30), third);
}
END_TEST

START_TEST(times_at_the_end_of_time_do_not_wrap)
{
    uint32_t id = set(UINT64_MAX - 1, 1000);
    ck_assert_uint_eq(pop(UINT64_MAX - 1), id);
    ck_assert(muster__timers_next_deadline(&timers) == UINT64_MAX);
}
END_TEST

START_TEST(an_id_is_never_0_and_after_a_wrap_skips_those_pending)
{
    uint32_t one = set(1, 0);
    uint32_t two = set(2, 0);
    ck_assert_uint_eq(one, 1);
    ck_assert_uint_eq(two, 2);
    ck_assert_uint_eq(pop(1), one);
    ck_assert_uint_eq(set(3, 0), 3); /* not 1 again */
    timers.last_id = UINT32_MAX - 1;
    ck_assert_uint_eq(set(4, 0), UINT32_MAX);
    ck_assert_uint_eq(set(5, 0), 1);
    ck_assert_uint_eq(set(6, 0), 4); /* 2 and 3 are pending */
    for (uint32_t at = 2; at <= 6; at++)
        ck_assert_uint_ne(pop(at), 0);
    ck_assert_uint_eq(muster__timers_count(&timers), 0);
}
END_TEST

/* ---- many, against a list that is too simple to be wrong ---- */

struct plain {
    uint64_t at_us;
    uint64_t period_us;
    uint64_t sequence;
    uint32_t id;
};

enum { MOST = 10000 };
static struct plain plain[MOST];
static int plain_count;
static uint64_t plain_sequence;

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % bound;
}

static int plain_first(void)
{
    int first = -1;
    for (int i = 0; i < plain_count; i++)
        if (first < 0 || plain[i].at_us < plain[first].at_us ||
            (plain[i].at_us == plain[first].at_us && plain[i].sequence < plain[first].sequence))
            first = i;
    return first;
}

static void plain_fire(int i, uint64_t now_us)
{
    if (plain[i].period_us == 0) {
        plain[i] = plain[--plain_count];
        return;
    }
    plain[i].at_us += plain[i].period_us;
    if (plain[i].at_us <= now_us)
        plain[i].at_us = now_us + plain[i].period_us;
    plain[i].sequence = ++plain_sequence;
}

static void fire_all_due(uint64_t now_us)
{
    for (;;) {
        int first = plain_first();
        bool is_due = first >= 0 && plain[first].at_us <= now_us;
        uint32_t id = pop(now_us);
        MUSTER_CHECK(id == (is_due ? plain[first].id : 0));
        if (id == 0)
            return;
        plain_fire(first, now_us);
    }
}

START_TEST(any_mix_of_setting_clearing_and_firing_agrees_with_a_plain_list)
{
    random_state = (uint64_t)_i + 1;
    plain_count = 0;
    uint64_t now_us = 0;
    for (int step = 0; step < 20000; step++) {
        uint32_t what = random_below(10);
        if (what < 6 && plain_count < 300) {
            uint64_t at_us = now_us + random_below(200);
            uint64_t period_us = random_below(4) == 0 ? 1 + random_below(100) : 0;
            plain[plain_count++] =
                (struct plain){at_us, period_us, ++plain_sequence, set(at_us, period_us)};
        } else if (what < 9 && plain_count > 0) {
            int i = (int)random_below((uint32_t)plain_count);
            MUSTER_CHECK(muster__timers_clear(&timers, plain[i].id));
            plain[i] = plain[--plain_count];
        } else {
            now_us += random_below(60);
            fire_all_due(now_us);
        }
        MUSTER_CHECK(muster__timers_count(&timers) == (uint32_t)plain_count);
    }
}
END_TEST

START_TEST(ten_thousand_pending_fire_in_order_and_give_their_memory_back)
{
    random_state = 7;
    for (int i = 0; i < MOST; i++)
        plain[i] = (struct plain){.at_us = random_below(1000)};
    for (int i = 0; i < MOST; i++)
        plain[i].id = set(plain[i].at_us, 0);
    for (int i = 0; i < MOST; i += 3)
        MUSTER_CHECK(muster__timers_clear(&timers, plain[i].id));
    uint64_t last_at = 0;
    uint32_t last_id = 0;
    int fired = 0;
    for (uint32_t id; (id = pop(1000)) != 0; fired++) {
        const struct plain *timer = &plain[id - 1];
        MUSTER_CHECK((id - 1) % 3 != 0);
        MUSTER_CHECK(timer->at_us > last_at || (timer->at_us == last_at && id > last_id));
        last_at = timer->at_us;
        last_id = id;
    }
    ck_assert_int_eq(fired, MOST - (MOST + 2) / 3);
    ck_assert_ptr_null(timers.slots);
    uint32_t next = set(1, 0);
    ck_assert_uint_eq(next, MOST + 1); /* ids go on though the memory is gone */
}
END_TEST

START_TEST(every_failed_allocation_is_reported_and_changes_nothing)
{
    WITH_EVERY_FAILURE(grants)
    {
        malloc_all_granted();
        muster__timers_clean_up(&timers);
        muster__timers_init(&timers);
        for (int i = 0; i < 8; i++)
            (void)set((uint64_t)i, 0);
        uint32_t id = 77;
        malloc_grants = grants;
        enum muster_status status = muster__timers_set(&timers, 100, 0, &id);
        malloc_all_granted();
        ck_assert_int_eq(status, malloc_has_failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        ck_assert(!malloc_has_failed || id == 77);
        ck_assert_uint_eq(muster__timers_count(&timers), malloc_has_failed ? 8 : 9);
        (void)set(50, 0);
        for (uint32_t i = 1; i <= 8; i++)
            ck_assert_uint_eq(pop(40), i);
        ck_assert_uint_ne(pop(50), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timers");
    TCase *topic = tcase_create("timers");
    tcase_set_timeout(topic, 60);
    tcase_add_checked_fixture(topic, set_up, tear_down);
    tcase_add_test(topic, nothing_is_due_when_nothing_is_pending);
    tcase_add_test(topic, timers_fire_by_time_and_then_in_the_order_they_were_set);
    tcase_add_test(topic, a_cleared_timer_does_not_fire_and_is_cleared_once);
    tcase_add_test(topic, a_repeating_timer_keeps_its_beat_and_its_id);
    tcase_add_test(topic, a_late_owner_gets_one_call_and_no_burst);
    tcase_add_test(topic, a_repeating_timer_goes_behind_those_set_meanwhile);
    tcase_add_test(topic, times_at_the_end_of_time_do_not_wrap);
    tcase_add_test(topic, an_id_is_never_0_and_after_a_wrap_skips_those_pending);
    tcase_add_loop_test(topic, any_mix_of_setting_clearing_and_firing_agrees_with_a_plain_list, 0,
                        8);
    tcase_add_test(topic, ten_thousand_pending_fire_in_order_and_give_their_memory_back);
    tcase_add_test(topic, every_failed_allocation_is_reported_and_changes_nothing);
    suite_add_tcase(suite, topic);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
