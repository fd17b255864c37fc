/* runtime/engine_javascript_value.c - values and errors between scripts and C.
 *
 * A value is a tree.  Plain objects give their own enumerable properties (getters run), views and buffers
 * a copy of their bytes, errors their name, message and stack.  Whatever is more than that is left to
 * messages (engine_javascript_clone.c), which begin anew: a getter may then run twice.  Thread: the VM's. */
#include "runtime/engine_javascript.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The objects that are being walked, innermost first: how a cycle is seen. */
struct walk {
    const struct walk *outer;
    JSObjectRef object;
    unsigned depth;
    unsigned depth_max;
    bool *is_rich;
};

static struct muster_value *walk(struct muster__realm *realm, JSContextRef context, JSValueRef value,
                                 const struct walk *outer, JSValueRef *exception);

static JSValueRef get(struct muster__realm *realm, JSContextRef context, JSObjectRef object,
                      enum muster__js_name name, JSValueRef *exception)
{
    JSValueRef value = JSObjectGetProperty(context, object, realm->names[name], exception);
    return value ? value : JSValueMakeUndefined(context);
}

static struct muster_value *refuse(JSContextRef context, const char *message, JSValueRef *exception)
{
    (void)muster__js_throw(context, "TypeError", message, exception);
    return NULL;
}

/* The walk ends here; the exception is only to end it, and is thrown to nobody. */
static struct muster_value *leave(JSContextRef context, const struct walk *outer, JSValueRef *exception)
{
    *outer->is_rich = true;
    *exception = JSValueMakeNull(context);
    return NULL;
}

static struct muster_value *or_no_memory(JSContextRef context, struct muster_value *value,
                                         JSValueRef *exception)
{
    if (!value)
        muster__js_out_of_memory(context, exception);
    return value;
}

/* Of what only C will read, half characters become U+FFFD. */
static struct muster_value *string_to_value(struct muster__realm *realm, JSContextRef context,
                                            JSValueRef value, const struct walk *outer,
                                            JSValueRef *exception)
{
    size_t length = 0;
    JSStringRef string = JSValueToStringCopy(context, value, exception);
    if (!string)
        return NULL;
    char *text = muster__js_scratch(realm->vm, string, &length);
    bool is_lost = text && outer->depth_max < MUSTER__JS_ANY_DEPTH &&
                   !muster__js_is_well_formed(string, length);
    struct muster_value *made = text && !is_lost ? muster_value_new_string(text, length) : NULL;
    JSStringRelease(string);
    if (is_lost)
        return leave(context, outer, exception);
    return or_no_memory(context, made, exception);
}

static bool is_error(struct muster__realm *realm, JSContextRef context, JSValueRef value)
{
    if (!realm->error_constructor) {
        JSStringRef name = JSStringCreateWithUTF8CString("Error");
        JSValueRef found =
            JSObjectGetProperty(context, JSContextGetGlobalObject(context), name, NULL);
        JSStringRelease(name);
        if (!found || !JSValueIsObject(context, found))
            return false; /* the script has replaced it by something else */
        JSValueProtect(context, found);
        realm->error_constructor = (JSObjectRef)found;
    }
    return
           JSValueIsInstanceOfConstructor(context, value, realm->error_constructor, NULL);
}

static struct muster_value *error_to_value(struct muster__realm *realm, JSContextRef context,
                                           JSValueRef value, JSValueRef *exception)
{
    struct muster_error error = {0};
    muster__js_describe_error(realm, context, value, MUSTER_SCRIPT_ERROR, &error);
    struct muster_value *made = muster_value_new_error(&error);
    muster_error_clean_up(&error);
    return or_no_memory(context, made, exception);
}

static struct muster_value *array_to_value(struct muster__realm *realm, JSContextRef context,
                                           const struct walk *here, JSValueRef *exception)
{
    JSStringRef name = JSStringCreateWithUTF8CString("length");
    JSValueRef number = JSObjectGetProperty(context, here->object, name, exception);
    JSStringRelease(name);
    double length = number && !*exception ? JSValueToNumber(context, number, exception) : 0;
    struct muster_value *array = muster_value_new_array();
    for (unsigned i = 0; array && !*exception && i < length; i++) {
        JSValueRef item = JSObjectGetPropertyAtIndex(context, here->object, i, exception);
        struct muster_value *made = *exception ? NULL : walk(realm, context, item, here, exception);
        if (made && muster_value_append(array, made) != MUSTER_OK)
            muster__js_out_of_memory(context, exception);
    }
    if (!*exception)
        return or_no_memory(context, array, exception);
    muster_value_release(array);
    return NULL;
}

