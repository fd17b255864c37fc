/* coordinator/shared_workers.c - see shared_workers.h. */
#include "coordinator/shared_workers.h"

#include "coordinator/context_worker.h"

#include <stdlib.h>
#include <string.h>

/* With extendedLifetime, after the last holder: not longer than an idle service worker gets. */
#define EXTENDED_LIFETIME_US 30000000u

struct shared {
    struct muster__context_worker worker;
    struct muster__named named; /* by its key */
    struct muster__link lingering;
    uint64_t until_us;
    char *key, *type, *credentials;
    bool extended;
    struct muster__link holders;
};

struct holder {
    struct muster__hold hold;
    struct muster__link link; /* of the worker's */
    struct shared *shared;
    struct muster__context *context; /* borrowed: the hold ends before it */
    struct muster__pending *pending;
};

/* ---- holders ---- */

static struct muster__pending *take_pending(struct holder *holder)
{
    struct muster__pending *pending = holder->pending;
    holder->pending = NULL;
    return pending;
}

static void answer(struct holder *holder)
{
    if (holder->pending)
        muster__pending_answer(take_pending(holder),
                               MUSTER__OBJECT({"workerId", muster_value_new_number((double)holder->hold.id)}));
}

static void destroy(struct shared *shared)
{
    free(shared->key);
    free(shared->type);
    free(shared->credentials);
    free(shared);
}

/* It is in the map and has no holder. */
static void end(struct shared *shared)
{
    muster__link_remove(&shared->lingering);
    muster__name_map_remove(&shared->worker.muster->worlds->shared, &shared->named);
    muster__context_worker_end(&shared->worker, false);
    destroy(shared);
}

static void linger(struct shared *shared)
{
    struct muster *muster = shared->worker.muster;
    shared->until_us = muster__now_us() + EXTENDED_LIFETIME_US;
    muster__link_append(&muster->worlds->lingering, &shared->lingering);
}

static void let_go(struct muster__hold *take_hold)
{
    struct holder *holder = MUSTER_CONTAINER_OF(take_hold, struct holder, hold);
    struct shared *shared = holder->shared;
    struct muster_error error = {.status = MUSTER_CANCELED};
    muster__link_remove(&holder->hold.link);
    muster__link_remove(&holder->link);
    if (holder->pending)
        muster__pending_fail(take_pending(holder), "AbortError", &error);
    free(holder);
    if (!muster__link_is_empty(&shared->holders))
        return;
    if (shared->extended && !atomic_load(&shared->worker.muster->closing))
        linger(shared);
    else
        end(shared);
}

static struct holder *add_holder(struct shared *shared, struct muster__ask *ask)
{
    struct holder *holder = calloc(1, sizeof(*holder));
    struct muster__pending *pending = holder ? muster__ask_defer(ask) : NULL;
    if (!pending) {
        if (!holder)
            muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        free(holder);
        return NULL;
    }
    holder->hold.id = (uint64_t)ask->id;
    holder->hold.let_go = let_go;
    holder->shared = shared;
    holder->context = ask->context;
    holder->pending = pending;
    muster__link_remove(&shared->lingering);
    muster__link_append(&shared->holders, &holder->link);
    muster__link_append(&ask->context->holds, &holder->hold.link);
    return holder;
}

/* ---- the worker ---- */

static void shared_started(struct muster__context_worker *worker)
{
    struct shared *shared = MUSTER_CONTAINER_OF(worker, struct shared, worker);
    for (struct muster__link *at = shared->holders.next, *next; at != &shared->holders; at = next) {
        next = at->next; /* an answer may close its context, and so end this holder */
        answer(MUSTER_CONTAINER_OF(at, struct holder, link));
    }
}

static void shared_reported(struct muster__context_worker *worker, const struct muster_error *error)
{
    (void)worker; /* nobody's but the log's, which has it (ERR-1) */
    (void)error;
}

