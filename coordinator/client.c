/* coordinator/client.c - clients and ports of the embedder's: see client.h.
 *
 * Both are an *endpoint*: an end of a channel, and turns in which what came is handed to callbacks.  A turn is one of
 * the pool's, or one of the completion queue's; there is one at a time.  The lock of an endpoint guards its end; no
 * callback runs under it.  An endpoint that is open counts as an open handle of its instance, so that the instance
 * is not closed before the last callback, and is in a list, so that it can be closed with the instance. */
#include "coordinator/client.h"

#include "coordinator/clients.h"
#include "coordinator/context.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGES_A_TURN 64

struct endpoint {
    atomic_uint references; /* the embedder's, one while it is open, one while a turn of the queue's waits */
    struct muster *muster;
    pid_t process;
    const struct endpoint_class *class;
    struct muster__link link; /* of the instance's; under the worlds' lock */
    struct muster__actor actor;
    struct muster__completion completion;

    pthread_mutex_t lock;
    struct muster__port *port; /* NULL: closed */
    bool is_attached; /* there are callbacks */
    bool is_left;     /* the instance does not wait for it any more */
    struct muster_error error; /* why it never came about */

    bool is_told; /* the turn's */
};

struct endpoint_class {
    void (*came)(struct endpoint *endpoint, struct muster__port_message *message);
    void (*closed)(struct endpoint *endpoint);
    void (*destroy)(struct endpoint *endpoint);
};

struct muster_port {
    struct endpoint endpoint;
    muster_port_message_fn *on_message;
    muster_port_close_fn *on_close;
    void *user_data;
};

struct connect {
    struct connect *next;
    uint64_t ask;
    struct muster_port *port; /* a reference */
};

struct muster_client {
    struct endpoint endpoint;
    struct muster_client_options options; /* the callbacks */
    char id[MUSTER__CLIENT_ID_LENGTH + 1];
    struct muster__context *context; /* until it was opened */
    struct muster__port *far;        /* the coordinator's end, until then */
    struct muster__message open_message;

    /* Under the endpoint's lock. */
    uint64_t controller;
    char *controller_scope;
    uint64_t asks;
    struct connect *connects; /* not answered yet */
};

/* ---- endpoints ---- */

static void acquire(struct endpoint *endpoint)
{
    atomic_fetch_add_explicit(&endpoint->references, 1, memory_order_relaxed);
}

static void release(struct endpoint *endpoint)
{
    if (atomic_fetch_sub_explicit(&endpoint->references, 1, memory_order_acq_rel) != 1)
        return;
    MUSTER_CHECK(!endpoint->port);
    muster_error_clean_up(&endpoint->error);
    pthread_mutex_destroy(&endpoint->lock);
    endpoint->class->destroy(endpoint);
}

static void schedule(struct endpoint *endpoint)
{
    struct muster *muster = endpoint->muster;
    if (muster->options.delivery != MUSTER_DELIVER_ON_QUEUE)
        muster__pool_schedule(muster->pool, &endpoint->actor);
    else
        muster__completion_queue(muster, &endpoint->completion);
}

static void port_ready(struct muster__port *port, void *owner)
{
    (void)port;
    schedule(owner);
}

static const struct muster__port_owner_class port_owner = {.ready = port_ready};

/* The instance need not wait for it any more.  On a queue it never waits for the callback, which may never be run. */
static void leave(struct endpoint *endpoint)
{
    struct muster *muster = endpoint->muster;
    pthread_mutex_lock(&endpoint->lock);
    bool was_left = endpoint->is_left;
    endpoint->is_left = true;
    pthread_mutex_unlock(&endpoint->lock);
    if (was_left)
        return;
    pthread_mutex_lock(&muster->endpoints.lock);
    muster__link_remove(&endpoint->link);
    pthread_mutex_unlock(&muster->endpoints.lock);
    release(endpoint);
    muster__handle_settled(muster);
}

static bool is_queued(const struct endpoint *endpoint)
{
    return endpoint->muster->options.delivery == MUSTER_DELIVER_ON_QUEUE;
}

/* The end leaves the endpoint, with its reference; the turn that tells so follows, now or when there are callbacks.
 * NULL: it is closed. */
