/* runtime/bundle.c - what goes into esbuild, and what is believed of what comes out.
 *
 * Any thread that may block.  Everything esbuild writes goes to a folder of our own that is gone when
 * muster__bundle_make returns.  Its output counts only if its own list agrees with it: which files went
 * in (none from outside of the root) and how long the result is (it was not cut short). */
#include "runtime/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/bundle_process.h"
#include "runtime/check.h"
#include "runtime/source_map.h"
#include "runtime/value.h"

#define DEFAULT_DEADLINE_US (30 * UINT64_C(1000000))
#define MOST_OUTPUT ((size_t)64 << 20)
#define MOST_DEPTH 64 /* of folders */

struct job {
    const struct muster__bundle_options *options;
    const char *name;   /* of the entry, seen from the root */
    char *esbuild;
    char *output;       /* our folder; NULL: not made yet */
    char *tsconfig;
    struct muster_value *metafile;
    struct muster_error *error; /* never NULL */
};

static enum muster_status no_memory(struct job *job)
{
    muster_error_set(job->error, MUSTER_NO_MEMORY, "out of memory while bundling %s", job->name);
    return MUSTER_NO_MEMORY;
}

/* ---- paths ---- */

bool muster__bundle_is_inside(const char *root, const char *path)
{
    size_t length = strlen(root);
    if (length == 1 && *root == '/')
        return *path == '/';
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* One component behind what is there; ".." takes the last one away. */
static size_t add_component(char *path, size_t length, const char *component, size_t size)
{
    if (size == 0 || (size == 1 && *component == '.'))
        return length;
    if (size == 2 && memcmp(component, "..", 2) == 0) {
        while (length > 0 && path[--length] != '/')
            ;
        return length;
    }
    path[length++] = '/';
    memmove(path + length, component, size);
    return length + size;
}

char *muster__bundle_join(const char *folder, const char *path)
{
    const char *parts[] = {*path == '/' ? "" : folder, path};
    char *joined = malloc(strlen(folder) + strlen(path) + 3);
    size_t length = 0;
    for (size_t i = 0; joined != NULL && i < 2; i++)
        for (const char *at = parts[i]; *at != '\0';) {
            size_t size = strcspn(at, "/");
            length = add_component(joined, length, at, size);
            at += size + (at[size] == '/');
        }
    if (joined == NULL)
        return NULL;
    if (length == 0)
        joined[length++] = '/';
    joined[length] = '\0';
    return joined;
}

/* Where `path`, seen from `folder`, really is; as it is written where there is no such file. */
static char *really(const char *folder, const char *path)
{
    char *written = muster__bundle_join(folder, path);
    char *real = written == NULL ? NULL : realpath(written, NULL);
    if (real == NULL)
        return written;
    free(written);
    return real;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL || slash == path ? muster__strdup("/")
                                          : muster__strndup(path, (size_t)(slash - path));
}

static const char *seen_from_root(const char *root, const char *path)
{
    if (!muster__bundle_is_inside(root, path))
        return path;
    path += strlen(root);
    return *path == '/' ? path + 1 : path;
}

static int read_all(int fd, size_t most, char **ret_text, size_t *ret_length)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return errno;
    if (!S_ISREG(info.st_mode))
        return S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    if (info.st_size < 0 || (uint64_t)info.st_size > most)
        return EFBIG;
    size_t size = (size_t)info.st_size;
    char *text = malloc(size + 1);
    size_t length = 0;
    int problem = text == NULL ? ENOMEM : 0;
    while (problem == 0 && length < size) {
        ssize_t count = read(fd, text + length, size - length);
        if (count == 0)
            break; /* it became shorter */
        if (count > 0)
            length += (size_t)count;
        else if (errno != EINTR)
            problem = errno;
    }
    if (problem != 0) {
        free(text);
        return problem;
    }
    text[length] = '\0';
    *ret_text = text;
    *ret_length = length;
    return 0;
}

int muster__bundle_read_file(const char *path, size_t most, char **ret_text, size_t *ret_length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe must not hold us */
    if (fd < 0)
        return errno;
    int problem = read_all(fd, most, ret_text, ret_length);
    close(fd);
    return problem;
}

/* ---- finding esbuild ---- */

static bool is_program(const char *path)
{
    struct stat info;
    return path != NULL && *path == '/' && stat(path, &info) == 0 && S_ISREG(info.st_mode) &&
           access(path, X_OK) == 0;
}

