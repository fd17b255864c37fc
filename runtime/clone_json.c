/* runtime/clone_json.c - between messages and JSON text.
 *
 * Any thread.  Writing walks with a stack of its own, as JSON.stringify would, and refuses what that would
 * drop without a word.  Text has no references, so an object that is mentioned again is written again:
 * how much of that there may be is bounded.  Reading is json.c's, by way of a value. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone_internal.h"
#include "runtime/json_internal.h"

#define BYTES_OF_A_NODE 64 /* a repeated text counts as one node for each of these */

struct frame {
    enum muster__clone_step step;
    bool has_some; /* a comma is due */
    bool is_repeated;
    uint32_t next;
    const struct muster_clone_node *node;
};

enum { MET = 1, OPEN = 2 };

struct walk {
    struct muster_clone_value_options options;
    struct muster__json_text json;
    struct frame *frames;
    size_t depth;
    size_t frame_room;
    unsigned char *objects; /* MET and OPEN by number */
    size_t repeated;
    enum muster_status status;
    struct muster_error *error;
};

static bool is_lenient(const struct walk *walk)
{
    return (walk->options.flags & MUSTER_CLONE_LENIENT) != 0;
}

static void describe(const struct walk *walk, struct muster__clone_path *path)
{
    for (size_t i = 0; i < walk->depth; i++)
        muster__clone_path_step(path, walk->frames[i].node, walk->frames[i].step, walk->frames[i].next);
}

static void refuse(struct walk *walk, const char *format, ...) MUSTER_PRINTF(2, 3);

static void refuse(struct walk *walk, const char *format, ...)
{
    char text[100];
    va_list arguments;
    if (walk->status != MUSTER_OK)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct muster__clone_path path = {0};
    describe(walk, &path);
    walk->status = MUSTER_UNSUPPORTED;
    muster_error_set(walk->error, MUSTER_UNSUPPORTED, "clone: %s%s has no counterpart in JSON", text,
                     muster__clone_path_end(&path));
}

/* Inside of an object that was written before, everything is paid for. */
static void pay(struct walk *walk, size_t nodes)
{
    if (walk->depth == 0 || !walk->frames[walk->depth - 1].is_repeated)
        return;
    if (nodes > walk->options.max_repeated - walk->repeated)
        refuse(walk, "an object that is mentioned too often,");
    else
        walk->repeated += nodes;
}

static void open_container(struct walk *walk, const struct muster_clone_node *node, enum muster__clone_step step)
{
    if (!muster__clone_make_room(&walk->frames, walk->depth, &walk->frame_room, sizeof *walk->frames)) {
        walk->json.failed = true;
        return;
    }
    bool is_inside_repeated = walk->depth > 0 && walk->frames[walk->depth - 1].is_repeated;
    bool was_met = (walk->objects[*node->body] & MET) != 0;
    walk->frames[walk->depth++] =
        (struct frame){.step = step, .node = node, .is_repeated = is_inside_repeated || was_met};
    walk->objects[*node->body] = MET | OPEN;
    muster__json_put(&walk->json, step == MUSTER__CLONE_PROPERTIES ? "{" : "[", 1);
}

static void put_string(struct walk *walk, const struct muster_clone_node *node)
{
    struct muster_bytes text = muster_clone_text(node);
    pay(walk, text.length / BYTES_OF_A_NODE);
    if (walk->status == MUSTER_OK)
        muster__json_put_string(&walk->json, text.data, text.length);
}

static void put_date(struct walk *walk, const struct muster_clone_node *node)
{
    char text[MUSTER__CLONE_DATE_ROOM];
    double ms = muster_clone_number(node);
    if ((walk->options.flags & MUSTER_CLONE_DATE_AS_NUMBER) != 0)
        muster__json_put_number(&walk->json, ms);
    else if (muster__clone_date_text(ms, text))
        muster__json_put_string(&walk->json, text, strlen(text));
    else
        muster__json_put_text(&walk->json, "null");
}

static void put_regexp(struct walk *walk, const struct muster_clone_node *node)
{
    struct muster_clone_regexp regexp = {0};
    char flags[9];
    muster_clone_regexp(node, &regexp);
    struct muster_bytes source = muster_clone_text(regexp.source);
    muster__clone_regexp_flags(regexp.flags, flags);
    pay(walk, source.length / BYTES_OF_A_NODE);
    size_t length = source.length + strlen(flags) + 2;
    char *text = walk->status == MUSTER_OK ? malloc(length) : NULL;
    if (text == NULL) {
        walk->json.failed = true;
        return;
    }
    text[0] = '/';
    memcpy(text + 1, source.data, source.length);
    text[source.length + 1] = '/';
    memcpy(text + source.length + 2, flags, strlen(flags));
    muster__json_put_string(&walk->json, text, length);
    free(text);
}

