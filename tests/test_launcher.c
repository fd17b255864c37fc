/* tests/test_launcher.c - spawning and dying of host processes, with real ones.
 *
 * HOST_FIXTURE is tests/host_fixture_process.c.  Nothing waits for time to pass: ends are seen through
 * pidfds and callbacks, within bounds. */
#include "host_harness.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "remote/launcher_cgroup.h"
#include "remote/launcher_internal.h"
#include "remote/shared_memory.h"
#include "remote/spawn.h"

static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* ---- ends ---- */

START_TEST(a_host_that_exits_tells_its_code)
{
    static const char *const codes[] = {"0", "7", "255"};
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    spawn_host(launcher, &host, ARGUMENTS("exit", codes[_i]));
    ck_assert_int_gt(host.pid, 0);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.cause, MUSTER__EXIT_BY_ITSELF);
    ck_assert_int_eq(host.report.signal, 0);
    ck_assert_int_eq(host.report.code, (int)strtol(codes[_i], NULL, 10));
    ck_assert_uint_gt(host.report.peak_memory, 100000);
    ck_assert_uint_gt(host.report.lived_us, 0);
    ck_assert_int_eq(muster__process_kill(host.process, SIGTERM), MUSTER_CLOSED);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_kill_is_known_to_be_ours_or_not)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host ours;
    struct test_host theirs;
    spawn_host(launcher, &ours, ARGUMENTS("stubborn"));
    spawn_host(launcher, &theirs, ARGUMENTS("stubborn"));
    ck_assert_int_eq(muster__process_kill(ours.process, SIGKILL), MUSTER_OK);
    see_exit(launcher, &ours);
    ck_assert_int_eq(ours.report.cause, MUSTER__EXIT_KILLED);
    ck_assert_int_eq(ours.report.signal, SIGKILL);
    ck_assert_int_eq(theirs.exited, 0);
    kill(theirs.pid, SIGKILL);
    see_exit(launcher, &theirs);
    ck_assert_int_eq(theirs.report.cause, MUSTER__EXIT_BY_ITSELF);
    ck_assert_int_eq(theirs.report.signal, SIGKILL);
    end_host(&ours);
    end_host(&theirs);
    muster__launcher_destroy(launcher);
}
END_TEST

/* Its launcher stands still, so it is dead and nobody has heard of it. */
START_TEST(a_kill_that_comes_too_late_is_not_what_it_died_of)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    spawn_host(launcher, &host, ARGUMENTS("stubborn"));
    pid_t stopped = muster__launcher_pid(launcher);
    kill(stopped, SIGSTOP);
    kill(host.pid, SIGKILL);
    struct pollfd end = {.fd = muster__process_pidfd(host.process), .events = POLLIN};
    ck_assert_int_eq(poll(&end, 1, BOUND_MS), 1);
    ck_assert_int_eq(muster__process_kill(host.process, SIGKILL), MUSTER_OK);
    kill(stopped, SIGCONT);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.cause, MUSTER__EXIT_BY_ITSELF);
    ck_assert_int_eq(host.report.signal, SIGKILL);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_kill_before_it_runs_is_kept)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct muster__process_options options = {0};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("stubborn")), MUSTER_OK);
    ck_assert_int_eq(muster__process_pid(host.process), 0);
    ck_assert_int_eq(muster__process_pidfd(host.process), -1);
    ck_assert_int_eq(muster__process_kill(host.process, SIGTERM), MUSTER_CLOSED);
    ck_assert_int_eq(muster__process_kill(host.process, SIGKILL), MUSTER_OK);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.cause, MUSTER__EXIT_KILLED);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_process_given_up_is_killed_and_not_heard_of)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct test_host early;
    struct test_host last;
    spawn_host(launcher, &host, ARGUMENTS("stubborn"));
    int pidfd = watch_pid(host.pid);
    end_host(&host);
    see_gone(pidfd);
    struct muster__process_options options = {0};
    ck_assert_int_eq(begin_host(launcher, &early, options, ARGUMENTS("stubborn")), MUSTER_OK);
    end_host(&early);
    spawn_host(launcher, &last, ARGUMENTS("exit", "0"));
    see_exit(launcher, &last);
    ck_assert_int_eq(host.exited, 0);
    ck_assert_int_eq(early.spawned, 0);
    end_host(&last);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(destroying_the_launcher_ends_every_host)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host hosts[3];
    int pidfds[3];
    for (int i = 0; i < 3; i++) {
        spawn_host(launcher, &hosts[i], ARGUMENTS("stubborn"));
        pidfds[i] = watch_pid(hosts[i].pid);
    }
    int itself = watch_pid(muster__launcher_pid(launcher));
    muster__launcher_destroy(launcher);
    ck_assert(is_gone(itself));
    close(itself);
    for (int i = 0; i < 3; i++) {
        ck_assert(is_gone(pidfds[i]));
        close(pidfds[i]);
        ck_assert_int_eq(hosts[i].exited, 0);
        ck_assert_int_eq(muster__process_kill(hosts[i].process, SIGKILL), MUSTER_CLOSED);
        end_host(&hosts[i]);
    }
}
END_TEST

