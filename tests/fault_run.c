/* tests/fault_run.c - requests under way to workers in processes, while those processes are killed at random.
 *
 * Four processes with workers in JavaScript and Lua, 64 requests in flight: some wait for a timer, call the program or
 * another worker, stream what they are asked or what they answer; some may run again (idempotent).  A killer strikes
 * one process after the other: SIGKILL, SIGSEGV, SIGSTOP (which only the heartbeat finds), exit(0) in a script with
 * full trust, and the launcher.  What must hold: each request settles exactly once, with an answer of its own, or
 * because its process died; what is not idempotent runs at most once; at the end no process, descriptor or byte is left.
 *
 * A handler says which request it is before it does anything else: Lua by a line in a file, which no death can take
 * back; JavaScript by a binding, for whose answer some wait; some try to import what they were not installed with first.
 *
 *     fault_run [--seconds N] [--seed N]
 */
#include "coordinator/instance.h"
#include "remote/process_internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT 64
#define HOSTS 4
#define JAVASCRIPTS 5
#define LUAS 5
#define SCOPES (JAVASCRIPTS + LUAS)
#define PATIENCE_US UINT64_C(60000000) /* a bound for what must happen */
#define PAUSE_MOST_US 300000u          /* between two kills */
#define BYTES_MOST 65536               /* what the C library itself may keep */
#define MARK "MUSTER_FAULT_RUN"        /* in the environment of each process of this run */

/* ---- the run ---- */

enum kill_kind { KILL_SIGKILL, KILL_SIGSEGV, KILL_SIGSTOP, KILL_EXIT, KILL_LAUNCHER, KILL_KINDS };
static const char *const kill_names[] = {"SIGKILL", "SIGSEGV", "SIGSTOP", "exit(0)", "launcher"};
static const unsigned kill_weights[] = {40, 20, 12, 18, 10};

static uint64_t seed, seconds = 20;
static unsigned slower = 1;
static char ledger_path[4096];
static struct muster *muster;
static atomic_int violations;
static atomic_uint silences;

static void complain(const char *format, ...) MUSTER_PRINTF(1, 2);
static void complain(const char *format, ...)
{
    va_list arguments;
    if (atomic_fetch_add(&violations, 1) >= 100)
        return;
    va_start(arguments, format);
    fprintf(stderr, "FAULT: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
}

static uint32_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33);
}

/* ---- the ledger: what was asked, what ran ---- */

#define CHUNK 4096u
#define CHUNKS 16384u

struct entry {
    atomic_uint runs, settled;
    bool asked, idempotent, inner, in_lua, surely_told;
    uint8_t kind;
    enum muster_status status;
};
static _Atomic(struct entry *) chunks[CHUNKS];
static atomic_uint last_id;

static struct entry *entry_of(unsigned id)
{
    struct entry *chunk = id / CHUNK < CHUNKS ? atomic_load(&chunks[id / CHUNK]) : NULL;
    return chunk ? &chunk[id % CHUNK] : NULL;
}

static unsigned new_entry(bool idempotent)
{
    unsigned id = atomic_fetch_add(&last_id, 1) + 1;
    MUSTER_CHECK(id / CHUNK < CHUNKS);
    if (!atomic_load(&chunks[id / CHUNK])) {
        struct entry *none = NULL, *chunk = calloc(CHUNK, sizeof *chunk);
        MUSTER_CHECK(chunk);
        if (!atomic_compare_exchange_strong(&chunks[id / CHUNK], &none, chunk))
            free(chunk);
    }
    entry_of(id)->idempotent = idempotent;
    return id;
}

static void note_run(unsigned id)
{
    struct entry *entry = entry_of(id);
    if (!entry)
        complain("a handler ran for %u, which nobody asked for", id);
    else
        atomic_fetch_add(&entry->runs, 1);
}

static void read_ledger(void)
{
    unsigned id;
    FILE *file = fopen(ledger_path, "r");
    MUSTER_CHECK(file);
    while (fscanf(file, "%u", &id) == 1)
        note_run(id);
    fclose(file);
}

/* ---- the scripts ---- */

