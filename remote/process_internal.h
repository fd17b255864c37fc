/* remote/process_internal.h - the parent's side of child processes: what its files share.  Internal to them.
 *
 *   processes.c       the launcher, the one in reserve
 *   process_host.c    one process: spawn, link, frames, heartbeat, death
 *   process_worker.c  one worker in it: the same calls and the same listener as a worker on threads
 *   process_request.c one request under way to a worker
 *   process_direct.c  channels between two processes, for their ports
 *   process_errand.c  what a worker asks of this side: other workers, bindings, scripts
 *   process_fetch.c   a fetch of its scripts that a service worker may answer
 *
 * One lock a host guards its maps and lists; nothing is called under it but the link.  Frames, the end of the link and the
 * exit come on the thread that polls, one at a time; everything else from any thread.
 */
#ifndef MUSTER_PROCESS_INTERNAL_H
#define MUSTER_PROCESS_INTERNAL_H

#include "remote/body_pump.h"
#include "remote/last_words.h"
#include "remote/launcher.h"
#include "remote/link.h"
#include "remote/link_port.h"
#include "remote/processes.h"
#include "remote/shared_memory.h"
#include "remote/wire_value.h"
#include "runtime/id_map.h"

#include <pthread.h>

struct process_host;
struct process_worker;

struct muster__processes {
    struct muster__processes_options options;
    struct muster__process_needs usual;
    struct muster__launcher *launcher;
    struct muster__pool_source launcher_source;
    struct muster__actor preparer;
    atomic_uint count;
    pthread_mutex_t lock;
    atomic_bool expects_javascript;
    atomic_bool takes_types_known; /* its program, as one of its processes said */
    struct process_host *spare; /* under the lock, as what follows */
    uint32_t last_trust;        /* of whom the last host was for, and the next may be */
    struct process_host *hosts; /* whose processes may be alive */
    struct process_direct *directs; /* channels between two of them */
    uint32_t last_direct;
    pthread_cond_t one_less;    /* of them */
    unsigned last_number;
    bool stopped;
};

struct process_pipe {
    struct muster__pool_source source;
    struct process_host *host;
    bool open;
};

struct process_host {
    struct muster__host base;
    atomic_uint references; /* the service's or the reserve's, each worker's, the process's until it is dead */
    struct muster__processes *processes;
    char name[24];
    char *isolation;
    struct muster__process_limits limits;
    bool may_be_copy;
    atomic_uint taken; /* by how many workers; PROCESS_DRAINING: by no more */
    atomic_bool doomed; /* killed by us, so its end is near */
    atomic_bool dead;
    atomic_uint_fast64_t turns; /* of workers that are gone */

    struct muster__process *process;
    struct muster__link *link;
    struct muster__link_ports *ports;
    struct muster__pool_source source;
    struct muster__pool_flusher flusher;
    atomic_bool flush_comes; /* and holds a reference */
    struct muster__shared_memory *memory;
    struct process_host *next, *previous; /* of all that live; under the lock of `processes` */
    uint64_t started_us;

    struct { /* Thread: poller */
        struct process_pipe words_pipe, errors_pipe;
        struct muster__last_words_reader words;
        struct muster__error_tail errors;
        bool blames;     /* its death was the doing of somebody in it */
        char fault[256]; /* what it said that it may not; "": nothing */
    } own;

    atomic_bool link_ended, said_hello;
    struct muster__actor keeper; /* heartbeat, silence, emptiness */
    struct muster__pool_timer timer;
    struct { /* Thread: the keeper's turn */
        uint64_t ping, empty_since_us;
        bool shut_down;
    } keep;
    _Atomic uint64_t heard_us;
    _Atomic uint64_t resident; /* bytes, as the workers' figures say */

    pthread_mutex_t lock;
    struct muster__id_map workers;  /* struct process_worker */
    struct muster__id_map requests; /* struct process_request */
    struct muster__id_map errands;  /* struct process_errand */
    uint64_t last_actor;
    uint64_t errand_bytes;          /* of the values of errands */
    uint64_t last_errand;           /* the highest number of one */
    size_t errands_answered;        /* fetches whose bodies are still under way */
    uint32_t last_worker;
    uint64_t last_stall;
    atomic_bool words_short; /* someone waits for a word */
    uint32_t mailing;               /* requests whose ports are being sent: what has these ends after that */
    pthread_cond_t answered;        /* some worker's `answering`, or `mailing`, is 0 */
    bool closed;                    /* it is dead: nothing is added */
    bool killed;                    /* by us, with `killed_for` */
    const char *killed_for;
};

#define PROCESS_DRAINING (1u << 31)

struct process_request;

