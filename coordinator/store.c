/* coordinator/store.c - see store.h.
 *
 * Two connections: that of `file` is the store's thread's alone, `reader` is used under a lock by whoever reads.
 *
 * A change that fails is rolled back alone; the others of its transaction go on.  When the transaction itself fails,
 * each of them is told so. */
#include "coordinator/store.h"

#include "coordinator/store_change.h"
#include "coordinator/store_file.h"
#include "coordinator/store_hash.h"
#include "runtime/check.h"
#include "runtime/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHANGES_A_TRANSACTION 512

static const char schema[] =
    "BEGIN;"
    "CREATE TABLE registrations (id INTEGER PRIMARY KEY AUTOINCREMENT, storage_key TEXT NOT NULL, scope TEXT NOT NULL,"
    " script_url TEXT NOT NULL, module INTEGER NOT NULL, via INTEGER NOT NULL, checked INTEGER NOT NULL, settings TEXT,"
    " routes TEXT, event_types TEXT, preload TEXT, bytes INTEGER NOT NULL, UNIQUE (storage_key, scope));"
    "CREATE TABLE contents (hash BLOB PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE scripts (registration INTEGER NOT NULL, ordinal INTEGER NOT NULL, url TEXT NOT NULL, hash BLOB NOT NULL,"
    " content_type TEXT, source_map TEXT, module INTEGER NOT NULL, checked INTEGER NOT NULL,"
    " PRIMARY KEY (registration, ordinal)) WITHOUT ROWID;"
    "CREATE INDEX scripts_hash ON scripts (hash);"
    "CREATE TABLE syncs (registration INTEGER NOT NULL, periodic INTEGER NOT NULL, tag TEXT NOT NULL,"
    " interval INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL,"
    " PRIMARY KEY (registration, periodic, tag)) WITHOUT ROWID;"
    "PRAGMA user_version = 1;"
    "COMMIT";

#define STATEMENT_LIST(X)                                                                                              \
    X(PUT, "INSERT INTO registrations (storage_key, scope, script_url, module, via, checked, settings, routes,"       \
           " event_types, preload, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"                       \
           " ON CONFLICT (storage_key, scope) DO UPDATE SET script_url = ?3, module = ?4, via = ?5, checked = ?6,"     \
           " settings = ?7, routes = ?8, event_types = ?9, preload = ?10, bytes = iif(?12, bytes, ?11)")               \
    X(FIND, "SELECT id FROM registrations WHERE storage_key = ?1 AND scope = ?2")                                      \
    X(REMOVE, "DELETE FROM registrations WHERE id = ?1")                                                               \
    X(HASHES, "SELECT DISTINCT hash FROM scripts WHERE registration = ?1")                                             \
    X(REMOVE_SCRIPTS, "DELETE FROM scripts WHERE registration = ?1")                                                   \
    X(REMOVE_SYNCS, "DELETE FROM syncs WHERE registration = ?1")                                                       \
    X(REMOVE_CONTENT, "DELETE FROM contents WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM scripts WHERE hash = ?1)")   \
    X(PUT_CONTENT, "INSERT INTO contents (hash, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING")                         \
    X(PUT_SCRIPT, "INSERT INTO scripts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                       \
    X(PUT_SYNC, "INSERT INTO syncs VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET interval = ?4, due = ?5," \
                " attempts = ?6")                                                                                      \
    X(REMOVE_SYNC, "DELETE FROM syncs WHERE registration = ?1 AND periodic = ?2 AND tag = ?3")

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
    .large_question = "SELECT 'ok', count(length(preload)) FROM registrations NOT INDEXED", /* reads all of its pages */
};

static const char each_text[] = "SELECT storage_key, scope, script_url, module, via, checked, settings, routes,"
                                " event_types, preload, bytes FROM registrations";
#define SCRIPT_COLUMNS                                                                                                 \
    "SELECT scripts.url, content_type, source_map, scripts.module, scripts.checked, text, scripts.hash FROM scripts"   \
    " LEFT JOIN contents ON contents.hash = scripts.hash"
