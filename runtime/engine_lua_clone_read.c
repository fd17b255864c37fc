/* runtime/engine_lua_clone_read.c - structured clone: any bytes become a Lua value, or are refused.
 *
 * In a turn of the worker; no script runs meanwhile.  The bytes are hostile.  Each length is checked against
 * the bytes that are left, less those that the open containers still need, so that what is allocated is
 * bounded by a constant times the input; the depth of a value costs Lua's memory, not C's stack.  All
 * memory is Lua's: an error may be raised anywhere and leaks nothing. */
#include "runtime/clone_internal.h"
#include "runtime/engine_lua_clone.h"

#include <string.h>

#define MAX_VARINT_BYTES 8
#define MAX_RESERVED ((uint64_t)1 << 32) /* maxima of all resizable buffers together */
#define SHAPE_KEYS 64
#define SLOTS 3
#define FIRST_FRAMES 8 /* most values need no more, and no memory of their own */
/* In a list of keys, beside them: whether they are sorted, and the metatable of objects that have them. */
#define KEYS_SORTED 0
#define KEYS_METATABLE (-1)

enum state {
    ITEMS,
    SPARSE,
    PROPERTIES,
    PAIRS,
    MEMBERS, /* of a set */
    CAUSE,
    ERRORS,
    BOX,
    INSIDE, /* of an object of a class of the platform, which stands for it */
};

enum container { OBJECT, ARRAY, MAP, SET, BOXED, ERROR, PLATFORM };

/* Its values stand at first_slot + SLOTS * depth: the container, the keys of its properties, and the key
 * of the pair under way. */
struct frame {
    enum state state;
    enum container container;
    bool named; /* properties follow */
    bool has_holes;
    bool has_keys;
    bool on_value;
    unsigned char parts; /* of an error: those that are still to come */
    enum muster__lua_error_type type;
    uint64_t at;
    uint64_t total;
    uint64_t length; /* of an array */
    uint64_t index;  /* of a sparse array's item */
};

struct reader {
    lua_State *L;
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    struct frame *frames;
    size_t depth;
    size_t frame_room;
    uint64_t owed; /* bytes that open containers need at the least */
    uint64_t reserved;
    lua_Integer objects;
    lua_Integer shapes;
    lua_Integer buffer_count;
    lua_Integer host_count;
    unsigned char *used; /* a byte for each entry of both lists */
    bool in_block;       /* of keys: `end` is the block's */
    int buffers;         /* stack indexes */
    int hosts;
    int objects_at;
    int shapes_at;
    int frames_at;
    int first_slot;
    struct frame first_frames[FIRST_FRAMES];
};

static void refuse(const struct reader *r, const char *reason, const char *sentence)
{
    muster__lua_clone_raise(r->L, "DataCloneError", "%s: %s (at byte %I)", reason, sentence,
                            (LUAI_UACINT)(r->at - r->start));
}

static void refuse_short(const struct reader *r)
{
    if (r->in_block)
        refuse(r, "keys", "the block is shorter than its keys");
    refuse(r, "truncated", "the bytes end too early");
}

/* ---- bytes ---- */

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static const unsigned char *take(struct reader *r, uint64_t count)
{
    if (count > left(r))
        refuse_short(r);
    const unsigned char *at = r->at;
    r->at += count;
    return at;
}

static unsigned read_byte(struct reader *r)
{
    return *take(r, 1);
}

static uint64_t read_little(struct reader *r, size_t size)
{
    const unsigned char *at = take(r, size);
    uint64_t bits = 0;
    for (size_t i = size; i-- > 0;)
        bits = bits << 8 | at[i];
    return bits;
}

static double read_f64(struct reader *r)
{
    uint64_t bits = read_little(r, 8);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t read_varint(struct reader *r)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < MAX_VARINT_BYTES; i++) {
        unsigned byte = read_byte(r);
        number |= (uint64_t)(byte & 127) << (7 * i);
        if (byte > 127)
            continue;
        if ((byte == 0 && i > 0) || number > MUSTER__LUA_SAFE_INTEGER)
            break;
        return number;
    }
    refuse(r, "varint", "a number that is too long, or not the shortest");
    return 0;
}

/* `count` things of at least `each` bytes are to come. */
static void claim(struct reader *r, uint64_t count, unsigned each)
{
    uint64_t room = left(r) > r->owed ? left(r) - r->owed : 0;
    if (count > room / each)
        refuse(r, "truncated", "more is announced than bytes are left");
    r->owed += count * each;
}

