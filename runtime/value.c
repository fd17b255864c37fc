/* runtime/value.c - the tree of values: making, building, reading, letting go.
 *
 * Any thread may read and count references; one thread builds, and nothing changes once a value is
 * shared (value.h).  Two promises for trees that came from outside: releasing one uses constant stack,
 * however deep it is, and looking up a key stays quick, however many there are. */
#include "runtime/value.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/value_internal.h"

#define INDEX_FROM 32u /* places for pairs; below, comparing keys one by one is as quick */
#define MAX_ITEMS (UINT32_MAX / 4)

struct muster_value *muster__value_new(enum muster_type type, size_t extra)
{
    if (extra > SIZE_MAX - sizeof(struct muster_value))
        return NULL;
    struct muster_value *value = malloc(sizeof *value + extra);
    if (value == NULL)
        return NULL;
    memset(value, 0, sizeof *value);
    atomic_init(&value->references, 1);
    value->type = type;
    return value;
}

struct muster_value *muster_value_new_undefined(void)
{
    return muster__value_new(MUSTER_TYPE_UNDEFINED, 0);
}

struct muster_value *muster_value_new_null(void)
{
    return muster__value_new(MUSTER_TYPE_NULL, 0);
}

struct muster_value *muster_value_new_boolean(bool boolean)
{
    struct muster_value *value = muster__value_new(MUSTER_TYPE_BOOLEAN, 0);
    if (value != NULL)
        value->boolean = boolean;
    return value;
}

struct muster_value *muster_value_new_number(double number)
{
    struct muster_value *value = muster__value_new(MUSTER_TYPE_NUMBER, 0);
    if (value != NULL)
        value->number = number;
    return value;
}

static struct muster_value *new_with_bytes(enum muster_type type, const void *data, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    struct muster_value *value = muster__value_new(type, length + 1);
    if (value == NULL)
        return NULL;
    char *copy = (char *)(value + 1);
    if (length > 0)
        memcpy(copy, data, length);
    copy[length] = '\0';
    value->text = (struct muster_bytes){copy, length};
    return value;
}

struct muster_value *muster_value_new_string(const char *text, size_t length)
{
    return new_with_bytes(MUSTER_TYPE_STRING, text, length);
}

struct muster_value *muster_value_new_text(const char *text)
{
    return new_with_bytes(MUSTER_TYPE_STRING, text, text == NULL ? 0 : strlen(text));
}

struct muster_value *muster_value_new_bytes(const void *data, size_t length)
{
    return new_with_bytes(MUSTER_TYPE_BYTES, data, length);
}

struct muster_value *muster_value_new_array(void)
{
    return muster__value_new(MUSTER_TYPE_ARRAY, 0);
}

struct muster_value *muster_value_new_object(void)
{
    return muster__value_new(MUSTER_TYPE_OBJECT, 0);
}

static bool text_was_lost(const char *copy, const char *original)
{
    return copy == NULL && original != NULL;
}

struct muster_value *muster_value_new_error(const struct muster_error *error)
{
    struct muster_value *value =
        muster__value_new(MUSTER_TYPE_ERROR, sizeof(struct muster_error));
    if (value == NULL)
        return NULL;
    value->error = (struct muster_error *)(void *)(value + 1);
    muster_error_copy(value->error, error);
    /* Half an error would pass for a whole one. */
    if (error != NULL && (text_was_lost(value->error->name, error->name) ||
                          text_was_lost(value->error->message, error->message) ||
                          text_was_lost(value->error->file, error->file) ||
                          text_was_lost(value->error->stack, error->stack))) {
        muster_value_release(value);
        return NULL;
    }
    return value;
}

struct muster_value *muster_value_acquire(const struct muster_value *value)
{
    if (value == NULL)
        return NULL;
    struct muster_value *counted = (struct muster_value *)value; /* only the count changes */
    unsigned before = atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    MUSTER_CHECK(before > 0 && before < UINT_MAX / 2);
    return counted;
}

