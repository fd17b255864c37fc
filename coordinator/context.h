/* coordinator/context.h - the coordinator's side of a script's world.  Internal.
 *
 * A *context* is one realm of scripts (a worker's, a page's, a frame's) or a client of the embedder's, seen from
 * here: the coordinator's end of its host port.  What the context asks and tells comes in there as messages whose
 * head is an array:
 *   ["ask", id, op, argument...]   answered exactly once by ["answer", id, true, value] or
 *                                  ["answer", id, false, {name, message, ...}]
 *   ["tell", op, argument...]      not answered; tells go both ways
 * with `data` and `ports` beside it when the op carries something of a script's.  context_ops.c has the table of
 * ops.  A script is hostile: an ask that is not understood is answered with a TypeError, a tell is dropped.
 *
 * The first message that a context finds in its port is ["tell", "environment", {...}]: who it is.  A service worker of
 * an engine that says hello first (["tell", "hello"], or anything else) finds it after that, and costs nothing before.
 *
 * A context is closed when its port is, or when its worker is gone; then everything that it holds is let go:
 * its workers, its channels, its questions that wait, its place among the clients.
 *
 * Thread: coordinator, for all of it, unless it says any.
 */
#ifndef MUSTER_CONTEXT_H
#define MUSTER_CONTEXT_H

#include "coordinator/instance.h"

/* ---- things by their name ---- */

/* Embedded in what has a name.  The name is its owner's. */
struct muster__named {
    struct muster__id_node node; /* by the name's hash */
    struct muster__named *same;  /* others with that hash */
    const char *name;
};
struct muster__name_map {
    struct muster__id_map map;
};
struct muster__cache_store;
struct muster__worlds;
void muster__name_map_add(struct muster__worlds *worlds, struct muster__name_map *map, struct muster__named *named);
/* NULL: there is none. */
struct muster__named *muster__name_map_find(struct muster__worlds *worlds, const struct muster__name_map *map,
                                            const char *name);
void muster__name_map_remove(struct muster__name_map *map, struct muster__named *named);

/* What the coordinator knows of all contexts; one of an instance. */
struct muster__worlds {
    uint64_t seed; /* of the hash of names */
    uint64_t next_id;
    struct muster__link contexts;       /* in order of opening */
    struct muster__link clients;        /* clients.c: in order of creation */
    struct muster__id_map clients_by_id;
    struct muster__name_map shared;     /* shared_workers.c: by key */
    struct muster__link lingering;      /* shared_workers.c: without a holder, in the order of their ends */
    struct muster__name_map tenants;    /* context_worker.c: how many workers a storage key has */
    struct muster__port_accounts port_accounts; /* context_worker.c: by storage key */
    struct muster__name_map channels;   /* broadcast.c: by storage key and name */
    struct muster__name_map caches;     /* caches.c: by storage key; and all of these */
    struct muster__cache_store *cache_store; /* NULL: there is no state folder */
    struct muster__link cache_jobs;     /* that the store has */
    uint64_t cache_number;              /* the last that a cache or record got */
    size_t kept_bytes;                  /* of bodies in memory that are on the disk, too */
    struct muster__registrations *registrations; /* registrations.c's */
};

MUSTER_MUST_CHECK enum muster_status muster__worlds_new(struct muster *muster);
/* Thread: none runs any more.  Closes what is open; what the contexts still posted is in the inbox's list `left`,
 * and is let go. */
void muster__worlds_destroy(struct muster *muster, struct muster__message *left);
/* When muster__worlds_tick() is wanted at the latest; UINT64_MAX: no need. */
uint64_t muster__worlds_deadline(const struct muster *muster);
void muster__worlds_tick(struct muster *muster, uint64_t now_us);
/* The instance closes: nothing is kept for later. */
void muster__worlds_closing(struct muster *muster);

/* ---- contexts ---- */

struct muster__client;

struct muster__context {
    atomic_uint references; /* its own while it is open, one while its message is posted, and its maker's */
    struct muster *muster;
    struct muster__link link;
    uint64_t id;
    enum muster__worker_type type;
    char *url, *origin, *storage_key, *name;
    struct muster__port *port; /* NULL: it is closed */
    struct muster__message mail;
    struct muster__version *version; /* whose script runs in it; NULL: none of the coordinator's */
    uint64_t instance;               /* the core's, whose realm it is; 0: none */
    struct muster__client *client;   /* NULL: a service worker, or closed */
    struct muster__version *inherited; /* its creator's controller; NULL: none, or its URL tells */
    struct muster__link pendings;    /* asks that are answered later */
    struct muster__link holds;       /* what its workers are held by */
    struct muster__link channels;    /* its broadcast channels */
    struct muster__link caches;      /* that it has open */
    char *place;                     /* its URL, or its creator's place if that is of none */
    bool is_behind;                  /* it does not take what it is told: said once */
    bool is_broken;                  /* it could not be answered */
    bool is_embedder;
    bool hears_registrations; /* it asked for one: it is told of all of its storage key (registrations.h) */
};

struct muster__context_options {
    enum muster__worker_type type;
    const char *url;         /* of the script, or the page */
    const char *origin;      /* NULL: the URL's */
    const char *storage_key; /* NULL: the URL's origin */
    const char *name;        /* NULL: "" */
    const char *client_id;   /* NULL: a new one */
    const char *frame_type;  /* "none", "nested", "top-level"; NULL: "none" */
    bool is_embedder;        /* no script's: its workers may be native code */
    struct muster__version *version;
    /* Of its creator: controls it too, if its URL is one that no scope can match (about:, blob:; SW-CLI-2). */
    struct muster__version *controller;
    const char *place; /* likewise: what scopes are matched against; NULL: its URL */
    uint64_t instance;
};