static struct muster__port *take_end(struct endpoint *endpoint, const struct muster_error *error)
{
    pthread_mutex_lock(&endpoint->lock);
    struct muster__port *port = endpoint->port;
    endpoint->port = NULL;
    if (port && endpoint->is_attached)
        muster__port_detach(port); /* `ready` takes no lock of ours */
    if (port && error)
        muster_error_copy(&endpoint->error, error);
    bool turns = port && endpoint->is_attached;
    if (turns)
        schedule(endpoint);
    pthread_mutex_unlock(&endpoint->lock);
    if (turns && is_queued(endpoint))
        leave(endpoint);
    return port;
}

/* Without callbacks there is nobody to tell, nor will be. */
static void give_up(struct endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    bool attached = endpoint->is_attached;
    pthread_mutex_unlock(&endpoint->lock);
    if (!attached)
        leave(endpoint);
}

static void shut(struct endpoint *endpoint, const struct muster_error *error)
{
    struct muster__port *port = take_end(endpoint, error);
    if (port)
        muster__port_close(port);
    muster__port_release(port);
}

static void tell_closed(struct endpoint *endpoint)
{
    endpoint->is_told = true;
    endpoint->class->closed(endpoint);
    if (!is_queued(endpoint))
        leave(endpoint);
}

/* NULL: nothing waits now, or it is closed. */
static struct muster__port_message *take(struct endpoint *endpoint, bool *ret_closed)
{
    pthread_mutex_lock(&endpoint->lock);
    struct muster__port_message *message = endpoint->port ? muster__port_take(endpoint->port) : NULL;
    bool over = !message && endpoint->port && muster__port_is_closed(endpoint->port);
    *ret_closed = !endpoint->port || over;
    pthread_mutex_unlock(&endpoint->lock);
    if (over)
        shut(endpoint, NULL);
    return message;
}

/* True: there may be more. */
static bool turn(struct endpoint *endpoint)
{
    for (int count = 0; count < MESSAGES_A_TURN; count++) {
        bool closed;
        struct muster__port_message *message = take(endpoint, &closed);
        if (!message) {
            if (closed && !endpoint->is_told)
                tell_closed(endpoint);
            return false;
        }
        endpoint->class->came(endpoint, message);
        muster__port_message_destroy(message);
    }
    return true;
}

static bool actor_turn(struct muster__actor *actor)
{
    return turn(MUSTER_CONTAINER_OF(actor, struct endpoint, actor));
}

static void actor_acquire(struct muster__actor *actor)
{
    acquire(MUSTER_CONTAINER_OF(actor, struct endpoint, actor));
}

static void actor_release(struct muster__actor *actor)
{
    release(MUSTER_CONTAINER_OF(actor, struct endpoint, actor));
}

static void run_completion(struct muster__completion *completion, bool wanted)
{
    struct endpoint *endpoint = MUSTER_CONTAINER_OF(completion, struct endpoint, completion);
    if (wanted && turn(endpoint))
        schedule(endpoint);
    release(endpoint); /* the queue's */
}

static void acquire_completion(struct muster__completion *completion)
{
    acquire(MUSTER_CONTAINER_OF(completion, struct endpoint, completion));
}

static void init(struct endpoint *endpoint, const struct endpoint_class *class, struct muster *muster,
                 struct muster__port *take_port)
{
    atomic_init(&endpoint->references, 1); /* the embedder's */
    endpoint->muster = muster;
    endpoint->process = muster->process;
    endpoint->class = class;
    endpoint->port = take_port;
    pthread_mutex_init(&endpoint->lock, NULL);
    muster__actor_init(&endpoint->actor, actor_turn);
    endpoint->actor.acquire = actor_acquire;
    endpoint->actor.release = actor_release;
    endpoint->completion.run = run_completion;
    endpoint->completion.acquire = acquire_completion;
    muster__link_init(&endpoint->link);
}

/* From here on it is closed with the instance.  SHUTDOWN: that is closing; the caller frees. */
static enum muster_status enlist(struct endpoint *endpoint)
{
    struct muster *muster = endpoint->muster;
    pthread_mutex_lock(&muster->endpoints.lock);
    bool closing = muster->endpoints.closing;
    if (!closing) {
        acquire(endpoint);
        atomic_fetch_add(&muster->open_handles, 1);
        muster__link_append(&muster->endpoints.list, &endpoint->link);
    }
    pthread_mutex_unlock(&muster->endpoints.lock);
    return closing ? MUSTER_SHUTDOWN : MUSTER_OK;
}

