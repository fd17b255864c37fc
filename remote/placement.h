/* remote/placement.h - where a worker goes: hard filters, then a scorer.
 *
 * Public: installed as <muster/placement.h>.
 *
 *   (request, hosts, random, now) -> host | new host | queue | refuse, with scores and a reason
 *
 * Everything here is a pure function: const views go in, a decision comes out; random numbers, the
 * time and the policy's small memory are passed in, and nothing is kept, so that one policy decides
 * for live workers and under a virtual clock, and the same input gives the same decision.  Thread:
 * any, for every function here; two decisions that share a memory or a random state come one after
 * the other.
 *
 * The hard filter (dead, draining, isolation, kind, trust, quarantine, and whether there is room)
 * is always asked first and no policy can trade it away: a scorer sees only hosts that passed, and
 * a filter of your own can only refuse more.
 *
 * A score is a cost: the lowest wins, and among equals the lowest host id.
 */
#ifndef MUSTER_PLACEMENT_H
#define MUSTER_PLACEMENT_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- random numbers: xoshiro256**, seeded by splitmix64; not for secrets ---- */

struct muster_placement_random {
    uint64_t state[4];
};

MUSTER_API void muster_placement_random_seed(struct muster_placement_random *random, uint64_t seed);
MUSTER_API uint64_t muster_placement_random_next(struct muster_placement_random *random);
/* Uniform below `limit`, without bias; 0 when the limit is 0. */
MUSTER_API uint64_t muster_placement_random_below(struct muster_placement_random *random,
                                                  uint64_t limit);
/* Uniform in [0, 1). */
MUSTER_API double muster_placement_random_unit(struct muster_placement_random *random);

/* ---- what goes in ---- */

enum muster_placement_kind {
    MUSTER_PLACEMENT_THREADS,
    MUSTER_PLACEMENT_PROCESS,
    MUSTER_PLACEMENT_REMOTE
};
#define MUSTER_PLACEMENT_KIND_BIT(kind) (1u << (kind))

enum muster_placement_state {
    MUSTER_PLACEMENT_STARTING,
    MUSTER_PLACEMENT_READY,
    MUSTER_PLACEMENT_DRAINING, /* finishes what it has and takes nothing more */
    MUSTER_PLACEMENT_DEAD
};

/* A host as a policy sees it.  Zero is the harmless value of every field but the id. */
struct muster_placement_host {
    size_t size; /* sizeof(struct muster_placement_host) */
    uint32_t id; /* not 0 */
    enum muster_placement_kind kind;
    enum muster_placement_state state;
    const char *isolation; /* what it is locked to; NULL is "" */
    uint32_t trust;        /* a cordon: only workers of exactly this level share the host */

    uint32_t cores;     /* what its load is divided by; 0: 1 */
    uint32_t in_flight; /* requests that its workers have not ended */
    uint32_t live_workers;
    uint32_t warm_workers; /* idle ones that serve this request's key already */
    uint32_t worker_limit; /* 0: none */
    uint64_t memory_used;
    uint64_t memory_limit; /* 0: none */
    double cpu;            /* 0 to 1 */
    uint64_t load_age_us;  /* how old these figures are */

    uint32_t crashes; /* since it exists */
    uint64_t last_crash_us;
    uint64_t quarantined_until_us; /* takes nothing before that */
};

struct muster_placement_request {
    size_t size;           /* sizeof(struct muster_placement_request) */
    uint64_t id;           /* for the log */
    uint64_t key;          /* hash of the worker's key, for policies that look for locality */
    const char *isolation; /* NULL is "" */
    uint32_t trust;
    uint32_t requester;   /* the host of the client that asked; 0: none, or unknown */
    uint32_t kinds;       /* MUSTER_PLACEMENT_KIND_BITs of hosts that will do; 0: any */
    uint32_t new_kinds;   /* of hosts that may be started for it, the lowest bit first; 0: none */
    bool may_wait;        /* queue, rather than refuse, when room will come */
    uint64_t memory;      /* estimate, bytes */
    uint64_t duration_us; /* estimate */
};

/* ---- what comes out ---- */

enum muster_placement_verdict {
    MUSTER_PLACE_ON_HOST,
    MUSTER_PLACE_ON_NEW_HOST,
    MUSTER_PLACE_QUEUE,
    MUSTER_PLACE_REFUSE
};

/* Why a host is no candidate; those from QUARANTINE on pass with time. */
#define MUSTER_PLACEMENT_FILTER_LIST(X)                                                            \
    X(PASSED, "passed")                                                                            \
    X(DEAD, "dead")                                                                                \
    X(DRAINING, "draining")                                                                        \
    X(ISOLATION, "isolation")                                                                      \
    X(KIND, "kind")                                                                                \
    X(TRUST, "trust")                                                                              \
    X(CUSTOM, "own filter")                                                                        \
    X(QUARANTINE, "quarantine")                                                                    \
    X(STARTING, "starting")                                                                        \
    X(FULL, "full")                                                                                \
    X(NO_MEMORY, "no memory")

