/* runtime/engine_javascript.c - JavaScript on JavaScriptCore: VMs, realms, entries and their limits.
 *
 * A VM is a context group, a realm a global context in it.  The globals are written in JavaScript
 * (runtime/js): `core` is evaluated with the realm, every other chunk when one of its names is first
 * read.  Thread: a pool thread, one at a time for a VM; muster__js_vm_interrupt() alone may come from any.
 *
 * Every delivery is one entry into the VM; its microtasks run before the entry returns.  What holds a
 * request (waitUntil, a promise for the response, a streamed body) is counted here, and the sweep at an
 * entry's end ends those that nothing holds.
 *
 * Limits: the engine's watchdog calls back after half a second of CPU time in one entry (sooner when the
 * limit is shorter, twice as often with a memory limit), where the turn limit, the interrupt flag and the
 * memory are looked at.  More often would be dear: each time, the engine throws away the compiled code
 * that is running, and the timer also goes off between entries that are short.  The watchdog starts its
 * clock anew for every microtask: a chain of microtasks that never ends, each of them short, cannot be
 * interrupted on a thread.  Memory is also looked at when a turn ends, at most every 50 ms, so that what
 * is allocated in between can pass the limit before it is seen; what is over it after a full collection
 * ends the realm.  Once a limit has struck the VM answers nothing but that. */
#include "runtime/engine_javascript.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "js_chunks.h"

#define WATCHDOG_PERIOD_US 500000u
#define WATCHDOG_PERIOD_WITH_MEMORY_US 250000u
#define MEMORY_PERIOD_US 50000u
#define INDEX_BITS 20

static const struct {
    const char *chunk, *name;
} entry_places[JS_ENTRY_COUNT] = {
    [JS_ENTRY_FETCH] = {"core_fetch", "fetch"},  [JS_ENTRY_EVENT] = {"core", "event"},
    [JS_ENTRY_CALL] = {"core2", "call"},         [JS_ENTRY_CANCEL] = {"core_fetch", "cancel"},
    [JS_ENTRY_INVOKE] = {"core", "invoke"},
    [JS_ENTRY_ANSWER] = {"core", "answer"},      [JS_ENTRY_TIMER] = {"core2", "timer"},
    [JS_ENTRY_REJECTION] = {"core2", "rejection"}, [JS_ENTRY_MODULE] = {"core2", "module"},
    [JS_ENTRY_HANDLES] = {"core2", "handles"},   [JS_ENTRY_MAIL] = {"ports", "mail"},
    [JS_ENTRY_MESSAGE] = {"ports", "message"},   [JS_ENTRY_CLOSED] = {"ports", "closed"},
    [JS_ENTRY_MAIL_EVENT] = {"ports", "mailEvent"},
};
static const char *const property_names[JS_NAME_COUNT] = {
    "name", "message", "stack", "line", "column", "sourceURL", "get", "set", "value", "length",
};

static _Thread_local struct muster__realm *current;

struct muster__realm *muster__js_current(void)
{
    return current;
}

struct muster__realm *muster__js_of(JSContextRef context)
{
    if (current->context == context)
        return current;
    JSGlobalContextRef global = JSContextGetGlobalContext(context);
    struct muster__realm *realm = current->vm->realms;
    while (realm && realm->context != global)
        realm = realm->next;
    MUSTER_CHECK(realm != NULL);
    return realm;
}

/* ---- limits ---- */

static size_t number_in(JSContextRef context, JSObjectRef statistics, const char *name)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSObjectGetProperty(context, statistics, key, NULL);
    JSStringRelease(key);
    double bytes = value ? JSValueToNumber(context, value, NULL) : 0;
    return bytes > 0 ? (size_t)bytes : 0;
}

/* What the heap takes, garbage and all. */
static size_t measure(JSContextRef context)
{
    return number_in(context, JSGetMemoryUsageStatistics(context), "heapCapacity");
}

/* What a collection could not free; the engine counts this when it collects. */
static size_t measure_live(JSContextRef context)
{
    JSSynchronousGarbageCollectForDebugging(context);
    return number_in(context, JSGetMemoryUsageStatistics(context), "heapSize");
}

static void look_at_memory(struct muster__vm *vm, JSContextRef context)
{
    if (muster__now_us() - vm->memory_at_us < MEMORY_PERIOD_US)
        return;
    vm->memory = measure(context);
    if (vm->limits.memory_limit != 0 && vm->memory > vm->limits.memory_limit) {
        vm->memory = measure_live(context);
        if (vm->memory > vm->limits.memory_limit && vm->cut == MUSTER_OK)
            vm->cut = MUSTER_MEMORY_LIMIT;
    }
    vm->memory_at_us = muster__now_us(); /* measuring takes its time in a large heap */
}

static bool should_terminate(JSContextRef context, void *user_data);

static void arm(struct muster__vm *vm, uint64_t after_us)
{
    vm->armed_us = after_us;
    JSContextGroupSetExecutionTimeLimit(vm->group, (double)after_us / 1e6, should_terminate, vm);
}

