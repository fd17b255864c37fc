/* cli/control_folder.h - where a server's control socket is, and who may use it.
 *
 * The socket is DIR/control, DIR being --state or, without that, a folder of the user's own for what lives as long
 * as the machine runs: $XDG_RUNTIME_DIR/muster, else /tmp/muster-UID.  The folder belongs to the user and is written
 * by nobody else, the socket has mode 0600, and both ends look at who the other one is.  Thread: any. */
#ifndef MUSTER_CLI_CONTROL_FOLDER_H
#define MUSTER_CLI_CONTROL_FOLDER_H

#include "runtime/base.h"

/* The folder; `state` may be NULL.  For free(); NULL: out of memory. */
char *muster__control_folder_name(const char *state);

struct muster__control_listener {
    int fd;        /* listens, without blocking */
    int folder_fd; /* locked: one server a folder */
    char *path;    /* of the socket */
};

/* Makes the folder where it is missing.  EXISTS: another server has it. */
MUSTER_MUST_CHECK enum muster_status muster__control_folder_listen(const char *state,
                                                                   struct muster__control_listener *ret_listener,
                                                                   struct muster_error *error);
/* Takes the socket away.  Zeroed or cleaned is fine. */
void muster__control_folder_clean_up(struct muster__control_listener *listener);

/* A connection, with a descriptor that blocks.  NOT_FOUND: no server is there, and `error` says where. */
MUSTER_MUST_CHECK enum muster_status muster__control_folder_connect(const char *state, int *ret_fd,
                                                                    struct muster_error *error);
/* The other end is this user, or root. */
bool muster__control_folder_is_friend(int fd);

#endif
