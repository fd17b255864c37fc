/* runtime/engine_javascript_clone.c - what scripts send each other: messages of the codec in JavaScript.
 *
 * The codec (the chunk `clone`) writes into an array of its own and reads from one; the bytes are copied
 * between these and the message's memory, which costs less than making an array.  Large buffers travel
 * beside the bytes, see engine_javascript_buffer.c.
 *
 * Numbers, strings and the like go without the codec, as does what only C will read and a tree can say:
 * a worker that sends nothing else never loads the chunk.  Thread: the VM's. */
#include "runtime/engine_javascript.h"

#include <stdlib.h>
#include <string.h>

#define INBOX_LARGEST (256u * 1024u) /* longer messages get an array of their own */

enum { TAG_BIGINT = 0x07, TAG_UTF16 = 0x09, TAG_OBJECT = 0x10, TAG_PLATFORM = 0x21 };

/* ---- out ---- */

static bool copy_bytes(JSContextRef context, JSValueRef array, size_t length,
                       struct muster_clone_buffer *ret_bytes)
{
    struct muster_bytes bytes = {NULL, 0};
    if (!muster__js_view(context, array, &bytes) || bytes.data == NULL || bytes.length < length)
        return false;
    return muster_clone_buffer_copy(bytes.data, length, ret_bytes) == MUSTER_OK;
}

static size_t count_of(struct muster__realm *realm, JSContextRef context, JSValueRef array)
{
    if (!JSValueIsObject(context, array))
        return 0;
    JSValueRef length =
        JSObjectGetProperty(context, (JSObjectRef)array, realm->names[JS_NAME_LENGTH], NULL);
    double count = length != NULL ? JSValueToNumber(context, length, NULL) : 0;
    return count > 0 ? (size_t)count : 0;
}

/* An ArrayBuffer, or the id of one's content. */
static bool take_buffer(struct muster__realm *realm, JSContextRef context, JSValueRef item,
                        struct muster_clone_buffer *ret_buffer)
{
    if (JSValueIsObject(context, item))
        return muster__js_buffer_take(realm, context, (JSObjectRef)item, ret_buffer);
    *ret_buffer = muster__js_buffer_kept(JSValueToNumber(context, item, NULL));
    return true;
}

/* NULL: out of memory, or there are none. */
static struct muster_clone_buffer *take_buffers(struct muster__realm *realm, JSContextRef context,
                                                JSValueRef list, size_t count)
{
    struct muster_clone_buffer *buffers = count > 0 ? calloc(count, sizeof *buffers) : NULL;
    for (size_t i = 0; buffers != NULL && i < count; i++) {
        JSValueRef item =
            JSObjectGetPropertyAtIndex(context, (JSObjectRef)list, (unsigned)i, NULL);
        if (item != NULL && take_buffer(realm, context, item, &buffers[i]))
            continue;
        for (size_t j = i + 1; j < count; j++) { /* ids are references */
            item = JSObjectGetPropertyAtIndex(context, (JSObjectRef)list, (unsigned)j, NULL);
            if (item != NULL && JSValueIsNumber(context, item))
                muster__js_buffer_keep(JSValueToNumber(context, item, NULL), false);
        }
        while (i-- > 0)
            muster_clone_buffer_clean_up(&buffers[i]);
        free(buffers);
        return NULL;
    }
    return buffers;
}

/* NULL: out of memory. */
static struct muster_clone *make_message(struct muster__realm *realm, JSContextRef context, JSValueRef array,
                                         size_t length, JSValueRef list, size_t host_count)
{
    struct muster_clone_buffer bytes = {0};
    struct muster_clone *clone = NULL;
    size_t count = count_of(realm, context, list);
    struct muster_clone_buffer *buffers = take_buffers(realm, context, list, count);
    if ((count == 0 || buffers != NULL) && copy_bytes(context, array, length, &bytes) &&
        muster_clone_new(&bytes, buffers, count, host_count, &clone) != MUSTER_OK)
        clone = NULL;
    for (size_t i = 0; buffers != NULL && i < count; i++)
        muster_clone_buffer_clean_up(&buffers[i]);
    free(buffers);
    muster_clone_buffer_clean_up(&bytes);
    return clone;
}

