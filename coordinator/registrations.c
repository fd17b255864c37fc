/* coordinator/registrations.c - see registrations.h. */
#include "coordinator/registrations.h"

#include "coordinator/clients.h"
#include "coordinator/routes_ask.h"
#include "coordinator/script_map.h"
#include "coordinator/store_keeper.h"
#include "runtime/script_fetch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a script may name; matching a URL tries each of its beginnings up to the longest scope. */
#define MOST_SCOPE ((size_t)4096)
/* After the page was opened that gives the occasion: what it loads comes first. */
#define SOFT_UPDATE_DELAY_US 1000000u

/* What a script asked for, until the core has settled it. */
struct script_job {
    struct muster__id_node node; /* by the job's number */
    enum muster__core_event_kind kind;
    struct muster__pending *pending; /* NULL: nobody waits */
    struct muster__version *draft;   /* REGISTER: what would be registered */
    enum muster__via via;            /* likewise */
};

/* A load, until its job has settled. */
struct job_load {
    struct muster__id_node node; /* by the job's number */
    struct muster__load *load;
    struct muster_error error; /* why it came to nothing */
};

/* A registration that scripts were told of, as long as it is registered. */
struct record {
    struct muster__id_node node; /* by its number */
    uint64_t soft_update_us;     /* when an update is due; 0: none is */
    enum muster__via via;        /* as scripts were told */
    bool preloads;
    char *preload_header; /* NULL: "true" */
    char scope[];
};

struct ready_wait {
    struct muster__link link;
    struct muster__pending *pending;
};

/* A worker that asked to take over, and is being activated. */
struct skip_wait {
    struct muster__link link;
    struct muster__pending *pending;
    uint32_t version;
};

struct muster__registrations {
    struct muster__id_map jobs, loads, records;
    struct muster__link readies; /* those who wait for an active worker */
    struct muster__link skips;
    size_t ready_count, ready_sweep; /* at so many, those whose context is closed are let go */
    size_t longest_scope;
    struct { /* the last job whose script did not come, for those that joined it: they settle next */
        char *scope;
        enum muster_status status;
        struct muster_error error;
    } failure;
    uint64_t soft_update_us; /* the next that is due; UINT64_MAX: none */
};

static struct muster__registrations *own(const struct muster *muster)
{
    return muster->worlds->registrations;
}

/* ---- life ---- */

struct muster__registrations *muster__registrations_new(void)
{
    struct muster__registrations *registrations = calloc(1, sizeof(*registrations));
    if (!registrations)
        return NULL;
    muster__link_init(&registrations->readies);
    muster__link_init(&registrations->skips);
    registrations->soft_update_us = UINT64_MAX;
    return registrations;
}

static struct script_job *job_of(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct script_job, node) : NULL;
}

static struct job_load *load_of(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct job_load, node) : NULL;
}

static struct record *record_of(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct record, node) : NULL;
}

static void free_job(struct script_job *job)
{
    muster__version_release(job->draft);
    free(job);
}

static void free_load(struct job_load *load)
{
    muster__load_leave(load->load);
    muster__load_release(load->load);
    muster_error_clean_up(&load->error);
    free(load);
}

static void free_record(struct record *record)
{
    free(record->preload_header);
    free(record);
}

static void abort_pending(struct muster__pending *take_pending)
{
    const struct muster_error error = {.status = MUSTER_SHUTDOWN};
    muster__pending_fail(take_pending, "AbortError", &error);
}

static void let_ready_go(struct muster__registrations *registrations, struct ready_wait *wait)
{
    muster__link_remove(&wait->link);
    registrations->ready_count--;
    free(wait);
}

static void let_skip_go(struct skip_wait *wait)
{
    muster__link_remove(&wait->link);
    free(wait);
}

void muster__registrations_destroy(struct muster__registrations *registrations)
{
    struct muster__id_node *node;
    if (!registrations)
        return;
    while ((node = muster__id_map_any(&registrations->jobs))) {
        struct script_job *job = job_of(muster__id_map_remove(&registrations->jobs, node->id));
        if (job->pending)
            abort_pending(job->pending);
        free_job(job);
    }
    while ((node = muster__id_map_any(&registrations->loads)))
        free_load(load_of(muster__id_map_remove(&registrations->loads, node->id)));
    while ((node = muster__id_map_any(&registrations->records)))
        free_record(record_of(muster__id_map_remove(&registrations->records, node->id)));
    while (!muster__link_is_empty(&registrations->readies)) {
        struct ready_wait *wait = MUSTER_CONTAINER_OF(registrations->readies.next, struct ready_wait, link);
        abort_pending(wait->pending);
        let_ready_go(registrations, wait);
    }
    while (!muster__link_is_empty(&registrations->skips)) {
        struct skip_wait *wait = MUSTER_CONTAINER_OF(registrations->skips.next, struct skip_wait, link);
        abort_pending(wait->pending);
        let_skip_go(wait);
    }
    free(registrations->failure.scope);
    muster_error_clean_up(&registrations->failure.error);
    muster__id_map_clean_up(&registrations->jobs);
    muster__id_map_clean_up(&registrations->loads);
    muster__id_map_clean_up(&registrations->records);
    free(registrations);
}

