/* cli/serve.c - `muster serve`: an application's scopes behind HTTP, until a signal ends it. */
#include "cli/app.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/http_server.h"
#include "cli/log.h"
#include "cli/options.h"
#include "cli/state_folder.h"
#include "runtime/engine_table.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char muster__serve_usage[] =
    "muster serve [--listen ADDR:PORT|unix:PATH] [--state DIR] [--threads N] [--placement NAME[,NAME]]\n"
    "             [--processes N]\n"
    "             [--idle-timeout TIME] [--grace-timeout TIME] [--event-timeout TIME] [--body-limit BYTES]\n"
    "             [--spare N] [--dev] [--verbose] [--log-decisions] APP";

/* Registered one by one up to here, so that a script that fails is told before the port is served; above, each is
 * installed by its first request. */
#define EAGER_SCOPES 64

struct serve {
    const char *listen, *state, *placement;
    unsigned threads, spare, processes;
    uint64_t idle_ms, grace_ms, event_ms;
    size_t body_limit;
    bool dev, verbose, decisions;
    sigset_t signals; /* SIGTERM and SIGINT: the main thread asks for them */
    int signal;       /* the one that came */
    struct muster__app app;
    struct muster__log log;
    struct muster__state_folder folder;
    struct muster *muster;
    struct muster__http_server *server;
    struct muster__control *control; /* NULL: there is none */
    struct muster_error no_control;  /* why */
};

static int complain(const struct muster_error *error, enum muster_status status)
{
    fprintf(stderr, "muster: %s\n", error->message ? error->message : muster_status_sentence(status));
    return MUSTER__EXIT_FAILED;
}

static const char *engine_of(const struct muster__app_scope *scope)
{
    return scope->engine ? scope->engine : muster__engine_for_script(scope->script);
}

/* A VM in reserve is of use for JavaScript on threads alone, and loads its engine. */
static bool wants_javascript(const struct serve *serve, const char *placement)
{
    bool threads = !placement || !strstr(placement, "process");
    for (size_t i = 0; i < serve->app.count; i++) {
        const struct muster__app_scope *scope = &serve->app.scopes[i];
        bool here = scope->hosting == MUSTER_HOSTING_DEFAULT ? threads : scope->hosting == MUSTER_HOSTING_THREAD;
        if (here && scope->trust != MUSTER_TRUST_NONE && strcmp(engine_of(scope), "javascript") == 0)
            return true;
    }
    return false;
}

/* ---- the log: standard error, and those who follow it; threads: any ---- */

static void on_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    struct serve *serve = user_data;
    muster__log_write(level, subject, text, &serve->log);
    muster__control_note(serve->control, level, subject, (struct muster_bytes){text, strlen(text)});
}

static void on_console(const char *scope, enum muster_log_level level, struct muster_bytes text, void *user_data)
{
    struct serve *serve = user_data;
    muster__log_console(scope, level, text, &serve->log);
    muster__control_note(serve->control, level, scope, text);
}

/* ---- the instance ---- */

static enum muster_status start_instance(struct serve *serve, struct muster_error *error)
{
    const char *placement = serve->placement ? serve->placement : serve->app.placement;
    const struct muster_options options = {
        .size = sizeof(options),
        .threads = serve->threads,
        .idle_ms = serve->idle_ms ? serve->idle_ms : serve->app.idle_ms,
        .grace_ms = serve->grace_ms ? serve->grace_ms : serve->app.grace_ms,
        .event_timeout_ms = serve->event_ms,
        .spare_workers = wants_javascript(serve, placement) ? serve->spare : 0,
        .placement = placement,
        .processes = serve->processes ? serve->processes : (unsigned)serve->app.processes,
        .fresh_processes = serve->app.fresh_processes,
        .process_memory_limit = serve->app.process.memory,
        .process_open_files = (unsigned)serve->app.process.files,
        .process_children = (unsigned)serve->app.process.children,
        .process_cpu_ms = serve->app.process.cpu_ms,
        .worker_limit = (unsigned)serve->app.each_key.workers,
        .registration_limit = (unsigned)serve->app.each_key.registrations,
        .stored_limit = serve->app.each_key.stored,
        .port_limit = (unsigned)serve->app.each_key.ports,
        .cache_limit = serve->app.each_key.cached,
        .log_decisions = serve->decisions,
        .state_folder = serve->state,
        .log = on_log,
        .console = on_console,
        .user_data = serve,
    };
    return muster_new(&options, &serve->muster, error);
}

