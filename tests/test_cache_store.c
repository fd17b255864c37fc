/* tests/test_cache_store.c - caches on disk: what was answered is there after a restart or a kill, what is damaged is told
 * and the rest kept; over the far ends of host ports, and from scripts. */
#include "tests/context_harness.h"
#include "tests/failing_malloc.h"
#include "tests/state_folder.h"

#include "coordinator/cache_store.h"

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char log_text[4096];

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const char script[] =
        "const large = () => Uint8Array.from({ length: 300000 }, (_, i) => i % 251);\n"
        "async function write(cache) {\n"
        "  await cache.put('/small', new Response('a small body', { status: 201, headers: { 'x-one': '\u00e9' } }));\n"
        "  await cache.put('/large', new Response(large()));\n"
        "  await cache.put('/none', new Response(null, { status: 204 }));\n"
        "  return 'written';\n"
        "}\n"
        "async function read(cache) {\n"
        "  const [small, big, none] = await Promise.all(['/small', '/large', '/none'].map((path) => cache.match(path)));\n"
        "  const bytes = new Uint8Array(await big.arrayBuffer());\n"
        "  return [await small.text(), small.status, small.headers.get('x-one') === '\u00e9',\n"
        "    bytes.length, large().every((byte, i) => byte === bytes[i]), none.status, none.body].join();\n"
        "}\n"
        "addEventListener('fetch', (event) => event.respondWith(caches.open('v1')\n"
        "  .then(event.request.url.endsWith('/write') ? write : read).then((text) => new Response(text))));\n";
    (void)importer, (void)error, (void)user_data;
    ret_loaded->text = muster__strdup(strstr(url, ".js") ? script : "-- nothing\n");
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static void write_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)subject, (void)user_data;
    if (level <= MUSTER_LOG_WARNING && strstr(text, "caches.db"))
        snprintf(log_text, sizeof(log_text), "%s", text);
}

static void start(size_t cache_limit)
{
    log_text[0] = '\0';
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .state_folder = folder,
                                         .cache_limit = cache_limit, .log = write_log});
}

static struct muster_value *number(double id)
{
    return muster_value_new_number(id);
}

static struct muster_value *json(const char *text)
{
    struct muster_value *value = NULL;
    ck_assert_int_eq(muster_value_from_json(text, strlen(text), &value, NULL), MUSTER_OK);
    return value;
}

static char *ask_json(struct realm *realm, const char *op, struct muster_value *first, const char *second)
{
    struct muster__port_message *message =
        answer(realm, ask_with(realm, op, first, second ? json(second) : NULL, NULL), true);
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
    char *text = ask_json(realm, "caches.open", muster__tree_text(name), NULL);
    double id = atof(text);
    free(text);
    ck_assert(id > 0);
    return id;
}

static double ask_put(struct realm *realm, double cache, const char *url, const char *body, size_t length)
{
    char record[200];
    snprintf(record, sizeof(record), "{\"url\":\"%s\",\"headers\":{\"a\":\"\\u00e9\"},\"varying\":[\"b\",null],\"status\":200}",
             url);
    struct muster_value *head = MUSTER__ARRAY(muster__tree_text("ask"), number(++realm->asks),
                                              muster__tree_text("cache.put"), number(cache), json(record));
    send(realm, head, body ? muster_value_new_bytes(body, length) : NULL, NULL);
    return realm->asks;
}

static void put(struct realm *realm, double cache, const char *url, const char *body)
{
    answer_ok(realm, ask_put(realm, cache, url, body, body ? strlen(body) : 0));
}

/* The number of the only record that matches; 0: there is none. */
static double find(struct realm *realm, double cache, const char *url)
{
    char query[160];
    snprintf(query, sizeof(query), "{\"url\":\"%s\",\"headers\":{}}", url);
    struct muster__port_message *found = answer(realm, ask_with(realm, "cache.query", number(cache), json(query), NULL), true);
    const struct muster_value *list = muster_value_at(found->head, 3);
    ck_assert_uint_le(muster_value_count(list), 1);
    double id = muster_value_count(list) ? muster_value_number(muster_value_at(muster_value_at(list, 0), 0)) : 0;
    muster__port_message_destroy(found);
    return id;
}

