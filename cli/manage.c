/* cli/manage.c - `muster register`, `update`, `unregister` and `stop`: the registrations of a running server. */
#include "cli/command.h"
#include "cli/control_command.h"
#include "coordinator/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char muster__register_usage[] =
    "muster register [--state DIR] [--engine js|lua] [--module] [--lazy] [--trust script|full|none] [--tenant NAME]\n"
    "                [--isolation thread|process|process-per-site|process-per-worker] [--json] SCOPE SCRIPT";
const char muster__update_usage[] = "muster update [--state DIR] [--json] SCOPE";
const char muster__unregister_usage[] = "muster unregister [--state DIR] [--json] SCOPE";
const char muster__stop_usage[] = "muster stop [--state DIR] [--json] SCOPE";

/* `done`: what is printed once it is. */
static void ask(struct muster__control_command *command, struct muster_value *take_request, const char *done)
{
    if (!muster__control_command_ask(command, take_request))
        return;
    if (command->json)
        muster__control_command_print(command, command->answer);
    else
        printf("%s %s\n", command->operands[0], done);
}

static int manage(int argc, char **argv, const char *usage_text, const char *request, const char *done)
{
    struct muster__control_command command = {0};
    const struct muster__control_usage usage = {usage_text, 1, 1, NULL, 0};
    if (muster__control_command_read(&command, argc, argv, &usage))
        ask(&command, MUSTER__OBJECT({"request", muster_value_new_text(request)},
                                     {"scope", muster_value_new_text(command.operands[0])}), done);
    return muster__control_command_end(&command);
}

int muster__command_update(int argc, char **argv)
{
    return manage(argc, argv, muster__update_usage, "update", "is up to date");
}

int muster__command_unregister(int argc, char **argv)
{
    return manage(argc, argv, muster__unregister_usage, "unregister", "is unregistered");
}

int muster__command_stop(int argc, char **argv)
{
    return manage(argc, argv, muster__stop_usage, "stop", "is stopped");
}

static const char *engine_of(const char *word)
{
    return word && strcmp(word, "js") == 0 ? "javascript" : word;
}

int muster__command_register(int argc, char **argv)
{
    struct muster__control_command command = {0};
    const char *engine = NULL, *trust = NULL, *tenant = NULL, *isolation = NULL;
    bool module = false, lazy = false;
    const struct muster__option options[] = {
        {"--engine", MUSTER__OPTION_TEXT, &engine, "js|lua", "which engine (by the script's ending)"},
        {"--module", MUSTER__OPTION_FLAG, &module, NULL, "the script is a module"},
        {"--lazy", MUSTER__OPTION_FLAG, &lazy, NULL, "install it with its first request"},
        {"--trust", MUSTER__OPTION_TEXT, &trust, "script|full|none", "what it may do"},
        {"--tenant", MUSTER__OPTION_TEXT, &tenant, "NAME", "whose it is"},
        {"--isolation", MUSTER__OPTION_TEXT, &isolation, "WHERE",
         "thread, process, process-per-site or process-per-worker"},
    };
    const struct muster__control_usage usage = {muster__register_usage, 2, 2, options,
                                                sizeof(options) / sizeof(*options)};
    bool good = muster__control_command_read(&command, argc, argv, &usage);
    char *script = good ? realpath(command.operands[1], NULL) : NULL; /* the server's folder is another one */
    if (good && !script)
        good = muster__control_command_refuse(&command, MUSTER__EXIT_FAILED, "%s: %s", command.operands[1],
                                              strerror(errno));
    if (good)
        ask(&command,
            MUSTER__OBJECT({"request", muster_value_new_text("register")},
                           {"scope", muster_value_new_text(command.operands[0])},
                           {"script", muster_value_new_text(script)}, {"engine", muster__tree_text(engine_of(engine))},
                           {"module", muster_value_new_boolean(module)}, {"lazy", muster_value_new_boolean(lazy)},
                           {"trust", muster__tree_text(trust)}, {"tenant", muster__tree_text(tenant)},
                           {"isolation", muster__tree_text(isolation)}),
            "is registered");
    free(script);
    return muster__control_command_end(&command);
}
