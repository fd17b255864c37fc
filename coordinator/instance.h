/* coordinator/instance.h - the inside of a `struct muster`: what its files share, and what the command
 * uses beyond the public calls.  Internal.
 *
 *   muster.c       life of the instance, registrations
 *   version.c      one version of a registration; what all of these use
 *   hosting.c      where the workers of a version may live
 *   list.c         who exists: muster_list()
 *   dispatch.c     events, calls: the way of a request from any thread into a slot
 *   handle.c       requests of the embedder's, their results, the completion queue
 *   client.c       clients and ports of the embedder's
 *   context.c      scripts' worlds: what they ask of the coordinator; see context.h
 *   store_keeper.c what is on disk of registrations, and when; store.c is the file
 *   stub.c         those of an earlier life that nothing has wanted yet
 *   sync.c         events that are wanted later: sync, periodicsync, scheduled
 *   routes_ask.c   requests for which no worker is woken
 *   coordinator*.c events to the core, and what its actions do: _inbox the thread, _actions, _instance one running of a
 *                  version, _place where it runs, _jobs
 */
#ifndef MUSTER_INSTANCE_H
#define MUSTER_INSTANCE_H

#include "coordinator/context_list.h"
#include "coordinator/core.h"
#include "coordinator/muster.h"
#include "coordinator/scope_map.h"
#include "remote/crash_record.h"
#include "remote/service.h"
#include "runtime/id_map.h"
#include "runtime/pool.h"
#include "runtime/slot.h"
#include "runtime/spare.h"

#include <pthread.h>
#include <sys/types.h>

/* A message to the coordinator's thread, embedded in its sender's memory: posting cannot fail. */
struct muster__message {
    struct muster__message *next;
    bool posted; /* under the inbox's lock: a message waits once */
    /* Thread: coordinator. */
    void (*run)(struct muster__message *message, struct muster *muster);
};

struct muster__script_map; /* script_map.h's */
struct muster__routes;     /* routes.h's */

/* What the scope map has for a scope: a version, or the stub of one (stub.h). */
struct muster__entry {
    atomic_uint references;
    uint32_t scope_length; /* beside what a match writes anyway */
    bool is_stub;
};

/* One version of a registration, from the register call until it is disposed of.  Everything but the references is
 * constant. */
struct muster__version {
    struct muster__entry entry; /* the first */
    uint32_t id;
    struct muster *muster;
    char *scope, *script, *identity, *root;
    const struct muster__engine *engine;
    struct muster__loader loader;
    enum muster__trust trust;
    struct muster__worker_limits limits;
    struct muster_bindings *bindings;
    bool lazy, idempotent;
    enum muster__worker_type type;
    char *key;         /* workers that scripts make: the core's name for it, instead of the scope */
    char *name;        /* of such a worker; NULL: the scope */
    char *storage_key; /* of what its script keeps and sees; "": of every one, the scope is a path */
    char *tenant;      /* trust "none": whose it is */
    char *url;         /* coordinator: of the script; made when it is asked for */
    uint64_t process_memory_limit, process_cpu_ms; /* as they were asked for, for the workers that it makes */
    unsigned process_open_files, process_children;
    enum muster_hosting hosting; /* DEFAULT: threads */
    char *isolation, *isolation_alone; /* processes: what a host of it is locked to */
    struct muster__crash_record crashes; /* coordinator */
    uint64_t idle_us;
    struct muster__slot *slot;
    _Atomic(struct muster__script *) stored; /* once it was loaded */
    struct muster__message want; /* the slot's: a request waits without a worker */
    struct muster__id_node node; /* coordinator: in its map */
    uint64_t starts;              /* coordinator */
    _Atomic(const char *) state;  /* "parsed", "installing", ...; written by the coordinator */
    _Atomic(struct muster_value *) event_types; /* for which its script listened at first; NULL: not known */
    uint64_t instance;            /* coordinator: the one that runs, or starts; 0: none */
    struct muster__context_worker *worker; /* coordinator: whose it is; NULL: a registration's, or nobody's */
    struct muster__script_map *map; /* what it runs with, kept as it came; NULL: its loader is asked each time */
    bool keeps_scripts;             /* all of it, for one that a script registered; else what it imports */
    uint64_t registration;          /* coordinator: the number of the one that it was last seen in; 0: none yet */
    uint64_t queue_limit;
    enum muster_hosting asked_hosting; /* as it was registered; see `hosting` */
    bool is_declared;  /* it is registered again at each start, by the embedder */
    bool is_kept;      /* coordinator: its registration is in the store, or on its way there */
    char *schedule;    /* cron expressions, one a line; NULL: none */
    size_t stored_bytes; /* coordinator: of the scripts that are kept of it */
    struct muster_value *rules;               /* coordinator: of addRoutes; NULL: none */
    _Atomic(struct muster__routes *) routes;  /* the same, to be asked; set once */
};

