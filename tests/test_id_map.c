/* tests/test_id_map.c - things by their number. */
#include "runtime/id_map.h"

#include <check.h>

#define COUNT 1000u

struct thing {
    struct muster__id_node node;
    unsigned seen;
};

static struct thing things[COUNT];

static void add_all(struct muster__id_map *map)
{
    for (unsigned i = 0; i < COUNT; i++) {
        things[i] = (struct thing){.node.id = i % 2 ? i : (uint64_t)i << 32};
        muster__id_map_add(map, &things[i].node);
    }
    ck_assert_uint_eq(map->count, COUNT);
}

START_TEST(an_empty_map_has_nothing)
{
    struct muster__id_map map = {0};
    ck_assert_ptr_null(muster__id_map_any(&map));
    ck_assert_ptr_null(muster__id_map_next(&map, NULL));
    ck_assert_ptr_null(muster__id_map_find(&map, 1));
    ck_assert_ptr_null(muster__id_map_remove(&map, 1));
    muster__id_map_clean_up(&map);
}
END_TEST

START_TEST(what_was_added_is_found_until_it_is_removed)
{
    struct muster__id_map map = {0};
    add_all(&map);
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t id = things[i].node.id;
        ck_assert_ptr_eq(muster__id_map_find(&map, id), &things[i].node);
        ck_assert_ptr_eq(muster__id_map_remove(&map, id), &things[i].node);
        ck_assert_ptr_null(muster__id_map_find(&map, id));
    }
    ck_assert_ptr_null(muster__id_map_any(&map));
    muster__id_map_clean_up(&map);
}
END_TEST

START_TEST(a_walk_comes_to_each_once_and_may_remove_what_it_has_left)
{
    struct muster__id_map map = {0};
    add_all(&map);
    struct muster__id_node *node = muster__id_map_next(&map, NULL);
    while (node) {
        struct muster__id_node *gone = node;
        MUSTER_CONTAINER_OF(node, struct thing, node)->seen++;
        node = muster__id_map_next(&map, node);
        ck_assert_ptr_eq(muster__id_map_remove(&map, gone->id), gone);
    }
    for (unsigned i = 0; i < COUNT; i++)
        ck_assert_uint_eq(things[i].seen, 1);
    ck_assert_uint_eq(map.count, 0);
    muster__id_map_clean_up(&map);
}
END_TEST

START_TEST(without_memory_for_a_table_it_is_a_list)
{
    struct muster__id_map map = {0};
    struct thing one = {.node.id = 7}, two = {.node.id = 8};
    one.node.next = &two.node; /* as after two allocations that failed */
    map.first_bucket = &one.node;
    map.count = 2;
    ck_assert_ptr_eq(muster__id_map_next(&map, NULL), &one.node);
    ck_assert_ptr_eq(muster__id_map_next(&map, &one.node), &two.node);
    ck_assert_ptr_null(muster__id_map_next(&map, &two.node));
    ck_assert_ptr_eq(muster__id_map_remove(&map, 8), &two.node);
    ck_assert_ptr_eq(muster__id_map_remove(&map, 7), &one.node);
    muster__id_map_clean_up(&map);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("id_map");
    TCase *map = tcase_create("map");
    tcase_add_test(map, an_empty_map_has_nothing);
    tcase_add_test(map, what_was_added_is_found_until_it_is_removed);
    tcase_add_test(map, a_walk_comes_to_each_once_and_may_remove_what_it_has_left);
    tcase_add_test(map, without_memory_for_a_table_it_is_a_list);
    suite_add_tcase(suite, map);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