/* The engine does not go on by itself; the last stretch to the limit may be shorter. */
static void arm_again(struct muster__vm *vm, uint64_t used_us)
{
    uint64_t limit_us = vm->limits.turn_limit_us;
    uint64_t left_us = limit_us ? limit_us - used_us : vm->period_us;
    arm(vm, left_us < vm->period_us ? left_us : vm->period_us);
}

/* Every period of CPU time inside an entry. */
static bool should_terminate(JSContextRef context, void *user_data)
{
    struct muster__vm *vm = user_data;
    uint64_t cpu_us = muster__thread_cpu_us();
    if (vm->ticks++ == 0)
        vm->entry_cpu_us = cpu_us > vm->armed_us ? cpu_us - vm->armed_us : 0;
    uint64_t used_us = cpu_us - vm->entry_cpu_us;
    if (vm->cut != MUSTER_OK)
        return true;
    if (atomic_load_explicit(&vm->interrupted, memory_order_relaxed))
        vm->cut = MUSTER_TERMINATED;
    else if (vm->limits.turn_limit_us && used_us >= vm->limits.turn_limit_us)
        vm->cut = MUSTER_TURN_LIMIT;
    else if (vm->limits.memory_limit)
        look_at_memory(vm, context);
    if (vm->cut == MUSTER_OK)
        arm_again(vm, used_us);
    return vm->cut != MUSTER_OK;
}

static void vm_limit(struct muster__vm *vm, const struct muster__vm_options *options)
{
    uint64_t limit_us = options->turn_limit_us;
    vm->limits = *options;
    vm->period_us =
        options->memory_limit ? WATCHDOG_PERIOD_WITH_MEMORY_US : WATCHDOG_PERIOD_US;
    if (limit_us && limit_us < vm->period_us)
        vm->period_us = limit_us;
    arm(vm, vm->period_us);
}

static enum muster_status vm_new(const struct muster__vm_options *options, struct muster__vm **ret_vm)
{
    struct muster__vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return MUSTER_NO_MEMORY;
    muster__js_release_dead_vms();
    vm->group = JSContextGroupCreate();
    vm_limit(vm, options);
    *ret_vm = vm;
    return MUSTER_OK;
}

static void vm_destroy(struct muster__vm *vm)
{
    if (!vm)
        return;
    MUSTER_CHECK(vm->realms == NULL);
    muster__js_release_vm(vm);
    free(vm->scratch);
    free(vm);
}

static void vm_interrupt(struct muster__vm *vm)
{
    atomic_store(&vm->interrupted, true);
}

static size_t vm_memory(struct muster__vm *vm)
{
    if (vm->realms && muster__now_us() - vm->memory_at_us >= MEMORY_PERIOD_US) {
        vm->memory = measure(vm->realms->context);
        vm->memory_at_us = muster__now_us();
    }
    return vm->memory;
}

static void vm_trim(struct muster__vm *vm)
{
    if (vm->ballast)
        muster__js_drop_ballast(vm->ballast_realm);
    if (vm->realms)
        JSSynchronousGarbageCollectForDebugging(vm->realms->context);
    free(vm->scratch);
    vm->scratch = NULL;
    vm->scratch_size = 0;
}

/* ---- deliveries ---- */

static bool reserve_delivery(struct muster__realm *realm)
{
    if (realm->idle || realm->delivery_count < realm->delivery_capacity)
        return true;
    size_t capacity = realm->delivery_capacity ? realm->delivery_capacity * 2 : 8;
    if (capacity > (size_t)1 << INDEX_BITS)
        return false;
    void *grown = realloc(realm->deliveries, capacity * sizeof *realm->deliveries);
    if (!grown)
        return false;
    realm->deliveries = grown;
    realm->delivery_capacity = capacity;
    return true;
}

static struct muster__js_delivery *delivery_new(struct muster__realm *realm,
                                                struct muster__request *request)
{
    if (!reserve_delivery(realm))
        return NULL;
    struct muster__js_delivery *delivery = realm->idle;
    if (delivery) {
        realm->idle = delivery->next;
    } else {
        delivery = calloc(1, sizeof *delivery);
        if (!delivery)
            return NULL;
        delivery->index = (uint32_t)realm->delivery_count;
        realm->deliveries[realm->delivery_count++] = delivery;
    }
    delivery->request = request;
    delivery->next = NULL;
    delivery->settled = delivery->passed = delivery->touched = false;
    delivery->status = MUSTER_OK;
    delivery->holds = 0;
    request->engine_data = delivery;
    return delivery;
}

static double id_of(const struct muster__js_delivery *delivery)
{
    return (double)((uint64_t)delivery->generation << INDEX_BITS | delivery->index);
}

struct muster__js_delivery *muster__js_delivery_of(struct muster__realm *realm, JSContextRef context,
                                                   JSValueRef id)
{
    double number = id ? JSValueToNumber(context, id, NULL) : -1;
    if (!(number >= 0 && number < 9007199254740992.0))
        return NULL;
    uint64_t bits = (uint64_t)number, index = bits & ((1u << INDEX_BITS) - 1);
    struct muster__js_delivery *delivery =
        index < realm->delivery_count ? realm->deliveries[index] : NULL;
    return delivery && delivery->request && delivery->generation == bits >> INDEX_BITS ? delivery
                                                                                       : NULL;
}

