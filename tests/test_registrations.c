/* tests/test_registrations.c - registrations as scripts see them, one test a rule, by its number in the list that
 * the coordinator's files name (SW-REG-1 ...).
 *
 * Scripts come from a loader of this file, in memory, where a test changes them; one test has a server on the
 * loopback.  What a script would hear is read off its host port, in order. */
#define send realm_send /* a socket has one as well */
#include "context_harness.h"
#undef send

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define APP "https://a.test/app/"

/* ---- scripts ---- */

static struct {
    pthread_mutex_t lock;
    struct {
        char url[100];
        const char *text;
        int loads;
    } files[16];
    size_t count;
} site = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t find_file_locked(const char *url)
{
    size_t i = 0;
    while (i < site.count && strcmp(site.files[i].url, url) != 0)
        i++;
    return i;
}

/* NULL: it is there no more. */
static void put(const char *url, const char *text)
{
    pthread_mutex_lock(&site.lock);
    size_t i = find_file_locked(url);
    if (i == site.count) {
        ck_assert_uint_lt(site.count++, sizeof(site.files) / sizeof(*site.files));
        snprintf(site.files[i].url, sizeof(site.files[i].url), "%s", url);
        site.files[i].loads = 0;
    }
    site.files[i].text = text;
    pthread_mutex_unlock(&site.lock);
}

static int loads_of(const char *url)
{
    pthread_mutex_lock(&site.lock);
    size_t i = find_file_locked(url);
    int count = i < site.count ? site.files[i].loads : 0;
    pthread_mutex_unlock(&site.lock);
    return count;
}

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)user_data;
    pthread_mutex_lock(&site.lock);
    size_t i = find_file_locked(url);
    const char *text = i < site.count ? site.files[i].text : NULL;
    if (i < site.count)
        site.files[i].loads++;
    pthread_mutex_unlock(&site.lock);
    if (!text) {
        muster_error_set(error, MUSTER_NOT_FOUND, "no %s", url);
        return MUSTER_NOT_FOUND;
    }
    ret_loaded->text = muster__strdup(text);
    ret_loaded->length = strlen(text);
    return MUSTER_OK;
}

/* The leak sanitizer cannot walk the thread-local memory of the collector's helper threads; and what it then misses
 * is the dynamic linker's. */
const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__lsan_default_options(void)
{
    return "use_tls=0";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:_dl_map_object_deps\nleak:dl_open_worker_begin\n";
}

static void set_up(void)
{
    site.count = 0;
    put(APP "sw.js", "// one\n");
    put(APP "other.js", "// other\n");
    open_plain();
}

/* ---- what a page hears ---- */

/* The next message of any kind. */
static struct muster__port_message *hear(struct realm *realm)
{
    struct muster__port_message *message;
    while (!(message = muster__port_take(realm->port))) {
        ck_assert_msg(!muster__port_is_closed(realm->port), "the port is closed");
        counter_await(&realm->news, ++realm->taken);
    }
    return message;
}

static unsigned id_of(const struct muster_value *value)
{
    return (unsigned)muster_value_number(muster_value_get(value, "id"));
}

/* "installing=3", with a space before it; nothing for null. */
static void print_slot(char *line, size_t size, const struct muster_value *registration, const char *slot)
{
    const struct muster_value *version = muster_value_get(registration, slot);
    size_t length = strlen(line);
    if (muster_value_type(version) == MUSTER_TYPE_OBJECT)
        snprintf(line + length, size - length, " %s=%u", slot, id_of(version));
}

static void print_registration(char *line, size_t size, const struct muster_value *registration)
{
    print_slot(line, size, registration, "installing");
    print_slot(line, size, registration, "waiting");
    print_slot(line, size, registration, "active");
}

/* What it hears next, as a line: "answer active=1", "state 1 installed", "registration waiting=1", "fails TypeError". */
static const char *next(struct realm *realm)
{
    static char lines[4][200];
    static unsigned at;
    char *line = lines[at++ % 4];
    size_t size = sizeof(lines[0]);
    struct muster__port_message *message = hear(realm);
    const struct muster_value *head = message->head, *value = muster_value_at(head, 3);
    const char *kind = text_at(head, 0), *op = text_at(head, 1);
    if (strcmp(kind, "answer") == 0 && !muster_value_boolean(muster_value_at(head, 2))) {
        snprintf(line, size, "fails %s", text_of(value, "name"));
    } else if (strcmp(kind, "answer") == 0) {
        enum muster_type type = muster_value_type(value);
        snprintf(line, size, "answer%s", type == MUSTER_TYPE_NULL        ? " null"
                                         : type == MUSTER_TYPE_BOOLEAN ? muster_value_boolean(value) ? " true" : " false"
                                                                       : "");
        print_registration(line, size, value);
    } else if (strcmp(op, "state") == 0) {
        snprintf(line, size, "state %.0f %s", muster_value_number(muster_value_at(head, 2)), text_at(head, 3));
    } else {
        snprintf(line, size, "%s", op);
        print_registration(line, size, muster_value_at(head, 2));
    }
    muster__port_message_destroy(message);
    return line;
}

#define HEARS(realm, ...)                                                                          \
    do {                                                                                           \
        static const char *const lines[] = {__VA_ARGS__};                                          \
        for (size_t at = 0; at < sizeof(lines) / sizeof(*lines); at++)                             \
            ck_assert_str_eq(next(realm), lines[at]);                                              \
    } while (0)

/* Everything up to that line. */
static void hear_until(struct realm *realm, const char *line)
{
    while (strcmp(next(realm), line) != 0) {
    }
}

/* ---- what it asks ---- */

static void ask_values(struct realm *realm, const char *op, struct muster_value *first, struct muster_value *second,
                       struct muster_value *third)
{
    struct muster_value *head = MUSTER__ARRAY(muster__tree_text("ask"), muster_value_new_number(++realm->asks),
                                              muster__tree_text(op));
    struct muster_value *const arguments[] = {first, second, third};
    for (size_t i = 0; i < 3 && arguments[i]; i++)
        ck_assert_int_eq(muster_value_append(head, arguments[i]), MUSTER_OK);
    realm_send(realm, head, NULL, NULL);
}

