/* runtime/pool.c - the pool's threads, their queues, and who is woken when.  See pool.h for the promise.
 *
 * No wake-up is lost: whoever adds work adds it first and then looks for somebody who sleeps; whoever
 * goes to sleep says so first and then looks for work again (sequentially consistent both).  Either the
 * role of polling is taken, or the thread that gave it back is running and will look again: so a thread
 * may park whenever another polls. */
#include "runtime/pool_internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum actor_state { ACTOR_IDLE, ACTOR_QUEUED, ACTOR_RUNNING, ACTOR_AGAIN };

/* Every so many turns of its own queue a thread looks at the shared one first, and polls. */
#define TURNS_IN_A_ROW 32
#define GAP_UNKNOWN_US 1000 /* until events have shown that they come quickly */

static _Thread_local struct pool_thread *current_thread;

/* ---- queues ---- */

static void queue_init(struct pool_queue *queue)
{
    pthread_mutex_init(&queue->lock, NULL);
    queue->head = queue->tail = NULL;
    atomic_init(&queue->count, 0);
}

static size_t queue_push(struct pool_queue *queue, struct muster__actor *actor)
{
    actor->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->tail)
        queue->tail->next = actor;
    else
        queue->head = actor;
    queue->tail = actor;
    size_t count = atomic_fetch_add(&queue->count, 1) + 1;
    pthread_mutex_unlock(&queue->lock);
    return count;
}

static struct muster__actor *queue_pop(struct pool_queue *queue)
{
    if (atomic_load(&queue->count) == 0)
        return NULL;
    pthread_mutex_lock(&queue->lock);
    struct muster__actor *actor = queue->head;
    if (actor) {
        queue->head = actor->next;
        if (!queue->head)
            queue->tail = NULL;
        atomic_fetch_sub(&queue->count, 1);
    }
    pthread_mutex_unlock(&queue->lock);
    return actor;
}

/* ---- waking ---- */

bool muster__pool_has_work(const struct muster__pool *pool)
{
    if (atomic_load(&pool->shared.count))
        return true;
    unsigned count = atomic_load(&pool->thread_count);
    for (unsigned i = 0; i < count; i++)
        if (atomic_load(&pool->threads[i]->queue.count))
            return true;
    return false;
}

