/* coordinator/url_pattern.c - see url_pattern.h.  Any thread; allocates only while a pattern is made.
 *
 * In the order of the file: the program of a component and how it is run; the text of a component, from tokens to
 * parts to its program; how its literals are written in canonical form; a whole pattern in one text, cut into
 * components; what the base URL gives.  The steps are those of the standard, without what asks for groups. */
#include "coordinator/url_pattern.h"

#include "runtime/check.h"

#include <stdlib.h>
#include <string.h>

#define PROGRAM_MAX 8192

/* ---- programs ---- */

enum op_kind { OP_BYTE, OP_NOT, OP_ANY, OP_SPLIT, OP_JUMP, OP_MATCH };

struct op {
    uint8_t kind;
    uint8_t byte;  /* BYTE, NOT */
    uint16_t to;   /* JUMP; SPLIT: there as well as behind it */
};

struct program {
    struct op *ops;
    uint16_t count, literal; /* so many BYTEs before anything else */
    bool ends_any;           /* and then whatever follows */
    bool ignore_case;
};

struct muster__url_pattern {
    struct program programs[MUSTER__URL_COMPONENT_COUNT];
};

static const char *const component_names[] = {"protocol", "username", "password", "hostname",
                                              "port",     "pathname", "search",   "hash"};

const char *muster__url_component_name(enum muster__url_component component)
{
    return component_names[component];
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
}

struct threads {
    uint16_t at[PROGRAM_MAX];
    size_t count;
    uint64_t seen[PROGRAM_MAX / 64];
};

static bool was_seen(struct threads *threads, uint16_t at)
{
    uint64_t bit = 1ull << at % 64;
    bool seen = threads->seen[at / 64] & bit;
    threads->seen[at / 64] |= bit;
    return seen;
}

/* With all that it reaches without a byte: the list is its own stack, those behind `count` are still to follow. */
static void add_thread(const struct program *program, struct threads *threads, uint16_t at)
{
    size_t from = threads->count;
    if (was_seen(threads, at))
        return;
    threads->at[threads->count++] = at;
    for (; from < threads->count; from++) {
        uint16_t here = threads->at[from];
        const struct op *op = &program->ops[here];
        if (op->kind != OP_SPLIT && op->kind != OP_JUMP)
            continue;
        if (!was_seen(threads, op->to))
            threads->at[threads->count++] = op->to;
        if (op->kind == OP_SPLIT && !was_seen(threads, here + 1))
            threads->at[threads->count++] = here + 1;
    }
}

static bool takes(const struct op *op, uint8_t byte)
{
    return op->kind == OP_ANY || (op->kind == OP_BYTE && op->byte == byte) ||
           (op->kind == OP_NOT && op->byte != byte);
}

static void clear_threads(const struct program *program, struct threads *threads)
{
    threads->count = 0;
    memset(threads->seen, 0, ((size_t)program->count + 63) / 64 * sizeof(*threads->seen));
}

static bool simulate(const struct program *program, const char *text, size_t length)
{
    struct threads lists[2], *now = &lists[0], *next = &lists[1];
    clear_threads(program, now);
    add_thread(program, now, program->literal);
    for (size_t i = 0; i < length && now->count; i++) {
        uint8_t byte = program->ignore_case ? lower((uint8_t)text[i]) : (uint8_t)text[i];
        clear_threads(program, next);
        for (size_t k = 0; k < now->count; k++)
            if (takes(&program->ops[now->at[k]], byte))
                add_thread(program, next, now->at[k] + 1);
        struct threads *swap = now;
        now = next;
        next = swap;
    }
    for (size_t k = 0; k < now->count; k++)
        if (program->ops[now->at[k]].kind == OP_MATCH)
            return true;
    return false;
}

static bool begins_with_literal(const struct program *program, struct muster_bytes text)
{
    if (text.length < program->literal)
        return false;
    for (size_t i = 0; i < program->literal; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        if ((program->ignore_case ? lower(byte) : byte) != program->ops[i].byte)
            return false;
    }
    return true;
}

