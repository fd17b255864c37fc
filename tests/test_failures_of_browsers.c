/* tests/test_failures_of_browsers.c - ways in which the worker managers of browsers went wrong, and what happens here.
 *
 * Each of the 26 failures in the table below became a test: here, or in the file that tests the part; the first test
 * looks whether all of them are still there.  Nothing sleeps; where a script must not have gone on yet, it waits for a
 * binding of this file's, or in its loader, until the test lets it go on. */
#include "tests/context_harness.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

/* ---- the table ---- */

static const struct {
    int number;
    const char *failure;
    const char *file, *test; /* in this folder */
} table[] = {
    {1, "a process is torn down while its worker still finishes", "test_failures_of_browsers.c",
     "a_process_lives_until_its_worker_has_finished"},
    {2, "the process that was chosen begins to die before it is used", "test_service.c",
     "a_host_that_began_to_die_refuses_and_the_choice_is_made_again"},
    {2, "", "test_service.c", "a_take_succeeds_or_is_refused_while_the_host_begins_to_drain"},
    {3, "terminate() while the process is launched, the script loads, or nobody is there yet",
     "test_failures_of_browsers.c", "a_worker_that_is_terminated_at_any_stage_of_its_start_leaves_nothing"},
    {3, "", "test_worker.c", "a_cancel_before_the_first_turn_ends_it_without_a_start"},
    {4, "'started' or 'did not start' comes after the end", "test_core.c",
     "a_dying_instance_is_not_revived_by_anything_it_says"},
    {4, "", "test_core.c", "whatever_the_driver_says_has_an_answer_in_every_phase"},
    {5, "a process dies while clients and requests wait for it: each is told, once", "test_failures_of_browsers.c",
     "all_who_wait_for_a_process_that_dies_are_told_once"},
    {6, "a death is told twice", "test_core.c", "an_event_about_what_nobody_knows_does_nothing"},
    {6, "", "test_link.c", "the_end_of_the_peer_is_heard_once_and_behind_what_it_said"},
    {7, "a lock is held while the launcher is waited for", "test_failures_of_browsers.c",
     "a_process_that_does_not_answer_holds_up_nobody_else"},
    {8, "a callback is called with a lock held that it needs", "test_failures_of_browsers.c",
     "every_callback_may_call_back"},
    {9, "what starts processes is gone before the workers are", "test_failures_of_browsers.c",
     "an_instance_that_closes_ends_its_processes_after_their_workers"},
    {10, "ports leak when a start is canceled, or fails", "test_contexts.c",
     "a_worker_that_does_not_start_fails_who_asked_and_closes_the_port"},
    {10, "", "test_contexts.c", "one_that_is_terminated_before_it_runs_fails_its_ask"},
    {11, "the process of a shared worker dies and its pages hang", "test_contexts.c",
     "a_shared_worker_keeps_its_state_for_all_its_clients_until_it_dies_for_all_of_them_at_once"},
    {12, "a new client meets a shared worker that is dead", "test_contexts.c",
     "holders_that_come_and_go_meet_one_live_worker_at_most"},
    {12, "", "test_contexts.c", "a_worker_that_closes_itself_is_not_met_again"},
    {13, "what a dead worker owned is released late, and its successor is refused", "test_failures_of_browsers.c",
     "who_hears_of_a_death_can_connect_again_at_once"},
    {14, "looking at a worker that starts kills it", "test_failures_of_browsers.c",
     "looking_at_a_worker_that_starts_does_it_no_harm"},
    {15, "the last client goes, and the work that it gave is cut off", "test_failures_of_browsers.c",
     "work_is_finished_though_the_last_client_has_gone"},
    {16, "two service workers keep each other alive", "test_failures_of_browsers.c",
     "two_workers_do_not_keep_each_other_alive_by_messages"},
    {17, "a queue of jobs is stuck, a job ends twice or never", "test_core_rules.c",
     "a_fetch_has_a_bound_and_what_comes_later_is_given_back"},
    {17, "", "test_core.c", "jobs_of_a_scope_run_one_at_a_time_and_in_order"},
    {17, "", "test_core.c", "close_settles_the_jobs_ends_the_instances_and_comes_to_an_end"},
    {18, "updates starve, because events or a clock that was set back delay them", "test_core_rules.c",
     "scripts_are_stale_a_day_after_they_were_checked"},
    {19, "over the limit a worker seems to be made and never runs", "test_contexts.c",
     "one_worker_too_many_is_refused_at_once_and_says_so"},
    {20, "a worker that hangs holds up the shutdown", "test_muster_process.c",
     "a_worker_that_hangs_does_not_hold_up_the_end"},
    {20, "", "test_service.c", "a_worker_on_threads_tells_what_holds_it_up_and_can_be_canceled"},
    {20, "", "test_core.c", "a_stop_escalates_to_an_interrupt_and_then_gives_up"},
    {21, "a reference cannot be made, and what is half built goes wrong", "test_host_call.c",
     "every_failed_allocation_of_a_call_releases_the_arguments"},
    {21, "", "test_core.c", "a_step_without_memory_changes_nothing_and_may_be_repeated"},
    {22, "the release of the last token ends the worker, whose end releases a token",
     "test_failures_of_browsers.c", "a_token_that_is_dropped_by_the_end_of_its_worker_is_dropped_once"},
    {23, "a message right after unregister(); unregister() of a busy registration", "test_failures_of_browsers.c",
     "what_is_sent_around_an_unregister_settles_and_the_busy_one_finishes"},
    {24, "one bad record loses all registrations, the last change is lost at the end", "test_store.c",
     "what_can_be_read_of_a_damaged_file_is_kept"},
    {24, "", "test_store.c", "what_was_told_done_is_there_when_the_store_is_opened_again"},
    {25, "an idle stop loses what is kept in globals, or comes too early", "test_contexts.c",
     "a_shared_worker_keeps_its_state_for_all_its_clients_until_it_dies_for_all_of_them_at_once"},
    {25, "", "test_core.c", "held_work_gets_the_grace_time_and_no_more"},
    {26, "a start fails, and what was sent before it waits for ever", "test_muster.c",
     "those_who_wait_for_a_failing_start_hear_why"},
    {26, "", "test_worker.c", "a_dead_worker_refuses_lifecycle_requests_and_forgets_cancellations"},
};

