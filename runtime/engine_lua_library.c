/* runtime/engine_lua_library.c - what a Lua script finds: the safe part of the standard library, and muster.
 *
 * In a turn of the worker.  Each realm has tables of its own.  What could leave the realm, stop the limits or
 * run where the hook does not look is not there: io, os, debug, package, dofile, loadfile, string.dump,
 * binary chunks, and finalizers written in Lua (the hook is off while they run).  Full trust adds those. */
#include "runtime/engine_lua_clone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MAX_DELAY_MS 2147483647.0

static const char original_load_key; /* registry: the base library's load */
static const char original_dump_key; /* registry: string.dump, for full trust */

/* ---- base functions in the place of Lua's own ---- */

static int end_pcall(lua_State *L, int status, lua_KContext context)
{
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)context;
    muster__lua_check_cut(L, status);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int base_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    return end_pcall(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, end_pcall), 0);
}

/* When the hook raises, handlers are called from inside the hook, where nothing could stop them. */
static int call_handler(lua_State *L)
{
    if (muster__lua_vm(L)->cut != MUSTER_OK)
        return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

static int base_xpcall(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, call_handler, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* function, handler, true, function, arguments */
    return end_pcall(L, lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, end_pcall), 2);
}

static int base_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "finalizers (__gc) are not available; see __close");
        lua_pop(L, 1);
    }
    if (!muster__lua_is_shaped(L, 1) && luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* Text chunks only, and in the realm's environment. */
static int base_load(lua_State *L)
{
    bool has_environment = lua_gettop(L) >= 4;
    lua_settop(L, 4);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &original_load_key);
    lua_insert(L, 1);
    lua_pushliteral(L, "t");
    lua_replace(L, 4);
    if (!has_environment) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, muster__lua_realm(L)->environment);
        lua_replace(L, 5);
    }
    lua_call(L, 4, LUA_MULTRET);
    muster__lua_check_cut(L, LUA_OK); /* it catches what its reader raises */
    return lua_gettop(L);
}

static int base_collectgarbage(lua_State *L)
{
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "count") == 0) {
        lua_pushnumber(L, (lua_Number)muster__lua_vm(L)->memory / 1024);
        return 1;
    }
    luaL_argcheck(L, strcmp(what, "collect") == 0, 1, "only \"collect\" and \"count\" here");
    lua_gc(L, LUA_GCCOLLECT);
    lua_pushinteger(L, 0);
    return 1;
}

/* Without this, ("").rep with a large number loops in C for ever. */
static int string_rep(lua_State *L)
{
    size_t length = 0;
    size_t separator = 0;
    luaL_checklstring(L, 1, &length);
    luaL_optlstring(L, 3, "", &separator);
    if (length + separator == 0) {
        luaL_checkinteger(L, 2);
        lua_pushliteral(L, "");
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* ---- console ---- */

static void push_joined(lua_State *L, int first, const char *separator)
{
    int count = lua_gettop(L) - first + 1;
    luaL_Buffer buffer;
    for (int i = 0; i < count; i++) {
        luaL_tolstring(L, first + i, NULL);
        lua_replace(L, first + i);
    }
    luaL_buffinit(L, &buffer);
    for (int i = 0; i < count; i++) {
        if (i > 0)
            luaL_addstring(&buffer, separator);
        lua_pushvalue(L, first + i);
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
}

static int to_console(lua_State *L, enum muster_log_level level, int first, const char *separator)
{
    struct muster__realm *realm = muster__lua_realm(L);
    size_t length = 0;
    push_joined(L, first, separator);
    const char *text = lua_tolstring(L, -1, &length);
    realm->host->console(realm->worker, level, text, length);
    return 0;
}

static int base_print(lua_State *L)
{
    return to_console(L, MUSTER_LOG_INFO, 1, "\t");
}

static int base_warn(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    if (lua_gettop(L) == 1 && text[0] == '@')
        return 0; /* "@on" and "@off" are for lua's own warning system */
    return to_console(L, MUSTER_LOG_WARNING, 1, "");
}

static int muster_log(lua_State *L)
{
    static const char *const names[] = {"error", "warning", "info", "debug", NULL};
    enum muster_log_level level = (enum muster_log_level)luaL_checkoption(L, 1, NULL, names);
    return to_console(L, level, 2, "\t");
}

/* ---- muster.*: events, timers, holds ---- */

static int muster_on(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->listeners);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return 0;
}

static uint64_t check_delay_us(lua_State *L, int index)
{
    lua_Number ms = luaL_optnumber(L, index, 0);
    if (!(ms > 0)) /* not a number is zero, too */
        return 0;
    return (uint64_t)(fmin(ms, MAX_DELAY_MS) * 1000.0);
}

static uint32_t set_timer(lua_State *L, uint64_t delay_us, bool repeat)
{
    struct muster__realm *realm = muster__lua_realm(L);
    uint32_t id = realm->host->timer_set(realm->worker, delay_us, repeat);
    if (id == 0)
        luaL_error(L, "no more timers");
    return id;
}

static int start_timer(lua_State *L, bool repeat)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    uint64_t delay_us = check_delay_us(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, muster__lua_realm(L)->timers);
    lua_pushvalue(L, 1);
    lua_Integer id = set_timer(L, repeat && delay_us < 1000 ? 1000 : delay_us, repeat);
    lua_rawseti(L, -2, repeat ? -id : id);
    lua_pushinteger(L, id);
    return 1;
}

static int muster_set_timeout(lua_State *L)
{
    return start_timer(L, false);
}

static int muster_set_interval(lua_State *L)
{
    return start_timer(L, true);
}

static int muster_clear_timer(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    if (lua_isnoneornil(L, 1))
        return 0;
    lua_settop(L, 1);
    lua_Integer id = luaL_checkinteger(L, 1);
    if (id <= 0 || id > UINT32_MAX)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->timers);
    bool once = lua_rawgeti(L, -1, id) == LUA_TFUNCTION; /* else it may be somebody's sleep */
    bool repeats = lua_rawgeti(L, -2, -id) == LUA_TFUNCTION;
    if (!once && !repeats)
        return 0;
    realm->host->timer_clear(realm->worker, (uint32_t)id);
    lua_settop(L, 2);
    lua_pushnil(L);
    lua_rawseti(L, 2, once ? id : -id);
    return 0;
}

