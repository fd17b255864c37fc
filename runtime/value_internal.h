/* runtime/value_internal.h - what a value is made of, for value.c and host_call.c.  Internal. */
#ifndef MUSTER_VALUE_INTERNAL_H
#define MUSTER_VALUE_INTERNAL_H

#include "runtime/check.h"
#include "runtime/host_binding.h"
#include "runtime/value.h"

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
    };
};

/* One reference, zeroed content, `extra` bytes behind it.  NULL: out of memory. */
struct muster_value *muster__value_new(enum muster_type type, size_t extra);

#endif
