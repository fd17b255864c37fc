/* runtime/clone_internal.h - what a clone document is made of, and the emitter of bytes.  Internal.
 *
 * A node is a slot of 16 bytes.  Primitives stand in it; an object's slot points to its body, so a second
 * reference is a copy of the slot, and identity is the number in the body.  Bodies and slots lie in the
 * document's arena and never move; nothing changes once the document is complete. */
#ifndef MUSTER_CLONE_INTERNAL_H
#define MUSTER_CLONE_INTERNAL_H

#include "runtime/check.h"
#include "runtime/clone.h"

#define MUSTER__CLONE_MAGIC 0xc1
#define MUSTER__CLONE_VERSION 0x01
#define MUSTER__CLONE_MAX_TEXT ((uint64_t)1 << 30) /* units: three bytes each still count in 32 bits */
#define MUSTER__CLONE_MAX_VARINT (((uint64_t)1 << 53) - 1)
#define MUSTER__CLONE_SHAPE_KEYS 64 /* longer ones get no number */

enum {
    TAG_UNDEFINED = 0x00,
    TAG_NULL = 0x01,
    TAG_FALSE = 0x02,
    TAG_TRUE = 0x03,
    TAG_INT16 = 0x04,
    TAG_INT32 = 0x05,
    TAG_FLOAT64 = 0x06,
    TAG_BIGINT = 0x07,
    TAG_LATIN1 = 0x08,
    TAG_UTF16 = 0x09,
    TAG_REF = 0x0a,
    TAG_HOLE = 0x0b,
    TAG_OBJECT = 0x10,
    TAG_ARRAY = 0x11,
    TAG_ARRAY_NAMED = 0x12,
    TAG_ARRAY_SPARSE = 0x13,
    TAG_MAP = 0x14,
    TAG_SET = 0x15,
    TAG_DATE = 0x16,
    TAG_REGEXP = 0x17,
    TAG_BOXED = 0x18,
    TAG_ERROR = 0x19,
    TAG_DOMEXCEPTION = 0x1a,
    TAG_BUFFER = 0x1b,
    TAG_BUFFER_RESIZABLE = 0x1c,
    TAG_BUFFER_SIDE = 0x1d,
    TAG_BUFFER_SIDE_RESIZABLE = 0x1e,
    TAG_VIEW = 0x1f,
    TAG_HOST = 0x20,
    TAG_PLATFORM = 0x21, /* read as the value inside */
    TAG_SHORT = 0x40,    /* + length, to 0x7f */
    TAG_SMALL = 0x80,    /* - 0xa0, to 0xff */
    TAG_SMALL_ZERO = 0xa0
};

enum { ERROR_MESSAGE = 1, ERROR_STACK = 2, ERROR_NAME = 4, ERROR_CAUSE = 8, ERROR_ERRORS = 16, ERROR_EXTRA = 32 };
enum { DOMEXCEPTION_STACK = 1, DOMEXCEPTION_QUOTA = 2 };

/* Of a text: a string's node or a key. */
enum { TEXT_ASCII = 1, TEXT_SURROGATES = 2 };

struct muster_clone_node {
    uint8_t type;
    uint8_t flags; /* a string's TEXT_..., a BigInt's sign */
    uint16_t unused;
    uint32_t length; /* of text or magnitude */
    union {
        bool boolean;
        double number;
        const char *text;
        uint32_t *body; /* one of the structs below: each begins with its object number */
    };
};

struct muster__clone_key {
    const char *text; /* UTF-8, lone surrogates as three bytes */
    uint32_t length;
    uint32_t flags;
};

/* The keys of one or many objects.  With many keys there is an index: open addressing over key numbers
 * + 1. */
struct muster__clone_shape {
    const struct muster__clone_key *keys;
    uint32_t *index; /* NULL: few keys */
    uint32_t count;
    uint32_t mask;
};

struct muster__clone_properties {
    const struct muster__clone_shape *shape; /* NULL: no properties */
    struct muster_clone_node *values;
};

struct muster__clone_object {
    uint32_t number;
    struct muster__clone_properties properties;
};

/* Arrays, Maps and Sets. */
struct muster__clone_list {
    uint32_t number;
    uint32_t length; /* an array's */
    uint32_t count;  /* slots: of an array those that it stores, of a Map two for each pair */
    struct muster_clone_node *slots;
    uint32_t *indexes; /* of a sparse array, ascending; NULL: slot i is item i */
    struct muster__clone_properties properties;
};