void muster__registrations_closing(struct muster *muster)
{
    struct muster__registrations *registrations = own(muster);
    registrations->soft_update_us = UINT64_MAX;
    for (struct muster__id_node *at = muster__id_map_next(&registrations->loads, NULL); at;
         at = muster__id_map_next(&registrations->loads, at))
        muster__load_leave(load_of(at)->load);
}

/* ---- URLs ---- */

static bool has_scheme(const char *url, const char *scheme)
{
    return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

static bool is_web(const char *url)
{
    return muster__is_http_url(url);
}

static size_t host_length(const char *host)
{
    size_t length = strcspn(host, "/?#");
    if (*host == '[')
        return strcspn(host, "]") + 1;
    return strcspn(host, ":") < length ? strcspn(host, ":") : length;
}

static bool ends_with(const char *text, size_t length, const char *ending)
{
    size_t size = strlen(ending);
    return length >= size && strncasecmp(text + length - size, ending, size) == 0;
}

/* Secure Contexts standard, "potentially trustworthy": what is encrypted, this machine, and what is not of the web. */
static bool is_trustworthy(const char *url)
{
    if (!has_scheme(url, "http:"))
        return true;
    const char *host = url + strlen("http://");
    size_t length = host_length(host);
    return (length == 9 && ends_with(host, length, "localhost")) || ends_with(host, length, ".localhost") ||
           strncmp(host, "127.", 4) == 0 || (length == 5 && strncmp(host, "[::1]", 5) == 0);
}

static bool same_scheme(const char *a, const char *b)
{
    size_t length = strcspn(a, ":");
    return length == strcspn(b, ":") && strncasecmp(a, b, length) == 0;
}

static bool is_of_origin(const char *url, const char *origin)
{
    char *its = muster__origin_of(url);
    bool same = its && *its && strcmp(its, origin) == 0;
    free(its);
    return same;
}

static bool has_escaped_slash(const char *url)
{
    size_t length = strcspn(url, "?#");
    for (size_t i = 0; i + 2 < length; i++)
        if (strncasecmp(url + i, "%2f", 3) == 0 || strncasecmp(url + i, "%5c", 3) == 0)
            return true;
    return false;
}

/* SW-REG-1, SW-REG-2.  False: the ask was answered. */
static bool check_url(struct muster__ask *ask, const char *url, const char *what)
{
    const struct muster__context *context = ask->context;
    if (!url || !strstr(url, "://") || strlen(url) > MOST_SCOPE)
        muster__ask_fail(ask, "TypeError", "the %s is no URL of at most %zu bytes", what, MOST_SCOPE);
    else if (!is_web(url) && (is_web(context->url) || !same_scheme(url, context->url)))
        muster__ask_fail(ask, "TypeError", "%s: a %s has the scheme http or https", url, what);
    else if (has_escaped_slash(url))
        muster__ask_fail(ask, "TypeError", "%s: the path of a %s has no escaped slashes", url, what);
    else if (!is_of_origin(url, context->origin))
        muster__ask_fail(ask, "SecurityError", "%s: the %s is of another origin than %s", url, what, context->origin);
    else
        return true;
    return false;
}

static bool is_of_key(const char *scope, const char *storage_key)
{
    size_t length = strlen(storage_key);
    return *scope == '/' || !length ||
           (strncmp(scope, storage_key, length) == 0 && (scope[length] == '/' || !scope[length]));
}

/* ---- registrations by their numbers ---- */

static void note_scope(struct muster__registrations *registrations, const char *scope)
{
    size_t length = strlen(scope);
    if (length > registrations->longest_scope)
        registrations->longest_scope = length;
}

static struct record *find_record(const struct muster *muster, uint64_t registration)
{
    return record_of(muster__id_map_find(&own(muster)->records, registration));
}

static struct record *see(struct muster *muster, const struct muster__core_scope_view *view)
{
    struct record *record = find_record(muster, view->registration);
    if (record || !view->registered || view->plain)
        return record;
    size_t size = strlen(view->scope) + 1;
    record = calloc(1, sizeof(*record) + size);
    if (!record)
        return NULL;
    record->node.id = view->registration;
    record->via = view->via;
    memcpy(record->scope, view->scope, size);
    muster__id_map_add(&own(muster)->records, &record->node);
    return record;
}

void muster__registrations_see(struct muster *muster, const struct muster__core_scope_view *view)
{
    (void)see(muster, view);
}

bool muster__registrations_find(struct muster *muster, uint64_t registration,
                                struct muster__core_scope_view *ret_view)
{
    const struct record *record = registration ? find_record(muster, registration) : NULL;
    return record && muster__core_scope_view(muster->core, record->scope, ret_view) &&
           ret_view->registration == registration;
}

/* False: none, or none that this one may see. */
static bool find_for(const struct muster__ask *ask, size_t argument, struct muster__core_scope_view *ret_view)
{
    return muster__registrations_find(ask->context->muster, muster__ask_number(ask, argument), ret_view) &&
           is_of_key(ret_view->scope, ask->context->storage_key);
}

bool muster__registrations_asked(struct muster__ask *ask, size_t argument, struct muster__core_scope_view *ret_view)
{
    ask->context->hears_registrations = true;
    if (find_for(ask, argument, ret_view))
        return true;
    muster__ask_fail(ask, "InvalidStateError", "the registration is unregistered");
    return false;
}

bool muster__registrations_preload(const struct muster *muster, uint64_t registration, const char **ret_header)
{
    const struct record *record = find_record(muster, registration);
    *ret_header = record && record->preload_header ? record->preload_header : "true";
    return record && record->preloads;
}

/* ---- by a URL ---- */

/* The longest beginning of `text` that is a scope; `text` is cut on the way. */
static bool match_cut(struct muster *muster, char *text, struct muster__core_scope_view *ret_view)
{
    size_t length = strlen(text), longest = own(muster)->longest_scope;
    if (length > longest)
        length = longest;
    for (; length; length--) {
        text[length] = '\0';
        if (muster__core_scope_view(muster->core, text, ret_view) && !ret_view->plain)
            return true;
    }
    return false;
}

bool muster__registrations_match(struct muster *muster, const char *url, struct muster__core_scope_view *ret_view)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    char *text = muster__strdup(url);
    bool found = text && match_cut(muster, text, ret_view);
    free(text);
    text = path && !found ? muster__strdup(path) : NULL;
    found = found || (text && match_cut(muster, text, ret_view));
    free(text);
    return found;
}

