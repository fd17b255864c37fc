/* tests/test_wall.c - each line of docs/security.md is tried by a hostile process, behind the wall and
 * without it.
 *
 * WALL_HOSTILE is the program that tries, SECURITY_PAGE the page.  A wall cannot be taken down, so
 * whatever raises one is a process of its own. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "remote/placement.h"
#include "remote/wall.h"
#include "runtime/engine.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#if defined(__SANITIZE_THREAD__)
#define OWN_THREADS true /* the sanitizer runs one of its own */
#else
#define OWN_THREADS false
#endif

_Static_assert((int)MUSTER__WALL_SCRIPT == (int)MUSTER__TRUST_SCRIPT, "one word, one value");
_Static_assert((int)MUSTER__WALL_FULL == (int)MUSTER__TRUST_FULL, "one word, one value");

enum { NO_WALL = 251, NOT_PREPARED = 252, KILLED = 256 }; /* KILLED plus the signal */

#define SIGSYS_KILLS (KILLED + SIGSYS)
#define ABORTS (KILLED + SIGABRT)

/* What the wall lets through; what comes then is between the process and the kernel. */
enum { YES = 0 };

struct line {
    const char *attempt;
    int full;          /* what comes without a wall */
    bool needs_rights; /* or a kernel that has it: without a wall it may fail, too */
    int script;
    int none;
};

