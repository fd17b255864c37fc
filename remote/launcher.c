/* remote/launcher.c - the parent's side: finds muster-host, starts the launcher process, asks it for hosts.
 *
 * Thread: any for what asks, the poller for what is answered; one lock, never held during a callback.  A
 * launcher process is a "connection"; when one dies its processes are orphans, whose own pidfds then tell
 * when they are gone.  Only the poller takes a connection or a process off its list, so what its epoll
 * names is always there. */
#include "remote/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "remote/launcher_internal.h"
#include "remote/spawn.h"
#include "runtime/check.h"
#include "runtime/own_folder.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define SIGNAL_GROUP 4u  /* PIDFD_SIGNAL_PROCESS_GROUP, since Linux 6.9 */
#define WAIT_FOR_PIDFD 3 /* P_PIDFD */
#define END_MS 2000
#define HOST_FILE "muster-host"

extern char **environ;

/* First member of what the epoll names. */
enum watched { CONNECTION, PROCESS };

/* A launcher process and its guard, which is the one that was spawned. */
struct connection {
    enum watched kind;
    struct connection *next;
    int control; /* -1: it has ended; now the guard is watched, which clears up */
    int pidfd;   /* the guard's */
    pid_t pid;
    int launcher_pidfd; /* -1: it has not said yet */
};

enum state {
    ASKED,    /* the request is sent */
    RUNNING,  /* SPAWNED came */
    ORPHANED, /* it ran when its launcher died: wait for the pidfd */
    DONE,     /* off the list */
};

/* All but the constants is under the launcher's lock. */
struct muster__process {
    enum watched kind;
    struct muster__process *next;
    struct muster__launcher *launcher;
    struct connection *connection; /* NULL: it died */
    uint32_t id;
    unsigned references; /* the user's, the list's, a callback's */

    enum state state;
    bool detached; /* the user destroyed it */
    bool kill_when_spawned;
    int killed_with; /* the last signal that was sent; 0: none */
    pid_t pid;
    int pidfd;

    /* Constants. */
    uint64_t began_us;
    uint64_t memory;
    unsigned cpu_seconds, children;
    muster__process_spawned_fn *spawned;
    muster__process_exited_fn *exited;
    void *user_data;
};

struct muster__launcher {
    char *program, *cgroup; /* cgroup: NULL: the launcher looks itself */
    char **environment;     /* the launcher's and thereby its hosts', as ours was when we began */
    int epoll;
    atomic_uint references; /* the user's, and one of each process */

    pthread_mutex_t lock;
    bool closed;
    struct connection *connections, *current; /* current: NULL: none, or found dead */
    struct muster__process *processes;
    uint32_t last_id;
};

/* ---- where muster-host is ---- */

/* NULL: no such program there; *tried grows by it. */
static char *try_program(char **tried, const char *folder, const char *below)
{
    if (folder == NULL || *folder == '\0')
        return NULL;
    char *program = muster__format("%s%s", folder, below);
    if (program != NULL && access(program, X_OK) == 0)
        return program;
    char *longer = muster__format("%s%s%s", *tried == NULL ? "" : *tried, *tried == NULL ? "" : ", ",
                                  program == NULL ? folder : program);
    free(program);
    free(*tried);
    *tried = longer;
    return NULL;
}

static char *search_program(char **tried)
{
    char *own = muster__own_folder();
    char *program = try_program(tried, own, "/" HOST_FILE);
    if (program == NULL)
        program = try_program(tried, own, "/muster/" HOST_FILE);
    free(own);
#ifdef MUSTER_LIBEXECDIR
    if (program == NULL)
        program = try_program(tried, MUSTER_LIBEXECDIR, "/" HOST_FILE);
#endif
    return program;
}

/* Whoever names a program means that one and no other. */
static char *find_program(const char *named, struct muster_error *error)
{
    char *tried = NULL;
    const char *wanted = named != NULL ? named : secure_getenv("MUSTER_HOST_PROGRAM");
    bool is_named = wanted != NULL && *wanted != '\0';
    char *program = is_named ? try_program(&tried, wanted, "") : search_program(&tried);
    if (program == NULL && is_named)
        muster_error_set(error, MUSTER_NOT_FOUND, "the program for hosts, %s, cannot be run: %s", wanted,
                         strerror(errno));
    else if (program == NULL)
        muster_error_set(error, MUSTER_NOT_FOUND,
                         "the program for hosts was not found: there is no %s",
                         tried == NULL ? HOST_FILE " in any folder" : tried);
    free(tried);
    return program;
}