/* Relative entries of PATH are left out: what they name depends on where the embedder stands. */
static char *search_path(void)
{
    const char *path = getenv("PATH");
    for (const char *at = path == NULL ? "/usr/local/bin:/usr/bin:/bin" : path; *at != '\0';) {
        size_t size = strcspn(at, ":");
        char *program =
            *at == '/' && size < PATH_MAX ? muster__format("%.*s/esbuild", (int)size, at) : NULL;
        if (is_program(program))
            return program;
        free(program);
        at += size + (at[size] == ':');
    }
    return NULL;
}

static enum muster_status find_esbuild(struct job *job)
{
    const char *given = secure_getenv("MUSTER_ESBUILD");
    if (given != NULL && *given != '\0') {
        job->esbuild = realpath(given, NULL);
        if (is_program(job->esbuild))
            return MUSTER_OK;
        muster_error_set(job->error, MUSTER_LOAD_FAILED,
                         "esbuild is needed for modules and TypeScript, and MUSTER_ESBUILD, which is "
                         "\"%s\", names no program",
                         given);
        return MUSTER_LOAD_FAILED;
    }
    job->esbuild = search_path();
    if (job->esbuild != NULL)
        return MUSTER_OK;
    muster_error_set(job->error, MUSTER_LOAD_FAILED,
                     "esbuild is needed for modules and TypeScript and was not found; install it "
                     "with: apt-get install esbuild");
    return MUSTER_LOAD_FAILED;
}

/* ---- the folder for its output ---- */

static enum muster_status make_output_folder(struct job *job)
{
    const char *parent = secure_getenv("TMPDIR");
    char *real = realpath(parent != NULL && *parent == '/' ? parent : "/tmp", NULL);
    char *folder = real == NULL ? NULL : muster__format("%s/muster-bundle-XXXXXX", real);
    free(real);
    if (folder != NULL && mkdtemp(folder) != NULL) {
        job->output = folder;
        return MUSTER_OK;
    }
    int problem = errno;
    free(folder);
    char text[128];
    muster_error_set(job->error, MUSTER_LOAD_FAILED,
                     "cannot make a temporary folder in %s for bundling: %s",
                     parent != NULL && *parent == '/' ? parent : "/tmp",
                     strerror_r(problem, text, sizeof text));
    return MUSTER_LOAD_FAILED;
}

/* What esbuild writes lies flat, mostly. */
static void remove_below(int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) < 0 && depth > 0) {
            remove_below(fd, entry->d_name, depth - 1);
            unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(folder);
}

static void remove_output_folder(const char *path)
{
    if (path == NULL)
        return;
    remove_below(AT_FDCWD, path, MOST_DEPTH);
    rmdir(path);
}

/* ---- tsconfig.json: the nearest one, but never one above the root ---- */

static char *tsconfig_in(const char *root, const char *folder)
{
    char *path = muster__bundle_join(folder, "tsconfig.json");
    char *real = path == NULL ? NULL : realpath(path, NULL);
    free(path);
    if (real != NULL && muster__bundle_is_inside(root, real))
        return real;
    free(real);
    return NULL;
}

/* esbuild would look for one in every folder up to "/"; told of one, it looks for none. */
static enum muster_status write_empty_tsconfig(struct job *job)
{
    job->tsconfig = muster__format("%s/tsconfig.json", job->output);
    if (job->tsconfig == NULL)
        return no_memory(job);
    int fd = open(job->tsconfig, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, "{}\n", 3) == 3;
    if (fd >= 0)
        close(fd);
    if (written)
        return MUSTER_OK;
    muster_error_set(job->error, MUSTER_LOAD_FAILED, "cannot write to the temporary folder %s",
                     job->output);
    return MUSTER_LOAD_FAILED;
}

static enum muster_status choose_tsconfig(struct job *job)
{
    const char *root = job->options->root;
    char *folder = folder_of(job->options->entry);
    for (int i = 0; folder != NULL && job->tsconfig == NULL && i < MOST_DEPTH; i++) {
        job->tsconfig = tsconfig_in(root, folder);
        if (strcmp(folder, root) == 0 || strcmp(folder, "/") == 0)
            break;
        char *above = folder_of(folder);
        free(folder);
        folder = above;
    }
    bool out_of_memory = folder == NULL;
    free(folder);
    if (out_of_memory)
        return no_memory(job);
    return job->tsconfig != NULL ? MUSTER_OK : write_empty_tsconfig(job);
}

