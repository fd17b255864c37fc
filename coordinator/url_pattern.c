/* coordinator/url_pattern.c - see url_pattern.h.  Any thread; allocates only while a pattern is made.
 *
 * A whole pattern: what the base URL gives, its components, and asking it.  The other files have the steps of the
 * standard, without what asks for groups: url_pattern_text.c cuts one text into components, url_pattern_compile.c makes
 * a program of a component, url_pattern_canonical.c writes its literals in canonical form, url_pattern_match.c runs a
 * program. */
#include "coordinator/url_pattern_internal.h"

#include <stdlib.h>
#include <string.h>

struct muster__url_pattern {
    struct url_program programs[MUSTER__URL_COMPONENT_COUNT];
};

static const char *const component_names[] = {"protocol", "username", "password", "hostname",
                                              "port",     "pathname", "search",   "hash"};

const char *muster__url_component_name(enum muster__url_component component)
{
    return component_names[component];
}

/* ---- URLs ---- */

static struct muster_bytes part_of(const char *from, const char *to)
{
    return (struct muster_bytes){from, (size_t)(to - from)};
}

static const char *find_byte(const char *from, const char *to, char byte)
{
    const char *at = memchr(from, byte, (size_t)(to - from));
    return at ? at : to;
}

static void split_host(const char *from, const char *to, struct muster_bytes components[])
{
    const char *at = to;
    while (at > from && at[-1] != ':' && at[-1] != ']')
        at--;
    bool port = at > from && at[-1] == ':';
    components[MUSTER__URL_HOSTNAME] = part_of(from, port ? at - 1 : to);
    components[MUSTER__URL_PORT] = port ? part_of(at, to) : part_of(to, to);
}

static void split_authority(const char *from, const char *to, struct muster_bytes components[])
{
    const char *at = to;
    while (at > from && at[-1] != '@')
        at--;
    if (at > from) {
        const char *colon = find_byte(from, at - 1, ':');
        components[MUSTER__URL_USERNAME] = part_of(from, colon);
        if (colon < at - 1)
            components[MUSTER__URL_PASSWORD] = part_of(colon + 1, at - 1);
    }
    split_host(at, to, components);
}

bool muster__url_split(struct muster_bytes url, struct muster_bytes ret_components[MUSTER__URL_COMPONENT_COUNT])
{
    struct muster_bytes parts[MUSTER__URL_COMPONENT_COUNT];
    if (!url.length || !is_letter(url.data[0]))
        return false;
    const char *end = url.data + url.length, *at = find_byte(url.data, end, ':');
    for (size_t i = 0; i < MUSTER__URL_COMPONENT_COUNT; i++)
        parts[i] = (struct muster_bytes){"", 0};
    for (const char *c = url.data; c < at; c++)
        if (!is_letter(*c) && !is_digit(*c) && !memchr("+-.", *c, 3))
            return false;
    if (at == end)
        return false;
    parts[MUSTER__URL_PROTOCOL] = part_of(url.data, at++);
    const char *hash = find_byte(at, end, '#'), *search = find_byte(at, hash, '?');
    if (search - at >= 2 && at[0] == '/' && at[1] == '/') {
        const char *path = find_byte(at + 2, search, '/');
        split_authority(at + 2, path, parts);
        at = path;
    }
    parts[MUSTER__URL_PATHNAME] = part_of(at, search);
    if (search < hash)
        parts[MUSTER__URL_SEARCH] = part_of(search + 1, hash);
    if (hash < end)
        parts[MUSTER__URL_HASH] = part_of(hash + 1, end);
    memcpy(ret_components, parts, sizeof(parts));
    return true;
}

/* ---- what the base gives ---- */

