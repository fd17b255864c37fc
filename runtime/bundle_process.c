/* runtime/bundle_process.c - starts, confines, watches and ends the child process that bundles.
 *
 * Any thread that may block.  The promise is that the embedder notices nothing but one more child for a
 * moment: the process is started the way posix_spawn does it (shared memory until exec, so that a large
 * parent costs nothing), which we do ourselves only because the child has to confine itself in between.
 * The end is seen through a pidfd, so it does not matter who takes the exit status. */
#include "runtime/bundle_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/in_child.h"

#define MOST_ERRORS ((size_t)64 << 10)
#define CHILD_STACK ((size_t)64 << 10)
#define TICK_MS 5 /* between two looks where there is no pidfd */

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define CLOSE_RANGE_AS_CLOEXEC 4u
#define WAIT_FOR_PIDFD 3 /* P_PIDFD */

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* The embedder may have closed 0, 1 or 2, which the child is about to overwrite. */
static int above_standard(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int problem = errno;
    close(fd);
    errno = problem;
    return moved;
}

/* ---- Landlock: what the kernel's header calls these, for a C library that is older than the kernel ---- */

#define LANDLOCK_CREATE 444
#define LANDLOCK_ADD 445
#define LANDLOCK_RESTRICT 446
#define LANDLOCK_VERSION 1u
#define LANDLOCK_BENEATH 1

enum {
    MAY_EXECUTE = 1 << 0,
    MAY_WRITE = 1 << 1,
    MAY_READ = 1 << 2,
    MAY_LIST = 1 << 3,
    MAY_REMOVE = 1 << 5,
    MAY_MAKE_FOLDER = 1 << 7,
    MAY_MAKE_FILE = 1 << 8,
    MAY_TRUNCATE = 1 << 14,
};

struct landlock_handled {
    uint64_t files;
    uint64_t network; /* bind and connect */
};

struct landlock_beneath {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

/* All that this version can refuse: each one added a few. */
static struct landlock_handled everything(long version)
{
    int rights = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
    return (struct landlock_handled){.files = (UINT64_C(1) << rights) - 1,
                                     .network = version >= 4 ? 3 : 0};
}

/* What is not there needs no rule. */
static int allow(int ruleset, uint64_t handled, const char *path, uint64_t rights)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    const struct landlock_beneath rule = {.allowed = rights & handled, .fd = fd};
    long result = syscall(LANDLOCK_ADD, ruleset, LANDLOCK_BENEATH, &rule, 0);
    int problem = result == 0 ? 0 : errno;
    close(fd);
    return problem;
}

static int allow_all(int ruleset, uint64_t handled, const struct muster__bundle_process *process)
{
    /* To start at all.  Folders there may not be listed, so no import finds its way into them. */
    static const char *const system_files[] = {"/usr",   "/bin",   "/lib",
                                               "/lib32", "/lib64", "/etc/ld.so.cache"};
    int problem = 0;
    for (size_t i = 0; problem == 0 && i < sizeof system_files / sizeof *system_files; i++)
        problem = allow(ruleset, handled, system_files[i], MAY_EXECUTE | MAY_READ);
    if (problem == 0)
        problem = allow(ruleset, handled, process->program, MAY_EXECUTE | MAY_READ);
    if (problem == 0)
        problem = allow(ruleset, handled, "/dev/null", MAY_READ | MAY_WRITE);
    if (problem == 0)
        problem = allow(ruleset, handled, process->folder, MAY_EXECUTE | MAY_READ | MAY_LIST);
    if (problem == 0)
        problem = allow(ruleset, handled, process->output,
                        MAY_READ | MAY_LIST | MAY_WRITE | MAY_REMOVE | MAY_MAKE_FOLDER |
                            MAY_MAKE_FILE | MAY_TRUNCATE);
    return problem;
}

/* *ret_ruleset is -1 where the kernel has no Landlock.  Once it has, a failure is a failure. */
static int make_ruleset(const struct muster__bundle_process *process, int *ret_ruleset)
{
    long version = process->without_landlock
                       ? -1
                       : syscall(LANDLOCK_CREATE, NULL, (size_t)0, LANDLOCK_VERSION);
    *ret_ruleset = -1;
    if (version < 1)
        return 0;
    struct landlock_handled handled = everything(version);
    size_t size = version >= 4 ? sizeof handled : sizeof handled.files;
    int ruleset = above_standard((int)syscall(LANDLOCK_CREATE, &handled, size, 0u)); /* close-on-exec */
    if (ruleset < 0)
        return errno;
    int problem = allow_all(ruleset, handled.files, process);
    if (problem != 0)
        close(ruleset);
    else
        *ret_ruleset = ruleset;
    return problem;
}

