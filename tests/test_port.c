/* tests/test_port.c - message ports: queues, owners, ends that travel, what is destroyed when they close, and
 * two threads that pass ports around at random.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, see failing_malloc.h. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "failing_malloc.h"
#include "runtime/check.h"
#include "runtime/clone.h"
#include "runtime/port.h"

struct owner {
    atomic_int ready, drained;
};

static void on_ready(struct muster__port *port, void *owner)
{
    (void)port;
    atomic_fetch_add(&((struct owner *)owner)->ready, 1);
}

static void on_drained(struct muster__port *port, void *owner)
{
    (void)port;
    atomic_fetch_add(&((struct owner *)owner)->drained, 1);
}

static const struct muster__port_owner_class owner_class = {.ready = on_ready, .drained = on_drained};

/* One channel, the second end of which belongs to `owner`. */
struct fixture {
    struct muster__port *ends[2];
    struct owner owner;
};

static void begin(struct fixture *fixture)
{
    *fixture = (struct fixture){0};
    ck_assert_int_eq(muster__port_pair(fixture->ends), MUSTER_OK);
    muster__port_attach(fixture->ends[1], &owner_class, &fixture->owner);
}

static void end(struct fixture *fixture)
{
    muster__port_release(fixture->ends[0]);
    muster__port_release(fixture->ends[1]);
}

static struct muster__port_message *number(double value)
{
    struct muster__port_message *message =
        muster__port_message_new(NULL, muster_value_new_number(value), 0);
    ck_assert_ptr_nonnull(message);
    return message;
}

static struct muster__port_message *parcel(struct muster__port *port)
{
    struct muster__port_message *message = muster__port_message_new(NULL, NULL, 1);
    ck_assert_ptr_nonnull(message);
    message->ports[0] = port;
    return message;
}

static void must_take(struct muster__port *port, double expected)
{
    struct muster__port_message *message = muster__port_take(port);
    ck_assert_ptr_nonnull(message);
    ck_assert_double_eq(muster_value_number(message->data), expected);
    muster__port_message_destroy(message);
}

static struct muster__port *must_take_port(struct muster__port *port)
{
    struct muster__port_message *message = muster__port_take(port);
    ck_assert_ptr_nonnull(message);
    ck_assert_uint_eq(message->port_count, 1);
    struct muster__port *taken = message->ports[0];
    message->ports[0] = NULL;
    muster__port_message_destroy(message);
    return taken;
}

/* ---- the queue ---- */

START_TEST(messages_come_in_the_order_in_which_they_were_posted)
{
    struct fixture f;
    begin(&f);
    for (int i = 0; i < 5; i++)
        muster__port_post(f.ends[0], number(i));
    for (int i = 0; i < 5; i++)
        must_take(f.ends[1], i);
    ck_assert_ptr_null(muster__port_take(f.ends[1]));
    ck_assert(!muster__port_is_closed(f.ends[1]));
    end(&f);
}
END_TEST

START_TEST(ready_comes_once_until_nothing_was_left)
{
    struct fixture f;
    begin(&f);
    muster__port_post(f.ends[0], number(1));
    muster__port_post(f.ends[0], number(2));
    ck_assert_int_eq(f.owner.ready, 1);
    must_take(f.ends[1], 1);
    muster__port_post(f.ends[0], number(3));
    must_take(f.ends[1], 2);
    must_take(f.ends[1], 3);
    ck_assert_int_eq(f.owner.ready, 1);
    ck_assert_ptr_null(muster__port_take(f.ends[1]));
    muster__port_post(f.ends[0], number(4));
    ck_assert_int_eq(f.owner.ready, 2);
    end(&f);
}
END_TEST

START_TEST(what_is_posted_before_anybody_owns_the_end_waits_there)
{
    struct fixture f;
    begin(&f);
    muster__port_detach(f.ends[1]);
    muster__port_post(f.ends[0], number(1));
    ck_assert_int_eq(f.owner.ready, 0);
    muster__port_attach(f.ends[1], &owner_class, &f.owner);
    ck_assert_int_eq(f.owner.ready, 1);
    must_take(f.ends[1], 1);
    end(&f);
}
END_TEST