static bool run(const struct program *program, struct muster_bytes text)
{
    if (!begins_with_literal(program, text))
        return false;
    if (program->ends_any)
        return true;
    if (program->ops[program->literal].kind == OP_MATCH)
        return text.length == program->literal;
    return simulate(program, text.data + program->literal, text.length - program->literal);
}

/* ---- what a pattern is made with ---- */

struct buffer {
    char *data;
    size_t length, capacity;
};

struct maker {
    struct muster_error *error; /* may be NULL */
    enum muster_status status;
    enum muster__url_component component;
    bool is_special; /* the protocol, or one that the pattern's may be, has a path with slashes */
    bool ignore_case;
    char protocol[16]; /* if the protocol is one literal: for its port */
};

static void fail(struct maker *maker, const char *what)
{
    if (maker->status != MUSTER_OK)
        return;
    maker->status = MUSTER_INVALID_ARGUMENT;
    if (maker->error)
        muster_error_set(maker->error, MUSTER_INVALID_ARGUMENT, "a URL pattern's %s: %s",
                         component_names[maker->component], what);
}

static void fail_memory(struct maker *maker)
{
    if (maker->status == MUSTER_OK)
        maker->status = MUSTER_NO_MEMORY;
}

static void put(struct maker *maker, struct buffer *buffer, char byte)
{
    if (buffer->length + 1 >= buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity * 2 : 64;
        char *data = realloc(buffer->data, capacity);
        if (!data) {
            fail_memory(maker);
            return;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    buffer->data[buffer->length++] = byte;
    buffer->data[buffer->length] = '\0';
}

static void put_text(struct maker *maker, struct buffer *buffer, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        put(maker, buffer, text[i]);
}

/* Of a program that is being made. */
static void emit(struct maker *maker, struct program *program, struct op op)
{
    if (program->count >= PROGRAM_MAX - 1) {
        fail(maker, "it is too long");
        return;
    }
    if (!(program->count & (program->count - 1))) { /* grows at powers of two */
        struct op *ops = realloc(program->ops, (program->count ? (size_t)program->count * 2 : 1) * sizeof(*ops));
        if (!ops) {
            fail_memory(maker);
            return;
        }
        program->ops = ops;
    }
    program->ops[program->count++] = op;
}

/* ---- tokens ---- */

enum token_kind { TOKEN_CHAR, TOKEN_ESCAPED, TOKEN_INVALID, TOKEN_NAME, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_MODIFIER,
                  TOKEN_ASTERISK, TOKEN_END };

struct token {
    enum token_kind kind;
    size_t begins;
    const char *value;
    size_t length;
};

/* `length` + 1 of them at most. */
struct tokens {
    struct token *items;
    size_t count;
};

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

static struct token one_token(struct maker *maker, const char *text, size_t at, size_t length, bool lenient,
                              size_t *ret_next)
{
    const char *here = text + at;
    struct token token = {TOKEN_CHAR, at, here, 1};
    size_t name = 0;
    *ret_next = at + 1;
    switch (*here) {
    case '*': token.kind = TOKEN_ASTERISK; break;
    case '+':
    case '?': token.kind = TOKEN_MODIFIER; break;
    case '{': token.kind = TOKEN_OPEN; break;
    case '}': token.kind = TOKEN_CLOSE; break;
    case '(': fail(maker, "regular expression groups are not allowed"); break;
    case '\\':
        if (at + 1 < length) {
            token = (struct token){TOKEN_ESCAPED, at, here + 1, 1};
            *ret_next = at + 2;
        } else if (lenient) {
            token.kind = TOKEN_INVALID;
        } else {
            fail(maker, "nothing follows its last \\");
        }
        break;
    case ':':
        name = name_length(here + 1, length - at - 1);
        if (name) {
            token = (struct token){TOKEN_NAME, at, here + 1, name};
            *ret_next = at + 1 + name;
        } else if (lenient) {
            token.kind = TOKEN_INVALID;
        } else {
            fail(maker, "a colon is not followed by a name");
        }
        break;
    default: break;
    }
    return token;
}

static struct tokens tokenize(struct maker *maker, const char *text, size_t length, bool lenient)
{
    struct tokens tokens = {calloc(length + 1, sizeof(struct token)), 0};
    if (!tokens.items) {
        fail_memory(maker);
        return tokens;
    }
    for (size_t at = 0; at < length && maker->status == MUSTER_OK;)
        tokens.items[tokens.count++] = one_token(maker, text, at, length, lenient, &at);
    tokens.items[tokens.count++] = (struct token){TOKEN_END, length, "", 0};
    return tokens;
}

/* ---- literals in canonical form ---- */

static bool is_in_set(uint8_t c, const char *more)
{
    return c < 0x20 || c > 0x7e || (more && c && strchr(more, c));
}

static void put_encoded(struct maker *maker, struct buffer *to, uint8_t c, const char *set)
{
    static const char digits[] = "0123456789ABCDEF";
    if (!is_in_set(c, set)) {
        put(maker, to, (char)c);
        return;
    }
    put(maker, to, '%');
    put(maker, to, digits[c >> 4]);
    put(maker, to, digits[c & 15]);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return lower((uint8_t)c) >= 'a' && lower((uint8_t)c) <= 'z';
}

static void put_protocol(struct maker *maker, struct buffer *to, const char *text, size_t length)
{
    if (length && !is_letter(text[0]))
        fail(maker, "a protocol begins with a letter");
    for (size_t i = 0; i < length; i++) {
        if (!is_letter(text[i]) && !is_digit(text[i]) && !memchr("+-.", text[i], 3))
            fail(maker, "a protocol has letters, digits, and + - .");
        put(maker, to, (char)lower((uint8_t)text[i]));
    }
}

static void put_hostname(struct maker *maker, struct buffer *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x80)
            fail(maker, "a host's name is ASCII here: write it with xn--");
        else if (c <= 0x20 || c == 0x7f || strchr("#%/:<>?@[\\]^|", c))
            fail(maker, "a host's name has no such character");
        put(maker, to, (char)lower(c));
    }
}