/* ---- the child, until exec ---- */

struct child {
    const struct muster__bundle_process *process;
    char *const *environment;
    int input;   /* these three lie above 2 */
    int errors;
    int ruleset;
    const char *volatile failed_step; /* NULL: it ran */
    volatile int problem;
};

MUSTER__IN_CHILD static int fail_in_child(struct child *child, const char *step)
{
    child->problem = errno;
    child->failed_step = step;
    syscall(SYS_exit_group, 127);
    return 127;
}

MUSTER__IN_CHILD static int run_child(void *data)
{
    struct child *child = data;
    muster__in_child_reset_signals();
    if (syscall(SYS_dup3, child->input, 0, 0) < 0 || syscall(SYS_dup3, child->input, 1, 0) < 0 ||
        syscall(SYS_dup3, child->errors, 2, 0) < 0)
        return fail_in_child(child, "connect");
    if (syscall(SYS_chdir, child->process->folder) < 0)
        return fail_in_child(child, "enter the folder of");
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_AS_CLOEXEC); /* before Linux 5.11: only as marked */
    if (child->ruleset >= 0 && (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                                syscall(LANDLOCK_RESTRICT, child->ruleset, 0) < 0))
        return fail_in_child(child, "confine");
    syscall(SYS_execve, child->process->program, child->process->arguments, child->environment);
    return fail_in_child(child, "run");
}

/* ---- starting it ---- */

struct running {
    pid_t pid;
    int pidfd;  /* -1: before Linux 5.2 */
    int errors; /* our end, does not block */
};

/* The thread sanitizer takes any clone() for a fork and notes, in the memory that we share, that it
 * happened; from then on it refuses to start threads.  Under this name it does not see it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER
#endif
#ifdef UNDER_THREAD_SANITIZER
int __clone(int (*run)(void *), void *stack, int flags, void *data, ...);
#define clone __clone
#endif

static int start_with_stack(struct child *child, struct running *running, char *stack)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    running->pidfd = -1;
    running->pid = clone(run_child, stack + CHILD_STACK,
                         CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, child, &running->pidfd);
    int problem = running->pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (problem != 0) {
        child->problem = problem;
        child->failed_step = "start a process for";
    }
    return problem;
}

static void take_status(const struct running *running, struct muster__bundle_ending *ending,
                        bool wait)
{
    siginfo_t info = {0};
    int flags = WEXITED | (wait ? 0 : WNOHANG);
    int result;
    do
        result = running->pidfd >= 0
                     ? waitid((idtype_t)WAIT_FOR_PIDFD, (id_t)running->pidfd, &info, flags)
                     : waitid(P_PID, (id_t)running->pid, &info, flags);
    while (result < 0 && errno == EINTR);
    if (result < 0 || info.si_pid == 0)
        return;
    ending->known = true;
    ending->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    ending->status = info.si_code == CLD_EXITED ? info.si_status : 0;
}

/* Fills `running` and answers 0, or says in `child` what failed. */
static bool start(struct child *child, struct running *running)
{
    char *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        child->problem = errno;
        child->failed_step = "find memory for";
        return false;
    }
    int problem = start_with_stack(child, running, stack);
    munmap(stack, CHILD_STACK);
    if (child->failed_step == NULL)
        return true;
    if (problem == 0) { /* it did start, and ended itself */
        struct muster__bundle_ending ignored = {0};
        take_status(running, &ignored, true);
        close_if_open(running->pidfd);
    }
    return false;
}

/* ---- watching it ---- */

struct text {
    char *data; /* MOST_ERRORS + 1 bytes */
    size_t length;
};

/* False: nobody can write to it any more. */
static bool read_errors(int fd, struct text *text)
{
    char surplus[512];
    for (;;) {
        size_t room = MOST_ERRORS - text->length;
        ssize_t count = room > 0 ? read(fd, text->data + text->length, room)
                                 : read(fd, surplus, sizeof surplus);
        if (count == 0)
            return false;
        if (count < 0 && errno != EINTR)
            return errno == EAGAIN;
        if (count > 0 && room > 0)
            text->length += (size_t)count;
    }
}

static void kill_it(const struct running *running)
{
    if (running->pidfd < 0)
        kill(running->pid, SIGKILL);
    else
        syscall(SYS_pidfd_send_signal, running->pidfd, SIGKILL, NULL, 0);
}

