/* coordinator/store_keeper.c - see store_keeper.h.
 *
 * What the store is asked is counted by scope: whoever waits for a scope waits until nothing is being written for it.
 * The store tells from its own thread; that becomes a message to the coordinator. */
#include "coordinator/store_keeper.h"

#include "coordinator/context.h"
#include "coordinator/registrations.h"
#include "coordinator/script_map.h"
#include "coordinator/stub.h"
#include "coordinator/sync.h"
#include "runtime/source_map.h"

#include <stdlib.h>
#include <string.h>

struct muster__keeper {
    struct muster__store *store;      /* NULL: closed */
    struct muster__name_map writing;  /* struct scope_writes */
    enum muster_status lost;          /* what could not even be asked, until somebody awaits it */
};

/* What is being written for one scope. */
struct scope_writes {
    struct muster__named named;
    unsigned count;
    enum muster_status status;
    struct muster_error error;
    struct muster__keeper_wait *waits, **waits_end;
    char scope[];
};

struct change {
    struct muster__message message;
    struct muster *muster;
    uint32_t version; /* what is put; 0: nothing */
    struct scope_writes *writes;
    enum muster_status status;
    struct muster_error error;
};

/* ---- what is being written ---- */

static struct scope_writes *find_writes(struct muster *muster, const char *scope)
{
    struct muster__named *named = muster__name_map_find(muster->worlds, &muster->keeper->writing, scope);
    return named ? MUSTER_CONTAINER_OF(named, struct scope_writes, named) : NULL;
}

/* NULL: out of memory. */
static struct scope_writes *find_or_add_writes(struct muster *muster, const char *scope)
{
    struct scope_writes *writes = find_writes(muster, scope);
    if (!writes && (writes = calloc(1, sizeof(*writes) + strlen(scope) + 1))) {
        strcpy(writes->scope, scope);
        writes->named.name = writes->scope;
        writes->waits_end = &writes->waits;
        muster__name_map_add(muster->worlds, &muster->keeper->writing, &writes->named);
    }
    return writes;
}

bool muster__keeper_is_writing(struct muster *muster, const char *scope)
{
    return muster->keeper && find_writes(muster, scope);
}

static void end_writes(struct muster *muster, struct scope_writes *writes)
{
    muster__name_map_remove(&muster->keeper->writing, &writes->named); /* first: who waits may ask for more */
    while (writes->waits) {
        struct muster__keeper_wait *wait = writes->waits;
        writes->waits = wait->next;
        wait->run(wait, muster, writes->status, writes->status == MUSTER_OK ? NULL : &writes->error);
    }
    muster_error_clean_up(&writes->error);
    free(writes);
}

/* The next that wants it kept tries again. */
static void forget_put(struct muster *muster, uint32_t version_id)
{
    struct muster__version *version = muster__coordinator_version(muster, version_id);
    if (version)
        version->is_kept = false;
}

static void run_change(struct muster__message *message, struct muster *muster)
{
    struct change *change = MUSTER_CONTAINER_OF(message, struct change, message);
    struct scope_writes *writes = change->writes;
    if (change->status != MUSTER_OK && change->status != MUSTER_NOT_FOUND && writes->status == MUSTER_OK) {
        writes->status = change->status;
        writes->error = change->error;
        change->error = (struct muster_error){0};
        forget_put(muster, change->version);
        muster__log(muster, MUSTER_LOG_ERROR, writes->scope, "the registration could not be kept: %s",
                    writes->error.message ? writes->error.message : muster_status_sentence(change->status));
    }
    muster_error_clean_up(&change->error);
    free(change);
    if (--writes->count == 0)
        end_writes(muster, writes);
}

/* Thread: the store's. */
static void written(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct change *change = user_data;
    change->status = status;
    if (error)
        muster_error_copy(&change->error, error);
    (void)muster__coordinator_post(change->muster, &change->message);
}

/* NULL: nothing is kept, or it cannot be asked. */
static struct change *begin_change(struct muster *muster, const char *scope)
{
    struct muster__keeper *keeper = muster->keeper;
    if (!keeper || muster->own.core_closed)
        return NULL;
    struct change *change = calloc(1, sizeof(*change));
    struct scope_writes *writes = change ? find_or_add_writes(muster, scope) : NULL;
    if (!writes) {
        free(change);
        keeper->lost = MUSTER_NO_MEMORY;
        return NULL;
    }
    change->message.run = run_change;
    change->muster = muster;
    change->writes = writes;
    writes->count++;
    return change;
}

