/* runtime/clone_encode.c - bytes in canonical form (docs/clone.md): the emitter, and a document walked.
 *
 * Any thread.  The emitter's mistakes are sticky: it runs out of memory once and then does nothing.  The
 * walk keeps what is open on a stack of its own, gives each object its number when it is met, and writes a
 * reference when it is met again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone_internal.h"
#include "runtime/value_internal.h"

#define FIRST_ROOM 256u
#define INDEX_SHAPES_FROM 8u
#define LARGEST ((size_t)1 << 46) /* far beyond what is there, and sums of such lengths do not wrap */

/* ---- the emitter ---- */

static bool make_room(struct muster__clone_emitter *emitter, size_t more)
{
    size_t room = emitter->room == 0 ? FIRST_ROOM : emitter->room;
    while (room - emitter->length < more && room < LARGEST)
        room *= 2;
    unsigned char *bytes = emitter->failed || more > LARGEST ? NULL : realloc(emitter->bytes, room);
    if (bytes == NULL) {
        emitter->failed = true;
        return false;
    }
    emitter->bytes = bytes;
    emitter->room = room;
    return true;
}

void muster__clone_emit_start(struct muster__clone_emitter *emitter)
{
    memset(emitter, 0, sizeof *emitter);
    if (!make_room(emitter, FIRST_ROOM))
        return;
    emitter->bytes[0] = MUSTER__CLONE_MAGIC;
    emitter->bytes[1] = MUSTER__CLONE_VERSION;
    emitter->length = 2;
}

void muster__clone_emit_clean_up(struct muster__clone_emitter *emitter)
{
    free(emitter->bytes);
    free(emitter->shapes);
    free(emitter->shape_index);
    memset(emitter, 0, sizeof *emitter);
}

static inline bool has_room(struct muster__clone_emitter *emitter, size_t more)
{
    if (more <= emitter->room - emitter->length && !emitter->failed)
        return true;
    return make_room(emitter, more);
}

static inline void put_byte(struct muster__clone_emitter *emitter, unsigned byte)
{
    emitter->bytes[emitter->length++] = (unsigned char)byte;
}

void muster__clone_emit_byte(struct muster__clone_emitter *emitter, unsigned byte)
{
    if (has_room(emitter, 1))
        put_byte(emitter, byte);
}

static void put_varint(struct muster__clone_emitter *emitter, uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        put_byte(emitter, (unsigned)(number & 0x7f) | 0x80);
    put_byte(emitter, (unsigned)number);
}

void muster__clone_emit_varint(struct muster__clone_emitter *emitter, uint64_t number)
{
    if (has_room(emitter, 10))
        put_varint(emitter, number);
}

static void put_bytes(struct muster__clone_emitter *emitter, const void *data, size_t length)
{
    if (length > 0)
        memcpy(emitter->bytes + emitter->length, data, length);
    emitter->length += length;
}

void muster__clone_emit_bytes(struct muster__clone_emitter *emitter, const void *data, size_t length)
{
    if (has_room(emitter, length))
        put_bytes(emitter, data, length);
}

static void emit_double(struct muster__clone_emitter *emitter, double number)
{
    static const unsigned char nan_bytes[8] = {[6] = 0xf8, [7] = 0x7f};
    if (has_room(emitter, 8))
        put_bytes(emitter, isnan(number) ? (const void *)nan_bytes : &number, 8);
}

static void emit_integer(struct muster__clone_emitter *emitter, int32_t number)
{
    if (number >= -32 && number <= 95) {
        put_byte(emitter, (unsigned)(number + TAG_SMALL_ZERO));
    } else if (number >= INT16_MIN && number <= INT16_MAX) {
        int16_t narrow = (int16_t)number;
        put_byte(emitter, TAG_INT16);
        put_bytes(emitter, &narrow, 2);
    } else {
        put_byte(emitter, TAG_INT32);
        put_bytes(emitter, &number, 4);
    }
}

void muster__clone_emit_number(struct muster__clone_emitter *emitter, double number)
{
    if (!has_room(emitter, 9))
        return;
    bool is_in_range = number >= INT32_MIN && number <= INT32_MAX;
    int32_t integer = is_in_range ? (int32_t)number : 0;
    if (is_in_range && (double)integer == number && (integer != 0 || !signbit(number))) {
        emit_integer(emitter, integer);
        return;
    }
    put_byte(emitter, TAG_FLOAT64);
    emit_double(emitter, number);
}

