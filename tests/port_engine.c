/* tests/port_engine.c - an engine for the tests of ports, in the place of the JavaScript one: a realm that does what
 * messages on its host port say, with the ports that come with them.
 *
 *   hello        answers hello
 *   echo         keeps the port, and posts back what comes on it
 *   pong         keeps it, and posts one less than the number that comes; says "done" at 0
 *   count        keeps it, and counts the numbers that come; says "disorder" if one is not the next
 *   keep         keeps it, and does not read it
 *   open         makes a channel, keeps one end as echo does, and answers "port" with the other
 *   post N       posts N on the port that it kept last; flood N: that many numbers, from where it was
 *   asked        answers "counted" with the number of those that came on the last one
 *   drop         lets go of the last one
 *   die          kills its process
 *
 * It says "closed" when the other end of a port that it reads has closed.  A request's ports are kept as by echo. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/engine.h"

#define KEPT_MOST 16

enum mode { NONE, HOST, ECHO, PONG, COUNT, KEEP };

struct kept {
    struct muster__realm *realm;
    struct muster__port *port; /* NULL: free */
    enum mode mode;
    double counted, posted;
};

struct muster__vm {
    int nothing;
};

struct muster__realm {
    const struct muster__realm_host *host;
    struct muster__worker *worker;
    struct muster__note note;
    struct kept kept[KEPT_MOST]; /* the first is the host port */
    size_t last;
};

static void on_ready(struct muster__port *port, void *owner)
{
    struct kept *kept = owner;
    (void)port;
    kept->realm->host->note_post(kept->realm->worker, &kept->realm->note);
}

static const struct muster__port_owner_class owner_class = {.ready = on_ready};

/* Takes the port. */
static void keep(struct muster__realm *realm, struct muster__port *port, enum mode mode)
{
    size_t i = 0;
    while (realm->kept[i].port)
        MUSTER_CHECK(++i < KEPT_MOST);
    realm->kept[i] = (struct kept){.realm = realm, .port = port, .mode = mode};
    if (mode != HOST)
        realm->last = i;
    if (mode != KEEP)
        muster__port_attach(port, &owner_class, &realm->kept[i]);
}

static void drop(struct kept *kept)
{
    if (kept->port && kept->mode != HOST)
        muster__port_close(kept->port);
    else if (kept->port)
        muster__port_detach(kept->port);
    muster__port_release(kept->port);
    kept->port = NULL;
}

/* Takes data and port. */
static void say(struct muster__realm *realm, const char *what, struct muster_value *data, struct muster__port *port)
{
    struct muster__port_message *message =
        muster__port_message_new(muster_value_new_text(what), data, port ? 1 : 0);
    MUSTER_CHECK(message);
    if (port)
        message->ports[0] = port;
    muster__port_post(realm->kept[0].port, message);
}

static void post_number(struct muster__port *port, double number)
{
    muster__port_post(port, muster__port_message_new(NULL, muster_value_new_number(number), 0));
}

static void open_channel(struct muster__realm *realm)
{
    struct muster__port *ends[2];
    MUSTER_CHECK(muster__port_pair(ends) == MUSTER_OK);
    keep(realm, ends[0], ECHO);
    say(realm, "port", NULL, ends[1]);
}

static enum mode mode_of(const char *command)
{
    static const char *const names[] = {[ECHO] = "echo", [PONG] = "pong", [COUNT] = "count", [KEEP] = "keep"};
    for (size_t i = ECHO; i <= KEEP; i++)
        if (strcmp(names[i], command) == 0)
            return (enum mode)i;
    return NONE;
}

static void obey(struct muster__realm *realm, struct muster__port_message *message)
{
    const char *command = muster_value_bytes(message->head).data;
    double number = muster_value_number(message->data);
    struct kept *last = &realm->kept[realm->last];
    if (mode_of(command) != NONE) {
        MUSTER_CHECK(message->port_count == 1);
        keep(realm, message->ports[0], mode_of(command));
        message->ports[0] = NULL;
    } else if (strcmp(command, "hello") == 0) {
        say(realm, "hello", NULL, NULL);
    } else if (strcmp(command, "open") == 0) {
        open_channel(realm);
    } else if (strcmp(command, "post") == 0) {
        post_number(last->port, number);
    } else if (strcmp(command, "flood") == 0) {
        for (double end = last->posted + number; last->posted < end;)
            post_number(last->port, ++last->posted);
    } else if (strcmp(command, "asked") == 0) {
        say(realm, "counted", muster_value_new_number(last->counted), NULL);
    } else if (strcmp(command, "drop") == 0) {
        drop(last);
    } else if (strcmp(command, "die") == 0) {
        (void)kill(getpid(), SIGKILL);
    }
}

