/* remote/wire_fields.c - the kinds of fields that messages are made of.
 *
 * Thread: the caller's.  Promise: reading stays inside the frame, whatever the frame says, and
 * takes from the scratch no more than a bounded multiple of the frame's size; writing makes nothing
 * that reading refuses. */
#include <endian.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "remote/wire_codec.h"
#include "runtime/utf8.h"

#define NO_TEXT 0xffffffffu

void muster__wire_fail(struct muster__wire_codec *codec, enum muster_status status, const char *format,
                       ...)
{
    if (codec->status != MUSTER_OK)
        return;
    codec->status = status;
    if (codec->fault == NULL)
        return;
    codec->fault->offset = codec->reading ? codec->position : codec->buffer->length - codec->start;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(codec->fault->sentence, sizeof codec->fault->sentence, format, arguments);
    va_end(arguments);
}

void muster__wire_require(struct muster__wire_codec *codec, bool holds, const char *sentence)
{
    if (!holds)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s", sentence);
}

/* ---- bytes ---- */

/* The next `length` bytes of the frame; NULL: there are not so many. */
static const char *take(struct muster__wire_codec *codec, size_t length, const char *what)
{
    if (codec->status != MUSTER_OK)
        return NULL;
    if (length > codec->end - codec->position) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT,
                          "%s needs %zu bytes, and the frame has %zu more", what, length,
                          codec->end - codec->position);
        return NULL;
    }
    const char *data = codec->frame + codec->position;
    codec->position += length;
    return data;
}

/* Room for `length` bytes more in the frame. */
static char *make(struct muster__wire_codec *codec, size_t length)
{
    if (codec->status != MUSTER_OK)
        return NULL;
    struct muster__wire_buffer *buffer = codec->buffer;
    if (length > MUSTER__WIRE_FRAME_LIMIT - 8 - (buffer->length - codec->start)) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT,
                          "the message is larger than a frame of %u bytes", MUSTER__WIRE_FRAME_LIMIT);
        return NULL;
    }
    if (length > buffer->capacity - buffer->length) {
        enum muster_status status = muster__wire_buffer_reserve(buffer, length);
        if (status != MUSTER_OK) {
            muster__wire_fail(codec, status, "no memory for the frame");
            return NULL;
        }
    }
    char *data = buffer->data + buffer->length;
    buffer->length += length;
    return data;
}

static void put(struct muster__wire_codec *codec, const void *data, size_t length)
{
    char *to = make(codec, length);
    if (to != NULL && length > 0)
        memcpy(to, data, length);
}

/* Lowest byte first. */
static inline uint64_t sized_number(struct muster__wire_codec *codec, uint64_t value, size_t size)
{
    uint64_t raw = htole64(value);
    if (!codec->reading) {
        put(codec, &raw, size);
        return value;
    }
    const char *data = take(codec, size, size == 1 ? "a byte" : "a number");
    raw = 0;
    if (data != NULL)
        memcpy(&raw, data, size);
    return le64toh(raw);
}

void muster__wire_u8(struct muster__wire_codec *codec, uint8_t *field)
{
    *field = (uint8_t)sized_number(codec, *field, sizeof *field);
}

void muster__wire_u16(struct muster__wire_codec *codec, uint16_t *field)
{
    *field = (uint16_t)sized_number(codec, *field, sizeof *field);
}

void muster__wire_u32(struct muster__wire_codec *codec, uint32_t *field)
{
    *field = (uint32_t)sized_number(codec, *field, sizeof *field);
}

void muster__wire_u64(struct muster__wire_codec *codec, uint64_t *field)
{
    *field = sized_number(codec, *field, sizeof *field);
}

unsigned muster__wire_choice(struct muster__wire_codec *codec, unsigned value, unsigned count,
                             const char *what)
{
    uint8_t byte = (uint8_t)value;
    if (!codec->reading && value >= count)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s is %u, and %u is the highest", what,
                          value, count - 1);
    muster__wire_u8(codec, &byte);
    if (codec->reading && byte >= count) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s is %u, and %u is the highest", what, byte,
                          count - 1);
        return 0;
    }
    return byte;
}

void muster__wire_boolean(struct muster__wire_codec *codec, bool *field, const char *what)
{
    *field = muster__wire_choice(codec, *field, 2, what) != 0;
}

