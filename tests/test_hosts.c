/* tests/test_hosts.c - one life-cycle suite for a worker wherever it lives: on the threads of this process, and in a
 * child process.  The test's thread plays the coordinator and waits for what it hears, never for time.
 *
 * Each test runs on threads, in a process that was executed and in one that is a copy, with real scripts; those at the end
 * are about processes alone. */
#include "remote/host_threads.h"
#include "remote/process_internal.h"

#include "place_harness.h"

#include <signal.h>
#include <stdlib.h>

enum { THREADS, PROCESS, COPY, HOST_COUNT };

/* ---- the test's side ---- */

static atomic_bool javascript_was_used; /* in this process */

int __lsan_is_turned_off(void);

/* The leak checker crashes on what JavaScriptCore has mapped. */
int __lsan_is_turned_off(void)
{
    return atomic_load(&javascript_was_used);
}

static struct muster__processes *processes;
static uint32_t trust; /* of the next worker's host */

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
}

static enum muster_status new_host(enum muster_placement_kind kind,
                                   const struct muster_placement_request *request,
                                   struct muster__host **ret_host, void *user_data)
{
    struct muster_error error = {0};
    (void)user_data;
    ck_assert_int_eq(kind, MUSTER_PLACEMENT_PROCESS);
    enum muster_status status = muster__processes_take_host(processes, request, ret_host, &error);
    if (status != MUSTER_OK)
        fprintf(stderr, "no host: %s\n", error.message ? error.message : "");
    muster_error_clean_up(&error);
    return status;
}

static void make_service(int at)
{
    const struct muster__pool_options pool_options = {.threads = 2, .name = "test"};
    const struct muster__service_options options = {.new_host = new_host};
    struct muster_error error = {0};
    trust = MUSTER__TRUST_SCRIPT;
    ck_assert_int_eq(muster__pool_new(&pool_options, &pool), MUSTER_OK);
    ck_assert_int_eq(muster__service_new(&options, &service, NULL), MUSTER_OK);
    if (at == THREADS) {
        const struct muster__host_threads_options host_options = {.pool = pool};
        struct muster__host *host = NULL;
        ck_assert_int_eq(muster__host_threads_new(&host_options, &host), MUSTER_OK);
        ck_assert_int_eq(muster__service_add_host(service, &host), MUSTER_OK);
    } else {
        const struct muster__processes_options process_options = {
            .pool = pool, .threads = 2, .log = log_line};
        enum muster_status status = muster__processes_new(&process_options, &processes, &error);
        ck_assert_msg(status == MUSTER_OK, "%s", error.message);
        if (at == COPY)
            muster__processes_expect_javascript(processes);
    }
}

static void end_service(void)
{
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    muster__service_destroy(service);
    muster__processes_destroy(processes);
    processes = NULL;
}

/* ---- workers ---- */

static enum muster_status load_text(const char *url, const char *importer,
                                    struct muster_loaded *ret_loaded, struct muster_error *error,
                                    void *user_data)
{
    const char *script = user_data;
    if (importer && strstr(url, "imported.js"))
        script = "var imported = 'from ' + 'afar';";
    else if (importer || !script) {
        muster_error_set(error, MUSTER_NOT_FOUND, "there is no \"%s\"", url);
        return MUSTER_NOT_FOUND;
    }
    ret_loaded->text = muster__strdup(script);
    ret_loaded->length = strlen(script);
    return MUSTER_OK;
}

/* For its next start; NULL: it cannot be loaded. */
static void use_script(struct place *place, const char *script)
{
    place->loader = (struct muster__loader){.load = load_text, .user_data = (void *)(uintptr_t)script};
}

static void make_place(struct place *place, const char *script)
{
    init_place(place);
    use_script(place, script);
}

static void start_worker(struct place *place, const char *engine, struct muster__worker_limits limits,
                         struct muster_bindings *bindings)
{
    if (strcmp(engine, "javascript") == 0)
        atomic_store(&javascript_was_used, true);
    place->engine = engine;
    place->script_url = strcmp(engine, "lua") == 0 ? "mem:/worker.lua" : "mem:/worker.js";
    place_worker(place, (struct muster_placement_request){.trust = trust}, limits, bindings);
}

