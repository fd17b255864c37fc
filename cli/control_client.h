/* cli/control_client.h - the command's end of the control socket: a line goes out, lines come back.
 *
 * What comes back is read as JSON, and nothing of it is believed to be there.  Thread: one. */
#ifndef MUSTER_CLI_CONTROL_CLIENT_H
#define MUSTER_CLI_CONTROL_CLIENT_H

#include "runtime/value.h"

/* Zeroed: closed. */
struct muster__control_client {
    bool is_open;
    int fd;
    char *in;
    size_t length, room, taken; /* taken: of the line that was given last, with its newline */
};

/* NOT_FOUND: no server is there; `error` says where it was looked for.  `state` may be NULL. */
MUSTER_MUST_CHECK enum muster_status muster__control_client_open(const char *state, struct muster__control_client *ret_client,
                                                                 struct muster_error *error);
/* Takes the request (NULL counts as out of memory).  A server that refuses it says why in an answer of its own. */
MUSTER_MUST_CHECK enum muster_status muster__control_client_send(struct muster__control_client *client,
                                                                 struct muster_value *take_request,
                                                                 struct muster_error *error);
/* The next line, waited for; `ret_line` (may be NULL) is it as it came, without its newline, terminated, until the
 * next call.  CLOSED: the server has ended, and says nothing more. */
MUSTER_MUST_CHECK enum muster_status muster__control_client_read(struct muster__control_client *client,
                                                                 struct muster_value **ret_value, const char **ret_line,
                                                                 struct muster_error *error);
void muster__control_client_close(struct muster__control_client *client); /* closing twice is fine */

#endif
