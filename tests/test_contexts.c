/* tests/test_contexts.c - scripts' worlds as the coordinator sees them, with a real coordinator.
 *
 * Workers are native code, Lua and JavaScript, given by a loader of this file. */
#include "runtime/native_ports.h"
#include "tests/context_harness.h"

#include <signal.h>

/* ---- workers ---- */

static struct counter starts = COUNTER, stops = COUNTER, messages = COUNTER;

/* A shared worker: greets each port with {instance, connect}; what it keeps is closed when it stops. */
struct greeter {
    int instance, connects, count;
    struct muster__port *ports[64];
};

static enum muster_status greeter_start(struct muster_native *worker, void **ret_state, struct muster_error *error)
{
    struct greeter *greeter = calloc(1, sizeof(*greeter));
    (void)worker;
    (void)error;
    if (!greeter)
        return MUSTER_NO_MEMORY;
    counter_add(&starts, 1);
    greeter->instance = starts.count;
    *ret_state = greeter;
    return MUSTER_OK;
}

static void greeter_stop(struct muster_native *worker, void *state)
{
    struct greeter *greeter = state;
    (void)worker;
    for (int i = 0; i < greeter->count; i++)
        muster__port_release(greeter->ports[i]);
    free(greeter);
    counter_add(&stops, 1);
}

static void greeter_connect(struct muster_native *worker, struct muster_event *event, void *state)
{
    struct greeter *greeter = state;
    struct muster__port_message *mail = muster__native_request(event)->mail;
    (void)worker;
    ck_assert_ptr_nonnull(mail);
    ck_assert_uint_eq(mail->port_count, 1);
    struct muster__port *port = mail->ports[0];
    mail->ports[0] = NULL;
    greeter->ports[greeter->count++] = port;
    muster__port_post(port, muster__port_message_new(NULL,
                                                     MUSTER__ARRAY(muster_value_new_number(greeter->instance),
                                                                   muster_value_new_number(++greeter->connects)),
                                                     0));
}

static void closer_connect(struct muster_native *worker, struct muster_event *event, void *state)
{
    greeter_connect(worker, event, state);
    muster_native_close(worker);
}

static enum muster_status failing_start(struct muster_native *worker, void **ret_state, struct muster_error *error)
{
    (void)worker;
    (void)ret_state;
    muster_error_set(error, MUSTER_SCRIPT_ERROR, "it does not want to");
    return MUSTER_SCRIPT_ERROR;
}

/* A dedicated worker: says hello through its implicit port. */
static enum muster_status hello_start(struct muster_native *worker, void **ret_state, struct muster_error *error)
{
    struct muster__port *port = muster__native_port(worker);
    (void)error;
    *ret_state = NULL;
    ck_assert_ptr_nonnull(port);
    muster__port_post(port, muster__port_message_new(NULL, muster_value_new_text("hello"), 0));
    counter_add(&starts, 1);
    return MUSTER_OK;
}

static void count_stop(struct muster_native *worker, void *state)
{
    (void)worker;
    (void)state;
    counter_add(&stops, 1);
}

/* A service worker: posts what its messages say of their source back through the first port. */
static void service_message(struct muster_native *worker, struct muster_event *event, void *state)
{
    struct muster__port_message *mail = muster__native_request(event)->mail;
    const struct muster_value *source = mail ? muster_value_get(mail->head, "source") : NULL;
    (void)worker;
    (void)state;
    if (mail && mail->port_count)
        muster__port_post(mail->ports[0],
                          muster__port_message_new(NULL,
                                                   MUSTER__ARRAY(muster_value_acquire(source),
                                                                 muster_value_acquire(muster_event_data(event))),
                                                   0));
    counter_add(&messages, 1);
}

static const struct muster_native_entry greeter_events[] = {{"connect", greeter_connect}};
static const struct muster_native_entry closer_events[] = {{"connect", closer_connect}};
static const struct muster_native_entry service_events[] = {{"message", service_message}};
static const struct muster_native_worker greeter = {.size = sizeof(greeter),
                                                    .start = greeter_start,
                                                    .stop = greeter_stop,
                                                    .events = greeter_events,
                                                    .event_count = 1};
static const struct muster_native_worker closer = {.size = sizeof(closer),
                                                   .start = greeter_start,
                                                   .stop = greeter_stop,
                                                   .events = closer_events,
                                                   .event_count = 1};
static const struct muster_native_worker failing = {.size = sizeof(failing), .start = failing_start};
static const struct muster_native_worker hello = {.size = sizeof(hello), .start = hello_start, .stop = count_stop};
static const struct muster_native_worker idler = {.size = sizeof(idler), .stop = count_stop};
static const struct muster_native_worker service = {
    .size = sizeof(service), .events = service_events, .event_count = 1};

static const char endless_lua[] = "muster.set_timeout(function() while true do end end, 0)\n";
static void eager_install(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)event;
    (void)state;
    muster_native_skip_waiting(worker);
}

static const struct muster_native_entry eager_events[] = {{"install", eager_install}};
static const struct muster_native_worker eager = {.size = sizeof(eager), .events = eager_events, .event_count = 1};

static const char complaining_lua[] = "muster.set_timeout(function() error('a complaint') end, 0)\n";

static const char counter_js[] =
    "let count = 0;\n"
    "onconnect = ({ ports: [port] }) => {\n"
    "    port.onmessage = ({ data }) => { while (data === 'spin'); port.postMessage(++count); };\n"
    "};\n";
/* Comes back when its worker is gone. */
static const char page_js[] =
    "function connect() {\n"
    "    const { port } = Object.assign(new SharedWorker('counter.js', 'x'), { onerror: () => console.log('error') });\n"
    "    port.onmessage = ({ data }) => console.log(`count ${data};`);\n"
    "    port.onclose = () => { console.log('closed'); connect(); };\n"
    "    port.postMessage('next');\n"
    "}\n"
    "connect();\n";

/* Three floors: what nobody handles below comes up. */
static const char grandmother_js[] =
    "const worker = new Worker('mother.js');\n"
    "worker.onerror = (event) => {\n"
    "    event.preventDefault();\n"
    "    console.log(`heard ${event.constructor.name} ${event.message} ${event.error};`);\n"
    "};\n";
static const char mother_js[] = "const worker = new Worker('child.js');\n";
static const char child_js[] = "setTimeout(() => { throw new RangeError('too deep'); }, 0);\n";
static const char lonely_js[] =
    "const worker = new Worker('nowhere.js');\n"
    "worker.onerror = (event) => console.log(`heard ${event.constructor.name};`);\n";

/* A worker of a blob makes a worker of a blob; each URL is revoked at once. */
static const char nesting_js[] =
    "const workerOf = (text) => {\n"
    "    const url = URL.createObjectURL(new Blob([text]));\n"
    "    const worker = new Worker(url);\n"
    "    URL.revokeObjectURL(url);\n"
    "    worker.onmessage = ({ data }) => { console.log(`got ${data};`); };\n"
    "};\n"
    "workerOf(`const url = URL.createObjectURL(new Blob(['postMessage(location.protocol)']));\n"
    "    const inner = new Worker(url);\n"
    "    URL.revokeObjectURL(url);\n"
    "    inner.onmessage = ({ data }) => postMessage('from inside ' + data);`);\n";

/* Nobody listens on that port. */
static const char asking_js[] = "new Worker('asked.js').onmessage = ({ data }) => console.log(`${data};`);\n";
static const char asked_js[] =
    "fetch('http://127.0.0.1:2/').catch(({ message }) => {\n"
    "    postMessage(`${navigator.serviceWorker.controller.state} ${message}`);\n"
    "});\n";

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && strcmp(text + length - size, ending) == 0;
}

