/* tests/fake_realm_host.c - see the header. */
#include "tests/fake_realm_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPEN_CALLS 64

static struct fake_host *of(struct muster__worker *worker)
{
    return (struct fake_host *)(void *)worker;
}

static struct muster__worker *as_worker(struct fake_host *host)
{
    return (struct muster__worker *)(void *)host;
}

/* Grows by one; a test has memory, or fails at once. */
static void *grow(void *array, size_t count, size_t size)
{
    void *longer = realloc(array, (count + 1) * size);
    MUSTER_CHECK(longer != NULL);
    memset((char *)longer + count * size, 0, size);
    return longer;
}

static void append(char **text, const char *more, size_t length)
{
    size_t old = *text != NULL ? strlen(*text) : 0;
    char *longer = realloc(*text, old + length + 1);
    MUSTER_CHECK(longer != NULL);
    memcpy(longer + old, more, length);
    longer[old + length] = '\0';
    *text = longer;
}

/* ---- what the script says ---- */

static void host_console(struct muster__worker *worker, enum muster_log_level level,
                         const char *text, size_t length)
{
    static const char *const names[] = {"error ", "warning ", "info ", "debug "};
    struct fake_host *host = of(worker);
    append(&host->console, names[level], strlen(names[level]));
    append(&host->console, text, length);
    append(&host->console, "\n", 1);
}

static void host_report(struct muster__worker *worker, const struct muster_error *error)
{
    struct fake_host *host = of(worker);
    host->reports = grow(host->reports, host->report_count, sizeof *host->reports);
    muster_error_copy(&host->reports[host->report_count++], error);
}

static void host_skip_waiting(struct muster__worker *worker)
{
    of(worker)->skip_waiting_count++;
}

static void host_close(struct muster__worker *worker)
{
    of(worker)->close_count++;
}

/* ---- timers: a heap ---- */

static bool is_before(const struct fake_timer *a, const struct fake_timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void swap_timers(struct fake_timer *a, struct fake_timer *b)
{
    struct fake_timer timer = *a;
    *a = *b;
    *b = timer;
}

static void sift_down(struct fake_host *host, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < host->timer_count && is_before(&host->timers[child], &host->timers[least]))
                least = child;
        if (least == at)
            return;
        swap_timers(&host->timers[at], &host->timers[least]);
        at = least;
    }
}

static void push_timer(struct fake_host *host, struct fake_timer timer)
{
    if (host->timer_count == host->timer_capacity) {
        host->timer_capacity = host->timer_capacity * 2 + 8;
        host->timers = realloc(host->timers, host->timer_capacity * sizeof *host->timers);
        MUSTER_CHECK(host->timers != NULL);
    }
    timer.sequence = ++host->next_sequence;
    size_t at = host->timer_count++;
    host->timers[at] = timer;
    for (; at > 0 && is_before(&host->timers[at], &host->timers[(at - 1) / 2]); at = (at - 1) / 2)
        swap_timers(&host->timers[at], &host->timers[(at - 1) / 2]);
}

static struct fake_timer pop_timer(struct fake_host *host)
{
    struct fake_timer timer = host->timers[0];
    host->timers[0] = host->timers[--host->timer_count];
    sift_down(host, 0);
    return timer;
}

static uint32_t host_timer_set(struct muster__worker *worker, uint64_t delay_us, bool repeat)
{
    struct fake_host *host = of(worker);
    struct fake_timer timer = {.id = ++host->next_id,
                               .repeats = repeat,
                               .at_us = host->now_us + delay_us,
                               .period_us = delay_us};
    push_timer(host, timer);
    return timer.id;
}

static void host_timer_clear(struct muster__worker *worker, uint32_t id)
{
    struct fake_host *host = of(worker);
    for (size_t i = 0; i < host->timer_count; i++) {
        if (host->timers[i].id != id)
            continue;
        host->timers[i] = host->timers[--host->timer_count];
        for (size_t at = host->timer_count / 2 + 1; at-- > 0;)
            sift_down(host, at);
        return;
    }
}

static uint64_t host_now_us(struct muster__worker *worker)
{
    return of(worker)->now_us;
}

/* ---- endings ---- */

static void host_settle(struct muster__worker *worker, struct muster__request *request,
                        const struct muster__outcome *outcome)
{
    (void)worker;
    muster__request_settle(request, outcome);
}