START_TEST(a_new_owner_hears_of_what_the_old_one_left)
{
    struct fixture f;
    struct owner next = {0};
    begin(&f);
    muster__port_post(f.ends[0], number(1));
    muster__port_post(f.ends[0], number(2));
    must_take(f.ends[1], 1);
    muster__port_detach(f.ends[1]);
    muster__port_attach(f.ends[1], &owner_class, &next);
    ck_assert_int_eq(next.ready, 1);
    must_take(f.ends[1], 2);
    muster__port_post(f.ends[0], number(3));
    ck_assert_int_eq(f.owner.ready, 1);
    end(&f);
}
END_TEST

START_TEST(both_ends_may_post_at_once)
{
    struct fixture f;
    begin(&f);
    muster__port_post(f.ends[0], number(1));
    muster__port_post(f.ends[1], number(2));
    must_take(f.ends[0], 2);
    must_take(f.ends[1], 1);
    end(&f);
}
END_TEST

START_TEST(a_message_has_its_head_and_its_data)
{
    struct fixture f;
    begin(&f);
    muster__port_post(f.ends[0], muster__port_message_new(muster_value_new_text("ask"),
                                                          muster_value_new_boolean(true), 0));
    struct muster__port_message *message = muster__port_take(f.ends[1]);
    ck_assert_str_eq(muster_value_bytes(message->head).data, "ask");
    ck_assert(muster_value_boolean(message->data));
    muster__port_message_destroy(message);
    end(&f);
}
END_TEST

START_TEST(the_backlog_counts_messages_and_bytes)
{
    struct fixture f;
    begin(&f);
    ck_assert_uint_eq(muster__port_backlog(f.ends[0]).messages, 0);
    struct muster_value *list = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(list, muster_value_new_bytes(NULL, 0)), MUSTER_OK);
    static char bytes[10000];
    ck_assert_int_eq(muster_value_append(list, muster_value_new_bytes(bytes, sizeof bytes)), MUSTER_OK);
    muster__port_post(f.ends[0], muster__port_message_new(NULL, list, 0));
    struct muster__port_message *weighed = number(1);
    weighed->bytes = 7;
    size_t before = muster__port_backlog(f.ends[0]).bytes;
    ck_assert_uint_gt(before, sizeof bytes);
    muster__port_post(f.ends[0], weighed);
    ck_assert_uint_eq(muster__port_backlog(f.ends[0]).messages, 2);
    ck_assert_uint_eq(muster__port_backlog(f.ends[0]).bytes, before + 7);
    ck_assert_uint_eq(muster__port_backlog(f.ends[1]).messages, 0);
    muster__port_message_destroy(muster__port_take(f.ends[1]));
    ck_assert_uint_eq(muster__port_backlog(f.ends[0]).bytes, 7);
    end(&f);
}
END_TEST

START_TEST(a_queue_that_nobody_reads_is_full_in_the_end)
{
    struct fixture f;
    begin(&f);
    struct muster__port_message *large = number(1), *small = number(2);
    large->bytes = MUSTER__PORT_FULL - 1;
    small->bytes = 1;
    muster__port_post(f.ends[0], large);
    ck_assert(!muster__port_is_full(f.ends[0]));
    muster__port_post(f.ends[0], small);
    ck_assert(muster__port_is_full(f.ends[0]));
    ck_assert(!muster__port_is_full(f.ends[1]));
    must_take(f.ends[1], 1);
    ck_assert(!muster__port_is_full(f.ends[0]));
    end(&f);
}
END_TEST

