/* remote/wire.h - what a parent process and the child that hosts workers say to each other, as
 * bytes.  Internal.
 *
 * A pure codec: no descriptors, no threads, no clock.  docs/wire.md describes the format for those
 * who write a host in another language; this header and the list below are its source.
 *
 * A frame is a header of 24 bytes and a payload, little endian, padded with zeros to a multiple of
 * 8:
 *
 *   u32 length      of the whole frame, padding included
 *   u8  type        enum muster__wire_type
 *   u8  flags       enum muster__wire_flag; others are 0
 *   u16 descriptors how many descriptors belong to it
 *   u32 worker      0: none
 *   u32 ticket      the number under which the descriptors travel; 0: none
 *   u64 actor       0: none; even: the parent opened it, odd: the child
 *
 * An actor is one piece of work: an opening message carries all its arguments, RESULT (LOADED for
 * LOAD) closes it.  What is settled may still run: ENDED says that it does not (or the flag, when
 * both fall together).
 *
 * A value (also a script, or a body that is all there) is bytes and a list of raw buffers.  When
 * they are MUSTER__WIRE_INLINE bytes together, or fewer, they are in the frame; else the frame only
 * declares the lengths, and VALUE_PIECE frames of the same worker and actor bring the bytes, in
 * order, no piece across the border between two parts.
 *
 * Decoding is strict: there is one way to write each message, and what differs is refused, so that
 * decoding and encoding again gives the same bytes.  Whoever sends is taken to be hostile.
 *
 * Thread: any, for all of it; a buffer, a scratch and a message belong to one thread at a time.
 */
#ifndef MUSTER_WIRE_H
#define MUSTER_WIRE_H

#include "runtime/engine.h"
#include "runtime/http_message.h"
#include "runtime/request.h"

#define MUSTER__WIRE_VERSION 1u
#define MUSTER__WIRE_HEADER 24u               /* bytes */
#define MUSTER__WIRE_PIECE_HEADER 32u         /* bytes before those of a BODY or a VALUE_PIECE */
#define MUSTER__WIRE_FRAME_LIMIT (1u << 20)   /* bytes of one frame */
#define MUSTER__WIRE_INLINE (32u << 10)       /* bytes of a value that travels inside its frame */
#define MUSTER__WIRE_PIECE (64u << 10)        /* bytes of one piece, or of one BODY */
#define MUSTER__WIRE_BUFFER_LIMIT 1024u       /* raw buffers of one value */
#define MUSTER__WIRE_VALUE_LIMIT 0x7fffffffu  /* bytes of one value; an end of a link may allow fewer */
#define MUSTER__WIRE_HEADER_LIMIT 1024u       /* headers of one HTTP message */
#define MUSTER__WIRE_NAME_LIMIT 4096u         /* arguments, or bindings, of one worker */
#define MUSTER__WIRE_DESCRIPTOR_LIMIT 16u     /* of one frame */
#define MUSTER__WIRE_TEXT_LIMIT (64u << 10)   /* bytes of an error's text; a console call's: four times */
#define MUSTER__WIRE_NO_WORD 0xffffffffu
#define MUSTER__WIRE_PORT_LIMIT 16384u        /* ports of one message; and that one side may have opened at a time */
#define MUSTER__WIRE_PORT_WINDOW (256u << 10) /* credit of a port at first, and what a reader keeps of it at most */
#define MUSTER__WIRE_PORT_UNREAD (128u << 20) /* weight of what is unread on all ports, beyond which none begins */
#define MUSTER__WIRE_FIRST_MOVED (UINT64_C(1) << 63) /* numbers of ports that moved begin here */
#define MUSTER__WIRE_WEIGHT_MESSAGE 128u      /* weight of a message beside its bytes */
#define MUSTER__WIRE_WEIGHT_PORT 256u         /* and of each port in it */

enum muster__wire_side {
    MUSTER__WIRE_PARENT = 1,
    MUSTER__WIRE_CHILD = 2
};

