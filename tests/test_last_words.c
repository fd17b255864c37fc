/* tests/test_last_words.c - what a crashing host still says, whole and within bounds, and how hostile
 * bytes in its place are taken.
 *
 * Real crashes of tests/host_fixture_process.c, through a launcher. */
#include "host_harness.h"

#include <sys/ioctl.h>

/* Ends it and gathers its last words; the reader is the caller's to clean up. */
static bool hear_out(struct muster__launcher *launcher, struct test_host *host,
                     struct muster__last_words_reader *reader, struct muster__last_words *words)
{
    muster__last_words_reader_init(reader);
    uint64_t until_us = muster__now_us() + BOUND_MS * UINT64_C(1000);
    struct pollfd ready = {.fd = host->last_words, .events = POLLIN};
    while (muster__last_words_reader_read(reader, host->last_words)) {
        ck_assert_msg(muster__now_us() < until_us, "the pipe does not end");
        poll(&ready, 1, BOUND_MS);
    }
    see_exit(launcher, host);
    memset(words, 0, sizeof *words);
    return muster__last_words_reader_parse(reader, words);
}

struct crash {
    struct muster__launcher *launcher;
    struct test_host host;
    struct muster__last_words_reader reader;
    struct muster__last_words words;
    bool spoke;
};

static void crash(struct crash *crash, const char *const *arguments)
{
    crash->launcher = new_launcher();
    spawn_host(crash->launcher, &crash->host, arguments);
    crash->spoke = hear_out(crash->launcher, &crash->host, &crash->reader, &crash->words);
}

static void clear_away(struct crash *crash)
{
    muster__last_words_reader_clean_up(&crash->reader);
    muster__last_words_reader_clean_up(&crash->reader);
    end_host(&crash->host);
    muster__launcher_destroy(crash->launcher);
}

START_TEST(a_fault_tells_its_address_and_what_ran)
{
    struct crash it;
    char text[256];
    crash(&it, ARGUMENTS("crash", "segv"));
    ck_assert_int_eq(it.host.report.signal, SIGSEGV);
    ck_assert_int_eq(it.host.report.cause, MUSTER__EXIT_BY_ITSELF);
    ck_assert(it.spoke);
    ck_assert_int_eq(it.words.signal, SIGSEGV);
    ck_assert(it.words.has_address);
    ck_assert_uint_eq(it.words.address, 0x1230);
    ck_assert_uint_ne(it.words.pc, 0);
    ck_assert_uint_eq(it.words.worker, 7);
    ck_assert_uint_eq(it.words.turn, 3);
    ck_assert_uint_eq(it.words.thread, (uint32_t)it.host.pid);
    ck_assert_uint_eq(it.words.text.length, 0);
    muster__exit_describe(text, sizeof text, "host 3", 5, &it.host.report, &it.words);
    ck_assert_str_eq(text,
                     "host 3 (pid 5) died of SIGSEGV at address 0x1230 while worker 7 ran its turn 3");
    clear_away(&it);
}
END_TEST

START_TEST(a_crash_between_turns_names_nobody)
{
    struct crash it;
    crash(&it, ARGUMENTS("crash", "between-turns"));
    ck_assert(it.spoke);
    ck_assert_int_eq(it.words.signal, it.host.report.signal);
    ck_assert_uint_eq(it.words.worker, MUSTER__LAST_WORDS_NOBODY);
    clear_away(&it);
}
END_TEST

START_TEST(each_signal_of_a_crash_speaks_and_then_ends_the_process_itself)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT, SIGSYS};
    char how[32];
    struct crash it;
    snprintf(how, sizeof how, "raise-%d", signals[_i]);
    crash(&it, ARGUMENTS("crash", how));
    ck_assert_int_eq(it.host.report.signal, signals[_i]);
    ck_assert(it.spoke);
    ck_assert_int_eq(it.words.signal, signals[_i]);
    ck_assert(!it.words.has_address); /* nobody's fault but the sender's */
    clear_away(&it);
}
END_TEST

START_TEST(a_signal_that_is_no_crash_says_nothing)
{
    struct crash it;
    crash(&it, ARGUMENTS("crash", "raise-15"));
    ck_assert_int_eq(it.host.report.signal, SIGTERM);
    ck_assert(!it.spoke);
    clear_away(&it);
}
END_TEST

