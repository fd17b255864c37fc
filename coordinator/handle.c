/* coordinator/handle.c - requests of the embedder's: how they settle, and how the embedder hears of it.
 *
 * A handle settles on whatever thread the ending happens (a worker's, the coordinator's, the pool's
 * expirer).  What waits for it, or goes to the completion queue, gets a deep copy of the result; a
 * callback on a thread of muster's gets the borrowed original. */
#include "coordinator/instance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- deep copies ---- */

static bool copy_response(struct muster_handle *handle, const struct muster_http_response *from)
{
    char *at;
    struct muster_header *headers = muster__request_copy_headers(
        from->headers, from->header_count, from->status_text.length + from->body.length + 2, &at);
    if (!headers)
        return false;
    handle->response_memory = headers;
    handle->response = *from;
    handle->response.headers = headers;
    handle->response.status_text.data = muster__request_put_text(&at, from->status_text);
    if (from->body.data)
        handle->response.body.data = muster__request_put_text(&at, from->body);
    if (from->body_stream)
        muster_stream_acquire(from->body_stream);
    return true;
}

static void copy_result(struct muster_handle *handle, const struct muster__outcome *outcome)
{
    handle->result.status = outcome->status;
    if (outcome->error) {
        muster_error_copy(&handle->error, outcome->error);
        handle->result.error = &handle->error;
    }
    if (outcome->value)
        handle->result.value = handle->value = muster_value_acquire(outcome->value);
    if (outcome->response) {
        if (copy_response(handle, outcome->response))
            handle->result.response = &handle->response;
        else
            handle->result.status = MUSTER_NO_MEMORY;
    }
}

/* ---- settling ---- */

static void signal_completions(struct muster *muster)
{
    uint64_t one = 1;
    if (write(muster->handles.fd, &one, sizeof(one)) < 0)
        MUSTER_CHECK(errno == EAGAIN); /* it is readable already */
}

static void queue_completion(struct muster_handle *handle)
{
    struct muster *muster = handle->muster;
    muster__request_acquire(&handle->request); /* the queue's */
    pthread_mutex_lock(&muster->handles.lock);
    bool first = !muster->handles.completions;
    handle->next_completion = NULL;
    *muster->handles.completions_end = handle;
    muster->handles.completions_end = &handle->next_completion;
    pthread_mutex_unlock(&muster->handles.lock);
    if (first)
        signal_completions(muster);
}

void muster__completion_queue(struct muster *muster, struct muster__completion *completion)
{
    pthread_mutex_lock(&muster->handles.lock);
    bool first = !muster->handles.callbacks, news = !completion->queued;
    if (news) {
        completion->queued = true;
        completion->acquire(completion); /* the queue's */
        completion->next = NULL;
        *muster->handles.callbacks_end = completion;
        muster->handles.callbacks_end = &completion->next;
    }
    pthread_mutex_unlock(&muster->handles.lock);
    if (news && first)
        signal_completions(muster);
}

static struct muster__completion *take_callbacks(struct muster *muster)
{
    pthread_mutex_lock(&muster->handles.lock);
    struct muster__completion *list = muster->handles.callbacks;
    muster->handles.callbacks = NULL;
    muster->handles.callbacks_end = &muster->handles.callbacks;
    pthread_mutex_unlock(&muster->handles.lock);
    return list;
}

static size_t run_callbacks(struct muster *muster, bool wanted)
{
    struct muster__completion *list = take_callbacks(muster);
    size_t count = 0;
    for (; list; count++) {
        struct muster__completion *completion = list;
        pthread_mutex_lock(&muster->handles.lock);
        list = completion->next;
        completion->queued = false; /* it may wait again from here on */
        pthread_mutex_unlock(&muster->handles.lock);
        completion->run(completion, wanted);
    }
    return count;
}

static void tell_waiters(struct muster_handle *handle)
{
    pthread_mutex_lock(&handle->shared.lock);
    handle->shared.is_settled = true;
    pthread_cond_broadcast(&handle->shared.settled);
    pthread_mutex_unlock(&handle->shared.lock);
}

/* The last that is done with the instance for this handle: it may be freed right after. */
void muster__handle_settled(struct muster *muster)
{
    unsigned open = atomic_load(&muster->open_handles);
    while (!(open & MUSTER__CLOSING))
        if (atomic_compare_exchange_weak(&muster->open_handles, &open, open - 1))
            return;
    muster__coordinator_settled_while_closing(muster);
}

