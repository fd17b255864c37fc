/* cli/run.c - `muster run`: one worker on a pool of its own, without a coordinator.
 *
 * The main thread waits: for the worker, for signals, for the time to be over.  The worker's own thread writes
 * what the script prints, and tells the main thread, by one eventfd, when something has to be decided.
 * The exit code is the first reason for the end that came.
 *
 * A dedicated worker ends when it closes, at its first uncaught error, or when nothing keeps it alive.  A
 * service worker is installed and activated and then asked to stop, which waits for what holds it. */
#include "cli/command.h"
#include "cli/options.h"
#include "runtime/engine_table.h"
#include "runtime/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <unistd.h>

const char muster__run_usage[] =
    "muster run [--engine js|lua] [--type dedicated|service] [--name N] [--timeout TIME] SCRIPT [ARG...]";

/* An interrupted script has so long to be gone; then the process ends around it. */
#define CANCEL_TIMEOUT_US 2000000

/* What the main thread is told; bits. */
enum { TOLD_STARTED = 1, TOLD_SETTLED = 2, TOLD_CANCEL = 4, TOLD_GONE = 8, TOLD_WEDGED = 16 };

struct run {
    const char *engine_name, *type, *name, *script;
    uint64_t timeout_ms;
    bool is_service;

    struct muster__pool *pool;
    struct muster__worker *worker;
    struct muster__loader loader;
    struct muster__request request; /* install, then activate */
    unsigned steps;                 /* of those two that were begun */
    int event_fd, signal_fd;
    uint64_t deadline_us; /* UINT64_MAX: none */
    bool is_canceled, is_gone;

    /* Written by both threads. */
    atomic_uint told;
    atomic_int code;       /* the first reason wins; -1: none yet */
    atomic_bool is_silent; /* a dedicated worker has failed: what it still prints is not wanted */
};

static void set_code(struct run *run, int code)
{
    int none = -1;
    (void)atomic_compare_exchange_strong(&run->code, &none, code);
}

/* Thread: any. */
static void tell(struct run *run, unsigned what)
{
    static const uint64_t one = 1;
    atomic_fetch_or(&run->told, what);
    if (write(run->event_fd, &one, sizeof(one)) < 0) {
        /* the counter is full: then it is readable */
    }
}

/* ---- printing; thread: the worker's ---- */

/* Answers 0 or an errno. */
static int write_line(int fd, const char *text, size_t length)
{
    char end = '\n';
    struct iovec parts[] = {{(void *)text, length}, {&end, 1}};
    for (size_t i = 0; i < 2;) {
        ssize_t written = writev(fd, parts + i, (int)(2 - i));
        if (written < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            (void)poll(&ready, 1, -1);
            continue;
        }
        if (written < 0 && errno != EINTR)
            return errno;
        for (; i < 2 && written >= (ssize_t)parts[i].iov_len; i++)
            written -= (ssize_t)parts[i].iov_len;
        if (i < 2 && written > 0) {
            parts[i].iov_base = (char *)parts[i].iov_base + written;
            parts[i].iov_len -= (size_t)written;
        }
    }
    return 0;
}

static void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    struct run *run = user_data;
    bool is_error = level == MUSTER_LOG_ERROR || level == MUSTER_LOG_WARNING;
    if (atomic_load(&run->is_silent) || write_line(is_error ? 2 : 1, text, length) != EPIPE || is_error)
        return;
    /* Nobody reads any more.  The signal that says so is blocked on muster's threads. */
    atomic_store(&run->is_silent, true);
    set_code(run, 128 + SIGPIPE);
    tell(run, TOLD_CANCEL);
}

static const char *path_of(const char *file)
{
    return strncmp(file, "file:///", 8) == 0 && !strchr(file, '%') ? file + 7 : file;
}

