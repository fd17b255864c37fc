/* tests/test_clone.c VECTORS - structured clone in C: the shared vectors, hostile bytes, the writer, values
 * and JSON.
 *
 * VECTORS is clone_vectors.json, which docs/clone.md describes.  Linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "runtime/clone.h"
#include "runtime/clone_internal.h"

static struct muster_value *vectors; /* of the file */

/* ---- vectors: bytes ---- */

static const struct muster_value *member(const struct muster_value *object, const char *key)
{
    return muster_value_get(object, key);
}

static const char *text_of(const struct muster_value *value)
{
    return muster_value_bytes(value).data;
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Appends hex as bytes. */
static size_t put_hex(char *to, const char *hex)
{
    size_t count = strlen(hex) / 2;
    for (size_t i = 0; i < count; i++)
        to[i] = (char)(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
    return count;
}

static struct muster_clone_buffer from_hex(const char *hex)
{
    struct muster_clone_buffer buffer;
    ck_assert_int_eq(muster_clone_buffer_copy(hex, strlen(hex) / 2, &buffer), MUSTER_OK);
    put_hex(buffer.data, hex);
    return buffer;
}

static struct muster_clone_buffer from_repeated_hex(const struct muster_value *how)
{
    const char *unit = text_of(member(how, "unit"));
    size_t times = (size_t)muster_value_number(member(how, "times"));
    char *bytes = malloc(strlen(unit) * times + 4096);
    size_t length = put_hex(bytes, text_of(member(how, "prefix")));
    for (size_t i = 0; i < times; i++)
        length += put_hex(bytes + length, unit);
    length += put_hex(bytes + length, text_of(member(how, "suffix")));
    struct muster_clone_buffer buffer;
    ck_assert_int_eq(muster_clone_buffer_copy(bytes, length, &buffer), MUSTER_OK);
    free(bytes);
    return buffer;
}

static bool has_bytes(const struct muster_value *vector)
{
    return member(vector, "hex") != NULL || member(vector, "hex_repeat") != NULL;
}

static struct muster_clone_buffer bytes_of(const struct muster_value *vector)
{
    const struct muster_value *hex = member(vector, "hex");
    return hex != NULL ? from_hex(text_of(hex)) : from_repeated_hex(member(vector, "hex_repeat"));
}

/* The vector's side table and hosts around these bytes. */
static struct muster_clone *message_of(const struct muster_value *vector,
                                       struct muster_clone_buffer *take_bytes)
{
    struct muster_clone_buffer side[8];
    const struct muster_value *buffers = member(vector, "buffers");
    size_t count = muster_value_count(buffers);
    ck_assert_uint_le(count, 8);
    for (size_t i = 0; i < count; i++)
        side[i] = from_hex(text_of(muster_value_at(buffers, i)));
    const struct muster_value *hosts = member(vector, "hosts");
    struct muster_clone *clone = NULL;
    ck_assert_int_eq(muster_clone_new(take_bytes, side, count,
                                      hosts == NULL ? 0 : (size_t)muster_value_number(hosts), &clone),
                     MUSTER_OK);
    return clone;
}

static struct muster_clone *whole_message(const struct muster_value *vector)
{
    struct muster_clone_buffer bytes = bytes_of(vector);
    return message_of(vector, &bytes);
}

static bool is_word(const struct muster_value *node, const char *word)
{
    return strcmp(text_of(muster_value_at(node, 0)), word) == 0;
}

/* ---- vectors: a document against a tree ---- */

struct compare {
    const char *name;
    uint32_t number; /* the next object's */
};

static void compare(struct compare *at, const struct muster_clone_node *node,
                    const struct muster_value *tree);

static void must_be_bytes(struct compare *at, struct muster_bytes actual, const char *hex)
{
    char expected[65536];
    size_t length = put_hex(expected, hex);
    ck_assert_msg(actual.length == length && memcmp(actual.data, expected, length) == 0,
                  "%s: other bytes", at->name);
}

/* A text is ["str", ...] or ["str16", units]. */
static void must_be_text(struct compare *at, struct muster_bytes actual, const struct muster_value *tree)
{
    struct muster_bytes expected = muster_value_bytes(muster_value_at(tree, 1));
    char units[8192];
    struct muster__clone_arena arena = {.next_size = 1024};
    struct muster_clone_node text;
    if (is_word(tree, "str16")) {
        size_t length = put_hex(units, expected.data);
        for (size_t i = 0; i < length; i += 2) { /* written as numbers: highest first */
            char low = units[i + 1];
            units[i + 1] = units[i];
            units[i] = low;
        }
        ck_assert(muster__clone_text_from_utf16(&arena, units, length / 2, &text));
        expected = (struct muster_bytes){text.text, text.length};
    }
    ck_assert_msg(actual.length == expected.length &&
                      memcmp(actual.data, expected.data, expected.length) == 0,
                  "%s: another text", at->name);
    muster__clone_arena_clean_up(&arena);
}

static void must_be_number(struct compare *at, double actual, const struct muster_value *text)
{
    double expected = strtod(text_of(text), NULL);
    bool same = isnan(expected) ? isnan(actual) : memcmp(&actual, &expected, sizeof actual) == 0;
    ck_assert_msg(same, "%s: %.17g, not %.17g", at->name, actual, expected);
}

static void must_be_bigint(struct compare *at, const struct muster_clone_node *node, const char *hex)
{
    bool is_negative = false;
    struct muster_bytes magnitude = muster_clone_bigint(node, &is_negative);
    char *text = malloc(magnitude.length * 2 + 8);
    char *to = text;
    to += sprintf(to, "%s0x", is_negative ? "-" : "");
    if (magnitude.length == 0)
        *to++ = '0';
    for (size_t i = magnitude.length; i > 0; i--)
        to += sprintf(to, i == magnitude.length ? "%x" : "%02x", (unsigned char)magnitude.data[i - 1]);
    *to = '\0';
    ck_assert_msg(strcmp(text, hex) == 0, "%s: %s, not %s", at->name, text, hex);
    free(text);
}

static void compare_properties(struct compare *at, const struct muster_clone_node *node,
                               const struct muster_value *pairs)
{
    ck_assert_msg(muster_clone_property_count(node) == muster_value_count(pairs),
                  "%s: %zu properties", at->name, muster_clone_property_count(node));
    for (size_t i = 0; i < muster_value_count(pairs); i++) {
        const struct muster_value *pair = muster_value_at(pairs, i);
        must_be_text(at, muster_clone_property_key(node, i), muster_value_at(pair, 0));
        compare(at, muster_clone_property(node, i), muster_value_at(pair, 1));
    }
}

static void compare_array(struct compare *at, const struct muster_clone_node *node,
                          const struct muster_value *tree)
{
    const struct muster_value *items = muster_value_at(tree, 1);
    ck_assert_uint_eq(muster_clone_length(node), muster_value_count(items));
    for (size_t i = 0; i < muster_value_count(items); i++)
        compare(at, muster_clone_item(node, i), muster_value_at(items, i));
    compare_properties(at, node, muster_value_at(tree, 2));
}

static void compare_sparse(struct compare *at, const struct muster_clone_node *node,
                           const struct muster_value *tree)
{
    const struct muster_value *entries = muster_value_at(tree, 2);
    ck_assert_uint_eq(muster_clone_length(node),
                      (size_t)muster_value_number(muster_value_at(tree, 1)));
    size_t at_entry = 0;
    for (size_t i = 0; i < muster_clone_entry_count(node); i++) {
        if (muster_clone_type(muster_clone_entry(node, i)) == MUSTER_CLONE_HOLE)
            continue;
        const struct muster_value *entry = muster_value_at(entries, at_entry++);
        size_t index = (size_t)muster_value_number(muster_value_at(entry, 0));
        ck_assert_uint_eq(muster_clone_entry_index(node, i), index);
        ck_assert_ptr_eq(muster_clone_item(node, index), muster_clone_entry(node, i));
        compare(at, muster_clone_entry(node, i), muster_value_at(entry, 1));
    }
    ck_assert_uint_eq(at_entry, muster_value_count(entries));
    compare_properties(at, node, muster_value_at(tree, 3));
}

static void compare_entries(struct compare *at, const struct muster_clone_node *node,
                            const struct muster_value *entries)
{
    ck_assert_uint_eq(muster_clone_entry_count(node), muster_value_count(entries));
    for (size_t i = 0; i < muster_value_count(entries); i++) {
        const struct muster_value *entry = muster_value_at(entries, i);
        bool is_map = muster_clone_type(node) == MUSTER_CLONE_MAP;
        if (is_map)
            compare(at, muster_clone_entry_key(node, i), muster_value_at(entry, 0));
        compare(at, muster_clone_entry(node, i), is_map ? muster_value_at(entry, 1) : entry);
    }
}

static void compare_regexp(struct compare *at, const struct muster_clone_node *node,
                           const struct muster_value *tree)
{
    struct muster_clone_regexp regexp;
    char flags[9];
    ck_assert(muster_clone_regexp(node, &regexp));
    must_be_text(at, muster_clone_text(regexp.source), muster_value_at(tree, 1));
    muster__clone_regexp_flags(regexp.flags, flags);
    ck_assert_str_eq(flags, text_of(muster_value_at(tree, 2)));
    must_be_number(at, regexp.last_index, muster_value_at(tree, 3));
}

static void compare_part(struct compare *at, const struct muster_clone_node *part,
                         const struct muster_value *parts, const char *name)
{
    const struct muster_value *tree = member(parts, name);
    ck_assert_msg((part == NULL) == (tree == NULL), "%s: the %s", at->name, name);
    if (tree != NULL)
        compare(at, part, tree);
}

static void compare_failure(struct compare *at, const struct muster_clone_node *node,
                            const struct muster_value *parts)
{
    struct muster_clone_error error;
    ck_assert(muster_clone_error(node, &error));
    compare_part(at, error.message, parts, "message");
    compare_part(at, error.stack, parts, "stack");
    compare_part(at, error.name, parts, "name");
    compare_part(at, error.cause, parts, "cause");
    compare_part(at, error.errors, parts, "errors");
    compare_part(at, error.quota, parts, "quota");
    compare_part(at, error.requested, parts, "requested");
    compare_properties(at, node, member(parts, "extra"));
}

static void compare_memory(struct compare *at, const struct muster_clone_node *node,
                           const struct muster_value *tree)
{
    struct muster_clone_memory memory;
    ck_assert(muster_clone_memory(node, &memory));
    bool is_side = strncmp(text_of(muster_value_at(tree, 0)), "side", 4) == 0;
    bool is_resizable = strstr(text_of(muster_value_at(tree, 0)), "resizable") != NULL;
    ck_assert(memory.is_side_entry == is_side && memory.is_resizable == is_resizable);
    if (is_side) {
        ck_assert_uint_eq(memory.entry, (size_t)muster_value_number(muster_value_at(tree, 1)));
        ck_assert_uint_eq(memory.bytes.length, (size_t)muster_value_number(muster_value_at(tree, 2)));
    } else {
        must_be_bytes(at, memory.bytes, text_of(muster_value_at(tree, 1)));
    }
    if (is_resizable)
        ck_assert_uint_eq(memory.maximum,
                          (uint64_t)muster_value_number(muster_value_at(tree, is_side ? 3 : 2)));
}

static void compare_view(struct compare *at, const struct muster_clone_node *node,
                         const struct muster_value *tree)
{
    struct muster_clone_view view;
    ck_assert(muster_clone_view(node, &view));
    double length = muster_value_number(muster_value_at(tree, 3));
    ck_assert_str_eq(muster_clone_view_kind_name(view.kind), text_of(muster_value_at(tree, 1)));
    ck_assert_uint_eq(view.offset, (size_t)muster_value_number(muster_value_at(tree, 2)));
    ck_assert(view.follows_buffer == (length < 0));
    if (length >= 0)
        ck_assert_uint_eq(view.length, (size_t)length);
    compare(at, view.buffer, muster_value_at(tree, 4));
}

static enum muster_clone_type type_of_tree(const struct muster_value *tree)
{
    static const struct {
        const char *word;
        enum muster_clone_type type;
    } words[] = {
        {"undefined", MUSTER_CLONE_UNDEFINED}, {"null", MUSTER_CLONE_NULL},
        {"bool", MUSTER_CLONE_BOOLEAN},        {"num", MUSTER_CLONE_NUMBER},
        {"bigint", MUSTER_CLONE_BIGINT},       {"str", MUSTER_CLONE_STRING},
        {"str16", MUSTER_CLONE_STRING},        {"hole", MUSTER_CLONE_HOLE},
        {"object", MUSTER_CLONE_OBJECT},       {"array", MUSTER_CLONE_ARRAY},
        {"sparse", MUSTER_CLONE_ARRAY},        {"map", MUSTER_CLONE_MAP},
        {"set", MUSTER_CLONE_SET},             {"date", MUSTER_CLONE_DATE},
        {"regexp", MUSTER_CLONE_REGEXP},       {"boxed", MUSTER_CLONE_BOXED},
        {"error", MUSTER_CLONE_ERROR},         {"domexception", MUSTER_CLONE_DOMEXCEPTION},
        {"buffer", MUSTER_CLONE_BUFFER},       {"resizable", MUSTER_CLONE_BUFFER},
        {"side", MUSTER_CLONE_BUFFER},         {"side_resizable", MUSTER_CLONE_BUFFER},
        {"view", MUSTER_CLONE_VIEW},           {"host", MUSTER_CLONE_HOST},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (is_word(tree, words[i].word))
            return words[i].type;
    ck_abort_msg("an unknown word in a tree: %s", text_of(muster_value_at(tree, 0)));
    return MUSTER_CLONE_UNDEFINED;
}

static void compare(struct compare *at, const struct muster_clone_node *node,
                    const struct muster_value *tree)
{
    const struct muster_value *first = muster_value_at(tree, 1);
    if (is_word(tree, "ref")) {
        ck_assert_uint_eq(muster_clone_object_number(node), (uint32_t)muster_value_number(first));
        return;
    }
    enum muster_clone_type type = muster_clone_type(node);
    ck_assert_msg(type == type_of_tree(tree), "%s: a %s", at->name, muster_clone_type_name(type));
    /* An object of the platform has a number, of which the tree says nothing. */
    if (muster_clone_is_object(node) && strncmp(at->name, "platform_", 9) != 0)
        ck_assert_msg(muster_clone_object_number(node) == at->number++, "%s: numbers", at->name);
    switch (type) {
    case MUSTER_CLONE_BOOLEAN:
        ck_assert(muster_clone_boolean(node) == muster_value_boolean(first));
        return;
    case MUSTER_CLONE_NUMBER:
    case MUSTER_CLONE_DATE:
        must_be_number(at, muster_clone_number(node), first);
        return;
    case MUSTER_CLONE_BIGINT:
        must_be_bigint(at, node, text_of(first));
        return;
    case MUSTER_CLONE_STRING:
        must_be_text(at, muster_clone_text(node), tree);
        return;
    case MUSTER_CLONE_OBJECT:
        compare_properties(at, node, first);
        return;
    case MUSTER_CLONE_ARRAY:
        if (is_word(tree, "sparse"))
            compare_sparse(at, node, tree);
        else
            compare_array(at, node, tree);
        return;
    case MUSTER_CLONE_MAP:
    case MUSTER_CLONE_SET:
        compare_entries(at, node, first);
        return;
    case MUSTER_CLONE_REGEXP:
        compare_regexp(at, node, tree);
        return;
    case MUSTER_CLONE_BOXED:
        compare(at, muster_clone_boxed(node), first);
        return;
    case MUSTER_CLONE_ERROR: {
        struct muster_clone_error error;
        ck_assert(muster_clone_error(node, &error));
        ck_assert_str_eq(muster_clone_error_type_name(error.type), text_of(first));
        compare_failure(at, node, muster_value_at(tree, 2));
        return;
    }
    case MUSTER_CLONE_DOMEXCEPTION:
        compare_failure(at, node, first);
        return;
    case MUSTER_CLONE_BUFFER:
        compare_memory(at, node, tree);
        return;
    case MUSTER_CLONE_VIEW:
        compare_view(at, node, tree);
        return;
    case MUSTER_CLONE_HOST:
        ck_assert_uint_eq(muster_clone_host_entry(node), (uint32_t)muster_value_number(first));
        return;
    default:
        return;
    }
}

/* ---- vectors: a tree through the writer ---- */

static void write_tree(struct muster_clone_writer *writer, const struct muster_value *tree);

static bool is_plain_text(const struct muster_value *tree)
{
    return tree == NULL || (is_word(tree, "str") &&
                            strlen(text_of(muster_value_at(tree, 1))) ==
                                muster_value_bytes(muster_value_at(tree, 1)).length);
}

static size_t units_of(const struct muster_value *tree, uint16_t *units)
{
    const char *hex = text_of(muster_value_at(tree, 1));
    size_t count = strlen(hex) / 4;
    for (size_t i = 0; i < count; i++)
        units[i] = (uint16_t)(digit(hex[4 * i]) << 12 | digit(hex[4 * i + 1]) << 8 |
                              digit(hex[4 * i + 2]) << 4 | digit(hex[4 * i + 3]));
    return count;
}

static void write_key_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    uint16_t units[1024];
    struct muster_bytes text = muster_value_bytes(muster_value_at(tree, 1));
    if (is_word(tree, "str16"))
        muster_clone_write_key_utf16(writer, units, units_of(tree, units));
    else
        muster_clone_write_key_bytes(writer, text.data, text.length);
}

static void write_properties(struct muster_clone_writer *writer, const struct muster_value *pairs)
{
    for (size_t i = 0; i < muster_value_count(pairs); i++) {
        write_key_of(writer, muster_value_at(muster_value_at(pairs, i), 0));
        write_tree(writer, muster_value_at(muster_value_at(pairs, i), 1));
    }
}

static void write_bigint_of(struct muster_clone_writer *writer, const char *text)
{
    bool is_negative = *text == '-';
    const char *hex = text + is_negative + 2;
    size_t digits = strlen(hex);
    unsigned char *magnitude = calloc(1, digits / 2 + 1);
    for (size_t i = 0; i < digits; i++)
        magnitude[i / 2] |= (unsigned char)(digit(hex[digits - 1 - i]) << (i % 2 * 4));
    muster_clone_write_bigint(writer, is_negative, magnitude, digits / 2 + 1);
    free(magnitude);
}

static void write_array_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    const struct muster_value *items = muster_value_at(tree, 1);
    muster_clone_begin_array(writer);
    for (size_t i = 0; i < muster_value_count(items); i++)
        if (!is_word(muster_value_at(items, i), "hole")) {
            muster_clone_write_index(writer, (uint32_t)i);
            write_tree(writer, muster_value_at(items, i));
        }
    muster_clone_write_index(writer, (uint32_t)muster_value_count(items));
    write_properties(writer, muster_value_at(tree, 2));
    muster_clone_end(writer);
}

static void write_sparse_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    const struct muster_value *entries = muster_value_at(tree, 2);
    muster_clone_begin_array(writer);
    for (size_t i = 0; i < muster_value_count(entries); i++) {
        const struct muster_value *entry = muster_value_at(entries, i);
        muster_clone_write_index(writer, (uint32_t)muster_value_number(muster_value_at(entry, 0)));
        write_tree(writer, muster_value_at(entry, 1));
    }
    muster_clone_write_index(writer, (uint32_t)muster_value_number(muster_value_at(tree, 1)));
    write_properties(writer, muster_value_at(tree, 3));
    muster_clone_end(writer);
}

