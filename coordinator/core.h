/* coordinator/core.h - who exists, and why: the coordinator's pure state machine.  Internal.
 *
 * One event and the time go in, a list of actions comes out.  No threads, system calls, clocks, locks
 * or randomness in here, and nothing depends on the order of pointers: the same events give the same
 * actions.  Three drivers run it: the coordinator's thread (coordinator/coordinator.c), the tests, and
 * later the simulator.  A driver performs the actions in their order and feeds what comes of them back
 * as events.  Thread: one at a time, the driver's.
 *
 * Words.  A *registration* is a scope with up to three *versions*: installing, waiting, active.  Each
 * version has a slot (runtime/slot.h) where its requests wait; the driver owns the slots.  An *instance*
 * is one running of a version: version and incarnation.  At most one instance of a version is live (its
 * `current`); when it begins to die it stops being current at once, and its record stays until it is
 * gone.  The traffic of a running worker never comes here; only want, start, stop, idle and death do.
 * A *client* is whatever a version controls; the driver knows which, the core counts them.  A registration
 * that was unregistered while clients use it is out of the map and lives on until the last of them is gone.
 *
 * What scripts see of a registration (its slots and the states of its versions, in the order that the
 * Service Workers specification gives) is told by the NOTE actions.  It can lag behind what the core does:
 * a version that takes over while the one before it finishes its work is seen as waiting until then.
 *
 * A *plain* version is a shared or dedicated worker: no install, no activate, no idle time, one instance in
 * its life.  When that ends, for whatever reason, its key leaves the map at once.
 *
 * Every wait in here has a bound, and each escalation is an action that tells about it.
 */
#ifndef MUSTER_CORE_H
#define MUSTER_CORE_H

#include "runtime/base.h"

struct muster__core;

struct muster__core_options {
    uint64_t idle_us;      /* stage 1: without activity for so long (what the slot counts in alive_until);
                            * of a version that does not say it */
    uint64_t grace_us;     /* stage 2: work that still holds a token after that gets so long */
    uint64_t start_us;     /* from the start to a script that was evaluated */
    uint64_t lifecycle_us; /* for install, and for activate */
    uint64_t stop_us;      /* asked to stop: finish what runs */
    uint64_t cancel_us;    /* interrupted: be gone */
    uint64_t load_us;      /* from LOAD to LOADED (0: a minute) */
    bool notes;            /* say the NOTE actions, and which registration SETTLE_JOB and WITHDRAW are about */
    unsigned place_attempts; /* how often placement is asked for one start (8) */
    /* NULL: malloc.  What it gives is freed with free().  For tests that let memory run out. */
    void *(*allocate)(size_t size, void *allocate_data);
    void *allocate_data;
};

/* Version and job ids are the driver's and unique for ever; instance ids are the core's.  0: none. */
#define MUSTER__CORE_EVENT_LIST(X)                                                                 \
    X(REGISTER, "job, version, scope, script, via, lazy, idle, early, plain, restored, checked; or, with " \
                "load, no version: LOAD follows if the register check does not settle it")         \
    X(UPDATE, "job, scope, early; script: what its newest version must have, NULL: any.  LOAD follows") \
    X(LOADED, "job, status, changed, version if changed, idle, checked: answers LOAD")             \
    X(UNREGISTER, "job, scope")                                                                    \
    X(USE, "version: it controls one client more")                                                 \
    X(UNUSE, "version: and one less")                                                              \
    X(RELEASE, "version, a plain one: its last holder is gone, so it ends; force: it is interrupted") \
    X(CHECKED, "version, checked: a script of its registration came from the network")             \
    X(WANT, "version: a request waits in a slot that has no instance")                             \
    X(PLACED, "instance, host; or status REFUSED")                                                 \
    X(HOST_REFUSED, "instance, and host unless 0: it began to die before it took it; place again")  \
    X(STARTED, "instance, status of the evaluation; ok: it opened its slot itself, as START allowed") \
    X(INSTALL_ENDED, "instance, status of the install event")                                      \
    X(ACTIVATE_ENDED, "instance, status of the activate event (a failure is ignored)")             \
    X(SKIP_WAITING, "instance: its script said so")                                                \
    X(SAMPLED, "instance, alive_until_us, holds: answers SAMPLE")                                  \
    X(RETIRED, "instance, ok: answers TRY_RETIRE")                                                 \
    X(CLOSE_SELF, "instance: its script called close()")                                           \
    X(WEDGED, "instance: it does not yield and cannot be interrupted")                             \
    X(MOVE, "instance: its host is being emptied; one that runs ends, and what waits starts it elsewhere") \
    X(GONE, "instance, status: it is dead and nothing of it runs; once per instance")              \
    X(STOP, "job, scope: ends the running instance of the scope's versions, keeps them registered") \
    X(CLOSE, "everything ends; CLOSED follows")                                                    \
    X(TICK, "only time passed")

