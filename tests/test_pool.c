/* tests/test_pool.c - the pool: turns, the polling, timers, long turns and lost threads.
 *
 * Nothing waits for time to pass, but for things that happen: a latch that never opens lets the test run
 * into Check's own time limit.  What takes the monitor's ticks takes them. */
#include "runtime/pool.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void add(int *count, int by)
{
    pthread_mutex_lock(&lock);
    *count += by;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_until(const int *count, int wanted)
{
    pthread_mutex_lock(&lock);
    while (*count < wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static unsigned spin_us;

static void let_it_spin(void)
{
    spin_us = 50;
}

static struct muster__pool *new_pool(unsigned threads, unsigned limit)
{
    struct muster__pool *pool = NULL;
    const struct muster__pool_options options = {
        .threads = threads, .thread_limit = limit, .spin_us = spin_us};
    ck_assert_int_eq(muster__pool_new(&options, &pool), MUSTER_OK);
    return pool;
}

static struct muster__pool_stats stats_of(struct muster__pool *pool)
{
    struct muster__pool_stats stats;
    muster__pool_stats(pool, &stats);
    return stats;
}

/* ---- actors ---- */

struct counter {
    struct muster__actor actor;
    int turns, again, thread;
    atomic_int inside, references;
    atomic_bool overlapped;
};

static bool count_turn(struct muster__actor *actor)
{
    struct counter *counter = MUSTER_CONTAINER_OF(actor, struct counter, actor);
    if (atomic_fetch_add(&counter->inside, 1))
        atomic_store(&counter->overlapped, true);
    counter->thread = muster__pool_thread_index();
    bool more = counter->again > 0 && counter->again--;
    atomic_fetch_sub(&counter->inside, 1);
    add(&counter->turns, 1);
    return more;
}

static void acquire_counter(struct muster__actor *actor)
{
    atomic_fetch_add(&MUSTER_CONTAINER_OF(actor, struct counter, actor)->references, 1);
}

static void release_counter(struct muster__actor *actor)
{
    atomic_fetch_sub(&MUSTER_CONTAINER_OF(actor, struct counter, actor)->references, 1);
}

static void counter_init(struct counter *counter)
{
    memset(counter, 0, sizeof *counter);
    muster__actor_init(&counter->actor, count_turn);
    counter->actor.acquire = acquire_counter;
    counter->actor.release = release_counter;
}

/* Stays in its turn until it is let go. */
struct sticky {
    struct muster__actor actor;
    int entered, left;
    atomic_bool let_go;
    atomic_bool give_up; /* what its watch says */
    atomic_int watched;
};

static bool sticky_turn(struct muster__actor *actor)
{
    struct sticky *sticky = MUSTER_CONTAINER_OF(actor, struct sticky, actor);
    add(&sticky->entered, 1);
    while (!atomic_load(&sticky->let_go))
        sched_yield();
    add(&sticky->left, 1);
    return false;
}

static bool sticky_watch(struct muster__actor *actor, uint64_t cpu_us, uint64_t wall_us)
{
    struct sticky *sticky = MUSTER_CONTAINER_OF(actor, struct sticky, actor);
    ck_assert_uint_le(cpu_us, wall_us + 20000);
    atomic_fetch_add(&sticky->watched, 1);
    return atomic_load(&sticky->give_up);
}

static void sticky_init(struct sticky *sticky)
{
    memset(sticky, 0, sizeof *sticky);
    muster__actor_init(&sticky->actor, sticky_turn);
    sticky->actor.watch = sticky_watch;
}

START_TEST(a_scheduled_actor_has_one_turn_on_a_thread_of_the_pool)
{
    struct muster__pool *pool = new_pool(2, 0);
    struct counter counter;
    counter_init(&counter);
    ck_assert(!muster__pool_is_current(pool));
    ck_assert_int_eq(muster__pool_thread_index(), -1);
    muster__pool_schedule(pool, &counter.actor);
    wait_until(&counter.turns, 1);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    ck_assert_int_eq(counter.turns, 1);
    ck_assert_int_ge(counter.thread, 0);
    ck_assert_int_eq(atomic_load(&counter.references), 0);
}
END_TEST

START_TEST(a_turn_that_asks_for_more_comes_again)
{
    struct muster__pool *pool = new_pool(1, 0);
    struct counter counter;
    counter_init(&counter);
    counter.again = 99;
    muster__pool_schedule(pool, &counter.actor);
    wait_until(&counter.turns, 100);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    ck_assert_int_eq(counter.turns, 100);
}
END_TEST

START_TEST(an_actor_scheduled_in_its_turn_has_one_turn_more)
{
    struct muster__pool *pool = new_pool(2, 0);
    struct sticky sticky;
    sticky_init(&sticky);
    muster__pool_schedule(pool, &sticky.actor);
    wait_until(&sticky.entered, 1);
    for (int i = 0; i < 5; i++)
        muster__pool_schedule(pool, &sticky.actor);
    atomic_store(&sticky.let_go, true);
    wait_until(&sticky.left, 2);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    ck_assert_int_eq(sticky.entered, 2);
}
END_TEST

START_TEST(what_was_scheduled_before_the_end_still_has_its_turn)
{
    for (int round = 0; round < 20; round++) {
        struct muster__pool *pool = new_pool(2, 0);
        struct counter counters[50];
        for (int i = 0; i < 50; i++) {
            counter_init(&counters[i]);
            muster__pool_schedule(pool, &counters[i].actor);
        }
        ck_assert_uint_eq(muster__pool_destroy(pool), 0);
        for (int i = 0; i < 50; i++)
            ck_assert_int_eq(counters[i].turns, 1);
    }
}
END_TEST

/* Each turn schedules the other: a ball between two actors, which no wake-up may drop. */
struct player {
    struct counter counter;
    struct muster__pool *pool;
    struct player *other;
    int rounds;
};

static bool play_turn(struct muster__actor *actor)
{
    struct player *player = MUSTER_CONTAINER_OF(actor, struct player, counter.actor);
    (void)count_turn(actor);
    if (player->rounds-- > 0)
        muster__pool_schedule(player->pool, &player->other->counter.actor);
    return false;
}

START_TEST(actors_that_schedule_each_other_never_stop_and_never_overlap)
{
    enum { PAIRS = 8, ROUNDS = 5000 };
    static struct player players[PAIRS][2];
    struct muster__pool *pool = new_pool(3, 0);
    for (int i = 0; i < PAIRS; i++)
        for (int side = 0; side < 2; side++) {
            counter_init(&players[i][side].counter);
            players[i][side].counter.actor.turn = play_turn;
            players[i][side].pool = pool;
            players[i][side].other = &players[i][!side];
            players[i][side].rounds = ROUNDS;
        }
    for (int i = 0; i < PAIRS; i++)
        muster__pool_schedule(pool, &players[i][0].counter.actor);
    for (int i = 0; i < PAIRS; i++)
        for (int side = 0; side < 2; side++)
            wait_until(&players[i][side].counter.turns, ROUNDS);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    for (int i = 0; i < PAIRS; i++)
        ck_assert(!atomic_load(&players[i][0].counter.overlapped));
}
END_TEST

/* Several threads outside schedule one actor, and each look must be followed by a turn. */
static struct counter common;
static atomic_int posted, seen;

static bool see_turn(struct muster__actor *actor)
{
    atomic_store(&seen, atomic_load(&posted));
    return count_turn(actor);
}

static void *post_many(void *pool)
{
    for (int i = 0; i < 3000; i++) {
        int mine = atomic_fetch_add(&posted, 1) + 1;
        muster__pool_schedule(pool, &common.actor);
        while (i % 16 == 0 && atomic_load(&seen) < mine)
            sched_yield();
    }
    return NULL;
}

START_TEST(no_wake_up_from_outside_is_lost)
{
    struct muster__pool *pool = new_pool(2, 0);
    counter_init(&common);
    common.actor.turn = see_turn;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, post_many, pool);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    ck_assert_int_eq(atomic_load(&seen), 9000);
    ck_assert(!atomic_load(&common.overlapped));
}
END_TEST

/* ---- timers ---- */

struct ring {
    struct muster__pool_timer timer;
    int rings;
    uint64_t at_us;
};

static void ring_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct ring *ring = MUSTER_CONTAINER_OF(timer, struct ring, timer);
    ring->at_us = now_us;
    add(&ring->rings, 1);
}

START_TEST(a_timer_fires_once_and_not_before_its_time)
{
    struct muster__pool *pool = new_pool(1, 0);
    struct ring soon = {.timer.fire = ring_fire}, far = {.timer.fire = ring_fire};
    uint64_t now_us = muster__now_us();
    ck_assert_int_eq(muster__pool_timer_set(pool, &far.timer, now_us + 3600000000u), MUSTER_OK);
    ck_assert_int_eq(muster__pool_timer_set(pool, &soon.timer, now_us + 2000), MUSTER_OK);
    wait_until(&soon.rings, 1);
    ck_assert_uint_ge(soon.at_us, now_us + 2000);
    ck_assert(!muster__pool_timer_cancel(pool, &soon.timer));
    ck_assert(muster__pool_timer_cancel(pool, &far.timer));
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    ck_assert_int_eq(soon.rings, 1);
    ck_assert_int_eq(far.rings, 0);
}
END_TEST

START_TEST(an_earlier_timer_wakes_the_one_that_waits_for_a_later_one)
{
    struct muster__pool *pool = new_pool(1, 0);
    for (int i = 0; i < 50; i++) {
        struct ring far = {.timer.fire = ring_fire}, now = {.timer.fire = ring_fire};
        ck_assert_int_eq(muster__pool_timer_set(pool, &far.timer, muster__now_us() + 3600000000u),
                         MUSTER_OK);
        ck_assert_int_eq(muster__pool_timer_set(pool, &now.timer, muster__now_us()), MUSTER_OK);
        wait_until(&now.rings, 1);
        ck_assert(muster__pool_timer_cancel(pool, &far.timer));
    }
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

START_TEST(a_deadline_that_is_set_and_cleared_for_each_event_wakes_nobody)
{
    struct muster__pool *pool = new_pool(1, 0);
    struct ring first = {.timer.fire = ring_fire};
    ck_assert_int_eq(muster__pool_timer_set(pool, &first.timer, muster__now_us()), MUSTER_OK);
    wait_until(&first.rings, 1);
    uint64_t before = stats_of(pool).wakes;
    for (int i = 0; i < 1000; i++) {
        struct ring far = {.timer.fire = ring_fire};
        ck_assert_int_eq(muster__pool_timer_set(pool, &far.timer, muster__now_us() + 3600000000u),
                         MUSTER_OK);
        ck_assert(muster__pool_timer_cancel(pool, &far.timer));
    }
    ck_assert_uint_le(stats_of(pool).wakes, before + 2);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

START_TEST(ten_thousand_timers_fire_in_order)
{
    enum { COUNT = 10000 };
    struct muster__pool *pool = new_pool(1, 0);
    struct ring *rings = calloc(COUNT, sizeof *rings);
    uint64_t now_us = muster__now_us();
    uint32_t random = 1;
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525 + 1013904223;
        rings[i].timer.fire = ring_fire;
        ck_assert_int_eq(muster__pool_timer_set(pool, &rings[i].timer, now_us + random % 20000),
                         MUSTER_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        wait_until(&rings[i].rings, 1);
        ck_assert_uint_ge(rings[i].at_us, rings[i].timer.at_us);
    }
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    free(rings);
}
END_TEST

/* ---- sources and flushers ---- */

struct pipe_source {
    struct muster__pool_source source;
    int ready;
};

static void read_all(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    char byte;
    (void)events;
    (void)now_us;
    while (read(source->fd, &byte, 1) == 1)
        add(&MUSTER_CONTAINER_OF(source, struct pipe_source, source)->ready, 1);
}

struct flush {
    struct muster__pool_flusher flusher;
    int flushes;
};

static void flush_now(struct muster__pool_flusher *flusher, uint64_t now_us)
{
    (void)now_us;
    add(&MUSTER_CONTAINER_OF(flusher, struct flush, flusher)->flushes, 1);
}

static void pipe_source_init(struct pipe_source *source, int fds[2], struct muster__pool *pool)
{
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    *source = (struct pipe_source){.source = {.fd = fds[0], .ready = read_all}};
    ck_assert_int_eq(muster__pool_source_add(pool, &source->source, EPOLLIN | EPOLLET), MUSTER_OK);
}

START_TEST(a_descriptor_that_becomes_readable_is_heard_of)
{
    struct muster__pool *pool = new_pool(2, 0);
    struct pipe_source source;
    int fds[2];
    pipe_source_init(&source, fds, pool);
    for (int i = 1; i <= 200; i++) {
        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        wait_until(&source.ready, i);
    }
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* News comes in memory; the descriptor tells only while the source is asleep. */
struct memory_source {
    struct muster__pool_source source;
    atomic_int written, asleep;
    int read; /* the one that polls */
    int seen, bells;
};

static void memory_ready(struct muster__pool_source *base, uint32_t events, uint64_t now_us)
{
    struct memory_source *source = MUSTER_CONTAINER_OF(base, struct memory_source, source);
    char byte;
    (void)now_us;
    while (events && read(base->fd, &byte, 1) == 1)
        source->bells++;
    int written = atomic_load(&source->written), more = written - source->read;
    source->read = written;
    add(&source->seen, more);
}

static bool memory_look(struct muster__pool_source *base)
{
    struct memory_source *source = MUSTER_CONTAINER_OF(base, struct memory_source, source);
    return atomic_load(&source->written) != source->read;
}

static bool memory_sleep(struct muster__pool_source *base)
{
    struct memory_source *source = MUSTER_CONTAINER_OF(base, struct memory_source, source);
    atomic_store(&source->asleep, 1);
    return !memory_look(base);
}

START_TEST(news_in_memory_is_seen_and_rung_for_only_by_who_finds_it_asleep)
{
    enum { SOURCES = 3, NEWS = 2000 };
    struct muster__pool *pool = new_pool(2, 0);
    struct memory_source sources[SOURCES];
    int fds[SOURCES][2], rung[SOURCES] = {0};
    for (int i = 0; i < SOURCES; i++) {
        ck_assert_int_eq(pipe2(fds[i], O_NONBLOCK | O_CLOEXEC), 0);
        sources[i] = (struct memory_source){.asleep = 1,
                                            .source = {.fd = fds[i][0],
                                                       .ready = memory_ready,
                                                       .look = memory_look,
                                                       .sleep = memory_sleep}};
        ck_assert_int_eq(muster__pool_source_add(pool, &sources[i].source, EPOLLIN | EPOLLET), MUSTER_OK);
    }
    for (int n = 1; n <= NEWS; n++)
        for (int i = 0; i < SOURCES; i++) {
            atomic_fetch_add(&sources[i].written, 1);
            if (atomic_exchange(&sources[i].asleep, 0)) {
                ck_assert_int_eq(write(fds[i][1], "", 1), 1);
                rung[i]++;
            }
            if (n % (i + 1) == 0) /* now and then several at once */
                wait_until(&sources[i].seen, n);
        }
    for (int i = 0; i < SOURCES; i++)
        wait_until(&sources[i].seen, NEWS);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    for (int i = 0; i < SOURCES; i++) {
        ck_assert_int_eq(sources[i].seen, NEWS);
        ck_assert_int_le(sources[i].bells, rung[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
}
END_TEST

/* There is always more. */
static void flood_ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    (void)source;
    (void)events;
    (void)now_us;
}

static bool flood_look(struct muster__pool_source *source)
{
    (void)source;
    return true;
}

static bool flood_sleep(struct muster__pool_source *source)
{
    (void)source;
    return false;
}

START_TEST(a_flood_in_memory_keeps_no_descriptor_waiting)
{
    struct muster__pool *pool = new_pool(1, 0);
    struct pipe_source source;
    struct muster__pool_source flood = {.ready = flood_ready, .look = flood_look, .sleep = flood_sleep};
    int fds[2], flood_fds[2];
    pipe_source_init(&source, fds, pool);
    ck_assert_int_eq(pipe2(flood_fds, O_NONBLOCK | O_CLOEXEC), 0);
    flood.fd = flood_fds[0];
    ck_assert_int_eq(muster__pool_source_add(pool, &flood, EPOLLIN | EPOLLET), MUSTER_OK);
    ck_assert_int_eq(write(flood_fds[1], "", 1), 1);
    for (int i = 1; i <= 20; i++) {
        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        wait_until(&source.ready, i);
    }
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(flood_fds[i]);
    }
}
END_TEST

START_TEST(a_flush_that_is_asked_for_comes_soon)
{
    struct muster__pool *pool = new_pool(2, 0);
    struct flush flush = {.flusher.flush = flush_now};
    for (int i = 1; i <= 500; i++) {
        muster__pool_flush(pool, &flush.flusher);
        wait_until(&flush.flushes, i);
    }
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

/* ---- long turns ---- */

START_TEST(a_long_turn_freezes_neither_timers_nor_descriptors_nor_other_actors)
{
    struct muster__pool *pool = new_pool(2, 0);
    struct pipe_source source;
    struct sticky sticky;
    int fds[2];
    sticky_init(&sticky);
    pipe_source_init(&source, fds, pool);
    muster__pool_schedule(pool, &sticky.actor);
    wait_until(&sticky.entered, 1);
    for (int i = 1; i <= 20; i++) {
        struct counter counter;
        counter_init(&counter);
        struct ring ring = {.timer.fire = ring_fire};
        struct flush flush = {.flusher.flush = flush_now};
        muster__pool_schedule(pool, &counter.actor);
        wait_until(&counter.turns, 1);
        ck_assert_int_eq(muster__pool_timer_set(pool, &ring.timer, muster__now_us()), MUSTER_OK);
        wait_until(&ring.rings, 1);
        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        wait_until(&source.ready, i);
        muster__pool_flush(pool, &flush.flusher);
        wait_until(&flush.flushes, 1);
        while (atomic_load(&counter.references)) /* its turn is over before it goes out of scope */
            sched_yield();
    }
    atomic_store(&sticky.let_go, true);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* In its turn it schedules another and stays: that one must be taken from its queue. */
struct hoarder {
    struct sticky sticky;
    struct muster__pool *pool;
    struct counter *other;
};

static bool hoard_turn(struct muster__actor *actor)
{
    struct hoarder *hoarder = MUSTER_CONTAINER_OF(actor, struct hoarder, sticky.actor);
    muster__pool_schedule(hoarder->pool, &hoarder->other->actor);
    return sticky_turn(actor);
}

START_TEST(what_waits_behind_a_long_turn_is_taken_by_another_thread)
{
    struct muster__pool *pool = new_pool(2, 0);
    struct counter counter;
    struct hoarder hoarder = {.pool = pool, .other = &counter};
    counter_init(&counter);
    sticky_init(&hoarder.sticky);
    hoarder.sticky.actor.turn = hoard_turn;
    muster__pool_schedule(pool, &hoarder.sticky.actor);
    wait_until(&counter.turns, 1);
    ck_assert_int_eq(hoarder.sticky.left, 0);
    atomic_store(&hoarder.sticky.let_go, true);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

START_TEST(when_every_thread_is_held_another_is_added_and_ends_again_later)
{
    struct muster__pool *pool = new_pool(2, 4);
    struct sticky sticky[3];
    for (int i = 0; i < 3; i++) {
        sticky_init(&sticky[i]);
        muster__pool_schedule(pool, &sticky[i].actor);
    }
    struct counter counter;
    counter_init(&counter);
    muster__pool_schedule(pool, &counter.actor);
    wait_until(&counter.turns, 1); /* the fourth thread */
    for (int i = 0; i < 3; i++)
        wait_until(&sticky[i].entered, 1);
    ck_assert_uint_eq(stats_of(pool).threads, 4);
    while (stats_of(pool).threads_added < 2) /* counted once the thread has begun */
        sched_yield();
    ck_assert_uint_eq(stats_of(pool).threads_added, 2);
    for (int i = 0; i < 3; i++)
        atomic_store(&sticky[i].let_go, true);
    while (stats_of(pool).threads > 2) /* some hundred ticks of the monitor */
        sched_yield();

    /* Their places are used again. */
    for (int i = 0; i < 3; i++) {
        sticky_init(&sticky[i]);
        muster__pool_schedule(pool, &sticky[i].actor);
    }
    for (int i = 0; i < 3; i++)
        wait_until(&sticky[i].entered, 1);
    for (int i = 0; i < 3; i++)
        atomic_store(&sticky[i].let_go, true);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

START_TEST(threads_are_added_up_to_the_limit_only)
{
    struct muster__pool *pool = new_pool(1, 2);
    struct sticky sticky[3];
    for (int i = 0; i < 3; i++) {
        sticky_init(&sticky[i]);
        muster__pool_schedule(pool, &sticky[i].actor);
    }
    wait_until(&sticky[0].entered, 1);
    wait_until(&sticky[1].entered, 1);
    while (atomic_load(&sticky[1].watched) < 20)
        sched_yield();
    ck_assert_uint_eq(stats_of(pool).threads, 2);
    ck_assert_int_eq(sticky[2].entered, 0);
    for (int i = 0; i < 3; i++)
        atomic_store(&sticky[i].let_go, true);
    wait_until(&sticky[2].left, 1);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

/* ---- lost threads ---- */

/* Static: a thread that is lost looks at them as long as it does not come back. */
static struct muster__pool *volatile left_behind; /* what a thread that is lost keeps of its pool */
static struct sticky lost_sticky;
static struct counter lost_counter;
static struct hoarder lost_hoarder;

START_TEST(a_lost_thread_is_replaced_and_ends_quietly_when_it_comes_back)
{
    struct muster__pool *pool = new_pool(1, 1);
    counter_init(&lost_counter);
    sticky_init(&lost_hoarder.sticky);
    lost_hoarder.sticky.actor.turn = hoard_turn;
    lost_hoarder.pool = pool;
    lost_hoarder.other = &lost_counter;
    atomic_store(&lost_hoarder.sticky.give_up, true);
    muster__pool_schedule(pool, &lost_hoarder.sticky.actor);
    wait_until(&lost_counter.turns, 1); /* on the thread that replaces it */
    ck_assert_uint_eq(stats_of(pool).wedged, 1);
    ck_assert_uint_eq(stats_of(pool).threads, 1);
    atomic_store(&lost_hoarder.sticky.let_go, true);
    wait_until(&lost_hoarder.sticky.left, 1);
    /* Its actor has no more turns. */
    muster__pool_schedule(pool, &lost_hoarder.sticky.actor);
    struct counter after;
    counter_init(&after);
    muster__pool_schedule(pool, &after.actor);
    wait_until(&after.turns, 1);
    ck_assert_int_eq(lost_hoarder.sticky.entered, 1);
    while (stats_of(pool).wedged)
        sched_yield();
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

START_TEST(a_turn_that_is_given_up_while_the_pool_ends_does_not_hold_it_up)
{
    struct muster__pool *pool = new_pool(2, 0);
    left_behind = pool;
    sticky_init(&lost_sticky);
    muster__pool_schedule(pool, &lost_sticky.actor);
    wait_until(&lost_sticky.entered, 1);
    atomic_store(&lost_sticky.give_up, true); /* no tick has seen it yet */
    ck_assert_uint_eq(muster__pool_destroy(pool), 1);
    atomic_store(&lost_sticky.let_go, true);
    wait_until(&lost_sticky.left, 1);
}
END_TEST

START_TEST(a_pool_may_be_made_and_ended_at_once)
{
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(muster__pool_destroy(new_pool(1 + (unsigned)i % 3, 0)), 0);
    ck_assert_uint_eq(muster__pool_destroy(NULL), 0);
}
END_TEST

/* The monitor sleeps when nothing has run for a while; the next long turn must wake it. */
START_TEST(the_monitor_wakes_up_for_a_long_turn_after_a_quiet_time)
{
    struct muster__pool *pool = new_pool(1, 0);
    for (int i = 0; i < 5; i++) {
        struct ring ring = {.timer.fire = ring_fire};
        ck_assert_int_eq(muster__pool_timer_set(pool, &ring.timer, muster__now_us() + 40000),
                         MUSTER_OK);
        wait_until(&ring.rings, 1);
        struct sticky sticky;
        sticky_init(&sticky);
        muster__pool_schedule(pool, &sticky.actor);
        wait_until(&sticky.entered, 1);
        while (atomic_load(&sticky.watched) < 2)
            sched_yield();
        atomic_store(&sticky.let_go, true);
        wait_until(&sticky.left, 1);
        struct counter counter; /* behind it: its turn is over when this one's is */
        counter_init(&counter);
        muster__pool_schedule(pool, &counter.actor);
        wait_until(&counter.turns, 1);
        while (stats_of(pool).turns < 2 * (uint64_t)(i + 1))
            sched_yield();
    }
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_scheduled_actor_has_one_turn_on_a_thread_of_the_pool);
    tcase_add_test(tc, a_turn_that_asks_for_more_comes_again);
    tcase_add_test(tc, an_actor_scheduled_in_its_turn_has_one_turn_more);
    tcase_add_test(tc, what_was_scheduled_before_the_end_still_has_its_turn);
    tcase_add_test(tc, actors_that_schedule_each_other_never_stop_and_never_overlap);
    tcase_add_test(tc, no_wake_up_from_outside_is_lost);
    tcase_add_test(tc, a_timer_fires_once_and_not_before_its_time);
    tcase_add_test(tc, an_earlier_timer_wakes_the_one_that_waits_for_a_later_one);
    tcase_add_test(tc, a_deadline_that_is_set_and_cleared_for_each_event_wakes_nobody);
    tcase_add_test(tc, ten_thousand_timers_fire_in_order);
    tcase_add_test(tc, a_descriptor_that_becomes_readable_is_heard_of);
    tcase_add_test(tc, news_in_memory_is_seen_and_rung_for_only_by_who_finds_it_asleep);
    tcase_add_test(tc, a_flood_in_memory_keeps_no_descriptor_waiting);
    tcase_add_test(tc, a_flush_that_is_asked_for_comes_soon);
    tcase_add_test(tc, a_long_turn_freezes_neither_timers_nor_descriptors_nor_other_actors);
    tcase_add_test(tc, what_waits_behind_a_long_turn_is_taken_by_another_thread);
    tcase_add_test(tc, when_every_thread_is_held_another_is_added_and_ends_again_later);
    tcase_add_test(tc, threads_are_added_up_to_the_limit_only);
    tcase_add_test(tc, a_lost_thread_is_replaced_and_ends_quietly_when_it_comes_back);
    tcase_add_test(tc, a_turn_that_is_given_up_while_the_pool_ends_does_not_hold_it_up);
    tcase_add_test(tc, a_pool_may_be_made_and_ended_at_once);
    tcase_add_test(tc, the_monitor_wakes_up_for_a_long_turn_after_a_quiet_time);
}

/* All of it twice: what is promised does not depend on how the one that polls waits. */
static Suite *suite(void)
{
    Suite *s = suite_create("pool");
    TCase *sleeps = tcase_create("sleeps"), *spins = tcase_create("spins");
    add_tests(sleeps);
    add_tests(spins);
    tcase_add_checked_fixture(spins, let_it_spin, NULL);
    suite_add_tcase(s, sleeps);
    suite_add_tcase(s, spins);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
