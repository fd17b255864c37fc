/* runtime/engine_lua_clone_types.c - the objects of other languages that Lua lacks, as scripts see them.
 *
 * In a turn of the worker.  What is mutable and small is a table with a protected metatable, which the
 * script may fill with anything: the encoder looks again.  What must keep a promise to C is userdata.
 * Metatables belong to the VM and are made when the first object of a kind comes, so that a worker that
 * needs none pays nothing. */
#include "runtime/engine_lua_clone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DECIMAL_BYTES 4096 /* a longer BigInt prints as hexadecimal: decimal takes quadratic time */
#define DECIMAL_DIGITS 9864

const char muster__lua_undefined_key;
const char muster__lua_detail_key;
static const char kind_key; /* a field of our metatables: the kind */
static const char keys_key; /* fields of a shape's */
static const char length_key;
static const char kind_keys[MUSTER__LUA_KIND_COUNT]; /* registry: the metatables */
static const char not_a_number_key;                  /* NaN as the key of a map */
static const char deleted_key;

const char *const muster__lua_error_names[MUSTER__LUA_ERROR_TYPE_COUNT] = {
    "Error",       "EvalError", "RangeError", "ReferenceError",
    "SyntaxError", "TypeError", "URIError",   "AggregateError",
};

static const char *const kind_names[MUSTER__LUA_KIND_COUNT] = {
    [MUSTER__LUA_DATE] = "date",     [MUSTER__LUA_REGEXP] = "regexp", [MUSTER__LUA_BOXED] = "boxed",
    [MUSTER__LUA_BIGINT] = "bigint", [MUSTER__LUA_BUFFER] = "buffer", [MUSTER__LUA_VIEW] = "view",
    [MUSTER__LUA_MAP] = "map",       [MUSTER__LUA_SET] = "set",       [MUSTER__LUA_BYTES] = "bytes",
};

/* ---- kinds ---- */

static bool top_is(lua_State *L, const void *key)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    return same;
}

enum muster__lua_kind muster__lua_kind_of(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return MUSTER__LUA_PLAIN;
    enum muster__lua_kind kind = MUSTER__LUA_PLAIN;
    if (lua_rawgetp(L, -1, &kind_key) == LUA_TNUMBER)
        kind = (enum muster__lua_kind)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (kind == MUSTER__LUA_PLAIN && top_is(L, &muster__lua_array_key))
        kind = MUSTER__LUA_LIST;
    else if (kind == MUSTER__LUA_PLAIN && top_is(L, &muster__lua_error_key))
        kind = MUSTER__LUA_ERROR;
    lua_pop(L, 1);
    return kind;
}

static void *check_kind(lua_State *L, int index, enum muster__lua_kind kind)
{
    if (lua_type(L, index) != LUA_TUSERDATA || muster__lua_kind_of(L, index) != kind)
        luaL_typeerror(L, index, kind_names[kind]);
    return lua_touserdata(L, index);
}

/* ---- shapes ---- */

