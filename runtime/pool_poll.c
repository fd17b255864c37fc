/* runtime/pool_poll.c - one thread at a time waits for descriptors and timers.  See pool.h.
 *
 * The role is one atomic flag.  Its holder flushes, waits, runs timers and sources, flushes again and
 * gives the role back before it runs any turn; the time of giving it back is noted for the monitor. */
#include "runtime/pool_internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 128
/* The longest wait, so that a deadline that is further away, as most are and few are reached, need not
 * wake the one that polls to tell it. */
#define WAIT_AT_MOST_US 30000000u
/* Looks at memory, which take nanoseconds, for each look at descriptors, which takes a system call. */
#define LOOKS_AT_ONCE 32
#define FINDS_IN_A_ROW 16 /* in memory, before descriptors are looked at though there is more */
#define GAP_MOST_US 1000u /* counted, so that one long pause does not outweigh what follows for long */

/* ---- timers: a binary heap of pointers, the position noted in each ---- */

static void timer_place(struct muster__pool *pool, size_t i, struct muster__pool_timer *timer)
{
    pool->timers[i] = timer;
    timer->position = i + 1;
}

static void timer_sift_up(struct muster__pool *pool, size_t i)
{
    struct muster__pool_timer *timer = pool->timers[i];
    while (i > 0 && pool->timers[(i - 1) / 2]->at_us > timer->at_us) {
        timer_place(pool, i, pool->timers[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    timer_place(pool, i, timer);
}

static void timer_sift_down(struct muster__pool *pool, size_t i)
{
    struct muster__pool_timer *timer = pool->timers[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= pool->timer_count)
            break;
        if (child + 1 < pool->timer_count &&
            pool->timers[child + 1]->at_us < pool->timers[child]->at_us)
            child++;
        if (pool->timers[child]->at_us >= timer->at_us)
            break;
        timer_place(pool, i, pool->timers[child]);
        i = child;
    }
    timer_place(pool, i, timer);
}

static void timer_remove_locked(struct muster__pool *pool, struct muster__pool_timer *timer)
{
    size_t i = timer->position - 1;
    struct muster__pool_timer *last = pool->timers[--pool->timer_count];
    timer->position = 0;
    if (last != timer) {
        timer_place(pool, i, last);
        timer_sift_up(pool, i);
        timer_sift_down(pool, last->position - 1);
    }
}

static void note_first_locked(struct muster__pool *pool)
{
    atomic_store(&pool->first_timer_us, pool->timer_count ? pool->timers[0]->at_us : UINT64_MAX);
}

static bool timer_reserve_locked(struct muster__pool *pool)
{
    if (pool->timer_count < pool->timer_capacity)
        return true;
    size_t capacity = pool->timer_capacity ? pool->timer_capacity * 2 : 64;
    struct muster__pool_timer **timers =
        realloc(pool->timers, capacity * sizeof(struct muster__pool_timer *));
    if (!timers)
        return false;
    pool->timers = timers;
    pool->timer_capacity = capacity;
    return true;
}

enum muster_status muster__pool_timer_set(struct muster__pool *pool,
                                          struct muster__pool_timer *timer, uint64_t at_us)
{
    pthread_mutex_lock(&pool->timer_lock);
    if (!timer->position && !timer_reserve_locked(pool)) {
        pthread_mutex_unlock(&pool->timer_lock);
        return MUSTER_NO_MEMORY;
    }
    if (timer->position)
        timer_remove_locked(pool, timer);
    timer->at_us = at_us;
    timer_place(pool, pool->timer_count++, timer);
    timer_sift_up(pool, timer->position - 1);
    note_first_locked(pool);
    pthread_mutex_unlock(&pool->timer_lock);
    /* Compared with what the one that waits was told, not with the other timers: a deadline that is set
     * and cleared again for each of many events wakes nobody. */
    if (at_us < atomic_load(&pool->poll_until_us))
        (void)muster__pool_poll_wake(pool);
    return MUSTER_OK;
}

bool muster__pool_timer_cancel(struct muster__pool *pool, struct muster__pool_timer *timer)
{
    pthread_mutex_lock(&pool->timer_lock);
    bool was_set = timer->position != 0;
    if (was_set) {
        timer_remove_locked(pool, timer);
        note_first_locked(pool);
    }
    pthread_mutex_unlock(&pool->timer_lock);
    return was_set;
}

static void run_timers(struct muster__pool *pool, uint64_t now_us)
{
    while (atomic_load(&pool->first_timer_us) <= now_us) {
        pthread_mutex_lock(&pool->timer_lock);
        struct muster__pool_timer *timer = NULL;
        if (pool->timer_count && pool->timers[0]->at_us <= now_us) {
            timer = pool->timers[0];
            timer_remove_locked(pool, timer);
            note_first_locked(pool);
        }
        /* Under the lock, so that a cancel that finds it unset knows that it has run: it only
         * schedules an actor or wakes a thread, and may not touch timers. */
        if (timer)
            timer->fire(timer, now_us);
        pthread_mutex_unlock(&pool->timer_lock);
    }
}

/* ---- flushers ---- */

void muster__pool_flush(struct muster__pool *pool, struct muster__pool_flusher *flusher)
{
    /* Looked at first: most ask again before it was run.  It says so no more before it flushes. */
    if (atomic_load(&flusher->scheduled) || atomic_exchange(&flusher->scheduled, true))
        return;
    struct muster__pool_flusher *head = atomic_load(&pool->flushers);
    do {
        flusher->next = head;
    } while (!atomic_compare_exchange_weak(&pool->flushers, &head, flusher));
    if (!muster__pool_poll_wake(pool) && !muster__pool_is_current(pool) && !atomic_load(&pool->polled))
        (void)muster__pool_wake_one(pool);
}

static void run_flushers(struct muster__pool *pool, uint64_t now_us)
{
    struct muster__pool_flusher *list = atomic_exchange(&pool->flushers, NULL);
    while (list) {
        struct muster__pool_flusher *flusher = list;
        list = list->next;
        atomic_store(&flusher->scheduled, false);
        flusher->flush(flusher, now_us);
    }
}

/* ---- sources ---- */

static enum muster_status control(struct muster__pool *pool, int operation,
                                  struct muster__pool_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = source}};
    /* The kernel orders what the caller wrote before what the one that polls reads; the compiler and
     * the thread sanitizer see it by this, and by the load after the wait. */
    atomic_fetch_add_explicit(&pool->sources_seen, 1, memory_order_release);
    return epoll_ctl(pool->epoll, operation, source->fd, &event) ? MUSTER_SYSTEM : MUSTER_OK;
}

