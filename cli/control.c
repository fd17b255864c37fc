/* cli/control.c - see control.h.
 *
 * "Owner" is the thread that polls: sources and the flusher run there.  An operation is one request on its way
 * through the instance; whoever settles it writes its answer, pushes it on `answered`, and touches it no more. */
#include "cli/control.h"

#include "cli/control_folder.h"
#include "cli/control_log.h"
#include "cli/control_request.h"
#include "cli/log.h"
#include "coordinator/context.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MOST 64
#define READ_SIZE ((size_t)16 << 10)
#define REST_US 250000 /* of a listener for which no descriptor was free */

struct operation;

struct connection {
    struct muster__pool_source source;
    struct muster__control *control;
    struct connection *next, *previous;
    struct connection *next_dirty;
    struct operation *operation; /* NULL: none is on its way */
    char *in, *out;
    size_t in_length, in_room, out_length, out_sent, out_room;
    bool dirty, dead, readable, writable, ended; /* ended: it sends nothing more */
    bool closing;                                /* once what is in `out` was sent */
    bool follows;
    struct muster__control_log_reader reader;
};

struct operation {
    struct operation *next;
    struct muster__control *control;
    struct connection *connection; /* owner; NULL: it is gone */
    enum muster__control_kind kind;
    struct muster_handle *handle; /* owner; of an event: nobody may want it any more; NULL: of anything else */
    char *answer; /* a line; NULL: out of memory */
};

struct muster__control {
    struct muster *muster; /* NULL: not started */
    struct muster__pool *pool; /* NULL: not started, or gone */
    struct muster__control_listener listener;
    struct muster__pool_source source;
    struct muster__pool_flusher flusher;
    struct muster__pool_timer rest;
    struct muster__control_log *log;
    char *app, *address;
    int64_t began_ms;
    uint64_t began_us;

    struct connection *connections, *dead, *dirty; /* owner */
    unsigned count;
    bool rests;

    _Atomic(struct operation *) answered;
    atomic_uint followers, debuggers; /* debuggers: those of them who want everything */
    atomic_bool rested;

    pthread_mutex_t gate; /* of the instance: held while something is asked of it */
    bool stopped;         /* under the gate: nothing more is */
    atomic_bool silent;   /* the pool may be gone: followers are not woken any more */
};

/* ---- answers: any thread ---- */

static char *line_of(struct muster_value *take_value)
{
    size_t ignored;
    return muster__control_line(take_value, &ignored);
}

static struct muster_value *number(uint64_t value)
{
    return muster_value_new_number((double)value);
}

static char *refusal(enum muster_status status, const struct muster_error *error)
{
    char *sentence = muster__log_describe(error, status);
    char *line = line_of(MUSTER__OBJECT({"ok", muster_value_new_boolean(false)},
                                        {"status", muster_value_new_text(muster_status_name(status))},
                                        {"error", muster__tree_text(sentence)}));
    free(sentence);
    return line;
}

static struct muster_value *tree_of_error(const struct muster_error *error, enum muster_status status)
{
    if (!error)
        return MUSTER__OBJECT({"message", muster_value_new_text(muster_status_sentence(status))});
    return MUSTER__OBJECT({"name", muster__tree_text(error->name)},
                          {"message", muster__tree_text(error->message ? error->message : muster_status_sentence(status))},
                          {"file", muster__tree_text(error->file)},
                          {"line", muster_value_new_number(error->line)},
                          {"column", muster_value_new_number(error->column)},
                          {"stack", muster__tree_text(error->stack)});
}

static struct muster_value *shared(const struct muster_value *value)
{
    return value ? muster_value_acquire(value) : muster_value_new_null();
}

static char *settlement(enum muster_status status, const struct muster_error *error, const struct muster_value *value)
{
    bool good = status == MUSTER_OK;
    return line_of(MUSTER__OBJECT(
        {"ok", muster_value_new_boolean(true)},
        {"settlement", MUSTER__OBJECT({"status", muster_value_new_text(muster_status_name(status))},
                                      {"value", shared(value)},
                                      {"error", good ? muster_value_new_null() : tree_of_error(error, status)})}));
}

