/* tests/test_store.c - registrations on disk: what was told done is there, whole, and nothing is forgotten silently.
 * How it bears being killed is store_kill.c's. */
#include "coordinator/store.h"

#include "coordinator/store_hash.h"
#include "runtime/check.h"
#include "tests/state_folder.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct muster__store *open_store(char **ret_notice)
{
    struct muster__store *store = NULL;
    struct muster_error error = {0};
    char *notice = NULL;
    enum muster_status status = muster__store_open(folder, &store, &notice, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message ? error.message : "?");
    if (ret_notice)
        *ret_notice = notice;
    else
        ck_assert_msg(!notice, "%s", notice);
    return store;
}

/* ---- waiting for `done` ---- */

struct done {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned count;
    enum muster_status status;
    char why[256];
};
#define NOT_DONE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, MUSTER_OK, ""}

static void is_done(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct done *done = user_data;
    pthread_mutex_lock(&done->lock);
    done->count++;
    done->status = status;
    if (error)
        snprintf(done->why, sizeof(done->why), "%s", error->message);
    pthread_cond_signal(&done->wake);
    pthread_mutex_unlock(&done->lock);
}

static enum muster_status wait_done(struct done *done, unsigned count)
{
    pthread_mutex_lock(&done->lock);
    while (done->count < count)
        pthread_cond_wait(&done->wake, &done->lock);
    pthread_mutex_unlock(&done->lock);
    return done->status;
}

static void put(struct muster__store *store, const struct muster__stored_registration *registration)
{
    struct done done = NOT_DONE;
    ck_assert_int_eq(muster__store_put(store, registration, is_done, &done), MUSTER_OK);
    ck_assert_msg(wait_done(&done, 1) == MUSTER_OK, "%s", done.why);
}

/* ---- what is in it, as text ---- */

struct text {
    char text[8192];
    size_t length;
};

static void see(const struct muster__stored_registration *registration, void *user_data)
{
    struct text *text = user_data;
    text->length += (size_t)snprintf(text->text + text->length, sizeof(text->text) - text->length,
                                     "%s|%s|%s|%d|%d|%llu|%s|%s|%s|%s\n", registration->storage_key, registration->scope,
                                     registration->script_url, registration->is_module, registration->via,
                                     (unsigned long long)registration->checked_us,
                                     registration->settings ? registration->settings : "-",
                                     registration->routes ? registration->routes : "-",
                                     registration->event_types ? registration->event_types : "-",
                                     registration->preload ? registration->preload : "-");
}

static void see_sync(const struct muster__stored_sync *sync, void *user_data)
{
    struct text *text = user_data;
    text->length += (size_t)snprintf(text->text + text->length, sizeof(text->text) - text->length,
                                     "%s|%s|%s|%d|%llu|%llu|%u\n", sync->storage_key, sync->scope, sync->tag,
                                     sync->is_periodic, (unsigned long long)sync->interval_us,
                                     (unsigned long long)sync->due_us, sync->attempts);
}

static void see_script(const struct muster__stored_script *script, void *user_data)
{
    struct text *text = user_data;
    text->length += (size_t)snprintf(text->text + text->length, sizeof(text->text) - text->length,
                                     "%s|%s|%s|%d|%llu|%.*s\n", script->url,
                                     script->content_type ? script->content_type : "-",
                                     script->source_map ? script->source_map : "-", script->is_module,
                                     (unsigned long long)script->checked_us, (int)script->text.length, script->text.data);
}

static void check_registrations(struct muster__store *store, const char *expected)
{
    struct text text = {0};
    ck_assert_int_eq(muster__store_each(store, see, &text, NULL), MUSTER_OK);
    ck_assert_str_eq(text.text, expected);
}

static void check_syncs(struct muster__store *store, const char *expected)
{
    struct text text = {0};
    ck_assert_int_eq(muster__store_each_sync(store, see_sync, &text, NULL), MUSTER_OK);
    ck_assert_str_eq(text.text, expected);
}

