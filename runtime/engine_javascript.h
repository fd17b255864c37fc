/* runtime/engine_javascript.h - what the files of the JavaScript engine share.  Internal to them.
 *
 * Thread: a VM and its realms belong to one thread at a time; only `interrupted` is touched by others. */
#ifndef MUSTER_ENGINE_JAVASCRIPT_H
#define MUSTER_ENGINE_JAVASCRIPT_H

#include "runtime/engine.h"
#include "runtime/engine_outgoing.h"
#include "runtime/jsc_private.h"
#include "runtime/source_map.h"
#include "runtime/value_internal.h"

struct muster__vm {
    JSContextGroupRef group;
    struct muster__vm_options limits;
    atomic_bool interrupted;

    enum muster_status cut;   /* why an entry was ended, for good; MUSTER_OK: none was */
    unsigned ticks;           /* of the watchdog in this entry */
    uint64_t entry_cpu_us;    /* CPU time at the entry, known from the first tick on */
    uint64_t period_us;       /* of the watchdog */
    uint64_t armed_us;        /* what it is set to now: less in a long entry that nears its limit */
    size_t memory;            /* as of memory_at_us */
    uint64_t memory_at_us;
    struct muster__realm *realms; /* any context will do to ask about memory */

    struct muster__js_lender *lender; /* NULL: never lent any memory */
    JSObjectRef ballast;              /* protected by its realm; NULL: none */
    struct muster__realm *ballast_realm;

    char *scratch; /* for texts on their way out; reused */
    size_t scratch_size;
    bool has_closed; /* sub-realms that were closed and not stopped */
};

/* The functions of the core chunks that the engine enters through. */
enum muster__js_entry {
    JS_ENTRY_FETCH,
    JS_ENTRY_EVENT,
    JS_ENTRY_CALL,
    JS_ENTRY_CANCEL,
    JS_ENTRY_INVOKE,
    JS_ENTRY_ANSWER,
    JS_ENTRY_TIMER,
    JS_ENTRY_REJECTION,
    JS_ENTRY_MODULE,
    JS_ENTRY_HANDLES,
    JS_ENTRY_MAIL,       /* what comes through ports; engine_javascript_port.c */
    JS_ENTRY_MESSAGE,
    JS_ENTRY_CLOSED,
    JS_ENTRY_MAIL_EVENT, /* a request with ports */
    JS_ENTRY_COUNT
};

enum muster__js_name { /* cached property names */
    JS_NAME_NAME,
    JS_NAME_MESSAGE,
    JS_NAME_STACK,
    JS_NAME_LINE,
    JS_NAME_COLUMN,
    JS_NAME_SOURCE_URL,
    JS_NAME_GET,
    JS_NAME_SET,
    JS_NAME_VALUE,
    JS_NAME_LENGTH,
    JS_NAME_COUNT
};

/* How many globals there may be, in words of a mask. */
#define MUSTER__JS_GLOBAL_WORDS 4

/* Functions of the chunk clone. */
enum muster__js_codec { JS_CODEC_SHARE, JS_CODEC_RECEIVE, JS_CODEC_COUNT };

/* A request while something of it runs.  Scripts know it by a number that is never used again. */
struct muster__js_delivery {
    struct muster__request *request;
    uint32_t index;      /* in realm->deliveries */
    uint32_t generation;
    int holds;           /* what is pending; may be -1 for a moment, see deliver() */
    bool settled, passed, touched;
    enum muster_status status; /* how it will settle if nothing else is said */
    struct muster_error error;
    struct muster__js_body_in *in;
    struct muster__js_body_out *out;
    struct muster__js_delivery *next; /* touched or free */
};

/* The head of a response: it is read once while the script gives the same string again. */
struct muster__js_head {
    JSValueRef value;  /* protected; NULL: the next one is read in any case */
    JSValueRef before; /* the last one, which may be gone: only to be compared */
    char *text;        /* what the headers point into */
    size_t capacity;
    struct muster_bytes status_text;
    struct muster_header *headers;
    size_t header_count, header_capacity;
};

/* A promise that the host settles. */
struct muster__js_waiter {
    JSObjectRef resolve, reject; /* protected; NULL: nobody waits */
};