/* UNSUPPORTED fills `error`.  One reference. */
MUSTER_MUST_CHECK enum muster_status
muster__version_new(struct muster *muster, const struct muster_registration_options *options,
                    struct muster__version **ret_version, struct muster_error *error);
/* The next version's id; a version that is made later may have it already. */
uint32_t muster__version_next_id(struct muster *muster);
MUSTER_MUST_CHECK enum muster_status
muster__version_new_with_id(struct muster *muster, const struct muster_registration_options *options, uint32_t id,
                            struct muster__version **ret_version, struct muster_error *error);
/* As above, of a worker that a script makes: it is no registration, and its maker's in what is not said. */
struct muster__context;
MUSTER_MUST_CHECK enum muster_status
muster__version_new_plain(struct muster *muster, const struct muster_registration_options *options,
                          const struct muster__context *maker, enum muster__worker_type type, const char *name,
                          struct muster__version **ret_version, struct muster_error *error);
/* What a worker of this one's script inherits; all of it is borrowed. */
void muster__version_inherit(const struct muster__version *version, struct muster_registration_options *options);
/* The version keeps its scripts as they come, for one that scripts register; before anybody knows it. */
MUSTER_MUST_CHECK enum muster_status muster__version_keep_scripts(struct muster__version *version);
/* The same of what it imports, for one that the embedder registers. */
MUSTER_MUST_CHECK enum muster_status muster__version_keep_imports(struct muster__version *version);
/* In which engine a script of that address runs that a context asks for. */
const char *muster__version_engine(const struct muster__context *maker, const char *url);
/* Thread: coordinator.  The script's address as scripts see it: a path is a file: URL.  Borrowed. */
const char *muster__version_url(struct muster__version *version);
/* Thread: any.  Whether a client that it matches is controlled by it. */
bool muster__version_controls(const struct muster__version *version);
/* Thread: any.  False: its script was evaluated and listened for no such event (SW-RUN-3). */
bool muster__version_listens(struct muster__version *version, const char *event);
struct muster__version *muster__version_acquire(struct muster__version *version);
void muster__version_release(struct muster__version *version);

/* A request of the embedder's. */
struct muster_handle {
    struct muster__request request; /* class: handle.c's */
    struct muster *muster;
    struct muster__version *version; /* where it was sent; NULL for jobs */
    char *name;
    muster_done_fn *done;
    void *user_data;
    pid_t process;
    bool keep_result; /* somebody may wait, or it goes to the queue */
    struct muster__pool_timer timer;
    struct muster_handle *next_expired, *next_canceled, *next_completion;

    /* A job: what the coordinator is asked. */
    struct muster__message message;
    enum muster__core_event_kind job;
    struct muster__version *offered; /* REGISTER */
    struct muster_error refusal;     /* why there will be no job */
    char *scope;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t settled;
        bool is_settled;
    } shared;
    struct muster_result result; /* written before is_settled; points into the rest */
    struct muster_error error;
    struct muster_value *value;
    struct muster_http_response response;
    void *response_memory;
};

/* A callback of the embedder's that waits on the completion queue, embedded in its owner's memory: it waits there
 * once, with a reference. */
struct muster__completion {
    struct muster__completion *next;
    bool queued; /* under the queue's lock */
    void (*acquire)(struct muster__completion *completion);
    /* Thread: the embedder's.  Gives the reference back; not wanted: the instance is destroyed. */
    void (*run)(struct muster__completion *completion, bool wanted);
};

struct muster__instance; /* coordinator_internal.h's */
struct muster__worlds;   /* context.h's */
struct muster__keeper;   /* store_keeper.h's */
struct muster__syncs;    /* sync.h's */

struct muster {
    struct muster_options options;
    pid_t process;
    unsigned forks; /* muster__forks() where it was made */
    char *placement_name;
    struct muster__pool *pool;
    struct muster__spare *spare;
    struct muster__service *service;   /* coordinator */
    struct { /* hosting.c */
        pthread_mutex_t lock;
        _Atomic(struct muster__processes *) processes; /* made under the lock, when the first needs them */
        const struct muster__crash_policy *crashes; /* borrowed; NULL: the default.  Tests shorten it */
    } hosting;
    uint32_t local_host; /* of this process, where HTTP is accepted and the embedder calls */
    struct muster__core *core;         /* coordinator */
    struct muster__scope_map *scopes;  /* of entries; written by the coordinator, read by any thread */
    struct {                           /* stub.c */
        pthread_mutex_t lock;
        struct muster__stub *unfolded, **unfolded_end; /* of which the core has not heard yet */
        atomic_bool any_unfolded;
        struct muster__link list; /* coordinator: all of which it has not heard */
        bool taking_up;           /* coordinator */
    } stubs;
    atomic_bool has_url_scopes; /* a scope that is a whole URL was ever published */
    atomic_uint_fast64_t next_request;
    _Atomic uint32_t next_version;
    atomic_uint open_handles; /* not settled yet; MUSTER__CLOSING is set under the inbox's lock */
    atomic_bool closing;

