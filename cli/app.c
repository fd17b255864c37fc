/* cli/app.c - see app.h.  Thread: the main one, before there are others.
 *
 * Everything is checked before anything starts, so that a mistake leaves nothing half done; the first
 * mistake is told in one sentence that begins with its place. */
#include "cli/app.h"

#include "cli/app_json.h"
#include "cli/options.h"
#include "coordinator/sync.h"
#include "runtime/bundle.h"
#include "runtime/check.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_JSON ((size_t)64 << 20)

struct reading {
    char *name; /* "folder/muster.json", as the user would write it */
    struct muster__app *app;
    struct muster_error *error;
};

static enum muster_status no_memory(struct muster_error *error)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while reading the application");
    return MUSTER_NO_MEMORY;
}

/* "folder/muster.json:4: " and a sentence. */
static enum muster_status MUSTER_PRINTF(3, 4)
complain(struct reading *reading, int line, const char *format, ...)
{
    char *sentence = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&sentence, format, arguments);
    va_end(arguments);
    if (length < 0)
        return no_memory(reading->error);
    muster_error_set(reading->error, MUSTER_INVALID_ARGUMENT, "%s:%d: %s", reading->name, line, sentence);
    free(sentence);
    return MUSTER_INVALID_ARGUMENT;
}

/* ---- one value into one place ---- */

enum field_kind {
    FIELD_TEXT,    /* char *, a copy */
    FIELD_FLAG,    /* bool */
    FIELD_TIME,    /* uint64_t milliseconds */
    FIELD_BYTES,   /* size_t; also as a bare integer */
    FIELD_NUMBER,  /* size_t */
    FIELD_FILES,   /* size_t: what the host of workers opens itself at least */
    FIELD_CHOICE,  /* bool: the second of two words */
    FIELD_OTHER,   /* somebody else reads it */
};

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    const char *words[5]; /* of a choice; the target is an int, the number of the word */
};

static enum muster_status wants(struct reading *reading, const struct muster__app_json *json, const char *what)
{
    if (json->kind == MUSTER__APP_JSON_STRING)
        return complain(reading, json->line, "\"%s\" wants %s, not \"%s\"", json->key, what, json->text);
    return complain(reading, json->line, "\"%s\" wants %s, not %s", json->key, what,
                    muster__app_json_kind_name(json->kind));
}

static enum muster_status read_text(struct reading *reading, const struct muster__app_json *json, char **target)
{
    if (json->kind != MUSTER__APP_JSON_STRING || !*json->text)
        return wants(reading, json, "a string that is not empty");
    *target = muster__strdup(json->text);
    return *target ? MUSTER_OK : no_memory(reading->error);
}

static enum muster_status read_bytes(struct reading *reading, const struct muster__app_json *json,
                                     size_t *target)
{
    bool good = false;
    if (json->kind == MUSTER__APP_JSON_STRING) {
        good = muster__parse_bytes(json->text, target);
    } else if (json->kind == MUSTER__APP_JSON_INTEGER) {
        *target = json->integer > 0 ? (size_t)json->integer : 0;
        good = true;
    }
    return good && *target ? MUSTER_OK : wants(reading, json, "a size like \"512\", \"64k\" or \"128m\"");
}

static enum muster_status read_choice(struct reading *reading, const struct muster__app_json *json,
                                      const struct field *field, int *target)
{
    char what[128] = "";
    size_t used = 0;
    for (int i = 0; field->words[i]; i++) {
        if (json->kind == MUSTER__APP_JSON_STRING && strcmp(json->text, field->words[i]) == 0) {
            *target = i;
            return MUSTER_OK;
        }
        const char *between = i == 0 ? "" : field->words[i + 1] ? ", " : " or ";
        used += (size_t)snprintf(what + used, sizeof(what) - used, "%s\"%s\"", between, field->words[i]);
    }
    return wants(reading, json, what);
}

