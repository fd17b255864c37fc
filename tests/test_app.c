/* tests/test_app.c - applications as they are read: muster.json, its mistakes with their lines, and the
 * command's log and state folder.  Each test has a folder of its own. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/app_json.h"
#include "cli/log.h"
#include "cli/state_folder.h"
#include "runtime/check.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static char folder[256];
static struct muster__app app;
static struct muster_error error;

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "%s/muster-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    MUSTER_CHECK(mkdtemp(folder));
    char *real = realpath(folder, NULL);
    MUSTER_CHECK(real);
    snprintf(folder, sizeof(folder), "%s", real);
    free(real);
}

static void tear_down(void)
{
    muster__app_clean_up(&app);
    muster__app_clean_up(&app);
    muster_error_clean_up(&error);
    char command[320];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    MUSTER_CHECK(system(command) == 0);
}

static const char *in_folder(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    MUSTER_CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static enum muster_status load(const char *json)
{
    if (json)
        write_file("muster.json", json);
    return muster__app_load(folder, &app, &error);
}

/* ---- good ones ---- */

START_TEST(a_script_is_an_application_with_the_scope_of_everything)
{
    write_file("sub/worker.js", "");
    ck_assert_int_eq(muster__app_load(in_folder("sub/../sub/worker.js"), &app, &error), MUSTER_OK);
    ck_assert_uint_eq(app.count, 1);
    ck_assert_str_eq(app.scopes[0].scope, "/");
    ck_assert_str_eq(app.root, in_folder("sub"));
    ck_assert_str_eq(app.scopes[0].script, in_folder("sub/worker.js"));
    ck_assert_ptr_null(app.scopes[0].engine);
    ck_assert(!app.scopes[0].module);
}
END_TEST

START_TEST(typescript_is_a_module_by_its_ending)
{
    write_file("worker.ts", "");
    ck_assert_int_eq(muster__app_load(in_folder("worker.ts"), &app, &error), MUSTER_OK);
    ck_assert(app.scopes[0].module);
}
END_TEST

START_TEST(every_key_arrives_where_it_belongs)
{
    write_file("api/worker.lua", "");
    write_file("site.js", "");
    ck_assert_int_eq(
        load("{\"scopes\": [\n"
             " {\"scope\": \"/\", \"script\": \"site.js\", \"type\": \"module\", \"lazy\": true},\n"
             " {\"scope\": \"/api/v1/\", \"script\": \"api/worker.lua\", \"engine\": \"lua\", \"trust\": \"full\",\n"
             "  \"isolation\": \"process-per-site\", \"tenant\": \"us\", \"idempotent\": true,"
             "  \"limits\": {\"turn\": \"10s\", \"memory\": \"64m\", \"queue\": 9, \"idle\": \"300ms\", \"process_memory\": \"128m\",\n"
             "             \"process_files\": 64, \"process_children\": 3, \"process_cpu\": \"90s\"}}],\n"
             " \"idle_timeout\": \"1m\", \"grace_timeout\": \"2s\", \"event_timeout\": \"3s\", \"body_limit\": 512,\n"
             " \"placement\": \"affinity\", \"processes\": 3, \"fresh_processes\": true,\n"
             " \"process_memory\": \"1m\", \"process_files\": 100,\n"
             " \"process_children\": 8, \"process_cpu\": \"1m\",\n"
             " \"worker_limit\": 5, \"registration_limit\": 6, \"stored_limit\": \"7k\", \"port_limit\": 9, \"cache_limit\": \"8k\"}"),
        MUSTER_OK);
    ck_assert_uint_eq(app.count, 2);
    ck_assert(app.scopes[0].module && app.scopes[0].lazy && app.scopes[0].trust == MUSTER_TRUST_SCRIPT);
    ck_assert_int_eq(app.scopes[0].line, 2);
    const struct muster__app_scope *api = &app.scopes[1];
    ck_assert_str_eq(api->scope, "/api/v1/");
    ck_assert_str_eq(api->script, in_folder("api/worker.lua"));
    ck_assert_str_eq(api->engine, "lua");
    ck_assert(api->trust == MUSTER_TRUST_FULL && !api->lazy && !api->module);
    ck_assert(api->hosting == MUSTER_HOSTING_PROCESS_PER_SITE && api->idempotent);
    ck_assert_str_eq(api->tenant, "us");
    ck_assert(app.scopes[0].hosting == MUSTER_HOSTING_DEFAULT && !app.scopes[0].tenant);
    ck_assert_uint_eq(api->turn_limit_ms, 10000);
    ck_assert_uint_eq(api->idle_ms, 300);
    ck_assert_uint_eq(api->memory_limit, 64 << 20);
    ck_assert_uint_eq(api->queue_limit, 9);
    ck_assert_uint_eq(api->process.memory, 128 << 20);
    ck_assert_uint_eq(api->process.files, 64);
    ck_assert_uint_eq(api->process.children, 3);
    ck_assert_uint_eq(api->process.cpu_ms, 90000);
    ck_assert_uint_eq(app.processes, 3);
    ck_assert(app.fresh_processes);
    ck_assert_uint_eq(app.process.memory, 1 << 20);
    ck_assert_uint_eq(app.process.files, 100);
    ck_assert_uint_eq(app.process.children, 8);
    ck_assert_uint_eq(app.process.cpu_ms, 60000);
    ck_assert_uint_eq(app.each_key.workers, 5);
    ck_assert_uint_eq(app.each_key.registrations, 6);
    ck_assert_uint_eq(app.each_key.stored, 7 << 10);
    ck_assert_uint_eq(app.each_key.cached, 8 << 10);
    ck_assert_uint_eq(app.each_key.ports, 9);
    ck_assert_int_eq(api->line, 3);
    ck_assert_uint_eq(app.idle_ms, 60000);
    ck_assert_uint_eq(app.grace_ms, 2000);
    ck_assert_uint_eq(app.event_timeout_ms, 3000);
    ck_assert_uint_eq(app.body_limit, 512);
    ck_assert_str_eq(app.placement, "affinity");
}
END_TEST