static int small(uint64_t count)
{
    return count < INT32_MAX / 2 ? (int)count : INT32_MAX / 2;
}

/* ---- numbers and strings ---- */

/* False: the tag is none of a number's. */
static bool push_number(struct reader *r, unsigned tag)
{
    lua_State *L = r->L;
    if (tag >= 0x80)
        lua_pushinteger(L, (lua_Integer)tag - 0xa0);
    else if (tag == 0x04)
        lua_pushinteger(L, (int16_t)read_little(r, 2));
    else if (tag == 0x05)
        lua_pushinteger(L, (int32_t)read_little(r, 4));
    else if (tag == 0x06)
        muster__lua_push_double(L, read_f64(r));
    else
        return false;
    return true;
}

static void push_bigint(struct reader *r)
{
    uint64_t head = read_varint(r);
    uint64_t length = head >> 1;
    const unsigned char *bytes = take(r, length);
    if (length == 0 ? head != 0 : bytes[length - 1] == 0)
        refuse(r, "bigint", "a BigInt that is not in its shortest form");
    muster__lua_push_bigint(r->L, head & 1, bytes, (size_t)length);
}

static void push_narrow(struct reader *r, uint64_t length)
{
    const unsigned char *at = take(r, length);
    luaL_Buffer text;
    size_t high = 0;
    for (size_t i = 0; i < length; i++)
        high += at[i] >> 7;
    if (high == 0) {
        lua_pushlstring(r->L, (const char *)at, (size_t)length);
        return;
    }
    char *start = luaL_buffinitsize(r->L, &text, (size_t)length + high);
    char *to = start;
    for (size_t i = 0; i < length; i++)
        to = muster__clone_put_code_point(to, at[i]);
    luaL_pushresultsize(&text, (size_t)(to - start));
}

/* A surrogate that stands alone becomes three bytes, as if it were a character. */
static void push_wide(struct reader *r, uint64_t units)
{
    if (units > left(r) / 2)
        refuse_short(r);
    const unsigned char *at = take(r, units * 2);
    luaL_Buffer text;
    char *start = luaL_buffinitsize(r->L, &text, (size_t)units * 3);
    char *to = start;
    for (size_t i = 0; i < units; i++) {
        uint32_t point = at[2 * i] | (uint32_t)at[2 * i + 1] << 8;
        if ((point & 0xfc00) == 0xd800 && i + 1 < units && (at[2 * i + 3] & 0xfc) == 0xdc) {
            uint32_t low = at[2 * i + 2] | (uint32_t)at[2 * i + 3] << 8;
            point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
            i++;
        }
        to = muster__clone_put_code_point(to, point);
    }
    luaL_pushresultsize(&text, (size_t)(to - start));
}

/* False: the tag is none of a string's. */
static bool push_text(struct reader *r, unsigned tag)
{
    if (tag >= 0x40 && tag < 0x80)
        push_narrow(r, tag - 0x40);
    else if (tag == 0x08)
        push_narrow(r, read_varint(r));
    else if (tag == 0x09)
        push_wide(r, read_varint(r));
    else
        return false;
    return true;
}

static void push_string(struct reader *r)
{
    if (!push_text(r, read_byte(r)))
        refuse(r, "tag", "a string must stand here");
}

/* ---- objects and frames ---- */

/* Gives the object on top the next number. */
static void enter_object(struct reader *r)
{
    lua_pushvalue(r->L, -1);
    lua_rawseti(r->L, r->objects_at, ++r->objects);
}

static void grow_frames(struct reader *r)
{
    size_t room = r->frame_room * 2;
    struct frame *frames = lua_newuserdatauv(r->L, room * sizeof *frames, 0);
    memcpy(frames, r->frames, r->depth * sizeof *frames);
    r->frames = frames;
    r->frame_room = room;
    lua_replace(r->L, r->frames_at);
}

/* The container on top opens: it gets its number, and the values that it holds come next. */
static struct frame *open_frame(struct reader *r, enum state state, enum container container)
{
    luaL_checkstack(r->L, 30, "the value is nested too deeply");
    enter_object(r);
    if (r->depth == r->frame_room)
        grow_frames(r);
    struct frame *frame = &r->frames[r->depth++];
    memset(frame, 0, sizeof *frame);
    frame->state = state;
    frame->container = container;
    lua_pushnil(r->L);
    lua_pushnil(r->L);
    return frame;
}

static struct frame *top_frame(const struct reader *r)
{
    return &r->frames[r->depth - 1];
}

