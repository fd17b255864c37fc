/* tests/test_bundle.c - bundling with the real esbuild, and with programs that pretend to be it.
 *
 * Each test has a folder of its own, with the application in app/ and the place for temporary files in
 * temporary/, which has to be empty again at the end. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/bundle.h"
#include "runtime/bundle_process.h"
#include "runtime/check.h"
#include "runtime/source_map.h"

static char base[256]; /* of this test, without symbolic links */
static char root[300];
static char temporary[300];

static const char *in(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s", in(name));
    for (char *slash = strchr(path + strlen(base) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    ck_assert_int_eq(fclose(file), 0);
}

static void write_program(const char *name, const char *text)
{
    write_file(name, text);
    ck_assert_int_eq(chmod(in(name), 0755), 0);
}

/* A program of our own in the place of esbuild. */
static void pretend(const char *text)
{
    write_program("pretender", text);
    setenv("MUSTER_ESBUILD", in("pretender"), 1);
}

static void set_up(void)
{
    char pattern[] = "/tmp/muster-test-bundle-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(pattern));
    char *real = realpath(pattern, NULL);
    snprintf(base, sizeof base, "%s", real);
    free(real);
    snprintf(root, sizeof root, "%s/app", base);
    snprintf(temporary, sizeof temporary, "%s/temporary", base);
    ck_assert_int_eq(mkdir(root, 0700), 0);
    ck_assert_int_eq(mkdir(temporary, 0700), 0);
    setenv("TMPDIR", temporary, 1);
    unsetenv("MUSTER_ESBUILD");
    signal(SIGCHLD, SIG_DFL);
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
    bool is_empty = rmdir(temporary) == 0;
    remove_all(base);
    ck_assert_msg(is_empty, "something is left in the temporary folder");
}

static bool has_landlock(void)
{
    return syscall(444, NULL, (size_t)0, 1u) > 0;
}

/* ---- with the real one ---- */

struct outcome {
    enum muster_status status;
    struct muster__bundle bundle;
    struct muster_error error;
};

static struct outcome bundle_with(const char *entry, uint64_t deadline_us, bool without_landlock)
{
    struct outcome outcome = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", in(entry));
    const struct muster__bundle_options options = {.root = root,
                                                   .entry = path,
                                                   .deadline_us = deadline_us,
                                                   .without_landlock = without_landlock};
    outcome.status = muster__bundle_make(&options, &outcome.bundle, &outcome.error);
    if (outcome.status != MUSTER_OK) {
        ck_assert_ptr_null(outcome.bundle.text);
        ck_assert_ptr_nonnull(outcome.error.message);
        ck_assert_int_eq(outcome.error.status, outcome.status);
    }
    return outcome;
}

static struct outcome bundle(const char *entry)
{
    return bundle_with(entry, 0, false);
}

static void forget(struct outcome *outcome)
{
    muster__bundle_clean_up(&outcome->bundle);
    muster_error_clean_up(&outcome->error);
}

static void must_be_ok(const struct outcome *outcome)
{
    ck_assert_msg(outcome->status == MUSTER_OK, "%s: %s", muster_status_name(outcome->status),
                  outcome->error.message);
}

static void must_fail(struct outcome outcome, enum muster_status status, const char *part)
{
    ck_assert_msg(outcome.status == status, "%s: %s", muster_status_name(outcome.status),
                  outcome.error.message);
    ck_assert_msg(strstr(outcome.error.message, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  outcome.error.message);
    forget(&outcome);
}

START_TEST(a_module_and_what_it_imports_become_one_classic_script)
{
    write_file("app/src/a.ts", "import { b } from './b';\nimport data from '../data.json';\n"
                               "const n: number = 3;\nexport default { n, b, data };\n");
    write_file("app/src/b.ts", "export const b = 'text of b' as string;\n");
    write_file("app/data.json", "{\"deep\": true}");
    struct outcome outcome = bundle("app/src/a.ts");
    must_be_ok(&outcome);
    const char *text = outcome.bundle.text;
    ck_assert_int_eq(outcome.bundle.length, strlen(text));
    ck_assert(strncmp(text, "\"use strict\";", 13) == 0);
    ck_assert_ptr_nonnull(strstr(text, "var __muster_module ="));
    ck_assert_ptr_nonnull(strstr(text, "text of b"));
    ck_assert_ptr_nonnull(strstr(text, "deep: true"));
    ck_assert_ptr_null(strstr(text, "sourceMappingURL"));
    forget(&outcome);
}
END_TEST

static void place_of(const char *text, const char *word, int *ret_line, int *ret_column)
{
    const char *found = strstr(text, word);
    ck_assert_ptr_nonnull(found);
    const char *start = text;
    *ret_line = 1;
    for (const char *at = text; at < found; at++)
        if (*at == '\n') {
            start = at + 1;
            ++*ret_line;
        }
    *ret_column = (int)(found - start) + 1;
}

START_TEST(a_place_in_the_bundle_leads_back_to_the_authors_file)
{
    write_file("app/src/a.ts", "import { b } from './b';\nexport default b;\n");
    write_file("app/src/b.ts", "interface Nothing { x: number }\n\n"
                               "export function b(): never {\n    throw new Error('here');\n}\n");
    struct outcome outcome = bundle("app/src/a.ts");
    must_be_ok(&outcome);
    int line = 0;
    int column = 0;
    place_of(outcome.bundle.text, "throw new", &line, &column);
    struct muster__source_position position;
    ck_assert(muster__source_map_lookup(outcome.bundle.map, line, column, &position));
    ck_assert_str_eq(position.file, "src/b.ts");
    ck_assert_int_eq(position.line, 4);
    ck_assert_int_eq(position.column, 5);
    forget(&outcome);
}
END_TEST

START_TEST(a_package_is_found_by_its_worker_and_module_fields)
{
    write_file("app/node_modules/one/package.json",
               "{\"exports\": {\"worker\": \"./worker.js\", \"default\": \"./other.js\"}}");
    write_file("app/node_modules/one/worker.js", "export default 'one for workers';");
    write_file("app/node_modules/one/other.js", "export default 'one for others';");
    write_file("app/node_modules/@s/two/package.json",
               "{\"main\": \"./old.js\", \"module\": \"./new.js\"}");
    write_file("app/node_modules/@s/two/old.js", "module.exports = 'two as commonjs';");
    write_file("app/node_modules/@s/two/new.js", "export default 'two as module';");
    write_file("app/src/deep/a.mjs", "import one from 'one';\nimport two from '@s/two';\n"
                                     "export default one + two;");
    struct outcome outcome = bundle("app/src/deep/a.mjs");
    must_be_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(outcome.bundle.text, "one for workers"));
    ck_assert_ptr_nonnull(strstr(outcome.bundle.text, "two as module"));
    ck_assert_ptr_null(strstr(outcome.bundle.text, "one for others"));
    ck_assert_ptr_null(strstr(outcome.bundle.text, "two as commonjs"));
    forget(&outcome);
}
END_TEST

START_TEST(odd_names_of_files_are_names_of_files)
{
    static const char *const names[] = {"app/a=b.ts", "app/-a.ts", "app/a b.ts", "app/ä.ts",
                                        "app/a\"b.ts"};
    write_file(names[_i], "export default 'odd' as string;");
    struct outcome outcome = bundle(names[_i]);
    must_be_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(outcome.bundle.text, "odd"));
    forget(&outcome);
}
END_TEST

START_TEST(a_data_url_is_no_file_outside)
{
    write_file("app/a.mjs", "import x from 'data:text/javascript,export default 3';\n"
                            "export default x;");
    struct outcome outcome = bundle("app/a.mjs");
    must_be_ok(&outcome);
    forget(&outcome);
}
END_TEST

START_TEST(only_the_nearest_tsconfig_inside_the_root_counts)
{
    write_file("tsconfig.json", "{\"compilerOptions\": {\"jsxFactory\": \"fromAbove\"}}");
    write_file("app/src/a.tsx", "export default <b/>;");
    struct outcome outcome = bundle_with("app/src/a.tsx", 0, _i);
    must_be_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(outcome.bundle.text, "React.createElement"));
    forget(&outcome);

    write_file("app/tsconfig.json", "{\"compilerOptions\": {\"jsxFactory\": \"fromApp\"}}");
    outcome = bundle_with("app/src/a.tsx", 0, _i);
    must_be_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(outcome.bundle.text, "fromApp"));
    forget(&outcome);
}
END_TEST

