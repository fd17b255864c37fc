/* tests/fake_engine.c - see fake_engine.h.  The realm's fields belong to the worker's thread; the list of
 * open calls has a lock, since tests end them. */
#include "tests/fake_engine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX 4096
#define TOKENS_MAX 64

struct fake_counts fake_counts;

struct muster__vm {
    atomic_bool interrupted;
    size_t memory;
};

struct held {
    struct muster__request *request;
    bool settled;
};

struct sent {
    struct muster__request request;
    struct muster__realm *realm; /* under the lock; NULL: it is gone */
    struct muster__worker *worker;
    const struct muster__realm_host *host;
    struct muster__request *asked_by;
    struct sent *next;
    struct muster__note note;
    pthread_mutex_t lock;
    enum muster_status status;
    uint32_t token;
    char name[64];
};

struct muster__realm {
    struct muster__vm *vm;
    const struct muster__realm_host *host;
    struct muster__worker *worker;
    void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                      const struct muster_error *error);
    bool waits_for_note;
    struct held held[HELD_MAX];
    size_t held_count;
    uint32_t tokens[TOKENS_MAX];
    size_t token_count;
    struct sent *sent;
    struct muster__note note;
    atomic_int inside;
};

/* ---- calls that are open ---- */

static pthread_mutex_t calls_lock = PTHREAD_MUTEX_INITIALIZER;
static struct muster_host_call *calls[HELD_MAX];
static size_t call_count;

static void open_call_function(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    pthread_mutex_lock(&calls_lock);
    MUSTER_CHECK(call_count < HELD_MAX);
    calls[call_count++] = call;
    pthread_mutex_unlock(&calls_lock);
}

bool fake_end_call(void)
{
    pthread_mutex_lock(&calls_lock);
    struct muster_host_call *call = call_count ? calls[--call_count] : NULL;
    pthread_mutex_unlock(&calls_lock);
    if (call)
        muster_host_call_return(call, NULL);
    return call != NULL;
}

void fake_reset(void)
{
    memset(&fake_counts, 0, sizeof fake_counts);
    call_count = 0;
}

void fake_let_go(void)
{
    atomic_store(&fake_counts.let_go, true);
}

/* ---- the VM ---- */

static enum muster_status vm_new(const struct muster__vm_options *options, struct muster__vm **ret_vm)
{
    (void)options;
    struct muster__vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return MUSTER_NO_MEMORY;
    vm->memory = 4096;
    atomic_fetch_add(&fake_counts.vms, 1);
    *ret_vm = vm;
    return MUSTER_OK;
}

static void vm_destroy(struct muster__vm *vm)
{
    atomic_fetch_sub(&fake_counts.vms, 1);
    free(vm);
}

static void vm_limit(struct muster__vm *vm, const struct muster__vm_options *options)
{
    (void)vm;
    (void)options;
}

static void vm_interrupt(struct muster__vm *vm)
{
    atomic_store(&vm->interrupted, true);
}

static size_t vm_memory(struct muster__vm *vm)
{
    return vm->memory;
}

/* ---- commands ---- */

static void settle(struct muster__realm *realm, struct muster__request *request,
                   enum muster_status status)
{
    realm->host->settle(realm->worker, request, &(struct muster__outcome){.status = status});
}

static void settle_and_end(struct muster__realm *realm, struct muster__request *request,
                           enum muster_status status)
{
    if (!request)
        return; /* a command of the script's */
    settle(realm, request, status);
    realm->host->ended(realm->worker, request);
}

static void keep(struct muster__realm *realm, struct muster__request *request)
{
    MUSTER_CHECK(realm->held_count < HELD_MAX);
    realm->held[realm->held_count++] = (struct held){.request = request};
}

static void release_all(struct muster__realm *realm)
{
    while (realm->held_count)
        settle_and_end(realm, realm->held[--realm->held_count].request, MUSTER_OK);
}

