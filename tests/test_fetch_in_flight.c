/* tests/test_fetch_in_flight.c - workers of a real coordinator that fetch: those that are asked to end meanwhile, and
 * those behind a wall.
 *
 * To end: the script answers its event at once and goes on fetching; from then on nothing but the fetch holds the
 * worker, which has hardly any idle time.  The server, a thread of this program, does not answer before the log says what
 * the test is about; then the script tells the server what it has got.  Nothing sleeps. */
#include "coordinator/muster.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */
/* A process says what it holds once a second; what holds a worker is looked at ten times a second. */
#define GRACE_MS 2500
#define LOOKS 25

static const enum muster_hosting hostings[] = {
    MUSTER_HOSTING_THREAD,
    MUSTER_HOSTING_PROCESS,
};
#define HOSTING_COUNT ((int)(sizeof hostings / sizeof *hostings))

int __lsan_is_turned_off(void);

/* The leak sanitizer crashes on what JavaScriptCore has mapped. */
int __lsan_is_turned_off(void)
{
    return 1;
}

/* ---- the server: /late waits for `may_answer`, and "/heard?late" is what the script says at the end ---- */

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    atomic_bool closing;
    sem_t may_answer, heard;
} server;

static void await_signal(sem_t *signal, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    ck_assert_msg(sem_timedwait(signal, &until) == 0, "%s did not come", what);
}

/* The head of a request, of which the first line is enough. */
static void receive(int fd, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    while (length < size - 1 && !strstr(text, "\r\n\r\n")) {
        ssize_t got = recv(fd, text + length, size - 1 - length, 0);
        if (got <= 0)
            return;
        length += (size_t)got;
        text[length] = '\0';
    }
}

static void *serve(void *user_data)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate";
    (void)user_data;
    for (;;) {
        char text[4096];
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        receive(fd, text, sizeof text);
        if (strncmp(text, "GET /late ", 10) == 0)
            while (sem_wait(&server.may_answer) != 0)
                ;
        bool is_news = strncmp(text, "GET /heard?late ", 16) == 0;
        (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        close(fd);
        if (is_news)
            sem_post(&server.heard);
        if (atomic_load(&server.closing))
            return NULL;
    }
}

static void start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    atomic_store(&server.closing, false);
    sem_init(&server.may_answer, 0, 0);
    sem_init(&server.heard, 0, 0);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(server.fd, 0);
    ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(server.fd, 16), 0);
    ck_assert_int_eq(getsockname(server.fd, (struct sockaddr *)&address, &length), 0);
    server.port = ntohs(address.sin_port);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void stop_server(void)
{
    atomic_store(&server.closing, true);
    shutdown(server.fd, SHUT_RDWR);
    sem_post(&server.may_answer);
    pthread_join(server.thread, NULL);
    close(server.fd);
}

/* ---- the log, where the coordinator says what it does ---- */

static struct {
    pthread_mutex_t lock;
    const char *wanted, *more; /* a line with both of them lets the server answer, the `count`th time */
    int count;
    char end[1024]; /* the line about its end */
    bool was_interrupted;
    sem_t came, ended;
} story = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void read_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)level;
    (void)user_data;
    pthread_mutex_lock(&story.lock);
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "%s: %s\n", subject, text);
    if (strstr(text, story.wanted) && strstr(text, story.more) && --story.count == 0)
        sem_post(&server.may_answer);
    if (strstr(text, " stops (")) {
        story.end[0] = '\0';
        strncat(story.end, text, sizeof story.end - 1);
    }
    if (strstr(text, " GONE instance=")) /* the core hears that the worker is */
        sem_post(&story.ended);
    pthread_mutex_unlock(&story.lock);
}

static void expect(const char *wanted, const char *more, int count)
{
    story.wanted = wanted;
    story.more = more;
    story.count = count;
    story.end[0] = '\0';
    sem_init(&story.ended, 0, 0);
}

/* ---- the instance ---- */

static struct muster *muster;

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const char text[] =
        "addEventListener('fetch', (event) => {\n"
        "  const { pathname, searchParams } = new URL(event.request.url);\n"
        "  const place = searchParams.get('place');\n"
        "  if (pathname === '/whole') {\n"
        "    event.respondWith(fetch(place).then((answer) => answer.text()).catch(String).then((text) => new Response(text)));\n"
        "    return;\n"
        "  }\n"
        "  fetch(`${place}/late`).then((answer) => answer.text())\n"
        "    .then((text) => fetch(`${place}/heard?${text}`));\n"
        "  event.respondWith(new Response('begun'));\n"
        "});\n";
    (void)url;
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = strdup(text);
    ret_loaded->length = sizeof text - 1;
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void assert_ok(struct muster_handle *handle, struct muster_result *ret_result)
{
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, ret_result), MUSTER_OK);
    ck_assert_msg(ret_result->status == MUSTER_OK, "%s: %s", muster_status_name(ret_result->status),
                  ret_result->error ? ret_result->error->message : "");
}

