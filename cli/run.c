/* cli/run.c - `muster run`: one worker that lives by rules of its own, in an instance whose coordinator does for its
 * script what it does for any other: nested and shared workers, channels.
 *
 * The main thread waits: for the worker, for signals, for the time to be over.  The worker's own thread writes
 * what the script prints, and tells the main thread, by one eventfd, when something has to be decided.
 * The exit code is the first reason for the end that came.
 *
 * A dedicated worker, and a client (a page without a document), ends when it closes, at its first uncaught error, or
 * when nothing keeps it alive; so does a shared worker, which is connected to once.  A service worker is installed
 * and activated and then asked to stop, which waits for what holds it. */
#include "cli/command.h"
#include "cli/options.h"
#include "coordinator/context.h"
#include "runtime/engine_table.h"
#include "runtime/worker.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <unistd.h>

const char muster__run_usage[] =
    "muster run [--engine js|lua] [--type dedicated|service|shared|client] [--url URL] [--name N] [--timeout TIME]"
    " [--placement WHERE] [--ca FILE] [--resolve HOST:ADDRESS]... [--state DIR] SCRIPT [ARG...]";

/* An interrupted script has so long to be gone; then the process ends around it. */
#define CANCEL_TIMEOUT_US 2000000

/* What the main thread is told; bits. */
enum { TOLD_STARTED = 1, TOLD_SETTLED = 2, TOLD_CANCEL = 4, TOLD_GONE = 8, TOLD_WEDGED = 16, TOLD_CLOSED = 32 };

struct run {
    const char *engine_name, *type_name, *name, *script, *url, *placement, *authorities, *state;
    enum muster_hosting hosting; /* of the workers that the script makes */
    struct muster__option_list places; /* --resolve */
    enum muster__worker_type type;
    uint64_t timeout_ms;

    struct muster *muster;
    struct muster__worker *worker;
    struct muster__loader loader;
    struct muster__request request; /* install, then activate; connect */
    unsigned steps;                 /* of those that were begun */
    int event_fd, signal_fd;
    uint64_t deadline_us; /* UINT64_MAX: none */
    bool is_canceled, is_gone, is_closed;

    /* Written by both threads. */
    atomic_uint told;
    atomic_int code;       /* the first reason wins; -1: none yet */
    atomic_bool is_silent; /* a dedicated worker has failed: what it still prints is not wanted */
    atomic_bool is_connected; /* a shared worker had its connect event */
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

/* ---- what workers that the script made say; thread: any ---- */

static void on_other_console(const char *scope, enum muster_log_level level, struct muster_bytes text,
                             void *user_data)
{
    (void)scope;
    on_console(user_data, level, text.data, text.length);
}

/* An error that no script heard of. */
static void on_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    const struct run *run = user_data;
    if (level == MUSTER_LOG_ERROR && !atomic_load(&run->is_silent))
        fprintf(stderr, "muster: %s: %s\n", path_of(subject), text);
}

/* ---- what the worker says; thread: its own ---- */

static bool is_service(const struct run *run)
{
    return run->type == MUSTER__WORKER_SERVICE;
}

/* There are requests for it, one after the other, before it may end. */
static bool has_steps(const struct run *run)
{
    return is_service(run) || run->type == MUSTER__WORKER_SHARED;
}

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct run *run = user_data;
    if (status == MUSTER_OK) {
        if (has_steps(run))
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
    if (is_service(run))
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
    if (!has_steps(run) || (!is_service(run) && atomic_load(&run->is_connected)))
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

static enum muster_status on_dispatch(void *user_data, const char *scope, struct muster__request *request,
                                      uint64_t keepalive_until_us)
{
    const struct run *run = user_data;
    return muster__dispatch_from_worker(run->muster, scope, request, keepalive_until_us);
}

static const struct muster__worker_listener listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_skip_waiting,
    .close_self = on_close_self,
    .wedged = on_wedged,
    .dispatch = on_dispatch,
    .gone = on_gone,
    .idle = on_idle,
};

/* ---- the life of a service worker, and of a shared one ---- */

