/* cli/options.h - reading a subcommand's options: a table, one loop, one sentence for each mistake. */
#ifndef MUSTER_CLI_OPTIONS_H
#define MUSTER_CLI_OPTIONS_H

#include "runtime/base.h"

/* Exit codes of the command. */
enum { MUSTER__EXIT_OK = 0, MUSTER__EXIT_FAILED = 1, MUSTER__EXIT_USAGE = 2, MUSTER__EXIT_TIMED_OUT = 124 };

enum muster__option_kind {
    MUSTER__OPTION_FLAG,   /* bool */
    MUSTER__OPTION_TEXT,   /* const char *, borrowed from argv */
    MUSTER__OPTION_NUMBER, /* unsigned */
    MUSTER__OPTION_TIME,   /* uint64_t milliseconds: 300ms, 30s, 5m */
    MUSTER__OPTION_BYTES,  /* size_t: 512, 64k, 128m, 1g */
    MUSTER__OPTION_LIST,   /* struct muster__option_list: one more text each time that it is said */
};

#define MUSTER__OPTION_LIST_MOST 64
struct muster__option_list {
    const char *texts[MUSTER__OPTION_LIST_MOST]; /* borrowed from argv */
    size_t count;
};

struct muster__option {
    const char *name; /* "--listen" */
    enum muster__option_kind kind;
    void *target;
    const char *value; /* what its value is, as help shows it; NULL: it has none */
    const char *help;  /* what it is for, in short lines */
};

/* Reads options up to the first operand or "--".  *ret_operands is the number of what is left, moved to the
 * front of argv[1].  false: told on standard error what is wrong, with the nearest option. */
bool muster__options_read(int argc, char **argv, const struct muster__option *options, size_t count,
                          const char *usage, int *ret_operands);
/* The usage alone, on standard error; or, if that is what was asked for, the help on standard output: `about`, unless NULL,
 * and the options.  Answers the exit code. */
int muster__options_explain(bool is_help, const char *usage, const char *about, const struct muster__option *options,
                            size_t count);
/* "300ms", "30s", "5m", "1h".  false: it is none. */
bool muster__parse_time(const char *text, uint64_t *ret_ms);
bool muster__parse_bytes(const char *text, size_t *ret_bytes);
/* The candidate that is least far from `word` by edits, if near enough; else NULL. */
const char *muster__nearest(const char *word, const char *const *candidates, size_t count);

#endif
