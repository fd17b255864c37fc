/* coordinator/registrations.h - registrations as scripts see them: what they ask for, and what they are told.  Internal.
 *
 * The core decides what becomes of a registration; this is its hand towards scripts.  It checks what they ask for
 * (Service Workers standard, "Start Register" and "Register": SW-REG-1, SW-REG-2), makes jobs of it, brings the
 * scripts that a job needs and compares them with those that are there (registrations_load.c: "Update", SW-UPD-*),
 * and tells each context of the registration's storage key what the core notes, in that order (SW-INS-1, SW-ACT-2,
 * SW-STATE-1).
 *
 * A storage key is an origin.  A registration whose scope is a path is of every origin, and seen by all.
 *
 * A context that never asked for a registration is told of its own alone: of the one that it belongs to, or that
 * controls it.
 *
 * Thread: coordinator, for all of it.
 */
#ifndef MUSTER_REGISTRATIONS_H
#define MUSTER_REGISTRATIONS_H

#include "coordinator/context.h"

struct muster__registrations; /* of an instance: worlds->registrations */

/* NULL: out of memory. */
struct muster__registrations *muster__registrations_new(void);
/* NULL: no-op. */
void muster__registrations_destroy(struct muster__registrations *registrations);
/* The instance closes: nothing that is being fetched is waited for. */
void muster__registrations_closing(struct muster *muster);
/* When muster__registrations_tick() is wanted at the latest; UINT64_MAX: no need. */
uint64_t muster__registrations_deadline(const struct muster *muster);
void muster__registrations_tick(struct muster *muster, uint64_t now_us);

/* ---- what the core's actions ask of it ---- */

/* LOAD, of any job. */
void muster__registrations_load(struct muster *muster, const struct muster__core_action *action);
/* SETTLE_JOB of a job of its own; others do nothing.  `error`: why the script did not start, or NULL. */
void muster__registrations_settled(struct muster *muster, const struct muster__core_action *action,
                                   const struct muster_error *error);
/* Why the script of a job could not be brought; NULL: it could.  Borrowed until the job is forgotten. */
const struct muster_error *muster__registrations_load_error(const struct muster *muster, uint64_t job);
/* The job has settled. */
void muster__registrations_forget_job(struct muster *muster, uint64_t job);
/* PUBLISH; or what is published there is a stub. */
void muster__registrations_published(struct muster *muster, const char *scope);
/* WITHDRAW, NOTE_STATE, NOTE_SLOTS, NOTE_UPDATE_FOUND. */
void muster__registrations_withdrawn(struct muster *muster, const struct muster__core_action *action);
void muster__registrations_note_state(struct muster *muster, const struct muster__core_action *action);
void muster__registrations_note_slots(struct muster *muster, const struct muster__core_action *action);
void muster__registrations_note_update_found(struct muster *muster, const struct muster__core_action *action);

/* ---- for other files ---- */

/* A context is being told of that registration: its number can be asked for from now on. */
void muster__registrations_see(struct muster *muster, const struct muster__core_scope_view *view);
/* By its number, of those that a script was told of and that are registered still. */
MUSTER_MUST_CHECK bool muster__registrations_find(struct muster *muster, uint64_t registration,
                                                  struct muster__core_scope_view *ret_view);
/* As above, if that context may see it; false: the ask was answered. */
MUSTER_MUST_CHECK bool muster__registrations_asked(struct muster__ask *ask, size_t argument,
                                                   struct muster__core_scope_view *ret_view);
/* The one whose scope matches a URL, the longest first, active or not ("Match Service Worker Registration").  False:
 * none. */
MUSTER_MUST_CHECK bool muster__registrations_match(struct muster *muster, const char *url,
                                                   struct muster__core_scope_view *ret_view);
/* Of navigation preload: whether it is on, and what the header says; borrowed. */
bool muster__registrations_preload(const struct muster *muster, uint64_t registration, const char **ret_header);
/* Of navigation preload, also while it is off.  NO_MEMORY: nothing changed. */
MUSTER_MUST_CHECK enum muster_status muster__registrations_set_preload(struct muster *muster,
                                                                       const struct muster__core_scope_view *view,
                                                                       const char *header, bool is_on);
/* Looks for an update soon, without a hurry (SW-SOFT-1): a page was opened that the version controls. */
void muster__registrations_soft_update(struct muster *muster, const struct muster__version *version);
/* As above, if its scripts were not looked at for a day: it works. */
void muster__registrations_check_stale(struct muster *muster, const struct muster__version *version);

/* ---- registrations_load.c ---- */

struct muster__load;
/* One reference is the caller's.  `draft` becomes the version if it is a new one; `base`, what it is compared with,
 * may be NULL.  `via` and `stale` say whether what a server allowed to be kept is asked for all the same.  NULL: out of
 * memory. */
struct muster__load *muster__load_new(struct muster *muster, uint64_t job, struct muster__version *draft,
                                      struct muster__version *base, enum muster__via via, bool stale);
/* `ended` comes once, unless it is left before, and never from inside this call. */
struct muster__load_outcome {
    enum muster_status status;
    const struct muster_error *error; /* borrowed; NULL but for failures */
    bool changed;
    uint64_t checked_us; /* wall clock; 0: the script did not come from elsewhere */
};
typedef void muster__load_ended_fn(struct muster *muster, struct muster__load *load,
                                   const struct muster__load_outcome *outcome);
MUSTER_MUST_CHECK enum muster_status muster__load_start(struct muster__load *load, muster__load_ended_fn *ended);
uint64_t muster__load_job(const struct muster__load *load);
struct muster__version *muster__load_draft(const struct muster__load *load);
/* Nobody waits for it any more; what it fetches comes to nothing. */
void muster__load_leave(struct muster__load *load);
void muster__load_release(struct muster__load *load);
/* A message of the inbox's that will not run: if it is a load's, it is let go. */
void muster__load_drop_message(struct muster__message *message);

/* Ops: see context_ops.c. */
muster__op_fn muster__op_register, muster__op_update, muster__op_unregister, muster__op_get_registration,
    muster__op_get_registrations, muster__op_ready, muster__op_navigation_preload_get,
    muster__op_navigation_preload_set,
    muster__op_skip_waiting;

#endif
