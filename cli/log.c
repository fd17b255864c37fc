/* cli/log.c - see log.h. */
#include "cli/log.h"

#include "runtime/check.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name, *colour;
} levels[] = {
    [MUSTER_LOG_ERROR] = {"error", "\x1b[31m"},
    [MUSTER_LOG_WARNING] = {"warning", "\x1b[33m"},
    [MUSTER_LOG_INFO] = {"info", ""},
    [MUSTER_LOG_DEBUG] = {"debug", "\x1b[2m"},
};

void muster__log_init(struct muster__log *log, enum muster_log_level level)
{
    const char *no_color = getenv("NO_COLOR");
    *log = (struct muster__log){.level = level, .fd = STDERR_FILENO, .is_ready = true};
    log->colours = isatty(log->fd) && !(no_color && *no_color);
    pthread_mutex_init(&log->lock, NULL);
}

void muster__log_clean_up(struct muster__log *log)
{
    if (log->is_ready)
        pthread_mutex_destroy(&log->lock);
    log->is_ready = false;
}

/* "\x1b" for what a terminal would obey; a later line begins with four spaces.  Needs up to five bytes
 * for each of the text's. */
static size_t escape(char *to, struct muster_bytes text)
{
    char *at = to;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        unsigned char next = i + 1 < text.length ? (unsigned char)text.data[i + 1] : 0;
        if (c == '\n') {
            memcpy(at, "\n    ", 5);
            at += 5;
        } else if ((c < 0x20 && c != '\t') || c == 0x7f) {
            at += sprintf(at, "\\x%02x", c);
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) { /* the same, from U+0080 on */
            at += sprintf(at, "\\x%02x", next);
            i++;
        } else {
            *at++ = (char)c;
        }
    }
    return (size_t)(at - to);
}

static size_t format_time(char *to, size_t size, int64_t unix_ms)
{
    struct tm tm;
    time_t seconds = (time_t)(unix_ms / 1000);
    if (!gmtime_r(&seconds, &tm))
        return 0;
    size_t length = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &tm);
    return length + (size_t)snprintf(to + length, size - length, ".%03dZ", (int)(unix_ms % 1000));
}

char *muster__log_format(const struct muster__log *log, int64_t unix_ms, enum muster_log_level level,
                         const char *subject, struct muster_bytes text, size_t *ret_length)
{
    while (text.length && text.data[text.length - 1] == '\n')
        text.length--;
    const struct muster_bytes about = {subject ? subject : "", subject ? strlen(subject) : 0};
    char *line = malloc(128 + 5 * (about.length + text.length));
    if (!line)
        return NULL;
    char *at = line + format_time(line, 64, unix_ms);
    at += sprintf(at, " %s%s%s", log->colours ? levels[level].colour : "", levels[level].name,
                  about.length ? " " : "");
    at += escape(at, about);
    at += sprintf(at, ": ");
    at += escape(at, text);
    at += sprintf(at, "%s\n", log->colours && *levels[level].colour ? "\x1b[0m" : "");
    *ret_length = (size_t)(at - line);
    return line;
}

/* What cannot be written is lost: there is nobody else to tell. */
static void write_all(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t written = write(fd, data, length);
        if (written < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            if (poll(&ready, 1, 1000) == 1)
                continue;
        }
        if (written < 0 && errno != EINTR)
            return;
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        }
    }
}

static void write_message(struct muster__log *log, enum muster_log_level level, const char *subject,
                          struct muster_bytes text)
{
    if (level > log->level)
        return;
    struct timespec now;
    size_t length;
    clock_gettime(CLOCK_REALTIME, &now);
    char *line = muster__log_format(log, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, level, subject,
                                    text, &length);
    if (!line)
        return;
    pthread_mutex_lock(&log->lock);
    write_all(log->fd, line, length);
    pthread_mutex_unlock(&log->lock);
    free(line);
}

void muster__log_write(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    struct muster__log *log = user_data;
    if (level > MUSTER_LOG_WARNING || !atomic_load(&log->is_quiet))
        write_message(log, level, subject, (struct muster_bytes){text, strlen(text)});
}

void muster__log_console(const char *scope, enum muster_log_level level, struct muster_bytes text,
                         void *user_data)
{
    write_message(user_data, level, scope, text);
}

char *muster__log_describe(const struct muster_error *error, enum muster_status status)
{
    char place[32] = "";
    const char *sentence = error && error->message ? error->message : muster_status_sentence(status);
    const char *name = error ? error->name : NULL, *file = error ? error->file : NULL;
    if (error && error->line > 0)
        snprintf(place, sizeof(place), error->column > 0 ? ":%d:%d" : ":%d", error->line, error->column);
    if (file && strncmp(file, "file:///", 8) == 0)
        file += 7;
    return muster__format("%s%s%s%s%s%s", file ? file : "", file ? place : "", file ? ": " : "", name ? name : "",
                          name ? ": " : "", sentence);
}