void muster__wire_status(struct muster__wire_codec *codec, enum muster_status *field)
{
    *field = (enum muster_status)muster__wire_choice(codec, (unsigned)*field, MUSTER_STATUS_COUNT,
                                                     "a status");
}

void muster__wire_align(struct muster__wire_codec *codec)
{
    static const char zeros[8];
    if (!codec->reading) {
        put(codec, zeros, muster__wire_padding(codec->buffer->length - codec->start));
        return;
    }
    size_t length = muster__wire_padding(codec->position);
    const char *data = take(codec, length, "padding");
    if (data != NULL && memcmp(data, zeros, length) != 0)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "padding is not zero");
}

void muster__wire_raw(struct muster__wire_codec *codec, struct muster_bytes *field, const char *what)
{
    if (!codec->reading) {
        put(codec, field->data, field->length);
        return;
    }
    field->data = take(codec, field->length, what);
    if (field->data == NULL)
        field->length = 0;
}

void muster__wire_bytes(struct muster__wire_codec *codec, struct muster_bytes *field, const char *what)
{
    uint32_t length = field->length <= UINT32_MAX ? (uint32_t)field->length : UINT32_MAX;
    muster__wire_u32(codec, &length);
    field->length = length;
    muster__wire_raw(codec, field, what);
}

/* ---- text ---- */

/* Length of the longest prefix that is UTF-8. */
static size_t utf8_prefix(const char *text, size_t length)
{
    const unsigned char *data = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        uint64_t word;
        if (length - i >= sizeof word) {
            memcpy(&word, data + i, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t size = muster__utf8_sequence(data + i, length - i);
        if (size == 0)
            break;
        i += size;
    }
    return i;
}

/* Writes what of the text is UTF-8, and U+FFFD for each byte that is not, up to `limit` bytes. */
static void put_repaired(struct muster__wire_codec *codec, const char *text, size_t length,
                         size_t limit)
{
    size_t left = limit;
    while (length > 0 && left > 0 && codec->status == MUSTER_OK) {
        size_t good = utf8_prefix(text, length < left ? length : left);
        put(codec, text, good);
        left -= good;
        text += good;
        length -= good;
        /* What stopped it is the limit, or a bad byte. */
        if (length == 0 || left < 3 || muster__utf8_sequence((const unsigned char *)text, length) > left)
            return;
        if (muster__utf8_sequence((const unsigned char *)text, length) == 0) {
            put(codec, "\xef\xbf\xbd", 3);
            left -= 3;
            text++;
            length--;
        }
    }
}

static void put_utf8(struct muster__wire_codec *codec, const char *text, size_t length, size_t limit)
{
    if (codec->status != MUSTER_OK)
        return;
    size_t at = codec->buffer->length;
    uint32_t written = (uint32_t)(length <= limit ? length : 0);
    muster__wire_u32(codec, &written);
    if (length <= limit && utf8_prefix(text, length) == length) {
        put(codec, text, length);
        return;
    }
    put_repaired(codec, text, length, limit);
    if (codec->status != MUSTER_OK)
        return;
    written = htole32((uint32_t)(codec->buffer->length - at - sizeof written));
    memcpy(codec->buffer->data + at, &written, sizeof written);
}

static const char *take_utf8(struct muster__wire_codec *codec, size_t length, size_t limit,
                             const char *what)
{
    if (length > limit) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s has %zu bytes, and may have %zu", what,
                          length, limit);
        return NULL;
    }
    const char *data = take(codec, length, what);
    if (data == NULL)
        return NULL;
    size_t good = utf8_prefix(data, length);
    if (good < length) {
        codec->position -= length - good;
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s is not UTF-8", what);
        return NULL;
    }
    return data;
}

void muster__wire_utf8(struct muster__wire_codec *codec, struct muster_bytes *field, size_t limit,
                       const char *what)
{
    if (!codec->reading) {
        put_utf8(codec, field->data, field->length, limit);
        return;
    }
    uint32_t length = 0;
    muster__wire_u32(codec, &length);
    const char *data = take_utf8(codec, length, limit, what);
    *field = (struct muster_bytes){data, data != NULL ? length : 0};
}

static void put_text(struct muster__wire_codec *codec, const char *text, bool optional, size_t limit,
                     const char *what)
{
    uint32_t none = NO_TEXT;
    if (text != NULL) {
        put_utf8(codec, text, strlen(text), limit);
        put(codec, "", 1);
    } else if (optional) {
        muster__wire_u32(codec, &none);
    } else {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s is missing", what);
    }
}