static void host_ended(struct muster__worker *worker, struct muster__request *request)
{
    (void)worker;
    MUSTER_CONTAINER_OF(request, struct fake_request, request)->ended++;
}

static void keep_response(struct fake_request *fake, const struct muster_http_response *response)
{
    fake->status_code = response->status_code;
    append(&fake->headers, "", 0);
    for (size_t i = 0; i < response->header_count; i++) {
        append(&fake->headers, response->headers[i].name.data, response->headers[i].name.length);
        append(&fake->headers, ": ", 2);
        append(&fake->headers, response->headers[i].value.data, response->headers[i].value.length);
        append(&fake->headers, "\n", 1);
    }
    fake->body = muster__strndup(response->body.data != NULL ? response->body.data : "",
                                 response->body.length);
    fake->body_length = response->body.length;
    if (response->body_stream != NULL)
        fake->stream = muster_stream_acquire(response->body_stream);
}

static void request_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct fake_request *fake = MUSTER_CONTAINER_OF(request, struct fake_request, request);
    fake->settled++;
    fake->status = outcome->status;
    if (outcome->response != NULL)
        keep_response(fake, outcome->response);
    if (outcome->value != NULL)
        fake->value = muster_value_acquire(outcome->value);
    if (outcome->error != NULL)
        muster_error_copy(&fake->error, outcome->error);
}

static void request_destroy(struct muster__request *request)
{
    struct fake_request *fake = MUSTER_CONTAINER_OF(request, struct fake_request, request);
    muster_value_release(request->data);
    muster_stream_release(request->http.body_stream);
    muster_stream_release(fake->stream);
    muster_value_release(fake->value);
    muster_error_clean_up(&fake->error);
    for (size_t i = 0; i < 4; i++)
        free(fake->texts[i]);
    free(fake->headers);
    free(fake->body);
    free((char *)request->name);
    free(fake);
}

static const struct muster__request_class fake_class = {request_settled, request_destroy};

/* ---- tokens, scripts, dispatches ---- */

static uint32_t host_token_take(struct muster__worker *worker, const char *name)
{
    struct fake_host *host = of(worker);
    host->tokens = grow(host->tokens, host->token_count, sizeof *host->tokens);
    struct fake_token *token = &host->tokens[host->token_count++];
    token->id = ++host->next_id;
    token->name = muster__strdup(name);
    return token->id;
}

static void host_token_drop(struct muster__worker *worker, uint32_t id)
{
    struct fake_host *host = of(worker);
    for (size_t i = 0; i < host->token_count; i++) {
        if (host->tokens[i].id != id)
            continue;
        MUSTER_CHECK(!host->tokens[i].dropped);
        host->tokens[i].dropped = true;
        return;
    }
    MUSTER_CHECK(!"a token was dropped that nobody had taken");
}

static enum muster_status host_load(struct muster__worker *worker, const char *url,
                                    struct muster__script **ret_script, struct muster_error *error)
{
    struct fake_host *host = of(worker);
    for (const char *const *at = host->library; at != NULL && at[0] != NULL; at += 2) {
        if (strcmp(at[0], url) != 0)
            continue;
        struct muster__script *script = calloc(1, sizeof *script);
        MUSTER_CHECK(script != NULL);
        script->url = muster__strdup(url);
        script->text = muster__strdup(at[1]);
        script->length = strlen(at[1]);
        *ret_script = script;
        return MUSTER_OK;
    }
    muster_error_set(error, MUSTER_LOAD_FAILED, "there is no %s", url);
    return MUSTER_LOAD_FAILED;
}

static enum muster_status host_dispatch(struct muster__worker *worker, const char *scope,
                                        struct muster__request *request)
{
    struct fake_host *host = of(worker);
    if (strcmp(scope, "/nobody") == 0)
        return MUSTER_NOT_FOUND;
    if (host->dispatches_nothing)
        return MUSTER_UNSUPPORTED;
    host->dispatches = grow(host->dispatches, host->dispatch_count, sizeof *host->dispatches);
    struct fake_dispatch *dispatch = &host->dispatches[host->dispatch_count++];
    dispatch->scope = muster__strdup(scope);
    dispatch->request = request;
    muster__request_acquire(request);
    return MUSTER_OK;
}

/* ---- what other threads may do ---- */

