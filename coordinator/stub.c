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

#include <limits.h>
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

static bool get_flag(const struct muster_value *object, const char *key)
{
    return muster_value_boolean(muster_value_get(object, key));
}

/* Of settings.  What is damaged is no default: that may be a limit or a trust, and would give more than was given. */
struct reader {
    const struct muster_value *from;
    const char *damaged; /* the first key whose value describe_settings() does not write; NULL: none */
};

/* NULL: it has none. */
static const struct muster_value *read_value(struct reader *reader, const char *key, enum muster_type type)
{
    const struct muster_value *value = muster_value_get(reader->from, key);
    if (!value || muster_value_type(value) == type)
        return value;
    reader->damaged = reader->damaged ? reader->damaged : key;
    return NULL;
}

static const char *read_text(struct reader *reader, const char *key)
{
    const struct muster_value *value = read_value(reader, key, MUSTER_TYPE_STRING);
    return value ? muster_value_bytes(value).data : NULL;
}

static bool read_flag(struct reader *reader, const char *key)
{
    return muster_value_boolean(read_value(reader, key, MUSTER_TYPE_BOOLEAN));
}

/* 0: it has none.  A limit that is as good as none may be more than a double tells apart. */
static uint64_t read_number(struct reader *reader, const char *key, uint64_t most)
{
    const struct muster_value *value = read_value(reader, key, MUSTER_TYPE_NUMBER);
    double number = value ? muster_value_number(value) : 0;
    if (number < 0)
        reader->damaged = reader->damaged ? reader->damaged : key;
    return number < 0 ? 0 : number < (double)most ? (uint64_t)number : most;
}

/* One of an enum's, whose last is `most`. */
static unsigned read_choice(struct reader *reader, const char *key, unsigned most)
{
    uint64_t number = read_number(reader, key, UINT64_MAX);
    if (number > most)
        reader->damaged = reader->damaged ? reader->damaged : key;
    return number > most ? 0 : (unsigned)number;
}

/* What is no option. */
static const char *const own_flags[] = {"declared", "new", "scripts"};

/* Texts are borrowed from `from`; see describe_settings() in store_keeper.c. */
static enum muster_status read_settings(const char *scope, const char *script, bool is_module,
                                        const struct muster_value *from,
                                        struct muster_registration_options *ret_options, struct muster_error *error)
{
    struct reader reader = {.from = from};
    *ret_options = (struct muster_registration_options){
        .size = sizeof(struct muster_registration_options),
        .scope = scope,
        .script = script,
        .module = is_module,
        .engine = read_text(&reader, "engine"),
        .root = read_text(&reader, "root"),
        .tenant = read_text(&reader, "tenant"),
        .schedule = read_text(&reader, "schedule"),
        .lazy = read_flag(&reader, "lazy"),
        .idempotent = read_flag(&reader, "idempotent"),
        .trust = (enum muster_trust)read_choice(&reader, "trust", MUSTER_TRUST_NONE),
        .hosting = (enum muster_hosting)read_choice(&reader, "hosting", MUSTER_HOSTING_PROCESS_PER_WORKER),
        .turn_limit_ms = read_number(&reader, "turn_ms", UINT64_MAX),
        .memory_limit = read_number(&reader, "memory", UINT64_MAX),
        .queue_limit = read_number(&reader, "queue", UINT64_MAX),
        .idle_ms = read_number(&reader, "idle_ms", UINT64_MAX),
        .process_memory_limit = read_number(&reader, "process_memory", UINT64_MAX),
        .process_cpu_ms = read_number(&reader, "process_cpu_ms", UINT64_MAX),
        .process_open_files = (unsigned)read_number(&reader, "process_open_files", UINT_MAX),
        .process_children = (unsigned)read_number(&reader, "process_children", UINT_MAX),
    };
    for (size_t i = 0; i < sizeof(own_flags) / sizeof(*own_flags); i++)
        (void)read_flag(&reader, own_flags[i]);
    if (!reader.damaged)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_SYNTAX_ERROR, "its settings are damaged: \"%s\"", reader.damaged);
    return MUSTER_SYNTAX_ERROR;
}

