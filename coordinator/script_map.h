/* coordinator/script_map.h - the scripts that one version of a registration runs with.  Internal.
 *
 * The Service Workers standard's "script resource map": the version's own script and what it imports, as they came
 * when it was registered.  While it is being installed an import that is not there is fetched and kept; once it is
 * installed what it did not use is forgotten, and importScripts() finds here what it imported then, and nothing else
 * (SW-IMP-1): a version's code does not change under it.
 *
 * A version that the embedder registers keeps its imports alone here: its own script is the first that ran.
 *
 * The version's loader is the map's: workers in threads and in processes ask it alike, on threads that may block.
 *
 * Thread: any, for all of it; one that may block where a map that is filled late is looked at (find, each, load).
 */
#ifndef MUSTER_SCRIPT_MAP_H
#define MUSTER_SCRIPT_MAP_H

#include "runtime/script_fetch.h"

struct muster__script_map;

/* `inner` brings what is not there; its texts are borrowed as long as the map is.  NULL: out of memory. */
struct muster__script_map *muster__script_map_new(const struct muster__loader *inner);
/* The same, of imports alone: a version's own script goes through, and while one has not been installed the imports of an
 * earlier attempt to run it go then, as its author may have mended them. */
struct muster__script_map *muster__script_map_new_of_imports(const struct muster__loader *inner);
/* NULL: no-op. */
void muster__script_map_destroy(struct muster__script_map *map);

/* What was kept of it in an earlier life: `fill` adds it, once, before anybody looks; on a thread that may block. */
void muster__script_map_set_fill(struct muster__script_map *map,
                                 void (*fill)(struct muster__script_map *map, void *user_data), void *user_data);

/* What brings the scripts that are not in it.  Borrowed. */
const struct muster__loader *muster__script_map_inner(const struct muster__script_map *map);

struct muster__mapped_script {
    const char *url;               /* as it was asked for, without its fragment */
    struct muster__script *script; /* in a map: borrowed */
    uint64_t checked_us;           /* wall clock, when it came from where it comes from */
    uint64_t fresh_until_us;       /* wall clock: its server wants no question before; 0: it may be asked at once */
    const char *etag, *last_modified; /* by which it can be asked whether it is the same; NULL: none */
    bool is_used;                  /* an import: it was evaluated; the version's own script always is */
};

/* Keeps copies of the texts and a reference to the script, instead of what was there of that URL.  NO_MEMORY; REFUSED:
 * it would be more scripts than a version may have. */
MUSTER_MUST_CHECK enum muster_status muster__script_map_add(struct muster__script_map *map,
                                                            const struct muster__mapped_script *script);
/* Of what was fetched now; the texts and the script are borrowed from it. */
struct muster__mapped_script muster__script_map_entry(const char *url, const struct muster__fetched_script *fetched);
/* It was looked for and did not come: importing it fails until the map is closed. */
MUSTER_MUST_CHECK enum muster_status muster__script_map_miss(struct muster__script_map *map, const char *url);
/* With a reference; NULL: it is not there. */
struct muster__script *muster__script_map_find(struct muster__script_map *map, const char *url);
/* It was looked at where it comes from, and is the same. */
void muster__script_map_check(struct muster__script_map *map, const char *url, uint64_t checked_us,
                              uint64_t fresh_until_us);
/* What is known of one, without filling the map.  False: nothing.  Cleaned up by the caller. */
MUSTER_MUST_CHECK bool muster__script_map_peek(struct muster__script_map *map, const char *url,
                                               struct muster__mapped_script *ret_mapped);
/* One that owns its texts and has a reference.  False: out of memory. */
MUSTER_MUST_CHECK bool muster__mapped_script_copy(struct muster__mapped_script *to,
                                                  const struct muster__mapped_script *from);
void muster__mapped_script_clean_up(struct muster__mapped_script *mapped);
/* In order of addition; `see` must not call the map. */
void muster__script_map_each(struct muster__script_map *map,
                             void (*see)(const struct muster__mapped_script *script, void *user_data),
                             void *user_data);
/* It is installed (or was so in an earlier life): what was not used goes, nothing comes any more (SW-INS-3). */
void muster__script_map_close(struct muster__script_map *map);

/* A muster_load_fn whose user data is the map. */
enum muster_status muster__script_map_load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                                           struct muster_error *error, void *user_data);

#endif