/* ---- the environment of hosts ---- */

static bool is_for_hosts(const char *entry)
{
    static const char *const names[] = {"LANG=", "PATH=", "TZ=", "MUSTER_"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void free_strings(char **strings)
{
    for (size_t i = 0; strings != NULL && strings[i] != NULL; i++)
        free(strings[i]);
    free(strings);
}

static bool is_replaced(const char *entry, const char *const *by)
{
    size_t name = strcspn(entry, "=");
    for (; by != NULL && *by != NULL; by++)
        if (strncmp(*by, entry, name) == 0 && (*by)[name] == '=')
            return true;
    return false;
}

static size_t count_strings(const char *const *strings)
{
    size_t count = 0;
    while (strings != NULL && strings[count] != NULL)
        count++;
    return count;
}

/* Of ours and of what is given.  A copy, made once: other threads of the embedder may change theirs. */
static char **make_environment(const char *const *given)
{
    size_t most = count_strings((const char *const *)environ) + count_strings(given);
    char **made = calloc(most + 1, sizeof *made);
    size_t used = 0;
    bool complete = made != NULL;
    for (char **at = environ; complete && at != NULL && *at != NULL && used < most; at++)
        if (is_for_hosts(*at) && !is_replaced(*at, given))
            complete = (made[used++] = muster__strdup(*at)) != NULL;
    for (const char *const *at = given; complete && at != NULL && *at != NULL && used < most; at++)
        complete = (made[used++] = muster__strdup(*at)) != NULL;
    if (complete)
        return made;
    free_strings(made);
    return NULL;
}

/* ---- the launcher's life ---- */

static void launcher_release(struct muster__launcher *launcher)
{
    if (atomic_fetch_sub(&launcher->references, 1) != 1)
        return;
    free_strings(launcher->environment);
    free(launcher->program);
    free(launcher->cgroup);
    pthread_mutex_destroy(&launcher->lock);
    free(launcher);
}

static enum muster_status out_of_memory(struct muster_error *error)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while starting a host");
    return MUSTER_NO_MEMORY;
}

enum muster_status muster__launcher_new(const struct muster__launcher_options *options,
                                        struct muster__launcher **ret_launcher,
                                        struct muster_error *error)
{
    const char *cgroup = options->cgroup != NULL ? options->cgroup : secure_getenv("MUSTER_CGROUP");
    char *program = find_program(options->program, error);
    if (program == NULL)
        return MUSTER_NOT_FOUND;
    struct muster__launcher *launcher = calloc(1, sizeof *launcher);
    if (launcher == NULL) {
        free(program);
        return out_of_memory(error);
    }
    atomic_init(&launcher->references, 1);
    pthread_mutex_init(&launcher->lock, NULL);
    launcher->program = program;
    launcher->cgroup = muster__strdup(cgroup);
    launcher->environment = make_environment(options->environment);
    launcher->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (launcher->environment == NULL || (cgroup != NULL && launcher->cgroup == NULL)) {
        muster__launcher_destroy(launcher);
        return out_of_memory(error);
    }
    if (launcher->epoll < 0) {
        muster_error_set(error, MUSTER_SYSTEM, "cannot watch hosts: %s", strerror(errno));
        muster__launcher_destroy(launcher);
        return MUSTER_SYSTEM;
    }
    *ret_launcher = launcher;
    return MUSTER_OK;
}

int muster__launcher_fd(const struct muster__launcher *launcher)
{
    return launcher->epoll;
}

pid_t muster__launcher_pid(struct muster__launcher *launcher)
{
    pthread_mutex_lock(&launcher->lock);
    pid_t pid = launcher->current == NULL ? 0 : launcher->current->pid;
    pthread_mutex_unlock(&launcher->lock);
    return pid;
}

/* ---- the launcher process ---- */

static bool watch(const struct muster__launcher *launcher, int fd, enum watched *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(launcher->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static enum muster_status tell(struct muster_error *error, const char *step, const char *program,
                               int problem)
{
    muster_error_set(error, MUSTER_SYSTEM, "cannot %s %s: %s", step, program, strerror(problem));
    return MUSTER_SYSTEM;
}

static enum muster_status run_launcher(const struct muster__launcher *launcher, int control, int self,
                                       struct connection *connection, struct muster_error *error)
{
    static const char *const none = "--no-cgroup";
    bool named = launcher->cgroup != NULL && *launcher->cgroup != '\0';
    const char *arguments[] = {HOST_FILE, "--launcher", NULL, NULL, NULL};
    if (launcher->cgroup != NULL)
        arguments[2] = named ? "--cgroup" : none;
    if (named)
        arguments[3] = launcher->cgroup;
    int descriptors[MUSTER__LAUNCHER_FD_COUNT] = {
        -1, -1, fcntl(STDERR_FILENO, F_GETFD) < 0 ? -1 : STDERR_FILENO, control, self};
    struct muster__spawn_options options = {.program = launcher->program,
                                            .arguments = (char *const *)(uintptr_t)arguments,
                                            .environment = launcher->environment,
                                            .descriptors = descriptors,
                                            .descriptor_count = MUSTER__LAUNCHER_FD_COUNT,
                                            .orphan = true,
                                            .session = true,
                                            .group = -1};
    struct muster__spawn_problem problem;
    if (muster__spawn(&options, &connection->pid, &connection->pidfd, &problem) != MUSTER_OK)
        return tell(error, problem.step, launcher->program, problem.problem);
    return MUSTER_OK;
}

static void connection_free(struct connection *connection)
{
    if (connection->launcher_pidfd >= 0)
        close(connection->launcher_pidfd);
    if (connection->control >= 0)
        close(connection->control);
    if (connection->pidfd >= 0)
        close(connection->pidfd);
    free(connection);
}

static enum muster_status connect_launcher(struct muster__launcher *launcher,
                                           struct connection *connection, struct muster_error *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return tell(error, "connect to", launcher->program, errno);
    connection->control = pair[0];
    /* So that it sees our end also when somebody whom we forked still holds our end of the socket. */
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    enum muster_status status =
        self < 0 ? tell(error, "let itself be watched by", launcher->program, errno)
                 : run_launcher(launcher, pair[1], self, connection, error);
    close(pair[1]);
    if (self >= 0)
        close(self);
    if (status == MUSTER_OK && !watch(launcher, connection->control, &connection->kind))
        status = tell(error, "watch", launcher->program, errno);
    return status;
}

static enum muster_status start_launcher_locked(struct muster__launcher *launcher,
                                                struct muster_error *error)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return out_of_memory(error);
    *connection = (struct connection){.kind = CONNECTION, .control = -1, .pidfd = -1, .launcher_pidfd = -1};
    enum muster_status status = connect_launcher(launcher, connection, error);
    if (status != MUSTER_OK) {
        connection_free(connection); /* if it runs, it sees the end of its socket */
        return status;
    }
    connection->next = launcher->connections;
    launcher->connections = launcher->current = connection;
    return MUSTER_OK;
}

/* ---- processes ---- */

static void process_release(struct muster__process *process)
{
    struct muster__launcher *launcher = process->launcher;
    pthread_mutex_lock(&launcher->lock);
    bool last = --process->references == 0;
    pthread_mutex_unlock(&launcher->lock);
    if (!last)
        return;
    if (process->pidfd >= 0)
        close(process->pidfd);
    free(process);
    launcher_release(launcher);
}

/* Its reference passes to the caller. */
static void unlist_locked(struct muster__process *process)
{
    struct muster__process **at = &process->launcher->processes;
    while (*at != process)
        at = &(*at)->next;
    *at = process->next;
    process->state = DONE;
    process->connection = NULL;
}

static struct muster__process *find_locked(const struct muster__launcher *launcher,
                                           const struct connection *connection, uint32_t id)
{
    struct muster__process *process = launcher->processes;
    while (process != NULL && (process->id != id || process->connection != connection))
        process = process->next;
    return process;
}

static bool send_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0u) == 0;
}