#define MUSTER__CORE_ACTION_LIST(X)                                                                \
    X(LOAD, "job, scope, version to compare with (0: none), registration: fetch the script; answer LOADED") \
    X(PUBLISH, "scope, version: requests for this scope go to this version's slot from now on")    \
    X(WITHDRAW, "scope: no registration any more; nothing controls its URLs")                      \
    X(PLACE, "instance, version: ask the policy, answer PLACED")                                   \
    X(START, "instance, version, host: start it; STARTED, HOST_REFUSED or GONE follow.  may_open: its " \
             "slot may be opened as soon as the script is evaluated, without asking again")         \
    X(INSTALL, "instance: dispatch install; INSTALL_ENDED follows, or GONE")                       \
    X(ACTIVATE, "instance: dispatch activate; ACTIVATE_ENDED follows, or GONE")                    \
    X(OPEN, "instance, version: its slot runs: requests are delivered from now on")                \
    X(SAMPLE, "instance: read the slot's word, answer SAMPLED")                                    \
    X(TRY_RETIRE, "instance: one compare-and-swap, running with no holds to vacant; answer RETIRED") \
    X(VACATE, "instance, version: take it off its slot whatever it holds; what waits there stays; "  \
              "if something waits, feed WANT after these actions")                                 \
    X(STOP, "instance, reason: ask it to finish; GONE follows")                                    \
    X(CANCEL, "instance, reason: report the tokens it holds, settle what is in flight, interrupt") \
    X(ABANDON, "instance, reason: replace its thread or kill its host; GONE may never follow")     \
    X(FAIL_QUEUED, "version, status: settle what waits in its slot")                               \
    X(SETTLE_JOB, "job, status, version")                                                          \
    X(FORGET, "instance: its record is gone")                                                      \
    X(DISPOSE, "version: redundant, or offered in vain; close its slot (what waits fails with NOT_FOUND) " \
               "and free it")                                                                      \
    X(CONTROL, "scope, registration, old, version, users: the clients of `old`, so many, are version's now") \
    X(NOTE_STATE, "scope, registration, version, state: tell the scripts")                         \
    X(NOTE_SLOTS, "scope, registration, installing, waiting, active: tell the scripts")            \
    X(NOTE_UPDATE_FOUND, "scope, registration, version: tell the scripts")                         \
    X(CLOSED, "nothing is left")

enum muster__core_event_kind {
#define MUSTER__CORE_SYMBOL(name, sentence) MUSTER__CORE_##name,
    MUSTER__CORE_EVENT_LIST(MUSTER__CORE_SYMBOL) MUSTER__CORE_EVENT_COUNT
#undef MUSTER__CORE_SYMBOL
};

enum muster__core_action_kind {
#define MUSTER__CORE_SYMBOL(name, sentence) MUSTER__DO_##name,
    MUSTER__CORE_ACTION_LIST(MUSTER__CORE_SYMBOL) MUSTER__DO_COUNT
#undef MUSTER__CORE_SYMBOL
};

