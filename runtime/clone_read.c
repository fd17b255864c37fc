/* runtime/clone_read.c - bytes to a document (docs/clone.md).
 *
 * Any thread.  The bytes are hostile.  Nothing recurses: what is open stands on a stack of frames.  And
 * nothing is allocated that the bytes do not pay for: a count is believed only if one byte for each item is
 * there *besides* the bytes that open containers still wait for (`owed`), so that nested counts cannot
 * claim the same bytes again and again. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone_internal.h"

#define DEFAULT_RESERVED ((uint64_t)4 << 30)

enum step {
    STEP_ENTRIES,    /* of a Map or Set: nothing comes after */
    STEP_ITEMS,      /* of an array, with holes */
    STEP_INDEXED,    /* of a sparse array */
    STEP_PROPERTIES, /* always the last step */
    STEP_BUFFER,     /* of a view */
    STEP_PLATFORM,   /* what an object of a class of the platform holds, in the place of that object */
    STEP_CAUSE,
    STEP_ERRORS
};

struct frame {
    enum step step;
    bool is_named;  /* properties come after the items */
    bool has_holes; /* among the properties */
    uint32_t next;
    uint32_t count;
    struct muster_clone_node *slots;
    uint32_t *body;
    struct muster__clone_properties *properties; /* whose values the slots are, or NULL */
    const unsigned char *at;                     /* where it began, for what turns out later */
};

struct reader {
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    size_t owed;
    struct muster_clone_document *document;
    struct frame *frames;
    size_t depth;
    size_t frame_room;
    struct muster_clone_node *objects; /* by number */
    size_t object_room;
    struct muster__clone_shape **shapes; /* by number */
    size_t shape_count;
    size_t shape_room;
    unsigned char *used; /* a bit for each side entry, then for each host */
    uint64_t reserved;   /* that resizable buffers may still ask for */
    enum muster_status status;
    struct muster_error *error;
    struct frame first_frames[8];
    struct muster_clone_node first_objects[16];
    struct muster__clone_shape *first_shapes[4];
};

static bool refuse(struct reader *reader, const unsigned char *where, const char *format, ...)
    MUSTER_PRINTF(3, 4);

static bool refuse(struct reader *reader, const unsigned char *where, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reader->status = MUSTER_SYNTAX_ERROR;
    muster_error_set(reader->error, MUSTER_SYNTAX_ERROR, "clone: at offset %zu: %s",
                     (size_t)(where - reader->start), text);
    return false;
}

static bool no_memory(struct reader *reader)
{
    reader->status = MUSTER_NO_MEMORY;
    muster_error_set(reader->error, MUSTER_NO_MEMORY, "clone: out of memory while decoding");
    return false;
}

static size_t left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static bool truncated(struct reader *reader, const char *what)
{
    return refuse(reader, reader->at, "%s is cut off: the bytes end", what);
}

static void *allocate(struct reader *reader, size_t size)
{
    void *memory = muster__clone_allocate(&reader->document->arena, size);
    if (memory == NULL)
        no_memory(reader);
    return memory;
}

/* Doubles a table that began inside the reader.  False: out of memory. */
static bool grow(struct reader *reader, void *table, const void *first, size_t *room, size_t size)
{
    void *old;
    memcpy(&old, table, sizeof old);
    size_t more = *room * 2;
    void *bigger = more > SIZE_MAX / size ? NULL : realloc(old == first ? NULL : old, more * size);
    if (bigger == NULL)
        return no_memory(reader);
    if (old == first)
        memcpy(bigger, first, *room * size);
    memcpy(table, &bigger, sizeof bigger);
    *room = more;
    return true;
}

/* ---- small things ---- */

static bool read_varint_slow(struct reader *reader, uint64_t *ret_number)
{
    const unsigned char *where = reader->at;
    uint64_t number = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (reader->at == reader->end)
            return truncated(reader, "a varint");
        unsigned char byte = *reader->at++;
        number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte >= 0x80)
            continue;
        if (byte == 0 && i > 0)
            return refuse(reader, where, "a varint is longer than needed");
        if (number > MUSTER__CLONE_MAX_VARINT)
            break;
        *ret_number = number;
        return true;
    }
    return refuse(reader, where, "a varint is above 2^53-1");
}

static inline bool read_varint(struct reader *reader, uint64_t *ret_number)
{
    if (reader->at < reader->end && *reader->at < 0x80) {
        *ret_number = *reader->at++;
        return true;
    }
    return read_varint_slow(reader, ret_number);
}

static bool read_byte(struct reader *reader, const char *what, uint8_t *ret_byte)
{
    if (reader->at == reader->end)
        return truncated(reader, what);
    *ret_byte = *reader->at++;
    return true;
}

/* `count` items of at least `each` bytes are to come: may one believe that? */
static bool claim(struct reader *reader, const unsigned char *where, uint64_t count, unsigned each,
                  const char *what)
{
    size_t have = left(reader);
    size_t free_bytes = have > reader->owed ? have - reader->owed : 0;
    if (count > free_bytes / each || count > UINT32_MAX / 2)
        return refuse(reader, where, "%s: a count of %llu, but only %zu bytes are left for it", what,
                      (unsigned long long)count, free_bytes);
    reader->owed += (size_t)count * each;
    return true;
}