static const char javascript[] =
    "const nonce = 1 + Math.floor(Math.random() * 2 ** 48);\n"
    "const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));\n"
    "function pieces(id) {\n"
    "  const encoder = new TextEncoder();\n"
    "  let left = 10;\n"
    "  return new ReadableStream({\n"
    "    async pull(controller) {\n"
    "      if (left === 10) controller.enqueue(encoder.encode(`${id} ${nonce} `));\n"
    "      if (left-- === 0) { controller.close(); return; }\n"
    "      await pause(1);\n"
    "      controller.enqueue(encoder.encode('x'.repeat(4000)));\n"
    "    },\n"
    "  });\n"
    "}\n"
    "async function work(kind, id, inner, other, request) {\n"
    "  if (kind === 'asks' || kind === 'imports') await fault.began(id); else fault.began(id);\n"
    "  if (kind === 'timer') await pause(1 + id % 40);\n"
    "  if (kind === 'stream') return new Response(pieces(id));\n"
    "  let more = '';\n"
    "  if (kind === 'body') more = (await request.text()).length;\n"
    "  if (kind === 'calls')\n"
    "    try { more = await muster.call(`/${other}/`, 'inner', inner); } catch (error) { more = 'failed'; }\n"
    "  return new Response(`${id} ${nonce} ${more}`);\n"
    "}\n"
    "addEventListener('fetch', (event) => {\n"
    "  const [kind, id, inner, other] = event.request.url.split('/').slice(4);\n"
    "  if (kind === 'imports') try { importScripts(`new-${id}`); } catch {}\n"
    "  event.respondWith(work(kind, +id, +inner, other, event.request));\n"
    "});\n"
    "addEventListener('note', (event) => {\n"
    "  fault.began(event.data);\n"
    "  event.waitUntil(pause(1 + event.data % 30));\n"
    "});\n"
    "function inner(id) { fault.began(id); return 'inner'; }\n";

static const char lua[] =
    "local ledger = assert(io.open('%s', 'a'))\n"
    "ledger:setvbuf('no')\n"
    "local nonce = math.random(1, 2 ^ 48 // 1 | 0)\n"
    "local function began(id) ledger:write(string.format('%%d\\n', id)) end\n"
    "muster.on('fetch', function(event)\n"
    "  local kind, id, inner, other = event.request.url:match('//[^/]*/[^/]*/([^/]*)/([^/]*)/([^/]*)/([^/]*)')\n"
    "  id = math.tointeger(id)\n"
    "  began(id)\n"
    "  local more = ''\n"
    "  if kind == 'exit' then os.exit(0) end\n"
    "  if kind == 'timer' then muster.sleep(1 + id %% 40) end\n"
    "  if kind == 'asks' then fault.heard() end\n"
    "  if kind == 'body' then more = #event.request:body() end\n"
    "  if kind == 'calls' then\n"
    "    local ok, text = pcall(muster.call, '/' .. other .. '/', 'inner', math.tointeger(inner))\n"
    "    more = ok and text or 'failed'\n"
    "  end\n"
    "  if kind == 'stream' then\n"
    "    local left = 11\n"
    "    return {body = function()\n"
    "      left = left - 1\n"
    "      if left == 10 then return id .. ' ' .. nonce .. ' ' end\n"
    "      if left < 0 then return end\n"
    "      muster.sleep(1)\n"
    "      return ('x'):rep(4000)\n"
    "    end}\n"
    "  end\n"
    "  return {body = id .. ' ' .. nonce .. ' ' .. more}\n"
    "end)\n"
    "muster.on('note', function(event)\n"
    "  began(event.data // 1 | 0)\n"
    "  event:wait_until(function() muster.sleep(1 + event.data %% 30) end)\n"
    "end)\n"
    "function inner(id) began(id // 1 | 0) return 'inner' end\n";
#define STREAMED 40000u /* bytes of a streamed answer behind its first words */

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)error;
    (void)user_data;
    MUSTER_CHECK(!importer); /* what is not imported while it is installed never is */
    ret_loaded->text = strstr(url, ".lua") ? muster__format(lua, ledger_path) : muster__strdup(javascript);
    MUSTER_CHECK(ret_loaded->text);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static void began(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    note_run((unsigned)muster_value_number(muster_host_call_argument(call, 0)));
    muster_host_call_return(call, NULL);
}

static void heard(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_return(call, NULL);
}

/* ---- kills, and how long until the next answer ---- */

#define STRIKES_MOST 100000u

struct strike {
    enum kill_kind kind;
    uint64_t at_us, answered_us; /* 0: not yet */
};
static struct strike *strikes;
static unsigned strike_count;

