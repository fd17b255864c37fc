/* coordinator/version.c - one version of a registration, and the small things that every file of an
 * instance uses.  A version is constant but for its references; see instance.h. */
#include "coordinator/context.h"
#include "coordinator/hosting.h"
#include "coordinator/routes.h"
#include "coordinator/script_map.h"

#include "runtime/engine_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- small things every file uses ---- */

/* Of this process and those that it descends from; to ask the kernel who one is takes longer than a match. */
static atomic_uint forks;

static void note_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

static void begin_noting(void)
{
    MUSTER_CHECK(pthread_atfork(NULL, NULL, note_fork) == 0);
}

unsigned muster__forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_noting);
    return atomic_load(&forks);
}

enum muster_status muster__check_usable(const struct muster *muster)
{
    if (!muster)
        return MUSTER_INVALID_ARGUMENT;
    return muster->forks == atomic_load_explicit(&forks, memory_order_relaxed) ? MUSTER_OK : MUSTER_FORKED;
}

#define FOREVER_US (UINT64_MAX / 4)

uint64_t muster__us_of_ms(uint64_t ms)
{
    return ms < FOREVER_US / 1000 ? ms * 1000 : FOREVER_US;
}

uint64_t muster__deadline_us(uint64_t now_us, uint64_t ms)
{
    return now_us + muster__us_of_ms(ms);
}

void muster__log(struct muster *muster, enum muster_log_level level, const char *subject,
                 const char *format, ...)
{
    char text[4096];
    va_list arguments;
    if (!muster->options.log)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    muster->options.log(level, subject, text, muster->options.user_data);
}

/* ---- versions ---- */

struct muster__version *muster__version_acquire(struct muster__version *version)
{
    atomic_fetch_add_explicit(&version->entry.references, 1, memory_order_relaxed);
    return version;
}

void muster__version_release(struct muster__version *version)
{
    if (!version || atomic_fetch_sub_explicit(&version->entry.references, 1, memory_order_acq_rel) != 1)
        return;
    muster__slot_release(version->slot);
    muster__script_destroy(atomic_load(&version->stored));
    muster_bindings_release(version->bindings);
    free(version->scope);
    free(version->script);
    free(version->identity);
    free(version->root);
    free(version->isolation);
    free(version->isolation_alone);
    free(version->key);
    free(version->name);
    free(version->storage_key);
    free(version->tenant);
    muster__script_map_destroy(version->map);
    muster__routes_release(atomic_load(&version->routes));
    muster_value_release(version->rules);
    free(version->schedule);
    free(version->url);
    muster_value_release(atomic_load(&version->event_types));
    free(version);
}

/* The native engine's worker is given, not loaded. */
static enum muster_status load_native(const char *url, const char *importer,
                                      struct muster_loaded *ret_loaded, struct muster_error *error,
                                      void *user_data)
{
    (void)url;
    (void)importer;
    (void)error;
    ret_loaded->native = user_data;
    return MUSTER_OK;
}

/* "": what is no file is in none; it imports no files either. */
static char *folder_of(const char *script)
{
    char *path = muster__loader_file_path(script);
    if (!path)
        return muster__strdup("");
    char *slash = strrchr(path, '/');
    char *folder = slash ? muster__strndup(path, slash == path ? 1 : (size_t)(slash - path)) : muster__strdup(".");
    free(path);
    return folder;
}

static const struct muster__engine *choose_engine(const struct muster_registration_options *options,
                                                  struct muster_error *error)
{
    if (options->native)
        return &muster__engine_native;
    if (options->engine)
        return muster__engine_find(options->engine, error);
    return muster__engine_find(muster__engine_for_script(options->script), error);
}

static void fill_version(struct muster *muster, struct muster__version *version,
                         const struct muster_registration_options *options)
{
    const struct muster_options *defaults = &muster->options;
    version->muster = muster;
    atomic_init(&version->state, "parsed");
    version->lazy = options->lazy;
    version->process_memory_limit = options->process_memory_limit;
    version->process_cpu_ms = options->process_cpu_ms;
    version->process_open_files = options->process_open_files;
    version->process_children = options->process_children;
    version->idempotent = options->idempotent;
    version->trust = (enum muster__trust)options->trust; /* hosting.c looks whether it is one */
    version->limits.turn_us = muster__us_of_ms(muster__or_default(options->turn_limit_ms, defaults->turn_limit_ms));
    version->limits.memory = muster__or_default(options->memory_limit, defaults->memory_limit);
    version->want.run = muster__coordinator_run_want;
    version->bindings = options->bindings ? options->bindings : defaults->bindings;
    if (version->bindings)
        muster_bindings_acquire(version->bindings);
    version->loader.module = options->module;
    if (options->native) {
        version->loader.load = load_native;
        version->loader.user_data = (void *)(uintptr_t)options->native;
    } else {
        version->loader.load = options->load ? options->load : defaults->load;
        version->loader.user_data = options->load ? options->load_user_data : defaults->load_user_data;
    }
}