START_TEST(many_hosts_come_and_go_and_leave_no_descriptor)
{
    enum { MANY = 40 };
    static struct test_host hosts[MANY];
    int before = count_descriptors();
    struct muster__launcher *launcher = new_launcher();
    for (int i = 0; i < MANY; i++) {
        struct muster__process_options options = {0};
        ck_assert_int_eq(begin_host(launcher, &hosts[i], options, ARGUMENTS("exit", "3")), MUSTER_OK);
    }
    for (int i = 0; i < MANY; i++) {
        see_exit(launcher, &hosts[i]);
        ck_assert_int_eq(hosts[i].report.code, 3);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(hosts[i].spawned, 1);
        ck_assert_int_eq(hosts[i].exited, 1);
        end_host(&hosts[i]);
    }
    muster__launcher_destroy(launcher);
    ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

START_TEST(an_edge_triggered_poller_misses_nothing)
{
    static struct test_host hosts[12];
    struct muster__launcher *launcher = new_launcher();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, muster__launcher_fd(launcher), &event), 0);
    struct muster__process_options options = {0};
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(begin_host(launcher, &hosts[i], options, ARGUMENTS("exit", "0")), MUSTER_OK);
    for (int i = 0; i < 12; i++)
        while (hosts[i].exited == 0 && (hosts[i].spawned == 0 || hosts[i].status == MUSTER_OK)) {
            ck_assert_int_eq(epoll_wait(epoll, &event, 1, BOUND_MS), 1);
            muster__launcher_on_ready(launcher);
            if (i == 5 && muster__launcher_pid(launcher) > 0) /* an end by another way */
                kill(muster__launcher_pid(launcher), SIGKILL);
        }
    for (int i = 0; i < 12; i++)
        end_host(&hosts[i]);
    close(epoll);
    muster__launcher_destroy(launcher);
}
END_TEST

/* ---- what a host is given ---- */

START_TEST(a_host_finds_its_descriptors_and_no_others)
{
    struct muster__launcher *launcher = new_launcher();
    struct muster__shared_memory *memory = NULL;
    struct test_host host;
    char line[256];
    int channel[2];
    ck_assert_int_ge(dup(STDERR_FILENO), 0); /* not close-on-exec */
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel), 0);
    ck_assert_int_eq(muster__shared_memory_new(8, &memory), MUSTER_OK);
    struct muster__process_options options = {
        .descriptors = {[MUSTER__HOST_FD_CHANNEL] = channel[0],
                        [MUSTER__HOST_FD_MEMORY] = muster__shared_memory_fd(memory)}};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("descriptors")), MUSTER_OK);
    read_line(host.data, line, sizeof line);
    ck_assert_str_eq(line, "0 1 2 3 4 5 6 ");
    see_exit(launcher, &host);
    end_host(&host);
    muster__shared_memory_destroy(memory);
    muster__launcher_destroy(launcher);
}
END_TEST

static pid_t host_pid(struct muster__launcher *launcher, const struct test_host *host)
{
    pump_until(launcher, &host->spawned, 1);
    return host->pid;
}

static bool has(const char *line, const char *entry)
{
    const char *at = strstr(line, entry);
    return at != NULL && (at == line || at[-1] == '|') && at[strlen(entry)] == '|';
}

START_TEST(a_host_gets_a_clean_environment_and_its_limits)
{
    setenv("MUSTER_TEST_A", "mine", 1);
    setenv("MUSTER_TEST_B", "mine", 1);
    setenv("SECRET_OF_THE_EMBEDDER", "1", 1);
    setenv("TZ", "UTC", 1);
    signal(SIGUSR1, SIG_IGN);
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    char line[8192], niceness[24];
    snprintf(niceness, sizeof niceness, "nice=%d", getpriority(PRIO_PROCESS, 0) + 3); /* the tests may run at another */
    struct muster__process_options options = {
        .name = "host 3",
        .environment = ARGUMENTS("MUSTER_TEST_B=yours", "MORE=1", FIXTURE_SANITIZERS),
        .open_files = 64,
        .children = 5000,
        .nice = 3};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("describe", "two words", "")),
                     MUSTER_OK);
    read_line(host.data, line, sizeof line);
    ck_assert_msg(strncmp(line, "muster-host: host 3|describe|two words||", 40) == 0, "%s", line);
    const char *const wanted[] = {"MUSTER_TEST_A=mine", "MUSTER_TEST_B=yours", "MORE=1", "TZ=UTC", "files=64", "core=0",
                                  niceness, "blocked=0", "ignored=0", "leads=1"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        ck_assert_msg(has(line, wanted[i]), "%s is not in %s", wanted[i], line);
    ck_assert_ptr_null(strstr(line, "SECRET_OF_THE_EMBEDDER"));
    ck_assert_ptr_null(strstr(line, "MUSTER_TEST_B=mine"));
    see_exit(launcher, &host);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_host_shows_its_name)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    char path[64], text[256] = "";
    struct muster__process_options options = {.name = "host 12"};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("idle")), MUSTER_OK);
    read_line(host.data, text, sizeof text);
    snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)host_pid(launcher, &host));
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, sizeof text - 1, file), 0);
    fclose(file);
    ck_assert_str_eq(text, "muster-host: host 12");
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(what_a_host_started_is_read_after_its_death)
{
    struct muster__launcher *launcher = new_launcher();
    struct muster__shared_memory *memory = NULL;
    struct test_host host;
    ck_assert_int_eq(muster__shared_memory_new(4, &memory), MUSTER_OK);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t index;
        ck_assert_int_eq(muster__shared_memory_take(memory, &index), MUSTER_OK);
    }
    struct muster__process_options options = {
        .descriptors = {[MUSTER__HOST_FD_MEMORY] = muster__shared_memory_fd(memory)}};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("words")), MUSTER_OK);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.signal, SIGKILL);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert(muster__shared_memory_has_started(memory, i) == (i == 2));
    ck_assert_uint_eq(muster__shared_memory_heartbeat(memory), 1);
    end_host(&host);
    muster__shared_memory_destroy(memory);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_host_beyond_its_memory_is_killed_for_it)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct muster__process_options options = {.memory = (uint64_t)192 << 20};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("grow")), MUSTER_OK);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.cause, MUSTER__EXIT_MEMORY_LIMIT);
    ck_assert_int_eq(host.report.signal, SIGKILL);
    ck_assert_uint_gt(host.report.peak_memory, options.memory);
    ck_assert(muster__exit_is_oom(&host.report));
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_host_that_used_up_its_cpu_time_is_killed)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct muster__process_options options = {.cpu_seconds = 1};
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("spin")), MUSTER_OK);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.signal, SIGXCPU);
    ck_assert_uint_ge(host.report.cpu_us, 100000); /* the limit counts by ticks, this by the clock */
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

