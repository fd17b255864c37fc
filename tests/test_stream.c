/* tests/test_stream.c - the pipe of bytes: order, ends, refusals, wake-ups, two threads.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "runtime/check.h"
#include "runtime/stream_internal.h"

static struct muster_stream *make(size_t capacity)
{
    struct muster_stream *stream = NULL;
    ck_assert_int_eq(muster_stream_new(capacity, &stream), MUSTER_OK);
    return stream;
}

static void let_go(struct muster_stream *stream)
{
    muster_stream_release(stream);
    muster_stream_release(stream);
}

static size_t must_write(struct muster_stream *stream, const char *text)
{
    size_t written = 12345;
    ck_assert_int_eq(muster_stream_write(stream, text, strlen(text), &written), MUSTER_OK);
    return written;
}

static void must_read(struct muster_stream *stream, size_t size, const char *expected)
{
    char buffer[256];
    size_t length = 12345;
    ck_assert_uint_le(size, sizeof buffer);
    ck_assert_int_eq(muster_stream_read(stream, buffer, size, &length), MUSTER_OK);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_int_eq(memcmp(buffer, expected, length), 0);
}

static enum muster_status try_read(struct muster_stream *stream)
{
    char byte;
    size_t length = 0;
    return muster_stream_read(stream, &byte, 1, &length);
}

static void count_wake(void *user_data)
{
    (*(int *)user_data)++;
}

/* ---- bytes and ends ---- */

START_TEST(bytes_come_out_in_order_across_the_ring_edge)
{
    struct muster_stream *stream = make(7);
    for (int round = 0; round < 20; round++) {
        ck_assert_uint_eq(must_write(stream, "abcde"), 5);
        must_read(stream, 3, "abc");
        ck_assert_uint_eq(must_write(stream, "fgh"), 3);
        ck_assert_uint_eq(muster_stream_buffered(stream), 5);
        must_read(stream, 100, "defgh");
        ck_assert_int_eq(try_read(stream), MUSTER_PENDING);
    }
    let_go(stream);
}
END_TEST

/* Any way of cutting the writes and the reads gives the same bytes. */
START_TEST(every_cut_of_writes_and_reads_gives_the_same_bytes)
{
    enum { TOTAL = 20000 };
    size_t capacity = (size_t)_i * _i * 41 + 1;
    struct muster_stream *stream = make(capacity);
    size_t in = 0;
    size_t out = 0;
    for (size_t step = 1; out < TOTAL; step = step * 7 % 1009 + 1) {
        char buffer[1024];
        size_t size = step < TOTAL - in ? step : TOTAL - in;
        for (size_t i = 0; i < size; i++)
            buffer[i] = (char)((in + i) * 31 >> 3);
        size_t written = 0;
        ck_assert_int_eq(muster_stream_write(stream, buffer, size, &written), MUSTER_OK);
        in += written;
        ck_assert_uint_le(in - out, capacity);
        size_t length = 0;
        if (muster_stream_read(stream, buffer, step * 3 % 1000 + 1, &length) == MUSTER_OK) {
            size_t wrong = 0; /* Check writes to a file for each assertion */
            for (size_t i = 0; i < length; i++)
                wrong += buffer[i] != (char)((out + i) * 31 >> 3);
            ck_assert_uint_eq(wrong, 0);
            out += length;
        }
    }
    let_go(stream);
}
END_TEST

START_TEST(what_was_put_back_is_read_again_before_all_else)
{
    struct muster_stream *stream = make(8);
    size_t written = 12345;
    must_write(stream, "abcdefgh");
    must_read(stream, 6, "abcdef");
    must_write(stream, "ijklmn"); /* full, and across the edge */
    ck_assert(muster__stream_unread(stream, "cdef", 4)); /* more than the capacity */
    ck_assert_uint_eq(muster_stream_buffered(stream), 12);
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_OK);
    ck_assert_uint_eq(written, 0);
    muster_stream_close(stream);
    must_read(stream, 3, "cde");
    ck_assert(muster__stream_unread(stream, "cde", 3));
    must_read(stream, 100, "cdefghijklmn");
    must_read(stream, 1, "");
    ck_assert(muster__stream_unread(stream, "n", 1)); /* also after its end */
    must_read(stream, 100, "n");
    must_read(stream, 1, "");
    let_go(stream);
    stream = make(8);
    muster_stream_abort(stream, MUSTER_CANCELED, NULL);
    ck_assert(muster__stream_unread(stream, "a", 1));
    ck_assert_int_eq(try_read(stream), MUSTER_CANCELED);
    let_go(stream);
}
END_TEST

