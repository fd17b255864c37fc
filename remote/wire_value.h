/* remote/wire_value.h - values of the runtime as the bytes that the wire carries.  Internal.
 *
 * The bytes are those of docs/clone.md.  Thread: any.
 */
#ifndef MUSTER_WIRE_VALUE_H
#define MUSTER_WIRE_VALUE_H

#include "remote/link.h"
#include "runtime/value.h"

/* What stands behind a wire value until it was sent. */
struct muster__packed_value {
    struct muster__wire_value wire; /* points into the rest */
    struct muster_clone *clone;     /* NULL: nothing to send */
    struct muster_clone *head;      /* of a port's message; NULL: it has none */
    struct muster_bytes *buffers;
    uint32_t hosts; /* how many objects of the host it mentions */
};

/* NULL packs to "no value"; a message (MUSTER_TYPE_CLONE) goes as it is.  NO_MEMORY; UNSUPPORTED: it holds a host
 * object, or too many large buffers; both fill `error` (may be NULL). */
MUSTER_MUST_CHECK enum muster_status muster__wire_value_pack(const struct muster_value *value,
                                                             struct muster__packed_value *ret_packed,
                                                             struct muster_error *error);
/* The same of a value that goes with so many ports, of which it may mention each once. */
MUSTER_MUST_CHECK enum muster_status muster__wire_value_pack_with_ports(const struct muster_value *value,
                                                                        size_t port_count,
                                                                        struct muster__packed_value *ret_packed,
                                                                        struct muster_error *error);
/* A port's message, of which either part may be NULL.  As above. */
MUSTER_MUST_CHECK enum muster_status muster__wire_value_pack_message(const struct muster_value *head,
                                                                     const struct muster_value *data,
                                                                     size_t port_count,
                                                                     struct muster__packed_value *ret_packed,
                                                                     struct muster_error *error);
/* Repeatable; a zeroed one is fine. */
void muster__wire_value_clean_up(struct muster__packed_value *packed);
/* Sends the message with that value, which is not copied when it is large: then it is kept until it was sent, and
 * `packed` is empty.  As muster__link_send(). */
MUSTER_MUST_CHECK enum muster_status muster__wire_value_send(struct muster__link *link,
                                                             struct muster__wire_message *message,
                                                             unsigned flags,
                                                             struct muster__packed_value *packed);
/* A message that nobody has looked at: whoever decodes it finds out whether it is one (muster__value_check() in
 * runtime/value_internal.h).  NO_MEMORY, and `error` (may be NULL) says so.  No value gives NULL.  Large parts are taken over
 * from the link without a copy (muster__link_take_part), which may be NULL. */
MUSTER_MUST_CHECK enum muster_status muster__wire_value_unpack(const struct muster__wire_value *wire,
                                                               struct muster__link *link,
                                                               struct muster_value **ret_value,
                                                               struct muster_error *error);
/* A value that mentions `hosts` ports; with `hostile` as below. */
MUSTER_MUST_CHECK enum muster_status
muster__wire_value_unpack_with_ports(const struct muster__wire_value *wire, struct muster__link *link,
                                     uint32_t hosts, bool hostile, struct muster_value **ret_value,
                                     struct muster_error *error);
/* Both parts of a PORT_MESSAGE. */
MUSTER_MUST_CHECK enum muster_status
muster__wire_value_unpack_message(const struct muster__wire_message *message, struct muster__link *link, bool hostile,
                                  struct muster_value **ret_head, struct muster_value **ret_data,
                                  struct muster_error *error);
/* The same from a peer that is not trusted: it is read once, so that whoever uses it later need not doubt it.
 * INVALID_ARGUMENT: these bytes are no value, and `error` says where. */
MUSTER_MUST_CHECK enum muster_status
muster__wire_value_unpack_hostile(const struct muster__wire_value *wire, struct muster__link *link,
                                  struct muster_value **ret_value, struct muster_error *error);

#endif