static void handle_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct muster_handle *handle = MUSTER_CONTAINER_OF(request, struct muster_handle, request);
    struct muster *muster = handle->muster;
    bool queue = handle->done && muster->options.delivery == MUSTER_DELIVER_ON_QUEUE;
    muster__request_acquire(request); /* the one who waits may let go of it before we are done */
    (void)muster__pool_timer_cancel(muster->pool, &handle->timer);
    if (request->kind != MUSTER__REQUEST_LIFECYCLE) {
        atomic_fetch_add(&muster->counters.events, 1);
        if (outcome->status != MUSTER_OK && outcome->status != MUSTER_PASSED)
            atomic_fetch_add(&muster->counters.events_failed, 1);
    }
    if (handle->keep_result || queue)
        copy_result(handle, outcome);
    if (handle->done && !queue) {
        const struct muster_result result = {.status = outcome->status,
                                             .error = outcome->error,
                                             .value = outcome->value,
                                             .response = outcome->response};
        handle->done(&result, handle->user_data);
    }
    tell_waiters(handle); /* who wakes up here may rely on it that the callback has been */
    if (queue)
        queue_completion(handle);
    muster__request_release(request);
    muster__handle_settled(muster);
}

static void handle_destroy(struct muster__request *request)
{
    struct muster_handle *handle = MUSTER_CONTAINER_OF(request, struct muster_handle, request);
    muster_error_clean_up(&handle->error);
    muster_error_clean_up(&handle->refusal);
    muster_value_release(handle->value);
    muster_value_release(request->data);
    if (handle->response_memory) {
        muster_stream_release(handle->response.body_stream);
        free(handle->response_memory);
    }
    muster_stream_release(request->http.body_stream);
    if (handle->version)
        muster__version_release(handle->version);
    if (handle->offered)
        muster__version_release(handle->offered);
    free(handle->scope);
    free(handle->name);
    pthread_cond_destroy(&handle->shared.settled);
    pthread_mutex_destroy(&handle->shared.lock);
    free(handle);
}

static const struct muster__request_class handle_class = {handle_settled, handle_destroy};

/* ---- deadlines and cancellations: they are only noted; the expirer settles in a turn ---- */

static void timer_fired(struct muster__pool_timer *timer, uint64_t now_us)
{
    struct muster_handle *handle = MUSTER_CONTAINER_OF(timer, struct muster_handle, timer);
    struct muster *muster = handle->muster;
    (void)now_us;
    if (muster__request_is_settled(&handle->request))
        return; /* its end waits for the timers' lock that we hold, to cancel this */
    muster__request_acquire(&handle->request);
    pthread_mutex_lock(&muster->handles.lock);
    handle->next_expired = muster->handles.expired;
    muster->handles.expired = handle;
    pthread_mutex_unlock(&muster->handles.lock);
    muster__pool_schedule(muster->pool, &muster->handles.expirer);
}

static void withdraw(struct muster_handle *handle)
{
    /* The sender may be moving it to a newer version just now. */
    pthread_mutex_lock(&handle->shared.lock);
    struct muster__version *version = handle->version;
    if (version)
        muster__version_acquire(version);
    pthread_mutex_unlock(&handle->shared.lock);
    if (version)
        muster__slot_cancel(version->slot, &handle->request);
    muster__version_release(version);
}

/* It was claimed by muster_cancel(), and so is nobody else's to settle. */
static void tell_canceled(struct muster_handle *handle)
{
    struct muster_error error = {.status = MUSTER_CANCELED,
                                 .message = (char *)muster_status_sentence(MUSTER_CANCELED)};
    /* First, so that its worker has been told when the one who canceled asks it something. */
    withdraw(handle);
    handle_settled(&handle->request,
                   &(struct muster__outcome){.status = MUSTER_CANCELED, .error = &error});
}

static bool expire_turn(struct muster__actor *actor)
{
    struct muster *muster = MUSTER_CONTAINER_OF(actor, struct muster, handles.expirer);
    pthread_mutex_lock(&muster->handles.lock);
    struct muster_handle *list = muster->handles.expired;
    struct muster_handle *canceled = muster->handles.canceled;
    muster->handles.expired = muster->handles.canceled = NULL;
    pthread_mutex_unlock(&muster->handles.lock);
    while (list) {
        struct muster_handle *handle = list;
        list = handle->next_expired;
        if (muster__request_fail(&handle->request, MUSTER_TIMED_OUT, NULL))
            withdraw(handle);
        muster__request_release(&handle->request);
    }
    while (canceled) {
        struct muster_handle *handle = canceled;
        canceled = handle->next_canceled;
        tell_canceled(handle);
        muster__request_release(&handle->request);
    }
    return false;
}

enum muster_status muster__handle_arm(struct muster_handle *handle, uint64_t timeout_ms)
{
    return muster__pool_timer_set(handle->muster->pool, &handle->timer,
                                  muster__deadline_us(handle->request.received_us, timeout_ms));
}

/* ---- making ---- */

