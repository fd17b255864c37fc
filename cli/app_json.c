/* cli/app_json.c - jansson validates and parses; a walk over the same text finds the lines.
 *
 * The walk may trust the text: jansson has accepted it, keys are unique and come in the order in which
 * they are written.  So it only counts line ends while it steps from value to value beside the tree. */
#include "cli/app_json.h"

#include "runtime/check.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tree ---- */

static bool build(struct muster__app_json *to, const json_t *from);

static bool build_items(struct muster__app_json *to, const json_t *from)
{
    size_t count = json_is_array(from) ? json_array_size(from) : json_object_size(from);
    to->items = calloc(count ? count : 1, sizeof(*to->items));
    if (!to->items)
        return false;
    if (json_is_array(from)) {
        for (; to->count < count; to->count++)
            if (!build(&to->items[to->count], json_array_get(from, to->count))) {
                to->count++; /* what there is of it is cleaned up */
                return false;
            }
        return true;
    }
    json_t *object = (json_t *)from; /* jansson's iterators want it so; nothing is changed */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        struct muster__app_json *item = &to->items[to->count++];
        item->key = muster__strdup(json_object_iter_key(at));
        if (!item->key || !build(item, json_object_iter_value(at)))
            return false;
    }
    return true;
}

static bool build(struct muster__app_json *to, const json_t *from)
{
    switch (json_typeof(from)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        to->kind = json_is_array(from) ? MUSTER__APP_JSON_ARRAY : MUSTER__APP_JSON_OBJECT;
        return build_items(to, from);
    case JSON_STRING:
        to->kind = MUSTER__APP_JSON_STRING;
        to->text = muster__strdup(json_string_value(from));
        return to->text != NULL;
    case JSON_INTEGER:
        to->kind = MUSTER__APP_JSON_INTEGER;
        to->integer = json_integer_value(from);
        return true;
    case JSON_REAL:
        to->kind = MUSTER__APP_JSON_NUMBER;
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        to->kind = MUSTER__APP_JSON_BOOLEAN;
        to->boolean = json_is_true(from);
        return true;
    default:
        to->kind = MUSTER__APP_JSON_NULL;
        return true;
    }
}

/* ---- the lines ---- */

struct walk {
    const char *at;
    const char *end;
    int line;
};

/* Up to the next character that means something: spaces, commas and colons do not. */
static char skip(struct walk *walk)
{
    for (; walk->at < walk->end && strchr(" \t\r\n,:", *walk->at); walk->at++)
        walk->line += *walk->at == '\n';
    return walk->at < walk->end ? *walk->at : '\0';
}

static void skip_string(struct walk *walk)
{
    for (walk->at++; walk->at < walk->end && *walk->at != '"'; walk->at++)
        walk->at += *walk->at == '\\';
    walk->at++;
}

static void find_lines(struct walk *walk, struct muster__app_json *json)
{
    char first = skip(walk);
    if (!json->line)
        json->line = walk->line;
    if (first == '"') {
        skip_string(walk);
    } else if (first != '{' && first != '[') {
        while (walk->at < walk->end && !strchr(" \t\r\n,:]}", *walk->at))
            walk->at++;
    } else {
        walk->at++;
        for (size_t i = 0; i < json->count; i++) {
            if (first == '{') {
                (void)skip(walk);
                json->items[i].line = walk->line;
                skip_string(walk);
            }
            find_lines(walk, &json->items[i]);
        }
        (void)skip(walk);
        walk->at++;
    }
}

/* ---- from outside ---- */

static enum muster_status refuse(const char *name, const json_error_t *why, struct muster_error *error)
{
    if (json_error_code(why) == json_error_out_of_memory) {
        muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while reading %s", name);
        return MUSTER_NO_MEMORY;
    }
    muster_error_set(error, MUSTER_SYNTAX_ERROR, "%s:%d:%d: not JSON: %s", name, why->line > 0 ? why->line : 1,
                     why->column > 0 ? why->column : 1, why->text);
    return MUSTER_SYNTAX_ERROR;
}

enum muster_status muster__app_json_parse(const char *name, const char *text, size_t length,
                                          struct muster__app_json *ret_json, struct muster_error *error)
{
    json_error_t why;
    *ret_json = (struct muster__app_json){0};
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return refuse(name, &why, error);
    bool built = build(ret_json, root);
    json_decref(root);
    if (!built) {
        muster__app_json_clean_up(ret_json);
        muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while reading %s", name);
        return MUSTER_NO_MEMORY;
    }
    struct walk walk = {.at = text, .end = text + length, .line = 1};
    find_lines(&walk, ret_json);
    return MUSTER_OK;
}

const struct muster__app_json *muster__app_json_get(const struct muster__app_json *object, const char *key)
{
    for (size_t i = 0; i < object->count; i++)
        if (object->items[i].key && strcmp(object->items[i].key, key) == 0)
            return &object->items[i];
    return NULL;
}

const char *muster__app_json_kind_name(enum muster__app_json_kind kind)
{
    static const char *const names[] = {"null",     "true or false", "an integer", "a number",
                                        "a string", "an array",      "an object"};
    return names[kind];
}

void muster__app_json_clean_up(struct muster__app_json *json)
{
    for (size_t i = 0; i < json->count; i++)
        muster__app_json_clean_up(&json->items[i]);
    free(json->items);
    free(json->key);
    free(json->text);
    *json = (struct muster__app_json){0};
}
