/* tests/wall_hostile.c - a worker's process that turned hostile: raises the wall, and then tries one thing.
 *
 *   wall_hostile [--network] [--spawn] [--partial] [--readable PATH]... [--file PATH] [--folder PATH]
 *                TRUST ATTEMPT
 *
 * Exits with 0 when the thing was done, with the errno that refused it otherwise; a wall that kills shows
 * in the signal.  "Done" means that the kernel got to see the request: what would harm the machine is
 * asked for with an argument that the kernel itself finds wrong, and each such attempt names the error
 * that proves it.  200 and above are this program's own trouble.  test_wall.c runs each attempt with and
 * without a wall. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "remote/wall.h"
#include "runtime/engine_table.h"
#include "tests/fake_realm_host.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NUMBER_PIDFD_SEND_SIGNAL 424 /* the same everywhere */
#define NUMBER_OPEN_TREE 428
#define NUMBER_FSOPEN 430
#define NUMBER_PIDFD_OPEN 434
#define NUMBER_CLONE3 435
#define NUMBER_OPENAT2 437
#define NUMBER_PIDFD_GETFD 438
#define NUMBER_NOBODY_KNOWS 500

enum { NO_SUCH_ATTEMPT = 250, NO_WALL = 251, NOT_PREPARED = 252, WENT_WRONG = 253 };

static const char *file = "/etc/passwd";
static const char *folder = "/";
static const char *new_file; /* does not exist, in a folder that may be written */
static int prepared = -1, prepared_too = -1;
static struct sockaddr_in listener;
static struct sockaddr_un unix_listener;
static socklen_t unix_listener_length;
static struct {
    struct file_handle handle;
    unsigned char bytes[MAX_HANDLE_SZ];
} handle = {.handle.handle_bytes = MAX_HANDLE_SZ};
static int mount_of_handle;

/* ---- how an attempt answers ---- */

/* Of a call that answers -1 and errno. */
static int of(long result)
{
    return result < 0 ? errno : 0;
}

/* Of a call that was given nonsense: `proof` says that the kernel looked at it. */
static int through(long result, int proof)
{
    int problem = of(result);
    return problem == proof ? 0 : problem;
}

static void need(bool condition)
{
    if (!condition)
        _exit(NOT_PREPARED);
}

/* ---- files ---- */

static int open_for_reading(void)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    char byte;
    return fd < 0 ? errno : of(read(fd, &byte, 1));
}

static int open_for_writing(void)
{
    int fd = open(new_file, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int problem = of(fd);
    (void)unlink(new_file);
    return problem;
}

static int open_for_appending(void)
{
    return of(open("/dev/null", O_WRONLY | O_APPEND));
}

static int open_read_and_truncate(void)
{
    return of(open("/dev/null", O_RDONLY | O_TRUNC));
}

static int open_path(void)
{
    return of(open("/", O_PATH));
}

static int open_nameless(void)
{
    return of(open("/tmp", O_TMPFILE | O_WRONLY, 0600));
}

static int open_by_openat2(void)
{
    const uint64_t how[3] = {O_RDONLY};
    return of(syscall(NUMBER_OPENAT2, AT_FDCWD, file, how, sizeof how));
}

static int list_folder(void)
{
    char entries[512];
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    return fd < 0 ? errno : of(syscall(SYS_getdents64, fd, entries, sizeof entries));
}

static int stat_file(void)
{
    struct stat about;
    return of(syscall(SYS_newfstatat, AT_FDCWD, file, &about, 0));
}

static int stat_behind_a_descriptor(void)
{
    struct stat about; /* a path all the same, whatever the flag says */
    return of(syscall(SYS_newfstatat, AT_FDCWD, file, &about, AT_EMPTY_PATH));
}

static int read_link(void)
{
    char text[256];
    return of(readlink("/proc/self/exe", text, sizeof text));
}

static int make_folder(void)
{
    int problem = of(mkdir(new_file, 0700));
    (void)rmdir(new_file);
    return problem;
}

static int make_link(void)
{
    int problem = of(symlink("nowhere", new_file));
    (void)unlink(new_file);
    return problem;
}

static int unlink_file(void)
{
    return through(unlink(new_file), ENOENT);
}

static int rename_file(void)
{
    return through(rename(new_file, "/tmp/nothing"), ENOENT);
}

static int change_mode(void)
{
    return through(chmod(new_file, 0777), ENOENT);
}

static int change_folder(void)
{
    return of(chdir("/"));
}

static int memory_of_parent(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
    return of(open(path, O_RDONLY));
}

static int memory_of_self(void)
{
    return of(open("/proc/self/mem", O_RDWR));
}

static void find_handle(void)
{
    need(name_to_handle_at(AT_FDCWD, "/tmp", &handle.handle, &mount_of_handle, 0) == 0);
    prepared = open("/", O_RDONLY);
    need(prepared >= 0);
}

static int open_by_handle(void)
{
    return through(open_by_handle_at(prepared, &handle.handle, O_RDONLY), ESTALE);
}

static int watch_files(void)
{
    return of(syscall(SYS_inotify_init1, 0));
}

/* ---- network ---- */

static void listen_on_tcp(void)
{
    socklen_t length = sizeof listener;
    prepared = socket(AF_INET, SOCK_STREAM, 0);
    listener = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    need(bind(prepared, (struct sockaddr *)&listener, sizeof listener) == 0);
    need(listen(prepared, 1) == 0);
    need(getsockname(prepared, (struct sockaddr *)&listener, &length) == 0);
}

static int connect_tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : of(connect(fd, (struct sockaddr *)&listener, sizeof listener));
}