static void add_property(struct muster__realm *realm, JSContextRef context, const struct walk *here,
                         JSStringRef name, struct muster_value *object, JSValueRef *exception)
{
    JSValueRef item = JSObjectGetProperty(context, here->object, name, exception);
    struct muster_value *made = *exception ? NULL : walk(realm, context, item, here, exception);
    if (!made)
        return;
    size_t length = 0; /* after the walk, which uses the scratch memory as well */
    char *key = muster__js_scratch(realm->vm, name, &length);
    if (!key)
        muster_value_release(made);
    if (!key || muster_value_set(object, key, length, made) != MUSTER_OK)
        muster__js_out_of_memory(context, exception);
}

static struct muster_value *object_to_value(struct muster__realm *realm, JSContextRef context,
                                            const struct walk *here, JSValueRef *exception)
{
    struct muster_value *object = muster_value_new_object();
    JSPropertyNameArrayRef names = JSObjectCopyPropertyNames(context, here->object);
    size_t count = JSPropertyNameArrayGetCount(names);
    for (size_t i = 0; object && !*exception && i < count; i++) {
        JSStringRef name = JSPropertyNameArrayGetNameAtIndex(names, i);
        add_property(realm, context, here, name, object, exception);
    }
    JSPropertyNameArrayRelease(names);
    if (!*exception)
        return or_no_memory(context, object, exception);
    muster_value_release(object);
    return NULL;
}

/* Neither a class of the script's nor a Map, a RegExp, a Promise. */
static bool is_plain(struct muster__realm *realm, JSContextRef context, JSObjectRef object)
{
    JSValueRef prototype = JSObjectGetPrototype(context, object);
    if (!realm->object_prototype) {
        realm->object_prototype = JSObjectGetPrototype(context, JSObjectMake(context, NULL, NULL));
        JSValueProtect(context, realm->object_prototype);
    }
    return JSValueIsNull(context, prototype) ||
           JSValueIsStrictEqual(context, prototype, realm->object_prototype);
}

static bool is_being_walked(const struct walk *at, JSObjectRef object)
{
    while (at && at->object != object)
        at = at->outer;
    return at != NULL;
}

static struct muster_value *walk_object(struct muster__realm *realm, JSContextRef context,
                                        JSObjectRef object, const struct walk *outer,
                                        JSValueRef *exception)
{
    const struct walk here = {outer, object, outer->depth + 1, outer->depth_max, outer->is_rich};
    struct muster_bytes bytes;
    const struct muster_value *host = muster__js_host_value(context, object);
    if (host)
        return muster_value_acquire(host);
    if (JSObjectIsFunction(context, object))
        return refuse(context, "a function cannot be passed", exception);
    if (here.depth > here.depth_max || is_being_walked(outer, object))
        return leave(context, outer, exception);
    if (muster__js_view(context, object, &bytes))
        return or_no_memory(context, muster_value_new_bytes(bytes.data, bytes.length), exception);
    if (JSValueIsArray(context, object))
        return array_to_value(realm, context, &here, exception);
    if (is_plain(realm, context, object))
        return object_to_value(realm, context, &here, exception);
    return is_error(realm, context, object) ? error_to_value(realm, context, object, exception)
                                            : leave(context, outer, exception);
}

static struct muster_value *walk(struct muster__realm *realm, JSContextRef context, JSValueRef value,
                                 const struct walk *outer, JSValueRef *exception)
{
    switch (JSValueGetType(context, value)) {
    case kJSTypeUndefined:
        return or_no_memory(context, muster_value_new_undefined(), exception);
    case kJSTypeNull:
        return or_no_memory(context, muster_value_new_null(), exception);
    case kJSTypeBoolean:
        return or_no_memory(context, muster_value_new_boolean(JSValueToBoolean(context, value)),
                            exception);
    case kJSTypeNumber:
        return or_no_memory(
            context, muster_value_new_number(JSValueToNumber(context, value, exception)), exception);
    case kJSTypeString:
        return string_to_value(realm, context, value, outer, exception);
    case kJSTypeObject:
        return walk_object(realm, context, (JSObjectRef)value, outer, exception);
    default:
        return JSValueIsSymbol(context, value)
                   ? refuse(context, "a symbol cannot be passed", exception)
                   : leave(context, outer, exception);
    }
}

struct muster_value *muster__js_to_tree(struct muster__realm *realm, JSContextRef context,
                                        JSValueRef value, unsigned depth, bool *ret_is_rich,
                                        JSValueRef *exception)
{
    JSValueRef thrown = NULL;
    const struct walk outside = {.depth_max = depth, .is_rich = ret_is_rich};
    struct muster_value *made = walk(realm, context, value, &outside, &thrown);
    if (thrown && !*ret_is_rich)
        *exception = thrown;
    return made;
}

/* ---- from C ---- */

