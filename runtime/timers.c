/* runtime/timers.c - a binary heap of slot numbers, and a table from ids to slots.
 *
 * The owner's thread only.  The promise: (time, sequence) is a total order, so that timers for the same
 * time fire in the order in which they were set, and a repeating one goes behind those set meanwhile.
 * The heap moves slot numbers, not timers; each timer knows its place in the heap, which is what makes
 * clearing O(log n). */
#include "runtime/timers.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"

#define FIRST_CAPACITY 8u
#define MAX_CAPACITY (1u << 26)
#define KEPT_CAPACITY 64u /* what an owner without timers may hold on to */

struct muster__timer {
    uint64_t at_us;
    uint64_t period_us;
    uint64_t sequence;
    uint32_t id;
    uint32_t heap_at; /* while free: the next free slot + 1 */
};

void muster__timers_init(struct muster__timers *timers)
{
    memset(timers, 0, sizeof *timers);
}

static void free_arrays(struct muster__timers *timers)
{
    free(timers->slots);
    free(timers->heap);
    free(timers->places);
    timers->slots = NULL;
    timers->heap = NULL;
    timers->places = NULL;
    timers->capacity = 0;
    timers->free_slot = 0;
}

void muster__timers_clean_up(struct muster__timers *timers)
{
    free_arrays(timers);
    timers->count = 0;
}

/* ---- the table of ids ---- */

static uint32_t place_mask(const struct muster__timers *timers)
{
    return timers->capacity * 2 - 1;
}

/* Ids count up: taken as they are, ten thousand long-lived timers would be one solid block of places,
 * and each new id that comes round to it would have to walk along it. */
static uint32_t home_of(const struct muster__timers *timers, uint32_t id)
{
    uint32_t spread = id * 0x9e3779b1u;
    return (uint32_t)(((uint64_t)spread * ((uint64_t)place_mask(timers) + 1)) >> 32);
}

/* Where the id is, or the empty place where it belongs. */
static uint32_t find_place(const struct muster__timers *timers, uint32_t id)
{
    uint32_t mask = place_mask(timers);
    uint32_t at = home_of(timers, id);
    while (timers->places[at] != 0 && timers->slots[timers->places[at] - 1].id != id)
        at = (at + 1) & mask;
    return at;
}

static bool is_pending(const struct muster__timers *timers, uint32_t id)
{
    return timers->capacity > 0 && timers->places[find_place(timers, id)] != 0;
}

/* Empties a place and moves those behind it up, so that no search stops short of them. */
static void empty_place(struct muster__timers *timers, uint32_t at)
{
    uint32_t mask = place_mask(timers);
    uint32_t hole = at;
    for (;;) {
        at = (at + 1) & mask;
        if (timers->places[at] == 0)
            break;
        uint32_t home = home_of(timers, timers->slots[timers->places[at] - 1].id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            timers->places[hole] = timers->places[at];
            hole = at;
        }
    }
    timers->places[hole] = 0;
}

/* ---- the heap ---- */

static bool is_before(const struct muster__timers *timers, uint32_t a, uint32_t b)
{
    const struct muster__timer *x = &timers->slots[a];
    const struct muster__timer *y = &timers->slots[b];
    return x->at_us != y->at_us ? x->at_us < y->at_us : x->sequence < y->sequence;
}

static void put_at(struct muster__timers *timers, uint32_t at, uint32_t slot)
{
    timers->heap[at] = slot;
    timers->slots[slot].heap_at = at;
}

