/* cli/listen_address.h - "127.0.0.1:8080", "[::1]:0", "localhost:80", "unix:/path" becomes a listening socket. */
#ifndef MUSTER_CLI_LISTEN_ADDRESS_H
#define MUSTER_CLI_LISTEN_ADDRESS_H

#include "runtime/base.h"

/* A non-blocking socket that listens; *ret_url is malloc'ed text for people.  `error` has one sentence. */
MUSTER_MUST_CHECK enum muster_status muster__listen(const char *address, int *ret_fd, char **ret_url,
                                                    struct muster_error *error);

#endif
