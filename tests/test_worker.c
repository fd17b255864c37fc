/* tests/test_worker.c - the life of a worker, on the fake engine and a real pool: start, turns, tokens,
 * timers, host calls, stop, cancel, limits, wedged and abandoned.
 *
 * The test's thread plays the coordinator.  It waits for what the listener hears, never for time. */
#include "runtime/spare.h"
#include "runtime/worker_internal.h"
#include "tests/fake_engine.h"

#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct muster__pool *pool;
static struct muster__slot *slot;
static struct fake_ears ears;
static atomic_int wants;

static void want(struct muster__slot *wanting, void *user_data)
{
    (void)wanting;
    (void)user_data;
    atomic_fetch_add(&wants, 1);
}

static void setup(void)
{
    const struct muster__pool_options pool_options = {.threads = 2};
    const struct muster__slot_options slot_options = {
        .queue_limit = 1000, .idle_us = 1000000, .want = want};
    fake_reset();
    fake_ears_init(&ears);
    atomic_store(&wants, 0);
    ck_assert_int_eq(muster__pool_new(&pool_options, &pool), MUSTER_OK);
    slot = muster__slot_new(&slot_options);
}

static void teardown(void)
{
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    muster__slot_release(slot);
    ck_assert_int_eq(atomic_load(&fake_counts.vms), 0);
    ck_assert_int_eq(atomic_load(&fake_counts.realms), 0);
    ck_assert(!atomic_load(&fake_counts.overlapped));
}

static uint32_t incarnation;

static struct muster__worker *start_with(const char *script, struct muster__worker_limits limits,
                                         struct muster__slot *into, struct muster__spare *spare)
{
    struct muster__worker *worker = NULL;
    incarnation = into ? muster__slot_attach(into) : 0;
    const struct muster__worker_options options = {.pool = pool,
                                                   .engine = &fake_engine,
                                                   .spare = spare,
                                                   .loader = &fake_loader,
                                                   .script_url = script,
                                                   .name = "fake",
                                                   .scope = "/fake/",
                                                   .limits = limits,
                                                   .slot = into,
                                                   .incarnation = incarnation,
                                                   .listener = &fake_listener,
                                                   .user_data = &ears};
    ck_assert_int_eq(muster__worker_new(&options, &worker), MUSTER_OK);
    return worker;
}

static const struct muster__worker_limits no_limits;

/* Started and open. */
static struct muster__worker *run_worker(const char *script)
{
    struct muster__worker *worker = start_with(script, no_limits, slot, NULL);
    fake_ears_wait(&ears, &ears.started, 1);
    ck_assert_int_eq(ears.start_status, MUSTER_OK);
    ck_assert(muster__worker_open(worker, muster__now_us()));
    return worker;
}

static void wait_gone(struct muster__worker *worker)
{
    fake_ears_wait(&ears, &ears.gone, 1);
    (void)muster__slot_vacate(slot, incarnation); /* as the coordinator does */
    muster__worker_release(worker);
    ck_assert_int_eq(ears.gone, 1);
}

static void end_worker(struct muster__worker *worker)
{
    (void)muster__slot_vacate(slot, incarnation);
    muster__worker_stop(worker);
    wait_gone(worker);
    ck_assert_int_eq(ears.gone_status, MUSTER_OK);
}

static struct fake_errand *post(const char *name)
{
    struct fake_errand *errand = fake_errand_new(MUSTER__REQUEST_EVENT, name);
    ck_assert_int_eq(muster__slot_post(slot, &errand->request, muster__now_us()), MUSTER_OK);
    return errand;
}

static enum muster_status result_of(struct fake_errand *errand)
{
    fake_errand_wait(errand);
    enum muster_status status = errand->status;
    fake_errand_free(errand);
    return status;
}

static enum muster_status ask(const char *name)
{
    return result_of(post(name));
}

static void wait_for(const atomic_int *count, int wanted)
{
    while (atomic_load(count) < wanted)
        sched_yield();
}