static int slept(lua_State *L, int status, lua_KContext context)
{
    (void)L;
    (void)status;
    (void)context;
    return 0;
}

static int muster_sleep(lua_State *L)
{
    uint64_t delay_us = check_delay_us(L, 1);
    struct muster__lua_task *task = muster__lua_may_wait(L, "muster.sleep");
    lua_rawgeti(L, LUA_REGISTRYINDEX, muster__lua_realm(L)->timers);
    lua_pushlightuserdata(L, task);
    lua_rawseti(L, -2, set_timer(L, delay_us, false));
    return muster__lua_wait(L, slept, 0);
}

static int muster_hold(lua_State *L)
{
    muster__lua_push_hold(L, luaL_checkstring(L, 1), NULL);
    return 1;
}

static int muster_now(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    lua_pushnumber(L, (lua_Number)realm->host->now_us(realm->worker) / 1000.0);
    return 1;
}

static int muster_skip_waiting(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    realm->host->skip_waiting(realm->worker);
    return 0;
}

static int muster_close(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    realm->host->close(realm->worker);
    return 0;
}

/* ---- muster.import ---- */

int muster__lua_load_script(lua_State *L, struct muster__realm *realm,
                            const struct muster__script *script, bool binary)
{
    const char *text = script->text;
    size_t length = script->length;
    if (length > 1 && text[0] == '#') { /* "#!": the first line is not Lua, and still counts */
        const char *end = memchr(text, '\n', length);
        size_t skip = end != NULL ? (size_t)(end - text) : length;
        text += skip;
        length -= skip;
    }
    char *name = muster__format("@%s", script->url != NULL ? script->url : "?");
    int status =
        luaL_loadbufferx(L, text, length, name != NULL ? name : "@?", binary ? "bt" : "t");
    free(name);
    if (status != LUA_OK)
        return status;
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->environment);
    if (lua_setupvalue(L, -2, 1) == NULL)
        lua_pop(L, 1);
    return LUA_OK;
}

static int imported(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (lua_isnil(L, -1)) {
        lua_pushboolean(L, 1);
        lua_replace(L, -2);
    }
    lua_pushvalue(L, 1); /* the url, what the chunk gave */
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

static void push_loaded(lua_State *L, struct muster__realm *realm)
{
    if (realm->loaded == LUA_NOREF) {
        lua_newtable(L);
        realm->loaded = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->loaded);
}

static int refuse_import(lua_State *L, struct muster_error *error, enum muster_status status)
{
    char message[400];
    const char *text = error->message != NULL ? error->message : muster_status_sentence(status);
    strncpy(message, text, sizeof message - 1);
    message[sizeof message - 1] = '\0';
    muster_error_clean_up(error);
    return muster__lua_raise(L, status, "ImportError", message);
}

static int muster_import(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    const char *url = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    push_loaded(L, realm);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL)
        return 1;
    struct muster__script *script = NULL;
    struct muster_error error = {0};
    enum muster_status status = realm->host->load(realm->worker, url, &script, &error);
    if (status != MUSTER_OK)
        return refuse_import(L, &error, status);
    lua_settop(L, 2);
    bool is_text = script->text != NULL;
    int result = is_text ? muster__lua_load_script(L, realm, script, false) : LUA_OK;
    muster__script_destroy(script);
    if (!is_text)
        return luaL_error(L, "%s is no Lua text", url);
    if (result != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 1, 0, imported);
    return imported(L, LUA_OK, 0);
}

