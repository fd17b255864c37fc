/* remote/exit.c - how a host process ended, put into a sentence.
 *
 * Any thread.  What it quotes of the host's own words is bounded and made printable: they come from a
 * process that just crashed, or wanted to look as if. */
#include "remote/exit.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "remote/last_words.h"
#include "runtime/check.h"

#define QUOTED_MAX 200 /* characters of a text; the whole is in the log */
#define MEGABYTE UINT64_C(1000000)

const char *muster__exit_signal_name(int signal)
{
    static const struct {
        int signal;
        const char *name;
    } names[] = {
#define NAME(signal) {signal, #signal}
        NAME(SIGHUP),  NAME(SIGINT),  NAME(SIGQUIT), NAME(SIGILL),    NAME(SIGTRAP), NAME(SIGABRT),
        NAME(SIGBUS),  NAME(SIGFPE),  NAME(SIGKILL), NAME(SIGUSR1),   NAME(SIGSEGV), NAME(SIGUSR2),
        NAME(SIGPIPE), NAME(SIGALRM), NAME(SIGTERM), NAME(SIGSTKFLT), NAME(SIGXCPU), NAME(SIGXFSZ),
        NAME(SIGVTALRM), NAME(SIGPROF), NAME(SIGIO), NAME(SIGPWR),    NAME(SIGSYS),
#undef NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].signal == signal)
            return names[i].name;
    return "a signal";
}

bool muster__exit_is_oom(const struct muster__exit_report *report)
{
    if (report->cause == MUSTER__EXIT_MEMORY_LIMIT)
        return true;
    if (report->cause != MUSTER__EXIT_BY_ITSELF || report->signal != SIGKILL)
        return false;
    /* The kernel counts by pages, a limit may be hit between two looks: 15/16 of it is near enough. */
    bool near_limit = report->memory_limit > 0 &&
                      report->peak_memory >= report->memory_limit - report->memory_limit / 16;
    return report->oom || near_limit;
}

/* SIGXCPU comes at the limit, SIGKILL a second later to whoever took no notice.  The kernel counts it by ticks and tells
 * it by the clock, which may be less: half of it is near enough. */
static bool used_up_its_cpu(const struct muster__exit_report *report)
{
    return report->cause == MUSTER__EXIT_BY_ITSELF && report->cpu_limit_s > 0 &&
           (report->signal == SIGXCPU ||
            (report->signal == SIGKILL && report->cpu_us / 500000 >= report->cpu_limit_s));
}

bool muster__exit_is_limit(const struct muster__exit_report *report)
{
    return report->cause == MUSTER__EXIT_MEMORY_LIMIT || report->cause == MUSTER__EXIT_CHILDREN_LIMIT ||
           used_up_its_cpu(report);
}

struct sentence {
    char *text;
    size_t size, length; /* the length that it would have */
};

MUSTER_PRINTF(2, 3) static void add(struct sentence *sentence, const char *format, ...)
{
    bool fits = sentence->length < sentence->size;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(fits ? sentence->text + sentence->length : NULL,
                           fits ? sentence->size - sentence->length : 0, format, arguments);
    va_end(arguments);
    sentence->length += length < 0 ? 0 : (size_t)length;
}

static void add_printable(struct sentence *sentence, const char *bytes, size_t length)
{
    size_t end = length < QUOTED_MAX ? length : QUOTED_MAX;
    while (end < length && end > 0 && ((unsigned char)bytes[end] & 0xc0) == 0x80)
        end--; /* not in the middle of a character */
    for (size_t i = 0; i < end; i++) {
        unsigned char c = (unsigned char)bytes[i];
        add(sentence, "%c", c == '\n' || c == '\t' ? ' ' : c < 0x20 || c == 0x7f ? '?' : c);
    }
    if (end < length)
        add(sentence, "...");
}

static void add_signal(struct sentence *sentence, const struct muster__exit_report *report)
{
    const char *name = muster__exit_signal_name(report->signal);
    if (strcmp(name, "a signal") == 0)
        add(sentence, "signal %d", report->signal);
    else
        add(sentence, "%s", name);
}

static void add_memory(struct sentence *sentence, const struct muster__exit_report *report)
{
    if (report->peak_memory > 0 && report->memory_limit > 0)
        add(sentence, " (peak %" PRIu64 " MB, limit %" PRIu64 " MB)", report->peak_memory / MEGABYTE,
            report->memory_limit / MEGABYTE);
    else if (report->peak_memory > 0)
        add(sentence, " (peak %" PRIu64 " MB)", report->peak_memory / MEGABYTE);
}

static void add_ending(struct sentence *sentence, const struct muster__exit_report *report)
{
    if (report->cause == MUSTER__EXIT_UNKNOWN) {
        add(sentence, " is gone; its launcher died before it could say how");
    } else if (report->cause == MUSTER__EXIT_MEMORY_LIMIT) {
        add(sentence, " was killed, out of memory: it grew beyond its limit");
        add_memory(sentence, report);
    } else if (report->cause == MUSTER__EXIT_CHILDREN_LIMIT) {
        add(sentence, " was killed: it had started more than %" PRIu64 " processes, its limit",
            report->children_limit);
    } else if (report->signal == 0) {
        add(sentence, " exited with code %d", report->code);
    } else if (used_up_its_cpu(report)) {
        add(sentence, " was killed by %s: it used up its %" PRIu64 " s of CPU time",
            muster__exit_signal_name(report->signal), report->cpu_limit_s);
    } else if (report->signal == SIGKILL || report->signal == SIGTERM || report->signal == SIGINT ||
               report->cause == MUSTER__EXIT_KILLED) {
        add(sentence, " was killed by ");
        add_signal(sentence, report);
        if (muster__exit_is_oom(report)) {
            add(sentence, ", likely out of memory");
            add_memory(sentence, report);
        }
    } else {
        add(sentence, " died of ");
        add_signal(sentence, report);
    }
}

static void add_words(struct sentence *sentence, const struct muster__exit_report *report,
                      const struct muster__last_words *words)
{
    /* A record about another signal than the one that ended it tells of something that it survived. */
    bool same = report->cause == MUSTER__EXIT_UNKNOWN || words->signal == report->signal;
    if (same && words->has_address)
        add(sentence, " at address 0x%" PRIx64, words->address);
    if (same && words->worker != MUSTER__LAST_WORDS_NOBODY)
        add(sentence, " while worker %" PRIu32 " ran its turn %" PRIu64, words->worker, words->turn);
    if (words->text.length > 0) {
        add(sentence, ": ");
        add_printable(sentence, words->text.data, words->text.length);
    }
}

int muster__exit_describe(char *text, size_t size, const char *name, pid_t pid,
                          const struct muster__exit_report *report,
                          const struct muster__last_words *words)
{
    struct sentence sentence = {.text = text, .size = size};
    if (size > 0)
        *text = '\0';
    add(&sentence, "%s (pid %ld)", name == NULL ? "host" : name, (long)pid);
    add_ending(&sentence, report);
    if (words != NULL)
        add_words(&sentence, report, words);
    return (int)sentence.length;
}
