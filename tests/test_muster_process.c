/* tests/test_muster_process.c - the public calls where workers live in processes: what a crash does and does not do, what is
 * refused, and what the embedder sees of it.
 *
 * The life of a worker as such is tested in test_muster.c, on threads and in processes.  Here the inside is
 * looked at to find the process of a scope, and to make quarantine short; nothing sleeps. */
#include "coordinator/instance.h"
#include "remote/process_internal.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000 /* a bound for what must happen, never a pause */

/* ---- scripts, by address ---- */

static const char lua[] = "local nonce = math.random(1, 1 << 50)\n"
                          "muster.on('fetch', function(event)\n"
                          "  local path = event.request.url:match('/([^/]*)$')\n"
                          "  if path == 'exit' then os.exit(3) end\n"
                          "  if path == 'hang' then print('hangs') muster.sleep(2000000000) end\n"
                          "  if path == 'exit-later' then muster.sleep(1) os.exit(3) end\n"
                          "  if path == 'hog' then local all = {} while true do all[#all + 1] = ('x'):rep(100000) end end\n"
                          "  return {body = tostring(nonce)}\n"
                          "end)\n";

static const char javascript[] =
    "const nonce = Math.random();\n"
    "let finished = 0;\n"
    "addEventListener('fetch', (event) => {\n"
    "  const path = new URL(event.request.url).pathname.split('/').pop();\n"
    "  if (path === 'spin') { console.warn('spins'); for (;;); }\n"
    "  if (path === 'hang') { console.log('hangs'); event.respondWith(new Promise(() => {})); return; }\n"
    "  if (path === 'late') setTimeout(() => {\n"
    "    throw new RangeError('too late');\n"
    "  }, 1);\n"
    "  event.respondWith(new Response(String(nonce)));\n"
    "});\n"
    "addEventListener('note', (event) => {\n"
    "  event.waitUntil(new Promise((resolve) => setTimeout(() => { finished++; resolve(); }, 30)));\n"
    "});\n"
    "function count() { return finished; }\n"
    "function hog() { const all = []; for (;;) all.push(new Array(10000).fill(all.length)); }\n";

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)user_data;
    (void)error;
    ret_loaded->text = muster__strdup(strstr(url, ".lua") ? lua : javascript);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

/* ---- what it says ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char said[1 << 16];

static void note_line(const char *subject, enum muster_log_level level, const char *text, size_t length)
{
    pthread_mutex_lock(&lock);
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "[%d] %s: %.*s\n", level, subject, (int)length, text);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
    note_line(subject, level, text, strlen(text));
}

static void on_console(const char *scope, enum muster_log_level level, struct muster_bytes text,
                       void *user_data)
{
    (void)user_data;
    note_line(scope, level, text.data, text.length);
}

static void await_line(const char *part)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&lock);
    while (!strstr(said, part) && !late)
        late = pthread_cond_timedwait(&changed, &lock, &until);
    pthread_mutex_unlock(&lock);
    ck_assert_msg(!late, "nothing said \"%s\"; only: %s", part, said);
}

/* ---- the instance under test ---- */

static struct muster_options options;
static struct muster *muster;

static void set_up(void)
{
    options = (struct muster_options){.size = sizeof options,
                                      .threads = 2,
                                      .hosting = MUSTER_HOSTING_PROCESS_PER_WORKER,
                                      .load = load,
                                      .log = on_log,
                                      .console = on_console,
                                      .partial_wall = true,
                                      .stop_timeout_ms = 200,
                                      .cancel_timeout_ms = 2000};
    *said = '\0';
}

static void tear_down(void)
{
    muster_destroy(muster);
    muster = NULL;
}

static void begin(void)
{
    struct muster_error error = {0};
    enum muster_status status = muster_new(&options, &muster, &error);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", muster_status_name(status), error.message);
}

