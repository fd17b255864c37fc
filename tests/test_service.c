/* tests/test_service.c - the RemoteWorkerService on hosts of the test's, and the host of threads
 * with a worker that really runs.  The first part has one thread; in the second the listener's
 * calls come from the pool and are waited for on a condition. */
#include "remote/host_threads.h"
#include "remote/service.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a host whose workers are figures ---- */

struct fake_worker {
    struct muster__remote_worker base;
    struct muster__worker_stats stats;
    int *live;
    unsigned looks;
};

struct fake_host {
    struct muster__host base;
    int taken, live_workers;
    bool draining, worn, unready, dead;
    enum muster_status start_status;
    bool *destroyed;
};

static void fake_stats(struct muster__remote_worker *base, struct muster__worker_stats *ret_stats)
{
    struct fake_worker *worker = MUSTER_CONTAINER_OF(base, struct fake_worker, base);
    worker->looks++;
    *ret_stats = worker->stats;
}

static void fake_abandon(struct muster__remote_worker *base)
{
    base->abandoned = true;
}

static void fake_release(struct muster__remote_worker *base)
{
    struct fake_worker *worker = MUSTER_CONTAINER_OF(base, struct fake_worker, base);
    --*worker->live;
    free(worker);
}

static const struct muster__remote_worker_class fake_worker_class = {
    .stats = fake_stats, .abandon = fake_abandon, .release = fake_release};

static struct fake_host *fake(struct muster__host *host)
{
    return MUSTER_CONTAINER_OF(host, struct fake_host, base);
}

static bool fake_try_take(struct muster__host *host)
{
    if (fake(host)->draining)
        return false;
    fake(host)->taken++;
    return true;
}

static void fake_give_back(struct muster__host *host)
{
    ck_assert_int_gt(fake(host)->taken--, 0);
}

static enum muster_status fake_start(struct muster__host *host,
                                     const struct muster__worker_options *options,
                                     struct muster__remote_worker **ret_worker)
{
    (void)options;
    if (fake(host)->start_status != MUSTER_OK) {
        fake_give_back(host);
        return fake(host)->start_status;
    }
    struct fake_worker *worker = calloc(1, sizeof *worker);
    worker->base.class = &fake_worker_class;
    worker->base.host = host;
    worker->live = &fake(host)->live_workers;
    ++*worker->live;
    *ret_worker = &worker->base;
    return MUSTER_OK;
}

static void fake_drain(struct muster__host *host)
{
    fake(host)->draining = true;
}

static void fake_destroy(struct muster__host *host)
{
    ck_assert_int_eq(fake(host)->live_workers, 0);
    if (fake(host)->destroyed)
        *fake(host)->destroyed = true;
    free(fake(host));
}

static bool fake_is_worn(struct muster__host *host, uint64_t now_us)
{
    (void)now_us;
    return fake(host)->worn;
}

static bool fake_is_ready(struct muster__host *host)
{
    return !fake(host)->unready;
}

static void fake_refresh(struct muster__host *host, uint64_t now_us)
{
    (void)now_us;
    if (fake(host)->dead)
        host->view.state = MUSTER_PLACEMENT_DEAD;
}

static const struct muster__host_class fake_host_class = {.kind = "fake",
                                                          .is_worn = fake_is_worn,
                                                          .is_ready = fake_is_ready,
                                                          .refresh = fake_refresh,
                                                          .try_take = fake_try_take,
                                                          .start = fake_start,
                                                          .give_back = fake_give_back,
                                                          .drain = fake_drain,
                                                          .destroy = fake_destroy};

/* ---- a service with two of them ---- */

struct lines {
    char last[1024];
    int count;
};

static void keep_line(const char *line, void *user_data)
{
    struct lines *lines = user_data;
    snprintf(lines->last, sizeof lines->last, "%s", line);
    lines->count++;
}

static struct muster__service *service;
static struct fake_host *hosts[2];
static struct lines lines;
static const struct muster_placement_request request = {.size = sizeof request, .id = 9};
static const struct muster__worker_options start_options;

