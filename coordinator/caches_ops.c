/* coordinator/caches_ops.c - what is asked of one cache: put, delete, query, read. */
#include "coordinator/caches_internal.h"

#include <stdlib.h>

/* What all caches of a storage key may hold, bodies and what is said of them, unless the instance says otherwise. */
#define CACHE_BYTES_DEFAULT ((size_t)256 << 20)
/* What a record takes beside its body, about. */
#define RECORD_BYTES 1024

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

static bool is_match(const struct record *record, const struct muster__cache_query *query)
{
    return muster__cache_query_finds(query, record->key, record->head);
}

/* Into that list; how many. */
static size_t take_matches(struct cache *cache, const struct muster_value *query, struct muster__link *list)
{
    const struct muster__cache_query wanted = muster__cache_query_of(query);
    size_t count = 0;
    EACH(record, record, &cache->records)
        if (is_match(record, &wanted)) {
            muster__link_remove(&record->link);
            muster__link_append(list, &record->link);
            cache->storage->bytes -= record->bytes;
            count++;
        }
    return count;
}

static size_t count_matches(struct cache *cache, const struct muster_value *query)
{
    const struct muster__cache_query wanted = muster__cache_query_of(query);
    size_t count = 0;
    EACH(record, record, &cache->records)
        count += is_match(record, &wanted);
    return count;
}

static bool is_on_disk(const struct cache *cache)
{
    return cache->number && !cache->is_deleted;
}

/* The matches are taken out of the cache, and go from the disk with the job; its answer is the ask's.  NULL: the ask was
 * answered. */
static struct job *job_without(struct muster__ask *ask, enum muster__cache_job_kind kind, struct cache *cache,
                               const struct muster_value *query)
{
    struct job *job = muster__caches_job_new(kind, cache->storage, cache, count_matches(cache, query));
    if (!job) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return NULL;
    }
    job->pending = muster__ask_defer(ask);
    if (!job->pending) {
        muster__caches_job_free(job);
        return NULL;
    }
    (void)take_matches(cache, query, &job->replaced);
    EACH(record, record, &job->replaced)
        job->removed[job->job.removed_count++] = record->id;
    return job;
}

static bool remove_matches(struct cache *cache, const struct muster_value *query)
{
    struct muster__link list;
    muster__link_init(&list);
    bool any = take_matches(cache, query, &list) > 0;
    EACH(record, record, &list)
        muster__caches_record_free(cache->storage->muster->worlds, record);
    return any;
}

static struct record *record_new(struct muster__ask *ask, const struct muster_value *head)
{
    struct record *record = calloc(1, sizeof(*record));
    if (!record)
        return NULL;
    muster__link_init(&record->link);
    record->id = ++ask->context->muster->worlds->cache_number;
    set_head(record, head);
    record->body = ask->message->data;
    record->bytes = RECORD_BYTES + ask->message->bytes;
    ask->message->data = NULL;
    return record;
}

static void keep_record(struct muster__ask *ask, struct cache *cache, struct record *take_record)
{
    struct job *job = NULL;
    if (is_on_disk(cache)) {
        job = job_without(ask, MUSTER__CACHE_PUT, cache, take_record->head); /* its url and headers: its request's */
        if (!job) {
            muster__caches_record_free(ask->context->muster->worlds, take_record);
            return;
        }
        job->job.record = take_record->id;
        job->job.bytes = take_record->bytes;
        job->job.value = muster_value_acquire(take_record->head);
        job->job.body = job->body = take_record->body ? muster_value_acquire(take_record->body) : NULL;
    } else {
        (void)remove_matches(cache, take_record->head);
    }
    cache->storage->bytes += take_record->bytes;
    muster__link_append(&cache->records, &take_record->link);
    if (job)
        muster__caches_job_post(job);
    else
        muster__ask_answer(ask, NULL);
}

static size_t limit_of(const struct storage *storage)
{
    size_t limit = storage->muster->options.cache_limit;
    return limit ? limit : CACHE_BYTES_DEFAULT;
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
    size_t bytes = cache->storage->bytes, limit = limit_of(cache->storage);
    if (!record) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    } else if (bytes >= limit || record->bytes > limit - bytes) {
        muster__caches_record_free(ask->context->muster->worlds, record);
        muster__ask_fail(ask, "QuotaExceededError",
                         "the caches of this origin hold %zu bytes already, and may hold no more than %zu", bytes, limit);
    } else {
        keep_record(ask, cache, record);
    }
}

void muster__op_cache_delete(struct muster__ask *ask)
{
    const struct muster_value *query = muster__ask_argument(ask, 1);
    struct cache *cache = ask_cache(ask);
    if (!cache)
        return;
    if (!is_on_disk(cache) || count_matches(cache, query) == 0) {
        muster__ask_answer(ask, muster_value_new_boolean(remove_matches(cache, query)));
        return;
    }
    struct job *job = job_without(ask, MUSTER__CACHE_PURGE, cache, query);
    if (job) {
        job->answer = muster_value_new_boolean(true);
        muster__caches_job_post(job);
    }
}

void muster__op_cache_query(struct muster__ask *ask)
{
    const struct muster__cache_query wanted = muster__cache_query_of(muster__ask_argument(ask, 1));
    struct cache *cache = ask_cache(ask);
    struct muster_value *found = cache ? muster_value_new_array() : NULL;
    if (!cache)
        return;
    if (found)
        EACH(record, record, &cache->records) {
            if (!is_match(record, &wanted))
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

static void read_from_disk(struct muster__ask *ask, struct cache *cache, uint64_t record)
{
    struct job *job = muster__caches_job_new(MUSTER__CACHE_READ, cache->storage, cache, 0);
    if (!job) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    job->job.record = record;
    job->pending = muster__ask_defer(ask);
    if (job->pending)
        muster__caches_job_post(job);
    else
        muster__caches_job_free(job);
}

void muster__op_cache_read(struct muster__ask *ask)
{
    uint64_t id = muster__ask_number(ask, 1);
    struct cache *cache = ask_cache(ask);
    struct record *record = cache ? find_record(cache, id) : NULL;
    if (!cache)
        return;
    if (!record)
        muster__ask_answer(ask, muster_value_new_boolean(false));
    else if (!record->body && record->is_stored)
        read_from_disk(ask, cache, id);
    else
        muster__ask_answer_with(ask, muster_value_new_boolean(true),
                                record->body ? muster_value_acquire(record->body) : NULL);
}