enum muster_status muster__pool_source_add(struct muster__pool *pool,
                                           struct muster__pool_source *source, uint32_t events)
{
    return control(pool, EPOLL_CTL_ADD, source, events);
}

enum muster_status muster__pool_source_change(struct muster__pool *pool,
                                              struct muster__pool_source *source, uint32_t events)
{
    return control(pool, EPOLL_CTL_MOD, source, events);
}

/* ---- sources whose news comes in memory ---- */

static void watch(struct muster__pool *pool, struct muster__pool_source *source)
{
    source->watched = true;
    source->next_watched = pool->watched;
    pool->watched = source;
}

static void unwatch(struct muster__pool *pool, struct muster__pool_source *source)
{
    struct muster__pool_source **at = &pool->watched;
    while (*at != source)
        at = &(*at)->next_watched;
    *at = source->next_watched;
    if (pool->watched_next == source)
        pool->watched_next = source->next_watched;
    source->watched = false;
}

static bool has_news(const struct muster__pool *pool)
{
    for (struct muster__pool_source *source = pool->watched; source; source = source->next_watched)
        if (source->look(source))
            return true;
    return false;
}

/* An event will tell of each from now on, and none is looked at any more.  False: there is something after all. */
static bool let_sleep(struct muster__pool *pool)
{
    while (pool->watched && pool->watched->sleep(pool->watched))
        unwatch(pool, pool->watched);
    return !pool->watched;
}

