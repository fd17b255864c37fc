/* coordinator/cache_store.c - see cache_store.h.  One connection, the store's thread's own.
 *
 * A body is a message of clone.h: its bytes are part 0, its buffers are the parts after that, and each part lies in
 * pieces, so that SQLite never has to hold more than one of them.  The jobs that wait at a time share a transaction; one
 * that fails is rolled back alone. */
#include "coordinator/cache_store.h"

#include "coordinator/store_file.h"
#include "runtime/check.h"
#include "runtime/clone.h"
#include "runtime/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)
#define ID_MAX (UINT64_C(1) << 52) /* they are told as numbers of JavaScript */

static const char schema[] =
    "BEGIN;"
    "CREATE TABLE caches (id INTEGER PRIMARY KEY, storage_key TEXT NOT NULL, name TEXT NOT NULL,"
    " UNIQUE (storage_key, name));"
    "CREATE TABLE records (id INTEGER PRIMARY KEY, cache INTEGER NOT NULL, head TEXT NOT NULL, sum INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, parts INTEGER NOT NULL, length INTEGER NOT NULL);"
    "CREATE INDEX records_cache ON records (cache);"
    "CREATE TABLE pieces (record INTEGER NOT NULL, part INTEGER NOT NULL, ordinal INTEGER NOT NULL, sum INTEGER NOT NULL,"
    " data BLOB NOT NULL, PRIMARY KEY (record, part, ordinal));"
    "PRAGMA user_version = 1;"
    "COMMIT";

#define STATEMENT_LIST(X)                                                                                              \
    X(LAST, "SELECT max(ifnull((SELECT max(id) FROM caches), 0), ifnull((SELECT max(id) FROM records), 0))")           \
    X(CACHES, "SELECT id, name FROM caches WHERE storage_key = ?1 ORDER BY id")                                        \
    X(RECORDS, "SELECT id, head, sum, bytes FROM records WHERE cache = ?1 ORDER BY id")                               \
    X(RECORD, "SELECT parts, length FROM records WHERE id = ?1")                                                       \
    X(LENGTHS, "SELECT sum(length(data)) FROM pieces WHERE record = ?1 GROUP BY part ORDER BY part")                   \
    X(PIECES, "SELECT part, data, sum FROM pieces WHERE record = ?1 ORDER BY part, ordinal")                          \
    X(CREATE, "INSERT INTO caches VALUES (?1, ?2, ?3)")                                                                \
    X(ORPHAN, "UPDATE records SET cache = -cache WHERE cache = ?1")                                                    \
    X(DROP, "DELETE FROM caches WHERE id = ?1")                                                                        \
    X(PUT, "INSERT INTO records SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM caches WHERE id = ?2)")  \
    X(PUT_PIECE, "INSERT INTO pieces VALUES (?1, ?2, ?3, ?4, ?5)")                                                     \
    X(REMOVE, "DELETE FROM records WHERE id = ?1")                                                                     \
    X(REMOVE_PIECES, "DELETE FROM pieces WHERE record = ?1")

enum statement {
#define STATEMENT_SYMBOL(name, text) STATEMENT_##name,
    STATEMENT_LIST(STATEMENT_SYMBOL) STATEMENT_COUNT
#undef STATEMENT_SYMBOL
};

