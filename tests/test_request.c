/* tests/test_request.c - a request settles once, whoever comes first, and is destroyed once. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/request.h"

struct work {
    struct muster__request request;
    atomic_int settled;
    atomic_int destroyed;
    enum muster_status status;
    char message[64];
    bool releases_when_settled;
};

static struct work *work_of(struct muster__request *request)
{
    return MUSTER_CONTAINER_OF(request, struct work, request);
}

static void note_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct work *work = work_of(request);
    atomic_fetch_add(&work->settled, 1);
    work->status = outcome->status;
    if (outcome->error != NULL)
        strncpy(work->message, outcome->error->message, sizeof work->message - 1);
    if (work->releases_when_settled) {
        muster__request_release(request);
        MUSTER_CHECK(atomic_load(&work->destroyed) == 0); /* not before settled() is back */
    }
}

static void note_destroyed(struct muster__request *request)
{
    atomic_fetch_add(&work_of(request)->destroyed, 1);
}

static const struct muster__request_class work_class = {note_settled, note_destroyed};

static void init(struct work *work)
{
    memset(work, 0, sizeof *work);
    muster__request_init(&work->request, &work_class, MUSTER__REQUEST_EVENT, "push");
}

START_TEST(init_makes_a_fresh_request_out_of_any_memory)
{
    struct work work;
    memset(&work, 0xff, sizeof work);
    muster__request_init(&work.request, &work_class, MUSTER__REQUEST_FETCH, "fetch");
    ck_assert(!muster__request_is_settled(&work.request));
    ck_assert(!atomic_load(&work.request.started));
    ck_assert_int_eq(work.request.kind, MUSTER__REQUEST_FETCH);
    ck_assert_str_eq(work.request.name, "fetch");
    ck_assert_ptr_null(work.request.data);
    ck_assert_ptr_null(work.request.next);
    ck_assert_uint_eq(work.request.http.header_count, 0);
}
END_TEST

START_TEST(the_first_to_settle_wins)
{
    struct work work;
    init(&work);
    struct muster__outcome outcome = {.status = MUSTER_OK};
    ck_assert(muster__request_settle(&work.request, &outcome));
    ck_assert(muster__request_is_settled(&work.request));
    ck_assert(!muster__request_fail(&work.request, MUSTER_TIMED_OUT, NULL));
    ck_assert(!muster__request_settle(&work.request, &outcome));
    ck_assert_int_eq(work.status, MUSTER_OK);
    ck_assert_int_eq(work.settled, 1);
    muster__request_release(&work.request);
    ck_assert_int_eq(work.destroyed, 1);
}
END_TEST

START_TEST(a_failure_brings_its_sentence_or_the_one_of_its_status)
{
    struct work work;
    init(&work);
    ck_assert(muster__request_fail(&work.request, MUSTER_SHUTDOWN, "going down"));
    ck_assert_int_eq(work.status, MUSTER_SHUTDOWN);
    ck_assert_str_eq(work.message, "going down");
    init(&work);
    ck_assert(muster__request_fail(&work.request, MUSTER_TIMED_OUT, NULL));
    ck_assert_str_eq(work.message, muster_status_sentence(MUSTER_TIMED_OUT));
}
END_TEST

START_TEST(the_callback_may_let_go_of_the_last_reference)
{
    struct work work;
    init(&work);
    work.releases_when_settled = true;
    ck_assert(muster__request_fail(&work.request, MUSTER_CANCELED, NULL));
    ck_assert_int_eq(work.destroyed, 1);
}
END_TEST

START_TEST(the_last_release_destroys)
{
    struct work work;
    init(&work);
    muster__request_acquire(&work.request);
    muster__request_release(&work.request);
    ck_assert_int_eq(work.destroyed, 0);
    muster__request_release(&work.request);
    ck_assert_int_eq(work.destroyed, 1);
    muster__request_release(NULL);
}
END_TEST

START_TEST(a_class_without_destroy_is_a_bug)
{
    static const struct muster__request_class half = {note_settled, NULL};
    struct work work;
    muster__request_init(&work.request, &half, MUSTER__REQUEST_CALL, "f");
}
END_TEST

START_TEST(releasing_once_too_often_is_a_bug)
{
    struct work work;
    init(&work);
    muster__request_release(&work.request);
    muster__request_release(&work.request);
}
END_TEST

enum { RACERS = 4, ROUNDS = 500 };

struct racer {
    struct work *works;
    pthread_barrier_t *start;
    int wins;
};

static void *settle_all(void *user_data)
{
    struct racer *racer = user_data;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(racer->start);
        struct muster__request *request = &racer->works[i].request;
        racer->wins += muster__request_fail(request, MUSTER_TIMED_OUT, NULL);
        muster__request_release(request);
    }
    return NULL;
}

START_TEST(of_many_threads_exactly_one_settles_and_one_destroys)
{
    struct work *works = calloc(ROUNDS, sizeof *works);
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, RACERS);
    for (int i = 0; i < ROUNDS; i++) {
        init(&works[i]);
        for (int j = 1; j < RACERS; j++)
            muster__request_acquire(&works[i].request);
    }
    pthread_t threads[RACERS];
    struct racer racers[RACERS];
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){works, &start, 0};
        pthread_create(&threads[i], NULL, settle_all, &racers[i]);
    }
    int wins = 0;
    for (int i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        wins += racers[i].wins;
    }
    ck_assert_int_eq(wins, ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        ck_assert_int_eq(works[i].settled, 1);
        ck_assert_int_eq(works[i].destroyed, 1);
    }
    pthread_barrier_destroy(&start);
    free(works);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request");
    TCase *topic = tcase_create("life");
    tcase_set_timeout(topic, 60);
    tcase_add_test(topic, init_makes_a_fresh_request_out_of_any_memory);
    tcase_add_test(topic, the_first_to_settle_wins);
    tcase_add_test(topic, a_failure_brings_its_sentence_or_the_one_of_its_status);
    tcase_add_test(topic, the_callback_may_let_go_of_the_last_reference);
    tcase_add_test(topic, the_last_release_destroys);
    tcase_add_test_raise_signal(topic, a_class_without_destroy_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(topic, releasing_once_too_often_is_a_bug, SIGABRT);
    tcase_add_test(topic, of_many_threads_exactly_one_settles_and_one_destroys);
    suite_add_tcase(suite, topic);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
