/* runtime/native.h - workers written in C: functions of the embedder's, or a shared object.
 *
 * Public: installed as <muster/native.h>.
 *
 * Every call comes on the worker's thread of the moment, one at a time; a handler must return soon
 * (native code cannot be interrupted: one that does not return is reported as wedged).  What takes
 * longer holds the event open: muster_event_wait_until() with a name, then muster_event_done() from a
 * timer, or from any thread through muster_native_post().
 *
 * A shared object exports `const struct muster_native_worker muster_worker`.
 */
#ifndef MUSTER_NATIVE_H
#define MUSTER_NATIVE_H

#include "base.h"
#include "http_message.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_native; /* the running worker */
struct muster_event;  /* an event being handled */

typedef void muster_native_handler_fn(struct muster_native *worker, struct muster_event *event,
                                      void *state);
/* A function that muster_call() and scripts can call by name.  Settle it as an event:
 * muster_event_return() or muster_event_throw(). */
typedef void muster_native_timer_fn(struct muster_native *worker, void *state, void *timer_data);

struct muster_native_entry {
    const char *name; /* event type: "install", "fetch", "greet"; or function name */
    muster_native_handler_fn *handler;
};

struct muster_native_worker {
    size_t size; /* sizeof(struct muster_native_worker) */
    /* Runs once when the worker starts; what it stores in *ret_state comes back in each call.  Optional.
     * A failure fails the start. */
    enum muster_status (*start)(struct muster_native *worker, void **ret_state,
                                struct muster_error *error);
    void (*stop)(struct muster_native *worker, void *state); /* optional */
    const struct muster_native_entry *events;
    size_t event_count;
    const struct muster_native_entry *functions;
    size_t function_count;
};

/* Thread: the worker's, for all below unless it says any.  Events are valid until their last hold is
 * done and they are settled. */
MUSTER_API const char *muster_event_type(const struct muster_event *event);
MUSTER_API const struct muster_value *muster_event_data(const struct muster_event *event);
/* Of a fetch event, else NULL; borrowed while the event lives. */
MUSTER_API const struct muster_http_request *muster_event_request(const struct muster_event *event);
/* Answers a fetch event, once; everything is copied.  MUSTER_CLOSED when it is settled already. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_event_respond(struct muster_event *event, const struct muster_http_response *response);
/* Keeps the event and the worker alive under a name until as many dones came. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_event_wait_until(struct muster_event *event,
                                                                        const char *name);
MUSTER_API void muster_event_done(struct muster_event *event);
/* The result of a function, or of an event; takes the value; NULL: undefined. */
MUSTER_API void muster_event_return(struct muster_event *event, struct muster_value *take_value);
/* Fails the event or function. */
MUSTER_API void muster_event_throw(struct muster_event *event, const char *name,
                                   const char *message);

MUSTER_API void muster_native_log(struct muster_native *worker, enum muster_log_level level,
                                  const char *format, ...) MUSTER_PRINTF(3, 4);
/* 0: refused. */
MUSTER_API uint32_t muster_native_set_timer(struct muster_native *worker, uint64_t delay_ms,
                                            bool repeat, muster_native_timer_fn *fire,
                                            void *timer_data);
MUSTER_API void muster_native_clear_timer(struct muster_native *worker, uint32_t id);
/* A keepalive token outside of any event.  0: out of memory. */
MUSTER_API uint32_t muster_native_take_token(struct muster_native *worker, const char *name);
MUSTER_API void muster_native_drop_token(struct muster_native *worker, uint32_t token);
MUSTER_API void muster_native_skip_waiting(struct muster_native *worker);
MUSTER_API void muster_native_close(struct muster_native *worker);
/* Runs `run` in a turn of this worker soon.  Thread: any, while you hold an event or a token of it. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_native_post(struct muster_native *worker, muster_native_timer_fn *run, void *data);
/* Asks another worker of the same instance: an event (or, with `function`, a call) to the registration of
 * `scope`.  `on_settled` comes in a later turn of this worker, once; its value is borrowed.  An event that is given keeps this
 * worker alive meanwhile.  Takes `data`. */
typedef void muster_native_settled_fn(struct muster_native *worker, void *state,
                                      enum muster_status status, const struct muster_value *value,
                                      const struct muster_error *error, void *user_data);
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_native_dispatch(struct muster_native *worker, const char *scope, const char *name,
                       bool function, struct muster_value *take_data,
                       muster_native_settled_fn *on_settled, void *user_data);

#ifdef __cplusplus
}
#endif
#endif
