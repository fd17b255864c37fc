/* runtime/engine_javascript_native.c - `native`: what the globals written in JavaScript ask of C.
 *
 * One object a realm, of a class whose functions the engine makes when they are first read.  Scripts
 * never see it; its arguments come from muster's own chunks.  Thread: the VM's, inside an entry. */
#include "runtime/engine_javascript.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define NATIVE(name)                                                                               \
    static JSValueRef native_##name(JSContextRef context, JSObjectRef function,                   \
                                    JSObjectRef this_object, size_t count,                        \
                                    const JSValueRef arguments[], JSValueRef *exception)
#define UNUSED ((void)function, (void)this_object, (void)count, (void)arguments, (void)exception)
#define UNDEFINED JSValueMakeUndefined(context)

static double number_at(JSContextRef context, size_t count, const JSValueRef arguments[], size_t i)
{
    return i < count ? JSValueToNumber(context, arguments[i], NULL) : 0;
}

/* ---- what every chunk uses ---- */

NATIVE(chunk)
{
    char name[32] = "";
    UNUSED;
    MUSTER_CHECK(count == 1);
    JSStringRef string = JSValueToStringCopy(context, arguments[0], exception);
    if (!string)
        return UNDEFINED;
    (void)JSStringGetUTF8CString(string, name, sizeof name);
    JSStringRelease(string);
    if (!muster__js_has_chunk(name))
        return muster__js_throw(context, "NotSupportedError", name, exception);
    JSObjectRef exports = muster__js_chunk(muster__js_of(context), name, exception);
    return exports ? exports : UNDEFINED;
}

NATIVE(print)
{
    struct muster__realm *realm = muster__js_of(context);
    size_t length = 0;
    UNUSED;
    double level = number_at(context, count, arguments, 0);
    char *text = count > 1 ? muster__js_copy_text(context, arguments[1], &length) : NULL;
    if (text && level >= MUSTER_LOG_ERROR && level <= MUSTER_LOG_DEBUG)
        realm->host->console(realm->worker, (enum muster_log_level)level, text, length);
    free(text);
    return UNDEFINED;
}

NATIVE(utf8Encode)
{
    size_t length = 0;
    UNUSED;
    char *text = count ? muster__js_copy_text(context, arguments[0], &length) : NULL;
    if (text)
        return muster__js_bytes(context, text, length, exception);
    muster__js_out_of_memory(context, exception);
    return UNDEFINED;
}

NATIVE(utf8Decode)
{
    struct muster_bytes bytes = {NULL, 0};
    UNUSED;
    MUSTER_CHECK(count >= 1);
    if (!muster__js_view(context, arguments[0], &bytes))
        return muster__js_throw(context, "TypeError", "these are no bytes", exception);
    if (count > 2 && JSValueToNumber(context, arguments[2], NULL) < (double)bytes.length)
        bytes.length = (size_t)JSValueToNumber(context, arguments[2], NULL);
    return muster__js_decode_utf8(context, (const unsigned char *)bytes.data, bytes.length,
                                  count > 1 && JSValueToBoolean(context, arguments[1]), exception);
}

NATIVE(randomFill)
{
    struct muster_bytes bytes = {NULL, 0};
    UNUSED;
    MUSTER_CHECK(count == 1 && muster__js_view(context, arguments[0], &bytes));
    for (size_t done = 0; done < bytes.length;) {
        ssize_t got = getrandom((char *)bytes.data + done, bytes.length - done, 0);
        if (got < 0 && errno != EINTR)
            return muster__js_throw(context, "Error", "there are no random numbers", exception);
        done += got > 0 ? (size_t)got : 0;
    }
    return UNDEFINED;
}

NATIVE(now)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    uint64_t now_us = realm->worker ? realm->host->now_us(realm->worker) : realm->origin_us;
    return JSValueMakeNumber(context, (double)(now_us - realm->origin_us) / 1000.0);
}

NATIVE(report)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster_error error = {0};
    UNUSED;
    if (count) {
        muster__js_describe_error(realm, context, arguments[0], MUSTER_SCRIPT_ERROR, &error);
        realm->host->report(realm->worker, &error);
        muster_error_clean_up(&error);
    }
    return UNDEFINED;
}

