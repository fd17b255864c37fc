/* runtime/clone_value.c - between messages and values, the trees of plain data (value.h).
 *
 * Any thread.  Both ways walk with a stack of their own.  A value is less than a message can say: what has
 * no counterpart is refused with its place, or made into something near when the caller is lenient.  A
 * tree cannot hold a cycle: it could never be freed, since its references are counted. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone_internal.h"
#include "runtime/value_internal.h"

#define DEFAULT_REPEATED 1000000u

/* ---- from a value ---- */

struct value_frame {
    const struct muster_value *container;
    uint32_t next;
};

struct value_walk {
    struct muster__clone_emitter emitter;
    struct muster_clone_writer_options options;
    struct value_frame *frames;
    size_t depth;
    size_t frame_room;
    struct muster_clone_buffer *side;
    size_t side_count;
    size_t side_room;
    const char *fault; /* what cannot be; a literal */
};

static void emit_string(struct value_walk *walk, const char *text, size_t length)
{
    int flags = muster__clone_text_flags(text, length);
    if (flags == UTF8_INVALID || length > MUSTER__CLONE_MAX_TEXT)
        walk->fault = flags == UTF8_INVALID ? "a text that is not UTF-8" : "a text that is too long";
    else
        muster__clone_emit_text(&walk->emitter, text, length, flags == TEXT_ASCII);
}

static void release_value(void *data, void *user_data)
{
    (void)data;
    muster_value_release(user_data);
}

/* The value itself stays behind the entry: nothing is copied. */
static void emit_bytes(struct value_walk *walk, const struct muster_value *value)
{
    struct muster_bytes bytes = value->text;
    bool is_raw = walk->options.raw_from > 0 && bytes.length >= walk->options.raw_from;
    muster__clone_emit_byte(&walk->emitter, is_raw ? TAG_BUFFER_SIDE : TAG_BUFFER);
    if (is_raw) {
        if (!muster__clone_make_room(&walk->side, walk->side_count, &walk->side_room, sizeof *walk->side)) {
            walk->emitter.failed = true;
            return;
        }
        muster__clone_emit_varint(&walk->emitter, walk->side_count);
        walk->side[walk->side_count++] = (struct muster_clone_buffer){
            .data = (void *)bytes.data, /* read only, as all of a message is */
            .length = bytes.length,
            .free = release_value,
            .user_data = muster_value_acquire(value),
        };
    }
    muster__clone_emit_varint(&walk->emitter, bytes.length);
    if (!is_raw)
        muster__clone_emit_bytes(&walk->emitter, bytes.data, bytes.length);
}

static void emit_error(struct value_walk *walk, const struct muster_error *error)
{
    const char *name = error->name == NULL ? "Error" : error->name;
    uint8_t type = MUSTER_CLONE_ERROR_PLAIN;
    bool is_web = walk->options.mode == MUSTER_CLONE_WEB;
    bool is_type = muster__clone_error_type_from_name(name, strlen(name), &type);
    if (is_web && type == MUSTER_CLONE_ERROR_AGGREGATE)
        type = MUSTER_CLONE_ERROR_PLAIN;
    bool has_name = !is_type && !is_web;
    muster__clone_emit_byte(&walk->emitter, TAG_ERROR);
    muster__clone_emit_byte(&walk->emitter, type);
    muster__clone_emit_byte(&walk->emitter, (error->message != NULL ? ERROR_MESSAGE : 0u) |
                                                (error->stack != NULL ? ERROR_STACK : 0u) |
                                                (has_name ? ERROR_NAME : 0u));
    if (error->message != NULL)
        emit_string(walk, error->message, strlen(error->message));
    if (error->stack != NULL)
        emit_string(walk, error->stack, strlen(error->stack));
    if (has_name)
        emit_string(walk, name, strlen(name));
}

static struct muster__clone_key key_of_value(const void *source, uint32_t i)
{
    const struct muster__value_pair *pair = &((const struct muster_value *)source)->container.pairs[i];
    bool is_ascii = muster__clone_is_ascii(pair->key, pair->key_length);
    return (struct muster__clone_key){pair->key, (uint32_t)pair->key_length, is_ascii ? TEXT_ASCII : 0};
}

