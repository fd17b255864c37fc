/* bench/ports.c - messages between JavaScript workers on the threads of one pool, or in two processes.
 *
 * `ports NAME` measures one figure and prints one line of JSON: {"name", "median", "min", "max", "n", "unit"}.
 *   port-ping-pong      a round trip of a small object, microseconds
 *   port-one-way        objects of 32 bytes, all in one direction, microseconds a message
 *   port-megabyte       a buffer of 1 MB that is transferred to and fro, microseconds a transfer
 *   port-round-trip-c   an end posts and takes in C, on one thread, nanoseconds: what a message costs without scripts
 *   broadcast           one message from a BroadcastChannel to 1,000 workers, from the call to the last listener,
 *                       milliseconds; they have heard two before
 *   broadcast-first     the same, the first that they hear: each VM parses for it what it has never run
 *   broadcast-limit     as many idle workers woken by a plain port each, the same way: what the turns alone cost
 *   direct-ping-pong    as port-ping-pong, between two processes, past their parent
 *   socket-ping-pong    a round trip of 64 bytes over a socketpair between two processes: the limit of that
 * The two workers of the first are dedicated ones whose implicit ports are the two ends of a channel; the others are
 * shared workers of an instance, which C clients connect to. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/client.h"
#include "coordinator/muster.h"
#include "runtime/clone.h"
#include "runtime/engine_table.h"
#include "runtime/worker.h"

#define SAMPLES_MAX 64

struct samples {
    double values[SAMPLES_MAX];
    size_t count;
};

static const char pinger[] =
    "const ROUNDS = 20000; let left = 0, began = 0, samples = 31;\n"
    "onmessage = (event) => {\n"
    "  if (event.data.n !== 0 && --left > 0) return postMessage({ n: left, text: 'ping' });\n"
    "  if (began !== 0) console.log((performance.now() - began) * 1000 / ROUNDS);\n"
    "  if (--samples === 0) return console.log('end');\n"
    "  left = ROUNDS; began = performance.now(); postMessage({ n: left, text: 'ping' });\n"
    "};\n";
static const char ponger[] =
    "onmessage = (event) => postMessage(event.data);\n"
    "postMessage({ n: 0, text: 'ready' });\n";

/* One buffer for all transfers; its first byte shows that it is there, and each side writes it. */
static const char thrower[] =
    "const ROUNDS = 2000; let left = 0, began = 0, samples = 31;\n"
    "const go = (bytes) => { bytes[0]++; postMessage(bytes.buffer, [bytes.buffer]); };\n"
    "onmessage = (event) => {\n"
    "  if (event.data === 'ready') { left = ROUNDS; return go(new Uint8Array(1 << 20)); }\n"
    "  const bytes = new Uint8Array(event.data);\n"
    "  if (bytes.length !== 1 << 20) throw new Error('it is not all there');\n"
    "  if (left-- > 0) return go(bytes);\n"
    "  if (began !== 0) console.log((performance.now() - began) * 1000 / ROUNDS / 2);\n"
    "  if (--samples === 0) return console.log('end');\n"
    "  left = ROUNDS - 1; began = performance.now(); go(bytes);\n"
    "};\n";
static const char catcher[] =
    "onmessage = ({ data }) => { const bytes = new Uint8Array(data); bytes[0]++; postMessage(data, [data]); };\n"
    "postMessage('ready');\n";

/* 32 bytes: two header bytes, the object's shape, and these values. */
static const char sender[] =
    "const MANY = 300000; let samples = 12, began = 0;\n"
    "onmessage = () => {\n"
    "  if (began !== 0) console.log((performance.now() - began) * 1000 / MANY);\n"
    "  if (--samples === 0) return console.log('end');\n"
    "  began = performance.now();\n"
    "  for (let i = 0; i < MANY; i++) postMessage({ id: i, kind: 'tick', value: 1.5 });\n"
    "};\n";
