/* remote/process_host.c - one child process: from its spawn to its last words.
 *
 * It takes workers from its first moment: what is sent before it runs waits in its socket.  Its death is told in one
 * place (exited), when the process is reaped and everything that it had written was read; only then is final what
 * stands in the shared memory.  A process that has to go is killed, whatever the reason; its exit does the rest. */
#include "remote/process_internal.h"

#include "remote/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A process whose connection has closed is dying: so long to tell how. */
#define EXIT_US 200000u
#define READS_MOST 64 /* of what a dead process has left; each takes megabytes */
#define ALONE_MOST 8   /* requests in flight, until threads of others' leave the writing to the pool */
#define WORDS 16384u /* requests in one process at a time */

static struct process_host *of(struct muster__host *base)
{
    return MUSTER_CONTAINER_OF(base, struct process_host, base);
}

void muster__process_host_acquire(struct process_host *host)
{
    atomic_fetch_add(&host->references, 1);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

void muster__process_host_release(struct process_host *host)
{
    if (atomic_fetch_sub(&host->references, 1) != 1)
        return;
    muster__link_ports_destroy(host->ports);
    muster__link_destroy(host->link);
    muster__shared_memory_destroy(host->memory);
    muster__last_words_reader_clean_up(&host->own.words);
    close_fd(host->own.words_pipe.source.fd);
    close_fd(host->own.errors_pipe.source.fd);
    muster__id_map_clean_up(&host->workers);
    muster__id_map_clean_up(&host->requests);
    muster__id_map_clean_up(&host->errands);
    pthread_mutex_destroy(&host->lock);
    pthread_cond_destroy(&host->answered);
    free(host->isolation);
    free(host);
}

static void log_host(struct process_host *host, enum muster_log_level level, const char *text)
{
    muster__processes_log(host->processes, level, host->name, "%s", text);
}

/* ---- sending ---- */

unsigned muster__process_host_urgency(const struct process_host *host)
{
    /* A thread of the pool flushes when its turn is over, many messages at a time.  Other threads write
     * themselves, which is quickest for one request, and leave it to the one that polls when there are many. */
    bool leave = muster__pool_is_current(host->processes->options.pool) ||
                 muster__shared_memory_taken(host->memory) > ALONE_MOST;
    return leave ? 0 : MUSTER__LINK_NOW;
}

void muster__process_host_send(struct process_host *host, const struct muster__wire_message *message,
                               unsigned flags)
{
    enum muster_status status = muster__link_send(host->link, message, flags);
    if (status != MUSTER_OK && status != MUSTER_CLOSED)
        muster__process_host_kill(host, status == MUSTER_QUEUE_FULL ? "it does not read"
                                                                    : muster_status_sentence(status));
}

void muster__process_host_kill(struct process_host *host, const char *reason)
{
    pthread_mutex_lock(&host->lock);
    bool first = !host->killed && !host->closed;
    if (first) {
        host->killed = true;
        host->killed_for = reason;
    }
    struct muster__process *process = host->closed ? NULL : host->process;
    if (process) /* under the lock: exited takes it away */
        (void)muster__process_kill(process, SIGKILL);
    pthread_mutex_unlock(&host->lock);
    atomic_fetch_or(&host->taken, PROCESS_DRAINING);
    atomic_store(&host->doomed, true);
}

void muster__process_host_distrust(struct process_host *host, const char *format, ...)
{
    va_list arguments;
    if (*host->own.fault)
        return;
    va_start(arguments, format);
    size_t used = (size_t)snprintf(host->own.fault, sizeof host->own.fault, "it sent ");
    vsnprintf(host->own.fault + used, sizeof host->own.fault - used, format, arguments);
    va_end(arguments);
    muster__process_host_kill(host, host->own.fault);
    muster__link_close(host->link);
}

/* ---- frames ---- */

static struct process_worker *find_worker(struct process_host *host, uint32_t id)
{
    pthread_mutex_lock(&host->lock);
    struct muster__id_node *node = muster__id_map_find(&host->workers, id);
    struct process_worker *worker = node ? MUSTER_CONTAINER_OF(node, struct process_worker, node) : NULL;
    if (worker)
        muster__process_worker_acquire(worker);
    pthread_mutex_unlock(&host->lock);
    return worker;
}

static void on_hello(struct process_host *host, const struct muster__wire_message *message)
{
    if (host->said_hello)
        muster__process_host_distrust(host, "HELLO twice");
    else if (message->hello.version != MUSTER__WIRE_VERSION)
        muster__process_host_distrust(host, "version %u of the wire", message->hello.version);
    host->said_hello = true;
    if (message->hello.grants & MUSTER__WIRE_TAKES_TYPES_KNOWN)
        atomic_store(&host->processes->takes_types_known, true);
}

/* A thread that was lost in there may still talk of its worker when that is gone; nothing else excuses it. */
static void judge_stray(struct process_host *host, const struct muster__wire_message *message)
{
    pthread_mutex_lock(&host->lock);
    bool was = message->worker <= host->last_worker;
    pthread_mutex_unlock(&host->lock);
    if (!was || message->type == MUSTER__WIRE_GONE || message->type == MUSTER__WIRE_STARTED)
        muster__process_host_distrust(host, "%s of a worker that it does not have",
                                      muster__wire_type_name(message->type));
}

static void on_worker_frame(struct process_host *host, struct muster__wire_message *message)
{
    struct process_worker *worker = find_worker(host, message->worker);
    if (!worker) {
        judge_stray(host, message);
        return;
    }
    switch (message->type) {
    case MUSTER__WIRE_CANCEL: muster__process_errand_cancel(worker, message); break;
    case MUSTER__WIRE_DISPATCH:
    case MUSTER__WIRE_BINDING_CALL:
    case MUSTER__WIRE_LOAD: muster__process_errand_frame(worker, message); break;
    default: muster__process_worker_frame(worker, message); break;
    }
    muster__process_worker_release(worker);
}

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    struct process_host *host = user_data;
    if (*host->own.fault)
        return;
    if (message->status == MUSTER_PENDING) {
        muster__process_host_distrust(host, "PENDING as the end of something");
        return;
    }
    switch (message->type) {
    case MUSTER__WIRE_HELLO: on_hello(host, message); /* fall through */
    case MUSTER__WIRE_PONG: /* whoever talks, but does not answer, does not read */
        atomic_store_explicit(&host->heard_us, muster__now_us(), memory_order_relaxed);
        break;
    case MUSTER__WIRE_RESULT:
    case MUSTER__WIRE_ENDED: muster__process_request_frame(host, message); break;
    case MUSTER__WIRE_BODY:
    case MUSTER__WIRE_BODY_END:
    case MUSTER__WIRE_BODY_ABORT:
    case MUSTER__WIRE_BODY_CREDIT:
        if (message->actor % 2 == 0)
            muster__process_request_frame(host, message);
        else
            muster__process_fetch_frame(host, message);
        break;
    case MUSTER__WIRE_PORT_OPEN:
    case MUSTER__WIRE_PORT_MESSAGE:
    case MUSTER__WIRE_PORT_CLOSE:
    case MUSTER__WIRE_PORT_CREDIT:
    case MUSTER__WIRE_PORT_MOVED: muster__link_ports_frame(host->ports, message); break;
    default: on_worker_frame(host, message); break;
    }
}

