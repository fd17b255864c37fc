/* bench/hosts.c - figures of workers in child processes, and the limits that they are compared with.
 *
 * `hosts NAME` measures one figure and prints one line of JSON: {"name", "median", "min", "max", "n", "unit"}.
 * All figures are costs: less is better.  The main thread plays the coordinator, on the floor below it
 * (remote/service.h); workers run real scripts from memory.  Limits: socket-ping-pong, socket-messages,
 * socket-megabyte, and bare-process PROGRAM, which runs `PROGRAM bare-process`.  Processes are copies of their launcher;
 * with MUSTER_BENCH_FRESH set they are executed, as those are that have trust "none". */
#include "remote/host_threads.h"
#include "remote/process_internal.h"
#include "remote/service.h"
#include "runtime/engine_table.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES_MAX 4096
#define MEGABYTE ((size_t)1 << 20)
#define MESSAGE 32 /* bytes of the small object's encoding, about */
#define HOSTS 20   /* for memory */

extern char **environ;

static const char js_text[] =
    "let count = 0;\n"
    "addEventListener('ping', () => { count++; });\n"
    "function echo(object) { return object; }\n"
    "const ten = {id: 123456, name: 'Ada Lovelace', email: 'ada@example.org', age: 36, score: 99.5,\n"
    "             admin: true, city: 'London', zip: 'W1', since: 1833, note: null};\n"
    "function clones(times) { let last; while (times--) last = structuredClone(ten); return last.id; }\n";
static const char lua_text[] =
    "local count = 0\n"
    "muster.on('ping', function() count = count + 1 end)\n"
    "function echo(object) return object end\n"
    "local ten = {id = 123456, name = 'Ada Lovelace', email = 'ada@example.org', age = 36, score = 99.5,\n"
    "             admin = true, city = 'London', zip = 'W1', since = 1833, note = false}\n"
    "function clones(times)\n"
    "  local last\n"
    "  for i = 1, times do last = muster.decode(muster.encode(ten)) end\n"
    "  return last.id\n"
    "end\n";

/* ---- samples ---- */

struct samples {
    double values[SAMPLES_MAX];
    size_t count;
};

static void add(struct samples *samples, double value)
{
    if (samples->count < SAMPLES_MAX)
        samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, struct samples *samples, const char *unit)
{
    qsort(samples->values, samples->count, sizeof(double), compare);
    printf("{\"name\": \"%s\", \"median\": %.4f, \"min\": %.4f, \"max\": %.4f, \"n\": %zu, \"unit\": \"%s\"}\n", name,
           samples->values[samples->count / 2], samples->values[0], samples->values[samples->count - 1],
           samples->count, unit);
}

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "hosts: %s: %s\n", what, why);
    exit(1);
}

static void must(enum muster_status status, const char *what)
{
    if (status != MUSTER_OK)
        die(what, muster_status_sentence(status));
}

/* Which core a wake-up meets is the scheduler's choice of the moment, and decides between 10 and 40 us: where
 * wake-ups are what is measured, it is fixed, for the figure and its limit alike.  All threads of a process; 0:
 * this one. */
static void pin(pid_t pid, int core)
{
    char path[64];
    cpu_set_t set;
    struct dirent *entry;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    snprintf(path, sizeof path, "/proc/%d/task", (int)(pid ? pid : getpid()));
    DIR *folder = opendir(path);
    while (folder && (entry = readdir(folder)))
        if (atoi(entry->d_name) > 0)
            (void)sched_setaffinity(atoi(entry->d_name), sizeof set, &set);
    if (folder)
        (void)closedir(folder);
}

static int second_core(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

/* ---- the limits: what the kernel takes between two processes ---- */

static void write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written < 0)
            die("write", strerror(errno));
        data += written;
        length -= (size_t)written;
    }
}

static bool read_all(int fd, char *data, size_t length)
{
    while (length > 0) {
        ssize_t got = read(fd, data, length);
        if (got <= 0)
            return false;
        data += got;
        length -= (size_t)got;
    }
    return true;
}