static void put_part(struct walk *walk, const char *before, const struct muster_clone_node *node)
{
    if (node == NULL)
        return;
    muster__json_put_text(&walk->json, before);
    put_string(walk, node);
}

static void put_error(struct walk *walk, const struct muster_clone_node *node)
{
    struct muster_clone_error error = {0};
    muster_clone_error(node, &error);
    if (error.name != NULL) {
        put_part(walk, "{\"name\":", error.name);
    } else {
        const char *name = muster_clone_error_type_name(error.type);
        muster__json_put_text(&walk->json, "{\"name\":");
        muster__json_put_string(&walk->json, name, strlen(name));
    }
    put_part(walk, ",\"message\":", error.message);
    put_part(walk, ",\"stack\":", error.stack);
    muster__json_put(&walk->json, "}", 1);
}

static void put_bytes(struct walk *walk, struct muster_bytes bytes)
{
    pay(walk, bytes.length);
    muster__json_put(&walk->json, "[", 1);
    for (size_t i = 0; i < bytes.length && walk->status == MUSTER_OK && !walk->json.failed; i++) {
        char text[8];
        snprintf(text, sizeof text, i == 0 ? "%u" : ",%u", (unsigned char)bytes.data[i]);
        muster__json_put_text(&walk->json, text);
    }
    muster__json_put(&walk->json, "]", 1);
}

static void put_memory(struct walk *walk, const struct muster_clone_node *node)
{
    struct muster_clone_memory memory;
    struct muster_clone_view view = {0};
    if (muster_clone_memory(node, &memory)) {
        put_bytes(walk, memory.bytes);
        return;
    }
    muster_clone_view(node, &view);
    put_bytes(walk, view.bytes);
}

static void put_primitive(struct walk *walk, const struct muster_clone_node *node)
{
    switch (node->type) {
    case MUSTER_CLONE_BOOLEAN:
        muster__json_put_text(&walk->json, node->boolean ? "true" : "false");
        return;
    case MUSTER_CLONE_NUMBER:
        muster__json_put_number(&walk->json, node->number);
        return;
    case MUSTER_CLONE_STRING:
        put_string(walk, node);
        return;
    case MUSTER_CLONE_BIGINT:
        refuse(walk, "a BigInt");
        return;
    default:
        muster__json_put_text(&walk->json, "null");
    }
}

/* An array's holes are text that no byte pays for. */
static void put_array(struct walk *walk, const struct muster_clone_node *node)
{
    size_t holes = muster_clone_length(node) - muster_clone_entry_count(node);
    if (holes > walk->options.max_repeated - walk->repeated) {
        refuse(walk, "an array with %zu holes", holes);
        return;
    }
    walk->repeated += holes;
    open_container(walk, node, MUSTER__CLONE_ITEMS);
}

static void put_lenient(struct walk *walk, const struct muster_clone_node *node)
{
    switch (node->type) {
    case MUSTER_CLONE_MAP:
        open_container(walk, node, MUSTER__CLONE_PAIRS);
        return;
    case MUSTER_CLONE_SET:
        open_container(walk, node, MUSTER__CLONE_ITEMS);
        return;
    case MUSTER_CLONE_REGEXP:
        put_regexp(walk, node);
        return;
    case MUSTER_CLONE_ERROR:
    case MUSTER_CLONE_DOMEXCEPTION:
        put_error(walk, node);
        return;
    default:
        put_memory(walk, node);
    }
}

static void put_object(struct walk *walk, const struct muster_clone_node *node)
{
    switch (node->type) {
    case MUSTER_CLONE_OBJECT:
        open_container(walk, node, MUSTER__CLONE_PROPERTIES);
        return;
    case MUSTER_CLONE_ARRAY:
        put_array(walk, node);
        return;
    case MUSTER_CLONE_DATE:
        put_date(walk, node);
        return;
    case MUSTER_CLONE_BOXED:
        put_primitive(walk, muster_clone_boxed(node));
        return;
    case MUSTER_CLONE_HOST:
        refuse(walk, "a host object");
        return;
    default:
        if (is_lenient(walk))
            put_lenient(walk, node);
        else
            refuse(walk, "a %s", muster_clone_type_name((enum muster_clone_type)node->type));
    }
}

static void put_node(struct walk *walk, const struct muster_clone_node *node)
{
    pay(walk, 1);
    if (walk->status != MUSTER_OK)
        return;
    if (!muster__clone_is_object(node))
        put_primitive(walk, node);
    else if ((walk->objects[*node->body] & OPEN) != 0)
        refuse(walk, "a cycle, closed by the %s",
               muster_clone_type_name((enum muster_clone_type)node->type));
    else
        put_object(walk, node);
}

