/* tests/test_web_globals.c - the lazy chunks of runtime/js/ in a bare JavaScript context.
 *
 * No engine of ours takes part: a small `native` object stands in for the host, and time is
 * virtual.  Every file of tests/js/ except support.js is one test here; it names groups of
 * assertions with test("a sentence", function), and each group that passes prints a line.
 *
 *     test_web_globals FOLDER [FILE...]      the folder is tests/js
 */
#include <check.h>
#include <dirent.h>
#include <JavaScriptCore/JavaScript.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "js_chunks.h"

enum { MAX_FILES = 64, SECONDS_PER_FILE = 60 };

struct host {
    JSGlobalContextRef context;
    JSObjectRef native;
    JSObjectRef exports[sizeof(muster__js_chunks) / sizeof(muster__js_chunks[0])];
};

static struct host host;
static const char *folder = "tests/js";
static const char *files[MAX_FILES];
static int file_count;

static double milliseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

/* ---- strings */

static JSValueRef js_string(JSContextRef context, const char *text)
{
    JSStringRef string = JSStringCreateWithUTF8CString(text);
    JSValueRef value = JSValueMakeString(context, string);
    JSStringRelease(string);
    return value;
}

/* The caller frees it. */
static char *c_string(JSContextRef context, JSValueRef value)
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

static JSValueRef property(JSContextRef context, JSObjectRef object, const char *name)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef value = JSObjectGetProperty(context, object, key, NULL);
    JSStringRelease(key);
    return value;
}

static void set_property(JSContextRef context, JSObjectRef object, const char *name,
                         JSValueRef value)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSObjectSetProperty(context, object, key, value, kJSPropertyAttributeNone, NULL);
    JSStringRelease(key);
}

static JSValueRef type_error(JSContextRef context, const char *message)
{
    JSValueRef argument = js_string(context, message);
    JSObjectRef constructor =
        (JSObjectRef)property(context, JSContextGetGlobalObject(context), "TypeError");
    return JSObjectCallAsConstructor(context, constructor, 1, &argument, NULL);
}

static void print_exception(const char *where, JSValueRef exception)
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
    double started = milliseconds(CLOCK_THREAD_CPUTIME_ID);
    const struct muster__js_chunk *chunk = &muster__js_chunks[at];
    JSValueRef function = evaluate(chunk->name, chunk->text, ret_exception);
    if (function == NULL)
        return NULL;
    JSValueRef argument = host.native;
    JSValueRef value = JSObjectCallAsFunction(host.context, (JSObjectRef)function, NULL, 1,
                                              &argument, ret_exception);
    if (value == NULL)
        return NULL;
    if (getenv("MUSTER_TEST_CHUNK_TIMES") != NULL)
        fprintf(stderr, "chunk %-20s %7u bytes %6.2f ms\n", chunk->name, chunk->length,
                milliseconds(CLOCK_THREAD_CPUTIME_ID) - started);
    JSValueProtect(host.context, value);
    return host.exports[at] = (JSObjectRef)value;
}

static JSValueRef native_chunk(JSContextRef context, JSObjectRef function, JSObjectRef self,
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

static void free_bytes(void *bytes, void *context)
{
    (void)context;
    free(bytes);
}

static size_t put_utf8(unsigned char *to, unsigned point)
{
    if (point < 0x80) {
        to[0] = (unsigned char)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, point >>= 6)
        to[i] = (unsigned char)(0x80 | (point & 0x3f));
    to[0] = (unsigned char)((0xf00u >> size) | point);
    return size;
}

static JSValueRef native_utf8_encode(JSContextRef context, JSObjectRef function, JSObjectRef self,
                                     size_t count, const JSValueRef arguments[],
                                     JSValueRef *exception)
{
    (void)function, (void)self, (void)count;
    JSStringRef string = JSValueToStringCopy(context, arguments[0], exception);
    if (string == NULL)
        return NULL;
    const JSChar *from = JSStringGetCharactersPtr(string);
    size_t length = JSStringGetLength(string);
    unsigned char *bytes = must(malloc(length * 3 + 1));
    size_t size = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned point = from[i];
        if (point >= 0xd800 && point < 0xdc00 && i + 1 < length && from[i + 1] >= 0xdc00
            && from[i + 1] < 0xe000)
            point = 0x10000 + ((point - 0xd800) << 10) + (from[++i] - 0xdc00u);
        else if (point >= 0xd800 && point < 0xe000)
            point = 0xfffd;
        size += put_utf8(bytes + size, point);
    }
    JSStringRelease(string);
    return JSObjectMakeTypedArrayWithBytesNoCopy(context, kJSTypedArrayTypeUint8Array, bytes, size,
                                                 free_bytes, NULL, exception);
}

/* One character from bytes[at..size): its length in bytes; *ret_point is U+FFFD and *ret_valid
 * false where the standard's decoder says so, after as many bytes as the standard takes. */
static size_t get_utf8(const unsigned char *bytes, size_t at, size_t size, unsigned *ret_point,
                       bool *ret_valid)
{
    unsigned lead = bytes[at];
    size_t need = lead < 0x80 ? 0 : lead < 0xc2 ? 9 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2
        : lead < 0xf5 ? 3 : 9;
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    unsigned point = need == 0 ? lead : lead & (0x3fu >> (need & 7));
    size_t taken = 1;
    bool valid = need != 9;
    for (; valid && taken <= need; taken++, low = 0x80, high = 0xbf) {
        if (at + taken >= size || bytes[at + taken] < low || bytes[at + taken] > high) {
            valid = false;
            break;
        }
        point = point << 6 | (bytes[at + taken] & 0x3fu);
    }
    *ret_point = valid ? point : 0xfffd;
    *ret_valid = valid;
    return taken;
}