static bool keys_are_text(const struct muster_value *object)
{
    for (uint32_t i = 0; i < object->container.count; i++) {
        const struct muster__value_pair *pair = &object->container.pairs[i];
        if (pair->key_length > MUSTER__CLONE_MAX_TEXT ||
            muster__clone_text_flags(pair->key, pair->key_length) == UTF8_INVALID)
            return false;
    }
    return true;
}

static void open_container(struct value_walk *walk, const struct muster_value *container)
{
    uint32_t count = container->container.count;
    if (container->type == MUSTER_TYPE_ARRAY) {
        muster__clone_emit_byte(&walk->emitter, TAG_ARRAY);
        muster__clone_emit_varint(&walk->emitter, count);
    } else {
        muster__clone_emit_byte(&walk->emitter, TAG_OBJECT);
        if (!keys_are_text(container))
            walk->fault = "an object with a key that is not UTF-8";
        else if (count > 0)
            muster__clone_emit_keys(&walk->emitter, key_of_value, container, count);
        else
            muster__clone_emit_varint(&walk->emitter, 0);
    }
    if (count == 0)
        return;
    if (muster__clone_make_room(&walk->frames, walk->depth, &walk->frame_room, sizeof *walk->frames))
        walk->frames[walk->depth++] = (struct value_frame){.container = container};
    else
        walk->emitter.failed = true;
}

static void emit_value(struct value_walk *walk, const struct muster_value *given)
{
    const struct muster_value *value = muster__value_plain(given);
    struct muster__clone_emitter *emitter = &walk->emitter;
    enum muster_type type = muster_value_type(value);
    if (walk->depth >= MUSTER_CLONE_MAX_DEPTH && type >= MUSTER_TYPE_BYTES) {
        walk->fault = "an object inside of too many others";
        return;
    }
    switch (type) {
    case MUSTER_TYPE_UNDEFINED:
        muster__clone_emit_byte(emitter, TAG_UNDEFINED);
        return;
    case MUSTER_TYPE_NULL:
        muster__clone_emit_byte(emitter, TAG_NULL);
        return;
    case MUSTER_TYPE_BOOLEAN:
        muster__clone_emit_byte(emitter, value->boolean ? TAG_TRUE : TAG_FALSE);
        return;
    case MUSTER_TYPE_NUMBER:
        muster__clone_emit_number(emitter, value->number);
        return;
    case MUSTER_TYPE_STRING:
        emit_string(walk, value->text.data, value->text.length);
        return;
    case MUSTER_TYPE_BYTES:
        emit_bytes(walk, value);
        return;
    case MUSTER_TYPE_ERROR:
        emit_error(walk, value->error);
        return;
    case MUSTER_TYPE_ARRAY:
    case MUSTER_TYPE_OBJECT:
        open_container(walk, value);
        return;
    case MUSTER_TYPE_HOST_OBJECT:
        walk->fault = "an object of the host, which cannot be cloned";
        return;
    case MUSTER_TYPE_CLONE:
        walk->fault = "a message that is no tree, inside of a tree";
        return;
    }
}

static void next_of_container(struct value_walk *walk)
{
    struct value_frame *frame = &walk->frames[walk->depth - 1];
    if (frame->next == frame->container->container.count) {
        walk->depth--;
        return;
    }
    emit_value(walk, muster_value_at(frame->container, frame->next++));
}

/* Of the value that was emitted last. */
static void describe_value(const struct value_walk *walk, struct muster__clone_path *path)
{
    for (size_t i = 0; i < walk->depth; i++) {
        const struct value_frame *frame = &walk->frames[i];
        size_t at = frame->next == 0 ? 0 : frame->next - 1;
        struct muster_bytes key = muster_value_key_at(frame->container, at);
        if (frame->container->type == MUSTER_TYPE_OBJECT)
            muster__clone_path_key(path, key.data, key.length);
        else
            muster__clone_path_index(path, at);
    }
}

static const char *name_of_refusal(enum muster_clone_mode mode)
{
    return mode == MUSTER_CLONE_WEB ? "DataCloneError" : "TypeError";
}

