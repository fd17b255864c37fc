/* remote/wire_http.h - requests and responses of HTTP, between the runtime's structs and the wire's messages.  Internal.
 *
 * Thread: any.
 */
#ifndef MUSTER_WIRE_HTTP_H
#define MUSTER_WIRE_HTTP_H

#include "remote/wire.h"
#include "runtime/request.h"

/* Into a REQUEST or DISPATCH of a fetch; a whole body is its value.  The message borrows. */
void muster__wire_put_request(struct muster__wire_message *message, const struct muster_http_request *http);
/* Into a RESULT; likewise. */
void muster__wire_put_response(struct muster__wire_message *message, const struct muster_http_response *response);

/* Out of a REQUEST or DISPATCH, of whatever kind: its name, and of a fetch all but a body that streams.  The request
 * borrows from *ret_memory, which the caller frees.  False: out of memory. */
MUSTER_MUST_CHECK bool muster__wire_copy_request(const struct muster__wire_message *message,
                                                 struct muster__request *request,
                                                 struct muster_header **ret_memory);

#endif