START_TEST(a_write_beyond_the_capacity_is_refused_in_part)
{
    struct muster_stream *stream = make(4);
    ck_assert_uint_eq(must_write(stream, "abcdef"), 4);
    ck_assert_uint_eq(must_write(stream, "ef"), 0);
    must_read(stream, 1, "a");
    ck_assert_uint_eq(must_write(stream, "ef"), 1);
    must_read(stream, 100, "bcde");
    let_go(stream);
}
END_TEST

START_TEST(a_capacity_of_zero_means_64_kib)
{
    struct muster_stream *stream = make(0);
    char *data = calloc(1, 100000);
    size_t written = 0;
    ck_assert_int_eq(muster_stream_write(stream, data, 100000, &written), MUSTER_OK);
    ck_assert_uint_eq(written, 65536);
    free(data);
    let_go(stream);
}
END_TEST

START_TEST(a_closed_stream_gives_its_bytes_first)
{
    struct muster_stream *stream = make(0);
    must_write(stream, "last");
    muster_stream_close(stream);
    muster_stream_close(stream);
    size_t written = 7;
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_CLOSED);
    ck_assert_uint_eq(written, 7);
    must_read(stream, 2, "la");
    must_read(stream, 100, "st");
    must_read(stream, 100, "");
    must_read(stream, 100, "");
    let_go(stream);
}
END_TEST

START_TEST(an_abort_drops_what_waits_and_the_first_one_wins)
{
    struct muster_stream *stream = make(0);
    must_write(stream, "lost");
    ck_assert_ptr_null(muster_stream_abort_message(stream));
    muster_stream_abort(stream, MUSTER_CANCELED, "the client left");
    muster_stream_abort(stream, MUSTER_TIMED_OUT, "too late");
    size_t length = 0;
    char byte;
    ck_assert_int_eq(muster_stream_read(stream, &byte, 1, &length), MUSTER_CANCELED);
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &length), MUSTER_CLOSED);
    ck_assert_uint_eq(muster_stream_buffered(stream), 0);
    ck_assert_str_eq(muster_stream_abort_message(stream), "the client left");
    muster_stream_close(stream);
    ck_assert_int_eq(try_read(stream), MUSTER_CANCELED);
    let_go(stream);
}
END_TEST

START_TEST(an_abort_after_a_close_counts_only_while_bytes_wait)
{
    struct muster_stream *stream = make(0);
    must_write(stream, "some");
    muster_stream_close(stream);
    muster_stream_abort(stream, MUSTER_TERMINATED, NULL);
    ck_assert_int_eq(try_read(stream), MUSTER_TERMINATED);
    ck_assert_ptr_null(muster_stream_abort_message(stream));
    let_go(stream);

    stream = make(0);
    must_write(stream, "some");
    muster_stream_close(stream);
    must_read(stream, 100, "some");
    must_read(stream, 100, "");
    muster_stream_abort(stream, MUSTER_TERMINATED, "no more to lose");
    must_read(stream, 100, "");
    ck_assert_ptr_null(muster_stream_abort_message(stream));
    let_go(stream);
}
END_TEST

START_TEST(a_read_without_a_place_for_a_byte_is_no_end)
{
    struct muster_stream *stream = make(0);
    must_write(stream, "x");
    char byte;
    size_t length = 5;
    ck_assert_int_eq(muster_stream_read(stream, &byte, 0, &length), MUSTER_INVALID_ARGUMENT);
    ck_assert_uint_eq(length, 5);
    muster_stream_release(NULL);
    ck_assert_ptr_null(muster_stream_acquire(NULL));
    let_go(stream);
}
END_TEST

START_TEST(an_abort_with_ok_is_a_bug)
{
    muster_stream_abort(make(0), MUSTER_OK, NULL);
}
END_TEST

/* ---- wake-ups ---- */

START_TEST(the_reader_hears_once_for_each_time_it_was_turned_away)
{
    struct muster_stream *stream = make(0);
    int wakes = 0;
    muster_stream_on_readable(stream, count_wake, &wakes);
    must_write(stream, "a");
    ck_assert_int_eq(wakes, 1);
    must_write(stream, "b");
    ck_assert_int_eq(wakes, 1);
    must_read(stream, 100, "ab");
    must_write(stream, "c");
    ck_assert_int_eq(wakes, 1); /* it was never told that there is nothing */
    must_read(stream, 100, "c");
    ck_assert_int_eq(try_read(stream), MUSTER_PENDING);
    must_write(stream, "d");
    ck_assert_int_eq(wakes, 2);
    muster_stream_close(stream);
    ck_assert_int_eq(wakes, 3);
    muster_stream_close(stream);
    ck_assert_int_eq(wakes, 3);
    let_go(stream);
}
END_TEST