/* ---- what its author did wrong ---- */

static const struct {
    const char *text;
    enum muster_status status;
    const char *part;
    int line, column;
} mistakes[] = {
    {"const a = 1;\nlet x: = 3;\n", MUSTER_SYNTAX_ERROR, "Unexpected \"=\"", 2, 8},
    {"export {\n", MUSTER_SYNTAX_ERROR, "Expected identifier", 2, 1},
    {"\n\nawait fetch('/');\n", MUSTER_SYNTAX_ERROR, "export a promise by default", 3, 1},
    {"import { none } from './helper';\nnone();", MUSTER_SYNTAX_ERROR, "No matching export", 1, 10},
    {"import './nothing';\n", MUSTER_LOAD_FAILED, "cannot find the import \"./nothing\" of src/a.ts",
     1, 8},
    {"let a;\nimport 'left-pad';\n", MUSTER_LOAD_FAILED, "is it installed in node_modules?", 2, 8},
    {"import 'fs';\n", MUSTER_LOAD_FAILED, "a module of Node.js, which workers do not have", 1, 8},
    {"import './picture.png';\n", MUSTER_LOAD_FAILED, "No loader is configured", 1, 8},
};

START_TEST(a_mistake_is_told_with_its_place)
{
    write_file("app/src/helper.ts", "export const some = 1;");
    write_file("app/src/picture.png", "");
    write_file("app/src/a.ts", mistakes[_i].text);
    struct outcome outcome = bundle("app/src/a.ts");
    ck_assert_str_eq(outcome.error.file == NULL ? "" : outcome.error.file, "src/a.ts");
    ck_assert_int_eq(outcome.error.line, mistakes[_i].line);
    ck_assert_int_eq(outcome.error.column, mistakes[_i].column);
    if (mistakes[_i].status == MUSTER_SYNTAX_ERROR)
        ck_assert_str_eq(outcome.error.name, "SyntaxError");
    must_fail(outcome, mistakes[_i].status, mistakes[_i].part);
}
END_TEST

