/* coordinator/registrations_load.c - brings the script of a job, and finds out whether it is a new one ("Update",
 * SW-UPD-2 to SW-UPD-5).  See registrations.h.
 *
 * The fetch runs where script_fetch.h says.  What came is judged in a turn of the pool, which may block, for the
 * imports of a script that is the same as before are fetched there, one after the other; then the coordinator hears.
 * A load outlives whoever asked for it, even the instance: on the way back it looks, under its lock, whether somebody
 * is there still.
 *
 * References: its maker's, and one for what is on its way: the fetch, the turn, the message. */
#include "coordinator/registrations.h"
#include "coordinator/script_map.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/http_client.h"
#include "runtime/script_fetch.h"

#define NOT_MODIFIED 304
#define HEADERS_MOST 5

struct muster__load {
    atomic_uint references;
    struct muster__actor actor;
    struct muster__message message;
    uint64_t job;
    struct muster__version *draft, *base;
    bool asks_for_script, asks_for_imports; /* whatever a server said of how long they may be kept */
    muster__load_ended_fn *ended;

    pthread_mutex_t lock;
    struct muster *muster; /* NULL: it was left */

    /* Written by what is on its way, one at a time. */
    struct muster__mapped_script known; /* the script that `base` runs; empty: another one, or not known */
    bool is_known;                      /* it is that one: its server was not asked, or said so */
    bool is_cached;                     /* and was not asked */
    struct muster__fetched_script fetched;
    enum muster_status status;
    struct muster_error error;
    bool changed;
    uint64_t checked_us;
};

/* ---- life ---- */

void muster__load_release(struct muster__load *load)
{
    if (!load || atomic_fetch_sub(&load->references, 1) != 1)
        return;
    muster__mapped_script_clean_up(&load->known);
    muster__fetched_script_clean_up(&load->fetched);
    muster_error_clean_up(&load->error);
    muster__version_release(load->draft);
    muster__version_release(load->base);
    pthread_mutex_destroy(&load->lock);
    free(load);
}

static struct muster__load *of_actor(struct muster__actor *actor)
{
    return MUSTER_CONTAINER_OF(actor, struct muster__load, actor);
}

static void actor_acquire(struct muster__actor *actor)
{
    atomic_fetch_add(&of_actor(actor)->references, 1);
}

static void actor_release(struct muster__actor *actor)
{
    muster__load_release(of_actor(actor));
}

static bool judge_turn(struct muster__actor *actor);
static void run_ended(struct muster__message *message, struct muster *muster);

struct muster__load *muster__load_new(struct muster *muster, uint64_t job, struct muster__version *draft,
                                      struct muster__version *base, enum muster__via via, bool stale)
{
    struct muster__load *load = calloc(1, sizeof(*load));
    if (!load)
        return NULL;
    atomic_init(&load->references, 1);
    muster__actor_init(&load->actor, judge_turn);
    load->actor.acquire = actor_acquire;
    load->actor.release = actor_release;
    load->message.run = run_ended;
    load->job = job;
    load->muster = muster;
    load->draft = muster__version_acquire(draft);
    load->base = base ? muster__version_acquire(base) : NULL;
    load->asks_for_script = via != MUSTER__VIA_ALL || stale;
    load->asks_for_imports = via == MUSTER__VIA_NONE || stale;
    pthread_mutex_init(&load->lock, NULL);
    return load;
}

uint64_t muster__load_job(const struct muster__load *load)
{
    return load->job;
}

struct muster__version *muster__load_draft(const struct muster__load *load)
{
    return load->draft;
}

void muster__load_leave(struct muster__load *load)
{
    pthread_mutex_lock(&load->lock);
    load->muster = NULL;
    pthread_mutex_unlock(&load->lock);
}

static bool is_left(struct muster__load *load)
{
    pthread_mutex_lock(&load->lock);
    bool left = !load->muster;
    pthread_mutex_unlock(&load->lock);
    return left;
}

/* ---- what came ---- */

static void fail(struct muster__load *load, const char *name, const char *format, const char *detail)
{
    load->status = MUSTER_LOAD_FAILED;
    muster_error_set(&load->error, MUSTER_LOAD_FAILED, format, load->draft->script, detail);
    load->error.name = muster__strdup(name);
}

