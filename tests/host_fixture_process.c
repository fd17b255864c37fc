/* tests/host_fixture_process.c - a host process for tests, and the launcher that starts it.
 *
 * Its first argument says what it does.  It answers on the data descriptor, and lives until that ends. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "remote/last_words.h"
#include "remote/launcher.h"
#include "remote/shared_memory.h"
#include "runtime/check.h"

extern char **environ;

static bool is_copy;

static void say(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(MUSTER__HOST_FD_DATA, text, length, MSG_NOSIGNAL);
        if (sent < 0)
            _exit(90);
        text += sent;
        length -= (size_t)sent;
    }
}

static void say_line(const char *format, long number)
{
    char text[128];
    int length = snprintf(text, sizeof text, format, number);
    say(text, (size_t)length);
}

static void wait_for_the_end(void)
{
    char byte;
    while (read(MUSTER__HOST_FD_DATA, &byte, 1) > 0)
        ;
}

static int be_idle(void)
{
    say("ready\n", 6);
    wait_for_the_end();
    return 0;
}

/* Also after its parent's end of the data descriptor is closed. */
_Noreturn static void be_stubborn(void)
{
    say("ready\n", 6);
    for (;;)
        pause();
}

static int list_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) != dirfd(folder))
            say_line("%ld ", strtol(entry->d_name, NULL, 10));
    say("\n", 1);
    return 0;
}

static int describe_itself(int argument_count, char **arguments, char **environment)
{
    struct rlimit limits;
    sigset_t blocked;
    for (int i = 0; i < argument_count; i++) {
        say(arguments[i], strlen(arguments[i]));
        say("|", 1);
    }
    for (; *environment != NULL; environment++) {
        say(*environment, strlen(*environment));
        say("|", 1);
    }
    getrlimit(RLIMIT_NOFILE, &limits);
    say_line("files=%ld|", (long)limits.rlim_cur);
    getrlimit(RLIMIT_CORE, &limits);
    say_line("core=%ld|", (long)limits.rlim_cur);
    say_line("nice=%ld|", getpriority(PRIO_PROCESS, 0));
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    say_line("blocked=%ld|", sigismember(&blocked, SIGTERM) || sigismember(&blocked, SIGCHLD));
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    say_line("ignored=%ld|", action.sa_handler == SIG_IGN);
    say_line("copy=%ld|", is_copy);
    say_line("leads=%ld|\n", getsid(0) == getpid() && getpgid(0) == getpid());
    return 0;
}

static void linger(void)
{
    for (;;)
        pause();
}

/* A child that says its number once it is what it should be. */
static pid_t fork_child(int report, bool leaves, bool is_orphan)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    if (is_orphan && fork() != 0)
        _exit(0);
    if (leaves)
        setsid();
    pid_t self = getpid();
    if (write(report, &self, sizeof self) != (ssize_t)sizeof self)
        _exit(1);
    linger();
    return 0;
}

/* Three children, one after the other: one in its session, one that left it, one that left and has no
 * parent any more. */
static int have_children(void)
{
    int ends[2];
    if (pipe(ends) < 0)
        return 91;
    for (int i = 0; i < 3; i++) {
        pid_t child = fork_child(ends[1], i > 0, i == 2);
        pid_t reported;
        if (child < 0 || read(ends[0], &reported, sizeof reported) != (ssize_t)sizeof reported)
            return 92;
        if (i == 2)
            waitpid(child, NULL, 0);
        say_line("%ld ", reported);
    }
    say("\n", 1);
    return 0;
}

static int grow(void)
{
    for (;;) { /* slower than the watch looks, faster than a test waits */
        size_t size = (size_t)4 << 20;
        char *more = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED)
            return 93;
        memset(more, 1, size);
        struct timespec pause_time = {.tv_nsec = 4000000};
        nanosleep(&pause_time, NULL);
    }
}

_Noreturn static void spin(void)
{
    volatile unsigned long turns = 0;
    for (;;)
        turns++;
}

static int be_a_launcher_that_raves(void)
{
    const char text[] = "this is no reply";
    send(3, text, sizeof text, MSG_NOSIGNAL);
    linger();
    return 0;
}

/* ---- last words ---- */

/* The depth keeps a compiler from seeing that it never ends. */
__attribute__((noinline)) static int overflow(volatile char *caller, long depth)
{
    volatile char here[4096];
    here[0] = caller[0];
    return depth == 0 ? 0 : overflow(here, depth - 1) + here[0];
}

static void *overflow_on_a_thread(void *unused)
{
    volatile char start[16] = {0};
    (void)unused;
    muster__last_words_thread_begin();
    pthread_setname_np(pthread_self(), "overflower");
    muster__last_words_enter(9, 77);
    return (void *)(intptr_t)overflow(start, LONG_MAX);
}

