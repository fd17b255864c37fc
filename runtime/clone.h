/* runtime/clone.h - structured clone for C: values that cross workers, threads and processes as bytes.
 *
 * Public: installed as <muster/clone.h>.  The bytes are described in docs/clone.md.
 *
 * Three things:
 *
 *   struct muster_clone           a message: bytes and, beside them, a side table of buffers that travel
 *                                 raw.  Counted, constant, any thread: handing one on copies nothing.
 *   struct muster_clone_document  what a message says, as a tree of nodes.  Constant once it is there: any
 *                                 thread may read it, one destroys it.
 *   struct muster_clone_writer    makes a message, value by value.  One thread at a time.
 *
 * Everything JavaScript can clone is there, cycles and shared references too: two nodes are the same
 * object exactly if muster_clone_object_number() gives the same number.  Bytes are hostile until they are
 * decoded: every length, tag, index and depth is checked, memory is bounded by a constant times the
 * message's size, and no call recurses.
 *
 * A muster_value (value.h) is less: a tree of plain data, in which a cycle is impossible; the last part
 * converts.
 */
#ifndef MUSTER_CLONE_H
#define MUSTER_CLONE_H

#include "base.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct muster_clone;
struct muster_clone_document;
struct muster_clone_node;
struct muster_clone_writer;

/* So many objects may be one inside the other. */
#define MUSTER_CLONE_MAX_DEPTH 10000

/* The modes differ in what is written; readers take both. */
enum muster_clone_mode {
    MUSTER_CLONE_POOL, /* everything there is: arguments and results of calls */
    MUSTER_CLONE_WEB   /* as the HTML standard says for postMessage: no lastIndex, plain errors */
};

/* ---- messages ---- */

/* Thread: the one that lets go last. */
typedef void muster_clone_free_fn(void *data, void *user_data);

/* Memory with its way out. */
struct muster_clone_buffer {
    void *data;
    size_t length;
    muster_clone_free_fn *free; /* NULL: nobody frees it, it outlives the message */
    void *user_data;
};

/* Thread: any.  A copy in memory of its own.  NO_MEMORY. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_buffer_copy(const void *data, size_t length, struct muster_clone_buffer *ret_buffer);
/* Thread: any.  Frees and zeroes; twice is fine. */
MUSTER_API void muster_clone_buffer_clean_up(struct muster_clone_buffer *buffer);

/* Thread: any.  A message from its parts; nothing is copied and nothing is looked at: decoding does that.
 * Takes `*take_bytes` and the `count` entries of the side table (on MUSTER_OK they are zeroed).
 * `host_count`: how many objects of the host travel beside the bytes.  INVALID_ARGUMENT, NO_MEMORY. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_new(struct muster_clone_buffer *take_bytes, struct muster_clone_buffer *take_buffers,
                 size_t count, size_t host_count, struct muster_clone **ret_clone);
MUSTER_API struct muster_clone *muster_clone_acquire(const struct muster_clone *clone);
MUSTER_API void muster_clone_release(struct muster_clone *clone); /* NULL: no-op */

/* Thread: any; borrowed while the message lives. */
MUSTER_API struct muster_bytes muster_clone_bytes(const struct muster_clone *clone);
MUSTER_API size_t muster_clone_buffer_count(const struct muster_clone *clone);
/* {NULL, 0} for an entry that is not there. */
MUSTER_API struct muster_bytes muster_clone_buffer_at(const struct muster_clone *clone, size_t i);
MUSTER_API size_t muster_clone_host_count(const struct muster_clone *clone);
/* Thread: any.  Moves an entry of the side table out, for a receiver that makes a buffer of its own of it
 * without a copy.  Once for each entry (CLOSED afterwards; NOT_FOUND if there is none).  The memory stays
 * where it is; from then on only `ret_buffer` keeps it, so nobody may read the entry through the message,
 * or a document of it, any longer than the buffer lives. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_take_buffer(struct muster_clone *clone, size_t i, struct muster_clone_buffer *ret_buffer);

/* ---- reading ---- */

