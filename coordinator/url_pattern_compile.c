/* coordinator/url_pattern_compile.c - the text of a component becomes its program: tokens, parts, ops.  Thread: any. */
#include "coordinator/url_pattern_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- what a pattern is made with ---- */

void muster__url_pattern_fail(struct url_maker *maker, const char *what)
{
    if (maker->status != MUSTER_OK)
        return;
    maker->status = MUSTER_INVALID_ARGUMENT;
    if (maker->error)
        muster_error_set(maker->error, MUSTER_INVALID_ARGUMENT, "a URL pattern's %s: %s",
                         muster__url_component_name(maker->component), what);
}

void muster__url_pattern_fail_memory(struct url_maker *maker)
{
    if (maker->status == MUSTER_OK)
        maker->status = MUSTER_NO_MEMORY;
}

void muster__url_pattern_put(struct url_maker *maker, struct url_buffer *buffer, char byte)
{
    if (buffer->length + 1 >= buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity * 2 : 64;
        char *data = realloc(buffer->data, capacity);
        if (!data) {
            muster__url_pattern_fail_memory(maker);
            return;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    buffer->data[buffer->length++] = byte;
    buffer->data[buffer->length] = '\0';
}

void muster__url_pattern_put_text(struct url_maker *maker, struct url_buffer *buffer, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        muster__url_pattern_put(maker, buffer, text[i]);
}

/* Of a program that is being made. */
static void emit(struct url_maker *maker, struct url_program *program, struct url_op op)
{
    if (program->count >= URL_PROGRAM_MAX - 1) {
        muster__url_pattern_fail(maker, "it is too long");
        return;
    }
    if (!(program->count & (program->count - 1))) { /* grows at powers of two */
        struct url_op *ops = realloc(program->ops, (program->count ? (size_t)program->count * 2 : 1) * sizeof(*ops));
        if (!ops) {
            muster__url_pattern_fail_memory(maker);
            return;
        }
        program->ops = ops;
    }
    program->ops[program->count++] = op;
}

/* ---- tokens ---- */

static bool is_name_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || (unsigned char)c >= 0x80 ||
           (!first && c >= '0' && c <= '9');
}

static size_t name_length(const char *text, size_t left)
{
    size_t length = 0;
    while (length < left && is_name_byte(text[length], length == 0))
        length++;
    return length;
}

static struct url_token one_token(struct url_maker *maker, const char *text, size_t at, size_t length, bool lenient,
                              size_t *ret_next)
{
    const char *here = text + at;
    struct url_token token = {TOKEN_CHAR, at, here, 1};
    size_t name = 0;
    *ret_next = at + 1;
    switch (*here) {
    case '*': token.kind = TOKEN_ASTERISK; break;
    case '+':
    case '?': token.kind = TOKEN_MODIFIER; break;
    case '{': token.kind = TOKEN_OPEN; break;
    case '}': token.kind = TOKEN_CLOSE; break;
    case '(': muster__url_pattern_fail(maker, "regular expression groups are not allowed"); break;
    case '\\':
        if (at + 1 < length) {
            token = (struct url_token){TOKEN_ESCAPED, at, here + 1, 1};
            *ret_next = at + 2;
        } else if (lenient) {
            token.kind = TOKEN_INVALID;
        } else {
            muster__url_pattern_fail(maker, "nothing follows its last \\");
        }
        break;
    case ':':
        name = name_length(here + 1, length - at - 1);
        if (name) {
            token = (struct url_token){TOKEN_NAME, at, here + 1, name};
            *ret_next = at + 1 + name;
        } else if (lenient) {
            token.kind = TOKEN_INVALID;
        } else {
            muster__url_pattern_fail(maker, "a colon is not followed by a name");
        }
        break;
    default: break;
    }
    return token;
}

struct url_tokens muster__url_pattern_tokenize(struct url_maker *maker, const char *text, size_t length, bool lenient)
{
    struct url_tokens tokens = {calloc(length + 1, sizeof(struct url_token)), 0};
    if (!tokens.items) {
        muster__url_pattern_fail_memory(maker);
        return tokens;
    }
    for (size_t at = 0; at < length && maker->status == MUSTER_OK;)
        tokens.items[tokens.count++] = one_token(maker, text, at, length, lenient, &at);
    tokens.items[tokens.count++] = (struct url_token){TOKEN_END, length, "", 0};
    return tokens;
}

/* ---- from tokens to a program ---- */

enum wild { WILD_NONE, WILD_SEGMENT, WILD_FULL };

struct parser {
    struct url_maker *maker;
    struct url_program *program;
    struct url_tokens tokens;
    size_t at;
    struct url_buffer pending; /* literal text that no part has yet */
    char delimiter, prefix; /* '\0': none */
    bool address;
    struct url_token *names;
    size_t name_count;
};

static struct url_token *consume(struct parser *parser, enum token_kind kind)
{
    struct url_token *token = &parser->tokens.items[parser->at];
    if (token->kind != kind || kind == TOKEN_END)
        return NULL;
    parser->at++;
    return token;
}

static char consume_modifier(struct parser *parser)
{
    struct url_token *token = consume(parser, TOKEN_MODIFIER);
    if (!token)
        token = consume(parser, TOKEN_ASTERISK);
    return token ? *token->value : '\0';
}

static void emit_text(struct parser *parser, const struct url_buffer *text)
{
    for (size_t i = 0; i < text->length; i++) {
        uint8_t byte = (uint8_t)text->data[i];
        emit(parser->maker, parser->program,
             (struct url_op){OP_BYTE, parser->maker->ignore_case ? lower(byte) : byte, 0});
    }
}

static uint16_t here(const struct parser *parser)
{
    return parser->program->count;
}

static void emit_wild(struct parser *parser, enum wild wild)
{
    struct url_op one = {parser->delimiter && wild == WILD_SEGMENT ? OP_NOT : OP_ANY, (uint8_t)parser->delimiter, 0};
    uint16_t begins = here(parser);
    if (wild == WILD_SEGMENT) { /* one or more */
        emit(parser->maker, parser->program, one);
        emit(parser->maker, parser->program, (struct url_op){OP_SPLIT, 0, begins});
    } else if (wild == WILD_FULL) {
        emit(parser->maker, parser->program, (struct url_op){OP_SPLIT, 0, (uint16_t)(begins + 3)});
        emit(parser->maker, parser->program, one);
        emit(parser->maker, parser->program, (struct url_op){OP_JUMP, 0, begins});
    }
}

static void aim(struct parser *parser, uint16_t op)
{
    if (parser->maker->status == MUSTER_OK)
        parser->program->ops[op].to = here(parser);
}

static void emit_once(struct parser *parser, const struct url_buffer *before, enum wild wild,
                      const struct url_buffer *after)
{
    emit_text(parser, before);
    emit_wild(parser, wild);
    emit_text(parser, after);
}

/* prefix X suffix, with its modifier; more than once is prefix X (suffix prefix X)* suffix. */
static void emit_part(struct parser *parser, const struct url_buffer *before, enum wild wild,
                      const struct url_buffer *after, char modifier)
{
    uint16_t begins = here(parser), again = begins;
    bool may_lack = modifier == '?' || modifier == '*';
    if (may_lack)
        emit(parser->maker, parser->program, (struct url_op){OP_SPLIT, 0, 0});
    again = here(parser);
    emit_once(parser, before, wild, after);
    if (modifier == '*' || modifier == '+')
        emit(parser->maker, parser->program, (struct url_op){OP_SPLIT, 0, again});
    if (may_lack)
        aim(parser, begins);
}

static struct url_buffer canonical(struct parser *parser, const struct url_buffer *text)
{
    struct url_buffer to = {0};
    if (text->length)
        muster__url_pattern_put_canonical(parser->maker, &to, text->data, text->length, parser->address);
    return to;
}

static void flush_pending(struct parser *parser)
{
    struct url_buffer text = canonical(parser, &parser->pending);
    emit_text(parser, &text);
    free(text.data);
    parser->pending.length = 0;
}

static void take_name(struct parser *parser, const struct url_token *name)
{
    for (size_t i = 0; i < parser->name_count; i++)
        if (parser->names[i].length == name->length &&
            memcmp(parser->names[i].value, name->value, name->length) == 0)
            muster__url_pattern_fail(parser->maker, "a name comes twice");
    parser->names[parser->name_count++] = *name;
}

static void add_part(struct parser *parser, const struct url_buffer *prefix, enum wild wild,
                     const struct url_buffer *suffix, char modifier)
{
    if (wild == WILD_NONE && !modifier) {
        muster__url_pattern_put_text(parser->maker, &parser->pending, prefix->data, prefix->length);
        return;
    }
    flush_pending(parser);
    if (wild == WILD_NONE && !prefix->length)
        return;
    struct url_buffer before = canonical(parser, prefix), after = canonical(parser, suffix);
    emit_part(parser, &before, wild, &after, modifier);
    free(before.data);
    free(after.data);
}

/* :name or *; a name may have no pattern of its own, but a star behind it is its modifier. */
static enum wild consume_wild(struct parser *parser)
{
    struct url_token *name = consume(parser, TOKEN_NAME);
    if (name) {
        take_name(parser, name);
        return WILD_SEGMENT;
    }
    return consume(parser, TOKEN_ASTERISK) ? WILD_FULL : WILD_NONE;
}

static struct url_buffer consume_text(struct parser *parser)
{
    struct url_buffer text = {0};
    struct url_token *token;
    while ((token = consume(parser, TOKEN_CHAR)) || (token = consume(parser, TOKEN_ESCAPED)))
        muster__url_pattern_put(parser->maker, &text, *token->value);
    return text;
}

static void parse_group(struct parser *parser)
{
    struct url_buffer prefix = consume_text(parser);
    enum wild wild = consume_wild(parser);
    struct url_buffer suffix = consume_text(parser);
    if (!consume(parser, TOKEN_CLOSE))
        muster__url_pattern_fail(parser->maker, "a { has no }, or another group in it");
    add_part(parser, &prefix, wild, &suffix, consume_modifier(parser));
    free(prefix.data);
    free(suffix.data);
}

static void parse_next(struct parser *parser)
{
    static const struct url_buffer nothing;
    struct url_token *token = consume(parser, TOKEN_CHAR);
    enum wild wild = consume_wild(parser);
    if (wild != WILD_NONE) {
        struct url_buffer prefix = {0};
        if (token && *token->value != parser->prefix)
            muster__url_pattern_put(parser->maker, &parser->pending, *token->value);
        else if (token)
            muster__url_pattern_put(parser->maker, &prefix, *token->value);
        flush_pending(parser);
        add_part(parser, &prefix, wild, &nothing, consume_modifier(parser));
        free(prefix.data);
        return;
    }
    if (!token)
        token = consume(parser, TOKEN_ESCAPED);
    if (token)
        muster__url_pattern_put(parser->maker, &parser->pending, *token->value);
    else if (consume(parser, TOKEN_OPEN))
        parse_group(parser);
    else
        muster__url_pattern_fail(parser->maker, "a modifier or a } has nothing before it");
}

static void measure(struct url_program *program)
{
    const struct url_op *ops = program->ops;
    uint16_t end = program->count, at = 0;
    for (uint16_t i = 0; i < end; i++)
        if (ops[i].kind == OP_SPLIT || ops[i].kind == OP_JUMP)
            end = ops[i].to < end ? ops[i].to : end; /* nothing jumps into the literal */
    while (at < end && ops[at].kind == OP_BYTE)
        at++;
    program->literal = at;
    program->ends_any = program->count - at == 4 && ops[at].kind == OP_SPLIT && ops[at + 1].kind == OP_ANY &&
                        ops[at + 2].kind == OP_JUMP && ops[at].to == at + 3;
}

void muster__url_pattern_compile(struct url_maker *maker, struct url_program *program, const char *text, size_t length)
{
    bool path = maker->component == MUSTER__URL_PATHNAME && maker->is_special;
    struct parser parser = {
        .maker = maker,
        .program = program,
        .delimiter = path ? '/' : maker->component == MUSTER__URL_HOSTNAME ? '.' : '\0',
        .prefix = path ? '/' : '\0',
        .address = maker->component == MUSTER__URL_HOSTNAME && length > 1 &&
                   (text[0] == '[' || ((text[0] == '{' || text[0] == '\\') && text[1] == '[')),
    };
    bool ignore_case = maker->ignore_case;
    maker->ignore_case = program->ignore_case = ignore_case && maker->component >= MUSTER__URL_PATHNAME;
    parser.tokens = muster__url_pattern_tokenize(maker, text, length, false);
    parser.names = calloc(length + 1, sizeof(*parser.names));
    if (!parser.names)
        muster__url_pattern_fail_memory(maker);
    while (maker->status == MUSTER_OK && parser.at + 1 < parser.tokens.count)
        parse_next(&parser);
    if (maker->status == MUSTER_OK)
        flush_pending(&parser);
    emit(maker, program, (struct url_op){OP_MATCH, 0, 0});
    if (maker->status == MUSTER_OK)
        measure(program);
    maker->ignore_case = ignore_case;
    free(parser.names);
    free(parser.tokens.items);
    free(parser.pending.data);
}
