/* tests/test_scope_map.c - the scope map against a plain list, under failing memory, and with
 * readers that race the writer.  Threads meet at barriers and stop after a counted number of
 * rounds. */
#include "coordinator/scope_map.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value {
    atomic_int references; /* 1 for the test, one for each holder in the map */
    atomic_bool dead;
    int number;
    uint64_t serial;
};

static void retain(void *p)
{
    struct value *value = p;
    ck_assert(!atomic_load(&value->dead));
    atomic_fetch_add(&value->references, 1);
}

static void release(void *p)
{
    struct value *value = p;
    int before = atomic_fetch_sub(&value->references, 1);
    MUSTER_CHECK(before > 0);
    if (before == 1)
        atomic_store(&value->dead, true);
}

static const struct muster__scope_map_options plain = {.retain = retain, .release = release};

static struct muster__scope_map *new_map(void)
{
    struct muster__scope_map *map = NULL;
    ck_assert_int_eq(muster__scope_map_new(&plain, &map), MUSTER_OK);
    return map;
}

static void set(struct muster__scope_map *map, const char *scope, struct value *value)
{
    ck_assert_int_eq(muster__scope_map_set(map, scope, strlen(scope), value), MUSTER_OK);
}

/* The number of the match, given back at once; -1: none. */
static int match(struct muster__scope_map *map, const char *url)
{
    struct value *value = muster__scope_map_match(map, url, strlen(url));
    if (!value)
        return -1;
    int number = value->number;
    release(value);
    return number;
}

static void make_values(struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        atomic_init(&values[i].references, 1);
        atomic_init(&values[i].dead, false);
        values[i].number = (int)i;
        values[i].serial = 0;
    }
}

static void nobody_holds(struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(atomic_load(&values[i].references), 1);
}

/* ---- meaning ---- */

START_TEST(an_empty_map_matches_nothing)
{
    struct muster__scope_map *map = new_map();
    ck_assert_int_eq(match(map, "/"), -1);
    ck_assert_int_eq(match(map, ""), -1);
    ck_assert_uint_eq(muster__scope_map_count(map), 0);
    muster__scope_map_destroy(map);
    muster__scope_map_destroy(NULL);
}
END_TEST

START_TEST(the_longest_scope_wins_and_it_is_a_string_prefix_not_a_path_prefix)
{
    struct value values[4];
    make_values(values, 4);
    struct muster__scope_map *map = new_map();
    set(map, "/", &values[0]);
    set(map, "/app", &values[1]);
    set(map, "/app/admin/", &values[2]);
    set(map, "/ap", &values[3]);
    ck_assert_int_eq(match(map, "/"), 0);
    ck_assert_int_eq(match(map, "/a"), 0);
    ck_assert_int_eq(match(map, "/ap"), 3);
    ck_assert_int_eq(match(map, "/apricot"), 3);
    ck_assert_int_eq(match(map, "/app"), 1);
    ck_assert_int_eq(match(map, "/apple"), 1);
    ck_assert_int_eq(match(map, "/app/admin"), 1);
    ck_assert_int_eq(match(map, "/app/admin/"), 2);
    ck_assert_int_eq(match(map, "/app/admin/x?y#z"), 2);
    ck_assert_int_eq(match(map, "app"), -1);
    ck_assert_int_eq(match(map, ""), -1);
    ck_assert_uint_eq(muster__scope_map_count(map), 4);
    muster__scope_map_destroy(map);
    nobody_holds(values, 4);
}
END_TEST

START_TEST(the_empty_scope_controls_everything)
{
    struct value values[2];
    make_values(values, 2);
    struct muster__scope_map *map = new_map();
    set(map, "", &values[0]);
    set(map, "/a", &values[1]);
    ck_assert_int_eq(match(map, ""), 0);
    ck_assert_int_eq(match(map, "anything"), 0);
    ck_assert_int_eq(match(map, "/a/b"), 1);
    ck_assert_int_eq(muster__scope_map_remove(map, "", 0), MUSTER_OK);
    ck_assert_int_eq(match(map, "anything"), -1);
    muster__scope_map_destroy(map);
    nobody_holds(values, 2);
}
END_TEST