START_TEST(the_writer_hears_when_there_is_room_again)
{
    struct muster_stream *stream = make(2);
    int wakes = 0;
    ck_assert_uint_eq(must_write(stream, "abc"), 2);
    muster_stream_on_writable(stream, count_wake, &wakes);
    must_read(stream, 1, "a");
    ck_assert_int_eq(wakes, 1);
    must_read(stream, 1, "b");
    ck_assert_int_eq(wakes, 1);
    ck_assert_uint_eq(must_write(stream, "cd"), 2);
    must_read(stream, 2, "cd");
    ck_assert_int_eq(wakes, 1); /* all of it had fitted */
    let_go(stream);
}
END_TEST

START_TEST(an_abort_wakes_both_ends_and_a_late_callback_hears_of_the_next_change)
{
    struct muster_stream *stream = make(2);
    int reader = 0;
    int writer = 0;
    ck_assert_int_eq(try_read(stream), MUSTER_PENDING);
    must_write(stream, "a"); /* nobody was there to hear */
    muster_stream_on_readable(stream, count_wake, &reader);
    muster_stream_on_writable(stream, count_wake, &writer);
    must_write(stream, "b");
    ck_assert_int_eq(reader, 1);
    muster_stream_abort(stream, MUSTER_CANCELED, NULL);
    ck_assert_int_eq(reader, 2);
    ck_assert_int_eq(writer, 1);
    let_go(stream);
}
END_TEST

START_TEST(a_removed_callback_is_not_called)
{
    struct muster_stream *stream = make(0);
    int wakes = 0;
    muster_stream_on_readable(stream, count_wake, &wakes);
    muster_stream_on_readable(stream, NULL, NULL);
    must_write(stream, "a");
    muster_stream_close(stream);
    ck_assert_int_eq(wakes, 0);
    let_go(stream);
}
END_TEST

static void remove_itself(void *stream)
{
    muster_stream_on_readable(stream, NULL, NULL);
}

START_TEST(a_callback_that_replaces_itself_is_a_bug)
{
    struct muster_stream *stream = make(0);
    muster_stream_on_readable(stream, remove_itself, stream);
    must_write(stream, "a");
}
END_TEST

/* ---- two threads ---- */

/* What an engine does: the callback notes the fact under a lock of its own, and its thread waits. */
struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    bool is_rung;
};

static void bell_init(struct bell *bell)
{
    pthread_mutex_init(&bell->lock, NULL);
    pthread_cond_init(&bell->rung, NULL);
    bell->is_rung = false;
}

static void ring(void *user_data)
{
    struct bell *bell = user_data;
    pthread_mutex_lock(&bell->lock);
    bell->is_rung = true;
    pthread_cond_signal(&bell->rung);
    pthread_mutex_unlock(&bell->lock);
}

static void wait_for(struct bell *bell)
{
    pthread_mutex_lock(&bell->lock);
    while (!bell->is_rung)
        pthread_cond_wait(&bell->rung, &bell->lock);
    bell->is_rung = false;
    pthread_mutex_unlock(&bell->lock);
}

struct sending {
    struct muster_stream *stream;
    size_t total;
};

/* Asserts with MUSTER_CHECK, as all threads but the test's own: Check has one place to write to. */
static void *write_all(void *user_data)
{
    struct sending *sending = user_data;
    struct muster_stream *stream = sending->stream;
    struct bell bell;
    bell_init(&bell);
    muster_stream_on_writable(stream, ring, &bell);
    for (size_t at = 0; at < sending->total;) {
        char chunk[777];
        size_t left = sending->total - at;
        size_t size = at % sizeof chunk + 1 < left ? at % sizeof chunk + 1 : left;
        for (size_t i = 0; i < size; i++)
            chunk[i] = (char)((at + i) % 251);
        size_t written = 0;
        MUSTER_CHECK(muster_stream_write(stream, chunk, size, &written) == MUSTER_OK);
        at += written;
        if (written < size)
            wait_for(&bell);
    }
    muster_stream_close(stream);
    muster_stream_on_writable(stream, NULL, NULL);
    muster_stream_release(stream);
    return NULL;
}