/* From OBJECT on a value is an object: it has identity, and muster_clone_object_number(). */
enum muster_clone_type {
    MUSTER_CLONE_UNDEFINED,
    MUSTER_CLONE_NULL,
    MUSTER_CLONE_BOOLEAN,
    MUSTER_CLONE_NUMBER,
    MUSTER_CLONE_BIGINT,
    MUSTER_CLONE_STRING,
    MUSTER_CLONE_HOLE, /* an item of an array that does not exist */
    MUSTER_CLONE_OBJECT,
    MUSTER_CLONE_ARRAY,
    MUSTER_CLONE_MAP,
    MUSTER_CLONE_SET,
    MUSTER_CLONE_DATE,
    MUSTER_CLONE_REGEXP,
    MUSTER_CLONE_BOXED, /* a Boolean, Number, String or BigInt object */
    MUSTER_CLONE_ERROR,
    MUSTER_CLONE_DOMEXCEPTION,
    MUSTER_CLONE_BUFFER, /* an ArrayBuffer */
    MUSTER_CLONE_VIEW,   /* a typed array or a DataView */
    MUSTER_CLONE_HOST,   /* an object of the host, in a table beside the message */
    MUSTER_CLONE_TYPE_COUNT
};

/* Of which type an error is; `name` says what a script sees. */
enum muster_clone_error_type {
    MUSTER_CLONE_ERROR_PLAIN,
    MUSTER_CLONE_ERROR_EVAL,
    MUSTER_CLONE_ERROR_RANGE,
    MUSTER_CLONE_ERROR_REFERENCE,
    MUSTER_CLONE_ERROR_SYNTAX,
    MUSTER_CLONE_ERROR_TYPE,
    MUSTER_CLONE_ERROR_URI,
    MUSTER_CLONE_ERROR_AGGREGATE
};

enum muster_clone_view_kind {
    MUSTER_CLONE_DATA_VIEW,
    MUSTER_CLONE_INT8,
    MUSTER_CLONE_UINT8,
    MUSTER_CLONE_UINT8_CLAMPED,
    MUSTER_CLONE_INT16,
    MUSTER_CLONE_UINT16,
    MUSTER_CLONE_INT32,
    MUSTER_CLONE_UINT32,
    MUSTER_CLONE_FLOAT16,
    MUSTER_CLONE_FLOAT32,
    MUSTER_CLONE_FLOAT64,
    MUSTER_CLONE_BIGINT64,
    MUSTER_CLONE_BIGUINT64
};

/* Flags of a regular expression, in alphabetical order. */
enum {
    MUSTER_CLONE_REGEXP_D = 1,
    MUSTER_CLONE_REGEXP_G = 2,
    MUSTER_CLONE_REGEXP_I = 4,
    MUSTER_CLONE_REGEXP_M = 8,
    MUSTER_CLONE_REGEXP_S = 16,
    MUSTER_CLONE_REGEXP_U = 32,
    MUSTER_CLONE_REGEXP_V = 64,
    MUSTER_CLONE_REGEXP_Y = 128
};

/* Zero means the default. */
struct muster_clone_limits {
    size_t size;
    uint64_t max_reserved; /* bytes that resizable buffers may ask for, all together; 4 GiB */
};

/* Thread: any.  The document keeps the message alive; strings and buffers point into it.  `limits` and
 * `error` may be NULL.  SYNTAX_ERROR: refused, and `error` names the offset and what is wrong there;
 * NO_MEMORY. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_decode(const struct muster_clone *clone, const struct muster_clone_limits *limits,
                    struct muster_clone_document **ret_document, struct muster_error *error);
/* As above, of bytes without a side table, which the caller keeps alive and unchanged as long as the
 * document lives. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_decode_bytes(const void *data, size_t length, const struct muster_clone_limits *limits,
                          struct muster_clone_document **ret_document, struct muster_error *error);
MUSTER_API void muster_clone_document_destroy(struct muster_clone_document *document); /* NULL: no-op */

/* Thread: any, from here to the end of this part.  What is returned is borrowed while the document lives.
 * A node of the wrong type, or NULL, gives the empty answer: false, NaN, 0, NULL, {NULL, 0}. */
