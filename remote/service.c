/* remote/service.c - the hosts, their load, and the way from a placement to a worker.
 *
 * Thread: coordinator.  Promise: a worker that was started is counted on its host until its `gone`
 * was handed in, and place() allocates nothing, so that only a policy can refuse. */
#include "remote/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUARANTINE_FIRST_US 10000000u
#define QUARANTINE_LONGEST_US 300000000u
#define STREAK_GAP_US 600000000u

struct muster__service {
    const struct muster_placement_policy *policy;
    struct muster_placement_random random;
    struct muster_placement_memory memory;
    muster__new_host_fn *new_host;
    unsigned shared_processes;
    void (*decided)(const char *line, void *user_data);
    void *user_data;

    /* In order of ids, which are never used again. */
    struct muster__host **hosts;
    const struct muster_placement_host **views;
    struct muster_placement_candidate *candidates;
    size_t host_count;
    uint32_t last_id;
    char *line; /* NULL: nobody listens */
    size_t line_size;
};

static void name_the_policies(struct muster_error *error, const char *asked)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; muster_placement_policy_at(i) && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 muster_placement_policy_at(i)->name);
    muster_error_set(error, MUSTER_INVALID_ARGUMENT,
                     "there is no placement policy \"%s\"; there are %s", asked, names);
}

enum muster_status muster__service_new(const struct muster__service_options *options,
                                       struct muster__service **ret_service,
                                       struct muster_error *error)
{
    const char *name = options->policy_name ? options->policy_name : "least-loaded";
    const struct muster_placement_policy *policy =
        options->policy ? options->policy : muster_placement_policy_named(name);
    if (!policy || !policy->score) {
        if (error && !policy)
            name_the_policies(error, name);
        else if (error)
            muster_error_set(error, MUSTER_INVALID_ARGUMENT, "the placement policy has no scorer");
        return MUSTER_INVALID_ARGUMENT;
    }
    struct muster__service *service = calloc(1, sizeof *service);
    if (!service)
        return MUSTER_NO_MEMORY;
    service->policy = policy;
    service->new_host = options->new_host;
    service->shared_processes = options->shared_processes ? options->shared_processes : 1;
    service->decided = options->decided;
    service->user_data = options->user_data;
    muster_placement_random_seed(&service->random, options->seed);
    *ret_service = service;
    return MUSTER_OK;
}

void muster__service_destroy(struct muster__service *service)
{
    if (!service)
        return;
    for (size_t i = 0; i < service->host_count; i++) {
        struct muster__host *host = service->hosts[i];
        while (host->workers) {
            struct muster__remote_worker *worker = host->workers;
            MUSTER_CHECK(worker->abandoned);
            host->workers = worker->next;
            worker->class->release(worker);
        }
        host->class->destroy(host);
    }
    free(service->hosts);
    free(service->views);
    free(service->candidates);
    free(service->line);
    free(service);
}

/* ---- hosts ---- */

/* Room for one host more; what it got it keeps, also when the next allocation fails. */
static bool reserve_host(struct muster__service *service)
{
    size_t count = service->host_count + 1;
    struct muster__host **hosts = realloc(service->hosts, count * sizeof *hosts);
    if (!hosts)
        return false;
    service->hosts = hosts;
    const struct muster_placement_host **views = realloc(service->views, count * sizeof *views);
    if (!views)
        return false;
    service->views = views;
    struct muster_placement_candidate *candidates =
        realloc(service->candidates, count * sizeof *candidates);
    if (!candidates)
        return false;
    service->candidates = candidates;
    if (!service->decided)
        return true;
    size_t line_size = 256 + 32 * count;
    char *line = realloc(service->line, line_size);
    if (!line)
        return false;
    service->line = line;
    service->line_size = line_size;
    return true;
}

enum muster_status muster__service_add_host(struct muster__service *service,
                                            struct muster__host **take_host)
{
    if (service->last_id == UINT32_MAX || !reserve_host(service))
        return MUSTER_NO_MEMORY;
    struct muster__host *host = *take_host;
    *take_host = NULL;
    service->hosts[service->host_count] = host;
    service->views[service->host_count] = &host->view;
    host->place = service->host_count++;
    host->view.size = sizeof host->view;
    host->view.id = ++service->last_id;
    return MUSTER_OK;
}

