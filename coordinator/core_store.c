/* coordinator/core_store.c - the core's memory: records that are reserved before a step changes anything,
 * maps by id, and the heap of deadlines.  Thread: the driver's.
 *
 * Promise: after muster__core_store_reserve() said yes, nothing in the step can run out of memory; and
 * no order in here depends on where an object lies. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/core_internal.h"

/* What one touched scope can start, and what it can tell the driver, beside its queued jobs and its
 * redundant versions. */
#define STARTS_PER_SCOPE 4
#define ACTIONS_PER_SCOPE 48
#define ACTIONS_PER_JOB 26
#define SPARES (STARTS_PER_SCOPE * (MUSTER__CORE_BATCH + 2))

static void *take(struct muster__core *core, size_t size)
{
    return core->options.allocate != NULL
               ? core->options.allocate(size, core->options.allocate_data)
               : malloc(size);
}

void *muster__core_store_new(struct muster__core *core, size_t size)
{
    void *memory = take(core, size);
    if (memory != NULL) {
        memset(memory, 0, size);
    }
    return memory;
}

char *muster__core_store_text(struct muster__core *core, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = muster__core_store_new(core, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

/* The array with room for at least `wanted` items, the first `used` of which are kept; NULL: no memory,
 * and nothing changed. */
static void *grow(struct muster__core *core, void *items, size_t *capacity, size_t used, size_t wanted,
                  size_t item_size)
{
    if (wanted <= *capacity) {
        return items;
    }
    size_t larger = *capacity * 2 > wanted ? *capacity * 2 : wanted;
    if (larger > SIZE_MAX / item_size) {
        return NULL;
    }
    /* Not zeroed: most of it is never touched. */
    void *memory = take(core, larger * item_size);
    if (memory == NULL) {
        return NULL;
    }
    if (used > 0) {
        memcpy(memory, items, used * item_size);
    }
    free(items);
    *capacity = larger;
    return memory;
}

/* ---- maps ---- */

static size_t home(const struct muster__core_map *map, uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdULL;
    key ^= key >> 29;
    return (size_t)key & (map->capacity - 1);
}

static size_t find(const struct muster__core_map *map, uint64_t key)
{
    size_t at = home(map, key);
    while (map->entries[at].key != 0 && map->entries[at].key != key) {
        at = (at + 1) & (map->capacity - 1);
    }
    return at;
}

void *muster__core_map_get(const struct muster__core_map *map, uint64_t key)
{
    return map->capacity == 0 || key == 0 ? NULL : map->entries[find(map, key)].value;
}

void muster__core_map_put(struct muster__core_map *map, uint64_t key, void *value)
{
    MUSTER_CHECK(key != 0 && value != NULL && map->used + 1 < map->capacity);
    size_t at = find(map, key);
    map->used += map->entries[at].key == 0;
    map->entries[at].key = key;
    map->entries[at].value = value;
}

void muster__core_map_remove(struct muster__core_map *map, uint64_t key)
{
    size_t mask = map->capacity - 1;
    size_t hole = map->capacity == 0 ? 0 : find(map, key);
    if (map->capacity == 0 || map->entries[hole].key == 0) {
        return;
    }
    map->used--;
    /* What was pushed on by the hole moves back into it, so that no tombstones pile up. */
    for (size_t at = (hole + 1) & mask; map->entries[at].key != 0; at = (at + 1) & mask) {
        size_t wants = home(map, map->entries[at].key);
        if (((at - wants) & mask) >= ((at - hole) & mask)) {
            map->entries[hole] = map->entries[at];
            hole = at;
        }
    }
    map->entries[hole].key = 0;
    map->entries[hole].value = NULL;
}

static bool reserve_map(struct muster__core *core, struct muster__core_map *map, size_t more)
{
    if ((map->used + more + 1) * 2 <= map->capacity) {
        return true;
    }
    struct muster__core_map larger = { .capacity = 64 };
    while (larger.capacity < (map->used + more + 1) * 4) {
        larger.capacity *= 2;
    }
    larger.entries = muster__core_store_new(core, larger.capacity * sizeof(larger.entries[0]));
    if (larger.entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].key != 0) {
            muster__core_map_put(&larger, map->entries[i].key, map->entries[i].value);
        }
    }
    free(map->entries);
    *map = larger;
    return true;
}

/* ---- deadlines: a binary heap by (time, sequence) ---- */

