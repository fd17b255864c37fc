/* remote/last_words.h - what a dying host still says, and how its parent hears it.  Internal.
 *
 * In the host: handlers for the signals of a crash write one record to a pipe of its own, synchronously
 * and with a bound (2 s), then let the signal end the process as it would have, so that the exit status
 * tells the truth.  A thread that has called muster__last_words_thread_begin can report the overflow of
 * its own stack.  Handlers that were there before (the engine's) are asked first; what they mend is no
 * crash and costs nothing but the detour.
 *
 * In the parent: a reader collects the record, bounded, and takes every byte for hostile; a tail keeps the
 * end of the host's standard error while its lines go on to a callback.  Both are driven by whoever polls.
 */
#ifndef MUSTER_LAST_WORDS_H
#define MUSTER_LAST_WORDS_H

#include "runtime/base.h"

#define MUSTER__LAST_WORDS_TEXT_MAX ((size_t)4 << 20)
#define MUSTER__LAST_WORDS_FRAMES_MAX 16
#define MUSTER__LAST_WORDS_NOBODY UINT32_MAX

/* ---- in the host ---- */

/* Thread: main, once, after the engines are loaded (and again never).  Takes over SIGSEGV, SIGBUS, SIGILL,
 * SIGTRAP, SIGFPE, SIGABRT and SIGSYS; begins the calling thread.  `fd` stays open for good and is made
 * non-blocking. */
MUSTER_MUST_CHECK enum muster_status muster__last_words_install(int fd);

/* Thread: each of the host's, at its begin and end: an alternate stack.  Without memory a thread goes
 * without, which costs only the report of a stack overflow.  Beginning twice is fine. */
void muster__last_words_thread_begin(void);
void muster__last_words_thread_end(void);

/* Thread: the one that runs a turn.  What runs here from now on; two stores. */
void muster__last_words_enter(uint32_t worker, uint64_t turn);
void muster__last_words_leave(void);

/* Thread: any.  The text that goes along when the process dies, say of a fatal "out of memory"; borrowed
 * until it is dead.  More than MUSTER__LAST_WORDS_TEXT_MAX is cut.  Then call abort(). */
void muster__last_words_say(const char *text, size_t length);

/* ---- in the parent ---- */

struct muster__last_words {
    int signal;       /* as the host claims; the exit report knows */
    int code;         /* si_code */
    bool has_address; /* the signal carries one */
    uint64_t address;
    uint64_t pc; /* 0: unknown */
    uint32_t thread;
    char thread_name[16]; /* terminated, printable */
    uint32_t worker;      /* MUSTER__LAST_WORDS_NOBODY: none ran on that thread */
    uint64_t turn;
    unsigned frame_count;
    uint64_t frames[MUSTER__LAST_WORDS_FRAMES_MAX]; /* return addresses, innermost first */
    struct muster_bytes text; /* any bytes; belongs to the reader; length 0: none */
    bool text_cut;            /* there was more than arrived */
};

/* Zeroed, then with init; the caller's storage.  Thread: one at a time. */
struct muster__last_words_reader {
    char *bytes;
    size_t length, capacity;
    bool ended;         /* the write end is closed, or the bytes cannot be last words */
    bool out_of_memory; /* what came later is dropped */
};

void muster__last_words_reader_init(struct muster__last_words_reader *reader);
/* Cleaning twice is fine. */
void muster__last_words_reader_clean_up(struct muster__last_words_reader *reader);
/* Reads all that is there from `fd` (non-blocking).  False: it has ended, poll no more.  Beyond the bound
 * it goes on reading and drops, so that a host which says too much is not held up. */
bool muster__last_words_reader_read(struct muster__last_words_reader *reader, int fd);
/* The same from memory. */
void muster__last_words_reader_feed(struct muster__last_words_reader *reader, const char *bytes,
                                    size_t length);
/* False: nothing was said, or nothing that makes sense.  Texts point into the reader. */
bool muster__last_words_reader_parse(const struct muster__last_words_reader *reader,
                                     struct muster__last_words *ret_words);

#define MUSTER__ERROR_TAIL_SIZE ((size_t)4096)

/* Thread: the one that calls _read.  A whole line without its end, or a piece of one that is longer than
 * MUSTER__ERROR_TAIL_SIZE; any bytes, borrowed. */
typedef void muster__error_tail_line_fn(const char *line, size_t length, void *user_data);

/* The caller's storage; holds no memory of its own.  Thread: one at a time. */
struct muster__error_tail {
    muster__error_tail_line_fn *line; /* NULL: none */
    void *user_data;
    uint64_t total; /* bytes that came in all */
    size_t pending; /* bytes of a line that is not whole yet */
    char ring[MUSTER__ERROR_TAIL_SIZE];
    char partial[MUSTER__ERROR_TAIL_SIZE];
};

void muster__error_tail_init(struct muster__error_tail *tail, muster__error_tail_line_fn *line,
                             void *user_data);
/* Reads all that is there from `fd` (non-blocking), at most 256 KiB a call, so that a flood holds nobody
 * up: *ret_more says that it stopped for that reason (may be NULL).  False: it has ended; the last line
 * was passed on though nothing ended it. */
bool muster__error_tail_read(struct muster__error_tail *tail, int fd, bool *ret_more);
void muster__error_tail_feed(struct muster__error_tail *tail, const char *bytes, size_t length);
/* Passes on what is left of an unfinished line. */
void muster__error_tail_finish(struct muster__error_tail *tail);
/* The last bytes, oldest first, begun at a line's begin where one is in reach; returns the length as
 * snprintf does, always terminates unless size is 0. */
int muster__error_tail_text(const struct muster__error_tail *tail, char *text, size_t size);

#endif