/* packed(array, length, buffers): the encoder is done. */
MUSTER__JS_CALLBACK(muster__js_native_packed)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count >= 3);
    size_t length = (size_t)JSValueToNumber(context, arguments[1], NULL);
    muster_clone_release(realm->packed);
    realm->packed = make_message(realm, context, arguments[0], length, arguments[2], 0);
    if (realm->packed == NULL)
        muster__js_out_of_memory(context, exception);
    return JSValueMakeUndefined(context);
}

struct muster_value *muster__js_packed_value(struct muster__realm *realm, JSContextRef context, JSValueRef array,
                                             size_t length, JSValueRef buffers, size_t host_count,
                                             JSValueRef *exception)
{
    struct muster_value *value =
        muster_value_new_clone(make_message(realm, context, array, length, buffers, host_count));
    if (value == NULL)
        muster__js_out_of_memory(context, exception);
    return value;
}

/* keep(id, whether) */
MUSTER__JS_CALLBACK(muster__js_native_keep)
{
    (void)function;
    (void)this_object;
    (void)exception;
    MUSTER_CHECK(count == 2);
    muster__js_buffer_keep(JSValueToNumber(context, arguments[0], NULL),
                           JSValueToBoolean(context, arguments[1]));
    return JSValueMakeUndefined(context);
}

/* isHostObject(object), asked by the encoder for what is no plain object. */
MUSTER__JS_CALLBACK(muster__js_native_is_host_object)
{
    (void)function;
    (void)this_object;
    (void)exception;
    bool is_host = count > 0 && muster__js_host_value(context, arguments[0]) != NULL;
    if (is_host)
        muster__js_of(context)->met_host_object = true;
    return JSValueMakeBoolean(context, is_host);
}

static JSObjectRef codec_function(struct muster__realm *realm, enum muster__js_codec which,
                                  JSValueRef *exception)
{
    static const char *const names[JS_CODEC_COUNT] = {"share", "receive"};
    if (realm->codec[which] != NULL)
        return realm->codec[which];
    JSValueRef function = muster__js_export(realm, "clone", names[which], exception);
    if (!JSValueIsObject(realm->context, function))
        return NULL;
    JSValueProtect(realm->context, function);
    return realm->codec[which] = (JSObjectRef)function;
}

static struct muster_value *pack(struct muster__realm *realm, JSContextRef context, JSValueRef value,
                                 bool is_list, JSValueRef *exception)
{
    JSObjectRef share = codec_function(realm, JS_CODEC_SHARE, exception);
    const JSValueRef arguments[] = {value, JSValueMakeBoolean(context, is_list)};
    realm->met_host_object = false;
    if (share == NULL)
        return NULL;
    (void)JSObjectCallAsFunction(context, share, NULL, 2, arguments, exception);
    struct muster_clone *clone = realm->packed;
    realm->packed = NULL;
    if (*exception != NULL || clone == NULL) {
        muster_clone_release(clone);
        return NULL;
    }
    struct muster_value *made = muster_value_new_clone(clone);
    if (made == NULL)
        muster__js_out_of_memory(context, exception);
    return made;
}

struct muster_value *muster__js_pack(struct muster__realm *realm, JSContextRef context,
                                     JSValueRef value, bool is_list, JSValueRef *exception)
{
    JSValueRef thrown = NULL;
    struct muster_value *made = pack(realm, context, value, is_list, &thrown);
    if (made != NULL)
        return made;
    if (thrown != NULL && realm->met_host_object) {
        bool is_rich = false;
        JSValueRef again = NULL;
        realm->met_host_object = false;
        made = muster__js_to_tree(realm, context, value, MUSTER__JS_ANY_DEPTH, &is_rich, &again);
        if (!is_rich)
            thrown = again;
    }
    if (made == NULL && thrown != NULL)
        *exception = thrown;
    else if (made == NULL)
        muster__js_out_of_memory(context, exception);
    return made;
}

