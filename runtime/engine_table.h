/* runtime/engine_table.h - the engines by name, and which one runs a file.  Internal.
 *
 * Thread: any.  The JavaScript engine is an object of its own, muster-engine-javascript.so, that is
 * loaded by the first call that asks for it and stays for the life of the process.  It is searched in
 * $MUSTER_ENGINE_DIR, then in the folder of the file that holds this code and in muster/ below that,
 * then where it was installed.  Built with MUSTER_ENGINE_JAVASCRIPT_LINKED, it is part of this file. */
#ifndef MUSTER_ENGINE_TABLE_H
#define MUSTER_ENGINE_TABLE_H

#include "runtime/engine.h"

/* "native", "lua", "javascript" or "js".  NULL fills `error` (may be NULL): NOT_FOUND for a name that
 * nobody knows, UNSUPPORTED for an engine that is not installed or cannot be loaded, NO_MEMORY. */
const struct muster__engine *muster__engine_find(const char *name, struct muster_error *error);

/* The name of the engine for a script of that path or URL: ".lua" is Lua, ".so" native, all else
 * JavaScript.  Never NULL. */
const char *muster__engine_for_script(const char *path);

#endif