static struct scope {
    char name[16];
    bool is_lua;
    /* Under `lock`. */
    uint64_t nonce, nonce_then; /* of the instance that answered last; that had when it was killed */
    struct strike *strike;      /* its last, until an instance after it has answered */
} scopes[SCOPES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void note_answer(struct scope *scope, uint64_t nonce)
{
    pthread_mutex_lock(&lock);
    struct strike *strike = scope->strike;
    if (strike && nonce != scope->nonce_then) {
        if (!strike->answered_us)
            strike->answered_us = muster__now_us();
        scope->strike = NULL;
    }
    scope->nonce = nonce;
    pthread_mutex_unlock(&lock);
}

static struct strike *new_strike(enum kill_kind kind)
{
    if (strike_count == STRIKES_MOST)
        return NULL;
    struct strike *strike = &strikes[strike_count++];
    *strike = (struct strike){.kind = kind, .at_us = muster__now_us()};
    return strike;
}

/* The scopes that live there have to answer from another process. */
static void mark_scopes(struct process_host *host, struct strike *strike)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < host->workers.capacity; i++)
        for (struct muster__id_node *at = host->workers.buckets[i]; at; at = at->next)
            for (struct scope *scope = scopes; scope < scopes + SCOPES; scope++)
                if (strcmp(MUSTER_CONTAINER_OF(at, struct process_worker, node)->options.scope, scope->name) == 0 &&
                    scope->nonce) {
                    scope->strike = strike;
                    scope->nonce_then = scope->nonce;
                }
    pthread_mutex_unlock(&lock);
}

/* ---- requests ---- */

enum kind { PLAIN, TIMER, ASKS, CALLS, STREAM, BODY, IMPORTS, NOTE, CALL, EXIT, KINDS };
static const char *const kind_names[] = {"plain",   "timer", "asks", "calls", "stream",
                                         "body",    "imports", "note", "call", "exit"};

struct piece {
    unsigned id;
    enum kind kind;
    struct scope *scope;
    struct muster_stream *answer, *body;
    size_t body_size, body_left, answer_length;
    char answer_start[64];
    /* Under `lock`. */
    bool busy, news, settled;
    enum muster_status status;
};
static struct piece pieces[IN_FLIGHT + 1]; /* the last one is the killer's, for exit */
static atomic_uint by_kind[KINDS][MUSTER_STATUS_COUNT], torn;

