/* runtime/host_call.h - the engine's side of a host call.  Internal.
 *
 * An engine makes a call, runs it, and looks whether it ended at once.  If not, it puts what it needs
 * to settle the script's promise into `engine_data`, gives the call to host->host_call_open(), and is
 * told by engine->host_call_ended() on the worker's thread.
 */
#ifndef MUSTER_HOST_CALL_H
#define MUSTER_HOST_CALL_H

#include "runtime/check.h"
#include "runtime/host_binding.h"

#include <pthread.h>

struct muster_host_call {
    struct muster_host_call *next; /* the list of whoever owns it now */
    struct muster_value *arguments; /* an array, or a message of one */
    const char *name;               /* borrowed from the binding or class */
    char *owned_name;               /* "Class.method" made for the call; NULL: none */
    muster_host_fn *function;
    void *user_data;

    char *spare_message; /* for a throw that finds no memory; NULL once used */

    pthread_t owner;       /* the thread inside the function */
    bool ended_by_owner;   /* and before the function returned; the owner's alone */

    void *engine_data; /* the engine's: how to settle the promise */
    uint32_t token;    /* the worker's: keeps it alive while the call is open */

    /* The outcome: written by the one that ends, read by the engine after that. */
    struct muster_value *result; /* NULL: undefined, or thrown */
    struct muster_error error;   /* message != NULL: thrown */

    atomic_uint phase; /* enum muster__host_call_phase */
    /* Set before phase becomes OPEN: how the one that ends wakes the worker.  Called once, with the
     * call, on the thread that ends it; the worker owns the call afterwards. */
    void (*on_ended)(struct muster_host_call *call, void *worker);
    void *worker;
};

enum muster__host_call_phase {
    MUSTER__HOST_CALL_RUNNING, /* inside the function */
    MUSTER__HOST_CALL_OPEN,    /* the function returned, and nobody had ended it */
    MUSTER__HOST_CALL_ENDED,
    MUSTER__HOST_CALL_ORPHAN, /* the worker died; ending it frees it */
};

/* Takes `arguments`.  NULL: out of memory (arguments are released). */
struct muster_host_call *muster__host_call_new(const char *name, muster_host_fn *function,
                                               void *user_data, struct muster_value *take_arguments);
/* Thread: owner.  Calls the function.  True: the function itself ended it; read the outcome, then destroy.  False also
 * where another thread was quicker than the function's return: a script must not see now a value, now a promise. */
bool muster__host_call_run(struct muster_host_call *call);
/* Thread: owner.  After run said false.  False: it ended in between; read the outcome, then destroy;
 * true: on_ended will be called once. */
bool muster__host_call_open(struct muster_host_call *call,
                            void (*on_ended)(struct muster_host_call *, void *worker), void *worker);
/* Thread: owner.  The worker dies: nobody will hear of it.  True: it had ended already and the caller
 * destroys it (on_ended was or is being called: destroy it where on_ended hands it over, not before);
 * false: its ender frees it. */
bool muster__host_call_orphan(struct muster_host_call *call);
void muster__host_call_destroy(struct muster_host_call *call);

/* One binding, for engines to walk when they make a realm. */
struct muster__binding {
    const char *path;
    muster_host_fn *function;           /* NULL: a value */
    void *user_data;
    const struct muster_value *value; /* NULL: a function */
};
size_t muster__bindings_count(const struct muster_bindings *bindings); /* NULL: 0 */
struct muster__binding muster__bindings_at(const struct muster_bindings *bindings, size_t i);

/* The class of a host object value, NULL if it is none; user_data of it. */
const struct muster_host_class *muster__value_host_class(const struct muster_value *value);
void *muster__value_host_data(const struct muster_value *value);

#endif