/* docs/security.md shows the same. */
static const struct line lines[] = {
    {"open-read", YES, false, YES, EPERM},
    {"open-write", YES, false, YES, EPERM},
    {"open-append", YES, false, YES, EPERM},
    {"open-truncate", YES, false, YES, EPERM},
    {"open-path", YES, false, YES, EPERM},
    {"open-nameless", YES, true, YES, EPERM},
    {"openat2", YES, true, YES, EPERM},
    {"open-by-handle", YES, true, EPERM, SIGSYS_KILLS},
    {"list-folder", YES, false, YES, EPERM},
    {"stat", YES, false, YES, EPERM},
    {"stat-empty", YES, false, YES, EPERM},
    {"read-link", YES, false, YES, EPERM},
    {"make-folder", YES, false, YES, EPERM},
    {"make-link", YES, false, YES, EPERM},
    {"unlink", YES, false, YES, EPERM},
    {"rename", YES, false, YES, EPERM},
    {"change-mode", YES, false, YES, EPERM},
    {"change-folder", YES, false, YES, EPERM},
    {"parent-memory", YES, true, YES, EPERM},
    {"own-memory-file", YES, true, YES, EPERM},
    {"watch-files", YES, true, YES, EPERM},

    {"connect-tcp", YES, false, YES, EPERM},
    {"connect-kept-socket", YES, false, YES, EPERM},
    {"connect-by-sending", YES, true, YES, EPERM},
    {"send-udp", YES, false, YES, EPERM},
    {"inet6-socket", YES, false, YES, EPERM},
    {"listen", YES, false, YES, EPERM},
    {"connect-unix", YES, false, YES, EPERM},
    {"unix-pair", YES, false, YES, EPERM},
    {"raw-socket", YES, true, YES, EPERM},
    {"packet-socket", YES, true, YES, EPERM},
    {"netlink-socket", YES, true, YES, EPERM},

    {"fork", YES, false, YES, EPERM},
    {"vfork", YES, false, YES, EPERM},
    {"clone", YES, false, YES, EPERM},
    {"clone3", YES, true, ENOSYS, ENOSYS},
    {"clone-namespace", YES, true, EPERM, EPERM},
    {"clone-for-parent", YES, false, YES, EPERM},
    {"leave-group", YES, false, YES, EPERM},
    {"execute", YES, false, YES, EPERM},
    {"spawn", YES, false, YES, EPERM},
    {"execute-memory", YES, true, YES, EPERM},
    {"memory-file", YES, false, YES, EPERM},

    {"signal-parent", YES, false, YES, EPERM},
    {"signal-init", YES, true, YES, EPERM},
    {"signal-group", YES, false, YES, EPERM},
    {"signal-parent-thread", YES, false, YES, EPERM},
    {"signal-any-thread", YES, false, YES, EPERM},
    {"queue-signal", YES, false, YES, EPERM},
    {"signal-pidfd", YES, true, YES, EPERM},
    {"signal-owner", YES, false, YES, EPERM},
    {"open-pidfd", YES, true, YES, EPERM},
    {"steal-descriptor", YES, true, EPERM, SIGSYS_KILLS},
    {"trace-parent", YES, true, EPERM, SIGSYS_KILLS},
    {"be-traced", YES, true, EPERM, SIGSYS_KILLS},
    {"read-process-memory", YES, true, EPERM, SIGSYS_KILLS},
    {"write-process-memory", YES, true, EPERM, SIGSYS_KILLS},
    {"compare-processes", YES, true, YES, EPERM},
    {"parent-priority", YES, true, YES, EPERM},
    {"parent-cpus", YES, true, YES, EPERM},
    {"parent-limits", YES, true, YES, EPERM},
    {"outlive-parent", YES, false, YES, EPERM},
    {"shared-memory", YES, true, YES, EPERM},
    {"message-queue", YES, true, YES, EPERM},

    {"mount", YES, true, EPERM, SIGSYS_KILLS},
    {"unmount", YES, true, EPERM, SIGSYS_KILLS},
    {"fsopen", YES, true, EPERM, SIGSYS_KILLS},
    {"open-tree", YES, true, EPERM, SIGSYS_KILLS},
    {"pivot-root", YES, true, EPERM, SIGSYS_KILLS},
    {"chroot", YES, true, EPERM, SIGSYS_KILLS},
    {"unshare", YES, true, EPERM, SIGSYS_KILLS},
    {"unshare-user", YES, true, EPERM, SIGSYS_KILLS},
    {"setns", YES, true, EPERM, SIGSYS_KILLS},
    {"bpf", YES, true, EPERM, SIGSYS_KILLS},
    {"perf", YES, true, EPERM, SIGSYS_KILLS},
    {"userfaultfd", YES, true, EPERM, SIGSYS_KILLS},
    {"fanotify", YES, true, EPERM, SIGSYS_KILLS},
    {"keyctl", YES, true, EPERM, SIGSYS_KILLS},
    {"add-key", YES, true, EPERM, SIGSYS_KILLS},
    {"request-key", YES, true, EPERM, SIGSYS_KILLS},
    {"load-module", YES, true, EPERM, SIGSYS_KILLS},
    {"unload-module", YES, true, EPERM, SIGSYS_KILLS},
    {"kexec", YES, true, EPERM, SIGSYS_KILLS},
    {"reboot", YES, true, EPERM, SIGSYS_KILLS},
    {"swap", YES, true, EPERM, SIGSYS_KILLS},
    {"account", YES, true, EPERM, SIGSYS_KILLS},
    {"kernel-log", YES, true, EPERM, SIGSYS_KILLS},
    {"set-time", YES, true, EPERM, SIGSYS_KILLS},
    {"name-machine", YES, true, EPERM, SIGSYS_KILLS},
    {"io-uring", YES, true, EPERM, EPERM},

    {"setuid", YES, true, YES, EPERM},
    {"capset", YES, true, YES, EPERM},
    {"set-limit", YES, false, YES, EPERM},
    {"set-dumpable", YES, false, YES, EPERM},
    {"personality", YES, false, YES, EPERM},
    {"seccomp", YES, false, YES, EPERM},
    {"ioctl", YES, false, YES, EPERM},
    {"terminal-input", YES, false, EPERM, EPERM},
    {"terminal-input-high-bits", YES, false, EPERM, EPERM},
    {"unknown-call", ENOSYS, false, ENOSYS, ENOSYS},
#ifdef __x86_64__
    {"io-ports", YES, true, EPERM, SIGSYS_KILLS},
    {"32-bit-call", YES, true, ENOSYS, SIGSYS_KILLS},
    {"x32-call", YES, true, ENOSYS, SIGSYS_KILLS},
#endif

    {"threads", YES, false, YES, YES},
    {"timers", YES, false, YES, YES},
    {"memory", YES, false, YES, YES},
    {"made-code", YES, false, YES, YES},
    {"kept-sockets", YES, false, YES, YES},
    {"accept-on-kept-socket", YES, false, YES, YES},
    {"read-open-file", YES, false, YES, YES},
    {"own-signals", YES, false, YES, YES},
    {"abort", ABORTS, false, ABORTS, ABORTS},
    {"name-thread", YES, false, YES, YES},
    {"ask-limits", YES, false, YES, YES},
    {"javascript", YES, false, YES, YES},
    {"javascript-limit", YES, false, YES, YES},
    {"lua", YES, false, YES, YES},
};