static enum muster_status spin(struct muster__realm *realm)
{
    atomic_fetch_add(&fake_counts.spinning, 1);
    while (!atomic_load(&realm->vm->interrupted))
        sched_yield();
    atomic_fetch_sub(&fake_counts.spinning, 1);
    return MUSTER_TERMINATED;
}

static enum muster_status get_stuck(struct muster__realm *realm)
{
    atomic_fetch_add(&fake_counts.stuck, 1);
    while (!atomic_load(&fake_counts.let_go))
        sched_yield();
    atomic_fetch_sub(&fake_counts.stuck, 1);
    return atomic_load(&realm->vm->interrupted) ? MUSTER_TERMINATED : MUSTER_OK;
}

static void drop_tokens(struct muster__realm *realm)
{
    while (realm->token_count)
        realm->host->token_drop(realm->worker, realm->tokens[--realm->token_count]);
}

static void open_call(struct muster__realm *realm, struct muster__request *request)
{
    struct muster_host_call *call =
        muster__host_call_new("errand", open_call_function, NULL, muster_value_new_array());
    MUSTER_CHECK(call);
    call->engine_data = request;
    if (muster__host_call_run(call)) { /* a test was quick to end it */
        muster__host_call_destroy(call);
        settle_and_end(realm, request, MUSTER_OK);
        return;
    }
    realm->host->host_call_open(realm->worker, call);
}

/* ---- send ---- */

static void sent_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct sent *sent = MUSTER_CONTAINER_OF(request, struct sent, request);
    pthread_mutex_lock(&sent->lock);
    sent->status = outcome->status;
    if (sent->realm)
        sent->host->note_post(sent->worker, &sent->note);
    pthread_mutex_unlock(&sent->lock);
}

static void sent_destroy(struct muster__request *request)
{
    struct sent *sent = MUSTER_CONTAINER_OF(request, struct sent, request);
    pthread_mutex_destroy(&sent->lock);
    free(sent);
}

static const struct muster__request_class sent_class = {sent_settled, sent_destroy};

static void sent_done(struct muster__realm *realm, struct sent *sent)
{
    pthread_mutex_lock(&sent->lock);
    sent->realm = NULL;
    pthread_mutex_unlock(&sent->lock);
    realm->host->note_cancel(realm->worker, &sent->note);
    realm->host->token_drop(realm->worker, sent->token);
    struct sent **at = &realm->sent;
    while (*at != sent)
        at = &(*at)->next;
    *at = sent->next;
    muster__request_release(&sent->request);
}

static void sent_answered(struct muster__note *note, struct muster__realm *realm)
{
    struct sent *sent = MUSTER_CONTAINER_OF(note, struct sent, note);
    struct muster__request *asked_by = sent->asked_by;
    enum muster_status status = sent->status;
    sent_done(realm, sent);
    settle_and_end(realm, asked_by, status);
}

static void send_to(struct muster__realm *realm, struct muster__request *asked_by, const char *command)
{
    char scope[64];
    struct sent *sent = calloc(1, sizeof *sent);
    MUSTER_CHECK(sent && sscanf(command, "send %63s %63[^;]", scope, sent->name) == 2);
    muster__request_init(&sent->request, &sent_class, MUSTER__REQUEST_EVENT, sent->name);
    pthread_mutex_init(&sent->lock, NULL);
    sent->realm = realm;
    sent->worker = realm->worker;
    sent->host = realm->host;
    sent->asked_by = asked_by;
    sent->note.run = sent_answered;
    sent->token = realm->host->token_take(realm->worker, scope);
    sent->next = realm->sent;
    realm->sent = sent;
    enum muster_status status = realm->host->dispatch(realm->worker, scope, &sent->request);
    if (status != MUSTER_OK) {
        sent_done(realm, sent);
        settle_and_end(realm, asked_by, status);
    }
}

/* ---- the realm ---- */