static struct muster_registration_options of_lua(const char *scope)
{
    return (struct muster_registration_options){.size = sizeof(struct muster_registration_options),
                                                .scope = scope,
                                                .script = "mem:/app.lua",
                                                .engine = "lua",
                                                .trust = MUSTER_TRUST_FULL};
}

static struct muster_registration_options of_javascript(const char *scope)
{
    return (struct muster_registration_options){.size = sizeof(struct muster_registration_options),
                                                .scope = scope,
                                                .script = "mem:/app.js",
                                                .engine = "javascript"};
}

static struct muster_result await(struct muster_handle *handle)
{
    struct muster_result result = {0};
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    return result;
}

static struct muster_handle *assert_ends(struct muster_handle *handle, enum muster_status status, const char *part)
{
    const struct muster_result result = await(handle);
    const char *text = result.error && result.error->message ? result.error->message : "";
    ck_assert_msg(result.status == status, "%s (%s), not %s", muster_status_name(result.status), text,
                  muster_status_name(status));
    ck_assert_msg(!part || strstr(text, part), "\"%s\" is not in \"%s\"", part, text);
    return handle;
}

static void add(const struct muster_registration_options *with)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, with, NULL, NULL, &handle), MUSTER_OK);
    muster_handle_release(assert_ends(handle, MUSTER_OK, NULL));
}

static void add_lua(const char *scope)
{
    const struct muster_registration_options with = of_lua(scope);
    add(&with);
}

static void add_javascript(const char *scope)
{
    const struct muster_registration_options with = of_javascript(scope);
    add(&with);
}

static void assert_refused(const struct muster_registration_options *with, enum muster_status status,
                           const char *part)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, with, NULL, NULL, &handle), MUSTER_OK);
    muster_handle_release(assert_ends(handle, status, part));
}

