/* runtime/engine_javascript_port.c - message ports in JavaScript: who hears their mail, and when.
 *
 * A script's MessagePort has a *handle*, an object whose private data is the record here; the record has one
 * end of a channel (runtime/port.h).  All records of a realm share a hub: any thread that posts into one of
 * the ends puts its record on the hub's list and posts the hub's note, and in the worker's turn that follows
 * the mail is delivered, each message in an entry of its own, so that microtasks run between two of them.
 * Ports take turns, and a turn delivers no more than MAIL_A_TURN: requests and timers have theirs.
 *
 * Small messages travel without a call of the engine's being made for them: the encoder writes into the
 * realm's outbox, the decoder reads from its inbox, and their lengths stand beside them.  (Every call into
 * the engine takes its lock, which costs as much as writing the message.)
 *
 * What a script cannot reach any more is collected: then the handle's finalizer, on whatever thread, puts the
 * record on another list, and the next turn closes the end, which the other end hears.  A record with a
 * receiver is never collected: its mail is wanted.
 *
 * Thread: the VM's, but for ready() and the finalizer. */
#include "runtime/clone_internal.h"
#include "runtime/engine_javascript.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAIL_A_TURN 256u
#define MAIL_IN_A_ROW 64u /* from one port, while others wait */
#define FILLERS_MOST 4096u
#define FIRST_MAIL_S 10   /* how long an environment may be on its way */

enum { LISTENS_MAIL = 1, LISTENS_CLOSE = 2 }; /* as ports.js has them */

struct record {
    struct record *next, *previous; /* of the hub */
    struct record *next_ready;      /* on its list; under the hub's lock, as are */
    bool is_ready;
    struct record *next_dropped;
    atomic_bool is_told; /* ready() came, and take() has not yet said that nothing is left */
    struct muster__js_hub *hub;
    struct muster__port *end; /* NULL: handed on, or closed */
    JSObjectRef receiver;     /* protected; NULL: nobody hears of it */
    unsigned listens;
    bool told_closed;
    bool is_busy; /* the last time there was more than one message: to ask for the next one is worth a call */
};

/* Counted: the realm has one reference, and each record. */
struct muster__js_hub {
    atomic_uint references;
    struct muster__note note;
    struct record *records;
    struct record *delivering; /* small mail, and more may follow in the same entry */
    unsigned left;             /* how many more */
    bool is_empty;             /* nothing waits there any more */
    struct muster__port_message *large; /* one that was taken and is not small: the next to be delivered */
    JSObjectRef own_handle; /* of the implicit port; protected; NULL: not asked for */

    pthread_mutex_t lock;        /* over all of the rest */
    pthread_cond_t arrived;      /* somebody waits for mail; see wait_for_mail() */
    struct muster__realm *realm; /* NULL: it is gone */
    struct record *ready, **ready_end;
    struct record *dropped; /* their handles were collected */
};

/* ---- hubs ---- */