/* Why an instance is being ended. */
#define MUSTER__STOP_REASON_LIST(X)                                                                \
    X(NONE, "")                                                                                    \
    X(IDLE, "idle")                                                                                \
    X(GRACE, "held tokens past the grace time")                                                    \
    X(ASKED, "asked to stop")                                                                      \
    X(CLOSED_SELF, "called close()")                                                               \
    X(REPLACED, "replaced by a newer version")                                                     \
    X(UNREGISTERED, "unregistered")                                                                \
    X(START_FAILED, "did not start")                                                               \
    X(START_OVERDUE, "did not become ready in time")                                               \
    X(INSTALL_FAILED, "install failed")                                                            \
    X(LIFECYCLE_OVERDUE, "install or activate did not end in time")                                \
    X(WEDGED, "wedged")                                                                            \
    X(DIED, "died")                                                                                \
    X(MOVED, "moves to another host")                                                              \
    X(RELEASED, "nobody holds it any more")                                                        \
    X(SHUTDOWN, "shutdown")

enum muster__stop_reason {
#define MUSTER__CORE_SYMBOL(name, sentence) MUSTER__STOP_##name,
    MUSTER__STOP_REASON_LIST(MUSTER__CORE_SYMBOL) MUSTER__STOP_REASON_COUNT
#undef MUSTER__CORE_SYMBOL
};

/* Of a version, as scripts see it.  They only go forward. */
#define MUSTER__VERSION_STATE_LIST(X)                                                              \
    X(PARSED, "parsed")                                                                            \
    X(INSTALLING, "installing")                                                                    \
    X(INSTALLED, "installed")                                                                      \
    X(ACTIVATING, "activating")                                                                    \
    X(ACTIVATED, "activated")                                                                      \
    X(REDUNDANT, "redundant")

enum muster__version_state {
#define MUSTER__CORE_SYMBOL(name, word) MUSTER__VERSION_##name,
    MUSTER__VERSION_STATE_LIST(MUSTER__CORE_SYMBOL) MUSTER__VERSION_STATE_COUNT
#undef MUSTER__CORE_SYMBOL
};

/* updateViaCache. */
#define MUSTER__VIA_LIST(X)                                                                        \
    X(IMPORTS, "imports")                                                                          \
    X(ALL, "all")                                                                                  \
    X(NONE, "none")

enum muster__via {
#define MUSTER__CORE_SYMBOL(name, word) MUSTER__VIA_##name,
    MUSTER__VIA_LIST(MUSTER__CORE_SYMBOL) MUSTER__VIA_COUNT
#undef MUSTER__CORE_SYMBOL
};

struct muster__core_event {
    enum muster__core_event_kind kind;
    uint64_t job;
    uint32_t version;
    uint64_t instance;
    uint32_t host;
    enum muster_status status;
    bool ok;
    bool lazy;           /* REGISTER: install when the first request wants it; the job settles at once.
                          * Over a version that has run it installs at once, like any update */
    bool load;           /* REGISTER: the script is fetched when the job's turn has come */
    bool early;          /* REGISTER, UPDATE: as the specification has it for scripts.  The job settles when
                          * installing begins (and ends when it has); the version is published when it
                          * becomes the active one, not before; it takes over as soon as no client uses the
                          * registration and what the active one works on is finished, idle or not.
                          * Else: settles when it is active or waits; a first version is published at once;
                          * an update takes over when the active one has ended */
    bool plain;          /* REGISTER: settles when the script was evaluated */
    bool restored;       /* REGISTER: it was activated in an earlier life.  Active at once, without events,
                          * if nothing is registered there; else as without */
    bool changed;        /* LOADED: a byte of it differs, or there was none */
    bool force;          /* RELEASE */
    enum muster__via via;
    uint64_t idle_us;    /* REGISTER, LOADED: the version's own; 0: the core's */
    uint64_t checked_us; /* wall clock, when its scripts last came from the network; 0: they did not */
    uint64_t alive_until_us;
    uint32_t holds;
    const char *scope;  /* borrowed during the step; of a plain version a key that is no URL */
    const char *script; /* identity of script, type and engine; equal strings are the same */
};

struct muster__core_action {
    enum muster__core_action_kind kind;
    uint64_t job;
    uint32_t version;
    uint64_t instance;
    uint32_t host;
    enum muster_status status;
    enum muster__stop_reason reason;
    bool may_open;     /* START */
    uint64_t registration;
    uint32_t old, users;                   /* CONTROL */
    enum muster__version_state state;      /* NOTE_STATE */
    uint32_t installing, waiting, active;  /* NOTE_SLOTS: versions; 0: none */
    const char *scope; /* the core's, until the next step */
};