static struct muster_handle *fetch(const char *path)
{
    char url[128];
    struct muster_handle *handle = NULL;
    snprintf(url, sizeof url, "http://a.test%s", path);
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

static void assert_fetch(const char *path, enum muster_status status, const char *part)
{
    muster_handle_release(assert_ends(fetch(path), status, part));
}

/* What an instance of a worker answers as long as it lives. */
static void ask(const char *path, char *answer, size_t size)
{
    struct muster_handle *handle = assert_ends(fetch(path), MUSTER_OK, NULL);
    const struct muster_result result = await(handle);
    snprintf(answer, size, "%.*s", (int)result.response->body.length, result.response->body.data);
    muster_handle_release(handle);
}

/* ---- processes ---- */

static bool has_scope_locked(const struct process_host *host, const char *scope)
{
    for (size_t i = 0; i < host->workers.capacity; i++)
        for (struct muster__id_node *at = host->workers.buckets[i]; at; at = at->next)
            if (strcmp(MUSTER_CONTAINER_OF(at, struct process_worker, node)->options.scope, scope) == 0)
                return true;
    return false;
}

/* In the list each has a reference of its own. */
static size_t retain_hosts(struct process_host **hosts, size_t most)
{
    struct muster__processes *processes = muster->hosting.processes;
    size_t count = 0;
    pthread_mutex_lock(&processes->lock);
    for (struct process_host *host = processes->hosts; host && count < most; host = host->next) {
        muster__process_host_acquire(host);
        hosts[count++] = host;
    }
    pthread_mutex_unlock(&processes->lock);
    return count;
}

/* The process in which the worker of that scope lives; 0: none, or its launcher has not told yet. */
static pid_t look_for_pid(const char *scope, bool *ret_lives)
{
    struct process_host *hosts[64];
    pid_t pid = 0;
    *ret_lives = false;
    for (size_t i = retain_hosts(hosts, 64); i-- > 0;) {
        pthread_mutex_lock(&hosts[i]->lock);
        if (hosts[i]->process && has_scope_locked(hosts[i], scope)) {
            pid = muster__process_pid(hosts[i]->process);
            *ret_lives = true;
        }
        pthread_mutex_unlock(&hosts[i]->lock);
        muster__process_host_release(hosts[i]);
    }
    return pid;
}

/* 0: it lives in none.  A worker may serve before the launcher has had the time to tell of its process. */
static pid_t pid_of(const char *scope)
{
    uint64_t until_us = muster__now_us() + PATIENCE_MS * UINT64_C(1000);
    bool lives = true;
    pid_t pid = 0;
    while (pid == 0 && lives && muster__now_us() < until_us) {
        pid = look_for_pid(scope, &lives);
        sched_yield();
    }
    return pid;
}

START_TEST(a_crash_in_one_process_leaves_the_others_alone)
{
    char before[64], after[64];
    begin();
    add_lua("/a/");
    add_lua("/b/");
    ck_assert_int_ne(pid_of("/a/"), pid_of("/b/"));
    ask("/b/", before, sizeof before);
    struct muster_handle *waits = fetch("/b/hang");
    await_line("hangs");
    assert_fetch("/a/exit", MUSTER_CRASHED, "3");
    ask("/b/", after, sizeof after);
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(muster_wait(waits, 0, NULL), MUSTER_TIMED_OUT);
    assert_fetch("/a/", MUSTER_OK, NULL);
    muster_cancel(waits);
    muster_handle_release(waits);
}
END_TEST

START_TEST(the_error_says_how_the_process_ended)
{
    begin();
    add_javascript("/a/");
    struct muster_handle *waits = fetch("/a/hang");
    assert_fetch("/a/", MUSTER_OK, NULL); /* so its turn is over */
    kill(pid_of("/a/"), SIGKILL);
    struct muster_handle *ended = assert_ends(waits, MUSTER_RETRY, "SIGKILL");
    const struct muster_result result = await(ended);
    ck_assert_ptr_nonnull(strstr(result.error->message, "host "));
    muster_handle_release(ended);
}
END_TEST

START_TEST(an_idempotent_event_is_tried_again_and_no_other)
{
    char url[] = "http://a.test/a/hang";
    const struct muster_event_options again = {.size = sizeof again, .idempotent = true};
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, sizeof url - 1}};
    struct muster_handle *handle = NULL;
    begin();
    add_javascript("/a/");
    ck_assert_int_eq(muster_fetch(muster, &request, &again, NULL, NULL, &handle), MUSTER_OK);
    await_line("hangs");
    *said = '\0';
    kill(pid_of("/a/"), SIGKILL);
    await_line("hangs");
    ck_assert_int_eq(muster_wait(handle, 0, NULL), MUSTER_TIMED_OUT);
    muster_cancel(handle);
    muster_handle_release(assert_ends(handle, MUSTER_CANCELED, NULL));
}
END_TEST

static const struct muster__crash_policy hasty = {
    .half_life_us = 60000000,
    .pause_first_us = 1000,
    .pause_longest_us = 4000,
    .alone_from = 2,
    .quarantine_from = 3,
    .quarantine_first_us = 300000,
    .quarantine_longest_us = 600000,
};

