/* coordinator/scope_map.c - a radix trie with path copying and two-phase reader counters.
 *
 * Threads: one writer, any readers; scope_map.h says how they stay apart.  Promise: a reader
 * touches only nodes that are published and not yet freed, and the writer changes only nodes that
 * are not published.
 *
 * All counter and root accesses are sequentially consistent on purpose.  The proof needs one order
 * of four steps: the writer stores the root, then reads a counter; a reader raises the counter,
 * then loads the root.  Either the writer sees the reader, or the reader sees the new root.
 */
#include "coordinator/scope_map.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCOPE_LIMIT ((size_t)1 << 20)
#define SHARD_LIMIT 64u
#define LINE 64

/* One allocation: the head, a byte for each child (the first of its label, ascending), the label,
 * and, aligned, a pointer for each child.  The bytes come first because a reader that passes
 * through needs them together with the head. */
struct node {
    union {
        uint64_t batch;    /* the batch that made it: only while that is open may the node change */
        struct node *next; /* in a list of nodes to be freed; readers look at neither */
    } own;
    void *value; /* NULL: no scope ends here */
    uint32_t label_length;
    uint16_t child_count;
    unsigned char bytes[];
};

struct shard {
    _Alignas(LINE) atomic_size_t readers[2];
};

struct muster__scope_map {
    struct {
        struct muster__scope_map_options options;
        uint64_t batch; /* number of the open batch, or of the last one */
        bool is_open;
        struct node *root; /* of the open batch; the published one otherwise */
        size_t count;      /* in `root` */

        struct node *replaced;          /* by the open batch */
        struct node *retired;           /* published away, waits for the next grace period */
        struct node *draining;          /* waits for the grace period that runs */
        bool seen_zero[SHARD_LIMIT][2]; /* in the grace period that runs */
        bool turned_over;

        struct muster__scope_map_stats stats;
    } own;

    /* Read-mostly, written at commits, and apart from what readers write. */
    _Alignas(LINE) struct node *_Atomic root;
    atomic_size_t count;
    atomic_uint phase;
    unsigned shard_count; /* a power of two, constant */
    void (*retain)(void *value);

    struct shard shards[];
};

/* ---- nodes ---- */

