/* remote/link_port.c - see link_port.h.
 *
 * One lock guards the table and the accounts, and frames are sent under it, so that what is told of a port is in
 * order whoever tells; no function of a port that may call its owners is called under it.  Forwarding is done in
 * turns of an actor, by which each port is read by one thread at a time; what comes is posted by the one that polls.
 *
 * A number is forgotten when both sides have sent their last frame of it, and the message that names it has come.
 * Accounts: the sender counts what it sent and was not given back; the reader gives back what was taken from the
 * queue.  The reader counts later and gives back earlier, so it never finds more than the sender allowed itself.
 */
#include "remote/link_port_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "remote/wire_value.h"

/* ---- one port ---- */

void muster__link_port_acquire(struct link_port *port)
{
    atomic_fetch_add(&port->references, 1);
}

void muster__link_port_release(struct link_port *port)
{
    if (!port || atomic_fetch_sub(&port->references, 1) != 1)
        return;
    const struct muster__link_ports_options *options = &port->ports->options;
    if (port->holds)
        options->hold(options->user_data, port->worker, false);
    muster__port_release(port->port);
    muster__port_release(port->unclaimed);
    muster__link_port_release(port->elder);
    void (*release)(void *user_data) = options->release;
    void *user_data = options->user_data;
    free(port);
    if (release)
        release(user_data);
}

static bool is_peers(const struct muster__link_ports *ports, uint64_t id)
{
    return (id % 2 == 0) != (ports->options.side == MUSTER__WIRE_PARENT);
}

/* With a reference; NULL: there is none. */
static struct link_port *find(struct muster__link_ports *ports, uint64_t id)
{
    pthread_mutex_lock(&ports->lock);
    struct muster__id_node *node = muster__id_map_find(&ports->map, id);
    struct link_port *port = node ? MUSTER_CONTAINER_OF(node, struct link_port, node) : NULL;
    if (port)
        muster__link_port_acquire(port);
    pthread_mutex_unlock(&ports->lock);
    return port;
}

bool muster__link_port_forget_locked(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    if (!port->last_sent || !port->last_received || port->unclaimed ||
        !muster__id_map_remove(&ports->map, port->node.id))
        return false;
    *(is_peers(ports, port->node.id) ? &ports->opened_there : &ports->opened_here) -= 1;
    return true;
}

void muster__link_port_let_go(struct link_port *port)
{
    if (port->port)
        muster__port_close(port->port);
    muster__link_port_release(port);
}

enum muster_status muster__link_port_send_locked(struct link_port *port, struct muster__wire_message *message)
{
    message->actor = port->node.id;
    return muster__link_send(port->ports->options.link, message, 0);
}

void muster__link_port_send_last_locked(struct link_port *port, uint8_t flags)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_CLOSE, .flags = flags};
    if (port->last_sent && !flags)
        return;
    port->last_sent = true;
    port->ports->owed_in -= port->owed_in;
    port->owed_in = 0;
    (void)!muster__link_port_send_locked(port, &message); /* it fails only with the link, whose end closes all */
}

static void take_last_locked(struct link_port *port)
{
    port->last_received = true;
    port->ports->owed_out -= port->owed_out;
    port->owed_out = 0;
}

static void on_ready(struct muster__port *end, void *owner)
{
    (void)end;
    muster__link_port_wake(owner);
}

static void on_drained(struct muster__port *end, void *owner)
{
    (void)end;
    muster__link_port_give_credit(owner);
}

const struct muster__port_owner_class muster__link_port_owner = {.ready = on_ready, .drained = on_drained};

void muster__link_port_close_over(struct link_port *port)
{
    struct muster__link_ports *ports = port->ports;
    pthread_mutex_lock(&ports->lock);
    muster__link_port_send_last_locked(port, 0);
    bool over = muster__link_port_forget_locked(port);
    pthread_mutex_unlock(&ports->lock);
    if (over)
        muster__link_port_let_go(port);
}

/* ---- opening ---- */

