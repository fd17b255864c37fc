/* tests/held_worker.h - for tests about a worker that has hardly any idle time, and is held by something in flight: the
 * log, where the coordinator says what it does, and what is looked for in it. */
#ifndef TESTS_HELD_WORKER_H
#define TESTS_HELD_WORKER_H

#include "tests/hostings.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A process says what it holds once a second; what holds a worker is looked at ten times a second. */
#define GRACE_MS 2500
#define LOOKS 25

static struct {
    pthread_mutex_t lock;
    const char *wanted, *more; /* a line with both of them is told, the `count`th time */
    int count;
    sem_t *reached;
    char end[1024]; /* the line about its end */
    sem_t ended;
} story = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void read_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)level;
    (void)user_data;
    pthread_mutex_lock(&story.lock);
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "%s: %s\n", subject, text);
    if (story.count > 0 && strstr(text, story.wanted) && strstr(text, story.more) && --story.count == 0)
        sem_post(story.reached);
    if (strstr(text, " stops (")) {
        story.end[0] = '\0';
        strncat(story.end, text, sizeof story.end - 1);
    }
    if (strstr(text, " GONE instance=")) /* the core hears that the worker is */
        sem_post(&story.ended);
    pthread_mutex_unlock(&story.lock);
}

/* Before there is an instance. */
static inline void expect_line(const char *wanted, const char *more, int count, sem_t *reached)
{
    story.wanted = wanted;
    story.more = more;
    story.count = count;
    story.reached = reached;
    story.end[0] = '\0';
    sem_init(&story.ended, 0, 0);
}

static inline void expect_end(const char *why, const char *token)
{
    await_signal(&story.ended, "the end of the worker");
    pthread_mutex_lock(&story.lock);
    ck_assert_msg(strstr(story.end, why) && strstr(story.end, "held up by: ") && strstr(story.end, token), "%s",
                  story.end);
    pthread_mutex_unlock(&story.lock);
}

static inline struct muster_options idle_options(enum muster_hosting hosting, uint64_t grace_ms, muster_load_fn *load)
{
    return (struct muster_options){
        .size = sizeof(struct muster_options), .threads = 2, .idle_ms = 20, .grace_ms = grace_ms,
        .stop_timeout_ms = PATIENCE_MS, .load = load, .log = read_log, .log_events = true, .hosting = hosting,
    };
}

#endif
