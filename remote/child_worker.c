/* remote/child_worker.c - one worker of the child process: what it tells becomes frames, and what it asks of
 * its host (scripts, bindings, other workers) is asked of the parent.
 *
 * The worker is an ordinary one with a slot of its own, which is open from the start: the parent's slot decides what
 * comes here, and when. */
#include "remote/child_internal.h"
#include "remote/last_words.h"
#include "runtime/engine_table.h"

#include <stdlib.h>
#include <string.h>

/* The parent's slot is the one with a limit. */
#define QUEUE_LIMIT ((size_t)1 << 24)

static void destroy(struct child_worker *worker)
{
    muster__worker_release(worker->worker);
    muster__slot_release(worker->slot);
    free(worker->script_url);
    free(worker->stored_url);
    free(worker->stored_text);
    free(worker->stored_map);
    for (size_t i = 0; worker->arguments && worker->arguments[i]; i++)
        free(worker->arguments[i]);
    free(worker->arguments);
    free(worker);
}

void muster__child_worker_acquire(struct child_worker *worker)
{
    atomic_fetch_add(&worker->references, 1);
}

void muster__child_worker_release(struct child_worker *worker)
{
    if (atomic_fetch_sub(&worker->references, 1) == 1)
        destroy(worker);
}

static void tell(struct child_worker *worker, struct muster__wire_message *message)
{
    message->worker = worker->id;
    muster__child_send(worker->child, message);
}

static void put_error(struct muster__wire_message *message, const struct muster_error *error)
{
    message->has_error = error != NULL;
    if (error)
        message->error = *error;
}

/* ---- what it tells ---- */

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_STARTED, .status = status};
    put_error(&message, status == MUSTER_OK ? NULL : error);
    tell(user_data, &message);
}

/* A parent that does not keep up loses console lines rather than this process its memory. */
static void tell_or_drop(struct child_worker *worker, struct muster__wire_message *message)
{
    static const char dropped[] = "(lines were dropped here: the parent did not keep up)";
    message->worker = worker->id;
    if (atomic_load(&worker->flooding)) {
        struct muster__wire_message note = {.type = MUSTER__WIRE_CONSOLE, .worker = worker->id};
        note.console.level = MUSTER_LOG_WARNING;
        note.console.text = (struct muster_bytes){dropped, sizeof dropped - 1};
        if (muster__child_try_send(worker->child, &note) == MUSTER_OK)
            atomic_store(&worker->flooding, false);
    }
    if (muster__child_try_send(worker->child, message) == MUSTER_QUEUE_FULL)
        atomic_store(&worker->flooding, true);
}

static void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_CONSOLE};
    message.console.level = level;
    message.console.text = (struct muster_bytes){text, length};
    tell_or_drop(user_data, &message);
}

static void on_report(void *user_data, const struct muster_error *error)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_REPORT};
    put_error(&message, error);
    tell_or_drop(user_data, &message);
}

static void on_skip_waiting(void *user_data)
{
    tell(user_data, &(struct muster__wire_message){.type = MUSTER__WIRE_SKIP_WAITING});
}

static void on_close_self(void *user_data)
{
    tell(user_data, &(struct muster__wire_message){.type = MUSTER__WIRE_CLOSE_SELF});
}

static void on_wedged(void *user_data)
{
    tell(user_data, &(struct muster__wire_message){.type = MUSTER__WIRE_WEDGED});
}

static void on_idle(void *user_data)
{
    tell(user_data, &(struct muster__wire_message){.type = MUSTER__WIRE_IDLE});
}

static void on_hold(void *user_data, bool taken, uint64_t until_us)
{
    struct muster__wire_message message = {.type = taken ? MUSTER__WIRE_HOLD : MUSTER__WIRE_UNHOLD};
    message.hold.count = 1;
    message.hold.until_us = until_us;
    tell(user_data, &message);
}

static void on_turn(void *user_data, bool begins)
{
    struct child_worker *worker = user_data;
    if (begins)
        muster__last_words_enter(worker->id, ++worker->turn);
    else
        muster__last_words_leave();
}

