/* tests/wire_samples.h - one or more messages of each kind, for the tests and the fuzzer of the wire. */
#ifndef WIRE_SAMPLES_H
#define WIRE_SAMPLES_H

#include <string.h>

#include "remote/wire.h"

#define TEXT(text) ((struct muster_bytes){text, sizeof text - 1})

static const struct muster_header sample_headers[] = {
    {{"content-type", 12}, {"text/plain; charset=utf-8", 25}},
    {{"x-empty", 7}, {"", 0}},
    {{"set-cookie", 10}, {"a=\xe9", 3}}, /* latin-1, as headers are */
};
static const char *const sample_arguments[] = {"--verbose", "", "na\xc3\xafve"};
static const struct muster__wire_binding sample_bindings[] = {
    {"db.query", true, {NULL, 0}},
    {"db.version", false, {"\xc1\x01\x40", 3}},
};
static const uint64_t sample_ports[] = {12, 0, MUSTER__WIRE_FIRST_MOVED | 6};
static const struct muster_bytes sample_buffers[] = {{"0123456789", 10}, {"", 0}, {"abc", 3}};

static struct muster_error sample_error(void)
{
    return (struct muster_error){.status = MUSTER_SCRIPT_ERROR,
                                 .name = (char *)"TypeError",
                                 .message = (char *)"x is not a function \xe2\x82\xac",
                                 .file = NULL,
                                 .line = 12,
                                 .column = 7,
                                 .stack = (char *)"at f (a.js:12:7)\nat g (a.js:20:1)"};
}

/* ---- from the parent ---- */

static struct muster__wire_message sample_start(void)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_START, .worker = 7};
    m.start.engine = "javascript";
    m.start.type = MUSTER__WORKER_SERVICE;
    m.start.trust = MUSTER__TRUST_SCRIPT;
    m.start.turn_us = 10000000;
    m.start.wedged_us = 2000000;
    m.start.memory = (uint64_t)1 << 33;
    m.start.script_url = "file:///srv/app.js";
    m.start.name = "";
    m.start.scope = "https://example.test/";
    m.start.arguments = sample_arguments;
    m.start.argument_count = 3;
    m.start.bindings = sample_bindings;
    m.start.binding_count = 2;
    m.start.stored_url = "file:///srv/app.js";
    m.start.is_module = true;
    m.start.types_known = true;
    m.start.host_port = 12;
    m.start.port = 14;
    m.start.port_account = "https://example.test";
    m.start.port_limit = 1000;
    m.value = (struct muster__wire_value){true, TEXT("let a = 1;"), sample_buffers, 1};
    return m;
}

static struct muster__wire_message sample_request(enum muster__wire_type type)
{
    bool is_parent = type == MUSTER__WIRE_REQUEST;
    struct muster__wire_message m = {.type = type, .worker = 7, .actor = is_parent ? 1000 : 1001};
    m.request.kind = MUSTER__REQUEST_MESSAGE;
    m.request.name = "message";
    m.request.scope = is_parent ? NULL : "/other/";
    m.request.deadline_us = 123456789;
    m.request.keepalive_until_us = 5;
    m.request.started_word = is_parent ? 41 : MUSTER__WIRE_NO_WORD;
    m.request.idempotent = true;
    m.value = (struct muster__wire_value){true, TEXT("\xc1\x01\x42hi"), sample_buffers, 3};
    if (is_parent) {
        m.ports = sample_ports;
        m.port_count = 3;
        m.host_count = 2;
    }
    return m;
}

