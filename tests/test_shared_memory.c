/* tests/test_shared_memory.c - the words that tell what a host has started. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "remote/shared_memory.h"
#include "runtime/check.h"

static struct muster__shared_memory *make(uint32_t words)
{
    struct muster__shared_memory *memory = NULL;
    ck_assert_int_eq(muster__shared_memory_new(words, &memory), MUSTER_OK);
    return memory;
}

/* As the host has it: a descriptor of its own. */
static struct muster__shared_memory *attach(const struct muster__shared_memory *memory)
{
    struct muster__shared_memory *attached = NULL;
    int fd = dup(muster__shared_memory_fd(memory));
    ck_assert_int_eq(muster__shared_memory_attach(fd, &attached), MUSTER_OK);
    return attached;
}

START_TEST(every_word_is_handed_out_once_and_no_more)
{
    static const uint32_t sizes[] = {1, 63, 64, 65, 1000};
    uint32_t words = sizes[_i];
    struct muster__shared_memory *memory = make(words);
    char *seen = calloc(words, 1);
    uint32_t index = 77;
    for (uint32_t i = 0; i < words; i++) {
        ck_assert_int_eq(muster__shared_memory_take(memory, &index), MUSTER_OK);
        ck_assert_uint_lt(index, words);
        ck_assert_int_eq(seen[index]++, 0);
        ck_assert(!muster__shared_memory_has_started(memory, index));
    }
    index = 77;
    ck_assert_int_eq(muster__shared_memory_take(memory, &index), MUSTER_QUEUE_FULL);
    ck_assert_uint_eq(index, 77);
    ck_assert_uint_eq(muster__shared_memory_taken(memory), words);
    muster__shared_memory_give_back(memory, words - 1);
    ck_assert_int_eq(muster__shared_memory_take(memory, &index), MUSTER_OK);
    ck_assert_uint_eq(index, words - 1);
    free(seen);
    muster__shared_memory_destroy(memory);
}
END_TEST

START_TEST(what_the_host_starts_the_parent_sees_until_the_word_is_anothers)
{
    struct muster__shared_memory *memory = make(10);
    struct muster__shared_memory *host = attach(memory);
    uint32_t first;
    uint32_t second;
    ck_assert_int_eq(muster__shared_memory_take(memory, &first), MUSTER_OK);
    ck_assert_int_eq(muster__shared_memory_take(memory, &second), MUSTER_OK);
    ck_assert(muster__shared_memory_start(host, second));
    ck_assert(!muster__shared_memory_has_started(memory, first));
    ck_assert(muster__shared_memory_has_started(memory, second));
    muster__shared_memory_give_back(memory, second);
    ck_assert_int_eq(muster__shared_memory_take(memory, &second), MUSTER_OK);
    ck_assert(!muster__shared_memory_has_started(memory, second));
    ck_assert(!muster__shared_memory_start(host, 10));
    ck_assert(!muster__shared_memory_start(host, UINT32_MAX));
    ck_assert_uint_eq(muster__shared_memory_heartbeat(memory), 0);
    muster__shared_memory_beat(host);
    muster__shared_memory_beat(host);
    ck_assert_uint_eq(muster__shared_memory_heartbeat(memory), 2);
    muster__shared_memory_destroy(host);
    muster__shared_memory_destroy(memory);
}
END_TEST

START_TEST(a_host_can_neither_take_the_memory_away_nor_make_it_lie_about_its_size)
{
    struct muster__shared_memory *memory = make(100);
    int fd = muster__shared_memory_fd(memory);
    uint32_t index;
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), -1);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    char junk[464];
    memset(junk, 0xff, sizeof junk);
    ck_assert_int_eq(pwrite(fd, junk, sizeof junk, 0), (ssize_t)sizeof junk);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(muster__shared_memory_take(memory, &index), MUSTER_OK);
        ck_assert_uint_lt(index, 100);
        ck_assert(!muster__shared_memory_has_started(memory, index)); /* wiped when it was taken */
    }
    ck_assert_int_eq(muster__shared_memory_take(memory, &index), MUSTER_QUEUE_FULL);
    ck_assert_int_eq(pwrite(fd, junk, sizeof junk, 0), (ssize_t)sizeof junk);
    ck_assert(muster__shared_memory_has_started(memory, 5)); /* any word but 0 */
    muster__shared_memory_destroy(memory);
}
END_TEST