START_TEST(without_esbuild_there_is_advice)
{
    write_file("app/a.ts", "export default 1;");
    setenv("PATH", in("app"), 1);
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "apt-get install esbuild");
    setenv("MUSTER_ESBUILD", "/nowhere/esbuild", 1);
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "MUSTER_ESBUILD, which is \"/nowhere/esbuild\"");
}
END_TEST

START_TEST(a_temporary_folder_that_cannot_be_made_is_named)
{
    write_file("app/a.ts", "export default 1;");
    setenv("TMPDIR", in("nowhere"), 1);
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "nowhere");
}
END_TEST

/* ---- nothing from outside; each with and without Landlock ---- */

static const struct {
    const char *text; /* %s: the test's folder */
    const char *import;
} intruders[] = {
    {"let a;\nimport s from '%s/secret.js';\nexport default s;", "/secret.js\" of src/a.ts"},
    {"let a;\nimport s from '../../secret.js';\nexport default s;", "\"../../secret.js\" of src/a.ts"},
    {"let a;\nimport s from '../../secret';\nexport default s;", "\"../../secret\" of src/a.ts"},
    {"let a;\nimport s from './link.js';\nexport default s;", "\"./link.js\" of src/a.ts"},
    {"let a;\nimport s from './folder/secret.js';\nexport default s;",
     "\"./folder/secret.js\" of src/a.ts"},
    {"let a;\nimport s from 'linked';\nexport default s;", "\"linked\" of src/a.ts"},
    {"let a;\nimport s from '@s/linked/sub.js';\nexport default s;", "\"@s/linked/sub.js\" of src/a.ts"},
    {"let a;\nconst s = require('../../secret.js');\nmodule.exports = s;", "\"../../secret.js\" of"},
    {"let a;\nimport('../../secret.js');", "\"../../secret.js\" of src/a.ts"},
    {"let a;\nimport s from '../../app-twin/secret.js';\nexport default s;", "\"../../app-twin"},
};
#define INTRUDERS (int)(sizeof intruders / sizeof *intruders)