static void ask_register_with(struct realm *realm, const char *script, const char *scope, const char *type,
                              const char *via)
{
    ask_values(realm, "register", muster__tree_text(script), muster__tree_text(scope),
               MUSTER__OBJECT({"type", muster__tree_text(type)}, {"updateViaCache", muster__tree_text(via)}));
}

static void ask_register(struct realm *realm, const char *script, const char *scope)
{
    ask_register_with(realm, script, scope, "classic", "imports");
}

static void ask_number(struct realm *realm, const char *op, unsigned number)
{
    ask_values(realm, op, muster_value_new_number(number), NULL, NULL);
}

static void ask_url(struct realm *realm, const char *url)
{
    ask_values(realm, "getRegistration", muster__tree_text(url), NULL, NULL);
}

static void ask_simply(struct realm *realm, const char *op)
{
    ask_values(realm, op, NULL, NULL, NULL);
}

/* Its number, and a text of it. */
static unsigned registration_of(struct realm *realm, const char *url, const char *key, char text[100])
{
    ask_url(realm, url);
    struct muster__port_message *message = hear(realm);
    ck_assert_str_eq(text_at(message->head, 0), "answer");
    const struct muster_value *registration = muster_value_at(message->head, 3);
    unsigned id = id_of(registration);
    if (key)
        snprintf(text, 100, "%s", text_of(registration, key));
    muster__port_message_destroy(message);
    return id;
}

/* Registered, and active: the first version of all, number 1. */
static struct realm *page_with_worker(void)
{
    struct realm *realm = page("https://a.test/");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    return realm;
}

/* ---- register ---- */

START_TEST(a_registration_resolves_when_it_installs_and_tells_each_step_in_order) /* SW-INS-1, SW-INS-3, SW-ACT-2 */
{
    struct realm *realm = page("https://a.test/");
    ask_register(realm, APP "sw.js", APP);
    HEARS(realm, "registration installing=1", "state 1 installing", "answer installing=1", "updatefound",
          "registration waiting=1", "state 1 installed", "registration active=1", "state 1 activating",
          "state 1 activated");
    realm_close(realm);
}
END_TEST

static const struct {
    const char *page, *script, *scope, *error;
} refused[] = {
    {"https://a.test/", "https://a.test/a%2fb.js", APP, "TypeError"},
    {"https://a.test/", "https://a.test/a%5Cb.js", APP, "TypeError"},
    {"https://a.test/", APP "sw.js", "https://a.test/a%2Fb/", "TypeError"},
    {"https://a.test/", "data:text/javascript,", APP, "TypeError"},
    {"https://a.test/", "ftp://a.test/sw.js", APP, "TypeError"},
    {"https://a.test/", "sw.js", APP, "TypeError"},
    {"https://a.test/", "file:///sw.js", "file:///", "TypeError"},
    {"https://a.test/", "https://b.test/app/sw.js", APP, "SecurityError"},
    {"https://a.test/", APP "sw.js", "https://b.test/app/", "SecurityError"},
    {"https://a.test/", APP "sw.js", "https://a.test:8443/app/", "SecurityError"},
    {"https://a.test/", APP "sw.js", "https://a.test/", "SecurityError"},
    {"https://a.test/", APP "sw.js", "https://a.test/apple/", "SecurityError"},
    {"https://a.test/", APP "none.js", APP, "TypeError"},
    {"http://a.test/", "http://a.test/sw.js", "http://a.test/", "SecurityError"},
};

START_TEST(what_may_not_be_registered_fails_with_the_errors_name) /* SW-REG-1, SW-REG-2, SW-UPD-4 */
{
    char line[40];
    struct realm *realm = page(refused[_i].page);
    ask_register(realm, refused[_i].script, refused[_i].scope);
    snprintf(line, sizeof(line), "fails %s", refused[_i].error);
    ck_assert_str_eq(next(realm), line);
    ask_simply(realm, "getRegistrations");
    HEARS(realm, "answer");
    realm_close(realm);
}
END_TEST

START_TEST(a_page_of_this_machine_needs_no_encryption) /* SW-REG-2 */
{
    static const char *const hosts[] = {"http://localhost:8080", "http://127.0.0.1", "http://[::1]:80",
                                        "http://dev.localhost", "bundle://app"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        char url[100], script[110];
        snprintf(url, sizeof(url), "%s/", hosts[i]);
        snprintf(script, sizeof(script), "%ssw.js", url);
        put(script, "");
        struct realm *realm = page(url);
        ask_register(realm, script, url);
        while (strncmp(next(realm), "answer installing", 17) != 0) {
        }
        realm_close(realm);
    }
}
END_TEST

START_TEST(options_that_are_none_are_a_type_error)
{
    struct realm *realm = page("https://a.test/");
    ask_register_with(realm, APP "sw.js", APP, "modular", "imports");
    HEARS(realm, "fails TypeError");
    ask_register_with(realm, APP "sw.js", APP, "classic", "some");
    HEARS(realm, "fails TypeError");
    ask_values(realm, "register", muster__tree_text(APP "sw.js"), NULL, NULL);
    HEARS(realm, "fails TypeError");
    realm_close(realm);
}
END_TEST

START_TEST(the_same_again_resolves_without_a_fetch) /* SW-REG-3 */
{
    struct realm *realm = page_with_worker();
    ask_register(realm, APP "sw.js", APP);
    HEARS(realm, "answer active=1");
    ck_assert_int_eq(loads_of(APP "sw.js"), 1);
    realm_close(realm);
}
END_TEST

START_TEST(another_way_of_caching_looks_again_and_is_taken_over) /* SW-REG-3, SW-UPD-6 */
{
    char via[100];
    struct realm *realm = page_with_worker();
    ask_register_with(realm, APP "sw.js", APP, "classic", "none");
    HEARS(realm, "registration active=1", "answer active=1"); /* others hear of it as well */
    ck_assert_int_eq(loads_of(APP "sw.js"), 2);
    ck_assert_uint_ne(registration_of(realm, APP, "updateViaCache", via), 0);
    ck_assert_str_eq(via, "none");
    realm_close(realm);
}
END_TEST

