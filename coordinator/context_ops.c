/* coordinator/context_ops.c - what contexts may ask and tell: the table of ops, and how a message becomes one.
 * See context.h.  Thread: coordinator. */
#include "coordinator/broadcast.h"
#include "coordinator/caches.h"
#include "coordinator/child_workers.h"
#include "coordinator/clients.h"
#include "coordinator/context.h"
#include "coordinator/context_worker.h"
#include "coordinator/registrations.h"
#include "coordinator/routes_ask.h"
#include "coordinator/shared_workers.h"
#include "coordinator/sync.h"

#include <string.h>

static const struct {
    const char *name;
    muster__op_fn *run;
} ops[] = {
    {"broadcast.post", muster__op_broadcast_post},
    {"version.post", muster__op_version_post},
    {"client.post", muster__op_client_post},
    {"addRoutes", muster__op_add_routes},
    {"blob.read", muster__op_blob_read},
    {"broadcast.open", muster__op_broadcast_open},
    {"broadcast.close", muster__op_broadcast_close},
    {"cache.delete", muster__op_cache_delete},
    {"cache.put", muster__op_cache_put},
    {"cache.query", muster__op_cache_query},
    {"cache.read", muster__op_cache_read},
    {"caches.delete", muster__op_caches_delete},
    {"caches.has", muster__op_caches_has},
    {"caches.keys", muster__op_caches_keys},
    {"caches.open", muster__op_caches_open},
    {"claim", muster__op_claim},
    {"client.open", muster__op_client_open},
    {"client.redirect", muster__op_client_redirect},
    {"client.show", muster__op_client_show},
    {"clients.get", muster__op_clients_get},
    {"clients.matchAll", muster__op_clients_match_all},
    {"eventTypes", muster__op_event_types},
    {"getRegistration", muster__op_get_registration},
    {"getRegistrations", muster__op_get_registrations},
    {"navigationPreload.get", muster__op_navigation_preload_get},
    {"navigationPreload.set", muster__op_navigation_preload_set},
    {"periodicSync.register", muster__op_periodic_sync_register},
    {"periodicSync.tags", muster__op_periodic_sync_tags},
    {"periodicSync.unregister", muster__op_periodic_sync_unregister},
    {"ready", muster__op_ready},
    {"register", muster__op_register},
    {"response.take", muster__op_response_take},
    {"shared.new", muster__op_shared_new},
    {"shared.release", muster__op_shared_release},
    {"skipWaiting", muster__op_skip_waiting},
    {"sync.register", muster__op_sync_register},
    {"sync.tags", muster__op_sync_tags},
    {"unregister", muster__op_unregister},
    {"update", muster__op_update},
    {"worker.new", muster__op_worker_new},
    {"worker.terminate", muster__op_worker_terminate},
};

static muster__op_fn *find(const char *name)
{
    for (size_t i = 0; name && i < sizeof(ops) / sizeof(*ops); i++)
        if (strcmp(ops[i].name, name) == 0)
            return ops[i].run;
    return NULL;
}

/* Where the arguments begin; 0: it is no message that a context may send. */
static bool read_head(struct muster__ask *ask)
{
    const char *kind = muster__text_of(muster_value_at(ask->head, 0));
    ask->is_ask = kind && strcmp(kind, "ask") == 0;
    if (!kind || (!ask->is_ask && strcmp(kind, "tell") != 0))
        return false;
    ask->first = ask->is_ask ? 3 : 2;
    ask->id = ask->is_ask ? (double)muster__number_of(muster_value_at(ask->head, 1)) : 0;
    return !ask->is_ask || ask->id > 0;
}

void muster__context_run(struct muster__context *context, struct muster__port_message *take_message)
{
    struct muster__ask ask = {.context = context, .head = take_message->head, .message = take_message};
    if (muster_value_type(ask.head) == MUSTER_TYPE_ARRAY && read_head(&ask)) {
        muster__op_fn *run = find(muster__text_of(muster_value_at(ask.head, ask.first - 1)));
        if (atomic_load(&context->muster->closing) && ask.is_ask)
            muster__ask_fail(&ask, "AbortError", "%s", muster_status_sentence(MUSTER_SHUTDOWN));
        else if (run)
            run(&ask);
        else
            muster__ask_fail(&ask, "TypeError", "the coordinator does not know what was asked");
        MUSTER_CHECK(ask.is_answered);
    }
    muster__port_message_destroy(take_message);
}
