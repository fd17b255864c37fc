/* runtime/clone.c - messages, documents and their nodes: what they are made of, and how they are read.
 *
 * Any thread.  A message counts its references; a document is constant once it was made, so nothing here
 * locks.  No call recurses, and none believes more of a message than clone_read.c has checked. */
#include "runtime/clone.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone_internal.h"
#include "runtime/value_internal.h"

#define INDEX_FROM 12u /* keys; below, comparing one by one is as quick */
#define CHUNK_FIRST 832u /* with its document, still what the allocator keeps at hand for a thread */
#define CHUNK_NEXT 4096u
#define CHUNK_LARGEST (256u * 1024u)
#define MAX_TEXT_MAGNITUDE (16u * 1024u)

/* ---- messages ---- */

struct side_entry {
    struct muster_clone_buffer buffer;
    atomic_bool is_taken;
};

struct muster_clone {
    atomic_uint references;
    struct muster_clone_buffer bytes;
    size_t host_count;
    size_t count;
    struct side_entry entries[];
};

static void free_copy(void *data, void *user_data)
{
    (void)user_data;
    free(data);
}

enum muster_status muster_clone_buffer_copy(const void *data, size_t length,
                                            struct muster_clone_buffer *ret_buffer)
{
    void *copy = length == SIZE_MAX ? NULL : malloc(length + 1);
    if (copy == NULL)
        return MUSTER_NO_MEMORY;
    if (length > 0)
        memcpy(copy, data, length);
    *ret_buffer = (struct muster_clone_buffer){.data = copy, .length = length, .free = free_copy};
    return MUSTER_OK;
}

void muster_clone_buffer_clean_up(struct muster_clone_buffer *buffer)
{
    if (buffer == NULL)
        return;
    if (buffer->free != NULL)
        buffer->free(buffer->data, buffer->user_data);
    memset(buffer, 0, sizeof *buffer);
}

enum muster_status muster_clone_new(struct muster_clone_buffer *take_bytes,
                                    struct muster_clone_buffer *take_buffers, size_t count,
                                    size_t host_count, struct muster_clone **ret_clone)
{
    if (take_bytes == NULL || (take_buffers == NULL && count > 0) || count >= UINT32_MAX ||
        host_count >= UINT32_MAX)
        return MUSTER_INVALID_ARGUMENT;
    struct muster_clone *clone = malloc(sizeof *clone + count * sizeof clone->entries[0]);
    if (clone == NULL)
        return MUSTER_NO_MEMORY;
    atomic_init(&clone->references, 1);
    clone->bytes = *take_bytes;
    clone->host_count = host_count;
    clone->count = count;
    memset(take_bytes, 0, sizeof *take_bytes);
    for (size_t i = 0; i < count; i++) {
        clone->entries[i].buffer = take_buffers[i];
        atomic_init(&clone->entries[i].is_taken, false);
        memset(&take_buffers[i], 0, sizeof take_buffers[i]);
    }
    *ret_clone = clone;
    return MUSTER_OK;
}

enum muster_status muster__clone_new_copy(const void *data, size_t length, struct muster_clone **ret_clone)
{
    struct muster_clone *clone = length < SIZE_MAX / 2 ? malloc(sizeof *clone + length) : NULL;
    if (clone == NULL)
        return MUSTER_NO_MEMORY;
    atomic_init(&clone->references, 1);
    clone->bytes = (struct muster_clone_buffer){.data = clone + 1, .length = length};
    clone->host_count = clone->count = 0;
    if (length > 0)
        memcpy(clone + 1, data, length);
    *ret_clone = clone;
    return MUSTER_OK;
}

struct muster_clone *muster_clone_acquire(const struct muster_clone *clone)
{
    if (clone == NULL)
        return NULL;
    struct muster_clone *counted = (struct muster_clone *)clone; /* only the count changes */
    unsigned before = atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    MUSTER_CHECK(before > 0 && before < UINT_MAX / 2);
    return counted;
}

void muster_clone_release(struct muster_clone *clone)
{
    if (clone == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&clone->references, 1, memory_order_acq_rel);
    MUSTER_CHECK(before > 0);
    if (before > 1)
        return;
    for (size_t i = 0; i < clone->count; i++)
        if (!atomic_load_explicit(&clone->entries[i].is_taken, memory_order_relaxed))
            muster_clone_buffer_clean_up(&clone->entries[i].buffer);
    muster_clone_buffer_clean_up(&clone->bytes);
    free(clone);
}

bool muster__clone_has_one_owner(const struct muster_clone *clone)
{
    return atomic_load_explicit(&clone->references, memory_order_acquire) == 1;
}