/* How many code units the text has; and whether all are below 256. */
static size_t count_units(const char *text, size_t length, bool *ret_is_latin1)
{
    size_t units = 0;
    uint32_t all = 0;
    uint32_t point = 0;
    for (size_t i = 0; i < length;) {
        size_t step = muster__clone_code_point(text + i, length - i, true, &point);
        MUSTER_CHECK(step > 0);
        i += step;
        units += point >= 0x10000 ? 2 : 1;
        all |= point;
    }
    *ret_is_latin1 = all < 0x100;
    return units;
}

static void put_unit(struct muster__clone_emitter *emitter, uint32_t unit, bool is_latin1)
{
    put_byte(emitter, unit & 0xff);
    if (!is_latin1)
        put_byte(emitter, unit >> 8);
}

static void put_units(struct muster__clone_emitter *emitter, const char *text, size_t length,
                      bool is_latin1)
{
    uint32_t point = 0;
    for (size_t i = 0; i < length;) {
        size_t step = muster__clone_code_point(text + i, length - i, true, &point);
        MUSTER_CHECK(step > 0);
        i += step;
        if (point >= 0x10000) {
            put_unit(emitter, 0xd800 + ((point - 0x10000) >> 10), is_latin1);
            point = 0xdc00 + (point & 0x3ff);
        }
        put_unit(emitter, point, is_latin1);
    }
}

static void put_text_head(struct muster__clone_emitter *emitter, size_t units, bool is_latin1)
{
    if (is_latin1 && units < TAG_SMALL - TAG_SHORT) {
        put_byte(emitter, TAG_SHORT + (unsigned)units);
        return;
    }
    put_byte(emitter, is_latin1 ? TAG_LATIN1 : TAG_UTF16);
    put_varint(emitter, units);
}

void muster__clone_emit_text(struct muster__clone_emitter *emitter, const char *text, size_t length,
                             bool is_ascii)
{
    if (length > LARGEST / 4 || !has_room(emitter, 2 * length + 16)) {
        emitter->failed = true;
        return;
    }
    bool is_latin1 = true;
    size_t units = is_ascii ? length : count_units(text, length, &is_latin1);
    put_text_head(emitter, units, is_latin1);
    if (is_ascii)
        put_bytes(emitter, text, length);
    else
        put_units(emitter, text, length, is_latin1);
}

/* ---- shapes ---- */

static void emit_key(struct muster__clone_emitter *emitter, struct muster__clone_key key)
{
    if (!has_room(emitter, 2 * (size_t)key.length + 16))
        return;
    if ((key.flags & TEXT_ASCII) != 0) {
        put_varint(emitter, (uint64_t)key.length * 2);
        put_bytes(emitter, key.text, key.length);
        return;
    }
    bool is_latin1;
    size_t units = count_units(key.text, key.length, &is_latin1);
    put_varint(emitter, (uint64_t)units * 2 + !is_latin1);
    put_units(emitter, key.text, key.length, is_latin1);
}

static bool is_block(const struct muster__clone_emitter *emitter,
                     const struct muster__clone_shape_place *place, const unsigned char *block,
                     size_t size, uint32_t hash)
{
    return place->hash == hash && place->size == size &&
           memcmp(emitter->bytes + place->offset, block, size) == 0;
}

/* The number of the shape with this block, or `shape_count`. */
static uint32_t find_block(const struct muster__clone_emitter *emitter, const unsigned char *block,
                           size_t size, uint32_t hash)
{
    if (emitter->shape_index == NULL) {
        uint32_t i = 0;
        while (i < emitter->shape_count && !is_block(emitter, &emitter->shapes[i], block, size, hash))
            i++;
        return i;
    }
    for (uint32_t at = hash & emitter->shape_mask; emitter->shape_index[at] != 0;
         at = (at + 1) & emitter->shape_mask) {
        uint32_t number = emitter->shape_index[at] - 1;
        if (is_block(emitter, &emitter->shapes[number], block, size, hash))
            return number;
    }
    return emitter->shape_count;
}

static void index_shape(struct muster__clone_emitter *emitter, uint32_t number)
{
    uint32_t at = emitter->shapes[number].hash & emitter->shape_mask;
    while (emitter->shape_index[at] != 0)
        at = (at + 1) & emitter->shape_mask;
    emitter->shape_index[at] = number + 1;
}

