/* remote/link_port_internal.h - the inside of ports over links, for remote/link_port*.c only.
 *
 *   link_port.c       the table, opening, closing, claims, what comes
 *   link_port_send.c  what is ready to be sent, and credit
 *   link_port_move.c  ports that go on over another link
 */
#ifndef MUSTER_LINK_PORT_INTERNAL_H
#define MUSTER_LINK_PORT_INTERNAL_H

#include "remote/link_port.h"
#include "runtime/id_map.h"

#include <pthread.h>

#define WINDOW ((int64_t)MUSTER__WIRE_PORT_WINDOW)

struct link_port {
    struct muster__id_node node;
    atomic_uint references; /* the table's, the ready list's, those of calls */
    struct muster__link_ports *ports; /* with a reference to what keeps it */
    bool is_moved;          /* it came from another link */
    uint32_t worker;        /* whose it is, as far as is known; 0: nobody's */

    /* Under the table's lock. */
    struct muster__port *port;      /* the link's end, with a reference; NULL: it is not this one's any more */
    struct muster__port *unclaimed; /* opened by the peer: the end that no message has named yet */
    struct link_port *next_ready;
    struct link_port *elder; /* where it came from, while that still gives credit */
    bool is_ready;           /* is in the list */
    bool awaits_credit;      /* nothing may be sent before the first credit, which is none that was owed */
    bool owes_credit;        /* the peer has had none yet */
    bool used;               /* something came on it */
    bool meets;              /* it is to move together with the one at its other end, or was not to */
    bool move_asked;         /* the peer was told to move it */
    bool moved_in;           /* and sends no message on it any more */
    bool moved_out;          /* nor do we */
    bool holds;              /* a keepalive token of its worker's */
    bool last_sent, last_received;
    int64_t credit;    /* weight that we may send */
    int64_t window;    /* weight that the peer may send */
    uint64_t owed_out; /* sent, and not given back */
    uint64_t owed_in;
    struct {           /* it is to go on there, from the next turn on; NULL: it stays */
        struct muster__link_ports *ports;
        uint64_t id;
        bool is_second;
    } move;
    struct link_port *junior; /* where it went */
};

struct muster__link_ports {
    struct muster__link_ports_options options;
    struct muster__actor actor;
    pthread_mutex_t lock;
    struct muster__id_map map;
    struct link_port *ready, **ready_end;
    uint64_t last_id, peer_last_id;
    size_t opened_here, opened_there;
    uint64_t owed_out, owed_in; /* of all */
    bool ended;
};

/* link_port.c */
extern const struct muster__port_owner_class muster__link_port_owner;
/* With two references, the table's and the caller's.  Takes the end on success.  NULL: out of memory. */
struct link_port *muster__link_port_new(struct muster__link_ports *ports, struct muster__port *end);
void muster__link_port_acquire(struct link_port *port);
void muster__link_port_release(struct link_port *port); /* NULL: no-op */
/* Out of the table: its end calls nobody any more, and the table's reference is dropped. */
void muster__link_port_let_go(struct link_port *port);
/* True: nothing names it any more, and it is out of the table; then it is to be let go. */
bool muster__link_port_forget_locked(struct link_port *port);
enum muster_status muster__link_port_send_locked(struct link_port *port, struct muster__wire_message *message);
/* The last that this side says of it; that nobody will name it may come behind that. */
void muster__link_port_send_last_locked(struct link_port *port, uint8_t flags);
/* This side is over: the peer hears it, behind what was sent. */
void muster__link_port_close_over(struct link_port *port);
void muster__link_port_fault(struct muster__link_ports *ports, const char *sentence);

uint64_t muster__link_port_open(struct muster__link_ports *ports, struct muster__port *take_port, bool held,
                                uint32_t worker);

/* link_port_send.c */
void muster__link_port_wake(struct link_port *port);
/* It waits for its turn, which is not asked for here. */
bool muster__link_port_queue(struct link_port *port);
void muster__link_port_schedule(struct muster__link_ports *ports);
/* With the list's reference; NULL: none. */
struct link_port *muster__link_port_take_ready(struct muster__link_ports *ports);
bool muster__link_port_turn(struct muster__actor *actor);
int64_t muster__link_port_weigh(const struct muster__wire_message *message);
/* What was taken of the port's queue may be sent again. */
void muster__link_port_give_credit(struct link_port *port);
/* What the peer may send at first. */
void muster__link_port_give_first_credit(struct link_port *port);

/* link_port_move.c */
/* Thread: the actor's.  False: it stays here. */
bool muster__link_port_move_now(struct link_port *port);
/* Thread: the actor's.  Both ways in the parent, a barrier came behind all messages: the other end moved. */
void muster__link_port_pass_barrier(struct link_port *port, uint64_t barrier);
/* Could it go another way together with the one at its other end? */
void muster__link_port_try_meet(struct link_port *port);
/* Thread: poller. */
void muster__link_port_on_move(struct link_port *port, const struct muster__wire_message *message);
void muster__link_port_on_moved(struct link_port *port);
/* Thread: poller.  The number is over for good. */
void muster__link_port_end_move(struct link_port *port, bool went_on);
/* Thread: poller.  About a moved port that is not there.  False: no peer may say that. */
bool muster__link_port_on_stray(struct muster__link_ports *ports, const struct muster__wire_message *message);

#endif
