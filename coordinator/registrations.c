/* coordinator/registrations.c - see registrations.h.  Registrations by their numbers and by a URL, and what contexts
 * are told of them.  What scripts ask is in registrations_ops.c, the jobs that come of it in registrations_jobs.c. */
#include "coordinator/registrations_internal.h"

#include "coordinator/clients.h"
#include "coordinator/routes_ask.h"
#include "coordinator/script_map.h"
#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"

#include <stdlib.h>
#include <string.h>

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

static void free_record(struct muster__registration_record *record)
{
    free(record->preload_header);
    free(record);
}

void muster__registrations_destroy(struct muster__registrations *registrations)
{
    struct muster__id_node *node;
    if (!registrations)
        return;
    muster__registrations_clean_up_jobs(registrations);
    while ((node = muster__id_map_any(&registrations->records)))
        free_record(record_of(muster__id_map_remove(&registrations->records, node->id)));
    muster__id_map_clean_up(&registrations->records);
    muster__registrations_clean_up_waits(registrations);
    free(registrations);
}

void muster__registrations_abort(struct muster__pending *take_pending)
{
    const struct muster_error error = {.status = MUSTER_SHUTDOWN};
    muster__pending_fail(take_pending, "AbortError", &error);
}

/* ---- by their numbers ---- */

bool muster__registrations_is_of_key(const char *scope, const char *storage_key)
{
    size_t length = strlen(storage_key);
    return *scope == '/' || !length ||
           (strncmp(scope, storage_key, length) == 0 && (scope[length] == '/' || !scope[length]));
}

static void note_scope(struct muster__registrations *registrations, const char *scope)
{
    size_t length = strlen(scope);
    if (length > registrations->longest_scope)
        registrations->longest_scope = length;
}

void muster__registrations_published(struct muster *muster, const char *scope)
{
    note_scope(own(muster), scope);
}

void muster__registrations_withdrawn(struct muster *muster, const struct muster__core_action *action)
{
    struct muster__registration_record *record =
        record_of(muster__id_map_remove(&own(muster)->records, action->registration));
    if (record)
        free_record(record);
}

struct muster__registration_record *muster__registrations_record(const struct muster *muster, uint64_t registration)
{
    return record_of(muster__id_map_find(&own(muster)->records, registration));
}

struct muster__registration_record *muster__registrations_see_record(struct muster *muster,
                                                                     const struct muster__core_scope_view *view)
{
    struct muster__registration_record *record = muster__registrations_record(muster, view->registration);
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
    (void)muster__registrations_see_record(muster, view);
}

bool muster__registrations_find(struct muster *muster, uint64_t registration,
                                struct muster__core_scope_view *ret_view)
{
    const struct muster__registration_record *record =
        registration ? muster__registrations_record(muster, registration) : NULL;
    return record && muster__core_scope_view(muster->core, record->scope, ret_view) &&
           ret_view->registration == registration;
}

/* False: none, or none that this one may see. */
bool muster__registrations_find_for(const struct muster__ask *ask, size_t argument,
                                    struct muster__core_scope_view *ret_view)
{
    return muster__registrations_find(ask->context->muster, muster__ask_number(ask, argument), ret_view) &&
           muster__registrations_is_of_key(ret_view->scope, ask->context->storage_key);
}

bool muster__registrations_asked(struct muster__ask *ask, size_t argument, struct muster__core_scope_view *ret_view)
{
    ask->context->hears_registrations = true;
    if (muster__registrations_find_for(ask, argument, ret_view))
        return true;
    muster__ask_fail(ask, "InvalidStateError", "the registration is unregistered");
    return false;
}

bool muster__registrations_preload(const struct muster *muster, uint64_t registration, const char **ret_header)
{
    const struct muster__registration_record *record = muster__registrations_record(muster, registration);
    *ret_header = record && record->preload_header ? record->preload_header : "true";
    return record && record->preloads;
}

enum muster_status muster__registrations_set_preload(struct muster *muster, const struct muster__core_scope_view *view,
                                                     const char *header, bool is_on)
{
    struct muster__registration_record *record = muster__registrations_see_record(muster, view);
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

/* ---- by a URL ---- */

/* The longest beginning of `text` that is a scope; `text` is cut on the way. */
static bool match_cut(struct muster *muster, char *text, struct muster__core_scope_view *ret_view)
{
    size_t length = strlen(text), longest = own(muster)->longest_scope;
    if (length > longest)
        length = longest;
    for (; length; length--) {
        text[length] = '\0';
        (void)muster__stubs_want(muster, text, NULL);
        muster__stubs_take_up(muster);
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
        if (muster__registrations_is_of_key(scope, context->storage_key) &&
            (context->hears_registrations || is_own(context, registration)))
            muster__context_tell(context, muster_value_acquire(take_head), NULL);
    }
    muster_value_release(take_head);
}

/* SW-UPD-6: the same script, cached in another way, is no news of a version. */
void muster__registrations_tell_via(struct muster *muster, const char *scope)
{
    struct muster__core_scope_view view;
    bool found = scope && muster__core_scope_view(muster->core, scope, &view);
    struct muster__registration_record *record =
        found ? muster__registrations_record(muster, view.registration) : NULL;
    if (!record || record->via == view.via)
        return;
    record->via = view.via;
    tell_all(muster, view.scope, view.registration,
             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("registration"),
                           muster__tree_registration(muster, &view)));
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
        muster__registrations_count_bytes(version);
    if (action->state >= MUSTER__VERSION_INSTALLED && action->state <= MUSTER__VERSION_ACTIVATED)
        muster__routes_installed(version);
    if (action->state == MUSTER__VERSION_ACTIVATING)
        muster__keeper_put(muster, version);
    if (action->state > MUSTER__VERSION_ACTIVATING)
        muster__registrations_settle_skips(muster, action->version); /* before its script is told of the state */
    tell_all(muster, version->scope, action->registration,
             MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("state"), muster_value_new_number(version->id),
                           muster__tree_text(state)));
    if (action->state == MUSTER__VERSION_ACTIVATING)
        muster__registrations_settle_readies(muster, action->registration);
}

void muster__registrations_note_slots(struct muster *muster, const struct muster__core_action *action)
{
    const uint32_t slots[] = {action->installing, action->waiting, action->active};
    struct muster__core_scope_view view = {0};
    struct muster__registration_record *record = muster__registrations_record(muster, action->registration);
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
