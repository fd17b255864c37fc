/* tests/context_harness.h - realms and clients of a real coordinator, driven by hand.
 *
 * A *realm* here is what a script would be: the far end of a host port, which a test asks and tells through, and
 * reads.  Nothing sleeps: whatever must happen is waited for, PATIENCE_MS at most.  The file that includes this
 * defines load(), where scripts come from. */
#ifndef CONTEXT_HARNESS_H
#define CONTEXT_HARNESS_H

#include "coordinator/clients.h"
#include "coordinator/context.h"
#include "coordinator/instance.h"
#include "coordinator/muster.h"
#include "runtime/engine_table.h"
#include "runtime/worker.h"

#include <check.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 30000

static struct muster *muster;

static muster_load_fn load;

/* The leak sanitizer crashes on what JavaScriptCore has mapped. */
static atomic_bool javascript_was_used;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return atomic_load(&javascript_was_used);
}

/* ---- waiting ---- */

struct counter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
};

#define COUNTER {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static inline void counter_add(struct counter *counter, int by)
{
    pthread_mutex_lock(&counter->lock);
    counter->count += by;
    pthread_cond_broadcast(&counter->changed);
    pthread_mutex_unlock(&counter->lock);
}

static inline void counter_await(struct counter *counter, int at_least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    int late = 0;
    pthread_mutex_lock(&counter->lock);
    while (counter->count < at_least && !late)
        late = pthread_cond_timedwait(&counter->changed, &counter->lock, &until);
    int count = counter->count;
    pthread_mutex_unlock(&counter->lock);
    ck_assert_msg(count >= at_least, "%d of %d came", count, at_least);
}

/* ---- the instance ---- */

static inline void open_muster(const struct muster_options *more)
{
    struct muster_options options = {.size = sizeof(options), .threads = 2};
    struct muster_error error = {0};
    if (more)
        options = *more;
    options.load = load;
    ck_assert_msg(muster_new(&options, &muster, &error) == MUSTER_OK, "%s", error.message);
}

static inline void open_plain(void)
{
    open_muster(NULL);
}

static inline void close_muster(void)
{
    muster_destroy(muster);
    muster = NULL;
}

static inline void register_service(const char *scope, const struct muster_native_worker *native)
{
    struct muster_registration_options options = {.size = sizeof(options), .scope = scope, .native = native};
    struct muster_handle *handle = NULL;
    struct muster_result result;
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_int_eq(result.status, MUSTER_OK);
    muster_handle_release(handle);
}

/* ---- realms ---- */

struct realm {
    struct muster__message message;
    struct muster__context_options options;
    struct muster__port *far;
    sem_t opened;

    struct muster__port *port;
    struct counter news;
    int taken; /* of the news */
    double asks;
};

static inline void realm_ready(struct muster__port *port, void *owner)
{
    (void)port;
    counter_add(&((struct realm *)owner)->news, 1);
}

static const struct muster__port_owner_class realm_owner = {.ready = realm_ready};

static inline void run_open(struct muster__message *message, struct muster *of)
{
    struct realm *realm = MUSTER_CONTAINER_OF(message, struct realm, message);
    struct muster__context *context = muster__context_new(of, &realm->options);
    ck_assert_ptr_nonnull(context);
    ck_assert_int_eq(muster__context_open(context, &realm->far), MUSTER_OK);
    muster__context_release(context);
    sem_post(&realm->opened);
}

static inline void open_context(struct realm *realm)
{
    realm->message.run = run_open;
    sem_init(&realm->opened, 0, 0);
    (void)muster__coordinator_post(muster, &realm->message);
    sem_wait(&realm->opened);
}

/* What every context is told of registrations; the tests here look at other things. */
static inline bool is_of_registrations(const struct muster__port_message *message)
{
    static const char *const ops[] = {"registration", "state", "updatefound"};
    const char *op = muster__text_of(muster_value_at(message->head, 1));
    for (size_t i = 0; op && i < sizeof(ops) / sizeof(*ops); i++)
        if (strcmp(op, ops[i]) == 0)
            return true;
    return false;
}

/* The next message; it must be there, or come. */
static inline struct muster__port_message *realm_take(struct realm *realm)
{
    for (;;) {
        struct muster__port_message *message = muster__port_take(realm->port);
        if (message && !is_of_registrations(message))
            return message;
        if (message) {
            muster__port_message_destroy(message);
            continue;
        }
        ck_assert_msg(!muster__port_is_closed(realm->port), "the port is closed");
        counter_await(&realm->news, ++realm->taken);
    }
}

