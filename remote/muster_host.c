/* remote/muster_host.c - the program `muster-host`: a process that hosts workers, or the one that starts those.
 *
 * People do not start it: the library does, with descriptors that it prepared (remote/launcher.h). */
#include "remote/child.h"
#include "remote/launcher.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
    struct stat data;
    if (argc >= 2 && strcmp(argv[1], "--launcher") == 0)
        return muster__launcher_main(argc - 2, argv + 2);
    const char *readable = argc == 3 && strcmp(argv[1], "--readable") == 0 ? argv[2] : NULL;
    if ((argc != 1 && !readable) || fstat(MUSTER__HOST_FD_DATA, &data) < 0 || !S_ISSOCK(data.st_mode)) {
        fprintf(stderr, "muster-host %s: hosts workers for a program that uses libmuster, which starts it\n",
                muster_version());
        return 2;
    }
    return muster__child_main(readable);
}
