/* tests/test_wire.c - frames: each message goes round; what is cut, bent or forged is refused with a place.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "remote/wire.h"
#include "runtime/check.h"
#include "wire_samples.h"

static struct sample samples[SAMPLE_LIMIT];
static size_t sample_count;

static struct muster__wire_buffer encode(const struct sample *sample)
{
    struct muster__wire_buffer buffer = {0};
    struct muster__wire_fault fault = {0};
    enum muster_status status = muster__wire_encode(&buffer, sample->from, &sample->message, &fault);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", muster__wire_type_name(sample->message.type),
                  fault.sentence);
    return buffer;
}

/* Decodes a copy of exactly that size, so that a step too far is seen.  OK: it encodes to the same bytes. */
static enum muster_status try_frame(const char *data, size_t length, enum muster__wire_side from)
{
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_fault fault = {0};
    struct muster__wire_message message;
    char *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, data, length);
    enum muster_status status = muster__wire_decode(copy, length, from, &scratch, &message, &fault);
    if (status == MUSTER_OK) {
        struct muster__wire_buffer again = {0};
        ck_assert_int_eq(muster__wire_encode(&again, from, &message, &fault), MUSTER_OK);
        ck_assert_uint_eq(again.length, length);
        ck_assert_int_eq(memcmp(again.data, data, length), 0);
        muster__wire_buffer_clean_up(&again);
    } else {
        ck_assert_int_eq(status, MUSTER_INVALID_ARGUMENT);
        ck_assert_uint_gt(strlen(fault.sentence), 0);
        ck_assert_uint_le(fault.offset, length);
    }
    free(copy);
    muster__wire_scratch_clean_up(&scratch);
    return status;
}

static void set_length(char *frame, uint32_t length)
{
    memcpy(frame, &length, sizeof length);
}

/* The place at which `needle` is in the frame. */
static char *find(struct muster__wire_buffer *frame, const char *needle, size_t length)
{
    char *at = memmem(frame->data, frame->length, needle, length);
    ck_assert_ptr_nonnull(at);
    return at;
}

/* Decodes what must be refused, and says why. */
static const char *refusal(const struct muster__wire_buffer *frame, enum muster__wire_side from)
{
    static struct muster__wire_fault fault;
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message message;
    ck_assert_int_eq(muster__wire_decode(frame->data, frame->length, from, &scratch, &message, &fault),
                     MUSTER_INVALID_ARGUMENT);
    muster__wire_scratch_clean_up(&scratch);
    return fault.sentence;
}

static void says(const char *sentence, const char *part)
{
    ck_assert_msg(strstr(sentence, part) != NULL, "\"%s\" does not say \"%s\"", sentence, part);
}

/* ---- every message ---- */