START_TEST(allow_scope_widens_what_a_script_may_control)
{
    write_file("api/worker.js", "");
    ck_assert_int_eq(load("{\"scopes\": [{\"scope\": \"/\", \"script\": \"api/worker.js\", \"allow_scope\": \"/\"}]}"),
                     MUSTER_OK);
}
END_TEST

START_TEST(a_scope_may_name_an_origin)
{
    write_file("api/worker.js", "");
    ck_assert_int_eq(
        load("{\"scopes\": [{\"scope\": \"https://example.org/api/x\", \"script\": \"api/worker.js\"}]}"), MUSTER_OK);
}
END_TEST

START_TEST(ten_thousand_scopes_are_read_at_once)
{
    write_file("w.js", "");
    const size_t count = 10000, size = 64;
    char *json = malloc(count * size + 64), *at = json;
    ck_assert_ptr_nonnull(json);
    at += sprintf(at, "{\"scopes\": [");
    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "%s\n{\"scope\": \"/s%zu/\", \"script\": \"w.js\"}", i ? "," : "", i);
    sprintf(at, "]}");
    ck_assert_int_eq(load(json), MUSTER_OK);
    free(json);
    ck_assert_uint_eq(app.count, count);
    ck_assert_int_eq(app.scopes[count - 1].line, (int)count + 1);
}
END_TEST

/* ---- mistakes ---- */

#define ONE(rest) "{\n\"scopes\": [\n{\"scope\": \"/\",\n\"script\": \"w.js\"" rest "}]}"

