/* coordinator/context_worker.c - see context_worker.h. */
#include "coordinator/context_worker.h"

#include "coordinator/clients.h"
#include "runtime/loader_web.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How many workers the scripts of a storage key may have at a time, unless the instance says otherwise. */
#define WORKERS_DEFAULT 512
/* Likewise, message channels; one that nobody refers to is open until the collector sees it. */
#define CHANNELS_DEFAULT 100000

/* ---- how many a storage key has ---- */

struct muster__worker_tenant {
    struct muster__named named;
    size_t count;
    char storage_key[];
};

static struct muster__worker_tenant *tenant_of(struct muster__worlds *worlds, const char *storage_key)
{
    struct muster__named *named = muster__name_map_find(worlds, &worlds->tenants, storage_key);
    if (named)
        return MUSTER_CONTAINER_OF(named, struct muster__worker_tenant, named);
    size_t size = strlen(storage_key) + 1;
    struct muster__worker_tenant *tenant = calloc(1, sizeof(*tenant) + size);
    if (!tenant)
        return NULL;
    memcpy(tenant->storage_key, storage_key, size);
    tenant->named.name = tenant->storage_key;
    muster__name_map_add(worlds, &worlds->tenants, &tenant->named);
    return tenant;
}

static void leave_tenant(struct muster__context_worker *worker)
{
    struct muster__worker_tenant *tenant = worker->tenant;
    worker->tenant = NULL;
    if (!tenant || --tenant->count)
        return;
    muster__name_map_remove(&worker->muster->worlds->tenants, &tenant->named);
    free(tenant);
}

/* What a worker makes counts where the worker does: a data: URL has a key of its own, and no bound of its own. */
static const char *tenant_key_of(const struct muster__context *maker)
{
    const struct muster__context_worker *worker = maker->version ? maker->version->worker : NULL;
    return worker && worker->tenant ? worker->tenant->storage_key : maker->storage_key;
}

struct muster__port_account *muster__port_account_of(struct muster *muster, const struct muster__version *version)
{
    const struct muster__worker_tenant *tenant = version->worker ? version->worker->tenant : NULL;
    size_t limit = muster->options.port_limit ? muster->options.port_limit : CHANNELS_DEFAULT;
    return muster__port_accounts_get(&muster->worlds->port_accounts, tenant ? tenant->storage_key : version->storage_key,
                                     limit);
}

static enum muster_status join_tenant(struct muster__context_worker *worker, const char *storage_key,
                                      struct muster_error *error)
{
    size_t limit = worker->muster->options.worker_limit ? worker->muster->options.worker_limit : WORKERS_DEFAULT;
    struct muster__worker_tenant *tenant = tenant_of(worker->muster->worlds, storage_key);
    if (!tenant)
        return MUSTER_NO_MEMORY;
    if (tenant->count >= limit) {
        muster_error_set(error, MUSTER_REFUSED, "the scripts of %s have %zu workers already, and may have no more",
                         *storage_key ? storage_key : "this instance", tenant->count);
        return MUSTER_REFUSED;
    }
    tenant->count++;
    worker->tenant = tenant;
    return MUSTER_OK;
}

/* ---- life ---- */

/* The options of a registration, as the maker's own version has them. */
static struct muster_registration_options inherited(const struct muster__context_worker_options *options)
{
    const struct muster__version *version = options->maker->version;
    struct muster_registration_options made = {.size = sizeof(made)};
    if (version)
        muster__version_inherit(version, &made);
    else if (!options->maker->is_embedder)
        made.root = ""; /* the user's own script, which runs in no registration: it reads files anywhere */
    made.scope = made.script = options->url;
    made.module = options->module;
    return made;
}

/* The version need not load it. */
static enum muster_status store_text(struct muster__version *version, const char *url, struct muster_bytes text)
{
    if (!text.data)
        return MUSTER_OK;
    struct muster__script *script = calloc(1, sizeof(*script));
    if (!script)
        return MUSTER_NO_MEMORY;
    script->url = muster__strdup(url);
    script->text = muster__strndup(text.data, text.length);
    script->length = text.length;
    if (!script->url || !script->text) {
        muster__script_destroy(script);
        return MUSTER_NO_MEMORY;
    }
    atomic_store(&version->stored, script);
    return MUSTER_OK;
}