/* ---- embedders ---- */

START_TEST(an_embedder_that_ignores_sigchld_hears_of_every_end)
{
    signal(SIGCHLD, SIG_IGN);
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    spawn_host(launcher, &host, ARGUMENTS("exit", "7"));
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.code, 7);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

static volatile sig_atomic_t child_signals;

static void count_child_signal(int signal)
{
    (void)signal;
    child_signals++;
}

START_TEST(an_embedder_that_waits_for_any_child_sees_none_of_ours)
{
    signal(SIGCHLD, count_child_signal);
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    char line[16];
    spawn_host(launcher, &host, ARGUMENTS("idle"));
    ck_assert_int_eq(waitpid(-1, NULL, 0), -1);
    ck_assert_int_eq(errno, ECHILD);
    read_line(host.data, line, sizeof line);
    close_end(&host.data);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.code, 0);
    end_host(&host);
    muster__launcher_destroy(launcher);
    ck_assert_int_eq(child_signals, 0);
}
END_TEST

START_TEST(an_embedder_that_adopts_orphans_keeps_no_zombie)
{
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    spawn_host(launcher, &host, ARGUMENTS("exit", "0"));
    see_exit(launcher, &host);
    end_host(&host);
    muster__launcher_destroy(launcher);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

struct other_thread {
    struct muster__launcher *launcher;
    struct test_host *host;
};

static void *spawn_on_other_thread(void *data)
{
    struct other_thread *other = data;
    struct muster__process_options options = {0};
    enum muster_status status = begin_host(other->launcher, other->host, options, ARGUMENTS("idle"));
    MUSTER_CHECK(status == MUSTER_OK);
    return NULL;
}

START_TEST(the_end_of_the_thread_that_spawned_ends_no_host)
{
    struct test_host host;
    struct other_thread other = {new_launcher(), &host};
    pthread_t thread;
    char line[16];
    ck_assert_int_eq(pthread_create(&thread, NULL, spawn_on_other_thread, &other), 0);
    pthread_join(thread, NULL);
    pump_until(other.launcher, &host.spawned, 1);
    read_line(host.data, line, sizeof line);
    close_end(&host.data); /* it lives to see that */
    see_exit(other.launcher, &host);
    ck_assert_int_eq(host.report.signal, 0);
    end_host(&host);
    muster__launcher_destroy(other.launcher);
}
END_TEST

enum { EACH = 8, THREADS = 3 };

struct many {
    struct muster__launcher *launcher;
    struct muster__process *processes[EACH];
    int *spawned, *exited; /* the poller's */
};

static void count_spawned(struct muster__process *process, enum muster_status status,
                          const struct muster_error *error, pid_t pid, int pidfd, void *user_data)
{
    const struct many *many = user_data;
    (void)process, (void)error, (void)pid, (void)pidfd;
    ck_assert_int_eq(status, MUSTER_OK);
    ++*many->spawned;
}

static void count_exited(struct muster__process *process, const struct muster__exit_report *report,
                         void *user_data)
{
    const struct many *many = user_data;
    (void)process;
    ck_assert_int_eq(report->code, 1);
    ++*many->exited;
}

static void *spawn_many(void *data)
{
    struct many *many = data;
    for (int i = 0; i < EACH; i++) {
        struct muster__process_options options = {.descriptors = {-1, -1, -1, -1, -1, -1, -1},
                                                  .arguments = ARGUMENTS("exit", "1"),
                                                  .may_be_copy = copies_wanted,
                                                  .spawned = count_spawned,
                                                  .exited = count_exited,
                                                  .user_data = many};
        MUSTER_CHECK(muster__launcher_spawn(many->launcher, &options, &many->processes[i], NULL) ==
                     MUSTER_OK);
        (void)muster__process_pid(many->processes[i]);
        (void)muster__process_kill(many->processes[i], SIGCONT);
    }
    return NULL;
}

START_TEST(many_threads_may_spawn_at_once)
{
    struct muster__launcher *launcher = new_launcher();
    struct many many[THREADS];
    pthread_t threads[THREADS];
    int spawned = 0;
    int exited = 0;
    for (int i = 0; i < THREADS; i++) {
        many[i] = (struct many){.launcher = launcher, .spawned = &spawned, .exited = &exited};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, spawn_many, &many[i]), 0);
    }
    pump_until(launcher, &exited, THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(spawned, THREADS * EACH);
    ck_assert_int_eq(exited, THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < EACH; j++)
            muster__process_destroy(many[i].processes[j]);
    muster__launcher_destroy(launcher);
}
END_TEST

/* ---- the dead leave nothing ---- */

static void watch_children(struct test_host *host, int pidfds[3])
{
    char line[128];
    long pids[3];
    read_line(host->data, line, sizeof line);
    ck_assert_int_eq(sscanf(line, "%ld %ld %ld", &pids[0], &pids[1], &pids[2]), 3);
    for (int i = 0; i < 3; i++)
        pidfds[i] = watch_pid((pid_t)pids[i]);
}

