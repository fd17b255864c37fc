/* coordinator/coordinator_internal.h - what the coordinator's own files share.  Included by coordinator*.c only.
 * Thread: the one that has the role (coordinator_inbox.c), unless it says something else. */
#ifndef MUSTER_COORDINATOR_INTERNAL_H
#define MUSTER_COORDINATOR_INTERNAL_H

#include "coordinator/context.h"

/* One running of a version: the driver's record.  References: the map's, one for each message that is
 * posted, and one for the worker until it is gone. */
struct muster__instance {
    atomic_uint references;
    uint64_t id;
    struct muster *muster;
    struct muster__version *version;
    struct muster__remote_worker *worker; /* coordinator */
    struct muster__context *context;      /* coordinator: what its script asks with; NULL: it ended, or is silent */
    struct muster__port *silent; /* coordinator: its end while the script has not said anything; NULL: there is none */
    uint32_t host;
    uint32_t incarnation;
    uint64_t started_us; /* when it was given to its host; 0: not yet */
    char *held;          /* coordinator: what held it past its idle time, when last looked; NULL: nothing */
    uint64_t held_us;    /* when that was */
    bool attached, opened;
    struct muster__id_node node; /* in the map */

    /* Two, because the first may still be ending when the second is sent. */
    struct muster__lifecycle {
        struct muster__request request;
        struct muster__message ended;
        struct muster__instance *instance;
        enum muster_status status;
    } install, activate;

    enum muster_status started_status, gone_status;
    struct muster_error told_error;    /* the worker's, until `started` or `install.ended` has come */
    struct muster_error started_error; /* coordinator: why it did not start, or not install */
    struct muster__message started, skip_waiting, close_self, wedged, gone, hello;
};

/* ---- coordinator.c ---- */

/* Fed after the actions of this step. */
void muster__coordinator_answer(struct muster *muster, struct muster__core_event event);
/* The version's worker is dying: once. */
void muster__coordinator_lose(struct muster__version *version, enum muster_status status,
                              const struct muster_error *error);

/* ---- coordinator_inbox.c ---- */

/* Thread: any.  For what a turn of the pool may do as well.  False: it waits already. */
bool muster__coordinator_post_to_helper(struct muster *muster, struct muster__message *message);

/* ---- coordinator_instance.c ---- */

/* Thread: any. */
void muster__coordinator_instance_release(struct muster__instance *instance);
/* NULL: there is none any more. */
struct muster__instance *muster__coordinator_instance(struct muster *muster, uint64_t id);
/* NULL: the first, and the end. */
struct muster__instance *muster__coordinator_next_instance(struct muster *muster, struct muster__instance *instance);
/* NULL: out of memory, or its version is gone. */
struct muster__instance *muster__coordinator_make_instance(struct muster *muster, uint64_t id, uint32_t version_id);
/* START: gives it to its host. */
void muster__coordinator_start_instance(struct muster *muster, const struct muster__core_action *action);
/* INSTALL, ACTIVATE. */
void muster__coordinator_dispatch_lifecycle(struct muster__instance *instance, struct muster__lifecycle *lifecycle,
                                            const char *name);
/* Its script asks nothing any more. */
void muster__coordinator_close_context(struct muster__instance *instance);

/* ---- coordinator_place.c ---- */

/* PLACE. */
void muster__coordinator_place(struct muster *muster, const struct muster__core_action *action);
/* Starts that waited after a crash, and whose time has come. */
void muster__coordinator_end_pauses(struct muster *muster);
/* Looks for a host that has had its time, now and then. */
void muster__coordinator_recycle(struct muster *muster);
/* When one of these two is wanted at the latest; UINT64_MAX: no need. */
uint64_t muster__coordinator_place_deadline(const struct muster *muster);
void muster__coordinator_forget_pauses(struct muster *muster);

/* ---- coordinator_jobs.c ---- */

/* SETTLE_JOB. */
void muster__coordinator_settle_job(struct muster *muster, const struct muster__core_action *action);

/* ---- coordinator_actions.c ---- */

void muster__coordinator_perform(struct muster *muster, const struct muster__core_action *action);
/* What was taken out of a version's slot settles with that. */
void muster__coordinator_fail_list(struct muster__version *version, struct muster__request *list,
                                   enum muster_status status, const struct muster_error *error);
/* Why the newest instance of a version did not start, for those that waited for it.  NULL: not known. */
const struct muster_error *muster__coordinator_start_error(struct muster *muster, uint32_t version,
                                                           enum muster_status status);

#endif