/* Room for one shape more, and twice as many places in the index, once there is one. */
static bool make_room_for_shape(struct muster__clone_emitter *emitter)
{
    if (emitter->shape_count < emitter->shape_room)
        return true;
    if (emitter->shape_room > UINT32_MAX / 8)
        return false;
    uint32_t room = emitter->shape_room == 0 ? 4 : emitter->shape_room * 2;
    struct muster__clone_shape_place *shapes = realloc(emitter->shapes, room * sizeof *shapes);
    if (shapes == NULL)
        return false;
    emitter->shapes = shapes;
    if (room > INDEX_SHAPES_FROM) {
        uint32_t *index = calloc((size_t)room * 2, sizeof *index);
        if (index == NULL)
            return false;
        free(emitter->shape_index);
        emitter->shape_index = index;
        emitter->shape_mask = room * 2 - 1;
        for (uint32_t i = 0; i < emitter->shape_count; i++)
            index_shape(emitter, i);
    }
    emitter->shape_room = room;
    return true;
}

static uint32_t add_shape(struct muster__clone_emitter *emitter, size_t offset, size_t size,
                          uint32_t hash)
{
    if (!make_room_for_shape(emitter)) {
        emitter->failed = true;
        return UINT32_MAX;
    }
    uint32_t number = emitter->shape_count++;
    emitter->shapes[number] =
        (struct muster__clone_shape_place){.offset = offset, .size = (uint32_t)size, .hash = hash};
    if (emitter->shape_index != NULL)
        index_shape(emitter, number);
    return number;
}

/* The block stands at the end, behind a byte that was kept for its size: widens that if need be. */
static size_t put_block_size(struct muster__clone_emitter *emitter, size_t offset, size_t size)
{
    size_t digits = 1;
    while (size >> (7 * digits) > 0)
        digits++;
    memmove(emitter->bytes + offset - 1 + digits, emitter->bytes + offset, size);
    emitter->length = offset - 1;
    put_varint(emitter, size);
    emitter->length += size;
    return offset - 1 + digits;
}

uint32_t muster__clone_emit_keys(struct muster__clone_emitter *emitter, muster__clone_key_fn *key,
                                 const void *source, uint32_t count)
{
    size_t start = emitter->length;
    if (!has_room(emitter, 32))
        return UINT32_MAX;
    put_byte(emitter, 1);
    put_byte(emitter, 0);
    size_t offset = emitter->length;
    put_varint(emitter, count);
    for (uint32_t i = 0; i < count; i++)
        emit_key(emitter, key(source, i));
    size_t size = emitter->length - offset;
    if (!has_room(emitter, 16) || size > UINT32_MAX) {
        emitter->failed = true;
        return UINT32_MAX;
    }
    uint32_t hash = 0;
    if (count <= MUSTER__CLONE_SHAPE_KEYS) {
        hash = (uint32_t)muster__value_hash((uintptr_t)emitter, emitter->bytes + offset, size);
        uint32_t number = find_block(emitter, emitter->bytes + offset, size, hash);
        if (number < emitter->shape_count) {
            emitter->length = start;
            put_varint(emitter, (uint64_t)number + 2);
            return number;
        }
    }
    offset = put_block_size(emitter, offset, size);
    return count <= MUSTER__CLONE_SHAPE_KEYS ? add_shape(emitter, offset, size, hash) : UINT32_MAX;
}

static void free_bytes(void *data, void *user_data)
{
    (void)user_data;
    free(data);
}

enum muster_status muster__clone_emit_finish(struct muster__clone_emitter *emitter,
                                             struct muster_clone_buffer *take_buffers, size_t count,
                                             size_t host_count, struct muster_clone **ret_clone)
{
    struct muster_clone_buffer bytes = {
        .data = emitter->bytes, .length = emitter->length, .free = free_bytes};
    if (emitter->failed)
        return MUSTER_NO_MEMORY;
    enum muster_status status = muster_clone_new(&bytes, take_buffers, count, host_count, ret_clone);
    if (status == MUSTER_OK)
        emitter->bytes = NULL;
    return status;
}

struct muster_clone_writer_options
muster__clone_writer_options(const struct muster_clone_writer_options *options)
{
    struct muster_clone_writer_options whole = {0};
    if (options != NULL)
        memcpy(&whole, options, options->size < sizeof whole ? options->size : sizeof whole);
    return whole;
}

