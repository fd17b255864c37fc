/* tests/fuzz_source_map.c - libFuzzer target: any bytes are a source map, or a refusal.
 *
 * What is accepted must answer every lookup with a place that makes sense. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/source_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_around(const struct muster__source_map *map)
{
    static const int numbers[] = {-1, 0, 1, 2, 3, 7, 8, 100, 65536, INT32_MAX};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    for (int line = 0; line < COUNT; line++)
        for (int column = 0; column < COUNT; column++) {
            struct muster__source_position position;
            if (!muster__source_map_lookup(map, numbers[line], numbers[column], &position))
                continue;
            MUSTER_CHECK(position.line > 0 && position.column > 0);
            MUSTER_CHECK(strlen(position.file) < SIZE_MAX);
        }
}

static void map_a_stack(const struct muster__source_map *map, const uint8_t *data, size_t size)
{
    char *stack = muster__strndup((const char *)data, size);
    char *mapped = muster__source_map_stack(map, "a", stack);
    free(mapped);
    mapped = muster__source_map_stack(map, "a", "f@a:1:1 a:2:3 aa:1:1 a:1 a:1:x");
    free(mapped);
    free(stack);
}

/* The bytes as a whole map, or as the mappings of one with two sources. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct muster__source_map *map = NULL;
    enum muster_status status;
    if (size > 0 && data[0] == '{') {
        status = muster__source_map_parse((const char *)data, size, &map, NULL);
    } else {
        struct muster_value *document = NULL;
        static const char head[] = "{\"version\":3,\"sources\":[\"a\",\"b\"]}";
        MUSTER_CHECK(muster_value_from_json(head, sizeof head - 1, &document, NULL) == MUSTER_OK);
        struct muster_value *mappings = muster_value_new_string((const char *)data, size);
        MUSTER_CHECK(muster_value_put(document, "mappings", mappings) == MUSTER_OK);
        status = muster__source_map_new(document, &map, NULL);
        muster_value_release(document);
    }
    MUSTER_CHECK((status == MUSTER_OK) == (map != NULL));
    if (map != NULL) {
        look_around(map);
        map_a_stack(map, data, size);
    }
    muster__source_map_destroy(map);
    return 0;
}
