/* runtime/source_map.c - decodes the mappings of a version-3 source map and looks places up.
 *
 * Any thread; constant once made.  Decoding is one pass over text that may be hostile: every number is
 * bounded before it is used, a source that does not exist refuses the map, and memory is at most eight
 * times the text, and 16 MiB.  The decoded form is one array of segments, sorted, with the start of each line. */
#include "runtime/source_map.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"

#define UNMAPPED UINT32_MAX /* a segment that says: this came from no source */
#define MOST_NUMBER INT32_MAX
#define MOST_FOR_ROOTS ((size_t)16 << 20) /* bytes that repeat sourceRoot, one copy a source */

struct segment {
    uint32_t column; /* of the bundle, from 0 */
    uint32_t source; /* or UNMAPPED */
    uint32_t source_line;
    uint32_t source_column;
};

struct muster__source_map {
    char **files;
    uint32_t file_count;
    struct segment *segments;
    uint32_t segment_count;
    uint32_t *line_starts; /* line_count + 1 of them */
    uint32_t line_count;
};

void muster__source_map_destroy(struct muster__source_map *map)
{
    if (map == NULL)
        return;
    for (uint32_t i = 0; i < map->file_count; i++)
        free(map->files[i]);
    free(map->files);
    free(map->segments);
    free(map->line_starts);
    free(map);
}

/* ---- decoding ---- */

struct decoder {
    const char *at;
    const char *end;
    /* The running numbers; all but the column go on from line to line. */
    int64_t column;
    int64_t source;
    int64_t source_line;
    int64_t source_column;
    int64_t name;
    const char *problem;
};

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool refuse(struct decoder *decoder, const char *problem)
{
    decoder->problem = problem;
    return false;
}

/* One base-64 number of five-bit groups, lowest first, its sign in the lowest bit. */
static bool decode_number(struct decoder *decoder, int64_t *ret_number)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift <= 30; shift += 5) {
        int digit = decoder->at < decoder->end ? digit_of(*decoder->at) : -1;
        if (digit < 0)
            return refuse(decoder, "a number in its mappings is cut short");
        decoder->at++;
        bits |= (uint64_t)(digit & 31) << shift;
        if ((digit & 32) == 0) {
            int64_t size = (int64_t)(bits >> 1);
            *ret_number = (bits & 1) != 0 ? -size : size;
            return true;
        }
    }
    return refuse(decoder, "a number in its mappings is too large");
}

/* Adds the next number to a running one, which stays in range. */
static bool advance(struct decoder *decoder, int64_t *running)
{
    int64_t change = 0;
    if (!decode_number(decoder, &change))
        return false;
    *running += change;
    if (*running < 0 || *running >= MOST_NUMBER)
        return refuse(decoder, "its mappings point outside of any file");
    return true;
}

static bool at_segment_end(const struct decoder *decoder)
{
    return decoder->at == decoder->end || *decoder->at == ',' || *decoder->at == ';';
}

/* A segment has one number, four, or five. */
static bool decode_segment(struct decoder *decoder, uint32_t file_count, struct segment *segment)
{
    if (!advance(decoder, &decoder->column))
        return false;
    segment->column = (uint32_t)decoder->column;
    segment->source = UNMAPPED;
    segment->source_line = segment->source_column = 0;
    if (at_segment_end(decoder))
        return true;
    if (!advance(decoder, &decoder->source) || !advance(decoder, &decoder->source_line) ||
        !advance(decoder, &decoder->source_column))
        return false;
    if (decoder->source >= file_count)
        return refuse(decoder, "its mappings name a source that it does not list");
    segment->source = (uint32_t)decoder->source;
    segment->source_line = (uint32_t)decoder->source_line;
    segment->source_column = (uint32_t)decoder->source_column;
    if (!at_segment_end(decoder) && !advance(decoder, &decoder->name))
        return false;
    return at_segment_end(decoder) || refuse(decoder, "a segment of its mappings is too long");
}

static int by_column(const void *a, const void *b)
{
    uint32_t x = ((const struct segment *)a)->column;
    uint32_t y = ((const struct segment *)b)->column;
    return x < y ? -1 : x > y;
}

/* Columns mostly come in order, but nothing makes them. */
static void end_line(struct muster__source_map *map, bool in_order)
{
    uint32_t start = map->line_starts[map->line_count];
    if (!in_order)
        qsort(map->segments + start, map->segment_count - start, sizeof *map->segments, by_column);
    map->line_starts[++map->line_count] = map->segment_count;
}