/* ---- what contexts are told ---- */

static bool is_own(const struct muster__context *context, uint64_t registration)
{
    const struct muster__version *version = context->type == MUSTER__WORKER_SERVICE ? context->version
                                            : context->client                      ? context->client->controller
                                                                                    : NULL;
    return version && version->registration == registration;
}

/* The head is released by the last that got it. */
static void tell_all(struct muster *muster, const char *scope, uint64_t registration, struct muster_value *take_head)
{
    struct muster__link *list = &muster->worlds->contexts;
    for (struct muster__link *at = list->next; take_head && at != list; at = at->next) {
        struct muster__context *context = MUSTER_CONTAINER_OF(at, struct muster__context, link);
        if (is_of_key(scope, context->storage_key) &&
            (context->hears_registrations || is_own(context, registration)))
            muster__context_tell(context, muster_value_acquire(take_head), NULL);
    }
    muster_value_release(take_head);
}

/* SW-UPD-6: the same script, cached in another way, is no news of a version. */
static void tell_via(struct muster *muster, const char *scope)
{
    struct muster__core_scope_view view;
    struct record *record =
        scope && muster__core_scope_view(muster->core, scope, &view) ? find_record(muster, view.registration) : NULL;
    if (!record || record->via == view.via)
        return;
    record->via = view.via;
    tell_all(muster, view.scope, view.registration,
             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("registration"),
                           muster__tree_registration(muster, &view)));
}

/* ---- jobs ---- */

/* NULL: out of memory, and the ask was answered. */
static struct script_job *new_job(struct muster__ask *ask, enum muster__core_event_kind kind)
{
    struct muster *muster = ask->context->muster;
    struct script_job *job = calloc(1, sizeof(*job));
    if (!job) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return NULL;
    }
    job->node.id = muster__coordinator_own_job(muster);
    job->kind = kind;
    job->pending = muster__ask_defer(ask);
    if (!job->pending) {
        free(job);
        return NULL;
    }
    muster__id_map_add(&own(muster)->jobs, &job->node);
    return job;
}

static struct muster_value *tree_of_job(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__core_scope_view view;
    bool found = (action->version && muster__core_version_view(muster->core, action->version, &view)) ||
                 muster__core_scope_view(muster->core, action->scope, &view);
    return found ? muster__tree_registration(muster, &view) : muster_value_new_null();
}

/* What a script is told of a job that failed (SW-UPD-3, 4, 6, 7; SW-JOB-6). */
static void fail_job(struct script_job *job, enum muster_status status, const struct muster_error *error)
{
    bool is_security = error && error->name && strcmp(error->name, "SecurityError") == 0;
    const char *name = is_security                  ? "SecurityError"
                       : status == MUSTER_SHUTDOWN  ? "AbortError"
                       : status == MUSTER_NO_MEMORY ? "OperationError"
                       : status == MUSTER_REFUSED   ? "QuotaExceededError"
                                                    : "TypeError";
    struct muster_error told = {.status = status};
    if (!error && status == MUSTER_NOT_FOUND)
        muster_error_set(&told, status, "there is no such registration any more");
    muster__pending_fail(job->pending, name, error ? error : &told);
    muster_error_clean_up(&told);
}

/* NULL: the script came, or is not known to have failed. */
static const struct muster_error *load_error_of(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__registrations *registrations = own(muster);
    const struct muster_error *error = muster__registrations_load_error(muster, action->job);
    if (error) {
        free(registrations->failure.scope);
        muster_error_clean_up(&registrations->failure.error);
        registrations->failure.scope = muster__strdup(action->scope);
        registrations->failure.status = action->status;
        muster_error_copy(&registrations->failure.error, error);
        return error;
    }
    bool joined = action->scope && registrations->failure.scope && registrations->failure.status == action->status &&
                  strcmp(action->scope, registrations->failure.scope) == 0;
    return joined ? &registrations->failure.error : NULL;
}

