/* remote/wall_seccomp.c - which system calls the process may make.
 *
 * Main thread, once; the filter is put on every thread at once.  Two shapes: trust script allows all but
 * a list, trust none refuses all but a list.  The kernel looks at numbers only, never at memory: where a
 * call's danger lies behind a pointer (clone3, a path, the address in sendmsg), the call is refused, or
 * what would make it dangerous cannot be made.
 *
 * In a list that allows, a comparison takes all 64 bits: what the kernel would cut off refuses the call.
 * In one that refuses it takes the 32 that the kernel looks at, or high bits would be a way around. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include "remote/wall.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LOW 0xffffffffull

#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef TIOCLINUX
#define TIOCLINUX 0x541c
#endif

/* What no library asks for in passing: only an administrator's program does, or an attack.  Trust script
 * is told EPERM, trust none is killed, so that somebody hears of it. */
static const char *const privileged[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen",
    "fsconfig", "fsmount", "fspick", "mount_setattr",
    "setns", "unshare",
    "bpf", "perf_event_open", "userfaultfd", "open_by_handle_at", "fanotify_init",
    "keyctl", "add_key", "request_key",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
    "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup",
    "settimeofday", "clock_settime", "sethostname", "setdomainname", "iopl", "ioperm",
};

/* Probed by libraries that then do without. */
static const char *const rings[] = {"io_uring_setup", "io_uring_enter", "io_uring_register"};

/* ---- trust none: what remains ---- */

static const char *const allowed[] = {
    /* threads of its own */
    "futex", "futex_waitv", "set_robust_list", "set_tid_address", "rseq", "membarrier", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "exit", "exit_group", "getcpu", "arch_prctl",
    /* memory; PROT_EXEC as well, for a JIT makes code */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "brk",
    /* descriptors that it has, and new ones that lead nowhere */
    "read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "lseek", "_llseek",
    "close", "close_range", "dup", "dup2", "dup3", "fstat", "poll", "ppoll", "select", "_newselect",
    "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    "signalfd4", "pipe", "pipe2",
    /* sockets that it has */
    "recv", "recvfrom", "recvmsg", "recvmmsg", "shutdown",
    "accept", "accept4", "getsockname", "getpeername", "getsockopt",
    /* time */
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
    "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", "setitimer",
    "getitimer", "alarm", "pause", "restart_syscall",
    /* its own signals */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigpending", "sigaltstack", "sigreturn",
    /* who and where it is */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid",
    "getgroups", "getpgrp", "capget", "getrusage", "sysinfo", "uname", "getrandom",
};

/* With folders to read; Landlock says which.  It does not hide who owns a file, and how large it is. */
static const char *const allowed_with_folders[] = {
    "newfstatat", "fstatat64", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink",
    "readlinkat", "getdents64", "getcwd", "statfs", "fstatfs",
};

/* With spawning; who is executed has this filter, too.  Not setsid and setpgid: the launcher ends a host
 * with its group. */
static const char *const allowed_with_spawn[] = {
    "fork", "vfork", "execve", "wait4", "waitid", "chdir", "fchdir", "umask", "getpgid", "getsid",
};

/* One argument has to be one of these values. */
struct choice {
    const char *call;
    unsigned argument;
    uint64_t value;
};

static const struct choice choices[] = {
    /* Not F_SETOWN: with it the kernel sends signals to others on our behalf. */
    {"fcntl", 1, F_GETFD}, {"fcntl", 1, F_SETFD}, {"fcntl", 1, F_GETFL}, {"fcntl", 1, F_SETFL},
    {"fcntl", 1, F_DUPFD}, {"fcntl", 1, F_DUPFD_CLOEXEC}, {"fcntl", 1, F_GET_SEALS},
    {"ioctl", 1, FIONREAD}, {"ioctl", 1, FIONBIO}, {"ioctl", 1, FIOCLEX}, {"ioctl", 1, TCGETS},
    /* Not PR_SET_PDEATHSIG, which would let it outlive its parent. */
    {"prctl", 0, PR_SET_NAME}, {"prctl", 0, PR_GET_NAME}, {"prctl", 0, PR_SET_VMA},
    {"prctl", 0, PR_GET_DUMPABLE},
};

/* ---- building ---- */

/* A call that this libseccomp or this machine does not know is skipped: nothing allows it then, and what
 * it does not know it cannot single out either.  0, or an errno. */
static int add(scmp_filter_ctx filter, uint32_t action, const char *call, unsigned count,
               const struct scmp_arg_cmp *compares)
{
    int number = seccomp_syscall_resolve_name(call);
    if (number < 0)
        return 0;
    int problem = seccomp_rule_add_array(filter, action, number, count, compares);
    return problem == -EACCES ? 0 : -problem; /* the default does the same */
}

