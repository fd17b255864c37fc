/* tests/test_script_fetch.c - scripts from wherever their URL says: files, data:, blob:, an embedder's loader, and
 * servers, whose part a few lines in the test's own process play. */
#include "runtime/script_fetch.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/loader_web.h"
#include "runtime/module_graph.h"

/* ---- the server: one connection after the other, each request answered by its path ---- */

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    char seen[8192];
    atomic_bool is_for_service_worker; /* a request said that it is for a service worker's script */
} server;

static const struct {
    const char *path, *answer;
} answers[] = {
    {"/good.js", "HTTP/1.1 200 OK\r\nContent-Type: Text/JavaScript; charset=x\r\nService-Worker-Allowed: /up\r\n"
                 "Content-Length: 9\r\n\r\nlet a = 1"},
    {"/moved.js", "HTTP/1.1 302 Found\r\nLocation: good.js?now\r\nContent-Length: 0\r\n\r\n"},
    {"/plain.js", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nlet a = 1"},
    {"/untyped.js", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nlet a = 1"},
    {"/missing.js", "HTTP/1.1 404 No\r\nContent-Type: text/javascript\r\nContent-Length: 0\r\n\r\n"},
    {"/broken.js", "HTTP/1.1 500 No\r\nContent-Type: text/javascript\r\nContent-Length: 0\r\n\r\n"},
    {"/module.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 9\r\n\r\nexport {}"},
    {"/graph.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 58\r\n\r\n"
                  "import \"./good.js\"; import(\"./late.js\"); export let b = 2;"},
    {"/lost.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 22\r\n\r\n"
                 "import \"./missing.js\";"},
    {"/bare.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 14\r\n\r\nimport \"bare\";"},
    {"/away.js", "HTTP/1.1 302 Found\r\nLocation: http://other.invalid/x.js\r\nContent-Length: 0\r\n\r\n"},
    {"/shared.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nAccess-Control-Allow-Origin: *\r\n"
                   "Content-Length: 9\r\n\r\nlet a = 1"},
    {"/unparsed.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 5\r\n\r\n1 2 3"},
    {"/script.lua", "HTTP/1.1 200 OK\r\nContent-Type: text/x-lua\r\nContent-Length: 8\r\n\r\nreturn 1"},
    {"/odd.js", "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: 7\r\n\r\n\xef\xbb\xbf'\xff';"},
};

static void answer(int fd)
{
    for (;;) {
        ssize_t got = recv(fd, server.seen, sizeof server.seen - 1, 0);
        if (got <= 0)
            return;
        server.seen[got] = '\0';
        if (strstr(server.seen, "\r\nService-Worker: script\r\n"))
            atomic_store(&server.is_for_service_worker, true);
        const char *reply = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
        for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
            if (strncmp(server.seen + 4, answers[i].path, strlen(answers[i].path)) == 0)
                reply = answers[i].answer;
        if (send(fd, reply, strlen(reply), MSG_NOSIGNAL) < 0)
            return;
    }
}

static void *serve(void *unused)
{
    (void)unused;
    for (int fd; (fd = accept(server.fd, NULL, NULL)) >= 0; close(fd))
        answer(fd);
    return NULL;
}

static struct muster__pool *pool;

static void set_up(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    setenv("no_proxy", "*", 1);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(server.fd, 8), 0);
    ck_assert_int_eq(getsockname(server.fd, (struct sockaddr *)&address, &length), 0);
    server.port = ntohs(address.sin_port);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
    const struct muster__pool_options options = {.threads = 1, .name = "test"};
    ck_assert_int_eq(muster__pool_new(&options, &pool), MUSTER_OK);
}

static void tear_down(void)
{
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}

static const char *at(const char *path)
{
    static char urls[4][256];
    static unsigned next;
    char *url = urls[next++ % 4];
    snprintf(url, sizeof urls[0], "http://127.0.0.1:%u%s", server.port, path);
    return url;
}

/* ---- fetching, in both manners ---- */

struct answered {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    enum muster_status status;
    struct muster__fetched_script fetched;
    struct muster_error error;
};

static void told(void *user_data, enum muster_status status, struct muster__fetched_script *fetched,
                 const struct muster_error *error)
{
    struct answered *answered = user_data;
    pthread_mutex_lock(&answered->lock);
    ck_assert(!answered->done);
    answered->done = true;
    answered->status = status;
    answered->fetched = *fetched;
    *fetched = (struct muster__fetched_script){0};
    if (error)
        muster_error_copy(&answered->error, error);
    pthread_cond_signal(&answered->changed);
    pthread_mutex_unlock(&answered->lock);
}

static const struct muster__loader files;
static struct answered got;

/* _i of a loop test: 0 waits, 1 is told. */
static enum muster_status fetch(int manner, struct muster__script_fetch_options options)
{
    memset(&got, 0, sizeof got);
    pthread_mutex_init(&got.lock, NULL);
    pthread_cond_init(&got.changed, NULL);
    options.loader = options.loader ? options.loader : &files;
    options.pool = pool;
    if (manner == 0)
        return got.status = muster__script_fetch_now(&options, &got.fetched, &got.error);
    ck_assert_int_eq(muster__script_fetch(&options, told, &got), MUSTER_OK);
    pthread_mutex_lock(&got.lock);
    while (!got.done)
        pthread_cond_wait(&got.changed, &got.lock);
    pthread_mutex_unlock(&got.lock);
    return got.status;
}

static enum muster_status fetch_url(int manner, const char *url, const char *importer)
{
    return fetch(manner, (struct muster__script_fetch_options){.url = url, .importer = importer});
}

static void forget(void)
{
    muster__fetched_script_clean_up(&got.fetched);
    muster_error_clean_up(&got.error);
}

static void must_be(const char *url, const char *text)
{
    ck_assert_msg(got.status == MUSTER_OK, "%s", got.error.message);
    ck_assert_str_eq(got.fetched.script->url, url);
    ck_assert_str_eq(got.fetched.script->text, text);
    ck_assert_ptr_null(got.error.message);
    forget();
}

static void must_fail(enum muster_status status, const char *part)
{
    ck_assert_msg(got.status == status, "%s: %s", muster_status_name(got.status), got.error.message);
    ck_assert_int_eq(got.error.status, status);
    ck_assert_msg(strstr(got.error.message, part) != NULL, "\"%s\" is not in \"%s\"", part, got.error.message);
    ck_assert_ptr_null(got.fetched.script);
    forget();
}

START_TEST(a_server_gives_a_script_and_what_it_says_of_it)
{
    const struct muster_header headers[] = {{{"Service-Worker", 14}, {"script", 6}}};
    fetch(_i, (struct muster__script_fetch_options){.url = at("/good.js"), .headers = headers, .header_count = 1});
    ck_assert_msg(got.status == MUSTER_OK, "%s", got.error.message);
    ck_assert_int_eq(got.fetched.status, 200);
    ck_assert_str_eq(got.fetched.content_type, "Text/JavaScript; charset=x");
    ck_assert_str_eq(got.fetched.service_worker_allowed, "/up");
    ck_assert(atomic_load(&server.is_for_service_worker));
    must_be(at("/good.js"), "let a = 1");
    fetch_url(_i, at("/odd.js"), NULL);
    must_be(at("/odd.js"), "'\xef\xbf\xbd';");
    fetch_url(_i, at("/script.lua"), NULL);
    must_be(at("/script.lua"), "return 1");
}
END_TEST

START_TEST(a_redirect_is_followed_unless_it_is_refused)
{
    fetch_url(_i, at("/moved.js"), NULL);
    must_be(at("/good.js?now"), "let a = 1");
    fetch(_i, (struct muster__script_fetch_options){.url = at("/moved.js"), .refuse_redirects = true});
    must_fail(MUSTER_LOAD_FAILED, "redirected");
}
END_TEST

START_TEST(what_is_no_script_is_refused)
{
    fetch_url(_i, at("/plain.js"), NULL);
    ck_assert_str_eq(got.error.name, "SecurityError");
    must_fail(MUSTER_LOAD_FAILED, "\"text/plain\", is not that of JavaScript");
    fetch_url(_i, at("/untyped.js"), NULL);
    must_fail(MUSTER_LOAD_FAILED, "is not that of JavaScript");
    fetch_url(_i, at("/missing.js"), NULL);
    must_fail(MUSTER_NOT_FOUND, "answered 404");
    fetch_url(_i, at("/broken.js"), NULL);
    must_fail(MUSTER_LOAD_FAILED, "answered 500");
    fetch_url(_i, "http://127.0.0.1:1/x.js", NULL);
    must_fail(MUSTER_LOAD_FAILED, "cannot fetch http://127.0.0.1:1/x.js");
    fetch_url(_i, "http://[/", NULL);
    must_fail(MUSTER_LOAD_FAILED, "cannot fetch http://[/");
}
END_TEST

START_TEST(a_workers_own_script_stays_on_its_origin)
{
    fetch_url(_i, at("/away.js"), NULL);
    must_fail(MUSTER_LOAD_FAILED, "redirected to another origin");
    fetch_url(_i, at("/away.js"), at("/good.js")); /* what it imports may come from anywhere that there is */
    must_fail(MUSTER_LOAD_FAILED, "cannot fetch http://other.invalid/x.js");
}
END_TEST

static void fetch_module(int manner, const char *url)
{
    static const struct muster__loader modules = {.module = true};
    fetch(manner, (struct muster__script_fetch_options){.loader = &modules, .url = url});
}

START_TEST(a_module_from_a_server_brings_what_it_imports)
{
    fetch_module(_i, at("/graph.js"));
    ck_assert_msg(got.status == MUSTER_OK, "%s", got.error.message);
    ck_assert(got.fetched.script->is_module);
    ck_assert_str_eq(got.fetched.script->url, at("/graph.js"));
    const char *text = got.fetched.script->text;
    ck_assert_ptr_eq(strstr(text, "__muster_modules="), text);
    ck_assert_ptr_nonnull(strstr(text, at("/good.js")));
    ck_assert_ptr_nonnull(strstr(text, "var a = 1"));
    ck_assert_ptr_null(strstr(text, at("/late.js"))); /* that is asked for when it is imported */
    ck_assert_ptr_nonnull(strstr(text, "__muster_import((("));
    forget();
}
END_TEST

START_TEST(a_module_is_refused_with_what_it_imports)
{
    fetch_module(_i, at("/lost.js"));
    must_fail(MUSTER_NOT_FOUND, "missing.js\": the server answered 404");
    fetch_module(_i, at("/bare.js"));
    must_fail(MUSTER_LOAD_FAILED, "cannot import \"bare\"");
    fetch_module(_i, at("/unparsed.js"));
    ck_assert_str_eq(got.error.name, "SyntaxError");
    ck_assert_str_eq(got.error.file, at("/unparsed.js"));
    must_fail(MUSTER_SYNTAX_ERROR, "Expected \";\"");
}
END_TEST

START_TEST(a_module_that_is_imported_later_comes_with_its_own_imports)
{
    char url[300];
    snprintf(url, sizeof url, MUSTER__MODULE_MARK "%s", at("/graph.js"));
    fetch_url(_i, url, at("/good.js"));
    ck_assert_msg(got.status == MUSTER_OK, "%s", got.error.message);
    ck_assert_ptr_nonnull(strstr(got.fetched.script->text, at("/good.js")));
    forget();
    snprintf(url, sizeof url, MUSTER__MODULE_MARK "%s", at("/good.js"));
    fetch_url(_i, url, "http://other.invalid/app.js");
    must_fail(MUSTER_LOAD_FAILED, "does not share it with this origin");
    fetch_url(_i, url, "data:text/javascript,");
    must_fail(MUSTER_LOAD_FAILED, "does not share it with this origin");
    snprintf(url, sizeof url, MUSTER__MODULE_MARK "%s", at("/shared.js"));
    fetch_url(_i, url, "http://other.invalid/app.js");
    ck_assert_int_eq(got.status, MUSTER_OK);
    forget();
    fetch_url(_i, MUSTER__MODULE_MARK "file:///srv/a.js", at("/good.js"));
    must_fail(MUSTER_LOAD_FAILED, "only modules from the web");
}
END_TEST

START_TEST(an_import_is_seen_from_its_importer)
{
    fetch_url(_i, "../good.js", at("/dir/app.js"));
    must_be(at("/good.js"), "let a = 1");
    fetch_url(_i, at("/good.js"), "http://other.invalid/app.js");
    must_be(at("/good.js"), "let a = 1");
    fetch_url(_i, at("/good.js"), "file:///srv/app.js");
    must_fail(MUSTER_LOAD_FAILED, "imports nothing from the network");
    fetch_url(_i, "file:///etc/passwd", at("/app.js"));
    must_fail(MUSTER_LOAD_FAILED, "imports no files");
    fetch_url(_i, "/etc/passwd", "data:,x");
    must_fail(MUSTER_LOAD_FAILED, "cannot load \"/etc/passwd\"");
    fetch_url(_i, "/etc/passwd", "blob:null/x");
    must_fail(MUSTER_LOAD_FAILED, "cannot load \"/etc/passwd\"");
    fetch_url(_i, "nothing:x", at("/app.js"));
    must_fail(MUSTER_LOAD_FAILED, "no URL that can be loaded");
}
END_TEST

START_TEST(a_data_url_is_a_script)
{
    fetch_url(_i, "data:text/javascript,let%20a=1//%ff", NULL);
    must_be("data:text/javascript,let%20a=1//%ff", "let a=1//\xef\xbf\xbd");
    fetch_url(_i, "data:;base64,bGV0IGE=#part", "file:///srv/app.js");
    must_be("data:;base64,bGV0IGE=#part", "let a");
    fetch_url(_i, "data:;base64,*", NULL);
    must_fail(MUSTER_LOAD_FAILED, "no valid data: URL");
    fetch_url(_i, "data:text/javascript", NULL);
    must_fail(MUSTER_LOAD_FAILED, "no valid data: URL");
}
END_TEST

START_TEST(a_blob_url_is_a_script_until_it_is_removed)
{
    ck_assert_int_eq(muster__blob_add("blob:null/1", (struct muster_bytes){"let b", 5}, "x/y"), MUSTER_OK);
    ck_assert_int_eq(muster__blob_add("blob:null/1", (struct muster_bytes){"", 0}, ""), MUSTER_EXISTS);
    fetch_url(_i, "blob:null/1#part", NULL);
    must_be("blob:null/1#part", "let b");
    const struct muster__blob *held = muster__blob_find("blob:null/1");
    muster__blob_remove("blob:null/1");
    muster__blob_remove("blob:null/1");
    ck_assert_str_eq(held->type, "x/y");
    ck_assert_uint_eq(held->bytes.length, 5);
    muster__blob_release(held);
    fetch_url(_i, "blob:null/1", NULL);
    must_fail(MUSTER_LOAD_FAILED, "no such blob");
}
END_TEST

START_TEST(data_urls_say_their_type_and_bytes)
{
    static const struct {
        const char *url, *type, *bytes;
        size_t length;
    } cases[] = {
        {"data:,", "", "", 0},
        {"DATA:a/b;c=d,x%2", "a/b;c=d", "x%2", 3},
        {"data: a/b ; BASE64,  YW Jj ", "a/b ", "abc", 3},
        {"data:a/b;base64,YWI", "a/b", "ab", 2},
        {"data:a/b;base64,YQ%3D%3D", "a/b", "a", 1},
        {"data:base64,YQ==", "base64", "YQ==", 4},
        {"data:a,b,c#d,e", "a", "b,c", 3},
        {"data:a,%00b", "a", "\0b", 2},
    };
    enum muster_status status = MUSTER_OK;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct muster__blob *blob = muster__data_url_read(cases[i].url, &status);
        ck_assert_msg(blob != NULL, "%s", cases[i].url);
        ck_assert_str_eq(blob->type, cases[i].type);
        ck_assert_uint_eq(blob->bytes.length, cases[i].length);
        ck_assert_mem_eq(blob->bytes.data, cases[i].bytes, cases[i].length);
        muster__blob_release(blob);
    }
    static const char *const bad[] = {"data:x", "data:;base64,a", "data:;base64,ab=", "data:;base64,a=b=", "dat:,"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(muster__data_url_read(bad[i], &status) == NULL && status == MUSTER_INVALID_ARGUMENT, "%s", bad[i]);
}
END_TEST

static enum muster_status load_by_hand(const char *url, const char *importer, struct muster_loaded *loaded,
                                       struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)error;
    (void)user_data;
    loaded->text = muster__format("/* %s */", url);
    loaded->length = loaded->text ? strlen(loaded->text) : 0;
    return loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

START_TEST(an_embedders_loader_is_asked_for_all_but_data_and_blobs)
{
    static const struct muster__loader own = {.load = load_by_hand};
    fetch(_i, (struct muster__script_fetch_options){.loader = &own, .url = "http://a.test/x", .importer = "app:y"});
    must_be("http://a.test/x", "/* http://a.test/x */");
    fetch(_i, (struct muster__script_fetch_options){.loader = &own, .url = "rel", .importer = "http://a.test/x"});
    must_be("rel", "/* rel */");
    fetch(_i, (struct muster__script_fetch_options){.loader = &own, .url = "data:,x"});
    must_be("data:,x", "x");
}
END_TEST

START_TEST(a_file_comes_by_the_pool)
{
    char path[] = "/tmp/test_script_fetch_XXXXXX", url[64];
    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, "let f", 5), 5);
    close(fd);
    snprintf(url, sizeof url, "file://%s", path);
    fetch_url(_i, url, NULL);
    must_be(url, "let f");
    unlink(path);
    fetch_url(_i, url, NULL);
    must_fail(MUSTER_NOT_FOUND, "cannot read script");
}
END_TEST