START_TEST(two_threads_lose_no_byte_and_no_wake_up)
{
    /* A capacity of one byte makes each byte a hand-over. */
    struct muster_stream *stream = make((size_t)_i * 500 + 1);
    struct sending sending = {.stream = stream, .total = _i == 0 ? 5000 : 300000};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_all, &sending), 0);
    struct bell bell;
    bell_init(&bell);
    muster_stream_on_readable(stream, ring, &bell);
    size_t at = 0;
    size_t wrong = 0;
    for (;;) {
        char chunk[600];
        size_t length = 0;
        enum muster_status status = muster_stream_read(stream, chunk, sizeof chunk, &length);
        if (status == MUSTER_PENDING) {
            wait_for(&bell);
            continue;
        }
        MUSTER_CHECK(status == MUSTER_OK);
        if (length == 0)
            break;
        for (size_t i = 0; i < length; i++, at++)
            wrong += chunk[i] != (char)(at % 251);
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(at, sending.total);
    muster_stream_on_readable(stream, NULL, NULL);
    muster_stream_release(stream);
    pthread_join(thread, NULL);
}
END_TEST

/* The callback takes the pool's lock; the reader removes it, and from then on its memory is gone. */
struct reader {
    pthread_mutex_t *pool;
    int wakes;
};

static void note_in_pool(void *user_data)
{
    struct reader *reader = user_data;
    pthread_mutex_lock(reader->pool);
    reader->wakes++;
    pthread_mutex_unlock(reader->pool);
}

struct race {
    struct muster_stream *stream;
    atomic_bool stop;
};

static void *write_for_ever(void *user_data)
{
    struct race *race = user_data;
    size_t written = 0;
    while (!atomic_load(&race->stop))
        MUSTER_CHECK(muster_stream_write(race->stream, "x", 1, &written) == MUSTER_OK);
    muster_stream_release(race->stream);
    return NULL;
}

START_TEST(a_callback_is_over_when_its_removal_returns_though_it_takes_a_lock_held_around_reads)
{
    pthread_mutex_t pool = PTHREAD_MUTEX_INITIALIZER;
    struct race race = {.stream = make(8)};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_for_ever, &race), 0);
    for (int round = 0; round < 3000; round++) {
        struct reader *reader = malloc(sizeof *reader);
        *reader = (struct reader){.pool = &pool};
        muster_stream_on_readable(race.stream, note_in_pool, reader);
        for (int i = 0; i < 3; i++) {
            char buffer[16];
            size_t length = 0;
            pthread_mutex_lock(&pool); /* would deadlock if callbacks ran under the stream's lock */
            enum muster_status status =
                muster_stream_read(race.stream, buffer, sizeof buffer, &length);
            pthread_mutex_unlock(&pool);
            MUSTER_CHECK(status == MUSTER_OK || status == MUSTER_PENDING);
        }
        muster_stream_on_readable(race.stream, NULL, NULL);
        free(reader); /* a sanitizer would see a callback that still ran */
    }
    atomic_store(&race.stop, true);
    pthread_join(thread, NULL);
    muster_stream_release(race.stream);
}
END_TEST

static atomic_int ends_that_heard;

static void hear(void *user_data)
{
    (void)user_data;
    atomic_fetch_add(&ends_that_heard, 1);
}

static void *abort_it(void *stream)
{
    muster_stream_abort(stream, MUSTER_CANCELED, "from there");
    muster_stream_release(stream);
    return NULL;
}

START_TEST(aborts_from_both_ends_at_once_agree)
{
    for (int round = 0; round < 300; round++) {
        struct muster_stream *stream = make(0);
        atomic_store(&ends_that_heard, 0);
        muster_stream_on_readable(stream, hear, NULL);
        muster_stream_on_writable(stream, hear, NULL);
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, abort_it, stream), 0);
        muster_stream_abort(stream, MUSTER_TERMINATED, "from here");
        enum muster_status status = try_read(stream);
        const char *message = muster_stream_abort_message(stream);
        ck_assert_str_eq(message, status == MUSTER_CANCELED ? "from there" : "from here");
        pthread_join(thread, NULL);
        ck_assert_int_eq(atomic_load(&ends_that_heard), 2);
        muster_stream_release(stream);
    }
}
END_TEST

/* ---- memory fails on cue ---- */

