/* runtime/pool.h - the threads that take turns from all actors, wait for descriptors and for time.  Internal.
 *
 * An actor is something with a turn.  It is scheduled from any thread, and run by one pool thread at a
 * time; scheduling it while it runs makes it run once more.  A pool thread that schedules an actor keeps
 * it for itself, to run next when its own turn has ended (never nested), and others may steal it: a
 * thread that is idle when more than one waits is woken, and the monitor wakes one when a turn takes
 * longer than a millisecond.
 *
 * One thread at a time polls: it waits in epoll for descriptors and timers, calls the sources, lets go of
 * the polling, and runs what they scheduled itself, without waking another thread.  When that takes
 * longer than about a millisecond the monitor gives the polling to another.  The sources of one poller
 * never run on two threads at once.
 *
 * The monitor is one more thread, which sleeps while nothing runs.  It also adds a thread when every one
 * is held by a long turn, within `thread_limit`, ends it when it was not needed for a second, and tells the actor's watch how long its turn lasts.
 */
#ifndef MUSTER_POOL_H
#define MUSTER_POOL_H

#include "runtime/check.h"

struct muster__pool;
struct muster__actor;

struct muster__actor {
    struct muster__actor *next;
    /* Thread: one of the pool's, one at a time.  True: schedule me again (behind the others). */
    bool (*turn)(struct muster__actor *actor);
    /* A reference for as long as it is queued or running; both may be NULL. */
    void (*acquire)(struct muster__actor *actor);
    void (*release)(struct muster__actor *actor);
    /* Thread: monitor's, about every millisecond while a turn lasts longer than that; under a lock of
     * the pool's, so it only notes, interrupts and wakes.  True: the thread in that turn is lost,
     * another replaces it; should it ever come back from the turn it ends quietly.  May be NULL. */
    bool (*watch)(struct muster__actor *actor, uint64_t cpu_us, uint64_t wall_us);
    atomic_uint state; /* the pool's */
};

struct muster__pool_options {
    unsigned threads;      /* 0: one a core */
    unsigned thread_limit; /* 0: threads + 16 */
    const char *name;      /* of the threads; at most 9 characters */
    /* Where events have come within about so long, the thread that polls looks for the next one for so long
     * before it sleeps: one that sleeps takes 20 us and more to wake.  0, or one core: it sleeps at once. */
    unsigned spin_us;
    /* On each thread, first and last; may be NULL. */
    void (*thread_begins)(void);
    void (*thread_ends)(void);
};

/* Thread: any.  How many processors this process may use: what a pool takes for its threads, unless told. */
unsigned muster__pool_cores(void);
MUSTER_MUST_CHECK enum muster_status muster__pool_new(const struct muster__pool_options *options,
                                                      struct muster__pool **ret_pool);
/* Thread: none of the pool's.  What is queued still has its turns; nothing is scheduled from outside any
 * more.  Waits for turns that run, unless their watch gives them up: such threads are left behind, and
 * their number is the answer. */
unsigned muster__pool_destroy(struct muster__pool *pool);

void muster__actor_init(struct muster__actor *actor, bool (*turn)(struct muster__actor *actor));
/* Thread: any. */
void muster__pool_schedule(struct muster__pool *pool, struct muster__actor *actor);
/* Thread: any.  Is it scheduled, and no thread has come to it yet? */
bool muster__actor_waits(const struct muster__actor *actor);
/* Thread: any.  Would an actor that is scheduled now have its turn soon: next but one on this thread, or
 * on one that waits for work? */
bool muster__pool_is_free(const struct muster__pool *pool);
/* Thread: any.  Is this a thread of this pool, or of any muster pool (NULL)? */
bool muster__pool_is_current(const struct muster__pool *pool);
/* Thread: any.  A small number for the calling pool thread, for placement and statistics; -1: none. */
int muster__pool_thread_index(void);

/* Timers.  The memory is the caller's; `fire` runs on the thread that polls, under the
 * timers' lock: it schedules an actor or wakes a thread, and touches no timer.  Set replaces an earlier time.  After cancel returned true, fire will not run; false:
 * it runs or has run. */
struct muster__pool_timer {
    uint64_t at_us;
    size_t position; /* the pool's; 0: not set */
    void (*fire)(struct muster__pool_timer *timer, uint64_t now_us);
};
/* Thread: any.  OK unless NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__pool_timer_set(struct muster__pool *pool,
                                                            struct muster__pool_timer *timer,
                                                            uint64_t at_us);
bool muster__pool_timer_cancel(struct muster__pool *pool, struct muster__pool_timer *timer);

/* Descriptors, edge-triggered unless the events say otherwise (epoll's constants). */
struct muster__pool_source {
    int fd;
    /* Thread: the one that polls; never two sources' at once.  Runs no script. */
    void (*ready)(struct muster__pool_source *source, uint32_t events, uint64_t now_us);
    /* Optional, both or none: news comes in memory as well, and from there without an event.  Thread: the one that
     * polls.  After `ready` the pool looks itself each time that it polls, and calls `ready` with no events when `look`
     * says that there is something; before it waits it calls `sleep`, until which no event need come.  `sleep` is false when
     * there is something after all; true: an event will tell. */
    bool (*look)(struct muster__pool_source *source);
    bool (*sleep)(struct muster__pool_source *source);
    /* The pool's. */
    struct muster__pool_source *next_watched;
    bool watched;
};
/* Thread: any; remove: only from inside ready or flush, or when nothing polls it any more; `ready` does not come after it. */
MUSTER_MUST_CHECK enum muster_status muster__pool_source_add(struct muster__pool *pool,
                                                             struct muster__pool_source *source,
                                                             uint32_t events);
MUSTER_MUST_CHECK enum muster_status muster__pool_source_change(struct muster__pool *pool,
                                                                struct muster__pool_source *source,
                                                                uint32_t events);
void muster__pool_source_remove(struct muster__pool *pool, struct muster__pool_source *source);

/* A flusher runs on the thread that polls, each time before it waits and after it was scheduled: the
 * place where answers that turns have produced are written out together. */
struct muster__pool_flusher {
    struct muster__pool_flusher *next;
    atomic_bool scheduled;
    void (*flush)(struct muster__pool_flusher *flusher, uint64_t now_us);
};
/* Thread: any.  Flush soon; wakes the thread that polls if it waits.  Called from the thread that will
 * poll next anyway it costs no system call. */
void muster__pool_flush(struct muster__pool *pool, struct muster__pool_flusher *flusher);

struct muster__pool_stats {
    unsigned threads, idle, wedged; /* wedged: lost, and not come back */
    uint64_t turns, steals, wakes, poll_handoffs, threads_added;
};
void muster__pool_stats(struct muster__pool *pool, struct muster__pool_stats *ret_stats);

#endif