struct link_port *muster__link_port_new(struct muster__link_ports *ports, struct muster__port *end)
{
    struct link_port *port = calloc(1, sizeof *port);
    if (!port)
        return NULL;
    if (ports->options.acquire)
        ports->options.acquire(ports->options.user_data);
    atomic_init(&port->references, 2);
    port->ports = ports;
    port->port = end;
    port->credit = port->window = WINDOW;
    return port;
}

static bool list_and_send_open_locked(struct link_port *port, bool held)
{
    struct muster__link_ports *ports = port->ports;
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_OPEN};
    if (ports->ended || ports->opened_here >= MUSTER__WIRE_PORT_LIMIT)
        return false;
    port->node.id = ports->last_id += 2;
    message.port_open.held = held;
    if (muster__link_port_send_locked(port, &message) != MUSTER_OK)
        return false;
    muster__id_map_add(&ports->map, &port->node);
    ports->opened_here++;
    return true;
}

uint64_t muster__link_port_open(struct muster__link_ports *ports, struct muster__port *take_port, bool held,
                                uint32_t worker)
{
    struct link_port *port = muster__link_port_new(ports, take_port);
    if (!port) {
        muster__port_release(take_port);
        return 0;
    }
    port->worker = worker;
    port->awaits_credit = held;
    if (held)
        port->credit = 0;
    pthread_mutex_lock(&ports->lock);
    bool opened = list_and_send_open_locked(port, held);
    pthread_mutex_unlock(&ports->lock);
    uint64_t id = opened ? port->node.id : 0;
    if (opened)
        muster__port_attach(take_port, &muster__link_port_owner, port);
    else
        muster__link_port_release(port); /* the table's: it is in none */
    if (opened && !held)
        muster__link_port_try_meet(port);
    muster__link_port_release(port);
    return id;
}

uint64_t muster__link_ports_open(struct muster__link_ports *ports, struct muster__port *take_port, bool held)
{
    return muster__link_port_open(ports, take_port, held, 0);
}

/* Tells that no message names it.  Its end is the caller's. */
static struct muster__port *withdraw(struct muster__link_ports *ports, uint64_t id, bool unused_only)
{
    struct link_port *port = find(ports, id);
    struct muster__port *end = NULL;
    bool over = false;
    if (!port)
        return NULL;
    pthread_mutex_lock(&ports->lock);
    if (!unused_only || (port->awaits_credit && !port->used && !port->last_received)) {
        end = port->port;
        port->port = NULL;
        muster__link_port_send_last_locked(port, MUSTER__WIRE_FLAG_UNNAMED);
        over = muster__link_port_forget_locked(port);
    }
    pthread_mutex_unlock(&ports->lock);
    if (end)
        muster__port_detach(end);
    if (over)
        muster__link_port_let_go(port);
    muster__link_port_release(port);
    return end;
}

void muster__link_ports_retract(struct muster__link_ports *ports, uint64_t id)
{
    muster__port_release(withdraw(ports, id, false));
}

struct muster__port *muster__link_ports_take_back(struct muster__link_ports *ports, uint64_t id)
{
    return withdraw(ports, id, true);
}

/* ---- claims ---- */

static enum muster_status make_closed(struct muster__port **ret_port)
{
    struct muster__port *ends[2];
    enum muster_status status = muster__port_pair(ends);
    if (status != MUSTER_OK)
        return status;
    muster__port_release(ends[1]);
    *ret_port = ends[0];
    return MUSTER_OK;
}

void muster__link_ports_accept(struct muster__link_ports *ports, uint64_t id)
{
    struct link_port *port = is_peers(ports, id) ? find(ports, id) : NULL;
    if (port)
        muster__link_port_give_first_credit(port);
    muster__link_port_release(port);
}

