/* coordinator/registrations_internal.h - what the files of registrations share.  Included by registrations*.c only.
 * Thread: coordinator. */
#ifndef MUSTER_REGISTRATIONS_INTERNAL_H
#define MUSTER_REGISTRATIONS_INTERNAL_H

#include "coordinator/registrations.h"

/* What a script asked for, until the core has settled it. */
struct muster__script_job {
    struct muster__id_node node; /* by the job's number */
    enum muster__core_event_kind kind;
    struct muster__pending *pending; /* NULL: nobody waits */
    struct muster__version *draft;   /* REGISTER: what would be registered */
    enum muster__via via;            /* likewise */
};

/* A registration that scripts were told of, as long as it is registered. */
struct muster__registration_record {
    struct muster__id_node node; /* by its number */
    uint64_t soft_update_us;     /* when an update is due; 0: none is */
    enum muster__via via;        /* as scripts were told */
    bool preloads;
    char *preload_header; /* NULL: "true" */
    char scope[];
};

struct muster__registrations {
    struct muster__id_map jobs, loads, records;
    struct muster__link readies; /* those who wait for an active worker */
    struct muster__link skips;
    size_t ready_count, ready_sweep; /* at so many, those whose context is closed are let go */
    size_t longest_scope;
    struct { /* the last job whose script did not come, for those that joined it: they settle next */
        char *scope;
        enum muster_status status;
        struct muster_error error;
    } failure;
    uint64_t soft_update_us; /* the next that is due; UINT64_MAX: none */
};

static inline struct muster__registrations *own(const struct muster *muster)
{
    return muster->worlds->registrations;
}

/* NULL: NULL. */
static inline struct muster__script_job *job_of(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct muster__script_job, node) : NULL;
}

/* NULL: NULL. */
static inline struct muster__registration_record *record_of(struct muster__id_node *node)
{
    return node ? MUSTER_CONTAINER_OF(node, struct muster__registration_record, node) : NULL;
}

/* ---- registrations.c ---- */

/* Scripts of that storage key see what has this scope. */
bool muster__registrations_is_of_key(const char *scope, const char *storage_key);
/* NULL: no script was told of it, or it is not registered any more. */
struct muster__registration_record *muster__registrations_record(const struct muster *muster, uint64_t registration);
/* As above; it is being told of.  NULL also: out of memory. */
struct muster__registration_record *muster__registrations_see_record(struct muster *muster,
                                                                     const struct muster__core_scope_view *view);
/* That an ask names; false: none, or none that this one may see. */
bool muster__registrations_find_for(const struct muster__ask *ask, size_t argument,
                                    struct muster__core_scope_view *ret_view);
/* Its scripts may be cached in another way, and contexts know it otherwise: they are told. */
void muster__registrations_tell_via(struct muster *muster, const char *scope);
/* The instance is over. */
void muster__registrations_abort(struct muster__pending *take_pending);

/* ---- registrations_jobs.c ---- */

/* Of what a script asks for; NULL: out of memory, and the ask was answered. */
struct muster__script_job *muster__registrations_new_job(struct muster__ask *ask, enum muster__core_event_kind kind);
/* Its script is told that it failed. */
void muster__registrations_fail_job(struct muster__script_job *job, enum muster_status status,
                                    const struct muster_error *error);
void muster__registrations_free_job(struct muster__script_job *job);
/* All of them, and what they load. */
void muster__registrations_clean_up_jobs(struct muster__registrations *registrations);

/* ---- registrations_quota.c ---- */

/* One registration more; false: the ask was answered. */
bool muster__registrations_may_register(struct muster__ask *ask, const struct muster__version *draft);
/* The scripts of a version are all there. */
void muster__registrations_count_bytes(struct muster__version *version);
/* REFUSED: they are too much, and `error` says so. */
MUSTER_MUST_CHECK enum muster_status muster__registrations_check_stored(struct muster *muster,
                                                                        struct muster__version *draft,
                                                                        struct muster_error *error);

/* ---- registrations_waits.c ---- */

/* That registration has an active worker. */
void muster__registrations_settle_readies(struct muster *muster, uint64_t registration);
/* That version was activated. */
void muster__registrations_settle_skips(struct muster *muster, uint32_t version);
/* All who wait are told that the instance is over. */
void muster__registrations_clean_up_waits(struct muster__registrations *registrations);

#endif
