/* tests/test_hostile_child.c - a host process that misbehaves harms nobody but itself.
 *
 * Two kinds of hosts live at a time: the real one, whose worker serves requests from the first moment to the last,
 * and HOSTILE_CHILD (tests/hostile_child.c), which commits one misdeed in each test.  Whatever it does, its process
 * ends and the sentence says why, each of its requests is settled once, those that it never began are served by
 * another host, no request of the good one fails or waits long, and nothing is left: no process, no descriptor, no
 * memory.
 *
 * The test's thread plays the coordinator and waits for what it hears, never for time. */
#include "remote/process_internal.h"

#include "place_harness.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* The last is far below what a misdeed that holds the poller up would cost, far above what a busy machine does. */
#define SILENT_US (IS_SANITIZED ? 4000000u : 2000000u) /* of a host whose silence is the misdeed */
#define PATIENT_US 30000000u                           /* of all others: a busy machine is no misdeed */
#define LATENCY_US (IS_SANITIZED ? 10000000u : 2000000u)
#define MEMORY_KB ((long)600 << 10) /* what the parent may grow by; a misdeed asks for more than three times that */

/* ---- what is heard ---- */

enum kind { GOOD, HOSTILE, KIND_COUNT };
static const char *const isolations[KIND_COUNT] = {"good", "hostile"};

static struct muster__processes *processes[KIND_COUNT];
static char last_sentence[2400]; /* of the hostile host, when it was dead */

static struct place hostile; /* whose worker is the hostile host's */
static struct place other; /* whom the hostile child may dispatch to; it has no worker */

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    enum kind kind = (enum kind)(intptr_t)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s %s: %.300s\n", level, isolations[kind], subject, text);
    if (kind == HOSTILE && level == MUSTER_LOG_ERROR)
        TELL(snprintf(last_sentence, sizeof last_sentence, "%s", text));
}

/* ---- workers ---- */

static const char good_script[] = "muster.on('fetch', function() return {body = 'good'} end)\n";

/* "mem:/slow" does not come before the hostile host is dead. */
static enum muster_status load_text(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                                    struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)error;
    (void)user_data;
    if (strcmp(url, "mem:/slow") == 0)
        WAIT_FOR(*last_sentence);
    ret_loaded->text = muster__strdup(good_script);
    ret_loaded->length = strlen(good_script);
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void use_good_script(struct place *place)
{
    place->loader = (struct muster__loader){.load = load_text};
    place->engine = "lua";
    place->script_url = "mem:/worker.lua";
}

static void make_place(struct place *place)
{
    init_place(place);
    use_good_script(place);
}

static void start_worker(struct place *place, enum kind kind)
{
    const struct muster_placement_request request = {.isolation = isolations[kind], .trust = MUSTER__TRUST_SCRIPT};
    place_worker(place, request, (struct muster__worker_limits){0}, NULL);
}

/* ---- a crowd of requests ---- */

static struct {
    unsigned posted, settled, ended, failed; /* under the lock */
    unsigned last, disorder;                 /* of those that the good one served */
} crowd;

struct one_of_many {
    struct muster__request request;
    unsigned number;
};

static void one_settled(struct muster__request *base, const struct muster__outcome *outcome)
{
    unsigned number = MUSTER_CONTAINER_OF(base, struct one_of_many, request)->number;
    bool by_good = outcome->response && outcome->response->body.length; /* the other answers without a word */
    TELL({
        crowd.settled++;
        crowd.failed += outcome->status != MUSTER_OK;
        if (by_good) {
            crowd.disorder += number < crowd.last;
            crowd.last = number;
        }
    });
}

static void one_destroyed(struct muster__request *base)
{
    free(MUSTER_CONTAINER_OF(base, struct one_of_many, request));
    TELL(crowd.ended++);
}

static const struct muster__request_class one_class = {one_settled, one_destroyed, NULL};

static void post_one(struct place *place)
{
    struct one_of_many *one = calloc(1, sizeof *one);
    ck_assert_ptr_nonnull(one);
    muster__request_init(&one->request, &one_class, MUSTER__REQUEST_FETCH, "fetch");
    one->request.received_us = muster__now_us();
    one->request.http.method = text("GET");
    one->request.http.url = text("http://x/");
    TELL(one->number = ++crowd.posted);
    ck_assert_int_eq(muster__slot_post(place->slot, &one->request, muster__now_us()), MUSTER_OK);
    muster__request_release(&one->request);
}

/* ---- the good one ---- */

static struct {
    struct place place;
    pthread_t thread;
    bool stop;
    unsigned served, failed; /* under the lock */
    uint64_t worst_us;
} good;