    struct {
        pthread_t thread;
        bool running;
        struct muster__id_map versions, instances;
        struct muster__core_event *pending; /* answers to actions, fed after them */
        size_t pending_count, pending_capacity;
        struct muster__pause *pauses; /* starts that wait after a crash */
        uint64_t random;
        uint32_t moving;     /* the host whose workers move */
        uint64_t recycle_us; /* when hosts are looked at next */
        bool core_closed;
        bool stepping; /* the core: what comes of it is fed afterwards */
        uint64_t next_plain; /* for jobs and keys of workers that scripts make */
    } own; /* Thread: the one that has the role, see coordinator_inbox.c */
    struct muster__worlds *worlds; /* likewise */
    struct muster__syncs *syncs;   /* likewise */
    struct muster__keeper *keeper; /* likewise; NULL: nothing is kept */
    _Atomic uint64_t wall_ahead_us; /* tests: the wall clock of what is scheduled is so far ahead */
    struct { /* client.c */
        pthread_mutex_t lock;
        struct muster__link list;
        bool closing;
    } endpoints;
    struct muster__actor helper;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        struct muster__message *head, **tail;
        bool stepping;     /* the role is taken */
        bool called;       /* the coordinator's thread is wanted, whatever waits */
        uint64_t until_us; /* the core's deadline, as of the last round */
        uint64_t asleep_until_us; /* for how long the coordinator's thread sleeps; 0: it does not */
        bool quit;
        struct muster__message close_message;
        struct close_listener {
            struct close_listener *next;
            muster_closed_fn *fn;
            void *user_data;
        } *listeners;
        bool closed;
        pthread_cond_t closed_wake;
    } inbox;

    struct { /* handle.c */
        pthread_mutex_t lock;
        struct muster_handle *expired, *canceled;
        struct muster__actor expirer;
        struct muster_handle *completions, **completions_end;
        struct muster__completion *callbacks, **callbacks_end;
        int fd;
    } handles;

    struct {
        atomic_uint_fast64_t events, events_failed, starts, start_failures, revivals, idle_ends,
            forced_ends, wedged;
        atomic_uint_fast64_t registrations, running;
    } counters;
};

/* In open_handles: from then on its last decrement happens under the inbox's lock, so that whoever
 * closes and frees the instance knows that nobody is between 'the last has settled' and saying so. */
#define MUSTER__CLOSING (1u << 31)

/* Milliseconds of the embedder's as microseconds; for ever stays for ever. */
uint64_t muster__us_of_ms(uint64_t ms);
/* A time so far from now. */
uint64_t muster__deadline_us(uint64_t now_us, uint64_t ms);
/* A zero in an option means the default. */
static inline uint64_t muster__or_default(uint64_t value, uint64_t instead)
{
    return value ? value : instead;
}

/* Thread: any.  How often this process, and those that it descends from, was forked since the first call. */
unsigned muster__forks(void);
/* FORKED in a child of the process that made it. */
enum muster_status muster__check_usable(const struct muster *muster);
void muster__log(struct muster *muster, enum muster_log_level level, const char *subject,
                 const char *format, ...) MUSTER_PRINTF(4, 5);

/* coordinator*.c */
/* Registers what the store has, first. */
MUSTER_MUST_CHECK enum muster_status muster__coordinator_start(struct muster *muster, struct muster_error *error);
/* Thread: any.  False: it waits already. */
bool muster__coordinator_post(struct muster *muster, struct muster__message *message);
/* Thread: any.  As above; on a thread of the pool's, a turn of the pool may take it. */
bool muster__coordinator_post_soon(struct muster *muster, struct muster__message *message);
/* Thread: coordinator, for these. */
/* At once, or after the actions of the step that runs. */
void muster__coordinator_feed(struct muster *muster, const struct muster__core_event *event);
/* NULL: there is none any more. */
struct muster__version *muster__coordinator_version(struct muster *muster, uint64_t id);
/* A plain version is the core's from now on; acquires it. */
void muster__coordinator_add(struct muster *muster, struct muster__version *version);
/* Not from inside a step: a version that was registered in an earlier life.  The event says how; scope, script, job
 * and idle time are filled in. */