/* ---- a document ---- */

enum step {
    STEP_SLOTS,  /* Map, Set, properties: one after the other */
    STEP_ITEMS,  /* an array in dense form */
    STEP_SPARSE, /* an array in sparse form */
    STEP_BUFFER, /* of a view */
    STEP_CAUSE,
    STEP_ERRORS
};

struct frame {
    enum step step;
    uint32_t next;  /* slot; of a dense array the index */
    uint32_t entry; /* of an array, what it stores */
    uint32_t count;
    unsigned parts; /* of an error: those that are written */
    const struct muster_clone_node *slots;
    const uint32_t *body;
};

#define FIRST_FRAMES 8
#define FIRST_OBJECTS 32
#define CACHED_SHAPES 8

struct walk {
    struct muster__clone_emitter emitter;
    enum muster_clone_mode mode;
    size_t raw_from;
    struct frame *frames;
    size_t depth;
    size_t frame_room;
    uint32_t *given; /* for each object of the document its number in the message + 1 */
    uint32_t given_count;
    struct muster_clone_buffer *side;
    size_t side_count;
    size_t side_room;
    bool is_too_deep;
    struct {
        const struct muster__clone_shape *shape;
        uint32_t number;
    } cache[CACHED_SHAPES]; /* a shape that was written under a number */
    struct frame first_frames[FIRST_FRAMES];
    uint32_t first_given[FIRST_OBJECTS];
};

static void fail(struct walk *walk)
{
    walk->emitter.failed = true;
}

static struct frame *push(struct walk *walk, enum step step, const uint32_t *body,
                          const struct muster_clone_node *slots, uint32_t count)
{
    if (walk->depth == walk->frame_room) {
        bool was_first = walk->frames == walk->first_frames;
        struct frame *frames =
            realloc(was_first ? NULL : walk->frames, walk->frame_room * 2 * sizeof *frames);
        if (frames == NULL) {
            fail(walk);
            return NULL;
        }
        if (was_first)
            memcpy(frames, walk->first_frames, sizeof walk->first_frames);
        walk->frames = frames;
        walk->frame_room *= 2;
    }
    struct frame *frame = &walk->frames[walk->depth++];
    *frame = (struct frame){.step = step, .count = count, .slots = slots, .body = body};
    return frame;
}

static struct muster__clone_key key_of_shape(const void *source, uint32_t i)
{
    return ((const struct muster__clone_shape *)source)->keys[i];
}

static void emit_shape(struct walk *walk, const struct muster__clone_shape *shape)
{
    if (shape == NULL || shape->count == 0) {
        muster__clone_emit_varint(&walk->emitter, 0);
        return;
    }
    size_t place = ((uintptr_t)shape >> 3) % CACHED_SHAPES;
    if (walk->cache[place].shape == shape) {
        muster__clone_emit_varint(&walk->emitter, (uint64_t)walk->cache[place].number + 2);
        return;
    }
    uint32_t number =
        muster__clone_emit_keys(&walk->emitter, key_of_shape, shape, shape->count);
    if (number == UINT32_MAX)
        return;
    walk->cache[place].shape = shape;
    walk->cache[place].number = number;
}

/* The shape at once, the values by a frame. */
static void start_properties(struct walk *walk, const struct muster__clone_properties *properties)
{
    emit_shape(walk, properties->shape);
    if (properties->shape != NULL && properties->shape->count > 0)
        push(walk, STEP_SLOTS, NULL, properties->values, properties->shape->count);
}

static uint32_t count_items(const struct muster__clone_list *array)
{
    uint32_t present = 0;
    for (uint32_t i = 0; i < array->count; i++)
        present += array->slots[i].type != MUSTER_CLONE_HOLE;
    return present;
}

static void emit_array(struct walk *walk, const struct muster__clone_list *array)
{
    uint32_t present = count_items(array);
    bool is_named = array->properties.shape != NULL && array->properties.shape->count > 0;
    bool is_dense = (uint64_t)present * 2 >= array->length;
    muster__clone_emit_byte(&walk->emitter, !is_dense   ? TAG_ARRAY_SPARSE
                                            : is_named ? TAG_ARRAY_NAMED
                                                       : TAG_ARRAY);
    muster__clone_emit_varint(&walk->emitter, array->length);
    if (!is_dense)
        muster__clone_emit_varint(&walk->emitter, present);
    if (is_dense && array->length == 0 && !is_named)
        return;
    push(walk, is_dense ? STEP_ITEMS : STEP_SPARSE, &array->number, array->slots,
         is_dense ? array->length : array->count);
}