struct muster_bytes muster_clone_bytes(const struct muster_clone *clone)
{
    if (clone == NULL)
        return (struct muster_bytes){NULL, 0};
    return (struct muster_bytes){clone->bytes.data, clone->bytes.length};
}

size_t muster_clone_buffer_count(const struct muster_clone *clone)
{
    return clone == NULL ? 0 : clone->count;
}

struct muster_bytes muster_clone_buffer_at(const struct muster_clone *clone, size_t i)
{
    if (i >= muster_clone_buffer_count(clone) ||
        atomic_load_explicit(&clone->entries[i].is_taken, memory_order_relaxed))
        return (struct muster_bytes){NULL, 0};
    const struct muster_clone_buffer *buffer = &clone->entries[i].buffer;
    return (struct muster_bytes){buffer->data, buffer->length};
}

size_t muster_clone_host_count(const struct muster_clone *clone)
{
    return clone == NULL ? 0 : clone->host_count;
}

enum muster_status muster_clone_take_buffer(struct muster_clone *clone, size_t i,
                                            struct muster_clone_buffer *ret_buffer)
{
    if (i >= muster_clone_buffer_count(clone))
        return MUSTER_NOT_FOUND;
    if (atomic_exchange(&clone->entries[i].is_taken, true))
        return MUSTER_CLOSED;
    *ret_buffer = clone->entries[i].buffer;
    return MUSTER_OK;
}

/* ---- the arena ---- */

struct muster__clone_chunk {
    struct muster__clone_chunk *next;
};

#define CHUNK_HEAD ((sizeof(struct muster__clone_chunk) + 7) & ~(size_t)7)

static char *new_chunk(struct muster__clone_arena *arena, size_t size)
{
    struct muster__clone_chunk *chunk = malloc(CHUNK_HEAD + size);
    if (chunk == NULL)
        return NULL;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return (char *)chunk + CHUNK_HEAD;
}

void *muster__clone_allocate(struct muster__clone_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 7) & ~(size_t)7;
    if (size <= (size_t)(arena->end - arena->at)) {
        void *memory = arena->at;
        arena->at += size;
        return memory;
    }
    if (size >= arena->next_size / 2) /* what is left of the open chunk stays open */
        return new_chunk(arena, size);
    char *chunk = new_chunk(arena, arena->next_size);
    if (chunk == NULL)
        return NULL;
    arena->at = chunk + size;
    arena->end = chunk + arena->next_size;
    if (arena->next_size < CHUNK_LARGEST)
        arena->next_size *= 2;
    return chunk;
}

char *muster__clone_copy(struct muster__clone_arena *arena, const void *data, size_t length)
{
    char *copy = muster__clone_allocate(arena, length);
    if (copy != NULL && length > 0)
        memcpy(copy, data, length);
    return copy;
}

void muster__clone_arena_clean_up(struct muster__clone_arena *arena)
{
    while (arena->chunks != NULL) {
        struct muster__clone_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    memset(arena, 0, sizeof *arena);
}

struct muster_clone_document *muster__clone_document_new(size_t hint)
{
    size_t first = hint < CHUNK_FIRST ? CHUNK_FIRST : hint > CHUNK_LARGEST ? CHUNK_LARGEST : hint;
    size_t head = (sizeof(struct muster_clone_document) + 7) & ~(size_t)7;
    struct muster_clone_document *document = malloc(head + first); /* one block for most messages */
    if (document == NULL)
        return NULL;
    memset(document, 0, sizeof *document);
    document->first = (char *)document + head;
    document->first_end = document->first + first / 8 * 8;
    muster__clone_document_reset(document);
    return document;
}

void muster__clone_document_reset(struct muster_clone_document *document)
{
    muster__clone_arena_clean_up(&document->arena);
    document->arena.at = document->first;
    document->arena.end = document->first_end;
    document->arena.next_size = CHUNK_NEXT;
    document->object_count = document->host_count = 0;
}

void muster_clone_document_destroy(struct muster_clone_document *document)
{
    if (document == NULL)
        return;
    muster__clone_arena_clean_up(&document->arena);
    muster_clone_release(document->source);
    free(document);
}

/* ---- tables ---- */

bool muster__clone_make_room(void *table, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    void *old;
    memcpy(&old, table, sizeof old);
    size_t more = *room == 0 ? 16 : *room * 2;
    void *bigger = more > SIZE_MAX / size ? NULL : realloc(old, more * size);
    if (bigger == NULL)
        return false;
    memcpy(table, &bigger, sizeof bigger);
    *room = more;
    return true;
}

/* ---- text ---- */

bool muster__clone_is_ascii(const char *text, size_t length)
{
    uint64_t seen = 0;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        seen |= word;
    }
    for (; i < length; i++)
        seen |= (unsigned char)text[i];
    return (seen & 0x8080808080808080u) == 0;
}

