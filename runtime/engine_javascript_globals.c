/* runtime/engine_javascript_globals.c - the globals that load on first use, and when they are put there.
 *
 * A lazy global is an accessor that loads its chunk and replaces itself by a plain property; assigning
 * to it does the latter.  Defining all of them costs a fifth of a VM, and most scripts use three: before
 * a script runs its text is searched for their names, and what it cannot name is not defined.  A script
 * that could reach a global by a computed name gets all of them: one that says eval, Function, with or
 * importScripts, reads `.constructor`, writes an escape, or has the global object in its hands other than
 * before a dot (`self.x` names x; `self[x]` or `f(globalThis)` do not).  Thread: the VM's. */
#include "runtime/engine_javascript.h"

#include <string.h>

#define WORDS MUSTER__JS_GLOBAL_WORDS

enum kind {
    INTERFACE,   /* a class or a namespace: becomes a plain property, which enumerations leave out */
    OPERATION,   /* a function: the same, and they have it */
    ATTRIBUTE,   /* stays an accessor, which nobody can set */
    REPLACEABLE, /* assigning makes a plain property of it */
    HANDLER,     /* on... */
};

/* In which kinds of workers it is. */
enum {
    IN_SERVICE = 1 << MUSTER__WORKER_SERVICE,
    IN_DEDICATED = 1 << MUSTER__WORKER_DEDICATED,
    IN_SHARED = 1 << MUSTER__WORKER_SHARED,
    IN_CLIENT = 1 << MUSTER__WORKER_CLIENT,
    IN_WORKERS = IN_SERVICE | IN_DEDICATED | IN_SHARED,
    IN_ALL = IN_WORKERS | IN_CLIENT,
};

struct lazy_global {
    const char *name, *chunk;
    enum kind kind;
    unsigned types;
};

static const struct lazy_global lazy_globals[] = {
#define GLOBAL(chunk, name) {#name, #chunk, INTERFACE, IN_ALL},
#define GLOBAL_IN(types, kind, chunk, name) {#name, #chunk, kind, types},
#include "runtime/engine_javascript_globals.h"
#undef GLOBAL
#undef GLOBAL_IN
};

#define GLOBAL_COUNT (sizeof lazy_globals / sizeof *lazy_globals)
_Static_assert(GLOBAL_COUNT < WORDS * 64, "the masks have so many bits, less one");