static void keep_tcp_socket(void)
{
    listen_on_tcp();
    prepared_too = socket(AF_INET, SOCK_STREAM, 0);
    need(prepared_too >= 0);
}

static int connect_kept_socket(void)
{
    return of(connect(prepared_too, (struct sockaddr *)&listener, sizeof listener));
}

static int connect_by_sending(void)
{
    return of(sendto(prepared_too, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&listener,
                     sizeof listener));
}

static int accept_on_kept_socket(void)
{
    return through(accept4(prepared, NULL, NULL, SOCK_NONBLOCK), EAGAIN);
}

static void listen_without_waiting(void)
{
    listen_on_tcp();
    need(fcntl(prepared, F_SETFL, O_NONBLOCK) == 0);
}

static int send_udp(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(9),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return fd < 0 ? errno : of(sendto(fd, "x", 1, 0, (const struct sockaddr *)&to, sizeof to));
}

static int listen_on_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof any) < 0)
        return errno;
    return of(listen(fd, 1));
}

static int make_inet6_socket(void)
{
    return through(socket(AF_INET6, SOCK_STREAM, 0), EAFNOSUPPORT);
}

static void listen_on_unix(void)
{
    prepared = socket(AF_UNIX, SOCK_STREAM, 0);
    unix_listener = (struct sockaddr_un){.sun_family = AF_UNIX};
    /* Abstract: the kernel chooses the name. */
    need(bind(prepared, (struct sockaddr *)&unix_listener, sizeof(sa_family_t)) == 0);
    need(listen(prepared, 1) == 0);
    unix_listener_length = sizeof unix_listener;
    need(getsockname(prepared, (struct sockaddr *)&unix_listener, &unix_listener_length) == 0);
}

static int connect_unix(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? errno : of(connect(fd, (struct sockaddr *)&unix_listener, unix_listener_length));
}