static const char *take_text(struct muster__wire_codec *codec, bool optional, size_t limit,
                             const char *what)
{
    uint32_t length = 0;
    muster__wire_u32(codec, &length);
    if (codec->status != MUSTER_OK || (optional && length == NO_TEXT))
        return NULL;
    const char *data = take_utf8(codec, length, limit, what);
    const char *end = take(codec, 1, what);
    if (data == NULL || end == NULL)
        return NULL;
    if (memchr(data, 0, length) != NULL || *end != 0) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s does not end with its only NUL", what);
        return NULL;
    }
    return data;
}

static void text(struct muster__wire_codec *codec, const char **field, bool optional, size_t limit,
                 const char *what)
{
    if (codec->reading)
        *field = take_text(codec, optional, limit, what);
    else
        put_text(codec, *field, optional, limit, what);
}

void muster__wire_text(struct muster__wire_codec *codec, const char **field, bool optional,
                       const char *what)
{
    text(codec, field, optional, MUSTER__WIRE_FRAME_LIMIT, what);
}

/* ---- things made of fields ---- */

static void positive(struct muster__wire_codec *codec, int *field, const char *what)
{
    uint32_t number = *field > 0 ? (uint32_t)*field : 0;
    muster__wire_u32(codec, &number);
    if (number > INT_MAX)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s is out of range", what);
    *field = number > INT_MAX ? 0 : (int)number;
}

static void error_text(struct muster__wire_codec *codec, char **field, const char *what)
{
    const char *borrowed = *field;
    text(codec, &borrowed, true, MUSTER__WIRE_TEXT_LIMIT, what);
    *field = (char *)borrowed;
}

void muster__wire_error(struct muster__wire_codec *codec)
{
    struct muster__wire_message *message = codec->message;
    muster__wire_boolean(codec, &message->has_error, "whether there is an error");
    if (!message->has_error || codec->status != MUSTER_OK)
        return;
    struct muster_error *error = &message->error;
    muster__wire_status(codec, &error->status);
    positive(codec, &error->line, "an error's line");
    positive(codec, &error->column, "an error's column");
    error_text(codec, &error->name, "an error's name");
    error_text(codec, &error->message, "an error's message");
    error_text(codec, &error->file, "an error's file");
    error_text(codec, &error->stack, "an error's stack");
}

/* Memory for a list of what was announced.  The caller checked that the frame can hold so many, and
 * decode reserved enough for all that a frame can hold. */
static void *list(struct muster__wire_codec *codec, size_t count, size_t size)
{
    struct muster__wire_scratch *scratch = codec->scratch;
    MUSTER_CHECK(count * size <= scratch->capacity - scratch->used);
    void *memory = (char *)scratch->memory + scratch->used;
    scratch->used += (count * size + 15) & ~(size_t)15;
    return memory;
}

/* How many of something follow; each takes at least `least` bytes. */
static size_t counted(struct muster__wire_codec *codec, size_t count, uint32_t limit, size_t least,
                      const char *what)
{
    uint32_t number = count <= limit ? (uint32_t)count : UINT32_MAX;
    if (!codec->reading && count > limit)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%zu %s are more than %u", count, what,
                          limit);
    muster__wire_u32(codec, &number);
    if (codec->status != MUSTER_OK)
        return 0;
    if (codec->reading && (number > limit || number > (codec->end - codec->position) / least)) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "there cannot be %u %s", number, what);
        return 0;
    }
    return number;
}

static struct muster_bytes *part(struct muster__wire_value *value, struct muster_bytes *buffers,
                                 uint32_t i)
{
    return i == 0 ? &value->bytes : &buffers[i - 1];
}

static uint64_t value_lengths(struct muster__wire_codec *codec, struct muster__wire_value *value,
                              struct muster_bytes *buffers)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i <= value->buffer_count && codec->status == MUSTER_OK; i++) {
        struct muster_bytes *bytes = part(value, buffers, i);
        uint32_t length = bytes->length <= UINT32_MAX ? (uint32_t)bytes->length : UINT32_MAX;
        muster__wire_u32(codec, &length);
        total += length;
        muster__wire_require(codec, total <= MUSTER__WIRE_VALUE_LIMIT, "a value is too large");
        if (codec->reading)
            *bytes = (struct muster_bytes){NULL, length};
    }
    return total;
}