START_TEST(an_overflow_of_the_native_stack_still_speaks)
{
    struct crash it;
    bool on_thread = _i == 1;
    crash(&it, ARGUMENTS("crash", on_thread ? "thread-overflow" : "overflow"));
    ck_assert_int_eq(it.host.report.signal, SIGSEGV);
    ck_assert(it.spoke);
    ck_assert_int_eq(it.words.signal, SIGSEGV);
    if (on_thread) {
        ck_assert_str_eq(it.words.thread_name, "overflower");
        ck_assert_uint_ne(it.words.thread, (uint32_t)it.host.pid);
        ck_assert_uint_eq(it.words.worker, 9);
        ck_assert_uint_eq(it.words.turn, 77);
    }
    clear_away(&it);
}
END_TEST

START_TEST(a_message_of_4_mb_comes_through_a_pipe_that_is_full)
{
    struct crash it;
    it.launcher = new_launcher();
    spawn_host(it.launcher, &it.host, ARGUMENTS("crash", _i == 0 ? "abort-long" : "abort-too-long"));
    /* Read nothing until the host stands before a full pipe. */
    int held = 0;
    int before = -1;
    uint64_t until_us = muster__now_us() + BOUND_MS * UINT64_C(1000);
    while (held < 32768 || held != before) {
        struct pollfd ready = {.fd = it.host.last_words, .events = POLLIN};
        before = held;
        ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
        ck_assert_int_eq(ioctl(it.host.last_words, FIONREAD, &held), 0);
        ck_assert_uint_lt(muster__now_us(), until_us);
    }
    it.spoke = hear_out(it.launcher, &it.host, &it.reader, &it.words);
    ck_assert_int_eq(it.host.report.signal, SIGABRT);
    ck_assert(it.spoke);
    ck_assert_uint_eq(it.words.text.length, MUSTER__LAST_WORDS_TEXT_MAX);
    ck_assert(!it.words.text_cut);
    size_t wrong = 0;
    for (size_t i = 0; i < it.words.text.length; i++)
        wrong += it.words.text.data[i] != (char)('a' + i % 26);
    ck_assert_uint_eq(wrong, 0);
    clear_away(&it);
}
END_TEST

START_TEST(a_pipe_that_nobody_reads_holds_a_dying_host_up_no_longer_than_the_bound)
{
    struct crash it;
    it.launcher = new_launcher();
    uint64_t began_us = muster__now_us();
    spawn_host(it.launcher, &it.host, ARGUMENTS("crash", "abort-long"));
    if (_i == 1)
        close_end(&it.host.last_words); /* nobody can */
    see_exit(it.launcher, &it.host);
    ck_assert_int_eq(it.host.report.signal, SIGABRT);
    ck_assert_uint_lt(muster__now_us() - began_us, UINT64_C(15000000));
    muster__last_words_reader_init(&it.reader);
    if (_i == 0) {
        while (muster__last_words_reader_read(&it.reader, it.host.last_words))
            ;
        ck_assert(muster__last_words_reader_parse(&it.reader, &it.words));
        ck_assert(it.words.text_cut);
        ck_assert_uint_gt(it.words.text.length, 1000);
    }
    clear_away(&it);
}
END_TEST

START_TEST(a_fault_that_an_earlier_handler_mends_is_no_crash)
{
    struct crash it;
    crash(&it, ARGUMENTS("mend"));
    ck_assert_int_eq(it.host.report.signal, 0);
    ck_assert_int_eq(it.host.report.code, 0);
    ck_assert(!it.spoke);
    clear_away(&it);
}
END_TEST

START_TEST(a_fault_that_an_earlier_handler_cannot_mend_speaks)
{
    static const char *const handlers[] = {"give-up", "hope"};
    struct crash it;
    crash(&it, ARGUMENTS(handlers[_i]));
    ck_assert_int_eq(it.host.report.signal, SIGSEGV);
    ck_assert(it.spoke);
    ck_assert(it.words.has_address);
    clear_away(&it);
}
END_TEST

/* ---- hostile bytes ---- */

