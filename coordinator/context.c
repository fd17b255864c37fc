/* coordinator/context.c - contexts: how their messages come in, how they are answered, how they end.
 *
 * `ready` of a port only posts the context to the coordinator's inbox; a round takes so many messages of each
 * context, and one that has more waits behind the others.  An answer that cannot be made, because memory ran
 * out, closes the context: nobody waits for ever. */
#include "coordinator/context.h"

#include "coordinator/broadcast.h"
#include "coordinator/caches.h"
#include "coordinator/clients.h"
#include "coordinator/context_worker.h"
#include "coordinator/registrations.h"
#include "coordinator/shared_workers.h"
#include "runtime/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MESSAGES_A_ROUND 64
#define TEXT_LENGTH_MAX ((size_t)64 << 10)
/* A context that does not take what it is told is told no more than this. */
#define BACKLOG_MESSAGES ((size_t)64 << 10)
#define BACKLOG_BYTES ((size_t)256 << 20)

/* ---- things by their name ---- */

static uint64_t hash_name(uint64_t seed, const char *name)
{
    uint64_t hash = muster__hash_text(seed, name);
    return hash ^ hash >> 32; /* the map looks at the low bits */
}

static struct muster__named *of_node(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct muster__named, node) : NULL;
}

void muster__name_map_add(struct muster__worlds *worlds, struct muster__name_map *map, struct muster__named *named)
{
    named->node.id = hash_name(worlds->seed, named->name);
    struct muster__named *first = of_node(muster__id_map_find(&map->map, named->node.id));
    named->same = first ? first->same : NULL;
    if (first)
        first->same = named;
    else
        muster__id_map_add(&map->map, &named->node);
}

struct muster__named *muster__name_map_find(struct muster__worlds *worlds, const struct muster__name_map *map,
                                            const char *name)
{
    struct muster__named *named = of_node(muster__id_map_find(&map->map, hash_name(worlds->seed, name)));
    while (named && strcmp(named->name, name) != 0)
        named = named->same;
    return named;
}

void muster__name_map_remove(struct muster__name_map *map, struct muster__named *named)
{
    struct muster__named *first = of_node(muster__id_map_find(&map->map, named->node.id));
    if (first != named) {
        while (first->same != named)
            first = first->same;
        first->same = named->same;
        return;
    }
    (void)muster__id_map_remove(&map->map, named->node.id);
    if (named->same)
        muster__id_map_add(&map->map, &named->same->node);
}

/* ---- all of them ---- */

enum muster_status muster__worlds_new(struct muster *muster)
{
    struct muster__worlds *worlds = calloc(1, sizeof(*worlds));
    if (!worlds)
        return MUSTER_NO_MEMORY;
    if (getrandom(&worlds->seed, sizeof(worlds->seed), GRND_NONBLOCK) != sizeof(worlds->seed))
        worlds->seed = muster__now_us();
    muster__link_init(&worlds->contexts);
    muster__link_init(&worlds->clients);
    muster__link_init(&worlds->lingering);
    muster__link_init(&worlds->cache_jobs);
    worlds->registrations = muster__registrations_new();
    if (!worlds->registrations) {
        free(worlds);
        return MUSTER_NO_MEMORY;
    }
    muster->worlds = worlds;
    return MUSTER_OK;
}

static void run_mail(struct muster__message *message, struct muster *muster);

void muster__worlds_destroy(struct muster *muster, struct muster__message *left)
{
    struct muster__worlds *worlds = muster->worlds;
    if (!worlds)
        return;
    while (!muster__link_is_empty(&worlds->contexts))
        muster__context_close(MUSTER_CONTAINER_OF(worlds->contexts.next, struct muster__context, link));
    while (left) {
        struct muster__message *message = left;
        left = message->next;
        if (message->run == run_mail)
            muster__context_release(MUSTER_CONTAINER_OF(message, struct muster__context, mail));
        else if (!muster__client_fetch_drop(message))
            muster__load_drop_message(message);
    }
    muster__registrations_destroy(worlds->registrations);
    muster__id_map_clean_up(&worlds->clients_by_id);
    muster__id_map_clean_up(&worlds->shared.map);
    muster__id_map_clean_up(&worlds->tenants.map);
    muster__port_accounts_clean_up(&worlds->port_accounts);
    muster__id_map_clean_up(&worlds->channels.map);
    muster__caches_clean_up(worlds);
    muster__id_map_clean_up(&worlds->caches.map);
    free(worlds);
    muster->worlds = NULL;
}

