/* cli/control.h - the control socket of a server: what `muster ps` and its like talk to.
 *
 * Requests are lines of JSON (cli/control_request.h), answered in their order, one line each:
 *   {"ok": true, ...} or {"ok": false, "status": "NOT_FOUND", "error": a sentence}
 * and "logs" is followed by lines of the log (cli/control_log.h).  A connection has one request at a time; what it
 * sends meanwhile waits in its socket.  Everything that touches sockets runs on whichever pool thread polls; other
 * threads put an answer into its operation and ask for a flush.  docs/command.md describes the whole. */
#ifndef MUSTER_CLI_CONTROL_H
#define MUSTER_CLI_CONTROL_H

#include "coordinator/muster.h"

struct muster__control;

struct muster__control_options {
    const char *state;   /* --state; NULL: the user's own folder */
    const char *app;     /* what is served; both are told and copied */
};

/* Makes the socket; nothing is accepted yet, but the log is kept from now on.  EXISTS: another server has it; `error`
 * says where, and why else there is none. */
MUSTER_MUST_CHECK enum muster_status muster__control_new(const struct muster__control_options *options,
                                                         struct muster__control **ret_control,
                                                         struct muster_error *error);
/* Begins to accept.  `address`: where HTTP is answered; copied. */
MUSTER_MUST_CHECK enum muster_status muster__control_start(struct muster__control *control, struct muster *muster,
                                                           const char *address);
/* Thread: any.  A message for those who follow the log; NULL: no-op. */
void muster__control_note(struct muster__control *control, enum muster_log_level level, const char *subject,
                          struct muster_bytes text);
/* Before the instance is destroyed: it is asked nothing more.  NULL: no-op. */
void muster__control_stop(struct muster__control *control);
/* After the instance is destroyed, or nothing was started.  What followers can take at once they get.  NULL: no-op. */
void muster__control_destroy(struct muster__control *control);

#endif
