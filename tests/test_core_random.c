/* tests/test_core_random.c - the coordinator's core and the slots, driven by chance.
 *
 * A model of the driver and of everything around it: workers that start, fail, hang, die at any point,
 * answer late or twice; requests that come at any time; placement that refuses; clients that come and go;
 * scripts that are fetched, fail to be, or come too late; workers that belong to holders.  Time is a number.
 * After each step the promises are checked; the first broken one is told with the last events, and the
 * number from which the run came: give it again (MUSTER_SEED, or as the argument) and the same run comes.
 *
 * Built with MUSTER_PLANT_FAULT the core has a fault, and the test is that the checks find it. */
#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/core.h"
#include "runtime/slot.h"

enum {
    SCOPES = 12,
    PLAIN_SCOPES = 6, /* after those: keys of plain versions */
    ALL_SCOPES = SCOPES + PLAIN_SCOPES,
    CLIENTS = 24,
    LINE = 240,
    SCRIPTS = 4,
    QUEUE_LIMIT = 40,
    STEPS = 100000,
    BROKEN = 3, /* the exit code of a broken promise */
    LAST_LINES = 60
};

static const struct muster__core_options times = {
    .idle_us = 20000,
    .grace_us = 16000,
    .start_us = 10000,
    .lifecycle_us = 12000,
    .stop_us = 4000,
    .cancel_us = 3000,
    .load_us = 9000,
    .notes = true,
    .place_attempts = 3,
};

/* What the model itself may be late by: an answer to SAMPLE or TRY_RETIRE, a want on its way. */
#define LATE_US 500
/* Any request that nobody took, and any job, is settled after that; generous: deaths may follow deaths. */
#define WAIT_BOUND_US 2000000
/* A version that nobody uses and nothing finds is gone after its grace time and the ends of its instance. */
#define CLEAR_BOUND_US (times.grace_us + times.stop_us + times.cancel_us + 4 * LATE_US)

struct model_version {
    uint32_t id;
    int scope;
    struct muster__slot *slot; /* NULL: disposed of */
    uint64_t live;             /* the instance between PLACE and VACATE or RETIRED */
    uint64_t left_us;          /* when its scope was given to another one, or withdrawn; 0: not */
    size_t instances; /* placed and not forgotten, without the abandoned ones */
    bool activates;   /* ACTIVATE was said of it */

    bool early, lazy, plain, restored; /* as its job said */
    bool ran;                          /* an instance of it was placed */
    bool skipped;                      /* its script said skipWaiting() */
    bool published;
    uint64_t registration;
    uint64_t unregistered_us; /* since when its registration is out of the map; 0: it is in there */
    uint64_t unused_us;       /* when a client of its registration went last */
    enum muster__version_state told;
    size_t users; /* clients that it controls */
};

struct model_registration {
    uint32_t installing, waiting, active; /* as NOTE_SLOTS said */
    uint32_t former;                      /* active before that one */
};

struct model_request {
    struct muster__request request;
    struct model_request *all_next, *all_previous;
    struct model_request *flight_next, *flight_previous;
    struct model_instance *instance; /* it was delivered to; NULL: it waits */
    uint64_t posted_us;
    bool settled;
    bool is_posted;
};

struct model_instance {
    uint64_t id;
    uint32_t version;
    uint32_t incarnation;
    uint32_t host, refused_host;
    struct muster__slot *slot; /* a reference, from START on */
    struct muster__slot_consumer consumer;
    struct model_request *flight;
    struct muster__request *kept; /* taken and not begun */
    struct model_instance *open_next, *open_previous; /* the open ones */
    bool started, opened, off_slot, is_open;
    bool may_open; /* by itself, said START */
    bool stop_told, cancel_told, abandoned, forgotten;
    bool gone;     /* the worker is dead, whether the core knows or not */
    bool gone_fed; /* GONE, or HOST_REFUSED, was fed */
    bool hangs;    /* it reacts to no stop */
    bool stuck;    /* it reacts to nothing at all */
    bool take_scheduled;
    uint64_t off_slot_us, stop_us, cancel_us, held_us;
};

struct model_job {
    uint64_t added_us;
    int scope;
    bool settled, loads, early;
};

enum item_kind {
    ITEM_FEED,
    ITEM_OPEN,
    ITEM_TAKE,
    ITEM_SETTLE,
    ITEM_END,
    ITEM_GIVE_BACK,
    ITEM_DIE,
    ITEM_WEDGE,
    ITEM_LOADED,
    ITEM_TRAFFIC
};

struct item {
    uint64_t at_us, sequence;
    enum item_kind kind;
    struct muster__core_event event;
    uint64_t instance;
    struct model_request *request;
};

static struct world {
    struct muster__core *core;
    uint64_t seed, random;
    uint64_t now_us;
    size_t steps;
    uint64_t hash, action_hash;

    struct model_version **versions;
    size_t version_count;
    struct model_instance **instances;
    size_t instance_count;
    struct model_job *jobs;
    size_t job_count, jobs_pending, first_pending;
    struct model_instance *open;
    struct model_request *requests;
    size_t request_count, posted, delivered;
    uint32_t published[ALL_SCOPES];
    uint32_t next_host;
    struct model_registration *registrations;
    size_t registration_count;
    uint32_t clients[CLIENTS]; /* whose version: 0: nobody's */
    size_t moved, early_settled, in_vain;

    struct item *items; /* a heap, from 1 */
    size_t item_count;
    uint64_t item_sequence;

    bool closing, closed, traffic;
    size_t counts[MUSTER__DO_COUNT];
    char (*last)[LINE];
    size_t last_count;
    char *record; /* every event, a line each */
    size_t record_length, record_capacity;
} w;

/* ---- telling what broke ---- */

static void broken(const char *format, ...) MUSTER_PRINTF(1, 2);
static void broken(const char *format, ...)
{
    va_list arguments;
    size_t first = w.last_count > LAST_LINES ? w.last_count - LAST_LINES : 0;
    for (size_t i = first; i < w.last_count; i++) {
        fprintf(stderr, "  %s\n", w.last[i % LAST_LINES]);
    }
    fprintf(stderr, "broken after %zu steps at %" PRIu64 " us, MUSTER_SEED=%" PRIu64 ": ", w.steps,
            w.now_us, w.seed);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    fflush(stderr);
    _exit(BROKEN);
}

#define PROMISE(expression, ...)                                                                   \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            broken(__VA_ARGS__);                                                                   \
        }                                                                                          \
    } while (0)

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL;
    }
    return hash;
}

static void note(const char *line)
{
    snprintf(w.last[w.last_count++ % LAST_LINES], sizeof(w.last[0]), "%s", line);
    w.hash = hash_text(w.hash, line);
}

/* Room for one more: the array doubles whenever its count is a power of two. */
static void *doubled(void *items, size_t count, size_t size)
{
    if ((count & (count - 1)) == 0) {
        items = realloc(items, (count * 2 + 1) * size);
        ck_assert_ptr_nonnull(items);
    }
    return items;
}

