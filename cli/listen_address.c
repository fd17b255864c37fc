/* cli/listen_address.c - see listen_address.h. */
#include "cli/listen_address.h"

#include "runtime/check.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

static enum muster_status fail(struct muster_error *error, const char *address, const char *what)
{
    muster_error_set(error, MUSTER_SYSTEM, "cannot listen on %s: %s", address, what);
    return MUSTER_SYSTEM;
}

/* A socket that is left over from a server that was killed is taken away; one that answers is not. */
static bool is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
                 errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

static enum muster_status listen_unix(const char *address, int *ret_fd, char **ret_url,
                                      struct muster_error *error)
{
    const char *path = address + strlen("unix:");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof(name.sun_path))
        return fail(error, address, "the path is empty or longer than 107 bytes");
    memcpy(name.sun_path, path, strlen(path) + 1);
    if (is_stale(&name))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0077); /* the owner's only; whoever wants it open can chmod */
    int failed = fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) || listen(fd, BACKLOG);
    int why = errno;
    umask(mask);
    if (failed) {
        if (fd >= 0)
            close(fd);
        return fail(error, address, strerror(why));
    }
    *ret_fd = fd;
    *ret_url = muster__strdup(address);
    return MUSTER_OK;
}

/* "host:port" or "[host]:port"; cuts `text` up. */
static bool split(char *text, char **host, char **port)
{
    char *colon = strrchr(text, ':');
    if (!colon || !colon[1])
        return false;
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    size_t length = strlen(text);
    if (*text == '[' && length > 2 && text[length - 1] == ']') {
        text[length - 1] = '\0';
        *host = text + 1;
    } else if (strchr(text, ':') || !length) {
        return false;
    }
    return strspn(*port, "0123456789") == strlen(*port) && atol(*port) <= 65535;
}

static int open_socket(const struct addrinfo *info)
{
    int yes = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, BACKLOG)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static char *url_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&name, &length) ||
        getnameinfo((struct sockaddr *)&name, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return NULL;
    return muster__format(strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s", host, port);
}

static enum muster_status listen_tcp(const char *address, int *ret_fd, char **ret_url,
                                     struct muster_error *error)
{
    char *host, *port, *copy = muster__strdup(address);
    if (!copy)
        return MUSTER_NO_MEMORY;
    if (!split(copy, &host, &port)) {
        free(copy);
        return fail(error, address, "an address is HOST:PORT, [IPv6]:PORT or unix:PATH");
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *info = NULL;
    int unknown = getaddrinfo(host, port, &hints, &info);
    int fd = unknown ? -1 : open_socket(info);
    enum muster_status status = MUSTER_OK;
    if (fd < 0)
        status = fail(error, address, unknown ? gai_strerror(unknown) : strerror(errno));
    if (info)
        freeaddrinfo(info);
    free(copy);
    if (status == MUSTER_OK) {
        *ret_fd = fd;
        *ret_url = url_of(fd);
    }
    return status;
}

enum muster_status muster__listen(const char *address, int *ret_fd, char **ret_url,
                                  struct muster_error *error)
{
    return strncmp(address, "unix:", 5) == 0 ? listen_unix(address, ret_fd, ret_url, error)
                                             : listen_tcp(address, ret_fd, ret_url, error);
}