/* ---- muster.dispatch, muster.call ---- */

static int answered(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (lua_toboolean(L, -2))
        return 1;
    return lua_error(L);
}

static int answer_entry(lua_State *L)
{
    struct muster__outgoing *outgoing = lua_touserdata(L, 1);
    struct muster__lua_task *task = outgoing->engine_data;
    bool good = outgoing->status == MUSTER_OK || outgoing->status == MUSTER_PASSED;
    lua_pushboolean(L, good);
    if (good) {
        muster__lua_push_value(L, outgoing->value);
    } else {
        outgoing->error.status = outgoing->status;
        muster__lua_push_error(L, &outgoing->error);
    }
    outgoing->engine_data = NULL;
    muster__lua_task_wake(L, task, 2);
    return 0;
}

static void answer_arrived(struct muster__note *note, struct muster__realm *realm)
{
    struct muster__outgoing *outgoing = muster__outgoing_of(note);
    (void)muster__lua_enter(realm, answer_entry, outgoing); /* turn_end tells of a cut */
    muster__outgoing_done(&realm->outgoing, outgoing);
}

static int send_request(lua_State *L, enum muster__request_kind kind, struct muster_value *take_data)
{
    struct muster__realm *realm = muster__lua_realm(L);
    struct muster__outgoing *outgoing = NULL;
    enum muster_status status = muster__outgoing_send(
        &realm->outgoing, realm->host, realm->worker, lua_tostring(L, 1), kind, lua_tostring(L, 2),
        take_data, answer_arrived, &outgoing);
    if (status != MUSTER_OK)
        return muster__lua_raise(L, status, NULL, NULL);
    outgoing->engine_data = muster__lua_vm(L)->task;
    return muster__lua_wait(L, answered, 0);
}

static int muster_dispatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    const char *type = luaL_checkstring(L, 2);
    luaL_argcheck(L, strcmp(type, "fetch") != 0, 2, "a fetch event needs a request");
    muster__lua_may_wait(L, "muster.dispatch");
    char problem[MUSTER__LUA_PROBLEM];
    struct muster_value *data = muster__lua_to_value(L, 3, problem);
    if (data == NULL)
        return luaL_error(L, "%s", problem);
    bool is_message = strcmp(type, "message") == 0;
    return send_request(L, is_message ? MUSTER__REQUEST_MESSAGE : MUSTER__REQUEST_EVENT, data);
}

static int muster_call(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    muster__lua_may_wait(L, "muster.call");
    struct muster_value *arguments = muster__lua_check_values(L, 3, lua_gettop(L) - 2, true);
    return send_request(L, MUSTER__REQUEST_CALL, arguments);
}

/* ---- tables ---- */

static const luaL_Reg muster_functions[] = {
    {"on", muster_on},
    {"log", muster_log},
    {"set_timeout", muster_set_timeout},
    {"set_interval", muster_set_interval},
    {"clear_timer", muster_clear_timer},
    {"sleep", muster_sleep},
    {"hold", muster_hold},
    {"now", muster_now},
    {"skip_waiting", muster_skip_waiting},
    {"close", muster_close},
    {"import", muster_import},
    {"dispatch", muster_dispatch},
    {"call", muster_call},
    {NULL, NULL},
};

static const char *const kept[] = {
    "assert", "error",  "getmetatable", "ipairs",   "next",     "pairs", "rawequal", "rawget",
    "rawlen", "rawset", "select",       "tonumber", "tostring", "type",  "_VERSION",
};

static const luaL_Reg replaced[] = {
    {"pcall", base_pcall},
    {"xpcall", base_xpcall},
    {"setmetatable", base_setmetatable},
    {"load", base_load},
    {"collectgarbage", base_collectgarbage},
    {"print", base_print},
    {"warn", base_warn},
    {NULL, NULL},
};

/* The library of strings that ("x"):method() finds is nobody's own, and hidden. */
static void open_string_methods(lua_State *L)
{
    lua_pushcfunction(L, luaopen_string);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "dump");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &original_dump_key);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_getfield(L, -1, "rep");
    lua_pushcclosure(L, string_rep, 1);
    lua_setfield(L, -2, "rep");
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void muster__lua_library_open_vm(lua_State *L)
{
    lua_pushcfunction(L, luaopen_base);
    lua_call(L, 0, 0);
    open_string_methods(L);
    lua_pushglobaltable(L);
    lua_getfield(L, -1, "load");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &original_load_key);
    lua_pop(L, 1);
}

/* A table of its own, with what ("").x finds. */
static void copy_string_library(lua_State *L)
{
    lua_newtable(L);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_getfield(L, -1, "__index");
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -7); /* table, "", meta, index, key, key, value */
    }
    lua_pop(L, 3);
}

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, name);
}