static JSValueRef array_from_value(struct muster__realm *realm, JSContextRef context,
                                   const struct muster_value *value, JSValueRef *exception)
{
    JSObjectRef array = JSObjectMakeArray(context, 0, NULL, exception);
    for (size_t i = 0; array && !*exception && i < muster_value_count(value); i++) {
        JSValueRef item =
            muster__js_from_value(realm, context, muster_value_at(value, i), exception);
        if (!*exception)
            JSObjectSetPropertyAtIndex(context, array, (unsigned)i, item, exception);
    }
    return array ? array : JSValueMakeUndefined(context);
}

/* Assignment to __proto__ would set the prototype. */
static void define_property(JSContextRef context, JSObjectRef object, struct muster_bytes key,
                            JSValueRef item, JSValueRef *exception)
{
    JSStringRef name = muster__js_string(key.data, key.length);
    if (!name) {
        muster__js_out_of_memory(context, exception);
        return;
    }
    if (key.length == 9 && memcmp(key.data, "__proto__", 9) == 0) {
        JSValueRef null = JSValueMakeNull(context), prototype = JSObjectGetPrototype(context, object);
        JSObjectSetPrototype(context, object, null);
        JSObjectSetProperty(context, object, name, item, 0, exception);
        JSObjectSetPrototype(context, object, prototype);
    } else {
        JSObjectSetProperty(context, object, name, item, 0, exception);
    }
    JSStringRelease(name);
}

static JSValueRef object_from_value(struct muster__realm *realm, JSContextRef context,
                                    const struct muster_value *value, JSValueRef *exception)
{
    JSObjectRef object = JSObjectMake(context, NULL, NULL);
    for (size_t i = 0; !*exception && i < muster_value_count(value); i++) {
        JSValueRef item =
            muster__js_from_value(realm, context, muster_value_at(value, i), exception);
        if (!*exception)
            define_property(context, object, muster_value_key_at(value, i), item, exception);
    }
    return object;
}

static JSValueRef string_from_value(JSContextRef context, const struct muster_value *value,
                                    JSValueRef *exception)
{
    struct muster_bytes bytes = muster_value_bytes(value);
    JSStringRef string = muster__js_string(bytes.data, bytes.length);
    if (!string) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    JSValueRef made = JSValueMakeString(context, string);
    JSStringRelease(string);
    return made;
}

JSValueRef muster__js_from_value(struct muster__realm *realm, JSContextRef context,
                                 const struct muster_value *value, JSValueRef *exception)
{
    JSValueRef ignored = NULL;
    JSValueRef *thrown = exception ? exception : &ignored;
    struct muster_bytes bytes;
    const struct muster_error *error;
    if (muster_value_clone(value))
        return muster__js_unpack(realm, context, value, thrown);
    switch (muster_value_type(value)) {
    case MUSTER_TYPE_UNDEFINED:
        return JSValueMakeUndefined(context);
    case MUSTER_TYPE_NULL:
        return JSValueMakeNull(context);
    case MUSTER_TYPE_BOOLEAN:
        return JSValueMakeBoolean(context, muster_value_boolean(value));
    case MUSTER_TYPE_NUMBER:
        return JSValueMakeNumber(context, muster_value_number(value));
    case MUSTER_TYPE_STRING:
        return string_from_value(context, value, thrown);
    case MUSTER_TYPE_BYTES: {
        bytes = muster_value_bytes(value);
        JSValueRef view = muster__js_copied_bytes(context, bytes.data, bytes.length, thrown);
        return *thrown ? view : JSObjectGetTypedArrayBuffer(context, (JSObjectRef)view, thrown);
    }
    case MUSTER_TYPE_ARRAY:
        return array_from_value(realm, context, value, thrown);
    case MUSTER_TYPE_OBJECT:
        return object_from_value(realm, context, value, thrown);
    case MUSTER_TYPE_ERROR:
        error = muster_value_error(value);
        return muster__js_make_error(realm, context, error->name, error->message, error->stack);
    case MUSTER_TYPE_HOST_OBJECT:
        return muster__js_host_object(realm, context, value, thrown);
    case MUSTER_TYPE_CLONE: /* it was unpacked above */
        break;
    }
    return JSValueMakeUndefined(context);
}

/* ---- errors ---- */