START_TEST(every_message_goes_round)
{
    struct muster__wire_buffer frame = encode(&samples[_i]);
    ck_assert_uint_eq(frame.length % 8, 0);
    ck_assert_uint_eq(muster__wire_frame_length(frame.data, 8, NULL), frame.length);
    ck_assert_int_eq(try_frame(frame.data, frame.length, samples[_i].from), MUSTER_OK);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(every_prefix_of_a_frame_is_refused)
{
    struct muster__wire_buffer frame = encode(&samples[_i]);
    for (size_t length = 0; length < frame.length; length++)
        ck_assert_int_eq(try_frame(frame.data, length, samples[_i].from), MUSTER_INVALID_ARGUMENT);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

/* The header says the shorter length, so that the fields themselves find that they are cut. */
START_TEST(every_frame_that_was_cut_and_says_so_is_refused)
{
    struct muster__wire_buffer frame = encode(&samples[_i]);
    for (size_t length = MUSTER__WIRE_HEADER; length < frame.length; length += 8) {
        set_length(frame.data, (uint32_t)length);
        ck_assert_int_eq(try_frame(frame.data, length, samples[_i].from), MUSTER_INVALID_ARGUMENT);
    }
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(every_frame_with_bytes_behind_it_is_refused)
{
    struct muster__wire_buffer frame = encode(&samples[_i]);
    ck_assert_int_eq(muster__wire_buffer_reserve(&frame, 8), MUSTER_OK);
    memset(frame.data + frame.length, 0, 8);
    set_length(frame.data, (uint32_t)frame.length + 8);
    ck_assert_int_eq(try_frame(frame.data, frame.length + 8, samples[_i].from),
                     MUSTER_INVALID_ARGUMENT);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

/* What is still a message is exactly the one that the bytes say. */
START_TEST(a_flipped_bit_is_refused_or_is_another_message)
{
    struct muster__wire_buffer frame = encode(&samples[_i]);
    for (size_t bit = 0; bit < frame.length * 8; bit++) {
        frame.data[bit / 8] ^= (char)(1 << bit % 8);
        (void)try_frame(frame.data, frame.length, samples[_i].from);
        frame.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

/* Every u32 of a frame in turn says that very much follows. */
START_TEST(a_count_or_length_that_is_a_lie_is_refused_or_is_another_number)
{
    static const uint32_t lies[] = {0,          1,          0x7fffffff, 0x80000000,
                                    0xfffffffe, 0xffffffff, 1 << 20,    1 << 16};
    struct muster__wire_buffer frame = encode(&samples[_i]);
    for (size_t at = 0; at + 4 <= frame.length; at++)
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            char kept[4];
            memcpy(kept, frame.data + at, 4);
            memcpy(frame.data + at, &lies[i], 4);
            (void)try_frame(frame.data, frame.length, samples[_i].from);
            memcpy(frame.data + at, kept, 4);
        }
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(each_side_may_send_only_what_is_its_own)
{
    const struct sample *sample = &samples[_i];
    struct muster__wire_buffer frame = encode(sample);
    enum muster__wire_side other = MUSTER__WIRE_PARENT + MUSTER__WIRE_CHILD - sample->from;
    bool is_both = false;
    switch (sample->message.type) {
    case MUSTER__WIRE_HELLO:
    case MUSTER__WIRE_VALUE_PIECE:
    case MUSTER__WIRE_BODY_ABORT:
    case MUSTER__WIRE_PORT_MESSAGE:
    case MUSTER__WIRE_PORT_CREDIT: is_both = true; break;
    case MUSTER__WIRE_PORT_CLOSE: is_both = sample->message.flags != MUSTER__WIRE_FLAG_MOVED; break;
    default: break;
    }
    ck_assert_int_eq(try_frame(frame.data, frame.length, other),
                     is_both ? MUSTER_OK : MUSTER_INVALID_ARGUMENT);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(there_is_a_sample_of_each_type)
{
    for (unsigned type = 0; type < 256; type++) {
        bool found = false;
        for (size_t i = 0; i < sample_count; i++)
            found = found || samples[i].message.type == type;
        ck_assert_msg(found == (strcmp(muster__wire_type_name(type), "?") != 0), "type %u", type);
    }
}
END_TEST

/* ---- what is read ---- */

START_TEST(a_request_arrives_with_all_that_was_said)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_fetch(MUSTER__WIRE_BODY_WHOLE)};
    struct muster__wire_buffer frame = encode(&sample);
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message m;
    ck_assert_int_eq(
        muster__wire_decode(frame.data, frame.length, MUSTER__WIRE_PARENT, &scratch, &m, NULL),
        MUSTER_OK);
    ck_assert_uint_eq(m.worker, 7);
    ck_assert_uint_eq(m.actor, 1000);
    ck_assert_int_eq(m.request.kind, MUSTER__REQUEST_FETCH);
    ck_assert_str_eq(m.request.name, "fetch");
    ck_assert_ptr_null(m.request.scope);
    ck_assert_uint_eq(m.request.deadline_us, 123456789);
    ck_assert_uint_eq(m.request.started_word, 41);
    ck_assert(m.request.idempotent);
    ck_assert_uint_eq(m.request.header_count, 3);
    ck_assert_mem_eq(m.request.headers[2].name.data, "set-cookie", 10);
    ck_assert_mem_eq(m.request.headers[2].value.data, "a=\xe9", 3);
    ck_assert_uint_eq(m.request.headers[1].value.length, 0);
    ck_assert_mem_eq(m.request.url.data, "http://127.0.0.1:8080/a?b=c", m.request.url.length);
    ck_assert_mem_eq(m.value.bytes.data, "the body", 8);
    ck_assert_uint_eq((uintptr_t)(m.value.bytes.data - frame.data) % 8, 0);
    muster__wire_scratch_clean_up(&scratch);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(a_start_arrives_with_its_lists)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_start()};
    struct muster__wire_buffer frame = encode(&sample);
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message m;
    ck_assert_int_eq(
        muster__wire_decode(frame.data, frame.length, MUSTER__WIRE_PARENT, &scratch, &m, NULL),
        MUSTER_OK);
    ck_assert_uint_eq(m.start.argument_count, 3);
    ck_assert_str_eq(m.start.arguments[2], "na\xc3\xafve");
    ck_assert_ptr_null(m.start.arguments[3]);
    ck_assert_uint_eq(m.start.binding_count, 2);
    ck_assert_str_eq(m.start.bindings[1].path, "db.version");
    ck_assert(!m.start.bindings[1].is_function);
    ck_assert_uint_eq(m.start.bindings[1].value.length, 3);
    ck_assert_uint_eq(m.value.buffer_count, 1);
    ck_assert_mem_eq(m.value.buffers[0].data, "0123456789", 10);
    muster__wire_scratch_clean_up(&scratch);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(an_error_arrives_whole)
{
    struct sample sample = {MUSTER__WIRE_CHILD, sample_result(1000, 1)};
    struct muster__wire_buffer frame = encode(&sample);
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message m;
    ck_assert_int_eq(
        muster__wire_decode(frame.data, frame.length, MUSTER__WIRE_CHILD, &scratch, &m, NULL),
        MUSTER_OK);
    ck_assert(m.has_error);
    ck_assert_int_eq(m.error.status, MUSTER_SCRIPT_ERROR);
    ck_assert_str_eq(m.error.name, "TypeError");
    ck_assert_ptr_null(m.error.file);
    ck_assert_int_eq(m.error.line, 12);
    ck_assert_int_eq(m.error.column, 7);
    ck_assert_str_eq(m.error.stack, sample_error().stack);
    muster__wire_scratch_clean_up(&scratch);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(a_large_value_is_declared_and_stays_out_of_the_frame)
{
    static char large[MUSTER__WIRE_INLINE];
    struct muster_bytes one = {"x", 1};
    struct sample sample = {MUSTER__WIRE_PARENT, sample_request(MUSTER__WIRE_REQUEST)};
    sample.message.value = (struct muster__wire_value){true, {large, sizeof large}, NULL, 0};
    struct muster__wire_buffer frame = encode(&sample);
    ck_assert(!muster__wire_in_pieces(&sample.message));
    ck_assert_uint_gt(frame.length, sizeof large);
    muster__wire_buffer_clean_up(&frame);

    sample.message.value = (struct muster__wire_value){true, {large, sizeof large}, &one, 1};
    ck_assert(muster__wire_in_pieces(&sample.message));
    frame = encode(&sample);
    ck_assert_uint_lt(frame.length, 200);
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message m;
    ck_assert_int_eq(
        muster__wire_decode(frame.data, frame.length, MUSTER__WIRE_PARENT, &scratch, &m, NULL),
        MUSTER_OK);
    ck_assert(muster__wire_in_pieces(&m));
    ck_assert_ptr_null(m.value.bytes.data);
    ck_assert_uint_eq(m.value.bytes.length, sizeof large);
    ck_assert_uint_eq(m.value.buffers[0].length, 1);
    muster__wire_scratch_clean_up(&scratch);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(the_header_of_a_piece_is_that_of_its_frame)
{
    for (uint32_t length = 1; length <= 17; length++) {
        static char bytes[17];
        struct sample sample = {MUSTER__WIRE_CHILD, sample_stream(MUSTER__WIRE_VALUE_PIECE, 1000, 0)};
        sample.message.piece.bytes = (struct muster_bytes){bytes, length};
        struct muster__wire_buffer frame = encode(&sample);
        char header[MUSTER__WIRE_PIECE_HEADER];
        struct muster__wire_message m;
        muster__wire_encode_piece_header(header, MUSTER__WIRE_VALUE_PIECE, 0, 7, 1000, length);
        ck_assert_mem_eq(header, frame.data, sizeof header);
        ck_assert_uint_eq(frame.length, sizeof header + length + muster__wire_padding(length));
        ck_assert_int_eq(muster__wire_decode_piece_header(frame.data, MUSTER__WIRE_CHILD, &m, NULL),
                         MUSTER_OK);
        ck_assert_uint_eq(m.piece.bytes.length, length);
        for (unsigned bit = 0; bit < 8 * sizeof header; bit++) {
            header[bit / 8] ^= (char)(1 << bit % 8);
            struct muster__wire_fault fault = {0};
            enum muster_status status =
                muster__wire_decode_piece_header(header, MUSTER__WIRE_CHILD, &m, &fault);
            ck_assert(status == MUSTER_OK || fault.sentence[0] != 0);
            header[bit / 8] ^= (char)(1 << bit % 8);
        }
        muster__wire_buffer_clean_up(&frame);
    }
}
END_TEST

/* ---- what is refused, and why ---- */

START_TEST(a_length_that_no_frame_has_is_refused_from_its_first_bytes)
{
    static const uint32_t bad[] = {0, 8, 16, 23, 25, 1 << 21, 0xffffffff, 0xfffffff8, (1 << 20) + 8};
    struct muster__wire_fault fault = {0};
    char data[8] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set_length(data, bad[i]);
        ck_assert_uint_eq(muster__wire_frame_length(data, sizeof data, &fault), SIZE_MAX);
        says(fault.sentence, "multiple of 8");
    }
    ck_assert_uint_eq(muster__wire_frame_length(data, 3, &fault), 0);
    set_length(data, 1 << 20);
    ck_assert_uint_eq(muster__wire_frame_length(data, 4, &fault), 1 << 20);
}
END_TEST

START_TEST(a_type_that_does_not_exist_is_named)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_hello()};
    struct muster__wire_buffer frame = encode(&sample);
    frame.data[4] = (char)200;
    says(refusal(&frame, MUSTER__WIRE_PARENT), "there is no message 200");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(another_version_is_refused_by_its_number)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_hello()};
    struct muster__wire_buffer frame = encode(&sample);
    frame.data[MUSTER__WIRE_HEADER] = 9;
    says(refusal(&frame, MUSTER__WIRE_PARENT), "version 9");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(text_that_is_not_utf8_is_refused)
{
    static const char *const bad[] = {"\x80message",
                                      "m\xc0\x80ssag",
                                      "\xed\xa0\x80sage",
                                      "\xf4\x90\x80\x80"
                                      "age",
                                      "messag\xc3",
                                      "\xf8ssages",
                                      "\xe0\x80\x80sage"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sample sample = {MUSTER__WIRE_PARENT, sample_request(MUSTER__WIRE_REQUEST)};
        struct muster__wire_buffer frame = encode(&sample);
        memcpy(find(&frame, "message", 7), bad[i], 7);
        says(refusal(&frame, MUSTER__WIRE_PARENT), "not UTF-8");
        muster__wire_buffer_clean_up(&frame);
    }
}
END_TEST

START_TEST(a_text_ends_with_its_only_nul)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_request(MUSTER__WIRE_REQUEST)};
    struct muster__wire_buffer frame = encode(&sample);
    char *at = find(&frame, "message", 8);
    at[3] = 0;
    says(refusal(&frame, MUSTER__WIRE_PARENT), "only NUL");
    at[3] = 's';
    at[7] = 'x';
    says(refusal(&frame, MUSTER__WIRE_PARENT), "only NUL");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(an_actor_of_the_wrong_side_is_refused)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_request(MUSTER__WIRE_REQUEST)};
    struct muster__wire_buffer frame = encode(&sample);
    frame.data[16] ^= 1;
    says(refusal(&frame, MUSTER__WIRE_PARENT), "REQUEST cannot come from this side with actor 1001");
    muster__wire_buffer_clean_up(&frame);
    sample = (struct sample){MUSTER__WIRE_CHILD, sample_result(1000, 0)};
    frame = encode(&sample);
    frame.data[16] ^= 1;
    says(refusal(&frame, MUSTER__WIRE_CHILD), "RESULT cannot come");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(the_body_of_the_wrong_direction_is_refused)
{
    struct sample sample = {MUSTER__WIRE_PARENT, sample_stream(MUSTER__WIRE_BODY, 1000, 0)};
    struct muster__wire_buffer frame = encode(&sample);
    frame.data[5] = MUSTER__WIRE_FLAG_RESPONSE;
    says(refusal(&frame, MUSTER__WIRE_PARENT), "wrong body");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(padding_that_is_not_zero_is_refused)
{
    struct sample sample = {MUSTER__WIRE_CHILD,
                            sample_stream(MUSTER__WIRE_BODY, 1000, MUSTER__WIRE_FLAG_RESPONSE)};
    struct muster__wire_buffer frame = encode(&sample);
    frame.data[frame.length - 1] = 1;
    says(refusal(&frame, MUSTER__WIRE_CHILD), "padding");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

START_TEST(a_ports_number_is_that_of_the_side_that_opened_it)
{
    struct sample sample = {MUSTER__WIRE_CHILD, sample_port(MUSTER__WIRE_PORT_OPEN, 13, 0)};
    struct muster__wire_buffer frame = encode(&sample);
    frame.data[16] ^= 1;
    says(refusal(&frame, MUSTER__WIRE_CHILD), "PORT_OPEN cannot come from this side with actor 12");
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

/* ---- what cannot be said ---- */

static void cannot_encode(enum muster__wire_side from, const struct muster__wire_message *message,
                          const char *why)
{
    struct muster__wire_fault fault = {0};
    struct sample before = {MUSTER__WIRE_PARENT, sample_hello()};
    struct muster__wire_buffer buffer = encode(&before);
    size_t length = buffer.length;
    ck_assert_int_eq(muster__wire_encode(&buffer, from, message, &fault), MUSTER_INVALID_ARGUMENT);
    says(fault.sentence, why);
    ck_assert_uint_eq(buffer.length, length);
    muster__wire_buffer_clean_up(&buffer);
}

START_TEST(a_message_that_cannot_be_said_leaves_the_buffer_as_it_was)
{
    struct muster__wire_message message = sample_request(MUSTER__WIRE_REQUEST);
    cannot_encode(MUSTER__WIRE_CHILD, &message, "does not come from this side");
    message.actor = 3;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "actor 3");
    message = sample_request(MUSTER__WIRE_REQUEST);
    message.request.name = NULL;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "missing");
    message = sample_request(MUSTER__WIRE_REQUEST);
    message.descriptor_count = MUSTER__WIRE_DESCRIPTOR_LIMIT + 1;
    message.ticket = 1;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "too many descriptors");
    message = sample_fetch(MUSTER__WIRE_BODY_NONE);
    message.request.header_count = MUSTER__WIRE_HEADER_LIMIT + 1;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "headers");
    message = sample_fetch(MUSTER__WIRE_BODY_STREAM);
    message.value = (struct muster__wire_value){true, TEXT("x"), NULL, 0};
    cannot_encode(MUSTER__WIRE_PARENT, &message, "not its whole body");
    message = sample_stream(MUSTER__WIRE_BODY, 1000, 0);
    message.piece.bytes.length = 0;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "empty");
}
END_TEST

