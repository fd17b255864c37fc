/* remote/spawn.c - starts a program with its descriptors placed, without copying the parent; or a copy.
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
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define STACK ((size_t)32 << 10)

struct child {
    const struct muster__spawn_options *options;
    int descriptors[MUSTER__SPAWN_DESCRIPTORS_MAX + 1]; /* no -1 among them; a copy has one more, for its report */
    unsigned descriptor_count;
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
    unsigned count = child->descriptor_count;
    for (unsigned i = 0; i < count; i++) {
        long moved = syscall(SYS_fcntl, child->descriptors[i], F_DUPFD, count);
        if (moved < 0)
            return false;
        child->descriptors[i] = (int)moved;
    }
    for (unsigned i = 0; i < count; i++) {
        if (syscall(SYS_dup3, child->descriptors[i], i, 0) < 0)
            return false;
        child->descriptors[i] = (int)i;
    }
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

/* NULL, or the step that failed, with errno. */
MUSTER__IN_CHILD static const char *set_up_child(struct child *child)
{
    const struct muster__spawn_options *options = child->options;
    muster__in_child_reset_signals();
    if (options->session && syscall(SYS_setsid) < 0)
        return "open a session for";
    if (options->dies_with_caller && !bind_to_caller(child))
        return "bind to its parent";
    if (options->group >= 0 && syscall(SYS_write, options->group, "0", (size_t)1) != 1)
        return "put into its control group";
    if (!place_descriptors(child))
        return "place the descriptors of";
    if (!limit_all(options))
        return "limit";
    if (options->nice != 0 && !be_nice(options->nice))
        return "set the priority of";
    return NULL;
}

MUSTER__IN_CHILD static int run_child(void *data)
{
    struct child *child = data;
    const struct muster__spawn_options *options = child->options;
    const char *step = set_up_child(child);
    if (step == NULL) {
        syscall(SYS_execve, options->program, options->arguments, options->environment);
        step = "run";
    }
    child->problem = errno;
    child->failed_step = step;
    syscall(SYS_exit_group, 127);
    return 127;
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

static enum muster_status init_child(struct child *child, const struct muster__spawn_options *options, int *ret_nothing,
                                     struct muster__spawn_problem *ret_problem)
{
    MUSTER_CHECK(options->descriptor_count >= 3 &&
                 options->descriptor_count <= MUSTER__SPAWN_DESCRIPTORS_MAX);
    *child = (struct child){.options = options,
                            .descriptor_count = options->descriptor_count,
                            .caller = getpid(),
                            .most_descriptors = most_descriptors(),
                            .pidfd = -1};
    *ret_nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (*ret_nothing < 0) {
        *ret_problem = (struct muster__spawn_problem){"open /dev/null for", errno};
        return MUSTER_SYSTEM;
    }
    for (unsigned i = 0; i < options->descriptor_count; i++)
        child->descriptors[i] = options->descriptors[i] < 0 ? *ret_nothing : options->descriptors[i];
    return MUSTER_OK;
}

static enum muster_status end_child(const struct child *child, int nothing, pid_t *ret_pid, int *ret_pidfd,
                                    struct muster__spawn_problem *ret_problem)
{
    close(nothing);
    if (child->failed_step != NULL) {
        if (child->pidfd >= 0)
            close(child->pidfd);
        *ret_problem = (struct muster__spawn_problem){child->failed_step, child->problem};
        return MUSTER_SYSTEM;
    }
    *ret_pid = child->pid;
    *ret_pidfd = child->pidfd;
    return MUSTER_OK;
}

enum muster_status muster__spawn(const struct muster__spawn_options *options, pid_t *ret_pid,
                                 int *ret_pidfd, struct muster__spawn_problem *ret_problem)
{
    struct child child;
    int nothing;
    if (init_child(&child, options, &nothing, ret_problem) != MUSTER_OK)
        return MUSTER_SYSTEM;
    start_with_stack(&child);
    return end_child(&child, nothing, ret_pid, ret_pidfd, ret_problem);
}

/* ---- copies ---- */

/* In the copy.  Its end of the pipe became the descriptor behind the others. */
static void settle_copy(struct child *child)
{
    unsigned report = child->descriptor_count - 1;
    const char *step = set_up_child(child);
    if (step != NULL) { /* the sentence is where it is in the caller */
        const struct muster__spawn_problem problem = {step, errno};
        _exit(write(child->descriptors[report], &problem, sizeof problem) < 0 ? 126 : 127);
    }
    close(child->descriptors[report]);
}

/* Until the copy is what it should be, or has said why not. */
static void await_copy(struct child *child, int report)
{
    struct muster__spawn_problem problem;
    ssize_t length;
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0); /* nobody else waits for it */
    if (child->pidfd < 0) {
        child->problem = errno;
        child->failed_step = "watch";
        kill(child->pid, SIGKILL);
    }
    do
        length = read(report, &problem, sizeof problem);
    while (length < 0 && errno == EINTR);
    if (length == (ssize_t)sizeof problem) {
        child->problem = problem.problem;
        child->failed_step = problem.step;
    }
    if (child->failed_step != NULL)
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
            ;
}

enum muster_status muster__spawn_copy(const struct muster__spawn_options *options, pid_t *ret_pid,
                                      int *ret_pidfd, struct muster__spawn_problem *ret_problem)
{
    struct child child;
    int nothing;
    int report[2];
    if (init_child(&child, options, &nothing, ret_problem) != MUSTER_OK)
        return MUSTER_SYSTEM;
    if (pipe2(report, O_CLOEXEC) < 0) {
        child.problem = errno;
        child.failed_step = "hear of";
        return end_child(&child, nothing, ret_pid, ret_pidfd, ret_problem);
    }
    child.descriptors[child.descriptor_count++] = report[1];
    child.pid = fork();
    if (child.pid == 0) {
        settle_copy(&child);
        *ret_pid = 0;
        return MUSTER_OK;
    }
    close(report[1]);
    if (child.pid > 0) {
        await_copy(&child, report[0]);
    } else {
        child.problem = errno;
        child.failed_step = "start a process for";
    }
    close(report[0]);
    return end_child(&child, nothing, ret_pid, ret_pidfd, ret_problem);
}
