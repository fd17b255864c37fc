/* remote/wire_messages.c - the fields of each message, in the order in which they travel.
 *
 * One walk writes and reads.  What a walk leaves out stays zero in the one who reads.  Thread: the
 * caller's. */
#include "remote/wire_codec.h"

typedef void walk_fn(struct muster__wire_codec *c, struct muster__wire_message *m);

static void walk_nothing(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    (void)c;
    (void)m;
}

static void walk_hello(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u32(c, &m->hello.version);
    if (m->hello.version != MUSTER__WIRE_VERSION)
        muster__wire_fail(c, MUSTER_INVALID_ARGUMENT,
                          "it speaks version %u of the wire, and %u is wanted", m->hello.version,
                          MUSTER__WIRE_VERSION);
    muster__wire_u32(c, &m->hello.pid);
    muster__wire_u32(c, &m->hello.threads);
    muster__wire_u32(c, &m->hello.trust);
    muster__wire_u32(c, &m->hello.grants);
    muster__wire_u32(c, &m->hello.word_count);
    muster__wire_u64(c, &m->hello.turn_us);
    muster__wire_u64(c, &m->hello.wedged_us);
    muster__wire_u64(c, &m->hello.memory);
    muster__wire_u64(c, &m->hello.heartbeat_us);
    muster__wire_text(c, &m->hello.name, true, "a host's name");
}

/* A script's text, and as the one buffer its source map. */
static void walk_script(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_value(c, &m->value);
    muster__wire_require(c, m->value.buffer_count <= 1, "a script has more than a text and a map");
}

/* What is known of the script; bits. */
static void walk_known(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    unsigned known = (m->start.is_module ? 1u : 0u) | (m->start.types_known ? 2u : 0u);
    known = muster__wire_choice(c, known, 4, "what is known of a script");
    m->start.is_module = known & 1;
    m->start.types_known = known >> 1 & 1;
}

static void walk_start(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_text(c, &m->start.engine, false, "the engine's name");
    m->start.type = (enum muster__worker_type)muster__wire_choice(
        c, m->start.type, MUSTER__WORKER_TYPE_COUNT, "a worker's type");
    m->start.trust =
        (enum muster__trust)muster__wire_choice(c, m->start.trust, MUSTER__TRUST_NONE + 1, "trust");
    muster__wire_u64(c, &m->start.turn_us);
    muster__wire_u64(c, &m->start.wedged_us);
    muster__wire_u64(c, &m->start.memory);
    muster__wire_text(c, &m->start.script_url, false, "the script's URL");
    muster__wire_text(c, &m->start.name, false, "the worker's name");
    muster__wire_text(c, &m->start.scope, true, "the scope");
    muster__wire_arguments(c, &m->start.arguments, &m->start.argument_count);
    muster__wire_bindings(c, &m->start.bindings, &m->start.binding_count);
    muster__wire_text(c, &m->start.stored_url, true, "the stored script's URL");
    walk_known(c, m);
    muster__wire_u64(c, &m->start.host_port);
    muster__wire_u64(c, &m->start.port);
    muster__wire_text(c, &m->start.port_account, true, "the account of its ports");
    muster__wire_u64(c, &m->start.port_limit);
    walk_script(c, m);
}

/* A body that is whole is the value; one that streams leaves the value out. */
static void walk_body_kind(struct muster__wire_codec *c, enum muster__wire_body *body)
{
    *body = (enum muster__wire_body)muster__wire_choice(c, *body, MUSTER__WIRE_BODY_STREAM + 1,
                                                        "a body's kind");
}

static void check_body(struct muster__wire_codec *c, enum muster__wire_body body,
                       const struct muster__wire_value *value)
{
    muster__wire_require(c, value->present == (body == MUSTER__WIRE_BODY_WHOLE),
                         "an HTTP message has a value that is not its whole body");
}

static void walk_http_request(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    walk_body_kind(c, &m->request.body);
    muster__wire_bytes(c, &m->request.method, "the method");
    muster__wire_bytes(c, &m->request.url, "the URL");
    muster__wire_bytes(c, &m->request.client_id, "the client's id");
    muster__wire_bytes(c, &m->request.details, "details of a fetch");
    muster__wire_headers(c, &m->request.headers, &m->request.header_count);
}

/* The ports that go with a value. */
static void walk_ports(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_numbers(c, &m->ports, &m->port_count, MUSTER__WIRE_PORT_LIMIT, "ports");
    muster__wire_u32(c, &m->host_count);
    muster__wire_require(c, m->host_count <= m->port_count, "a value mentions more ports than there are");
}

