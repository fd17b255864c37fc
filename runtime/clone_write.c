/* runtime/clone_write.c - the writer: a message made value by value.
 *
 * One thread at a time.  The format wants to know what a container holds before it begins (its count, its
 * keys), so the writer builds a document, and finish encodes it.  Open containers gather their entries on
 * one stack; an object's body exists from the beginning, which is why a reference to an open one works.
 *
 * The first mistake is kept, with its place, and everything after it does nothing. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone_internal.h"

#define KEPT_SHAPES 8

enum expects { EXPECTS_VALUE, EXPECTS_KEYED, EXPECTS_CAUSE, EXPECTS_ERRORS };

struct entry {
    struct muster__clone_key key; /* text NULL: an item, and `length` is its index */
    struct muster_clone_node node;
};

struct frame {
    uint8_t type;
    enum expects expects; /* what the next value is */
    struct muster__clone_key key;
    uint64_t index; /* of the next item */
    size_t first;   /* entry */
    uint32_t *body;
};

struct muster_clone_writer {
    struct muster_clone_writer_options options;
    struct muster_clone_document *document; /* NULL before the first value */
    bool has_root;
    struct frame *frames;
    size_t depth;
    size_t frame_room;
    struct entry *entries;
    size_t entry_count;
    size_t entry_room;
    struct muster_clone_node *objects; /* by number */
    size_t object_room;
    struct muster_clone_buffer *side; /* transferred */
    size_t side_count;
    size_t side_room;
    struct muster_clone_node waiting; /* a BOXED or a VIEW whose inside comes next; else UNDEFINED */
    const struct muster__clone_shape *shapes[KEPT_SHAPES]; /* the last one of so many keys */
    enum muster_status status;
    struct muster_error error;
};

/* ---- mistakes ---- */

/* Where the next value would stand. */
static void describe(const struct muster_clone_writer *writer, struct muster__clone_path *path)
{
    for (size_t i = 0; i < writer->depth; i++) {
        const struct frame *frame = &writer->frames[i];
        bool is_top = i + 1 == writer->depth;
        size_t end = is_top ? writer->entry_count : writer->frames[i + 1].first;
        const struct entry *last = end > frame->first ? &writer->entries[end - 1] : NULL;
        const struct muster__clone_key *key = is_top                             ? &frame->key
                                              : last != NULL && last->key.text != NULL ? &last->key
                                                                                       : NULL;
        if (key != NULL && key->text != NULL)
            muster__clone_path_key(path, key->text, key->length);
        else if (frame->type == MUSTER_CLONE_ARRAY)
            muster__clone_path_index(path, (size_t)(is_top || last == NULL ? frame->index
                                                                           : last->key.length));
        else if (frame->type == MUSTER_CLONE_MAP || frame->type == MUSTER_CLONE_SET)
            muster__clone_path_index(path, end - frame->first - (is_top ? 0 : 1));
    }
}

static void mistake(struct muster_clone_writer *writer, enum muster_status status, const char *format,
                    ...) MUSTER_PRINTF(3, 4);

static void mistake(struct muster_clone_writer *writer, enum muster_status status, const char *format, ...)
{
    char text[200];
    va_list arguments;
    if (writer->status != MUSTER_OK)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct muster__clone_path path = {0};
    describe(writer, &path);
    writer->status = status;
    muster_error_set(&writer->error, status, "clone: %s%s", text, muster__clone_path_end(&path));
}

static void no_memory(struct muster_clone_writer *writer)
{
    mistake(writer, MUSTER_NO_MEMORY, "out of memory");
}

static void misuse(struct muster_clone_writer *writer, const char *sentence)
{
    mistake(writer, MUSTER_INVALID_ARGUMENT, "%s", sentence);
}

/* ---- room ---- */

/* False after a mistake; makes the document of the first value. */
static bool is_ready(struct muster_clone_writer *writer)
{
    if (writer->status != MUSTER_OK)
        return false;
    if (writer->document == NULL)
        writer->document = muster__clone_document_new(0);
    if (writer->document == NULL)
        no_memory(writer);
    return writer->document != NULL;
}