/* With a pause, which no verdict depends on: without one it would take all processors from those beside it. */
static void *ask_on_and_on(void *unused)
{
    enum { AT_A_TIME = 4 };
    static const struct timespec pause = {.tv_nsec = 500000};
    static struct errand errands[AT_A_TIME];
    bool stop = false;
    (void)unused;
    while (!stop) {
        uint64_t since_us = muster__now_us();
        for (int i = 0; i < AT_A_TIME; i++)
            fetch(&good.place, &errands[i], "http://x/", NULL);
        for (int i = 0; i < AT_A_TIME; i++)
            WAIT_FOR(errands[i].settled && errands[i].destroyed);
        uint64_t took_us = muster__now_us() - since_us;
        TELL({
            for (int i = 0; i < AT_A_TIME; i++) {
                bool fine = errands[i].status == MUSTER_OK && errands[i].settled == 1 &&
                            strcmp(errands[i].text, "good") == 0;
                good.served += fine;
                good.failed += !fine;
            }
            if (took_us > good.worst_us)
                good.worst_us = took_us;
            stop = good.stop;
        });
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void wait_for_more_served(unsigned more)
{
    pthread_mutex_lock(&lock);
    unsigned until = good.served + more;
    while (good.served < until && !good.failed)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void start_good(void)
{
    memset(&good, 0, sizeof good);
    make_place(&good.place);
    start_worker(&good.place, GOOD);
    (void)open_worker(&good.place);
    ck_assert_int_eq(pthread_create(&good.thread, NULL, ask_on_and_on, NULL), 0);
    wait_for_more_served(20);
    TELL(good.worst_us = 0); /* from here on nobody has an excuse */
}

static void end_good(void)
{
    wait_for_more_served(20);
    TELL(good.stop = true);
    pthread_join(good.thread, NULL);
    ck_assert_uint_eq(good.failed, 0);
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "%u served, the slowest four in %llu us\n", good.served, (unsigned long long)good.worst_us);
    ck_assert_msg(good.worst_us < LATENCY_US, "a request of the good host took %llu us",
                  (unsigned long long)good.worst_us);
    stop_worker(&good.place);
    ck_assert_msg(good.place.gone_status == MUSTER_OK, "%s", good.place.gone_error);
    release_place(&good.place);
}

/* ---- what may be left ---- */

static int count_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static long peak_kb(void)
{
    char line[256];
    long peak = 0;
    FILE *status = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof line, status))
        (void)sscanf(line, "VmHWM: %ld", &peak);
    fclose(status);
    return peak;
}

static void ck_assert_reaped(pid_t pid)
{
    ck_assert_int_gt(pid, 0);
    ck_assert_msg(kill(pid, 0) < 0 && errno == ESRCH, "process %ld is left", (long)pid);
}

/* -1: it is dead and reaped already. */
static int watch(pid_t pid)
{
    ck_assert_int_gt(pid, 0);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ck_assert_msg(pidfd >= 0 || errno == ESRCH, "%s", strerror(errno));
    return pidfd;
}

static void ck_assert_ends(int pidfd, int bound_ms)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0)
        return;
    ck_assert_msg(poll(&end, 1, bound_ms) == 1, "a process is left");
    close(pidfd);
}

/* ---- a test ---- */

static enum muster_status new_host(enum muster_placement_kind kind,
                                   const struct muster_placement_request *request,
                                   struct muster__host **ret_host, void *user_data)
{
    struct muster_error error = {0};
    (void)kind;
    (void)user_data;
    enum kind which = strcmp(request->isolation, isolations[HOSTILE]) == 0 ? HOSTILE : GOOD;
    enum muster_status status = muster__processes_take_host(processes[which], request, ret_host, &error);
    ck_assert_msg(status == MUSTER_OK, "no host: %s", error.message ? error.message : "");
    return status;
}

static int descriptors_before;
static long peak_before;

static void begin(const char *misdeed, bool is_silence)
{
    const struct muster__pool_options pool_options = {.threads = 2, .name = "test"};
    const struct muster__service_options service_options = {.new_host = new_host};
    setenv("MUSTER_HOSTILE", misdeed, 1);
    (void)muster__engine_find("lua", NULL);
    (void)muster__engine_find("native", NULL);
    descriptors_before = count_descriptors();
    peak_before = peak_kb();
    *last_sentence = '\0';
    ck_assert_int_eq(muster__pool_new(&pool_options, &pool), MUSTER_OK);
    ck_assert_int_eq(muster__service_new(&service_options, &service, NULL), MUSTER_OK);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        const struct muster__processes_options options = {
            .pool = pool,
            .program = kind == HOSTILE ? HOSTILE_CHILD : NULL,
            .threads = 1,
            .no_spare = true,
            .heartbeat_us = kind == HOSTILE ? 100000 : 0,
            .silent_us = kind == HOSTILE && is_silence ? SILENT_US : PATIENT_US,
            .log = log_line,
            .user_data = (void *)(intptr_t)kind};
        ck_assert_int_eq(muster__processes_new(&options, &processes[kind], NULL), MUSTER_OK);
    }
    make_place(&other);
    dispatch_to = &other;
    make_place(&hostile);
    start_good();
}

static pid_t pid_in(const char *sentence)
{
    const char *at = strstr(sentence, "(pid ");
    return at ? (pid_t)strtol(at + 5, NULL, 10) : 0;
}