static const struct mistake {
    const char *json, *message; /* behind "FOLDER/muster.json:" */
} mistakes[] = {
    {"{\n \"scopes\": [,]}", "2:"},
    {"{\"scopes\": []", "1:"},
    {"", "1:"},
    {"[]", "1: an application must be an object, not an array"},
    {"{\"scopes\": 1, \"scopes\": 2}", "1:"},
    {"{}", "1: an application needs at least one scope in \"scopes\""},
    {"{\n\"scopes\": []}", "2: an application needs at least one scope in \"scopes\""},
    {"{\n\"scopes\": {}}", "2: \"scopes\" wants an array, not an object"},
    {"{\n\"scope\": []}", "2: unknown key \"scope\"; did you mean \"scopes\"?"},
    {"{\n\n\"zzzzzzzzz\": []}", "3: unknown key \"zzzzzzzzz\""},
    {"{\"scopes\": [\n7]}", "2: a scope must be an object, not an integer"},
    {"{\"scopes\": [\n{\"scope\": \"/\"}]}", "2: a scope needs \"scope\" and \"script\"; \"script\" is missing"},
    {ONE(",\n\"scirpt\": 1"), "5: unknown key \"scirpt\"; did you mean \"script\"?"},
    {ONE(",\n\"limits\": {\n\"memry\": \"1m\"}"), "6: unknown key \"memry\"; did you mean \"memory\"?"},
    {ONE(",\n\"limits\": 5"), "5: \"limits\" must be an object, not an integer"},
    {ONE(",\n\"limits\": {\"turn\": 5}"), "5: \"turn\" wants a time like \"300ms\", \"30s\" or \"5m\", not an integer"},
    {ONE(",\n\"limits\": {\"turn\": \"5\"}"), "5: \"turn\" wants a time like \"300ms\", \"30s\" or \"5m\", not \"5\""},
    {ONE(",\n\"limits\": {\"queue\": 0}"), "5: \"queue\" wants an integer from 1 to 1000000, not an integer"},
    {ONE(",\n\"limits\": {\"process_files\": 63}"), "5: \"process_files\" wants an integer from 64 to 1000000, not an integer"},
    {ONE(",\n\"limits\": {\"queue\": 1.5}"), "5: \"queue\" wants an integer from 1 to 1000000, not a number"},
    {ONE(",\n\"limits\": {\"memory\": -1}"), "5: \"memory\" wants a size"},
    {ONE(",\n\"lazy\": \"yes\""), "5: \"lazy\" wants true or false, not \"yes\""},
    {ONE(",\n\"type\": \"modul\""), "5: \"type\" wants \"classic\" or \"module\", not \"modul\""},
    {ONE(",\n\"trust\": null"), "5: \"trust\" wants \"script\", \"full\" or \"none\", not null"},
    {ONE(",\n\"engine\": \"jvascript\""), "5: unknown engine \"jvascript\"; did you mean \"javascript\"?"},
    {ONE(",\n\"engine\": \"v8\""), "5: unknown engine \"v8\""},
    {"{\"scopes\": [{\"scope\": \"/\",\n\"script\": \"no.js\"}]}", "2: there is no script \"no.js\""},
    {"{\"scopes\": [{\"scope\": \"/\",\n\"script\": \"sub\"}]}", "2: script \"sub\" is not a regular file"},
    {"{\"scopes\": [{\"scope\": \"/\",\n\"script\": \"../w.js\"}]}",
     "2: script \"../w.js\" lies outside the application's folder"},
    {"{\"scopes\": [{\"scope\": \"/\",\n\"script\": \"/etc/passwd\"}]}",
     "2: script \"/etc/passwd\" lies outside the application's folder"},
    {"{\"scopes\": [{\"scope\": \"/\",\n\"script\": \"out.js\"}]}",
     "2: script \"out.js\" lies outside the application's folder"},
    {"{\"scopes\": [{\"script\": \"sub/w.js\",\n\"scope\": \"/\"}]}",
     "2: scope \"/\" lies outside its script's folder \"/sub/\""},
    {"{\"scopes\": [{\"script\": \"sub/w.js\",\n\"scope\": \"/sub\"}]}",
     "2: scope \"/sub\" lies outside its script's folder \"/sub/\""},
    {"{\"scopes\": [{\"script\": \"sub/w.js\",\n\"scope\": \"/sub/../x/\"}]}",
     "2: \"/sub/../x/\" is no usable scope: it has a \".\" or \"..\" in it"},
    {"{\"scopes\": [{\"script\": \"sub/w.js\",\n\"scope\": \"/sub/%2e%2e/\"}]}", "2: \"/sub/%2e%2e/\" is no usable scope"},
    {"{\"scopes\": [{\"script\": \"w.js\",\n\"scope\": \"api/\"}]}", "2: \"api/\" is no usable scope"},
    {"{\"scopes\": [{\"script\": \"w.js\",\n\"scope\": \"https:///x\"}]}", "2: \"https:///x\" is no usable scope"},
    {"{\"scopes\": [{\"script\": \"w.js\",\n\"scope\": \"/?a\"}]}", "2: \"/?a\" is no usable scope: it has a query"},
    {"{\"scopes\": [{\"script\": \"w.js\",\n\"scope\": \"\"}]}", "2: \"scope\" wants a string that is not empty"},
    {"{\"scopes\": [{\"script\": \"sub/w.js\", \"allow_scope\": \"/sub/\",\n\"scope\": \"/other/\"}]}",
     "2: scope \"/other/\" lies outside \"/sub/\", which \"allow_scope\" gives it"},
    {"{\"scopes\": [{\"scope\": \"/a\", \"script\": \"w.js\"},\n{\"scope\": \"/\", \"script\": \"w.js\"},\n"
     "{\"scope\": \"/a\", \"script\": \"w.js\"}]}",
     "3: scope \"/a\" is already taken in line 1"},
    {ONE("") "x", "4:"},
};