static void attach(struct endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    bool begins = !endpoint->is_attached && !endpoint->is_left, late = begins && !endpoint->port;
    endpoint->is_attached = endpoint->is_attached || begins;
    if (late)
        schedule(endpoint);
    else if (begins)
        muster__port_attach(endpoint->port, &port_owner, endpoint);
    pthread_mutex_unlock(&endpoint->lock);
    if (late && is_queued(endpoint))
        leave(endpoint);
}

/* Takes the message.  CLOSED. */
static enum muster_status post(struct endpoint *endpoint, struct muster__port_message *take_message)
{
    pthread_mutex_lock(&endpoint->lock);
    struct muster__port *port = endpoint->port ? muster__port_acquire(endpoint->port) : NULL;
    pthread_mutex_unlock(&endpoint->lock);
    if (!port) {
        muster__port_message_destroy(take_message);
        return MUSTER_CLOSED;
    }
    muster__port_post(port, take_message);
    muster__port_release(port);
    return MUSTER_OK;
}

static enum muster_status check(const struct endpoint *endpoint)
{
    if (!endpoint)
        return MUSTER_INVALID_ARGUMENT;
    return endpoint->process == getpid() ? MUSTER_OK : MUSTER_FORKED;
}

void muster__endpoints_init(struct muster *muster)
{
    pthread_mutex_init(&muster->endpoints.lock, NULL);
    muster->endpoints.list.next = muster->endpoints.list.previous = &muster->endpoints.list;
}

void muster__endpoints_close(struct muster *muster)
{
    for (;;) {
        pthread_mutex_lock(&muster->endpoints.lock);
        muster->endpoints.closing = true;
        struct muster__link *list = &muster->endpoints.list;
        struct endpoint *endpoint =
            muster__link_is_empty(list) ? NULL : MUSTER_CONTAINER_OF(list->next, struct endpoint, link);
        if (endpoint) {
            muster__link_remove(&endpoint->link);
            acquire(endpoint);
        }
        pthread_mutex_unlock(&muster->endpoints.lock);
        if (!endpoint)
            return;
        shut(endpoint, NULL);
        give_up(endpoint);
        release(endpoint);
    }
}

/* ---- ports ---- */

static void run_message(struct endpoint *endpoint, struct muster__port_message *from,
                        void (*run)(struct endpoint *endpoint, const struct muster_message *message));

static void port_run(struct endpoint *endpoint, const struct muster_message *message)
{
    struct muster_port *port = MUSTER_CONTAINER_OF(endpoint, struct muster_port, endpoint);
    port->on_message(port, message, port->user_data);
}

static void port_came(struct endpoint *endpoint, struct muster__port_message *message)
{
    if (MUSTER_CONTAINER_OF(endpoint, struct muster_port, endpoint)->on_message)
        run_message(endpoint, message, port_run);
}

static void port_closed(struct endpoint *endpoint)
{
    struct muster_port *port = MUSTER_CONTAINER_OF(endpoint, struct muster_port, endpoint);
    if (port->on_close)
        port->on_close(port, endpoint->error.message ? &endpoint->error : NULL, port->user_data);
}

static void port_destroy(struct endpoint *endpoint)
{
    free(MUSTER_CONTAINER_OF(endpoint, struct muster_port, endpoint));
}

static const struct endpoint_class port_class = {port_came, port_closed, port_destroy};

/* Takes the end in any case.  NULL: out of memory, or the instance closes. */
static struct muster_port *new_port(struct muster *muster, struct muster__port *take_end_of_it)
{
    struct muster_port *port = calloc(1, sizeof(*port));
    if (!port) {
        muster__port_release(take_end_of_it);
        return NULL;
    }
    init(&port->endpoint, &port_class, muster, take_end_of_it);
    if (enlist(&port->endpoint) == MUSTER_OK)
        return port;
    muster__port_release(port->endpoint.port);
    port->endpoint.port = NULL;
    release(&port->endpoint);
    return NULL;
}