static const char script_text[] = SCRIPT_COLUMNS " JOIN registrations ON registrations.id = registration"
                                                 " WHERE storage_key = ?1 AND scope = ?2 ORDER BY ordinal";
static const char script_of_id_text[] = SCRIPT_COLUMNS " WHERE registration = ?1 ORDER BY ordinal";
static const char sync_text[] = "SELECT storage_key, scope, tag, periodic, interval, due, attempts FROM syncs"
                                " JOIN registrations ON id = registration";

struct muster__store {
    char *folder;
    int lock_fd;
    struct muster__store_file file; /* Thread: the store's, once it runs */
    struct {
        pthread_mutex_t lock;
        sqlite3 *database;
    } reader;
    pthread_t thread;
    bool running;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        struct muster__store_change *head, **tail;
        bool quit;
    } queue;
};

static enum muster_status cannot(struct muster_error *error, const char *path, const char *what, const char *why)
{
    muster_error_set(error, MUSTER_SYSTEM, "%s %s: %s", path, what, why);
    return MUSTER_SYSTEM;
}

/* ---- writing one change ---- */

/* *ret_id: 0: there is none. */
static int find_registration(struct muster__store *store, const char *storage_key, const char *scope, uint64_t *ret_id)
{
    sqlite3_stmt *statement = store->file.statements[STATEMENT_FIND];
    bind_text(statement, 1, storage_key);
    bind_text(statement, 2, scope);
    int code = sqlite3_step(statement);
    *ret_id = code == SQLITE_ROW ? column_number(statement, 0) : 0;
    return end_statement(statement, code);
}

/* Of the scripts of one registration; the caller frees it. */
static int list_hashes(struct muster__store *store, uint64_t id, uint8_t **ret_hashes, size_t *ret_count)
{
    sqlite3_stmt *statement = store->file.statements[STATEMENT_HASHES];
    uint8_t *hashes = NULL;
    size_t count = 0;
    int code;
    bind_number(statement, 1, id);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        uint8_t *more = realloc(hashes, (count + 1) * MUSTER__STORE_HASH_LENGTH);
        if (!more || sqlite3_column_bytes(statement, 0) != MUSTER__STORE_HASH_LENGTH) {
            hashes = more ? more : hashes;
            code = more ? SQLITE_CORRUPT : SQLITE_NOMEM;
            break;
        }
        hashes = more;
        memcpy(hashes + count++ * MUSTER__STORE_HASH_LENGTH, sqlite3_column_blob(statement, 0), MUSTER__STORE_HASH_LENGTH);
    }
    *ret_hashes = hashes;
    *ret_count = count;
    return end_statement(statement, code);
}

static int run_with_id(struct muster__store *store, enum statement which, uint64_t id)
{
    bind_number(store->file.statements[which], 1, id);
    return run_statement(store->file.statements[which]);
}

static struct muster_bytes hash_bytes(const uint8_t *hash)
{
    return (struct muster_bytes){(const char *)hash, MUSTER__STORE_HASH_LENGTH};
}

static int remove_contents(struct muster__store *store, const uint8_t *hashes, size_t count)
{
    int code = SQLITE_OK;
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        sqlite3_stmt *statement = store->file.statements[STATEMENT_REMOVE_CONTENT];
        bind_bytes(statement, 1, hash_bytes(hashes + i * MUSTER__STORE_HASH_LENGTH));
        code = run_statement(statement);
    }
    return code;
}

static int put_script(struct muster__store *store, uint64_t id, size_t ordinal, const struct muster__stored_script *script)
{
    uint8_t hash[MUSTER__STORE_HASH_LENGTH];
    sqlite3_stmt *content = store->file.statements[STATEMENT_PUT_CONTENT];
    sqlite3_stmt *row = store->file.statements[STATEMENT_PUT_SCRIPT];
    muster__store_hash(script->text, hash);
    bind_bytes(content, 1, hash_bytes(hash));
    bind_bytes(content, 2, script->text);
    int code = run_statement(content);
    if (code != SQLITE_OK)
        return code;
    bind_number(row, 1, id);
    bind_number(row, 2, ordinal);
    bind_text(row, 3, script->url);
    bind_bytes(row, 4, hash_bytes(hash));
    bind_text(row, 5, script->content_type);
    bind_text(row, 6, script->source_map);
    bind_number(row, 7, script->is_module);
    bind_number(row, 8, script->checked_us);
    return run_statement(row);
}