/* A true record to start from. */
static struct crash genuine;

static void make_genuine(void)
{
    crash(&genuine, ARGUMENTS("crash", "segv"));
    ck_assert(genuine.spoke);
}

static void drop_genuine(void)
{
    clear_away(&genuine);
}

START_TEST(each_beginning_of_a_record_is_refused_and_each_flipped_bit_survived)
{
    struct muster__last_words_reader reader;
    struct muster__last_words words;
    const size_t length = genuine.reader.length;
    ck_assert_uint_lt(length, 1000);
    for (size_t cut = 0; cut < length; cut++) {
        muster__last_words_reader_init(&reader);
        muster__last_words_reader_feed(&reader, genuine.reader.bytes, cut);
        ck_assert(!muster__last_words_reader_parse(&reader, &words));
        muster__last_words_reader_clean_up(&reader);
    }
    for (size_t bit = 0; bit < length * 8; bit++) {
        muster__last_words_reader_init(&reader);
        muster__last_words_reader_feed(&reader, genuine.reader.bytes, length);
        reader.bytes[bit / 8] ^= (char)(1 << bit % 8);
        if (muster__last_words_reader_parse(&reader, &words)) {
            ck_assert_uint_le(words.frame_count, MUSTER__LAST_WORDS_FRAMES_MAX);
            ck_assert_uint_eq(words.text.length, 0); /* there is none, whatever is claimed */
            ck_assert_uint_lt(strlen(words.thread_name), sizeof words.thread_name);
        }
        muster__last_words_reader_clean_up(&reader);
    }
}
END_TEST

START_TEST(more_than_a_record_is_dropped_and_not_kept)
{
    struct muster__last_words_reader reader;
    static char junk[1 << 20];
    muster__last_words_reader_init(&reader);
    for (int i = 0; i < 16; i++)
        muster__last_words_reader_feed(&reader, junk, sizeof junk);
    ck_assert_uint_le(reader.length, MUSTER__LAST_WORDS_TEXT_MAX + 512);
    ck_assert_uint_le(reader.capacity, 2 * MUSTER__LAST_WORDS_TEXT_MAX);
    struct muster__last_words words;
    ck_assert(!muster__last_words_reader_parse(&reader, &words));
    muster__last_words_reader_clean_up(&reader);
}
END_TEST

/* ---- standard error ---- */

struct lines {
    char text[65536];
    size_t length;
    int count;
};

static void gather(const char *line, size_t length, void *user_data)
{
    struct lines *lines = user_data;
    MUSTER_CHECK(lines->length + length + 1 < sizeof lines->text);
    memcpy(lines->text + lines->length, line, length);
    lines->length += length;
    lines->text[lines->length++] = '|';
    lines->text[lines->length] = '\0';
    lines->count++;
}

START_TEST(lines_come_whole_however_they_arrive)
{
    static const char bytes[] = "one\ntwo\n\nthree and more\nlast";
    static struct muster__error_tail tail;
    static struct lines lines;
    for (size_t step = 1; step < sizeof bytes; step++) {
        memset(&lines, 0, sizeof lines);
        muster__error_tail_init(&tail, gather, &lines);
        for (size_t at = 0; at < sizeof bytes - 1; at += step) {
            size_t left = sizeof bytes - 1 - at;
            muster__error_tail_feed(&tail, bytes + at, left < step ? left : step);
        }
        ck_assert_str_eq(lines.text, "one|two||three and more|");
        muster__error_tail_finish(&tail);
        muster__error_tail_finish(&tail);
        ck_assert_str_eq(lines.text, "one|two||three and more|last|");
        char text[64];
        ck_assert_int_eq(muster__error_tail_text(&tail, text, sizeof text), (int)sizeof bytes - 1);
        ck_assert_str_eq(text, bytes);
    }
}
END_TEST

START_TEST(a_line_without_end_comes_in_pieces)
{
    static struct muster__error_tail tail;
    static struct lines lines;
    static char much[3 * MUSTER__ERROR_TAIL_SIZE];
    memset(much, 'm', sizeof much);
    muster__error_tail_init(&tail, gather, &lines);
    muster__error_tail_feed(&tail, much, sizeof much);
    ck_assert_int_eq(lines.count, 2); /* the third may yet be a whole line */
    muster__error_tail_feed(&tail, "\nx\n", 3);
    ck_assert_int_eq(lines.count, 4);
    ck_assert_str_eq(lines.text + lines.length - 4, "m|x|");
}
END_TEST