/* The keeper comes at that time, unless it is dead: then nothing would cancel the timer any more. */
static enum muster_status look_again(struct process_host *host, uint64_t at_us)
{
    struct muster__pool *pool = host->processes->options.pool;
    enum muster_status status = muster__pool_timer_set(pool, &host->timer, at_us);
    pthread_mutex_lock(&host->lock);
    bool closed = host->closed;
    pthread_mutex_unlock(&host->lock);
    if (closed)
        (void)muster__pool_timer_cancel(pool, &host->timer);
    return status;
}

static void on_link_ended(void *user_data, enum muster_status status, const char *sentence)
{
    struct process_host *host = user_data;
    host->link_ended = true;
    if (status != MUSTER_CLOSED && !*host->own.fault)
        snprintf(host->own.fault, sizeof host->own.fault, "its connection broke: %s", sentence);
    atomic_fetch_or(&host->taken, PROCESS_DRAINING);
    if (status != MUSTER_CLOSED)
        muster__process_host_kill(host, host->own.fault);
    else if (look_again(host, muster__now_us() + EXIT_US) != MUSTER_OK)
        muster__process_host_kill(host, "it closed its connection");
}

static void on_interest(void *user_data, uint32_t events)
{
    struct process_host *host = user_data;
    if (host->source.fd > 0)
        (void)!muster__pool_source_change(host->processes->options.pool, &host->source, events | EPOLLET);
}

static void flush_soon(void *user_data)
{
    struct process_host *host = user_data;
    if (!atomic_exchange(&host->flush_comes, true))
        muster__process_host_acquire(host); /* until flush() */
    muster__pool_flush(host->processes->options.pool, &host->flusher);
}