void muster__coordinator_restore(struct muster *muster, struct muster__version *version,
                                 const struct muster__core_event *event);
/* It ends, finishing what it has, or interrupted. */
void muster__coordinator_drop(struct muster *muster, struct muster__version *version, bool at_once);
/* A job's number that no handle has. */
uint64_t muster__coordinator_own_job(struct muster *muster);
/* A client is controlled by it, or no longer. */
void muster__coordinator_use(struct muster *muster, struct muster__version *version, bool begins);
/* A message for its script, which may be installing, or wait.  QUEUE_FULL, CLOSED. */
MUSTER_MUST_CHECK enum muster_status muster__coordinator_send(struct muster *muster, struct muster__version *version,
                                                              struct muster__request *request);
/* One running of a version, to look at; borrowed until the next step. */
struct muster__instance_view {
    uint64_t id;
    struct muster__version *version;
    struct muster__remote_worker *worker; /* NULL: not started yet, or gone */
    uint64_t started_us;                  /* 0: not yet */
};
/* False: there is none any more. */
bool muster__coordinator_view(struct muster *muster, uint64_t id, struct muster__instance_view *ret_view);
void muster__coordinator_each(struct muster *muster,
                              void (*see)(const struct muster__instance_view *view, void *user_data), void *user_data);
/* Thread: any.  A slot's want: its user data is the version. */
void muster__coordinator_run_want(struct muster__message *message, struct muster *muster);
void muster__coordinator_want(struct muster__slot *slot, void *user_data);
/* Thread: coordinator; the run of a job's message. */
void muster__coordinator_run_job(struct muster__message *message, struct muster *muster);
/* Thread: coordinator; instead, when it was refused. */
void muster__coordinator_run_refusal(struct muster__message *message, struct muster *muster);
/* Thread: any.  Repeatable. */
void muster__coordinator_close(struct muster *muster);
/* Thread: any.  Is this a coordinator's thread, of whatever instance? */
bool muster__coordinator_is_current(void);
/* Thread: any but muster's; after it closed.  Ends the thread, and what waits for the pool no more. */
void muster__coordinator_join(struct muster *muster);
/* Thread: any: takes one off open_handles, while closing. */
void muster__coordinator_settled_while_closing(struct muster *muster);
/* Thread: any: something that closing waits for has ended. */
void muster__coordinator_look_closed(struct muster *muster);

/* handle.c */
MUSTER_MUST_CHECK enum muster_status muster__handles_init(struct muster *muster);
void muster__handles_clean_up(struct muster *muster);
struct muster_handle *muster__handle_new(struct muster *muster, enum muster__request_kind kind,
                                         const char *name, muster_done_fn *done, void *user_data,
                                         bool wanted);
/* Begins its time limit. */
MUSTER_MUST_CHECK enum muster_status muster__handle_arm(struct muster_handle *handle, uint64_t timeout_ms);
/* The call failed before anything was sent: nobody hears of it. */
void muster__handle_discard(struct muster_handle *handle);
/* Thread: any.  What counted as an open handle has come to its end: the last that it does with the instance. */
void muster__handle_settled(struct muster *muster);
/* Thread: any.  Its run() comes in muster_run_completions(). */
void muster__completion_queue(struct muster *muster, struct muster__completion *completion);

/* client.c */
void muster__endpoints_init(struct muster *muster);
/* Thread: coordinator.  Closes all that are open; none is made any more. */
void muster__endpoints_close(struct muster *muster);

/* dispatch.c */
/* Thread: any.  The version of exactly this scope, retained.  NOT_FOUND, SHUTDOWN; else as muster__entry_version(). */
MUSTER_MUST_CHECK enum muster_status muster__find_scope(struct muster *muster, const char *scope,
                                                        struct muster__version **ret_version,
                                                        struct muster_error *error);
/* The same for the version that controls a URL: whole URLs first, then the path alone. */
MUSTER_MUST_CHECK enum muster_status muster__match(struct muster *muster, struct muster_bytes url,
                                                   struct muster__version **ret_version, struct muster_error *error);
/* Posts to its slot. */
MUSTER_MUST_CHECK enum muster_status muster__post(struct muster__version *version,
                                                  struct muster__request *request, uint64_t now_us);
/* A worker's script dispatches. */
enum muster_status muster__dispatch_from_worker(struct muster *muster, const char *scope,
                                                struct muster__request *request,
                                                uint64_t keepalive_until_us);

#endif