/* What its slot still holds was never begun: the parent hears so, request by request, before it hears of the end. */
static void send_back(struct child_worker *worker)
{
    struct muster__request *list = muster__slot_close(worker->slot);
    while (list) {
        struct muster__request *request = list;
        list = request->next;
        (void)muster__request_fail(request, MUSTER_RETRY, NULL);
        muster__slot_drop(worker->slot, request);
    }
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct child_worker *worker = user_data;
    struct child *child = worker->child;
    struct muster__wire_message message = {.type = MUSTER__WIRE_GONE, .status = report->status};
    put_error(&message, report->error);
    message.gone.turns = report->turns;
    muster__last_words_leave(); /* this turn is not told to end */
    send_back(worker);
    pthread_mutex_lock(&child->lock);
    (void)muster__id_map_remove(&child->workers, worker->id);
    pthread_mutex_unlock(&child->lock);
    tell(worker, &message);
    muster__child_worker_release(worker);
}

/* ---- other workers ---- */

struct child_dispatch {
    struct child_opening opening;
    struct child_worker *worker;
    struct muster__request *request;
};

static void dispatch_answered(struct child_opening *opening, struct muster__wire_message *message)
{
    struct child_dispatch *dispatch = MUSTER_CONTAINER_OF(opening, struct child_dispatch, opening);
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    enum muster_status status =
        muster__wire_value_unpack(&message->value, dispatch->worker->child->link, &value, &error);
    const struct muster__outcome outcome = {
        .status = status == MUSTER_OK ? message->status : status,
        .value = value,
        .error = status != MUSTER_OK ? &error : message->has_error ? &message->error : NULL,
    };
    (void)muster__request_settle(dispatch->request, &outcome);
    muster_value_release(value);
    muster_error_clean_up(&error);
    muster__request_release(dispatch->request);
    muster__child_worker_release(dispatch->worker);
    free(dispatch);
}

static enum muster_status on_dispatch(void *user_data, const char *scope, struct muster__request *request,
                                      uint64_t keepalive_until_us)
{
    struct child_worker *worker = user_data;
    if (request->kind == MUSTER__REQUEST_FETCH)
        return muster__child_fetch(worker, scope, request, keepalive_until_us);
    struct child_dispatch *dispatch = calloc(1, sizeof *dispatch);
    struct muster__packed_value data = {0};
    if (!dispatch)
        return MUSTER_NO_MEMORY;
    enum muster_status status = muster__wire_value_pack(request->data, &data, NULL);
    if (status == MUSTER_OK) {
        struct muster__wire_message message = {.type = MUSTER__WIRE_DISPATCH, .worker = worker->id};
        message.request.kind = request->kind;
        message.request.name = request->name;
        message.request.scope = scope;
        message.request.keepalive_until_us = keepalive_until_us;
        message.request.started_word = MUSTER__WIRE_NO_WORD;
        message.request.idempotent = request->idempotent;
        dispatch->opening.answered = dispatch_answered;
        dispatch->worker = worker;
        dispatch->request = request;
        muster__child_worker_acquire(worker);
        muster__request_acquire(request);
        status = muster__child_open(worker->child, &dispatch->opening, &message, &data);
        if (status != MUSTER_OK) {
            muster__request_release(request);
            muster__child_worker_release(worker);
        }
    }
    muster__wire_value_clean_up(&data);
    if (status != MUSTER_OK)
        free(dispatch);
    return status;
}

static void on_dispatch_canceled(void *user_data, struct muster__request *request)
{
    muster__child_fetch_cancel(user_data, request);
}

static const struct muster__worker_listener listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_skip_waiting,
    .close_self = on_close_self,
    .wedged = on_wedged,
    .dispatch = on_dispatch,
    .dispatch_canceled = on_dispatch_canceled,
    .gone = on_gone,
    .idle = on_idle,
    .hold = on_hold,
    .turn = on_turn,
};

/* ---- scripts ---- */

struct child_load {
    struct child_opening opening;
    bool done;
    enum muster_status status;
    struct muster_loaded loaded;
    struct muster_error error;
};

static char *copy_bytes(struct muster_bytes bytes)
{
    char *copy = malloc(bytes.length + 1);
    if (!copy)
        return NULL;
    if (bytes.length)
        memcpy(copy, bytes.data, bytes.length);
    copy[bytes.length] = '\0';
    return copy;
}

