/* coordinator/hosting.h - where the workers of a version may live: on threads or in processes, with whom, and
 * what follows when they kill their process.  Internal. */
#ifndef MUSTER_HOSTING_H
#define MUSTER_HOSTING_H

#include "coordinator/instance.h"

/* Thread: any; when the instance is made.  Reads options->placement, words with commas between: one of "thread", "process",
 * "process-per-site", "process-per-worker", and the name of a policy, each at most once.  INVALID_ARGUMENT fills `error`. */
MUSTER_MUST_CHECK enum muster_status muster__hosting_init(struct muster *muster, struct muster_error *error);
/* Thread: any; when there is a pool.  Starts what processes need, if workers live there by default. */
MUSTER_MUST_CHECK enum muster_status muster__hosting_start(struct muster *muster, struct muster_error *error);
/* Thread: any but muster's; before the pool is destroyed: who was killed with its process is told so. */
void muster__hosting_settle(struct muster *muster);
void muster__hosting_clean_up(struct muster *muster); /* the pool is gone, and every host destroyed */

/* Thread: any.  Fills what a version says of hosts; starts what processes need, should it want them.  UNSUPPORTED,
 * INVALID_ARGUMENT, NO_MEMORY fill `error`. */
MUSTER_MUST_CHECK enum muster_status
muster__hosting_of_version(struct muster *muster, const struct muster_registration_options *options,
                           struct muster__version *version, struct muster_error *error);

/* Thread: coordinator.  What placement is asked for a worker of that version; `alone`: it gets a process that it
 * shares with nobody.  Texts live as long as the version. */
void muster__hosting_ask(struct muster__version *version, bool alone,
                         struct muster_placement_request *request);

/* The service's muster__new_host_fn; user_data is the instance. */
enum muster_status muster__hosting_new_host(enum muster_placement_kind kind,
                                            const struct muster_placement_request *request,
                                            struct muster__host **ret_host, void *user_data);

#endif
