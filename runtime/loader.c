/* runtime/loader.c - from the address of a script to a script that can run.
 *
 * Thread: a pool thread that may block; several at once.  What the embedder's loader or the file system
 * gives is checked here once, so that engines may trust a script: its text is terminated UTF-8 without a
 * byte-order mark, its address is a URL, and a module is a bundle already. */
#include "runtime/loader_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/bundle.h"
#include "runtime/check.h"
#include "runtime/native.h"
#include "runtime/script_fetch.h"
#include "runtime/source_map.h"
#include "runtime/utf8.h"

#define MOST_TEXT ((size_t)64 << 20)
#define MOST_DEPTH 256

static enum muster_status no_memory(struct muster_error *error, const char *url)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while loading %s", url);
    return MUSTER_NO_MEMORY;
}

/* "cannot read script "x.js": No such file or directory" */
static enum muster_status cannot_read(struct muster_error *error, const char *url, int problem)
{
    if (problem == ENOMEM)
        return no_memory(error, url);
    char buffer[128];
    const char *text = problem == EFBIG    ? "it is larger than 64 MiB"
                       : problem == EINVAL ? "it is not a regular file"
                                           : strerror_r(problem, buffer, sizeof buffer);
    enum muster_status status =
        problem == ENOENT || problem == ENOTDIR ? MUSTER_NOT_FOUND : MUSTER_LOAD_FAILED;
    muster_error_set(error, status, "cannot read script \"%s\": %s", url, text);
    return status;
}

/* ---- endings ---- */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text);
    size_t size = strlen(ending);
    return length > size && memcmp(text + length - size, ending, size) == 0;
}

enum kind { KIND_CLASSIC, KIND_JAVASCRIPT, KIND_MODULE, KIND_LUA, KIND_NATIVE };

/* KIND_JAVASCRIPT: the text tells which of the first and the third it is. */
static enum kind kind_of(const char *path, bool declared_module)
{
    static const char *const modules[] = {".mjs", ".ts", ".mts", ".cts", ".tsx", ".jsx"};
    if (ends_with(path, ".lua"))
        return KIND_LUA;
    if (ends_with(path, ".so"))
        return KIND_NATIVE;
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (ends_with(path, modules[i]))
            return KIND_MODULE;
    if (declared_module)
        return KIND_MODULE;
    return ends_with(path, ".cjs") ? KIND_CLASSIC : KIND_JAVASCRIPT;
}

/* ---- is a text a module? ----
 *
 * It is, when a line begins, at its first column, with a declaration that only modules have, outside of
 * comments, strings and templates.  So the scan needs to know just enough of the language to tell
 * where those end; and a slash begins a regular expression where a value may stand. */

