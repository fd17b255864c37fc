/* runtime/engine_native.c - workers written in C, behind the engine table; implements native.h.
 *
 * Everything runs on the worker's thread of the moment, except muster_native_post(), which any thread may
 * call, and vm_interrupt.  C cannot be stopped from outside: an interrupt is seen when the handler returns.
 *
 * An event is open while something holds it: the handler that runs, and each wait_until.  The last hold
 * to drop settles what is not settled yet, tells the worker that the request has ended, and frees it. */
#include "runtime/native_ports.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine.h"
#include "runtime/engine_outgoing.h"
#include "runtime/value_internal.h"

struct muster__vm {
    atomic_bool interrupted;
};

struct timer {
    struct timer *next; /* in its bucket */
    uint32_t id;
    bool repeats;
    muster_native_timer_fn *fire;
    void *data;
};

struct post {
    struct post *next;
    muster_native_timer_fn *run;
    void *data;
};

struct muster_event {
    struct muster_event *next;
    struct muster_event *previous;
    struct muster_native *native;
    struct muster__request *request;
    unsigned holds;
    bool in_handler;
    bool settled;
    enum muster_status failed;
    struct muster_error failure;
    struct muster_value *result;
    uint32_t *tokens; /* of the named holds */
    size_t token_count;
    size_t token_capacity;
};

struct muster_native {
    struct muster__vm *vm;
    const struct muster__realm_host *host;
    struct muster__worker *worker;
    const struct muster_native_worker *table;
    void *state;
    bool started;
    bool dead; /* being destroyed: the worker hears of nothing any more */
    struct muster__port *host_port, *port; /* borrowed: see engine.h */
    struct muster_event *events;
    struct muster__outgoing *outgoing;

    struct timer **buckets;
    size_t bucket_count; /* a power of two */
    size_t timer_count;

    struct muster__note note; /* there are posts */
    pthread_mutex_t lock;
    struct post *posts; /* under the lock */
    struct post **posts_end;
};

/* The engine table's word for it. */
struct muster__realm {
    struct muster_native native;
};

static enum muster_status cut_of(const struct muster_native *native)
{
    bool interrupted = atomic_load_explicit(&native->vm->interrupted, memory_order_relaxed);
    return interrupted ? MUSTER_TERMINATED : MUSTER_OK;
}

/* ---- VM: there is none but the flag ---- */

static enum muster_status vm_new(const struct muster__vm_options *options,
                                 struct muster__vm **ret_vm)
{
    (void)options; /* C has no limits that could be kept here */
    struct muster__vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL)
        return MUSTER_NO_MEMORY;
    *ret_vm = vm;
    return MUSTER_OK;
}

static void vm_destroy(struct muster__vm *vm)
{
    free(vm);
}

static void vm_limit(struct muster__vm *vm, const struct muster__vm_options *options)
{
    (void)vm;
    (void)options;
}

static void vm_interrupt(struct muster__vm *vm)
{
    atomic_store_explicit(&vm->interrupted, true, memory_order_relaxed);
}

static size_t vm_memory(struct muster__vm *vm)
{
    return sizeof *vm; /* what the embedder's code allocates is not known here */
}

/* ---- timers: a table from id to function ---- */

static struct timer **bucket_of(struct muster_native *native, uint32_t id)
{
    return &native->buckets[(id * 2654435769u >> 7) & (native->bucket_count - 1)];
}

static bool grow_timers(struct muster_native *native)
{
    size_t old_count = native->bucket_count;
    size_t count = old_count != 0 ? old_count * 2 : 16;
    struct timer **old = native->buckets;
    struct timer **buckets = calloc(count, sizeof(struct timer *));
    if (buckets == NULL)
        return old_count != 0; /* longer chains will do */
    native->buckets = buckets;
    native->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct timer *timer = old[i];
            old[i] = timer->next;
            struct timer **bucket = bucket_of(native, timer->id);
            timer->next = *bucket;
            *bucket = timer;
        }
    }
    free(old);
    return true;
}