/* Room for one more in a table. */
static bool make_room(struct muster_clone_writer *writer, void *table, size_t count, size_t *room,
                      size_t size)
{
    bool has_room = muster__clone_make_room(table, count, room, size);
    if (!has_room)
        no_memory(writer);
    return has_room;
}

static void *allocate(struct muster_clone_writer *writer, size_t size)
{
    void *memory = muster__clone_allocate(&writer->document->arena, size);
    if (memory == NULL)
        no_memory(writer);
    return memory;
}

/* ---- placing values ---- */

static bool is_boxable(uint8_t type)
{
    return type == MUSTER_CLONE_BOOLEAN || type == MUSTER_CLONE_NUMBER || type == MUSTER_CLONE_BIGINT ||
           type == MUSTER_CLONE_STRING;
}

/* The inside of the boxed primitive or the view that waits; `node` becomes that. */
static bool enclose(struct muster_clone_writer *writer, struct muster_clone_node *node)
{
    struct muster_clone_node outer = writer->waiting;
    if (outer.type == MUSTER_CLONE_BOXED) {
        struct muster__clone_boxed *boxed = (void *)outer.body;
        boxed->primitive = *node;
        if (!is_boxable(node->type))
            misuse(writer, "only a boolean, a number, a string or a BigInt can be boxed");
    } else {
        struct muster__clone_view *view = (void *)outer.body;
        view->buffer = *node;
        if (node->type != MUSTER_CLONE_BUFFER)
            misuse(writer, "a view shows a buffer and nothing else");
        else if (!muster__clone_view_is_inside(view))
            misuse(writer, "a view reaches beyond its buffer, or is not aligned in it");
    }
    writer->waiting.type = MUSTER_CLONE_UNDEFINED;
    *node = outer;
    return writer->status == MUSTER_OK;
}

static void add_entry(struct muster_clone_writer *writer, struct muster__clone_key key,
                      struct muster_clone_node node)
{
    if (make_room(writer, &writer->entries, writer->entry_count, &writer->entry_room,
                  sizeof *writer->entries))
        writer->entries[writer->entry_count++] = (struct entry){key, node};
}

static void add_item(struct muster_clone_writer *writer, struct frame *frame,
                     struct muster_clone_node node)
{
    if (frame->type == MUSTER_CLONE_OBJECT || frame->type == MUSTER_CLONE_ERROR) {
        misuse(writer, "a value without a key");
        return;
    }
    if (frame->index > UINT32_MAX - 1) {
        misuse(writer, "an array has at most 2^32-1 items");
        return;
    }
    add_entry(writer, (struct muster__clone_key){.length = (uint32_t)frame->index}, node);
    frame->index++;
}

static void place(struct muster_clone_writer *writer, struct muster_clone_node node)
{
    if (writer->waiting.type != MUSTER_CLONE_UNDEFINED && !enclose(writer, &node))
        return;
    if (writer->depth == 0) {
        if (writer->has_root)
            misuse(writer, "a second value: a message has one");
        writer->document->root = node;
        writer->has_root = true;
        return;
    }
    struct frame *frame = &writer->frames[writer->depth - 1];
    struct muster__clone_failure *failure = (void *)frame->body;
    switch (frame->expects) {
    case EXPECTS_VALUE:
        add_item(writer, frame, node);
        return;
    case EXPECTS_KEYED:
        add_entry(writer, frame->key, node);
        frame->key.text = NULL;
        break;
    case EXPECTS_CAUSE:
        failure->values[0] = node;
        failure->parts |= ERROR_CAUSE;
        break;
    case EXPECTS_ERRORS:
        failure->values[1] = node;
        failure->parts |= ERROR_ERRORS;
        break;
    }
    frame->expects = EXPECTS_VALUE;
}

/* A body of `size` zeroed bytes with the next number, placed at once unless it waits for its inside. */
static void *open_object(struct muster_clone_writer *writer, enum muster_clone_type type, size_t size)
{
    if (!is_ready(writer))
        return NULL;
    uint32_t number = writer->document->object_count;
    if (number == UINT32_MAX - 1) {
        misuse(writer, "too many objects");
        return NULL;
    }
    if (!make_room(writer, &writer->objects, number, &writer->object_room, sizeof *writer->objects))
        return NULL;
    uint32_t *body = allocate(writer, size);
    if (body == NULL)
        return NULL;
    memset(body, 0, size);
    *body = number;
    writer->objects[number] = (struct muster_clone_node){.type = (uint8_t)type, .body = body};
    writer->document->object_count++;
    return body;
}

