/* remote/spawn.c - starts a program with its descriptors placed, without copying the parent.
 *
 * Any thread.  Between clone and exec the child shares our memory while we stand still, so it makes bare
 * system calls only and allocates nothing; what it needs was prepared before, and what failed stands in
 * memory when we go on. */
#include "remote/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/in_child.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define STACK ((size_t)32 << 10)

struct child {
    const struct muster__spawn_options *options;
    int descriptors[MUSTER__SPAWN_DESCRIPTORS_MAX]; /* no -1 among them */
    pid_t caller;
    unsigned most_descriptors;
    char *stack; /* of the program's process, when one stands between */

    volatile pid_t pid;
    int pidfd;
    const char *volatile failed_step; /* NULL: it runs */
    volatile int problem;
};

/* The thread sanitizer takes any clone() for a fork and notes so in the memory that we share; under this
 * name it does not see it. */
#ifdef __SANITIZE_THREAD__
int __clone(int (*run)(void *), void *stack, int flags, void *data, ...);
#define clone __clone
#endif

/* ---- the child, until exec ---- */

MUSTER__IN_CHILD static int fail_in_child(struct child *child, const char *step)
{
    child->problem = errno;
    child->failed_step = step;
    syscall(SYS_exit_group, 127);
    return 127;
}

MUSTER__IN_CHILD static bool bind_to_caller(const struct child *child)
{
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return false;
    if (syscall(SYS_getppid) == child->caller)
        return true;
    errno = ESRCH; /* it died before we asked to be told */
    return false;
}

/* First out of the way, for a source may lie where another belongs. */
MUSTER__IN_CHILD static bool place_descriptors(struct child *child)
{
    unsigned count = child->options->descriptor_count;
    for (unsigned i = 0; i < count; i++) {
        long moved = syscall(SYS_fcntl, child->descriptors[i], F_DUPFD, count);
        if (moved < 0)
            return false;
        child->descriptors[i] = (int)moved;
    }
    for (unsigned i = 0; i < count; i++)
        if (syscall(SYS_dup3, child->descriptors[i], i, 0) < 0)
            return false;
    if (syscall(SYS_close_range, count, ~0u, 0) < 0) /* before Linux 5.9, or forbidden */
        for (unsigned fd = count; fd < child->most_descriptors; fd++)
            syscall(SYS_close, fd);
    return true;
}

/* What may not be had is cut to what may. */
MUSTER__IN_CHILD static bool limit(int resource, uint64_t soft, uint64_t hard)
{
    uint64_t limits[2]; /* soft, hard */
    if (syscall(SYS_prlimit64, 0, resource, NULL, limits) < 0)
        return false;
    limits[1] = hard < limits[1] ? hard : limits[1];
    limits[0] = soft < limits[1] ? soft : limits[1];
    return syscall(SYS_prlimit64, 0, resource, limits, NULL) == 0;
}

MUSTER__IN_CHILD static bool limit_all(const struct muster__spawn_options *options)
{
    return (options->open_files == 0 ||
            limit(RLIMIT_NOFILE, options->open_files, options->open_files)) &&
           (options->cpu_seconds == 0 ||
            limit(RLIMIT_CPU, options->cpu_seconds, (uint64_t)options->cpu_seconds + 1)) &&
           (!options->no_core || limit(RLIMIT_CORE, 0, 0));
}

MUSTER__IN_CHILD static bool be_nice(int by)
{
    long now = syscall(SYS_getpriority, PRIO_PROCESS, 0); /* the kernel answers 20 - nice */
    if (now < 0)
        return false;
    long wanted = 20 - now + by;
    return syscall(SYS_setpriority, PRIO_PROCESS, 0, wanted > 19 ? 19 : wanted) == 0;
}

MUSTER__IN_CHILD static int run_child(void *data)
{
    struct child *child = data;
    const struct muster__spawn_options *options = child->options;
    muster__in_child_reset_signals();
    if (options->session && syscall(SYS_setsid) < 0)
        return fail_in_child(child, "open a session for");
    if (options->dies_with_caller && !bind_to_caller(child))
        return fail_in_child(child, "bind to its parent");
    if (options->group >= 0 && syscall(SYS_write, options->group, "0", (size_t)1) != 1)
        return fail_in_child(child, "put into its control group");
    if (!place_descriptors(child))
        return fail_in_child(child, "place the descriptors of");
    if (!limit_all(options))
        return fail_in_child(child, "limit");
    if (options->nice != 0 && !be_nice(options->nice))
        return fail_in_child(child, "set the priority of");
    syscall(SYS_execve, options->program, options->arguments, options->environment);
    return fail_in_child(child, "run");
}

/* ---- the caller ---- */

/* Also run by the process that stands between, hence bare as well. */
MUSTER__IN_CHILD static void start(struct child *child, char *stack)
{
    pid_t pid = clone(run_child, stack + STACK, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, child,
                      &child->pidfd);
    if (pid < 0) {
        child->problem = errno;
        child->failed_step = "start a process for";
        child->pidfd = -1;
    }
    child->pid = pid;
    if (pid > 0 && child->failed_step != NULL)
        while (syscall(SYS_wait4, pid, NULL, __WALL, NULL) < 0 && errno == EINTR)
            ;
}

MUSTER__IN_CHILD static int stand_between(void *data)
{
    struct child *child = data;
    start(child, child->stack);
    syscall(SYS_exit_group, 0);
    return 0;
}

/* It ends without a signal, so that neither SIGCHLD nor a plain wait tells of it; and as it shares our
 * table of descriptors, the pidfd is ours. */
static void start_orphan(struct child *child, char *stack)
{
    _Alignas(16) char between_stack[STACK];
    child->stack = stack;
    pid_t between = clone(stand_between, between_stack + STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES,
                          child);
    if (between < 0) {
        child->problem = errno;
        child->failed_step = "start a process for";
        return;
    }
    while (waitpid(between, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

static void start_with_stack(struct child *child)
{
    _Alignas(16) char stack[STACK];
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child */
    if (child->options->orphan)
        start_orphan(child, stack);
    else
        start(child, stack);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static unsigned most_descriptors(void)
{
    struct rlimit limits;
    if (getrlimit(RLIMIT_NOFILE, &limits) < 0 || limits.rlim_cur > 1u << 20)
        return 1u << 20;
    return (unsigned)limits.rlim_cur;
}

enum muster_status muster__spawn(const struct muster__spawn_options *options, pid_t *ret_pid,
                                 int *ret_pidfd, struct muster__spawn_problem *ret_problem)
{
    MUSTER_CHECK(options->descriptor_count >= 3 &&
                 options->descriptor_count <= MUSTER__SPAWN_DESCRIPTORS_MAX);
    struct child child = {.options = options,
                          .caller = getpid(),
                          .most_descriptors = most_descriptors(),
                          .pidfd = -1};
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0) {
        *ret_problem = (struct muster__spawn_problem){"open /dev/null for", errno};
        return MUSTER_SYSTEM;
    }
    for (unsigned i = 0; i < options->descriptor_count; i++)
        child.descriptors[i] = options->descriptors[i] < 0 ? nothing : options->descriptors[i];
    start_with_stack(&child);
    close(nothing);
    if (child.failed_step != NULL) {
        if (child.pidfd >= 0)
            close(child.pidfd);
        *ret_problem = (struct muster__spawn_problem){child.failed_step, child.problem};
        return MUSTER_SYSTEM;
    }
    *ret_pid = child.pid;
    *ret_pidfd = child.pidfd;
    return MUSTER_OK;
}
