/* remote/wire_value.c - see wire_value.h.  A value that is a message already goes as it is, and a message that
 * comes stays one: only what a program of the embedder's made is encoded here, and nothing is decoded. */
#include "remote/wire_value.h"

#include "runtime/clone.h"
#include "runtime/value_internal.h"

#include <stdlib.h>

static void free_memory(void *data, void *user_data)
{
    (void)user_data;
    free(data);
}

static enum muster_status message_of(const struct muster_value *value, struct muster_clone **ret_clone,
                                     struct muster_error *error)
{
    const struct muster_clone_writer_options options = {.size = sizeof options,
                                                        .raw_from = MUSTER__WIRE_INLINE};
    struct muster_clone *clone = muster_value_clone(value);
    if (!clone)
        return muster_clone_from_value(value, &options, ret_clone, error);
    if (muster_clone_host_count(clone)) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "an object of the host cannot go to another process");
        return MUSTER_UNSUPPORTED;
    }
    *ret_clone = muster_clone_acquire(clone);
    return MUSTER_OK;
}

static enum muster_status list_buffers(struct muster__packed_value *packed, size_t count,
                                       struct muster_error *error)
{
    if (count > MUSTER__WIRE_BUFFER_LIMIT) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "a value with more than %u large buffers",
                         MUSTER__WIRE_BUFFER_LIMIT);
        return MUSTER_UNSUPPORTED;
    }
    packed->buffers = calloc(count, sizeof *packed->buffers);
    if (!packed->buffers)
        return MUSTER_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        packed->buffers[i] = muster_clone_buffer_at(packed->clone, i);
    packed->wire.buffers = packed->buffers;
    packed->wire.buffer_count = (uint32_t)count;
    return MUSTER_OK;
}

enum muster_status muster__wire_value_pack(const struct muster_value *value,
                                           struct muster__packed_value *ret_packed,
                                           struct muster_error *error)
{
    struct muster__packed_value packed = {0};
    if (!value) {
        *ret_packed = packed;
        return MUSTER_OK;
    }
    enum muster_status status = message_of(value, &packed.clone, error);
    if (status != MUSTER_OK)
        return status;
    size_t count = muster_clone_buffer_count(packed.clone);
    packed.wire.present = true;
    packed.wire.bytes = muster_clone_bytes(packed.clone);
    status = count ? list_buffers(&packed, count, error) : MUSTER_OK;
    if (status == MUSTER_OK)
        *ret_packed = packed;
    else
        muster__wire_value_clean_up(&packed);
    return status;
}

void muster__wire_value_clean_up(struct muster__packed_value *packed)
{
    muster_clone_release(packed->clone);
    free(packed->buffers);
    *packed = (struct muster__packed_value){0};
}

static void release_sent(void *owner)
{
    muster__wire_value_clean_up(owner);
    free(owner);
}

enum muster_status muster__wire_value_send(struct muster__link *link, struct muster__wire_message *message,
                                           unsigned flags, struct muster__packed_value *packed)
{
    message->value = packed->wire;
    struct muster__packed_value *kept = NULL;
    if (muster__wire_in_pieces(message))
        kept = malloc(sizeof *kept);
    if (!kept)
        return muster__link_send(link, message, flags);
    *kept = *packed;
    enum muster_status status = muster__link_send_owned(link, message, flags, release_sent, kept);
    if (status == MUSTER_OK)
        *packed = (struct muster__packed_value){0};
    else
        free(kept);
    return status;
}

/* One part of a message in memory of its own: taken from the link if it has it, else copied. */
static enum muster_status keep(struct muster__link *link, uint32_t part, struct muster_bytes bytes,
                               struct muster_clone_buffer *ret_buffer)
{
    void *memory = link ? muster__link_take_part(link, part) : NULL;
    if (!memory)
        return muster_clone_buffer_copy(bytes.data, bytes.length, ret_buffer);
    *ret_buffer = (struct muster_clone_buffer){memory, bytes.length, free_memory, NULL};
    return MUSTER_OK;
}

static enum muster_status keep_parts(const struct muster__wire_value *wire, struct muster__link *link,
                                     struct muster_clone **ret_clone)
{
    struct muster_clone_buffer bytes = {0}, *buffers = NULL;
    uint32_t count = wire->buffer_count;
    if (count) {
        buffers = calloc(count, sizeof *buffers);
        if (!buffers)
            return MUSTER_NO_MEMORY;
    }
    enum muster_status status = keep(link, 0, wire->bytes, &bytes);
    for (uint32_t i = 0; i < count && status == MUSTER_OK; i++)
        status = keep(link, i + 1, wire->buffers[i], &buffers[i]);
    if (status == MUSTER_OK)
        status = muster_clone_new(&bytes, buffers, count, 0, ret_clone);
    for (uint32_t i = 0; i < count; i++)
        muster_clone_buffer_clean_up(&buffers[i]);
    muster_clone_buffer_clean_up(&bytes);
    free(buffers);
    return status;
}

enum muster_status muster__wire_value_unpack(const struct muster__wire_value *wire,
                                             struct muster__link *link, struct muster_value **ret_value,
                                             struct muster_error *error)
{
    struct muster_clone *clone = NULL;
    *ret_value = NULL;
    if (!wire->present)
        return MUSTER_OK;
    enum muster_status status = keep_parts(wire, link, &clone);
    if (status == MUSTER_OK)
        *ret_value = muster_value_new_clone(clone);
    if (*ret_value)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_NO_MEMORY, "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    return MUSTER_NO_MEMORY;
}

enum muster_status muster__wire_value_unpack_hostile(const struct muster__wire_value *wire,
                                                     struct muster__link *link,
                                                     struct muster_value **ret_value,
                                                     struct muster_error *error)
{
    enum muster_status status = muster__wire_value_unpack(wire, link, ret_value, error);
    if (status == MUSTER_OK)
        status = muster__value_check(*ret_value, error);
    if (status == MUSTER_OK)
        return MUSTER_OK;
    muster_value_release(*ret_value);
    *ret_value = NULL;
    return status == MUSTER_SYNTAX_ERROR ? MUSTER_INVALID_ARGUMENT : status;
}
