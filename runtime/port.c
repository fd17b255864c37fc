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
 * A reader takes the whole queue at once and goes through it without the lock, so that it and whoever posts meet
 * seldom; what it has taken in this way still counts as waiting, and is put back when the end is handed on.  Small
 * messages go round: the reader gives their memory back to the end that they came from, many at a time.
 *
 * No state but that of channels: this file is part of an engine's object as well.
 */
#include "runtime/port_account.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/clone_internal.h"

#define MESSAGE_WEIGHT 128u  /* what a message takes beside its bytes, in a backlog */
#define NODE_WEIGHT 32u      /* and each node of a tree */
#define WEIGHED_DEPTH 4      /* trees are small here: below that they count by their number only */
#define CARRIER_STEPS 1024   /* more queues in each other than that nobody looks through */
#define SPARES_AT_ONCE 32u   /* so many small messages are given back together */
#define SPARES_MOST 64u      /* that wait to be posted again; others are freed */

struct spares {
    struct muster__port_message *first, *last;
    unsigned count;
};

struct muster__port {
    atomic_uint references;
    bool is_second;

    /* Under the channel's lock. */
    unsigned calls; /* of the owner's functions, under way */
    atomic_bool closed; /* written under the lock */
    bool told;    /* ready came, and take() has not yet said that nothing is left */
    const struct muster__port_owner_class *class;
    void *owner;
    struct muster__port_message *first, *last;
    struct muster__port_backlog posted; /* ever */
    size_t watched;
    struct muster__port *carrier; /* NULL: it is not in transit */
    struct spares returned;       /* to post with */

    /* Written under the lock, or by the reader. */
    atomic_size_t taken_messages, taken_bytes; /* of what was posted */
    atomic_bool watches; /* for the other end's queue to shrink to `watched` bytes */
    atomic_bool may_restock; /* some were returned */

    /* The owner's thread. */
    struct muster__port_message *reading; /* out of the queue, and waiting none the less */
    struct spares read;                   /* for the other end */
    struct spares stock;                  /* to post with */
};

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t calls_ended;
    atomic_uint ends; /* that somebody refers to; and one for each look at a carrier */
    bool awaited;     /* somebody waits for calls_ended */
    struct muster__port_account *account; /* while both ends are open; NULL: nobody counts */
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

static void free_spares(struct spares *spares)
{
    while (spares->first != NULL) {
        struct muster__port_message *message = spares->first;
        spares->first = message->next;
        free(message);
    }
    *spares = (struct spares){0};
}

