/* cli/state_folder.h - what `muster serve --state DIR` keeps from one run to the next.
 *
 *   DIR/lock        held by the server that uses the folder; has its process id
 *   DIR/muster.db   SQLite: the registrations, and when each was first and last served
 *
 * A database that is damaged is set aside as muster.db.damaged-N, and the server goes on with a new one:
 * what is in it can be had again from the application.  A database of a later version is refused.
 * Threads: any, one at a time. */
#ifndef MUSTER_CLI_STATE_FOLDER_H
#define MUSTER_CLI_STATE_FOLDER_H

#include "runtime/base.h"

struct sqlite3;

/* Zeroed: closed. */
struct muster__state_folder {
    bool is_open;
    int lock_fd;
    char *path;
    char *notice; /* one sentence for the operator: a database was set aside; else NULL */
    struct sqlite3 *database;
};

/* Makes the folder (mode 0700) and what is in it, where it is missing.  `error` says in one sentence what is in
 * the way; then nothing is open. */
MUSTER_MUST_CHECK enum muster_status muster__state_folder_open(const char *path,
                                                               struct muster__state_folder *ret_folder,
                                                               struct muster_error *error);
void muster__state_folder_close(struct muster__state_folder *folder); /* closing twice is fine */

/* That scope is served by that script from now on; `engine` may be NULL. */
MUSTER_MUST_CHECK enum muster_status muster__state_folder_record(struct muster__state_folder *folder,
                                                                 const char *scope, const char *script,
                                                                 const char *engine, int64_t unix_ms,
                                                                 struct muster_error *error);

struct muster__state_folder_entry {
    const char *scope, *script;
    const char *engine; /* "" : by the script's ending */
    int64_t first_served_ms, last_served_ms;
};
typedef void muster__state_folder_entry_fn(const struct muster__state_folder_entry *entry, void *user_data);
/* Every registration, in order of the scopes.  The entry is borrowed for the call. */
MUSTER_MUST_CHECK enum muster_status muster__state_folder_each(struct muster__state_folder *folder,
                                                               muster__state_folder_entry_fn *entry,
                                                               void *user_data, struct muster_error *error);

#endif