static void put_address(struct maker *maker, struct buffer *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = (char)lower((uint8_t)text[i]);
        if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !memchr("[]:", c, 3))
            fail(maker, "an address has hexadecimal digits and colons in brackets");
        put(maker, to, c);
    }
}

static const struct {
    const char *name, *port;
} special_schemes[] = {{"http", "80"}, {"https", "443"}, {"ws", "80"}, {"wss", "443"}, {"ftp", "21"}, {"file", ""}};

static const char *default_port(const char *protocol)
{
    for (size_t i = 0; i < sizeof(special_schemes) / sizeof(*special_schemes); i++)
        if (strcmp(special_schemes[i].name, protocol) == 0)
            return special_schemes[i].port;
    return "";
}

static void put_port(struct maker *maker, struct buffer *to, const char *text, size_t length)
{
    unsigned long port = 0;
    while (length > 1 && *text == '0') {
        text++;
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i])) {
            fail(maker, "a port has digits");
            return;
        }
        port = port > 65535 ? port : port * 10 + (unsigned long)(text[i] - '0');
    }
    if (port > 65535)
        fail(maker, "a port is not above 65535");
    put_text(maker, to, text, length);
}

/* "." or ".."'s number of dots, also written %2e; 0: neither. */
static int dots_of(const char *segment, size_t length)
{
    int dots = 0;
    for (size_t i = 0; i < length; dots++) {
        if (segment[i] == '.')
            i++;
        else if (length - i >= 3 && segment[i] == '%' && segment[i + 1] == '2' && lower((uint8_t)segment[i + 2]) == 'e')
            i += 3;
        else
            return 0;
    }
    return dots <= 2 ? dots : 0;
}

static void drop_segment(struct buffer *path, size_t least)
{
    while (path->length > least && path->data[path->length - 1] != '/')
        path->length--;
    if (path->length > least)
        path->length--;
}

