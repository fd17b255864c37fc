/* runtime/id_map.h - things by their number: a chained hash whose links lie in the things.  Internal.
 *
 * Adding cannot fail once the map exists: without memory to grow it only gets slower.  Thread: one at a time.
 */
#ifndef MUSTER_ID_MAP_H
#define MUSTER_ID_MAP_H

#include "runtime/check.h"

/* Embedded in the thing. */
struct muster__id_node {
    uint64_t id;
    struct muster__id_node *next;
};

/* A zeroed one is empty. */
struct muster__id_map {
    struct muster__id_node **buckets;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    struct muster__id_node *first_bucket; /* until the first allocation succeeds */
};

/* The id is not in it. */
void muster__id_map_add(struct muster__id_map *map, struct muster__id_node *node);
/* NULL: there is none. */
struct muster__id_node *muster__id_map_find(const struct muster__id_map *map, uint64_t id);
/* NULL: there was none. */
struct muster__id_node *muster__id_map_remove(struct muster__id_map *map, uint64_t id);
/* Any one of those that are left; NULL: it is empty. */
struct muster__id_node *muster__id_map_any(const struct muster__id_map *map);
/* The one that follows `node` (NULL: the first), in no order that means anything; NULL: there is none.  Nothing
 * was added meanwhile; what was returned before may have been removed, `node` not. */
struct muster__id_node *muster__id_map_next(const struct muster__id_map *map, const struct muster__id_node *node);
/* Frees the map's own memory; it is empty. */
void muster__id_map_clean_up(struct muster__id_map *map);

#endif
