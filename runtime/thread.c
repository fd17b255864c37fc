/* runtime/thread.c - see thread.h. */
#include "runtime/thread.h"

#include <signal.h>

int muster__thread_start(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*run)(void *user_data),
                         void *user_data)
{
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread has the mask of the one that made it */
    int problem = pthread_create(ret_thread, attributes, run, user_data);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return problem;
}