void muster__lua_set_shape(lua_State *L, lua_Integer length)
{
    lua_createtable(L, 0, 4);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, &keys_key);
    lua_pushinteger(L, MUSTER__LUA_SHAPED);
    lua_rawsetp(L, -2, &kind_key);
    if (length >= 0) {
        lua_pushinteger(L, length);
        lua_rawsetp(L, -2, &length_key);
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

lua_Integer muster__lua_push_shape(lua_State *L, int index)
{
    lua_getmetatable(L, index);
    lua_Integer length = lua_rawgetp(L, -1, &length_key) == LUA_TNUMBER ? lua_tointeger(L, -1) : -1;
    lua_pop(L, 1);
    lua_rawgetp(L, -1, &keys_key);
    lua_remove(L, -2);
    return length;
}

bool muster__lua_is_shaped(lua_State *L, int index)
{
    return muster__lua_kind_of(L, index) == MUSTER__LUA_SHAPED;
}

/* "0" to "4294967294" as JavaScript writes them. */
static bool is_index(const char *text, size_t length)
{
    uint64_t number = 0;
    if (length == 0 || length > 10 || (length > 1 && *text == '0'))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    return number < UINT32_MAX;
}

bool muster__lua_is_array_name(const char *text, size_t length)
{
    return is_index(text, length) || (length == 6 && memcmp(text, "length", 6) == 0);
}

/* ---- numbers ---- */

void muster__lua_push_double(lua_State *L, double number)
{
    if (number >= -(double)MUSTER__LUA_SAFE_INTEGER && number <= (double)MUSTER__LUA_SAFE_INTEGER &&
        floor(number) == number && !(number == 0 && signbit(number)))
        lua_pushinteger(L, (lua_Integer)number);
    else
        lua_pushnumber(L, number);
}

static struct muster__lua_bigint *new_bigint(lua_State *L, size_t length)
{
    if (length > SIZE_MAX / 2)
        luaL_error(L, "the BigInt is too large");
    struct muster__lua_bigint *big = lua_newuserdatauv(L, sizeof *big + length, 0);
    memset(big, 0, sizeof *big + length);
    big->length = length;
    muster__lua_set_kind(L, MUSTER__LUA_BIGINT);
    return big;
}

static void trim(struct muster__lua_bigint *big)
{
    while (big->length > 0 && big->bytes[big->length - 1] == 0)
        big->length--;
    if (big->length == 0)
        big->negative = false;
}

static bool big_to_integer(const struct muster__lua_bigint *big, lua_Integer *ret_integer)
{
    lua_Unsigned magnitude = 0;
    if (big->length > sizeof magnitude)
        return false;
    for (size_t i = big->length; i-- > 0;)
        magnitude = magnitude << 8 | big->bytes[i];
    if (magnitude > (lua_Unsigned)LUA_MAXINTEGER + big->negative)
        return false;
    *ret_integer = (lua_Integer)(big->negative ? 0 - magnitude : magnitude);
    return true;
}

static void push_big_integer(lua_State *L, bool negative, lua_Unsigned magnitude)
{
    struct muster__lua_bigint *big = new_bigint(L, sizeof magnitude);
    big->negative = negative;
    for (size_t i = 0; i < sizeof magnitude; i++, magnitude >>= 8)
        big->bytes[i] = (unsigned char)magnitude;
    trim(big);
}

void muster__lua_push_bigint(lua_State *L, bool negative, const unsigned char *bytes, size_t length)
{
    lua_Integer integer;
    struct muster__lua_bigint *big = new_bigint(L, length);
    big->negative = negative;
    memcpy(big->bytes, bytes, length);
    if (!big_to_integer(big, &integer) ||
        (integer >= -MUSTER__LUA_SAFE_INTEGER && integer <= MUSTER__LUA_SAFE_INTEGER))
        return;
    lua_pop(L, 1);
    lua_pushinteger(L, integer);
}

/* big = big * factor + digit */
static void multiply_add(struct muster__lua_bigint *big, unsigned factor, unsigned digit)
{
    unsigned carry = digit;
    for (size_t i = 0; i < big->length; i++) {
        carry += big->bytes[i] * factor;
        big->bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

static void parse_bigint(lua_State *L, const char *text, size_t length)
{
    bool negative = length > 0 && *text == '-';
    text += negative;
    length -= negative;
    int base = length > 2 && text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10;
    text += base == 16 ? 2 : 0;
    length -= base == 16 ? 2 : 0;
    luaL_argcheck(L, length > 0 && length <= (base == 16 ? 2 * DECIMAL_BYTES : DECIMAL_DIGITS), 1,
                  "a number of so many digits cannot be read");
    struct muster__lua_bigint *big = new_bigint(L, length / 2 + 1);
    for (size_t i = 0; i < length; i++) {
        luaL_argcheck(L, digit_of(text[i]) < base, 1, "no whole number");
        multiply_add(big, (unsigned)base, (unsigned)digit_of(text[i]));
    }
    big->negative = negative;
    trim(big);
}

static int muster_bigint(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isinteger(L, 1)) {
        lua_Integer integer = lua_tointeger(L, 1);
        push_big_integer(L, integer < 0,
                         integer < 0 ? 0 - (lua_Unsigned)integer : (lua_Unsigned)integer);
    } else if (lua_type(L, 1) == LUA_TSTRING) {
        size_t length;
        const char *text = lua_tolstring(L, 1, &length);
        parse_bigint(L, text, length);
    } else {
        check_kind(L, 1, MUSTER__LUA_BIGINT);
    }
    return 1;
}

static void add_hexadecimal(luaL_Buffer *buffer, const struct muster__lua_bigint *big)
{
    static const char digits[] = "0123456789abcdef";
    luaL_addstring(buffer, big->negative ? "-0x" : "0x");
    size_t i = big->length;
    if (i == 0)
        luaL_addchar(buffer, '0');
    else if (big->bytes[i - 1] < 16)
        luaL_addchar(buffer, digits[big->bytes[--i]]);
    for (; i > 0; i--) {
        luaL_addchar(buffer, digits[big->bytes[i - 1] >> 4]);
        luaL_addchar(buffer, digits[big->bytes[i - 1] & 15]);
    }
}

/* Lowest digit first, from the end of `text` on; returns where it starts. */
static char *write_decimal(const struct muster__lua_bigint *big, unsigned char *scratch, char *end)
{
    size_t length = big->length;
    memcpy(scratch, big->bytes, length);
    do {
        unsigned rest = 0;
        for (size_t i = length; i-- > 0;) {
            rest = rest << 8 | scratch[i];
            scratch[i] = (unsigned char)(rest / 10);
            rest %= 10;
        }
        *--end = (char)('0' + rest);
        while (length > 0 && scratch[length - 1] == 0)
            length--;
    } while (length > 0);
    if (big->negative)
        *--end = '-';
    return end;
}

static int bigint_to_text(lua_State *L)
{
    const struct muster__lua_bigint *big = check_kind(L, 1, MUSTER__LUA_BIGINT);
    luaL_Buffer buffer;
    if (big->length <= DECIMAL_BYTES) {
        unsigned char scratch[DECIMAL_BYTES];
        char text[DECIMAL_DIGITS + 8];
        char *start = write_decimal(big, scratch, text + sizeof text);
        lua_pushlstring(L, start, (size_t)(text + sizeof text - start));
        return 1;
    }
    luaL_buffinit(L, &buffer);
    add_hexadecimal(&buffer, big);
    luaL_pushresult(&buffer);
    return 1;
}

static int bigint_integer(lua_State *L)
{
    lua_Integer integer;
    if (big_to_integer(check_kind(L, 1, MUSTER__LUA_BIGINT), &integer))
        lua_pushinteger(L, integer);
    else
        luaL_pushfail(L);
    return 1;
}

static int compare_magnitudes(const struct muster__lua_bigint *a, const struct muster__lua_bigint *b)
{
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    for (size_t i = a->length; i-- > 0;)
        if (a->bytes[i] != b->bytes[i])
            return a->bytes[i] < b->bytes[i] ? -1 : 1;
    return 0;
}

/* Integers may stand on either side, except of ==, which Lua answers by itself then. */
static int compare_bigints(lua_State *L)
{
    const struct muster__lua_bigint *sides[2];
    for (int i = 0; i < 2; i++) {
        lua_pushcfunction(L, muster_bigint);
        lua_pushvalue(L, i + 1);
        lua_call(L, 1, 1);
        sides[i] = lua_touserdata(L, -1);
    }
    if (sides[0]->negative != sides[1]->negative)
        return sides[0]->negative ? -1 : 1;
    int order = compare_magnitudes(sides[0], sides[1]);
    return sides[0]->negative ? -order : order;
}

static int bigint_equal(lua_State *L)
{
    bool both = lua_type(L, 1) == LUA_TUSERDATA && lua_type(L, 2) == LUA_TUSERDATA &&
                muster__lua_kind_of(L, 1) == MUSTER__LUA_BIGINT &&
                muster__lua_kind_of(L, 2) == MUSTER__LUA_BIGINT;
    lua_pushboolean(L, both && compare_bigints(L) == 0);
    return 1;
}

static int bigint_less(lua_State *L)
{
    lua_pushboolean(L, compare_bigints(L) < 0);
    return 1;
}

static int bigint_less_or_equal(lua_State *L)
{
    lua_pushboolean(L, compare_bigints(L) <= 0);
    return 1;
}

/* ---- buffers ---- */

static struct muster__lua_buffer *push_empty_buffer(lua_State *L)
{
    struct muster__lua_buffer *buffer = lua_newuserdatauv(L, sizeof *buffer, 1);
    memset(buffer, 0, sizeof *buffer);
    muster__lua_set_kind(L, MUSTER__LUA_BUFFER);
    return buffer;
}

/* On top: the buffer. */
static void give_memory(lua_State *L, struct muster__lua_buffer *buffer, size_t length)
{
    if (length > SIZE_MAX / 2)
        luaL_error(L, "the buffer is too large");
    unsigned char *data = lua_newuserdatauv(L, length > 0 ? length : 1, 0);
    size_t kept = buffer->length < length ? buffer->length : length;
    if (kept > 0)
        memcpy(data, buffer->data, kept);
    memset(data + kept, 0, length - kept);
    lua_setiuservalue(L, -2, 1);
    buffer->data = data;
    buffer->length = length;
}

struct muster__lua_buffer *muster__lua_push_buffer(lua_State *L, size_t length)
{
    struct muster__lua_buffer *buffer = push_empty_buffer(L);
    give_memory(L, buffer, length);
    buffer->maximum = length;
    return buffer;
}

struct muster__lua_buffer *muster__lua_buffer_move(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    struct muster__lua_buffer *from = lua_touserdata(L, index);
    struct muster__lua_buffer *to = push_empty_buffer(L);
    lua_getiuservalue(L, index, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushnil(L);
    lua_setiuservalue(L, index, 1);
    *to = *from;
    *from = (struct muster__lua_buffer){.detached = true};
    return to;
}

static size_t check_size(lua_State *L, int index)
{
    lua_Integer size = luaL_checkinteger(L, index);
    luaL_argcheck(L, size >= 0, index, "below zero");
    return (size_t)size;
}

static int muster_buffer(lua_State *L)
{
    size_t length = 0;
    const char *text = NULL;
    if (lua_type(L, 1) == LUA_TSTRING)
        text = lua_tolstring(L, 1, &length);
    else
        length = check_size(L, 1);
    bool resizable = !lua_isnoneornil(L, 2);
    size_t maximum = resizable ? check_size(L, 2) : length;
    luaL_argcheck(L, maximum >= length && maximum <= MUSTER__LUA_SAFE_INTEGER, 2,
                  "a maximum below the length, or too large");
    struct muster__lua_buffer *buffer = muster__lua_push_buffer(L, length);
    if (length > 0 && text != NULL)
        memcpy(buffer->data, text, length);
    buffer->resizable = resizable;
    buffer->maximum = maximum;
    return 1;
}

static struct muster__lua_buffer *check_buffer(lua_State *L, int index)
{
    struct muster__lua_buffer *buffer = check_kind(L, index, MUSTER__LUA_BUFFER);
    luaL_argcheck(L, !buffer->detached, index, "the buffer was transferred");
    return buffer;
}

/* What `first` and `last` of string.sub() mean. */
static int push_part(lua_State *L, const unsigned char *data, size_t length)
{
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = luaL_optinteger(L, 3, -1);
    lua_Integer size = (lua_Integer)length;
    if (first < 0)
        first = first < -size ? 1 : size + first + 1;
    else if (first == 0)
        first = 1;
    last = last > size ? size : last < -size ? 0 : last < 0 ? size + last + 1 : last;
    if (first > last)
        lua_pushliteral(L, "");
    else
        lua_pushlstring(L, (const char *)data + first - 1, (size_t)(last - first + 1));
    return 1;
}

static int put_part(lua_State *L, unsigned char *data, size_t length)
{
    size_t count = 0;
    lua_Integer first = luaL_checkinteger(L, 2);
    const char *text = luaL_checklstring(L, 3, &count);
    luaL_argcheck(L, first >= 1 && (size_t)first - 1 <= length && count <= length - (size_t)first + 1, 2,
                  "outside the bytes");
    if (count > 0)
        memcpy(data + first - 1, text, count);
    return 0;
}

static int buffer_string(lua_State *L)
{
    const struct muster__lua_buffer *buffer = check_buffer(L, 1);
    return push_part(L, buffer->data, buffer->length);
}

static int buffer_put(lua_State *L)
{
    struct muster__lua_buffer *buffer = check_buffer(L, 1);
    return put_part(L, buffer->data, buffer->length);
}

static int buffer_resize(lua_State *L)
{
    struct muster__lua_buffer *buffer = check_buffer(L, 1);
    size_t length = check_size(L, 2);
    luaL_argcheck(L, buffer->resizable && length <= buffer->maximum, 2,
                  "the buffer cannot have that length");
    lua_settop(L, 1);
    give_memory(L, buffer, length);
    return 0;
}

static int buffer_length(lua_State *L)
{
    const struct muster__lua_buffer *buffer = check_kind(L, 1, MUSTER__LUA_BUFFER);
    lua_pushinteger(L, (lua_Integer)buffer->length);
    return 1;
}

/* ---- views ---- */

static const char *const element_names[] = {
    "DataView",    "Int8Array",    "Uint8Array",   "Uint8ClampedArray", "Int16Array",
    "Uint16Array", "Int32Array",   "Uint32Array",  "Float16Array",      "Float32Array",
    "Float64Array", "BigInt64Array", "BigUint64Array", NULL,
};

size_t muster__lua_element_size(enum muster__lua_element element)
{
    static const unsigned char sizes[MUSTER__LUA_ELEMENT_COUNT] = {1, 1, 1, 1, 2, 2, 4,
                                                                   4, 2, 4, 8, 8, 8};
    return sizes[element];
}

bool muster__lua_view_count(const struct muster__lua_view *view,
                            const struct muster__lua_buffer *buffer, size_t *ret_count)
{
    size_t size = muster__lua_element_size(view->element);
    if (buffer->detached || view->offset > buffer->length)
        return false;
    size_t room = (buffer->length - view->offset) / size;
    if (!view->tracks && view->count > room)
        return false;
    *ret_count = view->tracks ? room : view->count;
    return true;
}

struct muster__lua_view *muster__lua_push_view(lua_State *L, int buffer,
                                               enum muster__lua_element element)
{
    buffer = lua_absindex(L, buffer);
    struct muster__lua_view *view = lua_newuserdatauv(L, sizeof *view, 1);
    memset(view, 0, sizeof *view);
    view->element = element;
    lua_pushvalue(L, buffer);
    lua_setiuservalue(L, -2, 1);
    muster__lua_set_kind(L, MUSTER__LUA_VIEW);
    return view;
}

static int muster_view(lua_State *L)
{
    const struct muster__lua_buffer *buffer = check_buffer(L, 1);
    enum muster__lua_element element =
        (enum muster__lua_element)luaL_checkoption(L, 2, "Uint8Array", element_names);
    size_t size = muster__lua_element_size(element);
    size_t offset = lua_isnoneornil(L, 3) ? 0 : check_size(L, 3);
    luaL_argcheck(L, offset % size == 0 && offset <= buffer->length, 3,
                  "outside the buffer, or between two elements");
    size_t room = (buffer->length - offset) / size;
    bool tracks = lua_isnoneornil(L, 4) && buffer->resizable;
    size_t count = lua_isnoneornil(L, 4) ? room : check_size(L, 4);
    luaL_argcheck(L, count <= room, 4, "longer than the buffer");
    luaL_argcheck(L, tracks || !lua_isnoneornil(L, 4) || (buffer->length - offset) % size == 0, 2,
                  "the buffer ends inside an element");
    struct muster__lua_view *view = muster__lua_push_view(L, 1, element);
    view->tracks = tracks;
    view->offset = offset;
    view->count = tracks ? 0 : count;
    return 1;
}

/* Where the view's bytes are; leaves the buffer on top. */
static unsigned char *check_span(lua_State *L, const struct muster__lua_view *view,
                                 size_t *ret_count)
{
    lua_getiuservalue(L, 1, 1);
    const struct muster__lua_buffer *buffer = lua_touserdata(L, -1);
    if (!muster__lua_view_count(view, buffer, ret_count))
        luaL_error(L, "the view lies outside its buffer");
    return buffer->data + view->offset;
}

static int view_string(lua_State *L)
{
    size_t count = 0;
    const struct muster__lua_view *view = check_kind(L, 1, MUSTER__LUA_VIEW);
    lua_settop(L, 3);
    const unsigned char *data = check_span(L, view, &count);
    return push_part(L, data, count * muster__lua_element_size(view->element));
}

static int view_put(lua_State *L)
{
    size_t count = 0;
    const struct muster__lua_view *view = check_kind(L, 1, MUSTER__LUA_VIEW);
    lua_settop(L, 3);
    unsigned char *data = check_span(L, view, &count);
    return put_part(L, data, count * muster__lua_element_size(view->element));
}

static int view_length(lua_State *L)
{
    size_t count = 0;
    const struct muster__lua_view *view = check_kind(L, 1, MUSTER__LUA_VIEW);
    check_span(L, view, &count);
    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

static double half_to_double(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double magnitude = exponent == 0    ? ldexp(fraction, -24)
                       : exponent == 31 ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                                        : ldexp(fraction + 1024, exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

/* To the nearest, ties to even. */
static uint16_t double_to_half(double number)
{
    uint16_t sign = signbit(number) ? 0x8000 : 0;
    double magnitude = fabs(number);
    if (isnan(number))
        return 0x7e00;
    if (magnitude >= 65520)
        return sign | 0x7c00;
    if (magnitude < ldexp(1, -14))
        return sign | (uint16_t)nearbyint(ldexp(magnitude, 24));
    int exponent;
    double fraction = frexp(magnitude, &exponent); /* 0.5 to 1 */
    return (uint16_t)(sign + ((exponent + 13) << 10) + (int)nearbyint(ldexp(fraction, 11)));
}

static void push_element(lua_State *L, const unsigned char *at, enum muster__lua_element element)
{
    union {
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        float f32;
        double f64;
    } bits;
    memcpy(&bits, at, muster__lua_element_size(element));
    switch (element) {
    case MUSTER__LUA_INT8:
        lua_pushinteger(L, (int8_t)*at);
        break;
    case MUSTER__LUA_INT16:
        lua_pushinteger(L, (int16_t)bits.u16);
        break;
    case MUSTER__LUA_UINT16:
        lua_pushinteger(L, bits.u16);
        break;
    case MUSTER__LUA_INT32:
        lua_pushinteger(L, (int32_t)bits.u32);
        break;
    case MUSTER__LUA_UINT32:
        lua_pushinteger(L, bits.u32);
        break;
    case MUSTER__LUA_FLOAT16:
        lua_pushnumber(L, half_to_double(bits.u16));
        break;
    case MUSTER__LUA_FLOAT32:
        lua_pushnumber(L, (double)bits.f32);
        break;
    case MUSTER__LUA_FLOAT64:
        lua_pushnumber(L, bits.f64);
        break;
    case MUSTER__LUA_BIGINT64:
        lua_pushinteger(L, (lua_Integer)bits.u64);
        break;
    case MUSTER__LUA_BIGUINT64:
        if (bits.u64 <= (uint64_t)LUA_MAXINTEGER)
            lua_pushinteger(L, (lua_Integer)bits.u64);
        else
            push_big_integer(L, false, bits.u64);
        break;
    default:
        lua_pushinteger(L, *at);
    }
}

/* The low 64 bits of an integer, a float or a BigInt, as JavaScript takes them for integer elements. */
static uint64_t low_bits(lua_State *L, int index)
{
    if (lua_isinteger(L, index))
        return (uint64_t)lua_tointeger(L, index);
    if (lua_type(L, index) == LUA_TUSERDATA) {
        const struct muster__lua_bigint *big = check_kind(L, index, MUSTER__LUA_BIGINT);
        uint64_t bits = 0;
        for (size_t i = 0; i < big->length && i < sizeof bits; i++)
            bits |= (uint64_t)big->bytes[i] << (8 * i);
        return big->negative ? 0 - bits : bits;
    }
    double number = luaL_checknumber(L, index);
    if (!isfinite(number))
        return 0;
    number = fmod(trunc(number), 4294967296.0); /* enough for 32 bits */
    return (uint64_t)(int64_t)number;
}

static unsigned char clamp(double number)
{
    if (!(number > 0))
        return 0;
    return number >= 255 ? 255 : (unsigned char)nearbyint(number);
}

static void put_element(lua_State *L, int index, unsigned char *at, enum muster__lua_element element)
{
    uint64_t bits;
    size_t size = muster__lua_element_size(element);
    if (element == MUSTER__LUA_UINT8_CLAMPED) {
        *at = clamp(luaL_checknumber(L, index));
    } else if (element == MUSTER__LUA_FLOAT16) {
        uint16_t half = double_to_half(luaL_checknumber(L, index));
        memcpy(at, &half, size);
    } else if (element == MUSTER__LUA_FLOAT32) {
        float number = (float)luaL_checknumber(L, index);
        memcpy(at, &number, size);
    } else if (element == MUSTER__LUA_FLOAT64) {
        double number = luaL_checknumber(L, index);
        memcpy(at, &number, size);
    } else {
        bits = low_bits(L, index);
        memcpy(at, &bits, size); /* little endian, as the format is */
    }
}

/* Also the length, the buffer and the methods: a view has no other fields. */
static int view_index(lua_State *L)
{
    size_t count = 0;
    const struct muster__lua_view *view = check_kind(L, 1, MUSTER__LUA_VIEW);
    if (!lua_isinteger(L, 2)) {
        const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
        if (strcmp(name, "buffer") == 0)
            lua_getiuservalue(L, 1, 1);
        else if (strcmp(name, "element") == 0)
            lua_pushstring(L, element_names[view->element]);
        else if (strcmp(name, "offset") == 0)
            lua_pushinteger(L, (lua_Integer)view->offset);
        else
            lua_getfield(L, lua_upvalueindex(1), name);
        return 1;
    }
    const unsigned char *data = check_span(L, view, &count);
    lua_Integer i = lua_tointeger(L, 2);
    if (i < 1 || (size_t)i > count)
        lua_pushnil(L);
    else
        push_element(L, data + (size_t)(i - 1) * muster__lua_element_size(view->element),
                     view->element);
    return 1;
}

static int view_set_index(lua_State *L)
{
    size_t count = 0;
    const struct muster__lua_view *view = check_kind(L, 1, MUSTER__LUA_VIEW);
    lua_Integer i = luaL_checkinteger(L, 2);
    lua_settop(L, 3);
    unsigned char *data = check_span(L, view, &count);
    luaL_argcheck(L, i >= 1 && (size_t)i <= count, 2, "outside the view");
    put_element(L, 3, data + (size_t)(i - 1) * muster__lua_element_size(view->element),
                view->element);
    return 0;
}

/* ---- maps and sets ---- */

struct muster__lua_map *muster__lua_push_map(lua_State *L, bool is_set)
{
    struct muster__lua_map *map = lua_newuserdatauv(L, sizeof *map, 3);
    memset(map, 0, sizeof *map);
    map->is_set = is_set;
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 2);
    muster__lua_set_kind(L, is_set ? MUSTER__LUA_SET : MUSTER__LUA_MAP);
    return map;
}

static void push_text_of_big(lua_State *L, bool negative, const unsigned char *bytes, size_t length)
{
    lua_pushstring(L, negative ? "-" : "+");
    lua_pushlstring(L, (const char *)bytes, length);
    lua_concat(L, 2);
}

/* Numbers that are equal in Lua and differ in JavaScript, or the other way round: 2^60 is an integer (a
 * BigInt) or a float, and a BigInt is equal to another by its value.  Pushes a text that tells them apart. */
static bool push_odd_key(lua_State *L, int index)
{
    if (lua_isinteger(L, index)) {
        lua_Integer integer = lua_tointeger(L, index);
        if (integer >= -MUSTER__LUA_SAFE_INTEGER && integer <= MUSTER__LUA_SAFE_INTEGER)
            return false;
        push_big_integer(L, integer < 0,
                         integer < 0 ? 0 - (lua_Unsigned)integer : (lua_Unsigned)integer);
        const struct muster__lua_bigint *big = lua_touserdata(L, -1);
        push_text_of_big(L, big->negative, big->bytes, big->length);
        lua_remove(L, -2);
        return true;
    }
    if (lua_type(L, index) == LUA_TUSERDATA && muster__lua_kind_of(L, index) == MUSTER__LUA_BIGINT) {
        const struct muster__lua_bigint *big = lua_touserdata(L, index);
        push_text_of_big(L, big->negative, big->bytes, big->length);
        return true;
    }
    if (lua_type(L, index) == LUA_TNUMBER && fabs(lua_tonumber(L, index)) > (double)MUSTER__LUA_SAFE_INTEGER) {
        lua_Number number = lua_tonumber(L, index);
        lua_pushliteral(L, "f");
        lua_pushlstring(L, (const char *)&number, sizeof number);
        lua_concat(L, 2);
        return true;
    }
    return false;
}

/* Pushes the index table (or nil, when there is none of that kind yet) and the key in it. */
static void push_place_key(lua_State *L, int map, int key)
{
    lua_getiuservalue(L, map, 2);
    if (lua_isnil(L, key))
        lua_pushlightuserdata(L, (void *)&muster__lua_undefined_key);
    else if (lua_type(L, key) == LUA_TNUMBER && isnan(lua_tonumber(L, key)))
        lua_pushlightuserdata(L, (void *)&not_a_number_key);
    else if (!push_odd_key(L, key))
        lua_pushvalue(L, key);
    else {
        lua_getiuservalue(L, map, 3);
        lua_replace(L, -3);
    }
}

static size_t find_place(lua_State *L, int map, int key)
{
    push_place_key(L, map, key);
    size_t place = 0;
    if (lua_istable(L, -2)) {
        lua_rawget(L, -2);
        place = (size_t)lua_tointeger(L, -1);
    }
    lua_pop(L, 2);
    return place;
}

static void set_place(lua_State *L, int map, int key, size_t place)
{
    push_place_key(L, map, key);
    if (lua_isnil(L, -2)) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, map, 3);
        lua_replace(L, -3);
    }
    if (place > 0)
        lua_pushinteger(L, (lua_Integer)place);
    else
        lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* `at` in the items: of a map, twice as many. */
static lua_Integer item_at(bool is_set, size_t place)
{
    return is_set ? (lua_Integer)place : 2 * (lua_Integer)place - 1;
}

bool muster__lua_map_push_key(lua_State *L, int items, bool is_set, size_t place)
{
    lua_rawgeti(L, items, item_at(is_set, place));
    if (lua_touserdata(L, -1) != (const void *)&deleted_key)
        return true;
    lua_pop(L, 1);
    return false;
}

/* Moves what is left together, once most places are of deleted items. */
static void compact(lua_State *L, int map, struct muster__lua_map *head)
{
    int step = head->is_set ? 1 : 2;
    size_t kept = 0;
    lua_createtable(L, (int)(head->count < INT32_MAX / 4 ? head->count * (size_t)step : 0), 0);
    int to = lua_gettop(L);
    lua_getiuservalue(L, map, 1);
    int from = to + 1;
    for (size_t place = 1; place <= head->used; place++) {
        if (!muster__lua_map_push_key(L, from, head->is_set, place))
            continue;
        kept++;
        lua_pushvalue(L, -1);
        lua_rawseti(L, to, item_at(head->is_set, kept));
        set_place(L, map, lua_gettop(L), kept);
        lua_pop(L, 1);
        if (!head->is_set) {
            lua_rawgeti(L, from, item_at(false, place) + 1);
            lua_rawseti(L, to, item_at(false, kept) + 1);
        }
    }
    lua_pop(L, 1);
    lua_setiuservalue(L, map, 1);
    head->used = kept;
}

/* nil cannot stand in a table. */
static void replace_nil(lua_State *L, int index)
{
    if (!lua_isnil(L, index))
        return;
    lua_pushlightuserdata(L, (void *)&muster__lua_undefined_key);
    lua_replace(L, index);
}

void muster__lua_map_put(lua_State *L, int index)
{
    int map = lua_absindex(L, index);
    struct muster__lua_map *head = lua_touserdata(L, map);
    int key = lua_gettop(L) - (head->is_set ? 0 : 1);
    luaL_checkstack(L, 20, "a map");
    replace_nil(L, key);
    replace_nil(L, lua_gettop(L));
    size_t place = find_place(L, map, key);
    if (place == 0 && head->used >= 32 && head->used > 2 * head->count)
        compact(L, map, head);
    bool is_new = place == 0;
    lua_getiuservalue(L, map, 1);
    if (is_new) {
        place = head->used + 1;
        if (lua_type(L, key) == LUA_TNUMBER && lua_tonumber(L, key) == 0)
            lua_pushinteger(L, 0); /* -0 is 0 as a key */
        else
            lua_pushvalue(L, key);
        lua_rawseti(L, -2, item_at(head->is_set, place));
    }
    if (!head->is_set) {
        lua_pushvalue(L, key + 1);
        lua_rawseti(L, -2, item_at(false, place) + 1);
    }
    if (is_new) {
        set_place(L, map, key, place);
        head->used++;
        head->count++;
    }
    lua_settop(L, key - 1);
}

static struct muster__lua_map *check_map(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TUSERDATA && muster__lua_kind_of(L, 1) == MUSTER__LUA_SET)
        return lua_touserdata(L, 1);
    return check_kind(L, 1, MUSTER__LUA_MAP);
}

static int map_set(lua_State *L)
{
    bool is_set = check_map(L)->is_set;
    luaL_checkany(L, 2);
    lua_settop(L, is_set ? 2 : 3);
    muster__lua_map_put(L, 1);
    return 1; /* the map */
}

static int map_get(lua_State *L)
{
    check_kind(L, 1, MUSTER__LUA_MAP);
    lua_settop(L, 2);
    size_t place = find_place(L, 1, 2);
    lua_getiuservalue(L, 1, 1);
    if (place > 0)
        lua_rawgeti(L, -1, item_at(false, place) + 1);
    else
        lua_pushnil(L);
    return 1;
}

static int map_has(lua_State *L)
{
    check_map(L);
    lua_settop(L, 2);
    lua_pushboolean(L, find_place(L, 1, 2) > 0);
    return 1;
}

static int map_delete(lua_State *L)
{
    struct muster__lua_map *head = check_map(L);
    lua_settop(L, 2);
    size_t place = find_place(L, 1, 2);
    lua_pushboolean(L, place > 0);
    if (place == 0)
        return 1;
    lua_getiuservalue(L, 1, 1);
    lua_pushlightuserdata(L, (void *)&deleted_key);
    lua_rawseti(L, -2, item_at(head->is_set, place));
    if (!head->is_set) {
        lua_pushboolean(L, 0);
        lua_rawseti(L, -2, item_at(false, place) + 1);
    }
    lua_pop(L, 1);
    set_place(L, 1, 2, 0);
    head->count--;
    return 1;
}

static int map_length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_map(L)->count);
    return 1;
}

/* Upvalues: the map, the place reached. */
static int map_next(lua_State *L)
{
    const struct muster__lua_map *head = lua_touserdata(L, lua_upvalueindex(1));
    size_t place = (size_t)lua_tointeger(L, lua_upvalueindex(2));
    lua_settop(L, 0);
    lua_getiuservalue(L, lua_upvalueindex(1), 1);
    while (place < head->used) {
        bool found = muster__lua_map_push_key(L, 1, head->is_set, ++place);
        lua_pushinteger(L, (lua_Integer)place);
        lua_replace(L, lua_upvalueindex(2));
        if (!found)
            continue;
        if (head->is_set)
            return 1;
        lua_rawgeti(L, 1, item_at(false, place) + 1);
        return 2;
    }
    lua_pushnil(L);
    return 1;
}

static int map_pairs(lua_State *L)
{
    check_map(L);
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, map_next, 2);
    return 1;
}