static inline void await_closed(struct realm *realm)
{
    struct muster__port_message *message;
    for (;;) {
        while ((message = muster__port_take(realm->port)))
            muster__port_message_destroy(message);
        if (muster__port_is_closed(realm->port))
            return;
        counter_await(&realm->news, ++realm->taken);
    }
}

static inline struct realm *realm_of_port(struct muster__port *take_port)
{
    struct realm *realm = calloc(1, sizeof(*realm));
    pthread_mutex_init(&realm->news.lock, NULL);
    pthread_cond_init(&realm->news.changed, NULL);
    realm->port = take_port;
    muster__port_attach(realm->port, &realm_owner, realm);
    return realm;
}

/* Its environment is still to be taken. */
static inline struct realm *realm_new(const struct muster__context_options *options)
{
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    struct realm *realm = realm_of_port(ends[0]);
    realm->far = ends[1];
    realm->options = *options;
    realm->options.is_embedder = true;
    open_context(realm);
    return realm;
}

static inline const char *text_at(const struct muster_value *value, size_t i)
{
    const char *text = muster__text_of(muster_value_at(value, i));
    return text ? text : "";
}

static inline const char *text_of(const struct muster_value *value, const char *key)
{
    const char *text = muster__text_of(muster_value_get(value, key));
    return text ? text : "";
}

/* A page; its environment is taken, its id kept. */
static inline struct realm *page_with_id(const char *url, const char *storage_key, char id[64])
{
    struct realm *realm = realm_new(
        &(struct muster__context_options){.type = MUSTER__WORKER_CLIENT, .url = url, .storage_key = storage_key});
    struct muster__port_message *message = realm_take(realm);
    ck_assert_str_eq(text_at(message->head, 1), "environment");
    if (id)
        snprintf(id, 64, "%s", text_of(muster_value_at(message->head, 2), "clientId"));
    muster__port_message_destroy(message);
    return realm;
}

static inline struct realm *page(const char *url)
{
    return page_with_id(url, NULL, NULL);
}

/* Released by the caller. */
static inline struct muster__version *find_scope(const char *scope)
{
    struct muster__version *version = NULL;
    ck_assert_int_eq(muster__find_scope(muster, scope, &version, NULL), MUSTER_OK);
    return version;
}

/* What the script of that registration would be. */
static inline struct realm *service_of(const char *scope)
{
    struct muster__version *version = find_scope(scope);
    struct realm *realm = realm_new(&(struct muster__context_options){.type = MUSTER__WORKER_SERVICE,
                                                                      .url = version->script,
                                                                      .storage_key = version->storage_key,
                                                                      .version = version});
    muster__port_message_destroy(realm_take(realm));
    muster__version_release(version);
    return realm;
}

static inline void realm_close(struct realm *realm)
{
    muster__port_close(realm->port);
    muster__port_release(realm->port);
    free(realm);
}

/* Takes head, data and, if it is one, the port. */
static inline void send(struct realm *realm, struct muster_value *take_head, struct muster_value *take_data,
                        struct muster__port *take_port)
{
    struct muster__port_message *message = muster__port_message_new(take_head, take_data, take_port ? 1 : 0);
    ck_assert_ptr_nonnull(message);
    if (take_port)
        message->ports[0] = take_port;
    muster__port_post(realm->port, message);
}

/* NULL arguments are left out.  The id of the ask. */
static inline double ask_with(struct realm *realm, const char *op, struct muster_value *first,
                              struct muster_value *second, struct muster__port *take_port)
{
    struct muster_value *head = MUSTER__ARRAY(muster__tree_text("ask"), muster_value_new_number(++realm->asks),
                                              muster__tree_text(op));
    if (first)
        ck_assert_int_eq(muster_value_append(head, first), MUSTER_OK);
    if (second)
        ck_assert_int_eq(muster_value_append(head, second), MUSTER_OK);
    send(realm, head, NULL, take_port);
    return realm->asks;
}

static inline void tell_with(struct realm *realm, const char *op, struct muster_value *argument,
                             struct muster_value *data, struct muster__port *take_port)
{
    struct muster_value *head = MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text(op));
    if (argument)
        ck_assert_int_eq(muster_value_append(head, argument), MUSTER_OK);
    send(realm, head, data, take_port);
}

/* The answer to that ask, which is the next message; the caller destroys it. */
static inline struct muster__port_message *answer(struct realm *realm, double id, bool ok)
{
    struct muster__port_message *message = realm_take(realm);
    ck_assert_str_eq(text_at(message->head, 0), "answer");
    ck_assert(muster_value_number(muster_value_at(message->head, 1)) == id);
    ck_assert_msg(muster_value_boolean(muster_value_at(message->head, 2)) == ok, "%s: %s",
                  text_of(muster_value_at(message->head, 3), "name"),
                  text_of(muster_value_at(message->head, 3), "message"));
    return message;
}

