/* tests/hostile_child_worker.c - a shared object with a native worker that goes to the limits of its process, and
 * tries what a wall forbids.  Each event is one attempt; what comes of it is the event's result.  It forks without the
 * handlers of a fork, which may wait for a thread of the process. */
#include "runtime/native.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define FILES_MOST 4096

static void answer(struct muster_event *event, int problem, long number)
{
    char text[128];
    snprintf(text, sizeof text, "%ld %s", number, problem ? strerror(problem) : "fine");
    muster_event_return(event, muster_value_new_text(text));
}

static long number_of(const struct muster_event *event)
{
    return (long)muster_value_number(muster_event_data(event));
}

/* As many files as it gets; it closes them again. */
static void open_files(struct muster_native *worker, struct muster_event *event, void *state)
{
    static int files[FILES_MOST];
    int count = 0, problem = 0;
    (void)worker;
    (void)state;
    while (count < FILES_MOST && !problem) {
        files[count] = dup(STDERR_FILENO);
        problem = files[count] < 0 ? errno : 0;
        count += !problem;
    }
    for (int i = 0; i < count; i++)
        close(files[i]);
    answer(event, problem, count);
}

static void linger(void)
{
    for (;;)
        pause();
}

/* Processes that stay; how many it got. */
static long fork_children(long wanted, int *ret_problem)
{
    long count = 0;
    *ret_problem = 0;
    while (count < wanted && !*ret_problem) {
        pid_t child = _Fork();
        if (child == 0)
            linger();
        *ret_problem = child < 0 ? errno : 0;
        count += !*ret_problem;
    }
    return count;
}

static void start_children(struct muster_native *worker, struct muster_event *event, void *state)
{
    int problem;
    (void)worker;
    (void)state;
    long count = fork_children(number_of(event), &problem);
    answer(event, problem, count);
}

/* More than it may have: it waits for its end. */
static void crowd(struct muster_native *worker, struct muster_event *event, void *state)
{
    int problem;
    (void)worker;
    (void)state;
    (void)fork_children(number_of(event), &problem);
    linger();
}

/* A process that has left its session and lost its parent; its number, or 0: it was ended before it could tell. */
static void leave(struct muster_native *worker, struct muster_event *event, void *state)
{
    int ends[2];
    pid_t self = 0;
    (void)worker;
    (void)state;
    if (pipe(ends) < 0) {
        answer(event, errno, 0);
        return;
    }
    pid_t child = _Fork();
    if (child == 0) {
        setsid();
        if (_Fork() != 0)
            _exit(0);
        self = getpid();
        if (write(ends[1], &self, sizeof self) == (ssize_t)sizeof self)
            linger();
        _exit(1);
    }
    int problem = child < 0 ? errno : 0;
    close(ends[1]);
    if (child > 0 && read(ends[0], &self, sizeof self) != (ssize_t)sizeof self)
        self = 0;
    if (child > 0)
        waitpid(child, NULL, 0);
    close(ends[0]);
    answer(event, problem, self);
}

/* 1: it takes no notice of the warning. */
static void spin(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    if (number_of(event) == 1)
        signal(SIGXCPU, SIG_IGN);
    for (volatile unsigned long turns = 0;; turns++)
        ;
}

static void hog(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    for (;;) { /* slower than the watch looks, faster than a test waits */
        size_t size = (size_t)4 << 20;
        char *more = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED)
            break;
        memset(more, 1, size);
        (void)usleep(4000);
    }
    answer(event, errno, 0);
}

/* What the wall of trust "none" forbids, one after the other; how many of them it could do. */
static void break_out(struct muster_native *worker, struct muster_event *event, void *state)
{
    int done = 0;
    (void)worker;
    (void)state;
    done += open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
    done += open("/tmp/muster-hostile", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0;
    done += socket(AF_INET, SOCK_STREAM, 0) >= 0;
    done += socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
    done += kill(getppid(), 0) == 0;
    pid_t child = _Fork();
    if (child == 0)
        _exit(0);
    done += child > 0;
    answer(event, 0, done);
}

/* Code that runs as soon as the object is loaded stands behind the wall as well. */
static int done_early;

__attribute__((constructor)) static void be_early(void)
{
    done_early = open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static void was_early(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)state;
    answer(event, 0, done_early);
}

static const struct muster_native_entry events[] = {
    {"files", open_files}, {"children", start_children}, {"crowd", crowd}, {"leave", leave},          {"spin", spin},
    {"hog", hog},          {"break-out", break_out},     {"was-early", was_early},
};

EXPORTED extern const struct muster_native_worker muster_worker;
const struct muster_native_worker muster_worker = {
    .size = sizeof muster_worker,
    .events = events,
    .event_count = sizeof events / sizeof *events,
};