void muster__registrations_settled(struct muster *muster, const struct muster__core_action *action,
                                   const struct muster_error *error)
{
    struct script_job *job = job_of(muster__id_map_remove(&own(muster)->jobs, action->job));
    const struct muster_error *load_error = action->status != MUSTER_OK ? load_error_of(muster, action) : NULL;
    if (!job)
        return;
    bool gone = action->status == MUSTER_NOT_FOUND && job->kind == MUSTER__CORE_UNREGISTER;
    if (job->kind == MUSTER__CORE_UNREGISTER && (gone || action->status == MUSTER_OK)) {
        muster__pending_answer(job->pending, muster_value_new_boolean(!gone));
    } else if (action->status == MUSTER_OK) {
        tell_via(muster, action->scope);
        muster__pending_answer(job->pending, tree_of_job(muster, action));
    } else {
        fail_job(job, action->status, load_error ? load_error : error);
    }
    free_job(job);
}

/* ---- what a storage key may have ---- */

#define REGISTRATIONS_DEFAULT 1000u

struct tally {
    struct muster *muster;
    const char *storage_key, *scope; /* of this one it may have another version */
    size_t registrations, bytes;
};

static void tally_one(const struct muster__core_scope_view *view, void *user_data)
{
    struct tally *tally = user_data;
    const uint32_t versions[] = {view->installing, view->waiting, view->active};
    if (view->plain || *view->scope == '/' || strcmp(view->scope, tally->scope) == 0 ||
        !is_of_key(view->scope, tally->storage_key))
        return;
    tally->registrations++;
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        const struct muster__version *version = muster__coordinator_version(tally->muster, versions[i]);
        tally->bytes += version ? version->stored_bytes : 0;
    }
}

/* Those of jobs that have not begun, too. */
static struct tally tally_of(struct muster *muster, const char *storage_key, const char *scope)
{
    struct tally tally = {.muster = muster, .storage_key = storage_key, .scope = scope};
    muster__core_each_registration(muster->core, tally_one, &tally);
    for (struct muster__id_node *at = muster__id_map_next(&own(muster)->jobs, NULL); at;
         at = muster__id_map_next(&own(muster)->jobs, at)) {
        const struct script_job *job = job_of(at);
        struct muster__core_scope_view view;
        if (job->draft && strcmp(job->draft->scope, scope) != 0 && is_of_key(job->draft->scope, storage_key) &&
            !muster__core_scope_view(muster->core, job->draft->scope, &view))
            tally.registrations++;
    }
    return tally;
}

/* False: the ask was answered. */
static bool may_register(struct muster__ask *ask, const struct muster__version *draft)
{
    struct muster *muster = ask->context->muster;
    size_t limit = muster->options.registration_limit ? muster->options.registration_limit : REGISTRATIONS_DEFAULT;
    if (tally_of(muster, draft->storage_key, draft->scope).registrations < limit)
        return true;
    muster__ask_fail(ask, "QuotaExceededError", "%s has %zu registrations already, and may have no more",
                     draft->storage_key, limit);
    return false;
}

static void add_bytes(const struct muster__mapped_script *script, void *user_data)
{
    *(size_t *)user_data += script->script->length;
}

static void count_bytes(struct muster__version *version)
{
    version->stored_bytes = 0;
    if (version->map)
        muster__script_map_each(version->map, add_bytes, &version->stored_bytes);
}

/* REFUSED: what came is more than its storage key may keep. */
static enum muster_status check_stored(struct muster *muster, struct muster__version *draft, struct muster_error *error)
{
    size_t limit = muster->options.stored_limit;
    count_bytes(draft);
    if (!limit || !draft->map ||
        tally_of(muster, draft->storage_key, draft->scope).bytes + draft->stored_bytes <= limit)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_REFUSED, "the scripts of %s would take more than the %zu bytes that it may keep",
                     draft->storage_key, limit);
    error->name = muster__strdup("QuotaExceededError");
    return MUSTER_REFUSED;
}

/* ---- scripts ---- */

/* The same again, of what may have changed; NULL: out of memory, or it cannot be made any more. */
static struct muster__version *draft_like(struct muster *muster, struct muster__version *version)
{
    struct muster_registration_options options = {.size = sizeof(options)};
    struct muster__version *draft = NULL;
    struct muster_error ignored = {0};
    muster__version_inherit(version, &options);
    options.scope = version->scope;
    options.script = version->script;
    options.engine = version->engine->name;
    options.module = version->loader.module;
    options.idempotent = version->idempotent;
    options.schedule = version->schedule;
    options.declared = version->is_declared;
    enum muster_status status = muster__version_new(muster, &options, &draft, &ignored);
    if (status == MUSTER_OK) {
        char *identity = muster__strdup(version->identity); /* the same script, whatever was inherited */
        if (identity) {
            free(draft->identity);
            draft->identity = identity;
        }
        draft->idle_us = version->idle_us;
        if (!identity || (version->map && muster__version_keep_scripts(draft) != MUSTER_OK)) {
            muster__version_release(draft);
            draft = NULL;
        }
    }
    muster_error_clean_up(&ignored);
    return draft;
}

static void feed_loaded(struct muster *muster, uint64_t job, const struct muster__load_outcome *outcome,
                        struct muster__version *draft)
{
    bool offers = outcome->status == MUSTER_OK && outcome->changed;
    if (offers) {
        draft->node.id = draft->id;
        muster__id_map_add(&muster->own.versions, &muster__version_acquire(draft)->node);
    }
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_LOADED,
                                                                  .job = job,
                                                                  .status = outcome->status,
                                                                  .changed = outcome->changed,
                                                                  .version = offers ? draft->id : 0,
                                                                  .idle_us = draft ? draft->idle_us : 0,
                                                                  .checked_us = outcome->checked_us});
}

