/* coordinator/stub.c - see stub.h.
 *
 * A stub's version is made outside of the lock, so that two threads may make one each; the first counts.  It is in the
 * coordinator's queue before anybody can see it: an event about a version never overtakes the news of it. */
#include "coordinator/stub.h"

#include "coordinator/registrations.h"
#include "coordinator/routes_ask.h"
#include "coordinator/store_keeper.h"
#include "coordinator/sync.h"
#include "runtime/engine_table.h"

#include <stdlib.h>
#include <string.h>

/* What a row says, one behind the other, those that it has. */
enum text { SCOPE, STORAGE_KEY, SCRIPT, SETTINGS, ROUTES, EVENT_TYPES, PRELOAD, TEXT_COUNT };

struct muster__stub {
    struct muster__entry entry; /* the first */
    uint32_t version_id;
    uint8_t present; /* a bit for each text */
    uint8_t via;
    bool is_module, is_new;
    _Atomic(struct muster__version *) version; /* a reference; written under the lock, once */
    struct muster__stub *next;                 /* under the lock: among those that the core shall hear of */
    struct muster__link link;                  /* coordinator: among those of which it has not heard */
    uint64_t checked_us, bytes;
    char texts[];
};

/* NULL: it has none. */
static const char *text_of(const struct muster__stub *stub, enum text which)
{
    const char *at = stub->texts;
    if (!(stub->present >> which & 1))
        return NULL;
    for (unsigned i = 0; i < (unsigned)which; i++)
        at += stub->present >> i & 1 ? strlen(at) + 1 : 0;
    return at;
}

/* ---- references ---- */

void muster__entry_acquire(void *entry)
{
    struct muster__entry *acquired = entry;
    atomic_fetch_add_explicit(&acquired->references, 1, memory_order_relaxed);
}

void muster__entry_release(void *entry)
{
    struct muster__entry *released = entry;
    if (!released->is_stub) {
        muster__version_release(entry);
    } else if (atomic_fetch_sub_explicit(&released->references, 1, memory_order_acq_rel) == 1) {
        struct muster__stub *stub = entry;
        muster__version_release(atomic_load(&stub->version));
        free(stub);
    }
}

/* ---- what a version is made with ---- */

static const char *get_text(const struct muster_value *object, const char *key)
{
    const struct muster_value *value = muster_value_get(object, key);
    return muster_value_type(value) == MUSTER_TYPE_STRING ? muster_value_bytes(value).data : NULL;
}

static uint64_t get_number(const struct muster_value *object, const char *key)
{
    double number = muster_value_number(muster_value_get(object, key));
    return number >= 1 && number <= 9007199254740992.0 ? (uint64_t)number : 0;
}

static bool get_flag(const struct muster_value *object, const char *key)
{
    return muster_value_boolean(muster_value_get(object, key));
}

/* NULL: there is none, or it is none. */
static struct muster_value *parse(const char *text)
{
    struct muster_value *value = NULL;
    return text && muster_value_from_json(text, strlen(text), &value, NULL) == MUSTER_OK ? value : NULL;
}

/* Texts are borrowed from `from`; see describe_settings() in store_keeper.c. */
static struct muster_registration_options read_settings(const char *scope, const char *script, bool is_module,
                                                        const struct muster_value *from)
{
    return (struct muster_registration_options){
        .size = sizeof(struct muster_registration_options),
        .scope = scope,
        .script = script,
        .module = is_module,
        .engine = get_text(from, "engine"),
        .root = get_text(from, "root"),
        .tenant = get_text(from, "tenant"),
        .schedule = get_text(from, "schedule"),
        .lazy = get_flag(from, "lazy"),
        .idempotent = get_flag(from, "idempotent"),
        .trust = (enum muster_trust)get_number(from, "trust"),
        .hosting = (enum muster_hosting)get_number(from, "hosting"),
        .turn_limit_ms = get_number(from, "turn_ms"),
        .memory_limit = get_number(from, "memory"),
        .queue_limit = get_number(from, "queue"),
        .idle_ms = get_number(from, "idle_ms"),
        .process_memory_limit = get_number(from, "process_memory"),
        .process_cpu_ms = get_number(from, "process_cpu_ms"),
        .process_open_files = (unsigned)get_number(from, "process_open_files"),
        .process_children = (unsigned)get_number(from, "process_children"),
    };
}

/* ---- a row becomes a stub ---- */

