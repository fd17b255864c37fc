/* tests/failing_malloc.h - an allocator that fails on cue.
 *
 * Link with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, and with the objects under test themselves:
 * what lies in a shared library is not wrapped.  One thread. */
#ifndef MUSTER_TESTS_FAILING_MALLOC_H
#define MUSTER_TESTS_FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static long malloc_grants = -1; /* allocations that still succeed; -1: all */
static long malloc_failures = -1; /* how many fail after these; -1: all */
static bool malloc_has_failed;

static bool malloc_is_granted(void)
{
    if (malloc_grants == 0 && malloc_failures != 0) {
        malloc_failures -= malloc_failures > 0;
        malloc_has_failed = true;
        return false;
    }
    if (malloc_grants > 0) /* not written in vain: other threads may read it */
        malloc_grants--;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return malloc_is_granted() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return malloc_is_granted() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return malloc_is_granted() ? __real_realloc(memory, size) : NULL;
}

/* Before asserting: Check allocates as well, and may be linked statically. */
static void malloc_all_granted(void)
{
    malloc_grants = -1;
}

/* Runs the body with 0, 1, 2, ... granted allocations, until one round needs no more than it got. */
#define WITH_EVERY_FAILURE(grants)                                                                 \
    for (long grants = 0, malloc_done = 0; !malloc_done;                                           \
         malloc_all_granted(), malloc_done = !malloc_has_failed, grants++)                           \
        if (malloc_has_failed = false, malloc_grants = grants, false) {                            \
        } else

#endif