/* ---- running it ---- */

#define DYNAMIC_ARGUMENTS 4

static enum muster_status run(struct job *job, struct muster__bundle_ending *ret_ending)
{
    char *made[DYNAMIC_ARGUMENTS] = {
        muster__format("main=./%s", job->name), /* named, as a "=" in a path would be taken for it */
        muster__format("--outdir=%s", job->output),
        muster__format("--metafile=%s/meta.json", job->output),
        muster__format("--tsconfig=%s", job->tsconfig),
    };
    static const char *const together[] = {"--format=iife", "--global-name=__muster_module", "--platform=neutral",
                                           "--main-fields=module,main"};
    static const char *const alone[] = {"--format=cjs", "--external:*", "--tree-shaking=false",
                                        "--define:import.meta=__muster_meta"};
    const char *const *kind = job->options->is_alone ? alone : together;
    const char *arguments[] = {
        "esbuild", made[0], made[1], made[2], made[3], "--bundle", kind[0], kind[1], kind[2], kind[3],
        "--conditions=worker,import", "--target=es2022", "--sourcemap=external",
        "--sources-content=false", "--banner:js=\"use strict\";", "--log-level=error",
        "--color=false", job->options->is_alone ? "--supported:dynamic-import=false" : NULL, NULL,
    };
    enum muster_status status = MUSTER_OK;
    for (size_t i = 0; i < DYNAMIC_ARGUMENTS; i++)
        if (made[i] == NULL)
            status = no_memory(job);
    uint64_t deadline_us = job->options->deadline_us;
    const struct muster__bundle_process process = {
        .program = job->esbuild,
        .arguments = arguments,
        .folder = job->options->root,
        .output = job->output,
        .deadline_us = deadline_us != 0 ? deadline_us : DEFAULT_DEADLINE_US,
        .without_landlock = job->options->without_landlock,
    };
    if (status == MUSTER_OK)
        status = muster__bundle_process_run(&process, ret_ending, job->error);
    for (size_t i = 0; i < DYNAMIC_ARGUMENTS; i++)
        free(made[i]);
    return status;
}

/* ---- what it complains about ----
 *
 *   x [ERROR] Could not resolve "./b"
 *
 *       src/a.ts:3:7:
 *         3 | import "./b"
 */

#define ERROR_MARK "[ERROR] "

struct complaint {
    char *message;
    char *file; /* seen from the root; NULL: about no place */
    int line;
    int column;
};

static void complaint_clean_up(struct complaint *complaint)
{
    free(complaint->message);
    free(complaint->file);
    *complaint = (struct complaint){0};
}

