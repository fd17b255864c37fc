/* tests/test_placement.c - the filter that nobody can trade away, the scorers, and the verdicts. */
#include "remote/placement.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS 5

struct scene {
    struct muster_placement_host views[HOSTS];
    const struct muster_placement_host *hosts[HOSTS];
    size_t count;
    struct muster_placement_request request;
    struct muster_placement_random random;
    struct muster_placement_memory memory;
    struct muster_placement_candidate candidates[HOSTS];
    struct muster_placement_decision decision;
    uint64_t now_us;
};

/* Hosts 1 to `count`, ready and empty. */
static struct scene make_scene(size_t count)
{
    struct scene scene;
    memset(&scene, 0, sizeof scene);
    scene.count = count;
    for (size_t i = 0; i < count; i++)
        scene.views[i] = (struct muster_placement_host){
            .size = sizeof scene.views[i], .id = (uint32_t)i + 1, .state = MUSTER_PLACEMENT_READY};
    scene.request = (struct muster_placement_request){.size = sizeof scene.request, .id = 7};
    scene.now_us = 1000000;
    muster_placement_random_seed(&scene.random, 1);
    return scene;
}

static enum muster_status try_decide(struct scene *scene,
                                     const struct muster_placement_policy *policy)
{
    for (size_t i = 0; i < scene->count; i++)
        scene->hosts[i] = &scene->views[i];
    return muster_placement_decide(policy, &scene->request, scene->hosts, scene->count,
                                   &scene->random, &scene->memory, scene->now_us, scene->candidates,
                                   &scene->decision);
}

/* The host's id; 0: another verdict. */
static uint32_t decide_with(struct scene *scene, const struct muster_placement_policy *policy)
{
    ck_assert_int_eq(try_decide(scene, policy), MUSTER_OK);
    return scene->decision.verdict == MUSTER_PLACE_ON_HOST ? scene->decision.host : 0;
}

static uint32_t decide(struct scene *scene, const char *policy)
{
    ck_assert_ptr_nonnull(muster_placement_policy_named(policy));
    return decide_with(scene, muster_placement_policy_named(policy));
}

/* ---- random numbers ---- */

START_TEST(the_generator_gives_the_published_numbers)
{
    struct muster_placement_random random = {{1, 2, 3, 4}};
    ck_assert_uint_eq(muster_placement_random_next(&random), 11520);
    ck_assert_uint_eq(muster_placement_random_next(&random), 0);
    ck_assert_uint_eq(muster_placement_random_next(&random), 1509978240);
    ck_assert_uint_eq(muster_placement_random_next(&random), 1215971899390074240u);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_numbers_and_another_seed_others)
{
    struct muster_placement_random a, b, c;
    muster_placement_random_seed(&a, 5);
    muster_placement_random_seed(&b, 5);
    muster_placement_random_seed(&c, 6);
    for (int i = 0; i < 100; i++) {
        uint64_t number = muster_placement_random_next(&a);
        ck_assert_uint_eq(number, muster_placement_random_next(&b));
        ck_assert_uint_ne(number, muster_placement_random_next(&c));
    }
}
END_TEST

START_TEST(numbers_below_a_limit_are_even)
{
    struct muster_placement_random random;
    muster_placement_random_seed(&random, 2);
    unsigned counts[6] = {0};
    for (int i = 0; i < 60000; i++) {
        uint64_t number = muster_placement_random_below(&random, 6);
        ck_assert_uint_lt(number, 6);
        counts[number]++;
        double unit = muster_placement_random_unit(&random);
        ck_assert(unit >= 0 && unit < 1);
    }
    for (int i = 0; i < 6; i++)
        ck_assert_msg(counts[i] > 9600 && counts[i] < 10400, "%d came %u times", i, counts[i]);
    ck_assert_uint_eq(muster_placement_random_below(&random, 0), 0);
    ck_assert_uint_eq(muster_placement_random_below(&random, 1), 0);
}
END_TEST

