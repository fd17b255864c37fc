/* tests/test_js_service_worker.c - service workers and clients as their scripts see them.
 *
 * One worker of the real engine with a host that is not there, on one thread, in virtual time; the test is its
 * coordinator: it answers what is asked from a table of answers, keeps what was said, and tells what it likes.
 * Scripts log to the host's console. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone.h"
#include "tests/fake_realm_host.h"

struct answer {
    const char *op, *value; /* JSON; one that begins with ! is an error's */
};

static struct fake_host host;
static struct muster__port *end; /* the coordinator's, of the host port */
static const struct answer *answers; /* ends with a NULL op */
static struct muster_value *body;    /* what was put with the last question */
static char heard[8192], event_types[256];
static int hellos;

#define ACTIVE "{\"id\":7,\"scriptURL\":\"https://a.test/sw.js\",\"scope\":\"https://a.test/\",\"state\":\"activated\"}"
#define WAITING "{\"id\":8,\"scriptURL\":\"https://a.test/two.js\",\"scope\":\"https://a.test/\",\"state\":\"installed\"}"
#define REGISTRATION_OF(installing, waiting, active)                                               \
    "{\"id\":3,\"scope\":\"https://a.test/\",\"updateViaCache\":\"imports\",\"installing\":" installing \
    ",\"waiting\":" waiting ",\"active\":" active                                                  \
    ",\"navigationPreload\":{\"enabled\":false,\"headerValue\":\"true\"}}"
#define REGISTRATION REGISTRATION_OF("null", "null", ACTIVE)
#define CLIENT "{\"id\":\"c1\",\"url\":\"https://a.test/page#x\",\"type\":\"window\",\"frameType\":\"top-level\"}"

static struct muster_value *json(const char *text)
{
    struct muster_value *value = NULL;
    ck_assert_int_eq(muster_value_from_json(text, strlen(text), &value, NULL), MUSTER_OK);
    return value;
}

static void say_with(const char *head, struct muster_value *take_data)
{
    struct muster__port_message *message = muster__port_message_new(json(head), take_data, 0);
    ck_assert_ptr_nonnull(message);
    muster__port_post(end, message);
}

static void say(const char *head)
{
    say_with(head, NULL);
}

static void begin(enum muster__worker_type type, const char *controller)
{
    char text[2048];
    host.identity.type = type;
    snprintf(text, sizeof text,
             "[\"tell\",\"environment\",{\"clientId\":\"me\",\"url\":\"https://a.test/page\",\"origin\":\"https://a.test\","
             "\"storageKey\":\"https://a.test\",\"scope\":\"https://a.test/\",\"versionId\":7,\"controller\":%s,"
             "\"registration\":" REGISTRATION ",\"secure\":true}]",
             controller);
    say(text);
}

static void set_up(void)
{
    fake_host_init(&host, &muster__engine_javascript);
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    host.identity.host_port = ends[0];
    end = ends[1];
    answers = NULL;
    body = NULL;
    heard[0] = event_types[0] = '\0';
    hellos = 0;
}

static void tear_down(void)
{
    fake_host_clean_up(&host);
    muster__port_release(host.identity.host_port);
    muster__port_release(end);
    muster_value_release(body);
}

static void start(const char *text)
{
    const struct fake_script script = {.text = text};
    struct muster_error error = {0};
    enum muster_status status = fake_host_start(&host, &script, &error);
    ck_assert_msg(status == MUSTER_OK, "start: %s: %s", muster_status_name(status),
                  error.message ? error.message : "");
}

static const char *answer_to(const struct muster_value *head)
{
    const char *op = muster_value_bytes(muster_value_at(head, 2)).data;
    for (const struct answer *at = answers; at && at->op; at++)
        if (strcmp(at->op, op) == 0)
            return at->value;
    return NULL;
}

