/* runtime/engine_lua_event.c - a delivered request: its event, its handlers, its two endings.
 *
 * In a turn of the worker.  A flight is open while something holds it: the delivery itself, each handler,
 * each wait_until, the response's body.  The last hold to drop settles what is not settled yet, and tells
 * the worker that the request has ended.  Nothing touches the request after that.
 *
 * Handlers of a fetch event are asked one after the other until one answers; those of any other event all run. */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- flights ---- */

static struct muster__lua_flight *flight_new(struct muster__realm *realm,
                                             struct muster__request *request)
{
    struct muster__lua_flight *flight = calloc(1, sizeof *flight);
    if (flight == NULL)
        return NULL;
    flight->realm = realm;
    flight->request = request;
    flight->references = 1;
    flight->event = LUA_NOREF;
    flight->next = realm->flights;
    if (realm->flights != NULL)
        realm->flights->previous = flight;
    realm->flights = flight;
    request->engine_data = flight;
    return flight;
}

void muster__lua_flight_release(struct muster__lua_flight *flight)
{
    if (--flight->references > 0)
        return;
    muster_error_clean_up(&flight->failure);
    free(flight);
}

/* What the script still holds of it says from now on that the event has ended. */
static void detach_handles(struct muster__lua_flight *flight)
{
    for (size_t i = 0; i < MUSTER__LUA_HANDLE_COUNT; i++)
        if (flight->handles[i] != NULL)
            *flight->handles[i] = NULL;
    memset(flight->handles, 0, sizeof flight->handles);
}

static void unlink_flight(struct muster__lua_flight *flight)
{
    detach_handles(flight);
    if (flight->previous != NULL)
        flight->previous->next = flight->next;
    else
        flight->realm->flights = flight->next;
    if (flight->next != NULL)
        flight->next->previous = flight->previous;
    flight->request->engine_data = NULL;
    flight->request = NULL;
}

void muster__lua_flights_forget(struct muster__realm *realm)
{
    while (realm->flights != NULL) {
        struct muster__lua_flight *flight = realm->flights;
        if (flight->writer.stream != NULL)
            muster_stream_abort(flight->writer.stream, MUSTER_TERMINATED, NULL);
        muster__lua_wait_close(realm, &flight->reader, false);
        muster__lua_wait_close(realm, &flight->writer, true);
        unlink_flight(flight);
        luaL_unref(realm->vm->state, LUA_REGISTRYINDEX, flight->event);
        muster__lua_flight_release(flight);
    }
}

void muster__lua_flight_settle(struct muster__lua_flight *flight,
                               const struct muster__outcome *outcome)
{
    if (flight->settled)
        return;
    flight->settled = true;
    flight->realm->host->settle(flight->realm->worker, flight->request, outcome);
}

static void settle_last(struct muster__lua_flight *flight)
{
    struct muster__outcome outcome = {.status = MUSTER_OK};
    if (flight->failed != MUSTER_OK) {
        outcome.status = flight->failed;
        outcome.error = &flight->failure;
    } else if (flight->request->kind == MUSTER__REQUEST_FETCH) {
        outcome.status = MUSTER_PASSED;
    }
    muster__lua_flight_settle(flight, &outcome);
}

static void end_flight(lua_State *L, struct muster__lua_flight *flight)
{
    struct muster__realm *realm = flight->realm;
    struct muster__request *request = flight->request;
    struct muster__lua_task *reader = flight->reader.waiting;
    settle_last(flight);
    flight->reader.waiting = NULL;
    muster__lua_wait_close(realm, &flight->reader, false);
    int event = flight->event;
    flight->event = LUA_NOREF;
    unlink_flight(flight);
    muster__lua_flight_release(flight);
    luaL_unref(L, LUA_REGISTRYINDEX, event);
    realm->host->ended(realm->worker, request);
    if (reader != NULL)
        muster__lua_task_wake(L, reader, 0); /* of another event: it sees that this one is over */
}

void muster__lua_flight_hold(struct muster__lua_flight *flight)
{
    flight->holds++;
}

