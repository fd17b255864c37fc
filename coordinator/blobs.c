/* coordinator/blobs.c - a blob: URL that a script was told of, and that its own process does not know.
 *
 * Each process keeps the blobs that its scripts make (runtime/loader_web.h).  A page and workers on threads share this
 * one's, which a worker in a child may ask for; what another child made stays unknown.  Thread: coordinator. */
#include "coordinator/context_worker.h"
#include "runtime/loader_web.h"

#include <string.h>

#define BYTES_MOST ((size_t)64 << 20) /* of one, for it goes over in one message */

/* blob.read(url): its type, and its bytes as the data; null: there is none, or none that it may read. */
void muster__op_blob_read(struct muster__ask *ask)
{
    const char *url = muster__ask_text(ask, 0);
    bool may = url && strncmp(url, "blob:", 5) == 0 && muster__context_may_load(ask->context, url);
    const struct muster__blob *blob = may ? muster__blob_find(url) : NULL;
    struct muster_value *bytes = NULL, *type = NULL;
    if (blob && blob->bytes.length <= BYTES_MOST) {
        bytes = muster_value_new_bytes(blob->bytes.data, blob->bytes.length);
        type = bytes ? muster_value_new_text(blob->type) : NULL;
    }
    muster__blob_release(blob);
    if (type) {
        muster__ask_answer_with(ask, type, bytes);
        return;
    }
    muster_value_release(bytes);
    muster__ask_answer(ask, muster_value_new_null());
}