/* A piece that does not begin with a slash is seen as the end of a segment: its first is not one of dots. */
static void put_path(struct maker *maker, struct buffer *to, const char *text, size_t length)
{
    struct buffer path = {0};
    size_t at = 0;
    bool leads = length && text[0] == '/';
    while (at < length && maker->status == MUSTER_OK) {
        bool slash = text[at] == '/' || text[at] == '\\';
        size_t begins = at + slash, ends = begins;
        while (ends < length && text[ends] != '/' && text[ends] != '\\')
            ends++;
        int dots = slash || leads ? dots_of(text + begins, ends - begins) : 0;
        if (dots == 2)
            drop_segment(&path, 0);
        if (dots) {
            if (ends == length)
                put(maker, &path, '/');
        } else {
            if (slash)
                put(maker, &path, '/');
            for (size_t i = begins; i < ends; i++)
                put_encoded(maker, &path, (uint8_t)text[i], " \"#<>?^`{}");
        }
        at = ends;
    }
    put_text(maker, to, path.data, path.length);
    free(path.data);
}

static void put_canonical(struct maker *maker, struct buffer *to, const char *text, size_t length, bool address)
{
    static const char userinfo[] = " \"#<>?^`{}/:;=@[\\]|";
    const char *set = NULL;
    switch (maker->component) {
    case MUSTER__URL_PROTOCOL: put_protocol(maker, to, text, length); return;
    case MUSTER__URL_HOSTNAME: (address ? put_address : put_hostname)(maker, to, text, length); return;
    case MUSTER__URL_PORT: put_port(maker, to, text, length); return;
    case MUSTER__URL_PATHNAME:
        if (maker->is_special) {
            put_path(maker, to, text, length);
            return;
        }
        break;
    case MUSTER__URL_USERNAME:
    case MUSTER__URL_PASSWORD: set = userinfo; break;
    case MUSTER__URL_SEARCH: set = " \"#<>"; break;
    case MUSTER__URL_HASH: set = " \"<>`"; break;
    case MUSTER__URL_COMPONENT_COUNT: MUSTER_CHECK(false);
    }
    for (size_t i = 0; i < length; i++)
        put_encoded(maker, to, (uint8_t)text[i], set);
}

/* ---- from tokens to a program ---- */

enum wild { WILD_NONE, WILD_SEGMENT, WILD_FULL };

struct parser {
    struct maker *maker;
    struct program *program;
    struct tokens tokens;
    size_t at;
    struct buffer pending; /* literal text that no part has yet */
    char delimiter, prefix; /* '\0': none */
    bool address;
    struct token *names;
    size_t name_count;
};

static struct token *consume(struct parser *parser, enum token_kind kind)
{
    struct token *token = &parser->tokens.items[parser->at];
    if (token->kind != kind || kind == TOKEN_END)
        return NULL;
    parser->at++;
    return token;
}

static char consume_modifier(struct parser *parser)
{
    struct token *token = consume(parser, TOKEN_MODIFIER);
    if (!token)
        token = consume(parser, TOKEN_ASTERISK);
    return token ? *token->value : '\0';
}

static void emit_text(struct parser *parser, const struct buffer *text)
{
    for (size_t i = 0; i < text->length; i++) {
        uint8_t byte = (uint8_t)text->data[i];
        emit(parser->maker, parser->program,
             (struct op){OP_BYTE, parser->maker->ignore_case ? lower(byte) : byte, 0});
    }
}

static uint16_t here(const struct parser *parser)
{
    return parser->program->count;
}

static void emit_wild(struct parser *parser, enum wild wild)
{
    struct op one = {parser->delimiter && wild == WILD_SEGMENT ? OP_NOT : OP_ANY, (uint8_t)parser->delimiter, 0};
    uint16_t begins = here(parser);
    if (wild == WILD_SEGMENT) { /* one or more */
        emit(parser->maker, parser->program, one);
        emit(parser->maker, parser->program, (struct op){OP_SPLIT, 0, begins});
    } else if (wild == WILD_FULL) {
        emit(parser->maker, parser->program, (struct op){OP_SPLIT, 0, (uint16_t)(begins + 3)});
        emit(parser->maker, parser->program, one);
        emit(parser->maker, parser->program, (struct op){OP_JUMP, 0, begins});
    }
}

static void aim(struct parser *parser, uint16_t op)
{
    if (parser->maker->status == MUSTER_OK)
        parser->program->ops[op].to = here(parser);
}

static void emit_once(struct parser *parser, const struct buffer *before, enum wild wild, const struct buffer *after)
{
    emit_text(parser, before);
    emit_wild(parser, wild);
    emit_text(parser, after);
}