static void lifecycle_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct run *run = MUSTER_CONTAINER_OF(request, struct run, request);
    atomic_store(&run->is_connected, true); /* before the turn asks whether the worker is idle */
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
    muster__port_message_destroy(request->mail);
    muster_value_release(request->data);
    request->mail = NULL;
    request->data = NULL;
    tell(MUSTER_CONTAINER_OF(request, struct run, request), TOLD_SETTLED);
}

static const struct muster__request_class lifecycle_class = {lifecycle_settled, lifecycle_destroyed};

/* Somebody connects, and lets go at once: so the port holds nothing. */
static bool connect_step(struct run *run)
{
    struct muster__port *ends[2];
    struct muster__port_message *mail = muster__port_message_new(NULL, NULL, 1);
    if (!mail || muster__port_pair(ends) != MUSTER_OK) {
        muster__port_message_destroy(mail);
        return false;
    }
    mail->ports[0] = ends[1];
    muster__port_release(ends[0]);
    muster__request_init(&run->request, &lifecycle_class, MUSTER__REQUEST_EVENT, "connect");
    run->request.mail = mail;
    run->request.data = muster_value_new_text("");
    return true;
}

/* Thread: main.  install, then activate, then: end when nothing holds it.  Or connect: it ends when it is idle. */
static void next_step(struct run *run)
{
    static const char *const names[] = {"install", "activate"};
    if (run->is_canceled)
        return;
    if (!is_service(run) && run->steps)
        return;
    if (run->steps == 2 || atomic_load(&run->code) == MUSTER__EXIT_FAILED ||
        (!is_service(run) && !connect_step(run))) {
        muster__worker_stop(run->worker);
        return;
    }
    if (is_service(run))
        muster__request_init(&run->request, &lifecycle_class, MUSTER__REQUEST_LIFECYCLE, names[run->steps]);
    run->steps++;
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
    if (!run->is_gone)
        muster__worker_cancel(run->worker);
}

/* The script did not react: what it still does ends with the process. */
static _Noreturn void leave(struct run *run)
{
    _exit(atomic_load(&run->code));
}

static void on_closed(void *user_data)
{
    tell(user_data, TOLD_CLOSED);
}

static void react(struct run *run)
{
    unsigned told = atomic_exchange(&run->told, 0);
    if (told & TOLD_CLOSED)
        run->is_closed = true;
    if (told & TOLD_GONE) {
        run->is_gone = true;
        /* What it made ends with it; that has its own bounds. */
        if (muster_close(run->muster, on_closed, run) != MUSTER_OK)
            run->is_closed = true;
    }
    if (run->is_gone)
        return;
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
    while (!run->is_closed) {
        int ready = poll(fds, 2, milliseconds_left(run));
        if (ready > 0 && fds[0].revents) {
            uint64_t count;
            if (read(run->event_fd, &count, sizeof(count)) == sizeof(count))
                react(run);
        }
        if (ready > 0 && fds[1].revents)
            signaled(run);
        if (!run->is_closed && muster__now_us() >= run->deadline_us)
            time_is_over(run);
    }
}

/* ---- the script's world ---- */

struct opening {
    struct muster__message message;
    struct muster__context *context;
    struct muster__port *port; /* the coordinator's end */
    enum muster_status status;
    sem_t done;
};

/* Thread: coordinator. */
static void run_open(struct muster__message *message, struct muster *muster)
{
    struct opening *opening = MUSTER_CONTAINER_OF(message, struct opening, message);
    (void)muster;
    opening->status = muster__context_open(opening->context, &opening->port);
    sem_post(&opening->done);
}

