/* remote/ring.c - bytes between a parent and its child through memory that both have.  See ring.h, also for why no
 * wake-up is lost. */
#include "remote/ring.h"

#include "remote/sealed_file.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC 0x474e524du /* "MRNG" */
#define VERSION 1u
#define HEADER 4096u

/* What each side writes is in a line of the cache of its own. */
struct direction {
    atomic_uint written;
    atomic_uint wants_room; /* the writer's; the reader takes it back */
    uint8_t rest[56];
    atomic_uint read;
    atomic_uint asleep; /* the reader's; the writer takes it back */
    uint8_t more[56];
};

struct layout {
    uint32_t magic, version, bytes, zeros[13];
    struct direction directions[2]; /* the parent writes the first */
};
_Static_assert(offsetof(struct layout, directions) == 64 && sizeof(struct direction) == 128, "as ring.h says");
_Static_assert(sizeof(struct layout) <= HEADER && sizeof(atomic_uint) == 4, "as ring.h says");

/* One end of a direction: what this process believes, and where it looks. */
struct end {
    struct direction *direction;
    char *bytes;
    uint32_t position; /* ours: the one in the memory can be overwritten */
    uint32_t limit;    /* the writer's: where the reader was, when last looked at */
};

struct muster__ring {
    uint32_t bytes;
    size_t size;
    char *memory;
    struct end out, in;
};

static size_t size_of(uint32_t bytes)
{
    return HEADER + 2 * (size_t)bytes;
}

static bool is_length(uint32_t bytes)
{
    return bytes >= MUSTER__RING_BYTES_LEAST && bytes <= MUSTER__RING_BYTES_MOST && (bytes & (bytes - 1)) == 0;
}

/* ---- life ---- */

static enum muster_status new_end(uint32_t bytes, struct muster__ring **ret_ring)
{
    struct muster__ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return MUSTER_NO_MEMORY;
    ring->bytes = bytes;
    ring->size = size_of(bytes);
    *ret_ring = ring;
    return MUSTER_OK;
}

static bool map(struct muster__ring *ring, int fd, unsigned writes)
{
    void *memory = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return false;
    struct layout *layout = memory;
    ring->memory = memory;
    ring->out = (struct end){.direction = &layout->directions[writes],
                             .bytes = ring->memory + HEADER + writes * (size_t)ring->bytes};
    ring->in = (struct end){.direction = &layout->directions[1 - writes],
                            .bytes = ring->memory + HEADER + (1 - writes) * (size_t)ring->bytes};
    return true;
}

enum muster_status muster__ring_new(uint32_t bytes, struct muster__ring **ret_ring, int *ret_fd)
{
    struct muster__ring *ring;
    if (!is_length(bytes))
        return MUSTER_INVALID_ARGUMENT;
    enum muster_status status = new_end(bytes, &ring);
    if (status != MUSTER_OK)
        return status;
    int fd = muster__sealed_file_new("muster-ring", ring->size);
    if (fd < 0 || !map(ring, fd, 0)) {
        if (fd >= 0)
            close(fd);
        muster__ring_destroy(ring);
        return MUSTER_SYSTEM;
    }
    struct layout *layout = (struct layout *)ring->memory;
    layout->magic = MAGIC;
    layout->version = VERSION;
    layout->bytes = bytes;
    atomic_store(&layout->directions[0].asleep, 1);
    atomic_store(&layout->directions[1].asleep, 1);
    *ret_ring = ring;
    *ret_fd = fd;
    return MUSTER_OK;
}

/* The size tells the length of the rings, and is sealed: what the file says of itself has to agree. */
static bool is_ours(int fd, uint32_t *ret_bytes)
{
    size_t size;
    if (!muster__sealed_file_is(fd, &size) || size > size_of(MUSTER__RING_BYTES_MOST) || size < HEADER)
        return false;
    *ret_bytes = (uint32_t)(size - HEADER) / 2;
    return is_length(*ret_bytes) && size_of(*ret_bytes) == size;
}

enum muster_status muster__ring_attach(int fd, struct muster__ring **ret_ring)
{
    struct muster__ring *ring;
    uint32_t bytes;
    if (!is_ours(fd, &bytes))
        return MUSTER_INVALID_ARGUMENT;
    enum muster_status status = new_end(bytes, &ring);
    if (status != MUSTER_OK)
        return status;
    status = map(ring, fd, 1) ? MUSTER_OK : MUSTER_SYSTEM;
    if (status == MUSTER_OK) {
        const struct layout *layout = (const struct layout *)ring->memory;
        if (layout->magic != MAGIC || layout->version != VERSION || layout->bytes != bytes)
            status = MUSTER_INVALID_ARGUMENT;
    }
    if (status != MUSTER_OK) {
        muster__ring_destroy(ring);
        return status;
    }
    *ret_ring = ring;
    return MUSTER_OK;
}