START_TEST(a_worker_starts_serves_in_order_and_stops)
{
    struct fake_errand *early = post("answer"); /* before there is a worker */
    ck_assert_int_eq(atomic_load(&wants), 1);
    struct muster__worker *worker = run_worker("");
    ck_assert_int_eq(result_of(early), MUSTER_OK);
    ck_assert_int_eq(ask("fail"), MUSTER_SCRIPT_ERROR);
    struct fake_errand *many[300];
    for (int i = 0; i < 300; i++)
        many[i] = post("answer");
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(result_of(many[i]), MUSTER_OK);
    ck_assert_int_eq(atomic_load(&fake_counts.deliveries), 302);
    ck_assert_uint_eq(muster__slot_sample(slot).holds, 0);
    ck_assert(muster__slot_retire(slot, incarnation));
    end_worker(worker);
}
END_TEST

START_TEST(a_script_that_does_not_parse_is_told_with_its_error_and_ends)
{
    struct muster__worker *worker = start_with("syntax", no_limits, slot, NULL);
    fake_ears_wait(&ears, &ears.started, 1);
    ck_assert_int_eq(ears.start_status, MUSTER_SYNTAX_ERROR);
    wait_gone(worker);
    ck_assert_int_eq(ears.gone_status, MUSTER_SYNTAX_ERROR);
    ck_assert_int_eq(ears.started, 1);
}
END_TEST

START_TEST(a_script_may_be_evaluated_later)
{
    struct muster__worker *worker = run_worker("later");
    ck_assert_int_eq(atomic_load(&fake_counts.notes), 1);
    ck_assert_int_eq(ask("answer"), MUSTER_OK);
    end_worker(worker);
}
END_TEST

START_TEST(lifecycle_requests_do_not_wait_for_the_slot)
{
    struct muster__worker *worker = start_with("", no_limits, slot, NULL);
    struct fake_errand *install = fake_errand_new(MUSTER__REQUEST_LIFECYCLE, "answer");
    muster__worker_control(worker, &install->request); /* even before it started */
    ck_assert_int_eq(result_of(install), MUSTER_OK);
    end_worker(worker);
    ck_assert_int_eq(ears.started, 1);
}
END_TEST

START_TEST(a_dead_worker_refuses_lifecycle_requests_and_forgets_cancellations)
{
    struct muster__worker *worker = run_worker("");
    muster__worker_acquire(worker);
    end_worker(worker);
    struct fake_errand *late = fake_errand_new(MUSTER__REQUEST_LIFECYCLE, "answer");
    muster__worker_control(worker, &late->request);
    muster__worker_cancel_request(worker, &late->request);
    ck_assert_int_eq(result_of(late), MUSTER_TERMINATED);
    muster__worker_stop(worker);
    muster__worker_cancel(worker);
    muster__worker_release(worker);
    ck_assert_int_eq(ears.gone, 1);
}
END_TEST

START_TEST(what_is_in_flight_and_tokens_hold_the_slot_and_the_stop)
{
    struct muster__worker *worker = run_worker("token");
    ck_assert_uint_eq(muster__slot_sample(slot).holds, 1); /* taken while it started */
    struct fake_errand *lingers = post("linger");
    fake_errand_wait(lingers);
    ck_assert_uint_eq(muster__slot_sample(slot).holds, 2);
    char text[200];
    ck_assert_int_gt(muster__worker_describe(worker, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, "linger"));
    ck_assert_ptr_nonnull(strstr(text, "token \"tokens\""));
    ck_assert_int_eq(muster__worker_describe(worker, NULL, 0), (int)strlen(text));
    ck_assert(!muster__slot_retire(slot, incarnation));
    ck_assert_int_eq(ask("release"), MUSTER_OK);
    fake_errand_free(lingers);
    ck_assert_int_eq(ask("drop"), MUSTER_OK);
    while (muster__slot_sample(slot).holds)
        sched_yield();
    ck_assert(muster__slot_retire(slot, incarnation));
    end_worker(worker);
}
END_TEST

START_TEST(a_stop_waits_for_what_is_in_flight)
{
    struct muster__worker *worker = run_worker("");
    struct fake_errand *held = post("hold");
    ck_assert_int_eq(ask("answer"), MUSTER_OK); /* so the first is in */
    (void)muster__slot_vacate(slot, incarnation);
    muster__worker_stop(worker);
    struct fake_errand *release = fake_errand_new(MUSTER__REQUEST_LIFECYCLE, "release");
    muster__worker_control(worker, &release->request);
    ck_assert_int_eq(result_of(release), MUSTER_OK);
    ck_assert_int_eq(result_of(held), MUSTER_OK);
    wait_gone(worker);
    ck_assert_int_eq(ears.gone_status, MUSTER_OK);
}
END_TEST