START_TEST(every_failed_allocation_is_reported_and_loses_no_byte)
{
    static char data[5000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i % 251);
    WITH_EVERY_FAILURE(grants)
    {
        struct muster_stream *stream = NULL;
        enum muster_status made = muster_stream_new(0, &stream);
        size_t first = 0;
        size_t second = 0;
        enum muster_status wrote = MUSTER_OK;
        if (made == MUSTER_OK) {
            wrote = muster_stream_write(stream, data, 700, &first);
            if (wrote == MUSTER_OK)
                wrote = muster_stream_write(stream, data + 700, 4300, &second);
            muster_stream_abort(stream, MUSTER_CANCELED, "a text that may not fit");
        }
        malloc_all_granted();
        ck_assert_int_eq(made, grants == 0 ? MUSTER_NO_MEMORY : MUSTER_OK);
        ck_assert_int_eq(wrote, grants == 1 ? MUSTER_NO_MEMORY : MUSTER_OK);
        if (made != MUSTER_OK)
            continue;
        ck_assert_uint_eq(first, grants == 1 ? 0 : 700);
        ck_assert_uint_eq(second, grants == 1 ? 0 : grants == 2 ? 324 : 4300);
        ck_assert_int_eq(try_read(stream), MUSTER_CANCELED);
        let_go(stream);
    }
}
END_TEST

START_TEST(a_writer_that_met_no_memory_hears_when_the_reader_made_room)
{
    struct muster_stream *stream = make(0);
    static char data[3000];
    int wakes = 0;
    size_t written = 0;
    muster_stream_on_writable(stream, count_wake, &wakes);
    ck_assert_int_eq(muster_stream_write(stream, data, 1024, &written), MUSTER_OK);
    malloc_grants = 0;
    enum muster_status status = muster_stream_write(stream, data, sizeof data, &written);
    malloc_all_granted();
    ck_assert_int_eq(status, MUSTER_OK);
    ck_assert_uint_eq(written, 0);
    ck_assert_int_eq(try_read(stream), MUSTER_OK);
    ck_assert_int_eq(wakes, 1);
    ck_assert_int_eq(muster_stream_write(stream, data, sizeof data, &written), MUSTER_OK);
    ck_assert_uint_eq(written, sizeof data);
    let_go(stream);
}
END_TEST

static void add_topic(Suite *suite, TCase *topic)
{
    tcase_set_timeout(topic, 60);
    suite_add_tcase(suite, topic);
}

static TCase *bytes_topic(void)
{
    TCase *topic = tcase_create("bytes");
    tcase_add_test(topic, bytes_come_out_in_order_across_the_ring_edge);
    tcase_add_loop_test(topic, every_cut_of_writes_and_reads_gives_the_same_bytes, 0, 10);
    tcase_add_test(topic, what_was_put_back_is_read_again_before_all_else);
    tcase_add_test(topic, a_write_beyond_the_capacity_is_refused_in_part);
    tcase_add_test(topic, a_capacity_of_zero_means_64_kib);
    tcase_add_test(topic, a_closed_stream_gives_its_bytes_first);
    tcase_add_test(topic, an_abort_drops_what_waits_and_the_first_one_wins);
    tcase_add_test(topic, an_abort_after_a_close_counts_only_while_bytes_wait);
    tcase_add_test(topic, a_read_without_a_place_for_a_byte_is_no_end);
    tcase_add_test_raise_signal(topic, an_abort_with_ok_is_a_bug, SIGABRT);
    return topic;
}

static TCase *wake_topic(void)
{
    TCase *topic = tcase_create("wake");
    tcase_add_test(topic, the_reader_hears_once_for_each_time_it_was_turned_away);
    tcase_add_test(topic, the_writer_hears_when_there_is_room_again);
    tcase_add_test(topic, an_abort_wakes_both_ends_and_a_late_callback_hears_of_the_next_change);
    tcase_add_test(topic, a_removed_callback_is_not_called);
    tcase_add_test_raise_signal(topic, a_callback_that_replaces_itself_is_a_bug, SIGABRT);
    return topic;
}

static TCase *threads_topic(void)
{
    TCase *topic = tcase_create("threads");
    tcase_add_loop_test(topic, two_threads_lose_no_byte_and_no_wake_up, 0, 4);
    tcase_add_test(
        topic,
        a_callback_is_over_when_its_removal_returns_though_it_takes_a_lock_held_around_reads);
    tcase_add_test(topic, aborts_from_both_ends_at_once_agree);
    return topic;
}

static TCase *memory_topic(void)
{
    TCase *topic = tcase_create("memory");
    tcase_add_test(topic, every_failed_allocation_is_reported_and_loses_no_byte);
    tcase_add_test(topic, a_writer_that_met_no_memory_hears_when_the_reader_made_room);
    return topic;
}

int main(void)
{
    Suite *suite = suite_create("stream");
    add_topic(suite, bytes_topic());
    add_topic(suite, wake_topic());
    add_topic(suite, threads_topic());
    add_topic(suite, memory_topic());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
