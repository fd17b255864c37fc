/* tests/test_loader.c - scripts from files and from an embedder's loader, and the table of engines.
 *
 * LOADER_FIXTURE is the path of the shared object made of loader_fixture.c.  Linked with
 * failing_malloc.h's options. */
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/engine_table.h"
#include "runtime/loader_internal.h"
#include "runtime/native.h"
#include "runtime/source_map.h"
#include "tests/failing_malloc.h"

static char base[256]; /* of this test, without symbolic links; also the current folder */

static void write_bytes(const char *name, const char *text, size_t length)
{
    char path[256];
    snprintf(path, sizeof path, "%s", name);
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static void set_up(void)
{
    char pattern[] = "/tmp/muster-test-loader-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(pattern));
    char *real = realpath(pattern, NULL);
    snprintf(base, sizeof base, "%s", real);
    free(real);
    ck_assert_int_eq(chdir(base), 0);
}

static void remove_all(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char below[1024];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (lstat(below, &info) == 0 && S_ISDIR(info.st_mode))
            remove_all(below);
        else
            unlink(below);
    }
    if (folder != NULL)
        closedir(folder);
    rmdir(path);
}

static void tear_down(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    remove_all(base);
}

/* ---- loading ---- */

static const struct muster__loader files;

static struct muster__script *load_with(const struct muster__loader *loader, const char *url,
                                        const char *importer)
{
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__loader_load(loader, url, importer, &script, &error);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", muster_status_name(status), error.message);
    ck_assert_ptr_null(error.message);
    if (script->text != NULL)
        ck_assert_int_eq(script->text[script->length], '\0');
    return script;
}

static struct muster__script *load(const char *url)
{
    return load_with(&files, url, NULL);
}

static void must_fail(const struct muster__loader *loader, const char *url, const char *importer,
                      enum muster_status wanted, const char *part)
{
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__loader_load(loader, url, importer, &script, &error);
    ck_assert_ptr_null(script);
    ck_assert_msg(status == wanted, "%s: %s", muster_status_name(status), error.message);
    ck_assert_int_eq(error.status, wanted);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_msg(strstr(error.message, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  error.message);
    muster_error_clean_up(&error);
}

static const char *in(const char *format)
{
    static char texts[4][512];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], format, base);
    return text;
}

START_TEST(a_file_becomes_a_classic_script_with_a_file_url)
{
    static const char *const ways[] = {"app/x.js", "./app/../app//x.js", "%s/app/x.js",
                                       "file://%s/app/x.js", "file://localhost%s/app/x.js",
                                       "file:%s/app/x.js"};
    write_file("app/x.js", "console.log(1);\n");
    struct muster__script *script = load(in(ways[_i]));
    ck_assert_str_eq(script->url, in("file://%s/app/x.js"));
    ck_assert_str_eq(script->text, "console.log(1);\n");
    ck_assert_uint_eq(script->length, 16);
    ck_assert(!script->is_module);
    ck_assert_ptr_null(script->map);
    ck_assert_ptr_null(script->native);
    muster__script_destroy(script);
}
END_TEST

START_TEST(the_url_of_an_odd_name_is_encoded_and_leads_back)
{
    write_file("a b%3F#\xc3\xa4.js", "1");
    struct muster__script *script = load("a b%3F#\xc3\xa4.js");
    ck_assert_str_eq(script->url, in("file://%s/a%%20b%%253F%%23%%C3%%A4.js"));
    struct muster__script *again = load(script->url);
    ck_assert_str_eq(again->url, script->url);
    muster__script_destroy(again);
    muster__script_destroy(script);
}
END_TEST

START_TEST(an_import_is_found_beside_its_importer)
{
    static const char *const ways[][2] = {
        {"lib.js", "%s/app/x.js"},          {"./lib.js?v=1#top", "file://%s/app/x.js"},
        {"l%69b.js", "file://%s/app/x.js"}, {"../app/lib.js", "file://%s/app/x.js?query"},
        {"%s/app/lib.js", "file:///other"}, {"file://%s/app/lib.js", "/other"},
        {"lib.js", "app/x.js"},             {"app/lib.js", "x.js"},
    };
    write_file("app/lib.js", "7");
    struct muster__script *script = load_with(
        &files, _i == 2 ? ways[_i][0] : in(ways[_i][0]), in(ways[_i][1]));
    ck_assert_str_eq(script->url, in("file://%s/app/lib.js"));
    ck_assert_str_eq(script->text, "7");
    muster__script_destroy(script);
}
END_TEST