static void emit_list(struct walk *walk, unsigned tag, const struct muster__clone_list *list,
                      uint32_t each)
{
    muster__clone_emit_byte(&walk->emitter, tag);
    muster__clone_emit_varint(&walk->emitter, list->count / each);
    if (list->count > 0)
        push(walk, STEP_SLOTS, &list->number, list->slots, list->count);
}

static void emit_string(struct walk *walk, const struct muster_clone_node *text)
{
    muster__clone_emit_text(&walk->emitter, text->text, text->length, (text->flags & TEXT_ASCII) != 0);
}

/* The HTML standard looks at the name alone, and knows no AggregateError. */
static uint8_t web_type(const struct muster__clone_failure *failure)
{
    uint8_t type = failure->type;
    if ((failure->parts & ERROR_NAME) != 0 &&
        !muster__clone_error_type_from_name(failure->name.text, failure->name.length, &type))
        type = MUSTER_CLONE_ERROR_PLAIN;
    return type == MUSTER_CLONE_ERROR_AGGREGATE ? (uint8_t)MUSTER_CLONE_ERROR_PLAIN : type;
}

static unsigned parts_to_write(const struct walk *walk, const struct muster__clone_failure *failure)
{
    if (walk->mode == MUSTER_CLONE_WEB)
        return failure->parts & (ERROR_MESSAGE | ERROR_STACK | ERROR_CAUSE);
    const char *own = muster_clone_error_type_name((enum muster_clone_error_type)failure->type);
    bool has_extra = failure->properties.shape != NULL && failure->properties.shape->count > 0;
    bool is_own = failure->name.length == strlen(own) && (failure->parts & ERROR_NAME) != 0 &&
                  memcmp(failure->name.text, own, failure->name.length) == 0;
    return failure->parts & ~((is_own ? ERROR_NAME : 0u) | (has_extra ? 0u : ERROR_EXTRA));
}

static void emit_error(struct walk *walk, const struct muster__clone_failure *failure)
{
    unsigned parts = parts_to_write(walk, failure);
    muster__clone_emit_byte(&walk->emitter, TAG_ERROR);
    muster__clone_emit_byte(&walk->emitter,
                            walk->mode == MUSTER_CLONE_WEB ? web_type(failure) : failure->type);
    muster__clone_emit_byte(&walk->emitter, parts);
    if ((parts & ERROR_MESSAGE) != 0)
        emit_string(walk, &failure->message);
    if ((parts & ERROR_STACK) != 0)
        emit_string(walk, &failure->stack);
    if ((parts & ERROR_NAME) != 0)
        emit_string(walk, &failure->name);
    if (parts < ERROR_CAUSE)
        return;
    struct frame *frame =
        push(walk, STEP_CAUSE, &failure->number, failure->values, (parts & ERROR_CAUSE) != 0);
    if (frame != NULL)
        frame->parts = parts;
}

static void emit_quota(struct walk *walk, const struct muster_clone_node *node)
{
    if (node->type == MUSTER_CLONE_NULL)
        muster__clone_emit_byte(&walk->emitter, TAG_NULL);
    else
        muster__clone_emit_number(&walk->emitter, node->number);
}

static void emit_domexception(struct walk *walk, const struct muster__clone_failure *failure)
{
    muster__clone_emit_byte(&walk->emitter, TAG_DOMEXCEPTION);
    muster__clone_emit_byte(&walk->emitter, failure->parts);
    emit_string(walk, &failure->name);
    emit_string(walk, &failure->message);
    if ((failure->parts & DOMEXCEPTION_STACK) != 0)
        emit_string(walk, &failure->stack);
    if ((failure->parts & DOMEXCEPTION_QUOTA) == 0)
        return;
    emit_quota(walk, &failure->values[0]);
    emit_quota(walk, &failure->values[1]);
}

static void emit_regexp(struct walk *walk, const struct muster__clone_regexp *regexp)
{
    muster__clone_emit_byte(&walk->emitter, TAG_REGEXP);
    muster__clone_emit_byte(&walk->emitter, regexp->flags);
    emit_string(walk, &regexp->source);
    muster__clone_emit_number(&walk->emitter,
                              walk->mode == MUSTER_CLONE_WEB ? 0.0 : regexp->last_index);
}