START_TEST(only_a_parent_answers_with_a_rules_advice_which_has_no_body)
{
    struct muster__wire_message message = sample_result(1000, 4);
    cannot_encode(MUSTER__WIRE_CHILD, &message, "not from 200 to 599");
    message = sample_result(1001, 4);
    message.result.body = MUSTER__WIRE_BODY_STREAM;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "not from 200 to 599");
    message.result.body = MUSTER__WIRE_BODY_NONE;
    message.result.status_code = 199;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "not from 200 to 599");
}
END_TEST

START_TEST(what_a_message_on_a_port_announces_is_there)
{
    struct muster__wire_message message = sample_port_message(12, true, true);
    message.port_message.has_head = message.port_message.has_data = false;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "neither head nor data");
    message = sample_port_message(12, false, true);
    message.value.buffer_count = 0;
    message.port_message.has_head = true;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "a head that is not there");
    message = sample_port_message(12, true, false);
    message.value.buffer_count = 2;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "data that is not announced");
    message = sample_port_message(12, true, false);
    message.host_count = 1;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "ports mentioned by no data");
    message = sample_port_message(12, true, true);
    message.host_count = 4;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "more ports than there are");
    message = sample_port_message(12, true, true);
    message.port_count = MUSTER__WIRE_PORT_LIMIT + 1;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "ports");
}
END_TEST

