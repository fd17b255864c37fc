/* tests/test_route_race.c - static routes whose source is "race-network-and-fetch-handler": who is asked, and who wins.
 *
 * A controlled worker fetches from a server in this program, whose answers wait until the test lets them go; the event
 * of its service worker answers at once, or never.  So each race has its end before it begins. */
#include "tests/console_lines.h"
#include "tests/waiting_server.h"

#include <stdatomic.h>
#include <stdlib.h>

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
        "  if (act === 'relays') event.respondWith(fetch(event.request).then(async (response) => {\n"
        "    const { status, type, url, redirected } = response;\n"
        "    console.log('relayed', status, type, new URL(url).pathname, redirected, await response.text());\n"
        "    return new Response('event');\n"
        "  }));\n"
        "  if (act === 'fails') event.respondWith(Promise.reject(new Error('no')));\n"
        "});\n";
    static const char page[] =
        "let mayRead, read = new Promise((resolve) => { mayRead = resolve; });\n"
        "onconnect = ({ ports: [port] }) => port.onmessage = async ({ data }) => {\n"
        "  if (data === 'read') return mayRead();\n"
        "  try {\n"
        "    const response = await fetch(`/race/${data}`);\n"
        "    if (data.startsWith('relays')) await read;\n"
        "    console.log(`${data}: ${response.status} ${await response.text()}`);\n"
        "  } catch (error) { console.log(`${data}: ${error.name}`); }\n"
        "};\n";
    (void)importer, (void)error, (void)user_data;
    ret_loaded->text = strdup(strstr(url, "page.js") ? page : service);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

/* ---- the server: /race/ACT/STATUS is answered with that status, "held" first waits ---- */

static atomic_uint requests;

static struct answer answer_request(const char *head)
{
    atomic_fetch_add(&requests, 1);
    return (struct answer){
        .waits = strstr(head, "/held ") != NULL,
        .status = strstr(head, "/404 ") ? "404 Not Found" : NULL,
        .body = "network",
    };
}

/* ---- a controlled worker ---- */

static struct muster *muster;
static struct muster_client *client;
static struct muster_port *port;

static void begin(enum muster_hosting hosting) /* of the service worker */
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

/* The page reads its own when the event has read it: what is being read already cannot be shared any more. */
START_TEST(an_event_that_fetches_its_request_gets_the_response_of_the_race)
{
    begin(hostings[_i]);
    ask("relays/200", "relayed 200 basic /race/relays/200 false network\n");
    ask("read", "relays/200: 200 network\n");
    ck_assert_uint_eq(atomic_load(&requests), 1);
    end();
}
END_TEST

START_TEST(an_event_fetches_for_itself_what_the_race_did_not_get)
{
    begin(hostings[_i]);
    ask("relays/404", "relayed 404 basic /race/relays/404 false network\n");
    ask("read", "relays/404: 200 event\n");
    ck_assert_uint_eq(atomic_load(&requests), 2);
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
    tcase_add_loop_test(tests, an_event_that_fetches_its_request_gets_the_response_of_the_race, 0, HOSTING_COUNT);
    tcase_add_loop_test(tests, an_event_fetches_for_itself_what_the_race_did_not_get, 0, HOSTING_COUNT);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