static void run_script(struct place *place, const char *engine, const char *script)
{
    make_place(place, script);
    start_worker(place, engine, (struct muster__worker_limits){0}, NULL);
    ck_assert(open_worker(place));
}

/* ---- on both hosts ---- */

static const char javascript[] =
    "let count = 0;\n"
    "addEventListener('fetch', (event) => {\n"
    "  const url = new URL(event.request.url);\n"
    "  if (url.pathname === '/echo') event.respondWith(new Response(event.request.body));\n"
    "  else if (url.pathname === '/boom') throw new TypeError('boom');\n"
    "  else event.respondWith(new Response('hello ' + url.pathname + ' ' + ++count));\n"
    "});\n"
    "addEventListener('note', (event) => { console.log('note', event.data); });\n";

START_TEST(it_starts_serves_and_stops)
{
    struct place place;
    struct errand first, second;
    make_service(_i);
    run_script(&place, "javascript", javascript);
    fetch(&place, &first, "http://x/a", NULL);
    fetch(&place, &second, "http://x/b", NULL);
    finish_errand(&first);
    finish_errand(&second);
    ck_assert_str_eq(first.text, "hello /a 1");
    ck_assert_str_eq(second.text, "hello /b 2");
    ck_assert_int_eq(second.status_code, 200);
    stop_worker(&place);
    ck_assert_msg(place.gone_status == MUSTER_OK, "%s", place.gone_error);
    release_place(&place);
    end_service();
}
END_TEST

static void body_woke(void *user_data)
{
    (void)user_data;
    TELL((void)0);
}

/* A body that is read to its end; the length. */
static size_t read_body(struct muster_stream *stream, char *into, size_t size, enum muster_status *ret_status)
{
    size_t total = 0, length = 0;
    enum muster_status status;
    pthread_mutex_lock(&lock);
    muster_stream_on_readable(stream, body_woke, NULL);
    for (;;) {
        pthread_mutex_unlock(&lock); /* a stream wakes the other end from inside its calls */
        status = muster_stream_read(stream, into + total, size - total, &length);
        pthread_mutex_lock(&lock);
        if (status == MUSTER_OK && length)
            total += length;
        else if (status != MUSTER_PENDING)
            break;
        else if (!muster_stream_buffered(stream)) {
            struct timespec soon;
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 5000000;
            soon.tv_sec += soon.tv_nsec / 1000000000;
            soon.tv_nsec %= 1000000000;
            (void)pthread_cond_timedwait(&changed, &lock, &soon); /* an end is told by no one else */
        }
    }
    pthread_mutex_unlock(&lock);
    muster_stream_on_readable(stream, NULL, NULL);
    *ret_status = status;
    return total;
}

START_TEST(requests_keep_their_order)
{
    enum { COUNT = 3000 };
    struct place place;
    struct errand *errands = calloc(COUNT, sizeof *errands);
    make_service(_i);
    run_script(&place, "javascript", javascript);
    for (int i = 0; i < COUNT; i++)
        fetch(&place, &errands[i], "http://x/", NULL);
    for (int i = 0; i < COUNT; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "hello / %d", i + 1);
        finish_errand(&errands[i]);
        ck_assert_str_eq(errands[i].text, expected);
    }
    stop_worker(&place);
    release_place(&place);
    end_service();
    free(errands);
}
END_TEST

/* As messages to a worker that installs do: its slot is not open yet. */
START_TEST(what_passes_the_slot_keeps_its_order_whatever_it_is)
{
    enum { COUNT = 400 };
    struct place place;
    struct errand *errands = calloc(COUNT, sizeof *errands), last;
    make_service(_i);
    make_place(&place, "let turns = 0, swapped = 0;\n"
                       "addEventListener('message', () => { swapped += turns++ % 2; });\n"
                       "addEventListener('install', () => { swapped += 1 - turns++ % 2; });\n"
                       "addEventListener('fetch', (event) => event.respondWith(new Response(turns + ' ' + swapped)));\n");
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, NULL);
    WAIT_FOR(place.started);
    ck_assert_msg(place.start_status == MUSTER_OK, "%s", place.start_error);
    for (int i = 0; i < COUNT; i++) {
        init_errand(&errands[i], i % 2 ? MUSTER__REQUEST_LIFECYCLE : MUSTER__REQUEST_MESSAGE,
                    i % 2 ? "install" : "message");
        place.worker->class->control(place.worker, &errands[i].request);
        muster__request_release(&errands[i].request);
    }
    for (int i = 0; i < COUNT; i++) {
        finish_errand(&errands[i]);
        ck_assert_int_eq(errands[i].status, MUSTER_OK);
    }
    ck_assert(open_worker(&place));
    fetch(&place, &last, "http://x/", NULL);
    finish_errand(&last);
    ck_assert_str_eq(last.text, "400 0");
    stop_worker(&place);
    release_place(&place);
    end_service();
    free(errands);
}
END_TEST

