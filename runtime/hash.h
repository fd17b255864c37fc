/* runtime/hash.h - a short hash for tables of short texts: FNV-1a, whose low bits are the good ones.  Internal.
 *
 * Who knows the seed can choose texts that collide; without one (0) everybody does.  Thread: any. */
#ifndef MUSTER_HASH_H
#define MUSTER_HASH_H

#include <stddef.h>
#include <stdint.h>

#define MUSTER__HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t muster__hash_byte(uint64_t hash, unsigned char byte)
{
    return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static inline uint64_t muster__hash_bytes(uint64_t seed, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint64_t hash = seed ^ MUSTER__HASH_START;
    for (size_t i = 0; i < length; i++)
        hash = muster__hash_byte(hash, at[i]);
    return hash;
}

/* Up to its end. */
static inline uint64_t muster__hash_text(uint64_t seed, const char *text)
{
    uint64_t hash = seed ^ MUSTER__HASH_START;
    for (; *text; text++)
        hash = muster__hash_byte(hash, (unsigned char)*text);
    return hash;
}

#endif