/* Perhaps nobody has asked how yet. */
static bool has_ended(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, 0) == 1;
}

/* With what it started, where the kernel can name its group without a race. */
static void kill_group(int pidfd)
{
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, SIGNAL_GROUP) < 0)
        send_signal(pidfd, SIGKILL);
}

/* ---- asking for a host ---- */

/* A packet under way: the head, then the strings. */
struct packet {
    char *bytes;
    size_t length, capacity;
    bool too_long, out_of_memory;
};

static void put(struct packet *packet, const void *bytes, size_t length)
{
    size_t most = sizeof(struct muster__launcher_request) + MUSTER__LAUNCHER_TEXT_MAX;
    packet->too_long = packet->too_long || length > most - packet->length;
    if (packet->too_long || packet->out_of_memory)
        return;
    if (length > packet->capacity - packet->length) {
        size_t capacity = packet->capacity == 0 ? 1024 : packet->capacity * 2;
        while (capacity - packet->length < length)
            capacity *= 2;
        char *grown = realloc(packet->bytes, capacity);
        packet->out_of_memory = grown == NULL;
        if (grown == NULL)
            return;
        packet->bytes = grown;
        packet->capacity = capacity;
    }
    memcpy(packet->bytes + packet->length, bytes, length);
    packet->length += length;
}