static void make_service(const char *policy)
{
    const struct muster__service_options options = {
        .policy_name = policy, .seed = 1, .decided = keep_line, .user_data = &lines};
    ck_assert_int_eq(muster__service_new(&options, &service, NULL), MUSTER_OK);
    for (int i = 0; i < 2; i++) {
        hosts[i] = calloc(1, sizeof *hosts[i]);
        hosts[i]->base.class = &fake_host_class;
        hosts[i]->base.view.state = MUSTER_PLACEMENT_READY;
        struct muster__host *host = &hosts[i]->base;
        ck_assert_int_eq(muster__service_add_host(service, &host), MUSTER_OK);
        ck_assert_ptr_null(host);
        ck_assert_uint_eq(hosts[i]->base.view.id, (unsigned)i + 1);
    }
    lines = (struct lines){.count = 0};
}

/* The host's id; 0: refused. */
static uint32_t place(uint64_t now_us)
{
    uint32_t host = 0;
    enum muster_status status = muster__service_place(service, &request, now_us, &host);
    ck_assert_int_eq(status, host ? MUSTER_OK : MUSTER_REFUSED);
    return host;
}

static struct fake_worker *start(uint32_t host)
{
    struct muster__remote_worker *worker = NULL;
    ck_assert_int_eq(muster__service_start(service, host, &start_options, &worker), MUSTER_OK);
    return MUSTER_CONTAINER_OF(worker, struct fake_worker, base);
}

static void gone(struct fake_worker *worker, enum muster_status status, uint64_t now_us)
{
    muster__service_gone(service, &worker->base, status, now_us);
}