static int top_slot(const struct reader *r)
{
    return r->first_slot + SLOTS * (int)(r->depth - 1);
}

/* ---- properties ---- */

static bool is_ascending(lua_State *L, int before, int key)
{
    size_t lengths[2];
    const char *left_text = lua_tolstring(L, before, &lengths[0]);
    const char *right_text = lua_tolstring(L, key, &lengths[1]);
    int order = memcmp(left_text, right_text, lengths[0] < lengths[1] ? lengths[0] : lengths[1]);
    return order < 0 || (order == 0 && lengths[0] < lengths[1]);
}

/* On L: the list, nil, a key that does not ascend.  The nil becomes a set of the keys before it. */
static void push_met(lua_State *L, lua_Integer count)
{
    lua_createtable(L, 0, small((uint64_t)count + 1));
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -4, i);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_replace(L, -3);
}

/* On L: the list, a set of its keys, the key, which is in neither. */
static void check_is_new(const struct reader *r)
{
    lua_State *L = r->L;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) != LUA_TNIL)
        refuse(r, "keys", "the same key twice");
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -4);
}

/* On L: the list, and a set of its keys, or nil while they ascend: then none can come twice.  Appends a key;
 * true: it ascends as well. */
static bool read_key(struct reader *r, lua_Integer place, bool sorted)
{
    lua_State *L = r->L;
    uint64_t head = read_varint(r);
    if (head & 1)
        push_wide(r, head >> 1);
    else
        push_narrow(r, head >> 1);
    if (sorted && place > 1) {
        lua_rawgeti(L, -3, place - 1);
        sorted = is_ascending(L, -1, -2);
        lua_pop(L, 1);
        if (!sorted)
            push_met(L, place - 1);
    }
    if (!sorted)
        check_is_new(r);
    lua_rawseti(L, -3, place);
    return sorted;
}

/* Pushes a list of the keys. */
static void push_new_keys(struct reader *r)
{
    lua_State *L = r->L;
    uint64_t size = read_varint(r);
    if (size > left(r))
        refuse_short(r);
    const unsigned char *outer = r->end;
    r->end = r->at + size;
    r->in_block = true;
    uint64_t count = read_varint(r);
    if (count == 0 || count > left(r))
        refuse(r, "keys", "a count that does not fit the block");
    lua_createtable(L, small(count), 2);
    lua_pushnil(L);
    bool sorted = true;
    for (uint64_t i = 1; i <= count; i++)
        sorted = read_key(r, (lua_Integer)i, sorted);
    if (r->at != r->end)
        refuse(r, "keys", "the block is longer than its keys");
    r->end = outer;
    r->in_block = false;
    lua_pop(L, 1);
    lua_pushboolean(L, sorted);
    lua_rawseti(L, -2, KEYS_SORTED);
    if (count > SHAPE_KEYS)
        return;
    lua_pushvalue(L, -1);
    lua_rawseti(L, r->shapes_at, ++r->shapes);
}

/* Pushes a list of the keys, or nil when there are none; returns how many. */
static uint64_t push_keys(struct reader *r)
{
    uint64_t shape = read_varint(r);
    if (shape == 0) {
        lua_pushnil(r->L);
        return 0;
    }
    if (shape == 1)
        push_new_keys(r);
    else if (shape - 2 < (uint64_t)r->shapes)
        lua_rawgeti(r->L, r->shapes_at, (lua_Integer)shape - 1);
    else
        refuse(r, "shape", "a shape that was not defined");
    uint64_t count = lua_rawlen(r->L, -1);
    claim(r, count, 1);
    return count;
}

static void check_names(const struct reader *r, int keys, uint64_t count)
{
    for (uint64_t i = 1; i <= count; i++) {
        size_t length = 0;
        lua_rawgeti(r->L, keys, (lua_Integer)i);
        const char *text = lua_tolstring(r->L, -1, &length);
        if (muster__lua_is_array_name(text, length))
            refuse(r, "index", "an array's property with the name of an index, or \"length\"");
        lua_pop(r->L, 1);
    }
}

/* The properties that follow the other content of the frame on top. */
static void start_names(struct reader *r)
{
    struct frame *frame = top_frame(r);
    int slot = top_slot(r);
    frame->state = PROPERTIES;
    frame->named = false;
    frame->at = 0;
    frame->total = push_keys(r);
    frame->has_keys = frame->total > 0;
    if (frame->container == ARRAY)
        check_names(r, lua_gettop(r->L), frame->total);
    lua_replace(r->L, slot + 1);
}