enum { FAILURE_COUNT = 26, ROW_COUNT = sizeof(table) / sizeof(*table) };

/* The text of a file in this folder; for free(). */
static char *read_source(const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", TESTS_FOLDER, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    rewind(file);
    char *text = calloc(1, (size_t)size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    return text;
}

/* It is written, and it is run. */
static void assert_has_test(const char *text, const char *test)
{
    char head[256], use[256];
    snprintf(head, sizeof(head), "START_TEST(%s)", test);
    snprintf(use, sizeof(use), ", %s", test);
    ck_assert_msg(strstr(text, head) != NULL, "no test %s", test);
    ck_assert_msg(strstr(text, use) != NULL, "%s is not run", test);
}

START_TEST(each_of_the_failures_has_a_test)
{
    int number = 0;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        ck_assert_msg(table[i].number == number || table[i].number == number + 1, "%d is out of order", table[i].number);
        ck_assert_msg(table[i].number == number || *table[i].failure, "%d says nothing", table[i].number);
        number = table[i].number;
        char *text = read_source(table[i].file);
        assert_has_test(text, table[i].test);
        free(text);
    }
    ck_assert_int_eq(number, FAILURE_COUNT);
}
END_TEST

/* ---- scripts ---- */

/* `wait` ends when the test says so; `note` counts. */
static const char worker_lua[] = "local function work() wait() note() return 'done' end\n"
                                 "muster.on('message', work)\n"
                                 "muster.on('push', work)\n";
static const char slow_lua[] = "";
static const char counter_js[] =
    "let count = 0;\n"
    "onconnect = ({ ports: [port] }) => { port.onmessage = () => port.postMessage(++count); };\n";
/* Two of these play ball for ever. */
static const char player_js[] = "onmessage = ({ source }) => { note(); source.postMessage('ball'); };\n";