static void tell_piece(struct piece *piece)
{
    pthread_mutex_lock(&lock);
    piece->news = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void body_moved(void *user_data)
{
    tell_piece(user_data);
}

/* "ID NONCE ..." of the right request. */
static void check_answer(struct piece *piece, const char *text, size_t length)
{
    unsigned id = 0;
    uint64_t nonce = 0;
    char start[64];
    snprintf(start, sizeof start, "%.*s", (int)length, text);
    int found = sscanf(start, "%u %" SCNu64, &id, &nonce);
    if (found != 2 || id != piece->id)
        complain("request %u (%s) got the answer \"%s\"", piece->id, kind_names[piece->kind], start);
    else
        note_answer(piece->scope, nonce);
    size_t said = 0;
    if (piece->kind == BODY && (sscanf(start, "%*u %*u %zu", &said) != 1 || said != piece->body_size))
        complain("request %u: of %zu bytes %zu arrived", piece->id, piece->body_size, said);
}

static void done(const struct muster_result *result, void *user_data)
{
    struct piece *piece = user_data;
    struct entry *entry = entry_of(piece->id);
    if (atomic_fetch_add(&entry->settled, 1) != 0)
        complain("request %u settled twice", piece->id);
    entry->status = result->status;
    atomic_fetch_add(&by_kind[piece->kind][result->status], 1);
    bool died = result->status == MUSTER_CRASHED || result->status == MUSTER_RETRY;
    if (result->status != MUSTER_OK && !died)
        complain("request %u (%s) to %s: %s: %s", piece->id, kind_names[piece->kind], piece->scope->name,
                 muster_status_name(result->status),
                 result->error && result->error->message ? result->error->message : "");
    if (result->status == MUSTER_OK && result->response && result->response->body_stream)
        piece->answer = muster_stream_acquire(result->response->body_stream);
    else if (result->status == MUSTER_OK && result->response)
        check_answer(piece, result->response->body.data, result->response->body.length);
    pthread_mutex_lock(&lock);
    piece->settled = piece->news = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static enum muster_status send_fetch(struct piece *piece, const struct muster_event_options *options)
{
    char url[128];
    const struct entry *entry = entry_of(piece->id);
    unsigned inner = piece->kind == CALLS ? new_entry(entry->idempotent) : 0;
    if (inner)
        entry_of(inner)->inner = true;
    snprintf(url, sizeof url, "http://fault.test%s%s/%u/%u/%s", piece->scope->name, kind_names[piece->kind],
             piece->id, inner, piece->id % 2 ? "lua0" : "js0");
    struct muster_http_request request = {.method = {"GET", 3}, .url = {url, strlen(url)}};
    if (piece->kind == BODY) {
        request.method = (struct muster_bytes){"POST", 4};
        request.body_stream = piece->body;
    }
    return muster_fetch(muster, &request, options, done, piece, NULL);
}

static enum muster_status send_piece(struct piece *piece)
{
    const struct muster_event_options options = {
        .size = sizeof options, .timeout_ms = 30000 * slower, .idempotent = entry_of(piece->id)->idempotent};
    struct muster_value *data = NULL;
    switch (piece->kind) {
    case NOTE:
        data = muster_value_new_number(piece->id);
        return muster_dispatch(muster, piece->scope->name, "note", data, &options, done, piece, NULL);
    case CALL:
        data = muster_value_new_array();
        MUSTER_CHECK(muster_value_append(data, muster_value_new_number(piece->id)) == MUSTER_OK);
        return muster_call(muster, piece->scope->name, "inner", data, &options, done, piece, NULL);
    default: return send_fetch(piece, &options);
    }
}

static void begin_piece(struct piece *piece, enum kind kind, struct scope *scope, bool idempotent)
{
    piece->id = new_entry(idempotent);
    piece->kind = kind;
    piece->scope = scope;
    piece->answer = NULL;
    piece->answer_length = 0;
    piece->body = NULL;
    struct entry *entry = entry_of(piece->id);
    entry->asked = true;
    entry->kind = (uint8_t)kind;
    entry->in_lua = scope->is_lua;
    entry->surely_told = scope->is_lua || kind == IMPORTS || kind == ASKS;
    pthread_mutex_lock(&lock);
    piece->busy = true;
    piece->settled = false;
    piece->news = kind == BODY;
    pthread_mutex_unlock(&lock);
    if (kind == BODY) {
        piece->body_size = piece->body_left = 1000 + piece->id * 7919u % 200000u;
        MUSTER_CHECK(muster_stream_new(0, &piece->body) == MUSTER_OK);
        muster_stream_on_writable(piece->body, body_moved, piece);
    }
    enum muster_status status = send_piece(piece);
    if (kind == BODY)
        muster_stream_release(piece->body); /* the reader's end */
    if (status != MUSTER_OK) {
        complain("request %u was refused: %s", piece->id, muster_status_name(status));
        abort();
    }
}

static void begin_any(struct piece *piece, uint64_t *random)
{
    static const enum kind of_both[] = {PLAIN, PLAIN, TIMER, ASKS, CALLS, STREAM, BODY, NOTE, CALL};
    struct scope *scope = &scopes[next_random(random) % SCOPES];
    enum kind kind = of_both[next_random(random) % (sizeof of_both / sizeof *of_both)];
    if (kind == PLAIN && !scope->is_lua && next_random(random) % 2)
        kind = IMPORTS;
    begin_piece(piece, kind, scope, next_random(random) % 3 == 0);
}

/* False: it waits for room. */
static bool write_body(struct piece *piece)
{
    static const char bytes[8192];
    while (piece->body_left) {
        size_t written = 0, most = piece->body_left < sizeof bytes ? piece->body_left : sizeof bytes;
        if (muster_stream_write(piece->body, bytes, most, &written) != MUSTER_OK)
            return true; /* nobody reads it any more */
        piece->body_left -= written;
        if (written < most)
            return false;
    }
    muster_stream_close(piece->body);
    return true;
}

/* False: more will come. */
static bool read_answer(struct piece *piece)
{
    char bytes[8192];
    muster_stream_on_readable(piece->answer, body_moved, piece);
    for (;;) {
        size_t length = 0;
        enum muster_status status = muster_stream_read(piece->answer, bytes, sizeof bytes, &length);
        if (status == MUSTER_PENDING)
            return false;
        if (status != MUSTER_OK) {
            if (status != MUSTER_CRASHED && status != MUSTER_RETRY)
                complain("the answer to %u broke off: %s", piece->id, muster_status_name(status));
            atomic_fetch_add(&torn, 1);
            return true;
        }
        if (length == 0)
            break;
        for (size_t i = 0; i < length && piece->answer_length + i < sizeof piece->answer_start - 1; i++)
            piece->answer_start[piece->answer_length + i] = bytes[i];
        piece->answer_length += length;
    }
    size_t start = piece->answer_length - STREAMED;
    if (piece->answer_length < STREAMED || start >= sizeof piece->answer_start)
        complain("of the answer to %u %zu bytes came", piece->id, piece->answer_length);
    else
        check_answer(piece, piece->answer_start, start);
    return true;
}

/* True: it is over, and the next may begin. */
static bool go_on(struct piece *piece, bool settled)
{
    if (piece->body && (write_body(piece) || settled)) {
        muster_stream_on_writable(piece->body, NULL, NULL);
        if (piece->body_left)
            muster_stream_abort(piece->body, MUSTER_CANCELED, NULL);
        muster_stream_release(piece->body);
        piece->body = NULL;
    }
    if (!settled || piece->body || (piece->answer && !read_answer(piece)))
        return false;
    if (piece->answer) {
        muster_stream_on_readable(piece->answer, NULL, NULL);
        muster_stream_release(piece->answer);
        piece->answer = NULL;
    }
    return true;
}

/* One round: what has news goes on; the next begin where there is to be more. */
static unsigned serve(uint64_t *random, bool more)
{
    unsigned busy = 0;
    for (struct piece *piece = pieces; piece < pieces + IN_FLIGHT + 1; piece++) {
        pthread_mutex_lock(&lock);
        bool news = piece->news && piece->busy, settled = piece->settled, free_now = !piece->busy;
        piece->news = false;
        pthread_mutex_unlock(&lock);
        bool over = news && go_on(piece, settled);
        pthread_mutex_lock(&lock);
        if (over)
            piece->busy = false;
        pthread_mutex_unlock(&lock);
        bool mine = piece < pieces + IN_FLIGHT;
        if (mine && more && (over || free_now))
            begin_any(piece, random);
        busy += (mine && more) || !(over || free_now);
    }
    return busy;
}

static bool has_news_locked(void)
{
    for (struct piece *piece = pieces; piece < pieces + IN_FLIGHT + 1; piece++)
        if (piece->news && piece->busy)
            return true;
    return false;
}

static void await_news(uint64_t us)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t at = (uint64_t)until.tv_nsec / 1000 + us;
    until.tv_sec += (time_t)(at / 1000000);
    until.tv_nsec = (long)(at % 1000000) * 1000;
    pthread_mutex_lock(&lock);
    while (!has_news_locked())
        if (pthread_cond_timedwait(&changed, &lock, &until) != 0)
            break;
    pthread_mutex_unlock(&lock);
}

/* ---- the killer ---- */

static atomic_bool killing;

static enum kill_kind choose_kind(uint64_t *random)
{
    unsigned total = 0, at;
    for (size_t i = 0; i < KILL_KINDS; i++)
        total += kill_weights[i];
    at = next_random(random) % total;
    for (size_t i = 0; i < KILL_KINDS; i++) {
        if (at < kill_weights[i])
            return (enum kill_kind)i;
        at -= kill_weights[i];
    }
    return KILL_SIGKILL;
}

/* The one of that number, counted around, of those that live; the reserve is one of them.  Retained. */
static struct process_host *choose_host(unsigned number)
{
    struct muster__processes *processes = muster->hosting.processes;
    struct process_host *found = NULL;
    unsigned count = 0;
    pthread_mutex_lock(&processes->lock);
    for (struct process_host *host = processes->hosts; host; host = host->next)
        count++;
    number = count ? number % count : 0;
    for (struct process_host *host = processes->hosts; host && !found; host = host->next)
        if (number-- == 0)
            found = host;
    if (found) /* in that list it holds a reference of its own */
        muster__process_host_acquire(found);
    pthread_mutex_unlock(&processes->lock);
    return found;
}

static bool strike_host(struct process_host *host, enum kill_kind kind)
{
    static const int signals[] = {SIGKILL, SIGSEGV, SIGSTOP};
    bool struck = false;
    pthread_mutex_lock(&host->lock);
    int pidfd = host->process && !host->closed ? muster__process_pidfd(host->process) : -1;
    if (pidfd >= 0) {
        struct strike *strike = new_strike(kind);
        mark_scopes(host, strike);
        struck = syscall(SYS_pidfd_send_signal, pidfd, signals[kind], NULL, 0) == 0;
        if (!struck && strike)
            strike_count--;
    }
    pthread_mutex_unlock(&host->lock);
    return struck;
}

static void strike_launcher(void)
{
    struct muster__processes *processes = muster->hosting.processes;
    pid_t pid = muster__launcher_pid(processes->launcher);
    if (pid <= 0)
        return;
    struct strike *strike = new_strike(KILL_LAUNCHER);
    pthread_mutex_lock(&lock);
    for (struct scope *scope = scopes; scope < scopes + SCOPES; scope++)
        if (scope->nonce) {
            scope->strike = strike;
            scope->nonce_then = scope->nonce;
        }
    pthread_mutex_unlock(&lock);
    kill(pid, SIGKILL);
}

/* A script with full trust ends its process. */
static void strike_by_exit(unsigned number)
{
    struct scope *scope = &scopes[JAVASCRIPTS + number % LUAS];
    struct piece *piece = &pieces[IN_FLIGHT];
    pthread_mutex_lock(&lock);
    bool busy = piece->busy;
    pthread_mutex_unlock(&lock);
    if (busy)
        return;
    struct strike *strike = new_strike(KILL_EXIT);
    pthread_mutex_lock(&lock);
    if (scope->nonce) {
        scope->strike = strike;
        scope->nonce_then = scope->nonce;
    }
    pthread_mutex_unlock(&lock);
    begin_piece(piece, EXIT, scope, false);
}

static void *kill_around(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    while (atomic_load(&killing)) {
        enum kill_kind kind = choose_kind(&random);
        unsigned number = next_random(&random);
        const uint64_t pause_us = (uint64_t)(next_random(&random) % PAUSE_MOST_US) * slower;
        if (kind == KILL_LAUNCHER) {
            strike_launcher();
        } else if (kind == KILL_EXIT) {
            strike_by_exit(number);
        } else {
            struct process_host *host = choose_host(number);
            if (host) {
                (void)strike_host(host, kind);
                muster__process_host_release(host);
            }
        }
        struct timespec pause = {(time_t)(pause_us / 1000000), (long)(pause_us % 1000000) * 1000};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- the instance ---- */

static void log_line(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (strstr(text, "silent for too long"))
        atomic_fetch_add(&silences, 1);
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
}

/* Struck all the time, they come back soon and are not set apart. */
static const struct muster__crash_policy merciful = {
    .half_life_us = 500000,
    .pause_first_us = MUSTER__CRASH_PAUSE_FIRST_US,
    .pause_longest_us = 20000,
    .alone_from = 1e9,
    .quarantine_from = 1e9,
    .quarantine_first_us = 1,
    .quarantine_longest_us = 1,
};

static void register_scope(struct scope *scope, struct muster_bindings *bindings)
{
    const struct muster_registration_options options = {
        .size = sizeof options,
        .scope = scope->name,
        .script = scope->is_lua ? "mem:/fault.lua" : "mem:/fault.js",
        .engine = scope->is_lua ? "lua" : "javascript",
        .trust = MUSTER_TRUST_FULL,
        .bindings = bindings,
    };
    struct muster_result result;
    struct muster_handle *handle = NULL;
    MUSTER_CHECK(muster_register(muster, &options, NULL, NULL, &handle) == MUSTER_OK);
    MUSTER_CHECK(muster_wait(handle, PATIENCE_US / 1000, &result) == MUSTER_OK);
    if (result.status != MUSTER_OK)
        fprintf(stderr, "%s: %s\n", scope->name, result.error && result.error->message ? result.error->message : "");
    MUSTER_CHECK(result.status == MUSTER_OK);
    muster_handle_release(handle);
}

static void begin(void)
{
    strikes = calloc(STRIKES_MOST, sizeof *strikes);
    MUSTER_CHECK(strikes);
    const struct muster_options options = {
        .size = sizeof options,
        .threads = 2,
        .hosting = MUSTER_HOSTING_PROCESS,
        .processes = HOSTS,
        .log = log_line,
        .load = load,
        .stop_timeout_ms = 2000,
    };
    struct muster_error error = {0};
    struct muster_bindings *bindings = muster_bindings_new();
    MUSTER_CHECK(muster_bindings_add_function(bindings, "fault.began", began, NULL, NULL) == MUSTER_OK);
    MUSTER_CHECK(muster_bindings_add_function(bindings, "fault.heard", heard, NULL, NULL) == MUSTER_OK);
    if (muster_new(&options, &muster, &error) != MUSTER_OK) {
        fprintf(stderr, "%s\n", error.message ? error.message : "");
        abort();
    }
    muster->hosting.crashes = &merciful;
    muster->hosting.processes->options.heartbeat_us = 50000 * slower;
    muster->hosting.processes->options.silent_us = 400000 * slower;
    for (unsigned i = 0; i < SCOPES; i++) {
        scopes[i].is_lua = i >= JAVASCRIPTS;
        snprintf(scopes[i].name, sizeof scopes[i].name, "/%s%u/", scopes[i].is_lua ? "lua" : "js",
                 scopes[i].is_lua ? i - JAVASCRIPTS : i);
        register_scope(&scopes[i], bindings);
    }
    muster_bindings_release(bindings);
}

/* ---- what is left ---- */

/* Descriptors of this process, and what they are. */
static size_t count_descriptors(bool tell)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    MUSTER_CHECK(folder);
    for (struct dirent *at; (at = readdir(folder));) {
        char target[256] = "";
        if (*at->d_name == '.' || atoi(at->d_name) == dirfd(folder))
            continue;
        count++;
        if (tell && readlinkat(dirfd(folder), at->d_name, target, sizeof target - 1) > 0)
            fprintf(stderr, "  descriptor %s: %s\n", at->d_name, target);
    }
    closedir(folder);
    return count;
}

static bool has_mark(const char *pid, const char *mark)
{
    char path[64], bytes[65536];
    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return memmem(bytes, length, mark, strlen(mark)) != NULL;
}

/* Processes with this run's mark in their environment, but this one. */
static unsigned count_processes(const char *mark)
{
    DIR *folder = opendir("/proc");
    unsigned count = 0;
    MUSTER_CHECK(folder);
    for (struct dirent *at; (at = readdir(folder));)
        if (atoi(at->d_name) > 0 && atoi(at->d_name) != getpid() && has_mark(at->d_name, mark))
            count++;
    closedir(folder);
    return count;
}

static void check_ledger(void)
{
    unsigned most = atomic_load(&last_id), unheard = 0;
    for (unsigned id = 1; id <= most; id++) {
        const struct entry *entry = entry_of(id);
        MUSTER_CHECK(entry);
        unsigned runs = atomic_load(&entry->runs), settled = atomic_load(&entry->settled);
        if (entry->asked && settled != 1)
            complain("request %u settled %u times", id, settled);
        if (runs > 1 && !entry->idempotent)
            complain("request %u (%s%s) ran %u times", id, kind_names[entry->kind], entry->inner ? ", inner" : "", runs);
        if (entry->asked && runs > 4)
            complain("request %u ran %u times", id, runs);
        if (entry->asked && entry->surely_told && entry->status == MUSTER_OK && !runs)
            complain("request %u (%s) was answered and never ran", id, kind_names[entry->kind]);
        unheard += entry->asked && entry->in_lua && !runs && settled &&
                   (entry->status == MUSTER_CRASHED || entry->status == MUSTER_RETRY);
    }
    printf("%u in Lua failed with their process before they had said that they ran\n", unheard);
    if (unheard > 2 + most / 1000) /* it may die between the mark in its memory and the first word of the handler */
        complain("requests fail that did not begin");
}

/* ---- the report ---- */

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void print_latency(enum kill_kind kind)
{
    uint64_t *times = calloc(strike_count + 1, sizeof *times);
    size_t count = 0, kills = 0;
    MUSTER_CHECK(times);
    for (unsigned i = 0; i < strike_count; i++)
        if (strikes[i].kind == kind) {
            kills++;
            if (strikes[i].answered_us)
                times[count++] = strikes[i].answered_us - strikes[i].at_us;
        }
    qsort(times, count, sizeof *times, compare);
    printf("  %-9s %5zu kills", kill_names[kind], kills);
    if (count)
        printf(", next answer after: median %.1f ms, worst %.1f ms (%zu seen)", (double)times[count / 2] / 1e3,
               (double)times[count - 1] / 1e3, count);
    printf("\n");
    free(times);
}

static void print_outcomes(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        printf("  %-9s", kind_names[kind]);
        for (int status = 0; status < MUSTER_STATUS_COUNT; status++)
            if (atomic_load(&by_kind[kind][status]))
                printf(" %s %u", muster_status_name((enum muster_status)status) + sizeof "MUSTER_" - 1,
                       atomic_load(&by_kind[kind][status]));
        printf("\n");
    }
}

static void print_report(uint64_t took_us)
{
    unsigned moved = 0, most = atomic_load(&last_id);
    for (unsigned id = 1; id <= most; id++)
        moved += entry_of(id)->asked && atomic_load(&entry_of(id)->runs) > 1;
    printf("%u requests in %.1f s, %u ran again (idempotent), %u answers torn, %u silent processes found\n", most,
           (double)took_us / 1e6, moved, atomic_load(&torn), atomic_load(&silences));
    print_outcomes();
    for (int kind = 0; kind < KILL_KINDS; kind++)
        print_latency((enum kill_kind)kind);
}

/* ---- the course of it ---- */

static void run(void)
{
    uint64_t random = seed, kill_random = seed ^ 0x9e3779b97f4a7c15u, began_us = muster__now_us();
    pthread_t killer;
    unsigned busy = 1;
    atomic_store(&killing, true);
    MUSTER_CHECK(pthread_create(&killer, NULL, kill_around, &kill_random) == 0);
    while (muster__now_us() - began_us < seconds * 1000000) {
        (void)serve(&random, true);
        await_news(100000);
    }
    atomic_store(&killing, false);
    pthread_join(killer, NULL);
    uint64_t until_us = muster__now_us() + PATIENCE_US * slower;
    while ((busy = serve(&random, false)) > 0 && muster__now_us() < until_us)
        await_news(100000);
    for (struct piece *piece = pieces; busy && piece < pieces + IN_FLIGHT + 1; piece++)
        if (piece->busy)
            complain("request %u (%s) to %s is not over: %s", piece->id, kind_names[piece->kind], piece->scope->name,
                     piece->settled ? "its body stands still" : "not settled");
    print_report(muster__now_us() - began_us);
}

static void end(const char *mark)
{
    if (muster_close_wait(muster, PATIENCE_US / 1000) != MUSTER_OK)
        complain("closing takes too long");
    muster_destroy(muster);
    free(strikes);
    unsigned left = count_processes(mark);
    for (int i = 0; left && i < 100; i++) { /* killed, and not gone for a moment */
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        left = count_processes(mark);
    }
    if (left)
        complain("%u processes are left", left);
}

/* What a whole life leaves behind the first time (engines, tables of the C library) is no leak; that the second
 * one, with all its deaths, leaves nothing more is looked at by the leak checker as well. */
static void check_remains(size_t descriptors, size_t bytes)
{
    if (count_descriptors(false) != descriptors) {
        complain("%zu descriptors were open, now there are:", descriptors);
        (void)count_descriptors(true);
    }
    read_ledger();
    check_ledger();
    for (size_t i = 0; i < CHUNKS; i++)
        free(atomic_exchange(&chunks[i], NULL));
    ssize_t more = (ssize_t)mallinfo2().uordblks - (ssize_t)bytes;
    printf("%zd bytes more in use than at the beginning\n", more);
    if (more > BYTES_MOST)
        complain("%zd bytes are left", more);
}

static bool take_arguments(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        bool is_seconds = strcmp(words[i], "--seconds") == 0;
        if ((!is_seconds && strcmp(words[i], "--seed") != 0) || i + 1 == count)
            return false;
        *(is_seconds ? &seconds : &seed) = strtoull(words[++i], NULL, 0);
    }
    return true;
}

