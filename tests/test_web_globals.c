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
#include <sys/random.h>

#include "js_bare.h"

enum { MAX_FILES = 64, SECONDS_PER_FILE = 60 };

static const char *files[MAX_FILES];
static int file_count;

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
    if (count > 2)
        size = (size_t)JSValueToNumber(context, arguments[2], exception);
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

static void make_host(void)
{
    make_bare_host();
    add_function("utf8Encode", native_utf8_encode);
    add_function("utf8Decode", native_utf8_decode);
    add_function("randomFill", native_random_fill);
    add_function("now", native_now);
    set_property(host.context, host.native, "timeOrigin",
                 JSValueMakeNumber(host.context, milliseconds(CLOCK_REALTIME)));
}

START_TEST(every_group_of_assertions_in_the_file_passes)
{
    make_host();
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
    folder = argc > 1 ? argv[1] : "tests/js";
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
