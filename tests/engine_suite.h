/* tests/engine_suite.h - one suite of a worker's life that runs on every engine.
 *
 * Each engine brings its own scripts for the same behaviour (engine_scripts_*.h, or tables of C functions);
 * the suite drives them through the engine's table, with a fake host and virtual time.  A script that is
 * left out (no text, no table) leaves out its tests: the engine cannot do that, and docs/engines.md says so. */
#ifndef MUSTER_TESTS_ENGINE_SUITE_H
#define MUSTER_TESTS_ENGINE_SUITE_H

#include "tests/fake_realm_host.h"

/* What each script has to do.  Function names are for calls; "logs" means the console. */
struct engine_scripts {
    /* Parses, or not; throws an Error "boom" while it runs; error_line says where. */
    struct fake_script syntax_error;
    struct fake_script runtime_error;
    /* install: logs "installing", waits 10 ms, logs "installed", skips waiting; activate: logs "active". */
    struct fake_script lifecycle;
    /* fetch by path: /hello answers 201, content-type text/plain, x-a: 1, the body
     *   "METHOD URL NAME" with NAME from the header x-name;
     * /later: the same body, 200, after 10 ms; /stream: "one,two,three", streamed, 5 ms between;
     * /large: 1,000,000 bytes 'x', streamed, in pieces of 1,000 bytes; /echo: the request's body;
     * /pass: nobody answers; /throw: throws "boom"; /throw-later: after 10 ms; /bad: no response;
     * /broken: a stream that fails with "boom" after "one"; /wait: answers "ok", and then keeps the
     * event for 20 ms. */
    struct fake_script fetch;
    /* greet: logs "hello NAME" of data.name, keeps the event 20 ms, logs "done"; fail: keeps the event
     * 10 ms, fails with "nope"; throw: throws "boom"; message: logs "got TEXT" of the data. */
    struct fake_script events;
    /* function take(): takes a token "upload" and drops it 10 ms later. */
    struct fake_script tokens;
    /* At the start: "b" after 20 ms, "a" and "a2" after 10, one that is cleared, "tick" each 15 ms and
     * three times; logs them. */
    struct fake_script timers;
    /* At the start: 10,000 timers, of 1 ms to 100 ms; function count(): how many fired. */
    struct fake_script many_timers;
    /* add(a, b); echo(x); later(x): x after 10 ms; fail(): throws Error "boom"; fail_later(). */
    struct fake_script calls;
    /* sync(): host.add(2, 3); later(): host.later("x"); fail(): the text "NAME: MESSAGE" of what
     * host.fail() throws; fail_later(): of host.fail_later(); uncaught(): calls host.fail(); constant():
     * host.answer; object(): a counter from host.counter(), increments twice, gives get(); keep(): puts a
     * counter into a global; echo(x): host.echo(x). */
    struct fake_script bindings;
    /* spin() does not end, and catches what it can catch; hog() takes memory without end, the same. */
    struct fake_script limits;
    /* ask(): what "/other" gives for the function "f" with (1, 2); tell(): dispatches "news" with "x" to
     * "/other" and gives "told"; nobody(): calls "/nobody" and gives the text "failed" when that fails. */
    struct fake_script outgoing;
    /* import: uses "lib" of the library, whose text is `import_library`; function imported(): its 42. */
    struct fake_script import;
    const char *import_library;
};

/* Runs all; the number of failures. */
int engine_suite_run(const struct muster__engine *engine, const struct engine_scripts *scripts);

#endif
