/* tests/test_client_fetch.c - what a controlled worker fetches goes to its service worker, wherever the two live.
 *
 * A shared worker runs one step of its script a test, which says on its console how that went; so does the service
 * worker.  Nobody listens on their origin's port, so what the service worker leaves to the network fails there.  Nothing
 * sleeps: each test waits for lines. */
#include "coordinator/clients.h"
#include "coordinator/muster.h"
#include "runtime/loader_web.h"
#include "tests/console_lines.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Of the shared worker, and of its service worker. */
static const struct {
    enum muster_hosting client, service;
} homes[] = {
    {MUSTER_HOSTING_THREAD, MUSTER_HOSTING_THREAD},
    {MUSTER_HOSTING_THREAD, MUSTER_HOSTING_PROCESS_PER_WORKER},
    {MUSTER_HOSTING_PROCESS_PER_WORKER, MUSTER_HOSTING_THREAD},
    {MUSTER_HOSTING_PROCESS_PER_WORKER, MUSTER_HOSTING_PROCESS_PER_WORKER},
};
#define HOME_COUNT ((int)(sizeof homes / sizeof *homes))

static const char service_script[] =
    "const WINDOW = 65536;\n"
    "addEventListener('install', (event) => {\n"
    "  event.addRoutes([{ condition: { urlPattern: '/past' }, source: 'network' },\n"
    "                   { condition: { urlPattern: '/kept' }, source: 'cache' },\n"
    "                   { condition: { urlPattern: '/raced' }, source: 'race-network-and-fetch-handler' }]);\n"
    "  event.waitUntil(caches.open('c').then((cache) => cache.put('/kept', new Response('from the cache'))));\n"
    "});\n"
    "const acts = {\n"
    "  plain: (event) => new Response('hello', { status: 201, headers: { 'x-one': '1' } }),\n"
    "  echo: async ({ request }) => new Response(`${request.method} ${request.headers.get('x-sent')} ${await request.text()}`),\n"
    "  mirror: ({ request }) => new Response(request.body),\n"
    "  whose: async (event) => new Response(`${(await clients.get(event.clientId)).type} ${event.request.mode} `\n"
    "    + `${event.request.destination || 'none'} ${event.resultingClientId || 'none'}`),\n"
    "  hang: ({ request }) => { request.signal.onabort = () => console.log('service: aborted');\n"
    "    console.log('service: hangs'); return new Promise(() => {}); },\n"
    "  pour: () => new Response(new ReadableStream({\n"
    "    pull(controller) { controller.enqueue(new Uint8Array(WINDOW)); },\n"
    "    cancel() { console.log('service: canceled'); } })),\n"
    "  drip: () => new Response(new ReadableStream({ start(controller) { controller.enqueue(new Uint8Array(1)); } })),\n"
    "  id: (event) => new Response(`${event.clientId}.`),\n"
    "  raced: () => new Response('the worker won'),\n"
    "  fail: () => Promise.reject(new Error('no')),\n"
    "  redirect: () => Response.redirect('/plain'),\n"
    "};\n"
    "addEventListener('fetch', (event) => {\n"
    "  const act = new URL(event.request.url).pathname.slice(1);\n"
    "  console.log(`event ${act}`);\n"
    "  if (act in acts) event.respondWith(acts[act](event));\n"
    "});\n";