/* ---- running the hostile program ---- */

static int outcome_of(pid_t child)
{
    int how = 0;
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    if (WIFEXITED(how))
        return WEXITSTATUS(how);
    ck_assert(WIFSIGNALED(how));
    return KILLED + WTERMSIG(how);
}

#define MOST_ARGUMENTS 16

/* The words after the program's name, NULL-terminated. */
static int run(const char *const *words)
{
    const char *arguments[MOST_ARGUMENTS] = {WALL_HOSTILE};
    size_t count = 1;
    pid_t child = -1;

    if (OWN_THREADS)
        arguments[count++] = "--partial";
    for (; *words != NULL; words++) {
        ck_assert_uint_lt(count + 1, MOST_ARGUMENTS);
        arguments[count++] = *words;
    }
    ck_assert_int_eq(posix_spawn(&child, WALL_HOSTILE, NULL, NULL, (char **)(uintptr_t)arguments, environ),
                     0);
    return outcome_of(child);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void expect(const struct line *line, const char *level, int wanted, int control)
{
    int got = RUN(level, line->attempt);
    if (wanted == YES) /* the wall has no part in it: what comes without it comes with it */
        wanted = control;
    ck_assert_msg(got == wanted, "%s at trust %s: %d, not %d", line->attempt, level, got, wanted);
}

START_TEST(each_attempt_ends_as_its_line_says)
{
    const struct line *line = &lines[_i];
    if (OWN_THREADS && strncmp(line->attempt, "javascript", 10) == 0)
        return; /* the sanitizer stops what the collector signals, and reads files to tell of it */
    int control = RUN("full", line->attempt);
    if (control == NOT_PREPARED && line->needs_rights)
        return; /* this file system or kernel has nothing to try it on */
    ck_assert_msg(control == line->full || (line->needs_rights && control < NO_WALL),
                  "%s without a wall: %d, not %d", line->attempt, control, line->full);
    if (control != line->full)
        printf("%s: refused without a wall as well (%s)\n", line->attempt, strerror(control));
    expect(line, "script", line->script, control);
    expect(line, "none", line->none, control);
}
END_TEST

/* ---- the page ---- */

static char *page;

static void read_page(void)
{
    FILE *file = fopen(SECURITY_PAGE, "r");
    ck_assert_ptr_nonnull(file);
    page = calloc(1, 1 << 17);
    ck_assert_ptr_nonnull(page);
    ck_assert_uint_gt(fread(page, 1, (1 << 17) - 1, file), 0);
    fclose(file);
}

static void free_page(void)
{
    free(page);
}

static const char *cell(int outcome)
{
    switch (outcome) {
    case YES: return "yes";
    case EPERM: return "EPERM";
    case ENOSYS: return "ENOSYS";
    case SIGSYS_KILLS: return "killed";
    case ABORTS: return "SIGABRT";
    default: return "?";
    }
}

START_TEST(the_page_says_what_the_wall_does)
{
    const struct line *line = &lines[_i];
    char name[64], cells[64];
    snprintf(name, sizeof name, " (`%s`) |", line->attempt);
    snprintf(cells, sizeof cells, " %s | %s | %s |\n", cell(line->full), cell(line->script),
             cell(line->none));
    const char *at = strstr(page, name);
    ck_assert_msg(at != NULL, "%s is not on the page", line->attempt);
    ck_assert_msg(strncmp(at + strlen(name), cells, strlen(cells)) == 0, "%s:%s", line->attempt, cells);
}
END_TEST

START_TEST(the_page_has_no_line_that_is_not_tried)
{
    for (const char *at = page; (at = strstr(at, " (`")) != NULL; at++) {
        const char *end = strstr(at, "`) |");
        if (end == NULL || memchr(at, '\n', (size_t)(end - at)) != NULL)
            continue;
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(end - at - 3), at + 3);
        bool tried = strcmp(name, "io-ports") == 0 || strstr(name, "32") != NULL; /* x86's */
        for (size_t i = 0; i < COUNT(lines); i++)
            tried = tried || strcmp(lines[i].attempt, name) == 0;
        ck_assert_msg(tried, "%s", name);
    }
}
END_TEST