/* Its scripts are replaced; what no other has of the old ones goes. */
static int put_scripts(struct muster__store *store, uint64_t id, const struct muster__stored_registration *registration)
{
    uint8_t *hashes;
    size_t count;
    int code = list_hashes(store, id, &hashes, &count);
    if (code == SQLITE_OK)
        code = run_with_id(store, STATEMENT_REMOVE_SCRIPTS, id);
    for (size_t i = 0; registration && i < registration->script_count && code == SQLITE_OK; i++)
        code = put_script(store, id, i, &registration->scripts[i]);
    if (code == SQLITE_OK)
        code = remove_contents(store, hashes, count);
    free(hashes);
    return code;
}

static uint64_t bytes_of(const struct muster__stored_registration *registration)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < registration->script_count; i++)
        bytes += registration->scripts[i].text.length;
    return bytes;
}

static int put_registration(struct muster__store *store, const struct muster__stored_registration *registration)
{
    sqlite3_stmt *statement = store->file.statements[STATEMENT_PUT];
    uint64_t id = 0;
    bind_text(statement, 1, registration->storage_key);
    bind_text(statement, 2, registration->scope);
    bind_text(statement, 3, registration->script_url);
    bind_number(statement, 4, registration->is_module);
    bind_number(statement, 5, (uint64_t)registration->via);
    bind_number(statement, 6, registration->checked_us);
    bind_text(statement, 7, registration->settings);
    bind_text(statement, 8, registration->routes);
    bind_text(statement, 9, registration->event_types);
    bind_text(statement, 10, registration->preload);
    bind_number(statement, 11, bytes_of(registration));
    bind_number(statement, 12, registration->keeps_scripts);
    int code = run_statement(statement);
    if (code == SQLITE_OK)
        code = find_registration(store, registration->storage_key, registration->scope, &id);
    return code == SQLITE_OK && !registration->keeps_scripts ? put_scripts(store, id, registration) : code;
}

static int remove_registration(struct muster__store *store, uint64_t id)
{
    int code = put_scripts(store, id, NULL);
    if (code == SQLITE_OK)
        code = run_with_id(store, STATEMENT_REMOVE_SYNCS, id);
    return code == SQLITE_OK ? run_with_id(store, STATEMENT_REMOVE, id) : code;
}

static int put_sync(struct muster__store *store, uint64_t id, const struct muster__stored_sync *sync)
{
    sqlite3_stmt *statement = store->file.statements[STATEMENT_PUT_SYNC];
    bind_number(statement, 1, id);
    bind_number(statement, 2, sync->is_periodic);
    bind_text(statement, 3, sync->tag);
    bind_number(statement, 4, sync->interval_us);
    bind_number(statement, 5, sync->due_us);
    bind_number(statement, 6, sync->attempts);
    return run_statement(statement);
}

static int remove_sync(struct muster__store *store, uint64_t id, const struct muster__stored_sync *sync)
{
    sqlite3_stmt *statement = store->file.statements[STATEMENT_REMOVE_SYNC];
    bind_number(statement, 1, id);
    bind_number(statement, 2, sync->is_periodic);
    bind_text(statement, 3, sync->tag);
    return run_statement(statement);
}

static int apply(struct muster__store *store, struct muster__store_change *change)
{
    bool is_sync = change->kind == STORE_PUT_SYNC || change->kind == STORE_REMOVE_SYNC;
    uint64_t id = 0;
    if (change->kind == STORE_PUT)
        return put_registration(store, &change->registration);
    int code = find_registration(store, is_sync ? change->sync.storage_key : change->registration.storage_key,
                                 is_sync ? change->sync.scope : change->registration.scope, &id);
    if (code != SQLITE_OK)
        return code;
    if (!id)
        change->status = change->kind == STORE_PUT_SYNC ? MUSTER_NOT_FOUND : MUSTER_OK;
    else if (change->kind == STORE_REMOVE)
        code = remove_registration(store, id);
    else
        code = (change->kind == STORE_PUT_SYNC ? put_sync : remove_sync)(store, id, &change->sync);
    return code;
}

