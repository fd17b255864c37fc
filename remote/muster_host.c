/* remote/muster_host.c - the program `muster-host`: a process that hosts workers, or the one that starts those.
 *
 * People do not start it: the library does, with descriptors that it prepared (remote/launcher.h). */
#include "remote/child.h"
#include "remote/launcher.h"
#include "remote/wall.h"
#include "runtime/engine_table.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static int be_host(int argc, char **argv)
{
    struct stat data;
    const char *readable = argc == 3 && strcmp(argv[1], "--readable") == 0 ? argv[2] : NULL;
    if ((argc != 1 && !readable) || fstat(MUSTER__HOST_FD_DATA, &data) < 0 || !S_ISSOCK(data.st_mode)) {
        fprintf(stderr, "muster-host %s: hosts workers for a program that uses libmuster, which starts it\n",
                muster_version());
        return 2;
    }
    prctl(PR_SET_NAME, "muster-host", 0, 0, 0); /* it was the launcher's, or "exe" */
    return muster__child_main(readable);
}

static bool load_javascript(void)
{
    return muster__engine_find("javascript", NULL) && muster__wall_is_only_thread();
}

/* The sanitizers' runtimes keep threads and tables of their own from the beginning of a process on. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_COPY false
#else
#define CAN_COPY true
#endif

int main(int argc, char **argv)
{
    static const struct muster__launcher_copies copies = {.load = load_javascript, .run = be_host};
    if (argc >= 2 && strcmp(argv[1], "--launcher") == 0)
        return muster__launcher_main(argc, argv, CAN_COPY ? &copies : NULL);
    return be_host(argc, argv);
}