struct process_worker {
    struct muster__remote_worker base;
    struct muster__id_node node;
    atomic_uint references; /* the service's, the map's, those of requests and errands */
    struct process_host *host;
    uint32_t id;
    struct muster__worker_options options; /* texts are ours */
    struct muster__slot_consumer consumer;

    struct muster__actor actor; /* loads scripts, runs bindings: what may block, or is the embedder's code */
    struct muster__script *script; /* the actor's turn */

    /* Under the host's lock. */
    struct process_request *first, *last; /* in the order in which they were sent */
    struct muster__request *returned, *returned_last; /* the child never began them */
    struct process_errand *jobs, **jobs_end; /* for the actor */
    uint32_t in_flight, holds;
    uint32_t answering; /* errands whose answers are being sent: its end waits for them */
    bool sent_start, started, opened, gone;
    bool ended; /* gone, and all that it had is settled or stands in `returned` */
    bool stop_asked, cancel_asked;
    bool pulling, pull_again;
    uint64_t stalled; /* it found no room, and when: by the host's count; 0: it does not wait */
    struct muster__worker_stats stats;
    char holding[256];
};

struct process_request {
    struct muster__id_node node;
    atomic_uint references; /* the worker's list, the map's, each body's */
    struct process_worker *worker;
    struct muster__request *request; /* until it has ended: the slot's reference, or ours for control */
    struct process_request *next, *previous;
    uint32_t word;
    enum muster__request_kind kind;
    bool control, answered;
    bool moves; /* under the lock: it was taken, to go to another worker */
    bool streams, answer_streams; /* there is such a body */
    unsigned parts; /* the request, and bodies under way; the map lets go at 0 */
    struct muster__body_pump *body, *answer;
    uint64_t *ports; /* that went with it, as many as its mail has; NULL: none */
};

/* Something that the child opened. */
struct process_errand {
    struct muster__id_node node; /* while a CANCEL may name it */
    struct process_errand *next; /* in the worker's jobs */
    struct process_worker *worker;
    void (*run)(struct process_errand *errand); /* thread: the worker's actor */
    struct muster__request request;             /* DISPATCH */
    _Atomic(struct muster__slot *) slot;        /* which took it */
    atomic_bool canceled;                       /* nobody wants it any more */
    char *name, *scope;                         /* also: binding's path; url and importer */
    struct muster_value *arguments;
    uint64_t bytes; /* of its value, as counted in the host's errand_bytes */
    bool is_fetch;  /* under the host's lock: process_fetch.c's, which is all there */
};

/* processes.c */
void muster__processes_log(struct muster__processes *processes, enum muster_log_level level,
                           const char *subject, const char *format, ...) MUSTER_PRINTF(4, 5);

/* process_host.c */
MUSTER_MUST_CHECK enum muster_status muster__process_host_new(struct muster__processes *processes,
                                                              unsigned number,
                                                              const struct muster__process_needs *needs,
                                                              bool may_be_copy, struct process_host **ret_host,
                                                              struct muster_error *error);
/* Thread: coordinator, once: it belongs to somebody from now on. */
MUSTER_MUST_CHECK enum muster_status
muster__process_host_assign(struct process_host *host, const struct muster_placement_request *request);
void muster__process_host_acquire(struct process_host *host);
void muster__process_host_release(struct process_host *host);
/* Thread: any, once nothing polls any more and the process was killed: what `exited` would have done. */
void muster__process_host_bury(struct process_host *host);
/* Thread: any.  Sends, or kills the host: what must arrive cannot be refused. */
void muster__process_host_send(struct process_host *host, const struct muster__wire_message *message,
                               unsigned flags);
/* Thread: any.  Can it take a request now?  False: not, and those that are stalled pull again when it can. */
bool muster__process_host_has_room(struct process_host *host);
/* Thread: any.  A word was given back. */
void muster__process_host_word_free(struct process_host *host);
/* Thread: any.  `reason` is static. */
void muster__process_host_kill(struct process_host *host, const char *reason);
/* Thread: poller.  It said what no child may. */
void muster__process_host_distrust(struct process_host *host, const char *format, ...) MUSTER_PRINTF(2, 3);
/* MUSTER__LINK_NOW where nobody flushes soon by itself. */
unsigned muster__process_host_urgency(const struct process_host *host);

/* process_direct.c; thread: any. */
/* As struct muster__link_ports_options wants it. */
bool muster__process_hosts_meet(void *user_data, void *other_user_data, uint64_t *ret_id);
/* It is dead, or about to be forgotten. */
void muster__process_host_part(struct process_host *host);

/* process_worker.c */
MUSTER_MUST_CHECK enum muster_status
muster__process_worker_new(struct process_host *host, const struct muster__worker_options *options,
                           struct muster__remote_worker **ret_worker);