static void put_string(struct packet *packet, const char *string, uint32_t *count)
{
    put(packet, string, strlen(string) + 1);
    ++*count;
    packet->too_long = packet->too_long || *count > MUSTER__LAUNCHER_STRINGS_MAX;
}

static void put_environment(struct packet *packet, char *const *ours, const char *const *theirs,
                            uint32_t *count)
{
    for (; *ours != NULL; ours++)
        if (!is_replaced(*ours, theirs))
            put_string(packet, *ours, count);
    for (; theirs != NULL && *theirs != NULL; theirs++)
        put_string(packet, *theirs, count);
}

static void put_arguments(struct packet *packet, const struct muster__process_options *options,
                          uint32_t *count)
{
    char *first = options->name == NULL ? NULL : muster__format(HOST_FILE ": %.64s", options->name);
    put_string(packet, first == NULL ? HOST_FILE : first, count);
    free(first);
    for (const char *const *at = options->arguments; at != NULL && *at != NULL; at++)
        put_string(packet, *at, count);
}

static enum muster_status make_packet(const struct muster__launcher *launcher,
                                      const struct muster__process_options *options, uint32_t id,
                                      struct packet *packet, struct muster_error *error)
{
    struct muster__launcher_request head = {.magic = MUSTER__LAUNCHER_MAGIC,
                                            .version = MUSTER__LAUNCHER_VERSION,
                                            .wish = MUSTER__LAUNCHER_SPAWN,
                                            .id = id,
                                            .open_files = options->open_files,
                                            .children = options->children,
                                            .cpu_seconds = options->cpu_seconds,
                                            .nice = options->nice,
                                            .may_be_copy = options->may_be_copy,
                                            .memory = options->memory};
    for (int i = MUSTER__HOST_FD_ERRORS; i < MUSTER__HOST_FD_COUNT; i++)
        head.descriptors |= (uint32_t)(options->descriptors[i] >= 0) << i;
    put(packet, &head, sizeof head);
    put_arguments(packet, options, &head.argument_count);
    put_environment(packet, launcher->environment, options->environment, &head.environment_count);
    if (packet->out_of_memory)
        return out_of_memory(error);
    if (packet->too_long) {
        muster_error_set(error, MUSTER_INVALID_ARGUMENT,
                         "the arguments and the environment of a host are too long");
        return MUSTER_INVALID_ARGUMENT;
    }
    memcpy(packet->bytes, &head, sizeof head); /* now with the counts */
    return MUSTER_OK;
}

static ssize_t send_packet(int control, const struct packet *packet, const int *descriptors)
{
    int sent[MUSTER__HOST_FD_COUNT];
    size_t count = 0;
    for (int i = MUSTER__HOST_FD_ERRORS; descriptors != NULL && i < MUSTER__HOST_FD_COUNT; i++)
        if (descriptors[i] >= 0)
            sent[count++] = descriptors[i];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof sent)];
    } rights = {0};
    struct iovec bytes = {packet->bytes, packet->length};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = rights.space;
        message.msg_controllen = CMSG_SPACE(count * sizeof *sent);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof *sent);
        memcpy(CMSG_DATA(header), sent, count * sizeof *sent);
    }
    ssize_t length;
    do
        length = sendmsg(control, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (length < 0 && errno == EINTR);
    return length;
}

