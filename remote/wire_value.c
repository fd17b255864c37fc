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

static enum muster_status message_of(const struct muster_value *value, size_t port_count,
                                     struct muster_clone **ret_clone, struct muster_error *error)
{
    const struct muster_clone_writer_options options = {.size = sizeof options,
                                                        .raw_from = MUSTER__WIRE_INLINE};
    struct muster_clone *clone = muster_value_clone(value);
    if (!clone)
        return muster_clone_from_value(value, &options, ret_clone, error);
    if (muster_clone_host_count(clone) > port_count) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "an object of the host cannot go to another process");
        return MUSTER_UNSUPPORTED;
    }
    *ret_clone = muster_clone_acquire(clone);
    return MUSTER_OK;
}

/* A head is a tree, in one piece. */
static enum muster_status head_of(const struct muster_value *head, struct muster_clone **ret_clone,
                                  struct muster_error *error)
{
    struct muster_clone *clone = muster_value_clone(head);
    if (!clone)
        return muster_clone_from_value(head, NULL, ret_clone, error);
    if (muster_clone_host_count(clone) || muster_clone_buffer_count(clone)) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "a head that is no plain tree");
        return MUSTER_UNSUPPORTED;
    }
    *ret_clone = muster_clone_acquire(clone);
    return MUSTER_OK;
}

/* The raw buffers beside the bytes: the head, if there is one, and those of the data. */
static enum muster_status list_buffers(struct muster__packed_value *packed, struct muster_error *error)
{
    size_t heads = packed->head != NULL;
    size_t count = heads + (packed->clone ? muster_clone_buffer_count(packed->clone) : 0);
    if (count > MUSTER__WIRE_BUFFER_LIMIT) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "a value with more than %u large buffers",
                         MUSTER__WIRE_BUFFER_LIMIT);
        return MUSTER_UNSUPPORTED;
    }
    if (!count)
        return MUSTER_OK;
    packed->buffers = calloc(count, sizeof *packed->buffers);
    if (!packed->buffers)
        return MUSTER_NO_MEMORY;
    if (packed->head)
        packed->buffers[0] = muster_clone_bytes(packed->head);
    for (size_t i = heads; i < count; i++)
        packed->buffers[i] = muster_clone_buffer_at(packed->clone, i - heads);
    packed->wire.buffers = packed->buffers;
    packed->wire.buffer_count = (uint32_t)count;
    return MUSTER_OK;
}

enum muster_status muster__wire_value_pack_message(const struct muster_value *head,
                                                   const struct muster_value *data, size_t port_count,
                                                   struct muster__packed_value *ret_packed,
                                                   struct muster_error *error)
{
    struct muster__packed_value packed = {0};
    enum muster_status status = MUSTER_OK;
    if (data)
        status = message_of(data, port_count, &packed.clone, error);
    if (status == MUSTER_OK && head)
        status = head_of(head, &packed.head, error);
    packed.wire.present = data || head;
    if (status == MUSTER_OK && data) {
        packed.wire.bytes = muster_clone_bytes(packed.clone);
        packed.hosts = (uint32_t)muster_clone_host_count(packed.clone);
    }
    if (status == MUSTER_OK)
        status = list_buffers(&packed, error);
    if (status == MUSTER_OK)
        *ret_packed = packed;
    else
        muster__wire_value_clean_up(&packed);
    return status;
}

enum muster_status muster__wire_value_pack_with_ports(const struct muster_value *value, size_t port_count,
                                                      struct muster__packed_value *ret_packed,
                                                      struct muster_error *error)
{
    return muster__wire_value_pack_message(NULL, value, port_count, ret_packed, error);
}

enum muster_status muster__wire_value_pack(const struct muster_value *value,
                                           struct muster__packed_value *ret_packed,
                                           struct muster_error *error)
{
    return muster__wire_value_pack_message(NULL, value, 0, ret_packed, error);
}