static int new_map(lua_State *L, bool is_set)
{
    lua_settop(L, 1);
    if (!lua_isnil(L, 1))
        luaL_checktype(L, 1, LUA_TTABLE);
    muster__lua_push_map(L, is_set);
    lua_Integer count = lua_isnil(L, 1) ? 0 : (lua_Integer)lua_rawlen(L, 1);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        if (!is_set) {
            luaL_argcheck(L, lua_istable(L, -1), 1, "a list of {key, value} expected");
            lua_rawgeti(L, -1, 1);
            lua_rawgeti(L, -2, 2);
            lua_remove(L, -3);
        }
        muster__lua_map_put(L, 2);
    }
    return 1;
}

static int muster_map(lua_State *L)
{
    return new_map(L, false);
}

static int muster_set(lua_State *L)
{
    return new_map(L, true);
}

/* ---- tables: dates, regular expressions, errors ---- */

static int muster_date(lua_State *L)
{
    luaL_checknumber(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "time");
    muster__lua_set_kind(L, MUSTER__LUA_DATE);
    return 1;
}

static int muster_regexp(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_optstring(L, 2, "");
    lua_settop(L, 2);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, 1);
    lua_setfield(L, 3, "source");
    lua_pushstring(L, luaL_optstring(L, 2, ""));
    lua_setfield(L, 3, "flags");
    lua_pushinteger(L, 0);
    lua_setfield(L, 3, "last_index");
    muster__lua_set_kind(L, MUSTER__LUA_REGEXP);
    return 1;
}