START_TEST(what_cannot_be_read_is_named)
{
    write_file("folder/x.js", "");
    must_fail(&files, "x.js", NULL, MUSTER_NOT_FOUND,
              "cannot read script \"x.js\": No such file or directory");
    must_fail(&files, "x.ts", NULL, MUSTER_NOT_FOUND, "cannot read script \"x.ts\"");
    must_fail(&files, "x.so", NULL, MUSTER_NOT_FOUND, "cannot read script \"x.so\"");
    must_fail(&files, "", NULL, MUSTER_NOT_FOUND, "cannot read script \"\"");
    must_fail(&files, "folder/x.js/y.js", NULL, MUSTER_NOT_FOUND, "Not a directory");
    must_fail(&files, "folder", NULL, MUSTER_LOAD_FAILED, "Is a directory");
    ck_assert_int_eq(mkfifo("pipe.js", 0600), 0);
    must_fail(&files, "pipe.js", NULL, MUSTER_LOAD_FAILED, "not a regular file");
    must_fail(&files, "file:///a%00b.js", NULL, MUSTER_NOT_FOUND, "a%00b.js");
    ck_assert_int_eq(truncate("folder/x.js", (64 << 20) + 1), 0);
    must_fail(&files, "folder/x.js", NULL, MUSTER_LOAD_FAILED, "larger than 64 MiB");
}
END_TEST

START_TEST(addresses_of_other_kinds_are_refused)
{
    static const char *const others[] = {"ftp://example.org/x.js", "file://server/x.js"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        must_fail(&files, others[i], NULL, MUSTER_LOAD_FAILED, "scripts come from files");
        must_fail(&files, others[i], "file:///x.js", MUSTER_LOAD_FAILED, others[i]);
    }
    /* Whom the web gives scripts to, tests/test_script_fetch.c says. */
    must_fail(&files, "https://example.org/x.js", "file:///x.js", MUSTER_LOAD_FAILED, "from the network");
    write_file("a:b.js", "1");
    muster__script_destroy(load("a:b.js"));
}
END_TEST