static const char client_script[] =
    "const say = (text) => console.log(`client: ${text}`);\n"
    "const fill = async (url, size) => {\n"
    "  let left = size, got = 0, sum = 0;\n"
    "  const body = new ReadableStream({ type: 'bytes', pull(controller) {\n"
    "    const piece = new Uint8Array(Math.min(left, 50000)).fill(left % 251);\n"
    "    left -= piece.length;\n"
    "    if (piece.length) controller.enqueue(piece); else controller.close();\n"
    "  } });\n"
    "  for await (const piece of (await fetch(url, { method: 'POST', body, duplex: 'half' })).body) {\n"
    "    got += piece.length; for (const byte of piece) sum += byte;\n"
    "  }\n"
    "  return `${got} ${sum}`;\n"
    "};\n"
    "let kept;\n"
    "const steps = {\n"
    "  plain: async () => { const r = await fetch('/plain');\n"
    "    say(`${r.status} ${r.headers.get('x-one')} ${r.type} ${new URL(r.url).pathname} ${r.redirected} ${await r.text()}`); },\n"
    "  echo: async () => say(await (await fetch('/echo', { method: 'PUT', body: 'body', headers: { 'x-sent': 's' } })).text()),\n"
    "  large: async () => say((await (await fetch('/echo', { method: 'POST', body: 'x'.repeat(1000000) })).text()).length),\n"
    "  mirror: async () => say(await fill('/mirror', 3000000)),\n"
    "  whose: async () => say(await (await fetch('/whose')).text()),\n"
    "  redirect: async () => { const r = await fetch('/redirect'); say(`${r.status} ${r.redirected}`); },\n"
    "  abort: async () => { const c = new AbortController();\n"
    "    const asked = fetch('/hang', { signal: c.signal }); self.abort = () => c.abort(); await asked; },\n"
    "  now: () => self.abort(),\n"
    "  hang: () => fetch('/hang'),\n"
    "  pour: async () => { kept = (await fetch('/pour')).body.getReader(); await kept.read(); say('pours'); },\n"
    "  drop: async () => { await kept.cancel(); say('dropped'); },\n"
    "  drip: async () => { kept = (await fetch('/drip')).body.getReader(); await kept.read(); say('drips');\n"
    "    await kept.read(); },\n"
    "  upload: async () => { let put; const body = new ReadableStream({ start(c) { put = c; } });\n"
    "    const asked = fetch('/plain', { method: 'POST', body, duplex: 'half' });\n"
    "    put.enqueue(new Uint8Array(10)); say((await asked).status); },\n"
    "  many: async () => { const all = await Promise.all(Array.from({ length: 300 }, () => fetch('/plain')));\n"
    "    say(all.filter((r) => r.status === 201).length); },\n"
    "  end: () => self.close(),\n"
    "  module: () => new Promise((resolve) => {\n"
    "    const text = 'import.meta.url; postMessage(\"from a module\")';\n"
    "    const url = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));\n"
    "    const worker = new Worker(url, { type: 'module' });\n"
    "    URL.revokeObjectURL(url);\n"
    "    worker.onmessage = ({ data }) => resolve(say(data)); worker.onerror = () => resolve(say('module failed')); }),\n"
    "};\n"
    "onconnect = ({ ports: [port] }) => port.onmessage = async ({ data }) => {\n"
    "  try {\n"
    "    if (data in steps) await steps[data](); else say(`${data} ${await (await fetch(data)).text()}`);\n"
    "  } catch (error) { say(`${data} ${error.name}`); }\n"
    "};\n";

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer, (void)error, (void)user_data;
    ret_loaded->text = strdup(strstr(url, "client.js") ? client_script : service_script);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

/* ---- what scripts print ---- */

static void read_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)level, (void)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "%s: %s\n", subject, text);
}

static void assert_not_said(const char *line)
{
    pthread_mutex_lock(&said.lock);
    ck_assert_msg(!strstr(said.text, line), "\"%s\" is in \"%s\"", line, said.text);
    pthread_mutex_unlock(&said.lock);
}

/* ---- a controlled worker ---- */

static struct muster *muster;
static struct muster_client *page;
static struct muster_port *port;
static char origin[64];
static int unused; /* a socket that has the port, and does not listen */