/* describe(error): [message, file, line, column], for ErrorEvent. */
NATIVE(describe)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster_error error = {0};
    UNUSED;
    MUSTER_CHECK(count == 1);
    muster__js_describe_error(realm, context, arguments[0], MUSTER_SCRIPT_ERROR, &error);
    char *message = error.name ? muster__format("Uncaught %s: %s", error.name, error.message)
                               : muster__format("Uncaught %s", error.message);
    const JSValueRef items[] = {
        muster__js_text(context, message ? message : ""),
        muster__js_text(context, error.file ? error.file : ""),
        JSValueMakeNumber(context, error.line),
        JSValueMakeNumber(context, error.column),
    };
    free(message);
    muster_error_clean_up(&error);
    JSObjectRef array = JSObjectMakeArray(context, 4, items, exception);
    return array ? array : UNDEFINED;
}

/* ---- requests ---- */

NATIVE(hold)
{
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(muster__js_of(context), context, count ? arguments[0] : NULL);
    UNUSED;
    if (delivery)
        delivery->holds++;
    return UNDEFINED;
}

NATIVE(release)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(realm, context, count ? arguments[0] : NULL);
    UNUSED;
    if (delivery) {
        delivery->holds--;
        muster__js_touch(realm, delivery);
    }
    return UNDEFINED;
}

/* As core.js counts them. */
static enum muster_status failure_of(double kind)
{
    static const enum muster_status statuses[] = {MUSTER_SCRIPT_ERROR, MUSTER_SCRIPT_ERROR,
                                                  MUSTER_REJECTED, MUSTER_BAD_RESPONSE,
                                                  MUSTER_NOT_FOUND};
    return kind >= 1 && kind <= 4 ? statuses[(int)kind] : MUSTER_SCRIPT_ERROR;
}

static bool is_answered_at_once(const struct muster__js_delivery *delivery)
{
    return delivery->request->kind == MUSTER__REQUEST_FETCH ||
           delivery->request->kind == MUSTER__REQUEST_CALL;
}

/* fail(id, kind, error): answers a fetch or a call; of other events it is the answer once they are over,
 * and a rejection counts for more than an error of the handler's. */
NATIVE(fail)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(realm, context, count ? arguments[0] : NULL);
    struct muster_error error = {0};
    UNUSED;
    MUSTER_CHECK(count == 3);
    if (!delivery)
        return UNDEFINED;
    enum muster_status status = failure_of(number_at(context, count, arguments, 1));
    muster__js_describe_error(realm, context, arguments[2], status, &error);
    if (!is_answered_at_once(delivery)) {
        if (delivery->status == MUSTER_OK ||
            (delivery->status == MUSTER_SCRIPT_ERROR && status == MUSTER_REJECTED)) {
            delivery->status = status;
            muster_error_clean_up(&delivery->error);
            delivery->error = error;
            return UNDEFINED;
        }
    } else if (!delivery->settled) {
        const struct muster__outcome outcome = {.status = status, .error = &error};
        muster__js_settle(realm, delivery, &outcome);
    } else {
        realm->host->report(realm->worker, &error); /* a waitUntil after the answer */
    }
    muster_error_clean_up(&error);
    return UNDEFINED;
}

/* returned(id, value): the result of a call. */
NATIVE(returned)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_delivery *delivery =
        muster__js_delivery_of(realm, context, count ? arguments[0] : NULL);
    UNUSED;
    MUSTER_CHECK(count == 2);
    if (!delivery)
        return UNDEFINED;
    struct muster_value *value = muster__js_to_value(realm, context, arguments[1], false, exception);
    if (!value)
        return UNDEFINED;
    const struct muster__outcome outcome = {.status = MUSTER_OK, .value = value};
    muster__js_settle(realm, delivery, &outcome);
    muster_value_release(value);
    return UNDEFINED;
}