static struct timer **find_timer(struct muster_native *native, uint32_t id)
{
    if (native->bucket_count == 0)
        return NULL;
    for (struct timer **at = bucket_of(native, id); *at != NULL; at = &(*at)->next)
        if ((*at)->id == id)
            return at;
    return NULL;
}

static void remove_timer(struct muster_native *native, struct timer **at)
{
    struct timer *timer = *at;
    *at = timer->next;
    native->timer_count--;
    free(timer);
}

uint32_t muster_native_set_timer(struct muster_native *worker, uint64_t delay_ms, bool repeat,
                                 muster_native_timer_fn *fire, void *timer_data)
{
    if (worker->dead || (worker->timer_count >= worker->bucket_count && !grow_timers(worker)))
        return 0;
    struct timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL)
        return 0;
    uint64_t delay_us = delay_ms > UINT64_MAX / 1000 ? UINT64_MAX : delay_ms * 1000;
    if (repeat && delay_us == 0)
        delay_us = 1000; /* else it would be due for ever */
    timer->id = worker->host->timer_set(worker->worker, delay_us, repeat);
    if (timer->id == 0) {
        free(timer);
        return 0;
    }
    timer->repeats = repeat;
    timer->fire = fire;
    timer->data = timer_data;
    struct timer **bucket = bucket_of(worker, timer->id);
    timer->next = *bucket;
    *bucket = timer;
    worker->timer_count++;
    return timer->id;
}

void muster_native_clear_timer(struct muster_native *worker, uint32_t id)
{
    struct timer **at = find_timer(worker, id);
    if (at == NULL)
        return;
    remove_timer(worker, at);
    if (!worker->dead)
        worker->host->timer_clear(worker->worker, id);
}

static enum muster_status timer_fired(struct muster__realm *realm, uint32_t id)
{
    struct muster_native *native = &realm->native;
    struct timer **at = find_timer(native, id);
    if (at == NULL || cut_of(native) != MUSTER_OK)
        return cut_of(native);
    struct timer copy = **at; /* it may clear itself */
    if (!copy.repeats)
        remove_timer(native, at);
    copy.fire(native, native->state, copy.data);
    return cut_of(native);
}

/* ---- events ---- */

static struct muster_event *event_new(struct muster_native *native,
                                      struct muster__request *request)
{
    struct muster_event *event = calloc(1, sizeof *event);
    if (event == NULL)
        return NULL;
    event->native = native;
    event->request = request;
    event->next = native->events;
    if (native->events != NULL)
        native->events->previous = event;
    native->events = event;
    request->engine_data = event;
    return event;
}

static void event_destroy(struct muster_event *event)
{
    if (event->previous != NULL)
        event->previous->next = event->next;
    else
        event->native->events = event->next;
    if (event->next != NULL)
        event->next->previous = event->previous;
    event->request->engine_data = NULL;
    muster_error_clean_up(&event->failure);
    muster_value_release(event->result);
    free(event->tokens);
    free(event);
}

static void settle(struct muster_event *event, const struct muster__outcome *outcome)
{
    if (event->settled)
        return;
    event->settled = true;
    event->native->host->settle(event->native->worker, event->request, outcome);
}

static void settle_last(struct muster_event *event)
{
    struct muster__outcome outcome = {.status = MUSTER_OK, .value = event->result};
    if (event->failed != MUSTER_OK) {
        outcome = (struct muster__outcome){.status = event->failed, .error = &event->failure};
    } else if (event->request->kind == MUSTER__REQUEST_FETCH) {
        outcome = (struct muster__outcome){.status = MUSTER_PASSED};
    }
    settle(event, &outcome);
}

static void drop_hold(struct muster_event *event)
{
    struct muster_native *native = event->native;
    struct muster__request *request = event->request;
    MUSTER_CHECK(event->holds > 0);
    if (--event->holds > 0 || native->dead)
        return;
    settle_last(event);
    event_destroy(event);
    native->host->ended(native->worker, request);
}

