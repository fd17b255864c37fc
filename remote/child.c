/* remote/child.c - the child process: its pool, its link to the parent, its end.
 *
 * The main thread builds everything and then sleeps until the parent says SHUTDOWN; frames are read by whichever
 * thread of the pool polls.  Without a parent there is nobody to work for: the process ends at once. */
#include "remote/child.h"

#include "remote/child_internal.h"
#include "remote/last_words.h"
#include "remote/launcher.h"
#include "remote/wall.h"
#include "runtime/engine_table.h"
#include "runtime/http_client.h"
#include "runtime/spare.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* Pieces of work of this side that may be open at a time; the parent counts as well. */
#define OPENINGS_MOST 4096
/* The parent's next request often comes right after an answer. */
#define SPIN_US 50

_Noreturn void muster__child_distrust(const char *what)
{
    fprintf(stderr, "muster-host: the parent sent %s; ending\n", what);
    _exit(70);
}

/* ---- sending ---- */

enum muster_status muster__child_try_send(struct child *child, const struct muster__wire_message *message)
{
    return muster__link_send(child->link, message, 0);
}

void muster__child_send(struct child *child, const struct muster__wire_message *message)
{
    enum muster_status status = muster__link_send(child->link, message, 0);
    if (status == MUSTER_OK || status == MUSTER_CLOSED)
        return;
    /* The parent would wait for it for ever. */
    fprintf(stderr, "muster-host: cannot send %s: %s; ending\n", muster__wire_type_name(message->type),
            muster_status_sentence(status));
    _exit(71);
}

enum muster_status muster__child_enlist(struct child *child, struct child_opening *opening)
{
    pthread_mutex_lock(&child->lock);
    bool may = child->openings.count < OPENINGS_MOST && !child->lost;
    if (may) {
        opening->child = child;
        opening->node.id = child->last_actor += 2; /* odd: it began with 1 */
        muster__id_map_add(&child->openings, &opening->node);
    }
    pthread_mutex_unlock(&child->lock);
    return may ? MUSTER_OK : MUSTER_QUEUE_FULL;
}

enum muster_status muster__child_send_opening(struct child *child, struct child_opening *opening,
                                              struct muster__wire_message *message,
                                              struct muster__packed_value *value)
{
    const uint64_t actor = message->actor = opening->node.id; /* on OK the opening may be gone */
    enum muster_status status = value ? muster__wire_value_send(child->link, message, 0, value)
                                      : muster__link_send(child->link, message, 0);
    if (status == MUSTER_OK)
        return MUSTER_OK;
    pthread_mutex_lock(&child->lock);
    (void)muster__id_map_remove(&child->openings, actor);
    pthread_mutex_unlock(&child->lock);
    return status;
}

enum muster_status muster__child_open(struct child *child, struct child_opening *opening,
                                      struct muster__wire_message *message,
                                      struct muster__packed_value *value)
{
    enum muster_status status = muster__child_enlist(child, opening);
    return status == MUSTER_OK ? muster__child_send_opening(child, opening, message, value) : status;
}

/* ---- frames ---- */

static struct child_worker *find_worker(struct child *child, uint32_t id)
{
    pthread_mutex_lock(&child->lock);
    struct muster__id_node *node = muster__id_map_find(&child->workers, id);
    struct child_worker *worker = node ? MUSTER_CONTAINER_OF(node, struct child_worker, node) : NULL;
    if (worker)
        muster__child_worker_acquire(worker);
    pthread_mutex_unlock(&child->lock);
    return worker;
}

static void on_answer(struct child *child, struct muster__wire_message *message)
{
    pthread_mutex_lock(&child->lock);
    struct muster__id_node *node = muster__id_map_remove(&child->openings, message->actor);
    pthread_mutex_unlock(&child->lock);
    if (!node)
        muster__child_distrust("an answer to nothing");
    struct child_opening *opening = MUSTER_CONTAINER_OF(node, struct child_opening, node);
    opening->answered(opening, message);
}

#define STATS_MOST 32

/* So many workers a ping, in turn: where there are more, the parent's figures are older.  Says how many. */
static size_t choose_for_stats(struct child *child, uint64_t number, struct child_worker *ret_workers[STATS_MOST])
{
    size_t found = 0, at = 0;
    pthread_mutex_lock(&child->lock);
    size_t count = child->workers.count, first = count ? number * STATS_MOST % count : 0;
    struct muster__id_node *node = NULL;
    while (found < STATS_MOST && (node = muster__id_map_next(&child->workers, node)) != NULL)
        if (count <= STATS_MOST || (at++ + count - first) % count < STATS_MOST) {
            ret_workers[found] = MUSTER_CONTAINER_OF(node, struct child_worker, node);
            muster__child_worker_acquire(ret_workers[found++]);
        }
    pthread_mutex_unlock(&child->lock);
    return found;
}