static const char *const statement_texts[] = {
#define STATEMENT_TEXT(name, text) text,
    STATEMENT_LIST(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};
_Static_assert(STATEMENT_COUNT <= MUSTER__STORE_STATEMENTS_MAX, "room for the statements");

static const struct muster__store_format format = {
    .schema = schema,
    .version = 1,
    .statements = statement_texts,
    .statement_count = STATEMENT_COUNT,
    .tidy = "DELETE FROM records WHERE cache < 0;" /* of caches that were in use when they were deleted */
            "DELETE FROM pieces WHERE record NOT IN (SELECT id FROM records)",
};

struct muster__cache_store {
    muster__cache_notice_fn *notice;
    void *user_data;
    /* Thread: the store's. */
    struct muster__store_file file;
    enum muster_status opened; /* PENDING: not tried yet */
    struct muster_error error; /* why it could not be opened */

    pthread_mutex_t lock; /* over the rest */
    pthread_cond_t wake;
    pthread_t thread;
    bool is_running, is_closed;
    struct muster__cache_job *head, **tail;
};

/* ---- statements ---- */

static sqlite3_stmt *with_number(struct muster__cache_store *store, enum statement which, uint64_t number)
{
    sqlite3_stmt *statement = store->file.statements[which];
    bind_number(statement, 1, number);
    return statement;
}

/* Finds what a disk, or somebody with an editor, has changed; it need not resist anybody who wants to deceive.  As fast as
 * the bytes come, which SHA-256 is not. */
static uint64_t sum_of(struct muster_bytes bytes)
{
    uint64_t sum = 0x9e3779b97f4a7c15u ^ bytes.length, word;
    size_t at = 0;
    for (; at + sizeof(word) <= bytes.length; at += sizeof(word)) {
        memcpy(&word, bytes.data + at, sizeof(word));
        sum = (sum ^ word) * 0xff51afd7ed558ccdu;
        sum ^= sum >> 32;
    }
    for (; at < bytes.length; at++)
        sum = ((sum ^ (uint8_t)bytes.data[at]) * 0xff51afd7ed558ccdu) ^ sum >> 32;
    return sum;
}

static bool is_whole(sqlite3_stmt *statement, struct muster_bytes bytes, int sum_at)
{
    return column_number(statement, sum_at) == sum_of(bytes);
}

static void tell(struct muster__cache_store *store, char *take_text)
{
    if (take_text && store->notice)
        store->notice(store->user_data, take_text);
    free(take_text);
}

/* ---- what is written ---- */

static int remove_record(struct muster__cache_store *store, uint64_t record)
{
    int code = run_statement(with_number(store, STATEMENT_REMOVE, record));
    return code == SQLITE_OK ? run_statement(with_number(store, STATEMENT_REMOVE_PIECES, record)) : code;
}

static int remove_all(struct muster__cache_store *store, const struct muster__cache_job *job)
{
    int code = SQLITE_OK;
    for (size_t i = 0; i < job->removed_count && code == SQLITE_OK; i++)
        code = remove_record(store, job->removed[i]);
    return code;
}

static int put_part(struct muster__cache_store *store, uint64_t record, size_t part, struct muster_bytes bytes)
{
    int code = SQLITE_OK;
    for (size_t at = 0; code == SQLITE_OK && (at < bytes.length || at == 0); at += PIECE_BYTES) {
        size_t left = bytes.length - at, length = left < PIECE_BYTES ? left : PIECE_BYTES;
        const struct muster_bytes piece = {length > 0 ? (const char *)bytes.data + at : "", length};
        sqlite3_stmt *row = with_number(store, STATEMENT_PUT_PIECE, record);
        bind_number(row, 2, part);
        bind_number(row, 3, at / PIECE_BYTES);
        bind_number(row, 4, sum_of(piece));
        bind_bytes(row, 5, piece);
        code = run_statement(row);
    }
    return code;
}

static int put_row(struct muster__cache_store *store, const struct muster__cache_job *job, const char *head,
                   size_t parts, size_t length)
{
    sqlite3_stmt *row = with_number(store, STATEMENT_PUT, job->record);
    bind_number(row, 2, job->cache);
    bind_text(row, 3, head);
    bind_number(row, 4, sum_of((struct muster_bytes){head, strlen(head)}));
    bind_number(row, 5, job->bytes);
    bind_number(row, 6, parts);
    bind_number(row, 7, length);
    return run_statement(row);
}

static int put_parts(struct muster__cache_store *store, struct muster__cache_job *job, const struct muster_clone *body)
{
    size_t count = body ? 1 + muster_clone_buffer_count(body) : 0, length = 0;
    char *head = muster_value_to_json(job->value);
    int code = head ? SQLITE_OK : SQLITE_NOMEM;
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        const struct muster_bytes bytes = i ? muster_clone_buffer_at(body, i - 1) : muster_clone_bytes(body);
        length += bytes.length;
        code = put_part(store, job->record, i, bytes);
    }
    if (code == SQLITE_OK)
        code = put_row(store, job, head, count, length);
    if (code == SQLITE_OK && sqlite3_changes(store->file.database) == 0) {
        job->status = MUSTER_NOT_FOUND;
        muster_error_set(&job->error, job->status, "this cache is not there any more");
        code = run_statement(with_number(store, STATEMENT_REMOVE_PIECES, job->record));
    }
    free(head);
    return code;
}

static int put_record(struct muster__cache_store *store, struct muster__cache_job *job)
{
    struct muster_clone *made = NULL, *body = muster_value_clone(job->body);
    if (job->body && !body) {
        if (muster_clone_from_value(job->body, NULL, &made, NULL) != MUSTER_OK)
            return SQLITE_NOMEM;
        body = made;
    }
    int code = remove_all(store, job);
    if (code == SQLITE_OK)
        code = put_parts(store, job, body);
    muster_clone_release(made);
    return code;
}