MUSTER_API const struct muster_clone_node *
muster_clone_root(const struct muster_clone_document *document);
/* Object numbers are below this. */
MUSTER_API size_t muster_clone_object_count(const struct muster_clone_document *document);
MUSTER_API enum muster_clone_type muster_clone_type(const struct muster_clone_node *node);
/* "Map", "string"; never NULL. */
MUSTER_API const char *muster_clone_type_name(enum muster_clone_type type);
MUSTER_API bool muster_clone_is_object(const struct muster_clone_node *node);
/* The same for each node of the same object.  Only of an object; otherwise UINT32_MAX. */
MUSTER_API uint32_t muster_clone_object_number(const struct muster_clone_node *node);

MUSTER_API bool muster_clone_boolean(const struct muster_clone_node *node);
/* Of a number, or a date: milliseconds since 1970, NaN if invalid. */
MUSTER_API double muster_clone_number(const struct muster_clone_node *node);
/* Of a string, as UTF-8, not terminated. */
MUSTER_API struct muster_bytes muster_clone_text(const struct muster_clone_node *node);
/* False if the string has lone surrogates.  Each then stands in the text as the three bytes that UTF-8
 * would give it if it could (ed a0..bf xx). */
MUSTER_API bool muster_clone_text_is_utf8(const struct muster_clone_node *node);
/* The magnitude, lowest byte first, without zeros at the end. */
MUSTER_API struct muster_bytes muster_clone_bigint(const struct muster_clone_node *node,
                                                   bool *ret_is_negative);
/* False if it does not fit. */
MUSTER_API bool muster_clone_bigint_to_int64(const struct muster_clone_node *node, int64_t *ret_number);
MUSTER_API bool muster_clone_bigint_to_uint64(const struct muster_clone_node *node,
                                              uint64_t *ret_number);
/* Decimal text; the caller frees with free().  UNSUPPORTED above 16 KiB of magnitude (the time grows with
 * the square); INVALID_ARGUMENT, NO_MEMORY. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_bigint_to_text(const struct muster_clone_node *node, char **ret_text);

/* An array's length; how many bytes a buffer has; the elements of a view. */
MUSTER_API size_t muster_clone_length(const struct muster_clone_node *node);
/* Item `i` of an array, HOLE where none is; NULL from its length on. */
MUSTER_API const struct muster_clone_node *muster_clone_item(const struct muster_clone_node *array,
                                                             size_t i);
/* What an array, Map or Set stores: items of an array (an array may be sparse: a length of four billion
 * and one entry), pairs of a Map, items of a Set. */
MUSTER_API size_t muster_clone_entry_count(const struct muster_clone_node *node);
MUSTER_API const struct muster_clone_node *muster_clone_entry(const struct muster_clone_node *node,
                                                              size_t i);
/* Which index the array's entry `i` has.  (An entry may be a HOLE.) */
MUSTER_API size_t muster_clone_entry_index(const struct muster_clone_node *array, size_t i);
MUSTER_API const struct muster_clone_node *muster_clone_entry_key(const struct muster_clone_node *map,
                                                                  size_t i);

/* Properties, in order, of an object, an array (those that are no indexes), an error (own ones besides
 * its parts). */
MUSTER_API size_t muster_clone_property_count(const struct muster_clone_node *node);
/* As muster_clone_text(). */
MUSTER_API struct muster_bytes muster_clone_property_key(const struct muster_clone_node *node, size_t i);
MUSTER_API const struct muster_clone_node *muster_clone_property(const struct muster_clone_node *node,
                                                                 size_t i);
/* By name; NULL if it is not there.  Quick for many keys too. */
MUSTER_API const struct muster_clone_node *muster_clone_get(const struct muster_clone_node *node,
                                                            const char *key);

struct muster_clone_regexp {
    const struct muster_clone_node *source; /* a string */
    unsigned flags;
    double last_index;
};
MUSTER_API bool muster_clone_regexp(const struct muster_clone_node *node,
                                    struct muster_clone_regexp *ret_regexp);

