/* tests/stress_runtime.c - slots, workers and the pool under random work, with real threads.
 *
 * One thread plays the coordinator, as its core would: it attaches a worker where a slot asked for one,
 * opens it, retires it when idle, and now and then stops, cancels or abandons it.  Others post random
 * commands, cancel some of them, and end host calls.  At the end everything must have settled exactly
 * once, been ended, and been freed.  Meant for the thread sanitizer.
 *
 *     stress_runtime [SEED [MILLISECONDS]]
 */
#include "tests/fake_engine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 4
#define POSTERS 2
#define ERRANDS_AT_ONCE 64

struct place {
    struct muster__slot *slot;
    atomic_int wanted; /* wants that the coordinator has not looked at */
    struct muster__worker *worker;
    uint32_t incarnation;
    bool opened, dying;
    struct fake_ears ears;
};

static struct place places[SLOTS];
static struct muster__pool *pool;
static atomic_bool finished;
static atomic_int made, freed, settled_ok, settled_badly, starts;

static uint32_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33);
}

static void want(struct muster__slot *slot, void *user_data)
{
    (void)slot;
    atomic_fetch_add(&((struct place *)user_data)->wanted, 1);
}

static enum muster_status send_on(const char *scope, struct muster__request *request,
                                  uint64_t keepalive_until_us)
{
    request->keepalive_until_us = keepalive_until_us;
    return muster__slot_post(places[atoi(scope)].slot, request, muster__now_us());
}

/* ---- posters ---- */

static const char *pick_command(uint64_t *random, char *text, size_t size)
{
    static const char *const commands[] = {
        "answer", "answer", "answer", "hold",  "linger", "release", "release", "fail",
        "token",  "drop",   "drop",   "timer", "call",   "post",    "report",  "grow"};
    uint32_t at = next_random(random) % 64;
    if (at == 0)
        return "die";
    if (at == 1)
        return "spin";
    if (at < 6)
        snprintf(text, size, "send %u answer", next_random(random) % SLOTS);
    else
        return commands[at % (sizeof commands / sizeof *commands)];
    return text;
}

static void finish_errand(struct fake_errand *errand)
{
    fake_errand_wait(errand);
    atomic_fetch_add(errand->status == MUSTER_OK ? &settled_ok : &settled_badly, 1);
    fake_errand_free(errand);
    atomic_fetch_add(&freed, 1);
}

static void *poster_main(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument;
    while (!atomic_load(&finished)) {
        struct fake_errand *errands[ERRANDS_AT_ONCE];
        struct muster__slot *slots[ERRANDS_AT_ONCE];
        int count = 0;
        for (uint32_t i = next_random(&random) % ERRANDS_AT_ONCE + 1; i > 0; i--) {
            char text[64];
            struct fake_errand *errand =
                fake_errand_new(MUSTER__REQUEST_EVENT, pick_command(&random, text, sizeof text));
            slots[count] = places[next_random(&random) % SLOTS].slot;
            errands[count++] = errand;
            atomic_fetch_add(&made, 1);
            if (muster__slot_post(slots[count - 1], &errand->request, muster__now_us()) != MUSTER_OK)
                (void)muster__request_fail(&errand->request, MUSTER_QUEUE_FULL, NULL);
        }
        for (uint32_t patience = next_random(&random) % 1000; patience > 0; patience--) {
            (void)fake_end_call();
            sched_yield();
        }
        /* What still holds on is given up, as by a deadline. */
        for (int i = 0; i < count; i++)
            if (muster__request_fail(&errands[i]->request, MUSTER_TIMED_OUT, NULL))
                muster__slot_cancel(slots[i], &errands[i]->request);
            else if (next_random(&random) % 4 == 0)
                muster__slot_cancel(slots[i], &errands[i]->request);
        for (int i = 0; i < count; i++)
            finish_errand(errands[i]);
    }
    return NULL;
}

static void *ender_main(void *argument)
{
    (void)argument;
    while (!atomic_load(&finished)) {
        (void)fake_end_call();
        sched_yield();
    }
    return NULL;
}

/* ---- the coordinator ---- */

static void start_worker(struct place *place)
{
    static const char *const scripts[] = {"", "", "later", "token;drop", "repeat", "timer;never", "token",
                                          "call", "syntax", "spin"};
    static unsigned next;
    fake_ears_init(&place->ears);
    place->ears.dispatch = send_on;
    place->incarnation = muster__slot_attach(place->slot);
    place->opened = place->dying = false;
    const struct muster__worker_options options = {
        .pool = pool,
        .engine = &fake_engine,
        .loader = &fake_loader,
        .script_url = scripts[next++ % (sizeof scripts / sizeof *scripts)],
        .name = "stress",
        .limits = {.turn_us = 1000000, .wedged_us = 1000000},
        .slot = place->slot,
        .incarnation = place->incarnation,
        .listener = &fake_listener,
        .user_data = &place->ears};
    MUSTER_CHECK(muster__worker_new(&options, &place->worker) == MUSTER_OK);
    atomic_fetch_add(&starts, 1);
}