uint64_t muster__worlds_deadline(const struct muster *muster)
{
    uint64_t shared_us = muster__shared_workers_deadline(muster), updates_us = muster__registrations_deadline(muster);
    return shared_us < updates_us ? shared_us : updates_us;
}

void muster__worlds_tick(struct muster *muster, uint64_t now_us)
{
    muster__shared_workers_tick(muster, now_us);
    muster__registrations_tick(muster, now_us);
}

void muster__worlds_closing(struct muster *muster)
{
    muster__shared_workers_tick(muster, UINT64_MAX);
    muster__registrations_closing(muster);
}

/* ---- life ---- */

struct muster__context *muster__context_acquire(struct muster__context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void muster__context_release(struct muster__context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    MUSTER_CHECK(!context->port);
    muster__client_destroy(context->client);
    muster__version_release(context->version);
    muster__version_release(context->inherited);
    free(context->url);
    free(context->origin);
    free(context->storage_key);
    free(context->place);
    free(context->name);
    free(context);
}

struct muster__context *muster__context_new(struct muster *muster, const struct muster__context_options *options)
{
    struct muster__context *context = calloc(1, sizeof(*context));
    if (!context)
        return NULL;
    atomic_init(&context->references, 1);
    context->muster = muster;
    context->type = options->type;
    context->instance = options->instance;
    context->is_embedder = options->is_embedder;
    context->mail.run = run_mail;
    muster__link_init(&context->link);
    muster__link_init(&context->pendings);
    muster__link_init(&context->holds);
    muster__link_init(&context->channels);
    muster__link_init(&context->caches);
    if (options->version)
        context->version = muster__version_acquire(options->version);
    if (options->controller && muster__inherits_controller(options->url))
        context->inherited = muster__version_acquire(options->controller);
    context->url = muster__strdup(options->url);
    context->place = muster__strdup(
        options->place && muster__inherits_controller(options->url) ? options->place : options->url);
    context->origin = options->origin                 ? muster__strdup(options->origin)
                      : muster__is_opaque(options->url) ? muster__strdup("null")
                                                        : muster__origin_of(options->url);
    context->storage_key =
        options->storage_key ? muster__strdup(options->storage_key) : muster__origin_of(options->url);
    context->name = muster__strdup(options->name ? options->name : "");
    bool is_client = options->type != MUSTER__WORKER_SERVICE;
    if (is_client)
        context->client = muster__client_new(context, options->client_id, options->frame_type);
    if (!context->url || !context->place || !context->origin || !context->storage_key || !context->name ||
        (is_client && !context->client)) {
        muster__context_release(context);
        return NULL;
    }
    return context;
}

static void post_mail(struct muster__context *context)
{
    muster__context_acquire(context); /* the message's; one that waits already has its own */
    if (!muster__coordinator_post_soon(context->muster, &context->mail))
        muster__context_release(context);
}

static void port_ready(struct muster__port *port, void *owner)
{
    (void)port;
    post_mail(owner);
}

static const struct muster__port_owner_class port_owner = {.ready = port_ready};

enum muster_status muster__context_open(struct muster__context *context, struct muster__port **take_port)
{
    struct muster__worlds *worlds = context->muster->worlds;
    MUSTER_CHECK(!context->port && !context->id);
    muster__context_acquire(context); /* its own */
    context->id = ++worlds->next_id;
    context->port = *take_port;
    *take_port = NULL;
    muster__link_append(&worlds->contexts, &context->link);
    if (context->client)
        muster__client_open(context->client);
    struct muster_value *environment = muster__tree_environment(context);
    struct muster_value *head =
        MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("environment"), environment);
    if (!head) {
        muster__context_close(context);
        return MUSTER_NO_MEMORY;
    }
    muster__context_tell(context, head, NULL);
    muster__port_attach(context->port, &port_owner, context);
    return MUSTER_OK;
}

