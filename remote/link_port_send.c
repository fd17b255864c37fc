/* remote/link_port_send.c - ports over links: what is ready to be sent, how much, and what the peer may send.
 *
 * Thread: any; messages are taken and sent in the actor's turns alone, so a port is read by one thread at a time. */
#include "remote/link_port_internal.h"

#include <stdlib.h>

#include "remote/wire_value.h"

#define BATCH 32 /* messages of one port, before the next one's */

/* ---- what is ready to be sent ---- */

static void append_ready_locked(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    port->is_ready = true;
    port->next_ready = NULL;
    *ports->ready_end = port;
    ports->ready_end = &port->next_ready;
    muster__link_port_acquire(port);
}

void muster__link_port_schedule(struct muster__link_ports *ports)
{
    muster__pool_schedule(ports->options.pool, &ports->actor);
}

/* It waits for its turn, which is not asked for here.  False: it did already. */
bool muster__link_port_queue(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    bool is_new = !port->is_ready && !ports->ended;
    if (is_new)
        append_ready_locked(port);
    pthread_mutex_unlock(&ports->lock);
    return is_new;
}

void muster__link_port_wake(struct link_port *port)
{
    if (muster__link_port_queue(port))
        muster__link_port_schedule(port->ports);
}

/* With the list's reference. */
struct link_port *muster__link_port_take_ready(struct muster__link_ports *ports)
{
    pthread_mutex_lock(&ports->lock);
    struct link_port *port = ports->ready;
    if (port) {
        ports->ready = port->next_ready;
        if (!ports->ready)
            ports->ready_end = &ports->ready;
        port->is_ready = false;
    }
    pthread_mutex_unlock(&ports->lock);
    return port;
}

/* ---- sending ---- */

int64_t muster__link_port_weigh(const struct muster__wire_message *message)
{
    return (int64_t)(MUSTER__WIRE_WEIGHT_MESSAGE + muster__wire_value_total(&message->value) +
                     message->port_count * MUSTER__WIRE_WEIGHT_PORT);
}

enum may { MAY_SEND, MAY_NOT, MAY_NOT_ANY };

static enum may may_send(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    enum may may = ports->owed_out >= MUSTER__WIRE_PORT_UNREAD ? MAY_NOT_ANY : MAY_SEND;
    if (port->last_sent || port->moved_out || port->credit <= 0)
        may = MAY_NOT;
    pthread_mutex_unlock(&ports->lock);
    if (may == MAY_SEND && !muster__link_has_room(ports->options.link))
        may = MAY_NOT_ANY;
    return may;
}

static enum muster_status send_packed(struct link_port *port, struct muster__wire_message *message,
                                      struct muster__packed_value *packed)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    enum muster_status status = port->last_sent || ports->ended ? MUSTER_CLOSED : MUSTER_OK;
    message->value = packed->wire;
    int64_t weight = muster__link_port_weigh(message);
    message->actor = port->node.id;
    if (status == MUSTER_OK)
        status = muster__wire_value_send(ports->options.link, message, 0, packed);
    if (status == MUSTER_OK) {
        port->credit -= weight;
        port->owed_out += (uint64_t)weight;
        ports->owed_out += (uint64_t)weight;
    }
    pthread_mutex_unlock(&ports->lock);
    return status;
}

/* The ends that a message carries go over as well: their numbers. */
static void open_carried(struct link_port *port, struct muster__port_message *message, uint64_t *ids)
{
    for (size_t i = 0; i < message->port_count; i++) {
        ids[i] = message->ports[i] ? muster__link_port_open(port->ports, message->ports[i], false, port->worker) : 0;
        message->ports[i] = NULL;
    }
}

static enum muster_status send_message(struct link_port *port, struct muster__port_message *message)
{
    struct muster__wire_message frame = {.type = MUSTER__WIRE_PORT_MESSAGE, .port_count = message->port_count};
    struct muster__packed_value packed = {0};
    if (message->port_count > MUSTER__WIRE_PORT_LIMIT)
        return MUSTER_INVALID_ARGUMENT;
    uint64_t *ids = calloc(message->port_count + 1, sizeof *ids);
    if (!ids)
        return MUSTER_NO_MEMORY;
    enum muster_status status =
        muster__wire_value_pack_message(message->head, message->data, message->port_count, &packed, NULL);
    if (status == MUSTER_OK) {
        open_carried(port, message, ids);
        frame.ports = ids;
        frame.host_count = packed.hosts;
        frame.port_message.has_head = message->head != NULL;
        frame.port_message.has_data = message->data != NULL;
        status = send_packed(port, &frame, &packed);
        for (size_t i = 0; i < message->port_count && status != MUSTER_OK; i++)
            if (ids[i])
                muster__link_ports_retract(port->ports, ids[i]);
    }
    muster__wire_value_clean_up(&packed);
    free(ids);
    return status;
}