START_TEST(an_unknown_policy_is_refused_and_the_known_ones_are_named)
{
    struct muster_error error = {0};
    struct muster__service *none = NULL;
    const struct muster__service_options options = {.policy_name = "fastest"};
    ck_assert_int_eq(muster__service_new(&options, &none, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_ptr_null(none);
    ck_assert_str_eq(error.message,
                     "there is no placement policy \"fastest\"; there are round-robin, random, "
                     "least-loaded, power-of-two, affinity");
    muster_error_clean_up(&error);
    ck_assert_int_eq(muster__service_new(&options, &none, NULL), MUSTER_INVALID_ARGUMENT);
    const struct muster_placement_policy silent = {.size = sizeof silent, .name = "silent"};
    const struct muster__service_options without = {.policy = &silent};
    ck_assert_int_eq(muster__service_new(&without, &none, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_str_eq(error.message, "the placement policy has no scorer");
    muster_error_clean_up(&error);
    muster__service_destroy(NULL);
}
END_TEST

START_TEST(without_a_host_every_worker_is_refused)
{
    const struct muster__service_options options = {.seed = 1};
    ck_assert_int_eq(muster__service_new(&options, &service, NULL), MUSTER_OK);
    ck_assert_uint_eq(place(0), 0);
    muster__service_destroy(service);
}
END_TEST

START_TEST(live_workers_and_requests_in_flight_steer_the_next_placement)
{
    make_service("least-loaded");
    ck_assert_uint_eq(place(1), 1);
    struct fake_worker *first = start(1);
    ck_assert_uint_eq(place(2), 2);
    ck_assert_str_eq(lines.last, "place 9: least-loaded: host 2 (least loaded); 1=0.0009756 2=0");
    struct fake_worker *second = start(2);
    second->stats.in_flight = 3;
    second->stats.memory = 1000;
    first->stats.in_flight = 2;
    ck_assert_uint_eq(place(3), 1);
    ck_assert_uint_eq(muster__service_view(service, 1)->in_flight, 3);
    ck_assert_uint_eq(muster__service_view(service, 1)->memory_used, 1000);
    first->stats.in_flight = 4;
    ck_assert_uint_eq(place(4), 2);
    second->stats.in_flight = 0;
    gone(first, MUSTER_OK, 5);
    ck_assert_uint_eq(muster__service_view(service, 0)->in_flight, 0);
    ck_assert_uint_eq(muster__service_view(service, 0)->live_workers, 0);
    ck_assert_uint_eq(place(6), 1);
    ck_assert_int_eq(lines.count, 5);
    gone(second, MUSTER_OK, 7);
    ck_assert_int_eq(hosts[0]->taken + hosts[1]->taken, 0);
    ck_assert_ptr_null(muster__service_view(service, 2));
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_placement_looks_at_a_bounded_number_of_workers_and_says_how_old_the_figures_are)
{
    enum { WORKERS = 3 * MUSTER__SERVICE_LOOKS - 5 };
    make_service("least-loaded");
    struct fake_worker *workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = start(1);
        workers[i]->stats.in_flight = 1;
    }
    unsigned looks[4] = {MUSTER__SERVICE_LOOKS, 2 * MUSTER__SERVICE_LOOKS, WORKERS,
                         WORKERS + MUSTER__SERVICE_LOOKS};
    uint64_t ages[4] = {100, 200, 200, 300};
    for (unsigned round = 0; round < 4; round++) {
        place(100 + 100 * round);
        unsigned seen = 0;
        for (int i = 0; i < WORKERS; i++)
            seen += workers[i]->looks;
        ck_assert_uint_eq(seen, looks[round]);
        ck_assert_uint_eq(hosts[0]->base.view.load_age_us, ages[round]);
        ck_assert_uint_eq(hosts[0]->base.view.in_flight, round < 3 ? looks[round] : WORKERS);
    }
    /* The one that would be looked at next goes: the round goes on behind it. */
    struct fake_worker *next =
        MUSTER_CONTAINER_OF(hosts[0]->base.look_next, struct fake_worker, base);
    for (int i = 0; i < WORKERS; i++)
        if (workers[i] == next)
            workers[i] = workers[0];
    workers[0] = next;
    gone(next, MUSTER_OK, 500);
    ck_assert_uint_eq(hosts[0]->base.view.in_flight, WORKERS - 1);
    place(500);
    for (int i = WORKERS - 1; i > 0; i--)
        gone(workers[i], MUSTER_OK, 600);
    place(600);
    ck_assert_uint_eq(hosts[0]->base.view.in_flight, 0);
    ck_assert_uint_eq(hosts[0]->base.view.load_age_us, 0);
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_host_that_began_to_die_refuses_and_the_choice_is_made_again)
{
    make_service("least-loaded");
    ck_assert_uint_eq(place(1), 1);
    hosts[0]->draining = true; /* between the choice and the start */
    struct muster__remote_worker *worker = NULL;
    ck_assert_int_eq(muster__service_start(service, 1, &start_options, &worker), MUSTER_REFUSED);
    ck_assert_ptr_null(worker);
    muster__service_drain(service, 1);
    ck_assert_uint_eq(place(2), 2);
    ck_assert_str_eq(lines.last, "place 9: least-loaded: host 2 (least loaded); 1!draining 2=0");
    muster__service_drain(service, 2);
    muster__service_drain(service, 77);
    ck_assert_uint_eq(place(3), 0);
    ck_assert_int_eq(muster__service_start(service, 77, &start_options, &worker), MUSTER_REFUSED);
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_start_that_failed_counts_nowhere)
{
    make_service("least-loaded");
    hosts[0]->start_status = MUSTER_NO_MEMORY;
    struct muster__remote_worker *worker = NULL;
    ck_assert_int_eq(muster__service_start(service, 1, &start_options, &worker), MUSTER_NO_MEMORY);
    ck_assert_uint_eq(muster__service_view(service, 0)->live_workers, 0);
    ck_assert_int_eq(hosts[0]->taken, 0);
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_crash_brings_quarantine_that_doubles_up_to_five_minutes)
{
    const uint64_t s = 1000000;
    make_service("least-loaded");
    const struct muster_placement_host *view = muster__service_view(service, 0);
    uint64_t now_us = 1000 * s;
    const uint64_t rests_s[] = {10, 20, 40, 80, 160, 300, 300};
    for (size_t i = 0; i < 7; i++) {
        muster__service_crashed(service, 1, now_us);
        ck_assert_uint_eq(view->quarantined_until_us, now_us + rests_s[i] * s);
        ck_assert_uint_eq(place(now_us), 2);
        now_us = view->quarantined_until_us;
        ck_assert_uint_eq(place(now_us), 1);
    }
    now_us = view->last_crash_us + 601 * s;
    muster__service_crashed(service, 1, now_us);
    ck_assert_uint_eq(view->quarantined_until_us, now_us + 10 * s);
    ck_assert_uint_eq(view->crashes, 8);
    muster__service_crashed(service, 77, now_us);
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_script_that_runs_wild_is_counted_and_punishes_nobody_else)
{
    make_service("least-loaded");
    gone(start(1), MUSTER_TURN_LIMIT, 5);
    gone(start(1), MUSTER_SCRIPT_ERROR, 6);
    const struct muster_placement_host *view = muster__service_view(service, 0);
    ck_assert_uint_eq(view->crashes, 1);
    ck_assert_uint_eq(view->last_crash_us, 5);
    ck_assert_uint_eq(place(6), 1);
    muster__service_destroy(service);
}
END_TEST

START_TEST(an_abandoned_worker_does_not_hold_up_the_end)
{
    make_service(NULL);
    bool destroyed[2] = {false, false};
    hosts[0]->destroyed = &destroyed[0];
    hosts[1]->destroyed = &destroyed[1];
    struct fake_worker *worker = start(2);
    worker->base.class->abandon(&worker->base);
    muster__service_destroy(service);
    ck_assert(destroyed[0] && destroyed[1]);
}
END_TEST

START_TEST(destroying_a_service_with_a_live_worker_is_a_bug)
{
    make_service(NULL);
    start(1);
    muster__service_destroy(service);
}
END_TEST

START_TEST(the_same_seed_places_the_same)
{
    uint32_t chosen[2][100];
    for (int run = 0; run < 2; run++) {
        make_service("random");
        for (int i = 0; i < 100; i++)
            chosen[run][i] = place((uint64_t)i);
        muster__service_destroy(service);
    }
    ck_assert_mem_eq(chosen[0], chosen[1], sizeof chosen[0]);
}
END_TEST

/* ---- the host of threads ---- */

/* An engine that runs nothing: it answers each request with OK, or keeps it in flight until told.
 */
struct muster__vm {
    int unused;
};
struct muster__realm {
    struct muster__worker *worker;
    const struct muster__realm_host *host;
};

static enum muster_status still_vm_new(const struct muster__vm_options *options,
                                       struct muster__vm **ret_vm)
{
    (void)options;
    *ret_vm = calloc(1, sizeof **ret_vm);
    return *ret_vm ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void still_vm_destroy(struct muster__vm *vm)
{
    free(vm);
}

static void still_vm_limit(struct muster__vm *vm, const struct muster__vm_options *options)
{
    (void)vm, (void)options;
}

static void still_vm_interrupt(struct muster__vm *vm)
{
    (void)vm;
}

static size_t still_vm_memory(struct muster__vm *vm)
{
    (void)vm;
    return 0;
}

static enum muster_status still_realm_new(struct muster__vm *vm,
                                          const struct muster__realm_options *options,
                                          struct muster__realm **ret_realm)
{
    (void)vm;
    struct muster__realm *realm = calloc(1, sizeof *realm);
    if (!realm)
        return MUSTER_NO_MEMORY;
    realm->host = options->host;
    realm->worker = options->worker;
    *ret_realm = realm;
    return MUSTER_OK;
}

static void still_realm_destroy(struct muster__realm *realm)
{
    free(realm);
}

static enum muster_status
still_evaluate(struct muster__realm *realm, const struct muster__realm_identity *identity,
               const struct muster__script *script,
               void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                                 const struct muster_error *error),
               struct muster_error *error)
{
    (void)script, (void)evaluated, (void)error;
    realm->worker = identity->worker;
    return MUSTER_OK;
}

static enum muster_status still_deliver(struct muster__realm *realm,
                                        struct muster__request *delivered)
{
    if (strcmp(delivered->name, "linger") == 0)
        return MUSTER_OK;
    const struct muster__outcome outcome = {.status = MUSTER_OK};
    realm->host->settle(realm->worker, delivered, &outcome);
    realm->host->ended(realm->worker, delivered);
    return MUSTER_OK;
}

static enum muster_status still_cancel(struct muster__realm *realm,
                                       struct muster__request *canceled)
{
    (void)realm, (void)canceled;
    return MUSTER_OK;
}

static const struct muster__engine still_engine = {.name = "still",
                                                   .file_endings = "",
                                                   .vm_new = still_vm_new,
                                                   .vm_destroy = still_vm_destroy,
                                                   .vm_limit = still_vm_limit,
                                                   .vm_interrupt = still_vm_interrupt,
                                                   .vm_memory = still_vm_memory,
                                                   .realm_new = still_realm_new,
                                                   .realm_destroy = still_realm_destroy,
                                                   .evaluate = still_evaluate,
                                                   .deliver = still_deliver,
                                                   .cancel = still_cancel};

static enum muster_status load_nothing(const char *url, const char *importer,
                                       struct muster_loaded *ret_loaded, struct muster_error *error,
                                       void *user_data)
{
    (void)url, (void)importer, (void)error, (void)user_data;
    ret_loaded->text = calloc(1, 1);
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

/* What the listener heard, and a way to wait for it. */
struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int started, gone;
    enum muster_status start_status, gone_status;
};

static void hear(struct heard *heard, int *what)
{
    pthread_mutex_lock(&heard->lock);
    ++*what;
    pthread_cond_broadcast(&heard->changed);
    pthread_mutex_unlock(&heard->lock);
}

static void wait_for(struct heard *heard, const int *what)
{
    pthread_mutex_lock(&heard->lock);
    while (*what == 0)
        pthread_cond_wait(&heard->changed, &heard->lock);
    pthread_mutex_unlock(&heard->lock);
}

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct heard *heard = user_data;
    (void)error;
    heard->start_status = status;
    hear(heard, &heard->started);
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct heard *heard = user_data;
    heard->gone_status = report->status;
    hear(heard, &heard->gone);
}

static const struct muster__worker_listener listener = {.started = on_started, .gone = on_gone};

struct errand {
    struct muster__request request;
    struct heard heard;
    int settled;
    enum muster_status status;
};

static void errand_settled(struct muster__request *base, const struct muster__outcome *outcome)
{
    struct errand *errand = MUSTER_CONTAINER_OF(base, struct errand, request);
    errand->status = outcome->status;
    hear(&errand->heard, &errand->settled);
}

static void errand_destroy(struct muster__request *base)
{
    (void)base;
}

static const struct muster__request_class errand_class = {.settled = errand_settled,
                                                          .destroy = errand_destroy};

static void init_heard(struct heard *heard)
{
    memset(heard, 0, sizeof *heard);
    pthread_mutex_init(&heard->lock, NULL);
    pthread_cond_init(&heard->changed, NULL);
}

static struct muster__pool *pool;
static struct muster__host *threads; /* the service's */

static void make_thread_service(void)
{
    const struct muster__pool_options pool_options = {.threads = 2, .name = "test"};
    ck_assert_int_eq(muster__pool_new(&pool_options, &pool), MUSTER_OK);
    const struct muster__service_options options = {.policy_name = "affinity"};
    ck_assert_int_eq(muster__service_new(&options, &service, NULL), MUSTER_OK);
    const struct muster__host_threads_options host_options = {
        .pool = pool, .isolation = "here", .trust = 4, .cores = 2};
    struct muster__host *host = NULL;
    ck_assert_int_eq(muster__host_threads_new(&host_options, &host), MUSTER_OK);
    threads = host;
    ck_assert_int_eq(muster__service_add_host(service, &host), MUSTER_OK);
}

static void end_thread_service(void)
{
    muster__service_destroy(service);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
}

static struct muster__remote_worker *start_on_threads(struct heard *heard)
{
    static const struct muster__loader loader = {.load = load_nothing};
    const struct muster_placement_request here = {
        .size = sizeof here, .isolation = "here", .trust = 4, .requester = 1};
    const struct muster__worker_options options = {.engine = &still_engine,
                                                   .loader = &loader,
                                                   .script_url = "still",
                                                   .name = "still",
                                                   .listener = &listener,
                                                   .user_data = heard};
    uint32_t host = 0;
    ck_assert_int_eq(muster__service_place(service, &here, 0, &host), MUSTER_OK);
    ck_assert_uint_eq(host, 1);
    struct muster__remote_worker *worker = NULL;
    ck_assert_int_eq(muster__service_start(service, host, &options, &worker), MUSTER_OK);
    return worker;
}

START_TEST(a_worker_on_threads_starts_serves_and_stops)
{
    make_thread_service();
    struct heard heard;
    init_heard(&heard);
    struct muster__remote_worker *worker = start_on_threads(&heard);
    wait_for(&heard, &heard.started);
    ck_assert_int_eq(heard.start_status, MUSTER_OK);
    ck_assert_uint_eq(muster__service_view(service, 0)->live_workers, 1);

    struct errand errand = {.settled = 0};
    init_heard(&errand.heard);
    muster__request_init(&errand.request, &errand_class, MUSTER__REQUEST_LIFECYCLE, "install");
    worker->class->control(worker, &errand.request);
    wait_for(&errand.heard, &errand.settled);
    ck_assert_int_eq(errand.status, MUSTER_OK);

    worker->class->stop(worker);
    wait_for(&heard, &heard.gone);
    ck_assert_int_eq(heard.gone_status, MUSTER_OK);
    muster__service_gone(service, worker, heard.gone_status, 1);
    ck_assert_uint_eq(muster__service_view(service, 0)->live_workers, 0);
    end_thread_service();
}
END_TEST

START_TEST(a_worker_on_threads_tells_what_holds_it_up_and_can_be_canceled)
{
    make_thread_service();
    struct heard heard;
    init_heard(&heard);
    struct muster__remote_worker *worker = start_on_threads(&heard);
    struct errand lingers = {.settled = 0}, next = {.settled = 0};
    init_heard(&lingers.heard);
    init_heard(&next.heard);
    muster__request_init(&lingers.request, &errand_class, MUSTER__REQUEST_LIFECYCLE, "linger");
    muster__request_init(&next.request, &errand_class, MUSTER__REQUEST_LIFECYCLE, "activate");
    worker->class->control(worker, &lingers.request);
    worker->class->control(worker, &next.request);
    wait_for(&next.heard, &next.settled); /* in order: the first was delivered */

    struct muster__worker_stats stats;
    worker->class->stats(worker, &stats);
    ck_assert_uint_ge(stats.in_flight, 1);
    char text[200];
    ck_assert_int_gt(worker->class->describe(worker, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, "linger"));

    worker->class->cancel(worker);
    wait_for(&lingers.heard, &lingers.settled);
    ck_assert_int_eq(lingers.status, MUSTER_TERMINATED);
    wait_for(&heard, &heard.gone);
    muster__service_gone(service, worker, heard.gone_status, 1);
    end_thread_service();
}
END_TEST

START_TEST(isolation_and_trust_of_the_host_of_threads_are_kept)
{
    make_thread_service();
    const struct muster_placement_request other = {
        .size = sizeof other, .isolation = "there", .trust = 4};
    const struct muster_placement_request lower = {
        .size = sizeof lower, .isolation = "here", .trust = 3};
    uint32_t host = 0;
    ck_assert_int_eq(muster__service_place(service, &other, 0, &host), MUSTER_REFUSED);
    ck_assert_int_eq(muster__service_place(service, &lower, 0, &host), MUSTER_REFUSED);
    ck_assert_uint_eq(muster__service_view(service, 0)->cores, 2);
    end_thread_service();
}
END_TEST

/* Any thread may drain while the coordinator takes: a take that succeeded is counted, and after the
 * drain none succeeds. */
static pthread_barrier_t race_begins;

static void *drain_threads(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&race_begins);
    threads->class->drain(threads);
    return NULL;
}

START_TEST(a_take_succeeds_or_is_refused_while_the_host_begins_to_drain)
{
    pthread_barrier_init(&race_begins, NULL, 2);
    for (int round = 0; round < 50; round++) {
        make_thread_service();
        pthread_t thread;
        pthread_create(&thread, NULL, drain_threads, NULL);
        pthread_barrier_wait(&race_begins);
        int taken = 0;
        while (threads->class->try_take(threads))
            taken++;
        ck_assert(!threads->class->try_take(threads));
        pthread_join(thread, NULL);
        while (taken--)
            threads->class->give_back(threads);
        end_thread_service();
    }
    pthread_barrier_destroy(&race_begins);
}
END_TEST

START_TEST(giving_back_what_was_not_taken_is_a_bug)
{
    make_thread_service();
    threads->class->give_back(threads);
}
END_TEST

/* ---- hosts that are made while it runs ---- */

static struct fake_host *made[8];
static int made_count;
static enum muster_status make_status;

static enum muster_status make_fake(enum muster_placement_kind kind,
                                    const struct muster_placement_request *asked,
                                    struct muster__host **ret_host, void *user_data)
{
    (void)user_data;
    ck_assert_int_eq(kind, MUSTER_PLACEMENT_PROCESS);
    if (make_status != MUSTER_OK)
        return make_status;
    struct fake_host *host = calloc(1, sizeof *host);
    host->base.class = &fake_host_class;
    host->base.view = (struct muster_placement_host){.kind = kind,
                                                     .state = MUSTER_PLACEMENT_READY,
                                                     .isolation = asked->isolation,
                                                     .trust = asked->trust};
    made[made_count++] = host;
    *ret_host = &host->base;
    return MUSTER_OK;
}

static void make_growing_service(unsigned shared)
{
    const struct muster__service_options options = {.new_host = make_fake, .shared_processes = shared};
    made_count = 0;
    make_status = MUSTER_OK;
    ck_assert_int_eq(muster__service_new(&options, &service, NULL), MUSTER_OK);
}

static uint32_t place_in_process(const char *isolation)
{
    const struct muster_placement_request asked = {
        .size = sizeof asked,
        .isolation = isolation,
        .kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS),
        .new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS)};
    uint32_t host = 0;
    enum muster_status status = muster__service_place(service, &asked, 1, &host);
    ck_assert_int_eq(status, host ? MUSTER_OK : make_status ? make_status : MUSTER_REFUSED);
    return host;
}

