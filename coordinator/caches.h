/* coordinator/caches.h - CacheStorage: requests and the responses that scripts keep for them.  Internal.
 *
 * With a state folder the caches of a storage key are on disk (cache_store.h): what was answered is there after a restart,
 * or a crash; without one they live as long as the instance, in memory.  They belong to the storage key, not to a
 * registration, and stay when that is unregistered.  A script's side makes the records and reads them; here they are
 * matched (Service Workers standard, "Request Matches Cached Item"), replaced and counted.
 *   caches.open(name)              answered with a number, the context's name for the cache
 *   caches.has(name), caches.delete(name)      answered with a boolean
 *   caches.keys()                  answered with the names, in order of creation
 *   cache.put(cache, record) + body            a record that matches the same request is replaced
 *   cache.delete(cache, query)     answered with a boolean
 *   cache.query(cache, query)      answered with [[number, record], ...], in order of insertion
 *   cache.read(cache, number)      answered with true and the body beside it; false: it is gone
 * record: {url, method, varying: [name, value or null, ...], ...}, of which the rest is the script's.  query: {url,
 * headers: {name: value}, ignoreSearch, ignoreVary}; one without a url means all.  URLs have no fragment.
 * A cache that was deleted stays for the contexts that have it open.
 * Thread: coordinator.
 */
#ifndef MUSTER_CACHES_H
#define MUSTER_CACHES_H

#include "coordinator/context.h"

muster__op_fn muster__op_caches_open, muster__op_caches_has, muster__op_caches_delete, muster__op_caches_keys,
    muster__op_cache_put, muster__op_cache_delete, muster__op_cache_query, muster__op_cache_read;

/* Thread: the one that makes the instance.  NULL: there is no folder, nothing is kept.  NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__caches_open(struct muster *muster, const char *state_folder);
/* Thread: any but the coordinator's, whose thread runs still.  Writes what waits; nothing is kept any more. */
void muster__caches_close(struct muster *muster);

/* The context is closed: the caches that it has open are let go. */
void muster__caches_let_go(struct muster__context *context);
/* Every context is closed, and so is the store. */
void muster__caches_clean_up(struct muster__worlds *worlds);

#endif