static enum muster_status read_field(struct reading *reading, const struct muster__app_json *json,
                                     const struct field *field, void *object)
{
    void *target = (char *)object + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
        return read_text(reading, json, target);
    case FIELD_FLAG:
        *(bool *)target = json->boolean;
        return json->kind == MUSTER__APP_JSON_BOOLEAN ? MUSTER_OK : wants(reading, json, "true or false");
    case FIELD_TIME:
        if (json->kind != MUSTER__APP_JSON_STRING || !muster__parse_time(json->text, target) ||
            !*(uint64_t *)target)
            return wants(reading, json, "a time like \"300ms\", \"30s\" or \"5m\"");
        return MUSTER_OK;
    case FIELD_BYTES:
        return read_bytes(reading, json, target);
    case FIELD_NUMBER:
        *(size_t *)target = (size_t)json->integer;
        if (json->kind != MUSTER__APP_JSON_INTEGER || json->integer < 1 || json->integer > 1000000)
            return wants(reading, json, "an integer from 1 to 1000000");
        return MUSTER_OK;
    case FIELD_FILES:
        *(size_t *)target = (size_t)json->integer;
        if (json->kind != MUSTER__APP_JSON_INTEGER || json->integer < 64 || json->integer > 1000000)
            return wants(reading, json, "an integer from 64 to 1000000");
        return MUSTER_OK;
    case FIELD_CHOICE:
        return read_choice(reading, json, field, target);
    case FIELD_OTHER:
        return MUSTER_OK;
    }
    return MUSTER_OK;
}

static enum muster_status unknown_key(struct reading *reading, const struct muster__app_json *json,
                                      const struct field *fields, size_t count)
{
    const char *names[32];
    MUSTER_CHECK(count <= sizeof(names) / sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = fields[i].key;
    const char *nearest = muster__nearest(json->key, names, count);
    if (nearest)
        return complain(reading, json->line, "unknown key \"%s\"; did you mean \"%s\"?", json->key, nearest);
    return complain(reading, json->line, "unknown key \"%s\"", json->key);
}

/* All keys of one object; `what` names it in messages. */
static enum muster_status read_object(struct reading *reading, const struct muster__app_json *json,
                                      const char *what, const struct field *fields, size_t count, void *object)
{
    if (json->kind != MUSTER__APP_JSON_OBJECT)
        return complain(reading, json->line, "%s must be an object, not %s", what,
                        muster__app_json_kind_name(json->kind));
    for (size_t i = 0; i < json->count; i++) {
        const struct field *field = NULL;
        for (size_t k = 0; k < count && !field; k++)
            if (strcmp(fields[k].key, json->items[i].key) == 0)
                field = &fields[k];
        if (!field)
            return unknown_key(reading, &json->items[i], fields, count);
        enum muster_status status = read_field(reading, &json->items[i], field, object);
        if (status != MUSTER_OK)
            return status;
    }
    return MUSTER_OK;
}

#define FIELDS(list) list, sizeof(list) / sizeof(*(list))

/* ---- one scope ---- */

/* What stands in the file, before it is resolved. */
struct scope_text {
    char *scope, *script, *engine, *allow_scope, *tenant;
    bool lazy, idempotent;
    int type, trust, isolation; /* numbers of words */
    uint64_t turn_ms, idle_ms;
    size_t memory, queue;
    struct muster__app_process process;
};

static const struct field scope_fields[] = {
    {"scope", FIELD_TEXT, offsetof(struct scope_text, scope), {0}},
    {"script", FIELD_TEXT, offsetof(struct scope_text, script), {0}},
    {"engine", FIELD_TEXT, offsetof(struct scope_text, engine), {0}},
    {"type", FIELD_CHOICE, offsetof(struct scope_text, type), {"classic", "module"}},
    {"lazy", FIELD_FLAG, offsetof(struct scope_text, lazy), {0}},
    {"trust", FIELD_CHOICE, offsetof(struct scope_text, trust), {"script", "full", "none"}}, /* as enum muster_trust */
    {"isolation", FIELD_CHOICE, offsetof(struct scope_text, isolation),
     {"thread", "process", "process-per-site", "process-per-worker"}}, /* enum muster_hosting without DEFAULT */
    {"tenant", FIELD_TEXT, offsetof(struct scope_text, tenant), {0}},
    {"idempotent", FIELD_FLAG, offsetof(struct scope_text, idempotent), {0}},
    {"schedule", FIELD_OTHER, 0, {0}},
    {"limits", FIELD_OTHER, 0, {0}},
    {"allow_scope", FIELD_TEXT, offsetof(struct scope_text, allow_scope), {0}},
};

static const struct field limit_fields[] = {
    {"turn", FIELD_TIME, offsetof(struct scope_text, turn_ms), {0}},
    {"memory", FIELD_BYTES, offsetof(struct scope_text, memory), {0}},
    {"queue", FIELD_NUMBER, offsetof(struct scope_text, queue), {0}},
    {"idle", FIELD_TIME, offsetof(struct scope_text, idle_ms), {0}},
    {"process_memory", FIELD_BYTES, offsetof(struct scope_text, process.memory), {0}},
    {"process_files", FIELD_FILES, offsetof(struct scope_text, process.files), {0}},
    {"process_children", FIELD_NUMBER, offsetof(struct scope_text, process.children), {0}},
    {"process_cpu", FIELD_TIME, offsetof(struct scope_text, process.cpu_ms), {0}},
};

static int line_of(const struct muster__app_json *json, const char *key)
{
    const struct muster__app_json *item = muster__app_json_get(json, key);
    return item ? item->line : json->line;
}

static enum muster_status check_engine(struct reading *reading, const struct muster__app_json *json,
                                       const char *engine)
{
    static const char *const engines[] = {"javascript", "lua", "native"};
    const size_t count = sizeof(engines) / sizeof(*engines);
    for (size_t i = 0; i < count; i++)
        if (!engine || strcmp(engine, engines[i]) == 0)
            return MUSTER_OK;
    const char *nearest = muster__nearest(engine, engines, count);
    if (nearest)
        return complain(reading, line_of(json, "engine"), "unknown engine \"%s\"; did you mean \"%s\"?",
                        engine, nearest);
    return complain(reading, line_of(json, "engine"),
                    "unknown engine \"%s\"; there are \"javascript\", \"lua\" and \"native\"", engine);
}

/* "/api/" of "/api/" and of "https://example.org/api/"; NULL: it is no scope. */
static const char *path_of_scope(const char *scope)
{
    const char *authority = strncmp(scope, "http://", 7) == 0    ? scope + 7
                            : strncmp(scope, "https://", 8) == 0 ? scope + 8
                                                                 : NULL;
    const char *path = authority ? authority + strcspn(authority, "/") : scope;
    return *path == '/' && path != authority ? path : NULL;
}

/* A path that a URL parser would change could slip past the comparison with the script's folder. */
static const char *fault_of_path(const char *path)
{
    for (const char *at = path; *at; at++) {
        if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f || strchr("\\\"<>^`{|}", *at))
            return "it holds a character that a URL writes otherwise";
        if (*at == '?' || *at == '#')
            return "it has a query or a fragment";
        if (strncasecmp(at, "%2f", 3) == 0 || strncasecmp(at, "%5c", 3) == 0 || strncasecmp(at, "%2e", 3) == 0)
            return "it holds an encoded slash or dot";
        size_t dots = *at == '/' ? strspn(at + 1, ".") : 0;
        if ((dots == 1 || dots == 2) && (at[1 + dots] == '/' || !at[1 + dots]))
            return "it has a \".\" or \"..\" in it";
    }
    return NULL;
}

