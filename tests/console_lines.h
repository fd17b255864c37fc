/* tests/console_lines.h - for tests that wait for what scripts print. */
#ifndef TESTS_CONSOLE_LINES_H
#define TESTS_CONSOLE_LINES_H

#include "tests/hostings.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[8192];
} said = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void keep_line(const char *scope, enum muster_log_level level, struct muster_bytes text, void *user_data)
{
    (void)scope, (void)level, (void)user_data;
    pthread_mutex_lock(&said.lock);
    size_t length = strlen(said.text);
    snprintf(said.text + length, sizeof said.text - length, "%.*s\n", (int)text.length, (const char *)text.data);
    pthread_cond_broadcast(&said.changed);
    pthread_mutex_unlock(&said.lock);
}

static inline void await_line(const char *line)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&said.lock);
    while (!strstr(said.text, line) && !late)
        late = pthread_cond_timedwait(&said.changed, &said.lock, &until);
    ck_assert_msg(strstr(said.text, line) != NULL, "no \"%s\" in \"%s\"", line, said.text);
    pthread_mutex_unlock(&said.lock);
}

#endif
