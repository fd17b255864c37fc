/* runtime/in_child.h - what a child process does between clone(CLONE_VM) and exec.  Internal.
 *
 * It shares our memory, our errno and our thread's identity, so it makes bare system calls only, and no sanitizer may
 * take its calls for ours.  Thread: the child's only one, while its parent's waits. */
#ifndef MUSTER_IN_CHILD_H
#define MUSTER_IN_CHILD_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Before each function that runs in the child. */
#define MUSTER__IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

/* Handlers of the embedder's must not run in here, nor may its ignored signals be inherited; and muster's threads
 * block nearly all signals, which the program should not. */
MUSTER__IN_CHILD static inline void muster__in_child_reset_signals(void)
{
    static const uint64_t as_new[8]; /* the kernel's struct sigaction with SIG_DFL, on any machine */
    static const uint64_t none;
    for (int number = 1; number <= 64; number++)
        syscall(SYS_rt_sigaction, number, as_new, NULL, sizeof none);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

#endif