struct muster_value *muster__js_to_value(struct muster__realm *realm, JSContextRef context,
                                         JSValueRef value, bool is_list, JSValueRef *exception)
{
    bool is_rich = false;
    struct muster_value *made =
        muster__js_to_tree(realm, context, value, is_list ? 1 : 0, &is_rich, exception);
    return is_rich ? muster__js_pack(realm, context, value, is_list, exception) : made;
}

/* ---- in ---- */

/* What is as quick without the codec, and as exact. */
static bool is_simple(struct muster_bytes bytes)
{
    unsigned tag = bytes.length > 2 ? (unsigned char)bytes.data[2] : TAG_OBJECT;
    return !(tag >= TAG_OBJECT && tag <= TAG_PLATFORM) && tag != TAG_BIGINT && tag != TAG_UTF16;
}

bool muster__js_is_message(const struct muster_value *value)
{
    struct muster_clone *clone = muster_value_clone(value);
    return clone != NULL && (!is_simple(muster_clone_bytes(clone)) || muster__value_plain(value) == value);
}

static void free_memory(void *bytes, void *user_data)
{
    (void)user_data;
    free(bytes);
}

/* An array over memory of ours, which goes with it: a script may call a function of a realm that was closed. */
static JSObjectRef make_box(JSContextRef context, JSTypedArrayType type, size_t size, void *ret_memory,
                            JSValueRef *exception)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        muster__js_out_of_memory(context, exception);
        return NULL;
    }
    JSObjectRef box =
        JSObjectMakeTypedArrayWithBytesNoCopy(context, type, memory, size, free_memory, NULL, exception);
    if (box == NULL)
        return NULL;
    JSValueProtect(context, box);
    memcpy(ret_memory, &memory, sizeof memory);
    return box;
}

static bool grow_inbox(struct muster__realm *realm, JSContextRef context, size_t length,
                       JSValueRef *exception)
{
    size_t size = MUSTER__JS_INBOX_SIZE;
    char *memory = NULL;
    while (size < length)
        size *= 2;
    JSObjectRef inbox = make_box(context, kJSTypedArrayTypeUint8Array, size, &memory, exception);
    if (inbox == NULL)
        return false;
    if (realm->inbox != NULL)
        JSValueUnprotect(context, realm->inbox);
    realm->inbox = inbox;
    realm->inbox_memory = memory;
    realm->inbox_size = size;
    return true;
}

bool muster__js_make_boxes(struct muster__realm *realm, JSContextRef context, JSValueRef *exception)
{
    if (realm->lengths == NULL)
        realm->lengths = make_box(context, kJSTypedArrayTypeUint32Array, 3 * sizeof *realm->box_lengths,
                                  &realm->box_lengths, exception);
    if (realm->lengths != NULL && realm->outbox == NULL)
        realm->outbox = make_box(context, kJSTypedArrayTypeUint8Array, MUSTER__JS_OUTBOX_SIZE,
                                 &realm->outbox_memory, exception);
    return realm->outbox != NULL && realm->lengths != NULL;
}

/* boxes(): [outbox, lengths]: what fits into the outbox is sent without its array being looked at. */
MUSTER__JS_CALLBACK(muster__js_native_boxes)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    (void)count;
    (void)arguments;
    if (!muster__js_make_boxes(realm, context, exception))
        return JSValueMakeUndefined(context);
    const JSValueRef items[] = {realm->outbox, realm->lengths};
    JSObjectRef list = JSObjectMakeArray(context, 2, items, exception);
    return list != NULL ? list : JSValueMakeUndefined(context);
}

static void release_message(void *bytes, void *user_data)
{
    (void)bytes;
    muster_clone_release(user_data);
}