static void end_change(struct change *change, enum muster_status asked)
{
    if (asked != MUSTER_OK) /* then the store does not tell */
        written(change, asked, NULL);
}

void muster__keeper_await(struct muster *muster, const char *scope, struct muster__keeper_wait *wait)
{
    struct muster__keeper *keeper = muster->keeper;
    enum muster_status status = keeper ? keeper->lost : MUSTER_OK;
    struct scope_writes *writes = keeper && status == MUSTER_OK ? find_writes(muster, scope) : NULL;
    if (!writes) {
        if (keeper)
            keeper->lost = MUSTER_OK;
        wait->run(wait, muster, status, NULL);
        return;
    }
    wait->next = NULL;
    *writes->waits_end = wait;
    writes->waits_end = &wait->next;
}

/* ---- what a registration is made with, as JSON ---- */

static bool put_text(struct muster_value *object, const char *key, const char *text)
{
    return !text || muster_value_put(object, key, muster_value_new_text(text)) == MUSTER_OK;
}

static bool put_number(struct muster_value *object, const char *key, uint64_t number)
{
    return !number || muster_value_put(object, key, muster_value_new_number((double)number)) == MUSTER_OK;
}

static bool put_flag(struct muster_value *object, const char *key, bool flag)
{
    return !flag || muster_value_put(object, key, muster_value_new_boolean(true)) == MUSTER_OK;
}

static uint64_t unless_default(uint64_t value, uint64_t usual)
{
    return value == usual ? 0 : value;
}

/* What is the instance's own is not said, so that it follows the instance.  Read by stub.c. */
static struct muster_value *describe_settings(const struct muster__version *version)
{
    const struct muster_options *usual = &version->muster->options;
    const char *tenant = strcmp(version->tenant, version->scope) == 0 ? NULL : version->tenant;
    const char *state = atomic_load(&version->state);
    bool is_new = strcmp(state, "activating") != 0 && strcmp(state, "activated") != 0;
    struct muster_value *object = muster_value_new_object();
    if (object && put_text(object, "engine", version->engine->name) && put_text(object, "root", version->root) &&
        put_text(object, "tenant", tenant) && put_flag(object, "declared", version->is_declared) &&
        put_flag(object, "new", is_new) && put_flag(object, "scripts", version->keeps_scripts) && put_flag(object, "lazy", version->lazy) &&
        put_flag(object, "idempotent", version->idempotent) && put_number(object, "trust", version->trust) &&
        put_number(object, "hosting", version->asked_hosting) && put_text(object, "schedule", version->schedule) &&
        put_number(object, "turn_ms", unless_default(version->limits.turn_us / 1000, usual->turn_limit_ms)) &&
        put_number(object, "memory", unless_default(version->limits.memory, usual->memory_limit)) &&
        put_number(object, "queue", unless_default(version->queue_limit, usual->queue_limit)) &&
        put_number(object, "idle_ms", unless_default(version->idle_us / 1000, usual->idle_ms)) &&
        put_number(object, "process_memory", version->process_memory_limit) &&
        put_number(object, "process_cpu_ms", version->process_cpu_ms) &&
        put_number(object, "process_open_files", version->process_open_files) &&
        put_number(object, "process_children", version->process_children))
        return object;
    muster_value_release(object);
    return NULL;
}

/* ---- its scripts ---- */

struct scripts {
    struct muster__stored_script *list;
    size_t count, capacity;
    struct muster__script **held; /* a reference of each */
    const char *main;
    bool failed;
};

/* NULL: out of memory; `list` is as it was. */
static void *grown(void *list, size_t count, size_t size)
{
    return realloc(list, count * size);
}

static bool make_room(struct scripts *scripts)
{
    if (scripts->count < scripts->capacity)
        return true;
    size_t capacity = scripts->capacity ? scripts->capacity * 2 : 16;
    void *list = grown(scripts->list, capacity, sizeof(*scripts->list));
    scripts->list = list ? list : scripts->list;
    void *held = list ? grown(scripts->held, capacity, sizeof(struct muster__script *)) : NULL;
    scripts->held = held ? held : scripts->held;
    scripts->capacity = held ? capacity : scripts->capacity;
    return held != NULL;
}