START_TEST(scopes_are_bytes_also_zero_and_above_127)
{
    struct value values[3];
    make_values(values, 3);
    struct muster__scope_map *map = new_map();
    ck_assert_int_eq(muster__scope_map_set(map, "a\0b", 3, &values[0]), MUSTER_OK);
    ck_assert_int_eq(muster__scope_map_set(map, "a\xff", 2, &values[1]), MUSTER_OK);
    ck_assert_int_eq(muster__scope_map_set(map, "a\x7f", 2, &values[2]), MUSTER_OK);
    struct value *found = muster__scope_map_match(map, "a\0bc", 4);
    ck_assert_ptr_eq(found, &values[0]);
    release(found);
    found = muster__scope_map_match(map, "a\xff\xfe", 3);
    ck_assert_ptr_eq(found, &values[1]);
    release(found);
    ck_assert_ptr_null(muster__scope_map_match(map, "a\0c", 3));
    muster__scope_map_destroy(map);
    nobody_holds(values, 3);
}
END_TEST

START_TEST(a_second_set_replaces_the_value_and_lets_the_first_go)
{
    struct value values[2];
    make_values(values, 2);
    struct muster__scope_map *map = new_map();
    set(map, "/x/", &values[0]);
    set(map, "/x/", &values[1]);
    ck_assert_int_eq(match(map, "/x/y"), 1);
    ck_assert_uint_eq(muster__scope_map_count(map), 1);
    ck_assert_int_eq(atomic_load(&values[0].references), 1);
    muster__scope_map_destroy(map);
    nobody_holds(values, 2);
}
END_TEST

START_TEST(removing_what_is_not_there_changes_nothing)
{
    struct value values[1];
    make_values(values, 1);
    struct muster__scope_map *map = new_map();
    set(map, "/abc", &values[0]);
    uint64_t publications = muster__scope_map_stats(map).publications;
    ck_assert_int_eq(muster__scope_map_remove(map, "/ab", 3), MUSTER_NOT_FOUND);
    ck_assert_int_eq(muster__scope_map_remove(map, "/abcd", 5), MUSTER_NOT_FOUND);
    ck_assert_int_eq(muster__scope_map_remove(map, "", 0), MUSTER_NOT_FOUND);
    ck_assert_uint_eq(muster__scope_map_stats(map).publications, publications);
    ck_assert_int_eq(match(map, "/abc"), 0);
    muster__scope_map_destroy(map);
}
END_TEST

