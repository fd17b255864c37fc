/* tests/loader_fixture.c - a shared object for test_loader.c: a native worker, and what passes for the
 * JavaScript engine where only finding it is tested. */
#include "runtime/engine.h"
#include "runtime/native.h"

#define EXPORTED __attribute__((visibility("default")))

static const struct muster_native_entry events[] = {{.name = "greet", .handler = NULL}};

EXPORTED extern const struct muster_native_worker muster_worker;
const struct muster_native_worker muster_worker = {
    .size = sizeof muster_worker,
    .events = events,
    .event_count = 1,
};

EXPORTED extern const struct muster__engine muster__engine_javascript;
const struct muster__engine muster__engine_javascript = {.name = "javascript"};