START_TEST(what_a_host_started_dies_with_it)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct test_host bystander;
    int pidfds[3];
    spawn_host(launcher, &bystander, ARGUMENTS("stubborn"));
    spawn_host(launcher, &host, ARGUMENTS("children"));
    watch_children(&host, pidfds);
    if (_i == 0)
        muster__process_kill(host.process, SIGKILL);
    else
        close_end(&host.data); /* it returns */
    see_exit(launcher, &host);
    for (int i = 0; i < 3; i++)
        see_gone(pidfds[i]);
    ck_assert_int_eq(bystander.exited, 0);
    end_host(&host);
    end_host(&bystander);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_killed_launcher_takes_its_hosts_along_and_another_takes_over)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host hosts[2];
    struct test_host later;
    int children[3];
    spawn_host(launcher, &hosts[0], ARGUMENTS("stubborn"));
    spawn_host(launcher, &hosts[1], ARGUMENTS("children"));
    watch_children(&hosts[1], children);
    pid_t before = muster__launcher_pid(launcher);
    kill(before, SIGKILL);
    for (int i = 0; i < 2; i++) {
        see_exit(launcher, &hosts[i]);
        ck_assert_int_eq(hosts[i].report.cause, MUSTER__EXIT_UNKNOWN);
        end_host(&hosts[i]);
    }
    for (int i = 0; i < 3; i++) /* who left the session of the host as well */
        see_gone(children[i]);
    ck_assert_int_eq(muster__launcher_pid(launcher), 0);
    spawn_host(launcher, &later, ARGUMENTS("exit", "4"));
    ck_assert_int_ne(muster__launcher_pid(launcher), before);
    see_exit(launcher, &later);
    ck_assert_int_eq(later.report.code, 4);
    end_host(&later);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(hosts_die_with_their_launcher_though_nobody_polls)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    spawn_host(launcher, &host, ARGUMENTS("stubborn"));
    int pidfd = watch_pid(host.pid);
    kill(muster__launcher_pid(launcher), SIGKILL);
    see_gone(pidfd);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    long parent = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
    fclose(file);
    ck_assert_int_eq(sscanf(strrchr(text, ')') + 1, " %*c %ld", &parent), 1);
    return (pid_t)parent;
}

START_TEST(a_killed_guard_takes_launcher_hosts_and_grandchildren_along)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct test_host later;
    int children[3];
    spawn_host(launcher, &host, ARGUMENTS("children"));
    watch_children(&host, children);
    int itself = watch_pid(muster__launcher_pid(launcher));
    kill(parent_of(muster__launcher_pid(launcher)), SIGKILL);
    see_exit(launcher, &host);
    for (int i = 0; i < 3; i++)
        see_gone(children[i]);
    see_gone(itself);
    end_host(&host);
    spawn_host(launcher, &later, ARGUMENTS("exit", "4"));
    see_exit(launcher, &later);
    end_host(&later);
    muster__launcher_destroy(launcher);
}
END_TEST

/* Nobody polled since it died. */
START_TEST(a_spawn_after_an_unseen_death_of_the_launcher_works)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct test_host later;
    spawn_host(launcher, &host, ARGUMENTS("stubborn"));
    int itself = watch_pid(muster__launcher_pid(launcher));
    kill(muster__launcher_pid(launcher), SIGKILL);
    see_gone(itself);
    struct muster__process_options options = {0};
    ck_assert_int_eq(begin_host(launcher, &later, options, ARGUMENTS("exit", "5")), MUSTER_OK);
    see_exit(launcher, &later);
    ck_assert_int_eq(later.report.code, 5);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.cause, MUSTER__EXIT_UNKNOWN);
    end_host(&host);
    end_host(&later);
    muster__launcher_destroy(launcher);
}
END_TEST

/* Writes the numbers of all that should die with it to the pipe, then waits to be killed.  `with_fork`: one
 * that it forked without exec lives on and holds a copy of all its descriptors. */
_Noreturn static void be_an_embedder(int report, bool with_fork)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    char line[128];
    spawn_host(launcher, &host, ARGUMENTS("children"));
    read_line(host.data, line, sizeof line);
    pid_t heir = with_fork ? fork() : 0;
    if (with_fork && heir == 0)
        for (;;)
            pause();
    char text[256];
    int length = snprintf(text, sizeof text, "%d %d %s %d\n", (int)muster__launcher_pid(launcher),
                          (int)host.pid, line, (int)heir);
    if (write(report, text, (size_t)length) != length)
        _exit(1);
    for (;;)
        pause();
}

START_TEST(a_killed_parent_leaves_no_host_and_no_grandchild)
{
    int report[2];
    char text[256];
    long pids[6];
    int pidfds[5];
    ck_assert_int_eq(pipe(report), 0);
    pid_t embedder = fork();
    if (embedder == 0)
        be_an_embedder(report[1], _i == 1);
    ssize_t length = read(report[0], text, sizeof text - 1);
    ck_assert_int_gt(length, 0);
    text[length] = '\0';
    ck_assert_int_eq(sscanf(text, "%ld %ld %ld %ld %ld %ld", &pids[0], &pids[1], &pids[2], &pids[3],
                            &pids[4], &pids[5]), 6);
    for (int i = 0; i < 5; i++)
        pidfds[i] = watch_pid((pid_t)pids[i]);
    kill(embedder, SIGKILL);
    waitpid(embedder, NULL, 0);
    for (int i = 0; i < 5; i++)
        see_gone(pidfds[i]);
    if (_i == 1)
        kill((pid_t)pids[5], SIGKILL);
    close(report[0]);
    close(report[1]);
}
END_TEST

/* ---- what goes wrong ---- */