static int make_unix_pair(void)
{
    int pair[2];
    return of(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
}

static int make_raw_socket(void)
{
    return of(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int make_packet_socket(void)
{
    return of(socket(AF_PACKET, SOCK_RAW, 0));
}

static int make_netlink_socket(void)
{
    return of(socket(AF_NETLINK, SOCK_RAW, 0));
}

/* ---- processes ---- */

static int wait_for(pid_t child)
{
    int how = 0;
    if (child < 0)
        return errno;
    if (waitpid(child, &how, 0) != child)
        return 0; /* there was one, and that is what counts */
    return WIFEXITED(how) ? WEXITSTATUS(how) : WENT_WRONG;
}

static int fork_child(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return wait_for(child);
}

static int raw_clone(void)
{
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return wait_for(child);
}

static int raw_vfork(void)
{
#ifdef SYS_vfork
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    return wait_for(child);
#else
    return fork_child();
#endif
}

static int raw_clone3(void)
{
    const uint64_t arguments[8] = {[4] = SIGCHLD};
    pid_t child = (pid_t)syscall(NUMBER_CLONE3, arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return wait_for(child);
}

static int clone_with_namespace(void)
{
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return wait_for(child);
}

/* The child becomes the parent's, who does not know it. */
static int clone_for_parent(void)
{
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return of(child);
}

static int leave_group(void)
{
    return of(setpgid(0, 0));
}

static int execute(void)
{
    return of(execl("/bin/true", "true", (char *)NULL));
}

static int spawn(void)
{
    static char *const arguments[] = {"true", NULL};
    pid_t child = -1;
    int problem = posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ);
    return problem != 0 ? problem : wait_for(child);
}

static void open_nothing(void)
{
    prepared = open("/dev/null", O_WRONLY);
    need(prepared >= 0);
}

/* What a spawned program is allowed. */
static int spawned_reads_file(void)
{
    pid_t child = fork();
    if (child == 0) {
        dup2(prepared, STDOUT_FILENO);
        dup2(prepared, STDERR_FILENO);
        execl("/bin/cat", "cat", file, (char *)NULL);
        _exit(errno);
    }
    return wait_for(child) == 0 ? 0 : EACCES;
}

static void make_memory_program(void)
{
    prepared = (int)syscall(SYS_memfd_create, "program", 0u);
    int program = open("/bin/true", O_RDONLY);
    need(prepared >= 0 && program >= 0);
    char bytes[4096];
    ssize_t got;
    while ((got = read(program, bytes, sizeof bytes)) > 0)
        need(write(prepared, bytes, (size_t)got) == got);
}

static int execute_memory(void)
{
    static char *const arguments[] = {"true", NULL};
    return of(syscall(SYS_execveat, prepared, "", arguments, environ, AT_EMPTY_PATH));
}

static int make_memory_file(void)
{
    return of(syscall(SYS_memfd_create, "memory", 0u));
}

/* ---- others' processes ---- */

static int signal_parent(void)
{
    return of(kill(getppid(), SIGURG)); /* which is ignored */
}

static int signal_init(void)
{
    return of(kill(1, 0));
}

static int signal_own_group(void)
{
    return of(kill(0, SIGURG));
}

static int signal_thread_of_parent(void)
{
    return of(syscall(SYS_tgkill, getppid(), getppid(), SIGURG));
}

static int signal_any_thread(void)
{
    return of(syscall(SYS_tkill, getppid(), SIGURG));
}

static int queue_to_parent(void)
{
    return of(sigqueue(getppid(), SIGURG, (union sigval){0}));
}

static void open_pidfd_of_parent(void)
{
    prepared = (int)syscall(NUMBER_PIDFD_OPEN, getppid(), 0);
    need(prepared >= 0);
}

static int signal_through_pidfd(void)
{
    return of(syscall(NUMBER_PIDFD_SEND_SIGNAL, prepared, SIGURG, NULL, 0));
}

static void make_pipe(void)
{
    int ends[2];
    need(pipe(ends) == 0);
    prepared = ends[0];
    prepared_too = ends[1];
}

static int signal_through_owner(void)
{
    return of(fcntl(prepared, F_SETOWN, getppid()));
}

static int trace_parent(void)
{
    return of(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL));
}

static int be_traced(void)
{
    return of(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int read_foreign_memory(void)
{
    int from = 7, to = 0;
    struct iovec local = {&to, sizeof to}, remote = {&from, sizeof from};
    return of(process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
}

static int write_foreign_memory(void)
{
    int from = 7, to = 0;
    struct iovec local = {&from, sizeof from}, remote = {&to, sizeof to};
    return of(process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
}

static int open_pidfd(void)
{
    return of(syscall(NUMBER_PIDFD_OPEN, getppid(), 0));
}

static void open_own_pidfd(void)
{
    prepared = (int)syscall(NUMBER_PIDFD_OPEN, getpid(), 0);
    need(prepared >= 0);
}

static int steal_descriptor(void)
{
    return of(syscall(NUMBER_PIDFD_GETFD, prepared, prepared, 0));
}

static int compare_processes(void)
{
    return of(syscall(SYS_kcmp, getpid(), getpid(), 1, 0, 0));
}

static int slow_parent(void)
{
    return of(setpriority(PRIO_PROCESS, (id_t)getppid(), getpriority(PRIO_PROCESS, (id_t)getppid())));
}

static int pin_parent(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(getppid(), sizeof cpus, &cpus) < 0
               ? errno
               : of(sched_setaffinity(getppid(), sizeof cpus, &cpus));
}

static int limits_of_parent(void)
{
    struct rlimit limit;
    return of(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit));
}

static int outlive_parent(void)
{
    return of(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0));
}

static int share_memory(void)
{
    long id = syscall(SYS_shmget, 0, 4096, 0600 | 01000);
    int problem = of(id);
    if (id >= 0)
        (void)syscall(SYS_shmctl, id, 0, NULL);
    return problem;
}

static int queue_messages(void)
{
    long id = syscall(SYS_msgget, 0, 0600 | 01000);
    int problem = of(id);
    if (id >= 0)
        (void)syscall(SYS_msgctl, id, 0, NULL);
    return problem;
}

/* ---- the machine ---- */

static int mount_something(void)
{
    return through(mount("nothing", "/nowhere", "tmpfs", 0, NULL), ENOENT);
}

static int unmount_something(void)
{
    return through(umount2("/nowhere", 0), ENOENT);
}

static int mount_anew(void)
{
    return of(syscall(NUMBER_FSOPEN, "tmpfs", 0));
}

static int open_a_tree(void)
{
    return of(syscall(NUMBER_OPEN_TREE, AT_FDCWD, "/", O_CLOEXEC));
}

static int turn_root(void)
{
    return through(syscall(SYS_pivot_root, "/nowhere", "/nowhere"), ENOENT);
}

static int change_root(void)
{
    return of(chroot("/"));
}

static int unshare_namespace(void)
{
    return of(unshare(CLONE_NEWUTS));
}

static int unshare_user(void)
{
    return of(unshare(CLONE_NEWUSER));
}

static int enter_namespace(void)
{
    return through(setns(-1, 0), EBADF);
}

static int load_bpf(void)
{
    const struct {
        uint32_t type, key, value, entries, rest[28];
    } array = {2, 4, 4, 1, {0}};
    return of(syscall(SYS_bpf, 0, &array, sizeof array));
}

static int count_events(void)
{
    const struct {
        uint32_t type, size;
        uint64_t config, rest[6];
    } clock = {1, 64, 0, {0}};
    return of(syscall(SYS_perf_event_open, &clock, 0, -1, -1, 0));
}

static int handle_faults(void)
{
    return of(syscall(SYS_userfaultfd, O_CLOEXEC | 1));
}

static int use_keys(void)
{
    return through(syscall(SYS_keyctl, 0, -2, 0), ENOKEY);
}

static int add_key(void)
{
    return of(syscall(SYS_add_key, "user", "muster", "x", 1, -2));
}

static int request_key(void)
{
    return through(syscall(SYS_request_key, "user", "nothing", NULL, 0), ENOKEY);
}

static int load_module(void)
{
    return through(syscall(SYS_init_module, NULL, 0, ""), ENOEXEC);
}

static int unload_module(void)
{
    return through(syscall(SYS_delete_module, "nothing", O_NONBLOCK), ENOENT);
}

static int load_kernel(void)
{
    return through(syscall(SYS_kexec_load, 0, 0, 0, ~0ul), EINVAL);
}

static int restart_machine(void)
{
    return through(syscall(SYS_reboot, 0, 0, 0, NULL), EINVAL);
}

static int swap(void)
{
    return through(syscall(SYS_swapon, "/nowhere", 0), ENOENT);
}

static int account(void)
{
    return through(syscall(SYS_acct, "/nowhere"), ENOENT);
}

static int read_kernel_log(void)
{
    return of(syscall(SYS_syslog, 10, NULL, 0));
}

static int set_time(void)
{
    return through(syscall(SYS_clock_settime, 9999, NULL), EINVAL);
}

static int name_machine(void)
{
    return through(syscall(SYS_sethostname, "", -1), EINVAL);
}

static int watch_everything(void)
{
    return of(syscall(SYS_fanotify_init, 0, O_RDONLY));
}

static int set_up_ring(void)
{
    uint32_t parameters[32] = {0};
    return of(syscall(SYS_io_uring_setup, 1, parameters));
}

static int touch_ports(void)
{
#ifdef SYS_iopl
    return of(syscall(SYS_iopl, 0));
#else
    return ENOSYS;
#endif
}

/* ---- itself ---- */

static int become_user(void)
{
    return of(syscall(SYS_setuid, getuid()));
}

static int take_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return errno;
    return of(syscall(SYS_capset, &header, data));
}

static int raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return errno;
    return of(setrlimit(RLIMIT_NOFILE, &limit));
}

static int become_dumpable(void)
{
    return of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int change_personality(void)
{
    return of(syscall(SYS_personality, 0xffffffff));
}

static int filter_more(void)
{
    return through(syscall(SYS_seccomp, 99, 0, NULL), EINVAL);
}

static int type_into_terminal(void)
{
    return through(syscall(SYS_ioctl, -1, TIOCSTI, ""), EBADF);
}

static int type_with_high_bits(void)
{
    return through(syscall(SYS_ioctl, -1, TIOCSTI | 1ul << 32, ""), EBADF);
}

static int ask_device(void)
{
    return through(syscall(SYS_ioctl, -1, 0x1234, ""), EBADF);
}

static int call_nobody_knows(void)
{
    return of(syscall(NUMBER_NOBODY_KNOWS));
}

static int call_in_32_bits(void)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(20l) : "memory", "r8", "r9", "r10", "r11");
    return result == (int)getpid() ? 0 : ENOSYS;
#else
    return ENOSYS;
#endif
}

static int call_in_x32(void)
{
#ifdef __x86_64__
    return of(syscall(0x40000000 | SYS_getpid));
#else
    return ENOSYS;
#endif
}

/* ---- what goes on working ---- */

static void *increment(void *counter)
{
    atomic_fetch_add((atomic_int *)counter, 1);
    return NULL;
}

static int run_threads(void)
{
    pthread_t threads[8];
    atomic_int counter = 0;
    for (size_t i = 0; i < COUNT(threads); i++) {
        int problem = pthread_create(&threads[i], NULL, increment, &counter);
        if (problem != 0)
            return problem;
    }
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    return atomic_load(&counter) == COUNT(threads) ? 0 : WENT_WRONG;
}

static int wait_for_timer(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    const struct itimerspec soon = {.it_value.tv_nsec = 1000};
    struct epoll_event event = {.events = EPOLLIN};
    if (timer < 0 || poll < 0 || timerfd_settime(timer, 0, &soon, NULL) < 0 ||
        epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event) < 0 || eventfd(0, EFD_CLOEXEC) < 0)
        return errno;
    return epoll_wait(poll, &event, 1, 5000) == 1 ? 0 : WENT_WRONG;
}

