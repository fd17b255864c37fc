/* tests/test_caches.c - the coordinator's caches: one test a rule of "Request Matches Cached Item" and of CacheStorage,
 * over the far ends of host ports. */
#include "tests/context_harness.h"

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)url;
    (void)importer;
    (void)ret_loaded;
    (void)user_data;
    muster_error_set(error, MUSTER_NOT_FOUND, "there are no scripts here");
    return MUSTER_NOT_FOUND;
}

static struct muster_value *json(const char *text)
{
    struct muster_value *value = NULL;
    ck_assert_int_eq(muster_value_from_json(text, strlen(text), &value, NULL), MUSTER_OK);
    return value;
}

static struct muster__port_message *asked(struct realm *realm, const char *op, struct muster_value *first,
                                          const char *second)
{
    return answer(realm, ask_with(realm, op, first, second ? json(second) : NULL, NULL), true);
}

/* What was answered, as JSON; the caller frees it. */
static char *ask_json(struct realm *realm, const char *op, struct muster_value *first, const char *second)
{
    struct muster__port_message *message = asked(realm, op, first, second);
    char *text = muster_value_to_json(muster_value_at(message->head, 3));
    muster__port_message_destroy(message);
    return text;
}

static void assert_answer(struct realm *realm, const char *op, struct muster_value *first, const char *second,
                          const char *wanted)
{
    char *text = ask_json(realm, op, first, second);
    ck_assert_str_eq(text, wanted);
    free(text);
}

static double open_cache(struct realm *realm, const char *name)
{
    struct muster__port_message *message = asked(realm, "caches.open", muster__tree_text(name), NULL);
    double id = muster_value_number(muster_value_at(message->head, 3));
    muster__port_message_destroy(message);
    ck_assert(id > 0);
    return id;
}

static struct muster_value *number(double id)
{
    return muster_value_new_number(id);
}

/* `body` may be NULL. */
static void put(struct realm *realm, double cache, const char *record, const char *body)
{
    struct muster_value *head = MUSTER__ARRAY(muster__tree_text("ask"), number(++realm->asks),
                                              muster__tree_text("cache.put"), number(cache), json(record));
    send(realm, head, body ? muster__tree_text(body) : NULL, NULL);
    answer_ok(realm, realm->asks);
}

static size_t count_of(struct realm *realm, double cache, const char *query)
{
    struct muster__port_message *message = asked(realm, "cache.query", number(cache), query);
    size_t count = muster_value_count(muster_value_at(message->head, 3));
    muster__port_message_destroy(message);
    return count;
}

#define PLAIN(url) "{\"url\":\"" url "\",\"headers\":{},\"varying\":[]}"

START_TEST(a_cache_is_the_same_for_all_contexts_of_a_storage_key)
{
    struct realm *one = page("https://a.test/1"), *two = page("https://a.test/2"), *other = page("https://b.test/");
    put(one, open_cache(one, "v1"), PLAIN("https://a.test/x"), NULL);
    ck_assert_uint_eq(count_of(two, open_cache(two, "v1"), "{}"), 1);
    assert_answer(two, "caches.has", muster__tree_text("v1"), NULL, "true");
    assert_answer(other, "caches.has", muster__tree_text("v1"), NULL, "false");
    open_cache(one, "v0");
    assert_answer(two, "caches.keys", NULL, NULL, "[\"v1\",\"v0\"]");
    realm_close(one);
    ck_assert_uint_eq(count_of(two, open_cache(two, "v1"), "{}"), 1);
    realm_close(two);
    realm_close(other);
}
END_TEST

START_TEST(a_cache_that_was_deleted_stays_for_those_who_have_it)
{
    struct realm *one = page("https://a.test/");
    double old = open_cache(one, "v1");
    put(one, old, PLAIN("https://a.test/x"), NULL);
    assert_answer(one, "caches.delete", muster__tree_text("v1"), NULL, "true");
    assert_answer(one, "caches.delete", muster__tree_text("v1"), NULL, "false");
    ck_assert_uint_eq(count_of(one, old, "{}"), 1);
    double fresh = open_cache(one, "v1");
    ck_assert(fresh != old);
    ck_assert_uint_eq(count_of(one, fresh, "{}"), 0);
    realm_close(one);
}
END_TEST

