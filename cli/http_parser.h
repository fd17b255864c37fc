/* cli/http_parser.h - the syntax of HTTP/1.1 requests: one message at a time, bytes in, events out.
 *
 * The adapter of the parser llhttp; no other file knows it.  A parser is a small value of its owner's;
 * it allocates nothing, keeps no pointer into what it read, and is as thread-safe as an int.
 *
 * The owner begins each message with init, gives the whole head in one piece (so that names and values
 * are spans of that piece), then the body in pieces of any size, until MESSAGE_END.  Transfer codings are
 * taken off: on_body sees the content only.  Trailers and chunk extensions are dropped, and bounded.
 *
 * llhttp must be compiled with LLHTTP_STRICT_MODE=1 (version 8; later ones are strict by themselves).
 */
#ifndef MUSTER_CLI_HTTP_PARSER_H
#define MUSTER_CLI_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the parser understood the framing; the owner compares it with its own reading. */
struct muster__http_framing {
    bool keep_alive;
    bool is_chunked;
    bool has_content_length;
    uint64_t content_length;
};

/* Each answers false to give the message up; execute then says REFUSED. */
struct muster__http_parser_events {
    bool (*on_header_name)(void *user_data, const char *data, size_t length);
    bool (*on_header_value)(void *user_data, const char *data, size_t length); /* of the last name */
    bool (*on_head_end)(void *user_data, const struct muster__http_framing *framing);
    bool (*on_body)(void *user_data, const char *data, size_t length);
};

enum muster__http_parse {
    MUSTER__HTTP_PARSE_MORE,           /* all bytes taken; the message goes on */
    MUSTER__HTTP_PARSE_MESSAGE_END,    /* what lies behind *ret_used is another message's */
    MUSTER__HTTP_PARSE_REFUSED,        /* an event said so */
    MUSTER__HTTP_PARSE_UNKNOWN_METHOD, /* a method that the parser has never heard of */
    MUSTER__HTTP_PARSE_TOO_LARGE,      /* trailers or chunk extensions without end */
    MUSTER__HTTP_PARSE_BAD,            /* not HTTP/1.x */
};

struct muster__http_parser {
    const struct muster__http_parser_events *events;
    void *user_data;
    size_t overhead; /* bytes of trailers and chunk extensions so far */
    size_t overhead_limit;
    bool head_ended;
    bool message_ended;
    bool too_large;
    uint64_t state[16]; /* the parser's own */
};

/* Borrows `events` until the message is over. */
void muster__http_parser_init(struct muster__http_parser *parser,
                              const struct muster__http_parser_events *events, void *user_data,
                              size_t overhead_limit);
enum muster__http_parse muster__http_parser_execute(struct muster__http_parser *parser,
                                                    const char *data, size_t length,
                                                    size_t *ret_used);

#endif
