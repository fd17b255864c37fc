/* coordinator/coordinator_inbox.c - the coordinator's thread: its messages, its rounds, its end.
 *
 * Messages come from any thread into one inbox, each in its sender's memory; a round takes all of them, feeds the core
 * an event for each and performs the actions.  The scope map is published once a round, before any job of that round
 * settles.
 *
 * Rounds run in a role that one thread has at a time.  The coordinator's own thread takes it for whatever must not
 * depend on the pool: deadlines, jobs, the shutdown.  For the rest a turn of the pool (the helper) does as well, and
 * saves waking a thread on the way to a worker and back: what a pool thread tells, and what wants a worker, waits for
 * that turn when the pool is free, and is found by the coordinator's thread in its next round otherwise, or when the
 * turn is late. */
#include "coordinator/coordinator_internal.h"

#include "coordinator/store_keeper.h"
#include "coordinator/sync.h"
#include "runtime/thread.h"

#include <stdlib.h>

static _Thread_local bool is_coordinator;

bool muster__coordinator_is_current(void)
{
    return is_coordinator;
}

/* ---- posting ---- */

static bool post_locked(struct muster *muster, struct muster__message *message)
{
    bool news = !message->posted;
    if (news) {
        message->posted = true;
        message->next = NULL;
        *muster->inbox.tail = message;
        muster->inbox.tail = &message->next;
    }
    return news;
}

static void call_locked(struct muster *muster)
{
    muster->inbox.called = true;
    pthread_cond_signal(&muster->inbox.wake);
}

bool muster__coordinator_post(struct muster *muster, struct muster__message *message)
{
    pthread_mutex_lock(&muster->inbox.lock);
    bool news = post_locked(muster, message);
    if (news)
        call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
    return news;
}

/* For what a turn of the pool may do as well. */
bool muster__coordinator_post_to_helper(struct muster *muster, struct muster__message *message)
{
    if (atomic_load(&muster->closing) || !muster__pool_is_free(muster->pool))
        return muster__coordinator_post(muster, message);
    pthread_mutex_lock(&muster->inbox.lock);
    bool news = post_locked(muster, message);
    pthread_mutex_unlock(&muster->inbox.lock);
    if (news)
        muster__pool_schedule(muster->pool, &muster->helper);
    return news;
}

bool muster__coordinator_post_soon(struct muster *muster, struct muster__message *message)
{
    return muster__pool_is_current(muster->pool) ? muster__coordinator_post_to_helper(muster, message)
                                                 : muster__coordinator_post(muster, message);
}

/* ---- the thread ---- */

/* When there is something to do at the latest. */
static uint64_t next_deadline(const struct muster *muster)
{
    const uint64_t deadlines_us[] = {muster__core_deadline(muster->core), muster__syncs_deadline(muster),
                                     muster__worlds_deadline(muster), muster__coordinator_place_deadline(muster)};
    uint64_t first_us = UINT64_MAX;
    for (size_t i = 0; i < sizeof(deadlines_us) / sizeof(deadlines_us[0]); i++)
        if (deadlines_us[i] < first_us)
            first_us = deadlines_us[i];
    return first_us;
}

static void look_closed(struct muster *muster)
{
    struct close_listener *listeners = NULL;
    if (!muster->own.core_closed)
        return;
    pthread_mutex_lock(&muster->inbox.lock);
    if (!muster->inbox.head && atomic_load(&muster->open_handles) == MUSTER__CLOSING) {
        muster->inbox.closed = true;
        listeners = muster->inbox.listeners;
        muster->inbox.listeners = NULL;
        pthread_cond_broadcast(&muster->inbox.closed_wake);
    }
    pthread_mutex_unlock(&muster->inbox.lock);
    while (listeners) {
        struct close_listener *at = listeners;
        listeners = at->next;
        if (at->fn)
            at->fn(at->user_data);
        free(at);
    }
}

static struct muster__message *take_role_locked(struct muster *muster)
{
    struct muster__message *list = muster->inbox.head;
    muster->inbox.head = NULL;
    muster->inbox.tail = &muster->inbox.head;
    muster->inbox.stepping = true;
    return list;
}

static bool is_wanted_locked(const struct muster *muster)
{
    return muster->inbox.head || muster->inbox.called || muster->inbox.quit ||
           muster->inbox.until_us <= muster__now_us();
}

static void sleep_locked(struct muster *muster)
{
    uint64_t until_us = muster->inbox.stepping ? UINT64_MAX : muster->inbox.until_us;
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    muster->inbox.asleep_until_us = until_us;
    if (until_us == UINT64_MAX)
        pthread_cond_wait(&muster->inbox.wake, &muster->inbox.lock);
    else
        (void)pthread_cond_timedwait(&muster->inbox.wake, &muster->inbox.lock, &until);
    muster->inbox.asleep_until_us = 0;
}

/* Thread: the coordinator's own.  With the role. */
static struct muster__message *wait_for_messages(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    while (muster->inbox.stepping || !is_wanted_locked(muster))
        sleep_locked(muster);
    muster->inbox.called = false;
    struct muster__message *list = take_role_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
    return list;
}

static void run_message(struct muster *muster, struct muster__message *message)
{
    pthread_mutex_lock(&muster->inbox.lock);
    message->posted = false; /* it may be posted again from here on */
    pthread_mutex_unlock(&muster->inbox.lock);
    message->run(message, muster);
}