/* evaluated(error?): the promise that a module exports by default has settled. */
NATIVE(evaluated)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    realm->evaluation_status = count ? MUSTER_REJECTED : MUSTER_OK;
    if (count)
        muster__js_describe_error(realm, context, arguments[0], MUSTER_REJECTED,
                                  &realm->evaluation_error);
    realm->evaluation_done = true;
    return UNDEFINED;
}

/* ---- timers ---- */

NATIVE(timerSet)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    double delay_ms = number_at(context, count, arguments, 0);
    bool repeat = count > 1 && JSValueToBoolean(context, arguments[1]);
    return JSValueMakeNumber(
        context, realm->host->timer_set(realm->worker, (uint64_t)(delay_ms * 1000.0), repeat));
}

NATIVE(timerClear)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    realm->host->timer_clear(realm->worker, (uint32_t)number_at(context, count, arguments, 0));
    return UNDEFINED;
}

/* ---- who and where ---- */

static void set(JSContextRef context, JSObjectRef object, const char *name, JSValueRef value)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSObjectSetProperty(context, object, key, value, 0, NULL);
    JSStringRelease(key);
}

static JSObjectRef arguments_of(struct muster__realm *realm, JSContextRef context)
{
    JSObjectRef array = JSObjectMakeArray(context, 0, NULL, NULL);
    for (unsigned i = 0; realm->arguments && realm->arguments[i]; i++)
        JSObjectSetPropertyAtIndex(context, array, i, muster__js_text(context, realm->arguments[i]),
                                   NULL);
    return array;
}

NATIVE(identity)
{
    struct muster__realm *realm = muster__js_of(context);
    JSObjectRef object = JSObjectMake(context, NULL, NULL);
    static const char *const types[] = {"service", "dedicated", "shared", "client"};
    const struct muster__script *script = realm->script;
    const char *url = realm->url ? realm->url : script ? script->url : "about:blank";
    UNUSED;
    set(context, object, "name", muster__js_text(context, realm->name ? realm->name : ""));
    set(context, object, "scope", muster__js_text(context, realm->scope ? realm->scope : ""));
    set(context, object, "url", muster__js_text(context, url));
    set(context, object, "module", JSValueMakeBoolean(context, script && script->is_module));
    set(context, object, "type", muster__js_text(context, types[realm->type]));
    set(context, object, "args", arguments_of(realm, context));
    return object;
}

NATIVE(skipWaiting)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    realm->host->skip_waiting(realm->worker);
    return UNDEFINED;
}

NATIVE(close)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    realm->is_closing = true;
    if (realm->type != MUSTER__WORKER_SERVICE) /* which finishes what it has */
        for (struct muster__realm *at = realm->vm->realms; at; at = at->next) {
            muster__js_fetch_let_go(at);
            muster__js_drop_tokens(at);
        }
    realm->host->close(realm->worker);
    return UNDEFINED;
}

/* ---- tokens that its chunks hold; few */

void muster__js_drop_tokens(struct muster__realm *realm)
{
    for (size_t i = 0; i < realm->token_count; i++)
        realm->host->token_drop(realm->worker, realm->tokens[i]);
    realm->token_count = 0;
    free(realm->tokens);
    realm->tokens = NULL;
}

static bool keep_token(struct muster__realm *realm, uint32_t token)
{
    uint32_t *grown = realloc(realm->tokens, (realm->token_count + 1) * sizeof *grown);
    if (!grown)
        return false;
    grown[realm->token_count++] = token;
    realm->tokens = grown;
    return true;
}

/* Whether it was held. */
static bool forget_token(struct muster__realm *realm, uint32_t token)
{
    for (size_t i = 0; i < realm->token_count; i++)
        if (realm->tokens[i] == token) {
            realm->tokens[i] = realm->tokens[--realm->token_count];
            return true;
        }
    return false;
}