/* The one that has waited longest, of those that waited before `until`. */
static struct process_worker *take_stalled(struct process_host *host, uint64_t until)
{
    struct process_worker *first = NULL;
    pthread_mutex_lock(&host->lock);
    for (size_t i = 0; i < host->workers.capacity; i++)
        for (struct muster__id_node *at = host->workers.buckets[i]; at; at = at->next) {
            struct process_worker *worker = MUSTER_CONTAINER_OF(at, struct process_worker, node);
            if (worker->stalled && worker->stalled <= until && (!first || worker->stalled < first->stalled))
                first = worker;
        }
    if (first) {
        first->stalled = 0;
        muster__process_worker_acquire(first);
    }
    pthread_mutex_unlock(&host->lock);
    return first;
}

/* Those that found no room take from their slots again; who finds none again waits for the next time. */
static void on_drained(void *user_data)
{
    struct process_host *host = user_data;
    struct process_worker *stalled;
    muster__link_ports_drained(host->ports);
    pthread_mutex_lock(&host->lock);
    uint64_t until = host->last_stall;
    pthread_mutex_unlock(&host->lock);
    while ((stalled = take_stalled(host, until))) {
        muster__process_worker_pull(stalled);
        muster__process_worker_release(stalled);
    }
}

bool muster__process_host_has_room(struct process_host *host)
{
    if (muster__shared_memory_taken(host->memory) >= WORDS) {
        atomic_store(&host->words_short, true);
        if (muster__shared_memory_taken(host->memory) >= WORDS) /* said; now look again */
            return false;
    }
    return muster__link_has_room(host->link);
}

void muster__process_host_word_free(struct process_host *host)
{
    if (atomic_load(&host->words_short) && atomic_exchange(&host->words_short, false))
        on_drained(host);
}

static const struct muster__link_listener link_listener = {
    .frame = on_frame,
    .ended = on_link_ended,
    .interest = on_interest,
    .flush_soon = flush_soon,
    .drained = on_drained,
};

static void flush(struct muster__pool_flusher *flusher, uint64_t now_us)
{
    struct process_host *host = MUSTER_CONTAINER_OF(flusher, struct process_host, flusher);
    (void)now_us;
    bool held = atomic_exchange(&host->flush_comes, false);
    muster__link_flush(host->link);
    if (held)
        muster__process_host_release(host);
}

static void link_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct process_host *host = MUSTER_CONTAINER_OF(source, struct process_host, source);
    (void)now_us;
    bool more = !host->link_ended && muster__link_on_ready(host->link, events);
    if (host->link_ended)
        muster__pool_source_remove(host->processes->options.pool, source);
    else if (more) /* the others first: a flood holds nobody up */
        on_interest(host, muster__link_events(host->link));
}

static bool link_look(struct muster__pool_source *source)
{
    return muster__link_look(MUSTER_CONTAINER_OF(source, struct process_host, source)->link);
}

static bool link_sleep(struct muster__pool_source *source)
{
    return muster__link_sleep(MUSTER_CONTAINER_OF(source, struct process_host, source)->link);
}

/* ---- what it says to people ---- */

static void close_pipe(struct process_pipe *pipe)
{
    if (!pipe->open)
        return;
    pipe->open = false;
    muster__pool_source_remove(pipe->host->processes->options.pool, &pipe->source);
}

static void words_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct process_pipe *pipe = MUSTER_CONTAINER_OF(source, struct process_pipe, source);
    (void)events;
    (void)now_us;
    if (!muster__last_words_reader_read(&pipe->host->own.words, source->fd))
        close_pipe(pipe);
}

/* Level-triggered: a flood is read piece by piece, between other things. */
static void errors_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct process_pipe *pipe = MUSTER_CONTAINER_OF(source, struct process_pipe, source);
    (void)events;
    (void)now_us;
    if (!muster__error_tail_read(&pipe->host->own.errors, source->fd, NULL))
        close_pipe(pipe);
}

static void on_error_line(const char *line, size_t length, void *user_data)
{
    struct process_host *host = user_data;
    muster__processes_log(host->processes, MUSTER_LOG_WARNING, host->name, "standard error: %.*s", (int)length,
                          line);
}

/* ---- death ---- */

/* Everything that it wrote before it died counts: answers, last words, lines. */
static void read_the_rest(struct process_host *host)
{
    for (int i = 0; i < READS_MOST && !host->link_ended; i++)
        link_ready(&host->source, EPOLLIN | EPOLLHUP, 0);
    if (!host->link_ended) { /* a grandchild holds the socket: it has nothing to say to us */
        host->link_ended = true;
        muster__pool_source_remove(host->processes->options.pool, &host->source);
    }
    muster__link_close(host->link);
    (void)muster__last_words_reader_read(&host->own.words, host->own.words_pipe.source.fd);
    bool more = true;
    for (int i = 0; more && i < 16; i++)
        (void)muster__error_tail_read(&host->own.errors, host->own.errors_pipe.source.fd, &more);
    muster__error_tail_finish(&host->own.errors);
    close_pipe(&host->own.words_pipe);
    close_pipe(&host->own.errors_pipe);
}