static void shared_lost(struct muster__context_worker *worker, enum muster_status status,
                        const struct muster_error *error)
{
    struct shared *shared = MUSTER_CONTAINER_OF(worker, struct shared, worker);
    struct muster_error plain = {.status = status};
    muster__link_remove(&shared->lingering);
    muster__name_map_remove(&worker->muster->worlds->shared, &shared->named);
    if (status == MUSTER_OK) /* it closed itself, perhaps before it was known to run */
        shared_started(worker);
    while (!muster__link_is_empty(&shared->holders)) {
        struct holder *holder = MUSTER_CONTAINER_OF(shared->holders.next, struct holder, link);
        muster__link_remove(&holder->link);
        muster__link_remove(&holder->hold.link);
        if (holder->pending)
            muster__pending_fail(take_pending(holder), muster__error_name(status, error), error ? error : &plain);
        else if (status != MUSTER_OK)
            muster__context_tell(holder->context,
                                 MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("worker.error"),
                                               muster_value_new_number((double)holder->hold.id),
                                               muster__tree_error(error ? error : &plain)),
                                 NULL);
        free(holder);
    }
    destroy(shared);
}

static const struct muster__context_worker_class shared_class = {shared_started, shared_reported, shared_lost};

/* ---- connecting ---- */

struct connect {
    struct muster__request request;
    struct muster__version *version;
};

static void connect_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    (void)request;
    (void)outcome; /* its port says it: it closes when nobody took it */
}

static void connect_destroyed(struct muster__request *request)
{
    struct connect *connect = MUSTER_CONTAINER_OF(request, struct connect, request);
    muster__port_message_destroy(request->mail);
    muster_value_release(request->data);
    muster__version_release(connect->version);
    free(connect);
}

static const struct muster__request_class connect_class = {connect_settled, connect_destroyed, NULL};

/* SHW-5: a connect event with one port and the data "".  Takes the port. */
static enum muster_status post_connect(struct shared *shared, struct muster__port *take_port)
{
    struct muster *muster = shared->worker.muster;
    struct connect *connect = calloc(1, sizeof(*connect));
    struct muster__port_message *mail = connect ? muster__port_message_new(NULL, NULL, 1) : NULL;
    if (!mail) {
        free(connect);
        muster__port_release(take_port);
        return MUSTER_NO_MEMORY;
    }
    mail->ports[0] = take_port;
    muster__request_init(&connect->request, &connect_class, MUSTER__REQUEST_EVENT, "connect");
    connect->request.mail = mail;
    connect->request.data = muster_value_new_text("");
    connect->request.received_us = muster__now_us();
    connect->request.id = atomic_fetch_add(&muster->next_request, 1) + 1;
    connect->version = muster__version_acquire(shared->worker.version);
    enum muster_status status = muster__post(connect->version, &connect->request, connect->request.received_us);
    if (status != MUSTER_OK)
        (void)muster__request_fail(&connect->request, status, NULL);
    muster__request_release(&connect->request);
    return status;
}

/* Texts with their lengths: no two keys can be spelled alike. */
static char *key_of(const struct muster__context *maker, const struct muster__worker_request *request)
{
    const struct muster__version *version = maker->version;
    const char *tenant = version && version->trust == MUSTER__TRUST_NONE ? version->tenant : "";
    int trust = version ? (int)version->trust : MUSTER__TRUST_SCRIPT;
    return muster__format("%d %zu:%s %zu:%s %zu:%s %s", trust, strlen(tenant), tenant, strlen(maker->storage_key),
                          maker->storage_key, strlen(request->url), request->url, request->name);
}