/* A launcher that died, which the poller has not seen yet, is replaced once. */
static enum muster_status ask_locked(struct muster__launcher *launcher, struct muster__process *process,
                                     const struct packet *packet, const int *descriptors,
                                     struct muster_error *error)
{
    for (int attempt = 0;; attempt++) {
        if (launcher->current == NULL) {
            enum muster_status status = start_launcher_locked(launcher, error);
            if (status != MUSTER_OK)
                return status;
        }
        if (send_packet(launcher->current->control, packet, descriptors) >= 0)
            break;
        int problem = errno;
        if ((problem == EPIPE || problem == ECONNRESET) && attempt == 0) {
            launcher->current = NULL; /* the poller finds and buries it */
            continue;
        }
        if (problem != EAGAIN)
            return tell(error, "reach the launcher", launcher->program, problem);
        muster_error_set(error, MUSTER_QUEUE_FULL, "too many hosts are being started");
        return MUSTER_QUEUE_FULL;
    }
    process->connection = launcher->current;
    process->next = launcher->processes;
    launcher->processes = process;
    return MUSTER_OK;
}

static struct muster__process *process_new(struct muster__launcher *launcher,
                                           const struct muster__process_options *options)
{
    struct muster__process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return NULL;
    *process = (struct muster__process){.kind = PROCESS,
                                        .launcher = launcher,
                                        .references = 2,
                                        .pidfd = -1,
                                        .began_us = muster__now_us(),
                                        .memory = options->memory,
                                        .cpu_seconds = options->cpu_seconds,
                                        .children = options->children,
                                        .spawned = options->spawned,
                                        .exited = options->exited,
                                        .user_data = options->user_data};
    atomic_fetch_add(&launcher->references, 1);
    return process;
}

enum muster_status muster__launcher_spawn(struct muster__launcher *launcher,
                                          const struct muster__process_options *options,
                                          struct muster__process **ret_process,
                                          struct muster_error *error)
{
    struct packet packet = {0};
    struct muster__process *process = process_new(launcher, options);
    if (process == NULL)
        return out_of_memory(error);
    pthread_mutex_lock(&launcher->lock);
    if (++launcher->last_id == 0) /* 0 is nobody's */
        launcher->last_id = 1;
    process->id = launcher->last_id;
    enum muster_status status = launcher->closed ? MUSTER_CLOSED : MUSTER_OK;
    if (status == MUSTER_OK)
        status = make_packet(launcher, options, process->id, &packet, error);
    if (status == MUSTER_OK)
        status = ask_locked(launcher, process, &packet, options->descriptors, error);
    if (status != MUSTER_OK)
        process->references = 1;
    pthread_mutex_unlock(&launcher->lock);
    free(packet.bytes);
    if (status != MUSTER_OK) {
        process_release(process);
        return status;
    }
    *ret_process = process;
    return MUSTER_OK;
}

/* ---- what a user does to a process ---- */

enum muster_status muster__process_kill(struct muster__process *process, int signal)
{
    struct muster__launcher *launcher = process->launcher;
    enum muster_status status = MUSTER_CLOSED;
    pthread_mutex_lock(&launcher->lock);
    if (process->state == ASKED && signal == SIGKILL) {
        process->kill_when_spawned = true;
        status = MUSTER_OK;
    } else if (process->state == RUNNING || process->state == ORPHANED) {
        bool ended = has_ended(process->pidfd); /* of something else, which will be told */
        if (send_signal(process->pidfd, signal))
            status = MUSTER_OK;
        else if (errno != ESRCH)
            status = errno == EINVAL ? MUSTER_INVALID_ARGUMENT : MUSTER_SYSTEM;
        if (status == MUSTER_OK && signal != 0 && !ended)
            process->killed_with = signal;
    }
    pthread_mutex_unlock(&launcher->lock);
    return status;
}

pid_t muster__process_pid(const struct muster__process *process)
{
    pthread_mutex_lock(&process->launcher->lock);
    pid_t pid = process->pid;
    pthread_mutex_unlock(&process->launcher->lock);
    return pid;
}

int muster__process_pidfd(const struct muster__process *process)
{
    pthread_mutex_lock(&process->launcher->lock);
    int pidfd = process->pidfd;
    pthread_mutex_unlock(&process->launcher->lock);
    return pidfd;
}

void muster__process_destroy(struct muster__process *take_process)
{
    if (take_process == NULL)
        return;
    pthread_mutex_lock(&take_process->launcher->lock);
    MUSTER_CHECK(!take_process->detached);
    take_process->detached = true;
    if (take_process->state == RUNNING)
        send_signal(take_process->pidfd, SIGKILL);
    pthread_mutex_unlock(&take_process->launcher->lock);
    process_release(take_process);
}