/* Why, who, and what it said last. */
static void describe_death(struct process_host *host, const struct muster__exit_report *report,
                           char *text, size_t size)
{
    struct muster__last_words words;
    char tail[1024];
    bool spoke = muster__last_words_reader_parse(&host->own.words, &words);
    size_t used = (size_t)muster__exit_describe(text, size, host->name, muster__process_pid(host->process),
                                                report, spoke ? &words : NULL);
    if (used < size && host->killed_for && !muster__exit_is_limit(report))
        used += (size_t)snprintf(text + used, size - used, " (%s)", host->killed_for);
    if (muster__error_tail_text(&host->own.errors, tail, sizeof tail) > 0 && used < size)
        snprintf(text + used, size - used, "; its standard error ended with: %s", tail);
}

static struct process_worker *any_worker(struct process_host *host)
{
    pthread_mutex_lock(&host->lock);
    struct muster__id_node *node = muster__id_map_any(&host->workers);
    struct process_worker *worker = node ? MUSTER_CONTAINER_OF(node, struct process_worker, node) : NULL;
    if (worker)
        muster__process_worker_acquire(worker);
    pthread_mutex_unlock(&host->lock);
    return worker;
}

static bool is_suspect(struct process_host *host, struct process_worker *worker, enum process_blame blame)
{
    pthread_mutex_lock(&host->lock);
    bool suspect = muster__process_worker_is_suspect_locked(worker, blame);
    pthread_mutex_unlock(&host->lock);
    return suspect;
}

/* The narrowest circle in which there is somebody.  A process that was killed from outside names only who ran. */
static enum process_blame whom_to_blame(struct process_host *host)
{
    enum process_blame blame = PROCESS_BLAME_RUNNING;
    bool found = !host->own.blames;
    pthread_mutex_lock(&host->lock);
    for (; !found && blame < PROCESS_BLAME_ALL; blame += !found)
        for (size_t i = 0; i < host->workers.capacity && !found; i++)
            for (struct muster__id_node *at = host->workers.buckets[i]; at && !found; at = at->next)
                found = muster__process_worker_is_suspect_locked(
                    MUSTER_CONTAINER_OF(at, struct process_worker, node), blame);
    pthread_mutex_unlock(&host->lock);
    return blame;
}

/* Those that were at work when it died may be to blame (CRASHED); the others just lost their home (RETRY). */
static void end_workers(struct process_host *host, const char *sentence)
{
    struct muster__last_words words;
    bool spoke = muster__last_words_reader_parse(&host->own.words, &words) &&
                 words.worker != MUSTER__LAST_WORDS_NOBODY;
    enum process_blame blame = whom_to_blame(host);
    struct process_worker *worker;
    while ((worker = any_worker(host))) {
        bool suspect = spoke ? words.worker == worker->id : is_suspect(host, worker, blame);
        struct muster_error error = {.status = suspect ? MUSTER_CRASHED : MUSTER_RETRY,
                                     .message = (char *)sentence};
        muster__process_worker_end(worker, error.status, &error, worker->stats.turns, true);
        muster__process_worker_release(worker);
    }
}

static void list_host(struct process_host *host)
{
    struct muster__processes *processes = host->processes;
    pthread_mutex_lock(&processes->lock);
    host->next = processes->hosts;
    if (processes->hosts)
        processes->hosts->previous = host;
    processes->hosts = host;
    pthread_mutex_unlock(&processes->lock);
    atomic_fetch_add(&processes->count, 1);
}

static void unlist_host(struct process_host *host)
{
    struct muster__processes *processes = host->processes;
    pthread_mutex_lock(&processes->lock);
    *(host->previous ? &host->previous->next : &processes->hosts) = host->next;
    if (host->next)
        host->next->previous = host->previous;
    pthread_cond_broadcast(&processes->one_less);
    pthread_mutex_unlock(&processes->lock);
    atomic_fetch_sub(&processes->count, 1);
}

static struct muster__process *close_host(struct process_host *host)
{
    pthread_mutex_lock(&host->lock);
    struct muster__process *process = host->process;
    host->process = NULL;
    host->closed = true;
    pthread_mutex_unlock(&host->lock);
    return process;
}

