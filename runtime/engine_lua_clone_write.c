/* runtime/engine_lua_clone_write.c - structured clone: a Lua value becomes bytes.
 *
 * In a turn of the worker; raw access only, so no script runs meanwhile.  It keeps a stack of open
 * containers of its own: the depth of a value costs Lua's memory, not C's stack.  All memory is Lua's, but
 * for the bytes, which hang in a userdata: an error may be raised anywhere and leaks nothing. */
#include "runtime/engine_lua_clone.h"

#include "runtime/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT ((size_t)1 << 30)
#define SHAPE_KEYS 64
#define SHOWN_STEPS 12 /* of the path in a message */
#define SMALL_SORT 64
#define FIRST_FRAMES 8 /* and shapes: most values need no more, and no memory of their own */
#define FIRST_SHAPES 8

enum state {
    ITEMS,      /* of a list: place 1 ... total */
    SPARSE,     /* the same, by the indexes in the second slot */
    PROPERTIES, /* by the keys in the second slot */
    PAIRS,      /* of a map or set: the second slot has the items */
    PARTS,      /* of an error */
    BOX,
};

/* Its values stand at first_slot + 2 * depth: the container, and what the state says. */
struct frame {
    enum state state;
    bool named;    /* properties follow the items */
    bool is_array; /* so that some names are refused */
    bool on_key; /* of a pair: its value is still to come */
    bool is_set;
    unsigned char parts;
    size_t at;
    size_t total;
};

struct shape {
    uint32_t hash;
    uint32_t number;
    size_t offset; /* of the block in the bytes */
    size_t length;
};

struct writer {
    lua_State *L;
    const struct muster__lua_clone_options *options;
    struct muster__lua_bytes *out;
    struct muster__lua_bytes *keys; /* the block under way */
    struct frame *frames;
    struct shape *shapes;
    size_t depth;
    size_t frame_room;
    size_t shape_count;
    size_t shape_room;
    size_t limit;
    lua_Integer objects;
    lua_Integer transferred; /* entries of the side table that the caller put there */
    int seen;                /* stack indexes: object -> number */
    int frames_at;
    int shapes_at;
    int first_slot;
    struct frame first_frames[FIRST_FRAMES];
    struct shape first_shapes[FIRST_SHAPES];
};

/* ---- what cannot be written ---- */

static void add_step(lua_State *L, luaL_Buffer *text, const struct writer *w, size_t depth)
{
    const struct frame *frame = &w->frames[depth];
    int slot = w->first_slot + 2 * (int)depth;
    if (frame->at == 0) /* it is the container itself */
        return;
    switch (frame->state) {
    case PROPERTIES:
        luaL_addchar(text, '.');
        lua_rawgeti(L, slot + 1, (lua_Integer)frame->at);
        luaL_addvalue(text);
        return;
    case PARTS:
        luaL_addstring(text, frame->parts & 8 ? ".errors" : ".cause");
        return;
    case BOX:
        luaL_addstring(text, ".value");
        return;
    default:
        if (frame->state == SPARSE)
            lua_pushinteger(L, ((const uint32_t *)lua_touserdata(L, slot + 1))[frame->at - 1]);
        else
            lua_pushinteger(L, (lua_Integer)frame->at);
        luaL_addstring(text, frame->state == PAIRS && !frame->is_set
                                 ? (frame->on_key ? "<key " : "<value ")
                                 : "[");
        luaL_addvalue(text);
        luaL_addchar(text, frame->state == PAIRS && !frame->is_set ? '>' : ']');
    }
}

static void push_path(const struct writer *w)
{
    luaL_Buffer text;
    size_t first = w->depth > SHOWN_STEPS ? w->depth - SHOWN_STEPS : 0;
    luaL_buffinit(w->L, &text);
    if (first > 0)
        luaL_addstring(&text, "...");
    for (size_t i = first; i < w->depth; i++)
        add_step(w->L, &text, w, i);
    luaL_pushresult(&text);
}

/* "a function cannot be cloned, at .a[3]" */
static void refuse(const struct writer *w, const char *problem)
{
    lua_State *L = w->L;
    luaL_checkstack(L, 20, "an error");
    push_path(w);
    const char *path = lua_tostring(L, -1);
    muster__lua_clone_raise(L, w->options->web ? "DataCloneError" : "TypeError", "%s%s%s", problem,
                            *path != '\0' ? ", at " : "", path);
}

/* ---- bytes ---- */

static void make_room(const struct writer *w, struct muster__lua_bytes *bytes, size_t more)
{
    if (more > w->limit || bytes->length > w->limit - more)
        refuse(w, "the value is too large to be sent");
    size_t capacity = bytes->capacity < 256 ? 256 : bytes->capacity;
    while (capacity < bytes->length + more)
        capacity *= 2;
    unsigned char *data = realloc(bytes->data, capacity);
    if (data == NULL)
        luaL_error(w->L, "out of memory");
    bytes->data = data;
    bytes->capacity = capacity;
}

/* Room for so many bytes, which count as written. */
static inline unsigned char *take(const struct writer *w, struct muster__lua_bytes *bytes,
                                  size_t more)
{
    if (more > bytes->capacity - bytes->length)
        make_room(w, bytes, more);
    unsigned char *at = bytes->data + bytes->length;
    bytes->length += more;
    return at;
}

static void put_byte(const struct writer *w, unsigned byte)
{
    *take(w, w->out, 1) = (unsigned char)byte;
}

static void put_bytes(const struct writer *w, const void *data, size_t length)
{
    if (length > 0)
        memcpy(take(w, w->out, length), data, length);
}

static void put_little(unsigned char *at, uint64_t bits, size_t size)
{
    for (size_t i = 0; i < size; i++, bits >>= 8)
        at[i] = (unsigned char)bits;
}

