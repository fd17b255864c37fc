/* runtime/bundle_process.h - runs one program, confined and within a deadline.  Internal to bundle.c.
 *
 * Thread: any that may block.  The program sees one folder to read and one to write, no input, and an
 * environment of nothing but PATH; what it prints as errors is kept, up to a bound. */
#ifndef MUSTER_BUNDLE_PROCESS_H
#define MUSTER_BUNDLE_PROCESS_H

#include "runtime/base.h"

struct muster__bundle_process {
    const char *program;            /* absolute */
    const char *const *arguments;   /* with the name in front; ends with NULL */
    const char *folder;             /* where it runs, and all that it reads */
    const char *output;             /* the folder that it writes to */
    uint64_t deadline_us;           /* from now */
    bool without_landlock;
};

struct muster__bundle_ending {
    bool timed_out;
    bool known;  /* false: somebody else took the exit status */
    int signal;  /* that ended it; 0: none */
    int status;  /* its exit status otherwise */
    char *errors; /* terminated; the caller frees; never NULL on MUSTER_OK */
};

/* OK: the program ran and is gone.  LOAD_FAILED or NO_MEMORY: it never ran; fills `error`. */
MUSTER_MUST_CHECK enum muster_status
muster__bundle_process_run(const struct muster__bundle_process *process,
                           struct muster__bundle_ending *ret_ending, struct muster_error *error);

#endif
