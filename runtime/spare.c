/* runtime/spare.c - see spare.h.  A turn makes one VM, or prepares one, so that work that waits comes in
 * between. */
#include "runtime/spare.h"

#include "runtime/engine_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPARES_MAX 64
/* A spare that was taken is replaced after this time: not in the way of the worker that took it. */
#define REFILL_AFTER_US 3000
/* Nothing but the first ones is made, and none is prepared, before this time: not in the way of a program
 * that starts. */
#define START_US 30000
/* As long as a caller waits for one that is being made; loading an engine takes a third of it. */
#define WAIT_AT_MOST_US 20000

struct spare_vm {
    struct muster__vm *vm;
    struct muster__realm *realm;
    bool prepared;
};

struct muster__spare {
    struct muster__actor actor;
    struct muster__spare_options options;
    struct muster__pool_timer timer; /* the next look at what is to be done */
    atomic_bool given_up;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        const struct muster__engine *engine;
        struct spare_vm ready[SPARES_MAX];
        unsigned count;
        bool making;  /* a VM is being made */
        bool claimed; /* and somebody waits for it */
        bool unusable; /* an engine that is missing, memory that ran out: no news here, as the worker that
                        * needs it will tell; tried again after the next take */
        uint64_t refill_from_us, prepare_from_us;
        bool stopping, stopped;
    } shared;
};

/* ---- turns ---- */

static bool make_one(struct muster__spare *spare, struct spare_vm *ret_made)
{
    const struct muster__vm_options vm_options = {0};
    const struct muster__realm_options realm_options = {.host = spare->options.host};
    const struct muster__engine *engine = spare->options.engine;
    if (!engine)
        engine = spare->options.engine = muster__engine_find(spare->options.engine_name, NULL);
    if (!engine || engine->vm_new(&vm_options, &ret_made->vm) != MUSTER_OK)
        return false;
    if (engine->realm_new(ret_made->vm, &realm_options, &ret_made->realm) != MUSTER_OK) {
        engine->vm_destroy(ret_made->vm);
        return false;
    }
    ret_made->prepared = !engine->realm_prepare;
    return true;
}

static void unmake(struct muster__spare *spare, struct spare_vm *made)
{
    spare->options.engine->realm_destroy(made->realm);
    spare->options.engine->vm_destroy(made->vm);
}

static void make_turn(struct muster__spare *spare)
{
    struct spare_vm made = {NULL, NULL, false};
    bool ok = make_one(spare, &made);
    pthread_mutex_lock(&spare->shared.lock);
    spare->shared.making = false;
    spare->shared.engine = spare->options.engine;
    spare->shared.unusable = !ok;
    if (ok)
        spare->shared.ready[spare->shared.count++] = made;
    pthread_cond_broadcast(&spare->shared.changed);
    pthread_mutex_unlock(&spare->shared.lock);
}

/* Nobody can take it meanwhile. */
static void prepare_turn(struct muster__spare *spare, struct spare_vm *taken)
{
    bool ok = spare->options.engine->realm_prepare(taken->realm);
    taken->prepared = true;
    if (!ok)
        unmake(spare, taken);
    pthread_mutex_lock(&spare->shared.lock);
    if (ok)
        spare->shared.ready[spare->shared.count++] = *taken;
    spare->shared.unusable = !ok;
    pthread_mutex_unlock(&spare->shared.lock);
}

static void stop_turn(struct muster__spare *spare)
{
    for (unsigned i = 0; i < spare->shared.count; i++) /* nobody takes any more */
        unmake(spare, &spare->shared.ready[i]);
    pthread_mutex_lock(&spare->shared.lock);
    spare->shared.count = 0;
    spare->shared.stopped = true;
    pthread_cond_broadcast(&spare->shared.changed);
    pthread_mutex_unlock(&spare->shared.lock);
}

/* The last one that is prepared, or that is not: what was touched last is nearest to the processor.
 * SPARES_MAX: there is none. */
static unsigned find_locked(const struct muster__spare *spare, bool prepared)
{
    for (unsigned i = spare->shared.count; i > 0; i--)
        if (spare->shared.ready[i - 1].prepared == prepared)
            return i - 1;
    return SPARES_MAX;
}

static struct spare_vm remove_locked(struct muster__spare *spare, unsigned i)
{
    struct spare_vm removed = spare->shared.ready[i];
    memmove(spare->shared.ready + i, spare->shared.ready + i + 1,
            (--spare->shared.count - i) * sizeof(removed));
    return removed;
}

enum todo { NOTHING, STOP, MAKE, PREPARE };

/* What there is to do, and from when on. */
static enum todo find_todo_locked(const struct muster__spare *spare, uint64_t *ret_from_us)
{
    *ret_from_us = 0;
    if (spare->shared.stopping)
        return STOP;
    if (spare->shared.count < spare->options.count && !spare->shared.unusable) {
        *ret_from_us = spare->shared.refill_from_us;
        return MAKE;
    }
    *ret_from_us = spare->shared.prepare_from_us;
    return find_locked(spare, false) < SPARES_MAX ? PREPARE : NOTHING;
}

