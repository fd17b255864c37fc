/* tests/fuzz_clone_lua.c - libFuzzer target: any bytes are a value for Lua or a refusal that says where, and
 * take memory in proportion to their length.  What was read can be written, and from then on stays the
 * same bytes.  A first byte chooses whether there are side tables. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/engine_lua_clone.h"

#define ROOM_FOR_THE_STATE ((size_t)32 * 1024)
#define ROOM_A_BYTE 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
    bool has_lists;
};

static size_t memory;
static size_t limit;

static void *allocate(void *user_data, void *pointer, size_t old_size, size_t new_size)
{
    (void)user_data;
    if (pointer == NULL)
        old_size = 0;
    memory += new_size - old_size;
    if (new_size == 0) {
        free(pointer);
        return NULL;
    }
    MUSTER_CHECK(memory <= limit);
    return realloc(pointer, new_size);
}

static void push_lists(lua_State *L)
{
    lua_newtable(L);
    muster__lua_push_buffer(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushliteral(L, "\xff\xff");
    lua_rawseti(L, -2, 2);
    lua_newtable(L);
    lua_newuserdatauv(L, 1, 0);
    lua_rawseti(L, -2, 1);
}

static int read_entry(lua_State *L)
{
    const struct input *input = lua_touserdata(L, 1);
    int lists = input->has_lists ? 2 : 0;
    muster__lua_clone_read(L, input->data, input->size, lists, lists != 0 ? 3 : 0);
    return 1;
}

/* The bytes of the value on top, as a string in its place. */
static void write_value(lua_State *L)
{
    struct muster__lua_clone_options options = {.buffers = 2, .hosts = 3};
    struct muster__lua_bytes *bytes = muster__lua_clone_write(L, -1, &options);
    lua_pushlstring(L, (const char *)bytes->data, bytes->length);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static void go_round(lua_State *L)
{
    size_t length = 0;
    write_value(L);
    const char *bytes = lua_tolstring(L, -1, &length);
    muster__lua_clone_read(L, bytes, length, 2, 3);
    write_value(L);
    MUSTER_CHECK(lua_rawequal(L, -1, -2));
}

static int run(lua_State *L)
{
    struct input *input = lua_touserdata(L, 1);
    lua_settop(L, 1);
    muster__lua_open_value(L);
    muster__lua_open_error(L);
    push_lists(L);
    limit = memory + ROOM_FOR_THE_STATE + ROOM_A_BYTE * input->size;
    lua_pushcfunction(L, read_entry);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    int status = lua_pcall(L, 3, 1, 0);
    limit = SIZE_MAX;
    if (status == LUA_OK) {
        go_round(L);
        return 0;
    }
    lua_getfield(L, -1, "message");
    MUSTER_CHECK(status == LUA_ERRRUN && strstr(lua_tostring(L, -1), "(at byte ") != NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct input input = {data + 1, size - 1, (data[0] & 1) != 0};
    memory = 0;
    limit = SIZE_MAX;
    lua_State *L = lua_newstate(allocate, NULL);
    MUSTER_CHECK(L != NULL);
    *(struct muster__vm **)lua_getextraspace(L) = NULL;
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &input);
    MUSTER_CHECK(lua_pcall(L, 1, 0, 0) == LUA_OK);
    lua_close(L);
    MUSTER_CHECK(memory == 0);
    return 0;
}