/* ---- what opens ---- */

static void start_object(struct reader *r)
{
    uint64_t count = push_keys(r);
    lua_createtable(r->L, 0, small(count));
    struct frame *frame = open_frame(r, PROPERTIES, OBJECT);
    frame->total = count;
    frame->has_keys = count > 0;
    /* On L: keys, container, nil, nil. */
    lua_rotate(r->L, -4, -1);
    lua_replace(r->L, -2);
    lua_insert(r->L, -2);
}

static void start_array(struct reader *r, bool named)
{
    uint64_t length = read_varint(r);
    claim(r, length, 1);
    lua_createtable(r->L, small(length), 0);
    struct frame *frame = open_frame(r, ITEMS, ARRAY);
    frame->named = named;
    frame->total = frame->length = length;
}

static void start_sparse(struct reader *r)
{
    uint64_t length = read_varint(r);
    uint64_t count = read_varint(r);
    claim(r, count, 2);
    if (length > UINT32_MAX || count > length)
        refuse(r, "index", "an array that is too long, or shorter than its items");
    lua_createtable(r->L, 0, small(count));
    struct frame *frame = open_frame(r, SPARSE, ARRAY);
    frame->named = true;
    frame->total = count;
    frame->length = length;
    frame->has_holes = count < length;
}

static void start_map(struct reader *r, bool is_set)
{
    uint64_t count = read_varint(r);
    claim(r, count, is_set ? 1 : 2);
    muster__lua_push_map(r->L, is_set);
    struct frame *frame = open_frame(r, is_set ? MEMBERS : PAIRS, is_set ? SET : MAP);
    frame->total = count;
}

static void start_boxed(struct reader *r)
{
    lua_createtable(r->L, 0, 1);
    muster__lua_set_kind(r->L, MUSTER__LUA_BOXED);
    open_frame(r, BOX, BOXED)->total = 1;
}

/* On top: the error. */
static void read_text_field(struct reader *r, const char *name)
{
    push_string(r);
    lua_setfield(r->L, -2, name);
}

static enum muster__lua_error_type type_by_name(lua_State *L)
{
    lua_getfield(L, -1, "name");
    const char *name = lua_tostring(L, -1);
    enum muster__lua_error_type type = MUSTER__LUA_ERROR_PLAIN;
    for (unsigned i = 0; i < MUSTER__LUA_ERROR_TYPE_COUNT; i++)
        if (strcmp(name, muster__lua_error_names[i]) == 0)
            type = (enum muster__lua_error_type)i;
    lua_pop(L, 1);
    return type;
}

static void set_detail(lua_State *L, enum muster__lua_error_type type)
{
    lua_pushinteger(L, type);
    lua_rawsetp(L, -2, &muster__lua_detail_key);
}

static void start_error(struct reader *r)
{
    static const char *const texts[] = {"message", "stack", "name"};
    lua_State *L = r->L;
    unsigned type = read_byte(r);
    unsigned parts = read_byte(r);
    if (type >= MUSTER__LUA_ERROR_TYPE_COUNT || parts > 63 ||
        ((parts & 16) != 0 && type != MUSTER__LUA_ERROR_AGGREGATE))
        refuse(r, "error", "an unknown type or part of an error");
    lua_createtable(L, 0, 4);
    muster__lua_set_kind(L, MUSTER__LUA_ERROR);
    lua_pushstring(L, muster__lua_error_names[type]);
    lua_setfield(L, -2, "name");
    for (unsigned i = 0; i < 3; i++)
        if (parts & 1u << i)
            read_text_field(r, texts[i]);
    if (type_by_name(L) != type)
        set_detail(L, (enum muster__lua_error_type)type);
    struct frame *frame = open_frame(r, CAUSE, ERROR);
    frame->parts = (unsigned char)(parts >> 3);
    frame->type = (enum muster__lua_error_type)type;
}

static void read_quota(struct reader *r, const char *name)
{
    unsigned tag = read_byte(r);
    if (tag == 0x01)
        lua_pushlightuserdata(r->L, (void *)&muster__lua_null_key);
    else if (!push_number(r, tag))
        refuse(r, "tag", "a number or null must stand here");
    lua_setfield(r->L, -2, name);
}