struct muster__js_call { /* an open host call */
    struct muster__js_call *next, *previous;
    struct muster__js_waiter waiter;
};

struct muster__js_rejection {
    JSValueRef promise, reason; /* protected */
};

struct muster__js_function; /* a host binding; engine_javascript_host.c */
struct muster__js_fetch;    /* engine_javascript_fetch.c */
struct muster__js_blob_url;
struct muster__js_class;    /* the prototype of a host class in a realm */
struct muster__js_hub;      /* a realm's ports; engine_javascript_port.c */

struct muster__realm {
    struct muster__realm *next; /* of the VM */
    struct muster__vm *vm;
    JSGlobalContextRef context;
    const struct muster__realm_host *host;
    struct muster__worker *worker;
    enum muster__worker_type type;
    char *name, *scope;
    char **arguments; /* NULL-terminated */
    struct muster_bindings *bindings; /* whose functions the script may call */
    const struct muster__script *script;   /* the worker's, which outlives the realm */
    struct muster__script **imported;
    size_t imported_count;
    uint64_t origin_us;
    double origin_ms; /* since 1970 */

    JSObjectRef native;
    JSObjectRef *chunks; /* exports; NULL: not loaded */
    JSObjectRef entries[JS_ENTRY_COUNT];
    JSStringRef names[JS_NAME_COUNT]; /* shared by the process */
    JSObjectRef error_constructor; /* NULL: not asked for yet */
    JSObjectRef define;            /* Object.defineProperty; likewise */
    char *event_name;              /* of the last event or call; NULL: there was none */
    JSValueRef event_name_value;   /* protected with it */
    uint64_t defined[MUSTER__JS_GLOBAL_WORDS]; /* which of the lazy globals are there, or never will be */

    JSObjectRef codec[JS_CODEC_COUNT]; /* protected; NULL: not asked for yet */
    JSObjectRef inbox;                 /* an Uint8Array over the next; for messages on their way in */
    char *inbox_memory;
    size_t inbox_size;
    JSObjectRef outbox;                /* the same for those on their way out, as long as they are short */
    char *outbox_memory;
    JSObjectRef lengths;               /* an Uint32Array over the next, so that small messages need no calls */
    uint32_t *box_lengths;             /* of what is in the outbox, and in the inbox; and whether more may wait */
    struct muster__js_hub *hub;        /* NULL: it never had a port */
    struct muster__port *host_port, *port; /* as its identity names them; NULL: none, or taken */
    const struct muster_value *incoming; /* the message of this entry; borrowed; NULL: none, or taken */
    struct muster_clone *packed;  /* what the encoder made last; NULL: taken */
    bool met_host_object;         /* the encoder did */
    JSValueRef object_prototype;  /* Object.prototype; NULL: not asked for yet */

    struct muster__js_delivery **deliveries;
    size_t delivery_count, delivery_capacity; /* slots ever used */
    struct muster__js_delivery *idle; /* slots to use again */
    struct muster__js_delivery *touched;
    struct muster__js_delivery *delivering; /* the last entry was for it; NULL: for none, or it is over */
    struct muster__js_head head;            /* of the last response */

    char *url;              /* of a sub-realm; NULL: the script's */
    unsigned sub_number;    /* of a sub-realm: a further one of the worker's, made by a script; else 0 */
    unsigned sub_count;     /* how many it made */
    bool is_closing;        /* the script called close(): nothing begins any more */
    bool is_closed;         /* a sub-realm that was closed: only its functions may still be there */
    bool is_stopped;        /* and it has nothing of the world outside any more */
    bool is_left;           /* nor its chunks */
    bool has_departures; /* a client went away, and errors may say so */
    struct muster__js_rejection *rejections;
    size_t rejection_count, rejection_capacity;
    struct muster__js_call *calls;
    struct muster__outgoing *outgoing;
    struct muster__js_function *functions;
    struct muster__js_class *classes;
    struct muster__js_fetch *fetches;
    struct muster__js_blob_url *blob_urls; /* that scripts have made */
    uint32_t *tokens; /* that its chunks hold, which end with it */
    size_t token_count;

    void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                      const struct muster_error *error);
    bool evaluation_done; /* a module's promise has settled: tell when the entry is over */
    enum muster_status evaluation_status;
    struct muster_error evaluation_error;
};

