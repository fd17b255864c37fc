/* runtime/engine_lua_value.c - Lua values to muster values and back.
 *
 * In a turn of the worker.  What goes to another script is a message of the codec (engine_lua_clone.h);
 * what only C will read is a tree, unless it is more than a tree can say.  Reading a Lua value runs no
 * script (raw access only) and raises nothing, so that what was built is never lost; making one may raise
 * for want of memory.  Keys of objects are sorted, since Lua's own order differs from run to run. */
#include "runtime/engine_lua_clone.h"
#include "runtime/value_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 200
#define NODE_COST 64
#define DEFAULT_BUDGET ((size_t)1 << 30)
#define RAW_FROM 32768 /* bytes of a buffer that travels beside the message */

/* Tags of a message's value (docs/clone.md). */
enum { TAG_BIGINT = 0x07, TAG_UTF16 = 0x09, TAG_OBJECT = 0x10, TAG_ARRAY = 0x11, TAG_SPARSE = 0x13, TAG_HOST = 0x20 };

const char muster__lua_array_key;
const char muster__lua_null_key;

struct reader {
    lua_State *L;
    const char *problem;
    bool is_rich;  /* a message could say it */
    bool is_exact; /* it is for a script, which can tell a text with half a character from bytes */
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

/* More than a tree can say. */
static struct muster_value *leave(struct reader *reader)
{
    reader->is_rich = true;
    return refuse(reader, "this cannot be sent");
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
    if (is_utf8(text, length))
        return muster_value_new_string(text, length);
    return reader->is_exact ? leave(reader) : muster_value_new_bytes(text, length);
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

/* An array with holes. */
static bool has_length(lua_State *L, int index, enum muster__lua_kind kind)
{
    if (kind != MUSTER__LUA_SHAPED)
        return false;
    lua_Integer length = muster__lua_push_shape(L, index);
    lua_pop(L, 1);
    return length >= 0;
}

/* An error with a cause, or with others in it. */
static bool has_more(lua_State *L, int index)
{
    static const char *const parts[] = {"cause", "errors"};
    bool found = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        lua_pushstring(L, parts[i]);
        found = lua_rawget(L, index) != LUA_TNIL || found;
        lua_pop(L, 1);
    }
    return found;
}

static struct muster_value *read_table(struct reader *reader, int index)
{
    const void *self = lua_topointer(reader->L, index);
    if (!lua_checkstack(reader->L, 8))
        return refuse(reader, "the tables are nested too deeply to be sent");
    for (int i = 0; i < reader->depth; i++)
        if (reader->path[i] == self)
            return leave(reader);
    enum muster__lua_kind kind = muster__lua_kind_of(reader->L, index);
    if (reader->depth == MAX_DEPTH || kind > MUSTER__LUA_ERROR || has_length(reader->L, index, kind))
        return leave(reader);
    if (kind == MUSTER__LUA_ERROR)
        return has_more(reader->L, index) ? leave(reader) : read_error(reader, index);
    reader->path[reader->depth++] = self;
    struct muster_value *value = read_plain_table(reader, index);
    reader->depth--;
    return value;
}

/* ---- any value ---- */

static struct muster_value *read_userdata(struct reader *reader, int index)
{
    const struct muster_value *value = muster__lua_to_host_object(reader->L, index);
    if (value == NULL && muster__lua_kind_of(reader->L, index) != MUSTER__LUA_PLAIN)
        return leave(reader);
    if (value == NULL)
        return refuse(reader, "an object of the worker's own cannot be sent");
    return spend(reader, 0) ? muster_value_acquire(value) : NULL;
}

static bool is_safe(lua_Integer integer)
{
    return integer >= -MUSTER__LUA_SAFE_INTEGER && integer <= MUSTER__LUA_SAFE_INTEGER;
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
        if (lua_isinteger(L, index) && !is_safe(lua_tointeger(L, index)))
            return leave(reader);
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

static void start_reading(struct reader *reader, lua_State *L, bool is_exact)
{
    size_t limit = muster__lua_vm(L)->memory_limit;
    reader->L = L;
    reader->problem = NULL;
    reader->is_rich = false;
    reader->is_exact = is_exact;
    reader->budget = limit != 0 ? limit : DEFAULT_BUDGET;
    reader->depth = 0;
}

/* ---- messages ---- */

/* (value): the bytes, and the list of what travels beside them. */
static int write_entry(lua_State *L)
{
    lua_settop(L, 1);
    lua_newtable(L);
    struct muster__lua_clone_options options = {
        .raw = RAW_FROM, .limit = muster__lua_vm(L)->memory_limit, .buffers = 2};
    (void)muster__lua_clone_write(L, 1, &options);
    lua_pushvalue(L, 2);
    return 2;
}

static bool copy_entry(lua_State *L, int index, struct muster_clone_buffer *ret_buffer)
{
    size_t length = 0;
    const void *data = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
    return data != NULL && muster_clone_buffer_copy(data, length, ret_buffer) == MUSTER_OK;
}

static void free_bytes(void *data, void *user_data)
{
    (void)user_data;
    free(data);
}

/* Of the bytes and the list on top.  NULL: out of memory. */
static struct muster_clone *clone_of(lua_State *L)
{
    struct muster__lua_bytes *bytes = lua_touserdata(L, -2);
    size_t count = lua_rawlen(L, -1);
    struct muster_clone_buffer *buffers = count > 0 ? calloc(count, sizeof *buffers) : NULL;
    struct muster_clone *clone = NULL;
    bool good = count == 0 || buffers != NULL;
    for (size_t i = 0; good && i < count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        good = copy_entry(L, -1, &buffers[i]);
        lua_pop(L, 1);
    }
    struct muster_clone_buffer memory = {bytes->data, bytes->length, free_bytes, NULL};
    if (good && muster_clone_new(&memory, buffers, count, 0, &clone) == MUSTER_OK)
        bytes->data = NULL;
    for (size_t i = 0; buffers != NULL && i < count; i++)
        muster_clone_buffer_clean_up(&buffers[i]);
    free(buffers);
    return clone;
}

/* What the error on top says. */
static void describe(lua_State *L, char *ret_problem)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING  ? lua_tostring(L, -1)
                       : lua_type(L, -1) == LUA_TTABLE ? raw_text(L, lua_gettop(L), "message")
                                                       : NULL;
    snprintf(ret_problem, MUSTER__LUA_PROBLEM, "%s", text != NULL ? text : "out of memory");
}

static struct muster_value *write_message(lua_State *L, int index, char *ret_problem)
{
    int top = lua_gettop(L);
    struct muster_clone *clone = NULL;
    snprintf(ret_problem, MUSTER__LUA_PROBLEM, "out of memory");
    if (!lua_checkstack(L, 8))
        return NULL;
    lua_pushcfunction(L, write_entry);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 2, 0) == LUA_OK)
        clone = clone_of(L);
    else
        describe(L, ret_problem);
    lua_settop(L, top);
    return muster_value_new_clone(clone);
}

