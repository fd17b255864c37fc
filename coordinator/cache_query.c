/* coordinator/cache_query.c - see cache_query.h. */
#include "coordinator/cache_query.h"

#include "coordinator/context.h"
#include "runtime/hash.h"

#include <string.h>

static size_t length_to(const char *url, bool ignore_search)
{
    return ignore_search ? strcspn(url, "?") : strlen(url);
}

static uint32_t hash_of(const char *text, size_t length)
{
    return (uint32_t)muster__hash_bytes(0, text, length);
}

struct muster__cache_key muster__cache_key_of(const struct muster_value *head)
{
    const char *url = muster__text_of(muster_value_get(head, "url"));
    return (struct muster__cache_key){hash_of(url, length_to(url, false)), hash_of(url, length_to(url, true))};
}

static bool is_same_text(const struct muster_value *one, const struct muster_value *other)
{
    const struct muster_bytes a = muster_value_bytes(one), b = muster_value_bytes(other);
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* The headers that the response varies by are the same in both requests. */
static bool has_same_headers(const struct muster_value *head, const struct muster_value *headers)
{
    const struct muster_value *varying = muster_value_get(head, "varying");
    for (size_t i = 0; i + 1 < muster_value_count(varying); i += 2) {
        const char *name = muster__text_of(muster_value_at(varying, i));
        const struct muster_value *value = muster_value_at(varying, i + 1);
        const struct muster_value *other = name ? muster_value_get(headers, name) : NULL;
        bool is_there = muster_value_type(other) == MUSTER_TYPE_STRING;
        if (!name || strcmp(name, "*") == 0 || is_there != (muster_value_type(value) == MUSTER_TYPE_STRING) ||
            (is_there && !is_same_text(value, other)))
            return false;
    }
    return true;
}

struct muster__cache_query muster__cache_query_of(const struct muster_value *value)
{
    struct muster__cache_query query = {.url = muster_value_get(value, "url"),
                                        .headers = muster_value_get(value, "headers")};
    query.text = muster__text_of(query.url);
    query.ignore_search = muster_value_boolean(muster_value_get(value, "ignoreSearch"));
    query.ignore_vary = muster_value_boolean(muster_value_get(value, "ignoreVary"));
    query.length = query.text ? length_to(query.text, query.ignore_search) : 0;
    query.hash = hash_of(query.text ? query.text : "", query.length);
    return query;
}

bool muster__cache_query_finds(const struct muster__cache_query *query, struct muster__cache_key key,
                               const struct muster_value *head)
{
    if (!query->text)
        return muster_value_type(query->url) != MUSTER_TYPE_STRING;
    if ((query->ignore_search ? key.bare : key.url) != query->hash)
        return false;
    const char *url = muster__text_of(muster_value_get(head, "url"));
    return query->length == length_to(url, query->ignore_search) && memcmp(query->text, url, query->length) == 0 &&
           (query->ignore_vary || has_same_headers(head, query->headers));
}