static void write_list_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    const struct muster_value *entries = muster_value_at(tree, 1);
    bool is_map = is_word(tree, "map");
    if (is_map)
        muster_clone_begin_map(writer);
    else
        muster_clone_begin_set(writer);
    for (size_t i = 0; i < muster_value_count(entries); i++) {
        const struct muster_value *entry = muster_value_at(entries, i);
        if (is_map)
            write_tree(writer, muster_value_at(entry, 0));
        write_tree(writer, is_map ? muster_value_at(entry, 1) : entry);
    }
    muster_clone_end(writer);
}

static const char *part_of(const struct muster_value *parts, const char *name)
{
    const struct muster_value *tree = member(parts, name);
    return tree == NULL ? NULL : text_of(muster_value_at(tree, 1));
}

static void write_error_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    const struct muster_value *parts = muster_value_at(tree, 2);
    uint8_t type = 0;
    struct muster_bytes name = muster_value_bytes(muster_value_at(tree, 1));
    ck_assert(muster__clone_error_type_from_name(name.data, name.length, &type));
    muster_clone_begin_error(writer, (enum muster_clone_error_type)type, part_of(parts, "name"),
                             part_of(parts, "message"), part_of(parts, "stack"));
    if (member(parts, "cause") != NULL) {
        muster_clone_write_cause(writer);
        write_tree(writer, member(parts, "cause"));
    }
    if (member(parts, "errors") != NULL) {
        muster_clone_write_errors(writer);
        write_tree(writer, member(parts, "errors"));
    }
    write_properties(writer, member(parts, "extra"));
    muster_clone_end(writer);
}