/* Our end; the child answers `answer` bytes to each `length` bytes until it sees the end. */
static int fork_peer(size_t length, size_t answer, pid_t *ret_pid)
{
    int ends[2], size = 4 << 20;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        die("socketpair", strerror(errno));
    for (int i = 0; i < 2; i++)
        if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
            (void)setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    *ret_pid = fork();
    if (*ret_pid < 0)
        die("fork", strerror(errno));
    if (*ret_pid > 0) {
        (void)close(ends[1]);
        return ends[0];
    }
    (void)close(ends[0]);
    char *data = malloc(length);
    if (!data)
        _exit(1);
    while (read_all(ends[1], data, length))
        write_all(ends[1], data, answer);
    _exit(0);
}

static void end_peer(int fd, pid_t pid)
{
    (void)close(fd);
    (void)waitpid(pid, NULL, 0);
}

static int bench_socket_ping_pong(const char *name, int peer_core)
{
    struct samples samples = {.count = 0};
    char data[MESSAGE] = {0};
    pid_t pid;
    int fd = fork_peer(MESSAGE, MESSAGE, &pid);
    pin(0, 0);
    pin(pid, peer_core);
    for (int i = 0; i < 60; i++) {
        uint64_t start_us = muster__now_us();
        for (int k = 0; k < 200; k++) {
            write_all(fd, data, MESSAGE);
            if (!read_all(fd, data, MESSAGE))
                die(name, "the peer has ended");
        }
        if (i >= 10)
            add(&samples, (double)(muster__now_us() - start_us) / 200);
    }
    end_peer(fd, pid);
    print(name, &samples, "us");
    return 0;
}

/* `count` writes of `length` bytes each round, then one byte back for all of them. */
static int bench_socket_stream(const char *name, size_t length, unsigned count)
{
    struct samples samples = {.count = 0};
    char *data = calloc(1, length), answer;
    pid_t pid;
    int fd = fork_peer(length * count, 1, &pid);
    for (int i = 0; data && i < 25; i++) {
        uint64_t start_us = muster__now_us();
        for (unsigned k = 0; k < count; k++)
            write_all(fd, data, length);
        if (!read_all(fd, &answer, 1))
            die(name, "the peer has ended");
        if (i >= 5)
            add(&samples, (double)(muster__now_us() - start_us) / count);
    }
    end_peer(fd, pid);
    free(data);
    print(name, &samples, "us");
    return 0;
}

static int bench_bare_process(const char *name, const char *program)
{
    struct samples samples = {.count = 0};
    char *const arguments[] = {(char *)program, (char *)name, NULL};
    for (int i = 0; i < 21; i++) {
        pid_t pid;
        int how = -1;
        uint64_t start_us = muster__now_us();
        if (posix_spawn(&pid, program, NULL, NULL, arguments, environ) != 0 || waitpid(pid, &how, 0) != pid || how)
            die(program, "it cannot be run");
        if (i > 0)
            add(&samples, (double)(muster__now_us() - start_us) / 1000);
    }
    print(name, &samples, "ms");
    return 0;
}

/* ---- the side of the coordinator ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

#define WAIT_FOR(condition)                                                                         \
    do {                                                                                            \
        pthread_mutex_lock(&lock);                                                                  \
        while (!(condition))                                                                        \
            pthread_cond_wait(&changed, &lock);                                                     \
        pthread_mutex_unlock(&lock);                                                                \
    } while (0)

#define TELL(statement)                                                                             \
    do {                                                                                            \
        pthread_mutex_lock(&lock);                                                                  \
        statement;                                                                                  \
        pthread_cond_broadcast(&changed);                                                           \
        pthread_mutex_unlock(&lock);                                                                \
    } while (0)

enum where { THREADS, PROCESS, PROCESS_NO_SPARE };

static struct muster__pool *pool;
static struct muster__service *service;
static struct muster__processes *processes;

struct place { /* a scope, and the worker that serves it */
    const char *ending, *isolation;
    struct muster__slot *slot;
    uint32_t incarnation;
    struct muster__remote_worker *worker;
    struct muster__loader loader;
    bool started, gone;
    enum muster_status status;
    uint64_t started_us;
};

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)level, (void)user_data;
    if (getenv("MUSTER_BENCH_LOG"))
        fprintf(stderr, "%s: %s\n", subject, text);
}

static enum muster_status new_host(enum muster_placement_kind kind,
                                   const struct muster_placement_request *request,
                                   struct muster__host **ret_host, void *user_data)
{
    struct muster_error error = {0};
    (void)kind, (void)user_data;
    enum muster_status status = muster__processes_take_host(processes, request, ret_host, &error);
    if (status != MUSTER_OK)
        die("a process", error.message ? error.message : muster_status_sentence(status));
    return MUSTER_OK;
}

