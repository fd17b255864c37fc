/* tests/test_hash.c - the hash is FNV-1a, so that its texts spread as is known of it. */
#include "runtime/hash.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *text;
    uint64_t hash;
} published[] = {
    {"", UINT64_C(0xcbf29ce484222325)},
    {"a", UINT64_C(0xaf63dc4c8601ec8c)},
    {"foobar", UINT64_C(0x85944171f73967e8)},
};

START_TEST(it_gives_what_was_published)
{
    ck_assert(muster__hash_text(0, published[_i].text) == published[_i].hash);
    ck_assert(muster__hash_bytes(0, published[_i].text, strlen(published[_i].text)) == published[_i].hash);
}
END_TEST

START_TEST(with_another_seed_it_is_another)
{
    ck_assert(muster__hash_text(7, "foobar") != muster__hash_text(0, "foobar"));
    ck_assert(muster__hash_text(7, "foobar") == muster__hash_bytes(7, "foobar and more", 6));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *tests = tcase_create("hash");
    tcase_add_loop_test(tests, it_gives_what_was_published, 0, sizeof(published) / sizeof(*published));
    tcase_add_test(tests, with_another_seed_it_is_another);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
