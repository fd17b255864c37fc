/* tests/test_port_processes.c - message ports of workers, wherever they live: handed in, out and on, between processes
 * and past their parent, and what becomes of them when one dies.
 *
 * Workers run the engine of tests/port_engine.c, here and in PORT_HOST.  The test's thread plays the coordinator and
 * waits for what it hears, never for time. */
#include "remote/host_threads.h"
#include "remote/process_internal.h"

#include "place_harness.h"

#include <signal.h>
#include <stdlib.h>

enum { THREADS, PROCESS, HOST_COUNT };

static struct muster__processes *processes;

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
}

static enum muster_status new_host(enum muster_placement_kind kind, const struct muster_placement_request *request,
                                   struct muster__host **ret_host, void *user_data)
{
    struct muster_error error = {0};
    (void)user_data;
    ck_assert_int_eq(kind, MUSTER_PLACEMENT_PROCESS);
    enum muster_status status = muster__processes_take_host(processes, request, ret_host, &error);
    muster_error_clean_up(&error);
    return status;
}

static void make_service(int at)
{
    const struct muster__pool_options pool_options = {.threads = 2, .name = "test"};
    const struct muster__service_options options = {.new_host = new_host};
    struct muster_error error = {0};
    ck_assert_int_eq(muster__pool_new(&pool_options, &pool), MUSTER_OK);
    ck_assert_int_eq(muster__service_new(&options, &service, NULL), MUSTER_OK);
    if (at == THREADS) {
        const struct muster__host_threads_options host_options = {.pool = pool};
        struct muster__host *host = NULL;
        ck_assert_int_eq(muster__host_threads_new(&host_options, &host), MUSTER_OK);
        ck_assert_int_eq(muster__service_add_host(service, &host), MUSTER_OK);
        return;
    }
    const struct muster__processes_options process_options = {
        .pool = pool, .program = PORT_HOST, .threads = 2, .no_spare = true, .log = log_line};
    enum muster_status status = muster__processes_new(&process_options, &processes, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
}

static void end_service(void)
{
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    muster__service_destroy(service);
    muster__processes_destroy(processes);
    processes = NULL;
}

/* ---- ends ---- */

static void on_ready(struct muster__port *port, void *owner)
{
    (void)port;
    (void)owner;
    TELL((void)0);
}

static const struct muster__port_owner_class owner_class = {.ready = on_ready};

struct pair {
    struct muster__port *ends[2];
};

/* The first of which is ours. */
static struct pair make_pair(void)
{
    struct pair pair;
    ck_assert_int_eq(muster__port_pair(pair.ends), MUSTER_OK);
    muster__port_attach(pair.ends[0], &owner_class, NULL);
    return pair;
}

static struct muster__port_message *next(struct muster__port *port)
{
    struct muster__port_message *message = NULL;
    WAIT_FOR((message = muster__port_take(port)) != NULL || muster__port_is_closed(port));
    ck_assert_msg(message != NULL, "the port was closed");
    return message;
}

static void must_get(struct muster__port *port, double expected)
{
    struct muster__port_message *message = next(port);
    ck_assert_double_eq(muster_value_number(message->data), expected);
    muster__port_message_destroy(message);
}

static void post_number(struct muster__port *port, double number)
{
    muster__port_post(port, muster__port_message_new(NULL, muster_value_new_number(number), 0));
}

static void must_close(struct muster__port *port)
{
    struct muster__port_message *message = NULL;
    WAIT_FOR((message = muster__port_take(port)) != NULL || muster__port_is_closed(port));
    ck_assert_ptr_null(message);
}

static void must_echo(struct muster__port *port)
{
    for (int i = 0; i < 3; i++)
        post_number(port, i);
    for (int i = 0; i < 3; i++)
        must_get(port, i);
}

/* ---- workers ---- */

struct home {
    struct place place;
    struct muster__port *host_port; /* our end */
    const char *isolation;
    uint32_t host;
};

static enum muster_status load_nothing(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                                       struct muster_error *error, void *user_data)
{
    (void)url;
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = muster__strdup("");
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

/* On the host of that name; NULL: of none.  Takes `port`, the implicit one. */
static void start(struct home *home, const char *isolation, struct muster__port *port)
{
    struct muster_placement_request request = {.size = sizeof request, .isolation = isolation};
    struct pair pair = make_pair();
    request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS);
    struct place *place = &home->place;
    if (!place->slot)
        init_place(place);
    home->isolation = isolation;
    home->host_port = pair.ends[0];
    ck_assert_int_eq(muster__service_place(service, &request, muster__now_us(), &home->host), MUSTER_OK);
    place->loader = (struct muster__loader){.load = load_nothing};
    place->incarnation = muster__slot_attach(place->slot);
    place->started = place->gone = 0;
    const struct muster__worker_options options = {
        .engine = muster__engine_find("javascript", NULL),
        .loader = &place->loader,
        .type = MUSTER__WORKER_SHARED,
        .script_url = "mem:/worker.js",
        .name = "/worker/",
        .slot = place->slot,
        .incarnation = place->incarnation,
        .host_port = pair.ends[1],
        .port = port,
        .listener = &listener,
        .user_data = place,
    };
    ck_assert_int_eq(muster__service_start(service, home->host, &options, &place->worker), MUSTER_OK);
    ck_assert(open_worker(place));
}

static const char *const isolations[] = {"one", "two"};

/* Two workers, in two processes if there are processes. */
static void start_two(struct home homes[2], int at)
{
    make_service(at);
    memset(homes, 0, 2 * sizeof *homes);
    for (int i = 0; i < 2; i++)
        start(&homes[i], at == PROCESS ? isolations[i] : NULL, NULL);
}

static void tell(struct home *home, const char *command, double number, struct muster__port *port)
{
    struct muster__port_message *message =
        muster__port_message_new(muster_value_new_text(command), muster_value_new_number(number), port ? 1 : 0);
    if (port)
        message->ports[0] = port;
    muster__port_post(home->host_port, message);
}

/* The next that it says, which is this.  Its port, if there is one. */
static struct muster__port *hear(struct home *home, const char *expected)
{
    struct muster__port_message *message = next(home->host_port);
    struct muster__port *port = NULL;
    ck_assert_str_eq(muster_value_bytes(message->head).data, expected);
    if (message->port_count) {
        port = message->ports[0];
        message->ports[0] = NULL;
        muster__port_attach(port, &owner_class, NULL);
    }
    muster__port_message_destroy(message);
    return port;
}

/* What it had been told before is done. */
static void sync_with(struct home *home)
{
    tell(home, "hello", 0, NULL);
    (void)hear(home, "hello");
}

/* What it says before that, of ports that closed when the other worker stopped, is not listened to. */
static void stop(struct home *home)
{
    struct muster__port_message *message = NULL;
    stop_worker(&home->place);
    do {
        muster__port_message_destroy(message);
        WAIT_FOR((message = muster__port_take(home->host_port)) != NULL || muster__port_is_closed(home->host_port));
    } while (message);
    muster__port_release(home->host_port);
}

static void end_home(struct home *home)
{
    stop(home);
    release_place(&home->place);
}

static void end_two(struct home homes[2])
{
    end_home(&homes[0]);
    end_home(&homes[1]);
    end_service();
}

static struct process_host *process_of(struct home *home)
{
    return MUSTER_CONTAINER_OF(home->place.worker, struct process_worker, base)->host;
}

static uint64_t frames_from(struct home *home)
{
    struct muster__link_stats stats;
    muster__link_stats(process_of(home)->link, &stats);
    return stats.frames_in;
}

static uint32_t holds_of(struct home *home)
{
    struct process_worker *worker = MUSTER_CONTAINER_OF(home->place.worker, struct process_worker, base);
    pthread_mutex_lock(&worker->host->lock);
    uint32_t holds = worker->holds;
    pthread_mutex_unlock(&worker->host->lock);
    return holds;
}

/* So many of its ports go past this process. */
static void must_hold(struct home *home, uint32_t count)
{
    while (holds_of(home) != count)
        sync_with(home);
}

/* ---- one worker ---- */

START_TEST(the_host_port_goes_both_ways)
{
    struct home home = {0};
    make_service(_i);
    start(&home, NULL, NULL);
    for (int i = 0; i < 100; i++)
        tell(&home, "hello", 0, NULL);
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_null(hear(&home, "hello"));
    end_home(&home);
    end_service();
}
END_TEST

START_TEST(a_port_is_handed_in_and_answers)
{
    struct home home = {0};
    struct pair pair = make_pair();
    make_service(_i);
    start(&home, NULL, NULL);
    post_number(pair.ends[0], 7); /* before it is handed in */
    tell(&home, "echo", 0, pair.ends[1]);
    must_get(pair.ends[0], 7);
    must_echo(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    ck_assert_ptr_null(hear(&home, "closed"));
    end_home(&home);
    end_service();
}
END_TEST

START_TEST(the_implicit_port_of_a_dedicated_worker_answers)
{
    struct home home = {0};
    struct pair pair = make_pair();
    make_service(_i);
    start(&home, NULL, pair.ends[1]);
    must_echo(pair.ends[0]);
    end_home(&home);
    must_close(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    end_service();
}
END_TEST

START_TEST(a_port_that_a_worker_made_is_handed_out)
{
    struct home home = {0};
    make_service(_i);
    start(&home, NULL, NULL);
    tell(&home, "open", 0, NULL);
    struct muster__port *port = hear(&home, "port");
    must_echo(port);
    tell(&home, "drop", 0, NULL);
    must_close(port);
    muster__port_release(port);
    end_home(&home);
    end_service();
}
END_TEST

START_TEST(a_port_that_is_echoed_comes_back)
{
    struct home home = {0};
    struct pair way = make_pair(), inner = make_pair();
    make_service(_i);
    start(&home, NULL, NULL);
    tell(&home, "echo", 0, way.ends[1]);
    struct muster__port_message *message = muster__port_message_new(NULL, NULL, 1);
    message->ports[0] = inner.ends[1];
    muster__port_post(way.ends[0], message);
    post_number(inner.ends[0], 1);
    message = next(way.ends[0]);
    ck_assert_uint_eq(message->port_count, 1);
    muster__port_attach(message->ports[0], &owner_class, NULL);
    post_number(inner.ends[0], 2);
    must_get(message->ports[0], 1);
    must_get(message->ports[0], 2);
    post_number(message->ports[0], 3);
    must_get(inner.ends[0], 3);
    muster__port_message_destroy(message);
    must_close(inner.ends[0]);
    muster__port_release(inner.ends[0]);
    muster__port_release(way.ends[0]);
    (void)hear(&home, "closed");
    end_home(&home);
    end_service();
}
END_TEST

START_TEST(many_messages_arrive_in_order)
{
    enum { COUNT = 20000 };
    struct home home = {0};
    struct pair pair = make_pair();
    make_service(_i);
    start(&home, NULL, NULL);
    tell(&home, "count", 0, pair.ends[1]);
    for (int i = 1; i <= COUNT; i++)
        post_number(pair.ends[0], i);
    muster__port_release(pair.ends[0]);
    ck_assert_ptr_null(hear(&home, "closed"));
    tell(&home, "asked", 0, NULL);
    must_get(home.host_port, COUNT);
    end_home(&home);
    end_service();
}
END_TEST

START_TEST(ports_of_a_worker_that_is_gone_are_closed)
{
    struct home home = {0};
    struct pair read = make_pair(), kept = make_pair();
    make_service(_i);
    start(&home, NULL, NULL);
    tell(&home, "echo", 0, read.ends[1]);
    tell(&home, "keep", 0, kept.ends[1]);
    must_echo(read.ends[0]);
    end_home(&home);
    must_close(read.ends[0]);
    must_close(kept.ends[0]);
    muster__port_release(read.ends[0]);
    muster__port_release(kept.ends[0]);
    end_service();
}
END_TEST

/* ---- mail ---- */

static void post_mail(struct home *home, struct errand *errand, const char *name, struct muster__port *port)
{
    init_errand(errand, MUSTER__REQUEST_EVENT, name);
    if (port) {
        errand->request.mail = muster__port_message_new(NULL, NULL, 1);
        errand->request.mail->ports[0] = port;
    }
    post(&home->place, errand);
}

static void finish_mail(struct errand *errand)
{
    finish_errand(errand);
    muster__port_message_destroy(errand->request.mail);
}

START_TEST(a_request_brings_its_port)
{
    struct home home = {0};
    struct pair pair = make_pair();
    struct errand errand;
    make_service(_i);
    start(&home, NULL, NULL);
    post_number(pair.ends[0], 1);
    post_mail(&home, &errand, "connect", pair.ends[1]);
    finish_mail(&errand);
    must_get(pair.ends[0], 1);
    must_echo(pair.ends[0]);
    end_home(&home);
    must_close(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    end_service();
}
END_TEST

START_TEST(a_request_that_never_began_takes_its_port_to_the_next_host)
{
    struct home home = {0};
    struct pair pair = make_pair();
    struct errand last, connect;
    make_service(PROCESS);
    start(&home, NULL, NULL);
    post_number(pair.ends[0], 1);
    post_mail(&home, &last, "die", NULL);
    post_mail(&home, &connect, "connect", pair.ends[1]);
    wait_gone(&home.place);
    finish_mail(&last);
    ck_assert_int_eq(last.status, MUSTER_CRASHED);
    post_number(pair.ends[0], 2);
    muster__port_release(home.host_port);
    start(&home, NULL, NULL);
    finish_mail(&connect);
    ck_assert_int_eq(connect.status, MUSTER_OK);
    must_get(pair.ends[0], 1);
    must_get(pair.ends[0], 2);
    must_echo(pair.ends[0]);
    muster__port_release(pair.ends[0]);
    (void)hear(&home, "closed");
    end_home(&home);
    end_service();
}
END_TEST

START_TEST(what_the_dead_had_is_closed)
{
    struct home home = {0};
    struct pair pair = make_pair();
    make_service(PROCESS);
    start(&home, NULL, NULL);
    tell(&home, "echo", 0, pair.ends[1]);
    must_echo(pair.ends[0]);
    tell(&home, "die", 0, NULL);
    must_close(pair.ends[0]);
    must_close(home.host_port);
    wait_gone(&home.place);
    muster__port_release(home.host_port);
    muster__port_release(pair.ends[0]);
    release_place(&home.place);
    end_service();
}
END_TEST

/* ---- two workers ---- */

START_TEST(two_workers_play_ping_pong)
{
    enum { COUNT = 4000 };
    struct home homes[2];
    struct muster__port *ends[2];
    start_two(homes, _i);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    for (int i = 0; i < 2; i++)
        tell(&homes[i], "pong", 0, ends[i]);
    tell(&homes[0], "post", COUNT, NULL);
    (void)hear(&homes[1], "done"); /* to whom the even numbers come */
    end_two(homes);
}
END_TEST

START_TEST(workers_in_two_processes_talk_past_their_parent)
{
    enum { COUNT = 4000 };
    struct home homes[2];
    struct muster__port *ends[2];
    start_two(homes, PROCESS);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    for (int i = 0; i < 2; i++)
        tell(&homes[i], "pong", 0, ends[i]);
    tell(&homes[0], "post", 100, NULL);
    (void)hear(&homes[1], "done");
    must_hold(&homes[0], 1);
    must_hold(&homes[1], 1);
    uint64_t before = frames_from(&homes[0]) + frames_from(&homes[1]);
    tell(&homes[0], "post", COUNT, NULL);
    (void)hear(&homes[1], "done");
    uint64_t frames = frames_from(&homes[0]) + frames_from(&homes[1]) - before;
    ck_assert_msg(frames < 100, "%llu frames went through the parent", (unsigned long long)frames);
    tell(&homes[0], "drop", 0, NULL);
    (void)hear(&homes[1], "closed");
    must_hold(&homes[0], 0);
    must_hold(&homes[1], 0);
    end_two(homes);
}
END_TEST

/* A flood is under way before, while and after the port is handed on, and moves. */
START_TEST(the_order_is_kept_while_a_port_goes_over_to_the_direct_way)
{
    enum { BEFORE = 500, AFTER = 20000 };
    struct home homes[2];
    struct muster__port *ends[2];
    start_two(homes, _i);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    tell(&homes[0], "keep", 0, ends[0]);
    tell(&homes[0], "flood", BEFORE, NULL);
    sync_with(&homes[0]);
    tell(&homes[1], "count", 0, ends[1]);
    for (int i = 0; i < 20; i++)
        tell(&homes[0], "flood", AFTER / 20, NULL);
    tell(&homes[0], "drop", 0, NULL);
    (void)hear(&homes[1], "closed");
    tell(&homes[1], "asked", 0, NULL);
    must_get(homes[1].host_port, BEFORE + AFTER);
    end_two(homes);
}
END_TEST

START_TEST(ports_that_cross_arrive)
{
    enum { ROUNDS = 8 };
    struct home homes[2];
    start_two(homes, _i);
    for (int i = 0; i < ROUNDS; i++) {
        tell(&homes[i % 2], "open", 0, NULL);
        struct muster__port *port = hear(&homes[i % 2], "port");
        must_echo(port);
        muster__port_detach(port);
        tell(&homes[!(i % 2)], "pong", 0, port);
        tell(&homes[!(i % 2)], "post", 0, NULL); /* which is echoed: 0 comes back */
        (void)hear(&homes[!(i % 2)], "done");
        tell(&homes[!(i % 2)], "drop", 0, NULL);
        (void)hear(&homes[i % 2], "closed");
    }
    end_two(homes);
}
END_TEST

START_TEST(the_death_of_one_closes_at_the_other)
{
    struct home homes[2];
    struct muster__port *ends[2];
    start_two(homes, PROCESS);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    for (int i = 0; i < 2; i++)
        tell(&homes[i], "pong", 0, ends[i]);
    if (_i == 1) { /* when it has moved */
        tell(&homes[0], "post", 100, NULL);
        (void)hear(&homes[1], "done");
        must_hold(&homes[0], 1);
        must_hold(&homes[1], 1);
    }
    tell(&homes[0], "die", 0, NULL);
    (void)hear(&homes[1], "closed");
    must_close(homes[0].host_port);
    wait_gone(&homes[0].place);
    muster__port_release(homes[0].host_port);
    release_place(&homes[0].place);
    must_hold(&homes[1], 0);
    end_home(&homes[1]);
    end_service();
}
END_TEST

START_TEST(two_workers_of_one_process_talk)
{
    struct home homes[2] = {0};
    struct muster__port *ends[2];
    make_service(PROCESS);
    for (int i = 0; i < 2; i++)
        start(&homes[i], "one", NULL);
    ck_assert_ptr_eq(process_of(&homes[0]), process_of(&homes[1]));
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    for (int i = 0; i < 2; i++)
        tell(&homes[i], "pong", 0, ends[i]);
    tell(&homes[0], "post", 1000, NULL);
    (void)hear(&homes[1], "done");
    end_two(homes);
}
END_TEST

/* Ports move while hosts die, again and again; whatever is left hears of it. */
START_TEST(hosts_die_while_ports_move)
{
    enum { ROUNDS = 12 };
    struct home homes[2];
    start_two(homes, PROCESS);
    for (int round = 0; round < ROUNDS; round++) {
        struct muster__port *ends[2];
        ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
        for (int i = 0; i < 2; i++)
            tell(&homes[i], "pong", 0, ends[i]);
        for (int i = 0; i < round; i++)
            tell(&homes[0], "post", 1e9, NULL);
        struct home *victim = &homes[round % 2], *other = &homes[!(round % 2)];
        tell(victim, "die", 0, NULL);
        (void)hear(other, "closed");
        must_close(victim->host_port);
        wait_gone(&victim->place);
        muster__port_release(victim->host_port);
        start(victim, victim->isolation, NULL);
    }
    end_two(homes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("port_processes");
    TCase *one = tcase_create("one worker");
    tcase_set_timeout(one, 60);
    tcase_add_loop_test(one, the_host_port_goes_both_ways, 0, HOST_COUNT);
    tcase_add_loop_test(one, a_port_is_handed_in_and_answers, 0, HOST_COUNT);
    tcase_add_loop_test(one, the_implicit_port_of_a_dedicated_worker_answers, 0, HOST_COUNT);
    tcase_add_loop_test(one, a_port_that_a_worker_made_is_handed_out, 0, HOST_COUNT);
    tcase_add_loop_test(one, a_port_that_is_echoed_comes_back, 0, HOST_COUNT);
    tcase_add_loop_test(one, many_messages_arrive_in_order, 0, HOST_COUNT);
    tcase_add_loop_test(one, ports_of_a_worker_that_is_gone_are_closed, 0, HOST_COUNT);
    suite_add_tcase(suite, one);
    TCase *mail = tcase_create("mail");
    tcase_set_timeout(mail, 60);
    tcase_add_loop_test(mail, a_request_brings_its_port, 0, HOST_COUNT);
    tcase_add_test(mail, a_request_that_never_began_takes_its_port_to_the_next_host);
    tcase_add_test(mail, what_the_dead_had_is_closed);
    suite_add_tcase(suite, mail);
    TCase *two = tcase_create("two workers");
    tcase_set_timeout(two, 120);
    tcase_add_loop_test(two, two_workers_play_ping_pong, 0, HOST_COUNT);
    tcase_add_test(two, workers_in_two_processes_talk_past_their_parent);
    tcase_add_loop_test(two, the_order_is_kept_while_a_port_goes_over_to_the_direct_way, 0, HOST_COUNT);
    tcase_add_loop_test(two, ports_that_cross_arrive, 0, HOST_COUNT);
    tcase_add_loop_test(two, the_death_of_one_closes_at_the_other, 0, 2);
    tcase_add_test(two, two_workers_of_one_process_talk);
    tcase_add_test(two, hosts_die_while_ports_move);
    suite_add_tcase(suite, two);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
