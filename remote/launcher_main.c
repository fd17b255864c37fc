/* remote/launcher_main.c - the launcher process: spawns hosts, reaps them, reports, and cleans up behind a
 * parent that is gone.
 *
 * One thread, and small on purpose: a parent-death signal fires when the spawning thread ends, so hosts
 * bound to this one die with the process and not before; what they had started is then killed by its guard
 * (remote/launcher_guard.h).  Each host has its own session; as this process
 * adopts orphans (PR_SET_CHILD_SUBREAPER), whatever a dead host leaves behind becomes its child and is
 * killed.  It holds nothing that must be saved, believes nothing a host says, and waits only in poll.
 *
 * A host that may be a copy of this process is one.  The first of them finds out whether the engine can be loaded; nothing
 * of it runs in here, no VM is made and no thread started, so that a copy is complete. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "remote/launcher.h"
#include "remote/launcher_cgroup.h"
#include "remote/launcher_family.h"
#include "remote/launcher_guard.h"
#include "remote/launcher_internal.h"
#include "remote/spawn.h"
#include "runtime/check.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define WATCH_FAR_MS 100 /* between two looks at hosts with a limit */
#define WATCH_NEAR_MS 10 /* when one has more than half of it */
#define CROWDED_MS 10
/* Threads that a host has itself, which its cgroup counts as well. */
#define TASKS_BESIDE 512
#define END_US UINT64_C(1500000)
#define OOM_LOOK_US UINT64_C(1000000)

/* What runs: the same file as this process, even when another was put in its place meanwhile. */
#define OWN_PROGRAM "/proc/self/exe"

extern char **environ;

struct host {
    struct host *next;
    uint32_t id;
    pid_t pid;
    uint64_t began_us;
    uint64_t memory;   /* limit; 0: none */
    uint64_t peak;     /* as far as watched */
    bool over_limit;   /* and killed for it */
    unsigned children; /* limit; 0: none */
    bool over_children;
    int group;         /* its cgroup's folder; -1: none, so its memory is watched */
    char group_name[48];
};

/* A reply that the socket did not take yet. */
struct waiting {
    struct waiting *next;
    int pidfd; /* sent along; -1: none */
    struct muster__launcher_reply reply;
};

/* A group that was not empty yet. */
struct leftover {
    struct leftover *next;
    char name[48];
};

struct launcher {
    int control, parent, children; /* parent: its pidfd, -1: none.  children: a signalfd */
    int guard;                     /* its pidfd; -1: there is none */
    bool ended;                    /* the parent is gone, or the guard */
    bool crowded;                  /* too many descriptors are under way; no event tells when that ends */
    struct host *hosts;
    struct waiting *first, **last;
    int groups;                    /* where cgroups are made; -1: nowhere */
    struct leftover *leftovers;
    uint64_t oom_kills, oom_looked_us;
    const struct muster__launcher_copies *copies; /* NULL: none are made */
    char *title;                   /* our arguments as the kernel shows them, which a copy overwrites */
    size_t title_size;
    size_t length;                 /* of the request in the buffer */
    char buffer[sizeof(struct muster__launcher_request) + MUSTER__LAUNCHER_TEXT_MAX];
};

/* ---- replies ---- */