START_TEST(a_watch_fires_once_when_the_backlog_has_shrunk)
{
    struct fixture f;
    struct owner poster = {0};
    begin(&f);
    muster__port_attach(f.ends[0], &owner_class, &poster);
    for (int i = 0; i < 3; i++) {
        struct muster__port_message *message = number(i);
        message->bytes = 100;
        muster__port_post(f.ends[0], message);
    }
    muster__port_watch(f.ends[0], 100);
    must_take(f.ends[1], 0);
    ck_assert_int_eq(poster.drained, 0);
    must_take(f.ends[1], 1);
    ck_assert_int_eq(poster.drained, 1);
    must_take(f.ends[1], 2);
    ck_assert_int_eq(poster.drained, 1);
    muster__port_watch(f.ends[0], 0);
    ck_assert_int_eq(poster.drained, 2);
    end(&f);
}
END_TEST

/* ---- closing ---- */

START_TEST(the_other_end_hears_of_a_close_behind_what_was_posted)
{
    struct fixture f;
    begin(&f);
    muster__port_post(f.ends[0], number(1));
    muster__port_close(f.ends[0]);
    ck_assert(!muster__port_is_closed(f.ends[1]));
    must_take(f.ends[1], 1);
    ck_assert_ptr_null(muster__port_take(f.ends[1]));
    ck_assert(muster__port_is_closed(f.ends[1]));
    ck_assert_int_eq(f.owner.ready, 1);
    end(&f);
}
END_TEST

START_TEST(a_close_alone_is_told_once)
{
    struct fixture f;
    begin(&f);
    muster__port_close(f.ends[0]);
    muster__port_close(f.ends[0]);
    ck_assert_int_eq(f.owner.ready, 1);
    ck_assert(muster__port_is_closed(f.ends[1]));
    ck_assert(muster__port_is_closed(f.ends[0]));
    end(&f);
}
END_TEST

START_TEST(whoever_attaches_later_hears_of_the_close)
{
    struct fixture f;
    begin(&f);
    muster__port_detach(f.ends[1]);
    muster__port_release(f.ends[0]);
    muster__port_attach(f.ends[1], &owner_class, &f.owner);
    ck_assert_int_eq(f.owner.ready, 1);
    ck_assert(muster__port_is_closed(f.ends[1]));
    muster__port_release(f.ends[1]);
}
END_TEST

START_TEST(the_last_release_closes_and_others_do_not)
{
    struct fixture f;
    begin(&f);
    struct muster__port *again = muster__port_acquire(f.ends[0]);
    muster__port_release(again);
    ck_assert(!muster__port_is_closed(f.ends[1]));
    muster__port_release(f.ends[0]);
    ck_assert(muster__port_is_closed(f.ends[1]));
    muster__port_release(f.ends[1]);
    muster__port_release(NULL);
}
END_TEST

START_TEST(what_is_posted_to_or_from_a_closed_end_is_destroyed)
{
    struct fixture f;
    struct muster__port *inner[2];
    begin(&f);
    ck_assert_int_eq(muster__port_pair(inner), MUSTER_OK);
    muster__port_close(f.ends[0]);
    muster__port_post(f.ends[1], parcel(inner[0]));
    ck_assert(muster__port_is_closed(inner[1]));
    muster__port_post(f.ends[0], number(1));
    ck_assert_ptr_null(muster__port_take(f.ends[1]));
    muster__port_release(inner[1]);
    end(&f);
}
END_TEST

START_TEST(a_closed_end_calls_no_owner_any_more)
{
    struct fixture f;
    begin(&f);
    muster__port_close(f.ends[1]);
    muster__port_post(f.ends[0], number(1));
    muster__port_attach(f.ends[1], &owner_class, &f.owner);
    ck_assert_int_eq(f.owner.ready, 0);
    end(&f);
}
END_TEST

/* ---- ends that travel ---- */

START_TEST(an_end_travels_with_its_queue)
{
    struct fixture f;
    struct muster__port *inner[2];
    begin(&f);
    ck_assert_int_eq(muster__port_pair(inner), MUSTER_OK);
    muster__port_post(inner[0], number(1));
    muster__port_post(f.ends[0], parcel(inner[1]));
    muster__port_post(inner[0], number(2)); /* while it is under way */
    struct muster__port *arrived = must_take_port(f.ends[1]);
    ck_assert(muster__port_is_entangled(arrived, inner[0]));
    ck_assert(!muster__port_is_entangled(arrived, f.ends[0]));
    muster__port_post(inner[0], number(3));
    for (int i = 1; i <= 3; i++)
        must_take(arrived, i);
    muster__port_release(arrived);
    muster__port_release(inner[0]);
    end(&f);
}
END_TEST

