/* tests/fake_engine.h - an engine whose scripts are small commands, and a worker with ears.
 *
 * A request's name is one command; a script is some of them, separated by ";", run while it is
 * evaluated.  Nothing in here waits for time: what spins is let go by an interrupt, or by the test.
 *
 *   answer      settles with OK and ends
 *   hold        neither; "release" settles and ends what was held
 *   linger      settles at once, ends with "release"
 *   fail        settles with SCRIPT_ERROR
 *   spin        until it is interrupted: the turn is cut short with TERMINATED
 *   stuck       until fake_let_go() was called, deaf to interrupts
 *   die         the turn is cut short with TURN_LIMIT
 *   grow        the VM says that it has 4096 bytes more
 *   token       takes a named token, "tokens"; "drop" drops them all
 *   timer       sets a timer for now, repeat sets one that repeats; fake_counts.timers counts them
 *   never       a timer that does not come
 *   call        opens a host call, which fake_end_call() ends; settles when that was heard
 *   post        posts the realm's note to itself
 *   send SCOPE NAME  dispatches, settles with the answer's status
 *   report, skip, close   tell the listener
 *   syntax      (script) does not parse
 *   later       (script) is evaluated when a note comes
 */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include "runtime/worker.h"

#include <pthread.h>

extern const struct muster__engine fake_engine;
/* Its script is the URL. */
extern const struct muster__loader fake_loader;

struct fake_counts {
    atomic_int vms, realms;     /* alive */
    atomic_int deliveries, timers, notes, calls_heard, cancels, inside; /* inside: turns at once */
    atomic_int spinning, stuck; /* how many are in there now */
    atomic_bool let_go;
    atomic_bool overlapped; /* a realm was entered twice at once */
};
extern struct fake_counts fake_counts;
void fake_reset(void);
void fake_let_go(void);
/* Ends one call that is open, on the calling thread; false: there is none. */
bool fake_end_call(void);

/* ---- waiting for what other threads do, without time ---- */

struct fake_ears {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int started, gone, wedged, closed_self, skipped, reports, idle;
    enum muster_status start_status, gone_status;
    char gone_message[200];
    uint64_t turns;
    /* What `send` does; NULL: UNSUPPORTED. */
    enum muster_status (*dispatch)(const char *scope, struct muster__request *request,
                                   uint64_t keepalive_until_us);
};
extern const struct muster__worker_listener fake_listener; /* user_data: the ears */
void fake_ears_init(struct fake_ears *ears);
/* Until *count, which changes under the lock of those ears, has reached `wanted`. */
void fake_ears_wait(struct fake_ears *ears, const int *count, int wanted);

/* A request that remembers its endings; its memory is its own and is freed by fake_errand_free(). */
struct fake_errand {
    struct muster__request request;
    struct fake_ears ears;
    int settled, destroyed;
    enum muster_status status;
    char text[64];
    struct fake_errand *next;
};
struct fake_errand *fake_errand_new(enum muster__request_kind kind, const char *name);
void fake_errand_wait(struct fake_errand *errand); /* until it is settled */
/* Lets go of the first reference, waits for the others, checks that it was settled once. */
void fake_errand_free(struct fake_errand *errand);

#endif