static void check_scripts(struct muster__store *store, const char *key, const char *scope, const char *expected)
{
    struct text text = {0};
    ck_assert_int_eq(muster__store_each_script(store, key, scope, see_script, &text, NULL), MUSTER_OK);
    ck_assert_str_eq(text.text, expected);
}

/* ---- examples ---- */

#define TEXT(literal) {literal, sizeof(literal) - 1}

static const struct muster__stored_script scripts[] = {
    {.url = "https://a.example/sw.js", .content_type = "text/javascript", .text = TEXT("importScripts('x.js')"),
     .checked_us = 1700000000000000},
    {.url = "https://a.example/x.js", .source_map = "x.map", .text = TEXT("var x = 'one';"), .checked_us = 5},
};
static const struct muster__stored_registration full = {
    .storage_key = "https://a.example",
    .scope = "https://a.example/app/",
    .script_url = "https://a.example/sw.js",
    .settings = "{\"tenant\":\"t\"}",
    .routes = "[]",
    .event_types = "[\"fetch\"]",
    .preload = "true",
    .scripts = scripts,
    .script_count = 2,
    .via = 2,
    .is_module = true,
    .checked_us = 1700000000000001,
};
#define FULL_LINE                                                                                                    \
    "https://a.example|https://a.example/app/|https://a.example/sw.js|1|2|1700000000000001|{\"tenant\":\"t\"}|[]|"    \
    "[\"fetch\"]|true\n"
#define FULL_SCRIPTS                                                                                                 \
    "https://a.example/sw.js|text/javascript|-|0|1700000000000000|importScripts('x.js')\n"                            \
    "https://a.example/x.js|-|x.map|0|5|var x = 'one';\n"

static struct muster__stored_registration bare(const char *scope)
{
    return (struct muster__stored_registration){.storage_key = "", .scope = scope, .script_url = "/sw.js"};
}

/* ---- the tests ---- */

START_TEST(what_was_told_done_is_there_when_the_store_is_opened_again)
{
    struct muster__store *store = open_store(NULL);
    struct done done = NOT_DONE;
    const struct muster__stored_registration other = bare("/b/");
    const struct muster__stored_sync sync = {full.storage_key, full.scope, "mail", false, 0, 77, 2};
    const struct muster__stored_sync periodic = {full.storage_key, full.scope, "news", true, 1000, 99, 0};
    put(store, &full);
    put(store, &other);
    ck_assert_int_eq(muster__store_put_sync(store, &sync, is_done, &done), MUSTER_OK);
    ck_assert_int_eq(muster__store_put_sync(store, &periodic, is_done, &done), MUSTER_OK);
    ck_assert_int_eq(wait_done(&done, 2), MUSTER_OK);
    for (int i = 0; i < 2; i++) {
        check_registrations(store, FULL_LINE "|/b/|/sw.js|0|0|0|-|-|-|-\n");
        check_scripts(store, full.storage_key, full.scope, FULL_SCRIPTS);
        check_syncs(store, "https://a.example|https://a.example/app/|mail|0|0|77|2\n"
                           "https://a.example|https://a.example/app/|news|1|1000|99|0\n");
        muster__store_close(store);
        store = open_store(NULL);
    }
    muster__store_close(store);
}
END_TEST

START_TEST(what_waits_is_written_before_the_store_is_closed)
{
    struct muster__store *store = open_store(NULL);
    struct done done = NOT_DONE;
    char scope[32];
    for (int i = 0; i < 700; i++) { /* more than one transaction takes */
        snprintf(scope, sizeof(scope), "/%03d/", i);
        const struct muster__stored_registration one = bare(scope);
        ck_assert_int_eq(muster__store_put(store, &one, is_done, &done), MUSTER_OK);
    }
    muster__store_close(store);
    ck_assert_uint_eq(done.count, 700);
    store = open_store(NULL);
    ck_assert_int_eq(muster__store_remove(store, "", "/004/", NULL, NULL), MUSTER_OK);
    ck_assert_int_eq(muster__store_each_script(store, "", "/003/", see_script, NULL, NULL), MUSTER_NOT_FOUND);
    muster__store_close(store);
}
END_TEST