static void load_ended(struct muster *muster, struct muster__load *load, const struct muster__load_outcome *outcome)
{
    struct job_load *kept = load_of(muster__id_map_find(&own(muster)->loads, muster__load_job(load)));
    struct muster__version *draft = muster__load_draft(load);
    if (!kept)
        return;
    if (outcome->error) {
        muster_error_clean_up(&kept->error);
        muster_error_copy(&kept->error, outcome->error);
        muster__log(muster, MUSTER_LOG_WARNING, draft->scope, "%s", outcome->error->message);
    }
    struct muster__load_outcome checked = *outcome;
    if (checked.status == MUSTER_OK && checked.changed)
        checked.status = check_stored(muster, draft, &kept->error);
    feed_loaded(muster, muster__load_job(load), &checked, draft);
}

/* How a job's scripts may be cached: as it was asked to register them, or as they are registered. */
static enum muster__via via_of(const struct muster *muster, uint64_t job_number, const struct muster__version *base)
{
    const struct script_job *job = job_of(muster__id_map_find(&own(muster)->jobs, job_number));
    struct muster__core_scope_view view;
    if (job && job->draft)
        return job->via;
    return base && muster__core_version_view(muster->core, base->id, &view) ? view.via : MUSTER__VIA_IMPORTS;
}

static enum muster_status start_load(struct muster *muster, uint64_t job, struct muster__version *draft,
                                     struct muster__version *base)
{
    struct job_load *kept = calloc(1, sizeof(*kept));
    bool stale = muster__core_is_stale(muster->core, draft->scope, muster__wall_us());
    struct muster__load *load =
        kept ? muster__load_new(muster, job, draft, base, via_of(muster, job, base), stale) : NULL;
    enum muster_status status = load ? muster__load_start(load, load_ended) : MUSTER_NO_MEMORY;
    if (status != MUSTER_OK) {
        muster__load_release(load);
        free(kept);
        return status;
    }
    free(own(muster)->failure.scope);
    own(muster)->failure.scope = NULL;
    kept->load = load;
    kept->node.id = job;
    muster__id_map_add(&own(muster)->loads, &kept->node);
    return MUSTER_OK;
}

void muster__registrations_load(struct muster *muster, const struct muster__core_action *action)
{
    const struct script_job *job = job_of(muster__id_map_find(&own(muster)->jobs, action->job));
    struct muster__version *base = muster__coordinator_version(muster, action->version);
    struct muster__version *draft = job && job->draft ? muster__version_acquire(job->draft) : NULL;
    struct muster__load_outcome outcome = {.status = MUSTER_NO_MEMORY};
    bool is_native = !draft && base && strcmp(base->engine->name, "native") == 0;
    if (!draft && base && !is_native)
        draft = draft_like(muster, base);
    if (is_native)
        outcome.status = MUSTER_OK; /* the embedder's code is what it is */
    else if (draft)
        outcome.status = start_load(muster, action->job, draft, base);
    if (is_native || outcome.status != MUSTER_OK)
        feed_loaded(muster, action->job, &outcome, NULL);
    muster__version_release(draft);
}

const struct muster_error *muster__registrations_load_error(const struct muster *muster, uint64_t job)
{
    const struct job_load *load = load_of(muster__id_map_find(&own(muster)->loads, job));
    return load && load->error.message ? &load->error : NULL;
}

void muster__registrations_forget_job(struct muster *muster, uint64_t job)
{
    struct job_load *load = load_of(muster__id_map_remove(&own(muster)->loads, job));
    if (load)
        free_load(load);
}

/* ---- what is told of states ---- */

static void settle_readies(struct muster *muster, uint64_t registration)
{
    struct muster__registrations *registrations = own(muster);
    struct muster__link *next;
    muster__scope_map_commit(muster->scopes); /* whoever is ready finds it */
    muster__scope_map_begin(muster->scopes);
    for (struct muster__link *at = registrations->readies.next; at != &registrations->readies; at = next) {
        struct ready_wait *wait = MUSTER_CONTAINER_OF(at, struct ready_wait, link);
        const struct muster__context *context = wait->pending->context;
        struct muster__core_scope_view view;
        next = at->next;
        if (context && (!muster__registrations_match(muster, context->url, &view) ||
                        view.registration != registration))
            continue;
        muster__pending_answer(wait->pending, context ? muster__tree_registration(muster, &view) : NULL);
        let_ready_go(registrations, wait);
    }
}

static void settle_skips(struct muster *muster, uint32_t version)
{
    struct muster__link *list = &own(muster)->skips, *next;
    for (struct muster__link *at = list->next; at != list; at = next) {
        struct skip_wait *wait = MUSTER_CONTAINER_OF(at, struct skip_wait, link);
        next = at->next;
        if (wait->version != version)
            continue;
        muster__pending_answer(wait->pending, NULL);
        let_skip_go(wait);
    }
}

