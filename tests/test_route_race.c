/* tests/test_route_race.c - static routes whose source is "race-network-and-fetch-handler": who is asked, and who wins.
 *
 * A controlled worker fetches from a server in this program, whose answers wait until the test lets them go; the event
 * of its service worker answers at once, or never.  So each race has its end before it begins. */
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

/* Of the service worker. */
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

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    /* The path says what each of the two does: /race/ACT OF THE EVENT/ANSWER OF THE SERVER */
    static const char service[] =
        "addEventListener('install', (event) => event.addRoutes({\n"
        "  condition: { urlPattern: new URLPattern({ pathname: '/RACE/*' }, { ignoreCase: true }) },\n"
        "  source: 'race-network-and-fetch-handler' }));\n"
        "addEventListener('fetch', (event) => {\n"
        "  const [, , act] = new URL(event.request.url).pathname.split('/');\n"
        "  console.log(`event ${act}`);\n"
        "  if (act === 'answers') event.respondWith(new Response('event'));\n"
        "  if (act === 'never') event.respondWith(new Promise(() => {}));\n"
        "  if (act === 'fails') event.respondWith(Promise.reject(new Error('no')));\n"
        "});\n";
    static const char page[] =
        "onconnect = ({ ports: [port] }) => port.onmessage = async ({ data }) => {\n"
        "  try {\n"
        "    const response = await fetch(`/race/${data}`);\n"
        "    console.log(`${data}: ${response.status} ${await response.text()}`);\n"
        "  } catch (error) { console.log(`${data}: ${error.name}`); }\n"
        "};\n";
    (void)importer, (void)error, (void)user_data;
    ret_loaded->text = strdup(strstr(url, "page.js") ? page : service);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

/* ---- the server: /race/ACT/STATUS is answered with that status, "held" first waits ---- */

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    atomic_bool closing;
    sem_t may_answer;
} server;

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
    (void)user_data;
    for (;;) {
        char text[4096], answer[128], *status;
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0 || atomic_load(&server.closing))
            return NULL;
        receive(fd, text, sizeof text);
        if (strstr(text, "/held "))
            while (sem_wait(&server.may_answer) != 0)
                ;
        status = strstr(text, "/404 ") ? "404 Not Found" : "200 OK";
        snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnetwork", status);
        (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        close(fd);
    }
}

static void start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    sem_init(&server.may_answer, 0, 0);
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

/* ---- what scripts print ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[4096];
} said = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void keep_line(const char *scope, enum muster_log_level level, struct muster_bytes text, void *user_data)
{
    (void)scope, (void)level, (void)user_data;
    pthread_mutex_lock(&said.lock);
    size_t length = strlen(said.text);
    snprintf(said.text + length, sizeof said.text - length, "%.*s\n", (int)text.length, (const char *)text.data);
    pthread_cond_broadcast(&said.changed);
    pthread_mutex_unlock(&said.lock);
}

static void await_line(const char *line)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&said.lock);
    while (!strstr(said.text, line) && !late)
        late = pthread_cond_timedwait(&said.changed, &said.lock, &until);
    ck_assert_msg(strstr(said.text, line) != NULL, "no \"%s\" in \"%s\"", line, said.text);
    pthread_mutex_unlock(&said.lock);
}

/* ---- a controlled worker ---- */

static struct muster *muster;
static struct muster_client *client;
static struct muster_port *port;

static void begin(enum muster_hosting hosting)
{
    const struct muster_options options = {.size = sizeof options, .threads = 2, .stop_timeout_ms = 1, .load = load,
                                           .console = keep_line};
    char scope[64], script[80], page_url[80];
    struct muster_handle *handle = NULL;
    struct muster_error error = {0};
    start_server();
    snprintf(scope, sizeof scope, "http://127.0.0.1:%u/", server.port);
    snprintf(script, sizeof script, "%ssw.js", scope);
    snprintf(page_url, sizeof page_url, "%spage.js", scope);
    const struct muster_registration_options service = {.size = sizeof service, .scope = scope, .script = script,
                                                        .hosting = hosting};
    const struct muster_client_options page = {.size = sizeof page, .url = scope};
    const struct muster_shared_worker_options shared = {.size = sizeof shared, .url = page_url};
    ck_assert_msg(muster_new(&options, &muster, &error) == MUSTER_OK, "%s", error.message);
    ck_assert_int_eq(muster_register(muster, &service, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    ck_assert_int_eq(muster_client_open(muster, &page, &client), MUSTER_OK);
    ck_assert_int_eq(muster_shared_worker_connect(client, &shared, &port), MUSTER_OK);
}

static void ask(const char *path, const char *wanted)
{
    ck_assert_int_eq(muster_port_post(port, muster_value_new_text(path), NULL, 0), MUSTER_OK);
    await_line(wanted);
}

static void end(void)
{
    sem_post(&server.may_answer);
    muster_port_close(port);
    muster_client_close(client);
    muster_destroy(muster);
    stop_server();
}

START_TEST(the_first_good_answer_wins_and_both_were_asked)
{
    begin(hostings[_i]);
    ask("never/200", "never/200: 200 network\n");
    await_line("event never\n");
    ask("answers/held", "answers/held: 200 event\n");
    end();
}
END_TEST

START_TEST(an_answer_of_the_network_that_is_not_ok_does_not_win)
{
    begin(hostings[_i]);
    ask("answers/404", "answers/404: 200 event\n");
    end();
}
END_TEST

START_TEST(an_event_that_fails_or_leaves_it_to_the_network_waits_for_that)
{
    begin(hostings[_i]);
    ask("fails/200", "fails/200: 200 network\n");
    ask("passes/404", "passes/404: 404 network\n");
    ask("fails/404", "fails/404: TypeError\n");
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route_race");
    TCase *tests = tcase_create("route_race");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, the_first_good_answer_wins_and_both_were_asked, 0, HOSTING_COUNT);
    tcase_add_loop_test(tests, an_answer_of_the_network_that_is_not_ok_does_not_win, 0, HOSTING_COUNT);
    tcase_add_loop_test(tests, an_event_that_fails_or_leaves_it_to_the_network_waits_for_that, 0, HOSTING_COUNT);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
