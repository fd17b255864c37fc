/* runtime/engine_lua_error.c - errors: from a failed coroutine to struct muster_error, and error objects.
 *
 * In a turn of the worker.  A coroutine that failed keeps its stack, so place and stack are read after
 * the fact, without a message handler on the way.  Texts are copied with malloc, so that a Lua error for
 * want of memory is met only in the few lines that say so. */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>
#include <string.h>

#define STACK_LEVELS 20

const char muster__lua_error_key;

/* ---- error objects ---- */

static void set_text(lua_State *L, const char *key, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

/* The innermost Lua function's source and line; false: there is none. */
static bool find_place(lua_State *thread, int level, lua_Debug *ret_debug)
{
    for (; lua_getstack(thread, level, ret_debug); level++) {
        lua_getinfo(thread, "Sl", ret_debug);
        if (ret_debug->currentline > 0)
            return true;
    }
    return false;
}

static const char *source_name(const lua_Debug *debug)
{
    return debug->source[0] == '@' ? debug->source + 1 : debug->short_src;
}

static void set_place(lua_State *L, const struct muster_error *error)
{
    lua_Debug debug;
    if (error->file != NULL) {
        set_text(L, "file", error->file);
        lua_pushinteger(L, error->line);
    } else if (find_place(L, 1, &debug)) {
        set_text(L, "file", source_name(&debug));
        lua_pushinteger(L, debug.currentline);
    } else {
        return;
    }
    lua_setfield(L, -2, "line");
}

void muster__lua_push_error(lua_State *L, const struct muster_error *error)
{
    luaL_checkstack(L, 4, "an error");
    lua_createtable(L, 0, 6);
    set_text(L, "name", error->name != NULL ? error->name : "Error");
    set_text(L, "message",
             error->message != NULL ? error->message : muster_status_sentence(error->status));
    if (error->status != MUSTER_OK && error->status != MUSTER_SCRIPT_ERROR)
        set_text(L, "status", muster_status_name(error->status));
    set_text(L, "stack", error->stack);
    set_place(L, error);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_error_key);
    lua_setmetatable(L, -2);
}

int muster__lua_raise(lua_State *L, enum muster_status status, const char *name,
                      const char *message)
{
    struct muster_error error = {
        .status = status, .name = (char *)name, .message = (char *)message};
    muster__lua_push_error(L, &error);
    return lua_error(L);
}

static int error_to_text(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "name");
    lua_getfield(L, 1, "message");
    lua_pushfstring(L, "%s: %s", luaL_optstring(L, 2, "Error"), luaL_optstring(L, 3, ""));
    return 1;
}

void muster__lua_open_error(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, error_to_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "muster.error");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &muster__lua_error_key);
}

/* ---- what went wrong in a coroutine ---- */

/* "place:12: message": where the message starts, or NULL. */
static const char *skip_place(const char *text, int *ret_line, size_t *ret_place)
{
    for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
        size_t digits = strspn(colon + 1, "0123456789");
        if (digits == 0 || digits > 9 || strncmp(colon + 1 + digits, ": ", 2) != 0)
            continue;
        *ret_line = atoi(colon + 1);
        *ret_place = (size_t)(colon - text);
        return colon + 1 + digits + 2;
    }
    return NULL;
}

/* The short source in a message may have lost its beginning: the full one is in the stack. */
static char *full_source(lua_State *thread, const char *place, size_t length)
{
    lua_Debug debug;
    for (int level = 0; lua_getstack(thread, level, &debug); level++) {
        lua_getinfo(thread, "S", &debug);
        if (strlen(debug.short_src) == length && memcmp(debug.short_src, place, length) == 0)
            return muster__strdup(source_name(&debug));
    }
    return NULL;
}

static void take_text(lua_State *thread, const char *text, struct muster_error *error)
{
    int line = 0;
    size_t place = 0;
    const char *message = skip_place(text, &line, &place);
    if (message != NULL)
        error->file = full_source(thread, text, place);
    /* A prefix that no function on the stack has may be the author's own words, except in a syntax
     * error, of which nothing is on the stack. */
    if (message != NULL && error->file == NULL && error->status == MUSTER_SYNTAX_ERROR)
        error->file = muster__strndup(text, place);
    if (error->file != NULL)
        error->line = line;
    error->message = muster__strdup(error->file != NULL ? message : text);
}