static int muster_error(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1))
        return luaL_argerror(L, 1, "a table without a metatable expected");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_error_key);
    lua_setmetatable(L, 1);
    return 1;
}

static int muster_type(lua_State *L)
{
    luaL_checkany(L, 1);
    int type = lua_type(L, 1);
    enum muster__lua_kind kind = type == LUA_TTABLE || type == LUA_TUSERDATA
                                     ? muster__lua_kind_of(L, 1)
                                     : MUSTER__LUA_PLAIN;
    if (kind == MUSTER__LUA_ERROR)
        lua_pushliteral(L, "error");
    else if (kind_names[kind] != NULL)
        lua_pushstring(L, kind_names[kind]);
    else
        lua_pushstring(L, luaL_typename(L, 1));
    return 1;
}

/* ---- metatables ---- */

static int bytes_collect(lua_State *L)
{
    struct muster__lua_bytes *bytes = lua_touserdata(L, 1);
    for (size_t i = 0; i < lua_rawlen(L, 1) / sizeof *bytes; i++) {
        free(bytes[i].data);
        bytes[i].data = NULL;
    }
    return 0;
}

static const luaL_Reg bigint_methods[] = {{"integer", bigint_integer}, {NULL, NULL}};
static const luaL_Reg bigint_events[] = {{"__tostring", bigint_to_text},
                                         {"__eq", bigint_equal},
                                         {"__lt", bigint_less},
                                         {"__le", bigint_less_or_equal},
                                         {NULL, NULL}};