const char *muster_event_type(const struct muster_event *event)
{
    return event->request->name;
}

struct muster__request *muster__native_request(struct muster_event *event)
{
    return event->request;
}

struct muster__port *muster__native_host_port(struct muster_native *worker)
{
    return worker->host_port;
}

struct muster__port *muster__native_port(struct muster_native *worker)
{
    return worker->port;
}

const struct muster_value *muster_event_data(const struct muster_event *event)
{
    /* Arguments come one by one, each as a tree if it can be. */
    return event->request->kind == MUSTER__REQUEST_CALL ? muster__value_list(event->request->data)
                                                        : event->request->data;
}

const struct muster_http_request *muster_event_request(const struct muster_event *event)
{
    return event->request->kind == MUSTER__REQUEST_FETCH ? &event->request->http : NULL;
}

enum muster_status muster_event_respond(struct muster_event *event,
                                        const struct muster_http_response *response)
{
    if (event->request->kind != MUSTER__REQUEST_FETCH || response == NULL ||
        response->status_code < 200 || response->status_code > 599)
        return MUSTER_INVALID_ARGUMENT;
    if (event->settled)
        return MUSTER_CLOSED;
    settle(event, &(struct muster__outcome){.status = MUSTER_OK, .response = response});
    return MUSTER_OK;
}

static bool grow_tokens(struct muster_event *event)
{
    if (event->token_count < event->token_capacity)
        return true;
    size_t capacity = event->token_capacity != 0 ? event->token_capacity * 2 : 2;
    uint32_t *tokens = realloc(event->tokens, capacity * sizeof *tokens);
    if (tokens == NULL)
        return false;
    event->tokens = tokens;
    event->token_capacity = capacity;
    return true;
}

enum muster_status muster_event_wait_until(struct muster_event *event, const char *name)
{
    struct muster_native *native = event->native;
    if (native->dead)
        return MUSTER_CLOSED;
    if (!grow_tokens(event))
        return MUSTER_NO_MEMORY;
    uint32_t token = native->host->token_take(native->worker, name);
    if (token == 0)
        return MUSTER_NO_MEMORY;
    event->tokens[event->token_count++] = token;
    event->holds++;
    return MUSTER_OK;
}

void muster_event_done(struct muster_event *event)
{
    struct muster_native *native = event->native;
    MUSTER_CHECK(event->token_count > 0); /* more dones than wait_untils */
    uint32_t token = event->tokens[--event->token_count];
    if (!native->dead)
        native->host->token_drop(native->worker, token);
    drop_hold(event);
}

void muster_event_return(struct muster_event *event, struct muster_value *take_value)
{
    muster_value_release(event->result);
    event->result = take_value;
    if (event->request->kind == MUSTER__REQUEST_CALL && !event->native->dead)
        settle(event, &(struct muster__outcome){.status = MUSTER_OK, .value = take_value});
}

void muster_event_throw(struct muster_event *event, const char *name, const char *message)
{
    enum muster__request_kind kind = event->request->kind;
    bool raised = event->in_handler || kind == MUSTER__REQUEST_CALL;
    enum muster_status status = raised ? MUSTER_SCRIPT_ERROR : MUSTER_REJECTED;
    if (event->failed != MUSTER_OK || event->native->dead)
        return; /* the first failure counts */
    event->failed = status;
    muster_error_set(&event->failure, status, "%s", message != NULL ? message : "");
    event->failure.name = muster__strdup(name != NULL ? name : "Error");
    if (event->settled || (raised && kind != MUSTER__REQUEST_CALL))
        event->native->host->report(event->native->worker, &event->failure);
    if (kind == MUSTER__REQUEST_FETCH || kind == MUSTER__REQUEST_CALL)
        settle_last(event);
}

/* ---- delivery ---- */

static muster_native_handler_fn *find(const struct muster_native_entry *entries, size_t count,
                                      const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].name, name) == 0)
            return entries[i].handler;
    return NULL;
}