static bool make_room_in_side(struct walk *walk)
{
    if (walk->side_count < walk->side_room)
        return true;
    size_t room = walk->side_room == 0 ? 4 : walk->side_room * 2;
    struct muster_clone_buffer *side = realloc(walk->side, room * sizeof *side);
    if (side == NULL)
        return false;
    walk->side = side;
    walk->side_room = room;
    return true;
}

/* A private copy at the end of the side table; its number. */
static uint64_t put_aside(struct walk *walk, const struct muster__clone_memory *memory)
{
    struct muster_clone_buffer copy;
    if (!make_room_in_side(walk) ||
        muster_clone_buffer_copy(memory->data, memory->length, &copy) != MUSTER_OK) {
        fail(walk);
        return 0;
    }
    walk->side[walk->side_count] = copy;
    return walk->side_count++;
}

static void emit_buffer(struct walk *walk, const struct muster__clone_memory *memory)
{
    struct muster__clone_emitter *emitter = &walk->emitter;
    bool is_raw = walk->raw_from > 0 && memory->length >= walk->raw_from;
    bool is_aside = memory->entry != MUSTER__CLONE_NO_ENTRY || is_raw;
    if (is_aside) {
        muster__clone_emit_byte(emitter, TAG_BUFFER_SIDE + memory->is_resizable);
        bool is_new = memory->entry == MUSTER__CLONE_NO_ENTRY;
        muster__clone_emit_varint(emitter, is_new ? put_aside(walk, memory) : memory->entry);
    } else {
        muster__clone_emit_byte(emitter, TAG_BUFFER + memory->is_resizable);
    }
    muster__clone_emit_varint(emitter, memory->length);
    if (memory->is_resizable)
        muster__clone_emit_varint(emitter, memory->maximum);
    if (!is_aside)
        muster__clone_emit_bytes(emitter, memory->data, memory->length);
}

static void emit_view(struct walk *walk, const struct muster__clone_view *view)
{
    muster__clone_emit_byte(&walk->emitter, TAG_VIEW);
    muster__clone_emit_byte(&walk->emitter, view->kind);
    muster__clone_emit_varint(&walk->emitter, view->offset);
    muster__clone_emit_varint(&walk->emitter, view->follows ? 0 : view->length + 1);
    push(walk, STEP_BUFFER, &view->number, &view->buffer, 1);
}

static void emit_primitive(struct walk *walk, const struct muster_clone_node *node)
{
    struct muster__clone_emitter *emitter = &walk->emitter;
    switch (node->type) {
    case MUSTER_CLONE_UNDEFINED:
        muster__clone_emit_byte(emitter, TAG_UNDEFINED);
        break;
    case MUSTER_CLONE_NULL:
        muster__clone_emit_byte(emitter, TAG_NULL);
        break;
    case MUSTER_CLONE_BOOLEAN:
        muster__clone_emit_byte(emitter, node->boolean ? TAG_TRUE : TAG_FALSE);
        break;
    case MUSTER_CLONE_NUMBER:
        muster__clone_emit_number(emitter, node->number);
        break;
    case MUSTER_CLONE_BIGINT:
        muster__clone_emit_byte(emitter, TAG_BIGINT);
        muster__clone_emit_varint(emitter, (uint64_t)node->length * 2 + node->flags);
        muster__clone_emit_bytes(emitter, node->text, node->length);
        break;
    case MUSTER_CLONE_STRING:
        emit_string(walk, node);
        break;
    default:
        muster__clone_emit_byte(emitter, TAG_HOLE);
    }
}

