/* runtime/engine_table.c - finds engines, and loads the JavaScript one on first use.
 *
 * Any thread.  A lock makes the first use one use; a failure is not remembered, so that an engine which
 * is installed later, or a corrected environment, is found by the next call. */
#include "runtime/engine_table.h"

#include <pthread.h>
#include <string.h>

#include "runtime/module_file.h"

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text);
    size_t size = strlen(ending);
    return length >= size && memcmp(text + length - size, ending, size) == 0;
}

const char *muster__engine_for_script(const char *path)
{
    if (path != NULL && ends_with(path, ".lua"))
        return "lua";
    return path != NULL && ends_with(path, ".so") ? "native" : "javascript";
}

#ifdef MUSTER_ENGINE_JAVASCRIPT_LINKED

static const struct muster__engine *find_javascript(struct muster_error *error)
{
    (void)error;
    return &muster__engine_javascript;
}

#else

static const struct muster__engine *find_javascript(struct muster_error *error)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct muster__engine *found;

    pthread_mutex_lock(&lock);
    if (found == NULL)
        found = muster__module_file_open("muster-engine-javascript.so", "muster__engine_javascript",
                                         "the JavaScript engine", error);
    const struct muster__engine *engine = found;
    pthread_mutex_unlock(&lock);
    return engine;
}

#endif

const struct muster__engine *muster__engine_find(const char *name, struct muster_error *error)
{
    if (name != NULL && strcmp(name, "native") == 0)
        return &muster__engine_native;
    if (name != NULL && strcmp(name, "lua") == 0)
        return &muster__engine_lua;
    if (name != NULL && (strcmp(name, "javascript") == 0 || strcmp(name, "js") == 0))
        return find_javascript(error);
    muster_error_set(error, MUSTER_NOT_FOUND,
                     "there is no engine \"%s\"; there are native, lua and javascript",
                     name == NULL ? "" : name);
    return NULL;
}
