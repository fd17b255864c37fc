/* remote/sealed_file.h - memory that two processes share, as a file without a name whose length is for ever.  Internal.
 *
 * What the other process does with it changes its bytes, and nothing else: it cannot be made shorter under a mapping, and
 * on a kernel that knows how, it is never executed.  Thread: any. */
#ifndef MUSTER_SEALED_FILE_H
#define MUSTER_SEALED_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Of zeros; `name` is seen in /proc.  The descriptor is the caller's, and closes on exec; -1: errno says why. */
int muster__sealed_file_new(const char *name, size_t size);
/* Whether it is such a file, and how long. */
bool muster__sealed_file_is(int fd, size_t *ret_size);

#endif