static int use_memory(void)
{
    size_t size = 64 << 20;
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return errno;
    memset(bytes, 1, size);
    if (madvise(bytes, size, MADV_DONTNEED) < 0)
        return errno;
    return bytes[size / 2] == 0 ? of(munmap(bytes, size)) : WENT_WRONG;
}

static int run_made_code(void)
{
#if defined(__x86_64__)
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
#elif defined(__aarch64__)
    static const unsigned char code[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
#else
    static const unsigned char code[] = {0};
    return 0;
#endif
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return errno;
    memcpy(page, code, sizeof code);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0)
        return errno;
    __builtin___clear_cache(page, (char *)page + sizeof code);
    int (*function)(void);
    memcpy(&function, &page, sizeof page);
    return function() == 42 ? 0 : WENT_WRONG;
}

static void make_pair(void)
{
    int pair[2];
    need(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    prepared = pair[0];
    prepared_too = pair[1];
}

static int pass_descriptor(void)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &(int){STDERR_FILENO}, sizeof(int));
    char byte = 'x';
    struct iovec bytes = {&byte, 1};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    if (sendmsg(prepared, &message, 0) < 0 || recvmsg(prepared_too, &message, 0) < 0)
        return errno;
    return message.msg_controllen >= CMSG_LEN(sizeof(int)) ? 0 : WENT_WRONG;
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static int signal_itself(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    if (sigaction(SIGUSR1, &action, NULL) < 0 || raise(SIGUSR1) != 0 ||
        pthread_kill(pthread_self(), SIGUSR1) != 0 || kill(getpid(), SIGUSR1) < 0)
        return errno;
    return signals == 3 ? 0 : WENT_WRONG;
}