/* The graph of a module is loaded by URLs: this process gets to know the blob, if it does not, until the worker ends. */
static enum muster_status keep_blob(struct muster__context_worker *worker, const char *url, struct muster_bytes text,
                                    const char *type)
{
    if (!text.data || strchr(url, '#'))
        return MUSTER_OK;
    worker->blob_url = muster__strdup(url);
    enum muster_status status = worker->blob_url ? muster__blob_add(url, text, type ? type : "") : MUSTER_NO_MEMORY;
    if (status == MUSTER_OK)
        return MUSTER_OK;
    free(worker->blob_url); /* it is another's to remove */
    worker->blob_url = NULL;
    return status == MUSTER_EXISTS ? MUSTER_OK : status;
}

static void forget_blob(struct muster__context_worker *worker)
{
    if (worker->blob_url)
        muster__blob_remove(worker->blob_url);
    free(worker->blob_url);
    worker->blob_url = NULL;
}

static enum muster_status keep_text(struct muster__context_worker *worker,
                                    const struct muster__context_worker_options *options)
{
    return options->module ? keep_blob(worker, options->url, options->text, options->text_type)
                           : store_text(worker->version, options->url, options->text);
}

enum muster_status muster__context_worker_init(struct muster__context_worker *worker,
                                               const struct muster__context_worker_class *class,
                                               const struct muster__context_worker_options *options,
                                               struct muster_error *error)
{
    struct muster *muster = options->maker->muster;
    const struct muster_registration_options registration = inherited(options);
    struct muster__client *maker = options->maker->client;
    *worker = (struct muster__context_worker){.class = class, .muster = muster};
    if (options->take_inside) {
        worker->inside = *options->take_inside;
        *options->take_inside = NULL;
    }
    enum muster_status status = join_tenant(worker, tenant_key_of(options->maker), error);
    if (status == MUSTER_OK)
        status = muster__version_new_plain(muster, &registration, options->maker, options->type, options->name,
                                           &worker->version, error);
    if (status == MUSTER_OK && keep_text(worker, options) != MUSTER_OK) {
        muster__version_release(worker->version);
        worker->version = NULL;
        status = MUSTER_NO_MEMORY;
    }
    if (status == MUSTER_OK) {
        worker->version->worker = worker;
        if (maker && maker->controller)
            worker->controller = muster__version_acquire(maker->controller);
        worker->place = muster__strdup(options->maker->place); /* without memory: nothing claims it */
        muster__coordinator_add(muster, worker->version);
    } else {
        leave_tenant(worker);
        muster__port_release(worker->inside);
        worker->inside = NULL;
    }
    return status;
}

void muster__context_worker_start(struct muster__context_worker *worker)
{
    muster__coordinator_feed(worker->muster, &(struct muster__core_event){.kind = MUSTER__CORE_WANT,
                                                                          .version = worker->version->id});
}

/* The version is the core's alone from here on.  Released by the caller. */
static struct muster__version *take_off(struct muster__context_worker *worker)
{
    struct muster__version *version = worker->version;
    worker->version = NULL;
    if (version)
        version->worker = NULL;
    muster__version_release(worker->controller);
    worker->controller = NULL;
    free(worker->place);
    worker->place = NULL;
    muster__port_release(worker->inside);
    worker->inside = NULL;
    forget_blob(worker);
    leave_tenant(worker);
    return version;
}

void muster__context_worker_end(struct muster__context_worker *worker, bool at_once)
{
    struct muster *muster = worker->muster;
    struct muster__version *version = take_off(worker);
    if (version)
        muster__coordinator_drop(muster, version, at_once);
    muster__version_release(version);
}

void muster__context_worker_started(struct muster__context_worker *worker)
{
    worker->is_started = true;
    worker->class->started(worker);
}

void muster__context_worker_reported(struct muster__context_worker *worker, const struct muster_error *error)
{
    worker->class->reported(worker, error);
}

void muster__context_worker_lost(struct muster__context_worker *worker, enum muster_status status,
                                 const struct muster_error *error)
{
    struct muster *muster = worker->muster;
    struct muster__version *version = take_off(worker);
    muster__coordinator_drop(muster, version, false);
    worker->class->lost(worker, status, error);
    muster__version_release(version);
}