static struct muster__host *find_host(const struct muster__service *service, uint32_t id)
{
    size_t low = 0, high = service->host_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (service->views[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < service->host_count && service->views[low]->id == id ? service->hosts[low] : NULL;
}

static void remove_host(struct muster__service *service, struct muster__host *host)
{
    size_t after = service->host_count - host->place - 1;
    memmove(&service->hosts[host->place], &service->hosts[host->place + 1], after * sizeof(host));
    memmove(&service->views[host->place], &service->views[host->place + 1],
            after * sizeof(struct muster_placement_host *));
    service->host_count--;
    for (size_t i = host->place; i < service->host_count; i++)
        service->hosts[i]->place = i;
    host->class->destroy(host);
}

/* What died without a worker is taken out. */
static void refresh_hosts(struct muster__service *service, uint64_t now_us)
{
    for (size_t i = service->host_count; i-- > 0;) {
        struct muster__host *host = service->hosts[i];
        if (host->class->refresh)
            host->class->refresh(host, now_us);
        if (host->class->refresh && host->view.state == MUSTER_PLACEMENT_DEAD && !host->workers)
            remove_host(service, host);
    }
}

void muster__service_drain(struct muster__service *service, uint32_t id)
{
    struct muster__host *host = find_host(service, id);
    if (!host)
        return;
    if (host->view.state != MUSTER_PLACEMENT_DEAD)
        host->view.state = MUSTER_PLACEMENT_DRAINING;
    host->class->drain(host);
}

static enum muster_status make_host(struct muster__service *service,
                                    const struct muster_placement_request *request,
                                    enum muster_placement_kind kind, uint32_t *ret_host);

static bool succeed(struct muster__service *service, struct muster__host *host)
{
    const struct muster_placement_request request = {.size = sizeof request,
                                                     .isolation = host->view.isolation,
                                                     .trust = host->view.trust};
    return make_host(service, &request, host->view.kind, &host->successor) == MUSTER_OK;
}

uint32_t muster__service_recycle(struct muster__service *service, uint64_t now_us)
{
    refresh_hosts(service, now_us);
    for (size_t i = 0; i < service->host_count; i++) {
        struct muster__host *host = service->hosts[i];
        if (!host->class->is_worn || host->view.state != MUSTER_PLACEMENT_READY ||
            !host->class->is_worn(host, now_us))
            continue;
        if (!find_host(service, host->successor) && !succeed(service, host))
            continue; /* no room for one: it stays */
        struct muster__host *successor = find_host(service, host->successor);
        if (successor->class->is_ready && !successor->class->is_ready(successor))
            continue;
        muster__service_drain(service, host->view.id);
        return host->view.id;
    }
    return 0;
}

void muster__service_crashed(struct muster__service *service, uint32_t id, uint64_t now_us)
{
    struct muster__host *host = find_host(service, id);
    if (!host)
        return;
    struct muster_placement_host *view = &host->view;
    if (view->crashes > 0 && now_us - view->last_crash_us > STREAK_GAP_US)
        host->crash_streak = 0;
    uint64_t rest_us = QUARANTINE_FIRST_US;
    for (unsigned i = 0; i < host->crash_streak && rest_us < QUARANTINE_LONGEST_US; i++)
        rest_us *= 2;
    if (rest_us > QUARANTINE_LONGEST_US)
        rest_us = QUARANTINE_LONGEST_US;
    host->crash_streak++;
    view->crashes++;
    view->last_crash_us = now_us;
    view->quarantined_until_us = now_us + rest_us;
}

const struct muster_placement_host *muster__service_view(const struct muster__service *service,
                                                         size_t i)
{
    return i < service->host_count ? service->views[i] : NULL;
}

/* ---- load ---- */

static void count_load(struct muster__remote_worker *worker, uint32_t in_flight, size_t memory)
{
    struct muster_placement_host *view = &worker->host->view;
    view->in_flight += in_flight - worker->in_flight;
    view->memory_used += memory - worker->memory;
    worker->in_flight = in_flight;
    worker->memory = memory;
}

static void look_at(struct muster__remote_worker *worker)
{
    struct muster__worker_stats stats = {0};
    worker->class->stats(worker, &stats);
    count_load(worker, stats.in_flight, stats.memory);
}

/* Looks at some workers more; a round that ends says how old its oldest figure is. */
static void look_around(struct muster__host *host, uint64_t now_us)
{
    struct muster__remote_worker *at = host->look_next;
    if (!at) {
        at = host->workers;
        host->look_began_us = now_us;
    }
    for (unsigned looks = 0; at && looks < MUSTER__SERVICE_LOOKS; looks++, at = at->next)
        look_at(at);
    host->look_next = at;
    if (!at)
        host->looked_us = host->look_began_us;
    host->view.load_age_us = now_us - host->looked_us;
}

static void link_worker(struct muster__host *host, struct muster__remote_worker *worker)
{
    worker->host = host;
    worker->in_flight = 0;
    worker->memory = 0;
    worker->previous = NULL;
    worker->next = host->workers;
    if (host->workers)
        host->workers->previous = worker;
    host->workers = worker;
    host->view.live_workers++;
}

static void unlink_worker(struct muster__host *host, struct muster__remote_worker *worker)
{
    count_load(worker, 0, 0);
    if (host->look_next == worker)
        host->look_next = worker->next;
    *(worker->previous ? &worker->previous->next : &host->workers) = worker->next;
    if (worker->next)
        worker->next->previous = worker->previous;
    host->view.live_workers--;
}

/* ---- from a request to a worker ---- */

/* Too few processes to share, and none of them is empty: the policy's choice gives way to a new one. */
static void spread(const struct muster__service *service,
                   const struct muster_placement_request *asked,
                   struct muster_placement_decision *decision)
{
    unsigned usable = 0;
    if (decision->verdict != MUSTER_PLACE_ON_HOST || service->shared_processes < 2 ||
        !(asked->new_kinds & MUSTER_PLACEMENT_KIND_BIT(MUSTER_PLACEMENT_PROCESS)) ||
        (asked->isolation && *asked->isolation)) /* those who must be together are */
        return;
    for (size_t i = 0; i < decision->candidate_count; i++) {
        const struct muster_placement_candidate *candidate = &decision->candidates[i];
        if (candidate->filter != MUSTER_PLACEMENT_FILTER_PASSED)
            continue;
        if (candidate->host->kind != MUSTER_PLACEMENT_PROCESS || !candidate->host->live_workers)
            return;
        usable++;
    }
    if (usable >= service->shared_processes)
        return;
    decision->verdict = MUSTER_PLACE_ON_NEW_HOST;
    decision->kind = MUSTER_PLACEMENT_PROCESS;
    decision->reason = "few hosts, and none is empty";
}

static enum muster_status make_host(struct muster__service *service,
                                    const struct muster_placement_request *request,
                                    enum muster_placement_kind kind, uint32_t *ret_host)
{
    struct muster__host *host = NULL;
    enum muster_status status = service->new_host(kind, request, &host, service->user_data);
    if (status != MUSTER_OK)
        return status;
    struct muster__host *made = host;
    status = muster__service_add_host(service, &host);
    if (status != MUSTER_OK)
        made->class->destroy(made);
    else
        *ret_host = made->view.id;
    return status;
}

enum muster_status muster__service_place(struct muster__service *service,
                                         const struct muster_placement_request *request,
                                         uint64_t now_us, uint32_t *ret_host)
{
    refresh_hosts(service, now_us);
    for (size_t i = 0; i < service->host_count; i++)
        look_around(service->hosts[i], now_us);
    struct muster_placement_request asked = *request;
    if (!service->new_host)
        asked.new_kinds = 0;
    asked.may_wait = false;
    struct muster_placement_decision decision;
    enum muster_status status = muster_placement_decide(
        service->policy, &asked, service->views, service->host_count, &service->random,
        &service->memory, now_us, service->candidates, &decision);
    MUSTER_CHECK(status == MUSTER_OK);
    spread(service, &asked, &decision);
    if (service->line) {
        (void)muster_placement_format(&asked, &decision, service->line, service->line_size);
        service->decided(service->line, service->user_data);
    }
    if (decision.verdict == MUSTER_PLACE_ON_NEW_HOST)
        return make_host(service, &asked, decision.kind, ret_host);
    if (decision.verdict != MUSTER_PLACE_ON_HOST)
        return MUSTER_REFUSED;
    *ret_host = decision.host;
    return MUSTER_OK;
}

enum muster_status muster__service_start(struct muster__service *service, uint32_t id,
                                         const struct muster__worker_options *options,
                                         struct muster__remote_worker **ret_worker)
{
    struct muster__host *host = find_host(service, id);
    if (!host || !host->class->try_take(host))
        return MUSTER_REFUSED;
    struct muster__remote_worker *worker = NULL;
    enum muster_status status = host->class->start(host, options, &worker);
    if (status != MUSTER_OK)
        return status;
    link_worker(host, worker);
    *ret_worker = worker;
    return MUSTER_OK;
}

/* Ends that tell against the script: a policy may look at them.  They put no host into quarantine,
 * since on threads that would punish every worker for one. */
static bool is_a_crash(enum muster_status status)
{
    return status == MUSTER_TURN_LIMIT || status == MUSTER_MEMORY_LIMIT || status == MUSTER_WEDGED;
}

void muster__service_gone(struct muster__service *service,
                          struct muster__remote_worker *take_worker, enum muster_status status,
                          uint64_t now_us)
{
    struct muster__host *host = take_worker->host;
    MUSTER_CHECK(service->hosts[host->place] == host);
    unlink_worker(host, take_worker);
    if (is_a_crash(status)) {
        host->view.crashes++;
        host->view.last_crash_us = now_us;
    }
    host->class->give_back(host);
    take_worker->class->release(take_worker);
}