void muster__js_touch(struct muster__realm *realm, struct muster__js_delivery *delivery)
{
    if (delivery->touched)
        return;
    delivery->touched = true;
    delivery->next = realm->touched;
    realm->touched = delivery;
}

void muster__js_settle(struct muster__realm *realm, struct muster__js_delivery *delivery,
                       const struct muster__outcome *outcome)
{
    if (delivery->settled)
        return;
    delivery->settled = true;
    realm->host->settle(realm->worker, delivery->request, outcome);
}

/* The slot can be used again, under another number. */
static void delivery_free(struct muster__realm *realm, struct muster__js_delivery *delivery)
{
    muster__js_bodies_end(realm, delivery);
    muster_error_clean_up(&delivery->error);
    delivery->request->engine_data = NULL;
    delivery->request = NULL;
    if (realm->delivering == delivery)
        realm->delivering = NULL;
    delivery->generation++;
    delivery->next = realm->idle;
    realm->idle = delivery;
}

static void end(struct muster__realm *realm, struct muster__js_delivery *delivery)
{
    struct muster__request *request = delivery->request;
    enum muster_status status = delivery->passed ? MUSTER_PASSED : delivery->status;
    if (request->kind == MUSTER__REQUEST_FETCH)
        status = MUSTER_PASSED; /* nobody answered */
    const struct muster__outcome outcome = {
        .status = status, .error = status == MUSTER_OK || delivery->passed ? NULL : &delivery->error};
    muster__js_settle(realm, delivery, &outcome);
    delivery_free(realm, delivery);
    realm->host->ended(realm->worker, request);
}

void muster__js_sweep(struct muster__realm *realm)
{
    while (realm->touched && realm->vm->cut == MUSTER_OK) { /* else the worker settles what is left */
        struct muster__js_delivery *delivery = realm->touched;
        realm->touched = delivery->next;
        delivery->touched = false;
        if (delivery->holds == 0)
            end(realm, delivery);
    }
}

/* ---- entries ---- */

static void tell_evaluated(struct muster__realm *realm)
{
    if (!realm->evaluation_done || !realm->evaluated)
        return;
    realm->evaluation_done = false;
    realm->evaluated(realm->worker, realm->evaluation_status, &realm->evaluation_error);
    muster_error_clean_up(&realm->evaluation_error);
}

enum muster_status muster__js_begin(struct muster__realm *realm)
{
    struct muster__vm *vm = realm->vm;
    current = realm;
    vm->ticks = 0;
    if (vm->armed_us != vm->period_us) /* a long entry came before */
        arm(vm, vm->period_us);
    if (vm->cut == MUSTER_OK && atomic_load_explicit(&vm->interrupted, memory_order_relaxed))
        vm->cut = MUSTER_TERMINATED;
    return vm->cut;
}

static JSValueRef get_by_text(JSContextRef context, JSObjectRef object, const char *name,
                              JSValueRef *exception);

/* The chunk of it loads on first use. */
static JSObjectRef entry_of(struct muster__realm *realm, enum muster__js_entry entry,
                            JSValueRef *exception)
{
    if (realm->entries[entry])
        return realm->entries[entry];
    JSObjectRef exports = muster__js_chunk(realm, entry_places[entry].chunk, exception);
    if (!exports)
        return NULL;
    JSValueRef function = get_by_text(realm->context, exports, entry_places[entry].name, exception);
    MUSTER_CHECK(JSValueIsObject(realm->context, function));
    JSValueProtect(realm->context, function);
    return realm->entries[entry] = (JSObjectRef)function;
}

/* An entry without its end, which is finish(). */
static enum muster_status enter(struct muster__realm *realm, enum muster__js_entry entry, size_t count,
                                const JSValueRef *arguments, JSValueRef *ret_result,
                                JSValueRef *ret_exception)
{
    JSValueRef exception = NULL;
    enum muster_status status = muster__js_begin(realm);
    if (status != MUSTER_OK)
        return status;
    JSObjectRef function = entry_of(realm, entry, &exception);
    JSValueRef result = function ? JSObjectCallAsFunction(realm->context, function, NULL, count,
                                                          arguments, &exception)
                                 : NULL;
    if (ret_result && result)
        *ret_result = result;
    *ret_exception = exception;
    return realm->vm->cut;
}

static void report(struct muster__realm *realm, JSValueRef thrown)
{
    struct muster_error error = {0};
    muster__js_describe_error(realm, realm->context, thrown, MUSTER_SCRIPT_ERROR, &error);
    realm->host->report(realm->worker, &error);
    muster_error_clean_up(&error);
}

static enum muster_status finish(struct muster__realm *realm)
{
    muster__js_sweep(realm);
    if (realm->vm->cut == MUSTER_OK)
        tell_evaluated(realm);
    return realm->vm->cut;
}

enum muster_status muster__js_enter(struct muster__realm *realm, enum muster__js_entry entry,
                                    size_t count, const JSValueRef *arguments, JSValueRef *ret_result)
{
    JSValueRef exception = NULL;
    realm->delivering = NULL;
    enum muster_status status = enter(realm, entry, count, arguments, ret_result, &exception);
    if (status != MUSTER_OK)
        return status;
    if (exception) /* the stack or the memory ran out where core.js catches nothing */
        report(realm, exception);
    return finish(realm);
}

