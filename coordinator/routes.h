/* coordinator/routes.h - static routes: where a version's requests go without asking its worker.  Internal.
 *
 * The rules that a service worker's script gave with InstallEvent.addRoutes() (Service Workers standard, "Static
 * Routing API"), as plain trees: an array of {condition, source}.  A condition is an object with one or more of
 *   urlPattern         a text, or an object of components and perhaps baseURL and ignoreCase; no regular expression
 *                      groups
 *   requestMethod, requestMode, requestDestination
 *   runningStatus      "running" or "not-running"
 *   or                 an array of conditions; alone
 *   not                a condition; alone
 * and the source "network", "cache", "fetch-event", "race-network-and-fetch-handler" or {cacheName}.  The first rule
 * whose condition holds decides.
 *
 * Immutable once made, counted: a version has one, and any thread asks it before it wakes the worker.  Asking
 * allocates nothing.
 */
#ifndef MUSTER_ROUTES_H
#define MUSTER_ROUTES_H

#include "runtime/value.h"

#define MUSTER__ROUTES_CONDITIONS_MAX 1024 /* of all rules together */
#define MUSTER__ROUTES_DEPTH_MAX 10

enum muster__route {
    MUSTER__ROUTE_NONE,    /* no rule's: as if there were none */
    MUSTER__ROUTE_NETWORK,
    MUSTER__ROUTE_CACHE,   /* the named cache, or all of them; what is not in it comes from the network */
    MUSTER__ROUTE_EVENT,   /* the fetch event */
    MUSTER__ROUTE_RACE,    /* the network and the fetch event, whichever is first */
};

struct muster__routes;

/* `base_url`: of the script, absolute.  `listens`: its script listens for fetch.  One reference.  INVALID_ARGUMENT:
 * `error` (may be NULL) says what is wrong with which rule.  NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__routes_new(const struct muster_value *rules, const char *base_url,
                                                        bool listens, struct muster__routes **ret_routes,
                                                        struct muster_error *error);
/* Thread: any. */
struct muster__routes *muster__routes_acquire(struct muster__routes *routes);
void muster__routes_release(struct muster__routes *routes); /* NULL: no-op */

/* What is asked; borrowed until the call returns.  Mode and destination as in a Request. */
struct muster__route_request {
    struct muster_bytes method, url, mode, destination;
    bool is_running; /* its worker */
};

/* Thread: any.  NULL has no rules.  *ret_cache (may be NULL): the cache's name; NULL: any cache. */
enum muster__route muster__routes_match(const struct muster__routes *routes,
                                        const struct muster__route_request *request, const char **ret_cache);

#endif