static void sift_up(struct muster__timers *timers, uint32_t at)
{
    uint32_t slot = timers->heap[at];
    while (at > 0 && is_before(timers, slot, timers->heap[(at - 1) / 2])) {
        put_at(timers, at, timers->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_at(timers, at, slot);
}

static void sift_down(struct muster__timers *timers, uint32_t at)
{
    uint32_t slot = timers->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count &&
            is_before(timers, timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!is_before(timers, timers->heap[child], slot))
            break;
        put_at(timers, at, timers->heap[child]);
        at = child;
    }
    put_at(timers, at, slot);
}

/* ---- the arrays ---- */

static void fill_new_arrays(struct muster__timers *timers, uint32_t old_capacity)
{
    for (uint32_t i = timers->capacity; i > old_capacity; i--) {
        timers->slots[i - 1].heap_at = timers->free_slot;
        timers->free_slot = i;
    }
    for (uint32_t i = 0; i < timers->count; i++) {
        uint32_t slot = timers->heap[i];
        timers->places[find_place(timers, timers->slots[slot].id)] = slot + 1;
    }
}

/* Only when every slot is taken.  An array that grew while another could not is merely larger. */
static enum muster_status grow(struct muster__timers *timers)
{
    uint32_t old = timers->capacity;
    if (old >= MAX_CAPACITY)
        return MUSTER_NO_MEMORY;
    uint32_t capacity = old == 0 ? FIRST_CAPACITY : old * 2;
    struct muster__timer *slots = realloc(timers->slots, capacity * sizeof *slots);
    if (slots == NULL)
        return MUSTER_NO_MEMORY;
    timers->slots = slots;
    uint32_t *heap = realloc(timers->heap, capacity * sizeof *heap);
    if (heap == NULL)
        return MUSTER_NO_MEMORY;
    timers->heap = heap;
    uint32_t *places = calloc((size_t)capacity * 2, sizeof *places);
    if (places == NULL)
        return MUSTER_NO_MEMORY;
    free(timers->places);
    timers->places = places;
    timers->capacity = capacity;
    fill_new_arrays(timers, old);
    return MUSTER_OK;
}

static uint32_t next_id(struct muster__timers *timers)
{
    do
        timers->last_id++;
    while (timers->last_id == 0 || is_pending(timers, timers->last_id));
    return timers->last_id;
}

enum muster_status muster__timers_set(struct muster__timers *timers, uint64_t at_us,
                                      uint64_t period_us, uint32_t *ret_id)
{
    if (timers->free_slot == 0) {
        enum muster_status status = grow(timers);
        if (status != MUSTER_OK)
            return status;
    }
    uint32_t id = next_id(timers);
    uint32_t slot = timers->free_slot - 1;
    struct muster__timer *timer = &timers->slots[slot];
    timers->free_slot = timer->heap_at;
    *timer = (struct muster__timer){
        .at_us = at_us, .period_us = period_us, .sequence = ++timers->last_sequence, .id = id};
    timers->places[find_place(timers, id)] = slot + 1;
    put_at(timers, timers->count++, slot);
    sift_up(timers, timers->count - 1);
    *ret_id = id;
    return MUSTER_OK;
}

static void take_out(struct muster__timers *timers, uint32_t slot)
{
    struct muster__timer *timer = &timers->slots[slot];
    uint32_t at = timer->heap_at;
    empty_place(timers, find_place(timers, timer->id));
    uint32_t last = timers->heap[--timers->count];
    if (last != slot) {
        put_at(timers, at, last);
        sift_down(timers, at);
        sift_up(timers, timers->slots[last].heap_at);
    }
    timer->heap_at = timers->free_slot;
    timers->free_slot = slot + 1;
    if (timers->count == 0 && timers->capacity > KEPT_CAPACITY)
        free_arrays(timers);
}

bool muster__timers_clear(struct muster__timers *timers, uint32_t id)
{
    if (id == 0 || timers->count == 0)
        return false;
    uint32_t slot = timers->places[find_place(timers, id)];
    if (slot == 0)
        return false;
    take_out(timers, slot - 1);
    return true;
}

uint64_t muster__timers_next_deadline(const struct muster__timers *timers)
{
    return timers->count == 0 ? MUSTER__TIMERS_NEVER : timers->slots[timers->heap[0]].at_us;
}

static uint64_t later(uint64_t time_us, uint64_t by_us)
{
    return time_us > UINT64_MAX - by_us ? UINT64_MAX : time_us + by_us;
}

static void repeat_first(struct muster__timers *timers, uint64_t now_us)
{
    struct muster__timer *timer = &timers->slots[timers->heap[0]];
    uint64_t next = later(timer->at_us, timer->period_us);
    timer->at_us = next > now_us ? next : later(now_us, timer->period_us);
    timer->sequence = ++timers->last_sequence;
    sift_down(timers, 0);
}

uint32_t muster__timers_pop_due(struct muster__timers *timers, uint64_t now_us, bool *ret_repeats)
{
    if (timers->count == 0 || muster__timers_next_deadline(timers) > now_us)
        return 0;
    uint32_t slot = timers->heap[0];
    uint32_t id = timers->slots[slot].id;
    bool repeats = timers->slots[slot].period_us != 0;
    if (repeats)
        repeat_first(timers, now_us);
    else
        take_out(timers, slot);
    if (ret_repeats != NULL)
        *ret_repeats = repeats;
    return id;
}

uint32_t muster__timers_count(const struct muster__timers *timers)
{
    return timers->count;
}