/* "/a/b?c" of "https://example.org/a/b?c"; of what is none, all of it. */
static const char *path_of(const char *url)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    return path ? path : host ? "/" : url;
}

static bool is_same_origin(const char *a, const char *b)
{
    size_t length = (size_t)(path_of(a) - a);
    return length == (size_t)(path_of(b) - b) && strncmp(a, b, length) == 0;
}

/* The path that the scope must begin with: what the server allows, else the script's folder.  NULL: out of memory,
 * or there is none, and then the load has failed. */
static char *find_cap(struct muster__load *load)
{
    const char *script = load->draft->script, *allowed = load->fetched.service_worker_allowed;
    if (!allowed) {
        const char *path = path_of(script);
        size_t length = strcspn(path, "?#");
        while (length && path[length - 1] != '/')
            length--;
        return muster__strndup(path, length);
    }
    char *url = muster__http_resolve(script, allowed);
    if (!url) {
        fail(load, "TypeError", "%s: its Service-Worker-Allowed, \"%s\", is no URL", allowed);
        return NULL;
    }
    if (!is_same_origin(url, script)) {
        fail(load, "SecurityError", "%s: its Service-Worker-Allowed, \"%s\", is of another origin", allowed);
        free(url);
        return NULL;
    }
    const char *path = path_of(url);
    char *cap = muster__strndup(path, strcspn(path, "?#"));
    free(url);
    return cap;
}

/* SW-UPD-4.  What the embedder registers it may register anywhere; what is known was allowed this scope. */
static bool check_scope(struct muster__load *load)
{
    if (!load->draft->keeps_scripts || load->is_known)
        return true;
    char *cap = find_cap(load);
    if (!cap && load->status == MUSTER_OK)
        load->status = MUSTER_NO_MEMORY;
    if (cap && strncmp(path_of(load->draft->scope), cap, strlen(cap)) != 0)
        fail(load, "SecurityError", "%s: the path of the scope does not begin with \"%s\"; the script's server can allow "
                                    "more with a Service-Worker-Allowed header", cap);
    free(cap);
    return load->status == MUSTER_OK;
}

static bool are_equal(const struct muster__script *a, const struct muster__script *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}

static bool names_same_script(const struct muster__load *load)
{
    const struct muster__version *base = load->base, *draft = load->draft;
    return base && strcmp(base->script, draft->script) == 0 && base->loader.module == draft->loader.module;
}

/* What the version it is compared with runs; with a reference.  NULL: it has not run yet. */
static struct muster__script *script_of(const struct muster__version *version)
{
    struct muster__script *stored = atomic_load(&version->stored);
    if (!stored && version->map)
        return muster__script_map_find(version->map, version->script);
    if (stored)
        muster__script_acquire(stored);
    return stored;
}

/* One that has not run yet has no script of its own: it will be loaded when it runs. */
static bool is_same_script(const struct muster__load *load)
{
    const struct muster__version *base = load->base;
    if (!names_same_script(load))
        return false;
    struct muster__script *script = script_of(base);
    bool same = !script || !script->text || are_equal(script, load->fetched.script);
    muster__script_destroy(script);
    return same;
}

/* ---- imports ---- */

struct imports {
    struct muster__mapped_script *list;
    size_t count, capacity;
    const char *main; /* URL of the version's own */
    bool failed;
};

static void see_import(const struct muster__mapped_script *mapped, void *user_data)
{
    struct imports *imports = user_data;
    if (strcmp(mapped->url, imports->main) == 0 || imports->failed)
        return;
    if (imports->count == imports->capacity) {
        size_t capacity = imports->capacity ? imports->capacity * 2 : 16;
        struct muster__mapped_script *list = realloc(imports->list, capacity * sizeof(*list));
        imports->failed = !list;
        if (!list)
            return;
        imports->list = list;
        imports->capacity = capacity;
    }
    imports->failed = !muster__mapped_script_copy(&imports->list[imports->count], mapped);
    if (!imports->failed)
        imports->list[imports->count++].is_used = false;
}

static void forget_imports(struct imports *imports)
{
    for (size_t i = 0; i < imports->count; i++)
        muster__mapped_script_clean_up(&imports->list[i]);
    free(imports->list);
}

