/* tests/state_folder.h - a state folder for the instances of one test, which goes with all that they left in it. */
#ifndef TESTS_STATE_FOLDER_H
#define TESTS_STATE_FOLDER_H

#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];

static inline void make_folder(void)
{
    snprintf(folder, sizeof(folder), "test-state-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void remove_folder(void)
{
    char pattern[96];
    glob_t found = {0};
    snprintf(pattern, sizeof(pattern), "%s/*", folder);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    globfree(&found);
    rmdir(folder);
}

/* Until the next call. */
static inline const char *in_folder(const char *name)
{
    static char path[sizeof(folder) + 256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

#endif