static int add_all(scmp_filter_ctx filter, uint32_t action, const char *const *calls, size_t count)
{
    int problem = 0;
    for (size_t i = 0; i < count && problem == 0; i++)
        problem = add(filter, action, calls[i], 0, NULL);
    return problem;
}

static int allow_if(scmp_filter_ctx filter, const char *call, struct scmp_arg_cmp compare)
{
    return add(filter, SCMP_ACT_ALLOW, call, 1, &compare);
}

#define EQUAL(argument, value) SCMP_CMP64(argument, SCMP_CMP_EQ, (scmp_datum_t)(value), 0)
#define MASKED(argument, mask, value)                                                              \
    SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(value))

#ifdef __s390x__ /* the one machine that turns clone's arguments round */
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif

/* Namespaces that clone can make, CLONE_NEWTIME left out: clone takes those bits for a signal. */
static const unsigned namespaces[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};

static uint64_t all_namespaces(void)
{
    uint64_t all = 0;
    for (size_t i = 0; i < COUNT(namespaces); i++)
        all |= namespaces[i];
    return all;
}

/* Flags of clone3 lie in memory; without it the C library takes clone.  Calls younger than this list are
 * not there either, and what asks for them does without, where EPERM would be believed. */
static int hide_new_calls(scmp_filter_ctx filter)
{
    enum { YOUNGEST = 451, BEYOND = 512 };
    int problem = add(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    for (int number = YOUNGEST; number < BEYOND && problem == 0; number++)
        problem = -seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0, NULL);
    return problem;
}

/* Not CLONE_PARENT: nobody waits for a child that the launcher never had. */
static int allow_clone(scmp_filter_ctx filter, bool spawn)
{
    const uint64_t thread = spawn ? 0 : CLONE_THREAD;
    const uint64_t looked_at = all_namespaces() | CLONE_PARENT | thread;
    return allow_if(filter, "clone", MASKED(CLONE_FLAGS, looked_at, thread));
}

/* tkill names no process, and has been superseded for that reason. */
static int allow_own_signals(scmp_filter_ctx filter)
{
    static const char *const calls[] = {"kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"};
    int problem = 0;
    for (size_t i = 0; i < COUNT(calls) && problem == 0; i++)
        problem = allow_if(filter, calls[i], EQUAL(0, getpid()));
    return problem;
}

/* Of itself, and reading only. */
static int allow_limits(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp compares[] = {EQUAL(0, 0), EQUAL(2, 0)};
    int problem = add(filter, SCMP_ACT_ALLOW, "prlimit64", COUNT(compares), compares);
    if (problem == 0)
        problem = add(filter, SCMP_ACT_ALLOW, "getrlimit", 0, NULL);
    return problem;
}

/* MSG_FASTOPEN connects while it sends. */
static int allow_sending(scmp_filter_ctx filter)
{
    static const struct {
        const char *call;
        unsigned flags; /* which argument */
    } calls[] = {{"send", 3}, {"sendto", 3}, {"sendmsg", 2}, {"sendmmsg", 3}};
    int problem = 0;
    for (size_t i = 0; i < COUNT(calls) && problem == 0; i++)
        problem = allow_if(filter, calls[i].call, MASKED(calls[i].flags, MSG_FASTOPEN, 0));
    return problem;
}

static int allow_socket_options(scmp_filter_ctx filter, bool network)
{
    static const int of_socket[] = {SO_SNDBUF, SO_RCVBUF, SO_SNDTIMEO, SO_RCVTIMEO, SO_KEEPALIVE,
                                    SO_LINGER};
    int problem = 0;
    for (size_t i = 0; i < COUNT(of_socket) && problem == 0; i++) {
        const struct scmp_arg_cmp compares[] = {EQUAL(1, SOL_SOCKET), EQUAL(2, of_socket[i])};
        problem = add(filter, SCMP_ACT_ALLOW, "setsockopt", COUNT(compares), compares);
    }
    if (problem == 0 && network)
        problem = allow_if(filter, "setsockopt", EQUAL(1, IPPROTO_TCP));
    return problem;
}

/* No socketpair: a datagram one could be pointed at any server's socket by an address in sendmsg. */
static int allow_network(scmp_filter_ctx filter)
{
    static const int domains[] = {AF_INET, AF_INET6};
    static const int kinds[][2] = {
        {SOCK_STREAM, 0}, {SOCK_STREAM, IPPROTO_TCP}, {SOCK_DGRAM, 0}, {SOCK_DGRAM, IPPROTO_UDP}};
    int problem = add(filter, SCMP_ACT_ALLOW, "connect", 0, NULL);
    for (size_t i = 0; i < COUNT(domains) * COUNT(kinds) && problem == 0; i++) {
        const int *kind = kinds[i % COUNT(kinds)];
        const struct scmp_arg_cmp compares[] = {
            EQUAL(0, domains[i / COUNT(kinds)]),
            MASKED(1, ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK), kind[0]), EQUAL(2, kind[1])};
        problem = add(filter, SCMP_ACT_ALLOW, "socket", COUNT(compares), compares);
    }
    return problem;
}