/* *ret_port is the script's end; who it is waits there already. */
static enum muster_status open_context(struct run *run, struct muster__port **ret_port)
{
    struct opening opening = {.message.run = run_open};
    struct muster__port *ends[2];
    char *real = realpath(run->script, NULL);
    char *url = real ? muster__loader_file_url(real) : muster__strdup(run->script);
    const struct muster__context_options options = {
        .type = run->type,
        .url = run->url ? run->url : url,
        .name = run->name,
        .frame_type = run->type == MUSTER__WORKER_CLIENT ? "top-level" : "none",
    };
    free(real);
    enum muster_status status = url ? muster__port_pair(ends) : MUSTER_NO_MEMORY;
    if (status != MUSTER_OK) {
        free(url);
        return status;
    }
    opening.context = muster__context_new(run->muster, &options);
    opening.port = ends[1];
    opening.status = MUSTER_NO_MEMORY;
    sem_init(&opening.done, 0, 0);
    if (opening.context) {
        (void)muster__coordinator_post(run->muster, &opening.message);
        while (sem_wait(&opening.done) != 0)
            ;
    }
    sem_destroy(&opening.done);
    muster__context_release(opening.context);
    muster__port_release(opening.port);
    if (opening.status == MUSTER_OK)
        *ret_port = ends[0];
    else
        muster__port_release(ends[0]);
    free(url);
    return opening.status;
}

