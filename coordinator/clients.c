/* coordinator/clients.c - the client map, and what service workers ask of it.  See clients.h. */
#include "coordinator/clients.h"

#include "coordinator/context_worker.h"
#include "coordinator/registrations.h"
#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define EVENT_TYPES_MAX 1000

static const char *const frame_types[] = {"none", "nested", "top-level", "auxiliary"};

/* ---- ids ---- */

bool muster__client_make_id(char id[MUSTER__CLIENT_ID_LENGTH + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return false;
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40); /* as a UUID of version 4 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    char *at = id;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = '\0';
    return true;
}

/* Those that were made here differ in their first half already, but for one chance in 2^60. */
static uint64_t hash_id(const char *id)
{
    uint64_t hash = 0;
    int digits = 0;
    for (; *id && digits < 16; id++) {
        int digit = *id >= '0' && *id <= '9' ? *id - '0' : *id >= 'a' && *id <= 'f' ? *id - 'a' + 10 : -1;
        if (digit >= 0) {
            hash = hash << 4 | (unsigned)digit;
            digits++;
        }
    }
    return hash ^ hash << 32; /* the map looks at the low bits */
}

struct muster__client *muster__client_find(struct muster *muster, const char *id)
{
    struct muster__id_node *node = id ? muster__id_map_find(&muster->worlds->clients_by_id, hash_id(id)) : NULL;
    struct muster__client *client = node ? MUSTER_CONTAINER_OF(node, struct muster__client, node) : NULL;
    return client && strcmp(client->id, id) == 0 ? client : NULL;
}

/* ---- who controls whom ---- */

/* The version whose registration a client's URL matches, retained; NULL: none, or the log says why. */
static struct muster__version *match(const struct muster__client *client)
{
    const struct muster__context *context = client->context;
    struct muster__version *version = NULL;
    const struct muster_bytes url = {context->place, strlen(context->place)};
    return muster__match(context->muster, url, &version, NULL) == MUSTER_OK ? version : NULL;
}

bool muster__inherits_controller(const char *url)
{
    return strncmp(url, "about:", 6) == 0 || strncmp(url, "blob:", 5) == 0;
}

/* What controls a client that comes now and matches that version; NULL: nothing. */
static struct muster__version *controller_of(struct muster *muster, struct muster__version *matched)
{
    struct muster__core_scope_view view;
    muster__stubs_take_up(muster);
    if (muster__core_scope_view(muster->core, matched->scope, &view))
        return muster__coordinator_version(muster, view.controller);
    /* Inside a step the core has not heard yet of one that was a stub; it will, before it hears of this client. */
    return muster__version_controls(matched) ? matched : NULL;
}

/* Takes the new one.  The core hears of the new use first: the registration is never unused in between. */
static void set_controller(struct muster__client *client, struct muster__version *take_version)
{
    struct muster *muster = client->context->muster;
    struct muster__version *old = client->controller;
    client->controller = take_version;
    if (take_version)
        muster__coordinator_use(muster, take_version, true);
    if (old)
        muster__coordinator_use(muster, old, false);
    muster__version_release(old);
}

static void tell_controller(struct muster__client *client, bool changed)
{
    muster__context_tell(client->context,
                         MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("controller"),
                                       muster__tree_version(client->controller), muster_value_new_boolean(changed)),
                         NULL);
}

void muster__clients_move(struct muster *muster, const struct muster__version *old, struct muster__version *version)
{
    struct muster__link *list = &muster->worlds->clients;
    for (struct muster__link *at = list->next; at != list; at = at->next) {
        struct muster__client *client = MUSTER_CONTAINER_OF(at, struct muster__client, link);
        if (client->controller != old)
            continue;
        muster__version_release(client->controller);
        client->controller = muster__version_acquire(version);
        tell_controller(client, true);
    }
}

/* ---- life ---- */

static const char *known_frame_type(const char *name)
{
    for (size_t i = 0; name && i < sizeof(frame_types) / sizeof(*frame_types); i++)
        if (strcmp(frame_types[i], name) == 0)
            return frame_types[i];
    return frame_types[0];
}

struct muster__client *muster__client_new(struct muster__context *context, const char *id, const char *frame_type)
{
    struct muster__client *client = calloc(1, sizeof(*client));
    if (!client)
        return NULL;
    muster__link_init(&client->link);
    client->context = context;
    client->frame_type = known_frame_type(frame_type);
    if (id && strlen(id) == MUSTER__CLIENT_ID_LENGTH)
        memcpy(client->id, id, sizeof(client->id));
    else if (!muster__client_make_id(client->id)) {
        free(client);
        return NULL;
    }
    return client;
}

