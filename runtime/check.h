/* runtime/check.h - our own mistakes abort, in release too; the world's are statuses.
 *
 * Internal; nothing here is exported. */
#ifndef MUSTER_CHECK_H
#define MUSTER_CHECK_H

#include <stdatomic.h>
#include <stdint.h>

#include "runtime/base.h"

/* Prints the expression with its place to standard error and aborts. */
_Noreturn void muster__check_failed(const char *expression, const char *file, int line);

#define MUSTER_CHECK(expression)                                                                   \
    ((expression) ? (void)0 : muster__check_failed(#expression, __FILE__, __LINE__))

#define MUSTER_CONTAINER_OF(pointer, type, member)                                                 \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Monotonic microseconds.  Thread: any. */
uint64_t muster__now_us(void);
/* Microseconds since 1970, as the system's clock has it, which may step.  Thread: any. */
uint64_t muster__wall_us(void);
/* CPU time of the calling thread, microseconds. */
uint64_t muster__thread_cpu_us(void);

/* strdup and friends that cope with NULL; NULL also when out of memory. */
char *muster__strdup(const char *text);
char *muster__strndup(const char *text, size_t length);
char *muster__format(const char *format, ...) MUSTER_PRINTF(1, 2);

#endif
