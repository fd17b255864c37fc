/* cli/control_command.h - what the commands that talk to a running server share: options, one question, its answer.
 *
 * A command is read with muster__control_command_read(), asks with muster__control_command_ask(), prints what it has
 * in `answer`, and is cleaned up.  Each says in one sentence on standard error what went wrong.  Thread: main. */
#ifndef MUSTER_CLI_CONTROL_COMMAND_H
#define MUSTER_CLI_CONTROL_COMMAND_H

#include "cli/control_client.h"
#include "cli/options.h"

#define MUSTER__CONTROL_OPERANDS 4 /* at most; there may be more, which nobody takes */

struct muster__control_command {
    const char *state; /* --state */
    bool json, help;   /* --json, --help */
    const char *operands[MUSTER__CONTROL_OPERANDS];
    int operand_count;
    int code; /* once something has failed: the exit code */
    struct muster__control_client client;
    struct muster_value *answer;
};

struct muster__control_usage {
    const char *text;
    int least, most; /* operands */
    const struct muster__option *options; /* beside --state, --json and --help; NULL: none */
    size_t option_count;
};

/* Options may stand anywhere before "--".  False: nothing is left to do but to answer `code`; the help was printed,
 * or what is wrong. */
bool muster__control_command_read(struct muster__control_command *command, int argc, char **argv,
                                  const struct muster__control_usage *usage);
/* Takes the request.  False: it failed, which was told; with --json a server's refusal is printed as well. */
bool muster__control_command_ask(struct muster__control_command *command, struct muster_value *take_request);
/* A mistake in what the command was given: one sentence, and `code`.  Answers false. */
bool muster__control_command_refuse(struct muster__control_command *command, int code, const char *format, ...)
    MUSTER_PRINTF(3, 4);
/* A value as a line on standard output. */
void muster__control_command_print(struct muster__control_command *command, const struct muster_value *value);
/* Answers the exit code; what was not written counts. */
int muster__control_command_end(struct muster__control_command *command);

/* Of an answer, in which anything may be missing. */
double muster__control_number(const struct muster_value *object, const char *key);
const char *muster__control_text(const struct muster_value *object, const char *key); /* "" */

#endif