static struct counter loads = COUNTER, notes = COUNTER, waits = COUNTER;
static sem_t gate; /* of slow scripts: one more may go on */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && strcmp(text + length - size, ending) == 0;
}

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    static const struct {
        const char *ending, *text;
    } scripts[] = {{"worker.lua", worker_lua},
                   {"slow.lua", slow_lua},
                   {"counter.js", counter_js},
                   {"player.js", player_js}};
    (void)importer;
    (void)user_data;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++) {
        if (!ends_with(url, scripts[i].ending))
            continue;
        counter_add(&loads, 1);
        if (ends_with(url, ".js"))
            atomic_store(&javascript_was_used, true);
        if (ends_with(url, "slow.lua"))
            sem_wait(&gate);
        ret_loaded->text = strdup(scripts[i].text);
        ret_loaded->length = strlen(scripts[i].text);
        return MUSTER_OK;
    }
    muster_error_set(error, MUSTER_NOT_FOUND, "there is no %s", url);
    return MUSTER_NOT_FOUND;
}

/* ---- bindings ---- */

static struct {
    pthread_mutex_t lock;
    bool is_open; /* nobody waits any more */
    struct muster_host_call *calls[64];
    int count;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void call_wait(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    pthread_mutex_lock(&held.lock);
    bool is_open = held.is_open || held.count == 64;
    if (!is_open)
        held.calls[held.count++] = call;
    pthread_mutex_unlock(&held.lock);
    if (is_open)
        muster_host_call_return(call, NULL);
    counter_add(&waits, 1);
}

static void call_note(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_return(call, NULL);
    counter_add(&notes, 1);
}

/* All who wait go on, and who comes does not wait. */
static void let_go_on(void)
{
    pthread_mutex_lock(&held.lock);
    held.is_open = true;
    int count = held.count;
    held.count = 0;
    pthread_mutex_unlock(&held.lock);
    for (int i = 0; i < count; i++)
        muster_host_call_return(held.calls[i], NULL);
}

static void begin_with(struct muster_options options)
{
    struct muster_bindings *bindings = muster_bindings_new();
    ck_assert_int_eq(muster_bindings_add_function(bindings, "wait", call_wait, NULL, NULL), MUSTER_OK);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "note", call_note, NULL, NULL), MUSTER_OK);
    sem_init(&gate, 0, 0);
    options.size = sizeof(options);
    options.threads = 3;
    options.bindings = bindings;
    open_muster(&options);
    muster_bindings_release(bindings);
}

static void begin_in(int home)
{
    begin_with((struct muster_options){.hosting = homes[home], .processes = 1});
}

static void end(void)
{
    for (int i = 0; i < 64; i++)
        sem_post(&gate);
    let_go_on();
    close_muster();
}

static void register_script(const char *scope, const char *script)
{
    const struct muster_registration_options options = {.size = sizeof(options), .scope = scope, .script = script};
    struct muster_handle *handle = NULL;
    struct muster_result result;
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    ck_assert_msg(result.status == MUSTER_OK, "%s", result.error ? result.error->message : "");
    muster_handle_release(handle);
}

static struct muster_handle *push(const char *scope)
{
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_dispatch(muster, scope, "push", NULL, NULL, NULL, NULL, &handle), MUSTER_OK);
    return handle;
}

static enum muster_status settled(struct muster_handle *take_handle)
{
    struct muster_result result;
    ck_assert_int_eq(muster_wait(take_handle, PATIENCE_MS, &result), MUSTER_OK);
    enum muster_status status = result.status;
    muster_handle_release(take_handle);
    return status;
}

static size_t running_count(void)
{
    const struct muster_list_options options = {.size = sizeof(options), .running = true};
    struct muster_handle *handle = NULL;
    struct muster_result result;
    ck_assert_int_eq(muster_list(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, &result), MUSTER_OK);
    size_t count = muster_value_count(muster_value_get(result.value, "workers"));
    muster_handle_release(handle);
    return count;
}

/* No worker lives any more; the test's own time limit is the bound. */
static void await_nobody(void)
{
    while (running_count())
        sched_yield();
}

static bool is_alive(pid_t process)
{
    return kill(process, 0) == 0;
}

/* It runs no further. */
static void stop_process(pid_t process)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
    ck_assert_int_eq(kill(process, SIGSTOP), 0);
    while (!strstr(line, ") T")) {
        FILE *file = fopen(path, "r");
        ck_assert_ptr_nonnull(file);
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
        fclose(file);
    }
}

/* ---- processes ---- */

