/* coordinator/dispatch.c - the way of an event from any thread into the slot of a worker.
 *
 * No hop and no lock of the coordinator's: the published snapshot says which version controls a URL, and
 * its slot takes the request, whether the worker runs or not. */
#include "coordinator/routes_ask.h"
#include "coordinator/stub.h"

#include <stdlib.h>
#include <string.h>

/* Where the path of an absolute URL begins; the whole of anything else. */
static struct muster_bytes path_of(struct muster_bytes url)
{
    const char *end = url.data + url.length;
    const char *at = memchr(url.data, ':', url.length);
    if (!at || end - at < 3 || memcmp(at, "://", 3) != 0)
        return url;
    const char *path = memchr(at + 3, '/', (size_t)(end - at - 3));
    return path ? (struct muster_bytes){path, (size_t)(end - path)} : (struct muster_bytes){"/", 1};
}

/* What controls a URL, retained; *ret_text begins with its scope.  NULL: nothing. */
static struct muster__entry *match_entry(struct muster *muster, struct muster_bytes url, const char **ret_text)
{
    if (!url.length)
        return NULL;
    struct muster_bytes path = path_of(url);
    bool whole = path.data == url.data || atomic_load(&muster->has_url_scopes);
    struct muster__entry *entry =
        whole ? muster__scope_map_match(muster->scopes, url.data, url.length) : NULL;
    *ret_text = url.data;
    if (!entry && path.data != url.data) {
        entry = muster__scope_map_match(muster->scopes, path.data, path.length);
        *ret_text = path.data;
    }
    return entry;
}

/* Retained.  NOT_FOUND: there was no entry. */
static enum muster_status version_of(struct muster *muster, struct muster__entry *take_entry,
                                     struct muster__version **ret_version, struct muster_error *error)
{
    struct muster__version *version = (struct muster__version *)take_entry;
    if (!take_entry)
        return atomic_load(&muster->closing) ? MUSTER_SHUTDOWN : MUSTER_NOT_FOUND;
    if (!take_entry->is_stub) {
        *ret_version = version;
        return MUSTER_OK;
    }
    enum muster_status status = muster__entry_version(muster, take_entry, &version, error);
    if (status == MUSTER_OK)
        *ret_version = muster__version_acquire(version);
    muster__entry_release(take_entry);
    return status;
}

enum muster_status muster__match(struct muster *muster, struct muster_bytes url, struct muster__version **ret_version,
                                 struct muster_error *error)
{
    const char *text;
    return version_of(muster, match_entry(muster, url, &text), ret_version, error);
}

enum muster_status muster__find_scope(struct muster *muster, const char *scope, struct muster__version **ret_version,
                                      struct muster_error *error)
{
    size_t length = strlen(scope);
    struct muster__entry *entry = muster__scope_map_match(muster->scopes, scope, length);
    if (entry && entry->scope_length != length) {
        muster__entry_release(entry);
        entry = NULL;
    }
    return version_of(muster, entry, ret_version, error);
}

enum muster_status muster__post(struct muster__version *version, struct muster__request *request,
                                uint64_t now_us)
{
    return muster__slot_post(version->slot, request, now_us);
}

/* A handle's version changes under its lock: its deadline may pass meanwhile. */
static void replace_version(struct muster__version **version, struct muster__version *take_newer,
                            pthread_mutex_t *lock)
{
    struct muster__version *old = *version;
    if (lock)
        pthread_mutex_lock(lock);
    *version = take_newer;
    if (lock)
        pthread_mutex_unlock(lock);
    muster__version_release(old);
}

/* A version that was replaced closes its slot after its successor was published: look again. */
static enum muster_status post_to_scope(struct muster *muster, struct muster__version **version,
                                        pthread_mutex_t *lock, struct muster__request *request,
                                        uint64_t now_us)
{
    enum muster_status status = muster__post(*version, request, now_us);
    while (status == MUSTER_CLOSED && !atomic_load(&muster->closing)) {
        struct muster__version *newer = NULL;
        enum muster_status found = muster__find_scope(muster, (*version)->scope, &newer, NULL);
        if (found != MUSTER_OK || newer == *version) {
            muster__version_release(newer);
            return found == MUSTER_OK ? MUSTER_NOT_FOUND : found;
        }
        replace_version(version, newer, lock);
        status = muster__post(*version, request, now_us);
    }
    return status;
}

static bool are_known(const struct muster_event_options *options)
{
    return !options || (options->size >= sizeof(options->size) && options->size <= sizeof(*options));
}

/* What an older program does not have is the default. */
static struct muster_event_options full_options(const struct muster *muster,
                                                const struct muster_event_options *options)
{
    struct muster_event_options full = {.size = sizeof(full)};
    if (options)
        memcpy(&full, options, options->size);
    full.timeout_ms = muster__or_default(full.timeout_ms, muster->options.event_timeout_ms);
    return full;
}

