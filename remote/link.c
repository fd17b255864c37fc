/* remote/link.c - the life of a link: its descriptors, its limits, its end.
 *
 * Sending is in remote/link_send.c, receiving in remote/link_receive.c; threads as remote/link.h
 * says. */
#include "remote/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote/link_internal.h"

#define MIB ((size_t)1 << 20)

static void default_size(size_t *size, size_t value)
{
    if (*size == 0)
        *size = value;
}

static void set_defaults(struct muster__link_options *options)
{
    default_size(&options->high_mark, 4 * MIB);
    default_size(&options->low_mark, 1 * MIB);
    default_size(&options->hard_limit, 64 * MIB);
    default_size(&options->value_limit, 256 * MIB);
    default_size(&options->incomplete_limit, 512 * MIB);
    default_size(&options->read_budget, 2 * MIB);
    if (options->value_limit > MUSTER__WIRE_VALUE_LIMIT)
        options->value_limit = MUSTER__WIRE_VALUE_LIMIT;
    if (options->socket_buffer == 0)
        options->socket_buffer = 512 << 10;
    if (options->ring_bytes == 0)
        options->ring_bytes = 256 << 10;
}

static bool set_up_descriptor(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* Best effort: the kernel caps it, and a smaller buffer only costs time. */
static void enlarge_buffers(int fd, int size)
{
    if (size < 0)
        return;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

enum muster_status muster__link_new(const struct muster__link_options *options,
                                    struct muster__link **ret_link)
{
    if (!set_up_descriptor(options->data_fd) ||
        (options->descriptor_fd >= 0 && !set_up_descriptor(options->descriptor_fd)))
        return MUSTER_SYSTEM;
    struct muster__link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return MUSTER_NO_MEMORY;
    if (pthread_mutex_init(&link->lock, NULL) != 0) {
        free(link);
        return MUSTER_NO_MEMORY;
    }
    link->options = *options;
    set_defaults(&link->options);
    link->out.interest = EPOLLIN | EPOLLRDHUP;
    link->out.ring_fd = -1;
    enlarge_buffers(options->data_fd, link->options.socket_buffer);
    *ret_link = link;
    return MUSTER_OK;
}

void muster__link_close(struct muster__link *link)
{
    atomic_store(&link->closed, true);
    (void)shutdown(link->options.data_fd, SHUT_RDWR);
    pthread_mutex_lock(&link->lock);
    muster__link_drop_all_locked(link);
    pthread_mutex_unlock(&link->lock);
}

void muster__link_destroy(struct muster__link *link)
{
    if (link == NULL)
        return;
    muster__link_close(link);
    MUSTER_CHECK(!link->out.writing && link->in.delivering == NULL);
    muster__link_forget_incoming(link);
    muster__link_drop_unread_descriptors(link);
    close(link->options.data_fd);
    if (link->options.descriptor_fd >= 0)
        close(link->options.descriptor_fd);
    if (link->out.ring_fd >= 0)
        close(link->out.ring_fd);
    muster__ring_destroy(link->ring);
    muster__wire_buffer_clean_up(&link->out.small);
    muster__wire_buffer_clean_up(&link->out.batch.small);
    muster__wire_scratch_clean_up(&link->in.scratch);
    free(link->in.data);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

int muster__link_fd(const struct muster__link *link)
{
    return link->options.data_fd;
}

uint32_t muster__link_events(const struct muster__link *link)
{
    struct muster__link *unlocked = (struct muster__link *)link;
    pthread_mutex_lock(&unlocked->lock);
    uint32_t events = link->out.interest;
    pthread_mutex_unlock(&unlocked->lock);
    return events;
}

void muster__link_stats(struct muster__link *link, struct muster__link_stats *ret_stats)
{
    pthread_mutex_lock(&link->lock);
    *ret_stats = link->out.stats;
    ret_stats->waiting = link->out.waiting;
    ret_stats->ring_out = link->out.ring;
    pthread_mutex_unlock(&link->lock);
}