void muster__ring_destroy(struct muster__ring *take_ring)
{
    if (take_ring == NULL)
        return;
    if (take_ring->memory != NULL)
        munmap(take_ring->memory, take_ring->size);
    free(take_ring);
}

/* ---- writing ---- */

/* Bytes that may be written.  SIZE_MAX: the reader says that it has read what was not written. */
static size_t room(struct muster__ring *ring)
{
    struct end *out = &ring->out;
    uint32_t waiting = out->position - out->limit;
    return waiting > ring->bytes ? SIZE_MAX : ring->bytes - waiting;
}

static size_t look_for_room(struct muster__ring *ring)
{
    ring->out.limit = atomic_load(&ring->out.direction->read);
    return room(ring);
}

static void copy_in(struct muster__ring *ring, const char *data, size_t length)
{
    uint32_t at = ring->out.position & (ring->bytes - 1);
    size_t first = ring->bytes - at;
    if (first > length)
        first = length;
    memcpy(ring->out.bytes + at, data, first);
    memcpy(ring->out.bytes, data + first, length - first);
    ring->out.position += (uint32_t)length;
}

static size_t total_of(const struct iovec *vectors, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += vectors[i].iov_len;
    return total;
}

/* Said already, and taken back by us: whoever said it hears of it once. */
static bool take(atomic_uint *flag)
{
    return atomic_load(flag) != 0 && atomic_exchange(flag, 0) != 0;
}

enum muster_status muster__ring_write(struct muster__ring *ring, const struct iovec *vectors, unsigned count,
                                      size_t *ret_written, bool *ret_wake)
{
    size_t left = total_of(vectors, count), free_bytes = room(ring);
    if (free_bytes < left)
        free_bytes = look_for_room(ring);
    if (free_bytes == SIZE_MAX)
        return MUSTER_INVALID_ARGUMENT;
    if (left > free_bytes)
        left = free_bytes;
    *ret_written = left;
    *ret_wake = false;
    for (unsigned i = 0; left > 0; i++) {
        size_t length = vectors[i].iov_len < left ? vectors[i].iov_len : left;
        copy_in(ring, vectors[i].iov_base, length);
        left -= length;
    }
    if (*ret_written > 0) {
        atomic_store(&ring->out.direction->written, ring->out.position);
        *ret_wake = take(&ring->out.direction->asleep);
    }
    return MUSTER_OK;
}

bool muster__ring_want_room(struct muster__ring *ring)
{
    atomic_store(&ring->out.direction->wants_room, 1);
    if (look_for_room(ring) < ring->bytes / 2) /* as muster__ring_read() decides */
        return true;
    atomic_store(&ring->out.direction->wants_room, 0);
    return false;
}

/* ---- reading ---- */

/* Bytes that may be read.  More than the ring has: the writer says what cannot be. */
static uint32_t available(const struct muster__ring *ring)
{
    return atomic_load(&ring->in.direction->written) - ring->in.position;
}

static void copy_out(struct muster__ring *ring, char *data, size_t length)
{
    uint32_t at = ring->in.position & (ring->bytes - 1);
    size_t first = ring->bytes - at;
    if (first > length)
        first = length;
    memcpy(data, ring->in.bytes + at, first);
    memcpy(data + first, ring->in.bytes, length - first);
    ring->in.position += (uint32_t)length;
}

enum muster_status muster__ring_read(struct muster__ring *ring, const struct iovec *vectors, unsigned count,
                                     size_t *ret_read, bool *ret_wake)
{
    uint32_t here = available(ring);
    if (here > ring->bytes)
        return MUSTER_INVALID_ARGUMENT;
    size_t left = total_of(vectors, count);
    if (left > here)
        left = here;
    *ret_read = left;
    *ret_wake = false;
    here -= (uint32_t)left;
    for (unsigned i = 0; left > 0; i++) {
        size_t length = vectors[i].iov_len < left ? vectors[i].iov_len : left;
        copy_out(ring, vectors[i].iov_base, length);
        left -= length;
    }
    if (*ret_read > 0) {
        atomic_store(&ring->in.direction->read, ring->in.position);
        *ret_wake = here <= ring->bytes / 2 && take(&ring->in.direction->wants_room);
    }
    return MUSTER_OK;
}

bool muster__ring_has_bytes(const struct muster__ring *ring)
{
    return available(ring) != 0;
}

bool muster__ring_sleep(struct muster__ring *ring)
{
    atomic_store(&ring->in.direction->asleep, 1);
    if (!muster__ring_has_bytes(ring))
        return true;
    atomic_store(&ring->in.direction->asleep, 0);
    return false;
}