START_TEST(a_missing_program_is_named_in_the_error)
{
    struct muster__launcher *launcher = NULL;
    struct muster__launcher_options options = {.program = "/nowhere/muster-host"};
    struct muster_error error = {0};
    ck_assert_int_eq(muster__launcher_new(&options, &launcher, &error), MUSTER_NOT_FOUND);
    ck_assert_str_eq(error.message, "the program for hosts, /nowhere/muster-host, cannot be run: "
                                    "No such file or directory");
    setenv("MUSTER_HOST_PROGRAM", "/nowhere/else", 1);
    options.program = NULL;
    ck_assert_int_eq(muster__launcher_new(&options, &launcher, &error), MUSTER_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "/nowhere/else"));
    setenv("MUSTER_HOST_PROGRAM", HOST_FIXTURE, 1);
    ck_assert_int_eq(muster__launcher_new(&options, &launcher, &error), MUSTER_OK);
    muster__launcher_destroy(launcher);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_program_that_cannot_be_executed_fails_the_spawn_at_once)
{
    char path[] = "/tmp/muster-not-a-program-XXXXXX";
    int fd = mkstemp(path);
    ck_assert(fd >= 0 && write(fd, "\177ELF?", 5) == 5 && fchmod(fd, 0755) == 0);
    close(fd);
    int before = count_descriptors();
    struct muster__launcher *launcher = NULL;
    struct muster__launcher_options options = {.program = path};
    ck_assert_int_eq(muster__launcher_new(&options, &launcher, NULL), MUSTER_OK);
    struct test_host host;
    struct muster__process_options none = {0};
    ck_assert_int_eq(begin_host(launcher, &host, none, ARGUMENTS("idle")), MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(host.sentence, "cannot run /tmp/muster-not-a-program-"));
    ck_assert_ptr_nonnull(strstr(host.sentence, "Exec format error"));
    end_host(&host);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    muster__launcher_destroy(launcher);
    ck_assert_int_eq(count_descriptors(), before);
    unlink(path);
}
END_TEST

START_TEST(a_program_that_is_no_launcher_fails_the_spawn)
{
    struct muster__launcher *launcher = NULL;
    struct muster__launcher_options options = {.program = _i == 0 ? "/bin/false" : HOST_FIXTURE};
    if (_i == 1)
        setenv("MUSTER_FIXTURE_RAVES", "1", 1);
    ck_assert_int_eq(muster__launcher_new(&options, &launcher, NULL), MUSTER_OK);
    struct test_host host;
    struct muster__process_options none = {0};
    enum muster_status status = begin_host(launcher, &host, none, ARGUMENTS("idle"));
    if (status == MUSTER_OK) {
        pump_until(launcher, &host.spawned, 1);
        ck_assert_int_eq(host.status, MUSTER_SYSTEM);
        ck_assert_msg(strstr(host.sentence, "ended before it had started the host") != NULL, "%s",
                      host.sentence);
    } else { /* it was quicker than the request, twice */
        ck_assert_int_eq(status, MUSTER_SYSTEM);
        ck_assert_msg(strstr(host.sentence, "cannot reach the launcher") != NULL, "%s", host.sentence);
    }
    ck_assert_int_eq(host.exited, 0);
    end_host(&host);
    muster__launcher_destroy(launcher);
}
END_TEST

/* A launcher at the other end of a socket of our own. */
static int run_bare_launcher(pid_t *ret_pid)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int self = watch_pid(getpid());
    char *arguments[] = {"fixture", "--launcher", "--no-cgroup", NULL};
    char *environment[] = {"PATH=/bin", NULL};
    int descriptors[] = {-1, -1, 2, pair[1], self};
    struct muster__spawn_options options = {.program = HOST_FIXTURE,
                                            .arguments = arguments,
                                            .environment = environment,
                                            .descriptors = descriptors,
                                            .descriptor_count = MUSTER__LAUNCHER_FD_COUNT,
                                            .group = -1};
    struct muster__spawn_problem problem;
    int pidfd;
    ck_assert_int_eq(muster__spawn(&options, ret_pid, &pidfd, &problem), MUSTER_OK);
    close(pidfd);
    close(pair[1]);
    close(self);
    return pair[0];
}

static void expect_refusal(int control)
{
    struct muster__launcher_reply reply = {0};
    ck_assert_int_eq(recv(control, &reply, sizeof reply, 0), (ssize_t)sizeof reply);
    ck_assert_int_eq(reply.answer, MUSTER__LAUNCHER_FAILED);
    ck_assert_int_ne(reply.problem, 0);
}

START_TEST(garbage_at_the_launcher_is_refused_and_ends_nothing)
{
    pid_t pid;
    int control = run_bare_launcher(&pid);
    struct muster__launcher_reply runs = {0};
    ck_assert_int_eq(recv(control, &runs, sizeof runs, 0), (ssize_t)sizeof runs);
    ck_assert_int_eq(runs.answer, MUSTER__LAUNCHER_RUNS);
    ck_assert_int_eq(parent_of(runs.pid), pid);
    static char bytes[200000];
    memset(bytes, 'x', sizeof bytes);
    static const size_t sizes[] = {1, 7, sizeof(struct muster__launcher_request), 5000, 65536, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_assert_int_eq(send(control, bytes, sizes[i], 0), (ssize_t)sizes[i]);
        expect_refusal(control);
    }
    ck_assert_int_eq(send(control, bytes, 0, 0), 0); /* empty: no answer, and no end */
    struct muster__launcher_request request = {.magic = MUSTER__LAUNCHER_MAGIC,
                                               .version = MUSTER__LAUNCHER_VERSION,
                                               .wish = MUSTER__LAUNCHER_SPAWN,
                                               .id = 5};
    struct muster__launcher_request bad[] = {request, request, request, request, request};
    bad[1].argument_count = 1; /* but there is no text */
    bad[2].argument_count = UINT32_MAX, bad[2].environment_count = 2;
    bad[3].descriptors = 1u << 4; /* but none came */
    bad[4].wish = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_gt(send(control, &bad[i], sizeof bad[i], 0), 0);
        expect_refusal(control);
    }
    close(control);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