/* A tree says it as well, and with less ado.  An error's tree has its place in the script. */
static bool is_simple(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TTABLE)
        return muster__lua_kind_of(L, index) == MUSTER__LUA_ERROR && !has_more(L, index);
    return type != LUA_TUSERDATA;
}

struct muster_value *muster__lua_to_value(lua_State *L, int index, char *ret_problem)
{
    int at = lua_absindex(L, index);
    struct reader reader;
    struct muster_value *value = NULL;
    if (!is_simple(L, at))
        value = write_message(L, at, ret_problem);
    if (value != NULL)
        return value;
    /* A plain value, or a tree with objects of the host, which no message carries. */
    start_reading(&reader, L, is_simple(L, at));
    value = read_value(&reader, at);
    if (value == NULL && is_simple(L, at) && reader.is_rich)
        return write_message(L, at, ret_problem);
    if (value == NULL && is_simple(L, at))
        snprintf(ret_problem, MUSTER__LUA_PROBLEM, "%s",
                 reader.problem != NULL ? reader.problem : "out of memory");
    return value;
}

/* On top: an array of the values.  May raise. */
static void push_list(lua_State *L, int first, int count)
{
    lua_createtable(L, count, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_array_key);
    lua_setmetatable(L, -2);
    for (int i = 0; i < count; i++) {
        if (lua_isnil(L, first + i))
            lua_pushlightuserdata(L, (void *)&muster__lua_undefined_key);
        else
            lua_pushvalue(L, first + i);
        lua_rawseti(L, -2, i + 1);
    }
}

static struct muster_value *read_values(struct reader *reader, int first, int count)
{
    struct muster_value *array = muster_value_new_array();
    for (int i = 0; array != NULL && i < count; i++) {
        struct muster_value *item = read_value(reader, first + i);
        if (item == NULL || muster_value_append(array, item) != MUSTER_OK) {
            muster_value_release(array);
            array = NULL;
        }
    }
    return array;
}