static struct muster__stub *new_stub(const struct muster__stored_registration *stored)
{
    const char *const texts[TEXT_COUNT] = {
        [SCOPE] = stored->scope,       [STORAGE_KEY] = stored->storage_key, [SCRIPT] = stored->script_url,
        [SETTINGS] = stored->settings, [ROUTES] = stored->routes,           [EVENT_TYPES] = stored->event_types,
        [PRELOAD] = stored->preload,
    };
    size_t size = 0;
    for (size_t i = 0; i < TEXT_COUNT; i++)
        size += texts[i] ? strlen(texts[i]) + 1 : 0;
    struct muster__stub *stub = calloc(1, sizeof(*stub) + size);
    if (!stub)
        return NULL;
    char *at = stub->texts;
    for (size_t i = 0; i < TEXT_COUNT; i++)
        if (texts[i]) {
            stub->present |= (uint8_t)(1u << i);
            at = stpcpy(at, texts[i]) + 1;
        }
    atomic_init(&stub->entry.references, 1);
    stub->entry.is_stub = true;
    stub->entry.scope_length = (uint32_t)strlen(stored->scope);
    stub->via = stored->via >= 0 && stored->via < MUSTER__VIA_COUNT ? (uint8_t)stored->via : MUSTER__VIA_IMPORTS;
    stub->is_module = stored->is_module;
    stub->checked_us = stored->checked_us;
    stub->bytes = stored->bytes;
    muster__link_init(&stub->link);
    return stub;
}

static void log_lost(struct muster *muster, const char *scope, enum muster_status status,
                     const struct muster_error *error)
{
    muster__log(muster, MUSTER_LOG_ERROR, scope, "the registration could not be restored, and is kept: %s",
                error->message ? error->message : muster_status_sentence(status));
}

/* Could a version be made of it? */
static enum muster_status try_settings(struct muster *muster, const struct muster__stored_registration *stored,
                                       struct muster__stub_trial *trial, struct muster_error *error)
{
    const struct muster_registration_options options =
        read_settings(stored->scope, stored->script_url, stored->is_module, trial->value);
    struct muster__version *version = NULL;
    enum muster_status status =
        trial->is_good ? MUSTER_OK : muster__version_new_with_id(muster, &options, 0, &version, error);
    trial->is_good = status == MUSTER_OK && trial->value;
    muster__version_release(version);
    return status;
}

static void forget_trial(struct muster__stub_trial *trial)
{
    muster_value_release(trial->value);
    free(trial->settings);
    *trial = (struct muster__stub_trial){0};
}

static struct muster__stub_trial *find_trial(struct muster__stub_trials *trials, const char *settings)
{
    const size_t count = sizeof(trials->recent) / sizeof(trials->recent[0]);
    for (size_t i = 0; settings && i < count; i++)
        if (trials->recent[i].settings && strcmp(trials->recent[i].settings, settings) == 0)
            return &trials->recent[i];
    struct muster__stub_trial *trial = &trials->recent[trials->next++ % count];
    forget_trial(trial);
    trial->value = parse(settings);
    trial->settings = trial->value ? muster__strdup(settings) : NULL;
    return trial;
}

void muster__stub_trials_clean_up(struct muster__stub_trials *trials)
{
    for (size_t i = 0; i < sizeof(trials->recent) / sizeof(trials->recent[0]); i++)
        forget_trial(&trials->recent[i]);
}

/* Takes it; it is registered. */
static enum muster_status publish(struct muster *muster, struct muster__stub *take_stub)
{
    const char *scope = text_of(take_stub, SCOPE);
    enum muster_status status =
        muster__scope_map_set(muster->scopes, scope, take_stub->entry.scope_length, take_stub);
    if (status == MUSTER_OK) {
        muster__link_append(&muster->stubs.list, &take_stub->link);
        atomic_fetch_add(&muster->counters.registrations, 1);
        if (*scope != '/')
            atomic_store(&muster->has_url_scopes, true);
        muster__registrations_published(muster, scope);
    }
    muster__entry_release(take_stub); /* the map has its own reference */
    return status;
}