/* Whoever holds one reference may open it, once.  Thread: any.  NULL: out of memory. */
struct muster__context *muster__context_new(struct muster *muster, const struct muster__context_options *options);
/* The end of its host port is taken; the environment is the first that goes out.  NO_MEMORY: it is closed. */
MUSTER_MUST_CHECK enum muster_status muster__context_open(struct muster__context *context,
                                                          struct muster__port **take_port);
/* Thread: any. */
struct muster__context *muster__context_acquire(struct muster__context *context);
void muster__context_release(struct muster__context *context); /* NULL: no-op */
/* Everything that it holds is let go.  Repeatable. */
void muster__context_close(struct muster__context *context);

/* Takes the head (["tell", ...]; NULL: out of memory, nothing is told) and the data. */
void muster__context_tell(struct muster__context *context, struct muster_value *take_head,
                          struct muster_value *take_data);
/* As above, with what a script posted: its data and its ports are taken out of `payload`. */
void muster__context_pass(struct muster__context *context, struct muster_value *take_head,
                          struct muster__port_message *payload);

/* ---- asks ---- */

/* A message of a context's, while its op runs. */
struct muster__ask {
    struct muster__context *context;
    const struct muster_value *head;
    size_t first; /* of the arguments in it */
    struct muster__port_message *message; /* an op may take the data and the ports */
    double id;    /* of an ask */
    bool is_ask, is_answered;
};

/* An ask that is answered later.  Lives until it is answered, though its context be closed. */
struct muster__pending {
    struct muster__link link; /* of its context's */
    struct muster__context *context; /* NULL: closed */
    double id;
};

typedef void muster__op_fn(struct muster__ask *ask);

/* NULL: none there. */
const struct muster_value *muster__ask_argument(const struct muster__ask *ask, size_t i);
/* NULL: not a text, or longer than 64 KB, or with a NUL in it. */
const char *muster__ask_text(const struct muster__ask *ask, size_t i);
const char *muster__text_of(const struct muster_value *value);
/* 0: not a whole number from 1 to 2^53. */
uint64_t muster__ask_number(const struct muster__ask *ask, size_t i);
uint64_t muster__number_of(const struct muster_value *value);
/* The first end that came with it, with its reference; NULL: none. */
struct muster__port *muster__ask_take_port(struct muster__ask *ask);

/* Once for each ask; a tell is not answered, and these do nothing.  Takes the value; NULL: undefined. */
void muster__ask_answer(struct muster__ask *ask, struct muster_value *take_value);
/* As above, with data beside it; NULL: none. */
void muster__ask_answer_with(struct muster__ask *ask, struct muster_value *take_value, struct muster_value *take_data);
/* A name of DOMException's, or "TypeError". */
void muster__ask_fail(struct muster__ask *ask, const char *name, const char *format, ...) MUSTER_PRINTF(3, 4);
/* It will be answered by muster__pending_answer() or _fail(), which free it.  NULL: out of memory, and it is
 * answered. */
struct muster__pending *muster__ask_defer(struct muster__ask *ask);
void muster__pending_answer(struct muster__pending *take_pending, struct muster_value *take_value);
/* As above, with data beside it; NULL: none. */
void muster__pending_answer_with(struct muster__pending *take_pending, struct muster_value *take_value,
                                 struct muster_value *take_data);
/* With the place of the error, if it has one. */
void muster__pending_fail(struct muster__pending *take_pending, const char *name, const struct muster_error *error);

/* context_ops.c.  Does what the head of that message says. */
void muster__context_run(struct muster__context *context, struct muster__port_message *take_message);

/* ---- trees (context_trees.c); NULL: out of memory ---- */

/* "service", "shared", ...: static. */
const char *muster__tree_type(enum muster__worker_type type);

/* Takes the items, NULLs too: those mean that memory ran out, and so does the whole. */
struct muster_value *muster__tree_array(size_t count, struct muster_value *const *take_items);
struct muster__tree_pair {
    const char *key;
    struct muster_value *take_value;
};
struct muster_value *muster__tree_object(size_t count, const struct muster__tree_pair *pairs);
#define MUSTER__ARRAY(...)                                                                         \
    muster__tree_array(sizeof((struct muster_value *[]){__VA_ARGS__}) / sizeof(struct muster_value *), \
                       (struct muster_value *[]){__VA_ARGS__})
#define MUSTER__OBJECT(...)                                                                        \
    muster__tree_object(sizeof((struct muster__tree_pair[]){__VA_ARGS__}) / sizeof(struct muster__tree_pair), \
                        (struct muster__tree_pair[]){__VA_ARGS__})
/* NULL gives null. */
struct muster_value *muster__tree_text(const char *text);
struct muster_value *muster__tree_version(struct muster__version *version);
struct muster_value *muster__tree_registration(struct muster *muster, const struct muster__core_scope_view *view);
struct muster_value *muster__tree_client(const struct muster__client *client);
struct muster_value *muster__tree_environment(const struct muster__context *context);
/* {message, filename, lineno, colno, name}. */
struct muster_value *muster__tree_error(const struct muster_error *error);
/* {source: CLIENT or VERSION}: what an event says of its sender. */
struct muster_value *muster__tree_source(const struct muster__context *context);

/* "https://example.org" of any URL with "://"; "" of a path.  NULL: out of memory. */
char *muster__origin_of(const char *url);
/* Whether its origin is one that nobody else has: a data: URL's, and that of blobs which scripts of such a one make. */
bool muster__is_opaque(const char *url);

#endif
