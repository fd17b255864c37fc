/* runtime/json.c - values from JSON text and back; the one file here that includes jansson.h.
 *
 * Any thread.  Reading is jansson's work: its depth limit bounds the recursion below.  Writing is our
 * own: a value may be deeper than any stack, holds what JSON cannot, and is printed for people, so it
 * walks with a stack on the heap, repairs text that is not UTF-8, and never fails but for memory. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json_internal.h"
#include "runtime/utf8.h"
#include "runtime/value_internal.h"

/* ---- reading ---- */

static struct muster_value *from_jansson(const json_t *json);

static struct muster_value *array_from_jansson(const json_t *json)
{
    struct muster_value *array = muster_value_new_array();
    for (size_t i = 0; array != NULL && i < json_array_size(json); i++) {
        struct muster_value *item = from_jansson(json_array_get(json, i));
        if (item == NULL || muster_value_append(array, item) != MUSTER_OK) {
            muster_value_release(array);
            return NULL;
        }
    }
    return array;
}

static struct muster_value *object_from_jansson(json_t *json)
{
    struct muster_value *object = muster_value_new_object();
    void *at = object == NULL ? NULL : json_object_iter(json);
    for (; at != NULL; at = json_object_iter_next(json, at)) {
        struct muster_value *item = from_jansson(json_object_iter_value(at));
        if (item == NULL || muster_value_put(object, json_object_iter_key(at), item) != MUSTER_OK) {
            muster_value_release(object);
            return NULL;
        }
    }
    return object;
}

static struct muster_value *from_jansson(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return object_from_jansson((json_t *)json); /* iterating takes it without const */
    case JSON_ARRAY:
        return array_from_jansson(json);
    case JSON_STRING:
        return muster_value_new_string(json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
    case JSON_REAL:
        return muster_value_new_number(json_number_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return muster_value_new_boolean(json_is_true(json));
    case JSON_NULL:
        break;
    }
    return muster_value_new_null();
}

static void describe(struct muster_error *error, const json_error_t *found)
{
    muster_error_set(error, MUSTER_SYNTAX_ERROR, "not valid JSON: %s", found->text);
    if (error == NULL)
        return;
    error->line = found->line > 0 ? found->line : 0;
    error->column = found->column > 0 ? found->column : 0;
}

enum muster_status muster_value_from_json(const char *text, size_t length,
                                          struct muster_value **ret_value,
                                          struct muster_error *error)
{
    json_error_t found = {.line = -1, .column = -1};
    size_t flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL;
    json_t *json = json_loadb(text == NULL ? "" : text, text == NULL ? 0 : length, flags, &found);
    if (json == NULL && json_error_code(&found) != json_error_out_of_memory) {
        describe(error, &found);
        return MUSTER_SYNTAX_ERROR;
    }
    struct muster_value *value = json == NULL ? NULL : from_jansson(json);
    json_decref(json);
    if (value == NULL) {
        muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while reading JSON");
        return MUSTER_NO_MEMORY;
    }
    *ret_value = value;
    return MUSTER_OK;
}

/* ---- writing ---- */

struct frame {
    const struct muster_value *container;
    size_t next;
};

struct writer {
    struct muster__json_text json;
    struct frame *frames;
    size_t depth;
    size_t frame_count;
};

static bool make_room(struct muster__json_text *json, size_t more)
{
    if (json->failed)
        return false;
    if (more < json->size - json->length)
        return true;
    size_t size = json->size == 0 ? 128 : json->size;
    while (size - json->length <= more && size <= SIZE_MAX / 2)
        size *= 2;
    char *text = size - json->length > more ? realloc(json->text, size) : NULL;
    if (text == NULL) {
        json->failed = true;
        return false;
    }
    json->text = text;
    json->size = size;
    return true;
}

void muster__json_put(struct muster__json_text *json, const char *text, size_t length)
{
    if (!make_room(json, length)) /* one more stays free, for the end */
        return;
    memcpy(json->text + json->length, text, length);
    json->length += length;
}

void muster__json_put_text(struct muster__json_text *json, const char *text)
{
    muster__json_put(json, text, strlen(text));
}

static void put_escape(struct muster__json_text *json, unsigned char c)
{
    char text[8];
    if (c == '"' || c == '\\')
        snprintf(text, sizeof text, "\\%c", c);
    else if (c >= '\b' && c <= '\r' && c != '\v')
        snprintf(text, sizeof text, "\\%c", "btn?fr"[c - '\b']);
    else
        snprintf(text, sizeof text, "\\u%04x", c);
    muster__json_put_text(json, text);
}

/* What is not UTF-8; how many bytes of it were dealt with. */
static size_t put_fault(struct muster__json_text *json, const unsigned char *text, size_t left)
{
    bool is_surrogate = left >= 3 && text[0] == 0xed && text[1] >= 0xa0 && text[1] <= 0xbf &&
                        (text[2] & 0xc0) == 0x80;
    if (!json->escapes_surrogates || !is_surrogate) {
        muster__json_put_text(json, "\xef\xbf\xbd"); /* U+FFFD */
        return 1;
    }
    char escape[8];
    snprintf(escape, sizeof escape, "\\u%04x", 0xd000u | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu));
    muster__json_put_text(json, escape);
    return 3;
}