void muster__lua_flight_drop(lua_State *L, struct muster__lua_flight *flight)
{
    MUSTER_CHECK(flight->holds > 0);
    if (--flight->holds == 0)
        end_flight(L, flight);
}

int muster__lua_drop_lost_holds(lua_State *L)
{
    struct muster__realm *realm = lua_touserdata(L, 1);
    realm->has_lost_holds = false;
    struct muster__lua_flight *flight = realm->flights;
    while (flight != NULL) {
        if (flight->lost_holds == 0) {
            flight = flight->next;
            continue;
        }
        flight->lost_holds--;
        muster__lua_flight_drop(L, flight);
        flight = realm->flights; /* anything may have ended meanwhile */
    }
    return 0;
}

/* The first failure counts; later ones are told as uncaught. */
void muster__lua_flight_fail(struct muster__lua_flight *flight, enum muster_status status,
                             struct muster_error *take_error)
{
    struct muster__realm *realm = flight->realm;
    bool is_call = flight->request->kind == MUSTER__REQUEST_CALL;
    bool is_first = !flight->settled && flight->failed == MUSTER_OK;
    if (!is_first || (status == MUSTER_SCRIPT_ERROR && !is_call))
        realm->host->report(realm->worker, take_error);
    if (is_first) {
        flight->failed = status;
        flight->failure = *take_error;
        memset(take_error, 0, sizeof *take_error);
    }
    muster_error_clean_up(take_error);
}

static void fail_from_task(lua_State *L, struct muster__lua_task *task, enum muster_status status)
{
    struct muster_error error = {0};
    muster__lua_take_error(L, task->thread, status, &error);
    muster__lua_flight_fail(task->flight, status, &error);
}

void muster__lua_cancel(struct muster__realm *realm, struct muster__request *request)
{
    struct muster__lua_flight *flight = request->engine_data;
    if (flight == NULL || flight->realm != realm)
        return;
    flight->settled = true;
    flight->canceled = true;
    if (flight->writer.stream != NULL)
        muster_stream_abort(flight->writer.stream, MUSTER_CANCELED, NULL);
}

/* ---- userdata that refer to a flight: event, request, headers ---- */

/* Each is there once: the flight keeps the event alive, the event its request, the request its headers.
 * So the flight can empty them when it ends, and none needs a finalizer, which would make it dear. */
static struct muster__lua_flight **push_handle(lua_State *L, const char *type)
{
    struct muster__lua_flight **slot = lua_newuserdatauv(L, sizeof *slot, 1);
    *slot = NULL;
    luaL_setmetatable(L, type);
    return slot;
}

/* Once nothing can collect it before the flight ends. */
static void attach(struct muster__lua_flight *flight, enum muster__lua_handle which,
                   struct muster__lua_flight **slot)
{
    *slot = flight;
    flight->handles[which] = slot;
}

