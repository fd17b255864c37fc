/* runtime/engine_lua_hold.c - holds: what muster.hold() and event:wait_until("name") give.
 *
 * In a turn of the worker.  hold:drop() ends it, once; so does `local h <close> = ...`, and so does the
 * collector, for one that the script has lost.  The collector may run anywhere, so there the event's share is
 * only noted, and dropped at the end of the entry. */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>

#define HOLD "muster.hold"

struct hold {
    struct muster__realm *realm; /* NULL: dropped */
    struct muster__lua_flight *flight;
    uint32_t token;
};

/* What is left to drop; the hold is empty afterwards.  The caller drops the flight's share. */
static struct muster__lua_flight *empty(struct hold *hold)
{
    struct muster__realm *realm = hold->realm;
    struct muster__lua_flight *flight = hold->flight;
    hold->realm = NULL;
    hold->flight = NULL;
    if (realm == NULL)
        return NULL;
    if (!realm->dead && hold->token != 0)
        realm->host->token_drop(realm->worker, hold->token);
    muster__lua_realm_release(realm);
    return flight;
}

static int drop(lua_State *L)
{
    struct muster__lua_flight *flight = empty(luaL_checkudata(L, 1, HOLD));
    if (flight == NULL)
        return 0;
    bool under_way = flight->request != NULL; /* then the realm refers to it as well */
    muster__lua_flight_release(flight);
    if (under_way)
        muster__lua_flight_drop(L, flight);
    return 0;
}

static int collect(lua_State *L)
{
    struct hold *hold = luaL_checkudata(L, 1, HOLD);
    struct muster__realm *realm = hold->realm;
    bool dead = realm == NULL || realm->dead;
    struct muster__lua_flight *flight = empty(hold);
    if (flight == NULL)
        return 0;
    if (!dead && flight->request != NULL) {
        flight->lost_holds++;
        realm->has_lost_holds = true;
    }
    muster__lua_flight_release(flight);
    return 0;
}

void muster__lua_push_hold(lua_State *L, const char *name, struct muster__lua_flight *flight)
{
    struct muster__realm *realm = muster__lua_realm(L);
    struct hold *hold = lua_newuserdatauv(L, sizeof *hold, 0);
    *hold = (struct hold){NULL, NULL, 0};
    luaL_setmetatable(L, HOLD);
    hold->token = realm->host->token_take(realm->worker, name);
    if (hold->token == 0)
        luaL_error(L, "out of memory");
    realm->references++;
    hold->realm = realm;
    if (flight != NULL) {
        flight->references++;
        muster__lua_flight_hold(flight);
        hold->flight = flight;
    }
}

void muster__lua_open_hold(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"drop", drop}, {"__close", drop}, {"__gc", collect}, {NULL, NULL}};
    luaL_newmetatable(L, HOLD);
    luaL_setfuncs(L, functions, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