static double quota_of(const struct muster_value *tree)
{
    return is_word(tree, "null") ? (double)NAN : strtod(text_of(muster_value_at(tree, 1)), NULL);
}

static void write_domexception_of(struct muster_clone_writer *writer, const struct muster_value *parts)
{
    bool has_quota = member(parts, "quota") != NULL;
    double quota = has_quota ? quota_of(member(parts, "quota")) : 0;
    double requested = has_quota ? quota_of(member(parts, "requested")) : 0;
    muster_clone_write_domexception(writer, part_of(parts, "name"), part_of(parts, "message"),
                                    part_of(parts, "stack"), has_quota ? &quota : NULL,
                                    has_quota ? &requested : NULL);
}

static void write_memory_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    struct muster_clone_buffer bytes = from_hex(text_of(muster_value_at(tree, 1)));
    if (is_word(tree, "resizable"))
        muster_clone_write_resizable_buffer(writer, bytes.data, bytes.length,
                                            (uint64_t)muster_value_number(muster_value_at(tree, 2)));
    else
        muster_clone_write_buffer(writer, bytes.data, bytes.length);
    muster_clone_buffer_clean_up(&bytes);
}

static void write_view_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    unsigned kind = 0;
    while (strcmp(muster_clone_view_kind_name((enum muster_clone_view_kind)kind),
                  text_of(muster_value_at(tree, 1))) != 0)
        kind++;
    double length = muster_value_number(muster_value_at(tree, 3));
    muster_clone_write_view(writer, (enum muster_clone_view_kind)kind,
                            (size_t)muster_value_number(muster_value_at(tree, 2)),
                            length < 0 ? SIZE_MAX : (size_t)length);
    write_tree(writer, muster_value_at(tree, 4));
}

static void write_regexp_of(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    static const char letters[] = "dgimsuvy";
    struct muster_bytes source = muster_value_bytes(muster_value_at(muster_value_at(tree, 1), 1));
    unsigned flags = 0;
    for (const char *c = text_of(muster_value_at(tree, 2)); *c != '\0'; c++)
        flags |= 1u << (strchr(letters, *c) - letters);
    muster_clone_write_regexp(writer, source.data, source.length, flags,
                              strtod(text_of(muster_value_at(tree, 3)), NULL));
}

static void write_tree(struct muster_clone_writer *writer, const struct muster_value *tree)
{
    uint16_t units[4096];
    const struct muster_value *first = muster_value_at(tree, 1);
    struct muster_bytes text = muster_value_bytes(first);
    enum muster_clone_type type = is_word(tree, "ref") ? MUSTER_CLONE_TYPE_COUNT : type_of_tree(tree);
    switch (type) {
    case MUSTER_CLONE_TYPE_COUNT:
        muster_clone_write_reference(writer, (uint32_t)muster_value_number(first));
        return;
    case MUSTER_CLONE_NULL:
        muster_clone_write_null(writer);
        return;
    case MUSTER_CLONE_BOOLEAN:
        muster_clone_write_boolean(writer, muster_value_boolean(first));
        return;
    case MUSTER_CLONE_NUMBER:
        muster_clone_write_number(writer, strtod(text.data, NULL));
        return;
    case MUSTER_CLONE_BIGINT:
        write_bigint_of(writer, text.data);
        return;
    case MUSTER_CLONE_STRING:
        if (is_word(tree, "str16"))
            muster_clone_write_utf16(writer, units, units_of(tree, units));
        else
            muster_clone_write_string(writer, text.data, text.length);
        return;
    case MUSTER_CLONE_OBJECT:
        muster_clone_begin_object(writer);
        write_properties(writer, first);
        muster_clone_end(writer);
        return;
    case MUSTER_CLONE_ARRAY:
        if (is_word(tree, "sparse"))
            write_sparse_of(writer, tree);
        else
            write_array_of(writer, tree);
        return;
    case MUSTER_CLONE_MAP:
    case MUSTER_CLONE_SET:
        write_list_of(writer, tree);
        return;
    case MUSTER_CLONE_DATE:
        muster_clone_write_date(writer, strtod(text.data, NULL));
        return;
    case MUSTER_CLONE_REGEXP:
        write_regexp_of(writer, tree);
        return;
    case MUSTER_CLONE_BOXED:
        muster_clone_write_boxed(writer);
        write_tree(writer, first);
        return;
    case MUSTER_CLONE_ERROR:
        write_error_of(writer, tree);
        return;
    case MUSTER_CLONE_DOMEXCEPTION:
        write_domexception_of(writer, first);
        return;
    case MUSTER_CLONE_BUFFER:
        write_memory_of(writer, tree);
        return;
    case MUSTER_CLONE_VIEW:
        write_view_of(writer, tree);
        return;
    default:
        muster_clone_write_undefined(writer);
    }
}