/* A row without settings is damaged as well. */
static enum muster_status parse_settings(const char *text, struct muster_value **ret_value, struct muster_error *error)
{
    struct muster_value *value = NULL;
    enum muster_status status = muster_value_from_json(text, text ? strlen(text) : 0, &value, NULL);
    if (status == MUSTER_OK && muster_value_type(value) != MUSTER_TYPE_OBJECT)
        status = MUSTER_SYNTAX_ERROR;
    if (status == MUSTER_OK) {
        *ret_value = value;
        return MUSTER_OK;
    }
    muster_value_release(value);
    muster_error_set(error, status, "its settings %s",
                     status == MUSTER_NO_MEMORY ? "did not fit into memory" : "are damaged");
    return status;
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
    struct muster_registration_options options;
    struct muster__version *version = NULL;
    if (trial->is_good)
        return MUSTER_OK;
    enum muster_status status =
        read_settings(stored->scope, stored->script_url, stored->is_module, trial->value, &options, error);
    if (status == MUSTER_OK)
        status = muster__version_new_with_id(muster, &options, 0, &version, error);
    trial->is_good = status == MUSTER_OK;
    muster__version_release(version);
    return status;
}

static void forget_trial(struct muster__stub_trial *trial)
{
    muster_value_release(trial->value);
    free(trial->settings);
    *trial = (struct muster__stub_trial){0};
}