static const char receiver[] =
    "let count = 0;\n"
    "onmessage = (event) => { if (event.data.id >= 0 && ++count === 300000) { count = 0; postMessage('all'); } };\n"
    "postMessage('ready');\n";

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct samples samples;
    bool is_over;
    int gone;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "ports: %s: %s\n", what, why);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, struct samples *samples, const char *unit)
{
    if (samples->count == 0)
        die(name, "there are no samples");
    qsort(samples->values, samples->count, sizeof(double), compare);
    printf("{\"name\": \"%s\", \"median\": %.4f, \"min\": %.4f, \"max\": %.4f, \"n\": %zu, \"unit\": \"%s\"}\n", name,
           samples->values[samples->count / 2], samples->values[0], samples->values[samples->count - 1],
           samples->count, unit);
}

/* ---- two workers ---- */

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer, (void)error, (void)user_data;
    const char *text = strstr(url, "pinger") ? pinger : strstr(url, "ponger") ? ponger
                     : strstr(url, "thrower") ? thrower : strstr(url, "catcher") ? catcher
                     : strstr(url, "sender") ? sender : receiver;
    ret_loaded->text = strdup(text);
    ret_loaded->length = strlen(text);
    return MUSTER_OK;
}

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    if (status != MUSTER_OK)
        die(user_data, error && error->message ? error->message : muster_status_sentence(status));
}

static void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    (void)user_data, (void)level, (void)length;
    pthread_mutex_lock(&state.lock);
    if (strcmp(text, "end") == 0)
        state.is_over = true;
    else if (state.samples.count < SAMPLES_MAX)
        state.samples.values[state.samples.count++] = atof(text);
    pthread_cond_broadcast(&state.changed);
    pthread_mutex_unlock(&state.lock);
}

static void on_report(void *user_data, const struct muster_error *error)
{
    die(user_data, error->message);
}

static void ignore(void *user_data)
{
    (void)user_data;
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    (void)user_data, (void)report;
    pthread_mutex_lock(&state.lock);
    state.gone++;
    pthread_cond_broadcast(&state.changed);
    pthread_mutex_unlock(&state.lock);
}

static const struct muster__worker_listener listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = ignore,
    .close_self = ignore,
    .wedged = ignore,
    .gone = on_gone,
};

static struct muster__worker *start(struct muster__pool *pool, const struct muster__engine *engine,
                                    const struct muster__loader *loader, const char *script,
                                    struct muster__port *port)
{
    const struct muster__worker_options options = {
        .pool = pool,
        .engine = engine,
        .loader = loader,
        .type = MUSTER__WORKER_DEDICATED,
        .script_url = script,
        .name = script,
        .port = port,
        .listener = &listener,
        .user_data = (void *)(uintptr_t)script,
    };
    struct muster__worker *worker = NULL;
    if (muster__worker_new(&options, &worker) != MUSTER_OK)
        die(script, "it does not start");
    return worker;
}

static void wait_until_over(void)
{
    pthread_mutex_lock(&state.lock);
    while (!state.is_over)
        pthread_cond_wait(&state.changed, &state.lock);
    pthread_mutex_unlock(&state.lock);
}

static void wait_until_gone(int count)
{
    pthread_mutex_lock(&state.lock);
    while (state.gone < count)
        pthread_cond_wait(&state.changed, &state.lock);
    pthread_mutex_unlock(&state.lock);
}

static int bench_pair(const char *name, const char *first, const char *second, const char *unit)
{
    const struct muster__pool_options options = {.threads = 2, .name = "bench"};
    struct muster_error error = {0};
    struct muster__pool *pool = NULL;
    struct muster__port *ends[2];
    const struct muster__loader loader = {.load = load};
    const struct muster__engine *engine = muster__engine_find("javascript", &error);
    if (!engine)
        die(name, error.message ? error.message : "there is no engine");
    if (muster__pool_new(&options, &pool) != MUSTER_OK || muster__port_pair(ends) != MUSTER_OK)
        die(name, "out of memory");
    struct muster__worker *one = start(pool, engine, &loader, first, ends[0]);
    struct muster__worker *two = start(pool, engine, &loader, second, ends[1]);
    wait_until_over();
    muster__worker_stop(one);
    muster__worker_stop(two);
    wait_until_gone(2);
    muster__worker_release(one);
    muster__worker_release(two);
    (void)muster__pool_destroy(pool);
    print(name, &state.samples, unit);
    return 0;
}