static bool is_builtin_error(const char *name)
{
    static const char *const names[] = {"TypeError",      "RangeError", "SyntaxError",
                                        "ReferenceError", "EvalError",  "URIError"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static JSObjectRef construct_error(JSContextRef context, const char *name, JSValueRef message)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSValueRef constructor =
        JSObjectGetProperty(context, JSContextGetGlobalObject(context), key, NULL);
    JSStringRelease(key);
    if (!constructor || !JSValueIsObject(context, constructor) ||
        !JSObjectIsConstructor(context, (JSObjectRef)constructor))
        return NULL;
    return JSObjectCallAsConstructor(context, (JSObjectRef)constructor, 1, &message, NULL);
}

JSValueRef muster__js_make_error(struct muster__realm *realm, JSContextRef context, const char *name,
                                 const char *message, const char *stack)
{
    JSValueRef text = muster__js_text(context, message ? message : "");
    bool builtin = name && is_builtin_error(name);
    JSObjectRef error = builtin ? construct_error(context, name, text) : NULL;
    if (!error)
        error = JSObjectMakeError(context, 1, &text, NULL);
    if (!error)
        return text;
    if (name && !builtin && strcmp(name, "Error") != 0)
        JSObjectSetProperty(context, error, realm->names[JS_NAME_NAME],
                            muster__js_text(context, name), kJSPropertyAttributeDontEnum, NULL);
    if (stack)
        JSObjectSetProperty(context, error, realm->names[JS_NAME_STACK],
                            muster__js_text(context, stack), kJSPropertyAttributeDontEnum, NULL);
    return error;
}

static char *text_of(struct muster__realm *realm, JSContextRef context, JSObjectRef object,
                     enum muster__js_name name)
{
    JSValueRef value = get(realm, context, object, name, NULL);
    return JSValueIsString(context, value) ? muster__js_copy_text(context, value, NULL) : NULL;
}

static int number_of(struct muster__realm *realm, JSContextRef context, JSObjectRef object,
                     enum muster__js_name name)
{
    JSValueRef value = get(realm, context, object, name, NULL);
    double number = JSValueIsNumber(context, value) ? JSValueToNumber(context, value, NULL) : 0;
    return number >= 1 && number < 1e9 ? (int)number : 0;
}

static bool is_prelude_line(const char *line, size_t length)
{
    return memmem(line, length, "muster:js/", 10) != NULL;
}

/* Takes the lines of the prelude out of a stack, in place. */
static void drop_prelude(char *stack)
{
    char *to = stack;
    for (char *line = stack; *line;) {
        size_t length = strcspn(line, "\n");
        size_t with_end = length + (line[length] == '\n');
        if (!is_prelude_line(line, length)) {
            memmove(to, line, with_end);
            to += with_end;
        }
        line += with_end;
    }
    while (to > stack && to[-1] == '\n')
        to--;
    *to = '\0';
}

/* "name@file:///app/worker.js:3:14" of the first line that has a place. */
static void place_from_stack(const char *stack, struct muster_error *error)
{
    for (const char *line = stack; line && *line;) {
        size_t length = strcspn(line, "\n");
        const char *start = memchr(line, '@', length);
        start = start ? start + 1 : line;
        const char *end = line + length, *column = memrchr(start, ':', (size_t)(end - start));
        const char *row =
            column && column > start ? memrchr(start, ':', (size_t)(column - start)) : NULL;
        if (row && row > start && atoi(row + 1) > 0) {
            error->file = muster__strndup(start, (size_t)(row - start));
            error->line = atoi(row + 1);
            error->column = atoi(column + 1);
            return;
        }
        line += length + (line[length] == '\n');
    }
}

static void map_error(struct muster__realm *realm, struct muster_error *error)
{
    const struct muster__script *script = realm->script;
    for (size_t i = 0; script; script = i < realm->imported_count ? realm->imported[i++] : NULL)
        if (script->map)
            muster__source_map_error(script->map, script->url, error);
}

static void describe_object(struct muster__realm *realm, JSContextRef context, JSObjectRef object,
                            struct muster_error *error)
{
    error->name = text_of(realm, context, object, JS_NAME_NAME);
    error->message = text_of(realm, context, object, JS_NAME_MESSAGE);
    error->stack = text_of(realm, context, object, JS_NAME_STACK);
    error->file = text_of(realm, context, object, JS_NAME_SOURCE_URL);
    error->line = number_of(realm, context, object, JS_NAME_LINE);
    error->column = number_of(realm, context, object, JS_NAME_COLUMN);
    if (error->stack)
        drop_prelude(error->stack);
    if (!error->file || is_prelude_line(error->file, strlen(error->file))) {
        free(error->file);
        error->file = NULL;
        error->line = error->column = 0;
        place_from_stack(error->stack, error);
    }
}

void muster__js_describe_error(struct muster__realm *realm, JSContextRef context, JSValueRef thrown,
                               enum muster_status status, struct muster_error *error)
{
    muster_error_clean_up(error);
    if (JSValueIsObject(context, thrown))
        describe_object(realm, context, (JSObjectRef)thrown, error);
    if (!error->message)
        error->message = muster__js_copy_text(context, thrown, NULL);
    if (!error->message)
        error->message = muster__strdup("a value that has no text was thrown");
    error->status = muster__js_is_departure(realm, context, thrown) ? MUSTER_CANCELED : status;
    map_error(realm, error);
}
