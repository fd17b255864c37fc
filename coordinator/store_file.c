/* coordinator/store_file.c - see store_file.h. */
#include "coordinator/store_file.h"

#include "runtime/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is damaged in a larger file is found when it is read. */
#define CHECKED_BYTES_MAX ((off_t)64 << 20)
/* How many numbers are tried when a damaged file does not say how many there are. */
#define TRIED_BLINDLY 100000
/* Beyond so many not all numbers are tried: some bytes of damage make a number that nobody could count to. */
#define TRIED_ONE_BY_ONE 1000000
/* Another program may have a look at the file. */
#define BUSY_TIMEOUT_MS 5000

static enum muster_status cannot(struct muster_error *error, const char *path, const char *what, const char *why)
{
    muster_error_set(error, MUSTER_SYSTEM, "%s %s: %s", path, what, why);
    return MUSTER_SYSTEM;
}

static enum muster_status no_memory(struct muster_error *error, const char *path)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "%s cannot be opened: out of memory", path);
    return MUSTER_NO_MEMORY;
}

bool muster__store_file_is_damage(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB || (code & 0xff) == SQLITE_FORMAT;
}

enum muster_status muster__store_file_status(int code)
{
    return code == SQLITE_OK || code == SQLITE_DONE ? MUSTER_OK : code == SQLITE_NOMEM ? MUSTER_NO_MEMORY : MUSTER_SYSTEM;
}

/* ---- questions ---- */

static int ask(sqlite3 *database, const char *question, sqlite3_stmt **ret_statement)
{
    int code = sqlite3_prepare_v2(database, question, -1, ret_statement, NULL);
    return code == SQLITE_OK ? sqlite3_step(*ret_statement) : code;
}