/* By what its URL matches, or as its parent is (SW-CLI-2). */
static void choose_controller(struct muster__client *client)
{
    struct muster *muster = client->context->muster;
    /* Also what was published in this very round. */
    muster__scope_map_commit(muster->scopes);
    muster__scope_map_begin(muster->scopes);
    struct muster__version *inherited = client->context->inherited;
    struct muster__version *matched = inherited ? NULL : match(client);
    struct muster__version *version = inherited ? muster__coordinator_version(muster, inherited->id)
                                      : matched ? controller_of(muster, matched)
                                                : NULL;
    bool is_controlled = version && (!inherited || muster__version_controls(version));
    if (is_controlled || client->controller)
        set_controller(client, is_controlled ? muster__version_acquire(version) : NULL);
    if (client->controller && client->context->type == MUSTER__WORKER_CLIENT && !client->context->is_embedder)
        muster__registrations_soft_update(muster, client->controller); /* SW-SOFT-1: a page was opened */
    muster__version_release(matched);
}

void muster__client_open(struct muster__client *client)
{
    struct muster *muster = client->context->muster;
    client->node.id = hash_id(client->id);
    MUSTER_CHECK(!muster__client_find(muster, client->id));
    muster__id_map_add(&muster->worlds->clients_by_id, &client->node);
    muster__link_append(&muster->worlds->clients, &client->link);
    choose_controller(client);
}

void muster__client_close(struct muster__client *client)
{
    struct muster *muster = client->context->muster;
    if (muster__link_is_empty(&client->link))
        return;
    muster__link_remove(&client->link);
    (void)muster__id_map_remove(&muster->worlds->clients_by_id, client->node.id);
    set_controller(client, NULL);
}

void muster__client_destroy(struct muster__client *client)
{
    if (!client)
        return;
    muster__version_release(client->controller);
    free(client);
}

const char *muster__client_type_name(const struct muster__client *client)
{
    switch (client->context->type) {
    case MUSTER__WORKER_DEDICATED: return "worker";
    case MUSTER__WORKER_SHARED: return "sharedworker";
    default: return "window";
    }
}

/* ---- what service workers ask ---- */

static bool may_see(const struct muster__context *context, const struct muster__client *client)
{
    return !*context->storage_key || strcmp(context->storage_key, client->context->storage_key) == 0;
}

/* False: it is no service worker that asks, and was told so.  One that is not registered (`muster run`) controls
 * nobody. */
static bool is_service(struct muster__ask *ask)
{
    if (ask->context->type == MUSTER__WORKER_SERVICE)
        return true;
    muster__ask_fail(ask, "TypeError", "only a service worker may ask this");
    return false;
}

/* claim(): CL-CLAIM */
void muster__op_claim(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    struct muster__version *version = ask->context->version;
    if (!is_service(ask))
        return;
    if (version && !muster__version_controls(version)) {
        muster__ask_fail(ask, "InvalidStateError", "only an active service worker can claim clients");
        return;
    }
    struct muster__link *list = &muster->worlds->clients;
    for (struct muster__link *at = list->next; version && at != list; at = at->next) {
        struct muster__client *client = MUSTER_CONTAINER_OF(at, struct muster__client, link);
        if (client->controller == version || !may_see(ask->context, client))
            continue;
        struct muster__version *matched = match(client);
        if (matched == version) {
            set_controller(client, muster__version_acquire(version));
            tell_controller(client, true);
        }
        muster__version_release(matched);
    }
    muster__ask_answer(ask, NULL);
}

/* clients.get(id): CL-GET */
void muster__op_clients_get(struct muster__ask *ask)
{
    const char *id = muster__ask_text(ask, 0);
    if (!is_service(ask))
        return;
    if (!id) {
        muster__ask_fail(ask, "TypeError", "an id of a client is a text");
        return;
    }
    struct muster__client *client = muster__client_find(ask->context->muster, id);
    muster__ask_answer(ask, muster__tree_client(client && may_see(ask->context, client) ? client : NULL));
}

static bool is_wanted(const struct muster__client *client, const char *type)
{
    return strcmp(type, "all") == 0 || strcmp(type, muster__client_type_name(client)) == 0;
}

/* Pages in order of creation, then workers (CL-ALL). */
static struct muster_value *list_clients(const struct muster__ask *ask, const char *type, bool uncontrolled)
{
    const struct muster__context *context = ask->context;
    const struct muster__link *list = &context->muster->worlds->clients;
    struct muster_value *array = muster_value_new_array();
    for (int pass = 0; pass < 2; pass++)
        for (struct muster__link *at = list->next; array && at != list; at = at->next) {
            const struct muster__client *client = MUSTER_CONTAINER_OF(at, struct muster__client, link);
            if ((client->context->type == MUSTER__WORKER_CLIENT) != (pass == 0) || !may_see(context, client) ||
                !is_wanted(client, type) ||
                (!uncontrolled && (!client->controller || client->controller != context->version)))
                continue;
            if (muster_value_append(array, muster__tree_client(client)) != MUSTER_OK) {
                muster_value_release(array);
                array = NULL;
            }
        }
    return array;
}