/* It cannot be made again of texts alone. */
static bool needs_embedder(const struct muster__version *version, const struct muster_registration_options *options)
{
    const struct muster_options *usual = &version->muster->options;
    return options->native || version->bindings != usual->bindings || version->loader.load != usual->load ||
           version->loader.user_data != usual->load_user_data;
}

uint32_t muster__version_next_id(struct muster *muster)
{
    return atomic_fetch_add(&muster->next_version, 1) + 1;
}

enum muster_status muster__version_new(struct muster *muster, const struct muster_registration_options *options,
                                       struct muster__version **ret_version, struct muster_error *error)
{
    return muster__version_new_with_id(muster, options, muster__version_next_id(muster), ret_version, error);
}

enum muster_status muster__version_new_with_id(struct muster *muster, const struct muster_registration_options *options,
                                               uint32_t id, struct muster__version **ret_version,
                                               struct muster_error *error)
{
    const char *script = options->native ? (options->script ? options->script : "native") : options->script;
    const struct muster__engine *engine = choose_engine(options, error);
    if (!engine)
        return MUSTER_UNSUPPORTED;
    struct muster__version *version = calloc(1, sizeof(*version));
    if (!version)
        return MUSTER_NO_MEMORY;
    atomic_init(&version->entry.references, 1);
    version->id = id;
    fill_version(muster, version, options);
    version->engine = engine;
    version->scope = muster__strdup(options->scope);
    version->entry.scope_length = (uint32_t)strlen(options->scope);
    version->script = muster__strdup(script);
    version->root = options->root ? muster__strdup(options->root) : folder_of(script);
    version->storage_key = muster__origin_of(options->scope);
    version->tenant = muster__strdup(options->tenant ? options->tenant : options->scope);
    version->identity = muster__format("%s %s %d %p %d %d %s", engine->name, script, options->module,
                                       (const void *)options->native, (int)options->trust,
                                       (int)options->hosting, options->tenant ? options->tenant : "");
    version->loader.root = version->root && *version->root ? version->root : NULL;
    version->queue_limit = muster__or_default(options->queue_limit, muster->options.queue_limit);
    version->asked_hosting = options->hosting;
    version->is_declared = options->declared || needs_embedder(version, options);
    version->schedule = muster__strdup(options->schedule);
    version->idle_us = muster__us_of_ms(muster__or_default(options->idle_ms, muster->options.idle_ms));
    const struct muster__slot_options slot = {
        .queue_limit = version->queue_limit,
        .idle_us = version->idle_us,
        .want = muster__coordinator_want,
        .user_data = version,
        .version = version->id,
    };
    version->slot = muster__slot_new(&slot);
    if (!version->scope || !version->script || !version->identity || !version->root || !version->slot ||
        !version->storage_key || !version->tenant || (options->schedule && !version->schedule)) {
        muster__version_release(version);
        return MUSTER_NO_MEMORY;
    }
    enum muster_status status = muster__hosting_of_version(muster, options, version, error);
    if (status != MUSTER_OK) {
        muster__version_release(version);
        return status;
    }
    *ret_version = version;
    return MUSTER_OK;
}

static enum muster_status load_from(struct muster__version *version, struct muster__script_map *take_map)
{
    MUSTER_CHECK(!version->map);
    version->map = take_map;
    if (!take_map)
        return MUSTER_NO_MEMORY;
    version->loader.load = muster__script_map_load;
    version->loader.user_data = take_map;
    return MUSTER_OK;
}

enum muster_status muster__version_keep_scripts(struct muster__version *version)
{
    version->keeps_scripts = true;
    return load_from(version, muster__script_map_new(&version->loader));
}