static enum muster_status run(struct muster__realm *realm, const char *command,
                              struct muster__request *request)
{
    const struct muster__realm_host *host = realm->host;
    struct muster__worker *worker = realm->worker;
    if (!strcmp(command, "hold") || !strcmp(command, "linger")) {
        if (*command == 'l')
            settle(realm, request, MUSTER_OK);
        keep(realm, request);
        return MUSTER_OK;
    }
    if (!strcmp(command, "call")) {
        open_call(realm, request);
        return MUSTER_OK;
    }
    if (!strncmp(command, "send ", 5)) {
        send_to(realm, request, command);
        return MUSTER_OK;
    }
    enum muster_status cut = MUSTER_OK, status = MUSTER_OK;
    if (!strcmp(command, "fail"))
        status = MUSTER_SCRIPT_ERROR;
    else if (!strcmp(command, "spin"))
        cut = spin(realm);
    else if (!strcmp(command, "stuck"))
        cut = get_stuck(realm);
    else if (!strcmp(command, "die"))
        cut = MUSTER_TURN_LIMIT;
    else if (!strcmp(command, "grow"))
        realm->vm->memory += 4096;
    else if (!strcmp(command, "release"))
        release_all(realm);
    else if (!strcmp(command, "token"))
        realm->tokens[realm->token_count++] = host->token_take(worker, "tokens");
    else if (!strcmp(command, "drop"))
        drop_tokens(realm);
    else if (!strcmp(command, "timer"))
        (void)host->timer_set(worker, 0, false);
    else if (!strcmp(command, "repeat"))
        (void)host->timer_set(worker, 1000, true);
    else if (!strcmp(command, "never"))
        (void)host->timer_set(worker, 3600000000u, false);
    else if (!strcmp(command, "post"))
        host->note_post(worker, &realm->note);
    else if (!strcmp(command, "report"))
        host->report(worker, &(struct muster_error){.status = MUSTER_SCRIPT_ERROR});
    else if (!strcmp(command, "skip"))
        host->skip_waiting(worker);
    else if (!strcmp(command, "close"))
        host->close(worker);
    if (cut != MUSTER_OK)
        return cut; /* the request stays in flight, as in an engine that was interrupted */
    settle_and_end(realm, request, status);
    return MUSTER_OK;
}

static void enter(struct muster__realm *realm)
{
    if (atomic_fetch_add(&realm->inside, 1))
        atomic_store(&fake_counts.overlapped, true);
}

static enum muster_status leave(struct muster__realm *realm, enum muster_status status)
{
    atomic_fetch_sub(&realm->inside, 1);
    return status;
}

static void note_run(struct muster__note *note, struct muster__realm *realm)
{
    (void)note;
    enter(realm);
    atomic_fetch_add(&fake_counts.notes, 1);
    if (realm->waits_for_note) {
        realm->waits_for_note = false;
        realm->evaluated(realm->worker, MUSTER_OK, NULL);
    }
    (void)leave(realm, MUSTER_OK);
}

static enum muster_status realm_new(struct muster__vm *vm, const struct muster__realm_options *options,
                                    struct muster__realm **ret_realm)
{
    struct muster__realm *realm = calloc(1, sizeof *realm);
    if (!realm)
        return MUSTER_NO_MEMORY;
    realm->vm = vm;
    realm->host = options->host;
    realm->worker = options->worker;
    realm->note.run = note_run;
    atomic_fetch_add(&fake_counts.realms, 1);
    *ret_realm = realm;
    return MUSTER_OK;
}

static void realm_destroy(struct muster__realm *realm)
{
    while (realm->sent)
        sent_done(realm, realm->sent);
    for (size_t i = 0; i < realm->held_count; i++)
        MUSTER_CHECK(muster__request_is_settled(realm->held[i].request)); /* the worker did */
    if (realm->worker)
        realm->host->note_cancel(realm->worker, &realm->note);
    atomic_fetch_sub(&fake_counts.realms, 1);
    free(realm);
}