/* Their URLs live as long as the map has them, which is closed. */
static void collect_script(const struct muster__mapped_script *mapped, void *user_data)
{
    struct scripts *scripts = user_data;
    size_t at = strcmp(mapped->url, scripts->main) == 0 ? 0 : scripts->count;
    if (!mapped->script->text || scripts->failed)
        return;
    if (!make_room(scripts)) {
        scripts->failed = true;
        return;
    }
    if (at != scripts->count) { /* the main one is the first */
        scripts->list[scripts->count] = scripts->list[at];
        scripts->held[scripts->count] = scripts->held[at];
    }
    scripts->list[at] = (struct muster__stored_script){
        .url = mapped->url,
        .source_map = mapped->script->source_map,
        .text = {mapped->script->text, mapped->script->length},
        .is_module = mapped->script->is_module,
        .checked_us = mapped->checked_us,
    };
    muster__script_acquire(mapped->script);
    scripts->held[at] = mapped->script;
    scripts->count++;
}

static void let_scripts_go(struct scripts *scripts)
{
    for (size_t i = 0; i < scripts->count; i++)
        muster__script_destroy(scripts->held[i]);
    free(scripts->list);
    free(scripts->held);
}

static struct muster__script *new_script(const struct muster__stored_script *stored)
{
    struct muster__script *script = calloc(1, sizeof(*script));
    if (!script)
        return NULL;
    script->url = *stored->url == '/' ? muster__loader_file_url(stored->url) : muster__strdup(stored->url);
    script->text = muster__strndup(stored->text.data, stored->text.length);
    script->length = stored->text.length;
    script->is_module = stored->is_module;
    script->source_map = muster__strdup(stored->source_map);
    bool whole = script->url && script->text && (script->source_map || !stored->source_map);
    /* Positions are the bundle's without its map; no reason not to run. */
    if (whole && script->source_map &&
        muster__source_map_parse(script->source_map, strlen(script->source_map), &script->map, NULL) != MUSTER_OK)
        script->map = NULL;
    if (whole)
        return script;
    muster__script_destroy(script);
    return NULL;
}

struct filling {
    struct muster__script_map *map;
    bool failed;
};

static void fill_one(const struct muster__stored_script *stored, void *user_data)
{
    struct filling *filling = user_data;
    const struct muster__mapped_script mapped = {
        .url = stored->url, .script = new_script(stored), .checked_us = stored->checked_us, .is_used = true};
    if (!mapped.script || muster__script_map_add(filling->map, &mapped) != MUSTER_OK)
        filling->failed = true;
    muster__script_destroy(mapped.script);
}

/* Thread: any that may block.  What cannot be read comes again from where it came. */
static void fill_map(struct muster__script_map *map, void *user_data)
{
    struct muster__version *version = user_data;
    struct filling filling = {.map = map};
    struct muster_error error = {0};
    enum muster_status status = muster__store_each_script(version->muster->keeper->store, version->storage_key,
                                                          version->scope, fill_one, &filling, &error);
    if (status == MUSTER_OK && !filling.failed)
        muster__script_map_close(map);
    else
        muster__log(version->muster, MUSTER_LOG_WARNING, version->scope, "%s; it is loaded again",
                    error.message ? error.message : muster_status_sentence(MUSTER_NO_MEMORY));
    muster_error_clean_up(&error);
}

enum muster_status muster__keeper_bring_scripts(struct muster__version *version)
{
    enum muster_status status = muster__version_keep_scripts(version);
    if (status == MUSTER_OK)
        muster__script_map_set_fill(version->map, fill_map, version);
    return status;
}

/* ---- keeping ---- */

static bool has_all_texts(const struct muster__version *version, const struct muster__stored_registration *stored)
{
    return stored->settings && (stored->event_types || !atomic_load(&version->event_types)) &&
           (stored->routes || !version->rules);
}

