/* cli/stats.c - `muster stats`: the counters of a running server, with a sentence each. */
#include "cli/command.h"
#include "cli/control_command.h"
#include "cli/control_table.h"
#include "coordinator/context.h"

#include <stdio.h>
#include <string.h>

const char muster__stats_usage[] = "muster stats [--state DIR] [--json]";

static const struct {
    const char *key, *sentence;
} rows[] = {
    {"registrations", "scopes that have a service worker"},
    {"workers_running", "workers that live"},
    {"events", "events that have settled: requests, messages, calls"},
    {"events_failed", "of those, how many failed"},
    {"starts", "workers that were started"},
    {"start_failures", "of those, how many did not come up"},
    {"revivals", "workers that were started again for an event"},
    {"idle_ends", "workers that ended since nobody wanted them"},
    {"forced_ends", "workers that were interrupted"},
    {"wedged", "workers that could not be interrupted, and whose thread or process was given up"},
    {"turns", "turns of workers on threads"},
    {"steals", "of those, how many ran on another thread than they waited for"},
    {"threads", "threads that run scripts"},
};

static void print_table(struct muster__control_command *command)
{
    static const struct muster__table_column columns[] = {{"COUNTER", false}, {"VALUE", true}, {"MEANS", false}};
    const struct muster_value *stats = muster_value_get(command->answer, "stats");
    struct muster__table *table = muster__table_new(columns, 3);
    char text[40];
    for (size_t i = 0; table && i < sizeof(rows) / sizeof(*rows); i++) {
        double value = muster__control_number(stats, rows[i].key);
        muster__table_number(text, sizeof(text), value);
        muster__table_add(table, rows[i].key, MUSTER__PLAIN);
        muster__table_add(table, text, value > 0 && strcmp(rows[i].key, "wedged") == 0 ? MUSTER__RED : MUSTER__PLAIN);
        muster__table_add(table, rows[i].sentence, MUSTER__FAINT);
    }
    if (table) {
        muster__table_time(text, sizeof(text), muster__control_number(stats, "age_ms"));
        muster__table_add(table, "age", MUSTER__PLAIN);
        muster__table_add(table, text, MUSTER__PLAIN);
        muster__table_add(table, "since the server was started", MUSTER__FAINT);
    }
    if (!table || !muster__table_print(table, stdout))
        (void)muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "out of memory");
    muster__table_destroy(table);
}

int muster__command_stats(int argc, char **argv)
{
    struct muster__control_command command = {0};
    const struct muster__control_usage usage = {muster__stats_usage, 0, 0, NULL, 0};
    if (muster__control_command_read(&command, argc, argv, &usage) &&
        muster__control_command_ask(&command, MUSTER__OBJECT({"request", muster_value_new_text("stats")}))) {
        if (command.json)
            muster__control_command_print(&command, muster_value_get(command.answer, "stats"));
        else
            print_table(&command);
    }
    return muster__control_command_end(&command);
}