struct muster_value *muster__lua_check_values(lua_State *L, int first, int count, bool for_script)
{
    char problem[MUSTER__LUA_PROBLEM] = "";
    struct reader reader;
    bool is_plain = true;
    for (int i = 0; i < count && for_script; i++)
        is_plain = is_plain && is_simple(L, first + i);
    start_reading(&reader, L, for_script);
    struct muster_value *array = is_plain ? read_values(&reader, first, count) : NULL;
    if (array == NULL && (!is_plain || reader.is_rich)) {
        push_list(L, first, count);
        array = write_message(L, lua_gettop(L), problem);
        lua_pop(L, 1);
        if (array == NULL && !is_plain) { /* with objects of the host? */
            reader.is_exact = false;
            array = read_values(&reader, first, count);
        }
    }
    if (array == NULL && *problem == '\0')
        snprintf(problem, sizeof problem, "%s", reader.problem != NULL ? reader.problem : "out of memory");
    if (array == NULL)
        luaL_error(L, "%s", problem);
    return array;
}

/* ---- and back ---- */

static void push_value(lua_State *L, const struct muster_value *value, int depth);

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

static unsigned tag_of(const struct muster_value *message)
{
    struct muster_bytes bytes = muster_clone_bytes(muster_value_clone(message));
    return bytes.length > 2 ? (unsigned char)bytes.data[2] : TAG_OBJECT;
}

static void push_buffers(lua_State *L, const struct muster_clone *clone)
{
    size_t count = muster_clone_buffer_count(clone);
    lua_createtable(L, count < INT32_MAX ? (int)count : 0, 0);
    for (size_t i = 0; i < count; i++) {
        struct muster_bytes bytes = muster_clone_buffer_at(clone, i);
        struct muster__lua_buffer *buffer = muster__lua_push_buffer(L, bytes.length);
        if (bytes.length > 0)
            memcpy(buffer->data, bytes.data, bytes.length);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* False: it is a plain value, and nothing was pushed. */
static bool push_message(lua_State *L, const struct muster_value *value)
{
    const struct muster_clone *clone = muster_value_clone(value);
    struct muster_bytes bytes = muster_clone_bytes(clone);
    unsigned tag = tag_of(value);
    bool is_plain = !(tag >= TAG_OBJECT && tag <= TAG_HOST) && tag != TAG_BIGINT && tag != TAG_UTF16;
    if (is_plain && muster__value_plain(value) != value)
        return false;
    push_buffers(L, clone);
    muster__lua_clone_read(L, bytes.data, bytes.length, lua_gettop(L), 0);
    lua_remove(L, -2);
    return true;
}

/* The items of the list on top; it is popped. */
static int spread(lua_State *L)
{
    int list = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    if (muster__lua_is_shaped(L, list)) {
        lua_Integer length = muster__lua_push_shape(L, list);
        lua_pop(L, 1);
        count = length >= 0 ? length : count;
    }
    if (count > MUSTER__LUA_MOST_ARGUMENTS)
        luaL_error(L, "these are too many arguments");
    luaL_checkstack(L, (int)count + 8, "arguments");
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        if (lua_touserdata(L, -1) == (const void *)&muster__lua_undefined_key) {
            lua_pop(L, 1);
            lua_pushnil(L);
        }
    }
    lua_remove(L, list);
    return (int)count;
}

int muster__lua_push_arguments(lua_State *L, const struct muster_value *value)
{
    bool is_message = muster_value_clone(value) != NULL;
    size_t count = is_message ? 1 : muster_value_count(value);
    if (count > MUSTER__LUA_MOST_ARGUMENTS)
        luaL_error(L, "these are too many arguments");
    luaL_checkstack(L, (int)count + 8, "arguments");
    if (is_message) {
        muster__lua_push_value(L, value);
        unsigned tag = tag_of(value);
        return tag >= TAG_ARRAY && tag <= TAG_SPARSE ? spread(L) : 1;
    }
    for (size_t i = 0; i < count; i++)
        muster__lua_push_value(L, muster_value_at(value, i));
    return (int)count;
}

static void push_value(lua_State *L, const struct muster_value *value, int depth)
{
    if (depth > MAX_DEPTH)
        luaL_error(L, "the value is nested too deeply");
    luaL_checkstack(L, 8, "the value is nested too deeply");
    struct muster_bytes bytes;
    if (muster_value_clone(value) != NULL && push_message(L, value))
        return;
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
        muster__lua_push_double(L, muster_value_number(value)); /* 3 prints as 3, not as 3.0 */
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
    case MUSTER_TYPE_CLONE: /* it was pushed above */
        lua_pushnil(L);
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