START_TEST(a_process_lives_until_its_worker_has_finished)
{
    struct muster_handle *stop = NULL;
    begin_with((struct muster_options){.hosting = MUSTER_HOSTING_PROCESS_PER_WORKER});
    register_script("/", "worker.lua");
    struct muster_handle *handle = push("/");
    counter_await(&waits, 1);
    pid_t process = process_of("worker.lua");
    ck_assert_int_gt(process, 0);
    ck_assert_int_eq(muster_stop(muster, "/", NULL, NULL, &stop), MUSTER_OK);
    struct realm *one = page("app://a/");
    settle(one); /* the coordinator has begun to stop it */
    ck_assert(is_alive(process));
    let_go_on();
    ck_assert_int_eq(settled(handle), MUSTER_OK);
    ck_assert_int_eq(notes.count, 1); /* said to this process from that one, before it went */
    ck_assert_int_eq(settled(stop), MUSTER_OK);
    realm_close(one);
    end();
}
END_TEST

START_TEST(an_instance_that_closes_ends_its_processes_after_their_workers)
{
    begin_with((struct muster_options){.hosting = MUSTER_HOSTING_PROCESS});
    register_script("/", "worker.lua");
    struct muster_handle *handle = push("/");
    counter_await(&waits, 1);
    pid_t process = process_of("worker.lua");
    ck_assert_int_gt(process, 0);
    ck_assert_int_eq(muster_close(muster, NULL, NULL), MUSTER_OK);
    ck_assert(is_alive(process));
    let_go_on();
    ck_assert_int_eq(settled(handle), MUSTER_OK);
    ck_assert_int_eq(notes.count, 1);
    end();
    while (is_alive(process)) /* until the launcher has buried it */
        sched_yield();
}
END_TEST

START_TEST(a_process_that_does_not_answer_holds_up_nobody_else)
{
    begin_with((struct muster_options){.hosting = MUSTER_HOSTING_PROCESS_PER_WORKER,
                                       .stop_timeout_ms = 100,
                                       .cancel_timeout_ms = 100});
    register_script("/mute/", "mute-worker.lua");
    register_script("/", "worker.lua");
    let_go_on();
    pid_t process = process_of("mute-worker.lua");
    ck_assert_int_gt(process, 0);
    stop_process(process);
    struct muster_handle *mute = push("/mute/");
    struct realm *one = page("app://a/");
    settle(one);
    ck_assert_uint_eq(running_count(), 2);
    ck_assert_int_eq(settled(push("/")), MUSTER_OK);
    realm_close(one);
    ck_assert_int_eq(muster_close_wait(muster, PATIENCE_MS), MUSTER_OK);
    ck_assert_int_ne(settled(mute), MUSTER_OK);
    while (is_alive(process))
        sched_yield();
    end();
}
END_TEST

/* ---- starts ---- */

/* The loop's number: a stage of the start in a home. */
enum { AT_ONCE, WHILE_IT_LOADS, WHEN_IT_RUNS, STAGE_COUNT };

START_TEST(a_worker_that_is_terminated_at_any_stage_of_its_start_leaves_nothing)
{
    int home = _i / STAGE_COUNT, stage = _i % STAGE_COUNT;
    double id;
    begin_in(home);
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/slow.lua", &id);
    if (stage != AT_ONCE)
        counter_await(&loads, 1);
    if (stage == WHEN_IT_RUNS) {
        sem_post(&gate);
        answer_ok(one, id);
    }
    tell_with(one, "worker.terminate", muster_value_new_number(id), NULL, NULL);
    if (stage != WHEN_IT_RUNS)
        answer_fails(one, id, "AbortError");
    await_closed(port);
    realm_close(port);
    for (int i = 0; i < 4; i++)
        sem_post(&gate);
    await_nobody();
    port = worker_new(one, "app://a/slow.lua", &id); /* and nothing is in the way of the next one */
    answer_ok(one, id);
    realm_close(port);
    realm_close(one);
    end();
}
END_TEST

START_TEST(looking_at_a_worker_that_starts_does_it_no_harm)
{
    double id;
    begin_in(_i);
    struct realm *one = page("app://a/");
    struct realm *port = worker_new(one, "app://a/slow.lua", &id);
    counter_await(&loads, 1);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(running_count(), 1);
    sem_post(&gate);
    answer_ok(one, id);
    ck_assert_int_eq(loads.count, 1);
    realm_close(port);
    realm_close(one);
    end();
}
END_TEST

/* ---- deaths ---- */