enum muster_status muster__link_ports_claim(struct muster__link_ports *ports, uint64_t id, uint32_t worker,
                                            struct muster__port **ret_port)
{
    if (id == 0)
        return make_closed(ret_port);
    struct link_port *port = is_peers(ports, id) ? find(ports, id) : NULL;
    if (!port)
        return MUSTER_NOT_FOUND;
    pthread_mutex_lock(&ports->lock);
    struct muster__port *end = port->unclaimed;
    port->unclaimed = NULL;
    port->worker = worker;
    bool over = end && muster__link_port_forget_locked(port);
    pthread_mutex_unlock(&ports->lock);
    if (over)
        muster__link_port_let_go(port);
    muster__link_port_release(port);
    if (!end)
        return MUSTER_NOT_FOUND;
    *ret_port = end;
    return MUSTER_OK;
}

/* ---- receiving; thread: poller ---- */

void muster__link_port_fault(struct muster__link_ports *ports, const char *sentence)
{
    ports->options.fault(ports->options.user_data, sentence);
}

static void on_open(struct muster__link_ports *ports, const struct muster__wire_message *message)
{
    struct muster__port *ends[2];
    if (message->actor <= ports->peer_last_id || message->actor >= MUSTER__WIRE_FIRST_MOVED) {
        muster__link_port_fault(ports, "a port's number twice, or one that is too high");
        return;
    }
    if (muster__port_pair(ends) != MUSTER_OK) {
        muster__link_port_fault(ports, "more ports than there is memory for");
        return;
    }
    struct link_port *port = muster__link_port_new(ports, ends[0]);
    if (!port) {
        muster__port_release(ends[0]);
        muster__port_release(ends[1]);
        muster__link_port_fault(ports, "more ports than there is memory for");
        return;
    }
    port->node.id = ports->peer_last_id = message->actor;
    port->unclaimed = ends[1];
    port->owes_credit = message->port_open.held;
    if (port->owes_credit)
        port->window = 0;
    pthread_mutex_lock(&ports->lock);
    bool may = !ports->ended && ports->opened_there < MUSTER__WIRE_PORT_LIMIT, ended = ports->ended;
    if (may) {
        muster__id_map_add(&ports->map, &port->node);
        ports->opened_there++;
    }
    pthread_mutex_unlock(&ports->lock);
    if (may)
        muster__port_attach(ends[0], &muster__link_port_owner, port);
    else
        muster__link_port_release(port);
    muster__link_port_release(port);
    if (!may && !ended)
        muster__link_port_fault(ports, "more ports than it may have open");
}

/* NULL: it is to blame, or memory is, and was told so. */
static struct muster__port_message *unpack(struct link_port *port, const struct muster__wire_message *frame)
{
    struct muster__link_ports *ports = port->ports;
    struct muster_value *head = NULL, *data = NULL;
    struct muster_error error = {0};
    char sentence[160];
    enum muster_status status = muster__wire_value_unpack_message(frame, ports->options.link, !ports->options.trusts,
                                                                  &head, &data, &error);
    if (status != MUSTER_OK) {
        snprintf(sentence, sizeof sentence, "a value that is none: %s",
                 error.message ? error.message : muster_status_sentence(status));
        muster_error_clean_up(&error);
        muster__link_port_fault(ports, sentence);
        return NULL;
    }
    struct muster__port_message *message = muster__port_message_new(head, data, frame->port_count);
    for (size_t i = 0; message && i < frame->port_count && status == MUSTER_OK; i++)
        status = muster__link_ports_claim(ports, frame->ports[i], port->worker, &message->ports[i]);
    if (message && status == MUSTER_OK)
        return message;
    muster__port_message_destroy(message);
    muster__link_port_fault(ports, status == MUSTER_NOT_FOUND ? "a port that it has not opened, or named before"
                                            : "more than there is memory for");
    return NULL;
}

/* NULL: it may. */
static const char *take_weight(struct link_port *port, uint64_t weight)
{
    struct muster__link_ports *ports = port->ports;
    const char *sentence = NULL;
    pthread_mutex_lock(&ports->lock);
    if (port->last_received)
        sentence = "a message on a port that it has closed";
    else if (port->moved_in)
        sentence = "a message on a port that it has moved";
    else if (port->window <= 0 || ports->owed_in >= MUSTER__WIRE_PORT_UNREAD)
        sentence = "more on its ports than it may";
    port->window -= (int64_t)weight;
    port->used = true;
    if (!port->last_sent) {
        port->owed_in += weight;
        ports->owed_in += weight;
    }
    pthread_mutex_unlock(&ports->lock);
    return sentence;
}