static void push_dom_exception(struct reader *r)
{
    unsigned parts = read_byte(r);
    if (parts > 3)
        refuse(r, "error", "an unknown part of a DOMException");
    lua_createtable(r->L, 0, 4);
    muster__lua_set_kind(r->L, MUSTER__LUA_ERROR);
    enter_object(r);
    read_text_field(r, "name");
    read_text_field(r, "message");
    if (parts & 1)
        read_text_field(r, "stack");
    if (parts & 2) {
        read_quota(r, "quota");
        read_quota(r, "requested");
    }
    set_detail(r->L, parts & 2 ? MUSTER__LUA_ERROR_QUOTA : MUSTER__LUA_ERROR_DOM);
}

/* ---- objects without content ---- */

static void push_date(struct reader *r)
{
    double time = read_f64(r);
    lua_createtable(r->L, 0, 1);
    muster__lua_push_double(r->L, time);
    lua_setfield(r->L, -2, "time");
    muster__lua_set_kind(r->L, MUSTER__LUA_DATE);
    enter_object(r);
}

static void push_regexp(struct reader *r)
{
    lua_State *L = r->L;
    static const char letters[] = "dgimsuvy";
    char flags[sizeof letters];
    size_t count = 0;
    unsigned bits = read_byte(r);
    if ((bits & 0x60) == 0x60)
        refuse(r, "regexp", "the flags u and v together");
    for (unsigned i = 0; i < 8; i++)
        if (bits & 1u << i)
            flags[count++] = letters[i];
    lua_createtable(L, 0, 3);
    muster__lua_set_kind(L, MUSTER__LUA_REGEXP);
    enter_object(r);
    lua_pushlstring(L, flags, count);
    lua_setfield(L, -2, "flags");
    read_text_field(r, "source");
    if (!push_number(r, read_byte(r)))
        refuse(r, "tag", "a number must stand here");
    lua_setfield(L, -2, "last_index");
}

static void set_maximum(struct muster__lua_buffer *buffer, uint64_t maximum)
{
    buffer->resizable = true;
    buffer->maximum = (size_t)maximum;
}

static uint64_t read_maximum(struct reader *r, uint64_t length)
{
    uint64_t maximum = read_varint(r);
    if (maximum < length)
        refuse(r, "buffer", "a buffer that is longer than its maximum");
    if (maximum > MAX_RESERVED - r->reserved)
        refuse(r, "buffer", "buffers that may grow too large");
    r->reserved += maximum;
    return maximum;
}

static void push_buffer(struct reader *r, bool resizable)
{
    uint64_t length = read_varint(r);
    uint64_t maximum = resizable ? read_maximum(r, length) : length;
    const unsigned char *bytes = take(r, length);
    struct muster__lua_buffer *buffer = muster__lua_push_buffer(r->L, (size_t)length);
    if (length > 0)
        memcpy(buffer->data, bytes, (size_t)length);
    if (resizable)
        set_maximum(buffer, maximum);
    enter_object(r);
}

/* Pushes the entry, once. */
static void push_entry(struct reader *r, int list, lua_Integer count, unsigned char *used,
                       const char *reason)
{
    uint64_t entry = read_varint(r);
    if (entry >= (uint64_t)count || used[entry])
        refuse(r, reason, "an entry that is not there, or was used before");
    used[entry] = 1;
    lua_rawgeti(r->L, list, (lua_Integer)entry + 1);
}

/* On top: a string of the side table, which is replaced by a buffer. */
static void copy_string(lua_State *L)
{
    size_t length = 0;
    const char *text = lua_tolstring(L, -1, &length);
    struct muster__lua_buffer *buffer = muster__lua_push_buffer(L, length);
    if (length > 0)
        memcpy(buffer->data, text, length);
    lua_remove(L, -2);
}

static void push_side_buffer(struct reader *r, bool resizable)
{
    lua_State *L = r->L;
    push_entry(r, r->buffers, r->buffer_count, r->used, "buffer");
    uint64_t length = read_varint(r);
    uint64_t maximum = resizable ? read_maximum(r, length) : 0;
    if (lua_type(L, -1) == LUA_TSTRING) {
        if (lua_rawlen(L, -1) != length)
            refuse(r, "buffer", "an entry of another length");
        copy_string(L);
    }
    if (lua_type(L, -1) != LUA_TUSERDATA || muster__lua_kind_of(L, -1) != MUSTER__LUA_BUFFER)
        refuse(r, "buffer", "an entry that is no buffer");
    struct muster__lua_buffer *buffer = lua_touserdata(L, -1);
    if (buffer->detached || buffer->length != length)
        refuse(r, "buffer", "an entry of another length");
    if (resizable)
        set_maximum(buffer, maximum);
    enter_object(r);
}

