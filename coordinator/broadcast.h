/* coordinator/broadcast.h - BroadcastChannel: who listens where, and what is said to all of them.  Internal.
 *
 * A channel belongs to a context; those with the same storage key and name form a group.  What is posted on one
 * comes to all others of the group, in the order of their making; each gets the same value, which was serialized
 * once (BC-1).  What one context posts arrives everywhere in its order.  A channel that is closed, or whose context
 * is, gets nothing more.
 *   broadcast.open(name)            answered with a number, the context's name for the channel
 *   broadcast.post(id) + payload    a tell; ports do not go along
 *   broadcast.close(id)             a tell
 *   told: broadcast(id) + payload
 * Thread: coordinator.
 */
#ifndef MUSTER_BROADCAST_H
#define MUSTER_BROADCAST_H

#include "coordinator/context.h"

muster__op_fn muster__op_broadcast_open, muster__op_broadcast_post, muster__op_broadcast_close;

/* The context is closed: its channels are, too. */
void muster__broadcast_let_go(struct muster__context *context);

#endif
