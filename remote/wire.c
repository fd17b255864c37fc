/* remote/wire.c - frames: their header, who may send which, and the way in and out of the codec.
 *
 * Thread: any.  Promise: whatever the bytes are, decoding answers with a message or with a sentence
 * that says what is wrong where; what it accepted encodes to the same bytes again. */
#include "remote/wire.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/wire_codec.h"

/* Statuses travel as their numbers in runtime/base.h: whoever inserts one there raises
 * MUSTER__WIRE_VERSION and the table in docs/wire.md. */
_Static_assert(MUSTER_STATUS_COUNT == 29 && MUSTER_SYSTEM == 26 && MUSTER_QUEUE_FULL == 18,
               "the numbers of statuses are part of the wire");

enum sender { PARENT = MUSTER__WIRE_PARENT, CHILD = MUSTER__WIRE_CHILD, BOTH = PARENT | CHILD };
enum actor_rule { ACTOR_NONE, ACTOR_OPENS, ACTOR_OPENER, ACTOR_ANSWERER, ACTOR_EITHER, ACTOR_ANY };
enum worker_rule { WORKER_NONE, WORKER_SOME, WORKER_ANY };

struct type {
    const char *name;
    uint8_t sender, actor, worker, flags;
    bool may_refuse;
};

static const struct type types[] = {
#define TYPE_ROW(symbol, number, who, actor_, worker_, flags_, refuse) \
    [number] = {#symbol, who, ACTOR_##actor_, WORKER_##worker_, flags_, refuse},
    MUSTER__WIRE_TYPE_LIST(TYPE_ROW)
#undef TYPE_ROW
};

static const struct type *type_of(unsigned type)
{
    return type < sizeof types / sizeof types[0] && types[type].name != NULL ? &types[type] : NULL;
}

const char *muster__wire_type_name(unsigned type)
{
    const struct type *known = type_of(type);
    return known != NULL ? known->name : "?";
}

bool muster__wire_may_refuse(enum muster__wire_type type)
{
    const struct type *known = type_of(type);
    return known != NULL && known->may_refuse;
}

uint64_t muster__wire_value_total(const struct muster__wire_value *value)
{
    if (!value->present)
        return 0;
    uint64_t total = value->bytes.length;
    for (uint32_t i = 0; i < value->buffer_count; i++)
        total += value->buffers[i].length;
    return total;
}

bool muster__wire_in_pieces(const struct muster__wire_message *message)
{
    return muster__wire_value_total(&message->value) > MUSTER__WIRE_INLINE;
}

size_t muster__wire_padding(size_t length)
{
    return (size_t)-length & 7;
}

/* ---- memory ---- */

void muster__wire_buffer_clean_up(struct muster__wire_buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

enum muster_status muster__wire_buffer_reserve(struct muster__wire_buffer *buffer, size_t more)
{
    if (more <= buffer->capacity - buffer->length)
        return MUSTER_OK;
    if (more > SIZE_MAX / 4 - buffer->length)
        return MUSTER_NO_MEMORY;
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : 4096;
    while (capacity - buffer->length < more)
        capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL)
        return MUSTER_NO_MEMORY;
    buffer->data = data;
    buffer->capacity = capacity;
    return MUSTER_OK;
}

void muster__wire_scratch_clean_up(struct muster__wire_scratch *scratch)
{
    free(scratch->memory);
    memset(scratch, 0, sizeof *scratch);
}

/* Room for every list that a frame of that length can announce.  No list grows faster than from 4
 * bytes of the frame (a buffer's length) to one struct muster_bytes, nor one of bindings (10 bytes)
 * or headers (8). */
static enum muster_status scratch_reserve(struct muster__wire_scratch *scratch, size_t length)
{
    size_t limit = MUSTER__WIRE_BUFFER_LIMIT * sizeof(struct muster_bytes) +
                   MUSTER__WIRE_HEADER_LIMIT * sizeof(struct muster_header) +
                   MUSTER__WIRE_PORT_LIMIT * sizeof(uint64_t) +
                   MUSTER__WIRE_NAME_LIMIT * (sizeof(struct muster__wire_binding) + sizeof(char *));
    _Static_assert(sizeof(struct muster_bytes) <= 16 && sizeof(struct muster_header) <= 32 &&
                       sizeof(struct muster__wire_binding) <= 40,
                   "four times the frame is enough");
    size_t needed = (length * 4 < limit ? length * 4 : limit) + 128;
    scratch->used = 0;
    if (needed <= scratch->capacity)
        return MUSTER_OK;
    free(scratch->memory);
    scratch->capacity = 0;
    scratch->memory = malloc(needed);
    if (scratch->memory == NULL)
        return MUSTER_NO_MEMORY;
    scratch->capacity = needed;
    return MUSTER_OK;
}

/* ---- the header ---- */

static enum muster__wire_side opener(uint64_t actor)
{
    return actor % 2 == 0 ? MUSTER__WIRE_PARENT : MUSTER__WIRE_CHILD;
}

static bool actor_fits(const struct type *type, enum muster__wire_side from, uint64_t actor)
{
    switch ((enum actor_rule)type->actor) {
    case ACTOR_NONE:
        return actor == 0;
    case ACTOR_OPENS:
    case ACTOR_OPENER:
        return actor != 0 && opener(actor) == from;
    case ACTOR_ANSWERER:
        return actor != 0 && opener(actor) != from;
    case ACTOR_EITHER:
        return actor != 0;
    case ACTOR_ANY:
        return true;
    }
    return false;
}

/* The opener sends the request's body and takes the answer's; the other way round for the answerer. */
static bool direction_fits(const struct muster__wire_message *message, enum muster__wire_side from)
{
    bool is_response = (message->flags & MUSTER__WIRE_FLAG_RESPONSE) != 0;
    bool is_opener = opener(message->actor) == from;
    switch (message->type) {
    case MUSTER__WIRE_BODY:
    case MUSTER__WIRE_BODY_END:
        return is_response != is_opener;
    case MUSTER__WIRE_BODY_CREDIT:
        return is_response == is_opener;
    default:
        return true;
    }
}

static void check_descriptors(struct muster__wire_codec *codec)
{
    const struct muster__wire_message *message = codec->message;
    muster__wire_require(codec, message->descriptor_count <= MUSTER__WIRE_DESCRIPTOR_LIMIT,
                         "a frame with too many descriptors");
    muster__wire_require(codec, (message->descriptor_count == 0) == (message->ticket == 0),
                         "descriptors without a ticket, or a ticket without descriptors");
    bool is_piece = message->type == MUSTER__WIRE_BODY || message->type == MUSTER__WIRE_VALUE_PIECE;
    muster__wire_require(codec, !is_piece || message->ticket == 0, "a piece with descriptors");
}

static void check_header(struct muster__wire_codec *codec)
{
    const struct muster__wire_message *message = codec->message;
    const struct type *type = type_of((unsigned)message->type);
    if (type == NULL) {
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "there is no message %u",
                          (unsigned)message->type);
        return;
    }
    if ((type->sender & codec->from) == 0)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s does not come from this side",
                          type->name);
    if ((message->flags & ~type->flags) != 0)
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s has no flag %u", type->name,
                          (unsigned)(message->flags & ~type->flags));
    if (type->worker != WORKER_ANY && (message->worker != 0) != (type->worker == WORKER_SOME))
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s with worker %u", type->name,
                          message->worker);
    if (!actor_fits(type, codec->from, message->actor))
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT,
                          "%s cannot come from this side with actor %llu", type->name,
                          (unsigned long long)message->actor);
    if (!direction_fits(message, codec->from))
        muster__wire_fail(codec, MUSTER_INVALID_ARGUMENT, "%s of the wrong body", type->name);
    check_descriptors(codec);
}

