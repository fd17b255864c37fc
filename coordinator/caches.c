/* coordinator/caches.c - see caches.h. */
#include "coordinator/caches.h"

#include <stdlib.h>
#include <string.h>

/* What all caches of a storage key may hold, bodies and what is said of them. */
#define STORED_BYTES_MAX ((size_t)256 << 20)
/* What a record takes beside its body, about. */
#define RECORD_BYTES 1024
#define CACHES_MAX 10000 /* of a storage key */

struct storage {
    struct muster__named named;
    char *key;
    struct muster__link caches; /* in order of creation */
    size_t bytes, count;
};

struct cache {
    struct muster__link link; /* of its storage's; in no list: it was deleted */
    struct muster__link records;
    struct storage *storage;
    char *name;
    unsigned references; /* its storage's, and of each context that has it open */
};

struct record {
    struct muster__link link;
    uint64_t id;
    struct muster_value *head, *body; /* body: NULL: none */
    size_t bytes;
};

/* A context's name for a cache. */
struct open_cache {
    struct muster__link link;
    uint64_t id;
    struct cache *cache;
};

#define EACH(type, at, list)                                                                       \
    for (struct type *at = MUSTER_CONTAINER_OF((list)->next, struct type, link), *next_##at;       \
         next_##at = MUSTER_CONTAINER_OF(at->link.next, struct type, link), &at->link != (list); at = next_##at)

/* ---- what there is ---- */

static struct storage *storage_of(const struct muster__context *context)
{
    struct muster__worlds *worlds = context->muster->worlds;
    struct muster__named *named = muster__name_map_find(worlds, &worlds->caches, context->storage_key);
    if (named)
        return MUSTER_CONTAINER_OF(named, struct storage, named);
    struct storage *storage = calloc(1, sizeof(*storage));
    char *key = muster__strdup(context->storage_key);
    if (!storage || !key) {
        free(storage);
        free(key);
        return NULL;
    }
    storage->key = key;
    storage->named.name = key;
    muster__link_init(&storage->caches);
    muster__name_map_add(worlds, &worlds->caches, &storage->named);
    return storage;
}

static struct cache *find_cache(struct storage *storage, const char *name)
{
    EACH(cache, cache, &storage->caches)
        if (strcmp(cache->name, name) == 0)
            return cache;
    return NULL;
}

static struct cache *cache_new(struct storage *storage, const char *name)
{
    struct cache *cache = calloc(1, sizeof(*cache));
    char *copy = muster__strdup(name);
    if (!cache || !copy) {
        free(cache);
        free(copy);
        return NULL;
    }
    cache->name = copy;
    cache->storage = storage;
    cache->references = 1;
    muster__link_init(&cache->records);
    muster__link_append(&storage->caches, &cache->link);
    storage->count++;
    return cache;
}

static void record_free(struct record *record)
{
    muster_value_release(record->head);
    muster_value_release(record->body);
    free(record);
}

static void remove_record(struct cache *cache, struct record *record)
{
    muster__link_remove(&record->link);
    cache->storage->bytes -= record->bytes;
    record_free(record);
}

static void release_cache(struct cache *cache)
{
    if (--cache->references > 0)
        return;
    EACH(record, record, &cache->records)
        remove_record(cache, record);
    free(cache->name);
    free(cache);
}

static void drop_cache(struct cache *cache)
{
    muster__link_remove(&cache->link);
    cache->storage->count--;
    release_cache(cache);
}

static void close_cache(struct open_cache *open)
{
    muster__link_remove(&open->link);
    release_cache(open->cache);
    free(open);
}

void muster__caches_let_go(struct muster__context *context)
{
    EACH(open_cache, open, &context->caches)
        close_cache(open);
}

static struct storage *any_storage(struct muster__worlds *worlds)
{
    struct muster__id_node *node = muster__id_map_any(&worlds->caches.map);
    return node ? MUSTER_CONTAINER_OF(MUSTER_CONTAINER_OF(node, struct muster__named, node), struct storage, named)
                : NULL;
}

void muster__caches_clean_up(struct muster__worlds *worlds)
{
    for (struct storage *storage; (storage = any_storage(worlds)) != NULL;) {
        EACH(cache, cache, &storage->caches)
            drop_cache(cache);
        muster__name_map_remove(&worlds->caches, &storage->named);
        free(storage->key);
        free(storage);
    }
}

/* ---- of CacheStorage ---- */

/* NULL: the ask was answered. */
static struct storage *ask_storage(struct muster__ask *ask, const char **ret_name)
{
    struct storage *storage = storage_of(ask->context);
    *ret_name = muster__ask_text(ask, 0);
    if (!*ret_name)
        muster__ask_fail(ask, "TypeError", "a cache's name is a text of at most 64 KB");
    else if (!storage)
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    return *ret_name ? storage : NULL;
}

/* A context has one number for a cache, however often it opens it.  NULL: out of memory. */
static struct open_cache *open_in(struct muster__context *context, struct cache *cache)
{
    EACH(open_cache, open, &context->caches)
        if (open->cache == cache)
            return open;
    struct open_cache *open = calloc(1, sizeof(*open));
    if (!open)
        return NULL;
    open->id = ++context->muster->worlds->next_id;
    open->cache = cache;
    cache->references++;
    muster__link_append(&context->caches, &open->link);
    return open;
}

void muster__op_caches_open(struct muster__ask *ask)
{
    const char *name;
    struct storage *storage = ask_storage(ask, &name);
    if (!storage)
        return;
    struct cache *cache = find_cache(storage, name);
    if (!cache && storage->count >= CACHES_MAX) {
        muster__ask_fail(ask, "QuotaExceededError", "there are %d caches already", CACHES_MAX);
        return;
    }
    cache = cache ? cache : cache_new(storage, name);
    struct open_cache *open = cache ? open_in(ask->context, cache) : NULL;
    if (open)
        muster__ask_answer(ask, muster_value_new_number((double)open->id));
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

void muster__op_caches_has(struct muster__ask *ask)
{
    const char *name;
    struct storage *storage = ask_storage(ask, &name);
    if (storage)
        muster__ask_answer(ask, muster_value_new_boolean(find_cache(storage, name) != NULL));
}

void muster__op_caches_delete(struct muster__ask *ask)
{
    const char *name;
    struct storage *storage = ask_storage(ask, &name);
    struct cache *cache = storage ? find_cache(storage, name) : NULL;
    if (cache)
        drop_cache(cache);
    if (storage)
        muster__ask_answer(ask, muster_value_new_boolean(cache != NULL));
}

void muster__op_caches_keys(struct muster__ask *ask)
{
    struct storage *storage = storage_of(ask->context);
    struct muster_value *names = storage ? muster_value_new_array() : NULL;
    if (names)
        EACH(cache, cache, &storage->caches)
            if (muster_value_append(names, muster__tree_text(cache->name)) != MUSTER_OK) {
                muster_value_release(names);
                names = NULL;
                break;
            }
    if (names)
        muster__ask_answer(ask, names);
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

/* ---- of a Cache ---- */

/* NULL: the ask was answered. */
static struct cache *ask_cache(struct muster__ask *ask)
{
    uint64_t id = muster__ask_number(ask, 0);
    EACH(open_cache, open, &ask->context->caches)
        if (open->id == id)
            return open->cache;
    muster__ask_fail(ask, "InvalidStateError", "this cache is not open");
    return NULL;
}

static size_t length_to(const char *url, bool ignore_search)
{
    return ignore_search ? strcspn(url, "?") : strlen(url);
}

static bool is_same_text(const struct muster_value *one, const struct muster_value *other)
{
    const struct muster_bytes a = muster_value_bytes(one), b = muster_value_bytes(other);
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* The headers that the response varies by are the same in both requests. */
static bool has_same_headers(const struct record *record, const struct muster_value *headers)
{
    const struct muster_value *varying = muster_value_get(record->head, "varying");
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

static bool is_match(const struct record *record, const struct muster_value *query)
{
    const char *wanted = muster__text_of(muster_value_get(query, "url"));
    const char *url = muster__text_of(muster_value_get(record->head, "url"));
    if (!wanted)
        return muster_value_type(muster_value_get(query, "url")) != MUSTER_TYPE_STRING;
    bool ignore_search = muster_value_boolean(muster_value_get(query, "ignoreSearch"));
    size_t length = length_to(wanted, ignore_search);
    if (length != length_to(url, ignore_search) || memcmp(wanted, url, length) != 0)
        return false;
    return muster_value_boolean(muster_value_get(query, "ignoreVary")) ||
           has_same_headers(record, muster_value_get(query, "headers"));
}

static bool remove_matches(struct cache *cache, const struct muster_value *query)
{
    bool any = false;
    EACH(record, record, &cache->records)
        if (is_match(record, query)) {
            remove_record(cache, record);
            any = true;
        }
    return any;
}

static struct record *record_new(struct muster__ask *ask, const struct muster_value *head)
{
    struct record *record = calloc(1, sizeof(*record));
    if (!record)
        return NULL;
    muster__link_init(&record->link);
    record->id = ++ask->context->muster->worlds->next_id;
    record->head = muster_value_acquire(head);
    record->body = ask->message->data;
    record->bytes = RECORD_BYTES + ask->message->bytes;
    ask->message->data = NULL;
    return record;
}

void muster__op_cache_put(struct muster__ask *ask)
{
    const struct muster_value *head = muster__ask_argument(ask, 1);
    struct cache *cache = ask_cache(ask);
    if (!cache)
        return;
    if (!muster__text_of(muster_value_get(head, "url"))) {
        muster__ask_fail(ask, "TypeError", "what is kept needs a URL of at most 64 KB");
        return;
    }
    struct record *record = record_new(ask, head);
    if (!record) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    if (record->bytes > STORED_BYTES_MAX - cache->storage->bytes) {
        record_free(record);
        muster__ask_fail(ask, "QuotaExceededError", "the caches of this origin hold %zu MB already",
                         cache->storage->bytes >> 20);
        return;
    }
    (void)remove_matches(cache, head); /* its url and headers are those of its request */
    cache->storage->bytes += record->bytes;
    muster__link_append(&cache->records, &record->link);
    muster__ask_answer(ask, NULL);
}

void muster__op_cache_delete(struct muster__ask *ask)
{
    struct cache *cache = ask_cache(ask);
    if (cache)
        muster__ask_answer(ask, muster_value_new_boolean(remove_matches(cache, muster__ask_argument(ask, 1))));
}

void muster__op_cache_query(struct muster__ask *ask)
{
    const struct muster_value *query = muster__ask_argument(ask, 1);
    struct cache *cache = ask_cache(ask);
    struct muster_value *found = cache ? muster_value_new_array() : NULL;
    if (!cache)
        return;
    if (found)
        EACH(record, record, &cache->records) {
            if (!is_match(record, query))
                continue;
            struct muster_value *head = muster_value_acquire(record->head);
            if (muster_value_append(found, MUSTER__ARRAY(muster_value_new_number((double)record->id), head)) ==
                MUSTER_OK)
                continue;
            muster_value_release(found);
            found = NULL;
            break;
        }
    if (found)
        muster__ask_answer(ask, found);
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

void muster__op_cache_read(struct muster__ask *ask)
{
    uint64_t id = muster__ask_number(ask, 1);
    struct cache *cache = ask_cache(ask);
    if (!cache)
        return;
    EACH(record, record, &cache->records)
        if (record->id == id) {
            muster__ask_answer_with(ask, muster_value_new_boolean(true),
                                    record->body ? muster_value_acquire(record->body) : NULL);
            return;
        }
    muster__ask_answer(ask, muster_value_new_boolean(false));
}
