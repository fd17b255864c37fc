/* remote/child_direct.c - channels to other children of the same parent, which made them: ports go over them, past the
 * parent.
 *
 * The child at the other end is as good as any stranger: what it sends is looked at, and a lie ends the channel, with
 * the ports that went over it, and nothing else.
 *
 * Thread: poller, unless it says else.  One reference for the list, and one for whatever is under way. */
#include "remote/child_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct child_direct {
    struct child_direct *next; /* under the child's lock */
    atomic_uint references;
    struct child *child;
    uint32_t number;
    struct muster__link *link;
    struct muster__link_ports *ports;
    struct muster__pool_source source;
    struct muster__pool_flusher flusher;
    atomic_bool flush_comes; /* and holds a reference */
    bool ended;
};

static void acquire(void *user_data)
{
    atomic_fetch_add(&((struct child_direct *)user_data)->references, 1);
}

static void release(void *user_data)
{
    struct child_direct *direct = user_data;
    if (atomic_fetch_sub(&direct->references, 1) != 1)
        return;
    muster__link_ports_destroy(direct->ports);
    muster__link_destroy(direct->link);
    free(direct);
}

/* ---- the end ---- */

static void unlist(struct child_direct *direct)
{
    struct child *child = direct->child;
    pthread_mutex_lock(&child->lock);
    struct child_direct **at = &child->directs;
    while (*at != direct)
        at = &(*at)->next;
    *at = direct->next;
    pthread_mutex_unlock(&child->lock);
}

static void end(struct child_direct *direct)
{
    if (direct->ended)
        return;
    direct->ended = true;
    unlist(direct);
    muster__pool_source_remove(direct->child->pool, &direct->source);
    muster__link_close(direct->link);
    muster__link_ports_end(direct->ports);
    release(direct); /* the list's */
}

static void fault(void *user_data, const char *sentence)
{
    struct child_direct *direct = user_data;
    fprintf(stderr, "muster-host: another host sent %s; ending the channel to it\n", sentence);
    end(direct);
}

/* ---- the link ---- */

static void on_frame(void *user_data, struct muster__wire_message *message)
{
    struct child_direct *direct = user_data;
    char sentence[80];
    if (direct->ended)
        return;
    switch (message->type) {
    case MUSTER__WIRE_HELLO: break; /* the parent started both: they are of one version */
    case MUSTER__WIRE_PORT_OPEN:
    case MUSTER__WIRE_PORT_MESSAGE:
    case MUSTER__WIRE_PORT_CLOSE:
    case MUSTER__WIRE_PORT_CREDIT: muster__link_ports_frame(direct->ports, message); break;
    default:
        snprintf(sentence, sizeof sentence, "%s, which is not for a child",
                 muster__wire_type_name((unsigned)message->type));
        fault(direct, sentence);
    }
}

static void on_ended(void *user_data, enum muster_status status, const char *sentence)
{
    struct child_direct *direct = user_data;
    if (status != MUSTER_CLOSED)
        fprintf(stderr, "muster-host: lost a channel to another host: %s\n", sentence);
    end(direct);
}

static void on_interest(void *user_data, uint32_t events)
{
    struct child_direct *direct = user_data;
    if (direct->source.fd)
        (void)!muster__pool_source_change(direct->child->pool, &direct->source, events | EPOLLET);
}

/* Thread: any. */
static void flush_soon(void *user_data)
{
    struct child_direct *direct = user_data;
    if (!atomic_exchange(&direct->flush_comes, true))
        acquire(direct); /* until flush() */
    muster__pool_flush(direct->child->pool, &direct->flusher);
}

static void on_drained(void *user_data)
{
    muster__link_ports_drained(((struct child_direct *)user_data)->ports);
}

static const struct muster__link_listener link_listener = {
    .frame = on_frame,
    .ended = on_ended,
    .interest = on_interest,
    .flush_soon = flush_soon,
    .drained = on_drained,
};

