/* runtime/port.c - channels of two ends, and the messages that wait in them.
 *
 * Both ends lie in one allocation, under one lock, so posting takes one lock, also when the message carries
 * ends of other channels: those belong to nobody while they travel, and nothing of them is touched.  What is
 * destroyed goes on a list first, for a queue may hold ends whose queues hold ends, and so on.
 *
 * An end in transit knows its carrier: the end in whose queue it waits.  Following carriers tells whether a
 * message would put an end into a queue that nobody could reach any more but through that end: then it is
 * destroyed, for nothing else ever would.  That takes one lock after the other, never two at once, and still
 * sees each ring: whoever closes one sets its link first and looks then, and links of ends that nobody owns stay.
 *
 * No state but that of channels: this file is part of an engine's object as well.
 */
#include "runtime/port.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/check.h"
#include "runtime/clone.h"

#define MESSAGE_WEIGHT 128u  /* what a message takes beside its bytes, in a backlog */
#define NODE_WEIGHT 32u      /* and each node of a tree */
#define WEIGHED_DEPTH 4      /* trees are small here: below that they count by their number only */
#define CARRIER_STEPS 1024   /* more queues in each other than that nobody looks through */

struct muster__port {
    atomic_uint references;
    bool is_second;

    /* Under the channel's lock. */
    unsigned calls; /* of the owner's functions, under way */
    bool closed;
    bool told;    /* ready came, and take() has not yet said that nothing is left */
    bool watches; /* for the other end's queue to shrink to `watched` bytes */
    const struct muster__port_owner_class *class;
    void *owner;
    struct muster__port_message *first, *last;
    struct muster__port_backlog waiting;
    size_t watched;
    struct muster__port *carrier; /* NULL: it is not in transit */
};

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t calls_ended;
    atomic_uint ends; /* that somebody refers to; and one for each look at a carrier */
    bool awaited;     /* somebody waits for calls_ended */
    struct muster__port end[2];
};

/* A list of messages to destroy. */
struct dying {
    struct muster__port_message *first, *last;
};

static struct channel *channel_of(const struct muster__port *port)
{
    const struct muster__port *first = port - port->is_second;
    return MUSTER_CONTAINER_OF(first, struct channel, end[0]);
}

static struct muster__port *other_end(const struct muster__port *port)
{
    return &channel_of(port)->end[!port->is_second];
}