/* Writes all of it from a thread of its own, while the answer is read. */
struct writer {
    struct muster_stream *stream;
    const char *data;
    size_t length;
};

static void *write_body(void *argument)
{
    struct writer *writer = argument;
    size_t total = 0;
    while (total < writer->length) {
        size_t written = 0;
        if (muster_stream_write(writer->stream, writer->data + total, writer->length - total, &written) !=
            MUSTER_OK)
            break;
        total += written;
        if (!written) {
            struct timespec soon = {0, 1000000};
            nanosleep(&soon, NULL); /* the reader makes room; a wake would only be quicker */
        }
    }
    muster_stream_close(writer->stream);
    return NULL;
}

START_TEST(bodies_of_any_size_stream_both_ways)
{
    enum { SIZE = 3 << 20 };
    struct place place;
    struct errand errand;
    struct muster_stream *body = NULL;
    char *sent = malloc(SIZE), *got = malloc(SIZE + 1);
    pthread_t thread;
    for (int i = 0; i < SIZE; i++)
        sent[i] = (char)(i * 31 + i / 977);
    make_service(_i);
    run_script(&place, "javascript", javascript);
    ck_assert_int_eq(muster_stream_new(0, &body), MUSTER_OK);
    struct writer writer = {body, sent, SIZE};
    fetch(&place, &errand, "http://x/echo", body);
    pthread_create(&thread, NULL, write_body, &writer);
    WAIT_FOR(errand.settled);
    ck_assert_msg(errand.status == MUSTER_OK, "%s", errand.error);
    ck_assert_ptr_nonnull(errand.body);
    enum muster_status status;
    size_t length = read_body(errand.body, got, SIZE + 1, &status);
    ck_assert_int_eq(status, MUSTER_OK);
    ck_assert_uint_eq(length, SIZE);
    ck_assert(memcmp(sent, got, SIZE) == 0);
    pthread_join(thread, NULL);
    finish_errand(&errand);
    stop_worker(&place);
    release_place(&place);
    end_service();
    muster_stream_release(body);
    muster_stream_release(body);
    free(sent);
    free(got);
}
END_TEST

