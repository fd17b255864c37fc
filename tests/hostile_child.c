/* tests/hostile_child.c - a host process that misbehaves, for tests/test_hostile_child.c.
 *
 * It says HELLO, takes one worker and its first requests as any host, marks two of them as begun, and then commits the
 * misdeed that MUSTER_HOSTILE names.  Unless that is silence it goes on to answer PING afterwards, so that nothing but
 * the misdeed itself can end it.  It is single-threaded, and starts its own launcher as the real program does. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote/launcher.h"
#include "remote/shared_memory.h"
#include "remote/wire.h"
#include "runtime/check.h"

#define REQUESTS 3 /* that the test posts before anything else */
#define BEGUN 2

struct request {
    uint64_t actor;
    uint32_t word;
    enum muster__request_kind kind;
};

static struct {
    char *bytes; /* what came and was not decoded yet */
    size_t length, capacity;
    struct muster__wire_scratch scratch;
    struct muster__shared_memory *memory;
    uint32_t worker;
    struct request requests[REQUESTS];
    unsigned request_count;
    uint64_t last_actor;
    bool started;
} own = {.last_actor = (uint64_t)-1};

/* ---- bytes ---- */

static void put_bytes(const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t sent = send(MUSTER__HOST_FD_DATA, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            _exit(90); /* the parent is gone */
        at += sent;
        length -= (size_t)sent;
    }
}

/* What no encoder says: other flags than those that go with the message. */
static void put_flagged(const struct muster__wire_message *message, uint8_t flags)
{
    struct muster__wire_buffer buffer = {0};
    struct muster__wire_fault fault = {0};
    if (muster__wire_encode(&buffer, MUSTER__WIRE_CHILD, message, &fault) != MUSTER_OK) {
        fprintf(stderr, "cannot say %s: %s\n", muster__wire_type_name(message->type), fault.sentence);
        _exit(91);
    }
    buffer.data[5] = (char)flags;
    put_bytes(buffer.data, buffer.length);
    muster__wire_buffer_clean_up(&buffer);
}

static void put(const struct muster__wire_message *message)
{
    put_flagged(message, message->flags);
}

static void read_more(void)
{
    if (own.capacity - own.length < 65536) {
        own.capacity = own.capacity * 2 + 65536;
        own.bytes = realloc(own.bytes, own.capacity);
        MUSTER_CHECK(own.bytes != NULL);
    }
    ssize_t length = recv(MUSTER__HOST_FD_DATA, own.bytes + own.length, own.capacity - own.length, 0);
    if (length == 0 || (length < 0 && errno != EINTR))
        _exit(0);
    own.length += length < 0 ? 0 : (size_t)length;
}

/* The next frame, of whose message only what is no pointer may be used. */
static struct muster__wire_message take(void)
{
    struct muster__wire_message message;
    struct muster__wire_fault fault = {0};
    size_t length;
    while ((length = muster__wire_frame_length(own.bytes, own.length, &fault)) == 0 || length > own.length)
        read_more();
    if (muster__wire_decode(own.bytes, length, MUSTER__WIRE_PARENT, &own.scratch, &message, &fault) != MUSTER_OK) {
        fprintf(stderr, "the parent sent nonsense: %s\n", fault.sentence);
        _exit(92);
    }
    own.length -= length;
    memmove(own.bytes, own.bytes + length, own.length);
    if (message.type == MUSTER__WIRE_PING)
        put(&(struct muster__wire_message){.type = MUSTER__WIRE_PONG, .ping.number = message.ping.number});
    return message;
}

static struct muster__wire_message take_until(enum muster__wire_type type)
{
    struct muster__wire_message message;
    do
        message = take();
    while (message.type != type);
    return message;
}

/* PING, that is, and answers that it does not look at. */
static void take_what_is_there(void)
{
    struct pollfd data = {.fd = MUSTER__HOST_FD_DATA, .events = POLLIN};
    while (poll(&data, 1, 0) > 0)
        (void)take();
}

_Noreturn static void go_on(void)
{
    for (;;)
        (void)take();
}

_Noreturn static void be_silent(void)
{
    for (;;)
        pause();
}

/* ---- messages ---- */

static struct muster__wire_message about(enum muster__wire_type type)
{
    return (struct muster__wire_message){.type = type, .worker = own.worker};
}

static struct muster__wire_message about_request(enum muster__wire_type type, unsigned which)
{
    struct muster__wire_message message = about(type);
    message.actor = own.requests[which].actor;
    return message;
}

static struct muster__wire_message opening(enum muster__wire_type type)
{
    struct muster__wire_message message = about(type);
    message.actor = own.last_actor += 2;
    return message;
}

static void say(const char *text)
{
    struct muster__wire_message message = about(MUSTER__WIRE_CONSOLE);
    message.console.text = (struct muster_bytes){text, strlen(text)};
    put(&message);
}

static void hello(uint32_t version)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_HELLO};
    message.hello.version = version;
    message.hello.pid = (uint32_t)getpid();
    put(&message);
}

static void answer(unsigned which, uint8_t flags)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, which);
    message.flags = flags;
    if (own.requests[which].kind == MUSTER__REQUEST_FETCH) {
        message.result.is_response = true;
        message.result.status_code = 200;
    }
    put(&message);
}

static void give_back(unsigned which, uint8_t flags)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, which);
    message.flags = flags;
    message.status = MUSTER_RETRY;
    put(&message);
}

static void answer_with_value(const char *bytes, size_t length)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, 1);
    message.flags = MUSTER__WIRE_FLAG_ENDED;
    message.value = (struct muster__wire_value){.present = true, .bytes = {bytes, length}};
    put(&message);
}

static void answer_with_stream(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, 0);
    message.result.is_response = true;
    message.result.status_code = 200;
    message.result.body = MUSTER__WIRE_BODY_STREAM;
    put(&message);
}