/* The other side of one that moved may not know it yet: then it waits for its first credit. */
static bool may_close(struct link_port *port)
{
    pthread_mutex_lock(&port->ports->lock);
    bool may = !port->moved_out && !(port->is_moved && port->awaits_credit);
    pthread_mutex_unlock(&port->ports->lock);
    return may;
}

/* False: nothing can be sent now, of any port. */
static bool forward(struct link_port *port, struct muster__port *end)
{
    for (int i = 0; i < BATCH; i++) {
        enum may may = may_send(port);
        struct muster__port_message *message = may == MAY_SEND ? muster__port_take(end) : NULL;
        if (!message) {
            if (may != MAY_NOT_ANY && muster__port_is_closed(end) && may_close(port))
                muster__link_port_close_over(port);
            else if (may == MAY_NOT_ANY)
                (void)muster__link_port_queue(port); /* until the link has room, or credit comes */
            return may != MAY_NOT_ANY;
        }
        enum muster_status status = MUSTER_OK;
        if (message->barrier)
            muster__link_port_pass_barrier(port, message->barrier);
        else
            status = send_message(port, message);
        muster__port_message_destroy(message);
        if (status != MUSTER_OK) { /* nothing may be left out silently */
            muster__port_close(end);
            muster__link_port_close_over(port);
            return true;
        }
    }
    muster__link_port_wake(port);
    return true;
}

bool muster__link_port_turn(struct muster__actor *actor)
{
    struct muster__link_ports *ports = MUSTER_CONTAINER_OF(actor, struct muster__link_ports, actor);
    for (int i = 0; i < BATCH; i++) {
        struct link_port *port = muster__link_port_take_ready(ports);
        if (!port)
            return false;
        pthread_mutex_lock(&ports->lock);
        struct muster__port *end = port->port && !ports->ended ? muster__port_acquire(port->port) : NULL;
        pthread_mutex_unlock(&ports->lock);
        bool goes_on = !end || muster__link_port_move_now(port) || forward(port, end);
        muster__port_release(end);
        muster__link_port_release(port);
        if (!goes_on)
            return false;
    }
    return true;
}

void muster__link_ports_drained(struct muster__link_ports *ports)
{
    muster__link_port_schedule(ports);
}

/* ---- credit for the peer ---- */

static void send_credit_locked(struct link_port *port, int64_t bytes)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_CREDIT};
    message.credit.bytes = (uint32_t)bytes;
    port->window += bytes;
    (void)!muster__link_port_send_locked(port, &message);
}

/* What the readers have taken since. */
static int64_t taken_locked(const struct link_port *port)
{
    uint64_t waits = muster__port_backlog(port->port).bytes;
    return WINDOW - port->window - (int64_t)waits;
}

static void give_credit(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    struct muster__port *watched = NULL;
    int64_t low = 0;
    pthread_mutex_lock(&ports->lock);
    bool gives = port->port && !port->last_sent && !port->last_received && !port->owes_credit;
    if (gives && port->window < WINDOW / 2) {
        int64_t taken = taken_locked(port);
        for (; taken >= WINDOW / 2; taken = taken_locked(port)) {
            int64_t bytes = taken <= UINT32_MAX ? taken : UINT32_MAX;
            uint64_t owed = (uint64_t)bytes < port->owed_in ? (uint64_t)bytes : port->owed_in;
            port->owed_in -= owed;
            ports->owed_in -= owed;
            send_credit_locked(port, bytes);
        }
        low = WINDOW / 2 - port->window;
        if (low >= 0)
            watched = muster__port_acquire(port->port);
    }
    pthread_mutex_unlock(&ports->lock);
    if (!watched)
        return;
    muster__port_watch(watched, (size_t)low);
    muster__port_release(watched);
}

void muster__link_port_give_credit(struct link_port *port)
{
    pthread_mutex_lock(&port->ports->lock);
    struct link_port *elder = port->elder;
    if (elder)
        muster__link_port_acquire(elder);
    pthread_mutex_unlock(&port->ports->lock);
    give_credit(port);
    if (elder) /* its end is this one's now */
        give_credit(elder);
    muster__link_port_release(elder);
}

void muster__link_port_give_first_credit(struct link_port *port)
{
    pthread_mutex_lock(&port->ports->lock);
    if (port->owes_credit && !port->last_sent && !port->last_received)
        send_credit_locked(port, WINDOW);
    port->owes_credit = false;
    pthread_mutex_unlock(&port->ports->lock);
}
