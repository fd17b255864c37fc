/* remote/crash_record.c - see crash_record.h. */
#include "remote/crash_record.h"

#include <math.h>

/* A crash that is just a moment old must count as a whole one. */
#define ROUNDING 0.05

static const struct muster__crash_policy default_policy = {
    .half_life_us = MUSTER__CRASH_HALF_LIFE_US,
    .pause_first_us = MUSTER__CRASH_PAUSE_FIRST_US,
    .pause_longest_us = MUSTER__CRASH_PAUSE_LONGEST_US,
    .alone_from = MUSTER__CRASH_ALONE_FROM,
    .quarantine_from = MUSTER__CRASH_QUARANTINE_FROM,
    .quarantine_first_us = MUSTER__CRASH_QUARANTINE_FIRST_US,
    .quarantine_longest_us = MUSTER__CRASH_QUARANTINE_LONGEST_US,
};

static const struct muster__crash_policy *policy_of(const struct muster__crash_record *record)
{
    return record->policy ? record->policy : &default_policy;
}

static double count_at(const struct muster__crash_record *record, uint64_t now_us)
{
    if (record->count <= 0)
        return 0;
    double age = now_us > record->last_us ? (double)(now_us - record->last_us) : 0;
    return record->count * exp2(-age / (double)policy_of(record)->half_life_us);
}

static uint64_t doubled(uint64_t first_us, unsigned times, uint64_t longest_us)
{
    uint64_t us = first_us;
    while (times-- && us < longest_us)
        us *= 2;
    return us < longest_us ? us : longest_us;
}

void muster__crash_record_note(struct muster__crash_record *record, uint64_t now_us, uint64_t random)
{
    const struct muster__crash_policy *policy = policy_of(record);
    record->count = count_at(record, now_us) + 1;
    record->last_us = now_us;
    record->total++;
    unsigned times = (unsigned)(record->count + ROUNDING) - 1;
    uint64_t pause_us = doubled(policy->pause_first_us, times, policy->pause_longest_us);
    record->not_before_us = now_us + pause_us / 2 + random % (pause_us / 2 + 1);
    if (record->count + ROUNDING < policy->quarantine_from) {
        record->quarantines = 0;
        return;
    }
    record->quarantined_until_us =
        now_us + doubled(policy->quarantine_first_us, record->quarantines++, policy->quarantine_longest_us);
}

struct muster__crash_verdict muster__crash_record_judge(const struct muster__crash_record *record,
                                                        uint64_t now_us)
{
    struct muster__crash_verdict verdict = {
        .alone = count_at(record, now_us) + ROUNDING >= policy_of(record)->alone_from,
        .quarantined = now_us < record->quarantined_until_us,
        .not_before_us = record->not_before_us,
        .total = record->total,
    };
    if (verdict.quarantined)
        verdict.not_before_us = record->quarantined_until_us;
    return verdict;
}