static void end(void)
{
    struct process_host *host = MUSTER_CONTAINER_OF(good.place.worker->host, struct process_host, base);
    const int pidfds[] = {watch(muster__process_pid(host->process)),
                          watch(muster__launcher_pid(processes[GOOD]->launcher)),
                          watch(muster__launcher_pid(processes[HOSTILE]->launcher))};
    end_good();
    release_place(&other);
    ck_assert_uint_eq(muster__pool_destroy(pool), 0);
    muster__service_destroy(service);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        muster__processes_destroy(processes[kind]);
    for (size_t i = 0; i < sizeof pidfds / sizeof *pidfds; i++)
        ck_assert_ends(pidfds[i], 0);
    ck_assert_int_eq(count_descriptors(), descriptors_before);
    long grown = peak_kb() - peak_before;
    ck_assert_msg(IS_SANITIZED || grown < MEMORY_KB, "the parent grew by %ld KB", grown);
}

/* What the test's three requests come to.  The first two were begun. */
struct ending {
    const char *sentence;        /* the host's last one has this in it */
    enum muster_status first, second; /* OK: CRASHED, with that sentence */
    bool early;                  /* it came to no worker: nothing was begun */
    bool worker_first;           /* the worker had ended when the host did */
    enum muster_status third;    /* OK: it was not begun */
    bool with_body;              /* the first has a body that streams */
    const char *heard;           /* it does not end by itself, but when it has said this, the test ends it ... */
    unsigned served;             /* ... and the good one has served so many requests more */
    bool silent;                 /* it may also be its silence that ends it */
    unsigned crowd;              /* so many requests more come when it has begun */
};

static struct errand errands[3];

/* The status of one that got an answer before the misdeed. */
#define ANSWERED ((enum muster_status)-1)

static void check_begun(const struct errand *errand, enum muster_status expected, const char *sentence)
{
    if (expected == ANSWERED) {
        ck_assert_int_eq(errand->status, MUSTER_OK);
        return;
    }
    ck_assert_msg(errand->status == (expected ? expected : MUSTER_CRASHED), "status %d: %s", (int)errand->status,
                  errand->error);
    ck_assert_msg(expected || strstr(errand->error, sentence), "\"%s\" is not in: %s", sentence, errand->error);
}

/* The worker's next home is a good one: what was never begun is served there. */
static void serve_the_rest(const struct ending *ending)
{
    use_good_script(&hostile);
    start_worker(&hostile, GOOD);
    (void)open_worker(&hostile);
    for (int i = 0; i < 3; i++)
        finish_errand(&errands[i]);
    if (!ending->early) {
        check_begun(&errands[0], ending->first, ending->sentence);
        check_begun(&errands[1], ending->second, ending->sentence);
    }
    if (ending->third)
        check_begun(&errands[2], ending->third, ending->sentence);
    for (int i = ending->early ? 0 : 2; i < 3; i += 2)
        ck_assert_msg(ending->third || strcmp(errands[i].text, "good") == 0, "%d: status %d: %s", i,
                      (int)errands[i].status, errands[i].error);
    WAIT_FOR(crowd.ended == crowd.posted);
    ck_assert_uint_eq(crowd.settled, crowd.posted);
    stop_worker(&hostile);
    ck_assert_msg(hostile.gone_status == MUSTER_OK, "%s", hostile.gone_error);
    release_place(&hostile);
}

static void run(const char *misdeed, const struct ending *ending)
{
    struct muster_stream *body = NULL;
    if (ending->with_body)
        ck_assert_int_eq(muster_stream_new(0, &body), MUSTER_OK);
    fetch(&hostile, &errands[0], "http://x/", body);
    init_errand(&errands[1], MUSTER__REQUEST_CALL, "ask");
    post(&hostile, &errands[1]);
    fetch(&hostile, &errands[2], "http://x/", NULL);
    start_worker(&hostile, HOSTILE);
    (void)open_worker(&hostile);
    for (unsigned i = 0; i < ending->crowd; i++)
        post_one(&hostile);
    if (ending->heard) {
        WAIT_FOR(strstr(hostile.console, ending->heard) || hostile.gone);
        wait_for_more_served(ending->served);
        ck_assert_msg(!hostile.gone, "%s: %s", misdeed, hostile.gone_error);
        hostile.worker->class->abandon(hostile.worker);
    }
    wait_gone(&hostile);
    WAIT_FOR(*last_sentence);
    ck_assert_msg(strstr(last_sentence, ending->sentence), "\"%s\" is not in: %s", ending->sentence, last_sentence);
    if (!ending->worker_first)
        ck_assert_str_eq(hostile.gone_error, last_sentence);
    ck_assert_reaped(pid_in(last_sentence));
    serve_the_rest(ending);
    if (body) {
        muster_stream_release(body);
        muster_stream_release(body);
    }
}

static const char silence[] = "it was silent for too long";

static void commit(const char *misdeed, struct ending ending)
{
    begin(misdeed, ending.silent || ending.sentence == silence);
    run(misdeed, &ending);
    end();
}

#define COMMIT(sentence_, misdeed, ...)                                                             \
    START_TEST(sentence_)                                                                           \
    {                                                                                               \
        commit(misdeed, (struct ending){__VA_ARGS__});                                              \
    }                                                                                               \
    END_TEST