static void *made(size_t size)
{
    void *memory = calloc(1, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* ---- chance ---- */

static uint64_t chance(void)
{
    uint64_t x = (w.random += 0x9e3779b97f4a7c15ULL);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

static uint64_t below(uint64_t limit)
{
    return chance() % limit;
}

static bool percent(unsigned percent_of)
{
    return below(100) < percent_of;
}

/* Mostly at once, at times long after every deadline. */
static uint64_t some_delay(void)
{
    unsigned kind = (unsigned)below(100);
    return kind < 60 ? below(200) : kind < 95 ? below(3000) : below(40000);
}

/* ---- what is to come ---- */

static bool is_sooner(const struct item *a, const struct item *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void schedule(uint64_t delay_us, struct item item)
{
    w.items = doubled(w.items, w.item_count + 1, sizeof(w.items[0]));
    item.at_us = w.now_us + delay_us;
    item.sequence = ++w.item_sequence;
    size_t at = ++w.item_count;
    for (; at > 1 && is_sooner(&item, &w.items[at / 2]); at /= 2) {
        w.items[at] = w.items[at / 2];
    }
    w.items[at] = item;
}

static struct item pop(void)
{
    struct item first = w.items[1];
    struct item last = w.items[w.item_count--];
    size_t at = 1;
    for (size_t child = 2; child <= w.item_count; child = at * 2) {
        child += child < w.item_count && is_sooner(&w.items[child + 1], &w.items[child]);
        if (!is_sooner(&w.items[child], &last)) {
            break;
        }
        w.items[at] = w.items[child];
        at = child;
    }
    w.items[at] = last;
    return first;
}

static void feed_later(uint64_t delay_us, struct muster__core_event event)
{
    schedule(delay_us, (struct item){ .kind = ITEM_FEED, .event = event });
    if (percent(5)) { /* twice */
        schedule(delay_us + some_delay(), (struct item){ .kind = ITEM_FEED, .event = event });
    }
}

static struct model_instance *instance_of(uint64_t id)
{
    PROMISE(id > 0 && id <= w.instance_count, "an action for the unknown instance %" PRIu64, id);
    return w.instances[id - 1];
}

static struct model_version *version_of(uint32_t id)
{
    PROMISE(id > 0 && id <= w.version_count, "an action for the unknown version %u", id);
    return w.versions[id - 1];
}

/* ---- requests ---- */

static void request_settled(struct muster__request *base, const struct muster__outcome *outcome)
{
    struct model_request *request = MUSTER_CONTAINER_OF(base, struct model_request, request);
    (void)outcome;
    PROMISE(!request->settled, "a request was settled twice");
    request->settled = true;
}

static void request_destroyed(struct muster__request *base)
{
    struct model_request *request = MUSTER_CONTAINER_OF(base, struct model_request, request);
    PROMISE(request->settled || !request->is_posted, "a request ended without an answer");
    if (request->is_posted) {
        *(request->all_previous != NULL ? &request->all_previous->all_next : &w.requests) =
            request->all_next;
        if (request->all_next != NULL) {
            request->all_next->all_previous = request->all_previous;
        }
        w.request_count--;
    }
    free(request);
}

static const struct muster__request_class request_class = { request_settled, request_destroyed };

static void settle_with(struct muster__request *request, enum muster_status status)
{
    (void)muster__request_settle(request, &(struct muster__outcome){ .status = status });
}

static void post_request(void)
{
    /* By its URL; or a client's, which goes to whatever controls that. */
    uint32_t id = percent(80) ? w.published[below(ALL_SCOPES)] : w.clients[below(CLIENTS)];
    if (id == 0 || version_of(id)->slot == NULL) {
        return;
    }
    struct model_request *request = made(sizeof(*request));
    muster__request_init(&request->request, &request_class, MUSTER__REQUEST_EVENT, "ping");
    request->posted_us = w.now_us;
    if (percent(5)) { /* a message of another worker, which cannot give more time than it has itself */
        request->request.keepalive_until_us = w.now_us + below(times.idle_us);
    }
    enum muster_status status = muster__slot_post(version_of(id)->slot, &request->request, w.now_us);
    PROMISE(status == MUSTER_OK || status == MUSTER_QUEUE_FULL, "a published slot is closed");
    if (status == MUSTER_OK) {
        request->is_posted = true;
        request->all_next = w.requests;
        if (w.requests != NULL) {
            w.requests->all_previous = request;
        }
        w.requests = request;
        w.request_count++;
        w.posted++;
    }
    muster__request_release(&request->request);
}

static void leave_flight(struct model_request *request)
{
    struct model_instance *instance = request->instance;
    *(request->flight_previous != NULL ? &request->flight_previous->flight_next : &instance->flight) =
        request->flight_next;
    if (request->flight_next != NULL) {
        request->flight_next->flight_previous = request->flight_previous;
    }
}

static void end_request(struct model_request *request)
{
    struct model_instance *instance = request->instance;
    leave_flight(request);
    muster__slot_ended(instance->slot, instance->incarnation, &request->request, w.now_us);
}

/* All that a worker had: settled, and ended. */
static void end_flight(struct model_instance *instance)
{
    while (instance->flight != NULL) {
        struct model_request *request = instance->flight;
        settle_with(&request->request, MUSTER_TERMINATED);
        end_request(request);
    }
}

static void fail_list(struct muster__slot *slot, struct muster__request *list, enum muster_status status)
{
    while (list != NULL) {
        struct muster__request *next = list->next;
        settle_with(list, status);
        muster__slot_drop(slot, list);
        list = next;
    }
}

/* ---- workers ---- */

static void wake(struct muster__slot_consumer *consumer)
{
    struct model_instance *instance = MUSTER_CONTAINER_OF(consumer, struct model_instance, consumer);
    if (!instance->take_scheduled) {
        instance->take_scheduled = true;
        schedule(below(300), (struct item){ .kind = ITEM_TAKE, .instance = instance->id });
    }
}

static void ignore_cancel(struct muster__slot_consumer *consumer, struct muster__request *request)
{
    (void)consumer;
    (void)request;
}

static void ignore_reference(struct muster__slot_consumer *consumer)
{
    (void)consumer;
}

/* What it took and has not begun waits again, for whoever comes next. */
static void give_back(struct model_instance *instance)
{
    struct muster__request *list = instance->kept;
    instance->kept = NULL;
    if (list != NULL && !muster__slot_put_back(instance->slot, instance->incarnation, list)) {
        fail_list(instance->slot, list, MUSTER_TERMINATED);
    }
}

static void begin_request(struct model_instance *instance, struct model_request *request)
{
    request->instance = instance;
    request->flight_next = instance->flight;
    request->flight_previous = NULL;
    if (instance->flight != NULL) {
        instance->flight->flight_previous = request;
    }
    instance->flight = request;
    w.delivered++;
    if (percent(97)) { /* else it hangs until its worker ends */
        uint64_t delay_us = below(percent(80) ? 2000 : 30000);
        muster__request_acquire(&request->request); /* the items' */
        schedule(delay_us, (struct item){ .kind = ITEM_SETTLE, .request = request });
        schedule(delay_us + (percent(50) ? 0 : below(25000)),
                 (struct item){ .kind = ITEM_END, .request = request });
    }
}

static void take(struct model_instance *instance)
{
    instance->take_scheduled = false;
    if (instance->gone || instance->stuck || instance->kept != NULL) {
        return;
    }
    struct muster__request *list =
        muster__slot_take(instance->slot, instance->incarnation, 1 + below(4));
    if (list == NULL) {
        return;
    }
    PROMISE(!instance->stop_told && !instance->cancel_told && !instance->off_slot && instance->opened,
            "a request was delivered to the dying instance %" PRIu64, instance->id);
    if (percent(90)) { /* else its host keeps to what the posts said */
        muster__slot_begun(instance->slot, list, w.now_us);
    }
    if (percent(5)) {
        instance->kept = list;
        schedule(below(2000), (struct item){ .kind = ITEM_GIVE_BACK, .instance = instance->id });
        return;
    }
    while (list != NULL) {
        struct muster__request *next = list->next;
        begin_request(instance, MUSTER_CONTAINER_OF(list, struct model_request, request));
        list = next;
    }
    wake(&instance->consumer); /* there may be more */
}

static void close_open(struct model_instance *instance)
{
    if (instance->is_open) {
        instance->is_open = false;
        *(instance->open_previous != NULL ? &instance->open_previous->open_next : &w.open) =
            instance->open_next;
        if (instance->open_next != NULL) {
            instance->open_next->open_previous = instance->open_previous;
        }
    }
}

static void die(struct model_instance *instance, enum muster_status status, uint64_t delay_us)
{
    if (!instance->gone) {
        instance->gone = true;
        give_back(instance);
        end_flight(instance);
        feed_later(delay_us, (struct muster__core_event){ .kind = MUSTER__CORE_GONE,
                                                          .instance = instance->id,
                                                          .status = status });
    }
}

/* It finishes when nothing is in flight any more. */
static void finish_if_stopped(struct model_instance *instance)
{
    if (instance->stop_told && !instance->hangs && !instance->stuck && instance->flight == NULL
        && instance->kept == NULL) {
        die(instance, MUSTER_OK, below(1000));
    }
}

/* One of the ways in which a phase can end. */
static void answer(struct model_instance *instance, enum muster__core_event_kind kind,
                   enum muster_status failure)
{
    struct muster__core_event event = { .kind = kind, .instance = instance->id };
    unsigned fate = (unsigned)below(100);

    if (fate < 3) {
        schedule(below(3000), (struct item){ .kind = ITEM_DIE, .instance = instance->id });
    } else if (fate < 6) {
        instance->hangs = true;
    } else {
        event.status = fate < 11 ? failure : MUSTER_OK;
        uint64_t delay_us = fate < 14 ? below(30000) : some_delay() / 4;
        if (kind == MUSTER__CORE_STARTED && event.status == MUSTER_OK && instance->may_open && percent(80)) {
            schedule(delay_us, (struct item){ .kind = ITEM_OPEN, .instance = instance->id });
        } else { /* a host that does not open by itself, too */
            feed_later(delay_us, event);
        }
    }
    if (percent(20)) {
        feed_later(below(4000), (struct muster__core_event){ .kind = MUSTER__CORE_SKIP_WAITING,
                                                             .instance = instance->id });
    }
    if (percent(1)) {
        feed_later(below(4000), (struct muster__core_event){ .kind = MUSTER__CORE_CLOSE_SELF,
                                                             .instance = instance->id });
    }
    if (percent(1)) {
        schedule(below(4000), (struct item){ .kind = ITEM_WEDGE, .instance = instance->id });
    }
    if (percent(1)) {
        feed_later(below(4000),
                   (struct muster__core_event){ .kind = MUSTER__CORE_MOVE, .instance = instance->id });
    }
}

/* ---- actions ---- */

static void want(struct muster__slot *slot, void *user_data)
{
    (void)user_data;
    feed_later(below(LATE_US), (struct muster__core_event){ .kind = MUSTER__CORE_WANT,
                                                            .version = muster__slot_version(slot) });
}

static void leave_slot(struct model_instance *instance)
{
    struct model_version *version = version_of(instance->version);
    PROMISE(version->live == instance->id, "instance %" PRIu64 " left its slot twice", instance->id);
    version->live = 0;
    instance->off_slot = true;
    instance->off_slot_us = w.now_us;
    close_open(instance);
}

static void expect_living(const struct model_instance *instance, const char *what)
{
    PROMISE(!instance->off_slot && !instance->stop_told && !instance->cancel_told
                && !instance->abandoned && !instance->forgotten,
            "%s for the dying instance %" PRIu64, what, instance->id);
}

static void do_place(const struct muster__core_action *action)
{
    struct model_version *version = version_of(action->version);
    struct model_instance *instance;

    PROMISE(version->slot != NULL, "an instance for a version that was disposed of");
    PROMISE(!version->plain || !version->ran || action->instance <= w.instance_count,
            "a second instance of the plain version %u", version->id);
    version->ran = true;
    if (action->instance <= w.instance_count) { /* again */
        instance = instance_of(action->instance);
        expect_living(instance, "a second placement");
    } else {
        PROMISE(action->instance == w.instance_count + 1, "instance ids are not in order");
        PROMISE(version->live == 0, "a second live instance of version %u", version->id);
        w.instances = doubled(w.instances, w.instance_count, sizeof(*w.instances));
        instance = made(sizeof(*instance));
        instance->id = action->instance;
        instance->version = action->version;
        instance->consumer =
            (struct muster__slot_consumer){ wake, ignore_cancel, ignore_reference, ignore_reference };
        w.instances[w.instance_count++] = instance;
        version->live = instance->id;
        version->instances++;
    }
    struct muster__core_event event = { .kind = MUSTER__CORE_PLACED,
                                        .instance = instance->id,
                                        .host = ++w.next_host,
                                        .status = percent(2) ? MUSTER_REFUSED : MUSTER_OK };
    if (percent(99)) { /* else the policy never answers */
        feed_later(some_delay() / 4, event);
    }
}

static void do_start(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    struct model_version *version = version_of(action->version);

    expect_living(instance, "START");
    PROMISE(!instance->started, "instance %" PRIu64 " was started twice", instance->id);
    if (instance->slot == NULL) {
        instance->slot = version->slot;
        muster__slot_acquire(version->slot);
    }
    instance->incarnation = muster__slot_attach(version->slot);
    instance->host = action->host;
    if (percent(4)) { /* the host began to die */
        (void)muster__slot_vacate(version->slot, instance->incarnation);
        instance->refused_host = instance->host;
        feed_later(below(LATE_US), (struct muster__core_event){ .kind = MUSTER__CORE_HOST_REFUSED,
                                                                .instance = instance->id,
                                                                .host = instance->host });
        return;
    }
    instance->started = true;
    instance->may_open = action->may_open;
    PROMISE(!action->may_open || version->activates || version->plain || version->restored,
            "version %u may open before it was activated", version->id);
    answer(instance, MUSTER__CORE_STARTED, MUSTER_SCRIPT_ERROR);
}

static void do_lifecycle(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    bool install = action->kind == MUSTER__DO_INSTALL;
    expect_living(instance, install ? "INSTALL" : "ACTIVATE");
    PROMISE(!instance->opened, "%s for an instance that is open", install ? "INSTALL" : "ACTIVATE");
    PROMISE(!version_of(instance->version)->plain, "a lifecycle event for a plain version");
    PROMISE(version_of(instance->version)->told
                    >= (install ? MUSTER__VERSION_INSTALLING : MUSTER__VERSION_ACTIVATING)
                || version_of(instance->version)->left_us != 0, /* it goes, and serves what waits in its slot */
            "%s before the scripts were told", install ? "INSTALL" : "ACTIVATE");
    version_of(instance->version)->activates |= !install;
    if (!instance->gone && !instance->stuck) {
        answer(instance, install ? MUSTER__CORE_INSTALL_ENDED : MUSTER__CORE_ACTIVATE_ENDED,
               MUSTER_REJECTED);
    }
}

static void note_open(struct model_instance *instance)
{
    instance->opened = true;
    instance->held_us = w.now_us;
    instance->is_open = true;
    instance->open_previous = NULL;
    instance->open_next = w.open;
    if (w.open != NULL) {
        w.open->open_previous = instance;
    }
    w.open = instance;
    if (percent(8)) {
        schedule(below(60000), (struct item){ .kind = ITEM_DIE, .instance = instance->id });
    }
    if (percent(1)) {
        schedule(below(60000), (struct item){ .kind = ITEM_WEDGE, .instance = instance->id });
    }
    if (percent(2)) {
        feed_later(below(60000), (struct muster__core_event){ .kind = MUSTER__CORE_CLOSE_SELF,
                                                              .instance = instance->id });
    }
}

static void do_open(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    expect_living(instance, "OPEN");
    PROMISE(instance->started && !instance->opened, "instance %" PRIu64 " was opened twice", instance->id);
    note_open(instance);
    PROMISE(muster__slot_open(instance->slot, instance->incarnation, &instance->consumer, w.now_us),
            "OPEN came for a slot that is not starting");
}

/* Its script was evaluated, and START allowed it: it opens its slot, unless that was taken from it, and
 * the core hears of it a little later. */
static void open_itself(struct model_instance *instance)
{
    if (instance->gone || instance->stuck) {
        return;
    }
    bool ok = muster__slot_open(instance->slot, instance->incarnation, &instance->consumer, w.now_us);
    PROMISE(ok != instance->off_slot, "instance %" PRIu64 " opens a slot that is not its own", instance->id);
    if (ok) {
        note_open(instance);
    }
    feed_later(below(LATE_US), (struct muster__core_event){ .kind = MUSTER__CORE_STARTED,
                                                            .instance = instance->id,
                                                            .ok = ok });
}

static void do_sample(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    struct muster__slot_sample sample = muster__slot_sample(instance->slot);
    feed_later(percent(90) ? 0 : below(LATE_US),
               (struct muster__core_event){ .kind = MUSTER__CORE_SAMPLED,
                                            .instance = instance->id,
                                            .alive_until_us = sample.alive_until_us,
                                            .holds = sample.holds });
}

static void do_try_retire(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    bool ok = muster__slot_retire(instance->slot, instance->incarnation);
    if (ok) {
        leave_slot(instance);
    }
    feed_later(percent(90) ? 0 : below(LATE_US),
               (struct muster__core_event){ .kind = MUSTER__CORE_RETIRED, .instance = instance->id, .ok = ok });
}

static void do_vacate(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    struct model_version *version = version_of(action->version);
    bool retired = version->live == 0 && instance->opened && instance->off_slot && !instance->stop_told;
    if (!retired) { /* else the answer is on its way */
        leave_slot(instance);
    }
    if (muster__slot_vacate(version->slot, instance->incarnation) > 0) {
        feed_later(0, (struct muster__core_event){ .kind = MUSTER__CORE_WANT, .version = version->id });
    }
}

static void do_stop(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    PROMISE(instance->slot != NULL && instance->off_slot && !instance->stop_told,
            "STOP comes twice, or early");
    instance->stop_told = true;
    instance->stop_us = w.now_us;
    instance->hangs |= percent(5);
    finish_if_stopped(instance);
}

static void do_cancel(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    PROMISE(instance->off_slot && !instance->cancel_told, "CANCEL comes twice, or early");
    instance->cancel_told = true;
    instance->cancel_us = w.now_us;
    if (instance->stuck || percent(10)) {
        return; /* nothing interrupts it */
    }
    if (instance->started) {
        die(instance, MUSTER_TERMINATED, below(1500));
    }
}

static void do_abandon(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    PROMISE(instance->off_slot && !instance->abandoned, "ABANDON comes twice, or early");
    instance->abandoned = true;
    version_of(instance->version)->instances--;
    give_back(instance);
    end_flight(instance);
    if (percent(60)) {
        die(instance, MUSTER_TERMINATED, below(50000));
    }
}

static void do_forget(const struct muster__core_action *action)
{
    struct model_instance *instance = instance_of(action->instance);
    PROMISE(!instance->forgotten && instance->off_slot, "FORGET comes twice, or early");
    PROMISE(!instance->started || instance->gone_fed, "an instance that runs was forgotten");
    instance->forgotten = true;
    if (!instance->abandoned) {
        version_of(instance->version)->instances--;
    }
}

static void do_fail_queued(const struct muster__core_action *action)
{
    struct model_version *version = version_of(action->version);
    if (version->slot != NULL) {
        fail_list(version->slot, muster__slot_empty(version->slot), action->status);
    }
}

static void do_dispose(const struct muster__core_action *action)
{
    struct model_version *version = version_of(action->version);
    PROMISE(version->slot != NULL, "version %u was disposed of twice", version->id);
    PROMISE(version->instances == 0, "version %u was disposed of while it runs", version->id);
    PROMISE(w.published[version->scope] != version->id, "the published version was disposed of");
    PROMISE(version->users == 0 || w.closing, "version %u was disposed of while clients use it", version->id);
    bool may_wait = w.closing || version->plain || (version->left_us != 0 && w.now_us >= version->left_us + times.grace_us);
    struct muster__slot_sample sample = muster__slot_sample(version->slot);
    PROMISE(sample.waiting == 0 || may_wait, "version %u was disposed of while requests wait", version->id);
    fail_list(version->slot, muster__slot_close(version->slot), MUSTER_NOT_FOUND);
    muster__slot_release(version->slot);
    version->slot = NULL;
}

static void leave_scope(int scope)
{
    if (w.published[scope] != 0) {
        version_of(w.published[scope])->left_us = w.now_us + (w.now_us == 0);
    }
    w.published[scope] = 0;
}

static void do_publish(const struct muster__core_action *action)
{
    struct model_version *version = version_of(action->version);
    PROMISE(version->slot != NULL, "a disposed version was published");
    PROMISE(version->unregistered_us == 0, "a version was published whose registration is out of the map");
    PROMISE(!version->early || version->lazy || version->restored
                || version->told >= MUSTER__VERSION_INSTALLING,
            "version %u was published before it was installed", version->id);
    const struct model_version *old = w.published[version->scope] != 0
                                          ? version_of(w.published[version->scope])
                                          : NULL;
    PROMISE(old == NULL || old->live == 0
                || (old->told != MUSTER__VERSION_INSTALLED && old->told != MUSTER__VERSION_ACTIVATING),
            "version %u takes over from one that activates", version->id);
    leave_scope(version->scope);
    w.published[version->scope] = action->version;
    version->published = true;
}

static struct model_registration *registration_of(uint64_t id)
{
    PROMISE(id > 0 && id < 1u << 30, "an action about no registration");
    while (w.registration_count <= id) {
        w.registrations = doubled(w.registrations, w.registration_count, sizeof(*w.registrations));
        w.registrations[w.registration_count++] = (struct model_registration){ 0, 0, 0 };
    }
    return &w.registrations[id];
}

/* The registration is out of the map, with all its versions. */
static void do_withdraw(const struct muster__core_action *action)
{
    int scope = atoi(action->scope + 1);
    uint32_t published = w.published[scope]; /* what scripts never saw is not its any more */
    leave_scope(scope);
    (void)registration_of(action->registration);
    for (size_t i = 0; i < w.version_count; i++) {
        struct model_version *version = w.versions[i];
        struct muster__core_scope_view view;
        bool ours = version->slot != NULL && muster__core_version_view(w.core, version->id, &view)
                    && view.registration == action->registration;
        if (ours || version->id == published
            || (version->slot != NULL && version->registration == action->registration)) {
            PROMISE(version->unregistered_us == 0, "version %u was unregistered twice", version->id);
            version->unregistered_us = w.now_us + (w.now_us == 0);
        }
    }
}

static void do_settle_job(const struct muster__core_action *action)
{
    PROMISE(action->job > 0 && action->job <= w.job_count, "an unknown job settled");
    struct model_job *job = &w.jobs[action->job - 1];
    PROMISE(!job->settled, "job %" PRIu64 " settled twice", action->job);
    job->settled = true;
    w.jobs_pending--;
    if (job->early && action->status == MUSTER_OK) {
        const struct model_version *version = version_of(action->version);
        PROMISE(version->told >= MUSTER__VERSION_INSTALLING || version->lazy,
                "job %" PRIu64 " settled before version %u installs", action->job, version->id);
        w.early_settled += version->told == MUSTER__VERSION_INSTALLING;
    }
}

static void do_load(const struct muster__core_action *action)
{
    struct model_job *job = &w.jobs[action->job - 1];
    PROMISE(action->job > 0 && action->job <= w.job_count && !job->settled, "LOAD for no job");
    PROMISE(job->loads, "LOAD for a job that offered its version");
    PROMISE(action->version == 0 || version_of(action->version)->slot != NULL,
            "LOAD compares with a version that was disposed of");
    job->loads = false; /* once */
    if (percent(95)) {  /* else never */
        schedule(percent(90) ? some_delay() / 4 : below(2 * times.load_us),
                 (struct item){ .kind = ITEM_LOADED, .event = { .kind = MUSTER__CORE_LOADED,
                                                                .job = action->job } });
    }
}

/* All that used the old one, and nobody else. */
static void do_control(const struct muster__core_action *action)
{
    struct model_version *old = version_of(action->old), *version = version_of(action->version);
    PROMISE(old->users == action->users && action->users > 0, "CONTROL moves %u clients of %zu",
            action->users, old->users);
    PROMISE(version->skipped, "version %u took over clients without being told to skip waiting", version->id);
    for (int i = 0; i < CLIENTS; i++) {
        if (w.clients[i] == action->old) {
            w.clients[i] = action->version;
            old->users--;
            version->users++;
        }
    }
    w.moved += action->users;
    PROMISE(old->users == 0, "the model lost a client");
}

static void do_note_state(const struct muster__core_action *action)
{
    struct model_version *version = version_of(action->version);
    const struct model_registration *registration = registration_of(action->registration);
    PROMISE(action->state > version->told && action->state < MUSTER__VERSION_STATE_COUNT,
            "version %u goes back from %s to %s", version->id, muster__version_state_word(version->told),
            muster__version_state_word(action->state));
    PROMISE(!version->plain, "scripts were told of a plain version");
    PROMISE(version->registration == 0 || version->registration == action->registration,
            "version %u changed its registration", version->id);
    PROMISE(action->state != MUSTER__VERSION_INSTALLING || registration->installing == version->id,
            "version %u installs in another slot", version->id);
    PROMISE(action->state != MUSTER__VERSION_INSTALLED || registration->waiting == version->id,
            "version %u is installed in another slot", version->id);
    PROMISE((action->state != MUSTER__VERSION_ACTIVATING && action->state != MUSTER__VERSION_ACTIVATED)
                || registration->active == version->id,
            "version %u is active in another slot", version->id);
    PROMISE(action->state != MUSTER__VERSION_ACTIVATING || registration->former == 0
                || version_of(registration->former)->told == MUSTER__VERSION_REDUNDANT,
            "version %u activates before the old version is redundant", version->id);
    PROMISE(action->state != MUSTER__VERSION_REDUNDANT
                || (registration->installing != version->id && registration->waiting != version->id
                    && registration->active != version->id),
            "version %u is redundant in a slot", version->id);
    version->registration = action->registration;
    version->told = action->state;
    version->activates |= action->state == MUSTER__VERSION_ACTIVATED; /* also if that failed */
}

static void do_note_slots(const struct muster__core_action *action)
{
    struct model_registration *registration = registration_of(action->registration);
    if (action->active != registration->active && action->active != 0 && registration->active != 0) {
        PROMISE(version_of(registration->active)->users == 0 || version_of(action->active)->skipped,
                "version %u activates while clients use version %u", action->active, registration->active);
    }
    uint32_t former = action->active != registration->active ? registration->active : registration->former;
    *registration = (struct model_registration){ action->installing, action->waiting, action->active, former };
}

static void perform(const struct muster__core_action *action)
{
    w.counts[action->kind]++;
    switch (action->kind) {
    case MUSTER__DO_PUBLISH:
        do_publish(action);
        return;
    case MUSTER__DO_WITHDRAW:
        do_withdraw(action);
        return;
    case MUSTER__DO_LOAD:
        do_load(action);
        return;
    case MUSTER__DO_CONTROL:
        do_control(action);
        return;
    case MUSTER__DO_NOTE_STATE:
        do_note_state(action);
        return;
    case MUSTER__DO_NOTE_SLOTS:
        do_note_slots(action);
        return;
    case MUSTER__DO_NOTE_UPDATE_FOUND:
        PROMISE(version_of(action->version)->told == MUSTER__VERSION_INSTALLING, "updatefound comes late");
        return;
    case MUSTER__DO_PLACE:
        do_place(action);
        return;
    case MUSTER__DO_START:
        do_start(action);
        return;
    case MUSTER__DO_INSTALL:
    case MUSTER__DO_ACTIVATE:
        do_lifecycle(action);
        return;
    case MUSTER__DO_OPEN:
        do_open(action);
        return;
    case MUSTER__DO_SAMPLE:
        do_sample(action);
        return;
    case MUSTER__DO_TRY_RETIRE:
        do_try_retire(action);
        return;
    case MUSTER__DO_VACATE:
        do_vacate(action);
        return;
    case MUSTER__DO_STOP:
        do_stop(action);
        return;
    case MUSTER__DO_CANCEL:
        do_cancel(action);
        return;
    case MUSTER__DO_ABANDON:
        do_abandon(action);
        return;
    case MUSTER__DO_FAIL_QUEUED:
        do_fail_queued(action);
        return;
    case MUSTER__DO_SETTLE_JOB:
        do_settle_job(action);
        return;
    case MUSTER__DO_FORGET:
        do_forget(action);
        return;
    case MUSTER__DO_DISPOSE:
        do_dispose(action);
        return;
    case MUSTER__DO_CLOSED:
        PROMISE(w.closing && !w.closed, "CLOSED comes twice, or unasked");
        w.closed = true;
        return;
    default:
        broken("an action of no kind");
    }
}

/* ---- the promises that time alone can break ---- */

static void check_open(struct model_instance *instance)
{
    if (version_of(instance->version)->plain) {
        return; /* it stays until its holders are gone */
    }
    struct muster__slot_sample sample = muster__slot_sample(instance->slot);
    if (sample.holds > 0) {
        instance->held_us = w.now_us;
        /* A look every eighth of the grace time, and the model's own lateness. */
        PROMISE(w.now_us <= sample.alive_until_us + times.grace_us + 4 * LATE_US + 4000,
                "instance %" PRIu64 " outlives its grace time", instance->id);
        return;
    }
    uint64_t idle_from_us =
        instance->held_us > sample.alive_until_us ? instance->held_us : sample.alive_until_us;
    PROMISE(w.now_us <= idle_from_us + 4 * LATE_US + 4000, "instance %" PRIu64 " is idle and stays",
            instance->id);
}

static void check_dying(const struct model_instance *instance)
{
    if (!instance->off_slot || !instance->started || instance->gone_fed || instance->abandoned) {
        return;
    }
    if (instance->cancel_told) {
        PROMISE(w.now_us <= instance->cancel_us + times.cancel_us, "instance %" PRIu64 " is not given up",
                instance->id);
    } else if (instance->stop_told) {
        PROMISE(w.now_us <= instance->stop_us + times.stop_us, "instance %" PRIu64 " is not interrupted",
                instance->id);
    } else {
        PROMISE(w.now_us <= instance->off_slot_us + 2 * LATE_US, "instance %" PRIu64 " is not told to stop",
                instance->id);
    }
}

static void check_waiting(void)
{
    for (struct model_request *request = w.requests; request != NULL; request = request->all_next) {
        PROMISE(request->instance != NULL || request->settled
                    || w.now_us <= request->posted_us + WAIT_BOUND_US,
                "a request waits for ever");
    }
    for (size_t i = w.first_pending; i < w.job_count; i++) {
        PROMISE(w.jobs[i].settled || w.now_us <= w.jobs[i].added_us + WAIT_BOUND_US,
                "job %zu never settles", i + 1);
        w.first_pending += i == w.first_pending && w.jobs[i].settled;
    }
    for (size_t i = 0; i < w.version_count; i++) {
        const struct model_version *version = w.versions[i];
        uint64_t since_us = version->unused_us > version->unregistered_us ? version->unused_us
                                                                         : version->unregistered_us;
        struct muster__core_scope_view view;
        bool used = muster__core_version_view(w.core, version->id, &view) && view.users > 0;
        PROMISE(version->slot == NULL || version->unregistered_us == 0 || used || w.closing
                    || w.now_us <= since_us + CLEAR_BOUND_US,
                "version %u is unregistered and unused and stays", version->id);
    }
}

/* What the core counts is what there is. */
static void check_clients(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct muster__core_scope_view mine, other;
        size_t users = 0;
        if (w.clients[i] == 0) {
            continue;
        }
        PROMISE(muster__core_version_view(w.core, w.clients[i], &mine), "a client of nothing");
        for (int k = 0; k < CLIENTS; k++) {
            users += w.clients[k] != 0 && muster__core_version_view(w.core, w.clients[k], &other)
                     && other.registration == mine.registration;
        }
        PROMISE(users == mine.users, "the core counts %zu clients and there are %zu", mine.users, users);
    }
}

static void check_used(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        const struct model_version *version = w.clients[i] != 0 ? version_of(w.clients[i]) : NULL;
        PROMISE(version == NULL || (version->slot != NULL && version->told != MUSTER__VERSION_REDUNDANT),
                "clients use version %u, which is redundant", w.clients[i]);
    }
}

/* A key leaves the map with the instance of its plain version. */
static void check_keys(void)
{
    for (int i = SCOPES; i < ALL_SCOPES; i++) {
        const struct model_version *version = w.published[i] != 0 ? version_of(w.published[i]) : NULL;
        PROMISE(version == NULL || !version->ran || version->live != 0,
                "the key of version %u leads to nothing", version->id);
    }
}

static void check_promises(void)
{
    for (struct model_instance *instance = w.open; instance != NULL; instance = instance->open_next) {
        check_open(instance);
    }
    size_t first = w.instance_count > 200 ? w.instance_count - 200 : 0;
    for (size_t i = first; i < w.instance_count; i++) {
        check_dying(w.instances[i]);
    }
    if (!w.closing) {
        check_used();
        check_keys();
    }
    if (w.steps % 256 == 0) {
        check_waiting();
    }
    if (w.steps % 16 == 0 && !w.closing) {
        check_clients();
    }
}

/* ---- the driver ---- */

static void remember(const char *line)
{
    size_t length = strlen(line);
    while (w.record_length + length + 2 > w.record_capacity) {
        w.record_capacity = w.record_capacity == 0 ? 65536 : w.record_capacity * 2;
        w.record = realloc(w.record, w.record_capacity);
        ck_assert_ptr_nonnull(w.record);
    }
    w.record_length += (size_t)sprintf(w.record + w.record_length, "%s\n", line);
}

static void feed(const struct muster__core_event *event)
{
    struct muster__core_actions actions;
    char line[LINE];

    if (event->kind == MUSTER__CORE_GONE || event->kind == MUSTER__CORE_HOST_REFUSED) {
        w.instances[event->instance - 1]->gone_fed = true;
    }
    if (event->kind == MUSTER__CORE_SKIP_WAITING && event->instance <= w.instance_count) {
        version_of(w.instances[event->instance - 1]->version)->skipped = true;
    }
    muster__core_event_format(event, w.now_us, line, sizeof(line));
    note(line);
    remember(line);
    ck_assert_int_eq(muster__core_step(w.core, event, w.now_us, &actions), MUSTER_OK);
    w.steps++;
    for (size_t i = 0; i < actions.count; i++) {
        char text[LINE] = "    ";
        muster__core_action_format(&actions.items[i], text + 4, sizeof(text) - 4);
        note(text);
        w.action_hash = hash_text(w.action_hash, text + 4);
        perform(&actions.items[i]);
    }
    check_promises();
}

static struct model_version *offer_version(int scope, struct muster__core_event *event)
{
    struct model_version *version = made(sizeof(*version));
    w.versions = doubled(w.versions, w.version_count, sizeof(*w.versions));
    w.versions[w.version_count++] = version;
    version->id = (uint32_t)w.version_count;
    version->scope = scope;
    event->idle_us = percent(30) ? 2000 + below(2 * times.idle_us) : 0;
    const struct muster__slot_options options = { .queue_limit = QUEUE_LIMIT,
                                                  .idle_us = event->idle_us != 0 ? event->idle_us
                                                                                 : times.idle_us,
                                                  .want = want,
                                                  .version = version->id };
    version->slot = muster__slot_new(&options);
    ck_assert_ptr_nonnull(version->slot);
    event->version = version->id;
    return version;
}

/* How: as an embedder's, or as a script's. */
static void choose_register(struct muster__core_event *event, int number)
{
    unsigned how = (unsigned)below(100);
    event->plain = number >= SCOPES;
    event->lazy = percent(event->plain ? 20 : how < 50 ? 40 : 0);
    event->early = !event->plain && how >= 50 && how < 95;
    event->load = !event->plain && how >= 60;
    event->restored = !event->plain && !event->load && percent(5);
    event->via = percent(5) ? MUSTER__VIA_NONE : MUSTER__VIA_IMPORTS;
}

static void add_job(enum muster__core_event_kind kind)
{
    static char scope[16], script[16];
    static int number;
    struct muster__core_event event = { .kind = kind, .scope = scope };

    if (w.job_count == 0 || percent(85)) { /* else as the last time: it may join that one */
        number = (int)below(ALL_SCOPES);
        snprintf(scope, sizeof(scope), "/%d", number);
        snprintf(script, sizeof(script), "script-%d", (int)below(SCRIPTS));
    }
    if (kind == MUSTER__CORE_REGISTER) {
        choose_register(&event, number);
        event.script = script;
        if (!event.load) {
            struct model_version *version = offer_version(number, &event);
            version->early = event.early;
            version->lazy = event.lazy;
            version->plain = event.plain;
            version->restored = event.restored;
        }
    } else if (kind == MUSTER__CORE_UPDATE) {
        event.early = percent(80);
        event.script = percent(50) ? script : NULL;
    }
    w.jobs = doubled(w.jobs, w.job_count, sizeof(*w.jobs));
    w.jobs[w.job_count++] = (struct model_job){ .added_us = w.now_us,
                                                .scope = number,
                                                .loads = event.load || kind == MUSTER__CORE_UPDATE,
                                                .early = event.early };
    w.jobs_pending++;
    event.job = w.job_count;
    feed(&event);
    if (percent(5) && !w.jobs[event.job - 1].settled) {
        feed(&event); /* twice */
    }
}

static void answer_load(struct muster__core_event event)
{
    const struct model_job *job = &w.jobs[event.job - 1];
    struct model_version *version = NULL;
    bool late = job->settled;

    event.status = percent(15) ? MUSTER_LOAD_FAILED : MUSTER_OK;
    event.changed = percent(75);
    event.checked_us = w.now_us;
    if ((event.changed && event.status == MUSTER_OK) || percent(20)) {
        version = offer_version(job->scope, &event);
        version->early = job->early;
    }
    feed(&event);
    if (version != NULL && (late || !event.changed || event.status != MUSTER_OK)) {
        w.in_vain++;
        PROMISE(version->slot == NULL, "version %u was offered in vain and not given back", version->id);
    }
}

/* ---- clients ---- */

static void let_go(int client)
{
    struct model_version *version = version_of(w.clients[client]);
    struct muster__core_scope_view left, view;
    PROMISE(muster__core_version_view(w.core, version->id, &left), "a client of nothing");
    for (size_t i = 0; i < w.version_count; i++) {
        struct model_version *other = w.versions[i];
        if (other->slot != NULL && muster__core_version_view(w.core, other->id, &view)
            && view.registration == left.registration) {
            other->unused_us = w.now_us;
            if (other->unregistered_us != 0) {
                other->left_us = w.now_us + (w.now_us == 0); /* its end may come from here on */
            }
        }
    }
    w.clients[client] = 0;
    version->users--;
    feed(&(struct muster__core_event){ .kind = MUSTER__CORE_UNUSE, .version = version->id });
}

/* One comes, goes, or goes over. */
static void move_client(void)
{
    int client = (int)below(CLIENTS);
    struct muster__core_scope_view view;
    char scope[16];

    if (w.closing) {
        return;
    }
    if (w.clients[client] != 0) {
        let_go(client);
    }
    snprintf(scope, sizeof(scope), "/%d", (int)below(SCOPES));
    if (percent(70) && muster__core_scope_view(w.core, scope, &view) && view.controller != 0) {
        w.clients[client] = view.controller;
        version_of(view.controller)->users++;
        feed(&(struct muster__core_event){ .kind = MUSTER__CORE_USE, .version = view.controller });
    }
}

/* Most are let go, so that what was unregistered comes to its end. */
static void let_some_go(void)
{
    for (int i = 0; i < CLIENTS && !w.closing; i++) {
        if (w.clients[i] != 0 && percent(80)) {
            let_go(i);
        }
    }
}

/* The last holder of one is gone. */
static void release_one(void)
{
    uint32_t id = w.published[SCOPES + below(PLAIN_SCOPES)];
    if (id != 0) {
        feed(&(struct muster__core_event){ .kind = MUSTER__CORE_RELEASE, .version = id, .force = percent(50) });
        PROMISE(w.published[version_of(id)->scope] != id || w.closing, "a released version keeps its key");
    }
}

/* An event about something that may exist or not, and that nobody asked for. */
static void feed_nonsense(void)
{
    static const enum muster__core_event_kind kinds[] = {
        MUSTER__CORE_WANT,          MUSTER__CORE_SKIP_WAITING, MUSTER__CORE_PLACED, MUSTER__CORE_STARTED,
        MUSTER__CORE_INSTALL_ENDED, MUSTER__CORE_SAMPLED,      MUSTER__CORE_RETIRED, MUSTER__CORE_UNUSE,
        MUSTER__CORE_RELEASE,       MUSTER__CORE_CHECKED
    };
    enum muster__core_event_kind kind = kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
    uint64_t old = w.instance_count > 50 ? 1 + below(w.instance_count - 50) : 0;
    bool dying = old > 0 && w.instances[old - 1]->off_slot;
    struct muster__core_event event = { .kind = kind,
                                        .instance = dying ? old : 1u << 30,
                                        .version = (uint32_t)(1 + below(w.version_count + 3)),
                                        .ok = percent(50) };
    const struct model_version *version =
        event.version <= w.version_count ? w.versions[event.version - 1] : NULL;
    if (kind == MUSTER__CORE_UNUSE && version != NULL && version->users > 0) {
        return; /* somebody would be missing */
    }
    feed(&event);
}

static void make_traffic(void)
{
    unsigned what = (unsigned)below(1000);
    if (what < 830) {
        post_request();
    } else if (what < 865) {
        move_client();
    } else if (what < 868) {
        let_some_go();
    } else if (what < 875) {
        release_one();
    } else if (what < 915) {
        add_job(MUSTER__CORE_REGISTER);
    } else if (what < 930) {
        add_job(MUSTER__CORE_UPDATE);
    } else if (what < 940) {
        add_job(MUSTER__CORE_UNREGISTER);
    } else if (what < 950) {
        add_job(MUSTER__CORE_STOP);
    } else if (what < 980) {
        feed_nonsense();
    } else {
        feed(&(struct muster__core_event){ .kind = MUSTER__CORE_TICK });
    }
    if (w.traffic) {
        /* Bursts, and lulls in which workers become idle. */
        uint64_t pause_us = percent(70) ? below(300) : percent(97) ? below(5000) : below(200000);
        schedule(pause_us, (struct item){ .kind = ITEM_TRAFFIC });
    }
}

static void run_item(struct item *item)
{
    struct model_instance *instance = item->instance != 0 ? instance_of(item->instance) : NULL;

    switch (item->kind) {
    case ITEM_FEED:
        /* A driver knows an answer to an earlier placement of the same instance. */
        if (item->event.kind != MUSTER__CORE_PLACED
            || item->event.host > instance_of(item->event.instance)->refused_host) {
            feed(&item->event);
        }
        return;
    case ITEM_OPEN:
        open_itself(instance);
        return;
    case ITEM_TAKE:
        take(instance);
        return;
    case ITEM_SETTLE:
        if (!item->request->instance->gone && !item->request->instance->stuck) {
            settle_with(&item->request->request, MUSTER_OK);
        }
        return;
    case ITEM_END:
        instance = item->request->instance;
        if (!instance->gone && !instance->stuck && !instance->abandoned) {
            end_request(item->request);
            finish_if_stopped(instance);
        }
        muster__request_release(&item->request->request);
        return;
    case ITEM_GIVE_BACK:
        if (!instance->stuck && instance->kept != NULL) {
            give_back(instance);
            finish_if_stopped(instance);
            wake(&instance->consumer);
        }
        return;
    case ITEM_DIE:
        if (instance->started && !instance->stuck) {
            die(instance, percent(50) ? MUSTER_MEMORY_LIMIT : MUSTER_OK, below(LATE_US));
        }
        return;
    case ITEM_WEDGE:
        if (instance->started && !instance->gone) {
            instance->stuck = true;
            feed_later(below(2000), (struct muster__core_event){ .kind = MUSTER__CORE_WEDGED,
                                                                 .instance = instance->id });
        }
        return;
    case ITEM_LOADED:
        answer_load(item->event);
        return;
    case ITEM_TRAFFIC:
        make_traffic();
        return;
    }
}

/* The next thing that happens: an item, or the core's deadline. */
static bool turn(void)
{
    uint64_t deadline_us = muster__core_deadline(w.core);
    uint64_t item_us = w.item_count > 0 ? w.items[1].at_us : UINT64_MAX;

    if (deadline_us == UINT64_MAX && item_us == UINT64_MAX) {
        return false;
    }
    /* Messages that are there come before the clock is looked at, as in a driver with an inbox. */
    if (item_us <= deadline_us || item_us <= w.now_us) {
        struct item item = pop();
        w.now_us = item.at_us > w.now_us ? item.at_us : w.now_us;
        run_item(&item);
    } else {
        w.now_us = deadline_us > w.now_us ? deadline_us : w.now_us;
        feed(&(struct muster__core_event){ .kind = MUSTER__CORE_TICK });
    }
    return true;
}

/* ---- a whole run ---- */

static void begin_world(uint64_t seed)
{
    memset(&w, 0, sizeof(w));
    w.seed = w.random = seed;
    w.hash = w.action_hash = 0xcbf29ce484222325ULL;
    w.traffic = true;
    w.last = made(LAST_LINES * sizeof(w.last[0]));
    w.core = muster__core_new(&times);
    ck_assert_ptr_nonnull(w.core);
    schedule(0, (struct item){ .kind = ITEM_TRAFFIC });
}

#ifndef MUSTER_PLANT_FAULT
static void end_world(void)
{
    while (w.item_count > 0) { /* only ends of requests keep something */
        struct item item = pop();
        if (item.kind == ITEM_END) {
            muster__request_release(&item.request->request);
        }
    }
    for (size_t i = 0; i < w.instance_count; i++) {
        end_flight(w.instances[i]);
        muster__slot_release(w.instances[i]->slot);
        free(w.instances[i]);
    }
    for (size_t i = 0; i < w.version_count; i++) {
        if (w.versions[i]->slot != NULL) {
            ck_assert_ptr_null(muster__slot_close(w.versions[i]->slot));
            muster__slot_release(w.versions[i]->slot);
        }
        free(w.versions[i]);
    }
    ck_assert_uint_eq(w.request_count, 0);
    muster__core_destroy(w.core);
    free(w.instances);
    free(w.versions);
    free(w.jobs);
    free(w.registrations);
    free(w.items);
    free(w.last);
    free(w.record);
}
#endif

static void find_version(const struct muster__core_view *view, void *user_data)
{
    bool *known = user_data;
    known[view->version - 1] = true;
}

/* Whatever was offered and not given back is somewhere. */
static void check_nothing_is_lost(void)
{
    bool *known = made(w.version_count + 1);
    muster__core_each(w.core, find_version, known);
    for (size_t i = 0; i < w.version_count; i++) {
        PROMISE(known[i] || w.versions[i]->slot == NULL, "version %zu was lost", i + 1);
    }
    free(known);
}

static void close_world(void)
{
    w.closing = true;
    feed(&(struct muster__core_event){ .kind = MUSTER__CORE_CLOSE });
    feed(&(struct muster__core_event){ .kind = MUSTER__CORE_CLOSE });
    for (int i = 0; i < 200; i++) {
        turn(); /* some traffic goes on meanwhile */
    }
    w.traffic = false;
    uint64_t latest_us = w.now_us + times.stop_us + times.cancel_us;
    while (turn()) {
        PROMISE(w.closed || w.now_us <= latest_us, "shutdown does not come to an end");
    }
    PROMISE(w.closed, "CLOSED never came");
    check_nothing_is_lost();
    PROMISE(w.jobs_pending == 0, "%zu jobs never settled", w.jobs_pending);
    for (struct model_request *request = w.requests; request != NULL; request = request->all_next) {
        PROMISE(request->settled, "a request never settled");
    }
}

/* Chance, then the end; the world is left for its numbers to be read. */
static void run_world(uint64_t seed, size_t steps)
{
    begin_world(seed);
    while (w.steps < steps) {
        turn();
    }
    close_world();
}

static uint64_t given_seed = 1;

#ifndef MUSTER_PLANT_FAULT

START_TEST(a_hundred_thousand_steps_of_chance_keep_every_promise)
{
    run_world(given_seed, STEPS);
    printf("seed %" PRIu64 ": %zu steps, %.1f s of virtual time, %zu requests, %zu starts, "
           "%zu retirements tried, %zu interrupted, %zu given up, %zu versions disposed of, %zu in vain, "
           "%zu loads, %zu settled early, %zu clients moved\n",
           w.seed, w.steps, (double)w.now_us / 1e6, w.posted, w.counts[MUSTER__DO_START],
           w.counts[MUSTER__DO_TRY_RETIRE], w.counts[MUSTER__DO_CANCEL], w.counts[MUSTER__DO_ABANDON],
           w.counts[MUSTER__DO_DISPOSE], w.in_vain, w.counts[MUSTER__DO_LOAD], w.early_settled, w.moved);
    for (int kind = 0; kind < MUSTER__DO_COUNT; kind++) {
        ck_assert_msg(w.counts[kind] > 0, "the run never came to %s", muster__core_action_name(kind));
    }
    ck_assert_uint_gt(w.delivered, w.posted / 2);
    end_world();
}
END_TEST

START_TEST(known_numbers_keep_every_promise)
{
    run_world((uint64_t)_i, STEPS / 5);
    end_world();
}
END_TEST

START_TEST(the_same_number_gives_the_same_log)
{
    run_world(given_seed, STEPS / 4);
    uint64_t hash = w.hash;
    end_world();
    run_world(given_seed, STEPS / 4);
    ck_assert_uint_eq(w.hash, hash);
    end_world();
    run_world(given_seed + 1, STEPS / 4);
    ck_assert_uint_ne(w.hash, hash);
    end_world();
}
END_TEST

START_TEST(a_recorded_run_gives_the_same_actions_when_it_is_replayed)
{
    run_world(given_seed, STEPS / 4);
    struct muster__core *core = muster__core_new(&times);
    uint64_t hash = 0xcbf29ce484222325ULL;
    char *rest = w.record;
    for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0'; line = strsep(&rest, "\n")) {
        struct muster__core_event event;
        struct muster__core_actions actions;
        uint64_t at_us = 0;
        ck_assert_int_eq(muster__core_event_parse(line, &event, &at_us), MUSTER_OK);
        ck_assert_int_eq(muster__core_step(core, &event, at_us, &actions), MUSTER_OK);
        for (size_t i = 0; i < actions.count; i++) {
            char text[LINE];
            muster__core_action_format(&actions.items[i], text, sizeof(text));
            hash = hash_text(hash, text);
        }
    }
    ck_assert_uint_eq(hash, w.action_hash);
    muster__core_destroy(core);
    end_world();
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_hundred_thousand_steps_of_chance_keep_every_promise);
    tcase_add_loop_test(tc, known_numbers_keep_every_promise, 1, 9);
    tcase_add_test(tc, the_same_number_gives_the_same_log);
    tcase_add_test(tc, a_recorded_run_gives_the_same_actions_when_it_is_replayed);
}

#else

/* Found by a promise of this test's, or by one of the core's own checks. */
START_TEST(the_planted_fault_is_found)
{
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        run_world(given_seed, STEPS);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    ck_assert_msg(aborted || (WIFEXITED(status) && WEXITSTATUS(status) == BROKEN),
                  "fault %d was not found (status %d)", MUSTER_PLANT_FAULT, status);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_planted_fault_is_found);
}

#endif

int main(int count, char **arguments)
{
    const char *given = count > 1 ? arguments[1] : getenv("MUSTER_SEED");
    given_seed = given != NULL && *given != '\0' ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("MUSTER_SEED=%" PRIu64 "\n", given_seed);

    Suite *suite = suite_create("core, by chance");
    TCase *tc = tcase_create("chance");
    tcase_set_timeout(tc, 300);
    add_tests(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
