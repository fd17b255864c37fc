/* runtime/module_graph.c - fetches the modules of a graph one after the other, each once, and puts them together.
 *
 * Threads: see the header.  Each text goes through esbuild, which also says whether it is one at all, by way of a
 * folder of our own that is gone afterwards. */
#include "runtime/module_graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "runtime/bundle.h"
#include "runtime/check.h"
#include "runtime/http_client.h"
#include "runtime/value.h"

#define MOST_MODULES 2000

struct module {
    char *url;     /* that was asked for; the key of the map */
    char *referer; /* who asked first; NULL: nobody that has an address to tell */
};

struct graph {
    const struct muster__script_fetch_options *options;
    struct muster__loader loader; /* the given one, but texts stay what they are */
    struct module *modules;       /* found so far */
    size_t count, capacity;
    struct muster_value *made;    /* descriptions of those that were fetched */
    struct muster__fetched_script first;
    struct muster_error *error;   /* never NULL */
};

static enum muster_status no_memory(struct graph *graph)
{
    muster_error_set(graph->error, MUSTER_NO_MEMORY, "out of memory while loading %s", graph->options->url);
    return MUSTER_NO_MEMORY;
}

static enum muster_status refuse(struct graph *graph, const char *specifier, const char *problem)
{
    muster_error_set(graph->error, MUSTER_LOAD_FAILED, "cannot import \"%s\": %s", specifier, problem);
    return MUSTER_LOAD_FAILED;
}

/* ---- addresses ---- */

/* Where `specifier` leads to, seen from the module at `base`; the caller frees.  NULL: `graph->error` says why. */
static char *resolve(struct graph *graph, const char *base, const char *specifier)
{
    bool is_absolute = muster__is_http_url(specifier) || muster__is_local_url(specifier);
    bool is_relative = *specifier == '/' || strncmp(specifier, "./", 2) == 0 || strncmp(specifier, "../", 3) == 0;
    char *url = NULL;
    if (muster__is_local_url(specifier))
        url = muster__strdup(specifier);
    else if (is_absolute || (is_relative && muster__is_http_url(base)))
        url = muster__http_resolve(is_absolute ? specifier : base, specifier);
    if (url == NULL)
        (void)refuse(graph, specifier, is_absolute || is_relative
                                           ? "it leads nowhere from there"
                                           : "it is neither a URL nor begins with /, ./ or ../");
    return url;
}

/* Of "https://a.test:1/x" what stands before the last slash; 0: its origin is its own. */
static size_t origin_length(const char *url)
{
    size_t scheme = strcspn(url, ":");
    return muster__is_http_url(url) ? scheme + 3 + strcspn(url + scheme + 3, "/?#") : 0;
}

static bool is_same_origin(const char *a, const char *b)
{
    size_t length = origin_length(a);
    return length > 0 && length == origin_length(b) && strncasecmp(a, b, length) == 0;
}

/* What the address tells a server of who asked: all of it on its own origin, else the origin alone. */
static char *referer_for(const char *importer, const char *url)
{
    if (!muster__is_http_url(importer) ||
        (strncasecmp(importer, "https:", 6) == 0 && strncasecmp(url, "https:", 6) != 0))
        return NULL;
    return is_same_origin(importer, url) ? muster__strndup(importer, strcspn(importer, "#"))
                                         : muster__format("%.*s/", (int)origin_length(importer), importer);
}

/* The worker's: that of the script that imports now, or of its own. */
static const char *home_of(const struct graph *graph)
{
    const char *home = graph->options->importer != NULL ? graph->options->importer : graph->options->url;
    return strncasecmp(home, "blob:", 5) == 0 ? home + 5 : home; /* of the origin that made it */
}

static enum muster_status note(struct graph *graph, const char *url, const char *importer)
{
    for (size_t i = 0; i < graph->count; i++)
        if (strcmp(graph->modules[i].url, url) == 0)
            return MUSTER_OK;
    if (graph->count == MOST_MODULES)
        return refuse(graph, url, "there are too many modules");
    if (graph->count == graph->capacity) {
        size_t capacity = graph->capacity ? graph->capacity * 2 : 8;
        struct module *grown = realloc(graph->modules, capacity * sizeof *grown);
        if (grown == NULL)
            return no_memory(graph);
        graph->modules = grown;
        graph->capacity = capacity;
    }
    struct module *module = &graph->modules[graph->count];
    *module = (struct module){muster__strdup(url), importer != NULL ? referer_for(importer, url) : NULL};
    if (module->url == NULL)
        return no_memory(graph);
    graph->count++;
    return MUSTER_OK;
}

/* ---- one text ---- */

/* esbuild's text for `import(x)`, which asks at once, becomes a question that is answered later.  Three
 * brackets are open in both. */
#define ASKS_AT_ONCE "Promise.resolve().then(() => __toESM(require("
#define ASKS "__muster_import((("