static struct muster__wire_message sample_fetch(enum muster__wire_body body)
{
    struct muster__wire_message m = sample_request(MUSTER__WIRE_REQUEST);
    m.request.kind = MUSTER__REQUEST_FETCH;
    m.request.name = "fetch";
    m.request.body = body;
    m.request.method = TEXT("POST");
    m.request.url = TEXT("http://127.0.0.1:8080/a?b=c");
    m.request.headers = sample_headers;
    m.request.header_count = 3;
    m.request.client_id = TEXT("b6a1");
    m.request.details = TEXT("{}");
    m.ports = NULL;
    m.port_count = m.host_count = 0;
    m.value = (struct muster__wire_value){0};
    if (body == MUSTER__WIRE_BODY_WHOLE)
        m.value = (struct muster__wire_value){true, TEXT("the body"), NULL, 0};
    return m;
}

/* What a script in the child wants of its service worker. */
static struct muster__wire_message sample_fetch_of_child(enum muster__wire_body body)
{
    struct muster__wire_message m = sample_fetch(body);
    m.type = MUSTER__WIRE_DISPATCH;
    m.actor = 1001;
    m.request.scope = "https://example.test/";
    m.request.started_word = MUSTER__WIRE_NO_WORD;
    return m;
}

static struct muster__wire_message sample_loaded(bool worked)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_LOADED, .worker = 7, .actor = 9};
    if (worked) {
        m.loaded.url = "file:///srv/lib.js";
        m.value = (struct muster__wire_value){true, TEXT("var lib;"), NULL, 0};
    } else {
        m.status = MUSTER_LOAD_FAILED;
        m.has_error = true;
        m.error = sample_error();
    }
    return m;
}

/* ---- from either ---- */

static struct muster__wire_message sample_hello(void)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_HELLO};
    m.hello.version = MUSTER__WIRE_VERSION;
    m.hello.pid = 4711;
    m.hello.threads = 2;
    m.hello.word_count = 4096;
    m.hello.heartbeat_us = 1000000;
    m.hello.name = "host 3";
    return m;
}

static struct muster__wire_message sample_result(uint64_t actor, int what)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_RESULT, .worker = 7, .actor = actor};
    if (what == 0) {
        m.value = (struct muster__wire_value){true, TEXT("\xc1\x01\xa3"), NULL, 0};
        m.flags = MUSTER__WIRE_FLAG_ENDED;
    } else if (what == 1) {
        m.status = MUSTER_SCRIPT_ERROR;
        m.has_error = true;
        m.error = sample_error();
    } else {
        m.result.is_response = true;
        m.result.status_code = 404;
        m.result.reason = TEXT("Not Found");
        m.result.headers = sample_headers;
        m.result.header_count = 2;
        m.result.body = what == 2 ? MUSTER__WIRE_BODY_WHOLE : MUSTER__WIRE_BODY_STREAM;
        if (what == 2)
            m.value = (struct muster__wire_value){true, TEXT(""), NULL, 0};
        if (what == 4) { /* a rule's advice */
            m.result.status_code = 0;
            m.result.body = MUSTER__WIRE_BODY_NONE;
        }
    }
    return m;
}

static struct muster__wire_message sample_stream(enum muster__wire_type type, uint64_t actor,
                                                 uint8_t flags)
{
    struct muster__wire_message m = {.type = type, .worker = 7, .actor = actor, .flags = flags};
    if (type == MUSTER__WIRE_BODY || type == MUSTER__WIRE_VALUE_PIECE)
        m.piece.bytes = TEXT("some bytes");
    else if (type == MUSTER__WIRE_BODY_CREDIT)
        m.credit.bytes = 65536;
    else if (type == MUSTER__WIRE_BODY_ABORT) {
        m.status = MUSTER_CANCELED;
        m.abort.message = "the client has gone";
    }
    return m;
}

static struct muster__wire_message sample_port(enum muster__wire_type type, uint64_t port, uint8_t flags)
{
    struct muster__wire_message m = {.type = type, .actor = port, .flags = flags};
    if (type == MUSTER__WIRE_PORT_CREDIT)
        m.credit.bytes = 70000;
    if (type == MUSTER__WIRE_PORT_OPEN)
        m.port_open.held = true;
    if (type == MUSTER__WIRE_PORT_MOVE) {
        m.port_move.channel = 3;
        m.port_move.port = MUSTER__WIRE_FIRST_MOVED | 6;
        m.port_move.is_second = true;
    }
    return m;
}