static int abort_itself(void)
{
    abort();
}

static int name_thread(void)
{
    return of(prctl(PR_SET_NAME, "hostile", 0, 0, 0));
}

static int ask_limits(void)
{
    struct rlimit limit;
    return of(getrlimit(RLIMIT_NOFILE, &limit));
}

static void open_file_before(void)
{
    prepared = open(file, O_RDONLY);
    need(prepared >= 0);
}

static int read_open_file(void)
{
    char byte;
    return of(read(prepared, &byte, 1));
}

/* ---- engines, made and used behind the wall ---- */

static const struct muster__engine *engine;

/* Hot loops for every tier of a JIT, garbage for its collector, regular expressions, dates, large
 * buffers. */
static const char javascript_text[] =
    "function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }\n"
    "function work() {\n"
    "  let sum = 0; for (let i = 0; i < 3000000; i++) sum = (sum + i * 3) | 0;\n"
    "  let text = ''; const map = new Map();\n"
    "  for (let i = 0; i < 200000; i++) map.set('k' + (i % 1000), { i, list: [i, i + 1], text: 'x' + i });\n"
    "  for (let i = 0; i < 3000; i++) text += /(\\d+)-(\\w+)/.exec(i + '-abc')[1];\n"
    "  const buffer = new ArrayBuffer(32 << 20); new Uint8Array(buffer).fill(7);\n"
    "  const date = new Date(0); const zone = date.getTimezoneOffset();\n"
    "  const sorted = Array.from({ length: 20000 }, (_, i) => (i * 7919) % 20011).sort((a, b) => a - b);\n"
    "  const json = JSON.parse(JSON.stringify({ date, deep: [[[sorted.slice(0, 9)]]], 1: 2n + '' }));\n"
    "  const wasm = typeof WebAssembly === 'undefined' ? 42 : new WebAssembly.Instance(new WebAssembly.Module(\n"
    "    new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0,\n"
    "                    10, 6, 1, 4, 0, 65, 42, 11]))).exports.f();\n"
    "  if (wasm !== 42) throw new Error('WebAssembly');\n"
    "  return [fib(27), map.size, text.length > 0, buffer.byteLength, typeof zone, json[1],\n"
    "          typeof date.toLocaleString(), (1234.5).toLocaleString('en')].join(' ');\n"
    "}\n";