void muster__registrations_note_state(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__version *version = muster__coordinator_version(muster, action->version);
    const char *state = muster__version_state_word(action->state);
    if (!version)
        return;
    atomic_store(&version->state, state);
    version->registration = action->registration;
    if (action->state == MUSTER__VERSION_INSTALLED && version->map)
        muster__script_map_close(version->map);
    if (action->state == MUSTER__VERSION_INSTALLED)
        count_bytes(version);
    if (action->state >= MUSTER__VERSION_INSTALLED && action->state <= MUSTER__VERSION_ACTIVATED)
        muster__routes_installed(version);
    if (action->state == MUSTER__VERSION_ACTIVATING)
        muster__keeper_put(muster, version);
    if (action->state > MUSTER__VERSION_ACTIVATING)
        settle_skips(muster, action->version); /* before its script is told of the state */
    tell_all(muster, version->scope, action->registration,
             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("state"), muster_value_new_number(version->id),
                           muster__tree_text(state)));
    if (action->state == MUSTER__VERSION_ACTIVATING)
        settle_readies(muster, action->registration);
}

void muster__registrations_note_slots(struct muster *muster, const struct muster__core_action *action)
{
    const uint32_t slots[] = {action->installing, action->waiting, action->active};
    struct muster__core_scope_view view = {0};
    struct record *record = find_record(muster, action->registration);
    for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++) {
        struct muster__version *version = muster__coordinator_version(muster, slots[i]);
        if (version)
            version->registration = action->registration;
    }
    if (muster__link_is_empty(&muster->worlds->contexts))
        return;
    if (!muster__core_scope_view(muster->core, action->scope, &view) || view.registration != action->registration)
        view = (struct muster__core_scope_view){.via = MUSTER__VIA_COUNT}; /* as they know it */
    else if (record)
        record->via = view.via;
    view.scope = action->scope;
    view.registration = action->registration;
    view.installing = action->installing;
    view.waiting = action->waiting;
    view.active = action->active;
    tell_all(muster, action->scope, action->registration,
             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("registration"),
                           muster__tree_registration(muster, &view)));
}

void muster__registrations_note_update_found(struct muster *muster, const struct muster__core_action *action)
{
    tell_all(muster, action->scope, action->registration,
             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("updatefound"),
                           muster_value_new_number((double)action->registration)));
}

void muster__registrations_published(struct muster *muster, const struct muster__core_action *action)
{
    note_scope(own(muster), action->scope);
}

void muster__registrations_withdrawn(struct muster *muster, const struct muster__core_action *action)
{
    struct record *record = record_of(muster__id_map_remove(&own(muster)->records, action->registration));
    if (record)
        free_record(record);
}

/* ---- soft updates ---- */

void muster__registrations_soft_update(struct muster *muster, const struct muster__version *version)
{
    struct muster__registrations *registrations = own(muster);
    struct muster__core_scope_view view;
    if (!version->map || atomic_load(&muster->closing) ||
        !muster__core_version_view(muster->core, version->id, &view) || !view.registered)
        return;
    struct record *record = see(muster, &view);
    if (!record || record->soft_update_us)
        return;
    record->soft_update_us = muster__now_us() + SOFT_UPDATE_DELAY_US;
    if (record->soft_update_us < registrations->soft_update_us)
        registrations->soft_update_us = record->soft_update_us;
}

void muster__registrations_check_stale(struct muster *muster, const struct muster__version *version)
{
    if (version->map && muster__core_is_stale(muster->core, version->scope, muster__wall_us()))
        muster__registrations_soft_update(muster, version);
}

uint64_t muster__registrations_deadline(const struct muster *muster)
{
    return own(muster)->soft_update_us;
}

static struct record *next_due(struct muster *muster, uint64_t now_us)
{
    const struct muster__id_map *records = &own(muster)->records;
    struct record *record = record_of(muster__id_map_next(records, NULL));
    while (record && !(record->soft_update_us && record->soft_update_us <= now_us))
        record = record_of(muster__id_map_next(records, &record->node));
    return record;
}

static void find_soft_deadline(struct muster__registrations *registrations)
{
    registrations->soft_update_us = UINT64_MAX;
    for (struct muster__id_node *at = muster__id_map_next(&registrations->records, NULL); at;
         at = muster__id_map_next(&registrations->records, at)) {
        const struct record *record = record_of(at);
        if (record->soft_update_us && record->soft_update_us < registrations->soft_update_us)
            registrations->soft_update_us = record->soft_update_us;
    }
}

void muster__registrations_tick(struct muster *muster, uint64_t now_us)
{
    struct muster__registrations *registrations = own(muster);
    struct record *record;
    if (now_us < registrations->soft_update_us)
        return;
    while (!atomic_load(&muster->closing) && (record = next_due(muster, now_us))) {
        record->soft_update_us = 0;
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_UPDATE,
                                                                      .job = muster__coordinator_own_job(muster),
                                                                      .scope = record->scope,
                                                                      .early = true});
    }
    find_soft_deadline(registrations);
}

/* ---- ops ---- */

static bool read_via(const char *word, enum muster__via *ret_via)
{
    for (size_t i = 0; word && i < MUSTER__VIA_COUNT; i++)
        if (strcmp(word, muster__via_word((enum muster__via)i)) == 0) {
            *ret_via = (enum muster__via)i;
            return true;
        }
    return false;
}