static void print_error(const struct run *run, const struct muster_error *error, enum muster_status status)
{
    const char *message = error && error->message ? error->message : muster_status_sentence(status);
    const char *name = error ? error->name : NULL;
    if (!error || !error->file) {
        bool has_place = name == NULL && strstr(message, run->script);
        fprintf(stderr, "muster: %s%s%s%s%s\n", has_place ? "" : run->script, has_place ? "" : ": ",
                name ? name : "", name ? ": " : "", message);
        return;
    }
    const char *stack = error->stack ? error->stack : "";
    size_t length = strlen(stack);
    while (length && stack[length - 1] == '\n')
        length--;
    fputs(path_of(error->file), stderr);
    if (error->line > 0)
        fprintf(stderr, ":%d", error->line);
    if (error->line > 0 && error->column > 0)
        fprintf(stderr, ":%d", error->column);
    fputs(": ", stderr);
    fprintf(stderr, "%s%s%s%s%.*s\n", name ? name : "", name ? ": " : "", message, length ? "\n" : "", (int)length,
            stack);
}

/* ---- what the worker says; thread: its own ---- */

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct run *run = user_data;
    if (status == MUSTER_OK) {
        if (run->is_service)
            tell(run, TOLD_STARTED);
        return; /* else nothing has to be decided */
    }
    if (!atomic_load(&run->is_silent) && status != MUSTER_TERMINATED) /* that one was our doing */
        print_error(run, error, status);
    atomic_store(&run->is_silent, true);
    set_code(run, MUSTER__EXIT_FAILED);
}

static void on_report(void *user_data, const struct muster_error *error)
{
    struct run *run = user_data;
    if (atomic_load(&run->is_silent))
        return;
    print_error(run, error, error->status);
    set_code(run, MUSTER__EXIT_FAILED);
    if (run->is_service)
        return;
    atomic_store(&run->is_silent, true);
    muster__worker_stop(run->worker);
    tell(run, TOLD_CANCEL);
}

static void on_close_self(void *user_data)
{
    struct run *run = user_data;
    muster__worker_stop(run->worker);
}

static void on_idle(void *user_data)
{
    struct run *run = user_data;
    if (!run->is_service)
        muster__worker_stop(run->worker);
}

static void on_skip_waiting(void *user_data)
{
    (void)user_data; /* there is no other version to wait for */
}

static void on_wedged(void *user_data)
{
    tell(user_data, TOLD_WEDGED);
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct run *run = user_data;
    if (report->status != MUSTER_OK && report->status != MUSTER_TERMINATED &&
        atomic_load(&run->code) < 0) {
        fprintf(stderr, "muster: %s: %s\n", run->script, muster_status_sentence(report->status));
        set_code(run, MUSTER__EXIT_FAILED);
    }
    tell(run, TOLD_GONE);
}

static const struct muster__worker_listener listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_skip_waiting,
    .close_self = on_close_self,
    .wedged = on_wedged,
    .gone = on_gone,
    .idle = on_idle,
};

/* ---- the life of a service worker ---- */

static void lifecycle_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct run *run = MUSTER_CONTAINER_OF(request, struct run, request);
    if (outcome->status == MUSTER_OK || outcome->status == MUSTER_PASSED /* no listener for it */ ||
        outcome->status == MUSTER_TERMINATED /* it closed itself, or we ended it */)
        return;
    if (!atomic_load(&run->is_silent)) {
        fprintf(stderr, "muster: %s: %s failed\n", run->script, request->name);
        print_error(run, outcome->error, outcome->status);
    }
    set_code(run, MUSTER__EXIT_FAILED);
}

/* It is ours again only when nobody holds it any more. */
static void lifecycle_destroyed(struct muster__request *request)
{
    tell(MUSTER_CONTAINER_OF(request, struct run, request), TOLD_SETTLED);
}

static const struct muster__request_class lifecycle_class = {lifecycle_settled, lifecycle_destroyed};