/* ---- before it is a host ---- */

COMMIT(garbage_instead_of_hello_ends_it, "garbage", "its connection broke: a bad frame", .early = true)
COMMIT(another_version_ends_it, "another-version", "version 2 of the wire", .early = true)
COMMIT(hello_twice_ends_it, "hello-twice", "a second HELLO", .early = true)
COMMIT(anything_before_hello_ends_it, "no-hello", "CONSOLE before HELLO", .early = true)
COMMIT(saying_nothing_at_all_ends_it, "nothing", silence, .early = true)
COMMIT(an_exit_at_once_is_told, "exit-at-once", "exited with code 0", .early = true)

/* ---- frames that are none ---- */

COMMIT(half_a_frame_and_silence_is_silence, "half-then-silence", silence)
COMMIT(half_a_frame_and_an_exit_is_an_exit, "half-then-exit", "exited with code 0")
COMMIT(a_giant_length_ends_it, "giant-length", "a frame of 4294967288 bytes")
COMMIT(a_length_of_zero_ends_it, "zero-length", "a frame of 0 bytes")
COMMIT(a_text_longer_than_its_frame_ends_it, "giant-console-length", "a bad frame (CONSOLE")

/* ---- numbers that are nobody's ---- */

static const char *const of_workers[] = {
    "STARTED", "CONSOLE",  "REPORT",       "SKIP_WAITING", "CLOSE_SELF", "WEDGED",   "IDLE",       "GONE",
    "HOLD",    "UNHOLD",   "LOAD",         "DISPATCH",     "BINDING_CALL", "STATS",  "CANCEL",     "RESULT",
    "ENDED",   "BODY",     "BODY_END",     "BODY_ABORT",   "BODY_CREDIT", "VALUE_PIECE"};
static const char *const of_actors[] = {"RESULT",     "ENDED",       "BODY",       "BODY_END",
                                        "BODY_ABORT", "BODY_CREDIT", "VALUE_PIECE"};
static const char *const of_own_actors[] = {"BODY", "BODY_END", "BODY_ABORT", "BODY_CREDIT", "VALUE_PIECE"};
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

static void commit_with_type(const char *how, const char *type, const char *sentence)
{
    char misdeed[64];
    snprintf(misdeed, sizeof misdeed, "%s:%s", how, type);
    commit(misdeed, (struct ending){strcmp(type, "VALUE_PIECE") == 0 ? "a piece of a value that nobody has opened"
                                                                     : sentence});
}

START_TEST(a_worker_that_never_was_ends_it)
{
    bool names_a_request = strcmp(of_workers[_i], "RESULT") == 0 || strcmp(of_workers[_i], "ENDED") == 0 ||
                           strncmp(of_workers[_i], "BODY", 4) == 0;
    commit_with_type("wrong-worker", of_workers[_i],
                     names_a_request ? "it sent a request of another worker's" : "of a worker that it does not have");
}
END_TEST

START_TEST(a_request_that_was_never_sent_ends_it)
{
    commit_with_type("wrong-actor", of_actors[_i], "of a request that it does not have");
}
END_TEST

START_TEST(a_body_of_what_it_opened_itself_ends_it)
{
    commit_with_type("own-actor", of_own_actors[_i], "of a request that it does not have");
}
END_TEST

/* ---- what may be said once, or not at all ---- */

COMMIT(two_results_end_it, "result-twice", "two results for one request", .first = ANSWERED)
COMMIT(a_result_that_says_pending_ends_it, "pending-result", "PENDING as the end of something")
COMMIT(a_result_after_the_end_ends_it, "result-after-the-end", "of a request that it does not have", .first = ANSWERED)
COMMIT(an_end_without_a_result_is_the_death_of_a_request, "end-without-result", "a worker in it did not react",
       .first = MUSTER_TERMINATED, .second = MUSTER_WEDGED, .heard = "done")
COMMIT(giving_back_what_it_began_ends_it, "retry-of-what-began", "back a request that it had begun")
COMMIT(beginning_what_it_gave_back_ends_it, "retry-and-begin", "back a request that it had begun",
       .third = MUSTER_CRASHED)
COMMIT(gone_twice_ends_it, "gone-twice", "of a worker that it does not have", .first = MUSTER_TERMINATED,
       .second = MUSTER_TERMINATED, .worker_first = true)
COMMIT(a_result_after_gone_ends_it, "result-after-gone", "of a request that it does not have",
       .first = MUSTER_TERMINATED, .second = MUSTER_TERMINATED, .worker_first = true)
COMMIT(started_after_gone_ends_it, "started-after-gone", "of a worker that it does not have",
       .first = MUSTER_TERMINATED, .second = MUSTER_TERMINATED, .worker_first = true)
COMMIT(started_twice_ends_it, "started-twice", "that a worker started, twice")
COMMIT(a_response_to_a_call_ends_it, "response-to-a-call", "a response to what is no fetch")
COMMIT(no_response_to_a_fetch_ends_it, "no-response-to-a-fetch", "no response to a fetch")

