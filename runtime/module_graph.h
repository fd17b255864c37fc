/* runtime/module_graph.h - a module from the web, with all that it imports statically, becomes one script.  Internal.
 *
 * Modules from files are bundled (bundle.h); those from a server, a data: or a blob: URL stay apart, each under its
 * own address: the same one may be imported again later, by a script that makes the address up.  So each text is
 * fetched, rewritten by esbuild into a function that asks for its imports, and the script that comes out
 * assigns a description of them all to `__muster_modules`; runtime/js/modules.js links and runs them.
 */
#ifndef MUSTER_MODULE_GRAPH_H
#define MUSTER_MODULE_GRAPH_H

#include "runtime/script_fetch.h"

/* Before a URL that a script imports at run time: what is wanted is that module and what it imports.  There is a
 * space at its end, which no URL has. */
#define MUSTER__MODULE_MARK "module "

/* Thread: one that may block; esbuild runs as a child for each module.  `options->url` is
 * absolute.  `ret_fetched` is as muster__script_fetch_now() has it, of the first module's answer. */
MUSTER_MUST_CHECK enum muster_status muster__module_graph_fetch(const struct muster__script_fetch_options *options,
                                                                struct muster__fetched_script *ret_fetched,
                                                                struct muster_error *error);

#endif