static enum muster_status check_path(struct reading *reading, const struct muster__app_json *json,
                                     const char *key, const char *scope)
{
    const char *path = path_of_scope(scope);
    const char *fault = path ? fault_of_path(path) : "it begins neither with \"/\" nor with \"http\"";
    if (!fault)
        return MUSTER_OK;
    return complain(reading, line_of(json, key), "\"%s\" is no usable scope: %s", scope, fault);
}

/* The Service Workers standard's cap: a script controls what lies beside and below it. */
static enum muster_status check_cap(struct reading *reading, const struct muster__app_json *json,
                                    const struct scope_text *text, const char *script)
{
    const char *below = script + strlen(reading->app->root);
    below -= *below != '/'; /* the root is "/" itself */
    char *folder = muster__strndup(below, (size_t)(strrchr(below, '/') + 1 - below));
    if (!folder)
        return no_memory(reading->error);
    const char *path = path_of_scope(text->scope);
    const char *allowed = text->allow_scope ? path_of_scope(text->allow_scope) : folder;
    enum muster_status status = MUSTER_OK;
    if (strncmp(path, allowed, strlen(allowed)) != 0)
        status = complain(reading, line_of(json, "scope"),
                          text->allow_scope
                              ? "scope \"%s\" lies outside \"%s\", which \"allow_scope\" gives it"
                              : "scope \"%s\" lies outside its script's folder \"%s\"; "
                                "\"allow_scope\" can name a wider one",
                          text->scope, allowed);
    free(folder);
    return status;
}

