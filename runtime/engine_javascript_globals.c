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

struct lazy_global {
    const char *name, *chunk;
};

static const struct lazy_global lazy_globals[] = {
#define GLOBAL(chunk, name) {#name, #chunk},
#include "runtime/engine_javascript_globals.h"
#undef GLOBAL
};

#define GLOBAL_COUNT (sizeof lazy_globals / sizeof *lazy_globals)
_Static_assert(GLOBAL_COUNT < 127, "the masks are two words, less a bit");

static void add(uint64_t mask[2], size_t i)
{
    mask[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool has(const uint64_t mask[2], size_t i)
{
    return mask[i / 64] >> (i % 64) & 1;
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
    static const char *const always[] = {"eval", "Function", "importScripts", NULL};
    static const char *const unless_dot[] = {"self", "globalThis", "this", "target", "currentTarget",
                                             "srcElement", "composedPath", NULL};
    static const char *const called[] = {"with", NULL}, *const read[] = {"constructor", NULL};
    if (length < 4 || length > 13)
        return false;
    return is_one_of(word, length, always) || (next != '.' && is_one_of(word, length, unless_dot)) ||
           (next == '(' && is_one_of(word, length, called)) ||
           ((before == '.' || next != '(') && is_one_of(word, length, read));
}

static void add_word(uint64_t mask[2], const char *word, size_t length)
{
    for (size_t i = 0; i < GLOBAL_COUNT; i++)
        if (lazy_globals[i].name[0] == *word && strlen(lazy_globals[i].name) == length &&
            memcmp(lazy_globals[i].name, word, length) == 0)
            add(mask, i);
}

/* `text` is terminated.  False: it could name any. */
static bool find_names(uint64_t mask[2], const char *text, size_t length)
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
        add_word(mask, word, (size_t)(at - word));
        before = 'a';
    }
    return true;
}

/* ---- the accessors ---- */

static bool is_handler(const struct lazy_global *global)
{
    return strcmp(global->chunk, "handler") == 0;
}

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

static JSObjectRef new_descriptor(JSContextRef context, bool writable)
{
    JSObjectRef descriptor = JSObjectMake(context, NULL, NULL);
    JSStringRef configurable = JSStringCreateWithUTF8CString("configurable");
    JSStringRef name = JSStringCreateWithUTF8CString("writable");
    JSObjectSetProperty(context, descriptor, configurable, JSValueMakeBoolean(context, true), 0, NULL);
    if (writable)
        JSObjectSetProperty(context, descriptor, name, JSValueMakeBoolean(context, true), 0, NULL);
    JSStringRelease(configurable);
    JSStringRelease(name);
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
static void define_plain(struct muster__realm *realm, const char *name, JSValueRef value)
{
    JSObjectRef descriptor = new_descriptor(realm->context, true);
    JSObjectSetProperty(realm->context, descriptor, realm->names[JS_NAME_VALUE], value, 0, NULL);
    define(realm, name, descriptor);
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

/* Getter and setter in one: a setter has an argument. */
static JSValueRef use_global(JSContextRef context, JSObjectRef function, JSObjectRef this_object,
                             size_t count, const JSValueRef arguments[], JSValueRef *exception)
{
    struct muster__realm *realm = muster__js_current();
    const struct lazy_global *global = JSObjectGetPrivate(function);
    (void)context;
    (void)this_object;
    if (is_handler(global))
        return use_handler(realm, global, count, arguments, exception);
    JSValueRef value =
        count ? arguments[0] : muster__js_export(realm, global->chunk, global->name, exception);
    if (!*exception)
        define_plain(realm, global->name, value);
    return value;
}

static JSClassRef accessor_class(void)
{
    static _Atomic(JSClassRef) slot; /* made once for the process, and kept */
    JSClassRef class = atomic_load_explicit(&slot, memory_order_acquire);
    if (class)
        return class;
    const JSClassDefinition definition = {
        .attributes = kJSClassAttributeNoAutomaticPrototype,
        .className = "Function",
        .callAsFunction = use_global,
    };
    JSClassRef made = JSClassCreate(&definition);
    if (atomic_compare_exchange_strong(&slot, &class, made))
        return made;
    JSClassRelease(made);
    return class;
}

static void set_plain(struct muster__realm *realm, const char *name, JSValueRef value)
{
    JSStringRef key = JSStringCreateWithUTF8CString(name);
    JSObjectSetProperty(realm->context, JSContextGetGlobalObject(realm->context), key, value,
                        kJSPropertyAttributeDontEnum, NULL);
    JSStringRelease(key);
}

static void define_one(struct muster__realm *realm, const struct lazy_global *global,
                       JSObjectRef *descriptor)
{
    JSContextRef context = realm->context;
    if (strcmp(global->name, "self") == 0) {
        set_plain(realm, global->name, JSContextGetGlobalObject(context));
        return;
    }
    if (strcmp(global->chunk, "core") == 0) { /* it loads anyway, and this is cheaper */
        set_plain(realm, global->name, muster__js_export(realm, "core", global->name, NULL));
        return;
    }
    if (!*descriptor)
        *descriptor = new_descriptor(context, false);
    JSObjectRef accessor = JSObjectMake(context, accessor_class(), (void *)(uintptr_t)global);
    JSObjectSetProperty(context, *descriptor, realm->names[JS_NAME_GET], accessor, 0, NULL);
    JSObjectSetProperty(context, *descriptor, realm->names[JS_NAME_SET], accessor, 0, NULL);
    define(realm, global->name, *descriptor);
}

static void define_mask(struct muster__realm *realm, const uint64_t mask[2])
{
    JSObjectRef descriptor = NULL;
    if (!(mask[0] & ~realm->defined[0]) && !(mask[1] & ~realm->defined[1]))
        return;
    for (size_t i = 0; i < GLOBAL_COUNT; i++) {
        if (!has(mask, i) || has(realm->defined, i))
            continue;
        add(realm->defined, i); /* first: loading a chunk comes back here */
        define_one(realm, &lazy_globals[i], &descriptor);
    }
}

void muster__js_define_globals_of_script(struct muster__realm *realm, const char *text, size_t length)
{
    uint64_t mask[2] = {0, 0};
    if (!find_names(mask, text, length))
        mask[0] = mask[1] = UINT64_MAX;
    define_mask(realm, mask);
}

/* Chunks read globals by their names; they are searched once for the process.  The top bit of the second
 * word says that it was done. */
void muster__js_define_globals_of_chunk(struct muster__realm *realm, unsigned index, const char *name,
                                        const char *text)
{
    static _Atomic uint64_t known[64][2];
    const uint64_t done = UINT64_C(1) << 63;
    uint64_t mask[2];
    MUSTER_CHECK(index < 64);
    mask[1] = atomic_load_explicit(&known[index][1], memory_order_acquire);
    mask[0] = atomic_load_explicit(&known[index][0], memory_order_relaxed);
    if (!(mask[1] & done)) {
        mask[0] = mask[1] = 0;
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
        atomic_store_explicit(&known[index][0], mask[0], memory_order_relaxed);
        atomic_store_explicit(&known[index][1], mask[1] | done, memory_order_release);
    }
    mask[1] &= ~done;
    define_mask(realm, mask);
}