static bool read_length(struct reader *reader, const char *what, uint64_t unit, uint64_t *ret_length)
{
    const unsigned char *where = reader->at;
    if (!read_varint(reader, ret_length))
        return false;
    if (*ret_length > left(reader) / unit)
        return refuse(reader, where, "%s: a length of %llu, but only %zu bytes are left", what,
                      (unsigned long long)*ret_length, left(reader));
    return true;
}

static bool read_double(struct reader *reader, double *ret_number)
{
    if (left(reader) < 8)
        return truncated(reader, "a number");
    memcpy(ret_number, reader->at, 8);
    reader->at += 8;
    if (isnan(*ret_number))
        *ret_number = (double)NAN; /* a payload from outside goes no further */
    return true;
}

static bool read_int16(struct reader *reader, double *ret_number)
{
    if (left(reader) < 2)
        return truncated(reader, "a number");
    int16_t number;
    memcpy(&number, reader->at, 2);
    reader->at += 2;
    *ret_number = number;
    return true;
}

static bool read_int32(struct reader *reader, double *ret_number)
{
    if (left(reader) < 4)
        return truncated(reader, "a number");
    int32_t number;
    memcpy(&number, reader->at, 4);
    reader->at += 4;
    *ret_number = number;
    return true;
}

/* Where nothing but a number may stand. */
static bool read_number(struct reader *reader, const char *what, double *ret_number)
{
    uint8_t tag = 0;
    if (!read_byte(reader, what, &tag))
        return false;
    if (tag >= TAG_SMALL) {
        *ret_number = (int)tag - TAG_SMALL_ZERO;
        return true;
    }
    switch (tag) {
    case TAG_INT16:
        return read_int16(reader, ret_number);
    case TAG_INT32:
        return read_int32(reader, ret_number);
    case TAG_FLOAT64:
        return read_double(reader, ret_number);
    default:
        return refuse(reader, reader->at - 1, "%s is no number (tag 0x%02x)", what, tag);
    }
}

static bool read_latin1(struct reader *reader, uint64_t length, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    if (length > left(reader))
        return truncated(reader, "a string");
    if (length > MUSTER__CLONE_MAX_TEXT)
        return refuse(reader, where, "a string of %llu units is too long", (unsigned long long)length);
    const char *bytes = (const char *)reader->at;
    reader->at += length;
    return muster__clone_text_from_latin1(&reader->document->arena, bytes, (size_t)length, slot) ||
           no_memory(reader);
}

static bool read_utf16(struct reader *reader, uint64_t count, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    if (count > MUSTER__CLONE_MAX_TEXT)
        return refuse(reader, where, "a string of %llu units is too long", (unsigned long long)count);
    const void *units = reader->at;
    reader->at += 2 * count;
    return muster__clone_text_from_utf16(&reader->document->arena, units, (size_t)count, slot) ||
           no_memory(reader);
}

/* Where nothing but a string may stand. */
static bool read_string(struct reader *reader, const char *what, struct muster_clone_node *slot)
{
    uint8_t tag = 0;
    uint64_t length;
    if (!read_byte(reader, what, &tag))
        return false;
    if (tag >= TAG_SHORT && tag < TAG_SMALL)
        return read_latin1(reader, tag - TAG_SHORT, slot);
    if (tag == TAG_LATIN1)
        return read_length(reader, what, 1, &length) && read_latin1(reader, length, slot);
    if (tag == TAG_UTF16)
        return read_length(reader, what, 2, &length) && read_utf16(reader, length, slot);
    return refuse(reader, reader->at - 1, "%s is no string (tag 0x%02x)", what, tag);
}

static bool read_bigint(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t head = 0;
    if (!read_varint(reader, &head))
        return false;
    uint64_t length = head >> 1;
    bool is_negative = (head & 1) != 0;
    if (length > left(reader))
        return refuse(reader, where, "a BigInt of %llu bytes, but only %zu are left",
                      (unsigned long long)length, left(reader));
    if (length > UINT32_MAX / 8)
        return refuse(reader, where, "a BigInt is too large");
    if (length == 0 ? is_negative : reader->at[length - 1] == 0)
        return refuse(reader, where, "a BigInt is not in its shortest form");
    *slot = (struct muster_clone_node){.type = MUSTER_CLONE_BIGINT,
                                       .flags = is_negative,
                                       .length = (uint32_t)length,
                                       .text = (const char *)reader->at};
    reader->at += length;
    return true;
}

/* ---- objects ---- */

/* A body of `size` zeroed bytes with the next number; its slot is known by that number from here on. */
static void *open_object(struct reader *reader, enum muster_clone_type type, size_t size,
                         struct muster_clone_node *slot)
{
    uint32_t number = reader->document->object_count;
    if (number == UINT32_MAX - 1 || reader->depth >= MUSTER_CLONE_MAX_DEPTH) {
        refuse(reader, reader->at - 1, "an object inside of %zu, or number %u: too many", reader->depth,
               number);
        return NULL;
    }
    if (number == reader->object_room &&
        !grow(reader, &reader->objects, reader->first_objects, &reader->object_room,
              sizeof *reader->objects))
        return NULL;
    uint32_t *body = allocate(reader, size);
    if (body == NULL)
        return NULL;
    memset(body, 0, size);
    *body = number;
    *slot = (struct muster_clone_node){.type = (uint8_t)type, .body = body};
    reader->objects[number] = *slot;
    reader->document->object_count++;
    return body;
}