static void put_body(size_t total)
{
    static const char zeros[MUSTER__WIRE_PIECE];
    while (total > 0) {
        struct muster__wire_message message = about_request(MUSTER__WIRE_BODY, 0);
        message.flags = MUSTER__WIRE_FLAG_RESPONSE;
        message.piece.bytes = (struct muster_bytes){zeros, total < sizeof zeros ? total : sizeof zeros};
        total -= message.piece.bytes.length;
        put(&message);
    }
}

static void gone(void)
{
    put(&(struct muster__wire_message){.type = MUSTER__WIRE_GONE, .worker = own.worker});
}

/* ---- before anything was said ---- */

static void random_bytes(unsigned char *bytes, size_t length)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = (unsigned char)state;
    }
}

static void garbage(void)
{
    unsigned char bytes[65536];
    random_bytes(bytes, sizeof bytes);
    put_bytes(bytes, sizeof bytes);
}

static void another_version(void)
{
    hello(MUSTER__WIRE_VERSION + 1);
}

static void hello_twice(void)
{
    hello(MUSTER__WIRE_VERSION);
    hello(MUSTER__WIRE_VERSION);
}

static void no_hello(void)
{
    own.worker = 1;
    say("good morning");
}

static void nothing(void)
{
    be_silent();
}

static void exit_at_once(void)
{
    _exit(0);
}

/* ---- frames that are none ---- */

static void half_a_frame(void)
{
    const uint32_t head[4] = {4096, MUSTER__WIRE_CONSOLE, own.worker, 0};
    put_bytes(head, sizeof head);
}

static void half_then_silence(void)
{
    half_a_frame();
    be_silent();
}

static void half_then_exit(void)
{
    half_a_frame();
    _exit(0);
}

static void frame_of_length(uint32_t length)
{
    const uint32_t head[6] = {length, MUSTER__WIRE_CONSOLE, own.worker, 0, 0, 0};
    put_bytes(head, sizeof head);
}

static void giant_length(void)
{
    frame_of_length(0xfffffff8u);
}

static void zero_length(void)
{
    frame_of_length(0);
}

static void giant_console_length(void)
{
    /* 32 bytes that claim a text of 4 GB */
    const uint32_t frame[8] = {32, MUSTER__WIRE_CONSOLE, own.worker, 0, 0, 0, 0xffffff02u, 0xffffffffu};
    put_bytes(frame, sizeof frame);
}

/* ---- numbers that are nobody's ---- */

static enum muster__wire_type type_of(const char *name)
{
    unsigned type = MUSTER__WIRE_VALUE_PIECE;
    while (type > 0 && strcmp(muster__wire_type_name(type), name) != 0)
        type--;
    return (enum muster__wire_type)type;
}

/* What the type needs to be one that can be said. */
static struct muster__wire_message complete(const char *type)
{
    struct muster__wire_message message = about(type_of(type));
    switch (message.type) {
    case MUSTER__WIRE_REPORT: message.has_error = true; break;
    case MUSTER__WIRE_HOLD:
    case MUSTER__WIRE_UNHOLD: message.hold.count = 1; break;
    case MUSTER__WIRE_STATS: message.stats.phase = "running"; break;
    case MUSTER__WIRE_LOAD: message.load.url = "mem:/imported"; break;
    case MUSTER__WIRE_BINDING_CALL: message.binding_call.path = "none"; break;
    case MUSTER__WIRE_DISPATCH:
        message.request.kind = MUSTER__REQUEST_EVENT;
        message.request.name = "event";
        message.request.scope = "/other/";
        message.request.started_word = MUSTER__WIRE_NO_WORD;
        break;
    case MUSTER__WIRE_BODY:
    case MUSTER__WIRE_VALUE_PIECE: message.piece.bytes = (struct muster_bytes){"xyz", 3}; break;
    case MUSTER__WIRE_BODY_ABORT: message.status = MUSTER_CANCELED; break;
    case MUSTER__WIRE_BODY_CREDIT: message.credit.bytes = 1; break;
    default: break;
    }
    switch (message.type) {
    case MUSTER__WIRE_LOAD:
    case MUSTER__WIRE_BINDING_CALL:
    case MUSTER__WIRE_DISPATCH:
    case MUSTER__WIRE_CANCEL: message.actor = own.last_actor += 2; break;
    case MUSTER__WIRE_BODY:
    case MUSTER__WIRE_BODY_END: message.flags = MUSTER__WIRE_FLAG_RESPONSE; /* fall through */
    case MUSTER__WIRE_RESULT:
    case MUSTER__WIRE_ENDED:
    case MUSTER__WIRE_BODY_ABORT:
    case MUSTER__WIRE_BODY_CREDIT:
    case MUSTER__WIRE_VALUE_PIECE: message.actor = own.requests[0].actor; break;
    default: break;
    }
    return message;
}

static void put_complete(struct muster__wire_message *message)
{
    if (message->type != MUSTER__WIRE_VALUE_PIECE) {
        put(message);
        return;
    }
    char frame[MUSTER__WIRE_PIECE_HEADER + 8] = {0}; /* the encoder makes none alone */
    muster__wire_encode_piece_header(frame, message->type, 0, message->worker, message->actor, 3);
    put_bytes(frame, sizeof frame);
}

static void wrong_worker(const char *type)
{
    struct muster__wire_message message = complete(type);
    message.worker = own.worker + 1000;
    put_complete(&message);
}

static void wrong_actor(const char *type)
{
    struct muster__wire_message message = complete(type);
    message.actor = 1u << 20; /* even: as if the parent had opened it */
    put_complete(&message);
}

/* As above, but it is the child that would have opened it. */
static void own_actor(const char *type)
{
    struct muster__wire_message message = complete(type);
    message.flags = message.type == MUSTER__WIRE_BODY_CREDIT ? MUSTER__WIRE_FLAG_RESPONSE : 0;
    message.actor = (1u << 20) + 1;
    put_complete(&message);
}

/* ---- what may be said once ---- */

static void result_twice(void)
{
    answer(0, 0);
    answer(0, 0);
}

static void pending_result(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, 0);
    message.status = MUSTER_PENDING;
    put(&message);
}