static void release_hub(struct muster__js_hub *hub)
{
    if (atomic_fetch_sub_explicit(&hub->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_cond_destroy(&hub->arrived);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static void push_ready_locked(struct muster__js_hub *hub, struct record *record)
{
    if (record->is_ready)
        return;
    record->is_ready = true;
    record->next_ready = NULL;
    *hub->ready_end = record;
    hub->ready_end = &record->next_ready;
}

static void note_locked(struct muster__js_hub *hub)
{
    if (hub->realm)
        hub->realm->host->note_post(hub->realm->worker, &hub->note);
}

static void push_ready(struct muster__js_hub *hub, struct record *record)
{
    pthread_mutex_lock(&hub->lock);
    push_ready_locked(hub, record);
    note_locked(hub);
    pthread_mutex_unlock(&hub->lock);
}

static struct record *pop_ready(struct muster__js_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    struct record *record = hub->ready;
    if (record) {
        hub->ready = record->next_ready;
        if (!hub->ready)
            hub->ready_end = &hub->ready;
        record->is_ready = false;
    }
    pthread_mutex_unlock(&hub->lock);
    return record;
}

static void forget_ready_locked(struct muster__js_hub *hub, struct record *record)
{
    struct record **at = &hub->ready;
    if (!record->is_ready)
        return;
    while (*at != record)
        at = &(*at)->next_ready;
    *at = record->next_ready;
    if (!record->next_ready)
        hub->ready_end = at;
    record->is_ready = false;
}

/* Thread: any. */
static void end_ready(struct muster__port *end, void *owner)
{
    struct record *record = owner;
    struct muster__js_hub *hub = record->hub;
    (void)end;
    atomic_store(&record->is_told, true);
    pthread_mutex_lock(&hub->lock);
    bool was_idle = !hub->ready;
    push_ready_locked(hub, record);
    if (was_idle)
        note_locked(hub);
    pthread_cond_broadcast(&hub->arrived);
    pthread_mutex_unlock(&hub->lock);
}

static const struct muster__port_owner_class owner_class = {.ready = end_ready};

static void run_note(struct muster__note *note, struct muster__realm *main);

static struct muster__js_hub *hub_of(struct muster__realm *realm)
{
    struct muster__js_hub *hub = realm->hub;
    if (hub)
        return hub;
    hub = calloc(1, sizeof *hub);
    if (!hub)
        return NULL;
    atomic_init(&hub->references, 1);
    hub->note.run = run_note;
    hub->ready_end = &hub->ready;
    hub->realm = realm;
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->arrived, NULL);
    return realm->hub = hub;
}

/* ---- records and their handles ---- */

/* Takes the end out, detached. */
static struct muster__port *take_end(struct record *record)
{
    struct muster__port *end = record->end;
    if (!end)
        return NULL;
    muster__port_detach(end);
    record->end = NULL;
    return end;
}

static void close_end(struct record *record)
{
    struct muster__port *end = take_end(record);
    if (!end)
        return;
    muster__port_close(end);
    muster__port_release(end);
}

/* Thread: any, in a collection. */
static void handle_finalized(JSObjectRef handle)
{
    struct record *record = JSObjectGetPrivate(handle);
    struct muster__js_hub *hub = record->hub;
    pthread_mutex_lock(&hub->lock);
    bool is_orphan = !hub->realm;
    if (!is_orphan) {
        record->next_dropped = hub->dropped;
        hub->dropped = record;
        note_locked(hub);
    }
    pthread_mutex_unlock(&hub->lock);
    if (!is_orphan)
        return;
    free(record);
    release_hub(hub);
}

static JSClassRef handle_class(void)
{
    static _Atomic(JSClassRef) slot; /* made once for the process, and kept */
    static const JSClassDefinition definition = {
        .attributes = kJSClassAttributeNoAutomaticPrototype,
        .className = "PortHandle",
        .finalize = handle_finalized,
    };
    JSClassRef class = atomic_load_explicit(&slot, memory_order_acquire);
    if (class)
        return class;
    JSClassRef made = JSClassCreate(&definition);
    if (atomic_compare_exchange_strong(&slot, &class, made))
        return made;
    JSClassRelease(made);
    return class;
}

JSObjectRef muster__js_port_handle(struct muster__realm *realm, JSContextRef context,
                                   struct muster__port *take_port, JSValueRef *exception)
{
    struct muster__js_hub *hub = hub_of(realm);
    struct record *record = hub ? calloc(1, sizeof *record) : NULL;
    if (!record) {
        muster__port_release(take_port);
        muster__js_out_of_memory(context, exception);
        return NULL;
    }
    atomic_fetch_add_explicit(&hub->references, 1, memory_order_relaxed);
    record->hub = hub;
    record->end = take_port;
    record->next = hub->records;
    if (hub->records)
        hub->records->previous = record;
    hub->records = record;
    JSObjectRef handle = JSObjectMake(context, handle_class(), record);
    muster__port_attach(take_port, &owner_class, record);
    return handle;
}

JSValueRef muster__js_port_handles(struct muster__realm *realm, JSContextRef context,
                                   struct muster__port_message *message, JSValueRef *exception)
{
    JSObjectRef list = JSObjectMakeArray(context, 0, NULL, exception);
    for (size_t i = 0; list && !*exception && i < message->port_count; i++) {
        struct muster__port *end = message->ports[i];
        message->ports[i] = NULL;
        JSObjectRef handle = end ? muster__js_port_handle(realm, context, end, exception) : NULL;
        if (handle)
            JSObjectSetPropertyAtIndex(context, list, (unsigned)i, handle, exception);
    }
    return list ? list : JSValueMakeUndefined(context);
}

static void let_receiver_go(struct muster__realm *realm, struct record *record)
{
    if (record->receiver)
        JSValueUnprotect(realm->context, record->receiver);
    record->receiver = NULL;
    record->listens = 0;
}

static void forget_record(struct muster__js_hub *hub, struct record *record)
{
    *(record->previous ? &record->previous->next : &hub->records) = record->next;
    if (record->next)
        record->next->previous = record->previous;
}

static void close_dropped(struct muster__js_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    struct record *record = hub->dropped;
    hub->dropped = NULL;
    pthread_mutex_unlock(&hub->lock);
    while (record) {
        struct record *next = record->next_dropped;
        close_end(record); /* ready() may have come for it until here, but not any more */
        pthread_mutex_lock(&hub->lock);
        forget_ready_locked(hub, record);
        pthread_mutex_unlock(&hub->lock);
        forget_record(hub, record);
        free(record);
        release_hub(hub); /* the realm has one more */
        record = next;
    }
}

static struct record *record_of(JSValueRef handle)
{
    return JSObjectGetPrivate((JSObjectRef)handle);
}

struct muster__port *muster__js_port_take_end(JSValueRef handle)
{
    struct record *record = record_of(handle);
    let_receiver_go(record->hub->realm, record);
    return take_end(record);
}

/* ---- delivering ---- */

static bool is_small(const struct muster__realm *realm, const struct muster__port_message *message)
{
    if (!realm->inbox || !realm->lengths)
        return false;
    if (message->small > 0)
        return message->small <= realm->inbox_size;
    struct muster_clone *clone = muster_value_clone(message->data);
    return clone && !message->head && message->port_count == 0 && muster_clone_buffer_count(clone) == 0 &&
           muster_clone_bytes(clone).length <= realm->inbox_size;
}

static void put_into_inbox(struct muster__realm *realm, const struct record *record,
                           const struct muster__port_message *message)
{
    struct muster_bytes bytes = message->small > 0 ? muster__port_message_small(message)
                                                   : muster_clone_bytes(muster_value_clone(message->data));
    memcpy(realm->inbox_memory, bytes.data, bytes.length);
    realm->box_lengths[1] = (uint32_t)bytes.length;
    realm->box_lengths[2] = record->is_busy;
}

static void was_read(struct record *record, struct muster__port_message *take_message)
{
    muster__port_message_was_read(record->end, take_message);
}

/* And those that follow it, up to `limit` in all: to enter the engine costs more than to read a message.
 * How many. */
static unsigned deliver_small(struct muster__realm *realm, struct record *record,
                              struct muster__port_message *take_message, unsigned limit)
{
    struct muster__js_hub *hub = record->hub;
    const JSValueRef arguments[] = {record->receiver, realm->inbox};
    put_into_inbox(realm, record, take_message);
    was_read(record, take_message);
    hub->delivering = record;
    hub->left = limit - 1;
    hub->is_empty = false;
    (void)muster__js_enter(realm, JS_ENTRY_MAIL, 2, arguments, NULL); /* whether it was cut is known to the VM */
    hub->delivering = NULL;
    return limit - hub->left;
}

static bool may_deliver(const struct muster__realm *realm);

static bool wants_mail(const struct record *record)
{
    return record->end && record->receiver && record->listens & LISTENS_MAIL;
}

/* NULL: nothing is left, and ready() will come again. */
static struct muster__port_message *take_mail(struct record *record)
{
    if (muster__port_reads_on(record->end)) /* the usual case in a flood */
        return muster__port_read(record->end);
    atomic_store(&record->is_told, false); /* first: ready() may come right after */
    struct muster__port_message *message = muster__port_read(record->end);
    if (message)
        atomic_store(&record->is_told, true);
    return message;
}

/* As others see it.  NULL: there is no memory, and the end is closed. */
static struct muster__port_message *enlarge(struct record *record, struct muster__port_message *take_message)
{
    struct muster__port_message *message = muster__port_message_enlarge(take_message);
    if (!message)
        close_end(record);
    return message;
}

/* portNext(): lets the microtasks of the last message run, and puts the next into the inbox.  False: there is
 * none that is small, or others have their turn. */
MUSTER__JS_CALLBACK(muster__js_native_port_next)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__js_hub *hub = realm->hub;
    (void)function;
    (void)this_object;
    (void)count;
    (void)arguments;
    (void)exception;
    if (!hub || !hub->delivering || hub->left == 0 || !muster__jsc_drain_microtasks)
        return JSValueMakeBoolean(context, false);
    JSLock(context);
    muster__jsc_drain_microtasks(realm->vm->group);
    JSUnlock(context);
    struct record *record = may_deliver(realm) ? hub->delivering : NULL;
    if (!record || !wants_mail(record))
        return JSValueMakeBoolean(context, false);
    struct muster__port_message *message = take_mail(record);
    bool is_next = message && is_small(realm, message);
    hub->is_empty = !message;
    if (is_next) {
        hub->left--;
        put_into_inbox(realm, record, message);
        was_read(record, message);
    } else {
        hub->large = message;
    }
    return JSValueMakeBoolean(context, is_next);
}

void muster__js_describe_mail(struct muster__realm *realm, const struct muster_value *data,
                              struct muster__port_message *mail, JSValueRef ret_parts[5])
{
    JSContextRef context = realm->context;
    JSValueRef thrown = NULL;
    ret_parts[0] = JSValueMakeUndefined(context);
    ret_parts[1] = JSValueMakeNumber(context, -1);
    ret_parts[2] = ret_parts[3] = JSValueMakeNull(context);
    ret_parts[4] = mail->head ? muster__js_from_value(realm, context, mail->head, &thrown)
                              : JSValueMakeUndefined(context);
    if (!thrown && mail->port_count > 0)
        ret_parts[3] = muster__js_port_handles(realm, context, mail, &thrown);
    if (!thrown && muster__js_is_message(data))
        (void)muster__js_parts(realm, context, data, ret_parts, &thrown);
    else if (!thrown && data) /* a plain one, which may have come from another process */
        ret_parts[0] = muster__js_from_value(realm, context, muster__value_plain(data), &thrown);
    if (thrown)
        ret_parts[1] = JSValueMakeNumber(context, -2);
}

static enum muster_status deliver_any(struct muster__realm *realm, struct record *record,
                                      struct muster__port_message *message)
{
    JSValueRef arguments[6];
    enum muster_status status = muster__js_begin(realm);
    if (status != MUSTER_OK)
        return status;
    arguments[0] = record->receiver;
    muster__js_describe_mail(realm, message->data, message, arguments + 1);
    status = muster__js_enter(realm, JS_ENTRY_MESSAGE, 6, arguments, NULL);
    if (!realm->inbox || !realm->lengths) { /* the next one may be small */
        JSValueRef ignored = NULL;
        (void)muster__js_make_boxes(realm, realm->context, &ignored);
    }
    return status;
}

/* One that was collected, or whose channel is gone, has no receiver: what is told comes to nobody. */
static void tell_closed(struct muster__realm *realm, struct record *record)
{
    const JSValueRef argument = record->receiver;
    if (record->told_closed || !record->receiver || !record->end || !muster__port_is_closed(record->end))
        return;
    record->told_closed = true;
    (void)muster__js_enter(realm, JS_ENTRY_CLOSED, 1, &argument, NULL);
}

static bool may_deliver(const struct muster__realm *realm)
{
    return !realm->is_closing && !realm->is_closed && realm->vm->cut == MUSTER_OK;
}

static struct muster__port_message *take_next(struct record *record)
{
    struct muster__js_hub *hub = record->hub;
    struct muster__port_message *message = hub->large;
    hub->large = NULL;
    return message ? message : take_mail(record);
}

/* How many messages; `limit`: there may be more. */
static unsigned deliver_mail(struct muster__realm *realm, struct record *record, unsigned limit)
{
    unsigned count = 0;
    /* First: in a realm that was closed meanwhile the record may be gone. */
    while (may_deliver(realm) && count < limit && wants_mail(record)) {
        struct muster__port_message *message = take_next(record);
        if (!message)
            break;
        if (is_small(realm, message)) {
            record->is_busy = count > 0;
            count += deliver_small(realm, record, message, limit - count);
            if (realm->hub && realm->hub->is_empty) /* it was looked at already */
                break;
            continue;
        }
        message = enlarge(record, message);
        if (message)
            (void)deliver_any(realm, record, message); /* whether it was cut short is known to the VM */
        muster__port_message_destroy(message);
        count++;
    }
    if (realm->hub) { /* only if the VM was cut short in between */
        muster__port_message_destroy(realm->hub->large);
        realm->hub->large = NULL;
    }
    if (may_deliver(realm) && count < limit)
        tell_closed(realm, record);
    return count;
}

static void note_again(struct muster__js_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    if (hub->ready && hub->realm && may_deliver(hub->realm))
        note_locked(hub);
    pthread_mutex_unlock(&hub->lock);
}

static void run_note(struct muster__note *note, struct muster__realm *main)
{
    struct muster__js_hub *hub = MUSTER_CONTAINER_OF(note, struct muster__js_hub, note);
    struct muster__realm *realm = hub->realm;
    struct record *record;
    unsigned left = realm->vm->realms->next ? 1 : MAIL_A_TURN; /* realms take turns, so that all hear in one order */
    (void)main;
    atomic_fetch_add_explicit(&hub->references, 1, memory_order_relaxed); /* its realm may be closed meanwhile */
    close_dropped(hub);
    bool is_done = false;
    while (left > 0 && may_deliver(realm) && !is_done) {
        unsigned limit = left < MAIL_IN_A_ROW ? left : MAIL_IN_A_ROW;
        record = pop_ready(hub);
        unsigned count = record ? deliver_mail(realm, record, limit) : 0;
        left -= count;
        if (record && may_deliver(realm) && count == limit)
            push_ready(hub, record);
        is_done = !record; /* what comes from here on posts the note itself */
    }
    if (!is_done)
        note_again(hub);
    release_hub(hub);
}

/* ---- sending ---- */

static JSValueRef post(struct muster__realm *realm, JSContextRef context, struct record *record,
                       struct muster_value *take_head, struct muster_value *take_data, size_t port_count,
                       JSValueRef handles, JSValueRef *exception)
{
    struct muster__port_message *message = muster__port_message_new(take_head, take_data, port_count);
    for (size_t i = 0; i < port_count; i++) { /* the script has lost them, also when there is no memory */
        JSValueRef handle = JSObjectGetPropertyAtIndex(context, (JSObjectRef)handles, (unsigned)i, NULL);
        struct muster__port *end = handle ? muster__js_port_take_end(handle) : NULL;
        if (message)
            message->ports[i] = end;
        else
            muster__port_release(end);
    }
    (void)realm;
    if (!message)
        muster__js_out_of_memory(context, exception);
    else if (record && record->end)
        muster__port_post(record->end, message);
    else
        muster__port_message_destroy(message);
    return JSValueMakeUndefined(context);
}

/* portSend(handle): what is in the outbox; it has no buffers and no ports.  False: too much waits there. */
MUSTER__JS_CALLBACK(muster__js_native_port_send)
{
    struct muster__realm *realm = muster__js_of(context);
    struct record *record = record_of(arguments[0]);
    struct muster_clone *clone = NULL;
    size_t length = realm->box_lengths[0];
    (void)function;
    (void)this_object;
    (void)count;
    if (!record->end)
        return NULL;
    if (muster__port_is_full(record->end))
        return JSValueMakeBoolean(context, false);
    if (length <= MUSTER__PORT_SMALL) {
        if (!muster__port_post_small(record->end, realm->outbox_memory, length))
            muster__js_out_of_memory(context, exception);
        return NULL;
    }
    struct muster_value *data =
        muster__clone_new_copy(realm->outbox_memory, length, &clone) == MUSTER_OK
            ? muster_value_new_clone(clone)
            : NULL;
    struct muster__port_message *message = data ? muster__port_message_new(NULL, data, 0) : NULL;
    if (message)
        muster__port_post(record->end, message);
    else
        muster__js_out_of_memory(context, exception);
    return NULL; /* as good as undefined, and no call */
}

static size_t length_of(struct muster__realm *realm, JSContextRef context, JSValueRef list)
{
    if (!JSValueIsObject(context, list))
        return 0;
    JSValueRef length = JSObjectGetProperty(context, (JSObjectRef)list, realm->names[JS_NAME_LENGTH], NULL);
    double count = length ? JSValueToNumber(context, length, NULL) : 0;
    return count > 0 ? (size_t)count : 0;
}

/* portPost(handle, array, length, buffers, handles, head): array and length as the encoder left them (length
 * -1: no data); the lists may be null; head is a plain value, or undefined.  handle null: to nobody, but the
 * ends are lost to the script all the same.  False: too much waits there, and nothing was sent. */
MUSTER__JS_CALLBACK(muster__js_native_port_post)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster_value *data = NULL, *head = NULL;
    bool is_rich = false;
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 6);
    struct record *record = JSValueIsObject(context, arguments[0]) ? record_of(arguments[0]) : NULL;
    bool is_plain = JSValueIsUndefined(context, arguments[5]);
    if (is_plain && record && record->end && muster__port_is_full(record->end)) /* before anything is transferred */
        return JSValueMakeBoolean(context, false);
    double length = JSValueToNumber(context, arguments[2], NULL);
    size_t port_count = length_of(realm, context, arguments[4]);
    if (!is_plain) {
        head = muster__js_to_tree(realm, context, arguments[5], MUSTER__JS_ANY_DEPTH, &is_rich, exception);
        if (!head && !*exception)
            return muster__js_throw(context, "TypeError", "this is no plain value", exception);
    }
    if (!*exception && length >= 0)
        data = muster__js_packed_value(realm, context, arguments[1], (size_t)length, arguments[3], port_count,
                                       exception);
    if (*exception) {
        muster_value_release(head);
        return JSValueMakeUndefined(context);
    }
    return post(realm, context, record, head, data, port_count, arguments[4], exception);
}