/* ---- what may be granted ---- */

START_TEST(network_is_going_out_over_tcp_and_udp_and_nothing_else)
{
    ck_assert_int_eq(RUN("--network", "none", "connect-tcp"), 0);
    ck_assert_int_eq(RUN("--network", "none", "connect-kept-socket"), 0);
    ck_assert_int_eq(RUN("--network", "none", "send-udp"), 0);
    ck_assert_int_eq(RUN("--network", "none", "inet6-socket"), 0);
    ck_assert_int_eq(RUN("--network", "none", "listen"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "connect-unix"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "unix-pair"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "raw-socket"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "packet-socket"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "netlink-socket"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "fork"), EPERM);
    ck_assert_int_eq(RUN("--network", "none", "open-read"), EPERM);
}
END_TEST

static bool kernel_binds_files(void)
{
    return muster__wall_landlock_abi() > 0 && !OWN_THREADS;
}

struct folder {
    char path[64], inside[96], link_out[96];
};

static void make_folder(struct folder *folder)
{
    snprintf(folder->path, sizeof folder->path, "/tmp/test_wall-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder->path));
    snprintf(folder->inside, sizeof folder->inside, "%s/inside", folder->path);
    snprintf(folder->link_out, sizeof folder->link_out, "%s/out", folder->path);
    FILE *file = fopen(folder->inside, "w");
    ck_assert_ptr_nonnull(file);
    fputs("inside\n", file);
    fclose(file);
    ck_assert_int_eq(symlink("/etc/passwd", folder->link_out), 0);
}

static void remove_folder(const struct folder *folder)
{
    unlink(folder->inside);
    unlink(folder->link_out);
    rmdir(folder->path);
}

#define READING(folder) "--readable", (folder).path

START_TEST(a_folder_is_for_reading_and_the_rest_stays_closed)
{
    struct folder f;
    if (!kernel_binds_files())
        return;
    make_folder(&f);
    int inside = RUN(READING(f), "--file", f.inside, "none", "open-read");
    int itself = RUN("--readable", f.inside, "--file", f.inside, "none", "open-read");
    int outside = RUN(READING(f), "none", "open-read");
    int link_out = RUN(READING(f), "--file", f.link_out, "none", "open-read");
    int way_round = RUN(READING(f), "--file", "/proc/self/root/etc/passwd", "none", "open-read");
    int stat = RUN(READING(f), "none", "stat");
    int list = RUN(READING(f), "none", "list-folder");
    int list_inside = RUN(READING(f), "--folder", f.path, "none", "list-folder");
    int memory = RUN(READING(f), "none", "parent-memory");
    static const char *const refused[] = {"open-write", "open-append", "open-truncate", "open-path",
                                          "openat2",    "make-folder", "unlink",        "open-nameless",
                                          "execute",    "own-memory-file"};
    int writing[COUNT(refused)];
    for (size_t i = 0; i < COUNT(refused); i++)
        writing[i] = RUN(READING(f), "none", refused[i]);
    remove_folder(&f);
    ck_assert_int_eq(inside, 0);
    ck_assert_int_eq(itself, 0);
    ck_assert_int_eq(outside, EACCES);
    ck_assert_int_eq(link_out, EACCES);
    ck_assert_int_eq(way_round, EACCES);
    ck_assert_int_eq(stat, 0); /* the page says so */
    ck_assert_int_eq(list, EACCES);
    ck_assert_int_eq(list_inside, 0);
    ck_assert_int_eq(memory, EACCES);
    for (size_t i = 0; i < COUNT(refused); i++)
        ck_assert_msg(writing[i] == EPERM, "%s: %d", refused[i], writing[i]);
}
END_TEST

/* /lib64 is where some machines keep their loader. */
#define PROGRAMS "--spawn", "--readable", "/usr", "--readable", "/lib", "--readable", "/bin", \
        "--readable", access("/lib64", F_OK) == 0 ? "/lib64" : "/usr"

START_TEST(what_is_spawned_stands_behind_the_same_wall)
{
    if (!kernel_binds_files())
        return;
    ck_assert_int_eq(RUN(PROGRAMS, "none", "fork"), 0);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "vfork"), 0);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "execute"), 0);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "spawn"), 0);
    ck_assert_int_eq(RUN(PROGRAMS, "--file", "/bin/true", "none", "spawned-reads-file"), 0);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "spawned-reads-file"), EACCES);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "clone3"), ENOSYS);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "clone-namespace"), EPERM);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "clone-for-parent"), EPERM);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "leave-group"), EPERM);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "execute-memory"), EPERM);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "signal-parent"), EPERM);
    ck_assert_int_eq(RUN(PROGRAMS, "none", "signal-group"), EPERM);
    ck_assert_int_eq(RUN("--spawn", "none", "execute"), EACCES); /* nothing to execute was named */
}
END_TEST

