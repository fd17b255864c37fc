/* remote/link_port_move.c - ports that go on over another link, past the process in the middle.
 *
 * When the two ends of a channel have come to live behind two links of one process, the peers at the far ends can
 * talk to each other.  The one in the middle (M) tells the first peer (A) to move its port, and everything else follows
 * from what passes M in order:
 *
 *   M -> A  MOVE             A sends nothing more on the old way: MOVED is the last
 *   A -> M  MOVED            M puts a barrier behind A's messages in the queue for the second one (B)
 *   M -> B  MOVE, second     behind all that A had sent: B reads the new way, and says so there with its first credit
 *   B -> M  MOVED            M puts a barrier behind B's messages; CLOSE (moved) to B, for the number is over
 *   M -> A  CLOSE (moved)    behind all that B had sent: A reads the new way, and gives its first credit there
 *
 * Nobody sends on the new way before it got credit there, so nothing overtakes.  Until then a message waits in the
 * queue of the port itself, which keeps its end all the time.  If anything ends in between, CLOSE comes as for any port.
 */
#include "remote/link_port_internal.h"

#include <stdlib.h>

/* ---- in the middle ---- */

static void acquire_owner(void *owner)
{
    muster__link_port_acquire(owner);
}

static bool is_settled_locked(const struct link_port *port)
{
    return port->port && !port->last_sent && !port->last_received && !port->awaits_credit && !port->owes_credit &&
           !port->move_asked;
}

/* Whoever sees first that two could meet sees to it. */
static bool choose(struct link_port *port, bool chosen)
{
    pthread_mutex_lock(&port->ports->lock);
    bool may = !chosen || (is_settled_locked(port) && !port->meets);
    if (may)
        port->meets = chosen;
    pthread_mutex_unlock(&port->ports->lock);
    return may;
}

/* In one order, so that of two who try one succeeds. */
static bool choose_both(struct link_port *one, struct link_port *two)
{
    struct link_port *first = (uintptr_t)one < (uintptr_t)two ? one : two;
    struct link_port *second = first == one ? two : one;
    if (!choose(first, true))
        return false;
    if (choose(second, true))
        return true;
    (void)choose(first, false);
    return false;
}

static struct link_port *find_far(struct link_port *port)
{
    pthread_mutex_lock(&port->ports->lock);
    struct muster__port *end = is_settled_locked(port) ? muster__port_acquire(port->port) : NULL;
    pthread_mutex_unlock(&port->ports->lock);
    if (!end)
        return NULL;
    struct link_port *far = muster__port_peer_owner(end, &muster__link_port_owner, acquire_owner);
    muster__port_release(end);
    return far;
}

/* False: it is not to move any more. */
static bool ask_to_move(struct link_port *port, uint64_t id, bool is_second)
{
    struct muster__link_ports *ports = port->ports;
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_MOVE};
    message.port_move.channel = (uint32_t)(id >> 32) & 0x7fffffffu;
    message.port_move.port = id;
    message.port_move.is_second = is_second;
    pthread_mutex_lock(&ports->lock);
    bool asks = is_settled_locked(port);
    if (asks) {
        port->move_asked = true;
        port->move.id = id;
        port->move.is_second = is_second;
        port->moved_out = is_second; /* nothing comes from the other end any more */
        (void)!muster__link_port_send_locked(port, &message);
    }
    pthread_mutex_unlock(&ports->lock);
    return asks;
}

void muster__link_port_try_meet(struct link_port *port)
{
    const struct muster__link_ports_options *here = &port->ports->options;
    uint64_t id = 0;
    if (!here->meet)
        return;
    struct link_port *far = find_far(port);
    if (far && far->ports != port->ports && far->ports->options.meet == here->meet && choose_both(port, far) &&
        here->meet(here->user_data, far->ports->options.user_data, &id))
        (void)ask_to_move(far, id, false);
    muster__link_port_release(far);
}

