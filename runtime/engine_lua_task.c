/* runtime/engine_lua_task.c - tasks: the coroutines that muster starts, parks and wakes.
 *
 * In a turn of the worker.  A task that waits is parked with exactly one waker (a timer, a call, a note),
 * which wakes it once; so a pointer to a parked task stays good until then, or until the realm is gone.
 *
 * Scripts make coroutines of their own.  When one of those waits, the marker that it yields goes on, resume
 * by resume, to the task, and what wakes the task comes back down the same way. */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>

static const char marker; /* its address is what a waiting coroutine yields */

static bool yielded_marker(lua_State *thread)
{
    return lua_status(thread) == LUA_YIELD && lua_gettop(thread) > 0 &&
           lua_touserdata(thread, -1) == (const void *)&marker;
}

/* ---- a task's life ---- */

static void unlink_task(struct muster__lua_task *task)
{
    if (task->previous != NULL)
        task->previous->next = task->next;
    else
        task->realm->tasks = task->next;
    if (task->next != NULL)
        task->next->previous = task->previous;
}

static void link_task(struct muster__realm *realm, struct muster__lua_task *task)
{
    task->realm = realm;
    task->next = realm->tasks;
    if (realm->tasks != NULL)
        realm->tasks->previous = task;
    realm->tasks = task;
}

