/* coordinator/url_pattern_text.c - a pattern in one text is cut into its components ("constructor string parser").
 * Thread: any. */
#include "coordinator/url_pattern_internal.h"

#include <stdlib.h>
#include <string.h>

enum cut_state { CUT_INIT = MUSTER__URL_COMPONENT_COUNT, CUT_AUTHORITY, CUT_DONE };

/* The components of a text, each malloc'ed. */
struct cut {
    struct url_maker *maker;
    const char *text;
    struct url_tokens tokens;
    int state; /* a component, or of cut_state */
    size_t at, begins, step;
    unsigned groups, brackets;
    bool is_special;
    char *components[MUSTER__URL_COMPONENT_COUNT];
};

static const struct url_token *token_at(const struct cut *cut, size_t at)
{
    return &cut->tokens.items[at < cut->tokens.count ? at : cut->tokens.count - 1];
}

static bool is_plain(const struct cut *cut, size_t at, char c)
{
    const struct url_token *token = token_at(cut, at);
    return token->length == 1 && *token->value == c &&
           (token->kind == TOKEN_CHAR || token->kind == TOKEN_ESCAPED || token->kind == TOKEN_INVALID);
}

/* A question mark begins the search unless it is a modifier of what stands before it. */
static bool is_search_prefix(const struct cut *cut)
{
    const struct url_token *token = token_at(cut, cut->at);
    if (is_plain(cut, cut->at, '?'))
        return true;
    if (token->length != 1 || *token->value != '?')
        return false;
    enum token_kind before = cut->at ? token_at(cut, cut->at - 1)->kind : TOKEN_CHAR;
    return before != TOKEN_NAME && before != TOKEN_CLOSE && before != TOKEN_ASTERISK;
}

static bool is_hash_prefix(const struct cut *cut)
{
    return is_plain(cut, cut->at, '#');
}

static void set_component(struct cut *cut, int component, const char *text, size_t length)
{
    free(cut->components[component]);
    cut->components[component] = strndup(text, length);
    if (!cut->components[component])
        muster__url_pattern_fail_memory(cut->maker);
}

static void set_empty(struct cut *cut, int component, const char *text)
{
    if (!cut->components[component])
        set_component(cut, component, text, strlen(text));
}

static void change_state(struct cut *cut, int state, size_t skip)
{
    if (cut->state < MUSTER__URL_COMPONENT_COUNT) {
        size_t begins = token_at(cut, cut->begins)->begins;
        set_component(cut, cut->state, cut->text + begins, token_at(cut, cut->at)->begins - begins);
    }
    if (cut->state != CUT_INIT && state != CUT_DONE) {
        int from = cut->state == CUT_AUTHORITY ? MUSTER__URL_USERNAME : cut->state;
        if (from < MUSTER__URL_HOSTNAME && state > MUSTER__URL_HOSTNAME && state <= MUSTER__URL_HASH)
            set_empty(cut, MUSTER__URL_HOSTNAME, "");
        if (from < MUSTER__URL_PATHNAME && (state == MUSTER__URL_SEARCH || state == MUSTER__URL_HASH))
            set_empty(cut, MUSTER__URL_PATHNAME, cut->is_special ? "/" : "");
        if (from < MUSTER__URL_SEARCH && state == MUSTER__URL_HASH)
            set_empty(cut, MUSTER__URL_SEARCH, "");
    }
    cut->state = state;
    cut->at += skip;
    cut->begins = cut->at;
    cut->step = 0;
}

static void rewind_to(struct cut *cut, int state)
{
    cut->at = cut->begins;
    cut->step = 0;
    cut->state = state;
}

static void leave_protocol(struct cut *cut)
{
    struct url_program protocol = {0};
    size_t begins = token_at(cut, cut->begins)->begins;
    cut->maker->component = MUSTER__URL_PROTOCOL;
    muster__url_pattern_compile(cut->maker, &protocol, cut->text + begins, token_at(cut, cut->at)->begins - begins);
    cut->is_special = cut->maker->status == MUSTER_OK && muster__url_pattern_matches_special(&protocol);
    free(protocol.ops);
    if (is_plain(cut, cut->at + 1, '/') && is_plain(cut, cut->at + 2, '/'))
        change_state(cut, CUT_AUTHORITY, 3);
    else
        change_state(cut, cut->is_special ? CUT_AUTHORITY : MUSTER__URL_PATHNAME, 1);
}