struct scan {
    const char *at;
    const char *end;
    const char *start;
    char last;            /* the last character that was no space; 0: none */
    const char *word;     /* the word that ended with it, if one did */
    size_t word_length;
    unsigned depths[32];  /* open braces inside each open ${ of a template */
    unsigned templates;
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static bool follows(const struct scan *scan, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(scan->end - scan->at) >= length && memcmp(scan->at, text, length) == 0;
}

static bool is_declaration(const struct scan *scan)
{
    if (scan->at != scan->start && scan->at[-1] != '\n')
        return false;
    if (!follows(scan, "import") && !follows(scan, "export"))
        return false;
    const char *next = scan->at + 6;
    if (next == scan->end || strchr(" \t{*\"'", *next) == NULL || *next == '\0')
        return false;
    while (next < scan->end && (*next == ' ' || *next == '\t'))
        next++;
    /* "import (" is a call, as "import(" is; "import = " and so on are nothing that parses */
    return next < scan->end && *next != '(' && *next != '=' && *next != '.' && *next != ';';
}

static bool slash_begins_a_pattern(const struct scan *scan)
{
    static const char *const before[] = {"return", "typeof", "case", "in",     "of",
                                         "do",     "else",   "void", "delete", "throw",
                                         "new",    "await",  "yield", "instanceof"};
    if (scan->word_length > 0) {
        for (size_t i = 0; i < sizeof before / sizeof *before; i++)
            if (strlen(before[i]) == scan->word_length &&
                memcmp(before[i], scan->word, scan->word_length) == 0)
                return true;
        return false;
    }
    return scan->last == '\0' || strchr(")]}\"'`", scan->last) == NULL;
}

/* To behind the quotation mark, or to the end of the line, where a string ends at the latest. */
static void skip_string(struct scan *scan, char quote)
{
    for (scan->at++; scan->at < scan->end && *scan->at != '\n'; scan->at++) {
        if (*scan->at == '\\' && scan->at + 1 < scan->end)
            scan->at++;
        else if (*scan->at == quote) {
            scan->at++;
            return;
        }
    }
}

static void skip_pattern(struct scan *scan)
{
    bool in_class = false;
    for (scan->at++; scan->at < scan->end && *scan->at != '\n'; scan->at++) {
        if (*scan->at == '\\' && scan->at + 1 < scan->end)
            scan->at++;
        else if (*scan->at == '[' || *scan->at == ']')
            in_class = *scan->at == '[';
        else if (*scan->at == '/' && !in_class) {
            scan->at++;
            return;
        }
    }
}

static void skip_comment(struct scan *scan)
{
    bool is_line = scan->at[1] == '/';
    const char *found = is_line ? memchr(scan->at, '\n', (size_t)(scan->end - scan->at))
                                : memmem(scan->at + 2, (size_t)(scan->end - scan->at) - 2, "*/", 2);
    scan->at = found == NULL ? scan->end : is_line ? found : found + 2;
}

/* From inside a template to behind its end, or into a ${.  False: nested too deeply to follow. */
static bool skip_template(struct scan *scan)
{
    for (; scan->at < scan->end; scan->at++) {
        if (*scan->at == '\\' && scan->at + 1 < scan->end) {
            scan->at++;
        } else if (*scan->at == '`') {
            scan->at++;
            scan->last = '`';
            return true;
        } else if (follows(scan, "${")) {
            if (scan->templates == sizeof scan->depths / sizeof *scan->depths)
                return false;
            scan->depths[scan->templates++] = 0;
            scan->at += 2;
            scan->last = '{';
            return true;
        }
    }
    return true;
}

/* One character that may open, close or separate something. */
static bool scan_sign(struct scan *scan)
{
    char c = *scan->at++;
    unsigned *depth = scan->templates > 0 ? &scan->depths[scan->templates - 1] : NULL;
    if (c == '`')
        return skip_template(scan);
    if (c == '}' && depth != NULL && *depth == 0) {
        scan->templates--;
        return skip_template(scan);
    }
    if (depth != NULL)
        *depth += c == '{' ? 1u : c == '}' ? -1u : 0u;
    scan->last = c;
    return true;
}

static void scan_word(struct scan *scan)
{
    scan->word = scan->at;
    while (scan->at < scan->end && is_word(*scan->at))
        scan->at++;
    scan->word_length = (size_t)(scan->at - scan->word);
    scan->last = 'a';
}

/* False: it cannot be followed any further. */
static bool scan_step(struct scan *scan)
{
    char c = *scan->at;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        scan->at++;
        return true;
    }
    if (follows(scan, "//") || follows(scan, "/*")) {
        skip_comment(scan);
        return true;
    }
    if (is_word(c)) {
        scan_word(scan);
        return true;
    }
    if (c == '/' && slash_begins_a_pattern(scan)) {
        skip_pattern(scan);
        c = ')';
    } else if (c == '"' || c == '\'') {
        skip_string(scan, c);
    } else {
        scan->word_length = 0;
        return scan_sign(scan);
    }
    scan->word_length = 0;
    scan->last = c;
    return true;
}

static bool looks_like_a_module(const char *text, size_t length)
{
    if (memmem(text, length, "import", 6) == NULL && memmem(text, length, "export", 6) == NULL)
        return false; /* most scripts: no need to read closely */
    struct scan scan = {.at = text, .start = text, .end = text + length};
    if (length > 2 && text[0] == '#' && text[1] == '!') {
        const char *end = memchr(text, '\n', length);
        scan.at = end == NULL ? scan.end : end;
    }
    while (scan.at < scan.end) {
        if (scan.templates == 0 && is_declaration(&scan))
            return true;
        if (!scan_step(&scan))
            return false;
    }
    return false;
}

