/* remote/placement.c - the hard filter, the built-in scorers, and the decision made of both.
 *
 * Any thread.  Promise: no clock, no global state, no order of pointers; the same arguments, random
 * state and memory give the same decision. */
#include "remote/placement.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- random numbers ---- */

static uint64_t rotate_left(uint64_t value, int by)
{
    return (value << by) | (value >> (64 - by));
}

void muster_placement_random_seed(struct muster_placement_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        random->state[i] = z ^ (z >> 31);
    }
}

uint64_t muster_placement_random_next(struct muster_placement_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t muster_placement_random_below(struct muster_placement_random *random, uint64_t limit)
{
    if (limit == 0)
        return 0;
    /* 2^64 mod limit: these first numbers are too few for a full round. */
    uint64_t uneven = (UINT64_MAX - limit + 1) % limit;
    uint64_t drawn;
    do
        drawn = muster_placement_random_next(random);
    while (drawn < uneven);
    return drawn % limit;
}

double muster_placement_random_unit(struct muster_placement_random *random)
{
    return (double)(muster_placement_random_next(random) >> 11) * 0x1p-53;
}

/* ---- the hard filter ---- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool lacks_memory(const struct muster_placement_request *request,
                         const struct muster_placement_host *host)
{
    if (host->memory_limit == 0)
        return false;
    return host->memory_used >= host->memory_limit ||
           request->memory > host->memory_limit - host->memory_used;
}

/* What does not pass with time. */
static enum muster_placement_filter filter_for_good(const struct muster_placement_request *request,
                                                    const struct muster_placement_host *host)
{
    if (host->state == MUSTER_PLACEMENT_DEAD)
        return MUSTER_PLACEMENT_FILTER_DEAD;
    if (host->state == MUSTER_PLACEMENT_DRAINING)
        return MUSTER_PLACEMENT_FILTER_DRAINING;
    if (!same_text(request->isolation, host->isolation))
        return MUSTER_PLACEMENT_FILTER_ISOLATION;
    if (request->kinds != 0 && !(request->kinds & MUSTER_PLACEMENT_KIND_BIT(host->kind)))
        return MUSTER_PLACEMENT_FILTER_KIND;
    if (request->trust != host->trust)
        return MUSTER_PLACEMENT_FILTER_TRUST;
    return MUSTER_PLACEMENT_FILTER_PASSED;
}

static enum muster_placement_filter filter_for_now(const struct muster_placement_request *request,
                                                   const struct muster_placement_host *host,
                                                   uint64_t now_us)
{
    if (now_us < host->quarantined_until_us)
        return MUSTER_PLACEMENT_FILTER_QUARANTINE;
    if (host->state != MUSTER_PLACEMENT_READY)
        return MUSTER_PLACEMENT_FILTER_STARTING;
    if (host->worker_limit != 0 && host->live_workers >= host->worker_limit)
        return MUSTER_PLACEMENT_FILTER_FULL;
    if (lacks_memory(request, host))
        return MUSTER_PLACEMENT_FILTER_NO_MEMORY;
    return MUSTER_PLACEMENT_FILTER_PASSED;
}

enum muster_placement_filter muster_placement_filter(const struct muster_placement_request *request,
                                                     const struct muster_placement_host *host,
                                                     uint64_t now_us)
{
    enum muster_placement_filter filter = filter_for_good(request, host);
    return filter != MUSTER_PLACEMENT_FILTER_PASSED ? filter
                                                    : filter_for_now(request, host, now_us);
}

/* The policy's own filter comes between the two, so that a host that it never takes is not waited
 * for. */
static enum muster_placement_filter filter_all(const struct muster_placement_policy *policy,
                                               const struct muster_placement_request *request,
                                               const struct muster_placement_host *host,
                                               uint64_t now_us)
{
    enum muster_placement_filter filter = filter_for_good(request, host);
    if (filter != MUSTER_PLACEMENT_FILTER_PASSED)
        return filter;
    if (policy->filter && !policy->filter(request, host, now_us, policy->user_data))
        return MUSTER_PLACEMENT_FILTER_CUSTOM;
    return filter_for_now(request, host, now_us);
}

/* ---- the built-in scorers ---- */

double muster_placement_load(const struct muster_placement_host *host)
{
    /* Live workers decide among hosts that are equally busy, and weigh nothing beside a request:
     * the fraction stays below one. */
    double workers = host->live_workers;
    double load = host->in_flight + workers / (workers + 1024);
    return load / (host->cores ? host->cores : 1);
}

static void give_score(struct muster_placement_candidate *candidate, double score)
{
    candidate->scored = true;
    candidate->score = score;
}

static enum muster_placement_verdict
score_least_loaded(const struct muster_placement_question *question, const char **reason,
                   void *user_data)
{
    (void)user_data;
    for (size_t i = 0; i < question->candidate_count; i++) {
        struct muster_placement_candidate *candidate = &question->candidates[i];
        if (candidate->filter == MUSTER_PLACEMENT_FILTER_PASSED)
            give_score(candidate, muster_placement_load(candidate->host));
    }
    *reason = "least loaded";
    return MUSTER_PLACE_ON_HOST;
}

/* The score is how many hosts that passed come before it, going up by id from the last one. */
static enum muster_placement_verdict
score_round_robin(const struct muster_placement_question *question, const char **reason,
                  void *user_data)
{
    (void)user_data;
    uint64_t *last = &question->memory->words[0];
    size_t above = 0, rank = 0;
    for (size_t i = 0; i < question->candidate_count; i++)
        above += question->candidates[i].filter == MUSTER_PLACEMENT_FILTER_PASSED &&
                 question->candidates[i].host->id > *last;
    uint64_t next = 0;
    for (size_t i = 0; i < question->candidate_count; i++) {
        struct muster_placement_candidate *candidate = &question->candidates[i];
        if (candidate->filter != MUSTER_PLACEMENT_FILTER_PASSED)
            continue;
        size_t turn = (rank++ + above) % question->passed_count;
        give_score(candidate, (double)turn);
        if (turn == 0)
            next = candidate->host->id;
    }
    *last = next;
    *reason = "its turn";
    return MUSTER_PLACE_ON_HOST;
}

/* The candidate that is number `n` among those that passed. */
static struct muster_placement_candidate *
passed_at(const struct muster_placement_question *question, size_t n)
{
    struct muster_placement_candidate *candidate = question->candidates;
    for (;; candidate++)
        if (candidate->filter == MUSTER_PLACEMENT_FILTER_PASSED && n-- == 0)
            return candidate;
}

static enum muster_placement_verdict score_random(const struct muster_placement_question *question,
                                                  const char **reason, void *user_data)
{
    (void)user_data;
    give_score(passed_at(question,
                         muster_placement_random_below(question->random, question->passed_count)),
               0);
    *reason = "drawn";
    return MUSTER_PLACE_ON_HOST;
}

static enum muster_placement_verdict
score_power_of_two(const struct muster_placement_question *question, const char **reason,
                   void *user_data)
{
    (void)user_data;
    size_t first = muster_placement_random_below(question->random, question->passed_count),
           second = first;
    if (question->passed_count > 1) {
        second = muster_placement_random_below(question->random, question->passed_count - 1);
        second += second >= first;
    }
    struct muster_placement_candidate *one = passed_at(question, first);
    struct muster_placement_candidate *other = passed_at(question, second);
    give_score(one, muster_placement_load(one->host));
    give_score(other, muster_placement_load(other->host));
    *reason = "less loaded of two drawn";
    return MUSTER_PLACE_ON_HOST;
}

static enum muster_placement_verdict
score_affinity(const struct muster_placement_question *question, const char **reason,
               void *user_data)
{
    (void)score_least_loaded(question, reason, user_data);
    for (size_t i = 0; i < question->candidate_count; i++) {
        struct muster_placement_candidate *candidate = &question->candidates[i];
        if (candidate->scored && candidate->host->id == question->request->requester) {
            give_score(candidate, -1);
            *reason = "the requester's host";
        }
    }
    return MUSTER_PLACE_ON_HOST;
}

static const struct muster_placement_policy policies[] = {
    {.size = sizeof policies[0], .name = "round-robin", .score = score_round_robin},
    {.size = sizeof policies[0], .name = "random", .score = score_random},
    {.size = sizeof policies[0], .name = "least-loaded", .score = score_least_loaded},
    {.size = sizeof policies[0], .name = "power-of-two", .score = score_power_of_two},
    {.size = sizeof policies[0], .name = "affinity", .score = score_affinity},
};

const struct muster_placement_policy *muster_placement_policy_at(size_t i)
{
    return i < sizeof policies / sizeof policies[0] ? &policies[i] : NULL;
}

const struct muster_placement_policy *muster_placement_policy_named(const char *name)
{
    for (size_t i = 0; name && muster_placement_policy_at(i); i++)
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i];
    return NULL;
}