static enum muster_status find_script(struct reading *reading, const struct muster__app_json *json,
                                      const char *script, char **ret_path)
{
    int line = line_of(json, "script");
    enum muster_status status = MUSTER_OK;
    struct stat info;
    char *path = muster__bundle_join(reading->app->root, script);
    char *real = path ? realpath(path, NULL) : NULL;
    if (!path || (!real && errno == ENOMEM))
        status = no_memory(reading->error);
    else if (!muster__bundle_is_inside(reading->app->root, path) ||
             (real && !muster__bundle_is_inside(reading->app->root, real)))
        status = complain(reading, line, "script \"%s\" lies outside the application's folder %s", script,
                          reading->app->root);
    else if (!real)
        status = complain(reading, line, errno == ENOENT ? "there is no script \"%s\"" : "script \"%s\": %s",
                          script, strerror(errno));
    else if (stat(real, &info) || !S_ISREG(info.st_mode))
        status = complain(reading, line, "script \"%s\" is not a regular file", script);
    free(real);
    if (status == MUSTER_OK)
        *ret_path = path;
    else
        free(path);
    return status;
}

static enum muster_status check_scope(struct reading *reading, const struct muster__app_json *json,
                                      struct scope_text *text, char **ret_script)
{
    if (!text->scope || !text->script)
        return complain(reading, json->line, "a scope needs \"scope\" and \"script\"; \"%s\" is missing",
                        text->scope ? "script" : "scope");
    enum muster_status status = check_engine(reading, json, text->engine);
    if (status == MUSTER_OK)
        status = check_path(reading, json, "scope", text->scope);
    if (status == MUSTER_OK && text->allow_scope)
        status = check_path(reading, json, "allow_scope", text->allow_scope);
    if (status == MUSTER_OK)
        status = find_script(reading, json, text->script, ret_script);
    if (status == MUSTER_OK)
        status = check_cap(reading, json, text, *ret_script);
    return status;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length > size && strcmp(text + length - size, ending) == 0;
}

