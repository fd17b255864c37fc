/* runtime/engine_lua_clone.c - structured clone as scripts see it: muster.clone, encode and decode.
 *
 * In a turn of the worker. */
#include "runtime/engine_lua_clone.h"

#include <stdarg.h>
#include <stdlib.h>

int muster__lua_clone_raise(lua_State *L, const char *name, const char *format, ...)
{
    struct muster_error error = {.status = MUSTER_SCRIPT_ERROR, .name = (char *)name};
    va_list arguments;
    va_start(arguments, format);
    error.message = (char *)lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    muster__lua_push_error(L, &error);
    return lua_error(L);
}

/* Argument 2: "pool", the default, or "web". */
static struct muster__lua_clone_options check_options(lua_State *L)
{
    static const char *const modes[] = {"pool", "web", NULL};
    struct muster__lua_clone_options options = {0};
    options.web = luaL_checkoption(L, 2, "pool", modes) == 1;
    if (muster__lua_vm(L) != NULL)
        options.limit = muster__lua_vm(L)->memory_limit;
    return options;
}

static int muster_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct muster__lua_clone_options options = check_options(L);
    struct muster__lua_bytes *bytes = muster__lua_clone_write(L, 1, &options);
    lua_pushlstring(L, (const char *)bytes->data, bytes->length);
    free(bytes->data);
    bytes->data = NULL;
    return 1;
}

static int muster_decode(lua_State *L)
{
    size_t length = 0;
    const char *bytes = luaL_checklstring(L, 1, &length);
    muster__lua_clone_read(L, bytes, length, 0, 0);
    return 1;
}

/* Argument 3: the buffers that move; pushes a list of its own with them. */
static void push_transferred(lua_State *L)
{
    lua_newtable(L);
    if (lua_isnoneornil(L, 3))
        return;
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 3);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 3, i);
        if (lua_type(L, -1) != LUA_TUSERDATA || muster__lua_kind_of(L, -1) != MUSTER__LUA_BUFFER ||
            ((struct muster__lua_buffer *)lua_touserdata(L, -1))->detached)
            muster__lua_clone_raise(L, "DataCloneError", "only buffers can be transferred, and once");
        lua_rawseti(L, 4, i);
    }
}

/* In place, once nothing can be refused any more.  The same buffer twice is refused before. */
static void move_all(lua_State *L, int list)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        muster__lua_buffer_move(L, -1);
        lua_rawseti(L, list, i);
        lua_pop(L, 1);
    }
}

static void check_no_repeat(lua_State *L, int list)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    lua_newtable(L);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL)
            muster__lua_clone_raise(L, "DataCloneError", "a buffer is transferred twice");
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

static int muster_clone(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 3);
    struct muster__lua_clone_options options = check_options(L);
    push_transferred(L);
    check_no_repeat(L, 4);
    options.buffers = 4;
    struct muster__lua_bytes *bytes = muster__lua_clone_write(L, 1, &options);
    move_all(L, 4);
    muster__lua_clone_read(L, bytes->data, bytes->length, 4, 0);
    free(bytes->data);
    bytes->data = NULL;
    return 1;
}

void muster__lua_open_clone(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"clone", muster_clone},
        {"encode", muster_encode},
        {"decode", muster_decode},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    muster__lua_open_clone_types(L);
}
