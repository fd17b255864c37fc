/* coordinator/sync.c - see sync.h.
 *
 * What is wanted lies in a heap by the time at which it is due (of the monotonic clock), and in the list of its scope.
 * While its event is on its way, or nothing is registered at its scope yet, it is not in the heap.  The event counts as
 * an open handle, so that an instance that closes waits for it. */
#include "coordinator/sync.h"

#include "coordinator/cron.h"
#include "coordinator/registrations.h"
#include "coordinator/store_keeper.h"
#include "coordinator/stub.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SYNC_ATTEMPTS 3
#define BACK_OFF_FACTOR 3
#define RETRY_DEFAULT_MS 300000u     /* after the first failure */
#define PERIODIC_DEFAULT_MS 60000u   /* the least interval */
#define TAG_LENGTH_MAX 512u
#define TAGS_MAX 100u                /* of one registration */
#define CRON_LOOK_US 60000000u       /* the wall clock may step */
#define INTERVAL_MAX_US (366ull * 24 * 3600 * 1000000)

enum kind { SYNC, PERIODIC, CRON };

struct scope_syncs;

struct sync {
    struct muster__link link; /* of its scope's */
    struct scope_syncs *scope;
    enum kind kind;
    size_t position; /* in the heap, from 1; 0: not there */
    uint64_t due_us;      /* monotonic */
    uint64_t due_wall_us; /* what it stands for */
    uint64_t interval_us;
    unsigned attempts;    /* that failed */
    bool last_chance;     /* of the event that is on its way */
    bool is_running;      /* its event is on its way */
    bool is_wanted_again; /* it was asked for meanwhile */
    bool is_gone;         /* meanwhile */
    struct muster__cron cron;
    char tag[]; /* of CRON: the expression */
};

struct scope_syncs {
    struct muster__named named; /* by storage key and scope */
    struct muster__link syncs;
    size_t count;
    char *storage_key, *scope;
    char name[];
};

struct muster__syncs {
    struct muster__name_map scopes;
    struct sync **heap; /* from 1; has room for all */
    size_t used, capacity, total;
};

/* ---- clocks ---- */

static uint64_t wall_us(const struct muster *muster)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 + atomic_load(&muster->wall_ahead_us);
}

static uint64_t retry_us(const struct muster *muster)
{
    return muster__us_of_ms(muster__or_default(muster->options.sync_retry_ms, RETRY_DEFAULT_MS));
}

static uint64_t least_interval_us(const struct muster *muster)
{
    return muster__us_of_ms(muster__or_default(muster->options.periodic_sync_min_ms, PERIODIC_DEFAULT_MS));
}

/* ---- the heap ---- */

static void place(struct muster__syncs *syncs, struct sync *sync, size_t position)
{
    syncs->heap[position] = sync;
    sync->position = position;
}

static void sift_up(struct muster__syncs *syncs, struct sync *sync, size_t at)
{
    for (; at > 1 && syncs->heap[at / 2]->due_us > sync->due_us; at /= 2)
        place(syncs, syncs->heap[at / 2], at);
    place(syncs, sync, at);
}

static void sift_down(struct muster__syncs *syncs, struct sync *sync, size_t at)
{
    for (size_t child; (child = at * 2) <= syncs->used; at = child) {
        if (child < syncs->used && syncs->heap[child + 1]->due_us < syncs->heap[child]->due_us)
            child++;
        if (syncs->heap[child]->due_us >= sync->due_us)
            break;
        place(syncs, syncs->heap[child], at);
    }
    place(syncs, sync, at);
}

static void take_out(struct muster__syncs *syncs, struct sync *sync)
{
    size_t position = sync->position;
    if (!position)
        return;
    sync->position = 0;
    struct sync *last = syncs->heap[syncs->used--];
    if (last == sync)
        return;
    if (position > 1 && last->due_us < syncs->heap[position / 2]->due_us)
        sift_up(syncs, last, position);
    else
        sift_down(syncs, last, position);
}

