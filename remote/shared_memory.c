/* remote/shared_memory.c - words that tell what a host has started, in memory that its parent shares.
 *
 * Any thread.  The promise is that the parent is never harmed by what a host does to the memory: its size
 * is sealed, the parent's own book-keeping (which words are taken) lies elsewhere, and of a word only
 * "zero or not" is believed. */
#include "remote/shared_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "remote/sealed_file.h"
#include "runtime/check.h"

#define MAGIC 0x4d48534du /* "MSHM" */
#define VERSION 1u

struct layout {
    uint32_t magic, version, words, zero;
    _Atomic(uint64_t) heartbeat;
    uint8_t rest[40];
    atomic_uint states[];
};
_Static_assert(offsetof(struct layout, states) == 64, "the words begin at 64");
_Static_assert(sizeof(atomic_uint) == 4, "a word has 4 bytes");

struct muster__shared_memory {
    int fd;
    size_t size;
    uint32_t words; /* ours: the one in the layout can be overwritten */
    struct layout *layout;

    /* The parent's: a bit is 1 while its word is taken.  NULL in the host. */
    _Atomic(uint64_t) *taken;
    atomic_uint count;
    atomic_uint hint; /* the piece of the map where the last one was found */
};

static size_t size_of(uint32_t words)
{
    return sizeof(struct layout) + (size_t)words * sizeof(atomic_uint);
}

static uint32_t pieces_of(uint32_t words)
{
    return (words + 63) / 64;
}

static bool map(struct muster__shared_memory *memory)
{
    void *address = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
    memory->layout = address == MAP_FAILED ? NULL : address;
    return memory->layout != NULL;
}

enum muster_status muster__shared_memory_new(uint32_t words,
                                             struct muster__shared_memory **ret_memory)
{
    if (words == 0 || words > MUSTER__SHARED_MEMORY_WORDS_MAX)
        return MUSTER_INVALID_ARGUMENT;
    struct muster__shared_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return MUSTER_NO_MEMORY;
    memory->words = words;
    memory->size = size_of(words);
    memory->fd = -1;
    memory->taken = calloc(pieces_of(words), sizeof *memory->taken);
    enum muster_status status = memory->taken == NULL ? MUSTER_NO_MEMORY : MUSTER_SYSTEM;
    if (memory->taken != NULL)
        memory->fd = muster__sealed_file_new("muster-started", memory->size);
    if (memory->fd < 0 || !map(memory)) {
        muster__shared_memory_destroy(memory);
        return status;
    }
    memory->layout->magic = MAGIC;
    memory->layout->version = VERSION;
    memory->layout->words = words;
    if (words % 64 != 0) /* those behind the end are nobody's */
        memory->taken[words / 64] = ~UINT64_C(0) << words % 64;
    *ret_memory = memory;
    return MUSTER_OK;
}

int muster__shared_memory_fd(const struct muster__shared_memory *memory)
{
    return memory->fd;
}

/* -1: this piece of the map is full. */
static int take_from(_Atomic(uint64_t) *piece)
{
    uint64_t bits = atomic_load_explicit(piece, memory_order_relaxed);
    while (bits != ~UINT64_C(0)) {
        int bit = __builtin_ctzll(~bits);
        if (atomic_compare_exchange_weak_explicit(piece, &bits, bits | UINT64_C(1) << bit,
                                                  memory_order_acquire, memory_order_relaxed))
            return bit;
    }
    return -1;
}

enum muster_status muster__shared_memory_take(struct muster__shared_memory *memory,
                                              uint32_t *ret_index)
{
    MUSTER_CHECK(memory->taken != NULL);
    uint32_t pieces = pieces_of(memory->words);
    uint32_t first = atomic_load_explicit(&memory->hint, memory_order_relaxed);
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t at = (first + i) % pieces;
        int bit = take_from(&memory->taken[at]);
        if (bit < 0)
            continue;
        if (i > 0)
            atomic_store_explicit(&memory->hint, at, memory_order_relaxed);
        atomic_fetch_add_explicit(&memory->count, 1, memory_order_relaxed);
        *ret_index = at * 64 + (uint32_t)bit;
        /* Once more: a host that misbehaves may have written it after it was given back. */
        atomic_store_explicit(&memory->layout->states[*ret_index], 0, memory_order_release);
        return MUSTER_OK;
    }
    return MUSTER_QUEUE_FULL;
}

