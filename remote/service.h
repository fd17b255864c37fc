/* remote/service.h - the RemoteWorkerService: where a worker lives, and how it gets there.  Internal.
 *
 * Holds the hosts and the placement policy.  place() asks the policy and says which host; start() takes
 * that host in one step and starts the worker there.  Thread: coordinator, for all of it.
 *
 * The load that a policy sees is the service's book-keeping: live workers are counted at start and gone;
 * requests in flight and memory are read from the workers at each placement, at most
 * MUSTER__SERVICE_LOOKS of each host in turn, so that a placement costs the same however many workers
 * there are; the view says how old the figures are (load_age_us).
 */
#ifndef MUSTER_SERVICE_H
#define MUSTER_SERVICE_H

#include "remote/host.h"

#define MUSTER__SERVICE_LOOKS 32

struct muster__service;

/* Makes hosts while the service runs.  Thread: coordinator.  What it makes takes workers at once. */
typedef enum muster_status muster__new_host_fn(enum muster_placement_kind kind,
                                               const struct muster_placement_request *request,
                                               struct muster__host **ret_host, void *user_data);

struct muster__service_options {
    muster__new_host_fn *new_host; /* NULL: the hosts are those that were added */
    /* Hosts of processes that workers share: with fewer, a new one is made rather than a used one taken;
     * 0: one. */
    unsigned shared_processes;
    const char *policy_name;                       /* NULL: "least-loaded" */
    const struct muster_placement_policy *policy;  /* instead; borrowed */
    uint64_t seed;
    /* Each decision, as one line; NULL: none is formatted. */
    void (*decided)(const char *line, void *user_data);
    void *user_data; /* of both */
};

/* INVALID_ARGUMENT for an unknown policy; `error` names the known ones. */
MUSTER_MUST_CHECK enum muster_status muster__service_new(const struct muster__service_options *options,
                                                         struct muster__service **ret_service,
                                                         struct muster_error *error);
/* Every worker is gone, or was abandoned.  Destroys the hosts.  NULL: no-op. */
void muster__service_destroy(struct muster__service *service);
/* Takes the host; its id, from 1, is in view.id afterwards. */
MUSTER_MUST_CHECK enum muster_status muster__service_add_host(struct muster__service *service,
                                                              struct muster__host **take_host);

/* OK: *ret_host is the id, also of a host that was made for it; REFUSED, or why none could be made.  The
 * service keeps no queue: what the request says of waiting does not count here.  Hosts that died and have
 * no worker left are destroyed here. */
MUSTER_MUST_CHECK enum muster_status muster__service_place(struct muster__service *service,
                                                           const struct muster_placement_request *request,
                                                           uint64_t now_us, uint32_t *ret_host);
/* REFUSED: the host began to die: place again.  Another failure is the host's; nothing is started. */
MUSTER_MUST_CHECK enum muster_status muster__service_start(struct muster__service *service, uint32_t host,
                                                           const struct muster__worker_options *options,
                                                           struct muster__remote_worker **ret_worker);
/* The worker's `gone` was heard; releases it. */
void muster__service_gone(struct muster__service *service, struct muster__remote_worker *take_worker,
                          enum muster_status status, uint64_t now_us);

/* The host takes nothing more and is not placed on any more.  Unknown ids are fine. */
void muster__service_drain(struct muster__service *service, uint32_t host);
/* Hosts that are worn are replaced: one like it is made first, and when that is ready the old one is drained.  The id of a host
 * that was drained just now, whose workers are to move; 0: none, look again later. */
uint32_t muster__service_recycle(struct muster__service *service, uint64_t now_us);
/* The host itself crashed, not a worker on it: it is in quarantine for 10 s, doubled for each crash that
 * follows within 10 minutes of the one before, up to 5 minutes. */
void muster__service_crashed(struct muster__service *service, uint32_t host, uint64_t now_us);
/* For tables and tests; in order of ids; NULL: past the end. */
const struct muster_placement_host *muster__service_view(const struct muster__service *service, size_t i);

#endif