/* What the handle at 1 keeps; false (and nothing pushed): nothing yet. */
static bool push_kept(lua_State *L)
{
    if (lua_getiuservalue(L, 1, 1) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

static void keep(lua_State *L)
{
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
}

struct muster__lua_flight *muster__lua_check_flight(lua_State *L, int index, const char *type)
{
    struct muster__lua_flight *flight = *(struct muster__lua_flight **)luaL_checkudata(L, index, type);
    if (flight == NULL || flight->request == NULL)
        luaL_error(L, "this event has ended");
    return flight;
}

/* ---- event.request ---- */

static void push_bytes(lua_State *L, struct muster_bytes bytes)
{
    lua_pushlstring(L, bytes.length > 0 ? bytes.data : "", bytes.length);
}

static bool is_named(const struct muster_header *header, const char *name, size_t length)
{
    return header->name.length == length && strncasecmp(header->name.data, name, length) == 0;
}

/* headers["content-type"]: in any case; repeated ones are joined by ", ". */
static int headers_index(lua_State *L)
{
    const struct muster_http_request *http =
        &muster__lua_check_flight(L, 1, MUSTER__LUA_HEADERS)->request->http;
    size_t length = 0;
    const char *name = luaL_checklstring(L, 2, &length);
    int found = 0;
    lua_settop(L, 2);
    luaL_checkstack(L, (int)http->header_count * 2 + 4, "headers");
    for (size_t i = 0; i < http->header_count; i++) {
        if (!is_named(&http->headers[i], name, length))
            continue;
        if (found++ > 0)
            lua_pushliteral(L, ", ");
        push_bytes(L, http->headers[i].value);
    }
    if (found == 0)
        return 0;
    lua_concat(L, found * 2 - 1);
    return 1;
}

static void push_header_list(lua_State *L, const struct muster_http_request *http)
{
    lua_createtable(L, (int)http->header_count, 0);
    for (size_t i = 0; i < http->header_count; i++) {
        lua_createtable(L, 2, 0);
        push_bytes(L, http->headers[i].name);
        lua_rawseti(L, -2, 1);
        push_bytes(L, http->headers[i].value);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_headers(lua_State *L, struct muster__lua_flight *flight)
{
    if (push_kept(L))
        return;
    struct muster__lua_flight **slot = push_handle(L, MUSTER__LUA_HEADERS);
    keep(L);
    attach(flight, MUSTER__LUA_HANDLE_HEADERS, slot);
}

static int request_index(lua_State *L)
{
    struct muster__lua_flight *flight = muster__lua_check_flight(L, 1, MUSTER__LUA_REQUEST);
    const struct muster_http_request *http = &flight->request->http;
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "method") == 0)
        push_bytes(L, http->method);
    else if (strcmp(key, "url") == 0)
        push_bytes(L, http->url);
    else if (strcmp(key, "headers") == 0)
        push_headers(L, flight);
    else if (strcmp(key, "headers_list") == 0)
        push_header_list(L, http);
    else if (strcmp(key, "client_id") == 0)
        push_bytes(L, http->client_id);
    else if (strcmp(key, "body") == 0)
        lua_pushcfunction(L, muster__lua_request_body);
    else if (strcmp(key, "read") == 0)
        lua_pushcfunction(L, muster__lua_request_read);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- event ---- */

/* Made at the first look, and the same object ever after. */
static int push_request(lua_State *L, struct muster__lua_flight *flight)
{
    if (flight->request->kind != MUSTER__REQUEST_FETCH)
        return 0;
    if (push_kept(L))
        return 1;
    struct muster__lua_flight **slot = push_handle(L, MUSTER__LUA_REQUEST);
    keep(L);
    attach(flight, MUSTER__LUA_HANDLE_REQUEST, slot);
    return 1;
}

static int push_data(lua_State *L, struct muster__lua_flight *flight)
{
    if (flight->request->data == NULL)
        return 0;
    if (push_kept(L))
        return 1;
    muster__lua_push_value(L, flight->request->data);
    keep(L);
    return 1;
}

static void hold_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    if (results < 0)
        fail_from_task(L, task, MUSTER_REJECTED);
}

/* event:wait_until(function): runs it at once as a task of its own.
 * event:wait_until("name"): a hold, to be dropped. */
static int event_wait_until(lua_State *L)
{
    struct muster__lua_flight *flight = muster__lua_check_flight(L, 1, MUSTER__LUA_EVENT);
    if (lua_type(L, 2) == LUA_TSTRING) {
        muster__lua_push_hold(L, lua_tostring(L, 2), flight);
        return 1;
    }
    luaL_argexpected(L, lua_isfunction(L, 2), 2, "function or string");
    lua_settop(L, 2);
    muster__lua_flight_hold(flight);
    muster__lua_task_start(L, flight->realm, 0, hold_ended, flight, 0);
    return 0;
}

static int event_respond(lua_State *L)
{
    struct muster__lua_flight *flight = muster__lua_check_flight(L, 1, MUSTER__LUA_EVENT);
    luaL_argcheck(L, flight->request->kind == MUSTER__REQUEST_FETCH, 1,
                  "only a fetch event is answered");
    lua_settop(L, 2);
    if (flight->canceled) {
        lua_pushboolean(L, 0); /* nobody waits for it any more */
        return 1;
    }
    if (flight->settled)
        return luaL_error(L, "this event was answered already");
    muster__lua_respond(L, flight, 2);
    lua_pushboolean(L, 1);
    return 1;
}

static int event_index(lua_State *L)
{
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "wait_until") == 0) {
        lua_pushcfunction(L, event_wait_until);
        return 1;
    }
    if (strcmp(key, "respond") == 0) {
        lua_pushcfunction(L, event_respond);
        return 1;
    }
    struct muster__lua_flight *flight = muster__lua_check_flight(L, 1, MUSTER__LUA_EVENT);
    if (strcmp(key, "request") == 0)
        return push_request(L, flight);
    if (strcmp(key, "data") == 0)
        return push_data(L, flight);
    if (strcmp(key, "type") == 0)
        lua_pushstring(L, flight->request->name);
    else if (strcmp(key, "canceled") == 0)
        lua_pushboolean(L, flight->canceled);
    else
        lua_pushnil(L);
    return 1;
}

