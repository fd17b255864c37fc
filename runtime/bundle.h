/* runtime/bundle.h - a module, or TypeScript, with its imports, becomes one classic script.  Internal.
 *
 * Thread: a pool thread that may block; several at once.  esbuild is run as a child process and ended
 * by its deadline.  The embedder's own children, its SIGCHLD and its descriptors are left alone, also
 * when it ignores SIGCHLD or waits for any child.
 *
 * Nothing outside `root` becomes part of a bundle.  Where the kernel has Landlock, esbuild cannot even
 * open what lies outside; everywhere, the list of what went in is checked afterwards. */
#ifndef MUSTER_BUNDLE_H
#define MUSTER_BUNDLE_H

#include "runtime/base.h"

struct muster__source_map;
struct muster_value;

struct muster__bundle_options {
    const char *root;      /* absolute, without symbolic links */
    const char *entry;     /* likewise, and inside root */
    uint64_t deadline_us;  /* 0: 30 s */
    bool without_landlock; /* leaves the second check alone to hold; for tests of it */
    bool is_alone;         /* its imports are not part of it: the text calls `require`, `__muster_import` and
                            * `__muster_meta` for them, and has its exports in `module.exports` */
};

struct muster__bundle {
    char *text; /* assigns `__muster_module` */
    size_t length;
    char *source_map;               /* as text */
    struct muster__source_map *map; /* its files are relative to root */
    struct muster_value *imports;   /* alone: what it imports statically, as it is written there */
};

/* SYNTAX_ERROR, LOAD_FAILED or NO_MEMORY fill `error`, with the place in the author's file. */
MUSTER_MUST_CHECK enum muster_status
muster__bundle_make(const struct muster__bundle_options *options, struct muster__bundle *ret_bundle,
                    struct muster_error *error);
void muster__bundle_clean_up(struct muster__bundle *bundle); /* cleaning twice is fine */

/* `path`, seen from `folder` unless it is absolute, without ".", ".." and double slashes; the file system
 * is not asked.  The caller frees; NULL: out of memory. */
char *muster__bundle_join(const char *folder, const char *path);
/* Both absolute and without "..". */
bool muster__bundle_is_inside(const char *root, const char *path);

/* All of a regular file, terminated.  Answers 0 or an errno; EFBIG: more than `most` bytes; EINVAL: not
 * a regular file. */
int muster__bundle_read_file(const char *path, size_t most, char **ret_text, size_t *ret_length);

#endif