void muster__stubs_add(struct muster *muster, const struct muster__stored_registration *stored,
                       struct muster__stub_trials *trials)
{
    struct muster_error error = {0};
    struct muster__stub_trial *trial = find_trial(trials, stored->settings);
    if (get_flag(trial->value, "declared"))
        return; /* it comes again */
    enum muster_status status = try_settings(muster, stored, trial, &error);
    if (status == MUSTER_OK && muster__scope_map_get(muster->scopes, stored->scope, strlen(stored->scope)))
        status = MUSTER_EXISTS;
    struct muster__stub *stub = status == MUSTER_OK ? new_stub(stored) : NULL;
    if (stub) {
        stub->version_id = muster__version_next_id(muster);
        stub->is_new = get_flag(trial->value, "new");
        status = publish(muster, stub);
    } else if (status == MUSTER_OK) {
        status = MUSTER_NO_MEMORY;
    }
    if (status == MUSTER_OK)
        muster__syncs_schedule(muster, stored->storage_key, stored->scope, get_text(trial->value, "schedule"));
    else
        log_lost(muster, stored->scope, status, &error);
    muster_error_clean_up(&error);
}

/* ---- unfolding ---- */

static void restore_routes(struct muster *muster, struct muster__version *version, const char *text)
{
    struct muster_value *rules = NULL;
    struct muster_error error = {0};
    enum muster_status status = text ? muster_value_from_json(text, strlen(text), &rules, &error) : MUSTER_OK;
    if (text && status == MUSTER_OK)
        status = muster__routes_restore(version, rules, &error);
    if (status != MUSTER_OK)
        muster__log(muster, MUSTER_LOG_WARNING, version->scope, "its static routes could not be restored: %s",
                    error.message ? error.message : muster_status_sentence(status));
    muster_error_clean_up(&error);
}

/* What options do not say. */
static enum muster_status fill_version(struct muster *muster, const struct muster__stub *stub,
                                       const struct muster_value *settings, struct muster__version *version)
{
    struct muster_value *types = parse(text_of(stub, EVENT_TYPES));
    if (types && muster_value_type(types) == MUSTER_TYPE_ARRAY)
        atomic_store(&version->event_types, types);
    else
        muster_value_release(types);
    free(version->storage_key);
    version->storage_key = muster__strdup(text_of(stub, STORAGE_KEY));
    if (!version->storage_key)
        return MUSTER_NO_MEMORY;
    version->is_kept = true;
    version->stored_bytes = (size_t)stub->bytes;
    if (!stub->is_new) /* who matches it is controlled, also before the core has heard of it */
        atomic_store(&version->state, muster__version_state_word(MUSTER__VERSION_ACTIVATED));
    restore_routes(muster, version, text_of(stub, ROUTES));
    return get_flag(settings, "scripts") ? muster__keeper_bring_scripts(version) : MUSTER_OK;
}

/* NULL: the log says why. */
static struct muster__version *make_version(struct muster *muster, const struct muster__stub *stub)
{
    struct muster_value *settings = parse(text_of(stub, SETTINGS));
    const struct muster_registration_options options =
        read_settings(text_of(stub, SCOPE), text_of(stub, SCRIPT), stub->is_module, settings);
    struct muster__version *version = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__version_new_with_id(muster, &options, stub->version_id, &version, &error);
    if (status == MUSTER_OK)
        status = fill_version(muster, stub, settings, version);
    if (status != MUSTER_OK) {
        log_lost(muster, options.scope, status, &error);
        muster__version_release(version);
        version = NULL;
    }
    muster_value_release(settings);
    muster_error_clean_up(&error);
    return version;
}

/* The core shall hear of it, first. */
static void queue_locked(struct muster *muster, struct muster__stub *stub)
{
    muster__entry_acquire(stub);
    stub->next = NULL;
    *muster->stubs.unfolded_end = stub;
    muster->stubs.unfolded_end = &stub->next;
    atomic_store(&muster->stubs.any_unfolded, true);
}

static struct muster__version *unfold(struct muster *muster, struct muster__stub *stub)
{
    struct muster__version *made = make_version(muster, stub);
    if (!made)
        return NULL;
    pthread_mutex_lock(&muster->stubs.lock);
    struct muster__version *version = atomic_load(&stub->version);
    if (!version) {
        queue_locked(muster, stub);
        atomic_store(&stub->version, made);
        version = made;
        made = NULL;
    }
    pthread_mutex_unlock(&muster->stubs.lock);
    muster__version_release(made); /* another thread was first */
    return version;
}

