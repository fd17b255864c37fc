/* runtime/engine.h - how a VM is driven: one table of functions for every engine.  Internal.
 *
 * An engine knows no threads, no mailboxes and no policy.  The worker that owns a realm calls the
 * table, always on one thread at a time (though not always the same thread); what the engine needs of
 * the worker it asks through `struct muster__realm_host`, which it is handed.  A test hands its own.
 *
 * A VM is the unit of memory, of time limits and of interruption.  A realm is a global object in it;
 * one VM may hold several realms.  A realm is made in two steps, so that spare ones can wait: new
 * (globals ready, no name yet), then evaluate (identity and script).
 *
 * A delivered request ends by host->settle() at most once and then host->ended() exactly once, unless
 * realm_destroy comes first; then the worker has settled it already, and the engine only forgets it.
 */
#ifndef MUSTER_ENGINE_H
#define MUSTER_ENGINE_H

#include "runtime/host_call.h"
#include "runtime/port.h"
#include "runtime/request.h"
#include "runtime/script.h"
#include "runtime/stream.h"
#include "runtime/value.h"

struct muster__vm;    /* the engine's */
struct muster__realm; /* the engine's */
struct muster__web;
struct muster__worker;

enum muster__trust {
    MUSTER__TRUST_SCRIPT, /* only what muster offers (the default) */
    MUSTER__TRUST_FULL,   /* Lua: io, os, debug, package, binary chunks as well */
    MUSTER__TRUST_NONE,   /* as SCRIPT, and only ever in a process of its tenant's, behind a wall */
};

enum muster__worker_type {
    MUSTER__WORKER_SERVICE,
    MUSTER__WORKER_DEDICATED,
    MUSTER__WORKER_SHARED,
    MUSTER__WORKER_CLIENT, /* a page: has clients' globals, and lives as long as its maker wants */
    MUSTER__WORKER_TYPE_COUNT
};

struct muster__vm_options {
    uint64_t turn_limit_us; /* CPU time of one turn; 0: no limit */
    size_t memory_limit;    /* bytes; 0: none */
};

/* Something on another thread wants the engine's attention (a stream became readable).  Embedded in
 * the engine's own object.  Between post and run it must not be freed. */
struct muster__note {
    struct muster__note *next;
    atomic_bool posted;
    /* Thread: the worker's, in a turn. */
    void (*run)(struct muster__note *note, struct muster__realm *realm);
};

/* What an engine does with the slot that posted() of a request of its own named: see slot.h, which is not in the
 * engine's object.  Thread: any. */
struct muster__slot_calls {
    void (*acquire)(struct muster__slot *slot);
    void (*release)(struct muster__slot *slot);
    void (*cancel)(struct muster__slot *slot, struct muster__request *request);
};

/* What a realm may ask of its worker.  Thread: the worker's, in a turn, unless it says any. */
struct muster__realm_host {
    /* A console call: level as in the console standard's printer, the text already formatted. */
    void (*console)(struct muster__worker *worker, enum muster_log_level level, const char *text,
                    size_t length);
    /* An uncaught error or unhandled rejection that no handler of the script's took.  With the status
     * MUSTER_CANCELED it only says that the client is gone, and is not told any further. */
    void (*report)(struct muster__worker *worker, const struct muster_error *error);

    /* Timers: engine->timer_fired(id) comes in a later turn, never from inside.  0: refused. */
    uint32_t (*timer_set)(struct muster__worker *worker, uint64_t delay_us, bool repeat);
    void (*timer_clear)(struct muster__worker *worker, uint32_t id); /* unknown ids are fine */
    uint64_t (*now_us)(struct muster__worker *worker);               /* monotonic */

    void (*settle)(struct muster__worker *worker, struct muster__request *request,
                   const struct muster__outcome *outcome);
    void (*ended)(struct muster__worker *worker, struct muster__request *request);

    /* A named keepalive token beyond those of requests.  The name is copied. 0: out of memory. */
    uint32_t (*token_take)(struct muster__worker *worker, const char *name);
    void (*token_drop)(struct muster__worker *worker, uint32_t token);

    /* importScripts, require: loads another script, relative to `importer`, now. */
    enum muster_status (*load)(struct muster__worker *worker, const char *url,
                               struct muster__script **ret_script, struct muster_error *error);

    /* Gives the open call to the worker; engine->host_call_ended() follows, or realm_destroy. */
    void (*host_call_open)(struct muster__worker *worker, struct muster_host_call *call);

    /* Thread: any.  note->run() comes in a turn soon.  Posting twice before it ran is one run. */
    void (*note_post)(struct muster__worker *worker, struct muster__note *note);
    /* Forgets a posted note. */
    void (*note_cancel)(struct muster__worker *worker, struct muster__note *note);

