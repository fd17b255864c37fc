/* tests/test_hosts_limits.c - the limits of a process hold for real, with a native worker that runs into each, and the
 * error says which it was; native code behind the wall of trust "none".
 *
 * HOSTILE_WORKER is tests/hostile_child_worker.c.  Through the public calls; nothing sleeps: what happens is waited for. */
#include "coordinator/muster.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_MS 60000 /* a bound for what must happen, never a pause */

static struct muster_options options;
static struct muster *muster;
static char answered[128]; /* the last result that was a text */

static void on_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
}

static void set_up(void)
{
    options = (struct muster_options){.size = sizeof options,
                                      .threads = 2,
                                      .hosting = MUSTER_HOSTING_PROCESS,
                                      .log = on_log,
                                      .turn_limit_ms = 10 * PATIENCE_MS, /* the process's limits come first */
                                      .event_timeout_ms = PATIENCE_MS,
                                      .stop_timeout_ms = 200,
                                      .cancel_timeout_ms = 2000};
    muster = NULL;
}

/* Workers in JavaScript are expected as well, so processes are copies of the launcher. */
static bool copies;

static void set_up_copies(void)
{
    set_up();
    options.no_spare_process = true; /* it would be older than what is expected */
    copies = true;
}

static void tear_down(void)
{
    muster_destroy(muster);
}

static void expect_javascript(void);

static void begin(void)
{
    struct muster_error error = {0};
    ck_assert_msg(muster_new(&options, &muster, &error) == MUSTER_OK, "%s", error.message);
    if (copies)
        expect_javascript();
}

static struct muster_registration_options hostile(const char *scope)
{
    return (struct muster_registration_options){.size = sizeof(struct muster_registration_options),
                                                .scope = scope,
                                                .script = HOSTILE_WORKER,
                                                .trust = MUSTER_TRUST_FULL};
}

/* Takes the handle; `part` is in the error's sentence, or the result's text. */
static void assert_ends(struct muster_handle *handle, enum muster_status status, const char *part)
{
    struct muster_result result = {0};
    struct muster_bytes text = {"", 0};
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    if (result.error && result.error->message)
        text = (struct muster_bytes){result.error->message, strlen(result.error->message)};
    else if (result.value)
        text = muster_value_bytes(result.value);
    snprintf(answered, sizeof answered, "%.*s", (int)text.length, text.data);
    ck_assert_msg(result.status == status, "%s: %.*s", muster_status_name(result.status), (int)text.length, text.data);
    ck_assert_msg(!part || (text.data && strstr(text.data, part)), "\"%s\" is not in \"%.*s\"", part,
                  (int)text.length, text.data);
    muster_handle_release(handle);
}

static void register_as(const struct muster_registration_options *with, enum muster_status status, const char *part)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, with, NULL, NULL, &handle), MUSTER_OK);
    assert_ends(handle, status, part);
}

/* It never runs. */
static void expect_javascript(void)
{
    const struct muster_registration_options lazy = {.size = sizeof lazy, .scope = "/javascript/", .script = "a.js", .lazy = true};
    register_as(&lazy, MUSTER_OK, NULL);
}

static struct muster_handle *send(const char *scope, const char *event, double number)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_dispatch(muster, scope, event, muster_value_new_number(number), NULL, NULL, NULL, &handle),
                     MUSTER_OK);
    return handle;
}

static void attempt(const char *scope, const char *event, double number, enum muster_status status, const char *part)
{
    assert_ends(send(scope, event, number), status, part);
}

/* Each of the instance's (0), or of the registration's (1). */

START_TEST(a_process_opens_no_more_files_than_it_may)
{
    struct muster_registration_options with = hostile("/a/");
    *(_i ? &with.process_open_files : &options.process_open_files) = 100;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "files", 0, MUSTER_OK, "Too many open files");
    long count = strtol(answered, NULL, 10);
    ck_assert_msg(count > 40 && count < 100, "%ld", count);
    attempt("/a/", "files", 0, MUSTER_OK, "Too many open files"); /* it goes on */
}
END_TEST

START_TEST(a_process_that_used_up_its_cpu_time_ends)
{
    struct muster_registration_options with = hostile("/a/");
    *(_i & 1 ? &with.process_cpu_ms : &options.process_cpu_ms) = 700; /* a second */
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "spin", _i & 2 ? 1 : 0, MUSTER_CRASHED, "it used up its 1 s of CPU time");
    attempt("/a/", "children", 0, MUSTER_OK, "fine"); /* the next one */
}
END_TEST

START_TEST(a_process_with_more_children_than_it_may_ends_with_all_of_them)
{
    struct muster_registration_options with = hostile("/a/");
    *(_i ? &with.process_children : &options.process_children) = 5;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "children", 5, MUSTER_OK, "5 fine");
    struct muster_handle *holds = send("/a/", "spin", 0);
    (void)!muster_wait(holds, 300, NULL); /* so many it may have, for as long as it likes */
    ck_assert_int_eq(muster_wait(holds, 0, NULL), MUSTER_TIMED_OUT);
    muster_cancel(holds);
    muster_handle_release(holds);
}
END_TEST

START_TEST(one_child_too_many_ends_a_process)
{
    struct muster_registration_options with = hostile("/a/");
    *(_i ? &with.process_children : &options.process_children) = 5;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "crowd", 6, MUSTER_CRASHED, "it had started more than 5 processes, its limit");
    attempt("/a/", "children", 0, MUSTER_OK, "fine");
}
END_TEST