/* ---- raising ---- */

/* Runs it in a process of its own; its answer is the outcome. */
static int in_child(int (*what)(void))
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(what());
    return outcome_of(child);
}

static bool says(const struct muster_error *error, const char *text)
{
    return error->message != NULL && strstr(error->message, text) != NULL;
}

static int full_raises_nothing(void)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_FULL};
    struct muster__wall_report report = {.seccomp = true};
    char text[128];
    if (muster__wall_raise(&options, &report, NULL) != MUSTER_OK || report.seccomp ||
        report.no_new_privs || report.landlock)
        return 1;
    muster__wall_describe(MUSTER__WALL_FULL, &report, text, sizeof text);
    return strcmp(text, "trust full: no wall") == 0 ? 0 : 2;
}

static int script_is_the_default(void)
{
    const struct muster__wall_options options = {0};
    struct muster__wall_report report;
    char text[128];
    if (muster__wall_raise(&options, &report, NULL) != MUSTER_OK || !report.seccomp ||
        !report.no_new_privs || report.landlock || report.no_capabilities)
        return 1;
    muster__wall_describe(options.trust, &report, text, sizeof text);
    return strcmp(text, "trust script: no new privileges, seccomp") == 0 ? 0 : 2;
}

static int none_reports_all(void)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE};
    struct muster__wall_report report;
    char text[128], wanted[128] = "";
    if (muster__wall_raise(&options, &report, NULL) != MUSTER_OK || !report.seccomp ||
        !report.no_new_privs || !report.no_capabilities)
        return 1;
    if (report.landlock != (report.landlock_abi > 0))
        return 2;
    if (report.landlock)
        snprintf(wanted, sizeof wanted, "trust none: no new privileges, seccomp, Landlock (ABI %d), "
                 "no capabilities", report.landlock_abi);
    else
        snprintf(wanted, sizeof wanted, "trust none: no new privileges, seccomp, no capabilities");
    muster__wall_describe(options.trust, &report, text, sizeof text);
    return strcmp(text, wanted) == 0 ? 0 : 3;
}

START_TEST(the_report_says_what_holds)
{
    ck_assert_int_eq(in_child(full_raises_nothing), 0);
    ck_assert_int_eq(in_child(script_is_the_default), 0);
    if (!OWN_THREADS)
        ck_assert_int_eq(in_child(none_reports_all), 0);
}
END_TEST

static int raise_twice(void)
{
    const struct muster__wall_options options = {0};
    struct muster_error error = {0};
    return muster__wall_raise(&options, NULL, NULL) == MUSTER_OK &&
                   muster__wall_raise(&options, NULL, &error) == MUSTER_EXISTS &&
                   says(&error, "it was raised before")
               ? 0
               : 1;
}

