/* coordinator/caches_internal.h - what the files of caches share.  Included by caches*.c only.  Thread: coordinator. */
#ifndef MUSTER_CACHES_INTERNAL_H
#define MUSTER_CACHES_INTERNAL_H

#include "coordinator/cache_query.h"
#include "coordinator/cache_store.h"
#include "coordinator/caches.h"

struct storage {
    struct muster__named named;
    struct muster *muster;
    char *key;
    struct muster__link caches; /* in order of creation */
    struct muster__link wishes; /* that wait until it was read */
    size_t bytes, count;
    bool is_ready, is_stored;
};

struct cache {
    struct muster__link link; /* of its storage's; in no list: it was deleted */
    struct muster__link records;
    struct storage *storage;
    char *name;
    uint64_t number;     /* on the disk; 0: in memory alone */
    unsigned references; /* its storage's, of each context that has it open, and of jobs */
    bool is_deleted;
};

struct record {
    struct muster__link link;
    uint64_t id;
    struct muster_value *head, *body; /* body: NULL: none, or on the disk */
    size_t bytes;
    struct muster__cache_key key;
    bool is_stored; /* the body is on the disk, too */
};

/* A context's name for a cache. */
struct open_cache {
    struct muster__link link;
    uint64_t id;
    struct cache *cache;
};

/* A job of the store's, and who waits for it. */
struct job {
    struct muster__link link; /* of the worlds' */
    struct muster__message message;
    struct muster__cache_job job;
    struct muster *muster;
    struct storage *storage;
    struct cache *cache; /* referenced; may be NULL */
    struct muster__pending *pending; /* may be NULL */
    struct muster_value *body; /* that is put */
    struct muster_value *answer;
    struct muster__link replaced; /* records; they come back if it fails */
    uint64_t removed[];
};

#define EACH(type, at, list)                                                                       \
    for (struct type *at = MUSTER_CONTAINER_OF((list)->next, struct type, link), *next_##at;       \
         next_##at = MUSTER_CONTAINER_OF(at->link.next, struct type, link), &at->link != (list); at = next_##at)

/* Acquires the head, which has a URL. */
static inline void set_head(struct record *record, const struct muster_value *head)
{
    record->head = muster_value_acquire(head);
    record->key = muster__cache_key_of(head);
}

/* NULL: it is gone. */
static inline struct record *find_record(struct cache *cache, uint64_t id)
{
    EACH(record, record, &cache->records)
        if (record->id == id)
            return record;
    return NULL;
}

/* ---- caches.c ---- */

/* Of a list that it is in nothing is changed. */
void muster__caches_record_free(struct muster__worlds *worlds, struct record *record);
/* For `removed_count` numbers, none of which is in it yet; with a reference to the cache, which may be NULL.  NULL: out of
 * memory. */
struct job *muster__caches_job_new(enum muster__cache_job_kind kind, struct storage *storage, struct cache *cache,
                                   size_t removed_count);
/* One that was not posted, or has ended. */
void muster__caches_job_free(struct job *job);
/* The store does it, and then what waits for it is answered; or at once, if the store is closed. */
void muster__caches_job_post(struct job *take_job);

#endif