/* tokenTake(name): its number, or 0; tokenDrop(number).  While it is held an idle worker is not ended. */
NATIVE(tokenTake)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    bool is_over = realm->is_closed || (realm->is_closing && realm->type != MUSTER__WORKER_SERVICE);
    char *name = count && !is_over ? muster__js_copy_text(context, arguments[0], NULL) : NULL;
    uint32_t token = name ? realm->host->token_take(realm->worker, name) : 0;
    if (token != 0 && !keep_token(realm, token)) {
        realm->host->token_drop(realm->worker, token);
        token = 0;
    }
    free(name);
    return JSValueMakeNumber(context, token);
}

NATIVE(tokenDrop)
{
    struct muster__realm *realm = muster__js_of(context);
    UNUSED;
    uint32_t token = (uint32_t)number_at(context, count, arguments, 0);
    if (token != 0 && forget_token(realm, token))
        realm->host->token_drop(realm->worker, token);
    return UNDEFINED;
}

static bool keep_script(struct muster__realm *realm, struct muster__script *script)
{
    struct muster__script **grown =
        realloc(realm->imported, (realm->imported_count + 1) * sizeof *grown);
    if (!grown)
        return false;
    grown[realm->imported_count++] = script;
    realm->imported = grown;
    return true;
}

static void run_script(JSContextRef context, const struct muster__script *script,
                       JSValueRef *exception)
{
    JSStringRef text = muster__js_string(script->text, script->length);
    JSStringRef url = muster__js_string(script->url, strlen(script->url));
    if (text && url)
        (void)JSEvaluateScript(context, text, NULL, url, 1, exception);
    else
        muster__js_out_of_memory(context, exception);
    if (text)
        JSStringRelease(text);
    if (url)
        JSStringRelease(url);
}

/* evaluateAt(text, url): the value of a script that is named so where it throws. */
NATIVE(evaluateAt)
{
    UNUSED;
    MUSTER_CHECK(count == 2);
    JSStringRef text = JSValueToStringCopy(context, arguments[0], exception);
    JSStringRef url = text ? JSValueToStringCopy(context, arguments[1], exception) : NULL;
    JSValueRef value = url ? JSEvaluateScript(context, text, NULL, url, 1, exception) : NULL;
    if (url)
        JSStringRelease(url);
    if (text)
        JSStringRelease(text);
    return value ? value : UNDEFINED;
}

/* native.imported: where the last script came from in the end. */
static void tell_imported(struct muster__realm *realm, JSContextRef context, const char *url)
{
    JSStringRef name = JSStringCreateWithUTF8CString("imported");
    JSObjectSetProperty(context, realm->native, name, muster__js_text(context, url), 0, NULL);
    JSStringRelease(name);
}

/* importScript(url): undefined when it ran, which may throw; else why it could not be loaded. */
NATIVE(importScript)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    UNUSED;
    char *url = count ? muster__js_copy_text(context, arguments[0], NULL) : NULL;
    if (!url) {
        muster__js_out_of_memory(context, exception);
        return UNDEFINED;
    }
    enum muster_status status = realm->host->load(realm->worker, url, &script, &error);
    JSValueRef answer = UNDEFINED;
    bool is_kept = status == MUSTER_OK && keep_script(realm, script);
    if (is_kept) {
        muster__js_define_globals_of_script(realm, script->text, script->length);
        run_script(context, script, exception); /* which may import others in turn */
        tell_imported(realm, context, script->url);
    } else {
        answer = muster__js_text(context, error.message ? error.message
                                                        : muster_status_sentence(status));
    }
    if (status == MUSTER_OK && !is_kept)
        muster__script_destroy(script);
    muster_error_clean_up(&error);
    free(url);
    return answer;
}

/* ---- waiting ---- */

void muster__js_hold(JSContextRef context, struct muster__js_waiter *waiter, JSValueRef resolve,
                     JSValueRef reject)
{
    muster__js_let_go(context, waiter);
    waiter->resolve = (JSObjectRef)resolve;
    waiter->reject = (JSObjectRef)reject;
    JSValueProtect(context, resolve);
    if (reject)
        JSValueProtect(context, reject);
}

void muster__js_let_go(JSContextRef context, struct muster__js_waiter *waiter)
{
    if (waiter->resolve)
        JSValueUnprotect(context, waiter->resolve);
    if (waiter->reject)
        JSValueUnprotect(context, waiter->reject);
    *waiter = (struct muster__js_waiter){NULL, NULL};
}

