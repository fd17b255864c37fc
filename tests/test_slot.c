/* tests/test_slot.c - the slot: order, the idle edge, holds of incarnations, cancellation, closing.
 *
 * One thread, but for the last tests, in which posters, a consumer and a coordinator race. */
#include "runtime/slot.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define IDLE_US 1000

static int wants, wakes, cancels, consumer_references;
static struct muster__slot *slot;

static void want(struct muster__slot *wanting, void *user_data)
{
    (void)wanting;
    (void)user_data;
    wants++;
}

static void consumer_wake(struct muster__slot_consumer *consumer)
{
    (void)consumer;
    wakes++;
}

static void consumer_cancel(struct muster__slot_consumer *consumer, struct muster__request *request)
{
    (void)consumer;
    (void)request;
    cancels++;
}

static void consumer_acquire(struct muster__slot_consumer *consumer)
{
    (void)consumer;
    consumer_references++;
}

static void consumer_release(struct muster__slot_consumer *consumer)
{
    (void)consumer;
    consumer_references--;
}

static struct muster__slot_consumer consumer = {.wake = consumer_wake,
                                                .cancel = consumer_cancel,
                                                .acquire = consumer_acquire,
                                                .release = consumer_release};

static int destroyed;

static void request_destroyed(struct muster__request *request)
{
    destroyed++;
    free(request);
}

static const struct muster__request_class request_class = {.destroy = request_destroyed};

static struct muster__request *new_request(void)
{
    struct muster__request *request = malloc(sizeof *request);
    muster__request_init(request, &request_class, MUSTER__REQUEST_EVENT, "x");
    return request;
}

/* The slot has the only reference. */
static struct muster__request *post(uint64_t now_us)
{
    struct muster__request *request = new_request();
    ck_assert_int_eq(muster__slot_post(slot, request, now_us), MUSTER_OK);
    muster__request_release(request);
    return request;
}

static void setup(void)
{
    const struct muster__slot_options options = {
        .queue_limit = 100, .idle_us = IDLE_US, .want = want, .version = 7};
    wants = wakes = cancels = consumer_references = destroyed = 0;
    slot = muster__slot_new(&options);
    ck_assert_ptr_nonnull(slot);
}

static void teardown(void)
{
    muster__slot_release(slot);
    ck_assert_int_eq(consumer_references, 0);
}

static uint32_t run_slot(void)
{
    uint32_t incarnation = muster__slot_attach(slot);
    ck_assert(muster__slot_open(slot, incarnation, &consumer, 0));
    return incarnation;
}

static void drop_list(struct muster__request *list)
{
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        muster__slot_drop(slot, request);
    }
}

static void end_list(uint32_t incarnation, struct muster__request *list)
{
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        muster__slot_ended(slot, incarnation, request, 0);
    }
}

static uint32_t holds(void)
{
    return muster__slot_sample(slot).holds;
}

START_TEST(a_request_in_a_vacant_slot_waits_and_asks_for_a_worker)
{
    ck_assert_uint_eq(muster__slot_version(slot), 7);
    post(0);
    post(0);
    ck_assert_int_eq(wants, 2);
    ck_assert_uint_eq(muster__slot_sample(slot).waiting, 2);
    uint32_t incarnation = muster__slot_attach(slot);
    post(0);
    ck_assert_int_eq(wants, 2); /* one is on its way */
    ck_assert_ptr_null(muster__slot_take(slot, incarnation, 10));
    ck_assert(muster__slot_open(slot, incarnation, &consumer, 0));
    ck_assert_int_eq(wakes, 1);
    end_list(incarnation, muster__slot_take(slot, incarnation, 10));
    ck_assert_int_eq(destroyed, 3);
    ck_assert(muster__slot_retire(slot, incarnation));
}
END_TEST