static void varint_to(const struct writer *w, struct muster__lua_bytes *bytes, uint64_t number)
{
    for (; number > 127; number >>= 7)
        *take(w, bytes, 1) = (unsigned char)(number | 128);
    *take(w, bytes, 1) = (unsigned char)number;
}

static void put_varint(const struct writer *w, uint64_t number)
{
    varint_to(w, w->out, number);
}

/* ---- numbers ---- */

static void put_f64(const struct writer *w, double number)
{
    uint64_t bits = 0x7ff8000000000000;
    if (!isnan(number))
        memcpy(&bits, &number, sizeof bits);
    put_little(take(w, w->out, 8), bits, 8);
}

static void put_small(const struct writer *w, int32_t number)
{
    if (number >= -32 && number <= 95) {
        put_byte(w, (unsigned)(number + 0xa0));
    } else if (number >= INT16_MIN && number <= INT16_MAX) {
        put_byte(w, 0x04);
        put_little(take(w, w->out, 2), (uint64_t)(int64_t)number, 2);
    } else {
        put_byte(w, 0x05);
        put_little(take(w, w->out, 4), (uint64_t)(int64_t)number, 4);
    }
}

static void put_double(const struct writer *w, double number)
{
    if (number >= INT32_MIN && number <= INT32_MAX && floor(number) == number &&
        !(number == 0 && signbit(number))) {
        put_small(w, (int32_t)number);
        return;
    }
    put_byte(w, 0x06);
    put_f64(w, number);
}

static void put_magnitude(const struct writer *w, bool negative, const unsigned char *bytes,
                          size_t length)
{
    put_byte(w, 0x07);
    put_varint(w, (uint64_t)length * 2 + negative);
    put_bytes(w, bytes, length);
}

static void put_number(const struct writer *w, int index)
{
    if (!lua_isinteger(w->L, index)) {
        put_double(w, lua_tonumber(w->L, index));
        return;
    }
    lua_Integer integer = lua_tointeger(w->L, index);
    if (integer >= -MUSTER__LUA_SAFE_INTEGER && integer <= MUSTER__LUA_SAFE_INTEGER) {
        put_double(w, (double)integer);
        return;
    }
    unsigned char bytes[8];
    size_t length = sizeof bytes;
    put_little(bytes, integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer, sizeof bytes);
    while (bytes[length - 1] == 0)
        length--;
    put_magnitude(w, integer < 0, bytes, length);
}

/* ---- strings ---- */

enum width { NOT_TEXT, NARROW, WIDE };

/* The code point at `at`, of at most `left` bytes; 0: none.  Surrogates are let through. */
static size_t read_point(const unsigned char *at, size_t left, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = *at < 0x80 ? 1 : *at < 0xc0 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    if (size == 0 || size > left)
        return 0;
    uint32_t point = size == 1 ? *at : *at & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (at[i] & 0x3f);
    }
    *ret_point = point;
    return point >= least[size] && point <= 0x10ffff ? size : 0;
}

/* UTF-8 in which surrogates may stand alone, as they may in JavaScript; a pair of them may not. */
static enum width measure(const char *text, size_t length, size_t *ret_units)
{
    const unsigned char *at = (const unsigned char *)text;
    uint32_t before = 0;
    uint32_t point = 0;
    size_t units = 0;
    enum width width = NARROW;
    for (size_t i = 0, size; i < length; i += size, before = point) {
        size = read_point(at + i, length - i, &point);
        if (size == 0 || ((before & 0xfffffc00) == 0xd800 && (point & 0xfffffc00) == 0xdc00))
            return NOT_TEXT;
        units += point > 0xffff ? 2 : 1;
        if (point > 0xff)
            width = WIDE;
    }
    *ret_units = units;
    return width;
}

static void write_narrow(unsigned char *to, const char *text, size_t length, size_t units)
{
    const unsigned char *at = (const unsigned char *)text;
    if (units == length) {
        memcpy(to, text, length);
        return;
    }
    for (const unsigned char *end = at + length; at < end; at++) {
        *to++ = *at < 0x80 ? *at : (unsigned char)(*at << 6 | (at[1] & 0x3f));
        at += *at >= 0x80;
    }
}

static void write_wide(unsigned char *to, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    uint32_t point = 0;
    for (size_t i = 0; i < length;) {
        i += read_point(at + i, length - i, &point);
        if (point > 0xffff) {
            put_little(to, 0xd800 + ((point - 0x10000) >> 10), 2);
            to += 2;
            point = 0xdc00 + (point & 0x3ff);
        }
        put_little(to, point, 2);
        to += 2;
    }
}

static void put_units(const struct writer *w, const char *text, size_t length, enum width width,
                      size_t units)
{
    if (width == WIDE) {
        put_byte(w, 0x09);
        put_varint(w, units);
        write_wide(take(w, w->out, 2 * units), text, length);
        return;
    }
    if (units < 64) {
        put_byte(w, 0x40 + (unsigned)units);
    } else {
        put_byte(w, 0x08);
        put_varint(w, units);
    }
    if (units > 0)
        write_narrow(take(w, w->out, units), text, length, units);
}

/* Of the string at `index`.  What is no text is taken byte by byte: a message must get through. */
static void put_text(const struct writer *w, int index)
{
    size_t length = 0;
    size_t units = 0;
    const char *text = lua_tolstring(w->L, index, &length);
    enum width width = measure(text, length, &units);
    if (width != NOT_TEXT) {
        put_units(w, text, length, width, units);
        return;
    }
    put_units(w, text, 0, NARROW, length); /* head and room */
    if (length > 0)
        memcpy(w->out->data + w->out->length - length, text, length);
}

/* ---- buffers ---- */

/* Entry number in the side table. */
static lua_Integer add_entry(const struct writer *w, int index)
{
    lua_Integer entry = (lua_Integer)lua_rawlen(w->L, w->options->buffers);
    lua_pushvalue(w->L, index);
    lua_rawseti(w->L, w->options->buffers, entry + 1);
    return entry;
}