static void walk_header(struct muster__wire_codec *codec, uint32_t *length)
{
    struct muster__wire_message *message = codec->message;
    uint8_t type = (uint8_t)message->type;
    uint16_t descriptors = (uint16_t)message->descriptor_count;
    muster__wire_u32(codec, length);
    muster__wire_u8(codec, &type);
    muster__wire_u8(codec, &message->flags);
    muster__wire_u16(codec, &descriptors);
    muster__wire_u32(codec, &message->worker);
    muster__wire_u32(codec, &message->ticket);
    muster__wire_u64(codec, &message->actor);
    message->type = (enum muster__wire_type)type;
    message->descriptor_count = descriptors;
    check_header(codec);
}

/* ---- encoding ---- */

enum muster_status muster__wire_encode(struct muster__wire_buffer *buffer, enum muster__wire_side from,
                                       const struct muster__wire_message *message,
                                       struct muster__wire_fault *fault)
{
    struct muster__wire_message copy = *message;
    struct muster__wire_codec codec = {
        .fault = fault, .from = from, .message = &copy, .buffer = buffer, .start = buffer->length};
    uint32_t length = 0;
    muster__wire_require(&codec, message->descriptor_count <= MUSTER__WIRE_DESCRIPTOR_LIMIT,
                         "a message with too many descriptors");
    walk_header(&codec, &length);
    if (codec.status == MUSTER_OK)
        muster__wire_walk(&codec);
    muster__wire_align(&codec);
    if (codec.status != MUSTER_OK) {
        buffer->length = codec.start;
        return codec.status;
    }
    length = htole32((uint32_t)(buffer->length - codec.start));
    memcpy(buffer->data + codec.start, &length, sizeof length);
    return MUSTER_OK;
}