/* The latest that it may come, whatever the wall clock does. */
static uint64_t longest_wait_us(const struct muster *muster, const struct sync *sync)
{
    return sync->kind == SYNC       ? retry_us(muster) * BACK_OFF_FACTOR
           : sync->kind == PERIODIC ? sync->interval_us
                                    : CRON_LOOK_US;
}

static void put_in(struct muster *muster, struct sync *sync)
{
    uint64_t now = wall_us(muster), left = sync->due_wall_us > now ? sync->due_wall_us - now : 0;
    uint64_t most = longest_wait_us(muster, sync);
    take_out(muster->syncs, sync);
    sync->due_us = muster__now_us() + (left < most ? left : most);
    sift_up(muster->syncs, sync, ++muster->syncs->used);
}

/* ---- by scope ---- */

static struct scope_syncs *find_scope(struct muster *muster, const char *storage_key, const char *scope)
{
    char *name = muster->syncs->scopes.map.count ? muster__format("%s\n%s", storage_key, scope) : NULL;
    struct muster__named *named = name ? muster__name_map_find(muster->worlds, &muster->syncs->scopes, name) : NULL;
    free(name);
    return named ? MUSTER_CONTAINER_OF(named, struct scope_syncs, named) : NULL;
}

static struct scope_syncs *find_or_add_scope(struct muster *muster, const char *storage_key, const char *scope)
{
    struct scope_syncs *found = find_scope(muster, storage_key, scope);
    size_t key_length = strlen(storage_key), length = strlen(scope);
    if (found)
        return found;
    /* "key\nscope" and then both again, terminated. */
    found = calloc(1, sizeof(*found) + 2 * (key_length + length + 2));
    if (!found)
        return NULL;
    memcpy(found->name, storage_key, key_length);
    found->name[key_length] = '\n';
    strcpy(found->name + key_length + 1, scope);
    found->storage_key = strcpy(found->name + key_length + length + 2, storage_key);
    found->scope = found->name + key_length + 1;
    found->named.name = found->name;
    muster__link_init(&found->syncs);
    muster__name_map_add(muster->worlds, &muster->syncs->scopes, &found->named);
    return found;
}

static struct sync *find_sync(const struct scope_syncs *scope, enum kind kind, const char *tag)
{
    for (struct muster__link *at = scope ? scope->syncs.next : NULL; at && at != &scope->syncs; at = at->next) {
        struct sync *sync = MUSTER_CONTAINER_OF(at, struct sync, link);
        if (sync->kind == kind && !sync->is_gone && strcmp(sync->tag, tag) == 0)
            return sync;
    }
    return NULL;
}

/* So that putting in cannot fail. */
static bool reserve(struct muster__syncs *syncs)
{
    if (syncs->total + 2 < syncs->capacity)
        return true;
    size_t capacity = syncs->capacity ? syncs->capacity * 2 : 64;
    struct sync **heap = realloc(syncs->heap, capacity * sizeof(*heap));
    if (!heap)
        return false;
    syncs->heap = heap;
    syncs->capacity = capacity;
    return true;
}

/* NULL: out of memory. */
static struct sync *add_sync(struct muster *muster, struct scope_syncs *scope, enum kind kind, const char *tag)
{
    size_t length = strlen(tag);
    struct sync *sync = reserve(muster->syncs) ? calloc(1, sizeof(*sync) + length + 1) : NULL;
    if (!sync)
        return NULL;
    memcpy(sync->tag, tag, length);
    sync->kind = kind;
    sync->scope = scope;
    muster__link_append(&scope->syncs, &sync->link);
    scope->count++;
    muster->syncs->total++;
    return sync;
}

static void forget_scope_if_empty(struct muster *muster, struct scope_syncs *scope)
{
    if (scope->count)
        return;
    muster__name_map_remove(&muster->syncs->scopes, &scope->named);
    free(scope);
}