START_TEST(a_cancel_settles_what_is_in_flight_and_interrupts_the_script)
{
    /* Before it starts, so that all three are taken in one turn. */
    struct fake_errand *held = post("hold"), *spins = post("spin"), *waits = post("answer");
    struct muster__worker *worker = run_worker("token;never");
    int wanted = atomic_load(&wants);
    wait_for(&fake_counts.spinning, 1);
    ck_assert_int_eq((int)muster__slot_vacate(slot, incarnation), 0); /* all were taken together */
    muster__worker_cancel(worker);
    ck_assert_int_eq(result_of(held), MUSTER_TERMINATED);
    ck_assert_int_eq(result_of(spins), MUSTER_TERMINATED);
    wait_gone(worker);
    ck_assert_int_eq(ears.gone_status, MUSTER_TERMINATED);
    /* The one that never began waits for the next worker. */
    ck_assert(!muster__request_is_settled(&waits->request));
    ck_assert_int_eq(atomic_load(&wants), wanted + 1);
    fake_ears_init(&ears);
    worker = run_worker("");
    ck_assert_int_eq(result_of(waits), MUSTER_OK);
    end_worker(worker);
}
END_TEST

START_TEST(a_cancel_before_the_first_turn_ends_it_without_a_start)
{
    for (int i = 0; i < 50; i++) {
        struct muster__worker *worker = start_with("token;spin", no_limits, slot, NULL);
        muster__worker_cancel(worker);
        wait_gone(worker);
        fake_ears_init(&ears);
    }
}
END_TEST

START_TEST(a_turn_cut_short_ends_the_worker_with_the_same_error_for_all_in_flight)
{
    struct fake_errand *held = post("hold"), *dies = post("die");
    struct muster__worker *worker = run_worker("");
    ck_assert_int_eq(result_of(held), MUSTER_TURN_LIMIT);
    ck_assert_int_eq(result_of(dies), MUSTER_TURN_LIMIT);
    wait_gone(worker);
    ck_assert_int_eq(ears.gone_status, MUSTER_TURN_LIMIT);
    ck_assert_str_ne(ears.gone_message, "");
}
END_TEST

START_TEST(a_turn_over_its_limit_is_interrupted_by_name_when_the_engine_did_not)
{
    struct muster__worker *worker =
        start_with("", (struct muster__worker_limits){.turn_us = 1000}, slot, NULL);
    fake_ears_wait(&ears, &ears.started, 1);
    ck_assert(muster__worker_open(worker, 0));
    ck_assert_int_eq(ask("spin"), MUSTER_TURN_LIMIT);
    wait_gone(worker);
    ck_assert_int_eq(ears.gone_status, MUSTER_TURN_LIMIT);
}
END_TEST

START_TEST(the_cpu_time_of_turns_is_counted)
{
    struct muster__worker_stats stats;
    struct muster__worker *worker =
        start_with("", (struct muster__worker_limits){.turn_us = 1000}, slot, NULL);
    fake_ears_wait(&ears, &ears.started, 1);
    ck_assert(muster__worker_open(worker, 0));
    ck_assert_int_eq(ask("spin"), MUSTER_TURN_LIMIT);
    do
        muster__worker_stats(worker, &stats);
    while (stats.cpu_us < 1000 && sched_yield() == 0); /* bounded by the test's time */
    wait_gone(worker);
}
END_TEST

START_TEST(a_canceled_request_in_flight_is_ended_by_the_engine)
{
    struct muster__worker *worker = run_worker("");
    struct fake_errand *held = post("hold");
    ck_assert_int_eq(ask("answer"), MUSTER_OK);
    ck_assert(muster__request_fail(&held->request, MUSTER_CANCELED, NULL));
    muster__slot_cancel(slot, &held->request);
    ck_assert_int_eq(result_of(held), MUSTER_CANCELED); /* its last reference went, too */
    ck_assert_int_eq(atomic_load(&fake_counts.cancels), 1);
    end_worker(worker);
}
END_TEST

