/* runtime/value_clone.c - a message of structured clone as a value.
 *
 * Any thread.  Scripts send each other messages, which travel as values and are decoded by whoever wants
 * them.  C that expects a tree gets one: it is made when somebody first looks, kept beside the message
 * and never changes.  Two threads that look at once each make one, and the second throws its own away. */
#include <stdlib.h>

#include "runtime/clone_internal.h"
#include "runtime/value_internal.h"

/* What counts as "no more than a tree can say": a view is the bytes that it shows. */
static const struct muster_clone_value_options plain_options = {.size = sizeof plain_options,
                                                                .flags = MUSTER_CLONE_VIEWS_AS_BYTES};

static struct muster_value *made(struct muster_value *value, _Atomic(struct muster_value *) *slot,
                                 struct muster_value *take_new)
{
    struct muster_value *expected = NULL;
    struct muster_value *wanted = take_new == NULL ? value : take_new;
    if (atomic_compare_exchange_strong_explicit(slot, &expected, wanted, memory_order_acq_rel,
                                                memory_order_acquire))
        return wanted;
    muster_value_release(take_new);
    return expected;
}

static struct muster_clone_document *decode(const struct muster_value *value)
{
    struct muster_clone_document *document = NULL;
    enum muster_status status = muster_clone_decode(value->clone.clone, NULL, &document, NULL);
    return status == MUSTER_OK ? document : NULL;
}

static const struct muster_value *plain_of(const struct muster_value *value)
{
    struct muster_value *whole = (struct muster_value *)value; /* only what is kept beside it changes */
    struct muster_value *known = atomic_load_explicit(&whole->clone.plain, memory_order_acquire);
    if (known != NULL)
        return known;
    struct muster_value *tree = NULL;
    struct muster_clone_document *document = decode(value);
    if (document != NULL &&
        muster_clone_to_value(document, NULL, &plain_options, &tree, NULL) != MUSTER_OK)
        tree = NULL;
    muster_clone_document_destroy(document);
    return made(whole, &whole->clone.plain, tree);
}

/* A message of its own for a part of another one. */
static struct muster_value *message_of(const struct muster_clone_document *document,
                                       const struct muster_clone_node *node)
{
    struct muster_clone *clone = NULL;
    struct muster_clone_document part = *document; /* the same nodes, seen from there */
    part.root = *node;
    if (muster_clone_encode(&part, NULL, &clone, NULL) != MUSTER_OK)
        return NULL;
    return muster_value_new_clone(clone);
}

static struct muster_value *item_of(const struct muster_clone_document *document,
                                    const struct muster_clone_node *node)
{
    struct muster_value *item = NULL;
    if (muster_clone_type(node) == MUSTER_CLONE_HOLE)
        return muster_value_new_undefined();
    enum muster_status status = muster_clone_to_value(document, node, &plain_options, &item, NULL);
    return status == MUSTER_OK ? item : message_of(document, node);
}

static struct muster_value *items_of(const struct muster_clone_document *document)
{
    const struct muster_clone_node *root = muster_clone_root(document);
    /* Holes take no bytes: a short message could announce billions. */
    if (muster_clone_type(root) != MUSTER_CLONE_ARRAY ||
        muster_clone_length(root) > 2 * muster_clone_entry_count(root))
        return NULL;
    struct muster_value *array = muster_value_new_array();
    for (size_t i = 0; array != NULL && i < muster_clone_length(root); i++) {
        struct muster_value *item = item_of(document, muster_clone_item(root, i));
        if (item == NULL || muster_value_append(array, item) != MUSTER_OK) {
            muster_value_release(array);
            return NULL;
        }
    }
    return array;
}

static const struct muster_value *list_of(const struct muster_value *value)
{
    struct muster_value *whole = (struct muster_value *)value; /* as above */
    struct muster_value *known = atomic_load_explicit(&whole->clone.list, memory_order_acquire);
    if (known != NULL)
        return known;
    struct muster_clone_document *document = decode(value);
    struct muster_value *items = document != NULL ? items_of(document) : NULL;
    muster_clone_document_destroy(document);
    return made(whole, &whole->clone.list, items);
}

static enum muster_status check(const struct muster_value *value, struct muster_error *error)
{
    struct muster_clone_document *document = NULL;
    enum muster_status status = muster_clone_decode(value->clone.clone, NULL, &document, error);
    muster_clone_document_destroy(document);
    return status;
}

static void drop(struct muster_value *value, _Atomic(struct muster_value *) *slot)
{
    struct muster_value *kept = atomic_load_explicit(slot, memory_order_acquire);
    if (kept != value)
        muster_value_release(kept);
}

static void clean_up(struct muster_value *value)
{
    drop(value, &value->clone.plain);
    drop(value, &value->clone.list);
    muster_clone_release(value->clone.clone);
}

static const struct muster__value_clone_class clone_class = {clean_up, plain_of, list_of, check};

struct muster_value *muster_value_new_clone(struct muster_clone *take_clone)
{
    struct muster_value *value =
        take_clone != NULL ? muster__value_new(MUSTER_TYPE_CLONE, 0) : NULL;
    if (value == NULL) {
        muster_clone_release(take_clone);
        return NULL;
    }
    value->clone.class = &clone_class;
    value->clone.clone = take_clone;
    atomic_init(&value->clone.plain, NULL);
    atomic_init(&value->clone.list, NULL);
    return value;
}

enum muster_status muster__value_take_buffer(const struct muster_value *value, size_t i,
                                             struct muster_clone_buffer *ret_buffer)
{
    struct muster_clone *clone = muster_value_clone(value);
    if (i >= muster_clone_buffer_count(clone))
        return MUSTER_NOT_FOUND;
    bool is_ours = atomic_load_explicit(&value->references, memory_order_acquire) == 1 &&
                   atomic_load_explicit(&value->clone.list, memory_order_acquire) == NULL &&
                   muster__clone_has_one_owner(clone);
    if (is_ours && muster_clone_take_buffer(clone, i, ret_buffer) == MUSTER_OK)
        return MUSTER_OK;
    struct muster_bytes bytes = muster_clone_buffer_at(clone, i);
    return muster_clone_buffer_copy(bytes.data, bytes.length, ret_buffer);
}