/* ---- text ---- */

static size_t count_bad_bytes(const char *text, size_t length)
{
    size_t bad = 0;
    for (size_t i = 0; i < length;) {
        size_t size = muster__utf8_sequence((const unsigned char *)text + i, length - i);
        bad += size == 0;
        i += size == 0 ? 1 : size;
    }
    return bad;
}

/* As a browser reads a script: what is not UTF-8 becomes U+FFFD, and the script runs. */
static bool repair_text(struct muster__script *script)
{
    size_t bad = count_bad_bytes(script->text, script->length);
    if (bad == 0)
        return true;
    char *text = malloc(script->length + 2 * bad + 1);
    size_t length = 0;
    if (text == NULL)
        return false;
    for (size_t i = 0; i < script->length;) {
        size_t size = muster__utf8_sequence((const unsigned char *)script->text + i, script->length - i);
        memcpy(text + length, size == 0 ? "\xef\xbf\xbd" : script->text + i, size == 0 ? 3 : size);
        length += size == 0 ? 3 : size;
        i += size == 0 ? 1 : size;
    }
    text[length] = '\0';
    free(script->text);
    script->text = text;
    script->length = length;
    return true;
}

static bool finish_text(struct muster__script *script)
{
    bool is_lua = ends_with(script->url, ".lua");
    if (script->length >= 3 && memcmp(script->text, "\xef\xbb\xbf", 3) == 0) {
        script->length -= 3;
        memmove(script->text, script->text + 3, script->length + 1);
    }
    if (is_lua && script->length >= 2 && memcmp(script->text, "#!", 2) == 0)
        memcpy(script->text, "--", 2); /* JavaScript knows that line, Lua only when it reads files */
    return is_lua || repair_text(script); /* strings of Lua hold any bytes */
}

/* ---- an embedder's loader ---- */

static enum muster_status blame_loader(struct muster_error *error, const char *url,
                                       const char *problem)
{
    muster_error_set(error, MUSTER_LOAD_FAILED, "the loader cannot give \"%s\": %s", url, problem);
    return MUSTER_LOAD_FAILED;
}

static enum muster_status finish_failure(struct muster_error *error, enum muster_status status,
                                         const char *url)
{
    if (status != MUSTER_SYNTAX_ERROR && status != MUSTER_NOT_FOUND && status != MUSTER_NO_MEMORY)
        status = MUSTER_LOAD_FAILED;
    if (error != NULL && error->message == NULL)
        muster_error_set(error, status, "cannot load script \"%s\": %s", url,
                         muster_status_sentence(status));
    if (error != NULL)
        error->status = status;
    return status;
}

static bool is_native_worker(const struct muster_native_worker *native)
{
    return native != NULL && native->size >= sizeof(size_t) + 2 * sizeof(void (*)(void));
}

/* Moves what was loaded into the script, so that there is one owner whatever comes next. */
static enum muster_status take_loaded(struct muster_loaded *loaded, struct muster__script *script,
                                      const char *url, struct muster_error *error)
{
    script->url = loaded->url != NULL ? loaded->url : muster__strdup(url);
    script->text = loaded->text;
    script->length = loaded->length;
    script->is_module = loaded->is_module;
    script->native = loaded->native;
    if (script->url == NULL)
        return no_memory(error, url);
    if (loaded->native != NULL)
        return is_native_worker(loaded->native)
                   ? MUSTER_OK
                   : blame_loader(error, url, "the size in its native worker is not set");
    if (loaded->text == NULL)
        return blame_loader(error, url, "it gave neither a text nor a native worker");
    if (loaded->length > MOST_TEXT)
        return blame_loader(error, url, "it is larger than 64 MiB");
    char *terminated = realloc(script->text, script->length + 1);
    if (terminated == NULL)
        return no_memory(error, url);
    script->text = terminated;
    script->text[script->length] = '\0';
    if (!finish_text(script))
        return no_memory(error, url);
    return MUSTER_OK;
}

