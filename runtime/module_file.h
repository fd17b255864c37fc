/* runtime/module_file.h - finds the parts of muster that are objects of their own, and opens them.  Internal.
 *
 * Thread: any.  Such an object is searched in $MUSTER_ENGINE_DIR, then in the folder of the file that holds
 * this code and in muster/ below that, then where it was installed.  Once opened it stays. */
#ifndef MUSTER_MODULE_FILE_H
#define MUSTER_MODULE_FILE_H

#include "runtime/base.h"

/* The address of `symbol` in the first `file` (a name without a folder) that has it.  `what` names the part
 * in sentences ("the JavaScript engine").  NULL fills `error` (may be NULL): NO_MEMORY, or UNSUPPORTED with
 * where the search went, or why the last file that exists could not be used. */
const void *muster__module_file_open(const char *file, const char *symbol, const char *what,
                                     struct muster_error *error);

#endif