static unsigned take_a_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    unused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(unused, 0);
    ck_assert_int_eq(bind(unused, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(unused, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static void begin(int at)
{
    const struct muster_options options = {.size = sizeof options, .threads = 2, .stop_timeout_ms = 1, .load = load,
                                           .console = keep_line, .log = read_log, .hosting = homes[at].client};
    char script[80], worker_url[80];
    struct muster_handle *handle = NULL;
    struct muster_error error = {0};
    snprintf(origin, sizeof origin, "http://127.0.0.1:%u/", take_a_port());
    snprintf(script, sizeof script, "%ssw.js", origin);
    snprintf(worker_url, sizeof worker_url, "%sclient.js", origin);
    const struct muster_registration_options service = {.size = sizeof service, .scope = origin, .script = script,
                                                        .hosting = homes[at].service};
    const struct muster_client_options opened = {.size = sizeof opened, .url = origin};
    const struct muster_shared_worker_options shared = {.size = sizeof shared, .url = worker_url};
    ck_assert_msg(muster_new(&options, &muster, &error) == MUSTER_OK, "%s", error.message);
    ck_assert_int_eq(muster_register(muster, &service, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    ck_assert_int_eq(muster_client_open(muster, &opened, &page), MUSTER_OK);
    ck_assert_int_eq(muster_shared_worker_connect(page, &shared, &port), MUSTER_OK);
}

static void step(const char *what)
{
    ck_assert_int_eq(muster_port_post(port, muster_value_new_text(what), NULL, 0), MUSTER_OK);
}

static void ask(const char *what, const char *wanted)
{
    step(what);
    await_line(wanted);
}

static void leave(void)
{
    muster_port_close(port);
    muster_client_close(page);
    port = NULL;
    page = NULL;
}

static void end(void)
{
    if (page)
        leave();
    muster_destroy(muster);
    close(unused);
}

/* Of the worker of that type that lives: a number that muster_list() tells. */
static double look_at(const char *type, const char *field, const char *field_of_host)
{
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    double number = 0;
    ck_assert_int_eq(muster_list(muster, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    const struct muster_value *workers = muster_value_get(result.value, "workers");
    for (size_t i = 0; i < muster_value_count(workers); i++) {
        const struct muster_value *worker = muster_value_at(workers, i), *at = muster_value_get(worker, field);
        const struct muster_bytes named = muster_value_bytes(muster_value_get(worker, "type"));
        if (named.length == strlen(type) && memcmp(named.data, type, named.length) == 0)
            number = muster_value_number(field_of_host ? muster_value_get(at, field_of_host) : at);
    }
    muster_handle_release(handle);
    return number;
}

/* A worker may serve before the launcher has had the time to tell of its process. */
static void kill_process_of(const char *type)
{
    double pid = 0;
    while (pid == 0) {
        pid = look_at(type, "host", "pid");
        sched_yield();
    }
    ck_assert_int_eq(kill((pid_t)pid, SIGKILL), 0);
}

/* ---- answers ---- */

START_TEST(its_answer_has_the_head_the_body_and_what_http_does_not_say)
{
    begin(_i);
    ask("plain", "client: 201 1 default /plain false hello\n");
    ask("echo", "client: PUT s body\n");
    ask("whose", "client: sharedworker cors none none\n");
    ask("redirect", "client: 201 true\n");
    end();
}
END_TEST

START_TEST(large_bodies_arrive_whole_both_ways)
{
    begin(_i);
    ask("large", "client: 1000010\n"); /* "POST null " before it */
    ask("mirror", "client: 3000000 374400000\n");
    end();
}
END_TEST

START_TEST(many_at_a_time_are_all_answered)
{
    begin(_i);
    ask("many", "client: 300\n");
    end();
}
END_TEST

START_TEST(an_answer_may_come_before_the_body_of_the_question_is_through)
{
    begin(_i);
    ask("upload", "client: 201\n");
    ask("plain", "hello\n");
    end();
}
END_TEST

START_TEST(what_it_does_not_answer_goes_to_the_network)
{
    begin(_i);
    ask("/unknown", "client: /unknown TypeError\n");
    await_line("event unknown\n");
    end();
}
END_TEST

START_TEST(a_worker_that_fails_is_a_network_error)
{
    begin(_i);
    ask("/fail", "client: /fail TypeError\n");
    end();
}
END_TEST

START_TEST(static_routes_say_who_is_asked)
{
    begin(_i);
    ask("/past", "client: /past TypeError\n");
    ask("/kept", "client: /kept from the cache\n");
    ask("/raced", "client: /raced the worker won\n");
    ask("plain", "hello\n");
    assert_not_said("event past");
    assert_not_said("event kept");
    end();
}
END_TEST

/* ---- ends ---- */

START_TEST(an_abort_before_the_answer_reaches_the_worker)
{
    begin(_i);
    ask("abort", "service: hangs\n");
    ask("now", "client: abort AbortError\n");
    await_line("service: aborted\n");
    end();
}
END_TEST

START_TEST(an_answers_body_that_is_given_up_is_canceled_at_its_source)
{
    begin(_i);
    ask("pour", "client: pours\n");
    ask("drop", "client: dropped\n");
    await_line("service: canceled\n");
    end();
}
END_TEST

START_TEST(the_end_of_the_client_aborts_what_it_waits_for)
{
    begin(_i);
    ask("hang", "service: hangs\n");
    ask("pour", "client: pours\n");
    leave();
    await_line("service: aborted\n");
    await_line("service: canceled\n");
    end();
}
END_TEST

START_TEST(a_client_that_closes_itself_aborts_what_it_waits_for)
{
    begin(_i);
    ask("hang", "service: hangs\n");
    ask("end", "service: aborted\n");
    end();
}
END_TEST

START_TEST(the_death_of_the_clients_process_aborts_what_it_waits_for)
{
    if (homes[_i].client == MUSTER_HOSTING_THREAD)
        return;
    begin(_i);
    ask("hang", "service: hangs\n");
    ask("pour", "client: pours\n");
    kill_process_of("shared");
    await_line("service: aborted\n");
    await_line("service: canceled\n");
    end();
}
END_TEST

START_TEST(the_death_of_the_service_workers_process_fails_the_fetch_and_its_body)
{
    if (homes[_i].service == MUSTER_HOSTING_THREAD)
        return;
    begin(_i);
    ask("drip", "client: drips\n");
    ask("hang", "service: hangs\n");
    kill_process_of("service");
    await_line("client: hang TypeError\n");
    await_line("client: drip TypeError\n");
    ask("plain", "hello\n"); /* the next one is there */
    end();
}
END_TEST

/* ---- blobs ---- */

START_TEST(a_blob_of_its_own_origin_is_found_from_any_process)
{
    char own[96], wanted[160];
    const char *foreign = "blob:http://other.test/1", *unknown = "blob:http://127.0.0.1/2";
    const struct muster_bytes bytes = {"bytes of a blob", 15};
    begin(_i);
    snprintf(own, sizeof own, "blob:%.*s/3", (int)strlen(origin) - 1, origin); /* without its slash */
    ck_assert_int_eq(muster__blob_add(own, bytes, "text/plain"), MUSTER_OK);
    ck_assert_int_eq(muster__blob_add(foreign, bytes, "text/plain"), MUSTER_OK);
    snprintf(wanted, sizeof wanted, "client: %s bytes of a blob\n", own);
    ask(own, wanted);
    snprintf(wanted, sizeof wanted, "client: %s TypeError\n", unknown);
    ask(unknown, wanted);
    if (homes[_i].client != MUSTER_HOSTING_THREAD) { /* there they are its own */
        snprintf(wanted, sizeof wanted, "client: %s TypeError\n", foreign);
        ask(foreign, wanted);
    }
    muster__blob_remove(own);
    muster__blob_remove(foreign);
    end();
}
END_TEST

START_TEST(a_module_behind_a_blob_runs_wherever_its_worker_lives)
{
    if (homes[_i].client == MUSTER_HOSTING_THREAD)
        return;
    begin(_i);
    ask("module", "client: from a module\n");
    end();
}
END_TEST

/* ---- lies: what a process says goes to muster__client_fetch() ---- */

struct told {
    struct muster__request request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum muster_status status;
    char text[256];
    bool settled, destroyed;
};

static void told_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct told *told = MUSTER_CONTAINER_OF(request, struct told, request);
    pthread_mutex_lock(&told->lock);
    told->status = outcome->status;
    if (outcome->response)
        snprintf(told->text, sizeof told->text, "%.*s", (int)outcome->response->body.length,
                 outcome->response->body.data);
    told->settled = true;
    pthread_cond_broadcast(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static void told_destroyed(struct muster__request *request)
{
    struct told *told = MUSTER_CONTAINER_OF(request, struct told, request);
    muster_value_release(request->data);
    pthread_mutex_lock(&told->lock);
    told->destroyed = true;
    pthread_cond_broadcast(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static const struct muster__request_class told_class = {.settled = told_settled, .destroy = told_destroyed};

/* What the process of that instance says of a client. */
static void tell(struct told *told, double instance, const char *client_id, struct muster_value *take_info)
{
    memset(told, 0, sizeof *told);
    pthread_mutex_init(&told->lock, NULL);
    pthread_cond_init(&told->changed, NULL);
    muster__request_init(&told->request, &told_class, MUSTER__REQUEST_FETCH, "fetch");
    told->request.data = take_info;
    told->request.http = (struct muster_http_request){.method = {"GET", 3},
                                                      .url = {"http://127.0.0.1/whose", 22},
                                                      .client_id = {client_id, strlen(client_id)}};
    ck_assert_int_eq(muster__client_fetch(muster, (uint64_t)instance, &told->request, 0), MUSTER_OK);
    muster__request_release(&told->request);
    pthread_mutex_lock(&told->lock);
    while (!told->settled || !told->destroyed)
        pthread_cond_wait(&told->changed, &told->lock);
    pthread_mutex_unlock(&told->lock);
}

/* What its service worker knows the shared worker by. */
static void find_client_id(char id[MUSTER__CLIENT_ID_LENGTH + 1])
{
    ask("/id", ".\n");
    pthread_mutex_lock(&said.lock);
    const char *line = strstr(said.text, "client: /id ");
    ck_assert_ptr_nonnull(line);
    snprintf(id, MUSTER__CLIENT_ID_LENGTH + 1, "%s", line + strlen("client: /id "));
    pthread_mutex_unlock(&said.lock);
}

static struct muster_value *info_with(const char *key, const char *value)
{
    struct muster_value *info = muster_value_new_object();
    ck_assert_int_eq(muster_value_put(info, "mode", muster_value_new_text("cors")), MUSTER_OK);
    if (key)
        ck_assert_int_eq(muster_value_put(info, key, muster_value_new_text(value)), MUSTER_OK);
    return info;
}

START_TEST(no_worker_speaks_for_anothers_client)
{
    char id[MUSTER__CLIENT_ID_LENGTH + 1] = "";
    struct told told;
    begin(_i);
    ask("plain", "hello\n");
    double own = look_at("shared", "instance", NULL), service = look_at("service", "instance", NULL);
    find_client_id(id);
    tell(&told, own, id, info_with(NULL, NULL));
    ck_assert_int_eq(told.status, MUSTER_OK);
    ck_assert_str_eq(told.text, "sharedworker cors none none");
    tell(&told, own, muster_client_id(page), info_with(NULL, NULL)); /* the page's, which is the embedder's */
    ck_assert_int_eq(told.status, MUSTER_NOT_FOUND);
    tell(&told, service, id, info_with(NULL, NULL));
    ck_assert_int_eq(told.status, MUSTER_NOT_FOUND);
    tell(&told, 0, muster_client_id(page), info_with(NULL, NULL)); /* which has no instance */
    ck_assert_int_eq(told.status, MUSTER_NOT_FOUND);
    tell(&told, own, "00000000-0000-4000-8000-000000000000", info_with(NULL, NULL));
    ck_assert_int_eq(told.status, MUSTER_NOT_FOUND);
    tell(&told, own, "short", info_with(NULL, NULL));
    ck_assert_int_eq(told.status, MUSTER_NOT_FOUND);
    tell(&told, own, "", info_with("resultingClientId", id)); /* a navigation, which only a page makes */
    ck_assert_int_eq(told.status, MUSTER_NOT_FOUND);
    end();
}
END_TEST

START_TEST(what_goes_beside_http_is_only_what_may_be_said)
{
    char id[MUSTER__CLIENT_ID_LENGTH + 1] = "";
    struct told told;
    begin(_i);
    ask("plain", "hello\n");
    double own = look_at("shared", "instance", NULL);
    find_client_id(id);
    tell(&told, own, id, info_with("clientId", muster_client_id(page)));
    ck_assert_str_eq(told.text, "sharedworker cors none none");
    tell(&told, own, id, info_with("resultingClientId", muster_client_id(page)));
    ck_assert_str_eq(told.text, "sharedworker cors none none");
    tell(&told, own, id, info_with("destination", "Not A Destination"));
    ck_assert_str_eq(told.text, "sharedworker cors none none");
    tell(&told, own, id, info_with("mode", "navigate"));
    ck_assert_int_eq(told.status, MUSTER_OK);
    ck_assert_ptr_null(strstr(told.text, "navigate"));
    tell(&told, own, id, muster_value_new_text("no object at all"));
    ck_assert_int_eq(told.status, MUSTER_OK);
    tell(&told, own, id, NULL);
    ck_assert_int_eq(told.status, MUSTER_OK);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_fetch");
    TCase *answers = tcase_create("answers");
    tcase_set_timeout(answers, 100);
    tcase_add_loop_test(answers, its_answer_has_the_head_the_body_and_what_http_does_not_say, 0, HOME_COUNT);
    tcase_add_loop_test(answers, large_bodies_arrive_whole_both_ways, 0, HOME_COUNT);
    tcase_add_loop_test(answers, many_at_a_time_are_all_answered, 0, HOME_COUNT);
    tcase_add_loop_test(answers, an_answer_may_come_before_the_body_of_the_question_is_through, 0, HOME_COUNT);
    tcase_add_loop_test(answers, what_it_does_not_answer_goes_to_the_network, 0, HOME_COUNT);
    tcase_add_loop_test(answers, a_worker_that_fails_is_a_network_error, 0, HOME_COUNT);
    tcase_add_loop_test(answers, static_routes_say_who_is_asked, 0, HOME_COUNT);
    suite_add_tcase(suite, answers);
    TCase *ends = tcase_create("ends");
    tcase_set_timeout(ends, 100);
    tcase_add_loop_test(ends, an_abort_before_the_answer_reaches_the_worker, 0, HOME_COUNT);
    tcase_add_loop_test(ends, an_answers_body_that_is_given_up_is_canceled_at_its_source, 0, HOME_COUNT);
    tcase_add_loop_test(ends, the_end_of_the_client_aborts_what_it_waits_for, 0, HOME_COUNT);
    tcase_add_loop_test(ends, a_client_that_closes_itself_aborts_what_it_waits_for, 0, HOME_COUNT);
    tcase_add_loop_test(ends, the_death_of_the_clients_process_aborts_what_it_waits_for, 0, HOME_COUNT);
    tcase_add_loop_test(ends, the_death_of_the_service_workers_process_fails_the_fetch_and_its_body, 0, HOME_COUNT);
    suite_add_tcase(suite, ends);
    TCase *blobs = tcase_create("blobs");
    tcase_set_timeout(blobs, 100);
    tcase_add_loop_test(blobs, a_blob_of_its_own_origin_is_found_from_any_process, 0, HOME_COUNT);
    tcase_add_loop_test(blobs, a_module_behind_a_blob_runs_wherever_its_worker_lives, 0, HOME_COUNT);
    suite_add_tcase(suite, blobs);
    TCase *lies = tcase_create("lies");
    tcase_set_timeout(lies, 100);
    tcase_add_loop_test(lies, no_worker_speaks_for_anothers_client, 2, HOME_COUNT);
    tcase_add_loop_test(lies, what_goes_beside_http_is_only_what_may_be_said, 2, HOME_COUNT);
    suite_add_tcase(suite, lies);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