static void walk_request(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    m->request.kind = (enum muster__request_kind)muster__wire_choice(
        c, m->request.kind, MUSTER__REQUEST_CALL + 1, "a request's kind");
    muster__wire_boolean(c, &m->request.idempotent, "whether it is idempotent");
    muster__wire_u32(c, &m->request.started_word);
    muster__wire_u64(c, &m->request.deadline_us);
    muster__wire_u64(c, &m->request.keepalive_until_us);
    muster__wire_text(c, &m->request.name, false, "a request's name");
    if (m->type == MUSTER__WIRE_DISPATCH)
        muster__wire_text(c, &m->request.scope, false, "a request's scope");
    if (m->request.kind == MUSTER__REQUEST_FETCH)
        walk_http_request(c, m);
    else if (m->type == MUSTER__WIRE_REQUEST) {
        walk_ports(c, m);
        muster__wire_bytes(c, &m->request.details, "the head of a message");
    }
    muster__wire_value(c, &m->value);
    if (m->request.kind == MUSTER__REQUEST_FETCH)
        check_body(c, m->request.body, &m->value);
}

static void walk_http_response(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u16(c, &m->result.status_code);
    walk_body_kind(c, &m->result.body);
    /* 0: a rule's advice to a client, which is no response yet and has no body. */
    bool is_advice = m->result.status_code == 0 && m->result.body == MUSTER__WIRE_BODY_NONE;
    muster__wire_require(c, (m->result.status_code >= 200 && m->result.status_code <= 599) ||
                                (is_advice && c->from == MUSTER__WIRE_PARENT),
                         "a response's status is not from 200 to 599");
    muster__wire_bytes(c, &m->result.reason, "the status text");
    muster__wire_headers(c, &m->result.headers, &m->result.header_count);
}

static void walk_result(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_status(c, &m->status);
    muster__wire_boolean(c, &m->result.is_response, "whether it is a response");
    muster__wire_require(c, !m->result.is_response || m->status == MUSTER_OK,
                         "a response with a failure");
    if (m->result.is_response)
        walk_http_response(c, m);
    muster__wire_error(c);
    muster__wire_value(c, &m->value);
    if (m->result.is_response)
        check_body(c, m->result.body, &m->value);
}

static void walk_status(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_status(c, &m->status);
}

static void walk_outcome(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_status(c, &m->status);
    muster__wire_error(c);
}

static void walk_loaded(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    walk_outcome(c, m);
    muster__wire_text(c, &m->loaded.url, true, "a script's URL");
    muster__wire_boolean(c, &m->loaded.is_module, "whether it is a module");
    walk_script(c, m);
}

static void walk_load(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_text(c, &m->load.url, false, "a script's URL");
    muster__wire_text(c, &m->load.importer, true, "the importer");
}

static void walk_binding_call(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_text(c, &m->binding_call.path, false, "a binding's path");
    muster__wire_value(c, &m->value);
}

static void walk_console(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    m->console.level = (enum muster_log_level)muster__wire_choice(c, m->console.level,
                                                                  MUSTER_LOG_DEBUG + 1, "a level");
    muster__wire_utf8(c, &m->console.text, 4 * MUSTER__WIRE_TEXT_LIMIT, "a console call's text");
}

static void walk_report(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_error(c);
    muster__wire_require(c, m->has_error, "a report without an error");
}

static void walk_gone(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u64(c, &m->gone.turns);
    walk_outcome(c, m);
}

static void walk_hold(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u32(c, &m->hold.count);
    muster__wire_require(c, m->hold.count > 0, "no token is held or dropped");
    if (m->type == MUSTER__WIRE_HOLD)
        muster__wire_u64(c, &m->hold.until_us);
}

static void walk_stats(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u32(c, &m->stats.in_flight);
    muster__wire_u32(c, &m->stats.tokens);
    muster__wire_u32(c, &m->stats.timers);
    muster__wire_u64(c, &m->stats.turns);
    muster__wire_u64(c, &m->stats.cpu_us);
    muster__wire_u64(c, &m->stats.memory);
    muster__wire_text(c, &m->stats.phase, false, "a phase");
    muster__wire_text(c, &m->stats.holding, true, "what holds it up");
}

static void walk_ping(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u64(c, &m->ping.number);
}

static void walk_shutdown(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u64(c, &m->shutdown.deadline_us);
}

static void walk_piece(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_require(
        c, c->reading || (m->piece.bytes.length >= 1 && m->piece.bytes.length <= MUSTER__WIRE_PIECE),
        "a piece is empty or too long");
    uint32_t length = (uint32_t)m->piece.bytes.length;
    muster__wire_u32(c, &length);
    muster__wire_require(c, length >= 1 && length <= MUSTER__WIRE_PIECE,
                         "a piece is empty or too long");
    muster__wire_align(c);
    m->piece.bytes.length = length;
    muster__wire_raw(c, &m->piece.bytes, "a piece");
}

static void walk_credit(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u32(c, &m->credit.bytes);
    muster__wire_require(c, m->credit.bytes > 0, "a credit of nothing");
}

static void walk_port_open(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_boolean(c, &m->port_open.held, "whether it is held");
}