static enum muster_status finish_value(struct value_walk *walk, struct muster_clone **ret_clone,
                                       struct muster_error *error)
{
    if (walk->fault != NULL && !walk->emitter.failed) {
        struct muster__clone_path path = {0};
        describe_value(walk, &path);
        muster_error_set(error, MUSTER_UNSUPPORTED, "clone: %s%s", walk->fault,
                         muster__clone_path_end(&path));
        if (error != NULL)
            error->name = muster__strdup(name_of_refusal(walk->options.mode));
        return MUSTER_UNSUPPORTED;
    }
    enum muster_status status =
        muster__clone_emit_finish(&walk->emitter, walk->side, walk->side_count, 0, ret_clone);
    if (status != MUSTER_OK)
        muster_error_set(error, status, "clone: out of memory while encoding");
    return status;
}

enum muster_status muster_clone_from_value(const struct muster_value *value,
                                           const struct muster_clone_writer_options *options,
                                           struct muster_clone **ret_clone, struct muster_error *error)
{
    struct value_walk walk = {.options = muster__clone_writer_options(options)};
    muster__clone_emit_start(&walk.emitter);
    emit_value(&walk, value);
    while (walk.depth > 0 && !walk.emitter.failed && walk.fault == NULL)
        next_of_container(&walk);
    enum muster_status status = finish_value(&walk, ret_clone, error);
    for (size_t i = 0; i < walk.side_count; i++) /* zeroed, if the message has them */
        muster_clone_buffer_clean_up(&walk.side[i]);
    free(walk.side);
    free(walk.frames);
    muster__clone_emit_clean_up(&walk.emitter);
    return status;
}

/* ---- what becomes less ---- */

/* Days since 1970 to a date of the Gregorian calendar, by its cycle of 400 years. */
static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468; /* from the first of March of the year 0 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153; /* from March */
    *ret_day = of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = (int64_t)year + era * 400 + (*ret_month <= 2);
}

bool muster__clone_date_text(double ms, char *ret_text)
{
    if (!(fabs(ms) <= 8.64e15))
        return false;
    int64_t whole = (int64_t)trunc(ms);
    int64_t days = whole / 86400000;
    int64_t rest = whole % 86400000;
    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    int64_t year;
    unsigned month;
    unsigned day;
    civil_from_days(days, &year, &month, &day);
    char year_text[12];
    snprintf(year_text, sizeof year_text, year >= 0 && year <= 9999 ? "%04d" : "%+07d", (int)year);
    unsigned in_day = (unsigned)rest;
    snprintf(ret_text, MUSTER__CLONE_DATE_ROOM, "%s-%02u-%02uT%02u:%02u:%02u.%03uZ", year_text,
             month % 100, day % 100, in_day / 3600000 % 100, in_day / 60000 % 60, in_day / 1000 % 60,
             in_day % 1000);
    return true;
}

void muster__clone_regexp_flags(unsigned flags, char ret_flags[9])
{
    static const char letters[] = "dgimsuvy";
    char *to = ret_flags;
    for (unsigned i = 0; i < 8; i++)
        if ((flags >> i & 1) != 0)
            *to++ = letters[i];
    *to = '\0';
}

struct muster_clone_value_options
muster__clone_value_options(const struct muster_clone_value_options *options)
{
    struct muster_clone_value_options whole = {0};
    if (options != NULL)
        memcpy(&whole, options, options->size < sizeof whole ? options->size : sizeof whole);
    if (whole.max_repeated == 0)
        whole.max_repeated = DEFAULT_REPEATED;
    return whole;
}

/* ---- to a value ---- */

struct frame {
    enum muster__clone_step step;
    uint32_t next;
    const struct muster_clone_node *node;
    struct muster_value *value; /* borrowed: its parent has it, or the walk if it is the first */
    struct muster_value *pair;  /* of a Map, the one that is being filled */
    size_t nodes;               /* below it, repeated ones counted again */
};

/* What an object of the document has become. */
struct known {
    struct muster_value *value; /* a reference: repaired keys may coincide, and replace a value.  NULL: new */
    size_t nodes;
    bool is_open;
};