/* True: it is through, or there is nobody to hear it. */
static bool send_now(struct launcher *launcher, const struct waiting *waiting)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec bytes = {(void *)(uintptr_t)&waiting->reply, sizeof waiting->reply};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (waiting->pidfd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &waiting->pidfd, sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(launcher->control, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    launcher->crowded = sent < 0 && (errno == ETOOMANYREFS || errno == ENOBUFS);
    return sent >= 0 || (errno != EAGAIN && !launcher->crowded);
}

static void flush_replies(struct launcher *launcher)
{
    while (launcher->first != NULL && send_now(launcher, launcher->first)) {
        struct waiting *done = launcher->first;
        launcher->first = done->next;
        if (launcher->first == NULL)
            launcher->last = &launcher->first;
        if (done->pidfd >= 0)
            close(done->pidfd);
        free(done);
    }
}

/* Takes the pidfd.  The parent may be slow, and we must go on watching for its end: so replies queue.
 * There are at most two for each spawn. */
static void reply(struct launcher *launcher, const struct muster__launcher_reply *text, int pidfd)
{
    struct waiting *waiting = malloc(sizeof *waiting);
    if (waiting == NULL) { /* a parent that misses a reply waits for ever: better that it sees us go */
        launcher->ended = true;
        if (pidfd >= 0)
            close(pidfd);
        return;
    }
    *waiting = (struct waiting){.pidfd = pidfd, .reply = *text};
    waiting->reply.magic = MUSTER__LAUNCHER_MAGIC;
    waiting->reply.version = MUSTER__LAUNCHER_VERSION;
    *launcher->last = waiting;
    launcher->last = &waiting->next;
    flush_replies(launcher);
}

static void reply_failed(struct launcher *launcher, uint32_t id, const char *step, int problem)
{
    struct muster__launcher_reply text = {.answer = MUSTER__LAUNCHER_FAILED, .id = id, .problem = problem};
    snprintf(text.step, sizeof text.step, "%s", step);
    reply(launcher, &text, -1);
}

/* ---- out of memory, as the kernel counts it ---- */

static uint64_t read_oom_kills(void)
{
    char text[16384];
    if (!muster__launcher_family_read(AT_FDCWD, "/proc/vmstat", text, sizeof text))
        return 0;
    const char *line = strstr(text, "\noom_kill ");
    return line == NULL ? 0 : strtoull(line + strlen("\noom_kill "), NULL, 10);
}

/* Did the kernel kill anything on this machine since the last look? */
static bool look_for_oom_kill(struct launcher *launcher)
{
    uint64_t before = launcher->oom_kills;
    launcher->oom_kills = read_oom_kills();
    launcher->oom_looked_us = muster__now_us();
    return launcher->oom_kills != before;
}

/* ---- spawning ---- */

struct request {
    struct muster__launcher_request head;
    char **arguments; /* one block of memory, both lists */
    char **environment;
    int descriptors[MUSTER__HOST_FD_COUNT];
};

static void close_all(const int *descriptors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
}

/* Cuts the text into strings, which stay where they are.  False: it is not what the head says. */
static bool cut_strings(struct request *request, char *text, size_t length)
{
    size_t arguments = request->head.argument_count;
    size_t count = arguments + request->head.environment_count;
    if (arguments == 0 || arguments > MUSTER__LAUNCHER_STRINGS_MAX ||
        request->head.environment_count > MUSTER__LAUNCHER_STRINGS_MAX)
        return false;
    char **strings = calloc(count + 2, sizeof *strings);
    if (strings == NULL)
        return false;
    char *end = text + length;
    for (size_t i = 0; i < count; i++) {
        char *nul = text == end ? NULL : memchr(text, '\0', (size_t)(end - text));
        if (nul == NULL) {
            free(strings);
            return false;
        }
        strings[i < arguments ? i : i + 1] = text; /* a NULL between the lists */
        text = nul + 1;
    }
    request->arguments = strings;
    request->environment = strings + arguments + 1;
    return true;
}

/* Gives each received descriptor the place that the head names.  False: their number differs. */
static bool place(struct request *request, const int *received, size_t count)
{
    size_t used = 0;
    for (int i = 0; i < MUSTER__HOST_FD_COUNT; i++) {
        request->descriptors[i] = -1;
        if (!(request->head.descriptors >> i & 1))
            continue;
        if (used < count)
            request->descriptors[i] = received[used];
        used++;
    }
    return used == count && request->head.descriptors >> MUSTER__HOST_FD_COUNT == 0;
}

static int make_group(struct launcher *launcher, struct host *host,
                      const struct muster__launcher_request *head)
{
    int join = -1;
    if (launcher->groups < 0 || (head->memory == 0 && head->children == 0))
        return -1;
    snprintf(host->group_name, sizeof host->group_name, "muster-%ld-%lu", (long)getpid(),
             (unsigned long)head->id);
    unsigned tasks = head->children == 0 ? 0 : head->children + TASKS_BESIDE;
    host->group = muster__launcher_cgroup_make(launcher->groups, host->group_name, head->memory, tasks, &join);
    return join;
}

static void drop_group(struct launcher *launcher, struct host *host)
{
    if (host->group < 0)
        return;
    close(host->group);
    host->group = -1;
    if (muster__launcher_cgroup_remove(launcher->groups, host->group_name))
        return;
    struct leftover *leftover = malloc(sizeof *leftover);
    if (leftover == NULL)
        return; /* an empty folder stays behind */
    memcpy(leftover->name, host->group_name, sizeof leftover->name);
    leftover->next = launcher->leftovers;
    launcher->leftovers = leftover;
}

static void drop_leftovers(struct launcher *launcher)
{
    for (struct leftover **at = &launcher->leftovers; *at != NULL;) {
        struct leftover *leftover = *at;
        if (muster__launcher_cgroup_remove(launcher->groups, leftover->name)) {
            *at = leftover->next;
            free(leftover);
        } else {
            at = &leftover->next;
        }
    }
}

/* ---- copies ---- */

/* What is read from the environment is read at different times, some of it before main(): a copy has the launcher's. */
static bool has_our_environment(const struct request *request)
{
    char **ours = environ;
    char **wanted = request->environment;
    while (*ours != NULL && *wanted != NULL && strcmp(*ours, *wanted) == 0) {
        ours++;
        wanted++;
    }
    return *ours == NULL && *wanted == NULL;
}

static bool will_be_copy(const struct launcher *launcher, const struct request *request)
{
    return request->head.may_be_copy != 0 && launcher->copies != NULL && has_our_environment(request) &&
           launcher->copies->load();
}

static void forget_leftovers(struct launcher *launcher)
{
    while (launcher->leftovers != NULL) {
        struct leftover *leftover = launcher->leftovers;
        launcher->leftovers = leftover->next;
        free(leftover);
    }
}

static void forget_hosts(struct launcher *launcher)
{
    while (launcher->hosts != NULL) {
        struct host *host = launcher->hosts;
        launcher->hosts = host->next;
        free(host);
    }
}

/* In the copy, whose descriptors are a host's already.  The request stays: the arguments are in it. */
_Noreturn static void be_host(struct launcher *launcher, struct host *host, const struct request *request)
{
    size_t length = strlen(request->arguments[0]);
    free(host);
    forget_hosts(launcher);
    forget_leftovers(launcher);
    for (struct waiting *waiting; (waiting = launcher->first) != NULL; free(waiting))
        launcher->first = waiting->next;
    memset(launcher->title, 0, launcher->title_size);
    memcpy(launcher->title, request->arguments[0], length < launcher->title_size ? length : launcher->title_size - 1);
    exit(launcher->copies->run((int)request->head.argument_count, request->arguments));
}

static enum muster_status start(struct launcher *launcher, struct host *host,
                                const struct request *request, int *ret_pidfd,
                                struct muster__spawn_problem *ret_problem)
{
    const struct muster__launcher_request *head = &request->head;
    bool copy = will_be_copy(launcher, request);
    struct muster__spawn_options options = {.program = OWN_PROGRAM,
                                            .arguments = request->arguments,
                                            .environment = request->environment,
                                            .descriptors = request->descriptors,
                                            .descriptor_count = MUSTER__HOST_FD_COUNT,
                                            .session = true,
                                            .dies_with_caller = true,
                                            .group = make_group(launcher, host, head),
                                            .open_files = head->open_files,
                                            .cpu_seconds = head->cpu_seconds,
                                            .no_core = true,
                                            .nice = head->nice};
    enum muster_status status = (copy ? muster__spawn_copy : muster__spawn)(&options, &host->pid, ret_pidfd, ret_problem);
    if (status == MUSTER_OK && host->pid == 0)
        be_host(launcher, host, request);
    if (options.group >= 0)
        close(options.group);
    return status;
}

static void spawn(struct launcher *launcher, const struct request *request)
{
    const struct muster__launcher_request *head = &request->head;
    struct host *host = calloc(1, sizeof *host);
    struct muster__spawn_problem problem = {0};
    int pidfd = -1;
    if (host == NULL) {
        reply_failed(launcher, head->id, "find memory for", ENOMEM);
        return;
    }
    uint64_t now_us = muster__now_us();
    if (now_us - launcher->oom_looked_us > OOM_LOOK_US) /* so that an old kill is not taken for a new one */
        (void)look_for_oom_kill(launcher);
    *host = (struct host){.id = head->id, .memory = head->memory, .children = head->children, .group = -1,
                           .began_us = now_us};
    if (start(launcher, host, request, &pidfd, &problem) != MUSTER_OK) {
        reply_failed(launcher, head->id, problem.step, problem.problem);
        drop_group(launcher, host);
        free(host);
        return;
    }
    host->next = launcher->hosts;
    launcher->hosts = host;
    struct muster__launcher_reply text = {
        .answer = MUSTER__LAUNCHER_SPAWNED, .id = head->id, .pid = host->pid};
    reply(launcher, &text, pidfd);
}

/* ---- requests ---- */

/* Takes the descriptors that came along, at most `most`; what is more is closed. */
static size_t take_descriptors(struct msghdr *message, int *received, size_t most)
{
    size_t count = 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
            if (count < most)
                received[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

static void kill_host(struct launcher *launcher, uint32_t id)
{
    for (struct host *host = launcher->hosts; host != NULL; host = host->next)
        if (host->id == id)
            kill(host->pid, SIGKILL); /* not reaped yet, so the number is its own */
}

static void take_request(struct launcher *launcher, size_t length, const int *received, size_t count,
                         bool cut)
{
    struct request request = {0};
    if (length < sizeof request.head) {
        reply_failed(launcher, 0, "understand a request about", EPROTO);
        return;
    }
    memcpy(&request.head, launcher->buffer, sizeof request.head);
    if (request.head.magic != MUSTER__LAUNCHER_MAGIC ||
        request.head.version != MUSTER__LAUNCHER_VERSION) {
        reply_failed(launcher, 0, "understand a request about", EPROTO);
    } else if (request.head.wish == MUSTER__LAUNCHER_KILL) {
        kill_host(launcher, request.head.id);
    } else if (request.head.wish != MUSTER__LAUNCHER_SPAWN) {
        reply_failed(launcher, request.head.id, "understand a request about", EPROTO);
    } else if (cut) { /* no room for the descriptors */
        reply_failed(launcher, request.head.id, "receive the descriptors of", EMFILE);
    } else if (!place(&request, received, count) ||
               !cut_strings(&request, launcher->buffer + sizeof request.head,
                            length - sizeof request.head)) {
        reply_failed(launcher, request.head.id, "understand a request about", EPROTO);
    } else {
        spawn(launcher, &request);
        free(request.arguments);
    }
}

/* False: there is no more. */
static bool receive(struct launcher *launcher)
{
    int received[MUSTER__HOST_FD_COUNT];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof received)];
    } control;
    struct iovec bytes = {launcher->buffer, sizeof launcher->buffer};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    ssize_t length = recvmsg(launcher->control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
        launcher->ended = launcher->ended || (errno != EAGAIN && errno != EINTR);
        return errno == EINTR;
    }
    size_t count = take_descriptors(&message, received, MUSTER__HOST_FD_COUNT);
    if ((size_t)length < launcher->length) /* what another host was given is not in a copy's memory */
        memset(launcher->buffer + length, 0, launcher->length - (size_t)length);
    launcher->length = (size_t)length;
    if (length == 0 && count == 0) { /* the end; or an empty packet, which tells nothing */
        struct pollfd peer = {.fd = launcher->control, .events = POLLRDHUP};
        launcher->ended = poll(&peer, 1, 0) > 0 && (peer.revents & (POLLRDHUP | POLLHUP)) != 0;
        return !launcher->ended;
    }
    if ((message.msg_flags & MSG_TRUNC) != 0)
        length = 0;
    take_request(launcher, (size_t)length, received, count, (message.msg_flags & MSG_CTRUNC) != 0);
    close_all(received, count);
    return true;
}