struct muster__clone_date {
    uint32_t number;
    double ms;
};

struct muster__clone_regexp {
    uint32_t number;
    uint32_t flags;
    double last_index;
    struct muster_clone_node source;
};

struct muster__clone_boxed {
    uint32_t number;
    struct muster_clone_node primitive;
};

/* An ERROR or a DOMEXCEPTION.  A part that is absent is UNDEFINED and its bit is not set. */
struct muster__clone_failure {
    uint32_t number;
    uint8_t type;
    uint8_t parts;
    struct muster_clone_node message;
    struct muster_clone_node stack;
    struct muster_clone_node name;
    struct muster_clone_node values[2]; /* cause and errors; quota and requested */
    struct muster__clone_properties properties;
};

#define MUSTER__CLONE_NO_ENTRY UINT32_MAX

struct muster__clone_memory {
    uint32_t number;
    uint32_t entry; /* of the side table */
    bool is_resizable;
    const char *data;
    size_t length;
    uint64_t maximum;
};

struct muster__clone_view {
    uint32_t number;
    uint8_t kind;
    bool follows;
    uint64_t offset;
    uint64_t length; /* in elements, if it does not follow */
    struct muster_clone_node buffer;
};

struct muster__clone_host {
    uint32_t number;
    uint32_t entry;
};

/* Thread: any.  Nobody but the caller, who has a reference, can look at the message. */
bool muster__clone_has_one_owner(const struct muster_clone *clone);

/* Thread: any.  A message of a copy of these bytes, in one piece of memory, with nothing beside it.
 * NO_MEMORY. */
MUSTER_MUST_CHECK enum muster_status muster__clone_new_copy(const void *data, size_t length,
                                                            struct muster_clone **ret_clone);

/* ---- the arena and the document (clone.c) ---- */

struct muster__clone_chunk;

struct muster__clone_arena {
    struct muster__clone_chunk *chunks;
    char *at;
    char *end;
    size_t next_size;
};

struct muster_clone_document {
    struct muster_clone *source; /* NULL: built, or decoded from borrowed bytes */
    struct muster__clone_arena arena;
    struct muster_clone_node root;
    uint32_t object_count;
    uint32_t host_count;
    char *first; /* what the arena begins with, in one block with the document */
    char *first_end;
};

/* Aligned to 8; lives as long as the arena.  NULL: out of memory. */
void *muster__clone_allocate(struct muster__clone_arena *arena, size_t size);
char *muster__clone_copy(struct muster__clone_arena *arena, const void *data, size_t length);
/* As UTF-8, three bytes for a lone surrogate.  False: out of memory.  `units` need not be aligned. */
bool muster__clone_text_from_utf16(struct muster__clone_arena *arena, const void *units, size_t count,
                                   struct muster_clone_node *ret_text);
bool muster__clone_text_from_latin1(struct muster__clone_arena *arena, const char *bytes, size_t length,
                                    struct muster_clone_node *ret_text);
void muster__clone_arena_clean_up(struct muster__clone_arena *arena);
/* Of a malloc'ed table of `size` bytes an entry, which `table` points to: room for one behind `count`.  False: out of
 * memory, and the table is as it was. */
bool muster__clone_make_room(void *table, size_t count, size_t *room, size_t size);
/* `hint`: how many bytes are expected.  NULL: out of memory. */
struct muster_clone_document *muster__clone_document_new(size_t hint);
/* Without content again, for the next value of a writer. */
void muster__clone_document_reset(struct muster_clone_document *document);

/* Makes the index if there are many keys, and finds a key that is there twice: its number, or `count`.
 * UINT32_MAX: out of memory. */
uint32_t muster__clone_index_keys(struct muster__clone_arena *arena, struct muster__clone_shape *shape);
/* "length", or the decimal text of 0 to 2^32-2: what no named property of an array is called. */
bool muster__clone_key_is_reserved(const char *key, size_t length);

bool muster__clone_is_ascii(const char *text, size_t length);
enum { UTF8_INVALID = -1 };
/* One code point at `text`; the bytes that it takes, or 0 if there is none.  `surrogates`: a lone one as
 * three bytes is fine. */
size_t muster__clone_code_point(const char *text, size_t left, bool surrogates, uint32_t *ret_point);
/* Writes it, a surrogate too, as one to four bytes; where they end. */
char *muster__clone_put_code_point(char *to, uint32_t point);
/* TEXT_... flags; UTF8_INVALID if it is not UTF-8. */
int muster__clone_text_flags(const char *text, size_t length);

