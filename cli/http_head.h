/* cli/http_head.h - the head of a request: where it ends, what it says, whether it may be believed.
 *
 * The parser knows the grammar; this is the judgement on top: nothing that two readers could take in two
 * ways gets through (bare line ends, folded lines, two lengths, a length beside a coding, an odd Host).
 * Some of it the parser refuses as well; a parser of another version may not.  Plain functions on the
 * owner's thread.
 */
#ifndef MUSTER_CLI_HTTP_HEAD_H
#define MUSTER_CLI_HTTP_HEAD_H

#include "cli/http_exchange.h"
#include "cli/http_parser.h"

/* What is known while a head is read; its spans point into the exchange. */
struct muster__http_head {
    struct muster_bytes target;
    struct muster_bytes host;
    struct muster__http_framing framing; /* as the parser sees it */
    bool has_host;
    bool has_length;
    bool has_coding;
    bool is_chunked;
    bool expects_continue;
    uint64_t length;
};

/* Looks for the end of a head: its length with the empty line; 0 when it is not there yet; -1 when
 * this can never be one.  *scanned, 0 at first, remembers how far it came. */
ptrdiff_t muster__http_head_find(const char *data, size_t length, size_t *scanned);

/* These return 0, or the status to refuse the request with. */

/* Copies the head into the exchange, and reads the request line. */
int muster__http_head_begin(struct muster__http_exchange *exchange, struct muster__http_head *head,
                            const char *data, size_t length, const char *default_authority);
/* From the parser's events. */
int muster__http_head_name(struct muster__http_exchange *exchange, const char *data, size_t length,
                           size_t count_limit);
int muster__http_head_value(struct muster__http_exchange *exchange, const char *data, size_t length);
/* After the last header: fills the rest of exchange->request.http. */
int muster__http_head_finish(struct muster__http_exchange *exchange, struct muster__http_head *head,
                             const char *default_authority);

#endif
