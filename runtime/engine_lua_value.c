/* runtime/engine_lua_value.c - Lua values to muster values and back.
 *
 * In a turn of the worker.  Reading a Lua value runs no script (raw access only) and raises nothing, so
 * that what was built is never lost; making one may raise for want of memory.  Keys of objects are sorted,
 * since Lua's own order differs from run to run. */
#include "runtime/engine_lua_clone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 200
#define NODE_COST 64
#define DEFAULT_BUDGET ((size_t)1 << 30)

const char muster__lua_array_key;
const char muster__lua_null_key;

struct reader {
    lua_State *L;
    const char *problem;
    size_t budget; /* a table that is met many times is copied many times: bound that */
    int depth;
    const void *path[MAX_DEPTH];
};

struct pair {
    const char *key; /* in the table; NULL: `digits` */
    size_t length;
    struct muster_value *value;
    char digits[24];
};

static struct muster_value *read_value(struct reader *reader, int index);

static struct muster_value *refuse(struct reader *reader, const char *problem)
{
    if (reader->problem == NULL)
        reader->problem = problem;
    return NULL;
}

static bool spend(struct reader *reader, size_t bytes)
{
    if (reader->budget < bytes + NODE_COST)
        return refuse(reader, "the value is too large to be sent") != NULL;
    reader->budget -= bytes + NODE_COST;
    return true;
}

/* ---- strings ---- */

static size_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF)
        return 3;
    return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

static bool is_sequence(const unsigned char *at, size_t length)
{
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return false;
    if (length == 3)
        return !(at[0] == 0xE0 && at[1] < 0xA0) && !(at[0] == 0xED && at[1] > 0x9F);
    if (length == 4)
        return !(at[0] == 0xF0 && at[1] < 0x90) && !(at[0] == 0xF4 && at[1] > 0x8F);
    return true;
}

static bool is_utf8(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        size_t step = sequence_length(at[i]);
        if (step == 0 || step > length - i || !is_sequence(at + i, step))
            return false;
        i += step;
    }
    return true;
}

static struct muster_value *read_string(struct reader *reader, int index)
{
    size_t length = 0;
    const char *text = lua_tolstring(reader->L, index, &length);
    if (!spend(reader, length))
        return NULL;
    return is_utf8(text, length) ? muster_value_new_string(text, length)
                                 : muster_value_new_bytes(text, length);
}

/* ---- tables ---- */

static bool has_metatable(lua_State *L, int index, const void *key)
{
    if (!lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* How many pairs, and whether their keys are 1..n. */
static size_t count_pairs(lua_State *L, int index, bool *ret_is_list)
{
    size_t count = 0;
    lua_Integer greatest = 0;
    bool integers = true;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        lua_pop(L, 1);
        count++;
        integers = integers && lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1;
        if (integers && lua_tointeger(L, -1) > greatest)
            greatest = lua_tointeger(L, -1);
    }
    *ret_is_list = integers && (size_t)greatest == count;
    return count;
}

static struct muster_value *read_list(struct reader *reader, int index, size_t count)
{
    struct muster_value *array = muster_value_new_array();
    for (size_t i = 1; array != NULL && i <= count; i++) {
        lua_rawgeti(reader->L, index, (lua_Integer)i);
        struct muster_value *item = read_value(reader, lua_gettop(reader->L));
        lua_pop(reader->L, 1);
        if (item == NULL || muster_value_append(array, item) != MUSTER_OK) {
            muster_value_release(array);
            return NULL;
        }
    }
    return array;
}

static bool read_key(struct reader *reader, struct pair *pair)
{
    lua_State *L = reader->L;
    if (lua_type(L, -2) == LUA_TSTRING) {
        pair->key = lua_tolstring(L, -2, &pair->length);
        if (!is_utf8(pair->key, pair->length))
            return refuse(reader, "a key that is not UTF-8 cannot be sent") != NULL;
        return spend(reader, pair->length);
    }
    if (!lua_isinteger(L, -2))
        return refuse(reader, "only strings and integers can be keys of what is sent") != NULL;
    pair->length = (size_t)snprintf(pair->digits, sizeof pair->digits, "%lld",
                                    (long long)lua_tointeger(L, -2));
    return true;
}

static bool read_pairs(struct reader *reader, int index, struct pair *pairs)
{
    lua_State *L = reader->L;
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct pair *pair = &pairs[n++];
        if (read_key(reader, pair))
            pair->value = read_value(reader, lua_gettop(L));
        if (pair->value == NULL) {
            lua_pop(L, 2);
            return false;
        }
        lua_pop(L, 1);
    }
    return true;
}

