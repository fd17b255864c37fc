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
    bool is_proxy; /* `load` asks another process, which knows blobs that this one does not */
    bool is_plain; /* what comes from the web stays the text that it is: a module's, perhaps */
};

/* Thread: any.  "file:///a%20b" of an absolute path; for free().  NULL: out of memory. */
char *muster__loader_file_url(const char *path);
/* Thread: any.  The path that a path or a file: URL names; for free().  NULL: it names no file, or out of memory. */
char *muster__loader_file_path(const char *url);

/* Thread: pool.  From wherever the URL says: runtime/script_fetch.h. */
MUSTER_MUST_CHECK enum muster_status muster__loader_load(const struct muster__loader *loader,
                                                         const char *url, const char *importer,
                                                         struct muster__script **ret_script,
                                                         struct muster_error *error);

/* The same by the loader's own means alone: the embedder's function, or files. */
MUSTER_MUST_CHECK enum muster_status muster__loader_load_own(const struct muster__loader *loader, const char *url,
                                                             const char *importer,
                                                             struct muster__script **ret_script,
                                                             struct muster_error *error);
/* A text that came by other means becomes one that can run; LOAD_FAILED: it is a module, and such come by way
 * of module_graph.h. */
MUSTER_MUST_CHECK enum muster_status muster__loader_finish(const struct muster__loader *loader,
                                                           const char *importer, struct muster__script *script,
                                                           struct muster_error *error);

#endif