static bool goes_aside(const struct writer *w, size_t length)
{
    return w->options->buffers != 0 && w->options->raw > 0 && length >= w->options->raw;
}

static void put_binary(struct writer *w, int index, const void *data, size_t length)
{
    w->objects++;
    if (goes_aside(w, length)) {
        put_byte(w, 0x1d);
        put_varint(w, (uint64_t)add_entry(w, index));
        put_varint(w, length);
        return;
    }
    put_byte(w, 0x1b);
    put_varint(w, length);
    put_bytes(w, data, length);
}

/* Of the buffer or host object at `index` in a list of what may travel, or -1. */
static lua_Integer find_entry(const struct writer *w, int list, lua_Integer count, int index)
{
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(w->L, list, i);
        bool same = lua_rawequal(w->L, -1, index);
        lua_pop(w->L, 1);
        if (same)
            return i - 1;
    }
    return -1;
}

/* A copy of its own, since the script may write into the buffer while the bytes travel. */
static lua_Integer add_copy(const struct writer *w, const struct muster__lua_buffer *buffer)
{
    lua_pushlstring(w->L, (const char *)buffer->data, buffer->length);
    lua_Integer entry = add_entry(w, lua_gettop(w->L));
    lua_pop(w->L, 1);
    return entry;
}

static void put_buffer(const struct writer *w, int index)
{
    const struct muster__lua_buffer *buffer = lua_touserdata(w->L, index);
    if (buffer->detached)
        refuse(w, "a buffer that was transferred cannot be cloned");
    lua_Integer entry = find_entry(w, w->options->buffers, w->transferred, index);
    if (entry < 0 && goes_aside(w, buffer->length))
        entry = add_copy(w, buffer);
    if (entry >= 0) {
        put_byte(w, buffer->resizable ? 0x1e : 0x1d);
        put_varint(w, (uint64_t)entry);
    } else {
        put_byte(w, buffer->resizable ? 0x1c : 0x1b);
    }
    put_varint(w, buffer->length);
    if (buffer->resizable)
        put_varint(w, buffer->maximum);
    if (entry < 0)
        put_bytes(w, buffer->data, buffer->length);
}

/* ---- frames ---- */

static struct frame *open_frame(struct writer *w, enum state state)
{
    lua_State *L = w->L;
    if (w->depth == w->frame_room) {
        size_t room = w->frame_room * 2;
        struct frame *frames = lua_newuserdatauv(L, room * sizeof *frames, 0);
        memcpy(frames, w->frames, w->depth * sizeof *frames);
        w->frames = frames;
        w->frame_room = room;
        lua_replace(L, w->frames_at);
    }
    struct frame *frame = &w->frames[w->depth++];
    memset(frame, 0, sizeof *frame);
    frame->state = state;
    return frame;
}

/* A container with something in it opens: the value on top becomes its first slot. */
static struct frame *open_container(struct writer *w, enum state state)
{
    luaL_checkstack(w->L, 24, "the value is nested too deeply");
    lua_pushnil(w->L);
    return open_frame(w, state);
}

static void close_frame(struct writer *w)
{
    w->depth--;
    lua_settop(w->L, w->first_slot + 2 * (int)w->depth - 1);
}

static void set_second_slot(struct writer *w)
{
    lua_replace(w->L, w->first_slot + 2 * (int)w->depth - 1);
}

/* ---- keys ---- */

struct key {
    const char *text;
    size_t length;
    lua_Integer place;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *left = a;
    const struct key *right = b;
    size_t shorter = left->length < right->length ? left->length : right->length;
    int order = memcmp(left->text, right->text, shorter);
    if (order != 0)
        return order;
    return (left->length > right->length) - (left->length < right->length);
}

/* Sorts the last `count` of the strings in the list on top, which has `total`; a copy takes its place. */
static void sort_list(lua_State *L, lua_Integer total, lua_Integer count)
{
    struct key small[SMALL_SORT];
    struct key *keys = small;
    int list = lua_gettop(L);
    bool sorted = true;
    if (count > SMALL_SORT)
        keys = lua_newuserdatauv(L, (size_t)count * sizeof *keys, 0);
    for (lua_Integer i = 0; i < count; i++) {
        lua_rawgeti(L, list, total - count + i + 1);
        keys[i].text = lua_tolstring(L, -1, &keys[i].length);
        keys[i].place = total - count + i + 1;
        lua_pop(L, 1); /* the list holds it */
        sorted = sorted && (i == 0 || compare_keys(&keys[i - 1], &keys[i]) < 0);
    }
    if (!sorted) {
        qsort(keys, (size_t)count, sizeof *keys, compare_keys);
        lua_createtable(L, (int)total, 0);
        for (lua_Integer i = 1; i <= total; i++) {
            lua_rawgeti(L, list, i <= total - count ? i : keys[i - 1 - (total - count)].place);
            lua_rawseti(L, -2, i);
        }
        lua_replace(L, list);
    }
    lua_settop(L, list);
}

/* How the key on top is used; replaces an integer by its text. */
static bool take_key(const struct writer *w, int table, bool is_array, bool is_error)
{
    lua_State *L = w->L;
    if (lua_isinteger(L, -1)) {
        if (is_array)
            return false; /* an item */
        lua_pushinteger(L, lua_tointeger(L, -1));
        lua_tostring(L, -1); /* in place; the key of lua_next() stays a number */
        lua_replace(L, -2);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, table) != LUA_TNIL)
            refuse(w, "a table with both an integer and its text as keys cannot be cloned");
        lua_pop(L, 1);
        return true;
    }
    if (lua_type(L, -1) == LUA_TSTRING)
        return true;
    if (is_error && lua_touserdata(L, -1) == (const void *)&muster__lua_detail_key)
        return false;
    refuse(w, "a table whose keys are no strings or integers cannot be cloned");
    return false;
}