START_TEST(a_script_that_keeps_killing_its_process_is_set_apart_then_refused_then_forgiven)
{
    char before[64], after[64];
    struct muster_handle *never = NULL;
    options.hosting = MUSTER_HOSTING_PROCESS;
    options.processes = 1;
    begin();
    muster->hosting.crashes = &hasty;

    const char *path = _i ? "/a/exit-later" : "/a/exit";
    add_lua("/a/");
    add_lua("/b/");
    never = fetch("/b/");
    (void)await(never);
    ck_assert_int_eq(pid_of("/a/"), pid_of("/b/"));
    int crashes = 0, refused = 0;
    for (int i = 0; i < 200 && !refused; i++) {
        struct muster_handle *handle = fetch(path);
        const struct muster_result result = await(handle);
        refused = result.status == MUSTER_REFUSED;
        if (refused)
            ck_assert_msg(strstr(result.error->message, "/a/ has killed its process") != NULL, "%s",
                          result.error->message);
        else
            crashes++;
        if (crashes == 2) { /* from now on the other one is left in peace */
            ask("/b/", before, sizeof before);
            ck_assert_int_ne(pid_of("/a/"), pid_of("/b/"));
        }
        muster_handle_release(handle);
    }
    ck_assert_int_eq(refused, 1);
    ck_assert_int_ge(crashes, 3);
    ask("/b/", after, sizeof after);
    ck_assert_str_eq(before, after);
    /* It is let in again. */
    struct muster_handle *hangs = fetch("/b/hang");
    enum muster_status status = MUSTER_REFUSED;
    for (int i = 0; i < PATIENCE_MS / 20 && status == MUSTER_REFUSED; i++) {
        struct muster_handle *handle = fetch("/a/");
        status = await(handle).status;
        muster_handle_release(handle);
        ck_assert_int_eq(muster_wait(hangs, 20, NULL), MUSTER_TIMED_OUT);
    }
    ck_assert_int_eq(status, MUSTER_OK);
    muster_handle_release(hangs);
    muster_handle_release(never);
}
END_TEST

START_TEST(two_tenants_without_trust_never_share_a_process)
{
    static const char *const tenants[] = {"ann", "bob"};
    char scope[16];
    options.hosting = MUSTER_HOSTING_PROCESS;
    options.processes = 1;
    begin();
    for (int i = 0; i < 4; i++) {
        snprintf(scope, sizeof scope, "/%d/", i);
        struct muster_registration_options with = of_javascript(scope);
        with.trust = MUSTER_TRUST_NONE;
        with.tenant = tenants[i % 2];
        add(&with);
        assert_fetch(scope, MUSTER_OK, NULL);
    }
    add_javascript("/trusted/");
    pid_t ann = pid_of("/0/"), bob = pid_of("/1/"), trusted = pid_of("/trusted/");
    ck_assert_int_gt(ann, 0);
    ck_assert_int_eq(pid_of("/2/"), ann);
    ck_assert_int_eq(pid_of("/3/"), bob);
    ck_assert_int_ne(ann, bob);
    ck_assert(trusted != ann && trusted != bob);
}
END_TEST

START_TEST(sites_share_a_process_and_workers_of_their_own_do_not)
{
    options.hosting = MUSTER_HOSTING_PROCESS_PER_SITE;
    begin();
    add_lua("https://a.test/x/");
    add_lua("https://a.test/y/");
    add_lua("https://b.test/x/");
    struct muster_registration_options with = of_lua("https://a.test/z/");
    with.hosting = MUSTER_HOSTING_PROCESS_PER_WORKER;
    add(&with);
    ck_assert_int_eq(pid_of("https://a.test/x/"), pid_of("https://a.test/y/"));
    ck_assert_int_ne(pid_of("https://a.test/x/"), pid_of("https://b.test/x/"));
    ck_assert_int_ne(pid_of("https://a.test/x/"), pid_of("https://a.test/z/"));
}
END_TEST

/* Its first line. */
static void read_process_file(const char *scope, const char *name, char *line, int size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid_of(scope), name);
    FILE *file = fopen(path, "re");
    ck_assert_msg(file && fgets(line, size, file), "%s of %s", path, scope);
    fclose(file);
}

/* Where its first mapping lies, by which processes that are copies of one another agree. */
static unsigned long layout_of(const char *scope)
{
    char line[512];
    read_process_file(scope, "maps", line, sizeof line);
    return strtoul(line, NULL, 16);
}

static void add_without_trust(const char *scope)
{
    struct muster_registration_options with = of_javascript(scope);
    with.trust = MUSTER_TRUST_NONE;
    add(&with);
    assert_fetch(scope, MUSTER_OK, NULL);
}