static bool drop_reference(struct muster_value *value)
{
    unsigned before = atomic_fetch_sub_explicit(&value->references, 1, memory_order_acq_rel);
    MUSTER_CHECK(before > 0);
    return before == 1;
}

static void finalize_host_object(const struct muster_host_class *class, void *data)
{
    bool has_field = class->size >= offsetof(struct muster_host_class, finalize) +
                                        sizeof class->finalize;
    if (has_field && class->finalize != NULL)
        class->finalize(data);
}

/* Frees what has no children; a container joins the list instead, so that nothing recurses. */
static void free_or_put_on(struct muster_value *value, struct muster_value **dying)
{
    switch (value->type) {
    case MUSTER_TYPE_OBJECT:
        free(value->container.index); /* its place holds the link from here on */
        /* fall through */
    case MUSTER_TYPE_ARRAY:
        value->container.next_dying = *dying;
        *dying = value;
        return;
    case MUSTER_TYPE_ERROR:
        muster_error_clean_up(value->error);
        break;
    case MUSTER_TYPE_HOST_OBJECT:
        finalize_host_object(value->host.class, value->host.data);
        break;
    case MUSTER_TYPE_CLONE:
        value->clone.class->clean_up(value); /* what it holds holds no such value that is deeper */
        break;
    default:
        break;
    }
    free(value);
}

static void free_array(struct muster_value *array, struct muster_value **dying)
{
    for (uint32_t i = 0; i < array->container.count; i++)
        if (drop_reference(array->container.items[i]))
            free_or_put_on(array->container.items[i], dying);
    free(array->container.items);
    free(array);
}

static void free_object(struct muster_value *object, struct muster_value **dying)
{
    for (uint32_t i = 0; i < object->container.count; i++) {
        struct muster__value_pair *pair = &object->container.pairs[i];
        free(pair->key);
        if (drop_reference(pair->item))
            free_or_put_on(pair->item, dying);
    }
    free(object->container.pairs);
    free(object);
}

void muster_value_release(struct muster_value *value)
{
    if (value == NULL || !drop_reference(value))
        return;
    struct muster_value *dying = NULL;
    free_or_put_on(value, &dying);
    while (dying != NULL) {
        struct muster_value *next = dying;
        dying = next->container.next_dying;
        if (next->type == MUSTER_TYPE_ARRAY)
            free_array(next, &dying);
        else
            free_object(next, &dying);
    }
}

static bool is_container(const struct muster_value *value, enum muster_type type)
{
    return value != NULL && value->type == type;
}

/* The capacity after the next growth; 0: the container is as large as it gets. */
static uint32_t grown(uint32_t capacity)
{
    if (capacity >= MAX_ITEMS)
        return 0;
    return capacity == 0 ? 4 : capacity * 2;
}

static enum muster_status make_room_in_array(struct muster__value_container *array)
{
    if (array->count < array->capacity)
        return MUSTER_OK;
    uint32_t capacity = grown(array->capacity);
    if (capacity == 0)
        return MUSTER_NO_MEMORY;
    struct muster_value **items = realloc(array->items, capacity * sizeof *items);
    if (items == NULL)
        return MUSTER_NO_MEMORY;
    array->items = items;
    array->capacity = capacity;
    return MUSTER_OK;
}

enum muster_status muster_value_append(struct muster_value *array, struct muster_value *take_item)
{
    /* An array in itself could never be freed. */
    if (!is_container(array, MUSTER_TYPE_ARRAY) || take_item == NULL || take_item == array) {
        muster_value_release(take_item);
        return MUSTER_INVALID_ARGUMENT;
    }
    enum muster_status status = make_room_in_array(&array->container);
    if (status != MUSTER_OK) {
        muster_value_release(take_item);
        return status;
    }
    array->container.items[array->container.count++] = take_item;
    return MUSTER_OK;
}