/* prefix X suffix, with its modifier; more than once is prefix X (suffix prefix X)* suffix. */
static void emit_part(struct parser *parser, const struct buffer *before, enum wild wild, const struct buffer *after,
                      char modifier)
{
    uint16_t begins = here(parser), again = begins;
    bool may_lack = modifier == '?' || modifier == '*';
    if (may_lack)
        emit(parser->maker, parser->program, (struct op){OP_SPLIT, 0, 0});
    again = here(parser);
    emit_once(parser, before, wild, after);
    if (modifier == '*' || modifier == '+')
        emit(parser->maker, parser->program, (struct op){OP_SPLIT, 0, again});
    if (may_lack)
        aim(parser, begins);
}

static struct buffer canonical(struct parser *parser, const struct buffer *text)
{
    struct buffer to = {0};
    if (text->length)
        put_canonical(parser->maker, &to, text->data, text->length, parser->address);
    return to;
}

static void flush_pending(struct parser *parser)
{
    struct buffer text = canonical(parser, &parser->pending);
    emit_text(parser, &text);
    free(text.data);
    parser->pending.length = 0;
}

static void take_name(struct parser *parser, const struct token *name)
{
    for (size_t i = 0; i < parser->name_count; i++)
        if (parser->names[i].length == name->length &&
            memcmp(parser->names[i].value, name->value, name->length) == 0)
            fail(parser->maker, "a name comes twice");
    parser->names[parser->name_count++] = *name;
}

static void add_part(struct parser *parser, const struct buffer *prefix, enum wild wild, const struct buffer *suffix,
                     char modifier)
{
    if (wild == WILD_NONE && !modifier) {
        put_text(parser->maker, &parser->pending, prefix->data, prefix->length);
        return;
    }
    flush_pending(parser);
    if (wild == WILD_NONE && !prefix->length)
        return;
    struct buffer before = canonical(parser, prefix), after = canonical(parser, suffix);
    emit_part(parser, &before, wild, &after, modifier);
    free(before.data);
    free(after.data);
}

/* :name or *; a name may have no pattern of its own, but a star behind it is its modifier. */
static enum wild consume_wild(struct parser *parser)
{
    struct token *name = consume(parser, TOKEN_NAME);
    if (name) {
        take_name(parser, name);
        return WILD_SEGMENT;
    }
    return consume(parser, TOKEN_ASTERISK) ? WILD_FULL : WILD_NONE;
}

static struct buffer consume_text(struct parser *parser)
{
    struct buffer text = {0};
    struct token *token;
    while ((token = consume(parser, TOKEN_CHAR)) || (token = consume(parser, TOKEN_ESCAPED)))
        put(parser->maker, &text, *token->value);
    return text;
}

static void parse_group(struct parser *parser)
{
    struct buffer prefix = consume_text(parser);
    enum wild wild = consume_wild(parser);
    struct buffer suffix = consume_text(parser);
    if (!consume(parser, TOKEN_CLOSE))
        fail(parser->maker, "a { has no }, or another group in it");
    add_part(parser, &prefix, wild, &suffix, consume_modifier(parser));
    free(prefix.data);
    free(suffix.data);
}

static void parse_next(struct parser *parser)
{
    static const struct buffer nothing;
    struct token *token = consume(parser, TOKEN_CHAR);
    enum wild wild = consume_wild(parser);
    if (wild != WILD_NONE) {
        struct buffer prefix = {0};
        if (token && *token->value != parser->prefix)
            put(parser->maker, &parser->pending, *token->value);
        else if (token)
            put(parser->maker, &prefix, *token->value);
        flush_pending(parser);
        add_part(parser, &prefix, wild, &nothing, consume_modifier(parser));
        free(prefix.data);
        return;
    }
    if (!token)
        token = consume(parser, TOKEN_ESCAPED);
    if (token)
        put(parser->maker, &parser->pending, *token->value);
    else if (consume(parser, TOKEN_OPEN))
        parse_group(parser);
    else
        fail(parser->maker, "a modifier or a } has nothing before it");
}

