/* runtime/slot.c - the atomic word, the queue behind it, and the rules of slot.h.
 *
 * The word is [state 8 | incarnation 24 | holds 32].  Holds go up under the lock, together with the push
 * they stand for, so that a vacate, which recounts, cannot miss one; they go down without it.  Retiring
 * needs no lock: it is one compare-and-swap from {running, incarnation, 0}. */
#include "runtime/slot.h"

#include <pthread.h>
#include <stdlib.h>

struct muster__slot {
    struct muster__slot_options options;
    atomic_uint references;
    _Atomic uint64_t word;
    _Atomic uint64_t alive_until_us;
    _Atomic uint64_t granted_until_us; /* the same, but for what the worker did by itself */

    struct {
        pthread_mutex_t lock; /* innermost: nothing is called under it */
        struct muster__request *head, *tail;
        size_t waiting;
        uint64_t taken;
        struct muster__slot_consumer *consumer; /* set while running */
    } shared;
};

#define HOLDS_MASK 0xffffffffull
#define INCARNATION_MASK 0xffffffull

static uint64_t word_make(enum muster__slot_state state, uint32_t incarnation, uint32_t holds)
{
    return (uint64_t)state << 56 | ((uint64_t)incarnation & INCARNATION_MASK) << 32 | holds;
}

static enum muster__slot_state word_state(uint64_t word)
{
    return (enum muster__slot_state)(word >> 56);
}

static uint32_t word_incarnation(uint64_t word)
{
    return (uint32_t)(word >> 32 & INCARNATION_MASK);
}

static uint32_t word_holds(uint64_t word)
{
    return (uint32_t)(word & HOLDS_MASK);
}

/* Tokens count from the start on: a script may take one while it is evaluated. */
static bool counts_for(uint64_t word, uint32_t incarnation)
{
    return word_incarnation(word) == incarnation && (word_state(word) == MUSTER__SLOT_STARTING ||
                                                     word_state(word) == MUSTER__SLOT_RUNNING);
}

struct muster__slot *muster__slot_new(const struct muster__slot_options *options)
{
    struct muster__slot *slot = calloc(1, sizeof(*slot));
    if (!slot)
        return NULL;
    slot->options = *options;
    atomic_init(&slot->references, 1);
    atomic_init(&slot->word, word_make(MUSTER__SLOT_VACANT, 0, 0));
    pthread_mutex_init(&slot->shared.lock, NULL);
    return slot;
}

void muster__slot_acquire(struct muster__slot *slot)
{
    atomic_fetch_add_explicit(&slot->references, 1, memory_order_relaxed);
}

void muster__slot_release(struct muster__slot *slot)
{
    if (!slot || atomic_fetch_sub_explicit(&slot->references, 1, memory_order_acq_rel) != 1)
        return;
    MUSTER_CHECK(!slot->shared.head);
    pthread_mutex_destroy(&slot->shared.lock);
    free(slot);
}

uint32_t muster__slot_version(const struct muster__slot *slot)
{
    return slot->options.version;
}

/* It only ever moves on. */
static void move_on(_Atomic uint64_t *word, uint64_t until_us)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    while (seen < until_us && !atomic_compare_exchange_weak_explicit(word, &seen, until_us, memory_order_relaxed,
                                                                     memory_order_relaxed))
        ;
}

/* Activity keeps the worker alive until then. */
static void keep_alive(struct muster__slot *slot, uint64_t until_us)
{
    move_on(&slot->alive_until_us, until_us);
}

/* Activity that others want of it: what it sends is alive as long. */
static void grant(struct muster__slot *slot, uint64_t until_us)
{
    move_on(&slot->granted_until_us, until_us);
    keep_alive(slot, until_us);
}

static void push_locked(struct muster__slot *slot, struct muster__request *request)
{
    request->next = NULL;
    request->previous = slot->shared.tail;
    if (slot->shared.tail)
        slot->shared.tail->next = request;
    else
        slot->shared.head = request;
    slot->shared.tail = request;
    slot->shared.waiting++;
}

static void unlink_locked(struct muster__slot *slot, struct muster__request *request)
{
    if (request->previous)
        request->previous->next = request->next;
    else
        slot->shared.head = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        slot->shared.tail = request->previous;
    request->next = request->previous = NULL;
    slot->shared.waiting--;
}

static uint64_t alive_until(const struct muster__slot *slot, const struct muster__request *request,
                            uint64_t now_us)
{
    uint64_t until = now_us + slot->options.idle_us;
    return request->keepalive_until_us && request->keepalive_until_us < until ? request->keepalive_until_us
                                                                              : until;
}

