/* tests/hostings.h - for tests in which real workers live in a thread or in a process; they are loop tests over
 * HOSTING_COUNT. */
#ifndef TESTS_HOSTINGS_H
#define TESTS_HOSTINGS_H

#include "coordinator/muster.h"

#include <check.h>
#include <semaphore.h>
#include <time.h>

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */

static const enum muster_hosting hostings[] = {
    MUSTER_HOSTING_THREAD,
    MUSTER_HOSTING_PROCESS,
};
#define HOSTING_COUNT ((int)(sizeof hostings / sizeof *hostings))

int __lsan_is_turned_off(void);

/* The leak sanitizer crashes on what JavaScriptCore has mapped. */
int __lsan_is_turned_off(void)
{
    return 1;
}

static inline void await_signal(sem_t *signal, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    ck_assert_msg(sem_timedwait(signal, &until) == 0, "%s did not come", what);
}

#endif
