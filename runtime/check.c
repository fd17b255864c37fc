/* runtime/check.c - how our own mistakes end, the clocks, and text helpers that cope with NULL.
 *
 * Any thread.  A failed check prints with write(2) alone: the heap and stdio may be what is broken. */
#include "runtime/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn void muster__check_failed(const char *expression, const char *file, int line)
{
    char text[512];
    int length = snprintf(text, sizeof text, "muster: %s:%d: check failed: %s\n", file, line,
                          expression);
    if (length > 0) {
        size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
        ssize_t written = write(STDERR_FILENO, text, size);
        (void)written; /* we abort either way */
    }
    abort();
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    MUSTER_CHECK(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t muster__now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t muster__wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

uint64_t muster__thread_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

char *muster__strdup(const char *text)
{
    return text == NULL ? NULL : muster__strndup(text, strlen(text));
}

/* Copies `length` bytes whatever they are, unlike strndup(), which stops at a NUL. */
char *muster__strndup(const char *text, size_t length)
{
    if (text == NULL || length == SIZE_MAX)
        return NULL;
    char *copy = malloc(length + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *muster__format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    return text;
}