static void result_after_the_end(void)
{
    answer(0, MUSTER__WIRE_FLAG_ENDED);
    answer(0, MUSTER__WIRE_FLAG_ENDED);
}

static void end_without_result(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_ENDED, 0);
    put(&message);
    put(&message); /* a late one: nobody minds */
    say("done");
}

static void retry_of_what_began(void)
{
    give_back(0, MUSTER__WIRE_FLAG_ENDED);
}

/* RETRY first, and begun only then. */
static void retry_and_begin(void)
{
    give_back(2, 0);
    (void)!muster__shared_memory_start(own.memory, own.requests[2].word);
    struct muster__wire_message message = about_request(MUSTER__WIRE_ENDED, 2);
    put(&message);
}

static void gone_twice(void)
{
    gone();
    gone();
}

static void result_after_gone(void)
{
    gone();
    answer(0, MUSTER__WIRE_FLAG_ENDED);
}

static void started_after_gone(void)
{
    struct muster__wire_message message = about(MUSTER__WIRE_STARTED);
    gone();
    put(&message);
}

static void started_twice(void)
{
    struct muster__wire_message message = about(MUSTER__WIRE_STARTED);
    put(&message);
}

static void response_to_a_call(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, 1);
    message.result.is_response = true;
    message.result.status_code = 200;
    put(&message);
}

static void no_response_to_a_fetch(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_RESULT, 0);
    put(&message);
}

/* ---- too much ---- */

static void flood_console(void)
{
    char line[2048];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    for (;;)
        say(line);
}

static void count_tokens(enum muster__wire_type type, uint32_t count)
{
    struct muster__wire_message message = about(type);
    message.hold.count = count;
    put(&message);
}

static void hold_too_many(void)
{
    for (int i = 0; i < 8; i++)
        count_tokens(MUSTER__WIRE_HOLD, 0xfffffff0u);
}

static void flood_of_holds(void)
{
    say("tokens");
    for (;;) {
        count_tokens(MUSTER__WIRE_HOLD, 1u << 20);
        count_tokens(MUSTER__WIRE_UNHOLD, 1u << 20);
    }
}

static void unhold_below_zero(void)
{
    count_tokens(MUSTER__WIRE_HOLD, 2);
    count_tokens(MUSTER__WIRE_UNHOLD, 3);
}

static void dispatch(enum muster__request_kind kind, const char *bytes, size_t length)
{
    struct muster__wire_message message = opening(MUSTER__WIRE_DISPATCH);
    message.request.kind = kind;
    message.request.name = "event";
    message.request.scope = "/other/";
    message.request.started_word = MUSTER__WIRE_NO_WORD;
    message.value = (struct muster__wire_value){.present = length > 0, .bytes = {bytes, length}};
    put(&message);
}

static void flood_of_dispatches(void)
{
    for (int i = 0; i <= 4096; i++)
        dispatch(MUSTER__REQUEST_EVENT, NULL, 0);
}

static void dispatch_of_an_install(void)
{
    dispatch(MUSTER__REQUEST_LIFECYCLE, NULL, 0);
}

static void dispatch_twice_under_one_number(void)
{
    dispatch(MUSTER__REQUEST_EVENT, NULL, 0);
    own.last_actor -= 2;
    dispatch(MUSTER__REQUEST_EVENT, NULL, 0);
}

static void flood_of_loads(void)
{
    for (int i = 0; i <= 8192; i++) {
        struct muster__wire_message message = opening(MUSTER__WIRE_LOAD);
        message.load.url = "mem:/slow";
        put(&message);
    }
}

/* Takes memory over there until it is answered.  `frame` has room for a piece. */
static uint64_t large_dispatch(char *frame)
{
    const uint32_t length = 32u << 20, piece = MUSTER__WIRE_PIECE;
    struct muster__wire_message message = opening(MUSTER__WIRE_DISPATCH);
    const struct muster_bytes buffer = {frame, length}; /* only its length goes into the frame */
    message.request.kind = MUSTER__REQUEST_EVENT;
    message.request.name = "event";
    message.request.scope = "/other/";
    message.request.started_word = MUSTER__WIRE_NO_WORD;
    /* an ArrayBuffer that stands in the side table: entry 0 */
    message.value = (struct muster__wire_value){
        .present = true, .bytes = {"\xc1\x01\x1d\x00\x80\x80\x80\x10", 8}, .buffers = &buffer, .buffer_count = 1};
    put(&message);
    memset(frame, 0, MUSTER__WIRE_PIECE_HEADER);
    muster__wire_encode_piece_header(frame, MUSTER__WIRE_VALUE_PIECE, 0, own.worker, message.actor, 8);
    memcpy(frame + MUSTER__WIRE_PIECE_HEADER, "\xc1\x01\x1d\x00\x80\x80\x80\x10", 8);
    put_bytes(frame, MUSTER__WIRE_PIECE_HEADER + 8);
    memset(frame + MUSTER__WIRE_PIECE_HEADER, 0, 8);
    muster__wire_encode_piece_header(frame, MUSTER__WIRE_VALUE_PIECE, 0, own.worker, message.actor, piece);
    for (uint32_t sent = 0; sent < length; sent += piece)
        put_bytes(frame, MUSTER__WIRE_PIECE_HEADER + piece);
    return message.actor;
}

static char *new_piece(void)
{
    char *frame = calloc(1, MUSTER__WIRE_PIECE_HEADER + MUSTER__WIRE_PIECE);
    MUSTER_CHECK(frame != NULL);
    return frame;
}

static void large_dispatches(void)
{
    char *frame = new_piece();
    for (int i = 0; i < 64; i++) {
        (void)large_dispatch(frame);
        take_what_is_there();
    }
    free(frame);
    say("all were sent");
}

/* True: it was answered with that. */
static bool cancel(uint64_t actor)
{
    struct muster__wire_message message = about(MUSTER__WIRE_CANCEL);
    message.actor = actor;
    message.status = MUSTER_CANCELED;
    put(&message);
    do
        message = take_until(MUSTER__WIRE_RESULT);
    while (message.actor != actor);
    return message.status == MUSTER_CANCELED;
}