/* ---- the store's thread ---- */

/* `why` becomes what SQLite says if it fails. */
static void apply_alone(struct muster__store *store, struct muster__store_change *change, char *why, size_t size)
{
    int code = begin_part(store->file.database);
    change->status = MUSTER_OK;
    if (code == SQLITE_OK)
        code = apply(store, change);
    if (code != SQLITE_OK) {
        change->status = muster__store_file_status(code);
        snprintf(why, size, "%s", sqlite3_errmsg(store->file.database)); /* now: the rollback says that all is well */
    }
    end_part(store->file.database, code);
}

static void tell(struct muster__store *store, struct muster__store_change *change, const char *why)
{
    struct muster_error error = {0};
    if (change->status != MUSTER_OK)
        muster_error_set(&error, change->status, "%s: %s", store->file.path,
                         change->status == MUSTER_SYSTEM ? why : muster_status_sentence(change->status));
    if (change->done)
        change->done(change->user_data, change->status, change->status == MUSTER_OK ? NULL : &error);
    muster_error_clean_up(&error);
}

static void write_changes(struct muster__store *store, struct muster__store_change *list)
{
    char why[256] = "";
    int code = execute(store->file.database, "BEGIN IMMEDIATE");
    for (struct muster__store_change *at = list; at && code == SQLITE_OK; at = at->next)
        apply_alone(store, at, why, sizeof(why));
    if (code == SQLITE_OK)
        code = execute(store->file.database, "COMMIT");
    if (code != SQLITE_OK) {
        snprintf(why, sizeof(why), "%s", sqlite3_errmsg(store->file.database));
        if (!sqlite3_get_autocommit(store->file.database))
            (void)execute(store->file.database, "ROLLBACK");
    }
    while (list) {
        struct muster__store_change *change = list;
        list = change->next;
        if (code != SQLITE_OK)
            change->status = muster__store_file_status(code);
        tell(store, change, why);
        free(change);
    }
}

/* NULL: it is to end, and nothing waits. */
static struct muster__store_change *take_changes(struct muster__store *store)
{
    pthread_mutex_lock(&store->queue.lock);
    while (!store->queue.head && !store->queue.quit)
        pthread_cond_wait(&store->queue.wake, &store->queue.lock);
    struct muster__store_change *list = store->queue.head, **at = &list;
    for (int i = 0; *at && i < CHANGES_A_TRANSACTION; i++)
        at = &(*at)->next;
    store->queue.head = *at;
    *at = NULL;
    if (!store->queue.head)
        store->queue.tail = &store->queue.head;
    pthread_mutex_unlock(&store->queue.lock);
    return list;
}

static void *store_main(void *argument)
{
    struct muster__store *store = argument;
    struct muster__store_change *list;
    pthread_setname_np(pthread_self(), "muster-store");
    while ((list = take_changes(store)))
        write_changes(store, list);
    return NULL;
}

static enum muster_status post(struct muster__store *store, struct muster__store_change *change,
                               muster__store_done_fn *done, void *user_data)
{
    if (!change)
        return MUSTER_NO_MEMORY;
    change->done = done;
    change->user_data = user_data;
    pthread_mutex_lock(&store->queue.lock);
    *store->queue.tail = change;
    store->queue.tail = &change->next;
    pthread_cond_signal(&store->queue.wake);
    pthread_mutex_unlock(&store->queue.lock);
    return MUSTER_OK;
}

enum muster_status muster__store_put(struct muster__store *store, const struct muster__stored_registration *registration,
                                     muster__store_done_fn *done, void *user_data)
{
    return post(store, muster__store_change_new(STORE_PUT, registration, NULL), done, user_data);
}