static void host_note_post(struct muster__worker *worker, struct muster__note *note)
{
    struct fake_host *host = of(worker);
    pthread_mutex_lock(&host->lock);
    if (!atomic_exchange(&note->posted, true)) {
        struct muster__note **end = &host->notes;
        while (*end != NULL)
            end = &(*end)->next;
        note->next = NULL;
        *end = note;
        pthread_cond_signal(&host->posted);
    }
    pthread_mutex_unlock(&host->lock);
}

static void host_note_cancel(struct muster__worker *worker, struct muster__note *note)
{
    struct fake_host *host = of(worker);
    pthread_mutex_lock(&host->lock);
    for (struct muster__note **at = &host->notes; *at != NULL; at = &(*at)->next) {
        if (*at != note)
            continue;
        *at = note->next;
        break;
    }
    atomic_store(&note->posted, false);
    pthread_mutex_unlock(&host->lock);
}

static void call_ended(struct muster_host_call *call, void *user_data)
{
    struct fake_host *host = user_data;
    pthread_mutex_lock(&host->lock);
    call->next = host->ended_calls;
    host->ended_calls = call;
    pthread_cond_signal(&host->posted);
    pthread_mutex_unlock(&host->lock);
}

static void host_call_open(struct muster__worker *worker, struct muster_host_call *call)
{
    struct fake_host *host = of(worker);
    MUSTER_CHECK(host->open_count < MAX_OPEN_CALLS);
    host->open_calls[host->open_count++] = call;
    if (!muster__host_call_open(call, call_ended, host))
        call_ended(call, host);
}

const struct muster__realm_host fake_realm_host = {
    .console = host_console,
    .report = host_report,
    .timer_set = host_timer_set,
    .timer_clear = host_timer_clear,
    .now_us = host_now_us,
    .settle = host_settle,
    .ended = host_ended,
    .token_take = host_token_take,
    .token_drop = host_token_drop,
    .load = host_load,
    .host_call_open = host_call_open,
    .note_post = host_note_post,
    .note_cancel = host_note_cancel,
    .skip_waiting = host_skip_waiting,
    .close = host_close,
    .dispatch = host_dispatch,
};

/* ---- turns ---- */

static enum muster_status noted(struct fake_host *host, enum muster_status status)
{
    if (status != MUSTER_OK)
        host->cut = status;
    return status;
}

static struct muster__note *take_note(struct fake_host *host)
{
    pthread_mutex_lock(&host->lock);
    struct muster__note *note = host->notes;
    if (note != NULL) {
        host->notes = note->next;
        atomic_store(&note->posted, false);
    }
    pthread_mutex_unlock(&host->lock);
    return note;
}

static void forget_open(struct fake_host *host, const struct muster_host_call *call)
{
    for (size_t i = 0; i < host->open_count; i++)
        if (host->open_calls[i] == call)
            host->open_calls[i--] = host->open_calls[--host->open_count];
}

static struct muster_host_call *take_ended_call(struct fake_host *host)
{
    pthread_mutex_lock(&host->lock);
    struct muster_host_call *call = host->ended_calls;
    if (call != NULL)
        host->ended_calls = call->next;
    pthread_mutex_unlock(&host->lock);
    if (call != NULL)
        forget_open(host, call);
    return call;
}

static void end_turn(struct fake_host *host)
{
    if (host->engine->turn_end != NULL)
        noted(host, host->engine->turn_end(host->realm));
}

bool fake_host_run(struct fake_host *host)
{
    struct muster__note *note;
    struct muster_host_call *call;
    bool any = false;
    while (host->realm != NULL && (note = take_note(host)) != NULL) {
        any = true;
        note->run(note, host->realm);
        end_turn(host);
    }
    while (host->realm != NULL && (call = take_ended_call(host)) != NULL) {
        any = true;
        noted(host, host->engine->host_call_ended(host->realm, call));
        muster__host_call_destroy(call);
        end_turn(host);
    }
    return any;
}

static void run_all(struct fake_host *host)
{
    while (fake_host_run(host))
        ;
}

static void fire_next(struct fake_host *host)
{
    struct fake_timer timer = pop_timer(host);
    host->now_us = timer.at_us;
    if (timer.repeats) {
        struct fake_timer again = timer;
        again.at_us += again.period_us;
        push_timer(host, again);
    }
    noted(host, host->engine->timer_fired(host->realm, timer.id));
    end_turn(host);
    run_all(host);
}

void fake_host_advance(struct fake_host *host, uint64_t ms)
{
    uint64_t until_us = host->now_us + ms * 1000;
    run_all(host);
    while (host->timer_count > 0 && host->timers[0].at_us <= until_us)
        fire_next(host);
    host->now_us = until_us;
}