/* NULL: it is not there. */
static struct muster__port_message *read_id(struct realm *realm, double cache, double id)
{
    struct muster__port_message *message = answer(realm, ask_with(realm, "cache.read", number(cache), number(id), NULL), true);
    if (muster_value_boolean(muster_value_at(message->head, 3)))
        return message;
    muster__port_message_destroy(message);
    return NULL;
}

/* `wanted` NULL: it has no body. */
static void assert_kept(struct realm *realm, double cache, const char *url, const char *wanted, size_t length)
{
    struct muster__port_message *message = read_id(realm, cache, find(realm, cache, url));
    ck_assert_msg(message != NULL, "%s is not there", url);
    const struct muster_bytes body = muster_value_bytes(message->data);
    ck_assert_uint_eq(body.length, length);
    ck_assert(length == 0 || memcmp(body.data, wanted, length) == 0);
    ck_assert((message->data != NULL) == (wanted != NULL));
    muster__port_message_destroy(message);
}

#define URL "https://a.test/"
#define LARGE ((size_t)(5 << 20) / 2) /* some pieces, and a part of one */

static char *large_body(char seed)
{
    char *bytes = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (char)(seed + i / 4099);
    return bytes;
}

START_TEST(what_was_put_is_there_after_a_restart)
{
    char *large = large_body('a');
    start(0);
    struct realm *one = page(URL), *other = page("https://b.test/");
    double second = open_cache(one, "v2"), first = open_cache(one, "v1");
    put(one, second, URL "small", "a small body");
    put(one, second, URL "none", NULL);
    answer_ok(one, ask_put(one, second, URL "large", large, LARGE));
    put(one, first, URL "small", "of the other cache");
    put(other, open_cache(other, "v2"), URL "small", "of the other origin");
    realm_close(one);
    realm_close(other);
    close_muster();

    start(0);
    one = page(URL);
    assert_answer(one, "caches.keys", NULL, NULL, "[\"v2\",\"v1\"]");
    second = open_cache(one, "v2");
    assert_kept(one, second, URL "small", "a small body", 12);
    assert_kept(one, second, URL "none", NULL, 0);
    for (int i = 0; i < 2; i++)
        assert_kept(one, second, URL "large", large, LARGE);
    assert_kept(one, open_cache(one, "v1"), URL "small", "of the other cache", 18);
    char *found = ask_json(one, "cache.query", number(second), "{\"url\":\"" URL "none\",\"headers\":{\"b\":\"1\"}}");
    ck_assert_str_eq(found, "[]"); /* what it varies by came back, too */
    free(found);
    realm_close(one);
    close_muster();
    free(large);
}
END_TEST

START_TEST(what_was_deleted_or_replaced_does_not_come_back)
{
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    put(one, cache, URL "replaced", "the first");
    put(one, cache, URL "deleted", "gone");
    put(one, open_cache(one, "v0"), URL "x", "gone, too");
    put(one, cache, URL "replaced", "the second");
    assert_answer(one, "cache.delete", number(cache), "{\"url\":\"" URL "deleted\",\"headers\":{}}", "true");
    assert_answer(one, "caches.delete", muster__tree_text("v0"), NULL, "true");
    realm_close(one);
    close_muster();

    start(0);
    one = page(URL);
    assert_answer(one, "caches.keys", NULL, NULL, "[\"v1\"]");
    cache = open_cache(one, "v1");
    ck_assert(find(one, cache, URL "deleted") == 0);
    assert_kept(one, cache, URL "replaced", "the second", 10);
    double again = open_cache(one, "v0");
    ck_assert(find(one, again, URL "x") == 0);
    realm_close(one);
    close_muster();
}
END_TEST

