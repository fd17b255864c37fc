/* runtime/engine_lua_clone.h - structured clone in Lua: the codec, and the objects that Lua lacks.
 *
 * docs/clone.md is the format.  A value that comes from another engine, passes through Lua and goes on is
 * what it was: what has no counterpart in Lua is an object of one of the kinds below.
 *
 * Thread: the one that runs the lua_State; no script runs in here.  What fails raises an error object with
 * a name and a sentence, and leaves nothing behind.  The codec needs no muster VM around the state. */
#ifndef MUSTER_ENGINE_LUA_CLONE_H
#define MUSTER_ENGINE_LUA_CLONE_H

#include "runtime/engine_lua_internal.h"

#define MUSTER__LUA_CLONE_DEPTH 10000
#define MUSTER__LUA_SAFE_INTEGER 9007199254740991 /* 2^53 - 1; a Lua integer beyond it is a BigInt */

/* ---- the codec; engine_lua_clone_write.c and engine_lua_clone_read.c ---- */

struct muster__lua_clone_options {
    bool web;     /* as postMessage; else as calls of a pool */
    size_t raw;   /* buffers of so many bytes go into the side table; 0: none */
    size_t limit; /* of the bytes that are written; 0: a gigabyte */
    int buffers;  /* index of a list: what is transferred, then what `raw` adds; 0: no side table */
    int hosts;    /* index of a list: host objects that may travel; 0: none */
};

/* What was written.  Userdata: the collector frees `data` unless the caller took it (and set it NULL). */
struct muster__lua_bytes {
    unsigned char *data; /* malloc */
    size_t length;
    size_t capacity;
};

/* Writes the value at `index` and pushes the bytes.  Entries of the side table are buffers, or strings that
 * are no text.  Transferred buffers are still whole: muster__lua_buffer_move() takes what is theirs. */
struct muster__lua_bytes *muster__lua_clone_write(lua_State *L, int index,
                                                  const struct muster__lua_clone_options *options);
/* Reads any bytes and pushes the value.  `buffers` and `hosts` are indexes of lists, or 0.  An entry of the
 * side table is a buffer, which becomes part of the value, or a string, which is copied. */
void muster__lua_clone_read(lua_State *L, const void *bytes, size_t length, int buffers, int hosts);

/* engine_lua_clone.c.  On L: the `muster` table. */
void muster__lua_open_clone(lua_State *L);
/* Raises an error object with this name; the message is formatted as by lua_pushfstring(). */
int muster__lua_clone_raise(lua_State *L, const char *name, const char *format, ...);

/* ---- the objects; engine_lua_clone_types.c ---- */

enum muster__lua_kind {
    MUSTER__LUA_PLAIN,  /* none of ours */
    MUSTER__LUA_LIST,   /* a table with muster.array */
    MUSTER__LUA_SHAPED, /* a table whose metatable keeps the order of its keys, or its length */
    MUSTER__LUA_ERROR,  /* a table: name, message, stack, cause, errors, and whatever else */
    MUSTER__LUA_DATE,   /* a table: time */
    MUSTER__LUA_REGEXP, /* a table: source, flags, last_index */
    MUSTER__LUA_BOXED,  /* a table: value */
    MUSTER__LUA_BIGINT, /* the rest is userdata */
    MUSTER__LUA_BUFFER,
    MUSTER__LUA_VIEW,
    MUSTER__LUA_MAP,
    MUSTER__LUA_SET,
    MUSTER__LUA_BYTES,
    MUSTER__LUA_KIND_COUNT
};

/* The numbers are the format's. */
enum muster__lua_element {
    MUSTER__LUA_DATA_VIEW,
    MUSTER__LUA_INT8,
    MUSTER__LUA_UINT8,
    MUSTER__LUA_UINT8_CLAMPED,
    MUSTER__LUA_INT16,
    MUSTER__LUA_UINT16,
    MUSTER__LUA_INT32,
    MUSTER__LUA_UINT32,
    MUSTER__LUA_FLOAT16,
    MUSTER__LUA_FLOAT32,
    MUSTER__LUA_FLOAT64,
    MUSTER__LUA_BIGINT64,
    MUSTER__LUA_BIGUINT64,
    MUSTER__LUA_ELEMENT_COUNT
};