/* The innermost container is through. */
static void close_container(struct walk *walk)
{
    const struct frame *frame = &walk->frames[--walk->depth];
    walk->objects[*frame->node->body] = MET;
    muster__json_put(&walk->json, frame->step == MUSTER__CLONE_PROPERTIES ? "}" : "]", 1);
}

static void put_comma(struct walk *walk, struct frame *frame)
{
    if (frame->has_some)
        muster__json_put(&walk->json, ",", 1);
    frame->has_some = true;
}

static void next_item(struct walk *walk, struct frame *frame)
{
    bool is_array = frame->node->type == MUSTER_CLONE_ARRAY;
    size_t length =
        is_array ? muster_clone_length(frame->node) : muster_clone_entry_count(frame->node);
    if (frame->next == length) {
        close_container(walk);
        return;
    }
    uint32_t at = frame->next++;
    put_comma(walk, frame);
    put_node(walk, is_array ? muster_clone_item(frame->node, at) : muster_clone_entry(frame->node, at));
}

/* [[key, value], ...]: two steps for each pair, and one for the end of the last. */
static void next_of_pair(struct walk *walk, struct frame *frame)
{
    size_t at = frame->next / 2;
    bool is_key = frame->next % 2 == 0;
    if (is_key && at > 0)
        muster__json_put(&walk->json, "]", 1);
    if (at == muster_clone_entry_count(frame->node)) {
        close_container(walk);
        return;
    }
    frame->next++;
    if (is_key)
        put_comma(walk, frame);
    muster__json_put(&walk->json, is_key ? "[" : ",", 1);
    put_node(walk, is_key ? muster_clone_entry_key(frame->node, at) : muster_clone_entry(frame->node, at));
}

static void next_property(struct walk *walk, struct frame *frame)
{
    struct muster__clone_properties properties = muster__clone_properties_of(frame->node);
    while (properties.shape != NULL && frame->next < properties.shape->count &&
           properties.values[frame->next].type == MUSTER_CLONE_UNDEFINED)
        frame->next++;
    if (properties.shape == NULL || frame->next == properties.shape->count) {
        close_container(walk);
        return;
    }
    uint32_t at = frame->next++;
    const struct muster__clone_key *key = &properties.shape->keys[at];
    put_comma(walk, frame);
    pay(walk, key->length / BYTES_OF_A_NODE);
    if (walk->status != MUSTER_OK)
        return;
    muster__json_put_string(&walk->json, key->text, key->length);
    muster__json_put(&walk->json, ":", 1);
    put_node(walk, &properties.values[at]);
}

static void fill(struct walk *walk)
{
    struct frame *frame = &walk->frames[walk->depth - 1];
    switch (frame->step) {
    case MUSTER__CLONE_ITEMS:
        next_item(walk, frame);
        return;
    case MUSTER__CLONE_PAIRS:
        next_of_pair(walk, frame);
        return;
    case MUSTER__CLONE_PROPERTIES:
        next_property(walk, frame);
        return;
    }
}

static enum muster_status finish(struct walk *walk, char **ret_text)
{
    char *text = muster__json_finish(&walk->json);
    if (walk->status != MUSTER_OK) {
        free(text);
        return walk->status;
    }
    if (text == NULL) {
        muster_error_set(walk->error, MUSTER_NO_MEMORY, "clone: out of memory while writing JSON");
        return MUSTER_NO_MEMORY;
    }
    *ret_text = text;
    return MUSTER_OK;
}

enum muster_status muster_clone_to_json(const struct muster_clone_document *document,
                                        const struct muster_clone_node *node,
                                        const struct muster_clone_value_options *options,
                                        char **ret_text, struct muster_error *error)
{
    if (document == NULL)
        return MUSTER_INVALID_ARGUMENT;
    struct walk walk = {.options = muster__clone_value_options(options),
                        .error = error,
                        .json = {.escapes_surrogates = true}};
    node = node == NULL ? &document->root : node;
    walk.objects = calloc((size_t)document->object_count + 1, 1);
    if (walk.objects == NULL)
        walk.json.failed = true;
    else if (node->type == MUSTER_CLONE_UNDEFINED)
        refuse(&walk, "undefined");
    else
        put_node(&walk, node);
    while (walk.depth > 0 && walk.status == MUSTER_OK && !walk.json.failed)
        fill(&walk);
    free(walk.objects);
    free(walk.frames);
    return finish(&walk, ret_text);
}

enum muster_status muster_clone_from_json(const char *text, size_t length,
                                          const struct muster_clone_writer_options *options,
                                          struct muster_clone **ret_clone, struct muster_error *error)
{
    struct muster_value *value = NULL;
    enum muster_status status = muster_value_from_json(text, length, &value, error);
    if (status == MUSTER_OK)
        status = muster_clone_from_value(value, options, ret_clone, error);
    muster_value_release(value);
    return status;
}
