/* runtime/id_map.c - see id_map.h.  Numbers mostly count up, so that their low bits spread. */
#include "runtime/id_map.h"

#include <stdlib.h>

#define CAPACITY_FIRST 16

static size_t index_of(const struct muster__id_map *map, uint64_t id)
{
    return (id ^ id >> 32) & (map->capacity - 1);
}

static struct muster__id_node **bucket_of(const struct muster__id_map *map, uint64_t id)
{
    if (!map->capacity)
        return (struct muster__id_node **)&map->first_bucket;
    return &map->buckets[index_of(map, id)];
}

static void move(struct muster__id_map *map, struct muster__id_node *list)
{
    while (list) {
        struct muster__id_node *node = list;
        list = node->next;
        struct muster__id_node **bucket = bucket_of(map, node->id);
        node->next = *bucket;
        *bucket = node;
    }
}

static void grow(struct muster__id_map *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : CAPACITY_FIRST;
    struct muster__id_node **buckets = calloc(capacity, sizeof(struct muster__id_node *));
    if (!buckets)
        return; /* the chains get longer */
    struct muster__id_node **old = map->buckets;
    size_t old_capacity = map->capacity;
    map->buckets = buckets;
    map->capacity = capacity;
    move(map, map->first_bucket);
    map->first_bucket = NULL;
    for (size_t i = 0; i < old_capacity; i++)
        move(map, old[i]);
    free(old);
}

void muster__id_map_add(struct muster__id_map *map, struct muster__id_node *node)
{
    if (map->count >= map->capacity)
        grow(map);
    struct muster__id_node **bucket = bucket_of(map, node->id);
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

struct muster__id_node *muster__id_map_find(const struct muster__id_map *map, uint64_t id)
{
    struct muster__id_node *node = *bucket_of(map, id);
    while (node && node->id != id)
        node = node->next;
    return node;
}

struct muster__id_node *muster__id_map_remove(struct muster__id_map *map, uint64_t id)
{
    struct muster__id_node **at = bucket_of(map, id);
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    struct muster__id_node *node = *at;
    if (node) {
        *at = node->next;
        node->next = NULL;
        map->count--;
    }
    return node;
}

struct muster__id_node *muster__id_map_any(const struct muster__id_map *map)
{
    return muster__id_map_next(map, NULL);
}

struct muster__id_node *muster__id_map_next(const struct muster__id_map *map, const struct muster__id_node *node)
{
    struct muster__id_node *next = node ? node->next : map->first_bucket;
    size_t i = node && map->capacity ? index_of(map, node->id) + 1 : 0;
    for (; !next && i < map->capacity; i++)
        next = map->buckets[i];
    return next;
}

void muster__id_map_clean_up(struct muster__id_map *map)
{
    MUSTER_CHECK(map->count == 0);
    free(map->buckets);
    *map = (struct muster__id_map){0};
}
