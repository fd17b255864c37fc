/* runtime/spare.c - see spare.h.  One VM is made a turn, so that work that waits comes in between. */
#include "runtime/spare.h"

#include <pthread.h>
#include <stdlib.h>

#define SPARES_MAX 64
/* A spare that was taken is replaced after this time: not in the way of the worker that took it. */
#define REFILL_AFTER_US 3000

struct spare_vm {
    struct muster__vm *vm;
    struct muster__realm *realm;
};

struct muster__spare {
    struct muster__actor actor;
    struct muster__pool *pool;
    const struct muster__engine *engine;
    const struct muster__realm_host *host;
    unsigned wanted;
    struct muster__pool_timer refill;

    struct {
        pthread_mutex_t lock;
        struct spare_vm ready[SPARES_MAX];
        unsigned count;
        bool filling, stopping;
        void (*stopped)(void *user_data);
        void *user_data;
    } shared;
};

static bool make(struct muster__spare *spare, struct spare_vm *ret_made)
{
    const struct muster__vm_options vm_options = {0};
    const struct muster__realm_options realm_options = {.host = spare->host};
    struct spare_vm made = {NULL, NULL};
    if (spare->engine->vm_new(&vm_options, &made.vm) != MUSTER_OK)
        return false;
    if (spare->engine->realm_new(made.vm, &realm_options, &made.realm) != MUSTER_OK) {
        spare->engine->vm_destroy(made.vm);
        return false;
    }
    *ret_made = made;
    return true;
}

static void unmake(struct muster__spare *spare, struct spare_vm *made)
{
    spare->engine->realm_destroy(made->realm);
    spare->engine->vm_destroy(made->vm);
}

static bool stop_turn(struct muster__spare *spare)
{
    for (unsigned i = 0; i < spare->shared.count; i++)
        unmake(spare, &spare->shared.ready[i]);
    spare->shared.count = 0;
    pthread_mutex_lock(&spare->shared.lock);
    void (*stopped)(void *user_data) = spare->shared.stopped;
    spare->shared.stopped = NULL; /* the turn that filled may be followed by the one that stop asked for */
    pthread_mutex_unlock(&spare->shared.lock);
    if (stopped)
        stopped(spare->shared.user_data);
    return false;
}

static bool fill_turn(struct muster__actor *actor)
{
    struct muster__spare *spare = MUSTER_CONTAINER_OF(actor, struct muster__spare, actor);
    struct spare_vm made;
    pthread_mutex_lock(&spare->shared.lock);
    bool stopping = spare->shared.stopping;
    bool full = spare->shared.count >= spare->wanted;
    spare->shared.filling = !full && !stopping;
    pthread_mutex_unlock(&spare->shared.lock);
    if (stopping)
        return stop_turn(spare);
    if (full)
        return false;
    bool ok = make(spare, &made);
    pthread_mutex_lock(&spare->shared.lock);
    if (ok)
        spare->shared.ready[spare->shared.count++] = made;
    bool more = spare->shared.stopping || (ok && spare->shared.count < spare->wanted);
    spare->shared.filling = more;
    pthread_mutex_unlock(&spare->shared.lock);
    return more; /* a VM that cannot be made is no news: the worker that needs one will tell */
}

static void refill_fire(struct muster__pool_timer *timer, uint64_t now_us)
{
    (void)now_us;
    muster__spare_fill(MUSTER_CONTAINER_OF(timer, struct muster__spare, refill));
}

struct muster__spare *muster__spare_new(struct muster__pool *pool, const struct muster__engine *engine,
                                        const struct muster__realm_host *host, unsigned count)
{
    struct muster__spare *spare = calloc(1, sizeof(*spare));
    if (!spare)
        return NULL;
    muster__actor_init(&spare->actor, fill_turn);
    spare->pool = pool;
    spare->engine = engine;
    spare->host = host;
    spare->refill.fire = refill_fire;
    spare->wanted = count < SPARES_MAX ? count : SPARES_MAX;
    pthread_mutex_init(&spare->shared.lock, NULL);
    return spare;
}

void muster__spare_fill(struct muster__spare *spare)
{
    pthread_mutex_lock(&spare->shared.lock);
    bool start = !spare->shared.filling && !spare->shared.stopping &&
                 spare->shared.count < spare->wanted;
    spare->shared.filling |= start;
    pthread_mutex_unlock(&spare->shared.lock);
    if (start)
        muster__pool_schedule(spare->pool, &spare->actor);
}

bool muster__spare_take(struct muster__spare *spare, const struct muster__engine *engine,
                        struct muster__vm **ret_vm, struct muster__realm **ret_realm)
{
    if (!spare || spare->engine != engine)
        return false;
    pthread_mutex_lock(&spare->shared.lock);
    bool found = spare->shared.count > 0 && !spare->shared.stopping;
    if (found) {
        struct spare_vm *made = &spare->shared.ready[--spare->shared.count];
        *ret_vm = made->vm;
        *ret_realm = made->realm;
    }
    pthread_mutex_unlock(&spare->shared.lock);
    if (found && muster__pool_timer_set(spare->pool, &spare->refill,
                                        muster__now_us() + REFILL_AFTER_US) != MUSTER_OK)
        muster__spare_fill(spare);
    return found;
}

void muster__spare_stop(struct muster__spare *spare, void (*stopped)(void *user_data), void *user_data)
{
    pthread_mutex_lock(&spare->shared.lock);
    spare->shared.stopping = true;
    spare->shared.stopped = stopped;
    spare->shared.user_data = user_data;
    pthread_mutex_unlock(&spare->shared.lock);
    (void)muster__pool_timer_cancel(spare->pool, &spare->refill);
    muster__pool_schedule(spare->pool, &spare->actor);
}

void muster__spare_destroy(struct muster__spare *spare)
{
    if (!spare)
        return;
    MUSTER_CHECK(spare->shared.count == 0);
    pthread_mutex_destroy(&spare->shared.lock);
    free(spare);
}