static enum muster_status load_text(const char *url, struct muster_loaded *ret_loaded, struct muster_error *error)
{
    static const struct {
        const char *ending, *text;
    } scripts[] = {
        {"/complaining.lua", complaining_lua},
        {"/endless.lua", endless_lua},
        {"/counter.js", counter_js},
        {"/page.js", page_js},
        {"/grandmother.js", grandmother_js},
        {"/mother.js", mother_js},
        {"/child.js", child_js},
        {"/lonely.js", lonely_js},
        {"/nesting.js", nesting_js},
        {"/asking.js", asking_js},
        {"/asked.js", asked_js},
        {"/quiet.js", "addEventListener('ping', () => {});"},
        {"/quiet.lua", "muster.on('ping', function() end)"},
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++)
        if (ends_with(url, scripts[i].ending)) {
            if (ends_with(url, ".js"))
                atomic_store(&javascript_was_used, true);
            ret_loaded->text = strdup(scripts[i].text);
            ret_loaded->length = strlen(scripts[i].text);
            return MUSTER_OK;
        }
    muster_error_set(error, MUSTER_NOT_FOUND, "there is no %s", url);
    return MUSTER_NOT_FOUND;
}

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)user_data;
    if (ends_with(url, "/greeter.so")) {
        ret_loaded->native = &greeter;
    } else if (ends_with(url, "/closer.so")) {
        ret_loaded->native = &closer;
    } else if (ends_with(url, "/failing.so")) {
        ret_loaded->native = &failing;
    } else if (ends_with(url, "/hello.so")) {
        ret_loaded->native = &hello;
    } else {
        return load_text(url, ret_loaded, error);
    }
    return MUSTER_OK;
}

/* What a greeter says. */
static void greeted(struct realm *port, int *ret_instance, int *ret_connect)
{
    struct muster__port_message *message = realm_take(port);
    *ret_instance = (int)muster_value_number(muster_value_at(message->data, 0));
    *ret_connect = (int)muster_value_number(muster_value_at(message->data, 1));
    muster__port_message_destroy(message);
}

/* ---- contexts ---- */

START_TEST(the_first_message_says_who_one_is)
{
    struct realm *realm = realm_new(&(struct muster__context_options){.type = MUSTER__WORKER_CLIENT,
                                                                      .url = "https://a.test:8443/page?x#y"});
    struct muster__port_message *message = told(realm, "environment");
    const struct muster_value *environment = muster_value_at(message->head, 2);
    ck_assert_str_eq(text_of(environment, "type"), "client");
    ck_assert_str_eq(text_of(environment, "origin"), "https://a.test:8443");
    ck_assert_str_eq(text_of(environment, "storageKey"), "https://a.test:8443");
    ck_assert_str_eq(text_of(environment, "url"), "https://a.test:8443/page?x#y");
    ck_assert_uint_eq(strlen(text_of(environment, "clientId")), MUSTER__CLIENT_ID_LENGTH);
    ck_assert_int_eq(muster_value_type(muster_value_get(environment, "controller")), MUSTER_TYPE_NULL);
    muster__port_message_destroy(message);
    realm_close(realm);
}
END_TEST

START_TEST(what_is_not_understood_is_answered_with_a_type_error_or_dropped)
{
    static const char *const hostile[] = {
        "[]", "{}", "null", "[\"ask\"]", "[\"ask\",0,\"claim\"]", "[\"ask\",-1,\"claim\"]", "[\"ask\",1.5,\"claim\"]",
        "[\"ask\",\"1\",\"claim\"]", "[\"tell\"]", "[\"tell\",7]", "[\"tell\",\"claim\"]", "[\"tell\",\"version.post\"]",
        "[\"tell\",\"version.post\",1e300]", "[\"tell\",\"client.post\",[]]", "[\"tell\",\"shared.release\",{}]",
        "[\"tell\",\"worker.terminate\",null]", "[\"tell\",\"broadcast.post\",99]", "[\"answer\",1,true,2]",
        "[\"tell\",\"worker.new\",\"app://a/hello.so\"]", "[\"tell\",\"broadcast.open\",\"x\"]",
        "[\"tell\",\"eventTypes\",\"x\"]", "[[[[]]]]",
    };
    static const char *const refused[] = {
        "worker.new", "shared.new", "broadcast.open", "claim", "clients.get", "clients.matchAll", "client.open",
        "skipWaiting", "", "environment",
    };
    struct realm *realm = page("app://a/");
    for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
        struct muster_value *head = NULL;
        ck_assert_int_eq(muster_value_from_json(hostile[i], strlen(hostile[i]), &head, NULL), MUSTER_OK);
        send(realm, head, muster_value_new_number(1), NULL);
    }
    send(realm, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        answer_fails(realm, ask_with(realm, refused[i], NULL, NULL, NULL), "TypeError");
    realm_close(realm);
}
END_TEST

START_TEST(messages_of_many_rounds_keep_their_order)
{
    struct realm *realm = page("app://a/");
    double first = realm->asks + 1;
    for (int i = 0; i < 1000; i++)
        (void)ask_with(realm, "nothing", NULL, NULL, NULL);
    for (int i = 0; i < 1000; i++)
        answer_fails(realm, first + i, "TypeError");
    realm_close(realm);
}
END_TEST

static void assert_settles(enum muster_status begun, struct muster_handle *handle)
{
    struct muster_result result;
    ck_assert_int_eq(begun, MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    muster_handle_release(handle);
}

START_TEST(a_service_worker_that_asks_nothing_costs_no_context)
{
    const struct muster_registration_options options = {
        .size = sizeof(options), .scope = "/quiet/", .script = _i == 0 ? "app://a/quiet.lua" : "app://a/quiet.js"};
    struct muster_handle *handle = NULL;
    enum muster_status status = muster_register(muster, &options, NULL, NULL, &handle);
    assert_settles(status, handle);
    status = muster_stop(muster, "/quiet/", NULL, NULL, &handle); /* at first it tells its types of events */
    assert_settles(status, handle);
    status = muster_dispatch(muster, "/quiet/", "ping", NULL, NULL, NULL, NULL, &handle);
    assert_settles(status, handle);
    ck_assert(muster__link_is_empty(&muster->worlds->contexts));
}
END_TEST

START_TEST(an_instance_that_closes_ends_its_contexts)
{
    struct realm *realm = page("app://a/");
    settle(realm);
    close_muster();
    await_closed(realm);
    realm_close(realm);
    open_plain();
}
END_TEST

/* ---- clients ---- */

START_TEST(a_client_is_controlled_from_its_creation) /* SW-CLI-2 */
{
    register_service("https://a.test/app/", &service);
    struct realm *inside = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_CLIENT, .url = "https://a.test/app/page"});
    struct realm *outside = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_CLIENT, .url = "https://a.test/other"});
    struct muster__port_message *message = told(inside, "environment");
    const struct muster_value *controller = muster_value_get(muster_value_at(message->head, 2), "controller");
    ck_assert_str_eq(text_of(controller, "state"), "activated");
    ck_assert_str_eq(text_of(controller, "scope"), "https://a.test/app/");
    muster__port_message_destroy(message);
    message = told(outside, "environment");
    controller = muster_value_get(muster_value_at(message->head, 2), "controller");
    ck_assert_int_eq(muster_value_type(controller), MUSTER_TYPE_NULL);
    muster__port_message_destroy(message);
    realm_close(inside);
    realm_close(outside);
}
END_TEST