START_TEST(a_cache_that_was_deleted_can_be_read_by_those_who_have_it_until_they_end)
{
    char *large = large_body('b');
    struct stat before, after;
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    answer_ok(one, ask_put(one, cache, URL "large", large, LARGE));
    assert_answer(one, "caches.delete", muster__tree_text("v1"), NULL, "true");
    assert_kept(one, cache, URL "large", large, LARGE);
    put(one, cache, URL "late", "in memory alone");
    assert_kept(one, cache, URL "late", "in memory alone", 15);
    realm_close(one);
    close_muster();
    ck_assert_int_eq(stat(in_folder("caches.db"), &before), 0);

    start(0); /* its place on the disk is free again */
    one = page(URL);
    assert_answer(one, "caches.keys", NULL, NULL, "[]");
    answer_ok(one, ask_put(one, open_cache(one, "v2"), URL "large", large, LARGE));
    realm_close(one);
    close_muster();
    ck_assert_int_eq(stat(in_folder("caches.db"), &after), 0);
    ck_assert_int_lt(after.st_size - before.st_size, LARGE / 2);
    free(large);
}
END_TEST

START_TEST(caches_stay_when_a_registration_goes)
{
    const struct muster_registration_options script = {
        .size = sizeof(script), .scope = URL, .script = "sw.lua", .lazy = true};
    struct muster_handle *handle = NULL;
    start(0);
    ck_assert_int_eq(muster_register(muster, &script, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    struct realm *one = page(URL);
    put(one, open_cache(one, "v1"), URL "x", "kept");
    realm_close(one);
    ck_assert_int_eq(muster_unregister(muster, URL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    close_muster();
    start(0);
    one = page(URL);
    assert_kept(one, open_cache(one, "v1"), URL "x", "kept", 4);
    realm_close(one);
    close_muster();
}
END_TEST

START_TEST(what_a_storage_key_may_hold_counts_what_it_kept_before)
{
    static char body[4000];
    start(13000);
    struct realm *one = page(URL), *stranger = page("https://b.test/");
    answer_ok(one, ask_put(one, open_cache(one, "v1"), URL "1", body, sizeof(body)));
    answer_ok(stranger, ask_put(stranger, open_cache(stranger, "v1"), URL "1", body, sizeof(body)));
    realm_close(one);
    realm_close(stranger);
    close_muster();
    start(13000);
    one = page(URL);
    double cache = open_cache(one, "v1");
    answer_ok(one, ask_put(one, cache, URL "2", body, sizeof(body)));
    answer_fails(one, ask_put(one, cache, URL "3", body, sizeof(body)), "QuotaExceededError");
    assert_answer(one, "cache.delete", number(cache), "{\"url\":\"" URL "1\",\"headers\":{}}", "true");
    answer_ok(one, ask_put(one, cache, URL "3", body, sizeof(body)));
    realm_close(one);
    close_muster();
}
END_TEST

START_TEST(what_cannot_be_written_is_an_error_and_what_it_would_have_replaced_stays)
{
    char *large = large_body('f');
    struct rlimit all, little = {0};
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    put(one, cache, URL "x", "the first");
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
    little.rlim_max = all.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0); /* the disk is full */
    answer_fails(one, ask_put(one, cache, URL "x", large, LARGE), "OperationError");
    answer_fails(one, ask_put(one, cache, URL "y", large, LARGE), "OperationError");
    answer_fails(one, ask_with(one, "cache.delete", number(cache), json("{}"), NULL), "OperationError");
    answer_fails(one, ask_with(one, "caches.open", muster__tree_text("v2"), NULL, NULL), "OperationError");
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_kept(one, cache, URL "x", "the first", 9);
    ck_assert(find(one, cache, URL "y") == 0);
    assert_answer(one, "caches.keys", NULL, NULL, "[\"v1\"]");
    put(one, open_cache(one, "v2"), URL "y", "now it is");
    realm_close(one);
    close_muster();

    start(0);
    one = page(URL);
    assert_kept(one, open_cache(one, "v1"), URL "x", "the first", 9);
    assert_kept(one, open_cache(one, "v2"), URL "y", "now it is", 9);
    realm_close(one);
    close_muster();
    free(large);
}
END_TEST

static void serve_once(enum muster_hosting hosting, const char *url, const char *wanted)
{
    const struct muster_registration_options script = {
        .size = sizeof(script), .scope = URL, .script = URL "sw.js", .hosting = hosting, .declared = true};
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    atomic_store(&javascript_was_used, true);
    start(0);
    ck_assert_int_eq(muster_register(muster, &script, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error ? result.error->message : "");
    const struct muster_bytes body = result.response->body;
    ck_assert_msg(body.length == strlen(wanted) && memcmp(body.data, wanted, body.length) == 0, "%.*s", (int)body.length,
                  (const char *)body.data);
    muster_handle_release(handle);
    close_muster();
}

START_TEST(responses_of_scripts_come_back_as_they_were)
{
    enum muster_hosting hosting = _i ? MUSTER_HOSTING_PROCESS : MUSTER_HOSTING_THREAD;
    serve_once(hosting, URL "write", "written");
    serve_once(hosting, URL "read", "a small body,201,true,300000,true,204,");
}
END_TEST

/* ---- damage ---- */

static void overwrite(off_t offset, const void *bytes, size_t length)
{
    int fd = open(in_folder("caches.db"), O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, length, offset), (ssize_t)length);
    close(fd);
}

static void damage_text(const char *text)
{
    static char bytes[1 << 20];
    int fd = open(in_folder("caches.db"), O_RDONLY);
    ssize_t length = read(fd, bytes, sizeof(bytes));
    close(fd);
    char *at = memmem(bytes, (size_t)length, text, strlen(text));
    ck_assert_ptr_nonnull(at);
    overwrite(at - bytes, "~", 1);
}

START_TEST(a_record_that_was_changed_on_disk_is_not_given_out_and_the_others_are)
{
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    put(one, cache, URL "body", "this body will be changed");
    put(one, cache, URL "head-changes", "this one's head");
    put(one, cache, URL "whole", "this one not");
    realm_close(one);
    close_muster();
    damage_text("this body will be changed");
    damage_text("head-changes");

    start(0);
    one = page(URL);
    cache = open_cache(one, "v1");
    ck_assert_msg(strstr(log_text, "1 of the records") != NULL, "%s", log_text);
    ck_assert(find(one, cache, URL "head-changes") == 0);
    double damaged = find(one, cache, URL "body");
    ck_assert(damaged > 0);
    ck_assert_ptr_null(read_id(one, cache, damaged));
    ck_assert_msg(strstr(log_text, "is damaged, and was removed") != NULL, "%s", log_text);
    ck_assert(find(one, cache, URL "body") == 0);
    assert_kept(one, cache, URL "whole", "this one not", 12);
    put(one, cache, URL "body", "another");
    realm_close(one);
    close_muster();

    start(0);
    one = page(URL);
    assert_kept(one, open_cache(one, "v1"), URL "body", "another", 7);
    ck_assert_str_eq(log_text, "");
    realm_close(one);
    close_muster();
}
END_TEST

START_TEST(what_is_no_database_is_set_aside_and_a_new_one_begun)
{
    char nonsense[5000];
    memset(nonsense, 'n', sizeof(nonsense));
    int fd = open(in_folder("caches.db"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_eq(write(fd, nonsense, sizeof(nonsense)), (ssize_t)sizeof(nonsense));
    close(fd);
    start(0);
    struct realm *one = page(URL);
    put(one, open_cache(one, "v1"), URL "x", "kept");
    ck_assert_msg(strstr(log_text, "caches.db.damaged-1") != NULL, "%s", log_text);
    realm_close(one);
    close_muster();
    ck_assert_int_eq(access(in_folder("caches.db.damaged-1"), F_OK), 0);
    start(0);
    one = page(URL);
    assert_kept(one, open_cache(one, "v1"), URL "x", "kept", 4);
    realm_close(one);
    close_muster();
}
END_TEST

/* One page after the other is overwritten, but the first, which has the schema. */
START_TEST(what_can_be_read_of_a_damaged_file_is_kept)
{
    enum { COUNT = 60 };
    char body[3000], garbage[4096], url[64];
    struct stat file;
    size_t kept = 0, at = 0;
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    memset(body, 'b', sizeof(body));
    for (int i = 0; i < COUNT; i++) {
        snprintf(url, sizeof(url), URL "%d", i);
        answer_ok(one, ask_put(one, cache, url, body, sizeof(body)));
    }
    realm_close(one);
    close_muster();
    ck_assert_int_eq(stat(in_folder("caches.db"), &file), 0);
    memset(garbage, 0xa5, sizeof(garbage));
    overwrite((8 + file.st_size / 4096 * _i / 5) * 4096, garbage, sizeof(garbage));
    start(0);
    one = page(URL);
    cache = open_cache(one, "v1");
    ck_assert_msg(sscanf(strstr(log_text, "; ") ? strstr(log_text, "; ") : "", "; %zu record", &kept) == 1, "%s", log_text);
    ck_assert_msg(kept > COUNT / 2 && (kept == COUNT || strstr(log_text, "lost")), "%s", log_text);
    for (int i = 0; i < COUNT; i++) {
        snprintf(url, sizeof(url), URL "%d", i);
        if (find(one, cache, url) > 0) {
            assert_kept(one, cache, url, body, sizeof(body));
            at++;
        }
    }
    ck_assert_uint_eq(at, kept);
    realm_close(one);
    close_muster();
}
END_TEST

/* ---- a kill ---- */

/* Says in a pipe what was answered, and is killed with one put in flight. */
static void write_until_killed(int news, int count)
{
    char *large = large_body('k'), url[64];
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    for (int i = 0; i < count; i++) {
        snprintf(url, sizeof(url), URL "%d", i % 3);
        large[0] = (char)i;
        answer_ok(one, ask_put(one, cache, url, large, LARGE));
        if (write(news, &large[0], 1) != 1)
            _exit(1);
    }
    large[0] = (char)count;
    snprintf(url, sizeof(url), URL "%d", count % 3);
    (void)ask_put(one, cache, url, large, LARGE);
    kill(getpid(), SIGKILL);
}

START_TEST(a_kill_leaves_what_was_answered_and_nothing_in_part)
{
    char *large = large_body('k'), url[64], last[3] = {-1, -1, -1}, said;
    int news[2], count = 2 + _i;
    ck_assert_int_eq(pipe(news), 0);
    pid_t writer = fork();
    if (writer == 0)
        write_until_killed(news[1], count);
    close(news[1]);
    while (read(news[0], &said, 1) == 1)
        last[said % 3] = said;
    ck_assert_int_eq(waitpid(writer, NULL, 0), writer);
    start(0);
    struct realm *one = page(URL);
    double cache = open_cache(one, "v1");
    for (int i = 0; i < 3; i++) {
        snprintf(url, sizeof(url), URL "%d", i);
        double id = find(one, cache, url);
        ck_assert_msg(id > 0 || last[i] < 0, "%s was answered, and is not there", url);
        struct muster__port_message *message = id > 0 ? read_id(one, cache, id) : NULL;
        if (!message)
            continue;
        const struct muster_bytes body = muster_value_bytes(message->data);
        ck_assert_uint_eq(body.length, LARGE);
        large[0] = *(const char *)body.data;
        ck_assert(large[0] == last[i] || large[0] == count);
        ck_assert(memcmp(body.data, large, LARGE) == 0);
        muster__port_message_destroy(message);
    }
    ck_assert_str_eq(log_text, "");
    realm_close(one);
    close_muster();
    close(news[0]);
    free(large);
}
END_TEST

/* ---- the store alone ---- */

static sem_t job_ended;

static void end_job(struct muster__cache_job *job)
{
    (void)job;
    sem_post(&job_ended);
}

static void do_job(struct muster__cache_store *store, struct muster__cache_job *job)
{
    job->done = end_job;
    bool is_taken = muster__cache_store_post(store, job);
    while (is_taken && sem_wait(&job_ended) != 0)
        ;
    malloc_all_granted(); /* not earlier: Check allocates too, and malloc may still fail for the store's thread */
    ck_assert(is_taken);
}

static void keep_notice(void *user_data, const char *text)
{
    (void)user_data;
    snprintf(log_text, sizeof(log_text), "%s", text);
}

START_TEST(what_cannot_be_read_for_want_of_memory_is_not_damaged)
{
    log_text[0] = '\0';
    sem_init(&job_ended, 0, 0);
    struct muster__cache_store *store = muster__cache_store_new(folder, keep_notice, NULL);
    struct muster__cache_job create = {.kind = MUSTER__CACHE_CREATE, .storage_key = "k", .name = "v1", .cache = 1};
    do_job(store, &create);
    ck_assert_int_eq(create.status, MUSTER_OK);
    for (uint64_t id = 2; id < 5; id++) {
        struct muster__cache_job put = {.kind = MUSTER__CACHE_PUT, .cache = 1, .record = id, .bytes = 10,
                                        .value = json("{\"url\":\"http://a/\"}"), .body = muster_value_new_text("body")};
        do_job(store, &put);
        ck_assert_int_eq(put.status, MUSTER_OK);
        muster_value_release(put.value);
        muster_value_release((struct muster_value *)put.body);
    }
    WITH_EVERY_FAILURE(grants) {
        struct muster__cache_job loaded = {.kind = MUSTER__CACHE_LOAD, .storage_key = "k"};
        do_job(store, &loaded);
        ck_assert_int_eq(loaded.status, malloc_has_failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        const struct muster_value *cache = muster_value_at(loaded.value, 0);
        ck_assert_uint_eq(muster_value_count(muster_value_at(cache, 2)), malloc_has_failed ? 0 : 3);
        ck_assert_str_eq(log_text, "");
        muster_value_release(loaded.value);
        muster_error_clean_up(&loaded.error);
    }
    muster__cache_store_close(store);
    muster__cache_store_destroy(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache_store");
    TCase *tests = tcase_create("cache_store");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, what_was_put_is_there_after_a_restart);
    tcase_add_test(tests, what_was_deleted_or_replaced_does_not_come_back);
    tcase_add_test(tests, what_cannot_be_read_for_want_of_memory_is_not_damaged);
    tcase_add_test(tests, a_cache_that_was_deleted_can_be_read_by_those_who_have_it_until_they_end);
    tcase_add_test(tests, caches_stay_when_a_registration_goes);
    tcase_add_test(tests, what_a_storage_key_may_hold_counts_what_it_kept_before);
    tcase_add_test(tests, what_cannot_be_written_is_an_error_and_what_it_would_have_replaced_stays);
    tcase_add_loop_test(tests, responses_of_scripts_come_back_as_they_were, 0, 2);
    tcase_add_test(tests, a_record_that_was_changed_on_disk_is_not_given_out_and_the_others_are);
    tcase_add_test(tests, what_is_no_database_is_set_aside_and_a_new_one_begun);
    tcase_add_loop_test(tests, what_can_be_read_of_a_damaged_file_is_kept, 0, 5);
    tcase_add_loop_test(tests, a_kill_leaves_what_was_answered_and_nothing_in_part, 0, 4);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