static JSValueRef text_value(struct muster__realm *realm, const char *text)
{
    return muster__js_text(realm->context, text);
}

static void forget_event_name(struct muster__realm *realm)
{
    if (realm->event_name)
        JSValueUnprotect(realm->context, realm->event_name_value);
    free(realm->event_name);
    realm->event_name = NULL;
}

/* The same string again while events of one name follow each other: made and hashed once. */
static JSValueRef event_name(struct muster__realm *realm, const char *name)
{
    if (realm->event_name && name && strcmp(realm->event_name, name) == 0)
        return realm->event_name_value;
    JSValueRef value = text_value(realm, name);
    forget_event_name(realm);
    realm->event_name = name ? muster__strdup(name) : NULL;
    if (realm->event_name) {
        JSValueProtect(realm->context, value);
        realm->event_name_value = value;
    }
    return value;
}

/* What core.js answers: 1, something holds the request; 2, nobody listens; undefined, neither. */
static void take_answer(struct muster__realm *realm, struct muster__js_delivery *delivery,
                        JSValueRef result)
{
    /* A number takes the engine's lock, to see that something is undefined does not. */
    bool is_said = result && !JSValueIsUndefined(realm->context, result);
    double answer = is_said ? JSValueToNumber(realm->context, result, NULL) : 0;
    /* Microtasks have run since core.js answered: a release may have come already. */
    delivery->holds += answer == 1;
    delivery->passed = answer == 2;
    muster__js_touch(realm, delivery);
}

static enum muster_status dispatch(struct muster__realm *realm, struct muster__js_delivery *delivery,
                                   JSValueRef *ret_result, JSValueRef *ret_exception)
{
    const struct muster__request *request = delivery->request;
    JSContextRef context = realm->context;
    JSValueRef id = JSValueMakeNumber(context, id_of(delivery));
    if (request->kind == MUSTER__REQUEST_FETCH)
        return enter(realm, JS_ENTRY_FETCH, 1, &id, ret_result, ret_exception);
    if (request->mail) {
        JSValueRef mail[8] = {id, JSValueMakeNumber(context, request->kind), event_name(realm, request->name)};
        muster__js_describe_mail(realm, request->data, request->mail, mail + 3);
        return enter(realm, JS_ENTRY_MAIL_EVENT, 8, mail, ret_result, ret_exception);
    }
    bool is_message = muster__js_is_message(request->data);
    JSValueRef data = is_message ? JSValueMakeUndefined(context)
                                 : muster__js_from_value(realm, context, request->data, ret_exception);
    if (*ret_exception)
        return realm->vm->cut;
    realm->incoming = is_message ? request->data : NULL;
    const JSValueRef name = event_name(realm, request->name), flag = JSValueMakeBoolean(context, is_message);
    const JSValueRef call[] = {id, name, data, flag};
    const JSValueRef event[] = {id, JSValueMakeNumber(context, request->kind), name, data, flag};
    enum muster_status status =
        request->kind == MUSTER__REQUEST_CALL
            ? enter(realm, JS_ENTRY_CALL, 4, call, ret_result, ret_exception)
            : enter(realm, JS_ENTRY_EVENT, 5, event, ret_result, ret_exception);
    realm->incoming = NULL;
    return status;
}

static enum muster_status deliver(struct muster__realm *realm, struct muster__request *request)
{
    enum muster_status status = muster__js_begin(realm);
    if (status != MUSTER_OK)
        return status;
    struct muster__js_delivery *delivery = delivery_new(realm, request);
    if (!delivery) {
        const struct muster__outcome outcome = {.status = MUSTER_NO_MEMORY};
        realm->host->settle(realm->worker, request, &outcome);
        realm->host->ended(realm->worker, request);
        return MUSTER_OK;
    }
    JSValueRef result = NULL, exception = NULL;
    realm->delivering = delivery;
    status = dispatch(realm, delivery, &result, &exception);
    if (status != MUSTER_OK)
        return status;
    if (exception) { /* see muster__js_enter() */
        struct muster_error error = {0};
        muster__js_describe_error(realm, realm->context, exception, MUSTER_SCRIPT_ERROR, &error);
        const struct muster__outcome outcome = {.status = MUSTER_SCRIPT_ERROR, .error = &error};
        muster__js_settle(realm, delivery, &outcome);
        realm->host->report(realm->worker, &error);
        muster_error_clean_up(&error);
    }
    take_answer(realm, delivery, result);
    return finish(realm);
}

/* Whose timer it is only the realms know; there are several if scripts made some. */
static enum muster_status timer_fired(struct muster__realm *realm, uint32_t id)
{
    for (struct muster__realm *at = realm->vm->realms; at; at = at->next) {
        const JSValueRef argument = JSValueMakeNumber(at->context, id);
        JSValueRef is_known = NULL;
        if (at->is_closed || (at->is_closing && at->type != MUSTER__WORKER_SERVICE))
            continue;
        enum muster_status status = muster__js_enter(at, JS_ENTRY_TIMER, 1, &argument, &is_known);
        if (status != MUSTER_OK || at == realm || (is_known && JSValueToBoolean(at->context, is_known)))
            return status;
    }
    return realm->vm->cut;
}