struct tree_walk {
    struct muster_clone_value_options options;
    struct frame *frames;
    size_t depth;
    size_t frame_room;
    struct known *known;
    struct muster_value *root;
    size_t repeated;
    enum muster_status status;
    struct muster_error *error;
};

static bool is_lenient(const struct tree_walk *walk)
{
    return (walk->options.flags & MUSTER_CLONE_LENIENT) != 0;
}

static void describe(const struct tree_walk *walk, struct muster__clone_path *path)
{
    for (size_t i = 0; i < walk->depth; i++)
        muster__clone_path_step(path, walk->frames[i].node, walk->frames[i].step, walk->frames[i].next);
}

static struct muster_value *refuse(struct tree_walk *walk, const char *format, ...) MUSTER_PRINTF(2, 3);

/* "... at .a[3] has no counterpart in a muster_value"; NULL. */
static struct muster_value *refuse(struct tree_walk *walk, const char *format, ...)
{
    char text[100];
    va_list arguments;
    if (walk->status != MUSTER_OK)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct muster__clone_path path = {0};
    describe(walk, &path);
    walk->status = MUSTER_UNSUPPORTED;
    muster_error_set(walk->error, MUSTER_UNSUPPORTED,
                     "clone: %s%s has no counterpart in a muster_value", text,
                     muster__clone_path_end(&path));
    return NULL;
}

static struct muster_value *no_memory(struct tree_walk *walk)
{
    if (walk->status != MUSTER_OK)
        return NULL;
    walk->status = MUSTER_NO_MEMORY;
    muster_error_set(walk->error, MUSTER_NO_MEMORY, "clone: out of memory while making a value");
    return NULL;
}

static struct muster_value *or_no_memory(struct tree_walk *walk, struct muster_value *value)
{
    return value != NULL ? value : no_memory(walk);
}

/* U+FFFD takes as many bytes as a lone surrogate did. */
static void repair(char *text, size_t length)
{
    for (size_t i = 0; i + 2 < length; i++)
        if ((unsigned char)text[i] == 0xed && (unsigned char)text[i + 1] >= 0xa0)
            memcpy(text + i, "\xef\xbf\xbd", 3);
}

/* The text, repaired if it has lone surrogates and that is allowed; the caller frees `*ret_copy`. */
static bool plain_text(struct tree_walk *walk, struct muster_bytes text, bool has_surrogates,
                       struct muster_bytes *ret_text, char **ret_copy)
{
    *ret_copy = NULL;
    *ret_text = text;
    if (!has_surrogates)
        return true;
    if (!is_lenient(walk)) {
        refuse(walk, "a text with a lone surrogate");
        return false;
    }
    *ret_copy = muster__strndup(text.data, text.length);
    if (*ret_copy == NULL) {
        no_memory(walk);
        return false;
    }
    repair(*ret_copy, text.length);
    ret_text->data = *ret_copy;
    return true;
}

static struct muster_value *string_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    struct muster_bytes text;
    char *copy;
    if (!plain_text(walk, muster_clone_text(node), !muster_clone_text_is_utf8(node), &text, &copy))
        return NULL;
    struct muster_value *value = muster_value_new_string(text.data, text.length);
    free(copy);
    return or_no_memory(walk, value);
}

static struct muster_value *bigint_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    int64_t number;
    char *text = NULL;
    if (!is_lenient(walk))
        return refuse(walk, "a BigInt");
    if (muster_clone_bigint_to_int64(node, &number) && number >= -((int64_t)1 << 53) &&
        number <= (int64_t)1 << 53)
        return or_no_memory(walk, muster_value_new_number((double)number));
    enum muster_status status = muster_clone_bigint_to_text(node, &text);
    if (status == MUSTER_UNSUPPORTED)
        return refuse(walk, "a BigInt of %zu bytes", (size_t)node->length);
    struct muster_value *value = text == NULL ? NULL : muster_value_new_text(text);
    free(text);
    return or_no_memory(walk, value);
}