/* ---- what ports.js asks for ---- */

static JSValueRef pair_of(JSContextRef context, JSValueRef first, JSValueRef second, JSValueRef *exception)
{
    const JSValueRef items[] = {first, second};
    JSObjectRef list = JSObjectMakeArray(context, 2, items, exception);
    return list ? list : JSValueMakeUndefined(context);
}

static enum muster_status new_pair(const struct muster__realm *realm, struct muster__port *ret_ends[2])
{
    const struct muster__realm_host *host = realm->host;
    return host->port_pair && realm->worker ? host->port_pair(realm->worker, ret_ends) : muster__port_pair(ret_ends);
}

static bool has_dropped(struct muster__js_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    bool has = hub->dropped != NULL;
    pthread_mutex_unlock(&hub->lock);
    return has;
}

/* The engine collects at once, but finalizes what it has collected only where it looks for room for another object of that
 * kind. */
static void collect_handles(struct muster__js_hub *hub, JSContextRef context)
{
    static const JSClassDefinition definition = {.className = "Filler"};
    JSClassRef class = JSClassCreate(&definition);
    JSSynchronousGarbageCollectForDebugging(context);
    for (unsigned i = 0; i < FILLERS_MOST && !has_dropped(hub); i++)
        (void)JSObjectMake(context, class, NULL);
    JSClassRelease(class);
}

