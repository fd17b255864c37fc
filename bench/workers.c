/* bench/workers.c - figures of workers in one process, and the limits that they are compared with.
 *
 * `workers NAME` measures one figure and prints one line of JSON: {"name", "median", "min", "max", "n", "unit"}.
 * A limit: thread-ping-pong; the others are in bare.c, as what is linked to the engine itself is not served as users are. */
#include "coordinator/instance.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SAMPLES_MAX 4096

static const char js_text[] = "addEventListener('ping', event => { globalThis.count = (globalThis.count || 0) + 1; });\n";
static const char lua_text[] = "muster.on('ping', function(event) count = (count or 0) + 1 end)\n";

struct samples {
    double values[SAMPLES_MAX];
    size_t count;
};

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

static void die(const char *what, enum muster_status status)
{
    fprintf(stderr, "workers: %s: %s\n", what, muster_status_sentence(status));
    exit(1);
}

static double pss_kb(void)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %lf", &kb) == 1)
            break;
    if (file)
        fclose(file);
    return kb;
}

static void pause_us(unsigned us)
{
    struct timespec time = {us / 1000000, (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}

/* ---- the limits ---- */

static atomic_uint ball;

static void pass(unsigned from, unsigned to)
{
    atomic_store(&ball, to);
    syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    while (atomic_load(&ball) == to)
        syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, to, NULL, NULL, 0);
    (void)from;
}

static void *ponger(void *argument)
{
    (void)argument;
    while (atomic_load(&ball) == 0)
        syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    while (atomic_load(&ball) != 2)
        pass(1, 0);
    return NULL;
}

static int bench_thread_ping_pong(void)
{
    struct samples samples = {.count = 0};
    pthread_t thread;
    pthread_create(&thread, NULL, ponger, NULL);
    for (int i = 0; i < 50; i++) {
        uint64_t start_us = muster__now_us();
        for (int k = 0; k < 200; k++)
            pass(0, 1);
        samples.values[samples.count++] = (double)(muster__now_us() - start_us) / 200;
    }
    atomic_store(&ball, 2);
    syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    pthread_join(thread, NULL);
    print("thread-ping-pong", &samples, "us");
    return 0;
}

/* ---- an instance with scripts from memory ---- */

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = strdup(strstr(url, ".lua") ? lua_text : js_text);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static struct muster *instance_new(unsigned spare, uint64_t idle_ms, unsigned threads)
{
    const struct muster_options options = {.size = sizeof(options),
                                           .threads = threads,
                                           .idle_ms = idle_ms,
                                           .spare_workers = spare,
                                           .load = load};
    struct muster *muster = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster_new(&options, &muster, &error);
    if (status != MUSTER_OK)
        die(error.message ? error.message : "muster_new", status);
    return muster;
}

static enum muster_status await(struct muster_handle *handle)
{
    struct muster_result result = {0};
    enum muster_status status = muster_wait(handle, 60000, &result);
    muster_handle_release(handle);
    return status == MUSTER_OK ? result.status : status;
}

static void add_scope(struct muster *muster, const char *scope, const char *ending, bool lazy)
{
    char script[128];
    struct muster_handle *handle;
    snprintf(script, sizeof(script), "bench%s", ending);
    const struct muster_registration_options options = {
        .size = sizeof(options), .scope = scope, .script = script, .lazy = lazy};
    enum muster_status status = muster_register(muster, &options, NULL, NULL, &handle);
    if (status == MUSTER_OK)
        status = await(handle);
    if (status != MUSTER_OK)
        die(scope, status);
}

static void settled_at(const struct muster_result *result, void *user_data)
{
    if (result->status != MUSTER_OK)
        die("ping", result->status);
    *(uint64_t *)user_data = muster__now_us(); /* before muster_wait() returns */
}

/* From the call to the settlement of the first event, in milliseconds. */
static double first_event_ms(struct muster *muster, const char *scope)
{
    uint64_t end_us = 0, start_us = muster__now_us();
    struct muster_handle *handle;
    enum muster_status status =
        muster_dispatch(muster, scope, "ping", NULL, NULL, settled_at, &end_us, &handle);
    if (status == MUSTER_OK)
        status = await(handle);
    if (status != MUSTER_OK)
        die(scope, status);
    return (double)(end_us - start_us) / 1000;
}

/* A worker that was installed before and is asleep: what an event pays that has to wake it. */
static void start_samples(struct muster *muster, const char *ending, unsigned settle_us, struct samples *samples)
{
    char scope[64];
    for (int i = 0; i < 101; i++) {
        struct muster_handle *handle;
        snprintf(scope, sizeof(scope), "/start%d/", i);
        add_scope(muster, scope, ending, false);
        enum muster_status status = muster_stop(muster, scope, NULL, NULL, &handle);
        if (status == MUSTER_OK)
            status = await(handle);
        if (status != MUSTER_OK)
            die("stop", status);
        pause_us(settle_us);
        double ms = first_event_ms(muster, scope);
        if (i > 0) /* the first of a process loads the engine */
            samples->values[samples->count++] = ms;
    }
}

static void crowd(struct muster *muster, int registered, int warm)
{
    char scope[64];
    for (int i = 0; i < registered; i++) {
        snprintf(scope, sizeof(scope), "/crowd%d/", i);
        add_scope(muster, scope, ".js", true);
    }
    for (int i = 0; i < warm; i++) {
        snprintf(scope, sizeof(scope), "/crowd%d/", i);
        (void)first_event_ms(muster, scope);
    }
}

static int bench_start(const char *name, const char *ending, unsigned spare, bool crowded)
{
    struct samples samples = {.count = 0};
    struct muster *muster = instance_new(spare, 3600000, 0);
    if (crowded)
        crowd(muster, 10000, 100);
    start_samples(muster, ending, spare ? 8000 : 1000, &samples);
    print(name, &samples, "ms");
    muster_destroy(muster);
    return 0;
}

static int bench_memory(const char *name, const char *ending)
{
    struct samples samples = {.count = 0};
    char scope[64];
    struct muster *muster = instance_new(0, 3600000, 0);
    add_scope(muster, "/first/", ending, true);
    (void)first_event_ms(muster, "/first/");
    double before_kb = pss_kb();
    for (int i = 0; i < 1000; i++) {
        snprintf(scope, sizeof(scope), "/memory%d/", i);
        add_scope(muster, scope, ending, true);
        (void)first_event_ms(muster, scope);
    }
    samples.values[samples.count++] = (pss_kb() - before_kb) / 1000;
    print(name, &samples, "kB");
    muster_destroy(muster);
    return 0;
}

/* ---- events from one pool worker to another ---- */

#define ROUNDS 2000

static struct {
    struct samples samples;
    uint64_t start_us;
    int left;
    struct muster_event *event;
} pinger;

static void ping_next(struct muster_native *worker, void *state, enum muster_status status,
                      const struct muster_value *value, const struct muster_error *error, void *user_data)
{
    (void)state, (void)value, (void)error, (void)user_data;
    if (status != MUSTER_OK)
        die("ping", status);
    if (pinger.left-- % ROUNDS == 0) {
        uint64_t now_us = muster__now_us();
        if (pinger.start_us)
            pinger.samples.values[pinger.samples.count++] = (double)(now_us - pinger.start_us) / ROUNDS;
        pinger.start_us = now_us;
    }
    if (pinger.left < 0) {
        muster_event_return(pinger.event, NULL);
        muster_event_done(pinger.event);
        return;
    }
    enum muster_status sent =
        muster_native_dispatch(worker, "/target/", "ping", false, NULL, ping_next, NULL);
    if (sent != MUSTER_OK)
        die("dispatch", sent);
}

static void start_pinging(struct muster_native *worker, struct muster_event *event, void *state)
{
    pinger.left = ROUNDS * 50;
    pinger.event = event;
    if (muster_event_wait_until(event, "pinging") != MUSTER_OK)
        die("hold", MUSTER_NO_MEMORY);
    ping_next(worker, state, MUSTER_OK, NULL, NULL, NULL);
}

static void native_ping(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker, (void)event, (void)state;
}

static int bench_event(const char *name, const char *ending, bool crowded)
{
    static const struct muster_native_entry source_events[] = {{"go", start_pinging}};
    static const struct muster_native_entry target_events[] = {{"ping", native_ping}};
    static const struct muster_native_worker source = {
        .size = sizeof(source), .events = source_events, .event_count = 1};
    static const struct muster_native_worker target = {
        .size = sizeof(target), .events = target_events, .event_count = 1};
    struct muster *muster = instance_new(0, 3600000, 2);
    struct muster_handle *handle;
    if (crowded)
        crowd(muster, 10000, 100);
    struct muster_registration_options options = {.size = sizeof(options), .scope = "/source/", .native = &source};
    if (muster_register(muster, &options, NULL, NULL, &handle) != MUSTER_OK || await(handle) != MUSTER_OK)
        die("register", MUSTER_SYSTEM);
    if (ending) {
        add_scope(muster, "/target/", ending, false);
    } else {
        options.scope = "/target/";
        options.native = &target;
        if (muster_register(muster, &options, NULL, NULL, &handle) != MUSTER_OK || await(handle) != MUSTER_OK)
            die("register", MUSTER_SYSTEM);
    }
    enum muster_status status = muster_dispatch(muster, "/source/", "go", NULL, NULL, NULL, NULL, &handle);
    if (status == MUSTER_OK)
        status = await(handle);
    if (status != MUSTER_OK)
        die("go", status);
    print(name, &pinger.samples, "us");
    muster_destroy(muster);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    static const struct {
        const char *name, *ending;
        unsigned spare;
        bool crowded;
    } starts[] = {
        {"start-javascript-cold", ".js", 0, false},  {"start-javascript-spare", ".js", 4, false},
        {"start-lua", ".lua", 0, false},             {"crowd-start-javascript-cold", ".js", 0, true},
        {"crowd-start-javascript-spare", ".js", 4, true}, {"crowd-start-lua", ".lua", 0, true},
    };
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
        if (strcmp(name, starts[i].name) == 0)
            return bench_start(name, starts[i].ending, starts[i].spare, starts[i].crowded);
    if (strcmp(name, "thread-ping-pong") == 0)
        return bench_thread_ping_pong();
    if (strcmp(name, "memory-javascript") == 0)
        return bench_memory(name, ".js");
    if (strcmp(name, "memory-lua") == 0)
        return bench_memory(name, ".lua");
    if (strcmp(name, "event-native") == 0)
        return bench_event(name, NULL, false);
    if (strcmp(name, "event-javascript") == 0)
        return bench_event(name, ".js", false);
    if (strcmp(name, "crowd-event-javascript") == 0)
        return bench_event(name, ".js", true);
    fprintf(stderr, "workers: unknown figure \"%s\"\n", name);
    return 2;
}