/* Of a worker whose own time is over. */
static bool is_expired(const struct muster__request *request, uint64_t now_us)
{
    return request->keepalive_until_us && request->keepalive_until_us < now_us;
}

enum muster_status muster__slot_post(struct muster__slot *slot, struct muster__request *request,
                                     uint64_t now_us)
{
    uint64_t until = alive_until(slot, request, now_us);
    pthread_mutex_lock(&slot->shared.lock);
    enum muster__slot_state state = word_state(atomic_load(&slot->word));
    if (state == MUSTER__SLOT_CLOSED || slot->shared.waiting >= slot->options.queue_limit) {
        pthread_mutex_unlock(&slot->shared.lock);
        return state == MUSTER__SLOT_CLOSED ? MUSTER_CLOSED : MUSTER_QUEUE_FULL;
    }
    if (state == MUSTER__SLOT_VACANT && is_expired(request, now_us)) {
        pthread_mutex_unlock(&slot->shared.lock);
        return MUSTER_TERMINATED; /* two workers do not wake each other for ever */
    }
    grant(slot, until);
    /* A retire may come between the load above and this add; then the word says vacant now, and the
     * request waits for the next instance: hence the state that counts is the one the add saw. */
    state = word_state(atomic_fetch_add(&slot->word, 1));
    muster__request_acquire(request);
    request->slot = slot;
    request->holds_slot = true;
    if (request->class->posted)
        request->class->posted(request, slot);
    bool was_empty = !slot->shared.head;
    push_locked(slot, request);
    struct muster__slot_consumer *consumer = NULL;
    if (state == MUSTER__SLOT_RUNNING && was_empty) {
        consumer = slot->shared.consumer;
        consumer->acquire(consumer);
    }
    if (state == MUSTER__SLOT_VACANT)
        muster__slot_acquire(slot); /* the poster's reference might be all there is */
    pthread_mutex_unlock(&slot->shared.lock);

    if (consumer) {
        consumer->wake(consumer);
        consumer->release(consumer);
    }
    if (state == MUSTER__SLOT_VACANT) {
        slot->options.want(slot, slot->options.user_data);
        muster__slot_release(slot);
    }
    return MUSTER_OK;
}

static bool waits_locked(const struct muster__slot *slot, const struct muster__request *request)
{
    return request->slot == slot &&
           (request->previous || request->next || slot->shared.head == request);
}

void muster__slot_cancel(struct muster__slot *slot, struct muster__request *request)
{
    pthread_mutex_lock(&slot->shared.lock);
    bool waits = waits_locked(slot, request);
    struct muster__slot_consumer *consumer = NULL;
    if (waits) {
        unlink_locked(slot, request);
        request->slot = NULL;
        atomic_fetch_sub(&slot->word, 1);
    } else if (slot->shared.consumer) {
        consumer = slot->shared.consumer;
        consumer->acquire(consumer);
    }
    pthread_mutex_unlock(&slot->shared.lock);
    if (waits)
        muster__request_release(request);
    if (consumer) {
        consumer->cancel(consumer, request);
        consumer->release(consumer);
    }
}

uint32_t muster__slot_attach(struct muster__slot *slot)
{
    uint64_t word = atomic_load(&slot->word);
    uint32_t incarnation;
    do {
        MUSTER_CHECK(word_state(word) == MUSTER__SLOT_VACANT);
        incarnation = (word_incarnation(word) + 1) & INCARNATION_MASK;
    } while (!atomic_compare_exchange_weak(
        &slot->word, &word, word_make(MUSTER__SLOT_STARTING, incarnation, word_holds(word))));
    return incarnation;
}

/* A start is worth an idle time; but who was started for another worker's sake has no more to hand on than that. */
static void grant_start_locked(struct muster__slot *slot, uint64_t now_us)
{
    keep_alive(slot, now_us + slot->options.idle_us);
    if (!slot->shared.head)
        grant(slot, now_us + slot->options.idle_us);
    for (const struct muster__request *at = slot->shared.head; at; at = at->next)
        grant(slot, alive_until(slot, at, now_us));
}