START_TEST(a_registration_that_is_put_again_takes_the_old_ones_place_and_keeps_its_syncs)
{
    struct muster__store *store = open_store(NULL);
    struct muster__stored_registration newer = full;
    const struct muster__stored_sync sync = {full.storage_key, full.scope, "mail", false, 0, 77, 2};
    const struct muster__stored_registration other = bare("/b/");
    put(store, &full);
    put(store, &other);
    ck_assert_int_eq(muster__store_put_sync(store, &sync, NULL, NULL), MUSTER_OK);
    newer.script_url = "https://a.example/x.js";
    newer.scripts = scripts + 1;
    newer.script_count = 1;
    newer.preload = newer.routes = NULL;
    put(store, &newer);
    check_registrations(store, "https://a.example|https://a.example/app/|https://a.example/x.js|1|2|1700000000000001|"
                               "{\"tenant\":\"t\"}|-|[\"fetch\"]|-\n|/b/|/sw.js|0|0|0|-|-|-|-\n");
    check_scripts(store, full.storage_key, full.scope, "https://a.example/x.js|-|x.map|0|5|var x = 'one';\n");
    check_syncs(store, "https://a.example|https://a.example/app/|mail|0|0|77|2\n");
    muster__store_close(store);
}
END_TEST

START_TEST(what_is_removed_goes_with_its_scripts_and_syncs)
{
    struct muster__store *store = open_store(NULL);
    struct done done = NOT_DONE;
    const struct muster__stored_sync sync = {full.storage_key, full.scope, "mail", false, 0, 77, 2};
    put(store, &full);
    ck_assert_int_eq(muster__store_put_sync(store, &sync, NULL, NULL), MUSTER_OK);
    ck_assert_int_eq(muster__store_remove(store, full.storage_key, full.scope, is_done, &done), MUSTER_OK);
    ck_assert_int_eq(wait_done(&done, 1), MUSTER_OK);
    check_registrations(store, "");
    check_syncs(store, "");
    ck_assert_int_eq(muster__store_each_script(store, full.storage_key, full.scope, see_script, NULL, NULL),
                     MUSTER_NOT_FOUND);
    /* Again, and a sync of what is not there. */
    ck_assert_int_eq(muster__store_remove(store, full.storage_key, full.scope, is_done, &done), MUSTER_OK);
    ck_assert_int_eq(wait_done(&done, 2), MUSTER_OK);
    ck_assert_int_eq(muster__store_put_sync(store, &sync, is_done, &done), MUSTER_OK);
    ck_assert_int_eq(wait_done(&done, 3), MUSTER_NOT_FOUND);
    muster__store_close(store);
}
END_TEST

START_TEST(the_same_scope_of_another_storage_key_is_another_registration)
{
    struct muster__store *store = open_store(NULL);
    struct muster__stored_registration other = bare("https://a.example/app/");
    other.storage_key = "tenant two";
    put(store, &full);
    put(store, &other);
    ck_assert_int_eq(muster__store_remove(store, "tenant two", "https://a.example/app/", NULL, NULL), MUSTER_OK);
    put(store, &full);
    check_registrations(store, FULL_LINE);
    muster__store_close(store);
}
END_TEST

