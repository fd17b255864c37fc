/* cli/control_folder.c - see control_folder.h. */
#include "cli/control_folder.h"

#include "runtime/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

char *muster__control_folder_name(const char *state)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (state)
        return muster__strdup(state);
    return runtime && *runtime == '/' ? muster__format("%s/muster", runtime)
                                      : muster__format("/tmp/muster-%lu", (unsigned long)geteuid());
}

static enum muster_status no_memory(struct muster_error *error)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while opening the control socket");
    return MUSTER_NO_MEMORY;
}

static enum muster_status fail(struct muster_error *error, enum muster_status status, const char *path, const char *why)
{
    muster_error_set(error, status, "no control socket %s: %s", path, why);
    return status;
}

bool muster__control_folder_is_friend(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && size == sizeof(peer) &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* A path that is too long for an address is reached through the descriptor of its folder. */
static bool address_of(int folder_fd, const char *path, struct sockaddr_un *ret_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = strlen(path) < sizeof(address.sun_path)
                     ? snprintf(address.sun_path, sizeof(address.sun_path), "%s", path)
                     : snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control", folder_fd);
    *ret_address = address;
    return length > 0 && (size_t)length < sizeof(address.sun_path);
}

/* The user's own folder may lie where others make links. */
static int open_folder(const char *state, const char *folder)
{
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (state ? 0 : O_NOFOLLOW));
}

/* Of a folder that others may write, a socket could be anybody's. */
static const char *fault_of_folder(int folder_fd)
{
    struct stat info;
    if (fstat(folder_fd, &info))
        return strerror(errno);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return "its folder belongs to somebody else";
    return info.st_mode & 022 ? "others may write to its folder" : NULL;
}

/* ---- the server's end ---- */

static enum muster_status prepare_folder(const char *state, const char *folder,
                                         struct muster__control_listener *listener, struct muster_error *error)
{
    if (mkdir(folder, 0700) && errno != EEXIST)
        return fail(error, MUSTER_SYSTEM, listener->path, strerror(errno));
    listener->folder_fd = open_folder(state, folder);
    const char *fault = listener->folder_fd < 0 ? strerror(errno) : fault_of_folder(listener->folder_fd);
    if (fault)
        return fail(error, MUSTER_SYSTEM, listener->path, fault);
    if (flock(listener->folder_fd, LOCK_EX | LOCK_NB) == 0)
        return MUSTER_OK;
    return errno == EWOULDBLOCK ? fail(error, MUSTER_EXISTS, listener->path, "another server has it")
                                : fail(error, MUSTER_SYSTEM, listener->path, strerror(errno));
}

/* What lies there is left over: the folder is ours alone. */
static enum muster_status bind_socket(struct muster__control_listener *listener, struct muster_error *error)
{
    struct sockaddr_un address;
    if (!address_of(listener->folder_fd, listener->path, &address))
        return fail(error, MUSTER_SYSTEM, listener->path, "its path is too long");
    if (unlinkat(listener->folder_fd, "control", 0) && errno != ENOENT)
        return fail(error, MUSTER_SYSTEM, listener->path, strerror(errno));
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    int failed = listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) ||
                 listen(listener->fd, BACKLOG);
    int why = errno;
    umask(mask);
    return failed ? fail(error, MUSTER_SYSTEM, listener->path, strerror(why)) : MUSTER_OK;
}

enum muster_status muster__control_folder_listen(const char *state, struct muster__control_listener *ret_listener,
                                                 struct muster_error *error)
{
    struct muster__control_listener listener = {.fd = -1, .folder_fd = -1};
    char *folder = muster__control_folder_name(state);
    listener.path = folder ? muster__format("%s/control", folder) : NULL;
    enum muster_status status = listener.path ? prepare_folder(state, folder, &listener, error) : no_memory(error);
    if (status == MUSTER_OK)
        status = bind_socket(&listener, error);
    free(folder);
    if (status == MUSTER_OK) {
        *ret_listener = listener;
        return MUSTER_OK;
    }
    if (listener.fd >= 0)
        close(listener.fd);
    if (listener.folder_fd >= 0)
        close(listener.folder_fd);
    free(listener.path);
    return status;
}

void muster__control_folder_clean_up(struct muster__control_listener *listener)
{
    if (!listener->path)
        return;
    (void)unlinkat(listener->folder_fd, "control", 0);
    close(listener->fd);
    close(listener->folder_fd); /* and with it the lock */
    free(listener->path);
    *listener = (struct muster__control_listener){0};
}

/* ---- the command's end ---- */

static enum muster_status no_server(const char *state, const char *path, struct muster_error *error)
{
    muster_error_set(error, MUSTER_NOT_FOUND, "no server listens at %s; `muster serve%s%s APP` starts one", path,
                     state ? " --state " : "", state ? state : "");
    return MUSTER_NOT_FOUND;
}

static enum muster_status connect_in(int folder_fd, const char *state, const char *path, int *ret_fd,
                                     struct muster_error *error)
{
    struct sockaddr_un address;
    const char *fault = fault_of_folder(folder_fd);
    if (fault && geteuid() != 0) /* who may do everything may ask everybody's */
        return fail(error, MUSTER_REFUSED, path, fault);
    if (!address_of(folder_fd, path, &address))
        return fail(error, MUSTER_SYSTEM, path, "its path is too long");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    enum muster_status status = MUSTER_OK;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
        status = fd >= 0 && (errno == ENOENT || errno == ECONNREFUSED) ? no_server(state, path, error)
                                                                       : fail(error, MUSTER_SYSTEM, path, strerror(errno));
    else if (geteuid() != 0 && !muster__control_folder_is_friend(fd))
        status = fail(error, MUSTER_REFUSED, path, "the server belongs to somebody else");
    if (status == MUSTER_OK)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return status;
}

enum muster_status muster__control_folder_connect(const char *state, int *ret_fd, struct muster_error *error)
{
    char *folder = muster__control_folder_name(state);
    char *path = folder ? muster__format("%s/control", folder) : NULL;
    int folder_fd = path ? open_folder(state, folder) : -1;
    enum muster_status status;
    if (!path)
        status = no_memory(error);
    else if (folder_fd < 0)
        status = errno == ENOENT ? no_server(state, path, error) : fail(error, MUSTER_SYSTEM, path, strerror(errno));
    else
        status = connect_in(folder_fd, state, path, ret_fd, error);
    if (folder_fd >= 0)
        close(folder_fd);
    free(path);
    free(folder);
    return status;
}
