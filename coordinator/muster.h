/* coordinator/muster.h - the library: one instance, its registrations, and what you send to them.
 *
 * Public: installed as <muster/muster.h>; the one header to include.  docs/embedding.md is the guide.
 *
 * An instance has a coordinator thread, which knows who exists, and a pool of threads, on which scripts
 * run; yours are never used for scripts.  Every call here may be made on any thread, unless it says
 * otherwise, and none of them waits for a script, but muster_wait() and muster_close_wait().
 *
 * Completion.  Each asynchronous call ends exactly once, whatever happens: result, error, cancellation,
 * timeout, crash or shutdown.  You hear of it
 *   - by a callback, on a thread of muster's (MUSTER_DELIVER_ON_THREAD), or on the thread that calls
 *     muster_run_completions() when muster_completion_fd() is readable (MUSTER_DELIVER_ON_QUEUE);
 *   - or by muster_wait() on the handle.
 * A callback never comes from inside the call that asked.
 *
 * Processes.  An instance does not survive fork(): every call in the child answers MUSTER_FORKED.
 * Signals.  muster installs no handler and its threads block all signals but the engine's.  The
 * JavaScript engine installs handlers for SIGSEGV, SIGBUS and SIGUSR1 (JSC_SIGNAL_FOR_GC chooses another)
 * when the first JavaScript worker starts.  SIGPIPE never comes from muster.
 *
 * Option structs begin with `size`: set it to sizeof; a field that is zero means the default.
 */
#ifndef MUSTER_MUSTER_H
#define MUSTER_MUSTER_H

#include "base.h"
#include "client.h"
#include "clone.h"
#include "host_binding.h"
#include "http_message.h"
#include "loader.h"
#include "native.h"
#include "placement.h"
#include "stream.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster;
struct muster_handle;

enum muster_delivery {
    MUSTER_DELIVER_ON_THREAD, /* callbacks on threads of muster's */
    MUSTER_DELIVER_ON_QUEUE   /* callbacks inside muster_run_completions() */
};

/* Thread: a worker's thread of muster's; must not block long.  One console call of a script. */
typedef void muster_console_fn(const char *scope, enum muster_log_level level,
                               struct muster_bytes text, void *user_data);

/* Where workers live.  The bindings of a worker in a process are called in yours, its console and errors come
 * as from any other; a crash, a leak or a loop stay in its process. */
enum muster_hosting {
    MUSTER_HOSTING_DEFAULT,            /* of an instance: THREAD; of a registration: the instance's */
    MUSTER_HOSTING_THREAD,             /* on the threads of this process */
    MUSTER_HOSTING_PROCESS,            /* in a few processes, which they share */
    MUSTER_HOSTING_PROCESS_PER_SITE,   /* shared with those of the same origin; paths have all the same */
    MUSTER_HOSTING_PROCESS_PER_WORKER
};
/* Thread: any.  "thread", "process", "process-per-site", "process-per-worker"; DEFAULT for all else. */
MUSTER_API enum muster_hosting muster_hosting_named(const char *word);