enum muster_status muster__store_remove(struct muster__store *store, const char *storage_key, const char *scope,
                                        muster__store_done_fn *done, void *user_data)
{
    const struct muster__stored_registration key = {.storage_key = storage_key, .scope = scope};
    return post(store, muster__store_change_new(STORE_REMOVE, &key, NULL), done, user_data);
}

enum muster_status muster__store_put_sync(struct muster__store *store, const struct muster__stored_sync *sync,
                                          muster__store_done_fn *done, void *user_data)
{
    return post(store, muster__store_change_new(STORE_PUT_SYNC, NULL, sync), done, user_data);
}

enum muster_status muster__store_remove_sync(struct muster__store *store, const struct muster__stored_sync *sync,
                                             muster__store_done_fn *done, void *user_data)
{
    return post(store, muster__store_change_new(STORE_REMOVE_SYNC, NULL, sync), done, user_data);
}

/* ---- reading ---- */

static enum muster_status read_failed(struct muster__store *store, sqlite3 *database, struct muster_error *error)
{
    return cannot(error, store->file.path, "cannot be read", sqlite3_errmsg(database));
}

static void read_row(sqlite3_stmt *row, struct muster__stored_registration *to)
{
    *to = (struct muster__stored_registration){
        .storage_key = column_text(row, 0),
        .scope = column_text(row, 1),
        .script_url = column_text(row, 2),
        .is_module = sqlite3_column_int(row, 3),
        .via = sqlite3_column_int(row, 4),
        .checked_us = column_number(row, 5),
        .settings = column_text(row, 6),
        .routes = column_text(row, 7),
        .event_types = column_text(row, 8),
        .preload = column_text(row, 9),
        .bytes = column_number(row, 10),
    };
}

enum muster_status muster__store_each(struct muster__store *store, muster__store_see_fn *see, void *user_data,
                                      struct muster_error *error)
{
    sqlite3_stmt *row = NULL;
    char text[sizeof(each_text) + 32];
    struct muster__stored_registration registration;
    enum muster_status status = MUSTER_OK;
    snprintf(text, sizeof(text), "%s ORDER BY id", each_text);
    pthread_mutex_lock(&store->reader.lock);
    int code = sqlite3_prepare_v2(store->reader.database, text, -1, &row, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        read_row(row, &registration);
        if (registration.storage_key && registration.scope && registration.script_url)
            see(&registration, user_data);
        code = SQLITE_OK;
    }
    if (code != SQLITE_DONE)
        status = read_failed(store, store->reader.database, error);
    sqlite3_finalize(row);
    pthread_mutex_unlock(&store->reader.lock);
    return status;
}

enum muster_status muster__store_each_sync(struct muster__store *store, muster__store_see_sync_fn *see, void *user_data,
                                           struct muster_error *error)
{
    sqlite3_stmt *row = NULL;
    enum muster_status status = MUSTER_OK;
    pthread_mutex_lock(&store->reader.lock);
    int code = sqlite3_prepare_v2(store->reader.database, sync_text, -1, &row, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        const struct muster__stored_sync sync = {
            .storage_key = column_text(row, 0),
            .scope = column_text(row, 1),
            .tag = column_text(row, 2),
            .is_periodic = sqlite3_column_int(row, 3),
            .interval_us = column_number(row, 4),
            .due_us = column_number(row, 5),
            .attempts = (unsigned)sqlite3_column_int(row, 6),
        };
        if (sync.storage_key && sync.scope && sync.tag)
            see(&sync, user_data);
        code = SQLITE_OK;
    }
    if (code != SQLITE_DONE)
        status = read_failed(store, store->reader.database, error);
    sqlite3_finalize(row);
    pthread_mutex_unlock(&store->reader.lock);
    return status;
}

