/* cli/state_folder.c - see state_folder.h. */
#include "cli/state_folder.h"

#include "coordinator/store_file.h"
#include "runtime/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA_VERSION 1

static const char schema[] = "BEGIN;"
                             "CREATE TABLE registrations ("
                             " scope TEXT PRIMARY KEY, script TEXT NOT NULL, engine TEXT NOT NULL,"
                             " first_served INTEGER NOT NULL, last_served INTEGER NOT NULL) WITHOUT ROWID;"
                             "PRAGMA user_version = 1;"
                             "COMMIT";

static enum muster_status no_memory(struct muster_error *error)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while opening the state folder");
    return MUSTER_NO_MEMORY;
}

static enum muster_status cannot(struct muster_error *error, const char *path, const char *what, int problem)
{
    muster_error_set(error, MUSTER_SYSTEM, "state folder %s %s: %s", path, what, strerror(problem));
    return MUSTER_SYSTEM;
}

/* ---- the lock ---- */

static enum muster_status tell_owner(int fd, const char *path, struct muster_error *error)
{
    char owner[32] = "";
    ssize_t length = pread(fd, owner, sizeof(owner) - 1, 0);
    size_t digits = length > 0 ? strspn(owner, "0123456789") : 0;
    muster_error_set(error, MUSTER_EXISTS, "state folder %s is in use by %s%.*s", path,
                     digits ? "process " : "another process", (int)digits, owner);
    return MUSTER_EXISTS;
}

static enum muster_status take_lock(struct muster__state_folder *folder, struct muster_error *error)
{
    char *name = muster__format("%s/lock", folder->path);
    if (!name)
        return no_memory(error);
    folder->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int problem = errno;
    free(name);
    if (folder->lock_fd < 0)
        return cannot(error, folder->path, "cannot be written", problem);
    if (flock(folder->lock_fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK)
            return tell_owner(folder->lock_fd, folder->path, error);
        return cannot(error, folder->path, "cannot be locked", errno);
    }
    char owner[32];
    int length = snprintf(owner, sizeof(owner), "%ld\n", (long)getpid());
    if (ftruncate(folder->lock_fd, 0) || pwrite(folder->lock_fd, owner, (size_t)length, 0) != length)
        return cannot(error, folder->path, "cannot be written", errno);
    return MUSTER_OK;
}

/* ---- the database ---- */

static enum muster_status database_failed(struct muster__state_folder *folder, struct muster_error *error)
{
    muster_error_set(error, MUSTER_SYSTEM, "%s/muster.db: %s", folder->path,
                     folder->database ? sqlite3_errmsg(folder->database) : "out of memory");
    return MUSTER_SYSTEM;
}

static int prepare_database(sqlite3 *database, int64_t *ret_version)
{
    sqlite3_busy_timeout(database, 2000);
    int code = execute(database, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    if (code == SQLITE_OK)
        code = muster__store_file_check(database, "PRAGMA quick_check(1)");
    if (code == SQLITE_OK)
        code = muster__store_file_number(database, "PRAGMA user_version", ret_version);
    if (code == SQLITE_OK && *ret_version == 0) {
        code = execute(database, schema);
        *ret_version = SCHEMA_VERSION;
    }
    return code;
}

static int open_database(struct muster__state_folder *folder, const char *name, int64_t *ret_version)
{
    int code = sqlite3_open_v2(name, &folder->database,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (code == SQLITE_OK)
        code = prepare_database(folder->database, ret_version);
    return code & 0xff; /* without the extension of the code */
}

static enum muster_status set_aside(struct muster__state_folder *folder, const char *name,
                                    struct muster_error *error)
{
    char *aside = NULL;
    sqlite3_close(folder->database);
    folder->database = NULL;
    enum muster_status status = muster__store_file_set_aside(name, &aside, error);
    if (status != MUSTER_OK)
        return status;
    folder->notice = muster__format("%s is damaged: it was set aside as %s, and a new one was begun", name, aside);
    free(aside);
    return folder->notice ? MUSTER_OK : no_memory(error);
}

static enum muster_status open_or_replace(struct muster__state_folder *folder, struct muster_error *error)
{
    int64_t version = 0;
    char *name = muster__format("%s/muster.db", folder->path);
    if (!name)
        return no_memory(error);
    enum muster_status status = MUSTER_OK;
    int code = open_database(folder, name, &version);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
        status = set_aside(folder, name, error);
        if (status == MUSTER_OK)
            code = open_database(folder, name, &version);
    }
    free(name);
    if (status != MUSTER_OK)
        return status;
    if (code != SQLITE_OK)
        return database_failed(folder, error);
    if (version == SCHEMA_VERSION)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_UNSUPPORTED,
                     "state folder %s was written by another version of muster (its schema is %lld, ours is %d)",
                     folder->path, (long long)version, SCHEMA_VERSION);
    return MUSTER_UNSUPPORTED;
}