START_TEST(the_body_comes_back_as_it_was_put)
{
    struct realm *one = page("https://a.test/");
    double cache = open_cache(one, "v1");
    put(one, cache, PLAIN("https://a.test/x"), "the body");
    struct muster__port_message *found = asked(one, "cache.query", number(cache), "{}");
    double id = muster_value_number(muster_value_at(muster_value_at(muster_value_at(found->head, 3), 0), 0));
    muster__port_message_destroy(found);
    struct muster__port_message *message =
        answer(one, ask_with(one, "cache.read", number(cache), number(id), NULL), true);
    ck_assert_str_eq(muster_value_bytes(message->data).data, "the body");
    muster__port_message_destroy(message);
    assert_answer(one, "cache.delete", number(cache), "{}", "true");
    message = answer(one, ask_with(one, "cache.read", number(cache), number(id), NULL), true);
    ck_assert(!muster_value_boolean(muster_value_at(message->head, 3)));
    muster__port_message_destroy(message);
    realm_close(one);
}
END_TEST

START_TEST(a_record_of_the_same_request_is_replaced)
{
    struct realm *one = page("https://a.test/");
    double cache = open_cache(one, "v1");
    put(one, cache, PLAIN("https://a.test/x"), "first");
    put(one, cache, PLAIN("https://a.test/x"), "second");
    put(one, cache, PLAIN("https://a.test/x?q"), "third");
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x\"}"), 1);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x\",\"ignoreSearch\":true}"), 2);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x?z\",\"ignoreSearch\":true}"), 2);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/xy\",\"ignoreSearch\":true}"), 0);
    realm_close(one);
}
END_TEST

START_TEST(what_varies_by_a_header_matches_requests_with_the_same)
{
    struct realm *one = page("https://a.test/");
    double cache = open_cache(one, "v1");
    put(one, cache, "{\"url\":\"https://a.test/x\",\"headers\":{\"a\":\"1\"},\"varying\":[\"a\",\"1\",\"b\",null]}", NULL);
    put(one, cache, "{\"url\":\"https://a.test/x\",\"headers\":{\"a\":\"2\"},\"varying\":[\"a\",\"2\",\"b\",null]}", NULL);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x\",\"headers\":{\"a\":\"1\"}}"), 1);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x\",\"headers\":{\"a\":\"1\",\"b\":\"\"}}"), 0);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x\",\"headers\":{}}"), 0);
    ck_assert_uint_eq(count_of(one, cache, "{\"url\":\"https://a.test/x\",\"ignoreVary\":true}"), 2);
    realm_close(one);
}
END_TEST

START_TEST(what_cannot_be_a_cache_or_a_record_is_refused)
{
    struct realm *one = page("https://a.test/");
    double cache = open_cache(one, "v1");
    answer_fails(one, ask_with(one, "caches.open", number(1), NULL, NULL), "TypeError");
    answer_fails(one, ask_with(one, "cache.put", number(cache), json("{}"), NULL), "TypeError");
    answer_fails(one, ask_with(one, "cache.put", number(cache), NULL, NULL), "TypeError");
    answer_fails(one, ask_with(one, "cache.query", number(cache + 1), json("{}"), NULL), "InvalidStateError");
    realm_close(one);
}
END_TEST

START_TEST(more_than_a_storage_key_may_hold_is_an_error_at_once)
{
    struct realm *one = page("https://a.test/");
    double cache = open_cache(one, "v1");
    size_t length = (size_t)48 << 20;
    char *bytes = calloc(1, length), record[128];
    bool refused = false;
    for (int i = 0; i < 6; i++) {
        snprintf(record, sizeof(record), "{\"url\":\"https://a.test/%d\",\"headers\":{},\"varying\":[]}", i);
        send(one, MUSTER__ARRAY(muster__tree_text("ask"), number(++one->asks), muster__tree_text("cache.put"),
                                number(cache), json(record)),
             muster_value_new_bytes(bytes, length), NULL);
        struct muster__port_message *message = realm_take(one);
        refused = !muster_value_boolean(muster_value_at(message->head, 2));
        if (refused)
            ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "name"), "QuotaExceededError");
        muster__port_message_destroy(message);
    }
    free(bytes);
    ck_assert(refused);
    ck_assert_uint_eq(count_of(one, cache, "{}"), 5);
    realm_close(one);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("caches");
    TCase *tcase = tcase_create("caches");
    tcase_add_checked_fixture(tcase, open_plain, close_muster);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_cache_is_the_same_for_all_contexts_of_a_storage_key);
    tcase_add_test(tcase, a_cache_that_was_deleted_stays_for_those_who_have_it);
    tcase_add_test(tcase, the_body_comes_back_as_it_was_put);
    tcase_add_test(tcase, a_record_of_the_same_request_is_replaced);
    tcase_add_test(tcase, what_varies_by_a_header_matches_requests_with_the_same);
    tcase_add_test(tcase, what_cannot_be_a_cache_or_a_record_is_refused);
    tcase_add_test(tcase, more_than_a_storage_key_may_hold_is_an_error_at_once);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