static void drop_end(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    if (atomic_fetch_sub(&channel->ends, 1) != 1)
        return;
    for (int i = 0; i < 2; i++) {
        struct muster__port *end = &channel->end[i];
        MUSTER_CHECK(end->first == NULL && end->reading == NULL);
        free_spares(&end->returned);
        free_spares(&end->read);
        free_spares(&end->stock);
    }
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

/* What its owner has not read yet is in the queue again. */
static void put_back_locked(struct muster__port *port)
{
    struct muster__port_message *last = port->reading;
    if (last == NULL)
        return;
    while (last->next != NULL)
        last = last->next;
    last->next = port->first;
    if (port->first == NULL)
        port->last = last;
    port->first = port->reading;
    port->reading = NULL;
}

/* The end has no owner from now on, and nothing of the old one's runs. */
static void disown_locked(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    put_back_locked(port);
    port->class = NULL;
    port->owner = NULL;
    port->told = false;
    atomic_store(&port->watches, false);
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
    size_t weight = MESSAGE_WEIGHT + message->port_count * sizeof(struct channel) + message->small;
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
    message->small = 0;
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
    struct muster__port_account *account = channel->account;
    channel->account = NULL;
    put_back_locked(port);
    struct muster__port_message *first = port->first, *last = port->last;
    if (!port->closed && !other->closed)
        call = tell_locked(other);
    port->closed = true;
    port->first = port->last = NULL;
    atomic_store(&port->taken_messages, port->posted.messages);
    atomic_store(&port->taken_bytes, port->posted.bytes);
    disown_locked(port);
    pthread_mutex_unlock(&channel->lock);
    if (account != NULL)
        muster__port_account_give_back(account);
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

enum muster_status muster__port_pair_on(struct muster__port_account *account, struct muster__port *ret_ends[2])
{
    if (account == NULL)
        return muster__port_pair(ret_ends);
    enum muster_status status = MUSTER_QUEUE_FULL;
    if (atomic_fetch_add(&account->open, 1) < account->limit)
        status = muster__port_pair(ret_ends);
    if (status == MUSTER_OK)
        channel_of(ret_ends[0])->account = muster__port_account_acquire(account);
    else
        atomic_fetch_sub(&account->open, 1);
    return status;
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
        target->posted.messages++;
        target->posted.bytes += message->bytes;
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

/* The channel's lock is held, or it is the reader's thread that asks, or the poster's. */
static struct muster__port_backlog waiting_at(const struct muster__port *port)
{
    return (struct muster__port_backlog){port->posted.messages - atomic_load(&port->taken_messages),
                                         port->posted.bytes - atomic_load(&port->taken_bytes)};
}

/* Has the queue shrunk to what the other end watches for? */
static struct call look_drained_locked(struct muster__port *port, struct muster__port *watcher)
{
    if (!atomic_load(&watcher->watches) || port->closed || waiting_at(port).bytes > watcher->watched)
        return (struct call){0};
    atomic_store(&watcher->watches, false);
    return begin_call_locked(watcher, true);
}

/* The bytes last: whoever watches for them has said so before, or sees them. */
static void count_taken(struct muster__port *port, const struct muster__port_message *message)
{
    atomic_store_explicit(&port->taken_messages,
                          atomic_load_explicit(&port->taken_messages, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store(&port->taken_bytes,
                 atomic_load_explicit(&port->taken_bytes, memory_order_relaxed) + message->bytes);
}

struct muster__port_message *muster__port_message_enlarge(struct muster__port_message *take_message)
{
    struct muster_clone *clone = NULL;
    if (take_message->small == 0)
        return take_message;
    struct muster_bytes bytes = muster__port_message_small(take_message);
    struct muster_value *data = muster__clone_new_copy(bytes.data, bytes.length, &clone) == MUSTER_OK
                                    ? muster_value_new_clone(clone)
                                    : NULL;
    struct muster__port_message *message = data != NULL ? muster__port_message_new(NULL, data, 0) : NULL;
    if (message != NULL)
        message->bytes = take_message->bytes;
    free(take_message);
    return message;
}

struct muster__port_message *muster__port_take(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    put_back_locked(port);
    struct muster__port_message *message = port->first;
    if (message != NULL) {
        port->first = message->next;
        message->next = NULL;
        count_taken(port, message);
        call = look_drained_locked(port, other_end(port));
    } else {
        port->told = false;
    }
    pthread_mutex_unlock(&channel->lock);
    make_call(&call);
    if (message == NULL)
        return NULL;
    if (message->port_count > 0)
        set_carrier(message, NULL);
    message = muster__port_message_enlarge(message);
    if (message == NULL)
        muster__port_close(port);
    return message;
}

/* ---- reading: by one thread, which takes the queue as a whole ---- */

static void begin_reading(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    port->reading = port->first;
    port->first = port->last = NULL;
    if (port->reading == NULL)
        port->told = false;
    pthread_mutex_unlock(&channel->lock);
}

static void tell_drained(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    struct call call = look_drained_locked(port, other_end(port));
    pthread_mutex_unlock(&channel->lock);
    make_call(&call);
}

bool muster__port_reads_on(const struct muster__port *port)
{
    return port->reading != NULL;
}

struct muster__port_message *muster__port_read(struct muster__port *port)
{
    if (port->reading == NULL)
        begin_reading(port);
    struct muster__port_message *message = port->reading;
    if (message == NULL)
        return NULL;
    port->reading = message->next;
    __builtin_prefetch(message->next);
    message->next = NULL;
    count_taken(port, message);
    if (atomic_load(&other_end(port)->watches))
        tell_drained(port);
    if (message->port_count > 0)
        set_carrier(message, NULL);
    return message;
}

/* ---- small messages ---- */

static void add_spare(struct spares *spares, struct muster__port_message *message)
{
    message->next = spares->first;
    if (spares->first == NULL)
        spares->last = message;
    spares->first = message;
    spares->count++;
}

/* What was read, to the end that it came from. */
static void give_back(struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    struct muster__port *other = other_end(port);
    pthread_mutex_lock(&channel->lock);
    if (other->returned.count < SPARES_MOST && !other->closed) {
        port->read.last->next = other->returned.first;
        other->returned.first = port->read.first;
        other->returned.count += port->read.count;
        port->read = (struct spares){0};
        atomic_store(&other->may_restock, true);
    }
    pthread_mutex_unlock(&channel->lock);
    free_spares(&port->read);
}

void muster__port_message_was_read(struct muster__port *port, struct muster__port_message *take_message)
{
    if (take_message->small == 0) {
        muster__port_message_destroy(take_message);
        return;
    }
    add_spare(&port->read, take_message);
    if (port->read.count == SPARES_AT_ONCE)
        give_back(port);
}

static struct muster__port_message *new_small(struct muster__port *port)
{
    if (port->stock.first == NULL && atomic_load(&port->may_restock)) {
        struct channel *channel = channel_of(port);
        pthread_mutex_lock(&channel->lock);
        port->stock = port->returned;
        port->returned = (struct spares){0};
        atomic_store(&port->may_restock, false);
        pthread_mutex_unlock(&channel->lock);
    }
    struct muster__port_message *message = port->stock.first;
    if (message == NULL)
        return malloc(sizeof *message + MUSTER__PORT_SMALL);
    port->stock.first = message->next;
    __builtin_prefetch(message->next, 1);
    return message;
}

bool muster__port_post_small(struct muster__port *port, const void *bytes, size_t length)
{
    MUSTER_CHECK(length > 0 && length <= MUSTER__PORT_SMALL);
    struct muster__port_message *message = new_small(port);
    if (message == NULL)
        return false;
    *message = (struct muster__port_message){.small = length, .bytes = MESSAGE_WEIGHT + NODE_WEIGHT + length};
    memcpy(message + 1, bytes, length);
    if (!enqueue(port, message))
        free(message);
    return true;
}

bool muster__port_is_closed(const struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    if (!port->closed && !other_end(port)->closed)
        return false;
    pthread_mutex_lock(&channel->lock);
    bool is_closed = port->closed || (port->first == NULL && port->reading == NULL && other_end(port)->closed);
    pthread_mutex_unlock(&channel->lock);
    return is_closed;
}

struct muster__port_backlog muster__port_backlog(const struct muster__port *port)
{
    struct channel *channel = channel_of(port);
    pthread_mutex_lock(&channel->lock);
    struct muster__port_backlog waiting = waiting_at(other_end(port));
    pthread_mutex_unlock(&channel->lock);
    return waiting;
}

bool muster__port_is_full(const struct muster__port *port)
{
    return waiting_at(other_end(port)).bytes >= MUSTER__PORT_FULL;
}

void muster__port_watch(struct muster__port *port, size_t bytes)
{
    struct channel *channel = channel_of(port);
    struct call call = {0};
    pthread_mutex_lock(&channel->lock);
    if (port->class != NULL && port->class->drained != NULL) {
        port->watched = bytes;
        atomic_store(&port->watches, true);
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
