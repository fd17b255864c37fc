/* runtime/loader.h - where scripts come from; the embedder can replace it.
 *
 * Public: installed as <muster/loader.h>.
 *
 * A loader turns the address of a script into its text.  The default one reads files (a path, or a
 * file: URL), makes a classic script of modules and TypeScript with esbuild, which reads nothing outside
 * the application's folder, and opens shared objects for the native engine.
 */
#ifndef MUSTER_LOADER_H
#define MUSTER_LOADER_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_native_worker;

/* What a loader gives; texts are malloc'ed and muster's from then on. */
struct muster_loaded {
    size_t size;  /* sizeof(struct muster_loaded), set by muster */
    char *url;    /* what errors name; NULL: as asked */
    char *text;   /* UTF-8; NULL for native workers */
    size_t length;
    char *source_map; /* JSON, or NULL */
    bool is_module;   /* text is a classic script that assigns `__muster_module` (esbuild's iife form) */
    const struct muster_native_worker *native; /* must outlive the instance */
};

/* Thread: a pool thread, several at once; may block (another thread takes its place).  `importer` is NULL for a worker's own script.
 * On failure fills `error` (zeroed by muster) and answers LOAD_FAILED, SYNTAX_ERROR, NOT_FOUND or NO_MEMORY. */
typedef enum muster_status muster_load_fn(const char *url, const char *importer,
                                          struct muster_loaded *ret_loaded,
                                          struct muster_error *error, void *user_data);

#ifdef __cplusplus
}
#endif
#endif