static struct muster__wire_message sample_port_message(uint64_t port, bool has_head, bool has_data)
{
    struct muster__wire_message m = {.type = MUSTER__WIRE_PORT_MESSAGE, .actor = port};
    m.port_message.has_head = has_head;
    m.port_message.has_data = has_data;
    m.value.present = has_head || has_data;
    m.value.buffers = sample_buffers;
    m.value.buffer_count = has_data ? 3 : has_head;
    m.ports = sample_ports;
    m.port_count = 3;
    if (has_data) {
        m.value.bytes = TEXT("\xc1\x01\x42hi");
        m.host_count = 3;
    }
    return m;
}

/* ---- from the child ---- */

static struct muster__wire_message sample_of_worker(enum muster__wire_type type)
{
    struct muster__wire_message m = {.type = type, .worker = 0xfffffffe};
    if (type == MUSTER__WIRE_STARTED || type == MUSTER__WIRE_GONE)
        m.status = MUSTER_SYNTAX_ERROR;
    if (type == MUSTER__WIRE_STARTED || type == MUSTER__WIRE_GONE || type == MUSTER__WIRE_REPORT) {
        m.has_error = true;
        m.error = sample_error();
    }
    if (type == MUSTER__WIRE_GONE)
        m.gone.turns = 12;
    if (type == MUSTER__WIRE_CONSOLE) {
        m.console.level = MUSTER_LOG_WARNING;
        m.console.text = TEXT("hello \xf0\x9f\x91\x8b\0 there");
    }
    if (type == MUSTER__WIRE_HOLD || type == MUSTER__WIRE_UNHOLD)
        m.hold.count = 2;
    if (type == MUSTER__WIRE_HOLD)
        m.hold.until_us = 99;
    if (type == MUSTER__WIRE_STATS) {
        m.stats.phase = "running";
        m.stats.holding = "fetch /a (3.2 s)";
        m.stats.in_flight = 1;
        m.stats.cpu_us = 500;
        m.stats.memory = 1 << 20;
    }
    return m;
}

static struct muster__wire_message sample_ask(enum muster__wire_type type)
{
    struct muster__wire_message m = {.type = type, .worker = 7, .actor = 11};
    if (type == MUSTER__WIRE_LOAD) {
        m.load.url = "lib.js";
        m.load.importer = NULL;
    } else {
        m.binding_call.path = "db.query";
        m.value = (struct muster__wire_value){true, TEXT("\xc1\x01\x11"), NULL, 0};
    }
    return m;
}

struct sample {
    enum muster__wire_side from;
    struct muster__wire_message message;
};

#define SAMPLE_LIMIT 128

static void add_sample(struct sample *samples, size_t *count, enum muster__wire_side from,
                       struct muster__wire_message message)
{
    MUSTER_CHECK(*count < SAMPLE_LIMIT);
    samples[(*count)++] = (struct sample){from, message};
}