static void run_pass(struct muster__message *message, struct muster *muster)
{
    struct muster_handle *handle = MUSTER_CONTAINER_OF(message, struct muster_handle, message);
    (void)muster;
    (void)muster__request_settle(&handle->request, &(struct muster__outcome){.status = MUSTER_PASSED});
    muster__request_release(&handle->request);
}

/* No worker is asked; who asked hears of it as of any answer, not from inside the call. */
static void pass(struct muster *muster, struct muster_handle *handle)
{
    handle->message.run = run_pass;
    muster__request_acquire(&handle->request);
    (void)muster__coordinator_post(muster, &handle->message);
}

static void hand_out(struct muster_handle *handle, struct muster_handle **ret_handle)
{
    if (ret_handle)
        *ret_handle = handle;
    else
        muster__request_release(&handle->request);
}

/* Who asked for something that is registered hears as of any answer why it cannot be made again.  Takes the handle. */
static enum muster_status refuse(struct muster *muster, struct muster_handle *handle, enum muster_status status,
                                 const struct muster_error *error, struct muster_handle **ret_handle)
{
    muster_error_copy(&handle->refusal, error);
    handle->refusal.status = status;
    handle->message.run = muster__coordinator_run_refusal;
    muster__request_acquire(&handle->request);
    (void)muster__coordinator_post(muster, &handle->message);
    hand_out(handle, ret_handle);
    return MUSTER_OK;
}

static bool is_lost(enum muster_status found)
{
    return found != MUSTER_OK && found != MUSTER_NOT_FOUND && found != MUSTER_SHUTDOWN;
}

/* Sends a handle to a version, both of which it takes. */
static enum muster_status send_handle(struct muster *muster, struct muster_handle *handle,
                                      struct muster__version *version,
                                      const struct muster_event_options *options,
                                      struct muster_handle **ret_handle)
{
    const struct muster_event_options full = full_options(muster, options);
    handle->version = version;
    handle->request.idempotent = full.idempotent || version->idempotent;
    enum muster_status status = muster__handle_arm(handle, full.timeout_ms);
    if (status == MUSTER_OK && muster__routes_pass(version, &handle->request))
        pass(muster, handle);
    else if (status == MUSTER_OK)
        status = post_to_scope(muster, &handle->version, &handle->shared.lock, &handle->request,
                               handle->request.received_us);
    if (status != MUSTER_OK) {
        muster__handle_discard(handle);
        return atomic_load(&muster->closing) && status == MUSTER_CLOSED ? MUSTER_SHUTDOWN : status;
    }
    hand_out(handle, ret_handle);
    return MUSTER_OK;
}

static enum muster_status send_value(struct muster *muster, enum muster__request_kind kind,
                                     const char *scope, const char *name, struct muster_value *take_data,
                                     const struct muster_event_options *options, muster_done_fn *done,
                                     void *user_data, struct muster_handle **ret_handle)
{
    enum muster_status status = muster__check_usable(muster);
    if (status == MUSTER_OK && (!scope || !name || !*name || !are_known(options)))
        status = MUSTER_INVALID_ARGUMENT;
    if (status == MUSTER_OK && atomic_load(&muster->closing))
        status = MUSTER_SHUTDOWN;
    struct muster__version *version = NULL;
    struct muster_error error = {0};
    enum muster_status found = status == MUSTER_OK ? muster__find_scope(muster, scope, &version, &error) : status;
    struct muster_handle *handle = found == MUSTER_OK || (status == MUSTER_OK && is_lost(found))
                                       ? muster__handle_new(muster, kind, name, done, user_data, ret_handle != NULL)
                                       : NULL;
    if (!handle) {
        status = found == MUSTER_OK ? MUSTER_NO_MEMORY : found;
        muster_value_release(take_data);
        muster__version_release(version);
    } else {
        handle->request.data = take_data;
        status = found == MUSTER_OK ? send_handle(muster, handle, version, options, ret_handle)
                                    : refuse(muster, handle, found, &error, ret_handle);
    }
    muster_error_clean_up(&error);
    return status;
}

enum muster_status muster_dispatch(struct muster *muster, const char *scope, const char *type,
                                   struct muster_value *take_data,
                                   const struct muster_event_options *options, muster_done_fn *done,
                                   void *user_data, struct muster_handle **ret_handle)
{
    bool message = type && strcmp(type, "message") == 0;
    return send_value(muster, message ? MUSTER__REQUEST_MESSAGE : MUSTER__REQUEST_EVENT, scope, type,
                      take_data, options, done, user_data, ret_handle);
}

