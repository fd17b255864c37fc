/* coordinator/core_internal.h - the records inside the coordinator's core.  Included by core*.c and by
 * their tests only.  Thread: the driver's.
 *
 * How a step runs: memory for the worst case is reserved, so that nothing after that can fail; the event
 * changes one instance, version or job; then muster__core_scope_advance() looks at the one scope that was
 * touched and does what is due in it (promote, activate, run jobs, dispose) until nothing is left to do;
 * then the same for a bounded number of deadlines that have passed.
 */
#ifndef MUSTER_CORE_INTERNAL_H
#define MUSTER_CORE_INTERNAL_H

#include "coordinator/core.h"
#include "runtime/check.h"

/* Deadlines handled in one step, beside the event itself. */
#define MUSTER__CORE_BATCH 16

/* ---- an instance: its phases, and what may happen to it ---- */

#define MUSTER__PHASE_LIST(X)                                                                      \
    X(PLACING, "placing")                                                                          \
    X(STARTING, "starting")                                                                        \
    X(INSTALLING, "installing")                                                                    \
    X(INSTALLED, "installed")                                                                      \
    X(ACTIVATING, "activating")                                                                    \
    X(RUNNING, "running")                                                                          \
    X(STOPPING, "stopping")                                                                        \
    X(CANCELING, "canceling")                                                                      \
    X(ABANDONED, "abandoned")                                                                      \
    X(GONE, "gone")

#define MUSTER__INPUT_LIST(X)                                                                      \
    X(PLACED, "the policy chose a host")                                                           \
    X(REFUSED, "no host may take it")                                                              \
    X(HOST_REFUSED, "the chosen host began to die")                                                \
    X(HOSTS_EXHAUSTED, "so did all the others")                                                    \
    X(READY_NEW, "its script was evaluated for the first time")                                    \
    X(READY_INSTALLED, "its script was evaluated; install was done before")                        \
    X(READY, "its script was evaluated; activate was done before")                                 \
    X(READY_OPEN, "the same, and it opened its slot itself, as it was allowed to")                 \
    X(NOT_READY, "its script failed")                                                              \
    X(INSTALLED, "install ended well")                                                             \
    X(NOT_INSTALLED, "install failed")                                                             \
    X(DUE, "it may activate now")                                                                  \
    X(ACTIVATE_ENDED, "activate ended, well or not")                                               \
    X(SAMPLED, "what holds it, and until when it was to live")                                     \
    X(RETIRED, "nothing held it, and its slot is vacant")                                          \
    X(BUSY, "something held it after all")                                                         \
    X(CLOSE_SELF, "its script called close()")                                                     \
    X(WEDGED, "it does not yield")                                                                 \
    X(GONE, "nothing of it runs")                                                                  \
    X(DRAIN, "its version was replaced or unregistered")                                           \
    X(END, "it shall finish")                                                                      \
    X(FORCE, "it had its time to finish")                                                          \
    X(TIMER, "the time of this phase is over")

#define MUSTER__ACT_LIST(X)                                                                        \
    X(START) X(REFUSE) X(PLACE_AGAIN) X(INSTALL) X(WAIT) X(OPEN) X(NOTE_OPEN) X(FAIL_START)        \
    X(NOTE_INSTALL) X(FAIL_INSTALL) X(ACTIVATE) X(NOTE_ACTIVATE) X(SAMPLE) X(WEIGH) X(AGAIN)       \
    X(STOP_RETIRED) X(STOP_EARLY) X(STOP) X(DROP) X(FORCE) X(DROP_OVERDUE) X(CANCEL_START) X(CANCEL_INSTALL)       \
    X(CANCEL_ACTIVATE) X(CANCEL) X(ABANDON) X(ABANDON_WEDGED) X(DIE_EARLY) X(DIE) X(FORGET)

enum muster__phase {
#define MUSTER__CORE_SYMBOL(name, word) MUSTER__PHASE_##name,
    MUSTER__PHASE_LIST(MUSTER__CORE_SYMBOL) MUSTER__PHASE_COUNT
#undef MUSTER__CORE_SYMBOL
};

enum muster__input {
#define MUSTER__CORE_SYMBOL(name, sentence) MUSTER__INPUT_##name,
    MUSTER__INPUT_LIST(MUSTER__CORE_SYMBOL) MUSTER__INPUT_COUNT
#undef MUSTER__CORE_SYMBOL
};

enum muster__act {
#define MUSTER__CORE_SYMBOL(name) MUSTER__ACT_##name,
    MUSTER__ACT_LIST(MUSTER__CORE_SYMBOL) MUSTER__ACT_COUNT
#undef MUSTER__CORE_SYMBOL
};

enum muster__verdict { MUSTER__IS_BUG, MUSTER__STAY, MUSTER__GO };

