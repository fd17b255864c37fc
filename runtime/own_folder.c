/* runtime/own_folder.c - asks the dynamic linker which file this function came from. */
#include "runtime/own_folder.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

char *muster__own_folder(void)
{
    Dl_info info;
    struct link_map *map = NULL;
    char *path = NULL;
    if (dladdr1((void *)(uintptr_t)&muster__own_folder, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 &&
        map != NULL && map->l_name != NULL && strchr(map->l_name, '/') != NULL)
        path = realpath(map->l_name, NULL);
    else /* the program itself: its l_name is empty, and what it was called by may be relative */
        path = realpath("/proc/self/exe", NULL);
    char *slash = path == NULL ? NULL : strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path] = '\0';
    return path;
}
