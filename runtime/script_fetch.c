/* runtime/script_fetch.c - scripts from servers, from data: and blob: URLs; what is none of these is the loader's.
 *
 * Threads: see the header.  A fetch from a server is one transfer that is gathered; its listener, on the HTTP
 * client's thread, makes the script and tells.  The blocking kind waits on a condition for the same. */
#include "runtime/script_fetch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/check.h"
#include "runtime/loader_web.h"
#include "runtime/module_graph.h"

#define TIMEOUT_US 60000000
#define MOST_TEXT ((uint64_t)64 << 20)

struct fetch {
    struct muster__actor actor; /* of the kind that blocks a pool thread */
    struct muster__script_fetch_options options;
    char *url, *importer;
    muster__script_fetched_fn *done;
    void *user_data;
};

bool muster__is_http_url(const char *url)
{
    return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

bool muster__is_local_url(const char *url)
{
    return strncasecmp(url, "data:", 5) == 0 || strncasecmp(url, "blob:", 5) == 0;
}

void muster__fetched_script_clean_up(struct muster__fetched_script *fetched)
{
    muster__script_destroy(fetched->script);
    free(fetched->content_type);
    free(fetched->service_worker_allowed);
    free(fetched->allowed_origin);
    free(fetched->etag);
    free(fetched->last_modified);
    *fetched = (struct muster__fetched_script){0};
}

static enum muster_status refuse(struct muster_error *error, const char *url, const char *problem)
{
    muster_error_set(error, MUSTER_LOAD_FAILED, "cannot load \"%s\": %s", url, problem);
    return MUSTER_LOAD_FAILED;
}

static enum muster_status no_memory(struct muster_error *error, const char *url)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while loading %s", url);
    return MUSTER_NO_MEMORY;
}

/* ---- where to ---- */

static bool is_web(const char *url)
{
    return url != NULL && (muster__is_http_url(url) || muster__is_local_url(url));
}

/* *ret_url is what to ask for, or NULL: the loader knows its own way.  LOAD_FAILED: the importer may not have it. */
static enum muster_status find_url(const struct muster__script_fetch_options *options, char **ret_url,
                                   struct muster_error *error)
{
    const char *url = options->url, *importer = options->importer;
    bool embedded = options->loader->load != NULL; /* who may import what is its embedder's affair */
    if (is_web(url)) {
        if (muster__is_http_url(url) && importer != NULL && !is_web(importer) && !embedded)
            return refuse(error, url, "a script that comes from a file imports nothing from the network");
        *ret_url = muster__strdup(url);
        return *ret_url != NULL ? MUSTER_OK : no_memory(error, url);
    }
    if (!is_web(importer) || embedded) {
        *ret_url = NULL;
        return MUSTER_OK;
    }
    if (strncasecmp(url, "file:", 5) == 0)
        return refuse(error, url, "a script that comes from the web imports no files");
    *ret_url = muster__is_http_url(importer) ? muster__http_resolve(importer, url) : NULL;
    return *ret_url != NULL ? MUSTER_OK : refuse(error, url, "it is no URL that can be loaded from there");
}

/* ---- texts into scripts ---- */

static enum muster_status make_script(const struct muster__loader *loader, const char *url, const char *importer,
                                      struct muster_bytes text, struct muster__script **ret_script,
                                      struct muster_error *error)
{
    struct muster__script *script = calloc(1, sizeof *script);
    if (script != NULL) {
        script->url = muster__strdup(url);
        script->text = malloc(text.length + 1);
    }
    if (script == NULL || script->url == NULL || script->text == NULL) {
        muster__script_destroy(script);
        return no_memory(error, url);
    }
    memcpy(script->text, text.length > 0 ? text.data : "", text.length);
    script->text[text.length] = '\0';
    script->length = text.length;
    enum muster_status status = muster__loader_finish(loader, importer, script, error);
    if (status == MUSTER_OK)
        *ret_script = script;
    else
        muster__script_destroy(script);
    return status;
}