START_TEST(a_value_is_required_and_a_scope_has_a_limit)
{
    struct value values[1];
    make_values(values, 1);
    struct muster__scope_map *map = new_map();
    ck_assert_int_eq(muster__scope_map_set(map, "/", 1, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__scope_map_set(map, NULL, 1, &values[0]), MUSTER_INVALID_ARGUMENT);
    ck_assert_int_eq(muster__scope_map_set(map, "/", (size_t)1 << 21, &values[0]),
                     MUSTER_INVALID_ARGUMENT);
    muster__scope_map_destroy(map);
    nobody_holds(values, 1);
}
END_TEST

START_TEST(a_map_that_is_emptied_has_only_its_root_left)
{
    enum { COUNT = 300 };
    struct value values[COUNT];
    make_values(values, COUNT);
    struct muster__scope_map *map = new_map();
    size_t nodes = muster__scope_map_stats(map).nodes, bytes = muster__scope_map_stats(map).bytes;
    for (int round = 0; round < 2; round++) {
        char scope[64];
        for (int i = 0; i < COUNT; i++) {
            snprintf(scope, sizeof scope, "/%x/%d/", i * 7 % 13, i);
            set(map, scope, &values[i]);
        }
        ck_assert_uint_eq(muster__scope_map_count(map), COUNT);
        for (int i = COUNT - 1; i >= 0; i--) {
            snprintf(scope, sizeof scope, "/%x/%d/", i * 7 % 13, i);
            ck_assert_int_eq(muster__scope_map_remove(map, scope, strlen(scope)), MUSTER_OK);
        }
        ck_assert_uint_eq(muster__scope_map_count(map), 0);
        ck_assert_uint_eq(muster__scope_map_stats(map).nodes, nodes);
        ck_assert_uint_eq(muster__scope_map_stats(map).bytes, bytes);
        nobody_holds(values, COUNT);
    }
    muster__scope_map_destroy(map);
}
END_TEST

/* ---- batches ---- */

START_TEST(a_thousand_sets_in_a_batch_are_one_publication)
{
    enum { COUNT = 1000 };
    static struct value values[COUNT];
    make_values(values, COUNT);
    struct muster__scope_map *map = new_map();
    muster__scope_map_begin(map);
    for (int i = 0; i < COUNT; i++) {
        char scope[32];
        snprintf(scope, sizeof scope, "/tenant-%d/", i);
        set(map, scope, &values[i]);
    }
    ck_assert_int_eq(match(map, "/tenant-7/x"), -1);
    ck_assert_uint_eq(muster__scope_map_count(map), 0);
    ck_assert_ptr_eq(muster__scope_map_get(map, "/tenant-7/", 10), &values[7]);
    ck_assert_ptr_null(muster__scope_map_get(map, "/tenant-7", 9));
    muster__scope_map_commit(map);
    ck_assert_uint_eq(muster__scope_map_stats(map).publications, 1);
    ck_assert_uint_eq(muster__scope_map_stats(map).retired, 0);
    ck_assert_uint_eq(muster__scope_map_count(map), COUNT);
    ck_assert_int_eq(match(map, "/tenant-7/x"), 7);
    ck_assert_int_eq(match(map, "/tenant-999/"), 999);
    muster__scope_map_destroy(map);
    nobody_holds(values, COUNT);
}
END_TEST

START_TEST(an_abandoned_batch_leaves_no_trace)
{
    struct value values[4];
    make_values(values, 4);
    struct muster__scope_map *map = new_map();
    set(map, "/a/b/", &values[0]);
    set(map, "/a/c/", &values[1]);
    struct muster__scope_map_stats before = muster__scope_map_stats(map);
    for (int round = 0; round < 3; round++) {
        muster__scope_map_begin(map);
        set(map, "/a/b/", &values[2]);
        set(map, "/a/b/longer", &values[3]);
        set(map, "/", &values[3]);
        ck_assert_int_eq(muster__scope_map_remove(map, "/a/c/", 5), MUSTER_OK);
        ck_assert_int_eq(muster__scope_map_remove(map, "/a/b/", 5), MUSTER_OK);
        muster__scope_map_abandon(map);
        ck_assert_int_eq(match(map, "/a/b/longer"), 0);
        ck_assert_int_eq(match(map, "/a/c/"), 1);
        ck_assert_int_eq(match(map, "/"), -1);
        struct muster__scope_map_stats after = muster__scope_map_stats(map);
        ck_assert_mem_eq(&after, &before, sizeof before);
    }
    ck_assert_int_eq(muster__scope_map_remove(map, "/a/c/", 5), MUSTER_OK);
    ck_assert_int_eq(match(map, "/a/c/"), -1);
    muster__scope_map_begin(map);
    set(map, "/z", &values[2]);
    muster__scope_map_destroy(map);
    nobody_holds(values, 4);
}
END_TEST

START_TEST(an_empty_batch_publishes_nothing)
{
    struct muster__scope_map *map = new_map();
    muster__scope_map_begin(map);
    muster__scope_map_commit(map);
    ck_assert_uint_eq(muster__scope_map_stats(map).publications, 0);
    muster__scope_map_destroy(map);
}
END_TEST

START_TEST(a_batch_inside_a_batch_is_a_bug)
{
    struct muster__scope_map *map = new_map();
    muster__scope_map_begin(map);
    muster__scope_map_begin(map);
}
END_TEST

START_TEST(a_commit_without_a_batch_is_a_bug)
{
    muster__scope_map_commit(new_map());
}
END_TEST

/* ---- walking ---- */

struct seen {
    char text[4096];
    size_t count, limit;
};

static bool see(const char *scope, size_t length, void *value, void *user_data)
{
    struct seen *seen = user_data;
    ck_assert_uint_eq(strlen(scope), length);
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%s=%d ", scope,
             ((struct value *)value)->number);
    return ++seen->count != seen->limit;
}