/* The properties of an OBJECT, ARRAY or ERROR; else none. */
struct muster__clone_properties muster__clone_properties_of(const struct muster_clone_node *node);
/* "TypeError" to its type; false if it is no type's name. */
bool muster__clone_error_type_from_name(const char *name, size_t length, uint8_t *ret_type);

bool muster__clone_view_is_inside(const struct muster__clone_view *view);

static inline bool muster__clone_is_object(const struct muster_clone_node *node)
{
    return node->type >= MUSTER_CLONE_OBJECT;
}

/* ---- where something is, for people: ".a[3]" ---- */

struct muster__clone_path {
    char text[160];
    size_t length;
    bool is_full;
};

void muster__clone_path_key(struct muster__clone_path *path, const char *key, size_t length);
void muster__clone_path_index(struct muster__clone_path *path, size_t index);
/* What a walk over a container goes through. */
enum muster__clone_step { MUSTER__CLONE_ITEMS, MUSTER__CLONE_PAIRS, MUSTER__CLONE_PROPERTIES };
/* To where such a walk is: right before `next`, or at the first. */
void muster__clone_path_step(struct muster__clone_path *path, const struct muster_clone_node *node,
                             enum muster__clone_step step, uint32_t next);
/* " at .a[3]", or "" for the value itself. */
const char *muster__clone_path_end(struct muster__clone_path *path);

/* ---- turning into less (clone_value.c) ---- */

#define MUSTER__CLONE_DATE_ROOM 32
/* As toISOString(); false: an invalid date. */
bool muster__clone_date_text(double ms, char *ret_text);
/* "gi". */
void muster__clone_regexp_flags(unsigned flags, char ret_flags[9]);
/* What the caller gave, as far as its struct goes, with defaults. */
struct muster_clone_value_options
muster__clone_value_options(const struct muster_clone_value_options *options);

/* ---- emitting bytes (clone_encode.c) ---- */

struct muster__clone_shape_place {
    size_t offset; /* of the block */
    uint32_t size;
    uint32_t hash;
};

struct muster__clone_emitter {
    unsigned char *bytes;
    size_t length;
    size_t room;
    bool failed; /* out of memory: later calls do nothing */
    struct muster__clone_shape_place *shapes;
    uint32_t shape_count;
    uint32_t shape_room;
    uint32_t *shape_index; /* shape numbers + 1; NULL: few */
    uint32_t shape_mask;
};

void muster__clone_emit_start(struct muster__clone_emitter *emitter);
void muster__clone_emit_clean_up(struct muster__clone_emitter *emitter);
void muster__clone_emit_byte(struct muster__clone_emitter *emitter, unsigned byte);
void muster__clone_emit_varint(struct muster__clone_emitter *emitter, uint64_t number);
void muster__clone_emit_bytes(struct muster__clone_emitter *emitter, const void *data, size_t length);
void muster__clone_emit_number(struct muster__clone_emitter *emitter, double number);
/* Text that was checked. */
void muster__clone_emit_text(struct muster__clone_emitter *emitter, const char *text, size_t length,
                             bool is_ascii);

/* `key(source, i)` gives the keys, which are checked text. */
typedef struct muster__clone_key muster__clone_key_fn(const void *source, uint32_t i);
/* A new shape, or the number of one that was there.  ret_number: UINT32_MAX if it has none. */
uint32_t muster__clone_emit_keys(struct muster__clone_emitter *emitter, muster__clone_key_fn *key,
                                 const void *source, uint32_t count);
/* Takes the emitter's bytes as the bytes of a new message. */
enum muster_status muster__clone_emit_finish(struct muster__clone_emitter *emitter,
                                             struct muster_clone_buffer *take_buffers, size_t count,
                                             size_t host_count, struct muster_clone **ret_clone);
/* The document's root; `side` are the buffers that were transferred, all taken. */
enum muster_status muster__clone_encode(const struct muster_clone_document *document,
                                        const struct muster_clone_writer_options *options,
                                        struct muster_clone_buffer *take_side, size_t side_count,
                                        struct muster_clone **ret_clone, struct muster_error *error);
/* What the caller gave, as far as its struct goes; the rest is zero. */
struct muster_clone_writer_options
muster__clone_writer_options(const struct muster_clone_writer_options *options);

#endif
