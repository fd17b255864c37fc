/* tests/fuzz_url_pattern.c - libFuzzer target: any text is a URL pattern or a refusal with a reason, and any URL is
 * matched by it or not.  The input is a pattern, its base and a URL, with a zero byte between two of them; without a
 * base the first is read as a path. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/url_pattern.h"
#include "runtime/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_pattern(const struct muster__url_pattern_options *options, struct muster_bytes url)
{
    struct muster__url_pattern *pattern = NULL;
    struct muster_error error = {0};
    if (muster__url_pattern_new(options, &pattern, &error) == MUSTER_OK) {
        bool once = muster__url_pattern_matches(pattern, url);
        MUSTER_CHECK(muster__url_pattern_matches(pattern, url) == once);
    } else {
        MUSTER_CHECK(pattern == NULL && error.message != NULL);
    }
    muster_error_clean_up(&error);
    muster__url_pattern_destroy(pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 3);
    MUSTER_CHECK(text);
    memcpy(text, data, size);
    memset(text + size, 0, 3);
    const char *base = text + strlen(text) + 1;
    if (base > text + size)
        base = text + size;
    const char *url = base + strlen(base) + 1;
    struct muster_bytes bytes = {url, url < text + size ? (size_t)(text + size - url) : 0};
    struct muster__url_pattern_options options = {.text = text, .base_url = *base ? base : NULL};
    try_pattern(&options, bytes);
    for (int i = 0; i < MUSTER__URL_COMPONENT_COUNT; i++) {
        struct muster__url_pattern_options one = {.ignore_case = i & 1};
        one.components[i] = text;
        try_pattern(&one, bytes);
    }
    free(text);
    return 0;
}