START_TEST(a_launcher_without_its_socket_says_so)
{
    pid_t pid;
    int pidfd;
    int status;
    char *arguments[] = {"fixture", "--launcher", NULL};
    char *environment[] = {NULL};
    int descriptors[] = {-1, -1, -1};
    struct muster__spawn_options options = {.program = HOST_FIXTURE,
                                            .arguments = arguments,
                                            .environment = environment,
                                            .descriptors = descriptors,
                                            .descriptor_count = 3,
                                            .group = -1};
    struct muster__spawn_problem problem;
    ck_assert_int_eq(muster__spawn(&options, &pid, &pidfd, &problem), MUSTER_OK);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    close(pidfd);
}
END_TEST

START_TEST(a_launcher_that_stands_still_fills_the_queue_and_then_answers_all)
{
    enum { MOST = 2000 };
    static struct test_host hosts[MOST];
    struct muster__launcher *launcher = new_launcher();
    struct test_host first;
    spawn_host(launcher, &first, ARGUMENTS("stubborn"));
    static char filler[16000];
    memset(filler, 'f', sizeof filler - 1); /* so that few fill it */
    kill(muster__launcher_pid(launcher), SIGSTOP);
    int count = 0;
    enum muster_status status = MUSTER_OK;
    while (count < MOST && status == MUSTER_OK) {
        struct muster__process_options options = {0};
        status = begin_host(launcher, &hosts[count], options, ARGUMENTS("exit", "0", filler));
        count += status == MUSTER_OK;
    }
    ck_assert_int_eq(status, MUSTER_QUEUE_FULL);
    end_host(&hosts[count]);
    ck_assert_int_gt(count, 2);
    kill(muster__launcher_pid(launcher), SIGCONT);
    for (int i = 0; i < count; i++) {
        see_exit(launcher, &hosts[i]);
        end_host(&hosts[i]);
    }
    end_host(&first);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(arguments_that_are_too_long_are_refused)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host host;
    struct muster__process_options options = {0};
    char *argument = calloc(1, MUSTER__LAUNCHER_TEXT_MAX + 1);
    memset(argument, 'a', MUSTER__LAUNCHER_TEXT_MAX);
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS(argument)),
                     MUSTER_INVALID_ARGUMENT);
    end_host(&host);
    free(argument);
    muster__launcher_destroy(launcher);
}
END_TEST

/* ---- copies ---- */

static void expect_copy(struct muster__launcher *launcher, struct muster__process_options options, bool copy)
{
    struct test_host host;
    char line[8192];
    ck_assert_int_eq(begin_host(launcher, &host, options, ARGUMENTS("describe")), MUSTER_OK);
    read_line(host.data, line, sizeof line);
    ck_assert_msg(has(line, copy ? "copy=1" : "copy=0"), "%s", line);
    see_exit(launcher, &host);
    ck_assert_int_eq(host.report.code, 0);
    end_host(&host);
}

START_TEST(a_host_is_a_copy_only_if_it_may_be_one)
{
    struct muster__launcher *launcher = new_launcher();
    struct muster__process_options options = {0};
    expect_copy(launcher, options, false);
    want_copies();
    expect_copy(launcher, options, true);
    copies_wanted = false;
    expect_copy(launcher, options, false);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_host_with_an_environment_of_its_own_is_no_copy)
{
    struct muster__launcher *launcher = new_launcher_with(ARGUMENTS("MORE=1", FIXTURE_SANITIZERS));
    struct muster__process_options options = {0};
    want_copies();
    expect_copy(launcher, options, true);
    options.environment = ARGUMENTS("MORE=2");
    expect_copy(launcher, options, false);
    options.environment = ARGUMENTS("AND=1");
    expect_copy(launcher, options, false);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(where_nothing_can_be_loaded_hosts_are_no_copies)
{
    struct muster__launcher *launcher =
        new_launcher_with(ARGUMENTS("MUSTER_FIXTURE_CANNOT_LOAD=1", FIXTURE_SANITIZERS));
    struct muster__process_options options = {0};
    want_copies();
    expect_copy(launcher, options, false);
    expect_copy(launcher, options, false);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_copy_that_crashes_takes_no_other_along)
{
    struct muster__launcher *launcher = new_launcher();
    struct test_host bystander;
    struct test_host host;
    char line[16];
    want_copies();
    spawn_host(launcher, &bystander, ARGUMENTS("idle"));
    read_line(bystander.data, line, sizeof line);
    for (int i = 0; i < 3; i++) {
        spawn_host(launcher, &host, ARGUMENTS("crash", "segv"));
        see_exit(launcher, &host);
        ck_assert_int_eq(host.report.signal, SIGSEGV);
        end_host(&host);
    }
    ck_assert_int_eq(bystander.exited, 0);
    close_end(&bystander.data);
    see_exit(launcher, &bystander);
    ck_assert_int_eq(bystander.report.code, 0);
    end_host(&bystander);
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(fifty_copies_live_side_by_side)
{
    enum { MANY = 50 };
    static struct test_host hosts[MANY];
    struct muster__launcher *launcher = new_launcher();
    char line[64];
    want_copies();
    for (int i = 0; i < MANY; i++) {
        spawn_host(launcher, &hosts[i], ARGUMENTS("idle"));
        read_line(hosts[i].data, line, sizeof line);
        ck_assert_str_eq(line, "ready");
    }
    for (int i = 0; i < MANY; i++) { /* no other holds its end of that */
        ck_assert_int_eq(hosts[i].exited, 0);
        close_end(&hosts[i].data);
        see_exit(launcher, &hosts[i]);
        ck_assert_int_eq(hosts[i].report.code, 0);
        end_host(&hosts[i]);
    }
    muster__launcher_destroy(launcher);
}
END_TEST

START_TEST(a_copy_that_cannot_be_set_up_says_which_step_failed)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int descriptors[] = {-1, -1, 2};
    struct muster__spawn_options options = {.descriptors = descriptors, .descriptor_count = 3, .group = full};
    struct muster__spawn_problem problem = {0};
    pid_t pid = -1;
    int pidfd = -1;
    int before = count_descriptors();
    ck_assert_int_ge(full, 0);
    ck_assert_int_eq(muster__spawn_copy(&options, &pid, &pidfd, &problem), MUSTER_SYSTEM);
    ck_assert_str_eq(problem.step, "put into its control group");
    ck_assert_int_eq(problem.problem, ENOSPC);
    ck_assert_int_eq(count_descriptors(), before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    close(full);
}
END_TEST

/* ---- control groups, on a folder that looks like one ---- */

static void make_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void expect_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    char found[64] = "";
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(found, sizeof found, file));
    fclose(file);
    unlink(path);
    ck_assert_str_eq(found, text);
}

