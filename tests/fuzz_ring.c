/* tests/fuzz_ring.c - libFuzzer target: what a hostile child may write into the memory of a ring, between any calls of its
 * parent's.
 *
 * The input is a list of {u8 what, u8 where, u32 value}: an odd `what` writes the value over a word of the header; the others
 * write, read, sleep or want room.  No call may touch what is not the ring's, and none may move more than the ring holds. */
#include "remote/ring.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES MUSTER__RING_BYTES_LEAST
#define HEADER 4096
#define WORDS (320 / 4) /* of the header that have a meaning */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct muster__ring *ring, uint8_t what, uint32_t value)
{
    char *memory = malloc(2 * BYTES); /* of its own, so that a byte too many is seen */
    size_t first = value % BYTES, length = 0;
    bool wake;
    struct iovec vectors[2] = {{memory, first}, {memory + first, (value >> 16) % BYTES}};
    enum muster_status status = MUSTER_OK;
    memset(memory, 1, 2 * BYTES);
    if (what % 8 == 0)
        status = muster__ring_write(ring, vectors, 2, &length, &wake);
    else if (what % 8 == 2)
        status = muster__ring_read(ring, vectors, 2, &length, &wake);
    else if (what % 8 == 4)
        (void)!muster__ring_sleep(ring);
    else
        (void)!muster__ring_want_room(ring);
    if (status == MUSTER_OK ? length > BYTES : status != MUSTER_INVALID_ARGUMENT)
        abort();
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct muster__ring *ring, *child;
    int fd;
    if (muster__ring_new(BYTES, &ring, &fd) != MUSTER_OK)
        abort();
    atomic_uint *words = mmap(NULL, HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (; size >= 6; data += 6, size -= 6) {
        uint32_t value;
        memcpy(&value, data + 2, sizeof value);
        if (data[0] % 2)
            atomic_store(&words[data[1] % WORDS], value);
        else
            step(ring, data[0], value);
    }
    if (muster__ring_attach(fd, &child) == MUSTER_OK) /* what the header says by now */
        muster__ring_destroy(child);
    munmap(words, HEADER);
    close(fd);
    muster__ring_destroy(ring);
    return 0;
}