static bool key_is(const struct muster__value_pair *pair, const char *key, size_t length)
{
    return pair->key_length == length && (length == 0 || memcmp(pair->key, key, length) == 0);
}

/* The place in the index that holds the key, or the empty one where it belongs.  The order of the keys does not depend
 * on the hash. */
static uint32_t *find_place(const struct muster__value_container *object, uint32_t *index,
                            uint32_t capacity, const char *key, size_t length)
{
    uint32_t mask = capacity * 2 - 1;
    uint32_t at = (uint32_t)muster__value_hash((uintptr_t)object, key, length) & mask;
    while (index[at] != 0 && !key_is(&object->pairs[index[at] - 1], key, length))
        at = (at + 1) & mask;
    return &index[at];
}

static struct muster__value_pair *find_pair(const struct muster__value_container *object,
                                            const char *key, size_t length)
{
    if (object->index != NULL) {
        uint32_t number = *find_place(object, object->index, object->capacity, key, length);
        return number == 0 ? NULL : &object->pairs[number - 1];
    }
    for (uint32_t i = 0; i < object->count; i++)
        if (key_is(&object->pairs[i], key, length))
            return &object->pairs[i];
    return NULL;
}

static uint32_t *new_index(const struct muster__value_container *object, uint32_t capacity)
{
    uint32_t *index = calloc((size_t)capacity * 2, sizeof *index);
    if (index == NULL)
        return NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        const struct muster__value_pair *pair = &object->pairs[i];
        *find_place(object, index, capacity, pair->key, pair->key_length) = i + 1;
    }
    return index;
}

static enum muster_status make_room_in_object(struct muster__value_container *object)
{
    if (object->count < object->capacity)
        return MUSTER_OK;
    uint32_t capacity = grown(object->capacity);
    if (capacity == 0)
        return MUSTER_NO_MEMORY;
    struct muster__value_pair *pairs = realloc(object->pairs, capacity * sizeof *pairs);
    if (pairs == NULL)
        return MUSTER_NO_MEMORY;
    object->pairs = pairs; /* larger than `capacity` says, should the index fail: harmless */
    if (capacity >= INDEX_FROM) {
        uint32_t *index = new_index(object, capacity);
        if (index == NULL)
            return MUSTER_NO_MEMORY;
        free(object->index);
        object->index = index;
    }
    object->capacity = capacity;
    return MUSTER_OK;
}

static enum muster_status add_pair(struct muster__value_container *object, const char *key,
                                   size_t length, struct muster_value *item)
{
    enum muster_status status = make_room_in_object(object);
    if (status != MUSTER_OK)
        return status;
    char *copy = muster__strndup(key, length);
    if (copy == NULL)
        return MUSTER_NO_MEMORY;
    if (object->index != NULL)
        *find_place(object, object->index, object->capacity, key, length) = object->count + 1;
    object->pairs[object->count++] = (struct muster__value_pair){copy, length, item};
    return MUSTER_OK;
}

enum muster_status muster_value_set(struct muster_value *object, const char *key, size_t key_length,
                                    struct muster_value *take_item)
{
    if (!is_container(object, MUSTER_TYPE_OBJECT) || key == NULL || take_item == NULL ||
        take_item == object) {
        muster_value_release(take_item);
        return MUSTER_INVALID_ARGUMENT;
    }
    struct muster__value_pair *pair = find_pair(&object->container, key, key_length);
    if (pair != NULL) {
        struct muster_value *old = pair->item;
        pair->item = take_item;
        muster_value_release(old);
        return MUSTER_OK;
    }
    enum muster_status status = add_pair(&object->container, key, key_length, take_item);
    if (status != MUSTER_OK)
        muster_value_release(take_item);
    return status;
}

enum muster_status muster_value_put(struct muster_value *object, const char *key,
                                    struct muster_value *take_item)
{
    return muster_value_set(object, key, key == NULL ? 0 : strlen(key), take_item);
}