START_TEST(a_host_is_made_when_none_will_do_and_shared_when_there_are_enough)
{
    make_growing_service(2);
    struct fake_worker *first = start(place_in_process(NULL));
    ck_assert_int_eq(made_count, 1);
    struct fake_worker *second = start(place_in_process(NULL)); /* few hosts, and none is empty */
    ck_assert_int_eq(made_count, 2);
    ck_assert_uint_ne(first->base.host->view.id, second->base.host->view.id);
    ck_assert_uint_le(place_in_process(NULL), 2);
    ck_assert_int_eq(made_count, 2);
    ck_assert_uint_eq(place_in_process("site:a"), 3);
    ck_assert_uint_eq(place_in_process("site:a"), 3);
    make_status = MUSTER_REFUSED;
    ck_assert_uint_eq(place_in_process("site:b"), 0);
    gone(first, MUSTER_OK, 2);
    gone(second, MUSTER_OK, 2);
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_host_that_died_is_taken_out_and_its_id_is_not_used_again)
{
    make_growing_service(1);
    bool destroyed = false;
    struct fake_worker *worker = start(place_in_process(NULL));
    made[0]->destroyed = &destroyed;
    made[0]->dead = true;
    ck_assert_uint_eq(place_in_process(NULL), 2);
    ck_assert(!destroyed); /* it still has a worker, whose end was not heard */
    gone(worker, MUSTER_CRASHED, 2);
    ck_assert_uint_eq(place_in_process(NULL), 2);
    ck_assert(destroyed);
    muster__service_destroy(service);
}
END_TEST