/* The texts of errors and the sources of regular expressions are C strings and UTF-8 in the writer. */
static bool writer_can(const struct muster_value *tree)
{
    if (muster_value_type(tree) == MUSTER_TYPE_OBJECT || muster_value_type(tree) == MUSTER_TYPE_ARRAY) {
        const struct muster_value *head = muster_value_at(tree, 0);
        bool is_node = muster_value_type(tree) == MUSTER_TYPE_ARRAY &&
                       muster_value_type(head) == MUSTER_TYPE_STRING;
        if (is_node && (is_word(tree, "side") || is_word(tree, "side_resizable") || is_word(tree, "host")))
            return false;
        if (is_node && is_word(tree, "regexp") && !is_plain_text(muster_value_at(tree, 1)))
            return false;
        if (is_node && (is_word(tree, "error") || is_word(tree, "domexception"))) {
            const struct muster_value *parts = muster_value_at(tree, muster_value_count(tree) - 1);
            if (!is_plain_text(member(parts, "message")) || !is_plain_text(member(parts, "stack")) ||
                !is_plain_text(member(parts, "name")))
                return false;
        }
        for (size_t i = 0; i < muster_value_count(tree); i++)
            if (!writer_can(muster_value_at(tree, i)))
                return false;
    }
    return true;
}

/* ---- vectors: tests ---- */

static const char *name_of(const struct muster_value *vector)
{
    return text_of(member(vector, "name"));
}

static bool is_canonical(const struct muster_value *vector)
{
    const struct muster_value *flag = member(vector, "canonical");
    return flag == NULL || muster_value_boolean(flag);
}

static void must_be_the_same(const char *name, const struct muster_clone *a, const struct muster_clone *b)
{
    struct muster_bytes left = muster_clone_bytes(a);
    struct muster_bytes right = muster_clone_bytes(b);
    ck_assert_msg(left.length == right.length && memcmp(left.data, right.data, left.length) == 0,
                  "%s: other bytes (%zu, not %zu)", name, left.length, right.length);
    ck_assert_uint_eq(muster_clone_buffer_count(a), muster_clone_buffer_count(b));
    ck_assert_uint_eq(muster_clone_host_count(a), muster_clone_host_count(b));
    for (size_t i = 0; i < muster_clone_buffer_count(a); i++)
        ck_assert_mem_eq(muster_clone_buffer_at(a, i).data, muster_clone_buffer_at(b, i).data,
                         muster_clone_buffer_at(b, i).length);
}

static struct muster_clone_document *must_decode(const char *name, const struct muster_clone *clone)
{
    struct muster_clone_document *document = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster_clone_decode(clone, NULL, &document, &error);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", name, error.message);
    return document;
}

static void must_accept(const struct muster_value *vector)
{
    struct muster_clone *clone = whole_message(vector);
    struct muster_clone_document *document = must_decode(name_of(vector), clone);
    struct compare at = {.name = name_of(vector)};
    if (member(vector, "tree") != NULL)
        compare(&at, muster_clone_root(document), member(vector, "tree"));
    struct muster_clone *again = NULL;
    ck_assert_int_eq(muster_clone_encode(document, NULL, &again, NULL), MUSTER_OK);
    if (is_canonical(vector))
        must_be_the_same(name_of(vector), again, clone);
    else
        muster_clone_document_destroy(must_decode(name_of(vector), again));
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    muster_clone_release(again);
}

static void must_refuse(const struct muster_value *vector)
{
    struct muster_clone *clone = whole_message(vector);
    struct muster_clone_document *document = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster_clone_decode(clone, NULL, &document, &error);
    ck_assert_msg(status == MUSTER_SYNTAX_ERROR, "%s: taken, and should be refused: %s", name_of(vector),
                  text_of(member(vector, "refuse")));
    ck_assert_msg(strstr(error.message, "at offset ") != NULL, "%s: %s", name_of(vector), error.message);
    muster_error_clean_up(&error);
    muster_clone_release(clone);
}

/* A source that does not compile is the engine's to refuse. */
static bool only_an_engine_refuses(const struct muster_value *vector)
{
    const char *reason = text_of(member(vector, "refuse"));
    return strcmp(reason, "regexp") == 0 && strstr(name_of(vector), "source") != NULL;
}

START_TEST(each_vector_reads_as_its_tree_and_writes_as_its_bytes)
{
    int count = 0;
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        if (!has_bytes(vector) || member(vector, "refuse") != NULL)
            continue;
        must_accept(vector);
        count++;
    }
    ck_assert_int_ge(count, 100);
}
END_TEST

START_TEST(each_vector_to_refuse_is_refused_with_its_offset)
{
    int count = 0;
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        if (member(vector, "refuse") == NULL || only_an_engine_refuses(vector))
            continue;
        must_refuse(vector);
        count++;
    }
    ck_assert_int_ge(count, 30);
}
END_TEST

START_TEST(the_writer_writes_each_tree_as_its_bytes)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    int count = 0;
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        const struct muster_value *tree = member(vector, "tree");
        bool is_alone = member(vector, "buffers") == NULL && member(vector, "hosts") == NULL;
        if (tree == NULL || !has_bytes(vector) || !is_canonical(vector) || !is_alone || !writer_can(tree))
            continue;
        struct muster_clone *expected = whole_message(vector);
        struct muster_clone *actual = NULL;
        struct muster_error error = {0};
        write_tree(writer, tree);
        ck_assert_msg(muster_clone_writer_finish(writer, &actual, &error) == MUSTER_OK, "%s: %s",
                      name_of(vector), error.message);
        must_be_the_same(name_of(vector), actual, expected);
        muster_clone_release(actual);
        muster_clone_release(expected);
        count++;
    }
    muster_clone_writer_destroy(writer);
    ck_assert_int_ge(count, 100);
}
END_TEST

/* ---- hostile bytes ---- */

static void use_what_was_read(const struct muster_clone_document *document)
{
    struct muster_clone_value_options options = {sizeof options, MUSTER_CLONE_LENIENT, 1000};
    struct muster_value *value = NULL;
    char *text = NULL;
    struct muster_clone *clone = NULL;
    ck_assert_int_eq(muster_clone_encode(document, NULL, &clone, NULL), MUSTER_OK);
    muster_clone_document_destroy(must_decode("what was read", clone));
    if (muster_clone_to_value(document, NULL, &options, &value, NULL) == MUSTER_OK)
        muster_value_release(value);
    if (muster_clone_to_json(document, NULL, &options, &text, NULL) == MUSTER_OK)
        free(text);
    muster_clone_release(clone);
}

static enum muster_status try(struct muster_clone *clone)
{
    struct muster_clone_document *document = NULL;
    enum muster_status status = muster_clone_decode(clone, NULL, &document, NULL);
    if (status == MUSTER_OK)
        use_what_was_read(document);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    return status;
}

START_TEST(each_vector_that_is_cut_off_is_refused)
{
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        if (!has_bytes(vector) || member(vector, "refuse") != NULL)
            continue;
        struct muster_clone_buffer bytes = bytes_of(vector);
        size_t step = bytes.length > 2000 ? bytes.length / 500 : 1;
        for (size_t length = 0; length < bytes.length; length += step) {
            struct muster_clone_buffer part;
            ck_assert_int_eq(muster_clone_buffer_copy(bytes.data, length, &part), MUSTER_OK);
            ck_assert_msg(try(message_of(vector, &part)) == MUSTER_SYNTAX_ERROR, "%s: %zu bytes of it",
                          name_of(vector), length);
        }
        muster_clone_buffer_clean_up(&bytes);
    }
}
END_TEST

START_TEST(a_flipped_bit_does_no_harm)
{
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        if (!has_bytes(vector))
            continue;
        struct muster_clone_buffer bytes = bytes_of(vector);
        for (size_t bit = 0; bit < bytes.length * 8 && bytes.length < 600; bit++) {
            struct muster_clone_buffer flipped;
            ck_assert_int_eq(muster_clone_buffer_copy(bytes.data, bytes.length, &flipped), MUSTER_OK);
            ((unsigned char *)flipped.data)[bit / 8] ^= (unsigned char)(1u << (bit % 8));
            try(message_of(vector, &flipped));
        }
        muster_clone_buffer_clean_up(&bytes);
    }
}
END_TEST

static enum muster_status decode_text(const char *bytes, size_t length, struct muster_error *error)
{
    struct muster_clone_document *document = NULL;
    enum muster_status status = muster_clone_decode_bytes(bytes, length, NULL, &document, error);
    muster_clone_document_destroy(document);
    return status;
}