START_TEST(an_import_from_outside_is_refused_by_name)
{
    char text[512];
    snprintf(text, sizeof text, intruders[_i / 2].text, base);
    write_file("app/src/a.ts", text);
    write_file("secret.js", "export default 'the secret';");
    write_file("app-twin/secret.js", "export default 'the secret';");
    write_file("outside/package.json", "{\"main\": \"sub.js\"}");
    write_file("outside/sub.js", "export default 'the secret';");
    write_file("app/node_modules/@s/x/x.js", "");
    ck_assert_int_eq(symlink("../../secret.js", in("app/src/link.js")), 0);
    ck_assert_int_eq(symlink("../..", in("app/src/folder")), 0);
    ck_assert_int_eq(symlink("../../outside", in("app/node_modules/linked")), 0);
    ck_assert_int_eq(symlink("../../../outside", in("app/node_modules/@s/linked")), 0);
    struct outcome outcome = bundle_with("app/src/a.ts", 0, _i % 2);
    ck_assert_int_eq(outcome.status, MUSTER_LOAD_FAILED);
    ck_assert_msg(strstr(outcome.error.message, intruders[_i / 2].import) != NULL, "%s",
                  outcome.error.message);
    ck_assert_str_eq(outcome.error.file == NULL ? "" : outcome.error.file, "src/a.ts");
    char end[400];
    snprintf(end, sizeof end, "lies outside the application's folder %s", root);
    must_fail(outcome, MUSTER_LOAD_FAILED, end);
}
END_TEST

START_TEST(a_link_that_stays_inside_is_followed)
{
    write_file("app/src/a.ts", "import x from './link.js';\nexport default x;");
    write_file("app/lib/x.js", "export default 'from lib';");
    ck_assert_int_eq(symlink("../lib/x.js", in("app/src/link.js")), 0);
    struct outcome outcome = bundle("app/src/a.ts");
    must_be_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(outcome.bundle.text, "from lib"));
    forget(&outcome);
}
END_TEST

START_TEST(the_environment_adds_no_folder_to_search)
{
    write_file("app/a.ts", "import x from 'hidden';\nexport default x;");
    write_file("elsewhere/hidden/index.js", "export default 'the secret';");
    setenv("NODE_PATH", in("elsewhere"), 1);
    must_fail(bundle_with("app/a.ts", 0, _i), MUSTER_LOAD_FAILED, "cannot find the import \"hidden\"");
}
END_TEST

/* ---- a program in its place ---- */

START_TEST(a_program_past_its_deadline_is_ended)
{
    write_file("app/a.ts", "export default 1;");
    pretend("#!/bin/sh\nexec sleep 1000\n");
    must_fail(bundle_with("app/a.ts", 30000, false), MUSTER_LOAD_FAILED, "at its deadline");
}
END_TEST