START_TEST(requests_are_taken_in_the_order_in_which_they_came_also_across_instances)
{
    struct muster__request *posted[5];
    for (int i = 0; i < 3; i++)
        posted[i] = post(0);
    uint32_t first = run_slot();
    struct muster__request *list = muster__slot_take(slot, first, 1);
    ck_assert_ptr_eq(list, posted[0]);
    ck_assert_ptr_null(list->next);
    posted[3] = post(0);
    ck_assert_uint_eq(muster__slot_vacate(slot, first), 3);
    posted[4] = post(0);
    end_list(first, list);
    ck_assert_uint_eq(holds(), 4); /* what was in flight no longer counts, nor does its end */
    uint32_t second = run_slot();
    ck_assert_uint_ne(first, second);
    list = muster__slot_take(slot, second, 10);
    struct muster__request *at = list;
    for (int i = 1; i < 5; i++, at = at->next)
        ck_assert_ptr_eq(at, posted[i]);
    ck_assert_ptr_null(at);
    end_list(second, list);
    ck_assert(muster__slot_retire(slot, second));
}
END_TEST

START_TEST(a_slot_that_anything_holds_does_not_retire)
{
    uint32_t incarnation = run_slot();
    post(0);
    ck_assert(!muster__slot_retire(slot, incarnation));
    struct muster__request *list = muster__slot_take(slot, incarnation, 10);
    ck_assert(!muster__slot_retire(slot, incarnation));
    muster__slot_hold(slot, incarnation, 0, 0);
    end_list(incarnation, list);
    ck_assert(!muster__slot_retire(slot, incarnation));
    muster__slot_unhold(slot, incarnation);
    ck_assert(!muster__slot_retire(slot, incarnation + 1));
    ck_assert(muster__slot_retire(slot, incarnation));
    ck_assert_int_eq(wants, 0);
    post(0); /* after the edge: it waits for the next one */
    ck_assert_int_eq(wants, 1);
    ck_assert_ptr_null(muster__slot_take(slot, incarnation, 10));
    drop_list(muster__slot_close(slot));
}
END_TEST

START_TEST(holds_of_an_old_incarnation_neither_count_nor_uncount)
{
    uint32_t first = muster__slot_attach(slot);
    muster__slot_hold(slot, first, 0, 0); /* a token taken while it starts */
    ck_assert_uint_eq(holds(), 1);
    ck_assert(muster__slot_open(slot, first, &consumer, 0));
    ck_assert_uint_eq(holds(), 1);
    (void)muster__slot_vacate(slot, first);
    ck_assert_uint_eq(holds(), 0);
    uint32_t second = run_slot();
    muster__slot_hold(slot, second, 0, 0);
    muster__slot_hold(slot, first, 0, 0);
    muster__slot_unhold(slot, first);
    muster__slot_unhold(slot, first);
    ck_assert_uint_eq(holds(), 1);
    muster__slot_unhold(slot, second);
    ck_assert(muster__slot_retire(slot, second));
    muster__slot_hold(slot, second, 0, 0); /* retired: it may not hold on to a vacant slot */
    ck_assert_uint_eq(holds(), 0);
}
END_TEST

START_TEST(a_slot_that_was_vacated_while_it_started_is_not_opened)
{
    uint32_t incarnation = muster__slot_attach(slot);
    ck_assert_uint_eq(muster__slot_vacate(slot, incarnation), 0);
    ck_assert(!muster__slot_open(slot, incarnation, &consumer, 0));
    ck_assert_uint_eq(muster__slot_sample(slot).state, MUSTER__SLOT_VACANT);
}
END_TEST

START_TEST(activity_keeps_alive_for_an_idle_time_or_less_and_never_shortens)
{
    uint32_t incarnation = run_slot();
    post(5000);
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 5000 + IDLE_US);
    struct muster__request *request = new_request();
    request->keepalive_until_us = 5100;
    ck_assert_int_eq(muster__slot_post(slot, request, 5500), MUSTER_OK);
    muster__request_release(request);
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 5000 + IDLE_US);
    muster__slot_hold(slot, incarnation, 6000, 6200);
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 6200);
    muster__slot_unhold(slot, incarnation);
    end_list(incarnation, muster__slot_take(slot, incarnation, 10));
    ck_assert(muster__slot_retire(slot, incarnation));
}
END_TEST