/* More than may be open at a time, in number and in bytes, but none for long. */
static void change_its_mind(void)
{
    char text[64], *frame = new_piece();
    int canceled = 0;
    for (int i = 0; i < 6000; i++) {
        dispatch(MUSTER__REQUEST_EVENT, NULL, 0);
        canceled += cancel(own.last_actor);
    }
    for (int i = 0; i < 32; i++)
        canceled += cancel(large_dispatch(frame));
    free(frame);
    struct muster__wire_message load = opening(MUSTER__WIRE_LOAD), over = about(MUSTER__WIRE_CANCEL);
    over.actor = load.actor; /* of one that was answered, of one that never was */
    load.load.url = "mem:/imported";
    put(&load);
    (void)take_until(MUSTER__WIRE_LOADED);
    put(&over);
    over.actor += 100;
    put(&over);
    snprintf(text, sizeof text, "%d canceled", canceled);
    say(text);
}

/* Declares as much as it may, and never sends it. */
static void values_without_bytes(void)
{
    for (int i = 0; i < 17; i++) {
        struct muster__wire_message message = opening(MUSTER__WIRE_BINDING_CALL);
        message.binding_call.path = "none";
        message.value = (struct muster__wire_value){.present = true, .bytes = {own.bytes, 1u << 20}};
        put(&message);
    }
}

/* ---- fetches of its scripts: "mine" is a client of its worker's, and whoever is asked never answers ---- */

static struct muster__wire_message fetching(const char *client, enum muster__wire_body body)
{
    struct muster__wire_message message = opening(MUSTER__WIRE_DISPATCH);
    message.request.kind = MUSTER__REQUEST_FETCH;
    message.request.name = "fetch";
    message.request.scope = "/other/";
    message.request.started_word = MUSTER__WIRE_NO_WORD;
    message.request.method = (struct muster_bytes){"POST", 4};
    message.request.url = (struct muster_bytes){"http://x/", 9};
    message.request.client_id = (struct muster_bytes){client, strlen(client)};
    message.request.body = body;
    return message;
}

static void put_fetch_body(uint64_t actor, size_t total)
{
    static const char piece[MUSTER__WIRE_PIECE];
    struct muster__wire_message message = about(MUSTER__WIRE_BODY);
    message.actor = actor;
    for (size_t sent = 0; sent < total; sent += message.piece.bytes.length) {
        size_t rest = total - sent;
        message.piece.bytes = (struct muster_bytes){piece, rest < sizeof piece ? rest : sizeof piece};
        put(&message);
    }
}

static enum muster_status result_of(uint64_t actor)
{
    struct muster__wire_message message;
    do
        message = take_until(MUSTER__WIRE_RESULT);
    while (message.actor != actor);
    return message.status;
}

/* What comes back for it. */
static enum muster_status try_fetch(struct muster__wire_message message)
{
    put(&message);
    return result_of(message.actor);
}

static void fetch_what_may_not_be(void)
{
    const struct muster_header lines = {.name = {"a", 1}, .value = {"b\r\nc: d", 7}}, unnamed = {.value = {"b", 1}};
    struct muster__wire_message message = fetching("yours", MUSTER__WIRE_BODY_NONE);
    int refused = try_fetch(message) == MUSTER_NOT_FOUND;
    message = fetching("", MUSTER__WIRE_BODY_NONE);
    refused += try_fetch(message) == MUSTER_NOT_FOUND;
    message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    message.request.method = (struct muster_bytes){"GET / HTTP/1.1\r\n", 16};
    refused += try_fetch(message) == MUSTER_INVALID_ARGUMENT;
    message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    message.request.url = (struct muster_bytes){"file:///etc/passwd", 18};
    refused += try_fetch(message) == MUSTER_INVALID_ARGUMENT;
    message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    message.request.headers = &lines;
    message.request.header_count = 1;
    refused += try_fetch(message) == MUSTER_INVALID_ARGUMENT;
    message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    message.request.headers = &unnamed;
    message.request.header_count = 1;
    refused += try_fetch(message) == MUSTER_INVALID_ARGUMENT;
    char text[32];
    snprintf(text, sizeof text, "%d refused", refused);
    say(text);
}

static void fetch_with_nonsense(void)
{
    struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    message.request.details = (struct muster_bytes){"nonsense", 8};
    put(&message);
}

static void fetch_body_beyond_credit(void)
{
    struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_STREAM);
    put(&message);
    put_fetch_body(message.actor, 1u << 20);
}

static void fetch_body_that_is_none(void)
{
    struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    put(&message);
    put_fetch_body(message.actor, 100);
}

static void fetch_body_of_another_worker(void)
{
    struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_STREAM);
    put(&message);
    own.worker += 1000;
    put_fetch_body(message.actor, 100);
}

static void body_of_an_event(void)
{
    dispatch(MUSTER__REQUEST_EVENT, NULL, 0);
    put_fetch_body(own.last_actor, 100);
}

static void credit_before_the_answer(void)
{
    struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_NONE);
    put(&message);
    struct muster__wire_message credit = about(MUSTER__WIRE_BODY_CREDIT);
    credit.flags = MUSTER__WIRE_FLAG_RESPONSE;
    credit.actor = message.actor;
    credit.credit.bytes = 1;
    put(&credit);
}

/* Of what is over, which its parent may have known before it did. */
static void fetch_and_talk_on(void)
{
    struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_STREAM), more = about(MUSTER__WIRE_BODY_END);
    put(&message);
    put_fetch_body(message.actor, 1000);
    bool canceled = cancel(message.actor);
    put_fetch_body(message.actor, 1000);
    more.actor = message.actor;
    put(&more);
    more.type = MUSTER__WIRE_BODY_ABORT;
    more.status = MUSTER_CANCELED;
    put(&more);
    more.type = MUSTER__WIRE_BODY_CREDIT;
    more.flags = MUSTER__WIRE_FLAG_RESPONSE;
    more.credit.bytes = 1;
    put(&more);
    more.type = MUSTER__WIRE_CANCEL;
    more.flags = 0;
    put(&more);
    take_what_is_there();
    say(canceled ? "was canceled" : "was not");
}

