/* tests/test_clone_lua.c [VECTORS] - structured clone in Lua against the shared vectors, hostile bytes, failing
 * memory, and what scripts see of it.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "runtime/engine_lua_clone.h"
#include "runtime/value.h"
#include "tests/fake_realm_host.h"

#ifndef CLONE_VECTORS
#define CLONE_VECTORS "tests/clone_vectors.json"
#endif

static struct muster_value *vectors; /* the array of them */
static size_t memory;                /* of the state under test */

/* ---- a bare state ---- */

static void *allocate(void *user_data, void *pointer, size_t old_size, size_t new_size)
{
    (void)user_data;
    if (pointer == NULL)
        old_size = 0;
    if (new_size == 0) {
        free(pointer);
        memory -= old_size;
        return NULL;
    }
    void *result = realloc(pointer, new_size);
    if (result == NULL && new_size > old_size)
        return NULL;
    memory += new_size - old_size;
    return result != NULL ? result : pointer; /* Lua takes for granted that shrinking works */
}

static int open_library(lua_State *L)
{
    luaL_openlibs(L);
    muster__lua_open_value(L);
    muster__lua_open_error(L);
    lua_newtable(L);
    muster__lua_open_value_names(L);
    muster__lua_open_clone(L);
    lua_setglobal(L, "muster");
    return 0;
}

static lua_State *new_state(void)
{
    memory = 0;
    lua_State *L = lua_newstate(allocate, NULL);
    ck_assert_ptr_nonnull(L);
    *(struct muster__vm **)lua_getextraspace(L) = NULL;
    lua_pushcfunction(L, open_library);
    ck_assert_int_eq(lua_pcall(L, 0, 0, 0), LUA_OK);
    return L;
}

static void close_state(lua_State *L)
{
    lua_close(L);
    ck_assert_uint_eq(memory, 0);
}

/* ---- vectors ---- */

struct message {
    unsigned char *bytes;
    size_t length;
};

static const char *text_of(const struct muster_value *object, const char *key)
{
    const struct muster_value *value = muster_value_get(object, key);
    return muster_value_type(value) == MUSTER_TYPE_STRING ? muster_value_bytes(value).data : NULL;
}

static struct message from_hex(const char *hex)
{
    struct message message = {.length = strlen(hex) / 2};
    message.bytes = malloc(message.length + 1);
    for (size_t i = 0; i < message.length; i++) {
        unsigned byte = 0;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        message.bytes[i] = (unsigned char)byte;
    }
    return message;
}

static struct message repeat(const struct muster_value *how)
{
    struct message parts[3] = {from_hex(text_of(how, "prefix")), from_hex(text_of(how, "unit")),
                               from_hex(text_of(how, "suffix"))};
    size_t times = (size_t)muster_value_number(muster_value_get(how, "times"));
    struct message message = {.length = parts[0].length + times * parts[1].length + parts[2].length};
    message.bytes = malloc(message.length);
    unsigned char *to = message.bytes;
    for (size_t part = 0; part < 3; part++) {
        for (size_t i = 0; i < (part == 1 ? times : 1); i++, to += parts[part].length)
            memcpy(to, parts[part].bytes, parts[part].length);
        free(parts[part].bytes);
    }
    return message;
}

/* Without bytes: the vector is of encoding only. */
static struct message message_of(const struct muster_value *vector)
{
    if (muster_value_get(vector, "hex_repeat") != NULL)
        return repeat(muster_value_get(vector, "hex_repeat"));
    const char *hex = text_of(vector, "hex");
    return hex != NULL ? from_hex(hex) : (struct message){0};
}

static bool is_refused(const struct muster_value *vector)
{
    return text_of(vector, "refuse") != NULL;
}

/* Pushes the lists of buffers and of hosts. */
static void push_lists(lua_State *L, const struct muster_value *vector)
{
    const struct muster_value *buffers = muster_value_get(vector, "buffers");
    lua_newtable(L);
    for (size_t i = 0; i < muster_value_count(buffers); i++) {
        struct message entry = from_hex(muster_value_bytes(muster_value_at(buffers, i)).data);
        struct muster__lua_buffer *buffer = muster__lua_push_buffer(L, entry.length);
        memcpy(buffer->data, entry.bytes, entry.length);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        free(entry.bytes);
    }
    lua_newtable(L);
    lua_Integer hosts = 0;
    if (muster_value_get(vector, "hosts") != NULL)
        hosts = (lua_Integer)muster_value_number(muster_value_get(vector, "hosts"));
    for (lua_Integer i = 1; i <= hosts; i++) {
        lua_newuserdatauv(L, 1, 0);
        lua_rawseti(L, -2, i);
    }
}

/* On L: buffers, hosts.  Pushes the value, or the error's message. */
static int read_entry(lua_State *L)
{
    const struct message *message = lua_touserdata(L, 1);
    muster__lua_clone_read(L, message->bytes, message->length, 2, 3);
    return 1;
}

static bool read_message(lua_State *L, const struct message *message)
{
    lua_pushcfunction(L, read_entry);
    lua_pushlightuserdata(L, (void *)message);
    lua_pushvalue(L, -4);
    lua_pushvalue(L, -4);
    if (lua_pcall(L, 3, 1, 0) == LUA_OK)
        return true;
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "message");
        lua_replace(L, -2);
    }
    return false;
}

static int write_entry(lua_State *L)
{
    struct muster__lua_clone_options options = {.buffers = 2, .hosts = 3};
    struct muster__lua_bytes *bytes = muster__lua_clone_write(L, 1, &options);
    lua_pushlstring(L, (const char *)bytes->data, bytes->length);
    return 1;
}