static void send_stats(struct child *child, struct child_worker *worker)
{
    struct muster__worker_stats stats;
    struct muster__wire_message told = {.type = MUSTER__WIRE_STATS, .worker = worker->id};
    char holding[256];
    muster__worker_stats(worker->worker, &stats);
    (void)muster__worker_describe(worker->worker, holding, sizeof holding);
    told.stats.phase = stats.phase;
    told.stats.holding = *holding ? holding : NULL;
    told.stats.in_flight = stats.in_flight;
    told.stats.tokens = stats.tokens;
    told.stats.timers = stats.timers;
    told.stats.turns = stats.turns;
    told.stats.cpu_us = stats.cpu_us;
    told.stats.memory = stats.memory;
    (void)!muster__child_try_send(child, &told); /* the next one will fit */
}

static void on_ping(struct child *child, const struct muster__wire_message *message)
{
    struct muster__wire_message pong = {.type = MUSTER__WIRE_PONG};
    pong.ping.number = message->ping.number;
    muster__shared_memory_beat(child->memory);
    struct child_worker *workers[STATS_MOST];
    size_t count = choose_for_stats(child, message->ping.number, workers);
    for (size_t i = 0; i < count; i++) {
        send_stats(child, workers[i]);
        muster__child_worker_release(workers[i]);
    }
    muster__child_send(child, &pong);
}

static void on_worker_frame(struct child *child, struct muster__wire_message *message)
{
    struct child_worker *worker = find_worker(child, message->worker);
    switch (message->type) {
    case MUSTER__WIRE_REQUEST: muster__child_request(child, worker, message); break;
    case MUSTER__WIRE_STOP:
        if (worker)
            muster__worker_stop(worker->worker);
        break;
    case MUSTER__WIRE_CANCEL_WORKER:
        if (worker)
            muster__worker_cancel(worker->worker);
        break;
    default: muster__child_distrust("a frame that is not for a child");
    }
    if (worker)
        muster__child_worker_release(worker);
}

static void shut_down(struct child *child)
{
    pthread_mutex_lock(&child->lock);
    child->shut_down = true;
    pthread_cond_broadcast(&child->news);
    pthread_mutex_unlock(&child->lock);
}

/* The parent's first words: how many threads, how high the wall. */
static void take_hello(struct child *child, const struct muster__wire_message *message)
{
    if (message->hello.version != MUSTER__WIRE_VERSION)
        muster__child_distrust("a version of the wire that this program does not speak");
    child->said_hello = true;
    child->threads = message->hello.threads;
    child->trust = message->hello.trust;
    child->grants = message->hello.grants;
    child->limits.turn_us = message->hello.turn_us;
    child->limits.wedged_us = message->hello.wedged_us;
    muster__link_pause(child->link, true); /* the rest is for the threads that do not run yet */
}

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    struct child *child = user_data;
    if (!child->said_hello && message->type != MUSTER__WIRE_HELLO)
        muster__child_distrust("something before HELLO");
    switch (message->type) {
    case MUSTER__WIRE_HELLO:
        if (child->said_hello)
            muster__child_distrust("HELLO twice");
        take_hello(child, message);
        break;
    case MUSTER__WIRE_START: muster__child_worker_start(child, message); break;
    case MUSTER__WIRE_PING: on_ping(child, message); break;
    case MUSTER__WIRE_SHUTDOWN: shut_down(child); break;
    case MUSTER__WIRE_LOADED:
    case MUSTER__WIRE_RESULT: on_answer(child, message); break;
    case MUSTER__WIRE_ENDED: break; /* what was asked of the parent ends with its result */
    case MUSTER__WIRE_CANCEL: muster__child_request_frame(child, message); break;
    case MUSTER__WIRE_BODY:
    case MUSTER__WIRE_BODY_END:
    case MUSTER__WIRE_BODY_ABORT:
    case MUSTER__WIRE_BODY_CREDIT:
        if (message->actor % 2 == 0)
            muster__child_request_frame(child, message);
        else
            muster__child_fetch_frame(child, message);
        break;
    case MUSTER__WIRE_PORT_OPEN:
    case MUSTER__WIRE_PORT_MESSAGE:
    case MUSTER__WIRE_PORT_CLOSE:
    case MUSTER__WIRE_PORT_CREDIT:
    case MUSTER__WIRE_PORT_MOVE: muster__link_ports_frame(child->ports, message); break;
    case MUSTER__WIRE_DIRECT: muster__child_direct_open(child, message); break;
    default: on_worker_frame(child, message); break;
    }
}