static void value_inline(struct muster__wire_codec *codec, struct muster__wire_value *value,
                         struct muster_bytes *buffers)
{
    for (uint32_t i = 0; i <= value->buffer_count && codec->status == MUSTER_OK; i++) {
        struct muster_bytes *bytes = part(value, buffers, i);
        muster__wire_align(codec);
        muster__wire_raw(codec, bytes, "a value");
    }
}

void muster__wire_value(struct muster__wire_codec *codec, struct muster__wire_value *field)
{
    size_t parts = field->present ? (size_t)field->buffer_count + 1 : 0;
    parts = counted(codec, parts, MUSTER__WIRE_BUFFER_LIMIT + 1, sizeof(uint32_t), "parts of a value");
    if (codec->status != MUSTER_OK || parts == 0)
        return;
    struct muster_bytes *buffers = (struct muster_bytes *)field->buffers;
    if (codec->reading) {
        field->present = true;
        field->buffer_count = (uint32_t)parts - 1;
        buffers = parts > 1 ? list(codec, parts - 1, sizeof *buffers) : NULL;
        if (buffers != NULL)
            memset(buffers, 0, (parts - 1) * sizeof *buffers);
        field->buffers = buffers;
    }
    if (value_lengths(codec, field, buffers) <= MUSTER__WIRE_INLINE)
        value_inline(codec, field, buffers);
}

void muster__wire_numbers(struct muster__wire_codec *codec, const uint64_t **numbers, size_t *count,
                          uint32_t limit, const char *what)
{
    *count = counted(codec, *count, limit, sizeof(uint64_t), what);
    uint64_t *made = codec->reading ? list(codec, *count, sizeof *made) : NULL;
    for (size_t i = 0; i < *count; i++) {
        uint64_t number = codec->reading ? 0 : (*numbers)[i];
        muster__wire_u64(codec, &number);
        if (codec->reading)
            made[i] = number;
    }
    if (codec->reading)
        *numbers = made;
}

void muster__wire_headers(struct muster__wire_codec *codec, const struct muster_header **headers,
                          size_t *count)
{
    *count = counted(codec, *count, MUSTER__WIRE_HEADER_LIMIT, 2 * sizeof(uint32_t), "headers");
    struct muster_header *made = codec->reading ? list(codec, *count, sizeof *made) : NULL;
    for (size_t i = 0; i < *count; i++) {
        struct muster_header header = {0};
        if (!codec->reading)
            header = (*headers)[i];
        muster__wire_bytes(codec, &header.name, "a header's name");
        muster__wire_bytes(codec, &header.value, "a header's value");
        if (codec->reading)
            made[i] = header;
    }
    if (codec->reading)
        *headers = made;
}

void muster__wire_arguments(struct muster__wire_codec *codec, const char *const **arguments,
                            size_t *count)
{
    *count = counted(codec, *count, MUSTER__WIRE_NAME_LIMIT, sizeof(uint32_t) + 1, "arguments");
    const char **made = codec->reading ? list(codec, *count + 1, sizeof *made) : NULL;
    for (size_t i = 0; i < *count; i++) {
        const char *argument = codec->reading ? NULL : (*arguments)[i];
        muster__wire_text(codec, &argument, false, "an argument");
        if (codec->reading)
            made[i] = argument;
    }
    if (codec->reading) {
        made[*count] = NULL;
        *arguments = made;
    }
}

void muster__wire_bindings(struct muster__wire_codec *codec,
                           const struct muster__wire_binding **bindings, size_t *count)
{
    *count = counted(codec, *count, MUSTER__WIRE_NAME_LIMIT, 2 * sizeof(uint32_t) + 2, "bindings");
    struct muster__wire_binding *made = codec->reading ? list(codec, *count, sizeof *made) : NULL;
    for (size_t i = 0; i < *count; i++) {
        struct muster__wire_binding binding = {0};
        if (!codec->reading)
            binding = (*bindings)[i];
        muster__wire_text(codec, &binding.path, false, "a binding's path");
        muster__wire_boolean(codec, &binding.is_function, "whether a binding is a function");
        muster__wire_bytes(codec, &binding.value, "a binding's value");
        muster__wire_require(codec, !binding.is_function || binding.value.length == 0,
                             "a binding is a function and has a value");
        if (codec->reading)
            made[i] = binding;
    }
    if (codec->reading)
        *bindings = made;
}
