/* cli/logs.c - `muster logs`: what a running server said last, and with -f what it says from now on. */
#include "cli/command.h"
#include "cli/control_command.h"
#include "cli/control_table.h"
#include "cli/log.h"
#include "coordinator/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char muster__logs_usage[] =
    "muster logs [--state DIR] [-f|--follow] [--lines N] [--level error|warning|info|debug] [--json]";

static enum muster_log_level level_of(const char *word)
{
    static const char *const words[] = {
        [MUSTER_LOG_ERROR] = "error", [MUSTER_LOG_WARNING] = "warning", [MUSTER_LOG_INFO] = "info"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcmp(word, words[i]) == 0)
            return (enum muster_log_level)i;
    return MUSTER_LOG_DEBUG;
}

/* False: out of memory. */
static bool print_message(const struct muster__log *log, const struct muster_value *message)
{
    const struct muster_bytes text = muster_value_bytes(muster_value_get(message, "text"));
    double dropped = muster__control_number(message, "dropped");
    size_t length;
    if (dropped > 0) {
        printf("... %.0f message%s lost: they came faster than they were read\n", dropped, dropped == 1 ? " is" : "s are");
        return true;
    }
    char *line = muster__log_format(log, (int64_t)muster__control_number(message, "time"),
                                    level_of(muster__control_text(message, "level")),
                                    muster__control_text(message, "subject"), text, &length);
    if (line)
        fwrite(line, 1, length, stdout);
    free(line);
    return line != NULL;
}

/* Until the server has ended, or said all. */
static void print_messages(struct muster__control_command *command, bool follow)
{
    const struct muster__log log = {.level = MUSTER_LOG_DEBUG, .colours = muster__colours_wanted(STDOUT_FILENO)};
    struct muster_error error = {0};
    enum muster_status status = MUSTER_OK;
    while (status == MUSTER_OK && !ferror(stdout)) {
        struct muster_value *message = NULL;
        const char *line;
        status = muster__control_client_read(&command->client, &message, &line, &error);
        if (status == MUSTER_OK && command->json)
            puts(line);
        else if (status == MUSTER_OK && !print_message(&log, message))
            status = MUSTER_NO_MEMORY;
        muster_value_release(message);
        if (follow)
            fflush(stdout);
    }
    if (status != MUSTER_OK && status != MUSTER_CLOSED)
        (void)muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "%s",
                                             error.message ? error.message : muster_status_sentence(status));
    else if (follow && !ferror(stdout))
        fprintf(stderr, "muster: the server has ended\n");
    muster_error_clean_up(&error);
}

int muster__command_logs(int argc, char **argv)
{
    struct muster__control_command command = {0};
    const char *level = NULL;
    unsigned lines = 100;
    bool follow = false;
    const struct muster__option options[] = {
        {"-f", MUSTER__OPTION_FLAG, &follow, NULL, "the same as --follow"},
        {"--follow", MUSTER__OPTION_FLAG, &follow, NULL, "go on until the server ends"},
        {"--lines", MUSTER__OPTION_NUMBER, &lines, "N", "how many earlier ones (100)"},
        {"--level", MUSTER__OPTION_TEXT, &level, "LEVEL", "error, warning, info or debug, and what is worse"},
    };
    const struct muster__control_usage usage = {muster__logs_usage, 0, 0, options, sizeof(options) / sizeof(*options)};
    if (muster__control_command_read(&command, argc, argv, &usage) &&
        muster__control_command_ask(&command, MUSTER__OBJECT({"request", muster_value_new_text("logs")},
                                                             {"follow", muster_value_new_boolean(follow)},
                                                             {"level", muster__tree_text(level)},
                                                             {"lines", muster_value_new_number(lines)})))
        print_messages(&command, follow);
    return muster__control_command_end(&command);
}