static void run_round(struct muster *muster, struct muster__message *list)
{
    muster__scope_map_begin(muster->scopes);
    while (list) {
        struct muster__message *message = list;
        list = message->next;
        run_message(muster, message);
    }
    muster__worlds_tick(muster, muster__now_us());
    muster__syncs_tick(muster, muster__now_us());
    muster__coordinator_end_pauses(muster);
    muster__coordinator_recycle(muster);
    if (muster__core_deadline(muster->core) <= muster__now_us())
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_TICK});
    muster__scope_map_commit(muster->scopes);
}

static void give_role_back_locked(struct muster *muster)
{
    muster->inbox.stepping = false;
    muster->inbox.until_us = next_deadline(muster);
}

static void *coordinator_main(void *argument)
{
    struct muster *muster = argument;
    bool quit = false;
    is_coordinator = true;
    pthread_setname_np(pthread_self(), "muster-coord");
    while (!quit) {
        run_round(muster, wait_for_messages(muster));
        look_closed(muster);
        pthread_mutex_lock(&muster->inbox.lock);
        give_role_back_locked(muster);
        quit = muster->inbox.quit && !muster->inbox.head;
        pthread_mutex_unlock(&muster->inbox.lock);
    }
    return NULL;
}

/* A turn of the pool.  When another has the role, that one looks at the inbox once more. */
static bool help(struct muster__actor *actor)
{
    struct muster *muster = MUSTER_CONTAINER_OF(actor, struct muster, helper);
    pthread_mutex_lock(&muster->inbox.lock);
    bool mine = !muster->inbox.stepping && muster->inbox.head;
    struct muster__message *list = mine ? take_role_locked(muster) : NULL;
    pthread_mutex_unlock(&muster->inbox.lock);
    if (!mine)
        return false;
    is_coordinator = true;
    run_round(muster, list);
    is_coordinator = false;
    pthread_mutex_lock(&muster->inbox.lock);
    give_role_back_locked(muster);
    /* It waits for the role, or sleeps longer than it may now. */
    if (muster->inbox.called || muster->inbox.quit || muster->own.core_closed ||
        muster->inbox.until_us < muster->inbox.asleep_until_us)
        call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
    return false;
}

/* ---- its end ---- */

static void run_close(struct muster__message *message, struct muster *muster)
{
    (void)message;
    muster__endpoints_close(muster);
    muster__worlds_closing(muster);
    muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_CLOSE});
}

void muster__coordinator_look_closed(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    call_locked(muster); /* each round of its own thread ends with a look */
    pthread_mutex_unlock(&muster->inbox.lock);
}

void muster__coordinator_settled_while_closing(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    if (atomic_fetch_sub(&muster->open_handles, 1) == (MUSTER__CLOSING | 1))
        call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
}

void muster__coordinator_close(struct muster *muster)
{
    pthread_mutex_lock(&muster->inbox.lock);
    atomic_fetch_or(&muster->open_handles, MUSTER__CLOSING);
    (void)post_locked(muster, &muster->inbox.close_message);
    call_locked(muster);
    pthread_mutex_unlock(&muster->inbox.lock);
}

/* Those that were registered to the end. */
static void release_versions(struct muster *muster)
{
    struct muster__id_node *node = muster__id_map_any(&muster->own.versions);
    while (node) {
        struct muster__version *version = MUSTER_CONTAINER_OF(node, struct muster__version, node);
        node = muster__id_map_next(&muster->own.versions, node);
        (void)muster__id_map_remove(&muster->own.versions, version->id);
        muster__coordinator_fail_list(version, muster__slot_close(version->slot), MUSTER_SHUTDOWN, NULL);
        muster__version_release(version);
    }
    muster__id_map_clean_up(&muster->own.versions);
}

/* Those that were given up: their threads may still look at them. */
static void leave_instances(struct muster *muster)
{
    struct muster__id_node *node;
    while ((node = muster__id_map_any(&muster->own.instances))) {
        muster__coordinator_close_context(MUSTER_CONTAINER_OF(node, struct muster__instance, node));
        (void)muster__id_map_remove(&muster->own.instances, node->id);
    }
    muster__id_map_clean_up(&muster->own.instances);
}

/* ---- life ---- */

enum muster_status muster__coordinator_start(struct muster *muster, struct muster_error *error)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&muster->inbox.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&muster->inbox.wake, &monotonic);
    pthread_cond_init(&muster->inbox.closed_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    muster->inbox.tail = &muster->inbox.head;
    muster->inbox.close_message.run = run_close;
    muster->inbox.until_us = UINT64_MAX;
    muster__actor_init(&muster->helper, help);
    enum muster_status status = muster__keeper_restore(muster, error);
    if (status != MUSTER_OK)
        return status;
    muster->inbox.until_us = next_deadline(muster);
    muster->own.running = muster__thread_start(&muster->own.thread, NULL, coordinator_main, muster) == 0;
    return muster->own.running ? MUSTER_OK : MUSTER_SYSTEM;
}

void muster__coordinator_join(struct muster *muster)
{
    if (!muster->own.running) {
        muster__worlds_destroy(muster, NULL);
        muster__syncs_destroy(muster);
        release_versions(muster); /* that were restored */
        free(muster->own.pending);
        return;
    }
    pthread_mutex_lock(&muster->inbox.lock);
    muster->inbox.quit = true;
    pthread_cond_signal(&muster->inbox.wake);
    pthread_mutex_unlock(&muster->inbox.lock);
    pthread_join(muster->own.thread, NULL);
    muster->own.running = false;
    free(muster->own.pending);
    muster__worlds_destroy(muster, muster->inbox.head);
    muster__syncs_destroy(muster);
    release_versions(muster);
    leave_instances(muster);
    muster__coordinator_forget_pauses(muster);
}