static void on_message(struct link_port *port, const struct muster__wire_message *frame)
{
    struct muster__link_ports *ports = port->ports;
    int64_t weight = muster__link_port_weigh(frame);
    const char *sentence = take_weight(port, (uint64_t)weight);
    if (sentence) {
        muster__link_port_fault(ports, sentence);
        return;
    }
    struct muster__port_message *message = unpack(port, frame);
    if (!message)
        return;
    message->bytes = (size_t)weight;
    pthread_mutex_lock(&ports->lock);
    struct muster__port *end = port->port ? muster__port_acquire(port->port) : NULL;
    pthread_mutex_unlock(&ports->lock);
    if (!end) {
        muster__port_message_destroy(message);
        return;
    }
    muster__port_post(end, message);
    muster__port_release(end);
    muster__link_port_give_credit(port);
}

/* NULL: it may be said. */
static const char *judge_close_locked(const struct link_port *port, uint8_t flags)
{
    if (flags & MUSTER__WIRE_FLAG_UNNAMED)
        return port->unclaimed ? NULL : "that no message names a port which one named";
    if (port->last_received)
        return "the end of a port twice";
    return flags & MUSTER__WIRE_FLAG_MOVED && !port->moved_out ? "that a port went where it did not" : NULL;
}

static void on_close(struct link_port *port, const struct muster__wire_message *message)
{
    struct muster__link_ports *ports = port->ports;
    struct muster__port *unnamed = NULL, *end = NULL;
    pthread_mutex_lock(&ports->lock);
    const char *sentence = judge_close_locked(port, message->flags);
    bool moved = port->junior != NULL;
    if (!sentence && message->flags & MUSTER__WIRE_FLAG_UNNAMED) {
        unnamed = port->unclaimed;
        port->unclaimed = NULL;
    }
    if (!sentence) {
        take_last_locked(port);
        if (port->port && !moved)
            end = muster__port_acquire(port->port);
    }
    pthread_mutex_unlock(&ports->lock);
    if (end)
        muster__port_close(end);
    muster__port_release(end);
    muster__port_release(unnamed);
    if (sentence) {
        muster__link_port_fault(ports, sentence);
        return;
    }
    if (moved)
        muster__link_port_end_move(port, message->flags & MUSTER__WIRE_FLAG_MOVED);
    muster__link_port_close_over(port);
}

static void on_credit(struct link_port *port, const struct muster__wire_message *message)
{
    struct muster__link_ports *ports = port->ports;
    uint64_t bytes = message->credit.bytes;
    pthread_mutex_lock(&ports->lock);
    bool first = port->awaits_credit && bytes <= (uint64_t)WINDOW;
    bool may = !port->last_received && (first || bytes <= port->owed_out);
    if (may) {
        port->awaits_credit = false;
        port->credit += (int64_t)bytes;
        if (!first) {
            port->owed_out -= bytes;
            ports->owed_out -= bytes;
        }
    }
    pthread_mutex_unlock(&ports->lock);
    if (!may) {
        muster__link_port_fault(ports, "more credit for a port than it had taken");
        return;
    }
    if (first)
        muster__link_port_try_meet(port);
    (void)muster__link_port_queue(port);
    muster__link_port_schedule(ports); /* others may have waited for it as well */
}

void muster__link_ports_frame(struct muster__link_ports *ports, const struct muster__wire_message *message)
{
    if (message->type == MUSTER__WIRE_PORT_OPEN) {
        on_open(ports, message);
        return;
    }
    struct link_port *port = find(ports, message->actor);
    if (!port && message->actor >= MUSTER__WIRE_FIRST_MOVED && muster__link_port_on_stray(ports, message))
        return;
    if (!port) {
        char sentence[80];
        snprintf(sentence, sizeof sentence, "%s of a port that it does not have",
                 muster__wire_type_name(message->type));
        muster__link_port_fault(ports, sentence);
        return;
    }
    switch (message->type) {
    case MUSTER__WIRE_PORT_MESSAGE: on_message(port, message); break;
    case MUSTER__WIRE_PORT_CLOSE: on_close(port, message); break;
    case MUSTER__WIRE_PORT_CREDIT: on_credit(port, message); break;
    case MUSTER__WIRE_PORT_MOVE: muster__link_port_on_move(port, message); break;
    case MUSTER__WIRE_PORT_MOVED: muster__link_port_on_moved(port); break;
    default: muster__link_port_fault(ports, "a frame that is not for a port");
    }
    muster__link_port_release(port);
}