static char *ask_later(char *take_text)
{
    char *to = take_text;
    for (const char *from = take_text; *from != '\0';) {
        bool is_found = strncmp(from, ASKS_AT_ONCE, strlen(ASKS_AT_ONCE)) == 0;
        if (is_found) {
            memcpy(to, ASKS, strlen(ASKS)); /* which is the shorter one */
            to += strlen(ASKS);
            from += strlen(ASKS_AT_ONCE);
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return take_text;
}

static bool write_file(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "wxe");
    bool is_written = file != NULL && fwrite(text, 1, length, file) == length;
    return file != NULL && fclose(file) == 0 && is_written;
}

static enum muster_status bundle_in(struct graph *graph, const char *folder, const struct muster__script *script,
                                    struct muster__bundle *bundle)
{
    char *path = muster__format("%s/module.js", folder);
    if (path == NULL)
        return no_memory(graph);
    const struct muster__bundle_options options = {.root = folder, .entry = path, .is_alone = true};
    enum muster_status status = write_file(path, script->text, script->length)
                                    ? muster__bundle_make(&options, bundle, graph->error)
                                    : refuse(graph, script->url, "the temporary folder cannot be written to");
    if (status != MUSTER_OK && graph->error->file != NULL) {
        free(graph->error->file);
        graph->error->file = muster__strdup(script->url);
    }
    unlink(path);
    free(path);
    return status;
}

/* *ret_text: the function's body; *ret_imports: what it imports, as it is written there. */
static enum muster_status rewrite(struct graph *graph, const struct muster__script *script, char **ret_text,
                                  struct muster_value **ret_imports)
{
    const char *parent = secure_getenv("TMPDIR");
    char *real = realpath(parent != NULL && *parent == '/' ? parent : "/tmp", NULL);
    char *folder = real != NULL ? muster__format("%s/muster-module-XXXXXX", real) : NULL;
    free(real);
    if (folder == NULL || mkdtemp(folder) == NULL) {
        free(folder);
        return refuse(graph, script->url, "there is no temporary folder");
    }
    struct muster__bundle bundle = {0};
    enum muster_status status = bundle_in(graph, folder, script, &bundle);
    rmdir(folder);
    free(folder);
    if (status == MUSTER_OK) {
        *ret_text = ask_later(bundle.text);
        *ret_imports = bundle.imports;
        bundle.text = NULL;
        bundle.imports = NULL;
    }
    muster__bundle_clean_up(&bundle);
    return status;
}

/* ---- one module ---- */

/* A module of another origin must be given to this one (CORS). */
static enum muster_status check_sharing(struct graph *graph, const char *origin, const char *url,
                                        const struct muster__fetched_script *fetched)
{
    const char *final_url = fetched->script->url, *allowed = fetched->allowed_origin;
    bool is_ours = is_same_origin(home_of(graph), url) && is_same_origin(home_of(graph), final_url);
    /* A data: worker's static imports are fetched for whoever made it, who has been asked for no name here. */
    bool is_makers = graph->options->importer == NULL && origin_length(home_of(graph)) == 0;
    if (is_ours || is_makers || !muster__is_http_url(final_url) || (allowed != NULL && strcmp(allowed, "*") == 0) ||
        (allowed != NULL && strcmp(allowed, origin) == 0))
        return MUSTER_OK;
    return refuse(graph, url, "its server does not share it with this origin");
}

static enum muster_status fetch_import(struct graph *graph, const struct module *module,
                                       struct muster__fetched_script *fetched)
{
    const char *home = home_of(graph), *referer = module->referer;
    char *origin = origin_length(home) > 0 ? muster__strndup(home, origin_length(home)) : muster__strdup("null");
    struct muster_header headers[2];
    struct muster__script_fetch_options options = *graph->options;
    options.loader = &graph->loader;
    options.url = module->url;
    options.importer = graph->options->importer != NULL ? graph->options->importer : graph->modules[0].url;
    options.refuse_redirects = false;
    options.headers = headers;
    options.header_count = 0;
    if (referer != NULL)
        headers[options.header_count++] = (struct muster_header){{"referer", 7}, {referer, strlen(referer)}};
    if (origin != NULL && !is_same_origin(home, module->url))
        headers[options.header_count++] = (struct muster_header){{"origin", 6}, {origin, strlen(origin)}};
    enum muster_status status =
        origin != NULL ? muster__script_fetch_now(&options, fetched, graph->error) : no_memory(graph);
    if (status == MUSTER_OK)
        status = check_sharing(graph, origin, module->url, fetched);
    free(origin);
    return status;
}

static enum muster_status fetch_one(struct graph *graph, size_t index, struct muster__fetched_script *fetched)
{
    if (index > 0 || graph->options->importer != NULL)
        return fetch_import(graph, &graph->modules[index], fetched);
    struct muster__script_fetch_options options = *graph->options;
    options.loader = &graph->loader;
    return muster__script_fetch_now(&options, fetched, graph->error);
}

/* {"./a.js": "https://.../a.js"} */
static enum muster_status resolve_imports(struct graph *graph, const char *base, const struct muster_value *imports,
                                          struct muster_value *into)
{
    for (size_t i = 0; i < muster_value_count(imports); i++) {
        const char *specifier = muster_value_bytes(muster_value_at(imports, i)).data;
        char *url = resolve(graph, base, specifier);
        if (url == NULL)
            return graph->error->status;
        enum muster_status status = note(graph, url, base);
        if (status == MUSTER_OK && muster_value_put(into, specifier, muster_value_new_text(url)) != MUSTER_OK)
            status = no_memory(graph);
        free(url);
        if (status != MUSTER_OK)
            return status;
    }
    return MUSTER_OK;
}

/* Of the text as it came: esbuild leaves out what does not matter to who runs it, but to who compares it every byte
 * does. */
static struct muster_value *digest_of(const struct muster__script *script)
{
    unsigned char digest[MUSTER__DIGEST_MOST];
    char hex[2 * MUSTER__DIGEST_MOST + 1] = "";
    size_t size = muster__http_digest("sha256", (struct muster_bytes){script->text, script->length}, digest);
    for (size_t i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return muster_value_new_text(hex);
}

static enum muster_status describe(struct graph *graph, const char *url, const struct muster__script *script,
                                   const char *text, const struct muster_value *imports)
{
    struct muster_value *module = muster_value_new_object(), *resolved = muster_value_new_object();
    enum muster_status status = module != NULL && resolved != NULL
                                    ? resolve_imports(graph, script->url, imports, resolved) : no_memory(graph);
    bool is_put = status == MUSTER_OK &&
                  muster_value_put(module, "url", muster_value_new_text(url)) == MUSTER_OK &&
                  muster_value_put(module, "base", muster_value_new_text(script->url)) == MUSTER_OK &&
                  muster_value_put(module, "text", muster_value_new_text(text)) == MUSTER_OK &&
                  muster_value_put(module, "digest", digest_of(script)) == MUSTER_OK &&
                  muster_value_put(module, "imports", muster_value_acquire(resolved)) == MUSTER_OK &&
                  muster_value_append(graph->made, muster_value_acquire(module)) == MUSTER_OK;
    if (status == MUSTER_OK && !is_put)
        status = no_memory(graph);
    muster_value_release(resolved);
    muster_value_release(module);
    return status;
}

static enum muster_status add(struct graph *graph, size_t index)
{
    struct muster__fetched_script fetched = {0};
    struct muster_value *imports = NULL;
    char *text = NULL;
    enum muster_status status = fetch_one(graph, index, &fetched);
    if (status == MUSTER_OK)
        status = rewrite(graph, fetched.script, &text, &imports);
    if (status == MUSTER_OK)
        status = describe(graph, graph->modules[index].url, fetched.script, text, imports);
    free(text);
    muster_value_release(imports);
    if (status != MUSTER_OK || index > 0) {
        muster__fetched_script_clean_up(&fetched);
        return status;
    }
    graph->first = fetched;
    return MUSTER_OK;
}

/* ---- all of them ---- */

/* The first module's script gets the text that describes them all. */
static enum muster_status finish(struct graph *graph)
{
    struct muster__script *script = graph->first.script;
    char *json = muster_value_to_json(graph->made);
    char *text = json != NULL ? muster__format("__muster_modules=%s;", json) : NULL;
    free(json);
    if (text == NULL)
        return no_memory(graph);
    free(script->text);
    script->text = text;
    script->length = strlen(text);
    script->is_module = true;
    return MUSTER_OK;
}

enum muster_status muster__module_graph_fetch(const struct muster__script_fetch_options *options,
                                              struct muster__fetched_script *ret_fetched, struct muster_error *error)
{
    struct muster_error unwanted = {0};
    struct graph graph = {.options = options, .loader = *options->loader, .made = muster_value_new_array(),
                          .error = error != NULL ? error : &unwanted};
    graph.loader.module = false;
    graph.loader.is_plain = true;
    enum muster_status status = graph.made != NULL ? note(&graph, options->url, NULL) : no_memory(&graph);
    for (size_t i = 0; status == MUSTER_OK && i < graph.count; i++)
        status = add(&graph, i);
    if (status == MUSTER_OK)
        status = finish(&graph);
    if (status == MUSTER_OK)
        *ret_fetched = graph.first;
    else
        muster__fetched_script_clean_up(&graph.first);
    for (size_t i = 0; i < graph.count; i++) {
        free(graph.modules[i].url);
        free(graph.modules[i].referer);
    }
    free(graph.modules);
    muster_value_release(graph.made);
    muster_error_clean_up(&unwanted);
    return status;
}