static void begin(enum where where)
{
    const struct muster__pool_options pool_options = {
        .threads = 2, .name = "bench", .spin_us = where == THREADS ? 0 : 50};
    const struct muster__service_options options = {.new_host = new_host};
    struct muster__host *host = NULL;
    struct muster_error error = {0};
    must(muster__pool_new(&pool_options, &pool), "pool");
    must(muster__service_new(&options, &service, NULL), "service");
    if (where == THREADS) {
        const struct muster__host_threads_options host_options = {.pool = pool};
        must(muster__host_threads_new(&host_options, &host), "threads");
        must(muster__service_add_host(service, &host), "threads");
        return;
    }
    const struct muster__processes_options process_options = {
        .pool = pool,
        .no_spare = where == PROCESS_NO_SPARE,
        .fresh = getenv("MUSTER_BENCH_FRESH") != NULL,
        .log = log_line};
    if (muster__processes_new(&process_options, &processes, &error) != MUSTER_OK)
        die("processes", error.message ? error.message : "");
    muster__processes_expect_javascript(processes);
}

static void end(void)
{
    (void)muster__pool_destroy(pool);
    muster__service_destroy(service);
    muster__processes_destroy(processes);
    processes = NULL;
}

/* ---- workers ---- */

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct place *place = user_data;
    if (status != MUSTER_OK)
        die("start", error && error->message ? error->message : muster_status_sentence(status));
    TELL({
        place->started = true;
        place->started_us = muster__now_us();
    });
}

static void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    (void)user_data, (void)level;
    fprintf(stderr, "%.*s\n", (int)length, text);
}

static void on_report(void *user_data, const struct muster_error *error)
{
    (void)user_data;
    die("script", error->message ? error->message : "");
}

static void on_nothing(void *user_data)
{
    (void)user_data;
}

static enum muster_status on_dispatch(void *user_data, const char *scope, struct muster__request *request,
                                      uint64_t keepalive_until_us)
{
    (void)user_data, (void)scope, (void)request, (void)keepalive_until_us;
    return MUSTER_NOT_FOUND;
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct place *place = user_data;
    TELL({
        place->status = report->status;
        place->gone = true;
    });
}

static const struct muster__worker_listener listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_nothing,
    .close_self = on_nothing,
    .wedged = on_nothing,
    .dispatch = on_dispatch,
    .gone = on_gone,
};

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer, (void)error, (void)user_data;
    ret_loaded->text = strdup(strstr(url, ".lua") ? lua_text : js_text);
    ret_loaded->length = ret_loaded->text ? strlen(ret_loaded->text) : 0;
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void want(struct muster__slot *slot, void *user_data)
{
    (void)slot, (void)user_data; /* the figures say themselves when a worker starts */
}

static void make_place(struct place *place, const char *ending, const char *isolation)
{
    const struct muster__slot_options options = {
        .queue_limit = (size_t)1 << 20, .idle_us = 1000000, .want = want, .user_data = place};
    *place = (struct place){.ending = ending, .isolation = isolation, .loader = {.load = load}};
    place->slot = muster__slot_new(&options);
    if (!place->slot)
        die("slot", "no memory");
}

static void start(struct place *place)
{
    const struct muster_placement_request request = {
        .size = sizeof request,
        .isolation = processes ? place->isolation : NULL,
        .trust = MUSTER__TRUST_SCRIPT,
        .new_kinds = processes ? MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS) : 0};
    uint32_t host = 0;
    must(muster__service_place(service, &request, muster__now_us(), &host), "place");
    place->incarnation = muster__slot_attach(place->slot);
    place->started = place->gone = false;
    const struct muster__worker_options options = {
        .engine = muster__engine_find(strcmp(place->ending, ".lua") == 0 ? "lua" : "javascript", NULL),
        .loader = &place->loader,
        .type = MUSTER__WORKER_SERVICE,
        .script_url = strcmp(place->ending, ".lua") == 0 ? "mem:/bench.lua" : "mem:/bench.js",
        .name = "/bench/",
        .scope = "/bench/",
        .slot = place->slot,
        .incarnation = place->incarnation,
        .may_open = true,
        .listener = &listener,
        .user_data = place,
    };
    if (!options.engine)
        die(place->ending, "there is no engine for it");
    must(muster__service_start(service, host, &options, &place->worker), "start");
}