static void open_handle(lua_State *L, const char *type, lua_CFunction index)
{
    luaL_newmetatable(L, type);
    lua_pushcfunction(L, index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void muster__lua_open_event(lua_State *L)
{
    open_handle(L, MUSTER__LUA_EVENT, event_index);
    open_handle(L, MUSTER__LUA_REQUEST, request_index);
    open_handle(L, MUSTER__LUA_HEADERS, headers_index);
}

/* ---- handlers ---- */

static bool ask_next(lua_State *L, struct muster__lua_flight *flight, int step);

static int respond_entry(lua_State *L)
{
    muster__lua_respond(L, lua_touserdata(L, 1), 2);
    return 0;
}

/* A fetch handler may return its answer. */
static void respond_with_result(lua_State *L, struct muster__lua_task *task, int results)
{
    struct muster__lua_flight *flight = task->flight;
    luaL_checkstack(L, 4, "a response");
    luaL_checkstack(task->thread, 1, "a response");
    lua_pushcfunction(L, respond_entry);
    lua_pushlightuserdata(L, flight);
    lua_pushvalue(task->thread, -results);
    lua_xmove(task->thread, L, 1);
    int status = lua_pcall(L, 2, 0, 0);
    if (status == LUA_OK)
        return;
    muster__lua_check_cut(L, status);
    struct muster_error error = {0};
    muster__lua_take_error(L, L, MUSTER_BAD_RESPONSE, &error);
    lua_pop(L, 1);
    muster__lua_flight_fail(flight, MUSTER_BAD_RESPONSE, &error);
    settle_last(flight);
}

static void fetch_handler_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    struct muster__lua_flight *flight = task->flight;
    if (results < 0) {
        fail_from_task(L, task, MUSTER_SCRIPT_ERROR);
        settle_last(flight);
        return;
    }
    if (flight->settled)
        return;
    if (results > 0 && !lua_isnil(task->thread, -results))
        respond_with_result(L, task, results);
    else
        ask_next(L, flight, task->step + 1);
}

static void handler_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    if (results < 0)
        fail_from_task(L, task, MUSTER_SCRIPT_ERROR);
}

/* On L: handler, event. */
static void start_handler(lua_State *L, struct muster__lua_flight *flight, int step)
{
    bool is_fetch = flight->request->kind == MUSTER__REQUEST_FETCH;
    muster__lua_flight_hold(flight);
    muster__lua_task_start(L, flight->realm, 1, is_fetch ? fetch_handler_ended : handler_ended,
                           flight, step);
}

/* Leaves the handler on top; false: there is none of that number. */
static bool push_handler(lua_State *L, struct muster__lua_flight *flight, int step)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, flight->realm->listeners);
    lua_pushstring(L, flight->request->name);
    return lua_rawget(L, -2) == LUA_TTABLE && lua_rawgeti(L, -1, step) == LUA_TFUNCTION;
}

