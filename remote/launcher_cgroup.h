/* remote/launcher_cgroup.h - a control group for each host, where the machine lets us.  Internal to the
 * launcher process.
 *
 * A cgroup of version 2 holds a host and all its children to one amount of memory, and ends them in one
 * step.  Few embedders own one; where there is none the launcher watches instead.  Thread: one.
 */
#ifndef MUSTER_LAUNCHER_CGROUP_H
#define MUSTER_LAUNCHER_CGROUP_H

#include "runtime/base.h"

/* A folder in which groups can be made that limit memory: `path`, or our own group if that is NULL.
 * Returns a descriptor, -1: there is none. */
int muster__launcher_cgroup_open(const char *path);

/* Makes a group, or takes one of that name that is there.  Returns a descriptor of its folder, -1: failed,
 * and nothing is left.  *ret_join is its cgroup.procs, open for writing. */
int muster__launcher_cgroup_make(int root, const char *name, uint64_t memory, unsigned processes,
                                 int *ret_join);

/* How often the kernel killed something in it for want of memory. */
uint64_t muster__launcher_cgroup_oom_kills(int group);

/* Kills all that is in it. */
void muster__launcher_cgroup_kill(int group);

/* False: something in it is not gone yet; try again later. */
bool muster__launcher_cgroup_remove(int root, const char *name);

#endif
