/* tests/fuzz_url_loader.c - libFuzzer target: what is done with any URL before anything is fetched.  The input is a
 * URL and another one, seen from it, with a zero byte between the two. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/loader_web.h"
#include "runtime/script_fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_data_url(const char *url)
{
    enum muster_status status = MUSTER_OK;
    const struct muster__blob *blob = muster__data_url_read(url, &status);
    if (blob == NULL) {
        MUSTER_CHECK(status == MUSTER_INVALID_ARGUMENT);
        return;
    }
    MUSTER_CHECK(strncasecmp(url, "data:", 5) == 0 && muster__is_local_url(url));
    MUSTER_CHECK(blob->bytes.length <= strlen(url) && strlen(blob->type) <= strlen(url));
    (void)muster__is_javascript_type(blob->type);
    muster__blob_release(blob);
}

static void use_blob_url(const char *url)
{
    static const struct muster_bytes bytes = {"x", 1};
    enum muster_status status = muster__blob_add(url, bytes, url);
    const struct muster__blob *blob = muster__blob_find(url);
    MUSTER_CHECK(status == MUSTER_OK);
    MUSTER_CHECK(strchr(url, '#') != NULL || (blob != NULL && strcmp(blob->type, url) == 0));
    MUSTER_CHECK(muster__blob_add(url, bytes, "") == MUSTER_EXISTS);
    muster__blob_remove(url);
    MUSTER_CHECK(strchr(url, '#') != NULL || muster__blob_find(url) == NULL);
    if (blob != NULL) {
        MUSTER_CHECK(blob->bytes.length == 1);
        muster__blob_release(blob);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 2);
    MUSTER_CHECK(text);
    memcpy(text, data, size);
    memset(text + size, 0, 2);
    const char *reference = text + strlen(text) + 1;
    if (reference > text + size)
        reference = text + size;
    read_data_url(text);
    use_blob_url(text);
    (void)muster__is_javascript_type(text);
    MUSTER_CHECK(!muster__is_http_url(text) || !muster__is_local_url(text));
    char *resolved = muster__http_driver.resolve(text, reference);
    MUSTER_CHECK(resolved == NULL || muster__is_http_url(resolved));
    free(resolved);
    free(text);
    return 0;
}
