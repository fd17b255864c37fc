/* remote/launcher_family.h - what descends from a process, as /proc has it.  Internal to the launcher process.
 *
 * A snapshot: processes come and go while it is taken.  Thread: any.
 */
#ifndef MUSTER_LAUNCHER_FAMILY_H
#define MUSTER_LAUNCHER_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A small file of /proc or the like, in a folder (AT_FDCWD: a path), terminated; what does not fit is cut.  False: it
 * cannot be read. */
bool muster__launcher_family_read(int folder, const char *name, char *text, size_t size);

/* Calls for each child of any thread of `parent`, until `found` returns false. */
void muster__launcher_family_children(pid_t parent, bool (*found)(pid_t child, void *user_data), void *user_data);

/* How many processes descend from `root`, itself not counted: also by those of its session that have lost their
 * parents to the calling process, which adopts orphans.  Counting stops at `most`; out of memory, before. */
size_t muster__launcher_family_count(pid_t root, size_t most);

#endif