/* False: its text is not what it was when it was written. */
static bool read_script(sqlite3_stmt *row, struct muster__stored_script *to)
{
    uint8_t hash[MUSTER__STORE_HASH_LENGTH];
    *to = (struct muster__stored_script){
        .url = column_text(row, 0),
        .content_type = column_text(row, 1),
        .source_map = column_text(row, 2),
        .is_module = sqlite3_column_int(row, 3),
        .checked_us = column_number(row, 4),
        .text = column_bytes(row, 5),
    };
    if (sqlite3_column_type(row, 5) == SQLITE_NULL || sqlite3_column_bytes(row, 6) != sizeof(hash) || !to->url)
        return false;
    muster__store_hash(to->text, hash);
    return memcmp(sqlite3_column_blob(row, 6), hash, sizeof(hash)) == 0;
}

/* Takes the statement. */
static enum muster_status each_script(sqlite3_stmt *row, muster__store_see_script_fn *see, void *user_data)
{
    struct muster__stored_script script;
    size_t count = 0;
    bool whole = true;
    int code;
    while (whole && (code = sqlite3_step(row)) == SQLITE_ROW) {
        whole = read_script(row, &script);
        if (whole)
            see(&script, user_data);
        count++;
    }
    sqlite3_finalize(row);
    if (!whole || muster__store_file_is_damage(code))
        return MUSTER_LOAD_FAILED;
    return code != SQLITE_DONE ? muster__store_file_status(code) : count ? MUSTER_OK : MUSTER_NOT_FOUND;
}

enum muster_status muster__store_each_script(struct muster__store *store, const char *storage_key, const char *scope,
                                             muster__store_see_script_fn *see, void *user_data, struct muster_error *error)
{
    sqlite3_stmt *row = NULL;
    pthread_mutex_lock(&store->reader.lock);
    int code = sqlite3_prepare_v2(store->reader.database, script_text, -1, &row, NULL);
    enum muster_status status = muster__store_file_status(code);
    if (status == MUSTER_OK) {
        bind_text(row, 1, storage_key);
        bind_text(row, 2, scope);
        status = each_script(row, see, user_data);
    }
    if (status == MUSTER_LOAD_FAILED)
        muster_error_set(error, status, "the stored script of %s is damaged", scope);
    else if (status != MUSTER_OK)
        muster_error_set(error, status, "the stored script of %s: %s", scope,
                         status == MUSTER_NOT_FOUND ? "there is none" : sqlite3_errmsg(store->reader.database));
    pthread_mutex_unlock(&store->reader.lock);
    return status;
}

/* ---- one file ---- */

static enum muster_status take_lock(struct muster__store *store, struct muster_error *error)
{
    char *name = muster__format("%s/registrations.lock", store->folder);
    if (!name)
        return MUSTER_NO_MEMORY;
    store->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum muster_status status = MUSTER_OK;
    if (store->lock_fd < 0) {
        status = cannot(error, name, "cannot be written", strerror(errno));
    } else if (flock(store->lock_fd, LOCK_EX | LOCK_NB)) {
        status = MUSTER_EXISTS;
        muster_error_set(error, status, "state folder %s is in use by another process", store->folder);
    }
    free(name);
    return status;
}

/* ---- what was damaged ---- */

struct rescue {
    struct muster__store *store;
    sqlite3 *damaged;
    sqlite3_stmt *row, *sync; /* of a registration, by its number */
    struct muster__store_change *scripts, **scripts_end; /* copies, of the one at hand */
    size_t script_count;
    size_t kept, bare, lost;
    bool no_memory;
};

static void keep_script(const struct muster__stored_script *script, void *user_data)
{
    struct rescue *rescue = user_data;
    const struct muster__stored_registration one = {.scripts = script, .script_count = 1};
    struct muster__store_change *copy = muster__store_change_new(STORE_PUT, &one, NULL);
    if (!copy) {
        rescue->no_memory = true;
        return;
    }
    *rescue->scripts_end = copy;
    rescue->scripts_end = &copy->next;
    rescue->script_count++;
}

static void drop_scripts(struct rescue *rescue)
{
    while (rescue->scripts) {
        struct muster__store_change *copy = rescue->scripts;
        rescue->scripts = copy->next;
        free(copy);
    }
    rescue->scripts_end = &rescue->scripts;
    rescue->script_count = 0;
}