/* Each array claims all that is left: believed one by one, 5,000 of them would take 0.7 GB. */
START_TEST(nested_counts_cannot_claim_the_same_bytes_again)
{
    enum { LENGTH = 16000 };
    char *bytes = calloc(1, LENGTH);
    size_t at = put_hex(bytes, "c101");
    for (int i = 0; i < 5000; i++) {
        size_t left = LENGTH - at - 3; /* behind this tag and a varint of two bytes */
        bytes[at++] = TAG_ARRAY;
        bytes[at++] = (char)((left & 0x7f) | 0x80);
        bytes[at++] = (char)(left >> 7);
    }
    struct muster_error error = {0};
    ck_assert_int_eq(decode_text(bytes, LENGTH, &error), MUSTER_SYNTAX_ERROR);
    muster_error_clean_up(&error);
    free(bytes);
    ck_assert_int_eq(decode_text("\xc1\x01\x11\x03\x11\x03\x11\x03\x01\x01", 10, &error),
                     MUSTER_SYNTAX_ERROR);
    ck_assert_ptr_nonnull(strstr(error.message, "at offset 5"));
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_refusal_names_the_offset_and_what_is_wrong)
{
    struct muster_error error = {0};
    ck_assert_int_eq(decode_text("\xc1\x01\x11\x02\x01\x3f", 6, &error), MUSTER_SYNTAX_ERROR);
    ck_assert_str_eq(error.message, "clone: at offset 5: an unknown tag, 0x3f");
    ck_assert_int_eq(decode_text("{}", 2, &error), MUSTER_SYNTAX_ERROR);
    ck_assert_str_eq(error.message,
                     "clone: at offset 0: no structured clone: it begins with 0x7b");
    ck_assert_int_eq(decode_text(NULL, 0, &error), MUSTER_SYNTAX_ERROR);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(resizable_buffers_reserve_no_more_than_the_receiver_allows)
{
    const char bytes[] = "\xc1\x01\x1c\x01\x80\x01\x2a"; /* one byte, 128 at most */
    struct muster_clone_limits limits = {sizeof limits, 127};
    struct muster_clone_document *document = NULL;
    ck_assert_int_eq(muster_clone_decode_bytes(bytes, 7, &limits, &document, NULL), MUSTER_SYNTAX_ERROR);
    limits.max_reserved = 128;
    ck_assert_int_eq(muster_clone_decode_bytes(bytes, 7, &limits, &document, NULL), MUSTER_OK);
    muster_clone_document_destroy(document);
}
END_TEST

/* ---- the writer ---- */

static struct muster_clone *must_finish(struct muster_clone_writer *writer)
{
    struct muster_clone *clone = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster_clone_writer_finish(writer, &clone, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
    return clone;
}

static void must_fail(struct muster_clone_writer *writer, const char *message)
{
    struct muster_clone *clone = NULL;
    struct muster_error error = {0};
    ck_assert_int_eq(muster_clone_writer_finish(writer, &clone, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_str_eq(error.message, message);
    muster_error_clean_up(&error);
}

START_TEST(a_cycle_goes_out_and_comes_back_as_one)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    uint32_t self = muster_clone_begin_object(writer);
    muster_clone_write_key(writer, "list");
    muster_clone_begin_array(writer);
    muster_clone_write_reference(writer, self);
    muster_clone_end(writer);
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    struct muster_clone_document *document = must_decode("a cycle", clone);
    const struct muster_clone_node *root = muster_clone_root(document);
    const struct muster_clone_node *inside = muster_clone_item(muster_clone_get(root, "list"), 0);
    ck_assert_uint_eq(muster_clone_object_number(inside), muster_clone_object_number(root));
    ck_assert_ptr_eq(muster_clone_get(inside, "list"), muster_clone_get(root, "list"));
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
}
END_TEST

START_TEST(the_first_mistake_is_told_with_its_place_and_the_writer_goes_on)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_object(writer);
    muster_clone_write_key(writer, "a");
    muster_clone_begin_array(writer);
    muster_clone_write_number(writer, 1);
    muster_clone_write_string(writer, "\xff", 1);
    muster_clone_end(writer);
    muster_clone_end(writer);
    muster_clone_end(writer);
    must_fail(writer, "clone: a text is not UTF-8 at .a[1]");
    muster_clone_write_null(writer);
    muster_clone_release(must_finish(writer));
    muster_clone_writer_destroy(writer);
}
END_TEST

static void twice_the_same_key(struct muster_clone_writer *writer)
{
    muster_clone_begin_object(writer);
    for (int i = 0; i < 2; i++) {
        muster_clone_write_key(writer, "k");
        muster_clone_write_number(writer, i);
    }
    muster_clone_end(writer);
}

static void no_key(struct muster_clone_writer *writer)
{
    muster_clone_begin_object(writer);
    muster_clone_write_null(writer);
    muster_clone_end(writer);
}

static void not_ended(struct muster_clone_writer *writer)
{
    muster_clone_begin_array(writer);
}

static void ended_twice(struct muster_clone_writer *writer)
{
    muster_clone_begin_array(writer);
    muster_clone_end(writer);
    muster_clone_end(writer);
}

static void two_values(struct muster_clone_writer *writer)
{
    muster_clone_write_null(writer);
    muster_clone_write_null(writer);
}

static void half_a_pair(struct muster_clone_writer *writer)
{
    muster_clone_begin_map(writer);
    muster_clone_write_null(writer);
    muster_clone_end(writer);
}

static void boxed_object(struct muster_clone_writer *writer)
{
    muster_clone_write_boxed(writer);
    muster_clone_begin_object(writer);
    muster_clone_end(writer);
}

static void view_of_itself(struct muster_clone_writer *writer)
{
    muster_clone_write_reference(writer, muster_clone_write_view(writer, MUSTER_CLONE_UINT8, 0, 0));
}

static void view_too_long(struct muster_clone_writer *writer)
{
    muster_clone_write_view(writer, MUSTER_CLONE_UINT32, 0, 2);
    muster_clone_write_buffer(writer, "1234567", 7);
}

static void reference_to_nothing(struct muster_clone_writer *writer)
{
    muster_clone_write_reference(writer, 0);
}

static void index_as_a_name(struct muster_clone_writer *writer)
{
    muster_clone_begin_array(writer);
    muster_clone_write_key(writer, "12");
}

static void index_that_was_passed(struct muster_clone_writer *writer)
{
    muster_clone_begin_array(writer);
    muster_clone_write_index(writer, 4);
    muster_clone_write_null(writer);
    muster_clone_write_index(writer, 4);
}

static void key_without_a_value(struct muster_clone_writer *writer)
{
    muster_clone_begin_object(writer);
    muster_clone_write_key(writer, "k");
    muster_clone_end(writer);
}

static const struct {
    void (*write)(struct muster_clone_writer *writer);
    const char *message;
} mistakes[] = {
    {twice_the_same_key, "clone: the key \"k\" for the second time"},
    {no_key, "clone: a value without a key"},
    {not_ended, "clone: the value is not complete at [0]"},
    {ended_twice, "clone: an end too many"},
    {two_values, "clone: a second value: a message has one"},
    {half_a_pair, "clone: a Map ends behind a key at [1]"},
    {boxed_object, "clone: only a boolean, a number, a string or a BigInt can be boxed"},
    {view_of_itself, "clone: a reference to an object that is not there"},
    {view_too_long, "clone: a view reaches beyond its buffer, or is not aligned in it"},
    {reference_to_nothing, "clone: a reference to an object that is not there"},
    {index_as_a_name, "clone: a named property of an array is an index or \"length\" at [0]"},
    {index_that_was_passed, "clone: an index that was passed already at [5]"},
    {key_without_a_value, "clone: an end where a value is due at .k"},
};

START_TEST(each_misuse_of_the_writer_has_its_sentence)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    mistakes[_i].write(writer);
    struct muster_clone *clone = NULL;
    struct muster_error error = {0};
    ck_assert_int_eq(muster_clone_writer_finish(writer, &clone, &error), MUSTER_INVALID_ARGUMENT);
    ck_assert_str_eq(error.message, mistakes[_i].message);
    muster_error_clean_up(&error);
    muster_clone_writer_destroy(writer);
}
END_TEST

static int freed;

static void count_free(void *data, void *user_data)
{
    (void)user_data;
    freed++;
    free(data);
}

START_TEST(a_transferred_buffer_is_never_copied_and_freed_once)
{
    freed = 0;
    struct muster_clone_buffer buffer = {.data = malloc(1000), .length = 1000, .free = count_free};
    void *data = buffer.data;
    memset(data, 7, 1000);
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_write_transferred_buffer(writer, &buffer);
    ck_assert_ptr_null(buffer.data);
    struct muster_clone *clone = must_finish(writer);
    muster_clone_writer_destroy(writer);
    struct muster_clone_document *document = must_decode("a transfer", clone);
    struct muster_clone_memory memory;
    ck_assert(muster_clone_memory(muster_clone_root(document), &memory));
    ck_assert_ptr_eq(memory.bytes.data, data);
    ck_assert(memory.is_side_entry && memory.entry == 0);
    ck_assert_int_eq(muster_clone_take_buffer(clone, 0, &buffer), MUSTER_OK);
    ck_assert_int_eq(muster_clone_take_buffer(clone, 0, &buffer), MUSTER_CLOSED);
    ck_assert_int_eq(muster_clone_take_buffer(clone, 1, &buffer), MUSTER_NOT_FOUND);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    ck_assert_int_eq(freed, 0);
    ck_assert_ptr_eq(buffer.data, data);
    muster_clone_buffer_clean_up(&buffer);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(large_buffers_go_beside_the_bytes_behind_the_transferred_ones)
{
    struct muster_clone_writer_options options = {.size = sizeof options, .raw_from = 4};
    struct muster_clone_writer *writer = muster_clone_writer_new(&options);
    struct muster_clone_buffer transferred;
    ck_assert_int_eq(muster_clone_buffer_copy("T", 1, &transferred), MUSTER_OK);
    muster_clone_begin_array(writer);
    muster_clone_write_buffer(writer, "large", 5);
    muster_clone_write_buffer(writer, "sml", 3);
    muster_clone_write_transferred_buffer(writer, &transferred);
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    ck_assert_uint_eq(muster_clone_buffer_count(clone), 2);
    ck_assert_mem_eq(muster_clone_buffer_at(clone, 0).data, "T", 1);
    ck_assert_mem_eq(muster_clone_buffer_at(clone, 1).data, "large", 5);
    muster_clone_document_destroy(must_decode("raw", clone));
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
}
END_TEST

static struct muster_clone *write_an_error(enum muster_clone_mode mode)
{
    struct muster_clone_writer_options options = {sizeof options, mode, 0};
    struct muster_clone_writer *writer = muster_clone_writer_new(&options);
    muster_clone_begin_map(writer);
    muster_clone_write_regexp(writer, "a", 1, MUSTER_CLONE_REGEXP_G, 5);
    muster_clone_begin_error(writer, MUSTER_CLONE_ERROR_AGGREGATE, "Mine", "m", NULL);
    muster_clone_write_cause(writer);
    muster_clone_write_number(writer, 1);
    muster_clone_write_key(writer, "code");
    muster_clone_write_number(writer, 2);
    muster_clone_end(writer);
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    muster_clone_writer_destroy(writer);
    return clone;
}

START_TEST(web_mode_drops_what_the_standard_drops)
{
    struct muster_clone *clones[] = {write_an_error(MUSTER_CLONE_POOL), write_an_error(MUSTER_CLONE_WEB)};
    for (int is_web = 0; is_web < 2; is_web++) {
        struct muster_clone_document *document = must_decode("an error", clones[is_web]);
        const struct muster_clone_node *root = muster_clone_root(document);
        struct muster_clone_regexp regexp;
        struct muster_clone_error error;
        ck_assert(muster_clone_regexp(muster_clone_entry_key(root, 0), &regexp));
        ck_assert(muster_clone_error(muster_clone_entry(root, 0), &error));
        ck_assert_double_eq(regexp.last_index, is_web ? 0 : 5);
        ck_assert_int_eq(error.type, is_web ? MUSTER_CLONE_ERROR_PLAIN : MUSTER_CLONE_ERROR_AGGREGATE);
        ck_assert((error.name == NULL) == (is_web != 0));
        ck_assert_double_eq(muster_clone_number(error.cause), 1);
        ck_assert_uint_eq(muster_clone_property_count(muster_clone_entry(root, 0)), is_web ? 0 : 1);
        muster_clone_document_destroy(document);
        muster_clone_release(clones[is_web]);
    }
}
END_TEST

START_TEST(bigints_are_read_as_numbers_and_as_text)
{
    static const struct {
        int64_t number;
        const char *text;
    } cases[] = {{0, "0"},
                 {-1, "-1"},
                 {1000000000, "1000000000"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        muster_clone_write_int64(writer, cases[i].number);
        struct muster_clone *clone = must_finish(writer);
        struct muster_clone_document *document = must_decode("a BigInt", clone);
        int64_t number = 42;
        uint64_t unsigned_number = 42;
        char *text = NULL;
        ck_assert(muster_clone_bigint_to_int64(muster_clone_root(document), &number));
        ck_assert(number == cases[i].number);
        ck_assert(muster_clone_bigint_to_uint64(muster_clone_root(document), &unsigned_number) ==
                  (cases[i].number >= 0));
        ck_assert_int_eq(muster_clone_bigint_to_text(muster_clone_root(document), &text), MUSTER_OK);
        ck_assert_str_eq(text, cases[i].text);
        free(text);
        muster_clone_document_destroy(document);
        muster_clone_release(clone);
    }
    muster_clone_writer_destroy(writer);
}
END_TEST

START_TEST(many_keys_and_many_shapes_stay_quick)
{
    enum { COUNT = 20000 };
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_object(writer);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        muster_clone_write_key(writer, key);
        muster_clone_begin_object(writer);
        muster_clone_write_key(writer, key);
        muster_clone_write_number(writer, i);
        muster_clone_end(writer);
    }
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    struct muster_clone_document *document = must_decode("many", clone);
    const struct muster_clone_node *found = muster_clone_get(muster_clone_root(document), "k19999");
    ck_assert_double_eq(muster_clone_number(muster_clone_get(found, "k19999")), 19999);
    ck_assert_ptr_null(muster_clone_get(muster_clone_root(document), "k20000"));
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
}
END_TEST

START_TEST(ten_thousand_objects_fit_into_each_other_and_one_more_does_not)
{
    for (int deep = MUSTER_CLONE_MAX_DEPTH; deep <= MUSTER_CLONE_MAX_DEPTH + 1; deep++) {
        struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
        struct muster_clone *clone = NULL;
        for (int i = 0; i < deep; i++)
            muster_clone_begin_array(writer);
        for (int i = 0; i < deep; i++)
            muster_clone_end(writer);
        enum muster_status status = muster_clone_writer_finish(writer, &clone, NULL);
        ck_assert_int_eq(status, deep == MUSTER_CLONE_MAX_DEPTH ? MUSTER_OK : MUSTER_UNSUPPORTED);
        muster_clone_writer_destroy(writer);
        if (status != MUSTER_OK)
            continue;
        struct muster_clone_document *document = must_decode("deep", clone);
        struct muster_value *value = NULL;
        char *text = NULL;
        ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, NULL), MUSTER_OK);
        ck_assert_int_eq(muster_clone_to_json(document, NULL, NULL, &text, NULL), MUSTER_OK);
        ck_assert_uint_eq(strlen(text), 2u * (size_t)deep);
        free(text);
        struct muster_clone *again = NULL;
        ck_assert_int_eq(muster_clone_from_value(value, NULL, &again, NULL), MUSTER_OK);
        must_be_the_same("deep", again, clone);
        struct muster_value *around = muster_value_new_array();
        ck_assert_int_eq(muster_value_append(around, value), MUSTER_OK);
        ck_assert_int_eq(muster_clone_from_value(around, NULL, &again, NULL), MUSTER_UNSUPPORTED);
        muster_value_release(around);
        muster_clone_release(again);
        muster_clone_document_destroy(document);
        muster_clone_release(clone);
    }
}
END_TEST