START_TEST(a_request_settled_before_it_is_delivered_never_reaches_the_script)
{
    struct fake_errand *early = fake_errand_new(MUSTER__REQUEST_EVENT, "answer");
    ck_assert(muster__request_fail(&early->request, MUSTER_TIMED_OUT, NULL));
    ck_assert_int_eq(muster__slot_post(slot, &early->request, 0), MUSTER_OK);
    struct muster__worker *worker = run_worker("");
    ck_assert_int_eq(result_of(early), MUSTER_TIMED_OUT);
    ck_assert_int_eq(atomic_load(&fake_counts.deliveries), 0);
    end_worker(worker);
}
END_TEST

START_TEST(timers_come_in_later_turns_and_die_with_the_worker)
{
    struct muster__worker *worker = run_worker("timer;timer;repeat;never");
    wait_for(&fake_counts.timers, 10);
    ck_assert_int_eq(ask("timer"), MUSTER_OK);
    wait_for(&fake_counts.timers, 15);
    struct muster__worker_stats stats;
    muster__worker_stats(worker, &stats);
    ck_assert_uint_ge(stats.timers, 2);
    end_worker(worker);
    int fired = atomic_load(&fake_counts.timers);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    ck_assert_int_eq(atomic_load(&fake_counts.timers), fired);
    pool = NULL;
    const struct muster__pool_options options = {.threads = 1};
    ck_assert_int_eq(muster__pool_new(&options, &pool), MUSTER_OK); /* for the teardown */
}
END_TEST

START_TEST(a_host_call_is_heard_once_whoever_ends_it)
{
    struct muster__worker *worker = run_worker("");
    struct fake_errand *calls[20];
    for (int i = 0; i < 20; i++)
        calls[i] = post("call");
    for (int ended = 0; ended < 20;)
        ended += fake_end_call();
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(result_of(calls[i]), MUSTER_OK);
    end_worker(worker); /* no token is left over */
}
END_TEST

START_TEST(a_host_call_may_end_while_and_after_its_worker_dies)
{
    for (int round = 0; round < 30; round++) {
        struct muster__worker *worker = run_worker("call;call;call");
        struct fake_errand *errand = post("call");
        wait_for(&fake_counts.deliveries, round + 1);
        if (round % 3 == 0)
            fake_end_call();
        muster__worker_cancel(worker);
        if (round % 2 == 0)
            while (fake_end_call())
                ;
        wait_gone(worker);
        while (fake_end_call())
            ;
        fake_errand_wait(errand);
        fake_errand_free(errand);
        fake_ears_init(&ears);
    }
}
END_TEST

START_TEST(notes_run_once_for_each_time_they_were_posted)
{
    struct muster__worker *worker = run_worker("post");
    for (int i = 2; i < 100; i++) {
        wait_for(&fake_counts.notes, i - 1);
        ck_assert_int_eq(ask("post"), MUSTER_OK);
    }
    wait_for(&fake_counts.notes, 99);
    end_worker(worker);
    ck_assert_int_eq(atomic_load(&fake_counts.notes), 99);
}
END_TEST

START_TEST(a_note_that_waits_at_death_is_never_run)
{
    struct fake_errand *posts = post("post"), *dies = post("die"); /* taken in one turn */
    struct muster__worker *worker = run_worker("");
    ck_assert_int_eq(result_of(posts), MUSTER_OK);
    ck_assert_int_eq(result_of(dies), MUSTER_TURN_LIMIT);
    wait_gone(worker);
    ck_assert_int_eq(atomic_load(&fake_counts.notes), 0);
}
END_TEST

START_TEST(the_listener_hears_of_reports_close_and_skip_waiting)
{
    struct muster__worker *worker = run_worker("report;skip");
    ck_assert_int_eq(ask("close"), MUSTER_OK);
    fake_ears_wait(&ears, &ears.closed_self, 1);
    ck_assert_int_eq(ears.reports, 1);
    ck_assert_int_eq(ears.skipped, 1);
    end_worker(worker);
}
END_TEST