/* An object that is met for the first time. */
static void emit_body(struct walk *walk, const struct muster_clone_node *node)
{
    const void *body = node->body;
    switch (node->type) {
    case MUSTER_CLONE_OBJECT:
        muster__clone_emit_byte(&walk->emitter, TAG_OBJECT);
        start_properties(walk, &((const struct muster__clone_object *)body)->properties);
        return;
    case MUSTER_CLONE_ARRAY:
        emit_array(walk, body);
        return;
    case MUSTER_CLONE_MAP:
        emit_list(walk, TAG_MAP, body, 2);
        return;
    case MUSTER_CLONE_SET:
        emit_list(walk, TAG_SET, body, 1);
        return;
    case MUSTER_CLONE_DATE:
        muster__clone_emit_byte(&walk->emitter, TAG_DATE);
        emit_double(&walk->emitter, ((const struct muster__clone_date *)body)->ms);
        return;
    case MUSTER_CLONE_REGEXP:
        emit_regexp(walk, body);
        return;
    case MUSTER_CLONE_BOXED:
        muster__clone_emit_byte(&walk->emitter, TAG_BOXED);
        emit_primitive(walk, &((const struct muster__clone_boxed *)body)->primitive);
        return;
    case MUSTER_CLONE_ERROR:
        emit_error(walk, body);
        return;
    case MUSTER_CLONE_DOMEXCEPTION:
        emit_domexception(walk, body);
        return;
    case MUSTER_CLONE_BUFFER:
        emit_buffer(walk, body);
        return;
    case MUSTER_CLONE_VIEW:
        emit_view(walk, body);
        return;
    default:
        muster__clone_emit_byte(&walk->emitter, TAG_HOST);
        muster__clone_emit_varint(&walk->emitter, ((const struct muster__clone_host *)body)->entry);
    }
}

static void emit_node(struct walk *walk, const struct muster_clone_node *node)
{
    if (!muster__clone_is_object(node)) {
        emit_primitive(walk, node);
        return;
    }
    uint32_t *number = &walk->given[*node->body];
    if (*number != 0) {
        muster__clone_emit_byte(&walk->emitter, TAG_REF);
        muster__clone_emit_varint(&walk->emitter, *number - 1);
        return;
    }
    *number = ++walk->given_count;
    walk->is_too_deep |= walk->depth >= MUSTER_CLONE_MAX_DEPTH;
    emit_body(walk, node);
}

/* The next item of an array, with its index in sparse form; false: there is none. */
static bool next_item(struct walk *walk, struct frame *frame, const struct muster_clone_node **ret_node)
{
    static const struct muster_clone_node hole = {.type = MUSTER_CLONE_HOLE};
    const struct muster__clone_list *array = (const void *)frame->body;
    if (frame->step == STEP_ITEMS) {
        if (frame->next == frame->count)
            return false;
        uint32_t index = frame->next++;
        bool is_there = frame->entry < array->count &&
                        (array->indexes == NULL || array->indexes[frame->entry] == index);
        *ret_node = is_there ? &array->slots[frame->entry++] : &hole;
        return true;
    }
    while (frame->entry < frame->count && array->slots[frame->entry].type == MUSTER_CLONE_HOLE)
        frame->entry++;
    if (frame->entry == frame->count)
        return false;
    uint32_t index = array->indexes == NULL ? frame->entry : array->indexes[frame->entry];
    muster__clone_emit_varint(&walk->emitter, index);
    *ret_node = &array->slots[frame->entry++];
    return true;
}

/* The innermost frame has no slot left: its next step in its place, or its end. */
static void advance(struct walk *walk)
{
    struct frame frame = walk->frames[--walk->depth];
    switch (frame.step) {
    case STEP_ITEMS:
    case STEP_SPARSE: {
        const struct muster__clone_list *array = (const void *)frame.body;
        bool is_named = array->properties.shape != NULL && array->properties.shape->count > 0;
        if (is_named || frame.step == STEP_SPARSE)
            start_properties(walk, &array->properties);
        return;
    }
    case STEP_CAUSE: {
        const struct muster__clone_failure *failure = (const void *)frame.body;
        struct frame *errors = push(walk, STEP_ERRORS, frame.body, &failure->values[1],
                                    (frame.parts & ERROR_ERRORS) != 0);
        if (errors != NULL)
            errors->parts = frame.parts;
        return;
    }
    case STEP_ERRORS:
        if ((frame.parts & ERROR_EXTRA) != 0)
            start_properties(walk,
                             &((const struct muster__clone_failure *)(const void *)frame.body)->properties);
        return;
    case STEP_SLOTS:
    case STEP_BUFFER:
        return;
    }
}

static void step(struct walk *walk)
{
    struct frame *frame = &walk->frames[walk->depth - 1];
    const struct muster_clone_node *node = NULL;
    if (frame->step == STEP_ITEMS || frame->step == STEP_SPARSE) {
        if (!next_item(walk, frame, &node))
            node = NULL;
    } else if (frame->next < frame->count) {
        node = &frame->slots[frame->next++];
    }
    if (node == NULL) {
        advance(walk);
        return;
    }
    emit_node(walk, node);
}