/* It may be gone when this returns, and so may any other. */
static void call_source(struct muster__pool *pool, struct muster__pool_source *source, uint32_t events,
                        uint64_t now_us)
{
    if (source->look && !source->watched)
        watch(pool, source);
    source->ready(source, events, now_us);
}

static void call_watched(struct muster__pool *pool, uint64_t now_us)
{
    for (struct muster__pool_source *source = pool->watched; source; source = pool->watched_next) {
        pool->watched_next = source->next_watched;
        if (source->look(source))
            call_source(pool, source, 0, now_us);
    }
}

/* What the thread that polls has still to call. */
static _Thread_local struct epoll_event *batch, *batch_end;

void muster__pool_source_remove(struct muster__pool *pool, struct muster__pool_source *source)
{
    (void)control(pool, EPOLL_CTL_DEL, source, 0);
    if (source->watched)
        unwatch(pool, source);
    /* It may be freed at once. */
    for (struct epoll_event *event = batch; event < batch_end; event++)
        if (event->data.ptr == source)
            event->events = 0;
}

/* ---- the role ---- */

bool muster__pool_poll_wake(struct muster__pool *pool)
{
    uint64_t one = 1;
    /* It sees what was added before this: it looks once more after it has said that it spins no longer. */
    if (atomic_load(&pool->poll_spinning) && atomic_exchange(&pool->poll_spinning, false))
        return true;
    /* One wake-up is enough, however many ask for it: it looks at everything. */
    if (!atomic_load(&pool->poll_waiting) || !atomic_exchange(&pool->poll_waiting, false))
        return false;
    atomic_fetch_add_explicit(&pool->wakes, 1, memory_order_relaxed);
    if (write(pool->wake_fd, &one, sizeof(one)) < 0)
        MUSTER_CHECK(errno == EAGAIN); /* it is readable already */
    return true;
}

static void note_gap(struct muster__pool *pool, uint64_t began_us)
{
    uint64_t gap_us = muster__now_us() - began_us;
    if (gap_us > GAP_MOST_US)
        gap_us = GAP_MOST_US;
    pool->poll_gap_us = (3 * pool->poll_gap_us + gap_us) / 4;
}