START_TEST(a_second_wall_is_refused)
{
    ck_assert_int_eq(in_child(raise_twice), 0);
}
END_TEST

static int raise_for(const char *path, enum muster_status wanted, const char *text)
{
    const char *const paths[] = {path, NULL};
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE, .readable = paths};
    struct muster_error error = {0};
    return muster__wall_raise(&options, NULL, &error) == wanted && says(&error, text) ? 0 : 1;
}

static int raise_for_relative_path(void)
{
    return raise_for("etc", MUSTER_INVALID_ARGUMENT, "\"etc\" is not an absolute path");
}

static int raise_for_missing_path(void)
{
    return raise_for("/nowhere/at/all", MUSTER_NOT_FOUND, "/nowhere/at/all: No such file");
}

START_TEST(a_path_that_cannot_be_granted_is_named)
{
    ck_assert_int_eq(in_child(raise_for_relative_path), 0);
    if (kernel_binds_files())
        ck_assert_int_eq(in_child(raise_for_missing_path), 0);
}
END_TEST

static enum muster_status cold(void *user_data, struct muster_error *error)
{
    muster_error_set(error, MUSTER_LOAD_FAILED, "%s", (const char *)user_data);
    return MUSTER_LOAD_FAILED;
}

static int raise_around_cold_engine(void)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE,
                                                 .allow_partial = OWN_THREADS,
                                                 .warm_up = cold,
                                                 .user_data = (void *)(uintptr_t) "too cold"};
    struct muster_error error = {0};
    return muster__wall_raise(&options, NULL, &error) == MUSTER_LOAD_FAILED && says(&error, "too cold")
               ? 0
               : 1;
}

START_TEST(an_engine_that_does_not_warm_up_stops_the_wall)
{
    ck_assert_int_eq(in_child(raise_around_cold_engine), 0);
}
END_TEST

/* ---- other threads ---- */

static pthread_barrier_t barrier;
static int problem_of_thread;

static void *fork_when_told(void *unused)
{
    pthread_barrier_wait(&barrier); /* runs */
    pthread_barrier_wait(&barrier); /* the wall is up */
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    problem_of_thread = child < 0 ? errno : 0;
    return unused;
}

static int raise_with_thread(bool partial)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE, .allow_partial = partial};
    struct muster__wall_report report;
    struct muster_error error = {0};
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, fork_when_told, NULL) != 0)
        return 1;
    pthread_barrier_wait(&barrier);
    enum muster_status status = muster__wall_raise(&options, &report, &error);
    if (!partial)
        return status == MUSTER_REFUSED && says(&error, "other threads run already") ? 0 : 2;
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    if (status != MUSTER_OK || report.landlock || report.no_capabilities || !report.seccomp)
        return 3;
    return problem_of_thread == EPERM ? 0 : 4;
}

static int raise_with_thread_in_full(void)
{
    return raise_with_thread(false);
}

static int raise_with_thread_in_part(void)
{
    return raise_with_thread(true);
}

START_TEST(other_threads_forbid_the_wall_of_trust_none)
{
    ck_assert_int_eq(in_child(raise_with_thread_in_full), 0);
}
END_TEST

START_TEST(seccomp_reaches_threads_that_run_already)
{
    ck_assert_int_eq(in_child(raise_with_thread_in_part), 0);
}
END_TEST

/* ---- kernels that lack something: a filter plays them ---- */

static bool play_kernel_without(int call, unsigned count, struct scmp_arg_cmp compare)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool played = filter != NULL &&
                  seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EINVAL), call, count, &compare) == 0 &&
                  seccomp_load(filter) == 0;
    seccomp_release(filter);
    return played;
}

static bool play_kernel_without_landlock(void)
{
    return play_kernel_without(SCMP_SYS(landlock_create_ruleset), 0, SCMP_A0(SCMP_CMP_EQ, 0));
}

static bool play_kernel_without_seccomp(void)
{
    return play_kernel_without(SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_GET_SECCOMP));
}

static const char *const etc[] = {"/etc", NULL};