START_TEST(each_mistake_has_its_sentence_and_its_line)
{
    write_file("w.js", "");
    write_file("sub/w.js", "");
    ck_assert_int_eq(symlink("/etc/passwd", in_folder("out.js")), 0);
    ck_assert_int_ne(load(mistakes[_i].json), MUSTER_OK);
    char expected[512];
    snprintf(expected, sizeof(expected), "%s/muster.json:%s", folder, mistakes[_i].message);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_msg(strncmp(error.message, expected, strlen(expected)) == 0, "expected %s\nbut got  %s", expected,
                  error.message);
    ck_assert_ptr_null(strchr(error.message, '\n'));
    ck_assert_ptr_null(app.root);
}
END_TEST

START_TEST(a_syntax_error_has_line_and_column)
{
    ck_assert_int_eq(load("{\n  \"scopes\": [1 2]}"), MUSTER_SYNTAX_ERROR);
    int line = 0, column = 0;
    ck_assert_int_eq(sscanf(error.message + strlen(in_folder("muster.json")), ":%d:%d: not JSON: ", &line, &column), 2);
    ck_assert_int_eq(line, 2);
    ck_assert_int_ge(column, 14);
}
END_TEST

START_TEST(a_folder_without_muster_json_is_told_so)
{
    ck_assert_int_eq(load(NULL), MUSTER_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "there is no muster.json in this folder"));
    ck_assert_ptr_nonnull(strstr(error.message, folder));
}
END_TEST

START_TEST(what_does_not_exist_is_told_so)
{
    ck_assert_int_eq(muster__app_load(in_folder("no.js"), &app, &error), MUSTER_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "no.js: there is no such script or folder"));
}
END_TEST