static const char *key_of(const struct pair *pair)
{
    return pair->key != NULL ? pair->key : pair->digits;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *left = a;
    const struct pair *right = b;
    size_t shorter = left->length < right->length ? left->length : right->length;
    int order = memcmp(key_of(left), key_of(right), shorter);
    if (order != 0)
        return order;
    return (left->length > right->length) - (left->length < right->length);
}

/* Takes the values of all pairs. */
static struct muster_value *object_of(struct pair *pairs, size_t count)
{
    struct muster_value *object = muster_value_new_object();
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < count; i++) {
        struct muster_value *value = pairs[i].value;
        pairs[i].value = NULL;
        if (object == NULL ||
            muster_value_set(object, key_of(&pairs[i]), pairs[i].length, value) != MUSTER_OK) {
            if (object == NULL)
                muster_value_release(value);
            muster_value_release(object);
            object = NULL;
        }
    }
    return object;
}

static struct muster_value *read_object(struct reader *reader, int index, size_t count)
{
    struct pair *pairs = calloc(count + 1, sizeof *pairs);
    if (pairs == NULL)
        return NULL;
    struct muster_value *object = NULL;
    if (read_pairs(reader, index, pairs))
        object = object_of(pairs, count);
    for (size_t i = 0; i < count; i++)
        muster_value_release(pairs[i].value);
    free(pairs);
    return object;
}

static const char *raw_text(lua_State *L, int index, const char *key)
{
    lua_pushstring(L, key);
    lua_rawget(L, index);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); /* the table still holds it */
    return text;
}

static struct muster_value *read_error(struct reader *reader, int index)
{
    if (!spend(reader, 0))
        return NULL;
    struct muster_error error = {
        .status = MUSTER_SCRIPT_ERROR,
        .name = (char *)raw_text(reader->L, index, "name"),
        .message = (char *)raw_text(reader->L, index, "message"),
        .file = (char *)raw_text(reader->L, index, "file"),
        .stack = (char *)raw_text(reader->L, index, "stack"),
    };
    return muster_value_new_error(&error);
}

static struct muster_value *read_plain_table(struct reader *reader, int index)
{
    bool is_list = false;
    size_t count = count_pairs(reader->L, index, &is_list);
    if (!spend(reader, count * sizeof(void *)))
        return NULL;
    if (count == 0)
        is_list = has_metatable(reader->L, index, &muster__lua_array_key);
    return is_list ? read_list(reader, index, count) : read_object(reader, index, count);
}

static struct muster_value *read_table(struct reader *reader, int index)
{
    const void *self = lua_topointer(reader->L, index);
    for (int i = 0; i < reader->depth; i++)
        if (reader->path[i] == self)
            return refuse(reader, "a table that contains itself cannot be sent");
    if (reader->depth == MAX_DEPTH || !lua_checkstack(reader->L, 8))
        return refuse(reader, "the tables are nested too deeply to be sent");
    if (has_metatable(reader->L, index, &muster__lua_error_key))
        return read_error(reader, index);
    reader->path[reader->depth++] = self;
    struct muster_value *value = read_plain_table(reader, index);
    reader->depth--;
    return value;
}

/* ---- any value ---- */

static struct muster_value *read_userdata(struct reader *reader, int index)
{
    const struct muster_value *value = muster__lua_to_host_object(reader->L, index);
    if (value == NULL)
        return refuse(reader, "an object of the worker's own cannot be sent");
    return spend(reader, 0) ? muster_value_acquire(value) : NULL;
}

static struct muster_value *read_scalar(struct reader *reader, int index)
{
    lua_State *L = reader->L;
    if (!spend(reader, 0))
        return NULL;
    switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return muster_value_new_undefined();
    case LUA_TBOOLEAN:
        return muster_value_new_boolean(lua_toboolean(L, index));
    case LUA_TNUMBER:
        return muster_value_new_number(lua_tonumber(L, index));
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == (const void *)&muster__lua_null_key)
            return muster_value_new_null();
        if (lua_touserdata(L, index) == (const void *)&muster__lua_undefined_key)
            return muster_value_new_undefined();
        return refuse(reader, "a light userdata cannot be sent");
    case LUA_TFUNCTION:
        return refuse(reader, "a function cannot be sent");
    default:
        return refuse(reader, "a coroutine cannot be sent");
    }
}

static struct muster_value *read_value(struct reader *reader, int index)
{
    switch (lua_type(reader->L, index)) {
    case LUA_TSTRING:
        return read_string(reader, index);
    case LUA_TTABLE:
        return read_table(reader, index);
    case LUA_TUSERDATA:
        return read_userdata(reader, index);
    default:
        return read_scalar(reader, index);
    }
}

