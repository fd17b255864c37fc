/* coordinator/url_pattern_internal.h - what the files of URL patterns share.  Included by url_pattern*.c only.
 * Thread: any; a maker and what it makes, the one that makes it. */
#ifndef MUSTER_URL_PATTERN_INTERNAL_H
#define MUSTER_URL_PATTERN_INTERNAL_H

#include "coordinator/url_pattern.h"
#include "runtime/check.h"

#define URL_PROGRAM_MAX 8192

/* ---- programs ---- */

enum op_kind { OP_BYTE, OP_NOT, OP_ANY, OP_SPLIT, OP_JUMP, OP_MATCH };

struct url_op {
    uint8_t kind;
    uint8_t byte;  /* BYTE, NOT */
    uint16_t to;   /* JUMP; SPLIT: there as well as behind it */
};

struct url_program {
    struct url_op *ops;
    uint16_t count, literal; /* so many BYTEs before anything else */
    bool ends_any;           /* and then whatever follows */
    bool ignore_case;
};

/* Does it take the whole text? */
bool muster__url_pattern_run(const struct url_program *program, struct muster_bytes text);

/* ---- what a pattern is made with ---- */

struct url_buffer {
    char *data;
    size_t length, capacity;
};

struct url_maker {
    struct muster_error *error; /* may be NULL */
    enum muster_status status;
    enum muster__url_component component;
    bool is_special; /* the protocol, or one that the pattern's may be, has a path with slashes */
    bool ignore_case;
    char protocol[16]; /* if the protocol is one literal: for its port */
};

/* The first reason stays.  INVALID_ARGUMENT; NO_MEMORY. */
void muster__url_pattern_fail(struct url_maker *maker, const char *what);
void muster__url_pattern_fail_memory(struct url_maker *maker);
/* Terminated; without memory the maker has failed. */
void muster__url_pattern_put(struct url_maker *maker, struct url_buffer *buffer, char byte);
void muster__url_pattern_put_text(struct url_maker *maker, struct url_buffer *buffer, const char *text, size_t length);

/* ---- tokens, and what becomes of them ---- */

enum token_kind { TOKEN_CHAR, TOKEN_ESCAPED, TOKEN_INVALID, TOKEN_NAME, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_MODIFIER,
                  TOKEN_ASTERISK, TOKEN_END };

struct url_token {
    enum token_kind kind;
    size_t begins;
    const char *value;
    size_t length;
};

/* `length` + 1 of them at most. */
struct url_tokens {
    struct url_token *items;
    size_t count;
};

/* `lenient`: what is wrong becomes a token.  The caller frees `items`. */
struct url_tokens muster__url_pattern_tokenize(struct url_maker *maker, const char *text, size_t length, bool lenient);
/* Of the maker's component. */
void muster__url_pattern_compile(struct url_maker *maker, struct url_program *program, const char *text, size_t length);
/* A literal of the maker's component; `address`: of a host, between brackets. */
void muster__url_pattern_put_canonical(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length,
                                       bool address);
/* "": it has none. */
const char *muster__url_pattern_default_port(const char *protocol);
/* A protocol whose paths have slashes. */
bool muster__url_pattern_matches_special(const struct url_program *protocol);
/* A pattern in one text; what it says of each component, malloc'ed, or NULL: nothing. */
void muster__url_pattern_cut_text(struct url_maker *maker, const char *text, char *components[]);

/* ---- bytes ---- */

static inline uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_letter(char c)
{
    return lower((uint8_t)c) >= 'a' && lower((uint8_t)c) <= 'z';
}

#endif