/* ---- the decision ---- */

static bool ids_ascend(const struct muster_placement_host *const *hosts, size_t host_count)
{
    uint32_t last = 0;
    for (size_t i = 0; i < host_count; i++) {
        if (!hosts[i] || hosts[i]->id <= last)
            return false;
        last = hosts[i]->id;
    }
    return true;
}

static void refuse(struct muster_placement_decision *decision, const char *reason)
{
    decision->verdict = MUSTER_PLACE_REFUSE;
    decision->reason = reason;
}

static void ask_for_new_host(const struct muster_placement_request *request,
                             struct muster_placement_decision *decision, const char *reason)
{
    unsigned kind = MUSTER_PLACEMENT_THREADS;
    while (!(request->new_kinds & MUSTER_PLACEMENT_KIND_BIT(kind)))
        kind++;
    decision->verdict = MUSTER_PLACE_ON_NEW_HOST;
    decision->kind = (enum muster_placement_kind)kind;
    decision->reason = reason;
}

static bool new_host_is_allowed(const struct muster_placement_request *request)
{
    const uint32_t known = MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_THREADS) |
                           MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS) |
                           MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_REMOTE);
    return (request->new_kinds & known) != 0;
}

static void decide_without_host(const struct muster_placement_request *request,
                                struct muster_placement_decision *decision)
{
    bool starting = false, later = false;
    for (size_t i = 0; i < decision->candidate_count; i++) {
        enum muster_placement_filter filter = decision->candidates[i].filter;
        starting = starting || filter == MUSTER_PLACEMENT_FILTER_STARTING;
        later = later || filter >= MUSTER_PLACEMENT_FILTER_QUARANTINE;
    }
    if (starting && request->may_wait) {
        decision->verdict = MUSTER_PLACE_QUEUE;
        decision->reason = "a host that suits is starting";
    } else if (new_host_is_allowed(request)) {
        ask_for_new_host(request, decision, "no host passed the filter");
    } else if (later && request->may_wait) {
        decision->verdict = MUSTER_PLACE_QUEUE;
        decision->reason = "a host that suits has no room yet";
    } else {
        refuse(decision,
               decision->candidate_count ? "no host passed the filter" : "there is no host");
    }
}

