/* tests/fuzz_link.c - libFuzzer target: what a hostile child may write to its parent, any bytes in any pieces.
 *
 * The link takes them or ends, once; values that it has put together are handed over whole.  The first byte says how
 * the rest is cut into writes, and whether parts are taken over; the second, whether the rest follows HELLO as it is, or
 * bends the samples of tests/wire_samples.h: (place, place, byte)... */
#include "remote/link.h"
#include "wire_samples.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct ear {
    struct muster__link *link;
    bool takes;
    int ended;
    uint64_t sum; /* so that every byte is looked at */
};

static void look_at(struct ear *ear, struct muster_bytes bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        ear->sum += (unsigned char)bytes.data[i];
}

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    struct ear *ear = user_data;
    look_at(ear, message->value.bytes);
    for (uint32_t i = 0; i < message->value.buffer_count; i++)
        look_at(ear, message->value.buffers[i]);
    if (ear->takes)
        for (uint32_t part = 0; part <= message->value.buffer_count; part++)
            free(muster__link_take_part(ear->link, part));
}

static void on_ended(void *user_data, enum muster_status status, const char *sentence)
{
    struct ear *ear = user_data;
    if (status == MUSTER_OK || sentence == NULL || ear->ended++)
        abort();
}

static void on_interest(void *user_data, uint32_t events)
{
    (void)user_data;
    (void)events;
}

static void on_flush_soon(void *user_data)
{
    (void)user_data;
}

static const struct muster__link_listener listener = {
    .frame = on_frame, .ended = on_ended, .interest = on_interest, .flush_soon = on_flush_soon};

static void read_all(struct ear *ear)
{
    while (!ear->ended && muster__link_on_ready(ear->link, EPOLLIN))
        ;
}

static void append_sample(struct muster__wire_buffer *stream, const struct sample *sample)
{
    if (sample->from == MUSTER__WIRE_CHILD &&
        muster__wire_encode(stream, sample->from, &sample->message, NULL) != MUSTER_OK)
        abort();
}

/* What the child writes. */
static struct muster__wire_buffer make_stream(const uint8_t *data, size_t size)
{
    static struct sample samples[SAMPLE_LIMIT];
    struct muster__wire_buffer stream = {0};
    size_t count = make_samples(samples), hello = 0;
    while (samples[hello].from != MUSTER__WIRE_CHILD || samples[hello].message.type != MUSTER__WIRE_HELLO)
        hello++;
    append_sample(&stream, &samples[hello]);
    if (data[1] & 1) {
        if (muster__wire_buffer_reserve(&stream, size) != MUSTER_OK)
            abort();
        memcpy(stream.data + stream.length, data + 2, size - 2);
        stream.length += size - 2;
        return stream;
    }
    for (size_t i = 0; i < count; i++)
        if (i != hello)
            append_sample(&stream, &samples[i]);
    for (size_t i = 2; i + 3 <= size; i += 3)
        stream.data[(data[i] | data[i + 1] << 8) % stream.length] = (char)data[i + 2];
    return stream;
}

static void write_stream(struct ear *ear, int end, const struct muster__wire_buffer *stream, size_t piece)
{
    for (size_t at = 0; at < stream->length && !ear->ended; at += piece) {
        size_t length = stream->length - at < piece ? stream->length - at : piece;
        if (send(end, stream->data + at, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            return;
        read_all(ear);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ear ear = {0};
    int ends[2];
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 0;
    const struct muster__link_options options = {.side = MUSTER__WIRE_PARENT,
                                                 .data_fd = ends[0],
                                                 .descriptor_fd = -1,
                                                 .listener = &listener,
                                                 .user_data = &ear,
                                                 .value_limit = 1 << 20,
                                                 .incomplete_limit = 4 << 20};
    if (muster__link_new(&options, &ear.link) != MUSTER_OK)
        abort();
    ear.takes = data[0] & 0x80;
    struct muster__wire_buffer stream = make_stream(data, size);
    write_stream(&ear, ends[1], &stream, (data[0] & 0x7f) * 16 + 1);
    close(ends[1]);
    if (!ear.ended)
        (void)muster__link_on_ready(ear.link, EPOLLIN | EPOLLHUP);
    if (!ear.ended)
        abort(); /* the peer is gone, and nobody was told */
    muster__link_destroy(ear.link);
    muster__wire_buffer_clean_up(&stream);
    return 0;
}