/* The sanitizers make none, and may have switched the random layout off. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COPIES_ARE_MADE false
#else
#define COPIES_ARE_MADE true
#endif

static bool layouts_are_random(void)
{
    return COPIES_ARE_MADE && ((unsigned)personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0;
}

START_TEST(processes_are_copies_unless_they_are_to_be_fresh)
{
    char name[32];
    options.fresh_processes = _i == 1;
    options.no_spare_process = true;
    begin();
    add_javascript("/a/");
    add_javascript("/b/");
    assert_fetch("/a/", MUSTER_OK, NULL);
    assert_fetch("/b/", MUSTER_OK, NULL);
    ck_assert_int_ne(pid_of("/a/"), pid_of("/b/"));
    if (layouts_are_random())
        ck_assert((layout_of("/a/") == layout_of("/b/")) == (_i == 0));
    read_process_file("/a/", "comm", name, sizeof name);
    ck_assert_str_eq(name, "muster-host\n");
    struct muster_handle *waits = fetch("/a/hang");
    assert_fetch("/a/", MUSTER_OK, NULL); /* so its turn is over */
    kill(pid_of("/a/"), SIGKILL);
    muster_handle_release(assert_ends(waits, MUSTER_RETRY, "SIGKILL"));
    assert_fetch("/a/", MUSTER_OK, NULL);
    assert_fetch("/b/", MUSTER_OK, NULL);
}
END_TEST

/* Two that start in the same second, at the same addresses. */
START_TEST(copies_draw_random_numbers_of_their_own)
{
    static void (*const adds[])(const char *) = {add_javascript, add_lua};
    char first[64], second[64];
    options.no_spare_process = true;
    begin();
    add_javascript("/expected/");
    adds[_i]("/a/");
    adds[_i]("/b/");
    ask("/a/", first, sizeof first);
    ask("/b/", second, sizeof second);
    ck_assert_str_ne(first, second);
}
END_TEST

START_TEST(who_is_not_trusted_shares_no_layout)
{
    options.no_spare_process = _i == 1;
    begin();
    add_javascript("/a/");
    add_javascript("/b/");
    add_without_trust("/ann/");
    add_without_trust("/bob/");
    add_javascript("/c/");
    static const char *const scopes[] = {"/a/", "/b/", "/ann/", "/bob/", "/c/"};
    for (int none = 2; none < 4; none++)
        for (int other = 0; other < 5; other++)
            if (other != none && layouts_are_random())
                ck_assert(layout_of(scopes[none]) != layout_of(scopes[other]));
}
END_TEST