/* Nobody comes any more, and who is there has either listed the request, or takes its ports back. */
static void end_ports(struct process_host *host)
{
    pthread_mutex_lock(&host->lock);
    while (host->mailing)
        pthread_cond_wait(&host->answered, &host->lock);
    pthread_mutex_unlock(&host->lock);
    muster__link_ports_end(host->ports);
}

void muster__process_host_bury(struct process_host *host)
{
    struct process_worker *worker;
    muster__process_destroy(close_host(host));
    while ((worker = any_worker(host))) { /* those that were given up: nobody waits for their end */
        pthread_mutex_lock(&host->lock);
        (void)muster__id_map_remove(&host->workers, worker->id);
        worker->gone = true;
        pthread_mutex_unlock(&host->lock);
        muster__process_worker_hush(worker);
        muster__process_worker_release(worker);
        muster__process_worker_release(worker); /* the map's */
    }
    muster__process_host_part(host);
    end_ports(host);
    unlist_host(host);
    atomic_store(&host->dead, true);
    muster__process_host_release(host);
}

static void finish(struct process_host *host, const char *sentence, bool in_order)
{
    struct muster__process *process = close_host(host);
    (void)muster__pool_timer_cancel(host->processes->options.pool, &host->timer);
    log_host(host, in_order ? MUSTER_LOG_DEBUG : MUSTER_LOG_ERROR, sentence);
    end_workers(host, sentence);
    muster__process_host_part(host);
    end_ports(host); /* what was to go with requests that move is out of it */
    muster__process_requests_abort(host, sentence);
    muster__process_destroy(process);
    unlist_host(host);
    atomic_store(&host->dead, true);
    muster__process_host_release(host); /* the process's */
}

/* It may die before the thread that made it has come to the end of that. */
static void wait_for_birth(struct process_host *host)
{
    pthread_mutex_lock(&host->lock);
    pthread_mutex_unlock(&host->lock);
}

static void on_exited(struct muster__process *process, const struct muster__exit_report *report,
                      void *user_data)
{
    struct process_host *host = user_data;
    char sentence[2048];
    (void)process;
    wait_for_birth(host);
    read_the_rest(host);
    host->own.blames = muster__exit_is_limit(report) || muster__exit_is_oom(report) ||
                       (report->cause == MUSTER__EXIT_BY_ITSELF && report->signal != SIGKILL && report->signal != SIGTERM &&
                        !host->keep.shut_down);
    describe_death(host, report, sentence, sizeof sentence);
    finish(host, sentence, host->keep.shut_down && report->signal == 0 && report->code == 0);
}

static void on_spawned(struct muster__process *process, enum muster_status status,
                       const struct muster_error *error, pid_t pid, int pidfd, void *user_data)
{
    struct process_host *host = user_data;
    char sentence[512];
    (void)process;
    (void)pid;
    (void)pidfd;
    if (status == MUSTER_OK)
        return;
    wait_for_birth(host);
    read_the_rest(host);
    snprintf(sentence, sizeof sentence, "%s could not be started: %s", host->name,
             error && error->message ? error->message : muster_status_sentence(status));
    finish(host, sentence, false);
}

/* ---- the keeper: heartbeat, silence, emptiness ---- */

static void timer_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct process_host *host = MUSTER_CONTAINER_OF(timer, struct process_host, timer);
    (void)now_us;
    muster__pool_schedule(host->processes->options.pool, &host->keeper);
}

/* Bytes resident, as the system counts them; of its workers' turns, as they told last. */
static void measure(struct process_host *host)
{
    char path[64], line[128] = "";
    unsigned long long size = 0, resident = 0;
    pthread_mutex_lock(&host->lock);
    pid_t pid = host->process ? muster__process_pid(host->process) : 0;
    pthread_mutex_unlock(&host->lock);
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return;
    if (fgets(line, sizeof line, file) && sscanf(line, "%llu %llu", &size, &resident) == 2)
        atomic_store(&host->resident, resident * (uint64_t)sysconf(_SC_PAGESIZE));
    (void)fclose(file);
}

static void ping(struct process_host *host)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PING};
    message.ping.number = ++host->keep.ping;
    muster__process_host_send(host, &message, 0);
}

