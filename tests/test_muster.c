/* tests/test_muster.c - the public calls, as an embedder makes them: only <muster/...> names are used here.
 *
 * Scripts come from a loader of this file, so nothing is read from disk.  What has to be in the middle of
 * something is held there by a gate (a loader, or a native start, that waits) or by a fetch of "/hang",
 * which never answers; nothing sleeps. */
#include "coordinator/muster.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */

/* What each test that loops runs on: the engines on threads, and those for scripts in processes. */
enum { NATIVE, LUA, JAVASCRIPT, LUA_PROCESS, JAVASCRIPT_PROCESS, ENGINE_COUNT };
static const char *const engine_names[] = {"native", "lua", "javascript", "lua", "javascript"};

static bool is_lua(int engine)
{
    return engine == LUA || engine == LUA_PROCESS;
}

/* ---- a gate: those who come wait until it is opened ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    int arrived;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

static void gate_pass(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.arrived++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_await_arrival(void)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.arrived == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_open(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

/* ---- the application, three times the same ---- */

static const char app_lua[] = "local seen = {}\n"
                              "muster.on('fetch', function(event)\n"
                              "  local path = event.request.url:match('//[^/]*(.*)')\n"
                              "  if path:match('/hang$') then muster.sleep(2000000000) end\n"
                              "  if path:match('/pass$') then return end\n"
                              "  return {status = 201, body = 'hello ' .. path, headers = {['x-a'] = 'b'}}\n"
                              "end)\n"
                              "muster.on('note', function(event) seen[#seen + 1] = event.data end)\n"
                              "function notes() return seen end\n"
                              "function add(a, b) return a + b end\n"
                              "function fail()\n"
                              "  error('boom')\n"
                              "end\n";

static const char app_javascript[] =
    "const seen = [], hanging = [];\n"
    "addEventListener('fetch', event => {\n"
    "  const path = new URL(event.request.url).pathname;\n"
    "  if (path.endsWith('/hang')) event.respondWith(new Promise(resolve => hanging.push(resolve)));\n"
    "  else if (!path.endsWith('/pass'))\n"
    "    event.respondWith(new Response('hello ' + path, {status: 201, headers: {'x-a': 'b'}}));\n"
    "});\n"
    "addEventListener('note', event => { seen.push(event.data); });\n"
    "function notes() { return seen; }\n"
    "function add(a, b) { return a + b; }\n"
    "function fail() {\n"
    "  throw new Error('boom');\n"
    "}\n";

static struct muster_bytes bytes_of(const char *text)
{
    return (struct muster_bytes){text, strlen(text)};
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && strcmp(text + length - size, ending) == 0;
}

static void respond(struct muster_event *event, int status, const char *text)
{
    static const struct muster_header header = {{"x-a", 3}, {"b", 1}};
    const struct muster_http_response response = {
        .status_code = status, .headers = &header, .header_count = 1, .body = bytes_of(text)};
    /* CLOSED: nobody waits any more. */
    enum muster_status answered = muster_event_respond(event, &response);
    (void)answered;
}

static void app_fetch(struct muster_native *worker, struct muster_event *event, void *state)
{
    const struct muster_bytes url = muster_event_request(event)->url;
    char path[200], body[220];
    (void)worker;
    (void)state;
    const char *slash = memchr(url.data + strlen("http://"), '/', url.length - strlen("http://"));
    snprintf(path, sizeof(path), "%.*s", slash ? (int)(url.data + url.length - slash) : 0, slash);
    if (ends_with(path, "/hang")) {
        enum muster_status held = muster_event_wait_until(event, "hanging");
        (void)held;
        return;
    }
    if (ends_with(path, "/pass"))
        return;
    snprintf(body, sizeof(body), "hello %s", path);
    respond(event, 201, body);
}

static enum muster_status app_start(struct muster_native *worker, void **ret_state,
                                    struct muster_error *error)
{
    (void)worker;
    (void)error;
    *ret_state = muster_value_new_array();
    return *ret_state ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static enum muster_status gated_start(struct muster_native *worker, void **ret_state,
                                      struct muster_error *error)
{
    gate_pass();
    return app_start(worker, ret_state, error);
}

static void app_stop(struct muster_native *worker, void *state)
{
    (void)worker;
    muster_value_release(state);
}

static void app_note(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    enum muster_status status =
        muster_value_append(state, muster_value_acquire(muster_event_data(event)));
    if (status != MUSTER_OK)
        muster_event_throw(event, "Error", "out of memory");
}

static void app_notes(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    muster_event_return(event, muster_value_acquire(state));
}

static void app_add(struct muster_native *worker, struct muster_event *event, void *state)
{
    const struct muster_value *arguments = muster_event_data(event);
    (void)worker;
    (void)state;
    muster_event_return(event, muster_value_new_number(muster_value_number(muster_value_at(arguments, 0)) +
                                                       muster_value_number(muster_value_at(arguments, 1))));
}

static void app_fail(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    muster_event_throw(event, "Error", "boom");
}

static const struct muster_native_entry app_events[] = {{"fetch", app_fetch}, {"note", app_note}};
static const struct muster_native_entry app_functions[] = {
    {"notes", app_notes}, {"add", app_add}, {"fail", app_fail}};
static const struct muster_native_worker app_native = {
    sizeof(app_native), app_start, app_stop, app_events, 2, app_functions, 3};
static const struct muster_native_worker gated_native = {
    sizeof(gated_native), gated_start, app_stop, app_events, 2, app_functions, 3};

/* ---- other scripts, by address ---- */

static const struct script {
    const char *url, *text;
} scripts[] = {
    {"app.lua", app_lua},
    {"app.js", app_javascript},
    {"syntax.lua", "local a = 1\nlocal b = = 2\n"},
    {"syntax.js", "const a = 1;\nconst b = = 2;\n"},
    {"throws.lua", "local a = 1\nerror('boom')\n"},
    {"throws.js", "const a = 1;\nthrow new Error('boom');\n"},
    {"install.lua", "muster.on('install', function()\n  error('not today')\nend)\n"},
    {"install.js", "addEventListener('install', event =>\n"
                   "  event.waitUntil(Promise.reject(new Error('not today'))));\n"},
    {"noisy.js", "addEventListener('install', () => {\n  throw new Error('not today');\n});\n"
                 "addEventListener('fetch', event => event.respondWith(new Response('all the same')));\n"},
    {"hangs.lua", "muster.on('install', function(event)\n"
                  "  event:wait_until(function() muster.sleep(2000000000) end)\n"
                  "end)\n"},
    {"hangs.js", "addEventListener('install', event => event.waitUntil(new Promise(() => {})));\n"},
    {"signal.js", "let aborted = 0;\n"
                  "addEventListener('fetch', event => {\n"
                  "  event.request.signal.addEventListener('abort', () => { aborted += 1; });\n"
                  "  event.respondWith(new Promise(() => {}));\n"
                  "});\n"
                  "function count() { return aborted; }\n"},
    {"asks.js", "const { scope, active } = registration;\n"
                "const seen = `${scope} ${active === null ? 'new' : active.state}`;\n"
                "function found() { return seen; }\n"},
    {"host.lua", "local function caught(f)\n"
                 "  local ok, e = pcall(f)\n"
                 "  return ok and 'nothing' or e.name .. ': ' .. e.message\n"
                 "end\n"
                 "function sum() return host.add(2, 3) end\n"
                 "function later() return host.later('x') end\n"
                 "function fail() return caught(host.fail) end\n"
                 "function failLater() return caught(host.later) end\n"
                 "function uncaught() host.fail() end\n"
                 "function constant() return host.answer end\n"
                 "function count()\n"
                 "  local counter = host.counter()\n"
                 "  counter:increment()\n"
                 "  counter:increment()\n"
                 "  return counter:get()\n"
                 "end\n"
                 "function keep() kept = host.counter() end\n"
                 "function pipe() return host.pipe() end\n"},
    {"host.js", "async function caught(f) {\n"
                "  try { await f(); return 'nothing'; } catch (e) { return e.name + ': ' + e.message; }\n"
                "}\n"
                "function sum() { return host.add(2, 3); }\n"
                "async function later() { return await host.later('x'); }\n"
                "function fail() { return caught(() => host.fail()); }\n"
                "function failLater() { return caught(() => host.later()); }\n"
                "function uncaught() { return host.fail(); }\n"
                "function constant() { return host.answer; }\n"
                "function count() {\n"
                "  const counter = host.counter();\n"
                "  counter.increment();\n"
                "  counter.increment();\n"
                "  return counter.get();\n"
                "}\n"
                "async function keep() { globalThis.kept = await host.counter(); }\n"
                "function pipe() { return host.pipe(); }\n"},
};

/* "version-7.lua": answers "version 7"; "skip-7.lua": the same, and it skips waiting. */
static char *make_version(const char *url)
{
    static const char lua[] = "muster.on('install', function() %s end)\n"
                              "muster.on('fetch', function() return {body = 'version %d'} end)\n";
    static const char javascript[] =
        "addEventListener('install', () => { %s; });\n"
        "addEventListener('fetch', event => event.respondWith(new Response('version %d')));\n";
    char *text = NULL;
    int version = 0;
    bool skips = sscanf(url, "skip-%d.", &version) == 1;
    if (!skips && sscanf(url, "version-%d.", &version) != 1)
        return NULL;
    bool is_lua = ends_with(url, ".lua");
    const char *skip = !skips ? "" : is_lua ? "muster.skip_waiting()" : "skipWaiting()";
    return asprintf(&text, is_lua ? lua : javascript, skip, version) < 0 ? NULL : text;
}

/* "gated:URL" waits at the gate first. */
static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const char gated[] = "gated:";
    (void)importer;
    (void)user_data;
    if (strncmp(url, gated, sizeof(gated) - 1) == 0) {
        gate_pass();
        url += sizeof(gated) - 1;
    }
    ret_loaded->text = make_version(url);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts) && !ret_loaded->text; i++)
        if (strcmp(url, scripts[i].url) == 0)
            ret_loaded->text = strdup(scripts[i].text);
    if (!ret_loaded->text) {
        muster_error_set(error, MUSTER_NOT_FOUND, "this program has no script %s", url);
        return MUSTER_NOT_FOUND;
    }
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

