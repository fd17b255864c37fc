/* remote/launcher_cgroup.c - a control group for each host, where the machine lets us.
 *
 * Thread: the launcher's only one.  All paths are relative to a descriptor of the folder that was opened
 * once, so nobody can put another in its place. */
#include "remote/launcher_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "remote/launcher_family.h"
#include "runtime/check.h"

#define CGROUP2 0x63677270

static bool write_file(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t written = write(fd, text, strlen(text));
    close(fd);
    return written == (ssize_t)strlen(text);
}

/* Is `word` one of those between spaces and line ends? */
static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += length) {
        bool begins = at == text || at[-1] == ' ' || at[-1] == '\n';
        if (begins && (at[length] == '\0' || at[length] == ' ' || at[length] == '\n'))
            return true;
    }
    return false;
}

static bool limits_memory(int folder)
{
    char text[512];
    if (!muster__launcher_family_read(folder, "cgroup.subtree_control", text, sizeof text))
        return false;
    if (has_word(text, "memory"))
        return true;
    /* The kernel refuses while processes are in it, which is so for nearly every group but one that was
     * made for us. */
    return write_file(folder, "cgroup.subtree_control", "+memory +pids") ||
           write_file(folder, "cgroup.subtree_control", "+memory");
}

static char *own_group(const char *mounted_at)
{
    char text[4096];
    if (!muster__launcher_family_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof text))
        return NULL;
    char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
    if (line == NULL)
        return NULL;
    char *path = strchr(line, '/');
    path[strcspn(path, "\n")] = '\0';
    if (strstr(path, "..") != NULL) /* outside of what this namespace shows */
        return NULL;
    return muster__format("%s%s", mounted_at, path);
}

static int open_if_fit(const char *path)
{
    struct statfs kind;
    int folder = path == NULL ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0 && fstatfs(folder, &kind) == 0 && (unsigned long)kind.f_type == CGROUP2 &&
        faccessat(folder, "cgroup.procs", W_OK, 0) == 0 && limits_memory(folder))
        return folder;
    if (folder >= 0)
        close(folder);
    return -1;
}

int muster__launcher_cgroup_open(const char *path)
{
    if (path != NULL)
        return open_if_fit(path);
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    int folder = -1;
    for (size_t i = 0; folder < 0 && i < sizeof mounts / sizeof *mounts; i++) {
        char *own = own_group(mounts[i]);
        folder = open_if_fit(own);
        free(own);
    }
    return folder;
}

static bool set_limits(int group, uint64_t memory, unsigned processes)
{
    char text[32];
    if (memory > 0) {
        snprintf(text, sizeof text, "%" PRIu64, memory);
        if (!write_file(group, "memory.max", text))
            return false;
        (void)write_file(group, "memory.swap.max", "0"); /* where swap is not counted there is no file */
        (void)write_file(group, "memory.oom.group", "1");
    }
    if (processes > 0) {
        snprintf(text, sizeof text, "%u", processes);
        (void)write_file(group, "pids.max", text); /* RLIMIT_NPROC stands beside it */
    }
    return true;
}

int muster__launcher_cgroup_make(int root, const char *name, uint64_t memory, unsigned processes,
                                 int *ret_join)
{
    if (mkdirat(root, name, 0755) < 0 && errno != EEXIST)
        return -1;
    int join = -1;
    int group = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group >= 0 && set_limits(group, memory, processes))
        join = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (join >= 0) {
        *ret_join = join;
        return group;
    }
    if (group >= 0)
        close(group);
    unlinkat(root, name, AT_REMOVEDIR);
    return -1;
}

uint64_t muster__launcher_cgroup_oom_kills(int group)
{
    char text[1024];
    if (!muster__launcher_family_read(group, "memory.events", text, sizeof text))
        return 0;
    const char *line = strstr(text, "oom_kill ");
    return line == NULL ? 0 : strtoull(line + strlen("oom_kill "), NULL, 10);
}

void muster__launcher_cgroup_kill(int group)
{
    (void)write_file(group, "cgroup.kill", "1"); /* since Linux 5.14; otherwise by session and by parent */
}

bool muster__launcher_cgroup_remove(int root, const char *name)
{
    return unlinkat(root, name, AT_REMOVEDIR) == 0 || errno != EBUSY;
}
