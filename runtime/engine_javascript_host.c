/* runtime/engine_javascript_host.c - the embedder's functions and objects, as scripts see them.
 *
 * A host object is a JSClass object that holds one reference on its value; its methods live on a
 * prototype for each class and realm.  The finalizer may run during a collection: it only releases.
 * Thread: the VM's. */
#include "runtime/engine_javascript.h"

#include <stdlib.h>
#include <string.h>

struct muster__js_function { /* a binding, or a method (then host_class is set) */
    struct muster__js_function *next;
    char *path;
    muster_host_fn *function;
    void *user_data;
    const struct muster_host_class *host_class;
};

struct muster__js_class {
    struct muster__js_class *next;
    const struct muster_host_class *host_class;
    JSObjectRef prototype; /* protected */
};

static JSValueRef call_function(JSContextRef context, JSObjectRef function, JSObjectRef this_object,
                                size_t count, const JSValueRef arguments[], JSValueRef *exception);

static void finalize_host_object(JSObjectRef object)
{
    muster_value_release(JSObjectGetPrivate(object));
}

static const JSClassDefinition function_definition = {
    .attributes = kJSClassAttributeNoAutomaticPrototype,
    .className = "Function",
    .callAsFunction = call_function,
};
static const JSClassDefinition object_definition = {
    .attributes = kJSClassAttributeNoAutomaticPrototype,
    .className = "HostObject",
    .finalize = finalize_host_object,
};

/* Classes are descriptions without a context; one for the process, made on first use and kept. */
static JSClassRef class_of(_Atomic(JSClassRef) *slot, const JSClassDefinition *definition)
{
    JSClassRef made = atomic_load_explicit(slot, memory_order_acquire);
    if (made)
        return made;
    made = JSClassCreate(definition);
    JSClassRef expected = NULL;
    if (!atomic_compare_exchange_strong(slot, &expected, made)) {
        JSClassRelease(made);
        made = expected;
    }
    return made;
}

static JSClassRef function_class(void)
{
    static _Atomic(JSClassRef) slot;
    return class_of(&slot, &function_definition);
}

static JSClassRef object_class(void)
{
    static _Atomic(JSClassRef) slot;
    return class_of(&slot, &object_definition);
}

const struct muster_value *muster__js_host_value(JSContextRef context, JSValueRef value)
{
    if (!JSValueIsObjectOfClass(context, value, object_class()))
        return NULL;
    return JSObjectGetPrivate((JSObjectRef)value);
}

/* ---- calls ---- */

static JSValueRef thrown_by(struct muster__realm *realm, JSContextRef context,
                            const struct muster_host_call *call)
{
    return muster__js_make_error(realm, context, call->error.name, call->error.message, NULL);
}

/* Of a call that ended at once. */
static JSValueRef outcome(struct muster__realm *realm, JSContextRef context,
                          const struct muster_host_call *call, JSValueRef *exception)
{
    if (call->error.message == NULL)
        return muster__js_from_value(realm, context, call->result, exception);
    *exception = thrown_by(realm, context, call);
    return JSValueMakeUndefined(context);
}

/* All of them in one message. */
static struct muster_value *collect_rich(struct muster__realm *realm, JSContextRef context, size_t count,
                                         const JSValueRef arguments[], JSValueRef *exception)
{
    JSObjectRef list = JSObjectMakeArray(context, count, arguments, exception);
    return list ? muster__js_pack(realm, context, list, true, exception) : NULL;
}

static struct muster_value *collect(struct muster__realm *realm, JSContextRef context, size_t count,
                                    const JSValueRef arguments[], JSValueRef *exception)
{
    struct muster_value *array = muster_value_new_array();
    for (size_t i = 0; array && i < count; i++) {
        bool is_rich = false;
        struct muster_value *item = muster__js_to_tree(realm, context, arguments[i],
                                                       MUSTER__JS_ANY_DEPTH, &is_rich, exception);
        if (item && muster_value_append(array, item) == MUSTER_OK)
            continue;
        muster_value_release(array);
        if (is_rich)
            return collect_rich(realm, context, count, arguments, exception);
        if (item)
            muster__js_out_of_memory(context, exception);
        return NULL;
    }
    if (!array)
        muster__js_out_of_memory(context, exception);
    return array;
}