static void add(struct muster__load *load, const struct muster__mapped_script *mapped)
{
    if (muster__script_map_add(load->draft->map, mapped) != MUSTER_OK)
        load->status = MUSTER_NO_MEMORY;
}

static bool may_keep(const struct muster__load *load, const struct muster__mapped_script *import)
{
    return !load->asks_for_imports && import->fresh_until_us > muster__wall_us();
}

/* One that does not come is as it was.  All of them are fetched: a new version finds them there, or does not. */
static void look_at_import(struct muster__load *load, const struct muster__mapped_script *import)
{
    const struct muster__script_fetch_options options = {
        .loader = muster__script_map_inner(load->draft->map),
        .url = import->url,
        .importer = load->fetched.script->url,
    };
    struct muster__fetched_script fetched = {0};
    struct muster_error ignored = {0};
    if (muster__script_fetch_now(&options, &fetched, &ignored) == MUSTER_OK && fetched.script->text) {
        const struct muster__mapped_script mapped = muster__script_map_entry(import->url, &fetched);
        if (are_equal(fetched.script, import->script))
            muster__script_map_check(load->base->map, import->url, mapped.checked_us, mapped.fresh_until_us);
        else
            load->changed = true;
        add(load, &mapped);
    } else if (muster__script_map_miss(load->draft->map, import->url) != MUSTER_OK) {
        load->status = MUSTER_NO_MEMORY;
    }
    muster__fetched_script_clean_up(&fetched);
    muster_error_clean_up(&ignored);
}

/* SW-UPD-5.  Those of another script are not compared; one that may be kept needs no question. */
static void look_at_imports(struct muster__load *load)
{
    bool compares = !load->changed;
    struct imports imports = {.main = load->base->script};
    muster__script_map_each(load->base->map, see_import, &imports);
    if (imports.failed)
        load->status = MUSTER_NO_MEMORY;
    for (size_t i = 0; i < imports.count && load->status == MUSTER_OK && !is_left(load); i++) {
        if (may_keep(load, &imports.list[i]))
            add(load, &imports.list[i]);
        else if (compares)
            look_at_import(load, &imports.list[i]);
    }
    forget_imports(&imports);
}

/* ---- the verdict ---- */

/* The draft runs what came. */
static void keep_script(struct muster__load *load)
{
    struct muster__version *draft = load->draft;
    struct muster__script *script = load->fetched.script;
    struct muster__mapped_script mapped =
        load->is_known ? load->known : muster__script_map_entry(draft->script, &load->fetched);
    mapped.is_used = true;
    if (draft->map && muster__script_map_add(draft->map, &mapped) != MUSTER_OK) {
        load->status = MUSTER_NO_MEMORY;
        return;
    }
    load->fetched.script = NULL;
    atomic_store(&draft->stored, script);
}

static void judge(struct muster__load *load)
{
    if (!load->fetched.script->text && !load->fetched.script->native) {
        load->status = MUSTER_LOAD_FAILED;
        return;
    }
    load->checked_us = load->is_cached ? 0 : muster__wall_us();
    if (!check_scope(load))
        return;
    load->changed = !is_same_script(load);
    if (load->base && load->base->map && load->draft->map)
        look_at_imports(load);
    if (!load->changed && load->base->map && !load->is_cached)
        muster__script_map_check(load->base->map, load->base->script, load->checked_us,
                                 load->fetched.max_age_us ? load->checked_us + load->fetched.max_age_us : 0);
    if (load->status == MUSTER_OK && load->changed)
        keep_script(load);
}

/* To the coordinator, if it is there still; with the reference of what is on its way. */
static void post_ended(struct muster__load *load)
{
    pthread_mutex_lock(&load->lock);
    struct muster *muster = load->muster;
    if (muster)
        (void)muster__coordinator_post(muster, &load->message);
    pthread_mutex_unlock(&load->lock);
    if (!muster)
        muster__load_release(load);
}

static bool judge_turn(struct muster__actor *actor)
{
    struct muster__load *load = of_actor(actor);
    if (load->status == MUSTER_OK && !is_left(load))
        judge(load);
    post_ended(load);
    return false;
}