static enum muster_status register_scope(struct serve *serve, const struct muster__app_scope *scope,
                                         struct muster_handle **ret_handle)
{
    const struct muster_registration_options options = {
        .size = sizeof(options),
        .scope = scope->scope,
        .script = scope->script,
        .engine = scope->engine,
        .module = scope->module,
        .lazy = scope->lazy || serve->app.count > EAGER_SCOPES,
        .root = serve->app.root,
        .trust = scope->trust,
        .hosting = scope->hosting,
        .tenant = scope->tenant,
        .idempotent = scope->idempotent,
        .schedule = scope->schedule,
        .declared = true,
        .turn_limit_ms = scope->turn_limit_ms,
        .memory_limit = scope->memory_limit,
        .queue_limit = scope->queue_limit,
        .process_memory_limit = scope->process.memory,
        .process_open_files = (unsigned)scope->process.files,
        .process_children = (unsigned)scope->process.children,
        .process_cpu_ms = scope->process.cpu_ms,
        .idle_ms = scope->idle_ms,
    };
    return muster_register(serve->muster, &options, NULL, NULL, ret_handle);
}

/* ---- signals ---- */

static void *wait_for_second_signal(void *signals)
{
    int number;
    sigwait(signals, &number);
    static const char text[] = "muster: a second signal: ended at once\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
        /* there is nobody to tell */
    }
    _exit(128 + number);
}

static void begin_end(struct serve *serve, int number)
{
    pthread_t second;
    serve->signal = number;
    fprintf(stderr, "muster: %s: finishing what runs\n", number == SIGINT ? "SIGINT" : "SIGTERM");
    if (pthread_create(&second, NULL, wait_for_second_signal, &serve->signals) == 0)
        pthread_detach(second);
}

static bool is_asked_to_end(struct serve *serve)
{
    const struct timespec now = {0};
    int number = serve->signal ? 0 : sigtimedwait(&serve->signals, NULL, &now);
    if (number > 0)
        begin_end(serve, number);
    return serve->signal != 0;
}

/* ---- start ---- */

/* A script may take minutes to install; a signal does not wait for that. */
static enum muster_status await_scope(struct serve *serve, const struct muster__app_scope *scope,
                                      struct muster_handle *handle, struct muster_error *error)
{
    struct muster_result result;
    enum muster_status status;
    do
        status = muster_wait(handle, 50, &result);
    while (status == MUSTER_TIMED_OUT && !is_asked_to_end(serve));
    if (serve->signal)
        return MUSTER_CANCELED;
    if (status == MUSTER_OK)
        status = result.status;
    if (status != MUSTER_OK) {
        char *why = muster__log_describe(result.error, status);
        muster_error_set(error, status, "scope %s: %s", scope->scope, why ? why : muster_status_sentence(status));
        free(why);
    }
    return status;
}

/* Refused before anything ran; mostly since its engine is missing, which can say more. */
static void explain_refusal(const struct muster__app_scope *scope, enum muster_status status,
                            struct muster_error *error)
{
    struct muster_error why = {0};
    const struct muster__engine *engine = muster__engine_find(engine_of(scope), &why);
    muster_error_set(error, status, "scope %s: %s", scope->scope,
                     !engine && why.message ? why.message : muster_status_sentence(status));
    muster_error_clean_up(&why);
}