/* Each with as much of a body as it may send: more than there is room for over there. */
static void flood_of_fetches(void)
{
    for (int i = 0; i < 700; i++) {
        struct muster__wire_message message = fetching("mine", MUSTER__WIRE_BODY_STREAM);
        put(&message);
        put_fetch_body(message.actor, 256u << 10);
        take_what_is_there();
    }
    say(try_fetch(fetching("mine", MUSTER__WIRE_BODY_STREAM)) == MUSTER_QUEUE_FULL ? "all is full" : "there is room");
}

/* ---- files and functions that it may not have ---- */

static void load(const char *url, const char *importer)
{
    char text[512];
    struct muster__wire_message message = opening(MUSTER__WIRE_LOAD);
    message.load.url = url;
    message.load.importer = importer;
    put(&message);
    message = take_until(MUSTER__WIRE_LOADED);
    snprintf(text, sizeof text, "LOAD %d %s", (int)message.status,
             message.has_error && message.error.message ? message.error.message : "");
    say(text);
}

static void load_what_is_outside(void)
{
    load("/etc/passwd", NULL);
    load("file:///etc/passwd", NULL);
    load("../../../../../../../../etc/passwd", NULL);
    load("passwd", "file:///etc/hosts");
    load("file:///proc/self/environ", "file:///proc/self/exe");
    say("done");
}

static void load_a_library(void)
{
    load(getenv("MUSTER_HOSTILE_LIBRARY"), NULL);
    say("done");
}

static void call_what_is_not_there(void)
{
    char text[64];
    struct muster__wire_message message = opening(MUSTER__WIRE_BINDING_CALL);
    message.binding_call.path = "system.exec";
    put(&message);
    message = take_until(MUSTER__WIRE_RESULT);
    snprintf(text, sizeof text, "CALL %d", (int)message.status);
    say(text);
    say("done");
}

/* ---- values that are none ---- */

static void random_value(void)
{
    unsigned char bytes[4096];
    random_bytes(bytes, sizeof bytes);
    bytes[0] = 0xc1; /* so that it is not over with the first byte */
    bytes[1] = 1;
    answer_with_value((char *)bytes, sizeof bytes);
}

static void deep_value(void)
{
    static char bytes[30000] = "\xc1\x01";
    for (size_t i = 2; i + 1 < sizeof bytes; i += 2) {
        bytes[i] = 0x11; /* an array of one item */
        bytes[i + 1] = 1;
    }
    answer_with_value(bytes, sizeof bytes);
}

static void giant_array(void)
{
    static const char bytes[] = "\xc1\x01\x11\xff\xff\xff\xff\x0f"; /* 2^32-1 items, none of which is there */
    answer_with_value(bytes, sizeof bytes - 1);
}

static void giant_sparse_array(void)
{
    static const char bytes[] = "\xc1\x01\x13\xff\xff\xff\xff\x0f\x00\x00";
    answer_with_value(bytes, sizeof bytes - 1);
    say("done");
}

static void no_arguments(void)
{
    struct muster__wire_message message = opening(MUSTER__WIRE_BINDING_CALL);
    message.binding_call.path = "none";
    message.value = (struct muster__wire_value){.present = true, .bytes = {"nonsense", 8}};
    put(&message);
}

static void dispatch_of_nonsense(void)
{
    dispatch(MUSTER__REQUEST_EVENT, "nonsense", 8);
}

/* ---- bodies ---- */

static void body_beyond_credit(void)
{
    answer_with_stream();
    put_body(1u << 20); /* the window, what the stream takes, and more */
}

static void body_behind_its_end(void)
{
    struct muster__wire_message end = about_request(MUSTER__WIRE_BODY_END, 0);
    end.flags = MUSTER__WIRE_FLAG_RESPONSE;
    answer_with_stream();
    put_body(100000); /* more than a pump moves at once: it is still there */
    put(&end);
    put_body(100);
}

static void body_without_response(void)
{
    put_body(100);
}

static void body_after_a_whole_one(void)
{
    answer(0, 0);
    put_body(100);
}

static void body_of_the_request(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_BODY, 0);
    message.flags = MUSTER__WIRE_FLAG_RESPONSE;
    message.piece.bytes = (struct muster_bytes){"abc", 3};
    put_flagged(&message, 0);
}

static void credit(uint32_t bytes)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_BODY_CREDIT, 0);
    message.credit.bytes = bytes;
    put(&message);
}

static void credit_for_nothing(void)
{
    credit(1000);
}

static void too_much_credit(void)
{
    credit(0xffffffffu); /* its request has a body that streams */
}

static void credit_for_its_own(void)
{
    struct muster__wire_message message = about_request(MUSTER__WIRE_BODY_CREDIT, 0);
    message.credit.bytes = 1000;
    answer_with_stream();
    put_flagged(&message, MUSTER__WIRE_FLAG_RESPONSE);
}

/* ---- descriptors ---- */

static ssize_t put_descriptor(int descriptor, const uint32_t words[2], size_t length, unsigned count, int flags)
{
    char byte_room[CMSG_SPACE(253 * sizeof(int))] = {0};
    struct iovec vector = {(void *)(uintptr_t)words, length};
    struct msghdr packet = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = byte_room,
        .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (unsigned i = 0; i < count; i++)
        memcpy(CMSG_DATA(header) + i * sizeof(int), &descriptor, sizeof(int));
    return sendmsg(MUSTER__HOST_FD_CHANNEL, &packet, MSG_NOSIGNAL | flags);
}

static ssize_t put_descriptors(const uint32_t words[2], size_t length, unsigned count, int flags)
{
    return put_descriptor(1, words, length, count, flags);
}

