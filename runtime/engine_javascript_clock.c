/* runtime/engine_javascript_clock.c - the CPU clock that the engine's time limit reads, at a tenth of the price.
 *
 * With a limit the engine reads the thread's CPU clock at each entry, to know how long the entry may last.  That
 * is a system call of 0.4 us and more: a third of what a small message costs.  The engine calls a function of its
 * own for it, by name, and this object comes before the engine's library in the order in which names are looked
 * up: so the one here is called.  It reads the clock at most once a millisecond and counts the time of day since
 * then, so it may be ahead by up to a millisecond that the thread did not run, and a limit may strike that much
 * late.  Where it is not called instead, in a program that has brought the engine's library along itself or with an
 * engine that does not ask by this name, all is as exact and as dear as ever.
 *
 * Thread: any. */
#include "runtime/engine_javascript.h"

#define EXACT_FOR_US 1000u

double muster__js_thread_cpu_seconds(void)
{
    static _Thread_local struct {
        uint64_t read_us, cpu_us; /* 0: never */
    } last;
    uint64_t now_us = muster__now_us();
    if (now_us - last.read_us > EXACT_FOR_US) {
        last.cpu_us = muster__thread_cpu_us();
        last.read_us = now_us;
    }
    return (double)(last.cpu_us + (now_us - last.read_us)) / 1e6;
}