START_TEST(clients_are_found_by_id_within_their_storage_key) /* CL-GET */
{
    char mine[64], other[64];
    register_service("https://a.test/app/", &service);
    struct realm *worker = service_of("https://a.test/app/");
    struct realm *page_of_mine = page_with_id("https://a.test/app/1", NULL, mine);
    struct realm *page_of_other = page_with_id("https://b.test/app/1", NULL, other);
    struct muster__port_message *message =
        answer(worker, ask_with(worker, "clients.get", muster__tree_text(mine), NULL, NULL), true);
    ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "url"), "https://a.test/app/1");
    ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "type"), "window");
    muster__port_message_destroy(message);
    message = answer(worker, ask_with(worker, "clients.get", muster__tree_text(other), NULL, NULL), true);
    ck_assert_int_eq(muster_value_type(muster_value_at(message->head, 3)), MUSTER_TYPE_NULL);
    muster__port_message_destroy(message);
    realm_close(page_of_mine);
    settle(page_of_other); /* the coordinator has seen the close, which came first */
    settle(worker);
    message = answer(worker, ask_with(worker, "clients.get", muster__tree_text(mine), NULL, NULL), true);
    ck_assert_int_eq(muster_value_type(muster_value_at(message->head, 3)), MUSTER_TYPE_NULL);
    muster__port_message_destroy(message);
    realm_close(page_of_other);
    realm_close(worker);
}
END_TEST

/* How many matchAll() finds, and the URL of the first. */
static size_t match_all(struct realm *worker, const char *type, bool uncontrolled, char first[64])
{
    struct muster_value *options = MUSTER__OBJECT({"type", muster__tree_text(type)},
                                                  {"includeUncontrolled", muster_value_new_boolean(uncontrolled)});
    struct muster__port_message *message =
        answer(worker, ask_with(worker, "clients.matchAll", options, NULL, NULL), true);
    const struct muster_value *list = muster_value_at(message->head, 3);
    size_t count = muster_value_count(list);
    snprintf(first, 64, "%s", text_of(muster_value_at(list, 0), "url"));
    muster__port_message_destroy(message);
    return count;
}

START_TEST(match_all_lists_pages_before_workers_in_order_of_creation) /* CL-ALL */
{
    char first[64];
    register_service("https://a.test/app/", &service);
    struct realm *worker = service_of("https://a.test/app/");
    struct realm *dedicated = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_DEDICATED, .url = "https://a.test/app/w.js"});
    struct realm *free_page = page("https://a.test/free");
    struct realm *one = page("https://a.test/app/1"), *two = page("https://a.test/app/2");
    ck_assert_uint_eq(match_all(worker, "window", false, first), 2);
    ck_assert_str_eq(first, "https://a.test/app/1");
    ck_assert_uint_eq(match_all(worker, "window", true, first), 3);
    ck_assert_str_eq(first, "https://a.test/free");
    ck_assert_uint_eq(match_all(worker, "worker", false, first), 1);
    ck_assert_uint_eq(match_all(worker, "sharedworker", true, first), 0);
    ck_assert_uint_eq(match_all(worker, "all", true, first), 4);
    ck_assert_str_eq(first, "https://a.test/free");
    struct realm *all[] = {worker, dedicated, free_page, one, two};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        realm_close(all[i]);
}
END_TEST

START_TEST(claim_takes_the_clients_that_match_and_tells_them) /* CL-CLAIM */
{
    struct realm *inside = page("https://a.test/app/1"), *outside = page("https://a.test/free");
    register_service("https://a.test/app/", &service);
    struct realm *worker = service_of("https://a.test/app/");
    answer_ok(worker, ask_with(worker, "claim", NULL, NULL, NULL));
    struct muster__port_message *message = told(inside, "controller");
    ck_assert_str_eq(text_of(muster_value_at(message->head, 2), "state"), "activated");
    ck_assert(muster_value_boolean(muster_value_at(message->head, 3)));
    muster__port_message_destroy(message);
    settle(outside); /* it was told nothing */
    answer_ok(worker, ask_with(worker, "claim", NULL, NULL, NULL));
    settle(inside); /* nothing changed the second time */
    realm_close(inside);
    realm_close(outside);
    realm_close(worker);
}
END_TEST

START_TEST(a_worker_that_skips_waiting_gets_the_clients_of_the_one_before) /* SW-ACT-2, SW-SKIP-1 */
{
    register_service("https://a.test/app/", &service);
    struct muster__version *old = find_scope("https://a.test/app/");
    struct realm *inside = page("https://a.test/app/1");
    register_service("https://a.test/app/", &eager);
    struct muster__version *version = find_scope("https://a.test/app/");
    ck_assert_uint_ne(version->id, old->id);
    struct muster__port_message *message = told(inside, "controller");
    ck_assert(muster_value_number(muster_value_get(muster_value_at(message->head, 2), "id")) == version->id);
    ck_assert(muster_value_boolean(muster_value_at(message->head, 3)));
    muster__port_message_destroy(message);
    struct realm *late = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_CLIENT, .url = "https://a.test/app/2"});
    message = told(late, "environment");
    const struct muster_value *registration = muster_value_get(muster_value_at(message->head, 2), "registration");
    ck_assert_str_eq(text_of(registration, "scope"), "https://a.test/app/");
    ck_assert_str_eq(text_of(registration, "updateViaCache"), "imports");
    ck_assert(muster_value_number(muster_value_get(muster_value_get(registration, "active"), "id")) == version->id);
    muster__port_message_destroy(message);
    muster__version_release(old);
    muster__version_release(version);
    realm_close(inside);
    realm_close(late);
}
END_TEST

START_TEST(an_unregistered_worker_keeps_its_clients_until_they_are_gone) /* SW-UNR-1 */
{
    struct muster_handle *handle = NULL;
    struct muster_result result;
    char id[64];
    struct muster__port *ends[2];
    register_service("https://a.test/app/", &service);
    struct muster__version *version = find_scope("https://a.test/app/");
    struct realm *inside = page_with_id("https://a.test/app/1", NULL, id);
    ck_assert_int_eq(muster_unregister(muster, "https://a.test/app/", NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    muster_handle_release(handle);
    struct realm *late = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_CLIENT, .url = "https://a.test/app/2"});
    struct muster__port_message *message = told(late, "environment");
    ck_assert_int_eq(muster_value_type(muster_value_get(muster_value_at(message->head, 2), "controller")),
                     MUSTER_TYPE_NULL);
    muster__port_message_destroy(message);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    struct realm *reply = realm_of_port(ends[0]);
    tell_with(inside, "version.post", muster_value_new_number(version->id), NULL, ends[1]);
    muster__port_message_destroy(realm_take(reply)); /* it still answers those that it controls */
    realm_close(reply);
    realm_close(inside);
    settle(late); /* the last has gone */
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    reply = realm_of_port(ends[0]);
    tell_with(late, "version.post", muster_value_new_number(version->id), NULL, ends[1]);
    await_closed(reply);
    muster__version_release(version);
    realm_close(reply);
    realm_close(late);
}
END_TEST

START_TEST(a_message_to_a_client_comes_with_its_sender_and_its_ports) /* EV-MSG-2 */
{
    char id[64];
    struct muster__port *ends[2];
    register_service("https://a.test/app/", &service);
    struct realm *worker = service_of("https://a.test/app/"), *client = page_with_id("https://a.test/app/", NULL, id);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    tell_with(worker, "client.post", muster__tree_text(id), muster_value_new_text("ping"), ends[1]);
    struct muster__port_message *message = told(client, "message");
    ck_assert_str_eq(text_of(muster_value_get(muster_value_at(message->head, 2), "source"), "scope"),
                     "https://a.test/app/");
    ck_assert_str_eq(muster__text_of(message->data), "ping");
    ck_assert_uint_eq(message->port_count, 1);
    ck_assert(muster__port_is_entangled(message->ports[0], ends[0]));
    muster__port_message_destroy(message);
    muster__port_release(ends[0]);
    realm_close(worker);
    realm_close(client);
}
END_TEST

START_TEST(a_message_to_a_service_worker_comes_with_its_sender_and_its_ports) /* EV-MSG-1 */
{
    struct muster__port *ends[2];
    char id[64];
    register_service("https://a.test/app/", &service);
    struct muster__version *version = find_scope("https://a.test/app/");
    struct realm *client = page_with_id("https://a.test/app/", NULL, id);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    struct realm *reply = realm_of_port(ends[0]);
    tell_with(client, "version.post", muster_value_new_number(version->id), muster_value_new_text("ping"), ends[1]);
    struct muster__port_message *message = realm_take(reply);
    ck_assert_str_eq(text_of(muster_value_at(message->data, 0), "id"), id);
    ck_assert_str_eq(text_at(message->data, 1), "ping");
    muster__port_message_destroy(message);
    muster__version_release(version);
    realm_close(reply);
    realm_close(client);
}
END_TEST