static char *field_text(lua_State *L, int index, const char *key)
{
    lua_pushstring(L, key);
    lua_rawget(L, index);
    char *text = lua_type(L, -1) == LUA_TSTRING ? muster__strdup(lua_tostring(L, -1)) : NULL;
    lua_pop(L, 1);
    return text;
}

/* What a body raises when its client is gone is no mistake of the script's, wherever it surfaces. */
static bool says_client_is_gone(lua_State *L, int index, const struct muster_error *error)
{
    if (error->name == NULL || strcmp(error->name, "AbortError") != 0)
        return false;
    lua_pushliteral(L, "status");
    lua_rawget(L, index);
    const char *status = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    bool gone = strcmp(status, muster_status_name(MUSTER_CANCELED)) == 0;
    lua_pop(L, 1);
    return gone;
}

/* A table with a message is an error object, whoever made it. */
static bool take_table(lua_State *L, int index, struct muster_error *error)
{
    error->message = field_text(L, index, "message");
    if (error->message == NULL)
        return false;
    error->name = field_text(L, index, "name");
    error->file = field_text(L, index, "file");
    error->stack = field_text(L, index, "stack");
    if (says_client_is_gone(L, index, error))
        error->status = MUSTER_CANCELED;
    lua_pushliteral(L, "line");
    lua_rawget(L, index);
    error->line = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return true;
}

static int to_text(lua_State *L)
{
    luaL_tolstring(L, 1, NULL); /* may run the script's __tostring */
    return 1;
}

static void take_other(lua_State *L, lua_State *thread, struct muster_error *error)
{
    lua_pushcfunction(L, to_text);
    lua_pushvalue(thread, L == thread ? -2 : -1);
    if (L != thread)
        lua_xmove(thread, L, 1);
    int status = lua_pcall(L, 1, 1, 0);
    muster__lua_check_cut(L, status);
    const char *text = lua_tostring(L, -1);
    error->message = muster__strdup(status == LUA_OK && text != NULL
                                        ? text
                                        : "an error object that cannot be shown");
    lua_pop(L, 1);
}

static char *append_level(char *stack, lua_State *thread, lua_Debug *debug)
{
    lua_getinfo(thread, "Sln", debug);
    const char *name = debug->name != NULL ? debug->name : *debug->what == 'm' ? "main chunk" : "?";
    char *longer = debug->currentline > 0
                       ? muster__format("%s%s    at %s (%s:%d)", stack != NULL ? stack : "",
                                        stack != NULL ? "\n" : "", name, source_name(debug),
                                        debug->currentline)
                       : muster__format("%s%s    at %s", stack != NULL ? stack : "",
                                        stack != NULL ? "\n" : "", name);
    if (longer == NULL)
        return stack;
    free(stack);
    return longer;
}

static char *stack_text(lua_State *thread)
{
    char *stack = NULL;
    lua_Debug debug;
    for (int level = 0; level < STACK_LEVELS && lua_getstack(thread, level, &debug); level++)
        stack = append_level(stack, thread, &debug);
    return stack;
}

void muster__lua_take_error(lua_State *L, lua_State *thread, enum muster_status status,
                            struct muster_error *ret_error)
{
    lua_Debug debug;
    memset(ret_error, 0, sizeof *ret_error);
    ret_error->status = status;
    bool has_room = lua_checkstack(thread, 8);
    int top = lua_gettop(thread);
    if (!has_room)
        ret_error->message = muster__strdup("stack overflow");
    else if (lua_type(thread, top) == LUA_TSTRING)
        take_text(thread, lua_tostring(thread, top), ret_error);
    else if (lua_type(thread, top) != LUA_TTABLE || !take_table(thread, top, ret_error))
        take_other(L, thread, ret_error);
    if (ret_error->name == NULL)
        ret_error->name = muster__strdup(status == MUSTER_SYNTAX_ERROR ? "SyntaxError" : "Error");
    if (ret_error->file == NULL && find_place(thread, 0, &debug)) {
        ret_error->file = muster__strdup(source_name(&debug));
        ret_error->line = debug.currentline;
    }
    if (ret_error->stack == NULL)
        ret_error->stack = stack_text(thread);
}