START_TEST(a_program_that_keeps_its_errors_open_elsewhere_does_not_hold_us)
{
    /* What it leaves behind holds the pipe; only the program itself is waited for. */
    write_file("app/a.ts", "export default 1;");
    pretend("#!/bin/sh\nsleep 2 &\necho 'x [ERROR] early' >&2\nexit 1\n");
    uint64_t before = muster__now_us();
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "early");
    ck_assert_uint_lt(muster__now_us() - before, 1900000);
}
END_TEST

START_TEST(a_program_that_was_killed_is_a_failure)
{
    write_file("app/a.ts", "export default 1;");
    pretend("#!/bin/sh\nkill -9 $$\n");
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "ended by signal 9");
}
END_TEST

/* $1 names the entry, $2 the folder */
#define PUT "#!/bin/sh\nfor a; do case $a in --outdir=*) cd \"${a#*=}\";; esac; done\n"
#define META(bytes, input)                                                                         \
    "echo '{\"inputs\":{\"" input "\":{\"imports\":[]}},"                                          \
    "\"outputs\":{\"x/main.js\":{\"bytes\":" bytes "}}}' > meta.json\n"
#define MAP "echo '{\"version\":3,\"sources\":[],\"mappings\":\"\"}' > main.js.map\n"

static const struct {
    const char *program;
    const char *part;
} pretenders[] = {
    {"#!/bin/sh\nexit 0\n", "No such file"},
    {"#!/bin/sh\nexit 3\n", "failed while bundling a.ts"},
    {"#!/bin/sh\necho nonsense >&2\nexit 3\n", "failed while bundling a.ts: nonsense"},
    {"#!/bin/sh\nprintf '[ERROR] ' >&2\nexit 0\n", "cannot bundle a.ts: "},
    {"#!/bin/sh\nprintf '[ERROR] m\\n\\n    a.ts:::\\n    :1:2:\\n    a:99999999999:1:' >&2\nexit 1\n",
     "cannot bundle a.ts: m"},
    {"#!/bin/sh\nprintf '[ERROR] Could not resolve \"\"\\n\\n    a.ts:1:1:\\n' >&2\nexit 1\n",
     "cannot find the import \"\""},
    {PUT "echo '{' > meta.json\n", "JSON"},
    {PUT "echo '{}' > meta.json\n", "does not list"},
    {PUT "echo '[1]' > meta.json\n", "does not list"},
    {PUT "echo '{\"inputs\": {\"a.ts\": 3}}' > meta.json; echo > main.js\n", "it is not whole"},
    {PUT META("4", "../other.ts") "echo abc > main.js\n" MAP,
     "import \"../other.ts\" of a.ts lies outside"},
    {PUT META("5", "a.ts") "echo abc > main.js\n" MAP, "it is not whole"},
    {PUT META("4", "a.ts") "echo abc > main.js\n", "No such file"},
    {PUT META("4", "a.ts") "echo abc > main.js\necho '{\"mappings\": \"A\"}' > main.js.map\n",
     "its source map cannot be read"},
    {PUT META("4", "a.ts") "mkdir -p main.js/below; echo > main.js/below/x\n", "Is a directory"},
    {"not a program\n", "cannot run"},
};

START_TEST(what_it_gives_is_not_believed_unseen)
{
    write_file("app/a.ts", "export default 1;");
    write_file("other.ts", "");
    pretend(pretenders[_i].program);
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, pretenders[_i].part);
}
END_TEST

START_TEST(a_result_that_agrees_with_itself_is_taken)
{
    write_file("app/a.ts", "export default 1;");
    pretend(PUT META("4", "a.ts") "echo abc > main.js\n" MAP);
    struct outcome outcome = bundle("app/a.ts");
    must_be_ok(&outcome);
    ck_assert_str_eq(outcome.bundle.text, "abc\n");
    forget(&outcome);
}
END_TEST

/* ---- the embedder notices nothing ---- */