/* ---- too much ---- */

COMMIT(a_flood_of_lines_holds_nobody_up, "flood-console", "a worker in it did not react", .first = MUSTER_WEDGED,
       .second = MUSTER_WEDGED, .heard = "xxx", .served = 400)
COMMIT(a_flood_of_tokens_holds_nobody_up, "flood-of-holds", "a worker in it did not react", .first = MUSTER_WEDGED,
       .second = MUSTER_WEDGED, .heard = "tokens", .served = 400)
COMMIT(more_tokens_than_there_can_be_end_it, "hold-too-many", "a count of keepalive tokens that cannot be")
COMMIT(fewer_tokens_than_none_end_it, "unhold-below-zero", "a count of keepalive tokens that cannot be")
COMMIT(more_open_dispatches_than_it_may_have_end_it, "flood-of-dispatches", "more questions than it may have open")
COMMIT(more_open_loads_than_it_may_have_end_it, "flood-of-loads", "more questions than it may have open")
COMMIT(one_number_for_two_dispatches_ends_it, "dispatch-twice", "a number that is in use")
COMMIT(a_dispatched_install_ends_it, "dispatch-of-an-install", "a dispatch of what no script may send")
COMMIT(large_values_that_nobody_takes_do_not_fill_the_parent, "large-dispatches", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "all were sent")
COMMIT(what_it_cancels_is_answered_and_forgotten, "change-its-mind", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "6032 canceled")
COMMIT(more_values_in_pieces_than_it_may_open_end_it, "values-without-bytes", "more than 16 values in pieces")

/* ---- fetches of its scripts ---- */

COMMIT(a_fetch_that_may_not_be_is_refused, "fetch-what-may-not-be", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "6 refused")
COMMIT(a_fetch_whose_details_are_no_value_ends_it, "fetch-with-nonsense", "a value that is none")
COMMIT(the_body_of_a_fetch_beyond_its_credit_ends_it, "fetch-body-beyond-credit", "more of a body than it may")
COMMIT(a_body_of_a_fetch_without_one_ends_it, "fetch-body-that-is-none", "BODY of a body that there is not")
COMMIT(a_body_of_another_workers_fetch_ends_it, "fetch-body-of-another-worker", "a request of another worker's")
COMMIT(a_body_of_what_is_no_fetch_ends_it, "body-of-an-event", "BODY of a body that there is not")
COMMIT(credit_for_an_answer_that_is_not_there_ends_it, "credit-before-the-answer",
       "BODY_CREDIT of a body that there is not")
COMMIT(what_it_says_of_a_fetch_that_is_over_is_ignored, "fetch-and-talk-on", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "was canceled")
COMMIT(bodies_of_fetches_that_nobody_answers_do_not_fill_the_parent, "flood-of-fetches", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "all is full")

/* ---- what it may not have ---- */

START_TEST(files_outside_the_folder_are_not_loaded)
{
    char folder[] = "/tmp/muster-hostile-XXXXXX", path[64];
    const struct ending ending = {"a worker in it did not react", MUSTER_WEDGED, MUSTER_WEDGED, .heard = "done"};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/worker.lua", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(good_script, file);
    fclose(file);
    begin("load-what-is-outside", false);
    hostile.loader = (struct muster__loader){.root = folder};
    hostile.script_url = path;
    run("load-what-is-outside", &ending);
    int loads = 0;
    for (const char *at = hostile.console; (at = strstr(at, "LOAD ")); at++, loads++)
        ck_assert_msg(strncmp(at, "LOAD 0", 6) != 0, "%s", hostile.console);
    ck_assert_int_eq(loads, 5);
    end();
    unlink(path);
    rmdir(folder);
}
END_TEST

/* Native code that lives in a process of its own has no script here: what it asks for is an import all the same. */
START_TEST(a_library_is_not_opened_in_the_parent)
{
    const struct ending ending = {"a worker in it did not react", MUSTER_WEDGED, MUSTER_WEDGED, .heard = "done"};
    setenv("MUSTER_HOSTILE_LIBRARY", LOADER_FIXTURE, 1);
    begin("load-a-library", false);
    hostile.engine = "native";
    hostile.loader = (struct muster__loader){0};
    run("load-a-library", &ending);
    ck_assert_msg(strstr(hostile.console, "a script cannot import a shared object"), "%s", hostile.console);
    end();
}
END_TEST

COMMIT(a_function_that_does_not_exist_is_not_found, "call-what-is-not-there", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "CALL 2\ndone")

/* ---- values that are none ---- */

COMMIT(random_bytes_as_a_value_end_it, "random-value", "a value that is none", .second = MUSTER_INVALID_ARGUMENT)
COMMIT(a_value_too_deep_ends_it, "deep-value", "a value that is none", .second = MUSTER_INVALID_ARGUMENT)
COMMIT(an_array_that_is_not_there_ends_it, "giant-array", "a value that is none", .second = MUSTER_INVALID_ARGUMENT)
COMMIT(a_hole_of_four_billion_items_takes_no_memory, "giant-sparse-array", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = ANSWERED, .heard = "done")
COMMIT(arguments_that_are_none_end_it, "no-arguments", "a value that is none")
COMMIT(a_dispatched_value_that_is_none_ends_it, "dispatch-of-nonsense", "a value that is none")