START_TEST(nothing_outside_the_root_is_read)
{
    char root[300];
    snprintf(root, sizeof root, "%s/app", base);
    const struct muster__loader loader = {.root = root};
    write_file("app/x.js", "inside");
    write_file("app/deep/z.js", "inside");
    write_file("app-twin/x.js", "outside");
    write_file("y.js", "outside");
    ck_assert_int_eq(symlink("../y.js", "app/link.js"), 0);
    ck_assert_int_eq(symlink("deep/z.js", "app/near.js"), 0);
    ck_assert_int_eq(symlink("..", "app/up"), 0);
    muster__script_destroy(load_with(&loader, "app/x.js", NULL));
    muster__script_destroy(load_with(&loader, "near.js", in("file://%s/app/x.js")));
    static const char *const ways[] = {"../y.js", "link.js", "up/y.js", "../app-twin/x.js",
                                       "%%2e%%2e/y.js", "file://%s/y.js", "%s/y.js"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        must_fail(&loader, in(ways[i]), in("file://%s/app/x.js"), MUSTER_LOAD_FAILED,
                  in("lies outside the application's folder %s/app"));
    must_fail(&loader, "y.js", NULL, MUSTER_LOAD_FAILED, "script \"y.js\" lies outside");
    const struct muster__loader lost = {.root = "nowhere"};
    must_fail(&lost, "y.js", NULL, MUSTER_LOAD_FAILED, "the application's folder \"nowhere\"");
}
END_TEST

/* ---- texts ---- */

static void text_must_be(const char *name, const char *bytes, const char *wanted)
{
    write_file(name, bytes);
    struct muster__script *script = load(name);
    ck_assert_str_eq(script->text, wanted);
    ck_assert_uint_eq(script->length, strlen(wanted));
    muster__script_destroy(script);
}

START_TEST(texts_come_as_engines_want_them)
{
    text_must_be("bom.js", "\xef\xbb\xbf" "1", "1");
    text_must_be("bom.lua", "\xef\xbb\xbf" "return 1", "return 1");
    text_must_be("only-bom.js", "\xef\xbb\xbf", "");
    text_must_be("empty.js", "", "");
    text_must_be("good.js", "'\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80'", "'\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80'");
    text_must_be("bad.js", "'\xff' // \xc3", "'\xef\xbf\xbd' // \xef\xbf\xbd");
    text_must_be("surrogate.js", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    text_must_be("bad.lua", "return '\xff'", "return '\xff'");
    text_must_be("program.lua", "#!/usr/bin/lua\nreturn 1", "--/usr/bin/lua\nreturn 1");
    text_must_be("program.js", "#!/usr/bin/muster\n1", "#!/usr/bin/muster\n1");
}
END_TEST

START_TEST(a_text_may_hold_a_nul)
{
    write_bytes("nul.js", "a\0b", 3);
    struct muster__script *script = load("nul.js");
    ck_assert_uint_eq(script->length, 3);
    ck_assert_mem_eq(script->text, "a\0b", 4);
    muster__script_destroy(script);
}
END_TEST

/* ---- classic or module ---- */

static const struct {
    const char *text;
    bool is_module;
} scripts[] = {
    {"export default {};", true},
    {"// hello\nimport { a } from './a.js';\nexport { a };", true},
    {"import './a.js';", true},
    {"import{a}from'./a.js';", true},
    {"import\"./a.js\";", true},
    {"import* as a from './a.js';", true},
    {"#!/usr/bin/env node\nexport {};", true},
    {"\xef\xbb\xbf" "export {};", true},
    {"const s = `${`}`}`;\nexport {};", true},
    {"const r = /`/;\nexport {};", true},
    {"const r = /[/`]/g, d = 4 / 2;\nexport {};", true},
    {"function f() { return /'/; }\nexport {};", true},
    {"const s = 'it\\'s';\nexport {};", true},
    {"const s = 'one \\\n`line';\nexport {};", true},
    {"/* ` */ x = a / b / c;\r\nexport {};\r\n", true},
    {"const o = `${{a: {b: 1}}.a.b} ${'}'}`;\nexport {};", true},
    {"addEventListener('fetch', () => {});", false},
    {"import('./a.js');", false},
    {"import ('./a.js');", false},
    {"importScripts('a.js');", false},
    {"import_count = 1;\nexports.a = 1;\nexported = 2;", false},
    {"/*\nimport a from 'a';\n*/", false},
    {"const s = `\nimport a from 'a';\n`;", false},
    {"const s = `${x}\nexport default 1;\n`;", false},
    {"const s = `a ${`b\nexport default 1` + {}} c\nexport default 2`;", false},
    {"  export default 1;", false},
    {"var a = 'import x';\n//export default 1", false},
    {"const s = 'broken\\\nexport default 1';", false},
    {"import", false},
    {"export", false},
    {"export ", false},
    {"", false},
};

START_TEST(a_line_that_imports_or_exports_makes_a_module)
{
    write_file("a.js", "export const a = 1;");
    write_file("x.js", scripts[_i].text);
    struct muster__script *script = load("x.js");
    ck_assert_msg(script->is_module == scripts[_i].is_module, "%s", scripts[_i].text);
    if (script->is_module) {
        ck_assert_ptr_nonnull(script->map);
        ck_assert_ptr_nonnull(strstr(script->text, "__muster_module"));
        ck_assert_str_eq(script->url, in("file://%s/x.js"));
    }
    muster__script_destroy(script);
}
END_TEST

START_TEST(an_ending_or_a_declaration_makes_a_module_too)
{
    static const char *const names[] = {"x.mjs", "x.ts", "x.mts", "x.cts", "x.tsx", "x.jsx"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_file(names[i], "globalThis.a = 1;");
        struct muster__script *script = load(names[i]);
        ck_assert(script->is_module);
        muster__script_destroy(script);
    }
    const struct muster__loader declared = {.module = true};
    write_file("x.js", "globalThis.a = 1;");
    struct muster__script *script = load_with(&declared, "x.js", NULL);
    ck_assert(script->is_module);
    muster__script_destroy(script);
    script = load_with(&declared, "x.js", "./y.js"); /* the worker is a module, not what it imports */
    ck_assert(!script->is_module);
    muster__script_destroy(script);
    write_file("x.cjs", "export default 1;");
    script = load("x.cjs");
    ck_assert(!script->is_module);
    muster__script_destroy(script);
}
END_TEST

START_TEST(a_module_without_a_root_may_import_from_its_package)
{
    write_file("project/src/deep/x.ts", "import a from '../../lib/a';\nexport default a;");
    write_file("project/lib/a.ts", "export default 'from lib';");
    must_fail(&files, "project/src/deep/x.ts", NULL, MUSTER_LOAD_FAILED,
              "\"../../lib/a\" of x.ts lies outside the application's folder");
    write_file("project/package.json", "{}");
    struct muster__script *script = load("project/src/deep/x.ts");
    ck_assert_ptr_nonnull(strstr(script->text, "from lib"));
    muster__script_destroy(script);
    const struct muster__loader loader = {.root = "project/src"}; /* what is set, counts */
    must_fail(&loader, "project/src/deep/x.ts", NULL, MUSTER_LOAD_FAILED,
              "\"../../lib/a\" of deep/x.ts lies outside");
}
END_TEST

START_TEST(a_mistake_in_a_module_has_its_place_seen_from_the_root)
{
    const struct muster__loader loader = {.root = base};
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    write_file("src/x.ts", "let a;\nlet b: = 1;\n");
    ck_assert_int_eq(muster__loader_load(&loader, "src/x.ts", NULL, &script, &error),
                     MUSTER_SYNTAX_ERROR);
    ck_assert_str_eq(error.file, "src/x.ts");
    ck_assert_int_eq(error.line, 2);
    ck_assert_int_eq(error.column, 8);
    muster_error_clean_up(&error);
}
END_TEST

/* ---- native ---- */

START_TEST(a_shared_object_gives_its_worker)
{
    struct muster__script *script = load(LOADER_FIXTURE);
    ck_assert_ptr_nonnull(script->native);
    ck_assert_str_eq(script->native->events[0].name, "greet");
    ck_assert_ptr_null(script->text);
    muster__script_destroy(script);
}
END_TEST

START_TEST(what_is_no_native_worker_is_refused)
{
    write_file("x.so", "not an object");
    must_fail(&files, "x.so", NULL, MUSTER_LOAD_FAILED, "cannot load the native worker \"x.so\"");
    must_fail(&files, LOADER_FIXTURE, "file:///x.js", MUSTER_LOAD_FAILED,
              "a script cannot import a shared object");
    char *libc = realpath("/proc/self/exe", NULL);
    ck_assert_int_eq(symlink(libc, "program.so"), 0);
    free(libc);
    must_fail(&files, "program.so", NULL, MUSTER_LOAD_FAILED, "program.so");
}
END_TEST

/* ---- an embedder's loader ---- */

struct custom {
    struct muster_loaded loaded; /* texts are copied from here */
    enum muster_status status;
    const char *message;
    const char *url;
    const char *importer;
};

static char *copy(const char *text)
{
    return text == NULL ? NULL : strdup(text);
}

static enum muster_status load_custom(const char *url, const char *importer,
                                      struct muster_loaded *ret_loaded, struct muster_error *error,
                                      void *user_data)
{
    struct custom *custom = user_data;
    ck_assert_uint_eq(ret_loaded->size, sizeof *ret_loaded);
    ck_assert_ptr_null(ret_loaded->text);
    custom->url = url;
    custom->importer = importer;
    if (custom->message != NULL)
        muster_error_set(error, MUSTER_OK, "%s", custom->message);
    if (custom->status != MUSTER_OK)
        return custom->status;
    *ret_loaded = custom->loaded;
    ret_loaded->url = copy(custom->loaded.url);
    ret_loaded->source_map = copy(custom->loaded.source_map);
    if (custom->loaded.text != NULL) { /* exactly as long as it says */
        ret_loaded->text = malloc(custom->loaded.length + (custom->loaded.length == 0));
        memcpy(ret_loaded->text, custom->loaded.text, custom->loaded.length);
    }
    return MUSTER_OK;
}

START_TEST(a_loader_of_the_embedders_replaces_files)
{
    struct custom custom = {.loaded = {.text = "\xef\xbb\xbf" "text", .length = 7}};
    const struct muster__loader loader = {.load = load_custom, .user_data = &custom, .root = "nowhere"};
    struct muster__script *script = load_with(&loader, "app:x", "app:y");
    ck_assert_str_eq(custom.url, "app:x");
    ck_assert_str_eq(custom.importer, "app:y");
    ck_assert_str_eq(script->url, "app:x");
    ck_assert_str_eq(script->text, "text");
    ck_assert(!script->is_module);
    muster__script_destroy(script);

    custom.loaded = (struct muster_loaded){
        .url = (char *)"app:z",
        .text = (char *)"var __muster_module = 1;",
        .length = 24,
        .is_module = true,
        .source_map = (char *)"{\"version\":3,\"sources\":[\"z.ts\"],\"mappings\":\"AAEA\"}"};
    script = load_with(&loader, "x", NULL);
    ck_assert_str_eq(script->url, "app:z");
    ck_assert(script->is_module);
    struct muster__source_position position;
    ck_assert(muster__source_map_lookup(script->map, 1, 1, &position));
    ck_assert_str_eq(position.file, "z.ts");
    ck_assert_int_eq(position.line, 3);
    muster__script_destroy(script);
}
END_TEST

START_TEST(a_native_worker_may_come_from_a_loader)
{
    static const struct muster_native_worker native = {.size = sizeof native};
    static const struct muster_native_worker unsized_worker;
    struct custom custom = {.loaded = {.native = &native}};
    const struct muster__loader loader = {.load = load_custom, .user_data = &custom};
    struct muster__script *script = load_with(&loader, "native:x", NULL);
    ck_assert_ptr_eq(script->native, &native);
    ck_assert_str_eq(script->url, "native:x");
    muster__script_destroy(script);
    custom.loaded.native = &unsized_worker;
    must_fail(&loader, "x", NULL, MUSTER_LOAD_FAILED, "size");
}
END_TEST

START_TEST(what_a_loader_does_wrong_is_said)
{
    struct custom custom = {.loaded = {.url = (char *)"app:x"}};
    const struct muster__loader loader = {.load = load_custom, .user_data = &custom};
    must_fail(&loader, "x", NULL, MUSTER_LOAD_FAILED, "neither a text nor a native worker");
    custom.loaded.text = (char *)"1";
    custom.loaded.length = 1;
    custom.loaded.source_map = (char *)"{";
    must_fail(&loader, "x", NULL, MUSTER_SYNTAX_ERROR, "JSON");
    custom.loaded.source_map = (char *)"{\"version\": 2}";
    must_fail(&loader, "x", NULL, MUSTER_SYNTAX_ERROR, "version is not 3");
}
END_TEST

START_TEST(the_failure_of_a_loader_is_passed_on)
{
    static const enum muster_status pairs[][2] = {
        {MUSTER_NOT_FOUND, MUSTER_NOT_FOUND},       {MUSTER_SYNTAX_ERROR, MUSTER_SYNTAX_ERROR},
        {MUSTER_NO_MEMORY, MUSTER_NO_MEMORY},       {MUSTER_LOAD_FAILED, MUSTER_LOAD_FAILED},
        {MUSTER_PENDING, MUSTER_LOAD_FAILED},       {(enum muster_status)9999, MUSTER_LOAD_FAILED},
    };
    struct custom custom = {0};
    const struct muster__loader loader = {.load = load_custom, .user_data = &custom};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        custom.status = pairs[i][0];
        custom.message = NULL;
        must_fail(&loader, "app:x", NULL, pairs[i][1], "cannot load script \"app:x\"");
        custom.message = "the shelf is empty";
        must_fail(&loader, "app:x", NULL, pairs[i][1], "the shelf is empty");
    }
    custom.status = MUSTER_OK; /* and an error beside a success is none */
    custom.loaded.text = (char *)"1";
    custom.loaded.length = 1;
    muster__script_destroy(load_with(&loader, "app:x", NULL));
}
END_TEST

START_TEST(no_script_is_no_trouble)
{
    muster__script_destroy(NULL);
    muster__script_destroy(calloc(1, sizeof(struct muster__script)));
}
END_TEST

/* ---- memory ---- */

static const char *const starved[] = {"bad.js", "x.ts", "wrong.ts", "lost.ts", "x.js", LOADER_FIXTURE};

START_TEST(every_failed_allocation_is_reported_and_leaks_nothing)
{
    write_file("bad.js", "\xff");
    write_file("x.js", "export default 1;");
    write_file("x.ts", "import { a } from './a';\nexport default a;");
    write_file("a.ts", "export const a = 1;");
    write_file("wrong.ts", "let a: = 3;");
    write_file("lost.ts", "import './nowhere';");
    const struct muster__loader loader = {.root = _i < 5 ? base : NULL};
    struct muster__script *expected = NULL;
    struct muster_error error = {0};
    enum muster_status wanted =
        muster__loader_load(&loader, starved[_i], NULL, &expected, &error);
    muster__script_destroy(expected);
    muster_error_clean_up(&error);
    WITH_EVERY_FAILURE (grants) {
        struct muster__script *script = NULL;
        enum muster_status status = muster__loader_load(&loader, starved[_i], NULL, &script, &error);
        malloc_all_granted();
        if (!malloc_has_failed)
            ck_assert_int_eq(status, wanted);
        else if (status == MUSTER_OK)
            ck_assert_ptr_nonnull(script);
        else
            ck_assert_int_eq(error.status, status);
        if (malloc_has_failed && status != wanted)
            ck_assert_msg(status == MUSTER_NO_MEMORY || status == MUSTER_LOAD_FAILED, "%s",
                          muster_status_name(status));
        muster__script_destroy(script);
        muster_error_clean_up(&error);
    }
}
END_TEST

/* ---- the table of engines ---- */

START_TEST(engines_are_found_by_name_and_by_file)
{
    ck_assert_ptr_eq(muster__engine_find("native", NULL), &muster__engine_native);
    ck_assert_ptr_eq(muster__engine_find("lua", NULL), &muster__engine_lua);
    ck_assert_str_eq(muster__engine_for_script("/a/b.lua"), "lua");
    ck_assert_str_eq(muster__engine_for_script("b.so"), "native");
    ck_assert_str_eq(muster__engine_for_script("b.js"), "javascript");
    ck_assert_str_eq(muster__engine_for_script("file:///a.lua/b.ts"), "javascript");
    ck_assert_str_eq(muster__engine_for_script("lua"), "javascript");
    ck_assert_str_eq(muster__engine_for_script(NULL), "javascript");
    struct muster_error error = {0};
    ck_assert_ptr_null(muster__engine_find("perl", &error));
    ck_assert_int_eq(error.status, MUSTER_NOT_FOUND);
    ck_assert_str_eq(error.message,
                     "there is no engine \"perl\"; there are native, lua and javascript");
    muster_error_clean_up(&error);
    ck_assert_ptr_null(muster__engine_find(NULL, NULL));
}
END_TEST

#ifndef MUSTER_ENGINE_JAVASCRIPT_LINKED

START_TEST(an_engine_that_cannot_be_loaded_says_why)
{
    struct muster_error error = {0};
    write_file("engines/muster-engine-javascript.so", "not an object");
    setenv("MUSTER_ENGINE_DIR", in("%s/engines"), 1);
    if (muster__engine_find("javascript", &error) != NULL)
        return; /* a real one lies beside this test */
    ck_assert_int_eq(error.status, MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "the JavaScript engine cannot be loaded: "));
    ck_assert_ptr_nonnull(strstr(error.message, base));
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(an_engine_that_is_missing_is_said_to_be_missing_where)
{
    struct muster_error error = {0};
    setenv("MUSTER_ENGINE_DIR", in("%s/engines"), 1);
    if (muster__engine_find("js", &error) != NULL)
        return; /* a real one lies beside this test */
    ck_assert_int_eq(error.status, MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, in("no muster-engine-javascript.so in %s/engines, /")));
    muster_error_clean_up(&error);
}
END_TEST

