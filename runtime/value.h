/* runtime/value.h - a value that any engine can read and make, and that may cross threads.
 *
 * Public: installed as <muster/value.h>.
 *
 * A value is a reference-counted tree.  Build it on one thread (append, set), then treat it as
 * constant: from the first time it is handed to muster or acquired for another thread nothing in it
 * may change.  Reading is then safe from any thread.
 *
 * What a tree cannot say (a Map, a Date, a cycle, two references to one object) is a value of type
 * MUSTER_TYPE_CLONE, which holds a message of clone.h: scripts send those to each other.  One that says
 * no more than a tree can is read as that tree, by all functions below.
 *
 * Numbers are IEEE doubles, strings UTF-8 with a length (they may hold NUL).  An object keeps its
 * keys in insertion order; setting a key again replaces its value.
 */
#ifndef MUSTER_VALUE_H
#define MUSTER_VALUE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_value;

enum muster_type {
    MUSTER_TYPE_UNDEFINED,
    MUSTER_TYPE_NULL,
    MUSTER_TYPE_BOOLEAN,
    MUSTER_TYPE_NUMBER,
    MUSTER_TYPE_STRING,
    MUSTER_TYPE_BYTES, /* an ArrayBuffer */
    MUSTER_TYPE_ARRAY,
    MUSTER_TYPE_OBJECT,
    MUSTER_TYPE_ERROR,      /* name, message, stack */
    MUSTER_TYPE_HOST_OBJECT, /* an object of the embedder's, see host_binding.h */
    MUSTER_TYPE_CLONE /* more than a tree can say: muster_value_clone() */
};

/* Thread: any.  Each new value has one reference, the caller's.  NULL: out of memory. */
MUSTER_API struct muster_value *muster_value_new_undefined(void);
MUSTER_API struct muster_value *muster_value_new_null(void);
MUSTER_API struct muster_value *muster_value_new_boolean(bool boolean);
MUSTER_API struct muster_value *muster_value_new_number(double number);
/* `text` is copied and must be UTF-8. */
MUSTER_API struct muster_value *muster_value_new_string(const char *text, size_t length);
/* As above, of a terminated string. */
MUSTER_API struct muster_value *muster_value_new_text(const char *text);
MUSTER_API struct muster_value *muster_value_new_bytes(const void *data, size_t length);
MUSTER_API struct muster_value *muster_value_new_array(void);
MUSTER_API struct muster_value *muster_value_new_object(void);
MUSTER_API struct muster_value *muster_value_new_error(const struct muster_error *error);
/* Of a message (clone.h), which is taken, also on failure; NULL gives NULL.  Nothing is decoded or copied. */
struct muster_clone;
MUSTER_API struct muster_value *muster_value_new_clone(struct muster_clone *take_clone);

/* Thread: any. */
MUSTER_API struct muster_value *muster_value_acquire(const struct muster_value *value);
MUSTER_API void muster_value_release(struct muster_value *value); /* NULL: no-op */

/* Thread: the one that builds.  Takes `*take_item` (also on failure, which is NO_MEMORY or, when the
 * target has another type or the item is NULL, INVALID_ARGUMENT), so that calls can be nested. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_value_append(struct muster_value *array, struct muster_value *take_item);
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_value_set(struct muster_value *object, const char *key, size_t key_length,
                 struct muster_value *take_item);
/* As above, with a terminated key. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_value_put(struct muster_value *object, const char *key, struct muster_value *take_item);

/* Thread: any.  NULL counts as undefined in all of these; a wrong type gives the empty answer.  Of a
 * message they read the tree that it stands for, made once, when first asked; then it lives as long as
 * the value.  The type is MUSTER_TYPE_CLONE when there is no such tree, or when the bytes are no
 * message: muster_clone_decode() says which. */
MUSTER_API enum muster_type muster_value_type(const struct muster_value *value);
/* The message, borrowed while the value lives; NULL: it is none.  Never decodes. */
MUSTER_API struct muster_clone *muster_value_clone(const struct muster_value *value);
MUSTER_API bool muster_value_boolean(const struct muster_value *value);
MUSTER_API double muster_value_number(const struct muster_value *value); /* NaN if not a number */
/* Of a string or bytes; borrowed while the value lives; strings are terminated as well. */
MUSTER_API struct muster_bytes muster_value_bytes(const struct muster_value *value);
MUSTER_API const struct muster_error *muster_value_error(const struct muster_value *value);
/* Items of an array or pairs of an object. */
MUSTER_API size_t muster_value_count(const struct muster_value *value);
MUSTER_API const struct muster_value *muster_value_at(const struct muster_value *value, size_t i);
MUSTER_API struct muster_bytes muster_value_key_at(const struct muster_value *value, size_t i);
MUSTER_API const struct muster_value *muster_value_get(const struct muster_value *object,
                                                       const char *key);

/* JSON text of a value, for people and for logs; bytes become {"bytes": N}, undefined becomes null.  What
 * is no tree is written as muster_clone_to_json() does when it is lenient; null if it cannot.  The caller frees with free().  NULL: out of memory. */
MUSTER_API char *muster_value_to_json(const struct muster_value *value);
/* Parses JSON.  On failure fills `error` (may be NULL) with the line and column. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_value_from_json(const char *text, size_t length, struct muster_value **ret_value,
                       struct muster_error *error);

#ifdef __cplusplus
}
#endif
#endif