static void count_done(const struct muster_result *result, void *user_data)
{
    (void)result;
    counter_add(user_data, 1);
}

enum { PUSH_COUNT = 10, HOLDER_COUNT = 3 };

START_TEST(all_who_wait_for_a_process_that_dies_are_told_once)
{
    static struct counter done[PUSH_COUNT];
    struct realm *pages[HOLDER_COUNT], *ports[HOLDER_COUNT];
    double ids[HOLDER_COUNT];
    pid_t processes[2];
    begin_with((struct muster_options){.hosting = MUSTER_HOSTING_PROCESS_PER_WORKER});
    register_script("/", "worker.lua");
    for (int i = 0; i < PUSH_COUNT; i++) {
        done[i] = (struct counter)COUNTER;
        ck_assert_int_eq(muster_dispatch(muster, "/", "push", NULL, NULL, count_done, &done[i], NULL), MUSTER_OK);
    }
    for (int i = 0; i < HOLDER_COUNT; i++) {
        pages[i] = page("app://a/");
        ports[i] = construct(pages[i], "app://a/slow.lua", NULL, &ids[i]);
    }
    counter_await(&loads, 2);
    counter_await(&waits, 1);
    processes[0] = process_of("worker.lua");
    processes[1] = process_of("slow.lua");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_gt(processes[i], 0);
        ck_assert_int_eq(kill(processes[i], SIGKILL), 0);
    }
    for (int i = 0; i < HOLDER_COUNT; i++) {
        muster__port_message_destroy(answer(pages[i], ids[i], false));
        await_closed(ports[i]);
        settle(pages[i]); /* and no more is told */
        realm_close(ports[i]);
        realm_close(pages[i]);
    }
    let_go_on();
    for (int i = 0; i < PUSH_COUNT; i++)
        counter_await(&done[i], 1);
    end();
    for (int i = 0; i < PUSH_COUNT; i++)
        ck_assert_int_eq(done[i].count, 1);
}
END_TEST

/* One that connects again, inside of the callback that tells of the death. */
struct lasting {
    struct muster_client *client;
    struct counter deaths, counts;
    int wanted; /* deaths after which it connects again */
};

static void connect_lasting(struct lasting *lasting);

static void lasting_message(struct muster_port *port, const struct muster_message *message, void *user_data)
{
    struct lasting *lasting = user_data;
    (void)port;
    ck_assert(muster_value_number(message->value) == 1); /* it is a new one */
    counter_add(&lasting->counts, 1);
}

static void lasting_close(struct muster_port *port, const struct muster_error *error, void *user_data)
{
    struct lasting *lasting = user_data;
    (void)error;
    muster_port_close(port);
    counter_add(&lasting->deaths, 1);
    if (lasting->deaths.count < lasting->wanted)
        connect_lasting(lasting);
}

static void connect_lasting(struct lasting *lasting)
{
    const struct muster_shared_worker_options options = {.size = sizeof(options), .url = "app://a/counter.js"};
    struct muster_port *port = NULL;
    ck_assert_int_eq(muster_shared_worker_connect(lasting->client, &options, &port), MUSTER_OK);
    muster_port_set_handler(port, lasting_message, lasting_close, lasting);
    ck_assert_int_eq(muster_port_post(port, NULL, NULL, 0), MUSTER_OK);
}

START_TEST(who_hears_of_a_death_can_connect_again_at_once)
{
    static struct lasting lasting = {.deaths = COUNTER, .counts = COUNTER, .wanted = 4};
    static struct heard heard;
    begin_with((struct muster_options){.hosting = MUSTER_HOSTING_PROCESS});
    heard_init(&heard);
    lasting.client = client_open("app://a/", &heard);
    connect_lasting(&lasting);
    for (int i = 1; i <= lasting.wanted; i++) {
        counter_await(&lasting.counts, i);
        ck_assert_int_eq(kill(process_of("counter.js"), SIGKILL), 0);
        counter_await(&lasting.deaths, i);
    }
    muster_client_close(lasting.client);
    end();
}
END_TEST

/* ---- callbacks ---- */

/* Kinds of callbacks. */
enum { PORT_MESSAGE, PORT_CLOSE, CLIENT_MESSAGE, CLIENT_CONTROLLER, CLIENT_CLOSE, SETTLED, KIND_COUNT };