static int create_cache(struct muster__cache_store *store, const struct muster__cache_job *job)
{
    sqlite3_stmt *row = with_number(store, STATEMENT_CREATE, job->cache);
    bind_text(row, 2, job->storage_key);
    bind_text(row, 3, job->name);
    return run_statement(row);
}

static int drop_cache(struct muster__cache_store *store, const struct muster__cache_job *job)
{
    int code = run_statement(with_number(store, STATEMENT_ORPHAN, job->cache));
    return code == SQLITE_OK ? run_statement(with_number(store, STATEMENT_DROP, job->cache)) : code;
}

static int write_job(struct muster__cache_store *store, struct muster__cache_job *job)
{
    switch (job->kind) {
    case MUSTER__CACHE_CREATE: return create_cache(store, job);
    case MUSTER__CACHE_DROP: return drop_cache(store, job);
    case MUSTER__CACHE_PUT: return put_record(store, job);
    case MUSTER__CACHE_PURGE: return remove_all(store, job);
    case MUSTER__CACHE_LOAD:
    case MUSTER__CACHE_READ: break;
    }
    return SQLITE_MISUSE;
}

/* ---- what is read ---- */

/* [record, head, bytes].  CORRUPT: it is damaged; NOMEM says nothing of it. */
static int read_record(sqlite3_stmt *row, struct muster_value **ret_record)
{
    const struct muster_bytes head = column_bytes(row, 1);
    struct muster_value *value = NULL;
    if (!is_whole(row, head, 2))
        return SQLITE_CORRUPT;
    enum muster_status status = muster_value_from_json(head.data, head.length, &value, NULL);
    if (status != MUSTER_OK)
        return status == MUSTER_NO_MEMORY ? SQLITE_NOMEM : SQLITE_CORRUPT;
    struct muster_value *record = muster_value_new_array();
    if (!record || muster_value_append(record, muster_value_new_number((double)column_number(row, 0))) != MUSTER_OK) {
        muster_value_release(value);
    } else if (muster_value_append(record, value) == MUSTER_OK &&
               muster_value_append(record, muster_value_new_number((double)column_number(row, 3))) == MUSTER_OK) {
        *ret_record = record;
        return SQLITE_OK;
    }
    muster_value_release(record);
    return SQLITE_NOMEM;
}

/* Those that can be read; what is damaged is counted, and goes.  NULL: out of memory, and nothing went for that. */
static struct muster_value *read_records(struct muster__cache_store *store, uint64_t cache, size_t *lost)
{
    struct muster_value *list = muster_value_new_array();
    sqlite3_stmt *row = with_number(store, STATEMENT_RECORDS, cache);
    int code = list ? SQLITE_ROW : SQLITE_NOMEM;
    while (code == SQLITE_ROW && (code = sqlite3_step(row)) == SQLITE_ROW) {
        struct muster_value *record = NULL;
        int read = read_record(row, &record);
        if (read == SQLITE_CORRUPT) {
            ++*lost;
            (void)remove_record(store, column_number(row, 0));
        } else if (read != SQLITE_OK || muster_value_append(list, record) != MUSTER_OK) {
            code = SQLITE_NOMEM;
        }
    }
    (void)end_statement(row, code);
    if (code == SQLITE_NOMEM) {
        muster_value_release(list);
        return NULL;
    }
    *lost += code != SQLITE_DONE;
    return list;
}

/* [cache, name, records]; NULL: out of memory. */
static struct muster_value *read_cache(struct muster__cache_store *store, sqlite3_stmt *row, size_t *lost)
{
    const struct muster_bytes name = column_bytes(row, 1);
    uint64_t id = column_number(row, 0);
    struct muster_value *cache = muster_value_new_array();
    if (cache && muster_value_append(cache, muster_value_new_number((double)id)) == MUSTER_OK &&
        muster_value_append(cache, muster_value_new_string(name.data, name.length)) == MUSTER_OK &&
        muster_value_append(cache, read_records(store, id, lost)) == MUSTER_OK)
        return cache;
    muster_value_release(cache);
    return NULL;
}