/* ---- the leak sanitizer, where there is one ---- */

static atomic_bool javascript_was_used;

int __lsan_is_turned_off(void);

/* It crashes on what JavaScriptCore has mapped; native and Lua are looked through. */
int __lsan_is_turned_off(void)
{
    return atomic_load(&javascript_was_used);
}

/* ---- the instance under test ---- */

static struct muster_options options;
static struct muster *muster;

static void print_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
}

static void set_up(void)
{
    gate.open = false; /* where tests are not forked */
    gate.arrived = 0;
    options = (struct muster_options){
        .size = sizeof(options),
        .threads = 2,
        .load = load,
        .log = getenv("MUSTER_TEST_LOG") ? print_log : NULL,
        .log_events = getenv("MUSTER_TEST_LOG") != NULL,
        .stop_timeout_ms = 200,
        .cancel_timeout_ms = 2000,
    };
}

static void tear_down(void)
{
    muster_destroy(muster);
    muster = NULL;
}

static struct muster *make(const struct muster_options *with)
{
    struct muster *made = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster_new(with, &made, &error);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", muster_status_name(status),
                  error.message ? error.message : "");
    return made;
}

static void begin(void)
{
    muster = make(&options);
}

static struct muster_result await(struct muster_handle *handle)
{
    struct muster_result result = {0};
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    return result;
}

static void assert_status(const struct muster_result *result, enum muster_status status)
{
    ck_assert_msg(result->status == status, "%s (%s), not %s", muster_status_name(result->status),
                  result->error && result->error->message ? result->error->message : "",
                  muster_status_name(status));
}

static enum muster_status await_status(struct muster_handle *handle)
{
    enum muster_status status = await(handle).status;
    muster_handle_release(handle);
    return status;
}

static void await_ok(struct muster_handle *handle)
{
    const struct muster_result result = await(handle);
    assert_status(&result, MUSTER_OK);
    muster_handle_release(handle);
}

static struct muster_registration_options registration(const char *scope, int engine, const char *script)
{
    if (engine == JAVASCRIPT || engine == JAVASCRIPT_PROCESS)
        atomic_store(&javascript_was_used, true);
    return (struct muster_registration_options){
        .size = sizeof(struct muster_registration_options),
        .scope = scope,
        .script = script,
        .engine = engine_names[engine],
        .hosting = engine >= LUA_PROCESS ? MUSTER_HOSTING_PROCESS : MUSTER_HOSTING_DEFAULT,
    };
}

