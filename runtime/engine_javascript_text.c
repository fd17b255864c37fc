/* runtime/engine_javascript_text.c - texts and bytes between C and JavaScriptCore.
 *
 * Scripts have UTF-16 with lone surrogates, C has UTF-8 that may be malformed: each direction gives
 * U+FFFD for what the other cannot say.  Thread: the VM's. */
#include "runtime/engine_javascript.h"

#include <stdlib.h>
#include <string.h>

#define SCRATCH_KEPT (64 * 1024)

static bool is_ascii(const char *text, size_t length)
{
    size_t i = 0;
    for (uint64_t word; i + sizeof word <= length; i += sizeof word) {
        memcpy(&word, text + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            return false;
    }
    for (; i < length; i++)
        if ((unsigned char)text[i] & 0x80)
            return false;
    return true;
}

/* One code point by the rules of the encoding standard: a malformed sequence takes the longest prefix
 * that could have been a good one.  UINT32_MAX: malformed. */
static uint32_t decode_one(const unsigned char *bytes, size_t length, size_t *ret_taken)
{
    unsigned char first = bytes[0], low = 0x80, high = 0xBF;
    unsigned more = first < 0xC2 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : 0;
    *ret_taken = 1;
    if (first < 0x80)
        return first;
    if (more == 0)
        return UINT32_MAX;
    uint32_t point = first & (0x3Fu >> more);
    if (first == 0xE0)
        low = 0xA0;
    if (first == 0xED)
        high = 0x9F;
    if (first == 0xF0)
        low = 0x90;
    if (first == 0xF4)
        high = 0x8F;
    for (unsigned i = 1; i <= more; i++) {
        if (i >= length || bytes[i] < low || bytes[i] > high)
            return UINT32_MAX;
        low = 0x80;
        high = 0xBF;
        point = point << 6 | (bytes[i] & 0x3Fu);
        *ret_taken = i + 1;
    }
    return point;
}

/* NULL: out of memory, or malformed and fatal (then *ret_malformed). */
static JSStringRef decode(const unsigned char *bytes, size_t length, bool fatal, bool *ret_malformed)
{
    JSChar *units = malloc((length ? length : 1) * sizeof *units);
    size_t count = 0;
    if (!units)
        return NULL;
    for (size_t i = 0, taken; i < length; i += taken) {
        uint32_t point = decode_one(bytes + i, length - i, &taken);
        if (point == UINT32_MAX) {
            if (fatal) {
                *ret_malformed = true;
                free(units);
                return NULL;
            }
            point = 0xFFFD;
        }
        if (point >= 0x10000) {
            units[count++] = (JSChar)(0xD800 + ((point - 0x10000) >> 10));
            point = 0xDC00 + ((point - 0x10000) & 0x3FF);
        }
        units[count++] = (JSChar)point;
    }
    JSStringRef string = JSStringCreateWithCharacters(units, count);
    free(units);
    return string;
}

/* Of ASCII without NUL the engine makes a string of one byte a character. */
static JSStringRef narrow(const char *text, size_t length)
{
    char small[512], *copy = length < sizeof small ? small : malloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    JSStringRef string = JSStringCreateWithUTF8CString(copy);
    if (copy != small)
        free(copy);
    return string;
}

JSStringRef muster__js_string(const char *text, size_t length)
{
    bool malformed;
    if (length == 0)
        return JSStringCreateWithUTF8CString("");
    if (is_ascii(text, length) && !memchr(text, '\0', length))
        return narrow(text, length);
    return decode((const unsigned char *)text, length, false, &malformed);
}

JSValueRef muster__js_text(JSContextRef context, const char *text)
{
    JSStringRef string = text ? muster__js_string(text, strlen(text)) : NULL;
    if (!string)
        return JSValueMakeUndefined(context);
    JSValueRef value = JSValueMakeString(context, string);
    JSStringRelease(string);
    return value;
}

JSValueRef muster__js_decode_utf8(JSContextRef context, const unsigned char *bytes, size_t length,
                                  bool fatal, JSValueRef *exception)
{
    bool malformed = false;
    const char *text = (const char *)bytes;
    JSStringRef string = length == 0 ? JSStringCreateWithUTF8CString("")
                         : is_ascii(text, length) && !memchr(text, '\0', length)
                             ? narrow(text, length)
                             : decode(bytes, length, fatal, &malformed);
    if (!string) {
        if (malformed)
            return muster__js_throw(context, "TypeError", "the bytes are not UTF-8", exception);
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    JSValueRef value = JSValueMakeString(context, string);
    JSStringRelease(string);
    return value;
}

bool muster__js_reserve_scratch(struct muster__vm *vm, size_t size)
{
    if (size <= vm->scratch_size && vm->scratch_size <= SCRATCH_KEPT)
        return true;
    size_t wanted = size < 1024 ? 1024 : size;
    if (wanted == vm->scratch_size)
        return true;
    char *scratch = realloc(vm->scratch, wanted);
    if (!scratch)
        return size <= vm->scratch_size;
    vm->scratch = scratch;
    vm->scratch_size = wanted;
    return true;
}

static size_t put(char *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (char)(0xC0 | point >> 6);
        to[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (char)(0xE0 | point >> 12);
        to[1] = (char)(0x80 | (point >> 6 & 0x3F));
        to[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | point >> 18);
    to[1] = (char)(0x80 | (point >> 12 & 0x3F));
    to[2] = (char)(0x80 | (point >> 6 & 0x3F));
    to[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

/* What the engine's own conversion refuses: lone surrogates. */
static size_t encode_leniently(JSStringRef string, char *to)
{
    const JSChar *units = JSStringGetCharactersPtr(string);
    size_t count = JSStringGetLength(string), length = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t point = units[i];
        if (point >= 0xD800 && point < 0xDC00 && i + 1 < count && units[i + 1] >= 0xDC00 &&
            units[i + 1] < 0xE000)
            point = 0x10000 + ((point - 0xD800) << 10) + (units[++i] - 0xDC00u);
        else if (point >= 0xD800 && point < 0xE000)
            point = 0xFFFD;
        length += put(to + length, point);
    }
    to[length] = '\0';
    return length;
}

/* `size` is at least what the engine asks for. */
static size_t encode(JSStringRef string, char *to, size_t size)
{
    size_t written = JSStringGetUTF8CString(string, to, size);
    if (written <= 1 && JSStringGetLength(string) > 0)
        return encode_leniently(string, to);
    to[written > 0 ? written - 1 : 0] = '\0';
    return written > 0 ? written - 1 : 0;
}

char *muster__js_scratch(struct muster__vm *vm, JSStringRef string, size_t *ret_length)
{
    size_t size = JSStringGetMaximumUTF8CStringSize(string);
    if (!muster__js_reserve_scratch(vm, size))
        return NULL;
    *ret_length = encode(string, vm->scratch, vm->scratch_size);
    return vm->scratch;
}

bool muster__js_is_well_formed(JSStringRef string, size_t length)
{
    size_t count = JSStringGetLength(string);
    if (length == count)
        return true; /* all ASCII */
    const JSChar *units = JSStringGetCharactersPtr(string);
    for (size_t i = 0; i < count; i++) {
        if (units[i] < 0xD800 || units[i] >= 0xE000)
            continue;
        if (units[i] >= 0xDC00 || i + 1 == count || units[i + 1] < 0xDC00 || units[i + 1] >= 0xE000)
            return false;
        i++;
    }
    return true;
}

char *muster__js_copy_text(JSContextRef context, JSValueRef value, size_t *ret_length)
{
    JSStringRef string = JSValueToStringCopy(context, value, NULL);
    if (!string)
        return NULL;
    size_t size = JSStringGetMaximumUTF8CStringSize(string), length = 0;
    char *text = malloc(size);
    if (text)
        length = encode(string, text, size);
    JSStringRelease(string);
    char *fitting = text ? realloc(text, length + 1) : NULL;
    if (ret_length)
        *ret_length = length;
    return fitting ? fitting : text;
}

static void free_bytes(void *bytes, void *user_data)
{
    (void)user_data;
    free(bytes);
}

JSValueRef muster__js_bytes(JSContextRef context, void *take_bytes, size_t length,
                            JSValueRef *exception)
{
    JSObjectRef array = JSObjectMakeTypedArrayWithBytesNoCopy(
        context, kJSTypedArrayTypeUint8Array, take_bytes, length, free_bytes, NULL, exception);
    return array ? array : JSValueMakeUndefined(context);
}

JSValueRef muster__js_copied_bytes(JSContextRef context, const void *bytes, size_t length,
                                   JSValueRef *exception)
{
    void *copy = malloc(length ? length : 1);
    if (!copy) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    if (length > 0)
        memcpy(copy, bytes, length);
    return muster__js_bytes(context, copy, length, exception);
}

bool muster__js_view(JSContextRef context, JSValueRef value, struct muster_bytes *ret_bytes)
{
    JSTypedArrayType type = JSValueGetTypedArrayType(context, value, NULL);
    if (type == kJSTypedArrayTypeNone)
        return false;
    JSObjectRef object = (JSObjectRef)value;
    if (type == kJSTypedArrayTypeArrayBuffer) {
        ret_bytes->data = JSObjectGetArrayBufferBytesPtr(context, object, NULL);
        ret_bytes->length = ret_bytes->data ? JSObjectGetArrayBufferByteLength(context, object, NULL)
                                            : 0;
        return true;
    }
    const char *start = JSObjectGetTypedArrayBytesPtr(context, object, NULL);
    ret_bytes->data = start ? start + JSObjectGetTypedArrayByteOffset(context, object, NULL) : NULL;
    ret_bytes->length = start ? JSObjectGetTypedArrayByteLength(context, object, NULL) : 0;
    return true;
}

JSValueRef muster__js_throw(JSContextRef context, const char *name, const char *message,
                            JSValueRef *exception)
{
    JSValueRef error =
        muster__js_make_error(muster__js_of(context), context, name, message, NULL);
    if (exception)
        *exception = error;
    return JSValueMakeUndefined(context);
}

void muster__js_out_of_memory(JSContextRef context, JSValueRef *exception)
{
    (void)muster__js_throw(context, "RangeError", "out of memory", exception);
}