enum muster_status muster_call(struct muster *muster, const char *scope, const char *function,
                               struct muster_value *take_arguments,
                               const struct muster_event_options *options, muster_done_fn *done,
                               void *user_data, struct muster_handle **ret_handle)
{
    return send_value(muster, MUSTER__REQUEST_CALL, scope, function, take_arguments, options, done,
                      user_data, ret_handle);
}

/* Its texts go into one block with its name; that is freed as the handle's name. */
static bool copy_request(struct muster_handle *handle, const struct muster_http_request *from)
{
    const struct muster_bytes name = {handle->name, strlen(handle->name)};
    struct muster_header *headers =
        muster__request_copy_http(from, name, &handle->request.http, &handle->request.name);
    if (!headers)
        return false;
    free(handle->name);
    handle->name = (char *)headers;
    return true;
}

enum muster_status muster_fetch(struct muster *muster, const struct muster_http_request *request,
                                const struct muster_event_options *options, muster_done_fn *done,
                                void *user_data, struct muster_handle **ret_handle)
{
    enum muster_status status = muster__check_usable(muster);
    if (status != MUSTER_OK)
        return status;
    if (!request || !request->method.length || !request->url.length || !are_known(options))
        return MUSTER_INVALID_ARGUMENT;
    if (atomic_load(&muster->closing))
        return MUSTER_SHUTDOWN;
    struct muster__version *version = NULL;
    struct muster_error error = {0};
    enum muster_status found = muster__match(muster, request->url, &version, &error);
    struct muster_handle *handle = found == MUSTER_OK || is_lost(found)
                                       ? muster__handle_new(muster, MUSTER__REQUEST_FETCH, "fetch", done, user_data,
                                                            ret_handle != NULL)
                                       : NULL;
    if (handle && is_lost(found)) {
        status = refuse(muster, handle, found, &error, ret_handle);
    } else if (handle && copy_request(handle, request)) {
        status = send_handle(muster, handle, version, options, ret_handle);
    } else {
        status = found == MUSTER_OK ? MUSTER_NO_MEMORY : found;
        if (handle)
            muster__handle_discard(handle);
        muster__version_release(version);
    }
    muster_error_clean_up(&error);
    return status;
}

size_t muster_match(struct muster *muster, const char *url, char *scope, size_t size)
{
    if (!url || muster__check_usable(muster) != MUSTER_OK)
        return 0;
    const char *text;
    struct muster__entry *entry = match_entry(muster, (struct muster_bytes){url, strlen(url)}, &text);
    if (!entry)
        return 0;
    size_t length = entry->scope_length;
    if (size) {
        size_t copied = length < size ? length : size - 1;
        memcpy(scope, text, copied);
        scope[copied] = '\0';
    }
    muster__entry_release(entry);
    return length;
}

/* A client's scripts look into the caches by themselves, or run a race with the network: a response without a status says
 * that they should. */
static void settle_with_route(struct muster__request *request, enum muster__route route, const char *cache)
{
    const char *name = route == MUSTER__ROUTE_CACHE ? ":cache" : ":race", *value = cache ? cache : "";
    const struct muster_header header = {.name = {name, strlen(name)}, .value = {value, strlen(value)}};
    const struct muster_http_response response = {.headers = &header, .header_count = 1};
    (void)muster__request_settle(request, &(struct muster__outcome){.status = MUSTER_OK, .response = &response});
}

enum muster_status muster__dispatch_from_worker(struct muster *muster, const char *scope,
                                                struct muster__request *request,
                                                uint64_t keepalive_until_us)
{
    /* First: a worker that was given up may ask this when nothing of the instance is left. */
    if (atomic_load(&muster->closing))
        return MUSTER_SHUTDOWN;
    uint64_t now_us = muster__now_us();
    struct muster__version *version = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__find_scope(muster, scope, &version, &error);
    if (is_lost(status)) {
        (void)muster__request_settle(request, &(struct muster__outcome){.status = status, .error = &error});
        muster_error_clean_up(&error);
        return MUSTER_OK;
    }
    if (status != MUSTER_OK)
        return status;
    request->id = atomic_fetch_add(&muster->next_request, 1) + 1;
    request->received_us = now_us;
    request->keepalive_until_us = keepalive_until_us;
    const char *cache = NULL;
    enum muster__route route = muster__routes_of_client(version, request, &cache);
    if (route != MUSTER__ROUTE_NONE)
        settle_with_route(request, route, cache);
    else if (muster__routes_pass(version, request))
        (void)muster__request_settle(request, &(struct muster__outcome){.status = MUSTER_PASSED});
    else
        status = post_to_scope(muster, &version, NULL, request, now_us);
    muster__version_release(version);
    return status;
}
