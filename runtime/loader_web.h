/* runtime/loader_web.h - what is fetched without the network: blob: and data: URLs; and the table by which engines
 * reach these and the HTTP client.  Internal.
 *
 * Blob URLs are the process's: any worker in it can load and fetch what another one has registered, until that
 * one revokes the URL or ends.
 */
#ifndef MUSTER_LOADER_WEB_H
#define MUSTER_LOADER_WEB_H

#include "runtime/http_client.h"

struct muster__blob { /* constant, counted */
    struct muster_bytes bytes;
    const char *type; /* a MIME type, or "" */
};

/* Thread: any.  Copies all.  EXISTS, NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__blob_add(const char *url, struct muster_bytes bytes, const char *type);
/* Thread: any.  Its fragment does not count.  One reference; NULL: nothing has that URL. */
const struct muster__blob *muster__blob_find(const char *url);
void muster__blob_release(const struct muster__blob *blob); /* NULL: no-op */
/* Thread: any.  Unknown ones are fine. */
void muster__blob_remove(const char *url);

/* Thread: any.  What a data: URL says: its bytes, and the text before its comma without ";base64".  As a blob;
 * NULL: it is no such URL (*ret_status is INVALID_ARGUMENT), or NO_MEMORY. */
const struct muster__blob *muster__data_url_read(const char *url, enum muster_status *ret_status);

/* "text/javascript; charset=x" is one: any of the types that the MIME standard calls JavaScript's. */
bool muster__is_javascript_type(const char *type);

/* All of it, for an engine, which is an object of its own and cannot call the library by name. */
struct muster__web {
    enum muster_status (*http_start)(const struct muster__http_options *options,
                                     struct muster__http_transfer **ret_transfer, struct muster_error *error);
    void (*http_cancel)(struct muster__http_transfer *take_transfer);
    void (*http_release)(struct muster__http_transfer *take_transfer);
    size_t (*digest)(const char *algorithm, struct muster_bytes bytes,
                     unsigned char ret_digest[MUSTER__DIGEST_MOST]);
    enum muster_status (*blob_add)(const char *url, struct muster_bytes bytes, const char *type);
    const struct muster__blob *(*blob_find)(const char *url);
    void (*blob_release)(const struct muster__blob *blob);
    void (*blob_remove)(const char *url);
    const struct muster__blob *(*data_url_read)(const char *url, enum muster_status *ret_status);
};
extern const struct muster__web muster__web;

#endif