/* As its maker's own, where that has a version.  NULL: the ask was answered. */
static struct muster__version *new_draft(struct muster__ask *ask, const char *script, const char *scope, bool module)
{
    const struct muster__context *context = ask->context;
    struct muster_registration_options options = {.size = sizeof(options)};
    struct muster__version *draft = NULL;
    struct muster_error error = {0};
    if (context->version)
        muster__version_inherit(context->version, &options);
    options.scope = scope;
    options.script = script;
    options.engine = muster__version_engine(context, script);
    options.module = module;
    if (!options.tenant && *context->storage_key)
        options.tenant = context->storage_key;
    enum muster_status status = muster__version_new(context->muster, &options, &draft, &error);
    if (status == MUSTER_OK) {
        status = muster__version_keep_scripts(draft);
        if (status != MUSTER_OK)
            muster__version_release(draft);
    }
    if (status != MUSTER_OK)
        muster__ask_fail(ask, status == MUSTER_NO_MEMORY ? "OperationError" : "TypeError", "%s",
                         error.message ? error.message : muster_status_sentence(status));
    muster_error_clean_up(&error);
    return status == MUSTER_OK ? draft : NULL;
}

/* register(scriptURL, scope, {type, updateViaCache}) */
void muster__op_register(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    const char *script = muster__ask_text(ask, 0), *scope = muster__ask_text(ask, 1);
    const struct muster_value *options = muster__ask_argument(ask, 2);
    const char *type = muster__text_of(muster_value_get(options, "type"));
    enum muster__via via = MUSTER__VIA_IMPORTS;
    ask->context->hears_registrations = true;
    if (!is_trustworthy(ask->context->url)) {
        muster__ask_fail(ask, "SecurityError", "%s is not to be trusted: it is neither encrypted nor of this machine",
                         ask->context->origin);
        return;
    }
    if (!read_via(muster__text_of(muster_value_get(options, "updateViaCache")), &via) || !type ||
        (strcmp(type, "classic") != 0 && strcmp(type, "module") != 0)) {
        muster__ask_fail(ask, "TypeError", "the options of a registration are its type and its updateViaCache");
        return;
    }
    if (!check_url(ask, script, "script") || !check_url(ask, scope, "scope"))
        return;
    struct muster__version *draft = new_draft(ask, script, scope, strcmp(type, "module") == 0);
    struct script_job *job = draft && may_register(ask, draft) ? new_job(ask, MUSTER__CORE_REGISTER) : NULL;
    if (!job) {
        muster__version_release(draft);
        return;
    }
    job->draft = draft;
    job->via = via;
    note_scope(own(muster), draft->scope);
    (void)muster__version_acquire(draft); /* the job may settle while it is fed */
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_REGISTER,
                                                                  .job = job->node.id,
                                                                  .scope = draft->scope,
                                                                  .script = draft->identity,
                                                                  .via = via,
                                                                  .load = true,
                                                                  .early = true});
    muster__version_release(draft);
}

/* update(registrationId): SW-UPD-1 */
void muster__op_update(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    const struct muster__context *context = ask->context;
    struct muster__core_scope_view view;
    ask->context->hears_registrations = true;
    if (context->type == MUSTER__WORKER_SERVICE && context->version &&
        strcmp(atomic_load(&context->version->state), "installing") == 0) {
        muster__ask_fail(ask, "InvalidStateError", "the worker is being installed");
        return;
    }
    if (!find_for(ask, 0, &view)) {
        muster__ask_fail(ask, "TypeError", "the registration is unregistered");
        return;
    }
    const struct muster__version *newest = muster__coordinator_version(muster, view.newest);
    struct script_job *job = NULL;
    if (!newest)
        muster__ask_fail(ask, "InvalidStateError", "the registration has no worker");
    else
        job = new_job(ask, MUSTER__CORE_UPDATE);
    if (job)
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_UPDATE,
                                                                      .job = job->node.id,
                                                                      .scope = newest->scope,
                                                                      .script = newest->identity,
                                                                      .early = true});
}

/* unregister(registrationId): SW-UNR-1 */
void muster__op_unregister(struct muster__ask *ask)
{
    struct muster__core_scope_view view;
    ask->context->hears_registrations = true;
    if (!find_for(ask, 0, &view)) {
        muster__ask_answer(ask, muster_value_new_boolean(false));
        return;
    }
    struct script_job *job = new_job(ask, MUSTER__CORE_UNREGISTER);
    char *scope = job ? muster__strdup(view.scope) : NULL; /* the core's goes while it is fed */
    if (job && !scope) {
        (void)muster__id_map_remove(&own(ask->context->muster)->jobs, job->node.id);
        fail_job(job, MUSTER_NO_MEMORY, NULL);
        free_job(job);
    } else if (job) {
        muster__coordinator_feed(ask->context->muster,
                                 &(struct muster__core_event){
                                     .kind = MUSTER__CORE_UNREGISTER, .job = job->node.id, .scope = scope});
    }
    free(scope);
}

/* getRegistration(url): CL-READY */
void muster__op_get_registration(struct muster__ask *ask)
{
    struct muster__context *context = ask->context;
    const char *url = muster__ask_text(ask, 0);
    struct muster__core_scope_view view;
    context->hears_registrations = true;
    if (!url || !strstr(url, "://"))
        muster__ask_fail(ask, "TypeError", "a client has a URL");
    else if (!is_of_origin(url, context->origin))
        muster__ask_fail(ask, "SecurityError", "%s is of another origin than %s", url, context->origin);
    else if (!muster__registrations_match(context->muster, url, &view))
        muster__ask_answer(ask, muster_value_new_null());
    else
        muster__ask_answer(ask, muster__tree_registration(context->muster, &view));
}

