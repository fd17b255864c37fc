/* runtime/module_file.c - the search for an object of muster's own, and the words for its failure.
 *
 * Any thread; keeps nothing, so that a file which is installed later, or a corrected environment, is found by
 * the next call. */
#include "runtime/module_file.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/own_folder.h"

/* Where the search went, and why the last file that exists could not be used. */
struct search {
    const char *file, *symbol;
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

static const void *try_file(struct search *search, const char *path)
{
    if (access(path, F_OK) != 0)
        return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const void *found = library == NULL ? NULL : dlsym(library, search->symbol);
    if (found == NULL) {
        const char *reason = dlerror();
        replace(search, &search->problem, muster__strdup(reason == NULL ? path : reason));
        if (library != NULL)
            dlclose(library);
    }
    return found;
}

/* `below` is "" or a folder with a slash in front. */
static const void *try_folder(struct search *search, const char *folder, const char *below)
{
    if (folder == NULL || *folder == '\0')
        return NULL;
    bool is_first = search->tried == NULL;
    replace(search, &search->tried,
            muster__format("%s%s%s%s", is_first ? "" : search->tried, is_first ? "" : ", ", folder, below));
    char *path = muster__format("%s%s/%s", folder, below, search->file);
    const void *found = path == NULL ? NULL : try_file(search, path);
    search->out_of_memory = search->out_of_memory || path == NULL;
    free(path);
    return found;
}

static const void *search_everywhere(struct search *search)
{
    const void *found = try_folder(search, secure_getenv("MUSTER_ENGINE_DIR"), "");
    char *own = found == NULL ? muster__own_folder() : NULL;
    if (found == NULL)
        found = try_folder(search, own, "");
    if (found == NULL)
        found = try_folder(search, own, "/muster");
    free(own);
#ifdef MUSTER_ENGINE_DIR
    if (found == NULL)
        found = try_folder(search, MUSTER_ENGINE_DIR, "");
#endif
    return found;
}

static void tell(const struct search *search, const char *what, struct muster_error *error)
{
    if (search->out_of_memory)
        muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while loading %s", what);
    else if (search->problem != NULL)
        muster_error_set(error, MUSTER_UNSUPPORTED, "%s cannot be loaded: %s", what, search->problem);
    else
        muster_error_set(error, MUSTER_UNSUPPORTED, "%s was not found: there is no %s in %s", what, search->file,
                         search->tried == NULL ? "any folder" : search->tried);
}

const void *muster__module_file_open(const char *file, const char *symbol, const char *what,
                                     struct muster_error *error)
{
    struct search search = {.file = file, .symbol = symbol};
    const void *found = search_everywhere(&search);
    if (found == NULL)
        tell(&search, what, error);
    free(search.tried);
    free(search.problem);
    return found;
}