/* What was said to the coordinator is kept as JSON, one line each; what the table knows is answered. */
static bool hear_one(void)
{
    char text[4096];
    struct muster__port_message *message = muster__port_take(end);
    if (!message)
        return false;
    char *head = muster_value_to_json(message->head);
    size_t used = strlen(heard);
    if (strstr(head, "\"eventTypes\"")) /* every service worker says that, at a time of its own */
        snprintf(event_types, sizeof event_types, "%s", head);
    else if (strstr(head, "\"hello\"")) /* before its first question */
        hellos++;
    else
        snprintf(heard + used, sizeof heard - used, "%s%s\n", head, message->data ? " +data" : "");
    free(head);
    if (message->data) {
        muster_value_release(body);
        body = muster_value_acquire(message->data);
    }
    const char *answer =
        strcmp(muster_value_bytes(muster_value_at(message->head, 0)).data, "ask") == 0 ? answer_to(message->head) : NULL;
    if (answer) {
        snprintf(text, sizeof text, "[\"answer\",%.0f,%s,%s]", muster_value_number(muster_value_at(message->head, 1)),
                 *answer == '!' ? "false" : "true", *answer == '!' ? answer + 1 : answer);
        say(text);
    }
    muster__port_message_destroy(message);
    return true;
}

static void run_all(void)
{
    bool any = true;
    while (any) {
        any = fake_host_run(&host);
        any = hear_one() || any;
    }
}

static void assert_console(const char *wanted)
{
    run_all();
    ck_assert_str_eq(host.console, wanted);
}

static void assert_heard(const char *wanted)
{
    run_all();
    ck_assert_str_eq(heard, wanted);
}

static struct fake_request *dispatch(enum muster__request_kind kind, const char *name, const char *data)
{
    struct fake_request *request = fake_request_new(&host, kind, name, data ? json(data) : NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    run_all();
    return request;
}

static struct fake_request *event(const char *name, const char *data)
{
    return dispatch(MUSTER__REQUEST_EVENT, name, data);
}

/* A fetch of a client's: with what HTTP does not say of it. */
static struct fake_request *fetched(const char *info)
{
    struct fake_request *request = fake_fetch_new(&host, "GET", "https://a.test/x#y", "accept: */*\n", NULL, NULL);
    request->request.data = info ? json(info) : NULL;
    request->request.http.client_id = (struct muster_bytes){"c1", 2};
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    run_all();
    return request;
}

#define INFO "{\"clientId\":\"c1\",\"resultingClientId\":\"c2\",\"mode\":\"navigate\",\"destination\":\"document\"," \
             "\"redirect\":\"manual\",\"credentials\":\"include\",\"isReload\":true}"

/* ---- extendable events ---- */

START_TEST(an_event_may_be_extended_in_a_microtask_of_its_handler)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("addEventListener('x', (e) => Promise.resolve().then(() => {\n"
          "  e.waitUntil(new Promise((done) => setTimeout(done, 5))); console.log('extended'); }));");
    struct fake_request *request = event("x", NULL);
    ck_assert_int_eq(request->ended, 0);
    fake_host_advance(&host, 5);
    ck_assert_int_eq(request->ended, 1);
    assert_console("info extended\n");
}
END_TEST

START_TEST(an_event_cannot_be_extended_in_a_later_task)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("addEventListener('x', (e) => setTimeout(() => {\n"
          "  try { e.waitUntil(1); } catch (error) { console.log(error.name); } }, 5));");
    event("x", NULL);
    fake_host_advance(&host, 5);
    assert_console("info InvalidStateError\n");
}
END_TEST

START_TEST(an_event_is_extended_as_long_as_something_is_pending)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("const after = (ms) => new Promise((done) => setTimeout(done, ms));\n"
          "addEventListener('x', (e) => { e.waitUntil(after(10)); setTimeout(() => e.waitUntil(after(10)), 5);\n"
          "  setTimeout(() => { try { e.waitUntil(1); } catch (error) { console.log(error.name); } }, 20); });");
    struct fake_request *request = event("x", NULL);
    fake_host_advance(&host, 12);
    ck_assert_int_eq(request->ended, 0);
    fake_host_advance(&host, 3);
    ck_assert_int_eq(request->ended, 1);
    fake_host_advance(&host, 5);
    assert_console("info InvalidStateError\n");
}
END_TEST