/* Its scripts, if all of them are whole: half of them would be no version that ever was. */
static struct muster__stored_script *rescue_scripts(struct rescue *rescue, uint64_t id)
{
    struct muster__stored_script *scripts = NULL;
    sqlite3_stmt *row = NULL;
    size_t count = 0;
    drop_scripts(rescue);
    int code = sqlite3_prepare_v2(rescue->damaged, script_of_id_text, -1, &row, NULL);
    if (code != SQLITE_OK)
        return NULL;
    bind_number(row, 1, id);
    if (each_script(row, keep_script, rescue) == MUSTER_OK && !rescue->no_memory)
        scripts = calloc(rescue->script_count, sizeof(*scripts));
    if (!scripts)
        drop_scripts(rescue);
    for (struct muster__store_change *at = rescue->scripts; at; at = at->next)
        scripts[count++] = at->registration.scripts[0];
    return scripts;
}

static void rescue_syncs(struct rescue *rescue, uint64_t old_id, const struct muster__stored_registration *registration)
{
    uint64_t id = 0;
    if (find_registration(rescue->store, registration->storage_key, registration->scope, &id) != SQLITE_OK || !id)
        return;
    bind_number(rescue->sync, 1, old_id);
    while (sqlite3_step(rescue->sync) == SQLITE_ROW) {
        const struct muster__stored_sync sync = {
            .is_periodic = sqlite3_column_int(rescue->sync, 0),
            .tag = column_text(rescue->sync, 1),
            .interval_us = column_number(rescue->sync, 2),
            .due_us = column_number(rescue->sync, 3),
            .attempts = (unsigned)sqlite3_column_int(rescue->sync, 4),
        };
        if (sync.tag)
            (void)put_sync(rescue->store, id, &sync);
    }
    sqlite3_reset(rescue->sync);
}

static int rescue_row(struct rescue *rescue, uint64_t id)
{
    struct muster__stored_registration registration;
    read_row(rescue->row, &registration);
    if (!registration.storage_key || !registration.scope || !registration.script_url)
        return SQLITE_CORRUPT;
    struct muster__stored_script *scripts = rescue_scripts(rescue, id);
    registration.scripts = scripts;
    registration.script_count = rescue->script_count;
    int code = begin_part(rescue->store->file.database);
    if (code == SQLITE_OK)
        code = put_registration(rescue->store, &registration);
    end_part(rescue->store->file.database, code);
    if (code == SQLITE_OK) {
        rescue->kept++;
        rescue->bare += !scripts;
        rescue_syncs(rescue, id, &registration);
    }
    free(scripts);
    return code;
}

/* One after the other: a page that cannot be read costs what lies on it. */
static void rescue_id(struct rescue *rescue, uint64_t id)
{
    bind_number(rescue->row, 1, id);
    int code = sqlite3_step(rescue->row);
    if (code == SQLITE_ROW)
        code = rescue_row(rescue, id);
    rescue->lost += code != SQLITE_OK && code != SQLITE_DONE;
    sqlite3_reset(rescue->row);
}