START_TEST(a_message_for_another_storage_key_is_dropped)
{
    register_service("https://a.test/app/", &service);
    struct muster__version *version = find_scope("https://a.test/app/");
    struct realm *stranger = page("https://b.test/");
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    struct realm *reply = realm_of_port(ends[0]);
    tell_with(stranger, "version.post", muster_value_new_number(version->id), NULL, ends[1]);
    await_closed(reply);
    muster__version_release(version);
    realm_close(reply);
    realm_close(stranger);
}
END_TEST

START_TEST(a_page_opens_another_whose_port_is_its_life)
{
    char first[64];
    struct muster__port *ends[2];
    register_service("https://a.test/app/", &service);
    struct realm *worker = service_of("https://a.test/app/"), *client = page("https://a.test/");
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    struct muster__port_message *message = answer(
        client,
        ask_with(client, "client.open",
                 MUSTER__OBJECT({"url", muster__tree_text("https://a.test/app/frame")},
                                {"frameType", muster__tree_text("nested")}),
                 NULL, ends[1]),
        true);
    ck_assert_str_eq(text_of(muster_value_get(muster_value_at(message->head, 3), "controller"), "scope"),
                     "https://a.test/app/");
    muster__port_message_destroy(message);
    ck_assert_uint_eq(match_all(worker, "window", false, first), 1);
    ck_assert_str_eq(first, "https://a.test/app/frame");
    muster__port_close(ends[0]);
    muster__port_release(ends[0]);
    while (match_all(worker, "window", false, first)) /* until the coordinator has come to it */
        settle(client);
    realm_close(worker);
    realm_close(client);
}
END_TEST

/* Whether the next page that the realm opens is controlled, and in which origin. */
static bool opens_controlled(struct realm *realm, const char *url, const char *origin)
{
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    double id = ask_with(realm, "client.open", MUSTER__OBJECT({"url", muster__tree_text(url)}), NULL, ends[1]);
    struct muster__port_message *message = answer(realm, id, true);
    const struct muster_value *environment = muster_value_at(message->head, 3);
    bool controlled = muster_value_type(muster_value_get(environment, "controller")) == MUSTER_TYPE_OBJECT;
    ck_assert_str_eq(text_of(environment, "origin"), origin);
    ck_assert_str_eq(text_of(environment, "storageKey"), origin);
    muster__port_message_destroy(message);
    muster__port_close(ends[0]);
    muster__port_release(ends[0]);
    return controlled;
}

START_TEST(a_frame_without_a_place_of_its_own_is_its_parents) /* SW-CLI-2 */
{
    register_service("https://a.test/app/", &service);
    struct realm *inside = page("https://a.test/app/"), *outside = page("https://a.test/");
    ck_assert(opens_controlled(inside, "about:blank", "https://a.test"));
    ck_assert(opens_controlled(inside, "blob:https://a.test/1", "https://a.test"));
    ck_assert(!opens_controlled(outside, "about:srcdoc", "https://a.test"));
    ck_assert(!opens_controlled(inside, "https://b.test/app/", "https://b.test"));
    realm_close(inside);
    realm_close(outside);
}
END_TEST

/* The storage key of the next page that the realm opens at that URL. */
static void open_opaque(struct realm *realm, const char *url, char ret_key[64])
{
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    double id = ask_with(realm, "client.open", MUSTER__OBJECT({"url", muster__tree_text(url)}), NULL, ends[1]);
    struct muster__port_message *message = answer(realm, id, true);
    const struct muster_value *environment = muster_value_at(message->head, 3);
    ck_assert_str_eq(text_of(environment, "origin"), "null");
    snprintf(ret_key, 64, "%s", text_of(environment, "storageKey"));
    muster__port_message_destroy(message);
    muster__port_close(ends[0]);
    muster__port_release(ends[0]);
}

START_TEST(a_page_at_a_data_url_shares_nothing_with_any_other)
{
    char keys[2][64];
    struct realm *client = page("https://a.test/");
    for (int i = 0; i < 2; i++)
        open_opaque(client, "data:text/html,x", keys[i]);
    ck_assert_str_ne(keys[0], "");
    ck_assert_str_ne(keys[0], "https://a.test");
    ck_assert_str_ne(keys[0], keys[1]);
    realm_close(client);
}
END_TEST

/* ---- shared workers ---- */

START_TEST(all_who_name_the_same_worker_share_one) /* SHW-2, SHW-5 */
{
    double id;
    int instance, connect, other_instance;
    struct realm *one = page("app://a/1"), *two = page("app://a/2");
    struct realm *first = construct(one, "app://a/greeter.so", named("x"), &id);
    answer_ok(one, id);
    struct realm *second = construct(two, "app://a/greeter.so", named("x"), &id);
    answer_ok(two, id);
    greeted(first, &instance, &connect);
    ck_assert_int_eq(connect, 1);
    greeted(second, &other_instance, &connect);
    ck_assert_int_eq(connect, 2);
    ck_assert_int_eq(other_instance, instance);
    realm_close(one); /* one holder is left: it lives */
    struct realm *third = construct(two, "app://a/greeter.so", named("x"), &id);
    answer_ok(two, id);
    greeted(third, &other_instance, &connect);
    ck_assert_int_eq(other_instance, instance);
    ck_assert_int_eq(stops.count, 0);
    realm_close(two);
    counter_await(&stops, 1);
    await_closed(first);
    await_closed(second);
    await_closed(third);
    realm_close(first);
    realm_close(second);
    realm_close(third);
}
END_TEST

START_TEST(other_names_and_storage_keys_are_other_workers)
{
    double id;
    int connect, instances[3];
    struct realm *a = page("app://a/"), *b = page_with_id("app://a/", "tenant b", NULL);
    struct realm *ports[3];
    ports[0] = construct(a, "app://a/greeter.so", named("x"), &id);
    answer_ok(a, id);
    ports[1] = construct(a, "app://a/greeter.so", named("y"), &id);
    answer_ok(a, id);
    ports[2] = construct(b, "app://a/greeter.so", named("x"), &id);
    answer_ok(b, id);
    for (int i = 0; i < 3; i++) {
        greeted(ports[i], &instances[i], &connect);
        ck_assert_int_eq(connect, 1);
    }
    ck_assert_int_eq(starts.count, 3);
    realm_close(a);
    realm_close(b);
    counter_await(&stops, 3);
    for (int i = 0; i < 3; i++)
        realm_close(ports[i]);
}
END_TEST