/* ---- the hard filter ---- */

struct hard_case {
    enum muster_placement_filter filter;
    struct muster_placement_host host;
};

static const struct hard_case hard_cases[] = {
    {MUSTER_PLACEMENT_FILTER_DEAD, {.state = MUSTER_PLACEMENT_DEAD}},
    {MUSTER_PLACEMENT_FILTER_DRAINING, {.state = MUSTER_PLACEMENT_DRAINING}},
    {MUSTER_PLACEMENT_FILTER_STARTING, {.state = MUSTER_PLACEMENT_STARTING}},
    {MUSTER_PLACEMENT_FILTER_ISOLATION,
     {.state = MUSTER_PLACEMENT_READY, .isolation = "https://other.example"}},
    {MUSTER_PLACEMENT_FILTER_KIND,
     {.state = MUSTER_PLACEMENT_READY, .kind = MUSTER_PLACEMENT_PROCESS}},
    {MUSTER_PLACEMENT_FILTER_TRUST, {.state = MUSTER_PLACEMENT_READY, .trust = 2}},
    {MUSTER_PLACEMENT_FILTER_QUARANTINE,
     {.state = MUSTER_PLACEMENT_READY, .quarantined_until_us = 1000001}},
    {MUSTER_PLACEMENT_FILTER_FULL,
     {.state = MUSTER_PLACEMENT_READY, .worker_limit = 3, .live_workers = 3}},
    {MUSTER_PLACEMENT_FILTER_NO_MEMORY,
     {.state = MUSTER_PLACEMENT_READY, .memory_limit = 1000, .memory_used = 901}},
    {MUSTER_PLACEMENT_FILTER_NO_MEMORY,
     {.state = MUSTER_PLACEMENT_READY, .memory_limit = 1000, .memory_used = 2000}},
};
#define HARD_CASES ((int)(sizeof hard_cases / sizeof hard_cases[0]))

static struct scene scene_with_bad_host(int number)
{
    struct scene scene = make_scene(2);
    scene.request.kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_THREADS);
    scene.request.memory = 100;
    scene.request.requester = 1;
    scene.views[0] = hard_cases[number].host;
    scene.views[0].size = sizeof scene.views[0];
    scene.views[0].id = 1;
    scene.views[1].in_flight = 1000;
    return scene;
}

START_TEST(no_policy_takes_a_host_that_the_hard_filter_refuses)
{
    struct scene scene = scene_with_bad_host(_i);
    for (size_t p = 0; muster_placement_policy_at(p); p++)
        for (int round = 0; round < 20; round++) {
            ck_assert_uint_eq(decide_with(&scene, muster_placement_policy_at(p)), 2);
            ck_assert_int_eq(scene.candidates[0].filter, hard_cases[_i].filter);
            ck_assert(!scene.candidates[0].scored);
        }
}
END_TEST

static enum muster_placement_verdict
love_the_first(const struct muster_placement_question *question, const char **reason,
               void *user_data)
{
    (void)reason, (void)user_data;
    for (size_t i = 0; i < question->candidate_count; i++) {
        question->candidates[i].scored = true;
        question->candidates[i].score = (double)i;
    }
    return MUSTER_PLACE_ON_HOST;
}

static bool take_all(const struct muster_placement_request *request,
                     const struct muster_placement_host *host, uint64_t now_us, void *user_data)
{
    (void)request, (void)host, (void)now_us, (void)user_data;
    return true;
}

START_TEST(an_own_filter_and_scorer_cannot_take_it_either)
{
    struct scene scene = scene_with_bad_host(_i);
    const struct muster_placement_policy mine = {
        .size = sizeof mine, .name = "mine", .filter = take_all, .score = love_the_first};
    ck_assert_uint_eq(decide_with(&scene, &mine), 2);
    ck_assert_int_eq(scene.candidates[0].filter, hard_cases[_i].filter);
}
END_TEST