START_TEST(a_message_with_its_own_target_is_destroyed_with_the_channel)
{
    struct fixture f;
    begin(&f);
    muster__port_detach(f.ends[1]);
    struct muster__port *target = f.ends[1];
    muster__port_post(f.ends[0], parcel(target));
    ck_assert(muster__port_is_closed(f.ends[0]));
    muster__port_release(f.ends[0]);
}
END_TEST

START_TEST(two_ends_that_would_wait_in_each_other_are_destroyed)
{
    struct muster__port *a[2], *b[2];
    ck_assert_int_eq(muster__port_pair(a), MUSTER_OK);
    ck_assert_int_eq(muster__port_pair(b), MUSTER_OK);
    muster__port_post(b[0], parcel(a[1]));
    muster__port_post(a[0], parcel(b[1]));
    ck_assert(muster__port_is_closed(a[0]));
    ck_assert(muster__port_is_closed(b[0]));
    muster__port_release(a[0]);
    muster__port_release(b[0]);
}
END_TEST

START_TEST(a_ring_of_queues_is_destroyed)
{
    enum { COUNT = 100 };
    struct muster__port *ends[COUNT][2];
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(muster__port_pair(ends[i]), MUSTER_OK);
    for (int i = 0; i < COUNT - 1; i++)
        muster__port_post(ends[i + 1][0], parcel(ends[i][1]));
    ck_assert(!muster__port_is_closed(ends[5][0]));
    muster__port_post(ends[0][0], parcel(ends[COUNT - 1][1]));
    for (int i = 0; i < COUNT; i++) {
        ck_assert(muster__port_is_closed(ends[i][0]));
        muster__port_release(ends[i][0]);
    }
}
END_TEST

START_TEST(an_end_that_came_out_of_a_queue_may_go_anywhere_again)
{
    struct fixture f;
    struct muster__port *inner[2];
    begin(&f);
    ck_assert_int_eq(muster__port_pair(inner), MUSTER_OK);
    muster__port_post(f.ends[0], parcel(inner[1]));
    struct muster__port *arrived = must_take_port(f.ends[1]);
    muster__port_detach(f.ends[1]);
    muster__port_post(inner[0], parcel(f.ends[1])); /* what carried it goes into it */
    struct muster__port *carried = must_take_port(arrived);
    ck_assert_ptr_eq(carried, f.ends[1]);
    muster__port_release(arrived);
    muster__port_release(inner[0]);
    end(&f);
}
END_TEST

START_TEST(ends_in_queues_of_what_is_closed_are_closed_however_deep)
{
    enum { DEPTH = 100000 };
    struct muster__port *first[2], *outer[2];
    ck_assert_int_eq(muster__port_pair(first), MUSTER_OK);
    struct muster__port *inner = first[1];
    for (int i = 0; i < DEPTH; i++) {
        ck_assert_int_eq(muster__port_pair(outer), MUSTER_OK);
        muster__port_post(outer[0], parcel(inner));
        muster__port_release(outer[0]);
        inner = outer[1];
    }
    ck_assert(!muster__port_is_closed(first[0]));
    muster__port_release(inner);
    ck_assert(muster__port_is_closed(first[0]));
    muster__port_release(first[0]);
}
END_TEST

START_TEST(what_is_taken_and_destroyed_closes_the_ends_that_are_still_in_it)
{
    struct fixture f;
    struct muster__port *inner[2];
    begin(&f);
    ck_assert_int_eq(muster__port_pair(inner), MUSTER_OK);
    muster__port_post(f.ends[0], parcel(inner[1]));
    muster__port_message_destroy(muster__port_take(f.ends[1]));
    ck_assert(muster__port_is_closed(inner[0]));
    muster__port_release(inner[0]);
    end(&f);
}
END_TEST