static void take_known(struct muster__load *load)
{
    muster__script_destroy(load->fetched.script);
    load->fetched.script = load->known.script;
    muster__script_acquire(load->known.script);
    load->is_known = true;
    load->status = MUSTER_OK;
}

static void fetched(void *user_data, enum muster_status status, struct muster__fetched_script *fetched,
                    const struct muster_error *error)
{
    struct muster__load *load = user_data;
    load->fetched = *fetched;
    *fetched = (struct muster__fetched_script){0};
    if (load->fetched.status == NOT_MODIFIED && load->known.script) {
        take_known(load);
        error = NULL;
    } else {
        load->status = status;
    }
    if (error)
        muster_error_copy(&load->error, error);
    if (error && load->fetched.was_redirected && !names_same_script(load) && !load->error.name)
        load->error.name = muster__strdup("SecurityError"); /* what is registered already only fails to come */
    pthread_mutex_lock(&load->lock);
    struct muster *muster = load->muster;
    if (muster)
        muster__pool_schedule(muster->pool, &load->actor); /* under the lock: the pool outlives who leaves it */
    pthread_mutex_unlock(&load->lock);
    if (!muster)
        muster__load_release(load);
}

static struct muster_header header(const char *name, const char *value)
{
    return (struct muster_header){{name, strlen(name)}, {value, strlen(value)}};
}

/* SW-UPD-2: a cache on the way asks its server, and a server need not send again what is known. */
static size_t make_headers(const struct muster__load *load, struct muster_header headers[HEADERS_MOST])
{
    size_t count = 0;
    headers[count++] = header("service-worker", "script");
    headers[count++] = header("sec-fetch-mode", "same-origin");
    headers[count++] = header("sec-fetch-dest", "serviceworker");
    if (load->asks_for_script)
        headers[count++] = header("cache-control", "max-age=0");
    if (load->known.etag)
        headers[count++] = header("if-none-match", load->known.etag);
    else if (load->known.last_modified)
        headers[count++] = header("if-modified-since", load->known.last_modified);
    return count;
}

/* Thread: coordinator.  True: what is known will do.  A module is kept as one with what it imports, of which its own
 * server knows nothing. */
static bool look_at_known(struct muster__load *load)
{
    if (!names_same_script(load) || load->draft->loader.module || !load->base->map || !load->draft->map ||
        !muster__script_map_peek(load->base->map, load->base->script, &load->known))
        return false;
    if (load->known.script->is_module) {
        muster__mapped_script_clean_up(&load->known);
        return false;
    }
    return !load->asks_for_script && load->known.fresh_until_us > muster__wall_us();
}

enum muster_status muster__load_start(struct muster__load *load, muster__load_ended_fn *ended)
{
    const struct muster__version *draft = load->draft;
    load->ended = ended;
    atomic_fetch_add(&load->references, 1); /* of what is on its way */
    load->is_cached = look_at_known(load);
    if (load->is_cached) {
        take_known(load);
        muster__pool_schedule(load->muster->pool, &load->actor);
        return MUSTER_OK;
    }
    struct muster_header headers[HEADERS_MOST];
    const struct muster__script_fetch_options options = {
        .loader = draft->map ? muster__script_map_inner(draft->map) : &draft->loader,
        .pool = load->muster->pool,
        .url = draft->script,
        .headers = headers,
        .header_count = make_headers(load, headers),
        .refuse_redirects = true,
    };
    enum muster_status status = muster__script_fetch(&options, fetched, load);
    if (status != MUSTER_OK)
        atomic_fetch_sub(&load->references, 1);
    return status;
}

static void run_ended(struct muster__message *message, struct muster *muster)
{
    struct muster__load *load = MUSTER_CONTAINER_OF(message, struct muster__load, message);
    const struct muster__load_outcome outcome = {
        .status = load->status,
        .error = load->error.message ? &load->error : NULL,
        .changed = load->changed,
        .checked_us = load->checked_us,
    };
    if (!is_left(load))
        load->ended(muster, load, &outcome);
    muster__load_release(load);
}

void muster__load_drop_message(struct muster__message *message)
{
    if (message->run == run_ended)
        muster__load_release(MUSTER_CONTAINER_OF(message, struct muster__load, message));
}