START_TEST(limits_are_reached_not_passed)
{
    struct scene scene = make_scene(1);
    scene.request.memory = 100;
    scene.views[0].memory_limit = 1000;
    scene.views[0].memory_used = 900;
    scene.views[0].worker_limit = 3;
    scene.views[0].live_workers = 2;
    scene.views[0].quarantined_until_us = scene.now_us;
    ck_assert_uint_eq(decide(&scene, "least-loaded"), 1);
}
END_TEST

START_TEST(equal_isolation_and_trust_pass_and_no_isolation_is_the_empty_one)
{
    struct muster_placement_host host = {
        .size = sizeof host, .id = 1, .state = MUSTER_PLACEMENT_READY};
    struct muster_placement_request request = {.size = sizeof request};
    host.isolation = "";
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0), MUSTER_PLACEMENT_FILTER_PASSED);
    request.isolation = "a";
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0),
                     MUSTER_PLACEMENT_FILTER_ISOLATION);
    char same[] = "a";
    host.isolation = same;
    host.trust = request.trust = 3;
    ck_assert_int_eq(muster_placement_filter(&request, &host, 0), MUSTER_PLACEMENT_FILTER_PASSED);
}
END_TEST

/* ---- scorers ---- */

START_TEST(round_robin_takes_each_host_in_turn_and_skips_those_that_left)
{
    struct scene scene = make_scene(4);
    const uint32_t expected[] = {1, 2, 3, 4, 1, 2};
    for (size_t i = 0; i < 6; i++)
        ck_assert_uint_eq(decide(&scene, "round-robin"), expected[i]);
    scene.views[2].state = MUSTER_PLACEMENT_DRAINING;
    ck_assert_uint_eq(decide(&scene, "round-robin"), 4);
    scene.views[2].state = MUSTER_PLACEMENT_READY;
    scene.count = 3;
    ck_assert_uint_eq(decide(&scene, "round-robin"), 1);
}
END_TEST

START_TEST(round_robin_shares_evenly_whatever_the_load)
{
    struct scene scene = make_scene(5);
    scene.views[3].in_flight = 100;
    unsigned counts[HOSTS] = {0};
    for (int i = 0; i < 500; i++)
        counts[decide(&scene, "round-robin") - 1]++;
    for (int i = 0; i < HOSTS; i++)
        ck_assert_uint_eq(counts[i], 100);
}
END_TEST

START_TEST(random_reaches_every_host_that_passed_evenly)
{
    struct scene scene = make_scene(5);
    scene.views[0].state = MUSTER_PLACEMENT_DEAD;
    unsigned counts[HOSTS] = {0};
    for (int i = 0; i < 8000; i++)
        counts[decide(&scene, "random") - 1]++;
    ck_assert_uint_eq(counts[0], 0);
    for (int i = 1; i < HOSTS; i++)
        ck_assert_msg(counts[i] > 1850 && counts[i] < 2150, "host %d: %u", i + 1, counts[i]);
}
END_TEST

START_TEST(least_loaded_compares_requests_a_core_then_workers_then_ids)
{
    struct scene scene = make_scene(4);
    for (int i = 0; i < 4; i++)
        scene.views[i].in_flight = 8;
    scene.views[0].in_flight = 7;
    scene.views[2].cores = 4;
    ck_assert_uint_eq(decide(&scene, "least-loaded"), 3);
    scene.views[2].cores = 1;
    ck_assert_uint_eq(decide(&scene, "least-loaded"), 1);
    scene.views[0].live_workers = 1000000;
    ck_assert_uint_eq(decide(&scene, "least-loaded"), 1);
    scene.views[1].in_flight = scene.views[3].in_flight = 7;
    scene.views[1].live_workers = scene.views[3].live_workers = 2;
    ck_assert_uint_eq(decide(&scene, "least-loaded"), 2);
    ck_assert_str_eq(scene.decision.reason, "least loaded");
}
END_TEST

