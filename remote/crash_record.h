/* remote/crash_record.h - how often a script has killed its host, and what follows from that.  Internal.
 *
 * Pure: the time and the random number are passed in.  A count goes up by one a crash and decays by half in
 * MUSTER__CRASH_HALF_LIFE_US, so that an old crash is forgotten.  From it follow, one after another: a pause before the next
 * start, which doubles and has jitter (so that many scripts that died with one host do not come back at one
 * moment); a host of its own, so that it takes no others with it; quarantine, in which it is refused, for a time that
 * doubles as well.  Thread: one at a time.
 */
#ifndef MUSTER_CRASH_RECORD_H
#define MUSTER_CRASH_RECORD_H

#include "runtime/base.h"

#define MUSTER__CRASH_HALF_LIFE_US 60000000u
#define MUSTER__CRASH_PAUSE_FIRST_US 5000u
#define MUSTER__CRASH_PAUSE_LONGEST_US 5000000u
#define MUSTER__CRASH_ALONE_FROM 2.0      /* crashes, decayed */
#define MUSTER__CRASH_QUARANTINE_FROM 4.0
#define MUSTER__CRASH_QUARANTINE_FIRST_US 10000000u
#define MUSTER__CRASH_QUARANTINE_LONGEST_US 300000000u

/* What follows when; the default is made of the numbers above. */
struct muster__crash_policy {
    uint64_t half_life_us, pause_first_us, pause_longest_us;
    double alone_from, quarantine_from;
    uint64_t quarantine_first_us, quarantine_longest_us;
};

/* A zeroed one has no crashes. */
struct muster__crash_record {
    const struct muster__crash_policy *policy; /* borrowed; NULL: the default */
    double count;       /* at last_us */
    uint64_t last_us;
    uint64_t not_before_us; /* the next start */
    uint64_t quarantined_until_us;
    unsigned total;     /* for people */
    unsigned quarantines; /* in a row */
};

struct muster__crash_verdict {
    bool alone;               /* in a host of its own */
    bool quarantined;
    uint64_t not_before_us;   /* of a start; with quarantined: until then it is refused */
    unsigned total;
};

/* Its host died while it was at work.  `random` spreads the pause between half of it and all of it. */
void muster__crash_record_note(struct muster__crash_record *record, uint64_t now_us, uint64_t random);
struct muster__crash_verdict muster__crash_record_judge(const struct muster__crash_record *record,
                                                        uint64_t now_us);

#endif
