/* remote/child.h - the other end of a child process that hosts workers: what `muster-host` runs.  Internal.
 *
 * The wire is on the descriptors that remote/launcher.h names.  Only runtime/ and remote/ are in here.
 */
#ifndef MUSTER_CHILD_H
#define MUSTER_CHILD_H

/* HELLO's grants: what the wall of trust "none" lets through all the same. */
enum {
    MUSTER__CHILD_GRANT_NETWORK = 1,
    MUSTER__CHILD_GRANT_SPAWN = 2,
    MUSTER__CHILD_GRANT_PARTIAL_WALL = 4, /* what this kernel cannot do is left out */
};

/* Thread: main, before any other.  Returns the exit code, after a SHUTDOWN; when the parent is gone the
 * process ends at once.
 * `readable`: a file that may be opened behind the wall of trust "none", an absolute path; NULL: none. */
int muster__child_main(const char *readable);

#endif