START_TEST(memory_is_measured_a_while_after_the_start_though_nothing_else_happens)
{
    struct muster__worker *worker = run_worker("grow");
    struct muster__worker_stats stats;
    ck_assert_int_eq(ask("answer"), MUSTER_OK);
    do
        muster__worker_stats(worker, &stats);
    while (stats.memory == 0 && sched_yield() == 0); /* bounded by the test's time */
    ck_assert_uint_eq(stats.memory, 8192);
    ck_assert_uint_ge(stats.turns, 1);
    ck_assert_str_eq(stats.phase, "running");
    end_worker(worker);
}
END_TEST

START_TEST(memory_is_not_measured_again_until_the_worker_has_done_ten_times_as_much_work_as_that_costs)
{
    struct worker_memory memory = {.due_us = 500000};
    ck_assert(!muster__worker_memory_is_due(&memory, 499999, 100));
    ck_assert(muster__worker_memory_is_due(&memory, 500000, 100)); /* the first time, whatever it did */
    ck_assert(!muster__worker_memory_is_due(&memory, 600000, 9000)); /* too soon */
    ck_assert(!muster__worker_memory_is_due(&memory, 1000000, 3099));
    ck_assert(muster__worker_memory_is_due(&memory, 1500000, 3100));
    ck_assert(!muster__worker_memory_is_due(&memory, 2000000, 3200));
}
END_TEST

/* ---- wedged ---- */

START_TEST(a_worker_that_does_not_yield_is_told_and_given_up_and_everything_is_settled)
{
    struct fake_errand *held = post("hold"), *stuck = post("stuck"), *behind = post("answer");
    struct muster__worker *worker = start_with(
        "", (struct muster__worker_limits){.wedged_us = 5000}, slot, NULL);
    fake_ears_wait(&ears, &ears.started, 1);
    ck_assert(muster__worker_open(worker, 0));
    wait_for(&fake_counts.stuck, 1);
    struct fake_errand *control = fake_errand_new(MUSTER__REQUEST_LIFECYCLE, "answer");
    muster__worker_control(worker, &control->request);
    (void)muster__slot_vacate(slot, incarnation);
    muster__worker_cancel(worker);
    fake_ears_wait(&ears, &ears.wedged, 1);
    fake_errand_wait(held);
    fake_errand_wait(stuck);
    muster__worker_abandon(worker);
    fake_errand_wait(behind);
    fake_errand_wait(control);
    ck_assert_int_eq(held->status, MUSTER_TERMINATED);
    ck_assert_int_eq(behind->status, MUSTER_WEDGED);
    ck_assert_int_eq(control->status, MUSTER_WEDGED);
    struct muster__pool_stats stats;
    do {
        muster__pool_stats(pool, &stats);
        sched_yield();
    } while (stats.wedged == 0 || stats.threads != 2); /* lost, then replaced */

    fake_let_go(); /* it comes back, and ends as if nothing had been */
    wait_gone(worker);
    fake_errand_free(held);
    fake_errand_free(stuck);
    fake_errand_free(behind);
    fake_errand_free(control);
    fake_ears_init(&ears);
    worker = run_worker("");
    ck_assert_int_eq(ask("answer"), MUSTER_OK);
    end_worker(worker);
    do {
        muster__pool_stats(pool, &stats);
        sched_yield();
    } while (stats.wedged);
}
END_TEST

START_TEST(a_worker_given_up_while_it_only_waits_for_a_thread_ends_when_it_gets_one)
{
    for (int i = 0; i < 20; i++) {
        struct muster__worker *worker = run_worker("");
        struct fake_errand *held = post("hold");
        wait_for(&fake_counts.deliveries, i + 1);
        (void)muster__slot_vacate(slot, incarnation);
        muster__worker_abandon(worker);
        ck_assert_int_eq(result_of(held), MUSTER_WEDGED);
        wait_gone(worker);
        fake_ears_init(&ears);
    }
}
END_TEST

/* ---- spinning next to others ---- */

