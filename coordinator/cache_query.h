/* coordinator/cache_query.h - which records of a cache a request finds: by its URL, and by the headers that the response
 * varies by.  Internal to caches.c.
 *
 * Thread: any; nothing is changed. */
#ifndef MUSTER_CACHE_QUERY_H
#define MUSTER_CACHE_QUERY_H

#include "runtime/value.h"

/* Of a record's URL, and of that without its search: hashes, as most records do not match. */
struct muster__cache_key {
    uint32_t url, bare;
};
/* `head` is what is kept of a request and its response; it has a URL. */
struct muster__cache_key muster__cache_key_of(const struct muster_value *head);

struct muster__cache_query {
    const struct muster_value *url, *headers;
    const char *text; /* of the URL; NULL: any, or none */
    size_t length;
    uint32_t hash;
    bool ignore_search, ignore_vary;
};
/* {url, headers, ignoreSearch, ignoreVary}, each may be missing; borrowed while the query is used. */
struct muster__cache_query muster__cache_query_of(const struct muster_value *value);
bool muster__cache_query_finds(const struct muster__cache_query *query, struct muster__cache_key key,
                               const struct muster_value *head);

#endif