/* What `run` does not take of the ports is closed. */
static void run_message(struct endpoint *endpoint, struct muster__port_message *from,
                        void (*run)(struct endpoint *endpoint, const struct muster_message *message))
{
    struct muster_message message = {.value = from->data, .port_count = from->port_count};
    struct muster_port **ports = from->port_count ? calloc(from->port_count, sizeof(*ports)) : NULL;
    if (from->port_count && !ports)
        message.port_count = 0; /* their other ends see that nobody has them */
    for (size_t i = 0; i < message.port_count; i++) {
        ports[i] = from->ports[i] ? new_port(endpoint->muster, from->ports[i]) : NULL;
        from->ports[i] = NULL;
    }
    message.ports = ports;
    run(endpoint, &message);
    for (size_t i = 0; i < message.port_count; i++)
        muster_port_close(ports[i]);
    free(ports);
}

struct muster_port *muster_message_take_port(const struct muster_message *message, size_t i)
{
    struct muster_port *port = message && i < message->port_count ? message->ports[i] : NULL;
    if (port)
        message->ports[i] = NULL;
    return port;
}

enum muster_status muster_port_pair(struct muster *muster, struct muster_port *ret_ports[2])
{
    struct muster__port *ends[2];
    enum muster_status status = muster__check_usable(muster);
    if (status == MUSTER_OK && !ret_ports)
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK && atomic_load(&muster->closing))
        status = MUSTER_SHUTDOWN;
    if (status == MUSTER_OK)
        status = muster__port_pair(ends);
    if (status != MUSTER_OK)
        return status;
    struct muster_port *ports[2] = {new_port(muster, ends[0]), new_port(muster, ends[1])};
    if (!ports[0] || !ports[1]) {
        muster_port_close(ports[0]);
        muster_port_close(ports[1]);
        return atomic_load(&muster->closing) ? MUSTER_SHUTDOWN : MUSTER_NO_MEMORY;
    }
    ret_ports[0] = ports[0];
    ret_ports[1] = ports[1];
    return MUSTER_OK;
}

void muster_port_set_handler(struct muster_port *port, muster_port_message_fn *on_message,
                             muster_port_close_fn *on_close, void *user_data)
{
    if (!port || check(&port->endpoint) != MUSTER_OK || port->endpoint.is_attached)
        return;
    port->on_message = on_message;
    port->on_close = on_close;
    port->user_data = user_data;
    attach(&port->endpoint);
}

static bool is_open(struct endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    bool open = endpoint->port != NULL;
    pthread_mutex_unlock(&endpoint->lock);
    return open;
}

static bool may_go(const struct endpoint *through, struct muster_port *const *ports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!ports[i] || &ports[i]->endpoint == through || !is_open(&ports[i]->endpoint))
            return false;
        for (size_t other = 0; other < i; other++)
            if (ports[i] == ports[other])
                return false;
    }
    return true;
}

/* Posts head, value and ports, all of which are taken, the ports on OK. */
/* OK, CLOSED, or QUEUE_FULL. */
static enum muster_status room_in(struct endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    struct muster__port *port = endpoint->port;
    enum muster_status status = !port                                                  ? MUSTER_CLOSED
                                : muster__port_backlog(port).bytes < MUSTER__PORT_FULL ? MUSTER_OK
                                                                                       : MUSTER_QUEUE_FULL;
    pthread_mutex_unlock(&endpoint->lock);
    return status;
}

static enum muster_status send(struct endpoint *endpoint, struct muster_value *take_head,
                               struct muster_value *take_value, struct muster_port *const *take_ports,
                               size_t port_count)
{
    enum muster_status status = check(endpoint);
    if (status == MUSTER_OK && port_count && (!take_ports || !may_go(endpoint, take_ports, port_count)))
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK)
        status = room_in(endpoint);
    if (status != MUSTER_OK) {
        muster_value_release(take_head);
        muster_value_release(take_value);
        return status;
    }
    struct muster__port_message *message = muster__port_message_new(take_head, take_value, port_count);
    if (!message)
        return MUSTER_NO_MEMORY;
    for (size_t i = 0; i < port_count; i++) {
        message->ports[i] = take_end(&take_ports[i]->endpoint, NULL);
        give_up(&take_ports[i]->endpoint);
        release(&take_ports[i]->endpoint);
    }
    return post(endpoint, message);
}