struct listing {
    struct muster__context *context;
    struct muster_value *list; /* NULL: out of memory */
};

static void list_one(const struct muster__core_scope_view *view, void *user_data)
{
    struct listing *listing = user_data;
    if (view->plain || !listing->list || !is_of_key(view->scope, listing->context->storage_key))
        return;
    struct muster_value *tree = muster__tree_registration(listing->context->muster, view);
    if (muster_value_append(listing->list, tree) != MUSTER_OK) {
        muster_value_release(listing->list);
        listing->list = NULL;
    }
}

/* getRegistrations() */
void muster__op_get_registrations(struct muster__ask *ask)
{
    struct listing listing = {.context = ask->context, .list = muster_value_new_array()};
    ask->context->hears_registrations = true;
    muster__core_each_registration(ask->context->muster->core, list_one, &listing);
    if (listing.list)
        muster__ask_answer(ask, listing.list);
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

static void sweep_readies(struct muster__registrations *registrations)
{
    struct muster__link *next;
    for (struct muster__link *at = registrations->readies.next; at != &registrations->readies; at = next) {
        struct ready_wait *wait = MUSTER_CONTAINER_OF(at, struct ready_wait, link);
        next = at->next;
        if (!wait->pending->context) {
            muster__pending_answer(wait->pending, NULL);
            let_ready_go(registrations, wait);
        }
    }
    registrations->ready_sweep = registrations->ready_count * 2 + 64;
}

/* ready(): answered when the registration that its URL matches has an active worker */
void muster__op_ready(struct muster__ask *ask)
{
    struct muster__context *context = ask->context;
    struct muster__registrations *registrations = own(context->muster);
    struct muster__core_scope_view view;
    context->hears_registrations = true;
    if (muster__registrations_match(context->muster, context->url, &view) && view.active) {
        muster__ask_answer(ask, muster__tree_registration(context->muster, &view));
        return;
    }
    struct ready_wait *wait = calloc(1, sizeof(*wait));
    if (!wait) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    wait->pending = muster__ask_defer(ask);
    if (!wait->pending) {
        free(wait);
        return;
    }
    if (registrations->ready_count >= registrations->ready_sweep)
        sweep_readies(registrations);
    muster__link_append(&registrations->readies, &wait->link);
    registrations->ready_count++;
}

enum muster_status muster__registrations_set_preload(struct muster *muster, const struct muster__core_scope_view *view,
                                                     const char *header, bool is_on)
{
    struct record *record = see(muster, view);
    char *copy = muster__strdup(header);
    if (!record || !copy) {
        free(copy);
        return MUSTER_NO_MEMORY;
    }
    free(record->preload_header);
    record->preload_header = copy;
    record->preloads = is_on;
    return MUSTER_OK;
}

static bool is_in_state(const struct muster__version *version, enum muster__version_state state)
{
    return version && strcmp(atomic_load(&version->state), muster__version_state_word(state)) == 0;
}

/* SW-SKIP-1.  Answered when it has been activated, if it takes over at once; else at once. */
void muster__op_skip_waiting(struct muster__ask *ask)
{
    const struct muster__context *context = ask->context;
    struct muster *muster = context->muster;
    if (context->type != MUSTER__WORKER_SERVICE) {
        muster__ask_fail(ask, "TypeError", "only a service worker may ask this");
        return;
    }
    bool waits = is_in_state(context->version, MUSTER__VERSION_INSTALLED);
    if (context->instance)
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_SKIP_WAITING,
                                                                      .instance = context->instance});
    bool activates = waits && is_in_state(context->version, MUSTER__VERSION_ACTIVATING);
    struct skip_wait *wait = activates && ask->is_ask ? calloc(1, sizeof(*wait)) : NULL;
    if (!wait) { /* without memory: a little early */
        muster__ask_answer(ask, NULL);
        return;
    }
    wait->version = context->version->id;
    wait->pending = muster__ask_defer(ask);
    if (wait->pending)
        muster__link_append(&own(muster)->skips, &wait->link);
    else
        free(wait);
}

/* navigationPreload.set(registrationId, {enabled, headerValue}): HF-PRE */
void muster__op_navigation_preload_set(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    const struct muster_value *state = muster__ask_argument(ask, 1);
    const char *header = muster__text_of(muster_value_get(state, "headerValue"));
    struct muster__core_scope_view view;
    if (!muster__registrations_asked(ask, 0, &view))
        return;
    if (!view.active || !header || strpbrk(header, "\r\n")) {
        muster__ask_fail(ask, view.active ? "TypeError" : "InvalidStateError", "%s",
                         view.active ? "this is no value of a header" : "the registration has no active worker");
    } else if (muster__registrations_set_preload(muster, &view, header,
                                                 muster_value_boolean(muster_value_get(state, "enabled"))) != MUSTER_OK) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    } else {
        struct muster__version *version = muster__coordinator_version(muster, view.active);
        if (version)
            muster__keeper_put(muster, version);
        muster__ask_answer(ask, NULL);
    }
}
