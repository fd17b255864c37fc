/* coordinator/routes_ask.h - which requests a version is not woken for: its static routes (routes.h) and the types of
 * events for which its script does not listen ("Should Skip Event").  Internal.
 *
 * What a route sends to the network, or a script does not listen for, is settled with PASSED at once: whoever asked
 * goes on without a worker.  Clients of scripts look into the caches by themselves, and run the race between network and
 * fetch event: they are told so, and ask for the event again.  An embedder's request is its own network: for that a
 * cache is PASSED as well, and of a race the event is asked.
 */
#ifndef MUSTER_ROUTES_ASK_H
#define MUSTER_ROUTES_ASK_H

#include "coordinator/context.h"
#include "coordinator/routes.h"

/* Thread: any. */
bool muster__routes_pass(struct muster__version *version, const struct muster__request *request);
/* What a client's scripts do by themselves: CACHE, RACE, or NONE.  *ret_cache: in which cache, as long as the version has
 * these rules; NULL: any. */
enum muster__route muster__routes_of_client(struct muster__version *version, const struct muster__request *request,
                                            const char **ret_cache);

/* Thread: coordinator.  An op of a worker's that is being installed: addRoutes(rules). */
muster__op_fn muster__op_add_routes;
/* Thread: coordinator.  The version is installed: what it added counts from now on. */
void muster__routes_installed(struct muster__version *version);
/* Thread: coordinator.  Takes the rules of an earlier life. */
MUSTER_MUST_CHECK enum muster_status muster__routes_restore(struct muster__version *version,
                                                            struct muster_value *take_rules,
                                                            struct muster_error *error);

#endif