void muster__json_put_string(struct muster__json_text *json, const char *data, size_t length)
{
    const unsigned char *text = (const unsigned char *)data;
    muster__json_put(json, "\"", 1);
    size_t plain = 0; /* from here to `i` nothing needs a change */
    for (size_t i = 0; i < length && !json->failed;) {
        size_t step = muster__utf8_sequence(text + i, length - i);
        if (step > 1 || (step == 1 && text[i] >= 0x20 && text[i] != '"' && text[i] != '\\')) {
            i += step;
            continue;
        }
        muster__json_put(json, data + plain, i - plain);
        if (step == 0)
            i += put_fault(json, text + i, length - i);
        else
            put_escape(json, text[i++]);
        plain = i;
    }
    muster__json_put(json, data + plain, length - plain);
    muster__json_put(json, "\"", 1);
}

/* The embedder's locale decides what printf takes for a decimal point; JSON has but one. */
static void put_with_point(struct muster__json_text *json, const char *text)
{
    size_t plain = strspn(text, "0123456789-+eE");
    muster__json_put(json, text, plain);
    if (text[plain] == '\0')
        return;
    muster__json_put(json, ".", 1);
    muster__json_put_text(json, text + plain + strcspn(text + plain, "0123456789-+eE"));
}

void muster__json_put_number(struct muster__json_text *json, double number)
{
    char text[64];
    if (!isfinite(number)) {
        muster__json_put_text(json, "null");
        return;
    }
    if (number == trunc(number) && fabs(number) < 1e15) {
        snprintf(text, sizeof text, "%lld", (long long)number);
        muster__json_put_text(json, text);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    put_with_point(json, text);
}

char *muster__json_finish(struct muster__json_text *json)
{
    if (!make_room(json, 0)) {
        free(json->text);
        return NULL;
    }
    json->text[json->length] = '\0';
    return json->text;
}

static void put_field(struct writer *writer, const char *before, const char *text)
{
    muster__json_put_text(&writer->json, before);
    muster__json_put_string(&writer->json, text, strlen(text));
}

static void put_error(struct writer *writer, const struct muster_error *error)
{
    put_field(writer, "{\"name\":", error->name != NULL ? error->name : "Error");
    put_field(writer, ",\"message\":", error->message != NULL ? error->message : "");
    if (error->stack != NULL)
        put_field(writer, ",\"stack\":", error->stack);
    muster__json_put(&writer->json, "}", 1);
}

static void put_byte_count(struct writer *writer, size_t length)
{
    char text[48];
    snprintf(text, sizeof text, "{\"bytes\":%zu}", length);
    muster__json_put_text(&writer->json, text);
}

static void put_host_object(struct writer *writer, const struct muster_host_class *class)
{
    put_field(writer, "{\"hostObject\":", class->name != NULL ? class->name : "");
    muster__json_put(&writer->json, "}", 1);
}

static void open_container(struct writer *writer, const struct muster_value *container)
{
    if (writer->json.failed)
        return;
    if (writer->depth == writer->frame_count) {
        size_t count = writer->frame_count == 0 ? 16 : writer->frame_count * 2;
        struct frame *frames = realloc(writer->frames, count * sizeof *frames);
        if (frames == NULL) {
            writer->json.failed = true;
            return;
        }
        writer->frames = frames;
        writer->frame_count = count;
    }
    writer->frames[writer->depth++] = (struct frame){.container = container};
    muster__json_put(&writer->json, container->type == MUSTER_TYPE_ARRAY ? "[" : "{", 1);
}

/* What is no tree. */
static void put_message(struct writer *writer, const struct muster_clone *clone)
{
    const struct muster_clone_value_options options = {.size = sizeof options,
                                                       .flags = MUSTER_CLONE_LENIENT};
    struct muster_clone_document *document = NULL;
    char *text = NULL;
    if (muster_clone_decode(clone, NULL, &document, NULL) != MUSTER_OK ||
        muster_clone_to_json(document, NULL, &options, &text, NULL) != MUSTER_OK)
        text = NULL;
    muster_clone_document_destroy(document);
    muster__json_put_text(&writer->json, text != NULL ? text : "null");
    free(text);
}

static void put_value(struct writer *writer, const struct muster_value *given)
{
    const struct muster_value *value = muster__value_plain(given);
    switch (muster_value_type(value)) {
    case MUSTER_TYPE_UNDEFINED:
    case MUSTER_TYPE_NULL:
        muster__json_put_text(&writer->json, "null");
        return;
    case MUSTER_TYPE_BOOLEAN:
        muster__json_put_text(&writer->json, value->boolean ? "true" : "false");
        return;
    case MUSTER_TYPE_NUMBER:
        muster__json_put_number(&writer->json, value->number);
        return;
    case MUSTER_TYPE_STRING:
        muster__json_put_string(&writer->json, value->text.data, value->text.length);
        return;
    case MUSTER_TYPE_BYTES:
        put_byte_count(writer, value->text.length);
        return;
    case MUSTER_TYPE_ERROR:
        put_error(writer, value->error);
        return;
    case MUSTER_TYPE_HOST_OBJECT:
        put_host_object(writer, value->host.class);
        return;
    case MUSTER_TYPE_CLONE:
        put_message(writer, value->clone.clone);
        return;
    case MUSTER_TYPE_ARRAY:
    case MUSTER_TYPE_OBJECT:
        open_container(writer, value);
        return;
    }
}

/* The next item of the innermost container, or its end. */
static void put_next(struct writer *writer)
{
    struct frame *frame = &writer->frames[writer->depth - 1];
    const struct muster_value *container = frame->container;
    size_t i = frame->next++;
    if (i == muster_value_count(container)) {
        muster__json_put(&writer->json, container->type == MUSTER_TYPE_ARRAY ? "]" : "}", 1);
        writer->depth--;
        return;
    }
    if (i > 0)
        muster__json_put(&writer->json, ",", 1);
    if (container->type == MUSTER_TYPE_OBJECT) {
        struct muster_bytes key = muster_value_key_at(container, i);
        muster__json_put_string(&writer->json, key.data, key.length);
        muster__json_put(&writer->json, ":", 1);
    }
    put_value(writer, muster_value_at(container, i)); /* may move the frames */
}

char *muster_value_to_json(const struct muster_value *value)
{
    struct writer writer = {0};
    put_value(&writer, value);
    while (writer.depth > 0 && !writer.json.failed)
        put_next(&writer);
    free(writer.frames);
    return muster__json_finish(&writer.json);
}