static void on_ended(void *user_data, enum muster_status status, const char *sentence)
{
    (void)user_data;
    if (status != MUSTER_CLOSED)
        fprintf(stderr, "muster-host: lost the parent: %s\n", sentence);
    _exit(status == MUSTER_CLOSED ? 0 : 72);
}

static void on_interest(void *user_data, uint32_t events)
{
    struct child *child = user_data;
    if (child->source.fd) /* it is polled */
        (void)!muster__pool_source_change(child->pool, &child->source, events | EPOLLET);
}

static void flush_soon(void *user_data)
{
    struct child *child = user_data;
    if (child->pool)
        muster__pool_flush(child->pool, &child->flusher);
}

static void on_drained(void *user_data)
{
    struct child *child = user_data;
    if (child->ports)
        muster__link_ports_drained(child->ports);
}

static void flush(struct muster__pool_flusher *flusher, uint64_t now_us)
{
    (void)now_us;
    muster__link_flush(MUSTER_CONTAINER_OF(flusher, struct child, flusher)->link);
}

static void ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct child *child = MUSTER_CONTAINER_OF(source, struct child, source);
    (void)now_us;
    if (muster__link_on_ready(child->link, events))
        on_interest(child, muster__link_events(child->link)); /* again, after others */
}

static bool look(struct muster__pool_source *source)
{
    return muster__link_look(MUSTER_CONTAINER_OF(source, struct child, source)->link);
}

static bool let_sleep(struct muster__pool_source *source)
{
    return muster__link_sleep(MUSTER_CONTAINER_OF(source, struct child, source)->link);
}

/* ---- life ---- */

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "muster-host: %s: %s\n", what, why);
    exit(1);
}

static const struct muster__link_listener link_listener = {
    .frame = on_frame,
    .ended = on_ended,
    .interest = on_interest,
    .flush_soon = flush_soon,
    .drained = on_drained,
};

static void wait_for_hello(struct child *child)
{
    while (!child->said_hello) {
        struct pollfd poller = {.fd = MUSTER__HOST_FD_DATA, .events = POLLIN};
        if (poll(&poller, 1, -1) < 0 && errno != EINTR)
            fail("poll", strerror(errno));
        (void)muster__link_on_ready(child->link, EPOLLIN);
    }
}

static void ignore_evaluated(struct muster__worker *worker, enum muster_status status,
                             const struct muster_error *error)
{
    (void)worker;
    (void)status;
    (void)error;
}

/* What the JavaScript engine opens once, at its first use, it opens now. */
static enum muster_status warm_up(void *user_data, struct muster_error *error)
{
    static char text[] = "new Date(0).toLocaleString()", url[] = "muster:warm-up";
    static const struct muster__script script = {.url = url, .text = text, .length = sizeof text - 1};
    static const struct muster__vm_options limits;
    static const struct muster__realm_identity identity = {.name = ""};
    static const struct muster__realm_options options = {.host = &muster__worker_realm_host};
    const struct muster__engine *engine = user_data;
    struct muster__vm *vm = NULL;
    struct muster__realm *realm = NULL;
    tzset();
    if (!engine)
        return MUSTER_OK;
    enum muster_status status = engine->vm_new(&limits, &vm);
    if (status == MUSTER_OK)
        status = engine->realm_new(vm, &options, &realm);
    if (status == MUSTER_OK)
        status = engine->evaluate(realm, &identity, &script, ignore_evaluated, error);
    if (realm)
        engine->realm_destroy(realm);
    if (vm)
        engine->vm_destroy(vm);
    return status;
}

static void raise_wall(const struct child *child, const struct muster__engine *javascript)
{
    struct muster_error error = {0};
    const struct muster__wall_options options = {
        .trust = (enum muster__wall_trust)child->trust,
        .warm_up = warm_up,
        .user_data = (void *)(uintptr_t)javascript,
        .network = child->grants & MUSTER__CHILD_GRANT_NETWORK,
        .spawn = child->grants & MUSTER__CHILD_GRANT_SPAWN,
        .readable = child->readable,
        .allow_partial = child->grants & MUSTER__CHILD_GRANT_PARTIAL_WALL,
    };
    if (child->trust > MUSTER__WALL_NONE)
        muster__child_distrust("a level of trust that does not exist");
    if (options.trust == MUSTER__WALL_NONE && options.network)
        (void)!muster__http_prepare(NULL); /* where it is missing, fetch() says so */
    if (muster__wall_raise(&options, NULL, &error) != MUSTER_OK)
        fail("cannot raise the wall", error.message ? error.message : "");
}