static bool is_string_field(lua_State *L, int table, const char *key)
{
    lua_pushstring(L, key);
    bool is_string = lua_rawget(L, table) == LUA_TSTRING;
    lua_pop(L, 1);
    return is_string;
}

/* Whether the key on top names a part of the error, written elsewhere. */
static bool is_part(lua_State *L, int table, enum muster__lua_error_type type)
{
    const char *key = lua_tostring(L, -1);
    if (strcmp(key, "message") == 0 || strcmp(key, "stack") == 0 || strcmp(key, "name") == 0)
        return is_string_field(L, table, key);
    return strcmp(key, "cause") == 0 ||
           (type == MUSTER__LUA_ERROR_AGGREGATE && strcmp(key, "errors") == 0);
}

/* Pushes a list with the keys of `table` that `order` (a list, or nil) has, and returns how many.  What was
 * met is in a set that is pushed on it, or nil. */
static lua_Integer push_ordered(lua_State *L, int table, int order, size_t expected)
{
    lua_Integer count = 0;
    lua_createtable(L, expected < INT32_MAX / 2 ? (int)expected : 0, 0);
    if (!lua_istable(L, order)) {
        lua_pushnil(L);
        return 0;
    }
    lua_newtable(L);
    lua_Integer total = (lua_Integer)lua_rawlen(L, order);
    for (lua_Integer i = 1; i <= total; i++) {
        if (lua_rawgeti(L, order, i) == LUA_TSTRING) {
            lua_pushvalue(L, -1);
            bool is_there = lua_rawget(L, table) != LUA_TNIL;
            lua_pop(L, 1);
            if (is_there) {
                lua_pushvalue(L, -1);
                lua_rawseti(L, -4, ++count);
                lua_pushvalue(L, -1);
                lua_pushboolean(L, 1);
                lua_rawset(L, -4);
            }
        }
        lua_pop(L, 1);
    }
    return count;
}

/* What `collect` is asked for. */
struct wanted {
    int table;
    size_t expected; /* keys, at the most */
    bool is_array;
    bool is_error;
    enum muster__lua_error_type type;
};

/* On top: the order that the keys came in, or nil; a list of the keys takes its place: those that the order
 * names, then the others, sorted. */
static lua_Integer collect(const struct writer *w, const struct wanted *wanted)
{
    lua_State *L = w->L;
    int order = lua_gettop(L);
    int list = order + 1;
    int met = order + 2;
    lua_Integer ordered = push_ordered(L, wanted->table, order, wanted->expected);
    lua_Integer total = ordered;
    lua_pushnil(L);
    while (lua_next(L, wanted->table) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        bool is_key = take_key(w, wanted->table, wanted->is_array, wanted->is_error);
        if (is_key && wanted->is_error && is_part(L, wanted->table, wanted->type))
            is_key = false;
        if (is_key && ordered > 0) {
            lua_pushvalue(L, -1);
            is_key = lua_rawget(L, met) == LUA_TNIL;
            lua_pop(L, 1);
        }
        if (is_key)
            lua_rawseti(L, list, ++total);
        else
            lua_pop(L, 1);
    }
    lua_settop(L, list);
    sort_list(L, total, total - ordered);
    lua_replace(L, order);
    return total;
}

static void write_key(const struct writer *w, bool is_array)
{
    size_t length = 0;
    size_t units = 0;
    const char *text = lua_tolstring(w->L, -1, &length);
    enum width width = measure(text, length, &units);
    if (width == NOT_TEXT)
        refuse(w, "a key that is no text cannot be cloned");
    if (is_array && muster__lua_is_array_name(text, length))
        refuse(w, "an array with a number's text or \"length\" as a key cannot be cloned");
    varint_to(w, w->keys, (uint64_t)units * 2 + (width == WIDE));
    size_t size = width == WIDE ? 2 * units : units;
    if (size == 0)
        return;
    unsigned char *to = take(w, w->keys, size);
    if (width == WIDE)
        write_wide(to, text, length);
    else
        write_narrow(to, text, length, units);
}

/* Open addressing; a shape without length is a free place. */
static struct shape *find_shape(const struct writer *w, uint32_t hash)
{
    const struct muster__lua_bytes *keys = w->keys;
    for (size_t i = hash & (w->shape_room - 1);; i = (i + 1) & (w->shape_room - 1)) {
        struct shape *shape = &w->shapes[i];
        if (shape->length == 0)
            return shape;
        if (shape->hash == hash && shape->length == keys->length &&
            memcmp(w->out->data + shape->offset, keys->data, keys->length) == 0)
            return shape;
    }
}

static void grow_shapes(struct writer *w)
{
    size_t room = w->shape_room * 2;
    struct shape *shapes = lua_newuserdatauv(w->L, room * sizeof *shapes, 0);
    memset(shapes, 0, room * sizeof *shapes);
    for (size_t i = 0; i < w->shape_room; i++) {
        const struct shape *shape = &w->shapes[i];
        size_t to = shape->hash & (room - 1);
        if (shape->length == 0)
            continue;
        while (shapes[to].length > 0)
            to = (to + 1) & (room - 1);
        shapes[to] = *shape;
    }
    w->shapes = shapes;
    w->shape_room = room;
    lua_replace(w->L, w->shapes_at);
}

static void put_block(const struct writer *w)
{
    put_byte(w, 1);
    put_varint(w, w->keys->length);
    put_bytes(w, w->keys->data, w->keys->length);
}

static void put_shape(struct writer *w, lua_Integer count)
{
    if (count > SHAPE_KEYS) {
        put_block(w);
        return;
    }
    if (2 * (w->shape_count + 1) > w->shape_room)
        grow_shapes(w);
    uint32_t hash = (uint32_t)muster__hash_bytes(0, w->keys->data, w->keys->length);
    struct shape *shape = find_shape(w, hash);
    if (shape->length > 0) {
        put_varint(w, (uint64_t)shape->number + 2);
        return;
    }
    put_block(w);
    *shape = (struct shape){hash, (uint32_t)w->shape_count++, w->out->length - w->keys->length,
                            w->keys->length};
}