/* ---- engine_javascript.c ---- */

/* The realm whose entry runs on this thread. */
struct muster__realm *muster__js_current(void);
/* The realm of the context that a callback was given: a script may call functions of the other realms of its
 * worker directly. */
struct muster__realm *muster__js_of(JSContextRef context);
/* Before an entry, and before the codec is used outside of one.  Not OK: why nothing runs here any more. */
enum muster_status muster__js_begin(struct muster__realm *realm);
/* One entry into the VM. *ret_result (may be NULL) is undefined when the script threw. */
enum muster_status muster__js_enter(struct muster__realm *realm, enum muster__js_entry entry,
                                    size_t count, const JSValueRef *arguments, JSValueRef *ret_result);
struct muster__js_delivery *muster__js_delivery_of(struct muster__realm *realm, JSContextRef context,
                                                   JSValueRef id);
void muster__js_touch(struct muster__realm *realm, struct muster__js_delivery *delivery);
/* Ends the touched deliveries that nothing holds. */
void muster__js_sweep(struct muster__realm *realm);
void muster__js_settle(struct muster__realm *realm, struct muster__js_delivery *delivery,
                       const struct muster__outcome *outcome);
/* The exports of a chunk; NULL: *exception says why. */
JSObjectRef muster__js_chunk(struct muster__realm *realm, const char *name, JSValueRef *exception);

bool muster__js_has_chunk(const char *name);
/* Its exports if it was loaded; else NULL. */
JSObjectRef muster__js_loaded_chunk(struct muster__realm *realm, const char *name);
/* One of its exports; undefined when it does not load. */
JSValueRef muster__js_export(struct muster__realm *realm, const char *chunk, const char *name,
                             JSValueRef *exception);

/* A realm of the VM, without content; NULL: out of memory. */
struct muster__realm *muster__js_realm_new(struct muster__vm *vm, const struct muster__realm_options *options);
/* Its `native`, and what else it has before any script.  False: out of memory, or out of time. */
bool muster__js_realm_set_up(struct muster__realm *realm);
/* Its clock begins. */
void muster__js_begin_time(struct muster__realm *realm);
/* It lets go of all that it has of the VM; its functions may still be in other realms' hands. */
void muster__js_realm_stop(struct muster__realm *realm);
void muster__js_realm_leave(struct muster__realm *realm);
void muster__js_realm_free(struct muster__realm *realm);
/* "Report an exception": to the script's own handlers first. */
enum muster_status muster__js_tell_error(struct muster__realm *realm, JSValueRef thrown);

/* ---- engine_javascript_clock.c ---- */

/* CPU time of this thread, at most a millisecond ahead, for the engine: WTF::CPUTime::forCurrentThread(), whose
 * Seconds are one double.  Thread: any. */
MUSTER_API double muster__js_thread_cpu_seconds(void) __asm__("_ZN3WTF7CPUTime16forCurrentThreadEv");

/* ---- engine_javascript_globals.c ---- */

/* The realm's type is known: what its kind of worker does not have is taken away. */
void muster__js_settle_globals(struct muster__realm *realm);

void muster__js_define_globals_of_chunk(struct muster__realm *realm, unsigned index, const char *name,
                                        const char *text);
void muster__js_define_globals_of_script(struct muster__realm *realm, const char *text, size_t length);

/* ---- engine_javascript_text.c ---- */

/* UTF-8 of any kind into a string; what is malformed becomes U+FFFD.  NULL: out of memory. */
JSStringRef muster__js_string(const char *text, size_t length);
JSValueRef muster__js_text(JSContextRef context, const char *text); /* NULL: undefined */
/* As UTF-8, in the VM's scratch memory until the next such call.  NULL: out of memory. */
char *muster__js_scratch(struct muster__vm *vm, JSStringRef string, size_t *ret_length);
/* Whether that said all: no half character was lost.  `length` is of the UTF-8. */
bool muster__js_is_well_formed(JSStringRef string, size_t length);
/* As above, of a value (converted as String() does); freed by the caller.  NULL: it threw, or memory. */
char *muster__js_copy_text(JSContextRef context, JSValueRef value, size_t *ret_length);
bool muster__js_reserve_scratch(struct muster__vm *vm, size_t size);
JSValueRef muster__js_decode_utf8(JSContextRef context, const unsigned char *bytes, size_t length,
                                  bool fatal, JSValueRef *exception);