static char *list(const struct muster__control *control, const struct muster_value *value)
{
    return line_of(MUSTER__OBJECT(
        {"ok", muster_value_new_boolean(true)},
        {"server", MUSTER__OBJECT({"version", muster_value_new_text(muster_version())},
                                  {"pid", number((uint64_t)getpid())},
                                  {"app", muster__tree_text(control->app)},
                                  {"address", muster__tree_text(control->address)},
                                  {"began_ms", muster_value_new_number((double)control->began_ms)},
                                  {"age_ms", number((muster__now_us() - control->began_us) / 1000)})},
        {"workers", shared(muster_value_get(value, "workers"))},
        {"more", shared(muster_value_get(value, "more"))}));
}

static char *statistics(const struct muster__control *control)
{
    struct muster_stats stats = {.size = sizeof(stats)};
    muster_stats(control->muster, &stats);
    return line_of(MUSTER__OBJECT(
        {"ok", muster_value_new_boolean(true)},
        {"stats", MUSTER__OBJECT({"registrations", number(stats.registrations)},
                                 {"workers_running", number(stats.workers_running)}, {"events", number(stats.events)},
                                 {"events_failed", number(stats.events_failed)}, {"starts", number(stats.starts)},
                                 {"start_failures", number(stats.start_failures)}, {"revivals", number(stats.revivals)},
                                 {"idle_ends", number(stats.idle_ends)}, {"forced_ends", number(stats.forced_ends)},
                                 {"wedged", number(stats.wedged)}, {"turns", number(stats.turns)},
                                 {"steals", number(stats.steals)}, {"threads", number(stats.threads)},
                                 {"age_ms", number((muster__now_us() - control->began_us) / 1000)})}));
}

static char *answer_to(const struct operation *operation, const struct muster_result *result)
{
    if (operation->kind == MUSTER__CONTROL_SEND)
        return settlement(result->status, result->error, result->value);
    if (result->status != MUSTER_OK)
        return refusal(result->status, result->error);
    if (operation->kind == MUSTER__CONTROL_PS)
        return list(operation->control, result->value);
    return line_of(MUSTER__OBJECT({"ok", muster_value_new_boolean(true)}));
}

/* The operation is the owner's again. */
static void push(struct operation *operation)
{
    struct muster__control *control = operation->control;
    struct operation *head = atomic_load(&control->answered);
    do
        operation->next = head;
    while (!atomic_compare_exchange_weak(&control->answered, &head, operation));
    muster__pool_flush(control->pool, &control->flusher);
}

/* muster_done_fn. */
static void done(const struct muster_result *result, void *user_data)
{
    struct operation *operation = user_data;
    operation->answer = answer_to(operation, result);
    push(operation);
}

/* ---- connections: owner ---- */

static void mark_dirty(struct connection *connection)
{
    if (connection->dirty || connection->dead)
        return;
    connection->dirty = true;
    connection->next_dirty = connection->control->dirty;
    connection->control->dirty = connection;
}

static void unfollow(struct connection *connection)
{
    if (!connection->follows)
        return;
    connection->follows = false;
    atomic_fetch_sub(&connection->control->followers, 1);
    if (connection->reader.level == MUSTER_LOG_DEBUG)
        atomic_fetch_sub(&connection->control->debuggers, 1);
}

/* Whoever asked has left: an event goes on, but nobody waits for it. */
static void forsake(struct muster__control *control, struct operation *operation)
{
    operation->connection = NULL;
    pthread_mutex_lock(&control->gate);
    if (operation->handle && !control->stopped)
        muster_cancel(operation->handle);
    pthread_mutex_unlock(&control->gate);
}

