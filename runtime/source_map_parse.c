/* runtime/source_map_parse.c - source maps from their text.
 *
 * Any thread.  Apart from source_map.c, so that an engine can look places up without a JSON parser. */
#include <string.h>

#include "runtime/source_map.h"

/* Servers may put ")]}'" and a line end in front, so that no browser runs a map as a script. */
static void skip_guard(const char **text, size_t *length)
{
    if (*length < 4 || memcmp(*text, ")]}'", 4) != 0)
        return;
    const char *end = memchr(*text, '\n', *length);
    if (end == NULL)
        return;
    *length -= (size_t)(end + 1 - *text);
    *text = end + 1;
}

enum muster_status muster__source_map_parse(const char *text, size_t length,
                                            struct muster__source_map **ret_map,
                                            struct muster_error *error)
{
    if (text == NULL)
        length = 0;
    else
        skip_guard(&text, &length);
    struct muster_value *document = NULL;
    enum muster_status status = muster_value_from_json(text, length, &document, error);
    if (status != MUSTER_OK)
        return status;
    status = muster__source_map_new(document, ret_map, error);
    muster_value_release(document);
    return status;
}