/* ---- bodies ---- */

COMMIT(a_body_beyond_its_credit_ends_it, "body-beyond-credit", "more of a body than it may", .first = ANSWERED)
COMMIT(a_body_behind_its_end_ends_it, "body-behind-its-end", "more of a body than it may", .first = ANSWERED)
COMMIT(a_body_before_its_response_ends_it, "body-without-response", "a body that there is not")
COMMIT(a_body_for_a_response_without_one_ends_it, "body-after-a-whole-one", "a body that there is not",
       .first = ANSWERED)
COMMIT(a_body_of_the_request_ends_it, "body-of-the-request", "BODY of the wrong body", .with_body = true)
COMMIT(credit_for_no_body_ends_it, "credit-for-nothing", "a body that there is not")
COMMIT(credit_beyond_the_window_ends_it, "too-much-credit", "more of a body than it may", .with_body = true)
COMMIT(credit_for_its_own_body_ends_it, "credit-for-its-own", "BODY_CREDIT of the wrong body", .first = ANSWERED)

/* ---- descriptors ---- */

COMMIT(a_frame_that_names_descriptors_that_did_not_come_ends_it, "descriptors-for-nobody", "packets of descriptors")
COMMIT(a_bad_packet_of_descriptors_ends_it, "a-bad-packet", "a bad packet of descriptors")
COMMIT(descriptors_that_nobody_asked_for_are_closed, "descriptors-with-a-line", "a worker in it did not react",
       .first = MUSTER_WEDGED, .second = MUSTER_WEDGED, .heard = "here\ndone")

/* The good one's requests are timed: nobody waits until such a socket has lingered. */
COMMIT(sockets_that_linger_hold_nobody_up, "lingering-sockets", "a bad packet of descriptors")

/* ---- a crowd that it does not serve ---- */

/* More than it takes: what it has no room for waits in the slot, and goes elsewhere in its order. */
static void commit_in_a_crowd(const char *misdeed, unsigned count, struct ending ending)
{
    begin(misdeed, ending.sentence == silence);
    ending.crowd = count;
    run(misdeed, &ending);
    ck_assert_uint_eq(crowd.disorder, 0);
    end();
}

START_TEST(a_host_that_does_not_listen_is_silent)
{
    commit_in_a_crowd("listen-to-nothing", 40000, (struct ending){silence});
    ck_assert_uint_eq(crowd.failed, 0);
}
END_TEST

START_TEST(a_host_that_talks_but_does_not_listen_is_silent)
{
    commit_in_a_crowd("talk-only", 40000, (struct ending){silence});
    ck_assert_uint_eq(crowd.failed, 0);
}
END_TEST

START_TEST(giving_everything_back_on_and_on_is_no_way_to_live)
{
    const struct ending ending = {"a worker in it did not react", MUSTER_WEDGED, MUSTER_WEDGED, .heard = "back",
                                  .served = 100};
    commit_in_a_crowd("give-all-back", 40000, ending);
    ck_assert_uint_eq(crowd.failed, 0);
}
END_TEST

START_TEST(nonsense_in_the_shared_memory_harms_its_own_requests_only)
{
    commit_in_a_crowd("scribble", 600, (struct ending){"a bad frame", ANSWERED, ANSWERED, .third = ANSWERED});
}
END_TEST

/* ---- its own process ---- */

COMMIT(a_stopped_host_is_silent, "stop-itself", silence)
COMMIT(another_program_in_its_place_is_silent, "become-another", silence)
COMMIT(another_program_that_hangs_up_is_killed, "become-another-alone", "it closed its connection")
COMMIT(a_host_that_hangs_up_and_lives_on_is_killed, "hang-up", "it closed its connection")
COMMIT(a_full_pipe_of_errors_holds_nobody_up, "fill-the-errors", "was killed by SIGKILL")
COMMIT(a_full_pipe_of_last_words_holds_nobody_up, "fill-the-last-words", "was killed by SIGKILL", .silent = true)

START_TEST(children_that_hold_its_sockets_end_with_it)
{
    const struct ending ending = {"exited with code 0"};
    long quiet = 0, loud = 0;
    begin("leave-children", false);
    run("leave-children", &ending);
    const char *line = strstr(hostile.console, "children ");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(sscanf(line, "children %ld %ld", &quiet, &loud), 2);
    int first = watch((pid_t)quiet), second = watch((pid_t)loud);
    ck_assert_ends(first, 20000);
    ck_assert_ends(second, 20000);
    end();
}
END_TEST

/* ---- ports ---- */