static uint32_t place_object(struct muster_clone_writer *writer, const void *body)
{
    uint32_t number = UINT32_MAX;
    if (body == NULL)
        return number;
    memcpy(&number, body, sizeof number);
    place(writer, writer->objects[number]);
    return writer->status == MUSTER_OK ? number : UINT32_MAX;
}

/* ---- primitives ---- */

static void place_simple(struct muster_clone_writer *writer, enum muster_clone_type type)
{
    if (is_ready(writer))
        place(writer, (struct muster_clone_node){.type = (uint8_t)type});
}

void muster_clone_write_undefined(struct muster_clone_writer *writer)
{
    place_simple(writer, MUSTER_CLONE_UNDEFINED);
}

void muster_clone_write_null(struct muster_clone_writer *writer)
{
    place_simple(writer, MUSTER_CLONE_NULL);
}

void muster_clone_write_boolean(struct muster_clone_writer *writer, bool boolean)
{
    if (is_ready(writer))
        place(writer, (struct muster_clone_node){.type = MUSTER_CLONE_BOOLEAN, .boolean = boolean});
}

void muster_clone_write_number(struct muster_clone_writer *writer, double number)
{
    if (is_ready(writer))
        place(writer, (struct muster_clone_node){.type = MUSTER_CLONE_NUMBER, .number = number});
}

/* A copy of checked UTF-8.  False: a mistake, or no memory. */
static bool copy_text(struct muster_clone_writer *writer, const char *text, size_t length,
                      struct muster_clone_node *ret_text)
{
    if (text == NULL && length > 0) {
        misuse(writer, "a text is missing");
        return false;
    }
    int flags = muster__clone_text_flags(text, length);
    if (flags == UTF8_INVALID || length > MUSTER__CLONE_MAX_TEXT) {
        misuse(writer, flags == UTF8_INVALID ? "a text is not UTF-8" : "a text is too long");
        return false;
    }
    char *copy = muster__clone_copy(&writer->document->arena, text, length);
    if (copy == NULL) {
        no_memory(writer);
        return false;
    }
    *ret_text = (struct muster_clone_node){.type = MUSTER_CLONE_STRING,
                                           .flags = (uint8_t)flags,
                                           .length = (uint32_t)length,
                                           .text = copy};
    return true;
}

void muster_clone_write_string(struct muster_clone_writer *writer, const char *text, size_t length)
{
    struct muster_clone_node node;
    if (is_ready(writer) && copy_text(writer, text, length, &node))
        place(writer, node);
}

void muster_clone_write_text(struct muster_clone_writer *writer, const char *text)
{
    muster_clone_write_string(writer, text, text == NULL ? 0 : strlen(text));
}

static bool copy_utf16(struct muster_clone_writer *writer, const uint16_t *units, size_t count,
                       struct muster_clone_node *ret_text)
{
    if ((units == NULL && count > 0) || count > MUSTER__CLONE_MAX_TEXT) {
        misuse(writer, "a text is missing or too long");
        return false;
    }
    if (!muster__clone_text_from_utf16(&writer->document->arena, units, count, ret_text)) {
        no_memory(writer);
        return false;
    }
    return true;
}

void muster_clone_write_utf16(struct muster_clone_writer *writer, const uint16_t *units, size_t count)
{
    struct muster_clone_node node;
    if (is_ready(writer) && copy_utf16(writer, units, count, &node))
        place(writer, node);
}

void muster_clone_write_bigint(struct muster_clone_writer *writer, bool is_negative,
                               const void *magnitude, size_t length)
{
    if (!is_ready(writer))
        return;
    const unsigned char *bytes = magnitude;
    while (bytes != NULL && length > 0 && bytes[length - 1] == 0)
        length--;
    if ((bytes == NULL && length > 0) || length > UINT32_MAX / 8) {
        misuse(writer, "a BigInt is missing or too large");
        return;
    }
    char *copy = muster__clone_copy(&writer->document->arena, bytes, length);
    if (copy == NULL) {
        no_memory(writer);
        return;
    }
    place(writer, (struct muster_clone_node){.type = MUSTER_CLONE_BIGINT,
                                             .flags = is_negative && length > 0,
                                             .length = (uint32_t)length,
                                             .text = copy});
}

