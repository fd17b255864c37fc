/* coordinator/cache_store.h - the caches of scripts on disk.  Internal.
 *
 * One file, caches.db, in the state folder, beside registrations.db, whose lock covers it: bodies are large, and what a
 * registration waits for is not to wait behind them.  It is opened with the first job, by the store's own thread.
 *
 * A job is the caller's memory, in which it says what is to be done; the store's thread does it and tells `done`, in
 * order, but what is read comes before what is written.  A write is there as a whole or not at all after any crash,
 * from when `done` said MUSTER_OK.
 *
 * Every head and every piece of a body has its sum beside it: what is damaged is not given out.  A file that does not
 * hold together is set aside (caches.db.damaged-1, ...), and what can be read of it is kept; the notice says so.
 */
#ifndef MUSTER_CACHE_STORE_H
#define MUSTER_CACHE_STORE_H

#include "runtime/value.h"

struct muster__cache_store;

/* Thread: the store's.  A sentence for the log. */
typedef void muster__cache_notice_fn(void *user_data, const char *text);

/* Nothing is opened yet.  The folder, which is there, is copied.  NULL: out of memory. */
struct muster__cache_store *muster__cache_store_new(const char *folder, muster__cache_notice_fn *notice,
                                                    void *user_data);
/* Thread: any.  Does what waits first; jobs are refused from then on.  Repeatable; NULL: no-op. */
void muster__cache_store_close(struct muster__cache_store *store);
/* Closed, or never used.  NULL: no-op. */
void muster__cache_store_destroy(struct muster__cache_store *store);

enum muster__cache_job_kind {
    /* What a storage key has: `value` becomes [[cache, name, [[record, head, bytes], ...]], ...], both in order of
     * creation, and `last_id` the largest number in use.  Records that are damaged are left out. */
    MUSTER__CACHE_LOAD,
    /* The body of `record`: `value`, a message of clone.h, or NULL if it has none.  NOT_FOUND: it is not there, or it
     * is damaged, and then it is removed. */
    MUSTER__CACHE_READ,
    MUSTER__CACHE_CREATE, /* `cache`, of that storage key and name */
    MUSTER__CACHE_DROP,   /* `cache`; its records can be read until PURGE, or the next opening */
    MUSTER__CACHE_PUT,    /* `record` with `value`, its head, and `body`, into `cache`; `removed` go.  NOT_FOUND: no cache */
    MUSTER__CACHE_PURGE,  /* the records `removed`, with their bodies */
};

/* Numbers are the caller's to choose, above `last_id`.  All is borrowed but what is said to become something. */
struct muster__cache_job {
    struct muster__cache_job *next; /* the store's */
    enum muster__cache_job_kind kind;
    const char *storage_key, *name;
    uint64_t cache, record, last_id;
    const uint64_t *removed;
    size_t removed_count;
    size_t bytes; /* PUT: what it counts for */
    struct muster_value *value;
    const struct muster_value *body;
    enum muster_status status;
    bool is_full; /* it failed because the disk is full */
    struct muster_error error; /* the caller cleans it up */
    /* Thread: the store's.  Once; the job is the caller's again. */
    void (*done)(struct muster__cache_job *job);
};
/* Thread: any.  False: it is closed, or has no thread, and `done` will not come. */
MUSTER_MUST_CHECK bool muster__cache_store_post(struct muster__cache_store *store, struct muster__cache_job *job);

#endif