static void look_for_end_of_path(struct cut *cut, bool path, bool search)
{
    if (path && is_plain(cut, cut->at, '/'))
        change_state(cut, MUSTER__URL_PATHNAME, 0);
    else if (search && is_search_prefix(cut))
        change_state(cut, MUSTER__URL_SEARCH, 1);
    else if (is_hash_prefix(cut))
        change_state(cut, MUSTER__URL_HASH, 1);
}

static void step_hostname(struct cut *cut)
{
    if (is_plain(cut, cut->at, '['))
        cut->brackets++;
    else if (is_plain(cut, cut->at, ']'))
        cut->brackets -= cut->brackets > 0;
    else if (is_plain(cut, cut->at, ':') && !cut->brackets)
        change_state(cut, MUSTER__URL_PORT, 1);
    else
        look_for_end_of_path(cut, true, true);
}

static void step_cut(struct cut *cut)
{
    switch (cut->state) {
    case CUT_INIT:
        if (is_plain(cut, cut->at, ':'))
            rewind_to(cut, MUSTER__URL_PROTOCOL);
        break;
    case MUSTER__URL_PROTOCOL:
        if (is_plain(cut, cut->at, ':'))
            leave_protocol(cut);
        break;
    case CUT_AUTHORITY:
        if (is_plain(cut, cut->at, '@'))
            rewind_to(cut, MUSTER__URL_USERNAME);
        else if (is_plain(cut, cut->at, '/') || is_search_prefix(cut) || is_hash_prefix(cut))
            rewind_to(cut, MUSTER__URL_HOSTNAME);
        break;
    case MUSTER__URL_USERNAME:
        if (is_plain(cut, cut->at, ':'))
            change_state(cut, MUSTER__URL_PASSWORD, 1);
        else if (is_plain(cut, cut->at, '@'))
            change_state(cut, MUSTER__URL_HOSTNAME, 1);
        break;
    case MUSTER__URL_PASSWORD:
        if (is_plain(cut, cut->at, '@'))
            change_state(cut, MUSTER__URL_HOSTNAME, 1);
        break;
    case MUSTER__URL_HOSTNAME: step_hostname(cut); break;
    case MUSTER__URL_PORT: look_for_end_of_path(cut, true, true); break;
    case MUSTER__URL_PATHNAME: look_for_end_of_path(cut, false, true); break;
    case MUSTER__URL_SEARCH: look_for_end_of_path(cut, false, false); break;
    default: break;
    }
}

/* False: it is cut. */
static bool step_end(struct cut *cut)
{
    if (cut->state == CUT_INIT) {
        cut->at = cut->begins;
        if (is_hash_prefix(cut))
            change_state(cut, MUSTER__URL_HASH, 1);
        else if (is_search_prefix(cut))
            change_state(cut, MUSTER__URL_SEARCH, 1);
        else
            change_state(cut, MUSTER__URL_PATHNAME, 0);
        return true;
    }
    if (cut->state == CUT_AUTHORITY) {
        rewind_to(cut, MUSTER__URL_HOSTNAME);
        return true;
    }
    change_state(cut, CUT_DONE, 0);
    return false;
}

static bool skip_group(struct cut *cut)
{
    enum token_kind kind = token_at(cut, cut->at)->kind;
    if (kind == TOKEN_OPEN) {
        cut->groups++;
        return true;
    }
    if (!cut->groups)
        return false;
    if (kind != TOKEN_CLOSE)
        return true;
    cut->groups--;
    return false;
}

void muster__url_pattern_cut_text(struct url_maker *maker, const char *text, char *components[])
{
    struct cut whole = {.maker = maker, .text = text, .state = CUT_INIT}, *cut = &whole;
    maker->component = MUSTER__URL_PATHNAME;
    cut->tokens = muster__url_pattern_tokenize(maker, text, strlen(text), true);
    while (maker->status == MUSTER_OK) {
        cut->step = 1;
        if (token_at(cut, cut->at)->kind == TOKEN_END) {
            if (!step_end(cut))
                break;
        } else if (!skip_group(cut)) {
            step_cut(cut);
        }
        cut->at += cut->step;
    }
    if (cut->components[MUSTER__URL_HOSTNAME])
        set_empty(cut, MUSTER__URL_PORT, "");
    memcpy(components, cut->components, sizeof(cut->components));
    free(cut->tokens.items);
}