/* ---- answers: the poller ---- */

static void tell_spawned(struct muster__process *process, enum muster_status status,
                         const struct muster_error *error)
{
    static const struct muster_error none;
    if (!process->detached && process->spawned != NULL)
        process->spawned(process, status, error == NULL ? &none : error, process->pid, process->pidfd,
                         process->user_data);
}

static void tell_exited(struct muster__process *process, const struct muster__exit_report *report)
{
    if (!process->detached && process->exited != NULL)
        process->exited(process, report, process->user_data);
}

static void fail(struct muster__process *process, const char *format, const char *what)
{
    struct muster_error error = {0};
    muster_error_set(&error, MUSTER_SYSTEM, format, what);
    tell_spawned(process, MUSTER_SYSTEM, &error);
    muster_error_clean_up(&error);
}

static void take_spawned(struct muster__launcher *launcher, struct connection *connection,
                         const struct muster__launcher_reply *reply, int pidfd)
{
    struct muster__launcher_request head = {.magic = MUSTER__LAUNCHER_MAGIC,
                                            .version = MUSTER__LAUNCHER_VERSION,
                                            .wish = MUSTER__LAUNCHER_KILL,
                                            .id = reply->id};
    const struct packet kill_it = {.bytes = (char *)&head, .length = sizeof head};
    pthread_mutex_lock(&launcher->lock);
    struct muster__process *process = find_locked(launcher, connection, reply->id);
    if (process == NULL || process->state != ASKED) {
        pthread_mutex_unlock(&launcher->lock);
        if (pidfd >= 0)
            close(pidfd);
        return;
    }
    if (pidfd < 0) { /* we have as many descriptors as we may */
        unlist_locked(process);
    } else {
        process->pid = reply->pid;
        process->pidfd = pidfd;
        process->state = RUNNING;
        process->references++;
        if (process->detached || process->kill_when_spawned) {
            process->killed_with = SIGKILL;
            send_signal(pidfd, SIGKILL);
        }
    }
    pthread_mutex_unlock(&launcher->lock);
    if (pidfd >= 0) {
        tell_spawned(process, MUSTER_OK, NULL);
    } else {
        (void)send_packet(connection->control, &kill_it, NULL);
        fail(process, "cannot watch a host: %s", strerror(EMFILE));
    }
    process_release(process);
}

/* Off the list, with the list's reference; NULL: not such a one. */
static struct muster__process *take_off(struct muster__launcher *launcher,
                                        const struct connection *connection, uint32_t id,
                                        enum state state)
{
    pthread_mutex_lock(&launcher->lock);
    struct muster__process *process = find_locked(launcher, connection, id);
    if (process != NULL && process->state == state)
        unlist_locked(process);
    else
        process = NULL;
    pthread_mutex_unlock(&launcher->lock);
    return process;
}

static void take_failed(struct muster__launcher *launcher, const struct connection *connection,
                        const struct muster__launcher_reply *reply)
{
    struct muster__process *process = take_off(launcher, connection, reply->id, ASKED);
    if (process == NULL)
        return;
    struct muster_error error = {0};
    (void)tell(&error, reply->step, launcher->program, reply->problem);
    tell_spawned(process, MUSTER_SYSTEM, &error);
    muster_error_clean_up(&error);
    process_release(process);
}

static void take_exited(struct muster__launcher *launcher, const struct connection *connection,
                        const struct muster__launcher_reply *reply)
{
    struct muster__process *process = take_off(launcher, connection, reply->id, RUNNING);
    if (process == NULL)
        return;
    struct muster__exit_report report = {.cause = MUSTER__EXIT_BY_ITSELF,
                                         .code = reply->code,
                                         .signal = reply->signal,
                                         .core = reply->core != 0,
                                         .oom = reply->oom != 0,
                                         .peak_memory = reply->peak_memory,
                                         .memory_limit = process->memory,
                                         .cpu_us = reply->cpu_us,
                                         .cpu_limit_s = process->cpu_seconds,
                                         .children_limit = process->children,
                                         .lived_us = reply->lived_us};
    /* At a limit first: who notices that it is dying may kill it as well. */
    if (reply->memory_limit_hit != 0 && reply->signal == SIGKILL)
        report.cause = MUSTER__EXIT_MEMORY_LIMIT;
    else if (reply->children_limit_hit != 0 && reply->signal == SIGKILL)
        report.cause = MUSTER__EXIT_CHILDREN_LIMIT;
    else if (reply->signal != 0 && process->killed_with == reply->signal)
        report.cause = MUSTER__EXIT_KILLED;
    tell_exited(process, &report);
    process_release(process);
}

