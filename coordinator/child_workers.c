/* coordinator/child_workers.c - see child_workers.h. */
#include "coordinator/child_workers.h"

#include "coordinator/context_worker.h"

#include <stdlib.h>
#include <string.h>

struct child {
    struct muster__context_worker worker;
    struct muster__hold hold;        /* its owner's */
    struct muster__context *owner;   /* borrowed: the hold ends before it */
    struct muster__pending *pending; /* the ask that made it, until it is answered */
};

static struct child *of_worker(struct muster__context_worker *worker)
{
    return MUSTER_CONTAINER_OF(worker, struct child, worker);
}

static struct muster__pending *take_pending(struct child *child)
{
    struct muster__pending *pending = child->pending;
    child->pending = NULL;
    return pending;
}

static void tell_error(struct child *child, const struct muster_error *error)
{
    muster__context_tell(child->owner,
                         MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("worker.error"),
                                       muster_value_new_number((double)child->hold.id), muster__tree_error(error)),
                         NULL);
}

static void child_started(struct muster__context_worker *worker)
{
    struct child *child = of_worker(worker);
    if (child->pending)
        muster__pending_answer(take_pending(child),
                               MUSTER__OBJECT({"workerId", muster_value_new_number((double)child->hold.id)}));
}

static void child_reported(struct muster__context_worker *worker, const struct muster_error *error)
{
    tell_error(of_worker(worker), error);
}

static void child_lost(struct muster__context_worker *worker, enum muster_status status,
                       const struct muster_error *error)
{
    struct child *child = of_worker(worker);
    struct muster_error plain = {.status = status};
    if (status == MUSTER_OK) /* it closed itself, perhaps before it was known to run */
        child_started(worker);
    else if (child->pending)
        muster__pending_fail(take_pending(child), muster__error_name(status, error), error ? error : &plain);
    else
        tell_error(child, error ? error : &plain);
    muster__link_remove(&child->hold.link);
    free(child);
}

static const struct muster__context_worker_class child_class = {child_started, child_reported, child_lost};

/* Its owner is gone, or wants it no more. */
static void let_go(struct muster__hold *take_hold)
{
    struct child *child = MUSTER_CONTAINER_OF(take_hold, struct child, hold);
    struct muster_error error = {.status = MUSTER_TERMINATED};
    muster__link_remove(&child->hold.link);
    muster__context_worker_end(&child->worker, true);
    if (child->pending)
        muster__pending_fail(take_pending(child), "AbortError", &error);
    free(child);
}

void muster__op_worker_new(struct muster__ask *ask)
{
    struct muster__worker_request request;
    struct muster_error error = {0};
    if (!muster__worker_request_read(ask, &request))
        return;
    struct muster__port *inside = muster__ask_take_port(ask);
    struct child *child = calloc(1, sizeof(*child));
    const struct muster__context_worker_options options = {
        .type = MUSTER__WORKER_DEDICATED,
        .url = request.url,
        .name = request.name,
        .text = request.text,
        .text_type = request.text_type,
        .module = strcmp(request.type, "module") == 0,
        .maker = ask->context,
        .take_inside = &inside,
    };
    enum muster_status status =
        child ? muster__context_worker_init(&child->worker, &child_class, &options, &error) : MUSTER_NO_MEMORY;
    muster__port_release(inside);
    if (status != MUSTER_OK) {
        muster__ask_fail(ask, muster__error_name(status, NULL), "%s",
                         error.message ? error.message : muster_status_sentence(status));
        muster_error_clean_up(&error);
        free(child);
        return;
    }
    child->owner = ask->context;
    child->hold.id = (uint64_t)ask->id;
    child->hold.let_go = let_go;
    muster__link_append(&ask->context->holds, &child->hold.link);
    child->pending = muster__ask_defer(ask);
    muster__context_worker_start(&child->worker);
}

void muster__op_worker_terminate(struct muster__ask *ask)
{
    struct muster__hold *hold = muster__context_find_hold(ask->context, muster__ask_number(ask, 0));
    if (hold && hold->let_go == let_go)
        let_go(hold);
    muster__ask_answer(ask, NULL);
}