/* Frees it, unless its event is on its way: then that does. */
static void remove_sync(struct muster *muster, struct sync *sync)
{
    struct scope_syncs *scope = sync->scope;
    take_out(muster->syncs, sync);
    sync->is_gone = true;
    if (sync->is_running)
        return;
    muster__link_remove(&sync->link);
    scope->count--;
    muster->syncs->total--;
    free(sync);
    forget_scope_if_empty(muster, scope);
}

/* ---- on disk ---- */

static struct muster__stored_sync stored_form(const struct sync *sync)
{
    return (struct muster__stored_sync){
        .storage_key = sync->scope->storage_key,
        .scope = sync->scope->scope,
        .tag = sync->tag,
        .is_periodic = sync->kind == PERIODIC,
        .interval_us = sync->interval_us,
        .due_us = sync->due_wall_us,
        .attempts = sync->attempts,
    };
}

static void keep(struct muster *muster, const struct sync *sync)
{
    const struct muster__stored_sync stored = stored_form(sync);
    if (sync->kind != CRON)
        muster__keeper_put_sync(muster, &stored);
}

static void keep_no_more(struct muster *muster, const struct sync *sync)
{
    const struct muster__stored_sync stored = stored_form(sync);
    if (sync->kind != CRON)
        muster__keeper_remove_sync(muster, &stored);
}

/* ---- an event on its way ---- */

struct fired {
    struct muster__request request;
    struct muster__message ended;
    struct muster *muster;
    struct muster__version *version;
    struct sync *sync;
    enum muster_status status;
};

static void after_event(struct muster *muster, struct sync *sync, enum muster_status status);

static void run_ended(struct muster__message *message, struct muster *muster)
{
    struct fired *fired = MUSTER_CONTAINER_OF(message, struct fired, ended);
    struct sync *sync = fired->sync;
    sync->is_running = false;
    if (sync->is_gone)
        remove_sync(muster, sync);
    else
        after_event(muster, sync, fired->status);
    muster__request_release(&fired->request);
    muster__handle_settled(muster);
}

/* Thread: any. */
static void fired_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct fired *fired = MUSTER_CONTAINER_OF(request, struct fired, request);
    fired->status = outcome->status;
    muster__request_acquire(request); /* the message's */
    (void)muster__coordinator_post(fired->muster, &fired->ended);
}

static void fired_destroyed(struct muster__request *request)
{
    struct fired *fired = MUSTER_CONTAINER_OF(request, struct fired, request);
    muster_value_release(request->data);
    muster__version_release(fired->version);
    free(fired);
}

static const struct muster__request_class fired_class = {fired_settled, fired_destroyed};

static const char *const event_names[] = {"sync", "periodicsync", "scheduled"};

static struct muster_value *data_of(const struct sync *sync)
{
    if (sync->kind == CRON)
        return MUSTER__OBJECT({"cron", muster_value_new_text(sync->tag)},
                              {"scheduledTime", muster_value_new_number((double)(sync->due_wall_us / 1000))});
    return MUSTER__OBJECT({"tag", muster_value_new_text(sync->tag)},
                          {"lastChance", muster_value_new_boolean(sync->last_chance)});
}

/* *ret_sent: its event is on its way; else the answer is what came of it. */
static enum muster_status send_event(struct muster *muster, struct muster__version *version, struct sync *sync,
                                     bool *ret_sent)
{
    *ret_sent = false;
    if (!muster__version_listens(version, event_names[sync->kind]))
        return MUSTER_OK; /* SW-RUN-3: nobody is woken for it */
    struct fired *fired = calloc(1, sizeof(*fired));
    struct muster_value *data = fired ? data_of(sync) : NULL;
    if (!data) {
        free(fired);
        return MUSTER_NO_MEMORY;
    }
    muster__request_init(&fired->request, &fired_class, MUSTER__REQUEST_EVENT, event_names[sync->kind]);
    fired->request.data = data;
    fired->request.received_us = muster__now_us();
    fired->request.id = atomic_fetch_add(&muster->next_request, 1) + 1;
    fired->ended.run = run_ended;
    fired->muster = muster;
    fired->version = muster__version_acquire(version);
    fired->sync = sync;
    atomic_fetch_add(&muster->open_handles, 1);
    sync->is_running = true;
    enum muster_status status = muster__post(version, &fired->request, fired->request.received_us);
    *ret_sent = status == MUSTER_OK;
    if (status != MUSTER_OK) {
        sync->is_running = false;
        muster__handle_settled(muster);
    }
    muster__request_release(&fired->request);
    return status;
}