/* A script's text, and its map, as they stand in a value. */
static bool copy_script(const struct muster__wire_value *value, char **ret_text, size_t *ret_length,
                        char **ret_map)
{
    bool has_map = value->buffer_count == 1;
    *ret_text = copy_bytes(value->bytes);
    *ret_length = value->bytes.length;
    *ret_map = has_map ? copy_bytes(value->buffers[0]) : NULL;
    return *ret_text && (*ret_map || !has_map);
}

static void load_answered(struct child_opening *opening, struct muster__wire_message *message)
{
    struct child_load *load = MUSTER_CONTAINER_OF(opening, struct child_load, opening);
    struct child *child = opening->child;
    enum muster_status status = message->status;
    if (status == MUSTER_OK) {
        load->loaded.url = muster__strdup(message->loaded.url);
        load->loaded.is_module = message->loaded.is_module;
        if (!message->value.present ||
            !copy_script(&message->value, &load->loaded.text, &load->loaded.length, &load->loaded.source_map))
            status = MUSTER_NO_MEMORY;
    } else if (message->has_error) {
        muster_error_copy(&load->error, &message->error);
    }
    pthread_mutex_lock(&child->lock);
    load->status = status;
    load->done = true;
    pthread_cond_broadcast(&child->news);
    pthread_mutex_unlock(&child->lock);
}

/* Thread: the worker's, which waits; another one polls meanwhile. */
static enum muster_status ask_for_script(struct child_worker *worker, const char *url, const char *importer,
                                         struct muster_loaded *ret_loaded, struct muster_error *error)
{
    struct child *child = worker->child;
    struct child_load load = {.opening.answered = load_answered};
    struct muster__wire_message message = {.type = MUSTER__WIRE_LOAD, .worker = worker->id};
    message.load.url = url;
    message.load.importer = importer;
    enum muster_status status = muster__child_open(child, &load.opening, &message, NULL);
    if (status != MUSTER_OK)
        return status;
    muster__link_flush(child->link);
    pthread_mutex_lock(&child->lock);
    while (!load.done)
        pthread_cond_wait(&child->news, &child->lock);
    pthread_mutex_unlock(&child->lock);
    if (load.status == MUSTER_OK) {
        load.loaded.size = ret_loaded->size;
        *ret_loaded = load.loaded;
        return MUSTER_OK;
    }
    free(load.loaded.url);
    free(load.loaded.text);
    free(load.loaded.source_map);
    *error = load.error;
    return load.status;
}

static enum muster_status load_script(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                                      struct muster_error *error, void *user_data)
{
    struct child_worker *worker = user_data;
    if (importer || !worker->has_stored)
        return ask_for_script(worker, url, importer, ret_loaded, error);
    worker->has_stored = false;
    ret_loaded->url = worker->stored_url;
    ret_loaded->text = worker->stored_text;
    ret_loaded->length = worker->stored_length;
    ret_loaded->source_map = worker->stored_map;
    ret_loaded->is_module = worker->stored_is_module;
    worker->stored_url = worker->stored_text = worker->stored_map = NULL;
    return MUSTER_OK;
}

/* ---- bindings ---- */

struct child_binding {
    struct child_worker *worker; /* which lives longer: the bindings are its own */
    char *path;
};

struct child_call {
    struct child_opening opening;
    struct muster_host_call *call;
};

static void call_answered(struct child_opening *opening, struct muster__wire_message *message)
{
    struct child_call *call = MUSTER_CONTAINER_OF(opening, struct child_call, opening);
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    enum muster_status status =
        muster__wire_value_unpack(&message->value, opening->child->link, &value, &error);
    if (status == MUSTER_OK && message->status == MUSTER_OK)
        muster_host_call_return(call->call, value);
    else if (status != MUSTER_OK)
        muster_host_call_throw(call->call, "TypeError", error.message);
    else
        muster_host_call_throw(call->call, message->has_error ? message->error.name : NULL,
                               message->has_error && message->error.message
                                   ? message->error.message
                                   : muster_status_sentence(message->status));
    muster_error_clean_up(&error);
    free(call);
}