/* The primitive inside. */
MUSTER_API const struct muster_clone_node *muster_clone_boxed(const struct muster_clone_node *node);

/* Parts that are absent are NULL. */
struct muster_clone_error {
    enum muster_clone_error_type type;       /* of an ERROR */
    const struct muster_clone_node *name;    /* a string, when it is not the type's own */
    const struct muster_clone_node *message; /* a string */
    const struct muster_clone_node *stack;   /* a string */
    const struct muster_clone_node *cause;
    const struct muster_clone_node *errors; /* of an AggregateError */
    const struct muster_clone_node *quota;  /* of a DOMEXCEPTION: a number or null */
    const struct muster_clone_node *requested;
};
/* Of an ERROR or a DOMEXCEPTION. */
MUSTER_API bool muster_clone_error(const struct muster_clone_node *node,
                                   struct muster_clone_error *ret_error);
/* "TypeError"; never NULL. */
MUSTER_API const char *muster_clone_error_type_name(enum muster_clone_error_type type);

struct muster_clone_memory {
    struct muster_bytes bytes;
    bool is_resizable;
    uint64_t maximum;   /* if resizable */
    bool is_side_entry; /* the bytes are entry `entry` of the message's side table */
    size_t entry;
};
MUSTER_API bool muster_clone_memory(const struct muster_clone_node *buffer,
                                    struct muster_clone_memory *ret_memory);

struct muster_clone_view {
    enum muster_clone_view_kind kind;
    const struct muster_clone_node *buffer; /* a BUFFER */
    size_t offset;                          /* in bytes */
    size_t length;                          /* in elements; of a DataView in bytes */
    bool follows_buffer;                    /* it grows and shrinks with its buffer */
    struct muster_bytes bytes;              /* what it shows, little endian; aligned to nothing */
};
MUSTER_API bool muster_clone_view(const struct muster_clone_node *node,
                                  struct muster_clone_view *ret_view);
/* "Uint8Array"; never NULL. */
MUSTER_API const char *muster_clone_view_kind_name(enum muster_clone_view_kind kind);
/* Bytes of an element. */
MUSTER_API size_t muster_clone_view_kind_size(enum muster_clone_view_kind kind);

/* Which object of the host; UINT32_MAX if it is none. */
MUSTER_API uint32_t muster_clone_host_entry(const struct muster_clone_node *node);

/* ---- writing ---- */

struct muster_clone_writer_options {
    size_t size;
    enum muster_clone_mode mode;
    size_t raw_from; /* buffers of so many bytes go to the side table; 0: none but what is transferred */
};

/* Thread: any, one at a time.  NULL: out of memory.  `options` may be NULL. */
MUSTER_API struct muster_clone_writer *
muster_clone_writer_new(const struct muster_clone_writer_options *options);
MUSTER_API void muster_clone_writer_destroy(struct muster_clone_writer *writer); /* NULL: no-op */
/* The message of the one value that was written, with everything closed.  A mistake on the way makes all
 * later calls do nothing, and is told here, with the place where it happened: INVALID_ARGUMENT, NO_MEMORY.
 * Either way the writer is empty again, for the next value.  `error` may be NULL. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_writer_finish(struct muster_clone_writer *writer, struct muster_clone **ret_clone,
                           struct muster_error *error);

/* Values.  Each is the message's value, or the next in the innermost container that is open. */
MUSTER_API void muster_clone_write_undefined(struct muster_clone_writer *writer);
MUSTER_API void muster_clone_write_null(struct muster_clone_writer *writer);
MUSTER_API void muster_clone_write_boolean(struct muster_clone_writer *writer, bool boolean);
MUSTER_API void muster_clone_write_number(struct muster_clone_writer *writer, double number);
/* UTF-8, copied. */
MUSTER_API void muster_clone_write_string(struct muster_clone_writer *writer, const char *text,
                                          size_t length);
MUSTER_API void muster_clone_write_text(struct muster_clone_writer *writer, const char *text);
/* Code units, lone surrogates as well. */
MUSTER_API void muster_clone_write_utf16(struct muster_clone_writer *writer, const uint16_t *units,
                                         size_t count);
