/* coordinator/routes.c - see routes.h.  Conditions lie in one array, the children of one behind it, so that matching
 * walks it without pointers of its own; depth and number are bounded when they are read. */
#include "coordinator/routes.h"

#include "coordinator/url_pattern.h"
#include "runtime/check.h"

#include <stdlib.h>
#include <string.h>

enum running { RUNNING_ANY, RUNNING_YES, RUNNING_NO };
enum kind { KIND_PLAIN, KIND_OR, KIND_NOT };

struct condition {
    uint8_t kind, running;
    uint16_t end; /* behind its last child */
    struct muster__url_pattern *pattern; /* NULL: not said, likewise below */
    char *method;
    const char *mode, *destination; /* of the lists below */
};

struct rule {
    uint16_t condition;
    uint8_t route;
    char *cache;
};

struct muster__routes {
    atomic_uint references;
    struct condition *conditions;
    struct rule *rules;
    uint16_t condition_count, condition_capacity;
    size_t rule_count;
};

struct reader {
    struct muster__routes *routes;
    const char *base_url;
    bool listens;
    size_t rule; /* which is read, from 1 */
    enum muster_status status;
    struct muster_error *error;
};

static void fail(struct reader *reader, const char *what)
{
    if (reader->status != MUSTER_OK)
        return;
    reader->status = MUSTER_INVALID_ARGUMENT;
    if (reader->error)
        muster_error_set(reader->error, MUSTER_INVALID_ARGUMENT, "rule %zu: %s", reader->rule, what);
}

static void fail_memory(struct reader *reader)
{
    if (reader->status == MUSTER_OK)
        reader->status = MUSTER_NO_MEMORY;
}

/* ---- texts ---- */

static const char *text_of(const struct muster_value *value)
{
    struct muster_bytes text = muster_value_bytes(value);
    return muster_value_type(value) == MUSTER_TYPE_STRING && strlen(text.data) == text.length ? text.data : NULL;
}

static bool is_said(const struct muster_value *value)
{
    return value && muster_value_type(value) != MUSTER_TYPE_UNDEFINED;
}

static const char *const modes[] = {"navigate", "same-origin", "no-cors", "cors", NULL};
static const char *const destinations[] = {
    "",         "audio",  "audioworklet", "document",     "embed",  "font",         "frame", "iframe",
    "image",    "json",   "manifest",     "object",       "paintworklet", "report", "script", "sharedworker",
    "style",    "text",   "track",        "video",        "worker", "xslt",         NULL};

static const char *find_text(const char *const *list, const char *text)
{
    while (*list && strcmp(*list, text) != 0)
        list++;
    return *list;
}

static bool is_token(const char *text)
{
    static const char more[] = "!#$%&'*+-.^_`|~";
    if (!*text)
        return false;
    for (; *text; text++)
        if (!((*text >= '0' && *text <= '9') || ((*text | 32) >= 'a' && (*text | 32) <= 'z') || strchr(more, *text)))
            return false;
    return true;
}

static void read_method(struct reader *reader, struct condition *condition, const struct muster_value *value)
{
    static const char *const forbidden[] = {"CONNECT", "TRACE", "TRACK"};
    static const char *const usual[] = {"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"};
    const char *method = text_of(value);
    if (!method || !is_token(method))
        fail(reader, "its requestMethod is no method");
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden) && reader->status == MUSTER_OK; i++)
        if (strcasecmp(forbidden[i], method) == 0)
            fail(reader, "its requestMethod is never requested");
    if (reader->status != MUSTER_OK)
        return;
    for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
        if (strcasecmp(usual[i], method) == 0)
            method = usual[i];
    condition->method = strdup(method);
    if (!condition->method)
        fail_memory(reader);
}

static void read_pattern(struct reader *reader, struct condition *condition, const struct muster_value *value)
{
    struct muster_error why = {0};
    struct muster__url_pattern_options options = {.text = text_of(value), .base_url = reader->base_url};
    for (int i = 0; !options.text && i < MUSTER__URL_COMPONENT_COUNT; i++) {
        const struct muster_value *component =
            muster_value_get(value, muster__url_component_name((enum muster__url_component)i));
        if (is_said(component) && !(options.components[i] = text_of(component)))
            fail(reader, "a component of its urlPattern is no text");
    }
    const struct muster_value *base = muster_value_get(value, "baseURL");
    if (is_said(base) && !(options.base_url = text_of(base)))
        fail(reader, "the baseURL of its urlPattern is no text");
    options.ignore_case = muster_value_boolean(muster_value_get(value, "ignoreCase"));
    if (!options.text && muster_value_type(value) != MUSTER_TYPE_OBJECT)
        fail(reader, "its urlPattern is neither a text nor an object");
    if (reader->status != MUSTER_OK)
        return;
    enum muster_status status = muster__url_pattern_new(&options, &condition->pattern, &why);
    if (status == MUSTER_NO_MEMORY)
        fail_memory(reader);
    else if (status != MUSTER_OK)
        fail(reader, why.message ? why.message : "its urlPattern is none");
    muster_error_clean_up(&why);
}

