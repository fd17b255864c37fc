/* tests/test_clone_js.c - the JavaScript codec of structured clone, in a bare JavaScript context, against
 * the vectors that all three codecs share.
 *
 *     test_clone_js FOLDER      the folder is tests: it has clone_vectors.json and js/
 *     test_clone_js FOLDER bench       prints what encoding and decoding cost, and tests nothing
 */
#include <check.h>

#include "js_bare.h"

/* Nanoseconds of this thread's time. */
static JSValueRef native_now(JSContextRef context, JSObjectRef function, JSObjectRef self,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    (void)function, (void)self, (void)count, (void)arguments, (void)exception;
    return JSValueMakeNumber(context, milliseconds(CLOCK_THREAD_CPUTIME_ID) * 1e6);
}

static void make_host(void)
{
    make_bare_host();
    add_function("now", native_now);
    char *vectors = read_file("clone_vectors.json");
    if (vectors != NULL)
        set_property(host.context, host.native, "vectors", js_string(host.context, vectors));
    free(vectors);
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
    folder = argc > 1 ? argv[1] : "tests";
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