static bool is_needed(const struct muster__pool *pool, uint64_t now_us)
{
    return muster__pool_has_work(pool) || atomic_load(&pool->flushers) || atomic_load(&pool->stopping) ||
           atomic_load(&pool->first_timer_us) <= now_us;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* True: there is news, or work: the flag is taken away by whoever brings some. */
static bool look_at_memory(struct muster__pool *pool)
{
    for (int i = 0; pool->watched && i < LOOKS_AT_ONCE; i++) {
        if (has_news(pool) || !atomic_load(&pool->poll_spinning))
            return true;
        relax();
    }
    return false;
}

/* True: there are *ret_count events, or something else is to be done.  False: sleep, but look again before. */
static bool spin(struct muster__pool *pool, struct epoll_event *events, uint64_t began_us, int *ret_count)
{
    static const struct timespec at_once;
    bool found = false;
    if (!pool->options.spin_us || pool->poll_gap_us > 2 * pool->options.spin_us)
        return false;
    atomic_store(&pool->poll_spinning, true);
    for (;;) {
        *ret_count = 0;
        found = look_at_memory(pool) && ++pool->finds_in_memory < FINDS_IN_A_ROW;
        if (found)
            break;
        pool->finds_in_memory = 0;
        int count = epoll_pwait2(pool->epoll, events, EVENTS_AT_ONCE, &at_once, NULL);
        uint64_t now_us = muster__now_us();
        found = count > 0 || is_needed(pool, now_us) || has_news(pool);
        *ret_count = count > 0 ? count : 0;
        if (found || count < 0 || now_us - began_us > pool->options.spin_us)
            break;
        (void)sched_yield(); /* to whom it waits for, if they share a core */
    }
    atomic_store(&pool->poll_spinning, false);
    return found;
}

static int wait_events(struct muster__pool *pool, bool may_wait, struct epoll_event *events)
{
    struct timespec timeout = {0, 0};
    uint64_t began_us = may_wait ? muster__now_us() : 0;
    int count = 0;
    if (may_wait && spin(pool, events, began_us, &count)) {
        note_gap(pool, began_us);
        (void)atomic_load_explicit(&pool->sources_seen, memory_order_acquire);
        return count;
    }
    if (may_wait) {
        uint64_t first = atomic_load(&pool->first_timer_us);
        uint64_t now_us = muster__now_us();
        if (first > now_us + WAIT_AT_MOST_US)
            first = now_us + WAIT_AT_MOST_US;
        atomic_store(&pool->poll_until_us, first);
        atomic_store(&pool->poll_waiting, true);
        /* Said; now look again. */
        if (muster__pool_has_work(pool) || atomic_load(&pool->flushers) ||
            atomic_load(&pool->stopping) || first <= now_us ||
            atomic_load(&pool->first_timer_us) < first || !let_sleep(pool))
            ;
        else
            timeout = (struct timespec){(time_t)((first - now_us) / 1000000),
                                        (long)((first - now_us) % 1000000) * 1000};
    }
    count = epoll_pwait2(pool->epoll, events, EVENTS_AT_ONCE, &timeout, NULL);
    if (count < 0 && errno == ENOSYS) /* before Linux 5.11 */
        count = epoll_wait(pool->epoll, events, EVENTS_AT_ONCE,
                           (int)(timeout.tv_sec * 1000 + (timeout.tv_nsec + 999999) / 1000000));
    atomic_store(&pool->poll_waiting, false);
    (void)atomic_load_explicit(&pool->sources_seen, memory_order_acquire);
    if (may_wait && pool->options.spin_us)
        note_gap(pool, began_us);
    return count;
}

static void drain_wake(struct muster__pool *pool)
{
    uint64_t count;
    if (read(pool->wake_fd, &count, sizeof(count)) < 0)
        MUSTER_CHECK(errno == EAGAIN || errno == EINTR);
}

static void call_sources(struct muster__pool *pool, struct epoll_event *events, int count, uint64_t now_us)
{
    batch_end = events + (count > 0 ? count : 0);
    for (batch = events; batch < batch_end; batch++) {
        struct muster__pool_source *source = batch->data.ptr;
        if (!source)
            drain_wake(pool);
        else if (batch->events) /* else it was removed meanwhile */
            call_source(pool, source, batch->events, now_us);
    }
    batch = batch_end = NULL;
    call_watched(pool, now_us);
}

bool muster__pool_poll(struct muster__pool *pool, bool may_wait)
{
    if (atomic_exchange(&pool->polled, true))
        return false;
    struct epoll_event events[EVENTS_AT_ONCE];
    if (atomic_load(&pool->flushers))
        run_flushers(pool, muster__now_us());
    int count = wait_events(pool, may_wait, events);
    uint64_t now_us = muster__now_us();
    run_timers(pool, now_us);
    call_sources(pool, events, count, now_us);
    run_flushers(pool, now_us);
    atomic_store(&pool->poll_free_since_us, count > 0 ? muster__now_us() : now_us);
    atomic_store(&pool->polled, false);
    return true;
}

enum muster_status muster__pool_poll_init(struct muster__pool *pool)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}};
    pthread_mutex_init(&pool->timer_lock, NULL);
    atomic_init(&pool->first_timer_us, UINT64_MAX);
    pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pool->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (pool->wake_fd >= 0 && pool->epoll >= 0 &&
        !epoll_ctl(pool->epoll, EPOLL_CTL_ADD, pool->wake_fd, &event))
        return MUSTER_OK;
    muster__pool_poll_clean_up(pool);
    return MUSTER_SYSTEM;
}

void muster__pool_poll_clean_up(struct muster__pool *pool)
{
    if (pool->epoll >= 0)
        close(pool->epoll);
    if (pool->wake_fd >= 0)
        close(pool->wake_fd);
    free(pool->timers);
    pthread_mutex_destroy(&pool->timer_lock);
}
