/* runtime/engine_lua_body.c - bodies: what a handler reads of its request, and what it answers with.
 *
 * In a turn of the worker; the streams' callbacks come from any thread and only post a note.  A task that
 * reads or writes a stream that is not ready parks, and the note wakes it.  A response is read with raw
 * access only, so that no script runs between its check and its settlement. */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 16384

/* ---- waiting for a stream ---- */

/* Thread: any.  The realm outlives the callback, which wait_close() removes first. */
static void post_note(void *user_data)
{
    struct muster__lua_wait *wait = user_data;
    wait->realm->host->note_post(wait->realm->worker, &wait->note);
}

static int wake_entry(lua_State *L)
{
    struct muster__lua_wait *wait = lua_touserdata(L, 1);
    struct muster__lua_task *task = wait->waiting;
    wait->waiting = NULL;
    if (task != NULL)
        muster__lua_task_wake(L, task, 0);
    return 0;
}

static void run_note(struct muster__note *note, struct muster__realm *realm)
{
    struct muster__lua_wait *wait = MUSTER_CONTAINER_OF(note, struct muster__lua_wait, note);
    (void)muster__lua_enter(realm, wake_entry, wait); /* turn_end tells of a cut */
}

/* Takes the stream; no callback comes before the end says that it wants one. */
static void wait_open(struct muster__realm *realm, struct muster__lua_wait *wait,
                      struct muster_stream *take_stream)
{
    wait->realm = realm;
    wait->note.run = run_note;
    wait->stream = take_stream;
}

void muster__lua_wait_close(struct muster__realm *realm, struct muster__lua_wait *wait,
                            bool is_writer)
{
    if (wait->stream == NULL)
        return;
    if (is_writer)
        muster_stream_on_writable(wait->stream, NULL, NULL);
    else
        muster_stream_on_readable(wait->stream, NULL, NULL);
    realm->host->note_cancel(realm->worker, &wait->note);
    muster_stream_release(wait->stream);
    wait->stream = NULL;
    wait->waiting = NULL;
}

/* ---- the request's body ---- */

static void open_reader(struct muster__lua_flight *flight)
{
    if (flight->reader.stream != NULL)
        return;
    wait_open(flight->realm, &flight->reader,
              muster_stream_acquire(flight->request->http.body_stream));
    muster_stream_on_readable(flight->reader.stream, post_note, &flight->reader);
}

/* OK: the next bytes are pushed, or nil at the end. */
static enum muster_status push_chunk(lua_State *L, struct muster__lua_flight *flight)
{
    const struct muster_http_request *http = &flight->request->http;
    if (http->body_stream == NULL) {
        if (flight->body_taken || http->body.length == 0)
            lua_pushnil(L);
        else
            lua_pushlstring(L, http->body.data, http->body.length);
        flight->body_taken = true;
        return MUSTER_OK;
    }
    char buffer[CHUNK_SIZE];
    size_t length = 0;
    open_reader(flight);
    enum muster_status status =
        muster_stream_read(flight->reader.stream, buffer, sizeof buffer, &length);
    if (status == MUSTER_OK && length == 0)
        lua_pushnil(L);
    else if (status == MUSTER_OK)
        lua_pushlstring(L, buffer, length);
    return status;
}

static int raise_broken(lua_State *L, struct muster__lua_flight *flight, enum muster_status status)
{
    const char *message = muster_stream_abort_message(flight->reader.stream);
    return muster__lua_raise(L, status, "AbortError",
                             message != NULL ? message : "the request's body broke off");
}

static int wait_readable(lua_State *L, struct muster__lua_flight *flight, lua_KFunction wakes)
{
    if (flight->reader.waiting != NULL)
        return luaL_error(L, "another coroutine reads this body");
    flight->reader.waiting = muster__lua_may_wait(L, "reading the body");
    return muster__lua_wait(L, wakes, 0);
}

static int read_step(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_settop(L, 1);
    struct muster__lua_flight *flight = muster__lua_check_flight(L, 1, MUSTER__LUA_REQUEST);
    enum muster_status result = push_chunk(L, flight);
    if (result == MUSTER_PENDING)
        return wait_readable(L, flight, read_step);
    return result == MUSTER_OK ? 1 : raise_broken(L, flight, result);
}

/* request:read(): the next chunk, or nil at the end. */
int muster__lua_request_read(lua_State *L)
{
    return read_step(L, LUA_OK, 0);
}

static int concat_chunks(lua_State *L)
{
    luaL_Buffer buffer;
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    luaL_buffinit(L, &buffer);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, i);
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
    return 1;
}

static int body_step(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    for (;;) {
        lua_settop(L, 2);
        struct muster__lua_flight *flight = muster__lua_check_flight(L, 1, MUSTER__LUA_REQUEST);
        enum muster_status result = push_chunk(L, flight);
        if (result == MUSTER_PENDING)
            return wait_readable(L, flight, body_step);
        if (result != MUSTER_OK)
            return raise_broken(L, flight, result);
        if (lua_isnil(L, 3))
            return concat_chunks(L);
        lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
    }
}

