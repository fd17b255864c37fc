/* remote/wire_codec.h - fields of messages, written and read by one and the same walk.  Internal to
 * remote/wire*.c.
 *
 * A walk names the fields of a message in order; the codec says whether that writes or reads them,
 * so that the two cannot drift apart.  Failure is sticky: after the first one every field does
 * nothing (and reads as zero), and the fault tells of the first.  Thread: that of the call of
 * muster__wire_encode or _decode.
 */
#ifndef MUSTER_WIRE_CODEC_H
#define MUSTER_WIRE_CODEC_H

#include "remote/wire.h"

struct muster__wire_codec {
    bool reading;
    enum muster_status status;
    struct muster__wire_fault *fault; /* may be NULL */
    enum muster__wire_side from;
    struct muster__wire_message *message;

    /* Reading: the frame. */
    const char *frame;
    size_t position, end;
    struct muster__wire_scratch *scratch;

    /* Writing: the frame begins at `start`. */
    struct muster__wire_buffer *buffer;
    size_t start;
};

/* The first failure, at the place the codec has reached. */
void muster__wire_fail(struct muster__wire_codec *codec, enum muster_status status, const char *format,
                       ...) MUSTER_PRINTF(3, 4);
/* As above, INVALID_ARGUMENT, unless it holds. */
void muster__wire_require(struct muster__wire_codec *codec, bool holds, const char *sentence);

void muster__wire_u8(struct muster__wire_codec *codec, uint8_t *field);
void muster__wire_u16(struct muster__wire_codec *codec, uint16_t *field);
void muster__wire_u32(struct muster__wire_codec *codec, uint32_t *field);
void muster__wire_u64(struct muster__wire_codec *codec, uint64_t *field);
void muster__wire_boolean(struct muster__wire_codec *codec, bool *field, const char *what);
/* One byte below `count`; for enums: pass the value, keep the answer. */
unsigned muster__wire_choice(struct muster__wire_codec *codec, unsigned value, unsigned count,
                             const char *what);
void muster__wire_status(struct muster__wire_codec *codec, enum muster_status *field);

/* Zeros up to a multiple of 8. */
void muster__wire_align(struct muster__wire_codec *codec);
/* Bytes behind a u32 of their number. */
void muster__wire_bytes(struct muster__wire_codec *codec, struct muster_bytes *field, const char *what);
/* Bytes whose number, in the field, is known. */
void muster__wire_raw(struct muster__wire_codec *codec, struct muster_bytes *field, const char *what);
/* As bytes, UTF-8 of at most `limit` bytes. */
void muster__wire_utf8(struct muster__wire_codec *codec, struct muster_bytes *field, size_t limit,
                       const char *what);
/* Terminated UTF-8; NULL if `optional`. */
void muster__wire_text(struct muster__wire_codec *codec, const char **field, bool optional,
                       const char *what);

void muster__wire_error(struct muster__wire_codec *codec);
void muster__wire_value(struct muster__wire_codec *codec, struct muster__wire_value *field);
/* A list of numbers, at most `limit`. */
void muster__wire_numbers(struct muster__wire_codec *codec, const uint64_t **numbers, size_t *count,
                          uint32_t limit, const char *what);
void muster__wire_headers(struct muster__wire_codec *codec, const struct muster_header **headers,
                          size_t *count);
void muster__wire_arguments(struct muster__wire_codec *codec, const char *const **arguments,
                            size_t *count);
void muster__wire_bindings(struct muster__wire_codec *codec,
                           const struct muster__wire_binding **bindings, size_t *count);

/* Writes or reads the payload of codec->message, whose header is known. */
void muster__wire_walk(struct muster__wire_codec *codec);

#endif
