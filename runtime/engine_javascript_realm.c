/* runtime/engine_javascript_realm.c - further realms of a worker: what frames are to a page.
 *
 * A script of a client may open realms beside its own, in the same VM and on the same thread: each has its
 * globals, its `native`, its timers and its ports, and functions of one may be called from another directly.
 * Requests, bindings and modules are the first realm's alone.  One that was closed lets go of all that it
 * has at the end of the turn; the record of it stays until the worker ends, for functions of it may be in
 * somebody's hands.
 * Thread: the VM's. */
#include "runtime/engine_javascript.h"

#include <stdlib.h>
#include <string.h>

/* Scripts may have functions of a realm that was closed, which load chunks as ever; of so many, the last ones. */
#define STOPPED_REALMS_KEPT 32

static void call_leave(struct muster__realm *realm, const char *chunk)
{
    JSValueRef exception = NULL;
    if (!muster__js_loaded_chunk(realm, chunk))
        return;
    JSValueRef function = muster__js_export(realm, chunk, "leave", &exception);
    if (JSValueIsObject(realm->context, function))
        (void)JSObjectCallAsFunction(realm->context, (JSObjectRef)function, NULL, 0, NULL, &exception);
}

static void close_realm(struct muster__realm *realm)
{
    if (realm->is_closed)
        return;
    call_leave(realm, "core2");
    call_leave(realm, "host_port");
    realm->is_closed = realm->vm->has_closed = true; /* its own functions may be the ones that run */
}

/* The oldest that was stopped and still has its chunks, if there are more than are kept. */
static struct muster__realm *surplus(struct muster__vm *vm)
{
    struct muster__realm *oldest = NULL;
    size_t count = 0;
    for (struct muster__realm *at = vm->realms; at; at = at->next) {
        if (!at->is_stopped || at->is_left)
            continue;
        count++;
        oldest = oldest && oldest->sub_number < at->sub_number ? oldest : at;
    }
    return count > STOPPED_REALMS_KEPT ? oldest : NULL;
}

void muster__js_stop_closed_realms(struct muster__vm *vm)
{
    struct muster__realm *at;
    vm->has_closed = false;
    for (at = vm->realms; at; at = at->next)
        if (at->is_closed && !at->is_stopped) {
            at->is_stopped = true;
            muster__js_realm_stop(at);
        }
    while ((at = surplus(vm)) != NULL) {
        at->is_left = true;
        muster__js_realm_leave(at);
    }
}

void muster__js_free_sub_realms(struct muster__realm *main)
{
    for (struct muster__realm *at = main->vm->realms, *next; at; at = next) {
        next = at->next;
        if (at->sub_number == 0)
            continue;
        if (!at->is_left)
            muster__js_realm_leave(at);
        muster__js_realm_free(at);
    }
}

static struct muster__realm *main_of(struct muster__realm *realm)
{
    struct muster__realm *at = realm->vm->realms;
    while (at && at->sub_number != 0)
        at = at->next;
    MUSTER_CHECK(at != NULL);
    return at;
}

/* What the ports of all realms of a worker have in common. */
static void share_family(struct muster__realm *from, struct muster__realm *to)
{
    JSStringRef name = JSStringCreateWithUTF8CString("family");
    JSValueRef family = JSObjectGetProperty(from->context, from->native, name, NULL);
    if (family)
        JSObjectSetProperty(to->context, to->native, name, family, 0, NULL);
    JSStringRelease(name);
}

static struct muster__realm *make_realm(struct muster__realm *maker, char *take_url)
{
    struct muster__realm *main = main_of(maker);
    const struct muster__realm_options options = {
        .host = maker->host, .worker = maker->worker, .type = MUSTER__WORKER_CLIENT};
    struct muster__realm *realm = muster__js_realm_new(maker->vm, &options);
    if (!realm) {
        free(take_url);
        return NULL;
    }
    realm->sub_number = ++main->sub_count;
    realm->url = take_url;
    realm->script = maker->script;
    realm->name = muster__strdup("");
    realm->scope = muster__strdup("");
    if (realm->name && realm->scope && muster__js_realm_set_up(realm)) {
        muster__js_begin_time(realm);
        muster__js_settle_globals(realm);
        share_family(maker, realm);
        return realm;
    }
    muster__js_realm_leave(realm);
    muster__js_realm_free(realm);
    return NULL;
}