void muster__context_close(struct muster__context *context)
{
    if (!context->port)
        return;
    struct muster__port *port = context->port;
    context->port = NULL;
    muster__link_remove(&context->link);
    muster__port_close(port);
    muster__port_release(port);
    while (!muster__link_is_empty(&context->pendings)) {
        struct muster__pending *pending =
            MUSTER_CONTAINER_OF(context->pendings.next, struct muster__pending, link);
        muster__link_remove(&pending->link);
        pending->context = NULL;
    }
    muster__broadcast_let_go(context);
    muster__caches_let_go(context);
    muster__context_workers_let_go(context);
    if (context->client)
        muster__client_close(context->client);
    muster__context_release(context);
}

/* ---- what comes in ---- */

static void run_mail(struct muster__message *message, struct muster *muster)
{
    struct muster__context *context = MUSTER_CONTAINER_OF(message, struct muster__context, mail);
    int count = 0;
    (void)muster;
    if (context->is_broken)
        muster__context_close(context);
    for (; context->port && count < MESSAGES_A_ROUND; count++) {
        struct muster__port_message *mail = muster__port_take(context->port);
        if (!mail)
            break;
        muster__context_run(context, mail);
    }
    if (context->port && count == MESSAGES_A_ROUND)
        post_mail(context);
    else if (context->port && muster__port_is_closed(context->port))
        muster__context_close(context);
    muster__context_release(context);
}

/* ---- what goes out ---- */

static bool is_behind(struct muster__context *context)
{
    const struct muster__port_backlog backlog = muster__port_backlog(context->port);
    if (backlog.messages < BACKLOG_MESSAGES && backlog.bytes < BACKLOG_BYTES)
        return false;
    if (!context->is_behind)
        muster__log(context->muster, MUSTER_LOG_WARNING, context->url,
                    "it does not read its messages: %zu wait for it, those that follow are dropped",
                    backlog.messages);
    context->is_behind = true;
    return true;
}

static void send(struct muster__context *context, struct muster_value *take_head, struct muster_value *take_data,
                 size_t port_count, struct muster__port **take_ports)
{
    struct muster__port_message *message = NULL;
    if (take_head && context->port && !is_behind(context)) {
        message = muster__port_message_new(take_head, take_data, port_count);
    } else {
        muster_value_release(take_head);
        muster_value_release(take_data);
    }
    if (!message)
        return;
    for (size_t i = 0; i < port_count; i++) {
        message->ports[i] = take_ports[i];
        take_ports[i] = NULL;
    }
    muster__port_post(context->port, message);
}

void muster__context_tell(struct muster__context *context, struct muster_value *take_head,
                          struct muster_value *take_data)
{
    send(context, take_head, take_data, 0, NULL);
}

void muster__context_pass(struct muster__context *context, struct muster_value *take_head,
                          struct muster__port_message *payload)
{
    struct muster_value *data = payload->data;
    payload->data = NULL;
    send(context, take_head, data, payload->port_count, payload->ports);
}

/* ---- asks ---- */

const struct muster_value *muster__ask_argument(const struct muster__ask *ask, size_t i)
{
    return muster_value_at(ask->head, ask->first + i);
}

const char *muster__text_of(const struct muster_value *value)
{
    if (muster_value_type(value) != MUSTER_TYPE_STRING)
        return NULL;
    const struct muster_bytes text = muster_value_bytes(value);
    return text.length <= TEXT_LENGTH_MAX && strlen(text.data) == text.length ? text.data : NULL;
}

const char *muster__ask_text(const struct muster__ask *ask, size_t i)
{
    return muster__text_of(muster__ask_argument(ask, i));
}