static void *find_on_thread(void *data)
{
    pthread_barrier_wait(data);
    return (void *)(uintptr_t)muster__engine_find("javascript", NULL);
}

START_TEST(threads_that_ask_at_once_find_one_engine)
{
    pthread_t threads[8];
    pthread_barrier_t barrier;
    ck_assert_int_eq(mkdir("engines", 0700), 0);
    ck_assert_int_eq(symlink(LOADER_FIXTURE, "engines/muster-engine-javascript.so"), 0);
    setenv("MUSTER_ENGINE_DIR", in("%s/engines"), 1);
    pthread_barrier_init(&barrier, NULL, 8);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, find_on_thread, &barrier), 0);
    const struct muster__engine *engine = NULL;
    for (int i = 0; i < 8; i++) {
        void *found = NULL;
        pthread_join(threads[i], &found);
        ck_assert_ptr_nonnull(found);
        ck_assert(engine == NULL || engine == found);
        engine = found;
    }
    ck_assert_str_eq(engine->name, "javascript");
    ck_assert_ptr_eq(muster__engine_find("js", NULL), engine);
    pthread_barrier_destroy(&barrier);
}
END_TEST

#endif

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

static TCase *new_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    suite_add_tcase(suite, tc);
    return tc;
}

static void add_engines(Suite *suite)
{
    TCase *tc = new_case(suite, "engines");
    tcase_add_test(tc, engines_are_found_by_name_and_by_file);
#ifndef MUSTER_ENGINE_JAVASCRIPT_LINKED
    tcase_add_test(tc, an_engine_that_cannot_be_loaded_says_why);
    tcase_add_test(tc, an_engine_that_is_missing_is_said_to_be_missing_where);
    tcase_add_test(tc, threads_that_ask_at_once_find_one_engine);
#endif
}