enum muster_status muster_port_post(struct muster_port *port, struct muster_value *take_value,
                                    struct muster_port *const *take_ports, size_t port_count)
{
    return send(port ? &port->endpoint : NULL, NULL, take_value, take_ports, port_count);
}

void muster_port_close(struct muster_port *take_port)
{
    if (!take_port || check(&take_port->endpoint) != MUSTER_OK)
        return;
    shut(&take_port->endpoint, NULL);
    give_up(&take_port->endpoint);
    release(&take_port->endpoint);
}

/* ---- clients: what comes ---- */

static struct muster_client *of_endpoint(struct endpoint *endpoint)
{
    return MUSTER_CONTAINER_OF(endpoint, struct muster_client, endpoint);
}

static void client_run(struct endpoint *endpoint, const struct muster_message *message)
{
    struct muster_client *client = of_endpoint(endpoint);
    client->options.on_message(client, message, client->options.user_data);
}

/* True: it is another than before. */
static bool note_controller(struct muster_client *client, const struct muster_value *version)
{
    uint64_t id = muster__number_of(muster_value_get(version, "id"));
    char *scope = muster__strdup(muster__text_of(muster_value_get(version, "scope")));
    pthread_mutex_lock(&client->endpoint.lock);
    bool changed = client->controller != id;
    client->controller = id;
    free(client->controller_scope);
    client->controller_scope = scope;
    pthread_mutex_unlock(&client->endpoint.lock);
    return changed;
}

/* ["answer", id, ok, value]: only to muster_shared_worker_connect() */
static void take_answer(struct muster_client *client, const struct muster_value *head)
{
    const struct muster_value *value = muster_value_at(head, 3);
    uint64_t id = muster__number_of(muster_value_at(head, 1));
    pthread_mutex_lock(&client->endpoint.lock);
    struct connect **at = &client->connects;
    while (*at && (*at)->ask != id)
        at = &(*at)->next;
    struct connect *connect = *at;
    if (connect)
        *at = connect->next;
    pthread_mutex_unlock(&client->endpoint.lock);
    if (!connect)
        return;
    if (!muster_value_boolean(muster_value_at(head, 2))) {
        struct muster_error error = {0};
        const char *name = muster__text_of(muster_value_get(value, "name"));
        const char *message = muster__text_of(muster_value_get(value, "message"));
        muster_error_set(&error, MUSTER_SCRIPT_ERROR, "%s", message ? message : "the shared worker did not start");
        error.name = muster__strdup(name);
        shut(&connect->port->endpoint, &error);
        muster_error_clean_up(&error);
    }
    release(&connect->port->endpoint);
    free(connect);
}

static void take_tell(struct muster_client *client, struct muster__port_message *message)
{
    const char *op = muster__text_of(muster_value_at(message->head, 1));
    const struct muster_value *what = muster_value_at(message->head, 2);
    if (!op)
        return;
    if (strcmp(op, "message") == 0 && client->options.on_message) {
        run_message(&client->endpoint, message, client_run);
    } else if (strcmp(op, "controller") == 0 || strcmp(op, "environment") == 0) {
        const struct muster_value *version = *op == 'e' ? muster_value_get(what, "controller") : what;
        if (note_controller(client, version) && client->options.on_controller)
            client->options.on_controller(client, client->options.user_data);
    }
}

static void client_came(struct endpoint *endpoint, struct muster__port_message *message)
{
    const char *kind = muster__text_of(muster_value_at(message->head, 0));
    if (kind && strcmp(kind, "answer") == 0)
        take_answer(of_endpoint(endpoint), message->head);
    else if (kind && strcmp(kind, "tell") == 0)
        take_tell(of_endpoint(endpoint), message);
}

static void client_closed(struct endpoint *endpoint)
{
    struct muster_client *client = of_endpoint(endpoint);
    if (client->options.on_close)
        client->options.on_close(client, client->options.user_data);
}

static void client_destroy(struct endpoint *endpoint)
{
    struct muster_client *client = of_endpoint(endpoint);
    while (client->connects) {
        struct connect *connect = client->connects;
        client->connects = connect->next;
        release(&connect->port->endpoint);
        free(connect);
    }
    muster__port_release(client->far);
    muster__context_release(client->context);
    free(client->controller_scope);
    free(client);
}

static const struct endpoint_class client_class = {client_came, client_closed, client_destroy};

