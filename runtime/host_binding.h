/* runtime/host_binding.h - what the embedder gives to scripts: functions, objects, constants.
 *
 * Public: installed as <muster/host_binding.h>.  The same C code serves every engine.
 *
 * A binding has a dotted path: "db.query" is the method `query` of the global object `db`.  A call
 * comes in on the worker's own thread (a thread of muster's; never two calls of one worker at once).
 * It ends exactly once, by muster_host_call_return() or muster_host_call_throw():
 *   - in the function, on its thread: the script gets the value, or the error is thrown;
 *   - later, or from another thread: the script got a promise (JavaScript), or its coroutine waits (Lua), and
 *     the worker holds a keepalive token named after the binding until the call ends.
 * When the worker dies first, ending the call does nothing but free it; it must still be ended.
 */
#ifndef MUSTER_HOST_BINDING_H
#define MUSTER_HOST_BINDING_H

#include "base.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_host_call;
struct muster_bindings;

/* Thread: the worker's (a pool thread of muster's).  Must not block for long. */
typedef void muster_host_fn(struct muster_host_call *call, void *user_data);
/* Thread: any thread of muster's, once, when the last reference is gone. */
typedef void muster_finalize_fn(void *user_data);

/* A kind of object that scripts see.  Static data of the embedder's; must outlive the instance. */
struct muster_host_method {
    const char *name;
    muster_host_fn *call; /* user_data is the object's */
};
struct muster_host_class {
    size_t size; /* sizeof(struct muster_host_class) */
    const char *name;
    const struct muster_host_method *methods;
    size_t method_count;
    muster_finalize_fn *finalize; /* optional */
};

/* Thread: any.  A value that scripts see as an object with these methods.  `finalize` runs when
 * neither C nor any script holds it.  NULL: out of memory; then finalize does not run. */
MUSTER_API struct muster_value *muster_value_new_host_object(const struct muster_host_class *host_class,
                                                             void *user_data);
/* Thread: any.  NULL when the value is no host object of that class. */
MUSTER_API void *muster_value_host_object(const struct muster_value *value,
                                          const struct muster_host_class *host_class);

/* Thread: any, until the call is ended.  Arguments are borrowed from the call. */
MUSTER_API size_t muster_host_call_count(const struct muster_host_call *call);
MUSTER_API const struct muster_value *muster_host_call_argument(const struct muster_host_call *call,
                                                                size_t i); /* past the end: NULL */
/* The binding's path, or "Class.method". */
MUSTER_API const char *muster_host_call_name(const struct muster_host_call *call);

/* Thread: any.  Ends the call and frees it.  Takes the value; NULL returns undefined. */
MUSTER_API void muster_host_call_return(struct muster_host_call *take_call,
                                        struct muster_value *take_value);
/* Thread: any.  Ends the call: the script sees an Error of that name (default "Error") and message. */
MUSTER_API void muster_host_call_throw(struct muster_host_call *take_call, const char *name,
                                       const char *message);

/* Thread: any, but one at a time, before the set is given to an instance; constant afterwards. */
MUSTER_API struct muster_bindings *muster_bindings_new(void); /* NULL: out of memory */
MUSTER_API struct muster_bindings *muster_bindings_acquire(struct muster_bindings *bindings);
MUSTER_API void muster_bindings_release(struct muster_bindings *bindings); /* NULL: no-op */
/* `path` is copied: identifiers joined by dots, else INVALID_ARGUMENT; EXISTS when taken.  `finalize`
 * (optional) runs on the last release of the set. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_bindings_add_function(struct muster_bindings *bindings, const char *path,
                             muster_host_fn *function, void *user_data,
                             muster_finalize_fn *finalize);
/* A constant, or a host object; takes the value also on failure. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_bindings_add_value(struct muster_bindings *bindings, const char *path,
                          struct muster_value *take_value);

#ifdef __cplusplus
}
#endif
#endif