static enum muster_status host_call_ended(struct muster__realm *realm, struct muster_host_call *call)
{
    enum muster_status status = muster__js_begin(realm);
    return status == MUSTER_OK ? muster__js_host_call_ended(realm, call) : status;
}

static enum muster_status cancel(struct muster__realm *realm, struct muster__request *request)
{
    struct muster__js_delivery *delivery = request->engine_data;
    if (!delivery)
        return realm->vm->cut;
    muster__js_bodies_cancel(realm, delivery);
    if (request->kind != MUSTER__REQUEST_FETCH)
        return realm->vm->cut;
    const JSValueRef id = JSValueMakeNumber(realm->context, id_of(delivery));
    return muster__js_enter(realm, JS_ENTRY_CANCEL, 1, &id, NULL);
}

/* ---- rejections that nobody handled ---- */

static JSValueRef rejected(JSContextRef context, JSObjectRef function, JSObjectRef this_object,
                           size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    (void)exception;
    if (count < 2)
        return JSValueMakeUndefined(context);
    if (realm->rejection_count == realm->rejection_capacity) {
        size_t capacity = realm->rejection_capacity ? realm->rejection_capacity * 2 : 4;
        void *grown = realloc(realm->rejections, capacity * sizeof *realm->rejections);
        if (!grown)
            return JSValueMakeUndefined(context);
        realm->rejections = grown;
        realm->rejection_capacity = capacity;
    }
    JSValueProtect(context, arguments[0]);
    JSValueProtect(context, arguments[1]);
    realm->rejections[realm->rejection_count++] =
        (struct muster__js_rejection){arguments[0], arguments[1]};
    return JSValueMakeUndefined(context);
}

static void tell_rejection(struct muster__realm *realm, const struct muster__js_rejection *rejection)
{
    const JSValueRef arguments[] = {rejection->promise, rejection->reason};
    JSValueRef handled = NULL;
    if (muster__js_enter(realm, JS_ENTRY_REJECTION, 2, arguments, &handled) == MUSTER_OK &&
        !(handled && JSValueToBoolean(realm->context, handled)))
        report(realm, rejection->reason);
    JSValueUnprotect(realm->context, rejection->promise);
    JSValueUnprotect(realm->context, rejection->reason);
}

static void tell_rejections(struct muster__realm *realm)
{
    /* Those that a listener causes wait for the next turn: no turn of rejections without end. */
    size_t count = realm->rejection_count;
    current = realm;
    for (size_t i = 0; i < count; i++) {
        struct muster__js_rejection rejection = realm->rejections[i]; /* the array may move */
        tell_rejection(realm, &rejection);
    }
    realm->rejection_count -= count;
    if (realm->rejection_count > 0)
        memmove(realm->rejections, realm->rejections + count,
                realm->rejection_count * sizeof *realm->rejections);
}

static enum muster_status turn_end(struct muster__realm *realm)
{
    for (struct muster__realm *at = realm->vm->realms, *next; at; at = next) {
        next = at->next; /* a listener may make a realm; none is freed while the worker lives */
        if (at->rejection_count > 0)
            tell_rejections(at);
    }
    if (realm->vm->has_closed)
        muster__js_stop_closed_realms(realm->vm);
    if (realm->vm->limits.memory_limit && realm->vm->cut == MUSTER_OK)
        look_at_memory(realm->vm, realm->context);
    return realm->vm->cut;
}

/* ---- chunks ---- */