static void call_binding(struct muster_host_call *host_call, void *user_data)
{
    struct child_binding *binding = user_data;
    struct child_call *call = calloc(1, sizeof *call);
    struct muster__packed_value arguments = {0};
    struct muster_error error = {0};
    enum muster_status status = call ? muster__wire_value_pack(host_call->arguments, &arguments, &error)
                                     : MUSTER_NO_MEMORY;
    if (status == MUSTER_OK) {
        struct muster__wire_message message = {.type = MUSTER__WIRE_BINDING_CALL,
                                               .worker = binding->worker->id};
        message.binding_call.path = binding->path;
        call->opening.answered = call_answered;
        call->call = host_call;
        status = muster__child_open(binding->worker->child, &call->opening, &message, &arguments);
    }
    muster__wire_value_clean_up(&arguments);
    if (status != MUSTER_OK) {
        free(call);
        muster_host_call_throw(host_call, status == MUSTER_UNSUPPORTED ? "TypeError" : "Error",
                               error.message ? error.message : muster_status_sentence(status));
    }
    muster_error_clean_up(&error);
}

static void binding_finalize(void *user_data)
{
    struct child_binding *binding = user_data;
    free(binding->path);
    free(binding);
}

static enum muster_status add_binding(struct child_worker *worker, struct muster_bindings *bindings,
                                      const struct muster__wire_binding *from)
{
    if (!from->is_function) {
        struct muster_value *value = NULL;
        const struct muster__wire_value wire = {.present = true, .bytes = from->value};
        enum muster_status status = muster__wire_value_unpack(&wire, NULL, &value, NULL);
        return status == MUSTER_OK ? muster_bindings_add_value(bindings, from->path, value) : status;
    }
    struct child_binding *binding = calloc(1, sizeof *binding);
    if (!binding)
        return MUSTER_NO_MEMORY;
    binding->worker = worker;
    binding->path = muster__strdup(from->path);
    enum muster_status status = MUSTER_NO_MEMORY;
    if (binding->path)
        status = muster_bindings_add_function(bindings, from->path, call_binding, binding, binding_finalize);
    if (status != MUSTER_OK)
        binding_finalize(binding);
    return status;
}

static enum muster_status make_bindings(struct child_worker *worker,
                                        const struct muster__wire_message *message,
                                        struct muster_bindings **ret_bindings)
{
    *ret_bindings = NULL;
    if (!message->start.binding_count)
        return MUSTER_OK;
    struct muster_bindings *bindings = muster_bindings_new();
    enum muster_status status = bindings ? MUSTER_OK : MUSTER_NO_MEMORY;
    for (size_t i = 0; i < message->start.binding_count && status == MUSTER_OK; i++)
        status = add_binding(worker, bindings, &message->start.bindings[i]);
    if (status == MUSTER_OK)
        *ret_bindings = bindings;
    else
        muster_bindings_release(bindings);
    return status;
}

/* ---- start ---- */

static void wanted(struct muster__slot *slot, void *user_data)
{
    (void)slot;
    (void)user_data; /* its worker is going: on_gone sends back what waits */
}

static bool copy_start(struct child_worker *worker, const struct muster__wire_message *message)
{
    size_t count = message->start.argument_count;
    worker->script_url = muster__strdup(message->start.script_url);
    worker->arguments = calloc(count + 1, sizeof(char *));
    if (!worker->script_url || !worker->arguments)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!(worker->arguments[i] = muster__strdup(message->start.arguments[i])))
            return false;
    if (!message->value.present)
        return true;
    worker->has_stored = true;
    worker->stored_is_module = message->start.is_module;
    worker->stored_url = muster__strdup(message->start.stored_url);
    return copy_script(&message->value, &worker->stored_text, &worker->stored_length, &worker->stored_map);
}

static struct child_worker *new_worker(struct child *child, const struct muster__wire_message *message)
{
    struct child_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    atomic_init(&worker->references, 1);
    worker->child = child;
    worker->id = message->worker;
    worker->node.id = message->worker;
    const struct muster__slot_options slot = {
        .queue_limit = QUEUE_LIMIT, .idle_us = 1000000, .want = wanted, .version = worker->id};
    worker->slot = muster__slot_new(&slot);
    if (!worker->slot || !copy_start(worker, message)) {
        destroy(worker);
        return NULL;
    }
    worker->incarnation = muster__slot_attach(worker->slot);
    return worker;
}