/* ---- values and JSON ---- */

static struct muster_clone *from_json(const char *text)
{
    struct muster_clone *clone = NULL;
    ck_assert_int_eq(muster_clone_from_json(text, strlen(text), NULL, &clone, NULL), MUSTER_OK);
    return clone;
}

/* The vector of that name. */
static struct muster_clone *vector_named(const char *name)
{
    for (size_t i = 0; i < muster_value_count(vectors); i++)
        if (strcmp(name_of(muster_value_at(vectors, i)), name) == 0)
            return whole_message(muster_value_at(vectors, i));
    ck_abort_msg("no vector %s", name);
    return NULL;
}

START_TEST(json_goes_in_and_out_and_so_does_a_value)
{
    static const char *const texts[] = {
        "null",
        "{\"a\":[1,-0.5,1e+300,\"x\",true,false,null,{}],\"b\":{\"c\":[]}}",
        "[{\"x\":1,\"y\":2},{\"x\":3,\"y\":4},\"\\u0001\\\"\u00e9\u20ac\U0001f600\"]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct muster_clone *clone = from_json(texts[i]);
        struct muster_clone_document *document = must_decode(texts[i], clone);
        struct muster_value *value = NULL;
        char *text = NULL;
        ck_assert_int_eq(muster_clone_to_json(document, NULL, NULL, &text, NULL), MUSTER_OK);
        ck_assert_str_eq(text, texts[i]);
        free(text);
        ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, NULL), MUSTER_OK);
        text = muster_value_to_json(value);
        ck_assert_str_eq(text, texts[i]);
        free(text);
        muster_value_release(value);
        muster_clone_document_destroy(document);
        muster_clone_release(clone);
    }
}
END_TEST