int main(int argument_count, char **arguments)
{
    char mark[64];
    const char *folder = getenv("TMPDIR"), *times = getenv("CK_TIMEOUT_MULTIPLIER");
    seed = muster__now_us();
    if (!take_arguments(argument_count, arguments)) {
        fprintf(stderr, "fault_run [--seconds N] [--seed N]\n");
        return 2;
    }
    slower = times && atoi(times) > 0 ? (unsigned)atoi(times) : 1;
    printf("seed %" PRIu64 "\n", seed);
    fflush(stdout);
    snprintf(mark, sizeof mark, "%d-%" PRIu64, (int)getpid(), muster__now_us());
    setenv(MARK, mark, 1);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* processes inherit it: no file for each SIGSEGV */
    snprintf(ledger_path, sizeof ledger_path, "%s/muster-fault-XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(ledger_path);
    MUSTER_CHECK(fd >= 0);
    close(fd);
    begin();
    end(mark);
    size_t descriptors = count_descriptors(false), bytes = mallinfo2().uordblks;
    begin();
    run();
    end(mark);
    check_remains(descriptors, bytes);
    unlink(ledger_path);
    int found = atomic_load(&violations);
    printf("%d passed, %d failed\n", found == 0, found);
    return found ? EXIT_FAILURE : EXIT_SUCCESS;
}
