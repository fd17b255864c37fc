/* examples/embed_native.c - a worker in C, and a host binding whose promise is settled by another thread.
 *
 * Scope "/store/" is a native worker: C functions of this program behind the same life cycle as a script's.
 * Scope "/" is a script (its text is in this file, the loader gives it) that calls `archive.find(key)`,
 * which this program gives to scripts.  The archive is slow, so the binding only notes the call and
 * returns: the script has a promise, the thread of the archive ends the call later.
 * cc embed_native.c $(pkg-config --cflags --libs muster) -pthread */
#include <muster/muster.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the native worker ---- */

struct store {
    unsigned served;
};

static enum muster_status store_start(struct muster_native *worker, void **ret_state,
                                      struct muster_error *error)
{
    struct store *store = calloc(1, sizeof *store);
    (void)worker;
    (void)error;
    if (!store)
        return MUSTER_NO_MEMORY;
    *ret_state = store;
    return MUSTER_OK;
}

static void store_stop(struct muster_native *worker, void *state)
{
    (void)worker;
    free(state);
}

static void store_fetch(struct muster_native *worker, struct muster_event *event, void *state)
{
    struct store *store = state;
    const struct muster_bytes url = muster_event_request(event)->url;
    char text[256];
    int length = snprintf(text, sizeof text, "request %u of C was %.*s", ++store->served, (int)url.length,
                          url.data);
    const struct muster_http_response response = {
        .status_code = 200,
        .body = { text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1 },
    };
    if (muster_event_respond(event, &response) != MUSTER_OK)
        muster_native_log(worker, MUSTER_LOG_WARNING, "nobody waits for %.*s any more",
                          (int)url.length, url.data);
}

/* Holds the event open until the timer fires. */
static void stocktaking_done(struct muster_native *worker, void *state, void *timer_data)
{
    struct store *store = state;
    struct muster_event *event = timer_data;
    (void)worker;
    muster_event_return(event, muster_value_new_number(store->served));
    muster_event_done(event);
}

static void store_count(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)state;
    if (muster_event_wait_until(event, "stocktaking") != MUSTER_OK) {
        muster_event_throw(event, "Error", "out of memory");
    } else if (muster_native_set_timer(worker, 5, false, stocktaking_done, event) == 0) {
        muster_event_throw(event, "Error", "no timer");
        muster_event_done(event);
    }
}

static const struct muster_native_entry store_events[] = { { "fetch", store_fetch } };
static const struct muster_native_entry store_functions[] = { { "count", store_count } };
static const struct muster_native_worker store_worker = {
    .size = sizeof store_worker,
    .start = store_start,
    .stop = store_stop,
    .events = store_events,
    .event_count = 1,
    .functions = store_functions,
    .function_count = 1,
};

/* ---- the script and its loader ---- */

static const char script[] = "async function shelfOf(key) {\n"
                             "    const found = await archive.find(key);\n"
                             "    return `${key} is on shelf ${found.shelf}`;\n"
                             "}\n";

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)user_data;
    if (strcmp(url, "builtin:shelves.js") != 0) {
        muster_error_set(error, MUSTER_NOT_FOUND, "there is no script %s in this program", url);
        return MUSTER_NOT_FOUND;
    }
    ret_loaded->text = strdup(script);
    ret_loaded->length = sizeof script - 1;
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

/* ---- the binding: calls go to the archive's thread ---- */

struct archive {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct muster_host_call *asked[16];
    size_t count;
    bool quit;
};

/* Thread: the worker's.  Too many at once is an error that the script can catch. */
static void archive_find(struct muster_host_call *call, void *user_data)
{
    struct archive *archive = user_data;
    pthread_mutex_lock(&archive->lock);
    bool room = archive->count < sizeof archive->asked / sizeof *archive->asked;
    if (room)
        archive->asked[archive->count++] = call;
    pthread_cond_signal(&archive->wake);
    pthread_mutex_unlock(&archive->lock);
    if (!room)
        muster_host_call_throw(call, "RangeError", "the archive is busy");
}

static void look_up(struct muster_host_call *call)
{
    const struct muster_bytes key = muster_value_bytes(muster_host_call_argument(call, 0));
    struct muster_value *found = key.length ? muster_value_new_object() : NULL;
    if (!found) {
        muster_host_call_throw(call, "TypeError", "find() wants a key");
    } else if (muster_value_put(found, "shelf", muster_value_new_number((double)key.length)) != MUSTER_OK) {
        muster_value_release(found);
        muster_host_call_throw(call, "Error", "out of memory");
    } else {
        muster_host_call_return(call, found);
    }
}

