/* runtime/http_client.h - HTTP requests that go out: one transfer each, its answer in a head and a stream.  Internal.
 *
 * The work is done by an object of its own, muster-http.so, which is opened with the first request and stays:
 * it costs a process several milliseconds of linking, which one that fetches nothing does not pay.  It has one
 * thread, which runs while there are transfers and ends some seconds after the last; no callback of it runs a
 * script or waits.
 *
 * A transfer tells its maker once: `head`, or `failed`.  What comes after the head comes in its stream: the
 * bytes, then its end, or an abort with the status and the sentence of what went wrong.  A reader that is slow
 * stops the transfer, one that aborts the stream ends it.
 *
 * Speaks http and https, HTTP/1.1 and, over TLS, HTTP/2.  Certificates are verified.  Environment:
 *   MUSTER_CA_FILE       certificates in PEM that are trusted beside none other
 *   MUSTER_TLS_INSECURE  "1": certificates are not verified (for tests)
 *   MUSTER_RESOLVE       "HOST=ADDRESS,...": where hosts are; "*.HOST" stands for all names below it
 */
#ifndef MUSTER_HTTP_CLIENT_H
#define MUSTER_HTTP_CLIENT_H

#include "runtime/http_message.h"

/* What went wrong; the sentence says it for people. */
enum muster__http_problem {
    MUSTER__HTTP_FINE,
    MUSTER__HTTP_UNAVAILABLE, /* there is no HTTP client here, or no network behind this wall */
    MUSTER__HTTP_BAD_REQUEST, /* its URL cannot be asked for */
    MUSTER__HTTP_NO_HOST,     /* the name is not known */
    MUSTER__HTTP_NO_CONNECTION, /* refused, or no way there */
    MUSTER__HTTP_TLS,         /* certificate or handshake */
    MUSTER__HTTP_TIMED_OUT,
    MUSTER__HTTP_REDIRECTS,   /* too many, or one that was not allowed */
    MUSTER__HTTP_TOO_LARGE,
    MUSTER__HTTP_BROKEN,      /* the connection ended early, or what came is no HTTP */
    MUSTER__HTTP_NO_MEMORY
};

enum muster__http_redirect {
    MUSTER__HTTP_MANUAL, /* a redirect is an answer like any other */
    MUSTER__HTTP_FOLLOW, /* at most `redirect_limit` (0: 20); GET and HEAD only */
    MUSTER__HTTP_FOLLOW_WITHIN, /* likewise, and never to another origin */
    MUSTER__HTTP_ERROR
};

/* Borrowed until head() returns, but for `body`. */
struct muster__http_head {
    int status;
    struct muster_bytes status_text; /* empty over HTTP/2 */
    const struct muster_header *headers;
    size_t header_count;
    const char *url;    /* that answered */
    unsigned redirects; /* that were followed */
    struct muster_stream *body; /* the reader's reference, which is taken; NULL: see below */
    struct muster_bytes bytes;  /* with `gather`: all of the body */
};

/* Thread: the client's; one of the two, once, unless cancel comes first, and never inside start.  Must neither
 * wait nor call the client: note it, and wake your own thread. */
struct muster__http_listener {
    void (*head)(void *user_data, const struct muster__http_head *head);
    void (*failed)(void *user_data, enum muster__http_problem problem, const char *message);
};

/* All borrowed until start returns, but for the listener, which lives as long as the transfer. */
struct muster__http_options {
    const char *method; /* a token, in the case in which it is sent */
    const char *url;    /* absolute; its fragment is not sent */
    const struct muster_header *headers;
    size_t header_count;
    struct muster_bytes body;          /* data == NULL: none */
    struct muster_stream *body_stream; /* instead: the reader's reference, acquired; sent in chunks */
    enum muster__http_redirect redirect;
    unsigned redirect_limit;
    bool gather;                 /* the head comes when all of the body is there, without a stream */
    bool raw;                    /* leave the body as the server encoded it */
    uint64_t connect_timeout_us; /* 0: 30 s */
    uint64_t timeout_us;         /* of all of it; 0: none */
    uint64_t body_limit;         /* bytes after decoding; 0: none */
    const struct muster__http_listener *listener;
    void *user_data;
};

struct muster__http_transfer;

/* Thread: any.  Opens muster-http.so now, and what that needs, for a process that soon cannot.  UNSUPPORTED, NO_MEMORY fill `error`. */
MUSTER_MUST_CHECK enum muster_status muster__http_prepare(struct muster_error *error);

/* Thread: any.  OK: the listener will hear.  INVALID_ARGUMENT (no URL of http, or a
 * method or header that would not be one), NO_MEMORY, SYSTEM (no thread), FORKED (made
 * before a fork), UNSUPPORTED (muster-http.so is missing, or behind a wall) fill `error` (may be NULL). */
MUSTER_MUST_CHECK enum muster_status muster__http_start(const struct muster__http_options *options,
                                                        struct muster__http_transfer **ret_transfer,
                                                        struct muster_error *error);
/* Thread: any but the client's.  Ends the transfer and lets go of it; its body, if it has a reader, is aborted.
 * The listener is not being called any more when this returns. */
void muster__http_cancel(struct muster__http_transfer *take_transfer);
/* Thread: any.  Lets go of a transfer whose listener has heard; its body goes on to its end. */
void muster__http_release(struct muster__http_transfer *take_transfer);

/* Thread: any.  `reference` seen from the absolute URL `base`.  The caller frees; NULL: it is no URL of http or
 * https, or memory. */
char *muster__http_resolve(const char *base, const char *reference);

#define MUSTER__DIGEST_MOST 64
/* Thread: any.  "sha256", "sha384" or "sha512" of the bytes, and its length; 0: there is no such algorithm here. */
size_t muster__http_digest(const char *algorithm, struct muster_bytes bytes,
                           unsigned char ret_digest[MUSTER__DIGEST_MOST]);

/* What muster-http.so exports as `muster__http_driver`. */
struct muster__http_driver {
    void (*prepare)(void); /* opens what is opened once */
    enum muster_status (*start)(const struct muster__http_options *options,
                                struct muster__http_transfer **ret_transfer, struct muster_error *error);
    void (*cancel)(struct muster__http_transfer *take_transfer);
    void (*release)(struct muster__http_transfer *take_transfer);
    char *(*resolve)(const char *base, const char *reference);
    size_t (*digest)(const char *algorithm, struct muster_bytes bytes,
                     unsigned char ret_digest[MUSTER__DIGEST_MOST]);
};
extern const struct muster__http_driver muster__http_driver;
size_t muster__http_driver_digest(const char *algorithm, struct muster_bytes bytes,
                                  unsigned char ret_digest[MUSTER__DIGEST_MOST]);

#endif