struct caller {
    struct muster_client *client;
    struct counter ends; /* of what was called */
    atomic_int expected;
    bool called[KIND_COUNT];
    struct counter kinds[KIND_COUNT];
};

static void caller_done(const struct muster_result *result, void *user_data)
{
    (void)result;
    counter_add(&((struct caller *)user_data)->ends, 1);
}

/* A call that was taken will end. */
static void expect(struct caller *caller, enum muster_status status)
{
    ck_assert(status == MUSTER_OK || status == MUSTER_SHUTDOWN || status == MUSTER_NOT_FOUND ||
              status == MUSTER_CLOSED);
    if (status == MUSTER_OK)
        atomic_fetch_add(&caller->expected, 1);
}

/* What there is to call, but what waits. */
static void call_everything(struct caller *caller)
{
    char scope[64];
    struct muster_port *ports[2];
    struct muster_stats stats = {.size = sizeof(stats)};
    const struct muster_registration_options more = {
        .size = sizeof(more), .scope = "/more/", .script = "worker.lua"};
    muster_stats(muster, &stats);
    (void)muster_match(muster, "https://a.test/app/", scope, sizeof(scope));
    (void)muster_client_controller(caller->client, scope, sizeof(scope));
    if (muster_port_pair(muster, ports) == MUSTER_OK) {
        (void)!muster_port_post(ports[0], muster_value_new_number(1), NULL, 0);
        muster_port_close(ports[0]);
        muster_port_close(ports[1]);
    }
    (void)!muster_client_post_to_worker(caller->client, muster_value_new_number(1), NULL, 0);
    expect(caller, muster_register(muster, &more, caller_done, caller, NULL));
    expect(caller, muster_dispatch(muster, "/app/", "push", NULL, NULL, caller_done, caller, NULL));
    expect(caller, muster_list(muster, NULL, caller_done, caller, NULL));
    expect(caller, muster_stop(muster, "/more/", caller_done, caller, NULL));
    expect(caller, muster_unregister(muster, "/more/", caller_done, caller, NULL));
}

/* Once for each kind of callback: what it calls has callbacks itself. */
static void call_once(struct caller *caller, int kind)
{
    if (!caller->called[kind]) {
        caller->called[kind] = true;
        call_everything(caller);
    }
    counter_add(&caller->kinds[kind], 1);
}

static void caller_port_message(struct muster_port *port, const struct muster_message *message, void *user_data)
{
    (void)port;
    (void)message;
    call_once(user_data, PORT_MESSAGE);
}

static void caller_port_close(struct muster_port *port, const struct muster_error *error, void *user_data)
{
    (void)error;
    call_once(user_data, PORT_CLOSE);
    muster_port_close(port);
}

static void caller_message(struct muster_client *client, const struct muster_message *message, void *user_data)
{
    (void)client;
    (void)message;
    call_once(user_data, CLIENT_MESSAGE);
}

static void caller_controller(struct muster_client *client, void *user_data)
{
    (void)client;
    call_once(user_data, CLIENT_CONTROLLER);
}

static void caller_close(struct muster_client *client, void *user_data)
{
    (void)client;
    call_once(user_data, CLIENT_CLOSE);
}

static void caller_settled(const struct muster_result *result, void *user_data)
{
    (void)result;
    call_once(user_data, SETTLED);
}