START_TEST(bytes_and_errors_of_a_value_come_back)
{
    struct muster_error error = {.name = (char *)"TypeError", .message = (char *)"m", .stack = (char *)"s"};
    struct muster_value *array = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(array, muster_value_new_bytes("\0\1\2", 3)), MUSTER_OK);
    ck_assert_int_eq(muster_value_append(array, muster_value_new_error(&error)), MUSTER_OK);
    error.name = (char *)"Mine";
    ck_assert_int_eq(muster_value_append(array, muster_value_new_error(&error)), MUSTER_OK);
    for (size_t raw_from = 0; raw_from <= 3; raw_from += 3) {
        struct muster_clone_writer_options options = {.size = sizeof options, .raw_from = raw_from};
        struct muster_clone *clone = NULL;
        struct muster_value *value = NULL;
        ck_assert_int_eq(muster_clone_from_value(array, &options, &clone, NULL), MUSTER_OK);
        ck_assert_uint_eq(muster_clone_buffer_count(clone), raw_from == 3);
        if (raw_from == 3)
            ck_assert_ptr_eq(muster_clone_buffer_at(clone, 0).data,
                             muster_value_bytes(muster_value_at(array, 0)).data);
        struct muster_clone_document *document = must_decode("bytes", clone);
        ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, NULL), MUSTER_OK);
        ck_assert_mem_eq(muster_value_bytes(muster_value_at(value, 0)).data, "\0\1\2", 3);
        ck_assert_str_eq(muster_value_error(muster_value_at(value, 1))->name, "TypeError");
        ck_assert_str_eq(muster_value_error(muster_value_at(value, 2))->name, "Mine");
        ck_assert_str_eq(muster_value_error(muster_value_at(value, 2))->stack, "s");
        muster_value_release(value);
        muster_clone_document_destroy(document);
        muster_clone_release(clone);
    }
    muster_value_release(array);
}
END_TEST

/* {a: [null, Map {Date => /x/g}, 1n, Set {boxed "s"}, Uint8Array of 2]} */
static struct muster_clone_document *rich(void)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_object(writer);
    muster_clone_write_key(writer, "a");
    muster_clone_begin_array(writer);
    muster_clone_write_null(writer);
    muster_clone_begin_map(writer);
    muster_clone_write_date(writer, -62198755200000.0);
    muster_clone_write_regexp(writer, "x", 1, MUSTER_CLONE_REGEXP_G, 0);
    muster_clone_end(writer);
    muster_clone_write_int64(writer, 1);
    muster_clone_begin_set(writer);
    muster_clone_write_boxed(writer);
    muster_clone_write_text(writer, "s");
    muster_clone_end(writer);
    muster_clone_write_view(writer, MUSTER_CLONE_UINT8, 1, 2);
    muster_clone_write_buffer(writer, "\1\2\3\4", 4);
    muster_clone_end(writer);
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    struct muster_clone_document *document = must_decode("rich", clone);
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
    return document;
}

START_TEST(what_has_no_counterpart_is_refused_with_its_place)
{
    struct muster_clone_document *document = rich();
    struct muster_error error = {0};
    struct muster_value *value = NULL;
    char *text = NULL;
    ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, &error), MUSTER_UNSUPPORTED);
    ck_assert_str_eq(error.message, "clone: a Map at .a[1] has no counterpart in a muster_value");
    ck_assert_int_eq(muster_clone_to_json(document, NULL, NULL, &text, &error), MUSTER_UNSUPPORTED);
    ck_assert_str_eq(error.message, "clone: a Map at .a[1] has no counterpart in JSON");
    struct muster_clone_value_options lenient = {sizeof lenient, MUSTER_CLONE_LENIENT, 0};
    ck_assert_int_eq(muster_clone_to_json(document, NULL, &lenient, &text, &error), MUSTER_UNSUPPORTED);
    ck_assert_str_eq(error.message, "clone: a BigInt at .a[2] has no counterpart in JSON");
    muster_error_clean_up(&error);
    muster_clone_document_destroy(document);
}
END_TEST

START_TEST(the_lenient_get_something_near)
{
    struct muster_clone_document *document = rich();
    struct muster_clone_value_options options = {
        sizeof options, MUSTER_CLONE_LENIENT | MUSTER_CLONE_DATE_AS_TEXT, 0};
    struct muster_value *value = NULL;
    ck_assert_int_eq(muster_clone_to_value(document, NULL, &options, &value, NULL), MUSTER_OK);
    char *text = muster_value_to_json(value);
    ck_assert_str_eq(text, "{\"a\":[null,[[\"-000001-01-01T00:00:00.000Z\",\"/x/g\"]],1,[\"s\"],"
                           "{\"bytes\":2}]}");
    free(text);
    muster_value_release(value);
    const struct muster_clone_node *a = muster_clone_get(muster_clone_root(document), "a");
    ck_assert_int_eq(muster_clone_to_json(document, muster_clone_item(a, 4), &options, &text, NULL),
                     MUSTER_OK);
    ck_assert_str_eq(text, "[2,3]");
    free(text);
    options.flags = MUSTER_CLONE_LENIENT | MUSTER_CLONE_DATE_AS_NUMBER;
    ck_assert_int_eq(muster_clone_to_json(document, muster_clone_item(a, 1), &options, &text, NULL),
                     MUSTER_OK);
    ck_assert_str_eq(text, "[[-62198755200000,\"/x/g\"]]");
    free(text);
    muster_clone_document_destroy(document);
}
END_TEST

START_TEST(dates_are_told_as_scripts_tell_them)
{
    static const struct {
        double ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951826154321.0, "2000-02-29T12:09:14.321Z"},
        {253402300799999.0, "9999-12-31T23:59:59.999Z"},
        {253402300800000.0, "+010000-01-01T00:00:00.000Z"},
        {8.64e15, "+275760-09-13T00:00:00.000Z"},
        {-8.64e15, "-271821-04-20T00:00:00.000Z"},
    };
    char text[MUSTER__CLONE_DATE_ROOM];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert(muster__clone_date_text(cases[i].ms, text));
        ck_assert_str_eq(text, cases[i].text);
    }
    ck_assert(!muster__clone_date_text(8.64e15 + 1, text));
    ck_assert(!muster__clone_date_text((double)NAN, text));
}
END_TEST

/* Thirty arrays, each twice in the next one: a billion nodes. */
static struct muster_clone_document *bomb(void)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_array(writer);
    uint32_t last = UINT32_MAX;
    for (int i = 0; i < 30; i++) {
        uint32_t self = muster_clone_begin_array(writer);
        for (int twice = 0; i > 0 && twice < 2; twice++)
            muster_clone_write_reference(writer, last);
        muster_clone_end(writer);
        last = self;
    }
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    struct muster_clone_document *document = must_decode("bomb", clone);
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
    return document;
}

START_TEST(shared_objects_are_shared_and_bombs_are_refused)
{
    struct muster_clone_document *document = bomb();
    struct muster_value *value = NULL;
    char *text = NULL;
    struct muster_error error = {0};
    ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, &error), MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "mentioned too often"));
    ck_assert_int_eq(muster_clone_to_json(document, NULL, NULL, &text, &error), MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "mentioned too often"));
    muster_error_clean_up(&error);
    const struct muster_clone_node *third = muster_clone_item(muster_clone_root(document), 2);
    ck_assert_int_eq(muster_clone_to_value(document, third, NULL, &value, NULL), MUSTER_OK);
    ck_assert_ptr_eq(muster_value_at(value, 0), muster_value_at(value, 1));
    muster_value_release(value);
    ck_assert_int_eq(muster_clone_to_json(document, third, NULL, &text, NULL), MUSTER_OK);
    ck_assert_str_eq(text, "[[[],[]],[[],[]]]");
    free(text);
    muster_clone_document_destroy(document);
}
END_TEST

START_TEST(a_cycle_has_no_counterpart)
{
    struct muster_clone *clone = vector_named("cycle_object");
    struct muster_clone_document *document = must_decode("cycle_object", clone);
    struct muster_value *value = NULL;
    char *text = NULL;
    struct muster_error error = {0};
    ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, &error), MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "a cycle, closed by the object"));
    ck_assert_int_eq(muster_clone_to_json(document, NULL, NULL, &text, &error), MUSTER_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "a cycle"));
    muster_error_clean_up(&error);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
}
END_TEST

/* Both keys become U+FFFD: the second value replaces the first, which a reference still names. */
START_TEST(keys_that_coincide_when_they_are_repaired_do_no_harm)
{
    static const uint16_t lone[] = {0xd800};
    static const uint16_t repaired[] = {0xfffd};
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_object(writer);
    muster_clone_write_key_utf16(writer, lone, 1);
    uint32_t lost = muster_clone_begin_array(writer);
    muster_clone_end(writer);
    muster_clone_write_key_utf16(writer, repaired, 1);
    muster_clone_write_number(writer, 1);
    muster_clone_write_key(writer, "again");
    muster_clone_write_reference(writer, lost);
    muster_clone_end(writer);
    struct muster_clone *clone = must_finish(writer);
    struct muster_clone_document *document = must_decode("keys", clone);
    struct muster_clone_value_options options = {sizeof options, MUSTER_CLONE_LENIENT, 0};
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    char *text = NULL;
    ck_assert_int_eq(muster_clone_to_value(document, NULL, NULL, &value, &error), MUSTER_UNSUPPORTED);
    muster_error_clean_up(&error);
    ck_assert_int_eq(muster_clone_to_value(document, NULL, &options, &value, NULL), MUSTER_OK);
    ck_assert_uint_eq(muster_value_count(value), 2);
    muster_value_release(value);
    ck_assert_int_eq(muster_clone_to_json(document, NULL, NULL, &text, NULL), MUSTER_OK);
    ck_assert_str_eq(text, "{\"\\ud800\":[],\"\ufffd\":1,\"again\":[]}");
    free(text);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
}
END_TEST