/* ---- life ---- */

static void actor_acquire(struct muster__actor *actor)
{
    struct muster__link_ports *ports = MUSTER_CONTAINER_OF(actor, struct muster__link_ports, actor);
    if (ports->options.acquire)
        ports->options.acquire(ports->options.user_data);
}

static void actor_release(struct muster__actor *actor)
{
    struct muster__link_ports *ports = MUSTER_CONTAINER_OF(actor, struct muster__link_ports, actor);
    if (ports->options.release)
        ports->options.release(ports->options.user_data);
}

enum muster_status muster__link_ports_new(const struct muster__link_ports_options *options,
                                          struct muster__link_ports **ret_ports)
{
    struct muster__link_ports *ports = calloc(1, sizeof *ports);
    if (!ports)
        return MUSTER_NO_MEMORY;
    if (pthread_mutex_init(&ports->lock, NULL) != 0) {
        free(ports);
        return MUSTER_NO_MEMORY;
    }
    ports->options = *options;
    ports->ready_end = &ports->ready;
    ports->last_id = options->side == MUSTER__WIRE_PARENT ? 0 : (uint64_t)-1; /* even, odd; two are added */
    muster__actor_init(&ports->actor, muster__link_port_turn);
    ports->actor.acquire = actor_acquire;
    ports->actor.release = actor_release;
    *ret_ports = ports;
    return MUSTER_OK;
}

void muster__link_ports_end(struct muster__link_ports *ports)
{
    for (;;) {
        struct muster__port *end = NULL, *unclaimed = NULL;
        struct link_port *elder = NULL;
        struct muster__link_ports *there = NULL;
        pthread_mutex_lock(&ports->lock);
        ports->ended = true;
        struct muster__id_node *node = muster__id_map_any(&ports->map);
        struct link_port *port = node ? MUSTER_CONTAINER_OF(node, struct link_port, node) : NULL;
        if (port) {
            (void)muster__id_map_remove(&ports->map, node->id);
            port->last_sent = port->last_received = true;
            end = port->port ? muster__port_acquire(port->port) : NULL;
            unclaimed = port->unclaimed;
            port->unclaimed = NULL;
            elder = port->elder;
            port->elder = NULL;
            there = port->move.ports;
            port->move.ports = NULL;
        }
        pthread_mutex_unlock(&ports->lock);
        if (!port)
            break;
        muster__link_port_release(elder);
        if (port->junior)
            muster__link_port_end_move(port, false);
        if (there && there->options.release)
            there->options.release(there->options.user_data);
        if (end)
            muster__port_close(end);
        muster__port_release(end);
        muster__port_release(unclaimed);
        muster__link_port_release(port);
    }
    for (struct link_port *port; (port = muster__link_port_take_ready(ports)) != NULL;)
        muster__link_port_release(port);
}

void muster__link_ports_destroy(struct muster__link_ports *ports)
{
    if (!ports)
        return;
    muster__link_ports_end(ports);
    muster__id_map_clean_up(&ports->map);
    pthread_mutex_destroy(&ports->lock);
    free(ports);
}

void muster__link_ports_stats(struct muster__link_ports *ports, struct muster__link_ports_stats *ret_stats)
{
    pthread_mutex_lock(&ports->lock);
    *ret_stats = (struct muster__link_ports_stats){
        .ports = ports->map.count, .unread_here = ports->owed_in, .unread_there = ports->owed_out};
    pthread_mutex_unlock(&ports->lock);
}