/* realmOpen(url, handle): [number, its global object]; the handle's port becomes its port to the coordinator. */
MUSTER__JS_CALLBACK(muster__js_native_realm_open)
{
    struct muster__realm *maker = muster__js_of(context);
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 2);
    if (maker->type != MUSTER__WORKER_CLIENT || maker->is_closed)
        return muster__js_throw(context, "NotSupportedError", "only clients have realms", exception);
    char *url = muster__js_copy_text(context, arguments[0], NULL);
    struct muster__realm *realm = url ? make_realm(maker, url) : NULL;
    if (!realm) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    if (JSValueIsObject(context, arguments[1]))
        realm->host_port = muster__js_port_take_end(arguments[1]);
    const JSValueRef items[] = {JSValueMakeNumber(context, realm->sub_number),
                                JSContextGetGlobalObject(realm->context)};
    JSObjectRef list = JSObjectMakeArray(context, 2, items, exception);
    return list ? list : JSValueMakeUndefined(context);
}

static struct muster__realm *realm_at(JSContextRef context, JSValueRef number)
{
    double wanted = JSValueToNumber(context, number, NULL);
    struct muster__realm *here = muster__js_of(context), *at = here->vm->realms;
    if (wanted == 0)
        return here->is_closed ? NULL : here;
    while (at && (at->sub_number == 0 || (double)at->sub_number != wanted))
        at = at->next;
    return at && !at->is_closed ? at : NULL;
}

static JSValueRef run(struct muster__realm *realm, JSStringRef text, JSStringRef url, const char *source,
                      size_t length)
{
    JSValueRef exception = NULL;
    muster__js_define_globals_of_script(realm, source, length);
    JSValueRef value = JSEvaluateScript(realm->context, text, NULL, url, 1, &exception);
    if (!exception)
        return value;
    (void)muster__js_tell_error(realm, exception);
    return NULL;
}

/* realmEvaluate(number, text, url): runs a script there; what it throws is reported there.  0: here. */
MUSTER__JS_CALLBACK(muster__js_native_realm_evaluate)
{
    size_t length = 0;
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 3);
    struct muster__realm *realm = realm_at(context, arguments[0]);
    JSStringRef text = JSValueToStringCopy(context, arguments[1], exception);
    JSStringRef url = text ? JSValueToStringCopy(context, arguments[2], exception) : NULL;
    char *source = url ? muster__js_copy_text(context, arguments[1], &length) : NULL;
    JSValueRef value = NULL;
    if (realm && source)
        value = run(realm, text, url, source, length);
    else if (url && !source)
        muster__js_out_of_memory(context, exception);
    free(source);
    if (url)
        JSStringRelease(url);
    if (text)
        JSStringRelease(text);
    return value ? value : JSValueMakeUndefined(context);
}

/* realmChunk(number, name): the exports of a chunk there, which scripts never see. */
MUSTER__JS_CALLBACK(muster__js_native_realm_chunk)
{
    char name[32] = "";
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 2);
    struct muster__realm *realm = realm_at(context, arguments[0]);
    JSStringRef string = JSValueToStringCopy(context, arguments[1], exception);
    if (string) {
        (void)JSStringGetUTF8CString(string, name, sizeof name);
        JSStringRelease(string);
    }
    JSObjectRef exports = realm && muster__js_has_chunk(name) ? muster__js_chunk(realm, name, exception) : NULL;
    if (!exports && !*exception)
        return muster__js_throw(context, "Error", "the realm was closed", exception);
    return exports ? exports : JSValueMakeUndefined(context);
}

/* realmClose(number) */
MUSTER__JS_CALLBACK(muster__js_native_realm_close)
{
    (void)function;
    (void)this_object;
    (void)exception;
    MUSTER_CHECK(count == 1);
    struct muster__realm *realm = realm_at(context, arguments[0]);
    if (realm)
        close_realm(realm);
    return JSValueMakeUndefined(context);
}
