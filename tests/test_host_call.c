/* tests/test_host_call.c - host calls end once, in any order of their two parties; sets of bindings.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "runtime/host_call.h"

static struct muster_value *arguments_of(double number)
{
    struct muster_value *arguments = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(arguments, muster_value_new_number(number)), MUSTER_OK);
    return arguments;
}

static void return_twice_the_argument(struct muster_host_call *call, void *user_data)
{
    ck_assert_ptr_null(user_data);
    ck_assert_uint_eq(muster_host_call_count(call), 1);
    ck_assert_ptr_null(muster_host_call_argument(call, 1));
    double number = muster_value_number(muster_host_call_argument(call, 0));
    muster_host_call_return(call, muster_value_new_number(number * 2));
}

static void throw_what_is_given(struct muster_host_call *call, void *user_data)
{
    const char *const *texts = user_data;
    muster_host_call_throw(call, texts[0], texts[1]);
}

static void keep_for_later(struct muster_host_call *call, void *user_data)
{
    *(struct muster_host_call **)user_data = call;
}

struct ending {
    struct muster_host_call *call;
    int count;
};

static void note_ended(struct muster_host_call *call, void *worker)
{
    struct ending *ending = worker;
    ending->call = call;
    ending->count++;
}

static struct muster_host_call *make(muster_host_fn *function, void *user_data)
{
    struct muster_host_call *call =
        muster__host_call_new("db.query", function, user_data, arguments_of(21));
    ck_assert_ptr_nonnull(call);
    return call;
}

/* ---- calls ---- */

