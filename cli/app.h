/* cli/app.h - an application to serve: a script, or a folder with muster.json. */
#ifndef MUSTER_CLI_APP_H
#define MUSTER_CLI_APP_H

#include "coordinator/muster.h"

/* Limits of each process; 0: none. */
struct muster__app_process {
    size_t memory, files, children;
    uint64_t cpu_ms;
};

struct muster__app_scope {
    char *scope;  /* "/api/" */
    char *script; /* absolute path */
    char *engine; /* NULL: by its ending */
    bool module, lazy, idempotent;
    enum muster_trust trust;
    enum muster_hosting hosting;
    char *tenant; /* NULL: the scope */
    char *schedule; /* cron expressions, one a line; NULL: none */
    uint64_t turn_limit_ms, idle_ms;
    size_t memory_limit, queue_limit;
    struct muster__app_process process; /* 0: the application's */
    int line; /* in muster.json, for messages; 0: none */
};

struct muster__app {
    char *root; /* absolute; nothing outside is read */
    struct muster__app_scope *scopes;
    size_t count;
    /* Of the whole application; 0 or NULL: not said. */
    uint64_t idle_ms, grace_ms, event_timeout_ms;
    size_t body_limit;
    char *placement;
    size_t processes;
    bool fresh_processes;
    struct muster__app_process process;
    struct {
        size_t workers, registrations, ports, stored, cached; /* the last two: bytes */
    } each_key; /* of what the scripts of one storage key have */
};

/* Reads and checks it, scripts' existence too; `error` is one sentence that names the place. */
MUSTER_MUST_CHECK enum muster_status muster__app_load(const char *path, struct muster__app *ret_app,
                                                      struct muster_error *error);
void muster__app_clean_up(struct muster__app *app); /* cleaning twice is fine */

#endif