static muster_native_handler_fn *handler_of(const struct muster_native *native,
                                            const struct muster__request *request)
{
    const struct muster_native_worker *table = native->table;
    if (table == NULL)
        return NULL;
    return request->kind == MUSTER__REQUEST_CALL
               ? find(table->functions, table->function_count, request->name)
               : find(table->events, table->event_count, request->name);
}

static void refuse(struct muster_native *native, struct muster__request *request,
                   enum muster_status status)
{
    native->host->settle(native->worker, request, &(struct muster__outcome){.status = status});
    native->host->ended(native->worker, request);
}

/* Bytes of another process may be no message.  False: it was refused. */
static bool can_be_read(struct muster_native *native, struct muster__request *request)
{
    struct muster_error error = {0};
    enum muster_status status = muster__value_check(request->data, &error);
    if (status != MUSTER_OK) {
        const struct muster__outcome outcome = {.status = MUSTER_INVALID_ARGUMENT, .error = &error};
        native->host->settle(native->worker, request, &outcome);
        native->host->ended(native->worker, request);
    }
    muster_error_clean_up(&error);
    return status == MUSTER_OK;
}

static enum muster_status deliver(struct muster__realm *realm, struct muster__request *request)
{
    struct muster_native *native = &realm->native;
    if (cut_of(native) != MUSTER_OK)
        return cut_of(native);
    muster_native_handler_fn *handler = handler_of(native, request);
    bool is_call = request->kind == MUSTER__REQUEST_CALL;
    if (handler != NULL && !can_be_read(native, request))
        return MUSTER_OK;
    struct muster_event *event = handler != NULL ? event_new(native, request) : NULL;
    if (event == NULL) {
        refuse(native, request,
               handler != NULL ? MUSTER_NO_MEMORY : is_call ? MUSTER_NOT_FOUND : MUSTER_PASSED);
        return MUSTER_OK;
    }
    event->holds = 1;
    event->in_handler = true;
    handler(native, event, native->state);
    event->in_handler = false;
    if (cut_of(native) != MUSTER_OK)
        return cut_of(native); /* the worker settles it, and destroys the realm */
    drop_hold(event);
    return MUSTER_OK;
}

static enum muster_status cancel(struct muster__realm *realm, struct muster__request *request)
{
    struct muster_event *event = request->engine_data;
    if (event != NULL)
        event->settled = true; /* muster_event_respond() says MUSTER_CLOSED from now on */
    return cut_of(&realm->native);
}

static bool handles(struct muster__realm *realm, const char *type)
{
    const struct muster_native_worker *table = realm->native.table;
    return table != NULL && (find(table->events, table->event_count, type) != NULL ||
                             find(table->functions, table->function_count, type) != NULL);
}

/* Native code gets its bindings from the embedder directly: it makes no host calls. */
static enum muster_status host_call_ended(struct muster__realm *realm,
                                          struct muster_host_call *call)
{
    (void)call;
    return cut_of(&realm->native);
}

static enum muster_status turn_end(struct muster__realm *realm)
{
    return cut_of(&realm->native);
}

/* ---- posts ---- */

static struct post *take_posts(struct muster_native *native)
{
    pthread_mutex_lock(&native->lock);
    struct post *posts = native->posts;
    native->posts = NULL;
    native->posts_end = &native->posts;
    pthread_mutex_unlock(&native->lock);
    return posts;
}

static void run_posts(struct muster__note *note, struct muster__realm *realm)
{
    (void)note;
    struct muster_native *native = &realm->native;
    struct post *posts = take_posts(native);
    while (posts != NULL) {
        struct post *post = posts;
        posts = post->next;
        if (cut_of(native) == MUSTER_OK)
            post->run(native, native->state, post->data);
        free(post);
    }
}