START_TEST(a_call_that_ends_inside_its_function_gives_the_value_at_once)
{
    struct muster_host_call *call = make(return_twice_the_argument, NULL);
    ck_assert_str_eq(muster_host_call_name(call), "db.query");
    ck_assert(muster__host_call_run(call));
    ck_assert_double_eq(muster_value_number(call->result), 42);
    ck_assert_ptr_null(call->error.message);
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(a_throw_brings_name_and_message)
{
    const char *texts[] = {"RangeError", "too many"};
    struct muster_host_call *call = make(throw_what_is_given, texts);
    ck_assert(muster__host_call_run(call));
    ck_assert_ptr_null(call->result);
    ck_assert_str_eq(call->error.name, "RangeError");
    ck_assert_str_eq(call->error.message, "too many");
    ck_assert_int_eq(call->error.status, MUSTER_SCRIPT_ERROR);
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(a_throw_of_nothing_is_still_a_throw)
{
    const char *texts[] = {NULL, NULL};
    struct muster_host_call *call = make(throw_what_is_given, texts);
    ck_assert(muster__host_call_run(call));
    ck_assert_str_eq(call->error.name, "Error");
    ck_assert_str_eq(call->error.message, "");
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(a_throw_without_memory_is_still_a_throw)
{
    const char *texts[] = {"RangeError", "too many"};
    struct muster_host_call *call = make(throw_what_is_given, texts);
    malloc_grants = 0;
    bool ended = muster__host_call_run(call);
    malloc_all_granted();
    ck_assert(ended);
    ck_assert_str_eq(call->error.message, "out of memory");
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(a_call_that_ends_later_is_handed_to_its_worker_once)
{
    struct muster_host_call *kept = NULL;
    struct ending ending = {0};
    struct muster_host_call *call = make(keep_for_later, &kept);
    ck_assert(!muster__host_call_run(call));
    ck_assert(muster__host_call_open(call, note_ended, &ending));
    ck_assert_int_eq(ending.count, 0);
    muster_host_call_return(kept, NULL);
    ck_assert_int_eq(ending.count, 1);
    ck_assert_ptr_eq(ending.call, call);
    ck_assert_ptr_null(call->result);
    ck_assert_ptr_null(call->error.message);
    muster__host_call_destroy(call);
}
END_TEST

static void *return_quick(void *call)
{
    muster_host_call_return(call, muster_value_new_text("quick"));
    return NULL;
}

static void end_on_another_thread(struct muster_host_call *call, void *user_data)
{
    pthread_t thread;
    (void)user_data;
    ck_assert_int_eq(pthread_create(&thread, NULL, return_quick, call), 0);
    pthread_join(thread, NULL);
}

START_TEST(a_call_that_another_thread_ends_is_a_later_one_however_quick_it_was)
{
    struct ending ending = {0};
    struct muster_host_call *call = make(end_on_another_thread, NULL);
    ck_assert(!muster__host_call_run(call));
    ck_assert(!muster__host_call_open(call, note_ended, &ending));
    ck_assert_int_eq(ending.count, 0);
    ck_assert_str_eq(muster_value_bytes(call->result).data, "quick");
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(a_call_that_ends_between_run_and_open_is_not_handed_over)
{
    struct muster_host_call *kept = NULL;
    struct ending ending = {0};
    struct muster_host_call *call = make(keep_for_later, &kept);
    ck_assert(!muster__host_call_run(call));
    muster_host_call_return(kept, muster_value_new_text("quick"));
    ck_assert(!muster__host_call_open(call, note_ended, &ending));
    ck_assert_int_eq(ending.count, 0);
    ck_assert_str_eq(muster_value_bytes(call->result).data, "quick");
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(an_orphan_is_freed_by_the_one_that_ends_it)
{
    struct muster_host_call *kept = NULL;
    struct ending ending = {0};
    struct muster_host_call *call = make(keep_for_later, &kept);
    ck_assert(!muster__host_call_run(call));
    ck_assert(muster__host_call_open(call, note_ended, &ending));
    ck_assert(!muster__host_call_orphan(call));
    ck_assert_double_eq(muster_value_number(muster_host_call_argument(kept, 0)), 21);
    muster_host_call_return(kept, muster_value_new_text("nobody reads this"));
    ck_assert_int_eq(ending.count, 0); /* and the leak check sees that it is gone */
}
END_TEST

START_TEST(a_call_that_ended_before_its_worker_died_is_the_workers)
{
    struct muster_host_call *kept = NULL;
    struct ending ending = {0};
    struct muster_host_call *call = make(keep_for_later, &kept);
    ck_assert(!muster__host_call_run(call));
    ck_assert(muster__host_call_open(call, note_ended, &ending));
    muster_host_call_throw(kept, NULL, "late");
    ck_assert(muster__host_call_orphan(call));
    ck_assert_int_eq(ending.count, 1);
    muster__host_call_destroy(call);
}
END_TEST

START_TEST(a_method_call_has_a_name_of_its_own)
{
    struct muster_host_call *call = make(return_twice_the_argument, NULL);
    call->owned_name = muster__format("%s.%s", "Counter", "add");
    ck_assert_str_eq(muster_host_call_name(call), "Counter.add");
    muster__host_call_destroy(call);
    muster__host_call_destroy(NULL);
}
END_TEST

START_TEST(ending_twice_is_a_bug)
{
    struct muster_host_call *kept = NULL;
    struct ending ending = {0};
    struct muster_host_call *call = make(keep_for_later, &kept);
    ck_assert(!muster__host_call_run(call));
    ck_assert(muster__host_call_open(call, note_ended, &ending));
    muster_host_call_return(kept, NULL);
    muster_host_call_return(kept, NULL);
}
END_TEST

START_TEST(every_failed_allocation_of_a_call_releases_the_arguments)
{
    WITH_EVERY_FAILURE(grants)
    {
        malloc_all_granted();
        struct muster_value *arguments = arguments_of(1);
        malloc_grants = grants;
        struct muster_host_call *call =
            muster__host_call_new("f", return_twice_the_argument, NULL, arguments);
        malloc_all_granted();
        ck_assert(malloc_has_failed == (call == NULL));
        muster__host_call_destroy(call);
    }
}
END_TEST

/* ---- two threads ---- */

enum { ROUNDS = 3000 };

/* The worker of the race: whoever gets an ended call destroys it. */
struct worker {
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct muster_host_call *ended;
};

static void hand_over(struct muster_host_call *call, void *user_data)
{
    struct worker *worker = user_data;
    pthread_mutex_lock(&worker->lock);
    worker->ended = call;
    pthread_cond_signal(&worker->came);
    pthread_mutex_unlock(&worker->lock);
}

static void wait_and_destroy(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (worker->ended == NULL)
        pthread_cond_wait(&worker->came, &worker->lock);
    struct muster_host_call *call = worker->ended;
    worker->ended = NULL;
    pthread_mutex_unlock(&worker->lock);
    muster__host_call_destroy(call);
}

struct ender {
    pthread_barrier_t *start;
    struct muster_host_call *call;
    bool stop;
};

static void *end_each(void *user_data)
{
    struct ender *ender = user_data;
    for (;;) {
        pthread_barrier_wait(ender->start);
        if (ender->stop)
            return NULL;
        muster_host_call_return(ender->call, muster_value_new_number(7));
        pthread_barrier_wait(ender->start);
    }
}

/* The first half of the rounds races with open(), the second with orphan(). */
static void race_once(struct muster_host_call *call, struct worker *worker,
                      pthread_barrier_t *start, bool opens_first)
{
    if (opens_first)
        MUSTER_CHECK(muster__host_call_open(call, hand_over, worker));
    pthread_barrier_wait(start);
    if (opens_first) {
        if (muster__host_call_orphan(call))
            wait_and_destroy(worker);
    } else if (muster__host_call_open(call, hand_over, worker)) {
        wait_and_destroy(worker);
    } else {
        MUSTER_CHECK(muster_value_number(call->result) == 7);
        muster__host_call_destroy(call);
    }
    pthread_barrier_wait(start);
}

START_TEST(an_end_may_meet_open_or_the_death_of_the_worker)
{
    struct worker worker = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    struct ender ender = {.start = &start};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, end_each, &ender), 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct muster_host_call *call =
            muster__host_call_new("f", keep_for_later, &ender.call, muster_value_new_array());
        MUSTER_CHECK(!muster__host_call_run(call));
        race_once(call, &worker, &start, round >= ROUNDS / 2);
    }
    ender.stop = true;
    pthread_barrier_wait(&start);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&start);
}
END_TEST

/* ---- bindings ---- */

static void count_one(void *user_data)
{
    (*(int *)user_data)++;
}

START_TEST(a_set_keeps_functions_and_values_in_order)
{
    struct muster_bindings *bindings = muster_bindings_new();
    int finalized = 0;
    ck_assert_int_eq(muster_bindings_add_function(bindings, "db.query", return_twice_the_argument,
                                                  &finalized, count_one),
                     MUSTER_OK);
    ck_assert_int_eq(muster_bindings_add_value(bindings, "db.version", muster_value_new_number(3)),
                     MUSTER_OK);
    ck_assert_uint_eq(muster__bindings_count(bindings), 2);
    struct muster__binding query = muster__bindings_at(bindings, 0);
    ck_assert_str_eq(query.path, "db.query");
    ck_assert(query.function == return_twice_the_argument);
    ck_assert_ptr_eq(query.user_data, &finalized);
    ck_assert_ptr_null(query.value);
    struct muster__binding version = muster__bindings_at(bindings, 1);
    ck_assert(version.function == NULL);
    ck_assert_double_eq(muster_value_number(version.value), 3);
    struct muster_bindings *second = muster_bindings_acquire(bindings);
    muster_bindings_release(bindings);
    ck_assert_int_eq(finalized, 0);
    muster_bindings_release(second);
    ck_assert_int_eq(finalized, 1);
    muster_bindings_release(NULL);
    ck_assert_uint_eq(muster__bindings_count(NULL), 0);
}
END_TEST

static const char *const bad_paths[] = {
    "", ".", "a.", ".a", "a..b", "1a", "a.1", "a-b", "a b", "\xc3\xa4", "a.b.",
};

START_TEST(a_path_that_is_no_list_of_identifiers_is_refused)
{
    struct muster_bindings *bindings = muster_bindings_new();
    int finalized = 0;
    ck_assert_int_eq(muster_bindings_add_function(bindings, bad_paths[_i],
                                                  return_twice_the_argument, &finalized,
                                                  count_one),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_bindings_add_value(bindings, bad_paths[_i], muster_value_new_null()),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_bindings_add_value(bindings, NULL, muster_value_new_null()),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_bindings_add_value(bindings, "a", NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "a", NULL, NULL, NULL),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_uint_eq(muster__bindings_count(bindings), 0);
    muster_bindings_release(bindings);
    ck_assert_int_eq(finalized, 0);
}
END_TEST

static const struct {
    const char *first;
    const char *second;
    enum muster_status status;
} pairs[] = {
    {"a", "a", MUSTER_EXISTS},       {"a.b", "a.b", MUSTER_EXISTS}, {"a", "a.b", MUSTER_EXISTS},
    {"a.b", "a", MUSTER_EXISTS},     {"a.b.c", "a", MUSTER_EXISTS}, {"a", "ab", MUSTER_OK},
    {"ab", "a", MUSTER_OK},          {"a.b", "a.c", MUSTER_OK},     {"a.b", "a.bc", MUSTER_OK},
    {"a.b.c", "a.b.d", MUSTER_OK},   {"$_1", "_$1.x9", MUSTER_OK},
};

START_TEST(a_name_is_a_leaf_or_a_folder_and_taken_once)
{
    struct muster_bindings *bindings = muster_bindings_new();
    ck_assert_int_eq(muster_bindings_add_value(bindings, pairs[_i].first, muster_value_new_null()),
                     MUSTER_OK);
    ck_assert_int_eq(
        muster_bindings_add_value(bindings, pairs[_i].second, muster_value_new_null()),
        pairs[_i].status);
    muster_bindings_release(bindings);
}
END_TEST

START_TEST(every_failed_allocation_of_a_set_is_reported_and_leaks_nothing)
{
    WITH_EVERY_FAILURE(grants)
    {
        malloc_all_granted();
        struct muster_bindings *bindings = muster_bindings_new();
        struct muster_value *value = muster_value_new_null();
        malloc_grants = grants;
        enum muster_status status = muster_bindings_add_value(bindings, "a.b", value);
        malloc_all_granted();
        ck_assert_int_eq(status, malloc_has_failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        ck_assert_uint_eq(muster__bindings_count(bindings), malloc_has_failed ? 0 : 1);
        muster_bindings_release(bindings);
    }
}
END_TEST

static const struct muster_host_class counter_class = {
    .size = sizeof counter_class, .name = "Counter", .finalize = count_one};
/* Of a program that was built before `finalize` existed. */
static const struct muster_host_class short_class = {
    .size = offsetof(struct muster_host_class, finalize), .name = "Old", .finalize = count_one};

START_TEST(a_host_object_shows_its_class_and_data)
{
    int finalized = 0;
    struct muster_value *value = muster_value_new_host_object(&counter_class, &finalized);
    ck_assert_ptr_eq(muster__value_host_class(value), &counter_class);
    ck_assert_ptr_eq(muster__value_host_data(value), &finalized);
    ck_assert_ptr_null(muster__value_host_class(NULL));
    ck_assert_ptr_null(muster__value_host_data(NULL));
    muster_value_release(value);
    ck_assert_int_eq(finalized, 1);
}
END_TEST

START_TEST(a_field_beyond_the_size_of_a_class_is_not_read)
{
    int finalized = 0;
    muster_value_release(muster_value_new_host_object(&short_class, &finalized));
    ck_assert_int_eq(finalized, 0);
}
END_TEST

static TCase *call_topic(void)
{
    TCase *topic = tcase_create("call");
    tcase_add_test(topic, a_call_that_ends_inside_its_function_gives_the_value_at_once);
    tcase_add_test(topic, a_throw_brings_name_and_message);
    tcase_add_test(topic, a_throw_of_nothing_is_still_a_throw);
    tcase_add_test(topic, a_throw_without_memory_is_still_a_throw);
    tcase_add_test(topic, a_call_that_ends_later_is_handed_to_its_worker_once);
    tcase_add_test(topic, a_call_that_another_thread_ends_is_a_later_one_however_quick_it_was);
    tcase_add_test(topic, a_call_that_ends_between_run_and_open_is_not_handed_over);
    tcase_add_test(topic, an_orphan_is_freed_by_the_one_that_ends_it);
    tcase_add_test(topic, a_call_that_ended_before_its_worker_died_is_the_workers);
    tcase_add_test(topic, a_method_call_has_a_name_of_its_own);
    tcase_add_test_raise_signal(topic, ending_twice_is_a_bug, SIGABRT);
    tcase_add_test(topic, every_failed_allocation_of_a_call_releases_the_arguments);
    tcase_add_test(topic, an_end_may_meet_open_or_the_death_of_the_worker);
    tcase_set_timeout(topic, 60);
    return topic;
}

static TCase *bindings_topic(void)
{
    TCase *topic = tcase_create("bindings");
    tcase_add_test(topic, a_set_keeps_functions_and_values_in_order);
    tcase_add_loop_test(topic, a_path_that_is_no_list_of_identifiers_is_refused, 0,
                        sizeof bad_paths / sizeof *bad_paths);
    tcase_add_loop_test(topic, a_name_is_a_leaf_or_a_folder_and_taken_once, 0,
                        sizeof pairs / sizeof *pairs);
    tcase_add_test(topic, every_failed_allocation_of_a_set_is_reported_and_leaks_nothing);
    tcase_add_test(topic, a_host_object_shows_its_class_and_data);
    tcase_add_test(topic, a_field_beyond_the_size_of_a_class_is_not_read);
    return topic;
}

int main(void)
{
    Suite *suite = suite_create("host_call");
    suite_add_tcase(suite, call_topic());
    suite_add_tcase(suite, bindings_topic());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
