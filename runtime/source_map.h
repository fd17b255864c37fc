/* runtime/source_map.h - from a place in a bundle to the place in the author's file.  Internal.
 *
 * Thread: any; a map is constant once it is made.  It copies what it needs of the text.
 *
 * Maps are bytes from outside: what is not a well-formed version-3 map is refused with a sentence, and
 * no lookup in an accepted map can go wrong.  Maps with "sections" are refused as UNSUPPORTED. */
#ifndef MUSTER_SOURCE_MAP_H
#define MUSTER_SOURCE_MAP_H

#include "runtime/base.h"
#include "runtime/value.h"

struct muster__source_map;

struct muster__source_position {
    const char *file; /* sourceRoot and source; borrowed from the map */
    int line;         /* from 1 */
    int column;       /* from 1, in UTF-16 units as engines count */
};

/* From the text of a map (source_map_parse.c; needs JSON).  SYNTAX_ERROR, UNSUPPORTED or NO_MEMORY
 * fill `error` (may be NULL). */
MUSTER_MUST_CHECK enum muster_status
muster__source_map_parse(const char *text, size_t length, struct muster__source_map **ret_map,
                         struct muster_error *error);
/* From a map that is a value already. */
MUSTER_MUST_CHECK enum muster_status
muster__source_map_new(const struct muster_value *document, struct muster__source_map **ret_map,
                       struct muster_error *error);
void muster__source_map_destroy(struct muster__source_map *map); /* NULL: no-op */

/* Where line and column (from 1; column 0: unknown, the line's first mapping) came from.  False: that
 * place is mapped to nothing, or `map` is NULL; *ret_position is untouched. */
bool muster__source_map_lookup(const struct muster__source_map *map, int line, int column,
                               struct muster__source_position *ret_position);

/* A copy of a stack (or any text) in which every "URL:LINE:COLUMN" of that script is replaced by the
 * author's place; what is not mapped stays.  The caller frees.  NULL: out of memory, or no text. */
char *muster__source_map_stack(const struct muster__source_map *map, const char *url,
                               const char *stack);
/* Maps the place and the stack of an error in the script `url`.  Without memory they stay. */
void muster__source_map_error(const struct muster__source_map *map, const char *url,
                              struct muster_error *error);

#endif