enum muster_status muster_native_post(struct muster_native *worker, muster_native_timer_fn *run,
                                      void *data)
{
    struct post *post = calloc(1, sizeof *post);
    if (post == NULL)
        return MUSTER_NO_MEMORY;
    post->run = run;
    post->data = data;
    pthread_mutex_lock(&worker->lock);
    *worker->posts_end = post;
    worker->posts_end = &post->next;
    pthread_mutex_unlock(&worker->lock);
    worker->host->note_post(worker->worker, &worker->note);
    return MUSTER_OK;
}

/* ---- the rest of native.h ---- */

void muster_native_log(struct muster_native *worker, enum muster_log_level level,
                       const char *format, ...)
{
    char small[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    char *text = (size_t)length < sizeof small ? small : malloc((size_t)length + 1);
    if (text != small && text != NULL) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    if (text != NULL)
        worker->host->console(worker->worker, level, text, (size_t)length);
    else
        worker->host->console(worker->worker, level, small, sizeof small - 1);
    if (text != small)
        free(text);
}

uint32_t muster_native_take_token(struct muster_native *worker, const char *name)
{
    return worker->dead ? 0 : worker->host->token_take(worker->worker, name);
}

void muster_native_drop_token(struct muster_native *worker, uint32_t token)
{
    if (!worker->dead && token != 0)
        worker->host->token_drop(worker->worker, token);
}

void muster_native_skip_waiting(struct muster_native *worker)
{
    worker->host->skip_waiting(worker->worker);
}

void muster_native_close(struct muster_native *worker)
{
    worker->host->close(worker->worker);
}

static void answer_arrived(struct muster__note *note, struct muster__realm *realm)
{
    struct muster_native *native = &realm->native;
    struct muster__outgoing *outgoing = muster__outgoing_of(note);
    muster_native_settled_fn *on_settled = NULL;
    memcpy(&on_settled, &outgoing->engine_more, sizeof on_settled);
    if (on_settled != NULL && cut_of(native) == MUSTER_OK)
        on_settled(native, native->state, outgoing->status, outgoing->value, &outgoing->error,
                   outgoing->engine_data);
    muster__outgoing_done(&native->outgoing, outgoing);
}

/* A call's data is the array of its arguments; anything else becomes the only one. */
static enum muster_status as_arguments(struct muster_value **value)
{
    if (muster_value_type(*value) == MUSTER_TYPE_ARRAY)
        return MUSTER_OK;
    struct muster_value *array = muster_value_new_array();
    enum muster_status status = array != NULL ? MUSTER_OK : MUSTER_NO_MEMORY;
    if (array != NULL && *value != NULL)
        status = muster_value_append(array, *value);
    else
        muster_value_release(*value);
    *value = array;
    if (status != MUSTER_OK)
        muster_value_release(array);
    return status;
}

enum muster_status muster_native_dispatch(struct muster_native *worker, const char *scope,
                                          const char *name, bool function,
                                          struct muster_value *take_data,
                                          muster_native_settled_fn *on_settled, void *user_data)
{
    enum muster__request_kind kind = MUSTER__REQUEST_EVENT;
    if (worker->dead || scope == NULL || name == NULL ||
        (!function && strcmp(name, "fetch") == 0)) {
        muster_value_release(take_data);
        return worker->dead ? MUSTER_CLOSED : MUSTER_INVALID_ARGUMENT;
    }
    if (function) {
        enum muster_status status = as_arguments(&take_data);
        if (status != MUSTER_OK)
            return status;
        kind = MUSTER__REQUEST_CALL;
    } else if (strcmp(name, "message") == 0) {
        kind = MUSTER__REQUEST_MESSAGE;
    }
    struct muster__outgoing *outgoing = NULL;
    enum muster_status status =
        muster__outgoing_send(&worker->outgoing, worker->host, worker->worker, scope, kind, name,
                              take_data, answer_arrived, &outgoing);
    if (status != MUSTER_OK)
        return status;
    outgoing->engine_data = user_data;
    memcpy(&outgoing->engine_more, &on_settled, sizeof on_settled);
    return MUSTER_OK;
}

/* ---- realm ---- */

static enum muster_status realm_new(struct muster__vm *vm,
                                    const struct muster__realm_options *options,
                                    struct muster__realm **ret_realm)
{
    struct muster__realm *realm = calloc(1, sizeof *realm);
    if (realm == NULL)
        return MUSTER_NO_MEMORY;
    struct muster_native *native = &realm->native;
    native->vm = vm;
    native->host = options->host;
    native->worker = options->worker;
    native->note.run = run_posts;
    native->posts_end = &native->posts;
    pthread_mutex_init(&native->lock, NULL);
    *ret_realm = realm;
    return MUSTER_OK;
}

static void free_timers(struct muster_native *native)
{
    for (size_t i = 0; i < native->bucket_count; i++)
        while (native->buckets[i] != NULL)
            remove_timer(native, &native->buckets[i]);
    free(native->buckets);
}

static void realm_destroy(struct muster__realm *realm)
{
    if (realm == NULL)
        return;
    struct muster_native *native = &realm->native;
    native->dead = true;
    for (struct muster_event *event = native->events; event != NULL; event = event->next)
        event->settled = true;
    if (native->started && native->table->stop != NULL)
        native->table->stop(native, native->state);
    while (native->events != NULL)
        event_destroy(native->events);
    while (native->outgoing != NULL)
        muster__outgoing_done(&native->outgoing, native->outgoing);
    if (native->worker != NULL) /* a spare realm never had one */
        native->host->note_cancel(native->worker, &native->note);
    for (struct post *post = take_posts(native), *next; post != NULL; post = next) {
        next = post->next;
        free(post);
    }
    free_timers(native);
    pthread_mutex_destroy(&native->lock);
    free(realm);
}

static enum muster_status start(struct muster_native *native, struct muster_error *error)
{
    if (native->table->start == NULL)
        return MUSTER_OK;
    struct muster_error local = {0};
    enum muster_status status = native->table->start(native, &native->state, &local);
    if (status == MUSTER_PENDING)
        status = MUSTER_SCRIPT_ERROR; /* a start has no later */
    if (status != MUSTER_OK && local.message == NULL)
        muster_error_set(&local, status, "start: %s", muster_status_sentence(status));
    local.status = status;
    if (status != MUSTER_OK && error != NULL) {
        muster_error_clean_up(error);
        *error = local;
    } else {
        muster_error_clean_up(&local);
    }
    return status;
}

static enum muster_status
evaluate(struct muster__realm *realm, const struct muster__realm_identity *identity,
         const struct muster__script *script,
         void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                           const struct muster_error *error),
         struct muster_error *error)
{
    (void)evaluated; /* it is always known at once */
    struct muster_native *native = &realm->native;
    native->worker = identity->worker;
    native->host_port = identity->host_port;
    native->port = identity->port;
    if (script->native == NULL || script->native->size < sizeof *script->native) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "%s is no table of a native worker",
                         script->url != NULL ? script->url : "the script");
        return MUSTER_UNSUPPORTED;
    }
    native->table = script->native;
    enum muster_status status = start(native, error);
    native->started = status == MUSTER_OK;
    if (native->started && cut_of(native) != MUSTER_OK) {
        status = cut_of(native);
        muster_error_set(error, status, "%s", muster_status_sentence(status));
    }
    return status;
}

const struct muster__engine muster__engine_native = {
    .name = "native",
    .file_endings = ".so",
    .asks = true,
    .vm_new = vm_new,
    .vm_destroy = vm_destroy,
    .vm_limit = vm_limit,
    .vm_interrupt = vm_interrupt,
    .vm_memory = vm_memory,
    .realm_new = realm_new,
    .realm_destroy = realm_destroy,
    .evaluate = evaluate,
    .handles = handles,
    .deliver = deliver,
    .timer_fired = timer_fired,
    .host_call_ended = host_call_ended,
    .cancel = cancel,
    .turn_end = turn_end,
};
