/* coordinator/store.h - registrations on disk: what survives the end of the process.  Internal.
 *
 * Of a registration the active version is kept, with the scripts it has used, and what the registration asked for
 * later (sync tags, periodic times).  A version that installs or waits is not: it is found again by the next look
 * for an update.
 *
 * One file, registrations.db, in the state folder, which one process has at a time.  Scripts are kept by the hash of
 * their text, so that equal ones are there once, and one that was damaged is found out.
 *
 * Writing is the store's own thread's: a change is copied, and told `done` when its transaction is on the disk, in
 * the order in which the changes were made; those that wait at a time share a transaction.  What `done` said with
 * MUSTER_OK is there after any crash; a change is there as a whole or not at all.
 *
 * A file that does not hold together is set aside (registrations.db.damaged-1, ...) and what can be read of it is
 * kept; the notice says so.
 */
#ifndef MUSTER_STORE_H
#define MUSTER_STORE_H

#include "runtime/base.h"

struct muster__store;

/* *ret_notice: a sentence for the log, malloc'ed, or NULL: what was set aside.  The folder is made if it is not there.
 * EXISTS: another process has it; UNSUPPORTED: a later version wrote it; SYSTEM, NO_MEMORY; `error` says more. */
MUSTER_MUST_CHECK enum muster_status muster__store_open(const char *folder, struct muster__store **ret_store,
                                                        char **ret_notice, struct muster_error *error);
/* Writes what waits first.  NULL: no-op. */
void muster__store_close(struct muster__store *store);

/* ---- what is in it; texts are borrowed by all of the calls ---- */

struct muster__stored_script {
    const char *url;
    const char *content_type; /* NULL: none */
    const char *source_map;   /* NULL: none */
    struct muster_bytes text;
    bool is_module;
    uint64_t checked_us; /* wall clock, when it last came from where it comes from */
};

struct muster__stored_registration {
    const char *storage_key, *scope;
    const char *script_url;
    const char *settings;    /* JSON: what else its worker is made with; NULL: nothing */
    const char *routes;      /* JSON of its static routes; NULL: none */
    const char *event_types; /* JSON of the types for which its script listens; NULL: not known */
    const char *preload;     /* the header of navigation preload; NULL: it is off */
    const struct muster__stored_script *scripts; /* the main one first */
    size_t script_count;
    int via; /* enum muster__via of core.h */
    bool is_module;
    bool keeps_scripts; /* to be written: those that are there stay, `scripts` does not count */
    uint64_t checked_us;
    uint64_t bytes; /* of all its scripts; written with them */
};

/* An event that is wanted later. */
struct muster__stored_sync {
    const char *storage_key, *scope, *tag;
    bool is_periodic;
    uint64_t interval_us; /* periodic: at least so long between two */
    uint64_t due_us;      /* wall clock */
    unsigned attempts;    /* that failed */
};

/* ---- reading ---- */

typedef void muster__store_see_fn(const struct muster__stored_registration *registration, void *user_data);
typedef void muster__store_see_sync_fn(const struct muster__stored_sync *sync, void *user_data);
typedef void muster__store_see_script_fn(const struct muster__stored_script *script, void *user_data);
/* Thread: any, one at a time.  Every registration, in the order in which they were made, without their scripts. */
MUSTER_MUST_CHECK enum muster_status muster__store_each(struct muster__store *store, muster__store_see_fn *see,
                                                        void *user_data, struct muster_error *error);
/* As above. */
MUSTER_MUST_CHECK enum muster_status muster__store_each_sync(struct muster__store *store, muster__store_see_sync_fn *see,
                                                             void *user_data, struct muster_error *error);
/* Thread: any, one that may wait for the disk.  The scripts of a registration, the main one first; NOT_FOUND: it has
 * none.  LOAD_FAILED: one of them is damaged (those before it were seen). */
MUSTER_MUST_CHECK enum muster_status muster__store_each_script(struct muster__store *store, const char *storage_key,
                                                               const char *scope, muster__store_see_script_fn *see,
                                                               void *user_data, struct muster_error *error);

/* ---- writing ---- */

/* Thread: the store's.  Must not block. */
typedef void muster__store_done_fn(void *user_data, enum muster_status status, const struct muster_error *error);

/* Thread: any.  NO_MEMORY: nothing was asked, and `done` (may be NULL) does not come. */
/* What was there of that storage key and scope is replaced, but its syncs. */
MUSTER_MUST_CHECK enum muster_status muster__store_put(struct muster__store *store,
                                                       const struct muster__stored_registration *registration,
                                                       muster__store_done_fn *done, void *user_data);
/* With its scripts and syncs. */
MUSTER_MUST_CHECK enum muster_status muster__store_remove(struct muster__store *store, const char *storage_key,
                                                          const char *scope, muster__store_done_fn *done, void *user_data);
/* NOT_FOUND comes by `done`: there is no such registration. */
MUSTER_MUST_CHECK enum muster_status muster__store_put_sync(struct muster__store *store,
                                                            const struct muster__stored_sync *sync,
                                                            muster__store_done_fn *done, void *user_data);
MUSTER_MUST_CHECK enum muster_status muster__store_remove_sync(struct muster__store *store,
                                                               const struct muster__stored_sync *sync,
                                                               muster__store_done_fn *done, void *user_data);

#endif