struct muster__phase_step {
    enum muster__verdict verdict;
    enum muster__phase next;
    enum muster__act act;
};

/* ---- records ---- */

struct muster__core_timer {
    uint64_t at_us;
    uint64_t sequence; /* breaks ties */
    size_t position;   /* in the heap, from 1; 0: not set */
    enum { MUSTER__OF_INSTANCE, MUSTER__OF_VERSION, MUSTER__OF_JOB } owner;
};

struct muster__core_scope;
struct muster__core_version;

enum muster__core_question { MUSTER__ASKED_NOTHING, MUSTER__ASKED_SAMPLE, MUSTER__ASKED_RETIRE };

struct muster__core_instance {
    uint64_t id;
    struct muster__core_version *version;
    struct muster__core_instance *next, *previous; /* of the same version; next also in the spares */
    struct muster__core_timer timer;
    enum muster__phase phase;
    enum muster__stop_reason reason; /* why it is being ended */
    enum muster__core_question asked;
    uint32_t host;
    unsigned attempts; /* of placement */
    bool awaited;      /* a STOP job waits for it */
    bool retiring;     /* TRY_RETIRE was said: its slot may be vacant before RETIRED tells */
    bool wanted;       /* and a request came there */
    uint64_t alive_until_us;
    uint32_t holds; /* as last sampled */
};

enum muster__role {
    MUSTER__ROLE_OFFERED, /* its job has not begun */
    MUSTER__ROLE_INSTALLING,
    MUSTER__ROLE_WAITING,
    MUSTER__ROLE_ACTIVE, /* also a lazy one before its first start, when there is no other */
    MUSTER__ROLE_REDUNDANT
};

struct muster__core_version {
    uint32_t id;
    struct muster__core_scope *scope;
    /* While it has a place in there, or scripts see it there still; and which one that was. */
    struct muster__core_registration *registration;
    uint64_t registration_id;
    struct muster__core_version *next, *previous; /* among the redundant ones, oldest first */
    struct muster__core_timer timer;              /* redundant: end of the drain, or of the linger */
    char *script;
    uint64_t idle_us;
    enum muster__role role;
    enum muster__version_state state; /* what was done with it; PARSED again when an install was lost */
    enum muster__version_state told;  /* what scripts know */
    enum muster__via via;
    size_t users;        /* clients that it controls */
    bool early, plain;   /* as its REGISTER said */
    bool opened;         /* its slot ran: of a plain one, its script was evaluated */
    bool released;       /* offered: nobody wants it any more */
    bool published;      /* requests may have come to its slot */
    bool skip_waiting;
    bool activation_due; /* start it for its activation, even if nothing wants it */
    bool closing;        /* redundant: serves nothing any more */
    bool replaced;       /* redundant: its successor activates when it has no instance */
    bool disposed;
    enum muster__stop_reason reason; /* redundant: why */
    uint64_t drain_until_us;
    struct muster__core_instance *current;
    struct muster__core_instance *instances; /* newest first, the current one too */
    size_t count, abandoned;
    unsigned losses; /* starts in a row that were lost with their host */
};

/* An unregistered one stays in its scope's list until none of its versions belongs to it. */
struct muster__core_registration {
    uint64_t id;
    struct muster__core_scope *scope;
    struct muster__core_registration *next; /* unregistered ones, oldest first */
    struct muster__core_version *installing, *waiting, *active;
    struct {
        struct muster__core_version *installing, *waiting, *active;
    } seen; /* by scripts */
    size_t versions; /* that point here */
    size_t users;    /* of all its versions */
    uint64_t checked_us;
    enum muster__via via;
    bool plain;
    bool unregistered, cleared;
};

enum muster__job_kind {
    MUSTER__JOB_REGISTER,
    MUSTER__JOB_UPDATE,
    MUSTER__JOB_UNREGISTER,
    MUSTER__JOB_STOP
};

struct muster__core_job {
    uint64_t id;
    enum muster__job_kind kind;
    struct muster__core_job *next;   /* in its scope */
    struct muster__core_job *joined; /* equal ones that settle with it */
    struct muster__core_version *version;
    struct muster__core_scope *scope;
    struct muster__core_registration *fresh; /* REGISTER: memory for one, should there be none */
    uint64_t registration;                   /* that it was about */
    char *script;                            /* of one that loads: identity; NULL: any */
    struct muster__core_timer timer;         /* of LOAD */
    uint64_t checked_us;
    enum muster__via via;
    bool lazy, load, early, plain, restored;
    bool begun, loading, done;
    bool settled; /* early: it goes on, and nobody waits for it */
    enum muster_status status;
};

