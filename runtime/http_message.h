/* runtime/http_message.h - a request and a response, as data.
 *
 * Public: installed as <muster/http_message.h>.  Plain structs that the maker owns; the library copies
 * what it keeps.  Header names may come in any case; order and repetitions are kept.
 */
#ifndef MUSTER_HTTP_MESSAGE_H
#define MUSTER_HTTP_MESSAGE_H

#include "base.h"
#include "stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_header {
    struct muster_bytes name;
    struct muster_bytes value; /* isomorphic bytes (latin-1), as on the wire */
};

/* A body is nothing, bytes that are all there, or a stream; never both of the latter. */
struct muster_http_request {
    struct muster_bytes method; /* "GET" */
    struct muster_bytes url;    /* absolute: "http://127.0.0.1:8080/path?query" */
    const struct muster_header *headers;
    size_t header_count;
    struct muster_bytes body;          /* data == NULL: no such body */
    struct muster_stream *body_stream; /* NULL: none; the library acquires its own reference */
    struct muster_bytes client_id;     /* may be empty */
};

struct muster_http_response {
    int status_code;                 /* 200 to 599 */
    struct muster_bytes status_text; /* may be empty */
    const struct muster_header *headers;
    size_t header_count;
    struct muster_bytes body;
    struct muster_stream *body_stream; /* NULL: none; borrowed: acquire it to keep it */
};

#ifdef __cplusplus
}
#endif
#endif