static enum muster_status post_bounded(uint64_t now_us, uint64_t until_us)
{
    struct muster__request *request = new_request();
    request->keepalive_until_us = until_us;
    enum muster_status status = muster__slot_post(slot, request, now_us);
    muster__request_release(request);
    return status;
}

START_TEST(who_was_started_for_anothers_sake_hands_on_no_more_time_than_that_one_had)
{
    ck_assert_int_eq(post_bounded(5000, 5100), MUSTER_OK);
    uint32_t incarnation = muster__slot_attach(slot);
    ck_assert(muster__slot_open(slot, incarnation, &consumer, 5050));
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 5050 + IDLE_US);
    ck_assert_uint_eq(muster__slot_sample(slot).granted_until_us, 5100);
    muster__slot_hold(slot, incarnation, 5060, 0); /* its own work keeps itself alive */
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 5060 + IDLE_US);
    ck_assert_uint_eq(muster__slot_sample(slot).granted_until_us, 5100);
    muster__slot_unhold(slot, incarnation);
    end_list(incarnation, muster__slot_take(slot, incarnation, 10));
    ck_assert(muster__slot_retire(slot, incarnation));
}
END_TEST

START_TEST(one_whose_time_is_over_wakes_nobody)
{
    ck_assert_int_eq(post_bounded(6000, 5100), MUSTER_TERMINATED);
    ck_assert_uint_eq(muster__slot_sample(slot).waiting, 0);
    uint32_t incarnation = run_slot();
    ck_assert_int_eq(post_bounded(6000, 5100), MUSTER_OK); /* one that is awake hears it */
    ck_assert_int_eq(post_bounded(6000, 7000), MUSTER_OK);
    post(6000);
    ck_assert_uint_eq(muster__slot_vacate(slot, incarnation), 3);
    struct muster__request *expired = muster__slot_expire(slot, 6500);
    ck_assert_ptr_nonnull(expired);
    ck_assert_ptr_null(expired->next);
    muster__slot_drop(slot, expired);
    ck_assert_uint_eq(muster__slot_sample(slot).waiting, 2);
    struct muster__request *rest = muster__slot_empty(slot);
    while (rest) {
        struct muster__request *request = rest;
        rest = request->next;
        muster__slot_drop(slot, request);
    }
}
END_TEST

START_TEST(what_waited_long_for_a_thread_is_activity_when_it_begins)
{
    uint32_t incarnation = run_slot();
    post(5000);
    struct muster__request *list = muster__slot_take(slot, incarnation, 10);
    muster__slot_begun(slot, list, 9000);
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 9000 + IDLE_US);
    end_list(incarnation, list);
    struct muster__request *bounded = new_request();
    bounded->keepalive_until_us = 5100;
    ck_assert_int_eq(muster__slot_post(slot, bounded, 20000), MUSTER_OK);
    muster__request_release(bounded);
    list = muster__slot_take(slot, incarnation, 10);
    muster__slot_begun(slot, list, 30000);
    ck_assert_uint_eq(muster__slot_sample(slot).alive_until_us, 9000 + IDLE_US);
    end_list(incarnation, list);
    ck_assert(muster__slot_retire(slot, incarnation));
}
END_TEST

START_TEST(a_full_queue_refuses_and_nothing_else_happens)
{
    for (int i = 0; i < 100; i++)
        post(0);
    struct muster__request *request = new_request();
    ck_assert_int_eq(muster__slot_post(slot, request, 0), MUSTER_QUEUE_FULL);
    ck_assert_uint_eq(holds(), 100);
    muster__request_release(request);
    ck_assert_int_eq(destroyed, 1);
    drop_list(muster__slot_empty(slot));
    ck_assert_uint_eq(holds(), 0);
    ck_assert_int_eq(destroyed, 101);
}
END_TEST

