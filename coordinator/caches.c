/* coordinator/caches.c - see caches.h.
 *
 * What is there, and what matches, is known here, at once; the disk follows.  With a state folder the caches of a storage
 * key are read when a context first asks for one of them, and what was asked waits meanwhile.  A change is answered when
 * it is on the disk; one that fails is taken back. */
#include "coordinator/caches_internal.h"

#include <stdlib.h>
#include <string.h>

/* Bodies on the disk that are kept in memory as well: small ones, of all storage keys so much. */
#define KEPT_BODY_MAX ((size_t)64 << 10)
#define KEPT_BYTES_MAX ((size_t)32 << 20)
#define CACHES_MAX 10000 /* of a storage key */

/* What a context wants of CacheStorage. */
struct wish {
    struct muster__link link;
    enum wish_kind { WISH_OPEN, WISH_HAS, WISH_DELETE, WISH_KEYS } kind;
    struct muster__pending *pending;
    char name[];
};

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
    storage->muster = context->muster;
    storage->key = key;
    storage->named.name = key;
    muster__link_init(&storage->caches);
    muster__link_init(&storage->wishes);
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

static void drop_body(struct muster__worlds *worlds, struct record *record)
{
    if (record->is_stored && record->body)
        worlds->kept_bytes -= record->bytes;
    muster_value_release(record->body);
    record->body = NULL;
}

void muster__caches_record_free(struct muster__worlds *worlds, struct record *record)
{
    drop_body(worlds, record);
    muster_value_release(record->head);
    free(record);
}

static void remove_record(struct cache *cache, struct record *record)
{
    muster__link_remove(&record->link);
    cache->storage->bytes -= record->bytes;
    muster__caches_record_free(cache->storage->muster->worlds, record);
}

/* For a body that is on the disk, to be kept in memory as well. */
static bool has_room(const struct muster__worlds *worlds, const struct record *record)
{
    return record->bytes <= KEPT_BODY_MAX && worlds->kept_bytes <= KEPT_BYTES_MAX - record->bytes;
}

/* The body is on the disk now. */
static void set_stored(struct muster__worlds *worlds, struct record *record)
{
    if (!record->body || !has_room(worlds, record))
        drop_body(worlds, record);
    else if (!record->is_stored)
        worlds->kept_bytes += record->bytes;
    record->is_stored = true;
}

static void purge_records(struct cache *cache);