/* On top: the list of keys, which becomes the second slot of the frame on top.  Nothing: the frame's done. */
static void start_properties(struct writer *w, lua_Integer count)
{
    struct frame *frame = &w->frames[w->depth - 1];
    int list = lua_gettop(w->L);
    frame->state = PROPERTIES;
    frame->at = 0;
    frame->total = (size_t)count;
    if (count == 0) {
        put_byte(w, 0);
        lua_pop(w->L, 1);
        return;
    }
    w->keys->length = 0;
    varint_to(w, w->keys, (uint64_t)count);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(w->L, list, i);
        write_key(w, frame->is_array);
        lua_pop(w->L, 1);
    }
    put_shape(w, count);
    set_second_slot(w);
}

/* ---- tables ---- */

/* Counts for the table of the frame on top. */
struct census {
    size_t items;
    size_t others;
    lua_Integer greatest;
};

static void count_keys(const struct writer *w, int table, struct census *ret_census)
{
    lua_State *L = w->L;
    *ret_census = (struct census){0};
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        lua_Integer at = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (at >= 1) {
            ret_census->items++;
            if (at > ret_census->greatest)
                ret_census->greatest = at;
        } else {
            ret_census->others++;
        }
    }
}

static int compare_places(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* The second slot gets the places of all items, ascending. */
static void list_places(struct writer *w, int table, size_t count)
{
    lua_State *L = w->L;
    uint32_t *places = lua_newuserdatauv(L, (count + 1) * sizeof *places, 0);
    size_t n = 0;
    lua_pushnil(L);
    while (n < count && lua_next(L, table) != 0) {
        lua_pop(L, 1);
        if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1)
            places[n++] = (uint32_t)lua_tointeger(L, -1);
    }
    qsort(places, n, sizeof *places, compare_places);
    lua_settop(L, table + 2);
    set_second_slot(w);
}

static void start_array(struct writer *w, lua_Integer length, const struct census *census)
{
    int table = lua_gettop(w->L);
    size_t total = census->greatest > length ? (size_t)census->greatest : (size_t)length;
    bool sparse = 2 * (uint64_t)census->items < total;
    struct frame *frame = open_container(w, sparse ? SPARSE : ITEMS);
    if (total > UINT32_MAX)
        refuse(w, "an array with an index above 2^32-1 cannot be cloned");
    frame->is_array = true;
    frame->named = sparse || census->others > 0;
    frame->total = sparse ? census->items : total;
    put_byte(w, sparse ? 0x13 : census->others > 0 ? 0x12 : 0x11);
    put_varint(w, total);
    if (!sparse)
        return;
    put_varint(w, census->items);
    list_places(w, table, census->items);
}

/* On top: the table. */
static void start_object(struct writer *w, enum muster__lua_kind kind, size_t expected)
{
    int table = lua_gettop(w->L);
    put_byte(w, 0x10);
    open_container(w, PROPERTIES);
    if (kind == MUSTER__LUA_SHAPED)
        (void)muster__lua_push_shape(w->L, table);
    else
        lua_pushnil(w->L);
    struct wanted wanted = {.table = table, .expected = expected};
    start_properties(w, collect(w, &wanted));
}

/* The names of an array that has some: after its items. */
static void start_names(struct writer *w)
{
    int table = w->first_slot + 2 * (int)w->depth - 2;
    w->frames[w->depth - 1].at = 0;
    if (muster__lua_is_shaped(w->L, table))
        (void)muster__lua_push_shape(w->L, table);
    else
        lua_pushnil(w->L);
    struct wanted wanted = {.table = table, .is_array = true};
    start_properties(w, collect(w, &wanted));
}

static void start_plain_table(struct writer *w, enum muster__lua_kind kind)
{
    struct census census;
    int table = lua_gettop(w->L);
    lua_Integer length = -1;
    if (kind == MUSTER__LUA_SHAPED) {
        length = muster__lua_push_shape(w->L, table);
        lua_pop(w->L, 1);
    }
    count_keys(w, table, &census);
    if (length >= 0 || kind == MUSTER__LUA_LIST) {
        start_array(w, length, &census);
    } else if (kind == MUSTER__LUA_PLAIN && census.items > 0 && census.others == 0 &&
               (size_t)census.greatest == census.items) {
        start_array(w, 0, &census);
    } else {
        start_object(w, kind, census.items + census.others);
    }
}

/* ---- objects of other kinds that are tables ---- */

/* Pushes the field. */
static int push_field(const struct writer *w, int table, const char *key)
{
    lua_pushstring(w->L, key);
    return lua_rawget(w->L, table);
}

static void put_date(const struct writer *w, int table)
{
    if (push_field(w, table, "time") != LUA_TNUMBER)
        refuse(w, "a date whose time is no number cannot be cloned");
    double time = lua_tonumber(w->L, -1);
    lua_pop(w->L, 1);
    put_byte(w, 0x16);
    put_f64(w, fabs(time) <= 8.64e15 ? trunc(time) + 0.0 : (double)NAN);
}

static unsigned flags_of(const struct writer *w, const char *text)
{
    static const char letters[] = "dgimsuvy";
    unsigned flags = 0;
    for (; *text != '\0'; text++) {
        const char *letter = strchr(letters, *text);
        unsigned bit = letter != NULL ? 1u << (letter - letters) : 0;
        if (bit == 0 || (flags & bit) != 0)
            refuse(w, "a regular expression with such flags cannot be cloned");
        flags |= bit;
    }
    if ((flags & 0x60) == 0x60)
        refuse(w, "a regular expression with such flags cannot be cloned");
    return flags;
}

