/* tests/fake_realm_host.h - a worker that is not there: everything that an engine asks of its host.
 *
 * Time is virtual and passed in.  What the engine prints, reports, settles, holds and sets is kept, to be
 * looked at.  One thread is the worker's; streams, host calls and dispatches may end on others, and
 * fake_host_wait() waits for those.
 *
 * Nothing here aborts the test by itself, except fake_host_clean_up(), which insists that the engine
 * broke no rule: settled at most once, ended at most once and after that. */
#ifndef MUSTER_TESTS_FAKE_REALM_HOST_H
#define MUSTER_TESTS_FAKE_REALM_HOST_H

#include <pthread.h>

#include "runtime/engine.h"

struct fake_script {
    const char *text;
    const struct muster_native_worker *native;
    int error_line; /* where its error lies */
};

struct fake_request {
    struct muster__request request;
    struct fake_request *next;
    struct fake_host *host;
    bool delivered;
    int settled; /* how often */
    int ended;
    enum muster_status status;
    int status_code;
    char *headers; /* "name: value\n" for each */
    char *body;    /* terminated */
    size_t body_length;
    struct muster_stream *stream;
    struct muster_value *value;
    struct muster_error error;
    char *texts[4]; /* memory of the request's http */
    struct muster_header http_headers[16];
};

struct fake_timer {
    uint32_t id;
    bool repeats;
    uint64_t at_us;
    uint64_t sequence;
    uint64_t period_us;
};

struct fake_token {
    uint32_t id;
    char *name;
    bool dropped;
};

/* A request of the script's to another worker: the test settles it. */
struct fake_dispatch {
    char *scope;
    struct muster__request *request;
};

struct fake_host {
    const struct muster__engine *engine;
    struct muster__vm_options options;
    struct muster__realm_identity identity;
    struct muster__vm *vm;
    struct muster__realm *realm;
    struct muster__script script;

    uint64_t now_us;
    char *console; /* "level text\n" for each call */
    struct muster_error *reports;
    size_t report_count;
    int skip_waiting_count;
    int close_count;
    int evaluated_count;
    enum muster_status evaluated_status;
    enum muster_status cut; /* what an entry answered last that was not OK */

    struct fake_timer *timers; /* a heap by (time, sequence) */
    size_t timer_count;
    size_t timer_capacity;
    uint32_t next_id;
    uint64_t next_sequence;
    struct fake_token *tokens;
    size_t token_count;
    struct fake_dispatch *dispatches;
    size_t dispatch_count;
    bool dispatches_nothing; /* as in a child process: UNSUPPORTED */
    struct fake_request *requests;

    /* What muster.import() and importScripts() find. */
    const char *const *library; /* url, text, url, text, ..., NULL */

    pthread_mutex_t lock; /* over what other threads may post */
    pthread_cond_t posted;
    struct muster__note *notes;
    struct muster_host_call *ended_calls;
    struct muster_host_call **open_calls;
    size_t open_count;
};

extern const struct muster__realm_host fake_realm_host; /* a struct fake_host is the worker */

void fake_host_init(struct fake_host *host, const struct muster__engine *engine);
/* Destroys realm and VM, and checks the rules. */
void fake_host_clean_up(struct fake_host *host);
/* Makes VM and realm, and evaluates "file:///app/worker" with the engine's ending. */
enum muster_status fake_host_start(struct fake_host *host, const struct fake_script *script,
                                   struct muster_error *error);
/* Ends the realm with whatever is in flight, as a worker does that dies. */
void fake_host_kill(struct fake_host *host);

/* Notes, host calls that ended, then turn_end.  True: there was something. */
bool fake_host_run(struct fake_host *host);
/* Lets so much time pass: fires what is due, in order, each in a turn of its own. */
void fake_host_advance(struct fake_host *host, uint64_t ms);
/* Until another thread posts something; then runs it. */
void fake_host_wait(struct fake_host *host);
size_t fake_host_open_tokens(const struct fake_host *host);
bool fake_host_has_token(const struct fake_host *host, const char *name); /* not dropped */

/* The host keeps it until clean_up.  Takes `data`. */
struct fake_request *fake_request_new(struct fake_host *host, enum muster__request_kind kind,
                                      const char *name, struct muster_value *take_data);
/* `headers`: "name: value\n" for each; `body` may be NULL; acquires the stream. */
struct fake_request *fake_fetch_new(struct fake_host *host, const char *method, const char *url,
                                    const char *headers, const char *body,
                                    struct muster_stream *stream);
/* One turn. */
enum muster_status fake_deliver(struct fake_host *host, struct fake_request *request);
/* A call of a function with its arguments as JSON text; one turn. */
struct fake_request *fake_call(struct fake_host *host, const char *function, const char *arguments);
/* Reads a streamed body to its end, turn by turn, letting time pass while nothing else happens.  The
 * last read's status; the bytes are in body. */
enum muster_status fake_read_stream(struct fake_host *host, struct fake_request *request);

#endif
