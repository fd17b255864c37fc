/* coordinator/list.c - who exists: muster_list().
 *
 * Thread: any asks; the coordinator looks, in one round, so that what it says was true at one moment.  It asks
 * workers for nothing: their figures are those that they keep, or that their process told last. */
#include "coordinator/context.h"
#include "coordinator/stub.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT 1000

struct listing {
    struct muster__message message;
    struct muster_handle *handle;
    char *scope; /* NULL: all */
    size_t limit;
    bool running;

    /* While it looks; thread: coordinator. */
    struct muster *muster;
    uint64_t now_us;
    struct muster_value *workers;
    size_t count, more;
    bool asleep; /* this pass is for versions without a worker */
    bool failed; /* out of memory */
};

/* ---- a row ---- */

static struct muster_value *number(uint64_t value)
{
    return muster_value_new_number((double)value);
}

static struct muster_value *tree_of_host(const struct muster *muster, const struct muster__remote_worker *worker)
{
    struct muster__host *host = worker ? worker->host : NULL;
    if (!host)
        return muster_value_new_null();
    bool here = !host->class->pid;
    return MUSTER__OBJECT({"id", number(host->view.id)},
                          {"kind", muster__tree_text(host->class->kind)},
                          {"pid", number((uint64_t)(here ? muster->process : host->class->pid(host)))},
                          {"memory", number(here ? 0 : host->view.memory_used)});
}

static struct muster_value *tree_of_events(const struct muster__version *version, uint64_t in_flight)
{
    const struct muster__slot_sample sample = muster__slot_sample(version->slot);
    return MUSTER__OBJECT({"in_flight", number(in_flight)},
                          {"waiting", number(sample.waiting)},
                          {"total", number(sample.taken)});
}

/* Of a worker that is its version's current one; phases are the core's, which hears at once what a process tells
 * of itself now and then. */
static const char *state_of(const struct muster__core_view *core)
{
    static const struct {
        const char *phase, *state;
    } states[] = {
        {"placing", "starting"},     {"starting", "starting"},   {"stopping", "stopping"},
        {"canceling", "canceling"},  {"abandoned", "dead"},      {"gone", "dead"},
        {"activating", "activating"},
    };
    for (size_t i = 0; core->phase && i < sizeof(states) / sizeof(*states); i++)
        if (strcmp(core->phase, states[i].phase) == 0)
            return states[i].state;
    if (!core->phase && strcmp(core->state, muster__version_state_word(MUSTER__VERSION_PARSED)) == 0)
        return "asleep"; /* a lazy one: its first event installs it */
    if (strcmp(core->slot, "active") != 0)
        return core->slot;
    if (strcmp(core->state, "activating") == 0)
        return core->state;
    return core->phase ? "running" : "asleep";
}

/* Of one that is not: it is being ended, though it may not have heard of it yet. */
static const char *last_state_of(const char *phase)
{
    return strcmp(phase, "starting") == 0 || strcmp(phase, "running") == 0 ? "stopping" : phase;
}

/* `core`: of the version's current worker, or of a version without one; NULL: of a former one. */
static struct muster_value *tree_of_worker(const struct listing *listing, const struct muster__instance_view *view,
                                           const struct muster__core_view *core)
{
    const struct muster__version *version = view->version;
    struct muster__worker_stats stats = {.phase = "starting"};
    if (view->worker)
        view->worker->class->stats(view->worker, &stats);
    return MUSTER__OBJECT({"scope", muster__tree_text(version->scope)},
                          {"type", muster__tree_text(muster__tree_type(version->type))},
                          {"name", muster__tree_text(version->name)},
                          {"script", muster__tree_text(version->script)},
                          {"engine", muster__tree_text(version->engine->name)},
                          {"state", muster__tree_text(core ? state_of(core) : last_state_of(stats.phase))},
                          {"version", number(version->id)},
                          {"instance", number(view->id)},
                          {"starts", number(version->starts)},
                          {"host", tree_of_host(listing->muster, view->worker)},
                          {"tokens", number(stats.tokens)},
                          {"timers", number(stats.timers)},
                          {"turns", number(stats.turns)},
                          {"events", tree_of_events(version, stats.in_flight)},
                          {"memory", number(stats.memory)},
                          {"cpu_ms", number(stats.cpu_us / 1000)},
                          {"age_ms", number(view->started_us ? (listing->now_us - view->started_us) / 1000 : 0)});
}

/* Nothing of it is there yet but its row of the store. */
static struct muster_value *tree_of_stub(const struct muster__stub *stub)
{
    return MUSTER__OBJECT({"scope", muster__tree_text(muster__stub_scope(stub))},
                          {"type", muster__tree_text(muster__tree_type(MUSTER__WORKER_SERVICE))},
                          {"name", muster__tree_text(NULL)},
                          {"script", muster__tree_text(muster__stub_script(stub))},
                          {"engine", muster__tree_text(muster__stub_engine(stub))},
                          {"state", muster__tree_text("asleep")},
                          {"version", number(muster__stub_version(stub))},
                          {"instance", number(0)},
                          {"starts", number(0)},
                          {"host", muster_value_new_null()},
                          {"tokens", number(0)},
                          {"timers", number(0)},
                          {"turns", number(0)},
                          {"events", MUSTER__OBJECT({"in_flight", number(0)}, {"waiting", number(0)},
                                                    {"total", number(0)})},
                          {"memory", number(0)},
                          {"cpu_ms", number(0)},
                          {"age_ms", number(0)});
}

