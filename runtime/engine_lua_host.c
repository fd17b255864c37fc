/* runtime/engine_lua_host.c - the embedder's functions and objects, as Lua sees them.
 *
 * In a turn of the worker, except for what the embedder ends later, which comes back through
 * host_call_ended().  A call that does not end at once parks its task.  A finalizer may run in any
 * collection, also when the VM closes: it only lets go of the value. */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>
#include <string.h>

static const char object_key; /* a field of the metatables of host objects */

/* ---- calls ---- */

static int raise_or_return(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    if (lua_toboolean(L, -2))
        return 1;
    return lua_error(L);
}

/* The outcome of a call that ended at once; the realm frees it should pushing raise. */
static int give_outcome(lua_State *L, struct muster__realm *realm, struct muster_host_call *call)
{
    call->next = realm->garbage;
    realm->garbage = call;
    bool thrown = call->error.message != NULL;
    if (thrown)
        muster__lua_push_error(L, &call->error);
    else
        muster__lua_push_value(L, call->result);
    realm->garbage = call->next;
    muster__host_call_destroy(call);
    return thrown ? lua_error(L) : 1;
}

static int run_call(lua_State *L, struct muster_host_call *call)
{
    struct muster__realm *realm = muster__lua_realm(L);
    bool can_wait = muster__lua_can_wait(L);
    call->engine_data = can_wait ? muster__lua_vm(L)->task : NULL;
    if (muster__host_call_run(call))
        return give_outcome(L, realm, call);
    realm->host->host_call_open(realm->worker, call); /* may be gone from here on */
    if (!can_wait)
        return luaL_error(L, "this call has to wait, which is not possible here");
    return muster__lua_wait(L, raise_or_return, 0);
}

static int call_binding(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    size_t number = (size_t)lua_tointeger(L, lua_upvalueindex(1));
    struct muster__binding binding = muster__bindings_at(realm->bindings, number);
    struct muster_value *arguments = muster__lua_check_values(L, 1, lua_gettop(L), false);
    struct muster_host_call *call =
        muster__host_call_new(binding.path, binding.function, binding.user_data, arguments);
    return call != NULL ? run_call(L, call) : luaL_error(L, "out of memory");
}

void muster__lua_push_binding(lua_State *L, int number, const struct muster__binding *binding)
{
    if (binding->function == NULL) {
        muster__lua_push_value(L, binding->value);
        return;
    }
    lua_pushinteger(L, number);
    lua_pushcclosure(L, call_binding, 1);
}

/* ---- objects ---- */

const struct muster_value *muster__lua_to_host_object(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return NULL;
    bool is_object = lua_rawgetp(L, -1, &object_key) != LUA_TNIL;
    lua_pop(L, 2);
    return is_object ? *(struct muster_value **)lua_touserdata(L, index) : NULL;
}

static const struct muster_value *check_object(lua_State *L, int index,
                                               const struct muster_host_class *class)
{
    const struct muster_value *value =
        lua_type(L, index) == LUA_TUSERDATA ? muster__lua_to_host_object(L, index) : NULL;
    if (value == NULL || muster__value_host_class(value) != class)
        luaL_error(L, "call it with a colon, on a %s", class->name);
    return value;
}

static int call_method(lua_State *L)
{
    const struct muster_host_class *class = lua_touserdata(L, lua_upvalueindex(1));
    const struct muster_host_method *method = lua_touserdata(L, lua_upvalueindex(2));
    const struct muster_value *self = check_object(L, 1, class);
    struct muster_value *arguments = muster__lua_check_values(L, 2, lua_gettop(L) - 1, false);
    struct muster_host_call *call =
        muster__host_call_new(method->name, method->call, muster__value_host_data(self), arguments);
    if (call == NULL)
        return luaL_error(L, "out of memory");
    call->owned_name = muster__format("%s.%s", class->name, method->name);
    if (call->owned_name != NULL)
        call->name = call->owned_name;
    return run_call(L, call);
}

static int collect_object(lua_State *L)
{
    struct muster_value **slot = lua_touserdata(L, 1);
    muster_value_release(*slot);
    *slot = NULL;
    return 0;
}

static int objects_equal(lua_State *L)
{
    const struct muster_value *left = muster__lua_to_host_object(L, 1);
    const struct muster_value *right = muster__lua_to_host_object(L, 2);
    lua_pushboolean(L, left != NULL && right != NULL &&
                           muster__value_host_class(left) == muster__value_host_class(right) &&
                           muster__value_host_data(left) == muster__value_host_data(right));
    return 1;
}

static void push_methods(lua_State *L, const struct muster_host_class *class)
{
    lua_createtable(L, 0, (int)class->method_count);
    for (size_t i = 0; i < class->method_count; i++) {
        lua_pushlightuserdata(L, (void *)class);
        lua_pushlightuserdata(L, (void *)&class->methods[i]);
        lua_pushcclosure(L, call_method, 2);
        lua_setfield(L, -2, class->methods[i].name);
    }
}

/* One metatable a class and VM, made when the first object comes. */
static void push_class(lua_State *L, const struct muster_host_class *class)
{
    static const luaL_Reg events[] = {
        {"__gc", collect_object}, {"__eq", objects_equal}, {NULL, NULL}};
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, class) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_setfuncs(L, events, 0);
    push_methods(L, class);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, class->name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &object_key);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, class);
}

void muster__lua_push_host_object(lua_State *L, const struct muster_value *value)
{
    struct muster_value **slot = lua_newuserdatauv(L, sizeof *slot, 0);
    *slot = NULL;
    push_class(L, muster__value_host_class(value));
    *slot = muster_value_acquire(value);
    lua_setmetatable(L, -2);
}