START_TEST(what_moves_a_port_is_complete)
{
    struct muster__wire_message message = sample_port(MUSTER__WIRE_PORT_MOVE, 13, 0);
    message.port_move.port = 6;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "low number");
    message = sample_port(MUSTER__WIRE_PORT_CLOSE, 13, MUSTER__WIRE_FLAG_MOVED);
    cannot_encode(MUSTER__WIRE_CHILD, &message, "do not go together");
    message.flags |= MUSTER__WIRE_FLAG_UNNAMED;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "do not go together");
    message = (struct muster__wire_message){.type = MUSTER__WIRE_DIRECT};
    cannot_encode(MUSTER__WIRE_PARENT, &message, "without its socket");
    message = (struct muster__wire_message){.type = MUSTER__WIRE_RING};
    cannot_encode(MUSTER__WIRE_PARENT, &message, "without its memory");
    message.ticket = message.descriptor_count = 1;
    cannot_encode(MUSTER__WIRE_CHILD, &message, "more than that");
    message = sample_port(MUSTER__WIRE_PORT_CREDIT, 13, 0);
    message.credit.bytes = 0;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "credit of nothing");
}
END_TEST

START_TEST(a_message_larger_than_a_frame_is_refused)
{
    static char name[MUSTER__WIRE_FRAME_LIMIT + 10];
    memset(name, 'a', sizeof name - 1);
    struct muster__wire_message message = sample_request(MUSTER__WIRE_REQUEST);
    message.request.name = name;
    cannot_encode(MUSTER__WIRE_PARENT, &message, "larger than a frame");
    name[MUSTER__WIRE_FRAME_LIMIT - 200] = 0;
    struct sample sample = {MUSTER__WIRE_PARENT, message};
    struct muster__wire_buffer frame = encode(&sample);
    ck_assert_int_eq(try_frame(frame.data, frame.length, MUSTER__WIRE_PARENT), MUSTER_OK);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

/* Encodes a console call and gives what the other side reads. */
static size_t read_console(struct muster_bytes text, char *ret_text, size_t size)
{
    struct sample sample = {MUSTER__WIRE_CHILD, sample_of_worker(MUSTER__WIRE_CONSOLE)};
    sample.message.console.text = text;
    struct muster__wire_buffer frame = encode(&sample);
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message m;
    ck_assert_int_eq(
        muster__wire_decode(frame.data, frame.length, MUSTER__WIRE_CHILD, &scratch, &m, NULL),
        MUSTER_OK);
    size_t length = m.console.text.length;
    ck_assert_uint_le(length, size);
    memcpy(ret_text, m.console.text.data, length);
    muster__wire_scratch_clean_up(&scratch);
    muster__wire_buffer_clean_up(&frame);
    return length;
}

START_TEST(text_of_ours_that_is_not_utf8_is_mended)
{
    char text[64];
    size_t length = read_console(TEXT("a\xff"
                                      "b\xc3"),
                                 text, sizeof text);
    ck_assert_uint_eq(length, 8);
    ck_assert_mem_eq(text,
                     "a\xef\xbf\xbd"
                     "b\xef\xbf\xbd",
                     8);
    ck_assert_uint_eq(read_console((struct muster_bytes){NULL, 0}, text, sizeof text), 0);
}
END_TEST

START_TEST(a_long_text_is_cut_between_two_characters)
{
    enum { LIMIT = 4 * MUSTER__WIRE_TEXT_LIMIT };
    char *text = malloc(LIMIT + 99), *back = malloc(LIMIT);
    for (size_t offset = 0; offset < 4; offset++) {
        memset(text, 'x', offset);
        for (size_t i = offset; i + 4 <= LIMIT + 99; i += 4)
            memcpy(text + i, "\xf0\x9f\x91\x8b", 4);
        size_t length = read_console(
            (struct muster_bytes){text, (LIMIT + 99 - offset) / 4 * 4 + offset}, back, LIMIT);
        ck_assert_uint_gt(length, LIMIT - 4);
        ck_assert_uint_eq((length - offset) % 4, 0);
        ck_assert_mem_eq(text, back, length);
    }
    memset(text, 0xff, LIMIT + 99);
    ck_assert_uint_gt(read_console((struct muster_bytes){text, LIMIT + 99}, back, LIMIT), LIMIT - 3);
    free(text);
    free(back);
}
END_TEST

/* ---- memory ---- */

START_TEST(every_failed_allocation_is_reported)
{
    struct muster__wire_buffer frame = encode(&samples[_i]), buffer = {0};
    struct muster__wire_scratch scratch = {0};
    struct muster__wire_message message;
    struct muster__wire_fault fault;
    malloc_grants = 0;
    enum muster_status encoded =
        muster__wire_encode(&buffer, samples[_i].from, &samples[_i].message, &fault);
    enum muster_status decoded =
        muster__wire_decode(frame.data, frame.length, samples[_i].from, &scratch, &message, &fault);
    malloc_all_granted();
    ck_assert_int_eq(encoded, MUSTER_NO_MEMORY);
    ck_assert_int_eq(decoded, MUSTER_NO_MEMORY);
    ck_assert_uint_eq(buffer.length, 0);
    muster__wire_scratch_clean_up(&scratch);
    muster__wire_buffer_clean_up(&frame);
}
END_TEST

static TCase *every_message_topic(void)
{
    TCase *topic = tcase_create("every message");
    int count = (int)sample_count;
    tcase_add_loop_test(topic, every_message_goes_round, 0, count);
    tcase_add_loop_test(topic, every_prefix_of_a_frame_is_refused, 0, count);
    tcase_add_loop_test(topic, every_frame_that_was_cut_and_says_so_is_refused, 0, count);
    tcase_add_loop_test(topic, every_frame_with_bytes_behind_it_is_refused, 0, count);
    tcase_add_loop_test(topic, a_flipped_bit_is_refused_or_is_another_message, 0, count);
    tcase_add_loop_test(topic, a_count_or_length_that_is_a_lie_is_refused_or_is_another_number, 0,
                        count);
    tcase_add_loop_test(topic, each_side_may_send_only_what_is_its_own, 0, count);
    tcase_add_loop_test(topic, every_failed_allocation_is_reported, 0, count);
    tcase_add_test(topic, there_is_a_sample_of_each_type);
    return topic;
}

static TCase *reading_topic(void)
{
    TCase *topic = tcase_create("reading");
    tcase_add_test(topic, a_request_arrives_with_all_that_was_said);
    tcase_add_test(topic, a_start_arrives_with_its_lists);
    tcase_add_test(topic, an_error_arrives_whole);
    tcase_add_test(topic, a_large_value_is_declared_and_stays_out_of_the_frame);
    tcase_add_test(topic, the_header_of_a_piece_is_that_of_its_frame);
    return topic;
}

static TCase *refusal_topic(void)
{
    TCase *topic = tcase_create("refusals");
    tcase_add_test(topic, a_length_that_no_frame_has_is_refused_from_its_first_bytes);
    tcase_add_test(topic, a_type_that_does_not_exist_is_named);
    tcase_add_test(topic, another_version_is_refused_by_its_number);
    tcase_add_test(topic, text_that_is_not_utf8_is_refused);
    tcase_add_test(topic, a_text_ends_with_its_only_nul);
    tcase_add_test(topic, an_actor_of_the_wrong_side_is_refused);
    tcase_add_test(topic, the_body_of_the_wrong_direction_is_refused);
    tcase_add_test(topic, padding_that_is_not_zero_is_refused);
    tcase_add_test(topic, a_ports_number_is_that_of_the_side_that_opened_it);
    return topic;
}

static TCase *writing_topic(void)
{
    TCase *topic = tcase_create("writing");
    tcase_add_test(topic, a_message_that_cannot_be_said_leaves_the_buffer_as_it_was);
    tcase_add_test(topic, only_a_parent_answers_with_a_rules_advice_which_has_no_body);
    tcase_add_test(topic, what_a_message_on_a_port_announces_is_there);
    tcase_add_test(topic, what_moves_a_port_is_complete);
    tcase_add_test(topic, a_message_larger_than_a_frame_is_refused);
    tcase_add_test(topic, text_of_ours_that_is_not_utf8_is_mended);
    tcase_add_test(topic, a_long_text_is_cut_between_two_characters);
    return topic;
}

int main(void)
{
    sample_count = make_samples(samples);
    Suite *suite = suite_create("wire");
    suite_add_tcase(suite, every_message_topic());
    suite_add_tcase(suite, reading_topic());
    suite_add_tcase(suite, refusal_topic());
    suite_add_tcase(suite, writing_topic());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