static int heard(struct place *place, const int *count)
{
    pthread_mutex_lock(&place->ears.lock);
    int value = *count;
    pthread_mutex_unlock(&place->ears.lock);
    return value;
}

static void vacate(struct place *place)
{
    if (!place->dying && muster__slot_vacate(place->slot, place->incarnation))
        atomic_fetch_add(&place->wanted, 1);
    place->dying = true;
}

static void end_somehow(struct place *place, uint32_t how)
{
    vacate(place);
    if (how % 4 == 0)
        muster__worker_stop(place->worker);
    if (how % 8 == 1)
        muster__worker_abandon(place->worker);
    else if (how % 4 != 0)
        muster__worker_cancel(place->worker);
}

static void look_at(struct place *place, uint64_t *random)
{
    if (!place->worker) {
        if (atomic_exchange(&place->wanted, 0))
            start_worker(place);
        return;
    }
    uint32_t chance = next_random(random) % 64;
    if (heard(place, &place->ears.gone)) {
        vacate(place);
        muster__worker_release(place->worker);
        place->worker = NULL;
        return;
    }
    if (!place->opened && !place->dying && heard(place, &place->ears.started)) {
        place->opened = true;
        (void)muster__worker_open(place->worker, muster__now_us());
    } else if (place->opened && !place->dying && chance < 8 &&
               muster__slot_retire(place->slot, place->incarnation)) {
        place->dying = true;
        muster__worker_stop(place->worker);
    } else if (!place->dying && chance == 63) {
        end_somehow(place, next_random(random));
    } else if (place->dying && chance == 62) {
        muster__worker_cancel(place->worker); /* its time to stop is over */
    } else if (chance == 61) {
        char text[256];
        struct muster__worker_stats stats;
        (void)muster__worker_describe(place->worker, text, sizeof text);
        muster__worker_stats(place->worker, &stats);
    }
}

static bool all_gone(void)
{
    for (int i = 0; i < SLOTS; i++)
        if (places[i].worker)
            return false;
    return true;
}

static void coordinate(uint64_t *random, uint64_t until_us)
{
    while (muster__now_us() < until_us) {
        for (int i = 0; i < SLOTS; i++)
            look_at(&places[i], random);
        sched_yield();
    }
}

static void drain(pthread_t *threads, int count, uint64_t *random)
{
    atomic_store(&finished, true);
    while (atomic_load(&freed) < atomic_load(&made)) {
        for (int i = 0; i < SLOTS; i++)
            look_at(&places[i], random);
        sched_yield();
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    /* What workers have sent to each other may still ask for a worker; closing answers that. */
    for (int i = 0; i < SLOTS; i++) {
        struct muster__request *list = muster__slot_close(places[i].slot);
        while (list) {
            struct muster__request *request = list;
            list = request->next;
            (void)muster__request_fail(request, MUSTER_SHUTDOWN, NULL);
            muster__slot_drop(places[i].slot, request);
        }
        places[i].dying = true; /* nothing to vacate */
        atomic_store(&places[i].wanted, 0);
        if (places[i].worker)
            muster__worker_cancel(places[i].worker);
    }
    while (!all_gone()) {
        for (int i = 0; i < SLOTS; i++)
            if (places[i].worker && heard(&places[i], &places[i].ears.gone)) {
                muster__worker_release(places[i].worker);
                places[i].worker = NULL;
            }
        sched_yield();
    }
    while (fake_end_call())
        ;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : muster__now_us();
    uint64_t milliseconds = argc > 2 ? strtoull(argv[2], NULL, 0) : 2000;
    const struct muster__pool_options pool_options = {.threads = 3};
    pthread_t threads[POSTERS + 1];
    uint64_t random = seed;
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    fake_reset();
    MUSTER_CHECK(muster__pool_new(&pool_options, &pool) == MUSTER_OK);
    for (int i = 0; i < SLOTS; i++) {
        const struct muster__slot_options options = {
            .queue_limit = 50, .idle_us = 1000, .want = want, .user_data = &places[i]};
        places[i].slot = muster__slot_new(&options);
        MUSTER_CHECK(places[i].slot);
    }
    for (uintptr_t i = 0; i < POSTERS; i++)
        pthread_create(&threads[i], NULL, poster_main, (void *)(uintptr_t)(seed * 31 + i + 1));
    pthread_create(&threads[POSTERS], NULL, ender_main, NULL);
    coordinate(&random, muster__now_us() + milliseconds * 1000);
    drain(threads, POSTERS + 1, &random);
    unsigned lost = muster__pool_destroy(pool);
    for (int i = 0; i < SLOTS; i++)
        muster__slot_release(places[i].slot);
    printf("%d errands (%d well, %d not), %d starts, %d deliveries, %u threads lost\n",
           atomic_load(&made), atomic_load(&settled_ok), atomic_load(&settled_badly),
           atomic_load(&starts), atomic_load(&fake_counts.deliveries), lost);
    MUSTER_CHECK(atomic_load(&freed) == atomic_load(&made));
    MUSTER_CHECK(atomic_load(&fake_counts.vms) == 0 && atomic_load(&fake_counts.realms) == 0);
    MUSTER_CHECK(!atomic_load(&fake_counts.overlapped));
    return 0;
}
