/* coordinator/version.c - one version of a registration, and the small things that every file of an
 * instance uses.  A version is constant but for its references; see instance.h. */
#include "coordinator/hosting.h"

#include "runtime/engine_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- small things every file uses ---- */

enum muster_status muster__check_usable(const struct muster *muster)
{
    if (!muster)
        return MUSTER_INVALID_ARGUMENT;
    return muster->process == getpid() ? MUSTER_OK : MUSTER_FORKED;
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
    atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
    return version;
}

void muster__version_release(struct muster__version *version)
{
    if (!version || atomic_fetch_sub_explicit(&version->references, 1, memory_order_acq_rel) != 1)
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

static char *folder_of(const char *script)
{
    const char *slash = strrchr(script, '/');
    return slash ? muster__strndup(script, slash == script ? 1 : (size_t)(slash - script))
                 : muster__strdup(".");
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
    version->id = atomic_fetch_add(&muster->next_version, 1) + 1;
    version->lazy = options->lazy;
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

enum muster_status muster__version_new(struct muster *muster,
                                       const struct muster_registration_options *options,
                                       struct muster__version **ret_version,
                                       struct muster_error *error)
{
    const char *script = options->native ? (options->script ? options->script : "native") : options->script;
    const struct muster__engine *engine = choose_engine(options, error);
    if (!engine)
        return MUSTER_UNSUPPORTED;
    struct muster__version *version = calloc(1, sizeof(*version));
    if (!version)
        return MUSTER_NO_MEMORY;
    atomic_init(&version->references, 1);
    fill_version(muster, version, options);
    version->engine = engine;
    version->scope = muster__strdup(options->scope);
    version->script = muster__strdup(script);
    version->root = options->root ? muster__strdup(options->root) : folder_of(script);
    version->identity = muster__format("%s %s %d %p %d %d %s", engine->name, script, options->module,
                                       (const void *)options->native, (int)options->trust,
                                       (int)options->hosting, options->tenant ? options->tenant : "");
    version->loader.root = version->root;
    version->idle_us = muster__us_of_ms(muster__or_default(options->idle_ms, muster->options.idle_ms));
    const struct muster__slot_options slot = {
        .queue_limit = muster__or_default(options->queue_limit, muster->options.queue_limit),
        .idle_us = version->idle_us,
        .want = muster__coordinator_want,
        .user_data = version,
        .version = version->id,
    };
    version->slot = muster__slot_new(&slot);
    if (!version->scope || !version->script || !version->identity || !version->root || !version->slot) {
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