START_TEST(each_scope_is_seen_once_in_byte_order_until_told_to_stop)
{
    struct value values[6];
    make_values(values, 6);
    struct muster__scope_map *map = new_map();
    const char *scopes[] = {"/b", "/a/z", "", "/a/", "/\xc3\xa9", "/a/zz"};
    for (int i = 0; i < 6; i++)
        set(map, scopes[i], &values[i]);
    struct seen seen = {.limit = 0};
    ck_assert_int_eq(muster__scope_map_each(map, see, &seen), MUSTER_OK);
    ck_assert_str_eq(seen.text, "=2 /a/=3 /a/z=1 /a/zz=5 /b=0 /\xc3\xa9=4 ");
    struct seen some = {.limit = 2};
    ck_assert_int_eq(muster__scope_map_each(map, see, &some), MUSTER_OK);
    ck_assert_str_eq(some.text, "=2 /a/=3 ");
    muster__scope_map_destroy(map);
}
END_TEST

static bool count_only(const char *scope, size_t length, void *value, void *user_data)
{
    (void)scope, (void)length, (void)value;
    ++*(size_t *)user_data;
    return true;
}

START_TEST(a_chain_of_nested_scopes_needs_no_call_stack)
{
    enum { DEPTH = 20000 };
    struct value values[1];
    make_values(values, 1);
    char *scope = malloc(DEPTH);
    memset(scope, 'x', DEPTH);
    struct muster__scope_map *map = new_map();
    muster__scope_map_begin(map);
    /* From the longest down, so that each set splits the first node. */
    for (size_t length = DEPTH; length > 0; length -= 20)
        ck_assert_int_eq(muster__scope_map_set(map, scope, length, &values[0]), MUSTER_OK);
    muster__scope_map_commit(map);
    size_t seen = 0;
    ck_assert_int_eq(muster__scope_map_each(map, count_only, &seen), MUSTER_OK);
    ck_assert_uint_eq(seen, DEPTH / 20);
    muster__scope_map_destroy(map);
    nobody_holds(values, 1);
    free(scope);
}
END_TEST

/* ---- against a plain list ---- */

struct model_entry {
    char scope[24];
    int number; /* -1: not there */
};

static uint64_t scramble(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int model_match(const struct model_entry *model, size_t count, const char *url)
{
    int best = -1;
    size_t best_length = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(model[i].scope);
        if (model[i].number >= 0 && (best < 0 || length > best_length) &&
            strncmp(model[i].scope, url, length) == 0) {
            best = model[i].number;
            best_length = length;
        }
    }
    return best;
}

static void random_text(uint64_t *random, char *text, size_t limit)
{
    size_t length = scramble(random) % limit;
    for (size_t i = 0; i < length; i++)
        text[i] = "ab/"[scramble(random) % 3];
    text[length] = '\0';
}

static void random_change(struct muster__scope_map *map, struct model_entry *entry,
                          struct value *values, size_t value_count, uint64_t *random)
{
    size_t length = strlen(entry->scope);
    if (scramble(random) % 2) {
        size_t pick = scramble(random) % value_count;
        entry->number = (int)pick;
        set(map, entry->scope, &values[pick]);
    } else {
        enum muster_status expected = entry->number >= 0 ? MUSTER_OK : MUSTER_NOT_FOUND;
        ck_assert_int_eq(muster__scope_map_remove(map, entry->scope, length), expected);
        entry->number = -1;
    }
}

