/* runtime/base.c - the words that every floor uses: names of statuses, and errors as plain data.
 *
 * Any thread.  Nothing here keeps state, so that the file may be linked into several objects of one
 * process.  An error is best effort when memory is short: its status always survives, a text may not. */
#include "runtime/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "0.1.0"
#endif

static const struct {
    const char *name;
    const char *sentence;
} statuses[MUSTER_STATUS_COUNT] = {
#define STATUS_ROW(symbol, text) [MUSTER_##symbol] = {"MUSTER_" #symbol, text},
    MUSTER_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

/* A status may come from a newer library or from bytes, so an unknown one is an answer, not a crash. */
static bool is_known(enum muster_status status)
{
    return (unsigned)status < MUSTER_STATUS_COUNT;
}

const char *muster_status_name(enum muster_status status)
{
    return is_known(status) ? statuses[status].name : "MUSTER_UNKNOWN";
}

const char *muster_status_sentence(enum muster_status status)
{
    return is_known(status) ? statuses[status].sentence : "an unknown status";
}

const char *muster_version(void)
{
    return MUSTER_VERSION;
}

void muster_error_clean_up(struct muster_error *error)
{
    if (error == NULL)
        return;
    free(error->name);
    free(error->message);
    free(error->file);
    free(error->stack);
    memset(error, 0, sizeof *error);
}

void muster_error_copy(struct muster_error *to, const struct muster_error *from)
{
    if (to == from)
        return;
    memset(to, 0, sizeof *to);
    if (from == NULL)
        return;
    to->status = from->status;
    to->name = muster__strdup(from->name);
    to->message = muster__strdup(from->message);
    to->file = muster__strdup(from->file);
    to->line = from->line;
    to->column = from->column;
    to->stack = muster__strdup(from->stack);
}

void muster_error_set(struct muster_error *error, enum muster_status status, const char *format, ...)
{
    if (error == NULL)
        return;
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0)
        message = NULL;
    va_end(arguments);
    /* Only now: the arguments may point into the old texts. */
    muster_error_clean_up(error);
    error->status = status;
    error->message = message;
}