/* The published one; borrowed.  NOT_FOUND: nothing is registered there. */
static enum muster_status version_of(struct muster *muster, const struct scope_syncs *scope,
                                     struct muster__version **ret_version)
{
    struct muster__version *version = NULL;
    struct muster__entry *entry = muster__scope_map_get(muster->scopes, scope->scope, strlen(scope->scope));
    enum muster_status status = entry ? muster__entry_version(muster, entry, &version, NULL) : MUSTER_NOT_FOUND;
    if (status == MUSTER_OK && strcmp(version->storage_key, scope->storage_key) != 0)
        status = MUSTER_NOT_FOUND;
    if (status == MUSTER_OK)
        *ret_version = version;
    return status;
}

static void fire(struct muster *muster, struct sync *sync)
{
    struct muster__version *version = NULL;
    enum muster_status status = version_of(muster, sync->scope, &version);
    bool sent = false;
    take_out(muster->syncs, sync);
    if (status == MUSTER_NOT_FOUND)
        return; /* until there is one */
    sync->last_chance = sync->kind == SYNC && sync->attempts + 1 >= SYNC_ATTEMPTS;
    if (status == MUSTER_OK)
        status = send_event(muster, version, sync, &sent);
    if (!sent)
        after_event(muster, sync, status);
}

static void set_next_cron(struct muster *muster, struct sync *sync)
{
    uint64_t now_us = wall_us(muster);
    sync->due_wall_us = muster__cron_next(&sync->cron, now_us / 1000000) * 1000000;
    put_in(muster, sync);
}

static void try_again(struct muster *muster, struct sync *sync)
{
    uint64_t wait_us = retry_us(muster);
    for (unsigned i = 1; i < sync->attempts; i++)
        wait_us *= BACK_OFF_FACTOR;
    sync->due_wall_us = wall_us(muster) + wait_us;
    keep(muster, sync);
    put_in(muster, sync);
}

/* One-shot: done, again at once, later, or given up. */
static void after_one_shot(struct muster *muster, struct sync *sync, bool ok)
{
    if (sync->is_wanted_again) {
        sync->is_wanted_again = false;
        sync->attempts = 0;
        sync->due_wall_us = wall_us(muster);
        keep(muster, sync);
        put_in(muster, sync);
    } else if (ok || sync->last_chance) {
        if (!ok)
            muster__log(muster, MUSTER_LOG_WARNING, sync->scope->scope, "sync \"%s\" failed %d times and is given up",
                        sync->tag, SYNC_ATTEMPTS);
        keep_no_more(muster, sync);
        remove_sync(muster, sync);
    } else {
        sync->attempts++;
        try_again(muster, sync);
    }
}

static void after_event(struct muster *muster, struct sync *sync, enum muster_status status)
{
    bool ok = status == MUSTER_OK || status == MUSTER_PASSED;
    if (status == MUSTER_SHUTDOWN || atomic_load(&muster->closing)) {
        if (ok && sync->kind == SYNC && !sync->is_wanted_again)
            keep_no_more(muster, sync);
        return; /* the others are on the disk as they were */
    }
    if (sync->kind == SYNC) {
        after_one_shot(muster, sync, ok);
    } else if (sync->kind == PERIODIC) {
        sync->due_wall_us = wall_us(muster) + sync->interval_us;
        keep(muster, sync);
        put_in(muster, sync);
    } else {
        set_next_cron(muster, sync);
    }
}

