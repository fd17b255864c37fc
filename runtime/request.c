/* runtime/request.c - the counted reference and the one settlement of a request.
 *
 * Any thread.  The promise: however many threads try to settle a request, `settled` runs once, for the
 * first of them, without any lock; `destroy` runs once, when the last reference is gone, and never
 * before that call of `settled` returned. */
#include "runtime/request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void muster__request_init(struct muster__request *request, const struct muster__request_class *class,
                          enum muster__request_kind kind, const char *name)
{
    MUSTER_CHECK(class != NULL && class->destroy != NULL);
    memset(request, 0, sizeof *request);
    request->class = class;
    request->kind = kind;
    request->name = name;
    atomic_init(&request->references, 1);
    atomic_init(&request->settled, false);
    atomic_init(&request->started, false);
}

void muster__request_acquire(struct muster__request *request)
{
    unsigned before = atomic_fetch_add_explicit(&request->references, 1, memory_order_relaxed);
    MUSTER_CHECK(before > 0 && before < UINT_MAX / 2);
}

bool muster__request_try_acquire(struct muster__request *request)
{
    unsigned references = atomic_load_explicit(&request->references, memory_order_relaxed);
    while (references > 0)
        if (atomic_compare_exchange_weak_explicit(&request->references, &references, references + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

void muster__request_release(struct muster__request *request)
{
    if (request == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&request->references, 1, memory_order_acq_rel);
    MUSTER_CHECK(before > 0);
    if (before == 1)
        request->class->destroy(request);
}

bool muster__request_settle(struct muster__request *request, const struct muster__outcome *outcome)
{
    if (atomic_exchange_explicit(&request->settled, true, memory_order_acq_rel))
        return false;
    if (request->class->settled == NULL)
        return true;
    /* The callback may let go of the last reference that we know of. */
    muster__request_acquire(request);
    request->class->settled(request, outcome);
    muster__request_release(request);
    return true;
}

bool muster__request_fail(struct muster__request *request, enum muster_status status,
                          const char *message)
{
    const char *text = message != NULL ? message : muster_status_sentence(status);
    /* Borrowed for the call, so nothing is allocated: failing must work without memory. */
    struct muster_error error = {.status = status, .message = (char *)text};
    struct muster__outcome outcome = {.status = status, .error = &error};
    return muster__request_settle(request, &outcome);
}

bool muster__request_is_settled(const struct muster__request *request)
{
    return atomic_load_explicit(&request->settled, memory_order_acquire);
}

char *muster__request_put_text(char **at, struct muster_bytes bytes)
{
    char *copy = *at;
    if (bytes.length)
        memcpy(copy, bytes.data, bytes.length);
    copy[bytes.length] = '\0';
    *at += bytes.length + 1;
    return copy;
}

struct muster_header *muster__request_copy_headers(const struct muster_header *from, size_t count, size_t more,
                                                   char **ret_rest)
{
    size_t size = count * sizeof(struct muster_header) + more;
    for (size_t i = 0; i < count; i++)
        size += from[i].name.length + from[i].value.length + 2;
    struct muster_header *headers = malloc(size);
    if (!headers)
        return NULL;
    char *at = (char *)(headers + count);
    for (size_t i = 0; i < count; i++) {
        headers[i] = from[i];
        headers[i].name.data = muster__request_put_text(&at, from[i].name);
        headers[i].value.data = muster__request_put_text(&at, from[i].value);
    }
    *ret_rest = at;
    return headers;
}

struct muster_header *muster__request_copy_http(const struct muster_http_request *from, struct muster_bytes name,
                                                struct muster_http_request *ret_http, const char **ret_name)
{
    char *at;
    const size_t more = from->method.length + from->url.length + from->client_id.length + from->body.length +
                        name.length + 5; /* each is terminated */
    struct muster_header *headers = muster__request_copy_headers(from->headers, from->header_count, more, &at);
    if (!headers)
        return NULL;
    *ret_http = *from;
    ret_http->headers = headers;
    ret_http->method.data = muster__request_put_text(&at, from->method);
    ret_http->url.data = muster__request_put_text(&at, from->url);
    ret_http->client_id.data = muster__request_put_text(&at, from->client_id);
    if (from->body.data)
        ret_http->body.data = muster__request_put_text(&at, from->body);
    if (from->body_stream)
        muster_stream_acquire(from->body_stream);
    if (ret_name)
        *ret_name = muster__request_put_text(&at, name);
    return headers;
}
