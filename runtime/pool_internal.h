/* runtime/pool_internal.h - what pool.c (threads and queues), pool_poll.c (descriptors, timers, flushers)
 * and pool_monitor.c (who takes too long) share.  Internal to the three. */
#ifndef MUSTER_POOL_INTERNAL_H
#define MUSTER_POOL_INTERNAL_H

#include "runtime/pool.h"

#include <pthread.h>
#include <signal.h>

#define POOL_THREADS_MAX 256
#define POOL_LONG_TURN_US 1000  /* longer than that, others take over what waits */
#define POOL_HELD_TURN_US 3000  /* every thread held so long: another is added */
#define POOL_RETIRE_TICKS 1000  /* ticks with an idle thread until a surplus one ends */
#define POOL_RETIRE_NEXT 250    /* and from then on, until the next one does */

struct pool_queue {
    pthread_mutex_t lock; /* nothing is called under it */
    struct muster__actor *head, *tail;
    atomic_size_t count;
};

struct pool_thread {
    struct muster__pool *pool;
    pthread_t handle;
    unsigned index;
    struct pool_queue queue; /* this thread's own, FIFO; others steal from it */
    unsigned turns_in_a_row; /* own: until the shared queue has a turn */

    atomic_bool lost; /* its turn will not end; it was replaced */
    atomic_bool retired; /* a surplus thread that ends or has ended; its place may be used again */
    bool ended;          /* under the pool's lock: its loop is over, it touches nothing any more */
    pthread_mutex_t turn_lock; /* the monitor reads the three below while a turn lasts */
    struct muster__actor *current;
    uint64_t turn_started_us;
    uint64_t turn_number;

    /* The monitor's notes. */
    uint64_t seen_turn;
    uint64_t seen_cpu_us;

    /* Parked: under the pool's lock. */
    struct pool_thread *next_idle;
    bool woken;
    pthread_cond_t wake;
};

struct muster__pool {
    struct muster__pool_options options;
    pid_t process;
    atomic_bool stopping;

    pthread_mutex_t lock; /* threads, the idle list */
    struct pool_thread *threads[POOL_THREADS_MAX];
    atomic_uint thread_count; /* entries of the array; never shrinks */
    unsigned lost_count, retired_count;
    pthread_cond_t thread_ended; /* or was lost: whoever destroys waits for it */
    struct pool_thread *idle;
    atomic_uint idle_count;
    atomic_bool wake_pending; /* somebody was woken to steal and has not arrived yet */

    struct pool_queue shared; /* what other threads scheduled */

    /* Polling. */
    atomic_bool polled;         /* the role is taken */
    _Atomic uint64_t poll_free_since_us;
    atomic_bool poll_waiting;   /* the one that polls is in epoll, or about to be; false: it was woken */
    atomic_bool poll_spinning;  /* it looks for work without sleeping; false: it will find some */
    uint64_t poll_gap_us;       /* how long the last waits took, about; the role's */
    _Atomic uint64_t poll_until_us; /* for how long it means to wait: an earlier timer wakes it */
    struct muster__pool_source *watched, *watched_next; /* that it looks at itself, and where it has got to; the role's */
    unsigned finds_in_memory; /* in a row, without a look at descriptors; the role's */
    int epoll;
    atomic_uint sources_seen; /* what add published; see pool_poll.c */
    int wake_fd;
    pthread_mutex_t timer_lock;
    struct muster__pool_timer **timers;
    size_t timer_count, timer_capacity;
    _Atomic uint64_t first_timer_us;
    _Atomic(struct muster__pool_flusher *) flushers;

    /* The monitor. */
    pthread_t monitor;
    pthread_mutex_t monitor_lock;
    pthread_cond_t monitor_wake;
    atomic_bool monitor_asleep;
    bool monitor_quit; /* under its lock */
    unsigned surplus_ticks; /* the monitor's */
    atomic_uint busy; /* threads in a turn */

    atomic_uint_fast64_t turns, steals, wakes, poll_handoffs, threads_added;
};

/* pool.c */
MUSTER_MUST_CHECK enum muster_status muster__pool_add_thread(struct muster__pool *pool);
/* Thread: monitor's.  Ends an idle thread that is more than `options.threads`; false: there is none. */
bool muster__pool_retire_thread(struct muster__pool *pool);
/* Threads that are neither lost nor retired. */
unsigned muster__pool_live_count(struct muster__pool *pool);
/* Thread: monitor's, under the thread's turn lock. */
void muster__pool_lose(struct pool_thread *thread);
bool muster__pool_has_work(const struct muster__pool *pool);
/* One more thread than now should look for work.  True: somebody was woken. */
bool muster__pool_wake_one(struct muster__pool *pool);
bool muster__pool_wake_parked(struct muster__pool *pool);
void muster__pool_block_signals(void);

/* pool_poll.c */
MUSTER_MUST_CHECK enum muster_status muster__pool_poll_init(struct muster__pool *pool);
void muster__pool_poll_clean_up(struct muster__pool *pool);
/* Thread: a pool thread's.  Takes the role if it is free, polls once, gives it back.  False: it is taken. */
bool muster__pool_poll(struct muster__pool *pool, bool may_wait);
/* True: a thread waited in epoll, and this call woke it. */
bool muster__pool_poll_wake(struct muster__pool *pool);

/* pool_monitor.c */
void muster__pool_monitor_init(struct muster__pool *pool);
void muster__pool_monitor_clean_up(struct muster__pool *pool);
MUSTER_MUST_CHECK enum muster_status muster__pool_monitor_start(struct muster__pool *pool);
void muster__pool_monitor_stop(struct muster__pool *pool);
void muster__pool_monitor_wake(struct muster__pool *pool);

#endif
