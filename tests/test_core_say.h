/* tests/test_core_say.h - the coordinator's core in conversations: an event is a line of the core's own text,
 * and so are the actions that must come of it.  Time is a number that the test moves. */
#ifndef MUSTER_TEST_CORE_SAY_H
#define MUSTER_TEST_CORE_SAY_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/core_internal.h"

static struct muster__core *core;
static uint64_t now_us;
static char said[65536];

static const struct muster__core_options short_times = {
    .idle_us = 1000000,
    .grace_us = 800000, /* sampled every 100 ms; drained every 20 ms */
    .start_us = 500000,
    .lifecycle_us = 600000,
    .stop_us = 50000,
    .cancel_us = 30000,
    .place_attempts = 3,
};

static inline void setup(void)
{
    now_us = 0;
    core = muster__core_new(&short_times);
    ck_assert_ptr_nonnull(core);
}

static inline void teardown(void)
{
    muster__core_destroy(core);
}

static inline void at(uint64_t ms)
{
    ck_assert_uint_ge(ms * 1000, now_us);
    now_us = ms * 1000;
}

static inline void append_actions(const struct muster__core_actions *actions, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < actions->count; i++) {
        length += (size_t)snprintf(text + length, size - length, "%s", i > 0 ? "; " : "");
        length += (size_t)muster__core_action_format(&actions->items[i], text + length, size - length);
        ck_assert_uint_lt(length, size);
    }
}

/* Feeds the event of that line; the actions, with "; " between them. */
static inline const char *say(const char *line)
{
    char text[512];
    struct muster__core_event event;
    struct muster__core_actions actions = { NULL, 0 };
    uint64_t ignored;

    snprintf(text, sizeof(text), "0 %s", line);
    ck_assert_msg(muster__core_event_parse(text, &event, &ignored) == MUSTER_OK, "%s", line);
    ck_assert_int_eq(muster__core_step(core, &event, now_us, &actions), MUSTER_OK);
    append_actions(&actions, said, sizeof(said));
    return said;
}

#define SAY(line, expected) ck_assert_str_eq(say(line), expected)

#endif