/* One that START names; NULL: it names none. */
static struct muster__port *claim(struct child_worker *worker, uint64_t id)
{
    struct muster__port *port = NULL;
    if (id && muster__link_ports_claim(worker->child->ports, id, worker->id, &port) != MUSTER_OK)
        muster__child_distrust("a worker with a port that there is not");
    return port;
}

/* NULL: none was named, or there is no memory for it, which the first channel will want as well. */
static struct muster__port_account *account_of(struct child *child, const struct muster__wire_message *message)
{
    struct muster__port_account *account = NULL;
    if (!message->start.port_account)
        return NULL;
    pthread_mutex_lock(&child->lock);
    account = muster__port_accounts_get(&child->port_accounts, message->start.port_account,
                                        (size_t)message->start.port_limit);
    pthread_mutex_unlock(&child->lock);
    return account;
}

static enum muster_status run_worker(struct child_worker *worker, const struct muster__wire_message *message,
                                     struct muster__port *host_port, struct muster__port *port,
                                     struct muster_error *error)
{
    struct muster_bindings *bindings = NULL;
    const struct muster__engine *engine = muster__engine_find(message->start.engine, error);
    if (!engine)
        return MUSTER_UNSUPPORTED;
    /* Native code is a file of this machine: the child opens it by itself. */
    if (strcmp(engine->name, "native") != 0) {
        worker->loader.load = load_script;
        worker->loader.is_proxy = true;
        worker->loader.user_data = worker;
    }
    enum muster_status status = make_bindings(worker, message, &bindings);
    if (status != MUSTER_OK)
        return status;
    struct muster__port_account *ports = account_of(worker->child, message);
    const struct muster__worker_options options = {
        .pool = worker->child->pool,
        .engine = engine,
        .loader = &worker->loader,
        .type = message->start.type,
        .types_known = message->start.types_known,
        .trust = message->start.trust,
        .script_url = worker->script_url,
        .name = message->start.name,
        .scope = message->start.scope,
        .arguments = (const char *const *)worker->arguments,
        .bindings = bindings,
        .host_port = host_port,
        .port = port,
        .ports = ports,
        .limits = {.turn_us = message->start.turn_us ? message->start.turn_us : worker->child->limits.turn_us,
                   .wedged_us =
                       message->start.wedged_us ? message->start.wedged_us : worker->child->limits.wedged_us,
                   .memory = message->start.memory},
        .slot = worker->slot,
        .incarnation = worker->incarnation,
        .listener = &listener,
        .user_data = worker,
    };
    muster__child_worker_acquire(worker); /* the running worker's, until gone */
    status = muster__worker_new(&options, &worker->worker);
    muster_bindings_release(bindings);
    muster__port_account_release(ports);
    if (status == MUSTER_OK)
        (void)muster__worker_open(worker->worker, muster__now_us());
    else
        muster__child_worker_release(worker);
    return status;
}

void muster__child_worker_start(struct child *child, const struct muster__wire_message *message)
{
    struct muster_error error = {0};
    struct muster__wire_message gone = {.type = MUSTER__WIRE_GONE, .worker = message->worker};
    pthread_mutex_lock(&child->lock);
    bool taken = muster__id_map_find(&child->workers, message->worker) != NULL;
    pthread_mutex_unlock(&child->lock);
    if (taken)
        muster__child_distrust("the number of a worker that lives already");
    struct child_worker *worker = new_worker(child, message);
    gone.status = MUSTER_NO_MEMORY;
    if (worker) {
        pthread_mutex_lock(&child->lock);
        muster__id_map_add(&child->workers, &worker->node);
        pthread_mutex_unlock(&child->lock);
        struct muster__port *host_port = claim(worker, message->start.host_port);
        struct muster__port *port = claim(worker, message->start.port);
        gone.status = run_worker(worker, message, host_port, port, &error);
        if (gone.status == MUSTER_OK)
            return;
        muster__port_release(host_port);
        muster__port_release(port);
        pthread_mutex_lock(&child->lock);
        (void)muster__id_map_remove(&child->workers, worker->id);
        pthread_mutex_unlock(&child->lock);
        muster__child_worker_release(worker);
    }
    struct muster__wire_message started = gone;
    started.type = MUSTER__WIRE_STARTED;
    put_error(&started, error.message ? &error : NULL);
    muster__child_send(child, &started);
    muster__child_send(child, &gone);
    muster_error_clean_up(&error);
}