static bool is_lua(const char *url)
{
    size_t length = strcspn(url, "?#");
    return length > 4 && memcmp(url + length - 4, ".lua", 4) == 0;
}

/* ---- data: and blob: ---- */

static enum muster_status read_local(const struct muster__script_fetch_options *options, const char *url,
                                     struct muster__fetched_script *fetched, struct muster_error *error)
{
    enum muster_status status = MUSTER_INVALID_ARGUMENT;
    bool is_blob = strncasecmp(url, "blob:", 5) == 0;
    const struct muster__blob *blob = is_blob ? muster__blob_find(url) : muster__data_url_read(url, &status);
    if (blob == NULL)
        return status == MUSTER_NO_MEMORY ? no_memory(error, url)
                                          : refuse(error, url, is_blob ? "there is no such blob (any more)"
                                                                       : "it is no valid data: URL");
    status = blob->bytes.length > MOST_TEXT
                 ? refuse(error, url, "it is larger than 64 MiB")
                 : make_script(options->loader, url, options->importer, blob->bytes, &fetched->script, error);
    muster__blob_release(blob);
    return status;
}

/* ---- answers of servers ---- */

static bool copy_header(const struct muster__http_head *head, const char *name, char **ret_value)
{
    for (size_t i = 0; i < head->header_count; i++) {
        const struct muster_header *header = &head->headers[i];
        if (header->name.length != strlen(name) || strncasecmp(header->name.data, name, strlen(name)) != 0)
            continue;
        free(*ret_value); /* the last one counts */
        *ret_value = muster__strndup(header->value.data, header->value.length);
        if (*ret_value == NULL)
            return false;
    }
    return true;
}

/* Cache-Control (RFC 9111): 0 unless it says that it may be kept. */
static uint64_t max_age_us(const char *control)
{
    const char *age = control != NULL ? strcasestr(control, "max-age=") : NULL;
    if (age == NULL || strcasestr(control, "no-store") != NULL || strcasestr(control, "no-cache") != NULL)
        return 0;
    unsigned long long seconds = strtoull(age + strlen("max-age="), NULL, 10);
    return (seconds < 31536000 ? seconds : 31536000) * 1000000u; /* a year */
}

static bool copy_caching(const struct muster__http_head *head, struct muster__fetched_script *fetched)
{
    char *control = NULL;
    bool copied = copy_header(head, "etag", &fetched->etag) &&
                  copy_header(head, "last-modified", &fetched->last_modified) &&
                  copy_header(head, "cache-control", &control);
    fetched->max_age_us = max_age_us(control);
    free(control);
    return copied;
}

static enum muster_status take_answer(const struct muster__script_fetch_options *options,
                                      const struct muster__http_head *head, struct muster__fetched_script *fetched,
                                      struct muster_error *error)
{
    fetched->status = head->status;
    if (!copy_header(head, "content-type", &fetched->content_type) ||
        !copy_header(head, "access-control-allow-origin", &fetched->allowed_origin) ||
        !copy_header(head, "service-worker-allowed", &fetched->service_worker_allowed) ||
        !copy_caching(head, fetched))
        return no_memory(error, head->url);
    if (head->status < 200 || head->status > 299) {
        enum muster_status status = head->status == 404 || head->status == 410 ? MUSTER_NOT_FOUND : MUSTER_LOAD_FAILED;
        muster_error_set(error, status, "cannot load \"%s\": the server answered %d", head->url, head->status);
        return status;
    }
    if (!is_lua(head->url) &&
        (fetched->content_type == NULL || !muster__is_javascript_type(fetched->content_type))) {
        muster_error_set(error, MUSTER_LOAD_FAILED, "cannot load \"%s\": its type, \"%s\", is not that of JavaScript",
                         head->url, fetched->content_type != NULL ? fetched->content_type : "");
        if (error != NULL)
            error->name = muster__strdup("SecurityError");
        return MUSTER_LOAD_FAILED;
    }
    return make_script(options->loader, head->url, options->importer, head->bytes, &fetched->script, error);
}

