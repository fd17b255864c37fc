/* cli/control_log.c - see control_log.h. */
#include "cli/control_log.h"

#include "cli/control_request.h"
#include "coordinator/context.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 1000
#define BYTES ((size_t)1 << 20)
#define TEXT_MOST ((size_t)8 << 10) /* as JSON at most six times as long */
#define SUBJECT_MOST ((size_t)1 << 10)
#define LEVELS (MUSTER_LOG_DEBUG + 1)
#define DROPPED_MOST 48 /* bytes of the line that tells */

struct entry {
    char *line; /* NULL: there was no memory for it */
    size_t length;
    enum muster_log_level level;
    uint64_t before[LEVELS]; /* how many of that level and more important ones came before it */
};

struct muster__control_log {
    struct muster__control_log_options options;
    pthread_mutex_t lock; /* innermost */
    struct entry *entries; /* number N stands at N % options.messages */
    uint64_t first, next;  /* the oldest that is there; the one that comes */
    size_t bytes;
    uint64_t counts[LEVELS];
};

struct muster__control_log *muster__control_log_new(const struct muster__control_log_options *options)
{
    struct muster__control_log *log = calloc(1, sizeof(*log));
    if (!log)
        return NULL;
    log->options.messages = options->messages ? options->messages : MESSAGES;
    log->options.bytes = options->bytes ? options->bytes : BYTES;
    log->entries = calloc(log->options.messages, sizeof(*log->entries));
    if (!log->entries) {
        free(log);
        return NULL;
    }
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

static struct entry *at(const struct muster__control_log *log, uint64_t number)
{
    return &log->entries[number % log->options.messages];
}

static void forget_first_locked(struct muster__control_log *log)
{
    struct entry *entry = at(log, log->first++);
    log->bytes -= entry->length;
    free(entry->line);
    *entry = (struct entry){0};
}

void muster__control_log_destroy(struct muster__control_log *log)
{
    if (!log)
        return;
    while (log->first < log->next)
        forget_first_locked(log);
    pthread_mutex_destroy(&log->lock);
    free(log->entries);
    free(log);
}

/* ---- in ---- */

static struct muster_value *cut(const char *text, size_t length, size_t most)
{
    static const char more[] = " [...]";
    if (length <= most)
        return muster_value_new_string(text, length);
    char *copy = malloc(most + sizeof(more));
    if (!copy)
        return NULL;
    memcpy(copy, text, most);
    memcpy(copy + most, more, sizeof(more));
    struct muster_value *value = muster_value_new_string(copy, most + sizeof(more) - 1);
    free(copy);
    return value;
}

static char *line_of(int64_t unix_ms, enum muster_log_level level, const char *subject, struct muster_bytes text,
                     size_t *ret_length)
{
    static const char *const names[LEVELS] = {"error", "warning", "info", "debug"};
    while (text.length && text.data[text.length - 1] == '\n')
        text.length--;
    struct muster_value *message = MUSTER__OBJECT(
        {"time", muster_value_new_number((double)unix_ms)}, {"level", muster_value_new_text(names[level])},
        {"subject", cut(subject ? subject : "", subject ? strlen(subject) : 0, SUBJECT_MOST)},
        {"text", cut(text.data, text.length, TEXT_MOST)});
    return muster__control_line(message, ret_length);
}

void muster__control_log_add(struct muster__control_log *log, int64_t unix_ms, enum muster_log_level level,
                             const char *subject, struct muster_bytes text)
{
    struct entry entry = {.level = level};
    entry.line = line_of(unix_ms, level, subject, text, &entry.length);
    MUSTER_CHECK(entry.length <= MUSTER__CONTROL_LOG_LINE_MOST - DROPPED_MOST);
    pthread_mutex_lock(&log->lock);
    while (log->first < log->next &&
           (log->next - log->first == log->options.messages || log->bytes + entry.length > log->options.bytes))
        forget_first_locked(log);
    memcpy(entry.before, log->counts, sizeof(entry.before));
    for (unsigned i = level; i < LEVELS; i++)
        log->counts[i]++;
    log->bytes += entry.length;
    *at(log, log->next++) = entry;
    pthread_mutex_unlock(&log->lock);
}

/* ---- out ---- */

void muster__control_log_begin(struct muster__control_log *log, enum muster_log_level level, uint64_t lines,
                               struct muster__control_log_reader *ret_reader)
{
    pthread_mutex_lock(&log->lock);
    struct muster__control_log_reader reader = {level, log->next, log->counts[level]};
    for (uint64_t number = log->next; number > log->first && lines; number--)
        if (at(log, number - 1)->level <= level) {
            reader.next = number - 1;
            reader.seen--;
            lines--;
        }
    pthread_mutex_unlock(&log->lock);
    *ret_reader = reader;
}

/* Those up to `until` that it did not see; 0: there was no room to say so. */
static bool tell_dropped(struct muster__control_log_reader *reader, uint64_t until, char *to, size_t size, size_t *used)
{
    if (reader->seen == until)
        return true;
    if (size - *used < DROPPED_MOST)
        return false;
    *used += (size_t)snprintf(to + *used, DROPPED_MOST, "{\"dropped\":%llu}\n",
                              (unsigned long long)(until - reader->seen));
    reader->seen = until;
    return true;
}

size_t muster__control_log_read(struct muster__control_log *log, struct muster__control_log_reader *reader, char *to,
                                size_t size)
{
    size_t used = 0;
    pthread_mutex_lock(&log->lock);
    if (reader->next < log->first)
        reader->next = log->first;
    for (; reader->next < log->next; reader->next++) {
        const struct entry *entry = at(log, reader->next);
        if (entry->level > reader->level || !entry->line)
            continue; /* one without a line is told with the next, as dropped */
        if (!tell_dropped(reader, entry->before[reader->level], to, size, &used) || entry->length > size - used)
            break;
        memcpy(to + used, entry->line, entry->length);
        used += entry->length;
        reader->seen++;
    }
    if (reader->next == log->next) /* what was lost at the end */
        (void)tell_dropped(reader, log->counts[reader->level], to, size, &used);
    pthread_mutex_unlock(&log->lock);
    return used;
}