static struct frame *push(struct reader *reader, enum step step, const void *body,
                          struct muster_clone_node *slots, uint32_t count)
{
    if (reader->depth == reader->frame_room &&
        !grow(reader, &reader->frames, reader->first_frames, &reader->frame_room,
              sizeof *reader->frames))
        return NULL;
    struct frame *frame = &reader->frames[reader->depth++];
    *frame = (struct frame){
        .step = step, .count = count, .slots = slots, .body = (uint32_t *)body, .at = reader->at};
    return frame;
}

static struct muster_clone_node *new_slots(struct reader *reader, uint64_t count)
{
    return allocate(reader, (size_t)count * sizeof(struct muster_clone_node));
}

static bool read_reference(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t number;
    if (!read_varint(reader, &number))
        return false;
    if (number >= reader->document->object_count)
        return refuse(reader, where, "a reference to object %llu, of %u", (unsigned long long)number,
                      reader->document->object_count);
    if (reader->objects[number].type == MUSTER_CLONE_HOLE)
        return refuse(reader, where, "a reference to object %llu, which is not complete",
                      (unsigned long long)number);
    *slot = reader->objects[number];
    return true;
}

/* ---- properties ---- */

static bool read_key(struct reader *reader, struct muster__clone_key *ret_key)
{
    const unsigned char *where = reader->at;
    uint64_t head = 0;
    if (!read_varint(reader, &head))
        return false;
    bool is_wide = (head & 1) != 0;
    uint64_t length = head >> 1;
    if (length > left(reader) / (is_wide ? 2 : 1))
        return refuse(reader, where, "a key of %llu units does not fit into its block",
                      (unsigned long long)length);
    struct muster_clone_node text;
    if (is_wide ? !read_utf16(reader, length, &text) : !read_latin1(reader, length, &text))
        return false;
    *ret_key = (struct muster__clone_key){text.text, text.length, text.flags};
    return true;
}

static bool read_keys_of_block(struct reader *reader, struct muster__clone_shape *shape)
{
    const unsigned char *where = reader->at;
    uint64_t count;
    if (!read_varint(reader, &count))
        return false;
    if (count == 0 || count > left(reader) || count > UINT32_MAX / 4)
        return refuse(reader, where, "a block of %llu keys in %zu bytes", (unsigned long long)count,
                      left(reader));
    struct muster__clone_key *keys = allocate(reader, (size_t)count * sizeof *keys);
    if (keys == NULL)
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!read_key(reader, &keys[i]))
            return false;
    if (reader->at != reader->end)
        return refuse(reader, reader->at, "a block of keys has %zu bytes too many", left(reader));
    *shape = (struct muster__clone_shape){.keys = keys, .count = (uint32_t)count};
    uint32_t twin = muster__clone_index_keys(&reader->document->arena, shape);
    if (twin == UINT32_MAX)
        return no_memory(reader);
    return twin == shape->count || refuse(reader, where, "key %u is in its block twice", twin);
}

static const struct muster__clone_shape *read_shape(struct reader *reader)
{
    uint64_t size;
    if (!read_length(reader, "a block of keys", 1, &size))
        return NULL;
    struct muster__clone_shape *shape = allocate(reader, sizeof *shape);
    if (shape == NULL)
        return NULL;
    const unsigned char *end = reader->end;
    reader->end = reader->at + size; /* nothing in the block may reach beyond it */
    bool ok = read_keys_of_block(reader, shape);
    reader->end = end;
    if (!ok || shape->count > MUSTER__CLONE_SHAPE_KEYS)
        return ok ? shape : NULL;
    if (reader->shape_count == reader->shape_room &&
        !grow(reader, &reader->shapes, reader->first_shapes, &reader->shape_room,
              sizeof *reader->shapes))
        return NULL;
    reader->shapes[reader->shape_count++] = shape;
    return shape;
}

/* Shape and room for the values, which are still to be read.  No shape: no properties. */
static bool open_properties(struct reader *reader, struct muster__clone_properties *properties)
{
    const unsigned char *where = reader->at;
    uint64_t which;
    if (!read_varint(reader, &which))
        return false;
    if (which == 0)
        return true;
    if (which >= 2 && which - 2 >= reader->shape_count)
        return refuse(reader, where, "shape %llu, of %zu", (unsigned long long)which - 2,
                      reader->shape_count);
    const struct muster__clone_shape *shape =
        which == 1 ? read_shape(reader) : reader->shapes[which - 2];
    if (shape == NULL || !claim(reader, where, shape->count, 1, "properties"))
        return false;
    properties->values = new_slots(reader, shape->count);
    properties->shape = shape;
    return properties->values != NULL;
}

