/* runtime/worker.h - one running instance of a script: an actor on the pool.  Internal.
 *
 * A worker takes requests from its slot, in order, and lets its engine run them, turn by turn; it keeps
 * what is in flight, the named tokens, the timers and the open host calls, so that every one of them has
 * its ending whatever happens to the script.
 *
 *   starting -> running -> stopping (finishes what it has) -> canceling (interrupted) -> dead
 *
 * forward only.  `gone` is the last call of the listener, exactly once; after it nothing of the worker
 * runs.  A worker that is wedged stays where it is; what it had in flight is settled from outside.
 *
 * Threads: new, open, control, stop, cancel, abandon and describe come from any thread that is not in a
 * turn of this worker (the coordinator's); the listener is called on the worker's thread, or on the
 * monitor's (wedged).
 */
#ifndef MUSTER_WORKER_H
#define MUSTER_WORKER_H

#include "runtime/engine.h"
#include "runtime/loader_internal.h"
#include "runtime/pool.h"
#include "runtime/port_account.h"
#include "runtime/slot.h"

struct muster__worker;
struct muster__spare;

/* What workers hand to their realms; for realms that are made before they have a worker. */
extern const struct muster__realm_host muster__worker_realm_host;

struct muster__worker_report {
    enum muster_status status; /* MUSTER_OK: it ended as asked, or by itself with close() */
    const struct muster_error *error; /* may be NULL */
    uint64_t turns;
};

/* Thread: the worker's, unless it says else; must not block; no lock is held. */
struct muster__worker_listener {
    /* It opened its slot, as options.may_open allows; just before `started`, and before it takes anything
     * from there.  May be NULL. */
    void (*opened)(void *user_data);
    /* The script was evaluated, or not; once, unless gone comes first. */
    void (*started)(void *user_data, enum muster_status status, const struct muster_error *error);
    void (*console)(void *user_data, enum muster_log_level level, const char *text, size_t length);
    void (*report)(void *user_data, const struct muster_error *error);
    void (*skip_waiting)(void *user_data);
    void (*close_self)(void *user_data);
    /* Thread: monitor's.  The turn does not end, though it was interrupted. */
    void (*wedged)(void *user_data);
    enum muster_status (*dispatch)(void *user_data, const char *scope, struct muster__request *request,
                                   uint64_t keepalive_until_us);
    void (*gone)(void *user_data, const struct muster__worker_report *report);
    /* Dedicated workers: nothing keeps it alive any more (no request, token, timer). May be NULL. */
    void (*idle)(void *user_data);
    /* A keepalive token was taken, or dropped.  Taken, it keeps the worker alive until then, 0: for a full idle
     * time.  May be NULL. */
    void (*hold)(void *user_data, bool taken, uint64_t until_us);
    /* A turn begins, or has ended.  May be NULL. */
    void (*turn)(void *user_data, bool begins);
    /* Thread: any.  Between the two, what the options borrow stays, also after `gone`: the embedder's loader may still
     * be at work.  Both or neither may be NULL. */
    void (*keep)(void *user_data);
    void (*let_go)(void *user_data);
    /* Thread: any.  As `dispatch`, of a fetch that comes from another process: whose client it is made for is only what
     * that says.  May be NULL: the network answers. */
    enum muster_status (*fetch)(void *user_data, struct muster__request *request, uint64_t keepalive_until_us);
    /* What was given to `dispatch` is not wanted any more, and settled; nothing, if nobody has it.  May be NULL. */
    void (*dispatch_canceled)(void *user_data, struct muster__request *request);
};

struct muster__worker_limits {
    uint64_t turn_us;      /* CPU time of one turn; default 10 s */
    uint64_t wedged_us;    /* a turn that was interrupted and still runs so long is wedged; default 2 s */
    size_t memory;         /* bytes; 0: none */
};

struct muster__worker_options {
    struct muster__pool *pool;
    const struct muster__engine *engine;
    struct muster__spare *spare;        /* VMs that wait; may be NULL */
    const struct muster__loader *loader; /* borrowed until gone */
    /* Where the script is kept once it was loaded, for the instances that follow; borrowed until gone;
     * may be NULL. */
    _Atomic(struct muster__script *) *stored;
    enum muster__worker_type type;
    enum muster__trust trust;
    const char *script_url; /* this and the other texts are copied */
    const char *name;
    const char *scope;
    const char *const *arguments; /* borrowed until gone; may be NULL */
    struct muster_bindings *bindings; /* acquires */
    /* To the coordinator, and a dedicated worker's implicit one; may be NULL.  Ends without an owner, taken on OK.
     * They are closed when the worker is gone, or abandoned. */
    struct muster__port *host_port;
    bool types_known; /* see engine.h */
    struct muster__port *port;
    struct muster__port_account *ports; /* of the channels that its script makes; acquires; NULL: nobody counts them */
    struct muster__worker_limits limits;
    struct muster__slot *slot; /* acquires; may be NULL (dedicated) */
    uint32_t incarnation;      /* of that slot */
    bool may_open;             /* opens the slot by itself when the script was evaluated well */
    const struct muster__worker_listener *listener;
    void *user_data;
};

/* A copy that holds what the above says of each; the ports stay the caller's if it fails.  False: out of memory.
 * Either way it is cleaned up, which lets go of all, the ports too. */
bool muster__worker_options_copy(struct muster__worker_options *own, const struct muster__worker_options *options);
void muster__worker_options_clean_up(struct muster__worker_options *own);

/* Starts at once: the first turn loads and evaluates the script.  One reference, the caller's. */
MUSTER_MUST_CHECK enum muster_status muster__worker_new(const struct muster__worker_options *options,
                                                        struct muster__worker **ret_worker);
void muster__worker_acquire(struct muster__worker *worker);
void muster__worker_release(struct muster__worker *worker);

/* The slot is opened with this worker as its consumer: it takes requests from now on.  Not needed after
 * `opened`. */
bool muster__worker_open(struct muster__worker *worker, uint64_t now_us);
/* A request that does not come through the slot (install, activate); acquires it.  Refused requests are
 * settled TERMINATED. */
void muster__worker_control(struct muster__worker *worker, struct muster__request *request);
/* Thread: any. The settled request is not wanted any more: the script's signal is aborted. */
void muster__worker_cancel_request(struct muster__worker *worker, struct muster__request *request);

/* Finish what is in flight, then end.  Takes nothing more from the slot. */
void muster__worker_stop(struct muster__worker *worker);
/* Settle what is in flight with TERMINATED, interrupt the script, end. */
void muster__worker_cancel(struct muster__worker *worker);
/* It does not react: settle everything from outside and let its thread be replaced. */
void muster__worker_abandon(struct muster__worker *worker);

/* What holds it up, for people: "fetch /a (3.2 s), token \"cache write\""; snprintf's rules. */
int muster__worker_describe(struct muster__worker *worker, char *text, size_t size);

struct muster__worker_stats {
    const char *phase;
    uint32_t in_flight, tokens, timers;
    uint64_t turns, cpu_us; /* cpu_us: of its turns that have ended, to a millisecond a long turn */
    size_t memory;
    bool waits; /* for a thread: what it has to do is not its own delay */
};
void muster__worker_stats(struct muster__worker *worker, struct muster__worker_stats *ret_stats);

#endif