static int raise_without_landlock(void)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE};
    struct muster__wall_report report;
    if (!play_kernel_without_landlock() || muster__wall_raise(&options, &report, NULL) != MUSTER_OK)
        return 1;
    return report.seccomp && !report.landlock && report.landlock_abi == 0 ? 0 : 2;
}

static int grant_folder_without_landlock(void)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE, .readable = etc};
    struct muster_error error = {0};
    return play_kernel_without_landlock() &&
                   muster__wall_raise(&options, NULL, &error) == MUSTER_UNSUPPORTED &&
                   says(&error, "need Landlock, which this kernel lacks")
               ? 0
               : 1;
}

static int grant_part_without_landlock(void)
{
    const struct muster__wall_options options = {
        .trust = MUSTER__WALL_NONE, .readable = etc, .allow_partial = true};
    if (!play_kernel_without_landlock() || muster__wall_raise(&options, NULL, NULL) != MUSTER_OK)
        return 1;
    return open("/etc/passwd", O_RDONLY) < 0 && errno == EPERM ? 0 : 2;
}

START_TEST(without_landlock_no_folder_opens)
{
    if (!OWN_THREADS) {
        ck_assert_int_eq(in_child(raise_without_landlock), 0);
        ck_assert_int_eq(in_child(grant_folder_without_landlock), 0);
    }
    ck_assert_int_eq(in_child(grant_part_without_landlock), 0);
}
END_TEST

static int none_without_seccomp(void)
{
    const struct muster__wall_options options = {.trust = MUSTER__WALL_NONE};
    struct muster_error error = {0};
    return play_kernel_without_seccomp() &&
                   muster__wall_raise(&options, NULL, &error) == MUSTER_UNSUPPORTED &&
                   says(&error, "filters no system calls")
               ? 0
               : 1;
}

static int raise_what_there_is(enum muster__wall_trust trust, bool partial)
{
    const struct muster__wall_options options = {.trust = trust, .allow_partial = partial};
    struct muster__wall_report report;
    return play_kernel_without_seccomp() && muster__wall_raise(&options, &report, NULL) == MUSTER_OK &&
                   !report.seccomp && report.no_new_privs
               ? 0
               : 1;
}

static int script_without_seccomp(void)
{
    return raise_what_there_is(MUSTER__WALL_SCRIPT, false);
}

static int part_of_none_without_seccomp(void)
{
    return raise_what_there_is(MUSTER__WALL_NONE, true);
}

START_TEST(without_seccomp_only_trust_none_is_an_error)
{
    if (!OWN_THREADS)
        ck_assert_int_eq(in_child(none_without_seccomp), 0);
    ck_assert_int_eq(in_child(script_without_seccomp), 0);
    ck_assert_int_eq(in_child(part_of_none_without_seccomp), 0);
}
END_TEST

/* ---- where it is raised ---- */

static int hostile_inside_another_filter(void)
{
    const struct muster__wall_options options = {0};
    if (muster__wall_raise(&options, NULL, NULL) != MUSTER_OK)
        return 1;
    execl(WALL_HOSTILE, WALL_HOSTILE, OWN_THREADS ? "--partial" : "--", "none", "open-read", (char *)NULL);
    return 2;
}

START_TEST(a_wall_stands_inside_another_one)
{
    ck_assert_int_eq(in_child(hostile_inside_another_filter), EPERM);
}
END_TEST

