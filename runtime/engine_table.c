/* runtime/engine_table.c - finds engines, and loads the JavaScript one on first use.
 *
 * Any thread.  A lock makes the first use one use; a failure is not remembered, so that an engine which
 * is installed later, or a corrected environment, is found by the next call. */
#include "runtime/engine_table.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/own_folder.h"

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

#define ENGINE_FILE "muster-engine-javascript.so"
#define ENGINE_SYMBOL "muster__engine_javascript"

/* Where the search went, and why the last file that exists could not be used. */
struct search {
    char *tried;   /* "/a, /b"; NULL: nowhere yet */
    char *problem; /* NULL: no file was found */
    bool out_of_memory;
};

static void replace(struct search *search, char **text, char *take_text)
{
    search->out_of_memory = search->out_of_memory || take_text == NULL;
    free(*text);
    *text = take_text;
}

static const struct muster__engine *try_file(struct search *search, const char *file)
{
    if (access(file, F_OK) != 0)
        return NULL;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct muster__engine *engine = library == NULL ? NULL : dlsym(library, ENGINE_SYMBOL);
    if (engine == NULL) {
        const char *reason = dlerror();
        replace(search, &search->problem, muster__strdup(reason == NULL ? file : reason));
        if (library != NULL)
            dlclose(library);
    }
    return engine;
}

/* `below` is "" or a folder with a slash in front. */
static const struct muster__engine *try_folder(struct search *search, const char *folder,
                                               const char *below)
{
    if (folder == NULL || *folder == '\0')
        return NULL;
    bool is_first = search->tried == NULL;
    replace(search, &search->tried,
            muster__format("%s%s%s%s", is_first ? "" : search->tried, is_first ? "" : ", ", folder,
                           below));
    char *file = muster__format("%s%s/" ENGINE_FILE, folder, below);
    const struct muster__engine *engine = file == NULL ? NULL : try_file(search, file);
    search->out_of_memory = search->out_of_memory || file == NULL;
    free(file);
    return engine;
}

static const struct muster__engine *search_everywhere(struct search *search)
{
    const struct muster__engine *engine = try_folder(search, secure_getenv("MUSTER_ENGINE_DIR"), "");
    char *own = engine == NULL ? muster__own_folder() : NULL;
    if (engine == NULL)
        engine = try_folder(search, own, "");
    if (engine == NULL)
        engine = try_folder(search, own, "/muster");
    free(own);
#ifdef MUSTER_ENGINE_DIR
    if (engine == NULL)
        engine = try_folder(search, MUSTER_ENGINE_DIR, "");
#endif
    return engine;
}

static void tell(const struct search *search, struct muster_error *error)
{
    if (search->out_of_memory)
        muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while loading the JavaScript engine");
    else if (search->problem != NULL)
        muster_error_set(error, MUSTER_UNSUPPORTED, "the JavaScript engine cannot be loaded: %s",
                         search->problem);
    else
        muster_error_set(error, MUSTER_UNSUPPORTED,
                         "the JavaScript engine was not found: there is no " ENGINE_FILE " in %s",
                         search->tried == NULL ? "any folder" : search->tried);
}

static const struct muster__engine *find_javascript(struct muster_error *error)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct muster__engine *found;

    pthread_mutex_lock(&lock);
    if (found == NULL) {
        struct search search = {0};
        found = search_everywhere(&search);
        if (found == NULL)
            tell(&search, error);
        free(search.tried);
        free(search.problem);
    }
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