static int load(struct muster__cache_store *store, struct muster__cache_job *job)
{
    size_t lost = 0;
    struct muster_value *caches = muster_value_new_array();
    sqlite3_stmt *last = store->file.statements[STATEMENT_LAST], *row = store->file.statements[STATEMENT_CACHES];
    int code = sqlite3_step(last);
    job->last_id = code == SQLITE_ROW ? column_number(last, 0) : 0;
    code = end_statement(last, code);
    bind_text(row, 1, job->storage_key);
    while (code == SQLITE_OK && caches && (code = sqlite3_step(row)) == SQLITE_ROW) {
        struct muster_value *cache = read_cache(store, row, &lost);
        code = cache && muster_value_append(caches, cache) == MUSTER_OK ? SQLITE_OK : SQLITE_NOMEM;
    }
    code = caches ? end_statement(row, code) : SQLITE_NOMEM;
    if (lost > 0)
        tell(store, muster__format("%s: %zu of the records in the caches of %s are damaged, and were removed",
                                   store->file.path, lost, *job->storage_key ? job->storage_key : "this instance"));
    if (code == SQLITE_OK)
        job->value = caches;
    else
        muster_value_release(caches);
    return code;
}

static void free_buffer(void *data, void *user_data)
{
    (void)user_data;
    free(data);
}

struct parts {
    struct muster_clone_buffer *list;
    size_t count, length;
};

static void clean_parts(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        muster_clone_buffer_clean_up(&parts->list[i]);
    free(parts->list);
}

/* Room for each part. */
static int make_parts(struct muster__cache_store *store, uint64_t record, struct parts *parts)
{
    sqlite3_stmt *row = with_number(store, STATEMENT_LENGTHS, record);
    int code = SQLITE_ROW;
    for (size_t i = 0; i < parts->count && code == SQLITE_ROW; i++) {
        code = sqlite3_step(row);
        size_t length = code == SQLITE_ROW ? (size_t)column_number(row, 0) : 0;
        if (length > parts->length || code == SQLITE_DONE)
            code = SQLITE_CORRUPT;
        void *data = code == SQLITE_ROW ? malloc(length + 1) : NULL;
        if (code == SQLITE_ROW && !data)
            code = SQLITE_NOMEM;
        parts->list[i] = (struct muster_clone_buffer){.data = data, .length = data ? length : 0, .free = free_buffer};
    }
    return end_statement(row, code);
}

static int fill_parts(struct muster__cache_store *store, uint64_t record, struct parts *parts)
{
    sqlite3_stmt *row = with_number(store, STATEMENT_PIECES, record);
    size_t part = 0, at = 0, all = 0;
    int code;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        const struct muster_bytes piece = column_bytes(row, 1);
        uint64_t of = column_number(row, 0);
        at = of == part ? at : 0;
        part = of;
        if (of >= parts->count || piece.length > parts->list[of].length - at || !is_whole(row, piece, 2)) {
            code = SQLITE_CORRUPT;
            break;
        }
        memcpy((char *)parts->list[of].data + at, piece.data, piece.length);
        at += piece.length;
        all += piece.length;
    }
    if (code == SQLITE_DONE && all != parts->length)
        code = SQLITE_CORRUPT;
    return end_statement(row, code);
}

/* What the body says is its reader's to check. */
static int make_body(struct muster__cache_job *job, struct parts *parts)
{
    struct muster_clone *clone = NULL;
    if (muster_clone_new(&parts->list[0], parts->list + 1, parts->count - 1, 0, &clone) != MUSTER_OK)
        return SQLITE_NOMEM;
    job->value = muster_value_new_clone(clone);
    return job->value ? SQLITE_OK : SQLITE_NOMEM;
}

static int read_body(struct muster__cache_store *store, struct muster__cache_job *job)
{
    sqlite3_stmt *row = with_number(store, STATEMENT_RECORD, job->record);
    struct parts parts = {0};
    int code = sqlite3_step(row);
    bool is_there = code == SQLITE_ROW;
    if (is_there) {
        parts.count = (size_t)column_number(row, 0);
        parts.length = (size_t)column_number(row, 1);
    }
    code = end_statement(row, code);
    if (code == SQLITE_OK && !is_there)
        job->status = MUSTER_NOT_FOUND;
    if (code != SQLITE_OK || parts.count == 0)
        return code;
    parts.list = calloc(parts.count, sizeof(*parts.list));
    code = parts.list ? make_parts(store, job->record, &parts) : SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = fill_parts(store, job->record, &parts);
    if (code == SQLITE_OK)
        code = make_body(job, &parts);
    if (parts.list)
        clean_parts(&parts);
    return code;
}

