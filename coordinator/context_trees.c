/* coordinator/context_trees.c - what contexts are told, as values: see context.h.  Thread: coordinator. */
#include "coordinator/clients.h"
#include "coordinator/context.h"
#include "coordinator/registrations.h"

#include <string.h>

struct muster_value *muster__tree_array(size_t count, struct muster_value *const *take_items)
{
    struct muster_value *array = muster_value_new_array();
    bool ok = array != NULL;
    for (size_t i = 0; i < count; i++) {
        if (!ok)
            muster_value_release(take_items[i]);
        else
            ok = muster_value_append(array, take_items[i]) == MUSTER_OK;
    }
    if (ok)
        return array;
    muster_value_release(array);
    return NULL;
}

struct muster_value *muster__tree_object(size_t count, const struct muster__tree_pair *pairs)
{
    struct muster_value *object = muster_value_new_object();
    bool ok = object != NULL;
    for (size_t i = 0; i < count; i++) {
        if (!ok)
            muster_value_release(pairs[i].take_value);
        else
            ok = muster_value_put(object, pairs[i].key, pairs[i].take_value) == MUSTER_OK;
    }
    if (ok)
        return object;
    muster_value_release(object);
    return NULL;
}

struct muster_value *muster__tree_text(const char *text)
{
    return text ? muster_value_new_text(text) : muster_value_new_null();
}

struct muster_value *muster__tree_version(struct muster__version *version)
{
    if (!version)
        return muster_value_new_null();
    return MUSTER__OBJECT({"id", muster_value_new_number(version->id)},
                          {"scriptURL", muster__tree_text(muster__version_url(version))},
                          {"scope", muster__tree_text(version->scope)},
                          {"state", muster__tree_text(atomic_load(&version->state))},
                          {"type", muster__tree_text(version->loader.module ? "module" : "classic")});
}

struct muster_value *muster__tree_client(const struct muster__client *client)
{
    if (!client)
        return muster_value_new_null();
    return MUSTER__OBJECT({"id", muster__tree_text(client->id)},
                          {"url", muster__tree_text(client->context->url)},
                          {"type", muster__tree_text(muster__client_type_name(client))},
                          {"frameType", muster__tree_text(client->frame_type)},
                          {"visibilityState", muster__tree_text(client->is_visible ? "visible" : "hidden")},
                          {"focused", muster_value_new_boolean(client->is_focused)});
}

struct muster_value *muster__tree_registration(struct muster *muster, const struct muster__core_scope_view *view)
{
    const char *header;
    bool preloads = muster__registrations_preload(muster, view->registration, &header);
    muster__registrations_see(muster, view);
    return MUSTER__OBJECT(
        {"id", muster_value_new_number((double)view->registration)}, {"scope", muster__tree_text(view->scope)},
        {"updateViaCache", muster__tree_text(view->via < MUSTER__VIA_COUNT ? muster__via_word(view->via) : NULL)},
        {"installing", muster__tree_version(muster__coordinator_version(muster, view->installing))},
        {"waiting", muster__tree_version(muster__coordinator_version(muster, view->waiting))},
        {"active", muster__tree_version(muster__coordinator_version(muster, view->active))},
        {"navigationPreload", MUSTER__OBJECT({"enabled", muster_value_new_boolean(preloads)},
                                             {"headerValue", muster__tree_text(header)})});
}

static struct muster_value *tree_registration_of(struct muster *muster, const struct muster__version *version)
{
    struct muster__core_scope_view view;
    return version && muster__core_version_view(muster->core, version->id, &view)
               ? muster__tree_registration(muster, &view)
               : muster_value_new_null();
}

const char *muster__tree_type(enum muster__worker_type type)
{
    switch (type) {
    case MUSTER__WORKER_SERVICE: return "service";
    case MUSTER__WORKER_DEDICATED: return "dedicated";
    case MUSTER__WORKER_SHARED: return "shared";
    case MUSTER__WORKER_CLIENT: return "client";
    case MUSTER__WORKER_TYPE_COUNT: break;
    }
    MUSTER_CHECK(false);
    return NULL;
}

struct muster_value *muster__tree_environment(const struct muster__context *context)
{
    const struct muster__client *client = context->client;
    bool is_service = context->type == MUSTER__WORKER_SERVICE;
    const struct muster__version *version = is_service ? context->version : NULL;
    const struct muster__version *registered = is_service ? version : client ? client->controller : NULL;
    return MUSTER__OBJECT({"type", muster__tree_text(muster__tree_type(context->type))},
                          {"clientId", muster__tree_text(client ? client->id : NULL)},
                          {"url", muster__tree_text(context->url)},
                          {"origin", muster__tree_text(context->origin)},
                          {"storageKey", muster__tree_text(context->storage_key)},
                          {"name", muster__tree_text(context->name)},
                          {"scope", muster__tree_text(version ? version->scope : NULL)},
                          {"versionId", version ? muster_value_new_number(version->id) : muster_value_new_null()},
                          {"controller", muster__tree_version(client ? client->controller : NULL)},
                          {"registration", tree_registration_of(context->muster, registered)},
                          {"secure", muster_value_new_boolean(true)});
}

struct muster_value *muster__tree_error(const struct muster_error *error)
{
    static const struct muster_error nothing;
    if (!error)
        error = &nothing;
    const char *message = error->message ? error->message : muster_status_sentence(error->status);
    return MUSTER__OBJECT({"name", muster__tree_text(error->name ? error->name : "Error")},
                          {"message", muster__tree_text(message)},
                          {"filename", muster__tree_text(error->file ? error->file : "")},
                          {"lineno", muster_value_new_number(error->line)},
                          {"colno", muster_value_new_number(error->column)});
}

struct muster_value *muster__tree_source(const struct muster__context *context)
{
    struct muster_value *source =
        context->client ? muster__tree_client(context->client) : muster__tree_version(context->version);
    return MUSTER__OBJECT({"source", source});
}

bool muster__is_opaque(const char *url)
{
    return strncasecmp(url, "data:", 5) == 0 || strncmp(url, "blob:null/", 10) == 0;
}

char *muster__origin_of(const char *url)
{
    if (strncmp(url, "blob:", 5) == 0) /* that of whoever made it */
        url += 5;
    const char *host = strstr(url, "://");
    if (!host || memchr(url, '/', (size_t)(host - url)))
        return muster__strdup("");
    return muster__strndup(url, (size_t)(host + 3 - url) + strcspn(host + 3, "/?#"));
}