void fake_host_wait(struct fake_host *host)
{
    pthread_mutex_lock(&host->lock);
    while (host->notes == NULL && host->ended_calls == NULL)
        pthread_cond_wait(&host->posted, &host->lock);
    pthread_mutex_unlock(&host->lock);
    run_all(host);
}

/* ---- life ---- */

void fake_host_init(struct fake_host *host, const struct muster__engine *engine)
{
    memset(host, 0, sizeof *host);
    host->engine = engine;
    host->now_us = 1000000;
    host->console = muster__strdup("");
    host->open_calls = calloc(MAX_OPEN_CALLS, sizeof(struct muster_host_call *));
    MUSTER_CHECK(host->open_calls != NULL);
    host->identity = (struct muster__realm_identity){.worker = as_worker(host),
                                                     .type = MUSTER__WORKER_SERVICE,
                                                     .trust = MUSTER__TRUST_SCRIPT,
                                                     .name = "fake",
                                                     .scope = "/"};
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->posted, NULL);
}

static void evaluated(struct muster__worker *worker, enum muster_status status,
                      const struct muster_error *error)
{
    struct fake_host *host = of(worker);
    host->evaluated_count++;
    host->evaluated_status = status;
    if (status != MUSTER_OK && error != NULL)
        host_report(worker, error);
}

static const char *ending_of(const struct muster__engine *engine)
{
    if (strcmp(engine->name, "lua") == 0)
        return ".lua";
    return strcmp(engine->name, "native") == 0 ? ".so" : ".js";
}

enum muster_status fake_host_start(struct fake_host *host, const struct fake_script *script,
                                   struct muster_error *error)
{
    struct muster__realm_options options = {.host = &fake_realm_host,
                                            .worker = as_worker(host),
                                            .trust = host->identity.trust,
                                            .type = host->identity.type};
    host->script.url = muster__format("file:///app/worker%s", ending_of(host->engine));
    host->script.text = muster__strdup(script->text);
    host->script.length = script->text != NULL ? strlen(script->text) : 0;
    host->script.native = script->native;
    enum muster_status status = host->engine->vm_new(&host->options, &host->vm);
    if (status == MUSTER_OK)
        status = host->engine->realm_new(host->vm, &options, &host->realm);
    if (status != MUSTER_OK)
        return status;
    status = host->engine->evaluate(host->realm, &host->identity, &host->script, evaluated, error);
    end_turn(host);
    return status;
}

static void orphan_calls(struct fake_host *host)
{
    struct muster_host_call *call;
    while ((call = take_ended_call(host)) != NULL)
        muster__host_call_destroy(call);
    while (host->open_count > 0)
        (void)muster__host_call_orphan(host->open_calls[--host->open_count]);
}

static void settle_rest(struct fake_host *host)
{
    for (struct fake_request *at = host->requests; at != NULL; at = at->next)
        if (at->delivered && at->ended == 0)
            muster__request_fail(&at->request, MUSTER_TERMINATED, NULL);
}

void fake_host_kill(struct fake_host *host)
{
    settle_rest(host);
    if (host->realm != NULL)
        host->engine->realm_destroy(host->realm);
    host->realm = NULL;
    MUSTER_CHECK(host->notes == NULL); /* the engine cancels what it posted */
    orphan_calls(host);
    if (host->vm != NULL)
        host->engine->vm_destroy(host->vm);
    host->vm = NULL;
}

static void free_requests(struct fake_host *host)
{
    while (host->requests != NULL) {
        struct fake_request *fake = host->requests;
        host->requests = fake->next;
        MUSTER_CHECK(fake->ended <= 1 && fake->settled <= 1);
        MUSTER_CHECK(fake->ended == 0 || fake->settled == 1);
        MUSTER_CHECK(atomic_load(&fake->request.references) == 1);
        muster__request_release(&fake->request);
    }
}

void fake_host_clean_up(struct fake_host *host)
{
    fake_host_kill(host);
    free_requests(host);
    for (size_t i = 0; i < host->report_count; i++)
        muster_error_clean_up(&host->reports[i]);
    for (size_t i = 0; i < host->token_count; i++)
        free(host->tokens[i].name);
    for (size_t i = 0; i < host->dispatch_count; i++) {
        muster__request_release(host->dispatches[i].request);
        free(host->dispatches[i].scope);
    }
    free(host->reports);
    free(host->tokens);
    free(host->dispatches);
    free(host->timers);
    free(host->console);
    free(host->open_calls);
    free(host->script.url);
    free(host->script.text);
    pthread_cond_destroy(&host->posted);
    pthread_mutex_destroy(&host->lock);
}