static struct muster_handle *begin_register(const struct muster_registration_options *with)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_register(muster, with, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

static struct muster_registration_options app(const char *scope, int engine)
{
    struct muster_registration_options with =
        registration(scope, engine, is_lua(engine) ? "app.lua" : "app.js");
    if (engine == NATIVE)
        with.native = &app_native;
    return with;
}

static struct muster_registration_options gated_app(const char *scope, int engine)
{
    struct muster_registration_options with =
        registration(scope, engine, is_lua(engine) ? "gated:app.lua" : "gated:app.js");
    if (engine == NATIVE)
        with.native = &gated_native;
    return with;
}

static void register_app(const char *scope, int engine)
{
    const struct muster_registration_options with = app(scope, engine);
    await_ok(begin_register(&with));
}

static void register_script(const char *scope, int engine, const char *script)
{
    const struct muster_registration_options with = registration(scope, engine, script);
    await_ok(begin_register(&with));
}

static enum muster_status try_fetch(struct muster *with, const char *url, muster_done_fn *done,
                                    void *user_data, struct muster_handle **ret_handle)
{
    const struct muster_http_request request = {.method = bytes_of("GET"), .url = bytes_of(url)};
    return muster_fetch(with, &request, NULL, done, user_data, ret_handle);
}

static struct muster_handle *fetch(const char *url)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(try_fetch(muster, url, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

static void assert_body(const struct muster_result *result, const char *body)
{
    assert_status(result, MUSTER_OK);
    ck_assert_ptr_nonnull(result->response);
    ck_assert_uint_eq(result->response->body.length, strlen(body));
    ck_assert_mem_eq(result->response->body.data, body, strlen(body));
}

static void assert_answer(const char *url, const char *body)
{
    struct muster_handle *handle = fetch(url);
    const struct muster_result result = await(handle);
    assert_body(&result, body);
    muster_handle_release(handle);
}

static struct muster_handle *call(const char *scope, const char *function, const char *json)
{
    struct muster_handle *handle = NULL;
    struct muster_value *arguments = NULL;
    if (json)
        ck_assert_int_eq(muster_value_from_json(json, strlen(json), &arguments, NULL), MUSTER_OK);
    ck_assert_int_eq(muster_call(muster, scope, function, arguments, NULL, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

static void assert_call(const char *scope, const char *function, const char *json, const char *expected)
{
    struct muster_handle *handle = call(scope, function, json);
    const struct muster_result result = await(handle);
    assert_status(&result, MUSTER_OK);
    char *text = muster_value_to_json(result.value);
    ck_assert_str_eq(text, expected);
    free(text);
    muster_handle_release(handle);
}

static struct muster_handle *note(const char *scope, double number)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_dispatch(muster, scope, "note", muster_value_new_number(number), NULL, NULL,
                                     NULL, &handle),
                     MUSTER_OK);
    return handle;
}

/* ---- callbacks, counted ---- */

struct tally {
    atomic_int count;
    atomic_int by_status[MUSTER_STATUS_COUNT];
    atomic_bool inside; /* on a thread that was inside of a call of ours */
    sem_t came;
};

static _Thread_local bool inside_a_call;

static void tally_init(struct tally *tally)
{
    memset(tally, 0, sizeof(*tally));
    sem_init(&tally->came, 0, 0);
}

static void count_done(const struct muster_result *result, void *user_data)
{
    struct tally *tally = user_data;
    if (inside_a_call)
        atomic_store(&tally->inside, true);
    atomic_fetch_add(&tally->by_status[result->status], 1);
    atomic_fetch_add(&tally->count, 1);
    sem_post(&tally->came);
}

static void await_signal(sem_t *signal)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    ck_assert_int_eq(sem_timedwait(signal, &until), 0);
}

/* ---- the same on three engines ---- */

START_TEST(a_fetch_is_answered)
{
    begin();
    register_app("/", _i);
    struct muster_handle *handle = fetch("http://a.test/x");
    const struct muster_result result = await(handle);
    assert_body(&result, "hello /x");
    ck_assert_int_eq(result.response->status_code, 201);
    bool found = false;
    for (size_t i = 0; i < result.response->header_count; i++)
        found |= result.response->headers[i].name.length == 3 &&
                 memcmp(result.response->headers[i].name.data, "x-a", 3) == 0 &&
                 memcmp(result.response->headers[i].value.data, "b", 1) == 0;
    ck_assert(found);
    muster_handle_release(handle);
}
END_TEST

START_TEST(events_reach_their_listener_with_their_data)
{
    begin();
    register_app("/", _i);
    for (int i = 1; i <= 3; i++)
        await_ok(note("/", i));
    assert_call("/", "notes", NULL, "[1,2,3]");
}
END_TEST

START_TEST(a_function_gives_its_result_or_its_error)
{
    begin();
    register_app("/", _i);
    assert_call("/", "add", "[2, 3]", "5");
    struct muster_handle *handle = call("/", "fail", NULL);
    const struct muster_result result = await(handle);
    assert_status(&result, MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(result.error);
    ck_assert_ptr_nonnull(strstr(result.error->message, "boom"));
    if (_i != NATIVE)
        ck_assert_int_eq(result.error->line, 12);
    muster_handle_release(handle);
}
END_TEST

START_TEST(what_nobody_answers_passes)
{
    struct muster_handle *handle = NULL;
    begin();
    register_app("/", _i);
    ck_assert_int_eq(await_status(fetch("http://a.test/pass")), MUSTER_PASSED);
    ck_assert_int_eq(muster_dispatch(muster, "/", "unheard", NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(await_status(handle), MUSTER_PASSED);
    ck_assert_int_eq(await_status(call("/", "missing", NULL)), MUSTER_NOT_FOUND);
}
END_TEST

START_TEST(events_posted_while_a_worker_starts_are_answered_in_order)
{
    enum { COUNT = 100 };
    struct muster_handle *handles[COUNT];
    begin();
    struct muster_registration_options with = gated_app("/", _i);
    with.lazy = true;
    await_ok(begin_register(&with));
    for (int i = 0; i < COUNT; i++)
        handles[i] = note("/", i);
    gate_await_arrival();
    struct muster_handle *notes = call("/", "notes", NULL);
    ck_assert_int_eq(muster_wait(handles[0], 0, NULL), MUSTER_TIMED_OUT);
    gate_open();
    const struct muster_result result = await(notes);
    assert_status(&result, MUSTER_OK);
    ck_assert_uint_eq(muster_value_count(result.value), COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_double_eq(muster_value_number(muster_value_at(result.value, (size_t)i)), i);
        await_ok(handles[i]);
    }
    muster_handle_release(notes);
}
END_TEST

START_TEST(an_event_past_its_deadline_times_out)
{
    options.event_timeout_ms = 20;
    begin();
    register_app("/", _i);
    const struct muster_event_options mine = {.size = sizeof(mine), .timeout_ms = 30};
    const struct muster_http_request request = {.method = bytes_of("GET"),
                                                .url = bytes_of("http://a.test/hang")};
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_fetch(muster, &request, &mine, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(await_status(fetch("http://a.test/hang")), MUSTER_TIMED_OUT);
    ck_assert_int_eq(await_status(handle), MUSTER_TIMED_OUT);
}
END_TEST

START_TEST(what_is_canceled_settles_once_and_the_worker_goes_on)
{
    struct tally tally;
    struct muster_handle *handle = NULL;
    tally_init(&tally);
    begin();
    register_app("/", _i);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/hang", count_done, &tally, &handle), MUSTER_OK);
    assert_answer("http://a.test/x", "hello /x"); /* so the first one runs */
    inside_a_call = true;
    muster_cancel(handle);
    muster_cancel(handle);
    inside_a_call = false;
    ck_assert_int_eq(await(handle).status, MUSTER_CANCELED);
    await_signal(&tally.came);
    assert_answer("http://a.test/y", "hello /y");
    muster_cancel(handle);
    muster_handle_release(handle);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    ck_assert_int_eq(tally.count, 1);
    ck_assert_int_eq(tally.by_status[MUSTER_CANCELED], 1);
    ck_assert_msg(!tally.inside, "the callback came inside muster_cancel()");
}
END_TEST

START_TEST(what_is_canceled_while_it_waits_is_never_delivered)
{
    begin();
    struct muster_registration_options with = gated_app("/", _i);
    with.lazy = true;
    await_ok(begin_register(&with));
    struct muster_handle *first = note("/", 1), *second = note("/", 2), *third = note("/", 3);
    gate_await_arrival();
    muster_cancel(second);
    ck_assert_int_eq(await_status(second), MUSTER_CANCELED);
    gate_open();
    await_ok(first);
    await_ok(third);
    assert_call("/", "notes", NULL, "[1,3]");
}
END_TEST

START_TEST(a_full_queue_refuses_at_once)
{
    enum { LIMIT = 4 };
    struct muster_handle *handles[LIMIT], *refused = NULL;
    struct tally tally;
    tally_init(&tally);
    begin();
    struct muster_registration_options with = gated_app("/", _i);
    with.lazy = true;
    with.queue_limit = LIMIT;
    await_ok(begin_register(&with));
    for (int i = 0; i < LIMIT; i++)
        handles[i] = note("/", i);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(muster_dispatch(muster, "/", "note", muster_value_new_number(9), NULL, count_done,
                                         &tally, &refused),
                         MUSTER_QUEUE_FULL);
    ck_assert_ptr_null(refused);
    gate_open();
    for (int i = 0; i < LIMIT; i++)
        await_ok(handles[i]);
    await_ok(note("/", 4));
    assert_call("/", "notes", NULL, "[0,1,2,3,4]");
    ck_assert_int_eq(tally.count, 0);
}
END_TEST

START_TEST(a_worker_that_was_stopped_comes_back_for_the_next_event)
{
    struct muster_stats stats = {.size = sizeof(stats)};
    struct muster_handle *handle = NULL;
    begin();
    register_app("/", _i);
    await_ok(note("/", 1));
    ck_assert_int_eq(muster_stop(muster, "/", NULL, NULL, &handle), MUSTER_OK);
    await_ok(handle);
    assert_call("/", "notes", NULL, is_lua(_i) ? "{}" : "[]"); /* an empty table of Lua's is an object */
    muster_stats(muster, &stats);
    ck_assert_uint_eq(stats.starts, 2);
    ck_assert_uint_eq(stats.revivals, 1);
    ck_assert_uint_eq(stats.registrations, 1);
    ck_assert_uint_eq(stats.workers_running, 1);
}
END_TEST

START_TEST(a_worker_that_is_back_knows_where_it_is_while_its_script_runs)
{
    options.threads = 1; /* which waits for the coordinator */
    begin();
    register_script("/a/", JAVASCRIPT, "asks.js");
    assert_call("/a/", "found", NULL, "\"/a/ new\"");
    for (int i = 0; i < 2; i++) {
        struct muster_handle *handle = NULL;
        ck_assert_int_eq(muster_stop(muster, "/a/", NULL, NULL, &handle), MUSTER_OK);
        await_ok(handle);
        assert_call("/a/", "found", NULL, "\"/a/ activated\"");
    }
}
END_TEST

START_TEST(a_worker_that_idles_out_loses_no_event)
{
    struct muster_stats stats = {.size = sizeof(stats)};
    options.idle_ms = 1;
    options.grace_ms = 1000;
    begin();
    register_app("/idle/", _i);
    struct muster_registration_options with = app("/busy/", NATIVE);
    with.idle_ms = 60000;
    await_ok(begin_register(&with));
    struct muster_handle *never = fetch("http://a.test/busy/hang");
    uint64_t revivals = 0;
    for (int i = 0; i < 2000 && revivals < 10; i++) {
        assert_answer("http://a.test/idle/x", "hello /idle/x");
        ck_assert_int_eq(muster_wait(never, 1 + (uint64_t)i % 3, NULL), MUSTER_TIMED_OUT);
        muster_stats(muster, &stats);
        revivals = stats.revivals;
    }
    ck_assert_uint_ge(stats.idle_ends, 10);
    muster_handle_release(never);
}
END_TEST

/* ---- versions ---- */

/* Native versions are told apart by their tables. */
static void version_fetch(struct muster_native *worker, struct muster_event *event, void *state)
{
    char text[32];
    (void)worker;
    snprintf(text, sizeof(text), "version %d", *(const int *)state);
    respond(event, 200, text);
}

static void skip_install(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)event;
    (void)state;
    muster_native_skip_waiting(worker);
}

static enum muster_status version_start(void **ret_state, int version)
{
    static const int numbers[] = {0, 1, 2};
    *ret_state = (void *)(uintptr_t)&numbers[version];
    return MUSTER_OK;
}

#define VERSION_START(n)                                                                           \
    static enum muster_status version_start_##n(struct muster_native *worker, void **ret_state,    \
                                                struct muster_error *error)                        \
    {                                                                                              \
        (void)worker;                                                                              \
        (void)error;                                                                               \
        return version_start(ret_state, n);                                                        \
    }
VERSION_START(1)
VERSION_START(2)

static const struct muster_native_entry version_events[] = {{"fetch", version_fetch},
                                                            {"install", skip_install}};
static const struct muster_native_worker version_native[] = {
    {sizeof(struct muster_native_worker), version_start_1, NULL, version_events, 1, NULL, 0},
    {sizeof(struct muster_native_worker), version_start_2, NULL, version_events, 1, NULL, 0},
};
static const struct muster_native_worker skip_native[] = {
    {sizeof(struct muster_native_worker), version_start_1, NULL, version_events, 2, NULL, 0},
    {sizeof(struct muster_native_worker), version_start_2, NULL, version_events, 2, NULL, 0},
};

static void register_version(const char *scope, int engine, const char *kind, int version)
{
    char url[64];
    snprintf(url, sizeof(url), "%s-%d.%s", kind, version, is_lua(engine) ? "lua" : "js");
    struct muster_registration_options with = registration(scope, engine, url);
    if (engine == NATIVE)
        with.native = strcmp(kind, "skip") == 0 ? &skip_native[(version + 1) % 2]
                                                : &version_native[(version + 1) % 2];
    await_ok(begin_register(&with));
}

START_TEST(a_new_version_waits_until_the_old_one_has_stopped)
{
    struct muster_handle *handle = NULL;
    begin();
    register_version("/", _i, "version", 1);
    assert_answer("http://a.test/", "version 1");
    register_version("/", _i, "version", 2);
    assert_answer("http://a.test/", "version 1");
    ck_assert_int_eq(muster_stop(muster, "/", NULL, NULL, &handle), MUSTER_OK);
    await_ok(handle);
    assert_answer("http://a.test/", "version 2");
}
END_TEST

START_TEST(the_same_script_again_changes_nothing)
{
    struct muster_stats stats = {.size = sizeof(stats)};
    begin();
    register_version("/", _i, "version", 1);
    register_version("/", _i, "version", 1);
    assert_answer("http://a.test/", "version 1");
    muster_stats(muster, &stats);
    ck_assert_uint_eq(stats.starts, 1);
}
END_TEST

struct load_thread {
    pthread_t thread;
    struct tally tally;
    int posted, refused;
    enum muster_status refusal;
};

static atomic_bool posting;

static void *post_in_bursts(void *argument)
{
    enum { BURST = 8 };
    struct load_thread *mine = argument;
    while (atomic_load(&posting)) {
        struct muster_handle *handles[BURST] = {NULL};
        for (int i = 0; i < BURST; i++) {
            enum muster_status status =
                try_fetch(muster, "http://a.test/", count_done, &mine->tally, &handles[i]);
            mine->posted += status == MUSTER_OK;
            mine->refused += status != MUSTER_OK;
            mine->refusal = status != MUSTER_OK ? status : mine->refusal;
        }
        for (int i = 0; i < BURST; i++)
            if (handles[i]) {
                enum muster_status waited = muster_wait(handles[i], PATIENCE_MS, NULL);
                mine->refused += waited != MUSTER_OK;
                muster_handle_release(handles[i]);
            }
    }
    return NULL;
}

/* A version that skips waiting takes over while threads post: each post settles once, and with an answer. */
START_TEST(versions_that_take_over_under_load_lose_no_event)
{
    enum { THREADS = 3 };
    struct load_thread threads[THREADS];
    int versions = _i >= JAVASCRIPT ? 20 : 100;
    begin();
    register_version("/", _i, "skip", 1);
    atomic_store(&posting, true);
    for (int t = 0; t < THREADS; t++) {
        memset(&threads[t], 0, sizeof(threads[t]));
        tally_init(&threads[t].tally);
        ck_assert_int_eq(pthread_create(&threads[t].thread, NULL, post_in_bursts, &threads[t]), 0);
    }
    for (int version = 2; version <= versions; version++)
        register_version("/", _i, "skip", version);
    atomic_store(&posting, false);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t].thread, NULL);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    for (int t = 0; t < THREADS; t++) {
        ck_assert_msg(threads[t].refused == 0, "%d refused, with %s", threads[t].refused,
                      muster_status_name(threads[t].refusal));
        ck_assert_int_gt(threads[t].posted, 0);
        ck_assert_int_eq(threads[t].tally.count, threads[t].posted);
        for (int s = 0; s < MUSTER_STATUS_COUNT; s++)
            ck_assert_msg(s == MUSTER_OK || threads[t].tally.by_status[s] == 0, "%d of %d: %s",
                          threads[t].tally.by_status[s], threads[t].posted, muster_status_name(s));
    }
}
END_TEST

START_TEST(an_unregistered_scope_finishes_what_it_has)
{
    struct muster_handle *handles[20], *end = NULL;
    begin();
    register_app("/", _i);
    for (int i = 0; i < 20; i++)
        handles[i] = note("/", i);
    ck_assert_int_eq(muster_unregister(muster, "/", NULL, NULL, &end), MUSTER_OK);
    await_ok(end);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/", NULL, NULL, NULL), MUSTER_NOT_FOUND);
    for (int i = 0; i < 20; i++)
        await_ok(handles[i]);
    register_app("/", _i);
    assert_answer("http://a.test/x", "hello /x");
}
END_TEST

/* ---- completions ---- */

struct asker {
    struct tally tally;
    int asked;
};

static void expect(struct asker *asker, enum muster_status status)
{
    inside_a_call = false;
    ck_assert_int_eq(status, MUSTER_OK);
    asker->asked++;
}

/* One of each kind; unknown scopes among them, which settle soonest. */
static void ask_everything(struct asker *asker)
{
    struct tally *tally = &asker->tally;
    const struct muster_registration_options with = app("/other/", NATIVE);
    inside_a_call = true;
    expect(asker, muster_register(muster, &with, count_done, tally, NULL));
    inside_a_call = true;
    expect(asker, muster_unregister(muster, "/unknown/", count_done, tally, NULL));
    inside_a_call = true;
    expect(asker, muster_stop(muster, "/unknown/", count_done, tally, NULL));
    inside_a_call = true;
    expect(asker, try_fetch(muster, "http://a.test/x", count_done, tally, NULL));
    inside_a_call = true;
    expect(asker, muster_dispatch(muster, "/", "note", NULL, NULL, count_done, tally, NULL));
    inside_a_call = true;
    expect(asker, muster_call(muster, "/", "add", NULL, NULL, count_done, tally, NULL));
}

START_TEST(a_callback_comes_once_and_never_inside_the_call_that_asked)
{
    enum { ROUNDS = 50 };
    struct asker asker = {.asked = 0};
    tally_init(&asker.tally);
    begin();
    register_app("/", NATIVE);
    for (int i = 0; i < ROUNDS; i++)
        ask_everything(&asker);
    for (int i = 0; i < asker.asked; i++)
        await_signal(&asker.tally.came);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    ck_assert_int_eq(asker.tally.count, asker.asked);
    ck_assert_int_eq(asker.tally.by_status[MUSTER_NOT_FOUND], 2 * ROUNDS);
    ck_assert(!asker.tally.inside);
}
END_TEST

static bool is_readable(int fd)
{
    struct pollfd at = {.fd = fd, .events = POLLIN};
    return poll(&at, 1, 0) == 1;
}

START_TEST(queued_callbacks_come_on_the_thread_that_runs_them)
{
    struct asker asker = {.asked = 0};
    struct muster_handle *last = NULL;
    size_t ran = 0;
    tally_init(&asker.tally);
    options.delivery = MUSTER_DELIVER_ON_QUEUE;
    begin();
    register_app("/", NATIVE);
    int fd = muster_completion_fd(muster);
    ck_assert_int_ge(fd, 0);
    ck_assert(!is_readable(fd));
    ck_assert_uint_eq(muster_run_completions(muster), 0);
    ask_everything(&asker);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/x", count_done, &asker.tally, &last), MUSTER_OK);
    asker.asked++;
    await(last);
    while (ran < (size_t)asker.asked) {
        struct pollfd at = {.fd = fd, .events = POLLIN};
        ck_assert_int_eq(asker.tally.count, (int)ran);
        ck_assert_int_eq(poll(&at, 1, PATIENCE_MS), 1);
        ran += muster_run_completions(muster);
        ck_assert_int_eq(asker.tally.count, (int)ran);
    }
    ck_assert(!is_readable(fd));
    muster_handle_release(last);
}
END_TEST

START_TEST(a_queued_callback_sees_the_whole_result)
{
    struct muster_handle *handle = NULL;
    struct tally tally;
    tally_init(&tally);
    options.delivery = MUSTER_DELIVER_ON_QUEUE;
    begin();
    register_app("/", LUA);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/x", count_done, &tally, &handle), MUSTER_OK);
    const struct muster_result waited = await(handle);
    muster_handle_release(handle); /* the queue has its own */
    (void)waited;
    while (tally.count == 0) {
        struct pollfd at = {.fd = muster_completion_fd(muster), .events = POLLIN};
        ck_assert_int_eq(poll(&at, 1, PATIENCE_MS), 1);
        muster_run_completions(muster);
    }
    ck_assert_int_eq(tally.by_status[MUSTER_OK], 1);
}
END_TEST

START_TEST(a_wait_of_no_time_only_looks)
{
    struct muster_result result = {.status = MUSTER_WEDGED};
    begin();
    register_app("/", NATIVE);
    ck_assert_int_eq(muster_completion_fd(muster), -1);
    struct muster_handle *handle = fetch("http://a.test/hang");
    ck_assert_int_eq(muster_wait(handle, 0, &result), MUSTER_TIMED_OUT);
    ck_assert_int_eq(result.status, MUSTER_WEDGED); /* untouched */
    muster_cancel(handle);
    ck_assert_int_eq(muster_wait(handle, UINT64_MAX, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_CANCELED);
    ck_assert_int_eq(muster_wait(handle, 0, NULL), MUSTER_OK);
    muster_handle_release(handle);
}
END_TEST

START_TEST(the_longest_wait_waits)
{
    begin();
    struct muster_registration_options with = gated_app("/", NATIVE);
    struct muster_handle *handle = begin_register(&with);
    gate_await_arrival();
    pthread_t opener;
    ck_assert_int_eq(muster_wait(handle, 0, NULL), MUSTER_TIMED_OUT);
    ck_assert_int_eq(pthread_create(&opener, NULL, (void *(*)(void *))gate_open, NULL), 0);
    ck_assert_int_eq(muster_wait(handle, UINT64_MAX, NULL), MUSTER_OK);
    pthread_join(opener, NULL);
    muster_handle_release(handle);
}
END_TEST

struct waiter {
    struct muster_handle *pending;
    enum muster_status wait, close_wait;
    sem_t came;
};

static void wait_inside(const struct muster_result *result, void *user_data)
{
    struct waiter *waiter = user_data;
    (void)result;
    waiter->wait = muster_wait(waiter->pending, 0, NULL);
    waiter->close_wait = muster_close_wait(muster, 0);
    sem_post(&waiter->came);
}

static void wait_inside_closed(void *user_data)
{
    wait_inside(NULL, user_data);
}

static void assert_refused(struct waiter *waiter)
{
    await_signal(&waiter->came);
    ck_assert_str_eq(muster_status_name(waiter->wait), "MUSTER_WRONG_THREAD");
    ck_assert_str_eq(muster_status_name(waiter->close_wait), "MUSTER_WRONG_THREAD");
}

START_TEST(a_wait_on_a_worker_thread_is_refused)
{
    struct waiter waiter = {.wait = MUSTER_OK};
    sem_init(&waiter.came, 0, 0);
    begin();
    register_app("/", NATIVE);
    waiter.pending = fetch("http://a.test/hang");
    ck_assert_int_eq(try_fetch(muster, "http://a.test/x", wait_inside, &waiter, NULL), MUSTER_OK);
    assert_refused(&waiter);
    muster_handle_release(waiter.pending);
}
END_TEST

START_TEST(a_wait_on_the_coordinators_thread_is_refused)
{
    struct waiter waiter = {.wait = MUSTER_OK};
    const struct muster_registration_options with = app("/other/", NATIVE);
    sem_init(&waiter.came, 0, 0);
    begin();
    register_app("/", NATIVE);
    waiter.pending = fetch("http://a.test/hang");
    ck_assert_int_eq(muster_register(muster, &with, wait_inside, &waiter, NULL), MUSTER_OK);
    assert_refused(&waiter);
    ck_assert_int_eq(muster_close(muster, wait_inside_closed, &waiter), MUSTER_OK);
    assert_refused(&waiter);
    muster_handle_release(waiter.pending);
}
END_TEST

/* ---- scopes ---- */

START_TEST(an_unknown_scope_is_answered_at_once)
{
    struct muster_handle *handle = NULL;
    struct tally tally;
    tally_init(&tally);
    begin();
    register_app("/app/", NATIVE);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/x", count_done, &tally, &handle), MUSTER_NOT_FOUND);
    ck_assert_int_eq(muster_dispatch(muster, "/app/x", "note", NULL, NULL, count_done, &tally, &handle),
                     MUSTER_NOT_FOUND); /* exactly that scope */
    ck_assert_int_eq(muster_call(muster, "/", "add", NULL, NULL, count_done, &tally, &handle),
                     MUSTER_NOT_FOUND);
    ck_assert_ptr_null(handle);
    ck_assert_int_eq(tally.count, 0);
}
END_TEST

static void assert_match(const char *url, const char *scope)
{
    char found[64] = "";
    size_t length = muster_match(muster, url, found, sizeof(found));
    ck_assert_str_eq(found, scope);
    ck_assert_uint_eq(length, strlen(scope));
}

START_TEST(the_longest_prefix_wins)
{
    char little[4] = "";
    begin();
    register_app("/", NATIVE);
    register_app("/app/", NATIVE);
    register_app("/app/admin/", LUA);
    register_app("http://b.test/app/", NATIVE);
    assert_match("http://a.test/", "/");
    assert_match("http://a.test/application", "/");
    assert_match("http://a.test/app/x?y", "/app/");
    assert_match("http://a.test/app/admin/x", "/app/admin/");
    assert_match("http://b.test/app/admin/x", "http://b.test/app/");
    assert_match("/app/x", "/app/");
    ck_assert_uint_eq(muster_match(muster, "/app/x", little, sizeof(little)), 5);
    ck_assert_str_eq(little, "/ap");
    ck_assert_uint_eq(muster_match(muster, "/app/x", NULL, 0), 5);
    assert_answer("http://a.test/app/admin/x", "hello /app/admin/x");
}
END_TEST

enum { SCOPES = 200 };

static void *match_again_and_again(void *wrong)
{
    unsigned n = 0;
    while (atomic_load(&posting)) {
        char url[64], scope[32], found[64] = "";
        n = (n * 7 + 1) % SCOPES;
        snprintf(url, sizeof(url), "http://a.test/s%u/x", n);
        snprintf(scope, sizeof(scope), "/s%u/", n);
        size_t length = muster_match(muster, url, found, sizeof(found));
        if (length && (length != strlen(scope) || strcmp(found, scope) != 0))
            atomic_fetch_add((atomic_int *)wrong, 1);
    }
    return NULL;
}

START_TEST(four_threads_match_while_others_register)
{
    pthread_t threads[4];
    atomic_int wrong = 0;
    begin();
    atomic_store(&posting, true);
    for (int t = 0; t < 4; t++)
        ck_assert_int_eq(pthread_create(&threads[t], NULL, match_again_and_again, &wrong), 0);
    for (int i = 0; i < SCOPES; i++) {
        char scope[32];
        snprintf(scope, sizeof(scope), "/s%d/", i);
        struct muster_registration_options with = app(scope, NATIVE);
        with.lazy = i % 2;
        await_ok(begin_register(&with));
        assert_match(scope, scope); /* seen by whoever heard that it was registered */
        if (i % 3 == 0) {
            struct muster_handle *handle = NULL;
            ck_assert_int_eq(muster_unregister(muster, scope, NULL, NULL, &handle), MUSTER_OK);
            await_ok(handle);
            ck_assert_uint_eq(muster_match(muster, scope, NULL, 0), 0);
        }
    }
    atomic_store(&posting, false);
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* ---- failures ---- */

static void assert_register_fails(int engine, const char *stem, enum muster_status status,
                                  const char *message, int line)
{
    char script[32];
    snprintf(script, sizeof(script), "%s.%s", stem, is_lua(engine) ? "lua" : "js");
    const struct muster_registration_options with = registration("/", engine, script);
    struct muster_handle *handle = begin_register(&with);
    const struct muster_result result = await(handle);
    assert_status(&result, status);
    ck_assert_ptr_nonnull(result.error);
    ck_assert_ptr_nonnull(result.error->message);
    if (message)
        ck_assert_msg(strstr(result.error->message, message) != NULL, "\"%s\"", result.error->message);
    if (line) {
        ck_assert_ptr_nonnull(result.error->file);
        ck_assert_msg(ends_with(result.error->file, script), "%s", result.error->file);
        ck_assert_int_eq(result.error->line, line);
    }
    muster_handle_release(handle);
    ck_assert_uint_eq(muster_match(muster, "http://a.test/", NULL, 0), 0);
}

START_TEST(a_syntax_error_reaches_who_registered)
{
    begin();
    assert_register_fails(_i, "syntax", MUSTER_SYNTAX_ERROR, NULL, 2);
}
END_TEST

START_TEST(an_error_at_the_start_reaches_who_registered)
{
    begin();
    assert_register_fails(_i, "throws", MUSTER_SCRIPT_ERROR, "boom", 2);
}
END_TEST

START_TEST(an_error_in_install_reaches_who_registered)
{
    begin();
    assert_register_fails(_i, "install", is_lua(_i) ? MUSTER_SCRIPT_ERROR : MUSTER_REJECTED, "not today", 2);
}
END_TEST

START_TEST(a_script_that_is_not_there_reaches_who_registered)
{
    begin();
    assert_register_fails(_i, "nothing", MUSTER_NOT_FOUND, "this program has no script nothing", 0);
}
END_TEST

START_TEST(those_who_wait_for_a_failing_start_hear_why)
{
    struct muster_handle *handles[3];
    begin();
    struct muster_registration_options with = registration("/", _i, is_lua(_i) ? "throws.lua" : "throws.js");
    with.lazy = true;
    await_ok(begin_register(&with));
    for (int i = 0; i < 3; i++)
        handles[i] = note("/", i);
    for (int i = 0; i < 3; i++) {
        const struct muster_result result = await(handles[i]);
        assert_status(&result, MUSTER_SCRIPT_ERROR);
        ck_assert_ptr_nonnull(result.error);
        ck_assert_ptr_nonnull(strstr(result.error->message, "boom"));
        muster_handle_release(handles[i]);
    }
}
END_TEST

START_TEST(a_listener_of_install_that_throws_is_reported_and_the_version_installs)
{
    begin();
    const struct muster_registration_options with = registration("/", JAVASCRIPT, "noisy.js");
    await_ok(begin_register(&with));
    assert_answer("http://a.test/x", "all the same");
}
END_TEST

START_TEST(a_version_that_fails_leaves_the_old_one_in_place)
{
    static const char *const bad[] = {"syntax", "throws", "install", "nothing"};
    begin();
    register_app("/", _i);
    for (int i = 0; i < 4; i++) {
        char script[32];
        snprintf(script, sizeof(script), "%s.%s", bad[i], is_lua(_i) ? "lua" : "js");
        const struct muster_registration_options with = registration("/", _i, script);
        ck_assert_int_ne(await_status(begin_register(&with)), MUSTER_OK);
        assert_answer("http://a.test/x", "hello /x");
    }
}
END_TEST

static enum muster_status refuse_start(struct muster_native *worker, void **ret_state,
                                       struct muster_error *error)
{
    (void)worker;
    (void)ret_state;
    muster_error_set(error, MUSTER_SCRIPT_ERROR, "no store today");
    return MUSTER_SCRIPT_ERROR;
}

START_TEST(a_native_start_that_fails_says_why)
{
    static const struct muster_native_worker worker = {.size = sizeof(worker), .start = refuse_start};
    begin();
    struct muster_registration_options with = registration("/", NATIVE, "store");
    with.native = &worker;
    struct muster_handle *handle = begin_register(&with);
    const struct muster_result result = await(handle);
    assert_status(&result, MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(result.error);
    ck_assert_str_eq(result.error->message, "no store today");
    muster_handle_release(handle);
}
END_TEST

START_TEST(a_start_that_takes_too_long_is_given_up)
{
    options.start_timeout_ms = 20;
    begin();
    struct muster_registration_options with = gated_app("/", _i);
    ck_assert_int_eq(await_status(begin_register(&with)), MUSTER_START_TIMED_OUT);
    ck_assert_uint_eq(muster_match(muster, "http://a.test/", NULL, 0), 0);
    gate_open();
}
END_TEST

START_TEST(an_install_that_takes_too_long_is_given_up)
{
    options.lifecycle_timeout_ms = 20;
    begin();
    const struct muster_registration_options with =
        registration("/", _i, is_lua(_i) ? "hangs.lua" : "hangs.js");
    ck_assert_int_eq(await_status(begin_register(&with)), MUSTER_TIMED_OUT);
    ck_assert_uint_eq(muster_match(muster, "http://a.test/", NULL, 0), 0);
}
END_TEST

START_TEST(registering_twice_at_once_tells_both_of_the_failure)
{
    begin();
    const struct muster_registration_options with = registration("/", LUA, "gated:throws.lua");
    struct muster_handle *first = begin_register(&with), *second = begin_register(&with);
    gate_open();
    const struct muster_result one = await(first), two = await(second);
    assert_status(&one, MUSTER_SCRIPT_ERROR);
    assert_status(&two, MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(one.error);
    ck_assert_msg(two.error != NULL, "the second heard no reason");
    muster_handle_release(first);
    muster_handle_release(second);
}
END_TEST

START_TEST(a_canceled_javascript_fetch_aborts_its_signal)
{
    begin();
    register_script("/", JAVASCRIPT, "signal.js");
    struct muster_handle *handle = fetch("http://a.test/");
    assert_call("/", "count", NULL, "0");
    muster_cancel(handle);
    ck_assert_int_eq(await_status(handle), MUSTER_CANCELED);
    assert_call("/", "count", NULL, "1");
}
END_TEST

/* ---- processes, signals, instances ---- */

START_TEST(two_instances_know_nothing_of_each_other)
{
    begin();
    struct muster *first = muster;
    register_version("/", LUA, "version", 1);
    begin();
    struct muster *second = muster;
    ck_assert_uint_eq(muster_match(second, "/", NULL, 0), 0);
    register_version("/", LUA, "version", 2);
    for (int i = 0; i < 10; i++) {
        muster = i % 2 ? first : second;
        assert_answer("http://a.test/", i % 2 ? "version 1" : "version 2");
    }
    muster_destroy(first);
    muster = second;
    assert_answer("http://a.test/", "version 2");
}
END_TEST

/* In the child: the number of the first call that does not answer as it should, 0: none. */
static int use_after_fork(struct muster_handle *handle)
{
    const struct muster_registration_options with = app("/child/", NATIVE);
    struct muster_stats stats = {.size = sizeof(stats), .events = 77};
    struct muster_handle *none = NULL;
    if (muster_register(muster, &with, NULL, NULL, &none) != MUSTER_FORKED)
        return 1;
    if (muster_unregister(muster, "/", NULL, NULL, &none) != MUSTER_FORKED)
        return 2;
    if (muster_stop(muster, "/", NULL, NULL, &none) != MUSTER_FORKED)
        return 3;
    if (try_fetch(muster, "http://a.test/", NULL, NULL, &none) != MUSTER_FORKED)
        return 4;
    if (muster_dispatch(muster, "/", "note", muster_value_new_number(1), NULL, NULL, NULL, &none) !=
        MUSTER_FORKED)
        return 5;
    if (muster_call(muster, "/", "add", muster_value_new_array(), NULL, NULL, NULL, &none) != MUSTER_FORKED)
        return 6;
    if (muster_match(muster, "http://a.test/", NULL, 0) != 0)
        return 7;
    if (muster_close(muster, NULL, NULL) != MUSTER_FORKED)
        return 8;
    if (muster_close_wait(muster, 0) != MUSTER_FORKED)
        return 9;
    if (muster_run_completions(muster) != 0)
        return 10;
    muster_stats(muster, &stats);
    if (stats.events != 77)
        return 11;
    if (muster_wait(handle, 0, NULL) != MUSTER_FORKED)
        return 12;
    muster_cancel(handle);
    if (muster_completion_fd(muster) != -1)
        return 13;
    muster_handle_release(handle);
    muster_destroy(muster);
    return none != NULL ? 14 : 0;
}

START_TEST(a_forked_child_is_refused_by_every_call)
{
    int status = 0;
    options.delivery = MUSTER_DELIVER_ON_QUEUE;
    begin();
    register_app("/", NATIVE);
    struct muster_handle *handle = fetch("http://a.test/hang");
    assert_answer("http://a.test/x", "hello /x");
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(use_after_fork(handle));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
    ck_assert_msg(WEXITSTATUS(status) == 0, "call %d of the child", WEXITSTATUS(status));
    ck_assert_int_eq(muster_wait(handle, 0, NULL), MUSTER_TIMED_OUT);
    assert_answer("http://a.test/x", "hello /x");
    muster_handle_release(handle);
}
END_TEST

START_TEST(no_signal_handler_changes_for_native_and_lua)
{
    struct sigaction before[65], after;
    for (int i = 1; i < 65; i++)
        sigaction(i, NULL, &before[i]);
    begin();
    register_app("/", NATIVE);
    register_app("/lua/", LUA);
    assert_answer("http://a.test/lua/x", "hello /lua/x");
    for (int i = 1; i < 65; i++) {
        if (sigaction(i, NULL, &after) == 0)
            ck_assert_msg(before[i].sa_handler == after.sa_handler, "signal %d", i);
    }
}
END_TEST

static int broken_pipe = -1;

/* Thread: the worker's.  Writes where nobody reads. */
static void host_pipe(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_return(call, muster_value_new_boolean(write(broken_pipe, "x", 1) == -1));
}

START_TEST(a_broken_pipe_on_a_thread_of_musters_does_not_end_the_program)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    broken_pipe = ends[1];
    signal(SIGPIPE, SIG_DFL);
    struct muster_bindings *bindings = muster_bindings_new();
    ck_assert_int_eq(muster_bindings_add_function(bindings, "host.pipe", host_pipe, NULL, NULL), MUSTER_OK);
    options.bindings = bindings;
    begin();
    muster_bindings_release(bindings);
    register_script("/", _i, is_lua(_i) ? "host.lua" : "host.js");
    assert_call("/", "pipe", NULL, "true");
    close(ends[1]);
}
END_TEST

/* ---- the end ---- */

static void count_closed(void *user_data)
{
    sem_post(user_data);
}

START_TEST(closing_while_requests_run_settles_each_once)
{
    enum { COUNT = 60 };
    struct muster_handle *handles[COUNT];
    struct tally tally;
    sem_t closed;
    int total = 0;
    sem_init(&closed, 0, 0);
    tally_init(&tally);
    options.stop_timeout_ms = 20;
    begin();
    register_app("/", _i);
    struct muster_registration_options with = gated_app("/slow/", _i);
    with.lazy = true;
    await_ok(begin_register(&with));
    for (int i = 0; i < COUNT; i++) {
        static const char *const urls[] = {"http://a.test/hang", "http://a.test/x", "http://a.test/slow/x"};
        ck_assert_int_eq(try_fetch(muster, urls[i % 3], count_done, &tally, &handles[i]), MUSTER_OK);
    }
    gate_await_arrival();
    ck_assert_int_eq(muster_close(muster, count_closed, &closed), MUSTER_OK);
    ck_assert_int_eq(muster_close(muster, count_closed, &closed), MUSTER_OK);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/x", NULL, NULL, NULL), MUSTER_SHUTDOWN);
    gate_open();
    await_signal(&closed);
    await_signal(&closed);
    ck_assert_int_eq(tally.count, COUNT); /* before any on_closed */
    ck_assert_int_eq(muster_close_wait(muster, 0), MUSTER_OK);
    for (int i = 0; i < COUNT; i++) {
        enum muster_status status = await_status(handles[i]);
        ck_assert_msg(status == MUSTER_OK || status == MUSTER_SHUTDOWN || status == MUSTER_TERMINATED,
                      "%d: %s", i, muster_status_name(status));
        ck_assert(i % 3 != 0 || status != MUSTER_OK);
        total++;
    }
    ck_assert_int_eq(tally.count, total);
    ck_assert_int_eq(sem_trywait(&closed), -1);
}
END_TEST

START_TEST(closing_while_threads_post_settles_each_once)
{
    enum { THREADS = 3 };
    struct load_thread threads[THREADS];
    begin();
    register_app("/", _i);
    atomic_store(&posting, true);
    for (int t = 0; t < THREADS; t++) {
        memset(&threads[t], 0, sizeof(threads[t]));
        tally_init(&threads[t].tally);
        ck_assert_int_eq(pthread_create(&threads[t].thread, NULL, post_in_bursts, &threads[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < 20; i++)
            await_signal(&threads[t].tally.came);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    atomic_store(&posting, false);
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t].thread, NULL);
        ck_assert_int_eq(threads[t].tally.count, threads[t].posted);
        if (threads[t].refused)
            ck_assert_str_eq(muster_status_name(threads[t].refusal), "MUSTER_SHUTDOWN");
    }
}
END_TEST

START_TEST(after_the_close_every_call_says_so)
{
    const struct muster_registration_options with = app("/", NATIVE);
    struct muster_handle *handle = NULL;
    begin();
    register_app("/", NATIVE);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_SHUTDOWN);
    ck_assert_int_eq(try_fetch(muster, "http://a.test/", NULL, NULL, &handle), MUSTER_SHUTDOWN);
    ck_assert_int_eq(muster_dispatch(muster, "/", "note", NULL, NULL, NULL, NULL, &handle), MUSTER_SHUTDOWN);
    ck_assert_int_eq(muster_call(muster, "/", "add", NULL, NULL, NULL, NULL, &handle), MUSTER_SHUTDOWN);
    ck_assert_ptr_null(handle);
    if (muster_stop(muster, "/", NULL, NULL, &handle) == MUSTER_OK)
        ck_assert_int_eq(await_status(handle), MUSTER_SHUTDOWN);
    handle = NULL;
    if (muster_unregister(muster, "/", NULL, NULL, &handle) == MUSTER_OK)
        ck_assert_int_eq(await_status(handle), MUSTER_SHUTDOWN);
    ck_assert_int_eq(muster_close_wait(muster, 0), MUSTER_OK);
}
END_TEST

START_TEST(handles_outlive_the_instance)
{
    options.stop_timeout_ms = 20;
    begin();
    register_app("/", _i);
    struct muster_handle *answered = fetch("http://a.test/x"), *hanging = fetch("http://a.test/hang");
    struct muster_handle *called = call("/", "add", "[2, 3]");
    await(answered);
    await(called);
    muster_destroy(muster);
    muster = NULL;
    struct muster_result result = await(answered);
    assert_body(&result, "hello /x");
    result = await(called);
    ck_assert_double_eq(muster_value_number(result.value), 5);
    result = await(hanging);
    ck_assert_int_ne(result.status, MUSTER_OK);
    muster_cancel(hanging);
    muster_handle_release(answered);
    muster_handle_release(called);
    muster_handle_release(hanging);
}
END_TEST

START_TEST(an_instance_comes_and_goes)
{
    options.delivery = _i % 2 ? MUSTER_DELIVER_ON_QUEUE : MUSTER_DELIVER_ON_THREAD;
    for (int i = 0; i < 20; i++) {
        struct tally tally;
        tally_init(&tally);
        begin();
        register_app("/", NATIVE);
        ck_assert_int_eq(try_fetch(muster, "http://a.test/x", count_done, &tally, NULL), MUSTER_OK);
        muster_destroy(muster); /* a queued callback is freed, and does not come */
        ck_assert_int_eq(tally.count, options.delivery == MUSTER_DELIVER_ON_QUEUE ? 0 : 1);
    }
    muster = NULL;
}
END_TEST

/* ---- host bindings ---- */

static atomic_int functions_finalized, counters_made, counters_finalized;
static struct muster_host_call *deferred;
static sem_t deferred_came;

static void host_add(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_return(
        call, muster_value_new_number(muster_value_number(muster_host_call_argument(call, 0)) +
                                      muster_value_number(muster_host_call_argument(call, 1))));
}

static void host_fail(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_throw(call, "RangeError", "nope");
}

static void host_later(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    deferred = call;
    sem_post(&deferred_came);
}

static void counter_increment(struct muster_host_call *call, void *user_data)
{
    ++*(int *)user_data;
    muster_host_call_return(call, NULL);
}

static void counter_get(struct muster_host_call *call, void *user_data)
{
    muster_host_call_return(call, muster_value_new_number(*(int *)user_data));
}

static void counter_finalize(void *user_data)
{
    atomic_fetch_add(&counters_finalized, 1);
    free(user_data);
}

static const struct muster_host_method counter_methods[] = {{"increment", counter_increment},
                                                            {"get", counter_get}};
static const struct muster_host_class counter_class = {sizeof(counter_class), "Counter", counter_methods, 2,
                                                       counter_finalize};

static void host_counter(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    int *count = calloc(1, sizeof(*count));
    atomic_fetch_add(&counters_made, 1);
    muster_host_call_return(call, muster_value_new_host_object(&counter_class, count));
}

static void function_finalize(void *user_data)
{
    atomic_fetch_add((atomic_int *)user_data, 1);
}

static struct muster_bindings *make_bindings(void)
{
    static const struct {
        const char *path;
        muster_host_fn *function;
    } functions[] = {{"host.add", host_add},         {"host.fail", host_fail}, {"host.later", host_later},
                     {"host.counter", host_counter}, {"host.pipe", host_pipe}};
    struct muster_bindings *bindings = muster_bindings_new();
    ck_assert_ptr_nonnull(bindings);
    sem_init(&deferred_came, 0, 0);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(muster_bindings_add_function(bindings, functions[i].path, functions[i].function,
                                                      &functions_finalized, function_finalize),
                         MUSTER_OK);
    ck_assert_int_eq(muster_bindings_add_value(bindings, "host.answer", muster_value_new_number(42)),
                     MUSTER_OK);
    return bindings;
}

static void begin_with_bindings(int engine)
{
    struct muster_bindings *bindings = make_bindings();
    options.bindings = bindings;
    begin();
    muster_bindings_release(bindings);
    register_script("/", engine, is_lua(engine) ? "host.lua" : "host.js");
}

/* An object of the program's stays in the program's process. */
static void assert_no_object_crosses(int engine)
{
    struct muster_handle *handle = call("/", "keep", NULL);
    const struct muster_result result = await(handle);
    assert_status(&result, is_lua(engine) ? MUSTER_SCRIPT_ERROR : MUSTER_REJECTED);
    ck_assert_ptr_nonnull(strstr(result.error->message, "cannot be cloned"));
    muster_handle_release(handle);
}

START_TEST(a_script_calls_the_program_and_gets_values_and_errors)
{
    begin_with_bindings(_i);
    assert_call("/", "sum", NULL, "5");
    assert_call("/", "constant", NULL, "42");
    if (_i < LUA_PROCESS)
        assert_call("/", "count", NULL, "2");
    else
        assert_no_object_crosses(_i);
    assert_call("/", "fail", NULL, "\"RangeError: nope\"");
    struct muster_handle *handle = call("/", "uncaught", NULL);
    const struct muster_result result = await(handle);
    assert_status(&result, _i == JAVASCRIPT_PROCESS ? MUSTER_REJECTED : MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(strstr(result.error->message, "nope"));
    muster_handle_release(handle);
}
END_TEST

START_TEST(a_call_is_ended_later_from_another_thread)
{
    begin_with_bindings(_i);
    struct muster_handle *handle = call("/", "later", NULL);
    await_signal(&deferred_came);
    assert_call("/", "sum", NULL, "5"); /* the worker goes on meanwhile */
    ck_assert_int_eq(muster_wait(handle, 0, NULL), MUSTER_TIMED_OUT);
    ck_assert_str_eq(muster_host_call_name(deferred), "host.later");
    ck_assert_uint_eq(muster_host_call_count(deferred), 1);
    muster_host_call_return(deferred, muster_value_acquire(muster_host_call_argument(deferred, 0)));
    const struct muster_result result = await(handle);
    assert_status(&result, MUSTER_OK);
    ck_assert_str_eq(muster_value_bytes(result.value).data, "x");
    muster_handle_release(handle);

    handle = call("/", "failLater", NULL);
    await_signal(&deferred_came);
    muster_host_call_throw(deferred, NULL, "late");
    const struct muster_result failed = await(handle);
    assert_status(&failed, MUSTER_OK);
    ck_assert_str_eq(muster_value_bytes(failed.value).data, "Error: late");
    muster_handle_release(handle);
}
END_TEST

START_TEST(a_call_may_outlive_its_worker_and_the_instance)
{
    struct muster_handle *stop = NULL;
    options.stop_timeout_ms = 20;
    begin_with_bindings(_i);
    struct muster_handle *first = call("/", "later", NULL);
    await_signal(&deferred_came);
    struct muster_host_call *orphan = deferred;
    ck_assert_int_eq(muster_stop(muster, "/", NULL, NULL, &stop), MUSTER_OK);
    await_ok(stop);
    ck_assert_int_eq(await_status(first), MUSTER_TERMINATED);
    muster_host_call_return(orphan, muster_value_new_number(1));

    struct muster_handle *second = call("/", "later", NULL);
    await_signal(&deferred_came);
    muster_destroy(muster);
    muster = NULL;
    ck_assert_int_ne(await_status(second), MUSTER_OK);
    ck_assert_uint_eq(muster_host_call_count(deferred), 1);
    muster_host_call_throw(deferred, "Error", "too late");
}
END_TEST

START_TEST(finalizers_run_exactly_once)
{
    begin_with_bindings(_i);
    for (int i = 0; i < 11; i++)
        if (_i >= LUA_PROCESS)
            assert_no_object_crosses(_i);
        else
            assert_call("/", i % 2 ? "count" : "keep", NULL, i % 2 ? "2" : "null");
    ck_assert_int_eq(functions_finalized, 0);
    muster_destroy(muster);
    muster = NULL;
    ck_assert_int_eq(counters_made, 11);
    ck_assert_int_eq(counters_finalized, 11);
    ck_assert_int_eq(functions_finalized, 5);
}
END_TEST

START_TEST(bindings_refuse_bad_and_taken_paths)
{
    static const char *const bad[] = {NULL, "", ".", "a.", ".a", "a..b", "1a", "a b", "a-b"};
    struct muster_bindings *bindings = make_bindings();
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ck_assert_int_eq(muster_bindings_add_function(bindings, bad[i], host_add, NULL, NULL),
                         MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "x", NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "host.add", host_add, NULL, NULL), MUSTER_EXISTS);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "host", host_add, NULL, NULL), MUSTER_EXISTS);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "host.add.more", host_add, NULL, NULL),
                     MUSTER_EXISTS);
    ck_assert_int_eq(muster_bindings_add_value(bindings, "host.answer", muster_value_new_number(1)),
                     MUSTER_EXISTS);
    muster_bindings_release(bindings);
    muster_bindings_release(NULL);
    ck_assert_int_eq(functions_finalized, 5);
}
END_TEST

/* ---- arguments ---- */

START_TEST(nothing_works_without_an_instance)
{
    const struct muster_registration_options with = app("/", NATIVE);
    struct muster_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(muster_register(NULL, &with, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_unregister(NULL, "/", NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_stop(NULL, "/", NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(try_fetch(NULL, "http://a.test/", NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_dispatch(NULL, "/", "x", NULL, NULL, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_call(NULL, "/", "x", NULL, NULL, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_close(NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_close_wait(NULL, 0), MUSTER_INVALID_ARGUMENT);
    ck_assert_uint_eq(muster_match(NULL, "/", NULL, 0), 0);
    ck_assert_uint_eq(muster_run_completions(NULL), 0);
    ck_assert_int_eq(muster_completion_fd(NULL), -1);
    ck_assert_int_eq(muster_wait(NULL, 0, NULL), MUSTER_INVALID_ARGUMENT);
    muster_stats(NULL, &stats);
    muster_cancel(NULL);
    muster_handle_release(NULL);
    muster_destroy(NULL);
}
END_TEST

START_TEST(a_registration_without_scope_or_script_is_refused)
{
    static const char *const scopes[] = {NULL, "", "app", "/a#b", "*"};
    struct muster_handle *handle = NULL;
    begin();
    ck_assert_int_eq(muster_register(muster, NULL, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof(scopes) / sizeof(*scopes); i++) {
        const struct muster_registration_options with = app(scopes[i], LUA);
        ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    }
    const struct muster_registration_options no_script = registration("/", LUA, NULL);
    ck_assert_int_eq(muster_register(muster, &no_script, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    struct muster_registration_options unknown = registration("/", LUA, "app.lua");
    unknown.engine = "cobol";
    ck_assert_int_eq(muster_register(muster, &unknown, NULL, NULL, NULL), MUSTER_UNSUPPORTED);
    ck_assert_int_eq(muster_unregister(muster, NULL, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_stop(muster, NULL, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(handle);
}
END_TEST

START_TEST(a_registration_whose_engine_is_missing_settles_with_the_reason)
{
    struct muster_registration_options unknown = registration("/", LUA, "app.lua");
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    begin();
    unknown.engine = "cobol";
    ck_assert_int_eq(muster_register(muster, &unknown, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, 60000, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_UNSUPPORTED);
    ck_assert_str_eq(result.error->message, "there is no engine \"cobol\"; there are native, lua and javascript");
    muster_handle_release(handle);
}
END_TEST

START_TEST(an_event_without_name_or_url_is_refused_and_its_data_freed)
{
    const struct muster_http_request no_url = {.method = bytes_of("GET")};
    const struct muster_http_request no_method = {.url = bytes_of("http://a.test/")};
    static const char *const bad[][2] = {
        {NULL, "note"}, {"/", NULL}, {"/", ""}, {"/unknown/", "note"}};
    begin();
    register_app("/", NATIVE);
    ck_assert_int_eq(muster_fetch(muster, NULL, NULL, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_fetch(muster, &no_url, NULL, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_fetch(muster, &no_method, NULL, NULL, NULL, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_uint_eq(muster_match(muster, NULL, NULL, 0), 0);
    for (int i = 0; i < 4; i++) {
        enum muster_status expected = i == 3 ? MUSTER_NOT_FOUND : MUSTER_INVALID_ARGUMENT;
        for (int calls = 0; calls < 2; calls++) {
            struct muster_value *data = muster_value_new_host_object(&counter_class, calloc(1, sizeof(int)));
            ck_assert_int_eq((calls ? muster_call : muster_dispatch)(muster, bad[i][0], bad[i][1], data, NULL,
                                                                     NULL, NULL, NULL),
                             expected);
            ck_assert_int_eq(counters_finalized, 2 * i + calls + 1);
        }
    }
}
END_TEST

START_TEST(an_unknown_placement_is_named)
{
    struct muster_error error = {0};
    options.placement = "least-laoded";
    ck_assert_int_eq(muster_new(&options, &muster, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(muster);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_msg(strstr(error.message, "least-laoded") != NULL, "%s", error.message);
    muster_error_clean_up(&error);
    ck_assert_int_eq(muster_new(&options, &muster, NULL), MUSTER_INVALID_ARGUMENT);
}
END_TEST

/* A program that was built against an older header knows fewer fields. */
START_TEST(smaller_structs_mean_the_defaults)
{
    options.size = offsetof(struct muster_options, delivery);
    options.delivery = MUSTER_DELIVER_ON_QUEUE; /* beyond the size: not seen */
    options.placement = "nonsense";
    begin();
    ck_assert_int_eq(muster_completion_fd(muster), -1);
    struct muster_registration_options with = app("/", NATIVE);
    with.size = offsetof(struct muster_registration_options, module);
    with.module = true;
    with.lazy = true;
    with.queue_limit = 1;
    with.load = (muster_load_fn *)(uintptr_t)1;
    await_ok(begin_register(&with));

    struct muster_stats stats;
    memset(&stats, 0x5a, sizeof(stats));
    stats.size = offsetof(struct muster_stats, events);
    muster_stats(muster, &stats);
    ck_assert_uint_eq(stats.registrations, 1);
    ck_assert_uint_eq(stats.events, 0x5a5a5a5a5a5a5a5aull);
    ck_assert_uint_eq(stats.size, offsetof(struct muster_stats, events));

    const struct muster_event_options event = {.size = offsetof(struct muster_event_options, timeout_ms),
                                               .timeout_ms = 1};
    const struct muster_http_request request = {.method = bytes_of("GET"),
                                                .url = bytes_of("http://a.test/hang")};
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_fetch(muster, &request, &event, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, 50, NULL), MUSTER_TIMED_OUT);
    muster_handle_release(handle);
}
END_TEST

START_TEST(structs_of_an_unknown_size_are_refused)
{
    struct muster_error error = {0};
    struct muster_handle *handle = NULL;
    options.size = sizeof(options) + 8;
    ck_assert_int_eq(muster_new(&options, &muster, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(error.message);
    muster_error_clean_up(&error);
    options.size = 0;
    ck_assert_int_eq(muster_new(&options, &muster, NULL), MUSTER_INVALID_ARGUMENT);
    options.size = sizeof(options);
    begin();
    struct muster_registration_options with = app("/", NATIVE);
    with.size = sizeof(with) + 8;
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    with.size = 0;
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_INVALID_ARGUMENT);
    register_app("/", NATIVE);
    const struct muster_event_options event = {.size = sizeof(event) + 8};
    ck_assert_int_eq(muster_dispatch(muster, "/", "note", NULL, &event, NULL, NULL, &handle),
                     MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(handle);
}
END_TEST

START_TEST(an_instance_needs_no_options)
{
    muster = make(NULL);
    register_app("/", NATIVE);
    assert_answer("http://a.test/x", "hello /x");
    ck_assert_str_eq(muster_version(), MUSTER_VERSION);
}
END_TEST

/* ---- suite ---- */

static TCase *topic(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_engine_tests(Suite *suite)
{
    TCase *events = topic(suite, "events");
    tcase_add_loop_test(events, a_fetch_is_answered, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, events_reach_their_listener_with_their_data, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, a_function_gives_its_result_or_its_error, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, what_nobody_answers_passes, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, events_posted_while_a_worker_starts_are_answered_in_order, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, an_event_past_its_deadline_times_out, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, what_is_canceled_settles_once_and_the_worker_goes_on, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, what_is_canceled_while_it_waits_is_never_delivered, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, a_full_queue_refuses_at_once, 0, ENGINE_COUNT);
    tcase_add_loop_test(events, a_worker_that_was_stopped_comes_back_for_the_next_event, 0, ENGINE_COUNT);
    tcase_add_test(events, a_worker_that_is_back_knows_where_it_is_while_its_script_runs);
    tcase_add_loop_test(events, a_worker_that_idles_out_loses_no_event, 0, ENGINE_COUNT);
    tcase_add_test(events, a_canceled_javascript_fetch_aborts_its_signal);

    TCase *versions = topic(suite, "versions");
    tcase_add_loop_test(versions, a_new_version_waits_until_the_old_one_has_stopped, 0, ENGINE_COUNT);
    tcase_add_loop_test(versions, the_same_script_again_changes_nothing, 0, ENGINE_COUNT);
    tcase_add_loop_test(versions, versions_that_take_over_under_load_lose_no_event, 0, ENGINE_COUNT);
    tcase_add_loop_test(versions, an_unregistered_scope_finishes_what_it_has, 0, ENGINE_COUNT);

    TCase *failures = topic(suite, "failures");
    tcase_add_loop_test(failures, a_syntax_error_reaches_who_registered, LUA, ENGINE_COUNT);
    tcase_add_loop_test(failures, an_error_at_the_start_reaches_who_registered, LUA, ENGINE_COUNT);
    tcase_add_loop_test(failures, an_error_in_install_reaches_who_registered, LUA, ENGINE_COUNT);
    tcase_add_loop_test(failures, a_script_that_is_not_there_reaches_who_registered, LUA, ENGINE_COUNT);
    tcase_add_loop_test(failures, those_who_wait_for_a_failing_start_hear_why, LUA, ENGINE_COUNT);
    tcase_add_test(failures, a_listener_of_install_that_throws_is_reported_and_the_version_installs);
    tcase_add_loop_test(failures, a_version_that_fails_leaves_the_old_one_in_place, LUA, ENGINE_COUNT);
    tcase_add_loop_test(failures, a_start_that_takes_too_long_is_given_up, 0, ENGINE_COUNT);
    tcase_add_loop_test(failures, an_install_that_takes_too_long_is_given_up, LUA, ENGINE_COUNT);
    tcase_add_test(failures, a_native_start_that_fails_says_why);
    tcase_add_test(failures, registering_twice_at_once_tells_both_of_the_failure);

    TCase *bindings = topic(suite, "host bindings");
    tcase_add_loop_test(bindings, a_script_calls_the_program_and_gets_values_and_errors, LUA, ENGINE_COUNT);
    tcase_add_loop_test(bindings, a_call_is_ended_later_from_another_thread, LUA, ENGINE_COUNT);
    tcase_add_loop_test(bindings, a_call_may_outlive_its_worker_and_the_instance, LUA, ENGINE_COUNT);
    tcase_add_loop_test(bindings, finalizers_run_exactly_once, LUA, ENGINE_COUNT);
    tcase_add_test(bindings, bindings_refuse_bad_and_taken_paths);
}

static void add_other_tests(Suite *suite)
{
    TCase *completions = topic(suite, "completions");
    tcase_add_test(completions, a_callback_comes_once_and_never_inside_the_call_that_asked);
    tcase_add_test(completions, queued_callbacks_come_on_the_thread_that_runs_them);
    tcase_add_test(completions, a_queued_callback_sees_the_whole_result);
    tcase_add_test(completions, a_wait_of_no_time_only_looks);
    tcase_add_test(completions, the_longest_wait_waits);
    tcase_add_test(completions, a_wait_on_a_worker_thread_is_refused);
    tcase_add_test(completions, a_wait_on_the_coordinators_thread_is_refused);

    TCase *scopes = topic(suite, "scopes");
    tcase_add_test(scopes, an_unknown_scope_is_answered_at_once);
    tcase_add_test(scopes, the_longest_prefix_wins);
    tcase_add_test(scopes, four_threads_match_while_others_register);

    TCase *process = topic(suite, "process");
    tcase_add_test(process, two_instances_know_nothing_of_each_other);
    tcase_add_test(process, a_forked_child_is_refused_by_every_call);
    tcase_add_test(process, no_signal_handler_changes_for_native_and_lua);
    tcase_add_loop_test(process, a_broken_pipe_on_a_thread_of_musters_does_not_end_the_program, LUA,
                        ENGINE_COUNT);

    TCase *end = topic(suite, "the end");
    tcase_add_loop_test(end, closing_while_requests_run_settles_each_once, 0, ENGINE_COUNT);
    tcase_add_loop_test(end, closing_while_threads_post_settles_each_once, 0, ENGINE_COUNT);
    tcase_add_test(end, after_the_close_every_call_says_so);
    tcase_add_loop_test(end, handles_outlive_the_instance, 0, ENGINE_COUNT);
    tcase_add_loop_test(end, an_instance_comes_and_goes, 0, 2);

    TCase *arguments = topic(suite, "arguments");
    tcase_add_test(arguments, nothing_works_without_an_instance);
    tcase_add_test(arguments, a_registration_without_scope_or_script_is_refused);
    tcase_add_test(arguments, a_registration_whose_engine_is_missing_settles_with_the_reason);
    tcase_add_test(arguments, an_event_without_name_or_url_is_refused_and_its_data_freed);
    tcase_add_test(arguments, an_unknown_placement_is_named);
    tcase_add_test(arguments, smaller_structs_mean_the_defaults);
    tcase_add_test(arguments, structs_of_an_unknown_size_are_refused);
    tcase_add_test(arguments, an_instance_needs_no_options);
}

int main(void)
{
    Suite *suite = suite_create("muster");
    add_engine_tests(suite);
    add_other_tests(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
