/* tests/host_harness.h - starts the fixture host through a launcher and drives it by hand, with bounds. */
#ifndef HOST_HARNESS_H
#define HOST_HARNESS_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "remote/last_words.h"
#include "remote/launcher.h"
#include "runtime/check.h"

#define BOUND_MS 20000

/* What the sanitizers need to leave the signals of the fixture alone. */
#define FIXTURE_SANITIZERS                                                                         \
    "ASAN_OPTIONS=handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:"   \
    "handle_sigtrap=0:use_sigaltstack=0:detect_leaks=0:allow_user_segv_handler=1",                 \
        "TSAN_OPTIONS=handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigill=0:"               \
        "handle_sigfpe=0:handle_sigtrap=0:report_signal_unsafe=0:use_sigaltstack=0",               \
        "UBSAN_OPTIONS=handle_segv=0"

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Hosts may be copies of their launcher; each test runs in a process of its own. */
static bool copies_wanted;

static inline void want_copies(void)
{
    copies_wanted = true;
}

struct test_host {
    struct muster__process *process;
    int data;       /* our end; -1: closed */
    int last_words; /* read end */
    int errors;     /* read end */
    int spawned;    /* times */
    int exited;
    enum muster_status status;
    char sentence[256];
    pid_t pid;
    struct muster__exit_report report;
};

static inline void on_spawned(struct muster__process *process, enum muster_status status,
                              const struct muster_error *error, pid_t pid, int pidfd, void *user_data)
{
    struct test_host *host = user_data;
    ck_assert(host->process == NULL || host->process == process);
    ck_assert_int_eq(host->exited, 0);
    ck_assert((status == MUSTER_OK) == (pidfd >= 0));
    host->spawned++;
    host->status = status;
    host->pid = pid;
    snprintf(host->sentence, sizeof host->sentence, "%s", error->message == NULL ? "" : error->message);
}

static inline void on_exited(struct muster__process *process, const struct muster__exit_report *report,
                             void *user_data)
{
    struct test_host *host = user_data;
    (void)process;
    ck_assert_int_eq(host->spawned, 1);
    host->exited++;
    host->report = *report;
}

static inline void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Fills in what is not set; the caller may have set limits, a name, an environment. */
static inline enum muster_status begin_host(struct muster__launcher *launcher, struct test_host *host,
                                            struct muster__process_options options,
                                            const char *const *arguments)
{
    int data[2];
    int words[2];
    int errors[2];
    memset(host, 0, sizeof *host);
    MUSTER_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data) == 0);
    MUSTER_CHECK(pipe2(words, O_CLOEXEC) == 0 && pipe2(errors, O_CLOEXEC) == 0);
    fcntl(words[0], F_SETFL, O_NONBLOCK);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    host->data = data[0];
    host->last_words = words[0];
    host->errors = errors[0];
    options.may_be_copy = copies_wanted;
    options.arguments = arguments;
    options.descriptors[MUSTER__HOST_FD_ERRORS] = errors[1];
    options.descriptors[MUSTER__HOST_FD_DATA] = data[1];
    options.descriptors[MUSTER__HOST_FD_LAST_WORDS] = words[1];
    if (options.descriptors[MUSTER__HOST_FD_CHANNEL] == 0)
        options.descriptors[MUSTER__HOST_FD_CHANNEL] = -1;
    if (options.descriptors[MUSTER__HOST_FD_MEMORY] == 0)
        options.descriptors[MUSTER__HOST_FD_MEMORY] = -1;
    options.spawned = on_spawned;
    options.exited = on_exited;
    options.user_data = host;
    struct muster_error error = {0};
    enum muster_status status = muster__launcher_spawn(launcher, &options, &host->process, &error);
    snprintf(host->sentence, sizeof host->sentence, "%s", error.message == NULL ? "" : error.message);
    muster_error_clean_up(&error);
    close(data[1]);
    close(words[1]);
    close(errors[1]);
    return status;
}

static inline void end_host(struct test_host *host)
{
    muster__process_destroy(host->process);
    host->process = NULL;
    close_end(&host->data);
    close_end(&host->last_words);
    close_end(&host->errors);
}

/* Until *counter has reached `count`. */
static inline void pump_until(struct muster__launcher *launcher, const int *counter, int count)
{
    uint64_t until_us = muster__now_us() + BOUND_MS * UINT64_C(1000);
    while (*counter < count) {
        struct pollfd ready = {.fd = muster__launcher_fd(launcher), .events = POLLIN};
        ck_assert_msg(muster__now_us() < until_us, "nothing came within the bound");
        poll(&ready, 1, BOUND_MS);
        muster__launcher_on_ready(launcher);
    }
}

static inline void spawn_host(struct muster__launcher *launcher, struct test_host *host,
                              const char *const *arguments)
{
    struct muster__process_options options = {.name = "host"};
    enum muster_status status = begin_host(launcher, host, options, arguments);
    ck_assert_msg(status == MUSTER_OK, "%s", host->sentence);
    pump_until(launcher, &host->spawned, 1);
    ck_assert_msg(host->status == MUSTER_OK, "%s", host->sentence);
}

static inline void see_exit(struct muster__launcher *launcher, const struct test_host *host)
{
    pump_until(launcher, &host->exited, 1);
    ck_assert_int_eq(host->exited, 1);
}

/* A line of its answer, without the end. */
static inline void read_line(int fd, char *text, size_t size)
{
    size_t length = 0;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ck_assert_msg(poll(&ready, 1, BOUND_MS) > 0, "the host says nothing");
        ssize_t got = recv(fd, text + length, 1, 0);
        ck_assert_msg(got == 1, "the host said nothing more after \"%.*s\"", (int)length, text);
        if (text[length] == '\n')
            break;
        ck_assert_uint_lt(++length, size);
    }
    text[length] = '\0';
}

static inline struct muster__launcher *new_launcher_with(const char *const *environment)
{
    struct muster__launcher *launcher = NULL;
    struct muster__launcher_options options = {.program = HOST_FIXTURE, .cgroup = "", .environment = environment};
    struct muster_error error = {0};
    enum muster_status status = muster__launcher_new(&options, &launcher, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
    return launcher;
}

static inline struct muster__launcher *new_launcher(void)
{
    return new_launcher_with(ARGUMENTS(FIXTURE_SANITIZERS));
}

static inline int watch_pid(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ck_assert_msg(pidfd >= 0, "process %d: %s", (int)pid, strerror(errno));
    return pidfd;
}

/* Within the bound; closes the pidfd. */
static inline void see_gone(int pidfd)
{
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    ck_assert_msg(poll(&gone, 1, BOUND_MS) == 1, "a process is still there");
    close(pidfd);
}

static inline bool is_gone(int pidfd)
{
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    return poll(&gone, 1, 0) == 1;
}

#endif