START_TEST(jobs_that_are_the_same_share_one) /* SW-JOB-2, SW-JOB-3 */
{
    struct realm *realm = page("https://a.test/");
    ask_register(realm, APP "sw.js", APP);
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "answer installing=1");
    HEARS(realm, "answer installing=1");
    hear_until(realm, "state 1 activated");
    ck_assert_int_eq(loads_of(APP "sw.js"), 1);
    realm_close(realm);
}
END_TEST

START_TEST(jobs_that_joined_one_that_failed_hear_the_same_error) /* SW-JOB-6 */
{
    struct realm *realm = page("https://a.test/");
    for (int i = 0; i < 3; i++)
        ask_register(realm, APP "sw.js", "https://a.test/");
    HEARS(realm, "fails SecurityError", "fails SecurityError", "fails SecurityError");
    realm_close(realm);
}
END_TEST

START_TEST(another_script_of_the_scope_waits_until_no_client_uses_the_first) /* SW-ACT-1 */
{
    struct realm *realm = page_with_worker(), *client = page(APP "page");
    ask_register(realm, APP "other.js", APP);
    HEARS(realm, "registration installing=2 active=1", "state 2 installing", "answer installing=2 active=1",
          "updatefound", "registration waiting=2 active=1", "state 2 installed");
    realm_close(client);
    HEARS(realm, "registration active=2", "state 1 redundant", "state 2 activating", "state 2 activated");
    realm_close(realm);
}
END_TEST

START_TEST(a_script_that_throws_is_a_type_error_and_leaves_nothing) /* SW-UPD-7 */
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "throw new RangeError('a fault')");
    ask_register(realm, APP "sw.js", APP);
    HEARS(realm, "fails TypeError");
    ask_url(realm, APP);
    HEARS(realm, "answer null");
    put(APP "sw.js", "(");
    ask_register(realm, APP "sw.js", APP);
    HEARS(realm, "fails TypeError");
    realm_close(realm);
}
END_TEST

START_TEST(an_install_that_fails_makes_it_redundant_and_removes_the_registration) /* SW-INS-2 */
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "addEventListener('install', (event) => event.waitUntil(Promise.reject(new Error('no'))))");
    ask_register(realm, APP "sw.js", APP);
    HEARS(realm, "registration installing=1", "state 1 installing", "answer installing=1", "updatefound",
          "registration", "state 1 redundant");
    ask_url(realm, APP);
    HEARS(realm, "answer null");
    realm_close(realm);
}
END_TEST

/* ---- update ---- */

START_TEST(an_update_of_the_same_bytes_changes_nothing) /* SW-UPD-5, SW-UPD-6 */
{
    struct realm *realm = page_with_worker();
    ask_number(realm, "update", registration_of(realm, APP, NULL, NULL));
    HEARS(realm, "answer active=1");
    ck_assert_int_eq(loads_of(APP "sw.js"), 2);
    realm_close(realm);
}
END_TEST

START_TEST(a_byte_that_differs_is_a_new_version) /* SW-UPD-5 */
{
    struct realm *realm = page_with_worker();
    put(APP "sw.js", "// two\n");
    ask_number(realm, "update", registration_of(realm, APP, NULL, NULL));
    HEARS(realm, "registration installing=2 active=1", "state 2 installing", "answer installing=2 active=1",
          "updatefound", "registration waiting=2 active=1", "state 2 installed", "registration active=2",
          "state 1 redundant", "state 2 activating", "state 2 activated");
    realm_close(realm);
}
END_TEST

START_TEST(an_import_that_differs_is_a_new_version) /* SW-UPD-5 */
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "importScripts('a.js', 'b.js')");
    put(APP "a.js", "// a");
    put(APP "b.js", "// b");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    unsigned id = registration_of(realm, APP, NULL, NULL);
    ask_number(realm, "update", id);
    HEARS(realm, "answer active=1");
    ck_assert_int_eq(loads_of(APP "a.js"), 2);
    ck_assert_int_eq(loads_of(APP "b.js"), 2);
    put(APP "b.js", "// c");
    ask_number(realm, "update", id);
    hear_until(realm, "state 3 activated");
    ck_assert_int_eq(loads_of(APP "a.js"), 3); /* the new version finds what was fetched for the comparison */
    ck_assert_int_eq(loads_of(APP "b.js"), 3);
    realm_close(realm);
}
END_TEST

START_TEST(an_import_that_does_not_come_is_as_it_was) /* SW-UPD-5 */
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "importScripts('a.js')");
    put(APP "a.js", "// a");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    put(APP "a.js", NULL);
    ask_number(realm, "update", registration_of(realm, APP, NULL, NULL));
    HEARS(realm, "answer active=1");
    realm_close(realm);
}
END_TEST

START_TEST(a_new_version_does_without_the_import_that_did_not_come) /* SW-UPD-5, SW-UPD-7 */
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "importScripts('a.js', 'b.js')");
    put(APP "a.js", "// a");
    put(APP "b.js", "// b");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    put(APP "a.js", NULL);
    put(APP "b.js", "// c");
    ask_number(realm, "update", registration_of(realm, APP, NULL, NULL));
    HEARS(realm, "fails TypeError");
    ck_assert_int_eq(loads_of(APP "a.js"), 2);
    realm_close(realm);
}
END_TEST

START_TEST(an_update_that_fails_leaves_the_version_that_works) /* SW-UPD-6, SW-UPD-7 */
{
    struct realm *realm = page_with_worker();
    unsigned id = registration_of(realm, APP, NULL, NULL);
    put(APP "sw.js", NULL);
    ask_number(realm, "update", id);
    HEARS(realm, "fails TypeError");
    put(APP "sw.js", "throw 1");
    ask_number(realm, "update", id);
    HEARS(realm, "fails TypeError");
    ask_url(realm, APP);
    HEARS(realm, "answer active=1");
    realm_close(realm);
}
END_TEST