START_TEST(other_options_do_not_join_a_worker) /* SHW-3 */
{
    static const char *const options[] = {"{\"type\":\"module\"}", "{\"credentials\":\"omit\"}",
                                          "{\"extendedLifetime\":true}"};
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = construct(one, "app://a/greeter.so", NULL, &id);
    answer_ok(one, id);
    for (size_t i = 0; i < 3; i++) {
        struct muster_value *tree = NULL;
        ck_assert_int_eq(muster_value_from_json(options[i], strlen(options[i]), &tree, NULL), MUSTER_OK);
        struct realm *refused = construct(one, "app://a/greeter.so", tree, &id);
        answer_fails(one, id, "NotSupportedError");
        await_closed(refused);
        realm_close(refused);
    }
    ck_assert_int_eq(starts.count, 1);
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(a_released_worker_ends_though_its_holder_lives)
{
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = construct(one, "app://a/greeter.so", NULL, &id);
    answer_ok(one, id);
    tell_with(one, "shared.release", muster_value_new_number(id), NULL, NULL);
    counter_await(&stops, 1);
    await_closed(port);
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(a_worker_that_closes_itself_is_not_met_again)
{
    double id;
    int instance, other, connect;
    struct realm *one = page("app://a/");
    struct realm *port = construct(one, "app://a/closer.so", NULL, &id);
    answer_ok(one, id);
    greeted(port, &instance, &connect);
    await_closed(port);
    struct realm *again = construct(one, "app://a/closer.so", NULL, &id);
    answer_ok(one, id);
    greeted(again, &other, &connect);
    ck_assert_int_ne(instance, other);
    ck_assert_int_eq(connect, 1);
    realm_close(port);
    realm_close(again);
    realm_close(one);
}
END_TEST

START_TEST(a_worker_that_does_not_start_fails_who_asked_and_closes_the_port)
{
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = construct(one, "app://a/failing.so", NULL, &id);
    struct muster__port_message *message = answer(one, id, false);
    ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "message"), "it does not want to");
    muster__port_message_destroy(message);
    await_closed(port);
    realm_close(port);
    port = construct(one, "app://a/nowhere.so", NULL, &id);
    answer_fails(one, id, "NetworkError");
    await_closed(port);
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(with_an_extended_lifetime_it_waits_for_the_next_holder) /* SHW-8 */
{
    double id;
    int instance, other, connect;
    struct realm *one = page("app://a/1"), *two = page("app://a/2");
    struct muster_value *extended = MUSTER__OBJECT({"extendedLifetime", muster_value_new_boolean(true)});
    struct realm *first = construct(one, "app://a/greeter.so", muster_value_acquire(extended), &id);
    answer_ok(one, id);
    greeted(first, &instance, &connect);
    tell_with(one, "shared.release", muster_value_new_number(id), NULL, NULL);
    settle(one);
    struct realm *second = construct(two, "app://a/greeter.so", extended, &id);
    answer_ok(two, id);
    greeted(second, &other, &connect);
    ck_assert_int_eq(other, instance);
    ck_assert_int_eq(connect, 2);
    ck_assert_int_eq(stops.count, 0);
    realm_close(two);
    settle(one);
    realm_close(first);
    realm_close(second);
    realm_close(one);
}
END_TEST

START_TEST(holders_that_come_and_go_meet_one_live_worker_at_most)
{
    double id;
    for (int round = 0; round < 50; round++) {
        int instance, connect;
        struct realm *one = page("app://a/");
        struct realm *port = construct(one, "app://a/greeter.so", NULL, &id);
        if (round % 3) { /* else it goes before its worker has started */
            answer_ok(one, id);
            greeted(port, &instance, &connect);
            ck_assert_int_eq(connect, 1);
        }
        realm_close(one);
        realm_close(port);
    }
    close_muster();
    ck_assert_int_eq(starts.count, stops.count);
    open_plain();
}
END_TEST

/* ---- dedicated workers ---- */

static void says_hello(struct realm *port)
{
    struct muster__port_message *message = realm_take(port);
    ck_assert_str_eq(muster__text_of(message->data), "hello");
    muster__port_message_destroy(message);
}

START_TEST(a_dedicated_worker_has_its_port_and_ends_when_it_is_terminated) /* DW-1 */
{
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/hello.so", &id);
    struct muster__port_message *message = answer(one, id, true);
    ck_assert(muster_value_number(muster_value_get(muster_value_at(message->head, 3), "workerId")) == id);
    muster__port_message_destroy(message);
    says_hello(port);
    tell_with(one, "worker.terminate", muster_value_new_number(id), NULL, NULL);
    counter_await(&stops, 1);
    await_closed(port);
    settle(one); /* and is told nothing of it */
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(a_dedicated_worker_ends_with_its_maker)
{
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/hello.so", &id);
    answer_ok(one, id);
    realm_close(one);
    counter_await(&stops, 1);
    await_closed(port);
    realm_close(port);
}
END_TEST

START_TEST(one_that_is_terminated_before_it_runs_fails_its_ask)
{
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/hello.so", &id);
    tell_with(one, "worker.terminate", muster_value_new_number(id), NULL, NULL);
    struct muster__port_message *message = realm_take(one); /* it may have run already */
    ck_assert_str_eq(text_at(message->head, 0), "answer");
    muster__port_message_destroy(message);
    await_closed(port);
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(a_dedicated_worker_that_does_not_load_fails_its_ask) /* ERR-2 */
{
    double id;
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/nowhere.so", &id);
    answer_fails(one, id, "NetworkError");
    await_closed(port);
    realm_close(port);
    answer_fails(one, ask_with(one, "worker.new", muster__tree_text("app://a/x.so"), NULL, NULL), "TypeError");
    port = worker_new(one, "https://elsewhere.test/x.js", &id);
    answer_fails(one, id, "SecurityError");
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(the_uncaught_errors_of_a_dedicated_worker_are_told_to_its_maker) /* ERR-1 */
{
    double id;
    live_in(_i);
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/complaining.lua", &id);
    answer_ok(one, id);
    struct muster__port_message *message = told(one, "worker.error");
    ck_assert(muster_value_number(muster_value_at(message->head, 2)) == id);
    ck_assert_ptr_nonnull(strstr(text_of(muster_value_at(message->head, 3), "message"), "a complaint"));
    ck_assert(muster_value_number(muster_value_get(muster_value_at(message->head, 3), "lineno")) == 1);
    muster__port_message_destroy(message);
    realm_close(port);
    realm_close(one);
}
END_TEST

START_TEST(a_worker_that_is_ended_by_force_is_told_and_its_port_closes)
{
    double dedicated, shared;
    live_in(_i);
    struct realm *one = page("app://a/");
    struct realm *ports[2] = {worker_new(one, "app://a/endless.lua", &dedicated), NULL};
    answer_ok(one, dedicated);
    struct muster__port_message *message = told(one, "worker.error");
    ck_assert(muster_value_number(muster_value_at(message->head, 2)) == dedicated);
    muster__port_message_destroy(message);
    await_closed(ports[0]);
    ports[1] = construct(one, "app://a/endless.lua", NULL, &shared);
    answer_ok(one, shared);
    message = told(one, "worker.error");
    ck_assert(muster_value_number(muster_value_at(message->head, 2)) == shared);
    muster__port_message_destroy(message);
    await_closed(ports[1]);
    realm_close(ports[0]);
    realm_close(ports[1]);
    realm_close(one);
}
END_TEST

START_TEST(an_error_that_no_script_handles_goes_up_from_worker_to_maker) /* ERR-1 */
{
    live_in(_i);
    struct script *script = script_open("app://a/grandmother.js");
    script_says(script, "heard ErrorEvent ");
    script_says(script, "too deep");
    script_says(script, " null;");
    script_close(script);
}
END_TEST

START_TEST(a_script_hears_that_its_worker_did_not_load) /* ERR-2: a plain event */
{
    live_in(_i);
    struct script *script = script_open("app://a/lonely.js");
    script_says(script, "heard Event;");
    script_close(script);
}
END_TEST

START_TEST(a_worker_of_a_blob_runs_wherever_it_lives_though_the_url_is_revoked)
{
    live_in(_i);
    struct script *script = script_open("app://a/nesting.js");
    script_says(script, "got from inside blob:;");
    script_close(script);
}
END_TEST

START_TEST(a_controlled_worker_fetches_wherever_it_lives)
{
    live_in(_i);
    register_service("https://a.test/app/", &service);
    struct script *script = script_open("https://a.test/app/asking.js");
    script_says(script, "activated cannot fetch http://127.0.0.1:2/");
    script_says(script, "onnect");
    script_close(script);
}
END_TEST

START_TEST(one_worker_too_many_is_refused_at_once_and_says_so)
{
    double id;
    close_muster();
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .worker_limit = 2});
    struct realm *one = page("app://a/"), *stranger = page("app://b/");
    struct realm *ports[4];
    for (int i = 0; i < 2; i++) {
        ports[i] = worker_new(one, "app://a/hello.so", &id);
        answer_ok(one, id);
    }
    ports[2] = worker_new(one, "app://a/hello.so", &id);
    answer_fails(one, id, "QuotaExceededError");
    await_closed(ports[2]);
    ports[3] = worker_new(stranger, "app://b/hello.so", &id);
    answer_ok(stranger, id);
    realm_close(ports[2]);
    tell_with(one, "worker.terminate", muster_value_new_number(1), NULL, NULL);
    ports[2] = worker_new(one, "app://a/hello.so", &id);
    answer_ok(one, id);
    for (int i = 0; i < 4; i++)
        realm_close(ports[i]);
    realm_close(one);
    realm_close(stranger);
}
END_TEST

/* ---- broadcast ---- */

static double open_channel(struct realm *realm, const char *name)
{
    struct muster__port_message *message =
        answer(realm, ask_with(realm, "broadcast.open", muster__tree_text(name), NULL, NULL), true);
    double id = muster_value_number(muster_value_at(message->head, 3));
    muster__port_message_destroy(message);
    return id;
}

static void broadcast(struct realm *realm, double channel, double number)
{
    tell_with(realm, "broadcast.post", muster_value_new_number(channel), muster_value_new_number(number), NULL);
}

static void hears(struct realm *realm, double channel, double number)
{
    struct muster__port_message *message = told(realm, "broadcast");
    ck_assert(muster_value_number(muster_value_at(message->head, 2)) == channel);
    ck_assert(muster_value_number(message->data) == number);
    muster__port_message_destroy(message);
}

START_TEST(a_broadcast_comes_to_all_others_of_its_name_and_storage_key) /* BC-1 */
{
    struct realm *a = page("app://a/1"), *b = page("app://a/2"), *stranger = page("app://b/");
    double from = open_channel(a, "news"), also = open_channel(a, "news"), to = open_channel(b, "news");
    double other = open_channel(b, "olds"), far = open_channel(stranger, "news");
    (void)other;
    (void)far;
    broadcast(a, from, 1);
    broadcast(a, from, 2);
    hears(a, also, 1);
    hears(a, also, 2);
    hears(b, to, 1);
    hears(b, to, 2);
    settle(a); /* not itself */
    settle(b);
    settle(stranger);
    tell_with(b, "broadcast.close", muster_value_new_number(to), NULL, NULL);
    settle(b);
    broadcast(a, also, 3);
    hears(a, from, 3);
    settle(b);
    broadcast(b, to, 4); /* closed */
    broadcast(b, from, 5); /* not its own */
    settle(b);
    settle(a);
    realm_close(a);
    realm_close(b);
    realm_close(stranger);
}
END_TEST

START_TEST(a_thousand_hear_one_broadcast)
{
    enum { COUNT = 1000 };
    static struct realm *all[COUNT];
    static double channels[COUNT];
    struct realm *from = page("app://a/");
    double channel = open_channel(from, "crowd");
    for (int i = 0; i < COUNT; i++) {
        all[i] = page("app://a/");
        channels[i] = open_channel(all[i], "crowd");
    }
    uint64_t began_us = muster__now_us();
    broadcast(from, channel, 7);
    settle(from);
    uint64_t took_us = muster__now_us() - began_us;
    printf("1,000 receivers: %.2f ms\n", (double)took_us / 1000);
    for (int i = 0; i < COUNT; i++) {
        hears(all[i], channels[i], 7);
        realm_close(all[i]);
    }
    realm_close(from);
}
END_TEST

START_TEST(one_that_does_not_read_costs_bounded_memory)
{
    struct realm *from = page("app://a/1"), *deaf = page("app://a/2");
    double channel = open_channel(from, "flood");
    (void)open_channel(deaf, "flood");
    for (int i = 0; i < 100000; i++)
        broadcast(from, channel, i);
    settle(from);
    size_t count = 0;
    struct muster__port_message *message;
    while ((message = muster__port_take(deaf->port))) {
        muster__port_message_destroy(message);
        count++;
    }
    ck_assert_uint_le(count, 65536);
    ck_assert_uint_ge(count, 60000);
    realm_close(from);
    realm_close(deaf);
}
END_TEST

/* ---- the embedder's calls ---- */

START_TEST(ports_carry_values_and_ports_in_order)
{
    struct heard here, there;
    struct muster_port *ports[2], *more[2];
    heard_init(&here);
    heard_init(&there);
    ck_assert_int_eq(muster_port_pair(muster, ports), MUSTER_OK);
    ck_assert_int_eq(muster_port_pair(muster, more), MUSTER_OK);
    ck_assert_int_eq(muster_port_post(ports[0], muster_value_new_number(1), NULL, 0), MUSTER_OK);
    ck_assert_int_eq(muster_port_post(ports[0], muster_value_new_text("two"), &more[1], 1), MUSTER_OK);
    muster_port_set_handler(ports[1], on_port_message, on_port_close, &there); /* what came before, too */
    counter_await(&there.messages, 2);
    ck_assert_str_eq(there.text, "\"two\"");
    ck_assert_ptr_nonnull(there.port);
    muster_port_set_handler(more[0], on_port_message, on_port_close, &here);
    ck_assert_int_eq(muster_port_post(there.port, muster_value_new_text("back"), NULL, 0), MUSTER_OK);
    counter_await(&here.messages, 1);
    ck_assert_str_eq(here.text, "\"back\"");
    muster_port_close(there.port);
    counter_await(&here.closes, 1); /* the other side closed */
    ck_assert_int_eq(muster_port_post(more[0], NULL, NULL, 0), MUSTER_CLOSED);
    muster_port_close(more[0]);
    muster_port_close(ports[1]);
    counter_await(&there.closes, 1); /* own close: the last that comes */
    muster_port_close(ports[0]);
}
END_TEST

START_TEST(a_port_is_not_sent_twice_nor_through_itself)
{
    struct muster_port *ports[2], *more[2];
    ck_assert_int_eq(muster_port_pair(muster, ports), MUSTER_OK);
    ck_assert_int_eq(muster_port_pair(muster, more), MUSTER_OK);
    struct muster_port *twice[] = {more[0], more[0]}, *none[] = {NULL};
    ck_assert_int_eq(muster_port_post(ports[0], NULL, twice, 2), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_port_post(ports[0], NULL, &ports[0], 1), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_port_post(ports[0], NULL, none, 1), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_port_post(ports[0], NULL, NULL, 1), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_port_post(NULL, muster_value_new_number(1), NULL, 0), MUSTER_INVALID_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        muster_port_close(ports[i]);
        muster_port_close(more[i]);
    }
    muster_port_close(NULL);
}
END_TEST

START_TEST(a_client_talks_with_the_worker_that_controls_it)
{
    struct heard heard, reply;
    struct muster_port *ports[2];
    char scope[64];
    heard_init(&heard);
    heard_init(&reply);
    register_service("/app/", &service);
    struct muster_client *client = client_open("https://a.test/app/", &heard);
    ck_assert_uint_gt(muster_client_controller(client, scope, sizeof(scope)), 0);
    ck_assert_str_eq(scope, "/app/");
    ck_assert_int_eq(muster_port_pair(muster, ports), MUSTER_OK);
    muster_port_set_handler(ports[0], on_port_message, on_port_close, &reply);
    ck_assert_int_eq(muster_client_post_to_worker(client, muster_value_new_text("ping"), &ports[1], 1), MUSTER_OK);
    counter_await(&reply.messages, 1);
    ck_assert_ptr_nonnull(strstr(reply.text, muster_client_id(client)));
    ck_assert_ptr_nonnull(strstr(reply.text, "\"ping\""));
    struct realm *worker = service_of("/app/");
    tell_with(worker, "client.post", muster__tree_text(muster_client_id(client)), muster_value_new_text("pong"), NULL);
    counter_await(&heard.messages, 1);
    ck_assert_str_eq(heard.text, "\"pong\"");
    muster_client_close(client);
    counter_await(&heard.closes, 1);
    muster_port_close(ports[0]);
    realm_close(worker);
}
END_TEST

START_TEST(a_client_hears_who_controls_it)
{
    struct heard heard;
    char scope[64] = "x";
    heard_init(&heard);
    struct muster_client *client = client_open("https://a.test/app/", &heard);
    ck_assert_uint_eq(muster_client_controller(client, scope, sizeof(scope)), 0);
    ck_assert_str_eq(scope, "");
    ck_assert_int_eq(muster_client_post_to_worker(client, muster_value_new_number(1), NULL, 0), MUSTER_NOT_FOUND);
    register_service("https://a.test/app/", &service);
    struct realm *worker = service_of("https://a.test/app/");
    answer_ok(worker, ask_with(worker, "claim", NULL, NULL, NULL));
    counter_await(&heard.controllers, 1);
    ck_assert_uint_gt(muster_client_controller(client, scope, sizeof(scope)), 0);
    ck_assert_str_eq(scope, "https://a.test/app/");
    muster_client_close(client);
    counter_await(&heard.closes, 1);
    realm_close(worker);
}
END_TEST

START_TEST(a_client_connects_to_a_shared_worker)
{
    struct heard heard, port, broken;
    heard_init(&heard);
    heard_init(&port);
    heard_init(&broken);
    struct muster_client *client = client_open("app://a/", &heard);
    struct muster_port *ports[2];
    struct muster_shared_worker_options options = {.size = sizeof(options), .url = "app://a/greeter.so", .name = "x"};
    ck_assert_int_eq(muster_shared_worker_connect(client, &options, &ports[0]), MUSTER_OK);
    muster_port_set_handler(ports[0], on_port_message, on_port_close, &port);
    counter_await(&port.messages, 1);
    ck_assert_str_eq(port.text, "[1,1]");
    options.url = "app://a/failing.so";
    ck_assert_int_eq(muster_shared_worker_connect(client, &options, &ports[1]), MUSTER_OK);
    muster_port_set_handler(ports[1], on_port_message, on_port_close, &broken);
    counter_await(&broken.closes, 1);
    muster_client_close(client);
    counter_await(&heard.closes, 1);
    counter_await(&port.closes, 1);
    counter_await(&stops, 1);
    muster_port_close(ports[0]);
    muster_port_close(ports[1]);
}
END_TEST

static struct muster_port *connect_counter(struct muster_client *client, struct heard *heard)
{
    const struct muster_shared_worker_options options = {
        .size = sizeof(options), .url = "app://a/counter.js", .name = "x"};
    struct muster_port *port = NULL;
    ck_assert_int_eq(muster_shared_worker_connect(client, &options, &port), MUSTER_OK);
    muster_port_set_handler(port, on_port_message, on_port_close, heard);
    return port;
}

static void count_to(struct muster_port *port, struct heard *heard, const char *number)
{
    int before = heard->messages.count;
    ck_assert_int_eq(muster_port_post(port, muster_value_new_text("next"), NULL, 0), MUSTER_OK);
    counter_await(&heard->messages, before + 1);
    ck_assert_str_eq(heard->text, number);
}

/* Others would have been ended for being idle by then. */
static void let_an_idle_time_pass(void)
{
    struct muster_registration_options options = {
        .size = sizeof(options), .scope = "/idle/", .native = &idler, .hosting = MUSTER_HOSTING_THREAD};
    struct muster_handle *handle = NULL;
    int before = stops.count;
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    muster_handle_release(handle);
    counter_await(&stops, before + 1);
}

START_TEST(a_shared_worker_keeps_its_state_for_all_its_clients_until_it_dies_for_all_of_them_at_once)
{
    struct heard clients[2], heard[2];
    struct muster_client *client[2];
    struct muster_port *ports[2];
    close_muster();
    open_muster(&(struct muster_options){.size = sizeof(struct muster_options), .threads = 2, .idle_ms = 20,
                                         .turn_limit_ms = 300, .hosting = homes[_i]});
    for (int i = 0; i < 2; i++) {
        heard_init(&clients[i]);
        heard_init(&heard[i]);
        client[i] = client_open(i ? "app://a/two" : "app://a/one", &clients[i]);
        ports[i] = connect_counter(client[i], &heard[i]);
        count_to(ports[i], &heard[i], i ? "2" : "1");
    }
    struct script *script = script_open("app://a/page.js");
    script_says(script, "count 3;");
    let_an_idle_time_pass();
    count_to(ports[0], &heard[0], "4");
    count_to(ports[1], &heard[1], "5");
    pid_t process = process_of("/counter.js");
    ck_assert_int_eq(process != 0, homes[_i] == MUSTER_HOSTING_PROCESS);
    if (process)
        ck_assert_int_eq(kill(process, SIGKILL), 0);
    else
        ck_assert_int_eq(muster_port_post(ports[0], muster_value_new_text("spin"), NULL, 0), MUSTER_OK);
    counter_await(&heard[0].closes, 1);
    counter_await(&heard[1].closes, 1);
    script_says(script, "error\n");
    script_says(script, "closed\n");
    script_says(script, "count 1;"); /* a new one, which has forgotten */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(muster_port_post(ports[i], NULL, NULL, 0), MUSTER_CLOSED);
        muster_port_close(ports[i]);
        ports[i] = connect_counter(client[i], &heard[i]);
        count_to(ports[i], &heard[i], i ? "3" : "2");
        muster_client_close(client[i]);
        muster_port_close(ports[i]);
    }
    script_close(script);
}
END_TEST

START_TEST(an_instance_that_closes_closes_clients_and_ports)
{
    struct heard heard, port;
    struct muster_port *ports[2];
    heard_init(&heard);
    heard_init(&port);
    struct muster_client *client = client_open("https://a.test/", &heard);
    ck_assert_int_eq(muster_port_pair(muster, ports), MUSTER_OK);
    muster_port_set_handler(ports[0], on_port_message, on_port_close, &port);
    close_muster();
    ck_assert_int_eq(heard.closes.count, 1);
    ck_assert_int_eq(port.closes.count, 1);
    ck_assert_int_eq(muster_port_post(ports[0], NULL, NULL, 0), MUSTER_CLOSED);
    ck_assert_int_eq(muster_client_post_to_worker(client, NULL, NULL, 0), MUSTER_CLOSED);
    muster_port_close(ports[0]);
    muster_port_close(ports[1]);
    muster_client_close(client);
    open_plain();
}
END_TEST

/* Opens and closes until the instance does; what came and what was closed must balance. */
struct churn {
    struct heard heard;
    int opened;
};

static void *churn(void *argument)
{
    struct churn *churn = argument;
    const struct muster_client_options page = {.size = sizeof(page),
                                               .url = "app://a/",
                                               .on_close = on_client_close,
                                               .user_data = &churn->heard};
    const struct muster_shared_worker_options shared = {.size = sizeof(shared), .url = "app://a/greeter.so"};
    struct muster_client *client = NULL;
    while (muster_client_open(muster, &page, &client) == MUSTER_OK) {
        struct muster_port *ports[2], *connected = NULL;
        churn->opened++;
        if (muster_port_pair(muster, ports) == MUSTER_OK) {
            muster_port_set_handler(ports[0], on_port_message, on_port_close, &churn->heard);
            churn->opened++;
            (void)!muster_port_post(ports[1], muster_value_new_number(1), NULL, 0);
            muster_port_close(ports[churn->opened % 2]);
            muster_port_close(ports[(churn->opened + 1) % 2]);
        }
        if (muster_shared_worker_connect(client, &shared, &connected) == MUSTER_OK) {
            muster_port_set_handler(connected, on_port_message, on_port_close, &churn->heard);
            churn->opened++;
            muster_port_close(connected);
        }
        muster_client_close(client);
    }
    return NULL;
}

START_TEST(many_threads_open_and_close_while_the_instance_closes)
{
    static struct churn churns[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        heard_init(&churns[i].heard);
        pthread_create(&threads[i], NULL, churn, &churns[i]);
    }
    counter_await(&churns[0].heard.closes, 200);
    counter_await(&churns[1].heard.closes, 200);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        /* Those that were opened just before, and had no callbacks when the instance closed, are not told. */
        int missing = churns[i].opened - churns[i].heard.closes.count;
        ck_assert_msg(missing >= 0 && missing <= 2, "%d of %d were not told", missing, churns[i].opened);
    }
}
END_TEST