/* As many packets as there is room for, and a frame that names none of them. */
static void descriptors_for_nobody(void)
{
    uint32_t words[2] = {0, 16};
    do
        words[0]++;
    while (words[0] < 100000 && put_descriptors(words, sizeof words, 16, MSG_DONTWAIT) >= 0);
    struct muster__wire_message message = about(MUSTER__WIRE_CONSOLE);
    message.ticket = 1u << 30;
    message.descriptor_count = 1;
    put(&message);
}

static void a_bad_packet(void)
{
    const uint32_t words[2] = {7, 3};
    struct muster__wire_message message = about(MUSTER__WIRE_CONSOLE);
    (void)put_descriptors(words, 5, 2, 0);
    message.ticket = 7;
    message.descriptor_count = 2;
    put(&message);
}

/* They come with a message that needs none. */
static void descriptors_with_a_line(void)
{
    const uint32_t words[2] = {9, 16};
    struct muster__wire_message message = about(MUSTER__WIRE_CONSOLE);
    message.console.text = (struct muster_bytes){"here", 4};
    (void)put_descriptors(words, sizeof words, 16, 0);
    message.ticket = 9;
    message.descriptor_count = 16;
    put(&message);
    say("done");
}

/* Whoever closes it last waits for ten minutes: it has bytes to send, and its peer, which is this process, takes none. */
static int lingering_socket(void)
{
    static char bytes[65536];
    const struct linger long_time = {1, 600};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), small = 2048;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int ours = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        _exit(94);
    (void)connect(ours, (struct sockaddr *)&address, sizeof address);
    struct pollfd connected = {.fd = ours, .events = POLLOUT};
    if (poll(&connected, 1, 10000) != 1 || accept(listener, NULL, NULL) < 0)
        _exit(95);
    while (send(ours, bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
        ;
    setsockopt(ours, SOL_SOCKET, SO_LINGER, &long_time, sizeof long_time);
    return ours;
}

/* In a packet that somebody names, with a frame that needs none; in one that is too large; in some that nobody ever
 * reads. */
static void lingering_sockets(void)
{
    uint32_t words[2] = {9, 1};
    struct muster__wire_message message = about(MUSTER__WIRE_CONSOLE);
    int sockets[4];
    for (int i = 0; i < 4; i++)
        sockets[i] = lingering_socket();
    message.console.text = (struct muster_bytes){"here", 4};
    message.ticket = 9;
    message.descriptor_count = 1;
    (void)put_descriptor(sockets[0], words, sizeof words, 1, 0);
    close(sockets[0]);
    put(&message);
    words[0] = 10;
    (void)put_descriptor(sockets[1], words, sizeof words, 1, 0); /* parked: the next is named first */
    close(sockets[1]);
    say("done");
    words[0] = 11;
    words[1] = 253;
    (void)put_descriptor(sockets[2], words, sizeof words, 253, 0);
    close(sockets[2]);
    (void)put_descriptor(sockets[3], words, 0, 1, 0);
    close(sockets[3]);
    message.ticket = 11;
    put(&message);
}

/* ---- not listening ---- */

/* It talks, though it hears nothing. */
static void talk_only(void)
{
    struct muster__wire_message message = about(MUSTER__WIRE_STATS);
    message.stats.phase = "running";
    for (;;) {
        put(&message);
        (void)poll(NULL, 0, 5); /* no flood */
    }
}

/* It goes on as if it had never heard of them. */
static void give_all_back(void)
{
    give_back(2, MUSTER__WIRE_FLAG_ENDED);
    say("back");
    for (;;) {
        const struct muster__wire_message request = take_until(MUSTER__WIRE_REQUEST);
        own.requests[2] = (struct request){request.actor, request.request.started_word, request.request.kind};
        give_back(2, MUSTER__WIRE_FLAG_ENDED);
    }
}

/* ---- its own process ---- */

/* All of the memory that it shares, over and over, while it answers as it should. */
static void scribble(void)
{
    struct stat status;
    MUSTER_CHECK(fstat(MUSTER__HOST_FD_MEMORY, &status) == 0);
    unsigned char *bytes =
        mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, MUSTER__HOST_FD_MEMORY, 0);
    MUSTER_CHECK(bytes != MAP_FAILED);
    (void)!ftruncate(MUSTER__HOST_FD_MEMORY, 0);
    random_bytes(bytes, (size_t)status.st_size);
    for (unsigned i = 0; i < REQUESTS; i++)
        answer(i, MUSTER__WIRE_FLAG_ENDED);
    for (int i = 0; i < 500; i++) {
        const struct muster__wire_message request = take_until(MUSTER__WIRE_REQUEST);
        own.requests[0] = (struct request){request.actor, 0, request.request.kind};
        random_bytes(bytes + 16, (size_t)status.st_size - 16);
        bytes[16 + i % 4096] ^= 0xff;
        answer(0, MUSTER__WIRE_FLAG_ENDED);
    }
    memset(bytes, 0xff, (size_t)status.st_size);
    put_bytes("0123456789", 10);
}

static void stop_itself(void)
{
    raise(SIGSTOP);
}

static void become_another(void)
{
    static char *arguments[] = {"sleep", "1000", NULL};
    for (int fd = 2; fd < MUSTER__HOST_FD_COUNT; fd++)
        (void)fcntl(fd, F_SETFD, 0);
    execvp(arguments[0], arguments);
}