/* portPair(): the handles of a new channel; null: the realm was closed; false: there are too many. */
MUSTER__JS_CALLBACK(muster__js_native_port_pair)
{
    struct muster__realm *realm = muster__js_of(context);
    struct muster__port *ends[2];
    (void)function;
    (void)this_object;
    (void)count;
    (void)arguments;
    if (realm->is_closed)
        return JSValueMakeNull(context);
    enum muster_status status = new_pair(realm, ends);
    if (status == MUSTER_QUEUE_FULL && realm->hub) { /* perhaps nobody refers to some of them any more */
        collect_handles(realm->hub, context);
        close_dropped(realm->hub);
        status = new_pair(realm, ends);
    }
    if (status == MUSTER_QUEUE_FULL)
        return JSValueMakeBoolean(context, false);
    if (status != MUSTER_OK) {
        muster__js_out_of_memory(context, exception);
        return JSValueMakeUndefined(context);
    }
    JSObjectRef first = muster__js_port_handle(realm, context, ends[0], exception);
    JSObjectRef second = muster__js_port_handle(realm, context, ends[1], exception);
    return first && second ? pair_of(context, first, second, exception) : JSValueMakeUndefined(context);
}

/* portListen(handle, receiver, what): 0 and the receiver is let go. */
MUSTER__JS_CALLBACK(muster__js_native_port_listen)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    (void)exception;
    MUSTER_CHECK(count == 3);
    struct record *record = record_of(arguments[0]);
    unsigned what = (unsigned)JSValueToNumber(context, arguments[2], NULL);
    let_receiver_go(realm, record);
    if (what == 0 || realm->is_closed)
        return JSValueMakeUndefined(context);
    record->receiver = (JSObjectRef)arguments[1];
    record->listens = what;
    JSValueProtect(context, record->receiver);
    if (atomic_load(&record->is_told)) /* before */
        push_ready(record->hub, record);
    return JSValueMakeUndefined(context);
}