void muster__process_worker_acquire(struct process_worker *worker);
void muster__process_worker_release(struct process_worker *worker);
/* Thread: poller. */
void muster__process_worker_frame(struct process_worker *worker, struct muster__wire_message *message);
/* Thread: any, with `gone` set.  Waits for those who are sending an answer to it: later ones send nothing, and what
 * they would need may be destroyed. */
void muster__process_worker_hush(struct process_worker *worker);
/* Thread: poller.  It is gone, with its host (`error` says how) or by itself. */
void muster__process_worker_end(struct process_worker *worker, enum muster_status status,
                                const struct muster_error *error, uint64_t turns, bool with_host);
/* Thread: any.  Takes from the slot what waits there. */
void muster__process_worker_pull(struct process_worker *worker);
/* Who may have killed the process: those in a turn; those that had begun something; every one. */
enum process_blame { PROCESS_BLAME_RUNNING, PROCESS_BLAME_BEGUN, PROCESS_BLAME_ALL };
/* Thread: poller, when the process is dead; under the host's lock. */
bool muster__process_worker_is_suspect_locked(struct process_worker *worker, enum process_blame blame);

/* process_request.c */
/* Thread: any.  Takes the request on OK. */
MUSTER_MUST_CHECK enum muster_status muster__process_request_send(struct process_worker *worker,
                                                                  struct muster__request *request,
                                                                  bool control);
/* Thread: poller. */
void muster__process_request_frame(struct process_host *host, struct muster__wire_message *message);
void muster__process_request_cancel(struct process_worker *worker, const struct muster__request *request);
/* Thread: any.  What a worker that has ended did not begin goes back to the slot, in its order and before what
 * came later, once nobody pulls any more. */
void muster__process_requests_give_back(struct process_worker *worker);
/* Thread: poller.  All that a worker has: those that never began go back to the slot, the others are settled. */
void muster__process_requests_end(struct process_worker *worker, enum muster_status status,
                                  const struct muster_error *error, bool with_host);
/* Thread: any.  Settles what is in flight, from outside; `begun_only`: what has not begun stays as it is. */
void muster__process_requests_settle(struct process_worker *worker, enum muster_status status,
                                     const struct muster_error *error, bool begun_only);
/* Thread: poller, when the process is dead: bodies that were under way. */
void muster__process_requests_abort(struct process_host *host, const char *message);

/* process_errand.c; thread: poller. */
void muster__process_errand_frame(struct process_worker *worker, struct muster__wire_message *message);
/* CANCEL of what it has asked. */
void muster__process_errand_cancel(struct process_worker *worker, const struct muster__wire_message *message);
/* Thread: the worker's actor.  True: there may be more. */
bool muster__process_errand_run_one(struct process_worker *worker);

/* For process_fetch.c; thread: any, unless it says else. */
void muster__process_errand_destroy(struct process_errand *errand);
/* Out of the map: nothing names it any more. */
void muster__process_errand_forget(struct process_errand *errand);
/* An answer may be sent until end_answer(), as the worker's end waits for that.  False: nobody listens. */
MUSTER_MUST_CHECK bool muster__process_errand_begin_answer(struct process_worker *worker);
void muster__process_errand_end_answer(struct process_worker *worker);
/* As `posted` of a request's class. */
void muster__process_errand_posted(struct muster__request *request, struct muster__slot *slot);
/* Settles its request as canceled and tells the worker that has it; nothing if it is settled. */
void muster__process_errand_call_off(struct process_errand *errand);
/* Thread: poller.  A value of the child's, who is to blame if it is none.  `link` as muster__wire_value_unpack() has it. */
MUSTER_MUST_CHECK enum muster_status muster__process_errand_unpack(struct process_errand *errand,
                                                                   const struct muster__wire_value *value,
                                                                   struct muster__link *link,
                                                                   struct muster_value **ret_value);
/* Until when what this worker asks of another may keep that alive. */
uint64_t muster__process_errand_keepalive(const struct process_worker *worker, uint64_t told_us);

/* process_fetch.c */
extern const size_t muster__process_fetch_size; /* of what begins with an errand */
/* What it will take here. */
uint64_t muster__process_fetch_bytes(const struct muster__wire_message *message);
/* Thread: poller.  An errand of that size, in the map; takes it. */
void muster__process_fetch(struct process_errand *errand, const struct muster__wire_message *message);
/* Thread: poller.  BODY... of an actor that the child opened. */
void muster__process_fetch_frame(struct process_host *host, const struct muster__wire_message *message);
/* Thread: any.  The worker is gone, and whoever was answering it is done. */
void muster__process_fetches_end(struct process_worker *worker);

#endif