static enum muster_status evaluate(struct muster__realm *realm,
                                   const struct muster__realm_identity *identity,
                                   const struct muster__script *script,
                                   void (*evaluated)(struct muster__worker *worker,
                                                     enum muster_status status,
                                                     const struct muster_error *error),
                                   struct muster_error *error)
{
    realm->worker = identity->worker;
    realm->evaluated = evaluated;
    enter(realm);
    char text[200], *rest = text;
    snprintf(text, sizeof text, "%s", script->text);
    enum muster_status status = MUSTER_OK;
    for (char *command; status == MUSTER_OK && (command = strsep(&rest, ";"));) {
        if (!strcmp(command, "syntax"))
            status = MUSTER_SYNTAX_ERROR;
        else if (!strcmp(command, "later"))
            status = MUSTER_PENDING;
        else
            status = run(realm, command, NULL);
    }
    realm->waits_for_note = status == MUSTER_PENDING;
    if (realm->waits_for_note)
        realm->host->note_post(realm->worker, &realm->note);
    if (status != MUSTER_OK && status != MUSTER_PENDING)
        muster_error_set(error, status, "no: %s", muster_status_name(status));
    return leave(realm, status);
}

static bool handles(struct muster__realm *realm, const char *type)
{
    (void)realm;
    (void)type;
    return true;
}

static enum muster_status deliver(struct muster__realm *realm, struct muster__request *request)
{
    enter(realm);
    atomic_fetch_add(&fake_counts.deliveries, 1);
    return leave(realm, run(realm, request->name, request));
}

static enum muster_status timer_fired(struct muster__realm *realm, uint32_t id)
{
    (void)id;
    enter(realm);
    atomic_fetch_add(&fake_counts.timers, 1);
    return leave(realm, MUSTER_OK);
}

static enum muster_status host_call_ended(struct muster__realm *realm, struct muster_host_call *call)
{
    enter(realm);
    atomic_fetch_add(&fake_counts.calls_heard, 1);
    settle_and_end(realm, call->engine_data, MUSTER_OK);
    return leave(realm, MUSTER_OK);
}

static enum muster_status cancel(struct muster__realm *realm, struct muster__request *request)
{
    enter(realm);
    atomic_fetch_add(&fake_counts.cancels, 1);
    for (size_t i = 0; i < realm->held_count; i++)
        if (realm->held[i].request == request) {
            realm->held[i] = realm->held[--realm->held_count];
            realm->host->ended(realm->worker, request);
            break;
        }
    return leave(realm, MUSTER_OK);
}

const struct muster__engine fake_engine = {
    .name = "fake",
    .file_endings = "",
    .vm_new = vm_new,
    .vm_destroy = vm_destroy,
    .vm_limit = vm_limit,
    .vm_interrupt = vm_interrupt,
    .vm_memory = vm_memory,
    .realm_new = realm_new,
    .realm_destroy = realm_destroy,
    .evaluate = evaluate,
    .handles = handles,
    .deliver = deliver,
    .timer_fired = timer_fired,
    .host_call_ended = host_call_ended,
    .cancel = cancel,
};

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = muster__strdup(url);
    ret_loaded->length = strlen(url);
    return ret_loaded->text ? MUSTER_OK : MUSTER_NO_MEMORY;
}

const struct muster__loader fake_loader = {.load = load};

/* ---- ears ---- */

void fake_ears_init(struct fake_ears *ears)
{
    memset(ears, 0, sizeof *ears);
    pthread_mutex_init(&ears->lock, NULL);
    pthread_cond_init(&ears->changed, NULL);
}

static void hear(struct fake_ears *ears, int *count)
{
    pthread_mutex_lock(&ears->lock);
    ++*count;
    pthread_cond_broadcast(&ears->changed);
    pthread_mutex_unlock(&ears->lock);
}