START_TEST(every_callback_may_call_back)
{
    static struct caller caller = {.ends = COUNTER};
    struct muster_port *ports[2];
    begin_in(_i);
    let_go_on();
    for (int i = 0; i < KIND_COUNT; i++)
        caller.kinds[i] = (struct counter)COUNTER;
    const struct muster_client_options options = {.size = sizeof(options),
                                                  .url = "https://a.test/app/",
                                                  .on_message = caller_message,
                                                  .on_controller = caller_controller,
                                                  .on_close = caller_close,
                                                  .user_data = &caller};
    ck_assert_int_eq(muster_client_open(muster, &options, &caller.client), MUSTER_OK);
    register_script("/app/", "worker.lua");
    struct realm *worker = service_of("/app/");
    answer_ok(worker, ask_with(worker, "claim", NULL, NULL, NULL));
    counter_await(&caller.kinds[CLIENT_CONTROLLER], 1);
    tell_with(worker, "client.post", muster__tree_text(muster_client_id(caller.client)), NULL, NULL);
    counter_await(&caller.kinds[CLIENT_MESSAGE], 1);
    ck_assert_int_eq(muster_port_pair(muster, ports), MUSTER_OK);
    muster_port_set_handler(ports[0], caller_port_message, caller_port_close, &caller);
    ck_assert_int_eq(muster_port_post(ports[1], NULL, NULL, 0), MUSTER_OK);
    counter_await(&caller.kinds[PORT_MESSAGE], 1);
    muster_port_close(ports[1]);
    counter_await(&caller.kinds[PORT_CLOSE], 1);
    ck_assert_int_eq(muster_dispatch(muster, "/app/", "push", NULL, NULL, caller_settled, &caller, NULL), MUSTER_OK);
    counter_await(&caller.kinds[SETTLED], 1);
    counter_await(&caller.ends, caller.expected);
    ck_assert_int_eq(muster_close(muster, NULL, NULL), MUSTER_OK); /* which closes the client */
    counter_await(&caller.kinds[CLIENT_CLOSE], 1);
    realm_close(worker);
    end();
    ck_assert_int_eq(caller.ends.count, caller.expected);
    muster_client_close(caller.client);
}
END_TEST

/* ---- lives of service workers ---- */

START_TEST(work_is_finished_though_the_last_client_has_gone)
{
    static struct heard heard;
    begin_in(_i);
    register_script("/app/", "worker.lua");
    heard_init(&heard);
    struct muster_client *client = client_open("https://a.test/app/", &heard);
    ck_assert_int_eq(muster_client_post_to_worker(client, muster_value_new_number(1), NULL, 0), MUSTER_OK);
    counter_await(&waits, 1);
    struct muster_handle *handle = push("/app/");
    counter_await(&waits, 2);
    muster_client_close(client);
    counter_await(&heard.closes, 1);
    let_go_on();
    ck_assert_int_eq(settled(handle), MUSTER_OK);
    counter_await(&notes, 2);
    end();
}
END_TEST

static struct counter idle_ends = COUNTER;

static void note_stop(struct muster_native *worker, void *state)
{
    (void)worker;
    (void)state;
    counter_add(&idle_ends, 1);
}