/* ---- memory ---- */

START_TEST(without_memory_nothing_is_made_and_nothing_leaks)
{
    struct muster__port *ends[2] = {NULL, NULL};
    struct muster_value *head = muster_value_new_text("a");
    struct muster_value *data = muster_value_new_text("b");
    malloc_grants = 0;
    enum muster_status status = muster__port_pair(ends);
    struct muster__port_message *message = muster__port_message_new(head, data, 3);
    malloc_all_granted();
    ck_assert_int_eq(status, MUSTER_NO_MEMORY);
    ck_assert_ptr_null(message);
    ck_assert_ptr_null(ends[0]);
    ck_assert_ptr_null(muster__port_message_new(NULL, NULL, SIZE_MAX / 4));
    muster__port_message_destroy(NULL);
}
END_TEST

/* ---- threads ---- */

struct slow_owner {
    pthread_barrier_t inside;
    atomic_bool left;
};

static void on_ready_slowly(struct muster__port *port, void *user_data)
{
    struct slow_owner *owner = user_data;
    (void)port;
    pthread_barrier_wait(&owner->inside);
    for (int i = 0; i < 1000; i++)
        sched_yield();
    atomic_store(&owner->left, true);
}

static const struct muster__port_owner_class slow_class = {.ready = on_ready_slowly};

static void *post_one(void *port)
{
    muster__port_post(port, number(1));
    return NULL;
}

START_TEST(after_a_detach_ready_does_not_run_any_more)
{
    struct muster__port *ends[2];
    struct slow_owner owner = {0};
    pthread_t thread;
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    pthread_barrier_init(&owner.inside, NULL, 2);
    muster__port_attach(ends[1], &slow_class, &owner);
    ck_assert_int_eq(pthread_create(&thread, NULL, post_one, ends[0]), 0);
    pthread_barrier_wait(&owner.inside);
    if (_i == 0)
        muster__port_detach(ends[1]);
    else
        muster__port_close(ends[1]);
    ck_assert(atomic_load(&owner.left));
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&owner.inside);
    muster__port_release(ends[0]);
    muster__port_release(ends[1]);
}
END_TEST

/* Two threads, each with a main port to the other and a few that travel; each message of a channel carries a
 * number one above the last one of that direction, and whoever takes it looks. */
/* ---- one reader, and small messages ---- */

static void post_small(struct muster__port *port, double value)
{
    ck_assert(muster__port_post_small(port, &value, sizeof value));
}

static double small_number(struct muster_bytes bytes)
{
    double value = 0;
    ck_assert_uint_eq(bytes.length, sizeof value);
    memcpy(&value, bytes.data, sizeof value);
    return value;
}

static void must_read_small(struct muster__port *port, double expected)
{
    struct muster__port_message *message = muster__port_read(port);
    ck_assert_ptr_nonnull(message);
    ck_assert_double_eq(small_number(muster__port_message_small(message)), expected);
    muster__port_message_was_read(port, message);
}

START_TEST(a_reader_gets_small_messages_as_they_are_and_anybody_else_a_clone)
{
    struct fixture f;
    begin(&f);
    post_small(f.ends[0], 1);
    muster__port_post(f.ends[0], number(2));
    post_small(f.ends[0], 3);
    must_read_small(f.ends[1], 1);
    struct muster__port_message *message = muster__port_read(f.ends[1]);
    ck_assert_double_eq(muster_value_number(message->data), 2);
    muster__port_message_was_read(f.ends[1], message);
    message = muster__port_take(f.ends[1]);
    ck_assert_double_eq(small_number(muster_clone_bytes(muster_value_clone(message->data))), 3);
    muster__port_message_destroy(message);
    ck_assert_ptr_null(muster__port_read(f.ends[1]));
    post_small(f.ends[0], 4);
    ck_assert_int_eq(atomic_load(&f.owner.ready), 2);
    end(&f);
}
END_TEST