static enum muster_status status_of(enum muster__http_problem problem)
{
    return problem == MUSTER__HTTP_TIMED_OUT   ? MUSTER_TIMED_OUT
           : problem == MUSTER__HTTP_NO_MEMORY ? MUSTER_NO_MEMORY
                                               : MUSTER_LOAD_FAILED;
}

static enum muster_status ask_server(const struct muster__script_fetch_options *options, const char *url,
                                     const struct muster__http_listener *listener, void *user_data,
                                     struct muster__http_transfer **ret_transfer, struct muster_error *error)
{
    struct muster_header *headers = calloc(options->header_count + 2, sizeof *headers);
    if (headers == NULL)
        return no_memory(error, url);
    headers[0] = (struct muster_header){{"accept", 6}, {"*/*", 3}};
    headers[1] = (struct muster_header){{"user-agent", 10}, {"muster/0.1", 10}};
    if (options->header_count > 0)
        memcpy(headers + 2, options->headers, options->header_count * sizeof *headers);
    const struct muster__http_options http = {
        .method = "GET", .url = url, .headers = headers, .header_count = options->header_count + 2,
        .redirect = options->refuse_redirects ? MUSTER__HTTP_ERROR
                    : options->importer == NULL ? MUSTER__HTTP_FOLLOW_WITHIN /* a worker is of its URL's origin */
                                                : MUSTER__HTTP_FOLLOW,
        .gather = true,
        .timeout_us = options->timeout_us != 0 ? options->timeout_us : TIMEOUT_US, .body_limit = MOST_TEXT,
        .listener = listener, .user_data = user_data,
    };
    enum muster_status status = muster__http_start(&http, ret_transfer, error);
    free(headers);
    if (status != MUSTER_OK && status != MUSTER_NO_MEMORY && error != NULL)
        status = error->status = MUSTER_LOAD_FAILED;
    return status;
}

/* ---- the blocking kind ---- */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    const struct muster__script_fetch_options *options;
    struct muster__fetched_script *fetched;
    struct muster_error *error;
    enum muster_status status;
};

static void finish_wait(struct wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    wait->done = true;
    pthread_cond_signal(&wait->changed); /* under the lock: its memory goes when the other one has seen it */
    pthread_mutex_unlock(&wait->lock);
}

static void wait_head(void *user_data, const struct muster__http_head *head)
{
    struct wait *wait = user_data;
    wait->status = take_answer(wait->options, head, wait->fetched, wait->error);
    finish_wait(wait);
}

static void wait_failed(void *user_data, enum muster__http_problem problem, const char *message)
{
    struct wait *wait = user_data;
    wait->status = status_of(problem);
    muster_error_set(wait->error, wait->status, "%s", message);
    finish_wait(wait);
}

static enum muster_status wait_for_server(const struct muster__script_fetch_options *options, const char *url,
                                          struct muster__fetched_script *fetched, struct muster_error *error)
{
    static const struct muster__http_listener listener = {wait_head, wait_failed};
    struct wait wait = {.options = options, .fetched = fetched, .error = error};
    struct muster__http_transfer *transfer = NULL;
    pthread_mutex_init(&wait.lock, NULL);
    pthread_cond_init(&wait.changed, NULL);
    enum muster_status status = ask_server(options, url, &listener, &wait, &transfer, error);
    if (status == MUSTER_OK) {
        pthread_mutex_lock(&wait.lock);
        while (!wait.done)
            pthread_cond_wait(&wait.changed, &wait.lock);
        pthread_mutex_unlock(&wait.lock);
        muster__http_cancel(transfer); /* it has ended; but its listener may not have returned */
        status = wait.status;
    }
    pthread_cond_destroy(&wait.changed);
    pthread_mutex_destroy(&wait.lock);
    return status;
}

