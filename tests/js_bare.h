/* tests/js_bare.h - a bare JavaScript context with the chunks of runtime/js/, for tests without an engine of ours.
 *
 * A small `native` object stands in for the host: its `chunk(name)` loads a chunk once, its `say(text)` prints a line;
 * the test adds what else it needs.  Files are run in it, groups of assertions are counted by tests/js/support.js. */
#ifndef JS_BARE_H
#define JS_BARE_H

#include <JavaScriptCore/JavaScript.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "js_chunks.h"

struct host {
    JSGlobalContextRef context;
    JSObjectRef native;
    JSObjectRef exports[sizeof(muster__js_chunks) / sizeof(muster__js_chunks[0])];
};

static struct host host;
static const char *folder; /* of the files */

static inline double milliseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static inline void *must(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

/* ---- strings ---- */

static inline JSValueRef js_string(JSContextRef context, const char *text)
{
    JSStringRef string = JSStringCreateWithUTF8CString(text);
    JSValueRef value = JSValueMakeString(context, string);
    JSStringRelease(string);
    return value;
}

/* The caller frees it. */
static inline char *c_string(JSContextRef context, JSValueRef value)
{
    JSStringRef string = JSValueToStringCopy(context, value, NULL);
    if (string == NULL)
        return must(strdup("(a value without a string)"));
    size_t size = JSStringGetMaximumUTF8CStringSize(string);
    char *text = must(malloc(size));
    JSStringGetUTF8CString(string, text, size);
    JSStringRelease(string);
    return text;
}

static inline JSValueRef property(JSContextRef context, JSObjectRef object, const char *name)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSObjectGetProperty(context, object, key, NULL);
    JSStringRelease(key);
    return value;
}

static inline void set_property(JSContextRef context, JSObjectRef object, const char *name,
                                JSValueRef value)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSObjectSetProperty(context, object, key, value, kJSPropertyAttributeNone, NULL);
    JSStringRelease(key);
}

static inline JSValueRef type_error(JSContextRef context, const char *message)
{
    JSValueRef argument = js_string(context, message);
    JSObjectRef constructor =
        (JSObjectRef)property(context, JSContextGetGlobalObject(context), "TypeError");
    return JSObjectCallAsConstructor(context, constructor, 1, &argument, NULL);
}

static inline void print_exception(const char *where, JSValueRef exception)
{
    char *text = c_string(host.context, exception);
    char *stack = must(strdup(""));
    if (JSValueIsObject(host.context, exception)) {
        free(stack);
        stack = c_string(host.context, property(host.context, (JSObjectRef)exception, "stack"));
    }
    fprintf(stderr, "%s: %s\n%s\n", where, text, stack);
    free(stack);
    free(text);
}

static inline JSValueRef evaluate(const char *name, const char *text, JSValueRef *ret_exception)
{
    JSStringRef script = JSStringCreateWithUTF8CString(text);
    JSStringRef url = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSEvaluateScript(host.context, script, host.native, url, 1, ret_exception);
    JSStringRelease(url);
    JSStringRelease(script);
    return value;
}

/* ---- the native object ---- */

static inline JSObjectRef load_chunk(unsigned at, JSValueRef *ret_exception)
{
    double started = milliseconds(CLOCK_THREAD_CPUTIME_ID);
    const struct muster__js_chunk *chunk = &muster__js_chunks[at];
    JSValueRef value = evaluate(chunk->name, chunk->text, ret_exception);
    JSValueRef argument = host.native;
    if (value != NULL && chunk->text[0] == '(') /* else a block, which has run */
        value = JSObjectCallAsFunction(host.context, (JSObjectRef)value, NULL, 1, &argument, ret_exception);
    if (value == NULL)
        return NULL;
    if (getenv("MUSTER_TEST_CHUNK_TIMES") != NULL)
        fprintf(stderr, "chunk %-20s %7u bytes %6.2f ms\n", chunk->name, chunk->length,
                milliseconds(CLOCK_THREAD_CPUTIME_ID) - started);
    JSValueProtect(host.context, value);
    return host.exports[at] = (JSObjectRef)value;
}

static inline JSValueRef native_chunk(JSContextRef context, JSObjectRef function, JSObjectRef self,
                                      size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self;
    char *name = c_string(context, count > 0 ? arguments[0] : JSValueMakeNull(context));
    JSValueRef result = NULL;
    for (unsigned i = 0; i < muster__js_chunk_count && result == NULL; i++) {
        if (strcmp(muster__js_chunks[i].name, name) == 0) {
            result = host.exports[i] != NULL ? host.exports[i] : load_chunk(i, exception);
            if (result == NULL)
                result = JSValueMakeUndefined(context); /* *exception is set */
        }
    }
    if (result == NULL)
        *exception = type_error(context, name);
    free(name);
    return result;
}

/* For support.js: a line of the report. */
static inline JSValueRef native_say(JSContextRef context, JSObjectRef function, JSObjectRef self,
                                    size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count, (void)exception;
    char *text = c_string(context, arguments[0]);
    puts(text);
    free(text);
    return JSValueMakeUndefined(context);
}

static inline void add_function(const char *name, JSObjectCallAsFunctionCallback callback)
{
    JSStringRef string = JSStringCreateWithUTF8CString(name);
    JSObjectRef function = JSObjectMakeFunctionWithCallback(host.context, string, callback);
    JSObjectSetProperty(host.context, host.native, string, function, kJSPropertyAttributeNone,
                        NULL);
    JSStringRelease(string);
}

/* Without the file's own functions: `chunk` and `say`, and the global `native`. */
static inline void make_bare_host(void)
{
    host.context = JSGlobalContextCreate(NULL);
    host.native = JSObjectMake(host.context, NULL, NULL);
    JSValueProtect(host.context, host.native);
    set_property(host.context, JSContextGetGlobalObject(host.context), "native", host.native);
    add_function("chunk", native_chunk);
    add_function("say", native_say);
}

static inline void drop_host(void)
{
    for (unsigned i = 0; i < muster__js_chunk_count; i++)
        if (host.exports[i] != NULL)
            JSValueUnprotect(host.context, host.exports[i]);
    JSValueUnprotect(host.context, host.native);
    JSGlobalContextRelease(host.context);
    memset(&host, 0, sizeof(host));
}

/* ---- files ---- */

static inline char *read_file(const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : folder,
             name[0] == '/' ? "" : "/", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return NULL;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = must(malloc((size_t)size + 1));
    size_t got = fread(text, 1, (size_t)size, file);
    text[got] = '\0';
    fclose(file);
    return text;
}

static inline bool run_file(const char *name)
{
    char *text = read_file(name);
    if (text == NULL)
        return false;
    JSValueRef exception = NULL;
    evaluate(name, text, &exception);
    free(text);
    if (exception != NULL)
        print_exception(name, exception);
    return exception == NULL;
}

/* Lets virtual time pass until support.js says that all groups have ended; microtasks run
 * whenever a call returns.  Returns the number of groups that failed. */
static inline double run_groups(void)
{
    JSObjectRef step = (JSObjectRef)property(host.context, host.native, "step");
    for (;;) {
        JSValueRef exception = NULL;
        JSValueRef left = JSObjectCallAsFunction(host.context, step, NULL, 0, NULL, &exception);
        if (exception != NULL) {
            print_exception("step", exception);
            return 1;
        }
        if (!JSValueToBoolean(host.context, left))
            break;
    }
    return JSValueToNumber(host.context, property(host.context, host.native, "failures"), NULL);
}

#endif
