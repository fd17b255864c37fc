/* runtime/worker_internal.h - what worker.c (life and turns) and worker_host.c (what a realm asks for)
 * share.  Internal to the two. */
#ifndef MUSTER_WORKER_INTERNAL_H
#define MUSTER_WORKER_INTERNAL_H

#include "runtime/timers.h"
#include "runtime/worker.h"

#include <pthread.h>

#define WORKER_BATCH 64

enum worker_phase {
    WORKER_STARTING,  /* the script is loaded and evaluated */
    WORKER_RUNNING,
    WORKER_STOPPING,  /* takes nothing more; finishes what it has */
    WORKER_CANCELING, /* interrupted */
    WORKER_DEAD,
};

struct worker_token {
    uint32_t id;
    char *name;
    uint64_t since_us;
};

struct worker_list {
    struct muster__request *head, *tail;
};

/* When the engine is asked for the memory in use. */
struct worker_memory {
    uint64_t due_us; /* to think of it, the first time a period after the start */
    uint64_t cpu_us; /* of all turns when it was asked last */
    bool is_known;
};

/* What came into the inbox since the last turn looked. */
enum worker_news {
    WORKER_NEWS_NOTES = 1,
    WORKER_NEWS_CALLS = 2,
    WORKER_NEWS_CONTROL = 4,
    WORKER_NEWS_CANCELS = 8,
};

struct muster__worker {
    struct muster__actor actor;
    struct muster__slot_consumer consumer;
    struct muster__worker_options options; /* its texts are our copies */
    atomic_uint references;
    atomic_uint phase; /* enum worker_phase */

    struct { /* Thread: the one in the turn. */
        struct muster__vm *vm;
        struct muster__realm *realm;
        struct muster__script *script;
        struct muster__timers timers;
        struct muster__pool_timer pool_timer;
        uint64_t pool_timer_at_us;
        struct muster_host_call **open_calls;
        size_t open_count, open_capacity;
        bool loaded, evaluated, closing; /* closing: the script called close() */
        bool tells_closing; /* and nobody knows yet */
        enum muster_status fatal; /* the turn was cut short: the worker ends with this */
        uint64_t now_us;          /* of this turn */
        struct worker_memory memory;
        bool took_spare; /* in this turn */
        bool told_idle;  /* and nothing came since that might keep it alive */
    } own;

    atomic_bool stop_asked, cancel_asked, opened;
    atomic_bool abandoned; /* the thread in its turn is lost */
    atomic_bool timer_due;
    atomic_bool interrupted;
    _Atomic uint64_t interrupted_at_us; /* wall time of the turn then; the monitor's note */
    atomic_bool wedged_told;
    atomic_bool over_limit; /* interrupted because the turn used too much time */
    atomic_uint news;       /* enum worker_news; set after the thing itself, under the lock */
    atomic_uint timer_count; /* this and those below: for the statistics */
    _Atomic uint64_t turns, cpu_us;
    atomic_size_t memory;

    struct { /* innermost lock: nothing is called under it but interrupt */
        pthread_mutex_t lock;
        struct worker_list control;        /* requests that do not come through the slot */
        struct worker_list taken; /* from the slot, in this turn, and not begun yet */
        struct worker_list in_flight;
        struct muster__request **cancels;
        size_t cancel_count, cancel_capacity;
        struct muster__note *notes, **notes_end;
        struct muster_host_call *ended_calls;
        struct worker_token *tokens;
        size_t token_count, token_capacity;
        uint32_t next_token, in_flight_count;
        struct muster__vm *interruptible; /* own.vm while it lives */
        bool closed;                      /* no more notes, calls, control requests */
    } shared;
};

/* worker.c */
void muster__worker_wake(struct muster__worker *worker);
void muster__worker_forget_open_call(struct muster__worker *worker, const struct muster_host_call *call);

/* Whether to ask now, after so much CPU time of all turns; true counts as asked.  Thread: the one in the turn. */
bool muster__worker_memory_is_due(struct worker_memory *memory, uint64_t now_us, uint64_t cpu_us);

/* worker_host.c */
void muster__worker_drop_all_tokens(struct muster__worker *worker);

#endif
