/* runtime/host_call.c - what the embedder gives to scripts: sets of bindings, calls, host objects.
 *
 * A call is one object between two parties: its owner (the worker's thread) and the one that ends it
 * (any thread).  Its phase alone says who frees it.  Ending is one exchange on the phase; the outcome
 * is written before it and read after it, so neither side needs a lock:
 *
 *   RUNNING -> OPEN      the owner: the function returned first; on_ended and worker are set
 *   RUNNING -> ENDED     the ender: the owner sees it when the function returns, or in open()
 *   OPEN    -> ENDED     the ender: then calls on_ended, and the call is the worker's
 *   OPEN    -> ORPHAN    the owner: the worker died; the one that ends it frees it
 *   ORPHAN  -> ENDED     the ender: frees it
 *
 * Ending twice is the embedder's mistake; it aborts where the memory still tells. */
#include "runtime/host_call.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/value_internal.h"

/* ---- host objects ---- */

struct muster_value *muster_value_new_host_object(const struct muster_host_class *host_class,
                                                  void *user_data)
{
    MUSTER_CHECK(host_class != NULL);
    struct muster_value *value = muster__value_new(MUSTER_TYPE_HOST_OBJECT, 0);
    if (value == NULL)
        return NULL;
    value->host.class = host_class;
    value->host.data = user_data;
    return value;
}

const struct muster_host_class *muster__value_host_class(const struct muster_value *value)
{
    return muster_value_type(value) == MUSTER_TYPE_HOST_OBJECT ? value->host.class : NULL;
}

void *muster__value_host_data(const struct muster_value *value)
{
    return muster_value_type(value) == MUSTER_TYPE_HOST_OBJECT ? value->host.data : NULL;
}

void *muster_value_host_object(const struct muster_value *value,
                               const struct muster_host_class *host_class)
{
    bool is_that = host_class != NULL && muster__value_host_class(value) == host_class;
    return is_that ? value->host.data : NULL;
}

/* ---- calls ---- */

struct muster_host_call *muster__host_call_new(const char *name, muster_host_fn *function,
                                               void *user_data, struct muster_value *take_arguments)
{
    struct muster_host_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        goto fail;
    call->arguments = take_arguments;
    call->name = name;
    call->function = function;
    call->user_data = user_data;
    atomic_init(&call->phase, MUSTER__HOST_CALL_RUNNING);
    /* A throw must not turn into a return of undefined because memory ran out in between. */
    call->spare_message = muster__strdup("out of memory");
    if (call->spare_message == NULL) {
        free(call);
        goto fail;
    }
    return call;
fail:
    muster_value_release(take_arguments);
    return NULL;
}

void muster__host_call_destroy(struct muster_host_call *call)
{
    if (call == NULL)
        return;
    muster_value_release(call->arguments);
    muster_value_release(call->result);
    muster_error_clean_up(&call->error);
    free(call->owned_name);
    free(call->spare_message);
    free(call);
}

static enum muster__host_call_phase phase_of(const struct muster_host_call *call)
{
    return atomic_load_explicit(&call->phase, memory_order_acquire);
}

bool muster__host_call_run(struct muster_host_call *call)
{
    struct muster_error error = {0};
    MUSTER_CHECK(phase_of(call) == MUSTER__HOST_CALL_RUNNING);
    call->owner = pthread_self();
    if (muster__value_check(call->arguments, &error) == MUSTER_OK)
        call->function(call, call->user_data);
    else
        muster_host_call_throw(call, "TypeError", error.message);
    muster_error_clean_up(&error);
    return call->ended_by_owner;
}

bool muster__host_call_open(struct muster_host_call *call,
                            void (*on_ended)(struct muster_host_call *, void *worker), void *worker)
{
    call->on_ended = on_ended;
    call->worker = worker;
    unsigned expected = MUSTER__HOST_CALL_RUNNING;
    if (atomic_compare_exchange_strong_explicit(&call->phase, &expected, MUSTER__HOST_CALL_OPEN,
                                                memory_order_acq_rel, memory_order_acquire))
        return true;
    MUSTER_CHECK(expected == MUSTER__HOST_CALL_ENDED);
    return false;
}