/* The numbers below COUNT are the format's. */
enum muster__lua_error_type {
    MUSTER__LUA_ERROR_PLAIN,
    MUSTER__LUA_ERROR_AGGREGATE = 7,
    MUSTER__LUA_ERROR_TYPE_COUNT,
    MUSTER__LUA_ERROR_DOM = MUSTER__LUA_ERROR_TYPE_COUNT, /* a DOMException */
    MUSTER__LUA_ERROR_QUOTA,                              /* one with quota and requested */
};

struct muster__lua_bigint {
    bool negative;
    size_t length;         /* of the magnitude, whose last byte is not zero */
    unsigned char bytes[]; /* little endian */
};

/* User value 1 is the memory. */
struct muster__lua_buffer {
    unsigned char *data;
    size_t length;
    size_t maximum;
    bool resizable;
    bool detached;
};

/* User value 1 is the buffer. */
struct muster__lua_view {
    enum muster__lua_element element;
    bool tracks;   /* it ends where its buffer ends */
    size_t offset; /* in bytes */
    size_t count;  /* of elements, unless it tracks */
};

/* User values: 1 the items in order (of a map: key, value, key, value), 2 place by key, 3 place by a text
 * for numbers that Lua would take for one another, or nil. */
struct muster__lua_map {
    bool is_set;
    size_t used; /* places, those of deleted items included */
    size_t count;
};

extern const char muster__lua_undefined_key; /* its address, as light userdata, is muster.undefined */
extern const char muster__lua_detail_key;    /* in an error: its type, or {[0] = type, keys in order} */
extern const char *const muster__lua_error_names[MUSTER__LUA_ERROR_TYPE_COUNT];

/* Raises nothing; wants 3 free slots. */
enum muster__lua_kind muster__lua_kind_of(lua_State *L, int index);
/* Sets the metatable of the table or userdata on top. */
void muster__lua_set_kind(lua_State *L, enum muster__lua_kind kind);

/* On top: the keys of the table below in their order, or nil; popped.  `length` of an array, or -1. */
void muster__lua_set_shape(lua_State *L, lua_Integer length);
/* Of a SHAPED table: pushes the keys or nil, returns the length or -1. */
lua_Integer muster__lua_push_shape(lua_State *L, int index);
bool muster__lua_is_shaped(lua_State *L, int index);
/* "length", or an index as JavaScript writes it: no name for a property of an array. */
bool muster__lua_is_array_name(const char *text, size_t length);

/* A Number as Lua has it: an integer when it is a safe one and not -0. */
void muster__lua_push_double(lua_State *L, double number);
/* An integer when it fits and is no safe one; else an object.  The last byte is not zero. */
void muster__lua_push_bigint(lua_State *L, bool negative, const unsigned char *bytes,
                             size_t length);
/* Zeroed. */
struct muster__lua_buffer *muster__lua_push_buffer(lua_State *L, size_t length);
/* Pushes a buffer with all that is in the one at `index`, which is left detached. */
struct muster__lua_buffer *muster__lua_buffer_move(lua_State *L, int index);
struct muster__lua_view *muster__lua_push_view(lua_State *L, int buffer,
                                               enum muster__lua_element element);
size_t muster__lua_element_size(enum muster__lua_element element);
/* Elements that the view shows; false: its buffer has shrunk, and it lies outside. */
bool muster__lua_view_count(const struct muster__lua_view *view,
                            const struct muster__lua_buffer *buffer, size_t *ret_count);
struct muster__lua_map *muster__lua_push_map(lua_State *L, bool is_set);
/* On top: the key, and the value unless it is a set; popped.  Replaces the value of a key that is there. */
void muster__lua_map_put(lua_State *L, int index);
/* Item of a map's items table at `items`; false: deleted, nothing pushed.  Raises nothing. */
bool muster__lua_map_push_key(lua_State *L, int items, bool is_set, size_t place);

void muster__lua_open_clone_types(lua_State *L); /* on L: the `muster` table */

#endif