/* Thread: main.  install, then activate, then: end when nothing holds it. */
static void next_step(struct run *run)
{
    static const char *const names[] = {"install", "activate"};
    if (run->is_canceled)
        return;
    if (run->steps == 2 || atomic_load(&run->code) == MUSTER__EXIT_FAILED) {
        muster__worker_stop(run->worker);
        return;
    }
    muster__request_init(&run->request, &lifecycle_class, MUSTER__REQUEST_LIFECYCLE, names[run->steps++]);
    muster__worker_control(run->worker, &run->request);
    muster__request_release(&run->request);
}

/* ---- the main thread ---- */

static void cancel(struct run *run)
{
    if (run->is_canceled)
        return;
    run->is_canceled = true;
    atomic_store(&run->is_silent, true);
    run->deadline_us = muster__now_us() + CANCEL_TIMEOUT_US;
    muster__worker_cancel(run->worker);
}

/* The script did not react: what it still does ends with the process. */
static _Noreturn void leave(struct run *run)
{
    _exit(atomic_load(&run->code));
}

static void react(struct run *run)
{
    unsigned told = atomic_exchange(&run->told, 0);
    if (told & TOLD_GONE) {
        run->is_gone = true;
        return;
    }
    if (told & (TOLD_STARTED | TOLD_SETTLED))
        next_step(run);
    if (told & TOLD_WEDGED) {
        if (atomic_load(&run->code) < 0)
            fprintf(stderr, "muster: %s: %s\n", run->script, muster_status_sentence(MUSTER_WEDGED));
        set_code(run, MUSTER__EXIT_FAILED);
        leave(run);
    }
    if (told & TOLD_CANCEL)
        cancel(run);
}

static void time_is_over(struct run *run)
{
    if (run->is_canceled)
        leave(run);
    atomic_store(&run->is_silent, true);
    fprintf(stderr, "muster: %s: it did not end within its --timeout\n", run->script);
    set_code(run, MUSTER__EXIT_TIMED_OUT);
    cancel(run);
}

static void signaled(struct run *run)
{
    struct signalfd_siginfo signal;
    if (read(run->signal_fd, &signal, sizeof(signal)) != sizeof(signal))
        return;
    if (run->is_canceled)
        _exit(128 + (int)signal.ssi_signo); /* the second time: at once */
    set_code(run, 128 + (int)signal.ssi_signo);
    cancel(run);
}

static int milliseconds_left(const struct run *run)
{
    if (run->deadline_us == UINT64_MAX)
        return -1;
    uint64_t now_us = muster__now_us();
    uint64_t left_ms = run->deadline_us > now_us ? (run->deadline_us - now_us + 999) / 1000 : 0;
    return left_ms < 1000000 ? (int)left_ms : 1000000;
}

static void wait_for_end(struct run *run)
{
    struct pollfd fds[] = {{.fd = run->event_fd, .events = POLLIN}, {.fd = run->signal_fd, .events = POLLIN}};
    while (!run->is_gone) {
        int ready = poll(fds, 2, milliseconds_left(run));
        if (ready > 0 && fds[0].revents) {
            uint64_t count;
            if (read(run->event_fd, &count, sizeof(count)) == sizeof(count))
                react(run);
        }
        if (ready > 0 && fds[1].revents)
            signaled(run);
        if (!run->is_gone && muster__now_us() >= run->deadline_us)
            time_is_over(run);
    }
}

static enum muster_status start_worker(struct run *run, const struct muster__engine *engine,
                                       const char *const *arguments)
{
    const struct muster__pool_options pool = {.threads = 1, .name = "run"};
    enum muster_status status = muster__pool_new(&pool, &run->pool);
    if (status != MUSTER_OK)
        return status;
    const struct muster__worker_options options = {
        .pool = run->pool,
        .engine = engine,
        .loader = &run->loader,
        .type = run->is_service ? MUSTER__WORKER_SERVICE : MUSTER__WORKER_DEDICATED,
        .script_url = run->script,
        .name = run->name,
        .scope = run->is_service ? "/" : NULL,
        .arguments = arguments,
        .listener = &listener,
        .user_data = run,
    };
    return muster__worker_new(&options, &run->worker); /* writes run->worker before the first turn */
}