bool muster__slot_open(struct muster__slot *slot, uint32_t incarnation,
                       struct muster__slot_consumer *consumer, uint64_t now_us)
{
    pthread_mutex_lock(&slot->shared.lock);
    grant_start_locked(slot, now_us);
    uint64_t word = atomic_load(&slot->word);
    bool mine;
    do {
        mine = word_state(word) == MUSTER__SLOT_STARTING && word_incarnation(word) == incarnation;
    } while (mine && !atomic_compare_exchange_weak(
                         &slot->word, &word,
                         word_make(MUSTER__SLOT_RUNNING, incarnation, word_holds(word))));
    bool wake = false;
    if (mine) {
        slot->shared.consumer = consumer;
        consumer->acquire(consumer); /* the slot's, until it is vacated */
        wake = slot->shared.head != NULL;
    }
    pthread_mutex_unlock(&slot->shared.lock);
    if (wake)
        consumer->wake(consumer);
    return mine;
}

static void release_consumer(struct muster__slot_consumer *consumer)
{
    if (consumer)
        consumer->release(consumer);
}

bool muster__slot_retire(struct muster__slot *slot, uint32_t incarnation)
{
    uint64_t word = word_make(MUSTER__SLOT_RUNNING, incarnation, 0);
    if (!atomic_compare_exchange_strong(&slot->word, &word,
                                        word_make(MUSTER__SLOT_VACANT, incarnation, 0)))
        return false;
    pthread_mutex_lock(&slot->shared.lock);
    struct muster__slot_consumer *consumer = slot->shared.consumer;
    slot->shared.consumer = NULL;
    pthread_mutex_unlock(&slot->shared.lock);
    release_consumer(consumer);
    return true;
}

size_t muster__slot_vacate(struct muster__slot *slot, uint32_t incarnation)
{
    pthread_mutex_lock(&slot->shared.lock);
    uint64_t word = atomic_load(&slot->word);
    bool mine;
    do {
        mine = counts_for(word, incarnation);
    } while (mine && !atomic_compare_exchange_weak(
                         &slot->word, &word,
                         word_make(MUSTER__SLOT_VACANT, incarnation + 1, (uint32_t)slot->shared.waiting)));
    struct muster__slot_consumer *consumer = NULL;
    if (mine) {
        consumer = slot->shared.consumer;
        slot->shared.consumer = NULL;
    }
    size_t waiting = slot->shared.waiting;
    pthread_mutex_unlock(&slot->shared.lock);
    release_consumer(consumer);
    return waiting;
}

static struct muster__request *take_all_locked(struct muster__slot *slot)
{
    struct muster__request *list = slot->shared.head;
    for (struct muster__request *request = list; request; request = request->next)
        request->slot = NULL;
    atomic_fetch_sub(&slot->word, slot->shared.waiting);
    slot->shared.head = slot->shared.tail = NULL;
    slot->shared.waiting = 0;
    return list;
}

struct muster__request *muster__slot_expire(struct muster__slot *slot, uint64_t now_us)
{
    struct muster__request *list = NULL, **end = &list, *next;
    pthread_mutex_lock(&slot->shared.lock);
    for (struct muster__request *at = slot->shared.head; at; at = next) {
        next = at->next;
        if (!is_expired(at, now_us))
            continue;
        unlink_locked(slot, at);
        at->slot = NULL;
        atomic_fetch_sub(&slot->word, 1);
        *end = at;
        end = &at->next;
    }
    pthread_mutex_unlock(&slot->shared.lock);
    return list;
}

struct muster__request *muster__slot_close(struct muster__slot *slot)
{
    pthread_mutex_lock(&slot->shared.lock);
    struct muster__request *list = take_all_locked(slot);
    uint64_t word = atomic_load(&slot->word);
    while (!atomic_compare_exchange_weak(
        &slot->word, &word,
        word_make(MUSTER__SLOT_CLOSED, word_incarnation(word) + 1, 0)))
        ;
    struct muster__slot_consumer *consumer = slot->shared.consumer;
    slot->shared.consumer = NULL;
    pthread_mutex_unlock(&slot->shared.lock);
    release_consumer(consumer);
    return list;
}

struct muster__request *muster__slot_empty(struct muster__slot *slot)
{
    pthread_mutex_lock(&slot->shared.lock);
    struct muster__request *list = take_all_locked(slot);
    pthread_mutex_unlock(&slot->shared.lock);
    return list;
}

void muster__slot_drop(struct muster__slot *slot, struct muster__request *request)
{
    (void)slot;
    request->next = request->previous = NULL;
    muster__request_release(request);
}