/* Without a pidfd: has it ended?  An error means that somebody else took it, so it has. */
static bool has_ended(const struct running *running)
{
    siginfo_t info = {0};
    int result = waitid(P_PID, (id_t)running->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    return (result < 0 && errno != EINTR) || (result == 0 && info.si_pid != 0);
}

static int wait_ms(const struct running *running, uint64_t now_us, uint64_t until_us)
{
    if (now_us >= until_us)
        return 0;
    uint64_t left = (until_us - now_us + 999) / 1000;
    int most = running->pidfd < 0 ? TICK_MS : 60000;
    return left > (uint64_t)most ? most : (int)left;
}

/* True: it ended by itself. */
static bool watch(const struct running *running, uint64_t until_us, struct text *text)
{
    struct pollfd fds[2] = {{.fd = running->errors, .events = POLLIN},
                            {.fd = running->pidfd, .events = POLLIN}};
    for (;;) {
        uint64_t now_us = muster__now_us();
        fds[0].revents = fds[1].revents = 0;
        int count = poll(fds, 2, wait_ms(running, now_us, until_us));
        if (!read_errors(running->errors, text))
            fds[0].fd = -1;
        if (count > 0 && fds[1].revents != 0)
            return true;
        if (running->pidfd < 0 && has_ended(running))
            return true;
        if (now_us >= until_us)
            return false;
    }
}

static void see_it_end(const struct running *running, uint64_t deadline_us, struct text *text,
                       struct muster__bundle_ending *ending)
{
    ending->timed_out = !watch(running, muster__now_us() + deadline_us, text);
    if (ending->timed_out)
        kill_it(running);
    take_status(running, ending, true); /* at once, or as soon as the kill arrives */
    read_errors(running->errors, text);
    text->data[text->length] = '\0';
}

/* ---- all of it ---- */

static enum muster_status tell(struct muster_error *error, const char *program, const char *step,
                               int problem)
{
    char text[128];
    muster_error_set(error, MUSTER_LOAD_FAILED, "cannot %s %s: %s", step, program,
                     strerror_r(problem, text, sizeof text));
    return MUSTER_LOAD_FAILED;
}

static bool open_descriptors(struct child *child, struct running *running)
{
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    running->errors = ends[0];
    child->errors = above_standard(ends[1]);
    child->input = child->errors < 0 ? -1 : above_standard(open("/dev/null", O_RDWR | O_CLOEXEC));
    return child->input >= 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

static enum muster_status run_with(struct child *child, struct text *text,
                                   struct muster__bundle_ending *ending, struct muster_error *error)
{
    const char *program = child->process->program;
    struct running running = {.errors = -1, .pidfd = -1};
    enum muster_status status = MUSTER_OK;
    bool started = false;
    int problem = make_ruleset(child->process, &child->ruleset);
    if (problem != 0)
        status = tell(error, program, "confine", problem);
    else if (!open_descriptors(child, &running))
        status = tell(error, program, "connect", errno);
    else if (!(started = start(child, &running)))
        status = tell(error, program, child->failed_step, child->problem);
    close_if_open(child->ruleset);
    close_if_open(child->input);
    close_if_open(child->errors);
    if (started) {
        see_it_end(&running, child->process->deadline_us, text, ending);
        close_if_open(running.pidfd);
    }
    close_if_open(running.errors);
    return status;
}

enum muster_status muster__bundle_process_run(const struct muster__bundle_process *process,
                                              struct muster__bundle_ending *ret_ending,
                                              struct muster_error *error)
{
    const char *path = getenv("PATH");
    char *path_entry = muster__format("PATH=%s", path == NULL ? "/usr/bin:/bin" : path);
    char *environment[] = {path_entry, NULL};
    struct text text = {.data = malloc(MOST_ERRORS + 1)};
    struct muster__bundle_ending ending = {0};
    struct child child = {.process = process,
                          .environment = environment,
                          .input = -1,
                          .errors = -1,
                          .ruleset = -1};
    enum muster_status status = MUSTER_NO_MEMORY;
    if (path_entry != NULL && text.data != NULL)
        status = run_with(&child, &text, &ending, error);
    else
        muster_error_set(error, status, "out of memory while starting %s", process->program);
    free(path_entry);
    if (status != MUSTER_OK) {
        free(text.data);
        return status;
    }
    ending.errors = text.data;
    *ret_ending = ending;
    return MUSTER_OK;
}