START_TEST(what_a_reader_has_not_read_waits_and_is_handed_on)
{
    struct fixture f;
    begin(&f);
    for (int i = 1; i <= 3; i++)
        post_small(f.ends[0], i);
    size_t bytes = muster__port_backlog(f.ends[0]).bytes;
    must_read_small(f.ends[1], 1);
    ck_assert_uint_eq(muster__port_backlog(f.ends[0]).messages, 2);
    ck_assert_uint_eq(muster__port_backlog(f.ends[0]).bytes, bytes / 3 * 2);
    muster__port_detach(f.ends[1]);
    post_small(f.ends[0], 4);
    muster__port_attach(f.ends[1], &owner_class, &f.owner);
    for (int i = 2; i <= 4; i++)
        must_read_small(f.ends[1], i);
    post_small(f.ends[0], 5);
    muster__port_close(f.ends[0]);
    ck_assert(!muster__port_is_closed(f.ends[1]));
    must_read_small(f.ends[1], 5);
    ck_assert(muster__port_is_closed(f.ends[1]));
    end(&f);
}
END_TEST

START_TEST(a_watch_fires_while_a_reader_reads)
{
    struct fixture f;
    struct owner watcher = {0};
    begin(&f);
    muster__port_attach(f.ends[0], &owner_class, &watcher);
    for (int i = 0; i < 4; i++)
        post_small(f.ends[0], i);
    muster__port_watch(f.ends[0], muster__port_backlog(f.ends[0]).bytes / 2);
    must_read_small(f.ends[1], 0);
    ck_assert_int_eq(atomic_load(&watcher.drained), 0);
    must_read_small(f.ends[1], 1);
    ck_assert_int_eq(atomic_load(&watcher.drained), 1);
    end(&f); /* with two that were taken out, and not read */
}
END_TEST

START_TEST(the_memory_of_small_messages_goes_round)
{
    enum { WARM = 64, COUNT = 1000 };
    struct fixture f;
    begin(&f);
    for (int i = 0; i < WARM; i++)
        post_small(f.ends[0], i);
    for (int i = 0; i < WARM; i++)
        must_read_small(f.ends[1], i);
    malloc_grants = 0; /* nothing here may ask for memory, assertions neither */
    double read = 0;
    for (double i = 0; i < COUNT; i++) {
        struct muster__port_message *message =
            muster__port_post_small(f.ends[0], &i, sizeof i) ? muster__port_read(f.ends[1]) : NULL;
        if (message == NULL)
            break;
        memcpy(&read, muster__port_message_small(message).data, sizeof read);
        muster__port_message_was_read(f.ends[1], message);
    }
    malloc_all_granted();
    ck_assert_double_eq(read, COUNT - 1);
    end(&f);
}
END_TEST

START_TEST(without_memory_a_small_message_is_not_posted_or_closes_whom_it_cannot_reach)
{
    struct fixture f;
    double value = 1;
    begin(&f);
    malloc_grants = 0;
    bool posted = muster__port_post_small(f.ends[0], &value, sizeof value);
    malloc_all_granted();
    ck_assert(!posted);
    for (int grants = 0; grants < 3; grants++) { /* a clone, a value and a message */
        struct fixture g;
        begin(&g);
        post_small(g.ends[0], 1);
        malloc_grants = grants;
        struct muster__port_message *message = muster__port_take(g.ends[1]);
        malloc_all_granted();
        ck_assert_ptr_null(message);
        ck_assert(muster__port_is_closed(g.ends[0]));
        end(&g);
    }
    end(&f);
}
END_TEST

#define ROUNDS 20000
#define HELD 16

/* What travels beside an end: what was posted and taken on it so far. */
struct count {
    unsigned posted, taken;
};

struct hand {
    struct muster__port *port;
    struct count count;
};

struct player {
    struct muster__port *way;
    struct hand hands[HELD];
    unsigned random, passed, numbers, closed;
    pthread_t thread;
    struct player *other;
    atomic_bool is_done;
};