/* A host that nobody uses ends: nothing is taken from then on. */
static void look_empty(struct process_host *host, uint64_t now_us)
{
    unsigned none = 0;
    if (host->keep.empty_since_us == 0)
        host->keep.empty_since_us = now_us;
    if (now_us - host->keep.empty_since_us < host->processes->options.empty_us &&
        !(atomic_load(&host->taken) & PROCESS_DRAINING))
        return;
    if (host->keep.shut_down) { /* asked, and still there */
        muster__process_host_kill(host, "it did not end when asked");
        return;
    }
    if (!atomic_compare_exchange_strong(&host->taken, &none, PROCESS_DRAINING) && none != PROCESS_DRAINING)
        return;
    host->keep.shut_down = true;
    muster__process_host_send(host, &(struct muster__wire_message){.type = MUSTER__WIRE_SHUTDOWN},
                              MUSTER__LINK_NOW);
}

static bool keeper_turn(struct muster__actor *actor)
{
    struct process_host *host = MUSTER_CONTAINER_OF(actor, struct process_host, keeper);
    const struct muster__processes_options *options = &host->processes->options;
    uint64_t now_us = muster__now_us();
    if (atomic_load(&host->dead))
        return false;
    if (host->link_ended) {
        muster__process_host_kill(host, "it closed its connection");
    } else if ((atomic_load(&host->taken) & ~PROCESS_DRAINING) == 0) {
        atomic_store(&host->heard_us, now_us); /* nobody asked it anything */
        look_empty(host, now_us);
    } else {
        host->keep.empty_since_us = 0;
        if (atomic_load(&host->heard_us) + options->silent_us < now_us) /* heard later than `now_us`, perhaps */
            muster__process_host_kill(host, "it was silent for too long");
        else
            ping(host);
        measure(host);
    }
    if (look_again(host, now_us + options->heartbeat_us) != MUSTER_OK)
        log_host(host, MUSTER_LOG_WARNING, "out of memory: it is watched no more");
    return false;
}

static void keeper_acquire(struct muster__actor *actor)
{
    muster__process_host_acquire(MUSTER_CONTAINER_OF(actor, struct process_host, keeper));
}

static void keeper_release(struct muster__actor *actor)
{
    muster__process_host_release(MUSTER_CONTAINER_OF(actor, struct process_host, keeper));
}

/* ---- as struct muster__host ---- */

static bool host_try_take(struct muster__host *base)
{
    struct process_host *host = of(base);
    unsigned taken = atomic_load(&host->taken);
    do
        if ((taken & PROCESS_DRAINING) || atomic_load(&host->dead))
            return false;
    while (!atomic_compare_exchange_weak(&host->taken, &taken, taken + 1));
    return true;
}

static void host_give_back(struct muster__host *base)
{
    unsigned before = atomic_fetch_sub(&of(base)->taken, 1);
    MUSTER_CHECK((before & ~PROCESS_DRAINING) > 0);
}

static void host_drain(struct muster__host *base)
{
    atomic_fetch_or(&of(base)->taken, PROCESS_DRAINING);
}

static enum muster_status host_start(struct muster__host *base,
                                     const struct muster__worker_options *options,
                                     struct muster__remote_worker **ret_worker)
{
    enum muster_status status = muster__process_worker_new(of(base), options, ret_worker);
    if (status == MUSTER_OK)
        (*ret_worker)->host = base;
    else
        host_give_back(base);
    return status;
}

static void host_refresh(struct muster__host *base, uint64_t now_us)
{
    struct process_host *host = of(base);
    (void)now_us;
    if (atomic_load(&host->dead))
        base->view.state = MUSTER_PLACEMENT_DEAD;
    else if (atomic_load(&host->taken) & PROCESS_DRAINING)
        base->view.state = MUSTER_PLACEMENT_DRAINING;
}

static bool host_is_worn(struct muster__host *base, uint64_t now_us)
{
    struct process_host *host = of(base);
    const struct muster__processes_options *options = &host->processes->options;
    return (options->recycle_age_us && now_us - host->started_us > options->recycle_age_us) ||
           (options->recycle_turns && atomic_load(&host->turns) > options->recycle_turns) ||
           (options->recycle_memory && atomic_load(&host->resident) > options->recycle_memory);
}

static bool host_is_ready(struct muster__host *base)
{
    return atomic_load(&of(base)->said_hello);
}

static int host_pid(struct muster__host *base)
{
    struct process_host *host = of(base);
    pthread_mutex_lock(&host->lock);
    int pid = host->process ? (int)muster__process_pid(host->process) : 0; /* under the lock: exited takes it away */
    pthread_mutex_unlock(&host->lock);
    return pid > 0 ? pid : 0;
}

static void host_destroy(struct muster__host *base)
{
    struct process_host *host = of(base);
    muster__process_host_kill(host, "muster ends");
    muster__process_host_release(host);
}