/* The count goes down in a microtask after the one that sees the promise settle. */
START_TEST(an_extension_outlasts_its_promise_by_a_microtask)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("const attempt = (e, what) => { try { e.waitUntil(1); console.log(what, 'ok'); }\n"
          "  catch (error) { console.log(what, error.name); } };\n"
          "addEventListener('x', (e) => { const p = new Promise((done) => setTimeout(done, 5)); e.waitUntil(p);\n"
          "  p.then(() => attempt(e, 'same')); });\n"
          "addEventListener('y', (e) => { const p = new Promise((done) => setTimeout(done, 5)); e.waitUntil(p);\n"
          "  p.then(() => Promise.resolve().then(() => attempt(e, 'next'))); });");
    event("x", NULL);
    event("y", NULL);
    fake_host_advance(&host, 5);
    assert_console("info same ok\ninfo next InvalidStateError\n");
}
END_TEST

START_TEST(an_event_that_a_script_made_cannot_be_extended)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("try { new ExtendableEvent('x').waitUntil(1); } catch (error) { console.log(error.name); }");
    assert_console("info InvalidStateError\n");
}
END_TEST

START_TEST(the_types_that_a_script_listens_for_are_told)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onfetch = () => {}; addEventListener('push', () => {}); setTimeout(() => { onsync = () => {}; }, 1);");
    run_all();
    ck_assert_ptr_nonnull(strstr(event_types, "\"fetch\""));
    ck_assert_ptr_nonnull(strstr(event_types, "\"push\""));
    ck_assert_ptr_null(strstr(event_types, "\"sync\""));
}
END_TEST

/* ---- fetch events ---- */

START_TEST(a_fetch_event_says_who_asks_and_how)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onfetch = (e) => { const r = e.request; console.log(e.clientId, e.resultingClientId, e.replacesClientId === '',\n"
          "  r.mode, r.destination, r.redirect, r.credentials, r.isReloadNavigation, r.url, e.cancelable);\n"
          "  try { r.headers.set('a', 'b'); } catch (error) { console.log(error.name); }\n"
          "  e.preloadResponse.then((value) => console.log(value)); e.respondWith(new Response('')); };");
    fetched(INFO);
    assert_console("info c1 c2 true navigate document manual include true https://a.test/x#y true\n"
                   "info TypeError\ninfo undefined\n");
}
END_TEST

START_TEST(an_answer_is_given_once_and_during_the_dispatch)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("const attempt = (e) => { try { e.respondWith(new Response('late')); } catch (error) { console.log(error.name); } };\n"
          "onfetch = (e) => { e.respondWith(new Response('first')); attempt(e); setTimeout(() => attempt(e), 1); };\n"
          "addEventListener('fetch', () => console.log('not reached'));");
    struct fake_request *request = fetched(INFO);
    fake_host_advance(&host, 1);
    ck_assert_str_eq(request->body, "first");
    assert_console("info InvalidStateError\ninfo InvalidStateError\n");
}
END_TEST

START_TEST(a_fetch_that_nobody_answers_goes_to_the_network)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onfetch = (e) => { e.handled.then(() => console.log('handled')); };");
    ck_assert_int_eq(fetched(INFO)->status, MUSTER_PASSED);
    assert_console("info handled\n");
}
END_TEST

START_TEST(a_clients_fetch_goes_to_the_network_when_its_handler_throws)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onfetch = () => { throw new Error('oh'); };");
    ck_assert_int_eq(fetched(INFO)->status, MUSTER_PASSED);
    ck_assert_uint_eq(host.report_count, 1);
}
END_TEST

START_TEST(a_canceled_fetch_fails_and_so_does_one_that_is_answered_with_nonsense)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onfetch = (e) => { e.handled.catch((error) => console.log(error.name));\n"
          "  if (e.request.mode === 'navigate') e.preventDefault(); else e.respondWith(Promise.resolve(5)); };");
    ck_assert_int_ne(fetched(INFO)->status, MUSTER_OK);
    ck_assert_int_ne(fetched("{\"clientId\":\"c1\",\"mode\":\"cors\"}")->status, MUSTER_OK);
    assert_console("info NetworkError\ninfo NetworkError\n");
}
END_TEST

START_TEST(a_body_that_was_read_cannot_go_to_the_network)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onfetch = (e) => { e.request.text(); };");
    struct fake_request *request = fake_fetch_new(&host, "POST", "https://a.test/", "", "data", NULL);
    request->request.data = json(INFO);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    run_all();
    ck_assert_int_ne(request->status, MUSTER_PASSED);
}
END_TEST