static bool is_before(const struct muster__core_timer *a, const struct muster__core_timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void place(struct muster__core *core, struct muster__core_timer *timer, size_t position)
{
    core->heap[position] = timer;
    timer->position = position;
}

static void sift_up(struct muster__core *core, struct muster__core_timer *timer, size_t position)
{
    while (position > 1 && is_before(timer, core->heap[position / 2])) {
        place(core, core->heap[position / 2], position);
        position /= 2;
    }
    place(core, timer, position);
}

static void sift_down(struct muster__core *core, struct muster__core_timer *timer, size_t position)
{
    for (;;) {
        size_t child = position * 2;
        if (child > core->heap_used) {
            break;
        }
        if (child < core->heap_used && is_before(core->heap[child + 1], core->heap[child])) {
            child++;
        }
        if (!is_before(core->heap[child], timer)) {
            break;
        }
        place(core, core->heap[child], position);
        position = child;
    }
    place(core, timer, position);
}

uint64_t muster__core_timer_after(const struct muster__core *core, uint64_t delay_us)
{
    return delay_us > UINT64_MAX - core->now_us ? UINT64_MAX : core->now_us + delay_us;
}

void muster__core_timer_clear(struct muster__core *core, struct muster__core_timer *timer)
{
    size_t position = timer->position;
    if (position == 0) {
        return;
    }
    timer->position = 0;
    struct muster__core_timer *last = core->heap[core->heap_used--];
    if (last == timer) {
        return;
    }
    if (position > 1 && is_before(last, core->heap[position / 2])) {
        sift_up(core, last, position);
    } else {
        sift_down(core, last, position);
    }
}

void muster__core_timer_set(struct muster__core *core, struct muster__core_timer *timer, uint64_t at_us)
{
    muster__core_timer_clear(core, timer);
    if (at_us == UINT64_MAX) {
        return;
    }
    MUSTER_CHECK(core->heap_used + 1 < core->heap_capacity);
    timer->at_us = at_us;
    timer->sequence = ++core->last_sequence;
    sift_up(core, timer, ++core->heap_used);
}

/* ---- the step's reserve ---- */

static bool reserve_spares(struct muster__core *core)
{
    while (core->spare_count < SPARES) {
        struct muster__core_instance *spare = muster__core_store_new(core, sizeof(*spare));
        if (spare == NULL) {
            return false;
        }
        spare->next = core->spares;
        core->spares = spare;
        core->spare_count++;
    }
    return true;
}

static bool reserve_heap(struct muster__core *core, size_t timers)
{
    size_t used = core->heap_used == 0 ? 0 : core->heap_used + 1;
    void *heap = grow(core, core->heap, &core->heap_capacity, used, timers, sizeof(core->heap[0]));
    if (heap != NULL) {
        core->heap = heap;
    }
    return heap != NULL;
}

static bool reserve_actions(struct muster__core *core, size_t worst)
{
    void *actions = grow(core, core->actions, &core->action_capacity, core->action_count, worst,
                         sizeof(core->actions[0]));
    if (actions != NULL) {
        core->actions = actions;
    }
    return actions != NULL;
}

bool muster__core_store_reserve(struct muster__core *core, size_t actions, size_t new_versions)
{
    size_t timers = core->instances.used + SPARES + core->versions.used + core->redundant_count
                    + core->jobs.used + new_versions + 2;
    size_t worst = actions + ACTIONS_PER_SCOPE * (MUSTER__CORE_BATCH + 2)
                   + ACTIONS_PER_JOB * (core->jobs.used + core->redundant_count + 4);
    return reserve_spares(core) && reserve_map(core, &core->instances, SPARES)
           && reserve_map(core, &core->versions, new_versions)
           && reserve_map(core, &core->scopes, new_versions) && reserve_map(core, &core->jobs, 1)
           && reserve_heap(core, timers) && reserve_actions(core, worst);
}

void muster__core_emit(struct muster__core *core, struct muster__core_action action)
{
    MUSTER_CHECK(core->action_count < core->action_capacity);
    core->actions[core->action_count++] = action;
}

void muster__core_store_clean_up(struct muster__core *core)
{
    while (core->spares != NULL) {
        struct muster__core_instance *spare = core->spares;
        core->spares = spare->next;
        free(spare);
    }
    free(core->scopes.entries);
    free(core->versions.entries);
    free(core->instances.entries);
    free(core->jobs.entries);
    free(core->heap);
    free(core->actions);
}