/* Digits that end at `*end`, behind a colon; `*end` is then the colon. */
static bool number_before(const char *start, const char **end, int *ret_number)
{
    const char *digits = *end;
    while (digits > start && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    if (digits == *end || *end - digits > 9 || digits == start || digits[-1] != ':')
        return false;
    *ret_number = atoi(digits);
    *end = digits - 1;
    return true;
}

/* "    src/a.ts:3:7:", whose column counts from 0. */
static bool read_place(const char *line, size_t length, struct complaint *complaint)
{
    const char *start = line + strspn(line, " ");
    const char *end = line + length;
    int column = 0;
    if (start == line || start >= end || end[-1] != ':')
        return false;
    end--;
    if (!number_before(start, &end, &column) || !number_before(start, &end, &complaint->line) ||
        start == end)
        return false;
    complaint->column = column + 1;
    complaint->file = muster__strndup(start, (size_t)(end - start));
    return true;
}

/* The complaint at `mark`. */
static void read_complaint(const char *mark, struct complaint *complaint)
{
    const char *at = mark + strlen(ERROR_MARK);
    const char *next = strstr(at, ERROR_MARK);
    size_t length = strcspn(at, "\n");
    complaint->message = muster__strndup(at, length);
    while (at[length] == '\n') {
        at += length + 1;
        length = strcspn(at, "\n");
        if ((next != NULL && next < at + length) || read_place(at, length, complaint))
            return; /* the next one begins, or this is the place */
    }
}

/* The first with a place, else the first: confined, esbuild complains of folders before it says who
 * wanted them.  False: there is none. */
static bool find_complaint(const char *errors, struct complaint *complaint)
{
    const char *first = strstr(errors, ERROR_MARK);
    for (const char *mark = first; mark != NULL && complaint->file == NULL;
         mark = strstr(mark + 1, ERROR_MARK)) {
        complaint_clean_up(complaint);
        read_complaint(mark, complaint);
    }
    if (first != NULL && complaint->file == NULL) {
        complaint_clean_up(complaint);
        read_complaint(first, complaint);
    }
    return first != NULL;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Complaints about what is not in the text, but beside it. */
static bool is_about_loading(const struct complaint *complaint)
{
    static const char *const starts[] = {"Could not resolve", "Could not read", "Cannot read",
                                         "No loader is configured"};
    bool found = complaint->file == NULL;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        found = found || begins_with(complaint->message, starts[i]);
    return found;
}

/* What stands behind the first quotation mark, up to the last; the caller frees; NULL: out of memory. */
static char *quoted_in(const char *message)
{
    const char *first = strchr(message, '"') + 1;
    const char *last = strrchr(message, '"');
    return muster__strndup(first, last < first ? strlen(first) : (size_t)(last - first));
}

static enum muster_status tell_outside(struct job *job, const char *import, const char *file)
{
    muster_error_set(job->error, MUSTER_LOAD_FAILED,
                     "import \"%s\" of %s lies outside the application's folder %s", import, file,
                     job->options->root);
    return MUSTER_LOAD_FAILED;
}

/* A package of that name that is linked from outside of the root, in any node_modules from `folder` up. */
static bool is_package_outside(const struct job *job, const char *folder, const char *import)
{
    const char *root = job->options->root;
    size_t length = strcspn(import, "/");
    if (*import == '@' && import[length] == '/')
        length += 1 + strcspn(import + length + 1, "/");
    char *at = muster__strdup(folder);
    bool found = false;
    for (int i = 0; at != NULL && !found && i < MOST_DEPTH; i++) {
        char *name = muster__format("%s/node_modules/%.*s", at, (int)length, import);
        char *real = name == NULL ? NULL : realpath(name, NULL);
        found = real != NULL && !muster__bundle_is_inside(root, real);
        free(real);
        free(name);
        if (strcmp(at, root) == 0 || !muster__bundle_is_inside(root, at))
            break;
        char *above = folder_of(at);
        free(at);
        at = above;
    }
    free(at);
    return found;
}

/* Confined, esbuild cannot tell what is outside from what is not there; its author should be told. */
static bool leads_outside(const struct job *job, const char *file, const char *import)
{
    char *path = muster__bundle_join(job->options->root, file);
    char *folder = path == NULL ? NULL : folder_of(path);
    bool outside = false;
    if (folder != NULL && (*import == '/' || *import == '.')) {
        char *real = really(folder, import);
        outside = real != NULL && !muster__bundle_is_inside(job->options->root, real);
        free(real);
    } else if (folder != NULL && *import != '\0') {
        outside = is_package_outside(job, folder, import);
    }
    free(folder);
    free(path);
    return outside;
}

static enum muster_status tell_unresolved(struct job *job, const struct complaint *complaint,
                                          const char *errors, const char *import)
{
    if (leads_outside(job, complaint->file, import))
        return tell_outside(job, import, complaint->file);
    const char *hint = "";
    if (strstr(errors, "but is built into node") != NULL)
        hint = ": it is a module of Node.js, which workers do not have";
    else if (*import != '.' && *import != '/')
        hint = ": is it installed in node_modules?";
    muster_error_set(job->error, MUSTER_LOAD_FAILED, "cannot find the import \"%s\" of %s%s", import,
                     complaint->file, hint);
    return MUSTER_LOAD_FAILED;
}

/* How the import at that place is written: the text between its quotation marks.  NULL: there is none. */
static char *import_at(const struct job *job, const struct complaint *complaint)
{
    char *path = muster__bundle_join(job->options->root, complaint->file);
    char *text = NULL;
    size_t length = 0;
    int problem =
        path == NULL ? ENOMEM : muster__bundle_read_file(path, MOST_OUTPUT, &text, &length);
    free(path);
    if (problem != 0)
        return NULL;
    const char *line = text;
    for (int i = 1; line != NULL && i < complaint->line; i++) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    char *import = NULL;
    size_t before = (size_t)complaint->column - 1;
    if (line != NULL && strcspn(line, "\n") > before && strchr("\"'`", line[before]) != NULL) {
        const char ends[] = {line[before], '\n', '\0'};
        import = muster__strndup(line + before + 1, strcspn(line + before + 1, ends));
    }
    free(text);
    return import;
}

/* "Cannot read file "../x.js": permission denied" is how the confined esbuild puts it. */
static enum muster_status tell_unreadable(struct job *job, const struct complaint *complaint)
{
    char *import = complaint->file == NULL ? NULL : import_at(job, complaint);
    enum muster_status status = MUSTER_LOAD_FAILED;
    if (import != NULL && leads_outside(job, complaint->file, import))
        status = tell_outside(job, import, complaint->file);
    else
        muster_error_set(job->error, status, "cannot bundle %s: %s", job->name, complaint->message);
    free(import);
    return status;
}

static enum muster_status tell_syntax(struct job *job, const struct complaint *complaint)
{
    if (begins_with(complaint->message, "Top-level await"))
        muster_error_set(job->error, MUSTER_SYNTAX_ERROR,
                         "a module cannot await at its top level; export a promise by default "
                         "instead, as in: export default (async () => ({ ... }))()");
    else
        muster_error_set(job->error, MUSTER_SYNTAX_ERROR, "%s", complaint->message);
    job->error->name = muster__strdup("SyntaxError");
    return MUSTER_SYNTAX_ERROR;
}

static enum muster_status tell_complaint(struct job *job, const char *errors,
                                         const struct complaint *complaint)
{
    if (complaint->message == NULL)
        return no_memory(job);
    if (!is_about_loading(complaint))
        return tell_syntax(job, complaint);
    if (complaint->file == NULL || !begins_with(complaint->message, "Could not resolve \""))
        return tell_unreadable(job, complaint);
    char *import = quoted_in(complaint->message);
    enum muster_status status =
        import == NULL ? no_memory(job) : tell_unresolved(job, complaint, errors, import);
    free(import);
    return status;
}

static enum muster_status complain(struct job *job, const char *errors)
{
    struct complaint complaint = {0};
    if (!find_complaint(errors, &complaint)) {
        muster_error_set(job->error, MUSTER_LOAD_FAILED, "%s failed while bundling %s%s%.*s",
                         job->esbuild, job->name, *errors == '\0' ? "" : ": ",
                         (int)strcspn(errors, "\n"), errors);
        return MUSTER_LOAD_FAILED;
    }
    enum muster_status status = tell_complaint(job, errors, &complaint);
    if (complaint.file != NULL && status != MUSTER_NO_MEMORY) {
        job->error->file = complaint.file;
        job->error->line = complaint.line;
        job->error->column = complaint.column;
        complaint.file = NULL;
    }
    complaint_clean_up(&complaint);
    return status;
}

static enum muster_status judge(struct job *job, const struct muster__bundle_ending *ending)
{
    if (ending->timed_out)
        muster_error_set(job->error, MUSTER_LOAD_FAILED,
                         "%s was still bundling %s at its deadline, and was ended", job->esbuild,
                         job->name);
    else if (ending->known && ending->signal != 0)
        muster_error_set(job->error, MUSTER_LOAD_FAILED, "%s was ended by signal %d while bundling %s",
                         job->esbuild, ending->signal, job->name);
    else if ((ending->known && ending->status != 0) || strstr(ending->errors, ERROR_MARK) != NULL)
        return complain(job, ending->errors);
    else
        return MUSTER_OK; /* or not known: then its output tells */
    return MUSTER_LOAD_FAILED;
}

/* ---- what it wrote ---- */

static enum muster_status tell_unusable(struct job *job, const char *what)
{
    muster_error_set(job->error, MUSTER_LOAD_FAILED, "%s gave no usable result for %s: %s",
                     job->esbuild, job->name, what);
    return MUSTER_LOAD_FAILED;
}

static enum muster_status read_output(struct job *job, const char *name, char **ret_text,
                                      size_t *ret_length)
{
    char *path = muster__format("%s/%s", job->output, name);
    int problem =
        path == NULL ? ENOMEM : muster__bundle_read_file(path, MOST_OUTPUT, ret_text, ret_length);
    free(path);
    char text[128];
    if (problem == 0)
        return MUSTER_OK;
    return problem == ENOMEM ? no_memory(job)
                             : tell_unusable(job, strerror_r(problem, text, sizeof text));
}

static enum muster_status read_json(struct job *job, const char *name,
                                    struct muster_value **ret_document)
{
    char *text = NULL;
    size_t length = 0;
    enum muster_status status = read_output(job, name, &text, &length);
    if (status != MUSTER_OK)
        return status;
    status = muster_value_from_json(text, length, ret_document, NULL);
    free(text);
    if (status == MUSTER_NO_MEMORY)
        return no_memory(job);
    return status == MUSTER_OK ? MUSTER_OK : tell_unusable(job, "its JSON cannot be read");
}

/* ---- nothing in it from outside ---- */

/* Who imported the input `path`, and how it was written there. */
static enum muster_status tell_who_imported(struct job *job, const char *path)
{
    const struct muster_value *inputs = muster_value_get(job->metafile, "inputs");
    for (size_t i = 0; i < muster_value_count(inputs); i++) {
        const struct muster_value *imports =
            muster_value_get(muster_value_at(inputs, i), "imports");
        for (size_t k = 0; k < muster_value_count(imports); k++) {
            const struct muster_value *import = muster_value_at(imports, k);
            const char *target = muster_value_bytes(muster_value_get(import, "path")).data;
            const char *written = muster_value_bytes(muster_value_get(import, "original")).data;
            const char *importer = muster_value_key_at(inputs, i).data;
            if (target == NULL || strcmp(target, path) != 0)
                continue;
            enum muster_status status =
                tell_outside(job, written != NULL ? written : path, importer);
            job->error->file = muster__strdup(importer);
            return status;
        }
    }
    return tell_outside(job, path, job->name);
}

/* "<data:...>" and "(disabled):..." name no file that was read. */
static bool names_a_file(const char *input)
{
    return *input != '<' && !begins_with(input, "(disabled):");
}

static enum muster_status check_inputs(struct job *job)
{
    const struct muster_value *inputs = muster_value_get(job->metafile, "inputs");
    if (muster_value_count(inputs) == 0)
        return tell_unusable(job, "it does not list what it read");
    for (size_t i = 0; i < muster_value_count(inputs); i++) {
        const char *input = muster_value_key_at(inputs, i).data;
        if (!names_a_file(input))
            continue;
        char *real = really(job->options->root, input);
        if (real == NULL)
            return no_memory(job);
        bool inside = muster__bundle_is_inside(job->options->root, real);
        free(real);
        if (!inside)
            return tell_who_imported(job, input);
    }
    return MUSTER_OK;
}

/* Whoever took the exit status kept it from us: a bundle that was cut short must not run. */
static enum muster_status check_length(struct job *job, size_t length)
{
    const struct muster_value *outputs = muster_value_get(job->metafile, "outputs");
    for (size_t i = 0; i < muster_value_count(outputs); i++) {
        struct muster_bytes name = muster_value_key_at(outputs, i);
        bool is_ours = name.length >= 8 && strcmp(name.data + name.length - 8, "/main.js") == 0;
        double bytes = muster_value_number(muster_value_get(muster_value_at(outputs, i), "bytes"));
        if (is_ours && bytes == (double)length)
            return MUSTER_OK;
    }
    return tell_unusable(job, "it is not whole");
}

/* ---- the map ---- */

/* esbuild writes sources as seen from our folder; authors see them from theirs. */
static struct muster_value *source_from_root(const struct job *job, const char *source)
{
    if (source == NULL || !names_a_file(source))
        return muster_value_new_text(source == NULL ? "<unknown>" : source);
    char *path = muster__bundle_join(job->output, source);
    struct muster_value *name =
        path == NULL ? NULL : muster_value_new_text(seen_from_root(job->options->root, path));
    free(path);
    return name;
}

static struct muster_value *sources_from_root(const struct job *job,
                                              const struct muster_value *sources)
{
    struct muster_value *named = muster_value_new_array();
    for (size_t i = 0; named != NULL && i < muster_value_count(sources); i++) {
        const char *source = muster_value_bytes(muster_value_at(sources, i)).data;
        if (muster_value_append(named, source_from_root(job, source)) != MUSTER_OK) {
            muster_value_release(named);
            return NULL;
        }
    }
    return named;
}

static struct muster_value *map_from_root(const struct job *job, const struct muster_value *map)
{
    struct muster_value *document = muster_value_new_object();
    const struct muster_value *mappings = muster_value_get(map, "mappings");
    bool made =
        document != NULL &&
        muster_value_put(document, "version", muster_value_new_number(3)) == MUSTER_OK &&
        muster_value_put(document, "sources",
                         sources_from_root(job, muster_value_get(map, "sources"))) == MUSTER_OK &&
        muster_value_put(document, "mappings", muster_value_acquire(mappings)) == MUSTER_OK;
    if (made)
        return document;
    muster_value_release(document);
    return NULL;
}

static enum muster_status read_map(struct job *job, struct muster__bundle *bundle)
{
    struct muster_value *map = NULL;
    enum muster_status status = read_json(job, "main.js.map", &map);
    if (status != MUSTER_OK)
        return status;
    if (muster_value_type(muster_value_get(map, "sources")) != MUSTER_TYPE_ARRAY) {
        muster_value_release(map);
        return tell_unusable(job, "its source map cannot be read");
    }
    struct muster_value *document = map_from_root(job, map);
    bundle->source_map = document == NULL ? NULL : muster_value_to_json(document);
    status = bundle->source_map == NULL ? no_memory(job)
                                        : muster__source_map_new(document, &bundle->map, job->error);
    muster_value_release(document);
    muster_value_release(map);
    if (status == MUSTER_OK || status == MUSTER_NO_MEMORY)
        return status;
    return tell_unusable(job, "its source map cannot be read");
}

/* ---- what a module alone imports ---- */

static enum muster_status read_imports(struct job *job, struct muster__bundle *bundle)
{
    const struct muster_value *input = muster_value_at(muster_value_get(job->metafile, "inputs"), 0);
    const struct muster_value *imports = muster_value_get(input, "imports");
    bundle->imports = muster_value_new_array();
    for (size_t i = 0; bundle->imports != NULL && i < muster_value_count(imports); i++) {
        const struct muster_value *import = muster_value_at(imports, i);
        const char *kind = muster_value_bytes(muster_value_get(import, "kind")).data;
        struct muster_bytes path = muster_value_bytes(muster_value_get(import, "path"));
        if (kind == NULL || strcmp(kind, "import-statement") != 0 || path.data == NULL || *path.data == '<')
            continue;
        if (muster_value_append(bundle->imports, muster_value_new_text(path.data)) != MUSTER_OK)
            return no_memory(job);
    }
    return bundle->imports != NULL ? MUSTER_OK : no_memory(job);
}

/* ---- all of it ---- */

static enum muster_status read_result(struct job *job, struct muster__bundle *bundle)
{
    enum muster_status status = read_json(job, "meta.json", &job->metafile);
    if (status == MUSTER_OK)
        status = check_inputs(job);
    if (status == MUSTER_OK)
        status = read_output(job, "main.js", &bundle->text, &bundle->length);
    if (status == MUSTER_OK)
        status = check_length(job, bundle->length);
    if (status == MUSTER_OK && job->options->is_alone)
        return read_imports(job, bundle);
    return status == MUSTER_OK ? read_map(job, bundle) : status;
}

static enum muster_status make(struct job *job, struct muster__bundle *bundle)
{
    enum muster_status status = find_esbuild(job);
    if (status == MUSTER_OK)
        status = make_output_folder(job);
    if (status == MUSTER_OK)
        status = choose_tsconfig(job);
    struct muster__bundle_ending ending = {0};
    if (status == MUSTER_OK)
        status = run(job, &ending);
    if (status == MUSTER_OK)
        status = judge(job, &ending);
    free(ending.errors);
    return status == MUSTER_OK ? read_result(job, bundle) : status;
}

enum muster_status muster__bundle_make(const struct muster__bundle_options *options,
                                       struct muster__bundle *ret_bundle,
                                       struct muster_error *error)
{
    struct muster_error unwanted = {0};
    struct muster__bundle bundle = {0};
    struct job job = {.options = options,
                      .name = seen_from_root(options->root, options->entry),
                      .error = error != NULL ? error : &unwanted};
    MUSTER_CHECK(muster__bundle_is_inside(options->root, options->entry));
    enum muster_status status = make(&job, &bundle);
    remove_output_folder(job.output);
    free(job.esbuild);
    free(job.output);
    free(job.tsconfig);
    muster_value_release(job.metafile);
    muster_error_clean_up(&unwanted);
    if (status == MUSTER_OK)
        *ret_bundle = bundle;
    else
        muster__bundle_clean_up(&bundle);
    return status;
}

void muster__bundle_clean_up(struct muster__bundle *bundle)
{
    free(bundle->text);
    free(bundle->source_map);
    muster__source_map_destroy(bundle->map);
    muster_value_release(bundle->imports);
    *bundle = (struct muster__bundle){0};
}