MUSTER_API void muster_clone_write_int64(struct muster_clone_writer *writer, int64_t number); /* BigInt */
MUSTER_API void muster_clone_write_uint64(struct muster_clone_writer *writer, uint64_t number);
/* A BigInt from its magnitude, lowest byte first; zeros at the end are dropped. */
MUSTER_API void muster_clone_write_bigint(struct muster_clone_writer *writer, bool is_negative,
                                          const void *magnitude, size_t length);

/* Objects.  Each returns its object number, for muster_clone_write_reference(); UINT32_MAX after a
 * mistake. */
MUSTER_API uint32_t muster_clone_write_date(struct muster_clone_writer *writer, double ms);
MUSTER_API uint32_t muster_clone_write_regexp(struct muster_clone_writer *writer, const char *source,
                                              size_t length, unsigned flags, double last_index);
/* The next value, which must be a boolean, number, string or BigInt, is inside. */
MUSTER_API uint32_t muster_clone_write_boxed(struct muster_clone_writer *writer);
/* An ArrayBuffer, copied. */
MUSTER_API uint32_t muster_clone_write_buffer(struct muster_clone_writer *writer, const void *data,
                                              size_t length);
MUSTER_API uint32_t muster_clone_write_resizable_buffer(struct muster_clone_writer *writer,
                                                        const void *data, size_t length,
                                                        uint64_t maximum);
/* Transferred: the memory itself travels, in the side table.  Takes `*take_buffer` (also after a mistake;
 * it is zeroed). */
MUSTER_API uint32_t muster_clone_write_transferred_buffer(struct muster_clone_writer *writer,
                                                          struct muster_clone_buffer *take_buffer);
/* The next value, which must be a buffer or a reference to one, is what the view shows.  `offset` in bytes,
 * `length` in elements; SIZE_MAX: it follows its buffer, which must be resizable. */
MUSTER_API uint32_t muster_clone_write_view(struct muster_clone_writer *writer,
                                            enum muster_clone_view_kind kind, size_t offset,
                                            size_t length);
/* The next object of the host, which travels beside the message. */
MUSTER_API uint32_t muster_clone_write_host(struct muster_clone_writer *writer);
/* The object of that number once more, also one that is still open: that makes a cycle. */
MUSTER_API void muster_clone_write_reference(struct muster_clone_writer *writer, uint32_t number);

/* Containers.  What is begun is ended. */
MUSTER_API uint32_t muster_clone_begin_object(struct muster_clone_writer *writer);
MUSTER_API uint32_t muster_clone_begin_array(struct muster_clone_writer *writer);
MUSTER_API uint32_t muster_clone_begin_map(struct muster_clone_writer *writer); /* key, value, ... */
MUSTER_API uint32_t muster_clone_begin_set(struct muster_clone_writer *writer);
/* `message` and `stack` may be NULL: it has none.  `name`: NULL if it is the type's.  Further, values after
 * muster_clone_write_cause() and muster_clone_write_errors(), and properties. */
MUSTER_API uint32_t muster_clone_begin_error(struct muster_clone_writer *writer,
                                             enum muster_clone_error_type type, const char *name,
                                             const char *message, const char *stack);
MUSTER_API void muster_clone_end(struct muster_clone_writer *writer);
/* `stack` may be NULL.  `quota` and `requested`: of a QuotaExceededError, NaN for null; else NULL. */
MUSTER_API uint32_t muster_clone_write_domexception(struct muster_clone_writer *writer, const char *name,
                                                    const char *message, const char *stack,
                                                    const double *quota, const double *requested);

/* In an object, an error, or an array: the next value is this property's.  UTF-8, copied.  Each key once;
 * in an array neither an index nor "length". */
MUSTER_API void muster_clone_write_key(struct muster_clone_writer *writer, const char *key);
MUSTER_API void muster_clone_write_key_bytes(struct muster_clone_writer *writer, const char *key,
                                             size_t length);
MUSTER_API void muster_clone_write_key_utf16(struct muster_clone_writer *writer, const uint16_t *units,
                                             size_t count);