/* It is freed by the flush: it may be on the list of those that are dirty. */
static void kill_connection(struct connection *connection)
{
    struct muster__control *control = connection->control;
    if (connection->dead)
        return;
    connection->dead = true;
    unfollow(connection);
    if (connection->operation)
        forsake(control, connection->operation);
    if (control->pool)
        muster__pool_source_remove(control->pool, &connection->source);
    close(connection->source.fd);
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        control->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    control->count--;
    connection->next = control->dead;
    control->dead = connection;
}

static void free_connection(struct connection *connection)
{
    free(connection->in);
    free(connection->out);
    free(connection);
}

/* False: out of memory. */
static bool make_room(char **memory, size_t *room, size_t wanted)
{
    size_t more = *room ? *room : READ_SIZE;
    while (more < wanted)
        more *= 2;
    char *larger = more > *room ? realloc(*memory, more) : *memory;
    if (!larger)
        return false;
    *memory = larger;
    *room = more;
    return true;
}

/* Takes the line; without one, or without memory for it, the connection ends. */
static void say(struct connection *connection, char *take_line)
{
    size_t length = take_line ? strlen(take_line) : 0;
    if (!length || !make_room(&connection->out, &connection->out_room, connection->out_length + length)) {
        kill_connection(connection);
    } else {
        memcpy(connection->out + connection->out_length, take_line, length);
        connection->out_length += length;
    }
    free(take_line);
}

/* ---- requests: owner ---- */

static enum muster_status register_scope(struct muster *muster, const struct muster__control_request *request,
                                         struct operation *operation)
{
    const struct muster_registration_options options = {
        .size = sizeof(options),
        .scope = request->scope,
        .script = request->script,
        .engine = request->engine,
        .tenant = request->tenant,
        .module = request->module,
        .lazy = request->lazy,
        .trust = request->trust,
        .hosting = request->isolation,
    };
    return muster_register(muster, &options, done, operation, NULL);
}

/* OK: `done` comes, or has come. */
static enum muster_status ask(struct muster *muster, const struct muster__control_request *request,
                              struct operation *operation)
{
    const struct muster_event_options event = {.size = sizeof(event), .timeout_ms = request->timeout_ms};
    const struct muster_list_options which = {
        .size = sizeof(which), .scope = request->scope, .running = request->running};
    switch (request->kind) {
    case MUSTER__CONTROL_PS: return muster_list(muster, &which, done, operation, NULL);
    case MUSTER__CONTROL_SEND:
        return muster_dispatch(muster, request->scope, request->type,
                               request->data ? muster_value_acquire(request->data) : NULL, &event, done, operation,
                               &operation->handle);
    case MUSTER__CONTROL_REGISTER: return register_scope(muster, request, operation);
    case MUSTER__CONTROL_UPDATE: return muster_update(muster, request->scope, done, operation, NULL);
    case MUSTER__CONTROL_UNREGISTER: return muster_unregister(muster, request->scope, done, operation, NULL);
    case MUSTER__CONTROL_STOP: return muster_stop(muster, request->scope, done, operation, NULL);
    case MUSTER__CONTROL_LOGS:
    case MUSTER__CONTROL_STATS:
    case MUSTER__CONTROL_KIND_COUNT: break;
    }
    MUSTER_CHECK(false);
    return MUSTER_UNSUPPORTED;
}

/* An instance that is destroyed is asked nothing: what it did not hear of before, nobody would settle. */
static enum muster_status begin(struct muster__control *control, const struct muster__control_request *request,
                                struct operation *operation)
{
    pthread_mutex_lock(&control->gate);
    enum muster_status status = control->stopped ? MUSTER_SHUTDOWN : ask(control->muster, request, operation);
    pthread_mutex_unlock(&control->gate);
    return status;
}

static void operate(struct connection *connection, const struct muster__control_request *request)
{
    struct muster__control *control = connection->control;
    struct operation *operation = calloc(1, sizeof(*operation));
    if (!operation) {
        say(connection, refusal(MUSTER_NO_MEMORY, NULL));
        return;
    }
    operation->control = control;
    operation->connection = connection;
    operation->kind = request->kind;
    connection->operation = operation;
    enum muster_status status = begin(control, request, operation);
    if (status == MUSTER_OK)
        return;
    connection->operation = NULL;
    free(operation);
    say(connection, request->kind == MUSTER__CONTROL_SEND ? settlement(status, NULL, NULL) : refusal(status, NULL));
}

