/* remote/wall_landlock.c - which files the process may reach by name, and which sockets and signals
 * reach out of it, as far as this kernel's Landlock knows them.
 *
 * Main thread, once.  Landlock binds the thread that asks and what it starts, not its elders; wall.c
 * sees to it that there are none.  The structures are written out here because the system's header may
 * be older than the kernel: each version of the interface only adds to the end. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "remote/wall.h"

#ifndef SYS_landlock_create_ruleset /* the same number everywhere */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define ASK_VERSION 1u
#define RULE_PATH_BENEATH 1

#define FS_EXECUTE (1ull << 0)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_FIRST ((1ull << 13) - 1) /* all that version 1 knows */
#define FS_REFER (1ull << 13)       /* from version 2 on */
#define FS_TRUNCATE (1ull << 14)    /* 3 */
#define FS_IOCTL_DEV (1ull << 15)   /* 5 */
#define NET_BIND_TCP (1ull << 0)    /* 4 */
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT_UNIX (1ull << 0) /* 6 */
#define SCOPE_SIGNAL (1ull << 1)

struct ruleset {
    uint64_t fs;
    uint64_t net;   /* from version 4 on */
    uint64_t scope; /* 6 */
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

int muster__wall_landlock_abi(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);
    return version > 0 ? (int)version : 0;
}

static uint64_t all_of_fs(int abi)
{
    return FS_FIRST | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
           (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static int make_ruleset(const struct muster__wall_options *options, int abi)
{
    const struct ruleset ruleset = {
        .fs = all_of_fs(abi),
        .net = options->network ? NET_BIND_TCP : NET_BIND_TCP | NET_CONNECT_TCP,
        .scope = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL,
    };
    size_t size = abi >= 6   ? sizeof ruleset
                  : abi >= 4 ? offsetof(struct ruleset, scope)
                             : offsetof(struct ruleset, net);
    return (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0u);
}

static int allow_reading(int ruleset, const char *path, bool execute)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno;
    struct stat about;
    struct path_beneath rule = {.allowed = FS_READ_FILE | (execute ? FS_EXECUTE : 0), .parent = fd};
    int problem = fstat(fd, &about) < 0 ? errno : 0;
    if (problem == 0 && S_ISDIR(about.st_mode)) /* refused for anything else */
        rule.allowed |= FS_READ_DIR;
    if (problem == 0 && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0u) < 0)
        problem = errno;
    close(fd);
    return problem;
}

/* What engines and the C library read when they are first used; what is missing is not needed.  Without
 * folders to read, seccomp closes these as well. */
static int allow_warm_up(int ruleset)
{
    static const char *const paths[] = {"/dev/urandom", "/proc/self", "/sys/devices/system/cpu",
                                        "/etc/localtime", "/usr/share/zoneinfo"};
    int problem = 0;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0] && problem == 0; i++) {
        problem = allow_reading(ruleset, paths[i], false);
        if (problem == ENOENT || problem == EACCES)
            problem = 0;
    }
    return problem;
}

int muster__wall_landlock(const struct muster__wall_options *options, int abi, const char **ret_path)
{
    *ret_path = NULL;
    int ruleset = make_ruleset(options, abi);
    if (ruleset < 0)
        return errno;
    int problem = allow_warm_up(ruleset);
    for (size_t i = 0; options->readable != NULL && options->readable[i] != NULL && problem == 0; i++) {
        problem = allow_reading(ruleset, options->readable[i], options->spawn);
        if (problem != 0)
            *ret_path = options->readable[i];
    }
    if (problem == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0u) < 0)
        problem = errno;
    close(ruleset);
    return problem;
}