    void (*skip_waiting)(struct muster__worker *worker);
    void (*close)(struct muster__worker *worker); /* the script called close() */
    /* A function of the script's wants to dispatch to another worker: a CALL, EVENT, MESSAGE or FETCH
     * to the registration of `scope`.  Takes a reference on OK; settles as any request. */
    enum muster_status (*dispatch)(struct muster__worker *worker, const char *scope,
                                   struct muster__request *request);
    const struct muster__slot_calls *slots; /* NULL: what was dispatched cannot be called off */
    /* One that was dispatched, was settled as canceled before anybody answered, and that no slot has taken: whoever
     * has it hears that nobody waits.  May be NULL. */
    void (*dispatch_cancel)(struct muster__worker *worker, struct muster__request *request);
    /* The ends of a channel that counts on the worker's account.  QUEUE_FULL: it has too many. */
    enum muster_status (*port_pair)(struct muster__worker *worker, struct muster__port *ret_ends[2]);
    /* What engines use of the network and of blob URLs; NULL: there is none (runtime/loader_web.h). */
    const struct muster__web *web;
};

struct muster__realm_options {
    const struct muster__realm_host *host; /* lives as long as the realm */
    struct muster__worker *worker;         /* handed back in every call; NULL until adopt for spares */
    enum muster__trust trust;
    enum muster__worker_type type;
};

/* Who the realm is; given with the script. */
struct muster__realm_identity {
    struct muster__worker *worker;
    enum muster__worker_type type;
    enum muster__trust trust;
    const char *name;   /* may be "" */
    const char *scope;  /* service workers; may be NULL */
    const struct muster_bindings *bindings; /* may be NULL */
    const char *const *arguments; /* muster.args, NULL-terminated; may be NULL */
    /* To the coordinator, and a dedicated worker's implicit one; may be NULL.  Borrowed: the realm attaches them
     * when it wants (or never), acquires them if it keeps them, and detaches them when it is destroyed; then the
     * worker closes them. */
    struct muster__port *host_port;
    struct muster__port *port;
    bool types_known; /* the coordinator knows already what types of events the script listens for */
};

struct muster__engine {
    const char *name;         /* "javascript", "lua", "native" */
    const char *file_endings; /* ".js .mjs .ts", for choosing by file name */
    bool asks;       /* its workers use the host port */
    bool says_hello; /* a service worker sends something there before it needs what comes from there */

    /* Thread: a muster thread.  Each VM is used by one thread at a time from then on. */
    enum muster_status (*vm_new)(const struct muster__vm_options *options, struct muster__vm **ret_vm);
    void (*vm_destroy)(struct muster__vm *vm); /* its realms are gone */
    /* Limits of a spare VM are set when it gets its worker. */
    void (*vm_limit)(struct muster__vm *vm, const struct muster__vm_options *options);
    /* Thread: any, while the VM lives.  The running turn ends soon with MUSTER_TERMINATED.  Stays in
     * force until the VM is destroyed. */
    void (*vm_interrupt)(struct muster__vm *vm);
    /* Thread: the worker's.  Bytes in use, cheaply. */
    size_t (*vm_memory)(struct muster__vm *vm);
    /* Gives back what is not needed while idle.  Optional. */
    void (*vm_trim)(struct muster__vm *vm);

    enum muster_status (*realm_new)(struct muster__vm *vm, const struct muster__realm_options *options,
                                    struct muster__realm **ret_realm);
    void (*realm_destroy)(struct muster__realm *realm);
    /* A realm without a worker has time: loads ahead what any first event needs.  False: it is of no use
     * any more.  Optional. */
    bool (*realm_prepare)(struct muster__realm *realm);

    /* Runs the script once.  SYNTAX_ERROR, SCRIPT_ERROR, TURN_LIMIT, TERMINATED, MEMORY_LIMIT fill the error.
     * MUSTER_PENDING: a module whose default export is a promise; `evaluated` is called when it settles. */
    enum muster_status (*evaluate)(struct muster__realm *realm,
                                   const struct muster__realm_identity *identity,
                                   const struct muster__script *script,
                                   void (*evaluated)(struct muster__worker *worker,
                                                     enum muster_status status,
                                                     const struct muster_error *error),
                                   struct muster_error *error);
    /* Whether the script listens for that event type (call: has that function). */
    bool (*handles)(struct muster__realm *realm, const char *type);

    /* Each of these is one entry into the VM, with its microtasks; the answer is MUSTER_OK, or why the
     * turn was cut short: TURN_LIMIT, TERMINATED or MEMORY_LIMIT, after which the worker ends the realm.
     * A script's own error is not a failure here: it goes to settle() or report(). */
    enum muster_status (*deliver)(struct muster__realm *realm, struct muster__request *request);
    enum muster_status (*timer_fired)(struct muster__realm *realm, uint32_t id);
    enum muster_status (*host_call_ended)(struct muster__realm *realm, struct muster_host_call *call);
    enum muster_status (*cancel)(struct muster__realm *realm, struct muster__request *request);
    /* After everything else in a turn: unhandled rejections, a request's note.  Optional. */
    enum muster_status (*turn_end)(struct muster__realm *realm);
};

extern const struct muster__engine muster__engine_native;
extern const struct muster__engine muster__engine_lua;
/* In an object of its own, loaded on first use; see runtime/engine_table.h. */
extern const struct muster__engine muster__engine_javascript;

#endif