START_TEST(on_a_queue_callbacks_come_when_it_is_run)
{
    struct heard heard, port;
    struct muster_port *ports[2];
    close_muster();
    open_muster(&(struct muster_options){
        .size = sizeof(struct muster_options), .threads = 2, .delivery = MUSTER_DELIVER_ON_QUEUE});
    heard_init(&heard);
    heard_init(&port);
    struct muster_client *client = client_open("https://a.test/", &heard);
    ck_assert_int_eq(muster_port_pair(muster, ports), MUSTER_OK);
    muster_port_set_handler(ports[0], on_port_message, on_port_close, &port);
    ck_assert_int_eq(muster_port_post(ports[1], muster_value_new_number(5), NULL, 0), MUSTER_OK);
    ck_assert_int_eq(port.messages.count, 0);
    while (port.messages.count == 0) {
        struct pollfd ready = {.fd = muster_completion_fd(muster), .events = POLLIN};
        ck_assert_int_eq(poll(&ready, 1, PATIENCE_MS), 1);
        (void)muster_run_completions(muster);
    }
    muster_port_close(ports[1]);
    while (port.closes.count == 0) {
        struct pollfd ready = {.fd = muster_completion_fd(muster), .events = POLLIN};
        ck_assert_int_eq(poll(&ready, 1, PATIENCE_MS), 1);
        (void)muster_run_completions(muster);
    }
    muster_port_close(ports[0]);
    muster_client_close(client);
    ck_assert_int_eq(heard.closes.count, 0);
    (void)muster_run_completions(muster);
    ck_assert_int_eq(heard.closes.count, 1);
    client = client_open("https://a.test/", &heard); /* nobody runs the queue for this one */
    muster_client_close(client);
}
END_TEST