START_TEST(only_such_a_memory_is_attached)
{
    struct muster__shared_memory *memory = make(4);
    struct muster__shared_memory *attached = NULL;
    int null = open("/dev/null", O_RDWR);
    int bare = memfd_create("bare", MFD_ALLOW_SEALING);
    ck_assert_int_eq(muster__shared_memory_attach(-1, &attached), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__shared_memory_attach(null, &attached), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(ftruncate(bare, 4096), 0);
    ck_assert_int_eq(muster__shared_memory_attach(bare, &attached), MUSTER_INVALID_ARGUMENT);
    fcntl(bare, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    ck_assert_int_eq(muster__shared_memory_attach(bare, &attached), MUSTER_INVALID_ARGUMENT);
    int fd = muster__shared_memory_fd(memory);
    uint32_t words = 5; /* more than there are */
    ck_assert_int_eq(pwrite(fd, &words, sizeof words, 8), (ssize_t)sizeof words);
    ck_assert_int_eq(muster__shared_memory_attach(fd, &attached), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(attached);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0); /* still the caller's */
    close(null);
    close(bare);
    muster__shared_memory_destroy(memory);
    muster__shared_memory_destroy(NULL);
}
END_TEST

START_TEST(no_words_or_too_many_are_refused)
{
    struct muster__shared_memory *memory = NULL;
    ck_assert_int_eq(muster__shared_memory_new(0, &memory), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__shared_memory_new(MUSTER__SHARED_MEMORY_WORDS_MAX + 1, &memory),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(memory);
    muster__shared_memory_destroy(make(MUSTER__SHARED_MEMORY_WORDS_MAX));
}
END_TEST

enum { WORDS = 130, ROUNDS = 20000 };

struct contender {
    struct muster__shared_memory *memory;
    atomic_int *owners;
};

static void *take_and_give_back(void *data)
{
    struct contender *contender = data;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t index;
        if (muster__shared_memory_take(contender->memory, &index) != MUSTER_OK)
            continue;
        MUSTER_CHECK(atomic_fetch_add(&contender->owners[index], 1) == 0);
        MUSTER_CHECK(!muster__shared_memory_has_started(contender->memory, index));
        MUSTER_CHECK(muster__shared_memory_start(contender->memory, index));
        atomic_fetch_sub(&contender->owners[index], 1);
        muster__shared_memory_give_back(contender->memory, index);
    }
    return NULL;
}

START_TEST(no_two_threads_get_the_same_word)
{
    static atomic_int owners[WORDS];
    struct contender contender = {make(WORDS), owners};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give_back, &contender), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(muster__shared_memory_taken(contender.memory), 0);
    muster__shared_memory_destroy(contender.memory);
}
END_TEST

START_TEST(giving_back_what_was_not_taken_is_a_bug)
{
    muster__shared_memory_give_back(make(64), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared_memory");
    TCase *topic = tcase_create("words");
    tcase_set_timeout(topic, 60);
    tcase_add_loop_test(topic, every_word_is_handed_out_once_and_no_more, 0, 5);
    tcase_add_test(topic, what_the_host_starts_the_parent_sees_until_the_word_is_anothers);
    tcase_add_test(topic, a_host_can_neither_take_the_memory_away_nor_make_it_lie_about_its_size);
    tcase_add_test(topic, only_such_a_memory_is_attached);
    tcase_add_test(topic, no_words_or_too_many_are_refused);
    tcase_add_test(topic, no_two_threads_get_the_same_word);
    tcase_add_test_raise_signal(topic, giving_back_what_was_not_taken_is_a_bug, SIGABRT);
    suite_add_tcase(suite, topic);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
