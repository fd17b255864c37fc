/* runtime/script_fetch.h - brings a script from wherever its URL says, without holding up who asks.  Internal.
 *
 * http and https go through the HTTP client, all else through a pool thread that may block: files, data: and
 * blob: URLs, and whatever an embedder's loader knows (but for data: and blob:, which are never asked of it).
 * Where the answer of a server is used, its status and its type are looked at here, as the standards ask.
 *
 * May a script come from there?  What comes from the web (http, data:, blob:) imports nothing from files, and
 * what comes from files nothing from http: such an origin is not its own.
 */
#ifndef MUSTER_SCRIPT_FETCH_H
#define MUSTER_SCRIPT_FETCH_H

#include "runtime/http_message.h"
#include "runtime/loader_internal.h"
#include "runtime/pool.h"

struct muster__script_fetch_options {
    const struct muster__loader *loader; /* borrowed until done */
    struct muster__pool *pool;           /* likewise */
    const char *url, *importer;          /* copied; importer: NULL for a worker's own script */
    const struct muster_header *headers; /* http: besides those of its own ("Service-Worker: script"); copied */
    size_t header_count;
    bool refuse_redirects;
    uint64_t timeout_us; /* http, of all of it; 0: 60 s */
};

/* What came; of a server's answer the parts that matter to a registration. */
struct muster__fetched_script {
    struct muster__script *script; /* its url is the final one; NULL it to take it */
    char *content_type;            /* http: as it came; NULL: none */
    char *service_worker_allowed;  /* http: that header; NULL: none */
    char *allowed_origin;          /* http: Access-Control-Allow-Origin; NULL: none */
    char *etag, *last_modified;    /* http: by which it can be asked for again; NULL: none */
    uint64_t max_age_us;           /* http: it need not be asked for again for so long */
    int status;                    /* http: of the answer, also where that is no script; 0: not http */
    bool was_redirected;           /* http: which was refused, as asked */
};

/* Thread: a pool thread or the HTTP client's; must not block.  `status` is OK, or LOAD_FAILED, NOT_FOUND,
 * SYNTAX_ERROR, NO_MEMORY or TIMED_OUT, with the error.  What `fetched` still has afterwards is freed. */
typedef void muster__script_fetched_fn(void *user_data, enum muster_status status,
                                       struct muster__fetched_script *fetched, const struct muster_error *error);

/* Thread: any.  `done` comes once, and never from inside this call.  NO_MEMORY: it will not come. */
MUSTER_MUST_CHECK enum muster_status muster__script_fetch(const struct muster__script_fetch_options *options,
                                                          muster__script_fetched_fn *done, void *user_data);

/* Thread: one that may block.  As above, now; options->pool is not used.  `ret_fetched` is the caller's to clean up. */
MUSTER_MUST_CHECK enum muster_status muster__script_fetch_now(const struct muster__script_fetch_options *options,
                                                              struct muster__fetched_script *ret_fetched,
                                                              struct muster_error *error);
void muster__fetched_script_clean_up(struct muster__fetched_script *fetched);

/* "http:" and "https:"; "blob:" and "data:". */
bool muster__is_http_url(const char *url);
bool muster__is_local_url(const char *url);

#endif