static const luaL_Reg buffer_methods[] = {
    {"string", buffer_string}, {"put", buffer_put}, {"resize", buffer_resize}, {NULL, NULL}};
static const luaL_Reg buffer_events[] = {{"__len", buffer_length}, {NULL, NULL}};
static const luaL_Reg view_methods[] = {{"string", view_string}, {"put", view_put}, {NULL, NULL}};
static const luaL_Reg view_events[] = {
    {"__len", view_length}, {"__newindex", view_set_index}, {NULL, NULL}};
static const luaL_Reg map_methods[] = {
    {"get", map_get}, {"set", map_set}, {"has", map_has}, {"delete", map_delete}, {NULL, NULL}};
static const luaL_Reg set_methods[] = {
    {"add", map_set}, {"has", map_has}, {"delete", map_delete}, {NULL, NULL}};
static const luaL_Reg map_events[] = {{"__len", map_length}, {"__pairs", map_pairs}, {NULL, NULL}};
static const luaL_Reg bytes_events[] = {{"__gc", bytes_collect}, {NULL, NULL}};

static const luaL_Reg *const methods[MUSTER__LUA_KIND_COUNT] = {
    [MUSTER__LUA_BIGINT] = bigint_methods, [MUSTER__LUA_BUFFER] = buffer_methods,
    [MUSTER__LUA_VIEW] = view_methods,     [MUSTER__LUA_MAP] = map_methods,
    [MUSTER__LUA_SET] = set_methods,
};