static void put_regexp(const struct writer *w, int table)
{
    lua_State *L = w->L;
    unsigned flags = 0;
    if (push_field(w, table, "flags") == LUA_TSTRING)
        flags = flags_of(w, lua_tostring(L, -1));
    if (push_field(w, table, "source") != LUA_TSTRING)
        refuse(w, "a regular expression whose source is no string cannot be cloned");
    put_byte(w, 0x17);
    put_byte(w, flags);
    put_text(w, lua_gettop(L));
    bool has_index = push_field(w, table, "last_index") == LUA_TNUMBER && !w->options->web;
    put_double(w, has_index ? lua_tonumber(L, -1) : 0);
    lua_settop(L, table);
}

static bool can_be_boxed(lua_State *L, int index)
{
    size_t length = 0;
    size_t units = 0;
    int type = lua_type(L, index);
    if (type == LUA_TSTRING) {
        const char *text = lua_tolstring(L, index, &length);
        return measure(text, length, &units) != NOT_TEXT;
    }
    return type == LUA_TBOOLEAN || type == LUA_TNUMBER ||
           (type == LUA_TUSERDATA && muster__lua_kind_of(L, index) == MUSTER__LUA_BIGINT);
}

static void start_box(struct writer *w)
{
    put_byte(w, 0x18);
    open_container(w, BOX)->total = 1;
}

/* ---- errors ---- */

static bool field_is(const struct writer *w, int table, const char *key, const char *text)
{
    bool same = push_field(w, table, key) == LUA_TSTRING && strcmp(lua_tostring(w->L, -1), text) == 0;
    lua_pop(w->L, 1);
    return same;
}

static enum muster__lua_error_type type_by_name(const struct writer *w, int table, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (field_is(w, table, "name", muster__lua_error_names[i]))
            return (enum muster__lua_error_type)i;
    return MUSTER__LUA_ERROR_PLAIN;
}

/* What the error came as, if it did; else, and always in web mode, as it is called. */
static enum muster__lua_error_type type_of(const struct writer *w, int table)
{
    lua_State *L = w->L;
    lua_Integer type = -1;
    if (lua_rawgetp(L, table, &muster__lua_detail_key) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 0);
        lua_replace(L, -2);
    }
    if (lua_isinteger(L, -1))
        type = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (type < 0 || type > MUSTER__LUA_ERROR_QUOTA)
        type = -1;
    if (type >= MUSTER__LUA_ERROR_DOM)
        return (enum muster__lua_error_type)type;
    if (w->options->web)
        return type_by_name(w, table, MUSTER__LUA_ERROR_AGGREGATE);
    return type >= 0 ? (enum muster__lua_error_type)type
                     : type_by_name(w, table, MUSTER__LUA_ERROR_TYPE_COUNT);
}

static void put_string_field(const struct writer *w, int table, const char *key)
{
    push_field(w, table, key);
    put_text(w, lua_gettop(w->L));
    lua_pop(w->L, 1);
}

static void put_quota(const struct writer *w, int table, const char *key)
{
    if (push_field(w, table, key) == LUA_TNUMBER)
        put_double(w, lua_tonumber(w->L, -1));
    else
        put_byte(w, 0x01);
    lua_pop(w->L, 1);
}

static void put_dom_exception(const struct writer *w, int table, bool has_quota)
{
    bool has_stack = is_string_field(w->L, table, "stack");
    put_byte(w, 0x1a);
    put_byte(w, (has_stack ? 1u : 0u) | (has_quota ? 2u : 0u));
    for (int i = 0; i < 2; i++) {
        const char *key = i == 0 ? "name" : "message";
        if (is_string_field(w->L, table, key))
            put_string_field(w, table, key);
        else
            put_byte(w, 0x40);
    }
    if (has_stack)
        put_string_field(w, table, "stack");
    if (has_quota) {
        put_quota(w, table, "quota");
        put_quota(w, table, "requested");
    }
}

static bool has_field(const struct writer *w, int table, const char *key)
{
    bool is_there = push_field(w, table, key) != LUA_TNIL;
    lua_pop(w->L, 1);
    return is_there;
}

/* Pushes the keys of what an error has besides its parts. */
static lua_Integer collect_extra(const struct writer *w, int table, enum muster__lua_error_type type)
{
    struct wanted wanted = {.table = table, .is_error = true, .type = type};
    if (w->options->web) {
        lua_newtable(w->L);
        return 0;
    }
    if (lua_rawgetp(w->L, table, &muster__lua_detail_key) != LUA_TTABLE) {
        lua_pop(w->L, 1);
        lua_pushnil(w->L);
    }
    return collect(w, &wanted);
}

static void start_error(struct writer *w)
{
    lua_State *L = w->L;
    int table = lua_gettop(L);
    enum muster__lua_error_type type = type_of(w, table);
    if (type >= MUSTER__LUA_ERROR_DOM) {
        put_dom_exception(w, table, type == MUSTER__LUA_ERROR_QUOTA);
        lua_pop(L, 1);
        return;
    }
    struct frame *frame = open_container(w, PARTS);
    lua_Integer extra = collect_extra(w, table, type);
    bool has_name = !w->options->web && is_string_field(L, table, "name") &&
                    !field_is(w, table, "name", muster__lua_error_names[type]);
    bool has_errors = type == MUSTER__LUA_ERROR_AGGREGATE && has_field(w, table, "errors");
    unsigned parts = (is_string_field(L, table, "message") ? 1u : 0u) |
                     (is_string_field(L, table, "stack") ? 2u : 0u) | (has_name ? 4u : 0u) |
                     (has_field(w, table, "cause") ? 8u : 0u) | (has_errors ? 16u : 0u) |
                     (extra > 0 ? 32u : 0u);
    static const char *const texts[] = {"message", "stack", "name"};
    put_byte(w, 0x19);
    put_byte(w, type);
    put_byte(w, parts);
    for (unsigned i = 0; i < 3; i++)
        if (parts & 1u << i)
            put_string_field(w, table, texts[i]);
    set_second_slot(w); /* the keys, for later */
    frame->parts = (unsigned char)(parts >> 3);
    frame->total = (size_t)extra;
}