enum muster__wire_flag {
    MUSTER__WIRE_FLAG_ENDED = 1,    /* RESULT: nothing of it runs any more; no ENDED follows */
    MUSTER__WIRE_FLAG_RESPONSE = 2, /* BODY...: of the answer's body, not of the request's */
    MUSTER__WIRE_FLAG_UNNAMED = 4,  /* PORT_CLOSE: no message names it, and none will */
    MUSTER__WIRE_FLAG_MOVED = 8,    /* PORT_CLOSE: only the number is over, the port goes on elsewhere */
    MUSTER__WIRE_FLAG_CONTROL = 16, /* REQUEST: past the worker's slot, behind what went past it before */
};

/* X(symbol, number, who sends it, its actor, its worker, its flags, may it be refused when a queue
 * is full)
 *   actor:  NONE; OPENS it; OPENER: whoever opened it sends this; ANSWERER: the other one; EITHER;
 *           ANY, also none
 *   worker: NONE 0; SOME not 0; ANY
 * The actor of PORT_... is a port, which has a number of its own. */
#define MUSTER__WIRE_TYPE_LIST(X)                                                                  \
    X(HELLO, 1, BOTH, NONE, NONE, 0, false)                                                        \
    /* parent -> child */                                                                          \
    X(START, 2, PARENT, NONE, SOME, 0, false)                                                      \
    X(REQUEST, 3, PARENT, OPENS, SOME, MUSTER__WIRE_FLAG_CONTROL, true)                            \
    X(STOP, 4, PARENT, NONE, SOME, 0, false)                                                       \
    X(CANCEL_WORKER, 5, PARENT, NONE, SOME, 0, false)                                              \
    X(LOADED, 6, PARENT, ANSWERER, SOME, 0, false)                                                 \
    X(PING, 7, PARENT, NONE, NONE, 0, false)                                                       \
    X(SHUTDOWN, 8, PARENT, NONE, NONE, 0, false)                                                   \
    /* child -> parent */                                                                          \
    X(STARTED, 16, CHILD, NONE, SOME, 0, false)                                                    \
    X(CONSOLE, 17, CHILD, NONE, SOME, 0, true)                                                     \
    X(REPORT, 18, CHILD, NONE, SOME, 0, true)                                                      \
    X(SKIP_WAITING, 19, CHILD, NONE, SOME, 0, false)                                               \
    X(CLOSE_SELF, 20, CHILD, NONE, SOME, 0, false)                                                 \
    X(WEDGED, 21, CHILD, NONE, SOME, 0, false)                                                     \
    X(IDLE, 22, CHILD, NONE, SOME, 0, false)                                                       \
    X(GONE, 23, CHILD, NONE, SOME, 0, false)                                                       \
    X(HOLD, 24, CHILD, NONE, SOME, 0, false)                                                       \
    X(UNHOLD, 25, CHILD, NONE, SOME, 0, false)                                                     \
    X(LOAD, 26, CHILD, OPENS, SOME, 0, true)                                                       \
    X(DISPATCH, 27, CHILD, OPENS, SOME, 0, true)                                                   \
    X(BINDING_CALL, 28, CHILD, OPENS, SOME, 0, true)                                               \
    X(STATS, 29, CHILD, NONE, SOME, 0, true)                                                       \
    X(PONG, 30, CHILD, NONE, NONE, 0, false)                                                       \
    /* both */                                                                                     \
    X(CANCEL, 40, BOTH, OPENER, SOME, 0, false)                                                    \
    X(RESULT, 41, BOTH, ANSWERER, SOME, MUSTER__WIRE_FLAG_ENDED, false)                            \
    X(ENDED, 42, BOTH, ANSWERER, SOME, 0, false)                                                   \
    X(BODY, 43, BOTH, EITHER, SOME, MUSTER__WIRE_FLAG_RESPONSE, false)                             \
    X(BODY_END, 44, BOTH, EITHER, SOME, MUSTER__WIRE_FLAG_RESPONSE, false)                         \
    X(BODY_ABORT, 45, BOTH, EITHER, SOME, MUSTER__WIRE_FLAG_RESPONSE, false)                       \
    X(BODY_CREDIT, 46, BOTH, EITHER, SOME, MUSTER__WIRE_FLAG_RESPONSE, false)                      \
    X(VALUE_PIECE, 47, BOTH, ANY, ANY, 0, false)                                                   \
    X(PORT_OPEN, 48, BOTH, OPENS, NONE, 0, false)                                                  \
    X(PORT_MESSAGE, 49, BOTH, EITHER, NONE, 0, false)                                              \
    X(PORT_CLOSE, 50, BOTH, EITHER, NONE, MUSTER__WIRE_FLAG_UNNAMED | MUSTER__WIRE_FLAG_MOVED, false) \
    X(PORT_CREDIT, 51, BOTH, EITHER, NONE, 0, false)                                               \
    X(PORT_MOVE, 52, PARENT, EITHER, NONE, 0, false)                                               \
    X(PORT_MOVED, 53, CHILD, EITHER, NONE, 0, false)                                               \
    X(DIRECT, 54, PARENT, NONE, NONE, 0, false)                                                    \
    X(RING, 55, BOTH, NONE, NONE, 0, false)