/* Borrowed until the next step. */
struct muster__core_actions {
    const struct muster__core_action *items;
    size_t count;
};

/* NULL: out of memory. */
struct muster__core *muster__core_new(const struct muster__core_options *options);
void muster__core_destroy(struct muster__core *core);

/* The one step.  `now_us` never goes back.  When memory runs out the event is refused as a whole
 * (NO_MEMORY, no actions, nothing changed) and may be fed again.  An event about an instance or version
 * that is gone, or that comes twice or late, does nothing. */
MUSTER_MUST_CHECK enum muster_status muster__core_step(struct muster__core *core,
                                                       const struct muster__core_event *event,
                                                       uint64_t now_us,
                                                       struct muster__core_actions *ret_actions);

/* When to feed TICK at the latest; UINT64_MAX: no need. */
uint64_t muster__core_deadline(const struct muster__core *core);

/* What scripts see of a registration.  0 for a version: none in that slot. */
struct muster__core_scope_view {
    const char *scope;     /* borrowed until the next step */
    uint64_t registration; /* unique for ever */
    bool registered;       /* false: unregistered, and clients use it still, or it drains */
    bool plain;
    uint32_t installing, waiting, active;
    enum muster__version_state installing_state, waiting_state, active_state;
    uint32_t controller; /* controls a client that comes now, so USE it; mostly the active one */
    uint32_t newest;     /* what a script is compared with, seen or not */
    enum muster__via via;
    uint64_t checked_us; /* wall clock; 0: never */
    size_t users;
};
/* False: nothing is registered there, and nothing is written. */
bool muster__core_scope_view(const struct muster__core *core, const char *scope,
                             struct muster__core_scope_view *ret_view);
/* Of the registration that a version belongs to, also an unregistered one.  False: to none (any more). */
bool muster__core_version_view(const struct muster__core *core, uint32_t version,
                               struct muster__core_scope_view *ret_view);
/* Those in the map, in order of registration; also those that load their first version. */
void muster__core_each_registration(const struct muster__core *core,
                                    void (*see)(const struct muster__core_scope_view *view,
                                                void *user_data),
                                    void *user_data);
/* Were its scripts last checked more than a day ago?  Never checked: no.  `wall_us` is the driver's wall
 * clock, which may step: a check that lies in the future counts as old. */
bool muster__core_is_stale(const struct muster__core *core, const char *scope, uint64_t wall_us);

/* For snapshots and tables: walk everything, in order of registration. */
struct muster__core_view {
    const char *scope;
    uint32_t version;
    uint64_t registration; /* 0: of a redundant version */
    bool registered;       /* false: unregistered, and clients use it still; or redundant */
    const char *slot;    /* "installing", "waiting", "active"; "redundant": it drains, or is wedged */
    const char *state;   /* of the version: parsed, installing, installed, activating, activated */
    uint64_t instance;   /* its current one; 0: none */
    const char *phase;   /* of that instance */
    uint32_t host;
    size_t dying; /* former instances that are not gone yet */
};
void muster__core_each(const struct muster__core *core,
                       void (*see)(const struct muster__core_view *view, void *user_data),
                       void *user_data);

/* One line of text each, for logs, recordings and replays; snprintf's rules.  parse fills `event`, whose
 * strings point into `line`, which it cuts up. */
int muster__core_event_format(const struct muster__core_event *event, uint64_t now_us, char *text, size_t size);
int muster__core_action_format(const struct muster__core_action *action, char *text, size_t size);
MUSTER_MUST_CHECK enum muster_status muster__core_event_parse(char *line, struct muster__core_event *event,
                                                              uint64_t *ret_now_us);

const char *muster__core_event_name(enum muster__core_event_kind kind);
const char *muster__core_action_name(enum muster__core_action_kind kind);
const char *muster__stop_reason_sentence(enum muster__stop_reason reason);
/* As scripts know them: "installing"; "imports". */
const char *muster__version_state_word(enum muster__version_state state);
const char *muster__via_word(enum muster__via via);

#endif