enum muster_placement_filter {
#define MUSTER_PLACEMENT_SYMBOL(name, text) MUSTER_PLACEMENT_FILTER_##name,
    MUSTER_PLACEMENT_FILTER_LIST(MUSTER_PLACEMENT_SYMBOL)
#undef MUSTER_PLACEMENT_SYMBOL
        MUSTER_PLACEMENT_FILTER_COUNT
};

struct muster_placement_candidate {
    const struct muster_placement_host *host;
    enum muster_placement_filter filter;
    bool scored;  /* false: filtered, or the policy did not look at it */
    double score; /* the lowest wins */
};

struct muster_placement_decision {
    enum muster_placement_verdict verdict;
    uint32_t host;                   /* ON_HOST */
    enum muster_placement_kind kind; /* ON_NEW_HOST */
    const char *policy;              /* its name */
    const char *reason;              /* a few words; static */
    /* The caller's memory, one for each host, in their order. */
    const struct muster_placement_candidate *candidates;
    size_t candidate_count;
};

/* ---- policies ---- */

/* What a policy remembers between decisions; zeroed by the caller at first. */
struct muster_placement_memory {
    uint64_t words[4];
};

/* What a scorer is given. */
struct muster_placement_question {
    size_t size;
    const struct muster_placement_request *request;
    struct muster_placement_candidate *candidates; /* those with filter PASSED are to be scored */
    size_t candidate_count;
    size_t passed_count; /* at least 1 */
    struct muster_placement_random *random;
    struct muster_placement_memory *memory;
    uint64_t now_us;
};

/* Returns false to refuse the host. */
typedef bool muster_placement_filter_fn(const struct muster_placement_request *request,
                                        const struct muster_placement_host *host, uint64_t now_us,
                                        void *user_data);
/* Sets `scored` and `score` of what it looked at (not a number counts as not scored) and returns
 * ON_HOST for the lowest, or another verdict, which must be one that the request allows, or it
 * becomes REFUSE.  May say why in *reason, a text that lives as long as the policy. */
typedef enum muster_placement_verdict
muster_placement_score_fn(const struct muster_placement_question *question, const char **reason,
                          void *user_data);

struct muster_placement_policy {
    size_t size; /* sizeof(struct muster_placement_policy) */
    const char *name;
    muster_placement_filter_fn *filter; /* optional */
    muster_placement_score_fn *score;
    void *user_data;
};

/* The built-in ones:
 *   round-robin   the next host by id after the last one
 *   random        any
 *   least-loaded  the fewest requests in flight a core; among equals the fewest live workers
 *   power-of-two  the less loaded of two that are drawn
 *   affinity      the requester's host if it passed, else least-loaded */
MUSTER_API const struct muster_placement_policy *
muster_placement_policy_named(const char *name); /* or NULL */
MUSTER_API const struct muster_placement_policy *
muster_placement_policy_at(size_t i); /* past the end: NULL */
/* The load that the built-in scorers compare. */
MUSTER_API double muster_placement_load(const struct muster_placement_host *host);

/* The hard filter alone. */
MUSTER_API enum muster_placement_filter
muster_placement_filter(const struct muster_placement_request *request,
                        const struct muster_placement_host *host, uint64_t now_us);

/* Decides.  Hosts come in ascending order of their ids; `candidates` has room for one each and must
 * outlive the decision.  When no host passed: QUEUE if one that suits is starting and the request
 * may wait, else ON_NEW_HOST if it may start one, else QUEUE if one that suits has no room or is in
 * quarantine, else REFUSE.  INVALID_ARGUMENT: ids out of order or 0, something missing. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status muster_placement_decide(
    const struct muster_placement_policy *policy, const struct muster_placement_request *request,
    const struct muster_placement_host *const *hosts, size_t host_count,
    struct muster_placement_random *random, struct muster_placement_memory *memory, uint64_t now_us,
    struct muster_placement_candidate *candidates, struct muster_placement_decision *ret_decision);

/* One line: "place 7: least-loaded: host 2 (lowest score); 1=3.002 2=1.001 3!draining"; a candidate
 * that passed but was not scored is "4=-".  snprintf's rules. */
MUSTER_API int muster_placement_format(const struct muster_placement_request *request,
                                       const struct muster_placement_decision *decision, char *text,
                                       size_t size);
MUSTER_API const char *muster_placement_filter_name(enum muster_placement_filter filter);
MUSTER_API const char *muster_placement_verdict_name(enum muster_placement_verdict verdict);

#ifdef __cplusplus
}
#endif
#endif