START_TEST(an_embedder_that_ignores_sigchld_gets_its_bundle)
{
    signal(SIGCHLD, SIG_IGN);
    write_file("app/a.ts", "export default 'fine';");
    struct outcome outcome = bundle("app/a.ts");
    must_be_ok(&outcome);
    forget(&outcome);
    write_file("app/a.ts", "export defauld");
    must_fail(bundle("app/a.ts"), MUSTER_SYNTAX_ERROR, "Unexpected");
    pretend("#!/bin/sh\nexit 1\n"); /* nobody knows its status, but there is no result */
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "no usable result");
    pretend("#!/bin/sh\nexec sleep 1000\n");
    must_fail(bundle_with("app/a.ts", 30000, false), MUSTER_LOAD_FAILED, "at its deadline");
}
END_TEST

static void reap_all(int number)
{
    (void)number;
    int before = errno;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = before;
}

START_TEST(an_embedder_that_takes_every_child_gets_its_bundle)
{
    struct sigaction action = {.sa_handler = reap_all};
    sigaction(SIGCHLD, &action, NULL);
    write_file("app/a.ts", "export default 'fine';");
    struct outcome outcome = bundle("app/a.ts");
    must_be_ok(&outcome);
    forget(&outcome);
    struct sigaction now;
    sigaction(SIGCHLD, NULL, &now);
    ck_assert_ptr_eq(now.sa_handler, reap_all);
}
END_TEST