struct muster_handle *muster__handle_new(struct muster *muster, enum muster__request_kind kind,
                                         const char *name, muster_done_fn *done, void *user_data,
                                         bool wanted)
{
    struct muster_handle *handle = calloc(1, sizeof(*handle));
    char *copy = muster__strdup(name);
    if (!handle || !copy) {
        free(handle);
        free(copy);
        return NULL;
    }
    handle->name = copy;
    muster__request_init(&handle->request, &handle_class, kind, copy);
    handle->request.id = atomic_fetch_add(&muster->next_request, 1) + 1;
    handle->request.received_us = muster__now_us();
    handle->muster = muster;
    handle->process = muster->process;
    handle->done = done;
    handle->user_data = user_data;
    handle->keep_result = wanted;
    handle->timer.fire = timer_fired;
    pthread_mutex_init(&handle->shared.lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&handle->shared.settled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    atomic_fetch_add(&muster->open_handles, 1);
    return handle;
}

void muster__handle_discard(struct muster_handle *handle)
{
    struct muster *muster = handle->muster;
    /* Claimed without telling anybody: the caller has the status already. */
    if (!atomic_exchange(&handle->request.settled, true)) {
        (void)muster__pool_timer_cancel(muster->pool, &handle->timer);
        muster__request_release(&handle->request);
        muster__handle_settled(muster);
        return;
    }
    muster__request_release(&handle->request);
}

enum muster_status muster__handles_init(struct muster *muster)
{
    pthread_mutex_init(&muster->handles.lock, NULL);
    muster->handles.completions_end = &muster->handles.completions;
    muster->handles.callbacks_end = &muster->handles.callbacks;
    muster__actor_init(&muster->handles.expirer, expire_turn);
    muster->handles.fd = -1;
    if (muster->options.delivery != MUSTER_DELIVER_ON_QUEUE)
        return MUSTER_OK;
    muster->handles.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return muster->handles.fd < 0 ? MUSTER_SYSTEM : MUSTER_OK;
}

void muster__handles_clean_up(struct muster *muster)
{
    while (muster->handles.completions) { /* nobody ran them; what they hold is freed */
        struct muster_handle *handle = muster->handles.completions;
        muster->handles.completions = handle->next_completion;
        muster__request_release(&handle->request);
    }
    (void)run_callbacks(muster, false);
    if (muster->handles.fd >= 0)
        close(muster->handles.fd);
    pthread_mutex_destroy(&muster->handles.lock);
}

/* ---- the public calls ---- */

enum muster_status muster_wait(struct muster_handle *handle, uint64_t timeout_ms,
                               struct muster_result *ret_result)
{
    if (muster__pool_is_current(NULL) || muster__coordinator_is_current())
        return MUSTER_WRONG_THREAD;
    if (!handle)
        return MUSTER_INVALID_ARGUMENT;
    if (handle->process != getpid())
        return MUSTER_FORKED;
    uint64_t until_us = muster__deadline_us(muster__now_us(), timeout_ms);
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    int late = 0;
    pthread_mutex_lock(&handle->shared.lock);
    while (!handle->shared.is_settled && late == 0)
        late = pthread_cond_timedwait(&handle->shared.settled, &handle->shared.lock, &until);
    bool settled = handle->shared.is_settled;
    pthread_mutex_unlock(&handle->shared.lock);
    if (!settled)
        return MUSTER_TIMED_OUT;
    if (ret_result)
        *ret_result = handle->result;
    return MUSTER_OK;
}

void muster_cancel(struct muster_handle *handle)
{
    if (!handle || handle->process != getpid() || atomic_exchange(&handle->request.settled, true))
        return;
    /* Claimed, but open still: the instance stays until the turn that tells of it is over, and that turn
     * needs the lock to find it. */
    struct muster *muster = handle->muster;
    muster__request_acquire(&handle->request);
    pthread_mutex_lock(&muster->handles.lock);
    handle->next_canceled = muster->handles.canceled;
    muster->handles.canceled = handle;
    muster__pool_schedule(muster->pool, &muster->handles.expirer);
    pthread_mutex_unlock(&muster->handles.lock);
}

void muster_handle_release(struct muster_handle *take_handle)
{
    if (take_handle)
        muster__request_release(&take_handle->request);
}

int muster_completion_fd(struct muster *muster)
{
    return muster__check_usable(muster) == MUSTER_OK ? muster->handles.fd : -1;
}

size_t muster_run_completions(struct muster *muster)
{
    uint64_t ignored;
    if (muster__check_usable(muster) != MUSTER_OK || muster->handles.fd < 0)
        return 0;
    if (read(muster->handles.fd, &ignored, sizeof(ignored)) < 0)
        MUSTER_CHECK(errno == EAGAIN || errno == EINTR);
    pthread_mutex_lock(&muster->handles.lock);
    struct muster_handle *list = muster->handles.completions;
    muster->handles.completions = NULL;
    muster->handles.completions_end = &muster->handles.completions;
    pthread_mutex_unlock(&muster->handles.lock);
    size_t count = 0;
    while (list) {
        struct muster_handle *handle = list;
        list = handle->next_completion;
        handle->done(&handle->result, handle->user_data);
        muster__request_release(&handle->request);
        count++;
    }
    return count + run_callbacks(muster, true);
}