static bool is_module_by_ending(const char *path)
{
    static const char *const endings[] = {".mjs", ".ts", ".mts", ".tsx", ".jsx"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
        if (ends_with(path, endings[i]))
            return true;
    return false;
}

static enum muster_status add_expression(struct reading *reading, const struct muster__app_json *json, char **schedule)
{
    struct muster_error why = {0};
    if (json->kind != MUSTER__APP_JSON_STRING || strchr(json->text, '\n'))
        return complain(reading, json->line, "\"schedule\" wants a cron expression like \"0 3 * * *\", or several in an array");
    enum muster_status status = muster__syncs_check_schedule(json->text, &why);
    if (status != MUSTER_OK)
        status = complain(reading, json->line, "\"schedule\": %s", why.message ? why.message : "it says nothing");
    muster_error_clean_up(&why);
    if (status != MUSTER_OK)
        return status;
    char *longer = muster__format("%s%s%s", *schedule ? *schedule : "", *schedule ? "\n" : "", json->text);
    if (!longer)
        return no_memory(reading->error);
    free(*schedule);
    *schedule = longer;
    return MUSTER_OK;
}

/* Cron expressions, one a line; NULL: none. */
static enum muster_status read_schedule(struct reading *reading, const struct muster__app_json *json, char **schedule)
{
    enum muster_status status = MUSTER_OK;
    if (!json)
        return MUSTER_OK;
    if (json->kind != MUSTER__APP_JSON_ARRAY)
        return add_expression(reading, json, schedule);
    for (size_t i = 0; i < json->count && status == MUSTER_OK; i++)
        status = add_expression(reading, &json->items[i], schedule);
    return status;
}

static enum muster_status read_scope(struct reading *reading, const struct muster__app_json *json,
                                     struct muster__app_scope *ret_scope)
{
    char *schedule = NULL;
    struct scope_text text = {.isolation = -1};
    enum muster_status status = read_object(reading, json, "a scope", FIELDS(scope_fields), &text);
    const struct muster__app_json *limits =
        status == MUSTER_OK ? muster__app_json_get(json, "limits") : NULL;
    if (limits)
        status = read_object(reading, limits, "\"limits\"", FIELDS(limit_fields), &text);
    char *script = NULL;
    if (status == MUSTER_OK)
        status = read_schedule(reading, muster__app_json_get(json, "schedule"), &schedule);
    if (status == MUSTER_OK)
        status = check_scope(reading, json, &text, &script);
    *ret_scope = (struct muster__app_scope){
        .scope = text.scope,
        .script = script,
        .engine = text.engine,
        .module = text.type || (script && is_module_by_ending(script)),
        .lazy = text.lazy,
        .trust = (enum muster_trust)text.trust,
        .hosting = (enum muster_hosting)(MUSTER_HOSTING_THREAD + text.isolation),
        .tenant = text.tenant,
        .idempotent = text.idempotent,
        .schedule = schedule,
        .turn_limit_ms = text.turn_ms,
        .idle_ms = text.idle_ms,
        .memory_limit = text.memory,
        .queue_limit = text.queue,
        .process = text.process,
        .line = line_of(json, "scope"),
    };
    free(text.script);
    free(text.allow_scope);
    return status;
}

/* ---- the whole ---- */

static int compare_scopes(const void *a, const void *b)
{
    const struct muster__app_scope *left = *(const struct muster__app_scope *const *)a;
    const struct muster__app_scope *right = *(const struct muster__app_scope *const *)b;
    int order = strcmp(left->scope, right->scope);
    return order ? order : (left > right) - (left < right);
}

/* Sorted, since there may be ten thousand. */
static enum muster_status check_duplicates(struct reading *reading)
{
    size_t count = reading->app->count;
    const struct muster__app_scope **sorted = calloc(count, sizeof(const struct muster__app_scope *));
    if (!sorted)
        return no_memory(reading->error);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &reading->app->scopes[i];
    qsort(sorted, count, sizeof(*sorted), compare_scopes);
    enum muster_status status = MUSTER_OK;
    for (size_t i = 1; i < count && status == MUSTER_OK; i++)
        if (strcmp(sorted[i - 1]->scope, sorted[i]->scope) == 0)
            status = complain(reading, sorted[i]->line, "scope \"%s\" is already taken in line %d",
                              sorted[i]->scope, sorted[i - 1]->line);
    free(sorted);
    return status;
}

static enum muster_status read_scopes(struct reading *reading, const struct muster__app_json *json)
{
    const struct muster__app_json *scopes = muster__app_json_get(json, "scopes");
    if (scopes && scopes->kind != MUSTER__APP_JSON_ARRAY)
        return wants(reading, scopes, "an array");
    if (!scopes || !scopes->count)
        return complain(reading, scopes ? scopes->line : json->line,
                        "an application needs at least one scope in \"scopes\"");
    reading->app->scopes = calloc(scopes->count, sizeof(*reading->app->scopes));
    if (!reading->app->scopes)
        return no_memory(reading->error);
    enum muster_status status = MUSTER_OK;
    for (size_t i = 0; i < scopes->count && status == MUSTER_OK; i++)
        status = read_scope(reading, &scopes->items[i], &reading->app->scopes[reading->app->count++]);
    return status == MUSTER_OK ? check_duplicates(reading) : status;
}

static const struct field app_fields[] = {
    {"scopes", FIELD_OTHER, 0, {0}},
    {"idle_timeout", FIELD_TIME, offsetof(struct muster__app, idle_ms), {0}},
    {"grace_timeout", FIELD_TIME, offsetof(struct muster__app, grace_ms), {0}},
    {"event_timeout", FIELD_TIME, offsetof(struct muster__app, event_timeout_ms), {0}},
    {"body_limit", FIELD_BYTES, offsetof(struct muster__app, body_limit), {0}},
    {"placement", FIELD_TEXT, offsetof(struct muster__app, placement), {0}},
    {"processes", FIELD_NUMBER, offsetof(struct muster__app, processes), {0}},
    {"fresh_processes", FIELD_FLAG, offsetof(struct muster__app, fresh_processes), {0}},
    {"process_memory", FIELD_BYTES, offsetof(struct muster__app, process.memory), {0}},
    {"process_files", FIELD_FILES, offsetof(struct muster__app, process.files), {0}},
    {"process_children", FIELD_NUMBER, offsetof(struct muster__app, process.children), {0}},
    {"process_cpu", FIELD_TIME, offsetof(struct muster__app, process.cpu_ms), {0}},
    {"worker_limit", FIELD_NUMBER, offsetof(struct muster__app, each_key.workers), {0}},
    {"registration_limit", FIELD_NUMBER, offsetof(struct muster__app, each_key.registrations), {0}},
    {"stored_limit", FIELD_BYTES, offsetof(struct muster__app, each_key.stored), {0}},
    {"port_limit", FIELD_NUMBER, offsetof(struct muster__app, each_key.ports), {0}},
    {"cache_limit", FIELD_BYTES, offsetof(struct muster__app, each_key.cached), {0}},
};

static enum muster_status read_file(struct reading *reading, const char *folder)
{
    char *text = NULL;
    size_t length = 0;
    struct muster__app_json json;
    int problem = muster__bundle_read_file(reading->name, MOST_JSON, &text, &length);
    if (problem) {
        muster_error_set(reading->error, problem == ENOENT ? MUSTER_NOT_FOUND : MUSTER_SYSTEM,
                         problem == ENOENT ? "%s: there is no muster.json in this folder" : "%s/muster.json: %s",
                         folder, strerror(problem));
        return reading->error->status;
    }
    enum muster_status status =
        muster__app_json_parse(reading->name, text, length, &json, reading->error);
    if (status == MUSTER_OK)
        status = read_object(reading, &json, "an application", FIELDS(app_fields), reading->app);
    if (status == MUSTER_OK)
        status = read_scopes(reading, &json);
    muster__app_json_clean_up(&json);
    free(text);
    return status;
}

static enum muster_status load_folder(const char *path, struct muster__app *app, struct muster_error *error)
{
    struct reading reading = {.app = app, .error = error};
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    char *folder = muster__strndup(path, length);
    app->root = realpath(path, NULL);
    if (folder)
        reading.name = muster__format("%s%smuster.json", folder, strcmp(folder, "/") ? "/" : "");
    enum muster_status status =
        app->root && reading.name ? read_file(&reading, folder) : no_memory(error);
    free(folder);
    free(reading.name);
    return status;
}

static enum muster_status load_script(const char *path, struct muster__app *app, struct muster_error *error)
{
    char *script = realpath(path, NULL);
    char *slash = script ? strrchr(script, '/') : NULL;
    app->root = slash ? muster__strndup(script, slash == script ? 1 : (size_t)(slash - script)) : NULL;
    app->scopes = calloc(1, sizeof(*app->scopes));
    if (app->scopes) {
        app->count = 1;
        app->scopes->scope = muster__strdup("/");
        app->scopes->script = script;
        app->scopes->module = script && is_module_by_ending(script);
    } else {
        free(script);
    }
    return app->root && app->scopes && app->scopes->scope ? MUSTER_OK : no_memory(error);
}

enum muster_status muster__app_load(const char *path, struct muster__app *ret_app, struct muster_error *error)
{
    struct muster__app app = {0};
    struct stat info;
    enum muster_status status;
    if (stat(path, &info)) {
        status = errno == ENOENT ? MUSTER_NOT_FOUND : MUSTER_SYSTEM;
        muster_error_set(error, status,
                         errno == ENOENT ? "%s: there is no such script or folder" : "%s: %s", path,
                         strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        status = load_folder(path, &app, error);
    } else if (S_ISREG(info.st_mode)) {
        status = load_script(path, &app, error);
    } else {
        status = MUSTER_INVALID_ARGUMENT;
        muster_error_set(error, status, "%s: neither a script nor a folder", path);
    }
    if (status == MUSTER_OK)
        *ret_app = app;
    else
        muster__app_clean_up(&app);
    return status;
}

void muster__app_clean_up(struct muster__app *app)
{
    for (size_t i = 0; i < app->count; i++) {
        free(app->scopes[i].scope);
        free(app->scopes[i].script);
        free(app->scopes[i].engine);
        free(app->scopes[i].tenant);
        free(app->scopes[i].schedule);
    }
    free(app->scopes);
    free(app->root);
    free(app->placement);
    *app = (struct muster__app){0};
}
