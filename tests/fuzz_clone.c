/* tests/fuzz_clone.c - libFuzzer target: any bytes are a message or a refusal that names an offset.  What
 * was accepted encodes to bytes that decode to the same bytes, and turns into values and JSON or says why
 * not.  The first byte says what lies beside the message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/clone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct muster_clone *message_of(struct muster_bytes bytes, size_t sides, size_t hosts)
{
    struct muster_clone_buffer whole;
    struct muster_clone_buffer side[3];
    struct muster_clone *clone = NULL;
    MUSTER_CHECK(muster_clone_buffer_copy(bytes.data, bytes.length, &whole) == MUSTER_OK);
    for (size_t i = 0; i < sides; i++)
        MUSTER_CHECK(muster_clone_buffer_copy("12345678", 8, &side[i]) == MUSTER_OK);
    MUSTER_CHECK(muster_clone_new(&whole, side, sides, hosts, &clone) == MUSTER_OK);
    return clone;
}

static struct muster_clone_document *must_decode(const struct muster_clone *clone)
{
    struct muster_clone_document *document = NULL;
    MUSTER_CHECK(muster_clone_decode(clone, NULL, &document, NULL) == MUSTER_OK);
    return document;
}

static bool are_same(const struct muster_clone *a, const struct muster_clone *b)
{
    struct muster_bytes left = muster_clone_bytes(a);
    struct muster_bytes right = muster_clone_bytes(b);
    return left.length == right.length && memcmp(left.data, right.data, left.length) == 0;
}

static void go_round(const struct muster_clone_document *document, enum muster_clone_mode mode,
                     size_t raw_from)
{
    struct muster_clone_writer_options options = {sizeof options, mode, raw_from};
    struct muster_clone *first = NULL;
    struct muster_clone *second = NULL;
    MUSTER_CHECK(muster_clone_encode(document, &options, &first, NULL) == MUSTER_OK);
    struct muster_clone_document *again = must_decode(first);
    MUSTER_CHECK(muster_clone_encode(again, &options, &second, NULL) == MUSTER_OK);
    MUSTER_CHECK(are_same(first, second));
    muster_clone_document_destroy(again);
    muster_clone_release(first);
    muster_clone_release(second);
}

static void make_value(const struct muster_clone_document *document, unsigned flags)
{
    struct muster_clone_value_options options = {sizeof options, flags, 2000};
    struct muster_value *value = NULL;
    struct muster_clone *clone = NULL;
    struct muster_error error = {0};
    if (muster_clone_to_value(document, NULL, &options, &value, &error) == MUSTER_OK) {
        MUSTER_CHECK(muster_clone_from_value(value, NULL, &clone, NULL) == MUSTER_OK);
        muster_clone_document_destroy(must_decode(clone));
    } else {
        MUSTER_CHECK(error.message != NULL);
    }
    muster_error_clean_up(&error);
    muster_clone_release(clone);
    muster_value_release(value);
}

static void make_json(const struct muster_clone_document *document, unsigned flags)
{
    struct muster_clone_value_options options = {sizeof options, flags, 2000};
    struct muster_error error = {0};
    char *text = NULL;
    if (muster_clone_to_json(document, NULL, &options, &text, &error) != MUSTER_OK)
        MUSTER_CHECK(error.message != NULL);
    muster_error_clean_up(&error);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct muster_bytes bytes = {(const char *)data + 1, size - 1};
    struct muster_clone *clone = message_of(bytes, data[0] & 3, data[0] >> 2 & 3);
    struct muster_clone_document *document = NULL;
    struct muster_error error = {0};
    if (muster_clone_decode(clone, NULL, &document, &error) == MUSTER_OK) {
        go_round(document, MUSTER_CLONE_POOL, 0);
        go_round(document, MUSTER_CLONE_WEB, 4);
        make_value(document, 0);
        make_value(document, MUSTER_CLONE_LENIENT | MUSTER_CLONE_DATE_AS_NUMBER);
        make_json(document, 0);
        make_json(document, MUSTER_CLONE_LENIENT);
    } else {
        MUSTER_CHECK(error.message != NULL && strstr(error.message, "at offset") != NULL);
    }
    muster_error_clean_up(&error);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    return 0;
}