/* ---- clients: opening ---- */

/* With a reference to the client. */
static void run_open(struct muster__message *message, struct muster *muster)
{
    struct muster_client *client = MUSTER_CONTAINER_OF(message, struct muster_client, open_message);
    (void)muster;
    if (muster__context_open(client->context, &client->far) != MUSTER_OK)
        shut(&client->endpoint, NULL);
    muster__context_release(client->context);
    client->context = NULL;
    release(&client->endpoint);
}

static bool read_options(const struct muster_client_options *options, struct muster_client_options *ret_full)
{
    if (!options || options->size < sizeof(options->size) || options->size > sizeof(*options))
        return false;
    *ret_full = (struct muster_client_options){.size = sizeof(*ret_full)};
    memcpy(ret_full, options, options->size);
    return ret_full->url && strstr(ret_full->url, "://") && (unsigned)ret_full->type <= MUSTER_CLIENT_SHARED_WORKER;
}

static struct muster__context *new_context(struct muster *muster, const struct muster_client_options *options,
                                           const char *id)
{
    static const enum muster__worker_type types[] = {
        [MUSTER_CLIENT_WINDOW] = MUSTER__WORKER_CLIENT,
        [MUSTER_CLIENT_WORKER] = MUSTER__WORKER_DEDICATED,
        [MUSTER_CLIENT_SHARED_WORKER] = MUSTER__WORKER_SHARED,
    };
    const struct muster__context_options context = {
        .type = types[options->type],
        .url = options->url,
        .storage_key = options->storage_key,
        .client_id = id,
        .frame_type = options->type == MUSTER_CLIENT_WINDOW ? "top-level" : "none",
        .is_embedder = true,
    };
    return muster__context_new(muster, &context);
}

/* What the coordinator is about to say, so that who opens a client can post to its controller at once. */
static void foresee_controller(struct muster_client *client, const char *url)
{
    struct muster *muster = client->endpoint.muster;
    struct muster__version *version = NULL;
    if (muster__match(muster, (struct muster_bytes){url, strlen(url)}, &version, NULL) == MUSTER_OK &&
        muster__version_controls(version)) {
        client->controller = version->id;
        client->controller_scope = muster__strdup(version->scope);
    }
    muster__version_release(version);
}

enum muster_status muster_client_open(struct muster *muster, const struct muster_client_options *options,
                                      struct muster_client **ret_client)
{
    struct muster_client_options full;
    struct muster__port *ends[2];
    enum muster_status status = muster__check_usable(muster);
    if (status == MUSTER_OK && (!ret_client || !read_options(options, &full)))
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK && atomic_load(&muster->closing))
        status = MUSTER_SHUTDOWN;
    struct muster_client *client = status == MUSTER_OK ? calloc(1, sizeof(*client)) : NULL;
    if (status == MUSTER_OK && !client)
        status = MUSTER_NO_MEMORY;
    if (status == MUSTER_OK && !muster__client_make_id(client->id))
        status = MUSTER_SYSTEM;
    if (status == MUSTER_OK)
        status = muster__port_pair(ends);
    if (status != MUSTER_OK) {
        free(client);
        return status;
    }
    client->options = full;
    client->options.url = client->options.storage_key = NULL; /* the context's */
    client->far = ends[1];
    client->open_message.run = run_open;
    init(&client->endpoint, &client_class, muster, ends[0]);
    client->context = new_context(muster, &full, client->id);
    foresee_controller(client, full.url);
    status = client->context ? enlist(&client->endpoint) : MUSTER_NO_MEMORY;
    if (status != MUSTER_OK) {
        muster__port_release(client->endpoint.port);
        client->endpoint.port = NULL;
        release(&client->endpoint);
        return status;
    }
    acquire(&client->endpoint); /* the message's */
    attach(&client->endpoint);
    (void)muster__coordinator_post(muster, &client->open_message);
    *ret_client = client;
    return MUSTER_OK;
}

const char *muster_client_id(const struct muster_client *client)
{
    return client ? client->id : NULL;
}