bool muster__host_call_orphan(struct muster_host_call *call)
{
    unsigned expected = MUSTER__HOST_CALL_OPEN;
    if (atomic_compare_exchange_strong_explicit(&call->phase, &expected, MUSTER__HOST_CALL_ORPHAN,
                                                memory_order_acq_rel, memory_order_acquire))
        return false;
    MUSTER_CHECK(expected == MUSTER__HOST_CALL_ENDED);
    return true;
}

/* The outcome is written; says so, and sends the call on its way. */
static void end_call(struct muster_host_call *call)
{
    if (phase_of(call) == MUSTER__HOST_CALL_RUNNING && pthread_equal(call->owner, pthread_self()))
        call->ended_by_owner = true;
    unsigned before = atomic_exchange_explicit(&call->phase, MUSTER__HOST_CALL_ENDED,
                                               memory_order_acq_rel);
    switch ((enum muster__host_call_phase)before) {
    case MUSTER__HOST_CALL_RUNNING: /* the owner looks when the function is back: it is another's by now */
        return;
    case MUSTER__HOST_CALL_OPEN:
        call->on_ended(call, call->worker);
        return;
    case MUSTER__HOST_CALL_ORPHAN:
        muster__host_call_destroy(call);
        return;
    case MUSTER__HOST_CALL_ENDED:
        break;
    }
    MUSTER_CHECK(!"a host call was ended twice");
}

size_t muster_host_call_count(const struct muster_host_call *call)
{
    return muster_value_count(muster__value_list(call->arguments));
}

const struct muster_value *muster_host_call_argument(const struct muster_host_call *call, size_t i)
{
    return muster_value_at(muster__value_list(call->arguments), i);
}

const char *muster_host_call_name(const struct muster_host_call *call)
{
    if (call->owned_name != NULL)
        return call->owned_name;
    return call->name != NULL ? call->name : "";
}

void muster_host_call_return(struct muster_host_call *take_call, struct muster_value *take_value)
{
    MUSTER_CHECK(phase_of(take_call) != MUSTER__HOST_CALL_ENDED);
    take_call->result = take_value;
    end_call(take_call);
}

void muster_host_call_throw(struct muster_host_call *take_call, const char *name,
                            const char *message)
{
    MUSTER_CHECK(phase_of(take_call) != MUSTER__HOST_CALL_ENDED);
    struct muster_error *error = &take_call->error;
    error->status = MUSTER_SCRIPT_ERROR;
    error->name = muster__strdup(name != NULL ? name : "Error");
    error->message = muster__strdup(message != NULL ? message : "");
    if (error->message == NULL) {
        error->message = take_call->spare_message;
        take_call->spare_message = NULL;
    }
    end_call(take_call);
}

/* ---- sets of bindings ---- */

struct binding {
    struct muster__binding seen; /* what engines see; the path is ours */
    struct muster_value *value;
    muster_finalize_fn *finalize;
};

struct muster_bindings {
    atomic_uint references;
    struct binding *items;
    size_t count;
    size_t capacity;
};

struct muster_bindings *muster_bindings_new(void)
{
    struct muster_bindings *bindings = calloc(1, sizeof *bindings);
    if (bindings != NULL)
        atomic_init(&bindings->references, 1);
    return bindings;
}

struct muster_bindings *muster_bindings_acquire(struct muster_bindings *bindings)
{
    if (bindings == NULL)
        return NULL;
    unsigned before = atomic_fetch_add_explicit(&bindings->references, 1, memory_order_relaxed);
    MUSTER_CHECK(before > 0 && before < UINT_MAX / 2);
    return bindings;
}