static struct muster_value *date_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    char text[MUSTER__CLONE_DATE_ROOM];
    double ms = muster_clone_number(node);
    if ((walk->options.flags & MUSTER_CLONE_DATE_AS_NUMBER) != 0)
        return or_no_memory(walk, muster_value_new_number(ms));
    if ((walk->options.flags & (MUSTER_CLONE_DATE_AS_TEXT | MUSTER_CLONE_LENIENT)) == 0)
        return refuse(walk, "a Date");
    return or_no_memory(walk, muster__clone_date_text(ms, text) ? muster_value_new_text(text)
                                                                : muster_value_new_null());
}

static struct muster_value *regexp_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    struct muster_clone_regexp regexp = {0};
    char flags[9];
    muster_clone_regexp(node, &regexp);
    struct muster_bytes source = muster_clone_text(regexp.source);
    size_t room = source.length + sizeof flags + 2;
    char *text = malloc(room);
    if (text == NULL)
        return no_memory(walk);
    muster__clone_regexp_flags(regexp.flags, flags);
    text[0] = '/';
    memcpy(text + 1, source.data, source.length);
    repair(text + 1, source.length);
    text[source.length + 1] = '/';
    memcpy(text + source.length + 2, flags, strlen(flags));
    struct muster_value *value = muster_value_new_string(text, source.length + 2 + strlen(flags));
    free(text);
    return or_no_memory(walk, value);
}

static char *part_text(struct tree_walk *walk, const struct muster_clone_node *node)
{
    if (node == NULL)
        return NULL;
    struct muster_bytes text = muster_clone_text(node);
    char *copy = muster__strndup(text.data, text.length);
    if (copy == NULL)
        no_memory(walk);
    else if (!muster_clone_text_is_utf8(node))
        repair(copy, text.length);
    return copy;
}

static struct muster_value *error_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    struct muster_clone_error from = {0};
    muster_clone_error(node, &from);
    if (!is_lenient(walk) && (from.cause != NULL || from.errors != NULL || from.quota != NULL ||
                              muster_clone_property_count(node) > 0))
        return refuse(walk, "an error with more than name, message and stack");
    struct muster_error error = {
        .status = MUSTER_SCRIPT_ERROR,
        .name = from.name != NULL ? part_text(walk, from.name)
                                  : muster__strdup(muster_clone_error_type_name(from.type)),
        .message = part_text(walk, from.message),
        .stack = part_text(walk, from.stack),
    };
    if (error.name == NULL)
        no_memory(walk);
    struct muster_value *value = walk->status == MUSTER_OK ? muster_value_new_error(&error) : NULL;
    muster_error_clean_up(&error);
    return or_no_memory(walk, value);
}

static struct muster_value *bytes_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    struct muster_clone_memory memory;
    struct muster_clone_view view = {0};
    if (muster_clone_memory(node, &memory))
        return or_no_memory(walk, muster_value_new_bytes(memory.bytes.data, memory.bytes.length));
    muster_clone_view(node, &view);
    return or_no_memory(walk, muster_value_new_bytes(view.bytes.data, view.bytes.length));
}

/* A container whose content comes later. */
static struct muster_value *container_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    bool is_object = node->type == MUSTER_CLONE_OBJECT;
    struct muster_value *value = is_object ? muster_value_new_object() : muster_value_new_array();
    if (value == NULL)
        return no_memory(walk);
    if (!muster__clone_make_room(&walk->frames, walk->depth, &walk->frame_room, sizeof *walk->frames)) {
        muster_value_release(value);
        return no_memory(walk);
    }
    walk->frames[walk->depth++] = (struct frame){
        .step = is_object                        ? MUSTER__CLONE_PROPERTIES
                : node->type == MUSTER_CLONE_MAP ? MUSTER__CLONE_PAIRS
                                                 : MUSTER__CLONE_ITEMS,
        .node = node,
        .value = value,
    };
    walk->known[*node->body] =
        (struct known){.value = muster_value_acquire(value), .is_open = true};
    return value;
}

static struct muster_value *array_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    size_t holes = muster_clone_length(node) - muster_clone_entry_count(node);
    if (!is_lenient(walk) && muster_clone_property_count(node) > 0)
        return refuse(walk, "an array with named properties");
    if (!is_lenient(walk) && holes > 0)
        return refuse(walk, "a sparse array");
    if (holes > walk->options.max_repeated - walk->repeated)
        return refuse(walk, "an array with %zu holes", holes);
    walk->repeated += holes; /* they cost no bytes either */
    return container_value(walk, node);
}