void muster__op_clients_match_all(struct muster__ask *ask)
{
    const struct muster_value *options = muster__ask_argument(ask, 0);
    const char *type = muster__text_of(muster_value_get(options, "type"));
    if (!is_service(ask))
        return;
    bool uncontrolled = muster_value_boolean(muster_value_get(options, "includeUncontrolled"));
    struct muster_value *list = list_clients(ask, type ? type : "window", uncontrolled);
    if (list)
        muster__ask_answer(ask, list);
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

/* client.post(clientId): EV-MSG-2 */
void muster__op_client_post(struct muster__ask *ask)
{
    const char *id = muster__ask_text(ask, 0);
    struct muster__client *client = muster__client_find(ask->context->muster, id);
    if (!is_service(ask))
        return;
    if (client)
        client->context->hears_registrations = true; /* it is given the sender */
    if (client && may_see(ask->context, client))
        muster__context_pass(client->context,
                             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("message"),
                                           muster__tree_source(ask->context)),
                             ask->message);
    muster__ask_answer(ask, NULL);
}

/* response.take(clientId, token): a client that is asked for a response which it shares with an event gives it by the port
 * that comes along (shared_response.js).  Of one that is not there the port is closed. */
void muster__op_response_take(struct muster__ask *ask)
{
    struct muster__client *client = muster__client_find(ask->context->muster, muster__ask_text(ask, 0));
    if (!is_service(ask))
        return;
    if (client && may_see(ask->context, client))
        muster__context_pass(client->context,
                             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("response.wanted"),
                                           muster_value_new_number(muster_value_number(muster__ask_argument(ask, 1)))),
                             ask->message);
    muster__ask_answer(ask, NULL);
}

/* The page that a frame is in: the one that asks, or another that it may see. */
static const struct muster__context *parent_of(const struct muster__ask *ask, const struct muster_value *options)
{
    const struct muster__client *parent =
        muster__client_find(ask->context->muster, muster__text_of(muster_value_get(options, "parent")));
    return parent && may_see(ask->context, parent) ? parent->context : ask->context;
}

/* client.open({url, type, frameType, parent}): a further page of the same engine.  One with no place of its own
 * (about:blank) is its parent's in origin, storage and controller. */
void muster__op_client_open(struct muster__ask *ask)
{
    const struct muster_value *options = muster__ask_argument(ask, 0);
    const struct muster__context *parent = parent_of(ask, options);
    const char *url = muster__text_of(muster_value_get(options, "url"));
    bool inherits = url && muster__inherits_controller(url), is_opaque = url && !inherits && muster__is_opaque(url);
    char *own_key = is_opaque ? muster__format("null %llu", (unsigned long long)++ask->context->muster->worlds->next_id)
                              : NULL;
    const struct muster__context_options opened = {
        .type = MUSTER__WORKER_CLIENT,
        .url = url,
        .origin = inherits ? parent->origin : NULL,
        .storage_key = inherits ? parent->storage_key : own_key,
        .frame_type = muster__text_of(muster_value_get(options, "frameType")),
        .controller = parent->client ? parent->client->controller : NULL,
        .place = parent->place,
        .version = ask->context->version, /* whose trust and loader its workers get */
        .instance = ask->context->instance,
    };
    struct muster__port *port = muster__ask_take_port(ask);
    if (ask->context->type != MUSTER__WORKER_CLIENT || !port || !url ||
        (!inherits && !is_opaque && !strstr(url, "://"))) {
        free(own_key);
        muster__port_release(port);
        muster__ask_fail(ask, "TypeError", "a page opens another with a URL and a port");
        return;
    }
    struct muster__context *context = is_opaque && !own_key ? NULL : muster__context_new(ask->context->muster, &opened);
    free(own_key);
    if (context && muster__context_open(context, &port) == MUSTER_OK)
        muster__ask_answer(ask, muster__tree_environment(context));
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    muster__port_release(port);
    muster__context_release(context);
}

/* client.redirect(url): the navigation that made this page was sent on, within its origin; it is the same client. */
void muster__op_client_redirect(struct muster__ask *ask)
{
    struct muster__context *context = ask->context;
    const char *text = muster__ask_text(ask, 0);
    char *url = text ? muster__strdup(text) : NULL;
    char *place = text ? muster__strdup(text) : NULL;
    char *origin = url ? muster__origin_of(url) : NULL;
    if (context->type != MUSTER__WORKER_CLIENT || !context->client || (text && origin && strcmp(origin, context->origin) != 0)) {
        muster__ask_fail(ask, "TypeError", "a page's navigation is sent on within its origin");
    } else if (!origin || !place) {
        muster__ask_fail(ask, text ? "OperationError" : "TypeError", "%s",
                         muster_status_sentence(text ? MUSTER_NO_MEMORY : MUSTER_INVALID_ARGUMENT));
    } else {
        free(context->url);
        free(context->place);
        context->url = url;
        context->place = place;
        url = place = NULL;
        choose_controller(context->client);
        muster__ask_answer(ask, muster__tree_environment(context));
    }
    free(url);
    free(place);
    free(origin);
}