START_TEST(power_of_two_draws_two_different_hosts_and_takes_the_less_loaded)
{
    struct scene scene = make_scene(5);
    for (uint32_t i = 0; i < 5; i++)
        scene.views[i].in_flight = i;
    unsigned counts[HOSTS] = {0};
    for (int round = 0; round < 10000; round++) {
        uint32_t host = decide(&scene, "power-of-two");
        counts[host - 1]++;
        int scored = 0;
        for (int i = 0; i < HOSTS; i++)
            scored += scene.candidates[i].scored;
        ck_assert_int_eq(scored, 2);
    }
    /* The most loaded never wins; the least loaded wins each of its draws: 4 of 10 pairs. */
    ck_assert_uint_eq(counts[4], 0);
    ck_assert_msg(counts[0] > 3800 && counts[0] < 4200, "%u", counts[0]);
    ck_assert_msg(counts[3] > 850 && counts[3] < 1150, "%u", counts[3]);
    scene.count = 1;
    ck_assert_uint_eq(decide(&scene, "power-of-two"), 1);
}
END_TEST

START_TEST(affinity_takes_the_requesters_host_wherever_it_stands_in_the_list)
{
    struct scene scene = make_scene(4);
    for (uint32_t requester = 1; requester <= 4; requester++) {
        scene.request.requester = requester;
        scene.views[requester - 1].in_flight = 50;
        ck_assert_uint_eq(decide(&scene, "affinity"), requester);
        ck_assert_str_eq(scene.decision.reason, "the requester's host");
    }
}
END_TEST

START_TEST(affinity_without_a_fitting_requester_is_least_loaded)
{
    struct scene scene = make_scene(3);
    scene.views[0].in_flight = scene.views[2].in_flight = 1;
    ck_assert_uint_eq(decide(&scene, "affinity"), 2);
    scene.request.requester = 3;
    scene.views[2].state = MUSTER_PLACEMENT_DRAINING;
    ck_assert_uint_eq(decide(&scene, "affinity"), 2);
    scene.request.requester = 77;
    ck_assert_uint_eq(decide(&scene, "affinity"), 2);
    ck_assert_str_eq(scene.decision.reason, "least loaded");
}
END_TEST

START_TEST(the_same_seed_decides_the_same_under_every_policy)
{
    for (size_t p = 0; muster_placement_policy_at(p); p++) {
        struct scene a = make_scene(5), b = make_scene(5);
        for (int round = 0; round < 200; round++) {
            uint32_t host = decide_with(&a, muster_placement_policy_at(p));
            ck_assert_uint_eq(host, decide_with(&b, muster_placement_policy_at(p)));
            a.views[host - 1].in_flight = b.views[host - 1].in_flight += 1;
        }
        ck_assert_mem_eq(&a.random, &b.random, sizeof a.random);
        ck_assert_mem_eq(&a.memory, &b.memory, sizeof a.memory);
    }
}
END_TEST

START_TEST(policies_are_found_by_name)
{
    const char *const names[] = {"round-robin", "random", "least-loaded", "power-of-two",
                                 "affinity"};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(muster_placement_policy_at(i)->name, names[i]);
        ck_assert_ptr_eq(muster_placement_policy_named(names[i]), muster_placement_policy_at(i));
    }
    ck_assert_ptr_null(muster_placement_policy_at(5));
    ck_assert_ptr_null(muster_placement_policy_named("fastest"));
    ck_assert_ptr_null(muster_placement_policy_named(NULL));
}
END_TEST

/* ---- verdicts ---- */