static void take_runs(struct muster__launcher *launcher, struct connection *connection,
                      const struct muster__launcher_reply *reply, int pidfd)
{
    if (connection->launcher_pidfd >= 0) { /* once is enough */
        if (pidfd >= 0)
            close(pidfd);
        return;
    }
    pthread_mutex_lock(&launcher->lock);
    connection->launcher_pidfd = pidfd;
    connection->pid = reply->pid;
    pthread_mutex_unlock(&launcher->lock);
}

enum received { REPLY, NOTHING, ENDED, NONSENSE };

static int take_descriptor(struct msghdr *message)
{
    int fd = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

/* NONSENSE: anything but a reply of this version; what cannot be understood cannot be relied on. */
static enum received receive(int control, struct muster__launcher_reply *reply, int *ret_pidfd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))]; /* on 64 bits there is room for two: see take_descriptor */
    } rights;
    struct iovec bytes = {reply, sizeof *reply};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = rights.space,
                             .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t length;
    do
        length = recvmsg(control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return errno == EAGAIN ? NOTHING : ENDED;
    *ret_pidfd = take_descriptor(&message);
    if (length == (ssize_t)sizeof *reply && (message.msg_flags & MSG_TRUNC) == 0 &&
        reply->magic == MUSTER__LAUNCHER_MAGIC && reply->version == MUSTER__LAUNCHER_VERSION &&
        memchr(reply->step, '\0', sizeof reply->step) != NULL)
        return REPLY;
    if (*ret_pidfd >= 0)
        close(*ret_pidfd);
    return length == 0 ? ENDED : NONSENSE;
}

/* Sets one process of a dead launcher on its way.  False: there is none left. */
static bool orphan_one(struct muster__launcher *launcher, const struct connection *connection)
{
    pthread_mutex_lock(&launcher->lock);
    struct muster__process *process = launcher->processes;
    while (process != NULL && process->connection != connection)
        process = process->next;
    bool was_asked = process != NULL && process->state == ASKED;
    bool lost = false;
    if (was_asked) {
        unlist_locked(process);
    } else if (process != NULL) {
        kill_group(process->pidfd); /* it dies with its launcher; what it started may not */
        process->state = ORPHANED;
        process->connection = NULL;
        lost = !watch(launcher, process->pidfd, &process->kind);
        if (lost)
            unlist_locked(process);
    }
    pthread_mutex_unlock(&launcher->lock);
    if (was_asked)
        fail(process, "the launcher, %s, ended before it had started the host", launcher->program);
    if (lost)
        tell_exited(process, &(struct muster__exit_report){.memory_limit = process->memory});
    if (was_asked || lost)
        process_release(process);
    return process != NULL;
}

/* Adopters of orphans have the launcher for a child; for all others waitid answers at once. */
static void bury(struct connection *connection)
{
    siginfo_t info;
    while (waitid((idtype_t)WAIT_FOR_PIDFD, (id_t)connection->pidfd, &info, WEXITED) < 0 &&
           errno == EINTR)
        ;
    connection_free(connection);
}

static void bury_connection(struct muster__launcher *launcher, struct connection *connection)
{
    pthread_mutex_lock(&launcher->lock);
    struct connection **at = &launcher->connections;
    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    pthread_mutex_unlock(&launcher->lock);
    epoll_ctl(launcher->epoll, EPOLL_CTL_DEL, connection->pidfd, NULL);
    bury(connection);
}

/* The guard goes when it has killed what its launcher left; one that talks nonsense is none. */
static void retire(struct muster__launcher *launcher, struct connection *connection, bool nonsense)
{
    pthread_mutex_lock(&launcher->lock);
    if (launcher->current == connection)
        launcher->current = NULL;
    int control = connection->control;
    connection->control = -1;
    pthread_mutex_unlock(&launcher->lock);
    epoll_ctl(launcher->epoll, EPOLL_CTL_DEL, control, NULL);
    close(control);
    if (nonsense)
        send_signal(connection->pidfd, SIGKILL);
    while (orphan_one(launcher, connection))
        ;
    if (!watch(launcher, connection->pidfd, &connection->kind)) {
        send_signal(connection->pidfd, SIGKILL);
        bury_connection(launcher, connection);
    }
}