struct muster__slot_sample muster__slot_sample(struct muster__slot *slot)
{
    pthread_mutex_lock(&slot->shared.lock);
    uint64_t word = atomic_load(&slot->word);
    struct muster__slot_sample sample = {
        .state = word_state(word),
        .incarnation = word_incarnation(word),
        .holds = word_holds(word),
        .waiting = slot->shared.waiting,
        .taken = slot->shared.taken,
        .alive_until_us = atomic_load(&slot->alive_until_us),
        .granted_until_us = atomic_load(&slot->granted_until_us),
    };
    pthread_mutex_unlock(&slot->shared.lock);
    return sample;
}

struct muster__request *muster__slot_take(struct muster__slot *slot, uint32_t incarnation,
                                          size_t limit)
{
    pthread_mutex_lock(&slot->shared.lock);
    uint64_t word = atomic_load(&slot->word);
    struct muster__request *list = NULL;
    if (word_state(word) == MUSTER__SLOT_RUNNING && word_incarnation(word) == incarnation) {
        list = slot->shared.head;
        struct muster__request *last = NULL;
        size_t taken = 0;
        for (struct muster__request *at = list; at && taken < limit; at = at->next, taken++)
            last = at;
        if (last) {
            slot->shared.head = last->next;
            if (last->next)
                last->next->previous = NULL;
            else
                slot->shared.tail = NULL;
            last->next = NULL;
            slot->shared.waiting -= taken;
            slot->shared.taken += taken;
        }
        for (struct muster__request *at = list; at; at = at->next) {
            at->previous = NULL;
            at->slot = NULL; /* delivered: withdraw refuses from here on */
        }
    }
    pthread_mutex_unlock(&slot->shared.lock);
    return list;
}

void muster__slot_begun(struct muster__slot *slot, const struct muster__request *list, uint64_t now_us)
{
    for (; list; list = list->next)
        grant(slot, alive_until(slot, list, now_us));
}

static void prepend_locked(struct muster__slot *slot, struct muster__request *list, size_t count)
{
    struct muster__request *last = NULL;
    for (struct muster__request *at = list; at; at = at->next) {
        at->previous = last;
        at->slot = slot;
        last = at;
    }
    last->next = slot->shared.head;
    *(slot->shared.head ? &slot->shared.head->previous : &slot->shared.tail) = last;
    slot->shared.head = list;
    slot->shared.waiting += count;
    slot->shared.taken -= count;
}

bool muster__slot_put_back(struct muster__slot *slot, uint32_t incarnation,
                           struct muster__request *list)
{
    uint32_t count = 0;
    for (struct muster__request *at = list; at; at = at->next)
        count++;
    pthread_mutex_lock(&slot->shared.lock);
    uint64_t word = atomic_load(&slot->word);
    if (word_state(word) == MUSTER__SLOT_CLOSED || !count) {
        pthread_mutex_unlock(&slot->shared.lock);
        return count == 0;
    }
    /* While this incarnation counts, so do they, and it can only be vacated, under the lock; else they
     * are no longer in the word, and the state that counts is the one that the add saw, as in post. */
    struct muster__slot_consumer *consumer = NULL;
    enum muster__slot_state state = word_state(word);
    if (!counts_for(word, incarnation)) {
        state = word_state(atomic_fetch_add(&slot->word, count));
        consumer = state == MUSTER__SLOT_RUNNING ? slot->shared.consumer : NULL;
    }
    prepend_locked(slot, list, count);
    if (consumer)
        consumer->acquire(consumer);
    pthread_mutex_unlock(&slot->shared.lock);
    if (consumer) {
        consumer->wake(consumer);
        consumer->release(consumer);
    }
    if (state == MUSTER__SLOT_VACANT)
        slot->options.want(slot, slot->options.user_data);
    return true;
}

void muster__slot_hold(struct muster__slot *slot, uint32_t incarnation, uint64_t now_us,
                       uint64_t until_us)
{
    uint64_t until = now_us + slot->options.idle_us;
    keep_alive(slot, until_us && until_us < until ? until_us : until);
    uint64_t word = atomic_load(&slot->word);
    while (counts_for(word, incarnation) &&
           !atomic_compare_exchange_weak(&slot->word, &word, word + 1))
        ;
}

void muster__slot_unhold(struct muster__slot *slot, uint32_t incarnation)
{
    uint64_t word = atomic_load(&slot->word);
    while (counts_for(word, incarnation)) {
        MUSTER_CHECK(word_holds(word) > 0);
        if (atomic_compare_exchange_weak(&slot->word, &word, word - 1))
            break;
    }
}

void muster__slot_ended(struct muster__slot *slot, uint32_t incarnation,
                        struct muster__request *request, uint64_t now_us)
{
    (void)now_us;
    muster__slot_unhold(slot, incarnation);
    muster__request_release(request);
}