static const struct muster__host_class host_class = {
    .kind = "process",
    .try_take = host_try_take,
    .start = host_start,
    .give_back = host_give_back,
    .drain = host_drain,
    .refresh = host_refresh,
    .is_worn = host_is_worn,
    .is_ready = host_is_ready,
    .pid = host_pid,
    .destroy = host_destroy,
};

/* ---- birth ---- */

struct ends {
    int data[2], channel[2], words[2], errors[2]; /* ours, the child's */
};

static void close_ends(struct ends *ends, int which)
{
    close_fd(ends->data[which]);
    close_fd(ends->channel[which]);
    close_fd(ends->words[which]);
    close_fd(ends->errors[which]);
    ends->data[which] = ends->channel[which] = ends->words[which] = ends->errors[which] = -1;
}

static bool open_ends(struct ends *ends)
{
    *ends = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    bool open = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends->data) == 0 &&
                socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends->channel) == 0 &&
                pipe2(ends->words, O_CLOEXEC) == 0 && pipe2(ends->errors, O_CLOEXEC) == 0 &&
                fcntl(ends->words[0], F_SETFL, O_NONBLOCK) == 0 &&
                fcntl(ends->errors[0], F_SETFL, O_NONBLOCK) == 0;
    return open;
}

static void host_acquire(void *user_data)
{
    muster__process_host_acquire(user_data);
}

static void host_release(void *user_data)
{
    muster__process_host_release(user_data);
}

static void ports_fault(void *user_data, const char *sentence)
{
    muster__process_host_distrust(user_data, "%s", sentence);
}

static enum muster_status make_ports(struct process_host *host)
{
    const struct muster__link_ports_options options = {
        .link = host->link,
        .pool = host->processes->options.pool,
        .side = MUSTER__WIRE_PARENT,
        .fault = ports_fault,
        .acquire = host_acquire,
        .release = host_release,
        .meet = muster__process_hosts_meet,
        .user_data = host,
    };
    return muster__link_ports_new(&options, &host->ports);
}

static enum muster_status make_link(struct process_host *host, struct ends *ends)
{
    const struct muster__link_options options = {
        .side = MUSTER__WIRE_PARENT,
        .data_fd = ends->data[0],
        .descriptor_fd = ends->channel[0],
        .listener = &link_listener,
        .user_data = host,
        .ring = true,
    };
    enum muster_status status = muster__link_new(&options, &host->link);
    if (status == MUSTER_OK)
        ends->data[0] = ends->channel[0] = -1;
    host->own.words_pipe = (struct process_pipe){{ends->words[0], words_ready}, host, false};
    host->own.errors_pipe = (struct process_pipe){{ends->errors[0], errors_ready}, host, false};
    ends->words[0] = ends->errors[0] = -1;
    return status;
}

static enum muster_status spawn(struct process_host *host, const struct ends *ends, const char *readable,
                                struct muster_error *error)
{
    const char *const arguments[] = {"--readable", readable, NULL};
    const struct muster__process_options process = {
        .name = host->name,
        .descriptors = {[MUSTER__HOST_FD_ERRORS] = ends->errors[1],
                        [MUSTER__HOST_FD_CHANNEL] = ends->channel[1],
                        [MUSTER__HOST_FD_DATA] = ends->data[1],
                        [MUSTER__HOST_FD_LAST_WORDS] = ends->words[1],
                        [MUSTER__HOST_FD_MEMORY] = muster__shared_memory_fd(host->memory)},
        .arguments = readable ? arguments : NULL,
        .may_be_copy = host->may_be_copy,
        .open_files = host->limits.open_files,
        .children = host->limits.children,
        .cpu_seconds = host->limits.cpu_seconds,
        .memory = host->limits.memory,
        .spawned = on_spawned,
        .exited = on_exited,
        .user_data = host,
    };
    return muster__launcher_spawn(host->processes->launcher, &process, &host->process, error);
}

/* From here on it lives, and dies only by its process. */
static enum muster_status add_sources(struct process_host *host)
{
    struct muster__pool *pool = host->processes->options.pool;
    host->source = (struct muster__pool_source){
        .fd = muster__link_fd(host->link), .ready = link_ready, .look = link_look, .sleep = link_sleep};
    enum muster_status status =
        muster__pool_source_add(pool, &host->source, muster__link_events(host->link) | EPOLLET);
    if (status == MUSTER_OK) {
        status = muster__pool_source_add(pool, &host->own.words_pipe.source, EPOLLIN);
        host->own.words_pipe.open = status == MUSTER_OK;
    }
    if (status == MUSTER_OK) {
        status = muster__pool_source_add(pool, &host->own.errors_pipe.source, EPOLLIN);
        host->own.errors_pipe.open = status == MUSTER_OK;
    }
    return status;
}

