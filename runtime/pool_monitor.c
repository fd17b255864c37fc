/* runtime/pool_monitor.c - sees who takes too long.  See pool.h.
 *
 * One thread; it ticks every millisecond while turns run, and sleeps when none has run for a while.  CPU
 * time of a turn is read from the thread's clock, from the tick that first saw the turn on: a turn that
 * is shorter than a tick costs nothing. */
#include "runtime/pool_internal.h"

#include <stdlib.h>
#include <time.h>

#define TICK_NS 1000000
#define TICKS_UNTIL_SLEEP 20

static uint64_t thread_cpu_us(struct pool_thread *thread)
{
    clockid_t clock;
    struct timespec time;
    if (pthread_getcpuclockid(thread->handle, &clock) || clock_gettime(clock, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* How long the thread's turn has lasted, 0 if there is none; tells its watch, and gives the thread up
 * when that says so. */
static uint64_t look_at(struct pool_thread *thread, uint64_t now_us)
{
    uint64_t wall_us = 0;
    bool lost = false;
    pthread_mutex_lock(&thread->turn_lock);
    struct muster__actor *actor = atomic_load(&thread->lost) ? NULL : thread->current;
    if (actor && now_us > thread->turn_started_us)
        wall_us = now_us - thread->turn_started_us;
    if (actor && thread->seen_turn != thread->turn_number) {
        thread->seen_turn = thread->turn_number;
        thread->seen_cpu_us = thread_cpu_us(thread);
    } else if (actor && actor->watch && wall_us > POOL_LONG_TURN_US) {
        lost = actor->watch(actor, thread_cpu_us(thread) - thread->seen_cpu_us, wall_us);
        if (lost)
            muster__pool_lose(thread);
    }
    pthread_mutex_unlock(&thread->turn_lock);
    if (lost && muster__pool_add_thread(thread->pool) == MUSTER_OK)
        atomic_fetch_add_explicit(&thread->pool->threads_added, 1, memory_order_relaxed);
    return wall_us;
}

static bool has_surplus(struct muster__pool *pool)
{
    return atomic_load(&pool->thread_count) > pool->options.threads &&
           muster__pool_live_count(pool) > pool->options.threads;
}

/* Threads that were added while all were held end again when somebody has been idle all the time. */
static void retire_surplus(struct muster__pool *pool)
{
    if (!has_surplus(pool) || atomic_load(&pool->idle_count) == 0) {
        pool->surplus_ticks = 0;
        return;
    }
    if (++pool->surplus_ticks < POOL_RETIRE_TICKS)
        return;
    pool->surplus_ticks = POOL_RETIRE_TICKS - POOL_RETIRE_NEXT;
    (void)muster__pool_retire_thread(pool);
}

static void tick(struct muster__pool *pool)
{
    uint64_t now_us = muster__now_us();
    unsigned count = atomic_load(&pool->thread_count);
    unsigned held = 0;
    bool waits_behind = false;
    for (unsigned i = 0; i < count; i++) {
        struct pool_thread *thread = pool->threads[i];
        uint64_t wall_us = look_at(thread, now_us);
        held += wall_us > POOL_HELD_TURN_US;
        waits_behind |= wall_us > POOL_LONG_TURN_US && atomic_load(&thread->queue.count) > 0;
    }
    uint64_t free_since_us = atomic_load(&pool->poll_free_since_us);
    bool unpolled = !atomic_load(&pool->polled) && now_us > free_since_us + POOL_LONG_TURN_US;
    if (unpolled && muster__pool_wake_parked(pool))
        atomic_fetch_add_explicit(&pool->poll_handoffs, 1, memory_order_relaxed);
    else if (waits_behind || atomic_load(&pool->shared.count))
        (void)muster__pool_wake_one(pool);
    if (held >= muster__pool_live_count(pool) && !atomic_load(&pool->stopping) &&
        muster__pool_add_thread(pool) == MUSTER_OK)
        atomic_fetch_add_explicit(&pool->threads_added, 1, memory_order_relaxed);
    retire_surplus(pool);
}

static void *monitor_main(void *argument)
{
    struct muster__pool *pool = argument;
    unsigned quiet = 0;
    pthread_setname_np(pthread_self(), "muster-monitor");
    pthread_mutex_lock(&pool->monitor_lock);
    while (!pool->monitor_quit) {
        quiet = atomic_load(&pool->busy) || has_surplus(pool) ? 0 : quiet + 1;
        if (quiet > TICKS_UNTIL_SLEEP) {
            atomic_store(&pool->monitor_asleep, true);
            if (!atomic_load(&pool->busy) && !pool->monitor_quit)
                pthread_cond_wait(&pool->monitor_wake, &pool->monitor_lock);
            atomic_store(&pool->monitor_asleep, false);
            quiet = 0;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_unlock(&pool->monitor_lock);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        tick(pool);
        pthread_mutex_lock(&pool->monitor_lock);
    }
    pthread_mutex_unlock(&pool->monitor_lock);
    return NULL;
}

void muster__pool_monitor_wake(struct muster__pool *pool)
{
    pthread_mutex_lock(&pool->monitor_lock);
    pthread_cond_signal(&pool->monitor_wake);
    pthread_mutex_unlock(&pool->monitor_lock);
}

void muster__pool_monitor_init(struct muster__pool *pool)
{
    pthread_mutex_init(&pool->monitor_lock, NULL);
    pthread_cond_init(&pool->monitor_wake, NULL);
}

enum muster_status muster__pool_monitor_start(struct muster__pool *pool)
{
    sigset_t old;
    pthread_sigmask(SIG_SETMASK, NULL, &old);
    muster__pool_block_signals();
    int failed = pthread_create(&pool->monitor, NULL, monitor_main, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed)
        pool->monitor = 0; /* what it holds then is not said */
    return failed ? MUSTER_SYSTEM : MUSTER_OK;
}

void muster__pool_monitor_stop(struct muster__pool *pool)
{
    if (pool->monitor) {
        pthread_mutex_lock(&pool->monitor_lock);
        pool->monitor_quit = true;
        pthread_cond_signal(&pool->monitor_wake);
        pthread_mutex_unlock(&pool->monitor_lock);
        pthread_join(pool->monitor, NULL);
    }
}

void muster__pool_monitor_clean_up(struct muster__pool *pool)
{
    pthread_mutex_destroy(&pool->monitor_lock);
    pthread_cond_destroy(&pool->monitor_wake);
}