static const char lua_text[] =
    "function work()\n"
    "  local sum, kept = 0, {}\n"
    "  for i = 1, 200000 do kept[i % 1000] = { i, tostring(i) } sum = sum + i end\n"
    "  return string.format('%d', sum)\n"
    "end\n";

static void load_javascript(void)
{
    struct muster_error error = {0};
    engine = muster__engine_find("javascript", &error);
    if (engine == NULL)
        fprintf(stderr, "%s\n", error.message);
    need(engine != NULL);
}

static void *work(void *text)
{
    struct fake_host *host = calloc(1, sizeof *host);
    const struct fake_script script = {.text = text};
    struct muster_error error = {0};
    bool worked = false;
    fake_host_init(host, engine);
    if (fake_host_start(host, &script, &error) == MUSTER_OK) {
        struct fake_request *request = fake_call(host, "work", "[]");
        while (fake_host_run(host))
            ;
        worked = request->settled == 1 && request->status == MUSTER_OK;
        if (!worked)
            fprintf(stderr, "%s\n", request->error.message ? request->error.message : "no result");
    } else {
        fprintf(stderr, "%s\n", error.message ? error.message : "no start");
    }
    fake_host_clean_up(host);
    free(host);
    return worked ? text : NULL;
}

/* As the program that hosts workers does: what the first use opens, later ones need. */
static enum muster_status warm_up(void *user_data, struct muster_error *error)
{
    static const char text[] = "function work() { return new Date(0).toLocaleString(); }";
    (void)user_data;
    tzset();
    if (engine == NULL || strcmp(engine->name, "javascript") != 0 || work((void *)(uintptr_t)text) != NULL)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_SCRIPT_ERROR, "the engine does not warm up");
    return MUSTER_SCRIPT_ERROR;
}