/* A text of a URL's as a pattern that means just that. */
static char *escaped(struct url_maker *maker, struct muster_bytes text)
{
    struct url_buffer to = {0};
    muster__url_pattern_put_text(maker, &to, "", 0);
    for (size_t i = 0; i < text.length; i++) {
        if (memchr("+*?:{}()\\", text.data[i], 9))
            muster__url_pattern_put(maker, &to, '\\');
        muster__url_pattern_put(maker, &to, text.data[i]);
    }
    if (!to.data)
        to.data = calloc(1, 1);
    if (!to.data)
        muster__url_pattern_fail_memory(maker);
    return to.data;
}

/* Each component is the base's if it is not said and none before it in a URL is. */
static void inherit(struct url_maker *maker, char *components[], const struct muster_bytes base[])
{
    static const uint8_t order[] = {MUSTER__URL_PROTOCOL, MUSTER__URL_HOSTNAME, MUSTER__URL_PORT,
                                    MUSTER__URL_PATHNAME, MUSTER__URL_SEARCH,   MUSTER__URL_HASH};
    for (size_t i = 0; i < sizeof(order) && !components[order[i]]; i++)
        components[order[i]] = escaped(maker, base[order[i]]);
}

/* A path that is not absolute lies beside the base's. */
static void resolve_path(struct url_maker *maker, char *components[], const struct muster_bytes base[])
{
    const struct muster_bytes path = base[MUSTER__URL_PATHNAME];
    char *said = components[MUSTER__URL_PATHNAME];
    if (!said || !path.length || path.data[0] != '/' || said[0] == '/' ||
        (said[0] && strchr("\\{", said[0]) && said[1] == '/'))
        return;
    size_t folder = path.length;
    while (folder && path.data[folder - 1] != '/')
        folder--;
    char *before = escaped(maker, (struct muster_bytes){path.data, folder});
    char *whole = before ? malloc(strlen(before) + strlen(said) + 1) : NULL;
    if (whole) {
        strcpy(whole, before);
        strcat(whole, said);
        free(said);
        components[MUSTER__URL_PATHNAME] = whole;
    } else {
        muster__url_pattern_fail_memory(maker);
    }
    free(before);
}

static void strip(char *components[])
{
    char *protocol = components[MUSTER__URL_PROTOCOL];
    if (protocol && *protocol && protocol[strlen(protocol) - 1] == ':')
        protocol[strlen(protocol) - 1] = '\0';
    for (int i = MUSTER__URL_SEARCH; i <= MUSTER__URL_HASH; i++)
        if (components[i] && components[i][0] == (i == MUSTER__URL_SEARCH ? '?' : '#'))
            memmove(components[i], components[i] + 1, strlen(components[i]));
}

static void apply_base(struct url_maker *maker, char *components[], const char *base_url)
{
    struct muster_bytes base[MUSTER__URL_COMPONENT_COUNT];
    if (!muster__url_split((struct muster_bytes){base_url, strlen(base_url)}, base)) {
        maker->component = MUSTER__URL_PROTOCOL;
        muster__url_pattern_fail(maker, "its base is no absolute URL");
        return;
    }
    if (!base[MUSTER__URL_PATHNAME].length && base[MUSTER__URL_HOSTNAME].length)
        base[MUSTER__URL_PATHNAME] = (struct muster_bytes){"/", 1};
    bool path_said = components[MUSTER__URL_PATHNAME] != NULL;
    inherit(maker, components, base);
    if (path_said)
        resolve_path(maker, components, base);
}

/* ---- a whole pattern ---- */

static bool is_literal(const struct url_program *program)
{
    return program->ops[program->literal].kind == OP_MATCH;
}

static void compile_component(struct url_maker *maker, struct muster__url_pattern *pattern, int component,
                              const char *text)
{
    struct url_program *program = &pattern->programs[component];
    maker->component = (enum muster__url_component)component;
    const char *usual_port = muster__url_pattern_default_port(maker->protocol);
    if (component == MUSTER__URL_PORT && text && *usual_port && strcmp(text, usual_port) == 0)
        text = "";
    muster__url_pattern_compile(maker, program, text ? text : "*", text ? strlen(text) : 1);
    if (component != MUSTER__URL_PROTOCOL || maker->status != MUSTER_OK)
        return;
    maker->is_special = muster__url_pattern_matches_special(program);
    if (is_literal(program) && program->literal < sizeof(maker->protocol))
        for (size_t i = 0; i < program->literal; i++)
            maker->protocol[i] = (char)program->ops[i].byte;
}