enum muster_status muster__version_keep_imports(struct muster__version *version)
{
    if (version->engine == &muster__engine_native) /* it imports nothing */
        return MUSTER_OK;
    return load_from(version, muster__script_map_new_of_imports(&version->loader));
}

/* ---- workers that scripts make ---- */

/* A web script is of its maker's language whatever the ending of its address; no script names native code. */
const char *muster__version_engine(const struct muster__context *maker, const char *url)
{
    const struct muster__engine *engine = maker->version ? maker->version->engine : NULL;
    const char *by_ending = muster__engine_for_script(url);
    if (strcmp(by_ending, "lua") == 0 || (maker->is_embedder && strcmp(by_ending, "native") == 0))
        return by_ending;
    return engine && engine != &muster__engine_native ? engine->name : "javascript";
}

void muster__version_inherit(const struct muster__version *version, struct muster_registration_options *options)
{
    options->trust = (enum muster_trust)version->trust;
    options->tenant = version->tenant;
    options->hosting = version->hosting == MUSTER_HOSTING_DEFAULT ? MUSTER_HOSTING_THREAD : version->hosting;
    options->bindings = version->bindings;
    options->root = version->root;
    options->turn_limit_ms = version->limits.turn_us / 1000;
    options->memory_limit = version->limits.memory;
    options->process_memory_limit = version->process_memory_limit;
    options->process_cpu_ms = version->process_cpu_ms;
    options->process_open_files = version->process_open_files;
    options->process_children = version->process_children;
    if (version->engine != &muster__engine_native) { /* that one's loader gives a worker, not scripts */
        const struct muster__loader *loader = version->map ? muster__script_map_inner(version->map) : &version->loader;
        options->load = loader->load;
        options->load_user_data = loader->user_data;
    }
}

/* A dedicated worker lives where its maker may. */
static bool live_with(struct muster__version *version, const struct muster__version *maker)
{
    if (!maker || version->type != MUSTER__WORKER_DEDICATED || !maker->isolation)
        return true;
    char *isolation = muster__strdup(maker->isolation);
    if (!isolation)
        return false;
    free(version->isolation);
    version->isolation = isolation;
    return true;
}

enum muster_status muster__version_new_plain(struct muster *muster, const struct muster_registration_options *options,
                                             const struct muster__context *maker, enum muster__worker_type type,
                                             const char *name, struct muster__version **ret_version,
                                             struct muster_error *error)
{
    struct muster_registration_options full = *options;
    struct muster__version *version = NULL;
    if (!full.engine && !full.native)
        full.engine = muster__version_engine(maker, options->script);
    full.lazy = true;
    full.idle_ms = UINT64_MAX; /* it ends when nobody holds it */
    enum muster_status status = muster__version_new(muster, &full, &version, error);
    if (status != MUSTER_OK)
        return status;
    version->type = type;
    version->key = muster__format("worker %llu", (unsigned long long)++muster->own.next_plain);
    version->name = muster__strdup(name);
    free(version->storage_key);
    version->storage_key = strncasecmp(options->script, "data:", 5) == 0 && version->key
                               ? muster__format("null %s", version->key)
                               : muster__strdup(maker->storage_key);
    if (!version->key || !version->name || !version->storage_key || !live_with(version, maker->version)) {
        muster__version_release(version);
        return MUSTER_NO_MEMORY;
    }
    *ret_version = version;
    return MUSTER_OK;
}

const char *muster__version_url(struct muster__version *version)
{
    if (!version->url && !strstr(version->script, "://")) {
        char *real = realpath(version->script, NULL);
        version->url = real ? muster__loader_file_url(real) : NULL;
        free(real);
    }
    return version->url ? version->url : version->script;
}

bool muster__version_controls(const struct muster__version *version)
{
    const char *state = atomic_load(&version->state);
    /* A lazy one is installed by what its clients ask of it. */
    return !version->key &&
           (version->lazy || strcmp(state, "activating") == 0 || strcmp(state, "activated") == 0);
}

bool muster__version_listens(struct muster__version *version, const char *event)
{
    const struct muster_value *types = atomic_load(&version->event_types);
    size_t count = muster_value_count(types), i = 0;
    if (!types)
        return true;
    while (i < count) {
        const struct muster_bytes type = muster_value_bytes(muster_value_at(types, i++));
        if (type.length == strlen(event) && memcmp(type.data, event, type.length) == 0)
            return true;
    }
    return false;
}