static enum muster_status put_now(struct muster *muster, struct muster__version *version, struct change *change)
{
    struct muster__core_scope_view view = {0};
    const struct muster_value *types = atomic_load(&version->event_types);
    struct muster_value *settings = describe_settings(version);
    struct scripts scripts = {.main = version->script};
    const char *header = NULL;
    enum muster_status status = MUSTER_NO_MEMORY;
    (void)muster__core_version_view(muster->core, version->id, &view);
    if (version->keeps_scripts && !version->is_kept)
        muster__script_map_each(version->map, collect_script, &scripts);
    bool preloads = muster__registrations_preload(muster, view.registration, &header);
    const struct muster__stored_registration stored = {
        .storage_key = version->storage_key,
        .scope = version->scope,
        .script_url = version->script,
        .settings = settings ? muster_value_to_json(settings) : NULL,
        .routes = version->rules ? muster_value_to_json(version->rules) : NULL,
        .event_types = types ? muster_value_to_json(types) : NULL,
        .preload = preloads ? header : NULL,
        .scripts = scripts.list,
        .script_count = scripts.count,
        .keeps_scripts = version->is_kept,
        .via = (int)view.via,
        .is_module = version->loader.module,
        .checked_us = view.checked_us,
    };
    if (has_all_texts(version, &stored) && !scripts.failed)
        status = muster__store_put(muster->keeper->store, &stored, written, change);
    let_scripts_go(&scripts);
    muster_value_release(settings);
    free((char *)stored.settings);
    free((char *)stored.routes);
    free((char *)stored.event_types);
    return status;
}

void muster__keeper_put(struct muster *muster, struct muster__version *version)
{
    struct change *change =
        version->key ? NULL : begin_change(muster, version->scope);
    if (!change)
        return;
    change->version = version->id;
    enum muster_status status = put_now(muster, version, change);
    version->is_kept = true;
    end_change(change, status);
}

void muster__keeper_remove(struct muster *muster, struct muster__version *version)
{
    struct change *change = begin_change(muster, version->scope);
    if (!change)
        return;
    version->is_kept = false;
    end_change(change, muster__store_remove(muster->keeper->store, version->storage_key, version->scope, written, change));
}

void muster__keeper_put_sync(struct muster *muster, const struct muster__stored_sync *sync)
{
    struct change *change = begin_change(muster, sync->scope);
    if (change)
        end_change(change, muster__store_put_sync(muster->keeper->store, sync, written, change));
}

void muster__keeper_remove_sync(struct muster *muster, const struct muster__stored_sync *sync)
{
    struct change *change = begin_change(muster, sync->scope);
    if (change)
        end_change(change, muster__store_remove_sync(muster->keeper->store, sync, written, change));
}

/* ---- restoring ---- */

struct restoring {
    struct muster *muster;
    struct muster__stub_trials trials;
};

static void restore_one(const struct muster__stored_registration *stored, void *user_data)
{
    struct restoring *restoring = user_data;
    muster__stubs_add(restoring->muster, stored, &restoring->trials);
}

static void restore_sync(const struct muster__stored_sync *stored, void *user_data)
{
    muster__syncs_restore(user_data, stored);
}

enum muster_status muster__keeper_restore(struct muster *muster, struct muster_error *error)
{
    struct muster__keeper *keeper = muster->keeper;
    struct restoring restoring = {.muster = muster};
    if (!keeper)
        return MUSTER_OK;
    muster__scope_map_begin(muster->scopes);
    enum muster_status status = muster__store_each(keeper->store, restore_one, &restoring, error);
    muster__scope_map_commit(muster->scopes);
    muster__stub_trials_clean_up(&restoring.trials);
    if (status == MUSTER_OK)
        status = muster__store_each_sync(keeper->store, restore_sync, muster, error);
    return status;
}

/* ---- life ---- */

enum muster_status muster__keeper_open(struct muster *muster, struct muster_error *error)
{
    char *notice = NULL;
    if (!muster->options.state_folder)
        return MUSTER_OK;
    muster->keeper = calloc(1, sizeof(*muster->keeper));
    if (!muster->keeper)
        return MUSTER_NO_MEMORY;
    enum muster_status status = muster__store_open(muster->options.state_folder, &muster->keeper->store, &notice, error);
    if (notice)
        muster__log(muster, MUSTER_LOG_WARNING, "store", "%s", notice);
    free(notice);
    muster->options.state_folder = NULL; /* it was borrowed */
    return status;
}

void muster__keeper_close(struct muster *muster)
{
    if (muster->keeper) {
        muster__store_close(muster->keeper->store);
        muster->keeper->store = NULL; /* the core is closed: nobody looks */
    }
}

void muster__keeper_destroy(struct muster *muster)
{
    if (!muster->keeper)
        return;
    muster__id_map_clean_up(&muster->keeper->writing.map);
    free(muster->keeper);
    muster->keeper = NULL;
}