static void wait_started(struct place *place)
{
    WAIT_FOR(place->started || place->gone);
    if (place->gone)
        die("start", muster_status_sentence(place->status));
}

static void run(struct place *place, const char *ending, const char *isolation)
{
    make_place(place, ending, isolation);
    start(place);
    wait_started(place);
}

static void wait_gone(struct place *place)
{
    WAIT_FOR(place->gone);
    (void)muster__slot_vacate(place->slot, place->incarnation);
    muster__service_gone(service, place->worker, place->status, muster__now_us());
    place->worker = NULL;
}

static void stop(struct place *place)
{
    place->worker->class->stop(place->worker);
    wait_gone(place);
}

static void clean_up(struct place *place)
{
    if (place->worker)
        stop(place);
    muster__slot_release(place->slot);
}

static pid_t pid_of(const struct place *place)
{
    return muster__process_pid(MUSTER_CONTAINER_OF(place->worker->host, struct process_host, base)->process);
}

/* ---- requests ---- */

struct errand {
    struct muster__request request;
    void (*answered)(struct errand *errand, const struct muster__outcome *outcome); /* on a thread of muster's */
};

static void errand_settled(struct muster__request *base, const struct muster__outcome *outcome)
{
    struct errand *errand = MUSTER_CONTAINER_OF(base, struct errand, request);
    if (outcome->status != MUSTER_OK)
        die(base->name, outcome->error && outcome->error->message ? outcome->error->message
                                                                  : muster_status_sentence(outcome->status));
    errand->answered(errand, outcome);
}

static void errand_destroyed(struct muster__request *base)
{
    free(MUSTER_CONTAINER_OF(base, struct errand, request));
}

static const struct muster__request_class errand_class = {errand_settled, errand_destroyed, NULL};

static void post(struct place *place, enum muster__request_kind kind, const char *name,
                 struct muster_value *data,
                 void (*answered)(struct errand *errand, const struct muster__outcome *outcome))
{
    struct errand *errand = calloc(1, sizeof *errand);
    if (!errand)
        die(name, "no memory");
    muster__request_init(&errand->request, &errand_class, kind, name);
    errand->request.data = data;
    errand->request.received_us = muster__now_us();
    errand->answered = answered;
    must(muster__slot_post(place->slot, &errand->request, errand->request.received_us), name);
    muster__request_release(&errand->request);
}

static uint64_t answered_us; /* under the lock; 0: not yet */

static void note_answer(struct errand *errand, const struct muster__outcome *outcome)
{
    (void)errand, (void)outcome;
    uint64_t now_us = muster__now_us();
    TELL(answered_us = now_us);
}

/* Posts and waits, on this thread; when the answer was there. */
static uint64_t ask(struct place *place, enum muster__request_kind kind, const char *name,
                    struct muster_value *data)
{
    answered_us = 0;
    post(place, kind, name, data, note_answer);
    WAIT_FOR(answered_us);
    return answered_us;
}

/* An object whose encoding has about MESSAGE bytes. */
static struct muster_value *small_object(void)
{
    struct muster_value *object = muster_value_new_object();
    must(muster_value_put(object, "id", muster_value_new_number(12345)), "object");
    must(muster_value_put(object, "name", muster_value_new_text("Lovelace")), "object");
    return object;
}

static struct muster_value *arguments_of(struct muster_value *value)
{
    struct muster_value *array = muster_value_new_array();
    must(muster_value_append(array, value), "arguments");
    return array;
}

/* ---- the object there and back ---- */

#define ROUNDS 200

static struct {
    struct place place;
    struct muster_value *data;
    struct samples samples;
    uint64_t start_us;
    int left;
    bool over;
} ponger;

/* Thread: of muster's, as callbacks of MUSTER_DELIVER_ON_THREAD. */
static void call_again(struct errand *errand, const struct muster__outcome *outcome)
{
    (void)errand, (void)outcome;
    if (ponger.left-- % ROUNDS == 0) {
        uint64_t now_us = muster__now_us();
        if (ponger.start_us)
            add(&ponger.samples, (double)(now_us - ponger.start_us) / ROUNDS);
        ponger.start_us = now_us;
    }
    if (ponger.left >= 0)
        post(&ponger.place, MUSTER__REQUEST_CALL, "echo", ponger.data, call_again);
    else
        TELL(ponger.over = true);
}