/* ---- from outside ---- */

enum muster_status muster__state_folder_open(const char *path, struct muster__state_folder *ret_folder,
                                             struct muster_error *error)
{
    struct muster__state_folder folder = {.is_open = true, .lock_fd = -1, .path = muster__strdup(path)};
    struct stat info;
    enum muster_status status = folder.path ? MUSTER_OK : no_memory(error);
    if (status == MUSTER_OK && mkdir(path, 0700) && errno != EEXIST)
        status = cannot(error, path, "cannot be made", errno);
    if (status == MUSTER_OK && (stat(path, &info) || !S_ISDIR(info.st_mode)))
        status = cannot(error, path, "cannot be used", ENOTDIR);
    if (status == MUSTER_OK)
        status = take_lock(&folder, error);
    if (status == MUSTER_OK)
        status = open_or_replace(&folder, error);
    if (status == MUSTER_OK)
        *ret_folder = folder;
    else
        muster__state_folder_close(&folder);
    return status;
}

void muster__state_folder_close(struct muster__state_folder *folder)
{
    if (!folder->is_open)
        return;
    sqlite3_close(folder->database);
    if (folder->lock_fd >= 0)
        close(folder->lock_fd); /* and with it the lock */
    free(folder->path);
    free(folder->notice);
    *folder = (struct muster__state_folder){0};
}

enum muster_status muster__state_folder_record(struct muster__state_folder *folder, const char *scope,
                                               const char *script, const char *engine, int64_t unix_ms,
                                               struct muster_error *error)
{
    static const char upsert[] =
        "INSERT INTO registrations VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (scope) DO UPDATE"
        " SET script = ?2, engine = ?3, last_served = ?4";
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(folder->database, upsert, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        bind_text(statement, 1, scope);
        bind_text(statement, 2, script);
        bind_text(statement, 3, engine ? engine : "");
        bind_number(statement, 4, (uint64_t)unix_ms);
        code = sqlite3_step(statement);
    }
    enum muster_status status = code == SQLITE_DONE ? MUSTER_OK : database_failed(folder, error);
    sqlite3_finalize(statement);
    return status;
}

static const char *text_of(sqlite3_stmt *statement, int column)
{
    const char *text = column_text(statement, column);
    return text ? text : "";
}

enum muster_status muster__state_folder_each(struct muster__state_folder *folder,
                                             muster__state_folder_entry_fn *entry, void *user_data,
                                             struct muster_error *error)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(folder->database,
                                  "SELECT scope, script, engine, first_served, last_served"
                                  " FROM registrations ORDER BY scope",
                                  -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
            break;
        const struct muster__state_folder_entry row = {
            .scope = text_of(statement, 0),
            .script = text_of(statement, 1),
            .engine = text_of(statement, 2),
            .first_served_ms = sqlite3_column_int64(statement, 3),
            .last_served_ms = sqlite3_column_int64(statement, 4),
        };
        entry(&row, user_data);
    }
    enum muster_status status = code == SQLITE_DONE ? MUSTER_OK : database_failed(folder, error);
    sqlite3_finalize(statement);
    return status;
}
