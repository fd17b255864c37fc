/* coordinator/store_hash.c - see store_hash.h.  The round constants are computed from what they are by definition,
 * the fractions of the cube roots of the first primes, once. */
#include "coordinator/store_hash.h"

#include <pthread.h>
#include <string.h>

static uint32_t constants[64], beginning[8];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The first 32 bits behind the point of n's square (2) or cube (3) root: the largest x with x^degree <= n * 2^(32 * degree). */
static uint32_t root_fraction(unsigned n, int degree)
{
    unsigned __int128 bound = (unsigned __int128)n << (degree == 2 ? 64 : 96);
    uint64_t root = 0;
    for (uint64_t bit = 1ull << 36; bit; bit >>= 1) {
        unsigned __int128 x = root | bit, power = x * x;
        if (degree == 3)
            power *= x;
        if (power <= bound)
            root |= bit;
    }
    return (uint32_t)root;
}

static void make_constants(void)
{
    unsigned count = 0;
    for (unsigned n = 2; count < 64; n++) {
        bool prime = true;
        for (unsigned d = 2; d * d <= n; d++)
            prime = prime && n % d;
        if (!prime)
            continue;
        if (count < 8)
            beginning[count] = root_fraction(n, 2);
        constants[count++] = root_fraction(n, 3);
    }
}

static uint32_t turned(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static void add_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 | (uint32_t)block[i * 4 + 2] << 8 |
               block[i * 4 + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof(s));
    for (int i = 0; i < 64; i++) {
        uint32_t one = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
        uint32_t two = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

void muster__store_hash(struct muster_bytes bytes, uint8_t ret_hash[MUSTER__STORE_HASH_LENGTH])
{
    uint32_t state[8];
    uint8_t last[128] = {0};
    size_t at = 0, rest;
    uint64_t bits = (uint64_t)bytes.length * 8;
    pthread_once(&once, make_constants);
    memcpy(state, beginning, sizeof(state));
    for (; bytes.length - at >= 64; at += 64)
        add_block(state, (const uint8_t *)bytes.data + at);
    rest = bytes.length - at;
    if (rest)
        memcpy(last, bytes.data + at, rest);
    last[rest] = 0x80;
    size_t length = rest < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        last[length - 1 - (size_t)i] = (uint8_t)(bits >> (8 * i));
    for (size_t i = 0; i < length; i += 64)
        add_block(state, last + i);
    for (int i = 0; i < 32; i++)
        ret_hash[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
