/* remote/last_words.c - what a dying host still says, and how its parent hears it.
 *
 * The handlers may run on any thread, at any instruction, with the heap in pieces: they make bare system
 * calls, take no lock, and know all that they need from installation.  What they write is one record, head
 * then text; a head is small enough that the pipe takes it whole.  The reader's half runs in the parent
 * and shares nothing with the first but the record. */
#include "remote/last_words.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/hash.h"

#define MAGIC 0x57544c4du /* "MLTW" */
#define VERSION 1u
#define WRITE_US UINT64_C(2000000)
#define STACK_BYTES ((size_t)64 << 10)
#define PATIENCE 1000 /* times that a fault may come back unchanged after another handler had it: 2 ms */

struct head {
    uint32_t magic, version;
    int32_t signal, code;
    uint64_t address, pc, turn, text_length;
    uint32_t has_address, thread, worker, frame_count;
    uint64_t frames[MUSTER__LAST_WORDS_FRAMES_MAX];
    char thread_name[16];
};
_Static_assert(sizeof(struct head) <= 512, "what POSIX lets any pipe take in one piece");

/* ---- in the host ---- */

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT, SIGSYS};
#define CRASH_COUNT (sizeof crashes / sizeof *crashes)

static struct {
    bool installed; /* written once, before the handlers are in */
    int fd;
    int probe[2]; /* a pipe: the kernel says whether an address can be read */
    struct sigaction before[CRASH_COUNT];
    atomic_int writer; /* the thread that writes; 0: none yet */
    _Atomic(const char *) text;
    atomic_size_t text_length;
} host = {.fd = -1, .probe = {-1, -1}};

struct current {
    uint32_t worker;
    bool runs;
    uint64_t turn;
    void *stack; /* the mapping of the alternate stack, guard first; NULL: none of ours */
    size_t stack_size;
    stack_t before; /* whose place ours took */
    uint64_t registers; /* a digest, at the last fault that a handler before ours had; 0: none */
    unsigned repeats;
};
/* Of the kind that needs no allocation when a handler touches it first. */
static _Thread_local struct current current __attribute__((tls_model("initial-exec")));

void muster__last_words_enter(uint32_t worker, uint64_t turn)
{
    current.worker = worker;
    current.turn = turn;
    atomic_signal_fence(memory_order_release);
    current.runs = true;
}

void muster__last_words_leave(void)
{
    current.runs = false;
}