/* ---- the channel alone ---- */

static int bench_channel(const char *name)
{
    struct samples samples = {.count = 0};
    struct muster__port *ends[2];
    if (muster__port_pair(ends) != MUSTER_OK)
        die(name, "out of memory");
    for (int i = 0; i < 21; i++) {
        uint64_t start_us = muster__now_us();
        for (int k = 0; k < 100000; k++) {
            struct muster__port_message *message =
                muster__port_message_new(NULL, muster_value_new_number(k), 0);
            muster__port_post(ends[0], message);
            muster__port_message_destroy(muster__port_take(ends[1]));
        }
        samples.values[samples.count++] = (double)(muster__now_us() - start_us) / 100;
    }
    muster__port_release(ends[0]);
    muster__port_release(ends[1]);
    print(name, &samples, "ns");
    return 0;
}

/* ---- shared workers of an instance ---- */

#define CROWD 1000
#define ROUNDS 12
#define COLD_ROUNDS 2 /* until a VM has all that a message needs */

/* In each: 'post' and 'wake' are answered with the time at which they began, anything else with what was heard last. */
static const char crowd[] =
    "const channel = new BroadcastChannel('crowd'); const woken = []; let heard = 0, at = 0;\n"
    "const now = () => performance.timeOrigin + performance.now();\n"
    "const hear = () => { heard++; at = now(); };\n"
    "channel.onmessage = hear;\n"
    "onconnect = ({ ports: [port] }) => { port.onmessage = ({ data, ports: [given] }) => {\n"
    "  const began = now();\n"
    "  if (data === 'post') channel.postMessage({ id: 1, kind: 'tick', value: 1.5 });\n"
    "  else if (data === 'wake') for (const one of woken) one.postMessage({ id: 1, kind: 'tick', value: 1.5 });\n"
    "  else if (data === 'take') return void woken.push(given);\n"
    "  else if (data === 'hear') return void (given.onmessage = hear);\n"
    "  port.postMessage(data === 'ask' ? [heard, at] : began);\n"
    "}; };\n";
/* Plays with whoever has the other end of a port that it is given; 'serve' begins and is answered with microseconds. */
static const char player[] =
    "const ROUNDS = 5000; let other, left = 0, began = 0, asker;\n"
    "const hit = ({ data }) => {\n"
    "  if (left === 0) return other.postMessage(data);\n"
    "  if (--left > 0) return other.postMessage({ n: left, text: 'ping' });\n"
    "  asker.postMessage((performance.now() - began) * 1000 / ROUNDS);\n"
    "};\n"
    "onconnect = ({ ports: [port] }) => { port.onmessage = ({ data, ports: [given] }) => {\n"
    "  if (given) { other = given; other.onmessage = hit; return; }\n"
    "  asker = port; left = ROUNDS; began = performance.now(); other.postMessage({ n: left, text: 'ping' });\n"
    "}; };\n";

struct member {
    struct muster_port *port;
    double heard, at;
    unsigned answers; /* under the lock */
};

static struct member members[CROWD + 1]; /* the last one posts */

static enum muster_status load_crowd(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                                     struct muster_error *error, void *user_data)
{
    (void)importer, (void)error, (void)user_data;
    const char *text = strstr(url, "player") ? player : crowd;
    ret_loaded->text = strdup(text);
    ret_loaded->length = strlen(text);
    return MUSTER_OK;
}

