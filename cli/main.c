/* cli/main.c - the `muster` command: finds the subcommand. */
#include "cli/command.h"
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
    const char *sentence;
} commands[] = {
    {"serve", muster__command_serve, muster__serve_usage, "answer HTTP with the fetch events of service workers"},
    {"run", muster__command_run, muster__run_usage, "run one script as a worker"},
    {"ps", muster__command_ps, muster__ps_usage, "show the workers of a running server"},
    {"send", muster__command_send, muster__send_usage, "give a worker an event, and print what came of it"},
    {"register", muster__command_register, muster__register_usage, "install a service worker"},
    {"update", muster__command_update, muster__update_usage, "load its script again, and install what has changed"},
    {"unregister", muster__command_unregister, muster__unregister_usage, "take it off the map"},
    {"stop", muster__command_stop, muster__stop_usage, "end a running worker; its next event starts it again"},
    {"logs", muster__command_logs, muster__logs_usage, "show what a server logged, and follow it"},
    {"stats", muster__command_stats, muster__stats_usage, "show a server's counters"},
};
#define COMMANDS (sizeof(commands) / sizeof(*commands))

static void print_help(FILE *to)
{
    fprintf(to, "muster %s - service workers outside a browser\n\nusage:\n", muster_version());
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %s\n      %s\n", commands[i].usage, commands[i].sentence);
    fprintf(to, "  muster --help | --version\n\nTIME is 300ms, 30s or 5m; BYTES is 512, 64k or 128m.  "
                "`muster COMMAND --help` tells more; so does the manual page muster(1).\n");
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return MUSTER__EXIT_OK;
    }
    if (strcmp(word, "--version") == 0) {
        printf("muster %s\n", muster_version());
        return MUSTER__EXIT_OK;
    }
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(word, names[i]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    const char *nearest = *word ? muster__nearest(word, names, COMMANDS) : NULL;
    if (*word)
        fprintf(stderr, "muster: unknown command \"%s\"%s%s%s\n", word, nearest ? "; did you mean \"" : "",
                nearest ? nearest : "", nearest ? "\"?" : "");
    print_help(stderr);
    return MUSTER__EXIT_USAGE;
}