static bool is_taken(const struct muster__shared_memory *memory, uint32_t index)
{
    return memory->taken != NULL && index < memory->words &&
           (atomic_load_explicit(&memory->taken[index / 64], memory_order_relaxed) >> index % 64 & 1);
}

void muster__shared_memory_give_back(struct muster__shared_memory *memory, uint32_t index)
{
    MUSTER_CHECK(is_taken(memory, index));
    atomic_fetch_sub_explicit(&memory->count, 1, memory_order_relaxed);
    atomic_fetch_and_explicit(&memory->taken[index / 64], ~(UINT64_C(1) << index % 64),
                              memory_order_release);
}

bool muster__shared_memory_has_started(const struct muster__shared_memory *memory, uint32_t index)
{
    MUSTER_CHECK(is_taken(memory, index));
    return atomic_load_explicit(&memory->layout->states[index], memory_order_acquire) != 0;
}

bool muster__shared_memory_runs(const struct muster__shared_memory *memory, uint32_t index)
{
    MUSTER_CHECK(is_taken(memory, index));
    return atomic_load_explicit(&memory->layout->states[index], memory_order_acquire) == 1;
}

uint32_t muster__shared_memory_taken(const struct muster__shared_memory *memory)
{
    return atomic_load_explicit(&memory->count, memory_order_relaxed);
}

uint64_t muster__shared_memory_heartbeat(const struct muster__shared_memory *memory)
{
    return atomic_load_explicit(&memory->layout->heartbeat, memory_order_relaxed);
}

/* ---- in the host ---- */

enum muster_status muster__shared_memory_attach(int fd, struct muster__shared_memory **ret_memory)
{
    size_t size;
    if (!muster__sealed_file_is(fd, &size) || size < size_of(1) || size > size_of(MUSTER__SHARED_MEMORY_WORDS_MAX))
        return MUSTER_INVALID_ARGUMENT;
    struct muster__shared_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return MUSTER_NO_MEMORY;
    memory->fd = fd;
    memory->size = size;
    enum muster_status status = map(memory) ? MUSTER_OK : MUSTER_SYSTEM;
    if (status == MUSTER_OK) {
        memory->words = memory->layout->words;
        if (memory->layout->magic != MAGIC || memory->layout->version != VERSION ||
            memory->words == 0 || memory->words > MUSTER__SHARED_MEMORY_WORDS_MAX ||
            size_of(memory->words) != size)
            status = MUSTER_INVALID_ARGUMENT;
    }
    if (status != MUSTER_OK) {
        memory->fd = -1; /* stays the caller's */
        muster__shared_memory_destroy(memory);
        return status;
    }
    *ret_memory = memory;
    return MUSTER_OK;
}

bool muster__shared_memory_start(struct muster__shared_memory *memory, uint32_t index)
{
    if (index >= memory->words)
        return false;
    atomic_store(&memory->layout->states[index], 1); /* sequentially: nothing of the turn moves before */
    return true;
}

void muster__shared_memory_rest(struct muster__shared_memory *memory, uint32_t index)
{
    if (index < memory->words)
        atomic_store(&memory->layout->states[index], 2);
}

void muster__shared_memory_beat(struct muster__shared_memory *memory)
{
    atomic_fetch_add_explicit(&memory->layout->heartbeat, 1, memory_order_relaxed);
}

void muster__shared_memory_destroy(struct muster__shared_memory *take_memory)
{
    if (take_memory == NULL)
        return;
    if (take_memory->layout != NULL)
        munmap(take_memory->layout, take_memory->size);
    if (take_memory->fd >= 0)
        close(take_memory->fd);
    free((void *)take_memory->taken);
    free(take_memory);
}