static void start_threads(struct child *child)
{
    const struct muster__pool_options options = {
        .threads = child->threads,
        .name = "host",
        .spin_us = SPIN_US,
        .thread_begins = muster__last_words_thread_begin,
        .thread_ends = muster__last_words_thread_end,
    };
    if (muster__last_words_install(MUSTER__HOST_FD_LAST_WORDS) != MUSTER_OK)
        fail("last words", strerror(errno));
    if (muster__pool_new(&options, &child->pool) != MUSTER_OK)
        fail("cannot start threads", strerror(errno));
}

static void ports_fault(void *user_data, const char *sentence)
{
    (void)user_data;
    muster__child_distrust(sentence);
}

static void make_ports(struct child *child)
{
    const struct muster__link_ports_options options = {
        .link = child->link,
        .pool = child->pool,
        .side = MUSTER__WIRE_CHILD,
        .trusts = true,
        .fault = ports_fault,
        .channel = muster__child_direct_ports,
        .user_data = child,
    };
    if (muster__link_ports_new(&options, &child->ports) != MUSTER_OK)
        fail("ports", strerror(errno));
}

static void say_hello(struct child *child)
{
    struct muster__wire_message hello = {.type = MUSTER__WIRE_HELLO};
    hello.hello.version = MUSTER__WIRE_VERSION;
    hello.hello.pid = (uint32_t)getpid();
    hello.hello.grants = MUSTER__WIRE_TAKES_RING | MUSTER__WIRE_TAKES_TYPES_KNOWN;
    muster__child_send(child, &hello);
}

/* From here on the pool polls; what came with HELLO is read first. */
static void start_reading(struct child *child)
{
    child->source = (struct muster__pool_source){
        .fd = muster__link_fd(child->link), .ready = ready, .look = look, .sleep = let_sleep};
    muster__link_pause(child->link, false);
    while (muster__link_on_ready(child->link, EPOLLIN) || !muster__link_sleep(child->link))
        ;
    muster__link_flush(child->link);
    if (muster__pool_source_add(child->pool, &child->source,
                                muster__link_events(child->link) | EPOLLET) != MUSTER_OK)
        fail("cannot poll", strerror(errno));
}

/* While files can be opened, and while nobody waits; one that is missing is told at START.  The thread sanitizer
 * takes the thread-local memory of a library that is loaded before a thread starts for part of that thread's now and then, and
 * dies: there it is loaded at START, unless a wall forbids that. */
#if defined(__SANITIZE_THREAD__)
#define EARLY_ENGINE false
#else
#define EARLY_ENGINE true
#endif

static const struct muster__engine *load_javascript(void)
{
    return muster__engine_find("javascript", NULL);
}

static void wait_for_shutdown(struct child *child)
{
    pthread_mutex_lock(&child->lock);
    while (!child->shut_down)
        pthread_cond_wait(&child->news, &child->lock);
    pthread_mutex_unlock(&child->lock);
}

int muster__child_main(const char *readable)
{
    static struct child child; /* for good: threads that are lost may still look at it */
    const struct muster__link_options options = {
        .side = MUSTER__WIRE_CHILD,
        .data_fd = MUSTER__HOST_FD_DATA,
        .descriptor_fd = MUSTER__HOST_FD_CHANNEL,
        .listener = &link_listener,
        .user_data = &child,
        .ring = true,
    };
    signal(SIGPIPE, SIG_IGN);
    child.readable[0] = readable;
    pthread_mutex_init(&child.lock, NULL);
    pthread_cond_init(&child.news, NULL);
    child.last_actor = (uint64_t)-1;
    child.flusher.flush = flush;
    if (muster__shared_memory_attach(MUSTER__HOST_FD_MEMORY, &child.memory) != MUSTER_OK)
        fail("shared memory", "that is not muster's");
    if (muster__link_new(&options, &child.link) != MUSTER_OK)
        fail("the link", strerror(errno));
    const struct muster__engine *javascript = EARLY_ENGINE ? load_javascript() : NULL;
    wait_for_hello(&child);
    if (!javascript && child.trust == MUSTER__WALL_NONE)
        javascript = load_javascript();
    raise_wall(&child, javascript);
    start_threads(&child);
    make_ports(&child);
    say_hello(&child);
    start_reading(&child);
    wait_for_shutdown(&child);
    muster__link_flush(child.link);
    /* Nothing of the parent's is in here any more, and a worker that does not end must not hold it up. */
    _exit(0);
}