static void read_running(struct reader *reader, struct condition *condition, const struct muster_value *value)
{
    const char *text = text_of(value);
    if (text && strcmp(text, "running") == 0)
        condition->running = RUNNING_YES;
    else if (text && strcmp(text, "not-running") == 0)
        condition->running = RUNNING_NO;
    else
        fail(reader, "its runningStatus is neither running nor not-running");
}

static const char *read_word(struct reader *reader, const struct muster_value *value, const char *const *list,
                             const char *what)
{
    const char *text = text_of(value), *word = text ? find_text(list, text) : NULL;
    if (!word)
        fail(reader, what);
    return word;
}

/* ---- conditions ---- */

static struct condition *new_condition(struct reader *reader)
{
    struct muster__routes *routes = reader->routes;
    if (routes->condition_count == MUSTER__ROUTES_CONDITIONS_MAX) {
        fail(reader, "there are more than 1,024 conditions");
        return NULL;
    }
    if (routes->condition_count == routes->condition_capacity) {
        uint16_t capacity = routes->condition_capacity ? (uint16_t)(routes->condition_capacity * 2) : 8;
        struct condition *conditions = realloc(routes->conditions, capacity * sizeof(*conditions));
        if (!conditions) {
            fail_memory(reader);
            return NULL;
        }
        routes->conditions = conditions;
        routes->condition_capacity = capacity;
    }
    struct condition *condition = &routes->conditions[routes->condition_count++];
    *condition = (struct condition){0};
    return condition;
}

static bool read_plain(struct reader *reader, struct condition *condition, const struct muster_value *value)
{
    const struct muster_value *pattern = muster_value_get(value, "urlPattern");
    const struct muster_value *method = muster_value_get(value, "requestMethod");
    const struct muster_value *mode = muster_value_get(value, "requestMode");
    const struct muster_value *destination = muster_value_get(value, "requestDestination");
    const struct muster_value *running = muster_value_get(value, "runningStatus");
    if (is_said(pattern))
        read_pattern(reader, condition, pattern);
    if (is_said(method))
        read_method(reader, condition, method);
    if (is_said(mode))
        condition->mode = read_word(reader, mode, modes, "its requestMode is none");
    if (is_said(destination))
        condition->destination = read_word(reader, destination, destinations, "its requestDestination is none");
    if (is_said(running))
        read_running(reader, condition, running);
    return is_said(pattern) || is_said(method) || is_said(mode) || is_said(destination) || is_said(running);
}

static void read_condition(struct reader *reader, const struct muster_value *value, unsigned depth);

static void read_children(struct reader *reader, const struct muster_value *any, const struct muster_value *no,
                          unsigned depth)
{
    if (is_said(no)) {
        read_condition(reader, no, depth + 1);
        return;
    }
    if (muster_value_type(any) != MUSTER_TYPE_ARRAY)
        fail(reader, "its `or` is no array");
    for (size_t i = 0; i < muster_value_count(any) && reader->status == MUSTER_OK; i++)
        read_condition(reader, muster_value_at(any, i), depth + 1);
}

static void read_condition(struct reader *reader, const struct muster_value *value, unsigned depth)
{
    const struct muster_value *any = muster_value_get(value, "or"), *no = muster_value_get(value, "not");
    if (depth > MUSTER__ROUTES_DEPTH_MAX)
        fail(reader, "its conditions lie more than 10 deep");
    if (muster_value_type(value) != MUSTER_TYPE_OBJECT)
        fail(reader, "a condition is no object");
    struct condition *condition = reader->status == MUSTER_OK ? new_condition(reader) : NULL;
    if (!condition)
        return;
    uint16_t at = (uint16_t)(condition - reader->routes->conditions);
    bool plain = read_plain(reader, condition, value);
    bool nested = is_said(any) || is_said(no);
    if (!plain && !nested)
        fail(reader, "a condition is empty");
    if (nested && (plain || (is_said(any) && is_said(no))))
        fail(reader, "`or` and `not` stand alone");
    condition->kind = is_said(any) ? KIND_OR : is_said(no) ? KIND_NOT : KIND_PLAIN;
    if (nested && reader->status == MUSTER_OK)
        read_children(reader, any, no, depth); /* the array may move */
    reader->routes->conditions[at].end = reader->routes->condition_count;
}

/* ---- rules ---- */