void muster__wire_encode_piece_header(char *header, enum muster__wire_type type, uint8_t flags,
                                      uint32_t worker, uint64_t actor, uint32_t length)
{
    MUSTER_CHECK(length >= 1 && length <= MUSTER__WIRE_PIECE);
    uint32_t whole =
        htole32(MUSTER__WIRE_PIECE_HEADER + length + (uint32_t)muster__wire_padding(length));
    uint32_t worker_le = htole32(worker), length_le = htole32(length);
    uint64_t actor_le = htole64(actor);
    memset(header, 0, MUSTER__WIRE_PIECE_HEADER);
    memcpy(header, &whole, 4);
    header[4] = (char)type;
    header[5] = (char)flags;
    memcpy(header + 8, &worker_le, 4);
    memcpy(header + 16, &actor_le, 8);
    memcpy(header + 24, &length_le, 4);
}

/* ---- decoding ---- */

size_t muster__wire_frame_length(const char *data, size_t available, struct muster__wire_fault *fault)
{
    uint32_t length;
    if (available < sizeof length)
        return 0;
    memcpy(&length, data, sizeof length);
    length = le32toh(length);
    if (length >= MUSTER__WIRE_HEADER && length <= MUSTER__WIRE_FRAME_LIMIT && length % 8 == 0)
        return length;
    if (fault != NULL) {
        fault->offset = 0;
        snprintf(fault->sentence, sizeof fault->sentence,
                 "a frame of %u bytes: it must be a multiple of 8 from %u to %u", length,
                 MUSTER__WIRE_HEADER, MUSTER__WIRE_FRAME_LIMIT);
    }
    return SIZE_MAX;
}

static void begin_reading(struct muster__wire_codec *codec, const char *frame, size_t length)
{
    uint32_t announced;
    codec->reading = true;
    codec->frame = frame;
    codec->end = length;
    memset(codec->message, 0, sizeof *codec->message);
    walk_header(codec, &announced);
}

enum muster_status muster__wire_decode_piece_header(const char *header, enum muster__wire_side from,
                                                    struct muster__wire_message *ret_message,
                                                    struct muster__wire_fault *fault)
{
    struct muster__wire_message message;
    struct muster__wire_codec codec = {.fault = fault, .from = from, .message = &message};
    uint32_t bytes = 0;
    size_t length = muster__wire_frame_length(header, MUSTER__WIRE_PIECE_HEADER, fault);
    if (length == SIZE_MAX)
        return MUSTER_INVALID_ARGUMENT;
    begin_reading(&codec, header, MUSTER__WIRE_PIECE_HEADER);
    muster__wire_u32(&codec, &bytes);
    muster__wire_align(&codec);
    muster__wire_require(&codec, bytes >= 1 && bytes <= MUSTER__WIRE_PIECE,
                         "a piece is empty or too long");
    muster__wire_require(&codec,
                         length == MUSTER__WIRE_PIECE_HEADER + bytes + muster__wire_padding(bytes),
                         "a piece that does not fill its frame");
    if (codec.status != MUSTER_OK)
        return codec.status;
    message.piece.bytes.length = bytes;
    *ret_message = message;
    return MUSTER_OK;
}

enum muster_status muster__wire_decode(const char *frame, size_t length, enum muster__wire_side from,
                                       struct muster__wire_scratch *scratch,
                                       struct muster__wire_message *ret_message,
                                       struct muster__wire_fault *fault)
{
    struct muster__wire_codec codec = {
        .fault = fault, .from = from, .message = ret_message, .scratch = scratch};
    size_t announced = muster__wire_frame_length(frame, length, fault);
    if (announced == SIZE_MAX)
        return MUSTER_INVALID_ARGUMENT;
    enum muster_status status = scratch_reserve(scratch, length);
    if (status != MUSTER_OK)
        return status;
    begin_reading(&codec, frame, length);
    muster__wire_require(&codec, announced == length,
                         "a frame that does not have the length it announces");
    if (codec.status == MUSTER_OK)
        muster__wire_walk(&codec);
    muster__wire_align(&codec);
    muster__wire_require(&codec, codec.position == length, "bytes behind the end of the message");
    return codec.status;
}