static struct muster_value *primitive_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    switch (node->type) {
    case MUSTER_CLONE_HOLE:
        if (!is_lenient(walk))
            return refuse(walk, "a hole");
        return or_no_memory(walk, muster_value_new_undefined());
    case MUSTER_CLONE_NULL:
        return or_no_memory(walk, muster_value_new_null());
    case MUSTER_CLONE_BOOLEAN:
        return or_no_memory(walk, muster_value_new_boolean(node->boolean));
    case MUSTER_CLONE_NUMBER:
        return or_no_memory(walk, muster_value_new_number(node->number));
    case MUSTER_CLONE_BIGINT:
        return bigint_value(walk, node);
    case MUSTER_CLONE_STRING:
        return string_value(walk, node);
    default:
        return or_no_memory(walk, muster_value_new_undefined());
    }
}

/* An object that is met for the first time. */
static struct muster_value *object_value(struct tree_walk *walk, const struct muster_clone_node *node)
{
    switch (node->type) {
    case MUSTER_CLONE_OBJECT:
        return container_value(walk, node);
    case MUSTER_CLONE_ARRAY:
        return array_value(walk, node);
    case MUSTER_CLONE_DATE:
        return date_value(walk, node);
    case MUSTER_CLONE_ERROR:
        return error_value(walk, node);
    case MUSTER_CLONE_BUFFER:
        return bytes_value(walk, node);
    case MUSTER_CLONE_HOST:
        return refuse(walk, "a host object");
    case MUSTER_CLONE_VIEW:
        if ((walk->options.flags & MUSTER_CLONE_VIEWS_AS_BYTES) != 0)
            return bytes_value(walk, node);
        break;
    default:
        break;
    }
    if (!is_lenient(walk))
        return refuse(walk, "a %s", muster_clone_type_name((enum muster_clone_type)node->type));
    switch (node->type) {
    case MUSTER_CLONE_MAP:
    case MUSTER_CLONE_SET:
        return container_value(walk, node);
    case MUSTER_CLONE_BOXED:
        return primitive_value(walk, muster_clone_boxed(node));
    case MUSTER_CLONE_REGEXP:
        return regexp_value(walk, node);
    case MUSTER_CLONE_DOMEXCEPTION:
        return error_value(walk, node);
    default:
        return bytes_value(walk, node);
    }
}

/* One that is there already: once more, if that stays within bounds. */
static struct muster_value *again(struct tree_walk *walk, const struct muster_clone_node *node)
{
    struct known *known = &walk->known[*node->body];
    if (known->is_open)
        return refuse(walk, "a cycle, closed by the %s",
                      muster_clone_type_name((enum muster_clone_type)node->type));
    if (known->nodes > walk->options.max_repeated - walk->repeated)
        return refuse(walk, "an object that is mentioned too often,");
    walk->repeated += known->nodes;
    if (walk->depth > 0)
        walk->frames[walk->depth - 1].nodes += known->nodes;
    return muster_value_acquire(known->value);
}

/* The value of a node, one reference; a container is still empty, with a frame that will fill it. */
static struct muster_value *value_of(struct tree_walk *walk, const struct muster_clone_node *node)
{
    if (!muster__clone_is_object(node)) {
        if (walk->depth > 0)
            walk->frames[walk->depth - 1].nodes++;
        return primitive_value(walk, node);
    }
    struct known *known = &walk->known[*node->body];
    if (known->value != NULL)
        return again(walk, node);
    size_t depth = walk->depth;
    struct muster_value *value = object_value(walk, node);
    if (walk->depth == depth) {
        *known = (struct known){.value = muster_value_acquire(value), .nodes = 1};
        if (depth > 0)
            walk->frames[depth - 1].nodes++;
    }
    return value;
}

/* A list's child; `target` is the frame's value, or the pair of a Map. */
static void attach_item(struct tree_walk *walk, struct muster_value *target, struct muster_value *take_item)
{
    if (take_item != NULL && muster_value_append(target, take_item) != MUSTER_OK)
        no_memory(walk);
}