static enum muster_status find_trial(struct muster__stub_trials *trials, const char *settings,
                                     struct muster__stub_trial **ret_trial, struct muster_error *error)
{
    const size_t count = sizeof(trials->recent) / sizeof(trials->recent[0]);
    for (size_t i = 0; settings && i < count; i++)
        if (trials->recent[i].settings && strcmp(trials->recent[i].settings, settings) == 0) {
            *ret_trial = &trials->recent[i];
            return MUSTER_OK;
        }
    struct muster__stub_trial *trial = &trials->recent[trials->next++ % count];
    forget_trial(trial);
    enum muster_status status = parse_settings(settings, &trial->value, error);
    if (status != MUSTER_OK)
        return status;
    trial->settings = muster__strdup(settings); /* NULL: it is not found again */
    *ret_trial = trial;
    return MUSTER_OK;
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
    struct muster__stub_trial *trial = NULL;
    enum muster_status status = find_trial(trials, stored->settings, &trial, &error);
    if (status == MUSTER_OK && get_flag(trial->value, "declared"))
        return; /* it comes again */
    if (status == MUSTER_OK)
        status = try_settings(muster, stored, trial, &error);
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

/* NO_MEMORY; damaged ones are logged, and it lives without: its worker is asked about all. */
static enum muster_status restore_routes(struct muster *muster, struct muster__version *version, const char *text)
{
    struct muster_value *rules = NULL;
    struct muster_error error = {0};
    enum muster_status status = text ? muster_value_from_json(text, strlen(text), &rules, &error) : MUSTER_OK;
    if (text && status == MUSTER_OK)
        status = muster__routes_restore(version, rules, &error);
    if (status != MUSTER_OK && status != MUSTER_NO_MEMORY)
        muster__log(muster, MUSTER_LOG_WARNING, version->scope, "its static routes could not be restored: %s",
                    error.message ? error.message : muster_status_sentence(status));
    muster_error_clean_up(&error);
    return status == MUSTER_NO_MEMORY ? status : MUSTER_OK;
}

/* NO_MEMORY; of damaged ones nothing is known, and it hears all. */
static enum muster_status restore_types(struct muster__version *version, const char *text)
{
    struct muster_value *types = NULL;
    enum muster_status status = text ? muster_value_from_json(text, strlen(text), &types, NULL) : MUSTER_OK;
    if (types && muster_value_type(types) == MUSTER_TYPE_ARRAY)
        atomic_store(&version->event_types, types);
    else
        muster_value_release(types);
    return status == MUSTER_NO_MEMORY ? status : MUSTER_OK;
}

/* What options do not say. */
static enum muster_status fill_version(struct muster *muster, const struct muster__stub *stub,
                                       const struct muster_value *settings, struct muster__version *version)
{
    enum muster_status status = restore_types(version, text_of(stub, EVENT_TYPES));
    free(version->storage_key);
    version->storage_key = muster__strdup(text_of(stub, STORAGE_KEY));
    if (!version->storage_key)
        return MUSTER_NO_MEMORY;
    version->is_kept = true;
    version->stored_bytes = (size_t)stub->bytes;
    if (!stub->is_new) /* who matches it is controlled, also before the core has heard of it */
        atomic_store(&version->state, muster__version_state_word(MUSTER__VERSION_ACTIVATED));
    if (status == MUSTER_OK)
        status = restore_routes(muster, version, text_of(stub, ROUTES));
    if (status != MUSTER_OK)
        return status;
    return get_flag(settings, "scripts") ? muster__keeper_bring_scripts(version) : muster__version_keep_imports(version);
}

/* With all that its row says, or not at all. */
static enum muster_status make_version(struct muster *muster, const struct muster__stub *stub,
                                       struct muster__version **ret_version, struct muster_error *error)
{
    struct muster_registration_options options;
    struct muster_value *settings = NULL;
    struct muster__version *version = NULL;
    enum muster_status status = parse_settings(text_of(stub, SETTINGS), &settings, error);
    if (status == MUSTER_OK)
        status = read_settings(text_of(stub, SCOPE), text_of(stub, SCRIPT), stub->is_module, settings, &options, error);
    if (status == MUSTER_OK)
        status = muster__version_new_with_id(muster, &options, stub->version_id, &version, error);
    if (status == MUSTER_OK)
        status = fill_version(muster, stub, settings, version);
    if (status == MUSTER_OK)
        *ret_version = version;
    else
        muster__version_release(version);
    muster_value_release(settings);
    return status;
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

/* For who asked: which, and why. */
static void tell_lost(struct muster *muster, const char *scope, enum muster_status status, struct muster_error *why,
                      struct muster_error *error)
{
    const char *reason = why->message ? why->message : muster_status_sentence(status);
    log_lost(muster, scope, status, why);
    muster_error_set(error, status, "the registration of %s could not be restored: %s", scope, reason);
    muster_error_clean_up(why);
}

static enum muster_status unfold(struct muster *muster, struct muster__stub *stub,
                                 struct muster__version **ret_version, struct muster_error *error)
{
    struct muster__version *made = NULL;
    struct muster_error why = {0};
    enum muster_status status = make_version(muster, stub, &made, &why);
    if (status != MUSTER_OK) {
        tell_lost(muster, text_of(stub, SCOPE), status, &why, error);
        return status;
    }
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
    *ret_version = version;
    return MUSTER_OK;
}

enum muster_status muster__entry_version(struct muster *muster, struct muster__entry *entry,
                                         struct muster__version **ret_version, struct muster_error *error)
{
    struct muster__stub *stub = (struct muster__stub *)entry;
    struct muster__version *version =
        entry->is_stub ? atomic_load(&stub->version) : (struct muster__version *)entry;
    if (!version)
        return unfold(muster, stub, ret_version, error);
    *ret_version = version;
    return MUSTER_OK;
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

enum muster_status muster__stubs_want(struct muster *muster, const char *scope, struct muster_error *error)
{
    struct muster__version *version;
    if (muster__link_is_empty(&muster->stubs.list))
        return MUSTER_OK;
    struct muster__entry *entry = muster__scope_map_get(muster->scopes, scope, strlen(scope));
    return entry && entry->is_stub ? muster__entry_version(muster, entry, &version, error) : MUSTER_OK;
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
    struct muster_value *settings = NULL;
    if (parse_settings(text_of(stub, SETTINGS), &settings, NULL) != MUSTER_OK)
        return "";
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
