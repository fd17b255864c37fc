/* runtime/engine_lua_internal.h - what the files of the Lua engine share.  lua.h is included here only.
 *
 * Everything runs on the worker's thread of the moment, in a turn.  C that may raise a Lua error runs
 * inside muster__lua_enter(), which is protected; such C keeps what it allocates where the realm finds
 * it, since an error jumps over it.
 *
 * Script runs in tasks: coroutines that muster starts and wakes.  A C function that must wait yields a
 * marker that no script can make; coroutine.resume and coroutine.wrap hand the marker on to the task,
 * so that a script may wait at any depth of coroutines.  A task that waits has exactly one waker. */
#ifndef MUSTER_ENGINE_LUA_INTERNAL_H
#define MUSTER_ENGINE_LUA_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "runtime/engine.h"
#include "runtime/engine_outgoing.h"

struct muster__lua_flight;
struct muster__lua_task;

struct muster__vm {
    lua_State *state;
    uint64_t turn_limit_us;
    size_t memory_limit;
    size_t memory;
    unsigned refusals; /* of the allocator, in a row */
    atomic_bool interrupted;
    enum muster_status cut; /* why nothing runs here any more; OK: it does */

    /* Of the entry that runs. */
    struct muster__realm *realm;
    struct muster__lua_task *task;
    unsigned blocked;            /* coroutines under C calls that cannot yield */
    uint64_t turn_started_us; /* CPU time at the first look; 0: not looked yet */
    unsigned ticks;
};

struct muster__realm {
    struct muster__vm *vm;
    const struct muster__realm_host *host;
    struct muster__worker *worker;
    unsigned references; /* the owner's, and one for each userdata that points here */
    bool dead;
    bool has_lost_holds; /* the collector found a hold that the script forgot */
    struct muster_bindings *bindings;
    void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                      const struct muster_error *error);
    struct muster__lua_start *start; /* while evaluate() runs */

    /* References in the registry. */
    int environment;
    int listeners; /* type -> functions */
    int timers;    /* id -> function or task; -id -> function of an interval */
    int loaded;    /* url -> what muster.import() gave */
    int spare;     /* a finished coroutine for the next task */

    struct muster__lua_task *tasks;
    struct muster__lua_flight *flights;
    struct muster__outgoing *outgoing;
    struct muster_host_call *garbage; /* calls whose outcome an error may have jumped over */
};

/* What evaluate() wants to know of the main chunk. */
struct muster__lua_start {
    const struct muster__realm_identity *identity;
    const struct muster__script *script;
    enum muster_status status;
    struct muster_error *error;
};

/* `results` values are on the task's thread; below zero it failed and the error is on top of it. */
typedef void muster__lua_ended_fn(lua_State *L, struct muster__lua_task *task, int results);

struct muster__lua_task {
    struct muster__lua_task *next;
    struct muster__lua_task *previous;
    struct muster__realm *realm;
    lua_State *thread;
    int anchor;
    muster__lua_ended_fn *ended;
    struct muster__lua_flight *flight; /* may be NULL; its hold is the task's */
    int step;
};

static inline struct muster__vm *muster__lua_vm(lua_State *L)
{
    return *(struct muster__vm **)lua_getextraspace(L);
}

/* engine_lua.c */
enum muster_status muster__lua_enter(struct muster__realm *realm, lua_CFunction body, void *data);
struct muster__realm *muster__lua_realm(lua_State *L);
void muster__lua_realm_release(struct muster__realm *realm);
/* Raises when the turn was cut: what script catches must not keep it alive. */
void muster__lua_check_cut(lua_State *L, int status);

/* engine_lua_task.c.  On L: the function and its arguments. */
void muster__lua_task_start(lua_State *L, struct muster__realm *realm, int arguments,
                            muster__lua_ended_fn *ended, struct muster__lua_flight *flight, int step);
/* On L: what the wait returns.  The task must be waiting. */
void muster__lua_task_wake(lua_State *L, struct muster__lua_task *task, int arguments);
void muster__lua_tasks_forget(struct muster__realm *realm);
/* Raises unless this function may wait here; the task that will. */
struct muster__lua_task *muster__lua_may_wait(lua_State *L, const char *what);
bool muster__lua_can_wait(lua_State *L);
/* Parks the task: `return muster__lua_wait(...)`; `wakes` goes on with what the waker gives. */
int muster__lua_wait(lua_State *L, lua_KFunction wakes, lua_KContext context);
void muster__lua_open_coroutine(lua_State *L);

/* engine_lua_library.c */
void muster__lua_library_open_vm(lua_State *L);
void muster__lua_library_open_realm(lua_State *L, struct muster__realm *realm);
/* Name, scope, arguments, bindings, and what the trust grants.  Raises. */
void muster__lua_library_identify(lua_State *L, struct muster__realm *realm,
                                  const struct muster__realm_identity *identity);
int muster__lua_load_script(lua_State *L, struct muster__realm *realm,
                            const struct muster__script *script, bool binary);
bool muster__lua_push_function(lua_State *L, struct muster__realm *realm, const char *path);