/* At once on several threads, as the pool does. */
static int work_on_threads(const char *text)
{
    pthread_t threads[3];
    void *results[COUNT(threads)];
    for (size_t i = 0; i < COUNT(threads); i++) {
        int problem = pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)text);
        if (problem != 0)
            return problem;
    }
    bool all = true;
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], &results[i]);
        all = all && results[i] != NULL;
    }
    return all ? 0 : WENT_WRONG;
}

static int run_javascript(void)
{
    return work_on_threads(javascript_text);
}

/* A loop without end: the limit of its turn has to reach it. */
static int limit_javascript(void)
{
    struct fake_host *host = calloc(1, sizeof *host);
    const struct fake_script script = {.text = "function work() { for (;;) ; }"};
    struct muster_error error = {0};
    if (host == NULL)
        return WENT_WRONG;
    fake_host_init(host, engine);
    host->options.turn_limit_us = 50000;
    if (fake_host_start(host, &script, &error) != MUSTER_OK)
        return WENT_WRONG;
    (void)fake_call(host, "work", "[]");
    enum muster_status cut = host->cut;
    fake_host_clean_up(host);
    free(host);
    return cut == MUSTER_TURN_LIMIT ? 0 : WENT_WRONG;
}

static void load_lua(void)
{
    engine = muster__engine_find("lua", NULL);
    need(engine != NULL);
}

static int run_lua(void)
{
    return work_on_threads(lua_text);
}

/* ---- the list ---- */

struct attempt {
    const char *name;
    int (*attempt)(void);
    void (*prepare)(void);
};

static const struct attempt attempts[] = {
    {"open-read", open_for_reading}, {"open-write", open_for_writing},
    {"open-append", open_for_appending}, {"open-truncate", open_read_and_truncate},
    {"open-path", open_path}, {"open-nameless", open_nameless}, {"openat2", open_by_openat2},
    {"list-folder", list_folder}, {"stat", stat_file}, {"stat-empty", stat_behind_a_descriptor},
    {"read-link", read_link}, {"make-folder", make_folder}, {"make-link", make_link},
    {"unlink", unlink_file}, {"rename", rename_file}, {"change-mode", change_mode},
    {"change-folder", change_folder}, {"parent-memory", memory_of_parent},
    {"own-memory-file", memory_of_self}, {"open-by-handle", open_by_handle, find_handle},
    {"watch-files", watch_files},

    {"connect-tcp", connect_tcp, listen_on_tcp},
    {"connect-kept-socket", connect_kept_socket, keep_tcp_socket},
    {"connect-by-sending", connect_by_sending, keep_tcp_socket}, {"send-udp", send_udp},
    {"inet6-socket", make_inet6_socket}, {"listen", listen_on_port},
    {"connect-unix", connect_unix, listen_on_unix}, {"unix-pair", make_unix_pair},
    {"raw-socket", make_raw_socket}, {"packet-socket", make_packet_socket},
    {"netlink-socket", make_netlink_socket},
    {"accept-on-kept-socket", accept_on_kept_socket, listen_without_waiting},

    {"fork", fork_child}, {"clone", raw_clone}, {"vfork", raw_vfork}, {"clone3", raw_clone3},
    {"clone-namespace", clone_with_namespace}, {"clone-for-parent", clone_for_parent},
    {"leave-group", leave_group}, {"execute", execute}, {"spawn", spawn},
    {"execute-memory", execute_memory, make_memory_program}, {"memory-file", make_memory_file},
    {"spawned-reads-file", spawned_reads_file, open_nothing},

    {"signal-parent", signal_parent}, {"signal-init", signal_init}, {"signal-group", signal_own_group},
    {"signal-parent-thread", signal_thread_of_parent}, {"signal-any-thread", signal_any_thread},
    {"queue-signal", queue_to_parent}, {"signal-pidfd", signal_through_pidfd, open_pidfd_of_parent},
    {"signal-owner", signal_through_owner, make_pipe}, {"trace-parent", trace_parent},
    {"be-traced", be_traced}, {"read-process-memory", read_foreign_memory},
    {"write-process-memory", write_foreign_memory}, {"open-pidfd", open_pidfd},
    {"steal-descriptor", steal_descriptor, open_own_pidfd}, {"compare-processes", compare_processes},
    {"parent-priority", slow_parent}, {"parent-cpus", pin_parent}, {"parent-limits", limits_of_parent},
    {"outlive-parent", outlive_parent}, {"shared-memory", share_memory},
    {"message-queue", queue_messages},

    {"mount", mount_something}, {"unmount", unmount_something}, {"fsopen", mount_anew},
    {"open-tree", open_a_tree}, {"pivot-root", turn_root}, {"chroot", change_root},
    {"unshare", unshare_namespace}, {"unshare-user", unshare_user}, {"setns", enter_namespace},
    {"bpf", load_bpf}, {"perf", count_events}, {"userfaultfd", handle_faults}, {"keyctl", use_keys},
    {"add-key", add_key}, {"request-key", request_key}, {"load-module", load_module},
    {"unload-module", unload_module}, {"kexec", load_kernel}, {"reboot", restart_machine},
    {"swap", swap}, {"account", account}, {"kernel-log", read_kernel_log}, {"set-time", set_time},
    {"name-machine", name_machine}, {"fanotify", watch_everything}, {"io-uring", set_up_ring},
    {"io-ports", touch_ports},

    {"setuid", become_user}, {"capset", take_capabilities}, {"set-limit", raise_limit},
    {"set-dumpable", become_dumpable}, {"personality", change_personality}, {"seccomp", filter_more},
    {"terminal-input", type_into_terminal}, {"terminal-input-high-bits", type_with_high_bits},
    {"ioctl", ask_device}, {"unknown-call", call_nobody_knows}, {"32-bit-call", call_in_32_bits},
    {"x32-call", call_in_x32},

    {"threads", run_threads}, {"timers", wait_for_timer}, {"memory", use_memory},
    {"made-code", run_made_code}, {"kept-sockets", pass_descriptor, make_pair},
    {"own-signals", signal_itself}, {"abort", abort_itself}, {"name-thread", name_thread},
    {"ask-limits", ask_limits}, {"read-open-file", read_open_file, open_file_before},
    {"javascript", run_javascript, load_javascript},
    {"javascript-limit", limit_javascript, load_javascript}, {"lua", run_lua, load_lua},
};