/* False: nothing in it can be read. */
static bool open_damaged(struct rescue *rescue, const char *path)
{
    static const char sync_of_id_text[] = "SELECT periodic, tag, interval, due, attempts FROM syncs WHERE registration = ?1";
    char text[sizeof(each_text) + 32];
    int code = muster__store_file_connect(path, &rescue->damaged);
    snprintf(text, sizeof(text), "%s WHERE id = ?1", each_text);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(rescue->damaged, text, -1, &rescue->row, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(rescue->damaged, sync_of_id_text, -1, &rescue->sync, NULL);
    return code == SQLITE_OK;
}

static void rescue_all(struct rescue *rescue, const char *path)
{
    static const char *const questions[] = {"SELECT seq FROM sqlite_sequence WHERE name = 'registrations'",
                                            "SELECT max(id) FROM registrations", "SELECT max(registration) FROM scripts"};
    drop_scripts(rescue);
    if (open_damaged(rescue, path) && execute(rescue->store->file.database, "BEGIN IMMEDIATE") == SQLITE_OK) {
        uint64_t last = muster__store_file_last_id(rescue->damaged, questions, sizeof(questions) / sizeof(*questions));
        struct muster__store_file_ids ids = muster__store_file_ids_begin(
            rescue->damaged, "SELECT min(id) FROM registrations WHERE id >= ?1", last);
        while (muster__store_file_ids_next(&ids))
            rescue_id(rescue, ids.id);
        muster__store_file_ids_end(&ids);
        if (execute(rescue->store->file.database, "COMMIT") != SQLITE_OK)
            rescue->kept = 0;
    }
    drop_scripts(rescue);
    sqlite3_finalize(rescue->row);
    sqlite3_finalize(rescue->sync);
    sqlite3_close(rescue->damaged);
}

/* The sentence for the log; NULL: out of memory. */
static char *rescue(struct muster__store *store, const char *damaged)
{
    struct rescue rescue = {.store = store};
    rescue_all(&rescue, damaged);
    return muster__store_file_describe_rescue(&store->file, damaged, "registration", rescue.kept,
                                              rescue.bare ? ", some without their scripts, which are fetched again" : "",
                                              rescue.lost > 0);
}

/* ---- opening ---- */

static enum muster_status open_connections(struct muster__store *store, char **ret_notice, struct muster_error *error)
{
    char *damaged = NULL;
    enum muster_status status = muster__store_file_open(&store->file, &damaged, error);
    if (damaged)
        *ret_notice = rescue(store, damaged);
    free(damaged);
    if (status == MUSTER_OK && muster__store_file_connect(store->file.path, &store->reader.database) != SQLITE_OK)
        status = cannot(error, store->file.path, "cannot be opened", "a second time");
    return status;
}

static enum muster_status start_thread(struct muster__store *store, struct muster_error *error)
{
    int failed = muster__thread_start(&store->thread, NULL, store_main, store);
    store->running = !failed;
    return failed ? cannot(error, store->file.path, "has no thread", strerror(failed)) : MUSTER_OK;
}

static enum muster_status prepare(struct muster__store *store, const char *folder, struct muster_error *error)
{
    store->lock_fd = -1;
    pthread_mutex_init(&store->reader.lock, NULL);
    pthread_mutex_init(&store->queue.lock, NULL);
    pthread_cond_init(&store->queue.wake, NULL);
    store->queue.tail = &store->queue.head;
    store->folder = muster__strdup(folder);
    if (!store->folder || muster__store_file_init(&store->file, &format, folder, "registrations.db") != MUSTER_OK)
        return MUSTER_NO_MEMORY;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return cannot(error, folder, "cannot be made", strerror(errno));
    return take_lock(store, error);
}

enum muster_status muster__store_open(const char *folder, struct muster__store **ret_store, char **ret_notice,
                                      struct muster_error *error)
{
    struct muster__store *store = calloc(1, sizeof(*store));
    char *notice = NULL;
    if (!store)
        return MUSTER_NO_MEMORY;
    enum muster_status status = prepare(store, folder, error);
    if (status == MUSTER_OK)
        status = open_connections(store, &notice, error);
    if (status == MUSTER_OK)
        status = start_thread(store, error);
    if (status != MUSTER_OK) {
        muster__store_close(store);
        free(notice);
        return status;
    }
    *ret_store = store;
    *ret_notice = notice;
    return MUSTER_OK;
}

static void stop_thread(struct muster__store *store)
{
    pthread_mutex_lock(&store->queue.lock);
    store->queue.quit = true;
    pthread_cond_signal(&store->queue.wake);
    pthread_mutex_unlock(&store->queue.lock);
    pthread_join(store->thread, NULL);
}

void muster__store_close(struct muster__store *store)
{
    if (!store)
        return;
    if (store->running)
        stop_thread(store);
    sqlite3_close(store->reader.database);
    muster__store_file_clean_up(&store->file); /* the last connection */
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->reader.lock);
    pthread_mutex_destroy(&store->queue.lock);
    pthread_cond_destroy(&store->queue.wake);
    free(store->folder);
    free(store);
}