/* client.show(isVisible, isFocused): what a shell of pages says of one. */
void muster__op_client_show(struct muster__ask *ask)
{
    struct muster__client *client = ask->context->client;
    if (client) {
        client->is_visible = muster_value_boolean(muster__ask_argument(ask, 0));
        client->is_focused = muster_value_boolean(muster__ask_argument(ask, 1));
    }
    muster__ask_answer(ask, NULL);
}

/* ---- messages to service workers ---- */

/* The maker's memory of one. */
struct post {
    struct muster__request request;
    struct muster__version *version;
};

static void post_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    (void)request;
    (void)outcome; /* a message has no answer; what its handler threw was reported where it happened */
}

static void post_destroyed(struct muster__request *request)
{
    struct post *post = MUSTER_CONTAINER_OF(request, struct post, request);
    muster_value_release(request->data);
    muster__port_message_destroy(request->mail);
    muster__version_release(post->version);
    free(post);
}

static const struct muster__request_class post_class = {post_settled, post_destroyed, NULL};

static struct post *new_post(struct muster__ask *ask, struct muster__version *version)
{
    struct muster__port_message *payload = ask->message;
    struct muster_value *source = muster__tree_source(ask->context);
    struct post *post = source ? calloc(1, sizeof(*post)) : NULL;
    struct muster__port_message *mail =
        post ? muster__port_message_new(source, NULL, payload->port_count) : NULL;
    if (!mail) {
        if (!post)
            muster_value_release(source);
        free(post);
        return NULL;
    }
    for (size_t i = 0; i < payload->port_count; i++) {
        mail->ports[i] = payload->ports[i];
        payload->ports[i] = NULL;
    }
    muster__request_init(&post->request, &post_class, MUSTER__REQUEST_MESSAGE, "message");
    post->request.mail = mail;
    post->request.data = payload->data;
    payload->data = NULL;
    post->request.idempotent = version->idempotent;
    post->request.received_us = muster__now_us();
    post->version = muster__version_acquire(version);
    return post;
}

/* version.post(versionId): EV-MSG-1.  What a service worker sends keeps the other alive no longer than itself. */
void muster__op_version_post(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    struct muster__version *version = muster__coordinator_version(muster, muster__ask_number(ask, 0));
    const struct muster__context *context = ask->context;
    bool same = version && version->type == MUSTER__WORKER_SERVICE &&
                (!*version->storage_key || !*context->storage_key ||
                 strcmp(version->storage_key, context->storage_key) == 0);
    bool is_over = same && strcmp(atomic_load(&version->state), "redundant") == 0; /* though it may run for a while */
    if (!same || is_over || !muster__version_listens(version, "message")) {
        muster__ask_answer(ask, NULL); /* it is redundant, or not for this one: dropped */
        return;
    }
    struct post *post = new_post(ask, version);
    if (!post) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    post->request.id = atomic_fetch_add(&muster->next_request, 1) + 1;
    if (context->type == MUSTER__WORKER_SERVICE && context->version)
        post->request.keepalive_until_us = muster__slot_sample(context->version->slot).granted_until_us;
    if (muster__coordinator_send(muster, version, &post->request) != MUSTER_OK)
        (void)muster__request_fail(&post->request, MUSTER_QUEUE_FULL, NULL);
    muster__request_release(&post->request);
    muster__ask_answer(ask, NULL);
}

/* ---- a service worker about itself ---- */

/* eventTypes([names]): SW-RUN-2; those of the first evaluation count */
void muster__op_event_types(struct muster__ask *ask)
{
    const struct muster_value *types = muster__ask_argument(ask, 0);
    struct muster__version *version = ask->context->version;
    struct muster_value *none = NULL;
    if (!is_service(ask))
        return;
    if (version && muster_value_type(types) == MUSTER_TYPE_ARRAY && muster_value_count(types) <= EVENT_TYPES_MAX) {
        struct muster_value *kept = muster_value_acquire(types);
        if (!atomic_compare_exchange_strong(&version->event_types, &none, kept))
            muster_value_release(kept);
        else if (version->is_kept)
            muster__keeper_put(ask->context->muster, version);
    }
    muster__ask_answer(ask, NULL);
}