START_TEST(a_child_of_the_embedders_stays_the_embedders)
{
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    write_file("app/a.ts", "export default 'fine';");
    struct outcome outcome = bundle("app/a.ts");
    must_be_ok(&outcome);
    forget(&outcome);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(no_descriptor_stays_open)
{
    write_file("app/a.ts", "export default 1;");
    int before = open("/dev/null", O_RDONLY);
    close(before);
    for (int i = 0; i < 3; i++) {
        struct outcome outcome = bundle("app/a.ts");
        must_be_ok(&outcome);
        forget(&outcome);
    }
    pretend("not a program\n");
    must_fail(bundle("app/a.ts"), MUSTER_LOAD_FAILED, "cannot run");
    int after = open("/dev/null", O_RDONLY);
    close(after);
    ck_assert_int_eq(before, after);
}
END_TEST

static struct muster__bundle_ending run_program(const char *text, bool without_landlock)
{
    write_program("program", text);
    static const char *const arguments[] = {"program", NULL};
    char path[512];
    snprintf(path, sizeof path, "%s", in("program"));
    const struct muster__bundle_process process = {.program = path,
                                                   .arguments = arguments,
                                                   .folder = root,
                                                   .output = temporary,
                                                   .deadline_us = 20000000,
                                                   .without_landlock = without_landlock};
    struct muster__bundle_ending ending = {0};
    struct muster_error error = {0};
    enum muster_status status = muster__bundle_process_run(&process, &ending, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
    ck_assert(!ending.timed_out);
    return ending;
}

START_TEST(a_confined_program_reads_its_folder_and_writes_its_output_only)
{
    if (!has_landlock())
        return; /* the kernel cannot; the list of inputs is what holds then */
    write_file("secret", "the secret");
    write_file("app/open", "the open");
    struct muster__bundle_ending ending =
        run_program("#!/bin/sh\nread x < open; echo $x >&2\nread y < ../secret; echo $y >&2\n"
                    "echo 1 > new || echo 'not there' >&2\necho 1 > ../temporary/new && echo here >&2\n"
                    "rm ../temporary/new; ls .. && echo listed >&2\n"
                    "ls /usr && echo listed >&2\nexit 5\n",
                    false);
    ck_assert(ending.known);
    ck_assert_int_eq(ending.status, 5);
    ck_assert_ptr_nonnull(strstr(ending.errors, "the open"));
    ck_assert_ptr_null(strstr(ending.errors, "the secret"));
    ck_assert_ptr_nonnull(strstr(ending.errors, "not there"));
    ck_assert_ptr_nonnull(strstr(ending.errors, "here"));
    ck_assert_ptr_null(strstr(ending.errors, "listed"));
    free(ending.errors);
    ck_assert_int_eq(access(in("secret"), R_OK), 0); /* the embedder itself is not confined */
}
END_TEST

START_TEST(a_program_inherits_no_signal_state_and_no_descriptor)
{
    signal(SIGPIPE, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    ck_assert_int_eq(dup2(1, 77), 77); /* not close-on-exec */
    struct muster__bundle_ending ending = run_program(
        "#!/bin/sh\ngrep -E 'Sig(Blk|Ign)' /proc/self/status >&2\n"
        "[ -e /proc/self/fd/77 ] && echo leaked >&2\ncat; pwd >&2; env >&2\n",
        true);
    ck_assert_ptr_nonnull(strstr(ending.errors, "SigBlk:\t0000000000000000"));
    ck_assert_ptr_nonnull(strstr(ending.errors, "SigIgn:\t0000000000000000"));
    ck_assert_ptr_null(strstr(ending.errors, "leaked"));
    ck_assert_ptr_null(strstr(ending.errors, "TMPDIR"));
    ck_assert_ptr_nonnull(strstr(ending.errors, root));
    free(ending.errors);
    sigset_t after;
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    ck_assert_int_eq(sigismember(&after, SIGTERM), 1);
}
END_TEST

START_TEST(a_process_without_standard_descriptors_can_bundle)
{
    write_file("app/a.ts", "export default 'fine';");
    int kept[3];
    for (int fd = 0; fd < 3; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        close(fd);
    }
    struct outcome outcome = bundle("app/a.ts");
    struct outcome mistake = bundle("app/none.ts");
    for (int fd = 0; fd < 3; fd++)
        dup2(kept[fd], fd);
    must_be_ok(&outcome);
    forget(&outcome);
    must_fail(mistake, MUSTER_LOAD_FAILED, "Could not");
}
END_TEST

START_TEST(a_flood_of_errors_is_kept_to_its_beginning)
{
    struct muster__bundle_ending ending =
        run_program("#!/bin/sh\nyes 'all wrong' | head -c 1000000 >&2\nexit 4\n", false);
    ck_assert_int_eq(ending.status, 4);
    ck_assert_int_eq(strlen(ending.errors), 65536);
    ck_assert(strncmp(ending.errors, "all wrong\nall", 13) == 0);
    free(ending.errors);
}
END_TEST

/* ---- threads ---- */

struct bundler {
    pthread_t thread;
    char entry[32];
    enum muster_status status;
    bool found;
};

static void *bundle_on_thread(void *data)
{
    struct bundler *bundler = data;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", base, bundler->entry);
    const struct muster__bundle_options options = {.root = root, .entry = path};
    for (int i = 0; i < 5 && bundler->status == MUSTER_OK; i++) {
        struct muster__bundle made = {0};
        bundler->status = muster__bundle_make(&options, &made, NULL);
        bundler->found = made.text != NULL && strstr(made.text, bundler->entry) != NULL;
        muster__bundle_clean_up(&made);
    }
    return NULL;
}

START_TEST(threads_bundle_side_by_side)
{
    struct bundler bundlers[4] = {0};
    for (int i = 0; i < 4; i++) {
        snprintf(bundlers[i].entry, sizeof bundlers[i].entry, "app/number%d.ts", i);
        char text[100];
        snprintf(text, sizeof text, "export default '%s';", bundlers[i].entry);
        write_file(bundlers[i].entry, text);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&bundlers[i].thread, NULL, bundle_on_thread, &bundlers[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(bundlers[i].thread, NULL);
        ck_assert_int_eq(bundlers[i].status, MUSTER_OK);
        ck_assert(bundlers[i].found);
    }
}
END_TEST

/* ---- paths ---- */

START_TEST(joined_paths_have_no_dots)
{
    static const char *const rows[][3] = {
        {"/a/b", "c", "/a/b/c"},      {"/a/b", "../c", "/a/c"}, {"/a/b", "/c//d/./e/", "/c/d/e"},
        {"/a", "../../../x", "/x"},   {"/", ".", "/"},          {"/a/b/", "", "/a/b"},
        {"/a", "..b/...", "/a/..b/..."}, {"", "x", "/x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *joined = muster__bundle_join(rows[i][0], rows[i][1]);
        ck_assert_str_eq(joined, rows[i][2]);
        free(joined);
    }
    ck_assert(muster__bundle_is_inside("/a", "/a/b"));
    ck_assert(muster__bundle_is_inside("/a", "/a"));
    ck_assert(!muster__bundle_is_inside("/a", "/ab"));
    ck_assert(!muster__bundle_is_inside("/a", "/"));
    ck_assert(muster__bundle_is_inside("/", "/ab"));
}
END_TEST

static TCase *new_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    suite_add_tcase(suite, tc);
    return tc;
}

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

int main(void)
{
    Suite *suite = suite_create("bundle");
    TCase *tc = new_case(suite, "bundles");
    tcase_add_test(tc, a_module_and_what_it_imports_become_one_classic_script);
    tcase_add_test(tc, a_place_in_the_bundle_leads_back_to_the_authors_file);
    tcase_add_test(tc, a_package_is_found_by_its_worker_and_module_fields);
    tcase_add_loop_test(tc, odd_names_of_files_are_names_of_files, 0, 5);
    tcase_add_test(tc, a_data_url_is_no_file_outside);
    tcase_add_loop_test(tc, only_the_nearest_tsconfig_inside_the_root_counts, 0, 2);

    tc = new_case(suite, "mistakes");
    tcase_add_loop_test(tc, a_mistake_is_told_with_its_place, 0, COUNT(mistakes));
    tcase_add_test(tc, without_esbuild_there_is_advice);
    tcase_add_test(tc, a_temporary_folder_that_cannot_be_made_is_named);

    tc = new_case(suite, "outside");
    tcase_add_loop_test(tc, an_import_from_outside_is_refused_by_name, 0, 2 * INTRUDERS);
    tcase_add_test(tc, a_link_that_stays_inside_is_followed);
    tcase_add_loop_test(tc, the_environment_adds_no_folder_to_search, 0, 2);

    tc = new_case(suite, "programs");
    tcase_add_test(tc, a_program_past_its_deadline_is_ended);
    tcase_add_test(tc, a_program_that_keeps_its_errors_open_elsewhere_does_not_hold_us);
    tcase_add_test(tc, a_program_that_was_killed_is_a_failure);
    tcase_add_loop_test(tc, what_it_gives_is_not_believed_unseen, 0, COUNT(pretenders));
    tcase_add_test(tc, a_result_that_agrees_with_itself_is_taken);

    tc = new_case(suite, "embedders");
    tcase_add_test(tc, an_embedder_that_ignores_sigchld_gets_its_bundle);
    tcase_add_test(tc, an_embedder_that_takes_every_child_gets_its_bundle);
    tcase_add_test(tc, a_child_of_the_embedders_stays_the_embedders);
    tcase_add_test(tc, no_descriptor_stays_open);
    tcase_add_test(tc, a_confined_program_reads_its_folder_and_writes_its_output_only);
    tcase_add_test(tc, a_program_inherits_no_signal_state_and_no_descriptor);
    tcase_add_test(tc, a_process_without_standard_descriptors_can_bundle);
    tcase_add_test(tc, a_flood_of_errors_is_kept_to_its_beginning);
    tcase_add_test(tc, threads_bundle_side_by_side);

    tc = tcase_create("paths");
    tcase_add_test(tc, joined_paths_have_no_dots);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