START_TEST(what_is_unregistered_is_not_updated) /* SW-UPD-1 */
{
    struct realm *realm = page_with_worker();
    unsigned id = registration_of(realm, APP, NULL, NULL);
    ask_number(realm, "unregister", id);
    hear_until(realm, "answer true");
    ask_number(realm, "update", id);
    hear_until(realm, "fails TypeError");
    ask_number(realm, "update", 4711);
    hear_until(realm, "fails TypeError");
    realm_close(realm);
}
END_TEST

START_TEST(a_worker_that_installs_may_not_update_itself) /* SW-UPD-1 */
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "addEventListener('install', (event) => event.waitUntil(registration.update().catch((error) => {"
                     " if (error.name === 'InvalidStateError') throw error; })))");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 redundant");
    realm_close(realm);
}
END_TEST

START_TEST(the_embedder_updates_a_registration_of_a_script) /* muster_update() */
{
    struct muster_handle *handle = NULL;
    struct muster_result result;
    struct realm *realm = page_with_worker();
    put(APP "sw.js", "// two");
    ck_assert_int_eq(muster_update(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    muster_handle_release(handle);
    hear_until(realm, "state 2 installing");
    put(APP "sw.js", NULL);
    ck_assert_int_eq(muster_update(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(result.error->message, "no " APP "sw.js"));
    muster_handle_release(handle);
    realm_close(realm);
}
END_TEST

/* Feeds the core: its scripts were last looked at then. */
struct checking {
    struct muster__message message;
    uint64_t checked_us;
    sem_t done;
};

static void run_checking(struct muster__message *message, struct muster *of)
{
    struct checking *checking = MUSTER_CONTAINER_OF(message, struct checking, message);
    muster__coordinator_feed(of, &(struct muster__core_event){
                                     .kind = MUSTER__CORE_CHECKED, .version = 1, .checked_us = checking->checked_us});
    sem_post(&checking->done);
}

START_TEST(a_worker_that_starts_after_a_day_is_looked_at_again) /* SW-SOFT-1 */
{
    struct checking checking = {.message.run = run_checking,
                                .checked_us = muster__wall_us() - (uint64_t)86401 * 1000000};
    struct muster_handle *handle = NULL;
    put(APP "sw.js", "onsync = () => {}");
    struct realm *realm = page_with_worker();
    ck_assert_int_eq(muster_stop(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    sem_init(&checking.done, 0, 0);
    (void)muster__coordinator_post(muster, &checking.message);
    sem_wait(&checking.done);
    put(APP "sw.js", "// two");
    ck_assert_int_eq(muster_dispatch(muster, APP, "sync", NULL, NULL, NULL, NULL, NULL), MUSTER_OK);
    hear_until(realm, "state 2 activated");
    realm_close(realm);
}
END_TEST

/* ---- unregister ---- */

START_TEST(unregister_is_true_once) /* SW-UNR-1 */
{
    struct realm *realm = page_with_worker();
    unsigned id = registration_of(realm, APP, NULL, NULL);
    ask_number(realm, "unregister", id);
    HEARS(realm, "answer true", "registration", "state 1 redundant");
    ask_number(realm, "unregister", id);
    HEARS(realm, "answer false");
    ask_url(realm, APP);
    HEARS(realm, "answer null");
    realm_close(realm);
}
END_TEST

START_TEST(an_unregistered_worker_is_there_for_its_clients_until_they_are_gone) /* SW-UNR-2 */
{
    struct realm *realm = page_with_worker(), *client = page(APP "page");
    unsigned id = registration_of(realm, APP, NULL, NULL);
    ask_number(realm, "unregister", id);
    HEARS(realm, "answer true");
    ask_url(realm, APP);
    HEARS(realm, "answer null");
    realm_close(client);
    HEARS(realm, "registration", "state 1 redundant");
    realm_close(realm);
}
END_TEST

START_TEST(one_that_is_registered_again_is_another_registration) /* SW-MAP-3 */
{
    struct realm *realm = page_with_worker(), *client = page(APP "page");
    unsigned id = registration_of(realm, APP, NULL, NULL);
    ask_number(realm, "unregister", id);
    HEARS(realm, "answer true");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 2 activated");
    ck_assert_uint_ne(registration_of(realm, APP, NULL, NULL), id);
    ask_number(realm, "unregister", id); /* not the new one */
    HEARS(realm, "answer false");
    realm_close(client);
    realm_close(realm);
}
END_TEST

/* ---- imports ---- */

START_TEST(once_installed_a_worker_imports_only_what_it_imported_then) /* SW-IMP-1 */
{
    char id[64];
    struct realm *realm = page("https://a.test/"), *client = page_with_id(APP "page", NULL, id);
    put(APP "sw.js", "importScripts('a.js');"
                     "onmessage = (event) => { let said;"
                     " try { importScripts(event.data); said = 'imported'; } catch (error) { said = error.name; }"
                     " event.source.postMessage(said); }");
    put(APP "a.js", "// a");
    put(APP "b.js", "// b");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    put(APP "a.js", NULL);
    static const char *const asked[][2] = {{"a.js", "imported"}, {"b.js", "NetworkError"}};
    for (size_t i = 0; i < 2; i++) {
        tell_with(client, "version.post", muster_value_new_number(1), muster_value_new_text(asked[i][0]), NULL);
        struct muster__port_message *message = told(client, "message");
        ck_assert_str_eq(muster__text_of(message->data), asked[i][1]);
        muster__port_message_destroy(message);
    }
    ck_assert_int_eq(loads_of(APP "a.js"), 1);
    ck_assert_int_eq(loads_of(APP "b.js"), 0);
    realm_close(client);
    realm_close(realm);
}
END_TEST

START_TEST(a_worker_that_starts_again_runs_what_it_was_installed_with) /* SW-RUN-1, SW-IMP-1 */
{
    struct muster_handle *handle = NULL;
    struct muster_result result;
    live_in(_i);
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "importScripts('a.js'); self.what = () => 'main ' + imported");
    put(APP "a.js", "self.imported = 'first'");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    put(APP "sw.js", "self.what = () => 'new'");
    put(APP "a.js", "self.imported = 'second'");
    ck_assert_int_eq(muster_stop(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    ck_assert_int_eq(muster_call(muster, APP, "what", NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    ck_assert_str_eq(muster__text_of(result.value), "main first");
    muster_handle_release(handle);
    ck_assert_int_eq(loads_of(APP "sw.js"), 1);
    ck_assert_int_eq(loads_of(APP "a.js"), 1);
    realm_close(realm);
}
END_TEST

static void settle_ok(struct muster_handle *handle)
{
    struct muster_result result;
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error && result.error->message ? result.error->message : "?");
    muster_handle_release(handle);
}

static void check_call(const char *function, const char *wanted)
{
    struct muster_handle *handle = NULL;
    struct muster_result result;
    ck_assert_int_eq(muster_call(muster, APP, function, NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    ck_assert_str_eq(muster__text_of(result.value), wanted);
    muster_handle_release(handle);
}

/* SW-IMP-1, SW-UPD-5.  Though the loader is the embedder's, and may have other scripts by now. */
START_TEST(what_the_embedder_registers_imports_what_it_was_installed_with_until_it_is_updated)
{
    const struct muster_registration_options options = {.size = sizeof(options), .scope = APP, .script = APP "sw.js"};
    struct muster_handle *handle = NULL;
    live_in(_i);
    put(APP "sw.js", "importScripts('a.js'); oninstall = () => skipWaiting(); self.what = () => 'main ' + imported;"
                     "self.late = () => { try { importScripts('b.js'); return 'imported'; } catch (e) { return e.name; } };");
    put(APP "a.js", "self.imported = 'first'");
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    put(APP "a.js", "self.imported = 'second'");
    put(APP "b.js", "// late");
    ck_assert_int_eq(muster_stop(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    check_call("what", "main first");
    check_call("late", "NetworkError");
    ck_assert_int_eq(loads_of(APP "sw.js"), 1);
    ck_assert_int_eq(loads_of(APP "a.js"), 1);
    ck_assert_int_eq(loads_of(APP "b.js"), 0);
    struct realm *realm = page("https://a.test/");
    (void)registration_of(realm, APP, NULL, NULL); /* and hears of it from here on */
    ck_assert_int_eq(muster_update(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    hear_until(realm, "state 2 activated");
    check_call("what", "main second");
    realm_close(realm);
}
END_TEST

/* Coordinator: the running worker said something. */
struct listening {
    struct muster__message message;
    struct counter done;
    bool heard;
};

static void run_listening(struct muster__message *message, struct muster *of)
{
    struct listening *listening = MUSTER_CONTAINER_OF(message, struct listening, message);
    struct muster__version *version = find_scope(APP);
    for (struct muster__link *at = of->worlds->contexts.next; at != &of->worlds->contexts; at = at->next) {
        const struct muster__context *context = MUSTER_CONTAINER_OF(at, struct muster__context, link);
        listening->heard |= context->type == MUSTER__WORKER_SERVICE && context->instance == version->instance;
    }
    muster__version_release(version);
    counter_add(&listening->done, 1);
}

static bool has_spoken(void)
{
    struct listening listening = {.message = {.run = run_listening}, .done = COUNTER};
    (void)muster__coordinator_post(muster, &listening.message);
    counter_await(&listening.done, 1);
    return listening.heard;
}

START_TEST(a_worker_tells_once_for_what_events_it_listens_and_not_at_each_start)
{
    const struct muster_registration_options options = {.size = sizeof(options), .scope = APP, .script = APP "sw.js"};
    struct muster_handle *handle = NULL;
    live_in(_i);
    put(APP "sw.js", "self.what = () => 'here'; onfetch = () => {};");
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    check_call("what", "here");
    ck_assert(has_spoken());
    ck_assert_int_eq(muster_stop(muster, APP, NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    check_call("what", "here");
    ck_assert(!has_spoken());
}
END_TEST

START_TEST(what_the_embedder_registers_is_not_updated_by_itself_nor_held_to_its_folder)
{
    const struct muster_registration_options options = {
        .size = sizeof(options), .scope = "https://a.test/", .script = APP "sw.js"};
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    put(APP "sw.js", "// two");
    ck_assert_int_eq(muster_update(muster, "https://a.test/", NULL, NULL, &handle), MUSTER_OK);
    settle_ok(handle);
    struct muster__version *version = find_scope("https://a.test/");
    ck_assert(version->map && !version->keeps_scripts);
    ck_assert_uint_eq(version->stored_bytes, 0);
    muster__version_release(version);
}
END_TEST

/* ---- what can be asked ---- */

START_TEST(the_longest_scope_that_begins_a_url_matches) /* SCOPE-1, CL-READY */
{
    static const char *const scopes[] = {"https://a.test/app/", "https://a.test/app/deep/er", "https://a.test/app/deep"};
    static const struct {
        const char *url, *scope;
    } asked[] = {
        {"https://a.test/app/", "https://a.test/app/"},          {"https://a.test/app", NULL},
        {"https://a.test/app/dee", "https://a.test/app/"},       {"https://a.test/app/deep", "https://a.test/app/deep"},
        {"https://a.test/app/deeper", "https://a.test/app/deep"}, {"https://a.test/app/deep/er#x", "https://a.test/app/deep/er"},
        {"https://a.test/", NULL},
    };
    char scope[100];
    struct realm *realm = page("https://a.test/");
    for (size_t i = 0; i < 3; i++) {
        ask_register(realm, APP "sw.js", scopes[i]);
        while (strncmp(next(realm), "answer installing", 17) != 0) {
        }
    }
    hear_until(realm, "state 3 activated");
    for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
        *scope = '\0';
        unsigned id = registration_of(realm, asked[i].url, "scope", scope);
        ck_assert_str_eq(scope, asked[i].scope ? asked[i].scope : "");
        ck_assert(!id == !asked[i].scope);
    }
    ask_url(realm, "https://b.test/");
    HEARS(realm, "fails SecurityError");
    ask_url(realm, "nothing");
    HEARS(realm, "fails TypeError");
    realm_close(realm);
}
END_TEST

START_TEST(registrations_are_listed_in_their_order_and_within_their_storage_key) /* SW-MAP-1, CL-READY */
{
    static const char *const scopes[] = {APP "z/", APP "a/", APP "m/"};
    struct realm *realm = page("https://a.test/"), *stranger = page("https://b.test/");
    for (size_t i = 0; i < 3; i++) {
        ask_register(realm, APP "sw.js", scopes[i]);
        while (strncmp(next(realm), "answer installing", 17) != 0) {
        }
    }
    hear_until(realm, "state 3 activated");
    ask_simply(realm, "getRegistrations");
    struct muster__port_message *message = hear(realm);
    const struct muster_value *list = muster_value_at(message->head, 3);
    ck_assert_uint_eq(muster_value_count(list), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(text_of(muster_value_at(list, i), "scope"), scopes[i]);
    unsigned id = id_of(muster_value_at(list, 0));
    muster__port_message_destroy(message);
    ask_simply(stranger, "getRegistrations");
    message = hear(stranger);
    ck_assert_uint_eq(muster_value_count(muster_value_at(message->head, 3)), 0);
    muster__port_message_destroy(message);
    ask_number(stranger, "unregister", id);
    HEARS(stranger, "answer false");
    ask_number(stranger, "update", id);
    HEARS(stranger, "fails TypeError");
    settle(stranger); /* and was told of nothing */
    realm_close(realm);
    realm_close(stranger);
}
END_TEST

START_TEST(who_asked_for_no_registration_is_told_of_its_own_alone)
{
    struct realm *realm = page_with_worker(), *inside = page(APP "page"), *outside = page("https://a.test/");
    put(APP "sw.js", "// two");
    ask_number(realm, "update", registration_of(realm, APP, NULL, NULL));
    hear_until(realm, "state 2 installed");
    HEARS(inside, "registration installing=2 active=1", "state 2 installing", "updatefound",
          "registration waiting=2 active=1", "state 2 installed");
    ask_simply(outside, "no such op");
    HEARS(outside, "fails TypeError");
    realm_close(realm);
    realm_close(inside);
    realm_close(outside);
}
END_TEST

START_TEST(ready_waits_for_an_active_worker_of_its_own_url) /* CL-READY, SW-ACT-2 */
{
    struct realm *realm = page("https://a.test/"), *client = page(APP "page"), *gone = page(APP "gone");
    ask_simply(client, "ready");
    ask_simply(gone, "ready");
    settle(gone);
    realm_close(gone);
    ask_register(realm, APP "other.js", APP "deep/"); /* not of its URL */
    hear_until(realm, "state 1 activated");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 2 activated");
    hear_until(client, "state 2 activating");
    HEARS(client, "answer active=2");
    ask_simply(client, "ready");
    hear_until(client, "answer active=2");
    realm_close(client);
    realm_close(realm);
}
END_TEST

START_TEST(navigation_preload_is_kept_with_the_registration) /* HF-PRE */
{
    struct realm *realm = page_with_worker();
    unsigned id = registration_of(realm, APP, NULL, NULL);
    ask_values(realm, "navigationPreload.set", muster_value_new_number(id),
               MUSTER__OBJECT({"enabled", muster_value_new_boolean(true)}, {"headerValue", muster__tree_text("x")}), NULL);
    HEARS(realm, "answer");
    ask_url(realm, APP);
    struct muster__port_message *message = hear(realm);
    const struct muster_value *state = muster_value_get(muster_value_at(message->head, 3), "navigationPreload");
    ck_assert(muster_value_boolean(muster_value_get(state, "enabled")));
    ck_assert_str_eq(text_of(state, "headerValue"), "x");
    muster__port_message_destroy(message);
    ask_values(realm, "navigationPreload.set", muster_value_new_number(id), /* what it does not say is as another set it */
               MUSTER__OBJECT({"headerValue", muster__tree_text("y")}), NULL);
    HEARS(realm, "answer");
    ask_number(realm, "navigationPreload.get", id);
    message = hear(realm);
    ck_assert(muster_value_boolean(muster_value_get(muster_value_at(message->head, 3), "enabled")));
    ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "headerValue"), "y");
    muster__port_message_destroy(message);
    ask_number(realm, "unregister", id);
    hear_until(realm, "answer true");
    ask_values(realm, "navigationPreload.set", muster_value_new_number(id), muster_value_new_object(), NULL);
    hear_until(realm, "fails InvalidStateError");
    realm_close(realm);
}
END_TEST

START_TEST(skip_waiting_resolves_when_the_worker_is_activated) /* SW-SKIP-1 */
{
    struct realm *realm = page_with_worker(), *client = page(APP "page");
    put(APP "sw.js", "let active = false; onactivate = () => { active = true; };"
                     "onmessage = (event) => event.waitUntil(skipWaiting().then(() =>"
                     " event.source.postMessage(active ? 'activated' : 'early')))");
    ask_number(realm, "update", registration_of(realm, APP, NULL, NULL));
    hear_until(realm, "state 2 installed");
    tell_with(client, "version.post", muster_value_new_number(2), muster_value_new_text(""), NULL);
    hear_until(realm, "state 2 activated");
    struct muster__port_message *message = told(client, "controller");
    ck_assert_uint_eq(id_of(muster_value_at(message->head, 2)), 2);
    muster__port_message_destroy(message);
    message = told(client, "message");
    ck_assert_str_eq(muster__text_of(message->data), "activated");
    muster__port_message_destroy(message);
    realm_close(client);
    realm_close(realm);
}
END_TEST

START_TEST(a_worker_may_wait_for_a_message_before_it_is_activated) /* EV-MSG-1 */
{
    live_in(_i);
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "let heard; const message = new Promise((resolve) => { heard = resolve; });"
                     "onmessage = heard; onactivate = (event) => event.waitUntil(message);");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activating");
    tell_with(realm, "version.post", muster_value_new_number(1), muster_value_new_text("go on"), NULL);
    hear_until(realm, "state 1 activated");
    realm_close(realm);
}
END_TEST

START_TEST(a_message_to_a_redundant_worker_is_dropped_though_it_may_still_run) /* EV-MSG-1 */
{
    enum { ROUNDS = 10 };
    static const char echo[] = "onmessage = (event) => event.source.postMessage(event.data);";
    char texts[2][100], line[40];
    live_in(_i);
    struct realm *realm = page("https://a.test/"), *client = page("https://a.test/page");
    put(APP "sw.js", echo);
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "state 1 activated");
    unsigned registration = registration_of(realm, APP, NULL, NULL);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        snprintf(texts[i % 2], sizeof(texts[0]), "%s // %u", echo, i);
        put(APP "sw.js", texts[i % 2]);
        ask_number(realm, "update", registration);
        snprintf(line, sizeof(line), "state %u redundant", i);
        hear_until(realm, line);
        tell_with(client, "version.post", muster_value_new_number(i), muster_value_new_text("old"), NULL);
        tell_with(client, "version.post", muster_value_new_number(i + 1), muster_value_new_text("new"), NULL);
        struct muster__port_message *message = told(client, "message");
        ck_assert_str_eq(muster__text_of(message->data), "new");
        muster__port_message_destroy(message);
        snprintf(line, sizeof(line), "state %u activated", i + 1);
        hear_until(realm, line);
    }
    realm_close(client);
    realm_close(realm);
}
END_TEST

START_TEST(an_instance_that_closes_aborts_what_is_asked)
{
    struct realm *realm = page("https://a.test/");
    put(APP "sw.js", "addEventListener('install', (event) => event.waitUntil(new Promise(() => {})))");
    ask_register(realm, APP "sw.js", APP);
    hear_until(realm, "updatefound");
    ask_register(realm, APP "other.js", APP); /* waits behind the install */
    ask_simply(realm, "ready");
    ck_assert_int_eq(muster_close(muster, NULL, NULL), MUSTER_OK);
    hear_until(realm, "fails AbortError");
    close_muster();
    await_closed(realm);
    realm_close(realm);
    open_plain();
}
END_TEST

/* ---- a server ---- */

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    atomic_int requests, with_header, conditional;
} server;

static const struct {
    const char *path, *answer;
} pages[] = {
    {"/app/sw.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 6\r\n\r\n// one"},
    {"/app/root.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nService-Worker-Allowed: /\r\n"
                     "Content-Length: 6\r\n\r\n// two"},
    {"/app/lower.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nService-Worker-Allowed: deep/\r\n"
                      "Content-Length: 6\r\n\r\n// six"},
    {"/app/foreign.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\n"
                        "Service-Worker-Allowed: https://b.test/\r\nContent-Length: 6\r\n\r\n// two"},
    {"/app/kept.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nCache-Control: max-age=1000\r\n"
                     "ETag: \"7\"\r\nContent-Length: 6\r\n\r\n// two"},
    {"/app/text.js", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n// two"},
    {"/app/moved.js", "HTTP/1.1 302 Found\r\nLocation: /app/sw.js\r\nContent-Length: 0\r\n\r\n"},
    {"/app/broken.js", "HTTP/1.1 500 Oh\r\nContent-Type: text/javascript\r\nContent-Length: 6\r\n\r\n// two"},
};

static void answer_one(int fd)
{
    char request[4096] = "";
    size_t length = 0;
    ssize_t got;
    while (length < sizeof(request) - 1 && !strstr(request, "\r\n\r\n") &&
           (got = read(fd, request + length, sizeof(request) - 1 - length)) > 0) {
        length += (size_t)got;
        request[length] = '\0';
    }
    atomic_fetch_add(&server.requests, 1);
    atomic_fetch_add(&server.with_header, strcasestr(request, "\r\nservice-worker: script\r\n") ? 1 : 0);
    const char *answer_text = "HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n";
    for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
        if (strncmp(request + 4, pages[i].path, strlen(pages[i].path)) == 0)
            answer_text = pages[i].answer;
    if (strcasestr(request, "\r\nif-none-match: \"7\"\r\n")) {
        atomic_fetch_add(&server.conditional, 1);
        answer_text = "HTTP/1.1 304 Same\r\n\r\n";
    }
    ck_assert_int_gt(write(fd, answer_text, strlen(answer_text)), 0);
}

static void *serve(void *unused)
{
    for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0; close(fd))
        answer_one(fd);
    return unused;
}

static void open_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    setenv("no_proxy", "*", 1);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(server.fd, 8), 0);
    ck_assert_int_eq(getsockname(server.fd, (struct sockaddr *)&address, &length), 0);
    server.port = ntohs(address.sin_port);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
    struct muster_options options = {.size = sizeof(options), .threads = 2}; /* without a loader */
    ck_assert_int_eq(muster_new(&options, &muster, NULL), MUSTER_OK);
}

static void close_server(void)
{
    close_muster();
    (void)shutdown(server.fd, SHUT_RDWR);
    ck_assert_int_eq(pthread_join(server.thread, NULL), 0);
    close(server.fd);
}

START_TEST(a_server_says_how_far_its_script_may_reach) /* SW-UPD-2, SW-UPD-3, SW-UPD-4 */
{
    static const struct {
        const char *script, *scope, *heard;
    } asked[] = {
        {"app/sw.js", "app/", "answer"},           {"app/sw.js", "", "fails SecurityError"},
        {"app/root.js", "", "answer"},             {"app/lower.js", "app/", "fails SecurityError"},
        {"app/lower.js", "app/deep/x", "answer"},  {"app/foreign.js", "app/", "fails SecurityError"},
        {"app/text.js", "app/", "fails SecurityError"}, {"app/moved.js", "app/", "fails SecurityError"},
        {"app/broken.js", "app/", "fails TypeError"},   {"app/none.js", "app/", "fails TypeError"},
    };
    char base[40], script[80], scope[80];
    snprintf(base, sizeof(base), "http://127.0.0.1:%u/", server.port);
    struct realm *realm = page(base);
    for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
        const char *line;
        snprintf(script, sizeof(script), "%s%s", base, asked[i].script);
        snprintf(scope, sizeof(scope), "%s%s", base, asked[i].scope);
        ask_register(realm, script, scope);
        do
            line = next(realm);
        while (strncmp(line, "answer", 6) != 0 && strncmp(line, "fails", 5) != 0);
        ck_assert_msg(strncmp(line, asked[i].heard, strlen(asked[i].heard)) == 0, "%s of %s: %s", asked[i].scope,
                      asked[i].script, line);
    }
    ck_assert_int_eq(atomic_load(&server.requests), (int)(sizeof(asked) / sizeof(*asked)));
    ck_assert_int_eq(atomic_load(&server.with_header), atomic_load(&server.requests));
    realm_close(realm);
}
END_TEST

START_TEST(what_a_server_lets_be_kept_is_asked_for_as_update_via_cache_says) /* SW-UPD-2 */
{
    static const struct {
        const char *via;
        int requests, conditional;
    } ways[] = {{"all", 1, 0}, {"imports", 2, 1}, {"none", 2, 1}};
    char base[40], script[80];
    snprintf(base, sizeof(base), "http://127.0.0.1:%u/app/", server.port);
    snprintf(script, sizeof(script), "%skept.js", base);
    struct realm *realm = page(base);
    ask_register_with(realm, script, base, "classic", ways[_i].via);
    hear_until(realm, "state 1 activated");
    ask_number(realm, "update", registration_of(realm, base, NULL, NULL));
    HEARS(realm, "answer active=1");
    ck_assert_int_eq(atomic_load(&server.requests), ways[_i].requests);
    ck_assert_int_eq(atomic_load(&server.conditional), ways[_i].conditional);
    realm_close(realm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registrations");
    TCase *jobs = tcase_create("jobs"), *asks = tcase_create("asks"), *web = tcase_create("web");
    TCase *const cases[] = {jobs, asks};
    for (size_t i = 0; i < 2; i++) {
        tcase_add_checked_fixture(cases[i], set_up, close_muster);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_checked_fixture(web, open_server, close_server);
    suite_add_tcase(suite, web);
    tcase_add_test(jobs, a_registration_resolves_when_it_installs_and_tells_each_step_in_order);
    tcase_add_loop_test(jobs, what_may_not_be_registered_fails_with_the_errors_name, 0,
                        (int)(sizeof(refused) / sizeof(*refused)));
    tcase_add_test(jobs, a_page_of_this_machine_needs_no_encryption);
    tcase_add_test(jobs, options_that_are_none_are_a_type_error);
    tcase_add_test(jobs, the_same_again_resolves_without_a_fetch);
    tcase_add_test(jobs, another_way_of_caching_looks_again_and_is_taken_over);
    tcase_add_test(jobs, jobs_that_are_the_same_share_one);
    tcase_add_test(jobs, jobs_that_joined_one_that_failed_hear_the_same_error);
    tcase_add_test(jobs, another_script_of_the_scope_waits_until_no_client_uses_the_first);
    tcase_add_test(jobs, a_script_that_throws_is_a_type_error_and_leaves_nothing);
    tcase_add_test(jobs, an_install_that_fails_makes_it_redundant_and_removes_the_registration);
    tcase_add_test(jobs, an_update_of_the_same_bytes_changes_nothing);
    tcase_add_test(jobs, a_byte_that_differs_is_a_new_version);
    tcase_add_test(jobs, an_import_that_differs_is_a_new_version);
    tcase_add_test(jobs, an_import_that_does_not_come_is_as_it_was);
    tcase_add_test(jobs, a_new_version_does_without_the_import_that_did_not_come);
    tcase_add_test(jobs, an_update_that_fails_leaves_the_version_that_works);
    tcase_add_test(jobs, what_is_unregistered_is_not_updated);
    tcase_add_test(jobs, a_worker_that_installs_may_not_update_itself);
    tcase_add_test(jobs, the_embedder_updates_a_registration_of_a_script);
    tcase_add_test(jobs, a_worker_that_starts_after_a_day_is_looked_at_again);
    tcase_add_test(jobs, unregister_is_true_once);
    tcase_add_test(jobs, an_unregistered_worker_is_there_for_its_clients_until_they_are_gone);
    tcase_add_test(jobs, one_that_is_registered_again_is_another_registration);
    tcase_add_test(jobs, once_installed_a_worker_imports_only_what_it_imported_then);
    tcase_add_loop_test(jobs, a_worker_that_starts_again_runs_what_it_was_installed_with, 0, HOME_COUNT);
    tcase_add_loop_test(jobs, what_the_embedder_registers_imports_what_it_was_installed_with_until_it_is_updated, 0,
                        HOME_COUNT);
    tcase_add_loop_test(jobs, a_worker_tells_once_for_what_events_it_listens_and_not_at_each_start, 0, HOME_COUNT);
    tcase_add_test(jobs, what_the_embedder_registers_is_not_updated_by_itself_nor_held_to_its_folder);
    tcase_add_test(asks, the_longest_scope_that_begins_a_url_matches);
    tcase_add_test(asks, registrations_are_listed_in_their_order_and_within_their_storage_key);
    tcase_add_test(asks, who_asked_for_no_registration_is_told_of_its_own_alone);
    tcase_add_test(asks, ready_waits_for_an_active_worker_of_its_own_url);
    tcase_add_test(asks, navigation_preload_is_kept_with_the_registration);
    tcase_add_test(asks, skip_waiting_resolves_when_the_worker_is_activated);
    tcase_add_loop_test(asks, a_worker_may_wait_for_a_message_before_it_is_activated, 0, HOME_COUNT);
    tcase_add_loop_test(asks, a_message_to_a_redundant_worker_is_dropped_though_it_may_still_run, 0, HOME_COUNT);
    tcase_add_test(asks, an_instance_that_closes_aborts_what_is_asked);
    tcase_add_test(web, a_server_says_how_far_its_script_may_reach);
    tcase_add_loop_test(web, what_a_server_lets_be_kept_is_asked_for_as_update_via_cache_says, 0, 3);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