void muster__wire_value_clean_up(struct muster__packed_value *packed)
{
    muster_clone_release(packed->clone);
    muster_clone_release(packed->head);
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

/* A message of the bytes of one part, and buffers from another one on. */
static enum muster_status keep_parts(const struct muster__wire_value *wire, struct muster__link *link,
                                     uint32_t part, uint32_t first, uint32_t count, uint32_t hosts,
                                     struct muster_clone **ret_clone)
{
    struct muster_clone_buffer bytes = {0}, *buffers = NULL;
    if (count) {
        buffers = calloc(count, sizeof *buffers);
        if (!buffers)
            return MUSTER_NO_MEMORY;
    }
    enum muster_status status = keep(link, part, part ? wire->buffers[part - 1] : wire->bytes, &bytes);
    for (uint32_t i = 0; i < count && status == MUSTER_OK; i++)
        status = keep(link, first + i + 1, wire->buffers[first + i], &buffers[i]);
    if (status == MUSTER_OK)
        status = muster_clone_new(&bytes, buffers, count, hosts, ret_clone);
    for (uint32_t i = 0; i < count; i++)
        muster_clone_buffer_clean_up(&buffers[i]);
    muster_clone_buffer_clean_up(&bytes);
    free(buffers);
    return status;
}

/* Takes over what keep_parts() made; looks at it once if it is `hostile`. */
static enum muster_status finish(enum muster_status status, struct muster_clone *clone, bool hostile,
                                 struct muster_value **ret_value, struct muster_error *error)
{
    struct muster_value *value = status == MUSTER_OK ? muster_value_new_clone(clone) : NULL;
    if (!value) {
        muster_error_set(error, MUSTER_NO_MEMORY, "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return MUSTER_NO_MEMORY;
    }
    if (hostile)
        status = muster__value_check(value, error);
    if (status == MUSTER_OK) {
        *ret_value = value;
        return MUSTER_OK;
    }
    muster_value_release(value);
    return status == MUSTER_SYNTAX_ERROR ? MUSTER_INVALID_ARGUMENT : status;
}

enum muster_status muster__wire_value_unpack_with_ports(const struct muster__wire_value *wire,
                                                        struct muster__link *link, uint32_t hosts, bool hostile,
                                                        struct muster_value **ret_value,
                                                        struct muster_error *error)
{
    struct muster_clone *clone = NULL;
    *ret_value = NULL;
    if (!wire->present)
        return MUSTER_OK;
    enum muster_status status = keep_parts(wire, link, 0, 0, wire->buffer_count, hosts, &clone);
    return finish(status, clone, hostile, ret_value, error);
}

enum muster_status muster__wire_value_unpack(const struct muster__wire_value *wire,
                                             struct muster__link *link, struct muster_value **ret_value,
                                             struct muster_error *error)
{
    return muster__wire_value_unpack_with_ports(wire, link, 0, false, ret_value, error);
}

enum muster_status muster__wire_value_unpack_hostile(const struct muster__wire_value *wire,
                                                     struct muster__link *link,
                                                     struct muster_value **ret_value,
                                                     struct muster_error *error)
{
    return muster__wire_value_unpack_with_ports(wire, link, 0, true, ret_value, error);
}

enum muster_status muster__wire_value_unpack_message(const struct muster__wire_message *message,
                                                     struct muster__link *link, bool hostile,
                                                     struct muster_value **ret_head,
                                                     struct muster_value **ret_data,
                                                     struct muster_error *error)
{
    const struct muster__wire_value *wire = &message->value;
    struct muster_clone *clone = NULL;
    uint32_t heads = message->port_message.has_head;
    enum muster_status status = MUSTER_OK;
    *ret_head = *ret_data = NULL;
    if (heads) {
        status = keep_parts(wire, link, 1, 0, 0, 0, &clone);
        status = finish(status, clone, hostile, ret_head, error);
    }
    if (status == MUSTER_OK && message->port_message.has_data) {
        clone = NULL;
        status = keep_parts(wire, link, 0, heads, wire->buffer_count - heads, message->host_count, &clone);
        status = finish(status, clone, hostile, ret_data, error);
    }
    if (status == MUSTER_OK)
        return MUSTER_OK;
    muster_value_release(*ret_head);
    *ret_head = NULL;
    return status;
}