START_TEST(without_any_host_the_request_decides_between_a_new_one_and_refusal)
{
    struct scene scene = make_scene(0);
    scene.request.may_wait = true;
    ck_assert_uint_eq(decide(&scene, "random"), 0);
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
    ck_assert_str_eq(scene.decision.reason, "there is no host");
    scene.request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS) |
                              MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_REMOTE);
    decide(&scene, "random");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_ON_NEW_HOST);
    ck_assert_int_eq(scene.decision.kind, MUSTER_PLACEMENT_PROCESS);
    scene.request.new_kinds = 1u << 31;
    decide(&scene, "random");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
}
END_TEST

START_TEST(a_host_that_is_starting_is_waited_for_before_another_is_started)
{
    struct scene scene = make_scene(2);
    scene.views[0].state = MUSTER_PLACEMENT_STARTING;
    scene.views[1].isolation = "other";
    scene.request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS);
    scene.request.may_wait = true;
    decide(&scene, "affinity");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_QUEUE);
    scene.request.may_wait = false;
    decide(&scene, "affinity");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_ON_NEW_HOST);
    scene.request.new_kinds = 0;
    decide(&scene, "affinity");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
}
END_TEST

START_TEST(a_full_host_is_waited_for_only_when_no_other_may_be_started)
{
    struct scene scene = make_scene(1);
    scene.views[0].worker_limit = scene.views[0].live_workers = 1;
    scene.request.may_wait = true;
    decide(&scene, "random");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_QUEUE);
    scene.request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_THREADS);
    decide(&scene, "random");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_ON_NEW_HOST);
}
END_TEST

START_TEST(nobody_waits_for_a_host_that_will_never_suit)
{
    struct scene scene = make_scene(4);
    scene.views[0].state = MUSTER_PLACEMENT_DEAD;
    scene.views[1].state = MUSTER_PLACEMENT_DRAINING;
    scene.views[2].isolation = "other";
    scene.views[3].trust = 1;
    scene.request.may_wait = true;
    decide(&scene, "random");
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
    ck_assert_str_eq(scene.decision.reason, "no host passed the filter");
}
END_TEST

struct mine {
    double scores[HOSTS];
    uint32_t never; /* the host that the filter refuses */
    enum muster_placement_verdict verdict;
};

static bool not_that_one(const struct muster_placement_request *request,
                         const struct muster_placement_host *host, uint64_t now_us, void *user_data)
{
    (void)request, (void)now_us;
    return host->id != ((struct mine *)user_data)->never;
}

static enum muster_placement_verdict score_mine(const struct muster_placement_question *question,
                                                const char **reason, void *user_data)
{
    struct mine *mine = user_data;
    for (size_t i = 0; i < question->candidate_count; i++) {
        question->candidates[i].scored = true;
        question->candidates[i].score = mine->scores[i];
    }
    *reason = "mine";
    return mine->verdict;
}

START_TEST(an_own_policy_filters_scores_and_names_its_reason)
{
    struct scene scene = make_scene(3);
    struct mine mine = {.scores = {-5, -1, -1}, .never = 1};
    const struct muster_placement_policy policy = {.size = sizeof policy,
                                                   .name = "mine",
                                                   .filter = not_that_one,
                                                   .score = score_mine,
                                                   .user_data = &mine};
    ck_assert_uint_eq(decide_with(&scene, &policy), 2);
    ck_assert_int_eq(scene.candidates[0].filter, MUSTER_PLACEMENT_FILTER_CUSTOM);
    ck_assert_str_eq(scene.decision.reason, "mine");
    mine.scores[1] = NAN;
    ck_assert_uint_eq(decide_with(&scene, &policy), 3);
    mine.scores[2] = NAN;
    ck_assert_uint_eq(decide_with(&scene, &policy), 0);
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
}
END_TEST