/* ---- time ---- */

uint64_t muster__syncs_deadline(const struct muster *muster)
{
    const struct muster__syncs *syncs = muster->syncs;
    return syncs->used && !atomic_load(&muster->closing) ? syncs->heap[1]->due_us : UINT64_MAX;
}

void muster__syncs_tick(struct muster *muster, uint64_t now_us)
{
    struct muster__syncs *syncs = muster->syncs;
    while (syncs->used && syncs->heap[1]->due_us <= now_us && !atomic_load(&muster->closing)) {
        struct sync *sync = syncs->heap[1];
        if (sync->kind == CRON && sync->due_wall_us > wall_us(muster))
            put_in(muster, sync); /* a look at the clock, no more */
        else
            fire(muster, sync);
    }
}

/* ---- registrations come and go ---- */

static void put_in_if_free(struct muster *muster, struct sync *sync)
{
    if (!sync->position && !sync->is_running && !sync->is_gone)
        put_in(muster, sync);
}

static void drop_crons(struct muster *muster, struct scope_syncs *scope)
{
    for (struct muster__link *at = scope->syncs.next, *next; next = at->next, at != &scope->syncs; at = next) {
        struct sync *sync = MUSTER_CONTAINER_OF(at, struct sync, link);
        bool last = scope->count == 1 && !sync->is_running;
        if (sync->kind == CRON)
            remove_sync(muster, sync);
        if (last)
            return;
    }
}

/* The next line, copied; NULL: no more. */
static char *next_line(const char **at)
{
    size_t length;
    *at += strspn(*at, "\n");
    length = strcspn(*at, "\n");
    char *line = length ? muster__strndup(*at, length) : NULL;
    *at += length;
    return line;
}

void muster__syncs_schedule(struct muster *muster, const char *storage_key, const char *scope, const char *schedule)
{
    const char *at = schedule ? schedule : "";
    char *line;
    while ((line = next_line(&at))) {
        struct muster__cron cron;
        struct scope_syncs *syncs = find_or_add_scope(muster, storage_key, scope);
        struct sync *sync = syncs && muster__cron_parse(line, &cron, NULL) == MUSTER_OK
                                ? add_sync(muster, syncs, CRON, line)
                                : NULL;
        if (sync) {
            sync->cron = cron;
            set_next_cron(muster, sync);
        } else {
            muster__log(muster, MUSTER_LOG_ERROR, scope, "\"%s\" is not scheduled: %s", line,
                        muster_status_sentence(MUSTER_NO_MEMORY));
        }
        free(line);
    }
}

void muster__syncs_published(struct muster *muster, struct muster__version *version)
{
    struct scope_syncs *scope = find_scope(muster, version->storage_key, version->scope);
    if (scope) {
        for (struct muster__link *at = scope->syncs.next; at != &scope->syncs; at = at->next)
            put_in_if_free(muster, MUSTER_CONTAINER_OF(at, struct sync, link));
        drop_crons(muster, scope);
    }
    muster__syncs_schedule(muster, version->storage_key, version->scope, version->schedule);
}

void muster__syncs_withdrawn(struct muster *muster, const struct muster__version *version)
{
    struct scope_syncs *scope = find_scope(muster, version->storage_key, version->scope);
    for (struct muster__link *at = scope ? scope->syncs.next : NULL, *next; at && at != &scope->syncs; at = next) {
        next = at->next;
        struct sync *sync = MUSTER_CONTAINER_OF(at, struct sync, link);
        bool last = scope->count == 1 && !sync->is_running;
        remove_sync(muster, sync);
        if (last)
            return; /* the scope went with it */
    }
}

