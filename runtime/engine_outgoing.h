/* runtime/engine_outgoing.h - what a script asks of another worker: a request that an engine makes.
 *
 * The realm keeps it in a list of its own and forgets it when it dies; the one who serves the request
 * settles it from any thread, and the outcome arrives in a turn of the realm, as a note.
 *
 * A token named after the target is held while it is under way.  Internal; for every engine. */
#ifndef MUSTER_ENGINE_OUTGOING_H
#define MUSTER_ENGINE_OUTGOING_H

#include <pthread.h>

#include "runtime/engine.h"

struct muster__outgoing {
    struct muster__request request;
    struct muster__outgoing *next; /* the realm's list */
    struct muster__outgoing *previous;
    void *engine_data; /* who waits; the engine's */
    void *engine_more;

    /* The outcome: written before the note is posted. */
    enum muster_status status;
    struct muster_value *value;
    struct muster_error error;

    struct muster__note note;
    const struct muster__realm_host *host;
    uint32_t token;
    char *name;
    pthread_mutex_t lock;          /* over `worker`, against the realm's death while it settles */
    struct muster__worker *worker; /* NULL: nobody waits any more */
};

/* Thread: the worker's.  Takes `data`.  On OK `run` comes once, in a later turn, with a note of which
 * muster__outgoing_of() finds the request; then call done. */
MUSTER_MUST_CHECK enum muster_status
muster__outgoing_send(struct muster__outgoing **list, const struct muster__realm_host *host,
                      struct muster__worker *worker, const char *scope,
                      enum muster__request_kind kind, const char *name,
                      struct muster_value *take_data,
                      void (*run)(struct muster__note *note, struct muster__realm *realm),
                      struct muster__outgoing **ret_outgoing);
struct muster__outgoing *muster__outgoing_of(struct muster__note *note);
/* Thread: the worker's.  Takes it out of the list and lets it go; also when nobody waits any more. */
void muster__outgoing_done(struct muster__outgoing **list, struct muster__outgoing *outgoing);

#endif