static bool read_object(struct reader *reader, struct muster_clone_node *slot)
{
    struct muster__clone_object *object =
        open_object(reader, MUSTER_CLONE_OBJECT, sizeof *object, slot);
    if (object == NULL || !open_properties(reader, &object->properties))
        return false;
    const struct muster__clone_shape *shape = object->properties.shape;
    if (shape == NULL)
        return true;
    struct frame *frame =
        push(reader, STEP_PROPERTIES, object, object->properties.values, shape->count);
    if (frame == NULL)
        return false;
    frame->properties = &object->properties;
    return true;
}

/* ---- lists ---- */

static bool read_array(struct reader *reader, bool is_named, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t length;
    struct muster__clone_list *array = open_object(reader, MUSTER_CLONE_ARRAY, sizeof *array, slot);
    if (array == NULL || !read_varint(reader, &length) ||
        !claim(reader, where, length, 1, "an array"))
        return false;
    array->length = array->count = (uint32_t)length;
    array->slots = new_slots(reader, length);
    if (array->slots == NULL)
        return false;
    if (length == 0 && !is_named)
        return true;
    struct frame *frame = push(reader, STEP_ITEMS, array, array->slots, array->count);
    if (frame == NULL)
        return false;
    frame->is_named = is_named;
    return true;
}

static bool read_sparse_array(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t length;
    uint64_t count;
    struct muster__clone_list *array = open_object(reader, MUSTER_CLONE_ARRAY, sizeof *array, slot);
    if (array == NULL || !read_varint(reader, &length))
        return false;
    if (length > UINT32_MAX)
        return refuse(reader, where, "an array of length %llu", (unsigned long long)length);
    if (!read_varint(reader, &count) || !claim(reader, where, count, 2, "a sparse array"))
        return false;
    array->length = (uint32_t)length;
    array->count = (uint32_t)count;
    array->slots = new_slots(reader, count);
    array->indexes = allocate(reader, (size_t)count * sizeof *array->indexes);
    if (array->slots == NULL || array->indexes == NULL)
        return false;
    struct frame *frame = push(reader, STEP_INDEXED, array, array->slots, array->count);
    if (frame == NULL)
        return false;
    frame->is_named = true;
    return true;
}

static bool read_index(struct reader *reader, const struct frame *frame)
{
    const unsigned char *where = reader->at;
    struct muster__clone_list *array = (void *)frame->body;
    uint64_t index;
    if (!read_varint(reader, &index))
        return false;
    reader->owed--;
    if (index >= array->length || (frame->next > 0 && index <= array->indexes[frame->next - 1]))
        return refuse(reader, where, "index %llu in an array of length %u: not ascending, or beyond",
                      (unsigned long long)index, array->length);
    array->indexes[frame->next] = (uint32_t)index;
    return true;
}

static bool read_entries(struct reader *reader, enum muster_clone_type type, unsigned each,
                         struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t count;
    struct muster__clone_list *list = open_object(reader, type, sizeof *list, slot);
    if (list == NULL || !read_varint(reader, &count) ||
        !claim(reader, where, count, each, muster_clone_type_name(type)))
        return false;
    list->count = (uint32_t)(count * each);
    list->slots = new_slots(reader, list->count);
    if (list->slots == NULL)
        return false;
    return count == 0 || push(reader, STEP_ENTRIES, list, list->slots, list->count) != NULL;
}

/* ---- single objects ---- */

static bool read_date(struct reader *reader, struct muster_clone_node *slot)
{
    struct muster__clone_date *date = open_object(reader, MUSTER_CLONE_DATE, sizeof *date, slot);
    return date != NULL && read_double(reader, &date->ms);
}

static bool read_regexp(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint8_t flags = 0;
    struct muster__clone_regexp *regexp =
        open_object(reader, MUSTER_CLONE_REGEXP, sizeof *regexp, slot);
    if (regexp == NULL || !read_byte(reader, "a RegExp", &flags))
        return false;
    if ((flags & MUSTER_CLONE_REGEXP_U) != 0 && (flags & MUSTER_CLONE_REGEXP_V) != 0)
        return refuse(reader, where, "a RegExp with both flags u and v");
    regexp->flags = flags;
    return read_string(reader, "the source of a RegExp", &regexp->source) &&
           read_number(reader, "the lastIndex of a RegExp", &regexp->last_index);
}

static bool read_value(struct reader *reader, struct muster_clone_node *slot);

static bool is_primitive_to_box(uint8_t tag)
{
    return tag >= TAG_SHORT || (tag >= TAG_FALSE && tag <= TAG_UTF16);
}

static bool read_boxed(struct reader *reader, struct muster_clone_node *slot)
{
    struct muster__clone_boxed *boxed = open_object(reader, MUSTER_CLONE_BOXED, sizeof *boxed, slot);
    if (boxed == NULL)
        return false;
    if (reader->at == reader->end)
        return truncated(reader, "a boxed primitive");
    if (!is_primitive_to_box(*reader->at))
        return refuse(reader, reader->at, "tag 0x%02x cannot be boxed", *reader->at);
    return read_value(reader, &boxed->primitive); /* a primitive: it comes back at once */
}