static int read_job(struct muster__cache_store *store, struct muster__cache_job *job)
{
    if (job->kind == MUSTER__CACHE_LOAD)
        return load(store, job);
    int code = read_body(store, job);
    if (!muster__store_file_is_damage(code))
        return code;
    tell(store, muster__format("%s: record %llu is damaged, and was removed", store->file.path,
                               (unsigned long long)job->record));
    (void)remove_record(store, job->record);
    job->status = MUSTER_NOT_FOUND;
    return SQLITE_OK;
}

/* ---- the file ---- */

static int copy_row(struct muster__cache_store *store, const char *text, uint64_t id)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->file.database, text, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        bind_number(statement, 1, id);
        code = run_statement(statement);
    }
    sqlite3_finalize(statement);
    return code;
}

/* Each in a transaction of its own: a page that cannot be read costs what lies on it. */
static void rescue_record(struct muster__cache_store *store, uint64_t id, size_t *kept, size_t *lost)
{
    (void)execute(store->file.database, "BEGIN");
    int code = copy_row(store, "INSERT INTO records SELECT * FROM damaged.records WHERE id = ?1 AND cache IN"
                               " (SELECT id FROM caches)", id);
    bool is_there = code == SQLITE_OK && sqlite3_changes(store->file.database) > 0;
    if (is_there)
        code = copy_row(store, "INSERT INTO pieces SELECT * FROM damaged.pieces WHERE record = ?1", id);
    if (code == SQLITE_OK)
        code = execute(store->file.database, "COMMIT");
    if (code != SQLITE_OK && !sqlite3_get_autocommit(store->file.database))
        (void)execute(store->file.database, "ROLLBACK");
    *kept += is_there && code == SQLITE_OK;
    *lost += code != SQLITE_OK;
}

static int attach(struct muster__cache_store *store, const char *name)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->file.database, "ATTACH ?1 AS damaged", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        bind_text(statement, 1, name);
        code = run_statement(statement);
    }
    sqlite3_finalize(statement);
    return code;
}

static void rescue(struct muster__cache_store *store, const char *name)
{
    static const char *const question = "SELECT max(id) FROM damaged.records";
    struct muster__store_file_ids ids;
    size_t kept = 0, lost = 0;
    if (attach(store, name) == SQLITE_OK) {
        uint64_t last = muster__store_file_last_id(store->file.database, &question, 1);
        lost += last > ID_MAX;
        last = last < ID_MAX ? last : ID_MAX;
        (void)execute(store->file.database, "PRAGMA synchronous = OFF"); /* at the end, once */
        ids = muster__store_file_ids_begin(store->file.database, "SELECT min(id) FROM damaged.caches WHERE id >= ?1", last);
        while (muster__store_file_ids_next(&ids))
            (void)copy_row(store, "INSERT OR IGNORE INTO caches SELECT * FROM damaged.caches WHERE id = ?1", ids.id);
        muster__store_file_ids_end(&ids);
        ids = muster__store_file_ids_begin(store->file.database, "SELECT min(id) FROM damaged.records WHERE id >= ?1", last);
        while (muster__store_file_ids_next(&ids))
            rescue_record(store, ids.id, &kept, &lost);
        muster__store_file_ids_end(&ids);
        (void)execute(store->file.database, "DETACH damaged; PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE)");
    }
    tell(store, muster__store_file_describe_rescue(&store->file, name, "record", kept, "", lost > 0));
}

static void open_file(struct muster__cache_store *store)
{
    char *damaged = NULL;
    store->opened = muster__store_file_open(&store->file, &damaged, &store->error);
    if (damaged)
        rescue(store, damaged);
    free(damaged);
}

/* ---- the store's thread ---- */

static void fail_with(struct muster__cache_store *store, struct muster__cache_job *job, int code)
{
    job->status = code == SQLITE_NOMEM ? MUSTER_NO_MEMORY : MUSTER_SYSTEM;
    job->is_full = code == SQLITE_FULL;
    muster_error_clean_up(&job->error);
    muster_error_set(&job->error, job->status, "%s: %s", store->file.path, sqlite3_errstr(code));
}

static void write_alone(struct muster__cache_store *store, struct muster__cache_job *job)
{
    int code = begin_part(store->file.database);
    if (code == SQLITE_OK)
        code = write_job(store, job);
    if (code != SQLITE_OK)
        fail_with(store, job, code);
    end_part(store->file.database, code);
}