/* A worker's own script, declared as a module, and from the web. */
static bool is_web_module(const struct muster__script_fetch_options *options, const char *url)
{
    return url != NULL && options->loader->module && !options->loader->is_plain && options->importer == NULL &&
           (options->loader->load == NULL || muster__is_local_url(url));
}

static bool is_import_of_module(const char *url)
{
    return strncmp(url, MUSTER__MODULE_MARK, strlen(MUSTER__MODULE_MARK)) == 0;
}

/* A module that a script imports while it runs: its address is absolute. */
static enum muster_status fetch_import(const struct muster__script_fetch_options *options,
                                       struct muster__fetched_script *ret_fetched, struct muster_error *error)
{
    struct muster__script_fetch_options module = *options;
    module.url += strlen(MUSTER__MODULE_MARK);
    if (!is_web(module.url))
        return refuse(error, module.url, "only modules from the web can be imported at run time");
    return muster__module_graph_fetch(&module, ret_fetched, error);
}

static bool has_blob(const char *url)
{
    const struct muster__blob *blob = muster__blob_find(url);
    muster__blob_release(blob);
    return blob != NULL;
}

/* The loader's function is asked for it: for all but what is local, and for blobs of another process. */
static bool is_loaders(const struct muster__loader *loader, const char *url)
{
    bool is_elsewhere = loader->is_proxy && strncasecmp(url, "blob:", 5) == 0 && !has_blob(url);
    return loader->load != NULL && (!muster__is_local_url(url) || is_elsewhere);
}

/* The other process has the worker's own script, and makes modules out of what it fetches. */
static bool is_asked_for(const struct muster__script_fetch_options *options)
{
    return options->loader->is_proxy && (options->importer == NULL || is_import_of_module(options->url));
}

enum muster_status muster__script_fetch_now(const struct muster__script_fetch_options *options,
                                            struct muster__fetched_script *ret_fetched, struct muster_error *error)
{
    struct muster__fetched_script fetched = {0};
    char *url = NULL;
    if (is_import_of_module(options->url) && !options->loader->is_proxy)
        return fetch_import(options, ret_fetched, error);
    enum muster_status status = is_asked_for(options) ? MUSTER_OK : find_url(options, &url, error);
    if (status != MUSTER_OK)
        return status;
    if (is_web_module(options, url)) {
        struct muster__script_fetch_options module = *options;
        module.url = url;
        status = muster__module_graph_fetch(&module, ret_fetched, error);
        free(url);
        return status;
    }
    if (url == NULL || is_loaders(options->loader, url))
        status = muster__loader_load_own(options->loader, options->url, options->importer, &fetched.script, error);
    else if (muster__is_local_url(url))
        status = read_local(options, url, &fetched, error);
    else
        status = wait_for_server(options, url, &fetched, error);
    free(url);
    if (status == MUSTER_OK)
        *ret_fetched = fetched;
    else
        muster__fetched_script_clean_up(&fetched);
    return status;
}

/* ---- the kind that does not ---- */

static void fetch_destroy(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->options.header_count && fetch->options.headers != NULL; i++) {
        free((char *)(uintptr_t)fetch->options.headers[i].name.data);
        free((char *)(uintptr_t)fetch->options.headers[i].value.data);
    }
    free((struct muster_header *)(uintptr_t)fetch->options.headers);
    free(fetch->url);
    free(fetch->importer);
    free(fetch);
}

static void tell(struct fetch *fetch, enum muster_status status, struct muster__fetched_script *fetched,
                 struct muster_error *error)
{
    fetch->done(fetch->user_data, status, fetched, status == MUSTER_OK ? NULL : error);
    muster__fetched_script_clean_up(fetched);
    muster_error_clean_up(error);
    fetch_destroy(fetch);
}

static void told_head(void *user_data, const struct muster__http_head *head)
{
    struct fetch *fetch = user_data;
    struct muster__fetched_script fetched = {0};
    struct muster_error error = {0};
    enum muster_status status = take_answer(&fetch->options, head, &fetched, &error);
    tell(fetch, status, &fetched, &error);
}