const struct muster_value *muster__value_plain(const struct muster_value *value)
{
    bool is_message = value != NULL && value->type == MUSTER_TYPE_CLONE;
    return is_message ? value->clone.class->plain(value) : value;
}

const struct muster_value *muster__value_list(const struct muster_value *value)
{
    const struct muster_value *plain = muster__value_plain(value);
    bool is_message = plain != NULL && plain->type == MUSTER_TYPE_CLONE;
    return is_message ? plain->clone.class->list(plain) : plain;
}

enum muster_status muster__value_check(const struct muster_value *value, struct muster_error *error)
{
    const struct muster_value *plain = muster__value_plain(value);
    bool is_message = plain != NULL && plain->type == MUSTER_TYPE_CLONE;
    return is_message ? plain->clone.class->check(plain, error) : MUSTER_OK;
}

static enum muster_type type_of(const struct muster_value *plain)
{
    return plain == NULL ? MUSTER_TYPE_UNDEFINED : plain->type;
}

enum muster_type muster_value_type(const struct muster_value *value)
{
    return type_of(muster__value_plain(value));
}

struct muster_clone *muster_value_clone(const struct muster_value *value)
{
    return type_of(value) == MUSTER_TYPE_CLONE ? value->clone.clone : NULL;
}

bool muster_value_boolean(const struct muster_value *value)
{
    const struct muster_value *plain = muster__value_plain(value);
    return type_of(plain) == MUSTER_TYPE_BOOLEAN && plain->boolean;
}

double muster_value_number(const struct muster_value *value)
{
    const struct muster_value *plain = muster__value_plain(value);
    return type_of(plain) == MUSTER_TYPE_NUMBER ? plain->number : (double)NAN;
}

struct muster_bytes muster_value_bytes(const struct muster_value *value)
{
    const struct muster_value *plain = muster__value_plain(value);
    enum muster_type type = type_of(plain);
    if (type == MUSTER_TYPE_STRING || type == MUSTER_TYPE_BYTES)
        return plain->text;
    return (struct muster_bytes){"", 0};
}

const struct muster_error *muster_value_error(const struct muster_value *value)
{
    const struct muster_value *plain = muster__value_plain(value);
    return type_of(plain) == MUSTER_TYPE_ERROR ? plain->error : NULL;
}

size_t muster_value_count(const struct muster_value *value)
{
    const struct muster_value *plain = muster__value_plain(value);
    enum muster_type type = type_of(plain);
    bool has_items = type == MUSTER_TYPE_ARRAY || type == MUSTER_TYPE_OBJECT;
    return has_items ? plain->container.count : 0;
}

const struct muster_value *muster_value_at(const struct muster_value *value, size_t i)
{
    const struct muster_value *plain = muster__value_plain(value);
    if (i >= muster_value_count(plain))
        return NULL;
    return plain->type == MUSTER_TYPE_ARRAY ? plain->container.items[i]
                                            : plain->container.pairs[i].item;
}

struct muster_bytes muster_value_key_at(const struct muster_value *value, size_t i)
{
    const struct muster_value *plain = muster__value_plain(value);
    if (!is_container(plain, MUSTER_TYPE_OBJECT) || i >= plain->container.count)
        return (struct muster_bytes){"", 0};
    const struct muster__value_pair *pair = &plain->container.pairs[i];
    return (struct muster_bytes){pair->key, pair->key_length};
}

const struct muster_value *muster_value_get(const struct muster_value *object, const char *key)
{
    const struct muster_value *plain = muster__value_plain(object);
    if (!is_container(plain, MUSTER_TYPE_OBJECT) || key == NULL)
        return NULL;
    struct muster__value_pair *pair = find_pair(&plain->container, key, strlen(key));
    return pair == NULL ? NULL : pair->item;
}