/* Reading only.  Not O_PATH, which Landlock does not look at. */
static int allow_opening(scmp_filter_ctx filter)
{
    const uint64_t forbidden = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | O_PATH |
                               (O_TMPFILE & ~O_DIRECTORY);
    int problem = add_all(filter, SCMP_ACT_ALLOW, allowed_with_folders, COUNT(allowed_with_folders));
    if (problem == 0)
        problem = allow_if(filter, "openat", MASKED(2, forbidden, O_RDONLY));
    if (problem == 0)
        problem = allow_if(filter, "open", MASKED(1, forbidden, O_RDONLY));
    return problem;
}

static int allow_choices(scmp_filter_ctx filter)
{
    int problem = 0;
    for (size_t i = 0; i < COUNT(choices) && problem == 0; i++) {
        const struct scmp_arg_cmp compare = EQUAL(choices[i].argument, choices[i].value);
        problem = allow_if(filter, choices[i].call, compare);
        if (problem == 0 && choices[i].call[0] == 'f') /* where it is named so */
            problem = allow_if(filter, "fcntl64", compare);
    }
    return problem;
}

static int fill_none(scmp_filter_ctx filter, const struct muster__wall_options *options, bool may_open)
{
    int problem = add_all(filter, SCMP_ACT_KILL_PROCESS, privileged, COUNT(privileged));
    if (problem == 0)
        problem = add_all(filter, SCMP_ACT_ALLOW, allowed, COUNT(allowed));
    if (problem == 0)
        problem = hide_new_calls(filter);
    if (problem == 0)
        problem = allow_clone(filter, options->spawn);
    if (problem == 0)
        problem = allow_own_signals(filter);
    if (problem == 0)
        problem = allow_limits(filter);
    if (problem == 0)
        problem = allow_choices(filter);
    if (problem == 0)
        problem = allow_sending(filter);
    if (problem == 0)
        problem = allow_socket_options(filter, options->network);
    if (problem == 0 && options->network)
        problem = allow_network(filter);
    if (problem == 0 && may_open)
        problem = allow_opening(filter);
    if (problem == 0 && options->spawn)
        problem = add_all(filter, SCMP_ACT_ALLOW, allowed_with_spawn, COUNT(allowed_with_spawn));
    return problem;
}

static int refuse_if(scmp_filter_ctx filter, const char *call, struct scmp_arg_cmp compare)
{
    return add(filter, SCMP_ACT_ERRNO(EPERM), call, 1, &compare);
}

static int fill_script(scmp_filter_ctx filter)
{
    int problem = add_all(filter, SCMP_ACT_ERRNO(EPERM), privileged, COUNT(privileged));
    if (problem == 0)
        problem = add_all(filter, SCMP_ACT_ERRNO(EPERM), rings, COUNT(rings));
    if (problem == 0)
        problem = add(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    for (size_t i = 0; i < COUNT(namespaces) && problem == 0; i++)
        problem = refuse_if(filter, "clone", MASKED(CLONE_FLAGS, namespaces[i], namespaces[i]));
    if (problem == 0) /* types into the terminal that started us */
        problem = refuse_if(filter, "ioctl", MASKED(1, LOW, TIOCSTI));
    if (problem == 0)
        problem = refuse_if(filter, "ioctl", MASKED(1, LOW, TIOCLINUX));
    return problem;
}

/* A call in another machine's numbering would pass by all rules. */
static int set_manner(scmp_filter_ctx filter, uint32_t foreign)
{
    int problem = -seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, foreign);
    if (problem == 0)
        problem = -seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (problem == 0)
        problem = -seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's errno, not ECANCELED */
    if (problem == 0) /* a tree instead of a row of comparisons; older ones know only the row */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return problem;
}

/* Asks the kernel for its kinds of filter before one is built. */
static bool kernel_filters(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

int muster__wall_seccomp(const struct muster__wall_options *options, bool may_open)
{
    bool none = options->trust == MUSTER__WALL_NONE;
    if (!kernel_filters())
        return ENOSYS;
    scmp_filter_ctx filter = seccomp_init(none ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW);
    if (filter == NULL)
        return ENOMEM;
    int problem = set_manner(filter, none ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS));
    if (problem == 0)
        problem = none ? fill_none(filter, options, may_open) : fill_script(filter);
    if (problem == 0)
        problem = -seccomp_load(filter);
    seccomp_release(filter);
    return problem == EINVAL ? ENOSYS : problem; /* a kernel, or an imitation of one, without filters */
}