START_TEST(random_batches_mean_the_same_as_a_plain_list)
{
    enum { SCOPES = 120, VALUES = 50, ROUNDS = 1500 };
    struct value values[VALUES];
    make_values(values, VALUES);
    struct model_entry model[SCOPES], saved[SCOPES];
    uint64_t random = 1000u + (uint64_t)_i;
    struct muster__scope_map *map = new_map();
    for (int i = 0; i < SCOPES; i++) {
        bool is_new;
        do {
            is_new = true;
            random_text(&random, model[i].scope, 9);
            for (int j = 0; j < i; j++)
                is_new = is_new && strcmp(model[j].scope, model[i].scope) != 0;
        } while (!is_new);
        model[i].number = -1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(saved, model, sizeof model);
        size_t changes = 1 + scramble(&random) % 6;
        bool batch = changes > 1 || scramble(&random) % 2;
        bool keep = !batch || scramble(&random) % 4;
        if (batch)
            muster__scope_map_begin(map);
        for (size_t i = 0; i < changes; i++)
            random_change(map, &model[scramble(&random) % SCOPES], values, VALUES, &random);
        if (batch && keep)
            muster__scope_map_commit(map);
        else if (batch)
            muster__scope_map_abandon(map);
        if (!keep)
            memcpy(model, saved, sizeof model);
        size_t count = 0;
        for (int i = 0; i < SCOPES; i++)
            count += model[i].number >= 0;
        ck_assert_uint_eq(muster__scope_map_count(map), count);
        /* Joined where it can be: never more than two nodes a scope, and the root. */
        ck_assert_uint_le(muster__scope_map_stats(map).nodes, 2 * count + 1);
        for (int i = 0; i < 10; i++) {
            char url[16];
            random_text(&random, url, 14);
            ck_assert_int_eq(match(map, url), model_match(model, SCOPES, url));
        }
    }
    muster__scope_map_destroy(map);
    nobody_holds(values, VALUES);
}
END_TEST

/* ---- memory that fails on cue ---- */

struct budget {
    int grants, live;
};

static void *grant(size_t size, void *user_data)
{
    struct budget *budget = user_data;
    if (budget->grants == 0)
        return NULL;
    budget->grants--;
    budget->live++;
    return malloc(size);
}

static void take_back(void *memory, void *user_data)
{
    ((struct budget *)user_data)->live--;
    free(memory);
}

struct step {
    const char *scope; /* removed when `number` is -1 */
    int number;
};

static const struct step steps[] = {{"/shop/cart", 0},       {"/shop/care", 1}, {"/shop/", 2},
                                    {"/shop/cart/items", 3}, {"/", 4},          {"/sh", 5},
                                    {"/shop/", -1},          {"/", -1},         {"/shop/care", -1},
                                    {"/shop/cart", 5},       {"/shop/cart", -1}};
#define STEPS (sizeof steps / sizeof *steps)

static enum muster_status take_step(struct muster__scope_map *map, const struct step *step,
                                    struct value *values)
{
    size_t length = strlen(step->scope);
    return step->number < 0
               ? muster__scope_map_remove(map, step->scope, length)
               : muster__scope_map_set(map, step->scope, length, &values[step->number]);
}

/* Each step is retried with one allocation more until it succeeds; before that nothing may change.
 */
static void walk_with_failures(bool batch)
{
    struct value values[6];
    make_values(values, 6);
    struct budget budget = {.grants = 0};
    struct muster__scope_map_options options = plain;
    options.allocate = grant;
    options.deallocate = take_back;
    options.user_data = &budget;
    struct muster__scope_map *map = NULL;
    ck_assert_int_eq(muster__scope_map_new(&options, &map), MUSTER_NO_MEMORY);
    budget.grants = 1;
    ck_assert_int_eq(muster__scope_map_new(&options, &map), MUSTER_OK);
    if (batch)
        muster__scope_map_begin(map);
    for (size_t i = 0; i < STEPS; i++) {
        size_t length = strlen(steps[i].scope);
        struct value *before = muster__scope_map_get(map, steps[i].scope, length);
        for (int grants = 0;; grants++) {
            budget.grants = grants;
            enum muster_status status = take_step(map, &steps[i], values);
            if (status == MUSTER_OK)
                break;
            ck_assert_int_eq(status, MUSTER_NO_MEMORY);
            ck_assert_ptr_eq(muster__scope_map_get(map, steps[i].scope, length), before);
            ck_assert_uint_eq((size_t)budget.live, muster__scope_map_stats(map).nodes);
        }
    }
    if (batch)
        muster__scope_map_commit(map);
    ck_assert_uint_eq(muster__scope_map_count(map), 2);
    ck_assert_int_eq(match(map, "/shop/cart/items/1"), 3);
    ck_assert_int_eq(match(map, "/shop/cart"), 5);
    ck_assert_int_eq(match(map, "/s"), -1);
    muster__scope_map_destroy(map);
    ck_assert_int_eq(budget.live, 0);
    nobody_holds(values, 6);
}