size_t fake_host_open_tokens(const struct fake_host *host)
{
    size_t count = 0;
    for (size_t i = 0; i < host->token_count; i++)
        count += !host->tokens[i].dropped;
    return count;
}

bool fake_host_has_token(const struct fake_host *host, const char *name)
{
    for (size_t i = 0; i < host->token_count; i++)
        if (!host->tokens[i].dropped && strcmp(host->tokens[i].name, name) == 0)
            return true;
    return false;
}

/* ---- requests ---- */

struct fake_request *fake_request_new(struct fake_host *host, enum muster__request_kind kind,
                                      const char *name, struct muster_value *take_data)
{
    struct fake_request *fake = calloc(1, sizeof *fake);
    MUSTER_CHECK(fake != NULL);
    muster__request_init(&fake->request, &fake_class, kind, muster__strdup(name));
    fake->request.data = take_data;
    fake->host = host;
    fake->next = host->requests;
    host->requests = fake;
    return fake;
}

static struct muster_bytes bytes_of(const char *text, size_t length)
{
    return (struct muster_bytes){text, length};
}

static void split_headers(struct fake_request *fake, const char *headers)
{
    struct muster_http_request *http = &fake->request.http;
    const char *at = fake->texts[2] = muster__strdup(headers != NULL ? headers : "");
    while (*at != '\0' && http->header_count < 16) {
        const char *end = strchr(at, '\n');
        const char *colon = strstr(at, ": ");
        struct muster_header *header = &fake->http_headers[http->header_count++];
        header->name = bytes_of(at, (size_t)(colon - at));
        header->value = bytes_of(colon + 2, (size_t)(end - colon - 2));
        at = end + 1;
    }
    http->headers = fake->http_headers;
}

struct fake_request *fake_fetch_new(struct fake_host *host, const char *method, const char *url,
                                    const char *headers, const char *body,
                                    struct muster_stream *stream)
{
    struct fake_request *fake = fake_request_new(host, MUSTER__REQUEST_FETCH, "fetch", NULL);
    struct muster_http_request *http = &fake->request.http;
    fake->texts[0] = muster__strdup(method);
    fake->texts[1] = muster__strdup(url);
    fake->texts[3] = muster__strdup(body);
    http->method = bytes_of(fake->texts[0], strlen(method));
    http->url = bytes_of(fake->texts[1], strlen(url));
    http->body = bytes_of(fake->texts[3], body != NULL ? strlen(body) : 0);
    http->body_stream = stream != NULL ? muster_stream_acquire(stream) : NULL;
    split_headers(fake, headers);
    return fake;
}

enum muster_status fake_deliver(struct fake_host *host, struct fake_request *request)
{
    request->delivered = true;
    enum muster_status status =
        noted(host, host->engine->deliver(host->realm, &request->request));
    end_turn(host);
    return status;
}

struct fake_request *fake_call(struct fake_host *host, const char *function, const char *arguments)
{
    struct muster_value *data = NULL;
    MUSTER_CHECK(muster_value_from_json(arguments, strlen(arguments), &data, NULL) == MUSTER_OK);
    struct fake_request *fake = fake_request_new(host, MUSTER__REQUEST_CALL, function, data);
    (void)fake_deliver(host, fake);
    return fake;
}

enum muster_status fake_read_stream(struct fake_host *host, struct fake_request *request)
{
    char buffer[1500];
    for (;;) {
        size_t length = 0;
        enum muster_status status =
            muster_stream_read(request->stream, buffer, sizeof buffer, &length);
        if (status == MUSTER_PENDING && (fake_host_run(host) || host->timer_count > 0)) {
            if (host->timer_count > 0 && muster_stream_buffered(request->stream) == 0)
                fire_next(host);
            continue;
        }
        if (status != MUSTER_OK || length == 0) {
            run_all(host);
            return status;
        }
        char *longer = realloc(request->body, request->body_length + length + 1);
        MUSTER_CHECK(longer != NULL);
        memcpy(longer + request->body_length, buffer, length);
        request->body = longer;
        request->body_length += length;
        longer[request->body_length] = '\0';
    }
}