/* From callback to callback: the object goes to the worker and comes back. */
static int bench_round_trip(const char *name, enum where where, const char *ending, int host_core)
{
    if (host_core == 0)
        pin(0, 0); /* before: a pool that has one core only does not look before it sleeps */
    begin(where);
    pin(0, 0);
    run(&ponger.place, ending, NULL);
    if (where != THREADS)
        pin(pid_of(&ponger.place), host_core);
    ponger.data = arguments_of(small_object());
    for (int i = 0; i < 5000; i++) /* until it is compiled */
        (void)ask(&ponger.place, MUSTER__REQUEST_CALL, "echo", ponger.data);
    ponger.left = ROUNDS * 100;
    post(&ponger.place, MUSTER__REQUEST_CALL, "echo", ponger.data, call_again);
    WAIT_FOR(ponger.over);
    print(name, &ponger.samples, "us");
    clean_up(&ponger.place);
    muster_value_release(ponger.data);
    end();
    return 0;
}

/* A thread of the embedder's posts and sleeps until it is woken: one wake-up more. */
static int bench_round_trip_waiting(const char *name)
{
    struct samples samples = {.count = 0};
    struct place place;
    struct muster_value *data = arguments_of(small_object());
    begin(PROCESS);
    pin(0, 0);
    run(&place, ".js", NULL);
    pin(pid_of(&place), second_core());
    for (int i = 0; i < 125; i++) {
        uint64_t start_us = muster__now_us();
        for (int k = 0; k < ROUNDS; k++)
            (void)ask(&place, MUSTER__REQUEST_CALL, "echo", data);
        if (i >= 25)
            add(&samples, (double)(muster__now_us() - start_us) / ROUNDS);
    }
    print(name, &samples, "us");
    clean_up(&place);
    muster_value_release(data);
    end();
    return 0;
}

/* ---- one way: events, as many in flight as `window` ---- */

static unsigned in_flight, half; /* under the lock */

