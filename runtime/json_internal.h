/* runtime/json_internal.h - JSON text as it grows, for json.c and clone_json.c.  Internal. */
#ifndef MUSTER_JSON_INTERNAL_H
#define MUSTER_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed: empty. */
struct muster__json_text {
    char *text; /* free() */
    size_t length;
    size_t size;
    bool failed;             /* out of memory; everything after that does nothing */
    bool escapes_surrogates; /* a lone one, as three bytes, is written \ud800; else it becomes U+FFFD */
};

void muster__json_put(struct muster__json_text *json, const char *text, size_t length);
void muster__json_put_text(struct muster__json_text *json, const char *text);
/* With quotes; what is not UTF-8 is repaired. */
void muster__json_put_string(struct muster__json_text *json, const char *data, size_t length);
/* null, if it is not finite. */
void muster__json_put_number(struct muster__json_text *json, double number);
/* The terminated text, which is the caller's; NULL: out of memory. */
char *muster__json_finish(struct muster__json_text *json);

#endif