START_TEST(equal_scripts_are_stored_once)
{
    struct muster__store *store = open_store(NULL);
    enum { LENGTH = 100000 };
    char *big = malloc(LENGTH), scope[32];
    struct stat file;
    memset(big, 'x', LENGTH);
    const struct muster__stored_script script = {.url = "/sw.js", .text = {big, LENGTH}};
    for (int i = 0; i < 50; i++) {
        snprintf(scope, sizeof(scope), "/%d/", i);
        struct muster__stored_registration one = bare(scope);
        one.scripts = &script;
        one.script_count = 1;
        put(store, &one);
    }
    muster__store_close(store);
    ck_assert_int_eq(stat(in_folder("registrations.db"), &file), 0);
    ck_assert_int_lt(file.st_size, 3 * LENGTH);
    store = open_store(NULL);
    for (int i = 0; i < 49; i++) { /* the last one that has it keeps it */
        snprintf(scope, sizeof(scope), "/%d/", i);
        ck_assert_int_eq(muster__store_remove(store, "", scope, NULL, NULL), MUSTER_OK);
    }
    muster__store_close(store);
    store = open_store(NULL);
    struct text text = {0};
    ck_assert_int_eq(muster__store_each_script(store, "", "/49/", see_script, &text, NULL), MUSTER_OK);
    ck_assert_uint_gt(text.length, LENGTH);
    muster__store_close(store);
    free(big);
}
END_TEST

START_TEST(a_folder_has_one_owner)
{
    struct muster__store *store = open_store(NULL), *second = NULL;
    struct muster_error error = {0};
    char *notice = NULL;
    ck_assert_int_eq(muster__store_open(folder, &second, &notice, &error), MUSTER_EXISTS);
    ck_assert_ptr_nonnull(strstr(error.message, "in use"));
    muster_error_clean_up(&error);
    muster__store_close(store);
}
END_TEST

static void check_mode(const char *name)
{
    struct stat file;
    ck_assert_int_eq(stat(in_folder(name), &file), 0);
    ck_assert_int_eq(file.st_mode & 0777, 0600);
}

START_TEST(the_file_is_its_owners_alone)
{
    muster__store_close(open_store(NULL));
    check_mode("registrations.db");
}
END_TEST

/* In the file's header, big-endian: PRAGMA user_version. */
static void write_at(off_t offset, const void *bytes, size_t length)
{
    int fd = open(in_folder("registrations.db"), O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, length, offset), (ssize_t)length);
    close(fd);
}

START_TEST(a_file_of_a_later_version_is_left_alone)
{
    struct muster__store *store = open_store(NULL), *second = NULL;
    struct muster_error error = {0};
    char *notice = NULL;
    put(store, &full);
    muster__store_close(store);
    write_at(60, "\0\0\0\2", 4);
    ck_assert_int_eq(muster__store_open(folder, &second, &notice, &error), MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "later version"));
    muster_error_clean_up(&error);
    write_at(60, "\0\0\0\1", 4);
    store = open_store(NULL);
    check_registrations(store, FULL_LINE);
    muster__store_close(store);
}
END_TEST