/* request:body(): all of it, as one string. */
int muster__lua_request_body(lua_State *L)
{
    lua_settop(L, 1);
    lua_newtable(L);
    return body_step(L, LUA_OK, 0);
}

/* ---- a response's headers ---- */

/* Counts while `items` is NULL, then fills.  Texts of numbers stay on L's stack. */
struct header_list {
    lua_State *L;
    struct muster_header *items;
    size_t count;
};

static bool is_token(const char *text, size_t length)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0' || strchr(allowed, text[i]) == NULL)
            return false;
    return length > 0;
}

static bool is_field_value(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0' || text[i] == '\r' || text[i] == '\n')
            return false;
    return true;
}

/* The text of a number is left on the stack. */
static struct muster_bytes text_at(lua_State *L, int index, const char *what)
{
    struct muster_bytes bytes = {NULL, 0};
    int type = lua_type(L, index);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        luaL_error(L, "a response's %s must be a string, not a %s", what, luaL_typename(L, index));
    bytes.data = type == LUA_TNUMBER ? luaL_tolstring(L, index, &bytes.length)
                                     : lua_tolstring(L, index, &bytes.length);
    return bytes;
}

/* On L: the name at `name`, its value at `value`; what is left on the stack is the text of a number. */
static void add_header(struct header_list *list, int name, int value)
{
    lua_State *L = list->L;
    if (list->items == NULL) {
        list->count++;
        return;
    }
    luaL_checkstack(L, 8, "headers");
    if (lua_type(L, name) != LUA_TSTRING)
        luaL_error(L, "headers are name = value, name = {values} or {name, value}");
    struct muster_header *header = &list->items[list->count++];
    header->name = text_at(L, name, "header name");
    header->value = text_at(L, value, "header value");
    if (!is_token(header->name.data, header->name.length))
        luaL_error(L, "\"%s\" is no name of a header", header->name.data);
    if (!is_field_value(header->value.data, header->value.length))
        luaL_error(L, "the header %s holds a line break or NUL", header->name.data);
}

static void anchor(lua_State *L, int store, int from)
{
    while (lua_gettop(L) > from) /* texts that add_header made */
        lua_rawseti(L, store, (lua_Integer)lua_rawlen(L, store) + 1);
}

/* One pair of the headers table: name = value, name = {values}, or {name, value}. */
static void add_pair(struct header_list *list, int store)
{
    lua_State *L = list->L;
    int value = lua_gettop(L);
    int key = value - 1;
    if (!lua_istable(L, value)) {
        add_header(list, key, value);
    } else if (lua_type(L, key) == LUA_TNUMBER) {
        lua_rawgeti(L, value, 1);
        lua_rawgeti(L, value, 2);
        add_header(list, value + 1, value + 2);
    } else {
        for (lua_Integer i = 1; lua_rawgeti(L, value, i) != LUA_TNIL; i++) {
            add_header(list, key, lua_gettop(L));
            anchor(L, store, value);
        }
    }
    anchor(L, store, value);
    lua_settop(L, value);
}

static void walk_headers(struct header_list *list, int headers, int store)
{
    lua_State *L = list->L;
    lua_pushnil(L);
    while (lua_next(L, headers) != 0) {
        add_pair(list, store);
        lua_pop(L, 1);
    }
}

/* The array, in a userdata that L's stack keeps, with a table of the texts. */
static void take_headers(lua_State *L, int table, struct muster_http_response *response)
{
    lua_pushliteral(L, "headers");
    int type = lua_rawget(L, table);
    if (type == LUA_TNIL)
        return;
    if (type != LUA_TTABLE)
        luaL_error(L, "a response's headers must be a table");
    int headers = lua_gettop(L);
    lua_newtable(L);
    struct header_list list = {L, NULL, 0};
    walk_headers(&list, headers, headers + 1);
    list.items = lua_newuserdatauv(L, (list.count + 1) * sizeof *list.items, 0);
    list.count = 0;
    walk_headers(&list, headers, headers + 1);
    response->headers = list.items;
    response->header_count = list.count;
}

/* ---- a response's body ---- */

enum pump { PUMP_CALL, PUMP_CHUNK, PUMP_WRITE };

/* Writes the rest of the chunk at 3 from the offset at 4.  OK: all of it. */
static enum muster_status write_chunk(lua_State *L, struct muster_stream *stream)
{
    size_t length = 0;
    size_t written = 0;
    const char *chunk = lua_tolstring(L, 3, &length);
    size_t offset = (size_t)lua_tointeger(L, 4);
    while (offset < length) {
        enum muster_status status =
            muster_stream_write(stream, chunk + offset, length - offset, &written);
        if (status != MUSTER_OK)
            return status;
        if (written == 0)
            break;
        offset += written;
    }
    lua_pushinteger(L, (lua_Integer)offset);
    lua_replace(L, 4);
    return offset == length ? MUSTER_OK : MUSTER_PENDING;
}