static bool decode(struct muster__source_map *map, struct decoder *decoder)
{
    bool in_order = true;
    int64_t previous = 0;
    while (decoder->at < decoder->end) {
        if (*decoder->at == ';') {
            end_line(map, in_order);
            decoder->column = previous = 0;
            in_order = true;
            decoder->at++;
        } else if (*decoder->at == ',') {
            decoder->at++;
        } else {
            struct segment *segment = &map->segments[map->segment_count];
            if (!decode_segment(decoder, map->file_count, segment))
                return false;
            map->segment_count++;
            in_order = in_order && decoder->column >= previous;
            previous = decoder->column;
        }
    }
    end_line(map, in_order);
    return true;
}

/* Counted first, so that both arrays are made once, exactly as large as needed. */
static bool make_arrays(struct muster__source_map *map, struct muster_bytes mappings)
{
    size_t lines = 1;
    size_t segments = 0;
    bool in_segment = false;
    for (size_t i = 0; i < mappings.length; i++) {
        bool separates = mappings.data[i] == ';' || mappings.data[i] == ',';
        lines += mappings.data[i] == ';';
        segments += !separates && !in_segment;
        in_segment = !separates;
    }
    map->segments = malloc((segments + 1) * sizeof *map->segments);
    map->line_starts = calloc(lines + 1, sizeof *map->line_starts);
    return map->segments != NULL && map->line_starts != NULL;
}

/* ---- the document ---- */

static const char *file_name(const struct muster_value *source)
{
    /* null is allowed: a source without a name */
    return muster_value_type(source) == MUSTER_TYPE_STRING ? muster_value_bytes(source).data
                                                           : "<unknown>";
}

static bool make_files(struct muster__source_map *map, const struct muster_value *sources,
                       struct muster_bytes root)
{
    size_t count = muster_value_count(sources);
    map->files = calloc(count + 1, sizeof *map->files);
    if (map->files == NULL)
        return false;
    bool needs_slash = root.length > 0 && root.data[root.length - 1] != '/';
    for (size_t i = 0; i < count; i++) {
        map->files[i] = muster__format("%s%s%s", root.data, needs_slash ? "/" : "",
                                       file_name(muster_value_at(sources, i)));
        if (map->files[i] == NULL)
            return false;
        map->file_count++;
    }
    return true;
}

static bool roots_are_too_large(const struct muster_value *document)
{
    size_t root = muster_value_bytes(muster_value_get(document, "sourceRoot")).length;
    size_t count = muster_value_count(muster_value_get(document, "sources"));
    return root > 0 && count > MOST_FOR_ROOTS / root;
}

static const char *problem_of(const struct muster_value *document)
{
    if (muster_value_type(document) != MUSTER_TYPE_OBJECT)
        return "it is no object";
    if (muster_value_number(muster_value_get(document, "version")) != 3)
        return "its version is not 3";
    if (muster_value_type(muster_value_get(document, "sources")) != MUSTER_TYPE_ARRAY)
        return "it lists no sources";
    const struct muster_value *mappings = muster_value_get(document, "mappings");
    if (muster_value_type(mappings) != MUSTER_TYPE_STRING)
        return "it has no mappings";
    if (muster_value_bytes(mappings).length >= INT32_MAX || roots_are_too_large(document))
        return "it is too large";
    return NULL;
}

static enum muster_status fail(struct muster_error *error, enum muster_status status,
                               const char *problem)
{
    muster_error_set(error, status, "the source map cannot be used: %s", problem);
    return status;
}

enum muster_status muster__source_map_new(const struct muster_value *document,
                                          struct muster__source_map **ret_map,
                                          struct muster_error *error)
{
    if (muster_value_get(document, "sections") != NULL)
        return fail(error, MUSTER_UNSUPPORTED, "it is made of sections");
    const char *problem = problem_of(document);
    if (problem != NULL)
        return fail(error, MUSTER_SYNTAX_ERROR, problem);
    struct muster_bytes mappings = muster_value_bytes(muster_value_get(document, "mappings"));
    struct muster__source_map *map = calloc(1, sizeof *map);
    if (map == NULL ||
        !make_files(map, muster_value_get(document, "sources"),
                    muster_value_bytes(muster_value_get(document, "sourceRoot"))) ||
        !make_arrays(map, mappings)) {
        muster__source_map_destroy(map);
        return fail(error, MUSTER_NO_MEMORY, "out of memory");
    }
    struct decoder decoder = {.at = mappings.data, .end = mappings.data + mappings.length};
    if (!decode(map, &decoder)) {
        muster__source_map_destroy(map);
        return fail(error, MUSTER_SYNTAX_ERROR, decoder.problem);
    }
    *ret_map = map;
    return MUSTER_OK;
}