static void open_base(lua_State *L)
{
    lua_pushglobaltable(L);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, -3, kept[i]);
    }
    lua_pop(L, 1);
    luaL_setfuncs(L, replaced, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
}

static void open_muster(lua_State *L)
{
    luaL_newlib(L, muster_functions);
    lua_pushstring(L, muster_version());
    lua_setfield(L, -2, "version");
    muster__lua_open_value_names(L);
    muster__lua_open_clone(L);
    lua_setfield(L, -2, "muster");
}

/* Lua's own seed is made of an address and the second, which are the same in processes that are copies of one. */
static void seed_random(lua_State *L)
{
    lua_Integer seeds[2];
    if (getrandom(seeds, sizeof seeds, GRND_NONBLOCK) != (ssize_t)sizeof seeds)
        return;
    lua_getfield(L, -1, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, seeds[0]);
    lua_pushinteger(L, seeds[1]);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
}

void muster__lua_library_open_realm(lua_State *L, struct muster__realm *realm)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->environment);
    open_base(L);
    copy_string_library(L);
    lua_setfield(L, -2, "string");
    open_library(L, "table", luaopen_table);
    open_library(L, "math", luaopen_math);
    seed_random(L);
    open_library(L, "utf8", luaopen_utf8);
    lua_pushcfunction(L, luaopen_coroutine);
    lua_call(L, 0, 1);
    muster__lua_open_coroutine(L);
    lua_setfield(L, -2, "coroutine");
    open_muster(L);
    lua_pop(L, 1);
}

/* ---- who the realm is ---- */

static void set_optional(lua_State *L, const char *key, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_arguments(lua_State *L, const char *const *arguments)
{
    lua_newtable(L);
    for (lua_Integer i = 0; arguments != NULL && arguments[i] != NULL; i++) {
        lua_pushstring(L, arguments[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "args");
}

/* On L: the environment.  Pushes the table that holds the last word of the path; returns that word. */
static const char *push_parent(lua_State *L, const char *path)
{
    const char *dot;
    lua_pushvalue(L, -1);
    for (; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        lua_pushlstring(L, path, (size_t)(dot - path));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        if (!lua_istable(L, -1))
            luaL_error(L, "the host binding %s lies inside something that is no table", path);
        lua_replace(L, -3);
        lua_pop(L, 1);
    }
    return path;
}

static void install_bindings(lua_State *L, const struct muster_bindings *bindings)
{
    size_t count = muster__bindings_count(bindings);
    for (size_t i = 0; i < count; i++) {
        struct muster__binding binding = muster__bindings_at(bindings, i);
        const char *name = push_parent(L, binding.path);
        lua_pushstring(L, name);
        muster__lua_push_binding(L, (int)i, &binding);
        lua_rawset(L, -3);
        lua_pop(L, 1);
    }
}

/* On L: the environment.  Modules from the disk see it: full trust means one realm a VM. */
static void open_trusted(lua_State *L)
{
    static const char *const files[] = {"dofile", "loadfile", "setmetatable", "load",
                                        "collectgarbage"};
    lua_pushglobaltable(L);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        lua_getfield(L, -1, files[i]);
        lua_setfield(L, -3, files[i]);
    }
    lua_pop(L, 1);
    lua_getfield(L, -1, "string");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &original_dump_key);
    lua_setfield(L, -2, "dump");
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    luaL_requiref(L, LUA_LOADLIBNAME, luaopen_package, 1);
    luaL_requiref(L, LUA_IOLIBNAME, luaopen_io, 1);
    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 1);
    luaL_requiref(L, LUA_DBLIBNAME, luaopen_debug, 1);
    lua_pop(L, 4);
}

void muster__lua_library_identify(lua_State *L, struct muster__realm *realm,
                                  const struct muster__realm_identity *identity)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->environment);
    if (identity->trust == MUSTER__TRUST_FULL)
        open_trusted(L);
    lua_getfield(L, -1, "muster");
    set_optional(L, "name", identity->name);
    set_optional(L, "scope", identity->scope);
    set_arguments(L, identity->arguments);
    lua_pop(L, 1);
    install_bindings(L, realm->bindings);
    lua_pop(L, 1);
}

/* ---- functions that others may call ---- */

bool muster__lua_push_function(lua_State *L, struct muster__realm *realm, const char *path)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->environment);
    for (;;) {
        size_t length = strcspn(path, ".");
        if (!lua_istable(L, -1))
            break;
        lua_pushlstring(L, path, length);
        lua_rawget(L, -2);
        lua_remove(L, -2);
        if (path[length] == '\0')
            break;
        path += length + 1;
    }
    /* Only what the script wrote: `load` is not for others to call. */
    if (lua_isfunction(L, -1) && !lua_iscfunction(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}