static int chunk_index(const char *name)
{
    for (unsigned i = 0; i < muster__js_chunk_count; i++)
        if (strcmp(muster__js_chunks[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool muster__js_has_chunk(const char *name)
{
    return chunk_index(name) >= 0;
}

JSObjectRef muster__js_loaded_chunk(struct muster__realm *realm, const char *name)
{
    int index = chunk_index(name);
    return index >= 0 ? realm->chunks[index] : NULL;
}

/* One string for the process: making it costs more than running some of the chunks. */
static JSStringRef shared_string(_Atomic(JSStringRef) *slot, const char *text)
{
    JSStringRef made = atomic_load_explicit(slot, memory_order_acquire);
    if (made)
        return made;
    made = JSStringCreateWithUTF8CString(text);
    JSStringRef expected = NULL;
    if (atomic_compare_exchange_strong(slot, &expected, made))
        return made;
    JSStringRelease(made);
    return expected;
}

static JSValueRef evaluate_chunk(struct muster__realm *realm, int index, JSValueRef *exception)
{
    static _Atomic(JSStringRef) texts[sizeof muster__js_chunks / sizeof *muster__js_chunks];
    const struct muster__js_chunk *chunk = &muster__js_chunks[index];
    char place[64] = "muster:js/";
    strncat(place, chunk->name, sizeof place - strlen(place) - 1);
    JSStringRef text = shared_string(&texts[index], chunk->text);
    JSStringRef url = JSStringCreateWithUTF8CString(place);
    JSValueRef value = JSEvaluateScript(realm->context, text, realm->native, url, 1, exception);
    JSStringRelease(url);
    const JSValueRef argument = realm->native;
    bool is_function = chunk->text[0] == '('; /* else a block, which has run */
    return value && is_function
               ? JSObjectCallAsFunction(realm->context, (JSObjectRef)value, NULL, 1, &argument, exception)
               : value;
}

JSObjectRef muster__js_chunk(struct muster__realm *realm, const char *name, JSValueRef *exception)
{
    int index = chunk_index(name);
    MUSTER_CHECK(index >= 0);
    if (realm->chunks[index])
        return realm->chunks[index];
    muster__js_define_globals_of_chunk(realm, (unsigned)index, name, muster__js_chunks[index].text);
    JSValueRef exports = evaluate_chunk(realm, index, exception);
    if (!exports || !JSValueIsObject(realm->context, exports))
        return NULL; /* the stack, the memory or the time ran out */
    JSValueProtect(realm->context, exports);
    realm->chunks[index] = (JSObjectRef)exports;
    return realm->chunks[index];
}

static JSValueRef get_by_text(JSContextRef context, JSObjectRef object, const char *name,
                              JSValueRef *exception)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSObjectGetProperty(context, object, key, exception);
    JSStringRelease(key);
    return value ? value : JSValueMakeUndefined(context);
}

JSValueRef muster__js_export(struct muster__realm *realm, const char *chunk, const char *name,
                             JSValueRef *exception)
{
    JSObjectRef exports = muster__js_chunk(realm, chunk, exception);
    JSValueRef value =
        exports ? get_by_text(realm->context, exports, name, exception) : NULL;
    return value ? value : JSValueMakeUndefined(realm->context);
}

/* ---- realms ---- */

static void hear_of_rejections(struct muster__realm *realm)
{
    JSObjectRef function = JSObjectMakeFunctionWithCallback(realm->context, NULL, rejected);
    JSGlobalContextSetUnhandledRejectionCallback(realm->context, function, NULL);
}

static JSStringRef property_name(enum muster__js_name name)
{
    static _Atomic(JSStringRef) names[JS_NAME_COUNT];
    return shared_string(&names[name], property_names[name]);
}

/* What any first event would load and compile is loaded and compiled now. */
static bool realm_prepare(struct muster__realm *realm)
{
    JSValueRef exception = NULL;
    if (muster__js_begin(realm) != MUSTER_OK)
        return false;
    JSValueRef rehearse = muster__js_export(realm, "core_fetch", "rehearse", &exception);
    if (exception || !JSValueIsObject(realm->context, rehearse))
        return false;
    (void)JSObjectCallAsFunction(realm->context, (JSObjectRef)rehearse, NULL, 0, NULL, &exception);
    return !exception && realm->vm->cut == MUSTER_OK;
}

bool muster__js_realm_set_up(struct muster__realm *realm)
{
    realm->chunks = calloc(muster__js_chunk_count, sizeof *realm->chunks);
    if (!realm->chunks)
        return false;
    for (int i = 0; i < JS_NAME_COUNT; i++)
        realm->names[i] = property_name((enum muster__js_name)i);
    realm->native = muster__js_make_native(realm);
    JSValueProtect(realm->context, realm->native);
    hear_of_rejections(realm);
    return true;
}

static void realm_destroy(struct muster__realm *realm);

struct muster__realm *muster__js_realm_new(struct muster__vm *vm, const struct muster__realm_options *options)
{
    struct muster__realm *realm = calloc(1, sizeof *realm);
    if (!realm)
        return NULL;
    realm->vm = vm;
    realm->next = vm->realms;
    vm->realms = realm;
    realm->host = options->host;
    realm->worker = options->worker;
    realm->type = options->type;
    realm->context = JSGlobalContextCreateInGroup(vm->group, NULL);
    return realm;
}

static enum muster_status realm_new(struct muster__vm *vm, const struct muster__realm_options *options,
                                    struct muster__realm **ret_realm)
{
    struct muster__realm *realm = muster__js_realm_new(vm, options);
    if (!realm)
        return MUSTER_NO_MEMORY;
    enum muster_status status = muster__js_begin(realm);
    if (status == MUSTER_OK && !muster__js_realm_set_up(realm))
        status = vm->cut != MUSTER_OK ? vm->cut : MUSTER_NO_MEMORY;
    if (status != MUSTER_OK) {
        realm_destroy(realm);
        return status;
    }
    *ret_realm = realm;
    return MUSTER_OK;
}

static void forget_deliveries(struct muster__realm *realm)
{
    for (size_t i = 0; i < realm->delivery_count; i++) {
        if (realm->deliveries[i]->request)
            delivery_free(realm, realm->deliveries[i]);
        free(realm->deliveries[i]);
    }
    free(realm->deliveries);
}

static void free_texts(struct muster__realm *realm)
{
    for (size_t i = 0; realm->arguments && realm->arguments[i]; i++)
        free(realm->arguments[i]);
    free(realm->arguments);
    free(realm->name);
    free(realm->scope);
    free(realm->url);
    for (size_t i = 0; i < realm->imported_count; i++)
        muster__script_destroy(realm->imported[i]);
    free(realm->imported);
}

static void unlink_realm(struct muster__realm *realm)
{
    struct muster__realm **at = &realm->vm->realms;
    while (*at != realm)
        at = &(*at)->next;
    *at = realm->next;
}

static void unprotect(struct muster__realm *realm, JSObjectRef *object)
{
    if (*object)
        JSValueUnprotect(realm->context, *object);
    *object = NULL;
}

/* What it has of the world outside.  Its functions may still be called, and even make more: repeatable. */
void muster__js_realm_stop(struct muster__realm *realm)
{
    muster__js_ports_end(realm);
    muster__js_drop_outgoing(realm);
    muster__js_head_clean_up(realm);
    muster__js_host_clean_up(realm);
    muster__js_fetch_clean_up(realm);
    muster__js_drop_tokens(realm);
    for (size_t i = 0; i < realm->rejection_count; i++) {
        JSValueUnprotect(realm->context, realm->rejections[i].promise);
        JSValueUnprotect(realm->context, realm->rejections[i].reason);
    }
    realm->rejection_count = 0;
}

void muster__js_realm_leave(struct muster__realm *realm)
{
    muster__js_realm_stop(realm);
    for (unsigned i = 0; realm->chunks && i < muster__js_chunk_count; i++)
        unprotect(realm, &realm->chunks[i]);
    for (int i = 0; i < JS_ENTRY_COUNT; i++)
        unprotect(realm, &realm->entries[i]);
    unprotect(realm, &realm->error_constructor);
    unprotect(realm, &realm->define);
    forget_event_name(realm);
    muster__js_clone_clean_up(realm);
    muster__js_stop_lending(realm);
    unprotect(realm, &realm->native);
    JSGlobalContextRelease(realm->context);
}

void muster__js_realm_free(struct muster__realm *realm)
{
    unlink_realm(realm);
    free_texts(realm);
    free(realm->chunks);
    free(realm->rejections);
    muster_error_clean_up(&realm->evaluation_error);
    muster_bindings_release(realm->bindings);
    free(realm);
}

/* Values that are still protected go with the VM; what C holds goes here. */
static void realm_destroy(struct muster__realm *realm)
{
    if (!realm)
        return;
    current = realm;
    muster__js_free_sub_realms(realm);
    forget_deliveries(realm);
    muster__js_realm_leave(realm);
    muster__js_realm_free(realm);
    current = NULL;
}

/* ---- evaluate ---- */

static bool copy_arguments(struct muster__realm *realm, const char *const *arguments)
{
    size_t count = 0;
    while (arguments && arguments[count])
        count++;
    realm->arguments = calloc(count + 1, sizeof *realm->arguments);
    for (size_t i = 0; realm->arguments && i < count; i++)
        if (!(realm->arguments[i] = muster__strdup(arguments[i])))
            return false;
    return realm->arguments != NULL;
}

void muster__js_begin_time(struct muster__realm *realm)
{
    struct timespec wall;
    realm->origin_us = realm->host->now_us(realm->worker);
    clock_gettime(CLOCK_REALTIME, &wall);
    realm->origin_ms = (double)wall.tv_sec * 1e3 + (double)wall.tv_nsec / 1e6;
}

static bool adopt_identity(struct muster__realm *realm, const struct muster__realm_identity *identity)
{
    realm->worker = identity->worker;
    realm->type = identity->type;
    realm->name = muster__strdup(identity->name ? identity->name : "");
    realm->scope = muster__strdup(identity->scope ? identity->scope : "");
    if (identity->bindings)
        realm->bindings =
            muster_bindings_acquire((struct muster_bindings *)(uintptr_t)identity->bindings);
    if (identity->host_port)
        realm->host_port = muster__port_acquire(identity->host_port);
    if (identity->port)
        realm->port = muster__port_acquire(identity->port);
    muster__js_begin_time(realm);
    muster__js_settle_globals(realm);
    return realm->name && realm->scope && copy_arguments(realm, identity->arguments);
}
static bool does_not_parse(struct muster__realm *realm, JSStringRef text, JSStringRef url,
                           JSValueRef *exception)
{
    JSValueRef found = NULL;
    if (JSCheckScriptSyntax(realm->context, text, url, 1, &found))
        return false;
    if (found)
        *exception = found;
    return true;
}

/* The standard lets workers go on whose script threw; a service worker's, or one that nobody talks to, has failed. */
static bool survives_errors(const struct muster__realm *realm)
{
    return realm->type == MUSTER__WORKER_SHARED || realm->type == MUSTER__WORKER_CLIENT ||
           (realm->type == MUSTER__WORKER_DEDICATED && muster__js_has_own_port(realm));
}

enum muster_status muster__js_tell_error(struct muster__realm *realm, JSValueRef thrown)
{
    JSValueRef exception = NULL;
    JSValueRef function = muster__js_export(realm, "core", "reportException", &exception);
    if (JSValueIsObject(realm->context, function))
        (void)JSObjectCallAsFunction(realm->context, (JSObjectRef)function, NULL, 1, &thrown, &exception);
    if (exception)
        report(realm, exception);
    return realm->vm->cut;
}

/* MUSTER_OK, or why the script's text did not run to its end. */
static enum muster_status run_text(struct muster__realm *realm, const struct muster__script *script,
                                   struct muster_error *error)
{
    JSStringRef text = muster__js_string(script->text, script->length);
    JSStringRef url = muster__js_string(script->url, strlen(script->url));
    JSValueRef exception = NULL;
    enum muster_status status = MUSTER_NO_MEMORY;
    if (text && url) {
        (void)JSEvaluateScript(realm->context, text, NULL, url, 1, &exception);
        status = realm->vm->cut;
    }
    if (status == MUSTER_OK && exception) {
        status = does_not_parse(realm, text, url, &exception) ? MUSTER_SYNTAX_ERROR
                                                              : MUSTER_SCRIPT_ERROR;
        if (status == MUSTER_SCRIPT_ERROR && survives_errors(realm))
            status = muster__js_tell_error(realm, exception);
        else
            muster__js_describe_error(realm, realm->context, exception, status, error);
    } else if (status != MUSTER_OK) {
        muster_error_set(error, status, "%s", muster_status_sentence(status));
    }
    if (text)
        JSStringRelease(text);
    if (url)
        JSStringRelease(url);
    return status;
}

static enum muster_status adopt_module(struct muster__realm *realm, struct muster_error *error)
{
    JSValueRef result = NULL, exception = NULL;
    enum muster_status status = enter(realm, JS_ENTRY_MODULE, 0, NULL, &result, &exception);
    if (status == MUSTER_OK && exception) {
        status = MUSTER_SCRIPT_ERROR;
        if (survives_errors(realm))
            status = muster__js_tell_error(realm, exception);
        else
            muster__js_describe_error(realm, realm->context, exception, status, error);
    } else if (status != MUSTER_OK) {
        muster_error_set(error, status, "%s", muster_status_sentence(status));
    }
    if (status != MUSTER_OK || !result || JSValueToNumber(realm->context, result, NULL) != 1)
        return status;
    if (!realm->evaluation_done)
        return MUSTER_PENDING;
    realm->evaluation_done = false; /* it had settled already */
    muster_error_copy(error, &realm->evaluation_error);
    muster_error_clean_up(&realm->evaluation_error);
    return realm->evaluation_status;
}

static enum muster_status evaluate(struct muster__realm *realm,
                                   const struct muster__realm_identity *identity,
                                   const struct muster__script *script,
                                   void (*evaluated)(struct muster__worker *worker,
                                                     enum muster_status status,
                                                     const struct muster_error *error),
                                   struct muster_error *error)
{
    JSValueRef exception = NULL;
    enum muster_status status = muster__js_begin(realm);
    if (status == MUSTER_OK && !adopt_identity(realm, identity))
        status = MUSTER_NO_MEMORY;
    if (status != MUSTER_OK) {
        muster_error_set(error, status, "%s", muster_status_sentence(status));
        return status;
    }
    realm->script = script;
    realm->evaluated = NULL;
    if (!muster__js_define_bindings(realm, identity->bindings, &exception)) {
        muster__js_describe_error(realm, realm->context, exception, MUSTER_SCRIPT_ERROR, error);
        return MUSTER_SCRIPT_ERROR;
    }
    muster__js_define_globals_of_script(realm, script->text, script->length);
    /* The script may take the realm's own. */
    bool tells_types = realm->type == MUSTER__WORKER_SERVICE && realm->host_port && !identity->types_known;
    struct muster__port *types_to = tells_types ? muster__port_acquire(realm->host_port) : NULL;
    status = run_text(realm, script, error);
    if (status == MUSTER_OK && script->is_module)
        status = adopt_module(realm, error);
    realm->evaluated = evaluated;
    if (status == MUSTER_OK || status == MUSTER_PENDING)
        muster__js_ports_begin(realm);
    if (types_to && status == MUSTER_OK)
        muster__js_tell_event_types(realm, types_to);
    muster__port_release(types_to);
    return status;
}

static bool handles(struct muster__realm *realm, const char *type)
{
    JSValueRef result = NULL;
    const JSValueRef argument = text_value(realm, type);
    return muster__js_enter(realm, JS_ENTRY_HANDLES, 1, &argument, &result) == MUSTER_OK && result &&
           JSValueToBoolean(realm->context, result);
}

MUSTER_API const struct muster__engine muster__engine_javascript = {
    .name = "javascript",
    .file_endings = ".js .mjs .cjs .ts .mts .jsx .tsx",
    .asks = true,
    .says_hello = true,
    .vm_new = vm_new,
    .vm_destroy = vm_destroy,
    .vm_limit = vm_limit,
    .vm_interrupt = vm_interrupt,
    .vm_memory = vm_memory,
    .vm_trim = vm_trim,
    .realm_new = realm_new,
    .realm_destroy = realm_destroy,
    .realm_prepare = realm_prepare,
    .evaluate = evaluate,
    .handles = handles,
    .deliver = deliver,
    .timer_fired = timer_fired,
    .host_call_ended = host_call_ended,
    .cancel = cancel,
    .turn_end = turn_end,
};