int muster__store_file_number(sqlite3 *database, const char *question, int64_t *ret_answer)
{
    sqlite3_stmt *statement = NULL;
    int code = ask(database, question, &statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        *ret_answer = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

uint64_t muster__store_file_last_id(sqlite3 *damaged, const char *const *questions, size_t count)
{
    int64_t last = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t answer = 0;
        (void)muster__store_file_number(damaged, questions[i], &answer);
        last = answer > last ? answer : last;
    }
    return last > 0 ? (uint64_t)last : TRIED_BLINDLY;
}

struct muster__store_file_ids muster__store_file_ids_begin(sqlite3 *damaged, const char *question, uint64_t last)
{
    struct muster__store_file_ids ids = {.last = last};
    if (last > TRIED_ONE_BY_ONE)
        (void)sqlite3_prepare_v2(damaged, question, -1, &ids.next, NULL);
    return ids;
}

/* How far to go on from where the table cannot be read, which may be a page of near or of very far numbers. */
static uint64_t stride(unsigned failures)
{
    return failures < 1000 ? 1 : UINT64_C(1) << ((failures - 1000) / 100 + 1);
}

bool muster__store_file_ids_next(struct muster__store_file_ids *ids)
{
    uint64_t from = ids->id + 1;
    if (ids->id >= ids->last)
        return false;
    if (ids->last <= TRIED_ONE_BY_ONE) {
        ids->id = from;
        return true;
    }
    bind_number(ids->next, 1, from);
    int code = sqlite3_step(ids->next);
    bool is_end = code == SQLITE_DONE || (code == SQLITE_ROW && sqlite3_column_type(ids->next, 0) != SQLITE_INTEGER);
    uint64_t found = code == SQLITE_ROW && !is_end ? column_number(ids->next, 0) : 0;
    (void)end_statement(ids->next, code);
    if (is_end)
        return false;
    ids->failures = found < from ? ids->failures + 1 : 0;
    uint64_t step = found < from ? stride(ids->failures) : found - ids->id;
    ids->id = step < ids->last - ids->id ? ids->id + step : ids->last;
    return true;
}

void muster__store_file_ids_end(struct muster__store_file_ids *ids)
{
    sqlite3_finalize(ids->next);
}

int muster__store_file_check(sqlite3 *database, const char *question)
{
    sqlite3_stmt *statement = NULL;
    int code = ask(database, question, &statement);
    if (code == SQLITE_ROW) {
        const char *answer = column_text(statement, 0);
        code = answer && strcmp(answer, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    }
    sqlite3_finalize(statement);
    return code;
}

static int check_whole(const struct muster__store_file *file)
{
    struct stat info;
    bool is_large = stat(file->path, &info) == 0 && info.st_size > CHECKED_BYTES_MAX;
    const char *question = is_large ? file->format->large_question : "PRAGMA quick_check(1)";
    return question ? muster__store_file_check(file->database, question) : SQLITE_OK;
}

/* ---- opening ---- */

enum muster_status muster__store_file_init(struct muster__store_file *file, const struct muster__store_format *format,
                                           const char *folder, const char *name)
{
    MUSTER_CHECK(format->statement_count <= MUSTER__STORE_STATEMENTS_MAX);
    *file = (struct muster__store_file){.format = format, .path = muster__format("%s/%s", folder, name)};
    return file->path ? MUSTER_OK : MUSTER_NO_MEMORY;
}

/* So that nobody else reads it; what SQLite puts beside it has the same mode. */
static enum muster_status make_file(const char *path, struct muster_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot(error, path, "cannot be written", strerror(errno));
    close(fd);
    return MUSTER_OK;
}

int muster__store_file_connect(const char *path, sqlite3 **ret_database)
{
    int code = sqlite3_open_v2(path, ret_database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    return code == SQLITE_OK ? sqlite3_busy_timeout(*ret_database, BUSY_TIMEOUT_MS) : code;
}

/* Of a file of a later version nothing but its number is looked at. */
static int begin(struct muster__store_file *file, int64_t *ret_version)
{
    const struct muster__store_format *format = file->format;
    int code = muster__store_file_connect(file->path, &file->database);
    if (code == SQLITE_OK)
        code = execute(file->database, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    if (code == SQLITE_OK)
        code = muster__store_file_number(file->database, "PRAGMA user_version", ret_version);
    if (code != SQLITE_OK || *ret_version > format->version)
        return code;
    code = *ret_version == 0 ? execute(file->database, format->schema) : check_whole(file);
    for (size_t i = 0; i < format->statement_count && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(file->database, format->statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &file->statements[i], NULL);
    return code == SQLITE_OK && format->tidy ? execute(file->database, format->tidy) : code;
}

enum muster_status muster__store_file_set_aside(const char *path, char **ret_name, struct muster_error *error)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char *name = NULL;
    for (unsigned i = 1; !name; i++) {
        name = muster__format("%s.damaged-%u", path, i);
        if (!name)
            return no_memory(error, path);
        if (access(name, F_OK) == 0) {
            free(name);
            name = NULL;
        }
    }
    enum muster_status status = MUSTER_OK;
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings) && status == MUSTER_OK; i++) {
        char *from = muster__format("%s%s", path, endings[i]), *to = muster__format("%s%s", name, endings[i]);
        if (!from || !to)
            status = no_memory(error, path);
        else if (rename(from, to) && (i == 0 || errno != ENOENT))
            status = cannot(error, path, "is damaged and cannot be set aside", strerror(errno));
        free(from);
        free(to);
    }
    if (status == MUSTER_OK)
        *ret_name = name;
    else
        free(name);
    return status;
}

static enum muster_status begin_again(struct muster__store_file *file, char **ret_damaged, int *ret_code,
                                      struct muster_error *error)
{
    int64_t version = 0;
    muster__store_file_close(file);
    enum muster_status status = muster__store_file_set_aside(file->path, ret_damaged, error);
    if (status == MUSTER_OK)
        status = make_file(file->path, error);
    if (status == MUSTER_OK)
        *ret_code = begin(file, &version);
    return status;
}

enum muster_status muster__store_file_open(struct muster__store_file *file, char **ret_damaged,
                                           struct muster_error *error)
{
    int64_t version = 0;
    char *damaged = NULL;
    enum muster_status status = make_file(file->path, error);
    if (status != MUSTER_OK)
        return status;
    int code = begin(file, &version);
    if (code == SQLITE_OK && version > file->format->version) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "%s was written by a later version of muster", file->path);
        return MUSTER_UNSUPPORTED;
    }
    /* ERROR: its tables are not those of its schema. */
    if (muster__store_file_is_damage(code) || code == SQLITE_ERROR)
        status = begin_again(file, &damaged, &code, error);
    if (status == MUSTER_OK && code == SQLITE_NOMEM)
        status = no_memory(error, file->path);
    else if (status == MUSTER_OK && code != SQLITE_OK)
        status = cannot(error, file->path, "cannot be opened", sqlite3_errmsg(file->database));
    if (status == MUSTER_OK)
        *ret_damaged = damaged;
    else
        free(damaged);
    return status;
}

void muster__store_file_close(struct muster__store_file *file)
{
    for (size_t i = 0; i < MUSTER__STORE_STATEMENTS_MAX; i++) {
        sqlite3_finalize(file->statements[i]);
        file->statements[i] = NULL;
    }
    sqlite3_close(file->database);
    file->database = NULL;
}

void muster__store_file_clean_up(struct muster__store_file *file)
{
    muster__store_file_close(file);
    free(file->path);
    *file = (struct muster__store_file){0};
}

/* ---- what was damaged ---- */

char *muster__store_file_describe_rescue(const struct muster__store_file *file, const char *damaged, const char *kind,
                                         size_t kept, const char *besides, bool some_are_lost)
{
    return muster__format("%s is damaged and was set aside as %s; %zu %s%s could be kept%s, %s", file->path, damaged, kept,
                          kind, kept == 1 ? "" : "s", besides,
                          some_are_lost || !kept ? "others are lost" : "as far as one can tell all of them");
}