static void add_row(struct listing *listing, const struct muster__instance_view *view,
                    const struct muster__core_view *core)
{
    if (listing->count == listing->limit) {
        listing->more++;
        return;
    }
    listing->failed |= muster_value_append(listing->workers, tree_of_worker(listing, view, core)) != MUSTER_OK;
    listing->count++;
}

/* ---- all rows ---- */

static bool is_wanted(const struct listing *listing, const struct muster__version *version)
{
    return version && (!listing->scope || strcmp(version->scope, listing->scope) == 0);
}

static void see_version(const struct muster__core_view *view, void *user_data)
{
    struct listing *listing = user_data;
    struct muster__version *version = muster__coordinator_version(listing->muster, view->version);
    struct muster__instance_view instance = {.version = version};
    if (listing->asleep != (view->instance == 0) || !is_wanted(listing, version) ||
        (view->instance && !muster__coordinator_view(listing->muster, view->instance, &instance)))
        return;
    /* One that drains has no worker of its own any more: those that are being ended have rows. */
    if (listing->asleep && view->dying && strcmp(view->slot, "redundant") == 0)
        return;
    add_row(listing, &instance, view);
}

/* Former workers of a version, which are not gone yet. */
static void see_instance(const struct muster__instance_view *view, void *user_data)
{
    struct listing *listing = user_data;
    if (view->started_us && view->worker && view->version->instance != view->id &&
        is_wanted(listing, view->version))
        add_row(listing, view, NULL);
}

static void see_stub(struct muster__stub *stub, void *user_data)
{
    struct listing *listing = user_data;
    if (listing->scope && strcmp(muster__stub_scope(stub), listing->scope) != 0)
        return;
    if (listing->count == listing->limit) {
        listing->more++;
        return;
    }
    listing->failed |= muster_value_append(listing->workers, tree_of_stub(stub)) != MUSTER_OK;
    listing->count++;
}

static struct muster_value *look(struct listing *listing)
{
    struct muster *muster = listing->muster;
    listing->now_us = muster__now_us();
    listing->workers = muster_value_new_array();
    muster__stubs_take_up(muster);
    muster__core_each(muster->core, see_version, listing);
    muster__coordinator_each(muster, see_instance, listing);
    listing->asleep = true;
    if (!listing->running) {
        muster__core_each(muster->core, see_version, listing);
        muster__stubs_each(muster, see_stub, listing);
    }
    struct muster_value *list =
        MUSTER__OBJECT({"workers", listing->workers}, {"more", number(listing->more)});
    if (!listing->failed)
        return list;
    muster_value_release(list);
    return NULL;
}

/* Thread: coordinator. */
static void run_list(struct muster__message *message, struct muster *muster)
{
    struct listing *listing = MUSTER_CONTAINER_OF(message, struct listing, message);
    struct muster_handle *handle = listing->handle;
    listing->muster = muster;
    struct muster_value *list = look(listing);
    free(listing->scope);
    free(listing);
    (void)muster__request_settle(&handle->request,
                                 &(struct muster__outcome){.status = list ? MUSTER_OK : MUSTER_NO_MEMORY, .value = list});
    muster__request_release(&handle->request);
    muster_value_release(list);
}

static struct listing *new_listing(const struct muster_list_options *options)
{
    struct listing *listing = calloc(1, sizeof(*listing));
    if (!listing)
        return NULL;
    listing->message.run = run_list;
    listing->limit = muster__or_default(options->limit, LIMIT);
    listing->running = options->running;
    listing->scope = muster__strdup(options->scope);
    if (!options->scope || listing->scope)
        return listing;
    free(listing);
    return NULL;
}

enum muster_status muster_list(struct muster *muster, const struct muster_list_options *options,
                               muster_done_fn *done, void *user_data, struct muster_handle **ret_handle)
{
    struct muster_list_options full = {.size = sizeof(full)};
    enum muster_status status = muster__check_usable(muster);
    if (status != MUSTER_OK)
        return status;
    if (options && (!options->size || options->size > sizeof(full)))
        return MUSTER_INVALID_ARGUMENT;
    if (atomic_load(&muster->closing))
        return MUSTER_SHUTDOWN;
    if (options)
        memcpy(&full, options, options->size);
    struct listing *listing = new_listing(&full);
    struct muster_handle *handle =
        listing ? muster__handle_new(muster, MUSTER__REQUEST_LIFECYCLE, "list", done, user_data, ret_handle != NULL)
                : NULL;
    if (!handle) {
        if (listing)
            free(listing->scope);
        free(listing);
        return MUSTER_NO_MEMORY;
    }
    listing->handle = handle;
    if (ret_handle) {
        muster__request_acquire(&handle->request);
        *ret_handle = handle;
    }
    (void)muster__coordinator_post(muster, &listing->message); /* with the first reference */
    return MUSTER_OK;
}
