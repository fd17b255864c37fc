/* remote/wire_value.c - see wire_value.h.  Packing writes one clone message; unpacking reads one into a tree. */
#include "remote/wire_value.h"

#include "runtime/clone.h"

#include <stdlib.h>

static void free_memory(void *data, void *user_data)
{
    (void)user_data;
    free(data);
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
    const struct muster_clone_writer_options options = {.size = sizeof options,
                                                        .raw_from = MUSTER__WIRE_INLINE};
    enum muster_status status = muster_clone_from_value(value, &options, &packed.clone, error);
    if (status != MUSTER_OK)
        return status;
    size_t count = muster_clone_buffer_count(packed.clone);
    packed.wire.present = true;
    packed.wire.bytes = muster_clone_bytes(packed.clone);
    if (count) {
        packed.buffers = calloc(count, sizeof *packed.buffers);
        if (!packed.buffers || count > MUSTER__WIRE_BUFFER_LIMIT) {
            muster__wire_value_clean_up(&packed);
            return MUSTER_NO_MEMORY;
        }
        for (size_t i = 0; i < count; i++)
            packed.buffers[i] = muster_clone_buffer_at(packed.clone, i);
        packed.wire.buffers = packed.buffers;
        packed.wire.buffer_count = (uint32_t)count;
    }
    *ret_packed = packed;
    return MUSTER_OK;
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

static enum muster_status keep_buffers(const struct muster__wire_value *wire, struct muster__link *link,
                                       struct muster_clone **ret_clone)
{
    struct muster_clone_buffer bytes = {0};
    struct muster_clone_buffer *buffers = calloc(wire->buffer_count, sizeof *buffers);
    enum muster_status status = buffers ? keep(link, 0, wire->bytes, &bytes) : MUSTER_NO_MEMORY;
    for (uint32_t i = 0; i < wire->buffer_count && status == MUSTER_OK; i++)
        status = keep(link, i + 1, wire->buffers[i], &buffers[i]);
    if (status == MUSTER_OK)
        status = muster_clone_new(&bytes, buffers, wire->buffer_count, 0, ret_clone);
    for (uint32_t i = 0; buffers && i < wire->buffer_count; i++)
        muster_clone_buffer_clean_up(&buffers[i]);
    muster_clone_buffer_clean_up(&bytes);
    free(buffers);
    return status;
}

static enum muster_status to_tree(const struct muster_clone_document *document,
                                  struct muster_value **ret_value, struct muster_error *error)
{
    const struct muster_clone_value_options options = {
        .size = sizeof options, .flags = MUSTER_CLONE_LENIENT | MUSTER_CLONE_DATE_AS_TEXT};
    return muster_clone_to_value(document, NULL, &options, ret_value, error);
}

enum muster_status muster__wire_value_unpack(const struct muster__wire_value *wire,
                                             struct muster__link *link, struct muster_value **ret_value,
                                             struct muster_error *error)
{
    struct muster_clone *clone = NULL;
    struct muster_clone_document *document = NULL;
    *ret_value = NULL;
    if (!wire->present)
        return MUSTER_OK;
    enum muster_status status = MUSTER_OK;
    if (wire->buffer_count) {
        status = keep_buffers(wire, link, &clone);
        if (status == MUSTER_OK)
            status = muster_clone_decode(clone, NULL, &document, error);
    } else {
        status = muster_clone_decode_bytes(wire->bytes.data, wire->bytes.length, NULL, &document, error);
    }
    if (status == MUSTER_OK)
        status = to_tree(document, ret_value, error);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    return status == MUSTER_SYNTAX_ERROR ? MUSTER_INVALID_ARGUMENT : status;
}