/* portIsFull(handle) */
MUSTER__JS_CALLBACK(muster__js_native_port_is_full)
{
    struct record *record = JSValueIsObject(context, arguments[0]) ? record_of(arguments[0]) : NULL;
    (void)function;
    (void)this_object;
    (void)count;
    (void)exception;
    return JSValueMakeBoolean(context, record && record->end && muster__port_is_full(record->end));
}

/* portClose(handle) */
MUSTER__JS_CALLBACK(muster__js_native_port_close)
{
    (void)function;
    (void)this_object;
    (void)exception;
    MUSTER_CHECK(count == 1);
    struct record *record = record_of(arguments[0]);
    let_receiver_go(muster__js_of(context), record);
    close_end(record);
    return JSValueMakeUndefined(context);
}

static void wait_for_mail(struct record *record)
{
    struct muster__js_hub *hub = record->hub;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FIRST_MAIL_S;
    pthread_mutex_lock(&hub->lock);
    while (!record->is_ready)
        if (pthread_cond_timedwait(&hub->arrived, &hub->lock, &until) != 0)
            break;
    pthread_mutex_unlock(&hub->lock);
}

/* portTake(handle, wait): the next message as muster__js_describe_mail() tells it, or null. */
MUSTER__JS_CALLBACK(muster__js_native_port_take)
{
    struct muster__realm *realm = muster__js_of(context);
    JSValueRef parts[5];
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 2);
    struct record *record = record_of(arguments[0]);
    struct muster__port_message *message = record->end ? take_mail(record) : NULL;
    if (!message && record->end && JSValueToBoolean(context, arguments[1]) &&
        !muster__port_is_closed(record->end)) {
        wait_for_mail(record);
        message = take_mail(record);
    }
    message = message ? enlarge(record, message) : NULL;
    if (!message)
        return JSValueMakeNull(context);
    muster__js_describe_mail(realm, message->data, message, parts);
    muster__port_message_destroy(message);
    JSObjectRef list = JSObjectMakeArray(context, 5, parts, exception);
    return list ? list : JSValueMakeNull(context);
}