static void add(uint64_t mask[WORDS], size_t i)
{
    mask[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool has(const uint64_t mask[WORDS], size_t i)
{
    return mask[i / 64] >> (i % 64) & 1;
}

static bool is_exposed(const struct muster__realm *realm, size_t i)
{
    return lazy_globals[i].types >> realm->type & 1;
}

/* ---- what a text names ---- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$';
}

static bool is_one_of(const char *word, size_t length, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == length && memcmp(*list, word, length) == 0)
            return true;
    return false;
}

static const char *skip_spaces(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
        at++;
    return *at ? at : "";
}

/* `word` may lead to the global object by other ways than a written name.  `before` is what precedes it,
 * `next` what follows; neither is a space. */
static bool reaches_global(const char *word, size_t length, char before, char next)
{
    static const char *const always[] = {"eval", "Function", "importScripts", "__muster_modules", NULL};
    static const char *const unless_dot[] = {"self", "globalThis", "this", "target", "currentTarget",
                                             "srcElement", "composedPath", NULL};
    static const char *const called[] = {"with", NULL}, *const read[] = {"constructor", NULL};
    if (length < 4 || length > 16)
        return false;
    return is_one_of(word, length, always) || (next != '.' && is_one_of(word, length, unless_dot)) ||
           (next == '(' && is_one_of(word, length, called)) ||
           ((before == '.' || next != '(') && is_one_of(word, length, read));
}

static void add_word(uint64_t mask[WORDS], const char *word, size_t length)
{
    for (size_t i = 0; i < GLOBAL_COUNT; i++)
        if (lazy_globals[i].name[0] == *word && strlen(lazy_globals[i].name) == length &&
            memcmp(lazy_globals[i].name, word, length) == 0)
            add(mask, i);
}

/* `text` is terminated.  False: it could name any. */
static bool find_names(uint64_t mask[WORDS], const char *text, size_t length)
{
    char before = '\0';
    for (const char *at = text, *end = text + length; at < end;) {
        if (*at == '\\' && at[1] == 'u')
            return false;
        if (!is_word(*at)) {
            before = *at > ' ' ? *at : before;
            at++;
            continue;
        }
        const char *word = at;
        while (at < end && is_word(*at))
            at++;
        if (reaches_global(word, (size_t)(at - word), before, *skip_spaces(at)))
            return false;
        if (*at != before || (before != '\'' && before != '"')) /* all of a string names none: 'fetch' */
            add_word(mask, word, (size_t)(at - word));
        before = 'a';
    }
    return true;
}

/* ---- the accessors ---- */

static JSObjectRef definer(struct muster__realm *realm)
{
    if (realm->define)
        return realm->define;
    JSStringRef object_name = JSStringCreateWithUTF8CString("Object");
    JSStringRef define_name = JSStringCreateWithUTF8CString("defineProperty");
    JSObjectRef global = JSContextGetGlobalObject(realm->context);
    JSValueRef object = JSObjectGetProperty(realm->context, global, object_name, NULL);
    JSValueRef define =
        JSObjectGetProperty(realm->context, (JSObjectRef)object, define_name, NULL);
    JSStringRelease(object_name);
    JSStringRelease(define_name);
    JSValueProtect(realm->context, define);
    return realm->define = (JSObjectRef)define;
}

/* `flags`: which of the three attributes it has beside a value or an accessor. */
enum { ENUMERABLE = 1, WRITABLE = 2 };

static JSObjectRef new_descriptor(JSContextRef context, unsigned flags)
{
    static const char *const names[] = {"enumerable", "writable", "configurable"};
    JSObjectRef descriptor = JSObjectMake(context, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        if (i < 2 && !(flags >> i & 1))
            continue;
        JSStringRef name = JSStringCreateWithUTF8CString(names[i]);
        JSObjectSetProperty(context, descriptor, name, JSValueMakeBoolean(context, true), 0, NULL);
        JSStringRelease(name);
    }
    return descriptor;
}

static void define(struct muster__realm *realm, const char *name, JSObjectRef descriptor)
{
    JSContextRef context = realm->context;
    const JSValueRef arguments[] = {JSContextGetGlobalObject(context), muster__js_text(context, name),
                                    descriptor};
    (void)JSObjectCallAsFunction(context, definer(realm), NULL, 3, arguments, NULL);
}

/* Instead of the accessor. */
static void define_plain(struct muster__realm *realm, const struct lazy_global *global, JSValueRef value)
{
    JSObjectRef descriptor =
        new_descriptor(realm->context, WRITABLE | (global->kind == INTERFACE ? 0 : ENUMERABLE));
    JSObjectSetProperty(realm->context, descriptor, realm->names[JS_NAME_VALUE], value, 0, NULL);
    define(realm, global->name, descriptor);
}

static JSValueRef use_handler(struct muster__realm *realm, const struct lazy_global *global,
                              size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    JSContextRef context = realm->context;
    JSValueRef function =
        muster__js_export(realm, "core2", count ? "setHandler" : "handler", exception);
    if (*exception || !JSValueIsObject(context, function))
        return JSValueMakeUndefined(context);
    const JSValueRef passed[] = {muster__js_text(context, global->name + 2),
                                 count ? arguments[0] : JSValueMakeUndefined(context)};
    JSValueRef value =
        JSObjectCallAsFunction(context, (JSObjectRef)function, NULL, 2, passed, exception);
    return value ? value : JSValueMakeUndefined(context);
}

/* What stays an accessor can be taken off, and called on anything. */
static bool is_of_global(JSContextRef context, const struct lazy_global *global, JSObjectRef this_object)
{
    return (global->kind != ATTRIBUTE && global->kind != HANDLER) || !this_object ||
           this_object == JSContextGetGlobalObject(context);
}

static JSValueRef get_global(JSContextRef context, JSObjectRef function, JSObjectRef this_object,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_of(context);
    const struct lazy_global *global = JSObjectGetPrivate(function);
    (void)count;
    if (!is_of_global(context, global, this_object))
        return muster__js_throw(context, "TypeError", "this is an attribute of the global object", exception);
    if (global->kind == HANDLER)
        return use_handler(realm, global, 0, arguments, exception);
    JSValueRef value = muster__js_export(realm, global->chunk, global->name, exception);
    if (!*exception && global->kind != ATTRIBUTE)
        define_plain(realm, global, value);
    return value;
}

static JSValueRef set_global(JSContextRef context, JSObjectRef function, JSObjectRef this_object,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_of(context);
    const struct lazy_global *global = JSObjectGetPrivate(function);
    if (!is_of_global(context, global, this_object))
        return muster__js_throw(context, "TypeError", "this is an attribute of the global object", exception);
    if (count == 0)
        return muster__js_throw(context, "TypeError", "a setter needs a value", exception);
    if (global->kind == HANDLER)
        (void)use_handler(realm, global, 1, arguments, exception);
    else
        define_plain(realm, global, arguments[0]);
    return JSValueMakeUndefined(context);
}

static JSValueRef get_accessor_name(JSContextRef context, JSObjectRef object, JSStringRef name,
                                    JSValueRef *exception)
{
    const struct lazy_global *global = JSObjectGetPrivate(object);
    char text[80] = "";
    (void)exception;
    if (JSStringIsEqualToUTF8CString(name, "length"))
        return JSValueMakeNumber(context, 0);
    strncat(text, "get ", sizeof text - 1);
    strncat(text, global->name, sizeof text - 5);
    return muster__js_text(context, text);
}

static JSValueRef get_setter_name(JSContextRef context, JSObjectRef object, JSStringRef name,
                                  JSValueRef *exception)
{
    const struct lazy_global *global = JSObjectGetPrivate(object);
    char text[80] = "";
    (void)exception;
    if (JSStringIsEqualToUTF8CString(name, "length"))
        return JSValueMakeNumber(context, 1);
    strncat(text, "set ", sizeof text - 1);
    strncat(text, global->name, sizeof text - 5);
    return muster__js_text(context, text);
}

#define OF_FUNCTIONS (kJSPropertyAttributeReadOnly | kJSPropertyAttributeDontEnum)
static const JSStaticValue getter_values[] = {
    {"name", get_accessor_name, NULL, OF_FUNCTIONS},
    {"length", get_accessor_name, NULL, OF_FUNCTIONS},
    {NULL, NULL, NULL, 0},
};
static const JSStaticValue setter_values[] = {
    {"name", get_setter_name, NULL, OF_FUNCTIONS},
    {"length", get_setter_name, NULL, OF_FUNCTIONS},
    {NULL, NULL, NULL, 0},
};
static const JSClassDefinition accessor_definitions[] = {
    {.attributes = kJSClassAttributeNoAutomaticPrototype,
     .className = "Function",
     .staticValues = getter_values,
     .callAsFunction = get_global},
    {.attributes = kJSClassAttributeNoAutomaticPrototype,
     .className = "Function",
     .staticValues = setter_values,
     .callAsFunction = set_global},
};

/* 0: getters, 1: setters. */
static JSClassRef accessor_class(unsigned which)
{
    static _Atomic(JSClassRef) slots[2]; /* made once for the process, and kept */
    JSClassRef class = atomic_load_explicit(&slots[which], memory_order_acquire);
    if (class)
        return class;
    JSClassRef made = JSClassCreate(&accessor_definitions[which]);
    if (atomic_compare_exchange_strong(&slots[which], &class, made))
        return made;
    JSClassRelease(made);
    return class;
}

static JSObjectRef new_accessor(struct muster__realm *realm, const struct lazy_global *global, unsigned which)
{
    JSObjectRef accessor = JSObjectMake(realm->context, accessor_class(which), (void *)(uintptr_t)global);
    if (global->kind == ATTRIBUTE || global->kind == HANDLER) /* the others are replaced, and nobody meets them */
        JSObjectSetPrototype(realm->context, accessor, JSObjectGetPrototype(realm->context, definer(realm)));
    return accessor;
}

static void set_plain(struct muster__realm *realm, const char *name, JSValueRef value, JSPropertyAttributes more)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSObjectSetProperty(realm->context, JSContextGetGlobalObject(realm->context), key, value,
                        kJSPropertyAttributeDontEnum | more, NULL);
    JSStringRelease(key);
}

/* `descriptors`: made on first use, for those that enumerations leave out and for the others. */
static void define_one(struct muster__realm *realm, const struct lazy_global *global,
                       JSObjectRef descriptors[2])
{
    JSContextRef context = realm->context;
    if (strcmp(global->name, "self") == 0 || strcmp(global->name, "window") == 0) {
        bool is_fixed = realm->type != MUSTER__WORKER_CLIENT; /* a window's may be replaced */
        set_plain(realm, global->name, JSContextGetGlobalObject(context),
                  is_fixed ? kJSPropertyAttributeReadOnly : kJSPropertyAttributeNone);
        return;
    }
    if (strcmp(global->chunk, "core") == 0) { /* it loads anyway, and this is cheaper */
        set_plain(realm, global->name, muster__js_export(realm, "core", global->name, NULL),
                  kJSPropertyAttributeNone);
        return;
    }
    bool is_enumerable = global->kind != INTERFACE;
    JSObjectRef *descriptor = &descriptors[is_enumerable];
    if (!*descriptor)
        *descriptor = new_descriptor(context, is_enumerable ? ENUMERABLE : 0);
    JSValueRef setter = global->kind == ATTRIBUTE ? JSValueMakeUndefined(context) : new_accessor(realm, global, 1);
    JSObjectSetProperty(context, *descriptor, realm->names[JS_NAME_GET], new_accessor(realm, global, 0), 0, NULL);
    JSObjectSetProperty(context, *descriptor, realm->names[JS_NAME_SET], setter, 0, NULL);
    define(realm, global->name, *descriptor);
}

static void define_mask(struct muster__realm *realm, const uint64_t mask[WORDS])
{
    JSObjectRef descriptors[2] = {NULL, NULL};
    for (size_t i = 0; i < GLOBAL_COUNT; i++) {
        if (!(mask[i / 64] & ~realm->defined[i / 64])) { /* none of this word */
            i |= 63;
            continue;
        }
        if (!has(mask, i) || has(realm->defined, i) || !is_exposed(realm, i))
            continue;
        add(realm->defined, i); /* first: loading a chunk comes back here */
        define_one(realm, &lazy_globals[i], descriptors);
    }
}

/* A script that looks at descriptors would see accessors where plain properties belong: core2 makes the functions
 * that it asks put the global in its place first. */
static void show_plain(struct muster__realm *realm)
{
    JSValueRef exception = NULL;
    JSValueRef function = muster__js_export(realm, "core2", "showPlain", &exception);
    if (JSValueIsObject(realm->context, function))
        (void)JSObjectCallAsFunction(realm->context, (JSObjectRef)function, NULL, 0, NULL, &exception);
}

void muster__js_define_globals_of_script(struct muster__realm *realm, const char *text, size_t length)
{
    uint64_t mask[WORDS] = {0};
    if (memmem(text, length, "getOwnPropertyDescriptor", strlen("getOwnPropertyDescriptor")))
        show_plain(realm);
    if (!find_names(mask, text, length))
        memset(mask, 0xff, sizeof mask);
    define_mask(realm, mask);
}

/* A spare realm was made before anybody knew what it would be. */
void muster__js_settle_globals(struct muster__realm *realm)
{
    for (size_t i = 0; i < GLOBAL_COUNT; i++) {
        if (is_exposed(realm, i))
            continue;
        if (has(realm->defined, i)) {
            JSStringRef name = JSStringCreateWithUTF8CString(lazy_globals[i].name);
            JSObjectDeleteProperty(realm->context, JSContextGetGlobalObject(realm->context), name, NULL);
            JSStringRelease(name);
        }
        add(realm->defined, i);
    }
}

#define CHUNKS_MOST 128

/* What every worker loads reads none, and says so here: what it only seems to name (`origin:`, `.fetch`) would
 * cost each start five microseconds. */
static bool reads_globals(const char *chunk)
{
    static const char *const none[] = {"core", "core_fetch", "fetch", NULL};
    return !is_one_of(chunk, strlen(chunk), none);
}

/* Chunks read globals by their names; they are searched once for the process.  The top bit of the last
 * word says that it was done. */
void muster__js_define_globals_of_chunk(struct muster__realm *realm, unsigned index, const char *name,
                                        const char *text)
{
    static _Atomic uint64_t known[CHUNKS_MOST][WORDS];
    const uint64_t done = UINT64_C(1) << 63;
    uint64_t mask[WORDS] = {0};
    MUSTER_CHECK(index < CHUNKS_MOST);
    if (!reads_globals(name))
        return;
    mask[WORDS - 1] = atomic_load_explicit(&known[index][WORDS - 1], memory_order_acquire);
    if (mask[WORDS - 1] & done) {
        for (size_t i = 0; i < WORDS - 1; i++)
            mask[i] = atomic_load_explicit(&known[index][i], memory_order_relaxed);
    } else {
        for (const char *at = text; *at;) {
            size_t length = 0;
            while (is_word(at[length]))
                length++;
            if (length > 0)
                add_word(mask, at, length);
            at += length ? length : 1;
        }
        for (size_t i = 0; i < GLOBAL_COUNT; i++) /* its own: it would be loaded to define them */
            if (has(mask, i) && strcmp(lazy_globals[i].chunk, name) == 0)
                mask[i / 64] &= ~(UINT64_C(1) << (i % 64));
        for (size_t i = 0; i < WORDS - 1; i++)
            atomic_store_explicit(&known[index][i], mask[i], memory_order_relaxed);
        atomic_store_explicit(&known[index][WORDS - 1], mask[WORDS - 1] | done, memory_order_release);
    }
    mask[WORDS - 1] &= ~done;
    define_mask(realm, mask);
}