START_TEST(a_canceled_request_leaves_the_queue_or_its_consumer_hears_of_it)
{
    struct muster__request *first = post(0), *middle = post(0), *last = post(0);
    muster__request_acquire(middle);
    muster__slot_cancel(slot, middle);
    muster__slot_cancel(slot, middle); /* twice does nothing */
    ck_assert_uint_eq(holds(), 2);
    muster__request_release(middle);
    ck_assert_int_eq(destroyed, 1);
    uint32_t incarnation = run_slot();
    struct muster__request *list = muster__slot_take(slot, incarnation, 10);
    ck_assert_ptr_eq(list, first);
    ck_assert_ptr_eq(list->next, last);
    muster__slot_cancel(slot, first);
    ck_assert_int_eq(cancels, 1);
    end_list(incarnation, list);
    ck_assert(muster__slot_retire(slot, incarnation));
}
END_TEST

START_TEST(a_closed_slot_gives_back_what_waited_and_takes_no_more)
{
    post(0);
    uint32_t incarnation = run_slot();
    struct muster__request *in_flight = muster__slot_take(slot, incarnation, 10);
    post(0);
    drop_list(muster__slot_close(slot));
    ck_assert_int_eq(destroyed, 1);
    struct muster__request *request = new_request();
    ck_assert_int_eq(muster__slot_post(slot, request, 0), MUSTER_CLOSED);
    muster__request_release(request);
    end_list(incarnation, in_flight);
    ck_assert_int_eq(destroyed, 3);
    ck_assert_uint_eq(holds(), 0);
}
END_TEST

START_TEST(what_was_taken_and_not_begun_is_put_back_in_front)
{
    struct muster__request *posted[4];
    for (int i = 0; i < 3; i++)
        posted[i] = post(0);
    uint32_t first = run_slot();
    struct muster__request *list = muster__slot_take(slot, first, 10);
    posted[3] = post(0);
    struct muster__request *back = list->next;
    list->next = NULL;
    int woken = wakes;
    ck_assert(muster__slot_put_back(slot, first, back));
    ck_assert_int_eq(wakes, woken); /* the one that gave them back is dying */
    ck_assert_uint_eq(holds(), 4);
    end_list(first, list);
    ck_assert_uint_eq(muster__slot_vacate(slot, first), 3);
    uint32_t second = run_slot();
    list = muster__slot_take(slot, second, 10);
    struct muster__request *at = list;
    for (int i = 1; i < 4; i++, at = at->next)
        ck_assert_ptr_eq(at, posted[i]);
    end_list(second, list);
    ck_assert(muster__slot_retire(slot, second));
}
END_TEST

START_TEST(what_is_put_back_late_finds_the_next_instance_or_asks_for_one)
{
    post(0);
    post(0);
    post(0);
    uint32_t first = run_slot();
    struct muster__request *list = muster__slot_take(slot, first, 1);
    struct muster__request *another = muster__slot_take(slot, first, 1);
    struct muster__request *third = muster__slot_take(slot, first, 1);
    ck_assert_uint_eq(muster__slot_vacate(slot, first), 0);
    int wanted = wants;
    ck_assert(muster__slot_put_back(slot, first, list));
    ck_assert_int_eq(wants, wanted + 1);
    ck_assert_uint_eq(holds(), 1);
    uint32_t second = run_slot();
    int woken = wakes;
    ck_assert(muster__slot_put_back(slot, first, another));
    ck_assert_int_eq(wakes, woken + 1);
    ck_assert_uint_eq(holds(), 2);
    drop_list(muster__slot_close(slot));
    ck_assert(!muster__slot_put_back(slot, first, third));
    ck_assert(muster__slot_put_back(slot, second, NULL));
    muster__slot_ended(slot, first, third, 0);
    ck_assert_int_eq(destroyed, 3);
}
END_TEST

/* ---- races: several post, one consumes, one retires and vacates ---- */

static atomic_int raced_wants, raced_ended, raced_references;

static void raced_want(struct muster__slot *wanting, void *user_data)
{
    (void)wanting;
    (void)user_data;
    atomic_fetch_add(&raced_wants, 1);
}

static void raced_destroyed(struct muster__request *request)
{
    atomic_fetch_add(&raced_ended, 1);
    free(request);
}

static const struct muster__request_class raced_class = {.destroy = raced_destroyed};