/* On L: buffers, hosts, value.  Pushes the bytes as a string, or the error's message. */
static bool write_value(lua_State *L)
{
    lua_pushcfunction(L, write_entry);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -5);
    lua_pushvalue(L, -5);
    if (lua_pcall(L, 3, 1, 0) == LUA_OK)
        return true;
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "message");
        lua_replace(L, -2);
    }
    return false;
}

static void push_hex(lua_State *L, const void *data, size_t length)
{
    luaL_Buffer text;
    char digits[3];
    luaL_buffinit(L, &text);
    for (size_t i = 0; i < length; i++) {
        snprintf(digits, sizeof digits, "%02x", ((const unsigned char *)data)[i]);
        luaL_addlstring(&text, digits, 2);
    }
    luaL_pushresult(&text);
}

/* ---- trees: what a vector means, against what Lua has ---- */

struct walk {
    lua_State *L;
    const struct muster_value *vector;
    const char *name;
    int objects; /* a list: the objects in the order of their numbers */
};

#define HOLDS(walk, condition) ck_assert_msg(condition, "%s: %s", (walk)->name, #condition)

static void check_node(const struct walk *walk, const struct muster_value *node);

static const char *string_at(const struct muster_value *array, size_t i)
{
    return muster_value_bytes(muster_value_at(array, i)).data;
}