struct muster_options {
    size_t size;
    unsigned threads;             /* 0: one a core */
    enum muster_delivery delivery;
    /* Times in milliseconds. */
    uint64_t idle_ms;             /* 30,000: a worker without work ends after so long */
    uint64_t grace_ms;            /* 30,000: work that holds it longer gets so long more */
    uint64_t start_timeout_ms;    /* 30,000: to load and evaluate a script */
    uint64_t lifecycle_timeout_ms;/* 300,000: for install, and for activate */
    uint64_t stop_timeout_ms;     /* 5,000: asked to stop, to finish what runs */
    uint64_t cancel_timeout_ms;   /* 2,000: interrupted, to be gone */
    uint64_t event_timeout_ms;    /* 60,000: for one event, unless it says otherwise */
    uint64_t turn_limit_ms;       /* 10,000: CPU time of one turn */
    size_t memory_limit;          /* bytes a worker; 0: none */
    size_t queue_limit;           /* 1,024: requests that wait for one worker */
    unsigned spare_workers;       /* JavaScript VMs kept ready; 0: none */
    /* "least-loaded"; see placement.h.  A word of muster_hosting_named() as well, or both with a comma between. */
    const char *placement;
    const struct muster_placement_policy *placement_policy; /* instead; borrowed until closed */
    uint64_t seed;                /* of placement's random numbers; 0: from the system */
    bool log_decisions;           /* each placement with candidates, scores and reason, to `log` */
    bool log_events;              /* the core's events and actions, to `log` */
    muster_log_fn *log;           /* NULL: nothing is logged */
    muster_console_fn *console;   /* NULL: to `log` */
    void *user_data;              /* of log and console */
    muster_load_fn *load;         /* NULL: files */
    void *load_user_data;
    struct muster_bindings *bindings; /* for every worker; acquired */
    enum muster_hosting hosting;
    unsigned processes;           /* that workers share, with HOSTING_PROCESS; 0: one a core */
    unsigned process_limit;       /* at a time, of all; 0: 64 */
    uint64_t process_memory_limit;/* bytes, resident, of each; 0: none */
    /* A process that has had so many turns, got so old or so large is replaced, the new one first; its workers
     * move there between two events.  0: never. */
    uint64_t recycle_turns, recycle_ms, recycle_memory;
    bool no_spare_process;        /* none is kept in reserve */
    bool partial_wall;            /* trust "none" also where the kernel cannot raise all of the wall */
    bool grant_network;           /* trust "none" may connect to the network */
    const char *host_program;     /* the path of muster-host; NULL: searched beside the library; copied */
    /* Of each process, as process_memory_limit; 0: none. */
    unsigned process_open_files;  /* from 64 on: its own are among them; one too many fails to open */
    unsigned process_children;    /* processes that it may have started and that live; one too many ends it */
    uint64_t process_cpu_ms;      /* of its whole life, in whole seconds, rounded up; then it ends */
    unsigned worker_limit;        /* workers that the scripts of one storage key make, at a time; 0: 512 */
    /* Registrations survive the end of the process: kept in registrations.db there, restored at start, and no worker
     * starts before something wants it.  A job settles when what it changed is on the disk.  What needs code of
     * yours (native workers, bindings or a loader of their own) comes back when you register it again.  The folder is
     * made if need be; one process has it at a time (EXISTS).  NULL: nothing is kept.  Borrowed until
     * muster_new() returns. */
    const char *state_folder;
    unsigned registration_limit;  /* that the scripts of one storage key make; 0: 1,000 */
    size_t stored_limit;          /* bytes of scripts that those registrations may keep, of one storage key; 0: any */
    uint64_t sync_retry_ms;       /* 300,000: until a sync event that failed comes again; then three times as long */
    uint64_t periodic_sync_min_ms;/* 60,000: no periodicsync event comes more often */
    /* Each process is executed afresh.  Otherwise those with workers in JavaScript, or beside such, are copies of one that
     * has loaded the engine: they start sooner, share that memory, and have one address layout.  Those with trust "none"
     * are never copies. */
    bool fresh_processes;
    /* Bytes that the caches of one storage key may hold (CacheStorage; with a state folder in caches.db there); 0: 256 MiB. */
    size_t cache_limit;
    unsigned port_limit; /* message channels that the scripts of one storage key have open, in each process; 0: 100,000 */
};

/* Makes an instance and starts its threads.  INVALID_ARGUMENT, NO_MEMORY, SYSTEM; `error` (may be NULL)
 * says more. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_new(const struct muster_options *options,
                                                           struct muster **ret_muster,
                                                           struct muster_error *error);

/* Begins the shutdown: what runs is asked to finish, then interrupted, within stop_timeout_ms and
 * cancel_timeout_ms; what waits is settled with MUSTER_SHUTDOWN.  `on_closed` (may be NULL) comes once,
 * after every other callback but those still in the completion queue; a second close joins the first. */
typedef void muster_closed_fn(void *user_data);
MUSTER_API enum muster_status muster_close(struct muster *muster, muster_closed_fn *on_closed,
                                           void *user_data);
/* As muster_close(), and waits.  WRONG_THREAD on a thread of muster's; TIMED_OUT: call it again. */
MUSTER_API enum muster_status muster_close_wait(struct muster *muster, uint64_t timeout_ms);
/* Thread: none of muster's; after it was closed (else it closes and waits).  Frees it; handles that you
 * still hold stay valid.  NULL: no-op.  In a forked child it does nothing. */
MUSTER_API void muster_destroy(struct muster *muster);