static void note_done(struct errand *errand, const struct muster__outcome *outcome)
{
    (void)errand, (void)outcome;
    pthread_mutex_lock(&lock);
    unsigned left = --in_flight;
    if (left == half || left == 0)
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* A thread of the embedder's sends as fast as it may. */
static void send_many(struct place *place, struct muster_value *data, unsigned count, unsigned window)
{
    half = window / 2;
    while (count--) {
        pthread_mutex_lock(&lock);
        if (in_flight >= window)
            while (in_flight > half)
                pthread_cond_wait(&changed, &lock);
        in_flight++;
        pthread_mutex_unlock(&lock);
        post(place, MUSTER__REQUEST_EVENT, "ping", data, note_done);
    }
    WAIT_FOR(in_flight == 0);
}

static int bench_one_way(const char *name, enum where where, const char *ending, struct muster_value *data,
                         unsigned count, unsigned window)
{
    struct samples samples = {.count = 0};
    struct place place;
    begin(where);
    run(&place, ending, NULL);
    for (int i = 0; i < 25; i++) {
        uint64_t start_us = muster__now_us();
        send_many(&place, data, count, window);
        if (i >= 5)
            add(&samples, (double)(muster__now_us() - start_us) / count);
    }
    print(name, &samples, "us");
    clean_up(&place);
    muster_value_release(data);
    end();
    return 0;
}

static struct muster_value *megabyte(void)
{
    char *data = malloc(MEGABYTE);
    if (!data)
        die("megabyte", "no memory");
    memset(data, 'm', MEGABYTE);
    struct muster_value *value = muster_value_new_bytes(data, MEGABYTE);
    free(data);
    return value;
}

/* ---- one way: the wire and the codec alone ---- */

static bool ponged; /* the parent's */

static void on_wire_frame(void *user_data, struct muster__wire_message *message)
{
    struct muster__link *const *link = user_data;
    struct muster_value *value = NULL;
    if (message->type == MUSTER__WIRE_PONG) {
        ponged = true;
    } else if (message->type == MUSTER__WIRE_PING) {
        must(muster__link_send(*link, &(struct muster__wire_message){.type = MUSTER__WIRE_PONG}, MUSTER__LINK_NOW),
             "pong");
    } else if (message->type == MUSTER__WIRE_REQUEST) {
        must(muster__wire_value_unpack(&message->value, *link, &value, NULL), "unpack");
        muster_value_release(value);
    }
}

static void on_wire_ended(void *user_data, enum muster_status status, const char *sentence)
{
    (void)user_data;
    if (status != MUSTER_CLOSED)
        die("wire", sentence);
    _exit(0); /* in the child: the parent has closed its end */
}

static const struct muster__link_listener wire_listener = {.frame = on_wire_frame, .ended = on_wire_ended};

static void open_wire(struct muster__link **link, int fd, enum muster__wire_side side)
{
    const struct muster__link_options options = {
        .side = side, .data_fd = fd, .descriptor_fd = -1, .listener = &wire_listener, .user_data = link};
    struct muster__wire_message hello = {.type = MUSTER__WIRE_HELLO};
    hello.hello.version = MUSTER__WIRE_VERSION;
    must(muster__link_new(&options, link), "link");
    must(muster__link_send(*link, &hello, MUSTER__LINK_NOW), "hello");
}

static void poll_wire(struct muster__link *link)
{
    bool out = muster__link_events(link) & EPOLLOUT;
    struct pollfd poller = {.fd = muster__link_fd(link), .events = (short)(POLLIN | (out ? POLLOUT : 0))};
    if (poll(&poller, 1, -1) > 0)
        while (muster__link_on_ready(link, (poller.revents & POLLOUT ? EPOLLOUT : 0) | EPOLLIN |
                                               (poller.revents & POLLHUP ? EPOLLHUP : 0)))
            ;
}

static void send_event(struct muster__link *link, const struct muster_value *data, unsigned number)
{
    struct muster__packed_value packed = {0};
    struct muster__wire_message message = {
        .type = MUSTER__WIRE_REQUEST, .worker = 1, .actor = 2 + 2 * (uint64_t)number};
    message.request.kind = MUSTER__REQUEST_EVENT;
    message.request.name = "ping";
    message.request.started_word = MUSTER__WIRE_NO_WORD;
    must(muster__wire_value_pack(data, &packed, NULL), "pack");
    message.value = packed.wire;
    while (muster__link_send(link, &message, 0) == MUSTER_QUEUE_FULL)
        poll_wire(link);
    muster__wire_value_clean_up(&packed);
    if (number % 256 == 255)
        muster__link_flush(link);
}

/* Events with the small object, from a C value to a C value in another process; nobody answers them. */
static int bench_wire(const char *name)
{
    enum { COUNT = 100000 };
    struct samples samples = {.count = 0};
    struct muster_value *data = small_object();
    struct muster__link *link = NULL;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        die("socketpair", strerror(errno));
    pid_t pid = fork();
    (void)close(ends[pid != 0]);
    open_wire(&link, ends[pid == 0], pid == 0 ? MUSTER__WIRE_CHILD : MUSTER__WIRE_PARENT);
    while (pid == 0)
        poll_wire(link);
    for (unsigned i = 0; i < 25; i++) {
        uint64_t start_us = muster__now_us();
        for (unsigned k = 0; k < COUNT; k++)
            send_event(link, data, i * COUNT + k);
        ponged = false;
        must(muster__link_send(link, &(struct muster__wire_message){.type = MUSTER__WIRE_PING}, MUSTER__LINK_NOW),
             "ping");
        while (!ponged)
            poll_wire(link);
        if (i >= 5)
            add(&samples, (double)(muster__now_us() - start_us) / COUNT);
    }
    muster__link_destroy(link);
    (void)waitpid(pid, NULL, 0);
    muster_value_release(data);
    print(name, &samples, "us");
    return 0;
}

/* ---- ten fields out and in, in the script ---- */

static int bench_clone(const char *name, const char *ending)
{
    enum { TIMES = 50000 };
    struct samples samples = {.count = 0};
    struct place place;
    struct muster_value *data = arguments_of(muster_value_new_number(TIMES));
    begin(THREADS);
    run(&place, ending, NULL);
    for (int i = 0; i < 25; i++) {
        uint64_t start_us = muster__now_us();
        uint64_t end_us = ask(&place, MUSTER__REQUEST_CALL, "clones", data);
        if (i >= 5)
            add(&samples, (double)(end_us - start_us) / TIMES);
    }
    print(name, &samples, "us");
    clean_up(&place);
    muster_value_release(data);
    end();
    return 0;
}

/* ---- starts ---- */

/* From the placement to the answer to the first event, in a host that has another worker already. */
static int bench_start(const char *name, enum where where, const char *ending)
{
    struct samples samples = {.count = 0};
    struct place neighbor, place;
    begin(where);
    run(&neighbor, ending, NULL);
    make_place(&place, ending, NULL);
    for (int i = 0; i < 110; i++) {
        uint64_t start_us = muster__now_us();
        answered_us = 0;
        start(&place);
        post(&place, MUSTER__REQUEST_EVENT, "ping", NULL, note_answer);
        WAIT_FOR(answered_us);
        if (where != THREADS && pid_of(&place) != pid_of(&neighbor))
            die(name, "it lives in another process");
        if (i >= 10)
            add(&samples, (double)(answered_us - start_us) / 1000);
        stop(&place);
    }
    print(name, &samples, "ms");
    clean_up(&place);
    clean_up(&neighbor);
    end();
    return 0;
}

/* The same with a new process each time, and none in reserve. */
static int bench_new_host(const char *name, const char *ending)
{
    struct samples samples = {.count = 0};
    struct place places[24];
    char isolation[24][16];
    begin(PROCESS_NO_SPARE);
    for (int i = 0; i < 24; i++) {
        snprintf(isolation[i], sizeof isolation[i], "site %d", i);
        make_place(&places[i], ending, isolation[i]);
        uint64_t start_us = muster__now_us();
        start(&places[i]);
        uint64_t end_us = ask(&places[i], MUSTER__REQUEST_EVENT, "ping", NULL);
        if (i > 3) /* the launcher runs, files are in memory */
            add(&samples, (double)(end_us - start_us) / 1000);
    }
    print(name, &samples, "ms");
    for (int i = 0; i < 24; i++)
        clean_up(&places[i]);
    end();
    return 0;
}

/* ---- SIGKILL to the next answer ---- */

/* From the kill to the answer to an event posted right after it, by the worker's next instance; a process is in
 * reserve. */
static int bench_revival(const char *name, const char *ending)
{
    struct samples samples = {.count = 0};
    struct place place;
    begin(PROCESS);
    run(&place, ending, NULL);
    for (int i = 0; i < 30; i++) {
        (void)ask(&place, MUSTER__REQUEST_EVENT, "ping", NULL);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* the one in reserve becomes ready */
        answered_us = 0;
        uint64_t start_us = muster__now_us();
        (void)kill(pid_of(&place), SIGKILL);
        post(&place, MUSTER__REQUEST_EVENT, "ping", NULL, note_answer);
        wait_gone(&place);
        start(&place);
        WAIT_FOR(answered_us);
        add(&samples, (double)(answered_us - start_us) / 1000);
    }
    print(name, &samples, "ms");
    clean_up(&place);
    end();
    return 0;
}

/* ---- memory ---- */

static double pss_kb(pid_t pid)
{
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %lf", &kb) == 1)
            break;
    if (file)
        (void)fclose(file);
    return kb;
}

/* The proportional set of each of HOSTS processes with one worker, which had an event and is idle. */
static int bench_memory(const char *name, const char *ending)
{
    struct samples samples = {.count = 0};
    struct place places[HOSTS];
    char isolation[HOSTS][16];
    begin(PROCESS_NO_SPARE);
    for (int i = 0; i < HOSTS; i++) {
        snprintf(isolation[i], sizeof isolation[i], "site %d", i);
        run(&places[i], ending, isolation[i]);
        (void)ask(&places[i], MUSTER__REQUEST_EVENT, "ping", NULL);
    }
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* the engine gives back what it needed at the start */
    for (int i = 0; i < HOSTS; i++)
        add(&samples, pss_kb(pid_of(&places[i])));
    print(name, &samples, "kB");
    for (int i = 0; i < HOSTS; i++)
        clean_up(&places[i]);
    end();
    return 0;
}

/* Processes to which nobody has given a worker. */
static int bench_memory_bare(const char *name)
{
    struct samples samples = {.count = 0};
    struct muster__host *hosts[HOSTS];
    char isolation[HOSTS][16];
    begin(PROCESS_NO_SPARE);
    for (int i = 0; i < HOSTS; i++) {
        snprintf(isolation[i], sizeof isolation[i], "site %d", i);
        const struct muster_placement_request request = {
            .size = sizeof request, .isolation = isolation[i], .trust = MUSTER__TRUST_SCRIPT};
        must(new_host(MUSTER_PLACEMENT_PROCESS, &request, &hosts[i], NULL), "host");
    }
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    for (int i = 0; i < HOSTS; i++)
        add(&samples, pss_kb(muster__process_pid(MUSTER_CONTAINER_OF(hosts[i], struct process_host, base)->process)));
    print(name, &samples, "kB");
    for (int i = 0; i < HOSTS; i++)
        hosts[i]->class->destroy(hosts[i]);
    end();
    return 0;
}

static int bench(const char *name, const char *program)
{
    if (strcmp(name, "socket-ping-pong") == 0)
        return bench_socket_ping_pong(name, second_core());
    if (strcmp(name, "socket-ping-pong-one-core") == 0)
        return bench_socket_ping_pong(name, 0);
    if (strcmp(name, "socket-messages") == 0)
        return bench_socket_stream(name, MESSAGE, 50000);
    if (strcmp(name, "socket-megabyte") == 0)
        return bench_socket_stream(name, MEGABYTE, 200);
    if (strcmp(name, "bare-process") == 0 && program)
        return bench_bare_process(name, program);
    if (strcmp(name, "round-trip-javascript") == 0)
        return bench_round_trip(name, PROCESS, ".js", second_core());
    if (strcmp(name, "round-trip-one-core") == 0)
        return bench_round_trip(name, PROCESS, ".js", 0);
    if (strcmp(name, "round-trip-lua") == 0)
        return bench_round_trip(name, PROCESS, ".lua", second_core());
    if (strcmp(name, "round-trip-waiting") == 0)
        return bench_round_trip_waiting(name);
    if (strcmp(name, "round-trip-threads") == 0)
        return bench_round_trip(name, THREADS, ".js", 0);
    if (strcmp(name, "one-way-wire") == 0)
        return bench_wire(name);
    if (strcmp(name, "one-way-javascript") == 0)
        return bench_one_way(name, PROCESS, ".js", small_object(), 50000, 8192);
    if (strcmp(name, "one-way-lua") == 0)
        return bench_one_way(name, PROCESS, ".lua", small_object(), 50000, 8192);
    if (strcmp(name, "one-way-threads") == 0)
        return bench_one_way(name, THREADS, ".js", small_object(), 50000, 8192);
    if (strcmp(name, "megabyte-javascript") == 0)
        return bench_one_way(name, PROCESS, ".js", megabyte(), 200, 16);
    if (strcmp(name, "megabyte-lua") == 0)
        return bench_one_way(name, PROCESS, ".lua", megabyte(), 200, 16);
    if (strcmp(name, "megabyte-threads") == 0)
        return bench_one_way(name, THREADS, ".js", megabyte(), 200, 16);
    if (strcmp(name, "clone-javascript") == 0)
        return bench_clone(name, ".js");
    if (strcmp(name, "clone-lua") == 0)
        return bench_clone(name, ".lua");
    if (strcmp(name, "start-process-javascript") == 0)
        return bench_start(name, PROCESS, ".js");
    if (strcmp(name, "start-threads-javascript") == 0)
        return bench_start(name, THREADS, ".js");
    if (strcmp(name, "start-process-lua") == 0)
        return bench_start(name, PROCESS, ".lua");
    if (strcmp(name, "start-threads-lua") == 0)
        return bench_start(name, THREADS, ".lua");
    if (strcmp(name, "new-host-javascript") == 0)
        return bench_new_host(name, ".js");
    if (strcmp(name, "new-host-lua") == 0)
        return bench_new_host(name, ".lua");
    if (strcmp(name, "revival-javascript") == 0)
        return bench_revival(name, ".js");
    if (strcmp(name, "revival-lua") == 0)
        return bench_revival(name, ".lua");
    if (strcmp(name, "memory-javascript") == 0)
        return bench_memory(name, ".js");
    if (strcmp(name, "memory-lua") == 0)
        return bench_memory(name, ".lua");
    if (strcmp(name, "memory-bare") == 0)
        return bench_memory_bare(name);
    fprintf(stderr, "hosts: unknown figure \"%s\"\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    return bench(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : NULL);
}