/* engine_lua_host.c */
void muster__lua_push_binding(lua_State *L, int number, const struct muster__binding *binding);
void muster__lua_push_host_object(lua_State *L, const struct muster_value *value);
const struct muster_value *muster__lua_to_host_object(lua_State *L, int index);

#define MUSTER__LUA_PROBLEM 200
#define MUSTER__LUA_MOST_ARGUMENTS 200
/* engine_lua_value.c.  What is sent to another script.  Fills ret_problem[MUSTER__LUA_PROBLEM] when NULL
 * comes back; never raises. */
struct muster_value *muster__lua_to_value(lua_State *L, int index, char *ret_problem);
/* An array of `count` values from `first` on, or a message of one, for a script or for C; raises. */
struct muster_value *muster__lua_check_values(lua_State *L, int first, int count, bool for_script);
void muster__lua_push_value(lua_State *L, const struct muster_value *value); /* raises */
/* The items of an array, or a message of one, each pushed; raises.  How many. */
int muster__lua_push_arguments(lua_State *L, const struct muster_value *value);
void muster__lua_open_value(lua_State *L);
void muster__lua_open_value_names(lua_State *L);
extern const char muster__lua_array_key; /* registry keys of the shared metatables */
extern const char muster__lua_error_key;
extern const char muster__lua_null_key; /* its address, as light userdata, is muster.null */

/* engine_lua_error.c.  Pushes an error object; place and stack from L's caller when it has none. */
void muster__lua_push_error(lua_State *L, const struct muster_error *error);
int muster__lua_raise(lua_State *L, enum muster_status status, const char *name,
                      const char *message);
/* Of the error on top of `thread`, which is left as it failed; L is for scratch. */
void muster__lua_take_error(lua_State *L, lua_State *thread, enum muster_status status,
                            struct muster_error *ret_error);
void muster__lua_open_error(lua_State *L);

/* engine_lua_event.c */
void muster__lua_open_event(lua_State *L);
int muster__lua_deliver(lua_State *L); /* an entry: light userdata is the request */
void muster__lua_cancel(struct muster__realm *realm, struct muster__request *request);
void muster__lua_flights_forget(struct muster__realm *realm);
int muster__lua_drop_lost_holds(lua_State *L);
void muster__lua_flight_hold(struct muster__lua_flight *flight);
void muster__lua_flight_drop(lua_State *L, struct muster__lua_flight *flight);

/* engine_lua_hold.c: pushes a hold: a token, or one that also keeps `flight` open. */
void muster__lua_push_hold(lua_State *L, const char *name, struct muster__lua_flight *flight);
void muster__lua_open_hold(lua_State *L);

/* An end of a stream that a task may wait for; engine_lua_body.c. */
struct muster__lua_wait {
    struct muster__note note;
    struct muster__realm *realm;
    struct muster_stream *stream;
    struct muster__lua_task *waiting;
};

enum muster__lua_handle {
    MUSTER__LUA_HANDLE_EVENT,
    MUSTER__LUA_HANDLE_REQUEST,
    MUSTER__LUA_HANDLE_HEADERS,
    MUSTER__LUA_HANDLE_COUNT
};

/* What is under way for one request. */
struct muster__lua_flight {
    struct muster__lua_flight *next;
    struct muster__lua_flight *previous;
    struct muster__realm *realm;
    struct muster__request *request; /* NULL: it has ended */
    unsigned references;             /* the realm's while it is under way, and each hold's */
    unsigned holds;
    unsigned lost_holds;
    int event; /* registry reference of the event object */
    struct muster__lua_flight **handles[MUSTER__LUA_HANDLE_COUNT]; /* in userdata */
    bool settled;
    bool canceled;
    bool body_taken; /* of a request whose body is bytes */
    enum muster_status failed;
    struct muster_error failure;
    struct muster__lua_wait reader; /* the request's body */
    struct muster__lua_wait writer; /* the response's */
};

void muster__lua_flight_release(struct muster__lua_flight *flight);
void muster__lua_flight_fail(struct muster__lua_flight *flight, enum muster_status status,
                             struct muster_error *take_error);
void muster__lua_flight_settle(struct muster__lua_flight *flight,
                               const struct muster__outcome *outcome);
/* Raises when it is no such userdata, or its event has ended. */
struct muster__lua_flight *muster__lua_check_flight(lua_State *L, int index, const char *type);

/* engine_lua_body.c */
/* On L: what the fetch handler answers with, at `index`; raises when it is no response. */
void muster__lua_respond(lua_State *L, struct muster__lua_flight *flight, int index);
int muster__lua_request_read(lua_State *L);
int muster__lua_request_body(lua_State *L);
/* Lets go of the stream; no note of it comes afterwards. */
void muster__lua_wait_close(struct muster__realm *realm, struct muster__lua_wait *wait,
                            bool is_writer);

#define MUSTER__LUA_EVENT "muster.event"
#define MUSTER__LUA_REQUEST "muster.request"
#define MUSTER__LUA_HEADERS "muster.headers"

#endif