static bool read_texts_of_error(struct reader *reader, struct muster__clone_failure *failure)
{
    if ((failure->parts & ERROR_MESSAGE) != 0 && !read_string(reader, "a message", &failure->message))
        return false;
    if ((failure->parts & ERROR_STACK) != 0 && !read_string(reader, "a stack", &failure->stack))
        return false;
    return (failure->parts & ERROR_NAME) == 0 || read_string(reader, "a name", &failure->name);
}

static bool read_error(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    struct muster__clone_failure *failure =
        open_object(reader, MUSTER_CLONE_ERROR, sizeof *failure, slot);
    if (failure == NULL || !read_byte(reader, "an error", &failure->type) ||
        !read_byte(reader, "an error", &failure->parts))
        return false;
    bool has_errors = (failure->parts & ERROR_ERRORS) != 0;
    if (failure->type > MUSTER_CLONE_ERROR_AGGREGATE || failure->parts >= 2 * ERROR_EXTRA ||
        (has_errors && failure->type != MUSTER_CLONE_ERROR_AGGREGATE))
        return refuse(reader, where, "an error of type %u with parts 0x%02x", failure->type,
                      failure->parts);
    if (!read_texts_of_error(reader, failure))
        return false;
    if (failure->parts < ERROR_CAUSE)
        return true;
    uint32_t count = (failure->parts & ERROR_CAUSE) != 0;
    reader->owed += count;
    return push(reader, STEP_CAUSE, failure, failure->values, count) != NULL;
}

static bool read_quota(struct reader *reader, struct muster_clone_node *slot)
{
    if (reader->at < reader->end && *reader->at == TAG_NULL) {
        reader->at++;
        *slot = (struct muster_clone_node){.type = MUSTER_CLONE_NULL};
        return true;
    }
    *slot = (struct muster_clone_node){.type = MUSTER_CLONE_NUMBER};
    return read_number(reader, "a quota", &slot->number);
}

static bool read_domexception(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    struct muster__clone_failure *failure =
        open_object(reader, MUSTER_CLONE_DOMEXCEPTION, sizeof *failure, slot);
    if (failure == NULL || !read_byte(reader, "a DOMException", &failure->parts))
        return false;
    if (failure->parts > (DOMEXCEPTION_STACK | DOMEXCEPTION_QUOTA))
        return refuse(reader, where, "a DOMException with parts 0x%02x", failure->parts);
    if (!read_string(reader, "a name", &failure->name) ||
        !read_string(reader, "a message", &failure->message))
        return false;
    if ((failure->parts & DOMEXCEPTION_STACK) != 0 && !read_string(reader, "a stack", &failure->stack))
        return false;
    return (failure->parts & DOMEXCEPTION_QUOTA) == 0 ||
           (read_quota(reader, &failure->values[0]) && read_quota(reader, &failure->values[1]));
}

/* ---- buffers, views, hosts ---- */

/* Marks a side entry or a host as named.  False: it was already. */
static bool use_once(struct reader *reader, size_t bit)
{
    unsigned char mask = (unsigned char)(1u << (bit % 8));
    if ((reader->used[bit / 8] & mask) != 0)
        return false;
    reader->used[bit / 8] |= mask;
    return true;
}

static bool read_maximum(struct reader *reader, struct muster__clone_memory *memory)
{
    const unsigned char *where = reader->at;
    if (!read_varint(reader, &memory->maximum))
        return false;
    if (memory->maximum < memory->length || memory->maximum > reader->reserved)
        return refuse(reader, where, "a buffer of %zu bytes wants to grow to %llu", memory->length,
                      (unsigned long long)memory->maximum);
    reader->reserved -= memory->maximum;
    memory->is_resizable = true;
    return true;
}

static bool read_buffer(struct reader *reader, bool is_resizable, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t length;
    struct muster__clone_memory *memory =
        open_object(reader, MUSTER_CLONE_BUFFER, sizeof *memory, slot);
    if (memory == NULL || !read_length(reader, "a buffer", 1, &length))
        return false;
    memory->entry = MUSTER__CLONE_NO_ENTRY;
    memory->length = (size_t)length;
    if (is_resizable && !read_maximum(reader, memory))
        return false;
    if (length > left(reader)) /* again: the maximum took some */
        return refuse(reader, where, "a buffer of %llu bytes, but only %zu are left",
                      (unsigned long long)length, left(reader));
    memory->data = (const char *)reader->at;
    reader->at += length;
    return true;
}

static bool read_side_buffer(struct reader *reader, bool is_resizable, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    const struct muster_clone *source = reader->document->source;
    uint64_t entry;
    uint64_t length;
    struct muster__clone_memory *memory =
        open_object(reader, MUSTER_CLONE_BUFFER, sizeof *memory, slot);
    if (memory == NULL || !read_varint(reader, &entry) || !read_varint(reader, &length))
        return false;
    if (entry >= muster_clone_buffer_count(source))
        return refuse(reader, where, "entry %llu of a side table of %zu", (unsigned long long)entry,
                      muster_clone_buffer_count(source));
    struct muster_bytes bytes = muster_clone_buffer_at(source, (size_t)entry);
    if (bytes.length != length)
        return refuse(reader, where, "entry %llu of the side table has %zu bytes, not %llu",
                      (unsigned long long)entry, bytes.length, (unsigned long long)length);
    if (!use_once(reader, (size_t)entry))
        return refuse(reader, where, "entry %llu of the side table is used twice",
                      (unsigned long long)entry);
    memory->entry = (uint32_t)entry;
    memory->data = bytes.data;
    memory->length = bytes.length;
    return !is_resizable || read_maximum(reader, memory);
}