static void follow(struct connection *connection, const struct muster__control_request *request)
{
    struct muster__control *control = connection->control;
    muster__control_log_begin(control->log, request->level, request->lines, &connection->reader);
    connection->follows = true;
    connection->closing = !request->follow;
    atomic_fetch_add(&control->followers, 1);
    if (request->level == MUSTER_LOG_DEBUG)
        atomic_fetch_add(&control->debuggers, 1);
    say(connection, line_of(MUSTER__OBJECT({"ok", muster_value_new_boolean(true)})));
}

static void take_line(struct connection *connection, const char *line, size_t length)
{
    struct muster__control_request request;
    struct muster_error error = {0};
    enum muster_status status = muster__control_request_parse(line, length, &request, &error);
    if (status != MUSTER_OK) {
        say(connection, refusal(status, &error));
        muster_error_clean_up(&error);
        return;
    }
    if (request.kind == MUSTER__CONTROL_LOGS)
        follow(connection, &request);
    else if (request.kind == MUSTER__CONTROL_STATS)
        say(connection, statistics(connection->control));
    else
        operate(connection, &request);
    muster__control_request_clean_up(&request);
}

/* Is there one more to begin, and may it begin? */
static bool may_take(const struct connection *connection)
{
    return !connection->dead && !connection->operation && !connection->follows && !connection->closing &&
           connection->out_length == 0;
}

static void take_lines(struct connection *connection)
{
    while (may_take(connection) && connection->in_length) {
        char *end = memchr(connection->in, '\n', connection->in_length);
        size_t length = end ? (size_t)(end - connection->in) : connection->in_length;
        if (length > MUSTER__CONTROL_LINE_MOST) {
            struct muster_error error = {.message = (char *)"a request is longer than its line may be"};
            connection->closing = true;
            say(connection, refusal(MUSTER_INVALID_ARGUMENT, &error));
            return;
        }
        if (!end)
            return;
        take_line(connection, connection->in, length);
        connection->in_length -= length + 1;
        memmove(connection->in, end + 1, connection->in_length);
    }
}

/* ---- bytes: owner ---- */

/* False: there is nothing to read now, or the line is long enough. */
static bool read_once(struct connection *connection)
{
    if (connection->in_length > MUSTER__CONTROL_LINE_MOST)
        return false;
    if (!make_room(&connection->in, &connection->in_room, connection->in_length + READ_SIZE)) {
        kill_connection(connection);
        return false;
    }
    ssize_t length = recv(connection->source.fd, connection->in + connection->in_length, READ_SIZE, 0);
    if (length < 0 && errno == EINTR)
        return true;
    if (length <= 0) {
        connection->readable = false;
        connection->ended = length == 0;
        if (length < 0 && errno != EAGAIN)
            kill_connection(connection);
        return false;
    }
    connection->in_length += (size_t)length;
    return true;
}

static void send_out(struct connection *connection)
{
    while (connection->writable && connection->out_sent < connection->out_length) {
        ssize_t length = send(connection->source.fd, connection->out + connection->out_sent,
                              connection->out_length - connection->out_sent, MSG_NOSIGNAL);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            connection->writable = false;
            if (errno != EAGAIN)
                kill_connection(connection);
            return;
        }
        connection->out_sent += (size_t)length;
    }
    if (connection->out_sent == connection->out_length)
        connection->out_sent = connection->out_length = 0;
}

/* More of the log, once what it has was sent: so it never holds more than one piece. */
static bool follow_on(struct connection *connection)
{
    if (!connection->follows || connection->out_length ||
        !make_room(&connection->out, &connection->out_room, MUSTER__CONTROL_LOG_LINE_MOST))
        return false;
    connection->out_length = muster__control_log_read(connection->control->log, &connection->reader, connection->out,
                                                      MUSTER__CONTROL_LOG_LINE_MOST);
    return connection->out_length > 0;
}