uint64_t muster__number_of(const struct muster_value *value)
{
    double number = muster_value_number(value);
    return number >= 1 && number <= 9007199254740992.0 && number == (double)(uint64_t)number ? (uint64_t)number : 0;
}

uint64_t muster__ask_number(const struct muster__ask *ask, size_t i)
{
    return muster__number_of(muster__ask_argument(ask, i));
}

struct muster__port *muster__ask_take_port(struct muster__ask *ask)
{
    struct muster__port *port = ask->message->port_count ? ask->message->ports[0] : NULL;
    if (port)
        ask->message->ports[0] = NULL;
    return port;
}

/* Without memory for an answer the context ends: who asked would wait for ever.  Not at once, for whoever answers
 * may be in the midst of its lists. */
static void send_answer(struct muster__context *context, double id, bool ok, struct muster_value *take_value,
                        struct muster_value *take_data)
{
    struct muster_value *head = MUSTER__ARRAY(muster__tree_text("answer"), muster_value_new_number(id),
                                              muster_value_new_boolean(ok), take_value);
    struct muster__port_message *message = head ? muster__port_message_new(head, take_data, 0) : NULL;
    if (message) {
        muster__port_post(context->port, message);
    } else {
        if (!head)
            muster_value_release(take_data);
        context->is_broken = true;
        post_mail(context);
    }
}

static struct muster_value *or_undefined(struct muster_value *take_value)
{
    return take_value ? take_value : muster_value_new_undefined();
}

void muster__ask_answer_with(struct muster__ask *ask, struct muster_value *take_value, struct muster_value *take_data)
{
    MUSTER_CHECK(!ask->is_answered);
    ask->is_answered = true;
    if (ask->is_ask && ask->context->port) {
        send_answer(ask->context, ask->id, true, or_undefined(take_value), take_data);
        return;
    }
    muster_value_release(take_value);
    muster_value_release(take_data);
}

void muster__ask_answer(struct muster__ask *ask, struct muster_value *take_value)
{
    muster__ask_answer_with(ask, take_value, NULL);
}

void muster__ask_fail(struct muster__ask *ask, const char *name, const char *format, ...)
{
    char message[512];
    va_list arguments;
    MUSTER_CHECK(!ask->is_answered);
    ask->is_answered = true;
    if (!ask->is_ask || !ask->context->port)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    send_answer(ask->context, ask->id, false,
                MUSTER__OBJECT({"name", muster__tree_text(name)}, {"message", muster__tree_text(message)}), NULL);
}

struct muster__pending *muster__ask_defer(struct muster__ask *ask)
{
    struct muster__pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return NULL;
    }
    ask->is_answered = true;
    pending->context = ask->context;
    pending->id = ask->id;
    muster__link_append(&ask->context->pendings, &pending->link);
    return pending;
}

static void settle(struct muster__pending *take_pending, bool ok, struct muster_value *take_value,
                   struct muster_value *take_data)
{
    struct muster__context *context = take_pending->context;
    muster__link_remove(&take_pending->link);
    if (context) {
        send_answer(context, take_pending->id, ok, take_value, take_data);
    } else {
        muster_value_release(take_value);
        muster_value_release(take_data);
    }
    free(take_pending);
}

void muster__pending_answer(struct muster__pending *take_pending, struct muster_value *take_value)
{
    settle(take_pending, true, or_undefined(take_value), NULL);
}

void muster__pending_answer_with(struct muster__pending *take_pending, struct muster_value *take_value,
                                 struct muster_value *take_data)
{
    settle(take_pending, true, or_undefined(take_value), take_data);
}

void muster__pending_fail(struct muster__pending *take_pending, const char *name, const struct muster_error *error)
{
    struct muster_value *tree = muster__tree_error(error);
    if (tree && muster_value_put(tree, "name", muster__tree_text(name)) != MUSTER_OK) {
        muster_value_release(tree);
        tree = NULL;
    }
    settle(take_pending, false, tree, NULL);
}