/* ---- userdata ---- */

static void put_value(struct writer *w);

static void start_view(struct writer *w)
{
    lua_State *L = w->L;
    int index = lua_gettop(L);
    const struct muster__lua_view *view = lua_touserdata(L, index);
    size_t count = 0;
    lua_getiuservalue(L, index, 1);
    if (!muster__lua_view_count(view, lua_touserdata(L, -1), &count))
        refuse(w, "a view that lies outside its buffer cannot be cloned");
    put_byte(w, 0x1f);
    put_byte(w, view->element);
    put_varint(w, view->offset);
    put_varint(w, view->tracks ? 0 : (uint64_t)count + 1);
    if (w->depth + 2 > MUSTER__LUA_CLONE_DEPTH)
        refuse(w, "the value is nested too deeply to be cloned");
    put_value(w); /* a buffer opens no frame */
    lua_settop(L, index - 1);
}

static void start_map(struct writer *w, bool is_set)
{
    lua_State *L = w->L;
    int index = lua_gettop(L);
    const struct muster__lua_map *map = lua_touserdata(L, index);
    put_byte(w, is_set ? 0x15 : 0x14);
    put_varint(w, map->count);
    struct frame *frame = open_container(w, PAIRS);
    frame->is_set = is_set;
    frame->total = map->used;
    lua_getiuservalue(L, index, 1);
    set_second_slot(w);
}

static void put_host(struct writer *w)
{
    int index = lua_gettop(w->L);
    lua_Integer count = w->options->hosts != 0 ? (lua_Integer)lua_rawlen(w->L, w->options->hosts) : 0;
    lua_Integer entry = find_entry(w, w->options->hosts, count, index);
    if (entry < 0)
        refuse(w, "an object of the host that is not transferred cannot be cloned");
    put_byte(w, 0x20);
    put_varint(w, (uint64_t)entry);
}

/* ---- values ---- */

/* On top: an object.  True: it was met before, and its number is written. */
static bool put_reference(struct writer *w)
{
    lua_State *L = w->L;
    lua_pushvalue(L, -1);
    bool is_known = lua_rawget(L, w->seen) == LUA_TNUMBER;
    if (is_known) {
        put_byte(w, 0x0a);
        put_varint(w, (uint64_t)lua_tointeger(L, -1));
    }
    lua_pop(L, 1);
    if (is_known)
        return true;
    lua_pushvalue(L, -1);
    lua_pushinteger(L, w->objects++);
    lua_rawset(L, w->seen);
    return false;
}

static void put_table(struct writer *w)
{
    lua_State *L = w->L;
    if (put_reference(w)) {
        lua_pop(L, 1);
        return;
    }
    enum muster__lua_kind kind = muster__lua_kind_of(L, -1);
    switch (kind) {
    case MUSTER__LUA_ERROR:
        start_error(w);
        break;
    case MUSTER__LUA_DATE:
        put_date(w, lua_gettop(L));
        lua_pop(L, 1);
        break;
    case MUSTER__LUA_REGEXP:
        put_regexp(w, lua_gettop(L));
        lua_pop(L, 1);
        break;
    case MUSTER__LUA_BOXED:
        start_box(w);
        break;
    default:
        start_plain_table(w, kind);
    }
}

static void put_userdata(struct writer *w)
{
    lua_State *L = w->L;
    enum muster__lua_kind kind = muster__lua_kind_of(L, -1);
    if (kind == MUSTER__LUA_BIGINT) {
        const struct muster__lua_bigint *big = lua_touserdata(L, -1);
        put_magnitude(w, big->negative, big->bytes, big->length);
        lua_pop(L, 1);
        return;
    }
    if (kind == MUSTER__LUA_PLAIN && w->options->hosts == 0)
        refuse(w, "an object of the worker's own cannot be cloned");
    if (put_reference(w)) {
        lua_pop(L, 1);
        return;
    }
    if (kind == MUSTER__LUA_VIEW) {
        start_view(w);
    } else if (kind == MUSTER__LUA_MAP || kind == MUSTER__LUA_SET) {
        start_map(w, kind == MUSTER__LUA_SET);
    } else {
        if (kind == MUSTER__LUA_BUFFER)
            put_buffer(w, lua_gettop(L));
        else
            put_host(w);
        lua_pop(L, 1);
    }
}

static void put_string(struct writer *w)
{
    size_t length = 0;
    size_t units = 0;
    const char *text = lua_tolstring(w->L, -1, &length);
    enum width width = measure(text, length, &units);
    if (width == NOT_TEXT)
        put_binary(w, lua_gettop(w->L), text, length);
    else
        put_units(w, text, length, width, units);
}

static void put_light(const struct writer *w)
{
    const void *key = lua_touserdata(w->L, -1);
    if (key == (const void *)&muster__lua_null_key)
        put_byte(w, 0x01);
    else if (key == (const void *)&muster__lua_undefined_key)
        put_byte(w, 0x00);
    else
        refuse(w, "a light userdata cannot be cloned");
}

/* Of the value on top, which is taken; a container leaves a frame open for its content. */
static void put_value(struct writer *w)
{
    lua_State *L = w->L;
    if (w->depth >= MUSTER__LUA_CLONE_DEPTH)
        refuse(w, "the value is nested too deeply to be cloned");
    switch (lua_type(L, -1)) {
    case LUA_TTABLE:
        put_table(w);
        return;
    case LUA_TUSERDATA:
        put_userdata(w);
        return;
    case LUA_TSTRING:
        put_string(w);
        break;
    case LUA_TNUMBER:
        put_number(w, lua_gettop(L));
        break;
    case LUA_TBOOLEAN:
        put_byte(w, lua_toboolean(L, -1) ? 0x03 : 0x02);
        break;
    case LUA_TNIL:
        put_byte(w, 0x00);
        break;
    case LUA_TLIGHTUSERDATA:
        put_light(w);
        break;
    case LUA_TFUNCTION:
        refuse(w, "a function cannot be cloned");
        break;
    default:
        refuse(w, "a coroutine cannot be cloned");
    }
    lua_pop(L, 1);
}