static enum muster_status start_worker(struct run *run, const struct muster__engine *engine,
                                       const char *const *arguments, struct muster_error *error)
{
    const struct muster_options instance = {
        .size = sizeof(instance), .console = on_other_console, .log = on_log, .user_data = run,
        .hosting = run->hosting, .state_folder = run->state};
    struct muster__port *port = NULL;
    enum muster_status status = muster_new(&instance, &run->muster, error);
    if (status == MUSTER_OK)
        status = open_context(run, &port);
    if (status != MUSTER_OK)
        return status;
    const struct muster__worker_options options = {
        .pool = run->muster->pool,
        .engine = engine,
        .loader = &run->loader,
        .type = run->type,
        .script_url = run->script,
        .name = run->name,
        .scope = is_service(run) ? "/" : NULL,
        .arguments = arguments,
        .host_port = port,
        .listener = &listener,
        .user_data = run,
    };
    status = muster__worker_new(&options, &run->worker); /* writes run->worker before the first turn */
    if (status != MUSTER_OK)
        muster__port_release(port);
    return status;
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
    struct muster_error error = {0};
    enum muster_status status = start_worker(run, engine, arguments, &error);
    if (status == MUSTER_OK) {
        wait_for_end(run);
        muster__worker_release(run->worker);
        set_code(run, MUSTER__EXIT_OK);
    } else {
        fprintf(stderr, "muster: cannot start a worker: %s\n",
                error.message ? error.message : muster_status_sentence(status));
        set_code(run, MUSTER__EXIT_FAILED);
    }
    muster_error_clean_up(&error);
    struct muster_stats stats = {.size = sizeof(stats)};
    if (run->muster)
        muster_stats(run->muster, &stats);
    if (stats.wedged) {
        fflush(NULL);
        _exit(atomic_load(&run->code)); /* a thread that was lost still runs in here */
    }
    muster_destroy(run->muster);
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

static const char *const type_names[MUSTER__WORKER_TYPE_COUNT] = {
    [MUSTER__WORKER_DEDICATED] = "dedicated",
    [MUSTER__WORKER_SERVICE] = "service",
    [MUSTER__WORKER_SHARED] = "shared",
    [MUSTER__WORKER_CLIENT] = "client",
};

static bool read_type(struct run *run)
{
    for (unsigned type = 0; type < MUSTER__WORKER_TYPE_COUNT; type++)
        if (strcmp(type_names[type], run->type_name) == 0) {
            run->type = (enum muster__worker_type)type;
            return true;
        }
    fprintf(stderr, "muster: --type wants dedicated, service, shared or client, not %s\n", run->type_name);
    return false;
}

static bool read_hosting(struct run *run)
{
    run->hosting = muster_hosting_named(run->placement);
    if (!run->placement || run->hosting != MUSTER_HOSTING_DEFAULT)
        return true;
    fprintf(stderr, "muster: --placement wants thread, process, process-per-site or process-per-worker, not %s\n",
            run->placement);
    return false;
}

/* The HTTP client's settings are the environment's; processes of workers get them as well.  Before any thread exists. */
static bool give_setting(const char *name, const char *value)
{
    const char *inherited = getenv("MUSTER_HOST_ENVIRONMENT");
    char *names = muster__format("%s%s%s", inherited ? inherited : "", inherited ? "," : "", name);
    bool given = names && setenv(name, value, true) == 0 && setenv("MUSTER_HOST_ENVIRONMENT", names, true) == 0;
    free(names);
    if (given)
        return true;
    fprintf(stderr, "muster: %s\n", muster_status_sentence(MUSTER_NO_MEMORY));
    return false;
}

/* "example.org:127.0.0.1" each; together "example.org=127.0.0.1,...". */
static bool give_places(const struct muster__option_list *places)
{
    char *all = muster__strdup("");
    for (size_t i = 0; all && i < places->count; i++) {
        const char *place = places->texts[i], *colon = strchr(place, ':');
        if (!colon || colon == place || !colon[1] || strpbrk(place, "=,")) {
            fprintf(stderr, "muster: --resolve wants HOST:ADDRESS, not %s\n", place);
            free(all);
            return false;
        }
        char *more = muster__format("%s%s%.*s=%s", all, i ? "," : "", (int)(colon - place), place, colon + 1);
        free(all);
        all = more;
    }
    bool given = all && (!places->count || give_setting("MUSTER_RESOLVE", all));
    free(all);
    return given;
}

static bool give_settings(const struct run *run)
{
    if (run->authorities && access(run->authorities, R_OK) != 0) {
        fprintf(stderr, "muster: --ca %s: %s\n", run->authorities, strerror(errno));
        return false;
    }
    return (!run->authorities || give_setting("MUSTER_CA_FILE", run->authorities)) && give_places(&run->places);
}

int muster__command_run(int argc, char **argv)
{
    struct run run = {.type_name = "dedicated", .event_fd = -1, .signal_fd = -1, .deadline_us = UINT64_MAX};
    bool help = false;
    const struct muster__option options[] = {
        {"--engine", MUSTER__OPTION_TEXT, &run.engine_name, "js|lua", "which engine (by the script's ending)"},
        {"--type", MUSTER__OPTION_TEXT, &run.type_name, "TYPE", "dedicated (the default), service, shared or client"},
        {"--url", MUSTER__OPTION_TEXT, &run.url, "URL", "where the script is, as it sees it (its file)"},
        {"--name", MUSTER__OPTION_TEXT, &run.name, "N", "the worker's name"},
        {"--timeout", MUSTER__OPTION_TIME, &run.timeout_ms, "TIME", "end it after so long, with exit code 124"},
        {"--placement", MUSTER__OPTION_TEXT, &run.placement, "WHERE",
         "thread or process: where the workers live that the script makes"},
        {"--ca", MUSTER__OPTION_TEXT, &run.authorities, "FILE", "certificates that fetch() trusts beside the system's"},
        {"--state", MUSTER__OPTION_TEXT, &run.state, "DIR", "where registrations are kept"},
        {"--resolve", MUSTER__OPTION_LIST, &run.places, "HOST:ADDRESS", "where fetch() finds a host; may be repeated"},
        {"--help", MUSTER__OPTION_FLAG, &help, NULL, "show this"},
    };
    int operands = 0, code;
    if (!muster__options_read(argc, argv, options, sizeof(options) / sizeof(*options), muster__run_usage,
                              &operands))
        return MUSTER__EXIT_USAGE;
    if (help || !operands)
        return muster__options_explain(help, muster__run_usage, "Arguments are in muster.args.", options,
                                       sizeof(options) / sizeof(*options));
    if (!read_type(&run) || !read_hosting(&run) || !give_settings(&run))
        return MUSTER__EXIT_USAGE;
    run.script = argv[1];
    argv[1 + operands] = NULL; /* options_read moved the operands to the front: this slot is argc's at most */
    atomic_init(&run.code, -1);
    const struct muster__engine *engine = choose_engine(&run, &code);
    return engine ? run_worker(&run, engine, (const char *const *)argv + 2) : code;
}