static void on_answer(struct muster_port *port, const struct muster_message *message, void *user_data)
{
    struct member *member = user_data;
    (void)port;
    pthread_mutex_lock(&state.lock);
    if (muster_value_type(message->value) == MUSTER_TYPE_ARRAY) {
        member->heard = muster_value_number(muster_value_at(message->value, 0));
        member->at = muster_value_number(muster_value_at(message->value, 1));
    } else {
        member->at = muster_value_number(message->value);
    }
    member->answers++;
    pthread_cond_broadcast(&state.changed);
    pthread_mutex_unlock(&state.lock);
}

static void on_port_closed(struct muster_port *port, const struct muster_error *error, void *user_data)
{
    (void)port, (void)user_data;
    if (error)
        die("a shared worker", error->message);
}

static void say(struct member *member, const char *what, struct muster_port *port)
{
    struct muster_port *ports[] = {port};
    if (muster_port_post(member->port, muster_value_new_text(what), ports, port ? 1 : 0) != MUSTER_OK)
        die(what, "it cannot be said");
}

static void ask(struct member *member, const char *what)
{
    pthread_mutex_lock(&state.lock);
    unsigned before = member->answers;
    pthread_mutex_unlock(&state.lock);
    say(member, what, NULL);
    pthread_mutex_lock(&state.lock);
    while (member->answers == before)
        pthread_cond_wait(&state.changed, &state.lock);
    pthread_mutex_unlock(&state.lock);
}

static struct muster *open_instance(enum muster_hosting hosting, struct muster_client **ret_client)
{
    struct muster_options options = {.size = sizeof options, .threads = 2, .load = load_crowd, .hosting = hosting,
                                     .worker_limit = 2 * CROWD, .processes = 2};
    struct muster_client_options client = {.size = sizeof client, .url = "app://bench/"};
    struct muster_error error = {0};
    struct muster *muster = NULL;
    if (muster_new(&options, &muster, &error) != MUSTER_OK)
        die("an instance", error.message);
    if (muster_client_open(muster, &client, ret_client) != MUSTER_OK)
        die("a client", "out of memory");
    return muster;
}

static void connect_to(struct muster_client *client, const char *url, unsigned number, struct member *member)
{
    char name[32];
    struct muster_shared_worker_options options = {.size = sizeof options, .url = url, .name = name};
    snprintf(name, sizeof name, "%u", number);
    if (muster_shared_worker_connect(client, &options, &member->port) != MUSTER_OK)
        die(name, "it cannot be connected to");
    muster_port_set_handler(member->port, on_answer, on_port_closed, member);
}

static void close_instance(struct muster *muster, struct muster_client *client, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        muster_port_close(members[i].port);
    muster_client_close(client);
    (void)muster_close_wait(muster, 60000);
    muster_destroy(muster);
}

/* From the call to the last of them, or 0: not all have heard of it. */
static double last_heard(const char *what, double round, time_t quiet_s)
{
    struct member *poster = &members[CROWD];
    const struct timespec quiet = {.tv_sec = quiet_s, .tv_nsec = 200000000}; /* until all have had their turns: nobody is asked before */
    double last = 0;
    ask(poster, what);
    nanosleep(&quiet, NULL);
    for (unsigned i = 0; i < CROWD; i++) {
        ask(&members[i], "ask");
        if (members[i].heard < round)
            return 0;
        last = members[i].at > last ? members[i].at : last;
    }
    return last - poster->at;
}