static enum muster_status register_scopes(struct serve *serve, struct muster_error *error)
{
    enum muster_status status = MUSTER_OK;
    struct muster_handle **handles = calloc(serve->app.count, sizeof(struct muster_handle *));
    if (!handles)
        return MUSTER_NO_MEMORY;
    for (size_t i = 0; i < serve->app.count && status == MUSTER_OK; i++) {
        status = register_scope(serve, &serve->app.scopes[i], &handles[i]);
        if (status != MUSTER_OK)
            explain_refusal(&serve->app.scopes[i], status, error);
    }
    for (size_t i = 0; i < serve->app.count; i++) {
        if (status == MUSTER_OK && handles[i])
            status = await_scope(serve, &serve->app.scopes[i], handles[i], error);
        muster_handle_release(handles[i]);
    }
    free(handles);
    return status;
}

static enum muster_status record_scopes(struct serve *serve, struct muster_error *error)
{
    enum muster_status status = MUSTER_OK;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < serve->app.count && status == MUSTER_OK; i++)
        status = muster__state_folder_record(&serve->folder, serve->app.scopes[i].scope,
                                             serve->app.scopes[i].script, serve->app.scopes[i].engine,
                                             (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, error);
    return status;
}

/* A server without one is a server still: what is in the way is told when it serves. */
static void open_control(struct serve *serve, const char *app)
{
    const struct muster__control_options options = {.state = serve->state, .app = app};
    if (muster__control_new(&options, &serve->control, &serve->no_control) != MUSTER_OK)
        serve->control = NULL;
}

static enum muster_status start(struct serve *serve, const char *app, struct muster_error *error)
{
    enum muster_status status = MUSTER_OK;
    if (serve->state)
        status = muster__state_folder_open(serve->state, &serve->folder, error);
    if (serve->folder.notice)
        fprintf(stderr, "muster: %s\n", serve->folder.notice);
    if (status == MUSTER_OK) {
        open_control(serve, app);
        atomic_store(&serve->log.is_quiet, false); /* of what it kept nothing is lost without a word */
        status = start_instance(serve, error);
        atomic_store(&serve->log.is_quiet, !serve->verbose);
    }
    if (status != MUSTER_OK)
        return status;
    const struct muster__http_server_options options = {
        .muster = serve->muster,
        .listen = serve->listen,
        .event_timeout_ms = serve->event_ms,
        .body_limit = serve->body_limit ? serve->body_limit : serve->app.body_limit,
        .dev = serve->dev,
    };
    status = muster__http_server_new(&options, &serve->server, error);
    if (status == MUSTER_OK)
        status = register_scopes(serve, error);
    if (status == MUSTER_OK && serve->state)
        status = record_scopes(serve, error);
    if (status == MUSTER_OK)
        status = muster__http_server_start(serve->server);
    if (status == MUSTER_OK && serve->control)
        status = muster__control_start(serve->control, serve->muster, muster__http_server_address(serve->server));
    return status;
}

static void serve_until_signal(struct serve *serve)
{
    int number = 0;
    if (serve->no_control.message)
        fprintf(stderr, "muster: %s%s\n", serve->no_control.message,
                serve->no_control.status == MUSTER_EXISTS ? "; with --state this one has its own" : "");
    fprintf(stderr, "muster: %zu scope%s on %s\n", serve->app.count, serve->app.count == 1 ? "" : "s",
            muster__http_server_address(serve->server));
    sigwait(&serve->signals, &number);
    begin_end(serve, number);
    muster__http_server_drain(serve->server);
    /* What runs after that may still finish while the instance closes, which has bounds of its own; both
     * together stay below the ten seconds that container managers wait. */
    (void)muster__http_server_wait(serve->server, 3000);
}

static void clean_up(struct serve *serve)
{
    if (serve->server && serve->muster)
        muster__http_server_drain(serve->server);
    muster__control_stop(serve->control);
    if (serve->muster)
        muster_destroy(serve->muster);
    muster__http_server_destroy(serve->server);
    muster__control_destroy(serve->control);
    muster__state_folder_close(&serve->folder);
    muster__app_clean_up(&serve->app);
    muster__log_clean_up(&serve->log);
    muster_error_clean_up(&serve->no_control);
}