/* ---- registrations ---- */

enum muster_trust {
    MUSTER_TRUST_SCRIPT, /* only what muster and your bindings offer */
    MUSTER_TRUST_FULL,   /* Lua: io, os, debug, package, binary chunks; its process has no wall */
    MUSTER_TRUST_NONE    /* as SCRIPT, in a process of its tenant's behind a wall; see docs/security.md */
};

struct muster_registration_options {
    size_t size;
    const char *scope;  /* "/app/" (any origin) or "https://example.org/app/" */
    const char *script; /* a path, or what your loader knows */
    const char *engine; /* "javascript", "lua", "native"; NULL: by the script's ending */
    const struct muster_native_worker *native; /* instead of a script; must outlive the instance */
    bool module;        /* the script is an ECMAScript module whatever its ending */
    bool lazy;          /* installed by its first event; the registration is there at once */
    const char *root;   /* the default loader reads nothing outside; NULL: the script's folder; "": files anywhere */
    enum muster_trust trust;
    uint64_t turn_limit_ms; /* 0: the instance's */
    size_t memory_limit;    /* 0: the instance's */
    size_t queue_limit;     /* 0: the instance's */
    uint64_t idle_ms;       /* 0: the instance's */
    struct muster_bindings *bindings; /* instead of the instance's; acquired */
    muster_load_fn *load;             /* instead of the instance's */
    void *load_user_data;
    enum muster_hosting hosting;      /* instead of the instance's */
    const char *tenant; /* trust "none": whose it is; two tenants never share a process; NULL: the scope */
    bool idempotent;    /* its events may run again when its process died in the midst of them */
    /* Of its process, instead of the instance's; 0: the instance's.  Only workers with the same limits share it. */
    uint64_t process_memory_limit, process_cpu_ms;
    unsigned process_open_files, process_children;
    /* `scheduled` events for its active version, {cron, scheduledTime}: cron expressions of five fields, in UTC, one a
     * line ("0 3 * * *"); NULL: none. */
    const char *schedule;
    bool declared;      /* with a state folder: you register it at each start, and it is not restored before */
};

/* Borrowed until the callback returns. */
struct muster_result {
    enum muster_status status;
    const struct muster_error *error;                 /* NULL when there is nothing to say */
    const struct muster_value *value;                 /* a call's result; NULL: none */
    const struct muster_http_response *response;      /* of a fetch that was answered */
};

typedef void muster_done_fn(const struct muster_result *result, void *user_data);

/* Register (the Service Workers standard, 4.x "Register"): install, then activate; a script that is
 * already the newest version of that scope changes nothing.  Settles when the new version is active, or
 * installed and waiting for the old one, or failed (UNSUPPORTED: there is no such engine, and the error says
 * why; without `done` and `ret_handle` that is the call's answer).  All texts are copied. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_register(struct muster *muster, const struct muster_registration_options *options,
                muster_done_fn *done, void *user_data, struct muster_handle **ret_handle);
/* Update (the same, "Update"): loads the script of the newest version again, and what it imported when it was installed,
 * which is all that it ever imports.  Byte for byte the same, nothing changes; else the new version is installed, and
 * activated when the old one has ended.  Settles as muster_register() does; NOT_FOUND comes by the completion. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_update(struct muster *muster, const char *scope,
                                                              muster_done_fn *done, void *user_data,
                                                              struct muster_handle **ret_handle);
/* Takes the scope off the map at once; its workers finish what they have.  NOT_FOUND comes by the
 * completion. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_unregister(struct muster *muster,
                                                                  const char *scope,
                                                                  muster_done_fn *done, void *user_data,
                                                                  struct muster_handle **ret_handle);
/* Ends the running worker of a scope and keeps the registration: the next event starts it again. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_stop(struct muster *muster, const char *scope,
                                                            muster_done_fn *done, void *user_data,
                                                            struct muster_handle **ret_handle);

/* Which registration controls a URL (longest prefix; "Match Service Worker Registration"), answered from
 * a snapshot, without a lock or a hop, on any thread.  Writes the scope, cut to `size`; the number of bytes
 * that it has, 0: none. */
MUSTER_API size_t muster_match(struct muster *muster, const char *url, char *scope, size_t size);

/* ---- events ---- */