/* ---- the end of hosts and of what they started ---- */

static struct host **find_host(struct launcher *launcher, pid_t pid)
{
    struct host **at = &launcher->hosts;
    while (*at != NULL && (*at)->pid != pid)
        at = &(*at)->next;
    return at;
}

static void report(struct launcher *launcher, const struct host *host, int status,
                   const struct rusage *usage, bool oom)
{
    const struct timeval *user = &usage->ru_utime;
    const struct timeval *system = &usage->ru_stime;
    uint64_t peak = (uint64_t)usage->ru_maxrss * 1024;
    struct muster__launcher_reply text = {
        .answer = MUSTER__LAUNCHER_EXITED,
        .id = host->id,
        .pid = host->pid,
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .core = WIFSIGNALED(status) && WCOREDUMP(status),
        .oom = oom,
        .memory_limit_hit = host->over_limit,
        .children_limit_hit = host->over_children,
        .peak_memory = peak > host->peak ? peak : host->peak,
        .cpu_us = (uint64_t)(user->tv_sec + system->tv_sec) * 1000000u +
                  (uint64_t)(user->tv_usec + system->tv_usec),
        .lived_us = muster__now_us() - host->began_us};
    reply(launcher, &text, -1);
}

/* Its number cannot be another's yet: it is a zombie until we reap it. */
static void reap_host(struct launcher *launcher, struct host **at)
{
    struct host *host = *at;
    struct rusage usage = {0};
    int status = 0;
    kill(-host->pid, SIGKILL); /* the rest of its process group */
    if (host->group >= 0)
        muster__launcher_cgroup_kill(host->group);
    while (wait4(host->pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool oom = look_for_oom_kill(launcher) && killed;
    if (host->group >= 0 && killed && muster__launcher_cgroup_oom_kills(host->group) > 0)
        host->over_limit = oom = true;
    *at = host->next;
    report(launcher, host, status, &usage, oom);
    drop_group(launcher, host);
    free(host);
}

static bool is_of_live_host(struct launcher *launcher, pid_t pid)
{
    pid_t session = getsid(pid);
    return session > 0 && *find_host(launcher, session) != NULL;
}

struct stray_hunt {
    struct launcher *launcher;
    bool all;
};

/* A child of ours that is no host was left to us by its parent.  It may stay while the host of its session
 * lives; else it fled, or its host is dead. */
static bool kill_stray(pid_t pid, void *user_data)
{
    const struct stray_hunt *hunt = user_data;
    if (*find_host(hunt->launcher, pid) == NULL && (hunt->all || !is_of_live_host(hunt->launcher, pid)))
        kill(pid, SIGKILL);
    return true;
}

/* Those that each of them leaves behind in turn come with its own SIGCHLD. */
static void kill_strays(struct launcher *launcher, bool all)
{
    struct stray_hunt hunt = {launcher, all};
    muster__launcher_family_children(getpid(), kill_stray, &hunt);
}

static void reap_all(struct launcher *launcher)
{
    bool any = false;
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            break;
        struct host **at = find_host(launcher, info.si_pid);
        if (*at != NULL)
            reap_host(launcher, at);
        else
            waitpid(info.si_pid, NULL, WNOHANG);
        any = true;
    }
    if (any) {
        kill_strays(launcher, launcher->ended);
        drop_leftovers(launcher);
    }
}

static void read_child_signals(const struct launcher *launcher)
{
    struct signalfd_siginfo infos[8];
    while (read(launcher->children, infos, sizeof infos) > 0)
        ; /* they coalesce, so what ended is asked of waitid */
}

/* ---- limits that are watched: memory, processes ---- */

static uint64_t resident_bytes(pid_t pid)
{
    char path[64];
    char text[128];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    if (!muster__launcher_family_read(AT_FDCWD, path, text, sizeof text))
        return 0;
    return sscanf(text, "%*u %lu", &pages) == 1 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* True: it has more than half of what it may. */
static bool watch_memory(struct host *host)
{
    if (host->memory == 0 || host->group >= 0)
        return false;
    uint64_t bytes = resident_bytes(host->pid);
    host->peak = bytes > host->peak ? bytes : host->peak;
    if (bytes > host->memory && !host->over_limit) {
        host->over_limit = true;
        kill(host->pid, SIGKILL);
    }
    return bytes > host->memory / 2;
}

/* Those that left its group become ours with its end, and are killed then. */
static bool watch_children(struct host *host)
{
    if (host->children == 0)
        return false;
    size_t count = muster__launcher_family_count(host->pid, (size_t)host->children + 1);
    if (count > host->children && !host->over_children) {
        host->over_children = true;
        kill(host->pid, SIGKILL);
        kill(-host->pid, SIGKILL);
    }
    return count > host->children / 2;
}

/* How long until the next look, for poll; -1: there is nothing to watch. */
static int watch(struct launcher *launcher)
{
    int wait_ms = -1;
    bool flee = false;
    for (struct host *host = launcher->hosts; host != NULL; host = host->next) {
        bool near = watch_memory(host);
        near = watch_children(host) || near;
        if (near)
            wait_ms = WATCH_NEAR_MS;
        else if (wait_ms < 0 && (host->children != 0 || (host->memory != 0 && host->group < 0)))
            wait_ms = WATCH_FAR_MS;
        flee = flee || host->children != 0;
    }
    if (flee) /* whoever left both parent and session would not be counted */
        kill_strays(launcher, false);
    return wait_ms;
}

/* ---- all of it ---- */

static void wait_for_something(struct launcher *launcher, int timeout_ms)
{
    short wanted = launcher->first == NULL || launcher->crowded ? POLLIN : POLLIN | POLLOUT;
    if (launcher->crowded && (timeout_ms < 0 || timeout_ms > CROWDED_MS))
        timeout_ms = CROWDED_MS;
    struct pollfd fds[4] = {{.fd = launcher->control, .events = wanted},
                            {.fd = launcher->children, .events = POLLIN},
                            {.fd = launcher->parent, .events = POLLIN},
                            {.fd = launcher->guard, .events = POLLIN}};
    if (poll(fds, 4, timeout_ms) < 0)
        return;
    if (fds[1].revents != 0) { /* before requests: what they tell is newer */
        read_child_signals(launcher);
        reap_all(launcher);
    }
    flush_replies(launcher);
    if (fds[0].revents != 0)
        while (receive(launcher))
            ;
    if ((fds[0].revents & (POLLHUP | POLLERR)) != 0 || fds[2].revents != 0 || fds[3].revents != 0)
        launcher->ended = true;
}

/* A child process may be in a state in which no signal reaches it, hence the bound. */
static void end_everything(struct launcher *launcher)
{
    uint64_t until_us = muster__now_us() + END_US;
    for (struct host *host = launcher->hosts; host != NULL; host = host->next) {
        kill(-host->pid, SIGKILL);
        if (host->group >= 0)
            muster__launcher_cgroup_kill(host->group);
    }
    kill_strays(launcher, true);
    reap_all(launcher);
    siginfo_t none;
    while (waitid(P_ALL, 0, &none, WEXITED | WNOHANG | WNOWAIT) == 0) {
        uint64_t now_us = muster__now_us();
        struct pollfd children = {.fd = launcher->children, .events = POLLIN};
        if (now_us >= until_us || poll(&children, 1, (int)((until_us - now_us) / 1000) + 1) < 0)
            break;
        read_child_signals(launcher);
        reap_all(launcher);
    }
    drop_leftovers(launcher);
}

static bool prepare(struct launcher *launcher)
{
    launcher->children = muster__launcher_guard_prepare("muster-launcher");
    launcher->control = MUSTER__LAUNCHER_FD_CONTROL;
    launcher->parent = MUSTER__LAUNCHER_FD_PARENT;
    launcher->last = &launcher->first;
    launcher->oom_kills = read_oom_kills();
    launcher->oom_looked_us = muster__now_us();
    return launcher->children >= 0;
}

/* The parent knows the guard; it hears who we are. */
static void introduce(struct launcher *launcher)
{
    const struct muster__launcher_reply text = {.answer = MUSTER__LAUNCHER_RUNS, .pid = getpid()};
    reply(launcher, &text, (int)syscall(SYS_pidfd_open, getpid(), 0));
}

static bool is_packet_socket(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

static void clean_up(struct launcher *launcher)
{
    while (launcher->first != NULL) {
        struct waiting *waiting = launcher->first;
        launcher->first = waiting->next;
        if (waiting->pidfd >= 0)
            close(waiting->pidfd);
        free(waiting);
    }
    forget_leftovers(launcher);
    forget_hosts(launcher); /* those that could not be killed in time */
    if (launcher->groups >= 0)
        close(launcher->groups);
    if (launcher->children >= 0)
        close(launcher->children);
    if (launcher->guard >= 0)
        close(launcher->guard);
    free(launcher);
}

/* [--cgroup PATH | --no-cgroup] */
static int open_groups(int argument_count, char **arguments)
{
    if (argument_count == 1 && strcmp(arguments[0], "--no-cgroup") == 0)
        return -1;
    bool named = argument_count == 2 && strcmp(arguments[0], "--cgroup") == 0;
    return muster__launcher_cgroup_open(named ? arguments[1] : NULL);
}

/* The arguments lie one behind the other. */
static void find_title(struct launcher *launcher, int argument_count, char **arguments)
{
    const char *last = arguments[argument_count - 1];
    launcher->title = arguments[0];
    launcher->title_size = (size_t)(last + strlen(last) + 1 - arguments[0]);
}

int muster__launcher_main(int argument_count, char **arguments, const struct muster__launcher_copies *copies)
{
    if (!is_packet_socket(MUSTER__LAUNCHER_FD_CONTROL)) {
        fputs("muster-host --launcher is started by a program that embeds muster, not by hand\n", stderr);
        return 2;
    }
    struct launcher *launcher = calloc(1, sizeof *launcher);
    if (launcher == NULL)
        return 1;
    launcher->groups = -1;
    launcher->children = -1;
    launcher->copies = copies;
    find_title(launcher, argument_count, arguments);
    muster__launcher_guard(MUSTER__LAUNCHER_FD_CONTROL, &launcher->guard);
    bool ready = prepare(launcher);
    if (ready) {
        launcher->groups = open_groups(argument_count - 2, arguments + 2);
        introduce(launcher);
    }
    while (ready && !launcher->ended)
        wait_for_something(launcher, watch(launcher));
    if (ready)
        end_everything(launcher);
    clean_up(launcher);
    return ready ? 0 : 1;
}