/* ---- the next value of the frame on top ---- */

/* False: there is none. */
static bool push_item(struct writer *w, struct frame *frame, int slot)
{
    lua_State *L = w->L;
    if (frame->at == frame->total)
        return false;
    lua_Integer at = (lua_Integer)++frame->at;
    if (frame->state == SPARSE) {
        at = ((const uint32_t *)lua_touserdata(L, slot + 1))[at - 1];
        put_varint(w, (uint64_t)at - 1);
    }
    lua_rawgeti(L, slot, at);
    return true;
}

static bool push_property(struct writer *w, struct frame *frame, int slot)
{
    lua_State *L = w->L;
    if (frame->at == frame->total)
        return false;
    lua_rawgeti(L, slot + 1, (lua_Integer)++frame->at);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, slot) == LUA_TNIL) { /* the key is an integer's text */
        lua_pop(L, 1);
        lua_Integer integer = 0;
        if (lua_stringtonumber(L, lua_tostring(L, -1)) != 0) {
            integer = lua_tointeger(L, -1);
            lua_pop(L, 1);
        }
        lua_rawgeti(L, slot, integer);
    }
    lua_remove(L, -2);
    return true;
}

static bool push_pair(struct writer *w, struct frame *frame, int slot)
{
    if (frame->on_key) {
        frame->on_key = false;
        lua_rawgeti(w->L, slot + 1, 2 * (lua_Integer)frame->at);
        return true;
    }
    while (frame->at < frame->total)
        if (muster__lua_map_push_key(w->L, slot + 1, frame->is_set, ++frame->at)) {
            frame->on_key = !frame->is_set;
            return true;
        }
    return false;
}

/* `parts` has the bits of what is still to come: 1 cause, 2 errors, 4 properties; 8: errors is out. */
static bool push_part(struct writer *w, struct frame *frame, int slot)
{
    frame->at = 1;
    if (frame->parts & 1) {
        frame->parts &= (unsigned char)~1u;
        push_field(w, slot, "cause");
        return true;
    }
    if (frame->parts & 2) {
        frame->parts = (unsigned char)((frame->parts & ~2u) | 8u);
        push_field(w, slot, "errors");
        return true;
    }
    return false;
}

/* False: the frame is through. */
static bool push_next(struct writer *w)
{
    struct frame *frame = &w->frames[w->depth - 1];
    int slot = w->first_slot + 2 * (int)w->depth - 2;
    switch (frame->state) {
    case ITEMS:
    case SPARSE:
        if (push_item(w, frame, slot))
            return true;
        if (!frame->named)
            return false;
        start_names(w);
        return push_property(w, frame, slot);
    case PROPERTIES:
        return push_property(w, frame, slot);
    case PAIRS:
        return push_pair(w, frame, slot);
    case PARTS:
        if (push_part(w, frame, slot))
            return true;
        if ((frame->parts & 4) == 0)
            return false;
        frame->at = 0;
        lua_pushvalue(w->L, slot + 1);
        start_properties(w, (lua_Integer)frame->total);
        return push_property(w, frame, slot);
    case BOX:
        if (frame->at++ == frame->total)
            return false;
        push_field(w, slot, "value");
        if (!can_be_boxed(w->L, lua_gettop(w->L)))
            refuse(w, "a boxed value that is no boolean, number or text cannot be cloned");
        return true;
    }
    return false;
}

static bool is_hole(const struct writer *w)
{
    return lua_isnil(w->L, -1) && w->frames[w->depth - 1].state == ITEMS;
}

static void put_all(struct writer *w)
{
    put_value(w);
    while (w->depth > 0) {
        if (!push_next(w)) {
            close_frame(w);
        } else if (is_hole(w)) {
            put_byte(w, 0x0b);
            lua_pop(w->L, 1);
        } else {
            put_value(w);
        }
    }
}

/* The message's bytes, and the block of keys under way. */
static struct muster__lua_bytes *push_bytes(lua_State *L)
{
    struct muster__lua_bytes *bytes = lua_newuserdatauv(L, 2 * sizeof *bytes, 0);
    memset(bytes, 0, 2 * sizeof *bytes);
    muster__lua_set_kind(L, MUSTER__LUA_BYTES);
    return bytes;
}

struct muster__lua_bytes *muster__lua_clone_write(lua_State *L, int index,
                                                  const struct muster__lua_clone_options *options)
{
    luaL_checkstack(L, 32, "a value");
    index = lua_absindex(L, index);
    struct writer w;
    memset(&w, 0, sizeof w);
    w.L = L;
    w.options = options;
    w.limit = options->limit != 0 ? options->limit : DEFAULT_LIMIT;
    w.transferred = options->buffers != 0 ? (lua_Integer)lua_rawlen(L, options->buffers) : 0;
    w.out = push_bytes(L);
    w.keys = w.out + 1;
    int result = lua_gettop(L);
    lua_newtable(L);
    lua_pushnil(L); /* the frames and the shapes, when they grow */
    lua_pushnil(L);
    w.seen = result + 1;
    w.frames_at = result + 2;
    w.shapes_at = result + 3;
    w.first_slot = result + 4;
    w.frames = w.first_frames;
    w.frame_room = FIRST_FRAMES;
    w.shapes = w.first_shapes;
    w.shape_room = FIRST_SHAPES;
    put_byte(&w, 0xc1);
    put_byte(&w, 0x01);
    lua_pushvalue(L, index);
    put_all(&w);
    free(w.keys->data);
    w.keys->data = NULL;
    lua_settop(L, result);
    return w.out;
}