/* ---- messages ---- */

START_TEST(a_message_event_has_the_defaults_of_the_standard)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("const e = new ExtendableMessageEvent('x');\n"
          "console.log(e.data, e.origin === '', e.lastEventId === '', e.source, e.ports.length, Object.isFrozen(e.ports));");
    assert_console("info null true true null 0 true\n");
}
END_TEST

START_TEST(a_message_names_its_sender)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onmessage = (e) => { console.log(e.source instanceof WindowClient, e.source.id, e.source.url, e.origin);\n"
          "  e.source.postMessage({ back: 1 }); };");
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_MESSAGE, "message", json("1"));
    request->request.mail =
        muster__port_message_new(json("{\"origin\":\"https://a.test\",\"source\":" CLIENT "}"), NULL, 0);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    muster__port_message_destroy(request->request.mail);
    request->request.mail = NULL;
    assert_console("info true c1 https://a.test/page#x https://a.test\n");
    assert_heard("[\"tell\",\"client.post\",\"c1\"] +data\n");
}
END_TEST

START_TEST(what_cannot_be_cloned_is_refused_at_once)
{
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("try { navigator.serviceWorker.controller.postMessage(() => {}); } catch (error) { console.log(error.name); }\n"
          "navigator.serviceWorker.controller.postMessage('fine');");
    assert_console("info DataCloneError\n");
    assert_heard("[\"tell\",\"version.post\",7] +data\n");
}
END_TEST

START_TEST(messages_wait_in_a_page_until_it_asks_for_them)
{
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("globalThis.document = { readyState: 'loading', addEventListener() {} };\n"
          "const { serviceWorker } = navigator;\n"
          "serviceWorker.addEventListener('message', (e) => console.log(e.data, e.source === serviceWorker.controller,\n"
          "  e.origin, e.cancelable, e.isTrusted));\n"
          "setTimeout(() => serviceWorker.startMessages(), 5);");
    say_with("[\"tell\",\"message\",{\"source\":" ACTIVE "}]", json("\"early\""));
    assert_console("");
    fake_host_advance(&host, 5);
    run_all();
    fake_host_advance(&host, 1);
    assert_console("info early true https://a.test false true\n");
}
END_TEST

START_TEST(setting_onmessage_starts_messages)
{
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("globalThis.document = { readyState: 'loading', addEventListener() {} };\n"
          "navigator.serviceWorker.onmessage = (e) => console.log(e.data);");
    say_with("[\"tell\",\"message\",{\"source\":" ACTIVE "}]", json("1"));
    say_with("[\"tell\",\"message\",{\"source\":" ACTIVE "}]", json("2"));
    run_all();
    fake_host_advance(&host, 1);
    run_all();
    fake_host_advance(&host, 1);
    assert_console("info 1\ninfo 2\n");
}
END_TEST

/* ---- registrations ---- */

START_TEST(registering_checks_its_urls_before_it_asks)
{
    static const struct answer table[] = {{"register", REGISTRATION}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_CLIENT, "null");
    start("const sw = navigator.serviceWorker, say = (error) => console.log(error.name);\n"
          "sw.register('/a%2fb.js').catch(say); sw.register('http://').catch(say);\n"
          "sw.register('data:text/javascript,').catch(say); sw.register('/x.js', { scope: '/a%5Cb/' }).catch(say);\n"
          "sw.register('/x.js', { type: 'strange' }).catch(say);\n"
          "sw.register('/d/x.js#f', { scope: '/d/#g' }).then((r) => console.log(r.scope));");
    assert_console("info TypeError\ninfo TypeError\ninfo TypeError\ninfo TypeError\ninfo TypeError\n"
                   "info https://a.test/\n");
    assert_heard("[\"ask\",1,\"register\",\"https://a.test/d/x.js\",\"https://a.test/d/\","
                 "{\"type\":\"classic\",\"updateViaCache\":\"imports\"}]\n");
}
END_TEST

