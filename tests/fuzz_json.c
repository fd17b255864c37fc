/* tests/fuzz_json.c - libFuzzer target: any bytes are JSON or a refusal with a place, and what was
 * read prints to a text that reads back to the same text.  The bytes also go through the printer as a
 * string that need not be UTF-8. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void go_round(const struct muster_value *value)
{
    char *text = muster_value_to_json(value);
    MUSTER_CHECK(text != NULL);
    struct muster_value *again = NULL;
    MUSTER_CHECK(muster_value_from_json(text, strlen(text), &again, NULL) == MUSTER_OK);
    char *second = muster_value_to_json(again);
    MUSTER_CHECK(second != NULL && strcmp(text, second) == 0);
    free(second);
    free(text);
    muster_value_release(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct muster_value *value = NULL;
    struct muster_error error = {0};
    if (muster_value_from_json((const char *)data, size, &value, &error) == MUSTER_OK)
        go_round(value);
    else
        MUSTER_CHECK(error.message != NULL && error.line >= 0 && error.column >= 0);
    muster_error_clean_up(&error);
    muster_value_release(value);

    value = muster_value_new_string((const char *)data, size);
    go_round(value);
    muster_value_release(value);
    return 0;
}