struct muster_event_options {
    size_t size;
    uint64_t timeout_ms; /* 0: the instance's event_timeout_ms */
    bool idempotent;     /* may run again, on another process, when the worker's died in the midst of it */
};

/* Each of these settles once: with the script's answer; MUSTER_PASSED when nobody answered; MUSTER_QUEUE_FULL,
 * NOT_FOUND (no such scope) and SHUTDOWN may be answered at once, and then nothing else comes.  What keeps a registration
 * of an earlier life from being made again comes by the completion (NO_MEMORY, SYSTEM), with a sentence that names its
 * scope; the next event tries again.  `options`, `done` and `ret_handle` may be NULL; a handle is released by
 * muster_handle_release(). */

/* A fetch event for the registration that controls request->url.  Everything is copied, streams are acquired. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_fetch(struct muster *muster, const struct muster_http_request *request,
             const struct muster_event_options *options, muster_done_fn *done, void *user_data,
             struct muster_handle **ret_handle);
/* A functional event ("push", "sync", "message", or a name of your own) for the registration with
 * exactly that scope.  Takes `take_data` (NULL: undefined), also on failure. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_dispatch(struct muster *muster, const char *scope, const char *type,
                struct muster_value *take_data, const struct muster_event_options *options,
                muster_done_fn *done, void *user_data, struct muster_handle **ret_handle);
/* Calls a function of the script by name and gives its result.  Takes `take_arguments` (an array, or NULL). */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_call(struct muster *muster, const char *scope, const char *function,
            struct muster_value *take_arguments, const struct muster_event_options *options,
            muster_done_fn *done, void *user_data, struct muster_handle **ret_handle);

/* ---- handles and completions ---- */

/* Waits until it is settled.  MUSTER_OK: *ret_result is filled, borrowed while you hold the handle;
 * TIMED_OUT: not yet (0 only looks); WRONG_THREAD on a thread of muster's.  ret_result may be NULL. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_wait(struct muster_handle *handle,
                                                            uint64_t timeout_ms,
                                                            struct muster_result *ret_result);
/* Nobody wants it any more: it settles with MUSTER_CANCELED unless it has settled; the script's signal is
 * aborted. */
MUSTER_API void muster_cancel(struct muster_handle *handle);
MUSTER_API void muster_handle_release(struct muster_handle *take_handle); /* NULL: no-op */

/* Readable when completions wait (MUSTER_DELIVER_ON_QUEUE); poll it in any loop, never read it.  -1
 * otherwise. */
MUSTER_API int muster_completion_fd(struct muster *muster);
/* Thread: yours, one at a time.  Runs the callbacks that are ready and says how many they were. */
MUSTER_API size_t muster_run_completions(struct muster *muster);

/* ---- to look at ---- */

/* Borrowed until the call returns. */
struct muster_list_options {
    size_t size;
    const char *scope; /* of this scope alone; NULL: all */
    size_t limit;      /* so many at most, those that run first; 0: 1,000 */
    bool running;      /* those alone that live on a host */
};
/* Who exists: each worker that lives, or is being ended, and each version that waits for an event or for an older
 * one.  Settles with an object {workers: [...], more: how many were left out}, in which a worker is
 *   {scope, type: "service" | "dedicated" | "shared" | "client", name, script, engine,
 *    state: "asleep", "starting", "running", "stopping", "canceling", "dead"; of a version that is not active yet
 *           "installing", "waiting", "activating"; "redundant" when it only drains,
 *    version, instance (0: none), starts,
 *    host: null | {id, kind: "threads" | "process", pid (0: not yet), memory: bytes, of a process},
 *    tokens, timers, turns, events: {in_flight, waiting, total}, memory: bytes (0: not known), cpu_ms, age_ms}
 * with events.total of the version, its former workers included.  New fields may come.  `options` may be NULL. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_list(struct muster *muster,
                                                            const struct muster_list_options *options,
                                                            muster_done_fn *done, void *user_data,
                                                            struct muster_handle **ret_handle);

struct muster_stats {
    size_t size;
    uint64_t registrations, workers_running;
    uint64_t events, events_failed, starts, start_failures, revivals, idle_ends, forced_ends, wedged;
    uint64_t turns, steals, threads;
};
MUSTER_API void muster_stats(struct muster *muster, struct muster_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