START_TEST(a_device_is_neither_a_script_nor_a_folder)
{
    ck_assert_int_eq(muster__app_load("/dev/null", &app, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_str_eq(error.message, "/dev/null: neither a script nor a folder");
}
END_TEST

/* ---- lines of JSON ---- */

START_TEST(lines_are_those_of_the_keys_whatever_stands_in_the_strings)
{
    static const char text[] = "{ \"a\\\"{[\" : \"\\n\\\\\",\n\n\"b\":[1,\n{\"c\"\n:\n2}, true],\r\n\"d\":null}";
    struct muster__app_json json;
    ck_assert_int_eq(muster__app_json_parse("x", text, strlen(text), &json, &error), MUSTER_OK);
    ck_assert_int_eq(muster__app_json_get(&json, "a\"{[")->line, 1);
    const struct muster__app_json *b = muster__app_json_get(&json, "b");
    ck_assert_int_eq(b->line, 3);
    ck_assert_uint_eq(b->count, 3);
    ck_assert_int_eq(b->items[0].line, 3);
    ck_assert_int_eq(b->items[1].line, 4);
    ck_assert_int_eq(muster__app_json_get(&b->items[1], "c")->line, 4);
    ck_assert_int_eq(b->items[2].line, 6);
    ck_assert_int_eq(muster__app_json_get(&json, "d")->line, 7);
    ck_assert_ptr_null(muster__app_json_get(&json, "e"));
    muster__app_json_clean_up(&json);
    muster__app_json_clean_up(&json);
}
END_TEST

/* ---- the log ---- */

static const char *format(enum muster_log_level level, const char *subject, const char *text, size_t length)
{
    static char line[512];
    static const struct muster__log plain = {.level = MUSTER_LOG_DEBUG};
    size_t size = 0;
    char *made = muster__log_format(&plain, 1700000000123, level, subject, (struct muster_bytes){text, length}, &size);
    ck_assert_ptr_nonnull(made);
    snprintf(line, sizeof(line), "%.*s", (int)size, made);
    free(made);
    return line;
}

START_TEST(a_message_is_a_line_with_time_level_and_subject)
{
    ck_assert_str_eq(format(MUSTER_LOG_WARNING, "/api/", "slow", 4),
                     "2023-11-14T22:13:20.123Z warning /api/: slow\n");
    ck_assert_str_eq(format(MUSTER_LOG_INFO, NULL, "slow\n\n", 6), "2023-11-14T22:13:20.123Z info: slow\n");
}
END_TEST

START_TEST(control_characters_are_escaped_and_later_lines_indented)
{
    ck_assert_str_eq(format(MUSTER_LOG_INFO, "/", "a\x1b[2Jb\r\0c\t\x7f\xc2\x9b\xc3\xa4\n2023 error", 26),
                     "2023-11-14T22:13:20.123Z info /: a\\x1b[2Jb\\x0d\\x00c\t\\x7f\\x9b\xc3\xa4\n    2023 error\n");
}
END_TEST

START_TEST(what_is_less_important_than_the_level_and_what_is_quiet_is_not_written)
{
    struct muster__log log;
    int ends[2];
    char read_back[256] = "";
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    muster__log_init(&log, MUSTER_LOG_WARNING);
    log.fd = ends[1];
    muster__log_write(MUSTER_LOG_INFO, "x", "unheard", &log);
    atomic_store(&log.is_quiet, true);
    muster__log_write(MUSTER_LOG_ERROR, "x", "unheard", &log);
    muster__log_console("/s/", MUSTER_LOG_ERROR, (struct muster_bytes){"heard!", 5}, &log);
    ck_assert_int_gt((int)read(ends[0], read_back, sizeof(read_back) - 1), 0);
    ck_assert_ptr_nonnull(strstr(read_back, "error /s/: heard\n"));
    ck_assert_ptr_null(strstr(read_back, "unheard"));
    muster__log_clean_up(&log);
    muster__log_clean_up(&log);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- the state folder ---- */

static struct muster__state_folder state;

static void open_state(void)
{
    enum muster_status status = muster__state_folder_open(in_folder("state"), &state, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message ? error.message : "");
}

static char rows[512];

static void add_row(const struct muster__state_folder_entry *entry, void *user_data)
{
    (void)user_data;
    size_t length = strlen(rows);
    snprintf(rows + length, sizeof(rows) - length, "%s %s %s %d-%d;", entry->scope, entry->script, entry->engine,
             (int)entry->first_served_ms, (int)entry->last_served_ms);
}

static const char *all_rows(void)
{
    rows[0] = '\0';
    ck_assert_int_eq(muster__state_folder_each(&state, add_row, NULL, &error), MUSTER_OK);
    return rows;
}

START_TEST(what_was_recorded_is_there_after_a_restart)
{
    open_state();
    ck_assert_int_eq(muster__state_folder_record(&state, "/b/", "b.lua", "lua", 5, &error), MUSTER_OK);
    ck_assert_int_eq(muster__state_folder_record(&state, "/a/", "a.js", NULL, 6, &error), MUSTER_OK);
    muster__state_folder_close(&state);
    muster__state_folder_close(&state);
    open_state();
    ck_assert_int_eq(muster__state_folder_record(&state, "/b/", "c.lua", "lua", 9, &error), MUSTER_OK);
    ck_assert_str_eq(all_rows(), "/a/ a.js  6-6;/b/ c.lua lua 5-9;");
    struct stat info;
    ck_assert_int_eq(stat(in_folder("state"), &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0700);
    muster__state_folder_close(&state);
}
END_TEST

START_TEST(two_servers_cannot_share_a_state_folder)
{
    open_state();
    struct muster__state_folder second = {0};
    ck_assert_int_eq(muster__state_folder_open(in_folder("state"), &second, &error), MUSTER_EXISTS);
    char expected[600];
    snprintf(expected, sizeof(expected), "state folder %s is in use by process %ld", in_folder("state"),
             (long)getpid());
    ck_assert_str_eq(error.message, expected);
    muster__state_folder_close(&second);
    muster__state_folder_close(&state);
    open_state();
    muster__state_folder_close(&state);
}
END_TEST

START_TEST(a_folder_that_cannot_be_made_is_one_sentence)
{
    write_file("file", "");
    ck_assert_int_eq(muster__state_folder_open(in_folder("file/state"), &state, &error), MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "file/state cannot be made: Not a directory"));
    ck_assert_int_eq(muster__state_folder_open(in_folder("file"), &state, &error), MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "cannot be used: Not a directory"));
    ck_assert(!state.is_open);
}
END_TEST

START_TEST(a_folder_that_cannot_be_written_is_one_sentence)
{
    ck_assert_int_eq(muster__state_folder_open("/proc/self", &state, &error), MUSTER_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "state folder /proc/self cannot be written: "));
}
END_TEST

START_TEST(a_damaged_database_is_set_aside)
{
    for (int round = 1; round <= 2; round++) {
        char expected[64];
        write_file("state/muster.db", "this is no database, though it is long enough to be looked at as one");
        open_state();
        snprintf(expected, sizeof(expected), "muster.db.damaged-%d", round);
        ck_assert_ptr_nonnull(state.notice);
        ck_assert_ptr_nonnull(strstr(state.notice, expected));
        ck_assert_str_eq(all_rows(), "");
        ck_assert_int_eq(muster__state_folder_record(&state, "/", "a.js", NULL, 1, &error), MUSTER_OK);
        muster__state_folder_close(&state);
        snprintf(expected, sizeof(expected), "state/muster.db.damaged-%d", round);
        ck_assert_int_eq(access(in_folder(expected), F_OK), 0);
    }
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("app");
    TCase *good = add_case(suite, "good");
    tcase_add_test(good, a_script_is_an_application_with_the_scope_of_everything);
    tcase_add_test(good, typescript_is_a_module_by_its_ending);
    tcase_add_test(good, every_key_arrives_where_it_belongs);
    tcase_add_test(good, allow_scope_widens_what_a_script_may_control);
    tcase_add_test(good, a_scope_may_name_an_origin);
    tcase_add_test(good, ten_thousand_scopes_are_read_at_once);
    TCase *bad = add_case(suite, "mistakes");
    tcase_add_loop_test(bad, each_mistake_has_its_sentence_and_its_line, 0, COUNT(mistakes));
    tcase_add_test(bad, a_syntax_error_has_line_and_column);
    tcase_add_test(bad, a_folder_without_muster_json_is_told_so);
    tcase_add_test(bad, what_does_not_exist_is_told_so);
    tcase_add_test(bad, a_device_is_neither_a_script_nor_a_folder);
    TCase *json = add_case(suite, "json");
    tcase_add_test(json, lines_are_those_of_the_keys_whatever_stands_in_the_strings);
    TCase *log = add_case(suite, "log");
    tcase_add_test(log, a_message_is_a_line_with_time_level_and_subject);
    tcase_add_test(log, control_characters_are_escaped_and_later_lines_indented);
    tcase_add_test(log, what_is_less_important_than_the_level_and_what_is_quiet_is_not_written);
    TCase *folders = add_case(suite, "state folder");
    tcase_add_test(folders, what_was_recorded_is_there_after_a_restart);
    tcase_add_test(folders, two_servers_cannot_share_a_state_folder);
    tcase_add_test(folders, a_folder_that_cannot_be_made_is_one_sentence);
    tcase_add_test(folders, a_folder_that_cannot_be_written_is_one_sentence);
    tcase_add_test(folders, a_damaged_database_is_set_aside);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
