/* coordinator/store_file.h - a file of SQLite's: how it is made, looked through when it is opened, and set aside when it
 * is damaged; what its statements are given and give.  Internal to store.c, cache_store.c and cli/state_folder.c, which
 * have sqlite3.h from here.
 *
 * Thread: any, one at a time for each connection.  `int` codes are SQLite's.
 *
 * The log is written ahead (WAL) and flushed at each commit, so that what was told done is on the disk.
 */
#ifndef MUSTER_STORE_FILE_H
#define MUSTER_STORE_FILE_H

#include "runtime/base.h"

#include <sqlite3.h>

#define MUSTER__STORE_STATEMENTS_MAX 16

struct muster__store_format {
    const char *schema; /* what makes the tables of a new file, and sets its user_version to `version` */
    int version;
    const char *const *statements;
    size_t statement_count;     /* at most MUSTER__STORE_STATEMENTS_MAX */
    const char *large_question; /* asked of a file that is too large to be looked through; says 'ok'; NULL: nothing is */
    const char *tidy;           /* done at each opening; NULL: nothing */
};

struct muster__store_file {
    const struct muster__store_format *format;
    char *path;
    sqlite3 *database; /* NULL: it is closed */
    sqlite3_stmt *statements[MUSTER__STORE_STATEMENTS_MAX]; /* prepared, as the format lists them */
};

/* Nothing is opened yet.  The format is borrowed until clean_up.  NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__store_file_init(struct muster__store_file *file,
                                                             const struct muster__store_format *format,
                                                             const char *folder, const char *name);
/* Makes it if it is not there, for its owner alone to read.  One that is damaged is set aside, with its log, and a new one
 * begun: *ret_damaged is then the name that the damaged one has, malloc'ed.  UNSUPPORTED: a later version wrote it;
 * SYSTEM, NO_MEMORY; `error` says more.  Whatever it says, close comes after it. */
MUSTER_MUST_CHECK enum muster_status muster__store_file_open(struct muster__store_file *file, char **ret_damaged,
                                                             struct muster_error *error);
/* If it is the last connection, what is in the log goes into the file.  Repeatable. */
void muster__store_file_close(struct muster__store_file *file);
/* Closes it.  Also of one that is all zeros. */
void muster__store_file_clean_up(struct muster__store_file *file);

/* One more connection to a file that is there; the caller's to close, also when this failed. */
int muster__store_file_connect(const char *path, sqlite3 **ret_database);

/* With its write-ahead log, which may hold what is whole.  The new name is malloc'ed.  SYSTEM, NO_MEMORY; `error` says
 * more. */
MUSTER_MUST_CHECK enum muster_status muster__store_file_set_aside(const char *path, char **ret_name,
                                                                  struct muster_error *error);
/* CORRUPT unless the first answer is 'ok', which is what "PRAGMA quick_check(1)" says of a file that holds together. */
int muster__store_file_check(sqlite3 *database, const char *question);
/* The first column of the first row, 0 if there is none. */
int muster__store_file_number(sqlite3 *database, const char *question, int64_t *ret_answer);
/* Up to which number the rows of a damaged file are worth a try: the largest answer, or a guess. */
uint64_t muster__store_file_last_id(sqlite3 *damaged, const char *const *questions, size_t count);

/* The numbers from 1 to `last` that are worth a try: all, or if they are very many those that the table shows. */
struct muster__store_file_ids {
    sqlite3_stmt *next;
    uint64_t last, id;
    unsigned failures; /* one after the other */
};
/* `question` gives the smallest number of the table that is ?1 or more. */
struct muster__store_file_ids muster__store_file_ids_begin(sqlite3 *damaged, const char *question, uint64_t last);
/* False: that was all. */
bool muster__store_file_ids_next(struct muster__store_file_ids *ids);
void muster__store_file_ids_end(struct muster__store_file_ids *ids);
/* A sentence for the log, malloc'ed; `kind` is what was rescued, one of it, and `besides` goes behind what was kept.
 * NULL: out of memory. */
char *muster__store_file_describe_rescue(const struct muster__store_file *file, const char *damaged, const char *kind,
                                         size_t kept, const char *besides, bool some_are_lost);

/* What the disk gave back is not what was written. */
bool muster__store_file_is_damage(int code);
enum muster_status muster__store_file_status(int code);

/* ---- statements: what is bound is borrowed until they end ---- */

static inline void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC); /* NULL: null */
}

static inline void bind_number(sqlite3_stmt *statement, int at, uint64_t number)
{
    (void)sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
}

static inline void bind_bytes(sqlite3_stmt *statement, int at, struct muster_bytes bytes)
{
    (void)sqlite3_bind_blob64(statement, at, bytes.data ? bytes.data : "", bytes.length, SQLITE_STATIC);
}

static inline const char *column_text(sqlite3_stmt *statement, int at)
{
    return (const char *)sqlite3_column_text(statement, at);
}

static inline uint64_t column_number(sqlite3_stmt *statement, int at)
{
    return (uint64_t)sqlite3_column_int64(statement, at);
}

static inline struct muster_bytes column_bytes(sqlite3_stmt *statement, int at)
{
    const void *data = sqlite3_column_blob(statement, at); /* first: it may convert */
    return (struct muster_bytes){data ? data : "", (size_t)sqlite3_column_bytes(statement, at)};
}

/* One that gives no rows, or whose rows were read: it can be used again. */
static inline int end_statement(sqlite3_stmt *statement, int code)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static inline int run_statement(sqlite3_stmt *statement)
{
    return end_statement(statement, sqlite3_step(statement));
}

static inline int execute(sqlite3 *database, const char *text)
{
    return sqlite3_exec(database, text, NULL, NULL, NULL);
}

/* A part of a transaction that is rolled back alone. */
static inline int begin_part(sqlite3 *database)
{
    return execute(database, "SAVEPOINT part");
}

static inline void end_part(sqlite3 *database, int code)
{
    if (code != SQLITE_OK)
        (void)execute(database, "ROLLBACK TO part");
    (void)execute(database, "RELEASE part");
}

#endif