/* Candidates come in order of id: the first of the lowest is the one. */
static const struct muster_placement_candidate *
lowest(const struct muster_placement_candidate *candidates, size_t count)
{
    const struct muster_placement_candidate *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (candidates[i].filter == MUSTER_PLACEMENT_FILTER_PASSED && candidates[i].scored &&
            !isnan(candidates[i].score) && (!best || candidates[i].score < best->score))
            best = &candidates[i];
    return best;
}

static void apply_verdict(const struct muster_placement_request *request,
                          enum muster_placement_verdict verdict, const char *reason,
                          struct muster_placement_decision *decision)
{
    const struct muster_placement_candidate *best =
        lowest(decision->candidates, decision->candidate_count);
    decision->verdict = verdict;
    decision->reason = reason;
    if (verdict == MUSTER_PLACE_ON_HOST && best)
        decision->host = best->host->id;
    else if (verdict == MUSTER_PLACE_ON_HOST)
        refuse(decision, "the policy scored no host");
    else if (verdict == MUSTER_PLACE_ON_NEW_HOST && new_host_is_allowed(request))
        ask_for_new_host(request, decision, reason);
    else if (verdict != MUSTER_PLACE_REFUSE &&
             !(verdict == MUSTER_PLACE_QUEUE && request->may_wait))
        refuse(decision, "the policy's verdict is not allowed");
}