START_TEST(a_group_is_limited_joined_and_removed)
{
    char root[] = "/tmp/muster-groups-XXXXXX";
    char folder[64];
    int join = -1;
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(folder, sizeof folder, "%s/one", root);
    int fd = open(root, O_RDONLY | O_DIRECTORY);
    ck_assert_int_eq(muster__launcher_cgroup_make(fd, "one", 1000, 5, &join), -1); /* not limited */
    ck_assert_int_eq(access(folder, F_OK), -1);
    ck_assert_int_eq(mkdir(folder, 0755), 0);
    make_file(folder, "memory.max", "");
    make_file(folder, "pids.max", "");
    make_file(folder, "cgroup.procs", "");
    make_file(folder, "cgroup.kill", "");
    make_file(folder, "memory.events", "low 0\noom 3\noom_kill 2\n");
    int group = muster__launcher_cgroup_make(fd, "one", 1000, 5, &join);
    ck_assert(group >= 0 && join >= 0);
    ck_assert_uint_eq(muster__launcher_cgroup_oom_kills(group), 2);
    muster__launcher_cgroup_kill(group);
    expect_file(folder, "memory.max", "1000");
    expect_file(folder, "pids.max", "5");
    expect_file(folder, "cgroup.kill", "1");
    unlinkat(group, "memory.events", 0);
    unlinkat(group, "cgroup.procs", 0);
    close(join);
    close(group);
    ck_assert(muster__launcher_cgroup_remove(fd, "one"));
    ck_assert_int_eq(access(folder, F_OK), -1);
    close(fd);
    ck_assert_int_eq(muster__launcher_cgroup_open(root), -1); /* a plain folder is no cgroup */
    rmdir(root);
}
END_TEST

/* ---- sentences ---- */

static const struct {
    struct muster__exit_report report;
    const char *sentence;
} sentences[] = {
    {{.cause = MUSTER__EXIT_BY_ITSELF}, "host 3 (pid 123) exited with code 0"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .code = 7}, "host 3 (pid 123) exited with code 7"},
    {{.cause = MUSTER__EXIT_KILLED, .signal = SIGKILL, .oom = true, .peak_memory = 512000000},
     "host 3 (pid 123) was killed by SIGKILL"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGKILL, .peak_memory = 512000000},
     "host 3 (pid 123) was killed by SIGKILL"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGKILL, .oom = true, .peak_memory = 512000000},
     "host 3 (pid 123) was killed by SIGKILL, likely out of memory (peak 512 MB)"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGKILL, .peak_memory = 500000000,
      .memory_limit = 512000000},
     "host 3 (pid 123) was killed by SIGKILL, likely out of memory (peak 500 MB, limit 512 MB)"},
    {{.cause = MUSTER__EXIT_MEMORY_LIMIT, .signal = SIGKILL, .peak_memory = 513000000,
      .memory_limit = 512000000},
     "host 3 (pid 123) was killed, out of memory: it grew beyond its limit (peak 513 MB, limit 512 MB)"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGXCPU, .cpu_limit_s = 10},
     "host 3 (pid 123) was killed by SIGXCPU: it used up its 10 s of CPU time"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGKILL, .cpu_limit_s = 10, .cpu_us = 10900000},
     "host 3 (pid 123) was killed by SIGKILL: it used up its 10 s of CPU time"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGKILL, .cpu_limit_s = 10, .cpu_us = 900000},
     "host 3 (pid 123) was killed by SIGKILL"},
    {{.cause = MUSTER__EXIT_CHILDREN_LIMIT, .signal = SIGKILL, .children_limit = 5},
     "host 3 (pid 123) was killed: it had started more than 5 processes, its limit"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGSEGV}, "host 3 (pid 123) died of SIGSEGV"},
    {{.cause = MUSTER__EXIT_BY_ITSELF, .signal = 40}, "host 3 (pid 123) died of signal 40"},
    {{.cause = MUSTER__EXIT_UNKNOWN},
     "host 3 (pid 123) is gone; its launcher died before it could say how"},
};

START_TEST(the_end_is_put_into_a_sentence)
{
    char text[256];
    int length = muster__exit_describe(text, sizeof text, "host 3", 123, &sentences[_i].report, NULL);
    ck_assert_str_eq(text, sentences[_i].sentence);
    ck_assert_int_eq(length, (int)strlen(text));
    char small[10];
    ck_assert_int_eq(muster__exit_describe(small, sizeof small, "host 3", 123, &sentences[_i].report,
                                           NULL), length);
    ck_assert_str_eq(small, "host 3 (p");
    ck_assert_int_eq(muster__exit_describe(NULL, 0, "host 3", 123, &sentences[_i].report, NULL), length);
}
END_TEST