/* Pushes the text of ["str", …] or ["str16", …]. */
static void push_text_node(const struct walk *walk, const struct muster_value *node)
{
    struct muster_bytes text = muster_value_bytes(muster_value_at(node, 1));
    if (strcmp(string_at(node, 0), "str") == 0) {
        lua_pushlstring(walk->L, text.data, text.length);
        return;
    }
    luaL_Buffer buffer;
    uint32_t high = 0;
    luaL_buffinit(walk->L, &buffer);
    for (size_t i = 0; i < text.length; i += 4) {
        unsigned unit = 0;
        sscanf(text.data + i, "%4x", &unit);
        unsigned next = 0;
        if (i + 4 < text.length)
            sscanf(text.data + i + 4, "%4x", &next);
        if (high != 0) {
            unit = 0x10000 + ((high & 0x3ff) << 10) + (unit & 0x3ff);
            high = 0;
        } else if ((unit & 0xfc00) == 0xd800 && (next & 0xfc00) == 0xdc00) {
            high = unit;
            continue;
        }
        lua_pushfstring(walk->L, "%U", (unsigned long)unit); /* lone surrogates as they are */
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
}

static void check_number(const struct walk *walk, const char *text)
{
    double expected = strtod(text, NULL); /* also NaN and Infinity */
    HOLDS(walk, lua_type(walk->L, -1) == LUA_TNUMBER);
    double number = lua_tonumber(walk->L, -1);
    HOLDS(walk, isnan(expected) ? isnan(number)
                                : number == expected && signbit(number) == signbit(expected));
}

static void check_text_field(const struct walk *walk, const char *key,
                             const struct muster_value *node)
{
    if (node == NULL)
        return;
    lua_getfield(walk->L, -1, key);
    push_text_node(walk, node);
    HOLDS(walk, lua_rawequal(walk->L, -1, -2));
    lua_pop(walk->L, 2);
}

/* On L: the object, which takes the next number. */
static void number_object(const struct walk *walk)
{
    lua_pushvalue(walk->L, -1);
    lua_rawseti(walk->L, walk->objects, (lua_Integer)lua_rawlen(walk->L, walk->objects) + 1);
}

static void check_pairs(const struct walk *walk, const struct muster_value *pairs)
{
    lua_State *L = walk->L;
    for (size_t i = 0; i < muster_value_count(pairs); i++) {
        const struct muster_value *pair = muster_value_at(pairs, i);
        push_text_node(walk, muster_value_at(pair, 0));
        lua_rawget(L, -2);
        check_node(walk, muster_value_at(pair, 1));
        lua_pop(L, 1);
    }
}

static size_t count_pairs(lua_State *L)
{
    size_t count = 0;
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
        count++;
    return count;
}

static void check_array(const struct walk *walk, const struct muster_value *node)
{
    lua_State *L = walk->L;
    const struct muster_value *items = muster_value_at(node, 1);
    size_t count = 0;
    for (size_t i = 0; i < muster_value_count(items); i++) {
        const struct muster_value *item = muster_value_at(items, i);
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (strcmp(string_at(item, 0), "hole") == 0) {
            HOLDS(walk, lua_isnil(L, -1));
        } else {
            count++;
            check_node(walk, item);
        }
        lua_pop(L, 1);
    }
    check_pairs(walk, muster_value_at(node, 2));
    HOLDS(walk, count_pairs(L) == count + muster_value_count(muster_value_at(node, 2)));
}

static void check_sparse(const struct walk *walk, const struct muster_value *node)
{
    lua_State *L = walk->L;
    const struct muster_value *items = muster_value_at(node, 2);
    for (size_t i = 0; i < muster_value_count(items); i++) {
        const struct muster_value *item = muster_value_at(items, i);
        lua_rawgeti(L, -1, (lua_Integer)muster_value_number(muster_value_at(item, 0)) + 1);
        check_node(walk, muster_value_at(item, 1));
        lua_pop(L, 1);
    }
    check_pairs(walk, muster_value_at(node, 3));
    HOLDS(walk, count_pairs(L) == muster_value_count(items) +
                                      muster_value_count(muster_value_at(node, 3)));
}

static void check_map(const struct walk *walk, const struct muster_value *node, bool is_set)
{
    lua_State *L = walk->L;
    const struct muster_value *items = muster_value_at(node, 1);
    const struct muster__lua_map *map = lua_touserdata(L, -1);
    HOLDS(walk, lua_type(L, -1) == LUA_TUSERDATA);
    HOLDS(walk, muster__lua_kind_of(L, -1) == (is_set ? MUSTER__LUA_SET : MUSTER__LUA_MAP));
    HOLDS(walk, map->count == muster_value_count(items));
    lua_getiuservalue(L, -1, 1);
    int list = lua_gettop(L);
    for (size_t i = 0; i < map->count; i++) {
        const struct muster_value *item = muster_value_at(items, i);
        HOLDS(walk, muster__lua_map_push_key(L, list, is_set, i + 1));
        check_node(walk, is_set ? item : muster_value_at(item, 0));
        lua_pop(L, 1);
        if (is_set)
            continue;
        lua_rawgeti(L, list, 2 * (lua_Integer)i + 2);
        check_node(walk, muster_value_at(item, 1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void check_field(const struct walk *walk, const char *key, const struct muster_value *node)
{
    if (node == NULL)
        return;
    lua_getfield(walk->L, -1, key);
    check_node(walk, node);
    lua_pop(walk->L, 1);
}

static void check_error(const struct walk *walk, const struct muster_value *parts)
{
    HOLDS(walk, muster__lua_kind_of(walk->L, -1) == MUSTER__LUA_ERROR);
    static const char *const texts[] = {"message", "stack", "name"};
    static const char *const nodes[] = {"cause", "errors", "quota", "requested"};
    for (size_t i = 0; i < 3; i++)
        check_text_field(walk, texts[i], muster_value_get(parts, texts[i]));
    for (size_t i = 0; i < 4; i++)
        check_field(walk, nodes[i], muster_value_get(parts, nodes[i]));
    check_pairs(walk, muster_value_get(parts, "extra"));
}

static void check_buffer(const struct walk *walk, const char *hex, size_t maximum)
{
    lua_State *L = walk->L;
    HOLDS(walk, lua_type(L, -1) == LUA_TUSERDATA);
    HOLDS(walk, muster__lua_kind_of(L, -1) == MUSTER__LUA_BUFFER);
    const struct muster__lua_buffer *buffer = lua_touserdata(L, -1);
    push_hex(L, buffer->data, buffer->length);
    ck_assert_str_eq(lua_tostring(L, -1), hex);
    lua_pop(L, 1);
    HOLDS(walk, buffer->resizable == (maximum != SIZE_MAX));
    HOLDS(walk, !buffer->resizable || buffer->maximum == maximum);
}

static void check_view(const struct walk *walk, const struct muster_value *node)
{
    lua_State *L = walk->L;
    HOLDS(walk, muster__lua_kind_of(L, -1) == MUSTER__LUA_VIEW);
    const struct muster__lua_view *view = lua_touserdata(L, -1);
    double length = muster_value_number(muster_value_at(node, 3));
    lua_getfield(L, -1, "element");
    ck_assert_str_eq(lua_tostring(L, -1), string_at(node, 1));
    lua_pop(L, 1);
    HOLDS(walk, (double)view->offset == muster_value_number(muster_value_at(node, 2)));
    HOLDS(walk, length < 0 ? view->tracks : !view->tracks && (double)view->count == length);
    lua_getiuservalue(L, -1, 1);
    check_node(walk, muster_value_at(node, 4));
    lua_pop(L, 1);
}

static void check_bigint(const struct walk *walk, const char *text)
{
    lua_State *L = walk->L;
    HOLDS(walk, lua_isinteger(L, -1) || muster__lua_kind_of(L, -1) == MUSTER__LUA_BIGINT);
    lua_getglobal(L, "muster");
    lua_getfield(L, -1, "bigint");
    lua_pushvalue(L, -3);
    lua_call(L, 1, 1);
    lua_getfield(L, -2, "bigint");
    lua_pushstring(L, text);
    lua_call(L, 1, 1);
    HOLDS(walk, lua_compare(L, -1, -2, LUA_OPEQ));
    lua_pop(L, 3);
}

static bool check_primitive(const struct walk *walk, const struct muster_value *node)
{
    lua_State *L = walk->L;
    const char *word = string_at(node, 0);
    if (strcmp(word, "undefined") == 0) {
        HOLDS(walk, lua_isnil(L, -1) || lua_touserdata(L, -1) == &muster__lua_undefined_key);
    } else if (strcmp(word, "null") == 0) {
        HOLDS(walk, lua_touserdata(L, -1) == &muster__lua_null_key);
    } else if (strcmp(word, "bool") == 0) {
        HOLDS(walk, lua_isboolean(L, -1) &&
                        lua_toboolean(L, -1) == muster_value_boolean(muster_value_at(node, 1)));
    } else if (strcmp(word, "num") == 0) {
        check_number(walk, string_at(node, 1));
    } else if (strcmp(word, "bigint") == 0) {
        check_bigint(walk, string_at(node, 1));
    } else if (strncmp(word, "str", 3) == 0) {
        push_text_node(walk, node);
        HOLDS(walk, lua_rawequal(L, -1, -2));
        lua_pop(L, 1);
    } else {
        return false;
    }
    return true;
}

static void check_table(const struct walk *walk, const struct muster_value *node)
{
    lua_State *L = walk->L;
    const char *word = string_at(node, 0);
    HOLDS(walk, lua_istable(L, -1));
    if (strcmp(word, "object") == 0) {
        check_pairs(walk, muster_value_at(node, 1));
        HOLDS(walk, count_pairs(L) == muster_value_count(muster_value_at(node, 1)));
    } else if (strcmp(word, "array") == 0) {
        check_array(walk, node);
    } else if (strcmp(word, "sparse") == 0) {
        check_sparse(walk, node);
    } else if (strcmp(word, "date") == 0) {
        lua_getfield(L, -1, "time");
        check_number(walk, string_at(node, 1));
        lua_pop(L, 1);
    } else if (strcmp(word, "regexp") == 0) {
        check_text_field(walk, "source", muster_value_at(node, 1));
        lua_getfield(L, -1, "flags");
        ck_assert_str_eq(lua_tostring(L, -1), string_at(node, 2));
        lua_getfield(L, -2, "last_index");
        check_number(walk, string_at(node, 3));
        lua_pop(L, 2);
    } else if (strcmp(word, "boxed") == 0) {
        check_field(walk, "value", muster_value_at(node, 1));
    } else if (strcmp(word, "error") == 0) {
        check_error(walk, muster_value_at(node, 2));
    } else {
        ck_assert_str_eq(word, "domexception");
        check_error(walk, muster_value_at(node, 1));
    }
}

/* On L: what the node means. */
static void check_node(const struct walk *walk, const struct muster_value *node)
{
    lua_State *L = walk->L;
    const char *word = string_at(node, 0);
    luaL_checkstack(L, 20, NULL);
    if (check_primitive(walk, node))
        return;
    if (strcmp(word, "ref") == 0) {
        lua_rawgeti(L, walk->objects, (lua_Integer)muster_value_number(muster_value_at(node, 1)) + 1);
        HOLDS(walk, lua_rawequal(L, -1, -2));
        lua_pop(L, 1);
        return;
    }
    number_object(walk);
    if (strcmp(word, "map") == 0 || strcmp(word, "set") == 0) {
        check_map(walk, node, word[0] == 's');
    } else if (strcmp(word, "buffer") == 0 || strcmp(word, "resizable") == 0) {
        bool resizable = word[0] == 'r';
        check_buffer(walk, string_at(node, 1),
                     resizable ? (size_t)muster_value_number(muster_value_at(node, 2)) : SIZE_MAX);
    } else if (strncmp(word, "side", 4) == 0) {
        const struct muster_value *entries = muster_value_get(walk->vector, "buffers");
        check_buffer(walk, string_at(entries, (size_t)muster_value_number(muster_value_at(node, 1))),
                     word[4] != '\0' ? (size_t)muster_value_number(muster_value_at(node, 3)) : SIZE_MAX);
    } else if (strcmp(word, "view") == 0) {
        check_view(walk, node);
    } else if (strcmp(word, "host") == 0) {
        HOLDS(walk, lua_type(L, -1) == LUA_TUSERDATA);
    } else {
        check_table(walk, node);
    }
}

/* On L: the value. */
static void check_tree(lua_State *L, const struct muster_value *vector)
{
    const struct muster_value *tree = muster_value_get(vector, "tree");
    if (tree == NULL)
        return;
    lua_newtable(L);
    lua_insert(L, -2);
    struct walk walk = {L, vector, text_of(vector, "name"), lua_gettop(L) - 1};
    int top = lua_gettop(L);
    check_node(&walk, tree);
    ck_assert_int_eq(lua_gettop(L), top);
    lua_remove(L, -2);
}

/* ---- the vectors ---- */

static void assert_bytes(lua_State *L, const char *name, const struct message *expected)
{
    size_t length = 0;
    const char *bytes = lua_tolstring(L, -1, &length);
    if (length == expected->length && memcmp(bytes, expected->bytes, length) == 0)
        return;
    push_hex(L, bytes, length);
    push_hex(L, expected->bytes, expected->length);
    ck_abort_msg("%s: wrote %s, expected %s", name, lua_tostring(L, -2), lua_tostring(L, -1));
}

START_TEST(every_vector_is_read_and_written_as_the_same_bytes)
{
    lua_State *L = new_state();
    size_t seen = 0;
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        const char *name = text_of(vector, "name");
        struct message message = message_of(vector);
        const struct muster_value *canonical = muster_value_get(vector, "canonical");
        if (message.bytes == NULL || is_refused(vector)) {
            free(message.bytes);
            continue;
        }
        push_lists(L, vector);
        ck_assert_msg(read_message(L, &message), "%s: %s", name, lua_tostring(L, -1));
        check_tree(L, vector);
        ck_assert_msg(write_value(L), "%s: %s", name, lua_tostring(L, -1));
        if (canonical == NULL || muster_value_boolean(canonical))
            assert_bytes(L, name, &message);
        lua_settop(L, 0);
        free(message.bytes);
        seen++;
    }
    ck_assert_uint_gt(seen, 150);
    close_state(L);
}
END_TEST

START_TEST(what_must_be_refused_is_refused_with_its_reason)
{
    lua_State *L = new_state();
    size_t seen = 0;
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        const char *name = text_of(vector, "name");
        const char *reason = text_of(vector, "refuse");
        struct message message = message_of(vector);
        if (message.bytes == NULL || reason == NULL) {
            free(message.bytes);
            continue;
        }
        push_lists(L, vector);
        bool taken = read_message(L, &message);
        if (strcmp(name, "refuse_regexp_source") != 0) { /* Lua compiles no such expressions */
            ck_assert_msg(!taken, "%s: taken", name);
            ck_assert_msg(strncmp(lua_tostring(L, -1), reason, strlen(reason)) == 0,
                          "%s: expected %s, got %s", name, reason, lua_tostring(L, -1));
        }
        lua_settop(L, 0);
        free(message.bytes);
        seen++;
    }
    ck_assert_uint_gt(seen, 50);
    close_state(L);
}
END_TEST

static void each_prefix_is_refused(lua_State *L, const struct muster_value *vector,
                                   const struct message *message)
{
    for (size_t length = 0; length < message->length; length++) {
        unsigned char *copy = malloc(length + 1); /* so that a sanitizer sees one byte too many */
        struct message part = {realloc(copy, length > 0 ? length : 1), length};
        memcpy(part.bytes, message->bytes, length);
        push_lists(L, vector);
        bool taken = read_message(L, &part);
        ck_assert_msg(!taken, "%s: %zu bytes were enough", text_of(vector, "name"), length);
        lua_settop(L, 0);
        free(part.bytes);
    }
}

START_TEST(no_part_of_a_message_is_a_message)
{
    lua_State *L = new_state();
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        struct message message = message_of(vector);
        if (message.bytes != NULL && !is_refused(vector) && message.length < 3000)
            each_prefix_is_refused(L, vector, &message);
        free(message.bytes);
    }
    close_state(L);
}
END_TEST

/* What was read can be written, and from then on stays as it is. */
static void assert_settles(lua_State *L, const char *name)
{
    ck_assert_msg(write_value(L), "%s: read, and not written: %s", name, lua_tostring(L, -1));
    struct message first;
    first.bytes = (unsigned char *)lua_tolstring(L, -1, &first.length);
    lua_replace(L, -2); /* buffers, hosts, bytes */
    lua_insert(L, 1);
    ck_assert_msg(read_message(L, &first), "%s: written, and not read: %s", name, lua_tostring(L, -1));
    ck_assert_msg(write_value(L), "%s: %s", name, lua_tostring(L, -1));
    assert_bytes(L, name, &first);
}

static void flip_each_bit(lua_State *L, const struct muster_value *vector, struct message *message)
{
    for (size_t bit = 0; bit < message->length * 8; bit++) {
        message->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        push_lists(L, vector);
        if (read_message(L, message))
            assert_settles(L, text_of(vector, "name"));
        lua_settop(L, 0);
        message->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

START_TEST(a_flipped_bit_is_refused_or_gives_a_value)
{
    lua_State *L = new_state();
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        struct message message = message_of(vector);
        if (message.bytes != NULL && message.length < 300)
            flip_each_bit(L, vector, &message);
        free(message.bytes);
    }
    close_state(L);
}
END_TEST

static int go_round(lua_State *L)
{
    struct muster__lua_clone_options options = {0};
    muster__lua_clone_read(L, lua_tostring(L, 1), lua_rawlen(L, 1), 0, 0);
    struct muster__lua_bytes *bytes = muster__lua_clone_write(L, -1, &options);
    free(bytes->data);
    bytes->data = NULL;
    return 0;
}

static void with_each_failure(lua_State *L)
{
    int status = LUA_OK;
    WITH_EVERY_FAILURE(grants)
    {
        lua_pushcfunction(L, go_round);
        lua_pushvalue(L, 1);
        status = lua_pcall(L, 1, 0, 0);
        lua_settop(L, 1);
        malloc_all_granted();
        lua_gc(L, LUA_GCCOLLECT);
    }
    ck_assert_int_eq(status, LUA_OK);
}

START_TEST(memory_that_fails_anywhere_raises_and_leaks_nothing)
{
    lua_State *L = new_state();
    for (size_t i = 0; i < muster_value_count(vectors); i++) {
        const struct muster_value *vector = muster_value_at(vectors, i);
        struct message message = message_of(vector);
        bool plain = muster_value_get(vector, "buffers") == NULL &&
                     muster_value_get(vector, "hosts") == NULL && !is_refused(vector);
        if (message.bytes != NULL && plain && message.length < 200) {
            lua_pushlstring(L, (const char *)message.bytes, message.length);
            with_each_failure(L);
        }
        lua_settop(L, 0);
        free(message.bytes);
    }
    close_state(L);
}
END_TEST

START_TEST(what_is_allocated_is_bounded_by_the_input)
{
    /* Each of 9,000 arrays announces all the bytes that are left. */
    static unsigned char bytes[2 + 9000 * 4];
    size_t length = 2;
    bytes[0] = 0xc1;
    bytes[1] = 0x01;
    for (int i = 0; i < 9000; i++) {
        size_t rest = sizeof bytes - length - 4;
        bytes[length++] = 0x11;
        bytes[length++] = (unsigned char)(rest | 128);
        bytes[length++] = (unsigned char)(rest >> 7 | 128);
        bytes[length++] = (unsigned char)(rest >> 14);
        if (rest >> 14 == 0)
            break;
    }
    lua_State *L = new_state();
    struct message message = {bytes, length};
    size_t before = memory;
    lua_gc(L, LUA_GCSTOP);
    lua_newtable(L);
    lua_newtable(L);
    ck_assert(!read_message(L, &message));
    ck_assert_int_eq(strncmp(lua_tostring(L, -1), "truncated", 9), 0);
    ck_assert_uint_lt(memory - before, 100 * length);
    close_state(L);
}
END_TEST

/* ---- native Lua values ---- */

/* Runs Lua that returns true. */
static void assert_true(const char *script)
{
    lua_State *L = new_state();
    if (luaL_loadstring(L, "function hex(s) return (s:gsub('.', function(c)"
                           " return ('%02x'):format(c:byte()) end)) end\n"
                           "function bytes(v, mode) return hex(muster.encode(v, mode)):sub(5) end\n"
                           "function fails(v, mode)\n"
                           "  local ok, e = pcall(muster.encode, v, mode)\n"
                           "  return ok and 'written' or e.name .. ': ' .. e.message\n"
                           "end\n"
                           "function is(a, b) if a ~= b then"
                           " error(tostring(a) .. ' is not ' .. tostring(b), 2) end end\n") != LUA_OK ||
        lua_pcall(L, 0, 0, 0) != LUA_OK || luaL_dostring(L, script))
        ck_abort_msg("%s", luaL_tolstring(L, -1, NULL));
    close_state(L);
}

START_TEST(lua_s_own_values_have_their_bytes)
{
    assert_true("is(bytes(nil), '00') is(bytes(muster.null), '01') is(bytes(muster.undefined), '00')\n"
                "is(bytes(1), 'a1') is(bytes(1.0), 'a1') is(bytes(-0.0), '060000000000000080')\n"
                "is(bytes(96), '046000') is(bytes(-33), '04dfff') is(bytes(32768), '0500800000')\n"
                "is(bytes(2^53), '060000000000004043')\n"
                "is(bytes(1 << 53), '070e00000000000020')\n"
                "is(bytes(math.mininteger), '07110000000000000080')\n"
                "is(bytes('hi'), '426869') is(bytes('\\u{e4}'), '41e4') is(bytes('\\u{20ac}'), '0901ac20')\n"
                "is(bytes('\\xff\\xfe'), '1b02fffe')\n"
                "is(bytes({1, 2}), '1102a1a2') is(bytes({}), '1000')\n"
                "is(bytes(setmetatable({}, muster.array)), '1100')\n"
                "is(bytes({b = 1, a = 2}), '1001050202610262a2a1')\n"
                "is(bytes({[2] = 1}), '10010301' .. '0232' .. 'a1')\n"
                "is(bytes(setmetatable({[2] = 1}, muster.array)), '11020ba1')\n"
                "is(bytes(setmetatable({1, x = 2}, muster.array)), '1201a1010301' .. '0278' .. 'a2')\n"
                "is(bytes(setmetatable({[1000] = 1}, muster.array)), '13e80701e707a100')\n"
                "local t = {} t.self = t is(bytes(t), '100106010873656c66' .. '0a00')\n");
}
END_TEST

START_TEST(objects_that_lua_lacks_can_be_made)
{
    assert_true("is(bytes(muster.date(0)), '160000000000000000')\n"
                "is(bytes(muster.regexp('a', 'ig')), '17064161a0')\n"
                "local r = muster.regexp('a') r.last_index = 3\n"
                "is(bytes(r), '17004161a3') is(bytes(r, 'web'), '17004161a0')\n"
                "is(bytes(muster.map{{'a', 1}}), '14014161a1')\n"
                "is(bytes(muster.set{1, 2, 2, 1.0}), '1502a1a2')\n"
                "is(bytes(muster.bigint(5)), '070205') is(bytes(muster.bigint('-0x1ff')), '0705ff01')\n"
                "is(bytes(muster.buffer('ab', 4)), '1c02046162')\n"
                "local b = muster.buffer(4)\n"
                "is(bytes{muster.view(b, 'Int16Array', 2), b}, '11021f040202' .. '1b0400000000' .. '0a02')\n"
                "is(bytes(muster.error{name = 'TypeError', message = 'm', x = 1}),\n"
                "   '190521416d' .. '01030102' .. '78a1')\n"
                "is(bytes(muster.error{name = 'Mine', message = 'm', x = 1}, 'web'), '1900' .. '01416d')\n");
}
END_TEST

START_TEST(a_refusal_names_the_place)
{
    assert_true("is(fails(print), 'TypeError: a function cannot be cloned')\n"
                "is(fails({a = {1, {b = print}}}, 'web'),\n"
                "   'DataCloneError: a function cannot be cloned, at .a[2].b')\n"
                "is(fails(muster.map{{1, print}}), 'TypeError: a function cannot be cloned, at <value 1>')\n"
                "is(fails(muster.error{cause = coroutine.create(print)}),\n"
                "   'TypeError: a coroutine cannot be cloned, at .cause')\n"
                "is(fails{[1.5] = 1}, 'TypeError: a table whose keys are no strings or integers cannot be cloned')\n"
                "is(fails{x = {[5] = 1, ['5'] = 2}},\n"
                "   'TypeError: a table with both an integer and its text as keys cannot be cloned, at .x')\n"
                "is(fails{x = {['\\xff'] = 2}}, 'TypeError: a key that is no text cannot be cloned, at .x')\n"
                "is(fails(setmetatable({length = 1}, muster.array)),\n"
                "   'TypeError: an array with a number\\'s text or \"length\" as a key cannot be cloned')\n"
                "is(fails(io.stdout), 'TypeError: an object of the worker\\'s own cannot be cloned')\n"
                "local d = muster.date(0) d.time = 'x'\n"
                "is(fails{d}, 'TypeError: a date whose time is no number cannot be cloned, at [1]')\n"
                "local deep = {} for i = 1, 10000 do deep = {deep} end\n"
                "assert(fails(deep):find('nested too deeply'))\n"
                "is(#bytes(deep[1]), 10000 * 4 - 0)\n"
                "local ok, e = pcall(muster.decode, '\\xc1\\x01\\x11')\n"
                "is(tostring(e), 'DataCloneError: truncated: the bytes end too early (at byte 3)')\n");
}
END_TEST

START_TEST(maps_and_sets_know_keys_as_javascript_does)
{
    assert_true("local m = muster.map()\n"
                "m:set(0/0, 'nan'):set(nil, 'nil'):set(-0.0, 'zero'):set(1 << 60, 'big'):set(2.0^60, 'float')\n"
                "is(m:get(0/0), 'nan') is(m:get(nil), 'nil') is(m:get(muster.undefined), 'nil')\n"
                "is(m:get(0), 'zero') is(m:get(1 << 60), 'big') is(m:get(2.0^60), 'float')\n"
                "is(m:get(muster.bigint(1 << 60)), 'big') is(#m, 5)\n"
                "m:set(muster.bigint(7), 'seven') is(m:get(muster.bigint(7)), 'seven') is(m:get(7), nil)\n"
                "is(m:delete(0), true) is(m:delete(0), false) is(m:has(0), false) is(#m, 5)\n"
                "local n = {} for k, v in pairs(m) do n[#n + 1] = v end\n"
                "is(table.concat(n, ' '), 'nan nil big float seven')\n"
                "local c = muster.clone(m) is(#c, 5) is(c:get(2.0^60), 'float') is(c:get(1 << 60), 'big')\n"
                "local s = muster.set()\n"
                "for i = 1, 1000 do s:add(i) end for i = 1, 990 do s:delete(i) end\n"
                "for i = 1, 100 do s:add('x' .. i) end is(#s, 110)\n"
                "local sum = 0 for v in pairs(s) do if math.type(v) then sum = sum + v end end\n"
                "is(sum, 9955) is(s:has(995), true) is(s:has(5), false) is(s:has('x100'), true)\n");
}
END_TEST

START_TEST(views_read_and_write_their_elements)
{
    assert_true("local b = muster.buffer(16)\n"
                "local function try(kind, x, y) local v = muster.view(b, kind) v[2] = x is(v[2], y) end\n"
                "try('Int8Array', 200, -56) try('Uint8Array', -1, 255) try('Uint8ClampedArray', 300.5, 255)\n"
                "try('Uint8ClampedArray', 2.5, 2) try('Int16Array', 40000, -25536) try('Uint16Array', -1, 65535)\n"
                "try('Int32Array', 2^31, -2147483648) try('Uint32Array', -1, 4294967295)\n"
                "try('Float16Array', 1.0009765625, 1.0009765625) try('Float16Array', 65520, math.huge)\n"
                "try('Float16Array', 2^-24, 2^-24) try('Float16Array', 65504, 65504.0)\n"
                "try('Float32Array', 1.5, 1.5) try('Float64Array', 0.1, 0.1)\n"
                "try('BigInt64Array', -5, -5) try('BigUint64Array', 5, 5)\n"
                "local u = muster.view(b, 'BigUint64Array') u[1] = -1\n"
                "is(u[1], muster.bigint('18446744073709551615')) is(tostring(u[1]), '18446744073709551615')\n"
                "is(#u, 2) is(u[3], nil) is(pcall(function() u[3] = 1 end), false)\n"
                "local d = muster.view(b, 'DataView', 1, 2) d:put(1, 'xy') is(d:string(), 'xy')\n"
                "is(b:string(2, 3), 'xy') is(b:string(-1), b:string(16, 16)) is(#b, 16)\n"
                "local r = muster.buffer('abcd', 8) local t = muster.view(r) local f = muster.view(r, nil, 2, 2)\n"
                "is(#t, 4) r:resize(8) is(#t, 8) is(t[8], 0) r:resize(3) is(#t, 3) is(t:string(), 'abc')\n"
                "is(pcall(function() return f[1] end), false)\n"
                "assert(fails(f):find('outside its buffer'))\n"
                "is(pcall(r.resize, r, 9), false)\n");
}
END_TEST

START_TEST(big_integers_print_and_compare)
{
    assert_true("is(tostring(muster.bigint('123456789012345678901234567890')), '123456789012345678901234567890')\n"
                "is(tostring(muster.bigint(-7)), '-7') is(tostring(muster.bigint('0x0')), '0')\n"
                "is(muster.bigint('-00') == muster.bigint(0), true)\n"
                "is(muster.bigint(3) < 4, true) is(muster.bigint('-99999999999999999999') <= -5, true)\n"
                "is(muster.bigint('99999999999999999999'):integer(), nil) is(muster.bigint(9):integer(), 9)\n"
                "is(muster.bigint(math.mininteger):integer(), math.mininteger)\n"
                "is(pcall(muster.bigint, '12a'), false) is(pcall(muster.bigint, ''), false)\n"
                "is(pcall(muster.bigint, 1.5), false) is(pcall(muster.bigint, ('9'):rep(20000)), false)\n"
                "local long = muster.decode('\\xc1\\x01\\x07\\x90\\x4e' .. ('\\x01'):rep(5000))\n"
                "is(#tostring(long), 10001) is(tostring(long):sub(1, 6), '0x1010')\n");
}
END_TEST

START_TEST(a_clone_is_a_copy_and_a_transfer_moves)
{
    assert_true("local t = {1, {x = 2}} t[3] = t[2]\n"
                "local c = muster.clone(t) is(c[2] ~= t[2], true) is(c[3], c[2]) is(c[2].x, 2)\n"
                "local b = muster.buffer('abc') local v = muster.view(b)\n"
                "local moved = muster.clone({b, v}, 'web', {b})\n"
                "is(moved[1]:string(), 'abc') is(moved[2].buffer, moved[1]) is(#b, 0)\n"
                "is(pcall(b.string, b), false) is(pcall(function() return v[1] end), false)\n"
                "is(pcall(muster.clone, b), false) is(pcall(muster.clone, 1, 'web', {b}), false)\n"
                "local x = muster.buffer('x') is(pcall(muster.clone, 1, 'web', {x, x}), false)\n"
                "is(pcall(muster.clone, {x, print}, 'web', {x}), false) is(x:string(), 'x')\n");
}
END_TEST

START_TEST(the_order_of_keys_survives_and_new_keys_come_behind)
{
    assert_true("local bytes_ba = '\\xc1\\x01\\x10\\x01\\x05\\x02\\x02b\\x02a\\xa1\\xa2'\n"
                "local t = muster.decode(bytes_ba) is(t.b, 1) is(t.a, 2)\n"
                "is(muster.encode(t), bytes_ba)\n"
                "t.c = 3 t['0'] = 4 is(bytes(t), '100109040262026102300263a1a2a4a3')\n"
                "t.b = nil is(bytes(t), '100107030261' .. '02300263a2a4a3')\n");
}
END_TEST

START_TEST(a_script_s_own_metatable_takes_the_order_away)
{
    struct fake_host host;
    struct muster_error error = {0};
    fake_host_init(&host, &muster__engine_lua);
    struct fake_script script = {
        .text = "local t = muster.decode('\\xc1\\x01\\x10\\x01\\x05\\x02\\x02b\\x02a\\xa1\\xa2')\n"
                "local class = {__index = {hello = 5}}\n"
                "setmetatable(t, class)\n"
                "print(t.hello, t.b, getmetatable(t) == class, muster.type(muster.date(0)))\n"
                "print(pcall(setmetatable, muster.date(0), class))\n"};
    ck_assert_int_eq(fake_host_start(&host, &script, &error), MUSTER_OK);
    ck_assert_str_eq(host.console, "info 5\t1\ttrue\tdate\n"
                                   "info false\tcannot change a protected metatable\n");
    fake_host_clean_up(&host);
}
END_TEST

START_TEST(a_worker_s_memory_limit_holds_in_the_middle_of_a_value)
{
    struct fake_host host;
    struct muster_error error = {0};
    fake_host_init(&host, &muster__engine_lua);
    host.options.memory_limit = 1 << 20;
    struct fake_script script = {
        .text = "local small = '\\xc1\\x01\\x11\\x80\\x80\\x02' .. ('\\x10\\x00'):rep(32768)\n"
                "pcall(muster.decode, small)\n"
                "print('not reached')\n"};
    ck_assert_int_eq(fake_host_start(&host, &script, &error), MUSTER_MEMORY_LIMIT);
    ck_assert(host.console == NULL || strstr(host.console, "not reached") == NULL);
    muster_error_clean_up(&error);
    fake_host_clean_up(&host);
}
END_TEST

/* ---- the side table ---- */

static int write_raw(lua_State *L)
{
    struct muster__lua_clone_options options = {.buffers = 2, .raw = 3};
    struct muster__lua_bytes *bytes = muster__lua_clone_write(L, 1, &options);
    push_hex(L, bytes->data, bytes->length);
    return 1;
}

START_TEST(large_buffers_and_binary_strings_go_aside_as_copies)
{
    lua_State *L = new_state();
    (void)luaL_dostring(L, "return {muster.buffer('ab'), muster.buffer('abc'), '\\xff\\xff\\xff', 'abc'}");
    lua_newtable(L);
    lua_pushcfunction(L, write_raw);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_call(L, 2, 1);
    ck_assert_str_eq(lua_tostring(L, -1), "c101" "1104" "1b026162" "1d0003" "1d0103" "43616263");
    ck_assert_uint_eq(lua_rawlen(L, 2), 2);
    lua_rawgeti(L, 2, 1);
    ck_assert_str_eq(lua_tostring(L, -1), "abc");
    struct message message = from_hex("c1011d0103");
    lua_settop(L, 2);
    lua_newtable(L);
    ck_assert(read_message(L, &message));
    const struct muster__lua_buffer *buffer = lua_touserdata(L, -1);
    ck_assert_int_eq(memcmp(buffer->data, "\xff\xff\xff", 3), 0);
    free(message.bytes);
    close_state(L);
}
END_TEST

static struct muster_value *load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    size_t room = (size_t)1 << 22;
    char *text = malloc(room);
    size_t length = fread(text, 1, room, file);
    fclose(file);
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    if (muster_value_from_json(text, length, &value, &error) != MUSTER_OK)
        fprintf(stderr, "%s: %s\n", path, error.message);
    muster_error_clean_up(&error);
    free(text);
    return value;
}

int main(int argc, char **argv)
{
    struct muster_value *file = load(argc > 1 ? argv[1] : CLONE_VECTORS);
    vectors = (struct muster_value *)muster_value_get(file, "vectors");
    if (vectors == NULL) {
        fprintf(stderr, "usage: %s [VECTORS]\n", argv[0]);
        return 2;
    }
    Suite *suite = suite_create("clone_lua");
    TCase *tc = tcase_create("vectors");
    tcase_add_test(tc, every_vector_is_read_and_written_as_the_same_bytes);
    tcase_add_test(tc, what_must_be_refused_is_refused_with_its_reason);
    suite_add_tcase(suite, tc);
    tc = tcase_create("hostile");
    tcase_add_test(tc, no_part_of_a_message_is_a_message);
    tcase_add_test(tc, a_flipped_bit_is_refused_or_gives_a_value);
    tcase_add_test(tc, memory_that_fails_anywhere_raises_and_leaks_nothing);
    tcase_add_test(tc, what_is_allocated_is_bounded_by_the_input);
    suite_add_tcase(suite, tc);
    tc = tcase_create("scripts");
    tcase_add_test(tc, lua_s_own_values_have_their_bytes);
    tcase_add_test(tc, objects_that_lua_lacks_can_be_made);
    tcase_add_test(tc, a_refusal_names_the_place);
    tcase_add_test(tc, maps_and_sets_know_keys_as_javascript_does);
    tcase_add_test(tc, views_read_and_write_their_elements);
    tcase_add_test(tc, big_integers_print_and_compare);
    tcase_add_test(tc, a_clone_is_a_copy_and_a_transfer_moves);
    tcase_add_test(tc, the_order_of_keys_survives_and_new_keys_come_behind);
    tcase_add_test(tc, a_script_s_own_metatable_takes_the_order_away);
    tcase_add_test(tc, a_worker_s_memory_limit_holds_in_the_middle_of_a_value);
    tcase_add_test(tc, large_buffers_and_binary_strings_go_aside_as_copies);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    muster_value_release(file);
    return failed == 0 ? 0 : 1;
}