/* ---- looking up ---- */

static const struct segment *find_segment(const struct muster__source_map *map, uint32_t first,
                                          uint32_t end, int column)
{
    if (first == end)
        return NULL;
    if (column <= 0)
        return &map->segments[first];
    uint32_t wanted = (uint32_t)column - 1;
    if (map->segments[first].column > wanted)
        return NULL;
    while (end - first > 1) { /* the one we look for is in [first, end) */
        uint32_t middle = first + (end - first) / 2;
        if (map->segments[middle].column <= wanted)
            first = middle;
        else
            end = middle;
    }
    return &map->segments[first];
}

bool muster__source_map_lookup(const struct muster__source_map *map, int line, int column,
                               struct muster__source_position *ret_position)
{
    if (map == NULL || line < 1 || (uint32_t)line > map->line_count)
        return false;
    const struct segment *segment =
        find_segment(map, map->line_starts[line - 1], map->line_starts[line], column);
    if (segment == NULL || segment->source == UNMAPPED)
        return false;
    *ret_position = (struct muster__source_position){
        .file = map->files[segment->source],
        .line = (int)segment->source_line + 1,
        .column = (int)segment->source_column + 1,
    };
    return true;
}

/* ":12" at `text`: the number, and where it ends; NULL: none, or too large to be a place. */
static const char *read_place(const char *text, int *ret_number)
{
    if (*text != ':' || text[1] < '0' || text[1] > '9')
        return NULL;
    int number = 0;
    for (text++; *text >= '0' && *text <= '9'; text++) {
        if (number > (INT_MAX - 9) / 10)
            return NULL;
        number = number * 10 + (*text - '0');
    }
    *ret_number = number;
    return text;
}

/* What a "URL:LINE:COLUMN" whose URL ended at `text` becomes, and how much of the text it takes. */
static char *map_place(const struct muster__source_map *map, const char *text,
                       const char **ret_end)
{
    int line = 0;
    int column = 0;
    const char *end = read_place(text, &line);
    end = end == NULL ? NULL : read_place(end, &column);
    struct muster__source_position position;
    if (end == NULL || !muster__source_map_lookup(map, line, column, &position))
        return NULL;
    char *place = muster__format("%s:%d:%d", position.file, position.line, position.column);
    if (place != NULL)
        *ret_end = end;
    return place;
}

struct text {
    char *data;
    size_t length;
    size_t size;
};

static bool append(struct text *text, const char *data, size_t length)
{
    if (length >= text->size - text->length) {
        size_t size = text->size * 2 + length + 1;
        char *grown = realloc(text->data, size);
        if (grown == NULL)
            return false;
        text->data = grown;
        text->size = size;
    }
    memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
    return true;
}

char *muster__source_map_stack(const struct muster__source_map *map, const char *url,
                               const char *stack)
{
    if (stack == NULL || map == NULL || url == NULL || *url == '\0')
        return muster__strdup(stack);
    struct text mapped = {0};
    bool fits = append(&mapped, "", 0);
    size_t url_length = strlen(url);
    for (const char *found; fits && (found = strstr(stack, url)) != NULL;) {
        const char *end = found + url_length;
        char *place = map_place(map, end, &end);
        fits = append(&mapped, stack, (size_t)(found - stack)) &&
               (place != NULL ? append(&mapped, place, strlen(place))
                              : append(&mapped, url, url_length));
        free(place);
        stack = end;
    }
    if (!fits || !append(&mapped, stack, strlen(stack))) {
        free(mapped.data);
        return NULL;
    }
    return mapped.data;
}

void muster__source_map_error(const struct muster__source_map *map, const char *url,
                              struct muster_error *error)
{
    if (map == NULL)
        return;
    struct muster__source_position position;
    bool is_ours = error->file == NULL || (url != NULL && strcmp(error->file, url) == 0);
    if (is_ours && muster__source_map_lookup(map, error->line, error->column, &position)) {
        char *file = muster__strdup(position.file);
        if (file != NULL) {
            free(error->file);
            error->file = file;
            error->line = position.line;
            error->column = position.column;
        }
    }
    char *stack = muster__source_map_stack(map, url, error->stack);
    if (stack != NULL) {
        free(error->stack);
        error->stack = stack;
    }
}
