/* tests/fuzz_wire.c - libFuzzer target: any bytes are a frame or a refusal with a place, and what was
 * accepted encodes to the same bytes again.  The first byte says which side sends; an empty input and the
 * samples of tests/wire_samples.h go the same way, mixed into what the fuzzer invents. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "remote/wire.h"
#include "runtime/check.h"
#include "wire_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct muster__wire_scratch scratch;

static void go_round(const char *frame, size_t length, enum muster__wire_side from)
{
    struct muster__wire_message message;
    struct muster__wire_fault fault = {0};
    enum muster_status status = muster__wire_decode(frame, length, from, &scratch, &message, &fault);
    if (status != MUSTER_OK) {
        MUSTER_CHECK(fault.sentence[0] != 0 && fault.offset <= length);
        return;
    }
    struct muster__wire_buffer again = {0};
    MUSTER_CHECK(muster__wire_encode(&again, from, &message, &fault) == MUSTER_OK);
    MUSTER_CHECK(again.length == length && memcmp(again.data, frame, length) == 0);
    muster__wire_buffer_clean_up(&again);
}

/* Exactly as large as it says, so that the sanitizer sees a step too far. */
static void try_copy(const uint8_t *data, size_t size, enum muster__wire_side from, bool set_length)
{
    char *copy = malloc(size > 0 ? size : 1);
    MUSTER_CHECK(copy != NULL);
    memcpy(copy, data, size);
    if (set_length && size >= MUSTER__WIRE_HEADER) {
        uint32_t length = (uint32_t)size;
        memcpy(copy, &length, sizeof length);
    }
    go_round(copy, size, from);
    struct muster__wire_message piece;
    if (size >= MUSTER__WIRE_PIECE_HEADER)
        (void)!muster__wire_decode_piece_header(copy, from, &piece, NULL);
    free(copy);
}

/* A sample, with some of its bytes replaced: {which, (place, place, byte)...}. */
static void bend_sample(const uint8_t *data, size_t size)
{
    static struct sample samples[SAMPLE_LIMIT];
    static size_t count;
    if (count == 0)
        count = make_samples(samples);
    const struct sample *sample = &samples[data[0] % count];
    struct muster__wire_buffer frame = {0};
    MUSTER_CHECK(muster__wire_encode(&frame, sample->from, &sample->message, NULL) == MUSTER_OK);
    for (size_t i = 1; i + 3 <= size; i += 3)
        frame.data[(data[i] | data[i + 1] << 8) % frame.length] = (char)data[i + 2];
    try_copy((const uint8_t *)frame.data, frame.length, sample->from, false);
    muster__wire_buffer_clean_up(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum muster__wire_side from = data[0] % 2 == 0 ? MUSTER__WIRE_PARENT : MUSTER__WIRE_CHILD;
    if (data[0] >= 128)
        bend_sample(data + 1 - (size == 1), size - (size > 1));
    else
        try_copy(data + 1, (size - 1) & ~(size_t)7, from, data[0] % 4 >= 2);
    return 0;
}