/* ---- memory and threads ---- */

START_TEST(every_failed_allocation_is_reported_and_leaks_nothing)
{
    struct muster_clone *source = vector_named("side_raw");
    struct muster_clone_document *first = must_decode("side_raw", source);
    struct muster_clone_document *many = rich();
    WITH_EVERY_FAILURE(grants) {
        struct muster_clone_value_options lenient = {sizeof lenient, MUSTER_CLONE_LENIENT, 0};
        struct muster_clone_writer_options raw = {.size = sizeof raw, .raw_from = 1};
        struct muster_clone *clone = NULL;
        struct muster_clone *again = NULL;
        struct muster_clone *copy = NULL;
        struct muster_clone_document *document = NULL;
        struct muster_value *value = NULL;
        char *text = NULL;
        enum muster_status status = muster_clone_encode(many, &raw, &clone, NULL);
        if (status == MUSTER_OK)
            status = muster_clone_decode(clone, NULL, &document, NULL);
        if (status == MUSTER_OK)
            status = muster_clone_to_value(document, NULL, &lenient, &value, NULL);
        if (status == MUSTER_OK)
            status = muster_clone_from_value(value, &raw, &again, NULL);
        if (status == MUSTER_OK)
            status = muster_clone_encode(first, NULL, &copy, NULL);
        if (status == MUSTER_OK)
            status = muster_clone_to_json(first, NULL, &lenient, &text, NULL);
        bool failed = malloc_has_failed;
        malloc_all_granted();
        ck_assert_int_eq(status, failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        free(text);
        muster_value_release(value);
        muster_clone_document_destroy(document);
        muster_clone_release(clone);
        muster_clone_release(again);
        muster_clone_release(copy);
    }
    muster_clone_document_destroy(many);
    muster_clone_document_destroy(first);
    muster_clone_release(source);
}
END_TEST

static enum muster_status write_something(struct muster_clone_writer *writer,
                                          struct muster_clone_buffer *take_buffer,
                                          struct muster_clone **ret_clone)
{
    muster_clone_begin_object(writer);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        muster_clone_write_key(writer, key);
        muster_clone_begin_array(writer);
        muster_clone_write_text(writer, "\u20ac");
        muster_clone_end(writer);
    }
    muster_clone_write_key(writer, "b");
    muster_clone_write_transferred_buffer(writer, take_buffer);
    muster_clone_end(writer);
    return muster_clone_writer_finish(writer, ret_clone, NULL);
}

START_TEST(a_writer_without_memory_says_so_and_loses_nothing)
{
    freed = 0;
    int rounds = 0;
    WITH_EVERY_FAILURE(grants) {
        struct muster_clone_buffer buffer = {
            .data = __real_malloc(10), .length = 10, .free = count_free};
        struct muster_clone *clone = NULL;
        struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
        enum muster_status status =
            writer == NULL ? MUSTER_NO_MEMORY : write_something(writer, &buffer, &clone);
        bool failed = malloc_has_failed;
        malloc_all_granted();
        ck_assert_int_eq(status, failed ? MUSTER_NO_MEMORY : MUSTER_OK);
        muster_clone_writer_destroy(writer);
        muster_clone_buffer_clean_up(&buffer);
        muster_clone_release(clone);
        ck_assert_int_eq(freed, ++rounds);
    }
}
END_TEST

static void *read_and_release(void *data)
{
    struct muster_clone *clone = data;
    for (int i = 0; i < 200; i++) {
        struct muster_clone *mine = muster_clone_acquire(clone);
        struct muster_clone_document *document = must_decode("threads", mine);
        muster_clone_release(mine);
        muster_clone_document_destroy(document);
    }
    muster_clone_release(clone);
    return NULL;
}

START_TEST(two_threads_read_one_message)
{
    struct muster_clone *clone = from_json("{\"a\":[1,2,3,{\"b\":\"\u20ac\"}]}");
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, read_and_release, muster_clone_acquire(clone)), 0);
    muster_clone_release(clone);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

static TCase *vector_topic(void)
{
    TCase *topic = tcase_create("vectors");
    tcase_add_test(topic, each_vector_reads_as_its_tree_and_writes_as_its_bytes);
    tcase_add_test(topic, each_vector_to_refuse_is_refused_with_its_offset);
    tcase_add_test(topic, the_writer_writes_each_tree_as_its_bytes);
    return topic;
}

static TCase *hostile_topic(void)
{
    TCase *topic = tcase_create("hostile");
    tcase_add_test(topic, each_vector_that_is_cut_off_is_refused);
    tcase_add_test(topic, a_flipped_bit_does_no_harm);
    tcase_add_test(topic, nested_counts_cannot_claim_the_same_bytes_again);
    tcase_add_test(topic, a_refusal_names_the_offset_and_what_is_wrong);
    tcase_add_test(topic, resizable_buffers_reserve_no_more_than_the_receiver_allows);
    return topic;
}

static TCase *writer_topic(void)
{
    TCase *topic = tcase_create("writer");
    tcase_add_test(topic, a_cycle_goes_out_and_comes_back_as_one);
    tcase_add_test(topic, the_first_mistake_is_told_with_its_place_and_the_writer_goes_on);
    tcase_add_loop_test(topic, each_misuse_of_the_writer_has_its_sentence, 0,
                        (int)(sizeof mistakes / sizeof mistakes[0]));
    tcase_add_test(topic, a_transferred_buffer_is_never_copied_and_freed_once);
    tcase_add_test(topic, large_buffers_go_beside_the_bytes_behind_the_transferred_ones);
    tcase_add_test(topic, web_mode_drops_what_the_standard_drops);
    tcase_add_test(topic, bigints_are_read_as_numbers_and_as_text);
    tcase_add_test(topic, many_keys_and_many_shapes_stay_quick);
    tcase_add_test(topic, ten_thousand_objects_fit_into_each_other_and_one_more_does_not);
    return topic;
}

static TCase *value_topic(void)
{
    TCase *topic = tcase_create("values");
    tcase_add_test(topic, json_goes_in_and_out_and_so_does_a_value);
    tcase_add_test(topic, bytes_and_errors_of_a_value_come_back);
    tcase_add_test(topic, what_has_no_counterpart_is_refused_with_its_place);
    tcase_add_test(topic, the_lenient_get_something_near);
    tcase_add_test(topic, dates_are_told_as_scripts_tell_them);
    tcase_add_test(topic, shared_objects_are_shared_and_bombs_are_refused);
    tcase_add_test(topic, a_cycle_has_no_counterpart);
    tcase_add_test(topic, keys_that_coincide_when_they_are_repaired_do_no_harm);
    return topic;
}

static TCase *memory_topic(void)
{
    TCase *topic = tcase_create("memory");
    tcase_add_test(topic, every_failed_allocation_is_reported_and_leaks_nothing);
    tcase_add_test(topic, a_writer_without_memory_says_so_and_loses_nothing);
    tcase_add_test(topic, two_threads_read_one_message);
    return topic;
}

static void add_topic(Suite *suite, TCase *topic)
{
    tcase_set_timeout(topic, 60);
    suite_add_tcase(suite, topic);
}

static struct muster_value *read_vectors(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = file == NULL ? NULL : malloc(1 << 22);
    size_t length = text == NULL ? 0 : fread(text, 1, 1 << 22, file);
    struct muster_value *whole = NULL;
    struct muster_error error = {0};
    if (muster_value_from_json(text, length, &whole, &error) != MUSTER_OK)
        fprintf(stderr, "%s: %s\n", path, error.message);
    struct muster_value *list = muster_value_acquire(muster_value_get(whole, "vectors"));
    muster_value_release(whole);
    muster_error_clean_up(&error);
    free(text);
    if (file != NULL)
        fclose(file);
    return list;
}

int main(int count, char **arguments)
{
    vectors = read_vectors(count > 1 ? arguments[1] : "clone_vectors.json");
    if (vectors == NULL)
        return 1;
    Suite *suite = suite_create("clone");
    add_topic(suite, vector_topic());
    add_topic(suite, hostile_topic());
    add_topic(suite, writer_topic());
    add_topic(suite, value_topic());
    add_topic(suite, memory_topic());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    muster_value_release(vectors);
    return failed == 0 ? 0 : 1;
}