static void *post_a_lot(void *count)
{
    for (int i = 0; i < *(int *)count; i++) {
        struct muster__request *request = malloc(sizeof *request);
        muster__request_init(request, &raced_class, MUSTER__REQUEST_EVENT, "x");
        while (muster__slot_post(slot, request, 0) == MUSTER_QUEUE_FULL)
            sched_yield();
        if (i % 7 == 0)
            muster__slot_cancel(slot, request);
        muster__request_release(request);
    }
    return NULL;
}

static void quiet_wake(struct muster__slot_consumer *one)
{
    (void)one;
}

static void quiet_cancel(struct muster__slot_consumer *one, struct muster__request *request)
{
    (void)one;
    (void)request;
}

static void counted_acquire(struct muster__slot_consumer *one)
{
    (void)one;
    atomic_fetch_add(&raced_references, 1);
}

static void counted_release(struct muster__slot_consumer *one)
{
    (void)one;
    atomic_fetch_sub(&raced_references, 1);
}

START_TEST(posts_that_race_with_retiring_are_never_lost)
{
    static struct muster__slot_consumer raced = {.wake = quiet_wake,
                                                 .cancel = quiet_cancel,
                                                 .acquire = counted_acquire,
                                                 .release = counted_release};
    const struct muster__slot_options options = {
        .queue_limit = 100, .idle_us = IDLE_US, .want = raced_want};
    enum { THREADS = 3 };
    int each = 3000;
    slot = muster__slot_new(&options);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, post_a_lot, &each);
    int served_wants = 0;
    /* A want comes for whatever found the slot vacant; only then is it attached. */
    while (atomic_load(&raced_ended) < THREADS * each) {
        if (atomic_load(&raced_wants) == served_wants) {
            sched_yield();
            continue;
        }
        served_wants = atomic_load(&raced_wants);
        uint32_t incarnation = muster__slot_attach(slot);
        ck_assert(muster__slot_open(slot, incarnation, &raced, 0));
        do {
            struct muster__request *list = muster__slot_take(slot, incarnation, 5);
            if (list && served_wants % 5 == 0) {
                if (muster__slot_vacate(slot, incarnation)) /* the driver's answer to a vacate */
                    atomic_fetch_add(&raced_wants, 1);
                end_list(incarnation, list);
                break;
            }
            end_list(incarnation, list);
        } while (!muster__slot_retire(slot, incarnation));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(holds(), 0);
    muster__slot_release(slot);
    ck_assert_int_eq(atomic_load(&raced_references), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("slot");
    TCase *tc = tcase_create("slot");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_request_in_a_vacant_slot_waits_and_asks_for_a_worker);
    tcase_add_test(tc, requests_are_taken_in_the_order_in_which_they_came_also_across_instances);
    tcase_add_test(tc, a_slot_that_anything_holds_does_not_retire);
    tcase_add_test(tc, holds_of_an_old_incarnation_neither_count_nor_uncount);
    tcase_add_test(tc, a_slot_that_was_vacated_while_it_started_is_not_opened);
    tcase_add_test(tc, activity_keeps_alive_for_an_idle_time_or_less_and_never_shortens);
    tcase_add_test(tc, what_waited_long_for_a_thread_is_activity_when_it_begins);
    tcase_add_test(tc, a_full_queue_refuses_and_nothing_else_happens);
    tcase_add_test(tc, who_was_started_for_anothers_sake_hands_on_no_more_time_than_that_one_had);
    tcase_add_test(tc, one_whose_time_is_over_wakes_nobody);
    tcase_add_test(tc, a_canceled_request_leaves_the_queue_or_its_consumer_hears_of_it);
    tcase_add_test(tc, a_closed_slot_gives_back_what_waited_and_takes_no_more);
    tcase_add_test(tc, what_was_taken_and_not_begun_is_put_back_in_front);
    tcase_add_test(tc, what_is_put_back_late_finds_the_next_instance_or_asks_for_one);
    suite_add_tcase(s, tc);
    tc = tcase_create("races");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, posts_that_race_with_retiring_are_never_lost);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
