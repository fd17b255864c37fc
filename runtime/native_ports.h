/* runtime/native_ports.h - what a native worker's code inside of muster sees beyond native.h: its ports.  Internal.
 *
 * Thread: the worker's.  Borrowed while the worker lives; who attaches an end detaches it in `stop`.
 */
#ifndef MUSTER_NATIVE_PORTS_H
#define MUSTER_NATIVE_PORTS_H

#include "runtime/native.h"
#include "runtime/request.h"

/* The request behind an event: its `mail` has the ports that came with it, to take out. */
struct muster__request *muster__native_request(struct muster_event *event);
/* To the coordinator; NULL: it has none. */
struct muster__port *muster__native_host_port(struct muster_native *worker);
/* A dedicated worker's implicit port; NULL: it has none. */
struct muster__port *muster__native_port(struct muster_native *worker);

#endif
