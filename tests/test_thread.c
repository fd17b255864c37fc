/* tests/test_thread.c - threads of the library's own leave signals to others. */
#include "runtime/thread.h"

#include <check.h>
#include <signal.h>

static const int ordinary[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD, SIGPIPE};
#define COUNT (sizeof(ordinary) / sizeof(*ordinary))

static size_t blocked_here(void)
{
    sigset_t mask;
    size_t count = 0;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (size_t i = 0; i < COUNT; i++)
        count += sigismember(&mask, ordinary[i]) == 1;
    return count;
}

static void *run(void *ret_blocked)
{
    *(size_t *)ret_blocked = blocked_here();
    return NULL;
}

START_TEST(a_thread_has_all_signals_blocked_and_its_maker_what_it_had)
{
    size_t blocked = 0;
    pthread_t thread;
    ck_assert_int_eq(muster__thread_start(&thread, NULL, run, &blocked), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(blocked, COUNT);
    ck_assert_uint_eq(blocked_here(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tests = tcase_create("thread");
    tcase_add_test(tests, a_thread_has_all_signals_blocked_and_its_maker_what_it_had);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