/* A call that came in is ended, also while the program is closing: that is the binding's promise. */
static void *archive_main(void *user_data)
{
    struct archive *archive = user_data;
    pthread_mutex_lock(&archive->lock);
    while (!archive->quit || archive->count) {
        if (!archive->count) {
            pthread_cond_wait(&archive->wake, &archive->lock);
            continue;
        }
        struct muster_host_call *call = archive->asked[--archive->count];
        pthread_mutex_unlock(&archive->lock);
        look_up(call);
        pthread_mutex_lock(&archive->lock);
    }
    pthread_mutex_unlock(&archive->lock);
    return NULL;
}

/* ---- the program ---- */

/* Waits for what was asked, prints it, lets go of it.  `status` is what the asking call answered; the
 * handle comes by its address, since that call fills it while the arguments are put together. */
static int finish(const char *what, enum muster_status status, struct muster_handle **take_handle)
{
    struct muster_result result = { .status = status };
    if (status == MUSTER_OK && (status = muster_wait(*take_handle, 10000, &result)) != MUSTER_OK)
        result = (struct muster_result){ .status = status };
    char *json = result.value ? muster_value_to_json(result.value) : NULL;
    printf("%s: %s", what, muster_status_sentence(result.status));
    if (result.response)
        printf(": %.*s", (int)result.response->body.length, result.response->body.data);
    printf("%s%s", json ? ": " : "", json ? json : "");
    printf("%s%s\n", result.error && result.error->message ? ": " : "",
           result.error && result.error->message ? result.error->message : "");
    free(json);
    muster_handle_release(*take_handle);
    *take_handle = NULL;
    return result.status != MUSTER_OK;
}

static int use(struct muster *muster)
{
    const char *url = "http://localhost/store/7";
    const struct muster_http_request request = { .method = { "GET", 3 }, .url = { url, strlen(url) } };
    const struct muster_registration_options store = {
        .size = sizeof store, .scope = "/store/", .native = &store_worker
    };
    const struct muster_registration_options shelves = {
        .size = sizeof shelves, .scope = "/", .script = "builtin:shelves.js"
    };
    struct muster_handle *handle = NULL;
    struct muster_value *arguments = NULL;

    int failed = finish("register /store/", muster_register(muster, &store, NULL, NULL, &handle), &handle);
    failed |= finish("register /", muster_register(muster, &shelves, NULL, NULL, &handle), &handle);
    if (failed)
        return failed;
    failed |= finish("fetch", muster_fetch(muster, &request, NULL, NULL, NULL, &handle), &handle);
    enum muster_status status = muster_call(muster, "/store/", "count", NULL, NULL, NULL, NULL, &handle);
    failed |= finish("count", status, &handle);
    status = muster_value_from_json("[\"herodotus\"]", 13, &arguments, NULL);
    if (status == MUSTER_OK)
        status = muster_call(muster, "/", "shelfOf", arguments, NULL, NULL, NULL, &handle);
    return failed | finish("shelfOf", status, &handle);
}

int main(void)
{
    struct archive archive = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
    struct muster_bindings *bindings = muster_bindings_new();
    struct muster_error error = { 0 };
    struct muster *muster = NULL;
    pthread_t thread;
    if (!bindings || pthread_create(&thread, NULL, archive_main, &archive) != 0)
        return 2;
    struct muster_options options = { .size = sizeof options, .load = load, .bindings = bindings };
    enum muster_status status =
        muster_bindings_add_function(bindings, "archive.find", archive_find, &archive, NULL);
    if (status == MUSTER_OK)
        status = muster_new(&options, &muster, &error);
    int failed = status != MUSTER_OK;
    if (failed)
        fprintf(stderr, "%s\n", error.message ? error.message : muster_status_sentence(status));
    else
        failed = use(muster);
    muster_destroy(muster);
    muster_error_clean_up(&error);
    muster_bindings_release(bindings);

    pthread_mutex_lock(&archive.lock);
    archive.quit = true;
    pthread_cond_signal(&archive.wake);
    pthread_mutex_unlock(&archive.lock);
    pthread_join(thread, NULL);
    return failed;
}