/* Another worker came, was idle and went. */
static void let_an_idle_time_pass(void)
{
    static const struct muster_native_worker idler = {.size = sizeof(idler), .stop = note_stop};
    struct muster_handle *handle = NULL;
    const struct muster_registration_options options = {
        .size = sizeof(options), .scope = "/idle/", .native = &idler, .hosting = MUSTER_HOSTING_THREAD};
    ck_assert_int_eq(muster_register(muster, &options, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(settled(handle), MUSTER_OK);
    counter_await(&idle_ends, 1);
}

START_TEST(two_workers_do_not_keep_each_other_alive_by_messages)
{
    struct muster_stats before = {.size = sizeof(before)}, after = before;
    begin_with((struct muster_options){.hosting = homes[_i], .idle_ms = 1000, .grace_ms = 100});
    register_script("/a/", "player.js");
    register_script("/b/", "player.js");
    struct muster__version *version = find_scope("/a/");
    struct realm *other = service_of("/b/");
    tell_with(other, "version.post", muster_value_new_number(version->id), muster_value_new_text("ball"), NULL);
    counter_await(&notes, 4);
    await_nobody();
    muster_stats(muster, &before);
    let_an_idle_time_pass();
    muster_stats(muster, &after);
    ck_assert_uint_eq(after.starts, before.starts + 1); /* the third's */
    muster__version_release(version);
    realm_close(other);
    end();
}
END_TEST

/* ---- tokens ---- */

static struct counter stops = COUNTER;

struct holder {
    uint32_t tokens[3];
};

static enum muster_status holder_start(struct muster_native *worker, void **ret_state, struct muster_error *error)
{
    struct holder *holder = calloc(1, sizeof(*holder));
    (void)error;
    ck_assert_ptr_nonnull(holder);
    holder->tokens[0] = muster_native_take_token(worker, "first");
    holder->tokens[1] = muster_native_take_token(worker, "second");
    *ret_state = holder;
    return MUSTER_OK;
}

static void holder_push(struct muster_native *worker, struct muster_event *event, void *state)
{
    struct holder *holder = state;
    muster_native_drop_token(worker, holder->tokens[0]);
    muster_native_close(worker);
    holder->tokens[2] = muster_native_take_token(worker, "third");
    muster_native_drop_token(worker, holder->tokens[1]);
    muster_native_drop_token(worker, holder->tokens[1]); /* it is none any more */
    muster_event_return(event, NULL);
    muster_native_drop_token(worker, holder->tokens[2]);
}

static void holder_stop(struct muster_native *worker, void *state)
{
    struct holder *holder = state;
    for (int i = 0; i < 3; i++)
        muster_native_drop_token(worker, holder->tokens[i]);
    free(holder);
    counter_add(&stops, 1);
}

START_TEST(a_token_that_is_dropped_by_the_end_of_its_worker_is_dropped_once)
{
    static const struct muster_native_entry events[] = {{"push", holder_push}};
    static const struct muster_native_worker native = {
        .size = sizeof(native), .start = holder_start, .stop = holder_stop, .events = events, .event_count = 1};
    begin_in(0);
    register_service("/", &native);
    for (int i = 1; i <= 20; i++) {
        ck_assert_int_eq(settled(push("/")), MUSTER_OK);
        counter_await(&stops, i); /* it was not held up, and comes again */
    }
    end();
    ck_assert_int_ge(stops.count, 20);
}
END_TEST

/* ---- unregister ---- */

START_TEST(what_is_sent_around_an_unregister_settles_and_the_busy_one_finishes)
{
    struct muster_handle *busy, *gone = NULL, *late[20];
    size_t count = 0;
    begin_in(_i);
    register_script("/", "worker.lua");
    busy = push("/");
    counter_await(&waits, 1);
    ck_assert_int_eq(muster_unregister(muster, "/", NULL, NULL, &gone), MUSTER_OK);
    for (int i = 0; i < 20; i++) {
        struct muster_handle *handle = NULL;
        enum muster_status status = muster_dispatch(muster, "/", "push", NULL, NULL, NULL, NULL, &handle);
        ck_assert(status == MUSTER_OK || status == MUSTER_NOT_FOUND);
        if (status == MUSTER_OK)
            late[count++] = handle;
    }
    ck_assert_int_eq(settled(gone), MUSTER_OK); /* though it is busy */
    register_script("/", "worker.lua");
    let_go_on();
    ck_assert_int_eq(settled(busy), MUSTER_OK);
    for (size_t i = 0; i < count; i++) {
        enum muster_status status = settled(late[i]);
        ck_assert_msg(status == MUSTER_OK || status == MUSTER_NOT_FOUND, "%s", muster_status_sentence(status));
    }
    ck_assert_int_eq(settled(push("/")), MUSTER_OK);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("failures of browsers");
    TCase *tcase = tcase_create("the table");
    tcase_add_test(tcase, each_of_the_failures_has_a_test);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("processes");
    tcase_add_test(tcase, a_process_lives_until_its_worker_has_finished);
    tcase_add_test(tcase, an_instance_that_closes_ends_its_processes_after_their_workers);
    tcase_add_test(tcase, a_process_that_does_not_answer_holds_up_nobody_else);
    tcase_add_test(tcase, all_who_wait_for_a_process_that_dies_are_told_once);
    tcase_add_test(tcase, who_hears_of_a_death_can_connect_again_at_once);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("lives");
    tcase_add_loop_test(tcase, a_worker_that_is_terminated_at_any_stage_of_its_start_leaves_nothing, 0,
                        HOME_COUNT * STAGE_COUNT);
    tcase_add_loop_test(tcase, looking_at_a_worker_that_starts_does_it_no_harm, 0, HOME_COUNT);
    tcase_add_loop_test(tcase, every_callback_may_call_back, 0, HOME_COUNT);
    tcase_add_loop_test(tcase, work_is_finished_though_the_last_client_has_gone, 0, HOME_COUNT);
    tcase_add_loop_test(tcase, two_workers_do_not_keep_each_other_alive_by_messages, 0, HOME_COUNT);
    tcase_add_test(tcase, a_token_that_is_dropped_by_the_end_of_its_worker_is_dropped_once);
    tcase_add_loop_test(tcase, what_is_sent_around_an_unregister_settles_and_the_busy_one_finishes, 0, HOME_COUNT);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