START_TEST(there_is_one_object_for_each_registration_and_worker)
{
    static const struct answer table[] = {
        {"getRegistration", REGISTRATION}, {"getRegistrations", "[" REGISTRATION "]"}, {"ready", REGISTRATION}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("const sw = navigator.serviceWorker;\n"
          "Promise.all([sw.getRegistration(), sw.getRegistration('/x'), sw.getRegistrations(), sw.ready]).then(([a, b, list, d]) =>\n"
          "  console.log(a === b, a === list[0], a === d, Object.isFrozen(list), a.active === sw.controller, sw.ready === sw.ready));");
    assert_console("info true true true true true true\n");
}
END_TEST

START_TEST(states_and_slots_change_as_they_are_told)
{
    static const struct answer table[] = {{"ready", REGISTRATION}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("navigator.serviceWorker.ready.then((r) => { globalThis.r = r; r.onupdatefound = () => {\n"
          "  const worker = r.waiting; console.log('found', worker.scriptURL, worker.state);\n"
          "  worker.onstatechange = (e) => console.log(e.target === worker, worker.state, r.waiting === worker, r.active === worker); }; });\n"
          "navigator.serviceWorker.oncontrollerchange = () => console.log(navigator.serviceWorker.controller.scriptURL);");
    run_all();
    say("[\"tell\",\"registration\"," REGISTRATION_OF("null", WAITING, ACTIVE) "]");
    say("[\"tell\",\"updatefound\",3]");
    run_all();
    say("[\"tell\",\"registration\"," REGISTRATION_OF("null", "null", WAITING) "]");
    say("[\"tell\",\"state\",8,\"activating\"]");
    say("[\"tell\",\"controller\"," WAITING ",true]");
    say("[\"tell\",\"state\",8,\"activated\"]");
    assert_console("info found https://a.test/two.js installed\n"
                   "info true activating false true\n"
                   "info https://a.test/two.js\n"
                   "info true activated false true\n");
}
END_TEST

START_TEST(errors_of_the_coordinator_reject)
{
    static const struct answer table[] = {{"register", "!{\"name\":\"SecurityError\",\"message\":\"no\"}"},
                                          {"update", "!{\"name\":\"TypeError\",\"message\":\"gone\"}"},
                                          {"getRegistration", REGISTRATION},
                                          {"unregister", "true"},
                                          {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("const sw = navigator.serviceWorker;\n"
          "sw.register('/x.js').catch((e) => console.log(e instanceof DOMException, e.name, e.message));\n"
          "sw.getRegistration().then(async (r) => { await r.update().catch((e) => console.log(e instanceof TypeError, e.message));\n"
          "  console.log(await r.unregister()); });\n"
          "sw.getRegistration('https://b.test/').catch((e) => console.log(e.name));");
    assert_console("info SecurityError\ninfo true SecurityError no\ninfo true gone\ninfo true\n");
}
END_TEST

START_TEST(preloading_needs_an_active_worker)
{
    static const struct answer table[] = {{"getRegistration", REGISTRATION_OF("null", WAITING, "null")},
                                          {"navigationPreload.get", "{\"enabled\":false,\"headerValue\":\"true\"}"},
                                          {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_CLIENT, "null");
    start("navigator.serviceWorker.getRegistration().then(async ({ navigationPreload: p }) => {\n"
          "  console.log(JSON.stringify(await p.getState())); await p.enable().catch((e) => console.log(e.name));\n"
          "  await p.setHeaderValue('a\\nb').catch((e) => console.log(e.name)); });");
    assert_console("info {\"enabled\":false,\"headerValue\":\"true\"}\ninfo InvalidStateError\ninfo TypeError\n");
}
END_TEST

/* ---- clients ---- */

START_TEST(clients_are_asked_for)
{
    static const struct answer table[] = {{"clients.get", CLIENT},
                                          {"clients.matchAll", "[" CLIENT ",{\"id\":\"w\",\"url\":\"https://a.test/w.js\","
                                                               "\"type\":\"worker\",\"frameType\":\"none\"}]"},
                                          {"claim", "null"},
                                          {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("(async () => { const one = await clients.get('c1'), two = await clients.get('c1');\n"
          "  const all = await clients.matchAll({ type: 'all', includeUncontrolled: 1 });\n"
          "  console.log(one !== two, one instanceof WindowClient, one.frameType, one.visibilityState, one.focused);\n"
          "  console.log(all.length, Object.isFrozen(all), all[1] instanceof WindowClient, all[1] instanceof Client, all[1].type);\n"
          "  console.log(await clients.claim()); await clients.matchAll({ type: 'x' }).catch((e) => console.log(e.name)); })();");
    assert_console("info true true top-level hidden false\ninfo 2 true false true worker\ninfo undefined\ninfo TypeError\n");
    assert_heard("[\"ask\",1,\"clients.get\",\"c1\"]\n[\"ask\",2,\"clients.get\",\"c1\"]\n"
                 "[\"ask\",3,\"clients.matchAll\",{\"includeUncontrolled\":true,\"type\":\"all\"}]\n[\"ask\",4,\"claim\"]\n");
}
END_TEST

START_TEST(a_client_that_is_not_there_is_undefined)
{
    static const struct answer table[] = {{"clients.get", "null"}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("clients.get('x').then((c) => console.log(c)); clients.openWindow('/').catch((e) => console.log(e.name));\n"
          "clients.openWindow('about:blank').catch((e) => console.log(e.name));");
    assert_console("info InvalidAccessError\ninfo TypeError\ninfo undefined\n");
}
END_TEST

START_TEST(a_worker_knows_itself_and_its_registration)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("console.log(registration.scope, registration.active === serviceWorker, serviceWorker.scriptURL,\n"
          "  registration === self.registration, String(clients));");
    assert_console("info https://a.test/ true https://a.test/sw.js true [object Clients]\n");
}
END_TEST

/* ---- functional events ---- */

START_TEST(push_and_sync_events_bring_what_was_sent)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("onpush = (e) => console.log(e instanceof PushEvent, e.data.json().a, e.data.text());\n"
          "onsync = (e) => console.log(e instanceof SyncEvent, e.tag, e.lastChance);\n"
          "onperiodicsync = (e) => console.log(e instanceof PeriodicSyncEvent, e.tag);");
    event("push", "{\"a\":1}");
    event("sync", "{\"tag\":\"t\",\"lastChance\":true}");
    event("periodicsync", "{\"tag\":\"p\"}");
    assert_console("info true 1 {\"a\":1}\ninfo true t true\ninfo true p\n");
}
END_TEST

START_TEST(routes_are_added_while_installing)
{
    static const struct answer table[] = {{"addRoutes", "null"}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("oninstall = (e) => { e.addRoutes({ condition: { requestMethod: 'GET' }, source: 'network' }).then(() => console.log('ok'));\n"
          "  e.addRoutes({ condition: {}, source: 'network' }).catch((error) => console.log(error.name));\n"
          "  e.addRoutes({ condition: { requestMethod: 'GET' }, source: 'nowhere' }).catch((error) => console.log(error.name)); };");
    struct fake_request *request = dispatch(MUSTER__REQUEST_LIFECYCLE, "install", NULL);
    run_all();
    ck_assert_int_eq(request->status, MUSTER_OK);
    ck_assert_ptr_nonnull(strstr(heard, "\"addRoutes\""));
    ck_assert_ptr_nonnull(strstr(host.console, "info ok\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info TypeError\n"));
}
END_TEST

/* ---- caches ---- */

START_TEST(a_cache_keeps_what_is_put_and_gives_it_back)
{
    static const struct answer table[] = {{"caches.open", "4"}, {"cache.put", "null"}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("caches.open('v1').then((c) => c.put('https://a.test/x?q#f',\n"
          "  new Response('text', { headers: { vary: 'Accept-Language', 'content-type': 'text/plain' } }))).then((r) => console.log(r));");
    assert_console("info undefined\n");
    ck_assert_ptr_nonnull(strstr(heard, "[\"ask\",1,\"caches.open\",\"v1\"]\n[\"ask\",2,\"cache.put\",4,"
                                        "{\"url\":\"https://a.test/x?q\""));
    ck_assert_ptr_nonnull(strstr(heard, "\"varying\":[\"accept-language\",null]"));
    ck_assert_ptr_nonnull(body);
}
END_TEST

START_TEST(a_cache_refuses_what_cannot_be_kept)
{
    static const struct answer table[] = {{"caches.open", "4"}, {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("caches.open('v1').then(async (c) => { const say = (e) => console.log(e.name), r = () => new Response('');\n"
          "  await c.put(new Request('https://a.test/', { method: 'POST' }), r()).catch(say);\n"
          "  await c.put('file:///x', r()).catch(say); await c.put('https://a.test/', new Response('', { status: 206 })).catch(say);\n"
          "  await c.put('https://a.test/', new Response('', { headers: { vary: '*' } })).catch(say);\n"
          "  await c.put('https://a.test/', {}).catch(say); console.log(await c.match(new Request('https://a.test/', { method: 'HEAD' }))); });");
    assert_console("info TypeError\ninfo TypeError\ninfo TypeError\ninfo TypeError\ninfo TypeError\ninfo undefined\n");
    assert_heard("[\"ask\",1,\"caches.open\",\"v1\"]\n");
}
END_TEST

START_TEST(what_a_cache_finds_becomes_a_response)
{
    static const struct answer table[] = {
        {"caches.open", "4"},
        {"cache.query", "[[9,{\"url\":\"https://a.test/x\",\"fullUrl\":\"https://a.test/x\",\"headers\":{},\"varying\":[],"
                        "\"status\":201,\"statusText\":\"Made\",\"list\":[\"a\",\"b\"],\"type\":\"basic\","
                        "\"place\":{\"url\":\"https://a.test/y\",\"redirected\":true}}]]"},
        {"cache.read", "true"},
        {"cache.delete", "true"},
        {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("caches.open('v1').then(async (c) => { const r = await c.match('https://a.test/x');\n"
          "  console.log(r.status, r.statusText, r.headers.get('a'), r.type, r.url, r.redirected, await r.text() === '');\n"
          "  const [k] = await c.keys(); console.log(k.url, k instanceof Request, await c.delete('https://a.test/x')); });");
    assert_console("info 201 Made b basic https://a.test/y true true\ninfo https://a.test/x true true\n");
}
END_TEST

/* ---- fetches of a controlled page ---- */

static void settle_fetch(int status, const char *name, const char *value, const char *text)
{
    const struct muster_header header = {{name, strlen(name)}, {value, strlen(value)}};
    const struct muster_http_response response = {
        .status_code = status, .headers = &header, .header_count = 1, .body = {text, strlen(text)}};
    run_all();
    ck_assert_uint_eq(host.dispatch_count, 1);
    ck_assert_str_eq(host.dispatches[0].scope, "https://a.test/");
    (void)muster__request_settle(host.dispatches[0].request,
                                 &(struct muster__outcome){.status = MUSTER_OK, .response = &response});
}

START_TEST(a_controlled_page_fetches_by_way_of_its_worker)
{
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("fetch('/x', { headers: { a: 'b' } }).then(async (r) => console.log(r.status, r.type, r.url, r.headers.get('c'), await r.text()));");
    settle_fetch(203, "c", "d", "hello");
    assert_console("info 203 default https://a.test/x d hello\n");
    const struct muster_value *info = host.dispatches[0].request->data;
    ck_assert_str_eq(muster_value_bytes(muster_value_get(info, "clientId")).data, "me");
    ck_assert_str_eq(muster_value_bytes(muster_value_get(info, "mode")).data, "cors");
}
END_TEST

START_TEST(a_known_worker_that_asks_nothing_says_nothing)
{
    host.identity.types_known = true;
    begin(MUSTER__WORKER_SERVICE, "null");
    start("addEventListener('ping', (e) => e.waitUntil(0)); addEventListener('fetch', () => {});");
    event("ping", NULL);
    assert_heard("");
    ck_assert_str_eq(event_types, "");
    ck_assert_int_eq(hellos, 0);
}
END_TEST

START_TEST(a_service_worker_says_hello_before_it_asks_who_it_is)
{
    begin(MUSTER__WORKER_SERVICE, "null");
    start("console.log(registration.scope, registration.scope === registration.scope);");
    assert_console("info https://a.test/ true\n");
    ck_assert_int_eq(hellos, 1);
}
END_TEST

START_TEST(where_no_worker_can_be_reached_the_network_answers)
{
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    host.dispatches_nothing = true;
    start("const body = new ReadableStream({ start(c) { c.enqueue(new Uint8Array(5)); c.close(); } });\n"
          "for (const init of [{}, { method: 'POST', body, duplex: 'half' }])\n"
          "  fetch('/x', init).catch((e) => console.log(e.message));");
    run_all();
    assert_console("info there is no network here\ninfo there is no network here\n");
}
END_TEST

START_TEST(a_route_to_the_caches_is_followed_by_the_page)
{
    static const struct answer table[] = {
        {"caches.has", "true"},
        {"caches.open", "4"},
        {"cache.query", "[[9,{\"url\":\"https://a.test/x\",\"fullUrl\":\"https://a.test/x\",\"headers\":{},\"varying\":[],"
                        "\"status\":200,\"statusText\":\"From v1\",\"list\":[],\"type\":\"default\",\"place\":null}]]"},
        {"cache.read", "true"},
        {NULL, NULL}};
    answers = table;
    begin(MUSTER__WORKER_CLIENT, ACTIVE);
    start("fetch('/x').then((r) => console.log(r.status, r.statusText));");
    settle_fetch(0, ":cache", "v1", "");
    assert_console("info 200 From v1\n");
}
END_TEST

static void add_cases(TCase *tcase)
{
    tcase_add_test(tcase, a_controlled_page_fetches_by_way_of_its_worker);
    tcase_add_test(tcase, where_no_worker_can_be_reached_the_network_answers);
    tcase_add_test(tcase, a_known_worker_that_asks_nothing_says_nothing);
    tcase_add_test(tcase, a_service_worker_says_hello_before_it_asks_who_it_is);
    tcase_add_test(tcase, a_route_to_the_caches_is_followed_by_the_page);
    tcase_add_test(tcase, an_event_may_be_extended_in_a_microtask_of_its_handler);
    tcase_add_test(tcase, an_event_cannot_be_extended_in_a_later_task);
    tcase_add_test(tcase, an_event_is_extended_as_long_as_something_is_pending);
    tcase_add_test(tcase, an_extension_outlasts_its_promise_by_a_microtask);
    tcase_add_test(tcase, an_event_that_a_script_made_cannot_be_extended);
    tcase_add_test(tcase, the_types_that_a_script_listens_for_are_told);
    tcase_add_test(tcase, a_fetch_event_says_who_asks_and_how);
    tcase_add_test(tcase, an_answer_is_given_once_and_during_the_dispatch);
    tcase_add_test(tcase, a_fetch_that_nobody_answers_goes_to_the_network);
    tcase_add_test(tcase, a_clients_fetch_goes_to_the_network_when_its_handler_throws);
    tcase_add_test(tcase, a_canceled_fetch_fails_and_so_does_one_that_is_answered_with_nonsense);
    tcase_add_test(tcase, a_body_that_was_read_cannot_go_to_the_network);
    tcase_add_test(tcase, a_message_event_has_the_defaults_of_the_standard);
    tcase_add_test(tcase, a_message_names_its_sender);
    tcase_add_test(tcase, what_cannot_be_cloned_is_refused_at_once);
    tcase_add_test(tcase, messages_wait_in_a_page_until_it_asks_for_them);
    tcase_add_test(tcase, setting_onmessage_starts_messages);
    tcase_add_test(tcase, registering_checks_its_urls_before_it_asks);
    tcase_add_test(tcase, there_is_one_object_for_each_registration_and_worker);
    tcase_add_test(tcase, states_and_slots_change_as_they_are_told);
    tcase_add_test(tcase, errors_of_the_coordinator_reject);
    tcase_add_test(tcase, preloading_needs_an_active_worker);
    tcase_add_test(tcase, clients_are_asked_for);
    tcase_add_test(tcase, a_client_that_is_not_there_is_undefined);
    tcase_add_test(tcase, a_worker_knows_itself_and_its_registration);
    tcase_add_test(tcase, push_and_sync_events_bring_what_was_sent);
    tcase_add_test(tcase, routes_are_added_while_installing);
    tcase_add_test(tcase, a_cache_keeps_what_is_put_and_gives_it_back);
    tcase_add_test(tcase, a_cache_refuses_what_cannot_be_kept);
    tcase_add_test(tcase, what_a_cache_finds_becomes_a_response);
}

int main(void)
{
    Suite *suite = suite_create("js_service_worker");
    TCase *tcase = tcase_create("js_service_worker");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 20);
    add_cases(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