static void serve_connection(struct connection *connection)
{
    bool more = true;
    while (more && !connection->dead) {
        while (may_take(connection) && connection->readable && read_once(connection))
            if (memchr(connection->in, '\n', connection->in_length))
                break;
        take_lines(connection);
        if (!connection->dead)
            send_out(connection);
        more = !connection->dead && connection->writable &&
               (follow_on(connection) || (may_take(connection) && (connection->readable || (connection->in_length &&
                memchr(connection->in, '\n', connection->in_length)))));
    }
    bool idle = !connection->operation && !connection->out_length;
    if (!connection->dead && idle && (connection->closing || (connection->ended && !connection->follows)))
        kill_connection(connection);
}

static void connection_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct connection *connection = MUSTER_CONTAINER_OF(source, struct connection, source);
    (void)now_us;
    if (connection->dead)
        return;
    if (events & (EPOLLHUP | EPOLLERR)) {
        kill_connection(connection);
    } else {
        connection->readable |= (events & (EPOLLIN | EPOLLRDHUP)) != 0;
        connection->writable |= (events & EPOLLOUT) != 0;
        mark_dirty(connection);
    }
    muster__pool_flush(connection->control->pool, &connection->control->flusher);
}

/* Its socket is new, so there is room for a line; what it does not take is lost. */
static void turn_away(int fd, enum muster_status status, const char *sentence)
{
    struct muster_error error = {.message = (char *)sentence};
    char *line = refusal(status, &error);
    if (line)
        (void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
    free(line);
    close(fd);
}

static void add_connection(struct muster__control *control, int fd)
{
    if (!muster__control_folder_is_friend(fd)) {
        turn_away(fd, MUSTER_REFUSED, "this server belongs to somebody else");
        return;
    }
    if (control->count == CONNECTIONS_MOST) {
        turn_away(fd, MUSTER_QUEUE_FULL, "too many are connected to the control socket already");
        return;
    }
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        close(fd);
        return;
    }
    connection->control = control;
    connection->source.fd = fd;
    connection->source.ready = connection_ready;
    connection->readable = connection->writable = true;
    if (muster__pool_source_add(control->pool, &connection->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) !=
        MUSTER_OK) {
        close(fd);
        free(connection);
        return;
    }
    connection->next = control->connections;
    if (control->connections)
        control->connections->previous = connection;
    control->connections = connection;
    control->count++;
    mark_dirty(connection);
}

/* ---- the listener: owner ---- */

static void rest_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct muster__control *control = MUSTER_CONTAINER_OF(timer, struct muster__control, rest);
    (void)now_us;
    atomic_store(&control->rested, true);
    muster__pool_flush(control->pool, &control->flusher);
}

static void listener_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct muster__control *control = MUSTER_CONTAINER_OF(source, struct muster__control, source);
    (void)events;
    for (int i = 0; i < CONNECTIONS_MOST; i++) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            add_connection(control, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            /* No descriptor is free: the level trigger would ask again at once, and for ever. */
            if (errno != EAGAIN && muster__pool_timer_set(control->pool, &control->rest, now_us + REST_US) == MUSTER_OK) {
                control->rests = true;
                muster__pool_source_remove(control->pool, source);
            }
            break;
        }
    }
    muster__pool_flush(control->pool, &control->flusher);
}

static void end_rest(struct muster__control *control)
{
    if (!control->rests || !atomic_exchange(&control->rested, false))
        return;
    control->rests = muster__pool_source_add(control->pool, &control->source, EPOLLIN) != MUSTER_OK;
    /* Without memory for the timer the next flush tries again. */
    if (control->rests && muster__pool_timer_set(control->pool, &control->rest, muster__now_us() + REST_US) != MUSTER_OK)
        atomic_store(&control->rested, true);
}

/* ---- the flush: owner ---- */