static void begin(const struct muster_options *options, enum muster_trust trust)
{
    const struct muster_registration_options script = {
        .size = sizeof script, .scope = "/", .script = "app.js", .trust = trust,
        .lazy = true}; /* else it might have been idle for too long before its event comes */
    struct muster_error error = {0};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    start_server();
    ck_assert_msg(muster_new(options, &muster, &error) == MUSTER_OK, "%s", error.message);
    ck_assert_int_eq(muster_register(muster, &script, NULL, NULL, &handle), MUSTER_OK);
    assert_ok(handle, &result);
    muster_handle_release(handle);
}

static void begin_idle(enum muster_hosting hosting, uint64_t grace_ms)
{
    const struct muster_options options = {
        .size = sizeof options, .threads = 2, .idle_ms = 20, .grace_ms = grace_ms, .stop_timeout_ms = PATIENCE_MS,
        .load = load, .log = read_log, .log_events = true, .hosting = hosting,
    };
    begin(&options, MUSTER_TRUST_SCRIPT);
}

/* The start of the answer. */
static void send_event(const char *path, char *ret_text, size_t size)
{
    char url[128];
    int length = snprintf(url, sizeof url, "http://a.test%s?place=http://127.0.0.1:%u", path, server.port);
    const struct muster_http_request request = {.method = {"GET", 3}, .url = {url, (size_t)length}};
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    ck_assert_int_eq(muster_fetch(muster, &request, NULL, NULL, NULL, &handle), MUSTER_OK);
    assert_ok(handle, &result);
    const struct muster_bytes body = result.response->body;
    snprintf(ret_text, size, "%.*s", (int)body.length, body.data ? (const char *)body.data : "");
    muster_handle_release(handle);
}

static void expect_begun(void)
{
    char text[16];
    send_event("/begun", text, sizeof text);
    ck_assert_str_eq(text, "begun");
}

static void finish(void)
{
    muster_destroy(muster);
    stop_server();
}

static void finish_idle(const char *why, unsigned forced_ends)
{
    struct muster_stats stats = {.size = sizeof stats};
    char fetch[64];
    await_signal(&story.ended, "the end of the worker");
    snprintf(fetch, sizeof fetch, "token \"fetch http://127.0.0.1:%u/", server.port);
    pthread_mutex_lock(&story.lock);
    ck_assert_msg(strstr(story.end, why) && strstr(story.end, "held up by: ") &&
                  strstr(story.end, fetch), "%s", story.end);
    pthread_mutex_unlock(&story.lock);
    muster_stats(muster, &stats);
    ck_assert_uint_eq(stats.forced_ends, forced_ends);
    finish();
}

START_TEST(a_fetch_in_flight_is_finished_before_its_idle_worker_ends_which_is_told)
{
    expect("SAMPLED", "holds=1", LOOKS);
    begin_idle(hostings[_i], PATIENCE_MS);
    expect_begun();
    await_signal(&server.heard, "what the script got");
    finish_idle(" stops (idle); ", 0);
}
END_TEST

START_TEST(a_fetch_past_the_grace_time_ends_with_its_worker_which_is_told)
{
    expect(" is interrupted (", "", 1);
    begin_idle(hostings[_i], GRACE_MS);
    expect_begun();
    finish_idle(" stops (held tokens past the grace time); ", 1);
}
END_TEST

/* Sanitizers need more than such a wall lets through. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HAS_WALL 1
static void begin_walled(bool network)
{
    const struct muster_options options = {
        .size = sizeof options, .threads = 2, .load = load, .partial_wall = true, .grant_network = network};
    begin(&options, MUSTER_TRUST_NONE);
}

START_TEST(a_worker_without_trust_that_was_granted_the_network_fetches)
{
    char text[256];
    begin_walled(true);
    send_event("/whole", text, sizeof text);
    ck_assert_str_eq(text, "late");
    finish();
}
END_TEST

START_TEST(a_worker_without_trust_is_told_that_it_may_not_fetch)
{
    char text[256];
    begin_walled(false);
    send_event("/whole", text, sizeof text);
    ck_assert_msg(strstr(text, "the process of this worker may not use the network"), "%s", text);
    finish();
}
END_TEST

#endif

int main(void)
{
    Suite *suite = suite_create("fetch_in_flight");
    TCase *tcase = tcase_create("idle");
    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, a_fetch_in_flight_is_finished_before_its_idle_worker_ends_which_is_told, 0,
                        HOSTING_COUNT);
    tcase_add_loop_test(tcase, a_fetch_past_the_grace_time_ends_with_its_worker_which_is_told, 0, HOSTING_COUNT);
    suite_add_tcase(suite, tcase);
#if defined(HAS_WALL)
    TCase *wall = tcase_create("wall");
    tcase_set_timeout(wall, 100);
    tcase_add_test(wall, a_worker_without_trust_that_was_granted_the_network_fetches);
    tcase_add_test(wall, a_worker_without_trust_is_told_that_it_may_not_fetch);
    suite_add_tcase(suite, wall);
#endif
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