/* A task's function: 1 the flight, 2 the iterator; then 3 the chunk, 4 how much of it is written.
 * The stream's error ends it quietly: nobody reads any more. */
static int pump(lua_State *L, int unused, lua_KContext at)
{
    (void)unused;
    struct muster__lua_flight *flight = lua_touserdata(L, 1);
    for (;;) {
        if (at == PUMP_CALL) {
            lua_settop(L, 2);
            lua_pushvalue(L, 2);
            lua_callk(L, 0, 1, PUMP_CHUNK, pump);
            at = PUMP_CHUNK;
        }
        if (at == PUMP_CHUNK) {
            if (lua_isnil(L, 3))
                break;
            if (lua_type(L, 3) != LUA_TSTRING)
                return luaL_error(L, "a body's iterator must give strings, not a %s",
                                  luaL_typename(L, 3));
            lua_pushinteger(L, 0);
        }
        lua_settop(L, 4);
        enum muster_status status = write_chunk(L, flight->writer.stream);
        if (status == MUSTER_PENDING) {
            flight->writer.waiting = muster__lua_may_wait(L, "writing the body");
            return muster__lua_wait(L, pump, PUMP_WRITE);
        }
        if (status != MUSTER_OK)
            return 0;
        at = PUMP_CALL;
    }
    muster_stream_close(flight->writer.stream);
    return 0;
}

static int start_pump(lua_State *L)
{
    return pump(L, LUA_OK, PUMP_CALL);
}

static void pump_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    struct muster__lua_flight *flight = task->flight;
    struct muster__realm *realm = task->realm;
    if (results < 0) {
        struct muster_error error = {0};
        muster__lua_take_error(L, task->thread, MUSTER_SCRIPT_ERROR, &error);
        muster_stream_abort(flight->writer.stream, MUSTER_SCRIPT_ERROR, error.message);
        realm->host->report(realm->worker, &error);
        muster_error_clean_up(&error);
    }
    muster__lua_wait_close(realm, &flight->writer, true);
}

static void stream_body(lua_State *L, struct muster__lua_flight *flight, int iterator,
                        struct muster_http_response *response)
{
    struct muster_stream *stream = NULL;
    if (muster_stream_new(0, &stream) != MUSTER_OK)
        luaL_error(L, "out of memory");
    wait_open(flight->realm, &flight->writer, stream);
    muster_stream_on_writable(stream, post_note, &flight->writer);
    response->body_stream = stream;
    struct muster__outcome outcome = {.status = MUSTER_OK, .response = response};
    muster__lua_flight_settle(flight, &outcome);
    muster_stream_release(stream);
    muster__lua_flight_hold(flight);
    lua_pushcfunction(L, start_pump);
    lua_pushlightuserdata(L, flight);
    lua_pushvalue(L, iterator);
    muster__lua_task_start(L, flight->realm, 2, pump_ended, flight, 0);
}

/* ---- a response ---- */

static void take_status(lua_State *L, int table, struct muster_http_response *response)
{
    int is_integer = 0;
    lua_pushliteral(L, "status");
    int type = lua_rawget(L, table);
    response->status_code = (int)lua_tointegerx(L, -1, &is_integer);
    if (type == LUA_TNIL)
        response->status_code = 200;
    else if (!is_integer || response->status_code < 200 || response->status_code > 599)
        luaL_error(L, "a response's status must be an integer from 200 to 599");
    lua_pushliteral(L, "status_text");
    if (lua_rawget(L, table) == LUA_TNIL)
        return;
    response->status_text = text_at(L, lua_gettop(L), "status_text");
    if (!is_field_value(response->status_text.data, response->status_text.length))
        luaL_error(L, "a response's status_text holds a line break or NUL");
}

void muster__lua_respond(lua_State *L, struct muster__lua_flight *flight, int index)
{
    struct muster_http_response response = {0};
    if (!lua_istable(L, index))
        luaL_error(L, "a response is a table {status=, headers=, body=}, not a %s",
                   luaL_typename(L, index));
    luaL_checkstack(L, 16, "a response");
    take_status(L, index, &response);
    take_headers(L, index, &response);
    lua_pushliteral(L, "body");
    int type = lua_rawget(L, index);
    int body = lua_gettop(L);
    if (type == LUA_TFUNCTION) {
        stream_body(L, flight, body, &response);
        return;
    }
    if (type != LUA_TNIL)
        response.body = text_at(L, body, "body");
    struct muster__outcome outcome = {.status = MUSTER_OK, .response = &response};
    muster__lua_flight_settle(flight, &outcome);
}
