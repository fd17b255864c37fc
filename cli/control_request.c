/* cli/control_request.c - see control_request.h. */
#include "cli/control_request.h"

#include "runtime/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MOST ((size_t)64 << 10)
#define NUMBER_MOST 1e12

static const char *const kinds[] = {
#define WORD(name, word) [MUSTER__CONTROL_##name] = word,
    MUSTER__CONTROL_REQUEST_LIST(WORD)
#undef WORD
};

enum field_kind {
    FIELD_TEXT,   /* const char *, not empty, without NUL */
    FIELD_PATH,   /* the same, absolute */
    FIELD_FLAG,   /* bool */
    FIELD_NUMBER, /* uint64_t */
    FIELD_WORD,   /* int: the number of one of `words` */
    FIELD_ANY,    /* const struct muster_value * */
};

#define IN(name) (1u << MUSTER__CONTROL_##name)
#define OF_SCOPE (IN(SEND) | IN(REGISTER) | IN(UPDATE) | IN(UNREGISTER) | IN(STOP))

static const struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    unsigned where, needed; /* IN()s */
    const char *words[6];
} fields[] = {
#define AT(member) offsetof(struct muster__control_request, member)
    {"scope", FIELD_TEXT, AT(scope), OF_SCOPE | IN(PS), OF_SCOPE, {0}},
    {"type", FIELD_TEXT, AT(type), IN(SEND), IN(SEND), {0}},
    {"data", FIELD_ANY, AT(data), IN(SEND), 0, {0}},
    {"timeout_ms", FIELD_NUMBER, AT(timeout_ms), IN(SEND), 0, {0}},
    {"script", FIELD_PATH, AT(script), IN(REGISTER), IN(REGISTER), {0}},
    {"engine", FIELD_TEXT, AT(engine), IN(REGISTER), 0, {0}},
    {"tenant", FIELD_TEXT, AT(tenant), IN(REGISTER), 0, {0}},
    {"module", FIELD_FLAG, AT(module), IN(REGISTER), 0, {0}},
    {"lazy", FIELD_FLAG, AT(lazy), IN(REGISTER), 0, {0}},
    {"trust", FIELD_WORD, AT(trust), IN(REGISTER), 0, {"script", "full", "none"}}, /* as enum muster_trust */
    {"isolation", FIELD_WORD, AT(isolation), IN(REGISTER), 0,
     {"default", "thread", "process", "process-per-site", "process-per-worker"}}, /* as enum muster_hosting */
    {"running", FIELD_FLAG, AT(running), IN(PS), 0, {0}},
    {"follow", FIELD_FLAG, AT(follow), IN(LOGS), 0, {0}},
    {"level", FIELD_WORD, AT(level), IN(LOGS), 0, {"error", "warning", "info", "debug"}}, /* as muster_log_level */
    {"lines", FIELD_NUMBER, AT(lines), IN(LOGS), 0, {0}},
#undef AT
};
#define FIELDS (sizeof(fields) / sizeof(*fields))

static bool is_text(struct muster_bytes bytes, const char *text)
{
    return bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0;
}

static enum muster_status MUSTER_PRINTF(2, 3) refuse(struct muster_error *error, const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    muster_error_set(error, MUSTER_INVALID_ARGUMENT, "%s", sentence);
    return MUSTER_INVALID_ARGUMENT;
}

/* ---- one value into one place ---- */

static enum muster_status read_text(const struct field *field, const struct muster_value *value, const char **target,
                                    struct muster_error *error)
{
    const struct muster_bytes bytes = muster_value_bytes(value);
    if (muster_value_type(value) != MUSTER_TYPE_STRING || !bytes.length || bytes.length > TEXT_MOST ||
        memchr(bytes.data, 0, bytes.length))
        return refuse(error, "\"%s\" wants a text of 1 to %zu bytes", field->key, TEXT_MOST);
    if (field->kind == FIELD_PATH && *bytes.data != '/')
        return refuse(error, "\"%s\" wants an absolute path", field->key);
    *target = bytes.data;
    return MUSTER_OK;
}

static enum muster_status read_number(const struct field *field, const struct muster_value *value, uint64_t *target,
                                      struct muster_error *error)
{
    double number = muster_value_number(value);
    if (!(number >= 0 && number <= NUMBER_MOST) || number != (double)(uint64_t)number)
        return refuse(error, "\"%s\" wants a whole number that is not negative", field->key);
    *target = (uint64_t)number;
    return MUSTER_OK;
}