/* Takes `bytes`, which free() will free. */
JSValueRef muster__js_bytes(JSContextRef context, void *take_bytes, size_t length,
                            JSValueRef *exception);
JSValueRef muster__js_copied_bytes(JSContextRef context, const void *bytes, size_t length,
                                   JSValueRef *exception);
/* The memory of an ArrayBuffer or view; false: it is none. */
bool muster__js_view(JSContextRef context, JSValueRef value, struct muster_bytes *ret_bytes);
JSValueRef muster__js_throw(JSContextRef context, const char *name, const char *message,
                            JSValueRef *exception);
void muster__js_out_of_memory(JSContextRef context, JSValueRef *exception);

/* ---- engine_javascript_clone.c ---- */

/* What is sent to another script.  `is_list`: an array of arguments.  NULL: *exception says why. */
struct muster_value *muster__js_to_value(struct muster__realm *realm, JSContextRef context,
                                         JSValueRef value, bool is_list, JSValueRef *exception);
/* As above, for what is known to be more than a tree can say. */
struct muster_value *muster__js_pack(struct muster__realm *realm, JSContextRef context,
                                     JSValueRef value, bool is_list, JSValueRef *exception);
/* Whether it takes the codec to read it.  An entry is dear: so it is read inside of the one that it is for. */
bool muster__js_is_message(const struct muster_value *value);
/* The message whose bytes the encoder left in this array.  `buffers`: a list, or anything else for none.  NULL:
 * *exception says why. */
struct muster_value *muster__js_packed_value(struct muster__realm *realm, JSContextRef context, JSValueRef array,
                                             size_t length, JSValueRef buffers, size_t host_count,
                                             JSValueRef *exception);
/* What the decoder is given of a message: [array, length, buffers].  False: *exception says why. */
bool muster__js_parts(struct muster__realm *realm, JSContextRef context, const struct muster_value *value,
                      JSValueRef ret_parts[3], JSValueRef *exception);
/* The arrays over the realm's boxes; false: *exception says why. */
bool muster__js_make_boxes(struct muster__realm *realm, JSContextRef context, JSValueRef *exception);
#define MUSTER__JS_OUTBOX_SIZE 4096u
#define MUSTER__JS_INBOX_SIZE 4096u /* so large it is at least */
/* What a message says; *exception says why not. */
JSValueRef muster__js_unpack(struct muster__realm *realm, JSContextRef context,
                             const struct muster_value *value, JSValueRef *exception);
void muster__js_clone_clean_up(struct muster__realm *realm);

/* ---- engine_javascript_buffer.c ---- */

/* The bytes of an ArrayBuffer that no script can reach, for a message.  False: out of memory. */
bool muster__js_buffer_take(struct muster__realm *realm, JSContextRef context, JSObjectRef buffer,
                            struct muster_clone_buffer *ret_buffer);
/* An ArrayBuffer over the bytes, which are taken unless memory for it was missing.  While it is attached, its
 * content has this id, by which it can be handed on without asking for its pointer (which would pin it). */
JSObjectRef muster__js_buffer_make(struct muster__realm *realm, JSContextRef context,
                                   struct muster_clone_buffer *take_buffer, double *ret_id,
                                   JSValueRef *exception);
/* `keep`: the content will outlive its ArrayBuffer, until it is not kept any more or made part of a message. */
void muster__js_buffer_keep(double id, bool keep);
struct muster_clone_buffer muster__js_buffer_kept(double id);
void muster__js_drop_ballast(struct muster__realm *realm);
/* The realm ends: what others still use of its memory stays. */
void muster__js_stop_lending(struct muster__realm *realm);
/* Its realms are gone; so is the group, as soon as nobody uses its memory. */
void muster__js_release_vm(struct muster__vm *vm);
void muster__js_release_dead_vms(void);

/* ---- engine_javascript_value.c ---- */

#define MUSTER__JS_ANY_DEPTH 256

/* As a tree, whose objects are at most so deep.  NULL: *ret_is_rich, if a message could say more or
 * deeper; else *exception says why. */