START_TEST(an_own_policy_may_give_only_verdicts_that_the_request_allows)
{
    struct scene scene = make_scene(1);
    struct mine mine = {.verdict = MUSTER_PLACE_ON_NEW_HOST};
    const struct muster_placement_policy policy = {
        .size = sizeof policy, .name = "mine", .score = score_mine, .user_data = &mine};
    decide_with(&scene, &policy);
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
    scene.request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_REMOTE);
    decide_with(&scene, &policy);
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_ON_NEW_HOST);
    ck_assert_int_eq(scene.decision.kind, MUSTER_PLACEMENT_REMOTE);
    mine.verdict = MUSTER_PLACE_QUEUE;
    decide_with(&scene, &policy);
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_REFUSE);
    scene.request.may_wait = true;
    decide_with(&scene, &policy);
    ck_assert_int_eq(scene.decision.verdict, MUSTER_PLACE_QUEUE);
    ck_assert_str_eq(scene.decision.reason, "mine");
}
END_TEST

START_TEST(ids_out_of_order_are_an_invalid_argument)
{
    const struct muster_placement_policy *policy = muster_placement_policy_named("random");
    struct scene scene = make_scene(2);
    scene.views[1].id = 1;
    ck_assert_int_eq(try_decide(&scene, policy), MUSTER_INVALID_ARGUMENT);
    scene.views[0].id = 0;
    ck_assert_int_eq(try_decide(&scene, policy), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(try_decide(&scene, NULL), MUSTER_INVALID_ARGUMENT);
}
END_TEST

/* ---- words ---- */

START_TEST(a_decision_is_one_line_with_candidates_scores_and_reason)
{
    struct scene scene = make_scene(3);
    scene.views[0].in_flight = 3;
    scene.views[1].in_flight = 1;
    scene.views[2].state = MUSTER_PLACEMENT_DRAINING;
    decide(&scene, "least-loaded");
    char text[256];
    const char *expected = "place 7: least-loaded: host 2 (least loaded); 1=3 2=1 3!draining";
    int length = muster_placement_format(&scene.request, &scene.decision, text, sizeof text);
    ck_assert_str_eq(text, expected);
    ck_assert_int_eq(length, (int)strlen(expected));
    for (size_t size = 1; size <= strlen(expected) + 1; size++) {
        char *exact = malloc(size);
        ck_assert_int_eq(muster_placement_format(&scene.request, &scene.decision, exact, size),
                         length);
        ck_assert_int_eq(strncmp(exact, expected, size - 1), 0);
        ck_assert_uint_eq(strlen(exact), size - 1);
        free(exact);
    }
    ck_assert_int_eq(muster_placement_format(&scene.request, &scene.decision, NULL, 0), length);
}
END_TEST

START_TEST(other_verdicts_have_their_words)
{
    struct scene scene = make_scene(1);
    scene.views[0].trust = 9;
    scene.request.new_kinds = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS);
    decide(&scene, "affinity");
    char text[256];
    muster_placement_format(&scene.request, &scene.decision, text, sizeof text);
    ck_assert_str_eq(
        text, "place 7: affinity: new host of kind process (no host passed the filter); 1!trust");
    for (int i = 0; i < MUSTER_PLACEMENT_FILTER_COUNT; i++)
        ck_assert_str_ne(muster_placement_filter_name((enum muster_placement_filter)i), "unknown");
    ck_assert_str_eq(muster_placement_filter_name(MUSTER_PLACEMENT_FILTER_COUNT), "unknown");
    ck_assert_str_eq(muster_placement_verdict_name(MUSTER_PLACE_REFUSE), "refuse");
}
END_TEST

/* ---- a known answer ---- */

/* Balls into bins: with one choice the fullest of n bins gets about ln n / ln ln n, with two about
 * ln ln n / ln 2; the gap is what power-of-two is for. */