static void serve(struct muster__launcher *launcher, struct connection *connection)
{
    for (;;) {
        struct muster__launcher_reply reply;
        int pidfd = -1;
        enum received received = receive(connection->control, &reply, &pidfd);
        if (received == ENDED || received == NONSENSE)
            retire(launcher, connection, received == NONSENSE);
        if (received != REPLY)
            return;
        if (reply.answer == MUSTER__LAUNCHER_SPAWNED)
            take_spawned(launcher, connection, &reply, pidfd);
        else if (reply.answer == MUSTER__LAUNCHER_RUNS)
            take_runs(launcher, connection, &reply, pidfd);
        else if (pidfd >= 0)
            close(pidfd);
        if (reply.answer == MUSTER__LAUNCHER_FAILED)
            take_failed(launcher, connection, &reply);
        else if (reply.answer == MUSTER__LAUNCHER_EXITED)
            take_exited(launcher, connection, &reply);
    }
}

static void see_orphan_gone(struct muster__launcher *launcher, struct muster__process *process)
{
    epoll_ctl(launcher->epoll, EPOLL_CTL_DEL, process->pidfd, NULL);
    pthread_mutex_lock(&launcher->lock);
    unlist_locked(process);
    pthread_mutex_unlock(&launcher->lock);
    tell_exited(process, &(struct muster__exit_report){.cause = MUSTER__EXIT_UNKNOWN,
                                                       .memory_limit = process->memory,
                                                       .cpu_limit_s = process->cpu_seconds,
                                                       .lived_us = muster__now_us() - process->began_us});
    process_release(process);
}

void muster__launcher_on_ready(struct muster__launcher *launcher)
{
    struct epoll_event events[16];
    int count;
    while ((count = epoll_wait(launcher->epoll, events, 16, 0)) > 0)
        for (int i = 0; i < count; i++) {
            enum watched *what = events[i].data.ptr;
            struct connection *connection = MUSTER_CONTAINER_OF(what, struct connection, kind);
            if (*what == CONNECTION && connection->control < 0)
                bury_connection(launcher, connection);
            else if (*what == CONNECTION)
                serve(launcher, connection);
            else
                see_orphan_gone(launcher, MUSTER_CONTAINER_OF(what, struct muster__process, kind));
        }
}

/* ---- the end ---- */

static bool is_gone_within(int pidfd, uint64_t ms)
{
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    uint64_t until_us = muster__now_us() + ms * 1000;
    uint64_t now_us;
    int count = 0;
    while ((now_us = muster__now_us()) < until_us &&
           (count = poll(&gone, 1, (int)((until_us - now_us) / 1000) + 1)) < 0 && errno == EINTR)
        ;
    return count > 0;
}

static void end_connection(struct connection *connection)
{
    if (connection->control >= 0)
        close(connection->control); /* which tells it */
    connection->control = -1;
    if (!is_gone_within(connection->pidfd, END_MS) && connection->launcher_pidfd >= 0) {
        send_signal(connection->launcher_pidfd, SIGKILL); /* its guard does the rest */
        (void)is_gone_within(connection->pidfd, END_MS / 4);
    }
    send_signal(connection->pidfd, SIGKILL);
    bury(connection);
}

void muster__launcher_destroy(struct muster__launcher *take_launcher)
{
    struct muster__launcher *launcher = take_launcher;
    if (launcher == NULL)
        return;
    pthread_mutex_lock(&launcher->lock);
    launcher->closed = true;
    launcher->current = NULL;
    struct connection *connections = launcher->connections;
    launcher->connections = NULL;
    pthread_mutex_unlock(&launcher->lock);
    while (connections != NULL) {
        struct connection *connection = connections;
        connections = connection->next;
        end_connection(connection);
    }
    if (launcher->epoll >= 0)
        close(launcher->epoll);
    launcher->epoll = -1;
    while (launcher->processes != NULL) {
        struct muster__process *process = launcher->processes;
        pthread_mutex_lock(&launcher->lock);
        if (process->pidfd >= 0)
            send_signal(process->pidfd, SIGKILL);
        unlist_locked(process);
        pthread_mutex_unlock(&launcher->lock);
        process_release(process);
    }
    launcher_release(launcher);
}