START_TEST(last_words_join_the_sentence_and_are_made_printable)
{
    char text[512];
    char longer[300];
    memset(longer, 'y', sizeof longer);
    struct muster__exit_report report = {.cause = MUSTER__EXIT_BY_ITSELF, .signal = SIGSEGV};
    struct muster__last_words words = {.signal = SIGSEGV, .has_address = true, .address = 0x10,
                                       .worker = 7, .turn = 3};
    muster__exit_describe(text, sizeof text, "host 3", 9, &report, &words);
    ck_assert_str_eq(text, "host 3 (pid 9) died of SIGSEGV at address 0x10 while worker 7 ran its turn 3");
    words.worker = MUSTER__LAST_WORDS_NOBODY;
    words.has_address = false;
    words.text = (struct muster_bytes){"a\nb\033c", 5};
    muster__exit_describe(text, sizeof text, "host 3", 9, &report, &words);
    ck_assert_str_eq(text, "host 3 (pid 9) died of SIGSEGV: a b?c");
    words.text = (struct muster_bytes){longer, sizeof longer};
    ck_assert_int_lt(muster__exit_describe(text, sizeof text, "host 3", 9, &report, &words), 250);
    ck_assert_ptr_nonnull(strstr(text, "yyy..."));
}
END_TEST

/* A case whose hosts are executed (0), or copies (1). */
static TCase *case_of(Suite *suite, const char *name, const char *of_copies, int way)
{
    TCase *made = tcase_create(way == 0 ? name : of_copies);
    tcase_set_timeout(made, 60);
    if (way == 1)
        tcase_add_checked_fixture(made, want_copies, NULL);
    suite_add_tcase(suite, made);
    return made;
}

static void add_both_ways(Suite *suite, int way)
{
    TCase *ends = case_of(suite, "ends", "ends, copies", way);
    tcase_add_loop_test(ends, a_host_that_exits_tells_its_code, 0, 3);
    tcase_add_test(ends, a_kill_is_known_to_be_ours_or_not);
    tcase_add_test(ends, a_kill_that_comes_too_late_is_not_what_it_died_of);
    tcase_add_test(ends, a_kill_before_it_runs_is_kept);
    tcase_add_test(ends, a_process_given_up_is_killed_and_not_heard_of);
    tcase_add_test(ends, destroying_the_launcher_ends_every_host);
    tcase_add_test(ends, many_hosts_come_and_go_and_leave_no_descriptor);
    tcase_add_test(ends, an_edge_triggered_poller_misses_nothing);
    TCase *given = case_of(suite, "given", "given, copies", way);
    tcase_add_test(given, a_host_finds_its_descriptors_and_no_others);
    tcase_add_test(given, a_host_gets_a_clean_environment_and_its_limits);
    tcase_add_test(given, a_host_shows_its_name);
    tcase_add_test(given, what_a_host_started_is_read_after_its_death);
    tcase_add_test(given, a_host_beyond_its_memory_is_killed_for_it);
    tcase_add_test(given, a_host_that_used_up_its_cpu_time_is_killed);
    TCase *embedders = case_of(suite, "embedders", "embedders, copies", way);
    tcase_add_test(embedders, an_embedder_that_ignores_sigchld_hears_of_every_end);
    tcase_add_test(embedders, an_embedder_that_waits_for_any_child_sees_none_of_ours);
    tcase_add_test(embedders, an_embedder_that_adopts_orphans_keeps_no_zombie);
    tcase_add_test(embedders, the_end_of_the_thread_that_spawned_ends_no_host);
    tcase_add_test(embedders, many_threads_may_spawn_at_once);
    TCase *nothing_left = case_of(suite, "nothing left", "nothing left, copies", way);
    tcase_add_loop_test(nothing_left, what_a_host_started_dies_with_it, 0, 2);
    tcase_add_test(nothing_left, a_killed_launcher_takes_its_hosts_along_and_another_takes_over);
    tcase_add_test(nothing_left, a_killed_guard_takes_launcher_hosts_and_grandchildren_along);
    tcase_add_test(nothing_left, hosts_die_with_their_launcher_though_nobody_polls);
    tcase_add_test(nothing_left, a_spawn_after_an_unseen_death_of_the_launcher_works);
    tcase_add_loop_test(nothing_left, a_killed_parent_leaves_no_host_and_no_grandchild, 0, 2);
}

static void add_copies(Suite *suite)
{
    TCase *copies = case_of(suite, "copies", NULL, 0);
    tcase_add_test(copies, a_host_is_a_copy_only_if_it_may_be_one);
    tcase_add_test(copies, a_host_with_an_environment_of_its_own_is_no_copy);
    tcase_add_test(copies, where_nothing_can_be_loaded_hosts_are_no_copies);
    tcase_add_test(copies, a_copy_that_crashes_takes_no_other_along);
    tcase_add_test(copies, fifty_copies_live_side_by_side);
    tcase_add_test(copies, a_copy_that_cannot_be_set_up_says_which_step_failed);
}

int main(void)
{
    Suite *suite = suite_create("launcher");
    for (int way = 0; way < 2; way++)
        add_both_ways(suite, way);
    add_copies(suite);
    TCase *wrong = tcase_create("wrong");
    tcase_set_timeout(wrong, 60);
    tcase_add_test(wrong, a_missing_program_is_named_in_the_error);
    tcase_add_test(wrong, a_program_that_cannot_be_executed_fails_the_spawn_at_once);
    tcase_add_loop_test(wrong, a_program_that_is_no_launcher_fails_the_spawn, 0, 2);
    tcase_add_test(wrong, garbage_at_the_launcher_is_refused_and_ends_nothing);
    tcase_add_test(wrong, a_launcher_without_its_socket_says_so);
    tcase_add_test(wrong, a_launcher_that_stands_still_fills_the_queue_and_then_answers_all);
    tcase_add_test(wrong, arguments_that_are_too_long_are_refused);
    suite_add_tcase(suite, wrong);
    TCase *words = tcase_create("groups and sentences");
    tcase_add_test(words, a_group_is_limited_joined_and_removed);
    tcase_add_loop_test(words, the_end_is_put_into_a_sentence, 0, sizeof sentences / sizeof *sentences);
    tcase_add_test(words, last_words_join_the_sentence_and_are_made_printable);
    suite_add_tcase(suite, words);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