static void add_samples_of_parent(struct sample *samples, size_t *count)
{
    enum muster__wire_side parent = MUSTER__WIRE_PARENT;
    struct muster__wire_message ping = {.type = MUSTER__WIRE_PING, .ping.number = 77};
    struct muster__wire_message shutdown = {.type = MUSTER__WIRE_SHUTDOWN,
                                            .shutdown.deadline_us = 1234};
    struct muster__wire_message stop = {.type = MUSTER__WIRE_STOP, .worker = 7};
    struct muster__wire_message cancel_worker = {.type = MUSTER__WIRE_CANCEL_WORKER, .worker = 7};
    struct muster__wire_message cancel = {
        .type = MUSTER__WIRE_CANCEL, .worker = 7, .actor = 1000, .status = MUSTER_TIMED_OUT};
    struct muster__wire_message bare = {.type = MUSTER__WIRE_START, .worker = 1};
    bare.start.engine = bare.start.script_url = bare.start.name = "a";
    struct muster__wire_message with_descriptors = sample_request(MUSTER__WIRE_REQUEST);
    with_descriptors.ticket = 5;
    with_descriptors.descriptor_count = 2;
    struct muster__wire_message of_control = sample_request(MUSTER__WIRE_REQUEST);
    of_control.flags = MUSTER__WIRE_FLAG_CONTROL;
    add_sample(samples, count, parent, sample_hello());
    add_sample(samples, count, parent, sample_start());
    add_sample(samples, count, parent, bare);
    add_sample(samples, count, parent, sample_request(MUSTER__WIRE_REQUEST));
    add_sample(samples, count, parent, with_descriptors);
    add_sample(samples, count, parent, of_control);
    add_sample(samples, count, parent, sample_fetch(MUSTER__WIRE_BODY_NONE));
    add_sample(samples, count, parent, sample_fetch(MUSTER__WIRE_BODY_WHOLE));
    add_sample(samples, count, parent, sample_fetch(MUSTER__WIRE_BODY_STREAM));
    add_sample(samples, count, parent, stop);
    add_sample(samples, count, parent, cancel_worker);
    add_sample(samples, count, parent, cancel);
    add_sample(samples, count, parent, sample_loaded(true));
    add_sample(samples, count, parent, sample_loaded(false));
    add_sample(samples, count, parent, ping);
    add_sample(samples, count, parent, shutdown);
    add_sample(samples, count, parent, sample_result(11, 0));
    for (int what = 1; what < 5; what++) /* of fetches that the child has opened */
        add_sample(samples, count, parent, sample_result(1001, what));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY, 1001, MUSTER__WIRE_FLAG_RESPONSE));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY_END, 1001, MUSTER__WIRE_FLAG_RESPONSE));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY_CREDIT, 1001, 0));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY_ABORT, 1001, 0));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY, 1000, 0));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY_END, 1000, 0));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_BODY_ABORT, 1000, 0));
    add_sample(samples, count, parent,
               sample_stream(MUSTER__WIRE_BODY_CREDIT, 1000, MUSTER__WIRE_FLAG_RESPONSE));
    add_sample(samples, count, parent, sample_stream(MUSTER__WIRE_VALUE_PIECE, 0, 0));
}

/* From either, on ports of both. */
static void add_samples_of_ports(struct sample *samples, size_t *count, enum muster__wire_side from, uint64_t own)
{
    add_sample(samples, count, from, sample_port(MUSTER__WIRE_PORT_OPEN, own, 0));
    add_sample(samples, count, from, sample_port_message(own, true, true));
    add_sample(samples, count, from, sample_port_message(own + 1, false, true));
    add_sample(samples, count, from, sample_port_message(own, true, false));
    add_sample(samples, count, from, sample_port_message(own, false, false));
    add_sample(samples, count, from, sample_port(MUSTER__WIRE_PORT_CLOSE, own, MUSTER__WIRE_FLAG_UNNAMED));
    add_sample(samples, count, from, sample_port(MUSTER__WIRE_PORT_CLOSE, own + 1, 0));
    add_sample(samples, count, from, sample_port(MUSTER__WIRE_PORT_CREDIT, own, 0));
}

