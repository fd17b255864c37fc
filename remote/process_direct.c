/* remote/process_direct.c - channels between two child processes, past this one.
 *
 * When both ends of a message channel have come to live in two processes, those get a socket to each other, once for
 * each two of them, and the port goes on there (remote/link_port_move.c).  A process behind the wall gets none: what
 * is not trusted talks through its parent, which looks at it.
 *
 * Thread: any; the list is under the lock of `processes`. */
#include "remote/process_internal.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNELS_MOST 32u /* of one process */
#define NUMBERS_MOST 0x7fffffffu

struct process_direct {
    struct process_direct *next;
    uint32_t number, last_port;
    struct process_host *hosts[2]; /* which are in the list as long as they live */
};

static bool is_between(const struct process_direct *direct, const struct process_host *one,
                       const struct process_host *two)
{
    return (direct->hosts[0] == one && direct->hosts[1] == two) ||
           (direct->hosts[0] == two && direct->hosts[1] == one);
}

/* NULL: there is none yet. */
static struct process_direct *find_locked(struct muster__processes *processes, const struct process_host *one,
                                          const struct process_host *two)
{
    struct process_direct *direct = processes->directs;
    while (direct && !is_between(direct, one, two))
        direct = direct->next;
    return direct;
}

static bool may_have_more_locked(struct muster__processes *processes, const struct process_host *host)
{
    unsigned count = 0;
    for (const struct process_direct *at = processes->directs; at; at = at->next)
        count += at->hosts[0] == host || at->hosts[1] == host;
    return count < CHANNELS_MOST && !atomic_load(&host->dead) && host->base.view.trust != MUSTER__TRUST_NONE;
}

/* False: it cannot have it now; the socket is closed either way. */
static bool send_end(struct process_host *host, uint32_t number, bool is_parent, int *socket)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_DIRECT,
                                           .descriptor_count = 1,
                                           .descriptors = socket};
    message.direct.channel = number;
    message.direct.is_parent = is_parent;
    if (muster__link_send(host->link, &message, 0) == MUSTER_OK)
        return true;
    (void)close(*socket);
    return false;
}

static bool connect_two(struct process_direct *direct)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
        return false;
    bool first = send_end(direct->hosts[0], direct->number, true, &sockets[0]);
    bool second = first && send_end(direct->hosts[1], direct->number, false, &sockets[1]);
    if (!first)
        (void)close(sockets[1]);
    return second; /* else the first one finds that it has ended */
}

static struct process_direct *new_locked(struct muster__processes *processes, struct process_host *one,
                                         struct process_host *two)
{
    if (!may_have_more_locked(processes, one) || !may_have_more_locked(processes, two) ||
        processes->last_direct == NUMBERS_MOST)
        return NULL;
    struct process_direct *direct = calloc(1, sizeof *direct);
    if (!direct)
        return NULL;
    direct->number = ++processes->last_direct;
    direct->hosts[0] = one;
    direct->hosts[1] = two;
    if (!connect_two(direct)) {
        free(direct);
        return NULL;
    }
    direct->next = processes->directs;
    processes->directs = direct;
    return direct;
}

bool muster__process_hosts_meet(void *user_data, void *other_user_data, uint64_t *ret_id)
{
    struct process_host *one = user_data, *two = other_user_data;
    struct muster__processes *processes = one->processes;
    if (two->processes != processes)
        return false;
    pthread_mutex_lock(&processes->lock);
    struct process_direct *direct = find_locked(processes, one, two);
    if (!direct)
        direct = new_locked(processes, one, two);
    bool meet = direct && direct->last_port < NUMBERS_MOST;
    if (meet)
        *ret_id = MUSTER__LINK_PORT_MOVED(direct->number, ++direct->last_port);
    pthread_mutex_unlock(&processes->lock);
    return meet;
}

void muster__process_host_part(struct process_host *host)
{
    struct muster__processes *processes = host->processes;
    struct process_direct *gone = NULL;
    pthread_mutex_lock(&processes->lock);
    for (struct process_direct **at = &processes->directs; *at;) {
        struct process_direct *direct = *at;
        if (direct->hosts[0] != host && direct->hosts[1] != host) {
            at = &direct->next;
            continue;
        }
        *at = direct->next;
        direct->next = gone;
        gone = direct;
    }
    pthread_mutex_unlock(&processes->lock);
    while (gone) {
        struct process_direct *direct = gone;
        gone = direct->next;
        free(direct);
    }
}