static bool spare_turn(struct muster__actor *actor)
{
    struct muster__spare *spare = MUSTER_CONTAINER_OF(actor, struct muster__spare, actor);
    struct spare_vm taken = {NULL, NULL, false};
    uint64_t from_us;
    pthread_mutex_lock(&spare->shared.lock);
    enum todo todo = find_todo_locked(spare, &from_us);
    bool early = from_us > muster__now_us();
    if (todo == PREPARE && !early)
        taken = remove_locked(spare, find_locked(spare, false));
    spare->shared.making = todo == MAKE && !early;
    if (!spare->shared.making)
        pthread_cond_broadcast(&spare->shared.changed);
    pthread_mutex_unlock(&spare->shared.lock);
    if (todo != NOTHING && early) {
        if (muster__pool_timer_set(spare->options.pool, &spare->timer, from_us) == MUSTER_OK)
            return false;
        return todo == MAKE; /* out of memory: looked at again and again, till it is time */
    }
    if (todo == STOP)
        stop_turn(spare);
    else if (todo == MAKE)
        make_turn(spare);
    else if (todo == PREPARE)
        prepare_turn(spare, &taken);
    return todo == MAKE || todo == PREPARE;
}

static bool spare_watch(struct muster__actor *actor, uint64_t cpu_us, uint64_t wall_us)
{
    (void)cpu_us;
    (void)wall_us;
    return atomic_load(&MUSTER_CONTAINER_OF(actor, struct muster__spare, actor)->given_up);
}

static void timer_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct muster__spare *spare = MUSTER_CONTAINER_OF(timer, struct muster__spare, timer);
    (void)now_us;
    muster__pool_schedule(spare->options.pool, &spare->actor);
}

/* ---- from outside ---- */

struct muster__spare *muster__spare_new(const struct muster__spare_options *options)
{
    pthread_condattr_t monotonic;
    struct muster__spare *spare = calloc(1, sizeof(*spare));
    if (!spare)
        return NULL;
    muster__actor_init(&spare->actor, spare_turn);
    spare->actor.watch = spare_watch;
    spare->options = *options;
    if (spare->options.count > SPARES_MAX)
        spare->options.count = SPARES_MAX;
    spare->timer.fire = timer_fire;
    spare->shared.prepare_from_us = muster__now_us() + START_US;
    pthread_mutex_init(&spare->shared.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&spare->shared.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return spare;
}

void muster__spare_fill(struct muster__spare *spare)
{
    pthread_mutex_lock(&spare->shared.lock);
    spare->shared.unusable = false;
    spare->shared.making = true; /* who needs one from here on waits for it, rather than make a second */
    pthread_mutex_unlock(&spare->shared.lock);
    muster__pool_schedule(spare->options.pool, &spare->actor);
}

/* Until `until_us`, or what `is_over` says. */
static void wait_locked(struct muster__spare *spare, uint64_t until_us,
                        bool (*is_over)(const struct muster__spare *spare))
{
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    int late = 0;
    while (!is_over(spare) && !late)
        late = pthread_cond_timedwait(&spare->shared.changed, &spare->shared.lock, &until);
}

static bool is_made(const struct muster__spare *spare)
{
    return spare->shared.count > 0 || !spare->shared.making;
}

static bool is_stopped(const struct muster__spare *spare)
{
    return spare->shared.stopped;
}

static bool take_locked(struct muster__spare *spare, const struct muster__engine *engine,
                        struct spare_vm *ret_taken)
{
    if (!is_made(spare) && !spare->shared.claimed) {
        spare->shared.claimed = true;
        wait_locked(spare, muster__now_us() + WAIT_AT_MOST_US, is_made);
        spare->shared.claimed = false;
    }
    if (!spare->shared.count || spare->shared.engine != engine || spare->shared.stopping)
        return false;
    unsigned i = find_locked(spare, true);
    *ret_taken = remove_locked(spare, i < SPARES_MAX ? i : spare->shared.count - 1);
    spare->shared.unusable = false;
    uint64_t from_us = muster__now_us() + REFILL_AFTER_US;
    uint64_t start_us = spare->shared.prepare_from_us;
    spare->shared.refill_from_us = from_us > start_us ? from_us : start_us;
    return true;
}

bool muster__spare_take(struct muster__spare *spare, const struct muster__engine *engine,
                        struct muster__vm **ret_vm, struct muster__realm **ret_realm)
{
    struct spare_vm taken;
    if (!spare || strcmp(spare->options.engine_name, engine->name) != 0)
        return false;
    pthread_mutex_lock(&spare->shared.lock);
    bool found = take_locked(spare, engine, &taken);
    pthread_mutex_unlock(&spare->shared.lock);
    if (!found)
        return false;
    *ret_vm = taken.vm;
    *ret_realm = taken.realm;
    return true;
}

void muster__spare_refill(struct muster__spare *spare)
{
    muster__pool_schedule(spare->options.pool, &spare->actor); /* it knows when */
}

bool muster__spare_stop(struct muster__spare *spare, unsigned timeout_ms)
{
    uint64_t until_us = muster__now_us() + (uint64_t)timeout_ms * 1000;
    pthread_mutex_lock(&spare->shared.lock);
    spare->shared.stopping = true;
    pthread_mutex_unlock(&spare->shared.lock);
    muster__pool_schedule(spare->options.pool, &spare->actor);
    pthread_mutex_lock(&spare->shared.lock);
    wait_locked(spare, until_us, is_stopped);
    bool stopped = spare->shared.stopped;
    pthread_mutex_unlock(&spare->shared.lock);
    (void)muster__pool_timer_cancel(spare->options.pool, &spare->timer);
    atomic_store(&spare->given_up, !stopped);
    return stopped;
}

void muster__spare_destroy(struct muster__spare *spare)
{
    if (!spare || atomic_load(&spare->given_up))
        return; /* what it has may still be in use */
    MUSTER_CHECK(spare->shared.count == 0);
    pthread_mutex_destroy(&spare->shared.lock);
    pthread_cond_destroy(&spare->shared.changed);
    free(spare);
}
