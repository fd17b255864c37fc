/* cli/control_command.c - see control_command.h. */
#include "cli/control_command.h"

#include "runtime/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MOST 24

bool muster__control_command_refuse(struct muster__control_command *command, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("muster: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    command->code = code;
    return false;
}

/* ---- words ---- */

static void take_operand(struct muster__control_command *command, const char *word)
{
    if (command->operand_count < MUSTER__CONTROL_OPERANDS)
        command->operands[command->operand_count] = word;
    command->operand_count++;
}

/* How many there are of `options`, which is as long as OPTIONS_MOST. */
static size_t list_options(struct muster__control_command *command, const struct muster__control_usage *usage,
                           struct muster__option *options)
{
    const struct muster__option shared[] = {
        {"--state", MUSTER__OPTION_TEXT, &command->state, "DIR", "the server's state folder"},
        {"--json", MUSTER__OPTION_FLAG, &command->json, NULL, "print JSON, for programs"},
        {"--help", MUSTER__OPTION_FLAG, &command->help, NULL, "show this"},
    };
    const size_t shared_count = sizeof(shared) / sizeof(*shared);
    MUSTER_CHECK(usage->option_count <= OPTIONS_MOST - shared_count);
    for (size_t i = 0; i < usage->option_count; i++)
        options[i] = usage->options[i];
    for (size_t i = 0; i < shared_count; i++)
        options[usage->option_count + i] = shared[i];
    return usage->option_count + shared_count;
}

static bool read_words(struct muster__control_command *command, int argc, char **argv,
                       const struct muster__control_usage *usage)
{
    struct muster__option options[OPTIONS_MOST];
    const size_t count = list_options(command, usage, options);
    int end = 1;
    while (end < argc && strcmp(argv[end], "--") != 0)
        end++;
    char **at = argv;
    for (int left = end - 1; left > 0;) {
        if (!muster__options_read(left + 1, at, options, count, usage->text, &left))
            return false;
        if (left) { /* it stopped at this one; what is behind it may be options again */
            take_operand(command, at[1]);
            at++;
            left--;
        }
    }
    while (++end < argc)
        take_operand(command, argv[end]);
    return true;
}

bool muster__control_command_read(struct muster__control_command *command, int argc, char **argv,
                                  const struct muster__control_usage *usage)
{
    if (!read_words(command, argc, argv, usage)) {
        command->code = MUSTER__EXIT_USAGE;
        return false;
    }
    if (!command->help && command->operand_count >= usage->least && command->operand_count <= usage->most)
        return true;
    struct muster__option options[OPTIONS_MOST];
    const size_t count = list_options(command, usage, options);
    command->code = muster__options_explain(command->help, usage->text, NULL, options, count);
    return false;
}

/* ---- question and answer ---- */

bool muster__control_command_ask(struct muster__control_command *command, struct muster_value *take_request)
{
    struct muster_error error = {0};
    enum muster_status status = muster__control_client_open(command->state, &command->client, &error);
    if (status == MUSTER_OK)
        status = muster__control_client_send(&command->client, take_request, &error);
    else
        muster_value_release(take_request);
    if (status == MUSTER_OK)
        status = muster__control_client_read(&command->client, &command->answer, NULL, &error);
    bool good = status == MUSTER_OK && muster_value_boolean(muster_value_get(command->answer, "ok"));
    if (status == MUSTER_OK && !good && command->json)
        muster__control_command_print(command, command->answer);
    if (!good)
        (void)muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "%s",
                                             status == MUSTER_OK ? muster__control_text(command->answer, "error")
                                                                 : error.message ? error.message
                                                                                 : muster_status_sentence(status));
    muster_error_clean_up(&error);
    return good;
}

void muster__control_command_print(struct muster__control_command *command, const struct muster_value *value)
{
    char *json = muster_value_to_json(value);
    if (json)
        puts(json);
    else
        (void)muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "out of memory");
    free(json);
}

int muster__control_command_end(struct muster__control_command *command)
{
    if ((fflush(stdout) || ferror(stdout)) && !command->code)
        (void)muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "standard output: %s", strerror(errno));
    muster__control_client_close(&command->client);
    muster_value_release(command->answer);
    return command->code;
}

/* ---- values ---- */

double muster__control_number(const struct muster_value *object, const char *key)
{
    double number = muster_value_number(muster_value_get(object, key));
    return number >= 0 ? number : 0;
}

const char *muster__control_text(const struct muster_value *object, const char *key)
{
    const struct muster_value *value = muster_value_get(object, key);
    return muster_value_type(value) == MUSTER_TYPE_STRING ? muster_value_bytes(value).data : "";
}