uint64_t muster_client_controller(struct muster_client *client, char *scope, size_t size)
{
    if (check(client ? &client->endpoint : NULL) != MUSTER_OK)
        return 0;
    pthread_mutex_lock(&client->endpoint.lock);
    uint64_t id = client->controller;
    const char *text = client->controller_scope ? client->controller_scope : "";
    size_t length = strlen(text);
    if (size) {
        size_t copied = length < size ? length : size - 1;
        memcpy(scope, text, copied);
        scope[copied] = '\0';
    }
    pthread_mutex_unlock(&client->endpoint.lock);
    return id;
}

enum muster_status muster_client_post_to_worker(struct muster_client *client, struct muster_value *take_value,
                                                struct muster_port *const *take_ports, size_t port_count)
{
    uint64_t id = muster_client_controller(client, NULL, 0);
    struct muster_value *head = id ? MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("version.post"),
                                                   muster_value_new_number((double)id))
                                   : NULL;
    enum muster_status status = check(client ? &client->endpoint : NULL);
    if (status == MUSTER_OK && !id)
        status = is_open(&client->endpoint) ? MUSTER_NOT_FOUND : MUSTER_CLOSED;
    else if (status == MUSTER_OK && !head)
        status = MUSTER_NO_MEMORY;
    if (status == MUSTER_OK)
        return send(&client->endpoint, head, take_value, take_ports, port_count);
    muster_value_release(head);
    muster_value_release(take_value);
    return status;
}

void muster_client_close(struct muster_client *take_client)
{
    if (!take_client || check(&take_client->endpoint) != MUSTER_OK)
        return;
    shut(&take_client->endpoint, NULL);
    release(&take_client->endpoint);
}

/* ---- shared workers ---- */

static struct muster_value *connect_head(uint64_t ask, const struct muster_shared_worker_options *options)
{
    return MUSTER__ARRAY(
        muster__tree_text("ask"), muster_value_new_number((double)ask), muster__tree_text("shared.new"),
        muster__tree_text(options->url),
        MUSTER__OBJECT({"name", muster__tree_text(options->name ? options->name : "")},
                       {"type", muster__tree_text(options->module ? "module" : "classic")},
                       {"credentials",
                        muster__tree_text(options->credentials ? options->credentials : "same-origin")},
                       {"extendedLifetime", muster_value_new_boolean(options->extended_lifetime)}));
}

/* Puts the question on record and asks it.  Takes a reference of the port's. */
static enum muster_status ask_for(struct muster_client *client, const struct muster_shared_worker_options *options,
                                  struct muster_port *port, struct muster__port *take_far)
{
    struct connect *connect = calloc(1, sizeof(*connect));
    pthread_mutex_lock(&client->endpoint.lock);
    uint64_t ask = ++client->asks;
    struct muster_value *head = connect ? connect_head(ask, options) : NULL;
    struct muster__port_message *message = head ? muster__port_message_new(head, NULL, 1) : NULL;
    if (message) {
        message->ports[0] = take_far;
        acquire(&port->endpoint);
        *connect = (struct connect){client->connects, ask, port};
        client->connects = connect;
    }
    pthread_mutex_unlock(&client->endpoint.lock);
    if (message)
        return post(&client->endpoint, message);
    muster__port_release(take_far);
    free(connect);
    return MUSTER_NO_MEMORY;
}

enum muster_status muster_shared_worker_connect(struct muster_client *client,
                                                const struct muster_shared_worker_options *options,
                                                struct muster_port **ret_port)
{
    struct muster_shared_worker_options full = {.size = sizeof(full)};
    struct muster__port *ends[2];
    enum muster_status status = check(client ? &client->endpoint : NULL);
    if (status == MUSTER_OK && (!ret_port || !options || options->size < sizeof(options->size) ||
                                options->size > sizeof(full)))
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK)
        memcpy(&full, options, options->size);
    if (status == MUSTER_OK && !full.url)
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK && (!is_open(&client->endpoint) || atomic_load(&client->endpoint.muster->closing)))
        status = MUSTER_CLOSED;
    if (status == MUSTER_OK)
        status = muster__port_pair(ends);
    if (status != MUSTER_OK)
        return status;
    struct muster_port *port = new_port(client->endpoint.muster, ends[0]);
    if (!port) {
        muster__port_release(ends[1]);
        return MUSTER_NO_MEMORY;
    }
    status = ask_for(client, &full, port, ends[1]);
    if (status == MUSTER_OK)
        *ret_port = port;
    else
        muster_port_close(port);
    return status;
}