COMMIT(a_message_on_no_port_ends_it, "message-on-no-port", "PORT_MESSAGE of a port that it does not have")
COMMIT(credit_for_no_port_ends_it, "credit-for-no-port", "PORT_CREDIT of a port that it does not have")
COMMIT(closing_no_port_ends_it, "close-no-port", "PORT_CLOSE of a port that it does not have")
COMMIT(moving_what_was_not_asked_to_ends_it, "move-what-stays", "that a port moved which was not asked to")
COMMIT(one_number_for_two_ports_ends_it, "open-one-port-twice", "a port's number twice")
COMMIT(more_ports_than_it_may_have_open_end_it, "too-many-ports", "more ports than it may have open")
COMMIT(closing_a_port_twice_ends_it, "close-a-port-twice", "the end of a port twice")
COMMIT(a_message_behind_the_end_of_its_port_ends_it, "post-behind-a-close", "a message on a port that it has closed")
COMMIT(naming_a_port_of_its_parent_ends_it, "name-the-parents-port", "a port that it has not opened, or named before")
COMMIT(naming_a_port_that_it_never_opened_ends_it, "name-a-port-that-it-never-opened",
       "a port that it has not opened, or named before")
COMMIT(naming_a_port_twice_ends_it, "name-a-port-twice", "a port that it has not opened, or named before")
COMMIT(credit_for_a_port_on_which_nothing_went_ends_it, "credit-that-was-not-taken",
       "more credit for a port than it had taken")
COMMIT(random_bytes_on_a_port_end_it, "nonsense-on-a-port", "a value that is none")
COMMIT(a_flood_on_one_port_ends_it, "flood-a-port", "more on its ports than it may")
COMMIT(a_flood_on_all_ports_ends_it, "flood-all-ports", "more on its ports than it may")
COMMIT(ports_in_knots_hold_nobody_up, "tie-ports-in-knots", "a worker in it did not react", .first = MUSTER_WEDGED,
       .second = MUSTER_WEDGED, .heard = "knots", .served = 100)

/* ---- */

static void add_before(Suite *s)
{
    TCase *tc = tcase_create("frames");
    tcase_add_test(tc, garbage_instead_of_hello_ends_it);
    tcase_add_test(tc, another_version_ends_it);
    tcase_add_test(tc, hello_twice_ends_it);
    tcase_add_test(tc, anything_before_hello_ends_it);
    tcase_add_test(tc, saying_nothing_at_all_ends_it);
    tcase_add_test(tc, an_exit_at_once_is_told);
    tcase_add_test(tc, half_a_frame_and_silence_is_silence);
    tcase_add_test(tc, half_a_frame_and_an_exit_is_an_exit);
    tcase_add_test(tc, a_giant_length_ends_it);
    tcase_add_test(tc, a_length_of_zero_ends_it);
    tcase_add_test(tc, a_text_longer_than_its_frame_ends_it);
    tcase_add_loop_test(tc, a_worker_that_never_was_ends_it, 0, COUNT(of_workers));
    tcase_add_loop_test(tc, a_request_that_was_never_sent_ends_it, 0, COUNT(of_actors));
    tcase_add_loop_test(tc, a_body_of_what_it_opened_itself_ends_it, 0, COUNT(of_own_actors));
    suite_add_tcase(s, tc);
}

static void add_once(Suite *s)
{
    TCase *tc = tcase_create("once");
    tcase_add_test(tc, two_results_end_it);
    tcase_add_test(tc, a_result_that_says_pending_ends_it);
    tcase_add_test(tc, a_result_after_the_end_ends_it);
    tcase_add_test(tc, an_end_without_a_result_is_the_death_of_a_request);
    tcase_add_test(tc, giving_back_what_it_began_ends_it);
    tcase_add_test(tc, beginning_what_it_gave_back_ends_it);
    tcase_add_test(tc, gone_twice_ends_it);
    tcase_add_test(tc, a_result_after_gone_ends_it);
    tcase_add_test(tc, started_after_gone_ends_it);
    tcase_add_test(tc, started_twice_ends_it);
    tcase_add_test(tc, a_response_to_a_call_ends_it);
    tcase_add_test(tc, no_response_to_a_fetch_ends_it);
    suite_add_tcase(s, tc);
}

static void add_much(Suite *s)
{
    TCase *tc = tcase_create("much");
    tcase_add_test(tc, a_flood_of_lines_holds_nobody_up);
    tcase_add_test(tc, a_flood_of_tokens_holds_nobody_up);
    tcase_add_test(tc, more_tokens_than_there_can_be_end_it);
    tcase_add_test(tc, fewer_tokens_than_none_end_it);
    tcase_add_test(tc, more_open_dispatches_than_it_may_have_end_it);
    tcase_add_test(tc, more_open_loads_than_it_may_have_end_it);
    tcase_add_test(tc, one_number_for_two_dispatches_ends_it);
    tcase_add_test(tc, a_dispatched_install_ends_it);
    tcase_add_test(tc, large_values_that_nobody_takes_do_not_fill_the_parent);
    tcase_add_test(tc, what_it_cancels_is_answered_and_forgotten);
    tcase_add_test(tc, more_values_in_pieces_than_it_may_open_end_it);
    tcase_add_test(tc, files_outside_the_folder_are_not_loaded);
    tcase_add_test(tc, a_library_is_not_opened_in_the_parent);
    tcase_add_test(tc, a_function_that_does_not_exist_is_not_found);
    suite_add_tcase(s, tc);
}