START_TEST(an_error_in_a_handler_stays_inside)
{
    struct place place;
    struct errand bad, good;
    make_service(_i);
    run_script(&place, "javascript", javascript);
    fetch(&place, &bad, "http://x/boom", NULL);
    fetch(&place, &good, "http://x/", NULL);
    finish_errand(&bad);
    finish_errand(&good);
    ck_assert_int_eq(bad.status, MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(strstr(bad.error, "boom"));
    ck_assert_str_eq(good.text, "hello / 1");
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(a_script_that_fails_says_where)
{
    struct place place;
    make_service(_i);
    make_place(&place, "let a = 1;\nthrow new RangeError('too far');\n");
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, NULL);
    WAIT_FOR(place.started);
    ck_assert_int_eq(place.start_status, MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(strstr(place.start_error, "too far"));
    wait_gone(&place);
    use_script(&place, NULL);
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, NULL);
    WAIT_FOR(place.started);
    ck_assert_int_eq(place.start_status, MUSTER_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(place.start_error, "mem:/worker.js"));
    wait_gone(&place);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(scripts_import_through_the_loader)
{
    struct place place;
    struct errand errand;
    make_service(_i);
    run_script(&place, "javascript",
               "importScripts('imported.js');\n"
               "addEventListener('fetch', (event) => event.respondWith(new Response(imported)));\n");
    fetch(&place, &errand, "http://x/", NULL);
    finish_errand(&errand);
    ck_assert_str_eq(errand.text, "from afar");
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(a_turn_that_never_ends_is_cut_short)
{
    struct place place;
    struct errand errand;
    make_service(_i);
    make_place(&place, "addEventListener('fetch', () => { for (;;); });");
    start_worker(&place, "javascript", (struct muster__worker_limits){.turn_us = 100000}, NULL);
    ck_assert(open_worker(&place));
    fetch(&place, &errand, "http://x/", NULL);
    finish_errand(&errand);
    ck_assert_int_eq(errand.status, MUSTER_TURN_LIMIT);
    wait_gone(&place);
    ck_assert_int_eq(place.gone_status, MUSTER_TURN_LIMIT);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(a_token_holds_the_slot_until_it_is_dropped)
{
    struct place place;
    struct errand errand;
    make_service(_i);
    run_script(&place, "javascript",
               "addEventListener('fetch', (event) => {\n"
               "  event.respondWith(new Response('soon'));\n"
               "  event.waitUntil(new Promise((done) => setTimeout(done, 20)));\n"
               "});\n");
    fetch(&place, &errand, "http://x/", NULL);
    WAIT_FOR(errand.settled);
    finish_errand(&errand);
    ck_assert_str_eq(errand.text, "soon");
    ck_assert_uint_eq(muster__slot_sample(place.slot).holds, 0);
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(what_a_stopping_worker_did_not_begin_waits_for_the_next)
{
    enum { COUNT = 200 };
    struct place place;
    static struct errand errands[COUNT];
    int finished = 0;
    make_service(_i);
    run_script(&place, "javascript", javascript);
    for (int i = 0; i < COUNT; i++) {
        fetch(&place, &errands[i], "http://x/", NULL);
        if (i == COUNT / 2)
            place.worker->class->stop(place.worker);
    }
    wait_gone(&place);
    ck_assert_int_eq(place.gone_status, MUSTER_OK);
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, NULL);
    ck_assert(open_worker(&place));
    for (int i = 0; i < COUNT; i++) {
        finish_errand(&errands[i]);
        ck_assert_msg(errands[i].status == MUSTER_OK, "%d: %s", i, errands[i].error);
        finished++;
    }
    ck_assert_int_eq(finished, COUNT);
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(canceling_settles_what_is_in_flight)
{
    struct place place;
    struct errand errand;
    make_service(_i);
    run_script(&place, "javascript",
               "addEventListener('fetch', (event) => event.respondWith(new Promise(() => {})));");
    fetch(&place, &errand, "http://x/", NULL);
    place.worker->class->cancel(place.worker);
    WAIT_FOR(place.gone);
    wait_gone(&place);
    if (muster__slot_sample(place.slot).waiting) /* it was never taken */
        place.gone = 0;
    else
        finish_errand(&errand);
    release_place(&place);
    end_service();
}
END_TEST

static void double_it(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    double number = muster_value_number(muster_host_call_argument(call, 0));
    if (number < 0)
        muster_host_call_throw(call, "RangeError", "below zero");
    else
        muster_host_call_return(call, muster_value_new_number(number * 2));
}

START_TEST(bindings_of_the_embedder_are_called)
{
    struct place place;
    struct errand errand;
    struct muster_bindings *bindings = muster_bindings_new();
    ck_assert_int_eq(muster_bindings_add_function(bindings, "math.double", double_it, NULL, NULL), MUSTER_OK);
    ck_assert_int_eq(muster_bindings_add_value(bindings, "math.seven", muster_value_new_number(7)), MUSTER_OK);
    make_service(_i);
    make_place(&place,
               "addEventListener('fetch', (event) => event.respondWith((async () => {\n"
               "  let error = '';\n"
               "  try { await math.double(-1); } catch (e) { error = e.name + ': ' + e.message; }\n"
               "  return new Response(await math.double(math.seven) + ' ' + error);\n"
               "})()));\n");
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, bindings);
    ck_assert(open_worker(&place));
    fetch(&place, &errand, "http://x/", NULL);
    finish_errand(&errand);
    ck_assert_msg(strcmp(errand.text, "14 RangeError: below zero") == 0, "%s %s", errand.text, errand.error);
    stop_worker(&place);
    release_place(&place);
    end_service();
    muster_bindings_release(bindings);
}
END_TEST

START_TEST(workers_call_each_other)
{
    struct place place, other;
    struct errand errand;
    make_service(_i);
    run_script(&other, "javascript", "function add(a, b) { return {sum: a + b, list: [a, b]}; }");
    dispatch_to = &other;
    run_script(&place, "javascript",
               "addEventListener('fetch', (event) => event.respondWith((async () =>\n"
               "  new Response(JSON.stringify(await muster.call('/other/', 'add', 20, 22))))()));\n");
    fetch(&place, &errand, "http://x/", NULL);
    finish_errand(&errand);
    ck_assert_msg(strcmp(errand.text, "{\"sum\":42,\"list\":[20,22]}") == 0, "%s %s", errand.text, errand.error);
    stop_worker(&place);
    stop_worker(&other);
    dispatch_to = NULL;
    release_place(&place);
    release_place(&other);
    end_service();
}
END_TEST

/* ---- processes alone ---- */

static pid_t pid_of(const struct place *place)
{
    struct process_host *host = MUSTER_CONTAINER_OF(place->worker->host, struct process_host, base);
    pid_t pid;
    do
        pid = muster__process_pid(host->process);
    while (pid == 0);
    return pid;
}

START_TEST(a_killed_host_gives_back_what_never_began)
{
    enum { COUNT = 50 };
    struct place place;
    struct errand running, waiting[COUNT];
    make_service(_i);
    run_script(&place, "javascript",
               "addEventListener('fetch', (event) => {\n"
               "  if (event.request.url.endsWith('spin')) { console.log('spins'); for (;;); }\n"
               "  event.respondWith(new Response('fine'));\n"
               "});\n");
    fetch(&place, &running, "http://x/spin", NULL);
    WAIT_FOR(strstr(place.console, "spins") || place.gone);
    for (int i = 0; i < COUNT; i++)
        fetch(&place, &waiting[i], "http://x/", NULL);
    kill(pid_of(&place), SIGKILL);
    wait_gone(&place);
    finish_errand(&running);
    ck_assert_int_eq(running.status, MUSTER_CRASHED);
    ck_assert_msg(strstr(running.error, "SIGKILL"), "%s", running.error);
    ck_assert_int_eq(place.gone_status, MUSTER_CRASHED);
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, NULL);
    ck_assert(open_worker(&place));
    for (int i = 0; i < COUNT; i++) {
        finish_errand(&waiting[i]);
        ck_assert_msg(waiting[i].status == MUSTER_OK, "%d: %s", i, waiting[i].error);
        ck_assert_str_eq(waiting[i].text, "fine");
    }
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

START_TEST(what_waited_for_something_when_its_host_died_may_be_tried_again)
{
    struct place place;
    struct errand plain, idempotent;
    make_service(_i);
    run_script(&place, "javascript",
               "let waits = 0;\n"
               "addEventListener('fetch', (event) => {\n"
               "  console.log('waits', ++waits);\n"
               "  event.respondWith(new Promise(() => {}));\n"
               "});\n");
    fetch(&place, &plain, "http://x/", NULL);
    init_errand(&idempotent, MUSTER__REQUEST_FETCH, "fetch");
    idempotent.request.http.method = text("GET");
    idempotent.request.http.url = text("http://x/");
    idempotent.request.idempotent = true;
    post(&place, &idempotent);
    WAIT_FOR(strstr(place.console, "waits 2") || place.gone);
    kill(pid_of(&place), SIGKILL);
    wait_gone(&place);
    finish_errand(&plain);
    ck_assert(plain.status == MUSTER_RETRY || plain.status == MUSTER_CRASHED);
    use_script(&place, javascript);
    start_worker(&place, "javascript", (struct muster__worker_limits){0}, NULL);
    ck_assert(open_worker(&place));
    finish_errand(&idempotent);
    ck_assert_str_eq(idempotent.text, "hello / 1");
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

static atomic_int settled_well, destroyed;

static void count_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    (void)request;
    atomic_fetch_add(&settled_well, outcome->status == MUSTER_OK);
}

static void count_destroyed(struct muster__request *request)
{
    (void)request;
    TELL(atomic_fetch_add(&destroyed, 1));
}

static const struct muster__request_class counted_class = {count_settled, count_destroyed, NULL};

/* More bytes than a connection takes at a time, and more requests than a process: each waits and has its turn. */
START_TEST(what_finds_no_room_waits_and_goes_on)
{
    enum { LARGE = 20, SIZE = 300000, MANY = 17000, TOTAL = LARGE + MANY };
    struct place place, other;
    struct muster__request *requests = calloc(TOTAL, sizeof *requests);
    char *data = calloc(1, SIZE);
    ck_assert(requests && data);
    struct muster_value *large = muster_value_new_bytes(data, SIZE);
    ck_assert_ptr_nonnull(large);
    make_service(_i);
    run_script(&place, "lua", "muster.on('hush', function() end)");
    run_script(&other, "lua", "muster.on('hush', function() end)");
    for (int i = 0; i < TOTAL; i++) {
        struct place *to = i % 2 ? &place : &other;
        muster__request_init(&requests[i], &counted_class, MUSTER__REQUEST_EVENT, "hush");
        requests[i].data = i < LARGE ? large : NULL;
        ck_assert_int_eq(muster__slot_post(to->slot, &requests[i], muster__now_us()), MUSTER_OK);
        muster__request_release(&requests[i]);
    }
    WAIT_FOR(atomic_load(&destroyed) == TOTAL);
    ck_assert_int_eq(atomic_load(&settled_well), TOTAL);
    stop_worker(&place);
    stop_worker(&other);
    release_place(&place);
    release_place(&other);
    end_service();
    muster_value_release(large);
    free(data);
    free(requests);
}
END_TEST

START_TEST(a_worker_behind_the_wall_serves_as_any_other)
{
    struct place place;
    struct errand errand;
    make_service(_i);
    trust = MUSTER__TRUST_NONE;
    run_script(&place, "javascript",
               "addEventListener('fetch', (event) => {\n"
               "  let sum = 0;\n"
               "  for (let i = 0; i < 3e6; i++) sum = (sum + i * i) % 1000003;\n"
               "  event.respondWith(new Response(String(sum)));\n"
               "});\n");
    fetch(&place, &errand, "http://x/", NULL);
    finish_errand(&errand);
    ck_assert_str_eq(errand.text, "999718");
    stop_worker(&place);
    release_place(&place);
    end_service();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hosts");
    TCase *tc = tcase_create("everywhere");
    tcase_add_loop_test(tc, it_starts_serves_and_stops, 0, HOST_COUNT);
    tcase_add_loop_test(tc, requests_keep_their_order, 0, HOST_COUNT);
    tcase_add_loop_test(tc, what_passes_the_slot_keeps_its_order_whatever_it_is, 0, HOST_COUNT);
    tcase_add_loop_test(tc, bodies_of_any_size_stream_both_ways, 0, HOST_COUNT);
    tcase_add_loop_test(tc, an_error_in_a_handler_stays_inside, 0, HOST_COUNT);
    tcase_add_loop_test(tc, a_script_that_fails_says_where, 0, HOST_COUNT);
    tcase_add_loop_test(tc, scripts_import_through_the_loader, 0, HOST_COUNT);
    tcase_add_loop_test(tc, a_turn_that_never_ends_is_cut_short, 0, HOST_COUNT);
    tcase_add_loop_test(tc, a_token_holds_the_slot_until_it_is_dropped, 0, HOST_COUNT);
    tcase_add_loop_test(tc, what_a_stopping_worker_did_not_begin_waits_for_the_next, 0, HOST_COUNT);
    tcase_add_loop_test(tc, canceling_settles_what_is_in_flight, 0, HOST_COUNT);
    tcase_add_loop_test(tc, bindings_of_the_embedder_are_called, 0, HOST_COUNT);
    tcase_add_loop_test(tc, workers_call_each_other, 0, HOST_COUNT);
    suite_add_tcase(s, tc);

    tc = tcase_create("processes");
    tcase_add_loop_test(tc, what_finds_no_room_waits_and_goes_on, PROCESS, HOST_COUNT);
    tcase_add_loop_test(tc, a_killed_host_gives_back_what_never_began, PROCESS, HOST_COUNT);
    tcase_add_loop_test(tc, a_worker_behind_the_wall_serves_as_any_other, PROCESS, HOST_COUNT);
    tcase_add_loop_test(tc, what_waited_for_something_when_its_host_died_may_be_tried_again, PROCESS, HOST_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