START_TEST(a_worn_host_is_drained_when_its_successor_is_ready)
{
    make_growing_service(1);
    struct fake_worker *worker = start(place_in_process("site:a"));
    ck_assert_uint_eq(muster__service_recycle(service, 1), 0);
    made[0]->worn = true;
    make_status = MUSTER_NO_MEMORY;
    ck_assert_uint_eq(muster__service_recycle(service, 2), 0); /* no successor: it stays */
    make_status = MUSTER_OK;
    ck_assert_uint_eq(place_in_process("site:a"), 1);
    ck_assert_uint_eq(muster__service_recycle(service, 3), 1);
    ck_assert_int_eq(made_count, 2);
    ck_assert_str_eq(made[1]->base.view.isolation, "site:a");
    ck_assert(made[0]->draining);
    ck_assert_uint_eq(place_in_process("site:a"), 2);
    ck_assert_uint_eq(muster__service_recycle(service, 4), 0); /* once */
    gone(worker, MUSTER_OK, 5);
    made[1]->worn = true;
    worker = start(2);
    make_status = MUSTER_OK;
    ck_assert_uint_eq(muster__service_recycle(service, 6), 2);
    gone(worker, MUSTER_OK, 7);
    muster__service_destroy(service);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("service");
    TCase *tc = tcase_create("service");
    tcase_add_test(tc, an_unknown_policy_is_refused_and_the_known_ones_are_named);
    tcase_add_test(tc, without_a_host_every_worker_is_refused);
    tcase_add_test(tc, live_workers_and_requests_in_flight_steer_the_next_placement);
    tcase_add_test(
        tc, a_placement_looks_at_a_bounded_number_of_workers_and_says_how_old_the_figures_are);
    tcase_add_test(tc, a_host_that_began_to_die_refuses_and_the_choice_is_made_again);
    tcase_add_test(tc, a_start_that_failed_counts_nowhere);
    tcase_add_test(tc, a_crash_brings_quarantine_that_doubles_up_to_five_minutes);
    tcase_add_test(tc, a_script_that_runs_wild_is_counted_and_punishes_nobody_else);
    tcase_add_test(tc, an_abandoned_worker_does_not_hold_up_the_end);
    tcase_add_test_raise_signal(tc, destroying_a_service_with_a_live_worker_is_a_bug, SIGABRT);
    tcase_add_test(tc, the_same_seed_places_the_same);
    tcase_add_test(tc, a_host_is_made_when_none_will_do_and_shared_when_there_are_enough);
    tcase_add_test(tc, a_host_that_died_is_taken_out_and_its_id_is_not_used_again);
    tcase_add_test(tc, a_worn_host_is_drained_when_its_successor_is_ready);
    suite_add_tcase(s, tc);

    tc = tcase_create("host of threads");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, a_worker_on_threads_starts_serves_and_stops);
    tcase_add_test(tc, a_worker_on_threads_tells_what_holds_it_up_and_can_be_canceled);
    tcase_add_test(tc, isolation_and_trust_of_the_host_of_threads_are_kept);
    tcase_add_test(tc, a_take_succeeds_or_is_refused_while_the_host_begins_to_drain);
    tcase_add_test_raise_signal(tc, giving_back_what_was_not_taken_is_a_bug, SIGABRT);
    suite_add_tcase(s, tc);
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