/* Where it would not be counted it is not let be. */
START_TEST(a_child_that_hides_is_ended)
{
    struct muster_registration_options with = hostile("/a/");
    options.process_children = 5;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "leave", 0, MUSTER_OK, "fine");
    pid_t pid = (pid_t)strtol(answered, NULL, 10);
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    ck_assert(pidfd < 0 || poll(&gone, 1, PATIENCE_MS) == 1);
    if (pidfd >= 0)
        close(pidfd);
    attempt("/a/", "children", 0, MUSTER_OK, "fine"); /* itself it goes on */
}
END_TEST

START_TEST(a_process_beyond_its_memory_ends)
{
    struct muster_registration_options with = hostile("/a/");
    *(_i ? &with.process_memory_limit : &options.process_memory_limit) = UINT64_C(200) << 20;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "hog", 0, MUSTER_CRASHED, "out of memory: it grew beyond its limit");
    attempt("/a/", "children", 0, MUSTER_OK, "fine");
}
END_TEST

/* One with limits of its own lives elsewhere, and those of the instance hold for the others. */
START_TEST(limits_of_one_registration_are_not_anothers)
{
    struct muster_registration_options narrow = hostile("/narrow/"), wide = hostile("/wide/");
    options.process_open_files = 400;
    options.processes = 1;
    narrow.process_open_files = 100;
    begin();
    register_as(&narrow, MUSTER_OK, NULL);
    register_as(&wide, MUSTER_OK, NULL);
    attempt("/narrow/", "files", 0, MUSTER_OK, "Too many open files");
    ck_assert_int_lt(strtol(answered, NULL, 10), 100);
    attempt("/wide/", "files", 0, MUSTER_OK, "Too many open files");
    ck_assert_int_gt(strtol(answered, NULL, 10), 300);
}
END_TEST

START_TEST(limits_that_cannot_be_are_refused)
{
    struct muster_registration_options with = hostile("/a/");
    struct muster_error error = {0};
    options.process_open_files = 10;
    ck_assert_int_eq(muster_new(&options, &muster, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_msg(strstr(error.message, "needs 64 open files") != NULL, "%s", error.message);
    muster_error_clean_up(&error);
    options.process_open_files = 0;
    begin();
    with.process_open_files = 63;
    register_as(&with, MUSTER_INVALID_ARGUMENT, "/a/: a process for workers needs 64 open files");
    with.process_open_files = 64;
    with.hosting = MUSTER_HOSTING_THREAD;
    register_as(&with, MUSTER_INVALID_ARGUMENT, "limits of a process");
}
END_TEST

/* ---- native code behind the wall ---- */

START_TEST(native_code_that_is_not_trusted_stands_behind_the_wall)
{
    struct muster_registration_options with = hostile("/a/");
    with.trust = MUSTER_TRUST_NONE;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "was-early", 0, MUSTER_OK, "0 fine");
    attempt("/a/", "break-out", 0, MUSTER_OK, "0 fine");
    with = hostile("/b/");
    register_as(&with, MUSTER_OK, NULL); /* the same code without a wall */
    attempt("/b/", "was-early", 0, MUSTER_OK, "1 fine");
    attempt("/b/", "children", 1, MUSTER_OK, "1 fine");
}
END_TEST

START_TEST(what_lies_beside_an_object_is_not_opened_for_it)
{
    struct muster_registration_options with = hostile("/a/"), missing = hostile("/b/");
    with.trust = missing.trust = MUSTER_TRUST_NONE;
    missing.script = HOSTILE_WORKER "-that-is-not.so";
    missing.tenant = with.tenant = "one";
    begin();
    register_as(&with, MUSTER_OK, NULL);
    register_as(&missing, MUSTER_LOAD_FAILED, NULL);
    attempt("/a/", "break-out", 0, MUSTER_OK, "0 fine");
}
END_TEST

START_TEST(limits_hold_behind_the_wall_as_well)
{
    struct muster_registration_options with = hostile("/a/");
    with.trust = MUSTER_TRUST_NONE;
    with.process_open_files = 100;
    with.process_cpu_ms = 1000;
    begin();
    register_as(&with, MUSTER_OK, NULL);
    attempt("/a/", "files", 0, MUSTER_OK, "Too many open files");
    ck_assert_int_lt(strtol(answered, NULL, 10), 100);
    attempt("/a/", "spin", 1, MUSTER_CRASHED, "it used up its 1 s of CPU time");
}
END_TEST

static void add_limits(Suite *made, const char *name, SFun begins)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, begins, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, a_process_opens_no_more_files_than_it_may, 0, 2);
    tcase_add_loop_test(tcase, a_process_that_used_up_its_cpu_time_ends, 0, 4);
    tcase_add_loop_test(tcase, a_process_with_more_children_than_it_may_ends_with_all_of_them, 0, 2);
    tcase_add_loop_test(tcase, one_child_too_many_ends_a_process, 0, 2);
    tcase_add_test(tcase, a_child_that_hides_is_ended);
    tcase_add_loop_test(tcase, a_process_beyond_its_memory_ends, 0, 2);
    tcase_add_test(tcase, limits_of_one_registration_are_not_anothers);
    tcase_add_test(tcase, limits_that_cannot_be_are_refused);
    suite_add_tcase(made, tcase);
}

static Suite *suite(void)
{
    Suite *made = suite_create("limits of processes");
    add_limits(made, "limits", set_up);
    add_limits(made, "limits, copies", set_up_copies);
    TCase *tcase = tcase_create("wall");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, native_code_that_is_not_trusted_stands_behind_the_wall);
    tcase_add_test(tcase, what_lies_beside_an_object_is_not_opened_for_it);
    tcase_add_test(tcase, limits_hold_behind_the_wall_as_well);
    suite_add_tcase(made, tcase);
    return made;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