void muster__syncs_restore(struct muster *muster, const struct muster__stored_sync *stored)
{
    struct scope_syncs *scope = find_or_add_scope(muster, stored->storage_key, stored->scope);
    struct sync *sync = scope ? add_sync(muster, scope, stored->is_periodic ? PERIODIC : SYNC, stored->tag) : NULL;
    if (!sync) {
        muster__log(muster, MUSTER_LOG_ERROR, stored->scope, "sync \"%s\" waits for the next start: %s", stored->tag,
                    muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    sync->interval_us = stored->interval_us < INTERVAL_MAX_US ? stored->interval_us : INTERVAL_MAX_US;
    sync->due_wall_us = stored->due_us;
    sync->attempts = stored->attempts < SYNC_ATTEMPTS ? stored->attempts : SYNC_ATTEMPTS - 1;
    put_in(muster, sync);
}

enum muster_status muster__syncs_check_schedule(const char *schedule, struct muster_error *error)
{
    enum muster_status status = MUSTER_OK;
    struct muster__cron cron;
    const char *at = schedule ? schedule : "";
    char *line;
    while (status == MUSTER_OK && (line = next_line(&at))) {
        status = muster__cron_parse(line, &cron, error);
        free(line);
    }
    return status;
}

/* ---- what scripts ask ---- */

/* An active version of that registration; NULL: the ask was answered. */
static struct muster__version *asked_version(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    struct muster__core_scope_view view;
    if (!muster__registrations_asked(ask, 0, &view))
        return NULL;
    struct muster__version *version = muster__coordinator_version(muster, view.active);
    if (!version)
        muster__ask_fail(ask, "InvalidStateError", "the registration has no active worker");
    return version;
}

/* NULL: the ask was answered. */
static const char *asked_tag(struct muster__ask *ask)
{
    const char *tag = muster__ask_text(ask, 1);
    if (tag && strlen(tag) <= TAG_LENGTH_MAX)
        return tag;
    muster__ask_fail(ask, "TypeError", "a tag is a text of at most %u bytes", TAG_LENGTH_MAX);
    return NULL;
}

struct settling {
    struct muster__keeper_wait wait;
    struct muster__pending *pending;
};

static void run_settling(struct muster__keeper_wait *wait, struct muster *muster, enum muster_status status,
                         const struct muster_error *error)
{
    struct settling *settling = MUSTER_CONTAINER_OF(wait, struct settling, wait);
    (void)muster;
    if (status == MUSTER_OK)
        muster__pending_answer(settling->pending, NULL);
    else
        muster__pending_fail(settling->pending, "UnknownError", error);
    free(settling);
}

/* Answered when it is on the disk. */
static void answer_when_kept(struct muster__ask *ask, const struct muster__version *version)
{
    struct settling *settling = calloc(1, sizeof(*settling));
    if (!settling) {
        muster__ask_fail(ask, "UnknownError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        return;
    }
    settling->wait.run = run_settling;
    settling->pending = muster__ask_defer(ask);
    if (settling->pending)
        muster__keeper_await(ask->context->muster, version->scope, &settling->wait);
    else
        free(settling);
}

/* That tag, new if need be; NULL: the ask was answered. */
static struct sync *wanted_sync(struct muster__ask *ask, const struct muster__version *version, enum kind kind,
                                const char *tag)
{
    struct muster *muster = ask->context->muster;
    struct scope_syncs *scope = find_or_add_scope(muster, version->storage_key, version->scope);
    struct sync *sync = find_sync(scope, kind, tag);
    if (sync)
        return sync;
    if (scope && scope->count >= TAGS_MAX) {
        muster__ask_fail(ask, "QuotaExceededError", "the registration has %u tags already", TAGS_MAX);
        return NULL;
    }
    sync = scope ? add_sync(muster, scope, kind, tag) : NULL;
    if (!sync) {
        muster__ask_fail(ask, "UnknownError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
        if (scope)
            forget_scope_if_empty(muster, scope);
    }
    return sync;
}

void muster__op_sync_register(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    struct muster__version *version = asked_version(ask);
    const char *tag = version ? asked_tag(ask) : NULL;
    struct sync *sync = tag ? wanted_sync(ask, version, SYNC, tag) : NULL;
    if (!sync)
        return;
    if (sync->is_running) {
        sync->is_wanted_again = true;
    } else {
        sync->attempts = 0;
        sync->due_wall_us = wall_us(muster);
        keep(muster, sync);
        put_in(muster, sync);
    }
    answer_when_kept(ask, version);
}

void muster__op_periodic_sync_register(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    struct muster__version *version = asked_version(ask);
    const char *tag = version ? asked_tag(ask) : NULL;
    struct sync *sync = tag ? wanted_sync(ask, version, PERIODIC, tag) : NULL;
    if (!sync)
        return;
    uint64_t ms = muster__ask_number(ask, 2); /* 0 too: no sooner than it may */
    uint64_t interval_us = ms < INTERVAL_MAX_US / 1000 ? ms * 1000 : INTERVAL_MAX_US;
    sync->interval_us = interval_us > least_interval_us(muster) ? interval_us : least_interval_us(muster);
    if (!sync->is_running) {
        sync->due_wall_us = wall_us(muster) + sync->interval_us;
        put_in(muster, sync);
    }
    keep(muster, sync);
    answer_when_kept(ask, version);
}

void muster__op_periodic_sync_unregister(struct muster__ask *ask)
{
    struct muster *muster = ask->context->muster;
    struct muster__version *version = asked_version(ask);
    const char *tag = version ? asked_tag(ask) : NULL;
    struct sync *sync =
        tag ? find_sync(find_scope(muster, version->storage_key, version->scope), PERIODIC, tag) : NULL;
    if (!tag)
        return;
    if (sync) {
        keep_no_more(muster, sync);
        remove_sync(muster, sync);
    }
    answer_when_kept(ask, version);
}

static void answer_tags(struct muster__ask *ask, enum kind kind)
{
    struct muster__version *version = asked_version(ask);
    struct muster_value *tags = version ? muster_value_new_array() : NULL;
    const struct scope_syncs *scope =
        version ? find_scope(ask->context->muster, version->storage_key, version->scope) : NULL;
    if (!version)
        return;
    for (struct muster__link *at = scope ? scope->syncs.next : NULL; tags && at && at != &scope->syncs; at = at->next) {
        const struct sync *sync = MUSTER_CONTAINER_OF(at, struct sync, link);
        if (sync->kind != kind || sync->is_gone ||
            muster_value_append(tags, muster_value_new_text(sync->tag)) == MUSTER_OK)
            continue;
        muster_value_release(tags);
        tags = NULL;
    }
    if (tags)
        muster__ask_answer(ask, tags);
    else
        muster__ask_fail(ask, "UnknownError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

void muster__op_sync_tags(struct muster__ask *ask)
{
    answer_tags(ask, SYNC);
}

void muster__op_periodic_sync_tags(struct muster__ask *ask)
{
    answer_tags(ask, PERIODIC);
}

/* ---- life ---- */

enum muster_status muster__syncs_new(struct muster *muster)
{
    muster->syncs = calloc(1, sizeof(*muster->syncs));
    return muster->syncs ? MUSTER_OK : MUSTER_NO_MEMORY;
}

void muster__syncs_destroy(struct muster *muster)
{
    struct muster__id_node *node;
    if (!muster->syncs)
        return;
    while ((node = muster__id_map_any(&muster->syncs->scopes.map))) {
        struct muster__named *named = MUSTER_CONTAINER_OF(node, struct muster__named, node);
        struct scope_syncs *scope = MUSTER_CONTAINER_OF(named, struct scope_syncs, named);
        while (!muster__link_is_empty(&scope->syncs)) {
            struct sync *sync = MUSTER_CONTAINER_OF(scope->syncs.next, struct sync, link);
            muster__link_remove(&sync->link);
            free(sync);
        }
        muster__name_map_remove(&muster->syncs->scopes, named);
        free(scope);
    }
    muster__id_map_clean_up(&muster->syncs->scopes.map);
    free(muster->syncs->heap);
    free(muster->syncs);
    muster->syncs = NULL;
}