static bool read_view(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    uint64_t size;
    struct muster__clone_view *view = open_object(reader, MUSTER_CLONE_VIEW, sizeof *view, slot);
    if (view == NULL || !read_byte(reader, "a view", &view->kind))
        return false;
    if (view->kind > MUSTER_CLONE_BIGUINT64)
        return refuse(reader, where, "a view of kind %u", view->kind);
    if (!read_varint(reader, &view->offset) || !read_varint(reader, &size))
        return false;
    view->follows = size == 0;
    view->length = size == 0 ? 0 : size - 1;
    reader->owed++;
    return push(reader, STEP_BUFFER, view, &view->buffer, 1) != NULL;
}

static bool close_view(struct reader *reader, const struct frame *frame)
{
    const struct muster__clone_view *view = (const void *)frame->body;
    if (view->buffer.type != MUSTER_CLONE_BUFFER)
        return refuse(reader, frame->at, "a view of something else than a buffer");
    if (!muster__clone_view_is_inside(view))
        return refuse(reader, frame->at, "a %s reaches beyond its buffer, or is not aligned in it",
                      muster_clone_view_kind_name((enum muster_clone_view_kind)view->kind));
    return true;
}

static bool read_host(struct reader *reader, struct muster_clone_node *slot)
{
    const unsigned char *where = reader->at;
    const struct muster_clone *source = reader->document->source;
    uint64_t entry;
    struct muster__clone_host *host = open_object(reader, MUSTER_CLONE_HOST, sizeof *host, slot);
    if (host == NULL || !read_varint(reader, &entry))
        return false;
    if (entry >= muster_clone_host_count(source))
        return refuse(reader, where, "host object %llu, of %zu", (unsigned long long)entry,
                      muster_clone_host_count(source));
    if (!use_once(reader, muster_clone_buffer_count(source) + (size_t)entry))
        return refuse(reader, where, "host object %llu is used twice", (unsigned long long)entry);
    host->entry = (uint32_t)entry;
    return true;
}

/* Until its value is complete nobody can refer to it; then whoever does means that. */
static bool read_platform(struct reader *reader, struct muster_clone_node *slot)
{
    struct muster_clone_node name;
    uint32_t *number = open_object(reader, MUSTER_CLONE_HOLE, sizeof *number, slot);
    if (number == NULL || !read_string(reader, "the name of a class", &name))
        return false;
    reader->owed++;
    return push(reader, STEP_PLATFORM, number, slot, 1) != NULL;
}

/* ---- the loop ---- */

static bool read_object_of(struct reader *reader, uint8_t tag, struct muster_clone_node *slot)
{
    switch (tag) {
    case TAG_OBJECT:
        return read_object(reader, slot);
    case TAG_ARRAY:
    case TAG_ARRAY_NAMED:
        return read_array(reader, tag == TAG_ARRAY_NAMED, slot);
    case TAG_ARRAY_SPARSE:
        return read_sparse_array(reader, slot);
    case TAG_MAP:
        return read_entries(reader, MUSTER_CLONE_MAP, 2, slot);
    case TAG_SET:
        return read_entries(reader, MUSTER_CLONE_SET, 1, slot);
    case TAG_DATE:
        return read_date(reader, slot);
    case TAG_REGEXP:
        return read_regexp(reader, slot);
    case TAG_BOXED:
        return read_boxed(reader, slot);
    case TAG_ERROR:
        return read_error(reader, slot);
    case TAG_DOMEXCEPTION:
        return read_domexception(reader, slot);
    case TAG_BUFFER:
    case TAG_BUFFER_RESIZABLE:
        return read_buffer(reader, tag == TAG_BUFFER_RESIZABLE, slot);
    case TAG_BUFFER_SIDE:
    case TAG_BUFFER_SIDE_RESIZABLE:
        return read_side_buffer(reader, tag == TAG_BUFFER_SIDE_RESIZABLE, slot);
    case TAG_VIEW:
        return read_view(reader, slot);
    case TAG_HOST:
        return read_host(reader, slot);
    case TAG_PLATFORM:
        return read_platform(reader, slot);
    default:
        return refuse(reader, reader->at - 1, "an unknown tag, 0x%02x", tag);
    }
}

static bool read_hole(struct reader *reader, struct muster_clone_node *slot)
{
    struct frame *frame = reader->depth == 0 ? NULL : &reader->frames[reader->depth - 1];
    if (frame == NULL || (frame->step != STEP_ITEMS && frame->step != STEP_INDEXED &&
                          frame->step != STEP_PROPERTIES))
        return refuse(reader, reader->at - 1, "a hole where none can be");
    frame->has_holes = true;
    *slot = (struct muster_clone_node){.type = MUSTER_CLONE_HOLE};
    return true;
}