size_t muster__clone_code_point(const char *text, size_t left, bool surrogates, uint32_t *ret_point)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char first = bytes[0];
    if (first < 0x80) {
        *ret_point = first;
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length)
        return 0;
    uint32_t point = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (bytes[i] & 0x3fu);
    }
    bool is_overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    bool is_surrogate = point >= 0xd800 && point < 0xe000;
    if (is_overlong || point > 0x10ffff || (is_surrogate && !surrogates))
        return 0;
    *ret_point = point;
    return length;
}

int muster__clone_text_flags(const char *text, size_t length)
{
    if (muster__clone_is_ascii(text, length))
        return TEXT_ASCII;
    uint32_t point;
    for (size_t i = 0; i < length;) {
        size_t step = muster__clone_code_point(text + i, length - i, false, &point);
        if (step == 0)
            return UTF8_INVALID;
        i += step;
    }
    return 0;
}

char *muster__clone_put_code_point(char *to, uint32_t point)
{
    if (point < 0x80) {
        *to++ = (char)point;
        return to;
    }
    if (point < 0x800) {
        *to++ = (char)(0xc0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *to++ = (char)(0xe0 | point >> 12);
        } else {
            *to++ = (char)(0xf0 | point >> 18);
            *to++ = (char)(0x80 | (point >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (point & 0x3f));
    return to;
}

static uint32_t unit_at(const char *units, size_t i)
{
    uint16_t unit;
    memcpy(&unit, units + 2 * i, 2);
    return unit;
}

/* The code point at unit `*at`, which moves on.  A lone surrogate is its own. */
static uint32_t next_point(const char *units, size_t count, size_t *at)
{
    uint32_t unit = unit_at(units, (*at)++);
    if ((unit & 0xfc00) != 0xd800 || *at == count)
        return unit;
    uint32_t second = unit_at(units, *at);
    if ((second & 0xfc00) != 0xdc00)
        return unit;
    (*at)++;
    return 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
}

bool muster__clone_text_from_utf16(struct muster__clone_arena *arena, const void *data, size_t count,
                                   struct muster_clone_node *ret_text)
{
    const char *units = data;
    size_t length = 0;
    uint32_t all = 0;
    bool has_lone = false;
    for (size_t at = 0; at < count;) {
        uint32_t point = next_point(units, count, &at);
        all |= point;
        has_lone |= point >= 0xd800 && point < 0xe000;
        length += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    }
    char *text = muster__clone_allocate(arena, length);
    if (text == NULL)
        return false;
    char *to = text;
    for (size_t at = 0; at < count;)
        to = muster__clone_put_code_point(to, next_point(units, count, &at));
    *ret_text = (struct muster_clone_node){
        .type = MUSTER_CLONE_STRING,
        .flags = (uint8_t)((all < 0x80 ? TEXT_ASCII : 0) | (has_lone ? TEXT_SURROGATES : 0)),
        .length = (uint32_t)length,
        .text = text,
    };
    return true;
}

bool muster__clone_text_from_latin1(struct muster__clone_arena *arena, const char *bytes, size_t length,
                                    struct muster_clone_node *ret_text)
{
    *ret_text = (struct muster_clone_node){.type = MUSTER_CLONE_STRING,
                                           .flags = TEXT_ASCII,
                                           .length = (uint32_t)length,
                                           .text = bytes};
    if (muster__clone_is_ascii(bytes, length))
        return true;
    size_t high = 0;
    for (size_t i = 0; i < length; i++)
        high += (unsigned char)bytes[i] >> 7;
    char *text = muster__clone_allocate(arena, length + high);
    if (text == NULL)
        return false;
    char *to = text;
    for (size_t i = 0; i < length; i++)
        to = muster__clone_put_code_point(to, (unsigned char)bytes[i]);
    ret_text->flags = 0;
    ret_text->length = (uint32_t)(length + high);
    ret_text->text = text;
    return true;
}

/* ---- shapes ---- */

static bool key_is(const struct muster__clone_key *key, const char *text, size_t length)
{
    return key->length == length &&
           (length == 0 || (key->text[0] == text[0] && memcmp(key->text, text, length) == 0));
}

/* The place that holds the key, or the empty one where it belongs.  Seeded by where the shape lies, so
 * that keys from outside cannot be chosen to collide. */
static uint32_t *find_place(const struct muster__clone_shape *shape, const char *text, size_t length)
{
    uint32_t at = (uint32_t)muster__value_hash((uintptr_t)shape, text, length) & shape->mask;
    while (shape->index[at] != 0 && !key_is(&shape->keys[shape->index[at] - 1], text, length))
        at = (at + 1) & shape->mask;
    return &shape->index[at];
}

static uint32_t find_twin_by_index(struct muster__clone_arena *arena, struct muster__clone_shape *shape)
{
    uint32_t places = 32;
    while (places < shape->count * 2u)
        places *= 2;
    shape->index = muster__clone_allocate(arena, places * sizeof *shape->index);
    if (shape->index == NULL)
        return UINT32_MAX;
    memset(shape->index, 0, places * sizeof *shape->index);
    shape->mask = places - 1;
    for (uint32_t i = 0; i < shape->count; i++) {
        uint32_t *place = find_place(shape, shape->keys[i].text, shape->keys[i].length);
        if (*place != 0)
            return i;
        *place = i + 1;
    }
    return shape->count;
}

uint32_t muster__clone_index_keys(struct muster__clone_arena *arena, struct muster__clone_shape *shape)
{
    if (shape->count >= INDEX_FROM)
        return find_twin_by_index(arena, shape);
    for (uint32_t i = 1; i < shape->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (key_is(&shape->keys[j], shape->keys[i].text, shape->keys[i].length))
                return i;
    return shape->count;
}

static uint32_t find_key(const struct muster__clone_shape *shape, const char *key, size_t length)
{
    if (shape->index != NULL) {
        uint32_t number = *find_place(shape, key, length);
        return number == 0 ? shape->count : number - 1;
    }
    uint32_t i = 0;
    while (i < shape->count && !key_is(&shape->keys[i], key, length))
        i++;
    return i;
}

bool muster__clone_key_is_reserved(const char *key, size_t length)
{
    if (length == 6 && memcmp(key, "length", 6) == 0)
        return true;
    if (length == 0 || length > 10 || (key[0] == '0' && length > 1))
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < length; i++) {
        if (key[i] < '0' || key[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(key[i] - '0');
    }
    return number <= UINT32_MAX - 1;
}

/* ---- nodes: what all have ---- */

static const char *const type_names[MUSTER_CLONE_TYPE_COUNT] = {
    [MUSTER_CLONE_UNDEFINED] = "undefined",
    [MUSTER_CLONE_NULL] = "null",
    [MUSTER_CLONE_BOOLEAN] = "boolean",
    [MUSTER_CLONE_NUMBER] = "number",
    [MUSTER_CLONE_BIGINT] = "BigInt",
    [MUSTER_CLONE_STRING] = "string",
    [MUSTER_CLONE_HOLE] = "hole",
    [MUSTER_CLONE_OBJECT] = "object",
    [MUSTER_CLONE_ARRAY] = "array",
    [MUSTER_CLONE_MAP] = "Map",
    [MUSTER_CLONE_SET] = "Set",
    [MUSTER_CLONE_DATE] = "Date",
    [MUSTER_CLONE_REGEXP] = "RegExp",
    [MUSTER_CLONE_BOXED] = "boxed primitive",
    [MUSTER_CLONE_ERROR] = "error",
    [MUSTER_CLONE_DOMEXCEPTION] = "DOMException",
    [MUSTER_CLONE_BUFFER] = "ArrayBuffer",
    [MUSTER_CLONE_VIEW] = "view of a buffer",
    [MUSTER_CLONE_HOST] = "host object",
};

const char *muster_clone_type_name(enum muster_clone_type type)
{
    return (unsigned)type < MUSTER_CLONE_TYPE_COUNT ? type_names[type] : "unknown";
}

/* The body of a node of that type, or NULL. */
static const void *body_of(const struct muster_clone_node *node, enum muster_clone_type type)
{
    return node != NULL && node->type == type ? node->body : NULL;
}

const struct muster_clone_node *muster_clone_root(const struct muster_clone_document *document)
{
    return document == NULL ? NULL : &document->root;
}

size_t muster_clone_object_count(const struct muster_clone_document *document)
{
    return document == NULL ? 0 : document->object_count;
}

enum muster_clone_type muster_clone_type(const struct muster_clone_node *node)
{
    return node == NULL ? MUSTER_CLONE_UNDEFINED : (enum muster_clone_type)node->type;
}

bool muster_clone_is_object(const struct muster_clone_node *node)
{
    return node != NULL && muster__clone_is_object(node);
}

uint32_t muster_clone_object_number(const struct muster_clone_node *node)
{
    return muster_clone_is_object(node) ? *node->body : UINT32_MAX;
}

/* ---- primitives ---- */

bool muster_clone_boolean(const struct muster_clone_node *node)
{
    return muster_clone_type(node) == MUSTER_CLONE_BOOLEAN && node->boolean;
}

double muster_clone_number(const struct muster_clone_node *node)
{
    const struct muster__clone_date *date = body_of(node, MUSTER_CLONE_DATE);
    if (date != NULL)
        return date->ms;
    return muster_clone_type(node) == MUSTER_CLONE_NUMBER ? node->number : (double)NAN;
}

struct muster_bytes muster_clone_text(const struct muster_clone_node *node)
{
    if (muster_clone_type(node) != MUSTER_CLONE_STRING)
        return (struct muster_bytes){NULL, 0};
    return (struct muster_bytes){node->text, node->length};
}

bool muster_clone_text_is_utf8(const struct muster_clone_node *node)
{
    return muster_clone_type(node) == MUSTER_CLONE_STRING && (node->flags & TEXT_SURROGATES) == 0;
}

struct muster_bytes muster_clone_bigint(const struct muster_clone_node *node, bool *ret_is_negative)
{
    if (muster_clone_type(node) != MUSTER_CLONE_BIGINT)
        return (struct muster_bytes){NULL, 0};
    *ret_is_negative = node->flags != 0;
    return (struct muster_bytes){node->text, node->length};
}

static bool small_magnitude(const struct muster_clone_node *node, uint64_t *ret_magnitude)
{
    if (muster_clone_type(node) != MUSTER_CLONE_BIGINT || node->length > 8)
        return false;
    *ret_magnitude = 0;
    for (uint32_t i = 0; i < node->length; i++)
        *ret_magnitude |= (uint64_t)(unsigned char)node->text[i] << (8 * i);
    return true;
}

bool muster_clone_bigint_to_int64(const struct muster_clone_node *node, int64_t *ret_number)
{
    uint64_t magnitude;
    if (!small_magnitude(node, &magnitude))
        return false;
    bool is_negative = node->flags != 0;
    if (magnitude > (uint64_t)INT64_MAX + is_negative)
        return false;
    *ret_number = (int64_t)(is_negative ? 0 - magnitude : magnitude);
    return true;
}

bool muster_clone_bigint_to_uint64(const struct muster_clone_node *node, uint64_t *ret_number)
{
    uint64_t magnitude;
    if (!small_magnitude(node, &magnitude) || (node->flags != 0 && magnitude != 0))
        return false;
    *ret_number = magnitude;
    return true;
}

/* Divides in place and gives the rest. */
static uint32_t divide(uint32_t *limbs, size_t *count, uint32_t by)
{
    uint64_t rest = 0;
    for (size_t i = *count; i > 0; i--) {
        uint64_t part = rest << 32 | limbs[i - 1];
        limbs[i - 1] = (uint32_t)(part / by);
        rest = part % by;
    }
    while (*count > 0 && limbs[*count - 1] == 0)
        (*count)--;
    return (uint32_t)rest;
}

/* Nine digits at a time, from the end of `text` on; gives where they begin. */
static char *put_decimal(char *end, uint32_t *limbs, size_t count)
{
    char *at = end;
    while (count > 0) {
        uint32_t digits = divide(limbs, &count, 1000000000);
        for (int i = 0; i < 9; i++, digits /= 10)
            *--at = (char)('0' + digits % 10);
    }
    while (at < end && *at == '0')
        at++;
    if (at == end)
        *--at = '0';
    return at;
}

enum muster_status muster_clone_bigint_to_text(const struct muster_clone_node *node, char **ret_text)
{
    if (muster_clone_type(node) != MUSTER_CLONE_BIGINT)
        return MUSTER_INVALID_ARGUMENT;
    if (node->length > MAX_TEXT_MAGNITUDE)
        return MUSTER_UNSUPPORTED;
    size_t count = (node->length + 3) / 4;
    uint32_t *limbs = calloc(count + 1, sizeof *limbs);
    size_t room = count * 10 + 16; /* a limb has 9.6 digits, written by nines; sign and end */
    char *text = malloc(room);
    if (limbs == NULL || text == NULL) {
        free(limbs);
        free(text);
        return MUSTER_NO_MEMORY;
    }
    for (uint32_t i = 0; i < node->length; i++)
        limbs[i / 4] |= (uint32_t)(unsigned char)node->text[i] << (8 * (i % 4));
    char *at = put_decimal(text + room - 1, limbs, count);
    if (node->flags != 0)
        *--at = '-';
    size_t length = (size_t)(text + room - 1 - at);
    memmove(text, at, length);
    text[length] = '\0';
    free(limbs);
    *ret_text = text;
    return MUSTER_OK;
}

/* ---- lists and properties ---- */

static const struct muster__clone_list *list_of(const struct muster_clone_node *node)
{
    bool is_list = node != NULL && (node->type == MUSTER_CLONE_ARRAY || node->type == MUSTER_CLONE_MAP ||
                                    node->type == MUSTER_CLONE_SET);
    return is_list ? (const void *)node->body : NULL;
}

size_t muster_clone_length(const struct muster_clone_node *node)
{
    const struct muster__clone_list *array = body_of(node, MUSTER_CLONE_ARRAY);
    if (array != NULL)
        return array->length;
    const struct muster__clone_memory *buffer = body_of(node, MUSTER_CLONE_BUFFER);
    if (buffer != NULL)
        return buffer->length;
    struct muster_clone_view view;
    return muster_clone_view(node, &view) ? view.length : 0;
}

static const struct muster_clone_node hole = {.type = MUSTER_CLONE_HOLE};

const struct muster_clone_node *muster_clone_item(const struct muster_clone_node *node, size_t i)
{
    const struct muster__clone_list *array = body_of(node, MUSTER_CLONE_ARRAY);
    if (array == NULL || i >= array->length)
        return NULL;
    if (array->indexes == NULL)
        return &array->slots[i];
    uint32_t low = 0;
    uint32_t high = array->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (array->indexes[middle] < i)
            low = middle + 1;
        else
            high = middle;
    }
    return low < array->count && array->indexes[low] == i ? &array->slots[low] : &hole;
}

size_t muster_clone_entry_count(const struct muster_clone_node *node)
{
    const struct muster__clone_list *list = list_of(node);
    if (list == NULL)
        return 0;
    return node->type == MUSTER_CLONE_MAP ? list->count / 2 : list->count;
}

const struct muster_clone_node *muster_clone_entry(const struct muster_clone_node *node, size_t i)
{
    if (i >= muster_clone_entry_count(node))
        return NULL;
    const struct muster__clone_list *list = list_of(node);
    return node->type == MUSTER_CLONE_MAP ? &list->slots[2 * i + 1] : &list->slots[i];
}

size_t muster_clone_entry_index(const struct muster_clone_node *node, size_t i)
{
    const struct muster__clone_list *array = body_of(node, MUSTER_CLONE_ARRAY);
    if (array == NULL || i >= array->count)
        return 0;
    return array->indexes == NULL ? i : array->indexes[i];
}

const struct muster_clone_node *muster_clone_entry_key(const struct muster_clone_node *node, size_t i)
{
    const struct muster__clone_list *map = body_of(node, MUSTER_CLONE_MAP);
    return map != NULL && i < map->count / 2 ? &map->slots[2 * i] : NULL;
}

struct muster__clone_properties muster__clone_properties_of(const struct muster_clone_node *node)
{
    switch (muster_clone_type(node)) {
    case MUSTER_CLONE_OBJECT:
        return ((const struct muster__clone_object *)(const void *)node->body)->properties;
    case MUSTER_CLONE_ARRAY:
        return ((const struct muster__clone_list *)(const void *)node->body)->properties;
    case MUSTER_CLONE_ERROR:
        return ((const struct muster__clone_failure *)(const void *)node->body)->properties;
    default:
        return (struct muster__clone_properties){NULL, NULL};
    }
}

size_t muster_clone_property_count(const struct muster_clone_node *node)
{
    struct muster__clone_properties properties = muster__clone_properties_of(node);
    return properties.shape == NULL ? 0 : properties.shape->count;
}

struct muster_bytes muster_clone_property_key(const struct muster_clone_node *node, size_t i)
{
    struct muster__clone_properties properties = muster__clone_properties_of(node);
    if (properties.shape == NULL || i >= properties.shape->count)
        return (struct muster_bytes){NULL, 0};
    const struct muster__clone_key *key = &properties.shape->keys[i];
    return (struct muster_bytes){key->text, key->length};
}

const struct muster_clone_node *muster_clone_property(const struct muster_clone_node *node, size_t i)
{
    struct muster__clone_properties properties = muster__clone_properties_of(node);
    return properties.shape == NULL || i >= properties.shape->count ? NULL : &properties.values[i];
}

const struct muster_clone_node *muster_clone_get(const struct muster_clone_node *node, const char *key)
{
    struct muster__clone_properties properties = muster__clone_properties_of(node);
    if (properties.shape == NULL || key == NULL)
        return NULL;
    uint32_t i = find_key(properties.shape, key, strlen(key));
    return i == properties.shape->count ? NULL : &properties.values[i];
}

/* ---- the other objects ---- */

bool muster_clone_regexp(const struct muster_clone_node *node, struct muster_clone_regexp *ret_regexp)
{
    const struct muster__clone_regexp *regexp = body_of(node, MUSTER_CLONE_REGEXP);
    if (regexp == NULL)
        return false;
    *ret_regexp = (struct muster_clone_regexp){&regexp->source, regexp->flags, regexp->last_index};
    return true;
}

const struct muster_clone_node *muster_clone_boxed(const struct muster_clone_node *node)
{
    const struct muster__clone_boxed *boxed = body_of(node, MUSTER_CLONE_BOXED);
    return boxed == NULL ? NULL : &boxed->primitive;
}

static const char *const error_names[] = {
    "Error",       "EvalError", "RangeError", "ReferenceError",
    "SyntaxError", "TypeError", "URIError",   "AggregateError",
};

const char *muster_clone_error_type_name(enum muster_clone_error_type type)
{
    return (unsigned)type <= MUSTER_CLONE_ERROR_AGGREGATE ? error_names[type] : error_names[0];
}

bool muster__clone_error_type_from_name(const char *name, size_t length, uint8_t *ret_type)
{
    for (uint8_t i = 0; i <= MUSTER_CLONE_ERROR_AGGREGATE; i++)
        if (strlen(error_names[i]) == length && memcmp(error_names[i], name, length) == 0) {
            *ret_type = i;
            return true;
        }
    return false;
}

static const struct muster_clone_node *part(const struct muster__clone_failure *failure, unsigned bit,
                                            const struct muster_clone_node *node)
{
    return (failure->parts & bit) != 0 ? node : NULL;
}

bool muster_clone_error(const struct muster_clone_node *node, struct muster_clone_error *ret_error)
{
    const struct muster__clone_failure *failure = body_of(node, MUSTER_CLONE_ERROR);
    if (failure != NULL) {
        *ret_error = (struct muster_clone_error){
            .type = (enum muster_clone_error_type)failure->type,
            .name = part(failure, ERROR_NAME, &failure->name),
            .message = part(failure, ERROR_MESSAGE, &failure->message),
            .stack = part(failure, ERROR_STACK, &failure->stack),
            .cause = part(failure, ERROR_CAUSE, &failure->values[0]),
            .errors = part(failure, ERROR_ERRORS, &failure->values[1]),
        };
        return true;
    }
    failure = body_of(node, MUSTER_CLONE_DOMEXCEPTION);
    if (failure == NULL)
        return false;
    *ret_error = (struct muster_clone_error){
        .name = &failure->name,
        .message = &failure->message,
        .stack = part(failure, DOMEXCEPTION_STACK, &failure->stack),
        .quota = part(failure, DOMEXCEPTION_QUOTA, &failure->values[0]),
        .requested = part(failure, DOMEXCEPTION_QUOTA, &failure->values[1]),
    };
    return true;
}

bool muster_clone_memory(const struct muster_clone_node *node, struct muster_clone_memory *ret_memory)
{
    const struct muster__clone_memory *memory = body_of(node, MUSTER_CLONE_BUFFER);
    if (memory == NULL)
        return false;
    bool is_side = memory->entry != MUSTER__CLONE_NO_ENTRY;
    *ret_memory = (struct muster_clone_memory){
        .bytes = {memory->data, memory->length},
        .is_resizable = memory->is_resizable,
        .maximum = memory->maximum,
        .is_side_entry = is_side,
        .entry = is_side ? memory->entry : 0,
    };
    return true;
}

static const struct {
    const char *name;
    size_t size;
} view_kinds[] = {
    [MUSTER_CLONE_DATA_VIEW] = {"DataView", 1},
    [MUSTER_CLONE_INT8] = {"Int8Array", 1},
    [MUSTER_CLONE_UINT8] = {"Uint8Array", 1},
    [MUSTER_CLONE_UINT8_CLAMPED] = {"Uint8ClampedArray", 1},
    [MUSTER_CLONE_INT16] = {"Int16Array", 2},
    [MUSTER_CLONE_UINT16] = {"Uint16Array", 2},
    [MUSTER_CLONE_INT32] = {"Int32Array", 4},
    [MUSTER_CLONE_UINT32] = {"Uint32Array", 4},
    [MUSTER_CLONE_FLOAT16] = {"Float16Array", 2},
    [MUSTER_CLONE_FLOAT32] = {"Float32Array", 4},
    [MUSTER_CLONE_FLOAT64] = {"Float64Array", 8},
    [MUSTER_CLONE_BIGINT64] = {"BigInt64Array", 8},
    [MUSTER_CLONE_BIGUINT64] = {"BigUint64Array", 8},
};

const char *muster_clone_view_kind_name(enum muster_clone_view_kind kind)
{
    return (unsigned)kind <= MUSTER_CLONE_BIGUINT64 ? view_kinds[kind].name : "unknown";
}

size_t muster_clone_view_kind_size(enum muster_clone_view_kind kind)
{
    return (unsigned)kind <= MUSTER_CLONE_BIGUINT64 ? view_kinds[kind].size : 1;
}

static const struct muster__clone_memory *memory_of(const struct muster__clone_view *view)
{
    return (const void *)view->buffer.body;
}

bool muster__clone_view_is_inside(const struct muster__clone_view *view)
{
    const struct muster__clone_memory *memory = memory_of(view);
    size_t size = muster_clone_view_kind_size(view->kind);
    if (view->offset > memory->length || view->offset % size != 0)
        return false;
    if (view->follows)
        return memory->is_resizable;
    return view->length <= (memory->length - view->offset) / size;
}

static size_t view_size(const struct muster__clone_view *view)
{
    size_t size = muster_clone_view_kind_size(view->kind);
    if (!view->follows)
        return (size_t)view->length * size;
    return (size_t)(memory_of(view)->length - view->offset) / size * size;
}

bool muster_clone_view(const struct muster_clone_node *node, struct muster_clone_view *ret_view)
{
    const struct muster__clone_view *view = body_of(node, MUSTER_CLONE_VIEW);
    if (view == NULL)
        return false;
    size_t size = view_size(view);
    const char *data = memory_of(view)->data;
    *ret_view = (struct muster_clone_view){
        .kind = (enum muster_clone_view_kind)view->kind,
        .buffer = &view->buffer,
        .offset = (size_t)view->offset,
        .length = size / muster_clone_view_kind_size(view->kind),
        .follows_buffer = view->follows,
        .bytes = {data == NULL ? NULL : data + view->offset, size},
    };
    return true;
}

uint32_t muster_clone_host_entry(const struct muster_clone_node *node)
{
    const struct muster__clone_host *host = body_of(node, MUSTER_CLONE_HOST);
    return host == NULL ? UINT32_MAX : host->entry;
}

/* ---- where something is ---- */

static void path_put(struct muster__clone_path *path, const char *text, size_t length)
{
    static const char more[] = "...";
    size_t room = sizeof path->text - sizeof more - path->length;
    if (path->is_full)
        return;
    if (length > room) {
        path->is_full = true;
        text = more;
        length = sizeof more - 1;
    }
    memcpy(path->text + path->length, text, length);
    path->length += length;
    path->text[path->length] = '\0';
}

static bool is_plain_name(const char *key, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool is_letter = (key[i] >= 'a' && key[i] <= 'z') || (key[i] >= 'A' && key[i] <= 'Z');
        bool is_digit = i > 0 && key[i] >= '0' && key[i] <= '9';
        if (!is_letter && !is_digit && key[i] != '_' && key[i] != '$')
            return false;
    }
    return length > 0;
}

/* Of a key that is no name, what cannot be printed becomes a question mark: the path goes into logs. */
void muster__clone_path_key(struct muster__clone_path *path, const char *key, size_t length)
{
    if (is_plain_name(key, length)) {
        path_put(path, ".", 1);
        path_put(path, key, length);
        return;
    }
    char shown[40] = "";
    size_t count = length < sizeof shown ? length : sizeof shown;
    for (size_t i = 0; i < count; i++)
        shown[i] = (char)(key[i] >= ' ' && key[i] <= '~' && key[i] != '"' ? key[i] : '?');
    path_put(path, "[\"", 2);
    path_put(path, shown, count);
    path_put(path, count < length ? "...\"]" : "\"]", count < length ? 5 : 2);
}

void muster__clone_path_index(struct muster__clone_path *path, size_t index)
{
    char digits[32];
    char *at = digits + sizeof digits;
    *--at = ']';
    do
        *--at = (char)('0' + index % 10);
    while ((index /= 10) > 0);
    *--at = '[';
    path_put(path, at, (size_t)(digits + sizeof digits - at));
}

void muster__clone_path_step(struct muster__clone_path *path, const struct muster_clone_node *node,
                             enum muster__clone_step step, uint32_t next)
{
    uint32_t at = next == 0 ? 0 : next - 1;
    struct muster_bytes key = muster_clone_property_key(node, at);
    if (step == MUSTER__CLONE_PROPERTIES)
        muster__clone_path_key(path, key.data, key.length);
    else
        muster__clone_path_index(path, step == MUSTER__CLONE_PAIRS ? at / 2 : at);
}

const char *muster__clone_path_end(struct muster__clone_path *path)
{
    if (path->length == 0)
        return "";
    size_t length = path->length < sizeof path->text - 5 ? path->length : sizeof path->text - 5;
    for (size_t i = length; i-- > 0;) /* gcc warns of memmove here, under the address sanitizer */
        path->text[i + 4] = path->text[i];
    memcpy(path->text, " at ", 4);
    path->text[length + 4] = '\0';
    return path->text;
}