static const struct attempt *find(const char *name)
{
    for (size_t i = 0; i < COUNT(attempts); i++)
        if (name != NULL && strcmp(name, attempts[i].name) == 0)
            return &attempts[i];
    return NULL;
}

static void raise_wall(const struct muster__wall_options *options)
{
    struct muster__wall_report report;
    struct muster_error error = {0};
    if (muster__wall_raise(options, &report, &error) == MUSTER_OK)
        return;
    fprintf(stderr, "%s\n", error.message != NULL ? error.message : "out of memory");
    _exit(NO_WALL);
}

static char new_file_text[64];

int main(int count, char **arguments)
{
    static const char *readable[16];
    struct muster__wall_options options = {.readable = readable, .warm_up = warm_up};
    size_t paths = 0;
    int at = 1;

    (void)count;
    for (; arguments[at] != NULL && arguments[at][0] == '-'; at++) {
        if (strcmp(arguments[at], "--network") == 0)
            options.network = true;
        else if (strcmp(arguments[at], "--spawn") == 0)
            options.spawn = true;
        else if (strcmp(arguments[at], "--partial") == 0)
            options.allow_partial = true;
        else if (strcmp(arguments[at], "--file") == 0 && arguments[at + 1] != NULL)
            file = arguments[++at];
        else if (strcmp(arguments[at], "--folder") == 0 && arguments[at + 1] != NULL)
            folder = arguments[++at];
        else if (strcmp(arguments[at], "--readable") == 0 && arguments[at + 1] != NULL &&
                 paths + 1 < COUNT(readable))
            readable[paths++] = arguments[++at];
    }
    const struct attempt *attempt = arguments[at] != NULL ? find(arguments[at + 1]) : NULL;
    if (attempt == NULL || !muster__wall_parse(arguments[at], &options.trust))
        return NO_SUCH_ATTEMPT;
    snprintf(new_file_text, sizeof new_file_text, "/tmp/wall_hostile-%d", (int)getpid());
    new_file = new_file_text;
    if (attempt->prepare != NULL)
        attempt->prepare();
    raise_wall(&options);
    _exit(attempt->attempt()); /* without what a sanitizer does at the end */
}