static void become_another_alone(void)
{
    static char *arguments[] = {"sleep", "1000", NULL};
    for (int fd = 2; fd < MUSTER__HOST_FD_COUNT; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    execvp(arguments[0], arguments);
}

static void hang_up(void)
{
    close(MUSTER__HOST_FD_DATA);
    be_silent();
}

static void fill(int fd, size_t total)
{
    static char bytes[65536];
    memset(bytes, '#', sizeof bytes);
    while (total > 0) {
        ssize_t written = write(fd, bytes, total < sizeof bytes ? total : sizeof bytes);
        if (written < 0 && errno != EINTR)
            return;
        total -= written < 0 ? 0 : (size_t)written;
    }
}

static void fill_the_errors(void)
{
    (void)fcntl(2, F_SETFL, fcntl(2, F_GETFL) & ~O_NONBLOCK);
    fill(2, (size_t)100 << 20);
    raise(SIGKILL);
}

static void fill_the_last_words(void)
{
    (void)fcntl(MUSTER__HOST_FD_LAST_WORDS, F_SETFL, fcntl(MUSTER__HOST_FD_LAST_WORDS, F_GETFL) & ~O_NONBLOCK);
    fill(MUSTER__HOST_FD_LAST_WORDS, (size_t)100 << 20);
    raise(SIGKILL);
}

/* They hold all that it had, and the second talks on for ever. */
static void leave_children(void)
{
    int ends[2];
    char text[64], byte;
    MUSTER_CHECK(pipe(ends) == 0);
    pid_t quiet = fork();
    if (quiet == 0) {
        setsid();
        be_silent();
    }
    pid_t loud = fork();
    if (loud == 0) {
        setsid();
        (void)!read(ends[0], &byte, 1); /* until its parent is dead, or nearly */
        flood_console();
    }
    snprintf(text, sizeof text, "children %ld %ld", (long)quiet, (long)loud);
    say(text);
    (void)!write(ends[1], "x", 1);
    _exit(0);
}

/* ---- ports ---- */

static void put_port(enum muster__wire_type type, uint64_t port)
{
    struct muster__wire_message message = {.type = type, .actor = port};
    if (type == MUSTER__WIRE_PORT_CREDIT)
        message.credit.bytes = 1;
    put(&message);
}

/* Of its own, that no message names: what is posted there waits in the parent. */
static uint64_t open_port(void)
{
    static uint64_t last = (uint64_t)-1;
    put_port(MUSTER__WIRE_PORT_OPEN, last += 2);
    return last;
}

static void post_on(uint64_t port, uint64_t with)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_MESSAGE, .actor = port};
    message.ports = &with;
    message.port_count = with != 0;
    put(&message);
}

static void message_on_no_port(void)
{
    post_on(2, 0);
}

static void credit_for_no_port(void)
{
    put_port(MUSTER__WIRE_PORT_CREDIT, 2);
}

static void close_no_port(void)
{
    put_port(MUSTER__WIRE_PORT_CLOSE, (1u << 20) + 1);
}

static void move_what_stays(void)
{
    put_port(MUSTER__WIRE_PORT_MOVED, open_port());
}

static void open_one_port_twice(void)
{
    uint64_t port = open_port();
    put_port(MUSTER__WIRE_PORT_OPEN, port);
}

static void too_many_ports(void)
{
    for (unsigned i = 0; i <= MUSTER__WIRE_PORT_LIMIT; i++)
        (void)open_port();
}

static void close_a_port_twice(void)
{
    uint64_t port = open_port();
    put_port(MUSTER__WIRE_PORT_CLOSE, port);
    put_port(MUSTER__WIRE_PORT_CLOSE, port);
}

static void post_behind_a_close(void)
{
    uint64_t port = open_port();
    put_port(MUSTER__WIRE_PORT_CLOSE, port);
    post_on(port, 0);
}

static void name_the_parents_port(void)
{
    post_on(open_port(), 2);
}

static void name_a_port_that_it_never_opened(void)
{
    post_on(open_port(), (1u << 20) + 1);
}

static void name_a_port_twice(void)
{
    uint64_t way = open_port(), port = open_port();
    post_on(way, port);
    post_on(way, port);
}

static void credit_that_was_not_taken(void)
{
    put_port(MUSTER__WIRE_PORT_CREDIT, open_port());
}

static void nonsense_on_a_port(void)
{
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_MESSAGE, .actor = open_port()};
    message.port_message.has_data = true;
    message.value = (struct muster__wire_value){.present = true, .bytes = {"nonsense", 8}};
    put(&message);
}

static void flood_a_port(void)
{
    uint64_t port = open_port();
    for (;;)
        post_on(port, 0);
}

/* Each within its own credit: all together are bounded as well. */
static void flood_all_ports(void)
{
    static const char zeros[24 << 10];
    /* an ArrayBuffer that stands in the side table: entry 0 */
    const struct muster_bytes bytes = {"\xc1\x01\x1d\x00\x80\xc0\x01", 7}, buffer = {zeros, sizeof zeros};
    struct muster__wire_message message = {.type = MUSTER__WIRE_PORT_MESSAGE};
    message.port_message.has_data = true;
    message.value =
        (struct muster__wire_value){.present = true, .bytes = bytes, .buffers = &buffer, .buffer_count = 1};
    for (;;) {
        message.actor = open_port();
        for (unsigned i = 0; i < MUSTER__WIRE_PORT_WINDOW / sizeof zeros; i++)
            put(&message);
    }
}

/* All of it allowed: a port in its own queue, rings of ports, ports that close while they travel, and many of them. */
static void tie_ports_in_knots(void)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t one = open_port(), two = open_port();
        post_on(one, i % 3 == 0 ? one : two);
        if (i % 3 == 1)
            post_on(two, one);
        put_port(MUSTER__WIRE_PORT_CLOSE, one);
        put_port(MUSTER__WIRE_PORT_CLOSE, two);
        if (i % 50 == 0)
            take_what_is_there();
    }
    say("knots");
}

/* ---- which ---- */