static inline void answer_ok(struct realm *realm, double id)
{
    muster__port_message_destroy(answer(realm, id, true));
}

static inline void answer_fails(struct realm *realm, double id, const char *name)
{
    struct muster__port_message *message = answer(realm, id, false);
    ck_assert_str_eq(text_of(muster_value_at(message->head, 3), "name"), name);
    muster__port_message_destroy(message);
}

/* The next is told, by that op. */
static inline struct muster__port_message *told(struct realm *realm, const char *op)
{
    struct muster__port_message *message = realm_take(realm);
    ck_assert_str_eq(text_at(message->head, 0), "tell");
    ck_assert_str_eq(text_at(message->head, 1), op);
    return message;
}

/* Everything that was sent so far has been done. */
static inline void settle(struct realm *realm)
{
    answer_fails(realm, ask_with(realm, "no such op", NULL, NULL, NULL), "TypeError");
}

/* new SharedWorker(): the port, as a realm. */
static inline struct realm *construct(struct realm *realm, const char *url, struct muster_value *options,
                                      double *ret_id)
{
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    *ret_id = ask_with(realm, "shared.new", muster__tree_text(url), options ? options : muster_value_new_object(),
                       ends[1]);
    return realm_of_port(ends[0]);
}

static inline struct muster_value *named(const char *name)
{
    return MUSTER__OBJECT({"name", muster__tree_text(name)});
}

/* new Worker(): the outside port, as a realm. */
static inline struct realm *worker_new(struct realm *realm, const char *url, double *ret_id)
{
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    *ret_id = ask_with(realm, "worker.new", muster__tree_text(url), muster_value_new_object(), ends[1]);
    return realm_of_port(ends[0]);
}

/* The loop's number: on threads, in processes. */
static const enum muster_hosting homes[] = {MUSTER_HOSTING_THREAD, MUSTER_HOSTING_PROCESS};
enum { HOME_COUNT = sizeof homes / sizeof *homes };

static inline void live_in(int home)
{
    close_muster();
    open_muster(&(struct muster_options){
        .size = sizeof(struct muster_options), .threads = 2, .turn_limit_ms = 200, .hosting = homes[home]});
}

/* ---- a page with a script ---- */

/* A JavaScript client, as `muster run --type client` makes one; what it prints is kept. */
struct script {
    struct muster__worker *worker;
    struct muster__loader loader;
    struct counter lines, ends;
    char text[4096]; /* under the lock of `lines` */
    size_t length;
};

static inline void script_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    struct script *script = user_data;
    (void)level;
    pthread_mutex_lock(&script->lines.lock);
    ck_assert_uint_lt(script->length + length + 2, sizeof(script->text));
    memcpy(script->text + script->length, text, length);
    script->length += length;
    script->text[script->length++] = '\n';
    script->text[script->length] = '\0';
    script->lines.count++;
    pthread_cond_broadcast(&script->lines.changed);
    pthread_mutex_unlock(&script->lines.lock);
}

static inline void script_report(void *user_data, const struct muster_error *error)
{
    script_console(user_data, MUSTER_LOG_ERROR, error->message, strlen(error->message));
}

static inline void script_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    (void)user_data;
    ck_assert_msg(status == MUSTER_OK, "%s", error && error->message ? error->message : "");
}

static inline void script_gone(void *user_data, const struct muster__worker_report *report)
{
    (void)report;
    counter_add(&((struct script *)user_data)->ends, 1);
}

static inline void script_quiet(void *user_data)
{
    (void)user_data;
}

static inline enum muster_status script_dispatch(void *user_data, const char *scope, struct muster__request *request,
                                                 uint64_t keepalive_until_us)
{
    (void)user_data;
    return muster__dispatch_from_worker(muster, scope, request, keepalive_until_us);
}

static const struct muster__worker_listener script_listener = {.started = script_started,
                                                               .dispatch = script_dispatch,
                                                               .console = script_console,
                                                               .report = script_report,
                                                               .close_self = script_quiet,
                                                               .wedged = script_quiet,
                                                               .gone = script_gone};