static enum muster_status take_map(const struct muster_loaded *loaded,
                                   struct muster__script *script, struct muster_error *error)
{
    if (loaded->source_map == NULL || script->text == NULL)
        return MUSTER_OK;
    enum muster_status status = muster__source_map_parse(
        loaded->source_map, strlen(loaded->source_map), &script->map, error);
    return status == MUSTER_OK ? MUSTER_OK : finish_failure(error, status, script->url);
}

static enum muster_status load_by_function(const struct muster__loader *loader, const char *url,
                                           const char *importer, struct muster__script *script,
                                           struct muster_error *error)
{
    struct muster_loaded loaded = {.size = sizeof loaded};
    enum muster_status status = loader->load(url, importer, &loaded, error, loader->user_data);
    if (status != MUSTER_OK)
        return finish_failure(error, status, url); /* what it may have made stays its own */
    status = take_loaded(&loaded, script, url, error);
    if (status == MUSTER_OK)
        status = take_map(&loaded, script, error);
    script->source_map = loaded.source_map;
    if (status == MUSTER_OK)
        muster_error_clean_up(error);
    return status;
}

/* ---- addresses ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The path of a URL up to its query or fragment.  NULL: out of memory, or no path (a %00). */
static char *decode_path(const char *text)
{
    size_t length = strcspn(text, "?#");
    char *path = malloc(length + 1);
    size_t size = 0;
    for (size_t i = 0; path != NULL && i < length; i++) {
        int high = text[i] == '%' ? hex_digit(text[i + 1]) : -1; /* what ends it is no digit */
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        path[size++] = low >= 0 ? (char)(high * 16 + low) : text[i];
        i += low >= 0 ? 2 : 0;
        if (path[size - 1] == '\0') {
            free(path);
            return NULL;
        }
    }
    if (path != NULL)
        path[size] = '\0';
    return path;
}

char *muster__loader_file_url(const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/-._~!$&'()*+,;=:@";
    static const char digits[] = "0123456789ABCDEF";
    char *url = malloc(sizeof "file://" + 3 * strlen(path));
    if (url == NULL)
        return NULL;
    memcpy(url, "file://", 7);
    size_t length = 7;
    for (; *path != '\0'; path++) {
        if (strchr(plain, *path) != NULL) {
            url[length++] = *path;
            continue;
        }
        url[length++] = '%';
        url[length++] = digits[(unsigned char)*path >> 4];
        url[length++] = digits[(unsigned char)*path & 15];
    }
    url[length] = '\0';
    return url;
}

/* The path in a file: URL, still encoded; NULL: it is no such URL. */
static const char *path_of_url(const char *url)
{
    if (strncmp(url, "file://localhost/", 17) == 0)
        return url + 16;
    if (strncmp(url, "file:///", 8) == 0)
        return url + 7;
    return strncmp(url, "file:/", 6) == 0 && url[6] != '/' ? url + 5 : NULL;
}

/* "https://...", "data:..."; a file may be named "a:b.js". */
static bool is_other_url(const char *text)
{
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return (scheme > 1 && strncmp(text + scheme, "://", 3) == 0) ||
           strncmp(text, "data:", 5) == 0 || strncmp(text, "blob:", 5) == 0 ||
           strncmp(text, "file:", 5) == 0;
}

char *muster__loader_file_path(const char *url)
{
    const char *encoded = path_of_url(url);
    if (encoded != NULL)
        return decode_path(encoded);
    return is_other_url(url) ? NULL : muster__strdup(url);
}

static char *beside(const char *importer, const char *path)
{
    const char *encoded = path_of_url(importer);
    char *folder = encoded != NULL ? decode_path(encoded) : muster__strdup(importer);
    char *slash = folder == NULL ? NULL : strrchr(folder, '/');
    char *joined = NULL;
    if (slash != NULL && *folder == '/') {
        *slash = '\0';
        joined = muster__bundle_join(folder, path);
    } else if (folder != NULL) { /* an importer that is itself seen from the current folder */
        joined = muster__format("%.*s%s", (int)(slash == NULL ? 0 : slash + 1 - folder), folder, path);
    }
    free(folder);
    return joined;
}