static void drop_end(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    if (atomic_fetch_sub(&channel->ends, 1) != 1)
        return;
    MUSTER_CHECK(channel->end[0].first == NULL && channel->end[1].first == NULL);
    pthread_cond_destroy(&channel->calls_ended);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

/* ---- calling the owner ---- */

/* An owner's function that is to be called once no lock is held. */
struct call {
    struct muster__port *port;
    void (*function)(struct muster__port *port, void *owner);
    void *owner;
};

static struct call begin_call_locked(struct muster__port *port, bool drained)
{
    port->calls++;
    return (struct call){port, drained ? port->class->drained : port->class->ready, port->owner};
}

static struct call tell_locked(struct muster__port *port)
{
    if (port->class == NULL || port->told)
        return (struct call){0};
    port->told = true;
    return begin_call_locked(port, false);
}

/* The caller holds a reference to one of the two ends. */
static void make_call(const struct call *call)
{
    if (call->port == NULL)
        return;
    struct channel *channel = channel_of(call->port);
    call->function(call->port, call->owner);
    pthread_mutex_lock(&channel->lock);
    if (--call->port->calls == 0 && channel->awaited)
        pthread_cond_broadcast(&channel->calls_ended);
    pthread_mutex_unlock(&channel->lock);
}

/* The end has no owner from now on, and nothing of the old one's runs. */
static void disown_locked(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    port->class = NULL;
    port->owner = NULL;
    port->told = false;
    port->watches = false;
    while (port->calls > 0) {
        channel->awaited = true;
        pthread_cond_wait(&channel->calls_ended, &channel->lock);
    }
}

/* ---- carriers ---- */

static void set_carrier(const struct muster__port_message *message, struct muster__port *carrier)
{
    for (size_t i = 0; i < message->port_count; i++) {
        struct muster__port *port = message->ports[i];
        if (port == NULL)
            continue;
        struct channel *channel = channel_of(port);
        pthread_mutex_lock(&channel->lock);
        port->carrier = carrier;
        pthread_mutex_unlock(&channel->lock);
    }
}

/* The carrier, with a hold on its memory: it lets go of the port, which takes the port's lock, before it goes. */
static struct muster__port *hold_carrier(const struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    struct muster__port *carrier = port->carrier;
    if (carrier != NULL)
        atomic_fetch_add(&channel_of(carrier)->ends, 1);
    pthread_mutex_unlock(&channel->lock);
    return carrier;
}

/* Does the way to `target` lead through `target` itself? */
static bool is_ring(struct muster__port *target)
{
    bool found = false;
    struct muster__port *at = hold_carrier(target);
    for (unsigned steps = 0; at != NULL && !found && steps < CARRIER_STEPS; steps++) {
        struct muster__port *next = hold_carrier(at);
        found = at == target;
        drop_end(at);
        at = next;
    }
    if (at != NULL)
        drop_end(at);
    return found;
}

/* False: its ends would be lost there. */
static bool may_travel(struct muster__port *target, const struct muster__port_message *message)
{
    for (size_t i = 0; i < message->port_count; i++)
        if (message->ports[i] == target || message->ports[i] == other_end(target))
            return false;
    set_carrier(message, target);
    if (!is_ring(target))
        return true;
    set_carrier(message, NULL);
    return false;
}

/* ---- messages ---- */

static size_t value_weight(const struct muster_value *value, unsigned depth)
{
    struct muster_clone *clone = muster_value_clone(value);
    if (clone != NULL) {
        size_t weight = NODE_WEIGHT + muster_clone_bytes(clone).length;
        for (size_t i = 0; i < muster_clone_buffer_count(clone); i++)
            weight += muster_clone_buffer_at(clone, i).length;
        return weight;
    }
    size_t count = muster_value_count(value);
    size_t weight = NODE_WEIGHT * (count + 1) + muster_value_bytes(value).length;
    for (size_t i = 0; i < count && depth < WEIGHED_DEPTH; i++)
        weight += value_weight(muster_value_at(value, i), depth + 1);
    return weight;
}

static size_t message_weight(const struct muster__port_message *message)
{
    size_t weight = MESSAGE_WEIGHT + message->port_count * sizeof(struct channel);
    if (message->head != NULL)
        weight += value_weight(message->head, 0);
    if (message->data != NULL)
        weight += value_weight(message->data, 0);
    return weight;
}

struct muster__port_message *muster__port_message_new(struct muster_value *take_head,
                                                      struct muster_value *take_data, size_t port_count)
{
    struct muster__port_message *message = NULL;
    if (port_count < (SIZE_MAX - sizeof *message) / sizeof message->ports[0])
        message = malloc(sizeof *message + port_count * sizeof message->ports[0]);
    if (message == NULL) {
        muster_value_release(take_head);
        muster_value_release(take_data);
        return NULL;
    }
    message->next = NULL;
    message->head = take_head;
    message->data = take_data;
    message->bytes = 0;
    message->barrier = 0;
    message->port_count = port_count;
    for (size_t i = 0; i < port_count; i++)
        message->ports[i] = NULL;
    return message;
}

/* ---- the end of an end ---- */

static void add_to_dying(struct dying *dying, struct muster__port_message *first,
                         struct muster__port_message *last)
{
    if (first == NULL)
        return;
    if (dying->first == NULL)
        dying->first = first;
    else
        dying->last->next = first;
    dying->last = last;
}

/* Its queue goes on the list. */
static void close_end(struct muster__port *port, struct dying *dying)
{
    struct channel *channel = channel_of(port);
    struct muster__port *other = other_end(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    struct muster__port_message *first = port->first, *last = port->last;
    if (!port->closed && !other->closed)
        call = tell_locked(other);
    port->closed = true;
    port->first = port->last = NULL;
    port->waiting = (struct muster__port_backlog){0, 0};
    disown_locked(port);
    pthread_mutex_unlock(&channel->lock);
    for (const struct muster__port_message *message = first; message != NULL; message = message->next)
        set_carrier(message, NULL);
    add_to_dying(dying, first, last);
    make_call(&call);
}

static void destroy_dying(struct dying *dying)
{
    while (dying->first != NULL) {
        struct muster__port_message *message = dying->first;
        dying->first = message->next;
        for (size_t i = 0; i < message->port_count; i++) {
            if (message->ports[i] == NULL)
                continue;
            close_end(message->ports[i], dying);
            if (atomic_fetch_sub(&message->ports[i]->references, 1) == 1)
                drop_end(message->ports[i]);
        }
        muster_value_release(message->head);
        muster_value_release(message->data);
        free(message);
    }
}

void muster__port_message_destroy(struct muster__port_message *message)
{
    if (message == NULL)
        return;
    struct dying dying = {0};
    message->next = NULL;
    add_to_dying(&dying, message, message);
    destroy_dying(&dying);
}

void muster__port_close(struct muster__port *port)
{
    struct dying dying = {0};
    close_end(port, &dying);
    destroy_dying(&dying);
}

/* ---- ends ---- */

enum muster_status muster__port_pair(struct muster__port *ret_ends[2])
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return MUSTER_NO_MEMORY;
    if (pthread_mutex_init(&channel->lock, NULL) != 0) {
        free(channel);
        return MUSTER_NO_MEMORY;
    }
    if (pthread_cond_init(&channel->calls_ended, NULL) != 0) {
        pthread_mutex_destroy(&channel->lock);
        free(channel);
        return MUSTER_NO_MEMORY;
    }
    channel->end[1].is_second = true;
    atomic_init(&channel->ends, 2);
    for (int i = 0; i < 2; i++) {
        atomic_init(&channel->end[i].references, 1);
        ret_ends[i] = &channel->end[i];
    }
    return MUSTER_OK;
}

struct muster__port *muster__port_acquire(struct muster__port *port)
{
    atomic_fetch_add(&port->references, 1);
    return port;
}

void muster__port_release(struct muster__port *port)
{
    if (port == NULL || atomic_fetch_sub(&port->references, 1) != 1)
        return;
    muster__port_close(port);
    drop_end(port);
}

void muster__port_attach(struct muster__port *port, const struct muster__port_owner_class *class, void *owner)
{
    struct channel *channel = channel_of(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    MUSTER_CHECK(port->class == NULL);
    if (!port->closed) {
        port->class = class;
        port->owner = owner;
        if (port->first != NULL || other_end(port)->closed)
            call = tell_locked(port);
    }
    pthread_mutex_unlock(&channel->lock);
    make_call(&call);
}

void muster__port_detach(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    disown_locked(port);
    pthread_mutex_unlock(&channel->lock);
}

/* ---- posting and taking ---- */

/* False: nobody will take it. */
static bool enqueue(struct muster__port *port, struct muster__port_message *message)
{
    struct channel *channel = channel_of(port);
    struct muster__port *target = other_end(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    bool is_open = !port->closed && !target->closed;
    if (is_open) {
        if (target->first == NULL)
            target->first = message;
        else
            target->last->next = message;
        target->last = message;
        target->waiting.messages++;
        target->waiting.bytes += message->bytes;
        call = tell_locked(target);
    }
    pthread_mutex_unlock(&channel->lock);
    make_call(&call);
    return is_open;
}

void muster__port_post(struct muster__port *port, struct muster__port_message *take_message)
{
    take_message->next = NULL;
    if (take_message->bytes == 0)
        take_message->bytes = message_weight(take_message);
    if (take_message->port_count > 0 && !may_travel(other_end(port), take_message)) {
        muster__port_message_destroy(take_message);
        return;
    }
    if (enqueue(port, take_message))
        return;
    set_carrier(take_message, NULL);
    muster__port_message_destroy(take_message);
}

/* Has the queue shrunk to what the other end watches for? */
static struct call look_drained_locked(struct muster__port *port, struct muster__port *watcher)
{
    if (!watcher->watches || port->closed || port->waiting.bytes > watcher->watched)
        return (struct call){0};
    watcher->watches = false;
    return begin_call_locked(watcher, true);
}

struct muster__port_message *muster__port_take(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    struct muster__port_message *message = port->first;
    if (message != NULL) {
        port->first = message->next;
        message->next = NULL;
        port->waiting.messages--;
        port->waiting.bytes -= message->bytes;
        call = look_drained_locked(port, other_end(port));
    } else {
        port->told = false;
    }
    pthread_mutex_unlock(&channel->lock);
    make_call(&call);
    if (message != NULL)
        set_carrier(message, NULL);
    return message;
}

bool muster__port_is_closed(const struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    bool is_closed = port->closed || (port->first == NULL && other_end(port)->closed);
    pthread_mutex_unlock(&channel->lock);
    return is_closed;
}

struct muster__port_backlog muster__port_backlog(const struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    struct muster__port_backlog waiting = other_end(port)->waiting;
    pthread_mutex_unlock(&channel->lock);
    return waiting;
}

void muster__port_watch(struct muster__port *port, size_t bytes)
{
    struct channel *channel = channel_of(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    if (port->class != NULL && port->class->drained != NULL) {
        port->watches = true;
        port->watched = bytes;
        call = look_drained_locked(other_end(port), port);
    }
    pthread_mutex_unlock(&channel->lock);
    make_call(&call);
}

void *muster__port_peer_owner(const struct muster__port *port, const struct muster__port_owner_class *class,
                              void (*acquire)(void *owner))
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    const struct muster__port *other = other_end(port);
    void *owner = other->class == class ? other->owner : NULL;
    if (owner != NULL)
        acquire(owner);
    pthread_mutex_unlock(&channel->lock);
    return owner;
}

bool muster__port_is_entangled(const struct muster__port *port, const struct muster__port *other)
{
    return other_end(port) == other;
}