/* A copy in reserve is no process for it, and makes room. */
START_TEST(one_in_reserve_does_not_keep_out_who_is_not_trusted)
{
    options.process_limit = 2;
    begin();
    add_javascript("/a/");
    add_without_trust("/ann/");
    assert_fetch("/a/", MUSTER_OK, NULL);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(who_is_not_trusted_gets_no_thread)
{
    struct muster_registration_options with = of_javascript("/a/");
    with.trust = MUSTER_TRUST_NONE;
    with.hosting = MUSTER_HOSTING_THREAD;
    options.hosting = MUSTER_HOSTING_THREAD;
    begin();
    assert_refused(&with, MUSTER_INVALID_ARGUMENT, "trust \"none\" cannot live on a thread");
    with.hosting = MUSTER_HOSTING_DEFAULT; /* then it is a process, though the others have threads */
    add(&with);
    ck_assert_int_gt(pid_of("/a/"), 0);
}
END_TEST

static const struct muster_native_worker nothing = {.size = sizeof nothing};

START_TEST(native_code_of_this_program_does_not_travel)
{
    struct muster_registration_options with = {.size = sizeof with,
                                               .scope = "/a/",
                                               .engine = "native",
                                               .native = &nothing,
                                               .hosting = MUSTER_HOSTING_PROCESS};
    begin();
    assert_refused(&with, MUSTER_UNSUPPORTED, "cannot live in another process");
    with.trust = MUSTER_TRUST_NONE;
    assert_refused(&with, MUSTER_UNSUPPORTED, "cannot live in another process");
    with.hosting = MUSTER_HOSTING_DEFAULT;
    with.trust = MUSTER_TRUST_SCRIPT;
    add(&with); /* nobody asked for a process for it: a thread */
}
END_TEST

START_TEST(a_missing_host_program_is_named)
{
    struct muster_error error = {0};
    options.host_program = "/nowhere/muster-host";
    ck_assert_int_eq(muster_new(&options, &muster, &error), MUSTER_NOT_FOUND);
    ck_assert_msg(strstr(error.message, "/nowhere/muster-host") != NULL, "%s", error.message);
    ck_assert_ptr_null(muster);
    muster_error_clean_up(&error);
    /* With threads it is missed only by who needs it. */
    options.hosting = MUSTER_HOSTING_THREAD;
    begin();
    struct muster_registration_options with = of_lua("/a/");
    with.hosting = MUSTER_HOSTING_PROCESS;
    assert_refused(&with, MUSTER_NOT_FOUND, "/nowhere/muster-host");
    add_lua("/b/");
}
END_TEST

START_TEST(no_more_processes_than_the_limit)
{
    options.process_limit = 1;
    options.no_spare_process = true;
    begin();
    add_lua("/a/");
    const struct muster_registration_options with = of_lua("/b/");
    assert_refused(&with, MUSTER_REFUSED, NULL);
    await_line("which is the limit");
    assert_fetch("/a/", MUSTER_OK, NULL);
}
END_TEST

/* ---- limits and errors, from afar ---- */

START_TEST(a_turn_without_end_is_cut_and_its_process_goes_on)
{
    struct muster_registration_options with = of_javascript("/a/");
    with.turn_limit_ms = 100;
    begin();
    add(&with);
    pid_t pid = pid_of("/a/");
    assert_fetch("/a/spin", MUSTER_TURN_LIMIT, NULL);
    await_line("spins");
    assert_fetch("/a/", MUSTER_OK, NULL);
    ck_assert_int_eq(kill(pid, 0), 0);
}
END_TEST

START_TEST(a_worker_beyond_its_memory_ends)
{
    struct muster_registration_options with = of_lua("/a/");
    with.trust = MUSTER_TRUST_SCRIPT; /* with full trust the limit can be lifted */
    with.memory_limit = 8 << 20;
    begin();
    add(&with);
    assert_fetch("/a/hog", MUSTER_MEMORY_LIMIT, NULL);
    assert_fetch("/a/", MUSTER_OK, NULL);
}
END_TEST

START_TEST(a_process_beyond_its_memory_is_killed_and_says_so)
{
    options.process_memory_limit = UINT64_C(200) << 20;
    begin();
    add_lua("/a/");
    assert_fetch("/a/hog", MUSTER_CRASHED, "memory");
    assert_fetch("/a/", MUSTER_OK, NULL);
}
END_TEST

START_TEST(an_uncaught_error_tells_its_place)
{
    begin();
    add_javascript("/a/");
    assert_fetch("/a/late", MUSTER_OK, NULL);
    await_line("too late");
    ck_assert_msg(strstr(said, "app.js:8") != NULL, "%s", said);
}
END_TEST

START_TEST(what_an_event_waits_for_holds_its_worker)
{
    struct muster_handle *handle = NULL;
    options.idle_ms = 1;
    options.grace_ms = 30000;
    begin();
    add_javascript("/a/");
    ck_assert_int_eq(muster_dispatch(muster, "/a/", "note", NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(await(handle).status, MUSTER_OK);
    muster_handle_release(handle);
}
END_TEST

/* ---- the end ---- */

START_TEST(a_worker_that_hangs_does_not_hold_up_the_end)
{
    begin();
    add_javascript("/a/");
    struct muster_handle *spins = fetch("/a/spin"), *waits = fetch("/a/");
    await_line("spins");
    int pidfd = (int)syscall(SYS_pidfd_open, pid_of("/a/"), 0);
    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(muster_close_wait(muster, 10000), MUSTER_OK);
    ck_assert_msg(strstr(said, "/a/: worker") && strstr(said, "is interrupted"), "%s", said);
    ck_assert_int_ne(await(spins).status, MUSTER_OK);
    ck_assert_int_ne(await(waits).status, MUSTER_OK);
    muster_handle_release(spins);
    muster_handle_release(waits);
    muster_destroy(muster);
    muster = NULL;
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    ck_assert_int_eq(poll(&gone, 1, PATIENCE_MS), 1);
    close(pidfd);
}
END_TEST

/* ---- what the embedder sees ---- */

START_TEST(the_embedder_has_no_child_and_no_signal)
{
    begin();
    signal(SIGCHLD, SIG_IGN);
    add_lua("/a/");
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    assert_fetch("/a/exit", MUSTER_CRASHED, "3");
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    assert_fetch("/a/", MUSTER_OK, NULL);
}
END_TEST

START_TEST(a_forked_child_leaves_the_processes_alone)
{
    int status = 0;
    char before[64], after[64];
    begin();
    add_lua("/a/");
    ask("/a/", before, sizeof before);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct muster_registration_options with = of_lua("/b/");
        bool refused = muster_register(muster, &with, NULL, NULL, NULL) == MUSTER_FORKED;
        muster_destroy(muster);
        _exit(refused ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ask("/a/", after, sizeof after);
    ck_assert_str_eq(before, after);
}
END_TEST

/* ---- suite ---- */

/* The leak checker crashes on what the JavaScript engine has mapped, which here it has only in other processes. */
static Suite *suite(void)
{
    Suite *made = suite_create("muster, in processes");
    TCase *tcase = tcase_create("crashes");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_crash_in_one_process_leaves_the_others_alone);
    tcase_add_test(tcase, the_error_says_how_the_process_ended);
    tcase_add_test(tcase, an_idempotent_event_is_tried_again_and_no_other);
    tcase_add_loop_test(tcase, a_script_that_keeps_killing_its_process_is_set_apart_then_refused_then_forgiven, 0, 2);
    suite_add_tcase(made, tcase);

    tcase = tcase_create("where");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, two_tenants_without_trust_never_share_a_process);
    tcase_add_test(tcase, sites_share_a_process_and_workers_of_their_own_do_not);
    tcase_add_loop_test(tcase, processes_are_copies_unless_they_are_to_be_fresh, 0, 2);
    tcase_add_loop_test(tcase, copies_draw_random_numbers_of_their_own, 0, 2);
    tcase_add_loop_test(tcase, who_is_not_trusted_shares_no_layout, 0, 2);
    tcase_add_test(tcase, one_in_reserve_does_not_keep_out_who_is_not_trusted);
    tcase_add_test(tcase, who_is_not_trusted_gets_no_thread);
    tcase_add_test(tcase, native_code_of_this_program_does_not_travel);
    tcase_add_test(tcase, a_missing_host_program_is_named);
    tcase_add_test(tcase, no_more_processes_than_the_limit);
    suite_add_tcase(made, tcase);

    tcase = tcase_create("limits");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_turn_without_end_is_cut_and_its_process_goes_on);
    tcase_add_test(tcase, a_worker_beyond_its_memory_ends);
    tcase_add_test(tcase, a_process_beyond_its_memory_is_killed_and_says_so);
    tcase_add_test(tcase, an_uncaught_error_tells_its_place);
    tcase_add_test(tcase, what_an_event_waits_for_holds_its_worker);
    tcase_add_test(tcase, a_worker_that_hangs_does_not_hold_up_the_end);
    suite_add_tcase(made, tcase);

    tcase = tcase_create("embedder");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_embedder_has_no_child_and_no_signal);
    tcase_add_test(tcase, a_forked_child_leaves_the_processes_alone);
    suite_add_tcase(made, tcase);
    return made;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