/* Behind all that came from this one.  Without memory for it the port is closed. */
static void post_barrier(struct link_port *port)
{
    pthread_mutex_lock(&port->ports->lock);
    struct muster__port *end = port->port ? muster__port_acquire(port->port) : NULL;
    uint64_t id = port->move.id;
    pthread_mutex_unlock(&port->ports->lock);
    struct muster__port_message *message = end ? muster__port_message_new(NULL, NULL, 0) : NULL;
    if (message) {
        message->barrier = id;
        message->bytes = 1;
        muster__port_post(end, message);
    } else if (end) {
        muster__port_close(end);
    }
    muster__port_release(end);
}

/* The number is over, and the port goes on. */
static void send_gone_on(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    port->moved_out = true;
    if (!port->last_sent)
        muster__link_port_send_last_locked(port, MUSTER__WIRE_FLAG_MOVED);
    bool over = muster__link_port_forget_locked(port);
    pthread_mutex_unlock(&ports->lock);
    if (over)
        muster__link_port_let_go(port);
}

void muster__link_port_on_moved(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    bool may = port->move_asked && !port->moved_in && !port->last_received;
    port->moved_in = true;
    bool is_second = port->move.is_second;
    pthread_mutex_unlock(&ports->lock);
    if (!may) {
        muster__link_port_fault(ports, "that a port moved which was not asked to");
        return;
    }
    post_barrier(port);
    if (is_second)
        send_gone_on(port);
}

void muster__link_port_pass_barrier(struct link_port *port, uint64_t barrier)
{
    pthread_mutex_lock(&port->ports->lock);
    bool is_first = port->move_asked;
    pthread_mutex_unlock(&port->ports->lock);
    if (is_first)
        send_gone_on(port);
    else
        (void)ask_to_move(port, barrier, true);
}

/* ---- at the far ends ---- */

/* Without the place to go on, what was said on the way there would be lost. */
static void give_up(struct link_port *port, bool is_second)
{
    pthread_mutex_lock(&port->ports->lock);
    struct muster__port *end = is_second && port->port ? muster__port_acquire(port->port) : NULL;
    pthread_mutex_unlock(&port->ports->lock);
    if (!end)
        return; /* the first one stays, and nobody waits for it */
    muster__port_close(end);
    muster__port_release(end);
    muster__link_port_close_over(port);
}

void muster__link_port_on_move(struct link_port *port, const struct muster__wire_message *message)
{
    struct muster__link_ports *ports = port->ports;
    const struct muster__link_ports_options *options = &ports->options;
    struct muster__link_ports *there =
        options->channel ? options->channel(options->user_data, message->port_move.channel) : NULL;
    bool takes = false;
    pthread_mutex_lock(&ports->lock);
    bool is_over = port->last_sent || port->last_received || port->moved_out || port->move.ports;
    if (there && !is_over) {
        port->move.ports = there;
        port->move.id = message->port_move.port;
        port->move.is_second = message->port_move.is_second;
        takes = true;
    }
    pthread_mutex_unlock(&ports->lock);
    if (takes)
        muster__link_port_wake(port);
    else if (there && there->options.release)
        there->options.release(there->options.user_data);
    if (!there && !is_over)
        give_up(port, message->port_move.is_second);
}

/* In that table, without credit in either direction.  With a reference; NULL: there is no place, or no memory. */
static struct link_port *settle_there(struct link_port *port, struct muster__link_ports *there, uint64_t id,
                                      struct muster__port *end)
{
    struct link_port *junior = muster__link_port_new(there, end);
    if (!junior)
        return NULL;
    (void)muster__port_acquire(end);
    junior->node.id = id;
    junior->is_moved = junior->awaits_credit = junior->owes_credit = true;
    junior->credit = junior->window = 0;
    junior->worker = port->worker;
    muster__link_port_acquire(port);
    junior->elder = port;
    pthread_mutex_lock(&there->lock);
    bool settles = !there->ended && !muster__id_map_find(&there->map, id);
    if (settles) {
        muster__id_map_add(&there->map, &junior->node);
        *(there->options.side == MUSTER__WIRE_PARENT ? &there->opened_here : &there->opened_there) += 1; /* even */
    }
    pthread_mutex_unlock(&there->lock);
    if (settles)
        return junior;
    muster__link_port_release(junior);
    muster__link_port_release(junior);
    return NULL;
}