static void push_host(struct reader *r)
{
    push_entry(r, r->hosts, r->host_count, r->used + r->buffer_count, "host");
    enter_object(r);
}

static void push_reference(struct reader *r)
{
    uint64_t number = read_varint(r);
    if (number >= (uint64_t)r->objects)
        refuse(r, "ref", "an object that has not come yet");
    if (lua_rawgeti(r->L, r->objects_at, (lua_Integer)number + 1) == LUA_TNIL)
        refuse(r, "ref", "an object that is not complete");
}

/* False: the tag is none of a buffer's. */
static bool push_any_buffer(struct reader *r, unsigned tag)
{
    if (tag == 0x1b || tag == 0x1c)
        push_buffer(r, tag == 0x1c);
    else if (tag == 0x1d || tag == 0x1e)
        push_side_buffer(r, tag == 0x1e);
    else
        return false;
    return true;
}

static void push_view_buffer(struct reader *r)
{
    unsigned tag = read_byte(r);
    if (r->depth + 2 > MUSTER__LUA_CLONE_DEPTH)
        refuse(r, "deep", "the value is nested too deeply");
    if (push_any_buffer(r, tag))
        return;
    if (tag != 0x0a)
        refuse(r, "view", "a buffer must stand here");
    push_reference(r);
    if (lua_type(r->L, -1) != LUA_TUSERDATA || muster__lua_kind_of(r->L, -1) != MUSTER__LUA_BUFFER)
        refuse(r, "view", "a buffer must stand here");
}

static void push_view(struct reader *r)
{
    lua_State *L = r->L;
    unsigned kind = read_byte(r);
    uint64_t offset = read_varint(r);
    uint64_t size = read_varint(r);
    if (kind >= MUSTER__LUA_ELEMENT_COUNT)
        refuse(r, "view", "an unknown kind of view");
    size_t element = muster__lua_element_size((enum muster__lua_element)kind);
    lua_Integer number = ++r->objects;
    lua_pushboolean(L, 0); /* what a reference to it finds meanwhile */
    lua_rawseti(L, r->objects_at, number);
    push_view_buffer(r);
    const struct muster__lua_buffer *buffer = lua_touserdata(L, -1);
    if (offset % element != 0 || offset > buffer->length || (size == 0 && !buffer->resizable) ||
        (size > 0 && size - 1 > (buffer->length - offset) / element))
        refuse(r, "view", "a view that does not fit its buffer");
    struct muster__lua_view *view =
        muster__lua_push_view(L, -1, (enum muster__lua_element)kind);
    view->offset = (size_t)offset;
    view->tracks = size == 0;
    view->count = size > 0 ? (size_t)size - 1 : 0;
    lua_remove(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, r->objects_at, number);
}

/* ---- any value ---- */

/* False: the tag is none of a primitive's. */
static bool push_primitive(struct reader *r, unsigned tag)
{
    lua_State *L = r->L;
    if (push_text(r, tag) || push_number(r, tag))
        return true;
    switch (tag) {
    case 0x00:
        if (r->depth > 0)
            lua_pushlightuserdata(L, (void *)&muster__lua_undefined_key);
        else
            lua_pushnil(L);
        return true;
    case 0x01:
        lua_pushlightuserdata(L, (void *)&muster__lua_null_key);
        return true;
    case 0x02:
    case 0x03:
        lua_pushboolean(L, tag == 0x03);
        return true;
    case 0x07:
        push_bigint(r);
        return true;
    default:
        return false;
    }
}

/* Until its value is complete nobody can refer to it; then whoever does means that. */
static void start_platform(struct reader *r)
{
    push_string(r);
    lua_pop(r->L, 1);
    lua_pushnil(r->L);
    struct frame *frame = open_frame(r, INSIDE, PLATFORM);
    frame->total = 1;
    frame->index = (uint64_t)r->objects;
}

/* True: the value is on top.  False: it is open. */
static bool read_object(struct reader *r, unsigned tag)
{
    if (push_any_buffer(r, tag))
        return true;
    switch (tag) {
    case 0x0a:
        push_reference(r);
        return true;
    case 0x10:
        start_object(r);
        return false;
    case 0x11:
    case 0x12:
        start_array(r, tag == 0x12);
        return false;
    case 0x13:
        start_sparse(r);
        return false;
    case 0x14:
    case 0x15:
        start_map(r, tag == 0x15);
        return false;
    case 0x16:
        push_date(r);
        return true;
    case 0x17:
        push_regexp(r);
        return true;
    case 0x18:
        start_boxed(r);
        return false;
    case 0x19:
        start_error(r);
        return false;
    case 0x1a:
        push_dom_exception(r);
        return true;
    case 0x1f:
        push_view(r);
        return true;
    case 0x20:
        push_host(r);
        return true;
    case 0x21:
        start_platform(r);
        return false;
    default:
        refuse(r, "tag", "a byte that begins no value, or none that may stand here");
        return true;
    }
}