static void told_failed(void *user_data, enum muster__http_problem problem, const char *message)
{
    struct muster__fetched_script fetched = {0};
    struct muster_error error = {0};
    muster_error_set(&error, status_of(problem), "%s", message);
    fetched.was_redirected = problem == MUSTER__HTTP_REDIRECTS;
    tell(user_data, status_of(problem), &fetched, &error);
}

static bool run_fetch(struct muster__actor *actor)
{
    struct fetch *fetch = MUSTER_CONTAINER_OF(actor, struct fetch, actor);
    struct muster__fetched_script fetched = {0};
    struct muster_error error = {0};
    enum muster_status status = muster__script_fetch_now(&fetch->options, &fetched, &error);
    fetch->done(fetch->user_data, status, &fetched, status == MUSTER_OK ? NULL : &error);
    muster__fetched_script_clean_up(&fetched);
    muster_error_clean_up(&error);
    return false;
}

static void release_fetch(struct muster__actor *actor)
{
    fetch_destroy(MUSTER_CONTAINER_OF(actor, struct fetch, actor));
}

static bool copy_bytes(struct muster_bytes *to, struct muster_bytes from)
{
    char *copy = muster__strndup(from.data, from.length);
    *to = (struct muster_bytes){copy, copy != NULL ? from.length : 0};
    return copy != NULL;
}

static bool copy_headers(struct fetch *fetch, const struct muster__script_fetch_options *options)
{
    struct muster_header *headers = calloc(options->header_count + 1, sizeof *headers);
    fetch->options.headers = headers;
    for (size_t i = 0; headers != NULL && i < options->header_count; i++)
        if (!copy_bytes(&headers[i].name, options->headers[i].name) ||
            !copy_bytes(&headers[i].value, options->headers[i].value))
            return false;
    return headers != NULL;
}

static struct fetch *fetch_new(const struct muster__script_fetch_options *options, muster__script_fetched_fn *done,
                               void *user_data)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL)
        return NULL;
    muster__actor_init(&fetch->actor, run_fetch);
    fetch->actor.release = release_fetch;
    fetch->options = *options;
    fetch->options.url = fetch->url = muster__strdup(options->url);
    fetch->options.importer = fetch->importer = muster__strdup(options->importer);
    fetch->done = done;
    fetch->user_data = user_data;
    bool copied = copy_headers(fetch, options) && fetch->url != NULL &&
                  (fetch->importer != NULL || options->importer == NULL);
    if (copied)
        return fetch;
    fetch_destroy(fetch);
    return NULL;
}

/* From a server, without blocking anything.  False: the other way. */
static bool try_server(struct fetch *fetch)
{
    static const struct muster__http_listener listener = {told_head, told_failed};
    struct muster__http_transfer *transfer = NULL;
    char *url = NULL;
    bool sent = fetch->options.loader->load == NULL && !is_import_of_module(fetch->url) &&
                find_url(&fetch->options, &url, NULL) == MUSTER_OK &&
                url != NULL && muster__is_http_url(url) && !is_web_module(&fetch->options, url) &&
                ask_server(&fetch->options, url, &listener, fetch, &transfer, NULL) == MUSTER_OK;
    if (sent)
        muster__http_release(transfer);
    free(url);
    return sent;
}

enum muster_status muster__script_fetch(const struct muster__script_fetch_options *options,
                                        muster__script_fetched_fn *done, void *user_data)
{
    MUSTER_CHECK(options->loader != NULL && options->pool != NULL && options->url != NULL);
    struct fetch *fetch = fetch_new(options, done, user_data);
    if (fetch == NULL)
        return MUSTER_NO_MEMORY;
    if (!try_server(fetch)) /* what fails there fails here as well, and says why in its turn */
        muster__pool_schedule(options->pool, &fetch->actor);
    return MUSTER_OK;
}