void muster__last_words_say(const char *text, size_t length)
{
    if (length > MUSTER__LAST_WORDS_TEXT_MAX)
        length = MUSTER__LAST_WORDS_TEXT_MAX;
    atomic_store(&host.text_length, 0); /* never the one's length with the other's bytes */
    atomic_store(&host.text, text);
    atomic_store(&host.text_length, text == NULL ? 0 : length);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void muster__last_words_thread_begin(void)
{
    if (current.stack != NULL)
        return;
    size_t page = page_bytes();
    size_t least = (size_t)getauxval(AT_MINSIGSTKSZ); /* grows with the registers of the machine */
    size_t size = (STACK_BYTES + least + page - 1) / page * page + page;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return;
    const stack_t alternate = {.ss_sp = stack + page, .ss_size = size - page};
    if (mprotect(stack, page, PROT_NONE) < 0 || sigaltstack(&alternate, &current.before) < 0) {
        munmap(stack, size);
        return;
    }
    current.stack = stack;
    current.stack_size = size;
}

void muster__last_words_thread_end(void)
{
    if (current.stack == NULL)
        return;
    if (sigaltstack(&current.before, NULL) == 0)
        munmap(current.stack, current.stack_size);
    current.stack = NULL;
}

static uint64_t pc_of(const void *context)
{
    const ucontext_t *user = context;
#if defined(__x86_64__)
    return (uint64_t)user->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return user->uc_mcontext.pc;
#else
    (void)user;
    return 0;
#endif
}

static uint64_t frame_of(const void *context)
{
    const ucontext_t *user = context;
#if defined(__x86_64__)
    return (uint64_t)user->uc_mcontext.gregs[REG_RBP];
#elif defined(__aarch64__)
    return user->uc_mcontext.regs[29];
#else
    (void)user;
    return 0;
#endif
}

/* A digest of the registers: code that got any further has others. */
static uint64_t registers_of(const void *context)
{
    const ucontext_t *user = context;
#if defined(__x86_64__)
    const void *bytes = user->uc_mcontext.gregs;
    size_t length = sizeof user->uc_mcontext.gregs;
#elif defined(__aarch64__)
    const void *bytes = user->uc_mcontext.regs;
    size_t length = sizeof user->uc_mcontext.regs;
#else
    const void *bytes = user;
    size_t length = 0; /* then only the number of faults counts */
#endif
    return muster__hash_bytes(0, bytes, length);
}

/* By way of a pipe: write() answers EFAULT where we would fault. */
static bool peek(uint64_t address, uint64_t ret_words[2])
{
    if (syscall(SYS_write, host.probe[1], (uintptr_t)address, (size_t)16) != 16)
        return false;
    return syscall(SYS_read, host.probe[0], ret_words, (size_t)16) == 16;
}

/* Code without frame pointers ends the walk early, or sends it astray within bounds; a guess is worth
 * having, for the price of two system calls a frame. */
static uint32_t walk(uint64_t frame, uint64_t *frames)
{
    uint32_t count = 0;
    while (count < MUSTER__LAST_WORDS_FRAMES_MAX && frame != 0 && frame % 8 == 0) {
        uint64_t words[2]; /* the caller's frame, the return address */
        if (!peek(frame, words) || words[1] == 0)
            break;
        frames[count++] = words[1];
        if (words[0] <= frame) /* stacks grow downwards */
            break;
        frame = words[0];
    }
    return count;
}

static bool carries_address(int signal, int code)
{
    return code > 0 && code != SI_KERNEL &&
           (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE);
}

static void fill_head(struct head *head, int signal, const siginfo_t *info, const void *context,
                      size_t text_length)
{
    memset(head, 0, sizeof *head);
    head->magic = MAGIC;
    head->version = VERSION;
    head->signal = signal;
    head->code = info->si_code;
    head->has_address = carries_address(signal, info->si_code);
    head->address = head->has_address ? (uint64_t)(uintptr_t)info->si_addr : 0;
    head->pc = pc_of(context);
    head->thread = (uint32_t)syscall(SYS_gettid);
    head->worker = current.runs ? current.worker : MUSTER__LAST_WORDS_NOBODY;
    head->turn = current.runs ? current.turn : 0;
    head->text_length = text_length;
    prctl(PR_GET_NAME, head->thread_name, 0, 0, 0);
    head->frame_count = walk(frame_of(context), head->frames);
}

static uint64_t now_us(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* The pipe may be full, and its reader slow or stopped: so we wait for it, but not for ever. */
static void write_all(const char *bytes, size_t length, uint64_t until_us)
{
    uint64_t at_us;
    while (length > 0 && (at_us = now_us()) < until_us) {
        struct pollfd pipe_end = {.fd = host.fd, .events = POLLOUT};
        ssize_t written = write(host.fd, bytes, length);
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        } else if (written == 0 || errno == EAGAIN) {
            (void)poll(&pipe_end, 1, (int)((until_us - at_us) / 1000) + 1);
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void block_everything(void)
{
    sigset_t all;
    sigfillset(&all); /* SIGPIPE too, if nobody reads any more */
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void speak(int signal, const siginfo_t *info, const void *context)
{
    uint64_t until_us = now_us() + WRITE_US;
    int self = (int)syscall(SYS_gettid);
    int writer = 0;
    if (!atomic_compare_exchange_strong(&host.writer, &writer, self)) {
        /* Another thread is at it, or was; it ends the process when it is done. */
        while (writer != self && now_us() < until_us + WRITE_US / 4)
            (void)poll(NULL, 0, 100);
        return;
    }
    size_t text_length = atomic_load(&host.text_length);
    struct head head;
    fill_head(&head, signal, info, context, text_length);
    write_all((const char *)&head, sizeof head, until_us);
    write_all(atomic_load(&host.text), text_length, until_us);
}

/* It waits, blocked, until our handler returns, and ends the process before another instruction runs. */
static void die_of(int signal)
{
    struct sigaction as_new = {.sa_handler = SIG_DFL};
    sigset_t only;
    sigaction(signal, &as_new, NULL);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* or here */
}

static size_t index_of(int signal)
{
    size_t index = 0;
    while (index < CRASH_COUNT - 1 && crashes[index] != signal)
        index++;
    return index;
}

/* An engine faults on purpose, and its handler mends that by moving the program counter or the memory.
 * One that could not restores the default action before it returns, or returns for the same fault to come
 * again and again. */
static bool was_mended(int signal, const void *context, uint64_t pc, uint64_t registers)
{
    struct sigaction now;
    if (sigaction(signal, NULL, &now) < 0 || now.sa_handler == SIG_DFL)
        return false;
    bool moved = pc_of(context) != pc;
    current.repeats = !moved && current.registers == registers ? current.repeats + 1 : 0;
    current.registers = moved ? 0 : registers;
    return current.repeats < PATIENCE;
}

static bool ask_others(int signal, siginfo_t *info, void *context)
{
    const struct sigaction *before = &host.before[index_of(signal)];
    uint64_t pc = pc_of(context);
    uint64_t registers = registers_of(context);
    if ((before->sa_flags & SA_SIGINFO) != 0)
        before->sa_sigaction(signal, info, context);
    else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN)
        before->sa_handler(signal);
    else
        return false;
    /* A request to abort is mended by nobody. */
    return signal != SIGABRT && was_mended(signal, context, pc, registers);
}

static void on_crash(int signal, siginfo_t *info, void *context)
{
    int problem = errno;
    if (ask_others(signal, info, context)) {
        errno = problem;
        return;
    }
    block_everything();
    speak(signal, info, context);
    die_of(signal);
}

static bool has_handler(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) != 0 ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static bool take_over(size_t index)
{
    struct sigaction *before = &host.before[index];
    if (sigaction(crashes[index], NULL, before) < 0)
        return false;
    struct sigaction ours = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    /* An engine leaves the signal that its collector stops threads with open, and counts on that. */
    if (has_handler(before))
        ours.sa_mask = before->sa_mask;
    else
        sigfillset(&ours.sa_mask);
    return sigaction(crashes[index], &ours, NULL) == 0;
}

enum muster_status muster__last_words_install(int fd)
{
    MUSTER_CHECK(!host.installed);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        pipe2(host.probe, O_CLOEXEC | O_NONBLOCK) < 0)
        return MUSTER_SYSTEM;
    host.fd = fd;
    host.installed = true;
    muster__last_words_thread_begin();
    for (size_t i = 0; i < CRASH_COUNT; i++)
        if (!take_over(i))
            return MUSTER_SYSTEM;
    return MUSTER_OK;
}

/* ---- in the parent: the record ---- */

#define RECORD_MAX (sizeof(struct head) + MUSTER__LAST_WORDS_TEXT_MAX)
#define AT_ONCE ((size_t)64 << 10)

void muster__last_words_reader_init(struct muster__last_words_reader *reader)
{
    memset(reader, 0, sizeof *reader);
}

void muster__last_words_reader_clean_up(struct muster__last_words_reader *reader)
{
    free(reader->bytes);
    memset(reader, 0, sizeof *reader);
}

static bool make_room(struct muster__last_words_reader *reader, size_t length)
{
    size_t needed = reader->length + length;
    if (needed <= reader->capacity)
        return true;
    size_t capacity = reader->capacity == 0 ? 1024 : reader->capacity;
    while (capacity < needed)
        capacity *= 2;
    char *grown = realloc(reader->bytes, capacity);
    reader->out_of_memory = grown == NULL;
    if (grown == NULL)
        return false;
    reader->bytes = grown;
    reader->capacity = capacity;
    return true;
}

void muster__last_words_reader_feed(struct muster__last_words_reader *reader, const char *bytes,
                                    size_t length)
{
    if (length > RECORD_MAX - reader->length)
        length = RECORD_MAX - reader->length;
    if (length == 0 || reader->out_of_memory || !make_room(reader, length))
        return;
    memcpy(reader->bytes + reader->length, bytes, length);
    reader->length += length;
}

bool muster__last_words_reader_read(struct muster__last_words_reader *reader, int fd)
{
    /* A host that writes for ever holds the poller for no longer than one record takes; what is left is
     * still there the next time, and as an edge may not come again for it, the pipe is given up. */
    char bytes[AT_ONCE];
    for (size_t total = 0; !reader->ended && total <= 2 * RECORD_MAX;) {
        ssize_t length = read(fd, bytes, sizeof bytes);
        if (length > 0) {
            muster__last_words_reader_feed(reader, bytes, (size_t)length);
            total += (size_t)length;
        } else if (length < 0 && errno == EAGAIN) {
            return true;
        } else if (length == 0 || errno != EINTR) {
            break;
        }
    }
    reader->ended = true;
    return false;
}

static void copy_name(char *to, const char *from, size_t size)
{
    memcpy(to, from, size - 1);
    to[size - 1] = '\0';
    for (char *at = to; *at != '\0'; at++)
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
}

bool muster__last_words_reader_parse(const struct muster__last_words_reader *reader,
                                     struct muster__last_words *ret_words)
{
    struct head head;
    if (reader->length < sizeof head)
        return false;
    memcpy(&head, reader->bytes, sizeof head);
    if (head.magic != MAGIC || head.version != VERSION || head.signal < 0 || head.signal > 64 ||
        head.frame_count > MUSTER__LAST_WORDS_FRAMES_MAX ||
        head.text_length > MUSTER__LAST_WORDS_TEXT_MAX)
        return false;
    size_t came = reader->length - sizeof head;
    size_t text_length = came < head.text_length ? came : (size_t)head.text_length;
    struct muster__last_words words = {.signal = head.signal,
                                       .code = head.code,
                                       .has_address = head.has_address != 0,
                                       .address = head.address,
                                       .pc = head.pc,
                                       .thread = head.thread,
                                       .worker = head.worker,
                                       .turn = head.turn,
                                       .frame_count = head.frame_count,
                                       .text = {reader->bytes + sizeof head, text_length},
                                       .text_cut = came < head.text_length};
    memcpy(words.frames, head.frames, sizeof words.frames);
    copy_name(words.thread_name, head.thread_name, sizeof words.thread_name);
    *ret_words = words;
    return true;
}

/* ---- in the parent: standard error ---- */

#define TAIL MUSTER__ERROR_TAIL_SIZE
#define AT_A_CALL ((size_t)256 << 10)

void muster__error_tail_init(struct muster__error_tail *tail, muster__error_tail_line_fn *line,
                             void *user_data)
{
    tail->line = line;
    tail->user_data = user_data;
    tail->total = 0;
    tail->pending = 0;
}

static void pass_on(struct muster__error_tail *tail)
{
    size_t length = tail->pending;
    tail->pending = 0;
    if (tail->line != NULL)
        tail->line(tail->partial, length, tail->user_data);
}

static void cut_lines(struct muster__error_tail *tail, const char *bytes, size_t length)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t here = end == NULL ? length : (size_t)(end - bytes);
        size_t room = TAIL - tail->pending;
        size_t taken = here < room ? here : room;
        memcpy(tail->partial + tail->pending, bytes, taken);
        tail->pending += taken;
        bytes += taken;
        length -= taken;
        if (taken == here && end != NULL) {
            bytes++;
            length--;
            pass_on(tail);
        } else if (tail->pending == TAIL && length > 0 && *bytes != '\n') {
            pass_on(tail);
        }
    }
}

void muster__error_tail_feed(struct muster__error_tail *tail, const char *bytes, size_t length)
{
    cut_lines(tail, bytes, length);
    if (length > TAIL) {
        tail->total += length - TAIL;
        bytes += length - TAIL;
        length = TAIL;
    }
    size_t at = (size_t)(tail->total % TAIL);
    size_t first = length < TAIL - at ? length : TAIL - at;
    memcpy(tail->ring + at, bytes, first);
    memcpy(tail->ring, bytes + first, length - first);
    tail->total += length;
}

void muster__error_tail_finish(struct muster__error_tail *tail)
{
    if (tail->pending > 0)
        pass_on(tail);
}

bool muster__error_tail_read(struct muster__error_tail *tail, int fd, bool *ret_more)
{
    char bytes[16384];
    bool more = false;
    bool open = true;
    for (size_t total = 0; open && !more;) {
        ssize_t length = read(fd, bytes, sizeof bytes);
        if (length > 0) {
            muster__error_tail_feed(tail, bytes, (size_t)length);
            total += (size_t)length;
            more = total >= AT_A_CALL;
        } else if (length < 0 && errno == EAGAIN) {
            break;
        } else if (length == 0 || errno != EINTR) {
            open = false;
        }
    }
    if (!open)
        muster__error_tail_finish(tail);
    if (ret_more != NULL)
        *ret_more = more;
    return open;
}

static char tail_at(const struct muster__error_tail *tail, uint64_t position)
{
    return tail->ring[position % TAIL];
}

int muster__error_tail_text(const struct muster__error_tail *tail, char *text, size_t size)
{
    uint64_t end = tail->total;
    uint64_t from = end > TAIL ? end - TAIL : 0;
    if (from > 0) { /* not in the middle of a line, unless that is all there is */
        uint64_t at = from;
        while (at < end && tail_at(tail, at) != '\n')
            at++;
        from = at + 1 < end ? at + 1 : from;
    }
    size_t length = 0;
    for (uint64_t at = from; at < end; at++, length++)
        if (length + 1 < size)
            text[length] = tail_at(tail, at);
    if (size > 0)
        text[length < size ? length : size - 1] = '\0';
    return (int)length;
}