static bool read_tagged(struct reader *r, unsigned tag)
{
    if (r->depth >= MUSTER__LUA_CLONE_DEPTH)
        refuse(r, "deep", "the value is nested too deeply");
    return push_primitive(r, tag) || read_object(r, tag);
}

/* ---- the containers ---- */

/* On top: a value of the frame on top, which takes it. */
static void deliver(struct reader *r)
{
    lua_State *L = r->L;
    struct frame *frame = top_frame(r);
    int slot = top_slot(r);
    switch (frame->state) {
    case ITEMS:
        lua_rawseti(L, slot, (lua_Integer)frame->at);
        return;
    case SPARSE:
        lua_rawseti(L, slot, (lua_Integer)frame->index + 1);
        return;
    case PROPERTIES:
        lua_rawgeti(L, slot + 1, (lua_Integer)frame->at);
        lua_insert(L, -2);
        lua_rawset(L, slot);
        return;
    case PAIRS:
        frame->on_value = !frame->on_value;
        if (frame->on_value) {
            lua_replace(L, slot + 2);
            return;
        }
        lua_pushvalue(L, slot + 2);
        lua_insert(L, -2);
        muster__lua_map_put(L, slot);
        return;
    case MEMBERS:
        muster__lua_map_put(L, slot);
        return;
    case CAUSE:
    case ERRORS:
    case BOX:
        lua_pushstring(L, frame->state == CAUSE ? "cause" : frame->state == ERRORS ? "errors" : "value");
        lua_insert(L, -2);
        lua_rawset(L, slot);
        return;
    case INSIDE:
        lua_pushvalue(L, -1);
        lua_rawseti(L, r->objects_at, (lua_Integer)frame->index);
        lua_replace(L, slot);
        return;
    }
}

/* A shape's objects share one metatable, made when the first of them closes. */
static void keep_order(struct reader *r, int slot)
{
    lua_State *L = r->L;
    lua_rawgeti(L, slot + 1, KEYS_SORTED);
    bool sorted = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (sorted)
        return;
    if (lua_rawgeti(L, slot + 1, KEYS_METATABLE) == LUA_TTABLE) {
        lua_setmetatable(L, slot);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, slot);
    lua_pushvalue(L, slot + 1);
    muster__lua_set_shape(L, -1);
    lua_getmetatable(L, -1);
    lua_rawseti(L, slot + 1, KEYS_METATABLE);
    lua_pop(L, 1);
}

static void finish_array(struct reader *r, const struct frame *frame, int slot)
{
    lua_State *L = r->L;
    lua_pushvalue(L, slot);
    if (frame->has_keys || frame->has_holes) {
        lua_pushvalue(L, slot + 1);
        muster__lua_set_shape(L, (lua_Integer)frame->length);
    } else if (frame->length == 0) {
        muster__lua_set_kind(L, MUSTER__LUA_LIST);
    }
    lua_pop(L, 1);
}

/* What an error has besides its parts keeps its order, if that is not the sorted one. */
static void finish_error(struct reader *r, const struct frame *frame, int slot)
{
    lua_State *L = r->L;
    lua_rawgeti(L, slot + 1, KEYS_SORTED);
    bool sorted = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (sorted)
        return;
    lua_createtable(L, small(frame->total), 1);
    for (lua_Integer i = 1; i <= (lua_Integer)frame->total; i++) {
        lua_rawgeti(L, slot + 1, i);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, frame->type);
    lua_rawseti(L, -2, 0);
    lua_rawsetp(L, slot, &muster__lua_detail_key);
}

/* Leaves the container on top, as a value. */
static void close_frame(struct reader *r)
{
    const struct frame *frame = top_frame(r);
    int slot = top_slot(r);
    if (frame->container == ARRAY)
        finish_array(r, frame, slot);
    else if (frame->container == OBJECT && frame->has_keys)
        keep_order(r, slot);
    else if (frame->container == ERROR && frame->has_keys)
        finish_error(r, frame, slot);
    lua_settop(r->L, slot);
    r->depth--;
}