enum muster_status muster__js_settle_waiter(struct muster__realm *realm,
                                            struct muster__js_waiter *waiter, bool rejected,
                                            JSValueRef value)
{
    struct muster__js_waiter taken = *waiter; /* its memory may go while the entry runs */
    *waiter = (struct muster__js_waiter){NULL, NULL};
    JSObjectRef function = rejected && taken.reject ? taken.reject : taken.resolve;
    const JSValueRef arguments[] = {function, value};
    enum muster_status status =
        function ? muster__js_enter(realm, JS_ENTRY_INVOKE, 2, arguments, NULL) : MUSTER_OK;
    muster__js_let_go(realm->context, &taken);
    return status;
}

enum muster_status muster__js_settle_waiter_with(struct muster__realm *realm,
                                                 struct muster__js_waiter *waiter,
                                                 const struct muster_value *value)
{
    JSValueRef exception = NULL;
    if (!muster__js_is_message(value)) {
        JSValueRef made = muster__js_from_value(realm, realm->context, value, &exception);
        return muster__js_settle_waiter(realm, waiter, exception != NULL, exception ? exception : made);
    }
    struct muster__js_waiter taken = *waiter; /* as above */
    *waiter = (struct muster__js_waiter){NULL, NULL};
    const JSValueRef arguments[] = {taken.resolve, taken.reject ? taken.reject : taken.resolve};
    realm->incoming = value;
    enum muster_status status =
        taken.resolve ? muster__js_enter(realm, JS_ENTRY_ANSWER, 2, arguments, NULL) : MUSTER_OK;
    realm->incoming = NULL;
    muster__js_let_go(realm->context, &taken);
    return status;
}

/* ---- other workers ---- */

static void outgoing_settled(struct muster__note *note, struct muster__realm *realm)
{
    struct muster__outgoing *outgoing = muster__outgoing_of(note);
    struct muster__js_waiter waiter = {outgoing->engine_data, outgoing->engine_more};
    const struct muster_error *error = &outgoing->error;
    outgoing->engine_data = outgoing->engine_more = NULL;
    if (outgoing->status == MUSTER_OK || outgoing->status == MUSTER_PASSED) {
        struct muster_value *value = outgoing->value;
        outgoing->value = NULL;
        muster__outgoing_done(&realm->outgoing, outgoing);
        (void)muster__js_settle_waiter_with(realm, &waiter, value);
        muster_value_release(value);
        return;
    }
    JSValueRef thrown = muster__js_make_error(realm, realm->context, error->name,
                                              error->message ? error->message
                                                             : muster_status_sentence(outgoing->status),
                                              NULL);
    muster__outgoing_done(&realm->outgoing, outgoing);
    (void)muster__js_settle_waiter(realm, &waiter, true, thrown);
}

void muster__js_drop_outgoing(struct muster__realm *realm)
{
    while (realm->outgoing) {
        struct muster__outgoing *outgoing = realm->outgoing;
        struct muster__js_waiter waiter = {outgoing->engine_data, outgoing->engine_more};
        muster__js_let_go(realm->context, &waiter);
        muster__outgoing_done(&realm->outgoing, outgoing);
    }
}

/* dispatch(scope, name, data, is_call, resolve, reject) */
NATIVE(dispatch)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__outgoing *outgoing = NULL;
    UNUSED;
    MUSTER_CHECK(count == 6);
    bool is_call = JSValueToBoolean(context, arguments[3]);
    struct muster_value *data = muster__js_to_value(realm, context, arguments[2], is_call, exception);
    if (!data)
        return UNDEFINED; /* the promise's executor threw: it is rejected */
    char *scope = muster__js_copy_text(context, arguments[0], NULL);
    char *name = muster__js_copy_text(context, arguments[1], NULL);
    enum muster__request_kind kind = is_call ? MUSTER__REQUEST_CALL : MUSTER__REQUEST_EVENT;
    enum muster_status status = MUSTER_NO_MEMORY;
    if (scope && name)
        status = muster__outgoing_send(&realm->outgoing, realm->host, realm->worker, scope, kind, name,
                                       data, outgoing_settled, &outgoing);
    else
        muster_value_release(data);
    free(scope);
    free(name);
    if (status != MUSTER_OK)
        return muster__js_throw(context, "Error", muster_status_sentence(status), exception);
    struct muster__js_waiter waiter = {NULL, NULL};
    muster__js_hold(context, &waiter, arguments[4], arguments[5]);
    outgoing->engine_data = waiter.resolve;
    outgoing->engine_more = waiter.reject;
    return UNDEFINED;
}

