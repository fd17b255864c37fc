/* coordinator/scope_map.h - the published snapshot: which value controls a URL.  Internal.
 *
 * A map from scope strings to opaque counted values, asked by longest string prefix.  One writer
 * (the coordinator's thread) changes it in batches; a batch is published as a whole, by one store
 * of the root.  Any number of threads match at the same time, without locks, waiting or
 * registration, and see either all of a batch or nothing of it.
 *
 * The tree is a radix trie that shares structure: a batch copies the nodes on the paths that it
 * changes, once each, and leaves the others.  Published nodes never change.
 *
 * Reclamation scheme: two-phase reader counters, as in sleepable RCU, sharded by CPU.  A reader
 * adds one to the counter of the current phase on the shard of its CPU, reads the root, and takes
 * the one off the same counter when it is done.  What a batch replaced is freed when every counter,
 * of both phases and all shards, was seen at zero once after the batch was published: a reader that
 * comes to a counter after that look reads the new root.  The writer turns the phase over when the
 * counters of the idle phase were all seen at zero, so that those of the other one drain though
 * readers keep coming.  The writer looks at each commit, at each reclaim and never waits; a reader
 * that is held up delays only the freeing.  A reader's section allocates nothing and cannot fail.
 */
#ifndef MUSTER_SCOPE_MAP_H
#define MUSTER_SCOPE_MAP_H

#include "runtime/check.h"

struct muster__scope_map;

struct muster__scope_map_options {
    /* Thread: any that matches, and the writer; inside a read section.  One reference more. */
    void (*retain)(void *value);
    /* Thread: the writer's.  Must not call the map. */
    void (*release)(void *value);
    /* Where nodes come from; NULL: malloc and free.  Thread: the writer's. */
    void *(*allocate)(size_t size, void *user_data);
    void (*deallocate)(void *memory, void *user_data);
    void *user_data;
};

MUSTER_MUST_CHECK enum muster_status
muster__scope_map_new(const struct muster__scope_map_options *options,
                      struct muster__scope_map **ret_map);
/* Thread: the writer's; nobody matches any more.  An open batch is dropped, every value released.
 */
void muster__scope_map_destroy(struct muster__scope_map *map);

/* Thread: the writer's.  Opens a batch; batches do not nest.  Outside of a batch, set and remove
 * publish at once. */
void muster__scope_map_begin(struct muster__scope_map *map);
/* Thread: the writer's.  Publishes what the batch changed; cannot fail. */
void muster__scope_map_commit(struct muster__scope_map *map);
/* Thread: the writer's.  Forgets what the batch changed. */
void muster__scope_map_abandon(struct muster__scope_map *map);

/* Thread: the writer's.  Adds the scope or replaces its value; retains the value, copies the scope.
 * INVALID_ARGUMENT: no value, or a scope longer than 1 MB.  NO_MEMORY: nothing changed. */
MUSTER_MUST_CHECK enum muster_status
muster__scope_map_set(struct muster__scope_map *map, const char *scope, size_t length, void *value);
/* Thread: the writer's.  NOT_FOUND, or NO_MEMORY (a copied path needs memory too): nothing changed.
 */
MUSTER_MUST_CHECK enum muster_status muster__scope_map_remove(struct muster__scope_map *map,
                                                              const char *scope, size_t length);
/* Thread: the writer's.  The value of exactly this scope as the open batch has it; borrowed; or
 * NULL. */
void *muster__scope_map_get(const struct muster__scope_map *map, const char *scope, size_t length);

/* Thread: the writer's.  Frees what no reader can see any more.  True: something is left, try again
 * at some later time (a removed value is released only then). */
bool muster__scope_map_reclaim(struct muster__scope_map *map);

/* Thread: any.  The value of the longest scope that the URL begins with, retained for the caller;
 * NULL: none. */
void *muster__scope_map_match(struct muster__scope_map *map, const char *url, size_t length);
/* Thread: any.  How many scopes are published. */
size_t muster__scope_map_count(const struct muster__scope_map *map);

/* Borrowed until the call returns; the scope is terminated.  False: stop. */
typedef bool muster__scope_map_see_fn(const char *scope, size_t length, void *value,
                                      void *user_data);
/* Thread: any, also the writer's (it sees what is published).  Every scope in byte order, from one
 * snapshot, which is kept for as long as the walk lasts. */
MUSTER_MUST_CHECK enum muster_status muster__scope_map_each(struct muster__scope_map *map,
                                                            muster__scope_map_see_fn *see,
                                                            void *user_data);

struct muster__scope_map_stats {
    size_t nodes;   /* allocated, those that wait to be freed among them */
    size_t bytes;   /* of these nodes */
    size_t retired; /* nodes that wait to be freed */
    uint64_t publications;
};
/* Thread: the writer's. */
struct muster__scope_map_stats muster__scope_map_stats(const struct muster__scope_map *map);

#endif