static size_t children_offset(size_t child_count, size_t label_length)
{
    size_t end = offsetof(struct node, bytes) + child_count + label_length;
    return (end + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
}

static size_t node_size(size_t child_count, size_t label_length)
{
    return children_offset(child_count, label_length) + child_count * sizeof(struct node *);
}

static unsigned char *label_of(const struct node *node)
{
    return (unsigned char *)node->bytes + node->child_count;
}

static struct node **children_of(const struct node *node)
{
    return (struct node **)(void *)((char *)node +
                                    children_offset(node->child_count, node->label_length));
}

/* The child that goes on with this byte; NULL: none. */
static struct node **find_child(const struct node *node, unsigned char byte)
{
    const unsigned char *at = memchr(node->bytes, byte, node->child_count);
    return at ? &children_of(node)[at - node->bytes] : NULL;
}

/* Bytes, label and children are the caller's to fill. */
static struct node *node_new(struct muster__scope_map *map, size_t child_count, size_t label_length,
                             void *value)
{
    size_t size = node_size(child_count, label_length);
    struct node *node = map->own.options.allocate(size, map->own.options.user_data);
    if (!node)
        return NULL;
    node->own.batch = map->own.batch;
    node->value = value;
    if (value)
        map->retain(value);
    node->label_length = (uint32_t)label_length;
    node->child_count = (uint16_t)child_count;
    map->own.stats.nodes++;
    map->own.stats.bytes += size;
    return node;
}

static void node_free(struct muster__scope_map *map, struct node *node)
{
    map->own.stats.nodes--;
    map->own.stats.bytes -= node_size(node->child_count, node->label_length);
    if (node->value)
        map->own.options.release(node->value);
    map->own.options.deallocate(node, map->own.options.user_data);
}

static struct node *leaf_new(struct muster__scope_map *map, const char *label, size_t length,
                             void *value)
{
    struct node *leaf = node_new(map, 0, length, value);
    if (leaf && length > 0)
        memcpy(label_of(leaf), label, length);
    return leaf;
}

/* The same node with another label. */
static struct node *copy_with_label(struct muster__scope_map *map, const struct node *node,
                                    const unsigned char *label, size_t length)
{
    struct node *copy = node_new(map, node->child_count, length, node->value);
    if (!copy)
        return NULL;
    memcpy(copy->bytes, node->bytes, node->child_count);
    memcpy(label_of(copy), label, length);
    memcpy(children_of(copy), children_of(node), node->child_count * sizeof(struct node *));
    return copy;
}

static struct node *copy_node(struct muster__scope_map *map, const struct node *node)
{
    return copy_with_label(map, node, label_of(node), node->label_length);
}

static struct node *copy_with_child(struct muster__scope_map *map, const struct node *node,
                                    struct node *child)
{
    struct node *copy =
        node_new(map, (size_t)node->child_count + 1, node->label_length, node->value);
    if (!copy)
        return NULL;
    unsigned char byte = label_of(child)[0];
    size_t at = 0;
    while (at < node->child_count && node->bytes[at] < byte)
        at++;
    size_t after = node->child_count - at;
    memcpy(copy->bytes, node->bytes, at);
    copy->bytes[at] = byte;
    memcpy(copy->bytes + at + 1, node->bytes + at, after);
    memcpy(label_of(copy), label_of(node), node->label_length);
    memcpy(children_of(copy), children_of(node), at * sizeof(struct node *));
    children_of(copy)[at] = child;
    memcpy(children_of(copy) + at + 1, children_of(node) + at, after * sizeof(struct node *));
    return copy;
}

static struct node *copy_without_child(struct muster__scope_map *map, const struct node *node,
                                       size_t at)
{
    struct node *copy =
        node_new(map, (size_t)node->child_count - 1, node->label_length, node->value);
    if (!copy)
        return NULL;
    size_t after = (size_t)node->child_count - at - 1;
    memcpy(copy->bytes, node->bytes, at);
    memcpy(copy->bytes + at, node->bytes + at + 1, after);
    memcpy(label_of(copy), label_of(node), node->label_length);
    memcpy(children_of(copy), children_of(node), at * sizeof(struct node *));
    memcpy(children_of(copy) + at, children_of(node) + at + 1, after * sizeof(struct node *));
    return copy;
}

/* `node` and its child in one, the label of both behind each other. */
static struct node *copy_joined(struct muster__scope_map *map, const struct node *node,
                                const struct node *child)
{
    size_t length = (size_t)node->label_length + child->label_length;
    struct node *copy = node_new(map, child->child_count, length, child->value);
    if (!copy)
        return NULL;
    memcpy(copy->bytes, child->bytes, child->child_count);
    memcpy(label_of(copy), label_of(node), node->label_length);
    memcpy(label_of(copy) + node->label_length, label_of(child), child->label_length);
    memcpy(children_of(copy), children_of(child), child->child_count * sizeof(struct node *));
    return copy;
}

/* Takes a node out of the batch's tree; readers may still be in it if it was published. */
static void drop(struct muster__scope_map *map, struct node *node)
{
    if (node->own.batch == map->own.batch) {
        node_free(map, node);
        return;
    }
    node->own.next = map->own.replaced;
    map->own.replaced = node;
    map->own.stats.retired++;
}

/* Puts `node` where `*link` was; the tree keeps its meaning if the two have the same. */
static void replace(struct muster__scope_map *map, struct node **link, struct node *node)
{
    struct node *old = *link;
    *link = node;
    drop(map, old);
}

/* Makes the node at `link` one that this batch may change.  A copy means the same, so that a change
 * that later runs out of memory has changed nothing. */
static bool make_own(struct muster__scope_map *map, struct node **link)
{
    if ((*link)->own.batch == map->own.batch)
        return true;
    struct node *copy = copy_node(map, *link);
    if (!copy)
        return false;
    replace(map, link, copy);
    return true;
}

static void free_list(struct muster__scope_map *map, struct node *list)
{
    while (list) {
        struct node *node = list;
        list = node->own.next;
        map->own.stats.retired--;
        node_free(map, node);
    }
}

/* Frees a tree, or of a tree the part that the open batch made: above a node that is its own there
 * is none that is not. */
static void free_tree(struct muster__scope_map *map, struct node *root, bool own_only)
{
    if (own_only && root->own.batch != map->own.batch)
        return;
    root->own.next = NULL;
    for (struct node *todo = root; todo;) {
        struct node *node = todo;
        todo = node->own.next;
        for (size_t i = 0; i < node->child_count; i++) {
            struct node *child = children_of(node)[i];
            if (own_only && child->own.batch != map->own.batch)
                continue;
            child->own.next = todo;
            todo = child;
        }
        node_free(map, node);
    }
}

/* ---- the map ---- */

static void *default_allocate(size_t size, void *user_data)
{
    (void)user_data;
    return malloc(size);
}

static void default_deallocate(void *memory, void *user_data)
{
    (void)user_data;
    free(memory);
}

static unsigned shards_wanted(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    unsigned count = 1;
    while (count < SHARD_LIMIT && (long)count < cpus)
        count *= 2;
    return count;
}

enum muster_status muster__scope_map_new(const struct muster__scope_map_options *options,
                                         struct muster__scope_map **ret_map)
{
    MUSTER_CHECK(options->retain && options->release);
    MUSTER_CHECK(!options->allocate == !options->deallocate);
    unsigned shard_count = shards_wanted();
    size_t size = sizeof(struct muster__scope_map) + shard_count * sizeof(struct shard);
    struct muster__scope_map *map = aligned_alloc(LINE, size);
    if (!map)
        return MUSTER_NO_MEMORY;
    memset(map, 0, size);
    map->own.options = *options;
    if (!options->allocate) {
        map->own.options.allocate = default_allocate;
        map->own.options.deallocate = default_deallocate;
    }
    map->retain = options->retain;
    map->shard_count = shard_count;
    map->own.root = leaf_new(map, "", 0, NULL);
    if (!map->own.root) {
        free(map);
        return MUSTER_NO_MEMORY;
    }
    atomic_store(&map->root, map->own.root);
    *ret_map = map;
    return MUSTER_OK;
}

void muster__scope_map_destroy(struct muster__scope_map *map)
{
    if (!map)
        return;
    if (map->own.is_open)
        muster__scope_map_abandon(map);
    for (unsigned i = 0; i < map->shard_count; i++)
        MUSTER_CHECK(atomic_load(&map->shards[i].readers[0]) == 0 &&
                     atomic_load(&map->shards[i].readers[1]) == 0);
    free_list(map, map->own.draining);
    free_list(map, map->own.retired);
    free_tree(map, map->own.root, false);
    MUSTER_CHECK(map->own.stats.nodes == 0 && map->own.stats.bytes == 0);
    free(map);
}

/* ---- readers ---- */

static atomic_size_t *enter(struct muster__scope_map *map)
{
    unsigned cpu = (unsigned)sched_getcpu(); /* an error is a shard too */
    struct shard *shard = &map->shards[cpu & (map->shard_count - 1)];
    atomic_size_t *readers = &shard->readers[atomic_load(&map->phase) & 1];
    atomic_fetch_add(readers, 1);
    return readers;
}

static void leave(atomic_size_t *readers)
{
    atomic_fetch_sub(readers, 1);
}

static void *longest(const struct node *node, const char *url, size_t length)
{
    void *best = node->value;
    while (length > 0) {
        struct node **link = find_child(node, (unsigned char)*url);
        if (!link)
            break;
        node = *link;
        if (node->label_length > length || memcmp(label_of(node), url, node->label_length) != 0)
            break;
        if (node->value)
            best = node->value;
        url += node->label_length;
        length -= node->label_length;
    }
    return best;
}

void *muster__scope_map_match(struct muster__scope_map *map, const char *url, size_t length)
{
    atomic_size_t *readers = enter(map);
    void *value = longest(atomic_load(&map->root), url, length);
    if (value)
        map->retain(value);
    leave(readers);
    return value;
}

size_t muster__scope_map_count(const struct muster__scope_map *map)
{
    return atomic_load_explicit(&map->count, memory_order_relaxed);
}

/* A walk keeps its own stack, since the depth is as long as the longest chain of nested scopes. */
struct walk_step {
    const struct node *node;
    size_t child;  /* the next one to visit */
    size_t length; /* of the scope that ends at this node */
};

struct walk {
    struct walk_step *steps;
    size_t depth, step_capacity;
    char *scope;
    size_t scope_capacity;
};

static size_t walk_grow(size_t capacity, size_t wanted)
{
    size_t larger = capacity ? capacity : 32;
    while (larger < wanted)
        larger *= 2;
    return larger;
}

static bool walk_reserve_step(struct walk *walk)
{
    if (walk->depth < walk->step_capacity)
        return true;
    size_t capacity = walk_grow(walk->step_capacity, walk->depth + 1);
    struct walk_step *steps = realloc(walk->steps, capacity * sizeof *steps);
    if (!steps)
        return false;
    walk->steps = steps;
    walk->step_capacity = capacity;
    return true;
}

static bool walk_reserve_scope(struct walk *walk, size_t size)
{
    if (size <= walk->scope_capacity)
        return true;
    size_t capacity = walk_grow(walk->scope_capacity, size);
    char *scope = realloc(walk->scope, capacity);
    if (!scope)
        return false;
    walk->scope = scope;
    walk->scope_capacity = capacity;
    return true;
}

static bool walk_push(struct walk *walk, const struct node *node, size_t parent_length)
{
    size_t length = parent_length + node->label_length;
    if (!walk_reserve_step(walk) || !walk_reserve_scope(walk, length + 1))
        return false;
    memcpy(walk->scope + parent_length, label_of(node), node->label_length);
    walk->scope[length] = '\0';
    walk->steps[walk->depth++] = (struct walk_step){.node = node, .length = length};
    return true;
}

static enum muster_status walk_tree(struct walk *walk, const struct node *root,
                                    muster__scope_map_see_fn *see, void *user_data)
{
    if (!walk_push(walk, root, 0))
        return MUSTER_NO_MEMORY;
    while (walk->depth > 0) {
        struct walk_step *step = &walk->steps[walk->depth - 1];
        if (step->child == 0 && step->node->value &&
            !see(walk->scope, step->length, step->node->value, user_data))
            return MUSTER_OK;
        if (step->child == step->node->child_count) {
            walk->depth--;
            continue;
        }
        const struct node *child = children_of(step->node)[step->child++];
        if (!walk_push(walk, child, step->length))
            return MUSTER_NO_MEMORY;
    }
    return MUSTER_OK;
}

enum muster_status muster__scope_map_each(struct muster__scope_map *map,
                                          muster__scope_map_see_fn *see, void *user_data)
{
    struct walk walk = {0};
    atomic_size_t *readers = enter(map);
    enum muster_status status = walk_tree(&walk, atomic_load(&map->root), see, user_data);
    leave(readers);
    free(walk.steps);
    free(walk.scope);
    return status;
}

/* ---- the grace period ---- */

/* Looks at the counters of one phase that were not seen at zero yet; true: each of them was. */
static bool phase_was_idle(struct muster__scope_map *map, unsigned phase)
{
    bool all = true;
    for (unsigned i = 0; i < map->shard_count; i++) {
        bool *seen = &map->own.seen_zero[i][phase];
        if (!*seen)
            *seen = atomic_load(&map->shards[i].readers[phase]) == 0;
        all = all && *seen;
    }
    return all;
}

/* One look at what drains; true: it is safe to free it. */
static bool grace_is_over(struct muster__scope_map *map)
{
    unsigned current = atomic_load(&map->phase) & 1;
    bool other_idle = phase_was_idle(map, current ^ 1);
    bool current_idle = phase_was_idle(map, current);
    if (other_idle && current_idle)
        return true;
    if (other_idle && !map->own.turned_over) {
        /* Only now: readers that come from here on count where we need not look again. */
        map->own.turned_over = true;
        atomic_store(&map->phase, current ^ 1);
    }
    return false;
}

bool muster__scope_map_reclaim(struct muster__scope_map *map)
{
    for (;;) {
        if (!map->own.draining) {
            if (!map->own.retired)
                return false;
            map->own.draining = map->own.retired;
            map->own.retired = NULL;
            map->own.turned_over = false;
            memset(map->own.seen_zero, 0, sizeof map->own.seen_zero);
        }
        if (!grace_is_over(map))
            return true;
        struct node *list = map->own.draining;
        map->own.draining = NULL;
        free_list(map, list);
    }
}

/* ---- the writer ---- */

static void open_batch(struct muster__scope_map *map)
{
    MUSTER_CHECK(!map->own.is_open);
    map->own.is_open = true;
    map->own.batch++;
}

void muster__scope_map_begin(struct muster__scope_map *map)
{
    open_batch(map);
}

static void retire_replaced(struct muster__scope_map *map)
{
    struct node *last = map->own.replaced;
    if (!last)
        return;
    while (last->own.next)
        last = last->own.next;
    last->own.next = map->own.retired;
    map->own.retired = map->own.replaced;
    map->own.replaced = NULL;
}

void muster__scope_map_commit(struct muster__scope_map *map)
{
    MUSTER_CHECK(map->own.is_open);
    map->own.is_open = false;
    if (map->own.root != atomic_load_explicit(&map->root, memory_order_relaxed)) {
        atomic_store(&map->root, map->own.root);
        atomic_store_explicit(&map->count, map->own.count, memory_order_relaxed);
        map->own.stats.publications++;
        retire_replaced(map);
    }
    (void)muster__scope_map_reclaim(map);
}

void muster__scope_map_abandon(struct muster__scope_map *map)
{
    MUSTER_CHECK(map->own.is_open);
    map->own.is_open = false;
    free_tree(map, map->own.root, true);
    while (map->own.replaced) {
        struct node *node = map->own.replaced;
        map->own.replaced = node->own.next;
        node->own.batch = 0; /* older than any batch */
        map->own.stats.retired--;
    }
    map->own.root = atomic_load_explicit(&map->root, memory_order_relaxed);
    map->own.count = atomic_load_explicit(&map->count, memory_order_relaxed);
}

/* How many leading bytes of the label the key shares. */
static size_t shared_length(const struct node *node, const char *key, size_t length)
{
    const unsigned char *label = label_of(node);
    size_t limit = length < node->label_length ? length : node->label_length;
    size_t shared = 0;
    while (shared < limit && label[shared] == (unsigned char)key[shared])
        shared++;
    return shared;
}

/* Gives the batch's own node a value in place. */
static void put_value(struct muster__scope_map *map, struct node *node, void *value)
{
    void *old = node->value;
    map->retain(value);
    node->value = value;
    if (old)
        map->own.options.release(old);
    else
        map->own.count++;
}

static enum muster_status add_leaf(struct muster__scope_map *map, struct node **link,
                                   const char *rest, size_t length, void *value)
{
    struct node *leaf = leaf_new(map, rest, length, value);
    if (!leaf)
        return MUSTER_NO_MEMORY;
    struct node *wider = copy_with_child(map, *link, leaf);
    if (!wider) {
        node_free(map, leaf);
        return MUSTER_NO_MEMORY;
    }
    replace(map, link, wider);
    map->own.count++;
    return MUSTER_OK;
}

static struct node *fork_new(struct muster__scope_map *map, const char *label, size_t label_length,
                             struct node *lower, struct node *leaf, void *value)
{
    struct node *fork = node_new(map, leaf ? 2 : 1, label_length, value);
    if (!fork)
        return NULL;
    memcpy(label_of(fork), label, label_length);
    bool leaf_first = leaf && label_of(leaf)[0] < label_of(lower)[0];
    struct node *first = leaf_first ? leaf : lower, *second = leaf_first ? lower : leaf;
    fork->bytes[0] = label_of(first)[0];
    children_of(fork)[0] = first;
    if (second) {
        fork->bytes[1] = label_of(second)[0];
        children_of(fork)[1] = second;
    }
    return fork;
}

/* The scope ends inside the label of the node at `link`, or leaves it there. */
static enum muster_status split(struct muster__scope_map *map, struct node **link, const char *rest,
                                size_t length, size_t shared, void *value)
{
    struct node *node = *link, *leaf = NULL, *fork = NULL;
    struct node *lower =
        copy_with_label(map, node, label_of(node) + shared, node->label_length - shared);
    if (!lower)
        return MUSTER_NO_MEMORY;
    if (length > shared) {
        leaf = leaf_new(map, rest + shared, length - shared, value);
        if (!leaf)
            goto fail;
    }
    fork = fork_new(map, rest, shared, lower, leaf, leaf ? NULL : value);
    if (!fork)
        goto fail;
    replace(map, link, fork);
    map->own.count++;
    return MUSTER_OK;
fail:
    if (leaf)
        node_free(map, leaf);
    node_free(map, lower);
    return MUSTER_NO_MEMORY;
}

static enum muster_status set_in_batch(struct muster__scope_map *map, const char *scope,
                                       size_t length, void *value)
{
    struct node **link = &map->own.root;
    if (!make_own(map, link))
        return MUSTER_NO_MEMORY;
    while (length > 0) {
        struct node **child = find_child(*link, (unsigned char)*scope);
        if (!child)
            return add_leaf(map, link, scope, length, value);
        size_t shared = shared_length(*child, scope, length);
        if (shared < (*child)->label_length)
            return split(map, child, scope, length, shared, value);
        if (!make_own(map, child))
            return MUSTER_NO_MEMORY;
        link = child;
        scope += shared;
        length -= shared;
    }
    put_value(map, *link, value);
    return MUSTER_OK;
}

enum muster_status muster__scope_map_set(struct muster__scope_map *map, const char *scope,
                                         size_t length, void *value)
{
    if (!value || (!scope && length > 0) || length > SCOPE_LIMIT)
        return MUSTER_INVALID_ARGUMENT;
    bool alone = !map->own.is_open;
    if (alone)
        open_batch(map);
    enum muster_status status = set_in_batch(map, scope, length, value);
    if (alone && status == MUSTER_OK)
        muster__scope_map_commit(map);
    else if (alone)
        muster__scope_map_abandon(map);
    return status;
}

void *muster__scope_map_get(const struct muster__scope_map *map, const char *scope, size_t length)
{
    const struct node *node = map->own.root;
    while (length > 0) {
        struct node **child = find_child(node, (unsigned char)*scope);
        if (!child || shared_length(*child, scope, length) < (*child)->label_length)
            return NULL;
        node = *child;
        scope += node->label_length;
        length -= node->label_length;
    }
    return node->value;
}

/* The node at `link` lost its value and has one child: it and the child become one. */
static enum muster_status join(struct muster__scope_map *map, struct node **link)
{
    struct node *child = children_of(*link)[0];
    struct node *joined = copy_joined(map, *link, child);
    if (!joined)
        return MUSTER_NO_MEMORY;
    replace(map, link, joined);
    drop(map, child);
    return MUSTER_OK;
}

/* The leaf below the node at `link` goes; a node without value that is left with one child does
 * too, unless it is the root. */
static enum muster_status cut_leaf(struct muster__scope_map *map, struct node **link,
                                   struct node **leaf)
{
    struct node *node = *link, *gone = *leaf;
    size_t at = (size_t)(leaf - children_of(node));
    if (node->child_count == 2 && !node->value && link != &map->own.root) {
        struct node *kept = children_of(node)[1 - at];
        struct node *joined = copy_joined(map, node, kept);
        if (!joined)
            return MUSTER_NO_MEMORY;
        replace(map, link, joined);
        drop(map, kept);
    } else {
        struct node *narrower = copy_without_child(map, node, at);
        if (!narrower)
            return MUSTER_NO_MEMORY;
        replace(map, link, narrower);
    }
    drop(map, gone);
    return MUSTER_OK;
}

static enum muster_status clear_value(struct muster__scope_map *map, struct node **parent,
                                      struct node **link)
{
    struct node *node = *link;
    if (node->child_count == 0 && parent)
        return cut_leaf(map, parent, link);
    if (node->child_count == 1 && parent)
        return join(map, link);
    if (!make_own(map, link))
        return MUSTER_NO_MEMORY;
    node = *link;
    void *value = node->value;
    node->value = NULL;
    map->own.options.release(value);
    return MUSTER_OK;
}

static enum muster_status remove_in_batch(struct muster__scope_map *map, const char *scope,
                                          size_t length)
{
    struct node **parent = NULL, **link = &map->own.root;
    while (length > 0) {
        if (!make_own(map, link))
            return MUSTER_NO_MEMORY;
        parent = link;
        link = find_child(*link, (unsigned char)*scope);
        scope += (*link)->label_length;
        length -= (*link)->label_length;
    }
    enum muster_status status = clear_value(map, parent, link);
    if (status == MUSTER_OK)
        map->own.count--;
    return status;
}

enum muster_status muster__scope_map_remove(struct muster__scope_map *map, const char *scope,
                                            size_t length)
{
    if (!muster__scope_map_get(map, scope, length))
        return MUSTER_NOT_FOUND;
    bool alone = !map->own.is_open;
    if (alone)
        open_batch(map);
    enum muster_status status = remove_in_batch(map, scope, length);
    if (alone && status == MUSTER_OK)
        muster__scope_map_commit(map);
    else if (alone)
        muster__scope_map_abandon(map);
    return status;
}

struct muster__scope_map_stats muster__scope_map_stats(const struct muster__scope_map *map)
{
    return map->own.stats;
}