int muster__command_serve(int argc, char **argv)
{
    struct serve serve = {.listen = "127.0.0.1:8080", .spare = 1};
    bool help = false;
    const struct muster__option options[] = {
        {"--listen", MUSTER__OPTION_TEXT, &serve.listen, "ADDR:PORT|unix:PATH",
         "where to listen (127.0.0.1:8080); port 0 is any free one"},
        {"--state", MUSTER__OPTION_TEXT, &serve.state, "DIR", "keep what is registered here, over restarts"},
        {"--threads", MUSTER__OPTION_NUMBER, &serve.threads, "N", "threads that run scripts (one a core)"},
        {"--placement", MUSTER__OPTION_TEXT, &serve.placement, "NAME[,NAME]",
         "where workers live: thread (the default), process, process-per-site\n"
         "or process-per-worker; and how a host is chosen: round-robin, random,\n"
         "least-loaded (the default), power-of-two or affinity"},
        {"--processes", MUSTER__OPTION_NUMBER, &serve.processes, "N", "child processes that workers share (one a core)"},
        {"--idle-timeout", MUSTER__OPTION_TIME, &serve.idle_ms, "TIME", "end a worker that is without work so long (30s)"},
        {"--grace-timeout", MUSTER__OPTION_TIME, &serve.grace_ms, "TIME",
         "how much longer work that holds a worker gets then (30s)"},
        {"--event-timeout", MUSTER__OPTION_TIME, &serve.event_ms, "TIME", "answer 504 after so long (60s)"},
        {"--body-limit", MUSTER__OPTION_BYTES, &serve.body_limit, "BYTES", "refuse a longer request body with 413"},
        {"--spare", MUSTER__OPTION_NUMBER, &serve.spare, "N", "JavaScript engines kept ready (1)"},
        {"--dev", MUSTER__OPTION_FLAG, &serve.dev, NULL, "show errors with their stacks in answers"},
        {"--verbose", MUSTER__OPTION_FLAG, &serve.verbose, NULL, "log when workers start, stop and are revived"},
        {"--log-decisions", MUSTER__OPTION_FLAG, &serve.decisions, NULL,
         "log each placement with candidates, scores and reason"},
        {"--help", MUSTER__OPTION_FLAG, &help, NULL, "show this"},
    };
    int operands = 0;
    if (!muster__options_read(argc, argv, options, sizeof(options) / sizeof(*options), muster__serve_usage,
                              &operands))
        return MUSTER__EXIT_USAGE;
    if (help || operands != 1)
        return muster__options_explain(help, muster__serve_usage,
                                       "APP is a script, with the scope /, or a folder with muster.json.", options,
                                       sizeof(options) / sizeof(*options));
    /* Before any thread exists, so that all inherit it: only the main thread hears of these two. */
    sigemptyset(&serve.signals);
    sigaddset(&serve.signals, SIGTERM);
    sigaddset(&serve.signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &serve.signals, NULL);

    struct muster_error error = {0};
    muster__log_init(&serve.log, serve.verbose ? MUSTER_LOG_DEBUG : MUSTER_LOG_INFO);
    atomic_store(&serve.log.is_quiet, !serve.verbose); /* a start that fails is one sentence: ours */
    enum muster_status status = muster__app_load(argv[1], &serve.app, &error);
    if (!serve.event_ms)
        serve.event_ms = serve.app.event_timeout_ms ? serve.app.event_timeout_ms : 60000;
    if (status == MUSTER_OK)
        status = start(&serve, argv[1], &error);
    if (status == MUSTER_OK)
        atomic_store(&serve.log.is_quiet, false);
    int code = MUSTER__EXIT_OK;
    if (status == MUSTER_OK)
        serve_until_signal(&serve);
    else if (!serve.signal)
        code = complain(&error, status);
    clean_up(&serve);
    muster_error_clean_up(&error);
    return code;
}
