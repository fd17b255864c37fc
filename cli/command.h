/* cli/command.h - the subcommands.  Each reads its own options and answers the exit code. */
#ifndef MUSTER_CLI_COMMAND_H
#define MUSTER_CLI_COMMAND_H

int muster__command_serve(int argc, char **argv);
int muster__command_run(int argc, char **argv);

extern const char muster__serve_usage[];
extern const char muster__run_usage[];

#endif