struct muster__core_scope {
    char *name;
    uint64_t hash;
    struct muster__core_scope *chain;           /* same hash */
    struct muster__core_scope *next, *previous; /* in order of registration */
    struct muster__core_job *jobs, *last_job;
    struct muster__core_registration *registration; /* the one in the map; NULL: none */
    struct muster__core_registration *unregistered;
    struct muster__core_version *redundant, *last_redundant; /* of all of them */
    size_t awaited; /* instances that the STOP job waits for */
    enum muster_status stop_status;
};

/* Keys are not 0.  Open addressing; the order inside is never looked at. */
struct muster__core_map {
    struct muster__core_map_entry {
        uint64_t key;
        void *value;
    } *entries;
    size_t capacity, used; /* capacity: a power of two */
};

struct muster__core {
    struct muster__core_options options;
    uint64_t now_us;
    uint64_t last_instance, last_sequence, last_registration;
    bool closing, closed;

    struct muster__core_map scopes, versions, instances, jobs;
    struct muster__core_scope *first_scope, *last_scope;
    struct muster__core_scope *dead_scopes; /* their names may be in the last actions */
    size_t redundant_count;
    size_t live; /* instances that are neither gone nor abandoned */

    struct muster__core_timer **heap; /* [1 .. heap_used] */
    size_t heap_used, heap_capacity;

    struct muster__core_instance *spares;
    size_t spare_count;

    struct muster__core_action *actions;
    size_t action_count, action_capacity;
};

/* ---- core_store.c: memory, maps, deadlines ---- */

void *muster__core_store_new(struct muster__core *core, size_t size);
char *muster__core_store_text(struct muster__core *core, const char *text);
MUSTER_MUST_CHECK bool muster__core_store_reserve(struct muster__core *core, size_t actions,
                                                  size_t new_versions);
void muster__core_store_clean_up(struct muster__core *core);

void *muster__core_map_get(const struct muster__core_map *map, uint64_t key);
/* There is room: it was reserved.  Replaces. */
void muster__core_map_put(struct muster__core_map *map, uint64_t key, void *value);
void muster__core_map_remove(struct muster__core_map *map, uint64_t key);

uint64_t muster__core_timer_after(const struct muster__core *core, uint64_t delay_us);
/* UINT64_MAX: no deadline. */
void muster__core_timer_set(struct muster__core *core, struct muster__core_timer *timer, uint64_t at_us);
void muster__core_timer_clear(struct muster__core *core, struct muster__core_timer *timer);

void muster__core_emit(struct muster__core *core, struct muster__core_action action);

/* ---- core.c: what scripts see; told in the order of the specification ---- */

/* False: they have heard of it before. */
bool muster__core_see_installing(struct muster__core *core, struct muster__core_version *version);
void muster__core_see_installed(struct muster__core *core, struct muster__core_version *version);
/* It takes the place of the one that is seen as active, and its clients. */
void muster__core_see_activating(struct muster__core *core, struct muster__core_version *version);
/* It was in an earlier life. */
void muster__core_see_restored(struct muster__core *core, struct muster__core_version *version);
void muster__core_see_activated(struct muster__core *core, struct muster__core_version *version);
/* It does not belong to its registration any more. */
void muster__core_see_redundant(struct muster__core *core, struct muster__core_version *version);
/* All that scripts see of it; the last of its versions may take it along. */
void muster__core_see_cleared(struct muster__core *core, struct muster__core_registration *registration);
/* Scripts are told later. */
bool muster__core_is_seen(const struct muster__core_version *version);
/* `to` may be NULL: its clients have none. */
void muster__core_move_users(struct muster__core *core, struct muster__core_version *from,
                             struct muster__core_version *to);

/* ---- core_instance.c ---- */

struct muster__phase_step muster__phase_step(enum muster__phase phase, enum muster__input input);
const char *muster__phase_name(enum muster__phase phase);

/* PLACE.  The version has no current instance, and none that is abandoned. */
void muster__core_instance_launch(struct muster__core *core, struct muster__core_version *version);
/* Afterwards the instance may be gone; its version and scope are there until the scope advances. */
void muster__core_instance_feed(struct muster__core *core, struct muster__core_instance *instance,
                                enum muster__input input, enum muster__stop_reason reason,
                                enum muster_status status);
/* An event of the driver's about it. */
void muster__core_instance_event(struct muster__core *core, struct muster__core_instance *instance,
                                 const struct muster__core_event *event);
/* How often to look at one that drains. */
uint64_t muster__core_instance_drain_interval(const struct muster__core *core);

/* ---- core_registration.c ---- */

struct muster__core_scope *muster__core_scope_find(const struct muster__core *core, const char *name);
/* Not yet in the map.  NULL: out of memory. */
struct muster__core_scope *muster__core_scope_new(struct muster__core *core, const char *name);
void muster__core_scope_add(struct muster__core *core, struct muster__core_scope *scope);
/* Nothing is left of it; its name stays until the next step. */
void muster__core_scope_bury(struct muster__core *core, struct muster__core_scope *scope);
void muster__core_scope_free(struct muster__core_scope *scope);
void muster__core_scope_tell(struct muster__core *core, const struct muster__core_registration *registration,
                             enum muster__core_action_kind kind, enum muster__stop_reason reason,
                             uint32_t version);