struct muster__version *muster__entry_version(struct muster *muster, struct muster__entry *entry)
{
    if (!entry->is_stub)
        return (struct muster__version *)entry;
    struct muster__stub *stub = (struct muster__stub *)entry;
    struct muster__version *version = atomic_load(&stub->version);
    return version ? version : unfold(muster, stub);
}

/* ---- the core hears of them ---- */

/* The oldest; NULL: none. */
static struct muster__stub *take_unfolded(struct muster *muster)
{
    pthread_mutex_lock(&muster->stubs.lock);
    struct muster__stub *stub = muster->stubs.unfolded;
    if (stub)
        muster->stubs.unfolded = stub->next;
    if (!muster->stubs.unfolded) {
        muster->stubs.unfolded_end = &muster->stubs.unfolded;
        atomic_store(&muster->stubs.any_unfolded, false);
    }
    pthread_mutex_unlock(&muster->stubs.lock);
    return stub;
}

static void restore_preload(struct muster *muster, const struct muster__version *version, const char *header)
{
    struct muster__core_scope_view view;
    if (header && muster__core_version_view(muster->core, version->id, &view) &&
        muster__registrations_set_preload(muster, &view, header, true) != MUSTER_OK)
        muster__log(muster, MUSTER_LOG_WARNING, version->scope,
                    "its navigation preload is off until the next start: %s",
                    muster_status_sentence(MUSTER_NO_MEMORY));
}

/* While the instance closes the core refuses it, and what waits in its slot fails with that. */
static void take_up(struct muster *muster, struct muster__stub *stub)
{
    struct muster__version *version = atomic_load(&stub->version);
    muster__coordinator_restore(muster, version,
                                &(struct muster__core_event){.kind = MUSTER__CORE_REGISTER,
                                                             .via = (enum muster__via)stub->via,
                                                             .restored = !stub->is_new,
                                                             .lazy = stub->is_new,
                                                             .checked_us = stub->checked_us});
    restore_preload(muster, version, text_of(stub, PRELOAD));
}

void muster__stubs_take_up(struct muster *muster)
{
    struct muster__stub *stub;
    if (muster->stubs.taking_up || muster->own.stepping || !atomic_load(&muster->stubs.any_unfolded))
        return;
    muster->stubs.taking_up = true;
    while ((stub = take_unfolded(muster))) {
        take_up(muster, stub);
        muster__entry_release(stub);
    }
    muster->stubs.taking_up = false;
}

void muster__stubs_want(struct muster *muster, const char *scope)
{
    if (muster__link_is_empty(&muster->stubs.list))
        return;
    struct muster__entry *entry = muster__scope_map_get(muster->scopes, scope, strlen(scope));
    if (entry && entry->is_stub)
        (void)muster__entry_version(muster, entry);
}

void muster__stubs_replaced(struct muster__stub *stub)
{
    muster__link_remove(&stub->link);
}

/* ---- what is known of them ---- */

void muster__stubs_each(struct muster *muster, void (*see)(struct muster__stub *stub, void *user_data), void *user_data)
{
    for (struct muster__link *at = muster->stubs.list.next; at != &muster->stubs.list; at = at->next)
        see(MUSTER_CONTAINER_OF(at, struct muster__stub, link), user_data);
}

const char *muster__stub_scope(const struct muster__stub *stub)
{
    return text_of(stub, SCOPE);
}

const char *muster__stub_script(const struct muster__stub *stub)
{
    return text_of(stub, SCRIPT);
}

const char *muster__stub_engine(const struct muster__stub *stub)
{
    struct muster_value *settings = parse(text_of(stub, SETTINGS));
    const char *name = get_text(settings, "engine");
    const struct muster__engine *engine =
        muster__engine_find(name ? name : muster__engine_for_script(text_of(stub, SCRIPT)), NULL);
    muster_value_release(settings);
    return engine ? engine->name : "";
}

uint32_t muster__stub_version(const struct muster__stub *stub)
{
    return stub->version_id;
}

size_t muster__stub_script_bytes(const struct muster__stub *stub)
{
    return (size_t)stub->bytes;
}

/* ---- life ---- */

void muster__stubs_init(struct muster *muster)
{
    pthread_mutex_init(&muster->stubs.lock, NULL);
    muster->stubs.unfolded_end = &muster->stubs.unfolded;
    muster__link_init(&muster->stubs.list);
}

void muster__stubs_clean_up(struct muster *muster)
{
    struct muster__stub *stub;
    while ((stub = take_unfolded(muster)))
        muster__entry_release(stub);
}
