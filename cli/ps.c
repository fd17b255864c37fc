/* cli/ps.c - `muster ps`: who exists on a running server, one row each. */
#include "cli/command.h"
#include "cli/control_command.h"
#include "cli/control_table.h"
#include "coordinator/context.h"

#include <stdio.h>
#include <string.h>

const char muster__ps_usage[] = "muster ps [--state DIR] [--running] [--json] [SCOPE]";

static enum muster__colour colour_of(const char *state)
{
    static const struct {
        const char *state;
        enum muster__colour colour;
    } colours[] = {
        {"running", MUSTER__GREEN},   {"asleep", MUSTER__FAINT},    {"starting", MUSTER__YELLOW},
        {"installing", MUSTER__YELLOW}, {"activating", MUSTER__YELLOW}, {"canceling", MUSTER__RED},
        {"dead", MUSTER__RED},
    };
    for (size_t i = 0; i < sizeof(colours) / sizeof(*colours); i++)
        if (strcmp(state, colours[i].state) == 0)
            return colours[i].colour;
    return MUSTER__PLAIN;
}

/* "threads"; of another process its id. */
static void add_host(struct muster__table *table, const struct muster_value *host)
{
    char text[64];
    double pid = muster__control_number(host, "pid");
    bool process = strcmp(muster__control_text(host, "kind"), "process") == 0;
    snprintf(text, sizeof(text), process && pid ? "%.20s %.0f" : "%.20s", muster__control_text(host, "kind"), pid);
    muster__table_add(table, text, MUSTER__PLAIN);
}

/* In flight; "+N" wait; of all that there were. */
static void add_events(struct muster__table *table, const struct muster_value *events)
{
    char text[96], waiting[32] = "";
    if (muster__control_number(events, "waiting") > 0)
        snprintf(waiting, sizeof(waiting), "+%.0f", muster__control_number(events, "waiting"));
    snprintf(text, sizeof(text), "%.0f%s/%.0f", muster__control_number(events, "in_flight"), waiting,
             muster__control_number(events, "total"));
    muster__table_add(table, text, MUSTER__PLAIN);
}

/* Of a worker that has nothing to show, a dash. */
static void add_figure(struct muster__table *table, const struct muster_value *worker, const char *key,
                       void (*format)(char *to, size_t size, double figure))
{
    char text[40];
    bool lives = muster__control_number(worker, "instance") > 0;
    format(text, sizeof(text), muster__control_number(worker, key));
    bool known = lives && (format != muster__table_bytes || muster__control_number(worker, key) > 0);
    muster__table_add(table, known ? text : NULL, MUSTER__PLAIN);
}

static void add_worker(struct muster__table *table, const struct muster_value *worker)
{
    char who[256];
    const char *state = muster__control_text(worker, "state"), *name = muster__control_text(worker, "name");
    snprintf(who, sizeof(who), *name ? "%s (%s)" : "%s", muster__control_text(worker, "scope"), name);
    muster__table_add(table, who, MUSTER__PLAIN);
    muster__table_add(table, muster__control_text(worker, "type"), MUSTER__PLAIN);
    muster__table_add(table, muster__control_text(worker, "engine"), MUSTER__PLAIN);
    muster__table_add(table, state, colour_of(state));
    add_host(table, muster_value_get(worker, "host"));
    add_figure(table, worker, "tokens", muster__table_number);
    add_events(table, muster_value_get(worker, "events"));
    add_figure(table, worker, "memory", muster__table_bytes);
    add_figure(table, worker, "cpu_ms", muster__table_time);
    add_figure(table, worker, "age_ms", muster__table_time);
}

static void print_server(const struct muster_value *server)
{
    char age[40];
    muster__table_time(age, sizeof(age), muster__control_number(server, "age_ms"));
    printf("muster %s, pid %.0f: %s on %s, for %s\n", muster__control_text(server, "version"),
           muster__control_number(server, "pid"), muster__control_text(server, "app"),
           muster__control_text(server, "address"), age);
}

static void print_table(struct muster__control_command *command)
{
    static const struct muster__table_column columns[] = {
        {"SCOPE", false}, {"TYPE", false},  {"ENGINE", false}, {"STATE", false}, {"HOST", false},
        {"TOKENS", true}, {"EVENTS", true}, {"MEMORY", true},  {"CPU", true},    {"AGE", true},
    };
    const struct muster_value *workers = muster_value_get(command->answer, "workers");
    struct muster__table *table = muster__table_new(columns, sizeof(columns) / sizeof(*columns));
    for (size_t i = 0; table && i < muster_value_count(workers); i++)
        add_worker(table, muster_value_at(workers, i));
    print_server(muster_value_get(command->answer, "server"));
    if (!table || !muster__table_print(table, stdout))
        (void)muster__control_command_refuse(command, MUSTER__EXIT_FAILED, "out of memory");
    else if (!muster_value_count(workers))
        puts("no worker");
    double more = muster__control_number(command->answer, "more");
    if (more > 0)
        printf("and %.0f more\n", more);
    muster__table_destroy(table);
}

int muster__command_ps(int argc, char **argv)
{
    struct muster__control_command command = {0};
    bool running = false;
    const struct muster__option options[] = {
        {"--running", MUSTER__OPTION_FLAG, &running, NULL, "only workers that run"}};
    const struct muster__control_usage usage = {muster__ps_usage, 0, 1, options, 1};
    if (muster__control_command_read(&command, argc, argv, &usage) &&
        muster__control_command_ask(&command, MUSTER__OBJECT({"request", muster_value_new_text("ps")},
                                                             {"scope", muster__tree_text(command.operands[0])},
                                                             {"running", muster_value_new_boolean(running)}))) {
        if (command.json)
            muster__control_command_print(&command, command.answer);
        else
            print_table(&command);
    }
    return muster__control_command_end(&command);
}
