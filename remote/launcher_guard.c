/* remote/launcher_guard.c - a second process that outlives the launcher, in case somebody kills that alone.
 *
 * One thread, one descriptor, no memory of its own: it is a copy of the launcher's first moment, whose pages both share. */
#include "remote/launcher_guard.h"

#include <poll.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "remote/launcher_family.h"
#include "runtime/check.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define END_US UINT64_C(1500000)

/* A terminal's Ctrl-C and a service manager's SIGTERM are for the parent to judge. */
int muster__launcher_guard_prepare(const char *name)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;
    sigset_t child;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        sigdelset(&blocked, crashes[i]);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &blocked, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -1;
    prctl(PR_SET_NAME, name, 0, 0, 0);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool kill_child(pid_t pid, void *user_data)
{
    (void)user_data;
    kill(pid, SIGKILL);
    return true;
}

/* What is adopted while this goes on tells by its parent's SIGCHLD.  A process may be in a state in which no signal
 * reaches it, hence the bound. */
static void end_the_rest(int children)
{
    uint64_t until_us = muster__now_us() + END_US;
    for (;;) {
        struct signalfd_siginfo infos[8];
        struct pollfd news = {.fd = children, .events = POLLIN};
        pid_t gone;
        muster__launcher_family_children(getpid(), kill_child, NULL);
        while ((gone = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        uint64_t now_us = muster__now_us();
        if (gone < 0 || now_us >= until_us || poll(&news, 1, (int)((until_us - now_us) / 1000) + 1) < 0)
            return;
        while (read(children, infos, sizeof infos) > 0)
            ;
    }
}

_Noreturn static void guard(pid_t launcher, int children)
{
    int status = 0;
    while (waitpid(launcher, &status, 0) != launcher)
        ; /* no signal is delivered */
    end_the_rest(children);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

void muster__launcher_guard(int control, int *ret_guard)
{
    pid_t before = getpid();
    *ret_guard = -1;
    int children = muster__launcher_guard_prepare("muster-guard");
    if (children < 0)
        return;
    pid_t launcher = fork();
    if (launcher > 0) {
        close(control);
        guard(launcher, children);
    }
    close(children);
    if (launcher < 0)
        return;
    *ret_guard = (int)syscall(SYS_pidfd_open, before, 0);
    if (*ret_guard < 0 || getppid() != before) /* it died at once: so do we */
        _exit(1);
}