static const char *long_text(size_t length)
{
    char *text = malloc(length);
    if (text != NULL)
        for (size_t i = 0; i < length; i++)
            text[i] = (char)('a' + i % 26);
    return text;
}

static int crash(const char *how)
{
    pthread_t thread;
    const size_t much = MUSTER__LAST_WORDS_TEXT_MAX;
    if (muster__last_words_install(MUSTER__HOST_FD_LAST_WORDS) != MUSTER_OK)
        return 94;
    if (strcmp(how, "segv") == 0) {
        muster__last_words_enter(7, 3);
        *(volatile int *)(uintptr_t)0x1230 = 1;
    } else if (strcmp(how, "between-turns") == 0) {
        muster__last_words_enter(7, 3);
        muster__last_words_leave();
        __builtin_trap();
    } else if (strcmp(how, "overflow") == 0) {
        volatile char start[16] = {0};
        return overflow(start, LONG_MAX);
    } else if (strcmp(how, "thread-overflow") == 0) {
        pthread_create(&thread, NULL, overflow_on_a_thread, NULL);
        pthread_join(thread, NULL);
    } else if (strcmp(how, "abort-long") == 0) {
        muster__last_words_say(long_text(much), much);
        abort();
    } else if (strcmp(how, "abort-too-long") == 0) {
        muster__last_words_say(long_text(much + 5), much + 5);
        abort();
    } else if (strncmp(how, "raise-", 6) == 0) {
        raise((int)strtol(how + 6, NULL, 10));
    }
    return 95;
}

/* ---- handlers that were there before ---- */

static char *guarded;
static volatile sig_atomic_t mended;

static void mend(int signal)
{
    (void)signal;
    mended++;
    mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
}

static void give_up(int number)
{
    signal(number, SIG_DFL);
}

static void hope(int signal)
{
    (void)signal;
}

static int crash_behind(void (*handler)(int))
{
    guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    signal(SIGSEGV, handler);
    if (guarded == MAP_FAILED ||
        muster__last_words_install(MUSTER__HOST_FD_LAST_WORDS) != MUSTER_OK)
        return 96;
    for (int i = 0; i < 100; i++) {
        mprotect(guarded, 4096, PROT_NONE);
        *(volatile char *)guarded = 1;
    }
    return mended == 100 ? 0 : 97;
}

/* ---- shared memory ---- */

static int start_words(void)
{
    struct muster__shared_memory *memory = NULL;
    if (muster__shared_memory_attach(MUSTER__HOST_FD_MEMORY, &memory) != MUSTER_OK)
        return 98;
    if (!muster__shared_memory_start(memory, 2) || muster__shared_memory_start(memory, 1u << 30))
        return 99;
    if (ftruncate(MUSTER__HOST_FD_MEMORY, 0) == 0)
        return 100;
    muster__shared_memory_beat(memory);
    kill(getpid(), SIGKILL);
    return 0;
}

static int be_host(int argument_count, char **arguments)
{
    const char *what = argument_count < 2 ? "" : arguments[1];
    if (strcmp(what, "exit") == 0)
        return (int)strtol(arguments[2], NULL, 10);
    if (strcmp(what, "idle") == 0)
        return be_idle();
    if (strcmp(what, "stubborn") == 0)
        be_stubborn();
    if (strcmp(what, "descriptors") == 0)
        return list_descriptors();
    if (strcmp(what, "describe") == 0)
        return describe_itself(argument_count, arguments, environ);
    if (strcmp(what, "children") == 0) {
        int problem = have_children();
        wait_for_the_end();
        return problem;
    }
    if (strcmp(what, "grow") == 0)
        return grow();
    if (strcmp(what, "spin") == 0)
        spin();
    if (strcmp(what, "crash") == 0)
        return crash(arguments[2]);
    if (strcmp(what, "mend") == 0)
        return crash_behind(mend);
    if (strcmp(what, "give-up") == 0)
        return crash_behind(give_up);
    if (strcmp(what, "hope") == 0)
        return crash_behind(hope);
    if (strcmp(what, "words") == 0)
        return start_words();
    return 89;
}

/* ---- the launcher ---- */

static bool load(void)
{
    return getenv("MUSTER_FIXTURE_CANNOT_LOAD") == NULL;
}

static int be_copy(int argument_count, char **arguments)
{
    is_copy = true;
    return be_host(argument_count, arguments);
}

int main(int argument_count, char **arguments)
{
    static const struct muster__launcher_copies copies = {.load = load, .run = be_copy};
    const char *raves = getenv("MUSTER_FIXTURE_RAVES");
    if (argument_count < 2 || strcmp(arguments[1], "--launcher") != 0)
        return be_host(argument_count, arguments);
    return raves != NULL ? be_a_launcher_that_raves() : muster__launcher_main(argument_count, arguments, &copies);
}