/* ---- which events it listens for ---- */

static struct muster_value *names_of(JSContextRef context, JSObjectRef object)
{
    struct muster_value *list = muster_value_new_array();
    JSPropertyNameArrayRef names = JSObjectCopyPropertyNames(context, object);
    bool ok = list != NULL;
    for (size_t i = 0, n = JSPropertyNameArrayGetCount(names); ok && i < n; i++) {
        char name[128];
        size_t size = JSStringGetUTF8CString(JSPropertyNameArrayGetNameAtIndex(names, i), name, sizeof name);
        if (size > 0 && size < sizeof name) /* the coordinator waits for no longer ones */
            ok = muster_value_append(list, muster_value_new_text(name)) == MUSTER_OK;
    }
    JSPropertyNameArrayRelease(names);
    if (ok)
        return list;
    muster_value_release(list);
    return NULL;
}

/* A worker without memory for this is one that listens for everything. */
void muster__js_tell_event_types(struct muster__realm *realm, struct muster__port *port)
{
    JSValueRef exception = NULL;
    JSValueRef listeners = muster__js_export(realm, "core", "listeners", &exception);
    if (exception || !JSValueIsObject(realm->context, listeners))
        return;
    struct muster_value *head = muster_value_new_array();
    if (head && muster_value_append(head, muster_value_new_text("tell")) == MUSTER_OK &&
        muster_value_append(head, muster_value_new_text("eventTypes")) == MUSTER_OK &&
        muster_value_append(head, names_of(realm->context, (JSObjectRef)listeners)) == MUSTER_OK) {
        struct muster__port_message *message = muster__port_message_new(head, NULL, 0);
        if (message)
            muster__port_post(port, message);
        return;
    }
    muster_value_release(head);
}

/* ---- the object ---- */

static JSValueRef get_constant(JSContextRef context, JSObjectRef object, JSStringRef name,
                               JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)object;
    (void)exception;
    if (JSStringIsEqualToUTF8CString(name, "version"))
        return muster__js_text(context, muster_version());
    if (JSStringIsEqualToUTF8CString(name, "userAgent"))
        return muster__js_text(context, "muster/0.1");
    if (JSStringIsEqualToUTF8CString(name, "processors")) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        return JSValueMakeNumber(context, processors > 0 ? (double)processors : 1);
    }
    return JSValueMakeNumber(context, realm->origin_ms); /* timeOrigin */
}

static const JSStaticValue constants[] = {
    {"version", get_constant, NULL, kJSPropertyAttributeReadOnly},
    {"userAgent", get_constant, NULL, kJSPropertyAttributeReadOnly},
    {"processors", get_constant, NULL, kJSPropertyAttributeReadOnly},
    {"timeOrigin", get_constant, NULL, kJSPropertyAttributeReadOnly},
    {NULL, NULL, NULL, 0},
};