static void clean_up_binding(struct binding *binding)
{
    muster_value_release(binding->value);
    if (binding->finalize != NULL)
        binding->finalize(binding->seen.user_data);
    free((char *)binding->seen.path);
}

void muster_bindings_release(struct muster_bindings *bindings)
{
    if (bindings == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&bindings->references, 1, memory_order_acq_rel);
    MUSTER_CHECK(before > 0);
    if (before != 1)
        return;
    for (size_t i = 0; i < bindings->count; i++)
        clean_up_binding(&bindings->items[i]);
    free(bindings->items);
    free(bindings);
}

static bool starts_identifier(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static bool continues_identifier(char c)
{
    return starts_identifier(c) || (c >= '0' && c <= '9');
}

static bool is_path(const char *path)
{
    if (path == NULL)
        return false;
    for (;;) {
        if (!starts_identifier(*path))
            return false;
        while (continues_identifier(*path))
            path++;
        if (*path == '\0')
            return true;
        if (*path++ != '.')
            return false;
    }
}

/* "db" collides with "db" and with "db.query": one name cannot be both a leaf and a folder. */
static bool collide(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (*a == '\0' || *a == '.') && (*b == '\0' || *b == '.') && (*a == '\0' || *b == '\0');
}

static enum muster_status make_room(struct muster_bindings *bindings)
{
    if (bindings->count < bindings->capacity)
        return MUSTER_OK;
    size_t capacity = bindings->capacity == 0 ? 8 : bindings->capacity * 2;
    struct binding *items = realloc(bindings->items, capacity * sizeof *items);
    if (items == NULL)
        return MUSTER_NO_MEMORY;
    bindings->items = items;
    bindings->capacity = capacity;
    return MUSTER_OK;
}

/* Adds an empty binding of that path. */
static enum muster_status add(struct muster_bindings *bindings, const char *path,
                              struct binding **ret_binding)
{
    if (bindings == NULL || !is_path(path))
        return MUSTER_INVALID_ARGUMENT;
    for (size_t i = 0; i < bindings->count; i++)
        if (collide(bindings->items[i].seen.path, path))
            return MUSTER_EXISTS;
    enum muster_status status = make_room(bindings);
    if (status != MUSTER_OK)
        return status;
    char *copy = muster__strdup(path);
    if (copy == NULL)
        return MUSTER_NO_MEMORY;
    struct binding *binding = &bindings->items[bindings->count++];
    memset(binding, 0, sizeof *binding);
    binding->seen.path = copy;
    *ret_binding = binding;
    return MUSTER_OK;
}

enum muster_status muster_bindings_add_function(struct muster_bindings *bindings, const char *path,
                                                muster_host_fn *function, void *user_data,
                                                muster_finalize_fn *finalize)
{
    if (function == NULL)
        return MUSTER_INVALID_ARGUMENT;
    struct binding *binding = NULL;
    enum muster_status status = add(bindings, path, &binding);
    if (status != MUSTER_OK)
        return status;
    binding->seen.function = function;
    binding->seen.user_data = user_data;
    binding->finalize = finalize;
    return MUSTER_OK;
}

enum muster_status muster_bindings_add_value(struct muster_bindings *bindings, const char *path,
                                             struct muster_value *take_value)
{
    struct binding *binding = NULL;
    enum muster_status status =
        take_value == NULL ? MUSTER_INVALID_ARGUMENT : add(bindings, path, &binding);
    if (status != MUSTER_OK) {
        muster_value_release(take_value);
        return status;
    }
    binding->value = take_value;
    binding->seen.value = take_value;
    return MUSTER_OK;
}

size_t muster__bindings_count(const struct muster_bindings *bindings)
{
    return bindings == NULL ? 0 : bindings->count;
}

struct muster__binding muster__bindings_at(const struct muster_bindings *bindings, size_t i)
{
    MUSTER_CHECK(i < muster__bindings_count(bindings));
    return bindings->items[i].seen;
}