int main(void)
{
    Suite *suite = suite_create("loader");
    TCase *tc = new_case(suite, "files");
    tcase_add_loop_test(tc, a_file_becomes_a_classic_script_with_a_file_url, 0, 6);
    tcase_add_test(tc, the_url_of_an_odd_name_is_encoded_and_leads_back);
    tcase_add_loop_test(tc, an_import_is_found_beside_its_importer, 0, 8);
    tcase_add_test(tc, what_cannot_be_read_is_named);
    tcase_add_test(tc, addresses_of_other_kinds_are_refused);
    tcase_add_test(tc, nothing_outside_the_root_is_read);
    tcase_add_test(tc, texts_come_as_engines_want_them);
    tcase_add_test(tc, a_text_may_hold_a_nul);

    tc = new_case(suite, "modules");
    tcase_add_loop_test(tc, a_line_that_imports_or_exports_makes_a_module, 0, COUNT(scripts));
    tcase_add_test(tc, an_ending_or_a_declaration_makes_a_module_too);
    tcase_add_test(tc, a_module_without_a_root_may_import_from_its_package);
    tcase_add_test(tc, a_mistake_in_a_module_has_its_place_seen_from_the_root);

    tc = new_case(suite, "native");
    tcase_add_test(tc, a_shared_object_gives_its_worker);
    tcase_add_test(tc, what_is_no_native_worker_is_refused);

    tc = new_case(suite, "loaders");
    tcase_add_test(tc, a_loader_of_the_embedders_replaces_files);
    tcase_add_test(tc, a_native_worker_may_come_from_a_loader);
    tcase_add_test(tc, what_a_loader_does_wrong_is_said);
    tcase_add_test(tc, the_failure_of_a_loader_is_passed_on);
    tcase_add_test(tc, no_script_is_no_trouble);

    tc = new_case(suite, "memory");
    tcase_add_loop_test(tc, every_failed_allocation_is_reported_and_leaks_nothing, 0, COUNT(starved));

    add_engines(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