/* A coroutine costs about a kilobyte; the one that finished last serves the next task. */
static void take_thread(lua_State *L, struct muster__lua_task *task)
{
    struct muster__realm *realm = task->realm;
    if (realm->spare != LUA_NOREF) {
        task->anchor = realm->spare;
        realm->spare = LUA_NOREF;
        lua_rawgeti(L, LUA_REGISTRYINDEX, task->anchor);
        task->thread = lua_tothread(L, -1);
        lua_pop(L, 1);
        return;
    }
    task->thread = lua_newthread(L);
    task->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void give_thread(lua_State *L, struct muster__lua_task *task)
{
    struct muster__realm *realm = task->realm;
    if (lua_status(task->thread) == LUA_OK && realm->spare == LUA_NOREF) {
        lua_settop(task->thread, 0);
        realm->spare = task->anchor;
        task->anchor = LUA_NOREF;
        return;
    }
    if (lua_status(task->thread) != LUA_OK)
        lua_resetthread(task->thread); /* runs what is to be closed */
    luaL_unref(L, LUA_REGISTRYINDEX, task->anchor);
    task->anchor = LUA_NOREF;
    muster__lua_check_cut(L, LUA_OK);
}

static void finish(lua_State *L, struct muster__lua_task *task, int results)
{
    struct muster__lua_flight *flight = task->flight;
    task->ended(L, task, results);
    give_thread(L, task); /* may raise: until then the realm knows the task */
    unlink_task(task);
    free(task);
    if (flight != NULL)
        muster__lua_flight_drop(L, flight);
}

static void resume(lua_State *L, struct muster__lua_task *task, int arguments)
{
    struct muster__vm *vm = task->realm->vm;
    struct muster__lua_task *outer = vm->task;
    unsigned blocked = vm->blocked;
    int results = 0;
    vm->task = task;
    vm->blocked = 0;
    int status = lua_resume(task->thread, L, arguments, &results);
    vm->task = outer;
    vm->blocked = blocked;
    muster__lua_check_cut(L, status);
    if (yielded_marker(task->thread)) {
        lua_pop(task->thread, 1);
        return;
    }
    if (status == LUA_YIELD) {
        /* Only a trusted script's own C code can do that. */
        lua_pushliteral(task->thread, "a handler yielded, but nobody would resume it");
        status = LUA_ERRRUN;
    }
    finish(L, task, status == LUA_OK ? results : -1);
}

void muster__lua_task_start(lua_State *L, struct muster__realm *realm, int arguments,
                            muster__lua_ended_fn *ended, struct muster__lua_flight *flight, int step)
{
    struct muster__lua_task *task = calloc(1, sizeof *task);
    if (task == NULL)
        muster__lua_check_cut(L, LUA_ERRMEM);
    link_task(realm, task);
    task->ended = ended;
    task->flight = flight;
    task->step = step;
    task->anchor = LUA_NOREF;
    take_thread(L, task);
    if (!lua_checkstack(task->thread, arguments + 4))
        muster__lua_check_cut(L, LUA_ERRMEM);
    lua_xmove(L, task->thread, arguments + 1);
    resume(L, task, arguments);
}

void muster__lua_task_wake(lua_State *L, struct muster__lua_task *task, int arguments)
{
    MUSTER_CHECK(lua_status(task->thread) == LUA_YIELD);
    if (!lua_checkstack(task->thread, arguments + 1))
        muster__lua_check_cut(L, LUA_ERRMEM);
    lua_xmove(L, task->thread, arguments);
    resume(L, task, arguments);
}

void muster__lua_tasks_forget(struct muster__realm *realm)
{
    while (realm->tasks != NULL) {
        struct muster__lua_task *task = realm->tasks;
        unlink_task(task);
        luaL_unref(realm->vm->state, LUA_REGISTRYINDEX, task->anchor);
        free(task);
    }
}

/* ---- waiting ---- */

bool muster__lua_can_wait(lua_State *L)
{
    struct muster__vm *vm = muster__lua_vm(L);
    return vm->task != NULL && vm->blocked == 0 && lua_isyieldable(L);
}

struct muster__lua_task *muster__lua_may_wait(lua_State *L, const char *what)
{
    if (!muster__lua_can_wait(L))
        luaL_error(L, "%s has to wait, which is not possible inside a callback of a C function",
                   what);
    return muster__lua_vm(L)->task;
}

int muster__lua_wait(lua_State *L, lua_KFunction wakes, lua_KContext context)
{
    lua_pushlightuserdata(L, (void *)&marker);
    return lua_yieldk(L, 1, context, wakes);
}

/* ---- coroutine.* for scripts ---- */

static int step_into(lua_State *L, int arguments, lua_KContext raises);

/* The task was woken: what it got belongs to the coroutine at index 1. */
static int go_on(lua_State *L, int status, lua_KContext raises)
{
    (void)status;
    lua_State *inner = lua_tothread(L, 1);
    if (yielded_marker(inner))
        lua_pop(inner, 1);
    return step_into(L, lua_gettop(L) - 1, raises);
}

static int inner_failed(lua_State *L, lua_State *inner, lua_KContext raises)
{
    if (raises) {
        lua_resetthread(inner); /* closes what is to be closed; the error stays on top */
        muster__lua_check_cut(L, LUA_OK);
    }
    lua_xmove(inner, L, 1);
    if (raises)
        return lua_error(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int step_into(lua_State *L, int arguments, lua_KContext raises)
{
    lua_State *inner = lua_tothread(L, 1);
    struct muster__vm *vm = muster__lua_vm(L);
    int results = 0;
    if (!lua_checkstack(inner, arguments + 1))
        return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, inner, arguments);
    bool blocks = !lua_isyieldable(L);
    vm->blocked += blocks;
    int status = lua_resume(inner, L, arguments, &results);
    vm->blocked -= blocks;
    muster__lua_check_cut(L, status);
    if (status != LUA_OK && status != LUA_YIELD)
        return inner_failed(L, inner, raises);
    if (yielded_marker(inner)) {
        lua_settop(L, 1);
        return muster__lua_wait(L, go_on, raises);
    }
    luaL_checkstack(L, results + 1, "too many results");
    if (!raises)
        lua_pushboolean(L, 1);
    lua_xmove(inner, L, results);
    return results + !raises;
}

static int resume_checked(lua_State *L, lua_KContext raises)
{
    lua_State *inner = lua_tothread(L, 1);
    luaL_argexpected(L, inner != NULL, 1, "coroutine");
    if (inner != L && yielded_marker(inner)) {
        if (raises)
            return luaL_error(L, "cannot resume a coroutine that waits");
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "cannot resume a coroutine that waits");
        return 2;
    }
    return step_into(L, lua_gettop(L) - 1, raises);
}

static int coroutine_resume(lua_State *L)
{
    return resume_checked(L, 0);
}

static int call_wrapped(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return resume_checked(L, 1);
}

static int coroutine_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *inner = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, inner, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

static int coroutine_yield(lua_State *L)
{
    struct muster__lua_task *task = muster__lua_vm(L)->task;
    if (task != NULL && task->thread == L)
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

/* As the original (the upvalue), which would catch the end of the turn. */
static int coroutine_close(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTHREAD);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, LUA_MULTRET);
    muster__lua_check_cut(L, LUA_OK);
    return lua_gettop(L);
}

/* On L: the coroutine table of a realm. */
void muster__lua_open_coroutine(lua_State *L)
{
    static const luaL_Reg functions[] = {{"resume", coroutine_resume},
                                         {"wrap", coroutine_wrap},
                                         {"yield", coroutine_yield},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, -1, "close");
    lua_pushcclosure(L, coroutine_close, 1);
    lua_setfield(L, -2, "close");
}