static void walk_port_message(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    bool has_head = m->port_message.has_head, has_data = m->port_message.has_data;
    muster__wire_boolean(c, &has_head, "whether it has a head");
    muster__wire_boolean(c, &has_data, "whether it has data");
    m->port_message.has_head = has_head;
    m->port_message.has_data = has_data;
    walk_ports(c, m);
    muster__wire_value(c, &m->value);
    muster__wire_require(c, m->value.present == (has_head || has_data), "a value that is neither head nor data");
    muster__wire_require(c, !has_head || m->value.buffer_count > 0, "a head that is not there");
    muster__wire_require(c, has_data || (m->value.bytes.length == 0 && m->value.buffer_count <= 1),
                         "data that is not announced");
    muster__wire_require(c, has_data || m->host_count == 0, "ports mentioned by no data");
}

static void walk_port_close(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_require(c, m->flags == 0 || m->flags == MUSTER__WIRE_FLAG_UNNAMED ||
                                (m->flags == MUSTER__WIRE_FLAG_MOVED && c->from == MUSTER__WIRE_PARENT),
                         "the end of a port with flags that do not go together");
}

static void walk_port_move(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_u32(c, &m->port_move.channel);
    muster__wire_u64(c, &m->port_move.port);
    muster__wire_boolean(c, &m->port_move.is_second, "whether it is the second to move");
    muster__wire_require(c, m->port_move.port >= MUSTER__WIRE_FIRST_MOVED, "a port that moves to a low number");
}

static void walk_direct(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_require(c, m->descriptor_count == 1, "a channel without its socket");
    muster__wire_u32(c, &m->direct.channel);
    muster__wire_boolean(c, &m->direct.is_parent, "which side it is");
}

static void walk_ring(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_require(c, m->descriptor_count == (c->from == MUSTER__WIRE_PARENT),
                         "a ring without its memory, or with more than that");
}

static void walk_abort(struct muster__wire_codec *c, struct muster__wire_message *m)
{
    muster__wire_status(c, &m->status);
    muster__wire_require(c, m->status != MUSTER_OK, "an abort without a reason");
    muster__wire_text(c, &m->abort.message, true, "an abort's message");
}

static walk_fn *const walks[] = {
    [MUSTER__WIRE_HELLO] = walk_hello,
    [MUSTER__WIRE_START] = walk_start,
    [MUSTER__WIRE_REQUEST] = walk_request,
    [MUSTER__WIRE_STOP] = walk_nothing,
    [MUSTER__WIRE_CANCEL_WORKER] = walk_nothing,
    [MUSTER__WIRE_LOADED] = walk_loaded,
    [MUSTER__WIRE_PING] = walk_ping,
    [MUSTER__WIRE_SHUTDOWN] = walk_shutdown,
    [MUSTER__WIRE_STARTED] = walk_outcome,
    [MUSTER__WIRE_CONSOLE] = walk_console,
    [MUSTER__WIRE_REPORT] = walk_report,
    [MUSTER__WIRE_SKIP_WAITING] = walk_nothing,
    [MUSTER__WIRE_CLOSE_SELF] = walk_nothing,
    [MUSTER__WIRE_WEDGED] = walk_nothing,
    [MUSTER__WIRE_IDLE] = walk_nothing,
    [MUSTER__WIRE_GONE] = walk_gone,
    [MUSTER__WIRE_HOLD] = walk_hold,
    [MUSTER__WIRE_UNHOLD] = walk_hold,
    [MUSTER__WIRE_LOAD] = walk_load,
    [MUSTER__WIRE_DISPATCH] = walk_request,
    [MUSTER__WIRE_BINDING_CALL] = walk_binding_call,
    [MUSTER__WIRE_STATS] = walk_stats,
    [MUSTER__WIRE_PONG] = walk_ping,
    [MUSTER__WIRE_CANCEL] = walk_status,
    [MUSTER__WIRE_RESULT] = walk_result,
    [MUSTER__WIRE_ENDED] = walk_nothing,
    [MUSTER__WIRE_BODY] = walk_piece,
    [MUSTER__WIRE_BODY_END] = walk_nothing,
    [MUSTER__WIRE_BODY_ABORT] = walk_abort,
    [MUSTER__WIRE_BODY_CREDIT] = walk_credit,
    [MUSTER__WIRE_VALUE_PIECE] = walk_piece,
    [MUSTER__WIRE_PORT_OPEN] = walk_port_open,
    [MUSTER__WIRE_PORT_MESSAGE] = walk_port_message,
    [MUSTER__WIRE_PORT_CLOSE] = walk_port_close,
    [MUSTER__WIRE_PORT_CREDIT] = walk_credit,
    [MUSTER__WIRE_PORT_MOVE] = walk_port_move,
    [MUSTER__WIRE_PORT_MOVED] = walk_nothing,
    [MUSTER__WIRE_DIRECT] = walk_direct,
    [MUSTER__WIRE_RING] = walk_ring,
};

void muster__wire_walk(struct muster__wire_codec *codec)
{
    size_t type = (size_t)codec->message->type;
    MUSTER_CHECK(type < sizeof walks / sizeof walks[0] && walks[type] != NULL);
    walks[type](codec, codec->message);
}
