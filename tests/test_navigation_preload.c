/* tests/test_navigation_preload.c - while its event starts a navigation asks the network as well, and the event may have
 * that response (HF-PRE).
 *
 * A page opens pages that a service worker controls, and says what their navigations came to; a server in this program
 * answers "preload" to what says that it is one. */
#define send send_to_coordinator /* the harness's, beside that of sockets */
#include "context_harness.h"
#undef send
#include "waiting_server.h"

static const enum muster_hosting hostings[] = {MUSTER_HOSTING_THREAD, MUSTER_HOSTING_PROCESS};
#define HOSTING_COUNT ((int)(sizeof(hostings) / sizeof(*hostings)))

static atomic_uint requests;
static struct counter enabled = COUNTER;

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    /* The path says what each of the two does: /app/ACT OF THE EVENT/ANSWER OF THE SERVER */
    static const char service[] =
        "addEventListener('activate', (event) => event.waitUntil(Promise.all([registration.navigationPreload.enable(),\n"
        "  registration.navigationPreload.setHeaderValue('soon')]).then(() => console.log('enabled'))));\n"
        "addEventListener('fetch', (event) => {\n"
        "  const [, , act] = new URL(event.request.url).pathname.split('/');\n"
        "  if (act === 'takes') event.respondWith(event.preloadResponse);\n"
        "  if (act === 'looks') event.respondWith(event.preloadResponse.then((response) => new Response(`${response}`)));\n"
        "  if (act === 'answers') event.respondWith(new Response('event'));\n"
        "});\n";
    static const char page[] =
        "async function open(path) {\n"
        "  const page = muster.openRealm(new URL(`/app/${path}`, location));\n"
        "  await page.ready;\n"
        "  const response = await page.navigate();\n"
        "  console.log(`${path}: ${response.status} ${await response.text()}`);\n"
        "  const part = await page.load('/app/looks/part', { destination: 'image', mode: 'same-origin' });\n"
        "  console.log(`${path}: part ${await part.text()}`);\n"
        "  page.close();\n"
        "}\n"
        "open('takes/200').then(() => open('takes/404')).then(() => open('takes/302')).then(() => open('looks/200'))\n"
        "  .then(() => open('passes/200')).then(() => open('answers/200')).catch((error) => console.log(error.message))\n"
        "  .then(() => console.log('end'));\n";
    (void)importer, (void)error, (void)user_data;
    ret_loaded->text = muster__strdup(strstr(url, "page.js") ? page : service);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static struct answer answer_request(const char *head)
{
    atomic_fetch_add(&requests, 1);
    return (struct answer){
        .status = strstr(head, "/404 ")   ? "404 Not Found"
                  : strstr(head, "/302 ") ? "302 Found\r\nLocation: /app/takes/200"
                                          : NULL,
        .body = strstr(head, "ervice-worker-navigation-preload: soon") ? "preload" : "network",
    };
}

static void on_console(const char *scope, enum muster_log_level level, struct muster_bytes text, void *user_data)
{
    (void)scope, (void)level, (void)user_data;
    if (text.length == 7 && memcmp(text.data, "enabled", 7) == 0)
        counter_add(&enabled, 1);
}

START_TEST(its_event_gets_the_response_of_a_navigation_and_of_nothing_else)
{
    char scope[64], script_url[80], page_url[80];
    struct muster_handle *handle = NULL;
    start_server();
    snprintf(scope, sizeof(scope), "http://127.0.0.1:%u/app/", server.port);
    snprintf(script_url, sizeof(script_url), "%ssw.js", scope);
    snprintf(page_url, sizeof(page_url), "http://127.0.0.1:%u/page.js", server.port);
    const struct muster_registration_options service = {
        .size = sizeof(service), .scope = scope, .script = script_url, .hosting = hostings[_i]};
    open_muster(&(struct muster_options){
        .size = sizeof(struct muster_options), .threads = 2, .stop_timeout_ms = 1, .console = on_console});
    ck_assert_int_eq(muster_register(muster, &service, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, NULL), MUSTER_OK);
    muster_handle_release(handle);
    counter_await(&enabled, 1);
    struct script *script = script_open(page_url);
    script_says(script, "end");
    script_says(script, "takes/200: 200 preload");
    script_says(script, "takes/200: part undefined");
    script_says(script, "takes/404: 404 preload");
    script_says(script, "takes/302: 200 preload"); /* a redirect comes as it is, and is a navigation's own to follow */
    script_says(script, "looks/200: 200 [object Response]");
    script_says(script, "passes/200: 200 network");
    script_says(script, "answers/200: 200 event");
    script_close(script);
    close_muster();
    stop_server();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("navigation_preload");
    TCase *tests = tcase_create("navigation_preload");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, its_event_gets_the_response_of_a_navigation_and_of_nothing_else, 0, HOSTING_COUNT);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