/* In the memory that the job brought. */
struct muster__core_registration *muster__core_registration_add(struct muster__core *core,
                                                                struct muster__core_scope *scope,
                                                                struct muster__core_job *job);
/* Out of the map: SW-UNR-1. */
void muster__core_registration_remove(struct muster__core *core, struct muster__core_registration *registration,
                                      enum muster__stop_reason reason, uint32_t version);
void muster__core_registration_free_if_left(struct muster__core_registration *registration);
bool muster__core_registration_is_empty(const struct muster__core_registration *registration);
/* Waiting, else active; never one that installs, for no job begins meanwhile. */
struct muster__core_version *
muster__core_registration_newest(const struct muster__core_registration *registration);
/* A version is the next to be active, and scripts do not see it there yet: the one before it is at work. */
bool muster__core_registration_is_handing_over(const struct muster__core_registration *registration);
void muster__core_registration_join(struct muster__core_version *version,
                                    struct muster__core_registration *registration);
/* The version does not belong to its registration any more; which may be gone afterwards. */
void muster__core_registration_release(struct muster__core_version *version);

/* ---- core_version.c ---- */

void muster__core_version_tell(struct muster__core *core, const struct muster__core_version *version,
                               enum muster__core_action_kind kind, enum muster_status status);
void muster__core_version_publish(struct muster__core *core, struct muster__core_version *version);
void muster__core_version_want(struct muster__core *core, struct muster__core_version *version);
/* One client more, or less. */
void muster__core_version_use(struct muster__core *core, struct muster__core_version *version);
void muster__core_version_unuse(struct muster__core *core, struct muster__core_version *version);
/* A plain one that nobody holds ends. */
void muster__core_version_release(struct muster__core *core, struct muster__core_version *version, bool force);
/* A start or an install of it failed: what waits fails, and the job if it is one's. */
void muster__core_version_fail(struct muster__core *core, struct muster__core_version *version,
                               enum muster_status status);
/* INSTALL is about to be said. */
void muster__core_version_installing(struct muster__core *core, struct muster__core_version *version);
/* Its activate has ended, well or not. */
void muster__core_version_activated(struct muster__core *core, struct muster__core_version *version);
/* Install ended well: it waits, or it is the active one. */
void muster__core_version_installed(struct muster__core *core, struct muster__core_version *version);
/* Its instance is no longer the current one. */
void muster__core_version_vacant(struct muster__core *core, struct muster__core_version *version);
/* The end of its drain, or of its linger. */
void muster__core_version_timer(struct muster__core *core, struct muster__core_version *version);
void muster__core_version_make_redundant(struct muster__core *core, struct muster__core_version *version,
                                         enum muster__stop_reason reason);
void muster__core_version_forget_redundant(struct muster__core *core, struct muster__core_version *version);
/* One that was offered, and no job took it. */
void muster__core_version_dispose(struct muster__core *core, struct muster__core_version *version);
void muster__core_version_free(struct muster__core_version *version);

/* ---- core_due.c: true when there was something to do ---- */

bool muster__core_due_registration(struct muster__core *core, struct muster__core_registration *registration);
bool muster__core_due_unregistered(struct muster__core *core, struct muster__core_scope *scope);
bool muster__core_due_activate_redundant(struct muster__core *core, struct muster__core_scope *scope);
/* SW-UNR-2: nobody uses it. */
void muster__core_due_clear(struct muster__core *core, struct muster__core_registration *registration);
void muster__core_due_dispose(struct muster__core *core, struct muster__core_scope *scope);

/* ---- core_job.c ---- */

/* All that is due in the scope, its jobs too. */
void muster__core_scope_advance(struct muster__core *core, struct muster__core_scope *scope);
MUSTER_MUST_CHECK enum muster_status muster__core_job_add(struct muster__core *core,
                                                          const struct muster__core_event *event);
MUSTER_MUST_CHECK enum muster_status muster__core_job_loaded(struct muster__core *core,
                                                             const struct muster__core_event *event);
/* LOAD was not answered in time. */
void muster__core_job_timer(struct muster__core *core, struct muster__core_job *job);
/* The job of which the version is ends so, if there is one. */
void muster__core_job_finish_of(const struct muster__core_version *version, enum muster_status status);
/* SW-INS-1: what a script waits for is settled when the version is installing. */
void muster__core_job_settle_early(struct muster__core *core, const struct muster__core_version *version);
/* CLOSE: every job of the scope settles. */
void muster__core_job_close(struct muster__core *core, struct muster__core_scope *scope);
void muster__core_job_free(struct muster__core_job *job);

#endif