static int bench_broadcast(const char *name, const char *what, bool is_first)
{
    struct samples samples = {.count = 0};
    struct muster_client *client = NULL;
    struct muster *muster = open_instance(MUSTER_HOSTING_THREAD, &client);
    struct muster_port *ends[2];
    for (unsigned i = 0; i <= CROWD; i++) {
        connect_to(client, "app://bench/crowd.js", i, &members[i]);
        ask(&members[i], "ask");
    }
    for (unsigned i = 0; i < CROWD && strcmp(what, "wake") == 0; i++) {
        if (muster_port_pair(muster, ends) != MUSTER_OK)
            die(name, "out of memory");
        say(&members[CROWD], "take", ends[0]);
        say(&members[i], "hear", ends[1]);
    }
    double heard = 0;
    for (int i = 0; i < (is_first ? 1 : COLD_ROUNDS + ROUNDS); i++) {
        double took = last_heard(what, ++heard, i < COLD_ROUNDS ? 2 : 0);
        if (took <= 0)
            heard = members[0].heard;
        else if (is_first || i >= COLD_ROUNDS)
            samples.values[samples.count++] = took;
    }
    close_instance(muster, client, CROWD + 1);
    print(name, &samples, "ms");
    return 0;
}

static int bench_direct(const char *name)
{
    struct samples samples = {.count = 0};
    struct muster_client *client = NULL;
    struct muster *muster = open_instance(MUSTER_HOSTING_PROCESS, &client);
    struct muster_port *ends[2];
    if (muster_port_pair(muster, ends) != MUSTER_OK)
        die(name, "out of memory");
    for (unsigned i = 0; i < 2; i++) {
        connect_to(client, "app://bench/player.js", i, &members[i]);
        say(&members[i], "play", ends[i]);
    }
    for (int i = 0; i < ROUNDS + 3; i++) {
        ask(&members[0], "serve");
        if (i >= 3) /* until then it moves, and is compiled */
            samples.values[samples.count++] = members[0].at;
    }
    close_instance(muster, client, 2);
    print(name, &samples, "us");
    return 0;
}

static void hit_back(int fd, unsigned count)
{
    char bytes[64] = "ping";
    for (unsigned i = 0; i < count; i++)
        if (read(fd, bytes, sizeof bytes) <= 0 || write(fd, bytes, sizeof bytes) <= 0)
            _exit(1);
    _exit(0);
}

static int bench_socket(const char *name)
{
    enum { TIMES = 5000 };
    struct samples samples = {.count = 0};
    char bytes[64] = "ping";
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        die(name, "there is no socket");
    pid_t child = fork();
    if (child == 0)
        hit_back(fds[1], TIMES * ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t began_us = muster__now_us();
        for (int k = 0; k < TIMES; k++)
            if (write(fds[0], bytes, sizeof bytes) <= 0 || read(fds[0], bytes, sizeof bytes) <= 0)
                die(name, "the other process has gone");
        samples.values[samples.count++] = (double)(muster__now_us() - began_us) / TIMES;
    }
    (void)waitpid(child, NULL, 0);
    print(name, &samples, "us");
    return 0;
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    if (strcmp(name, "port-ping-pong") == 0)
        return bench_pair(name, "file:///pinger.js", "file:///ponger.js", "us");
    if (strcmp(name, "port-one-way") == 0)
        return bench_pair(name, "file:///sender.js", "file:///receiver.js", "us");
    if (strcmp(name, "port-megabyte") == 0)
        return bench_pair(name, "file:///thrower.js", "file:///catcher.js", "us");
    if (strcmp(name, "port-round-trip-c") == 0)
        return bench_channel(name);
    if (strcmp(name, "broadcast") == 0)
        return bench_broadcast(name, "post", false);
    if (strcmp(name, "broadcast-first") == 0)
        return bench_broadcast(name, "post", true);
    if (strcmp(name, "broadcast-limit") == 0)
        return bench_broadcast(name, "wake", false);
    if (strcmp(name, "direct-ping-pong") == 0)
        return bench_direct(name);
    if (strcmp(name, "socket-ping-pong") == 0)
        return bench_socket(name);
    fprintf(stderr, "usage: ports port-ping-pong|port-one-way|port-megabyte|port-round-trip-c|broadcast|"
                    "broadcast-first|broadcast-limit|direct-ping-pong|socket-ping-pong\n");
    return 1;
}
