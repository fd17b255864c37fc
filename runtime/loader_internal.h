/* runtime/loader_internal.h - the loader as the runtime uses it.  Internal. */
#ifndef MUSTER_LOADER_INTERNAL_H
#define MUSTER_LOADER_INTERNAL_H

#include "runtime/loader.h"
#include "runtime/script.h"

/* Loads with the given function, or with the default one. */
struct muster__loader {
    muster_load_fn *load; /* NULL: files */
    void *user_data;
    const char *root; /* default loader: nothing outside this folder is read; NULL: files from anywhere,
                       * imports of a module from the nearest folder above it that holds a package.json,
                       * else from its own */
    bool module; /* the script was declared as one; else its ending tells */
};

/* Thread: pool. */
MUSTER_MUST_CHECK enum muster_status muster__loader_load(const struct muster__loader *loader,
                                                         const char *url, const char *importer,
                                                         struct muster__script **ret_script,
                                                         struct muster_error *error);

#endif