struct muster_value *muster__js_to_tree(struct muster__realm *realm, JSContextRef context,
                                        JSValueRef value, unsigned depth, bool *ret_is_rich,
                                        JSValueRef *exception);
JSValueRef muster__js_from_value(struct muster__realm *realm, JSContextRef context,
                                 const struct muster_value *value, JSValueRef *exception);
/* Fills `error`, mapped to the author's places. */
void muster__js_describe_error(struct muster__realm *realm, JSContextRef context, JSValueRef thrown,
                               enum muster_status status, struct muster_error *error);
JSValueRef muster__js_make_error(struct muster__realm *realm, JSContextRef context, const char *name,
                                 const char *message, const char *stack);

/* ---- engine_javascript_host.c ---- */

bool muster__js_define_bindings(struct muster__realm *realm, const struct muster_bindings *bindings,
                                JSValueRef *exception);
JSValueRef muster__js_host_object(struct muster__realm *realm, JSContextRef context,
                                  const struct muster_value *value, JSValueRef *exception);
/* The value behind a host object (borrowed); NULL: it is none. */
const struct muster_value *muster__js_host_value(JSContextRef context, JSValueRef value);
enum muster_status muster__js_host_call_ended(struct muster__realm *realm,
                                              struct muster_host_call *call);
void muster__js_host_clean_up(struct muster__realm *realm);

/* ---- engine_javascript_native.c ---- */

JSObjectRef muster__js_make_native(struct muster__realm *realm);
void muster__js_hold(JSContextRef context, struct muster__js_waiter *waiter, JSValueRef resolve,
                     JSValueRef reject);
void muster__js_let_go(JSContextRef context, struct muster__js_waiter *waiter);
/* All that native.tokenTake() gave out there: the realm ends. */
void muster__js_drop_tokens(struct muster__realm *realm);
/* Settles the promise in an entry of its own. */
enum muster_status muster__js_settle_waiter(struct muster__realm *realm,
                                            struct muster__js_waiter *waiter, bool rejected,
                                            JSValueRef value);
/* As above, with what the value says (borrowed); a message that cannot be read rejects. */
enum muster_status muster__js_settle_waiter_with(struct muster__realm *realm, struct muster__js_waiter *waiter,
                                                 const struct muster_value *value);
void muster__js_drop_outgoing(struct muster__realm *realm);

/* ---- engine_javascript_port.c ---- */

/* A handle for an end, whose reference is taken; NULL: *exception says why, and the end is closed. */
JSObjectRef muster__js_port_handle(struct muster__realm *realm, JSContextRef context,
                                   struct muster__port *take_end, JSValueRef *exception);
/* One handle for each end of the message, which are taken out of it. */
JSValueRef muster__js_port_handles(struct muster__realm *realm, JSContextRef context,
                                   struct muster__port_message *message, JSValueRef *exception);
/* The end behind a handle, for whoever hands it on: detached, and its reference the caller's.  NULL: it has none. */
struct muster__port *muster__js_port_take_end(JSValueRef handle);
/* What goes with a request, as five arguments of an entry: data or array, length (-1: it is data; -2: it cannot
 * be read), buffers, handles, head. */
void muster__js_describe_mail(struct muster__realm *realm, const struct muster_value *data,
                              struct muster__port_message *mail, JSValueRef ret_parts[5]);
/* Is it a worker that somebody talks to by an implicit port? */
bool muster__js_has_own_port(const struct muster__realm *realm);
/* A dedicated worker was evaluated: its implicit port begins to deliver. */
void muster__js_ports_begin(struct muster__realm *realm);
/* Nothing is delivered any more, and all ends that the realm has are closed. */
void muster__js_ports_end(struct muster__realm *realm);

/* ---- engine_javascript_native.c ---- */

/* Tells the coordinator for which types of events the script listens (SW-RUN-2), over this end of the host port. */
void muster__js_tell_event_types(struct muster__realm *realm, struct muster__port *port);

/* ---- engine_javascript_realm.c ---- */

/* All realms that its scripts made. */
/* At the end of a turn, when no script runs: those that were closed in it let go of what they have. */
void muster__js_stop_closed_realms(struct muster__vm *vm);
void muster__js_free_sub_realms(struct muster__realm *main);