enum muster_status muster_placement_decide(
    const struct muster_placement_policy *policy, const struct muster_placement_request *request,
    const struct muster_placement_host *const *hosts, size_t host_count,
    struct muster_placement_random *random, struct muster_placement_memory *memory, uint64_t now_us,
    struct muster_placement_candidate *candidates, struct muster_placement_decision *ret_decision)
{
    if (!policy || !policy->score || !request || !random || !memory || !ret_decision ||
        (host_count > 0 && (!hosts || !candidates)) || !ids_ascend(hosts, host_count))
        return MUSTER_INVALID_ARGUMENT;
    size_t passed = 0;
    for (size_t i = 0; i < host_count; i++) {
        candidates[i] = (struct muster_placement_candidate){
            .host = hosts[i], .filter = filter_all(policy, request, hosts[i], now_us)};
        passed += candidates[i].filter == MUSTER_PLACEMENT_FILTER_PASSED;
    }
    struct muster_placement_decision decision = {.policy = policy->name ? policy->name : "",
                                                 .candidates = candidates,
                                                 .candidate_count = host_count};
    if (passed == 0) {
        decide_without_host(request, &decision);
    } else {
        const struct muster_placement_question question = {.size = sizeof question,
                                                           .request = request,
                                                           .candidates = candidates,
                                                           .candidate_count = host_count,
                                                           .passed_count = passed,
                                                           .random = random,
                                                           .memory = memory,
                                                           .now_us = now_us};
        const char *reason = "lowest score";
        enum muster_placement_verdict verdict =
            policy->score(&question, &reason, policy->user_data);
        apply_verdict(request, verdict, reason, &decision);
    }
    *ret_decision = decision;
    return MUSTER_OK;
}

/* ---- words ---- */

const char *muster_placement_filter_name(enum muster_placement_filter filter)
{
    static const char *const names[] = {
#define MUSTER_PLACEMENT_SYMBOL(name, text) text,
        MUSTER_PLACEMENT_FILTER_LIST(MUSTER_PLACEMENT_SYMBOL)
#undef MUSTER_PLACEMENT_SYMBOL
    };
    return (size_t)filter < MUSTER_PLACEMENT_FILTER_COUNT ? names[filter] : "unknown";
}

const char *muster_placement_verdict_name(enum muster_placement_verdict verdict)
{
    static const char *const names[] = {"host", "new host", "queue", "refuse"};
    return (size_t)verdict < sizeof names / sizeof names[0] ? names[verdict] : "unknown";
}

/* Counts what did not fit, as snprintf does. */
struct line {
    char *text;
    size_t size;
    int length;
};

static void put(struct line *line, const char *format, ...) MUSTER_PRINTF(2, 3);

static void put(struct line *line, const char *format, ...)
{
    size_t used = (size_t)line->length < line->size ? (size_t)line->length : line->size;
    va_list arguments;
    va_start(arguments, format);
    int more =
        vsnprintf(line->text ? line->text + used : NULL, line->size - used, format, arguments);
    va_end(arguments);
    if (more > 0)
        line->length += more;
}

int muster_placement_format(const struct muster_placement_request *request,
                            const struct muster_placement_decision *decision, char *text,
                            size_t size)
{
    static const char *const kinds[] = {"threads", "process", "remote"};
    struct line line = {text, text ? size : 0, 0};
    put(&line, "place %llu: %s: %s", (unsigned long long)request->id, decision->policy,
        muster_placement_verdict_name(decision->verdict));
    if (decision->verdict == MUSTER_PLACE_ON_HOST)
        put(&line, " %u", (unsigned)decision->host);
    else if (decision->verdict == MUSTER_PLACE_ON_NEW_HOST)
        put(&line, " of kind %s", kinds[decision->kind]);
    put(&line, " (%s)", decision->reason);
    for (size_t i = 0; i < decision->candidate_count; i++) {
        const struct muster_placement_candidate *candidate = &decision->candidates[i];
        put(&line, "%s%u", i ? " " : "; ", (unsigned)candidate->host->id);
        if (candidate->filter != MUSTER_PLACEMENT_FILTER_PASSED)
            put(&line, "!%s", muster_placement_filter_name(candidate->filter));
        else if (candidate->scored)
            put(&line, "=%.4g", candidate->score);
        else
            put(&line, "=-");
    }
    return line.length;
}