static void add_fetches(Suite *s)
{
    TCase *tc = tcase_create("fetches");
    tcase_add_test(tc, a_fetch_that_may_not_be_is_refused);
    tcase_add_test(tc, a_fetch_whose_details_are_no_value_ends_it);
    tcase_add_test(tc, the_body_of_a_fetch_beyond_its_credit_ends_it);
    tcase_add_test(tc, a_body_of_a_fetch_without_one_ends_it);
    tcase_add_test(tc, a_body_of_another_workers_fetch_ends_it);
    tcase_add_test(tc, a_body_of_what_is_no_fetch_ends_it);
    tcase_add_test(tc, credit_for_an_answer_that_is_not_there_ends_it);
    tcase_add_test(tc, what_it_says_of_a_fetch_that_is_over_is_ignored);
    tcase_add_test(tc, bodies_of_fetches_that_nobody_answers_do_not_fill_the_parent);
    suite_add_tcase(s, tc);
}

static void add_values(Suite *s)
{
    TCase *tc = tcase_create("values");
    tcase_add_test(tc, random_bytes_as_a_value_end_it);
    tcase_add_test(tc, a_value_too_deep_ends_it);
    tcase_add_test(tc, an_array_that_is_not_there_ends_it);
    tcase_add_test(tc, a_hole_of_four_billion_items_takes_no_memory);
    tcase_add_test(tc, arguments_that_are_none_end_it);
    tcase_add_test(tc, a_dispatched_value_that_is_none_ends_it);
    tcase_add_test(tc, a_body_beyond_its_credit_ends_it);
    tcase_add_test(tc, a_body_behind_its_end_ends_it);
    tcase_add_test(tc, a_body_before_its_response_ends_it);
    tcase_add_test(tc, a_body_for_a_response_without_one_ends_it);
    tcase_add_test(tc, a_body_of_the_request_ends_it);
    tcase_add_test(tc, credit_for_no_body_ends_it);
    tcase_add_test(tc, credit_beyond_the_window_ends_it);
    tcase_add_test(tc, credit_for_its_own_body_ends_it);
    tcase_add_test(tc, a_frame_that_names_descriptors_that_did_not_come_ends_it);
    tcase_add_test(tc, a_bad_packet_of_descriptors_ends_it);
    tcase_add_test(tc, descriptors_that_nobody_asked_for_are_closed);
    tcase_add_test(tc, sockets_that_linger_hold_nobody_up);
    suite_add_tcase(s, tc);
}

static void add_process(Suite *s)
{
    TCase *tc = tcase_create("process");
    tcase_add_test(tc, a_host_that_does_not_listen_is_silent);
    tcase_add_test(tc, a_host_that_talks_but_does_not_listen_is_silent);
    tcase_add_test(tc, giving_everything_back_on_and_on_is_no_way_to_live);
    tcase_add_test(tc, nonsense_in_the_shared_memory_harms_its_own_requests_only);
    tcase_add_test(tc, a_stopped_host_is_silent);
    tcase_add_test(tc, another_program_in_its_place_is_silent);
    tcase_add_test(tc, another_program_that_hangs_up_is_killed);
    tcase_add_test(tc, a_host_that_hangs_up_and_lives_on_is_killed);
    tcase_add_test(tc, a_full_pipe_of_errors_holds_nobody_up);
    tcase_add_test(tc, a_full_pipe_of_last_words_holds_nobody_up);
    tcase_add_test(tc, children_that_hold_its_sockets_end_with_it);
    suite_add_tcase(s, tc);
}

static void add_ports(Suite *s)
{
    TCase *tc = tcase_create("ports");
    tcase_add_test(tc, a_message_on_no_port_ends_it);
    tcase_add_test(tc, credit_for_no_port_ends_it);
    tcase_add_test(tc, closing_no_port_ends_it);
    tcase_add_test(tc, moving_what_was_not_asked_to_ends_it);
    tcase_add_test(tc, one_number_for_two_ports_ends_it);
    tcase_add_test(tc, more_ports_than_it_may_have_open_end_it);
    tcase_add_test(tc, closing_a_port_twice_ends_it);
    tcase_add_test(tc, a_message_behind_the_end_of_its_port_ends_it);
    tcase_add_test(tc, naming_a_port_of_its_parent_ends_it);
    tcase_add_test(tc, naming_a_port_that_it_never_opened_ends_it);
    tcase_add_test(tc, naming_a_port_twice_ends_it);
    tcase_add_test(tc, credit_for_a_port_on_which_nothing_went_ends_it);
    tcase_add_test(tc, random_bytes_on_a_port_end_it);
    tcase_add_test(tc, a_flood_on_one_port_ends_it);
    tcase_add_test(tc, a_flood_on_all_ports_ends_it);
    tcase_add_test(tc, ports_in_knots_hold_nobody_up);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("hostile_child");
    add_before(s);
    add_once(s);
    add_much(s);
    add_fetches(s);
    add_values(s);
    add_process(s);
    add_ports(s);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