/* portBacklog(handle): [messages, bytes] that wait at the other end. */
MUSTER__JS_CALLBACK(muster__js_native_port_backlog)
{
    struct muster__port_backlog backlog = {0};
    (void)function;
    (void)this_object;
    MUSTER_CHECK(count == 1);
    struct record *record = record_of(arguments[0]);
    if (record->end)
        backlog = muster__port_backlog(record->end);
    return pair_of(context, JSValueMakeNumber(context, (double)backlog.messages),
                   JSValueMakeNumber(context, (double)backlog.bytes), exception);
}

static JSValueRef handle_or_null(struct muster__realm *realm, JSContextRef context,
                                 struct muster__port **take_end_of, JSValueRef *exception)
{
    struct muster__port *end = *take_end_of;
    *take_end_of = NULL;
    JSObjectRef handle = end ? muster__js_port_handle(realm, context, end, exception) : NULL;
    return handle ? handle : JSValueMakeNull(context);
}

/* hostPort(): the handle of the port to the coordinator, once; null: it was given, or there is none. */
MUSTER__JS_CALLBACK(muster__js_native_host_port)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    (void)count;
    (void)arguments;
    return handle_or_null(realm, context, &realm->host_port, exception);
}

/* ownPort(): the handle of the implicit port; null: there is none. */
MUSTER__JS_CALLBACK(muster__js_native_own_port)
{
    struct muster__realm *realm = muster__js_of(context);
    (void)function;
    (void)this_object;
    (void)count;
    (void)arguments;
    if (realm->port) {
        JSValueRef handle = handle_or_null(realm, context, &realm->port, exception);
        if (JSValueIsObject(context, handle)) {
            JSValueProtect(context, handle);
            realm->hub->own_handle = (JSObjectRef)handle;
        }
    }
    return realm->hub && realm->hub->own_handle ? realm->hub->own_handle : JSValueMakeNull(context);
}