static bool ask_next(lua_State *L, struct muster__lua_flight *flight, int step)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 8, "handlers");
    bool found = push_handler(L, flight, step);
    if (found) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, flight->event);
        start_handler(L, flight, step);
    }
    lua_settop(L, top);
    return found;
}

static void run_handlers(lua_State *L, struct muster__lua_flight *flight)
{
    struct muster__lua_flight **slot = push_handle(L, MUSTER__LUA_EVENT);
    flight->event = luaL_ref(L, LUA_REGISTRYINDEX);
    attach(flight, MUSTER__LUA_HANDLE_EVENT, slot);
    if (!ask_next(L, flight, 1)) {
        muster__lua_flight_settle(flight, &(struct muster__outcome){.status = MUSTER_PASSED});
        return;
    }
    if (flight->request->kind == MUSTER__REQUEST_FETCH)
        return;
    for (int step = 2; ask_next(L, flight, step); step++)
        ;
}

/* ---- calls ---- */

static void call_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    if (results < 0) {
        fail_from_task(L, task, MUSTER_SCRIPT_ERROR);
        return;
    }
    char problem[MUSTER__LUA_PROBLEM] = "out of memory";
    struct muster_value *value = NULL;
    if (results > 0 && lua_checkstack(task->thread, 1)) {
        lua_pushvalue(task->thread, -results);
        lua_xmove(task->thread, L, 1);
        value = muster__lua_to_value(L, -1, problem);
        lua_pop(L, 1);
    } else if (results == 0) {
        value = muster_value_new_undefined();
    }
    if (value == NULL) {
        struct muster_error error = {0};
        muster_error_set(&error, MUSTER_SCRIPT_ERROR, "%s returned what cannot be sent: %s",
                         task->flight->request->name, problem);
        muster__lua_flight_fail(task->flight, MUSTER_SCRIPT_ERROR, &error);
        return;
    }
    struct muster__outcome outcome = {.status = MUSTER_OK, .value = value};
    muster__lua_flight_settle(task->flight, &outcome);
    muster_value_release(value);
}

static int arguments_entry(lua_State *L)
{
    const struct muster_value *arguments = lua_touserdata(L, 1);
    return arguments != NULL ? muster__lua_push_arguments(L, arguments) : 0;
}

/* On top: why they could not be made; bytes of another process may be no message at all. */
static void refuse_arguments(lua_State *L, struct muster__lua_flight *flight)
{
    struct muster_error error = {0};
    muster__lua_take_error(L, L, MUSTER_INVALID_ARGUMENT, &error);
    muster__lua_flight_fail(flight, MUSTER_INVALID_ARGUMENT, &error);
    lua_pop(L, 1);
}

static void call_function(lua_State *L, struct muster__lua_flight *flight)
{
    struct muster__request *request = flight->request;
    if (!muster__lua_push_function(L, flight->realm, request->name)) {
        muster__lua_flight_settle(flight, &(struct muster__outcome){.status = MUSTER_NOT_FOUND});
        return;
    }
    int before = lua_gettop(L);
    lua_pushcfunction(L, arguments_entry);
    lua_pushlightuserdata(L, request->data);
    if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK) {
        refuse_arguments(L, flight);
        return;
    }
    muster__lua_flight_hold(flight);
    muster__lua_task_start(L, flight->realm, lua_gettop(L) - before, call_ended, flight, 0);
}

/* ---- delivery ---- */

int muster__lua_deliver(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    struct muster__request *request = lua_touserdata(L, 1);
    struct muster__lua_flight *flight = flight_new(realm, request);
    if (flight == NULL) {
        struct muster__outcome outcome = {.status = MUSTER_NO_MEMORY};
        realm->host->settle(realm->worker, request, &outcome);
        realm->host->ended(realm->worker, request);
        return 0;
    }
    muster__lua_flight_hold(flight); /* the delivery's */
    if (request->kind == MUSTER__REQUEST_CALL)
        call_function(L, flight);
    else
        run_handlers(L, flight);
    muster__lua_flight_drop(L, flight);
    return 0;
}