START_TEST(what_is_no_client_is_refused)
{
    struct muster_client *client = NULL;
    struct muster_client_options options = {.size = sizeof(options), .url = "no url"};
    ck_assert_int_eq(muster_client_open(muster, &options, &client), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_client_open(muster, NULL, &client), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster_client_open(NULL, &options, &client), MUSTER_INVALID_ARGUMENT);
    options.size = 4096;
    ck_assert_int_eq(muster_client_open(muster, &options, &client), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(client);
    muster_client_close(NULL);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, open_plain, close_muster);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("contexts");
    TCase *contexts = add_case(suite, "contexts"), *clients = add_case(suite, "clients");
    TCase *shared = add_case(suite, "shared workers"), *dedicated = add_case(suite, "dedicated workers");
    TCase *channels = add_case(suite, "broadcast"), *calls = add_case(suite, "calls");
    tcase_add_test(contexts, the_first_message_says_who_one_is);
    tcase_add_test(contexts, what_is_not_understood_is_answered_with_a_type_error_or_dropped);
    tcase_add_test(contexts, messages_of_many_rounds_keep_their_order);
    tcase_add_loop_test(contexts, a_service_worker_that_asks_nothing_costs_no_context, 0, 2);
    tcase_add_test(contexts, an_instance_that_closes_ends_its_contexts);
    tcase_add_test(clients, a_client_is_controlled_from_its_creation);
    tcase_add_test(clients, clients_are_found_by_id_within_their_storage_key);
    tcase_add_test(clients, match_all_lists_pages_before_workers_in_order_of_creation);
    tcase_add_test(clients, claim_takes_the_clients_that_match_and_tells_them);
    tcase_add_test(clients, a_worker_that_skips_waiting_gets_the_clients_of_the_one_before);
    tcase_add_test(clients, an_unregistered_worker_keeps_its_clients_until_they_are_gone);
    tcase_add_test(clients, a_message_to_a_client_comes_with_its_sender_and_its_ports);
    tcase_add_test(clients, a_message_to_a_service_worker_comes_with_its_sender_and_its_ports);
    tcase_add_test(clients, a_message_for_another_storage_key_is_dropped);
    tcase_add_test(clients, a_page_opens_another_whose_port_is_its_life);
    tcase_add_test(clients, a_frame_without_a_place_of_its_own_is_its_parents);
    tcase_add_test(clients, a_page_at_a_data_url_shares_nothing_with_any_other);
    tcase_add_test(shared, all_who_name_the_same_worker_share_one);
    tcase_add_test(shared, other_names_and_storage_keys_are_other_workers);
    tcase_add_test(shared, other_options_do_not_join_a_worker);
    tcase_add_test(shared, a_released_worker_ends_though_its_holder_lives);
    tcase_add_test(shared, a_worker_that_closes_itself_is_not_met_again);
    tcase_add_test(shared, a_worker_that_does_not_start_fails_who_asked_and_closes_the_port);
    tcase_add_test(shared, with_an_extended_lifetime_it_waits_for_the_next_holder);
    tcase_add_test(shared, holders_that_come_and_go_meet_one_live_worker_at_most);
    tcase_add_test(dedicated, a_dedicated_worker_has_its_port_and_ends_when_it_is_terminated);
    tcase_add_test(dedicated, a_dedicated_worker_ends_with_its_maker);
    tcase_add_test(dedicated, one_that_is_terminated_before_it_runs_fails_its_ask);
    tcase_add_test(dedicated, a_dedicated_worker_that_does_not_load_fails_its_ask);
    tcase_add_loop_test(dedicated, the_uncaught_errors_of_a_dedicated_worker_are_told_to_its_maker, 0, HOME_COUNT);
    tcase_add_loop_test(dedicated, a_worker_that_is_ended_by_force_is_told_and_its_port_closes, 0, HOME_COUNT);
    tcase_add_loop_test(dedicated, an_error_that_no_script_handles_goes_up_from_worker_to_maker, 0, HOME_COUNT);
    tcase_add_loop_test(dedicated, a_script_hears_that_its_worker_did_not_load, 0, HOME_COUNT);
    tcase_add_loop_test(dedicated, a_worker_of_a_blob_runs_wherever_it_lives_though_the_url_is_revoked, 0, HOME_COUNT);
    tcase_add_loop_test(dedicated, a_controlled_worker_fetches_wherever_it_lives, 0, HOME_COUNT);
    tcase_add_test(dedicated, one_worker_too_many_is_refused_at_once_and_says_so);
    tcase_add_test(channels, a_broadcast_comes_to_all_others_of_its_name_and_storage_key);
    tcase_add_test(channels, a_thousand_hear_one_broadcast);
    tcase_add_test(channels, one_that_does_not_read_costs_bounded_memory);
    tcase_add_test(calls, ports_carry_values_and_ports_in_order);
    tcase_add_test(calls, a_port_is_not_sent_twice_nor_through_itself);
    tcase_add_test(calls, a_client_talks_with_the_worker_that_controls_it);
    tcase_add_test(calls, a_client_hears_who_controls_it);
    tcase_add_test(calls, a_client_connects_to_a_shared_worker);
    tcase_add_loop_test(calls, a_shared_worker_keeps_its_state_for_all_its_clients_until_it_dies_for_all_of_them_at_once, 0,
                        HOME_COUNT);
    tcase_add_test(calls, an_instance_that_closes_closes_clients_and_ports);
    tcase_add_test(calls, many_threads_open_and_close_while_the_instance_closes);
    tcase_add_test(calls, on_a_queue_callbacks_come_when_it_is_run);
    tcase_add_test(calls, what_is_no_client_is_refused);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
