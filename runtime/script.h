/* runtime/script.h - a script that is ready to run: its text, where it came from, its map.  Internal. */
#ifndef MUSTER_SCRIPT_H
#define MUSTER_SCRIPT_H

#include <stdatomic.h>

#include "runtime/base.h"

struct muster__source_map;

struct muster__script {
    atomic_uint others; /* references beside the first */
    char *url;  /* "file:///srv/app/worker.js"; what errors name */
    char *text; /* classic text; a module's bundle; NULL for native */
    size_t length;
    bool is_module;                  /* text is an iife bundle that assigns `__muster_module` */
    char *source_map;                /* the text of `map`, for a process that hosts workers; NULL: none */
    struct muster__source_map *map;  /* NULL: positions are the author's already */
    const struct muster_native_worker *native; /* native engine only */
    void *native_library;            /* the dlopen handle, closed with the script */
};

/* Thread: any.  One reference more. */
void muster__script_acquire(struct muster__script *script);
/* Lets go of one reference, and frees what it owns with the last; NULL and zeroed are fine. */
void muster__script_destroy(struct muster__script *script);

#endif