static void write_magnitude(struct muster_clone_writer *writer, bool is_negative, uint64_t magnitude)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(magnitude >> (8 * i));
    muster_clone_write_bigint(writer, is_negative, bytes, sizeof bytes);
}

void muster_clone_write_int64(struct muster_clone_writer *writer, int64_t number)
{
    write_magnitude(writer, number < 0, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void muster_clone_write_uint64(struct muster_clone_writer *writer, uint64_t number)
{
    write_magnitude(writer, false, number);
}

/* ---- single objects ---- */

uint32_t muster_clone_write_date(struct muster_clone_writer *writer, double ms)
{
    struct muster__clone_date *date = open_object(writer, MUSTER_CLONE_DATE, sizeof *date);
    if (date != NULL)
        date->ms = isnan(ms) ? (double)NAN : ms;
    return place_object(writer, date);
}

uint32_t muster_clone_write_regexp(struct muster_clone_writer *writer, const char *source, size_t length,
                                   unsigned flags, double last_index)
{
    struct muster__clone_regexp *regexp = open_object(writer, MUSTER_CLONE_REGEXP, sizeof *regexp);
    if (regexp == NULL || !copy_text(writer, source, length, &regexp->source))
        return UINT32_MAX;
    bool has_both = (flags & MUSTER_CLONE_REGEXP_U) != 0 && (flags & MUSTER_CLONE_REGEXP_V) != 0;
    if (flags > 255 || has_both) {
        misuse(writer, "a RegExp has flags that do not exist, or both u and v");
        return UINT32_MAX;
    }
    regexp->flags = flags;
    regexp->last_index = last_index;
    return place_object(writer, regexp);
}

/* Its inside comes next; until then it waits. */
static uint32_t wait_for_inside(struct muster_clone_writer *writer, const void *body)
{
    uint32_t number = UINT32_MAX;
    if (body == NULL)
        return number;
    if (writer->waiting.type != MUSTER_CLONE_UNDEFINED) {
        misuse(writer, "a view or a boxed primitive inside of such");
        return number;
    }
    memcpy(&number, body, sizeof number);
    writer->waiting = writer->objects[number];
    return number;
}

uint32_t muster_clone_write_boxed(struct muster_clone_writer *writer)
{
    return wait_for_inside(
        writer, open_object(writer, MUSTER_CLONE_BOXED, sizeof(struct muster__clone_boxed)));
}

uint32_t muster_clone_write_view(struct muster_clone_writer *writer, enum muster_clone_view_kind kind,
                                 size_t offset, size_t length)
{
    struct muster__clone_view *view = open_object(writer, MUSTER_CLONE_VIEW, sizeof *view);
    if (view == NULL)
        return UINT32_MAX;
    if ((unsigned)kind > MUSTER_CLONE_BIGUINT64) {
        misuse(writer, "a view of a kind that does not exist");
        return UINT32_MAX;
    }
    view->kind = (uint8_t)kind;
    view->offset = offset;
    view->follows = length == SIZE_MAX;
    view->length = view->follows ? 0 : length;
    return wait_for_inside(writer, view);
}

static struct muster__clone_memory *open_memory(struct muster_clone_writer *writer, const void *data,
                                                size_t length)
{
    struct muster__clone_memory *memory = open_object(writer, MUSTER_CLONE_BUFFER, sizeof *memory);
    if (memory == NULL)
        return NULL;
    if ((data == NULL && length > 0) || length > MUSTER__CLONE_MAX_VARINT) {
        misuse(writer, "a buffer is missing or too large");
        return NULL;
    }
    memory->entry = MUSTER__CLONE_NO_ENTRY;
    memory->data = data;
    memory->length = length;
    return memory;
}

static bool copy_memory(struct muster_clone_writer *writer, struct muster__clone_memory *memory)
{
    if (memory == NULL)
        return false;
    memory->data = muster__clone_copy(&writer->document->arena, memory->data, memory->length);
    if (memory->data == NULL)
        no_memory(writer);
    return memory->data != NULL;
}

uint32_t muster_clone_write_buffer(struct muster_clone_writer *writer, const void *data, size_t length)
{
    struct muster__clone_memory *memory = open_memory(writer, data, length);
    return copy_memory(writer, memory) ? place_object(writer, memory) : UINT32_MAX;
}

uint32_t muster_clone_write_resizable_buffer(struct muster_clone_writer *writer, const void *data,
                                             size_t length, uint64_t maximum)
{
    struct muster__clone_memory *memory = open_memory(writer, data, length);
    if (!copy_memory(writer, memory))
        return UINT32_MAX;
    if (maximum < length || maximum > MUSTER__CLONE_MAX_VARINT) {
        misuse(writer, "a buffer's maximum is below its length, or above 2^53-1");
        return UINT32_MAX;
    }
    memory->is_resizable = true;
    memory->maximum = maximum;
    return place_object(writer, memory);
}

uint32_t muster_clone_write_transferred_buffer(struct muster_clone_writer *writer,
                                               struct muster_clone_buffer *take_buffer)
{
    struct muster__clone_memory *memory = open_memory(writer, take_buffer->data, take_buffer->length);
    if (memory == NULL ||
        !make_room(writer, &writer->side, writer->side_count, &writer->side_room,
                   sizeof *writer->side)) {
        muster_clone_buffer_clean_up(take_buffer);
        return UINT32_MAX;
    }
    memory->entry = (uint32_t)writer->side_count;
    writer->side[writer->side_count++] = *take_buffer;
    memset(take_buffer, 0, sizeof *take_buffer);
    return place_object(writer, memory);
}

uint32_t muster_clone_write_host(struct muster_clone_writer *writer)
{
    struct muster__clone_host *host = open_object(writer, MUSTER_CLONE_HOST, sizeof *host);
    if (host != NULL)
        host->entry = writer->document->host_count++;
    return place_object(writer, host);
}

void muster_clone_write_reference(struct muster_clone_writer *writer, uint32_t number)
{
    if (!is_ready(writer))
        return;
    bool is_known = number < writer->document->object_count;
    bool is_waiting = is_known && writer->waiting.type != MUSTER_CLONE_UNDEFINED &&
                      writer->waiting.body == writer->objects[number].body;
    if (!is_known || is_waiting)
        misuse(writer, "a reference to an object that is not there");
    else
        place(writer, writer->objects[number]);
}

/* ---- containers ---- */

static uint32_t begin(struct muster_clone_writer *writer, enum muster_clone_type type, size_t size)
{
    uint32_t *body = open_object(writer, type, size);
    uint32_t number = place_object(writer, body);
    if (number == UINT32_MAX || !make_room(writer, &writer->frames, writer->depth, &writer->frame_room,
                                           sizeof *writer->frames))
        return UINT32_MAX;
    writer->frames[writer->depth++] =
        (struct frame){.type = (uint8_t)type, .first = writer->entry_count, .body = body};
    return number;
}

uint32_t muster_clone_begin_object(struct muster_clone_writer *writer)
{
    return begin(writer, MUSTER_CLONE_OBJECT, sizeof(struct muster__clone_object));
}

uint32_t muster_clone_begin_array(struct muster_clone_writer *writer)
{
    return begin(writer, MUSTER_CLONE_ARRAY, sizeof(struct muster__clone_list));
}

uint32_t muster_clone_begin_map(struct muster_clone_writer *writer)
{
    return begin(writer, MUSTER_CLONE_MAP, sizeof(struct muster__clone_list));
}

uint32_t muster_clone_begin_set(struct muster_clone_writer *writer)
{
    return begin(writer, MUSTER_CLONE_SET, sizeof(struct muster__clone_list));
}

static void give_text(struct muster_clone_writer *writer, struct muster__clone_failure *failure,
                      const char *text, uint8_t bit, struct muster_clone_node *ret_text)
{
    if (text != NULL && copy_text(writer, text, strlen(text), ret_text))
        failure->parts |= bit;
}

uint32_t muster_clone_begin_error(struct muster_clone_writer *writer, enum muster_clone_error_type type,
                                  const char *name, const char *message, const char *stack)
{
    uint32_t number = begin(writer, MUSTER_CLONE_ERROR, sizeof(struct muster__clone_failure));
    if (number == UINT32_MAX)
        return number;
    struct muster__clone_failure *failure = (void *)writer->objects[number].body;
    if ((unsigned)type > MUSTER_CLONE_ERROR_AGGREGATE)
        misuse(writer, "an error of a type that does not exist");
    failure->type = (uint8_t)type;
    give_text(writer, failure, message, ERROR_MESSAGE, &failure->message);
    give_text(writer, failure, stack, ERROR_STACK, &failure->stack);
    give_text(writer, failure, name, ERROR_NAME, &failure->name);
    return writer->status == MUSTER_OK ? number : UINT32_MAX;
}

static struct muster_clone_node quota_node(double number)
{
    if (isnan(number))
        return (struct muster_clone_node){.type = MUSTER_CLONE_NULL};
    return (struct muster_clone_node){.type = MUSTER_CLONE_NUMBER, .number = number};
}

uint32_t muster_clone_write_domexception(struct muster_clone_writer *writer, const char *name,
                                         const char *message, const char *stack, const double *quota,
                                         const double *requested)
{
    struct muster__clone_failure *failure =
        open_object(writer, MUSTER_CLONE_DOMEXCEPTION, sizeof *failure);
    if (failure == NULL || !copy_text(writer, name, name == NULL ? 1 : strlen(name), &failure->name) ||
        !copy_text(writer, message, message == NULL ? 1 : strlen(message), &failure->message))
        return UINT32_MAX;
    give_text(writer, failure, stack, DOMEXCEPTION_STACK, &failure->stack);
    if (quota != NULL && requested != NULL) {
        failure->parts |= DOMEXCEPTION_QUOTA;
        failure->values[0] = quota_node(*quota);
        failure->values[1] = quota_node(*requested);
    }
    return writer->status == MUSTER_OK ? place_object(writer, failure) : UINT32_MAX;
}

/* The innermost container, if it is of one of these types and no value is due. */
static struct frame *top_of(struct muster_clone_writer *writer, unsigned types, const char *otherwise)
{
    if (!is_ready(writer))
        return NULL;
    struct frame *frame = writer->depth == 0 ? NULL : &writer->frames[writer->depth - 1];
    if (frame == NULL || (types >> frame->type & 1) == 0 || frame->expects != EXPECTS_VALUE ||
        writer->waiting.type != MUSTER_CLONE_UNDEFINED) {
        misuse(writer, otherwise);
        return NULL;
    }
    return frame;
}

static struct frame *top_for_key(struct muster_clone_writer *writer)
{
    return top_of(writer,
                  1u << MUSTER_CLONE_OBJECT | 1u << MUSTER_CLONE_ARRAY | 1u << MUSTER_CLONE_ERROR,
                  "a key where none can stand");
}

static void take_key(struct muster_clone_writer *writer, struct frame *frame,
                     const struct muster_clone_node *text)
{
    if (frame->type == MUSTER_CLONE_ARRAY && muster__clone_key_is_reserved(text->text, text->length)) {
        misuse(writer, "a named property of an array is an index or \"length\"");
        return;
    }
    frame->key = (struct muster__clone_key){text->text, text->length, text->flags};
    frame->expects = EXPECTS_KEYED;
}

void muster_clone_write_key_bytes(struct muster_clone_writer *writer, const char *key, size_t length)
{
    struct muster_clone_node text;
    struct frame *frame = top_for_key(writer);
    if (frame != NULL && copy_text(writer, key, key == NULL ? 1 : length, &text))
        take_key(writer, frame, &text);
}

void muster_clone_write_key(struct muster_clone_writer *writer, const char *key)
{
    muster_clone_write_key_bytes(writer, key, key == NULL ? 0 : strlen(key));
}

void muster_clone_write_key_utf16(struct muster_clone_writer *writer, const uint16_t *units, size_t count)
{
    struct muster_clone_node text;
    struct frame *frame = top_for_key(writer);
    if (frame != NULL && copy_utf16(writer, units, count, &text))
        take_key(writer, frame, &text);
}

void muster_clone_write_index(struct muster_clone_writer *writer, uint32_t index)
{
    struct frame *frame = top_of(writer, 1u << MUSTER_CLONE_ARRAY, "an index outside of an array");
    if (frame == NULL)
        return;
    if (index < frame->index)
        misuse(writer, "an index that was passed already");
    frame->index = index;
}

static void expect_part(struct muster_clone_writer *writer, enum expects expects, unsigned bit)
{
    struct frame *frame = top_of(writer, 1u << MUSTER_CLONE_ERROR, "a part of an error outside of one");
    if (frame == NULL)
        return;
    const struct muster__clone_failure *failure = (const void *)frame->body;
    if ((failure->parts & bit) != 0)
        misuse(writer, "a part of an error for the second time");
    else if (bit == ERROR_ERRORS && failure->type != MUSTER_CLONE_ERROR_AGGREGATE)
        misuse(writer, "only an AggregateError has errors");
    else
        frame->expects = expects;
}

void muster_clone_write_cause(struct muster_clone_writer *writer)
{
    expect_part(writer, EXPECTS_CAUSE, ERROR_CAUSE);
}

void muster_clone_write_errors(struct muster_clone_writer *writer)
{
    expect_part(writer, EXPECTS_ERRORS, ERROR_ERRORS);
}

/* ---- ends ---- */

static size_t count_named(const struct entry *entries, size_t count)
{
    size_t named = 0;
    for (size_t i = 0; i < count; i++)
        named += entries[i].key.text != NULL;
    return named;
}

static bool has_these_keys(const struct muster__clone_shape *shape, const struct entry *entries,
                           size_t count)
{
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct muster__clone_key *key = &entries[i].key;
        if (key->text == NULL)
            continue;
        const struct muster__clone_key *other = &shape->keys[at++];
        if (other->length != key->length || memcmp(other->text, key->text, key->length) != 0)
            return false;
    }
    return true;
}

static const struct muster__clone_shape *new_shape(struct muster_clone_writer *writer,
                                                   const struct entry *entries, size_t count,
                                                   uint32_t named)
{
    struct muster__clone_shape *shape = allocate(writer, sizeof *shape);
    struct muster__clone_key *keys =
        shape == NULL ? NULL : allocate(writer, named * sizeof *keys);
    if (keys == NULL)
        return NULL;
    *shape = (struct muster__clone_shape){.keys = keys, .count = named};
    for (size_t i = 0; i < count; i++)
        if (entries[i].key.text != NULL)
            *keys++ = entries[i].key;
    uint32_t twin = muster__clone_index_keys(&writer->document->arena, shape);
    if (twin == UINT32_MAX)
        no_memory(writer);
    else if (twin < named)
        mistake(writer, MUSTER_INVALID_ARGUMENT, "the key \"%.*s\" for the second time",
                (int)shape->keys[twin].length, shape->keys[twin].text);
    return twin == named ? shape : NULL;
}

/* Shape and values of the entries that have keys.  The last shape of as many keys is likely the same. */
static void close_properties(struct muster_clone_writer *writer, const struct entry *entries, size_t count,
                             struct muster__clone_properties *properties)
{
    size_t named = count_named(entries, count);
    if (named == 0)
        return;
    if (named > UINT32_MAX / 8) {
        misuse(writer, "too many properties");
        return;
    }
    const struct muster__clone_shape **kept = &writer->shapes[named % KEPT_SHAPES];
    if (*kept == NULL || (*kept)->count != named || !has_these_keys(*kept, entries, count))
        *kept = new_shape(writer, entries, count, (uint32_t)named);
    struct muster_clone_node *values =
        *kept == NULL ? NULL : allocate(writer, named * sizeof *values);
    if (values == NULL)
        return;
    *properties = (struct muster__clone_properties){*kept, values};
    for (size_t i = 0; i < count; i++)
        if (entries[i].key.text != NULL)
            *values++ = entries[i].node;
}

static void close_list(struct muster_clone_writer *writer, const struct frame *frame,
                       const struct entry *entries, size_t count)
{
    struct muster__clone_list *list = (void *)frame->body;
    size_t items = count - count_named(entries, count);
    if (items > UINT32_MAX / 2) {
        misuse(writer, "too many items");
        return;
    }
    bool is_sparse = frame->type == MUSTER_CLONE_ARRAY && items < frame->index;
    list->length = (uint32_t)frame->index;
    list->count = (uint32_t)items;
    list->slots = allocate(writer, items * sizeof *list->slots);
    list->indexes = is_sparse ? allocate(writer, items * sizeof *list->indexes) : NULL;
    if (writer->status != MUSTER_OK)
        return;
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].key.text != NULL)
            continue;
        if (is_sparse)
            list->indexes[at] = entries[i].key.length;
        list->slots[at++] = entries[i].node;
    }
    close_properties(writer, entries, count, &list->properties);
}