static void release_cache(struct cache *cache)
{
    if (--cache->references > 0)
        return;
    if (cache->is_deleted && cache->number)
        purge_records(cache);
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

/* ---- the disk ---- */

struct job *muster__caches_job_new(enum muster__cache_job_kind kind, struct storage *storage, struct cache *cache,
                                   size_t removed_count)
{
    struct job *job = calloc(1, sizeof(*job) + removed_count * sizeof(*job->removed));
    if (!job)
        return NULL;
    job->job.kind = kind;
    job->job.storage_key = storage->key;
    job->job.removed = job->removed;
    job->job.cache = cache ? cache->number : 0;
    job->muster = storage->muster;
    job->storage = storage;
    job->cache = cache;
    if (cache)
        cache->references++;
    muster__link_init(&job->replaced);
    muster__link_append(&storage->muster->worlds->cache_jobs, &job->link);
    return job;
}

void muster__caches_job_free(struct job *job)
{
    muster__link_remove(&job->link);
    if (job->pending)
        muster__pending_answer(job->pending, NULL);
    EACH(record, record, &job->replaced)
        muster__caches_record_free(job->muster->worlds, record);
    if (job->cache)
        release_cache(job->cache);
    muster_value_release(job->job.value);
    muster_value_release(job->body);
    muster_value_release(job->answer);
    muster_error_clean_up(&job->job.error);
    free(job);
}

static void answer_job(struct job *job, struct muster_value *take_data)
{
    struct muster__pending *pending = job->pending;
    struct muster_value *answer = job->answer;
    job->pending = NULL;
    job->answer = NULL;
    muster__pending_answer_with(pending, answer, take_data);
}

static void fail_job(struct job *job)
{
    struct muster__pending *pending = job->pending;
    job->pending = NULL;
    if (pending)
        muster__pending_fail(pending, job->job.is_full ? "QuotaExceededError" : "OperationError", &job->job.error);
}

/* What was to be replaced is there again. */
static void take_back(struct job *job)
{
    struct cache *cache = job->cache;
    struct record *added = cache && job->job.kind == MUSTER__CACHE_PUT ? find_record(cache, job->job.record) : NULL;
    if (added)
        remove_record(cache, added);
    EACH(record, record, &job->replaced) {
        muster__link_remove(&record->link);
        muster__link_append(&cache->records, &record->link);
        cache->storage->bytes += record->bytes;
    }
    if (job->job.kind == MUSTER__CACHE_CREATE && !cache->is_deleted) {
        cache->is_deleted = true;
        drop_cache(cache);
    }
}

static void read_storage(struct storage *storage, const struct muster_value *caches);
static void run_wishes(struct storage *storage);

static void end_load(struct job *job)
{
    struct storage *storage = job->storage;
    struct muster__worlds *worlds = job->muster->worlds;
    storage->is_ready = true;
    storage->is_stored = job->job.status == MUSTER_OK;
    if (worlds->cache_number < job->job.last_id)
        worlds->cache_number = job->job.last_id;
    if (storage->is_stored)
        read_storage(storage, job->job.value);
    else
        muster__log(job->muster, MUSTER_LOG_ERROR, *storage->key ? storage->key : "caches",
                    "its caches are kept in memory alone: %s",
                    job->job.error.message ? job->job.error.message : muster_status_sentence(job->job.status));
    run_wishes(storage);
}

static void end_read(struct job *job)
{
    struct record *record = find_record(job->cache, job->job.record);
    if (job->job.status == MUSTER_NOT_FOUND) {
        if (record)
            remove_record(job->cache, record);
        job->answer = muster_value_new_boolean(false);
        answer_job(job, NULL);
        return;
    }
    struct muster_value *body = job->job.value;
    job->job.value = NULL;
    if (record && body && !record->body && has_room(job->muster->worlds, record)) {
        record->body = muster_value_acquire(body);
        job->muster->worlds->kept_bytes += record->bytes;
    }
    job->answer = muster_value_new_boolean(true);
    answer_job(job, body);
}

static void end_write(struct job *job)
{
    struct record *record =
        job->job.kind == MUSTER__CACHE_PUT && job->cache ? find_record(job->cache, job->job.record) : NULL;
    if (record)
        set_stored(job->muster->worlds, record);
    if (job->pending)
        answer_job(job, NULL);
}

static void end_job(struct muster__message *message, struct muster *muster)
{
    struct job *job = MUSTER_CONTAINER_OF(message, struct job, message);
    enum muster__cache_job_kind kind = job->job.kind;
    bool is_cache_gone = job->job.status == MUSTER_NOT_FOUND && kind == MUSTER__CACHE_PUT;
    (void)muster;
    if (kind == MUSTER__CACHE_LOAD) {
        end_load(job);
    } else if (kind == MUSTER__CACHE_READ && (job->job.status == MUSTER_OK || job->job.status == MUSTER_NOT_FOUND)) {
        end_read(job);
    } else if (is_cache_gone && job->cache->is_deleted) {
        answer_job(job, NULL); /* it lives on in memory, for those who have it */
    } else if (job->job.status != MUSTER_OK) {
        fail_job(job);
        take_back(job);
    } else {
        end_write(job);
    }
    muster__caches_job_free(job);
}

/* Thread: the store's. */
static void job_done(struct muster__cache_job *done)
{
    struct job *job = MUSTER_CONTAINER_OF(done, struct job, job);
    (void)muster__coordinator_post(job->muster, &job->message);
}

void muster__caches_job_post(struct job *job)
{
    job->message.run = end_job;
    job->job.done = job_done;
    if (muster__cache_store_post(job->muster->worlds->cache_store, &job->job))
        return;
    job->job.status = MUSTER_SHUTDOWN;
    muster_error_set(&job->job.error, MUSTER_SHUTDOWN, "%s", muster_status_sentence(MUSTER_SHUTDOWN));
    end_job(&job->message, job->muster);
}

/* Of a deleted cache that nobody has open any more.  Without memory it happens at the next start. */
static void purge_records(struct cache *cache)
{
    size_t count = 0;
    EACH(record, record, &cache->records)
        count += record->is_stored;
    struct job *job = count ? muster__caches_job_new(MUSTER__CACHE_PURGE, cache->storage, NULL, count) : NULL;
    if (!job)
        return;
    EACH(record, record, &cache->records)
        if (record->is_stored)
            job->removed[job->job.removed_count++] = record->id;
    muster__caches_job_post(job);
}

/* ---- a storage key that is read ---- */

static void read_records(struct cache *cache, const struct muster_value *list)
{
    for (size_t i = 0; i < muster_value_count(list); i++) {
        const struct muster_value *item = muster_value_at(list, i), *head = muster_value_at(item, 1);
        struct record *record =
            muster__text_of(muster_value_get(head, "url")) ? calloc(1, sizeof(*record)) : NULL;
        if (!record)
            continue; /* without memory it is there the next time */
        record->id = muster__number_of(muster_value_at(item, 0));
        set_head(record, head);
        record->bytes = (size_t)muster__number_of(muster_value_at(item, 2));
        record->is_stored = true;
        cache->storage->bytes += record->bytes;
        muster__link_append(&cache->records, &record->link);
    }
}

static void read_storage(struct storage *storage, const struct muster_value *caches)
{
    for (size_t i = 0; i < muster_value_count(caches); i++) {
        const struct muster_value *item = muster_value_at(caches, i);
        struct cache *cache = cache_new(storage, muster_value_bytes(muster_value_at(item, 1)).data);
        if (!cache)
            return;
        cache->number = muster__number_of(muster_value_at(item, 0));
        read_records(cache, muster_value_at(item, 2));
    }
}

static void run_wish(struct storage *storage, struct wish *take_wish);

static void run_wishes(struct storage *storage)
{
    EACH(wish, wish, &storage->wishes) {
        muster__link_remove(&wish->link);
        run_wish(storage, wish);
    }
}

static bool is_ready(struct storage *storage)
{
    if (storage->is_ready || !storage->muster->worlds->cache_store)
        return storage->is_ready = true;
    if (!muster__link_is_empty(&storage->wishes))
        return false;
    struct job *job = muster__caches_job_new(MUSTER__CACHE_LOAD, storage, NULL, 0);
    if (job)
        muster__caches_job_post(job);
    else
        storage->is_ready = true; /* and in memory alone */
    return storage->is_ready;
}

/* ---- life ---- */

static void write_notice(void *user_data, const char *text)
{
    muster__log(user_data, MUSTER_LOG_WARNING, "store", "%s", text);
}

enum muster_status muster__caches_open(struct muster *muster, const char *state_folder)
{
    if (!state_folder)
        return MUSTER_OK;
    muster->worlds->cache_store = muster__cache_store_new(state_folder, write_notice, muster);
    return muster->worlds->cache_store ? MUSTER_OK : MUSTER_NO_MEMORY;
}

void muster__caches_close(struct muster *muster)
{
    if (muster->worlds)
        muster__cache_store_close(muster->worlds->cache_store);
}

static struct storage *any_storage(struct muster__worlds *worlds)
{
    struct muster__id_node *node = muster__id_map_any(&worlds->caches.map);
    return node ? MUSTER_CONTAINER_OF(MUSTER_CONTAINER_OF(node, struct muster__named, node), struct storage, named)
                : NULL;
}

void muster__caches_clean_up(struct muster__worlds *worlds)
{
    EACH(job, job, &worlds->cache_jobs)
        muster__caches_job_free(job);
    for (struct storage *storage; (storage = any_storage(worlds)) != NULL;) {
        EACH(wish, wish, &storage->wishes) {
            muster__link_remove(&wish->link);
            muster__pending_answer(wish->pending, NULL);
            free(wish);
        }
        EACH(cache, cache, &storage->caches)
            drop_cache(cache);
        muster__name_map_remove(&worlds->caches, &storage->named);
        free(storage->key);
        free(storage);
    }
    muster__cache_store_destroy(worlds->cache_store);
}

/* ---- of CacheStorage ---- */

static void fail_no_memory(struct muster__pending *take_pending)
{
    struct muster_error error = {0};
    muster_error_set(&error, MUSTER_NO_MEMORY, "%s", muster_status_sentence(MUSTER_NO_MEMORY));
    muster__pending_fail(take_pending, "OperationError", &error);
    muster_error_clean_up(&error);
}

static void answer_or_fail(struct muster__pending *take_pending, struct muster_value *take_value)
{
    if (take_value)
        muster__pending_answer(take_pending, take_value);
    else
        fail_no_memory(take_pending);
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

/* A new one; the answer waits until it is on the disk. */
static void create_cache(struct storage *storage, const char *name, struct muster__pending *take_pending)
{
    struct cache *cache = cache_new(storage, name);
    if (cache && storage->is_stored)
        cache->number = ++storage->muster->worlds->cache_number;
    struct open_cache *open = cache ? open_in(take_pending->context, cache) : NULL;
    struct job *job = open && storage->is_stored ? muster__caches_job_new(MUSTER__CACHE_CREATE, storage, cache, 0) : NULL;
    if (!open || (storage->is_stored && !job)) {
        if (cache)
            drop_cache(cache);
        fail_no_memory(take_pending);
        return;
    }
    struct muster_value *answer = muster_value_new_number((double)open->id);
    if (!job) {
        answer_or_fail(take_pending, answer);
        return;
    }
    job->job.name = cache->name;
    job->pending = take_pending;
    job->answer = answer;
    muster__caches_job_post(job);
}

static void run_open(struct storage *storage, const char *name, struct muster__pending *take_pending)
{
    struct cache *cache = find_cache(storage, name);
    if (cache) {
        struct open_cache *open = open_in(take_pending->context, cache);
        answer_or_fail(take_pending, open ? muster_value_new_number((double)open->id) : NULL);
    } else if (storage->count >= CACHES_MAX) {
        struct muster_error error = {0};
        muster_error_set(&error, MUSTER_REFUSED, "there are %d caches already", CACHES_MAX);
        muster__pending_fail(take_pending, "QuotaExceededError", &error);
        muster_error_clean_up(&error);
    } else {
        create_cache(storage, name, take_pending);
    }
}

static void run_delete(struct storage *storage, const char *name, struct muster__pending *take_pending)
{
    struct cache *cache = find_cache(storage, name);
    struct job *job = cache && cache->number ? muster__caches_job_new(MUSTER__CACHE_DROP, storage, cache, 0) : NULL;
    if (cache && cache->number && !job) {
        fail_no_memory(take_pending);
        return;
    }
    struct muster_value *answer = muster_value_new_boolean(cache != NULL);
    if (cache) {
        cache->is_deleted = true;
        drop_cache(cache);
    }
    if (!job) {
        answer_or_fail(take_pending, answer);
        return;
    }
    job->pending = take_pending;
    job->answer = answer;
    muster__caches_job_post(job);
}

/* NULL: out of memory. */
static struct muster_value *list_names(const struct storage *storage)
{
    struct muster_value *names = muster_value_new_array();
    if (names)
        EACH(cache, cache, &storage->caches)
            if (muster_value_append(names, muster__tree_text(cache->name)) != MUSTER_OK) {
                muster_value_release(names);
                return NULL;
            }
    return names;
}

static void run_wish(struct storage *storage, struct wish *take_wish)
{
    struct muster__pending *pending = take_wish->pending;
    if (!pending->context)
        muster__pending_answer(pending, NULL); /* it is closed: nobody hears */
    else if (take_wish->kind == WISH_OPEN)
        run_open(storage, take_wish->name, pending);
    else if (take_wish->kind == WISH_DELETE)
        run_delete(storage, take_wish->name, pending);
    else if (take_wish->kind == WISH_HAS)
        answer_or_fail(pending, muster_value_new_boolean(find_cache(storage, take_wish->name) != NULL));
    else
        answer_or_fail(pending, list_names(storage));
    free(take_wish);
}

static void wish_for(struct muster__ask *ask, enum wish_kind kind)
{
    const char *name = kind == WISH_KEYS ? "" : muster__ask_text(ask, 0);
    if (!name) {
        muster__ask_fail(ask, "TypeError", "a cache's name is a text of at most 64 KB");
        return;
    }
    struct storage *storage = storage_of(ask->context);
    struct wish *wish = storage ? calloc(1, sizeof(*wish) + strlen(name) + 1) : NULL;
    if (!wish) {
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    wish->pending = muster__ask_defer(ask);
    if (!wish->pending) {
        free(wish);
        return;
    }
    wish->kind = kind;
    strcpy(wish->name, name);
    if (is_ready(storage))
        run_wish(storage, wish);
    else
        muster__link_append(&storage->wishes, &wish->link);
}

void muster__op_caches_open(struct muster__ask *ask)
{
    wish_for(ask, WISH_OPEN);
}

void muster__op_caches_has(struct muster__ask *ask)
{
    wish_for(ask, WISH_HAS);
}

void muster__op_caches_delete(struct muster__ask *ask)
{
    wish_for(ask, WISH_DELETE);
}

void muster__op_caches_keys(struct muster__ask *ask)
{
    wish_for(ask, WISH_KEYS);
}
