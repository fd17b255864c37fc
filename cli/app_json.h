/* cli/app_json.h - JSON as a tree in which every value knows its line.
 *
 * For configuration that people write: a mistake is told with its place.  The tree is plain data; it is
 * read by one thread, the one that made it. */
#ifndef MUSTER_CLI_APP_JSON_H
#define MUSTER_CLI_APP_JSON_H

#include "runtime/base.h"

enum muster__app_json_kind {
    MUSTER__APP_JSON_NULL,
    MUSTER__APP_JSON_BOOLEAN,
    MUSTER__APP_JSON_INTEGER,
    MUSTER__APP_JSON_NUMBER, /* with a fraction or an exponent */
    MUSTER__APP_JSON_STRING,
    MUSTER__APP_JSON_ARRAY,
    MUSTER__APP_JSON_OBJECT,
};

struct muster__app_json {
    enum muster__app_json_kind kind;
    int line;      /* from 1, of the value; in an object: of its key */
    char *key;     /* in an object; else NULL */
    char *text;    /* of a string; else NULL */
    bool boolean;
    int64_t integer;
    struct muster__app_json *items; /* of an array or object, as they are written */
    size_t count;
};

/* Fills *ret_json, which is zeroed on failure.  SYNTAX_ERROR: `error` says "NAME:LINE:COLUMN: why". */
MUSTER_MUST_CHECK enum muster_status muster__app_json_parse(const char *name, const char *text, size_t length,
                                                            struct muster__app_json *ret_json,
                                                            struct muster_error *error);
/* NULL: the object has no such key. */
const struct muster__app_json *muster__app_json_get(const struct muster__app_json *object, const char *key);
/* "a string", for messages. */
const char *muster__app_json_kind_name(enum muster__app_json_kind kind);
void muster__app_json_clean_up(struct muster__app_json *json); /* cleaning twice is fine */

#endif