START_TEST(every_failed_allocation_is_reported_and_changes_nothing)
{
    walk_with_failures(false);
}
END_TEST

START_TEST(a_batch_survives_failed_allocations)
{
    walk_with_failures(true);
}
END_TEST

/* ---- readers and the writer ---- */

static struct muster__scope_map *walked;
static pthread_barrier_t inside, done;

static bool linger(const char *scope, size_t length, void *value, void *user_data)
{
    (void)scope, (void)length, (void)user_data;
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&done);
    ck_assert(!atomic_load(&((struct value *)value)->dead));
    return false;
}

static void *walk_slowly(void *unused)
{
    (void)unused;
    ck_assert_int_eq(muster__scope_map_each(walked, linger, NULL), MUSTER_OK);
    return NULL;
}

START_TEST(a_reader_inside_keeps_what_it_sees_and_nobody_waits_for_it)
{
    struct value values[2];
    make_values(values, 2);
    walked = new_map();
    set(walked, "/", &values[0]);
    pthread_barrier_init(&inside, NULL, 2);
    pthread_barrier_init(&done, NULL, 2);
    pthread_t thread;
    pthread_create(&thread, NULL, walk_slowly, NULL);
    pthread_barrier_wait(&inside);
    for (int i = 0; i < 5; i++) {
        set(walked, "/", &values[1]);
        ck_assert_int_eq(match(walked, "/"), 1);
    }
    ck_assert(muster__scope_map_reclaim(walked));
    ck_assert_int_eq(atomic_load(&values[0].references), 2);
    pthread_barrier_wait(&done);
    pthread_join(thread, NULL);
    ck_assert(!muster__scope_map_reclaim(walked));
    ck_assert_uint_eq(muster__scope_map_stats(walked).retired, 0);
    ck_assert_int_eq(atomic_load(&values[0].references), 1);
    muster__scope_map_destroy(walked);
    nobody_holds(values, 2);
    pthread_barrier_destroy(&inside);
    pthread_barrier_destroy(&done);
}
END_TEST

/* Each round the writer publishes a batch that gives both scopes a new value of the same serial and
 * drops the old ones.  Values are heap memory that dies with its last reference: a sanitizer sees a
 * reader that comes too late. */
struct race {
    struct muster__scope_map *map;
    pthread_barrier_t start;
    atomic_bool over;
};

static void race_release(void *p)
{
    struct value *value = p;
    if (atomic_fetch_sub(&value->references, 1) == 1)
        free(value);
}

static void race_retain(void *p)
{
    MUSTER_CHECK(atomic_fetch_add(&((struct value *)p)->references, 1) > 0);
}

static uint64_t serial_of(struct muster__scope_map *map, const char *url)
{
    struct value *value = muster__scope_map_match(map, url, strlen(url));
    MUSTER_CHECK(value);
    uint64_t serial = value->serial;
    race_release(value);
    return serial;
}

struct pair {
    uint64_t serials[2];
    int count;
};

static bool see_pair(const char *scope, size_t length, void *value, void *user_data)
{
    struct pair *pair = user_data;
    if (length == 3) {
        MUSTER_CHECK(pair->count < 2 && scope[0] == '/');
        pair->serials[pair->count++] = ((struct value *)value)->serial;
    }
    return true;
}

static void *race_read(void *user_data)
{
    struct race *race = user_data;
    uint64_t last = 0;
    unsigned rounds = 0;
    pthread_barrier_wait(&race->start);
    while (!atomic_load(&race->over)) {
        /* Snapshots never go back, and the two scopes of one never differ. */
        uint64_t a = serial_of(race->map, "/a/anything");
        uint64_t b = serial_of(race->map, "/b/");
        MUSTER_CHECK(a >= last && b >= a);
        last = b;
        if (++rounds % 64 == 0) {
            struct pair pair = {.count = 0};
            MUSTER_CHECK(muster__scope_map_each(race->map, see_pair, &pair) == MUSTER_OK);
            MUSTER_CHECK(pair.count == 2 && pair.serials[0] == pair.serials[1]);
        }
    }
    return NULL;
}