/* Before any thread exists, so that all inherit the mask. */
static bool open_descriptors(struct run *run)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    run->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    run->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return run->signal_fd >= 0 && run->event_fd >= 0;
}

static int run_worker(struct run *run, const struct muster__engine *engine, const char *const *arguments)
{
    if (!open_descriptors(run)) {
        fprintf(stderr, "muster: cannot wait for signals: %s\n", strerror(errno));
        return MUSTER__EXIT_FAILED;
    }
    if (run->timeout_ms)
        run->deadline_us = muster__now_us() + run->timeout_ms * 1000;
    enum muster_status status = start_worker(run, engine, arguments);
    if (status == MUSTER_OK) {
        wait_for_end(run);
        muster__worker_release(run->worker);
        set_code(run, MUSTER__EXIT_OK);
    } else {
        fprintf(stderr, "muster: cannot start a worker: %s\n", muster_status_sentence(status));
        set_code(run, MUSTER__EXIT_FAILED);
    }
    if (run->pool && muster__pool_destroy(run->pool))
        _exit(atomic_load(&run->code)); /* a thread that was lost still runs in here */
    close(run->signal_fd);
    close(run->event_fd);
    return atomic_load(&run->code);
}

/* NULL: told what is wrong; *ret_code is the exit code. */
static const struct muster__engine *choose_engine(const struct run *run, int *ret_code)
{
    const char *name = run->engine_name;
    if (name && strcmp(name, "js") && strcmp(name, "lua")) {
        fprintf(stderr, "muster: --engine wants js or lua, not %s\n", name);
        *ret_code = MUSTER__EXIT_USAGE;
        return NULL;
    }
    struct muster_error error = {0};
    const struct muster__engine *engine =
        muster__engine_find(name ? name : muster__engine_for_script(run->script), &error);
    if (!engine)
        fprintf(stderr, "muster: %s\n", error.message ? error.message : muster_status_sentence(error.status));
    *ret_code = MUSTER__EXIT_FAILED;
    muster_error_clean_up(&error);
    return engine;
}

int muster__command_run(int argc, char **argv)
{
    struct run run = {.type = "dedicated", .event_fd = -1, .signal_fd = -1, .deadline_us = UINT64_MAX};
    bool help = false;
    const struct muster__option options[] = {
        {"--engine", MUSTER__OPTION_TEXT, &run.engine_name},
        {"--type", MUSTER__OPTION_TEXT, &run.type},
        {"--name", MUSTER__OPTION_TEXT, &run.name},
        {"--timeout", MUSTER__OPTION_TIME, &run.timeout_ms},
        {"--help", MUSTER__OPTION_FLAG, &help},
    };
    int operands = 0, code;
    if (!muster__options_read(argc, argv, options, sizeof(options) / sizeof(*options), muster__run_usage,
                              &operands))
        return MUSTER__EXIT_USAGE;
    if (help || !operands) {
        fprintf(help ? stdout : stderr, "usage: %s\n", muster__run_usage);
        return help ? MUSTER__EXIT_OK : MUSTER__EXIT_USAGE;
    }
    run.is_service = strcmp(run.type, "service") == 0;
    if (!run.is_service && strcmp(run.type, "dedicated")) {
        fprintf(stderr, "muster: --type wants dedicated or service, not %s\n", run.type);
        return MUSTER__EXIT_USAGE;
    }
    run.script = argv[1];
    argv[1 + operands] = NULL; /* options_read moved the operands to the front: this slot is argc's at most */
    atomic_init(&run.code, -1);
    const struct muster__engine *engine = choose_engine(&run, &code);
    return engine ? run_worker(&run, engine, (const char *const *)argv + 2) : code;
}