static void end_jobs(struct muster__cache_job *list)
{
    while (list) {
        struct muster__cache_job *job = list;
        list = job->next;
        job->done(job);
    }
}

static void write_jobs(struct muster__cache_store *store, struct muster__cache_job *list)
{
    int code = list ? execute(store->file.database, "BEGIN IMMEDIATE") : SQLITE_OK;
    for (struct muster__cache_job *at = list; at && code == SQLITE_OK; at = at->next)
        write_alone(store, at);
    if (list && code == SQLITE_OK)
        code = execute(store->file.database, "COMMIT");
    if (code != SQLITE_OK && !sqlite3_get_autocommit(store->file.database))
        (void)execute(store->file.database, "ROLLBACK");
    for (struct muster__cache_job *at = list; at && code != SQLITE_OK; at = at->next)
        fail_with(store, at, code);
    end_jobs(list);
}

static void refuse_jobs(struct muster__cache_store *store, struct muster__cache_job *list)
{
    for (struct muster__cache_job *at = list; at; at = at->next) {
        at->status = store->opened;
        muster_error_copy(&at->error, &store->error);
    }
    end_jobs(list);
}

/* What is read was written before it was asked for, and what removes it was asked for later. */
static void do_jobs(struct muster__cache_store *store, struct muster__cache_job *list)
{
    struct muster__cache_job *writes = NULL, **end = &writes;
    while (list) {
        struct muster__cache_job *job = list;
        list = job->next;
        job->next = NULL;
        job->status = MUSTER_OK;
        if (job->kind != MUSTER__CACHE_LOAD && job->kind != MUSTER__CACHE_READ) {
            *end = job;
            end = &job->next;
            continue;
        }
        int code = read_job(store, job);
        if (code != SQLITE_OK)
            fail_with(store, job, code);
        job->done(job);
    }
    write_jobs(store, writes);
}

/* NULL: it is to end, and nothing waits. */
static struct muster__cache_job *take_jobs(struct muster__cache_store *store)
{
    pthread_mutex_lock(&store->lock);
    while (!store->head && !store->is_closed)
        pthread_cond_wait(&store->wake, &store->lock);
    struct muster__cache_job *list = store->head;
    store->head = NULL;
    store->tail = &store->head;
    pthread_mutex_unlock(&store->lock);
    return list;
}

static void *store_main(void *argument)
{
    struct muster__cache_store *store = argument;
    struct muster__cache_job *list;
    pthread_setname_np(pthread_self(), "muster-caches");
    while ((list = take_jobs(store))) {
        if (store->opened == MUSTER_PENDING)
            open_file(store);
        if (store->opened == MUSTER_OK)
            do_jobs(store, list);
        else
            refuse_jobs(store, list);
    }
    muster__store_file_close(&store->file);
    return NULL;
}

static bool start_thread_locked(struct muster__cache_store *store)
{
    if (!store->is_running)
        store->is_running = muster__thread_start(&store->thread, NULL, store_main, store) == 0;
    return store->is_running;
}

bool muster__cache_store_post(struct muster__cache_store *store, struct muster__cache_job *job)
{
    pthread_mutex_lock(&store->lock);
    bool taken = !store->is_closed && start_thread_locked(store);
    if (taken) {
        job->next = NULL;
        *store->tail = job;
        store->tail = &job->next;
        pthread_cond_signal(&store->wake);
    }
    pthread_mutex_unlock(&store->lock);
    return taken;
}

struct muster__cache_store *muster__cache_store_new(const char *folder, muster__cache_notice_fn *notice,
                                                    void *user_data)
{
    struct muster__cache_store *store = calloc(1, sizeof(*store));
    if (!store || muster__store_file_init(&store->file, &format, folder, "caches.db") != MUSTER_OK) {
        free(store);
        return NULL;
    }
    store->notice = notice;
    store->user_data = user_data;
    store->opened = MUSTER_PENDING;
    store->tail = &store->head;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->wake, NULL);
    return store;
}

void muster__cache_store_close(struct muster__cache_store *store)
{
    if (!store)
        return;
    pthread_mutex_lock(&store->lock);
    bool joins = store->is_running && !store->is_closed;
    store->is_closed = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    if (joins)
        pthread_join(store->thread, NULL);
}

void muster__cache_store_destroy(struct muster__cache_store *store)
{
    if (!store)
        return;
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    muster_error_clean_up(&store->error);
    muster__store_file_clean_up(&store->file);
    free(store);
}
