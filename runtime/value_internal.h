/* runtime/value_internal.h - what a value is made of, for value.c, value_clone.c, clone_value.c and host_call.c.
 * Internal. */
#ifndef MUSTER_VALUE_INTERNAL_H
#define MUSTER_VALUE_INTERNAL_H

#include <string.h>

#include "runtime/check.h"
#include "runtime/clone.h"
#include "runtime/host_binding.h"
#include "runtime/value.h"

/* For tables of keys from outside: the seed is where a table lies, so that keys cannot be chosen to collide. */
static inline uint64_t muster__value_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t muster__value_hash(uintptr_t seed, const void *data, size_t length)
{
    const char *at = data;
    uint64_t hash = (uint64_t)seed * 0x9e3779b97f4a7c15u ^ length;
    while (length > 0) {
        uint64_t word = 0;
        size_t step = length < sizeof word ? length : sizeof word;
        memcpy(&word, at, step);
        hash = muster__value_fold(hash ^ word ^ 0xa0761d6478bd642fu, hash | 0xe7037ed1a0b428dbu);
        at += step;
        length -= step;
    }
    return muster__value_fold(hash ^ 0x8ebc6af09c88c6e3u, 0x589965cc75374cc3u);
}

struct muster__value_pair {
    char *key; /* terminated as well */
    size_t key_length;
    struct muster_value *item;
};

/* Arrays and objects.  An object with many keys has an index: open addressing over pair numbers + 1,
 * twice as many places as `capacity`.  It is kept up while building, so that reading changes nothing. */
struct muster__value_container {
    union {
        struct muster_value **items;
        struct muster__value_pair *pairs;
    };
    union {
        uint32_t *index;                 /* objects; NULL: few keys */
        struct muster_value *next_dying; /* once the last reference is gone */
    };
    uint32_t count;
    uint32_t capacity;
};

/* What value.c must know of messages without knowing them (value_clone.c). */
struct muster__value_clone_class {
    void (*clean_up)(struct muster_value *value);
    const struct muster_value *(*plain)(const struct muster_value *value);
    const struct muster_value *(*list)(const struct muster_value *value);
    enum muster_status (*check)(const struct muster_value *value, struct muster_error *error);
};

struct muster__value_clone {
    const struct muster__value_clone_class *class;
    struct muster_clone *clone;
    /* Made at the first look, by whoever is first.  NULL: nobody asked; the value itself: there is none. */
    _Atomic(struct muster_value *) plain;
    _Atomic(struct muster_value *) list;
};

struct muster_value {
    atomic_uint references;
    enum muster_type type;
    union {
        bool boolean;
        double number;
        struct muster_bytes text;   /* strings and bytes: the bytes follow the struct */
        struct muster_error *error; /* follows the struct */
        struct muster__value_container container;
        struct {
            const struct muster_host_class *class;
            void *data;
        } host;
        struct muster__value_clone clone;
    };
};

/* One reference, zeroed content, `extra` bytes behind it.  NULL: out of memory. */
struct muster_value *muster__value_new(enum muster_type type, size_t extra);

/* Thread: any.  The tree that a message stands for; the value itself if it is none, or has no tree.
 * Borrowed while the value lives. */
const struct muster_value *muster__value_plain(const struct muster_value *value);
/* Thread: any.  Of an array, or a message of one: an array whose items are trees where they can be, else
 * messages of their own.  Anything else is given back.  Borrowed as above. */
const struct muster_value *muster__value_list(const struct muster_value *value);
/* Thread: any.  Whether a message that may come from an enemy can be read: OK, of anything else as well; else the
 * status of muster_clone_decode(), and `error` (may be NULL) says what is wrong with it. */
MUSTER_MUST_CHECK enum muster_status muster__value_check(const struct muster_value *value,
                                                         struct muster_error *error);
/* Thread: any.  Entry `i` of a message's side table in memory of the caller's: the entry itself when nobody
 * else can look at the message, else a copy.  NO_MEMORY, NOT_FOUND. */
MUSTER_MUST_CHECK enum muster_status muster__value_take_buffer(const struct muster_value *value, size_t i,
                                                               struct muster_clone_buffer *ret_buffer);

#endif