START_TEST(a_spinning_worker_does_not_freeze_the_others)
{
    struct muster__slot *mine = slot;
    struct muster__worker *spinner = run_worker("");
    uint32_t spinning = incarnation;
    struct fake_errand *spins = post("spin");
    wait_for(&fake_counts.spinning, 1);

    const struct muster__slot_options options = {.queue_limit = 10, .idle_us = 1000, .want = want};
    slot = muster__slot_new(&options);
    struct muster__worker *other = NULL;
    struct fake_ears other_ears;
    fake_ears_init(&other_ears);
    uint32_t number = muster__slot_attach(slot);
    const struct muster__worker_options worker_options = {.pool = pool,
                                                          .engine = &fake_engine,
                                                          .loader = &fake_loader,
                                                          .script_url = "repeat",
                                                          .slot = slot,
                                                          .incarnation = number,
                                                          .listener = &fake_listener,
                                                          .user_data = &other_ears};
    ck_assert_int_eq(muster__worker_new(&worker_options, &other), MUSTER_OK);
    fake_ears_wait(&other_ears, &other_ears.started, 1);
    ck_assert(muster__worker_open(other, 0));
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(ask("answer"), MUSTER_OK);
    wait_for(&fake_counts.timers, 20);
    ck_assert_int_eq(atomic_load(&fake_counts.spinning), 1);
    (void)muster__slot_vacate(slot, number);
    muster__worker_stop(other);
    fake_ears_wait(&other_ears, &other_ears.gone, 1);
    muster__worker_release(other);
    muster__slot_release(slot);

    slot = mine;
    incarnation = spinning;
    (void)muster__slot_vacate(slot, incarnation);
    muster__worker_cancel(spinner);
    ck_assert_int_eq(result_of(spins), MUSTER_TERMINATED);
    wait_gone(spinner);
}
END_TEST

/* ---- one worker sends to another ---- */

static struct muster__slot *target_slot;

static enum muster_status to_target(const char *scope, struct muster__request *request,
                                    uint64_t keepalive_until_us)
{
    ck_assert_str_eq(scope, "/target/");
    request->keepalive_until_us = keepalive_until_us;
    return muster__slot_post(target_slot, request, muster__now_us());
}

START_TEST(what_a_worker_sends_settles_there_and_may_outlive_the_sender)
{
    const struct muster__slot_options options = {.queue_limit = 100, .idle_us = 1000000, .want = want};
    target_slot = muster__slot_new(&options);
    ears.dispatch = to_target;
    struct muster__worker *worker = run_worker("");
    struct fake_errand *asks = post("send /target/ answer"), *never = post("send /target/ hold");
    while (muster__slot_sample(target_slot).waiting < 2)
        sched_yield();
    struct fake_ears target_ears;
    fake_ears_init(&target_ears);
    uint32_t number = muster__slot_attach(target_slot);
    const struct muster__worker_options target_options = {.pool = pool,
                                                          .engine = &fake_engine,
                                                          .loader = &fake_loader,
                                                          .script_url = "",
                                                          .slot = target_slot,
                                                          .incarnation = number,
                                                          .listener = &fake_listener,
                                                          .user_data = &target_ears};
    struct muster__worker *target = NULL;
    ck_assert_int_eq(muster__worker_new(&target_options, &target), MUSTER_OK);
    fake_ears_wait(&target_ears, &target_ears.started, 1);
    ck_assert(muster__worker_open(target, muster__now_us()));
    ck_assert_int_eq(result_of(asks), MUSTER_OK);

    (void)muster__slot_vacate(slot, incarnation);
    muster__worker_cancel(worker); /* the sender dies first */
    ck_assert_int_eq(result_of(never), MUSTER_TERMINATED);
    wait_gone(worker);
    muster__worker_cancel(target); /* settles what nobody waits for any more */
    fake_ears_wait(&target_ears, &target_ears.gone, 1);
    (void)muster__slot_vacate(target_slot, number);
    muster__worker_release(target);
    muster__slot_release(target_slot);
}
END_TEST

/* ---- spares, and dedicated workers ---- */