static size_t length_of(const struct muster__url_pattern_options *options)
{
    size_t length = options->text ? strlen(options->text) : 0;
    for (size_t i = 0; i < MUSTER__URL_COMPONENT_COUNT; i++)
        if (options->components[i] && strlen(options->components[i]) > length)
            length = strlen(options->components[i]);
    return length;
}

static void read_components(struct url_maker *maker, const struct muster__url_pattern_options *options,
                            char *components[])
{
    if (options->text) {
        muster__url_pattern_cut_text(maker, options->text, components);
        maker->component = MUSTER__URL_PROTOCOL;
        if (!options->base_url && !components[MUSTER__URL_PROTOCOL])
            muster__url_pattern_fail(maker, "there is none, and no base that gives one");
    }
    for (size_t i = 0; !options->text && i < MUSTER__URL_COMPONENT_COUNT; i++)
        if (options->components[i] && !(components[i] = strdup(options->components[i])))
            muster__url_pattern_fail_memory(maker);
    if (maker->status == MUSTER_OK)
        strip(components);
    if (maker->status == MUSTER_OK && options->base_url)
        apply_base(maker, components, options->base_url);
}

enum muster_status muster__url_pattern_new(const struct muster__url_pattern_options *options,
                                           struct muster__url_pattern **ret_pattern, struct muster_error *error)
{
    struct url_maker maker = {.error = error, .ignore_case = options->ignore_case};
    char *components[MUSTER__URL_COMPONENT_COUNT] = {0};
    struct muster__url_pattern *pattern = calloc(1, sizeof(*pattern));
    if (!pattern)
        return MUSTER_NO_MEMORY;
    if (length_of(options) > MUSTER__URL_PATTERN_LENGTH_MAX)
        muster__url_pattern_fail(&maker, "it is too long");
    else
        read_components(&maker, options, components);
    for (int i = 0; i < MUSTER__URL_COMPONENT_COUNT && maker.status == MUSTER_OK; i++)
        compile_component(&maker, pattern, i, components[i]);
    for (size_t i = 0; i < MUSTER__URL_COMPONENT_COUNT; i++)
        free(components[i]);
    if (maker.status == MUSTER_OK)
        *ret_pattern = pattern;
    else
        muster__url_pattern_destroy(pattern);
    return maker.status;
}

void muster__url_pattern_destroy(struct muster__url_pattern *pattern)
{
    for (size_t i = 0; pattern && i < MUSTER__URL_COMPONENT_COUNT; i++)
        free(pattern->programs[i].ops);
    free(pattern);
}

/* ---- asking ---- */

bool muster__url_pattern_matches_split(const struct muster__url_pattern *pattern,
                                       const struct muster_bytes components[MUSTER__URL_COMPONENT_COUNT])
{
    static const uint8_t order[] = {MUSTER__URL_PATHNAME, MUSTER__URL_HOSTNAME, MUSTER__URL_SEARCH,
                                    MUSTER__URL_PROTOCOL, MUSTER__URL_PORT,     MUSTER__URL_USERNAME,
                                    MUSTER__URL_PASSWORD, MUSTER__URL_HASH};
    for (size_t i = 0; i < sizeof(order); i++)
        if (!muster__url_pattern_run(&pattern->programs[order[i]], components[order[i]]))
            return false;
    return true;
}

bool muster__url_pattern_matches(const struct muster__url_pattern *pattern, struct muster_bytes url)
{
    struct muster_bytes components[MUSTER__URL_COMPONENT_COUNT];
    return muster__url_split(url, components) && muster__url_pattern_matches_split(pattern, components);
}
