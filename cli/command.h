/* cli/command.h - the subcommands.  Each reads its own options and answers the exit code. */
#ifndef MUSTER_CLI_COMMAND_H
#define MUSTER_CLI_COMMAND_H

int muster__command_serve(int argc, char **argv);
int muster__command_run(int argc, char **argv);
/* Of a running server. */
int muster__command_ps(int argc, char **argv);
int muster__command_send(int argc, char **argv);
int muster__command_register(int argc, char **argv);
int muster__command_update(int argc, char **argv);
int muster__command_unregister(int argc, char **argv);
int muster__command_stop(int argc, char **argv);
int muster__command_logs(int argc, char **argv);
int muster__command_stats(int argc, char **argv);

extern const char muster__serve_usage[];
extern const char muster__run_usage[];
extern const char muster__ps_usage[];
extern const char muster__send_usage[];
extern const char muster__register_usage[];
extern const char muster__update_usage[];
extern const char muster__unregister_usage[];
extern const char muster__stop_usage[];
extern const char muster__logs_usage[];
extern const char muster__stats_usage[];

#endif
