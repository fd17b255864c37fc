/* tests/test_clone_js.c - the JavaScript codec of structured clone, in a bare JavaScript context, against
 * the vectors that all three codecs share.
 *
 *     test_clone_js FOLDER      the folder is tests: it has clone_vectors.json and js/
 *     test_clone_js FOLDER bench       prints what encoding and decoding cost, and tests nothing
 */
#include <check.h>
#include <JavaScriptCore/JavaScript.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "js_chunks.h"

static const char *folder = "tests";

struct host {
    JSGlobalContextRef context;
    JSObjectRef native;
    JSObjectRef exports[sizeof(muster__js_chunks) / sizeof(muster__js_chunks[0])];
};

static struct host host;

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

static void set_property(JSObjectRef object, const char *name, JSValueRef value)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSObjectSetProperty(host.context, object, key, value, kJSPropertyAttributeNone, NULL);
    JSStringRelease(key);
}

static JSObjectRef function_property(JSObjectRef object, const char *name)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSObjectGetProperty(host.context, object, key, NULL);
    JSStringRelease(key);
    return (JSObjectRef)value;
}

/* The caller frees it. */
static char *c_string(JSValueRef value)
{
    JSStringRef string = JSValueToStringCopy(host.context, value, NULL);
    if (string == NULL)
        return must(strdup("(a value without a string)"));
    size_t size = JSStringGetMaximumUTF8CStringSize(string);
    char *text = must(malloc(size));
    JSStringGetUTF8CString(string, text, size);
    JSStringRelease(string);
    return text;
}

static void print_exception(const char *where, JSValueRef exception)
{
    char *text = c_string(exception);
    fprintf(stderr, "%s: %s\n", where, text);
    free(text);
    if (JSValueIsObject(host.context, exception)) {
        text = c_string((JSValueRef)function_property((JSObjectRef)exception, "stack"));
        fprintf(stderr, "%s\n", text);
        free(text);
    }
}

static JSValueRef evaluate(const char *name, const char *text, JSValueRef *ret_exception)
{
    JSStringRef script = JSStringCreateWithUTF8CString(text);
    JSStringRef url = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSEvaluateScript(host.context, script, NULL, url, 1, ret_exception);
    JSStringRelease(url);
    JSStringRelease(script);
    return value;
}

/* ---- the native object */

static JSObjectRef load_chunk(unsigned at, JSValueRef *ret_exception)
{
    const struct muster__js_chunk *chunk = &muster__js_chunks[at];
    JSValueRef function = evaluate(chunk->name, chunk->text, ret_exception);
    if (function == NULL)
        return NULL;
    JSValueRef argument = host.native;
    JSValueRef value = JSObjectCallAsFunction(host.context, (JSObjectRef)function, NULL, 1,
                                              &argument, ret_exception);
    if (value == NULL)
        return NULL;
    JSValueProtect(host.context, value);
    return host.exports[at] = (JSObjectRef)value;
}

static JSValueRef native_chunk(JSContextRef context, JSObjectRef function, JSObjectRef self,
                               size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count;
    char *name = c_string(arguments[0]);
    JSValueRef result = JSValueMakeUndefined(context);
    for (unsigned i = 0; i < muster__js_chunk_count; i++) {
        if (strcmp(muster__js_chunks[i].name, name) == 0) {
            JSObjectRef loaded = host.exports[i] != NULL ? host.exports[i] : load_chunk(i, exception);
            if (loaded != NULL)
                result = loaded;
        }
    }
    free(name);
    return result;
}

static JSValueRef native_say(JSContextRef context, JSObjectRef function, JSObjectRef self,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count, (void)exception;
    char *text = c_string(arguments[0]);
    puts(text);
    free(text);
    return JSValueMakeUndefined(context);
}

/* Nanoseconds of this thread's time. */
static JSValueRef native_now(JSContextRef context, JSObjectRef function, JSObjectRef self,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count, (void)arguments, (void)exception;
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return JSValueMakeNumber(context, (double)now.tv_sec * 1e9 + (double)now.tv_nsec);
}

static void add_function(const char *name, JSObjectCallAsFunctionCallback callback)
{
    JSStringRef string = JSStringCreateWithUTF8CString(name);
    JSObjectRef function = JSObjectMakeFunctionWithCallback(host.context, string, callback);
    set_property(host.native, name, function);
    JSStringRelease(string);
}

/* The caller frees it; NULL and a message if there is no such file. */
static char *read_file(const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return NULL;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = must(malloc((size_t)size + 1));
    text[fread(text, 1, (size_t)size, file)] = '\0';
    fclose(file);
    return text;
}

static void make_host(void)
{
    host.context = JSGlobalContextCreate(NULL);
    host.native = JSObjectMake(host.context, NULL, NULL);
    JSValueProtect(host.context, host.native);
    add_function("chunk", native_chunk);
    add_function("say", native_say);
    add_function("now", native_now);
    set_property(JSContextGetGlobalObject(host.context), "native", host.native);
    char *vectors = read_file("clone_vectors.json");
    if (vectors != NULL) {
        JSStringRef string = JSStringCreateWithUTF8CString(vectors);
        set_property(host.native, "vectors", JSValueMakeString(host.context, string));
        JSStringRelease(string);
    }
    free(vectors);
}

static void drop_host(void)
{
    for (unsigned i = 0; i < muster__js_chunk_count; i++)
        if (host.exports[i] != NULL)
            JSValueUnprotect(host.context, host.exports[i]);
    JSValueUnprotect(host.context, host.native);
    JSGlobalContextRelease(host.context);
    memset(&host, 0, sizeof(host));
}

static bool run_file(const char *name)
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

/* Until support.js says that all groups have ended; returns how many failed. */
static double run_groups(void)
{
    JSObjectRef step = function_property(host.native, "step");
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
    return JSValueToNumber(host.context, (JSValueRef)function_property(host.native, "failures"), NULL);
}

static double run(const char *name)
{
    make_host();
    bool evaluated = run_file("js/support.js") && run_file(name);
    double failures = evaluated ? run_groups() : 1;
    drop_host();
    return failures;
}

START_TEST(the_codec_agrees_with_the_vectors_and_refuses_what_is_wrong)
{
    ck_assert(run("js/vectors/clone_vectors.js") == 0);
}
END_TEST

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        folder = argv[1];
    if (argc > 2)
        return run("js/vectors/clone_bench.js") == 0 ? 0 : 1;
    Suite *suite = suite_create("clone_js");
    TCase *vectors = tcase_create("vectors");
    tcase_set_timeout(vectors, 120);
    tcase_add_test(vectors, the_codec_agrees_with_the_vectors_and_refuses_what_is_wrong);
    suite_add_tcase(suite, vectors);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