static JSValueRef wait_for(struct muster__realm *realm, JSContextRef context,
                           struct muster_host_call *call, struct muster__js_call *open,
                           JSValueRef *exception)
{
    JSObjectRef resolve = NULL, reject = NULL;
    JSObjectRef promise = JSObjectMakeDeferredPromise(context, &resolve, &reject, exception);
    if (promise)
        muster__js_hold(context, &open->waiter, resolve, reject);
    open->next = realm->calls;
    if (realm->calls)
        realm->calls->previous = open;
    realm->calls = open;
    call->engine_data = open;
    realm->host->host_call_open(realm->worker, call);
    return promise ? promise : JSValueMakeUndefined(context);
}

static JSValueRef run(struct muster__realm *realm, JSContextRef context, struct muster_host_call *call,
                      JSValueRef *exception)
{
    struct muster__js_call *open = calloc(1, sizeof *open);
    if (!call || !open) {
        free(open);
        if (call)
            muster__host_call_destroy(call);
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    if (!muster__host_call_run(call))
        return wait_for(realm, context, call, open, exception);
    JSValueRef value = outcome(realm, context, call, exception);
    free(open);
    muster__host_call_destroy(call);
    return value;
}

static struct muster_host_call *new_method_call(JSContextRef context,
                                                const struct muster__js_function *method,
                                                JSObjectRef this_object,
                                                struct muster_value *take_arguments,
                                                JSValueRef *exception)
{
    const struct muster_value *value = this_object ? muster__js_host_value(context, this_object) : NULL;
    if (!value || muster__value_host_class(value) != method->host_class) {
        muster_value_release(take_arguments);
        (void)muster__js_throw(context, "TypeError", "a method was called on another object",
                               exception);
        return NULL;
    }
    return muster__host_call_new(method->path, method->function, muster__value_host_data(value),
                                 take_arguments);
}

static JSValueRef call_function(JSContextRef context, JSObjectRef function, JSObjectRef this_object,
                                size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_of(context);
    const struct muster__js_function *binding = JSObjectGetPrivate(function);
    struct muster_value *array = collect(realm, context, count, arguments, exception);
    if (!array)
        return JSValueMakeUndefined(context);
    struct muster_host_call *call =
        binding->host_class
            ? new_method_call(context, binding, this_object, array, exception)
            : muster__host_call_new(binding->path, binding->function, binding->user_data, array);
    if (!call && *exception)
        return JSValueMakeUndefined(context);
    return run(realm, context, call, exception);
}

enum muster_status muster__js_host_call_ended(struct muster__realm *realm,
                                              struct muster_host_call *call)
{
    struct muster__js_call *open = call->engine_data;
    if (!open)
        return MUSTER_OK;
    call->engine_data = NULL;
    bool thrown = call->error.message != NULL;
    enum muster_status status =
        thrown ? muster__js_settle_waiter(realm, &open->waiter, true, thrown_by(realm, realm->context, call))
               : muster__js_settle_waiter_with(realm, &open->waiter, call->result);
    *(open->previous ? &open->previous->next : &realm->calls) = open->next;
    if (open->next)
        open->next->previous = open->previous;
    free(open);
    return status;
}

/* ---- objects ---- */

static JSObjectRef new_function(struct muster__realm *realm, JSContextRef context, const char *path,
                                muster_host_fn *function, void *user_data,
                                const struct muster_host_class *host_class)
{
    struct muster__js_function *made = calloc(1, sizeof *made);
    char *copy = muster__strdup(path);
    if (!made || !copy) {
        free(made);
        free(copy);
        return NULL;
    }
    *made = (struct muster__js_function){realm->functions, copy, function, user_data, host_class};
    realm->functions = made;
    return JSObjectMake(context, function_class(), made);
}

static bool define_methods(struct muster__realm *realm, JSContextRef context,
                           const struct muster_host_class *host_class, JSObjectRef prototype)
{
    for (size_t i = 0; i < host_class->method_count; i++) {
        const struct muster_host_method *method = &host_class->methods[i];
        char *path = muster__format("%s.%s", host_class->name, method->name);
        JSObjectRef function =
            path ? new_function(realm, context, path, method->call, NULL, host_class) : NULL;
        free(path);
        if (!function)
            return false;
        JSStringRef name = JSStringCreateWithUTF8CString(method->name);
        JSObjectSetProperty(context, prototype, name, function, kJSPropertyAttributeDontEnum, NULL);
        JSStringRelease(name);
    }
    return true;
}

static JSObjectRef prototype_of(struct muster__realm *realm, JSContextRef context,
                                const struct muster_host_class *host_class)
{
    for (struct muster__js_class *at = realm->classes; at; at = at->next)
        if (at->host_class == host_class)
            return at->prototype;
    struct muster__js_class *made = calloc(1, sizeof *made);
    JSObjectRef prototype = JSObjectMake(context, NULL, NULL);
    if (!made || !define_methods(realm, context, host_class, prototype)) {
        free(made);
        return NULL;
    }
    JSValueProtect(context, prototype);
    *made = (struct muster__js_class){realm->classes, host_class, prototype};
    realm->classes = made;
    return prototype;
}

JSValueRef muster__js_host_object(struct muster__realm *realm, JSContextRef context,
                                  const struct muster_value *value, JSValueRef *exception)
{
    JSObjectRef prototype = prototype_of(realm, context, muster__value_host_class(value));
    if (!prototype) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    JSObjectRef object = JSObjectMake(context, object_class(), muster_value_acquire(value));
    JSObjectSetPrototype(context, object, prototype);
    return object;
}

/* ---- bindings ---- */

/* The object that holds the last part of a dotted path; parts that are missing are made. */
static JSObjectRef owner_of(JSContextRef context, const char *path, const char **ret_last,
                            JSValueRef *exception)
{
    JSObjectRef owner = JSContextGetGlobalObject(context);
    for (const char *dot; (dot = strchr(path, '.')) && !*exception; path = dot + 1) {
        JSStringRef name = muster__js_string(path, (size_t)(dot - path));
        JSValueRef found = JSObjectGetProperty(context, owner, name, exception);
        if (!*exception && !JSValueIsObject(context, found)) {
            found = JSObjectMake(context, NULL, NULL);
            JSObjectSetProperty(context, owner, name, found, 0, exception);
        }
        JSStringRelease(name);
        owner = (JSObjectRef)found;
    }
    *ret_last = path;
    return *exception ? NULL : owner;
}

static void define_one(struct muster__realm *realm, JSContextRef context,
                       const struct muster__binding *binding, JSValueRef *exception)
{
    const char *last = NULL;
    JSObjectRef owner = owner_of(context, binding->path, &last, exception);
    if (!owner)
        return;
    JSValueRef value = binding->function
                           ? new_function(realm, context, binding->path, binding->function,
                                          binding->user_data, NULL)
                           : muster__js_from_value(realm, context, binding->value, exception);
    if (!value)
        muster__js_out_of_memory(context, exception);
    if (*exception)
        return;
    JSStringRef name = JSStringCreateWithUTF8CString(last);
    JSObjectSetProperty(context, owner, name, value, 0, exception);
    JSStringRelease(name);
}

bool muster__js_define_bindings(struct muster__realm *realm, const struct muster_bindings *bindings,
                                JSValueRef *exception)
{
    for (size_t i = 0; i < muster__bindings_count(bindings) && !*exception; i++) {
        struct muster__binding binding = muster__bindings_at(bindings, i);
        define_one(realm, realm->context, &binding, exception);
    }
    return !*exception;
}

void muster__js_host_clean_up(struct muster__realm *realm)
{
    for (struct muster__js_call *open = realm->calls, *next; open; open = next) {
        next = open->next;
        muster__js_let_go(realm->context, &open->waiter);
        free(open);
    }
    for (struct muster__js_class *at = realm->classes, *next; at; at = next) {
        next = at->next;
        JSValueUnprotect(realm->context, at->prototype);
        free(at);
    }
    for (struct muster__js_function *at = realm->functions, *next; at; at = next) {
        next = at->next;
        free(at->path);
        free(at);
    }
    realm->calls = NULL;
    realm->classes = NULL;
    realm->functions = NULL;
}
