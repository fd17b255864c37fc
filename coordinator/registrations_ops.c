/* coordinator/registrations_ops.c - what scripts ask of registrations: whether they may (Service Workers standard,
 * "Start Register", "Register"), and the job that comes of it.  See context_ops.c. */
#include "coordinator/registrations_internal.h"

#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"
#include "runtime/script_fetch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a script may name; matching a URL tries each of its beginnings up to the longest scope. */
#define MOST_SCOPE ((size_t)4096)

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

/* ---- register, update, unregister ---- */

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
    struct muster__script_job *job = draft && muster__registrations_may_register(ask, draft)
                                         ? muster__registrations_new_job(ask, MUSTER__CORE_REGISTER)
                                         : NULL;
    if (!job) {
        muster__version_release(draft);
        return;
    }
    job->draft = draft;
    job->via = via;
    muster__registrations_published(muster, draft->scope);
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
    if (!muster__registrations_find_for(ask, 0, &view)) {
        muster__ask_fail(ask, "TypeError", "the registration is unregistered");
        return;
    }
    const struct muster__version *newest = muster__coordinator_version(muster, view.newest);
    struct muster__script_job *job = NULL;
    if (!newest)
        muster__ask_fail(ask, "InvalidStateError", "the registration has no worker");
    else
        job = muster__registrations_new_job(ask, MUSTER__CORE_UPDATE);
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
    if (!muster__registrations_find_for(ask, 0, &view)) {
        muster__ask_answer(ask, muster_value_new_boolean(false));
        return;
    }
    struct muster__script_job *job = muster__registrations_new_job(ask, MUSTER__CORE_UNREGISTER);
    char *scope = job ? muster__strdup(view.scope) : NULL; /* the core's goes while it is fed */
    if (job && !scope) {
        (void)muster__id_map_remove(&own(ask->context->muster)->jobs, job->node.id);
        muster__registrations_fail_job(job, MUSTER_NO_MEMORY, NULL);
        muster__registrations_free_job(job);
    } else if (job) {
        muster__coordinator_feed(ask->context->muster,
                                 &(struct muster__core_event){
                                     .kind = MUSTER__CORE_UNREGISTER, .job = job->node.id, .scope = scope});
    }
    free(scope);
}

/* ---- getRegistration, getRegistrations ---- */

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
    if (view->plain || !listing->list || !muster__registrations_is_of_key(view->scope, listing->context->storage_key))
        return;
    struct muster_value *tree = muster__tree_registration(listing->context->muster, view);
    if (muster_value_append(listing->list, tree) != MUSTER_OK) {
        muster_value_release(listing->list);
        listing->list = NULL;
    }
}

/* A script that hears of a registration may ask anything of it.  One that cannot be made again is not there for it. */
static void want_stub(struct muster__stub *stub, void *user_data)
{
    const struct muster__context *context = user_data;
    if (muster__registrations_is_of_key(muster__stub_scope(stub), context->storage_key))
        (void)muster__stubs_want(context->muster, muster__stub_scope(stub), NULL);
}

/* getRegistrations() */
void muster__op_get_registrations(struct muster__ask *ask)
{
    struct listing listing = {.context = ask->context, .list = muster_value_new_array()};
    ask->context->hears_registrations = true;
    muster__stubs_each(ask->context->muster, want_stub, ask->context);
    muster__stubs_take_up(ask->context->muster);
    muster__core_each_registration(ask->context->muster->core, list_one, &listing);
    if (listing.list)
        muster__ask_answer(ask, listing.list);
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

/* ---- navigationPreload ---- */

/* navigationPreload.get(registrationId): {enabled, headerValue}, also when another context has set it. */
void muster__op_navigation_preload_get(struct muster__ask *ask)
{
    const char *header;
    struct muster__core_scope_view view;
    if (!muster__registrations_asked(ask, 0, &view))
        return;
    bool preloads = muster__registrations_preload(ask->context->muster, view.registration, &header);
    muster__ask_answer(ask, MUSTER__OBJECT({"enabled", muster_value_new_boolean(preloads)},
                                           {"headerValue", muster__tree_text(header)}));
}

/* navigationPreload.set(registrationId, {enabled, headerValue}): HF-PRE.  What is not said stays: others set it, too. */
void muster__op_navigation_preload_set(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    const struct muster_value *state = muster__ask_argument(ask, 1);
    const struct muster_value *enabled = muster_value_get(state, "enabled");
    const struct muster_value *given = muster_value_get(state, "headerValue");
    const char *header = NULL;
    struct muster__core_scope_view view;
    if (!muster__registrations_asked(ask, 0, &view))
        return;
    bool preloads = muster__registrations_preload(muster, view.registration, &header);
    header = given ? muster__text_of(given) : header;
    preloads = enabled ? muster_value_boolean(enabled) : preloads;
    if (!view.active || !header || strpbrk(header, "\r\n")) {
        muster__ask_fail(ask, view.active ? "TypeError" : "InvalidStateError", "%s",
                         view.active ? "this is no value of a header" : "the registration has no active worker");
    } else if (muster__registrations_set_preload(muster, &view, header, preloads) != MUSTER_OK) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    } else {
        struct muster__version *version = muster__coordinator_version(muster, view.active);
        if (version)
            muster__keeper_put(muster, version);
        muster__ask_answer(ask, NULL);
    }
}