static void measure(struct program *program)
{
    const struct op *ops = program->ops;
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

static void compile(struct maker *maker, struct program *program, const char *text, size_t length)
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
    parser.tokens = tokenize(maker, text, length, false);
    parser.names = calloc(length + 1, sizeof(*parser.names));
    if (!parser.names)
        fail_memory(maker);
    while (maker->status == MUSTER_OK && parser.at + 1 < parser.tokens.count)
        parse_next(&parser);
    if (maker->status == MUSTER_OK)
        flush_pending(&parser);
    emit(maker, program, (struct op){OP_MATCH, 0, 0});
    if (maker->status == MUSTER_OK)
        measure(program);
    maker->ignore_case = ignore_case;
    free(parser.names);
    free(parser.tokens.items);
    free(parser.pending.data);
}

static bool matches_special(const struct program *protocol)
{
    for (size_t i = 0; i < sizeof(special_schemes) / sizeof(*special_schemes); i++) {
        const char *name = special_schemes[i].name;
        if (run(protocol, (struct muster_bytes){name, strlen(name)}))
            return true;
    }
    return false;
}

/* ---- a pattern in one text ---- */

enum cut_state { CUT_INIT = MUSTER__URL_COMPONENT_COUNT, CUT_AUTHORITY, CUT_DONE };

/* The components of a text, each malloc'ed. */
struct cut {
    struct maker *maker;
    const char *text;
    struct tokens tokens;
    int state; /* a component, or of cut_state */
    size_t at, begins, step;
    unsigned groups, brackets;
    bool is_special;
    char *components[MUSTER__URL_COMPONENT_COUNT];
};

static const struct token *token_at(const struct cut *cut, size_t at)
{
    return &cut->tokens.items[at < cut->tokens.count ? at : cut->tokens.count - 1];
}

static bool is_plain(const struct cut *cut, size_t at, char c)
{
    const struct token *token = token_at(cut, at);
    return token->length == 1 && *token->value == c &&
           (token->kind == TOKEN_CHAR || token->kind == TOKEN_ESCAPED || token->kind == TOKEN_INVALID);
}