static unsigned draw(struct player *player, unsigned limit)
{
    player->random = player->random * 1664525 + 1013904223;
    return (player->random >> 8) % limit;
}

static bool take_number(struct player *player, struct hand *hand)
{
    bool reads = draw(player, 4) > 0;
    struct muster__port_message *message = reads ? muster__port_read(hand->port) : muster__port_take(hand->port);
    if (message == NULL)
        return false;
    double value = message->small > 0 ? small_number(muster__port_message_small(message))
                   : muster_value_clone(message->data) != NULL
                       ? small_number(muster_clone_bytes(muster_value_clone(message->data)))
                       : muster_value_number(message->data);
    ck_assert_double_eq(value, (double)++hand->count.taken);
    player->numbers++;
    muster__port_message_was_read(hand->port, message);
    return true;
}

static void post_number(struct player *player, struct hand *hand)
{
    double value = ++hand->count.posted;
    if (draw(player, 2) == 0)
        muster__port_post(hand->port, number(value));
    else
        post_small(hand->port, value);
}

static void give(struct player *player, struct hand *hand)
{
    struct muster__port_message *message =
        muster__port_message_new(NULL, muster_value_new_bytes(&hand->count, sizeof hand->count), 1);
    muster__port_detach(hand->port);
    message->ports[0] = hand->port;
    muster__port_post(player->way, message);
    hand->port = NULL;
    player->passed++;
}

static void get(struct player *player)
{
    struct muster__port_message *message = muster__port_take(player->way);
    if (message == NULL)
        return;
    for (int i = 0; i < HELD; i++) {
        struct hand *hand = &player->hands[i];
        if (hand->port != NULL)
            continue;
        hand->port = message->ports[0];
        message->ports[0] = NULL;
        memcpy(&hand->count, muster_value_bytes(message->data).data, sizeof hand->count);
        break;
    }
    muster__port_message_destroy(message); /* and the end, when both hands are full */
}

static void make(struct hand *one, struct hand *two)
{
    struct muster__port *ends[2];
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    *one = (struct hand){.port = ends[0]};
    *two = (struct hand){.port = ends[1]};
}

static void play_one(struct player *player)
{
    struct hand *hand = &player->hands[draw(player, HELD)], *second = &player->hands[draw(player, HELD)];
    unsigned what = draw(player, 16);
    if (what < 4)
        get(player);
    else if (hand->port == NULL && second->port == NULL && hand != second)
        make(hand, second);
    else if (hand->port == NULL)
        return;
    else if (what < 8)
        post_number(player, hand);
    else if (what < 13)
        while (take_number(player, hand) && draw(player, 8) > 0)
            ;
    else if (what < 15)
        give(player, hand);
    else if (draw(player, 8) == 0) {
        muster__port_release(hand->port);
        hand->port = NULL;
        player->closed++;
    }
}

static void *play(void *user_data)
{
    struct player *player = user_data;
    for (unsigned round = 0; round < ROUNDS; round++)
        play_one(player);
    return NULL;
}

