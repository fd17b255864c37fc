/* coordinator/cron.h - when a `scheduled` event is due: cron expressions.  Internal.
 *
 * Five fields, minute hour day-of-month month day-of-week, in UTC, as POSIX's crontab has them: a number, a
 * range 1-5, a list 1,15, a step with a range or a star (0-30/10), names of months and days in three letters,
 * day of week 0 or 7 for Sunday.  When both days are restricted, either will do.  Also @hourly, @daily
 * (@midnight), @weekly, @monthly, @yearly (@annually).
 *
 * Pure: no clock, no allocation.  Thread: any.
 */
#ifndef MUSTER_CRON_H
#define MUSTER_CRON_H

#include "runtime/base.h"

struct muster__cron {
    uint64_t minutes;  /* bit n: minute n */
    uint32_t hours, days, months;
    uint8_t weekdays;  /* bit 0: Sunday */
    bool any_day, any_weekday; /* the field began with a star */
};

/* INVALID_ARGUMENT: `error` (may be NULL) says which field, and what is wrong with it; so does an expression
 * that can never be due (the 30th of February). */
MUSTER_MUST_CHECK enum muster_status muster__cron_parse(const char *text, struct muster__cron *ret_cron,
                                                        struct muster_error *error);
/* The first minute after `after_s` (seconds since 1970) that it names, in the same unit. */
uint64_t muster__cron_next(const struct muster__cron *cron, uint64_t after_s);

#endif