static const struct {
    const char *name;
    void (*commit)(void);
} early[] = {
    {"garbage", garbage},
    {"another-version", another_version},
    {"hello-twice", hello_twice},
    {"no-hello", no_hello},
    {"nothing", nothing},
    {"exit-at-once", exit_at_once},
}, late[] = {
    {"half-then-silence", half_then_silence},
    {"half-then-exit", half_then_exit},
    {"giant-length", giant_length},
    {"zero-length", zero_length},
    {"giant-console-length", giant_console_length},
    {"result-twice", result_twice},
    {"pending-result", pending_result},
    {"result-after-the-end", result_after_the_end},
    {"end-without-result", end_without_result},
    {"retry-of-what-began", retry_of_what_began},
    {"retry-and-begin", retry_and_begin},
    {"gone-twice", gone_twice},
    {"result-after-gone", result_after_gone},
    {"started-after-gone", started_after_gone},
    {"started-twice", started_twice},
    {"response-to-a-call", response_to_a_call},
    {"no-response-to-a-fetch", no_response_to_a_fetch},
    {"flood-console", flood_console},
    {"hold-too-many", hold_too_many},
    {"flood-of-holds", flood_of_holds},
    {"unhold-below-zero", unhold_below_zero},
    {"flood-of-dispatches", flood_of_dispatches},
    {"dispatch-of-an-install", dispatch_of_an_install},
    {"dispatch-twice", dispatch_twice_under_one_number},
    {"flood-of-loads", flood_of_loads},
    {"large-dispatches", large_dispatches},
    {"change-its-mind", change_its_mind},
    {"fetch-what-may-not-be", fetch_what_may_not_be},
    {"fetch-with-nonsense", fetch_with_nonsense},
    {"fetch-body-beyond-credit", fetch_body_beyond_credit},
    {"fetch-body-that-is-none", fetch_body_that_is_none},
    {"fetch-body-of-another-worker", fetch_body_of_another_worker},
    {"body-of-an-event", body_of_an_event},
    {"credit-before-the-answer", credit_before_the_answer},
    {"fetch-and-talk-on", fetch_and_talk_on},
    {"flood-of-fetches", flood_of_fetches},
    {"values-without-bytes", values_without_bytes},
    {"load-what-is-outside", load_what_is_outside},
    {"load-a-library", load_a_library},
    {"call-what-is-not-there", call_what_is_not_there},
    {"random-value", random_value},
    {"deep-value", deep_value},
    {"giant-array", giant_array},
    {"giant-sparse-array", giant_sparse_array},
    {"no-arguments", no_arguments},
    {"dispatch-of-nonsense", dispatch_of_nonsense},
    {"body-beyond-credit", body_beyond_credit},
    {"body-behind-its-end", body_behind_its_end},
    {"body-without-response", body_without_response},
    {"body-after-a-whole-one", body_after_a_whole_one},
    {"body-of-the-request", body_of_the_request},
    {"credit-for-nothing", credit_for_nothing},
    {"too-much-credit", too_much_credit},
    {"credit-for-its-own", credit_for_its_own},
    {"descriptors-for-nobody", descriptors_for_nobody},
    {"a-bad-packet", a_bad_packet},
    {"descriptors-with-a-line", descriptors_with_a_line},
    {"lingering-sockets", lingering_sockets},
    {"listen-to-nothing", be_silent},
    {"talk-only", talk_only},
    {"give-all-back", give_all_back},
    {"scribble", scribble},
    {"stop-itself", stop_itself},
    {"become-another", become_another},
    {"become-another-alone", become_another_alone},
    {"hang-up", hang_up},
    {"fill-the-errors", fill_the_errors},
    {"fill-the-last-words", fill_the_last_words},
    {"leave-children", leave_children},
    {"message-on-no-port", message_on_no_port},
    {"credit-for-no-port", credit_for_no_port},
    {"close-no-port", close_no_port},
    {"move-what-stays", move_what_stays},
    {"open-one-port-twice", open_one_port_twice},
    {"too-many-ports", too_many_ports},
    {"close-a-port-twice", close_a_port_twice},
    {"post-behind-a-close", post_behind_a_close},
    {"name-the-parents-port", name_the_parents_port},
    {"name-a-port-that-it-never-opened", name_a_port_that_it_never_opened},
    {"name-a-port-twice", name_a_port_twice},
    {"credit-that-was-not-taken", credit_that_was_not_taken},
    {"nonsense-on-a-port", nonsense_on_a_port},
    {"flood-a-port", flood_a_port},
    {"flood-all-ports", flood_all_ports},
    {"tie-ports-in-knots", tie_ports_in_knots},
};

static bool commit_early(const char *name)
{
    for (size_t i = 0; i < sizeof early / sizeof *early; i++)
        if (strcmp(early[i].name, name) == 0) {
            early[i].commit();
            return true;
        }
    return false;
}

static void commit_late(const char *name)
{
    const char *colon = strchr(name, ':');
    if (colon && strncmp(name, "wrong-worker", 12) == 0)
        wrong_worker(colon + 1);
    else if (colon && strncmp(name, "wrong-actor", 11) == 0)
        wrong_actor(colon + 1);
    else if (colon && strncmp(name, "own-actor", 9) == 0)
        own_actor(colon + 1);
    for (size_t i = 0; i < sizeof late / sizeof *late; i++)
        if (strcmp(late[i].name, name) == 0)
            late[i].commit();
}

/* As every host does. */
static void begin(void)
{
    hello(MUSTER__WIRE_VERSION);
    own.worker = take_until(MUSTER__WIRE_START).worker;
    const struct muster__wire_message started = about(MUSTER__WIRE_STARTED);
    put(&started);
    while (own.request_count < REQUESTS) {
        const struct muster__wire_message message = take_until(MUSTER__WIRE_REQUEST);
        own.requests[own.request_count++] =
            (struct request){message.actor, message.request.started_word, message.request.kind};
    }
    for (unsigned i = 0; i < BEGUN; i++)
        MUSTER_CHECK(muster__shared_memory_start(own.memory, own.requests[i].word));
}

int main(int argument_count, char **arguments)
{
    const char *what = getenv("MUSTER_HOSTILE");
    if (argument_count >= 2 && strcmp(arguments[1], "--launcher") == 0)
        return muster__launcher_main(argument_count, arguments, NULL);
    if (what == NULL || muster__shared_memory_attach(MUSTER__HOST_FD_MEMORY, &own.memory) != MUSTER_OK)
        return 93;
    if (commit_early(what))
        go_on();
    begin();
    commit_late(what);
    go_on();
}
