/* coordinator/cron.c - cron expressions: parsing, and the next minute that one names.
 *
 * Calendar arithmetic is that of the proleptic Gregorian calendar in UTC, days counted from 1970; the next
 * time is found by skipping whole months, days and hours that do not fit. */
#include "coordinator/cron.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Every date comes round within 28 years, but for 2100, which is no leap year: then within 40. */
#define MONTHS_AHEAD (12 * 40)

struct field {
    const char *name;
    unsigned low, high;
    const char *const *words; /* for low, low + 1, ... */
};

static const char *const month_words[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_words[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const char *const no_words[] = {NULL};

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELD_COUNT };

static const struct field fields[FIELD_COUNT] = {
    [MINUTE] = {"minute", 0, 59, no_words},       [HOUR] = {"hour", 0, 23, no_words},
    [DAY] = {"day of the month", 1, 31, no_words}, [MONTH] = {"month", 1, 12, month_words},
    [WEEKDAY] = {"day of the week", 0, 7, weekday_words},
};

static const struct {
    const char *name, *text;
} nicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

/* ---- parsing ---- */

static bool parse_number(const char **at, unsigned limit, unsigned *ret_number)
{
    unsigned number = 0;
    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        number = number * 10 + (unsigned)(**at - '0');
        if (number > limit)
            return false;
    }
    *ret_number = number;
    return true;
}

static bool parse_place(const char **at, const struct field *field, unsigned *ret_place)
{
    for (unsigned i = 0; field->words[i]; i++) {
        if (strncasecmp(*at, field->words[i], 3) == 0) {
            *at += 3;
            *ret_place = field->low + i;
            return true;
        }
    }
    return parse_number(at, field->high, ret_place) && *ret_place >= field->low;
}

/* One item of a list: a star, a place or a range, with or without a step. */
static bool parse_item(const char **at, const struct field *field, uint64_t *mask)
{
    unsigned from = field->low, to = field->high, step = 1;
    bool is_open = **at == '*';
    if (is_open) {
        (*at)++;
    } else {
        if (!parse_place(at, field, &from))
            return false;
        to = from;
        if (**at == '-') {
            (*at)++;
            if (!parse_place(at, field, &to) || to < from)
                return false;
            is_open = true;
        }
    }
    if (**at == '/') {
        (*at)++;
        if (!is_open || !parse_number(at, field->high, &step) || step == 0)
            return false;
    }
    for (unsigned place = from; place <= to; place += step)
        *mask |= UINT64_C(1) << place;
    return true;
}

static bool parse_field(const char **at, const struct field *field, uint64_t *ret_mask)
{
    *ret_mask = 0;
    for (;;) {
        if (!parse_item(at, field, ret_mask))
            return false;
        if (**at != ',')
            return **at == '\0' || **at == ' ' || **at == '\t';
        (*at)++;
    }
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* Whether some month that is named has a day that is named. */
static bool can_be_due(const struct muster__cron *cron)
{
    static const unsigned char longest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (cron->any_day || !cron->any_weekday)
        return true;
    for (unsigned month = 1; month <= 12; month++) {
        uint32_t days = (uint32_t)((UINT64_C(2) << longest[month]) - 1);
        if (cron->months >> month & 1 && cron->days & days)
            return true;
    }
    return false;
}

static enum muster_status refuse(struct muster_error *error, const char *text, const char *what)
{
    if (error)
        muster_error_set(error, MUSTER_INVALID_ARGUMENT, "the cron expression \"%.80s\": %s", text, what);
    return MUSTER_INVALID_ARGUMENT;
}

enum muster_status muster__cron_parse(const char *text, struct muster__cron *ret_cron,
                                      struct muster_error *error)
{
    uint64_t masks[FIELD_COUNT];
    bool stars[FIELD_COUNT];
    const char *at = skip_blanks(text);
    for (size_t i = 0; i < sizeof nicknames / sizeof *nicknames; i++)
        if (strcmp(at, nicknames[i].name) == 0)
            at = nicknames[i].text;
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        char what[64];
        at = skip_blanks(at);
        stars[i] = *at == '*';
        if (*at == '\0')
            return refuse(error, text, "it has five fields: minute hour day month weekday");
        if (!parse_field(&at, &fields[i], &masks[i])) {
            snprintf(what, sizeof what, "the %s is not within %u-%u", fields[i].name, fields[i].low,
                     fields[i].high);
            return refuse(error, text, what);
        }
    }
    if (*skip_blanks(at) != '\0')
        return refuse(error, text, "there is more after its five fields");
    *ret_cron = (struct muster__cron){
        .minutes = masks[MINUTE],
        .hours = (uint32_t)masks[HOUR],
        .days = (uint32_t)masks[DAY],
        .months = (uint32_t)masks[MONTH],
        .weekdays = (uint8_t)((masks[WEEKDAY] | masks[WEEKDAY] >> 7) & 0x7f),
        .any_day = stars[DAY],
        .any_weekday = stars[WEEKDAY],
    };
    return can_be_due(ret_cron) ? MUSTER_OK : refuse(error, text, "no such day exists");
}

/* ---- the next time ---- */

/* Days since 1970-01-01 of the first of a month; `month` from 1. */
static int64_t first_of_month(int64_t year, unsigned month)
{
    /* Years begin in March, so that the leap day is the last. */
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void month_of_day(int64_t day, int64_t *ret_year, unsigned *ret_month)
{
    int64_t year = 1970 + day / 366; /* never too late */
    while (first_of_month(year + 1, 1) <= day)
        year++;
    unsigned month = 1;
    while (month < 12 && first_of_month(year, month + 1) <= day)
        month++;
    *ret_year = year;
    *ret_month = month;
}

static bool day_fits(const struct muster__cron *cron, int64_t day, unsigned of_month)
{
    bool fits = cron->days >> of_month & 1;
    bool weekday_fits = cron->weekdays >> ((day + 4) % 7) & 1; /* 1970 began with a Thursday */
    if (cron->any_day || cron->any_weekday)
        return fits && weekday_fits;
    return fits || weekday_fits;
}

/* The first minute of the day, from `minute` on, that it names; 1440: none. */
static unsigned minute_of_day(const struct muster__cron *cron, unsigned minute)
{
    while (minute < 1440) {
        if (!(cron->hours >> (minute / 60) & 1))
            minute = (minute / 60 + 1) * 60;
        else if (!(cron->minutes >> (minute % 60) & 1))
            minute++;
        else
            return minute;
    }
    return minute;
}

uint64_t muster__cron_next(const struct muster__cron *cron, uint64_t after_s)
{
    uint64_t minutes = after_s / 60 + 1;
    int64_t day = (int64_t)(minutes / 1440), year;
    unsigned from = (unsigned)(minutes % 1440), month;
    month_of_day(day, &year, &month);
    for (unsigned i = 0; i < MONTHS_AHEAD; i++) {
        int64_t first = first_of_month(year, month);
        int64_t end = month == 12 ? first_of_month(year + 1, 1) : first_of_month(year, month + 1);
        for (; cron->months >> month & 1 && day < end; day++, from = 0) {
            unsigned minute = day_fits(cron, day, (unsigned)(day - first + 1)) ? minute_of_day(cron, from) : 1440;
            if (minute < 1440)
                return ((uint64_t)day * 1440 + minute) * 60;
        }
        day = end;
        from = 0;
        year += month == 12;
        month = month % 12 + 1;
    }
    return UINT64_MAX; /* parse() saw to it that this is not reached */
}