/* Under its lock, for which its first callback waits. */
static enum muster_status be_born(struct process_host *host, const struct ends *ends, const char *readable,
                                  struct muster_error *error)
{
    pthread_mutex_lock(&host->lock);
    enum muster_status status = spawn(host, ends, readable, error);
    if (status == MUSTER_OK) {
        muster__process_host_acquire(host); /* the process's, until it is dead */
        list_host(host);
        status = add_sources(host);
        if (status != MUSTER_OK) /* its exit does the rest */
            (void)muster__process_kill(host->process, SIGKILL);
    }
    pthread_mutex_unlock(&host->lock);
    return status;
}

enum muster_status muster__process_host_new(struct muster__processes *processes, unsigned number,
                                            const struct muster__process_needs *needs, bool may_be_copy,
                                            struct process_host **ret_host, struct muster_error *error)
{
    struct ends ends;
    struct process_host *host = calloc(1, sizeof *host);
    if (!host)
        return MUSTER_NO_MEMORY;
    atomic_init(&host->references, 1);
    host->processes = processes;
    host->limits = needs->limits;
    host->may_be_copy = may_be_copy;
    host->base.class = &host_class;
    host->flusher.flush = flush;
    host->timer.fire = timer_fire;
    host->started_us = muster__now_us();
    atomic_store(&host->heard_us, host->started_us);
    host->own.words_pipe.source.fd = host->own.errors_pipe.source.fd = -1;
    snprintf(host->name, sizeof host->name, "host %u", number);
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->answered, NULL);
    muster__actor_init(&host->keeper, keeper_turn);
    host->keeper.acquire = keeper_acquire;
    host->keeper.release = keeper_release;
    muster__last_words_reader_init(&host->own.words);
    muster__error_tail_init(&host->own.errors, on_error_line, host);
    enum muster_status status = open_ends(&ends) ? MUSTER_OK : MUSTER_SYSTEM;
    if (status == MUSTER_OK)
        status = muster__shared_memory_new(WORDS, &host->memory);
    if (status == MUSTER_OK)
        status = make_link(host, &ends);
    if (status == MUSTER_OK)
        status = make_ports(host);
    if (status == MUSTER_OK)
        status = be_born(host, &ends, needs->readable, error);
    if (status == MUSTER_SYSTEM && !error->message)
        muster_error_set(error, status, "cannot make a process for workers: %s", strerror(errno));
    close_ends(&ends, 1);
    close_ends(&ends, 0);
    if (status == MUSTER_OK) {
        *ret_host = host;
        return MUSTER_OK;
    }
    muster__process_host_release(host);
    return status;
}

static uint32_t grants_of(const struct muster__processes_options *options)
{
    return (options->network ? MUSTER__CHILD_GRANT_NETWORK : 0u) |
           (options->spawn ? MUSTER__CHILD_GRANT_SPAWN : 0u) |
           (options->partial_wall ? MUSTER__CHILD_GRANT_PARTIAL_WALL : 0u);
}

enum muster_status muster__process_host_assign(struct process_host *host,
                                               const struct muster_placement_request *request)
{
    const struct muster__processes_options *options = &host->processes->options;
    struct muster__wire_message hello = {.type = MUSTER__WIRE_HELLO};
    host->isolation = muster__strdup(request->isolation);
    if (request->isolation && !host->isolation)
        return MUSTER_NO_MEMORY;
    host->base.view = (struct muster_placement_host){.size = sizeof host->base.view,
                                                     .kind = MUSTER_PLACEMENT_PROCESS,
                                                     .state = MUSTER_PLACEMENT_READY,
                                                     .isolation = host->isolation,
                                                     .trust = request->trust,
                                                     .cores = options->threads,
                                                     .memory_limit = host->limits.memory};
    hello.hello.version = MUSTER__WIRE_VERSION;
    hello.hello.threads = options->threads;
    hello.hello.trust = request->trust;
    hello.hello.grants = grants_of(options);
    hello.hello.word_count = WORDS;
    hello.hello.memory = host->limits.memory;
    hello.hello.heartbeat_us = options->heartbeat_us;
    hello.hello.name = host->name;
    atomic_store(&host->heard_us, muster__now_us());
    enum muster_status status = muster__link_send(host->link, &hello, MUSTER__LINK_NOW);
    if (status == MUSTER_OK)
        status = look_again(host, muster__now_us() + options->heartbeat_us);
    return status;
}