/* In an array: the next item has this index, not below that of the next one; what is left out are holes.
 * Before the end it gives the length. */
MUSTER_API void muster_clone_write_index(struct muster_clone_writer *writer, uint32_t index);
/* In an error: the next value is its cause, or an AggregateError's errors. */
MUSTER_API void muster_clone_write_cause(struct muster_clone_writer *writer);
MUSTER_API void muster_clone_write_errors(struct muster_clone_writer *writer);

/* ---- a document once more as a message ---- */

/* Thread: any.  In canonical form.  The side table of the document's message is that of the new one, which
 * keeps the old one alive.  NO_MEMORY. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_encode(const struct muster_clone_document *document,
                    const struct muster_clone_writer_options *options, struct muster_clone **ret_clone,
                    struct muster_error *error);

/* ---- values and JSON ---- */

/* What to do with that which the other side cannot hold.  Without a flag it is refused. */
enum {
    /* Map: an array of pairs; Set: an array; a boxed primitive: the primitive; RegExp: text as in a script,
     * "/a/g"; DOMException: an error; view: the bytes that it shows; BigInt: a number if that is exact,
     * else decimal text; a hole: undefined; a lone surrogate: U+FFFD; properties of arrays and errors,
     * and an error's cause: left out. */
    MUSTER_CLONE_LENIENT = 1,
    MUSTER_CLONE_DATE_AS_TEXT = 2,   /* "2026-01-31T12:00:00.000Z"; an invalid one: null.  Also LENIENT */
    MUSTER_CLONE_DATE_AS_NUMBER = 4, /* milliseconds; an invalid one: NaN */
    MUSTER_CLONE_VIEWS_AS_BYTES = 8  /* a view: the bytes that it shows, and nothing else is lenient */
};

struct muster_clone_value_options {
    size_t size;
    unsigned flags;
    /* How many nodes may be there because an object is mentioned again: a few bytes can mention one a
     * billion times.  0: one million. */
    size_t max_repeated;
};

/* Thread: any.  The message of a value.  `options` may be NULL.  UNSUPPORTED: it holds an object of the
 * host, is too deep, or has text that is not UTF-8; `error` names the place.  With `raw_from` large bytes
 * are not copied: the message keeps the value alive. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_from_value(const struct muster_value *value,
                        const struct muster_clone_writer_options *options,
                        struct muster_clone **ret_clone, struct muster_error *error);
/* Thread: any.  The value that a node of the document stands for; NULL: its root.  An object that is
 * mentioned twice becomes one value with two references; a cycle is refused, for a muster_value can have
 * none.  `options` may be NULL: nothing is lenient.  UNSUPPORTED: "a Map at .a[3] has no counterpart in a
 * muster_value"; NO_MEMORY. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_to_value(const struct muster_clone_document *document, const struct muster_clone_node *node,
                      const struct muster_clone_value_options *options, struct muster_value **ret_value,
                      struct muster_error *error);

/* Thread: any.  JSON text, as JSON.stringify has it: undefined is left out of objects and null in arrays,
 * numbers that are not finite are null, dates are texts (toJSON), boxed primitives are primitives, a hole is
 * null, lone surrogates are escaped, properties of arrays are left out; BigInts and cycles are refused.
 * Where JSON.stringify would drop the content without a word ({} for a Map), so are Map, Set, RegExp,
 * errors, buffers and views, unless it is lenient: then Map, Set and RegExp as above, an error is {"name",
 * "message", "stack"}, a buffer or view an array of its bytes.  The caller frees with free(). */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_to_json(const struct muster_clone_document *document, const struct muster_clone_node *node,
                     const struct muster_clone_value_options *options, char **ret_text,
                     struct muster_error *error);
/* Thread: any.  The message of JSON text.  SYNTAX_ERROR with line and column. */
MUSTER_API MUSTER_MUST_CHECK enum muster_status
muster_clone_from_json(const char *text, size_t length,
                       const struct muster_clone_writer_options *options,
                       struct muster_clone **ret_clone, struct muster_error *error);

#ifdef __cplusplus
}
#endif
#endif
