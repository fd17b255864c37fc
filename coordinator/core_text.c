/* coordinator/core_text.c - the core's events and actions as lines of text, for logs, recordings and
 * replays.  Thread: any; nothing is kept.
 *
 *   12000 REGISTER job=1 version=2 scope="/" script="app.js"
 *
 * The time, the kind, then the fields that are not zero.  In quotes, what is not plain is %XX. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/core.h"

static const char *const event_names[] = {
#define MUSTER__CORE_SYMBOL(name, sentence) #name,
    MUSTER__CORE_EVENT_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

static const char *const action_names[] = {
#define MUSTER__CORE_SYMBOL(name, sentence) #name,
    MUSTER__CORE_ACTION_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

static const char *const status_names[] = {
#define MUSTER__CORE_SYMBOL(name, sentence) #name,
    MUSTER_STATUS_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

static const char *const reason_names[] = {
#define MUSTER__CORE_SYMBOL(name, sentence) #name,
    MUSTER__STOP_REASON_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

static const char *const reason_sentences[] = {
#define MUSTER__CORE_SYMBOL(name, sentence) sentence,
    MUSTER__STOP_REASON_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

static const char *const state_words[] = {
#define MUSTER__CORE_SYMBOL(name, word) word,
    MUSTER__VERSION_STATE_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

static const char *const via_words[] = {
#define MUSTER__CORE_SYMBOL(name, word) word,
    MUSTER__VIA_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
};

/* An event's marks: 1, or left out. */
static const struct mark {
    const char *name;
    size_t offset;
} marks[] = {
#define MARK(field) { #field, offsetof(struct muster__core_event, field) }
    MARK(ok),    MARK(lazy),     MARK(load),    MARK(early),
    MARK(plain), MARK(restored), MARK(changed), MARK(force),
#undef MARK
};
#define MARKS (sizeof(marks) / sizeof(marks[0]))

const char *muster__version_state_word(enum muster__version_state state)
{
    return (size_t)state < MUSTER__VERSION_STATE_COUNT ? state_words[state] : "?";
}

const char *muster__via_word(enum muster__via via)
{
    return (size_t)via < MUSTER__VIA_COUNT ? via_words[via] : "?";
}

const char *muster__core_event_name(enum muster__core_event_kind kind)
{
    return (size_t)kind < MUSTER__CORE_EVENT_COUNT ? event_names[kind] : "?";
}

const char *muster__core_action_name(enum muster__core_action_kind kind)
{
    return (size_t)kind < MUSTER__DO_COUNT ? action_names[kind] : "?";
}

const char *muster__stop_reason_sentence(enum muster__stop_reason reason)
{
    return (size_t)reason < MUSTER__STOP_REASON_COUNT ? reason_sentences[reason] : "?";
}

/* ---- writing ---- */

struct writer {
    char *text;
    size_t size, length; /* length: of the whole line, also of what did not fit */
};

static void put(struct writer *writer, const char *format, ...) MUSTER_PRINTF(2, 3);
static void put(struct writer *writer, const char *format, ...)
{
    bool fits = writer->length < writer->size;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(fits ? writer->text + writer->length : NULL,
                           fits ? writer->size - writer->length : 0, format, arguments);
    va_end(arguments);
    writer->length += length > 0 ? (size_t)length : 0;
}

static void put_number(struct writer *writer, const char *name, uint64_t number)
{
    if (number != 0) {
        put(writer, " %s=%" PRIu64, name, number);
    }
}

static void put_text(struct writer *writer, const char *name, const char *text)
{
    if (text == NULL) {
        return;
    }
    put(writer, " %s=\"", name);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        bool plain = byte > ' ' && byte < 0x7f && byte != '"' && byte != '%';
        put(writer, plain ? "%c" : "%%%02X", byte);
    }
    put(writer, "\"");
}

int muster__core_event_format(const struct muster__core_event *event, uint64_t now_us, char *text,
                              size_t size)
{
    struct writer writer = { text, size, 0 };
    put(&writer, "%" PRIu64 " %s", now_us, muster__core_event_name(event->kind));
    put_number(&writer, "job", event->job);
    put_number(&writer, "version", event->version);
    put_number(&writer, "instance", event->instance);
    put_number(&writer, "host", event->host);
    if ((size_t)event->status < MUSTER_STATUS_COUNT && event->status != MUSTER_OK) {
        put(&writer, " status=%s", status_names[event->status]);
    }
    for (size_t i = 0; i < MARKS; i++) {
        put_number(&writer, marks[i].name, *(const bool *)((const char *)event + marks[i].offset));
    }
    if (event->via != MUSTER__VIA_IMPORTS) {
        put(&writer, " via=%s", muster__via_word(event->via));
    }
    put_number(&writer, "idle", event->idle_us);
    put_number(&writer, "checked", event->checked_us);
    put_number(&writer, "alive_until", event->alive_until_us);
    put_number(&writer, "holds", event->holds);
    put_text(&writer, "scope", event->scope);
    put_text(&writer, "script", event->script);
    return (int)writer.length;
}