#define FUNCTION(name) {#name, native_##name, kJSPropertyAttributeReadOnly}
static const JSStaticFunction functions[] = {
    FUNCTION(chunk),      FUNCTION(print),        FUNCTION(utf8Encode),  FUNCTION(utf8Decode),
    FUNCTION(randomFill), FUNCTION(now),          FUNCTION(report),      FUNCTION(describe),
    FUNCTION(hold),       FUNCTION(release),      FUNCTION(fail),        FUNCTION(returned),
    FUNCTION(evaluated),  FUNCTION(timerSet),     FUNCTION(timerClear),  FUNCTION(identity),
    FUNCTION(skipWaiting), FUNCTION(close),       FUNCTION(importScript), FUNCTION(evaluateAt),
    FUNCTION(dispatch),
    FUNCTION(tokenTake),  FUNCTION(tokenDrop),
    {"boxes", muster__js_native_boxes, kJSPropertyAttributeReadOnly},
    {"portPair", muster__js_native_port_pair, kJSPropertyAttributeReadOnly},
    {"portNext", muster__js_native_port_next, kJSPropertyAttributeReadOnly},
    {"portSend", muster__js_native_port_send, kJSPropertyAttributeReadOnly},
    {"portPost", muster__js_native_port_post, kJSPropertyAttributeReadOnly},
    {"portListen", muster__js_native_port_listen, kJSPropertyAttributeReadOnly},
    {"portClose", muster__js_native_port_close, kJSPropertyAttributeReadOnly},
    {"portTake", muster__js_native_port_take, kJSPropertyAttributeReadOnly},
    {"portBacklog", muster__js_native_port_backlog, kJSPropertyAttributeReadOnly},
    {"portIsFull", muster__js_native_port_is_full, kJSPropertyAttributeReadOnly},
    {"hostPort", muster__js_native_host_port, kJSPropertyAttributeReadOnly},
    {"ownPort", muster__js_native_own_port, kJSPropertyAttributeReadOnly},
    {"realmOpen", muster__js_native_realm_open, kJSPropertyAttributeReadOnly},
    {"realmEvaluate", muster__js_native_realm_evaluate, kJSPropertyAttributeReadOnly},
    {"realmChunk", muster__js_native_realm_chunk, kJSPropertyAttributeReadOnly},
    {"realmClose", muster__js_native_realm_close, kJSPropertyAttributeReadOnly},
    {"keep", muster__js_native_keep, kJSPropertyAttributeReadOnly},
    {"incoming", muster__js_native_incoming, kJSPropertyAttributeReadOnly},
    {"packed", muster__js_native_packed, kJSPropertyAttributeReadOnly},
    {"web", muster__js_native_web, kJSPropertyAttributeReadOnly},
    {"isHostObject", muster__js_native_is_host_object, kJSPropertyAttributeReadOnly},
    {"requestHead", muster__js_native_request_head, kJSPropertyAttributeReadOnly},
    {"requestInfo", muster__js_native_request_info, kJSPropertyAttributeReadOnly},
    {"requestBody", muster__js_native_request_body, kJSPropertyAttributeReadOnly},
    {"bodyRead", muster__js_native_body_read, kJSPropertyAttributeReadOnly},
    {"bodyCancel", muster__js_native_body_cancel, kJSPropertyAttributeReadOnly},
    {"respond", muster__js_native_respond, kJSPropertyAttributeReadOnly},
    {"respondStream", muster__js_native_respond_stream, kJSPropertyAttributeReadOnly},
    {"streamWrite", muster__js_native_stream_write, kJSPropertyAttributeReadOnly},
    {"streamDrain", muster__js_native_stream_drain, kJSPropertyAttributeReadOnly},
    {"streamClose", muster__js_native_stream_close, kJSPropertyAttributeReadOnly},
    {"streamAbort", muster__js_native_stream_abort, kJSPropertyAttributeReadOnly},
    {NULL, NULL, 0},
};

static const JSClassDefinition definition = {
    .attributes = kJSClassAttributeNoAutomaticPrototype,
    .className = "native",
    .staticValues = constants,
    .staticFunctions = functions,
};

JSObjectRef muster__js_make_native(struct muster__realm *realm)
{
    static _Atomic(JSClassRef) slot; /* made once for the process, and kept */
    JSClassRef class = atomic_load_explicit(&slot, memory_order_acquire);
    if (!class) {
        JSClassRef made = JSClassCreate(&definition);
        if (atomic_compare_exchange_strong(&slot, &class, made))
            class = made;
        else
            JSClassRelease(made);
    }
    return JSObjectMake(realm->context, class, NULL);
}
