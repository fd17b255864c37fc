/* cli/http_exchange.h - one request on its way and its answer in wire form.
 *
 * An exchange owns everything that its request points at, so that it may outlive its connection, and is
 * counted by its request's references.  What the two threads may touch is said at the fields: the one that
 * settles the request writes the answer, the owner of the connection reads it after
 * muster__http_connection_answer_ready.
 */
#ifndef MUSTER_CLI_HTTP_EXCHANGE_H
#define MUSTER_CLI_HTTP_EXCHANGE_H

#include "runtime/request.h"

struct muster__http_connection;

enum { MUSTER__HTTP_DATE_LENGTH = 29 }; /* "Sat, 01 Jan 2000 00:00:00 GMT" */

/* A byte buffer of an exchange; grows, is kept for the next request. */
struct muster__http_buffer {
    char *data;
    size_t length;
    size_t capacity;
};

struct muster__http_exchange {
    struct muster__request request; /* first: a request is cast to its exchange */

    /* Thread: owner.  NULL: the connection is gone. */
    struct muster__http_connection *connection;
    /* The server's own: NULL in on_request, left alone from then on. */
    struct muster__http_exchange *server_next;
    struct muster__http_exchange *server_older, *server_newer;
    void *server_data;

    /* Everything below is the HTTP modules'. */

    /* Constant from on_request on, so that any thread may read it. */
    bool is_head;
    bool is_http10;
    bool keep_alive;
    struct muster__http_buffer head;
    struct muster_header *headers;
    size_t header_capacity;

    /* The answer: written by the thread that settles, read by the owner from ready on. */
    struct muster__http_buffer out;
    struct muster_stream *answer_stream;
    uint64_t answer_left; /* of a stream with a content-length */
    bool is_chunked;
    bool is_limited; /* answer_left counts */
    bool closes;     /* the connection ends after this answer */
    /* Set by the owner before it settles the request itself; then no other answer counts. */
    atomic_int forced_status;

    /* Thread: owner. */
    struct muster__http_exchange *next;
    struct muster__http_buffer body;   /* decoded, not handed over yet */
    struct muster_stream *body_stream; /* the writer's end; http.body_stream is the reader's */
    size_t out_offset;
    uint8_t interim_left; /* bytes of "100 Continue" that are still to be written */
    bool is_dispatched;
    bool is_ready;
    bool is_answered; /* the last byte of the answer was written */
    bool is_received; /* the last byte of the request was read */
};

/* Formats 29 characters and a NUL, whatever the locale.  Thread: any. */
void muster__http_date(int64_t unix_seconds, char date[MUSTER__HTTP_DATE_LENGTH + 1]);

/* Thread: any, once, after on_request and before ready.  Copies all but the stream, of which it acquires
 * the reader's end.  Connection-level headers are dropped; a response that cannot be written as HTTP
 * becomes 502.  `date` has MUSTER__HTTP_DATE_LENGTH characters. */
void muster__http_exchange_answer(struct muster__http_exchange *exchange,
                                  const struct muster_http_response *response, const char *date);
/* A plain text answer: the reason of the status and, on further lines, `detail` (NULL: none).
 * `retry_after_s`: 0 for none.  Cannot fail. */
void muster__http_exchange_answer_status(struct muster__http_exchange *exchange, int status_code,
                                         const char *detail, unsigned retry_after_s,
                                         const char *date);
/* Thread: any; the class's destroy. */
void muster__http_exchange_destroy(struct muster__request *request);

/* "Not Found"; "" for unknown ones. */
const char *muster__http_reason(int status_code);
/* 404 for MUSTER_PASSED and so on; 500 for what has no code of its own. */
int muster__http_status_of(enum muster_status status);

/* Field syntax.  Thread: any. */
bool muster__http_is_token(struct muster_bytes text);
/* No control characters but tabs. */
bool muster__http_is_field_text(struct muster_bytes text);
/* Decimal digits only, at most 19 of them. */
bool muster__http_parse_length(struct muster_bytes text, uint64_t *ret_length);

/* For the connection.  Thread: owner, and nobody else holds it. */
struct muster__http_exchange *muster__http_exchange_new(void);
/* Begins anew with a request of `class`; lets go of all that the last one left. */
void muster__http_exchange_reset(struct muster__http_exchange *exchange,
                                 const struct muster__request_class *class);
/* Frees buffers that a large message has left behind. */
void muster__http_exchange_trim(struct muster__http_exchange *exchange);
/* Thread: owner.  Ends the response stream, as far as there is one, with what its writer will see. */
void muster__http_exchange_drop_answer_stream(struct muster__http_exchange *exchange,
                                              enum muster_status status, const char *message);

bool muster__http_buffer_reserve(struct muster__http_buffer *buffer, size_t extra);
bool muster__http_buffer_append(struct muster__http_buffer *buffer, const char *data, size_t length);
/* Drops the first `length` bytes. */
void muster__http_buffer_consume(struct muster__http_buffer *buffer, size_t length);
void muster__http_buffer_clean_up(struct muster__http_buffer *buffer);

#endif