/* A worker's own script is a path or a file: URL; what it imports is a reference, as in a browser. */
static enum muster_status find_path(const char *url, const char *importer, char **ret_path,
                                    struct muster_error *error)
{
    const char *encoded = path_of_url(url);
    if (encoded == NULL && is_other_url(url)) {
        muster_error_set(error, MUSTER_LOAD_FAILED,
                         "cannot load \"%s\": scripts come from files, unless a loader is set", url);
        return MUSTER_LOAD_FAILED;
    }
    bool is_reference = encoded == NULL && importer != NULL;
    char *path = encoded != NULL ? decode_path(encoded)
                 : is_reference  ? decode_path(url)
                                 : muster__strdup(url);
    if (path != NULL && is_reference && *path != '/') {
        char *reference = path;
        path = beside(importer, reference);
        free(reference);
    }
    if (path == NULL)
        return strstr(url, "%00") != NULL ? cannot_read(error, url, ENOENT) : no_memory(error, url);
    *ret_path = path;
    return MUSTER_OK;
}

/* ---- files ---- */

/* A file that is being loaded. */
struct file {
    const struct muster__loader *loader;
    const char *url; /* as asked */
    char *path;      /* as asked, but a path: its ending counts */
    char *real;      /* where it is */
    char *root;      /* likewise; NULL: none was set */
    bool is_import;
    struct muster__script *script;
    struct muster_error *error;
};

static enum muster_status find_root(struct file *file)
{
    if (file->loader->root == NULL)
        return MUSTER_OK;
    file->root = realpath(file->loader->root, NULL);
    if (file->root != NULL)
        return MUSTER_OK;
    int problem = errno;
    char text[128];
    muster_error_set(file->error, MUSTER_LOAD_FAILED,
                     "cannot read script \"%s\": the application's folder \"%s\": %s", file->url,
                     file->loader->root, strerror_r(problem, text, sizeof text));
    return MUSTER_LOAD_FAILED;
}

static enum muster_status find_file(struct file *file)
{
    file->real = realpath(file->path, NULL);
    if (file->real == NULL)
        return cannot_read(file->error, file->url, errno);
    struct stat info;
    if (stat(file->real, &info) < 0)
        return cannot_read(file->error, file->url, errno);
    if (!S_ISREG(info.st_mode))
        return cannot_read(file->error, file->url, S_ISDIR(info.st_mode) ? EISDIR : EINVAL);
    if (file->root != NULL && !muster__bundle_is_inside(file->root, file->real)) {
        muster_error_set(file->error, MUSTER_LOAD_FAILED,
                         "script \"%s\" lies outside the application's folder %s", file->url,
                         file->root);
        return MUSTER_LOAD_FAILED;
    }
    file->script->url = muster__loader_file_url(file->real);
    return file->script->url != NULL ? MUSTER_OK : no_memory(file->error, file->url);
}

/* The folder whose files an import may name where no root was set: the nearest one with a package.json,
 * as npm has it, or the script's own. */
static char *find_package(const char *path)
{
    char *folder = muster__bundle_join(path, "..");
    char *own = muster__strdup(folder);
    for (int i = 0; folder != NULL && own != NULL && i < MOST_DEPTH; i++) {
        char *package = muster__bundle_join(folder, "package.json");
        bool found = package != NULL && access(package, F_OK) == 0;
        free(package);
        if (found) {
            free(own);
            return folder;
        }
        if (strcmp(folder, "/") == 0)
            break;
        char *above = muster__bundle_join(folder, "..");
        free(folder);
        folder = above;
    }
    free(folder);
    return own;
}

static enum muster_status load_module(struct file *file)
{
    char *package = file->root == NULL ? find_package(file->real) : NULL;
    const struct muster__bundle_options options = {
        .root = file->root != NULL ? file->root : package,
        .entry = file->real,
    };
    if (options.root == NULL)
        return no_memory(file->error, file->url);
    struct muster__bundle bundle = {0};
    enum muster_status status = muster__bundle_make(&options, &bundle, file->error);
    free(package);
    if (status != MUSTER_OK)
        return status;
    file->script->text = bundle.text;
    file->script->length = bundle.length;
    file->script->map = bundle.map;
    file->script->source_map = bundle.source_map;
    file->script->is_module = true;
    return finish_text(file->script) ? MUSTER_OK : no_memory(file->error, file->url);
}