static void flush(struct muster__pool_flusher *flusher, uint64_t now_us)
{
    struct child_direct *direct = MUSTER_CONTAINER_OF(flusher, struct child_direct, flusher);
    (void)now_us;
    bool held = atomic_exchange(&direct->flush_comes, false);
    muster__link_flush(direct->link);
    if (held)
        release(direct);
}

static void ready(struct muster__pool_source *source, uint32_t events, uint64_t now_us)
{
    struct child_direct *direct = MUSTER_CONTAINER_OF(source, struct child_direct, source);
    (void)now_us;
    acquire(direct);
    if (!direct->ended && muster__link_on_ready(direct->link, events) && !direct->ended)
        on_interest(direct, muster__link_events(direct->link)); /* again, after others */
    release(direct);
}

/* ---- the beginning ---- */

/* Thread: any. */
static void hold(void *user_data, uint32_t worker, bool taken)
{
    struct child_direct *direct = user_data;
    struct muster__wire_message message = {.type = taken ? MUSTER__WIRE_HOLD : MUSTER__WIRE_UNHOLD, .worker = worker};
    message.hold.count = 1;
    muster__child_send(direct->child, &message);
}

static enum muster_status say_hello(struct child_direct *direct)
{
    struct muster__wire_message hello = {.type = MUSTER__WIRE_HELLO};
    hello.hello.version = MUSTER__WIRE_VERSION;
    return muster__link_send(direct->link, &hello, MUSTER__LINK_NOW);
}

/* Takes the socket when it succeeds. */
static enum muster_status connect_to(struct child_direct *direct, int socket, bool is_parent)
{
    const struct muster__link_options options = {
        .side = is_parent ? MUSTER__WIRE_PARENT : MUSTER__WIRE_CHILD,
        .data_fd = socket,
        .descriptor_fd = -1,
        .listener = &link_listener,
        .user_data = direct,
    };
    enum muster_status status = muster__link_new(&options, &direct->link);
    if (status != MUSTER_OK)
        return status;
    const struct muster__link_ports_options ports = {
        .link = direct->link,
        .pool = direct->child->pool,
        .side = options.side,
        .fault = fault,
        .acquire = acquire,
        .release = release,
        .hold = hold,
        .user_data = direct,
    };
    return muster__link_ports_new(&ports, &direct->ports);
}

static void list_it(struct child_direct *direct)
{
    struct child *child = direct->child;
    pthread_mutex_lock(&child->lock);
    direct->next = child->directs;
    child->directs = direct;
    pthread_mutex_unlock(&child->lock);
}

/* Without it ports stay on their way over the parent, which a channel that ends at once tells the other child. */
void muster__child_direct_open(struct child *child, struct muster__wire_message *message)
{
    struct child_direct *direct = calloc(1, sizeof *direct);
    if (!direct)
        return;
    atomic_init(&direct->references, 1);
    direct->child = child;
    direct->number = message->direct.channel;
    direct->flusher.flush = flush;
    enum muster_status status = connect_to(direct, message->descriptors[0], message->direct.is_parent);
    if (direct->link)
        message->descriptors[0] = -1; /* it is the link's */
    if (status == MUSTER_OK)
        status = say_hello(direct);
    if (status != MUSTER_OK) {
        release(direct);
        return;
    }
    list_it(direct);
    direct->source = (struct muster__pool_source){.fd = muster__link_fd(direct->link), .ready = ready};
    if (muster__pool_source_add(child->pool, &direct->source, muster__link_events(direct->link) | EPOLLET) != MUSTER_OK)
        end(direct);
}

struct muster__link_ports *muster__child_direct_ports(void *user_data, uint32_t number)
{
    struct child *child = user_data;
    pthread_mutex_lock(&child->lock);
    struct child_direct *direct = child->directs;
    while (direct && direct->number != number)
        direct = direct->next;
    if (direct)
        acquire(direct);
    pthread_mutex_unlock(&child->lock);
    return direct ? direct->ports : NULL;
}
