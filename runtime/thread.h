/* runtime/thread.h - a thread of the library's own: signals are not for it, but for the threads of whoever embeds us.
 * Internal. */
#ifndef MUSTER_THREAD_H
#define MUSTER_THREAD_H

#include <pthread.h>

/* Thread: any.  As pthread_create, with every signal blocked there and in the threads that it starts.  0, or an errno. */
int muster__thread_start(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*run)(void *user_data),
                         void *user_data);

#endif