START_TEST(two_threads_pass_ports_around_and_no_number_is_lost_or_doubled)
{
    struct player players[2] = {0};
    struct muster__port *ends[2];
    const char *given = getenv("MUSTER_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("MUSTER_TEST_SEED=%u\n", seed);
    fflush(stdout);
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
    for (int i = 0; i < 2; i++) {
        players[i].way = ends[i];
        players[i].random = seed + (unsigned)i;
        players[i].other = &players[!i];
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&players[i].thread, NULL, play, &players[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(players[i].thread, NULL);
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < HELD; j++)
            muster__port_release(players[i].hands[j].port);
        muster__port_release(players[i].way);
        ck_assert_uint_gt(players[i].passed, 0);
        ck_assert_uint_gt(players[i].numbers, 0);
    }
}
END_TEST

/* ---- what it costs ---- */

START_TEST(posting_and_taking_is_cheap)
{
    enum { COUNT = 200000 };
    struct fixture f;
    struct timespec from, to;
    begin(&f);
    struct muster_value *value = muster_value_new_number(1);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < COUNT; i++) {
        muster__port_post(f.ends[0], muster__port_message_new(NULL, muster_value_acquire(value), 0));
        muster__port_message_destroy(muster__port_take(f.ends[1]));
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("post and take: %.1f ns\n", ns / COUNT);
    muster_value_release(value);
    end(&f);
}
END_TEST

static TCase *small_topic(void)
{
    TCase *topic = tcase_create("one reader");
    tcase_add_test(topic, a_reader_gets_small_messages_as_they_are_and_anybody_else_a_clone);
    tcase_add_test(topic, what_a_reader_has_not_read_waits_and_is_handed_on);
    tcase_add_test(topic, a_watch_fires_while_a_reader_reads);
    tcase_add_test(topic, the_memory_of_small_messages_goes_round);
    tcase_add_test(topic, without_memory_a_small_message_is_not_posted_or_closes_whom_it_cannot_reach);
    return topic;
}

int main(void)
{
    Suite *suite = suite_create("port");
    suite_add_tcase(suite, small_topic());
    TCase *queue = tcase_create("the queue");
    tcase_add_test(queue, messages_come_in_the_order_in_which_they_were_posted);
    tcase_add_test(queue, ready_comes_once_until_nothing_was_left);
    tcase_add_test(queue, what_is_posted_before_anybody_owns_the_end_waits_there);
    tcase_add_test(queue, a_new_owner_hears_of_what_the_old_one_left);
    tcase_add_test(queue, both_ends_may_post_at_once);
    tcase_add_test(queue, a_message_has_its_head_and_its_data);
    tcase_add_test(queue, the_backlog_counts_messages_and_bytes);
    tcase_add_test(queue, a_queue_that_nobody_reads_is_full_in_the_end);
    tcase_add_test(queue, a_watch_fires_once_when_the_backlog_has_shrunk);
    suite_add_tcase(suite, queue);
    TCase *closing = tcase_create("closing");
    tcase_add_test(closing, the_other_end_hears_of_a_close_behind_what_was_posted);
    tcase_add_test(closing, a_close_alone_is_told_once);
    tcase_add_test(closing, whoever_attaches_later_hears_of_the_close);
    tcase_add_test(closing, the_last_release_closes_and_others_do_not);
    tcase_add_test(closing, what_is_posted_to_or_from_a_closed_end_is_destroyed);
    tcase_add_test(closing, a_closed_end_calls_no_owner_any_more);
    suite_add_tcase(suite, closing);
    TCase *travel = tcase_create("ends that travel");
    tcase_set_timeout(travel, 60);
    tcase_add_test(travel, an_end_travels_with_its_queue);
    tcase_add_test(travel, a_message_with_its_own_target_is_destroyed_with_the_channel);
    tcase_add_test(travel, two_ends_that_would_wait_in_each_other_are_destroyed);
    tcase_add_test(travel, a_ring_of_queues_is_destroyed);
    tcase_add_test(travel, an_end_that_came_out_of_a_queue_may_go_anywhere_again);
    tcase_add_test(travel, ends_in_queues_of_what_is_closed_are_closed_however_deep);
    tcase_add_test(travel, what_is_taken_and_destroyed_closes_the_ends_that_are_still_in_it);
    suite_add_tcase(suite, travel);
    TCase *memory = tcase_create("memory");
    tcase_add_test(memory, without_memory_nothing_is_made_and_nothing_leaks);
    suite_add_tcase(suite, memory);
    TCase *threads = tcase_create("threads");
    tcase_set_timeout(threads, 60);
    tcase_add_loop_test(threads, after_a_detach_ready_does_not_run_any_more, 0, 2);
    tcase_add_test(threads, two_threads_pass_ports_around_and_no_number_is_lost_or_doubled);
    tcase_add_test(threads, posting_and_taking_is_cheap);
    suite_add_tcase(suite, threads);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
