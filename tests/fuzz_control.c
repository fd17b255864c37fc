/* tests/fuzz_control.c - libFuzzer target: any line is a request of the control socket, or a refusal in a sentence;
 * what was read keeps to its bounds, and says the same when its tree is written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/control_request.h"
#include "runtime/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    MUSTER_CHECK(!text || (*text && strlen(text) <= (size_t)64 << 10));
}

static void check_request(const struct muster__control_request *request)
{
    bool scoped = request->kind != MUSTER__CONTROL_PS && request->kind != MUSTER__CONTROL_LOGS &&
                  request->kind != MUSTER__CONTROL_STATS;
    MUSTER_CHECK(request->kind < MUSTER__CONTROL_KIND_COUNT && request->tree);
    MUSTER_CHECK(!scoped || request->scope);
    MUSTER_CHECK((request->kind == MUSTER__CONTROL_SEND) == (request->type != NULL));
    MUSTER_CHECK((request->kind == MUSTER__CONTROL_REGISTER) == (request->script != NULL));
    MUSTER_CHECK(!request->script || *request->script == '/');
    MUSTER_CHECK(request->level <= MUSTER_LOG_DEBUG && request->trust <= MUSTER_TRUST_NONE &&
                 request->isolation <= MUSTER_HOSTING_PROCESS_PER_WORKER);
    MUSTER_CHECK(request->lines <= 1000000000000 && request->timeout_ms <= 1000000000000);
    check_text(request->scope);
    check_text(request->type);
    check_text(request->script);
    check_text(request->engine);
    check_text(request->tenant);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check_again(const struct muster__control_request *request)
{
    struct muster__control_request again;
    size_t length;
    char *line = muster__control_line(muster_value_acquire(request->tree), &length);
    MUSTER_CHECK(line && line[length - 1] == '\n' && !memchr(line, '\n', length - 1));
    if (length - 1 <= MUSTER__CONTROL_LINE_MOST) { /* a text that is written plainly may get longer */
        MUSTER_CHECK(muster__control_request_parse(line, length - 1, &again, NULL) == MUSTER_OK);
        MUSTER_CHECK(again.kind == request->kind && same_text(again.scope, request->scope) &&
                     same_text(again.type, request->type) && same_text(again.script, request->script) &&
                     again.lines == request->lines && again.level == request->level);
        muster__control_request_clean_up(&again);
    }
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct muster__control_request request;
    struct muster_error error = {0};
    if (muster__control_request_parse((const char *)data, size, &request, &error) == MUSTER_OK) {
        check_request(&request);
        check_again(&request);
        muster__control_request_clean_up(&request);
    } else {
        MUSTER_CHECK(error.message != NULL);
    }
    muster_error_clean_up(&error);
    return 0;
}