static void close_container(struct muster_clone_writer *writer, const struct frame *frame)
{
    const struct entry *entries = &writer->entries[frame->first];
    size_t count = writer->entry_count - frame->first;
    struct muster__clone_failure *failure = (void *)frame->body;
    switch (frame->type) {
    case MUSTER_CLONE_OBJECT:
        close_properties(writer, entries, count,
                         &((struct muster__clone_object *)(void *)frame->body)->properties);
        return;
    case MUSTER_CLONE_ERROR:
        failure->parts |= count > 0 ? ERROR_EXTRA : 0;
        close_properties(writer, entries, count, &failure->properties);
        return;
    case MUSTER_CLONE_MAP:
        if (count % 2 != 0)
            misuse(writer, "a Map ends behind a key");
        /* fall through */
    default:
        close_list(writer, frame, entries, count);
    }
}

void muster_clone_end(struct muster_clone_writer *writer)
{
    if (!is_ready(writer))
        return;
    if (writer->depth == 0) {
        misuse(writer, "an end too many");
        return;
    }
    const struct frame *frame = &writer->frames[writer->depth - 1];
    if (frame->expects != EXPECTS_VALUE || writer->waiting.type != MUSTER_CLONE_UNDEFINED) {
        misuse(writer, "an end where a value is due");
        return;
    }
    close_container(writer, frame);
    writer->entry_count = frame->first;
    writer->depth--;
}