static bool start(struct walk *walk, const struct muster_clone_document *document,
                  const struct muster_clone_writer_options *options)
{
    struct muster_clone_writer_options whole = muster__clone_writer_options(options);
    walk->mode = whole.mode;
    walk->raw_from = whole.raw_from;
    walk->frames = walk->first_frames;
    walk->frame_room = FIRST_FRAMES;
    walk->depth = 0;
    walk->given_count = 0;
    walk->is_too_deep = false;
    memset(walk->cache, 0, sizeof walk->cache);
    bool is_small = document->object_count <= FIRST_OBJECTS;
    walk->given = is_small ? walk->first_given : calloc(document->object_count, sizeof *walk->given);
    if (is_small)
        memset(walk->first_given, 0, sizeof walk->first_given);
    muster__clone_emit_start(&walk->emitter);
    return walk->given != NULL;
}

static void stop(struct walk *walk)
{
    for (size_t i = 0; i < walk->side_count; i++)
        muster_clone_buffer_clean_up(&walk->side[i]);
    free(walk->side);
    if (walk->given != walk->first_given)
        free(walk->given);
    if (walk->frames != walk->first_frames)
        free(walk->frames);
    muster__clone_emit_clean_up(&walk->emitter);
}

static bool take_side(struct walk *walk, struct muster_clone_buffer *take, size_t count)
{
    walk->side_count = 0;
    walk->side_room = 0;
    walk->side = count == 0 ? NULL : malloc(count * sizeof *take);
    bool ok = count == 0 || walk->side != NULL;
    for (size_t i = 0; i < count; i++) {
        if (ok)
            walk->side[walk->side_count++] = take[i];
        else
            muster_clone_buffer_clean_up(&take[i]);
        memset(&take[i], 0, sizeof take[i]);
    }
    walk->side_room = walk->side_count;
    return ok;
}

static enum muster_status finish(struct walk *walk, uint32_t host_count, struct muster_clone **ret_clone,
                                 struct muster_error *error)
{
    if (walk->is_too_deep) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "clone: an object inside of %d others",
                         MUSTER_CLONE_MAX_DEPTH);
        return MUSTER_UNSUPPORTED;
    }
    enum muster_status status = muster__clone_emit_finish(&walk->emitter, walk->side, walk->side_count,
                                                          host_count, ret_clone);
    if (status != MUSTER_OK)
        muster_error_set(error, status, "clone: out of memory while encoding");
    return status;
}

enum muster_status muster__clone_encode(const struct muster_clone_document *document,
                                        const struct muster_clone_writer_options *options,
                                        struct muster_clone_buffer *take_buffers, size_t side_count,
                                        struct muster_clone **ret_clone, struct muster_error *error)
{
    struct walk walk; /* not zeroed: most of it is room */
    bool ok = take_side(&walk, take_buffers, side_count);
    if (!start(&walk, document, options) || !ok)
        fail(&walk);
    else
        emit_node(&walk, &document->root);
    while (walk.depth > 0 && !walk.emitter.failed && !walk.is_too_deep)
        step(&walk);
    enum muster_status status = finish(&walk, document->host_count, ret_clone, error);
    stop(&walk);
    return status;
}

static void release_source(void *data, void *user_data)
{
    (void)data;
    muster_clone_release(user_data);
}

enum muster_status muster_clone_encode(const struct muster_clone_document *document,
                                       const struct muster_clone_writer_options *options,
                                       struct muster_clone **ret_clone, struct muster_error *error)
{
    size_t count = muster_clone_buffer_count(document->source);
    struct muster_clone_buffer *side = count == 0 ? NULL : calloc(count, sizeof *side);
    if (count > 0 && side == NULL) {
        muster_error_set(error, MUSTER_NO_MEMORY, "clone: out of memory while encoding");
        return MUSTER_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        struct muster_bytes bytes = muster_clone_buffer_at(document->source, i);
        side[i] = (struct muster_clone_buffer){.data = (void *)bytes.data,
                                               .length = bytes.length,
                                               .free = release_source,
                                               .user_data = muster_clone_acquire(document->source)};
    }
    enum muster_status status = muster__clone_encode(document, options, side, count, ret_clone, error);
    free(side);
    return status;
}