/* A primitive whole, of a container the beginning. */
static bool read_value(struct reader *reader, struct muster_clone_node *slot)
{
    uint64_t length;
    if (reader->at == reader->end)
        return truncated(reader, "a value");
    uint8_t tag = *reader->at++;
    *slot = (struct muster_clone_node){.type = MUSTER_CLONE_NUMBER};
    if (tag >= TAG_SMALL) {
        slot->number = (int)tag - TAG_SMALL_ZERO;
        return true;
    }
    if (tag >= TAG_SHORT)
        return read_latin1(reader, tag - TAG_SHORT, slot);
    switch (tag) {
    case TAG_UNDEFINED:
        slot->type = MUSTER_CLONE_UNDEFINED;
        return true;
    case TAG_NULL:
        slot->type = MUSTER_CLONE_NULL;
        return true;
    case TAG_FALSE:
    case TAG_TRUE:
        slot->type = MUSTER_CLONE_BOOLEAN;
        slot->boolean = tag == TAG_TRUE;
        return true;
    case TAG_INT16:
        return read_int16(reader, &slot->number);
    case TAG_INT32:
        return read_int32(reader, &slot->number);
    case TAG_FLOAT64:
        return read_double(reader, &slot->number);
    case TAG_BIGINT:
        return read_bigint(reader, slot);
    case TAG_LATIN1:
        return read_length(reader, "a string", 1, &length) && read_latin1(reader, length, slot);
    case TAG_UTF16:
        return read_length(reader, "a string", 2, &length) && read_utf16(reader, length, slot);
    case TAG_REF:
        return read_reference(reader, slot);
    case TAG_HOLE:
        return read_hole(reader, slot);
    default:
        return read_object_of(reader, tag, slot);
    }
}

static bool start_properties(struct reader *reader, struct frame *frame,
                             struct muster__clone_properties *properties)
{
    if (!open_properties(reader, properties))
        return false;
    frame->step = STEP_PROPERTIES;
    frame->properties = properties;
    frame->has_holes = false;
    frame->next = 0;
    frame->count = properties->shape == NULL ? 0 : properties->shape->count;
    frame->slots = properties->values;
    return true;
}

static bool start_names(struct reader *reader, struct frame *frame)
{
    const unsigned char *where = reader->at;
    struct muster__clone_list *array = (void *)frame->body;
    if (!start_properties(reader, frame, &array->properties))
        return false;
    for (uint32_t i = 0; i < frame->count; i++) {
        const struct muster__clone_key *key = &array->properties.shape->keys[i];
        if (muster__clone_key_is_reserved(key->text, key->length))
            return refuse(reader, where, "a named property of an array is \"%.*s\"", (int)key->length,
                          key->text);
    }
    return true;
}

static bool start_extras(struct reader *reader, struct frame *frame)
{
    const unsigned char *where = reader->at;
    struct muster__clone_failure *failure = (void *)frame->body;
    frame->step = STEP_PROPERTIES;
    frame->next = frame->count = 0;
    if ((failure->parts & ERROR_EXTRA) == 0)
        return true;
    if (!start_properties(reader, frame, &failure->properties))
        return false;
    return frame->count > 0 || refuse(reader, where, "an error announces properties and has none");
}

static bool start_errors(struct reader *reader, struct frame *frame)
{
    struct muster__clone_failure *failure = (void *)frame->body;
    frame->step = STEP_ERRORS;
    frame->slots = &failure->values[1];
    frame->next = 0;
    frame->count = (failure->parts & ERROR_ERRORS) != 0;
    reader->owed += frame->count;
    return true;
}

/* A property whose value is a hole is not there: this object's own shape, without it. */
static bool drop_holes(struct reader *reader, const struct frame *frame)
{
    struct muster__clone_properties *properties = frame->properties;
    const struct muster__clone_shape *shape = properties->shape;
    struct muster__clone_shape *rest = allocate(reader, sizeof *rest);
    struct muster__clone_key *keys =
        rest == NULL ? NULL : allocate(reader, shape->count * sizeof *keys);
    if (keys == NULL)
        return false;
    *rest = (struct muster__clone_shape){.keys = keys};
    for (uint32_t i = 0; i < shape->count; i++) {
        if (properties->values[i].type == MUSTER_CLONE_HOLE)
            continue;
        keys[rest->count] = shape->keys[i];
        properties->values[rest->count++] = properties->values[i];
    }
    properties->shape = rest->count == 0 ? NULL : rest;
    return muster__clone_index_keys(&reader->document->arena, rest) != UINT32_MAX || no_memory(reader);
}

/* The slots of the innermost frame are full: its next step, or its end. */
static bool advance(struct reader *reader)
{
    struct frame *frame = &reader->frames[reader->depth - 1];
    switch (frame->step) {
    case STEP_ITEMS:
    case STEP_INDEXED:
        if (frame->is_named)
            return start_names(reader, frame);
        break;
    case STEP_CAUSE:
        return start_errors(reader, frame);
    case STEP_ERRORS:
        return start_extras(reader, frame);
    case STEP_BUFFER:
        if (!close_view(reader, frame))
            return false;
        break;
    case STEP_PLATFORM:
        reader->objects[*frame->body] = *frame->slots;
        break;
    case STEP_PROPERTIES:
        if (frame->has_holes && !drop_holes(reader, frame))
            return false;
        break;
    case STEP_ENTRIES:
        break;
    }
    reader->depth--;
    return true;
}