static JSValueRef native_utf8_decode(JSContextRef context, JSObjectRef function, JSObjectRef self,
                                     size_t count, const JSValueRef arguments[],
                                     JSValueRef *exception)
{
    (void)function, (void)self;
    JSObjectRef array = (JSObjectRef)arguments[0];
    bool fatal = count > 1 && JSValueToBoolean(context, arguments[1]);
    size_t size = JSObjectGetTypedArrayByteLength(context, array, exception);
    const unsigned char *bytes = JSObjectGetTypedArrayBytesPtr(context, array, exception);
    if (*exception != NULL)
        return NULL;
    bytes += JSObjectGetTypedArrayByteOffset(context, array, exception);
    JSChar *text = must(malloc((size + 1) * sizeof(JSChar)));
    size_t length = 0;
    bool all_valid = true;
    for (size_t at = 0; at < size;) {
        unsigned point;
        bool valid;
        at += get_utf8(bytes, at, size, &point, &valid);
        all_valid = all_valid && valid;
        if (point >= 0x10000) {
            text[length++] = (JSChar)(0xd7c0 + (point >> 10));
            text[length++] = (JSChar)(0xdc00 | (point & 0x3ff));
        } else {
            text[length++] = (JSChar)point;
        }
    }
    JSValueRef result = NULL;
    if (fatal && !all_valid) {
        *exception = type_error(context, "the bytes are not UTF-8");
    } else {
        JSStringRef string = JSStringCreateWithCharacters(text, length);
        result = JSValueMakeString(context, string);
        JSStringRelease(string);
    }
    free(text);
    return result;
}

static JSValueRef native_random_fill(JSContextRef context, JSObjectRef function, JSObjectRef self,
                                     size_t count, const JSValueRef arguments[],
                                     JSValueRef *exception)
{
    (void)function, (void)self, (void)count;
    JSObjectRef array = (JSObjectRef)arguments[0];
    size_t size = JSObjectGetTypedArrayByteLength(context, array, exception);
    unsigned char *bytes = JSObjectGetTypedArrayBytesPtr(context, array, exception);
    if (*exception != NULL)
        return NULL;
    bytes += JSObjectGetTypedArrayByteOffset(context, array, exception);
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom(bytes + done, size - done, 0);
        if (got < 0)
            abort();
        done += (size_t)got;
    }
    return JSValueMakeUndefined(context);
}

static JSValueRef native_now(JSContextRef context, JSObjectRef function, JSObjectRef self,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count, (void)arguments, (void)exception;
    return JSValueMakeNumber(context, milliseconds(CLOCK_MONOTONIC));
}

/* For support.js: a line of the report. */
static JSValueRef native_say(JSContextRef context, JSObjectRef function, JSObjectRef self,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count, (void)exception;
    char *text = c_string(context, arguments[0]);
    puts(text);
    free(text);
    return JSValueMakeUndefined(context);
}

static void add_function(const char *name, JSObjectCallAsFunctionCallback callback)
{
    JSStringRef string = JSStringCreateWithUTF8CString(name);
    JSObjectRef function = JSObjectMakeFunctionWithCallback(host.context, string, callback);
    JSObjectSetProperty(host.context, host.native, string, function, kJSPropertyAttributeNone,
                        NULL);
    JSStringRelease(string);
}

static void make_host(void)
{
    host.context = JSGlobalContextCreate(NULL);
    host.native = JSObjectMake(host.context, NULL, NULL);
    JSValueProtect(host.context, host.native);
    add_function("chunk", native_chunk);
    add_function("utf8Encode", native_utf8_encode);
    add_function("utf8Decode", native_utf8_decode);
    add_function("randomFill", native_random_fill);
    add_function("now", native_now);
    add_function("say", native_say);
    set_property(host.context, host.native, "timeOrigin",
                 JSValueMakeNumber(host.context, milliseconds(CLOCK_REALTIME)));
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

/* ---- files */

static char *read_file(const char *name)
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

/* Lets virtual time pass until support.js says that all groups have ended; microtasks run
 * whenever a call returns.  Returns the number of groups that failed. */
static double run_groups(void)
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

START_TEST(every_group_of_assertions_in_the_file_passes)
{
    make_host();
    JSObjectRef global = JSContextGetGlobalObject(host.context);
    set_property(host.context, global, "native", host.native);
    ck_assert(run_file("support.js"));
    printf("%s\n", files[_i]);
    bool evaluated = run_file(files[_i]);
    double failures = run_groups();
    drop_host();
    ck_assert_msg(evaluated && failures == 0, "%s: %g groups failed", files[_i], failures);
}
END_TEST

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_files(void)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && file_count < MAX_FILES;) {
        size_t length = strlen(entry->d_name);
        if (length > 3 && strcmp(entry->d_name + length - 3, ".js") == 0
            && strcmp(entry->d_name, "support.js") != 0)
            files[file_count++] = must(strdup(entry->d_name));
    }
    closedir(directory);
    qsort(files, (size_t)file_count, sizeof(files[0]), by_name);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        folder = argv[1];
    for (int i = 2; i < argc && file_count < MAX_FILES; i++)
        files[file_count++] = argv[i];
    if (argc <= 2)
        list_files();
    if (file_count == 0) {
        fprintf(stderr, "no tests in %s\n", folder);
        return 2;
    }
    Suite *suite = suite_create("web_globals");
    TCase *chunks = tcase_create("chunks");
    tcase_set_timeout(chunks, SECONDS_PER_FILE);
    tcase_add_loop_test(chunks, every_group_of_assertions_in_the_file_passes, 0, file_count);
    suite_add_tcase(suite, chunks);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