static void publish_round(struct muster__scope_map *map, uint64_t serial)
{
    char extra[32];
    muster__scope_map_begin(map);
    for (int i = 0; i < 2; i++) {
        struct value *value = calloc(1, sizeof *value);
        atomic_init(&value->references, 1);
        value->serial = serial;
        ck_assert_int_eq(muster__scope_map_set(map, i ? "/b/" : "/a/", 3, value), MUSTER_OK);
        snprintf(extra, sizeof extra, "/a/%d/%d", (int)(serial * 31 % 97), i);
        size_t length = strlen(extra);
        if (muster__scope_map_remove(map, extra, length) == MUSTER_NOT_FOUND)
            ck_assert_int_eq(muster__scope_map_set(map, extra, length, value), MUSTER_OK);
        race_release(value);
    }
    muster__scope_map_commit(map);
}

START_TEST(readers_see_whole_batches_in_order_while_the_writer_frees_old_ones)
{
    enum { READERS = 4, ROUNDS = 3000 };
    struct race race = {0};
    const struct muster__scope_map_options options = {.retain = race_retain,
                                                      .release = race_release};
    ck_assert_int_eq(muster__scope_map_new(&options, &race.map), MUSTER_OK);
    publish_round(race.map, 1);
    pthread_barrier_init(&race.start, NULL, READERS + 1);
    pthread_t readers[READERS];
    for (int i = 0; i < READERS; i++)
        pthread_create(&readers[i], NULL, race_read, &race);
    pthread_barrier_wait(&race.start);
    for (uint64_t serial = 2; serial < ROUNDS; serial++)
        publish_round(race.map, serial);
    atomic_store(&race.over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    ck_assert(!muster__scope_map_reclaim(race.map));
    muster__scope_map_destroy(race.map);
    pthread_barrier_destroy(&race.start);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("scope_map");
    TCase *tc = tcase_create("meaning");
    tcase_add_test(tc, an_empty_map_matches_nothing);
    tcase_add_test(tc, the_longest_scope_wins_and_it_is_a_string_prefix_not_a_path_prefix);
    tcase_add_test(tc, the_empty_scope_controls_everything);
    tcase_add_test(tc, scopes_are_bytes_also_zero_and_above_127);
    tcase_add_test(tc, a_second_set_replaces_the_value_and_lets_the_first_go);
    tcase_add_test(tc, removing_what_is_not_there_changes_nothing);
    tcase_add_test(tc, a_value_is_required_and_a_scope_has_a_limit);
    tcase_add_test(tc, a_map_that_is_emptied_has_only_its_root_left);
    tcase_add_loop_test(tc, random_batches_mean_the_same_as_a_plain_list, 0, 4);
    suite_add_tcase(s, tc);

    tc = tcase_create("batches");
    tcase_add_test(tc, a_thousand_sets_in_a_batch_are_one_publication);
    tcase_add_test(tc, an_abandoned_batch_leaves_no_trace);
    tcase_add_test(tc, an_empty_batch_publishes_nothing);
    tcase_add_test_raise_signal(tc, a_batch_inside_a_batch_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(tc, a_commit_without_a_batch_is_a_bug, SIGABRT);
    suite_add_tcase(s, tc);

    tc = tcase_create("walking");
    tcase_add_test(tc, each_scope_is_seen_once_in_byte_order_until_told_to_stop);
    tcase_add_test(tc, a_chain_of_nested_scopes_needs_no_call_stack);
    suite_add_tcase(s, tc);

    tc = tcase_create("memory");
    tcase_add_test(tc, every_failed_allocation_is_reported_and_changes_nothing);
    tcase_add_test(tc, a_batch_survives_failed_allocations);
    suite_add_tcase(s, tc);

    tc = tcase_create("threads");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_reader_inside_keeps_what_it_sees_and_nobody_waits_for_it);
    tcase_add_test(tc, readers_see_whole_batches_in_order_while_the_writer_frees_old_ones);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