int muster__core_action_format(const struct muster__core_action *action, char *text, size_t size)
{
    struct writer writer = { text, size, 0 };
    put(&writer, "%s", muster__core_action_name(action->kind));
    put_number(&writer, "job", action->job);
    put_number(&writer, "version", action->version);
    put_number(&writer, "instance", action->instance);
    put_number(&writer, "host", action->host);
    if ((size_t)action->status < MUSTER_STATUS_COUNT && action->status != MUSTER_OK) {
        put(&writer, " status=%s", status_names[action->status]);
    }
    if ((size_t)action->reason < MUSTER__STOP_REASON_COUNT && action->reason != MUSTER__STOP_NONE) {
        put(&writer, " reason=%s", reason_names[action->reason]);
    }
    put_number(&writer, "may_open", action->may_open);
    put_number(&writer, "registration", action->registration);
    put_number(&writer, "old", action->old);
    put_number(&writer, "users", action->users);
    if (action->kind == MUSTER__DO_NOTE_STATE) {
        put(&writer, " state=%s", muster__version_state_word(action->state));
    }
    put_number(&writer, "installing", action->installing);
    put_number(&writer, "waiting", action->waiting);
    put_number(&writer, "active", action->active);
    put_text(&writer, "scope", action->scope);
    return (int)writer.length;
}

/* ---- reading ---- */

static bool read_number(const char *text, uint64_t most, uint64_t *ret_number)
{
    char *end = NULL;
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number > most) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool read_name(const char *text, const char *const *names, size_t count, size_t *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static int hex(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                          : -1;
}

/* Takes the quotes and the %XX away, in place; NULL: it is not such a text. */
static char *read_text(char *text)
{
    size_t length = strlen(text);
    if (length < 2 || text[0] != '"' || text[length - 1] != '"') {
        return NULL;
    }
    text[length - 1] = '\0';
    char *to = text;
    for (const char *from = text + 1; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex(from[1]);
        int low = high < 0 ? -1 : hex(from[2]);
        if (low < 0 || high * 16 + low == 0) {
            return NULL;
        }
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return text;
}

/* False: there is no such mark, or it says something else. */
static bool read_mark(struct muster__core_event *event, const char *name, uint64_t number)
{
    for (size_t i = 0; i < MARKS; i++) {
        if (strcmp(name, marks[i].name) == 0) {
            *(bool *)((char *)event + marks[i].offset) = number == 1;
            return number <= 1;
        }
    }
    return false;
}

static bool read_field(struct muster__core_event *event, const char *name, char *value)
{
    uint64_t number = 0;
    size_t index = 0;

    if (strcmp(name, "scope") == 0) {
        return (event->scope = read_text(value)) != NULL;
    }
    if (strcmp(name, "script") == 0) {
        return (event->script = read_text(value)) != NULL;
    }
    if (strcmp(name, "status") == 0) {
        bool known = read_name(value, status_names, MUSTER_STATUS_COUNT, &index);
        event->status = (enum muster_status)index;
        return known;
    }
    if (strcmp(name, "via") == 0) {
        bool known = read_name(value, via_words, MUSTER__VIA_COUNT, &index);
        event->via = (enum muster__via)index;
        return known;
    }
    if (!read_number(value, UINT64_MAX, &number)) {
        return false;
    }
    bool small = number <= UINT32_MAX;
    if (strcmp(name, "job") == 0) {
        event->job = number;
    } else if (strcmp(name, "instance") == 0) {
        event->instance = number;
    } else if (strcmp(name, "idle") == 0) {
        event->idle_us = number;
    } else if (strcmp(name, "checked") == 0) {
        event->checked_us = number;
    } else if (strcmp(name, "alive_until") == 0) {
        event->alive_until_us = number;
    } else if (strcmp(name, "version") == 0 && small) {
        event->version = (uint32_t)number;
    } else if (strcmp(name, "host") == 0 && small) {
        event->host = (uint32_t)number;
    } else if (strcmp(name, "holds") == 0 && small) {
        event->holds = (uint32_t)number;
    } else {
        return read_mark(event, name, number);
    }
    return true;
}

enum muster_status muster__core_event_parse(char *line, struct muster__core_event *event,
                                            uint64_t *ret_now_us)
{
    struct muster__core_event parsed = { .kind = MUSTER__CORE_TICK };
    uint64_t now_us = 0;
    size_t kind = 0;
    char *rest = line;

    line[strcspn(line, "\r\n")] = '\0';
    const char *time = strsep(&rest, " ");
    const char *name = rest != NULL ? strsep(&rest, " ") : NULL;
    if (name == NULL || !read_number(time, UINT64_MAX, &now_us)
        || !read_name(name, event_names, MUSTER__CORE_EVENT_COUNT, &kind)) {
        return MUSTER_INVALID_ARGUMENT;
    }
    parsed.kind = (enum muster__core_event_kind)kind;
    while (rest != NULL) {
        char *value = strsep(&rest, " ");
        const char *field = strsep(&value, "=");
        if (value == NULL || !read_field(&parsed, field, value)) {
            return MUSTER_INVALID_ARGUMENT;
        }
    }
    *event = parsed;
    *ret_now_us = now_us;
    return MUSTER_OK;
}