/* In the child's HELLO: it knows RING; and types_known of START. */
#define MUSTER__WIRE_TAKES_RING 8u
#define MUSTER__WIRE_TAKES_TYPES_KNOWN 16u

enum muster__wire_type {
#define MUSTER__WIRE_SYMBOL(name, number, ...) MUSTER__WIRE_##name = number,
    MUSTER__WIRE_TYPE_LIST(MUSTER__WIRE_SYMBOL)
#undef MUSTER__WIRE_SYMBOL
};

/* Bytes that the wire does not look into, and buffers that travel raw beside them. */
struct muster__wire_value {
    bool present; /* false: there is no value at all, as opposed to one of no bytes */
    /* Decoded and not complete: data is NULL, and the length is declared. */
    struct muster_bytes bytes;
    const struct muster_bytes *buffers; /* the same */
    uint32_t buffer_count;
};

enum muster__wire_body {
    MUSTER__WIRE_BODY_NONE,
    MUSTER__WIRE_BODY_WHOLE,  /* the message's value holds its bytes */
    MUSTER__WIRE_BODY_STREAM, /* BODY frames follow */
};

struct muster__wire_binding {
    const char *path;   /* "db.query" */
    bool is_function;   /* else a constant */
    struct muster_bytes value; /* the constant, encoded */
};

/* Texts are terminated UTF-8 without a NUL inside; NULL: none, where the comment says that it may be.
 * When decoded everything is borrowed: from the frame and the scratch. */
struct muster__wire_message {
    enum muster__wire_type type;
    uint8_t flags;
    uint32_t worker;
    uint64_t actor;
    uint32_t ticket;
    uint32_t descriptor_count;
    int *descriptors; /* the link's; see remote/link.h */

    /* REQUEST, DISPATCH: `data`, or the whole body; RESULT: the value, or the whole body;
     * BINDING_CALL: the arguments; START and LOADED: the script's text, and as its one buffer the
     * source map; PORT_MESSAGE: the data, and its head as the first buffer, as far as there are. */
    struct muster__wire_value value;

    /* REQUEST, PORT_MESSAGE: the ports that go with the data, 0 for one that is closed already, and how many of
     * them the data mentions. */
    const uint64_t *ports;
    size_t port_count;
    uint32_t host_count;

    /* STARTED, REPORT, GONE, LOADED, RESULT; texts borrowed: copy it, do not clean it up. */
    bool has_error;
    struct muster_error error;

    /* STARTED, GONE, LOADED, RESULT, CANCEL, BODY_ABORT. */
    enum muster_status status;