static enum muster_status load_text(struct file *file, enum kind kind)
{
    struct muster__script *script = file->script;
    int problem =
        muster__bundle_read_file(file->real, MOST_TEXT, &script->text, &script->length);
    if (problem != 0)
        return cannot_read(file->error, file->url, problem);
    if (!finish_text(script))
        return no_memory(file->error, file->url);
    if (kind != KIND_JAVASCRIPT || !looks_like_a_module(script->text, script->length))
        return MUSTER_OK;
    free(script->text);
    script->text = NULL;
    return load_module(file);
}

static enum muster_status fail_native(struct file *file, const char *problem)
{
    muster_error_set(file->error, MUSTER_LOAD_FAILED, "cannot load the native worker \"%s\": %s",
                     file->url, problem == NULL ? "it cannot be opened" : problem);
    return MUSTER_LOAD_FAILED;
}

/* Native code runs with all of the process's rights, so only the embedder chooses it. */
static enum muster_status load_native(struct file *file)
{
    if (file->is_import)
        return fail_native(file, "a script cannot import a shared object");
    file->script->native_library = dlopen(file->real, RTLD_NOW | RTLD_LOCAL);
    if (file->script->native_library == NULL)
        return fail_native(file, dlerror());
    file->script->native = dlsym(file->script->native_library, "muster_worker");
    if (file->script->native == NULL)
        return fail_native(file, "it does not export muster_worker");
    if (!is_native_worker(file->script->native))
        return fail_native(file, "the size in its muster_worker is not set");
    return MUSTER_OK;
}

static enum muster_status load_found(struct file *file)
{
    enum kind kind = kind_of(file->path, file->loader->module && !file->is_import);
    if (kind == KIND_NATIVE)
        return load_native(file);
    return kind == KIND_MODULE ? load_module(file) : load_text(file, kind);
}

static enum muster_status load_file(const struct muster__loader *loader, const char *url,
                                    const char *importer, struct muster__script *script,
                                    struct muster_error *error)
{
    struct file file = {
        .loader = loader, .url = url, .is_import = importer != NULL, .script = script, .error = error};
    enum muster_status status = find_path(url, importer, &file.path, error);
    if (status == MUSTER_OK)
        status = find_root(&file);
    if (status == MUSTER_OK)
        status = find_file(&file);
    if (status == MUSTER_OK)
        status = load_found(&file);
    free(file.path);
    free(file.real);
    free(file.root);
    return status;
}

enum muster_status muster__loader_load_own(const struct muster__loader *loader, const char *url,
                                           const char *importer, struct muster__script **ret_script,
                                           struct muster_error *error)
{
    struct muster__script *script = calloc(1, sizeof *script);
    if (script == NULL)
        return no_memory(error, url);
    enum muster_status status = loader->load != NULL
                                    ? load_by_function(loader, url, importer, script, error)
                                    : load_file(loader, url, importer, script, error);
    if (status == MUSTER_OK)
        *ret_script = script;
    else
        muster__script_destroy(script);
    return status;
}

enum muster_status muster__loader_load(const struct muster__loader *loader, const char *url,
                                       const char *importer, struct muster__script **ret_script,
                                       struct muster_error *error)
{
    MUSTER_CHECK(loader != NULL && url != NULL);
    const struct muster__script_fetch_options options = {.loader = loader, .url = url, .importer = importer};
    struct muster__fetched_script fetched = {0};
    enum muster_status status = muster__script_fetch_now(&options, &fetched, error);
    *ret_script = status == MUSTER_OK ? fetched.script : *ret_script;
    fetched.script = NULL;
    muster__fetched_script_clean_up(&fetched);
    return status;
}

enum muster_status muster__loader_finish(const struct muster__loader *loader, const char *importer,
                                         struct muster__script *script, struct muster_error *error)
{
    enum kind kind = kind_of(script->url, loader->module && importer == NULL);
    if (!finish_text(script))
        return no_memory(error, script->url);
    if (kind != KIND_MODULE || loader->is_plain) /* an address may end as it likes */
        return MUSTER_OK;
    muster_error_set(error, MUSTER_LOAD_FAILED,
                     "cannot load \"%s\": it is a module, and those are loaded from files only", script->url);
    return MUSTER_LOAD_FAILED;
}
