/* runtime/script.c - frees a script.
 *
 * Thread: any, once nothing runs it.  A native worker's code goes away here, so its realm is gone first. */
#include "runtime/script.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "runtime/source_map.h"

void muster__script_acquire(struct muster__script *script)
{
    atomic_fetch_add(&script->others, 1);
}

void muster__script_destroy(struct muster__script *script)
{
    if (script == NULL || atomic_fetch_sub(&script->others, 1) != 0)
        return;
    free(script->url);
    free(script->text);
    free(script->source_map);
    muster__source_map_destroy(script->map);
    if (script->native_library != NULL)
        dlclose(script->native_library);
    free(script);
}