/* NULL: the ask was answered. */
static struct shared *make(struct muster__ask *ask, const struct muster__worker_request *request, char *take_key)
{
    struct muster__worlds *worlds = ask->context->muster->worlds;
    struct muster_error error = {0};
    struct shared *shared = calloc(1, sizeof(*shared));
    const struct muster__context_worker_options options = {
        .type = MUSTER__WORKER_SHARED,
        .url = request->url,
        .name = request->name,
        .text = request->text,
        .text_type = request->text_type,
        .module = strcmp(request->type, "module") == 0,
        .maker = ask->context,
    };
    enum muster_status status = MUSTER_NO_MEMORY;
    if (shared) {
        muster__link_init(&shared->lingering);
        muster__link_init(&shared->holders);
        shared->key = take_key;
        shared->type = muster__strdup(request->type);
        shared->credentials = muster__strdup(request->credentials);
        shared->extended = request->extended;
        if (shared->type && shared->credentials)
            status = muster__context_worker_init(&shared->worker, &shared_class, &options, &error);
    } else {
        free(take_key);
    }
    if (status != MUSTER_OK) {
        muster__ask_fail(ask, muster__error_name(status, NULL), "%s",
                         error.message ? error.message : muster_status_sentence(status));
        muster_error_clean_up(&error);
        if (shared)
            destroy(shared);
        return NULL;
    }
    shared->named.name = shared->key;
    muster__name_map_add(worlds, &worlds->shared, &shared->named);
    return shared;
}

static const char *mismatch(const struct shared *shared, const struct muster__worker_request *request)
{
    return strcmp(shared->type, request->type) != 0                 ? "type"
           : strcmp(shared->credentials, request->credentials) != 0 ? "credentials"
           : shared->extended != request->extended                  ? "extendedLifetime"
                                                                    : NULL;
}

/* NULL: the ask was answered. */
static struct shared *find_or_make(struct muster__ask *ask, const struct muster__worker_request *request)
{
    struct muster__worlds *worlds = ask->context->muster->worlds;
    char *key = key_of(ask->context, request);
    if (!key) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return NULL;
    }
    struct muster__named *named = muster__name_map_find(worlds, &worlds->shared, key);
    if (!named)
        return make(ask, request, key);
    free(key);
    struct shared *shared = MUSTER_CONTAINER_OF(named, struct shared, named);
    const char *other = mismatch(shared, request);
    if (!other)
        return shared;
    muster__ask_fail(ask, "NotSupportedError", "%s: this shared worker runs with another %s", request->url, other);
    return NULL;
}

void muster__op_shared_new(struct muster__ask *ask)
{
    struct muster__worker_request request;
    if (!muster__worker_request_read(ask, &request))
        return;
    struct shared *shared = find_or_make(ask, &request);
    struct holder *holder = shared ? add_holder(shared, ask) : NULL;
    if (!holder) {
        if (shared && muster__link_is_empty(&shared->holders) && muster__link_is_empty(&shared->lingering))
            end(shared);
        return;
    }
    enum muster_status status = post_connect(shared, muster__ask_take_port(ask));
    if (status != MUSTER_OK) {
        struct muster_error error = {.status = status};
        muster__pending_fail(take_pending(holder), muster__error_name(status, NULL), &error);
        let_go(&holder->hold);
        return;
    }
    if (shared->worker.is_started)
        answer(holder);
}

void muster__op_shared_release(struct muster__ask *ask)
{
    struct muster__hold *hold = muster__context_find_hold(ask->context, muster__ask_number(ask, 0));
    if (hold && hold->let_go == let_go)
        let_go(hold);
    muster__ask_answer(ask, NULL);
}

/* ---- those that nobody holds ---- */

uint64_t muster__shared_workers_deadline(const struct muster *muster)
{
    const struct muster__link *list = &muster->worlds->lingering;
    return muster__link_is_empty(list) ? UINT64_MAX
                                       : MUSTER_CONTAINER_OF(list->next, struct shared, lingering)->until_us;
}

void muster__shared_workers_tick(struct muster *muster, uint64_t now_us)
{
    while (muster__shared_workers_deadline(muster) <= now_us && !muster__link_is_empty(&muster->worlds->lingering))
        end(MUSTER_CONTAINER_OF(muster->worlds->lingering.next, struct shared, lingering));
}