START_TEST(a_type_is_javascripts_by_its_essence)
{
    ck_assert(muster__is_javascript_type("text/javascript"));
    ck_assert(muster__is_javascript_type(" Application/JavaScript ;x=y"));
    ck_assert(muster__is_javascript_type("text/jscript"));
    ck_assert(!muster__is_javascript_type("text/javascript2"));
    ck_assert(!muster__is_javascript_type("text/plain;text/javascript"));
    ck_assert(!muster__is_javascript_type(""));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("script_fetch");
    TCase *both = tcase_create("both manners");
    tcase_add_checked_fixture(both, set_up, tear_down);
    tcase_add_loop_test(both, a_server_gives_a_script_and_what_it_says_of_it, 0, 2);
    tcase_add_loop_test(both, a_redirect_is_followed_unless_it_is_refused, 0, 2);
    tcase_add_loop_test(both, what_is_no_script_is_refused, 0, 2);
    tcase_add_loop_test(both, a_workers_own_script_stays_on_its_origin, 0, 2);
    tcase_add_loop_test(both, a_module_from_a_server_brings_what_it_imports, 0, 2);
    tcase_add_loop_test(both, a_module_is_refused_with_what_it_imports, 0, 2);
    tcase_add_loop_test(both, a_module_that_is_imported_later_comes_with_its_own_imports, 0, 2);
    tcase_add_loop_test(both, an_import_is_seen_from_its_importer, 0, 2);
    tcase_add_loop_test(both, a_data_url_is_a_script, 0, 2);
    tcase_add_loop_test(both, a_blob_url_is_a_script_until_it_is_removed, 0, 2);
    tcase_add_loop_test(both, an_embedders_loader_is_asked_for_all_but_data_and_blobs, 0, 2);
    tcase_add_loop_test(both, a_file_comes_by_the_pool, 0, 2);
    suite_add_tcase(suite, both);
    TCase *parts = tcase_create("parts");
    tcase_add_test(parts, data_urls_say_their_type_and_bytes);
    tcase_add_test(parts, a_type_is_javascripts_by_its_essence);
    suite_add_tcase(suite, parts);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
