/* remote/launcher_family.c - what descends from a process, as /proc has it.
 *
 * Thread: the launcher's only one.  The kernel lists the children of each thread; where it was built without that
 * list, every process is asked for its parent. */
#include "remote/launcher_family.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool muster__launcher_family_read(int folder, const char *name, char *text, size_t size)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    if (length < 0)
        return false;
    text[length] = '\0';
    return true;
}

static bool is_number(const struct dirent *entry)
{
    return entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
}

/* The parent of a process, from /proc/PID/stat: what follows the name in brackets, which may hold any. */
static pid_t parent_of(const char *pid)
{
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    if (!muster__launcher_family_read(AT_FDCWD, path, text, sizeof text))
        return 0;
    const char *name_end = strrchr(text, ')');
    long parent = 0;
    return name_end != NULL && sscanf(name_end + 1, " %*c %ld", &parent) == 1 ? (pid_t)parent : 0;
}

static void search(pid_t parent, bool (*found)(pid_t child, void *user_data), void *user_data)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    bool more = true;
    while (folder != NULL && more && (entry = readdir(folder)) != NULL)
        if (is_number(entry) && parent_of(entry->d_name) == parent)
            more = found((pid_t)strtol(entry->d_name, NULL, 10), user_data);
    if (folder != NULL)
        closedir(folder);
}

static bool has_lists(void)
{
    return access("/proc/thread-self/children", F_OK) == 0;
}

static bool list_of_thread(pid_t parent, const char *thread, bool (*found)(pid_t child, void *user_data),
                           void *user_data)
{
    char path[96];
    long pid;
    bool more = true;
    snprintf(path, sizeof path, "/proc/%ld/task/%.20s/children", (long)parent, thread);
    FILE *file = fopen(path, "re");
    while (file != NULL && more && fscanf(file, "%ld", &pid) == 1)
        more = found((pid_t)pid, user_data);
    if (file != NULL)
        (void)fclose(file);
    return more;
}

void muster__launcher_family_children(pid_t parent, bool (*found)(pid_t child, void *user_data), void *user_data)
{
    char path[64];
    if (!has_lists()) {
        search(parent, found, user_data);
        return;
    }
    snprintf(path, sizeof path, "/proc/%ld/task", (long)parent);
    DIR *folder = opendir(path);
    struct dirent *entry;
    bool more = true;
    while (folder != NULL && more && (entry = readdir(folder)) != NULL)
        if (is_number(entry))
            more = list_of_thread(parent, entry->d_name, found, user_data);
    if (folder != NULL)
        closedir(folder);
}

struct family {
    pid_t *pids;
    size_t count, capacity, most;
    pid_t root;
};

static bool add(pid_t pid, void *user_data)
{
    struct family *family = user_data;
    if (family->count == family->most)
        return false;
    if (family->count == family->capacity) {
        size_t capacity = family->capacity == 0 ? 16 : family->capacity * 2;
        pid_t *pids = realloc(family->pids, capacity * sizeof *pids);
        if (pids == NULL)
            return false;
        family->pids = pids;
        family->capacity = capacity;
    }
    family->pids[family->count++] = pid;
    return true;
}

static bool add_adopted(pid_t pid, void *user_data)
{
    const struct family *family = user_data;
    return pid == family->root || getsid(pid) != family->root || add(pid, user_data);
}

size_t muster__launcher_family_count(pid_t root, size_t most)
{
    struct family family = {.most = most, .root = root};
    muster__launcher_family_children(root, add, &family);
    muster__launcher_family_children(getpid(), add_adopted, &family);
    for (size_t i = 0; i < family.count && family.count < most; i++)
        muster__launcher_family_children(family.pids[i], add, &family);
    free(family.pids);
    return family.count;
}
