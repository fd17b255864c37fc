/* coordinator/client_fetch.c - a fetch of a client that lives in another process.
 *
 * What runs there may be anybody's, so nothing of what it says about itself is believed: the client that it names has to
 * be one of its own worker's, that client's controller is the one known here, and what goes beside HTTP is written anew
 * from what may be said.  On the coordinator's thread, where clients are; from there on it goes the way of every fetch. */
#include "coordinator/clients.h"

#include <stdlib.h>
#include <string.h>

struct client_fetch {
    struct muster__message message;
    struct muster__request *request;
    uint64_t instance, keepalive_until_us;
};

/* ---- what it says beside HTTP ---- */

static struct muster_bytes text_in(const struct muster_value *info, const char *key)
{
    const struct muster_value *value = muster_value_get(info, key);
    return muster_value_type(value) == MUSTER_TYPE_STRING ? muster_value_bytes(value) : (struct muster_bytes){"", 0};
}

/* A word of one of the standards' lists ("no-cors", "script"), or nothing. */
static bool is_keyword(struct muster_bytes text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] != '-' && (text.data[i] < 'a' || text.data[i] > 'z'))
            return false;
    return text.length <= 64;
}

/* Only pages navigate. */
static bool may_say(const struct muster__client *client, const char *key, struct muster_bytes text)
{
    bool navigates = strcmp(key, "mode") == 0 && text.length == 8 && memcmp(text.data, "navigate", 8) == 0;
    return is_keyword(text) && (!navigates || client->context->type == MUSTER__WORKER_CLIENT);
}

static bool put(struct muster_value *info, const char *key, struct muster_value *take_item)
{
    return take_item && muster_value_put(info, key, take_item) == MUSTER_OK;
}

static bool put_text(struct muster_value *info, const char *key, struct muster_bytes text)
{
    return put(info, key, muster_value_new_string(text.data, text.length));
}

/* A response that this client offers: by a number of its own. */
static bool put_offer(struct muster_value *info, const char *key, const struct muster__client *client,
                      const struct muster_value *offered)
{
    uint64_t token = muster__number_of(muster_value_get(offered, "token"));
    return !token || put(info, key, MUSTER__OBJECT({"clientId", muster__tree_text(client->id)},
                                                   {"token", muster_value_new_number((double)token)}));
}

/* NULL: out of memory.  A navigation is nobody's, and makes this client. */
static struct muster_value *new_info(const struct muster__client *client, const struct muster_value *said,
                                     bool is_navigation)
{
    static const char *const keywords[] = {"mode", "destination", "credentials", "cache", "redirect", "referrerPolicy"};
    static const char *const texts[] = {"referrer", "integrity"};
    static const char *const flags[] = {"keepalive", "isReload", "isHistory", "isRacing"};
    static const char *const offers[] = {"race", "preload"};
    struct muster_value *info = muster_value_new_object();
    bool made = info && put(info, "clientId", muster_value_new_text(is_navigation ? "" : client->id)) &&
                put(info, "resultingClientId", muster_value_new_text(is_navigation ? client->id : "")) &&
                put(info, "replacesClientId", muster_value_new_text(""));
    for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords) && made; i++) {
        const struct muster_bytes text = text_in(said, keywords[i]);
        made = !may_say(client, keywords[i], text) || put_text(info, keywords[i], text);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts) && made; i++)
        made = put_text(info, texts[i], text_in(said, texts[i]));
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags) && made; i++)
        made = put(info, flags[i], muster_value_new_boolean(muster_value_boolean(muster_value_get(said, flags[i]))));
    for (size_t i = 0; i < sizeof(offers) / sizeof(*offers) && made; i++)
        made = put_offer(info, offers[i], client, muster_value_get(said, offers[i]));
    if (made)
        return info;
    muster_value_release(info);
    return NULL;
}

/* ---- whose it is ---- */

/* NULL: that worker has no such client. */
static struct muster__client *find(struct muster *muster, uint64_t instance, struct muster_bytes id)
{
    char text[MUSTER__CLIENT_ID_LENGTH + 1] = "";
    if (id.length != MUSTER__CLIENT_ID_LENGTH)
        return NULL;
    memcpy(text, id.data, MUSTER__CLIENT_ID_LENGTH);
    struct muster__client *client = muster__client_find(muster, text);
    return client && instance && client->context->instance == instance ? client : NULL;
}

static enum muster_status dispatch(struct client_fetch *fetch, struct muster *muster)
{
    struct muster__request *request = fetch->request;
    bool is_navigation = request->http.client_id.length == 0;
    struct muster__client *client =
        find(muster, fetch->instance,
             is_navigation ? text_in(request->data, "resultingClientId") : request->http.client_id);
    if (!client || (is_navigation && client->context->type != MUSTER__WORKER_CLIENT)) {
        muster__log(muster, MUSTER_LOG_WARNING, "fetch",
                    "worker %llu fetches for a client that it does not have: refused",
                    (unsigned long long)fetch->instance);
        return MUSTER_NOT_FOUND;
    }
    if (!client->controller)
        return MUSTER_PASSED;
    struct muster_value *info = new_info(client, request->data, is_navigation);
    if (!info)
        return MUSTER_NO_MEMORY;
    muster_value_release(request->data);
    request->data = info;
    return muster__dispatch_from_worker(muster, client->controller->scope, request, fetch->keepalive_until_us);
}

/* ---- its way here ---- */

static void run_fetch(struct muster__message *message, struct muster *muster)
{
    struct client_fetch *fetch = MUSTER_CONTAINER_OF(message, struct client_fetch, message);
    struct muster__request *request = fetch->request;
    enum muster_status status = MUSTER_OK;
    if (!muster__request_is_settled(request)) /* else it was given up on the way */
        status = dispatch(fetch, muster);
    if (status != MUSTER_OK)
        (void)muster__request_fail(request, status, NULL);
    muster__request_release(request);
    free(fetch);
}

enum muster_status muster__client_fetch(struct muster *muster, uint64_t instance, struct muster__request *request,
                                        uint64_t keepalive_until_us)
{
    if (atomic_load(&muster->closing))
        return MUSTER_SHUTDOWN;
    struct client_fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        return MUSTER_NO_MEMORY;
    muster__request_acquire(request);
    *fetch = (struct client_fetch){.message.run = run_fetch, .request = request, .instance = instance,
                                   .keepalive_until_us = keepalive_until_us};
    (void)muster__coordinator_post_soon(muster, &fetch->message);
    return MUSTER_OK;
}

bool muster__client_fetch_drop(struct muster__message *message)
{
    if (message->run != run_fetch)
        return false;
    struct client_fetch *fetch = MUSTER_CONTAINER_OF(message, struct client_fetch, message);
    (void)muster__request_fail(fetch->request, MUSTER_SHUTDOWN, NULL);
    muster__request_release(fetch->request);
    free(fetch);
    return true;
}