    union {
        struct {
            uint32_t version, pid;
            /* From the parent; the child sends no name, and zeros except for what it takes. */
            uint32_t threads;       /* of the child's pool; 0: one a core */
            uint32_t trust;         /* the wall's level, as remote/wall.h numbers them */
            uint32_t grants;        /* what the wall lets through; bits.  From the child: MUSTER__WIRE_TAKES_... */
            uint32_t word_count;    /* words of the shared memory */
            uint64_t turn_us, wedged_us; /* for workers that say nothing; 0: the runtime's default */
            uint64_t memory;        /* of the whole host, bytes; 0: no limit */
            uint64_t heartbeat_us;  /* how often a PING comes; 0: never */
            const char *name;       /* for logs and thread names; may be NULL */
        } hello;
        struct {
            const char *engine; /* "javascript" */
            enum muster__worker_type type;
            enum muster__trust trust;
            uint64_t turn_us, wedged_us, memory; /* as struct muster__worker_limits */
            const char *script_url, *name;
            const char *scope; /* may be NULL */
            const char *const *arguments; /* NULL-terminated; never NULL when decoded */
            size_t argument_count;
            const struct muster__wire_binding *bindings;
            size_t binding_count;
            /* The stored script, when value.present; else the child asks with LOAD. */
            const char *stored_url; /* what errors name; may be NULL */
            bool is_module;
            bool types_known; /* as in engine.h; only to a child that takes it */
            uint64_t host_port, port; /* to the coordinator, and the implicit one; 0: none */
            const char *port_account; /* on which its script's channels count; NULL: on none */
            uint64_t port_limit;      /* of that account */
        } start;
        struct { /* REQUEST, DISPATCH */
            enum muster__request_kind kind;
            const char *name;
            const char *scope;         /* DISPATCH: of the registration that it is for; else NULL */
            uint64_t deadline_us; /* 0: none; of CLOCK_MONOTONIC, which both processes share */
            uint64_t keepalive_until_us; /* the same clock; 0: a full idle time */
            uint32_t started_word;     /* index in the shared memory; MUSTER__WIRE_NO_WORD: none */
            bool idempotent;           /* may run again though it had started */
            /* FETCH; empty for all others. */
            enum muster__wire_body body;
            struct muster_bytes method, url, client_id;
            struct muster_bytes details; /* encoded: of a fetch its `data`, of others what their mail says beside its
                                          * data; empty: none */
            const struct muster_header *headers;
            size_t header_count;
        } request;
        struct { /* RESULT */
            bool is_response; /* an HTTP response head; else at most a value */
            uint16_t status_code;
            enum muster__wire_body body;
            struct muster_bytes reason;
            const struct muster_header *headers;
            size_t header_count;
        } result;
        struct { /* LOADED */
            const char *url; /* may be NULL */
            bool is_module;
        } loaded;
        struct {
            const char *url;
            const char *importer; /* may be NULL */
        } load;
        struct {
            const char *path;
        } binding_call;
        struct {
            enum muster_log_level level;
            struct muster_bytes text; /* UTF-8 */
        } console;
        struct { /* GONE */
            uint64_t turns;
        } gone;
        struct { /* HOLD, UNHOLD */
            uint32_t count;
            uint64_t until_us; /* HOLD: as keepalive_until_us; UNHOLD: 0 */
        } hold;
        struct {
            const char *phase;
            const char *holding; /* what holds it up, for people; may be NULL */
            uint32_t in_flight, tokens, timers;
            uint64_t turns, cpu_us, memory;
        } stats;
        struct { /* PING, PONG */
            uint64_t number;
        } ping;
        struct {
            uint64_t deadline_us; /* CLOCK_MONOTONIC; what still runs then is cut short; 0: none */
        } shutdown;
        struct { /* BODY, VALUE_PIECE: at most MUSTER__WIRE_PIECE bytes, at least one */
            struct muster_bytes bytes;
        } piece;
        struct { /* BODY_CREDIT, PORT_CREDIT */
            uint32_t bytes;
        } credit;
        struct { /* PORT_OPEN */
            bool held; /* who opens it sends nothing on it until it was given credit */
        } port_open;
        struct { /* PORT_MESSAGE */
            bool has_head, has_data;
        } port_message;
        struct { /* PORT_MOVE: the port goes on over that channel, under that number */
            uint32_t channel;
            uint64_t port;
            bool is_second; /* no message comes here any more: the other one moved before */
        } port_move;
        struct { /* DIRECT: a channel to another child, whose socket is the one descriptor */
            uint32_t channel;
            bool is_parent; /* which side this end is to play */
        } direct;
        struct { /* BODY_ABORT */
            const char *message; /* may be NULL */
        } abort;
    };
};