/* A question mark begins the search unless it is a modifier of what stands before it. */
static bool is_search_prefix(const struct cut *cut)
{
    const struct token *token = token_at(cut, cut->at);
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
        fail_memory(cut->maker);
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
    struct program protocol = {0};
    size_t begins = token_at(cut, cut->begins)->begins;
    cut->maker->component = MUSTER__URL_PROTOCOL;
    compile(cut->maker, &protocol, cut->text + begins, token_at(cut, cut->at)->begins - begins);
    cut->is_special = cut->maker->status == MUSTER_OK && matches_special(&protocol);
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

static void cut_text(struct maker *maker, const char *text, struct cut *cut)
{
    *cut = (struct cut){.maker = maker, .text = text, .state = CUT_INIT};
    maker->component = MUSTER__URL_PATHNAME;
    cut->tokens = tokenize(maker, text, strlen(text), true);
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
    free(cut->tokens.items);
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
static char *escaped(struct maker *maker, struct muster_bytes text)
{
    struct buffer to = {0};
    put_text(maker, &to, "", 0);
    for (size_t i = 0; i < text.length; i++) {
        if (memchr("+*?:{}()\\", text.data[i], 9))
            put(maker, &to, '\\');
        put(maker, &to, text.data[i]);
    }
    if (!to.data)
        to.data = calloc(1, 1);
    if (!to.data)
        fail_memory(maker);
    return to.data;
}

/* Each component is the base's if it is not said and none before it in a URL is. */
static void inherit(struct maker *maker, char *components[], const struct muster_bytes base[])
{
    static const uint8_t order[] = {MUSTER__URL_PROTOCOL, MUSTER__URL_HOSTNAME, MUSTER__URL_PORT,
                                    MUSTER__URL_PATHNAME, MUSTER__URL_SEARCH,   MUSTER__URL_HASH};
    for (size_t i = 0; i < sizeof(order) && !components[order[i]]; i++)
        components[order[i]] = escaped(maker, base[order[i]]);
}

/* A path that is not absolute lies beside the base's. */
static void resolve_path(struct maker *maker, char *components[], const struct muster_bytes base[])
{
    const struct muster_bytes path = base[MUSTER__URL_PATHNAME];
    char *said = components[MUSTER__URL_PATHNAME];
    if (!said || !path.length || path.data[0] != '/' || said[0] == '/' || (said[0] && strchr("\\{", said[0]) && said[1] == '/'))
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
        fail_memory(maker);
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

static void apply_base(struct maker *maker, char *components[], const char *base_url)
{
    struct muster_bytes base[MUSTER__URL_COMPONENT_COUNT];
    if (!muster__url_split((struct muster_bytes){base_url, strlen(base_url)}, base)) {
        maker->component = MUSTER__URL_PROTOCOL;
        fail(maker, "its base is no absolute URL");
        return;
    }
    if (!base[MUSTER__URL_PATHNAME].length && base[MUSTER__URL_HOSTNAME].length)
        base[MUSTER__URL_PATHNAME] = (struct muster_bytes){"/", 1};
    bool path_said = components[MUSTER__URL_PATHNAME] != NULL;
    inherit(maker, components, base);
    if (path_said)
        resolve_path(maker, components, base);
}

static bool is_literal(const struct program *program)
{
    return program->ops[program->literal].kind == OP_MATCH;
}

static void compile_component(struct maker *maker, struct muster__url_pattern *pattern, int component, const char *text)
{
    struct program *program = &pattern->programs[component];
    maker->component = (enum muster__url_component)component;
    if (component == MUSTER__URL_PORT && text && *maker->protocol && *default_port(maker->protocol) &&
        strcmp(text, default_port(maker->protocol)) == 0)
        text = "";
    compile(maker, program, text ? text : "*", text ? strlen(text) : 1);
    if (component != MUSTER__URL_PROTOCOL || maker->status != MUSTER_OK)
        return;
    maker->is_special = matches_special(program);
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

static void read_components(struct maker *maker, const struct muster__url_pattern_options *options, char *components[])
{
    struct cut cut;
    if (options->text) {
        cut_text(maker, options->text, &cut);
        memcpy(components, cut.components, sizeof(cut.components));
        maker->component = MUSTER__URL_PROTOCOL;
        if (!options->base_url && !components[MUSTER__URL_PROTOCOL])
            fail(maker, "there is none, and no base that gives one");
    }
    for (size_t i = 0; !options->text && i < MUSTER__URL_COMPONENT_COUNT; i++)
        if (options->components[i] && !(components[i] = strdup(options->components[i])))
            fail_memory(maker);
    if (maker->status == MUSTER_OK)
        strip(components);
    if (maker->status == MUSTER_OK && options->base_url)
        apply_base(maker, components, options->base_url);
}

enum muster_status muster__url_pattern_new(const struct muster__url_pattern_options *options,
                                           struct muster__url_pattern **ret_pattern, struct muster_error *error)
{
    struct maker maker = {.error = error, .ignore_case = options->ignore_case};
    char *components[MUSTER__URL_COMPONENT_COUNT] = {0};
    struct muster__url_pattern *pattern = calloc(1, sizeof(*pattern));
    if (!pattern)
        return MUSTER_NO_MEMORY;
    if (length_of(options) > MUSTER__URL_PATTERN_LENGTH_MAX)
        fail(&maker, "it is too long");
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

bool muster__url_pattern_matches_split(const struct muster__url_pattern *pattern,
                                       const struct muster_bytes components[MUSTER__URL_COMPONENT_COUNT])
{
    static const uint8_t order[] = {MUSTER__URL_PATHNAME, MUSTER__URL_HOSTNAME, MUSTER__URL_SEARCH,
                                    MUSTER__URL_PROTOCOL, MUSTER__URL_PORT,     MUSTER__URL_USERNAME,
                                    MUSTER__URL_PASSWORD, MUSTER__URL_HASH};
    for (size_t i = 0; i < sizeof(order); i++)
        if (!run(&pattern->programs[order[i]], components[order[i]]))
            return false;
    return true;
}

bool muster__url_pattern_matches(const struct muster__url_pattern *pattern, struct muster_bytes url)
{
    struct muster_bytes components[MUSTER__URL_COMPONENT_COUNT];
    return muster__url_split(url, components) && muster__url_pattern_matches_split(pattern, components);
}