static void take_answered(struct muster__control *control)
{
    struct operation *list_of = atomic_exchange(&control->answered, NULL);
    while (list_of) {
        struct operation *operation = list_of;
        struct connection *connection = operation->connection;
        list_of = operation->next;
        if (connection) {
            connection->operation = NULL;
            say(connection, operation->answer);
            mark_dirty(connection);
        } else {
            free(operation->answer);
        }
        muster_handle_release(operation->handle);
        free(operation);
    }
}

static void bury_dead(struct muster__control *control)
{
    while (control->dead) {
        struct connection *connection = control->dead;
        control->dead = connection->next;
        free_connection(connection);
    }
}

static void flush(struct muster__pool_flusher *flusher, uint64_t now_us)
{
    struct muster__control *control = MUSTER_CONTAINER_OF(flusher, struct muster__control, flusher);
    (void)now_us;
    end_rest(control);
    take_answered(control);
    for (struct connection *each = control->connections; each && atomic_load(&control->followers); each = each->next)
        if (each->follows)
            mark_dirty(each);
    while (control->dirty) {
        struct connection *connection = control->dirty;
        control->dirty = connection->next_dirty;
        connection->dirty = false;
        serve_connection(connection);
    }
    bury_dead(control);
}

/* ---- the log: any thread ---- */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void muster__control_note(struct muster__control *control, enum muster_log_level level, const char *subject,
                          struct muster_bytes text)
{
    if (!control || (level == MUSTER_LOG_DEBUG && !atomic_load(&control->debuggers)))
        return;
    muster__control_log_add(control->log, now_ms(), level, subject, text);
    if (atomic_load(&control->followers) && !atomic_load(&control->silent))
        muster__pool_flush(control->pool, &control->flusher);
}

/* ---- life ---- */

enum muster_status muster__control_new(const struct muster__control_options *options,
                                       struct muster__control **ret_control, struct muster_error *error)
{
    const struct muster__control_log_options log = {0};
    struct muster__control *control = calloc(1, sizeof(*control));
    if (!control) {
        muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while opening the control socket");
        return MUSTER_NO_MEMORY;
    }
    pthread_mutex_init(&control->gate, NULL);
    control->flusher.flush = flush;
    control->source.ready = listener_ready;
    control->rest.fire = rest_fire;
    control->began_ms = now_ms();
    control->began_us = muster__now_us();
    control->app = muster__strdup(options->app);
    control->log = muster__control_log_new(&log);
    enum muster_status status = control->app && control->log ? MUSTER_OK : MUSTER_NO_MEMORY;
    if (status == MUSTER_OK)
        status = muster__control_folder_listen(options->state, &control->listener, error);
    if (status != MUSTER_OK) {
        muster__control_destroy(control);
        return status;
    }
    control->source.fd = control->listener.fd;
    *ret_control = control;
    return MUSTER_OK;
}

enum muster_status muster__control_start(struct muster__control *control, struct muster *muster, const char *address)
{
    control->address = muster__strdup(address);
    if (!control->address)
        return MUSTER_NO_MEMORY;
    control->muster = muster;
    control->pool = muster->pool;
    return muster__pool_source_add(control->pool, &control->source, EPOLLIN);
}

void muster__control_stop(struct muster__control *control)
{
    if (!control)
        return;
    pthread_mutex_lock(&control->gate);
    control->stopped = true;
    pthread_mutex_unlock(&control->gate);
    atomic_store(&control->silent, true);
}

/* The pool is gone: what the other end takes without waiting is its last. */
static void end_connection(struct connection *connection)
{
    do
        send_out(connection);
    while (!connection->dead && connection->writable && follow_on(connection));
    kill_connection(connection);
}

void muster__control_destroy(struct muster__control *control)
{
    if (!control)
        return;
    control->pool = NULL;
    take_answered(control);
    while (control->connections)
        end_connection(control->connections);
    bury_dead(control);
    muster__control_folder_clean_up(&control->listener);
    muster__control_log_destroy(control->log);
    pthread_mutex_destroy(&control->gate);
    free(control->address);
    free(control->app);
    free(control);
}