bool muster__pool_wake_parked(struct muster__pool *pool)
{
    if (atomic_load(&pool->idle_count) == 0)
        return false;
    pthread_mutex_lock(&pool->lock);
    struct pool_thread *thread = pool->idle;
    if (thread) {
        pool->idle = thread->next_idle;
        atomic_fetch_sub(&pool->idle_count, 1);
        thread->woken = true;
        pthread_cond_signal(&thread->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    if (thread)
        atomic_fetch_add_explicit(&pool->wakes, 1, memory_order_relaxed);
    return thread != NULL;
}

bool muster__pool_wake_one(struct muster__pool *pool)
{
    return muster__pool_poll_wake(pool) || muster__pool_wake_parked(pool);
}

static void wake_to_steal(struct muster__pool *pool)
{
    if (atomic_exchange(&pool->wake_pending, true))
        return;
    if (!muster__pool_wake_parked(pool) && !muster__pool_wake_one(pool))
        atomic_store(&pool->wake_pending, false);
}

static void park(struct pool_thread *thread)
{
    struct muster__pool *pool = thread->pool;
    pthread_mutex_lock(&pool->lock);
    thread->woken = false;
    thread->next_idle = pool->idle;
    pool->idle = thread;
    atomic_fetch_add(&pool->idle_count, 1);
    /* Said; now look again, and at the role: its holder may just have left it without seeing us. */
    bool stay = !muster__pool_has_work(pool) && atomic_load(&pool->polled) &&
                !atomic_load(&pool->stopping);
    while (stay && !thread->woken)
        pthread_cond_wait(&thread->wake, &pool->lock);
    if (!thread->woken) {
        struct pool_thread **at = &pool->idle;
        while (*at != thread)
            at = &(*at)->next_idle;
        *at = thread->next_idle;
        atomic_fetch_sub(&pool->idle_count, 1);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* ---- turns ---- */

void muster__actor_init(struct muster__actor *actor, bool (*turn)(struct muster__actor *actor))
{
    memset(actor, 0, sizeof(*actor));
    actor->turn = turn;
    atomic_init(&actor->state, ACTOR_IDLE);
}

bool muster__actor_waits(const struct muster__actor *actor)
{
    return atomic_load(&actor->state) == ACTOR_QUEUED;
}

static void enqueue(struct muster__pool *pool, struct muster__actor *actor)
{
    struct pool_thread *thread = current_thread;
    if (thread && thread->pool == pool && !atomic_load(&thread->lost)) {
        if (queue_push(&thread->queue, actor) > 1)
            wake_to_steal(pool);
        else if (atomic_load(&thread->lost)) /* in between: nobody comes back to this queue */
            (void)muster__pool_wake_one(pool);
        return;
    }
    queue_push(&pool->shared, actor);
    (void)muster__pool_wake_one(pool);
}

void muster__pool_schedule(struct muster__pool *pool, struct muster__actor *actor)
{
    unsigned state = atomic_load(&actor->state);
    for (;;) {
        if (state == ACTOR_QUEUED || state == ACTOR_AGAIN)
            return;
        unsigned next = state == ACTOR_IDLE ? ACTOR_QUEUED : ACTOR_AGAIN;
        if (atomic_compare_exchange_weak(&actor->state, &state, next)) {
            if (next == ACTOR_QUEUED) {
                if (actor->acquire)
                    actor->acquire(actor);
                enqueue(pool, actor);
            }
            return;
        }
    }
}

static void turn_begin(struct pool_thread *thread, struct muster__actor *actor)
{
    struct muster__pool *pool = thread->pool;
    uint64_t now_us = muster__now_us();
    pthread_mutex_lock(&thread->turn_lock);
    thread->current = actor;
    thread->turn_started_us = now_us;
    thread->turn_number++;
    pthread_mutex_unlock(&thread->turn_lock);
    atomic_fetch_add(&pool->busy, 1);
    if (atomic_load(&pool->monitor_asleep))
        muster__pool_monitor_wake(pool);
}

/* False: the thread was given up in the meantime: the actor has no more turns. */
static bool turn_end(struct pool_thread *thread)
{
    pthread_mutex_lock(&thread->turn_lock);
    thread->current = NULL;
    bool lost = atomic_load(&thread->lost);
    pthread_mutex_unlock(&thread->turn_lock);
    if (!lost) {
        atomic_fetch_sub(&thread->pool->busy, 1);
        atomic_fetch_add_explicit(&thread->pool->turns, 1, memory_order_relaxed);
    }
    return !lost;
}

static void run_turn(struct pool_thread *thread, struct muster__actor *actor)
{
    unsigned queued = ACTOR_QUEUED;
    MUSTER_CHECK(atomic_compare_exchange_strong(&actor->state, &queued, ACTOR_RUNNING));
    turn_begin(thread, actor);
    bool more = actor->turn(actor);
    if (!turn_end(thread)) {
        if (actor->release)
            actor->release(actor); /* it stays as if it ran for ever; the turn's reference goes */
        return;
    }
    unsigned running = ACTOR_RUNNING;
    if (!more && atomic_compare_exchange_strong(&actor->state, &running, ACTOR_IDLE)) {
        if (actor->release)
            actor->release(actor); /* the reference of this round; another may run already */
        return;
    }
    atomic_store(&actor->state, ACTOR_QUEUED);
    enqueue(thread->pool, actor);
}

static struct muster__actor *steal(struct pool_thread *thread)
{
    struct muster__pool *pool = thread->pool;
    unsigned count = atomic_load(&pool->thread_count);
    for (unsigned i = 1; i < count; i++) {
        struct pool_thread *victim = pool->threads[(thread->index + i) % count];
        struct muster__actor *actor = victim == thread ? NULL : queue_pop(&victim->queue);
        if (actor) {
            atomic_fetch_add_explicit(&pool->steals, 1, memory_order_relaxed);
            return actor;
        }
    }
    return NULL;
}

static struct muster__actor *next_actor(struct pool_thread *thread)
{
    struct muster__pool *pool = thread->pool;
    struct muster__actor *actor = NULL;
    if (++thread->turns_in_a_row >= TURNS_IN_A_ROW) {
        thread->turns_in_a_row = 0;
        (void)muster__pool_poll(pool, false);
        actor = queue_pop(&pool->shared);
    }
    if (!actor)
        actor = queue_pop(&thread->queue);
    if (!actor)
        actor = queue_pop(&pool->shared);
    if (!actor)
        actor = steal(thread);
    return actor;
}

static void thread_loop(struct pool_thread *thread)
{
    struct muster__pool *pool = thread->pool;
    while (!atomic_load(&thread->lost) && !atomic_load(&thread->retired)) {
        if (atomic_load_explicit(&pool->wake_pending, memory_order_relaxed))
            atomic_store(&pool->wake_pending, false);
        struct muster__actor *actor = next_actor(thread);
        if (actor)
            run_turn(thread, actor);
        else if (atomic_load(&pool->stopping))
            return; /* what was queued has had its turn */
        else if (!muster__pool_poll(pool, true))
            park(thread);
    }
}

static void note_ended(struct pool_thread *thread)
{
    struct muster__pool *pool = thread->pool;
    pthread_mutex_lock(&pool->lock);
    thread->ended = true;
    if (atomic_load(&thread->lost)) { /* it came back after all */
        atomic_store(&thread->lost, false);
        atomic_store(&thread->retired, true);
        pool->lost_count--;
        pool->retired_count++;
    }
    pthread_cond_broadcast(&pool->thread_ended);
    pthread_mutex_unlock(&pool->lock);
}

/* The collector of the JavaScript engine stops its threads with this signal. */
static int collector_signal(void)
{
    const char *text = getenv("JSC_SIGNAL_FOR_GC");
    int number = text ? atoi(text) : 0;
    return number > 0 && number < NSIG ? number : SIGUSR1;
}

void muster__pool_block_signals(void)
{
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof(synchronous) / sizeof(*synchronous); i++)
        sigdelset(&set, synchronous[i]);
    sigdelset(&set, collector_signal());
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void *thread_main(void *argument)
{
    struct pool_thread *thread = argument;
    char name[16];
    current_thread = thread;
    snprintf(name, sizeof(name), "%.9s-%u", thread->pool->options.name, thread->index);
    pthread_setname_np(pthread_self(), name);
    if (thread->pool->options.thread_begins)
        thread->pool->options.thread_begins();
    thread_loop(thread);
    if (thread->pool->options.thread_ends)
        thread->pool->options.thread_ends();
    current_thread = NULL;
    note_ended(thread);
    return NULL;
}

static enum muster_status start_thread(struct pool_thread *thread)
{
    pthread_attr_t attributes;
    sigset_t old;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 4 << 20);
    /* The new thread inherits the mask: it never runs with another. */
    pthread_sigmask(SIG_SETMASK, NULL, &old);
    muster__pool_block_signals();
    int failed = pthread_create(&thread->handle, &attributes, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return failed ? MUSTER_SYSTEM : MUSTER_OK;
}

static unsigned live_count_locked(const struct muster__pool *pool)
{
    return atomic_load(&pool->thread_count) - pool->lost_count - pool->retired_count;
}

unsigned muster__pool_live_count(struct muster__pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    unsigned count = live_count_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

static struct pool_thread *thread_new(struct muster__pool *pool)
{
    struct pool_thread *thread = calloc(1, sizeof(*thread));
    if (!thread)
        return NULL;
    thread->pool = pool;
    queue_init(&thread->queue);
    pthread_mutex_init(&thread->turn_lock, NULL);
    pthread_cond_init(&thread->wake, NULL);
    return thread;
}

static void thread_free(struct pool_thread *thread)
{
    pthread_mutex_destroy(&thread->queue.lock);
    pthread_mutex_destroy(&thread->turn_lock);
    pthread_cond_destroy(&thread->wake);
    free(thread);
}

/* The place of a thread that retired, and has ended. */
static struct pool_thread *vacant_place_locked(struct muster__pool *pool)
{
    unsigned count = atomic_load(&pool->thread_count);
    for (unsigned i = 0; pool->retired_count && i < count; i++)
        if (atomic_load(&pool->threads[i]->retired) && pool->threads[i]->ended)
            return pool->threads[i];
    return NULL;
}

static enum muster_status reuse_locked(struct pool_thread *thread)
{
    pthread_t former = thread->handle;
    thread->ended = false;
    atomic_store(&thread->retired, false);
    enum muster_status status = start_thread(thread);
    if (status == MUSTER_OK) {
        thread->pool->retired_count--;
        pthread_join(former, NULL); /* its last act is over: this does not wait */
        return MUSTER_OK;
    }
    thread->handle = former;
    thread->ended = true;
    atomic_store(&thread->retired, true);
    return status;
}

static enum muster_status append_locked(struct muster__pool *pool)
{
    unsigned count = atomic_load(&pool->thread_count);
    if (count == POOL_THREADS_MAX)
        return MUSTER_REFUSED;
    struct pool_thread *thread = thread_new(pool);
    if (!thread)
        return MUSTER_NO_MEMORY;
    thread->index = count;
    pool->threads[count] = thread;
    enum muster_status status = start_thread(thread);
    if (status == MUSTER_OK)
        atomic_store(&pool->thread_count, count + 1);
    else
        thread_free(thread);
    return status;
}

enum muster_status muster__pool_add_thread(struct muster__pool *pool)
{
    enum muster_status status = MUSTER_REFUSED;
    pthread_mutex_lock(&pool->lock);
    if (live_count_locked(pool) < pool->options.thread_limit) {
        struct pool_thread *vacant = vacant_place_locked(pool);
        status = vacant ? reuse_locked(vacant) : append_locked(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

bool muster__pool_retire_thread(struct muster__pool *pool)
{
    struct pool_thread *thread = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->idle && live_count_locked(pool) > pool->options.threads) {
        struct pool_thread **at = &pool->idle;
        while ((*at)->next_idle)
            at = &(*at)->next_idle; /* the one that has slept longest */
        thread = *at;
        *at = NULL;
        atomic_fetch_sub(&pool->idle_count, 1);
        pool->retired_count++;
        atomic_store(&thread->retired, true);
        thread->woken = true;
        pthread_cond_signal(&thread->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    return thread != NULL;
}

void muster__pool_lose(struct pool_thread *thread)
{
    struct muster__pool *pool = thread->pool;
    atomic_store(&thread->lost, true);
    atomic_fetch_sub(&pool->busy, 1);
    struct muster__actor *waiting;
    while ((waiting = queue_pop(&thread->queue)))
        queue_push(&pool->shared, waiting);
    pthread_mutex_lock(&pool->lock);
    pool->lost_count++;
    pthread_cond_broadcast(&pool->thread_ended);
    pthread_mutex_unlock(&pool->lock);
}

bool muster__pool_is_free(const struct muster__pool *pool)
{
    const struct pool_thread *thread = current_thread;
    if (thread && thread->pool == pool)
        return !atomic_load(&thread->lost) && atomic_load(&thread->queue.count) < 2;
    return atomic_load(&pool->poll_waiting) || atomic_load(&pool->poll_spinning) ||
           atomic_load(&pool->idle_count) > 0;
}

bool muster__pool_is_current(const struct muster__pool *pool)
{
    return current_thread && (!pool || current_thread->pool == pool);
}

int muster__pool_thread_index(void)
{
    return current_thread ? (int)current_thread->index : -1;
}

/* ---- life ---- */

unsigned muster__pool_cores(void)
{
    cpu_set_t mine;
    long count = sched_getaffinity(0, sizeof(mine), &mine) == 0 ? CPU_COUNT(&mine)
                                                                : sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > 128 ? 128 : (unsigned)count;
}

enum muster_status muster__pool_new(const struct muster__pool_options *options,
                                    struct muster__pool **ret_pool)
{
    struct muster__pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return MUSTER_NO_MEMORY;
    pool->options = *options;
    pool->process = getpid();
    if (!pool->options.name)
        pool->options.name = "muster";
    if (!pool->options.threads)
        pool->options.threads = muster__pool_cores();
    if (muster__pool_cores() == 1)
        pool->options.spin_us = 0; /* whom it waits for could not run meanwhile */
    pool->poll_gap_us = GAP_UNKNOWN_US;
    if (!pool->options.thread_limit)
        pool->options.thread_limit = pool->options.threads + 16;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->thread_ended, NULL);
    queue_init(&pool->shared);
    muster__pool_monitor_init(pool);

    enum muster_status status = muster__pool_poll_init(pool);
    if (status != MUSTER_OK) {
        free(pool);
        return status;
    }
    for (unsigned i = 0; status == MUSTER_OK && i < pool->options.threads; i++)
        status = muster__pool_add_thread(pool);
    if (status == MUSTER_OK)
        status = muster__pool_monitor_start(pool); /* last: it would add threads that are missing */
    if (status != MUSTER_OK) {
        (void)muster__pool_destroy(pool);
        return status;
    }
    *ret_pool = pool;
    return MUSTER_OK;
}

/* Until every thread has ended or is lost, which only the monitor can tell. */
static void wait_for_threads(struct muster__pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < atomic_load(&pool->thread_count); i++) {
        struct pool_thread *thread = pool->threads[i];
        while (!thread->ended && !atomic_load(&thread->lost))
            pthread_cond_wait(&pool->thread_ended, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

static void wake_all(struct muster__pool *pool)
{
    (void)muster__pool_poll_wake(pool);
    while (muster__pool_wake_parked(pool))
        ;
}

unsigned muster__pool_destroy(struct muster__pool *pool)
{
    if (!pool)
        return 0;
    MUSTER_CHECK(!muster__pool_is_current(pool));
    atomic_store(&pool->stopping, true); /* whoever goes to sleep from here on sees it */
    wake_all(pool);
    wait_for_threads(pool);
    muster__pool_monitor_stop(pool);
    unsigned lost = 0;
    /* The monitor may have replaced a lost one meanwhile. */
    wake_all(pool);
    wait_for_threads(pool);
    for (unsigned i = 0; i < atomic_load(&pool->thread_count); i++) {
        struct pool_thread *thread = pool->threads[i];
        pthread_mutex_lock(&pool->lock); /* it may come back just now */
        bool is_lost = atomic_load(&thread->lost);
        if (is_lost)
            pthread_detach(thread->handle);
        pthread_mutex_unlock(&pool->lock);
        if (!is_lost)
            pthread_join(thread->handle, NULL);
        lost += is_lost;
    }
    if (lost)
        return lost; /* they may still come back and look at the pool: it stays */
    for (unsigned i = 0; i < atomic_load(&pool->thread_count); i++)
        thread_free(pool->threads[i]);
    muster__pool_poll_clean_up(pool);
    muster__pool_monitor_clean_up(pool);
    pthread_cond_destroy(&pool->thread_ended);
    pthread_mutex_destroy(&pool->shared.lock);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return 0;
}

void muster__pool_stats(struct muster__pool *pool, struct muster__pool_stats *ret_stats)
{
    pthread_mutex_lock(&pool->lock);
    unsigned lost = pool->lost_count;
    unsigned live = live_count_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    *ret_stats = (struct muster__pool_stats){
        .threads = live,
        .idle = atomic_load(&pool->idle_count),
        .wedged = lost,
        .turns = atomic_load(&pool->turns),
        .steals = atomic_load(&pool->steals),
        .wakes = atomic_load(&pool->wakes),
        .poll_handoffs = atomic_load(&pool->poll_handoffs),
        .threads_added = atomic_load(&pool->threads_added),
    };
}
