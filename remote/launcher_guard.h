/* remote/launcher_guard.h - a second process that outlives the launcher, in case somebody kills that alone.
 * Internal to the launcher process.
 *
 * Hosts die with their launcher, but what they had started and what has left their session would not: it would
 * become a child of process 1.  So the launcher has a parent that adopts orphans (PR_SET_CHILD_SUBREAPER): the guard,
 * which does nothing but wait for the launcher's end and then kills what that left.  When it is the guard that is killed,
 * the launcher sees it and ends everything itself.
 */
#ifndef MUSTER_LAUNCHER_GUARD_H
#define MUSTER_LAUNCHER_GUARD_H

#include <signal.h>
#include <stdbool.h>

/* Thread: the only one of the process.  Returns in the launcher-to-be, a new process.  The one that called becomes the
 * guard and exits with the launcher's code, or 1.  *ret_guard: a pidfd of the guard, -1: there is none, and the
 * caller goes on without.  `control` is the launcher's alone. */
void muster__launcher_guard(int control, int *ret_guard);

/* Thread: the only one.  Blocks all signals but crashes, adopts orphans, and gives a signalfd of SIGCHLD; -1: failed. */
int muster__launcher_guard_prepare(const char *name);

#endif