START_TEST(a_spare_vm_is_used_replaced_and_taken_apart)
{
    const struct muster__spare_options spares = {.pool = pool,
                                                 .engine_name = fake_engine.name,
                                                 .engine = &fake_engine,
                                                 .host = &muster__worker_realm_host,
                                                 .count = 2};
    struct muster__spare *spare = muster__spare_new(&spares);
    muster__spare_fill(spare);
    wait_for(&fake_counts.realms, 2);
    struct muster__worker *worker = start_with("", no_limits, slot, spare);
    fake_ears_wait(&ears, &ears.started, 1);
    ck_assert(muster__worker_open(worker, 0));
    ck_assert_int_eq(ask("answer"), MUSTER_OK);
    wait_for(&fake_counts.realms, 3); /* two in store again, and the worker's */
    end_worker(worker);
    ck_assert(muster__spare_stop(spare, 60000));
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    muster__spare_destroy(spare);
    ck_assert_int_eq(atomic_load(&fake_counts.vms), 0);
    const struct muster__pool_options options = {.threads = 1};
    ck_assert_int_eq(muster__pool_new(&options, &pool), MUSTER_OK); /* for the teardown */
}
END_TEST

START_TEST(a_worker_without_a_slot_tells_when_nothing_keeps_it_alive)
{
    struct muster__worker *worker = start_with("timer", no_limits, NULL, NULL);
    fake_ears_wait(&ears, &ears.idle, 1);
    ck_assert_int_eq(atomic_load(&fake_counts.timers), 1);
    struct muster__worker_stats stats;
    muster__worker_stats(worker, &stats);
    ck_assert_uint_eq(stats.timers, 0);
    muster__worker_stop(worker);
    fake_ears_wait(&ears, &ears.gone, 1);
    muster__worker_release(worker);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("worker");
    TCase *tc = tcase_create("worker");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_worker_starts_serves_in_order_and_stops);
    tcase_add_test(tc, a_script_that_does_not_parse_is_told_with_its_error_and_ends);
    tcase_add_test(tc, a_script_may_be_evaluated_later);
    tcase_add_test(tc, lifecycle_requests_do_not_wait_for_the_slot);
    tcase_add_test(tc, a_dead_worker_refuses_lifecycle_requests_and_forgets_cancellations);
    tcase_add_test(tc, what_is_in_flight_and_tokens_hold_the_slot_and_the_stop);
    tcase_add_test(tc, a_stop_waits_for_what_is_in_flight);
    tcase_add_test(tc, a_cancel_settles_what_is_in_flight_and_interrupts_the_script);
    tcase_add_test(tc, a_cancel_before_the_first_turn_ends_it_without_a_start);
    tcase_add_test(tc, a_turn_cut_short_ends_the_worker_with_the_same_error_for_all_in_flight);
    tcase_add_test(tc, a_turn_over_its_limit_is_interrupted_by_name_when_the_engine_did_not);
    tcase_add_test(tc, the_cpu_time_of_turns_is_counted);
    tcase_add_test(tc, a_canceled_request_in_flight_is_ended_by_the_engine);
    tcase_add_test(tc, a_request_settled_before_it_is_delivered_never_reaches_the_script);
    tcase_add_test(tc, timers_come_in_later_turns_and_die_with_the_worker);
    tcase_add_test(tc, a_host_call_is_heard_once_whoever_ends_it);
    tcase_add_test(tc, a_host_call_may_end_while_and_after_its_worker_dies);
    tcase_add_test(tc, notes_run_once_for_each_time_they_were_posted);
    tcase_add_test(tc, a_note_that_waits_at_death_is_never_run);
    tcase_add_test(tc, the_listener_hears_of_reports_close_and_skip_waiting);
    tcase_add_test(tc, memory_is_measured_a_while_after_the_start_though_nothing_else_happens);
    tcase_add_test(tc, memory_is_not_measured_again_until_the_worker_has_done_ten_times_as_much_work_as_that_costs);
    tcase_add_test(tc, a_worker_that_does_not_yield_is_told_and_given_up_and_everything_is_settled);
    tcase_add_test(tc, a_worker_given_up_while_it_only_waits_for_a_thread_ends_when_it_gets_one);
    tcase_add_test(tc, a_spinning_worker_does_not_freeze_the_others);
    tcase_add_test(tc, what_a_worker_sends_settles_there_and_may_outlive_the_sender);
    tcase_add_test(tc, a_spare_vm_is_used_replaced_and_taken_apart);
    tcase_add_test(tc, a_worker_without_a_slot_tells_when_nothing_keeps_it_alive);
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