void fake_ears_wait(struct fake_ears *ears, const int *count, int wanted)
{
    pthread_mutex_lock(&ears->lock);
    while (*count < wanted)
        pthread_cond_wait(&ears->changed, &ears->lock);
    pthread_mutex_unlock(&ears->lock);
}

static void on_started(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct fake_ears *ears = user_data;
    (void)error;
    ears->start_status = status;
    hear(ears, &ears->started);
}

static void on_console(void *user_data, enum muster_log_level level, const char *text, size_t length)
{
    (void)user_data;
    (void)level;
    (void)text;
    (void)length;
}

static void on_report(void *user_data, const struct muster_error *error)
{
    struct fake_ears *ears = user_data;
    (void)error;
    hear(ears, &ears->reports);
}

static void on_skip_waiting(void *user_data)
{
    struct fake_ears *ears = user_data;
    hear(ears, &ears->skipped);
}

static void on_close_self(void *user_data)
{
    struct fake_ears *ears = user_data;
    hear(ears, &ears->closed_self);
}

static void on_wedged(void *user_data)
{
    struct fake_ears *ears = user_data;
    hear(ears, &ears->wedged);
}

static enum muster_status on_dispatch(void *user_data, const char *scope,
                                      struct muster__request *request, uint64_t keepalive_until_us)
{
    struct fake_ears *ears = user_data;
    return ears->dispatch ? ears->dispatch(scope, request, keepalive_until_us) : MUSTER_UNSUPPORTED;
}

static void on_gone(void *user_data, const struct muster__worker_report *report)
{
    struct fake_ears *ears = user_data;
    ears->gone_status = report->status;
    ears->turns = report->turns;
    snprintf(ears->gone_message, sizeof ears->gone_message, "%s",
             report->error ? report->error->message : "");
    hear(ears, &ears->gone);
}

static void on_idle(void *user_data)
{
    struct fake_ears *ears = user_data;
    hear(ears, &ears->idle);
}

const struct muster__worker_listener fake_listener = {
    .started = on_started,
    .console = on_console,
    .report = on_report,
    .skip_waiting = on_skip_waiting,
    .close_self = on_close_self,
    .wedged = on_wedged,
    .dispatch = on_dispatch,
    .gone = on_gone,
    .idle = on_idle,
};

/* ---- errands ---- */

static void errand_settled(struct muster__request *request, const struct muster__outcome *outcome)
{
    struct fake_errand *errand = MUSTER_CONTAINER_OF(request, struct fake_errand, request);
    errand->status = outcome->status;
    hear(&errand->ears, &errand->settled);
}

static void errand_destroyed(struct muster__request *request)
{
    struct fake_errand *errand = MUSTER_CONTAINER_OF(request, struct fake_errand, request);
    hear(&errand->ears, &errand->destroyed);
}

static const struct muster__request_class errand_class = {errand_settled, errand_destroyed};

struct fake_errand *fake_errand_new(enum muster__request_kind kind, const char *name)
{
    struct fake_errand *errand = calloc(1, sizeof *errand);
    MUSTER_CHECK(errand);
    fake_ears_init(&errand->ears);
    snprintf(errand->text, sizeof errand->text, "%s", name);
    muster__request_init(&errand->request, &errand_class, kind, errand->text);
    return errand;
}

void fake_errand_wait(struct fake_errand *errand)
{
    fake_ears_wait(&errand->ears, &errand->settled, 1);
}

void fake_errand_free(struct fake_errand *errand)
{
    muster__request_release(&errand->request);
    fake_ears_wait(&errand->ears, &errand->destroyed, 1);
    MUSTER_CHECK(errand->settled == 1 && errand->destroyed == 1);
    pthread_mutex_destroy(&errand->ears.lock);
    pthread_cond_destroy(&errand->ears.changed);
    free(errand);
}