static const luaL_Reg *const events[MUSTER__LUA_KIND_COUNT] = {
    [MUSTER__LUA_BIGINT] = bigint_events, [MUSTER__LUA_BUFFER] = buffer_events,
    [MUSTER__LUA_VIEW] = view_events,     [MUSTER__LUA_MAP] = map_events,
    [MUSTER__LUA_SET] = map_events,       [MUSTER__LUA_BYTES] = bytes_events,
};

/* On top: the metatable. */
static void add_methods(lua_State *L, enum muster__lua_kind kind)
{
    if (events[kind] != NULL)
        luaL_setfuncs(L, events[kind], 0);
    if (methods[kind] == NULL)
        return;
    lua_newtable(L);
    luaL_setfuncs(L, methods[kind], 0);
    if (kind == MUSTER__LUA_VIEW)
        lua_pushcclosure(L, view_index, 1);
    lua_setfield(L, -2, "__index");
}

static void push_metatable(lua_State *L, enum muster__lua_kind kind)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kind_keys[kind]) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    add_methods(L, kind);
    lua_pushstring(L, kind_names[kind]);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushinteger(L, kind);
    lua_rawsetp(L, -2, &kind_key);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kind_keys[kind]);
}

void muster__lua_set_kind(lua_State *L, enum muster__lua_kind kind)
{
    if (kind == MUSTER__LUA_LIST)
        lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_array_key);
    else if (kind == MUSTER__LUA_ERROR)
        lua_rawgetp(L, LUA_REGISTRYINDEX, &muster__lua_error_key);
    else
        push_metatable(L, kind);
    lua_setmetatable(L, -2);
}

void muster__lua_open_clone_types(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"bigint", muster_bigint}, {"buffer", muster_buffer}, {"view", muster_view},
        {"map", muster_map},       {"set", muster_set},       {"date", muster_date},
        {"regexp", muster_regexp}, {"error", muster_error},   {"type", muster_type},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    lua_pushlightuserdata(L, (void *)&muster__lua_undefined_key);
    lua_setfield(L, -2, "undefined");
}
