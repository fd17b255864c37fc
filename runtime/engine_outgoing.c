/* runtime/engine_outgoing.c - a request that an engine makes for its script.
 *
 * Sent and finished on the worker's thread, settled on any.  The lock is held while the note is posted,
 * so that a realm that is being destroyed either sees no note, or one that it can still cancel. */
#include "runtime/engine_outgoing.h"

#include <stdlib.h>

static struct muster__outgoing *of_request(struct muster__request *request)
{
    return MUSTER_CONTAINER_OF(request, struct muster__outgoing, request);
}

struct muster__outgoing *muster__outgoing_of(struct muster__note *note)
{
    return MUSTER_CONTAINER_OF(note, struct muster__outgoing, note);
}

static void settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster__outgoing *outgoing = of_request(request);
    outgoing->status = outcome->status;
    if (outcome->value != NULL)
        outgoing->value = muster_value_acquire(outcome->value);
    if (outcome->error != NULL)
        muster_error_copy(&outgoing->error, outcome->error);
    pthread_mutex_lock(&outgoing->lock);
    if (outgoing->worker != NULL)
        outgoing->host->note_post(outgoing->worker, &outgoing->note);
    pthread_mutex_unlock(&outgoing->lock);
}

static void destroy(struct muster__request *request)
{
    struct muster__outgoing *outgoing = of_request(request);
    muster_value_release(request->data);
    muster_value_release(outgoing->value);
    muster_error_clean_up(&outgoing->error);
    pthread_mutex_destroy(&outgoing->lock);
    free(outgoing->name);
    free(outgoing);
}

static const struct muster__request_class outgoing_class = {settled, destroy};

static struct muster__outgoing *outgoing_new(enum muster__request_kind kind, const char *name,
                                             struct muster_value *take_data)
{
    struct muster__outgoing *outgoing = calloc(1, sizeof *outgoing);
    char *copy = muster__strdup(name);
    if (outgoing == NULL || copy == NULL) {
        free(outgoing);
        free(copy);
        muster_value_release(take_data);
        return NULL;
    }
    outgoing->name = copy;
    pthread_mutex_init(&outgoing->lock, NULL);
    muster__request_init(&outgoing->request, &outgoing_class, kind, copy);
    outgoing->request.data = take_data;
    return outgoing;
}

static void link_into(struct muster__outgoing **list, struct muster__outgoing *outgoing)
{
    outgoing->next = *list;
    if (*list != NULL)
        (*list)->previous = outgoing;
    *list = outgoing;
}

enum muster_status muster__outgoing_send(struct muster__outgoing **list,
                                         const struct muster__realm_host *host,
                                         struct muster__worker *worker, const char *scope,
                                         enum muster__request_kind kind, const char *name,
                                         struct muster_value *take_data,
                                         void (*run)(struct muster__note *note,
                                                     struct muster__realm *realm),
                                         struct muster__outgoing **ret_outgoing)
{
    struct muster__outgoing *outgoing = outgoing_new(kind, name, take_data);
    if (outgoing == NULL)
        return MUSTER_NO_MEMORY;
    outgoing->host = host;
    outgoing->worker = worker;
    outgoing->note.run = run;
    outgoing->token = host->token_take(worker, outgoing->name);
    link_into(list, outgoing);
    enum muster_status status = host->dispatch(worker, scope, &outgoing->request);
    if (status != MUSTER_OK) {
        muster__outgoing_done(list, outgoing);
        return status;
    }
    *ret_outgoing = outgoing;
    return MUSTER_OK;
}

void muster__outgoing_done(struct muster__outgoing **list, struct muster__outgoing *outgoing)
{
    pthread_mutex_lock(&outgoing->lock);
    struct muster__worker *worker = outgoing->worker;
    outgoing->worker = NULL;
    pthread_mutex_unlock(&outgoing->lock);
    outgoing->host->note_cancel(worker, &outgoing->note);
    if (outgoing->token != 0)
        outgoing->host->token_drop(worker, outgoing->token);
    if (outgoing->previous != NULL)
        outgoing->previous->next = outgoing->next;
    else
        *list = outgoing->next;
    if (outgoing->next != NULL)
        outgoing->next->previous = outgoing->previous;
    muster__request_release(&outgoing->request);
}