/* Slots of the innermost frame until it is full or something opened inside. */
static bool fill(struct reader *reader)
{
    size_t depth = reader->depth;
    struct frame *frame = &reader->frames[depth - 1];
    while (frame->next < frame->count) {
        if (frame->step == STEP_INDEXED && !read_index(reader, frame))
            return false;
        reader->owed--;
        struct muster_clone_node *slot = &frame->slots[frame->next++];
        if (!read_value(reader, slot))
            return false;
        if (reader->depth != depth) /* the frames may have moved as well */
            return true;
    }
    return true;
}

static bool read_message(struct reader *reader)
{
    if (left(reader) < 2)
        return truncated(reader, "the head");
    if (reader->at[0] != MUSTER__CLONE_MAGIC)
        return refuse(reader, reader->at, "no structured clone: it begins with 0x%02x", reader->at[0]);
    if (reader->at[1] != MUSTER__CLONE_VERSION)
        return refuse(reader, reader->at + 1, "version %u is not known", reader->at[1]);
    reader->at += 2;
    if (!read_value(reader, &reader->document->root))
        return false;
    while (reader->depth > 0) {
        const struct frame *frame = &reader->frames[reader->depth - 1];
        if (frame->next < frame->count ? !fill(reader) : !advance(reader))
            return false;
    }
    return reader->at == reader->end ||
           refuse(reader, reader->at, "%zu bytes follow the value", left(reader));
}

static uint64_t max_reserved(const struct muster_clone_limits *limits)
{
    size_t needed = offsetof(struct muster_clone_limits, max_reserved) + sizeof limits->max_reserved;
    return limits != NULL && limits->size >= needed && limits->max_reserved > 0 ? limits->max_reserved
                                                                                : DEFAULT_RESERVED;
}

static void start(struct reader *reader, const void *data, size_t length,
                  const struct muster_clone *source)
{
    reader->start = reader->at = data == NULL ? (const unsigned char *)"" : data;
    reader->end = reader->start + (data == NULL ? 0 : length);
    reader->frames = reader->first_frames;
    reader->frame_room = sizeof reader->first_frames / sizeof reader->first_frames[0];
    reader->objects = reader->first_objects;
    reader->object_room = sizeof reader->first_objects / sizeof reader->first_objects[0];
    reader->shapes = reader->first_shapes;
    reader->shape_room = sizeof reader->first_shapes / sizeof reader->first_shapes[0];
    reader->owed = reader->depth = reader->shape_count = 0;
    reader->status = MUSTER_OK;
    size_t bits = muster_clone_buffer_count(source) + muster_clone_host_count(source);
    reader->used = bits == 0 ? NULL : calloc(1, bits / 8 + 1);
    reader->document = bits > 0 && reader->used == NULL
                           ? NULL
                           : muster__clone_document_new(length < 4096 ? length * 8 : length * 4);
    if (reader->document == NULL) {
        no_memory(reader);
        return;
    }
    reader->document->source = muster_clone_acquire(source);
    reader->document->host_count = (uint32_t)muster_clone_host_count(source);
}

static void stop(struct reader *reader)
{
    free(reader->used);
    if (reader->frames != reader->first_frames)
        free(reader->frames);
    if (reader->objects != reader->first_objects)
        free(reader->objects);
    if (reader->shapes != reader->first_shapes)
        free(reader->shapes);
}

static enum muster_status decode(const void *data, size_t length, const struct muster_clone *source,
                                 const struct muster_clone_limits *limits,
                                 struct muster_clone_document **ret_document,
                                 struct muster_error *error)
{
    struct reader reader; /* not zeroed: most of it is room */
    reader.error = error;
    reader.reserved = max_reserved(limits);
    start(&reader, data, length, source);
    if (reader.status == MUSTER_OK && read_message(&reader))
        *ret_document = reader.document;
    else
        muster_clone_document_destroy(reader.document);
    stop(&reader);
    return reader.status;
}

enum muster_status muster_clone_decode(const struct muster_clone *clone,
                                       const struct muster_clone_limits *limits,
                                       struct muster_clone_document **ret_document,
                                       struct muster_error *error)
{
    if (clone == NULL) {
        muster_error_set(error, MUSTER_INVALID_ARGUMENT, "clone: no message");
        return MUSTER_INVALID_ARGUMENT;
    }
    struct muster_bytes bytes = muster_clone_bytes(clone);
    return decode(bytes.data, bytes.length, clone, limits, ret_document, error);
}

enum muster_status muster_clone_decode_bytes(const void *data, size_t length,
                                             const struct muster_clone_limits *limits,
                                             struct muster_clone_document **ret_document,
                                             struct muster_error *error)
{
    return decode(data, length, NULL, limits, ret_document, error);
}