static void next_item(struct tree_walk *walk, struct frame *frame)
{
    size_t length = frame->node->type == MUSTER_CLONE_ARRAY ? muster_clone_length(frame->node)
                                                            : muster_clone_entry_count(frame->node);
    if (frame->next == length) {
        walk->depth--;
        return;
    }
    const struct muster_clone_node *node = frame->node->type == MUSTER_CLONE_ARRAY
                                               ? muster_clone_item(frame->node, frame->next)
                                               : muster_clone_entry(frame->node, frame->next);
    struct muster_value *target = frame->value;
    frame->next++;
    attach_item(walk, target, value_of(walk, node));
}

static void next_of_pair(struct tree_walk *walk, struct frame *frame)
{
    uint32_t at = frame->next++;
    if (at / 2 == muster_clone_entry_count(frame->node)) {
        walk->depth--;
        return;
    }
    if (at % 2 == 0) {
        struct muster_value *pair = muster_value_new_array();
        frame->pair = pair; /* the list takes it, or frees it */
        attach_item(walk, frame->value, or_no_memory(walk, pair));
    }
    if (walk->status != MUSTER_OK)
        return;
    struct muster_value *target = frame->pair;
    const struct muster_clone_node *node = at % 2 == 0 ? muster_clone_entry_key(frame->node, at / 2)
                                                       : muster_clone_entry(frame->node, at / 2);
    attach_item(walk, target, value_of(walk, node));
}

static void next_property(struct tree_walk *walk, struct frame *frame)
{
    struct muster__clone_properties properties = muster__clone_properties_of(frame->node);
    if (properties.shape == NULL || frame->next == properties.shape->count) {
        walk->depth--;
        return;
    }
    uint32_t at = frame->next++;
    const struct muster__clone_key *key = &properties.shape->keys[at];
    struct muster_value *target = frame->value;
    struct muster_bytes text;
    char *copy;
    if (!plain_text(walk, (struct muster_bytes){key->text, key->length},
                    (key->flags & TEXT_SURROGATES) != 0, &text, &copy))
        return;
    struct muster_value *item = value_of(walk, &properties.values[at]);
    if (item != NULL && muster_value_set(target, text.data, text.length, item) != MUSTER_OK)
        no_memory(walk);
    free(copy);
}

/* Ends an object: from now on it may be mentioned again. */
static void settle(struct tree_walk *walk, const struct frame *frame)
{
    struct known *known = &walk->known[*frame->node->body];
    known->is_open = false;
    known->nodes = frame->nodes + 1;
    if (walk->depth > 0)
        walk->frames[walk->depth - 1].nodes += known->nodes;
}

static void fill(struct tree_walk *walk)
{
    size_t depth = walk->depth;
    struct frame *frame = &walk->frames[depth - 1];
    switch (frame->step) {
    case MUSTER__CLONE_ITEMS:
        next_item(walk, frame);
        break;
    case MUSTER__CLONE_PAIRS:
        next_of_pair(walk, frame);
        break;
    case MUSTER__CLONE_PROPERTIES:
        next_property(walk, frame);
        break;
    }
    if (walk->depth < depth)
        settle(walk, &walk->frames[depth - 1]);
}

enum muster_status muster_clone_to_value(const struct muster_clone_document *document,
                                         const struct muster_clone_node *node,
                                         const struct muster_clone_value_options *options,
                                         struct muster_value **ret_value, struct muster_error *error)
{
    if (document == NULL)
        return MUSTER_INVALID_ARGUMENT;
    struct tree_walk walk = {.options = muster__clone_value_options(options), .error = error};
    walk.known = calloc((size_t)document->object_count + 1, sizeof *walk.known);
    if (walk.known == NULL)
        no_memory(&walk);
    else
        walk.root = value_of(&walk, node == NULL ? &document->root : node);
    while (walk.depth > 0 && walk.status == MUSTER_OK)
        fill(&walk);
    for (uint32_t i = 0; walk.known != NULL && i < document->object_count; i++)
        muster_value_release(walk.known[i].value);
    free(walk.known);
    free(walk.frames);
    if (walk.status == MUSTER_OK)
        *ret_value = walk.root;
    else
        muster_value_release(walk.root);
    return walk.status;
}