static void pong(struct kept *kept, struct muster__port_message *message)
{
    double number = muster_value_number(message->data);
    if (number > 0)
        post_number(kept->port, number - 1);
    else
        say(kept->realm, "done", NULL, NULL);
}

static void count(struct kept *kept, struct muster__port_message *message)
{
    if (muster_value_number(message->data) != ++kept->counted)
        say(kept->realm, "disorder", muster_value_new_number(kept->counted), NULL);
}

static void read_one(struct kept *kept, struct muster__port_message *message)
{
    switch (kept->mode) {
    case HOST: obey(kept->realm, message); break;
    case ECHO: muster__port_post(kept->port, message); return;
    case PONG: pong(kept, message); break;
    case COUNT: count(kept, message); break;
    case KEEP:
    case NONE: break;
    }
    muster__port_message_destroy(message);
}

static void read_all(struct kept *kept)
{
    struct muster__port_message *message;
    while (kept->port && kept->mode != KEEP && (message = muster__port_take(kept->port)))
        read_one(kept, message);
    if (!kept->port || kept->mode == KEEP || !muster__port_is_closed(kept->port))
        return;
    if (kept->mode != HOST) {
        say(kept->realm, "closed", NULL, NULL);
        drop(kept);
    }
}

static void run_note(struct muster__note *note, struct muster__realm *realm)
{
    (void)note;
    for (size_t i = 0; i < KEPT_MOST; i++)
        read_all(&realm->kept[i]);
}

/* ---- the table ---- */

static enum muster_status vm_new(const struct muster__vm_options *options, struct muster__vm **ret_vm)
{
    (void)options;
    *ret_vm = calloc(1, sizeof **ret_vm);
    return *ret_vm ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static void vm_destroy(struct muster__vm *vm)
{
    free(vm);
}

static void vm_limit(struct muster__vm *vm, const struct muster__vm_options *options)
{
    (void)vm;
    (void)options;
}

static void vm_interrupt(struct muster__vm *vm)
{
    (void)vm;
}

static size_t vm_memory(struct muster__vm *vm)
{
    (void)vm;
    return 4096;
}

static enum muster_status realm_new(struct muster__vm *vm, const struct muster__realm_options *options,
                                    struct muster__realm **ret_realm)
{
    struct muster__realm *realm = calloc(1, sizeof *realm);
    (void)vm;
    if (!realm)
        return MUSTER_NO_MEMORY;
    realm->host = options->host;
    realm->note.run = run_note;
    *ret_realm = realm;
    return MUSTER_OK;
}

static void realm_destroy(struct muster__realm *realm)
{
    for (size_t i = 0; i < KEPT_MOST; i++)
        drop(&realm->kept[i]);
    if (realm->worker)
        realm->host->note_cancel(realm->worker, &realm->note);
    free(realm);
}

static enum muster_status evaluate(struct muster__realm *realm, const struct muster__realm_identity *identity,
                                   const struct muster__script *script,
                                   void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                                                     const struct muster_error *error),
                                   struct muster_error *error)
{
    (void)script;
    (void)evaluated;
    (void)error;
    realm->worker = identity->worker;
    if (identity->host_port)
        keep(realm, muster__port_acquire(identity->host_port), HOST);
    if (identity->port)
        keep(realm, muster__port_acquire(identity->port), ECHO);
    return MUSTER_OK;
}

static bool handles(struct muster__realm *realm, const char *type)
{
    (void)realm;
    (void)type;
    return true;
}

static enum muster_status deliver(struct muster__realm *realm, struct muster__request *request)
{
    struct muster__port_message *mail = request->mail;
    for (size_t i = 0; mail && i < mail->port_count; i++) {
        if (mail->ports[i])
            keep(realm, mail->ports[i], ECHO);
        mail->ports[i] = NULL;
    }
    if (strcmp(request->name, "die") == 0)
        (void)kill(getpid(), SIGKILL);
    realm->host->settle(realm->worker, request, &(struct muster__outcome){.status = MUSTER_OK});
    realm->host->ended(realm->worker, request);
    return MUSTER_OK;
}

static enum muster_status timer_fired(struct muster__realm *realm, uint32_t id)
{
    (void)realm;
    (void)id;
    return MUSTER_OK;
}

static enum muster_status host_call_ended(struct muster__realm *realm, struct muster_host_call *call)
{
    (void)realm;
    (void)call;
    return MUSTER_OK;
}

static enum muster_status cancel(struct muster__realm *realm, struct muster__request *request)
{
    (void)realm;
    (void)request;
    return MUSTER_OK;
}

const struct muster__engine muster__engine_javascript = {
    .name = "javascript",
    .file_endings = ".js",
    .asks = true,
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