/* Encoded frames; grows as needed.  A zeroed one is empty. */
struct muster__wire_buffer {
    char *data;
    size_t length, capacity;
};
/* Frees and zeroes. */
void muster__wire_buffer_clean_up(struct muster__wire_buffer *buffer);
/* Room for `more` bytes behind what is there; NO_MEMORY leaves it as it was. */
MUSTER_MUST_CHECK enum muster_status
muster__wire_buffer_reserve(struct muster__wire_buffer *buffer, size_t more);

/* What was wrong with a frame. */
struct muster__wire_fault {
    size_t offset; /* in the frame */
    char sentence[160];
};

/* Lists of decoded messages (headers, arguments ...); reused from message to message.  A zeroed one
 * is empty. Its size is bounded by a small multiple of the frame's. */
struct muster__wire_scratch {
    void *memory;
    size_t used, capacity;
};
void muster__wire_scratch_clean_up(struct muster__wire_scratch *scratch);

/* "REQUEST"; "?" for what is none. */
const char *muster__wire_type_name(unsigned type);
/* May `send` answer QUEUE_FULL for it? */
bool muster__wire_may_refuse(enum muster__wire_type type);
/* Bytes of the value and its buffers together; of no value 0. */
uint64_t muster__wire_value_total(const struct muster__wire_value *value);
/* Does its value travel in pieces? */
bool muster__wire_in_pieces(const struct muster__wire_message *message);

/* Appends one frame as `from` sends it.  Texts that are not UTF-8 get U+FFFD for each bad byte;
 * texts of errors and console calls are cut at their limit.  On failure nothing is appended:
 * NO_MEMORY; INVALID_ARGUMENT when the message cannot be said (too large, a wrong actor, a field
 * out of range), and `fault` (may be NULL) says why. */
MUSTER_MUST_CHECK enum muster_status muster__wire_encode(struct muster__wire_buffer *buffer,
                                                         enum muster__wire_side from,
                                                         const struct muster__wire_message *message,
                                                         struct muster__wire_fault *fault);
/* The MUSTER__WIRE_PIECE_HEADER bytes before `length` bytes of a BODY or VALUE_PIECE; what follows
 * the bytes is muster__wire_padding(length) zeros. */
void muster__wire_encode_piece_header(char *header, enum muster__wire_type type, uint8_t flags,
                                      uint32_t worker, uint64_t actor, uint32_t length);
size_t muster__wire_padding(size_t length);

/* Looks at the first bytes of a frame.  0: more than `available` are needed to tell (8 are enough);
 * SIZE_MAX: no frame has such a length, `fault` says why. */
size_t muster__wire_frame_length(const char *data, size_t available, struct muster__wire_fault *fault);
/* A piece's header alone, so that its bytes can be read to where they belong: of the
 * MUSTER__WIRE_PIECE_HEADER bytes at `header`.  piece.bytes has its length and data NULL. */
MUSTER_MUST_CHECK enum muster_status
muster__wire_decode_piece_header(const char *header, enum muster__wire_side from,
                                 struct muster__wire_message *ret_message,
                                 struct muster__wire_fault *fault);
/* Decodes one whole frame that `from` sent.  OK; INVALID_ARGUMENT: a bad frame, and `fault` says
 * where and why; NO_MEMORY.  The message is valid as long as the frame, and until the scratch is used
 * again. */
MUSTER_MUST_CHECK enum muster_status muster__wire_decode(const char *frame, size_t length,
                                                         enum muster__wire_side from,
                                                         struct muster__wire_scratch *scratch,
                                                         struct muster__wire_message *ret_message,
                                                         struct muster__wire_fault *fault);

#endif