START_TEST(power_of_two_spreads_far_better_than_random)
{
    enum { BINS = 400 };
    static struct muster_placement_host views[BINS];
    static const struct muster_placement_host *hosts[BINS];
    static struct muster_placement_candidate candidates[BINS];
    uint32_t fullest[2];
    for (int p = 0; p < 2; p++) {
        struct muster_placement_random random;
        struct muster_placement_memory memory = {{0}};
        struct muster_placement_request request = {.size = sizeof request};
        struct muster_placement_decision decision;
        muster_placement_random_seed(&random, 3);
        for (uint32_t i = 0; i < BINS; i++) {
            views[i] = (struct muster_placement_host){
                .size = sizeof views[i], .id = i + 1, .state = MUSTER_PLACEMENT_READY};
            hosts[i] = &views[i];
        }
        fullest[p] = 0;
        for (int ball = 0; ball < BINS; ball++) {
            ck_assert_int_eq(muster_placement_decide(
                                 muster_placement_policy_named(p ? "power-of-two" : "random"),
                                 &request, hosts, BINS, &random, &memory, 0, candidates, &decision),
                             MUSTER_OK);
            uint32_t load = ++views[decision.host - 1].in_flight;
            fullest[p] = load > fullest[p] ? load : fullest[p];
        }
    }
    ck_assert_uint_ge(fullest[0], 4);
    ck_assert_uint_le(fullest[1], 3);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("placement");
    TCase *tc = tcase_create("random");
    tcase_add_test(tc, the_generator_gives_the_published_numbers);
    tcase_add_test(tc, the_same_seed_gives_the_same_numbers_and_another_seed_others);
    tcase_add_test(tc, numbers_below_a_limit_are_even);
    suite_add_tcase(s, tc);

    tc = tcase_create("filter");
    tcase_add_loop_test(tc, no_policy_takes_a_host_that_the_hard_filter_refuses, 0, HARD_CASES);
    tcase_add_loop_test(tc, an_own_filter_and_scorer_cannot_take_it_either, 0, HARD_CASES);
    tcase_add_test(tc, limits_are_reached_not_passed);
    tcase_add_test(tc, equal_isolation_and_trust_pass_and_no_isolation_is_the_empty_one);
    suite_add_tcase(s, tc);

    tc = tcase_create("scorers");
    tcase_add_test(tc, round_robin_takes_each_host_in_turn_and_skips_those_that_left);
    tcase_add_test(tc, round_robin_shares_evenly_whatever_the_load);
    tcase_add_test(tc, random_reaches_every_host_that_passed_evenly);
    tcase_add_test(tc, least_loaded_compares_requests_a_core_then_workers_then_ids);
    tcase_add_test(tc, power_of_two_draws_two_different_hosts_and_takes_the_less_loaded);
    tcase_add_test(tc, affinity_takes_the_requesters_host_wherever_it_stands_in_the_list);
    tcase_add_test(tc, affinity_without_a_fitting_requester_is_least_loaded);
    tcase_add_test(tc, the_same_seed_decides_the_same_under_every_policy);
    tcase_add_test(tc, policies_are_found_by_name);
    tcase_add_test(tc, power_of_two_spreads_far_better_than_random);
    suite_add_tcase(s, tc);

    tc = tcase_create("verdicts");
    tcase_add_test(tc, without_any_host_the_request_decides_between_a_new_one_and_refusal);
    tcase_add_test(tc, a_host_that_is_starting_is_waited_for_before_another_is_started);
    tcase_add_test(tc, a_full_host_is_waited_for_only_when_no_other_may_be_started);
    tcase_add_test(tc, nobody_waits_for_a_host_that_will_never_suit);
    tcase_add_test(tc, an_own_policy_filters_scores_and_names_its_reason);
    tcase_add_test(tc, an_own_policy_may_give_only_verdicts_that_the_request_allows);
    tcase_add_test(tc, ids_out_of_order_are_an_invalid_argument);
    suite_add_tcase(s, tc);

    tc = tcase_create("words");
    tcase_add_test(tc, a_decision_is_one_line_with_candidates_scores_and_reason);
    tcase_add_test(tc, other_verdicts_have_their_words);
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