static void start_reading(struct reader *reader, lua_State *L)
{
    size_t limit = muster__lua_vm(L)->memory_limit;
    reader->L = L;
    reader->problem = NULL;
    reader->budget = limit != 0 ? limit : DEFAULT_BUDGET;
    reader->depth = 0;
}

struct muster_value *muster__lua_to_value(lua_State *L, int index, const char **ret_problem)
{
    struct reader reader;
    start_reading(&reader, L);
    struct muster_value *value = read_value(&reader, lua_absindex(L, index));
    if (value == NULL)
        *ret_problem = reader.problem != NULL ? reader.problem : "out of memory";
    return value;
}

struct muster_value *muster__lua_check_values(lua_State *L, int first, int count)
{
    struct reader reader;
    start_reading(&reader, L);
    struct muster_value *array = muster_value_new_array();
    for (int i = 0; array != NULL && i < count; i++) {
        struct muster_value *item = read_value(&reader, first + i);
        if (item == NULL || muster_value_append(array, item) != MUSTER_OK) {
            muster_value_release(array);
            array = NULL;
        }
    }
    if (array == NULL)
        luaL_error(L, "%s", reader.problem != NULL ? reader.problem : "out of memory");
    return array;
}

/* ---- and back ---- */

static void push_value(lua_State *L, const struct muster_value *value, int depth);

static void push_number(lua_State *L, double number)
{
    lua_Integer integer;
    if (lua_numbertointeger(number, &integer) && (double)integer == number)
        lua_pushinteger(L, integer); /* 3 prints as 3, not as 3.0 */
    else
        lua_pushnumber(L, number);
}

static void push_array(lua_State *L, const struct muster_value *value, int depth)
{
    size_t count = muster_value_count(value);
    lua_createtable(L, count < INT32_MAX ? (int)count : 0, 0);
    for (size_t i = 0; i < count; i++) {
        const struct muster_value *item = muster_value_at(value, i);
        if (muster_value_type(item) == MUSTER_TYPE_UNDEFINED)
            lua_pushlightuserdata(L, (void *)&muster__lua_null_key); /* nil would shorten the array */
        else
            push_value(L, item, depth + 1);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (count == 0) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_array_key);
        lua_setmetatable(L, -2);
    }
}

static void push_object(lua_State *L, const struct muster_value *value, int depth)
{
    size_t count = muster_value_count(value);
    lua_createtable(L, 0, count < INT32_MAX ? (int)count : 0);
    for (size_t i = 0; i < count; i++) {
        struct muster_bytes key = muster_value_key_at(value, i);
        lua_pushlstring(L, key.data, key.length);
        push_value(L, muster_value_at(value, i), depth + 1);
        lua_rawset(L, -3);
    }
}

static void push_value(lua_State *L, const struct muster_value *value, int depth)
{
    if (depth > MAX_DEPTH)
        luaL_error(L, "the value is nested too deeply");
    luaL_checkstack(L, 8, "the value is nested too deeply");
    struct muster_bytes bytes;
    switch (muster_value_type(value)) {
    case MUSTER_TYPE_UNDEFINED:
        lua_pushnil(L);
        return;
    case MUSTER_TYPE_NULL:
        lua_pushlightuserdata(L, (void *)&muster__lua_null_key);
        return;
    case MUSTER_TYPE_BOOLEAN:
        lua_pushboolean(L, muster_value_boolean(value));
        return;
    case MUSTER_TYPE_NUMBER:
        push_number(L, muster_value_number(value));
        return;
    case MUSTER_TYPE_STRING:
    case MUSTER_TYPE_BYTES:
        bytes = muster_value_bytes(value);
        lua_pushlstring(L, bytes.data, bytes.length);
        return;
    case MUSTER_TYPE_ARRAY:
        push_array(L, value, depth);
        return;
    case MUSTER_TYPE_OBJECT:
        push_object(L, value, depth);
        return;
    case MUSTER_TYPE_ERROR:
        muster__lua_push_error(L, muster_value_error(value));
        return;
    case MUSTER_TYPE_HOST_OBJECT:
        muster__lua_push_host_object(L, value);
        return;
    }
}

void muster__lua_push_value(lua_State *L, const struct muster_value *value)
{
    push_value(L, value, 0);
}

void muster__lua_open_value(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &muster__lua_array_key);
}

/* On L: the `muster` table. */
void muster__lua_open_value_names(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&muster__lua_null_key);
    lua_setfield(L, -2, "null");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_array_key);
    lua_setfield(L, -2, "array");
}