START_TEST(the_tail_keeps_the_end_and_begins_with_a_line)
{
    static struct muster__error_tail tail;
    char text[MUSTER__ERROR_TAIL_SIZE + 1];
    char line[32];
    muster__error_tail_init(&tail, NULL, NULL);
    for (int i = 0; i < 10000; i++) {
        int length = snprintf(line, sizeof line, "line %d\n", i);
        muster__error_tail_feed(&tail, line, (size_t)length);
    }
    int length = muster__error_tail_text(&tail, text, sizeof text);
    ck_assert_int_eq(length, (int)strlen(text));
    ck_assert_int_gt(length, 4000);
    ck_assert_int_eq(strncmp(text, "line 9", 6), 0);
    ck_assert_str_eq(text + length - 10, "line 9999\n");
    ck_assert_int_eq(muster__error_tail_text(&tail, line, 5), length);
    ck_assert_str_eq(line, "line");
}
END_TEST

START_TEST(a_flood_on_standard_error_holds_nobody_up)
{
    static struct muster__error_tail tail;
    int ends[2];
    bool more = false;
    static char junk[1 << 16];
    memset(junk, '\n', sizeof junk);
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ck_assert_int_gt(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20), 0);
    for (int i = 0; i < 8; i++)
        ck_assert_int_gt(write(ends[1], junk, sizeof junk), 0);
    muster__error_tail_init(&tail, NULL, NULL);
    ck_assert(muster__error_tail_read(&tail, ends[0], &more));
    ck_assert(more);
    ck_assert_uint_lt(tail.total, 300000);
    while (more)
        ck_assert(muster__error_tail_read(&tail, ends[0], &more));
    ck_assert_uint_eq(tail.total, 8 * sizeof junk);
    close(ends[1]);
    ck_assert(!muster__error_tail_read(&tail, ends[0], &more));
    close(ends[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("last_words");
    TCase *crashes = tcase_create("crashes");
    tcase_set_timeout(crashes, 60);
    tcase_add_test(crashes, a_fault_tells_its_address_and_what_ran);
    tcase_add_test(crashes, a_crash_between_turns_names_nobody);
    tcase_add_loop_test(crashes, each_signal_of_a_crash_speaks_and_then_ends_the_process_itself, 0, 7);
    tcase_add_test(crashes, a_signal_that_is_no_crash_says_nothing);
    tcase_add_loop_test(crashes, an_overflow_of_the_native_stack_still_speaks, 0, 2);
    tcase_add_loop_test(crashes, a_message_of_4_mb_comes_through_a_pipe_that_is_full, 0, 2);
    tcase_add_loop_test(crashes,
                        a_pipe_that_nobody_reads_holds_a_dying_host_up_no_longer_than_the_bound, 0, 2);
    tcase_add_test(crashes, a_fault_that_an_earlier_handler_mends_is_no_crash);
    tcase_add_loop_test(crashes, a_fault_that_an_earlier_handler_cannot_mend_speaks, 0, 2);
    suite_add_tcase(suite, crashes);
    TCase *hostile = tcase_create("hostile bytes");
    tcase_set_timeout(hostile, 60);
    tcase_add_checked_fixture(hostile, make_genuine, drop_genuine);
    tcase_add_test(hostile, each_beginning_of_a_record_is_refused_and_each_flipped_bit_survived);
    suite_add_tcase(suite, hostile);
    TCase *plain = tcase_create("reader and tail");
    tcase_set_timeout(plain, 60);
    tcase_add_test(plain, more_than_a_record_is_dropped_and_not_kept);
    tcase_add_test(plain, lines_come_whole_however_they_arrive);
    tcase_add_test(plain, a_line_without_end_comes_in_pieces);
    tcase_add_test(plain, the_tail_keeps_the_end_and_begins_with_a_line);
    tcase_add_test(plain, a_flood_on_standard_error_holds_nobody_up);
    suite_add_tcase(suite, plain);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