static void hold_worker(struct link_port *junior)
{
    const struct muster__link_ports_options *options = &junior->ports->options;
    if (!junior->worker || !options->hold)
        return;
    junior->holds = true;
    options->hold(options->user_data, junior->worker, true);
}

static bool move_to(struct link_port *port, struct muster__link_ports *there, uint64_t id, bool is_second,
                    struct muster__port *end)
{
    struct muster__link_ports *ports = port->ports;
    struct muster__wire_message moved = {.type = MUSTER__WIRE_PORT_MOVED};
    struct link_port *junior = settle_there(port, there, id, end);
    if (!junior) {
        give_up(port, is_second);
        return false;
    }
    muster__port_detach(end);
    muster__link_port_acquire(junior);
    pthread_mutex_lock(&ports->lock);
    bool is_over = port->last_sent || port->last_received;
    port->moved_out = true;
    port->junior = junior;
    if (!is_over)
        (void)!muster__link_port_send_locked(port, &moved);
    pthread_mutex_unlock(&ports->lock);
    if (is_over) { /* it was closed meanwhile, and that came here too early to be seen there */
        muster__link_port_end_move(port, false);
        muster__link_port_release(junior);
        return true;
    }
    hold_worker(junior);
    muster__port_attach(end, &muster__link_port_owner, junior);
    if (is_second)
        muster__link_port_give_first_credit(junior);
    muster__link_port_release(junior);
    return true;
}

bool muster__link_port_move_now(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    struct muster__link_ports *there = port->move.ports;
    uint64_t id = port->move.id;
    bool is_second = port->move.is_second;
    port->move.ports = NULL;
    bool is_over = port->last_sent || port->last_received || ports->ended;
    struct muster__port *end = there && !is_over && port->port ? muster__port_acquire(port->port) : NULL;
    pthread_mutex_unlock(&ports->lock);
    bool moves = end && move_to(port, there, id, is_second, end);
    muster__port_release(end);
    if (there && there->options.release)
        there->options.release(there->options.user_data);
    return moves;
}

/* Nobody heard of it there. */
static void drop_there(struct link_port *junior)
{
    struct muster__link_ports *there = junior->ports;
    pthread_mutex_lock(&there->lock);
    junior->last_sent = junior->last_received = true;
    bool over = muster__link_port_forget_locked(junior);
    pthread_mutex_unlock(&there->lock);
    if (over)
        muster__link_port_let_go(junior);
}

void muster__link_port_end_move(struct link_port *port, bool went_on)
{
    pthread_mutex_lock(&port->ports->lock);
    struct link_port *junior = port->junior;
    struct muster__port *end = port->port;
    port->junior = NULL;
    port->port = NULL;
    pthread_mutex_unlock(&port->ports->lock);
    if (!junior) {
        muster__port_release(end);
        return;
    }
    pthread_mutex_lock(&junior->ports->lock);
    struct link_port *elder = junior->elder;
    junior->elder = NULL;
    pthread_mutex_unlock(&junior->ports->lock);
    muster__link_port_release(elder);
    if (went_on)
        muster__link_port_give_first_credit(junior);
    else
        drop_there(junior);
    muster__port_release(end);
    muster__link_port_release(junior);
}

bool muster__link_port_on_stray(struct muster__link_ports *ports, const struct muster__wire_message *message)
{
    if (!ports->options.hold || (message->type != MUSTER__WIRE_PORT_CREDIT && message->type != MUSTER__WIRE_PORT_CLOSE))
        return false;
    /* It was closed here before the other side came: which is told that now. */
    const struct muster__wire_message close = {.type = MUSTER__WIRE_PORT_CLOSE, .actor = message->actor};
    if (message->type == MUSTER__WIRE_PORT_CREDIT)
        (void)!muster__link_send(ports->options.link, &close, 0);
    return true;
}
