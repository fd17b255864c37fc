/* coordinator/routes_ask.c - see routes_ask.h. */
#include "coordinator/routes_ask.h"

#include <string.h>

/* ---- asking ---- */

static struct muster_bytes text_in(const struct muster_value *object, const char *key)
{
    const struct muster_value *value = muster_value_get(object, key);
    return muster_value_type(value) == MUSTER_TYPE_STRING ? muster_value_bytes(value) : (struct muster_bytes){"", 0};
}

static enum muster__route route_of(struct muster__version *version, const struct muster__request *request,
                                   const char **ret_cache)
{
    const struct muster__routes *routes = atomic_load(&version->routes);
    if (!routes)
        return MUSTER__ROUTE_NONE;
    const struct muster_value *more = muster_value_type(request->data) == MUSTER_TYPE_OBJECT ? request->data : NULL;
    const struct muster__route_request asked = {
        .method = request->http.method,
        .url = request->http.url,
        .mode = text_in(more, "mode"),
        .destination = text_in(more, "destination"),
        .is_running = muster__slot_sample(version->slot).state == MUSTER__SLOT_RUNNING,
    };
    return muster__routes_match(routes, &asked, ret_cache);
}

static bool passes_fetch(struct muster__version *version, const struct muster__request *request)
{
    enum muster__route route = route_of(version, request, NULL);
    return route == MUSTER__ROUTE_NETWORK || route == MUSTER__ROUTE_CACHE;
}

/* Only what may be asked twice races, and only once: its event comes with a mark. */
static bool may_race(const struct muster__request *request)
{
    return request->http.method.length == 3 && memcmp(request->http.method.data, "GET", 3) == 0 &&
           !(muster_value_type(request->data) == MUSTER_TYPE_OBJECT &&
             muster_value_boolean(muster_value_get(request->data, "isRacing")));
}

enum muster__route muster__routes_of_client(struct muster__version *version, const struct muster__request *request,
                                            const char **ret_cache)
{
    enum muster__route route =
        request->kind == MUSTER__REQUEST_FETCH ? route_of(version, request, ret_cache) : MUSTER__ROUTE_NONE;
    return route == MUSTER__ROUTE_CACHE || (route == MUSTER__ROUTE_RACE && may_race(request)) ? route : MUSTER__ROUTE_NONE;
}

bool muster__routes_pass(struct muster__version *version, const struct muster__request *request)
{
    switch (request->kind) {
    case MUSTER__REQUEST_FETCH: return !muster__version_listens(version, "fetch") || passes_fetch(version, request);
    case MUSTER__REQUEST_EVENT:
    case MUSTER__REQUEST_MESSAGE: return !muster__version_listens(version, request->name);
    default: return false;
    }
}

/* ---- adding ---- */

/* A new array: those that are there, and these.  NULL: out of memory. */
static struct muster_value *with_more(const struct muster_value *rules, const struct muster_value *more)
{
    const struct muster_value *const lists[] = {rules, more};
    struct muster_value *all = muster_value_new_array();
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; all && j < muster_value_count(lists[i]); j++)
            if (muster_value_append(all, muster_value_acquire(muster_value_at(lists[i], j))) != MUSTER_OK) {
                muster_value_release(all);
                all = NULL;
            }
    return all;
}

static enum muster_status read_rules(struct muster__version *version, const struct muster_value *rules,
                                     struct muster__routes **ret_routes, struct muster_error *error)
{
    return muster__routes_new(rules, muster__version_url(version), muster__version_listens(version, "fetch"), ret_routes,
                              error);
}

void muster__op_add_routes(struct muster__ask *ask)
{
    const struct muster_value *rules = muster__ask_argument(ask, 0);
    struct muster__version *version = ask->context->version;
    struct muster__routes *routes = NULL;
    struct muster_error error = {0};
    if (!version || version->key || muster_value_type(rules) != MUSTER_TYPE_ARRAY ||
        strcmp(atomic_load(&version->state), "installing") != 0) {
        muster__ask_fail(ask, "TypeError", "addRoutes: only a service worker that is being installed adds routes");
        return;
    }
    struct muster_value *all = with_more(version->rules, rules);
    enum muster_status status = all ? read_rules(version, all, &routes, &error) : MUSTER_NO_MEMORY;
    muster__routes_release(routes); /* made again when all of them are there */
    if (status == MUSTER_OK) {
        muster_value_release(version->rules);
        version->rules = all;
        muster__ask_answer(ask, NULL);
    } else {
        muster_value_release(all);
        muster__ask_fail(ask, status == MUSTER_INVALID_ARGUMENT ? "TypeError" : "OperationError", "addRoutes: %s",
                         error.message ? error.message : muster_status_sentence(status));
    }
    muster_error_clean_up(&error);
}

void muster__routes_installed(struct muster__version *version)
{
    struct muster__routes *routes = NULL;
    struct muster_error error = {0};
    if (!version->rules || atomic_load(&version->routes))
        return;
    enum muster_status status = read_rules(version, version->rules, &routes, &error);
    if (status == MUSTER_OK)
        atomic_store(&version->routes, routes);
    else
        muster__log(version->muster, MUSTER_LOG_ERROR, version->scope, "its static routes do not count: %s",
                    error.message ? error.message : muster_status_sentence(status));
    muster_error_clean_up(&error);
}

enum muster_status muster__routes_restore(struct muster__version *version, struct muster_value *take_rules,
                                          struct muster_error *error)
{
    struct muster__routes *routes = NULL;
    enum muster_status status = read_rules(version, take_rules, &routes, error);
    if (status != MUSTER_OK) {
        muster_value_release(take_rules);
        return status;
    }
    version->rules = take_rules;
    atomic_store(&version->routes, routes);
    return MUSTER_OK;
}
