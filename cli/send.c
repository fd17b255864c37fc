/* cli/send.c - `muster send`: one event for a worker of a running server, and what came of it. */
#include "cli/command.h"
#include "cli/control_command.h"
#include "cli/control_request.h"
#include "coordinator/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char muster__send_usage[] = "muster send [--state DIR] [--timeout TIME] SCOPE TYPE [JSON|-]";

/* Standard input to its end; false: told why not. */
static bool read_input(struct muster__control_command *command, char **ret_text, size_t *ret_length)
{
    size_t length = 0;
    char *text = malloc(MUSTER__CONTROL_LINE_MOST + 1);
    if (!text)
        return muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "out of memory");
    length = fread(text, 1, MUSTER__CONTROL_LINE_MOST + 1, stdin);
    if (ferror(stdin) || length > MUSTER__CONTROL_LINE_MOST) {
        const char *why = ferror(stdin) ? strerror(errno) : "it is more than a server takes";
        free(text);
        return muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "standard input: %s", why);
    }
    *ret_text = text;
    *ret_length = length;
    return true;
}

/* *ret_data stays NULL where there is none. */
static bool read_data(struct muster__control_command *command, struct muster_value **ret_data)
{
    const char *word = command->operand_count > 2 ? command->operands[2] : NULL;
    char *input = NULL;
    size_t length = word ? strlen(word) : 0;
    bool good = !word || strcmp(word, "-") != 0 || read_input(command, &input, &length);
    struct muster_error error = {0};
    if (good && word && muster_value_from_json(input ? input : word, length, ret_data, &error) != MUSTER_OK)
        good = muster__control_command_refuse(command, MUSTER__EXIT_USAGE, "the event's data is no JSON: %s",
                                              error.message ? error.message : "out of memory");
    muster_error_clean_up(&error);
    free(input);
    return good;
}

static struct muster_value *request_of(const struct muster__control_command *command, uint64_t timeout_ms,
                                       struct muster_value *take_data)
{
    struct muster_value *request =
        MUSTER__OBJECT({"request", muster_value_new_text("send")}, {"scope", muster_value_new_text(command->operands[0])},
                       {"type", muster_value_new_text(command->operands[1])},
                       {"timeout_ms", muster_value_new_number((double)timeout_ms)});
    if (take_data && request && muster_value_put(request, "data", take_data) != MUSTER_OK) {
        muster_value_release(request);
        return NULL;
    }
    if (!request)
        muster_value_release(take_data);
    return request;
}

int muster__command_send(int argc, char **argv)
{
    struct muster__control_command command = {0};
    struct muster_value *data = NULL;
    uint64_t timeout_ms = 0;
    const struct muster__option options[] = {
        {"--timeout", MUSTER__OPTION_TIME, &timeout_ms, "TIME", "how long to wait for the settlement"}};
    const struct muster__control_usage usage = {muster__send_usage, 2, 3, options, 1};
    if (muster__control_command_read(&command, argc, argv, &usage) && read_data(&command, &data) &&
        muster__control_command_ask(&command, request_of(&command, timeout_ms, data))) {
        const struct muster_value *settlement = muster_value_get(command.answer, "settlement");
        muster__control_command_print(&command, settlement);
        if (strcmp(muster__control_text(settlement, "status"), muster_status_name(MUSTER_OK)) != 0)
            command.code = MUSTER__EXIT_FAILED;
    }
    return muster__control_command_end(&command);
}