static inline struct script *script_open(const char *url)
{
    struct script *script = calloc(1, sizeof(*script));
    struct muster__port *ends[2];
    struct muster_error error = {0};
    atomic_store(&javascript_was_used, true);
    struct counter *counters[] = {&script->lines, &script->ends};
    for (size_t i = 0; i < 2; i++) {
        pthread_mutex_init(&counters[i]->lock, NULL);
        pthread_cond_init(&counters[i]->changed, NULL);
    }
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    struct realm opening = {.far = ends[1],
                            .options = {.type = MUSTER__WORKER_CLIENT, .url = url, .frame_type = "top-level"}};
    open_context(&opening);
    script->loader.load = load;
    const struct muster__worker_options options = {
        .pool = muster->pool,
        .engine = muster__engine_find("javascript", &error),
        .loader = &script->loader,
        .type = MUSTER__WORKER_CLIENT,
        .script_url = url,
        .host_port = ends[0],
        .listener = &script_listener,
        .user_data = script,
    };
    ck_assert_msg(options.engine != NULL, "%s", error.message);
    ck_assert_int_eq(muster__worker_new(&options, &script->worker), MUSTER_OK);
    return script;
}

/* It has printed that, or will. */
static inline void script_says(struct script *script, const char *line)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&script->lines.lock);
    while (!strstr(script->text, line) && !late)
        late = pthread_cond_timedwait(&script->lines.changed, &script->lines.lock, &until);
    bool said = strstr(script->text, line);
    pthread_mutex_unlock(&script->lines.lock);
    ck_assert_msg(said, "no \"%s\" in \"%s\"", line, script->text);
}

static inline void script_close(struct script *script)
{
    muster__worker_cancel(script->worker);
    counter_await(&script->ends, 1);
    muster__worker_release(script->worker);
    free(script);
}

/* The process in which a worker lives whose script ends so; 0: a thread of this one. */
static inline pid_t process_of(const char *script)
{
    const struct muster_list_options options = {.size = sizeof(options), .running = true};
    struct muster_handle *handle = NULL;
    struct muster_result result;
    pid_t process = 0;
    ck_assert_int_eq(muster_list(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    const struct muster_value *workers = muster_value_get(result.value, "workers");
    for (size_t i = 0; i < muster_value_count(workers); i++) {
        const struct muster_value *worker = muster_value_at(workers, i);
        const struct muster_value *host = muster_value_get(worker, "host");
        if (strstr(text_of(worker, "script"), script) && strcmp(text_of(host, "kind"), "process") == 0)
            process = (pid_t)muster_value_number(muster_value_get(host, "pid"));
    }
    muster_handle_release(handle);
    return process;
}

/* ---- the embedder's calls ---- */

struct heard {
    struct counter messages, closes, controllers;
    char text[200];
    struct muster_port *port; /* the last that came */
};

static inline void heard_init(struct heard *heard)
{
    memset(heard, 0, sizeof(*heard));
    struct counter *all[] = {&heard->messages, &heard->closes, &heard->controllers};
    for (size_t i = 0; i < 3; i++) {
        pthread_mutex_init(&all[i]->lock, NULL);
        pthread_cond_init(&all[i]->changed, NULL);
    }
}

static inline void note(struct heard *heard, const struct muster_message *message)
{
    char *json = muster_value_to_json(message->value);
    snprintf(heard->text, sizeof(heard->text), "%s", json);
    free(json);
    heard->port = muster_message_take_port(message, 0);
    counter_add(&heard->messages, 1);
}

static inline void on_port_message(struct muster_port *port, const struct muster_message *message,
                                   void *user_data)
{
    (void)port;
    note(user_data, message);
}

static inline void on_port_close(struct muster_port *port, const struct muster_error *error, void *user_data)
{
    struct heard *heard = user_data;
    (void)port;
    (void)error;
    counter_add(&heard->closes, 1);
}

static inline void on_client_message(struct muster_client *client, const struct muster_message *message,
                                     void *user_data)
{
    (void)client;
    note(user_data, message);
}

static inline void on_controller(struct muster_client *client, void *user_data)
{
    (void)client;
    counter_add(&((struct heard *)user_data)->controllers, 1);
}

static inline void on_client_close(struct muster_client *client, void *user_data)
{
    (void)client;
    counter_add(&((struct heard *)user_data)->closes, 1);
}

static inline struct muster_client *client_open(const char *url, struct heard *heard)
{
    struct muster_client *client = NULL;
    const struct muster_client_options options = {.size = sizeof(options),
                                                  .url = url,
                                                  .on_message = on_client_message,
                                                  .on_controller = on_controller,
                                                  .on_close = on_client_close,
                                                  .user_data = heard};
    ck_assert_int_eq(muster_client_open(muster, &options, &client), MUSTER_OK);
    return client;
}

#endif
