/* coordinator/instance.h - the inside of a `struct muster`: what its files share, and what the command
 * uses beyond the public calls.  Internal.
 *
 *   muster.c       life of the instance, registrations
 *   version.c      one version of a registration; what all of these use
 *   hosting.c      where the workers of a version may live
 *   dispatch.c     events, calls: the way of a request from any thread into a slot
 *   handle.c       requests of the embedder's, their results, the completion queue
 *   coordinator.c  the thread: inbox, the core, and what the core's actions do
 */
#ifndef MUSTER_INSTANCE_H
#define MUSTER_INSTANCE_H

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

/* One version of a registration, from the register call until it is disposed of; the value in the scope
 * map.  Everything but the references is constant. */
struct muster__version {
    atomic_uint references;
    struct muster *muster;
    uint32_t id;
    char *scope, *script, *identity, *root;
    const struct muster__engine *engine;
    struct muster__loader loader;
    enum muster__trust trust;
    struct muster__worker_limits limits;
    struct muster_bindings *bindings;
    bool lazy, idempotent;
    enum muster_hosting hosting; /* DEFAULT: threads */
    char *isolation, *isolation_alone; /* processes: what a host of it is locked to */
    struct muster__crash_record crashes; /* coordinator */
    uint64_t idle_us;
    struct muster__slot *slot;
    _Atomic(struct muster__script *) stored; /* once it was loaded */
    struct muster__message want; /* the slot's: a request waits without a worker */
    struct muster__id_node node; /* coordinator: in its map */
    uint64_t starts;              /* coordinator */
};

/* UNSUPPORTED fills `error`.  One reference. */
MUSTER_MUST_CHECK enum muster_status
muster__version_new(struct muster *muster, const struct muster_registration_options *options,
                    struct muster__version **ret_version, struct muster_error *error);
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

struct muster__instance; /* coordinator.c's */

struct muster {
    struct muster_options options;
    pid_t process;
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
    struct muster__scope_map *scopes;  /* written by the coordinator, read by any thread */
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
    } own; /* Thread: the one that has the role, see coordinator.c */
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

/* FORKED in a child of the process that made it. */
enum muster_status muster__check_usable(const struct muster *muster);
void muster__log(struct muster *muster, enum muster_log_level level, const char *subject,
                 const char *format, ...) MUSTER_PRINTF(4, 5);

/* coordinator.c */
MUSTER_MUST_CHECK enum muster_status muster__coordinator_start(struct muster *muster);
/* Thread: any.  False: it waits already. */
bool muster__coordinator_post(struct muster *muster, struct muster__message *message);
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

/* dispatch.c */
/* Thread: any.  The version that controls a URL: whole URLs first, then the path alone.  Retained. */
struct muster__version *muster__match(struct muster *muster, struct muster_bytes url);
/* Posts to its slot. */
MUSTER_MUST_CHECK enum muster_status muster__post(struct muster__version *version,
                                                  struct muster__request *request, uint64_t now_us);
/* A worker's script dispatches. */
enum muster_status muster__dispatch_from_worker(struct muster *muster, const char *scope,
                                                struct muster__request *request,
                                                uint64_t keepalive_until_us);

#endif