/* An array whose first bytes are the message.  Only the decoder sees it, and that only reads. */
static JSObjectRef array_of(struct muster__realm *realm, JSContextRef context,
                            struct muster_clone *clone, JSValueRef *exception)
{
    struct muster_bytes bytes = muster_clone_bytes(clone);
    if (bytes.length > INBOX_LARGEST)
        return JSObjectMakeTypedArrayWithBytesNoCopy(
            context, kJSTypedArrayTypeUint8Array, (void *)(uintptr_t)bytes.data, bytes.length,
            release_message, muster_clone_acquire(clone), exception);
    if ((realm->inbox == NULL || bytes.length > realm->inbox_size) &&
        !grow_inbox(realm, context, bytes.length, exception))
        return NULL;
    if (bytes.length > 0)
        memcpy(realm->inbox_memory, bytes.data, bytes.length);
    return realm->inbox;
}

/* The buffers, each followed by its id. */
static JSValueRef buffers_of(struct muster__realm *realm, JSContextRef context,
                             const struct muster_value *value, JSValueRef *exception)
{
    size_t count = muster_clone_buffer_count(muster_value_clone(value));
    if (count == 0)
        return JSValueMakeNull(context);
    JSObjectRef list = JSObjectMakeArray(context, 0, NULL, exception);
    for (size_t i = 0; list != NULL && i < count && *exception == NULL; i++) {
        struct muster_clone_buffer buffer = {0};
        JSObjectRef made = NULL;
        double id = 0;
        if (muster__value_take_buffer(value, i, &buffer) == MUSTER_OK)
            made = muster__js_buffer_make(realm, context, &buffer, &id, exception);
        else
            muster__js_out_of_memory(context, exception);
        muster_clone_buffer_clean_up(&buffer);
        if (made == NULL)
            break;
        JSObjectSetPropertyAtIndex(context, list, (unsigned)i * 2, made, exception);
        JSObjectSetPropertyAtIndex(context, list, (unsigned)i * 2 + 1, JSValueMakeNumber(context, id), NULL);
    }
    return list;
}

bool muster__js_parts(struct muster__realm *realm, JSContextRef context, const struct muster_value *value,
                      JSValueRef ret_parts[3], JSValueRef *exception)
{
    struct muster_clone *clone = muster_value_clone(value);
    JSValueRef buffers = buffers_of(realm, context, value, exception);
    JSObjectRef array =
        buffers != NULL && *exception == NULL ? array_of(realm, context, clone, exception) : NULL;
    if (array == NULL)
        return false;
    ret_parts[0] = array;
    ret_parts[1] = JSValueMakeNumber(context, (double)muster_clone_bytes(clone).length);
    ret_parts[2] = buffers;
    return true;
}

JSValueRef muster__js_unpack(struct muster__realm *realm, JSContextRef context,
                             const struct muster_value *value, JSValueRef *exception)
{
    JSValueRef parts[3], decoded = NULL;
    if (!muster__js_is_message(value))
        return muster__js_from_value(realm, context, muster__value_plain(value), exception);
    JSObjectRef receive = codec_function(realm, JS_CODEC_RECEIVE, exception);
    if (receive != NULL && muster__js_parts(realm, context, value, parts, exception))
        decoded = JSObjectCallAsFunction(context, receive, NULL, 3, parts, exception);
    return decoded != NULL ? decoded : JSValueMakeUndefined(context);
}

/* incoming(): what the message says that the entry brought; once. */
MUSTER__JS_CALLBACK(muster__js_native_incoming)
{
    struct muster__realm *realm = muster__js_of(context);
    const struct muster_value *value = realm->incoming;
    (void)function;
    (void)this_object;
    (void)count;
    (void)arguments;
    realm->incoming = NULL;
    MUSTER_CHECK(value != NULL);
    return muster__js_unpack(realm, context, value, exception);
}

void muster__js_clone_clean_up(struct muster__realm *realm)
{
    JSObjectRef *const held[] = {&realm->inbox, &realm->outbox, &realm->lengths, &realm->codec[JS_CODEC_SHARE],
                                 &realm->codec[JS_CODEC_RECEIVE]};
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
        if (*held[i] != NULL)
            JSValueUnprotect(realm->context, *held[i]);
        *held[i] = NULL;
    }
    if (realm->object_prototype != NULL)
        JSValueUnprotect(realm->context, realm->object_prototype);
    realm->object_prototype = NULL;
    muster_clone_release(realm->packed);
    realm->packed = NULL;
}