/* Whether another value of this state comes; reads what stands before it. */
static bool has_next(struct reader *r, struct frame *frame)
{
    if (frame->state == PAIRS && frame->on_value) {
        r->owed--;
        return true;
    }
    if (frame->at == frame->total)
        return false;
    frame->at++;
    if (frame->state != BOX && frame->state != INSIDE)
        r->owed -= frame->state == SPARSE ? 2 : 1;
    if (frame->state != SPARSE)
        return true;
    uint64_t index = read_varint(r);
    if (index >= frame->length || (frame->at > 1 && index <= frame->index))
        refuse(r, "index", "indexes that do not ascend, or lie beyond the length");
    frame->index = index;
    return true;
}

/* On to the next part of an error: true, a value comes. */
static bool next_part(struct frame *frame)
{
    if (frame->parts & 1) {
        frame->parts &= (unsigned char)~1u;
        frame->state = CAUSE;
        return true;
    }
    if (frame->parts & 2) {
        frame->parts &= (unsigned char)~2u;
        frame->state = ERRORS;
        return true;
    }
    return false;
}

static void start_extra(struct reader *r, struct frame *frame)
{
    frame->parts = 0;
    start_names(r);
    if (frame->total == 0)
        refuse(r, "error", "announced properties that are not there");
}

/* Of the frame on top.  False: it has no more values. */
static bool advance(struct reader *r)
{
    struct frame *frame = top_frame(r);
    if (frame->container == ERROR && frame->state != PROPERTIES) {
        if (next_part(frame))
            return true;
        if (frame->parts == 0)
            return false;
        start_extra(r, frame);
    }
    if (has_next(r, frame))
        return true;
    if (!frame->named)
        return false;
    start_names(r);
    return has_next(r, frame);
}

static bool can_be_boxed(unsigned tag)
{
    return tag == 0x02 || tag == 0x03 || (tag >= 0x04 && tag <= 0x09) || tag >= 0x40;
}

/* True: a value is on top. */
static bool read_child(struct reader *r)
{
    struct frame *frame = top_frame(r);
    unsigned tag = read_byte(r);
    if (tag == 0x0b && (frame->state == ITEMS || frame->state == SPARSE || frame->state == PROPERTIES)) {
        frame->has_holes = frame->has_holes || frame->state != PROPERTIES;
        return false;
    }
    if (frame->state == BOX && !can_be_boxed(tag))
        refuse(r, "tag", "a boxed value that is no boolean, number or text");
    return read_tagged(r, tag);
}

static void read_message(struct reader *r)
{
    if (read_byte(r) != 0xc1)
        refuse(r, "magic", "no message begins like this");
    if (read_byte(r) != 0x01)
        refuse(r, "version", "a version that is not known here");
    bool is_complete = read_tagged(r, read_byte(r));
    while (r->depth > 0) {
        if (is_complete)
            deliver(r);
        is_complete = !advance(r);
        if (is_complete)
            close_frame(r);
        else
            is_complete = read_child(r);
    }
    if (r->at != r->end)
        refuse(r, "trailing", "bytes after the value");
}

void muster__lua_clone_read(lua_State *L, const void *bytes, size_t length, int buffers, int hosts)
{
    luaL_checkstack(L, 40, "a value");
    struct reader r;
    memset(&r, 0, sizeof r);
    r.L = L;
    r.start = r.at = bytes;
    r.end = r.start + length;
    r.buffers = buffers != 0 ? lua_absindex(L, buffers) : 0;
    r.hosts = hosts != 0 ? lua_absindex(L, hosts) : 0;
    r.buffer_count = buffers != 0 ? (lua_Integer)lua_rawlen(L, r.buffers) : 0;
    r.host_count = hosts != 0 ? (lua_Integer)lua_rawlen(L, r.hosts) : 0;
    lua_pushnil(L); /* the value comes here */
    int result = lua_gettop(L);
    size_t entries = (size_t)(r.buffer_count + r.host_count);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushnil(L); /* the frames, when they grow */
    r.objects_at = result + 1;
    r.shapes_at = result + 2;
    r.frames_at = result + 3;
    r.frames = r.first_frames;
    r.frame_room = FIRST_FRAMES;
    r.used = lua_newuserdatauv(L, entries + 1, 0);
    memset(r.used, 0, entries + 1);
    r.first_slot = result + 5;
    read_message(&r);
    lua_replace(L, result);
    lua_settop(L, result);
}