static void read_source(struct reader *reader, struct rule *rule, const struct muster_value *source)
{
    static const char *const words[] = {"", "network", "cache", "fetch-event", "race-network-and-fetch-handler", NULL};
    const char *word = text_of(source);
    const struct muster_value *cache = muster_value_get(source, "cacheName");
    if (is_said(cache)) {
        rule->route = MUSTER__ROUTE_CACHE;
        if (!text_of(cache))
            fail(reader, "its cacheName is no text");
        else if (!(rule->cache = strdup(text_of(cache))))
            fail_memory(reader);
        return;
    }
    for (uint8_t i = MUSTER__ROUTE_NETWORK; word && words[i]; i++)
        if (strcmp(words[i], word) == 0)
            rule->route = i;
    if (rule->route == MUSTER__ROUTE_NONE)
        fail(reader, "its source is none");
    if (rule->route >= MUSTER__ROUTE_EVENT && !reader->listens)
        fail(reader, "its source is the fetch event, for which the script does not listen");
}

static void read_rules(struct reader *reader, const struct muster_value *rules)
{
    size_t count = muster_value_count(rules);
    reader->rule = 1;
    if (muster_value_type(rules) != MUSTER_TYPE_ARRAY)
        fail(reader, "the rules are no array");
    else if (count > MUSTER__ROUTES_CONDITIONS_MAX)
        fail(reader, "there are more than 1,024 conditions");
    if (reader->status != MUSTER_OK || !count)
        return;
    reader->routes->rules = calloc(count, sizeof(*reader->routes->rules));
    if (!reader->routes->rules)
        fail_memory(reader);
    for (size_t i = 0; i < count && reader->status == MUSTER_OK; i++) {
        const struct muster_value *value = muster_value_at(rules, i);
        struct rule *rule = &reader->routes->rules[reader->routes->rule_count++];
        reader->rule = i + 1;
        rule->condition = reader->routes->condition_count;
        read_condition(reader, muster_value_get(value, "condition"), 1);
        if (reader->status == MUSTER_OK)
            read_source(reader, rule, muster_value_get(value, "source"));
    }
}

enum muster_status muster__routes_new(const struct muster_value *rules, const char *base_url, bool listens,
                                      struct muster__routes **ret_routes, struct muster_error *error)
{
    struct reader reader = {.base_url = base_url, .listens = listens, .error = error};
    reader.routes = calloc(1, sizeof(*reader.routes));
    if (!reader.routes)
        return MUSTER_NO_MEMORY;
    atomic_init(&reader.routes->references, 1);
    read_rules(&reader, rules);
    if (reader.status == MUSTER_OK)
        *ret_routes = reader.routes;
    else
        muster__routes_release(reader.routes);
    return reader.status;
}

struct muster__routes *muster__routes_acquire(struct muster__routes *routes)
{
    if (routes)
        atomic_fetch_add_explicit(&routes->references, 1, memory_order_relaxed);
    return routes;
}

void muster__routes_release(struct muster__routes *routes)
{
    if (!routes || atomic_fetch_sub_explicit(&routes->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < routes->condition_count; i++) {
        muster__url_pattern_destroy(routes->conditions[i].pattern);
        free(routes->conditions[i].method);
    }
    for (size_t i = 0; i < routes->rule_count; i++)
        free(routes->rules[i].cache);
    free(routes->conditions);
    free(routes->rules);
    free(routes);
}

/* ---- asking ---- */

struct question {
    const struct muster__route_request *request;
    struct muster_bytes parts[MUSTER__URL_COMPONENT_COUNT];
    bool is_url;
};

static bool is_text(struct muster_bytes bytes, const char *text)
{
    return !text || (bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0);
}

static bool holds_plain(const struct condition *condition, const struct question *question)
{
    const struct muster__route_request *request = question->request;
    return (condition->running == RUNNING_ANY || (condition->running == RUNNING_YES) == request->is_running) &&
           is_text(request->method, condition->method) && is_text(request->mode, condition->mode) &&
           is_text(request->destination, condition->destination) &&
           (!condition->pattern ||
            (question->is_url && muster__url_pattern_matches_split(condition->pattern, question->parts)));
}

static bool holds(const struct muster__routes *routes, uint16_t at, const struct question *question)
{
    const struct condition *condition = &routes->conditions[at];
    if (condition->kind == KIND_PLAIN)
        return holds_plain(condition, question);
    if (condition->kind == KIND_NOT)
        return !holds(routes, at + 1, question);
    for (uint16_t child = at + 1; child < condition->end; child = routes->conditions[child].end)
        if (holds(routes, child, question))
            return true;
    return false;
}

enum muster__route muster__routes_match(const struct muster__routes *routes,
                                        const struct muster__route_request *request, const char **ret_cache)
{
    struct question question = {.request = request};
    if (!routes || !routes->rule_count)
        return MUSTER__ROUTE_NONE;
    question.is_url = muster__url_split(request->url, question.parts);
    for (size_t i = 0; i < routes->rule_count; i++) {
        if (!holds(routes, routes->rules[i].condition, &question))
            continue;
        if (ret_cache)
            *ret_cache = routes->rules[i].cache;
        return (enum muster__route)routes->rules[i].route;
    }
    return MUSTER__ROUTE_NONE;
}