/* ---- life ---- */

bool muster__js_has_own_port(const struct muster__realm *realm)
{
    return realm->port || (realm->hub && realm->hub->own_handle);
}

void muster__js_ports_begin(struct muster__realm *realm)
{
    JSValueRef exception = NULL;
    if (!muster__js_has_own_port(realm))
        return;
    JSValueRef begin = muster__js_export(realm, "ports", "begin", &exception);
    if (!exception && JSValueIsObject(realm->context, begin))
        (void)JSObjectCallAsFunction(realm->context, (JSObjectRef)begin, NULL, 0, NULL, &exception);
}

void muster__js_ports_end(struct muster__realm *realm)
{
    struct muster__js_hub *hub = realm->hub;
    muster__port_release(realm->host_port);
    muster__port_release(realm->port);
    realm->host_port = realm->port = NULL;
    if (!hub)
        return;
    close_dropped(hub);
    for (struct record *record = hub->records; record; record = record->next) {
        let_receiver_go(realm, record);
        close_end(record);
    }
    if (hub->own_handle)
        JSValueUnprotect(realm->context, hub->own_handle);
    pthread_mutex_lock(&hub->lock);
    hub->realm = NULL; /* from here on finalizers free the records */
    pthread_mutex_unlock(&hub->lock);
    close_dropped(hub);
    realm->host->note_cancel(realm->worker, &hub->note);
    realm->hub = NULL;
    release_hub(hub);
}