static int hostile_as(const char *attempt)
{
    char *const arguments[] = {WALL_HOSTILE, OWN_THREADS ? "--partial" : "--", "none",
                               (char *)(uintptr_t)attempt, NULL};
    int program = open(WALL_HOSTILE, O_RDONLY | O_CLOEXEC); /* nobody may not find the way there */
    if (program < 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return NOT_PREPARED;
    fexecve(program, arguments, environ);
    return NOT_PREPARED;
}

static int open_as_nobody(void)
{
    return hostile_as("open-read");
}

static int threads_as_nobody(void)
{
    return hostile_as("threads");
}

static int mount_as_nobody(void)
{
    return hostile_as("mount");
}

START_TEST(a_wall_needs_no_rights)
{
    if (geteuid() != 0)
        return; /* all the other tests said so */
    ck_assert_int_eq(in_child(open_as_nobody), EPERM);
    ck_assert_int_eq(in_child(threads_as_nobody), 0);
    ck_assert_int_eq(in_child(mount_as_nobody), SIGSYS_KILLS);
}
END_TEST

START_TEST(levels_have_words)
{
    static const char *const words[] = {"full", "script", "none"};
    enum muster__wall_trust trust = MUSTER__WALL_FULL;
    for (size_t i = 0; i < COUNT(words); i++) {
        ck_assert(muster__wall_parse(words[i], &trust));
        ck_assert_str_eq(muster__wall_word(trust), words[i]);
    }
    ck_assert(!muster__wall_parse("some", &trust) && !muster__wall_parse(NULL, &trust));
    ck_assert_int_eq(trust, MUSTER__WALL_NONE);
}
END_TEST

/* ---- sharing ---- */

START_TEST(two_tenants_of_trust_none_never_share_a_host)
{
    const struct muster_placement_host host = {.size = sizeof host,
                                               .id = 1,
                                               .kind = MUSTER_PLACEMENT_PROCESS,
                                               .state = MUSTER_PLACEMENT_READY,
                                               .isolation = "tenant a",
                                               .trust = MUSTER__WALL_NONE};
    struct muster_placement_request request = {.size = sizeof request,
                                               .id = 1,
                                               .isolation = "tenant a",
                                               .trust = MUSTER__WALL_NONE};
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0), MUSTER_PLACEMENT_FILTER_PASSED);
    request.isolation = "tenant b";
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0), MUSTER_PLACEMENT_FILTER_ISOLATION);
    request.isolation = NULL;
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0), MUSTER_PLACEMENT_FILTER_ISOLATION);
    request.isolation = "tenant a";
    request.trust = MUSTER__WALL_SCRIPT;
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0), MUSTER_PLACEMENT_FILTER_TRUST);
}
END_TEST

static Suite *wall_suite(void)
{
    Suite *suite = suite_create("wall");
    TCase *table = tcase_create("table");
    tcase_set_timeout(table, 60);
    tcase_add_loop_test(table, each_attempt_ends_as_its_line_says, 0, (int)COUNT(lines));
    suite_add_tcase(suite, table);

    TCase *mirror = tcase_create("page");
    tcase_add_unchecked_fixture(mirror, read_page, free_page);
    tcase_add_loop_test(mirror, the_page_says_what_the_wall_does, 0, (int)COUNT(lines));
    tcase_add_test(mirror, the_page_has_no_line_that_is_not_tried);
    suite_add_tcase(suite, mirror);

    TCase *grants = tcase_create("grants");
    tcase_add_test(grants, network_is_going_out_over_tcp_and_udp_and_nothing_else);
    tcase_add_test(grants, a_folder_is_for_reading_and_the_rest_stays_closed);
    tcase_add_test(grants, what_is_spawned_stands_behind_the_same_wall);
    suite_add_tcase(suite, grants);

    TCase *raising = tcase_create("raising");
    tcase_add_test(raising, levels_have_words);
    tcase_add_test(raising, the_report_says_what_holds);
    tcase_add_test(raising, a_second_wall_is_refused);
    tcase_add_test(raising, a_path_that_cannot_be_granted_is_named);
    tcase_add_test(raising, an_engine_that_does_not_warm_up_stops_the_wall);
    tcase_add_test(raising, other_threads_forbid_the_wall_of_trust_none);
    tcase_add_test(raising, seccomp_reaches_threads_that_run_already);
    tcase_add_test(raising, without_landlock_no_folder_opens);
    tcase_add_test(raising, without_seccomp_only_trust_none_is_an_error);
    tcase_add_test(raising, a_wall_stands_inside_another_one);
    tcase_add_test(raising, a_wall_needs_no_rights);
    suite_add_tcase(suite, raising);

    TCase *sharing = tcase_create("sharing");
    tcase_add_test(sharing, two_tenants_of_trust_none_never_share_a_host);
    suite_add_tcase(suite, sharing);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(wall_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