static enum muster_status read_word(const struct field *field, const struct muster_value *value, unsigned *target,
                                    struct muster_error *error)
{
    for (unsigned i = 0; field->words[i]; i++)
        if (muster_value_type(value) == MUSTER_TYPE_STRING && is_text(muster_value_bytes(value), field->words[i])) {
            *target = i;
            return MUSTER_OK;
        }
    char choice[160] = "";
    size_t used = 0;
    for (unsigned i = 0; field->words[i]; i++)
        used += (size_t)snprintf(choice + used, sizeof(choice) - used, "%s\"%s\"", i ? ", " : "", field->words[i]);
    return refuse(error, "\"%s\" wants one of %s", field->key, choice);
}

static enum muster_status read_field(const struct field *field, const struct muster_value *value,
                                     struct muster__control_request *request, struct muster_error *error)
{
    void *target = (char *)request + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_PATH: return read_text(field, value, target, error);
    case FIELD_NUMBER: return read_number(field, value, target, error);
    case FIELD_WORD: return read_word(field, value, target, error);
    case FIELD_ANY: *(const struct muster_value **)target = value; return MUSTER_OK;
    case FIELD_FLAG:
        if (muster_value_type(value) != MUSTER_TYPE_BOOLEAN)
            return refuse(error, "\"%s\" wants true or false", field->key);
        *(bool *)target = muster_value_boolean(value);
        return MUSTER_OK;
    }
    return MUSTER_OK;
}

/* ---- the whole ---- */

static enum muster_status read_kind(struct muster__control_request *request, struct muster_error *error)
{
    const struct muster_value *word = muster_value_get(request->tree, "request");
    if (muster_value_type(request->tree) != MUSTER_TYPE_OBJECT || muster_value_type(word) != MUSTER_TYPE_STRING)
        return refuse(error, "a request is an object with a text \"request\"");
    for (unsigned i = 0; i < MUSTER__CONTROL_KIND_COUNT; i++)
        if (is_text(muster_value_bytes(word), kinds[i])) {
            request->kind = (enum muster__control_kind)i;
            return MUSTER_OK;
        }
    return refuse(error, "unknown request \"%.40s\"", muster_value_bytes(word).data);
}

static const struct field *find_field(struct muster_bytes key, enum muster__control_kind kind)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].where & 1u << kind && is_text(key, fields[i].key))
            return &fields[i];
    return NULL;
}

/* A null says nothing, but where anything is taken. */
static bool is_said(const struct field *field, const struct muster_value *value)
{
    return value && (field->kind == FIELD_ANY || muster_value_type(value) != MUSTER_TYPE_NULL);
}

static enum muster_status read_fields(struct muster__control_request *request, struct muster_error *error)
{
    for (size_t i = 0; i < muster_value_count(request->tree); i++) {
        const struct muster_bytes key = muster_value_key_at(request->tree, i);
        if (is_text(key, "request"))
            continue;
        const struct field *field = find_field(key, request->kind);
        const struct muster_value *value = muster_value_at(request->tree, i);
        if (!field)
            return refuse(error, "\"%s\" takes no \"%.40s\"", kinds[request->kind], key.data);
        enum muster_status status = is_said(field, value) ? read_field(field, value, request, error) : MUSTER_OK;
        if (status != MUSTER_OK)
            return status;
    }
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].needed & 1u << request->kind && !is_said(&fields[i], muster_value_get(request->tree, fields[i].key)))
            return refuse(error, "\"%s\" needs \"%s\"", kinds[request->kind], fields[i].key);
    return MUSTER_OK;
}

enum muster_status muster__control_request_parse(const char *text, size_t length,
                                                 struct muster__control_request *ret_request,
                                                 struct muster_error *error)
{
    struct muster__control_request request = {.level = MUSTER_LOG_INFO};
    if (length > MUSTER__CONTROL_LINE_MOST)
        return refuse(error, "a request is longer than %zu bytes", MUSTER__CONTROL_LINE_MOST);
    enum muster_status status = muster_value_from_json(text, length, &request.tree, error);
    if (status == MUSTER_OK)
        status = read_kind(&request, error);
    if (status == MUSTER_OK)
        status = read_fields(&request, error);
    if (status == MUSTER_OK)
        *ret_request = request;
    else
        muster_value_release(request.tree);
    return status;
}

void muster__control_request_clean_up(struct muster__control_request *request)
{
    muster_value_release(request->tree);
    *request = (struct muster__control_request){0};
}

char *muster__control_line(struct muster_value *take_value, size_t *ret_length)
{
    char *json = take_value ? muster_value_to_json(take_value) : NULL;
    size_t length = json ? strlen(json) : 0;
    char *line = json ? realloc(json, length + 2) : NULL;
    muster_value_release(take_value);
    if (!line) {
        free(json);
        return NULL;
    }
    memcpy(line + length, "\n", 2);
    *ret_length = length + 1;
    return line;
}