/* ---- what scripts ask for ---- */

static bool is_one_of(const char *text, const char *const *words)
{
    while (*words && strcmp(text, *words) != 0)
        words++;
    return *words != NULL;
}

/* A script of another origin is not run as a worker (HTML, "fetch a classic worker script": same-origin); a data: URL
 * has an origin that nobody else has, and a blob of such a script's is known to nobody whom it did not tell.  An
 * embedder names its scripts as it likes. */
bool muster__context_may_load(const struct muster__context *context, const char *url)
{
    char *origin = muster__origin_of(url);
    bool same = origin && (strcmp(origin, context->origin) == 0 || muster__is_opaque(url) ||
                           (!*origin && context->is_embedder));
    free(origin);
    return same;
}

bool muster__worker_request_read(struct muster__ask *ask, struct muster__worker_request *ret_request)
{
    static const char *const types[] = {"classic", "module", NULL};
    static const char *const credentials[] = {"omit", "same-origin", "include", NULL};
    const struct muster_value *options = muster__ask_argument(ask, 1);
    const struct muster_value *name = muster_value_get(options, "name");
    const struct muster_value *type = muster_value_get(options, "type");
    const struct muster_value *with = muster_value_get(options, "credentials");
    const struct muster_value *text = muster_value_get(options, "text");
    struct muster__worker_request request = {
        .url = muster__ask_text(ask, 0),
        .name = name ? muster__text_of(name) : "",
        .type = type ? muster__text_of(type) : "classic",
        .credentials = with ? muster__text_of(with) : "same-origin",
        .extended = muster_value_boolean(muster_value_get(options, "extendedLifetime")),
    };
    if (!request.url || !*request.url || !request.name || !request.type || !request.credentials ||
        !is_one_of(request.type, types) || !is_one_of(request.credentials, credentials) || !ask->is_ask ||
        !ask->message->port_count) {
        muster__ask_fail(ask, "TypeError", "a worker has a URL, options and a port");
        return false;
    }
    if (ask->context->type == MUSTER__WORKER_SERVICE) {
        muster__ask_fail(ask, "NotSupportedError", "a service worker makes no workers");
        return false;
    }
    if (strncmp(request.url, "blob:", 5) == 0 && muster_value_type(text) == MUSTER_TYPE_STRING)
        request.text = muster_value_bytes(text);
    request.text_type = muster__text_of(muster_value_get(options, "textType"));
    if (!muster__context_may_load(ask->context, request.url)) {
        muster__ask_fail(ask, "SecurityError", "%s: the script of a worker is of the same origin as its maker",
                         request.url);
        return false;
    }
    *ret_request = request;
    return true;
}

const char *muster__error_name(enum muster_status status, const struct muster_error *error)
{
    if (error && error->name)
        return error->name;
    switch (status) {
    case MUSTER_REFUSED: return "QuotaExceededError";
    case MUSTER_NOT_FOUND:
    case MUSTER_LOAD_FAILED: return "NetworkError";
    case MUSTER_SYNTAX_ERROR: return "SyntaxError";
    case MUSTER_UNSUPPORTED: return "NotSupportedError";
    case MUSTER_SHUTDOWN:
    case MUSTER_CANCELED:
    case MUSTER_TERMINATED: return "AbortError";
    default: return "OperationError";
    }
}

/* ---- what a context holds ---- */

struct muster__hold *muster__context_find_hold(const struct muster__context *context, uint64_t id)
{
    for (struct muster__link *at = context->holds.next; at != &context->holds; at = at->next) {
        struct muster__hold *hold = MUSTER_CONTAINER_OF(at, struct muster__hold, link);
        if (hold->id == id)
            return hold;
    }
    return NULL;
}

void muster__context_workers_let_go(struct muster__context *context)
{
    while (!muster__link_is_empty(&context->holds)) {
        struct muster__hold *hold = MUSTER_CONTAINER_OF(context->holds.next, struct muster__hold, link);
        muster__link_remove(&hold->link);
        hold->let_go(hold);
    }
}