START_TEST(what_is_no_database_is_set_aside_and_a_new_one_begun)
{
    static const char *const set_aside[] = {"registrations.db.damaged-1", "registrations.db.damaged-2"};
    char nonsense[5000];
    memset(nonsense, 'n', sizeof(nonsense));
    for (int i = 0; i < 2; i++) {
        char *notice = NULL;
        int fd = open(in_folder("registrations.db"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        ck_assert_int_eq(write(fd, nonsense, sizeof(nonsense)), (ssize_t)sizeof(nonsense));
        close(fd);
        struct muster__store *store = open_store(&notice);
        ck_assert_ptr_nonnull(notice);
        ck_assert_msg(strstr(notice, set_aside[i]) != NULL, "%s", notice);
        ck_assert_msg(strstr(notice, "0 registrations could be kept") != NULL, "%s", notice);
        free(notice);
        ck_assert_int_eq(access(in_folder(set_aside[i]), F_OK), 0);
        check_mode("registrations.db");
        check_registrations(store, "");
        put(store, &full);
        muster__store_close(store);
    }
}
END_TEST

static void count(const struct muster__stored_registration *registration, void *user_data)
{
    ck_assert_str_eq(registration->script_url, "/sw.js");
    ++*(size_t *)user_data;
}

/* Some hundreds over many pages, of which one after the other is overwritten. */
START_TEST(what_can_be_read_of_a_damaged_file_is_kept)
{
    struct muster__store *store = open_store(NULL);
    char scope[64], text[64], garbage[4096];
    enum { COUNT = 600 };
    struct stat file;
    size_t kept = 0;
    char *notice = NULL;
    for (int i = 0; i < COUNT; i++) {
        snprintf(scope, sizeof(scope), "/some/longer/scope/so/that/pages/fill/%d/", i);
        snprintf(text, sizeof(text), "the script of %d", i);
        const struct muster__stored_script script = {.url = "/sw.js", .text = {text, strlen(text)}};
        struct muster__stored_registration one = bare(scope);
        one.scripts = &script;
        one.script_count = 1;
        ck_assert_int_eq(muster__store_put(store, &one, NULL, NULL), MUSTER_OK);
    }
    muster__store_close(store);
    ck_assert_int_eq(stat(in_folder("registrations.db"), &file), 0);
    off_t pages = file.st_size / 4096;
    off_t page = pages * (_i + 1) / 13; /* never the first, which has the schema */
    page = page ? page : 1;
    memset(garbage, 0xa5, sizeof(garbage));
    write_at(page * 4096, garbage, sizeof(garbage));
    store = open_store(&notice);
    ck_assert_ptr_nonnull(notice);
    ck_assert_int_eq(muster__store_each(store, count, &kept, NULL), MUSTER_OK);
    snprintf(text, sizeof(text), "%zu registration", kept);
    ck_assert_msg(strstr(notice, text) != NULL, "%s", notice);
    /* One page is of the index of a table, of some rows, or the root of either. */
    ck_assert_msg(kept > COUNT / 2 || strstr(notice, "lost"), "page %d of %d: %zu, %s", (int)page, (int)pages, kept, notice);
    if (kept < COUNT)
        ck_assert_msg(strstr(notice, "lost") != NULL, "%s", notice);
    free(notice);
    muster__store_close(store);
    store = open_store(NULL); /* and is whole */
    muster__store_close(store);
}
END_TEST

START_TEST(a_script_whose_text_was_changed_on_disk_is_not_given_out)
{
    struct muster__store *store = open_store(NULL);
    static char bytes[1 << 20];
    put(store, &full);
    muster__store_close(store);
    int fd = open(in_folder("registrations.db"), O_RDONLY);
    ssize_t length = read(fd, bytes, sizeof(bytes));
    close(fd);
    char *at = memmem(bytes, (size_t)length, "var x = 'one';", 14);
    ck_assert_ptr_nonnull(at);
    write_at(at - bytes + 9, "two", 3);
    store = open_store(NULL);
    struct muster_error error = {0};
    struct text text = {0};
    ck_assert_int_eq(muster__store_each_script(store, full.storage_key, full.scope, see_script, &text, &error),
                     MUSTER_LOAD_FAILED);
    ck_assert_ptr_nonnull(strstr(error.message, "damaged"));
    muster_error_clean_up(&error);
    muster__store_close(store);
}
END_TEST

/* From outside, as somebody with an editor may. */
static void execute_aside(const char *text)
{
    sqlite3 *database = NULL;
    ck_assert_int_eq(sqlite3_open(in_folder("registrations.db"), &database), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(database, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

/* Some bytes of damage make a number to which nobody could count. */
START_TEST(rows_with_absurd_numbers_in_a_damaged_file_are_kept_soon)
{
    enum { COUNT = 600 };
    char scope[64], garbage[4096], *notice = NULL;
    struct stat file;
    size_t kept = 0;
    struct muster__store *store = open_store(NULL);
    for (int i = 0; i < COUNT; i++) {
        snprintf(scope, sizeof(scope), "/some/longer/scope/so/that/pages/fill/%d/", i);
        struct muster__stored_registration one = bare(scope);
        ck_assert_int_eq(muster__store_put(store, &one, NULL, NULL), MUSTER_OK);
    }
    muster__store_close(store);
    execute_aside("PRAGMA foreign_keys = OFF; UPDATE registrations SET id = id * 1000000000000 WHERE id > 5");
    ck_assert_int_eq(stat(in_folder("registrations.db"), &file), 0);
    memset(garbage, 0xa5, sizeof(garbage));
    write_at(file.st_size / 4096 * (_i + 1) / 7 * 4096, garbage, sizeof(garbage));
    store = open_store(&notice);
    ck_assert_ptr_nonnull(notice);
    ck_assert_int_eq(muster__store_each(store, count, &kept, NULL), MUSTER_OK);
    ck_assert_msg(kept > COUNT / 2, "%zu, %s", kept, notice);
    free(notice);
    muster__store_close(store);
}
END_TEST

START_TEST(a_change_that_fails_says_why_and_the_others_are_written)
{
    struct muster__store *store = open_store(NULL);
    struct done good = NOT_DONE, bad = NOT_DONE;
    execute_aside("CREATE TRIGGER no BEFORE INSERT ON registrations WHEN NEW.scope = '/no/'"
                  " BEGIN SELECT RAISE(ABORT, 'not this one'); END");
    struct muster__stored_registration no = bare("/no/"), yes = bare("/yes/");
    ck_assert_int_eq(muster__store_put(store, &no, is_done, &bad), MUSTER_OK);
    ck_assert_int_eq(muster__store_put(store, &yes, is_done, &good), MUSTER_OK);
    ck_assert_int_eq(wait_done(&bad, 1), MUSTER_SYSTEM);
    ck_assert_int_eq(wait_done(&good, 1), MUSTER_OK);
    ck_assert_msg(strstr(bad.why, "not this one") != NULL, "%s", bad.why);
    check_registrations(store, "|/yes/|/sw.js|0|0|0|-|-|-|-\n");
    muster__store_close(store);
}
END_TEST

START_TEST(a_folder_that_cannot_be_written_is_an_error_that_names_it)
{
    struct muster__store *store = NULL;
    struct muster_error error = {0};
    char *notice = NULL;
    ck_assert_int_eq(muster__store_open("/proc/nowhere/state", &store, &notice, &error), MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "/proc/nowhere/state"));
    muster_error_clean_up(&error);
}
END_TEST

static const struct {
    const char *text, *hash;
} hashes[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(texts_are_hashed_as_the_standard_says)
{
    uint8_t hash[MUSTER__STORE_HASH_LENGTH];
    char text[2 * MUSTER__STORE_HASH_LENGTH + 1];
    muster__store_hash((struct muster_bytes){hashes[_i].text, strlen(hashes[_i].text)}, hash);
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    ck_assert_str_eq(text, hashes[_i].hash);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tests = tcase_create("store");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, what_was_told_done_is_there_when_the_store_is_opened_again);
    tcase_add_test(tests, what_waits_is_written_before_the_store_is_closed);
    tcase_add_test(tests, a_registration_that_is_put_again_takes_the_old_ones_place_and_keeps_its_syncs);
    tcase_add_test(tests, what_is_removed_goes_with_its_scripts_and_syncs);
    tcase_add_test(tests, the_same_scope_of_another_storage_key_is_another_registration);
    tcase_add_test(tests, equal_scripts_are_stored_once);
    tcase_add_test(tests, a_change_that_fails_says_why_and_the_others_are_written);
    tcase_add_test(tests, a_folder_has_one_owner);
    tcase_add_test(tests, the_file_is_its_owners_alone);
    tcase_add_test(tests, a_file_of_a_later_version_is_left_alone);
    tcase_add_test(tests, what_is_no_database_is_set_aside_and_a_new_one_begun);
    tcase_add_loop_test(tests, what_can_be_read_of_a_damaged_file_is_kept, 0, 12);
    tcase_add_loop_test(tests, rows_with_absurd_numbers_in_a_damaged_file_are_kept_soon, 0, 6);
    tcase_add_test(tests, a_script_whose_text_was_changed_on_disk_is_not_given_out);
    tcase_add_test(tests, a_folder_that_cannot_be_written_is_an_error_that_names_it);
    tcase_add_loop_test(tests, texts_are_hashed_as_the_standard_says, 0, (int)(sizeof(hashes) / sizeof(*hashes)));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