static void add_samples_of_moves(struct sample *samples, size_t *count)
{
    struct muster__wire_message direct = {.type = MUSTER__WIRE_DIRECT, .ticket = 9, .descriptor_count = 1};
    direct.direct.channel = 3;
    direct.direct.is_parent = true;
    add_sample(samples, count, MUSTER__WIRE_PARENT, direct);
    add_sample(samples, count, MUSTER__WIRE_PARENT, sample_port(MUSTER__WIRE_PORT_MOVE, 13, 0));
    add_sample(samples, count, MUSTER__WIRE_PARENT, sample_port(MUSTER__WIRE_PORT_CLOSE, 13, MUSTER__WIRE_FLAG_MOVED));
    add_sample(samples, count, MUSTER__WIRE_CHILD, sample_port(MUSTER__WIRE_PORT_MOVED, 13, 0));
    struct muster__wire_message ring = {.type = MUSTER__WIRE_RING};
    add_sample(samples, count, MUSTER__WIRE_CHILD, ring);
    ring.ticket = 10;
    ring.descriptor_count = 1;
    add_sample(samples, count, MUSTER__WIRE_PARENT, ring);
}

static void add_samples_of_child(struct sample *samples, size_t *count)
{
    static const enum muster__wire_type of_worker[] = {
        MUSTER__WIRE_STARTED,    MUSTER__WIRE_CONSOLE, MUSTER__WIRE_REPORT, MUSTER__WIRE_SKIP_WAITING,
        MUSTER__WIRE_CLOSE_SELF, MUSTER__WIRE_WEDGED,  MUSTER__WIRE_IDLE,   MUSTER__WIRE_GONE,
        MUSTER__WIRE_HOLD,       MUSTER__WIRE_UNHOLD,  MUSTER__WIRE_STATS};
    enum muster__wire_side child = MUSTER__WIRE_CHILD;
    struct muster__wire_message pong = {.type = MUSTER__WIRE_PONG, .ping.number = 77};
    struct muster__wire_message ended = {.type = MUSTER__WIRE_ENDED, .worker = 7, .actor = 1000};
    struct muster__wire_message passed = {
        .type = MUSTER__WIRE_RESULT, .worker = 7, .actor = 1000, .status = MUSTER_PASSED};
    add_sample(samples, count, child, sample_hello());
    for (size_t i = 0; i < sizeof of_worker / sizeof of_worker[0]; i++)
        add_sample(samples, count, child, sample_of_worker(of_worker[i]));
    add_sample(samples, count, child, sample_ask(MUSTER__WIRE_LOAD));
    add_sample(samples, count, child, sample_request(MUSTER__WIRE_DISPATCH));
    add_sample(samples, count, child, sample_fetch_of_child(MUSTER__WIRE_BODY_NONE));
    add_sample(samples, count, child, sample_fetch_of_child(MUSTER__WIRE_BODY_WHOLE));
    add_sample(samples, count, child, sample_fetch_of_child(MUSTER__WIRE_BODY_STREAM));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_BODY, 1001, 0));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_BODY_END, 1001, 0));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_BODY_CREDIT, 1001, MUSTER__WIRE_FLAG_RESPONSE));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_BODY_ABORT, 1001, MUSTER__WIRE_FLAG_RESPONSE));
    add_sample(samples, count, child, sample_ask(MUSTER__WIRE_BINDING_CALL));
    add_sample(samples, count, child, pong);
    add_sample(samples, count, child, ended);
    add_sample(samples, count, child, passed);
    for (int what = 0; what < 4; what++)
        add_sample(samples, count, child, sample_result(1000, what));
    add_sample(samples, count, child,
               sample_stream(MUSTER__WIRE_BODY, 1000, MUSTER__WIRE_FLAG_RESPONSE));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_BODY_ABORT, 1000, 0));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_BODY_CREDIT, 1000, 0));
    add_sample(samples, count, child, sample_stream(MUSTER__WIRE_VALUE_PIECE, 1000, 0));
}

static size_t make_samples(struct sample samples[SAMPLE_LIMIT])
{
    size_t count = 0;
    add_samples_of_parent(samples, &count);
    add_samples_of_child(samples, &count);
    add_samples_of_ports(samples, &count, MUSTER__WIRE_PARENT, 12);
    add_samples_of_ports(samples, &count, MUSTER__WIRE_CHILD, 13);
    add_samples_of_moves(samples, &count);
    return count;
}

#endif