/* ---- the writer ---- */

struct muster_clone_writer *muster_clone_writer_new(const struct muster_clone_writer_options *options)
{
    struct muster_clone_writer *writer = calloc(1, sizeof *writer);
    if (writer != NULL)
        writer->options = muster__clone_writer_options(options);
    if (writer != NULL)
        writer->options.size = sizeof writer->options;
    return writer;
}

/* Empty again; the tables stay for the next value. */
static void empty(struct muster_clone_writer *writer)
{
    for (size_t i = 0; i < writer->side_count; i++)
        muster_clone_buffer_clean_up(&writer->side[i]);
    if (writer->document != NULL)
        muster__clone_document_reset(writer->document);
    muster_error_clean_up(&writer->error);
    writer->has_root = false;
    writer->depth = writer->entry_count = writer->side_count = 0;
    writer->waiting.type = MUSTER_CLONE_UNDEFINED;
    writer->status = MUSTER_OK;
    memset(writer->shapes, 0, sizeof writer->shapes);
}

void muster_clone_writer_destroy(struct muster_clone_writer *writer)
{
    if (writer == NULL)
        return;
    empty(writer);
    muster_clone_document_destroy(writer->document);
    free(writer->frames);
    free(writer->entries);
    free(writer->objects);
    free(writer->side);
    free(writer);
}

enum muster_status muster_clone_writer_finish(struct muster_clone_writer *writer,
                                              struct muster_clone **ret_clone,
                                              struct muster_error *error)
{
    if (is_ready(writer) &&
        (!writer->has_root || writer->depth > 0 || writer->waiting.type != MUSTER_CLONE_UNDEFINED))
        misuse(writer, "the value is not complete");
    enum muster_status status = writer->status;
    if (status == MUSTER_OK) {
        status = muster__clone_encode(writer->document, &writer->options, writer->side,
                                      writer->side_count, ret_clone, error);
        writer->side_count = 0; /* all taken */
    } else if (error != NULL) {
        muster_error_clean_up(error);
        *error = writer->error;
        memset(&writer->error, 0, sizeof writer->error);
    }
    empty(writer);
    return status;
}