/* ---- engine_javascript_body.c ---- */

#define MUSTER__JS_CALLBACK(name)                                                                  \
    JSValueRef name(JSContextRef context, JSObjectRef function, JSObjectRef this_object,          \
                    size_t count, const JSValueRef arguments[], JSValueRef *exception)

/* Each byte becomes a character.  NULL: out of memory. */
JSStringRef muster__js_latin1(const char *text, size_t length);
/* "status text\nname\nvalue\nname\nvalue" into realm->head, until the next one.  False: out of memory. */
bool muster__js_read_head(struct muster__realm *realm, JSContextRef context, JSValueRef value);
/* Afterwards: a long one does not stay. */
void muster__js_trim_head(struct muster__realm *realm);
/* The next piece of a stream, or null at its end.  False: nothing there yet.  A status that is not OK comes with
 * an error in *ret_value, or with NULL: then it is the stream's own. */
bool muster__js_read_piece(struct muster__realm *realm, JSContextRef context, struct muster_stream *stream,
                           enum muster_status *ret_status, JSValueRef *ret_value);

MUSTER__JS_CALLBACK(muster__js_native_packed);
MUSTER__JS_CALLBACK(muster__js_native_is_host_object);
MUSTER__JS_CALLBACK(muster__js_native_incoming);
MUSTER__JS_CALLBACK(muster__js_native_keep);
MUSTER__JS_CALLBACK(muster__js_native_boxes);
MUSTER__JS_CALLBACK(muster__js_native_port_pair);
MUSTER__JS_CALLBACK(muster__js_native_port_next);
MUSTER__JS_CALLBACK(muster__js_native_port_send);
MUSTER__JS_CALLBACK(muster__js_native_port_post);
MUSTER__JS_CALLBACK(muster__js_native_port_listen);
MUSTER__JS_CALLBACK(muster__js_native_port_close);
MUSTER__JS_CALLBACK(muster__js_native_port_take);
MUSTER__JS_CALLBACK(muster__js_native_port_backlog);
MUSTER__JS_CALLBACK(muster__js_native_port_is_full);
MUSTER__JS_CALLBACK(muster__js_native_host_port);
MUSTER__JS_CALLBACK(muster__js_native_own_port);
MUSTER__JS_CALLBACK(muster__js_native_realm_open);
MUSTER__JS_CALLBACK(muster__js_native_realm_evaluate);
MUSTER__JS_CALLBACK(muster__js_native_realm_chunk);
MUSTER__JS_CALLBACK(muster__js_native_realm_close);
MUSTER__JS_CALLBACK(muster__js_native_respond);
MUSTER__JS_CALLBACK(muster__js_native_respond_stream);
MUSTER__JS_CALLBACK(muster__js_native_stream_write);
MUSTER__JS_CALLBACK(muster__js_native_stream_drain);
MUSTER__JS_CALLBACK(muster__js_native_stream_close);
MUSTER__JS_CALLBACK(muster__js_native_stream_abort);
MUSTER__JS_CALLBACK(muster__js_native_request_head);
MUSTER__JS_CALLBACK(muster__js_native_request_info);
MUSTER__JS_CALLBACK(muster__js_native_request_body);
MUSTER__JS_CALLBACK(muster__js_native_body_read);
MUSTER__JS_CALLBACK(muster__js_native_body_cancel);
/* ---- engine_javascript_fetch.c ---- */

MUSTER__JS_CALLBACK(muster__js_native_web);
/* The script called close(): its fetches do not hold the worker any more. */
void muster__js_fetch_let_go(struct muster__realm *realm);
/* The realm ends: its fetches, and its blob URLs. */
void muster__js_fetch_clean_up(struct muster__realm *realm);

/* Does this error only say that a client is gone? */
bool muster__js_is_departure(struct muster__realm *realm, JSContextRef context, JSValueRef error);
/* Forgets the head of the last response. */
void muster__js_head_clean_up(struct muster__realm *realm);
/* The client is gone. */
void muster__js_bodies_cancel(struct muster__realm *realm, struct muster__js_delivery *delivery);
/* The delivery ends: both bodies of it as well. */
void muster__js_bodies_end(struct muster__realm *realm, struct muster__js_delivery *delivery);

#endif
